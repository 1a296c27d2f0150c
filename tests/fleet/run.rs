//! Runs a fleet under virtual time: the workers' cores, their calls, the model of the services, and what the plan does to them.

use std::collections::{BTreeMap, HashMap};

use enrolld::core::call::{Answer, Call, CallId};
use enrolld::core::observation::{Gauges, Observation, Outcome};
use enrolld::core::settings::KeySource;
use enrolld::core::{Core, Moment, Outbox};
use enrolld::simulator::model::World;
use enrolld::simulator::model::agent::{AgentOptions, Material, material};
use enrolld::simulator::model::caller::Caller;
use enrolld::simulator::model::opsworks_cm::Engine;
use enrolld::simulator::model::state::State;
use fastrand::Rng;

use crate::plan::{BEGIN, Dice, OTHER_HOOK, Plan, SERVERS};
use crate::services::{QUEUE, Services};

/// A fleet that has not come to rest so long after it began, and after any of its launches was held, never will.
const LONGEST_MS: u64 = 8 * 3600 * 1000;
/// How often it is looked whether everything rests.
const LOOK_MS: u64 = 15_000;
/// Everything must rest for so long.
const REST_MS: u64 = 75_000;
/// A worker that wants to be looked at so often within a millisecond spins.
const SPINS: u32 = 100;

/// A call of one run of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    worker: usize,
    run: u32,
    call: CallId,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Process(Key),
    Deliver(Key),
    PollEnds(Key),
    Deed(usize),
    Restart(usize),
    Resume(usize, u32),
    /// The instance that was launched so manyeth rewrites its key.
    Rewrite(usize),
    Look,
}

/// That a run of a worker, or what it did for one instance, came to an end without a result.
#[derive(Debug)]
pub struct LetGo {
    pub at: u64,
    /// As whom it spoke to the registrars.
    pub run: Caller,
    /// The instance, and the token; none where the whole run ended.
    pub instance: Option<String>,
    pub token: Option<String>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Answered,
    Slow,
    Throttled,
    ServerError,
    Dropped,
    AnswerLost,
    Hung,
    Panicked,
    /// Its worker died while it was under way, and it was processed or not.
    Orphaned,
}

impl Fate {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::Slow,
        Self::Throttled,
        Self::ServerError,
        Self::Dropped,
        Self::AnswerLost,
        Self::Hung,
        Self::Panicked,
        Self::Orphaned,
    ];
}

struct Underway {
    call: Call,
    /// Which of its worker's calls it is.
    ordinal: u32,
    fate: Fate,
    answer: Option<Answer>,
    answer_after: u64,
    /// Its worker does not wait for it any more.
    dropped: bool,
}

/// One worker: its core while it lives.
struct Worker {
    core: Option<Core>,
    run: u32,
    wake: Option<u64>,
    dirty: bool,
    paused: bool,
    waiting: Vec<(CallId, Answer)>,
    down_ms: u64,
    stopping_since: Option<u64>,
    calls: u32,
    spun: (u64, u32),
}

/// Where a worker is to be killed, counted in its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    BeforeCall(u32),
    Processed(u32),
    Answered(u32),
}

/// An order or a question to a registrar: what the gate is measured by.
#[derive(Debug, Clone, Copy)]
pub struct Knock {
    pub at: u64,
    pub worker: usize,
    pub run: u32,
    pub server: usize,
    pub clean: bool,
}

/// What a run came to.
pub struct Fleet {
    pub plan: Plan,
    pub services: Services,
    pub now: u64,
    /// What each instance publishes, where it is not the group's own.
    pub agents: HashMap<String, AgentOptions>,
    /// The instances that the plan launched.
    pub launched: Vec<String>,
    pub let_go: Vec<LetGo>,
    pub witness: Witness,
    /// Why launches were abandoned, by their tokens, as the workers say.
    pub failures: HashMap<String, Vec<String>>,
    pub fates: BTreeMap<Fate, u64>,
    pub outcomes: BTreeMap<&'static str, u64>,
    pub reasons: BTreeMap<String, u64>,
    /// The results that were recorded, by lifecycle action token, or by message where that was no action: when, and which.
    pub records: HashMap<String, Vec<(u64, Outcome)>>,
    pub deeds: BTreeMap<&'static str, u64>,
    pub maintenance: Vec<(usize, u64, u64)>,
    pub knocks: Vec<Knock>,
    pub crashes: u64,
    pub calls: u64,
    pub steps: u64,
    pub most_messages: u32,
    /// What went wrong in the running itself.
    pub faults: Vec<String>,
    /// The calls of each worker, in order.
    pub called: Vec<(usize, &'static str)>,
    pub kill: Option<Kill>,
    pub trace: bool,
    workers: Vec<Worker>,
    agenda: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    underway: HashMap<Key, Underway>,
    polls: Vec<Key>,
    dice: Dice,
    /// Which instances rewrite their keys, and when.
    rewriting: Dice,
    resting_since: Option<u64>,
    /// When a worker last held a launch to its hook's own limit.
    held_at: u64,
    over: bool,
}

macro_rules! trace {
    ($fleet:expr, $($text:tt)*) => {
        if $fleet.trace {
            println!("{:>9.3} {}", ($fleet.now - $crate::plan::BEGIN) as f64 / 1000.0, format!($($text)*));
        }
    };
}

mod calls;
mod deeds;
pub mod witness;

use calls::orderer;
use witness::{Befell, Witness};

impl Fleet {
    pub fn new(plan: Plan, trace: bool) -> Self {
        let world = World::from_fixture(plan.fixture.clone(), plan.seed, BEGIN).unwrap();
        let mut services = Services::new(world, SERVERS.to_vec(), Some(plan.max_receive_count));
        services.outages = plan.outages.clone();
        let alone = |key: &KeySource| matches!(key, KeySource::Parameter { batch: 1, .. });
        services.puppet = plan.fixture.servers.iter().map(|server| server.engine == Engine::Puppet).collect();
        services.owned = plan.settings.routes.iter().map(|route| alone(&route.key)).collect();
        let worker = |_| Worker {
            core: None,
            run: 0,
            wake: None,
            dirty: false,
            paused: false,
            waiting: Vec::new(),
            down_ms: 0,
            stopping_since: None,
            calls: 0,
            spun: (0, 0),
        };
        let mut fleet = Self {
            services,
            now: BEGIN,
            agents: HashMap::new(),
            launched: Vec::new(),
            let_go: Vec::new(),
            witness: Witness::default(),
            failures: HashMap::new(),
            fates: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            reasons: BTreeMap::new(),
            records: HashMap::new(),
            deeds: BTreeMap::new(),
            maintenance: Vec::new(),
            knocks: Vec::new(),
            crashes: 0,
            calls: 0,
            steps: 0,
            most_messages: 0,
            faults: Vec::new(),
            called: Vec::new(),
            kill: None,
            trace,
            workers: (0..plan.workers).map(worker).collect(),
            agenda: BTreeMap::new(),
            sequence: 0,
            underway: HashMap::new(),
            polls: Vec::new(),
            dice: Dice(Rng::with_seed(plan.seed ^ 0xca11_0dd5)),
            rewriting: Dice(Rng::with_seed(plan.seed ^ 0x4e77_4e77)),
            resting_since: None,
            held_at: BEGIN,
            over: false,
            plan,
        };
        for worker in 0..fleet.plan.workers {
            fleet.schedule(BEGIN + worker as u64 * 37, Event::Restart(worker));
        }
        for number in 0..fleet.plan.script.len() {
            fleet.schedule(fleet.plan.script[number].0, Event::Deed(number));
        }
        fleet.schedule(BEGIN + LOOK_MS, Event::Look);
        fleet
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.agenda.insert((at.max(self.now), self.sequence), event);
    }

    /// Runs until everything rests.
    pub fn run(&mut self) {
        while !self.over {
            self.steps += 1;
            let agenda = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let world = self.services.world.next_event();
            let wakes = self.workers.iter().enumerate().filter(|(_, worker)| worker.core.is_some() && !worker.paused);
            let wakes = wakes.filter_map(|(number, worker)| Some(worker.wake? + self.mono_offset(number)));
            let Some(next) = wakes.chain(agenda).chain(world).min() else { return self.fail("nothing is left to happen".into()) };
            self.now = next.max(self.now);
            if self.now > self.held_at.min(self.plan.holds_until()) + LONGEST_MS {
                return self.fail(format!("the fleet does not come to rest: {}", self.what_is_left()));
            }
            self.services.world.advance(self.now);
            while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let event = entry.remove();
                self.happen(event);
            }
            self.serve_polls();
            for number in 0..self.workers.len() {
                self.look_at(number);
            }
            if !self.faults.is_empty() {
                self.over = true;
            }
        }
    }

    fn fail(&mut self, what: String) {
        trace!(self, "FAULT: {what}");
        self.faults.push(what);
        self.over = true;
    }

    /// Each worker's monotonic clock begins elsewhere; this much is taken off Unix time.
    fn mono_offset(&self, worker: usize) -> u64 {
        BEGIN - 1_000_000 * (worker as u64 + 1)
    }

    fn moment(&self, worker: usize) -> Moment {
        Moment { mono_ms: self.now - self.mono_offset(worker), wall_ms: self.now.saturating_add_signed(self.plan.skew_ms[worker]) }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Process(key) => self.process(key),
            Event::Deliver(key) => self.deliver(key),
            Event::PollEnds(key) => {
                if let Some(at) = self.polls.iter().position(|poll| *poll == key) {
                    self.polls.remove(at);
                    self.process(key);
                }
            }
            Event::Deed(number) => self.deed(number),
            Event::Restart(worker) => self.start(worker),
            Event::Resume(worker, run) => self.resume(worker, run),
            Event::Rewrite(number) => {
                let id = self.launched[number].clone();
                let another = material(&Material::Good, !self.plan.seed, &id);
                let there = self.services.world.lifecycle_state(&id).is_some_and(|state| state.is_listed());
                if there && self.services.rewrite_key(self.now, &id, another) {
                    trace!(self, "  {id} rewrites its key");
                    *self.deeds.entry("rewriting").or_default() += 1;
                    let at = self.now;
                    self.witness.rewritten.entry(id).or_insert(at);
                }
            }
            Event::Look => self.look(),
        }
    }

    fn start(&mut self, number: usize) {
        if self.workers[number].core.is_some() {
            return;
        }
        let seed = self.dice.0.u64(..);
        let mut settings = self.plan.settings.clone();
        settings.worker = format!("worker-{number}");
        let core = Core::new(settings, seed, self.moment(number));
        trace!(self, "worker {number} starts");
        let worker = &mut self.workers[number];
        worker.core = Some(core);
        worker.run += 1;
        worker.dirty = true;
        worker.paused = false;
        worker.stopping_since = None;
        worker.waiting.clear();
    }

    /// Ends a worker where it stands: each of its calls under way is processed or not, and none is answered.
    fn end(&mut self, number: usize, down_ms: u64) {
        let worker = &mut self.workers[number];
        worker.core = None;
        let run = worker.run;
        self.let_go.push(LetGo { at: self.now, run: orderer(number, run), instance: None, token: None });
        self.witness_load((number, run), 0);
        let mut keys: Vec<Key> = self.underway.keys().filter(|key| key.worker == number && key.run == run).copied().collect();
        keys.sort_unstable();
        for key in keys {
            let unprocessed = self.underway[&key].answer.is_none();
            if unprocessed && (self.dice.chance(0.5) || self.plan.spares_receives()) {
                self.underway.remove(&key);
            }
            *self.fates.entry(Fate::Orphaned).or_default() += 1;
        }
        let at = self.now + down_ms;
        self.schedule(at, Event::Restart(number));
    }

    fn crash(&mut self, number: usize, down_ms: u64) {
        if self.workers[number].core.is_some() {
            trace!(self, "worker {number} is killed");
            self.crashes += 1;
            self.end(number, down_ms);
        }
    }

    fn resume(&mut self, number: usize, run: u32) {
        if self.workers[number].run != run || self.workers[number].core.is_none() {
            return;
        }
        trace!(self, "worker {number} goes on");
        let now = self.moment(number);
        let worker = &mut self.workers[number];
        worker.paused = false;
        worker.dirty = true;
        worker.stopping_since = worker.stopping_since.map(|_| self.now);
        for (call, answer) in std::mem::take(&mut worker.waiting) {
            if let Some(core) = &mut worker.core {
                core.answer(now, call, answer);
            }
        }
    }

    /// Polls a worker's core if it is time, and does what it wants.
    fn look_at(&mut self, number: usize) {
        loop {
            let now = self.moment(number);
            let worker = &mut self.workers[number];
            let due = worker.dirty || worker.wake.is_some_and(|at| at <= now.mono_ms);
            let Some(core) = worker.core.as_mut().filter(|_| due && !worker.paused) else { return };
            let outbox = core.poll(now);
            worker.wake = core.next_wake();
            worker.dirty = false;
            worker.spun = if worker.spun.0 == self.now { (self.now, worker.spun.1 + 1) } else { (self.now, 0) };
            let spins = worker.spun.1 > SPINS;
            let gauges = core.gauges();
            let done = core.is_done();
            let stopping_since = worker.stopping_since;
            if spins {
                return self.fail(format!(
                    "worker {number} spins: it wants to be woken at {:?}, and it is {}",
                    self.workers[number].wake, now.mono_ms
                ));
            }
            self.check_gauges(number, &gauges);
            let run = self.workers[number].run;
            self.witness_load((number, run), gauges.calls);
            self.carry_out(number, outbox);
            let Some(since) = stopping_since.filter(|_| self.workers[number].run == run) else { continue };
            if done && self.workers[number].core.is_some() {
                trace!(self, "worker {number} has stopped");
                let down_ms = self.workers[number].down_ms;
                return self.end(number, down_ms);
            }
            let grace = u64::try_from(self.plan.settings.grace.as_millis()).unwrap();
            if self.now > since + grace + 1_000 {
                return self.fail(format!("worker {number} was told to stop {} ms ago", self.now - since));
            }
        }
    }

    fn check_gauges(&mut self, number: usize, gauges: &Gauges) {
        if gauges.held.iter().any(|held| *held > 0) {
            self.held_at = self.now;
        }
        // Those who are followed for another hook's sake come on top, as many again at most.
        let follows = self.plan.fixture.groups.iter().any(|group| group.hooks.iter().any(|hook| hook.name == OTHER_HOOK));
        let most_open = self.plan.settings.max_open * if follows { 2 } else { 1 };
        // What the queue is and how a server does are asked beside the calls that are counted.
        let most_calls = self.plan.settings.max_calls + 1 + SERVERS.len();
        self.most_messages = self.most_messages.max(gauges.messages);
        if gauges.calls as usize > most_calls {
            self.fail(format!("worker {number} has {} calls under way", gauges.calls));
        }
        if gauges.messages as usize > most_open {
            self.fail(format!("worker {number} has {} messages in hand", gauges.messages));
        }
    }

    fn carry_out(&mut self, number: usize, outbox: Outbox) {
        for abort in outbox.aborts {
            let key = Key { worker: number, run: self.workers[number].run, call: abort };
            if self.plan.spares_receives() {
                self.underway.remove(&key);
            } else if let Some(underway) = self.underway.get_mut(&key) {
                underway.dropped = true;
            }
        }
        for observation in outbox.observations {
            self.note(number, observation);
        }
        let run = self.workers[number].run;
        for (call, what) in outbox.calls {
            if self.workers[number].run != run || self.workers[number].core.is_none() {
                return;
            }
            self.begin(Key { worker: number, run, call }, what);
        }
    }

    fn note(&mut self, number: usize, observation: Observation) {
        if let Observation::Ended(record) = &observation {
            *self.outcomes.entry(record.outcome.as_str()).or_default() += 1;
            if record.outcome.is_final() {
                let token = record.subject.as_ref().map(|subject| subject.action.token.as_str());
                let of = token.unwrap_or(record.message.as_str()).to_owned();
                self.records.entry(of).or_default().push((self.now, record.outcome));
            }
            if let Some(reason) = &record.reason {
                *self.reasons.entry(format!("{}: {}", record.outcome.as_str(), reason.code)).or_default() += 1;
            }
            if let Some(subject) = &record.subject {
                if let (Outcome::Abandoned, Some(reason)) = (record.outcome, &record.reason) {
                    self.failures.entry(subject.action.token.as_str().to_owned()).or_default().push(reason.code.clone());
                }
                if matches!(record.outcome, Outcome::Released | Outcome::LeaseLost) {
                    let run = orderer(number, self.workers[number].run);
                    let (instance, token) = (subject.action.instance.to_string(), subject.action.token.as_str().to_owned());
                    self.let_go.push(LetGo { at: self.now, run, instance: Some(instance), token: Some(token) });
                }
            }
        }
        if let Observation::LaunchHeld { subject, .. } = &observation {
            let (at, run) = (self.now, (number, self.workers[number].run));
            self.witness.held.push(Befell { at, run, instance: Some(subject.action.instance.to_string()) });
        }
        if self.trace {
            self.tell(number, &observation);
        }
    }

    fn tell(&self, number: usize, observation: &Observation) {
        match observation {
            Observation::Ended(record) => {
                let instance = record.subject.as_ref().map_or("-", |subject| subject.action.instance.as_str());
                let transition = record.subject.as_ref().map_or("-", |subject| subject.action.transition.as_str());
                trace!(self, "  w{number} ended {transition} {instance} as {} {:?}", record.outcome.as_str(), record.reason);
            }
            Observation::StepBegan { subject, step } => {
                trace!(
                    self,
                    "  w{number} {} {}: {} ({})",
                    subject.action.transition.as_str(),
                    subject.action.instance,
                    step.as_str(),
                    subject.message
                );
            }
            Observation::Retrying { subject, step, failure, delay, .. } => {
                trace!(self, "  w{number} {} {}: {failure}, again in {delay:?}", subject.action.instance, step.as_str());
            }
            other => {
                let text: String = format!("{other:?}").chars().take(200).collect();
                trace!(self, "  w{number} {text}");
            }
        }
    }

    /// Ends the run once everything has rested for long enough.
    fn look(&mut self) {
        let at = self.now + LOOK_MS;
        self.schedule(at, Event::Look);
        if !self.rests() {
            self.resting_since = None;
        } else if self.now >= *self.resting_since.get_or_insert(self.now) + REST_MS {
            trace!(self, "everything rests");
            self.over = true;
        }
    }

    /// What keeps a fleet from resting: the lifecycle actions that are open, and what each worker has in hand.
    fn what_is_left(&self) -> String {
        let details = self.services.world.state(true).details.unwrap_or_default();
        let open = details.actions.iter().filter(|action| action.closed_ms.is_none());
        let open = open.map(|action| format!("{:?} of {} since {} ms", action.transition, action.instance, self.now - action.began_ms));
        let in_hand = self.workers.iter().map(|worker| worker.core.as_ref().map(Core::gauges));
        format!("open are {:?}, in hand {:?}", open.collect::<Vec<_>>(), in_hand.collect::<Vec<_>>())
    }

    fn rests(&self) -> bool {
        let script_is_over = self.plan.script.last().is_none_or(|(at, _)| *at < self.now);
        let idle = |worker: &Worker| {
            worker.core.as_ref().is_some_and(|core| {
                let gauges = core.gauges();
                gauges.messages == 0
                    && gauges.calls == 0
                    && gauges.held.iter().all(|held| *held == 0)
                    && gauges.by_step.iter().all(|count| *count == 0)
            })
        };
        script_is_over
            && self.workers.iter().all(|worker| !worker.paused && idle(worker))
            && services_rest(&self.services.world.state(false))
    }
}

fn services_rest(state: &State) -> bool {
    let queue = &state.queues[QUEUE];
    let empty = queue.visible + queue.in_flight + queue.delayed == 0;
    let moves = |name: &str| name.ends_with("ing") && !name.ends_with("Running") || name.ends_with(":Wait") || name.ends_with(":Proceed");
    let still = state.groups.values().all(|group| !group.states.keys().any(|name| moves(name)));
    empty && still && state.counts.open_actions == 0
}
