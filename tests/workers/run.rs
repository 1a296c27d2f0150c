//! One fleet's run: the script is carried out, workers come and go, and at the end everything must have come to rest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use enrolld::aws::Aws;
use enrolld::cli::rooms;
use enrolld::config::{self, Config, Environment};
use enrolld::core::observation::{Observation, Outcome as Ending};
use enrolld::driver::{Ended, Worker};
use enrolld::observe::audit::AuditTarget;
use enrolld::observe::{Health, Observer, ObserverSettings};
use enrolld::simulator::model::World;
use enrolld::simulator::model::agent::Material;
use enrolld::simulator::model::autoscaling::{LifecycleState, Place};
use enrolld::simulator::model::caller::{Caller, Principal};
use enrolld::simulator::model::opsworks_cm::wire::ServerStatus;
use enrolld::simulator::model::state::State;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::plan::{ACCOUNT, BEGIN, Deed, GROUPS, Plan, QUEUE, SERVERS};
use crate::stage::{Stage, StageClock, Tracing};
use crate::wire::Wire;

/// How often it is looked whether everything has come to rest, in milliseconds.
const LOOK_MS: u64 = 5_000;
/// The longest that may take once nothing goes wrong any more. The longest wait of a healthy worker is the pause of a route's fault.
const LONGEST_MS: u64 = 3 * 3_600_000;
/// What a worker may take beyond its grace, in milliseconds.
const SLACK_MS: u64 = 1_000;

/// Bodies that nobody can handle.
const GARBAGE: [&str; 3] = [r#"{"LifecycleTransition":"autoscaling:EC2_INSTANCE_LAUNCHING","EC2InstanceId":"i-0"#, "hello?", "{}"];

/// What a run came to.
pub struct Outcome {
    pub state: State,
    /// What each instance was launched with that does not publish a good key.
    pub unsound: BTreeMap<String, Material>,
    pub terminated: Vec<String>,
    pub garbage: usize,
    pub crashes: usize,
    pub shutdowns: usize,
    /// Why launches were abandoned, by their tokens, as the workers say.
    pub reasons: BTreeMap<String, String>,
    pub let_go: Vec<LetGo>,
    /// What was seen to be wrong on the way.
    pub wrong: Vec<String>,
    /// Everything that was asked, answered and said, and when, as one number, where that was wanted.
    pub trace: u64,
    /// How long it took in the fleet's own time, in milliseconds.
    pub took_ms: u64,
}

/// That a worker, or what it did for one instance, came to an end without a result.
pub struct LetGo {
    pub at: u64,
    /// The ARN that it spoke to the services as.
    pub run: String,
    /// None where the whole worker ended.
    pub instance: Option<String>,
}

/// Runs the fleet of a plan; the same plan gives the same outcome.
pub fn run(plan: &Plan, tracing: Tracing) -> Outcome {
    // Request ids and the like: whoever asks for chance without a seed of his own.
    fastrand::seed(plan.seed);
    let world = World::from_fixture(plan.fixture.clone(), plan.seed, BEGIN).expect("the fixture is sound");
    let stage = Stage::new(world, BEGIN, plan.seed, tracing);
    let time = Arc::clone(&stage);
    // No sockets and no timers of the runtime's own: when it has nothing to do, the time is what must move.
    let runtime = tokio::runtime::Builder::new_current_thread().on_thread_park(move || time.turn()).build().expect("a runtime");
    let config = config::parse(&plan.config, "the fleet's configuration", &Environment::new()).expect("the configuration is sound");
    runtime.block_on(Run::new(plan, &stage, config).play())
}

struct Run<'a> {
    plan: &'a Plan,
    stage: &'a Arc<Stage>,
    config: Config,
    workers: Vec<Option<Running>>,
    /// Workers to start, and when.
    starts: Vec<(u64, usize)>,
    /// How long a worker that steps into its trap stays away.
    traps: BTreeMap<usize, u64>,
    leaving: Vec<Leaving>,
    started: u64,
    reasons: Arc<Mutex<BTreeMap<String, String>>>,
    let_go: Arc<Mutex<Vec<LetGo>>>,
    outcome: Outcome,
}

struct Running {
    run: String,
    task: JoinHandle<Ended>,
    stop: mpsc::Sender<()>,
}

/// A worker that was told to stop.
struct Leaving {
    run: String,
    task: JoinHandle<Ended>,
    until: u64,
    twice: bool,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, stage: &'a Arc<Stage>, config: Config) -> Self {
        let outcome = Outcome {
            state: stage.world(|world, _| world.state(false)),
            unsound: BTreeMap::new(),
            terminated: Vec::new(),
            garbage: 0,
            crashes: 0,
            shutdowns: 0,
            reasons: BTreeMap::new(),
            let_go: Vec::new(),
            wrong: Vec::new(),
            trace: 0,
            took_ms: 0,
        };
        Self {
            plan,
            stage,
            config,
            workers: (0..plan.workers).map(|_| None).collect(),
            starts: (0..plan.workers).map(|worker| (BEGIN, worker)).collect(),
            traps: BTreeMap::new(),
            leaving: Vec::new(),
            started: 0,
            reasons: Arc::default(),
            let_go: Arc::default(),
            outcome,
        }
    }

    async fn play(mut self) -> Outcome {
        let mut script = self.plan.script.iter().peekable();
        let mut look_at = self.plan.calm_at;
        loop {
            let now = self.stage.now();
            self.start_workers(now);
            self.see_off(now).await;
            while let Some((_, deed)) = script.next_if(|(at, _)| *at <= now) {
                self.stage.note(|| format!("{deed:?}"));
                self.carry_out(now, deed).await;
            }
            if now >= look_at {
                if script.peek().is_none() && self.starts.is_empty() && self.leaving.is_empty() && self.is_at_rest() {
                    break;
                }
                if now > self.plan.calm_at + LONGEST_MS {
                    self.complain("it did not come to rest".into());
                    break;
                }
                look_at = now + LOOK_MS;
            }
            let deeds = script.peek().map(|(at, _)| *at);
            let starts = self.starts.iter().map(|(at, _)| *at).min();
            let leaves = self.leaving.iter().map(|leaving| leaving.until).min();
            let next = [deeds, starts, leaves, Some(look_at)].into_iter().flatten().min().expect("there is a look");
            if let Some(struck) = self.stage.until(next.max(now)).await {
                let down_ms = self.traps.remove(&struck).unwrap_or(0);
                self.stage.note(|| format!("worker {struck} dies"));
                self.crash(struck, down_ms).await;
            }
        }
        self.end().await
    }

    /// Everybody stops, in order.
    async fn end(mut self) -> Outcome {
        let now = self.stage.now();
        for worker in 0..self.workers.len() {
            self.shut_down(now, worker, false);
        }
        while let Some(until) = self.leaving.iter().map(|leaving| leaving.until).max() {
            self.stage.until(until).await;
            self.see_off(until).await;
        }
        let state = self.stage.world(|world, now| {
            world.advance(now);
            world.state(true)
        });
        let reasons = std::mem::take(&mut *self.reasons.lock().expect("a panic ends the run"));
        let let_go = std::mem::take(&mut *self.let_go.lock().expect("a panic ends the run"));
        Outcome { state, reasons, let_go, trace: self.stage.trace(), took_ms: self.stage.now() - BEGIN, ..self.outcome }
    }

    fn complain(&mut self, what: String) {
        self.outcome.wrong.push(what);
    }

    /// A worker is no more.
    fn has_ended(&self, run: String) {
        let ended = LetGo { at: self.stage.now(), run, instance: None };
        self.let_go.lock().expect("a panic ends the run").push(ended);
    }

    fn start_workers(&mut self, now: u64) {
        let (due, later): (Vec<_>, Vec<_>) = self.starts.drain(..).partition(|(at, _)| *at <= now);
        self.starts = later;
        for (_, worker) in due {
            if self.workers[worker].is_none() {
                self.workers[worker] = Some(self.start(worker));
            }
        }
    }

    /// The whole worker, as `enrolld run` makes it, but for what is around it.
    fn start(&mut self, worker: usize) -> Running {
        self.started += 1;
        let (config, stage) = (&self.config, Arc::clone(self.stage));
        let wire = Wire { stage: Arc::clone(&stage), worker };
        let surround = |sdk: aws_types::sdk_config::Builder| {
            let sleep = aws_smithy_async::rt::sleep::SharedAsyncSleep::new(wire.clone());
            sdk.http_client(wire.clone()).sleep_impl(sleep).time_source(wire)
        };
        // Each run speaks as a session of its own, so that the registrars' log says whose order each was.
        let access_key_id = format!("AKIARUN{}", self.started);
        let run = Caller::instance(ACCOUNT, "enrolld", &format!("worker-{worker}-run-{}", self.started)).arn.to_string();
        let principal = Principal { access_key_id: access_key_id.clone(), arn: run.clone(), account: None, denied: Vec::new() };
        self.stage.world(|world, _| world.set_principal(principal));
        let aws =
            Aws::fixed_with(&rooms::aws_settings(config), "http://127.0.0.1:4599", &access_key_id, surround).expect("there is a region");
        let settings = config.core_settings();
        let services = rooms::services(config, &settings, &aws).expect("the rooms can be made");
        let names =
            ObserverSettings { worker: config.worker.clone(), routes: rooms::route_names(config, &settings), audit: AuditTarget::Off };
        let (heard, reasons) = (Arc::clone(&stage), Arc::clone(&self.reasons));
        let (let_go, teller) = (Arc::clone(&self.let_go), run.clone());
        let observer = Observer::new(names).expect("there is no audit trail to open").tapped(move |observation| {
            heard.note(|| format!("worker {worker} says {observation:?}"));
            if let Observation::Ended(record) = observation
                && matches!(record.outcome, Ending::Released | Ending::LeaseLost)
                && let Some(subject) = &record.subject
            {
                let instance = Some(subject.action.instance.to_string());
                let_go.lock().expect("a panic ends the run").push(LetGo { at: heard.now(), run: teller.clone(), instance });
            }
            if let Observation::Ended(record) = observation
                && record.outcome == Ending::Abandoned
                && let (Some(subject), Some(reason)) = (&record.subject, &record.reason)
            {
                let mut reasons = reasons.lock().expect("a panic ends the run");
                reasons.insert(subject.action.token.as_str().to_owned(), format!("{}: {}", reason.code, reason.detail));
            }
        });
        let clock = Arc::new(StageClock::new(&stage, self.plan.off_ms[worker]));
        let worker = Worker::in_time(settings, services, observer, Arc::new(Health::new()), self.plan.seed ^ (self.started << 32), clock);
        let (stop, told) = mpsc::channel(2);
        Running { run, task: tokio::spawn(worker.run(told)), stop }
    }

    async fn carry_out(&mut self, now: u64, deed: &Deed) {
        match deed {
            Deed::Launch { group, agent, into_pool } => {
                let to = if *into_pool { Place::WarmPool } else { Place::AutoScalingGroup };
                let launched =
                    self.stage.world(|world, now| world.launch(now, GROUPS[*group], 1, to, Some(agent)).expect("there is the group"));
                if agent.material != Material::Good {
                    self.outcome.unsound.extend(launched.iter().map(|instance| (instance.to_string(), agent.material.clone())));
                }
            }
            Deed::Terminate { pick, early } => {
                let chosen =
                    self.choose(*pick, |state| (state == LifecycleState::InService) != *early && !state.name().contains("Terminat"));
                if let Some(chosen) = chosen
                    && self.stage.world(|world, now| world.terminate(now, &chosen))
                {
                    self.outcome.terminated.push(chosen);
                }
            }
            Deed::ReturnToPool { pick } => {
                if let Some(chosen) = self.choose(*pick, |state| state == LifecycleState::InService) {
                    self.stage.world(|world, now| world.return_to_warm_pool(now, &chosen));
                }
            }
            Deed::LeavePool { group } => drop(self.stage.world(|world, now| world.leave_warm_pool(now, GROUPS[*group], 1))),
            Deed::Maintenance { server, for_ms } => {
                self.stage
                    .world(|world, now| world.set_server_status(now, SERVERS[*server], ServerStatus::UnderMaintenance, Some(*for_ms)));
            }
            Deed::Garbage { number } => {
                let body = GARBAGE[number % GARBAGE.len()];
                self.stage.world(|world, now| world.deliver(now, QUEUE, body, &BTreeMap::new(), 1)).expect("there is the queue");
                self.outcome.garbage += 1;
            }
            Deed::Crash { worker, down_ms } => self.crash(*worker, *down_ms).await,
            Deed::CrashAtCall { worker, calls, answered, down_ms } => {
                self.traps.insert(*worker, *down_ms);
                self.stage.set_trap(*worker, *calls, *answered);
            }
            Deed::ShutDown { worker, twice, down_ms } => {
                self.shut_down(now, *worker, *twice);
                self.starts.push((now + down_ms, *worker));
            }
        }
    }

    fn choose(&self, pick: usize, fits: impl Fn(LifecycleState) -> bool) -> Option<String> {
        let instances = self.stage.world(|world, now| {
            world.advance(now);
            world.state(true).details.map(|details| details.instances).unwrap_or_default()
        });
        let fitting: Vec<_> = instances.into_iter().filter(|(_, instance)| fits(instance.state) && instance.state.is_listed()).collect();
        if fitting.is_empty() { None } else { Some(fitting[pick % fitting.len()].0.clone()) }
    }

    /// As `kill -9` does it: between two of its steps the worker is no more.
    async fn crash(&mut self, worker: usize, down_ms: u64) {
        self.stage.clear_traps(worker);
        if let Some(running) = self.workers[worker].take() {
            running.task.abort();
            if let Ok(ended) = running.task.await {
                self.complain(format!("worker {worker} ended by itself: {ended:?}"));
            }
            self.has_ended(running.run);
            self.outcome.crashes += 1;
            self.starts.push((self.stage.now() + down_ms, worker));
        }
    }

    fn shut_down(&mut self, now: u64, worker: usize, twice: bool) {
        self.stage.clear_traps(worker);
        if let Some(running) = self.workers[worker].take() {
            for _ in 0..=usize::from(twice) {
                let _ = running.stop.try_send(());
            }
            let until = now + if twice { 1 } else { self.plan.grace_ms + SLACK_MS };
            self.leaving.push(Leaving { run: running.run, task: running.task, until, twice });
            self.outcome.shutdowns += 1;
        }
    }

    /// Looks whether those who were told to stop did.
    async fn see_off(&mut self, now: u64) {
        let (due, later): (Vec<_>, Vec<_>) = self.leaving.drain(..).partition(|leaving| leaving.until <= now);
        self.leaving = later;
        for leaving in due {
            self.has_ended(leaving.run);
            if !leaving.task.is_finished() {
                self.complain("a worker did not stop in time".into());
                leaving.task.abort();
            }
            match leaving.task.await {
                // Where it had nothing in hand, it is done before it hears the second signal.
                Ok(Ended::AtOnce) if leaving.twice => {}
                Ok(Ended::InOrder) => {}
                other => self.complain(format!("a worker that was told to stop ended as {other:?}")),
            }
        }
    }

    /// Nothing is open, nothing waits, and nothing is under way.
    fn is_at_rest(&self) -> bool {
        let state = self.stage.world(|world, now| {
            world.advance(now);
            world.state(false)
        });
        let queue = &state.queues[QUEUE];
        let resting = ["InService", "Terminated", "Warmed:Stopped", "Warmed:Terminated"];
        let moving = state.groups.values().flat_map(|group| group.states.keys()).any(|state| !resting.contains(&state.as_str()));
        let quiet = state.counts.open_actions == 0 && queue.visible + queue.in_flight + queue.delayed == 0 && !moving;
        // A notification, or a replacement, may be on its way.
        quiet && self.stage.world(|world, now| world.next_event().is_none_or(|next| next > now + 120_000))
    }
}
