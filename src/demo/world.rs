//! The simulated account that the demonstration happens in, and what is read from it at the end.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::numbers::Numbers;
use super::scenario::{NodePlan, Part, Plan, Scenario};
use super::worker::{ACCESS_KEY_ID, ACCOUNT, DEAD_LETTERS, QUEUE, REGION, ROLE, SERVER, configuration};
use crate::names::{AccountId, Region};
use crate::policy::{self, DeadLetterQueue, Extras};
use crate::simulator::model::agent::{AgentOptions, Material, Publish};
use crate::simulator::model::autoscaling::{
    ActionState, Closing, Delivery, Form, GroupOptions, Kind, LifecycleState, NewGroup, NewHook, Place,
};
use crate::simulator::model::faults::{Effect, Fault};
use crate::simulator::model::fixture::{DeadLetters, Fixture, NewQueue};
use crate::simulator::model::grant::Grant;
use crate::simulator::model::opsworks_cm::wire::ServerStatus;
use crate::simulator::model::opsworks_cm::{NewServer, ServerOptions};
use crate::simulator::model::state::{Details, State};
use crate::simulator::{Options, Simulator};

/// The group of most nodes.
const GROUP: &str = "demo-web";
/// The group whose notifications come twice.
const TWICE: &str = "demo-twice";

/// A running simulator, on a thread of its own so that neither it nor the worker waits for the other's processor time.
pub struct Theatre {
    simulator: Option<Simulator>,
    /// Dropped to end the thread.
    open: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Theatre {
    /// Starts the simulator on a free loopback port, with what the plan needs.
    ///
    /// # Errors
    /// No port, no thread, or a world that cannot be.
    pub fn open(plan: &Plan) -> io::Result<Self> {
        let options = Options { seed: plan.seed, fixture: fixture(plan), ..Options::default() };
        let (started, starting) = mpsc::channel();
        let (open, closed) = oneshot::channel::<()>();
        let run = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            runtime.block_on(async {
                let _ = started.send(Simulator::start(options).await);
                let _ = closed.await;
            });
        };
        let thread = thread::Builder::new().name("simulator".into()).spawn(run)?;
        let simulator = starting.recv().map_err(|_| io::Error::other("the simulator's thread ended"))??;
        let theatre = Self { simulator: Some(simulator), open: Some(open), thread: Some(thread) };
        theatre.confine_worker(plan.scenario)?;
        Ok(theatre)
    }

    /// What every AWS service's endpoint must be.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.simulator().endpoint()
    }

    /// Lets the worker do what `enrolld policy` prints for its configuration, and nothing else: the demonstration shows what works in an
    /// account too.
    fn confine_worker(&self, scenario: Scenario) -> io::Result<()> {
        let config = configuration(&self.endpoint(), scenario).map_err(io::Error::other)?;
        let region = Region::new(REGION).map_err(io::Error::other)?;
        let place = policy::Place { region, account: AccountId::new(ACCOUNT).map_err(io::Error::other)? };
        let letters = DeadLetterQueue::Arn(format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{DEAD_LETTERS}"));
        let policies = policy::worker(&config, &place, Some(&letters), Extras::default()).map_err(io::Error::other)?;
        let grants: Result<Vec<_>, _> = policies.iter().map(|policy| Grant::of_document(&policy.document)).collect();
        let grants = grants.map_err(io::Error::other)?.concat();
        self.simulator().with(|world, _| world.confine(ACCESS_KEY_ID, grants));
        Ok(())
    }

    /// Launches a node, and names its instance.
    ///
    /// # Errors
    /// What Auto Scaling says; a test rules it out.
    pub fn launch(&self, node: &NodePlan) -> io::Result<String> {
        let group = if node.part == Part::DeliveredTwice { TWICE } else { GROUP };
        let agent = AgentOptions {
            publish: Publish::Parameter {
                name: "/enrolld/{instance_id}/public-key".into(),
                after_ms: u64::try_from(node.key_after.as_millis()).unwrap_or(u64::MAX),
                jitter_ms: 0,
                secure: false,
            },
            material: if node.part == Part::UnusableKey { Material::Garbage } else { Material::Good },
            role: ROLE.into(),
            ..AgentOptions::default()
        };
        let launched = self.simulator().with(|world, now| world.launch(now, group, 1, Place::AutoScalingGroup, Some(&agent)));
        let first = launched.map_err(|error| io::Error::other(error.code.into_owned()))?.first().map(ToString::to_string);
        first.ok_or_else(|| io::Error::other("nothing was launched"))
    }

    /// Puts a body into the queue, as anybody could who may send to it.
    pub fn send(&self, body: &str) {
        // There is a queue of that name: the fixture made it.
        let _ = self.simulator().with(|world, now| world.deliver(now, QUEUE, body, &BTreeMap::default(), 1));
    }

    /// Begins or ends the server's maintenance.
    pub fn maintenance(&self, begins: bool) {
        let status = if begins { ServerStatus::UnderMaintenance } else { ServerStatus::Healthy };
        self.simulator().with(|world, now| world.set_server_status(now, SERVER, status, None));
    }

    /// Whether an instance is in service.
    #[must_use]
    pub fn serves(&self, instance: &str) -> bool {
        self.simulator().with(|world, now| {
            world.advance(now);
            world.lifecycle_state(instance) == Some(LifecycleState::InService)
        })
    }

    /// Terminates an instance.
    pub fn terminate(&self, instance: &str) {
        self.simulator().with(|world, now| world.terminate(now, instance));
    }

    /// Whether nothing is under way: so many actions ended, none is open, and the queue is empty.
    #[must_use]
    pub fn is_quiet(&self, actions: u64) -> bool {
        let state = self.simulator().state(false);
        let empty = state.queues.get(QUEUE).is_none_or(|queue| queue.visible + queue.in_flight + queue.delayed == 0);
        // With faults in play an action may end by a call whose answer was lost: it is open no more, and its message still there.
        empty && state.counts.open_actions == 0 && state.counts.completions >= actions
    }

    /// What it all came to.
    #[must_use]
    pub fn numbers(&self, plan: &Plan, wall: Duration) -> Numbers {
        let beyond = self.simulator().with(|world, _| world.beyond().len() as u64);
        Numbers { beyond_policy: beyond, ..count(&self.simulator().state(true), plan, wall) }
    }

    fn simulator(&self) -> &Simulator {
        self.simulator.as_ref().expect("it is taken only when this is dropped")
    }
}

impl Drop for Theatre {
    fn drop(&mut self) {
        self.simulator.take();
        self.open.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn fixture(plan: &Plan) -> Fixture {
    let storm = plan.scenario == Scenario::Storm;
    let mut queue = NewQueue {
        name: QUEUE.into(),
        attributes: BTreeMap::from([("VisibilityTimeout".into(), "60".into())]),
        dead_letters: Some(DeadLetters { queue: DEAD_LETTERS.into(), max_receive_count: 100 }),
        ..NewQueue::default()
    };
    if storm {
        queue.options.duplicate = 0.1;
        queue.options.duplicate_after_ms = 2000;
        queue.options.reorder = 5;
    }
    let mut fixture = Fixture {
        queues: vec![NewQueue { name: DEAD_LETTERS.into(), ..NewQueue::default() }, queue],
        groups: vec![group(GROUP, 0.0), group(TWICE, 1.0)],
        servers: vec![NewServer {
            name: SERVER.into(),
            engine: Default::default(),
            status: ServerStatus::Healthy,
            options: ServerOptions { association_ms: 300, association_jitter_ms: 700, ..ServerOptions::default() },
        }],
        faults: if storm { foul_weather() } else { Vec::new() },
        ..Fixture::default()
    };
    fixture.settings.account = ACCOUNT.into();
    fixture.settings.region = REGION.into();
    fixture
}

fn group(name: &str, notify_twice: f64) -> NewGroup {
    let hook = |name: &str, transition, default_result: &str| NewHook {
        name: name.into(),
        transition,
        heartbeat_timeout: 600,
        default_result: default_result.into(),
        metadata: None,
        delivery: Some(Delivery { queue: QUEUE.into(), via: Form::Direct }),
    };
    NewGroup {
        name: name.into(),
        max_size: 100_000,
        min_size: 0,
        warm_pool: None,
        hooks: vec![hook("enrol-on-launch", Kind::Launching, "ABANDON"), hook("leave-on-terminate", Kind::Terminating, "CONTINUE")],
        options: GroupOptions {
            notify_twice,
            notify_jitter_ms: 200,
            // A replacement would be one more node, and the plan has as many as were asked for.
            replace_abandoned: false,
            ..GroupOptions::default()
        },
    }
}

/// What a storm adds: every tenth call or so goes wrong, in every way there is.
fn foul_weather() -> Vec<Fault> {
    let fault = |operation: &str, probability, effect| Fault {
        id: None,
        operation: operation.into(),
        effect,
        probability,
        limit: None,
        after_ms: 0,
        for_ms: None,
    };
    vec![
        fault("*", 1.0, Effect::Latency { ms: 5, jitter_ms: 20 }),
        fault("opsworks-cm:AssociateNode", 1.0, Effect::Throttle { rate: 20.0, burst: 5.0 }),
        fault("autoscaling:*", 1.0, Effect::Throttle { rate: 40.0, burst: 10.0 }),
        fault("*", 0.05, Effect::Error { status: 500, code: None, message: None }),
        fault("*", 0.02, Effect::Drop),
        fault("*", 0.02, Effect::LoseAnswer),
    ]
}

fn count(state: &State, plan: &Plan, wall: Duration) -> Numbers {
    let nothing = Details::default();
    let details = state.details.as_ref().unwrap_or(&nothing);
    let count = |wanted: &dyn Fn(&ActionState) -> bool| details.actions.iter().filter(|action| wanted(action)).count() as u64;
    let by_us = |action: &ActionState, kind, result| {
        action.transition == kind && action.closed_by == Some(Closing::Completed) && action.result.as_deref() == Some(result)
    };
    // Ended by somebody else than time: an instance that was terminated while it launched, a hook that was deleted.
    let by_others = |action: &ActionState| matches!(action.closed_by, Some(Closing::Superseded | Closing::HookDeleted));
    let unresolved = count(&|action| action.closed_by != Some(Closing::Completed) && !by_others(action));

    let held = |queue: &str| state.queues.get(queue).map_or(0, |queue| queue.visible + queue.in_flight + queue.delayed) as u64;
    let letters = state.queues.get(DEAD_LETTERS).map(|queue| queue.messages.as_slice()).unwrap_or_default();
    let kept = letters.iter().filter(|letter| plan.garbage.contains(&letter.body.as_str())).count();
    let vanished = if held(QUEUE) > 0 { 0 } else { plan.garbage.len().saturating_sub(kept) as u64 };

    let calls = state.calls.iter().map(|(operation, count)| {
        let name = operation.rsplit(':').next().unwrap_or(operation);
        (name.to_owned(), *count)
    });
    let numbers = Numbers {
        launched: details.instances.len() as u64,
        in_service: count(&|action| by_us(action, Kind::Launching, "CONTINUE")),
        abandoned: count(&|action| by_us(action, Kind::Launching, "ABANDON")),
        terminated: count(&|action| by_us(action, Kind::Terminating, "CONTINUE")),
        stale: count(&by_others),
        dead_lettered: held(DEAD_LETTERS),
        lost: unresolved.max(held(QUEUE)) + vanished,
        associations: state.counts.associations,
        nodes_on_server: state.servers.get(SERVER).map_or(0, |server| server.node_count) as u64,
        completions: state.counts.completions,
        duplicate_completions: details
            .actions
            .iter()
            .filter(|action| action.closed_by == Some(Closing::Completed))
            .map(|action| action.refused_completions)
            .sum(),
        wall_seconds: (wall.as_secs_f64() * 10.0).round() / 10.0,
        ..Numbers::default()
    };
    numbers.with_calls(calls.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    #[test]
    fn a_call_of_the_worker_that_its_policy_does_not_allow_is_refused_and_counted() {
        let plan = Plan::new(Scenario::Calm, 1, 1);
        let theatre = Theatre::open(&plan).unwrap();
        let address = theatre.endpoint().trim_start_matches("http://").to_owned();
        let ask = |form: &str| {
            let mut stream = TcpStream::connect(&address).unwrap();
            let credential = format!("{ACCESS_KEY_ID}/20260302/{REGION}/autoscaling/aws4_request");
            write!(
                stream,
                "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0\r\n\r\n{form}",
                form.len()
            )
            .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let beyond = || theatre.numbers(&plan, Duration::ZERO).beyond_policy;
        let allowed = ask("Action=DescribeAutoScalingInstances&Version=2011-01-01");
        assert!(allowed.starts_with("HTTP/1.1 200") && beyond() == 0, "{allowed}");
        let refused = ask("Action=SetDesiredCapacity&Version=2011-01-01&AutoScalingGroupName=demo-web&DesiredCapacity=0");
        assert!(refused.starts_with("HTTP/1.1 403") && beyond() == 1, "{refused}");
    }

    #[test]
    fn a_launch_that_nobody_answers_counts_as_lost() {
        let plan = Plan::new(Scenario::Tour, 3, 1);
        let theatre = Theatre::open(&plan).unwrap();
        for node in &plan.nodes {
            theatre.launch(node).unwrap();
        }
        theatre.send(plan.garbage[0]);
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        let numbers = loop {
            let numbers = theatre.numbers(&plan, Duration::from_secs(1));
            if numbers.lost >= 4 || std::time::Instant::now() > deadline {
                break numbers;
            }
            thread::sleep(Duration::from_millis(10));
        };
        assert_eq!((numbers.launched, numbers.in_service), (3, 0));
        assert!(numbers.lost >= 4, "{numbers:?}");
        assert!(!theatre.is_quiet(0));
        assert!(!numbers.faults(&plan).is_empty());
    }
}
