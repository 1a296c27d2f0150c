//! One fleet's run: the script is carried out, workers come and go, and at the end everything must have come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};

use enrolld::aws::Aws;
use enrolld::cli::rooms;
use enrolld::config::{self, Config, Environment};
use enrolld::core::observation::{Observation, Outcome as Ending, Record, Step};
use enrolld::driver::{Ended, Worker};
use enrolld::event::Transition;
use enrolld::observe::audit::AuditTarget;
use enrolld::observe::{Health, Observer, ObserverSettings};
use enrolld::simulator::model::World;
use enrolld::simulator::model::agent::{AgentOptions, Material, Publish};
use enrolld::simulator::model::autoscaling::{LifecycleState, Place};
use enrolld::simulator::model::caller::{Caller, Principal};
use enrolld::simulator::model::fixture::NewParameter;
use enrolld::simulator::model::opsworks_cm::wire::ServerStatus;
use enrolld::simulator::model::state::State;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::permissions;
use crate::plan::{ACCOUNT, BEGIN, Deed, GROUPS, Plan, QUEUE, SERVERS, agent};
use crate::refused::Association;
use crate::spoil::Poison;
use crate::stage::{Calls, Stage, StageClock, Tracing};
use crate::wire::Wire;

/// How often it is looked whether everything has come to rest, in milliseconds.
const LOOK_MS: u64 = 5_000;
/// How often those that wait publish their certificate requests, while anything goes wrong and afterwards, in milliseconds.
const REQUESTS_MS: [u64; 2] = [2_000, 60_000];
/// Launches that are held as long as all of their route fail would be held for a day: so long after all is calm, and again, come some
/// that do not fail.
const MENDS_MS: u64 = 30 * 60_000;
/// The longest that may take once nothing goes wrong any more. The longest wait of a healthy worker is that of a launch that is held for its
/// route to its hook's own limit, a hundred times 15 minutes.
const LONGEST_MS: u64 = 27 * 3_600_000;
/// What a worker may take beyond its grace, in milliseconds.
const SLACK_MS: u64 = 1_000;

/// Bodies that nobody can handle.
const GARBAGE: [&str; 3] = [r#"{"LifecycleTransition":"autoscaling:EC2_INSTANCE_LAUNCHING","EC2InstanceId":"i-0"#, "hello?", "{}"];

/// What a run came to.
pub struct Outcome {
    pub state: State,
    /// What each instance was launched with that does not publish a good key.
    pub unsound: BTreeMap<String, Material>,
    /// The certificate requests of those that published one.
    pub requests: BTreeMap<String, String>,
    /// How messages ended, in order, as the workers say.
    pub ends: Vec<End>,
    /// Which worker received how many messages, and when.
    pub received: Vec<(usize, u64, usize)>,
    /// The operations that serve many and failed, with the codes, as the workers say.
    pub troubles: Vec<(&'static str, String)>,
    /// How many calls were tried while no name could be resolved.
    pub unresolved: u64,
    /// How often a poisoned member spoiled its batch, and how many members the largest of these had.
    pub spoiled: (u32, usize),
    /// The calls of the first worker, where they were listened to.
    pub calls: Option<Calls>,
    pub terminated: Vec<String>,
    pub garbage: usize,
    pub crashes: usize,
    pub shutdowns: usize,
    /// Why launches were abandoned, by their tokens, as the workers say.
    pub reasons: BTreeMap<String, String>,
    /// When each token was first taken up by any run, as the workers say.
    pub taken: BTreeMap<String, u64>,
    /// How launches were decided, and those that were held before, by their runs and tokens, as the workers say.
    pub decided: Vec<Decided>,
    pub held: BTreeSet<(String, String)>,
    pub let_go: Vec<LetGo>,
    /// The associations that were refused, and whose run heard it.
    pub refused: Vec<Association>,
    /// The parameters that workers wrote, and when they were told so.
    pub written: Vec<(u64, String)>,
    /// What was seen to be wrong on the way.
    pub wrong: Vec<String>,
    /// Everything that was asked, answered and said, and when, as one number, where that was wanted.
    pub trace: u64,
    /// How long it took in the fleet's own time, in milliseconds.
    pub took_ms: u64,
}

/// That a worker, or what it did for one instance, came to an end without a result.
#[derive(Debug)]
pub struct LetGo {
    pub at: u64,
    /// The ARN that it spoke to the services as.
    pub run: String,
    /// None where the whole worker ended.
    pub instance: Option<String>,
}

/// That a run decided to abandon a launch, or to let it go on, and when by its own clock.
#[derive(Debug)]
pub struct Decided {
    pub run: String,
    pub route: usize,
    pub token: String,
    pub at: u64,
    pub abandoned: bool,
    /// For what is never taken for its route's fault.
    pub own: bool,
}

impl Decided {
    fn by(run: &str, record: &Record) -> Option<Self> {
        let subject = record.subject.as_ref().filter(|subject| subject.action.transition == Transition::Launching)?;
        let ends = record.steps.iter().filter(|step| matches!(step.step, Step::DeadLetter | Step::Complete));
        Some(Self {
            run: run.to_owned(),
            route: usize::from(subject.route?.0),
            token: subject.action.token.as_str().to_owned(),
            at: ends.map(|step| step.began_ms).min()?,
            abandoned: record.outcome == Ending::Abandoned,
            own: record.reason.as_ref().is_some_and(|reason| ["private_key", "internal_error"].contains(&reason.code.as_str())),
        })
    }
}

/// How a message ended for a worker.
#[derive(Debug, Clone)]
pub struct End {
    pub worker: usize,
    pub outcome: Ending,
    pub reason: String,
    pub at: u64,
}

/// What the workers said.
#[derive(Debug, Default)]
struct Said {
    reasons: BTreeMap<String, String>,
    taken: BTreeMap<String, u64>,
    decided: Vec<Decided>,
    held: BTreeSet<(String, String)>,
    ends: Vec<End>,
    received: Vec<(usize, u64, usize)>,
    troubles: Vec<(&'static str, String)>,
    let_go: Vec<LetGo>,
}

/// Runs the fleet of a plan; the same plan gives the same outcome.
pub fn run(plan: &Plan, tracing: Tracing) -> Outcome {
    run_with(plan, tracing, |_| {})
}

fn run_with(plan: &Plan, tracing: Tracing, prepare: impl FnOnce(&Stage)) -> Outcome {
    // Request ids and the like: whoever asks for chance without a seed of his own.
    fastrand::seed(plan.seed);
    let world = World::from_fixture(plan.fixture.clone(), plan.seed, BEGIN).expect("the fixture is sound");
    let stage = Stage::new(world, BEGIN, plan.seed, tracing);
    prepare(&stage);
    let time = Arc::clone(&stage);
    // No sockets and no timers of the runtime's own: when it has nothing to do, the time is what must move.
    let runtime = tokio::runtime::Builder::new_current_thread().on_thread_park(move || time.turn()).build().expect("a runtime");
    let config = config::parse(&plan.config, "the fleet's configuration", &Environment::new()).expect("the configuration is sound");
    let outcome = runtime.block_on(Run::new(plan, &stage, config).play());
    stage.world(|world, _| permissions::nothing_was_beyond(world));
    outcome
}

/// The same, with the calls of its first worker noted.
pub fn listen(plan: &Plan) -> Outcome {
    run_with(plan, Tracing::Off, Stage::listen)
}

/// A certificate request for that name, always the same. All of them have one key: nothing here depends on whose it is.
fn request_of(name: &str) -> String {
    static MADE: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().expect("a request can be made");
    made.entry(name.to_owned()).or_insert_with(|| new_request(name)).clone()
}

fn new_request(name: &str) -> String {
    static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key can be made"));
    let mut wanted = CertificateParams::default();
    wanted.distinguished_name = DistinguishedName::new();
    wanted.distinguished_name.push(DnType::CommonName, name);
    wanted.serialize_request(&*KEY).and_then(|request| request.pem()).expect("a request can be made")
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
    /// Bodies that come once more, and when.
    again: Vec<(u64, String)>,
    started: u64,
    said: Arc<Mutex<Said>>,
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
    worker: usize,
    task: JoinHandle<Ended>,
    until: u64,
    twice: bool,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, stage: &'a Arc<Stage>, config: Config) -> Self {
        let outcome = Outcome {
            state: stage.world(|world, _| world.state(false)),
            unsound: BTreeMap::new(),
            requests: BTreeMap::new(),
            ends: Vec::new(),
            received: Vec::new(),
            troubles: Vec::new(),
            unresolved: 0,
            spoiled: (0, 0),
            calls: None,
            terminated: Vec::new(),
            garbage: 0,
            crashes: 0,
            shutdowns: 0,
            reasons: BTreeMap::new(),
            taken: BTreeMap::new(),
            decided: Vec::new(),
            held: BTreeSet::new(),
            let_go: Vec::new(),
            refused: Vec::new(),
            written: Vec::new(),
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
            again: Vec::new(),
            started: 0,
            said: Arc::default(),
            outcome,
        }
    }

    async fn play(mut self) -> Outcome {
        let mut script = self.plan.script.iter().peekable();
        let mut look_at = self.plan.calm_at;
        let mut mend_at = self.plan.calm_at + MENDS_MS;
        let mut requests_at = self.plan.certificates.then_some(BEGIN);
        loop {
            let now = self.stage.now();
            self.start_workers(now);
            self.see_off(now).await;
            self.deliver_again(now);
            while let Some((_, deed)) = script.next_if(|(at, _)| *at <= now) {
                self.stage.note(|| format!("{deed:?}"));
                self.carry_out(now, deed).await;
            }
            if requests_at.is_some_and(|at| at <= now) {
                self.publish_requests();
                requests_at = Some(now + REQUESTS_MS[usize::from(now >= self.plan.calm_at)]);
            }
            if now >= look_at {
                if script.peek().is_none()
                    && self.starts.is_empty()
                    && self.leaving.is_empty()
                    && self.again.is_empty()
                    && self.is_at_rest()
                {
                    break;
                }
                if now > self.plan.calm_at + LONGEST_MS {
                    self.complain("it did not come to rest".into());
                    break;
                }
                if now >= mend_at {
                    self.mend(now).await;
                    mend_at = now + MENDS_MS;
                }
                look_at = now + LOOK_MS;
            }
            let deeds = script.peek().map(|(at, _)| *at);
            let starts = self.starts.iter().map(|(at, _)| *at).min();
            let leaves = self.leaving.iter().map(|leaving| leaving.until).min();
            let again = self.again.iter().map(|(at, _)| *at).min();
            let next = [deeds, starts, leaves, again, requests_at, Some(look_at)].into_iter().flatten().min().expect("there is a look");
            if let Some(struck) = self.stage.until(next.max(now)).await {
                let down_ms = self.traps.remove(&struck).unwrap_or(0);
                self.stage.note(|| format!("worker {struck} dies"));
                self.crash(struck, down_ms).await;
            }
        }
        self.end().await
    }

    /// Launches of nodes that nothing is wrong with: those of a route that are held, since all before them failed, go on after one.
    async fn mend(&mut self, now: u64) {
        for group in 0..GROUPS.len() {
            let launch = Deed::Launch { group, agent: agent(group, 0, Material::Good), into_pool: false };
            self.carry_out(now, &launch).await;
        }
    }

    /// Everybody stops, in order.
    async fn end(mut self) -> Outcome {
        let now = self.stage.now();
        if self.outcome.calls.is_none() {
            self.outcome.calls = self.stage.heard();
        }
        for worker in 0..self.workers.len() {
            self.stage.clear_traps(worker);
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
        let said = std::mem::take(&mut *self.said.lock().expect("a panic ends the run"));
        let (trace, took_ms) = (self.stage.trace(), self.stage.now() - BEGIN);
        let (unresolved, spoiled, refused) = (self.stage.unresolved(), self.stage.spoiled(), self.stage.refused());
        let written = self.stage.written();
        let Said { reasons, taken, decided, held, ends, received, troubles, let_go } = said;
        Outcome {
            state,
            reasons,
            taken,
            decided,
            held,
            ends,
            received,
            troubles,
            let_go,
            refused,
            written,
            unresolved,
            spoiled,
            trace,
            took_ms,
            ..self.outcome
        }
    }

    fn complain(&mut self, what: String) {
        self.outcome.wrong.push(what);
    }

    /// A worker is no more.
    fn has_ended(&self, run: String) {
        let ended = LetGo { at: self.stage.now(), run, instance: None };
        self.said.lock().expect("a panic ends the run").let_go.push(ended);
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
        self.stage.clear_traps(worker);
        if self.started > 1 && self.outcome.calls.is_none() {
            self.outcome.calls = self.stage.heard();
        }
        let (config, stage) = (&self.config, Arc::clone(self.stage));
        let wire = Wire { stage: Arc::clone(&stage), worker };
        let surround = |sdk: aws_types::sdk_config::Builder| {
            let sleep = aws_smithy_async::rt::sleep::SharedAsyncSleep::new(wire.clone());
            sdk.http_client(wire.clone()).sleep_impl(sleep).time_source(wire)
        };
        // Each run speaks as a session of its own, so that the registrars' log says whose order each was.
        let access_key_id = format!("AKIARUN{}", self.started);
        let run = Caller::instance(ACCOUNT, "enrolld", &format!("worker-{worker}-run-{}", self.started)).arn.to_string();
        let principal =
            Principal { access_key_id: access_key_id.clone(), arn: run.clone(), account: None, denied: Vec::new(), allowed: None };
        self.stage.world(|world, _| {
            world.set_principal(principal);
            permissions::confine(world, &access_key_id, config, permissions::of_command("run"));
        });
        let aws =
            Aws::fixed_with(&rooms::aws_settings(config), "http://127.0.0.1:4599", &access_key_id, surround).expect("there is a region");
        let settings = config.core_settings();
        let services = rooms::services(config, &settings, &aws).expect("the rooms can be made");
        let names =
            ObserverSettings { worker: config.worker.clone(), routes: rooms::route_names(config, &settings), audit: AuditTarget::Off };
        let (heard, said, teller) = (Arc::clone(&stage), Arc::clone(&self.said), run.clone());
        let observer = Observer::new(names).expect("there is no audit trail to open").tapped(move |observation| {
            heard.note(|| format!("worker {worker} says {observation:?}"));
            let mut said = said.lock().expect("a panic ends the run");
            match observation {
                Observation::StepBegan { subject, step: Step::Verify } => {
                    said.taken.entry(subject.action.token.as_str().to_owned()).or_insert_with(|| heard.now());
                }
                Observation::LaunchHeld { subject, .. } => {
                    said.held.insert((teller.clone(), subject.action.token.as_str().to_owned()));
                }
                Observation::Received { messages } => said.received.push((worker, heard.now(), *messages)),
                Observation::ServiceTrouble { operation, failure, .. } => said.troubles.push((operation, failure.code.clone())),
                Observation::Ended(record) => {
                    said.decided.extend(Decided::by(&teller, record));
                    if matches!(record.outcome, Ending::Released | Ending::LeaseLost)
                        && let Some(subject) = &record.subject
                    {
                        let instance = Some(subject.action.instance.to_string());
                        said.let_go.push(LetGo { at: heard.now(), run: teller.clone(), instance });
                    }
                    if record.outcome == Ending::Abandoned
                        && let (Some(subject), Some(reason)) = (&record.subject, &record.reason)
                    {
                        said.reasons.insert(subject.action.token.as_str().to_owned(), format!("{}: {}", reason.code, reason.detail));
                    }
                    said.ends.push(End {
                        worker,
                        outcome: record.outcome,
                        reason: record.reason.as_ref().map(|reason| reason.code.clone()).unwrap_or_default(),
                        at: heard.now(),
                    });
                }
                _ => {}
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
                let requests = self.plan.certificates && *group == 0 && agent.material == Material::Good;
                let agent = if requests { &AgentOptions { publish: Publish::Never, ..agent.clone() } } else { agent };
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
            Deed::CrashAtCall { worker, calls, point, down_ms } => {
                self.traps.insert(*worker, *down_ms);
                self.stage.set_trap(*worker, *calls, *point);
            }
            Deed::Repeat { after_ms } => {
                let mut queues = self.stage.world(|world, _| world.state(true).queues);
                let messages = queues.remove(QUEUE).map(|queue| queue.messages).unwrap_or_default();
                self.again.extend(messages.into_iter().map(|message| (now + after_ms, message.body)));
            }
            Deed::Send { body } => {
                self.stage.world(|world, now| world.deliver(now, QUEUE, body, &BTreeMap::new(), 1)).expect("there is the queue");
            }
            Deed::NoNames { for_ms } => self.stage.lose_names(now + for_ms),
            Deed::Poison { operation, pick, spoil, times } => {
                let needle = match operation.ends_with("Batch") {
                    // The beginning of every receipt handle of the second queue's message of that number.
                    true => format!("AQEB{:04x}{pick:016x}", 1),
                    false => self.choose(*pick, |_| true).expect("there are instances"),
                };
                self.stage.poison(Poison { operation, needle, spoil: *spoil, times: *times, spoiled: 0, most: 0 });
            }
            Deed::Request => self.publish_requests(),
            Deed::ShutDown { worker, twice, down_ms } => {
                self.shut_down(now, *worker, *twice);
                self.starts.push((now + down_ms, *worker));
            }
        }
    }

    fn deliver_again(&mut self, now: u64) {
        let (due, later): (Vec<_>, Vec<_>) = self.again.drain(..).partition(|(at, _)| *at <= now);
        self.again = later;
        for (_, body) in due {
            self.stage.world(|world, now| world.deliver(now, QUEUE, &body, &BTreeMap::new(), 1)).expect("there is the queue");
        }
    }

    /// Each instance of the first group that waits, and is to publish a good one, does so unless it has.
    fn publish_requests(&mut self) {
        let details = self.stage.world(|world, now| {
            world.advance(now);
            world.state(true).details.expect("the long lists were asked for")
        });
        let waits = |state| matches!(state, LifecycleState::PendingWait | LifecycleState::WarmedPendingWait);
        for (instance, _) in details.instances.into_iter().filter(|(_, one)| waits(one.state) && one.group == GROUPS[0]) {
            let name = format!("/enrolld/{instance}/public-key");
            if details.parameters.contains_key(&name) || self.outcome.unsound.contains_key(&instance) {
                continue;
            }
            let value = request_of(&instance);
            let parameter = NewParameter {
                name,
                value: value.clone(),
                kind: "String".into(),
                overwrite: false,
                by: None,
                by_instance: Some(instance.clone()),
            };
            self.stage.world(|world, now| world.put_fixture_parameter(now, parameter)).expect("it can be put");
            self.outcome.requests.insert(instance, value);
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
        } else if let Some(at) = self.leaving.iter().position(|leaving| leaving.worker == worker) {
            // Whoever comes in its place was sent for when it was told to stop.
            let leaving = self.leaving.remove(at);
            leaving.task.abort();
            let _ = leaving.task.await;
            self.has_ended(leaving.run);
            self.outcome.crashes += 1;
        }
    }

    fn shut_down(&mut self, now: u64, worker: usize, twice: bool) {
        if let Some(running) = self.workers[worker].take() {
            for _ in 0..=usize::from(twice) {
                let _ = running.stop.try_send(());
            }
            let until = now + if twice { 1 } else { self.plan.grace_ms + SLACK_MS };
            self.leaving.push(Leaving { run: running.run, worker, task: running.task, until, twice });
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
