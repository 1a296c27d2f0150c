//! Lifecycle hooks, their time-outs, and what they tell.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{AgentOptions, GROUP, LAUNCH_HOOK, START, Scene};
use crate::simulator::model::autoscaling::wire::{
    CompleteLifecycleAction, DeleteLifecycleHook, NamedAction, RecordLifecycleActionHeartbeat,
};
use crate::simulator::model::autoscaling::{
    ActionState, Closing, Delivery, Form, Kind, LifecycleState, NewGroup, NewHook, Place, WarmPool,
};
use crate::simulator::model::fixture::Fixture;
use crate::simulator::model::ssm::wire::DeleteParameters;

fn named(hook: &str, instance: &str) -> NamedAction {
    NamedAction {
        auto_scaling_group_name: GROUP.into(),
        lifecycle_hook_name: hook.into(),
        lifecycle_action_token: None,
        instance_id: Some(instance.into()),
    }
}

fn complete(scene: &mut Scene, hook: &str, instance: &str, result: &str) -> Result<(), String> {
    let request = CompleteLifecycleAction { action: named(hook, instance), lifecycle_action_result: result.into() };
    let answer = scene.world.complete_lifecycle_action(scene.now, &scene.root, &request);
    answer.map_err(|error| error.message.unwrap_or_default())
}

fn heartbeat(scene: &mut Scene, instance: &str) -> bool {
    let request = RecordLifecycleActionHeartbeat { action: named(LAUNCH_HOOK, instance) };
    scene.world.record_lifecycle_action_heartbeat(scene.now, &scene.root, &request).is_ok()
}

fn action(scene: &Scene, instance: &str) -> ActionState {
    let actions = scene.world.state(true).details.expect("asked for").actions;
    actions.into_iter().find(|action| action.instance == instance).expect("there is one")
}

fn hook(name: &str, transition: Kind, via: Form) -> NewHook {
    NewHook {
        name: name.into(),
        transition,
        heartbeat_timeout: 3600,
        default_result: "ABANDON".into(),
        metadata: Some(r#"{"server":"prod-chef"}"#.into()),
        delivery: Some(Delivery { queue: "enrolld-lifecycle".into(), via }),
    }
}

/// The standard fixture with one launch hook and one terminate hook of this form, and a warm pool.
fn scene_with(via: Form) -> Scene {
    let mut fixture = Fixture::standard();
    fixture.groups = vec![NewGroup {
        name: GROUP.into(),
        max_size: 10,
        min_size: 0,
        warm_pool: Some(WarmPool::default()),
        hooks: vec![hook(LAUNCH_HOOK, Kind::Launching, via), hook("leave-on-terminate", Kind::Terminating, via)],
        options: crate::simulator::model::autoscaling::GroupOptions::default(),
    }];
    Scene::with(fixture, 1)
}

fn next_notification(scene: &mut Scene) -> Value {
    scene.pass(1_000);
    let message = scene.receive("enrolld-lifecycle", 1, 3600).remove(0);
    serde_json::from_str(&message.body).expect("JSON")
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn a_launch_that_is_continued_passes_every_state() {
    use LifecycleState as S;
    let mut scene = Scene::new();
    let instance = scene.launch();
    scene.pass(1_000);
    assert_eq!(scene.state(&instance), Some(S::PendingWait));
    complete(&mut scene, LAUNCH_HOOK, &instance, "CONTINUE").expect("open");
    scene.pass(1_000);
    let states: Vec<S> =
        scene.world.state(true).details.expect("asked for").instances[&*instance].history.iter().map(|(_, state)| *state).collect();
    assert_eq!(states, [S::Pending, S::PendingWait, S::PendingProceed, S::InService]);
}

#[test]
fn the_heartbeat_timeout_counts_from_the_wait_or_the_last_heartbeat() {
    let mut scene = Scene::new();
    let instance = scene.launch();
    scene.pass(20);
    scene.pass(3_599_999);
    assert!(heartbeat(&mut scene, &instance));
    scene.pass(3_599_999);
    assert_eq!(scene.state(&instance), Some(LifecycleState::PendingWait));
    scene.pass(1);
    assert_eq!(action(&scene, &instance).closed_by, Some(Closing::HeartbeatTimeout));
    assert!(!heartbeat(&mut scene, &instance));
    assert_eq!(scene.world.state(false).counts.late_heartbeats, 1);
}

#[test]
fn heartbeats_do_not_reach_past_the_global_timeout() {
    let mut scene = Scene::new();
    let instance = scene.launch();
    scene.pass(20);
    for _ in 0..60 {
        scene.pass(3_000_000);
        heartbeat(&mut scene, &instance);
    }
    let action = action(&scene, &instance);
    assert_eq!(action.closed_by, Some(Closing::GlobalTimeout));
    assert_eq!(action.closed_ms, Some(START + 20 + 172_800_000));
}

#[test]
fn an_abandoned_launch_ends_and_is_replaced_once() {
    let mut scene = Scene::new();
    let instance = scene.launch();
    scene.pass(20);
    complete(&mut scene, LAUNCH_HOOK, &instance, "ABANDON").expect("open");
    scene.pass(60_000);
    assert_eq!(scene.state(&instance), Some(LifecycleState::Terminated));
    let group = &scene.world.state(false).groups[GROUP];
    assert_eq!((group.abandoned, group.states["Pending:Wait"]), (1, 1));
}

#[test]
fn by_instance_alone_a_late_duplicate_can_complete_the_next_action() {
    let mut scene = scene_with(Form::Direct);
    let instance = scene.world.launch(scene.now, GROUP, 1, Place::WarmPool, None).expect("there").remove(0);
    scene.pass(1_000);
    complete(&mut scene, LAUNCH_HOOK, &instance, "CONTINUE").expect("open");
    scene.pass(1_000);
    assert_eq!(scene.state(&instance), Some(LifecycleState::WarmedStopped));
    scene.world.leave_warm_pool(scene.now, GROUP, 1);
    scene.pass(1_000);
    complete(&mut scene, LAUNCH_HOOK, &instance, "CONTINUE").expect("the next one is open");
    scene.pass(1_000);
    assert_eq!(scene.state(&instance), Some(LifecycleState::InService));
}

#[test]
fn a_termination_goes_on_whatever_the_result() {
    for result in ["CONTINUE", "ABANDON"] {
        let mut scene = Scene::new();
        let instance = scene.launch();
        scene.pass(20);
        complete(&mut scene, LAUNCH_HOOK, &instance, "CONTINUE").expect("open");
        scene.pass(20);
        assert!(scene.world.terminate(scene.now, &instance));
        assert!(!scene.world.terminate(scene.now, &instance), "it is going already");
        scene.pass(20);
        assert_eq!(scene.state(&instance), Some(LifecycleState::TerminatingWait));
        complete(&mut scene, "leave-on-terminate", &instance, result).expect("open");
        scene.pass(20);
        assert_eq!(scene.state(&instance), Some(LifecycleState::Terminated));
    }
}

#[test]
fn terminating_a_waiting_launch_closes_its_action() {
    let mut scene = Scene::new();
    let instance = scene.launch();
    scene.pass(20);
    assert!(scene.world.terminate(scene.now, &instance));
    let refusal = complete(&mut scene, LAUNCH_HOOK, &instance, "CONTINUE").expect_err("closed");
    assert_eq!(refusal, format!("No active Lifecycle Action found with instance ID {instance}"));
    assert_eq!(action(&scene, &instance).closed_by, Some(Closing::Superseded));
}

#[test]
fn deleting_a_hook_abandons_launches_and_continues_terminations() {
    let mut scene = Scene::new();
    let (launching, leaving) = (scene.launch(), scene.launch());
    scene.pass(20);
    complete(&mut scene, LAUNCH_HOOK, &leaving, "CONTINUE").expect("open");
    scene.pass(20);
    scene.world.terminate(scene.now, &leaving);
    scene.pass(20);
    for name in [LAUNCH_HOOK, "leave-on-terminate"] {
        let request = DeleteLifecycleHook { auto_scaling_group_name: GROUP.into(), lifecycle_hook_name: name.into() };
        scene.world.delete_lifecycle_hook(scene.now, &scene.root, &request).expect("there");
    }
    let results: Vec<Option<String>> = scene
        .world
        .state(true)
        .details
        .expect("asked for")
        .actions
        .into_iter()
        .filter(|action| action.closed_by == Some(Closing::HookDeleted))
        .map(|action| action.result)
        .collect();
    assert_eq!(results, [Some("ABANDON".into()), Some("CONTINUE".into())]);
    scene.pass(1_000);
    assert_eq!(scene.state(&launching), Some(LifecycleState::Terminated));
    assert_eq!(scene.state(&leaving), Some(LifecycleState::Terminated));
}

#[test]
fn notifications_have_the_fields_of_the_samples() {
    for (via, sample) in [
        (Form::Direct, include_str!("../../../../tests/events/direct-launch.json")),
        (Form::SnsRaw, include_str!("../../../../tests/events/direct-launch.json")),
        (Form::Sns, include_str!("../../../../tests/events/sns-launch.json")),
        (Form::EventBridge, include_str!("../../../../tests/events/eventbridge-launch.json")),
    ] {
        let mut scene = scene_with(via);
        let instance = scene.launch();
        let sent = next_notification(&mut scene);
        let sample: Value = serde_json::from_str(sample).expect("JSON");
        assert_eq!(keys(&sent), keys(&sample), "{via:?}");
        let inner = match via {
            Form::Sns => serde_json::from_str(sent["Message"].as_str().expect("text")).expect("JSON"),
            Form::EventBridge => {
                assert_eq!(keys(&sent["detail"]), keys(&sample["detail"]));
                sent["detail"].clone()
            }
            Form::Direct | Form::SnsRaw => sent,
        };
        assert_eq!(inner["EC2InstanceId"], *instance);
        assert_eq!(inner["NotificationMetadata"], r#"{"server":"prod-chef"}"#);
    }
}

#[test]
fn a_way_back_into_the_warm_pool_is_told_as_a_termination() {
    let mut scene = scene_with(Form::Direct);
    let instance = scene.launch();
    next_notification(&mut scene);
    complete(&mut scene, LAUNCH_HOOK, &instance, "CONTINUE").expect("open");
    scene.pass(1_000);
    assert!(scene.world.return_to_warm_pool(scene.now, &instance));
    let sent = next_notification(&mut scene);
    assert_eq!(scene.state(&instance), Some(LifecycleState::WarmedPendingWait));
    assert_eq!(sent["LifecycleTransition"], Kind::Terminating.name());
    assert_eq!((&sent["Origin"], &sent["Destination"]), (&"AutoScalingGroup".into(), &"WarmPool".into()));
    complete(&mut scene, "leave-on-terminate", &instance, "CONTINUE").expect("open");
    scene.pass(1_000);
    assert_eq!(scene.state(&instance), Some(LifecycleState::WarmedStopped));
}

#[test]
fn an_agent_may_publish_again_whenever_its_instance_leaves_the_warm_pool() {
    for each_start in [false, true] {
        let mut scene = scene_with(Form::Direct);
        let agent = AgentOptions { each_start, ..AgentOptions::default() };
        let instance = scene.world.launch(scene.now, GROUP, 1, Place::WarmPool, Some(&agent)).expect("there is the group").remove(0);
        scene.pass(1_000);
        complete(&mut scene, LAUNCH_HOOK, &instance, "CONTINUE").expect("open");
        scene.pass(1_000);
        assert_eq!(scene.world.state(false).counts.published, 1);
        let names = DeleteParameters { names: vec![format!("/enrolld/{instance}/public-key")] };
        scene.world.delete_parameters(scene.now, &scene.root, &names).expect("it is there");
        scene.world.leave_warm_pool(scene.now, GROUP, 1);
        scene.pass(1_000);
        assert_eq!(scene.world.state(false).counts.published, if each_start { 2 } else { 1 });
    }
}
