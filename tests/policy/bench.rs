//! A simulated AWS, and a worker in it that may do what its printed policy allows.

#[path = "../common/permissions.rs"]
pub mod permissions;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use enrolld::config::Environment;
use enrolld::simulator::model::agent::{AgentOptions, Material, Publish, material};
use enrolld::simulator::model::autoscaling::{LifecycleState, Place};
use enrolld::simulator::model::caller::Principal;
use enrolld::simulator::model::fixture::Fixture;
use enrolld::simulator::model::iam::NewRole;
use enrolld::simulator::model::operation::Operation;
use enrolld::simulator::model::opsworks_cm::wire::{AssociateNode, EngineAttribute, ServerStatus};
use enrolld::simulator::model::ssm::wire::CreateDocument;
use enrolld::simulator::{Options, Simulator};
use serde_json::{Value, json};

pub const GROUP: &str = "web-blue";
pub const SERVER: &str = "prod-chef";
pub const MAIN: &str = "enrolld-lifecycle";
pub const LETTERS: &str = "enrolld-dead-letters";
pub const DOCUMENT: &str = "Print-Key";
/// The access key that the worker runs with.
const KEY: &str = "AKIAWORKER";

pub struct Bench {
    pub simulator: Simulator,
    config: PathBuf,
}

/// A worker that is killed when the test ends, however it ends.
pub struct Worker(pub Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.simulator.with(|world, _| permissions::nothing_was_beyond(world));
        }
    }
}

impl Worker {
    /// Tells it to end, and waits until it has.
    pub async fn end(mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        assert!(sent.expect("there is a kill").success());
        for _ in 0..1000 {
            if let Some(status) = self.0.try_wait().expect("it is a process of ours") {
                assert!(status.success(), "{status}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not end");
    }
}

impl Bench {
    /// The standard fixture, whose hooks want a heartbeat every few seconds, with a configuration of these keys and routes.
    pub async fn start(name: &str, agent: AgentOptions, top: &str, routes: &str) -> Self {
        let mut fixture = Fixture::standard();
        for hook in &mut fixture.groups[0].hooks {
            hook.heartbeat_timeout = 6;
        }
        fixture.groups[0].options.agent = agent;
        fixture.groups[0].options.replace_abandoned = false;
        // The instances' role, and one in whose trust policy an external id stands.
        let role = |name: &str, principal: Value, condition: Value| NewRole {
            name: name.into(),
            path: "/fleet/".into(),
            trust: json!({ "Statement": [
                { "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition },
            ] }),
        };
        let external = json!({ "StringEquals": { "sts:ExternalId": "x-7" } });
        fixture.roles = vec![
            role("enrolld-node", json!({ "Service": "ec2.amazonaws.com" }), json!({})),
            role("asks", json!({ "AWS": "arn:aws:iam::123456789012:role/enrolld" }), external),
        ];
        let simulator = Simulator::start(Options { fixture, ..Options::default() }).await.expect("the simulator starts");
        let request = CreateDocument { name: DOCUMENT.into(), content: script(), ..CreateDocument::default() };
        simulator.with(|world, now| world.create_document(now, &world.root(), &request).map(drop)).expect("it is a document");
        let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("policy-{name}.toml"));
        let endpoint = simulator.endpoint();
        let text = format!(
            "queue_url = \"{endpoint}/123456789012/{MAIN}\"\nregion = \"eu-central-1\"\nlisten = \"off\"\npoll_wait = \"1s\"\n\
             patience = \"1s\"\nnot_ready_initial = \"100ms\"\nnot_ready_max = \"200ms\"\n{}\n{routes}",
            top.replace("{endpoint}", &endpoint)
        );
        std::fs::write(&config, text).expect("the folder is there to be written to");
        Self { simulator, config }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        // Beside what a test confines it to.
        let text = std::fs::read_to_string(&self.config).expect("it was written");
        let config = enrolld::config::parse(&text, "the test's configuration", &Environment::new()).expect("it is sound");
        self.simulator.with(|world, _| permissions::confine(world, KEY, &config, permissions::of_command(arguments[0])));
        let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
        command.args(arguments).arg("--config").arg(&self.config).env_clear().stdin(Stdio::null());
        let endpoint = self.simulator.endpoint();
        command.envs([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        command
    }

    /// Runs a command to its end. The simulator runs on this thread, so the waiting is done on another.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output()).await.expect("waiting does not panic").expect("the binary was built")
    }

    /// The actions of the policies that are printed.
    pub async fn printed(&self, more: &[&str]) -> BTreeSet<String> {
        let output = self.run(&[&["policy", "--output", "json"], more].concat()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        let statements = printed["policies"].as_array().into_iter().flatten().flat_map(|policy| policy["document"]["Statement"].as_array());
        let actions = statements.flatten().filter(|one| one["Effect"] == "Allow").flat_map(|one| one["Action"].as_array()).flatten();
        actions.map(|action| action.as_str().expect("an action is text").to_owned()).collect()
    }

    /// From now on the worker's credentials are refused whatever is not among these actions, and counts begin anew.
    pub fn confine(&self, actions: &BTreeSet<String>) {
        let denied = Operation::ALL.iter().filter(|operation| !action_of(**operation).is_none_or(|action| actions.contains(&action)));
        let denied = denied.map(ToString::to_string).collect();
        let arn = "arn:aws:sts::123456789012:assumed-role/worker/enrolld".to_owned();
        self.simulator.with(|world, _| {
            world.set_principal(Principal { access_key_id: KEY.into(), arn, account: None, denied, allowed: None });
            world.clear_calls();
        });
    }

    /// The actions that were called since.
    pub fn called(&self) -> BTreeSet<String> {
        self.simulator.with(|world, _| {
            Operation::ALL.iter().filter(|operation| world.calls(**operation) > 0).filter_map(|operation| action_of(*operation)).collect()
        })
    }

    /// Nothing was refused for want of a permission.
    pub fn nothing_was_denied(&self) {
        for (operation, outcomes) in self.simulator.state(false).outcomes {
            let denied: Vec<&String> = outcomes.keys().filter(|outcome| outcome.starts_with("AccessDenied")).collect();
            assert!(denied.is_empty(), "{operation} was denied");
        }
    }

    pub fn worker(&self) -> Worker {
        let mut command = self.command(&["run"]);
        Worker(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary was built"))
    }

    pub fn launch(&self, group: &str, agent: Option<AgentOptions>) -> String {
        let launched = self.simulator.with(|world, now| world.launch(now, group, 1, Place::AutoScalingGroup, agent.as_ref()));
        launched.expect("the group is there")[0].to_string()
    }

    /// A node on the server whose instance was terminated when its hook timed out, with no worker about.
    pub fn left_behind(&self) -> String {
        let id = self.launch(GROUP, Some(Self::silent()));
        let attribute = |name: &str, value: String| EngineAttribute { name: Some(name.into()), value: Some(value) };
        let request = AssociateNode {
            server_name: Some(SERVER.into()),
            node_name: Some(id.clone()),
            engine_attributes: vec![
                attribute("CHEF_ORGANIZATION", "default".into()),
                attribute("CHEF_NODE_PUBLIC_KEY", material(&Material::Good, 1, &id)),
            ],
        };
        self.simulator.with(|world, now| world.associate_node(now, &world.root(), &request).map(drop)).expect("the server is healthy");
        // Longer than the launch hook waits, and than the terminate hook after it.
        for _ in 0..3 {
            self.simulator.skip(10_000);
        }
        id
    }

    pub fn silent() -> AgentOptions {
        AgentOptions { publish: Publish::Never, registers_after_ms: None, ..AgentOptions::default() }
    }

    pub fn server(&self, status: ServerStatus) {
        self.simulator.with(|world, now| assert!(world.set_server_status(now, SERVER, status, None)));
    }

    pub fn send(&self, body: &str) {
        self.simulator.with(|world, now| world.deliver(now, MAIN, body, &Default::default(), 1)).expect("the queue is there");
    }

    pub fn is_in_service(&self, instance: &str) -> bool {
        self.simulator.with(|world, now| {
            world.advance(now);
            world.lifecycle_state(instance) == Some(LifecycleState::InService)
        })
    }

    pub fn letters(&self) -> usize {
        self.simulator.state(false).queues[LETTERS].visible
    }

    /// Waits for something to happen in the simulator.
    pub async fn until(&self, what: &str, happened: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !happened(self) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(180), waiting).await.is_err() {
            panic!("{what} does not happen; called: {:?}", self.simulator.state(false).outcomes);
        }
    }

    pub async fn until_called(&self, action: &str) {
        self.until(action, |bench| bench.called().contains(action)).await;
    }
}

/// The IAM action that an operation takes; none where it takes none.
fn action_of(operation: Operation) -> Option<String> {
    match operation {
        // "No permissions are required to perform this operation" (API reference).
        Operation::GetCallerIdentity => None,
        // A batch takes the action of its entries.
        Operation::DeleteMessageBatch => Some("sqs:DeleteMessage".into()),
        Operation::ChangeMessageVisibilityBatch => Some("sqs:ChangeMessageVisibility".into()),
        Operation::SendMessageBatch => Some("sqs:SendMessage".into()),
        other => Some(other.to_string()),
    }
}

fn script() -> String {
    json!({
        "schemaVersion": "2.2",
        "description": "Prints the node's public key",
        "mainSteps": [{ "action": "aws:runShellScript", "name": "print", "inputs": { "runCommand": ["cat /etc/chef/client.pub"] } }],
    })
    .to_string()
}

/// The notification of a termination.
pub fn termination(instance: &str) -> String {
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
