//! Launches that Auto Scaling has not shown yet, since it denies or fails what would show them: they are kept open meanwhile.

use super::bench::{Bench, settings};
use super::{denied, timeout};
use crate::core::observation::Outcome;
use crate::facts::LifecycleState;

#[test]
fn what_auto_scaling_does_not_show_is_kept_open_by_its_token_until_it_does() {
    for heartbeat_timeout_s in [30, 60, 3600] {
        for operation in ["DescribeAutoScalingInstances", "DescribeLifecycleHooks"] {
            for fault in [denied(), timeout()] {
                let mut bench = Bench::new(settings());
                bench.hooks_time_out = true;
                bench.heartbeat_timeout_s = heartbeat_timeout_s;
                bench.faults.insert(operation, fault.clone());
                for n in 1..=10 {
                    bench.launch(n);
                    bench.terminate(100 + n);
                }
                bench.run_for(20 * 60_000);
                assert!(bench.timed_out.is_empty(), "{operation}, {fault}: {:?}", bench.timed_out);
                assert!(bench.completions.is_empty());
                bench.faults.clear();
                bench.run_for(10 * 60_000);
                let outcomes = bench.outcomes();
                assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Enrolled).count(), 10, "{operation}, {fault}");
                assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Left).count(), 10, "{operation}, {fault}");
                bench.assert_nothing_is_left();
            }
        }
    }
}

#[test]
fn a_launch_whose_group_is_known_is_kept_open_at_its_own_hooks_pace() {
    let mut bench = Bench::new(settings());
    bench.hooks_time_out = true;
    bench.launch(1);
    bench.run_for(10_000);
    bench.faults.insert("DescribeAutoScalingInstances", denied());
    bench.launch(2);
    bench.run_for(25 * 60_000);
    assert_eq!(bench.beats.iter().filter(|(n, _)| *n == 2).count(), 0, "{:?}", bench.beats);
    bench.run_for(10 * 60_000);
    assert!((1..=2).contains(&bench.beats.iter().filter(|(n, _)| *n == 2).count()), "{:?}", bench.beats);
    assert!(bench.timed_out.is_empty(), "{:?}", bench.timed_out);
}

#[test]
fn a_hook_whose_time_out_was_made_shorter_a_minute_ago_ends_no_launch() {
    let mut bench = Bench::new(settings());
    bench.hooks_time_out = true;
    bench.heartbeat_timeout_s = 3600;
    bench.launch(1);
    bench.run_for(10_000);
    bench.heartbeat_timeout_s = 60;
    bench.run_for(60_000);
    bench.keys.insert(2, crate::facts::KeyAnswer::Absent);
    bench.launch(2);
    bench.run_for(10 * 60_000);
    assert!(bench.timed_out.is_empty(), "{:?}", bench.timed_out);
}

#[test]
fn a_launch_that_is_seen_at_once_costs_no_heartbeat_before_its_own_time() {
    let mut bench = Bench::new(settings());
    bench.heartbeat_timeout_s = 3600;
    bench.keys.insert(1, crate::facts::KeyAnswer::Absent);
    bench.launch(1);
    bench.run_for(25 * 60_000);
    assert_eq!(bench.beats, []);
}

#[test]
fn an_event_that_auto_scaling_does_not_bear_out_is_kept_open_no_longer_than_it_is_looked_into() {
    let mut bench = Bench::new(settings());
    bench.launch(1);
    bench.set_state(1, None);
    bench.run_for(120_000);
    assert_eq!(bench.outcomes(), [Outcome::DeadLettered]);
    let last = bench.beats.last().map_or(0, |(_, at)| *at);
    assert!(bench.beats.len() <= 4 && last <= 66_000, "{:?}", bench.beats);
}

#[test]
fn what_auto_scaling_never_showed_completes_nothing_and_deletes_no_key_when_its_time_is_over() {
    for fault in [denied(), timeout()] {
        let mut bench = Bench::new(settings());
        bench.faults.insert("DescribeAutoScalingInstances", fault.clone());
        // Claims about an instance that waits for its launch, and about one that rests in the warm pool.
        for (n, state) in [(1, LifecycleState::PendingWait), (2, LifecycleState::Pooled)] {
            bench.terminate(n);
            bench.set_state(n, Some(state));
        }
        bench.run_for(45 * 60_000);
        bench.faults.clear();
        bench.run_for(10 * 60_000);
        assert!(bench.completions.is_empty(), "{fault}: {:?}", bench.completions);
        assert!(bench.deleted.is_empty(), "{fault}: {:?}", bench.deleted);
        assert_eq!(bench.count("Disassociate"), 0, "{fault}");
        assert_eq!(bench.letters.len(), 2, "{fault}: what may be owed is written down");
    }
}

#[test]
fn a_launch_that_waits_in_the_warm_pools_state_is_kept_open_while_its_activities_cannot_be_read() {
    let mut bench = Bench::new(settings());
    bench.heartbeat_timeout_s = 30;
    bench.hooks_time_out = true;
    bench.whereabouts = crate::facts::Whereabouts::EntersPool;
    bench.faults.insert("DescribeScalingActivities", timeout());
    bench.launch_into_pool(1);
    bench.run_for(5 * 60_000);
    assert!(bench.timed_out.is_empty() && bench.beats.len() >= 10, "{:?}", bench.beats);
    bench.faults.clear();
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
}

#[test]
fn a_hook_that_was_shortened_is_asked_for_again_once_it_has_ended_a_launch() {
    let mut bench = Bench::new(settings());
    for n in 1..=3 {
        bench.keys.insert(n, crate::facts::KeyAnswer::Absent);
    }
    bench.heartbeat_timeout_s = 3600;
    bench.launch(1);
    bench.run_for(10_000);
    bench.heartbeat_timeout_s = 60;
    bench.hooks_time_out = true;
    bench.launch(2);
    bench.run_for(90_000);
    assert!(bench.timed_out.contains(&2), "what is known of a hook is believed for a while");
    bench.terminate(2);
    bench.run_for(10_000);
    bench.launch(3);
    bench.run_for(5 * 60_000);
    assert!(!bench.timed_out.contains(&3), "{:?}", bench.timed_out);
}
