//! A launch's way from being verified to being associated: the key material, the server's gate, the status.

use super::action::{Association, Openness, Order, SecondChance, Stage};
use super::call::{Call, ServerId};
use super::gate::State;
use super::lane::{LaneKey, Ticket, Who};
use super::observation::{Observation, Reason};
use super::quota::Quota;
use super::settings::{KeySource, key_early_ms, key_grain_ms};
use super::time::ms;
use super::{ActionId, Core, Flight, Timer};
use crate::event::Place;
use crate::facts::{Certificate, CommandId, CommandOutput, Health, KeyAnswer, Registration, RegistrationStatus, StatusToken};
use crate::retry::{Class, Failure};

/// An association that lately took less than this is asked after at once, in milliseconds.
const AT_ONCE_MS: f64 = 20.0;
/// What completing an action takes once its association is seen to have succeeded, in milliseconds: a call, once tried again.
const COMPLETES_MS: u64 = 5_000;
/// Another worker's association is waited for at most so long, in milliseconds, however long this server's take.
const SLOWEST_MOST_MS: u64 = 60_000;
/// What is left of the slowest order after each that is faster.
const SLOWEST_FADES: f64 = 0.9;
/// The key of a launch that is held is asked for no more often than this, in milliseconds.
const HELD_KEY_POLL_MS: u64 = 60_000;

impl Core {
    /// Asks for the node's key material.
    pub(super) fn begin_key(&mut self, id: ActionId) {
        let Some(action) = self.actions.get(&id) else { return };
        let Some(route_id) = action.route else { return };
        if action.node.is_none() {
            return self.fail(id, Reason::new("bad_node_name", "the route's node_name does not give a valid node name for this action"));
        }
        let key = match self.settings.route(route_id).key {
            KeySource::Parameter { .. } if action.parameter.is_none() => {
                return self
                    .fail(id, Reason::new("bad_parameter_name", "the route's parameter does not give a valid name for this action"));
            }
            KeySource::Parameter { .. } => LaneKey::Keys(route_id),
            KeySource::RunCommand => LaneKey::Commands(route_id),
        };
        self.set_stage(id, Stage::Key);
        self.ask(id, key);
    }

    /// What was found where the key material should be.
    pub(super) fn take_key(&mut self, id: ActionId, answer: KeyAnswer) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        match answer {
            KeyAnswer::Found(key) => {
                action.key = Some(key);
                action.cause = None;
                self.begin_associate(id);
            }
            KeyAnswer::Absent => {
                action.cause = Some(Box::new(Failure::new(Class::Final, "no_key", "the node has not published its key material")));
                self.ask_for_key_later(id);
            }
            KeyAnswer::Refused { code, reason, security } => {
                let reason = Reason::new(code, reason);
                if security && let Some(subject) = action.subject() {
                    self.observe(Observation::Security { subject, reason: reason.clone() });
                }
                self.fail(id, reason);
            }
        }
    }

    /// Asks again before the poll interval is over. Those who wait together are asked for together: the time is rounded to a grain, so that
    /// batches fill.
    fn ask_for_key_later(&mut self, id: ActionId) {
        let Some(route_id) = self.route_of(id) else { return };
        let route = self.settings.route(route_id);
        // One that is held for its route is in no hurry, and thousands may be.
        let held = self.actions.get(&id).is_some_and(|action| action.held);
        let poll = ms(route.key_poll).max(if held { HELD_KEY_POLL_MS } else { 1 });
        let grain = key_grain_ms(poll);
        let at = (self.now.mono_ms + poll - key_early_ms(poll)) / grain * grain;
        let key = match route.key {
            KeySource::Parameter { .. } => LaneKey::Keys(route_id),
            KeySource::RunCommand => LaneKey::Commands(route_id),
        };
        self.set_stage(id, Stage::Key);
        self.ask_at(id, key, at);
    }

    /// A command was sent to the instance.
    pub(super) fn take_command(&mut self, id: ActionId, command: CommandId) {
        let Some(route) = self.route_of(id) else { return };
        self.set_stage(id, Stage::Output(command));
        self.ask_at(id, LaneKey::Outputs(route), self.now.mono_ms + 1000);
    }

    /// What the command brought.
    pub(super) fn take_output(&mut self, id: ActionId, output: CommandOutput) {
        match output {
            CommandOutput::Running => {
                let Some(route) = self.route_of(id) else { return };
                let Some(action) = self.actions.get_mut(&id) else { return };
                let schedule = self.settings.route(route).status_poll;
                let delay = action.looking.next_delay(&schedule, &mut self.rng);
                self.ask_at(id, LaneKey::Outputs(route), self.now.mono_ms + ms(delay));
            }
            CommandOutput::Ended(answer) => self.take_key(id, answer),
            // The agent is often up before the key is there, and until then the document fails.
            CommandOutput::Failed(detail) => {
                let Some(action) = self.actions.get_mut(&id) else { return };
                action.cause = Some(Box::new(Failure::new(Class::Final, "command_failed", detail)));
                self.ask_for_key_later(id);
            }
        }
    }

    /// Queues the node for its server. One whose sighting was renewed for its turn takes its place at the head again.
    pub(super) fn begin_associate(&mut self, id: ActionId) {
        let Some(action) = self.actions.get(&id) else { return };
        let Some(route) = action.route else { return };
        let renewed = action.renewing;
        self.set_stage(id, Stage::Associate);
        self.queue_for_server(id, self.settings.route(route).server, renewed);
        if let Some(action) = self.actions.get_mut(&id) {
            action.renewing = false;
        }
    }

    /// Queues the node for being taken off its server.
    pub(super) fn begin_disassociate(&mut self, id: ActionId) {
        let Some(route) = self.route_of(id) else { return };
        let route = self.settings.route(route);
        let (server, timeout) = (route.server, ms(route.timeout));
        // One whose look grew old in line has its place again: at the tail it would grow old once more.
        let renewed = self.actions.get(&id).is_some_and(|action| action.renewing);
        self.set_stage(id, Stage::Disassociate);
        // Whatever came before may have taken longer than the time that was set for all of it.
        if self.actions.get(&id).is_some_and(|action| action.deadline_at.is_none()) {
            self.set_deadline(id, Some(self.now.mono_ms + timeout));
        }
        self.queue_for_server(id, server, renewed);
    }

    fn queue_for_server(&mut self, id: ActionId, server: ServerId, at_head: bool) {
        let Some(action) = self.actions.get(&id) else { return };
        let ticket = Ticket::new(Who::Action(id, action.epoch));
        let lane = self.lanes.entry(LaneKey::Server(server)).or_default();
        if at_head {
            lane.push_front(self.now.mono_ms, ticket);
        } else {
            lane.push(self.now.mono_ms, ticket);
        }
    }

    /// What the registrar said to an order.
    pub(super) fn take_registration(&mut self, id: ActionId, answer: Result<Registration, Failure>) {
        if answer.is_ok() {
            self.is_taken(id);
        }
        let Some(action) = self.actions.get(&id) else { return };
        let order = action.order();
        match answer {
            Ok(Registration::Done) => self.order_is_done(id, order, None),
            Ok(Registration::Signed(certificate)) => self.order_is_done(id, order, Some(certificate)),
            Ok(Registration::InProgress(token)) => self.await_status(id, order, token),
            Err(failure) => self.order_failed(id, order, failure),
        }
    }

    /// Waits for the status of an order, as long as the server's orders have lately taken.
    fn await_status(&mut self, id: ActionId, order: Order, token: StatusToken) {
        let Some(route_id) = self.route_of(id) else { return };
        let route = self.settings.route(route_id);
        let first = ms(route.status_poll.initial) as f64;
        // The first of all is asked after at once: it may be done, and then nobody else needs to wait.
        let is_first = !self.typical_ms.contains_key(&route.server);
        let typical = *self.typical_ms.entry(route.server).or_insert(first);
        self.set_stage(id, Stage::Status(order, token));
        if let Some(action) = self.actions.get_mut(&id) {
            action.ordered_at = self.now.mono_ms;
            action.looking.reset();
        }
        if is_first || typical < AT_ONCE_MS {
            self.ask_status(id);
        } else {
            self.wake_stage_at(id, self.now.mono_ms + typical as u64);
        }
    }

    /// Asks how an order stands.
    pub(super) fn ask_status(&mut self, id: ActionId) {
        if let Some(route) = self.route_of(id) {
            self.ask(id, LaneKey::Status(self.settings.route(route).server));
        }
    }

    /// How an order stands.
    pub(super) fn take_status(&mut self, id: ActionId, status: RegistrationStatus) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        let Stage::Status(order, _) = action.stage else { return };
        match status {
            RegistrationStatus::Success => {
                self.learn_typical(id);
                self.order_is_done(id, order, None);
            }
            RegistrationStatus::Signed(certificate) => {
                self.learn_typical(id);
                self.order_is_done(id, order, Some(certificate));
            }
            RegistrationStatus::InProgress => {
                action.cause = None;
                let Some(route) = action.route else { return };
                let schedule = self.settings.route(route).status_poll;
                let delay = action.looking.next_delay(&schedule, &mut self.rng);
                self.wake_stage_at(id, self.now.mono_ms + ms(delay));
            }
            RegistrationStatus::Failed(detail) => {
                self.order_failed(id, order, Failure::new(Class::Final, "registrar_failed", detail));
            }
            RegistrationStatus::Refused(failure) => self.order_failed(id, order, failure),
            RegistrationStatus::UnknownToken if !action.reordered => {
                action.reordered = true;
                // The server no longer knows it: it is to be asked sooner than that.
                let server = action.route.map(|route| self.settings.route(route).server);
                if let Some(typical) = server.and_then(|server| self.typical_ms.get_mut(&server)) {
                    *typical *= 0.5;
                }
                self.give_order(id, order);
            }
            RegistrationStatus::UnknownToken => {
                let detail = "the registrar knows neither the order's token nor that of its repetition";
                self.order_failed(id, order, Failure::new(Class::Final, "unknown_status_token", detail));
            }
        }
    }

    /// Keeps in mind how long orders take, so that the next first look comes neither too early nor too late.
    fn learn_typical(&mut self, id: ActionId) {
        let Some(action) = self.actions.get(&id) else { return };
        let Some(route) = action.route else { return };
        let took = self.now.mono_ms.saturating_sub(action.ordered_at) as f64;
        let at_first_look = action.steps.last().is_some_and(|step| step.attempts <= 1);
        let server = self.settings.route(route).server;
        let slowest = self.slowest_ms.entry(server).or_insert(took);
        *slowest = took.max(*slowest * SLOWEST_FADES);
        let typical = self.typical_ms.entry(server).or_insert(took);
        // A success at the first look says only that it took at most so long.
        *typical = if at_first_look { (took * 0.7).min(*typical) } else { *typical * 0.8 + took * 0.2 };
    }

    fn give_order(&mut self, id: ActionId, order: Order) {
        match order {
            Order::Associate => self.begin_associate(id),
            Order::Disassociate => self.begin_disassociate(id),
        }
    }

    /// The registrar reported success.
    fn order_is_done(&mut self, id: ActionId, order: Order, certificate: Option<Certificate>) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        match order {
            Order::Associate => {
                action.association = Association::Done;
                action.taken_off = false;
                if action.certificate_parameter.is_none() {
                    return self.end_enrolled(id);
                }
                action.certificate = certificate.filter(Certificate::fits_a_parameter);
                if action.certificate.is_some() { self.begin_deliver(id) } else { self.without_certificate(id) }
            }
            Order::Disassociate => {
                action.association = Association::None;
                match &mut action.ending {
                    Some(ending) => {
                        ending.disassociate = false;
                        self.go_on_ending(id);
                    }
                    // The second chance: taken off, and now associated once more.
                    None => {
                        action.second_chance = SecondChance::Taken;
                        self.begin_associate(id);
                    }
                }
            }
        }
    }

    /// The registrar reported success, and gave no certificate to a node that waits for one: in service it would wait for ever. Where it is
    /// documented nowhere what a repeated association is answered with, this may be the answer to one, and the certificate that of an earlier
    /// run: taken off and associated anew, the node gets another.
    fn without_certificate(&mut self, id: ActionId) {
        let detail = "the registrar reported success without a certificate that can be used, and the node waits for one";
        let failure = Failure::new(Class::Final, "no_certificate", detail);
        let route = self.route_of(id).map(|route| self.settings.route(route));
        if route.is_some_and(|route| route.second_chance) {
            return self.order_failed(id, Order::Associate, failure);
        }
        // Unlike one that was refused, it is taken off again: what stands there is its own.
        self.fail(id, Reason::new(failure.code, failure.detail));
    }

    /// Writes the certificate where the node waits for it. A second run writes the same once more.
    pub(super) fn begin_deliver(&mut self, id: ActionId) {
        self.set_stage(id, Stage::Deliver);
        let scope = self.scope_of(id);
        self.ask(id, LaneKey::PutParameter(scope));
    }

    /// The node has its certificate.
    pub(super) fn delivered(&mut self, id: ActionId) {
        self.end_enrolled(id);
    }

    /// The registrar said that an order will not succeed. Where it is documented nowhere what a repeated association of the same node is
    /// answered with, a failure may only mean that the node is there: from an earlier run, from the warm pool, by an order of ours whose
    /// answer was lost, or by another worker with the same message, of which nobody here knows. Before it is believed the node is taken
    /// off and associated once more. Every other registrar has told of the node itself: it answers a repetition with success, so what
    /// may stand there after a refusal has another key. It is neither tried again nor taken off, and the same holds for what a registrar
    /// says is another's.
    fn order_failed(&mut self, id: ActionId, order: Order, failure: Failure) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        let contested = failure.is_security();
        let believed = action.route.is_none_or(|route| !self.settings.route(route).second_chance);
        // A contested name was perhaps ours for a moment, so that case is taken off as far as there is anything of ours.
        let anothers = failure.leaves_anothers() || (believed && !contested);
        // Taking it off again may meet the same; somebody is woken once.
        if contested
            && order == Order::Associate
            && let Some(subject) = action.subject()
        {
            self.observe(Observation::Security { subject, reason: Reason::new(failure.code.clone(), failure.detail.clone()) });
        }
        let Some(action) = self.actions.get_mut(&id) else { return };
        // Its instance goes on whatever we do: a refusal may mean that the node is there, and by a second chance it would only be missing.
        if order == Order::Associate && action.openness == Openness::Closed {
            return self.end_completed_before(id, Some(failure));
        }
        match order {
            Order::Associate if anothers || contested => {
                if anothers {
                    action.association = Association::None;
                }
                self.fail(id, Reason::new(failure.code, failure.detail));
            }
            Order::Associate => {
                // After the second chance a failure is believed, unless an answer was lost on the way: then it may be our own doing again.
                let believed = action.second_chance == SecondChance::Taken && action.orders <= 1;
                action.cause = Some(Box::new(failure.clone()));
                action.second_chance = if believed { SecondChance::GiveUp(Box::new(failure)) } else { SecondChance::TakeOff };
                self.look_before_second_chance(id);
            }
            Order::Disassociate if action.ending.is_none() => {
                action.second_chance = SecondChance::Taken;
                self.begin_associate(id);
            }
            Order::Disassociate => self.disassociation_failed(id, Reason::new(failure.code, failure.detail), true),
        }
    }

    /// Looks at the instance again before its node is taken off, or its launch given up. If another worker associated it just now,
    /// that one sees so at its next look at the status, and then has one call to make: after that the instance waits no longer, and
    /// nothing is left to do here. Waiting for a whole visibility time-out would be surer, since what another worker holds has then
    /// come to an end or come back, but a node that is merely bad would keep its group waiting for minutes.
    fn look_before_second_chance(&mut self, id: ActionId) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        // Another worker may have completed it meanwhile.
        action.openness = Openness::Unknown;
        let Some(route_id) = action.route else { return };
        // What comes out of the warm pool was associated when it went in: no other worker need have had a hand in it.
        // That is the sender's word, and nothing at all for one that was seen entering the pool.
        let from_pool = action.claim.as_ref().is_some_and(|claim| claim.origin == Some(Place::WarmPool));
        let pooled = from_pool && action.pool_seen_at.is_none();
        let route = self.settings.route(route_id);
        let associates = self.slowest_ms.get(&route.server).map_or(0, |slowest| *slowest as u64).min(SLOWEST_MOST_MS);
        let at_once = pooled && !action.taken_off;
        let pause = if at_once { 0 } else { associates + ms(route.status_poll.max) + COMPLETES_MS };
        if let (SecondChance::TakeOff, Some(subject), Some(failure)) =
            (&action.second_chance, action.subject(), action.cause.as_deref().cloned())
        {
            let (step, attempt, delay) = (subject.step, subject.attempt, std::time::Duration::from_millis(pause));
            self.observe(Observation::Retrying { subject, step, attempt, failure, delay });
        }
        if at_once {
            return self.begin_verify(id);
        }
        self.set_stage(id, Stage::LookAgain);
        self.wake_stage_at(id, self.now.mono_ms + pause);
    }

    /// The server or the way to it refused an order: its gate closes, and one probe waits for all.
    pub(super) fn close_gate(&mut self, server: ServerId, failure: Failure) {
        let waiting = self.lanes.get(&LaneKey::Server(server)).map_or(0, super::lane::Lane::waiting);
        let schedules = (&self.settings.not_ready, &self.settings.route_fault);
        let Some(gate) = self.gates.get_mut(&server) else { return };
        let Some(delay) = gate.refused(failure.clone(), schedules, &mut self.rng) else { return };
        self.timers.set(Timer::Gate(server), &mut gate.probe_at, Some(self.now.mono_ms + delay));
        let delay = std::time::Duration::from_millis(delay);
        if let Some(route) = self.route_at(server) {
            self.observe(Observation::ServerHeld { route, failure, waiting, delay });
        }
    }

    /// An order went through: the gate opens if it was its trial, and lets the others through at a growing rate.
    pub(super) fn open_gate(&mut self, server: ServerId) {
        let waiting = self.lanes.get(&LaneKey::Server(server)).map_or(0, super::lane::Lane::waiting);
        if !self.gates.get_mut(&server).is_some_and(super::gate::Gate::went_through) {
            return;
        }
        let now = self.now.mono_ms;
        // It is this server that comes back; what others of the account and region may be told goes on.
        self.pace_mut(Quota::Server(server)).ramp_from(now, super::gate::RAMP_FROM);
        if let Some(route) = self.route_at(server) {
            self.observe(Observation::ServerReady { route, waiting });
        }
    }

    /// Time to ask a server whether it is ready, if anybody waits for it.
    pub(super) fn probe_is_due(&mut self, server: ServerId) {
        let Some(gate) = self.gates.get_mut(&server) else { return };
        gate.probe_at = None;
        if gate.state != State::Closed {
            return;
        }
        if self.lanes.get(&LaneKey::Server(server)).is_none_or(|lane| lane.waiting() == 0) {
            // Nobody waits: whoever comes next is the trial.
            gate.state = State::Trial { sent: false };
            return;
        }
        gate.state = State::Asking;
        if let Some(route) = self.route_at(server) {
            self.start(Call::CheckHealth { route }, Flight::Health(server));
        }
    }

    /// What a server said of its health.
    pub(super) fn take_health(&mut self, server: ServerId, answer: Result<Health, Failure>) {
        let Some(gate) = self.gates.get_mut(&server) else { return };
        if gate.state != State::Asking {
            return;
        }
        gate.state = State::Trial { sent: false };
        let failure = match answer {
            Ok(Health::Ready) => return,
            Ok(Health::NotReady(state)) => Failure::new(Class::NotReady, "not_ready", format!("the server says it is {state}")),
            Ok(Health::Dead(state)) => Failure::new(Class::RouteFault, "dead_server", format!("the server says it is {state}")),
            // We may not be allowed to ask; then the trial itself tells.
            Err(failure) if matches!(failure.class, Class::RouteFault | Class::Final) => return,
            Err(failure) => Failure { class: Class::NotReady, ..failure },
        };
        self.close_gate(server, failure);
    }

    /// A route that speaks to the server.
    pub(super) fn route_at(&self, server: ServerId) -> Option<super::call::RouteId> {
        let at = self.settings.routes.iter().position(|route| route.server == server)?;
        u16::try_from(at).ok().map(super::call::RouteId)
    }
}
