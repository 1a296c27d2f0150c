//! What a launch's time ends, and on what it is decided: its instance is looked at once more before.

use std::time::Duration;

use super::bench::{Bench, Repeated, settings};
use super::{not_ready, timeout};
use crate::core::observation::Outcome;
use crate::core::samples;
use crate::core::settings::Settings;
use crate::event::Transition;
use crate::facts::{ActionResult, KeyAnswer, LifecycleState, Whereabouts};
use crate::retry::Schedule;

/// Hooks that last for much longer than the route's time: no heartbeat tells that the action is over.
fn quick() -> Settings {
    let mut settings = settings();
    settings.routes[0].timeout = Duration::from_secs(600);
    settings
}

const MINUTE_MS: u64 = 60_000;

/// A launch that waits for its key.
fn waits_for_its_key(bench: &mut Bench, n: u32) {
    bench.keys.insert(n, KeyAnswer::Absent);
    bench.launch(n);
}

/// Another worker, or Auto Scaling itself, ends the launch, and nobody is told.
fn is_over(bench: &mut Bench, n: u32, state: Option<LifecycleState>) {
    bench.closed_tokens.insert(samples::claim(Transition::Launching, n).token);
    bench.set_state(n, state);
}

#[test]
fn a_launch_whose_instance_was_terminated_or_went_into_service_meanwhile_is_not_called_abandoned_when_its_time_is_over() {
    let fates =
        [(None, "terminated"), (Some(LifecycleState::TerminatingProceed), "terminating"), (Some(LifecycleState::Living), "in_service")];
    for waits_for_server in [false, true] {
        for (fate, reason) in fates {
            let mut bench = Bench::new(quick());
            bench.whereabouts = Whereabouts::Terminated;
            if waits_for_server {
                bench.server = Err(not_ready());
                bench.launch(1);
            } else {
                waits_for_its_key(&mut bench, 1);
            }
            bench.run_for(9 * MINUTE_MS);
            is_over(&mut bench, 1, fate);
            bench.run_for(3 * MINUTE_MS);
            bench.server = Ok(());
            bench.run_for(3 * MINUTE_MS);
            assert_eq!(bench.reasons(), [(Outcome::Stale, reason.to_owned())], "{fate:?}, {waits_for_server}");
            assert_eq!((bench.letters.len(), bench.count("CompleteLifecycleAction")), (0, 0), "{fate:?}, {waits_for_server}");
        }
    }
}

#[test]
fn launches_that_were_over_before_their_time_are_no_fault_of_their_route() {
    let mut bench = Bench::new(quick());
    bench.whereabouts = Whereabouts::Terminated;
    for n in 1..=20 {
        waits_for_its_key(&mut bench, n);
    }
    bench.run_for(9 * MINUTE_MS);
    for n in 1..=20 {
        is_over(&mut bench, n, None);
    }
    waits_for_its_key(&mut bench, 21);
    bench.run_for(11 * MINUTE_MS);
    assert_eq!(bench.completions, [(21, ActionResult::Abandon)], "the one that waits in vain is not held for those that did not");
    bench.assert_nothing_is_left();
}

#[test]
fn a_launch_that_waits_still_is_given_up_when_its_time_is_over_whether_or_not_it_can_be_looked_at() {
    for blind in [false, true] {
        let mut bench = Bench::new(quick());
        waits_for_its_key(&mut bench, 1);
        bench.run_for(9 * MINUTE_MS);
        let before = bench.count("DescribeAutoScalingInstances");
        assert_eq!(before, 1, "what only waits is not looked at all the time");
        if blind {
            bench.faults.insert("DescribeAutoScalingInstances", timeout());
        }
        bench.run_for(3 * MINUTE_MS);
        assert_eq!(bench.completions, [(1, ActionResult::Abandon)], "{blind}");
        assert_eq!(bench.letter_attribute("EnrolldStep"), ["key"], "{blind}: where it waited");
        // What has become of it is seen once it can be.
        bench.faults.clear();
        bench.run_for(3 * MINUTE_MS);
        assert_eq!(bench.reasons(), [(Outcome::Abandoned, "deadline".to_owned())], "{blind}");
        let looks = bench.count("DescribeAutoScalingInstances");
        assert!(blind || looks <= 3, "once more, once after it was given up, and not again and again: {looks}");
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_launch_that_another_completed_and_whose_instance_waits_for_another_hook_is_not_given_up_for_its_time() {
    let mut bench = Bench::settled(quick());
    bench.other_hook = true;
    waits_for_its_key(&mut bench, 1);
    bench.run_for(9 * MINUTE_MS);
    is_over(&mut bench, 1, Some(LifecycleState::PendingWait));
    bench.run_for(5 * MINUTE_MS);
    assert_eq!((bench.letters.len(), bench.completions.len()), (0, 0), "{:?}", bench.reasons());
    bench.set_state(1, Some(LifecycleState::Living));
    bench.run_for(2 * MINUTE_MS);
    assert_eq!(bench.reasons(), [(Outcome::Stale, "completed".to_owned())]);
    bench.assert_nothing_is_left();
}

#[test]
fn a_time_that_is_over_while_another_worker_may_complete_the_launch_cuts_no_second_chance_short() {
    let mut settings = quick();
    // Another worker may see so late that its order has succeeded.
    settings.routes[0].status_poll = Schedule::doubling(Duration::from_secs(1), Duration::from_secs(30));
    let mut bench = Bench::new(settings);
    bench.repeated = Repeated::Failed;
    // So many have failed that the next is held when its time is over.
    for n in 1..=5 {
        bench.keys.insert(n, KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false });
        bench.launch(n);
    }
    waits_for_its_key(&mut bench, 6);
    bench.run_for(572_000);
    assert_eq!((bench.completions.len(), bench.count("Associate")), (5, 0));
    // Another worker associated it just now, and so the order fails here.
    bench.nodes.insert(6);
    bench.keys.remove(&6);
    while bench.count("Associate") == 0 {
        bench.run_for(100);
    }
    assert!(bench.now() < 585_000, "{}", bench.now());
    bench.run_for(600_500 - bench.now());
    assert_eq!(bench.count("Disassociate"), 0, "its time is over, and the pause is not");
    is_over(&mut bench, 6, Some(LifecycleState::Living));
    bench.run_for(2 * MINUTE_MS);
    assert_eq!((bench.count("Disassociate"), bench.nodes.contains(&6)), (0, true), "{:?}", bench.reasons());
    bench.assert_nothing_is_left();
}
