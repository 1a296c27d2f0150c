//! `enrolld dead-letters` against a simulated AWS, as a person runs it.

mod list;
mod owed;
#[path = "../common/permissions.rs"]
mod permissions;
mod redrive;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use enrolld::simulator::model::faults::{Effect, Fault};
use enrolld::simulator::model::fixture::Fixture;
use enrolld::simulator::model::sqs::QueueState;
use enrolld::simulator::model::sqs::wire::{MessageAttribute, MessageAttributes, ReceiveMessage};
use enrolld::simulator::{Options, Simulator};
use serde_json::{Value, json};

const MAIN: &str = "enrolld-lifecycle";
const LETTERS: &str = "enrolld-dead-letters";
const GROUP: &str = "web-blue";
const SERVER: &str = "prod-chef";

/// A simulated AWS and a configuration for it.
struct Bench {
    simulator: Simulator,
    config: PathBuf,
}

/// How a command ended.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    #[track_caller]
    fn must_exit(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.simulator.with(|world, _| permissions::nothing_was_beyond(world));
        }
    }
}

impl Bench {
    /// The standard fixture with something changed in it. Each test has a name of its own, for its file.
    async fn start(name: &str, change: impl FnOnce(&mut Fixture)) -> Self {
        let mut fixture = Fixture::standard();
        change(&mut fixture);
        let simulator = Simulator::start(Options { fixture, ..Options::default() }).await.expect("the simulator starts");
        let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("dead-letters-{name}.toml"));
        std::fs::write(&config, configuration(&simulator.endpoint(), "web-*")).expect("the folder is there to be written to");
        Self { simulator, config }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
        command.args(arguments).arg("--config").arg(&self.config).env_clear();
        let endpoint = self.simulator.endpoint();
        let text = std::fs::read_to_string(&self.config).expect("it was written");
        let key = self.simulator.with(|world, _| permissions::key_for(world, &text, &[], arguments[0]));
        command.envs([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", &key), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end. The simulator runs on this thread, so the waiting is done on another.
    async fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        Ran::of(&output.expect("waiting does not panic").expect("the binary was built for this test"))
    }

    async fn list(&self, more: &[&str]) -> Ran {
        self.run(&[&["dead-letters", "list"], more].concat()).await
    }

    async fn redrive(&self, more: &[&str]) -> Ran {
        self.run(&[&["dead-letters", "redrive"], more].concat()).await
    }

    /// Puts a letter into the dead-letter queue.
    fn letter(&self, attributes: &[(&str, &str)], body: &str) -> String {
        let text = |value: &str| MessageAttribute { data_type: "String".into(), string_value: Some(value.into()), binary_value: None };
        let attributes: MessageAttributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect();
        let ids = self.simulator.with(|world, now| world.deliver(now, LETTERS, body, &attributes, 1)).expect("the queue is there");
        ids[0].to_string()
    }

    /// Puts a body into a queue and receives it until SQS itself moves it, as the queue's redrive policy says after two receives.
    fn moved_by_sqs(&self, queue: &str, body: &str) {
        self.simulator.with(|world, now| {
            world.deliver(now, queue, body, &MessageAttributes::new(), 1).expect("the queue is there");
            let root = world.root();
            let request = ReceiveMessage {
                queue_url: format!("http://x/123456789012/{queue}"),
                visibility_timeout: Some(0),
                wait_time_seconds: Some(0),
                ..ReceiveMessage::default()
            };
            for _ in 0..3 {
                world.receive_message(now, &root, &request).expect("the queue is there");
            }
        });
    }

    fn queue(&self, name: &str) -> QueueState {
        self.simulator.state(true).queues.remove(name).expect("the queue is there")
    }

    /// Waits for something to happen in the simulator.
    async fn until(&self, happened: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !happened(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(180), waiting).await.expect("it happens in time");
    }

    /// Has a worker run until something has happened in the simulator.
    async fn work_until(&self, happened: impl Fn(&Self) -> bool) {
        let worker = self.command(&["run"]).spawn().expect("the binary was built for this test");
        let process = worker.id();
        let ended = tokio::task::spawn_blocking(move || worker.wait_with_output());
        self.until(happened).await;
        signal("TERM", process);
        ended.await.expect("waiting does not panic").expect("it ends");
    }

    fn bodies(&self, name: &str) -> Vec<String> {
        let mut bodies: Vec<String> = self.queue(name).messages.into_iter().map(|message| message.body).collect();
        bodies.sort();
        bodies
    }

    fn fault(&self, operation: &str, effect: Effect, limit: Option<u64>) {
        let fault = Fault { id: None, operation: operation.into(), effect, probability: 1.0, limit, after_ms: 0, for_ms: None };
        self.simulator.with(|world, now| world.add_fault(now, fault));
    }

    /// Nothing was lost: all letters are there, and each can be received at once.
    #[track_caller]
    fn letters_must_be(&self, count: usize) {
        let queue = self.queue(LETTERS);
        assert_eq!((queue.visible, queue.in_flight, queue.messages.len()), (count, 0, count));
    }
}

fn configuration(endpoint: &str, groups: &str) -> String {
    format!(
        r#"
queue_url = "{endpoint}/123456789012/{MAIN}"
region = "eu-central-1"
listen = "off"
poll_wait = "1s"
retry_initial = "50ms"
not_ready_initial = "100ms"
not_ready_max = "200ms"

[[route]]
name = "web"
groups = ["{groups}"]
registrar = {{ kind = "opsworks-cm", server = "{SERVER}", engine = "chef" }}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", owner_role = "arn:aws:iam::123456789012:role/enrolld-node" }}
key_poll = "200ms"
status_poll_initial = "100ms"
status_poll_max = "200ms"
"#
    )
}

/// Sends a signal to a process of ours.
fn signal(name: &str, process: u32) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status();
    assert!(sent.expect("there is a kill").success());
}

/// The notification of a termination.
fn termination(instance: &str) -> String {
    json!({
        "LifecycleHookName": "leave-on-terminate",
        "AccountId": "123456789012",
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
        "AutoScalingGroupName": GROUP,
        "EC2InstanceId": instance,
        "LifecycleActionToken": "5d1f0a52-7b0e-4c8e-9a49-2f6d3f6f1c01",
    })
    .to_string()
}

/// A hexadecimal instance id.
fn instance(number: usize) -> String {
    format!("i-{number:017x}")
}
