//! Everything that is decided: one pure state machine for the whole worker.
//!
//! Its inputs are messages, answers and the time; its outputs are calls to make, things that happened, and the time of its next
//! wake-up. It does no I/O, reads no clock, and its randomness comes from a seed that is handed in. So whole fleets run against a
//! model of the services under virtual time, and what those runs exercise is what runs in production.
//!
//! To follow one launch, read down: `receiving` takes its message off the queue, `admission` sees what it is, `verify` asks Auto
//! Scaling whether the claim is true, `enrol` gets the key and the association, `ending` completes, cleans up and deletes. Beside it
//! run `leases` and `heartbeat`; `dispatch` turns what waits into calls, and `answers` gives what they bring back to who asked.

mod action;
mod admission;
mod answers;
pub mod call;
mod confirm;
mod deadline;
mod dispatch;
mod disputes;
mod ending;
mod enrol;
mod gate;
mod heartbeat;
mod held;
mod lane;
mod leases;
pub mod observation;
mod other_hooks;
mod pace;
mod quota;
mod receiving;
mod runs;
#[cfg(test)]
pub(crate) mod samples;
pub mod settings;
mod shutdown;
#[cfg(test)]
mod tests;
mod time;
mod verdict;
mod verify;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use action::{Action, Message, Stage};
use call::{Answer, Call, CallId, RouteId, ScopeId, ServerId};
use gate::Gate;
use held::Streak;
use lane::{Lane, LaneKey, Ticket, Who};
use observation::{Gauges, Observation, Step};
use pace::Pace;
use quota::{Quota, Quotas};
use runs::BrokenRuns;
use settings::Settings;
pub use time::Moment;
use time::{Timers, ms};

use crate::facts::{HookFacts, QueueFacts};
use crate::names::{GroupName, InstanceId, LifecycleActionToken, MessageId};
use crate::retry::Progress;

/// Names an open action inside this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ActionId(u64);

/// Names a message in hand inside this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MessageKey(u64);

/// What the core wants done.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Calls to start now.
    pub calls: Vec<(CallId, Call)>,
    /// Calls to drop: nobody waits for their answer, and none must be given.
    pub aborts: Vec<CallId>,
    /// What happened, in order.
    pub observations: Vec<Observation>,
}

/// Everything that waits for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// An action's stage.
    Stage(ActionId),
    Heartbeat(ActionId),
    Deadline(ActionId),
    Lease(MessageKey),
    Gate(ServerId),
    /// Try one of a route's parked launches again.
    Parked(RouteId),
    /// Ask (again) what the queue is.
    Queue,
    /// Receive again.
    Receive,
    /// This worker has lived long enough to take as much as it can.
    Settled,
    /// Shutdown: drop the polls; give back what waits; end.
    DropPolls,
    Sweep,
    GraceOver,
}

/// What a call in flight is for.
#[derive(Debug)]
enum Flight {
    Queue,
    Poll { began: u64 },
    Health(ServerId),
    Lane { key: LaneKey, tickets: Vec<Ticket>, began: u64 },
}

/// How the queue stands.
#[derive(Debug, Default)]
struct Queue {
    facts: Option<QueueFacts>,
    asked: bool,
    asking: Progress,
    ask_at: Option<u64>,
    polls: u32,
    wanted_polls: u32,
    receiving: Progress,
    receive_at: Option<u64>,
    /// When messages were last received.
    received_at: u64,
    /// Since when it cannot be learned where dead letters go.
    doubted_since: Option<u64>,
    /// Whether this worker has received for long enough to take as much as it can; and when it will have.
    settled: bool,
    settles_at: Option<u64>,
    ended_in_all: usize,
    /// Actions that ended since `counting_since`.
    ended: u32,
    counting_since: u64,
    /// With so many entries that wait for a call nothing is received, as far as the last second showed.
    enough: usize,
    /// When a launch was last seen that had come late.
    late_at: Option<u64>,
    answers: bool,
}

/// The hooks of one group, and who waits for them.
#[derive(Debug, Default)]
struct HookCache {
    asked_at: u64,
    known: bool,
    asking: bool,
    hooks: Vec<HookFacts>,
    waiting: Vec<(ActionId, u32)>,
}

/// The whole worker, decided.
pub struct Core {
    settings: Settings,
    rng: fastrand::Rng,
    now: Moment,
    next_id: u64,
    actions: HashMap<ActionId, Action>,
    tokens: HashMap<LifecycleActionToken, ActionId>,
    spent: disputes::Spent,
    /// The open actions of each instance, in the order they came: the first may act, the others wait.
    turns: HashMap<(ScopeId, InstanceId), VecDeque<ActionId>>,
    /// Launches that are completed, and whose instances wait for another hook.
    followed: BTreeSet<(ScopeId, InstanceId, ActionId)>,
    messages: HashMap<MessageKey, Message>,
    message_ids: HashMap<MessageId, MessageKey>,
    /// The bodies of all messages in hand, in bytes.
    body_bytes: usize,
    hooks: HashMap<(ScopeId, GroupName), HookCache>,
    lanes: BTreeMap<LaneKey, Lane>,
    quotas: Quotas,
    paces: HashMap<Quota, Pace>,
    gates: BTreeMap<ServerId, Gate>,
    /// How long associations of each server have lately taken, in milliseconds.
    typical_ms: HashMap<ServerId, f64>,
    /// How long the slowest of them took, in milliseconds; it fades.
    slowest_ms: HashMap<ServerId, f64>,
    /// How the launches of each route have failed lately.
    streaks: HashMap<RouteId, Streak>,
    flights: HashMap<CallId, Flight>,
    /// How many runs of each message ended in an internal error.
    broken_runs: BrokenRuns,
    queue: Queue,
    timers: Timers<Timer>,
    shutdown: Option<shutdown::Shutdown>,
    outbox: Outbox,
    by_step: [u32; Step::ALL.len()],
    /// Launches held for a fault of their route.
    held: BTreeMap<RouteId, u32>,
    /// How many calls the lanes have sent.
    turn: u64,
    /// Where a test wants a panic.
    #[cfg(test)]
    trips: tests::Trips,
}

impl Core {
    /// A worker that has done nothing yet.
    #[must_use]
    pub fn new(settings: Settings, seed: u64, now: Moment) -> Self {
        let gates = settings.routes.iter().map(|route| (route.server, Gate::new())).collect();
        let mut core = Self {
            quotas: Quotas::of(&settings),
            settings,
            rng: fastrand::Rng::with_seed(seed),
            now,
            next_id: 0,
            actions: HashMap::new(),
            tokens: HashMap::new(),
            spent: disputes::Spent::default(),
            turns: HashMap::new(),
            followed: BTreeSet::new(),
            messages: HashMap::new(),
            message_ids: HashMap::new(),
            body_bytes: 0,
            hooks: HashMap::new(),
            lanes: BTreeMap::new(),
            paces: HashMap::new(),
            gates,
            typical_ms: HashMap::new(),
            slowest_ms: HashMap::new(),
            streaks: HashMap::new(),
            flights: HashMap::new(),
            broken_runs: BrokenRuns::default(),
            queue: Queue { wanted_polls: 1, ..Queue::default() },
            timers: Timers::default(),
            shutdown: None,
            outbox: Outbox::default(),
            by_step: [0; Step::ALL.len()],
            held: BTreeMap::new(),
            turn: 0,
            #[cfg(test)]
            trips: tests::Trips::default(),
        };
        core.arm_queue(Some(now.mono_ms));
        core
    }

    /// Takes the answer to a call.
    pub fn answer(&mut self, now: Moment, call: CallId, answer: Answer) {
        self.now = now;
        self.take_answer(call, answer);
    }

    /// Begins to shut down: no more receiving, and what is in hand ends or is given back within the grace.
    pub fn shut_down(&mut self, now: Moment) {
        self.now = now;
        self.begin_shutdown();
    }

    /// Moves on to `now`, and says what is to be done.
    pub fn poll(&mut self, now: Moment) -> Outbox {
        self.now = now;
        while let Some(timer) = self.timers.pop_due(now.mono_ms) {
            self.fire(timer);
        }
        for lane in self.lanes.values_mut() {
            lane.wake(now.mono_ms);
        }
        self.start_receives();
        self.dispatch();
        std::mem::take(&mut self.outbox)
    }

    /// When [`Core::poll`] wants to be called next if nothing else happens, on the monotonic clock.
    #[must_use]
    pub fn next_wake(&self) -> Option<u64> {
        let now = self.now.mono_ms;
        // This is asked after everything that happens, and most lanes are empty.
        let waited_in = self.lanes.iter().filter(|(_, lane)| lane.waiting() > 0);
        let lanes = waited_in.filter_map(|(key, lane)| {
            let pace_at = if lane.ready.is_empty() { now } else { self.pace_at(*key) };
            lane.next_wake(*key, now, pace_at)
        });
        lanes.chain(self.timers.next()).min()
    }

    /// Whether a shutdown is complete: nothing is in hand and nothing in flight, or the grace is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.shutdown_is_done()
    }

    /// What is in hand.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            by_step: self.by_step,
            messages: u32::try_from(self.messages.len()).unwrap_or(u32::MAX),
            calls: self.calls_in_flight(),
            held: self.settings.routes.iter().zip(0..).map(|(_, at)| self.held.get(&RouteId(at)).copied().unwrap_or_default()).collect(),
            queue_answers: self.queue.answers,
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Stage(id) => self.guard(id, |core| core.stage_is_due(id)),
            Timer::Heartbeat(id) => self.guard(id, |core| core.heartbeat_is_due(id)),
            Timer::Deadline(id) => self.guard(id, |core| core.deadline_is_over(id)),
            Timer::Lease(key) => self.guard_message(key, |core| core.lease_is_due(key)),
            Timer::Gate(server) => self.probe_is_due(server),
            Timer::Parked(route) => self.parked_is_due(route),
            Timer::Queue => {
                self.queue.ask_at = None;
                self.ask_queue();
            }
            // Nothing to do but to look, which every poll does.
            Timer::Receive => self.queue.receive_at = None,
            Timer::Settled => self.queue.settled = true,
            Timer::DropPolls => self.drop_polls(),
            Timer::Sweep => self.sweep(),
            Timer::GraceOver => self.end_grace(),
        }
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn observe(&mut self, observation: Observation) {
        self.outbox.observations.push(observation);
    }

    /// Moves an action to another stage. Answers to what it asked before are nobody's from here on.
    fn set_stage(&mut self, id: ActionId, stage: Stage) {
        let now = self.now;
        let Some(action) = self.actions.get_mut(&id) else { return };
        let renewed = action.renewing && !matches!(stage, Stage::Verify | Stage::Whereabouts | Stage::Hooks);
        if renewed && !matches!(stage, Stage::Associate | Stage::Openness) {
            action.renewing = false;
        }
        action.epoch += 1;
        action.stage = stage;
        if action.ending.is_some() {
            action.certificate = None;
        }
        let step = action.stage.step();
        let before = action.steps.last().map(|record| record.step);
        let began = action.enter_step(step, now).then(|| action.subject()).flatten();
        self.timers.set(Timer::Stage(id), &mut action.wake_at, None);
        let server = action.route.map(|route| self.settings.route(route).server);
        if before != Some(step) {
            if let Some(before) = before {
                self.by_step[before as usize] -= 1;
            }
            self.by_step[step as usize] += 1;
        }
        if renewed && let Some(gate) = server.and_then(|server| self.gates.get_mut(&server)) {
            gate.renewing.remove(&id);
        }
        if let Some(subject) = began {
            self.observe(Observation::StepBegan { subject, step });
        }
        #[cfg(test)]
        self.trips.entered(self.actions.get(&id).map(|action| &action.stage));
    }

    /// Puts an action's question into a lane, in its present epoch.
    fn ask(&mut self, id: ActionId, key: LaneKey) {
        if let Some(action) = self.actions.get(&id) {
            let ticket = Ticket::new(Who::Action(id, action.epoch));
            self.lanes.entry(key).or_default().push(self.now.mono_ms, ticket);
        }
    }

    /// Puts an action's question into a lane, to be asked at `at`.
    fn ask_at(&mut self, id: ActionId, key: LaneKey, at: u64) {
        if let Some(action) = self.actions.get(&id) {
            let ticket = Ticket::new(Who::Action(id, action.epoch));
            self.lanes.entry(key).or_default().push_at(at, ticket);
        }
    }

    fn wake_stage_at(&mut self, id: ActionId, at: u64) {
        if let Some(action) = self.actions.get_mut(&id) {
            self.timers.set(Timer::Stage(id), &mut action.wake_at, Some(at));
        }
    }

    fn set_deadline(&mut self, id: ActionId, at: Option<u64>) {
        if let Some(action) = self.actions.get_mut(&id) {
            self.timers.set(Timer::Deadline(id), &mut action.deadline_at, at);
        }
    }

    fn arm_queue(&mut self, at: Option<u64>) {
        self.timers.set(Timer::Queue, &mut self.queue.ask_at, at);
    }

    fn route_of(&self, id: ActionId) -> Option<RouteId> {
        self.actions.get(&id)?.route
    }

    /// The longest a call can take, in milliseconds.
    fn call_ms(&self) -> u64 {
        ms(self.settings.call_timeout)
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("actions", &self.actions.len()).field("flights", &self.flights.len()).finish_non_exhaustive()
    }
}
