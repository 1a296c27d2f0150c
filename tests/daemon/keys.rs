//! The other ways to the key material: Run Command, and certificate requests for Puppet.

use std::time::Duration;

use enrolld::core::observation::Outcome;
use enrolld::simulator::model::agent::{AgentOptions, CommandOutcome, Material, Publish, material};
use enrolld::simulator::model::autoscaling::{Form, LifecycleState, Place};
use enrolld::simulator::model::fixture::NewParameter;
use enrolld::simulator::model::opsworks_cm::Engine;
use enrolld::simulator::model::ssm::wire::CreateDocument;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use crate::bench::{ACCOUNT, Bench, GROUP, LETTERS, SERVER, configuration_of, never_publishes};

const DOCUMENT: &str = "enrolld-show-public-key";

fn by_run_command(bench: &Bench) -> String {
    let content =
        r#"{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"show","inputs":{"runCommand":["cat /k"]}}]}"#;
    let document = CreateDocument { name: DOCUMENT.into(), content: content.into(), ..CreateDocument::default() };
    bench.simulator.with(|world, now| {
        let root = world.root();
        world.create_document(now, &root, &document).expect("it is a document");
    });
    let route = format!(
        "registrar = {{ kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"chef\" }}\nkey = {{ document = \"{DOCUMENT}\" }}"
    );
    configuration_of(&bench.simulator.endpoint(), "", &route)
}

fn agent(registers_after_ms: u64, command: CommandOutcome) -> AgentOptions {
    AgentOptions {
        publish: Publish::RunCommand { after_ms: 0 },
        registers_after_ms: Some(registers_after_ms),
        command,
        ..AgentOptions::default()
    }
}

#[tokio::test]
async fn run_command_waits_for_agents_that_register_late_and_takes_what_the_command_prints() {
    let bench = Bench::start(|_| {}).await;
    let worker = bench.worker_with(&by_run_command(&bench), |_| {});
    let mut launched: Vec<String> =
        [0, 300, 5000].into_iter().map(|after| bench.launch_with(agent(after, CommandOutcome::Success))).collect();
    bench.until_in_service(&launched).await;
    bench.until_empty().await;
    launched.sort();
    assert_eq!(bench.nodes(SERVER), launched);
    let mut commands: Vec<String> = bench.details().commands.into_iter().map(|command| command.instance).collect();
    commands.sort();
    assert_eq!(commands, launched, "each was asked once");
    assert!(bench.calls("ssm:SendCommand") > 3, "an agent that is not registered fails the whole call");
    assert!(worker.until_ends(3).await.iter().all(|end| end.outcome == Outcome::Enrolled));
}

#[tokio::test]
async fn run_command_runs_what_is_configured_to_the_letter_whatever_stands_in_the_message() {
    const TEXT: &str = "$(touch pwned); `touch pwned` {{ ssm:/pwned }} {instance_id} {group}";
    // What looks like a place for something is none, here neither.
    let configured = ["set -eu", "cat /etc/chef/{instance_id}.pub # $(hostname) {group}"];
    let group = "web-$(touch pwned) `touch pwned` {{ pwned }}";
    let bench = Bench::start(|fixture| {
        fixture.groups[0].name = group.into();
        fixture.groups[0].hooks[0].metadata = Some(TEXT.into());
    })
    .await;
    let commands = configured.map(|line| format!("{line:?}")).join(", ");
    let route = format!(
        "registrar = {{ kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"chef\" }}\n\
         key = {{ document = \"AWS-RunShellScript\", commands = [{commands}] }}"
    );
    let configuration = configuration_of(&bench.simulator.endpoint(), "", &route);
    let _worker = bench.worker_with(&configuration, |_| {});
    let launched = bench.launch_in(group, Place::AutoScalingGroup, Some(&agent(0, CommandOutcome::Success)));
    bench.until_in_service(std::slice::from_ref(&launched)).await;
    let sent = bench.details().commands;
    assert!(!sent.is_empty());
    for command in sent {
        assert_eq!((command.document.as_str(), &command.instance), ("AWS-RunShellScript", &launched));
        let parameters: Vec<(&str, Vec<&str>)> =
            command.parameters.iter().map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect())).collect();
        assert_eq!(parameters, [("commands", configured.to_vec())], "nothing else, and nothing put into it");
    }
}

#[tokio::test]
async fn a_command_that_keeps_failing_abandons_its_own_launch_when_its_time_is_over_and_holds_up_no_other() {
    let bench = Bench::start(|fixture| fixture.groups[0].options.replace_abandoned = false).await;
    let _worker = bench.worker_with(&by_run_command(&bench), |config| config.routes[0].timeout = Duration::from_secs(20));
    let failing = bench.launch_with(agent(0, CommandOutcome::Failed));
    // This one's fails too while there is no key yet.
    let publish = Publish::RunCommand { after_ms: 1200 };
    let late = bench.launch_with(AgentOptions { publish, ..agent(0, CommandOutcome::Success) });
    bench.until_in_service(std::slice::from_ref(&late)).await;
    bench.until_state(&failing, LifecycleState::Terminated).await;
    bench.until_empty().await;
    assert_eq!(bench.nodes(SERVER), [late]);
    let letter = bench.queue(LETTERS).messages.remove(0);
    assert_eq!(letter.attributes["EnrolldReason"], "deadline");
    assert!(letter.attributes["EnrolldDetail"].contains("command"), "{:?}", letter.attributes);
    assert!(bench.details().commands.len() >= 4, "each was asked again");
}

#[tokio::test]
async fn keys_that_are_secure_strings_are_read_in_clear_and_one_that_cannot_be_decrypted_holds_up_no_other() {
    for owner in [format!("owner_role = \"arn:aws:iam::{ACCOUNT}:role/enrolld-node\""), "require_owner = false".to_owned()] {
        let bench = Bench::start(|fixture| {
            fixture.groups[0].options.replace_abandoned = false;
            fixture.ssm.undecryptable_prefixes = vec!["/enrolld/sealed/".into()];
        })
        .await;
        let route = format!(
            "registrar = {{ kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"chef\" }}\n\
             key = {{ parameter = \"/enrolld/{{group}}/{{instance_id}}\", {owner} }}"
        );
        bench.simulator.with(|world, now| world.create_group(now, crate::bench::group("sealed", Form::Direct))).expect("the name is free");
        let worker = bench.worker_with(&configuration_of(&bench.simulator.endpoint(), "", &route), |_| {});
        let secure = |group: &str| AgentOptions {
            publish: Publish::Parameter { name: format!("/enrolld/{group}/{{instance_id}}"), after_ms: 0, jitter_ms: 0, secure: true },
            ..AgentOptions::default()
        };
        let sealed = bench.launch_in("sealed", Place::AutoScalingGroup, Some(&secure("sealed")));
        let good: Vec<String> = (0..3).map(|_| bench.launch_in(GROUP, Place::AutoScalingGroup, Some(&secure(GROUP)))).collect();
        bench.until_in_service(&good).await;
        assert!(bench.details().parameters.values().all(|parameter| parameter.kind == "SecureString"));
        // That one may be decrypted once somebody gives the right to: it waits, and nobody is associated for it.
        assert!(worker.until_ends(3).await.iter().all(|end| end.outcome == Outcome::Enrolled));
        assert_eq!(bench.state_of(&sealed), LifecycleState::PendingWait);
        assert_eq!(bench.nodes(SERVER).len(), 3);
    }
}

#[tokio::test]
async fn a_key_that_was_replaced_is_refused_and_one_that_was_written_again_as_it_was_is_not_where_anybody_may_write() {
    let bench = Bench::start(|fixture| fixture.groups[0].options.replace_abandoned = false).await;
    let route = format!(
        "registrar = {{ kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"chef\" }}\n\
         key = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", require_owner = false }}"
    );
    let [again, replaced] = [0; 2].map(|_| bench.launch_with(never_publishes()));
    for (instance, seeds) in [(&again, [1, 1]), (&replaced, [1, 2])] {
        for (seed, overwrite) in seeds.into_iter().zip([false, true]) {
            let parameter = NewParameter {
                name: format!("/enrolld/{instance}/public-key"),
                value: material(&Material::Good, seed, instance),
                kind: "String".into(),
                overwrite,
                by: None,
                by_instance: None,
            };
            bench.simulator.with(|world, now| world.put_fixture_parameter(now, parameter)).expect("it can be put");
        }
    }
    // Both stand as they are before anybody reads them.
    let worker = bench.worker_with(&configuration_of(&bench.simulator.endpoint(), "", &route), |_| {});
    let ends = worker.until_ends(2).await;
    let outcome = |instance: &str| ends.iter().find(|end| end.instance.as_deref() == Some(instance)).map(|end| end.outcome);
    assert_eq!((outcome(&again), outcome(&replaced)), (Some(Outcome::Enrolled), Some(Outcome::Abandoned)), "{ends:?}");
    assert_eq!(bench.nodes(SERVER), [again]);
}

/// A certificate request for that name.
fn request(name: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key pair");
    params.serialize_request(&pair).expect("a request").pem().expect("as PEM")
}

#[tokio::test]
async fn a_puppet_server_gets_the_certificate_request_that_is_its_node_s_own() {
    let bench = Bench::start(|fixture| {
        fixture.servers[0].engine = Engine::Puppet;
        fixture.groups[0].options.replace_abandoned = false;
    })
    .await;
    let route = format!(
        "registrar = {{ kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"puppet\" }}\n\
         key = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", owner_role = \"arn:aws:iam::{ACCOUNT}:role/enrolld-node\" }}"
    );
    let _worker = bench.worker_with(&configuration_of(&bench.simulator.endpoint(), "", &route), |_| {});
    let [good, other_s, key] = [0; 3].map(|_| bench.launch_with(never_publishes()));
    // What the first asks for is what it is; the second asks for the first's name, the third publishes a bare key.
    bench.publish(&good, request(&good));
    bench.publish(&other_s, request(&good));
    bench.publish(&key, enrolld::simulator::model::agent::material(&Material::Good, 1, &key));
    bench.until_in_service(std::slice::from_ref(&good)).await;
    bench.until("the others are abandoned", |bench| bench.summary().queues[LETTERS].visible == 2).await;
    bench.until_empty().await;
    assert_eq!(bench.nodes(SERVER), std::slice::from_ref(&good));

    assert!(bench.simulator.with(|world, now| world.terminate(now, &good)));
    bench.until_state(&good, LifecycleState::Terminated).await;
    bench.until_empty().await;
    assert!(bench.nodes(SERVER).is_empty());
}

#[tokio::test]
async fn a_parameter_that_another_instance_wrote_is_not_believed() {
    let bench = Bench::start(|fixture| fixture.groups[0].options.replace_abandoned = false).await;
    let worker = bench.worker(|config| config.routes[0].timeout = Duration::from_secs(30));
    let victim = bench.launch_with(never_publishes());
    let thief = enrolld::simulator::model::fixture::NewParameter {
        name: format!("/enrolld/{victim}/public-key"),
        value: enrolld::simulator::model::agent::material(&Material::Good, 2, "i-0ffffffffffffffff"),
        kind: "String".into(),
        overwrite: false,
        by: Some(format!("arn:aws:sts::{ACCOUNT}:assumed-role/enrolld-node/i-0ffffffffffffffff")),
        by_instance: None,
    };
    bench.simulator.with(|world, now| world.put_fixture_parameter(now, thief)).expect("it can be put");
    worker.until_ends(1).await;
    assert_eq!(worker.ends()[0].outcome, Outcome::Abandoned, "{:?}", worker.ends());
    assert!(bench.nodes(SERVER).is_empty());
}
