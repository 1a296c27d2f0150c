//! A simulated AWS, and real workers against it over HTTP with the real SDKs, in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use enrolld::aws::Aws;
use enrolld::cli::rooms;
use enrolld::config::{self, Config, Environment};
use enrolld::core::observation::{Observation, Outcome};
use enrolld::driver::{Ended, Worker};
use enrolld::observe::{Health, Observer, ObserverSettings};
use enrolld::simulator::model::agent::{AgentOptions, Publish};
use enrolld::simulator::model::autoscaling::{ActionState, Delivery, Form, GroupOptions, Kind, LifecycleState, NewGroup, NewHook, Place};
use enrolld::simulator::model::faults::{Effect, Fault};
use enrolld::simulator::model::fixture::{Fixture, NewParameter};
use enrolld::simulator::model::opsworks_cm::ServerOptions;
use enrolld::simulator::model::sqs::QueueState;
use enrolld::simulator::model::state::{Details, State};
use enrolld::simulator::{Options, Simulator};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::permissions;

pub const ACCOUNT: &str = "123456789012";
pub const QUEUE: &str = "enrolld-lifecycle";
pub const LETTERS: &str = "enrolld-dead-letters";
pub const GROUP: &str = "web-blue";
pub const SERVER: &str = "prod-chef";

/// Longer than anything here may take, also on a machine that is busy with other things.
const LONGEST: Duration = Duration::from_secs(180);

/// A simulated AWS.
pub struct Bench {
    pub simulator: Simulator,
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.simulator.with(|world, _| permissions::nothing_was_beyond(world));
        }
    }
}

/// How a message ended for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub instance: Option<String>,
    pub outcome: Outcome,
    pub reason: Option<String>,
}

/// A worker at work.
pub struct Running {
    stop: mpsc::Sender<()>,
    task: JoinHandle<Ended>,
    ends: Arc<Mutex<Vec<End>>>,
    stopped: bool,
}

impl Bench {
    /// The standard fixture with something changed in it.
    pub async fn start(change: impl FnOnce(&mut Fixture)) -> Self {
        let mut fixture = Fixture::standard();
        fixture.servers[0].options = ServerOptions { association_ms: 50, ..ServerOptions::default() };
        change(&mut fixture);
        let simulator = Simulator::start(Options { fixture, ..Options::default() }).await.expect("the simulator starts");
        Self { simulator }
    }

    /// A worker with one route for everything, and something changed in its configuration.
    pub fn worker(&self, change: impl FnOnce(&mut Config)) -> Running {
        self.worker_with(&configuration(&self.simulator.endpoint(), ""), change)
    }

    /// A worker with that configuration, and something changed in it.
    pub fn worker_with(&self, text: &str, change: impl FnOnce(&mut Config)) -> Running {
        let mut config = config::parse(text, "the test's configuration", &Environment::new()).unwrap_or_else(|wrong| panic!("{wrong}"));
        change(&mut config);
        let settings = config.core_settings();
        let key = self.simulator.with(|world, _| {
            let key = permissions::key_for(world, text, &[], "run");
            permissions::confine(world, &key, &config, permissions::of_command("run"));
            key
        });
        let aws = Aws::fixed(&rooms::aws_settings(&config), &self.simulator.endpoint(), &key).expect("there is a region");
        let services = rooms::services(&config, &settings, &aws).expect("the configuration was checked");
        let routes = rooms::route_names(&config, &settings);
        let settings_of_observer = ObserverSettings { worker: config.worker.clone(), routes, audit: rooms::audit_target(&config) };
        let ends = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&ends);
        let observer = Observer::new(settings_of_observer).expect("no file is opened").tapped(move |observation| {
            if let Observation::Ended(record) = observation {
                let instance = record.subject.as_ref().map(|subject| subject.action.instance.to_string());
                let reason = record.reason.as_ref().map(|reason| reason.code.clone());
                theirs.lock().unwrap_or_else(PoisonError::into_inner).push(End { instance, outcome: record.outcome, reason });
            }
        });
        let (stop, told) = mpsc::channel(2);
        let worker = Worker::new(settings, services, observer, Arc::new(Health::new()), 1);
        Running { stop, task: tokio::spawn(worker.run(told)), ends, stopped: false }
    }

    /// Launches an instance in a group.
    #[track_caller]
    pub fn launch_in(&self, group: &str, destination: Place, agent: Option<&AgentOptions>) -> String {
        let launched = self.simulator.with(|world, now| world.launch(now, group, 1, destination, agent));
        launched.expect("there is such a group")[0].to_string()
    }

    /// Launches instances in the usual group.
    pub fn launch(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.launch_in(GROUP, Place::AutoScalingGroup, None)).collect()
    }

    /// Launches an instance that runs something else than the group's others.
    pub fn launch_with(&self, agent: AgentOptions) -> String {
        self.launch_in(GROUP, Place::AutoScalingGroup, Some(&agent))
    }

    /// Puts any body into the queue.
    pub fn send(&self, body: &str) {
        self.simulator.with(|world, now| world.deliver(now, QUEUE, body, &BTreeMap::new(), 1)).expect("the queue is there");
    }

    /// Puts an instance's key material where it is looked for, as the instance itself.
    pub fn publish(&self, instance: &str, value: String) {
        let parameter = NewParameter {
            name: format!("/enrolld/{instance}/public-key"),
            value,
            kind: "String".into(),
            overwrite: false,
            by: None,
            by_instance: Some(instance.into()),
        };
        self.simulator.with(|world, now| world.put_fixture_parameter(now, parameter)).expect("it can be put");
    }

    /// What goes wrong from now on; returns its id.
    pub fn fault(&self, operation: &str, effect: Effect) -> String {
        let fault = Fault { id: None, operation: operation.into(), effect, probability: 1.0, limit: None, after_ms: 0, for_ms: None };
        self.simulator.with(|world, now| world.add_fault(now, fault))
    }

    pub fn mend(&self) {
        self.simulator.with(|world, _| world.clear_faults(None));
    }

    /// The counts alone.
    pub fn summary(&self) -> State {
        self.simulator.state(false)
    }

    pub fn details(&self) -> Details {
        self.simulator.state(true).details.expect("it was asked for")
    }

    pub fn state_of(&self, instance: &str) -> LifecycleState {
        let state = self.simulator.with(|world, now| {
            world.advance(now);
            world.lifecycle_state(instance)
        });
        state.expect("it was launched")
    }

    /// The actions of an instance, in order.
    pub fn actions(&self, instance: &str) -> Vec<ActionState> {
        self.details().actions.into_iter().filter(|action| action.instance == instance).collect()
    }

    pub fn queue(&self, name: &str) -> QueueState {
        self.simulator.state(true).queues.remove(name).expect("the queue is there")
    }

    /// The nodes on a server, in order.
    pub fn nodes(&self, server: &str) -> Vec<String> {
        self.simulator.state(true).servers[server].nodes.keys().cloned().collect()
    }

    pub fn calls(&self, operation: &str) -> u64 {
        self.summary().calls.get(operation).copied().unwrap_or(0)
    }

    /// The dead letters: each body with its reason, or without one where there was no room for it.
    pub fn letters(&self) -> Vec<(String, Option<String>)> {
        let letters = self.queue(LETTERS).messages.into_iter();
        letters.map(|mut letter| (letter.body, letter.attributes.remove("EnrolldReason"))).collect()
    }

    /// Nothing waits in the queue, and nothing is in flight.
    pub fn is_empty(&self, queue: &str) -> bool {
        let queue = &self.summary().queues[queue];
        queue.visible + queue.in_flight + queue.delayed == 0
    }

    /// Waits for something to happen.
    pub async fn until(&self, what: &str, happened: impl Fn(&Self) -> bool) {
        let longest = Instant::now() + LONGEST;
        while !happened(self) {
            assert!(Instant::now() < longest, "not within a minute: {what}; {:#?}", self.summary());
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// Waits until instances are in service, and their messages gone.
    pub async fn until_in_service(&self, instances: &[String]) {
        let serve = |bench: &Self| instances.iter().all(|id| bench.state_of(id) == LifecycleState::InService);
        self.until("in service", serve).await;
    }

    /// Waits until an instance is in that state.
    pub async fn until_state(&self, instance: &str, state: LifecycleState) {
        self.until(&format!("{instance} {state:?}"), |bench| bench.state_of(instance) == state).await;
    }

    pub async fn until_empty(&self) {
        self.until("the queue is empty", |bench| bench.is_empty(QUEUE)).await;
    }
}

impl Running {
    /// How messages ended so far.
    pub fn ends(&self) -> Vec<End> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The outcomes so far, with their reasons.
    pub fn outcomes(&self) -> Vec<(Outcome, Option<String>)> {
        self.ends().into_iter().map(|end| (end.outcome, end.reason)).collect()
    }

    /// Waits until so many messages have ended; returns how.
    pub async fn until_ends(&self, count: usize) -> Vec<End> {
        let longest = Instant::now() + LONGEST;
        while self.ends().len() < count {
            assert!(!self.task.is_finished(), "the worker ended; {:?}", self.ends());
            assert!(Instant::now() < longest, "{count} ends are not reached within a minute: {:?}", self.ends());
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        self.ends()
    }

    /// Tells the worker to stop, and waits until it did. A test that is about something else lets it work to its own end.
    pub async fn stop(mut self) -> Vec<End> {
        self.stopped = true;
        let _ = self.stop.send(()).await;
        let ended = tokio::time::timeout(LONGEST, &mut self.task).await.expect("it ends in time").expect("it does not panic");
        assert_eq!(ended, Ended::InOrder);
        self.ends()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = self.task.is_finished() && !self.stopped;
        self.task.abort();
        if ended && !std::thread::panicking() {
            panic!("the worker ended by itself");
        }
    }
}

/// A configuration with one route for everything, and short waits. `route` is more for that route.
pub fn configuration(endpoint: &str, route: &str) -> String {
    let registrar = format!("registrar = {{ kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"chef\" }}");
    let key = format!(
        "key = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", owner_role = \"arn:aws:iam::{ACCOUNT}:role/enrolld-node\" }}"
    );
    configuration_of(endpoint, "", &format!("{registrar}\n{key}\n{route}"))
}

/// The same with any registrar and key. `top` is more for the top of the file.
pub fn configuration_of(endpoint: &str, top: &str, route: &str) -> String {
    // What a document prints is read from no parameter.
    let key_rate = if route.contains("document") { "" } else { "key_rate = 1000\n" };
    format!(
        r#"
queue_url = "{endpoint}/{ACCOUNT}/{QUEUE}"
region = "eu-central-1"
worker = "test-worker"
listen = "127.0.0.1:0"
poll_wait = "1s"
patience = "1s"
retry_initial = "50ms"
retry_max = "500ms"
not_ready_initial = "100ms"
not_ready_max = "300ms"
route_fault_initial = "100ms"
route_fault_max = "500ms"
{top}

[[route]]
name = "all"
groups = ["*"]
key_poll = "200ms"
{key_rate}status_poll_initial = "50ms"
status_poll_max = "300ms"
{route}
"#
    )
}

/// A launch hook, as the standard group has it.
pub fn launch_hook(via: Form) -> NewHook {
    hook("enrol-on-launch", Kind::Launching, "ABANDON", via)
}

/// A group with a hook each way, whose events come in that form.
pub fn group(name: &str, via: Form) -> NewGroup {
    NewGroup {
        name: name.into(),
        max_size: 100_000,
        min_size: 0,
        warm_pool: None,
        hooks: vec![launch_hook(via), hook("leave-on-terminate", Kind::Terminating, "CONTINUE", via)],
        options: GroupOptions::default(),
    }
}

fn hook(name: &str, transition: Kind, default_result: &str, via: Form) -> NewHook {
    NewHook {
        name: name.into(),
        transition,
        heartbeat_timeout: 3600,
        default_result: default_result.into(),
        metadata: None,
        delivery: Some(Delivery { queue: QUEUE.into(), via }),
    }
}

/// An agent that publishes so much later.
pub fn publishes_after(after_ms: u64) -> AgentOptions {
    AgentOptions {
        publish: Publish::Parameter { name: "/enrolld/{instance_id}/public-key".into(), after_ms, jitter_ms: 0, secure: false },
        ..AgentOptions::default()
    }
}

/// An agent that never publishes anything.
pub fn never_publishes() -> AgentOptions {
    AgentOptions { publish: Publish::Never, ..AgentOptions::default() }
}
