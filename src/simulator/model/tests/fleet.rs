//! Many instances at once, and the same again from the same seed.

use super::{GROUP, LAUNCH_HOOK, Scene};
use crate::simulator::model::autoscaling::Place;
use crate::simulator::model::autoscaling::wire::{CompleteLifecycleAction, NamedAction};
use crate::simulator::model::fixture::Fixture;
use crate::simulator::model::opsworks_cm::wire::{AssociateNode, DescribeNodeAssociationStatus, EngineAttribute, ServerStatus};
use crate::simulator::model::opsworks_cm::{Happened, Repeated, ServerOptions};
use crate::simulator::model::sqs::wire::{DeleteEntry, DeleteMessageBatch};

fn chef(node: &str, key: &str) -> AssociateNode {
    let attribute = |name: &str, value: &str| EngineAttribute { name: Some(name.into()), value: Some(value.into()) };
    AssociateNode {
        server_name: Some("prod-chef".into()),
        node_name: Some(node.into()),
        engine_attributes: vec![attribute("CHEF_ORGANIZATION", "default"), attribute("CHEF_NODE_PUBLIC_KEY", key)],
    }
}

/// Drains the queue as a worker would, in batches of ten.
fn drain(scene: &mut Scene) -> usize {
    let mut drained = 0;
    loop {
        let messages = scene.receive("enrolld-lifecycle", 10, 300);
        if messages.is_empty() {
            return drained;
        }
        for message in &messages {
            let event: serde_json::Value = serde_json::from_str(&message.body).expect("JSON");
            let request = CompleteLifecycleAction {
                action: NamedAction {
                    auto_scaling_group_name: GROUP.into(),
                    lifecycle_hook_name: LAUNCH_HOOK.into(),
                    lifecycle_action_token: event["LifecycleActionToken"].as_str().map(str::to_owned),
                    instance_id: None,
                },
                lifecycle_action_result: "CONTINUE".into(),
            };
            scene.world.complete_lifecycle_action(scene.now, &scene.root, &request).expect("open");
        }
        let entries = messages
            .iter()
            .enumerate()
            .map(|(number, message)| DeleteEntry { id: number.to_string(), receipt_handle: Some(message.receipt_handle.clone()) });
        let request = DeleteMessageBatch { queue_url: scene.url("enrolld-lifecycle"), entries: entries.collect() };
        let batch = scene.world.delete_message_batch(scene.now, &scene.root, &request).expect("sound");
        drained += batch.successful.len();
    }
}

#[test]
fn ten_thousand_launches_are_served() {
    let mut scene = Scene::new();
    scene.world.launch(scene.now, GROUP, 10_000, Place::AutoScalingGroup, None).expect("there");
    scene.pass(1_000);
    assert_eq!(drain(&mut scene), 10_000);
    scene.pass(1_000);
    let state = scene.world.state(false);
    assert_eq!(state.groups[GROUP].states["InService"], 10_000);
    assert_eq!((state.counts.completions, state.counts.open_actions), (10_000, 0));
    assert_eq!(state.queues["enrolld-lifecycle"].counts.deleted, 10_000);
}

#[test]
fn the_same_seed_ends_the_same_and_another_does_not() {
    let run = |seed| {
        let mut scene = Scene::with(Fixture::standard(), seed);
        scene.world.launch(scene.now, GROUP, 20, Place::AutoScalingGroup, None).expect("there");
        scene.pass(1_000);
        drain(&mut scene);
        scene.pass(1_000);
        serde_json::to_string(&scene.world.state(true)).expect("serialises")
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn a_server_under_maintenance_takes_nothing_and_comes_back_by_itself() {
    let mut scene = Scene::new();
    scene.world.set_server_status(scene.now, "prod-chef", ServerStatus::UnderMaintenance, Some(60_000));
    let request = chef("i-1", "key");
    let refusal = scene.world.associate_node(scene.now, &scene.root, &request).expect_err("maintenance");
    assert_eq!(refusal.code, "InvalidStateException");
    scene.pass(60_000);
    scene.world.associate_node(scene.now, &scene.root, &request).expect("healthy");
}

#[test]
fn a_repeated_association_ends_as_the_option_says() {
    let repeat = |repeated| {
        let mut scene = Scene::new();
        let options = ServerOptions { repeated, ..ServerOptions::default() };
        scene.world.set_server_options("prod-chef", options);
        scene.world.associate_node(scene.now, &scene.root, &chef("i-1", "one")).expect("the first");
        scene.pass(1_000);
        let token = scene.world.associate_node(scene.now, &scene.root, &chef("i-1", "two"));
        let token = token.map_err(|error| error.code.into_owned())?.node_association_status_token;
        scene.pass(1_000);
        let request = DescribeNodeAssociationStatus { node_association_status_token: Some(token), server_name: Some("prod-chef".into()) };
        let status = scene.world.describe_node_association_status(scene.now, &scene.root, &request);
        Ok::<_, String>(status.expect("recent").node_association_status)
    };
    assert_eq!(repeat(Repeated::Success), Ok("SUCCESS"));
    assert_eq!(repeat(Repeated::Failed), Ok("FAILED"));
    assert_eq!(repeat(Repeated::Validation), Err("ValidationException".into()));
}

#[test]
fn the_log_tells_keys_apart() {
    let mut scene = Scene::new();
    for key in ["one", "one", "two"] {
        scene.world.associate_node(scene.now, &scene.root, &chef("i-1", key)).expect("healthy");
        scene.pass(1_000);
    }
    let log = scene.world.state(true).details.expect("asked for").associations;
    let prints: Vec<_> = log.iter().filter(|entry| entry.what == Happened::Associated).map(|entry| &entry.fingerprint).collect();
    assert_eq!(prints.len(), 3);
    assert_eq!(prints[0], prints[1]);
    assert_ne!(prints[1], prints[2]);
}
