//! Another instance of the same role, with everything that its role allows: it can neither replace a node's key, nor have one accepted
//! that it planted first.

use std::time::Duration;

use aws_sdk_ssm::types::ParameterType;
use enrolld::aws::{Aws, AwsSettings};
use enrolld::simulator::model::agent::{AgentOptions, Material, Publish, material};
use enrolld::simulator::model::autoscaling::Place;
use enrolld::simulator::model::caller::{Caller, Principal};
use serde_json::Value;

use crate::bench::{Bench, GROUP, SERVER};

const ACCOUNT: &str = "123456789012";
const ROLE: &str = "enrolld-node";

/// A session of the instances' role on an instance of its own, with its access key.
struct Attacker(aws_sdk_ssm::Client);

impl Attacker {
    async fn on(bench: &Bench, instance: &str) -> Self {
        let access_key_id = format!("AKIA{}", instance.to_uppercase().replace("I-", ""));
        let arn = Caller::instance(ACCOUNT, ROLE, instance).arn.to_string();
        let principal = Principal { access_key_id: access_key_id.clone(), arn, account: None, denied: Vec::new(), allowed: None };
        bench.simulator.with(|world, _| world.set_principal(principal));
        let settings = AwsSettings {
            region: Some("eu-central-1".into()),
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(10),
            worker: "attacker".into(),
            scopes: Vec::new(),
        };
        let aws = Aws::fixed(&settings, &bench.simulator.endpoint(), &access_key_id).expect("the settings name a region");
        Self(aws_sdk_ssm::Client::new(aws.own()))
    }

    /// Writes a key under another's name.
    async fn write(&self, victim: &str, key: &str, overwrite: bool) -> Result<(), String> {
        let name = format!("/enrolld/{victim}/public-key");
        let request = self.0.put_parameter().name(name).value(key).r#type(ParameterType::String).overwrite(overwrite);
        request.send().await.map(drop).map_err(|error| error.into_service_error().to_string())
    }
}

fn route(key: &str) -> String {
    format!(
        "[[route]]\nname = \"web\"\ngroups = [\"web-*\"]\nregistrar = {{ kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"chef\" }}\n\
         key = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", {key} }}\nkey_poll = \"200ms\"\nstatus_poll_initial = \"100ms\"\n"
    )
}

const OWNED: &str = "owner_role = \"arn:aws:iam::123456789012:role/enrolld-node\"";

/// Publishes so late that others can be there first.
fn late(after_ms: u64) -> AgentOptions {
    let name = "/enrolld/{instance_id}/public-key".into();
    AgentOptions { publish: Publish::Parameter { name, after_ms, jitter_ms: 0, secure: false }, ..AgentOptions::default() }
}

fn launch(bench: &Bench, agent: &AgentOptions) -> String {
    let launched = bench.simulator.with(|world, now| world.launch(now, GROUP, 1, Place::AutoScalingGroup, Some(agent)));
    launched.expect("the group is there")[0].to_string()
}

fn details(bench: &Bench) -> Value {
    serde_json::to_value(bench.simulator.state(true)).expect("the state is JSON")
}

/// The association log's entries about a node.
fn associations(bench: &Bench, node: &str) -> Vec<Value> {
    let log = details(bench)["associations"].as_array().cloned().unwrap_or_default();
    log.into_iter().filter(|entry| entry["node"] == node).collect()
}

#[tokio::test]
async fn a_key_that_another_instance_planted_first_is_never_associated_and_the_launch_is_abandoned() {
    let bench = Bench::start("planted", AgentOptions::default(), "", &route(OWNED)).await;
    let victim = launch(&bench, &late(1500));
    let attacker = Attacker::on(&bench, "i-00000000000000bad").await;
    attacker.write(&victim, &material(&Material::Good, 666, "mine"), false).await.expect("its role may create");
    let worker = bench.worker();
    bench.until("the launch has ended", |bench| bench.simulator.state(false).counts.completions == 1).await;
    bench.until("it is recorded", |bench| bench.letters() == 1).await;
    worker.end().await;
    assert!(associations(&bench, &victim).is_empty(), "{:?}", associations(&bench, &victim));
    let letters = details(&bench)["queues"][crate::bench::LETTERS].to_string();
    assert!(letters.contains("foreign_key") && letters.contains("i-00000000000000bad"), "who wrote it is named: {letters}");
    assert!(!bench.is_in_service(&victim));
}

#[tokio::test]
async fn a_key_that_is_there_cannot_be_created_again_and_one_that_was_replaced_all_the_same_is_never_associated() {
    let bench = Bench::start("replaced", AgentOptions::default(), "", &route(OWNED)).await;
    let victim = launch(&bench, &late(0));
    bench.until("the victim has published", |bench| bench.simulator.state(false).counts.published == 1).await;
    let attacker = Attacker::on(&bench, "i-00000000000000bad").await;
    let mine = material(&Material::Good, 666, "mine");
    let error = attacker.write(&victim, &mine, false).await.unwrap_err();
    assert!(error.contains("already exists") || error.contains("AlreadyExists"), "creating is all that the printed policy allows: {error}");
    // Were the policy without its denial, or the key written by an administrator's mistake:
    attacker.write(&victim, &mine, true).await.expect("the simulator has no policies");
    let worker = bench.worker();
    bench.until("the launch has ended", |bench| bench.simulator.state(false).counts.completions == 1).await;
    worker.end().await;
    assert!(associations(&bench, &victim).is_empty());
    assert!(!bench.is_in_service(&victim));
}

#[tokio::test]
async fn a_session_that_is_named_after_the_node_but_of_another_role_or_account_is_nobody() {
    let bench = Bench::start("other-role", AgentOptions::default(), "", &route(OWNED)).await;
    for (number, account, role) in [(1, ACCOUNT, "another-role"), (2, "210987654321", ROLE)] {
        let victim = launch(&bench, &late(60_000));
        let principal = Principal {
            access_key_id: format!("AKIAOTHER{number}"),
            arn: Caller::instance(account, role, &victim).arn.to_string(),
            account: None,
            denied: Vec::new(),
            allowed: None,
        };
        let caller = bench.simulator.with(|world, _| {
            world.set_principal(principal);
            world.caller(&format!("AKIAOTHER{number}"))
        });
        let name = format!("/enrolld/{victim}/public-key");
        let request = serde_json::json!({ "Name": name, "Value": material(&Material::Good, 666, "mine"), "Type": "String" });
        let request = serde_json::from_value(request).expect("it is a request");
        bench.simulator.with(|world, now| world.put_parameter(now, &caller, &request).map(drop)).expect("it is free");
        let worker = bench.worker();
        bench.until("the launch has ended", |bench| bench.simulator.state(false).counts.completions == number).await;
        worker.end().await;
        assert!(associations(&bench, &victim).is_empty(), "{account} {role}");
    }
}

#[tokio::test]
async fn the_check_of_the_writer_is_what_keeps_the_planted_key_out() {
    let bench = Bench::start("unowned", AgentOptions::default(), "", &route("require_owner = false")).await;
    let victim = launch(&bench, &late(60_000));
    let attacker = Attacker::on(&bench, "i-00000000000000bad").await;
    attacker.write(&victim, &material(&Material::Good, 666, "mine"), false).await.expect("its role may create");
    let worker = bench.worker();
    bench.until("the launch is in service", |bench| bench.is_in_service(&victim)).await;
    worker.end().await;
    assert!(!associations(&bench, &victim).is_empty(), "with require_owner = false whoever may write decides, as check says");
}
