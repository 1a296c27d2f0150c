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
use super::{ActionId, Core, Flight, MessageKey};
use crate::event::{self, LifecycleAction, Notification, Place};
use crate::facts::{QueueFacts, ReceivedMessage};
use crate::names::{MessageId, NodeName, ParameterName, TemplateValues};

impl Core {
    /// Takes one message up.
    pub(super) fn admit(&mut self, began: u64, received: ReceivedMessage) {
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
    pub(super) fn admission_broke(&mut self, id: &MessageId) {
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
            let ways = (claim.transition, claim.origin, claim.destination);
            (claim.instance.clone(), claim.group.clone(), claim.hook.clone(), claim.account.clone(), ways)
        };
        // Of one event told on two ways only one may name the region.
        let regions = |first: &LifecycleAction| first.region.as_ref().zip(claim.region.as_ref()).is_none_or(|(one, other)| one == other);
        let first = self.actions.get(&first).and_then(|action| action.claim.as_deref());
        first.is_some_and(|first| parts(first) == parts(claim) && regions(first))
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
