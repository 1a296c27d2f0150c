//! What stands on record when a worker dies: a result before the message goes, a letter before the action is closed.

use super::bench::{Bench, settings};
use super::{denied, timeout};
use crate::core::observation::Outcome;
use crate::facts::{ActionResult, KeyAnswer};

fn refused() -> KeyAnswer {
    KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false }
}

#[test]
fn a_result_is_recorded_once_and_before_its_message_is_deleted() {
    let mut bench = Bench::new(settings());
    bench.faults.insert("DeleteMessageBatch", timeout());
    bench.launch(1);
    bench.run_for(10_000);
    assert!(!bench.queue_is_empty());
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
    bench.faults.clear();
    bench.run_for(60_000);
    assert!(bench.queue_is_empty());
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
    bench.assert_nothing_is_left();
}

#[test]
fn a_failed_launch_has_its_letter_before_it_is_abandoned() {
    let mut bench = Bench::new(settings());
    bench.keys.insert(1, refused());
    bench.launch(1);
    bench.run_for(10_000);
    let order = bench.order_of(&["SendMessage", "CompleteLifecycleAction", "DeleteMessageBatch"]);
    assert_eq!(order, ["SendMessage", "CompleteLifecycleAction", "DeleteMessageBatch"]);
    assert_eq!(bench.letter_outcomes(), ["abandoned"]);
}

#[test]
fn a_termination_whose_node_stays_has_its_letter_before_it_is_let_go() {
    let mut bench = Bench::new(settings());
    bench.refused_node = Some((1, crate::retry::Failure::new(crate::retry::Class::Final, "ValidationException", "no")));
    bench.terminate(1);
    bench.run_for(10_000);
    assert_eq!(bench.order_of(&["SendMessage", "CompleteLifecycleAction"]), ["SendMessage", "CompleteLifecycleAction"]);
    assert_eq!(bench.letter_outcomes(), ["left_behind"]);
}

#[test]
fn a_letter_that_cannot_be_written_keeps_nobody_waiting_and_is_written_when_it_can() {
    for fault in [timeout(), denied()] {
        let mut bench = Bench::new(settings());
        bench.faults.insert("SendMessage", fault);
        bench.keys.insert(1, refused());
        bench.launch(1);
        bench.run_for(20_000);
        assert_eq!(bench.completions, [(1, ActionResult::Abandon)], "after the time of one call");
        assert!(bench.outcomes().is_empty(), "its result does not stand before its letter does");
        bench.run_for(600_000);
        bench.faults.clear();
        bench.run_for(600_000);
        assert_eq!(bench.outcomes(), [Outcome::Abandoned]);
        assert_eq!(bench.letter_outcomes(), ["abandoned"]);
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_launch_whose_letter_is_under_way_at_a_shutdown_is_given_back_and_decided_anew() {
    let mut settings = settings();
    settings.grace = std::time::Duration::from_secs(5);
    let mut bench = Bench::new(settings);
    bench.slow.insert("SendMessage", 14_000);
    bench.keys.insert(1, refused());
    bench.launch(1);
    bench.run_for(2_000);
    bench.shut_down();
    bench.run_for(6_000);
    assert!(bench.is_done());
    assert_eq!(bench.reasons(), [(Outcome::Released, "not_pem".to_owned())]);
    assert!(bench.completions.is_empty());
    assert_eq!(bench.visible(), 1);
}
