//! An event is a claim, not a proof: what is no longer so, what never was, and what nobody here wants to hear.

use enrolld::core::observation::Outcome;
use enrolld::simulator::model::agent::{Material, material};
use enrolld::simulator::model::autoscaling::{Form, LifecycleState, Place};
use enrolld::simulator::model::opsworks_cm::wire::{AssociateNode, EngineAttribute};
use serde_json::json;

use crate::bench::{Bench, GROUP, LETTERS, QUEUE, SERVER, configuration_of, group, never_publishes};
use crate::odd_messages::Launch;

/// What a launch's notification says of an instance that was launched.
fn told(bench: &Bench, instance: &str) -> Launch {
    let action = bench.actions(instance).remove(0);
    Launch { instance: action.instance, group: action.group, token: action.token, ..Launch::example(GROUP) }
}

/// A termination as somebody might invent it.
fn forged_termination(instance: &str) -> String {
    let mut event = Launch { instance: instance.to_owned(), ..Launch::example(GROUP) }.direct();
    event["LifecycleTransition"] = json!("autoscaling:EC2_INSTANCE_TERMINATING");
    event["LifecycleHookName"] = json!("leave-on-terminate");
    event["Origin"] = json!("AutoScalingGroup");
    event["Destination"] = json!("EC2");
    event["LifecycleActionToken"] = json!(format!("5d1f0a52-7b0e-4c8e-9a49-{}", &instance[7..]));
    event.to_string()
}

/// Associates a node by hand, as if it had been done before.
fn associate(bench: &Bench, node: &str) {
    let attribute = |name: &str, value: String| EngineAttribute { name: Some(name.into()), value: Some(value) };
    let request = AssociateNode {
        server_name: Some(SERVER.into()),
        node_name: Some(node.into()),
        engine_attributes: vec![
            attribute("CHEF_ORGANIZATION", "default".into()),
            attribute("CHEF_NODE_PUBLIC_KEY", material(&Material::Good, 1, node)),
        ],
    };
    bench.simulator.with(|world, now| {
        let root = world.root();
        world.associate_node(now, &root, &request).expect("the server is healthy");
    });
}

#[tokio::test]
async fn with_unmatched_ignore_a_group_without_a_route_is_acknowledged_and_left_alone() {
    let bench = Bench::start(|fixture| fixture.groups.push(group("db-red", Form::Sns))).await;
    let registrar = format!("registrar = {{ kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"chef\" }}");
    let route = format!("{registrar}\nkey = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", require_owner = false }}");
    let text = configuration_of(&bench.simulator.endpoint(), "unmatched = \"ignore\"", &route);
    let worker = bench.worker_with(&text, |config| config.routes[0].groups = vec![GROUP.into()]);
    let ignored = bench.launch_in("db-red", Place::AutoScalingGroup, None);
    let served = bench.launch(1);
    bench.until_in_service(&served).await;
    bench.until_empty().await;
    assert_eq!(bench.state_of(&ignored), LifecycleState::PendingWait);
    assert_eq!(bench.nodes(SERVER), served);
    assert!(bench.is_empty(LETTERS));
    let ends = worker.until_ends(2).await;
    assert!(ends.iter().any(|end| end.instance.as_ref() == Some(&ignored) && end.outcome == Outcome::Ignored), "{ends:?}");
}

#[tokio::test]
async fn a_launch_that_is_in_service_already_is_acknowledged_as_stale() {
    let bench = Bench::start(|_| {}).await;
    let worker = bench.worker(|_| {});
    let launched = bench.launch(1);
    bench.until_in_service(&launched).await;
    bench.until_empty().await;
    bench.send(&told(&bench, &launched[0]).sns(&told(&bench, &launched[0]).direct().to_string()).to_string());
    worker.until_ends(2).await;
    bench.until_empty().await;
    assert_eq!(worker.outcomes()[1], (Outcome::Stale, Some("in_service".to_owned())));
    assert_eq!((bench.summary().counts.associations, bench.summary().counts.refused_completions), (1, 0));
    assert_eq!(bench.nodes(SERVER), launched);
    assert!(bench.is_empty(QUEUE) && bench.is_empty(LETTERS));
}

#[tokio::test]
async fn a_launch_whose_instance_is_gone_is_taken_off_and_acknowledged_as_stale() {
    // Nobody tells of the termination: the group has no hook for it.
    let bench = Bench::start(|fixture| fixture.groups[0].hooks.truncate(1)).await;
    let worker = bench.worker(|_| {});
    let launched = bench.launch(1);
    bench.until_in_service(&launched).await;
    bench.until_empty().await;
    assert!(bench.simulator.with(|world, now| world.terminate(now, &launched[0])));
    bench.until_state(&launched[0], LifecycleState::Terminated).await;
    assert_eq!(bench.nodes(SERVER), launched, "nobody has noticed");
    bench.send(&told(&bench, &launched[0]).direct().to_string());
    worker.until_ends(2).await;
    bench.until_empty().await;
    assert_eq!(worker.outcomes()[1], (Outcome::Stale, Some("terminated".to_owned())));
    assert!(bench.nodes(SERVER).is_empty());
    assert_eq!(bench.summary().counts.parameters, 0);
    assert!(bench.is_empty(QUEUE) && bench.is_empty(LETTERS));
}

#[tokio::test]
async fn a_forged_termination_is_dead_lettered_as_unproven_and_the_node_stays() {
    let bench = Bench::start(|_| {}).await;
    let worker = bench.worker(|_| {});
    let launched = bench.launch(2);
    bench.until_in_service(&launched).await;
    bench.until_empty().await;
    let [serves, detached] = [&launched[0], &launched[1]];
    assert!(bench.simulator.with(|world, now| world.detach(now, detached)));
    bench.until_state(detached, LifecycleState::Detached).await;
    let of_no_group = "i-0ffffffffffffffff".to_owned();
    associate(&bench, &of_no_group);
    bench.until("it is associated", |bench| bench.nodes(SERVER).len() == 3).await;

    let forged = [serves, detached, &of_no_group].map(|id| forged_termination(id));
    forged.iter().for_each(|body| bench.send(body));
    worker.until_ends(5).await;
    let mut letters = bench.letters();
    letters.sort();
    let mut expected = forged.map(|body| (body, Some("unproven".to_owned())));
    expected.sort();
    assert_eq!(letters, expected);
    assert_eq!(bench.nodes(SERVER).len(), 3, "no node was removed");
    assert_eq!(bench.calls("opsworks-cm:DisassociateNode"), 0);
    assert_eq!(bench.state_of(serves), LifecycleState::InService);
}

#[tokio::test]
async fn an_event_that_names_another_group_than_its_instance_s_is_dead_lettered() {
    let bench = Bench::start(|fixture| fixture.groups.push(group("web-green", Form::Direct))).await;
    let waits = bench.launch_with(never_publishes());
    let worker = bench.worker(|_| {});
    let lie = Launch { group: "web-green".into(), ..told_when_waiting(&bench, &waits).await };
    bench.send(&lie.direct().to_string());
    worker.until_ends(1).await;
    assert_eq!(worker.outcomes(), [(Outcome::DeadLettered, Some("wrong_group".to_owned()))]);
    assert_eq!(bench.state_of(&waits), LifecycleState::PendingWait);
    bench.publish(&waits, material(&Material::Good, 1, &waits));
    bench.until_in_service(&[waits]).await;
}

#[tokio::test]
async fn an_event_that_only_shares_another_s_token_does_not_share_its_end() {
    let bench = Bench::start(|fixture| fixture.groups[0].options.notify_after_ms = 700).await;
    let waits = bench.launch(1);
    let lie = Launch { instance: "i-0ffffffffffffffff".into(), ..told_when_waiting(&bench, &waits[0]).await };
    // The lie comes first, and is being doubted when the truth arrives.
    bench.send(&lie.direct().to_string());
    let _worker = bench.worker(|_| {});
    bench.until_in_service(&waits).await;
    bench.until_empty().await;
    assert_eq!(bench.letters(), [(lie.direct().to_string(), Some("unproven".to_owned()))]);
}

async fn told_when_waiting(bench: &Bench, instance: &str) -> Launch {
    bench.until_state(instance, LifecycleState::PendingWait).await;
    told(bench, instance)
}
