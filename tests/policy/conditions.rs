//! What the printed policies allow under a condition is not allowed where a request breaks it: the requests are the SDK's own, and the
//! simulator takes the keys of conditions from them, and the tags of instances from Auto Scaling.

use std::time::Duration;

use aws_sdk_ssm::error::ProvideErrorMetadata;
use aws_sdk_ssm::types::ParameterType;
use enrolld::aws::{Aws, AwsSettings};
use enrolld::config::{self, Config, Environment};
use enrolld::names::{AccountId, Region};
use enrolld::policy::{self, Extras, Scripts};
use enrolld::simulator::model::agent::{AgentOptions, Publish};
use enrolld::simulator::model::autoscaling::Place;
use enrolld::simulator::model::fixture::Fixture;
use enrolld::simulator::model::grant::Grant;
use enrolld::simulator::model::ssm::wire::CreateDocument;
use enrolld::simulator::{Options, Simulator};

use crate::bench::{DOCUMENT, permissions};

const KEY: &str = "AKIACONDITIONS";
const HERE: &str = "eu-central-1";
const ELSEWHERE: &str = "eu-west-1";

/// Keys by Run Command and by parameters, and a role with an external id: every condition that is printed.
const CONFIGURATION: &str = r#"
queue_url = "https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld-lifecycle"
accounts = ["123456789012", "210987654321"]

[[route]]
name = "web"
groups = ["web-*"]
registrar = { kind = "opsworks-cm", server = "prod-chef", engine = "chef" }
key = { document = "Print-Key" }

[[route]]
name = "batch"
groups = ["batch-*"]
registrar = { kind = "opsworks-cm", server = "prod-chef", engine = "chef" }
key = { parameter = "/enrolld/{instance_id}/public-key", owner_role = "arn:aws:iam::123456789012:role/enrolld-node" }

[[route]]
name = "theirs"
groups = ["theirs-*"]
registrar = { kind = "opsworks-cm", server = "prod-chef", engine = "chef" }
key = { parameter = "/theirs/{instance_id}/public-key", owner_role = "arn:aws:iam::210987654321:role/enrolld-node" }
role_arn = "arn:aws:iam::210987654321:role/asks"
external_id = "x-7"
"#;

fn configuration() -> Config {
    config::parse(CONFIGURATION, "the test's configuration", &Environment::new()).expect("it is sound")
}

/// The standard fixture, with a second group that no route sends documents to.
async fn simulator() -> Simulator {
    let mut fixture = Fixture::standard();
    let mut second = fixture.groups[0].clone();
    second.name = "batch-1".into();
    fixture.groups.push(second);
    Simulator::start(Options { fixture, ..Options::default() }).await.expect("the simulator starts")
}

fn aws(simulator: &Simulator, region: &str) -> Aws {
    let settings = AwsSettings {
        region: Some(region.into()),
        connect_timeout: Duration::from_secs(5),
        attempt_timeout: Duration::from_secs(10),
        call_timeout: Duration::from_secs(10),
        worker: "w".into(),
        scopes: Vec::new(),
    };
    Aws::fixed(&settings, &simulator.endpoint(), KEY).expect("the settings name a region")
}

/// Whether a call was let through by the policy, whatever became of it then.
fn was_allowed<T, E: ProvideErrorMetadata>(outcome: Result<T, E>) -> bool {
    outcome.err().is_none_or(|error| !error.code().unwrap_or_default().starts_with("AccessDenied"))
}

async fn worker() -> Simulator {
    let simulator = simulator().await;
    simulator.with(|world, _| permissions::confine(world, KEY, &configuration(), Extras { check: true, ..Extras::default() }));
    simulator
}

#[tokio::test]
async fn a_document_goes_to_instances_of_the_routes_groups_and_to_no_others() {
    let simulator = worker().await;
    let content = r#"{"schemaVersion":"2.2","mainSteps":[]}"#.into();
    let document = CreateDocument { name: DOCUMENT.into(), content, ..CreateDocument::default() };
    simulator.with(|world, now| world.create_document(now, &world.root(), &document).map(drop)).expect("it is a document");
    let agent = AgentOptions { publish: Publish::Never, registers_after_ms: Some(0), ..AgentOptions::default() };
    let launch = |group| {
        simulator.with(|world, now| world.launch(now, group, 1, Place::AutoScalingGroup, Some(&agent))).expect("the group is there")[0]
            .to_string()
    };
    let (ours, other) = (launch("web-blue"), launch("batch-1"));
    simulator.skip(1000);
    let ssm = aws_sdk_ssm::Client::new(aws(&simulator, HERE).own());
    let send = |ids: Vec<String>| ssm.send_command().document_name(DOCUMENT).set_instance_ids(Some(ids)).send();
    send(vec![ours.clone()]).await.expect("it is in a group of the route's");
    assert!(!was_allowed(send(vec![other.clone()]).await), "an instance of another group");
    assert!(!was_allowed(send(vec![ours.clone(), other]).await), "an instance of another group beside one of ours");
    assert!(!was_allowed(send(vec!["i-00000000000000bad".into()]).await), "an instance that no group knows has no such tag");
    let shell = ssm.send_command().document_name("AWS-RunShellScript").instance_ids(ours);
    assert!(!was_allowed(shell.send().await), "another document, to an instance in scope");
}

#[tokio::test]
async fn what_knows_no_resources_is_asked_in_the_routes_region_and_in_no_other() {
    let simulator = worker().await;
    for (region, allowed) in [(HERE, true), (ELSEWHERE, false)] {
        let aws = aws(&simulator, region);
        let groups = aws_sdk_autoscaling::Client::new(aws.own());
        let servers = aws_sdk_opsworkscm::Client::new(aws.own());
        let ssm = aws_sdk_ssm::Client::new(aws.own());
        assert_eq!(was_allowed(groups.describe_auto_scaling_instances().send().await), allowed, "{region}");
        assert_eq!(was_allowed(groups.describe_auto_scaling_groups().send().await), allowed, "{region}");
        assert_eq!(was_allowed(servers.describe_servers().send().await), allowed, "{region}");
        assert_eq!(was_allowed(ssm.describe_parameters().send().await), allowed, "{region}");
        let output = ssm.get_command_invocation().command_id("0f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f").instance_id("i-0a1b2c3d4e5f60718");
        assert_eq!(was_allowed(output.send().await), allowed, "{region}");
    }
}

#[tokio::test]
async fn a_role_is_assumed_under_the_workers_name_with_the_routes_external_id_and_not_otherwise() {
    let simulator = worker().await;
    let sts = aws_sdk_sts::Client::new(aws(&simulator, HERE).own());
    let assume = |name: &str, id: Option<&str>| {
        let role = "arn:aws:iam::210987654321:role/asks";
        sts.assume_role().role_arn(role).role_session_name(name).set_external_id(id.map(str::to_owned)).send()
    };
    assume("enrolld-w", Some("x-7")).await.expect("so the worker asks");
    for (name, id) in [("enrolld-w", Some("x-8")), ("enrolld-w", None), ("somebody", Some("x-7"))] {
        assert!(!was_allowed(assume(name, id).await), "{name} {id:?}");
    }
}

#[tokio::test]
async fn an_instance_creates_its_key_and_never_replaces_one() {
    let simulator = simulator().await;
    let place =
        policy::Place { region: Region::new(HERE).expect("a region"), account: AccountId::new("123456789012").expect("an account") };
    let policies = policy::instances(&configuration(), &place, Scripts { launch_kit: true, ..Scripts::default() }, None);
    let batch = policies.iter().find(|policy| policy.route == "batch").and_then(|policy| policy.document.as_ref());
    let grants = Grant::of_document(batch.expect("its keys are parameters")).expect("the simulator reads it");
    simulator.with(|world, _| world.confine(KEY, grants.clone()));
    let ssm = aws_sdk_ssm::Client::new(aws(&simulator, HERE).own());
    let put = |overwrite: Option<bool>| {
        let put = ssm.put_parameter().name("/enrolld/i-0a1b2c3d4e5f60718/public-key").value("x").r#type(ParameterType::String);
        put.set_overwrite(overwrite).send()
    };
    assert!(!was_allowed(put(Some(true)).await), "not even where there is nothing to be replaced");
    let expiring = r#"[{"Type":"Expiration","Version":"1.0","Attributes":{"Timestamp":"2026-12-01T00:00:00Z"}}]"#;
    let mortal = ssm.put_parameter().name("/enrolld/i-0a1b2c3d4e5f60718/public-key").value("x").r#type(ParameterType::String);
    assert!(!was_allowed(mortal.policies(expiring).send().await), "one that would make room for another");
    put(None).await.expect("it may create");
    let again = put(Some(false)).await.expect_err("it is there");
    assert_eq!(again.code(), Some("ParameterAlreadyExists"));
    assert!(!was_allowed(put(Some(true)).await));
    // The same right once more, as another policy of the role may have it, changes nothing.
    let more = Grant::allowing("ssm:*", "*");
    simulator.with(|world, _| world.confine(KEY, [grants, vec![more]].concat()));
    assert!(!was_allowed(put(Some(true)).await), "a denial counts more");
    for (region, allowed) in [(HERE, true), (ELSEWHERE, false)] {
        let look = aws_sdk_autoscaling::Client::new(aws(&simulator, region).own());
        assert_eq!(was_allowed(look.describe_auto_scaling_instances().send().await), allowed, "{region}");
    }
}
