//! A simulated AWS with the real worker on it, for tests with a real server beside them.

#[path = "permissions.rs"]
mod permissions;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use enrolld::aws::{Aws, AwsSettings};
use enrolld::core::call::ScopeId;
use enrolld::simulator::model::agent::{AgentOptions, Publish};
use enrolld::simulator::model::autoscaling::Place;
use enrolld::simulator::model::fixture::{Fixture, NewParameter};
use enrolld::simulator::{Options, Simulator};
use serde_json::Value;

pub const GROUP: &str = "web-blue";
/// A debug build on a busy machine needs its time.
const LONGEST: Duration = Duration::from_secs(600);

/// SQS, SSM and Auto Scaling, and `enrolld run` beside them.
pub struct Fleet {
    simulator: Simulator,
    config: PathBuf,
    log: PathBuf,
    worker: Option<Child>,
}

impl Fleet {
    /// Starts them. `registrar` is the value of that key in the configuration; `more` are further lines of the
    /// route. Instances publish keys of their own unless `silent`.
    pub async fn start(name: &str, registrar: &str, more: &str, silent: bool) -> Self {
        let mut fixture = Fixture::standard();
        if silent {
            fixture.groups[0].options.agent = AgentOptions { publish: Publish::Never, ..AgentOptions::default() };
        }
        // Servers beside it outlive one test, and know its instances by their ids.
        let seed = name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(257).wrapping_add(byte.into()));
        let simulator = Simulator::start(Options { fixture, seed, ..Options::default() }).await.expect("the simulator starts");
        let file = |ending: &str| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fleet-{name}-{}.{ending}", std::process::id()));
        let (config, log) = (file("toml"), file("log"));
        std::fs::write(&config, format!("{}{more}\n", configuration(&simulator.endpoint(), registrar)))
            .expect("the folder is there to be written to");
        let mut fleet = Self { simulator, config, log, worker: None };
        let log = std::fs::File::create(&fleet.log).expect("the folder is there to be written to");
        let worker = fleet.command("run").stdout(log.try_clone().expect("a file can be shared")).stderr(log).spawn();
        fleet.worker = Some(worker.expect("the binary was built for this test"));
        fleet
    }

    fn command(&self, command: &str) -> Command {
        let mut enrolld = Command::new(env!("CARGO_BIN_EXE_enrolld"));
        enrolld.arg(command).arg("--config").arg(&self.config).env_clear().stdin(Stdio::null());
        let endpoint = self.simulator.endpoint();
        let text = std::fs::read_to_string(&self.config).expect("it was written");
        let key = self.simulator.with(|world, _| permissions::key_for(world, &text, &[], command));
        enrolld.envs([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", &key), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        enrolld
    }

    /// Launches instances, and waits until they are in service.
    pub async fn launch(&self, count: usize, material: impl Fn(&str) -> Option<String>) -> BTreeSet<String> {
        let launched = self.simulator.with(|world, now| world.launch(now, GROUP, count, Place::AutoScalingGroup, None));
        let launched: BTreeSet<String> = launched.expect("there is room").iter().map(ToString::to_string).collect();
        for id in &launched {
            let Some(value) = material(id) else { continue };
            self.publish(id, value);
        }
        self.until("the launches are in service", || launched.is_subset(&self.in_service())).await;
        launched
    }

    fn publish(&self, id: &str, value: String) {
        let name = format!("/enrolld/{id}/public-key");
        let parameter = NewParameter { name, value, kind: "String".into(), overwrite: false, by: None, by_instance: Some(id.to_owned()) };
        self.simulator.with(|world, now| world.put_fixture_parameter(now, parameter)).expect("it can be put");
    }

    /// Launches an instance, and waits until it was abandoned and all of that is over.
    #[allow(dead_code, reason = "not every test that shares this file has launches that fail")]
    pub async fn launch_in_vain(&self, material: impl AsyncFn(&str) -> String) -> String {
        self.launch_that_ends("ABANDON", "Terminated", material).await
    }

    /// Launches an instance whose launch ends with this result and in this state, and waits until all of that is over.
    #[allow(dead_code, reason = "not every test that shares this file has launches that fail")]
    pub async fn launch_that_ends(&self, result: &str, state: &str, material: impl AsyncFn(&str) -> String) -> String {
        let launched = self.simulator.with(|world, now| world.launch(now, GROUP, 1, Place::AutoScalingGroup, None));
        let id = launched.expect("there is room")[0].to_string();
        self.publish(&id, material(&id).await);
        self.until("the launch is over", || {
            let world = self.simulator.state(true);
            let details = world.details.expect("they were asked for");
            let ended = format!("{:?}", details.instances[&id].state) == state;
            ended && world.queues["enrolld-lifecycle"].messages.iter().all(|message| !format!("{message:?}").contains(&id))
        })
        .await;
        let actions = self.simulator.state(true).details.expect("they were asked for").actions;
        assert!(actions.iter().any(|action| action.result.as_deref() == Some(result)), "{}", self.log());
        id
    }

    pub fn in_service(&self) -> BTreeSet<String> {
        self.simulator.with(|world, _| world.in_service(GROUP)).iter().map(ToString::to_string).collect()
    }

    /// Terminates so many that serve, and waits until they are gone.
    pub async fn terminate(&self, count: usize) -> BTreeSet<String> {
        let leave: BTreeSet<String> = self.in_service().into_iter().take(count).collect();
        for id in &leave {
            assert!(self.simulator.with(|world, now| world.terminate(now, id)));
        }
        let gone = || {
            let instances = self.simulator.state(true).details.expect("they were asked for").instances;
            leave.iter().all(|id| format!("{:?}", instances[id].state) == "Terminated")
        };
        self.until("the terminated are gone", gone).await;
        leave
    }

    /// The value of a parameter, where it is there.
    #[allow(dead_code, reason = "not every test that shares this file looks at parameters")]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut parameters = self.simulator.state(true).details.expect("they were asked for").parameters;
        parameters.remove(name).map(|parameter| parameter.value)
    }

    pub fn detach_one(&self) -> String {
        let id = self.in_service().pop_last().expect("some serve");
        assert!(self.simulator.with(|world, now| world.detach(now, &id)));
        id
    }

    /// Deletes the hook that tells of terminations, as somebody may.
    pub async fn delete_terminate_hook(&self) {
        let settings = AwsSettings {
            region: Some("eu-central-1".into()),
            connect_timeout: Duration::from_secs(2),
            attempt_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(5),
            worker: "test".into(),
            scopes: Vec::new(),
        };
        let aws = Aws::fixed(&settings, &self.simulator.endpoint(), "AKIATEST").expect("there is a region");
        let client = aws_sdk_autoscaling::Client::new(aws.scope(ScopeId(0)));
        let request = client.delete_lifecycle_hook().auto_scaling_group_name(GROUP).lifecycle_hook_name("leave-on-terminate");
        request.send().await.expect("the hook is there");
    }

    /// Sweeps, which must end well, and returns what it says.
    pub async fn sweep(&self, more: &[&str]) -> Value {
        let mut command = self.command("sweep");
        command.args(["--route", "web", "--output", "json"]).args(more);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("waiting does not panic").expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What `enrolld check` says.
    #[allow(dead_code, reason = "not every test that shares this file checks")]
    pub async fn check(&self) -> String {
        let mut command = self.command("check");
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("waiting does not panic").expect("it runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Waits until the worker has said this.
    #[allow(dead_code, reason = "not every test that shares this file waits for a word")]
    pub async fn until_said(&self, text: &str) {
        self.until(text, || std::fs::read_to_string(&self.log).unwrap_or_default().contains(text)).await;
    }

    /// Nothing is open, nothing is left in the queues, and nothing was abandoned.
    pub async fn must_be_settled(&self) {
        self.until("everything is settled", || {
            let state = self.simulator.state(true);
            let empty = |queue: &str| state.queues[queue].messages.is_empty();
            state.counts.open_actions == 0 && empty("enrolld-lifecycle") && empty("enrolld-dead-letters")
        })
        .await;
        let actions = self.simulator.state(true).details.expect("they were asked for").actions;
        assert!(actions.iter().all(|action| action.result.as_deref() == Some("CONTINUE")), "{}", self.log());
    }

    /// Stops the worker in order.
    pub async fn stop(&mut self) {
        let mut worker = self.worker.take().expect("it runs");
        assert!(Command::new("kill").arg(worker.id().to_string()).status().expect("there is a kill").success());
        let ended = tokio::task::spawn_blocking(move || worker.wait()).await.expect("waiting does not panic").expect("it ends");
        assert_eq!(ended.code(), Some(0), "{}", self.log());
    }

    async fn until(&self, what: &str, happened: impl Fn() -> bool) {
        let began = Instant::now();
        while !happened() {
            assert!(began.elapsed() < LONGEST, "not in time: {what}; the worker says\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The last that the worker said.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(mut worker) = self.worker.take() {
            let _ = worker.kill();
            let _ = worker.wait();
        }
        if !std::thread::panicking() {
            self.simulator.with(|world, _| permissions::nothing_was_beyond(world));
            let _ = (std::fs::remove_file(&self.config), std::fs::remove_file(&self.log));
        }
    }
}

/// All names of nodes that a sweep gave this word.
pub fn with_word(report: &Value, word: &str) -> BTreeSet<String> {
    let nodes = report["nodes"].as_array().expect("there is a list");
    nodes.iter().filter(|entry| entry["result"] == word).filter_map(|entry| Some(entry["node"].as_str()?.to_owned())).collect()
}

fn configuration(endpoint: &str, registrar: &str) -> String {
    format!(
        r#"
queue_url = "{endpoint}/123456789012/enrolld-lifecycle"
region = "eu-central-1"
listen = "off"
log_format = "json"
visibility_timeout = "60s"
poll_wait = "1s"
retry_initial = "100ms"
retry_max = "1s"
not_ready_initial = "200ms"
not_ready_max = "1s"

[[route]]
name = "web"
groups = ["web-*"]
registrar = {registrar}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", owner_role = "arn:aws:iam::123456789012:role/enrolld-node" }}
key_poll = "500ms"
key_rate = 200
status_poll_initial = "100ms"
status_poll_max = "500ms"
"#
    )
}
