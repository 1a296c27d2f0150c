//! Messages that repeat an action in hand, and say of it what its own message does not: that somebody had it before.

use super::bench::{Bench, settings};
use super::denied;
use crate::core::observation::Outcome;
use crate::facts::{ActionResult, KeyAnswer};

fn refused_key() -> KeyAnswer {
    KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false }
}

/// What was taken off the registrar, once each.
fn taken_off(bench: &Bench) -> usize {
    bench.count("Disassociate")
}

#[test]
fn a_duplicate_that_was_received_before_says_that_an_earlier_run_may_have_associated_the_node() {
    let mut bench = Bench::new(settings());
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.nodes.insert(1);
    bench.launch(1);
    bench.run_for(1_000);
    bench.duplicate_received(1, 2);
    bench.run_for(1_000);
    bench.keys.insert(1, refused_key());
    bench.run_for(60_000);
    assert_eq!(bench.completions, [(1, ActionResult::Abandon)]);
    assert_eq!(taken_off(&bench), 1);
    assert!(bench.nodes.is_empty(), "the node of an abandoned launch stayed");
    assert_eq!(bench.outcomes(), [Outcome::Abandoned]);
    bench.assert_nothing_is_left();
}

#[test]
fn a_duplicate_that_was_never_received_takes_nothing_off() {
    let mut bench = Bench::new(settings());
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.launch(1);
    bench.run_for(1_000);
    bench.duplicate(1);
    bench.run_for(1_000);
    bench.keys.insert(1, refused_key());
    bench.run_for(60_000);
    assert_eq!((taken_off(&bench), bench.completions.len()), (0, 1));
}

#[test]
fn a_duplicate_that_was_received_before_is_heeded_while_the_launch_is_being_abandoned() {
    for operation in ["SendMessage", "CompleteLifecycleAction", "DeleteMessageBatch"] {
        let mut bench = Bench::new(settings());
        bench.keys.insert(1, refused_key());
        bench.nodes.insert(1);
        bench.slow.insert(operation, 5_000);
        bench.launch(1);
        while bench.count(operation) == 0 {
            bench.run_for(10);
        }
        bench.duplicate_received(1, 2);
        bench.run_for(60_000);
        assert_eq!(bench.completions, [(1, ActionResult::Abandon)], "{operation}");
        assert!(bench.nodes.is_empty(), "{operation}: the node of an abandoned launch stayed");
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_message_that_another_worker_had_meanwhile_says_so_when_it_comes_back() {
    let mut bench = Bench::new(settings());
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.nodes.insert(1);
    bench.launch(1);
    bench.run_for(1_000);
    bench.deliver_again(2);
    bench.run_for(1_000);
    bench.keys.insert(1, refused_key());
    bench.run_for(60_000);
    assert_eq!((taken_off(&bench), bench.nodes.len()), (1, 0));
}

#[test]
fn an_order_that_is_refused_does_not_take_back_what_a_duplicate_said() {
    let mut bench = Bench::new(settings());
    bench.slow.insert("Associate", 5_000);
    bench.nodes.insert(1);
    bench.faults.insert("Associate", denied());
    bench.launch(1);
    while bench.count("Associate") == 0 {
        bench.run_for(10);
    }
    bench.duplicate_received(1, 2);
    bench.run_for(31 * 60_000);
    bench.faults.clear();
    bench.run_for(10 * 60_000);
    assert_eq!(bench.completions, [(1, ActionResult::Abandon)]);
    assert!(bench.nodes.is_empty(), "the node of an abandoned launch stayed");
    bench.assert_nothing_is_left();
}
