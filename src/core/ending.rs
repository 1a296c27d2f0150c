//! How an action ends: what is left to do once that is decided, in the order in which a crash between two steps does no harm.
//!
//! A dead letter comes before the completion: once the action is closed, another worker would find it over and could not say why.
//! One that dies between the two leaves a letter of something that the next run decides anew, perhaps otherwise, and perhaps with a
//! second letter: more than the truth is in the dead-letter queue then. What turns out after the completion (that the
//! node could not be taken off, that its instance lives all the same) goes into a second letter.
//!
//! A launch is completed first and, if it failed, taken off the registrar then: from ABANDON on, Auto Scaling shows the instance
//! terminating, which is what allows its node to be removed, and a second worker would find the same. One that continues all the same
//! keeps what may be its own, and what was revoked in its name is taken away. A termination is taken off
//! first and completed then. When all that is done the result is recorded, and the message goes last of all: a worker that dies before
//! it is gone leaves a record, and to the next worker something that is over.

use std::sync::Arc;
use std::time::Duration;

use super::action::{Action, Association, Ending, Stage};
use super::call::DeadLetter;
use super::lane::{LaneKey, Ticket, Who};
use super::observation::{Observation, Outcome, Reason, Record};
use super::settings::{KeySource, OnFailure};
use super::time::ms;
use super::verify::jittered;
use super::{ActionId, Core, Flight, Timer};
use crate::facts::ActionResult;
use crate::names::{NodeName, ParameterName};
use crate::retry::Failure;

/// How long deleting a parameter may hold up an action, in milliseconds: what is left behind is found by `check`.
const CLEAN_UP_MS: u64 = 60_000;
/// A message may be hidden for at most 12 h; one that nobody can handle and that has nowhere to go stays hidden for nearly that.
const HIDE: Duration = Duration::from_secs(11 * 3600);
/// What broke comes again after this time at the first, and at the latest, in milliseconds.
const BROKEN_MS: (u64, u64) = (5_000, 600_000);
/// The same at a shutdown, for what no other run would know to do, in milliseconds.
const BROKEN_AT_LAST_MS: u64 = 200;
/// A letter that was refused, and cannot be given back, is tried again after this time, in milliseconds.
const REFUSED_LETTER_MS: u64 = 600_000;

impl Core {
    /// Decides how an action ends, and begins to end it.
    pub(super) fn end(&mut self, id: ActionId, ending: Ending) {
        let now = self.now.mono_ms;
        self.unhold(id);
        self.unfollow(id);
        let Some(action) = self.actions.get_mut(&id) else { return };
        let timeout = action.route.map(|route| ms(self.settings.route(route).timeout));
        // A failed launch has its own time for being taken off again; a termination's is its budget.
        let deadline = match timeout {
            Some(timeout) if action.is_launch() && ending.disassociate => Some(now + timeout),
            _ => action.deadline_at,
        };
        action.ending = Some(Box::new(ending));
        // One that was followed has its first result on record, and this is another.
        action.recorded = false;
        self.set_deadline(id, deadline);
        self.go_on_ending(id);
    }

    /// The registrar reported success for this node and this key: the launch goes into service.
    pub(super) fn end_enrolled(&mut self, id: ActionId) {
        let clean = self.cleans_after_success(id);
        if let Some(route) = self.route_of(id) {
            self.route_works(route);
        }
        self.end(id, Ending { complete: Some(ActionResult::Continue), clean, ..Ending::new(Outcome::Enrolled) });
    }

    /// An action failed for good. A launch whose route's others all failed alike is held.
    pub(super) fn fail(&mut self, id: ActionId, reason: Reason) {
        if self.ends_for_its_time(id) {
            return;
        }
        if self.park_rather_than_abandon(id, &reason) {
            return;
        }
        let Some(action) = self.actions.get(&id) else { return };
        let Some(route) = action.route else { return self.end(id, super::admission::undeliverable(&reason.code, reason.detail)) };
        // For a claim that Auto Scaling never bore out no instance is let go, and no key deleted.
        let seen = action.hook.is_some();
        if !seen && !action.is_launch() {
            let owed = action.may_be_left();
            return self.end(id, Ending { owed, ..super::admission::undeliverable(&reason.code, reason.detail) });
        }
        if !action.is_launch() {
            let ending = Ending {
                complete: Some(ActionResult::Continue),
                clean: true,
                clean_certificate: true,
                letter: true,
                owed: true,
                ..Ending::because(Outcome::LeftBehind, reason)
            };
            return self.end(id, ending);
        }
        let ending = match self.settings.route(route).on_failure {
            OnFailure::Abandon => Ending {
                complete: Some(ActionResult::Abandon),
                disassociate: action.association > Association::None,
                clean: seen,
                clean_certificate: seen,
                letter: true,
                ..Ending::because(Outcome::Abandoned, reason)
            },
            OnFailure::Continue => Ending {
                complete: Some(ActionResult::Continue),
                // What was signed in the node's place was revoked, and as long as it stands there the server takes no request of the
                // node's own. The node itself is not taken off, since its instance lives: see `Ending::lives`.
                disassociate: reason.code == Failure::FOREIGN_CERTIFICATE && action.association > Association::None,
                letter: true,
                ..Ending::because(Outcome::Continued, reason)
            },
        };
        self.end(id, ending);
    }

    /// Goes on with whatever is still to be done.
    pub(super) fn go_on_ending(&mut self, id: ActionId) {
        let Some(action) = self.actions.get(&id) else { return };
        let Some(ending) = action.ending.as_deref() else { return };
        let take_off = ending.disassociate && action.node.is_some() && action.route.is_some();
        match ending.complete {
            Some(_) if ending.letter && !ending.letter_is_late => self.begin_dead_letter(id),
            Some(result) if action.is_launch() || !take_off => self.begin_complete(id, result),
            _ if take_off => self.begin_disassociate(id),
            _ if ending.letter && ending.follow => self.begin_dead_letter(id),
            _ if ending.follow => self.follow(id),
            _ if self.to_clean(id).is_some() => self.begin_clean_up(id),
            _ if ending.letter => self.begin_dead_letter(id),
            _ => self.begin_delete(id),
        }
    }

    /// The parameter that is to be deleted next.
    pub(super) fn to_clean(&self, id: ActionId) -> Option<&ParameterName> {
        let action = self.actions.get(&id)?;
        let ending = action.ending.as_deref()?;
        let published = matches!(self.settings.route(action.route?).key, KeySource::Parameter { .. });
        let key = action.parameter.as_ref().filter(|_| ending.clean && published);
        key.or_else(|| action.certificate_parameter.as_ref().filter(|_| ending.clean_certificate))
    }

    fn begin_complete(&mut self, id: ActionId, result: ActionResult) {
        // The letter's time was one call's: what comes after the completion has its own.
        self.set_deadline(id, None);
        self.set_stage(id, Stage::Complete(result));
        let scope = self.scope_of(id);
        self.ask(id, LaneKey::Complete(scope));
    }

    pub(super) fn completed(&mut self, id: ActionId) {
        self.stop_heartbeats(id);
        let Some(ending) = self.actions.get_mut(&id).and_then(|action| action.ending.as_mut()) else { return };
        ending.complete = None;
        self.go_on_ending(id);
    }

    /// The node could not be taken off. A termination goes on all the same, and what is owed is written down.
    pub(super) fn disassociation_failed(&mut self, id: ActionId, reason: Reason, refused: bool) {
        let Some(action) = self.actions.get(&id) else { return };
        // Where nothing of ours can be there, and it is documented nowhere how the removal of what is not there is answered, a refusal
        // may just mean that. Every other registrar answers it with success. That the server was not to be had in time says nothing, also
        // not on a first receive: an earlier run may have had another message.
        let undocumented = action.route.is_some_and(|route| self.settings.route(route).second_chance);
        let presumed = action.is_launch() && refused && undocumented && action.association == Association::None;
        let Some(action) = self.actions.get_mut(&id) else { return };
        let Some(ending) = action.ending.as_mut() else { return };
        ending.disassociate = false;
        if ending.lives() {
            // No node is owed: what stands there is revoked, and goes when the instance does. What failed the launch stays its reason.
            let why = ending.reason.get_or_insert_with(|| reason.clone());
            why.detail = format!("{}; it could not be taken away: {}: {}", why.detail, reason.code, reason.detail);
            ending.letter = true;
            return self.go_on_ending(id);
        }
        if ending.outcome == Outcome::Left {
            ending.outcome = Outcome::LeftBehind;
        }
        if !presumed || ending.letter || ending.outcome == Outcome::Abandoned {
            ending.letter = true;
            ending.owed = true;
        }
        if ending.outcome != Outcome::Abandoned {
            ending.reason = Some(reason);
        }
        self.go_on_ending(id);
    }

    fn begin_clean_up(&mut self, id: ActionId) {
        self.set_stage(id, Stage::CleanUp);
        self.set_deadline(id, Some(self.now.mono_ms + CLEAN_UP_MS));
        let scope = self.scope_of(id);
        self.ask(id, LaneKey::DeleteParameters(scope));
    }

    /// The parameter is gone, or will not go.
    pub(super) fn cleaned_up(&mut self, id: ActionId) {
        self.set_deadline(id, None);
        let keys = self.actions.get(&id).is_some_and(|action| action.parameter.is_some() && action.parameter.as_ref() == self.to_clean(id));
        if let Some(ending) = self.actions.get_mut(&id).and_then(|action| action.ending.as_mut()) {
            ending.clean = false;
            ending.clean_certificate &= keys;
        }
        self.go_on_ending(id);
    }

    /// Before the completion a letter has the time of one call: nobody may be kept waiting for ever because the dead-letter queue is.
    fn begin_dead_letter(&mut self, id: ActionId) {
        let until = self.now.mono_ms + self.call_ms();
        let deadline = self.actions.get(&id).is_some_and(Action::is_to_complete).then_some(until);
        self.set_deadline(id, deadline);
        // What is left is the letter alone, which may wait for its queue for days: the instance's next action waits no longer.
        if deadline.is_none() {
            self.pass_turn(id);
        }
        if self.dead_letter_url().is_some() {
            self.set_stage(id, Stage::DeadLetter);
            self.ask(id, LaneKey::DeadLetter);
        } else {
            self.without_dead_letter_queue(id);
        }
    }

    /// The letter could not be written in time: it is written once the action is completed.
    pub(super) fn dead_letter_is_late(&mut self, id: ActionId) {
        if let Some(ending) = self.actions.get_mut(&id).and_then(|action| action.ending.as_mut()) {
            ending.letter_is_late = true;
        }
        self.go_on_ending(id);
    }

    /// Nowhere for dead letters to go. What was completed has its result in the log; what was not, or owes a node, stays in the queue, hidden for
    /// as long as SQS allows, so that it neither is lost nor comes back all the time.
    fn without_dead_letter_queue(&mut self, id: ActionId) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        let to_complete = action.is_to_complete();
        let Some(ending) = action.ending.as_mut() else { return };
        if ending.owed && to_complete {
            return self.dead_letter_is_late(id);
        }
        if ending.owed || ending.outcome == Outcome::DeadLettered {
            ending.outcome = Outcome::LeftInQueue;
            self.release(id, HIDE);
        } else {
            ending.letter = false;
            self.go_on_ending(id);
        }
    }

    /// The dead-letter queue takes no letter of this action, not even a bare one. What owes a node is not deleted for that: its message
    /// comes again, and its next run takes the node off or tries to write so. On the last receive that the queue allows it is kept in hand
    /// and tried again, since SQS would move it without a word of why.
    fn letter_is_refused(&mut self, id: ActionId) {
        let Some(action) = self.actions.get(&id) else { return };
        let Some(ending) = action.ending.as_deref() else { return };
        if !ending.owed && ending.outcome != Outcome::DeadLettered {
            return self.without_dead_letter_queue(id);
        }
        if action.is_to_complete() {
            return self.dead_letter_is_late(id);
        }
        if self.is_last_receive(id) {
            self.set_stage(id, Stage::DeadLetter);
            return self.ask_at(id, LaneKey::DeadLetter, self.now.mono_ms + REFUSED_LETTER_MS);
        }
        if let Some(ending) = self.actions.get_mut(&id).and_then(|action| action.ending.as_mut()) {
            ending.outcome = Outcome::LeftInQueue;
        }
        self.release(id, HIDE);
    }

    /// The dead-letter queue was taken away: nobody waits for it.
    pub(super) fn give_up_dead_letters(&mut self) {
        let mut waiting: Vec<_> = self.actions.iter().filter(|(_, action)| action.stage == Stage::DeadLetter).map(|(id, _)| *id).collect();
        waiting.sort_unstable();
        for id in waiting {
            self.without_dead_letter_queue(id);
        }
    }

    pub(super) fn dead_letter_url(&self) -> Option<Arc<str>> {
        self.queue.facts.as_ref()?.dead_letter_url.as_deref().map(Arc::from)
    }

    /// The dead letter of an action: its body unchanged, and why it stands there, most important first.
    pub(super) fn letter(&self, action: &Action) -> Option<DeadLetter> {
        let message = action.messages.iter().find_map(|key| self.messages.get(key))?;
        let ending = action.ending.as_deref()?;
        let reason = ending.reason.clone().unwrap_or_else(|| Reason::new(ending.outcome.as_str(), "no reason was given"));
        let attempts: u32 = action.steps.iter().map(|step| step.attempts).sum();
        // The step before the dead letter's own is where it went wrong.
        let step = action.steps.iter().rev().map(|record| record.step).find(|step| *step < super::observation::Step::Complete);
        let mut attributes = vec![("EnrolldReason", reason.code)];
        if ending.owed
            && let Some(node) = &action.node
        {
            attributes.push(("EnrolldOwed", format!("disassociate {node}")));
        }
        if ending.letter_is_bare {
            return Some(DeadLetter { body: message.body.clone(), attributes: fitting(attributes, message.body.as_str().len()) });
        }
        attributes.push(("EnrolldDetail", reason.detail));
        attributes.push(("EnrolldOutcome", ending.outcome.as_str().to_owned()));
        attributes.push(("EnrolldStep", step.map_or("receive", super::observation::Step::as_str).to_owned()));
        attributes.push(("EnrolldAttempts", attempts.to_string()));
        attributes.push(("EnrolldTime", self.now.wall_ms.to_string()));
        attributes.push(("EnrolldVersion", env!("CARGO_PKG_VERSION").to_owned()));
        attributes.push(("EnrolldMessageId", action.message.to_string()));
        attributes.push(("EnrolldWorker", self.settings.worker.clone()));
        Some(DeadLetter { body: message.body.clone(), attributes: fitting(attributes, message.body.as_str().len()) })
    }

    /// The dead letter is written, or cannot be.
    pub(super) fn take_dead_lettered(&mut self, id: ActionId, answer: Result<(), Failure>) {
        match answer {
            Ok(()) => {
                let Some(ending) = self.actions.get_mut(&id).and_then(|action| action.ending.as_mut()) else { return };
                ending.letter = false;
                ending.letter_is_bare = false;
                let code = ending.reason.as_ref().map_or(ending.outcome.as_str(), |reason| reason.code.as_str()).to_owned();
                self.observe(Observation::LetterWritten { code });
                self.go_on_ending(id);
            }
            Err(failure) => {
                let Some(ending) = self.actions.get_mut(&id).and_then(|action| action.ending.as_mut()) else { return };
                let first = !std::mem::replace(&mut ending.letter_is_bare, true);
                let delay = if first { Duration::ZERO } else { HIDE };
                self.observe(Observation::ServiceTrouble { operation: "SendMessage", failure, delay });
                if first { self.begin_dead_letter(id) } else { self.letter_is_refused(id) }
            }
        }
    }

    /// Everything is done: the result stands and is recorded, the messages go, and the next action of the instance may act.
    fn begin_delete(&mut self, id: ActionId) {
        self.set_deadline(id, None);
        self.record(id);
        self.set_stage(id, Stage::Delete);
        self.pass_turn(id);
        let Some(action) = self.actions.get(&id) else { return };
        let lane = self.lanes.entry(LaneKey::Delete).or_default();
        for key in &action.messages {
            lane.push(self.now.mono_ms, Ticket::new(Who::Message(*key)));
        }
    }

    /// A message was deleted. With its last one, the action is over.
    pub(super) fn deleted(&mut self, key: super::MessageKey) {
        #[cfg(test)]
        self.trips.at("deleted");
        let Some(id) = self.forget_message(key) else { return };
        let Some(action) = self.actions.get_mut(&id) else { return };
        action.messages.retain(|held| *held != key);
        if action.messages.is_empty() {
            self.finish(id);
        }
    }

    /// Forgets an action, and says how it ended.
    pub(super) fn finish(&mut self, id: ActionId) {
        self.pass_turn(id);
        self.stop_heartbeats(id);
        self.set_deadline(id, None);
        self.unhold(id);
        self.drop_order(id);
        self.unfollow(id);
        self.count_ended(id);
        let Some(mut action) = self.actions.remove(&id) else { return };
        self.timers.set(Timer::Stage(id), &mut action.wake_at, None);
        if action.renewing
            && let Some(gate) = action.route.and_then(|route| self.gates.get_mut(&self.settings.route(route).server))
        {
            gate.renewing.remove(&id);
        }
        if let Some(step) = action.steps.last() {
            self.by_step[step.step as usize] -= 1;
        }
        if let Some(claim) = &action.claim {
            self.leave_token(id, &claim.token, action.disputed);
        }
        self.record_of(&mut action);
    }

    /// Counts an action that has ended, or has its result and waits for somebody else alone.
    pub(super) fn count_ended(&mut self, id: ActionId) {
        if let Some(action) = self.actions.get_mut(&id)
            && !std::mem::replace(&mut action.counted, true)
        {
            self.queue.ended += 1;
            self.queue.ended_in_all += 1;
        }
    }

    /// Drops the order of an action that is let go of while it is on its way: who has the message next gives its own, and must not have this
    /// one come after it, such as a program's that runs for minutes. What it has done already, the next run finds, as after a crash.
    fn drop_order(&mut self, id: ActionId) {
        if self.actions.get(&id).is_none_or(|action| action.ordering.is_none()) {
            return;
        }
        let is_its_order = |flight: &Flight| match flight {
            Flight::Lane { key: LaneKey::Server(_), tickets, .. } => {
                tickets.iter().any(|ticket| matches!(ticket.who, Who::Action(of, _) if of == id))
            }
            _ => false,
        };
        let Some(call) = self.flights.iter().find(|(_, flight)| is_its_order(flight)).map(|(call, _)| *call) else { return };
        let Some(Flight::Lane { key: LaneKey::Server(server), began, .. }) = self.flights.remove(&call) else { return };
        self.no_longer_under_way(LaneKey::Server(server), began);
        if let Some(gate) = self.gates.get_mut(&server) {
            gate.undecided();
        }
        self.outbox.aborts.push(call);
    }

    /// Says how an action ended, once: a result that stands must be on record before the message that could repeat it is gone.
    pub(super) fn record(&mut self, id: ActionId) {
        if let Some(mut action) = self.actions.remove(&id) {
            self.record_of(&mut action);
            self.actions.insert(id, action);
        }
    }

    fn record_of(&mut self, action: &mut Action) {
        if std::mem::replace(&mut action.recorded, true) {
            return;
        }
        action.close_step(self.now);
        let (outcome, reason) = match action.ending.as_deref() {
            Some(ending) => (ending.outcome, ending.reason.clone()),
            None => (Outcome::Released, None),
        };
        if outcome.is_final() {
            self.broken_runs.forget(&action.message);
        }
        let record = Record {
            subject: action.subject(),
            message: action.message.clone(),
            receive_count: action.receive_count,
            outcome,
            reason,
            steps: action.steps.clone(),
            took: Duration::from_millis(self.now.mono_ms.saturating_sub(action.taken_up.mono_ms)),
            queued: action.queued,
        };
        self.observe(Observation::Ended(Box::new(record)));
    }

    /// Lets the next action of the same instance act.
    pub(super) fn pass_turn(&mut self, id: ActionId) {
        let Some(action) = self.actions.get(&id) else { return };
        let Some(claim) = &action.claim else { return };
        let place = (action.scope, claim.instance.clone());
        let Some(turn) = self.turns.get_mut(&place) else { return };
        let was_first = turn.front() == Some(&id);
        turn.retain(|other| *other != id);
        let next = turn.front().copied();
        if turn.is_empty() {
            self.turns.remove(&place);
        }
        if let Some(next) = next
            && was_first
            && self.actions.get(&next).is_some_and(|action| action.stage == Stage::Turn)
        {
            // What it was shown while it waited is no longer so.
            self.guard(next, |core| core.begin_verify(next));
        }
    }

    /// Works on a message; what goes wrong there ends the run of the action that it is of.
    pub(super) fn guard_message(&mut self, key: super::MessageKey, work: impl FnOnce(&mut Self)) {
        if let Some(id) = self.messages.get(&key).and_then(|message| message.owner) {
            return self.guard(id, work);
        }
        if super::admission::guarded(|| work(self)) {
            self.forget_message(key);
        }
    }

    /// A message broke before it was an action's: what it is is not known, and it is ended like any other run that broke.
    pub(super) fn message_broke(&mut self, key: super::MessageKey) {
        if let Some(id) = self.adopt(key, None) {
            self.guard(id, |core| core.internal_error(id, "taking a message up panicked"));
        }
    }

    /// A new action for a message alone, of which nothing is known but the node that may be left of it.
    fn adopt(&mut self, key: super::MessageKey, node: Option<NodeName>) -> Option<ActionId> {
        let id = ActionId(self.new_id());
        let message = self.messages.get_mut(&key)?;
        message.owner = Some(id);
        let action = Action { node, ..Action::new(None, message.id.clone(), key, message.receive_count, self.now) };
        self.actions.insert(id, action);
        Some(id)
    }

    /// Even the way out of an internal error failed: the action is forgotten, and its messages come again, each as often as any other run
    /// that broke.
    pub(super) fn drop_broken(&mut self, id: ActionId) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        let left = action.node.clone().filter(|_| action.may_be_left());
        let messages = std::mem::take(&mut action.messages);
        if action.stage != Stage::Delete {
            let reason = Reason::new("internal_error", "ending a run that had failed failed as well");
            action.ending = Some(Box::new(Ending::because(Outcome::Released, reason)));
        }
        for key in messages {
            self.drop_message(key, left.clone());
        }
        self.forget_broken(id);
    }

    /// Gives the message of a dropped action back; after too many such runs, or on the last receive that the queue allows, it is written
    /// to the dead-letter queue by itself, since nothing else of it works.
    fn drop_message(&mut self, key: super::MessageKey, left: Option<NodeName>) {
        let Some(message) = self.messages.get(&key) else { return };
        let runs = self.broken_runs.add(&message.id);
        let limit = self.queue.facts.as_ref().and_then(|facts| facts.max_receive_count);
        let last = runs >= self.settings.max_deliveries || limit.is_some_and(|limit| message.receive_count >= limit);
        if last && let Some(id) = self.adopt(key, left) {
            let owed = self.actions.get(&id).is_some_and(|action| action.node.is_some());
            let detail = "ending a run that had failed failed as well".to_owned();
            let ending = Ending { owed, ..super::admission::undeliverable("internal_error", detail) };
            if !super::admission::guarded(|| self.end(id, ending)) {
                return;
            }
            self.forget_broken(id);
        }
        let delay = self.broken_delay(runs, BROKEN_MS.1);
        self.send_back(key, delay);
    }

    fn forget_broken(&mut self, id: ActionId) {
        if super::admission::guarded(|| self.finish(id)) {
            self.actions.remove(&id);
        }
    }

    /// After which time a message is to come again of which so many runs broke here.
    fn broken_delay(&mut self, runs: u32, longest_ms: u64) -> Duration {
        let delay = (BROKEN_MS.0 << runs.saturating_sub(1).min(7)).min(longest_ms);
        Duration::from_millis(jittered(delay, &mut self.rng))
    }

    /// Our own mistake: a call or a step panicked. The message is given back with a growing delay; after too many such runs here, or on
    /// the last receive that the queue allows, the action ends with a recorded result.
    pub(super) fn internal_error(&mut self, id: ActionId, detail: &str) {
        #[cfg(test)]
        self.trips.at("internal_error");
        let Some(action) = self.actions.get(&id) else { return };
        let runs = self.broken_runs.add(&action.message);
        let last = runs >= self.settings.max_deliveries || self.is_last_receive(id);
        let reason = Reason::new("internal_error", detail.chars().take(300).collect::<String>());
        // Nobody sends heartbeats meanwhile: at half the hook's time-out the next would have been due.
        let longest = action.hook.map_or(BROKEN_MS.1, |times| (times.heartbeat_ms / 4).min(BROKEN_MS.1));
        let delay = self.broken_delay(runs, longest);
        // What only this run can do must come before the end of the grace.
        let again = self.now.mono_ms + if self.shutdown.is_some() { ms(delay).min(BROKEN_AT_LAST_MS) } else { ms(delay) };
        let Some(action) = self.actions.get_mut(&id) else { return };
        match &mut action.ending {
            // Its result stands; its messages are deleted whatever else goes wrong.
            _ if action.stage == Stage::Delete && action.messages.is_empty() => self.finish(id),
            _ if action.stage == Stage::Delete => {
                let lane = self.lanes.entry(LaneKey::Delete).or_default();
                for key in &action.messages {
                    lane.push_at(again, Ticket::new(Who::Message(*key)));
                }
                self.pass_turn(id);
            }
            // All that is left of it is the letter, which another run would not know to write.
            _ if action.stage == Stage::DeadLetter => {
                self.set_stage(id, Stage::DeadLetter);
                self.ask_at(id, LaneKey::DeadLetter, again);
            }
            None if last => self.fail(id, reason),
            // Once: where even that ends in an error, the message is given back until its last receive.
            Some(ending) if last && !ending.letter && !ending.owed => {
                ending.disassociate = false;
                ending.clean = false;
                ending.clean_certificate = false;
                ending.letter = true;
                ending.owed = true;
                ending.reason.get_or_insert(reason);
                self.go_on_ending(id);
            }
            _ => self.release(id, delay),
        }
    }
}

/// As many attributes as fit beside a body within SQS's 1 MiB and ten attributes, in their order; one that is too long is left out alone.
fn fitting(attributes: Vec<(&'static str, String)>, body: usize) -> Vec<(&'static str, String)> {
    let mut room = (1 << 20_usize) - body.min(1 << 20);
    let mut kept = Vec::new();
    for (name, value) in attributes.into_iter().filter(|(_, value)| !value.is_empty()).take(10) {
        // Names, values and the type's name count.
        let size = name.len() + value.len() + "String".len();
        if size > room {
            continue;
        }
        room -= size;
        kept.push((name, value));
    }
    kept
}
