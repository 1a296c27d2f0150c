//! Turning what waits into calls: which lane next, how large a batch, and what must hold before a call is sent.
//!
//! Batches fill by need: while calls are cheap a lane sends what it has, and when they are scarce it has one partly filled batch
//! under way at most, so that the next one gathers meanwhile. What nobody waits for may gather for a second.

use std::time::Duration;

use super::action::{Association, Ending, Stage};
use super::call::{ActionOrder, Call, InHand, KeyWanted, NodeOrder, ScopeId};
use super::disputes::DISPUTE_WAIT_MS;
use super::lane::{Lane, LaneKey, Ticket, Who};
use super::pace::Pace;
use super::quota::{Drawn, Quota};
use super::settings::KeySource;
use super::verify::SECOND_CHANCE_FRESH_MS;
use super::{ActionId, Core, Flight};
use crate::names::GroupName;

/// The largest batch of the SQS operations, and of SSM's GetParameters and DeleteParameters.
const TEN: usize = 10;
/// The most ids that DescribeAutoScalingInstances takes, and the most instances that SendCommand does.
const FIFTY: usize = 50;
/// Partly filled batches that one lane may have in flight while calls are cheap.
const PARTIAL_BATCHES: u32 = 8;
/// A ticket whose action's lease must be extended first is looked at again after this time, in milliseconds.
const LEASE_WAIT_MS: u64 = 500;
/// A ticket of which no call can be made, and whose action is not to blame, is tried again after this time, in milliseconds.
const UNBUILT_WAIT_MS: u64 = 5_000;
/// A ticket whose node has an order on its way is looked at again after this time, in milliseconds.
const ORDER_WAIT_MS: u64 = 100;
/// How many entries that cannot join a batch are passed over in search of those that can.
const PASSED_OVER: usize = 64;
/// What must wait for a search of its group's activities that is under way is looked at again after this time, in milliseconds.
const SEARCHED_MS: u64 = 200;

/// Whether a ticket can be sent.
enum Fit {
    Yes,
    /// Nobody waits for it any more.
    Dead,
    /// Not before this time.
    Later(u64),
    /// Its action must be seen waiting again first.
    Renew(ActionId),
}

impl Core {
    /// Calls in flight, long polls aside.
    pub(super) fn calls_in_flight(&self) -> u32 {
        u32::try_from(self.flights.len()).unwrap_or(u32::MAX).saturating_sub(self.queue.polls)
    }

    /// Sends what may be sent.
    pub(super) fn dispatch(&mut self) {
        let mut looked_at: Vec<LaneKey> = Vec::new();
        loop {
            // Looking at a lane may fill another, as when a sighting is renewed before an order. Nothing but this would send what is in it.
            let filled = self.lanes.iter().filter(|(key, lane)| !lane.ready.is_empty() && !looked_at.contains(*key));
            let keys: Vec<LaneKey> = filled.map(|(key, _)| *key).collect();
            if keys.is_empty() {
                return;
            }
            looked_at.extend(&keys);
            self.dispatch_of(keys);
        }
    }

    /// Sends what may be sent of some lanes: what keeps messages ours first, then what ends actions and keeps them open, then all others, those of
    /// each kind in turn; and what of the vital ones waited for others that turned out to have nothing to send.
    fn dispatch_of(&mut self, keys: Vec<LaneKey>) {
        let (vital, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.is_vital());
        let (first, then): (Vec<_>, Vec<_>) = vital.iter().partition(|key| matches!(key, LaneKey::Extend | LaneKey::Release));
        for kind in [first, then, others, vital] {
            self.dispatch_in_turn(kind, |core, key| core.has_slot(key) && core.within_share(key) && core.send_one(key));
        }
    }

    /// One call of each lane after the other, as long as any can send one. Whose last call is longest ago begins, so that of several that wait for
    /// the same slot or draw on the same quota none is always the first.
    fn dispatch_in_turn(&mut self, mut keys: Vec<LaneKey>, send: impl Fn(&mut Self, LaneKey) -> bool) {
        keys.sort_by_key(|key| self.lanes.get(key).map_or(0, |lane| lane.turn));
        loop {
            let mut sent = false;
            for key in &keys {
                if self.lanes.get(key).is_some_and(|lane| !lane.ready.is_empty()) {
                    sent |= send(self, *key);
                }
            }
            if !sent {
                return;
            }
        }
    }

    /// Whether one more call may be in flight. A part of the slots is kept for what keeps messages and actions ours; and where these calls are
    /// slow, as many for all else that could be sent, or launches would be kept open for nothing.
    fn has_slot(&self, key: LaneKey) -> bool {
        let (most, vital) = (self.settings.max_calls, key.is_vital());
        let in_flight = self.calls_in_flight() as usize;
        // The vital lanes come first in the order of lanes.
        let vital_lanes = self.lanes.iter().take_while(|(key, _)| key.is_vital());
        let vital_in_flight = vital_lanes.map(|(_, lane)| lane.in_flight as usize).sum::<usize>();
        let of_its_kind = if vital { vital_in_flight } else { in_flight.saturating_sub(vital_in_flight) };
        let within = of_its_kind < most.saturating_sub(self.kept_slots()).max(1);
        in_flight < most && (within || (vital && !self.others_could_be_sent()))
    }

    /// Whether anything but vital calls could be sent if there were a slot.
    fn others_could_be_sent(&self) -> bool {
        let others = self.lanes.keys().filter(|key| !key.is_vital());
        others.copied().any(|key| self.within_share(key) && self.could_send(key))
    }

    /// How many slots each of the two kinds of calls leaves to the other.
    fn kept_slots(&self) -> usize {
        (self.settings.max_calls / 8).max(1)
    }

    /// Whether a lane has less than its share of the calls in flight, so that one that is slow does not take all of them from the others: from
    /// those of its kind that could send one too, and where it belongs to one route or server, also from those that come later.
    fn within_share(&self, key: LaneKey) -> bool {
        let usable = self.settings.max_calls.saturating_sub(self.kept_slots());
        let in_flight = self.lanes.get(&key).map_or(0, |lane| lane.in_flight as usize);
        let rivals = self.lanes.keys().filter(|other| **other != key && other.is_vital() == key.is_vital());
        let rivals = rivals.filter(|other| self.could_send(**other)).count();
        if rivals > 0 && in_flight >= (usable / (rivals + 1)).max(1) {
            return false;
        }
        let own = |key: &LaneKey| {
            matches!(key, LaneKey::Keys(_) | LaneKey::Commands(_) | LaneKey::Outputs(_) | LaneKey::Server(_) | LaneKey::Status(_))
        };
        if self.settings.routes.len() < 2 || !own(&key) {
            return true;
        }
        let active = self.lanes.iter().filter(|(other, lane)| own(other) && (lane.in_flight > 0 || !lane.ready.is_empty())).count();
        in_flight < (usable / active.max(2)).max(1)
    }

    /// What the calls of a lane draw on.
    pub(super) fn drawn(&self, key: LaneKey) -> Drawn {
        self.quotas.drawn(&self.settings, key)
    }

    /// When the paces of all that a lane draws on let its next call through.
    pub(super) fn pace_at(&self, key: LaneKey) -> u64 {
        let now = self.now.mono_ms;
        let paces = self.drawn(key).each().filter_map(|quota| self.paces.get(&quota));
        paces.map(|pace| pace.next_at(now)).max().unwrap_or(now)
    }

    pub(super) fn pace_mut(&mut self, quota: Quota) -> &mut Pace {
        let (quotas, settings) = (&self.quotas, &self.settings);
        self.paces.entry(quota).or_insert_with(|| Pace::new(quotas.limit(settings, quota)))
    }

    /// Whether a lane has what may be sent now: its tickets apart, of which each is looked at when it is taken.
    fn could_send(&self, key: LaneKey) -> bool {
        let Some(lane) = self.lanes.get(&key) else { return false };
        let now = self.now.mono_ms;
        if lane.ready.is_empty() || (lane.on_trial && lane.in_flight > 0) || lane.blocked_until > now || self.pace_at(key) > now {
            return false;
        }
        if key.batches() && lane.ready.len() < self.batch_of(key) {
            let scarce = self.calls_in_flight() as usize * 2 >= self.settings.max_calls;
            let window = if scarce { 1 } else { PARTIAL_BATCHES };
            // Whoever has just begun may not live long, and what it has done should go first.
            let gathers = self.queue.settled && self.shutdown.is_none() && key.linger_ms() > 0;
            let lingers = gathers && lane.linger_until(key) > now;
            if lingers || lane.in_flight >= window {
                return false;
            }
        }
        self.gate_admits(key)
    }

    /// Whether the gate before a lane's server, where it has one, lets an order through.
    pub(super) fn gate_admits(&self, key: LaneKey) -> bool {
        match key {
            LaneKey::Server(server) => self.gates.get(&server).is_some_and(super::gate::Gate::admits),
            _ => true,
        }
    }

    /// Sends one call of a lane, if it has one that may be sent now.
    fn send_one(&mut self, key: LaneKey) -> bool {
        if !self.could_send(key) {
            return false;
        }
        let now = self.now.mono_ms;
        let waiting = |core: &Self| core.lanes.get(&key).map_or(0, |lane| lane.ready.len());
        let before = waiting(self);
        let tickets = self.take(key, self.batch_of(key));
        if tickets.is_empty() {
            // Whoever left the line to be looked at again has filled another lane, which may have been passed already.
            return matches!(key, LaneKey::Server(_)) && waiting(self) < before;
        }
        // Where one of several cannot be made a call of, each is tried alone.
        let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.build(key, &tickets)));
        if built.is_err() && tickets.len() > 1 {
            for mut ticket in tickets.into_iter().rev() {
                ticket.limit = 1;
                self.lane_mut(key).push_front(now, ticket);
            }
            return true;
        }
        let Some(call) = built.unwrap_or_default() else {
            for ticket in tickets {
                match ticket.who {
                    Who::Action(..) => self.for_action(&ticket, |core, id| core.internal_error(id, "a call lacks what it is made of")),
                    // What a message, a group or a heartbeat waits for has no action to end.
                    _ => self.lane_mut(key).push_at(now + UNBUILT_WAIT_MS, ticket),
                }
            }
            return true;
        };
        if let LaneKey::Server(server) = key
            && let Some(gate) = self.gates.get_mut(&server)
        {
            gate.sent();
        }
        for quota in self.drawn(key).each() {
            self.pace_mut(quota).sent(now);
        }
        let tickets = tickets.into_iter().map(|mut ticket| {
            ticket.attempt = ticket.attempt.saturating_add(1);
            self.note_sent(key, &ticket);
            ticket
        });
        let tickets = tickets.collect();
        self.turn += 1;
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.turn = self.turn;
            lane.in_flight += 1;
            lane.taken(now);
        }
        self.start(call, Flight::Lane { key, tickets, began: now });
        true
    }

    /// Counts the call for the actions that wait for it; and from the moment an association is sent, it may stand.
    fn note_sent(&mut self, key: LaneKey, ticket: &Ticket) {
        let Who::Action(id, _) = ticket.who else { return };
        let Some(action) = self.actions.get_mut(&id) else { return };
        action.count_attempt();
        if !matches!(key, LaneKey::Server(_)) {
            return;
        }
        action.ordering = Some(action.order());
        if action.stage == Stage::Associate {
            action.association_before = action.association;
            action.association = action.association.max(Association::Maybe);
            action.orders += 1;
        } else if action.ending.is_none() {
            action.taken_off = true;
            action.orders = 0;
        }
    }

    fn batch_of(&self, key: LaneKey) -> usize {
        match key {
            LaneKey::Extend | LaneKey::Release | LaneKey::Delete | LaneKey::DeleteParameters(_) => TEN,
            LaneKey::Instances(_) | LaneKey::Whereabouts(_) | LaneKey::Commands(_) => FIFTY,
            LaneKey::Keys(route) => match self.settings.route(route).key {
                KeySource::Parameter { batch, .. } => usize::from(batch.max(1)),
                KeySource::RunCommand => 1,
            },
            _ => 1,
        }
    }

    /// Takes up to `most` tickets that can travel together from the head of a lane.
    fn take(&mut self, key: LaneKey, most: usize) -> Vec<Ticket> {
        let mut taken: Vec<Ticket> = Vec::new();
        let mut passed: Vec<Ticket> = Vec::new();
        let mut limit = most;
        while taken.len() < limit && passed.len() < PASSED_OVER {
            let Some(ticket) = self.lanes.get_mut(&key).and_then(|lane| lane.ready.pop_front()) else { break };
            match self.fit(key, &ticket) {
                Fit::Dead => self.beat_is_dead(&ticket),
                Fit::Later(at) => self.lane_mut(key).push_at(at, ticket),
                Fit::Renew(id) => {
                    if !self.renew(key, id) {
                        // It keeps its place until there is room to look at it again.
                        passed.push(ticket);
                        break;
                    }
                }
                Fit::Yes => {
                    let with_it = limit.min(usize::from(ticket.limit));
                    if taken.is_empty() && self.is_being_searched(key, &ticket) {
                        let at = self.now.mono_ms + SEARCHED_MS;
                        self.lane_mut(key).push_at(at, ticket);
                        continue;
                    }
                    let joins = taken.first().is_none_or(|first| taken.len() < with_it && self.travel_together(key, first, &ticket));
                    if joins {
                        limit = with_it;
                        taken.push(ticket);
                    } else {
                        passed.push(ticket);
                    }
                }
            }
        }
        let now = self.now.mono_ms;
        for ticket in passed.into_iter().rev() {
            self.lane_mut(key).push_front(now, ticket);
        }
        taken
    }

    pub(super) fn lane_mut(&mut self, key: LaneKey) -> &mut Lane {
        self.lanes.entry(key).or_default()
    }

    /// Whether two entries can stand in one call: the activities that are searched are one group's.
    fn travel_together(&self, key: LaneKey, one: &Ticket, other: &Ticket) -> bool {
        !matches!(key, LaneKey::Whereabouts(_)) || self.group_of(one) == self.group_of(other)
    }

    /// Whether the activities of an entry's group are being searched: the next search would wait for that one, and keep those of other groups from
    /// being begun.
    fn is_being_searched(&self, key: LaneKey, ticket: &Ticket) -> bool {
        let LaneKey::Whereabouts(_) = key else { return false };
        let Some(group) = self.group_of(ticket) else { return false };
        self.flights.values().any(|flight| {
            let Flight::Lane { key: of, tickets, .. } = flight else { return false };
            *of == key && tickets.first().and_then(|first| self.group_of(first)) == Some(group)
        })
    }

    fn group_of(&self, ticket: &Ticket) -> Option<&GroupName> {
        Some(&self.claimed_by(ticket)?.group)
    }

    /// What the action claims that an entry is of.
    fn claimed_by(&self, ticket: &Ticket) -> Option<&crate::event::LifecycleAction> {
        let (Who::Action(id, _) | Who::Beat(id)) = ticket.who else { return None };
        self.actions.get(&id)?.claim.as_deref()
    }

    /// Whether a ticket can be sent now.
    fn fit(&self, key: LaneKey, ticket: &Ticket) -> Fit {
        let now = self.now.mono_ms;
        match ticket.who {
            Who::Group(_) => Fit::Yes,
            // What is on its way back to the queue must not be hidden again.
            Who::Message(message) => match self.messages.get(&message) {
                Some(held) if key != LaneKey::Extend || held.owner.is_some() => Fit::Yes,
                _ => Fit::Dead,
            },
            Who::Beat(id) => match self.actions.get(&id) {
                Some(action) if action.beats() => Fit::Yes,
                _ => Fit::Dead,
            },
            Who::Action(id, epoch) => {
                let Some(action) = self.actions.get(&id).filter(|action| action.epoch == epoch) else { return Fit::Dead };
                if key.is_irreversible() && !self.lease_covers_a_call(id) {
                    return Fit::Later(now + LEASE_WAIT_MS);
                }
                if matches!(key, LaneKey::Complete(_)) && self.is_disputed(id) {
                    return Fit::Later(now + DISPUTE_WAIT_MS);
                }
                // An order to take the node off must not overtake the one that puts it on.
                if matches!(key, LaneKey::Server(_)) {
                    if action.ordering.is_some() {
                        return Fit::Later(now + ORDER_WAIT_MS);
                    }
                    let at = action.may_order_at(self.call_ms());
                    if now < at {
                        return Fit::Later(at);
                    }
                }
                // Before a node is taken off for its second chance the look must have been just now.
                let fresh_ms = if action.stage == Stage::Disassociate { SECOND_CHANCE_FRESH_MS } else { self.sighting_fresh_ms() };
                let launches = matches!(key, LaneKey::Server(_)) && action.ending.is_none();
                if launches && action.verified_at.is_none_or(|at| now > at + fresh_ms) {
                    return Fit::Renew(id);
                }
                Fit::Yes
            }
        }
    }

    /// Has an action seen waiting again before its turn at the gate; says whether there was room for that. Where its scope cannot be asked for
    /// now it takes none: routes of other scopes may stand in the same line.
    fn renew(&mut self, key: LaneKey, id: ActionId) -> bool {
        let LaneKey::Server(server) = key else { return false };
        let scope = self.scope_of(id);
        let looks = [LaneKey::Instances(scope), LaneKey::Hooks(scope), LaneKey::Whereabouts(scope)];
        let troubled = looks.iter().filter_map(|key| self.lanes.get(key)).any(|lane| lane.trouble.is_some());
        let Some(gate) = self.gates.get_mut(&server) else { return false };
        if !troubled {
            if gate.renewing.len() >= gate.renewals_allowed() {
                return false;
            }
            gate.renewing.insert(id);
        }
        if let Some(action) = self.actions.get_mut(&id) {
            action.renewing = true;
        }
        self.forget_old_openness(id);
        self.begin_verify(id);
        true
    }

    /// A look has failed: those of its scope that were to be looked at before their turn make room for others in line, and come back to the head
    /// of it once they were.
    pub(super) fn make_room_at_gates(&mut self, key: LaneKey) {
        let (LaneKey::Instances(scope) | LaneKey::Hooks(scope) | LaneKey::Whereabouts(scope)) = key else { return };
        let actions = &self.actions;
        for gate in self.gates.values_mut() {
            gate.renewing.retain(|id| actions.get(id).is_some_and(|action| action.scope != scope));
        }
    }

    /// The call for a batch.
    fn build(&self, key: LaneKey, tickets: &[Ticket]) -> Option<Call> {
        #[cfg(test)]
        self.trips.building(tickets.iter().filter_map(|ticket| self.claimed_by(ticket)));
        let actions = || {
            tickets
                .iter()
                .filter_map(|ticket| if let Who::Action(id, _) | Who::Beat(id) = ticket.who { self.actions.get(&id) } else { None })
        };
        let messages = || {
            let held = tickets.iter().filter_map(|ticket| if let Who::Message(key) = ticket.who { self.messages.get(&key) } else { None });
            held.map(|message| (InHand { id: message.id.clone(), handle: message.handle.clone() }, message.release_delay))
        };
        let instances = || actions().filter_map(|action| Some(action.claim.as_ref()?.instance.clone()));
        let first = actions().next();
        let claim = first.and_then(|action| action.claim.clone());
        Some(match key {
            LaneKey::Extend => Call::Extend { messages: messages().map(|(held, _)| held).collect(), visibility: self.settings.visibility },
            LaneKey::Release => Call::Release { messages: messages().collect::<Vec<(InHand, Duration)>>() },
            LaneKey::Delete => Call::Delete { messages: messages().map(|(held, _)| held).collect() },
            LaneKey::DeadLetter => Call::DeadLetter { url: self.dead_letter_url()?, letter: self.letter(first?)? },
            LaneKey::Complete(scope) => {
                let Stage::Complete(result) = first?.stage else { return None };
                Call::Complete { scope, order: action_order(claim.as_deref()?), result }
            }
            LaneKey::Heartbeat(scope) => Call::Heartbeat { scope, order: action_order(claim.as_deref()?) },
            LaneKey::Instances(scope) => Call::DescribeInstances { scope, instances: instances().collect() },
            LaneKey::Hooks(scope) => Call::DescribeHooks { scope, group: group_asked(tickets)? },
            LaneKey::Whereabouts(scope) => Call::FindWhereabouts { scope, group: claim?.group.clone(), instances: instances().collect() },
            LaneKey::Keys(route) => Call::FetchKeys { route, wanted: actions().filter_map(key_wanted).collect() },
            LaneKey::Commands(route) => Call::SendCommand { route, instances: instances().collect() },
            LaneKey::Outputs(route) => {
                let Stage::Output(command) = &first?.stage else { return None };
                Call::FetchOutput { route, command: command.clone(), wanted: key_wanted(first?)? }
            }
            LaneKey::PutParameter(scope) => {
                let action = first?;
                let (parameter, certificate) = (action.certificate_parameter.clone()?, action.certificate.clone()?);
                Call::PutParameter { scope, parameter, certificate }
            }
            LaneKey::DeleteParameters(scope) => self.build_clean_up(scope, tickets),
            LaneKey::Server(_) => {
                let action = first?;
                let route = action.route?;
                let order = NodeOrder { node: action.node.clone()?, action: claim?, metadata: action.metadata.clone() };
                match action.stage {
                    Stage::Disassociate if action.ending.as_deref().is_some_and(Ending::lives) => Call::Clear { route, order },
                    Stage::Disassociate => Call::Disassociate { route, order },
                    _ => Call::Associate { route, order, key: action.key.clone()? },
                }
            }
            LaneKey::Status(_) => {
                let action = first?;
                let Stage::Status(_, token) = &action.stage else { return None };
                let order = NodeOrder { node: action.node.clone()?, action: claim?, metadata: action.metadata.clone() };
                Call::AssociationStatus { route: action.route?, order, token: token.clone() }
            }
        })
    }

    fn build_clean_up(&self, scope: ScopeId, tickets: &[Ticket]) -> Call {
        let parameters = tickets.iter().filter_map(|ticket| if let Who::Action(id, _) = ticket.who { self.to_clean(id) } else { None });
        Call::DeleteParameters { scope, parameters: parameters.cloned().collect() }
    }
}

fn action_order(claim: &crate::event::LifecycleAction) -> ActionOrder {
    ActionOrder { group: claim.group.clone(), hook: claim.hook.clone(), token: claim.token.clone(), instance: claim.instance.clone() }
}

fn group_asked(tickets: &[Ticket]) -> Option<GroupName> {
    match &tickets.first()?.who {
        Who::Group(group) => Some(group.clone()),
        _ => None,
    }
}

fn key_wanted(action: &super::action::Action) -> Option<KeyWanted> {
    Some(KeyWanted { instance: action.claim.as_ref()?.instance.clone(), node: action.node.clone()?, parameter: action.parameter.clone() })
}
