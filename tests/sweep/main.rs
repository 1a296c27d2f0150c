//! `enrolld sweep` against a simulated AWS, as a person runs it: OpsWorks CM, whose nodes stand in a file; a program; a list in pages.

mod command;
mod pages;
#[path = "../common/permissions.rs"]
mod permissions;
mod waiting;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use enrolld::simulator::model::agent::{Material, material};
use enrolld::simulator::model::autoscaling::{NewGroup, Place};
use enrolld::simulator::model::faults::{Effect, Fault};
use enrolld::simulator::model::fixture::{Fixture, NewParameter};
use enrolld::simulator::model::opsworks_cm::Engine;
use enrolld::simulator::model::opsworks_cm::wire::{AssociateNode, EngineAttribute, ServerStatus};
use enrolld::simulator::{Options, Simulator};
use serde_json::Value;

const GROUP: &str = "web-blue";
const SERVER: &str = "prod-chef";
/// A group that takes no route of ours.
const OTHERS: &str = "batch";

/// A simulated AWS, a configuration for it, and a file with names.
struct Bench {
    simulator: Simulator,
    config: PathBuf,
    file: PathBuf,
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    #[track_caller]
    fn must_exit(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// What is said of a node.
    #[track_caller]
    fn word(&self, node: &str) -> String {
        let json = self.json();
        let nodes = json["nodes"].as_array().expect("there is a list");
        let said: Vec<&Value> = nodes.iter().filter(|entry| entry["node"] == node).collect();
        assert_eq!(said.len(), 1, "{node} in {json:#}");
        said[0]["result"].as_str().expect("it is a word").to_owned()
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
    /// Groups without hooks, whose instances come and go by themselves.
    async fn start(name: &str) -> Self {
        Self::with(name, "{instance_id}", "web-*", |fixture| fixture.groups[0].hooks.clear()).await
    }

    async fn with(name: &str, template: &str, groups: &str, change: impl FnOnce(&mut Fixture)) -> Self {
        Self::ago(Duration::ZERO, name, template, groups, change).await
    }

    /// The same where what happens has happened so long ago, by the clock that the command goes by.
    async fn ago(ago: Duration, name: &str, template: &str, groups: &str, change: impl FnOnce(&mut Fixture)) -> Self {
        let behind_ms = u64::try_from(ago.as_millis()).expect("it is short");
        let mut fixture = Fixture::standard();
        change(&mut fixture);
        fixture.groups.push(NewGroup { name: OTHERS.into(), hooks: Vec::new(), ..fixture.groups[0].clone() });
        let simulator = Simulator::start(Options { fixture, behind_ms, ..Options::default() }).await.expect("the simulator starts");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let (config, file) = (folder.join(format!("sweep-{name}.toml")), folder.join(format!("sweep-{name}.txt")));
        std::fs::write(&config, configuration(&simulator.endpoint(), template, groups)).expect("the folder is there to be written to");
        Self { simulator, config, file }
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
        command.args(["sweep", "--route", "web"]).args(arguments).arg("--config").arg(&self.config).env_clear();
        let endpoint = self.simulator.endpoint();
        let text = std::fs::read_to_string(&self.config).expect("it was written");
        let key = self.simulator.with(|world, _| permissions::key_for(world, &text, &[], "sweep"));
        command.envs([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", &key), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        command.stdin(Stdio::null());
        // The simulator runs on this thread, so the waiting is done on another.
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("waiting does not panic").expect("the binary was built for this test");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Sweeps these names.
    async fn sweep(&self, names: &[&str], more: &[&str]) -> Ran {
        std::fs::write(&self.file, names.join("\n")).expect("the folder is there to be written to");
        let file = self.file.to_str().expect("the path is text");
        self.run(&[&["--nodes", file], more].concat()).await
    }

    fn launched(&self, group: &str) -> String {
        let launched = self.simulator.with(|world, now| world.launch(now, group, 1, Place::AutoScalingGroup, None)).expect("there is room");
        self.simulator.skip(1000);
        launched[0].to_string()
    }

    fn associate(&self, node: &str) {
        self.simulator.with(|world, now| {
            let attribute = |name: &str, value: String| EngineAttribute { name: Some(name.into()), value: Some(value) };
            let request = AssociateNode {
                server_name: Some(SERVER.into()),
                node_name: Some(node.into()),
                engine_attributes: vec![
                    attribute("CHEF_ORGANIZATION", "default".into()),
                    attribute("CHEF_NODE_PUBLIC_KEY", material(&Material::Good, 1, node)),
                ],
            };
            let root = world.root();
            world.associate_node(now, &root, &request).expect("the server is healthy");
        });
        self.simulator.skip(1000);
    }

    /// An instance in service whose node is on the server.
    fn node(&self) -> String {
        let id = self.launched(GROUP);
        self.associate(&id);
        id
    }

    /// An instance that was terminated, and left its node behind.
    fn left_behind(&self) -> String {
        let id = self.node();
        self.terminate(&id);
        id
    }

    fn terminate(&self, id: &str) {
        assert!(self.simulator.with(|world, now| world.terminate(now, id)));
        self.simulator.skip(1000);
    }

    fn nodes(&self) -> Vec<String> {
        let mut nodes: Vec<String> = self.simulator.state(true).servers[SERVER].nodes.keys().cloned().collect();
        nodes.sort();
        nodes
    }

    fn fault(&self, operation: &str, effect: Effect, limit: Option<u64>) {
        let fault = Fault { id: None, operation: operation.into(), effect, probability: 1.0, limit, after_ms: 0, for_ms: None };
        self.simulator.with(|world, now| world.add_fault(now, fault));
    }
}

fn configuration(endpoint: &str, template: &str, groups: &str) -> String {
    format!(
        r#"
queue_url = "{endpoint}/123456789012/enrolld-lifecycle"
region = "eu-central-1"
listen = "off"
visibility_timeout = "30s"
poll_wait = "1s"
connect_timeout = "1s"
attempt_timeout = "4s"
call_timeout = "5s"
retry_initial = "50ms"
not_ready_initial = "100ms"
not_ready_max = "200ms"

[[route]]
name = "web"
groups = ["{groups}"]
node_name = "{template}"
registrar = {{ kind = "opsworks-cm", server = "{SERVER}", engine = "chef" }}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", owner_role = "arn:aws:iam::123456789012:role/enrolld-node" }}
key_poll = "200ms"
status_poll_initial = "100ms"
status_poll_max = "200ms"
"#
    )
}

fn error(status: u16, code: &str) -> Effect {
    serde_json::from_value(serde_json::json!({ "kind": "error", "status": status, "code": code })).expect("it is an effect")
}

#[tokio::test]
async fn only_nodes_whose_instances_are_proven_terminated_are_taken_off() {
    let bench = Bench::start("proven").await;
    let (serves, standby, detached, gone) = (bench.node(), bench.node(), bench.node(), bench.left_behind());
    bench.simulator.with(|world, now| assert!(world.standby(now, &standby) && world.detach(now, &detached)));
    // Of a group that takes no route of ours: terminated, and nothing that this sweep may know.
    let anothers = bench.launched(OTHERS);
    bench.associate(&anothers);
    bench.terminate(&anothers);
    let unknown = "i-0a1b2c3d4e5f60718";
    bench.associate(unknown);
    let names = [&serves, &standby, &detached, &gone, &anothers, unknown, "admin", "pivotal", &gone];
    let before = bench.nodes();
    assert_eq!(before.len(), 6);

    let dry = bench.sweep(&names, &["--output", "json"]).await;
    dry.must_exit(0);
    let words = |ran: &Ran, gone_is: &str| {
        for (node, word) in [
            (serves.as_str(), "alive"),
            (&standby, "alive"),
            (&detached, "detached"),
            (&gone, gone_is),
            (&anothers, "unproven"),
            (unknown, "unproven"),
            ("admin", "foreign"),
        ] {
            assert_eq!(ran.word(node), word, "{node}");
        }
    };
    words(&dry, "would_disassociate");
    assert_eq!(bench.nodes(), before, "it only looked");

    let applied = bench.sweep(&names, &["--apply", "--output", "json"]).await;
    applied.must_exit(0);
    words(&applied, "disassociated");
    let left: Vec<String> = before.into_iter().filter(|node| *node != gone).collect();
    assert_eq!(bench.nodes(), left);

    // Once more without harm: what is not there is success.
    bench.sweep(&names, &["--apply"]).await.must_exit(0);
    assert_eq!(bench.nodes(), left);
}

#[tokio::test]
async fn a_person_reads_of_what_matters_and_not_of_every_node() {
    let bench = Bench::start("read").await;
    let (serves, detached, gone) = (bench.node(), bench.node(), bench.left_behind());
    bench.simulator.with(|world, now| assert!(world.detach(now, &detached)));
    let ran = bench.sweep(&[&serves, &detached, &gone], &[]).await;
    let text = &ran.must_exit(0).stdout;
    let line = |node: &str| text.lines().find(|line| line.contains(node));
    assert!(line(&gone).is_some_and(|line| line.starts_with("would disassociate") && line.contains(GROUP)), "{text}");
    assert!(line(&detached).is_some_and(|line| line.contains("alive, as far as is known")), "{text}");
    assert!(line(&serves).is_none(), "{text}");
    assert!(text.contains("1 would disassociate, 1 detached, 1 alive") && text.contains("takes --apply"), "{text}");
}

#[tokio::test]
async fn hostile_names_neither_move_the_cursor_nor_forge_a_line_nor_reach_a_server() {
    let bench = Bench::start("hostile").await;
    let gone = bench.left_behind();
    let evil =
        ["\u{1b}[2J\u{1b}]0;title\u{7}", "x\rdisassociated  everything", "\u{202e}i-0a1b2c3d", "../../clients/admin", "i-0a1b2c3d?x=y"];
    for output in ["text", "json"] {
        let ran = bench.sweep(&[&evil[..], &[&gone]].concat(), &["--output", output]).await;
        ran.must_exit(0);
        assert!(!ran.stdout.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{:?}", ran.stdout);
        assert!(ran.stdout.contains(&gone));
    }
    assert_eq!(bench.sweep(&evil, &["--output", "json"]).await.json()["counts"]["foreign"], evil.len());
}

#[tokio::test]
async fn where_two_instances_could_have_one_name_nothing_is_swept() {
    let bench = Bench::with("ambiguous", "{instance_id}{group}", "*", |fixture| fixture.groups[0].hooks.clear()).await;
    let id = bench.launched(GROUP);
    let node = format!("{id}{GROUP}");
    bench.associate(&node);
    bench.terminate(&id);
    let ran = bench.sweep(&[&node], &["--apply", "--output", "json"]).await;
    assert!(ran.must_exit(2).stderr.contains("can give two instances one name"), "{}", ran.stderr);
    assert_eq!(bench.nodes(), [node]);
}

#[tokio::test]
async fn a_name_with_the_group_behind_the_instance_is_read_back() {
    let bench = Bench::with("group-behind", "{instance_id}.{group}", "*", |fixture| fixture.groups[0].hooks.clear()).await;
    let id = bench.launched(GROUP);
    let node = format!("{id}.{GROUP}");
    bench.associate(&node);
    bench.terminate(&id);
    assert_eq!(bench.sweep(&[&node], &["--apply", "--output", "json"]).await.must_exit(0).word(&node), "disassociated");
    assert!(bench.nodes().is_empty());
}

#[tokio::test]
async fn an_instance_that_waits_for_its_termination_is_the_workers_business() {
    let bench = Bench::with("terminating", "{instance_id}", "web-*", |fixture| drop(fixture.groups[0].hooks.remove(0))).await;
    let id = bench.left_behind();
    let ran = bench.sweep(&[&id], &["--apply", "--output", "json"]).await;
    assert_eq!(ran.must_exit(0).word(&id), "terminating");
    assert_eq!(bench.nodes(), [id]);
}

#[tokio::test]
async fn what_a_node_left_in_the_parameter_store_goes_with_it() {
    let puppet = |fixture: &mut Fixture| {
        fixture.groups[0].hooks.clear();
        fixture.servers[0].engine = Engine::Puppet;
    };
    let bench = Bench::with("parameters", "{instance_id}", "web-*", puppet).await;
    let text = std::fs::read_to_string(&bench.config).unwrap().replace("engine = \"chef\"", "engine = \"puppet\"");
    let certificates = "certificate_parameter = \"/enrolld/{instance_id}/certificate\"";
    std::fs::write(&bench.config, text.replace("name = \"web\"", &format!("name = \"web\"\n{certificates}"))).unwrap();
    let gone: Vec<String> = (0..7).map(|_| bench.launched(GROUP)).collect();
    gone.iter().for_each(|id| bench.terminate(id));
    let serves = bench.launched(GROUP);
    let both = |id: &str| ["public-key", "certificate"].map(|leaf| format!("/enrolld/{id}/{leaf}"));
    for name in gone.iter().chain([&serves]).flat_map(|id| both(id)) {
        let parameter = NewParameter { name, value: "x".into(), kind: "String".into(), overwrite: true, by: None, by_instance: None };
        bench.simulator.with(|world, now| world.put_fixture_parameter(now, parameter)).unwrap();
    }
    let names: Vec<&str> = gone.iter().chain([&serves]).map(String::as_str).collect();
    let kept = |id: &str| both(id).map(|name| bench.simulator.state(true).details.unwrap().parameters.contains_key(&name));

    bench.sweep(&names, &[]).await.must_exit(0);
    assert!(gone.iter().all(|id| kept(id) == [true; 2]), "it only looked");

    // Denied once, it is not asked for again, and whoever reads it can delete them.
    bench.fault("ssm:DeleteParameters", error(400, "AccessDeniedException"), None);
    let ran = bench.sweep(&names[..6], &["--apply", "--output", "json"]).await;
    let report = ran.must_exit(1).json();
    assert_eq!(report["counts"]["failed"], 6, "{report:#}");
    for id in &gone[..6] {
        assert!(both(id).iter().all(|name| report.to_string().contains(name)), "{report:#}");
    }
    assert_eq!(report.to_string().matches("it was taken off its server; left behind").count(), 6, "all the same: {report:#}");
    let asked = bench.simulator.state(true).calls["ssm:DeleteParameters"];
    assert_eq!(asked, 1);

    // By their names they can be swept again.
    bench.simulator.with(|world, _| world.clear_faults(None));
    bench.fault("ssm:DeleteParameters", error(400, "ThrottlingException"), Some(2));
    bench.sweep(&names, &["--apply"]).await.must_exit(0);
    assert!(gone.iter().all(|id| kept(id) == [false; 2]));
    assert_eq!(bench.simulator.state(true).calls["ssm:DeleteParameters"] - asked, 2 + 2, "ten names a call");
    assert_eq!(kept(&serves), [true; 2]);
}

#[tokio::test]
async fn a_node_that_cannot_be_taken_off_stops_no_other() {
    let bench = Bench::start("one-fails").await;
    let gone: Vec<String> = (0..5).map(|_| bench.left_behind()).collect();
    bench.fault("opsworks-cm:DisassociateNode", error(400, "ValidationException"), Some(1));
    let names: Vec<&str> = gone.iter().map(String::as_str).collect();
    let report = bench.sweep(&names, &["--apply", "--output", "json"]).await.must_exit(1).json();
    assert_eq!((&report["counts"]["disassociated"], &report["counts"]["failed"]), (&4.into(), &1.into()), "{report:#}");
    assert_eq!(bench.nodes().len(), 1);
}

#[tokio::test]
async fn a_server_under_maintenance_is_waited_for_and_not_once_a_node() {
    let bench = Bench::start("maintenance").await;
    let gone: Vec<String> = (0..20).map(|_| bench.left_behind()).collect();
    let names: Vec<&str> = gone.iter().map(String::as_str).collect();
    bench.simulator.with(|world, now| world.set_server_status(now, SERVER, ServerStatus::UnderMaintenance, None));
    let report = bench.sweep(&names, &["--apply", "--wait", "1", "--output", "json"]).await.must_exit(1).json();
    assert_eq!(report["counts"]["failed"], 20, "{report:#}");
    assert!(report.to_string().contains("as another node found out"), "{report:#}");
    assert_eq!(bench.nodes().len(), 20);

    bench.simulator.with(|world, now| world.set_server_status(now, SERVER, ServerStatus::UnderMaintenance, Some(1500)));
    bench.sweep(&names, &["--apply"]).await.must_exit(0);
    assert!(bench.nodes().is_empty());
}

#[tokio::test]
async fn where_auto_scaling_does_not_answer_nothing_is_taken_off() {
    for operation in ["DescribeScalingActivities", "DescribeAutoScalingInstances"] {
        let bench = Bench::start(operation).await;
        let gone = bench.left_behind();
        bench.fault(&format!("autoscaling:{operation}"), error(403, "AccessDenied"), None);
        let ran = bench.sweep(&[&gone], &["--apply", "--output", "json"]).await;
        assert_eq!(ran.must_exit(1).word(&gone), "failed");
        assert_eq!(bench.nodes(), [gone]);
    }
}

#[tokio::test]
async fn throttled_calls_are_made_again() {
    let bench = Bench::start("throttled").await;
    let gone = bench.left_behind();
    bench.fault("autoscaling:*", error(400, "Throttling"), Some(2));
    bench.sweep(&[&gone], &["--apply"]).await.must_exit(0);
    assert!(bench.nodes().is_empty());
}

#[tokio::test]
async fn thousands_of_names_are_asked_for_fifty_at_a_time() {
    let bench = Bench::start("thousands").await;
    let gone: Vec<String> = (0..3).map(|_| bench.left_behind()).collect();
    let mut names: Vec<String> = (0..2500).map(|number| format!("i-{number:017x}")).collect();
    names.splice(1200..1200, gone.clone());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let report = bench.sweep(&names, &["--apply", "--output", "json"]).await.must_exit(0).json();
    assert_eq!((&report["counts"]["disassociated"], &report["counts"]["unproven"]), (&3.into(), &2500.into()));
    let calls = bench.simulator.state(true).calls["autoscaling:DescribeAutoScalingInstances"];
    assert!((51..=60).contains(&calls), "{calls}");
}

#[tokio::test]
async fn what_cannot_be_swept_is_said_with_what_to_do() {
    let bench = Bench::start("cannot").await;
    let ran = bench.run(&[]).await;
    assert!(ran.must_exit(1).stdout.contains("give the names with --nodes FILE"), "{}", ran.stdout);
    let ran = bench.run(&["--nodes", "/nowhere/nodes.txt"]).await;
    assert!(ran.must_exit(1).stderr.contains("No such file"), "{}", ran.stderr);
    let ran = bench.run(&["--route", "wed"]).await;
    assert_eq!(ran.code, Some(2), "an argument given twice is refused: {}", ran.stderr);
}
