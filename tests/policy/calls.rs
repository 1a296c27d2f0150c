//! The real worker under its own policy: nothing that it calls is refused, and nothing is allowed that it never calls.

use std::path::PathBuf;
use std::time::Duration;

use enrolld::simulator::model::World;
use enrolld::simulator::model::agent::{AgentOptions, Material, Publish, material};
use enrolld::simulator::model::autoscaling::Place;
use enrolld::simulator::model::fixture::NewParameter;
use enrolld::simulator::model::opsworks_cm::wire::ServerStatus;

use crate::bench::{Bench, DOCUMENT, GROUP, LETTERS, SERVER, termination};

const LETTERS_ARN: &str = "arn:aws:sqs:eu-central-1:123456789012:enrolld-dead-letters";

fn route(engine: &str, key: &str, more: &str) -> String {
    route_to(&format!("kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"{engine}\""), key, more)
}

fn route_to(registrar: &str, key: &str, more: &str) -> String {
    format!(
        r#"
[[route]]
name = "web"
groups = ["web-*"]
registrar = {{ {registrar} }}
key = {{ {key} }}
key_poll = "200ms"
status_poll_initial = "100ms"
status_poll_max = "200ms"
{more}
"#
    )
}

const OWNED: &str = r#"parameter = "/enrolld/{instance_id}/public-key", owner_role = "arn:aws:iam::123456789012:role/fleet/enrolld-node""#;
const CERTIFICATES: &str = "certificate_parameter = \"/enrolld/{instance_id}/certificate\"";
const ANYBODYS: &str = r#"parameter = "/enrolld/{instance_id}/public-key", require_owner = false"#;

/// What nodes are enrolled with.
enum Server {
    OpsWorks,
    /// A program of one's own, which takes orders while there is a file `up` in this folder, and writes down what it was asked.
    Program(PathBuf),
}

impl Server {
    /// It, and a route's registrar that runs it.
    fn program(name: &str) -> (Self, String) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("policy-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).expect("the folder is there to be written to");
        let script = format!("echo $ENROLLD_OPERATION >>'{0}/asked'; [ -e '{0}/up' ] || exit 75", folder.display());
        let registrar = format!("kind = \"command\", program = \"/bin/sh\", args = [\"-c\", \"{script}\"]");
        (Self::Program(folder), registrar)
    }

    fn takes_orders(&self, bench: &Bench, does: bool) {
        match self {
            Self::OpsWorks => bench.server(if does { ServerStatus::Healthy } else { ServerStatus::UnderMaintenance }),
            Self::Program(folder) if does => std::fs::write(folder.join("up"), "").expect("the folder is there to be written to"),
            Self::Program(_) => {}
        }
    }

    async fn until_asked(&self, bench: &Bench, action: &str, operation: &str) {
        match self {
            Self::OpsWorks => bench.until_called(action).await,
            Self::Program(folder) => {
                let asked = || std::fs::read_to_string(folder.join("asked")).unwrap_or_default();
                bench.until(operation, |_| asked().lines().any(|line| line == operation)).await;
            }
        }
    }
}

/// Everything that can happen to a fleet, in a few seconds: a launch through a maintenance of the server, with heartbeats meanwhile;
/// garbage; a termination; one that nothing proves; and an end while an action is open.
async fn a_day(bench: &Bench, server: &Server, publish: impl Fn(&Bench, &str)) {
    let worker = bench.worker();
    server.takes_orders(bench, false);
    let instance = bench.launch(GROUP, None);
    publish(bench, &instance);
    server.until_asked(bench, "opsworks-cm:AssociateNode", "associate").await;
    bench.until_called("autoscaling:RecordLifecycleActionHeartbeat").await;
    server.takes_orders(bench, true);
    bench.until("the launch is in service", |bench| bench.is_in_service(&instance)).await;
    bench.send("this is no lifecycle event");
    bench.send(&termination("i-00000000000000000"));
    bench.until("both are dead letters", |bench| bench.letters() == 2).await;
    bench.simulator.with(|world, now| world.terminate(now, &instance));
    server.until_asked(bench, "opsworks-cm:DisassociateNode", "disassociate").await;
    bench.until("the node has left", |bench| bench.simulator.state(false).counts.open_actions == 0).await;
    bench.launch(GROUP, Some(Bench::silent()));
    bench.until("its message is in hand", |bench| bench.simulator.state(false).queues[crate::bench::MAIN].in_flight == 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    worker.end().await;
    bench.nothing_was_denied();
}

/// The worker's day under what is printed, with each printed action called.
async fn a_day_under_the_policy(bench: &Bench, more: &[&str], publish: impl Fn(&Bench, &str)) {
    let printed = bench.printed(more).await;
    bench.confine(&printed);
    a_day(bench, &Server::OpsWorks, publish).await;
    assert_eq!(bench.called(), printed, "left: called, right: printed");
}

fn by_itself(_: &Bench, _: &str) {}

#[tokio::test]
async fn a_chef_server_with_owned_parameters_and_a_dead_letter_queue_by_the_redrive_policy() {
    let bench = Bench::start("owned", AgentOptions::default(), "", &route("chef", OWNED, "")).await;
    a_day_under_the_policy(&bench, &["--dead-letter-queue", LETTERS_ARN], by_itself).await;
    let printed = bench.printed(&["--dead-letter-queue", LETTERS_ARN]).await;
    assert!(printed.contains("sqs:GetQueueUrl") && printed.contains("ssm:GetParameterHistory") && !printed.contains("ssm:GetParameters"));
}

#[tokio::test]
async fn anybodys_parameters_and_a_dead_letter_queue_that_is_configured() {
    let top = format!("dead_letter_queue_url = \"{{endpoint}}/123456789012/{LETTERS}\"");
    let bench = Bench::start("anybodys", Bench::silent(), &top, &route("chef", ANYBODYS, "delete_key = \"on_success\"")).await;
    // Written twice, as it was: then it is looked at whether it ever was another.
    let publish = |bench: &Bench, instance: &str| {
        let parameter = |overwrite| NewParameter {
            name: format!("/enrolld/{instance}/public-key"),
            value: material(&Material::Good, 1, instance),
            kind: "String".into(),
            overwrite,
            by: None,
            by_instance: None,
        };
        let written = |world: &mut World, now| {
            world.put_fixture_parameter(now, parameter(false)).and_then(|()| world.put_fixture_parameter(now, parameter(true)))
        };
        bench.simulator.with(written).expect("it is a parameter");
    };
    a_day_under_the_policy(&bench, &[], publish).await;
    let printed = bench.printed(&[]).await;
    assert!(!printed.contains("sqs:GetQueueUrl") && printed.contains("ssm:GetParameterHistory") && printed.contains("ssm:GetParameters"));
}

#[tokio::test]
async fn a_puppet_server_with_certificate_requests_whose_certificates_are_delivered() {
    let top = format!("dead_letter_queue_url = \"{{endpoint}}/123456789012/{LETTERS}\"");
    let bench = Bench::start("puppet", Bench::silent(), &top, &route("puppet", OWNED, CERTIFICATES)).await;
    let publish = |bench: &Bench, instance: &str| {
        let parameter = NewParameter {
            name: format!("/enrolld/{instance}/public-key"),
            value: request_of(instance),
            kind: "String".into(),
            overwrite: false,
            by: None,
            by_instance: Some(instance.to_owned()),
        };
        bench.simulator.with(|world, now| world.put_fixture_parameter(now, parameter)).expect("it is a parameter");
    };
    bench.simulator.with(|world, now| {
        assert!(world.delete_server(SERVER));
        let server = serde_json::json!({ "name": SERVER, "engine": "puppet" });
        world.create_server(now, serde_json::from_value(server).expect("it is a server")).expect("the name is free");
    });
    a_day_under_the_policy(&bench, &[], publish).await;
}

fn request_of(name: &str) -> String {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key can be made");
    let mut wanted = rcgen::CertificateParams::default();
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted.distinguished_name.push(rcgen::DnType::CommonName, name);
    wanted.serialize_request(&key).and_then(|request| request.pem()).expect("a request can be made")
}

#[tokio::test]
async fn run_command_with_a_document_of_ones_own_and_with_the_shell_document() {
    let top = format!("dead_letter_queue_url = \"{{endpoint}}/123456789012/{LETTERS}\"");
    let agent = AgentOptions { publish: Publish::RunCommand { after_ms: 0 }, ..AgentOptions::default() };
    let own = format!("document = \"{DOCUMENT}\"");
    let shell = r#"document = "AWS-RunShellScript", commands = ["cat /etc/chef/client.pub"]"#;
    for (name, key) in [("document", own.as_str()), ("shell", shell)] {
        let bench = Bench::start(name, agent.clone(), &top, &route("chef", key, "")).await;
        a_day_under_the_policy(&bench, &[], by_itself).await;
        assert!(!bench.printed(&[]).await.iter().any(|action| action.contains("Parameter")));
    }
}

#[tokio::test]
async fn a_server_of_ones_own_of_whatever_kind_takes_no_right_beside_those_for_instances_and_keys() {
    let top = format!("dead_letter_queue_url = \"{{endpoint}}/123456789012/{LETTERS}\"");
    let (server, registrar) = Server::program("own");
    let bench = Bench::start("own", AgentOptions::default(), &top, &route_to(&registrar, OWNED, "")).await;
    let printed = bench.printed(&[]).await;
    bench.confine(&printed);
    a_day(&bench, &server, by_itself).await;
    assert_eq!(bench.called(), printed, "left: called, right: printed");
    let with_check = bench.printed(&["--with-check"]).await;
    for (name, kind) in [
        ("own-chef", r#"kind = "chef-server", url = "https://chef.example.com", client_name = "enrolld", client_key = "/nowhere""#),
        ("own-puppet", r#"kind = "puppet-ca", url = "https://puppet.example.com", certificate = "/a", private_key = "/b", ca_file = "/c""#),
    ] {
        let bench = Bench::start(name, AgentOptions::default(), &top, &route_to(kind, OWNED, "")).await;
        assert_eq!(bench.printed(&[]).await, printed, "{name}");
        assert_eq!(bench.printed(&["--with-check"]).await, with_check, "{name}");
    }
    assert!(!with_check.iter().any(|action| action.starts_with("opsworks-cm:")), "{with_check:?}");
}

#[tokio::test]
async fn a_route_with_a_role_asks_as_a_session_of_that_role_named_after_the_worker() {
    let top = format!("dead_letter_queue_url = \"{{endpoint}}/123456789012/{LETTERS}\"\nworker = \"w-1\"");
    let role = "role_arn = \"arn:aws:iam::123456789012:role/fleet/asks\"\nexternal_id = \"x-7\"";
    let bench = Bench::start("role", AgentOptions::default(), &top, &route("chef", OWNED, role)).await;
    let printed = bench.printed(&[]).await;
    // Sessions of the role have access keys of their own, so that these are not confined: what is called is compared.
    let own: Vec<&str> =
        printed.iter().map(String::as_str).filter(|action| action.starts_with("sqs:") || action.starts_with("sts:")).collect();
    assert!(own.contains(&"sts:AssumeRole"), "{own:?}");
    bench.confine(&own.iter().map(|action| (*action).to_owned()).collect());
    a_day(&bench, &Server::OpsWorks, by_itself).await;
    assert_eq!(bench.called(), printed, "left: called, right: printed");
    let state = serde_json::to_value(bench.simulator.state(true)).expect("the state is JSON");
    let log = state["associations"].as_array().expect("there is a log");
    assert!(!log.is_empty());
    for entry in log {
        let by = entry.to_string();
        assert!(by.contains("arn:aws:sts::123456789012:assumed-role/asks/enrolld-w-1"), "{by}");
    }
}

#[tokio::test]
async fn a_role_whose_external_id_is_wrong_or_missing_is_not_assumed_and_nothing_is_asked_without_it() {
    let top = format!("dead_letter_queue_url = \"{{endpoint}}/123456789012/{LETTERS}\"");
    for (name, id) in [("wrong-id", "external_id = \"x-8\""), ("no-id", "")] {
        let role = format!("role_arn = \"arn:aws:iam::123456789012:role/fleet/asks\"\n{id}");
        let bench = Bench::start(name, AgentOptions::default(), &top, &route("chef", OWNED, &role)).await;
        bench.confine(&bench.printed(&[]).await);
        let worker = bench.worker();
        bench.launch(GROUP, None);
        bench.until("it is refused", |bench| bench.simulator.state(false).outcomes.contains_key("sts:AssumeRole")).await;
        worker.end().await;
        let called = bench.called();
        assert!(called.iter().all(|action| action.starts_with("sqs:") || action.starts_with("sts:")), "{called:?}");
        assert!(!bench.simulator.state(false).outcomes["sts:AssumeRole"].contains_key("ok"));
    }
}

#[tokio::test]
async fn what_check_asks_for_more_is_printed_with_it_and_is_all_asked() {
    let top = format!("dead_letter_queue_url = \"{{endpoint}}/123456789012/{LETTERS}\"");
    for (name, key) in [("check-owned", OWNED.to_owned()), ("check-document", format!("document = \"{DOCUMENT}\""))] {
        let bench = Bench::start(name, AgentOptions::default(), &top, &route("chef", &key, "")).await;
        let (daemon, with_check) = (bench.printed(&[]).await, bench.printed(&["--with-check"]).await);
        bench.confine(&with_check);
        let output = bench.run(&["check"]).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!said.contains("denied") && !said.contains("FAIL"), "{said}");
        bench.nothing_was_denied();
        let called = bench.called();
        assert!(called.is_subset(&with_check), "{called:?}");
        for action in with_check.difference(&daemon) {
            assert!(called.contains(action), "{action} is printed for check, which never calls it");
        }
    }
}

#[tokio::test]
async fn what_redriving_needs_more_is_printed_with_it_and_is_all_used() {
    let top = format!("dead_letter_queue_url = \"{{endpoint}}/123456789012/{LETTERS}\"");
    let bench = Bench::start("letters", AgentOptions::default(), &top, &route("chef", OWNED, "")).await;
    bench.confine(&bench.printed(&["--with-dead-letters"]).await);
    bench.simulator.with(|world, now| world.deliver(now, LETTERS, &termination("i-00000000000000001"), &Default::default(), 1)).unwrap();
    for arguments in [&["dead-letters", "list"][..], &["dead-letters", "redrive", "--all"]] {
        let output = bench.run(arguments).await;
        assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    bench.nothing_was_denied();
    let called = bench.called();
    // On the dead-letter queue and the queue: each of the statements that the option adds.
    for action in ["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:SendMessage"] {
        assert!(called.contains(action), "{action} is printed, and never called");
    }
}

#[tokio::test]
async fn what_a_sweep_asks_for_more_is_printed_with_it_and_is_all_asked() {
    let top = format!("dead_letter_queue_url = \"{{endpoint}}/123456789012/{LETTERS}\"");
    let bench = Bench::start("sweep", AgentOptions::default(), &top, &route("chef", OWNED, "")).await;
    let (daemon, with_sweep) = (bench.printed(&[]).await, bench.printed(&["--with-sweep"]).await);
    bench.confine(&with_sweep);
    let names = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("policy-sweep.txt");
    // Once over a name that proves nothing, and once over a node that its hook's time-out left behind, which is taken off.
    let gone = bench.left_behind();
    for (name, more, result) in [("i-00000000000000001", None, "unproven"), (gone.as_str(), Some("--apply"), "disassociated")] {
        std::fs::write(&names, name).expect("the folder is there to be written to");
        let mut arguments = vec!["sweep", "--route", "web", "--output", "json", "--nodes", names.to_str().expect("the path is text")];
        arguments.extend(more);
        let output = bench.run(&arguments).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.contains(&format!("\"result\":\"{result}\"")),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    bench.nothing_was_denied();
    let called = bench.called();
    assert!(called.contains("opsworks-cm:DisassociateNode") && called.contains("autoscaling:DescribeScalingActivities"), "{called:?}");
    assert!(called.is_subset(&with_sweep), "{called:?}");
    for action in with_sweep.difference(&daemon) {
        assert!(called.contains(action), "{action} is printed for sweep, which never calls it");
    }
}

#[tokio::test]
async fn a_worker_without_one_of_the_printed_actions_is_refused_it() {
    let top = format!("dead_letter_queue_url = \"{{endpoint}}/123456789012/{LETTERS}\"");
    let bench = Bench::start("without", AgentOptions::default(), &top, &route("chef", OWNED, "")).await;
    let mut printed = bench.printed(&[]).await;
    assert!(printed.remove("ssm:GetParameterHistory"));
    bench.confine(&printed);
    let _worker = bench.worker();
    bench.simulator.with(|world, now| world.launch(now, GROUP, 1, Place::AutoScalingGroup, None)).expect("the group is there");
    bench
        .until("it is denied", |bench| {
            let outcomes = bench.simulator.state(false).outcomes;
            outcomes
                .get("ssm:GetParameterHistory")
                .is_some_and(|outcomes| outcomes.keys().any(|outcome| outcome.starts_with("AccessDenied")))
        })
        .await;
}
