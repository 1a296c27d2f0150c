//! What Auto Scaling shows may be older than the event that tells of it.

use super::bench::{Bench, settings};
use crate::event::Place;
use crate::facts::{ActionResult, KeyAnswer, LifecycleState, Whereabouts};
use crate::retry::{Class, Failure};

#[test]
fn a_launch_that_is_shown_where_it_comes_from_is_looked_at_again_and_enrolled() {
    for before in [LifecycleState::Pooled, LifecycleState::WarmedPendingWait, LifecycleState::Standby] {
        let mut bench = Bench::settled(settings());
        if before == LifecycleState::Standby {
            bench.launch(1);
        } else {
            bench.launch_from_pool(1);
        }
        bench.set_state(1, Some(before));
        bench.run_for(8_000);
        assert!(bench.outcomes().is_empty(), "{before:?}: {:?}", bench.reasons());
        bench.set_state(1, Some(LifecycleState::PendingWait));
        bench.run_for(30_000);
        assert_eq!(bench.completions, [(1, ActionResult::Continue)], "{before:?}");
    }
}

#[test]
fn a_termination_does_not_wait_for_its_own_launch_which_is_still_shown_waiting() {
    let mut bench = Bench::settled(settings());
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.launch(1);
    bench.run_for(10_000);
    bench.terminate(1);
    // The launch looks again at once, and is shown what was.
    bench.set_state(1, Some(LifecycleState::PendingWait));
    bench.run_for(300);
    bench.set_state(1, Some(LifecycleState::TerminatingWait));
    bench.run_for(60_000);
    assert_eq!(bench.open(), 0, "{:?}", bench.reasons());
}

#[test]
fn a_termination_does_not_wait_for_a_launch_into_the_pool_whose_activities_were_being_asked_for() {
    let mut bench = Bench::settled(settings());
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.whereabouts = Whereabouts::EntersPool;
    bench.slow.insert("DescribeScalingActivities", 3_000);
    bench.launch_into_pool(1);
    bench.run_for(1_000);
    bench.terminate(1);
    bench.run_for(60_000);
    assert_eq!(bench.open(), 0, "{:?}", bench.reasons());
}

#[test]
fn a_termination_of_an_instance_that_is_not_listed_yet_is_looked_at_again_and_completed() {
    let mut bench = Bench::settled(settings());
    bench.terminate(1);
    bench.set_state(1, None);
    bench.whereabouts = Whereabouts::Terminating;
    bench.run_for(5_000);
    assert_eq!((bench.outcomes().len(), bench.count("Disassociate")), (0, 0));
    bench.set_state(1, Some(LifecycleState::TerminatingWait));
    bench.run_for(30_000);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
    // One that never is listed again is gone all the same.
    bench.terminate(2);
    bench.set_state(2, None);
    bench.run_for(120_000);
    assert_eq!((bench.open(), bench.count("Disassociate")), (0, 2));
}

#[test]
fn a_termination_of_an_instance_that_is_still_shown_on_its_way_into_the_pool_takes_its_node_off() {
    let mut bench = Bench::settled(settings());
    bench.nodes.insert(1);
    bench.terminate_to(1, Place::Ec2);
    bench.set_state(1, Some(LifecycleState::WarmedPendingWait));
    bench.run_for(5_000);
    assert!(bench.completions.is_empty(), "its node would stay: {:?}", bench.reasons());
    bench.set_state(1, Some(LifecycleState::TerminatingWait));
    bench.run_for(30_000);
    assert_eq!((bench.completions.len(), bench.nodes.len()), (1, 0));
}

#[test]
fn a_launch_that_is_not_listed_yet_is_kept_open_while_the_activities_do_not_answer() {
    let mut bench = Bench::settled(settings());
    bench.heartbeat_timeout_s = 30;
    bench.hooks_time_out = true;
    bench.faults.insert("DescribeScalingActivities", Failure::new(Class::Transient, "timeout", "no answer"));
    bench.slow.insert("DescribeScalingActivities", 15_000);
    bench.launch(1);
    bench.set_state(1, None);
    bench.run_for(500);
    bench.set_state(1, Some(LifecycleState::PendingWait));
    bench.run_for(60_000);
    bench.faults.clear();
    bench.slow.clear();
    bench.run_for(120_000);
    assert_eq!((bench.timed_out.len(), bench.completions.len()), (0, 1), "{:?}", bench.reasons());
}

#[test]
fn a_launch_is_given_up_on_no_look_that_is_older_than_its_patience() {
    let mut bench = Bench::settled(settings());
    bench.launch(1);
    bench.set_state(1, None);
    bench.run_for(300);
    // The activities are being asked for, for longer than anything is doubted; meanwhile it is listed.
    bench.slow.insert("DescribeScalingActivities", 100_000);
    bench.run_for(10_000);
    bench.set_state(1, Some(LifecycleState::PendingWait));
    bench.run_for(240_000);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)], "{:?}", bench.reasons());
}
