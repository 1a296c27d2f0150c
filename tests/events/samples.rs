//! Each sample is read as what it is.

use enrolld::event::{Envelope, LifecycleAction, Notification, Place, Transition, decode};

fn action(sample: &str) -> LifecycleAction {
    match decode(sample) {
        Ok(Notification::Action(action)) => action,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_direct_launch() {
    let action = action(include_str!("direct-launch.json"));
    assert_eq!(action.envelope, Envelope::Direct);
    assert_eq!(action.transition, Transition::Launching);
    assert_eq!(action.instance.as_str(), "i-0a1b2c3d4e5f60718");
    assert_eq!(action.group.as_str(), "web-blue");
    assert_eq!(action.hook.as_str(), "enrol-on-launch");
    assert_eq!(action.token.as_str(), "5d1f0a52-7b0e-4c8e-9a49-2f6d3f6f1c01");
    assert_eq!(action.account.as_str(), "123456789012");
    assert_eq!(action.region, None);
    assert_eq!(action.time_ms, Some(1_772_439_342_118));
    assert_eq!((action.origin, action.destination), (Some(Place::Ec2), Some(Place::AutoScalingGroup)));
    assert_eq!(action.metadata.as_deref(), Some("{\"server\":\"prod-chef\"}"));
}

#[test]
fn a_launch_through_sns_has_the_topics_region() {
    let action = action(include_str!("sns-launch.json"));
    assert_eq!(action.envelope, Envelope::Sns);
    assert_eq!(action.region.as_ref().map(|region| region.as_str()), Some("eu-central-1"));
    assert_eq!(action.time_ms, Some(1_772_439_342_118));
    assert_eq!(action.metadata, None);
}

#[test]
fn a_launch_through_event_bridge_has_its_account_time_and_region_from_outside() {
    let action = action(include_str!("eventbridge-launch.json"));
    assert_eq!(action.envelope, Envelope::EventBridge);
    assert_eq!(action.account.as_str(), "123456789012");
    assert_eq!(action.region.as_ref().map(|region| region.as_str()), Some("eu-central-1"));
    assert_eq!(action.time_ms, Some(1_772_439_342_000));
}

#[test]
fn the_three_launches_are_one_action() {
    let direct = action(include_str!("direct-launch.json"));
    for sample in [include_str!("sns-launch.json"), include_str!("eventbridge-launch.json")] {
        let other = action(sample);
        assert_eq!((&other.token, &other.instance, &other.group), (&direct.token, &direct.instance, &direct.group));
    }
}

#[test]
fn a_termination_and_the_moves_of_a_warm_pool() {
    let way = |sample| {
        let action = action(sample);
        (action.transition, action.origin, action.destination)
    };
    use Place::{AutoScalingGroup, Ec2, WarmPool};
    use Transition::{Launching, Terminating};
    assert_eq!(way(include_str!("direct-terminate.json")), (Terminating, Some(AutoScalingGroup), Some(Ec2)));
    assert_eq!(way(include_str!("direct-returns-to-warm-pool.json")), (Terminating, Some(AutoScalingGroup), Some(WarmPool)));
    assert_eq!(way(include_str!("eventbridge-enters-warm-pool.json")), (Launching, Some(Ec2), Some(WarmPool)));
    assert_eq!(way(include_str!("eventbridge-leaves-warm-pool.json")), (Launching, Some(WarmPool), Some(AutoScalingGroup)));
}

#[test]
fn the_test_notification_of_a_new_hook_names_its_group() {
    match decode(include_str!("direct-test-notification.json")) {
        Ok(Notification::Test { group: Some(group) }) => assert_eq!(group.as_str(), "web-blue"),
        other => panic!("{other:?}"),
    }
}
