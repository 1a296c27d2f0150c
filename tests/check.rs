//! `enrolld check` against a simulated AWS: what it finds in set-ups that are right, and in those that are not; and that it
//! changes nothing.

#[path = "common/permissions.rs"]
mod permissions;

use std::path::PathBuf;
use std::process::{Command, Output};

use enrolld::config::Environment;
use enrolld::simulator::model::autoscaling::{Delivery, Form};
use enrolld::simulator::model::caller::Principal;
use enrolld::simulator::model::fixture::{Fixture, NewParameter};
use enrolld::simulator::model::grant::Grant;
use enrolld::simulator::model::iam::NewRole;
use enrolld::simulator::model::opsworks_cm::wire::ServerStatus;
use enrolld::simulator::{Options, Simulator};
use serde_json::Value;

/// The access key that the check runs with.
const KEY: &str = "AKIACHECK";

/// What one check brought.
struct Checked {
    code: Option<i32>,
    report: Value,
    calls: Value,
}

impl Checked {
    /// The findings of a kind whose text, or what is to be done, contains `text`.
    fn has(&self, result: &str, text: &str) -> bool {
        let findings = self.report["findings"].as_array().expect("there are findings");
        findings.iter().filter(|finding| finding["result"] == result).any(|finding| finding.to_string().contains(text))
    }

    #[track_caller]
    fn must_have(&self, result: &str, text: &str) {
        assert!(self.has(result, text), "no {result} with {text:?} in {:#}", self.report);
    }
}

fn configuration(endpoint: &str, more: &str) -> String {
    format!(
        r#"
queue_url = "{endpoint}/123456789012/enrolld-lifecycle"
region = "eu-central-1"
{more}
[[route]]
name = "web"
groups = ["web-*"]
registrar = {{ kind = "opsworks-cm", server = "prod-chef", engine = "chef" }}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", owner_role = "arn:aws:iam::123456789012:role/web-instances" }}
"#
    )
}

async fn run(endpoint: &str, name: &str, text: &str, more: &[&str]) -> Output {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("check-{name}.toml"));
    std::fs::write(&path, text).expect("the folder is there to be written to");
    let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
    command.args(["check", "--output", "json"]).args(more).arg("--config").arg(&path).env_clear();
    command.envs([("AWS_ENDPOINT_URL", endpoint), ("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    // The simulator runs on this thread, so the waiting is done on another.
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.expect("waiting does not panic").expect("the binary was built for this test")
}

/// Checks a configuration of the standard fixture with something changed in it.
async fn check_with(name: &str, more: &str, change: impl FnOnce(&mut Fixture)) -> Checked {
    let mut fixture = Fixture::standard();
    fixture.roles = vec![trusting(&serde_json::json!({ "Service": "ec2.amazonaws.com" }))];
    change(&mut fixture);
    check_both(name, fixture, &[], |endpoint| configuration(endpoint, more)).await
}

/// Checks a changed configuration of the standard fixture.
async fn check_changed(name: &str, change: impl FnOnce(String) -> String) -> Checked {
    let roles = vec![trusting(&serde_json::json!({ "Service": "ec2.amazonaws.com" }))];
    check_both(name, Fixture { roles, ..Fixture::standard() }, &[], |endpoint| change(configuration(endpoint, ""))).await
}

async fn check_both(name: &str, fixture: Fixture, more: &[&str], text: impl FnOnce(&str) -> String) -> Checked {
    // Unless the test has it run by somebody else.
    let confined = !fixture.principals.iter().any(|principal| principal.allowed.is_some());
    let simulator = Simulator::start(Options { fixture, ..Options::default() }).await.expect("the simulator starts");
    let endpoint = simulator.endpoint();
    let text = text(&endpoint);
    if confined && let Ok(config) = enrolld::config::parse(&text, name, &Environment::new()) {
        simulator.with(|world, _| permissions::confine(world, KEY, &config, permissions::of_command("check")));
    }
    let output = run(&endpoint, name, &text, more).await;
    simulator.with(|world, _| permissions::nothing_was_beyond(world));
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)));
    let state = serde_json::to_value(simulator.state(true)).expect("the state is JSON");
    Checked { code: output.status.code(), report, calls: state["calls"].clone() }
}

async fn check(name: &str, change: impl FnOnce(&mut Fixture)) -> Checked {
    check_with(name, "", change).await
}

#[tokio::test]
async fn a_set_up_that_is_right_passes_and_what_cannot_be_tried_is_never_ok() {
    let checked = check("right", |_| {}).await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    assert_eq!(checked.report["failures"], 0);
    for text in [
        "enrolld-lifecycle is there, a standard queue",
        "allows 100 receives",
        "sqs:ChangeMessageVisibility is allowed",
        "sqs:DeleteMessage is allowed",
        "launch hook enrol-on-launch notifies the queue",
        "terminate hook leave-on-terminate notifies the queue",
        "RecordLifecycleActionHeartbeat is allowed",
        "CompleteLifecycleAction is allowed",
        "takes orders",
        "ssm:GetParameterHistory is allowed",
        "of 10000 standard parameters are in use",
    ] {
        checked.must_have("ok", text);
    }
    for action in
        ["sqs:ReceiveMessage", "sqs:SendMessage", "ssm:DeleteParameters", "opsworks-cm:AssociateNode", "opsworks-cm:DisassociateNode"]
    {
        checked.must_have("not tested", action);
        assert!(!checked.has("ok", action), "{action}");
    }
}

#[tokio::test]
async fn a_check_takes_no_message_and_changes_nothing() {
    let checked = check("quiet", |_| {}).await;
    assert!(checked.calls.to_string().contains("sqs:GetQueueAttributes"), "the calls are counted by these names: {}", checked.calls);
    for operation in [
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
        "ssm:PutParameter",
        "ssm:DeleteParameters",
        "ssm:SendCommand",
        "opsworks-cm:AssociateNode",
        "opsworks-cm:DisassociateNode",
    ] {
        assert!(!checked.calls.to_string().contains(operation), "{operation} in {}", checked.calls);
    }
}

#[tokio::test]
async fn a_group_without_hooks_that_reach_the_queue_fails() {
    let checked = check("no-hooks", |fixture| fixture.groups[0].hooks.clear()).await;
    assert_eq!(checked.code, Some(1));
    checked.must_have("FAIL", "it has no launch hook");
    checked.must_have("WARN", "it has no terminate hook");
    let checked = check("other-queue", |fixture| {
        for hook in &mut fixture.groups[0].hooks {
            hook.delivery = Some(Delivery { queue: "enrolld-dead-letters".into(), via: Form::Direct });
        }
    })
    .await;
    assert_eq!(checked.code, Some(1));
    checked.must_have("FAIL", "none of its launch hooks notifies the queue");
}

#[tokio::test]
async fn without_the_daemons_key_for_its_server_the_rest_is_checked_all_the_same() {
    let checked = check_changed("keyless", |text| {
        let (before, after) = text.split_once("registrar = ").expect("there is one");
        let (_, after) = after.split_once('\n').expect("other keys follow");
        let chef = r#"{ kind = "chef-server", url = "https://chef.example.com/organizations/prod", client_name = "enrolld", client_key = "/not/here.pem" }"#;
        format!("{before}registrar = {chef}\n{after}")
    })
    .await;
    assert_eq!(checked.code, Some(1));
    checked.must_have("FAIL", "/not/here.pem");
    checked.must_have("not tested", "once the files can be used");
    checked.must_have("ok", "group web-blue");
}

#[tokio::test]
async fn what_lies_behind_a_topic_or_a_rule_is_not_claimed() {
    for (name, via, word) in [("topic", Form::Sns, "the topic"), ("rule", Form::EventBridge, "EventBridge")] {
        let checked = check(name, |fixture| {
            for hook in &mut fixture.groups[0].hooks {
                hook.delivery = Some(Delivery { queue: "enrolld-lifecycle".into(), via });
            }
        })
        .await;
        assert_eq!(checked.code, Some(0), "{:#}", checked.report);
        checked.must_have("not tested", word);
    }
}

#[tokio::test]
async fn a_queue_that_is_not_there_or_has_a_short_redrive_policy_fails() {
    let checked = check("no-queue", |fixture| {
        fixture.queues.pop();
        fixture.groups[0].hooks.clear();
    })
    .await;
    assert_eq!(checked.code, Some(1));
    checked.must_have("FAIL", "is not there");
    let checked = check("short-redrive", |fixture| {
        fixture.queues[1].dead_letters.as_mut().expect("it has dead letters").max_receive_count = 5;
    })
    .await;
    assert_eq!(checked.code, Some(1));
    checked.must_have("FAIL", "allows 5 receives");
    let checked = check("no-redrive", |fixture| fixture.queues[1].dead_letters = None).await;
    assert_eq!(checked.code, Some(1));
    checked.must_have("FAIL", "no redrive policy");
}

#[tokio::test]
async fn a_server_that_is_not_there_fails_and_one_under_maintenance_is_warned_of() {
    let checked = check("no-server", |fixture| fixture.servers.clear()).await;
    assert_eq!(checked.code, Some(1));
    checked.must_have("FAIL", "there is no such server");
    checked.must_have("not tested", "opsworks-cm:DescribeNodeAssociationStatus");
    let checked = check("maintenance", |fixture| fixture.servers[0].status = ServerStatus::UnderMaintenance).await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    checked.must_have("WARN", "it is UNDER_MAINTENANCE");
}

#[tokio::test]
async fn a_server_that_waits_for_somebody_fails_and_one_that_mends_itself_only_where_that_is_wanted() {
    for (status, word, code) in [
        (ServerStatus::BackingUp, "WARN", 0),
        (ServerStatus::Restoring, "WARN", 0),
        (ServerStatus::Unhealthy, "FAIL", 1),
        (ServerStatus::ConnectionLost, "FAIL", 1),
        (ServerStatus::Failed, "FAIL", 1),
    ] {
        let name = format!("state-{status:?}");
        let checked = check(&name, |fixture| fixture.servers[0].status = status).await;
        assert_eq!(checked.code, Some(code), "{status:?}: {:#}", checked.report);
        checked.must_have(word, "no orders");
    }
    for (name, status, code) in [("strict-warned", ServerStatus::UnderMaintenance, 1), ("strict-good", ServerStatus::Healthy, 0)] {
        let roles = vec![trusting(&serde_json::json!({ "Service": "ec2.amazonaws.com" }))];
        let mut fixture = Fixture { roles, ..Fixture::standard() };
        fixture.servers[0].status = status;
        let checked = check_both(name, fixture, &["--strict"], |endpoint| configuration(endpoint, "")).await;
        assert_eq!(checked.code, Some(code), "{:#}", checked.report);
        assert_eq!(checked.report["failures"], 0, "{:#}", checked.report);
    }
}

#[tokio::test]
async fn servers_of_ones_own_are_told_apart_alike() {
    let by = |registrar: String| {
        move |text: String| text.replace(r#"{ kind = "opsworks-cm", server = "prod-chef", engine = "chef" }"#, &registrar)
    };
    let program = |name: &str, script: &str| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("check-{name}"));
        std::fs::write(&path, script).expect("the folder is there to be written to");
        format!(r#"{{ kind = "command", program = "/bin/sh", args = ["{}"] }}"#, path.display())
    };
    for (name, script, word, text, code) in [
        ("ready", "exit 0", "ok", "takes orders", 0),
        ("not-now", "echo 'the backup runs' >&2; exit 75", "WARN", "it is the backup runs", 0),
        ("broken", "echo 'no such database' >&2; exit 1", "FAIL", "no such database", 1),
    ] {
        let checked = check_changed(&format!("own-{name}"), by(program(name, script))).await;
        assert_eq!(checked.code, Some(code), "{name}: {:#}", checked.report);
        checked.must_have(word, text);
        checked.must_have("not tested", "a try would change the server");
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let denied = [
        "sqs:ChangeMessageVisibilityBatch",
        "autoscaling:CompleteLifecycleAction",
        "autoscaling:RecordLifecycleActionHeartbeat",
        "autoscaling:DescribeAutoScalingInstances",
        "ssm:GetParameterHistory",
        "opsworks-cm:DescribeServers",
    ];
    let checked = check("denied", |fixture| {
        fixture.principals.push(Principal {
            access_key_id: KEY.into(),
            arn: "arn:aws:sts::123456789012:assumed-role/enrolld/worker".into(),
            account: None,
            denied: denied.iter().map(|action| (*action).to_owned()).collect(),
            allowed: None,
        });
    })
    .await;
    assert_eq!(checked.code, Some(1));
    checked.must_have("ok", "assumed-role/enrolld/worker");
    for action in denied {
        // IAM knows no batch actions: the single one's right covers them.
        let action = action.trim_end_matches("Batch");
        checked.must_have("FAIL", &format!("allow {action}"));
    }
}

#[tokio::test]
async fn what_only_the_check_would_read_may_be_denied() {
    let checked = check("least", |fixture| {
        fixture.principals.push(Principal {
            access_key_id: KEY.into(),
            arn: "arn:aws:sts::123456789012:assumed-role/enrolld/worker".into(),
            account: None,
            denied: vec!["autoscaling:DescribeAutoScalingGroups".into(), "ssm:DescribeParameters".into()],
            allowed: None,
        });
    })
    .await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    checked.must_have("not tested", "autoscaling:DescribeAutoScalingGroups is denied");
    checked.must_have("not tested", "ssm:DescribeParameters is denied");
}

/// The role that the configuration names, with who may assume it.
fn trusting(principal: &Value) -> NewRole {
    let statement = serde_json::json!({ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" });
    NewRole {
        name: "web-instances".into(),
        path: "/".into(),
        trust: serde_json::json!({ "Version": "2012-10-17", "Statement": [statement] }),
    }
}

#[tokio::test]
async fn a_role_that_ec2_alone_can_assume_vouches_for_keys_and_any_other_is_warned_of() {
    let ec2 = serde_json::json!({ "Service": "ec2.amazonaws.com" });
    let checked = check("trust-ec2", |fixture| fixture.roles = vec![trusting(&ec2)]).await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    checked.must_have("ok", "EC2 alone can assume arn:aws:iam::123456789012:role/web-instances");
    for other in [
        serde_json::json!({ "Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"] }),
        serde_json::json!({ "Service": "ec2.amazonaws.com", "AWS": "arn:aws:iam::123456789012:role/lambda.amazonaws.com" }),
    ] {
        let checked = check("trust-others", |fixture| fixture.roles = vec![trusting(&other)]).await;
        assert_eq!(checked.code, Some(0), "{:#}", checked.report);
        checked.must_have("WARN", "lambda.amazonaws.com");
        checked.must_have("WARN", "passes for any instance");
        assert!(!checked.has("ok", "EC2 alone"), "{:#}", checked.report);
    }
    // Another role of that name does not vouch for this one.
    let checked = check("trust-path", |fixture| {
        fixture.roles = vec![NewRole { path: "/fleet/".into(), ..trusting(&ec2) }];
        // The printed policy names the role as it is configured, and so not this one.
        let all = Grant::allowing("*", "*");
        let arn = "arn:aws:iam::123456789012:user/administrator".into();
        fixture.principals = vec![Principal { access_key_id: KEY.into(), arn, account: None, denied: vec![], allowed: Some(vec![all]) }];
    })
    .await;
    assert_eq!(checked.code, Some(1), "{:#}", checked.report);
    checked.must_have("FAIL", "arn:aws:iam::123456789012:role/fleet/web-instances");
    assert!(!checked.has("ok", "EC2 alone"), "{:#}", checked.report);
    let checked = check("trust-none", |fixture| fixture.roles.clear()).await;
    assert_eq!(checked.code, Some(1), "{:#}", checked.report);
    checked.must_have("FAIL", "there is no role");
}

#[tokio::test]
async fn where_it_may_not_look_check_says_that_it_does_not_know_who_can_assume_the_role() {
    let checked = check("trust-denied", |fixture| {
        fixture.roles = vec![trusting(&serde_json::json!("*"))];
        fixture.principals.push(Principal {
            access_key_id: KEY.into(),
            arn: "arn:aws:sts::123456789012:assumed-role/enrolld/worker".into(),
            account: None,
            denied: vec!["iam:*".into()],
            allowed: None,
        });
    })
    .await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    checked.must_have("not tested", "whether EC2 alone can assume arn:aws:iam::123456789012:role/web-instances");
}

#[tokio::test]
async fn keys_that_anybody_may_write_are_warned_of_with_what_that_means() {
    let checked = check_changed("anybody", |text| {
        text.replace("owner_role = \"arn:aws:iam::123456789012:role/web-instances\"", "require_owner = false")
    })
    .await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    checked.must_have("WARN", "whoever may write the parameter decides which key the node gets");
    assert!(!checked.calls.to_string().contains("iam:GetRole"));
}

#[tokio::test]
async fn a_fleet_that_the_parameters_left_cannot_hold_is_warned_of() {
    let mut fixture = Fixture { roles: vec![trusting(&serde_json::json!({ "Service": "ec2.amazonaws.com" }))], ..Fixture::standard() };
    fixture.parameters = {
        let parameter = |at: u32| NewParameter {
            name: format!("/old/{at}"),
            value: "x".into(),
            kind: "String".into(),
            overwrite: false,
            by: None,
            by_instance: None,
        };
        (0..9_950).map(parameter).collect()
    };
    // However slow the machine is, all of them are counted.
    let more = ["--count-for", "3600"];
    let checked = check_both("fleet", fixture, &more, |endpoint| configuration(endpoint, "fleet_size = 60")).await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    checked.must_have("note", "writes take 20 s at the least");
    checked.must_have("WARN", "50 are left: too few for a fleet of 60");
}

#[tokio::test]
async fn a_document_that_is_not_there_fails_and_the_shell_document_is_warned_of() {
    let with_key = |key: &str| {
        let parameter =
            "key = { parameter = \"/enrolld/{instance_id}/public-key\", owner_role = \"arn:aws:iam::123456789012:role/web-instances\" }";
        let key = format!("key = {{ {key} }}");
        move |text: String| text.replace(parameter, &key)
    };
    let checked = check_changed("no-document", with_key("document = \"Print-Key\"")).await;
    assert_eq!(checked.code, Some(1));
    checked.must_have("FAIL", "there is no document Print-Key");
    let checked = check_changed("shell", with_key("document = \"AWS-RunShellScript\", commands = [\"cat a.pub\"]")).await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    checked.must_have("ok", "ssm:GetCommandInvocation is allowed");
    checked.must_have("WARN", "root on every instance");
    checked.must_have("not tested", "ssm:SendCommand");
}
