//! Giving answers back to who asked, and retrying what is worth retrying, once for all operations.
//!
//! Throttled: the lane slows down. Transient: the entry waits on its own schedule, or the batch as a whole on the lane's. Not
//! ready, or a fault of the route, at a server: its gate closes. A batch that fails finally is halved until the bad member stands
//! alone. Only what is final for one entry reaches the action.

use std::time::Duration;

use super::action::Ending;
use super::admission::guarded;
use super::call::{Answer, BatchAnswer, CallId};
use super::lane::{LaneKey, Ticket, Who};
use super::observation::Observation;
use super::time::ms;
use super::{ActionId, Core, Flight, Stage};
use crate::facts::Whereabouts;
use crate::retry::{Class, Failure};

/// So many entries in a row refused for a fault of the route, each alone, and the operation is taken to be denied to all.
const DENIED_IN_A_ROW: u32 = 5;
/// So many batches of an entry failed as a whole for a reason that may pass, and one of their members may be the reason.
const SPOILT_BATCHES: u8 = 3;

impl Core {
    pub(super) fn take_answer(&mut self, call: CallId, answer: Answer) {
        match self.flights.remove(&call) {
            // Aborted, or never ours.
            None => {}
            Some(Flight::Queue) => self.take_queue(match answer {
                Answer::Queue(answer) => answer,
                other => Err(unexpected(&other)),
            }),
            Some(Flight::Poll { began }) => self.take_received(
                began,
                match answer {
                    Answer::Received(answer) => answer,
                    other => Err(unexpected(&other)),
                },
            ),
            Some(Flight::Health(server)) => self.take_health(
                server,
                match answer {
                    Answer::Health(answer) => answer,
                    other => Err(unexpected(&other)),
                },
            ),
            Some(Flight::Lane { key, tickets, began }) => {
                self.no_longer_under_way(key, began);
                let now = self.now.mono_ms;
                if let (LaneKey::Server(_), Some(Ticket { who: Who::Action(id, _), .. })) = (key, tickets.first())
                    && let Some(action) = self.actions.get_mut(id)
                {
                    let order = action.ordering.take();
                    if matches!(&answer, Answer::Registration(Err(failure)) if failure.class == Class::Transient) {
                        action.unheard = order.map(|order| (order, now));
                    }
                }
                self.take_lane_answer(key, tickets, began, answer);
            }
        }
    }

    /// A lane's call that was begun at `began` was answered, or dropped.
    pub(super) fn no_longer_under_way(&mut self, key: LaneKey, began: u64) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
        }
        let now = self.now.mono_ms;
        for quota in self.drawn(key).each() {
            self.pace_mut(quota).answered(began, now);
        }
    }

    fn take_lane_answer(&mut self, key: LaneKey, mut tickets: Vec<Ticket>, began: u64, answer: Answer) {
        match answer {
            Answer::Entries(answer) => {
                self.take_batch(key, tickets, answer, |core, ticket, ()| core.take_entry(key, &ticket, began, Ok(())))
            }
            Answer::Keys(answer) => {
                self.take_batch(key, tickets, answer, |core, ticket, found| core.for_action(&ticket, |core, id| core.take_key(id, found)));
            }
            Answer::Instances(answer) => {
                let answer = answer.map(|seen| seen.into_iter().map(Ok).collect());
                self.take_batch(key, tickets, answer, |core, ticket, seen| {
                    core.for_action(&ticket, |core, id| core.take_sighting(id, began, seen.as_ref()));
                });
            }
            Answer::Whereabouts(answer) => {
                let answer = answer.map(|found| found.into_iter().map(Ok).collect());
                self.take_batch(key, tickets, answer, |core, ticket, found| {
                    core.for_action(&ticket, |core, id| core.take_whereabouts(id, found));
                });
            }
            Answer::CommandSent(answer) => {
                let answer = answer.map(|command| tickets.iter().map(|_| Ok(command.clone())).collect());
                self.take_batch(key, tickets, answer, |core, ticket, command| {
                    core.for_action(&ticket, |core, id| core.take_command(id, command));
                });
            }
            Answer::Panicked(detail) if tickets.len() == 1 => match tickets.remove(0) {
                Ticket { who: Who::Action(id, epoch), .. } => {
                    if self.is_current(id, epoch) {
                        self.guard(id, |core| core.internal_error(id, &format!("a call panicked: {detail}")));
                    }
                    if let LaneKey::Server(server) = key
                        && let Some(gate) = self.gates.get_mut(&server)
                    {
                        gate.undecided();
                    }
                }
                ticket => self.entry_failed(key, ticket, began, Failure::new(Class::Transient, "panic", detail)),
            },
            Answer::Panicked(detail) => self.batch_failed(key, tickets, Failure::new(Class::Final, "panic", detail)),
            single => self.take_single(key, tickets, began, single),
        }
    }

    /// An answer to a call with one entry.
    fn take_single(&mut self, key: LaneKey, mut tickets: Vec<Ticket>, began: u64, answer: Answer) {
        let Some(ticket) = tickets.pop() else { return };
        match answer {
            Answer::Hooks(Ok(hooks)) => {
                self.lane_works(key);
                if let Who::Group(group) = ticket.who {
                    self.take_hooks(key, group, began, Ok(hooks));
                }
            }
            Answer::Action(Ok(reply)) => {
                self.lane_works(key);
                match ticket.who {
                    Who::Beat(id) => self.guard(id, |core| core.take_heartbeat(id, began, Ok(reply))),
                    _ => self.for_action(&ticket, |core, id| core.take_completion(id, Ok(reply))),
                }
            }
            Answer::DeadLettered(Ok(())) => {
                self.lane_works(key);
                self.for_action(&ticket, |core, id| core.take_dead_lettered(id, Ok(())));
            }
            Answer::Delivered(Ok(())) => {
                self.lane_works(key);
                self.for_action(&ticket, |core, id| core.delivered(id));
            }
            Answer::Output(Ok(output)) => {
                self.lane_works(key);
                self.for_action(&ticket, |core, id| core.take_output(id, output));
            }
            Answer::Registration(Ok(registration)) => {
                self.lane_works(key);
                if let LaneKey::Server(server) = key {
                    self.open_gate(server);
                }
                self.for_action(&ticket, |core, id| core.take_registration(id, Ok(registration)));
            }
            Answer::Status(Ok(status)) => {
                self.lane_works(key);
                self.for_action(&ticket, |core, id| core.take_status(id, status));
            }
            Answer::Hooks(Err(failure))
            | Answer::Action(Err(failure))
            | Answer::DeadLettered(Err(failure))
            | Answer::Delivered(Err(failure))
            | Answer::Output(Err(failure))
            | Answer::Registration(Err(failure))
            | Answer::Status(Err(failure)) => self.entry_failed(key, ticket, began, failure),
            other => self.entry_failed(key, ticket, began, unexpected(&other)),
        }
    }

    /// An answer to a batch: each entry's own, or a failure of the whole.
    fn take_batch<T>(&mut self, key: LaneKey, tickets: Vec<Ticket>, answer: BatchAnswer<T>, take: impl Fn(&mut Self, Ticket, T)) {
        match answer {
            Ok(entries) => {
                self.lane_works(key);
                let mut entries = entries.into_iter();
                for ticket in tickets {
                    match entries.next() {
                        Some(Ok(entry)) => take(self, ticket, entry),
                        Some(Err(failure)) => self.entry_failed(key, ticket, self.now.mono_ms, failure),
                        None => {
                            let failure = Failure::new(Class::Transient, "no_answer", "the batch's answer leaves this entry out");
                            self.entry_failed(key, ticket, self.now.mono_ms, failure);
                        }
                    }
                }
            }
            Err(failure) => self.batch_failed(key, tickets, failure),
        }
    }

    /// A batch failed as a whole.
    fn batch_failed(&mut self, key: LaneKey, mut tickets: Vec<Ticket>, failure: Failure) {
        self.make_room_at_gates(key);
        if tickets.len() == 1 {
            let began = self.now.mono_ms;
            if let Some(ticket) = tickets.pop() {
                self.entry_failed(key, ticket, began, failure);
            }
            return;
        }
        let now = self.now.mono_ms;
        // What is final for the whole may be one member's fault. What concerns everybody is not found by halving.
        let spoilt = matches!(failure.class, Class::Final | Class::RouteFault | Class::NotReady) && !concerns_all_of(key, &failure);
        let half = u8::try_from(tickets.len() / 2).unwrap_or(u8::MAX).max(1);
        if !spoilt {
            self.block_lane(key, &failure);
        }
        for mut ticket in tickets.into_iter().rev() {
            ticket.failed_batches = ticket.failed_batches.saturating_add(u8::from(failure.class == Class::Transient));
            // So may be what looks as if it would pass, and comes again and again: a member that the service cannot answer breaks its batch
            // each time. While a service is away this costs smaller batches for those alone that have tried it so often.
            if spoilt || ticket.failed_batches >= SPOILT_BATCHES {
                ticket.limit = half;
            }
            self.lane_mut(key).push_front(now, ticket);
        }
    }

    /// An operation fails for everybody: the lane waits, and one schedule is enough.
    fn block_lane(&mut self, key: LaneKey, failure: &Failure) {
        let now = self.now.mono_ms;
        if failure.class == Class::Throttled {
            self.pace_mut(self.drawn(key).throttled).throttled(now);
        }
        // Credentials come back by themselves, and heartbeats cannot wait for minutes then.
        let slowly = failure.class == Class::RouteFault && !failure.concerns_everybody();
        let schedule = if slowly { self.settings.route_fault } else { self.settings.transient };
        let lane = self.lane_mut(key);
        lane.trouble = Some(failure.clone());
        lane.on_trial |= failure.class == Class::RouteFault;
        if lane.blocked_until > now {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let delay = lane.progress.next_delay(&schedule, &mut self.rng);
        lane.blocked_until = now + ms(delay);
        self.observe(Observation::ServiceTrouble { operation: operation(key), failure: failure.clone(), delay });
    }

    /// A call of the lane went through.
    fn lane_works(&mut self, key: LaneKey) {
        for quota in self.drawn(key).each() {
            self.pace_mut(quota).succeeded();
        }
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.works();
        }
    }

    /// One entry failed.
    fn entry_failed(&mut self, key: LaneKey, mut ticket: Ticket, began: u64, failure: Failure) {
        let now = self.now.mono_ms;
        self.make_room_at_gates(key);
        if concerns_all_of(key, &failure) || self.is_denied_to_all(key, &failure) {
            self.block_lane(key, &failure);
            self.remember_failure(&ticket, &failure);
            // What it was refused for may be its own: the next one tries.
            if failure.concerns_everybody() {
                self.lane_mut(key).push_front(now, ticket);
            } else {
                self.lane_mut(key).push(now, ticket);
            }
            if let LaneKey::Server(server) = key
                && let Some(gate) = self.gates.get_mut(&server)
            {
                gate.undecided();
            }
            return;
        }
        if let LaneKey::Server(server) = key {
            // What is final for the node may be so because it is there already, from a run that nobody here knows of, or since what
            // our order made there is not the node's; unless the registrar says that what it found is another's, and left alone.
            let may_be_there = failure.class == Class::Final && !failure.leaves_anothers();
            if failure.class != Class::Transient && !may_be_there {
                self.take_back_association(&ticket);
            }
            match failure.class {
                Class::NotReady | Class::RouteFault => return self.refused_by_server(key, server, ticket, failure),
                // Nobody answers there: to those who wait it is the same.
                Class::Transient if self.gates.get_mut(&server).is_some_and(super::gate::Gate::unanswered) => {
                    return self.refused_by_server(key, server, ticket, Failure { class: Class::NotReady, ..failure });
                }
                // The server did answer, so it takes orders.
                Class::Final => self.open_gate(server),
                Class::Throttled => {
                    if let Some(gate) = self.gates.get_mut(&server) {
                        gate.undecided();
                    }
                }
                Class::Transient => {}
            }
        }
        let schedule = match failure.class {
            Class::Final => return self.final_for_entry(key, ticket, began, failure),
            Class::Throttled => {
                self.pace_mut(self.drawn(key).throttled).throttled(now);
                self.settings.transient
            }
            Class::Transient => self.settings.transient,
            Class::NotReady => self.settings.not_ready,
            Class::RouteFault => self.settings.route_fault,
        };
        let delay = ticket.progress.next_delay(&schedule, &mut self.rng);
        self.lane_mut(key).trouble = Some(failure.clone());
        self.remember_failure(&ticket, &failure);
        self.tell_retry(&ticket, &failure, delay);
        self.lane_mut(key).push_at(now + ms(delay), ticket);
    }

    /// Whether an operation has refused so many entries in a row, each alone, that it refuses everybody's. What keeps actions open or ends
    /// them is not taken for such: the next action may be of a group for which it is allowed.
    fn is_denied_to_all(&mut self, key: LaneKey, failure: &Failure) -> bool {
        if failure.class != Class::RouteFault || key.is_vital() || matches!(key, LaneKey::Server(_)) {
            return false;
        }
        let lane = self.lane_mut(key);
        lane.denied = lane.denied.saturating_add(1);
        lane.denied >= DENIED_IN_A_ROW
    }

    /// A server takes no orders. Who asked keeps its place at the head; but one that was the trial lets the next one try, since what
    /// it was refused for may be its own.
    fn refused_by_server(&mut self, key: LaneKey, server: super::call::ServerId, ticket: Ticket, failure: Failure) {
        let now = self.now.mono_ms;
        self.remember_failure(&ticket, &failure);
        let told = ticket.clone();
        if self.gates.get(&server).is_some_and(|gate| gate.state == super::gate::State::Trial { sent: true }) {
            self.lane_mut(key).push(now, ticket);
        } else {
            self.lane_mut(key).push_front(now, ticket);
        }
        self.close_gate(server, failure.clone());
        // It waits for the server's probe, as all the others do.
        let probe = self.gates.get(&server).and_then(|gate| gate.probe_at).unwrap_or(now);
        self.tell_retry(&told, &failure, Duration::from_millis(probe.saturating_sub(now)));
    }

    /// An association that was plainly refused does not stand; only one whose answer is missing may, and one of several requests, of which
    /// the last was refused.
    fn take_back_association(&mut self, ticket: &Ticket) {
        if let Who::Action(id, epoch) = ticket.who
            && self.is_current(id, epoch)
            && let Some(action) = self.actions.get_mut(&id)
            && action.stage == Stage::Associate
        {
            // Where an order is one call, as it is where the answer to a second one is not documented.
            if action.route.is_some_and(|route| self.settings.route(route).second_chance) {
                action.association = action.association_before;
            }
            action.orders = action.orders.saturating_sub(1);
        }
    }

    /// What an entry failed with for good.
    fn final_for_entry(&mut self, key: LaneKey, ticket: Ticket, began: u64, failure: Failure) {
        match key {
            LaneKey::Extend | LaneKey::Release | LaneKey::Delete | LaneKey::DeleteParameters(_) => {
                self.take_entry(key, &ticket, began, Err(failure));
            }
            LaneKey::Hooks(_) => {
                if let Who::Group(group) = ticket.who {
                    self.take_hooks(key, group, began, Err(failure));
                }
            }
            LaneKey::Heartbeat(_) => {
                if let Who::Beat(id) = ticket.who {
                    self.guard(id, |core| core.take_heartbeat(id, began, Err(failure)));
                }
            }
            LaneKey::Complete(_) => self.for_action(&ticket, |core, id| core.take_completion(id, Err(failure))),
            LaneKey::DeadLetter => self.for_action(&ticket, |core, id| core.take_dead_lettered(id, Err(failure))),
            LaneKey::Server(_) => self.for_action(&ticket, |core, id| core.take_registration(id, Err(failure))),
            LaneKey::Instances(_)
            | LaneKey::Whereabouts(_)
            | LaneKey::Keys(_)
            | LaneKey::Commands(_)
            | LaneKey::Outputs(_)
            | LaneKey::Status(_)
            | LaneKey::PutParameter(_) => {
                let reason = super::observation::Reason::new(failure.code, failure.detail);
                self.for_action(&ticket, |core, id| core.question_failed(id, reason));
            }
        }
    }

    /// A question about an action can have no answer. What is owed, and what was decided, stands all the same.
    fn question_failed(&mut self, id: ActionId, reason: super::observation::Reason) {
        let Some(action) = self.actions.get(&id) else { return };
        match action.stage {
            Stage::Confirm(result) => self.confirm_failed(id, result, reason),
            // It is no proof that the instance is gone, nor that it lives.
            Stage::Whereabouts if action.ending.is_some() => self.take_whereabouts(id, Whereabouts::Unproven),
            Stage::Whereabouts | Stage::Verify if action.hook.is_none() || action.ending.is_some() => {
                let owed = action.may_be_left();
                self.end(id, Ending { owed, ..super::admission::undeliverable(&reason.code, reason.detail) });
            }
            Stage::Status(super::action::Order::Disassociate, _) if action.ending.is_some() => self.disassociation_failed(id, reason, true),
            _ => self.fail(id, reason),
        }
    }

    /// How an entry of the queue's own operations, or of a clean-up, ended.
    fn take_entry(&mut self, key: LaneKey, ticket: &Ticket, began: u64, answer: Result<(), Failure>) {
        match (key, &ticket.who) {
            // A refusal changes nothing: the lease runs out by our own clock.
            (LaneKey::Extend, Who::Message(message))
                if answer.is_ok() && self.messages.get(message).is_some_and(|held| held.owner.is_some() && held.leased_at < began) =>
            {
                self.lease_from(*message, began);
            }
            // Given back or not, it is ours no more.
            (LaneKey::Release, Who::Message(message)) => {
                self.forget_message(*message);
            }
            // A handle that is no longer valid belongs to a message that is gone, or that comes again and is stale then.
            (LaneKey::Delete, Who::Message(message)) => self.guard_message(*message, |core| core.deleted(*message)),
            (LaneKey::DeleteParameters(_), _) => self.for_action(ticket, |core, id| core.cleaned_up(id)),
            _ => {}
        }
    }

    fn is_current(&self, id: ActionId, epoch: u32) -> bool {
        self.actions.get(&id).is_some_and(|action| action.epoch == epoch)
    }

    /// Gives an answer to the action that asked, if it still waits for it. What goes wrong inside ends that action alone.
    pub(super) fn for_action(&mut self, ticket: &Ticket, take: impl FnOnce(&mut Self, ActionId)) {
        if let Who::Action(id, epoch) = ticket.who
            && self.is_current(id, epoch)
        {
            self.guard(id, |core| take(core, id));
        }
    }

    pub(super) fn guard(&mut self, id: ActionId, work: impl FnOnce(&mut Self)) {
        if guarded(|| work(self)) && guarded(|| self.internal_error(id, "a step panicked")) {
            self.drop_broken(id);
        }
    }

    fn remember_failure(&mut self, ticket: &Ticket, failure: &Failure) {
        if let Who::Action(id, epoch) = ticket.who
            && self.is_current(id, epoch)
            && let Some(action) = self.actions.get_mut(&id)
        {
            action.cause = Some(Box::new(failure.clone()));
        }
    }

    fn tell_retry(&mut self, ticket: &Ticket, failure: &Failure, delay: Duration) {
        let (Who::Action(id, _) | Who::Beat(id)) = ticket.who else {
            let operation = if matches!(ticket.who, Who::Group(_)) { "DescribeLifecycleHooks" } else { "an entry of a batch" };
            return self.observe(Observation::ServiceTrouble { operation, failure: failure.clone(), delay });
        };
        let Some(action) = self.actions.get(&id) else { return };
        if let Some(subject) = action.subject() {
            let (step, attempt) = (action.stage.step(), u32::from(ticket.attempt));
            self.observe(Observation::Retrying { subject, step, attempt, failure: failure.clone(), delay });
        }
    }
}

/// Whether a failure concerns everybody who waits in a lane, so that looking for a bad member would find none: our credentials, or what is
/// denied of Auto Scaling's Describe operations, whose rights IAM gives for all resources or for none.
fn concerns_all_of(key: LaneKey, failure: &Failure) -> bool {
    let describes = matches!(key, LaneKey::Instances(_) | LaneKey::Hooks(_) | LaneKey::Whereabouts(_));
    failure.concerns_everybody() || (describes && failure.class == Class::RouteFault)
}

/// An answer of another kind than the call asks for: a mistake of the driver's.
fn unexpected(answer: &Answer) -> Failure {
    let detail = match answer {
        Answer::Panicked(detail) => format!("the call panicked: {detail}"),
        _ => "the answer is of another kind than the call".to_owned(),
    };
    Failure::new(Class::Transient, "internal", detail)
}

fn operation(key: LaneKey) -> &'static str {
    match key {
        LaneKey::Extend | LaneKey::Release => "ChangeMessageVisibilityBatch",
        LaneKey::DeadLetter => "SendMessage",
        LaneKey::Delete => "DeleteMessageBatch",
        LaneKey::Complete(_) => "CompleteLifecycleAction",
        LaneKey::Heartbeat(_) => "RecordLifecycleActionHeartbeat",
        LaneKey::Instances(_) => "DescribeAutoScalingInstances",
        LaneKey::Hooks(_) => "DescribeLifecycleHooks",
        LaneKey::Whereabouts(_) => "DescribeScalingActivities",
        LaneKey::Keys(_) => "GetParameters",
        LaneKey::Commands(_) => "SendCommand",
        LaneKey::Outputs(_) => "GetCommandInvocation",
        LaneKey::Server(_) => "Associate",
        LaneKey::Status(_) => "AssociationStatus",
        LaneKey::PutParameter(_) => "PutParameter",
        LaneKey::DeleteParameters(_) => "DeleteParameters",
    }
}
