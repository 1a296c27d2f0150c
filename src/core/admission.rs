//! Taking messages up: what each is, whose it is, and whether it is in hand already.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::action::{Action, Association, Ending, Message};
use super::call::{Call, CallId, ScopeId};
use super::lane::{LaneKey, Ticket, Who};
use super::observation::{Observation, Outcome, Reason};
use super::settings::{KeySource, Route, Unmatched};
use super::time::ms;
use super::{ActionId, Core, Flight, MessageKey, Timer};
use crate::event::{self, LifecycleAction, Notification, Place};
use crate::facts::{QueueFacts, ReceivedMessage};
use crate::names::{MessageId, NodeName, ParameterName, TemplateValues};
use crate::retry::Failure;

/// How often the queue is asked again what it is, in milliseconds: a redrive policy may change, and rarely does.
const QUEUE_REFRESH_MS: u64 = 600_000;
/// Messages that are received within this time of each other come close together, in milliseconds.
const CLOSE_MS: u64 = 50;
/// While messages come close together, so many polls: a message must not wait for the next poll to arrive.
const POLLS_WHILE_CLOSE: u32 = 3;
/// So many entries that wait for a call, for each call that may be in flight, are enough to fill every batch.
const ENOUGH_A_CALL: usize = 4;
/// Over which it is seen how much is done, in milliseconds.
const SECOND_MS: u64 = 1000;
/// How often what is taken is doubled at one look, for seconds in which nothing was looked at.
const MOST_DOUBLINGS: u64 = 2;
/// A lane whose pace lets it send within this time waits for a call like one that is not paced, in milliseconds.
const SOON_MS: u64 = 100;
/// Launches come late of which more than this part of their HeartbeatTimeout is over.
const LATE_PART: u64 = 4;
/// For so long after one that came late everything is taken, in milliseconds.
const LATE_MS: u64 = 10_000;
/// A receive brings at most ten messages (SQS).
const RECEIVE_MAX: u8 = 10;
/// How many bytes of bodies are held for each action that may be open, and at the least in all: beyond it nothing is received until
/// some have gone, as beyond `max_open`. A real notification has about 1 KiB; SQS takes 1 MiB, and whoever may send could have us
/// hold that for as long as a claim is looked into.
const BODY_BYTES_EACH: usize = 4 * 1024;
const BODY_BYTES_LEAST: usize = 16 * 1024 * 1024;

impl Core {
    /// Asks what the queue is, unless it is being asked.
    pub(super) fn ask_queue(&mut self) {
        if !self.queue.asked && self.shutdown.is_none() {
            self.queue.asked = true;
            self.start(Call::DescribeQueue, Flight::Queue);
        }
    }

    /// What the queue is, or that it did not say.
    pub(super) fn take_queue(&mut self, answer: Result<QueueFacts, Failure>) {
        self.queue.asked = false;
        match answer {
            Ok(facts) => {
                if self.queue.facts.as_ref() != Some(&facts) {
                    self.observe(Observation::QueueKnown { has_dead_letter_queue: facts.dead_letter_url.is_some() });
                }
                let nowhere = facts.dead_letter_url.is_none();
                self.queue.facts = Some(facts);
                self.queue.answers = true;
                self.queue.asking.reset();
                self.arm_queue(Some(self.now.mono_ms + QUEUE_REFRESH_MS));
                if nowhere {
                    self.give_up_dead_letters();
                }
            }
            Err(failure) => {
                self.queue.answers = false;
                let delay = self.queue.asking.next_delay(&self.settings.transient, &mut self.rng);
                self.arm_queue(Some(self.now.mono_ms + ms(delay)));
                self.observe(Observation::ServiceTrouble { operation: Call::DescribeQueue.operation(), failure, delay });
            }
        }
    }

    /// Starts as many long polls as there is room for: one while the queue is quiet, a few while messages come close together, more while
    /// receives come back full. Nothing
    /// is received before the queue has said whose it is, since events are held against that.
    pub(super) fn start_receives(&mut self) {
        if self.shutdown.is_some() || self.queue.facts.is_none() || self.queue.receive_at.is_some() {
            return;
        }
        let most_bytes = (self.settings.max_open * BODY_BYTES_EACH).max(BODY_BYTES_LEAST);
        // What polls bring is read before it is seen how much it is: half-way to the bound, there is one of them at a time.
        let wanted_polls = match self.body_bytes {
            bytes if bytes >= most_bytes => 0,
            bytes if bytes >= most_bytes / 2 => 1,
            _ => self.queue.wanted_polls,
        };
        // Whoever cannot keep what is in hand takes no more: else the leases of all run out in turn, and nothing is ever done.
        if self.lanes.get(&LaneKey::Extend).is_some_and(|lane| lane.ready.len() > usize::from(RECEIVE_MAX)) {
            return;
        }
        if self.has_enough() {
            return;
        }
        while self.queue.polls < wanted_polls {
            let expected = usize::from(RECEIVE_MAX) * (self.queue.polls as usize);
            let room = self.settings.max_open.saturating_sub(self.messages.len() + expected);
            if room == 0 {
                return;
            }
            self.queue.polls += 1;
            let call = Call::Receive {
                max: RECEIVE_MAX.min(u8::try_from(room).unwrap_or(RECEIVE_MAX)),
                wait: self.settings.poll_wait,
                visibility: self.settings.visibility,
            };
            let began = self.now.mono_ms;
            self.start(call, Flight::Poll { began });
        }
    }

    /// Whether there is more in hand than calls can be made for: then what is left in the queue is no worse off there, another worker may have
    /// it, and nothing is kept in memory before its time. That holds while as much is done within a second. Where it takes longer, the services
    /// are slow, and what waits is better off in hand, where its heartbeats are sent: each second that was slow doubles what is taken, so that one
    /// bad second costs little, and ten of them empty any queue. It holds no more either where launches come late of those that the queue has.
    fn has_enough(&mut self) -> bool {
        let now = self.now.mono_ms;
        let least = ENOUGH_A_CALL * self.settings.max_calls;
        let passed = now.saturating_sub(self.queue.counting_since);
        let seconds = passed / SECOND_MS;
        let waiting = self.could_be_sent();
        if seconds > 0 {
            // Measured against the least, and not against what is in hand: who has taken too much once would else go on taking.
            let slow = waiting >= least && u64::from(self.queue.ended) * SECOND_MS < least as u64 * passed;
            let grown = self.queue.enough.max(least).saturating_mul(1 << seconds.min(MOST_DOUBLINGS));
            self.queue.enough = if slow { grown } else { least };
            self.queue.ended = 0;
            self.queue.counting_since = now;
        }
        let late = self.queue.late_at.is_some_and(|at| now < at + LATE_MS);
        !late && self.calls_in_flight() > 0 && waiting >= self.queue.enough.max(least)
    }

    /// A launch was first seen so long after it began, of the time that its hook allows: what has come late is not the last of its kind.
    pub(super) fn note_delay(&mut self, age_ms: u64, heartbeat_ms: u64) {
        if age_ms > heartbeat_ms / LATE_PART {
            self.queue.late_at = Some(self.now.mono_ms);
        }
    }

    /// How many entries wait for nothing but a call, or the turn that a pace soon gives them.
    fn could_be_sent(&self) -> usize {
        let now = self.now.mono_ms;
        let waits_for_a_call = |key: LaneKey, lane: &super::lane::Lane| {
            self.gate_admits(key) && key.linger_ms() == 0 && lane.blocked_until <= now && self.pace_at(key) <= now + SOON_MS
        };
        self.lanes
            .iter()
            .filter(|(key, lane)| !lane.ready.is_empty() && waits_for_a_call(**key, lane))
            .map(|(_, lane)| lane.ready.len())
            .sum()
    }

    /// What a receive brought.
    pub(super) fn take_received(&mut self, began: u64, answer: Result<Vec<ReceivedMessage>, Failure>) {
        self.queue.polls = self.queue.polls.saturating_sub(1);
        match answer {
            Ok(messages) => {
                self.queue.answers = true;
                self.queue.receiving.reset();
                let most = u32::try_from(self.settings.max_polls).unwrap_or(1).max(1);
                let now = self.now.mono_ms;
                let close = !messages.is_empty() && now.saturating_sub(self.queue.received_at) < CLOSE_MS;
                let least = if close { POLLS_WHILE_CLOSE.min(most) } else { 1 };
                self.queue.wanted_polls = match messages.len() {
                    n if n >= usize::from(RECEIVE_MAX) => (self.queue.wanted_polls + 1).min(most),
                    _ => self.queue.wanted_polls.saturating_sub(1).max(least),
                };
                if !messages.is_empty() {
                    self.queue.received_at = now;
                    self.observe(Observation::Received { messages: messages.len() });
                }
                for message in messages {
                    let id = message.id.clone();
                    if guarded(|| self.admit(began, message)) {
                        self.admission_broke(&id);
                    }
                }
            }
            Err(failure) => {
                self.queue.answers = false;
                self.queue.wanted_polls = 1;
                let delay = self.queue.receiving.next_delay(&self.settings.transient, &mut self.rng);
                let at = self.now.mono_ms + ms(delay);
                self.timers.set(Timer::Receive, &mut self.queue.receive_at, Some(at));
                self.observe(Observation::ServiceTrouble { operation: "ReceiveMessage", failure, delay });
            }
        }
    }

    /// Takes one message up.
    fn admit(&mut self, began: u64, received: ReceivedMessage) {
        if let Some(&key) = self.message_ids.get(&received.id) {
            // The same message again: its lease had run out, or SQS delivered it twice. The newest handle is the one that counts.
            if let Some(message) = self.messages.get_mut(&key) {
                message.handle = received.handle;
                message.receive_count = received.receive_count;
                message.received_at = began;
            }
            self.lease_from(key, began);
            if let Some(owner) = self.messages.get(&key).and_then(|message| message.owner) {
                self.heed_earlier_run(owner, received.receive_count);
                // SQS keeps a copy of it, and moves that away itself when it is received once more: what is merely held is decided now.
                if self.is_last_receive(owner) && self.actions.get(&owner).is_some_and(|action| action.held) {
                    self.set_deadline(owner, Some(self.now.mono_ms));
                }
            }
            return;
        }
        let key = MessageKey(self.new_id());
        let id = ActionId(self.new_id());
        let body = received.body;
        self.message_ids.insert(received.id.clone(), key);
        self.body_bytes += body.as_str().len();
        self.messages.insert(
            key,
            Message {
                id: received.id.clone(),
                handle: received.handle,
                body: body.clone(),
                receive_count: received.receive_count,
                received_at: began,
                leased_at: began,
                lease_timer: None,
                owner: Some(id),
                release_delay: Duration::ZERO,
            },
        );
        self.lease_from(key, began);

        // A launch that was sent back since its node may be left has had a run before, whatever its own message counts.
        let runs = received.receive_count.max(if received.earlier_run { 2 } else { 1 });
        let decoded = catch_unwind(|| event::decode(body.as_str()));
        let (claim, ending) = match decoded {
            Ok(Ok(Notification::Action(claim))) => match self.tokens.get(&claim.token) {
                Some(&first) if self.claims_the_same(first, &claim) && !self.is_too_late_for(first, runs) => {
                    return self.guard(first, |core| core.join(first, key, runs));
                }
                _ => (Some(Arc::new(claim)), None),
            },
            Ok(Ok(Notification::Test { group })) => {
                self.observe(Observation::TestNotification { group });
                (None, Some(Ending::new(Outcome::Test)))
            }
            Ok(Err(error)) => (None, Some(undeliverable(error.code(), error.to_string()))),
            Err(_) => (None, Some(undeliverable("decoder_panicked", "the decoder panicked at this body; please report it".to_owned()))),
        };
        let mut action = Action::new(claim, received.id, key, received.receive_count, self.now);
        action.queued = received.sent_ms.map(|sent| Duration::from_millis(self.now.wall_ms.saturating_sub(sent)));
        let ending = ending.or_else(|| self.place(&mut action, received.sent_ms));
        if received.earlier_run {
            action.association = Association::Maybe;
        }
        self.actions.insert(id, action);
        self.guard(id, |core| match ending {
            Some(ending) => core.end(id, ending),
            None => core.open(id),
        });
        if self.shutdown.is_some() {
            self.guard(id, |core| core.release(id, Duration::ZERO));
        }
    }

    /// A message could not be taken up.
    fn admission_broke(&mut self, id: &MessageId) {
        let Some(&key) = self.message_ids.get(id) else { return };
        match self.messages.get(&key).and_then(|message| message.owner).filter(|owner| self.actions.contains_key(owner)) {
            Some(owner) => self.guard(owner, |core| core.internal_error(owner, "taking a message up panicked")),
            None => self.message_broke(key),
        }
    }

    /// Finds an action its route and names, or says how it ends without them.
    fn place(&self, action: &mut Action, sent_ms: Option<u64>) -> Option<Ending> {
        #[cfg(test)]
        self.trips.at("place");
        let claim = action.claim.clone()?;
        let facts = self.queue.facts.as_ref()?;
        if let Some(ending) = self.refuse_stranger(&claim, facts) {
            return Some(ending);
        }
        let Some(route_id) = self.settings.route_for(&claim.group) else {
            return Some(match self.settings.unmatched {
                Unmatched::Ignore => Ending::new(Outcome::Ignored),
                Unmatched::DeadLetter => {
                    undeliverable("no_route", format!("no route matches the group {}; add it to a route's groups", claim.group))
                }
            });
        };
        let route = self.settings.route(route_id);
        if let Some(ending) = self.refuse_elsewhere(&claim, route, facts) {
            return Some(ending);
        }
        let region = claim.region.as_ref().or(route.region.as_ref()).unwrap_or(&facts.region);
        let values = TemplateValues { instance: &claim.instance, group: &claim.group, account: &claim.account, region };
        action.route = Some(route_id);
        action.scope = route.scope;
        action.node = NodeName::new(&route.node_name.fill(values)).ok();
        if let KeySource::Parameter { name, .. } = &route.key {
            action.parameter = ParameterName::new(&name.fill(values)).ok();
        }
        action.certificate_parameter = route.certificate.as_ref().and_then(|name| ParameterName::new(&name.fill(values)).ok());
        if action.receive_count > 1 || claim.origin == Some(Place::WarmPool) {
            action.association = Association::Maybe;
        }
        if claim.time_ms.is_none() {
            let mut dated = (*claim).clone();
            dated.time_ms = sent_ms;
            action.claim = Some(Arc::new(dated));
        }
        None
    }

    /// An event of another account or region is not ours.
    fn refuse_stranger(&self, claim: &LifecycleAction, facts: &QueueFacts) -> Option<Ending> {
        let settings = &self.settings;
        let ours = if settings.accounts.is_empty() { claim.account == facts.account } else { settings.accounts.contains(&claim.account) };
        if !ours {
            return Some(undeliverable(
                "wrong_account",
                format!("the event is of account {}; list it under `accounts` if that is right", claim.account),
            ));
        }
        let region = claim.region.as_ref()?;
        let ours = if settings.regions.is_empty() { *region == facts.region } else { settings.regions.contains(region) };
        (!ours).then(|| undeliverable("wrong_region", format!("the event is of region {region}; list it under `regions` if that is right")))
    }

    /// Names are made of the account and the region that an event claims, and the route's Auto Scaling is asked whether it is true: so
    /// they must be those that it is asked in. A route without a role asks in the queue's account, where that one's events are taken, or
    /// in the only one whose events are.
    fn refuse_elsewhere(&self, claim: &LifecycleAction, route: &Route, facts: &QueueFacts) -> Option<Ending> {
        let taken = &self.settings.accounts;
        let own = || match &taken[..] {
            _ if taken.is_empty() || taken.contains(&facts.account) => Some(&facts.account),
            [only] => Some(only),
            // Which of them the worker's credentials are of, nothing says; the sender must not.
            _ => None,
        };
        let asked = (route.account.as_ref().or_else(own), route.region.as_ref());
        if asked.0.is_none_or(|asked| claim.account != *asked) {
            let detail = format!("the event is of account {}, and the route {} asks another", claim.account, route.name);
            return Some(undeliverable("wrong_account", detail));
        }
        let region = claim.region.as_ref().zip(asked.1).filter(|(claimed, asked)| claimed != asked)?.0;
        Some(undeliverable("wrong_region", format!("the event is of region {region}, and the route {} asks another", route.name)))
    }

    /// Whether an action in hand came of the same claim. Who shares only its token, by a mistake or a forgery, must not share its end.
    fn claims_the_same(&self, first: ActionId, claim: &LifecycleAction) -> bool {
        let parts = |claim: &LifecycleAction| {
            (claim.instance.clone(), claim.group.clone(), claim.hook.clone(), claim.transition, claim.account.clone())
        };
        let first = self.actions.get(&first).and_then(|action| action.claim.as_deref());
        first.is_some_and(|first| parts(first) == parts(claim))
    }

    /// A message that repeats an action in hand waits for that one's result.
    fn join(&mut self, first: ActionId, key: MessageKey, runs: u32) {
        #[cfg(test)]
        self.trips.at("join");
        if let Some(message) = self.messages.get_mut(&key) {
            message.owner = Some(first);
        }
        let Some(action) = self.actions.get_mut(&first) else { return };
        action.messages.push(key);
        self.heed_earlier_run(first, runs);
        let Some(action) = self.actions.get_mut(&first) else { return };
        let deleting = action.stage == super::Stage::Delete;
        if let Some(subject) = action.subject() {
            self.observe(Observation::Duplicate(subject));
        }
        if deleting {
            self.lanes.entry(LaneKey::Delete).or_default().push(self.now.mono_ms, Ticket::new(Who::Message(key)));
        }
    }

    /// Whether an action has ended as if no run before it had associated its node, and a message that says there may have been one can
    /// change that no more: that message is an action of its own.
    fn is_too_late_for(&self, first: ActionId, runs: u32) -> bool {
        let Some(action) = self.actions.get(&first).filter(|_| runs > 1) else { return false };
        let abandoned = action.ending.as_ref().is_some_and(|ending| ending.outcome == Outcome::Abandoned);
        action.stage == super::Stage::Delete && abandoned && action.association == Association::None
    }

    /// A message of an action in hand was received before: whatever the first one said, an earlier run may have associated the node.
    fn heed_earlier_run(&mut self, id: ActionId, runs: u32) {
        let Some(action) = self.actions.get_mut(&id).filter(|_| runs > 1) else { return };
        action.receive_count = action.receive_count.max(runs);
        let heard_of = action.association > Association::None;
        action.association = action.association.max(Association::Maybe);
        action.association_before = action.association_before.max(Association::Maybe);
        if heard_of || !action.is_launch() {
            return;
        }
        // Its end may have been decided as if there were nothing to take off.
        match &mut action.ending {
            Some(ending) if ending.outcome == Outcome::Abandoned && action.stage != super::Stage::Delete => ending.disassociate = true,
            Some(ending) if ending.outcome == Outcome::DeadLettered && ending.letter => ending.owed = true,
            _ => {}
        }
    }

    /// Begins the way of an action that has a route.
    fn open(&mut self, id: ActionId) {
        let Some(action) = self.actions.get(&id) else { return };
        let (Some(claim), Some(route)) = (action.claim.clone(), action.route) else { return };
        let deadline = self.now.mono_ms + ms(self.settings.route(route).timeout);
        let place = (action.scope, claim.instance.clone());
        let turn = self.turns.entry(place).or_default();
        let ahead = turn.front().copied();
        turn.push_back(id);
        self.claim_token(id);
        self.set_deadline(id, Some(deadline));
        self.keep_open_unseen(id);
        self.begin_verify(id);
        if let Some(ahead) = ahead {
            self.guard(ahead, |core| core.nudge(ahead));
        }
    }

    /// Starts a call.
    pub(super) fn start(&mut self, call: Call, flight: Flight) {
        let id = CallId(self.new_id());
        self.flights.insert(id, flight);
        self.outbox.calls.push((id, call));
    }

    /// The scope that everything of an action is asked with.
    pub(super) fn scope_of(&self, id: ActionId) -> ScopeId {
        self.actions.get(&id).map_or(ScopeId(0), |action| action.scope)
    }
}

/// The ending of a message that nobody can handle.
pub(super) fn undeliverable(code: &str, detail: String) -> Ending {
    Ending { letter: true, ..Ending::because(Outcome::DeadLettered, Reason::new(code, detail)) }
}

/// Runs `work`, and says whether it panicked: what goes wrong inside one action ends that action, never the worker.
pub(super) fn guarded(work: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(work)).is_err()
}
