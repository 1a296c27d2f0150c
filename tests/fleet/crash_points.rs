//! Every crash point: a worker is killed at each call that it makes for a launch and a termination, and another finishes.

use enrolld::simulator::model::autoscaling::Closing;
use enrolld::simulator::model::opsworks_cm::Repeated;

use crate::plan::Plan;
use crate::run::{Fleet, Kill};

/// What came of a launch and a termination whose worker was killed at one point.
fn ends_well(repeated: Repeated, kill: Option<Kill>) -> Fleet {
    let mut fleet = Fleet::new(Plan::plain(7, repeated), false);
    fleet.kill = kill;
    fleet.run();
    let verdict = crate::invariants::judge(&fleet);
    assert!(verdict.broken.is_empty(), "{repeated:?}, {kill:?}: {:#?}", verdict.broken);
    assert_eq!(fleet.crashes, u64::from(kill.is_some()), "{repeated:?}, {kill:?}: the worker was not killed");
    let state = fleet.services.world.state(true);
    let actions = state.details.unwrap().actions;
    assert_eq!(actions.len(), 2, "{repeated:?}, {kill:?}");
    for action in actions {
        assert_eq!(action.closed_by, Some(Closing::Completed), "{repeated:?}, {kill:?}: {action:?}");
        assert_eq!(action.result.as_deref(), Some("CONTINUE"), "{repeated:?}, {kill:?}: {action:?}");
    }
    assert_eq!(state.counts.associations > 0, true);
    fleet
}

fn at_every_call(kill: impl Fn(u32) -> Kill) {
    for repeated in [Repeated::Success, Repeated::Failed, Repeated::Validation] {
        let fleet = ends_well(repeated, None);
        let last = fleet.called.iter().rposition(|(_, operation)| *operation == "DeleteMessageBatch").unwrap();
        for ordinal in 1..=u32::try_from(last).unwrap() + 1 {
            ends_well(repeated, Some(kill(ordinal)));
        }
    }
}

#[test]
fn a_worker_killed_just_before_any_call_leaves_it_all_to_the_next() {
    at_every_call(Kill::BeforeCall);
}

#[test]
fn a_worker_killed_when_any_call_was_processed_and_not_answered_leaves_it_all_to_the_next() {
    at_every_call(Kill::Processed);
}

#[test]
fn a_worker_killed_just_after_any_answer_leaves_it_all_to_the_next() {
    at_every_call(Kill::Answered);
}

#[test]
fn a_launch_and_a_termination_make_the_calls_that_they_must() {
    let fleet = ends_well(Repeated::Success, None);
    for operation in [
        "GetQueueAttributes",
        "ReceiveMessage",
        "DescribeAutoScalingInstances",
        "DescribeLifecycleHooks",
        "GetParameters",
        "Associate",
        "AssociationStatus",
        "CompleteLifecycleAction",
        "Disassociate",
        "DeleteParameters",
        "DeleteMessageBatch",
    ] {
        assert!(fleet.called.iter().any(|(_, called)| *called == operation), "{operation} was never called");
    }
}
