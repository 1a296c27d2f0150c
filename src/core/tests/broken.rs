//! Sequences that somebody who wants to break the core would try.

use super::bench::{Bench, settings};
use super::not_ready;
use crate::core::observation::Outcome;
use crate::facts::{ActionResult, KeyAnswer, LifecycleState, RegistrationStatus, Whereabouts};
use crate::retry::{Class, Failure};

fn denied() -> Failure {
    Failure::new(Class::RouteFault, "AccessDenied", "not you")
}

fn expired() -> Failure {
    Failure::new(Class::RouteFault, "ExpiredToken", "the token is expired")
}

fn timeout() -> Failure {
    Failure::new(Class::Transient, "timeout", "no answer")
}

#[test]
fn a_dead_letter_whose_queue_is_taken_away_meanwhile_is_not_waited_for_without_end() {
    let mut bench = Bench::new(settings());
    bench.faults.insert("SendMessage", timeout());
    bench.send("garbage");
    bench.launch(1);
    bench.keys.insert(1, KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false });
    bench.run_for(60_000);
    bench.dead_letter_queue = false;
    bench.run_for(15 * 60_000);
    bench.faults.clear();
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::LeftInQueue, Outcome::Abandoned]);
    bench.assert_nothing_is_left();
}

#[test]
fn a_dead_letter_whose_call_panicked_is_written_again() {
    let mut bench = Bench::new(settings());
    bench.panicking.insert("SendMessage", 1);
    bench.send("garbage");
    bench.run_for(120_000);
    assert_eq!(bench.outcomes(), [Outcome::DeadLettered]);
    assert_eq!(bench.letters.len(), 1);
    bench.assert_nothing_is_left();
}

#[test]
fn a_letter_that_cannot_be_written_for_twelve_hours_lets_its_message_go_and_is_written_later() {
    let mut bench = Bench::new(settings());
    bench.faults.insert("SendMessage", denied());
    bench.send("garbage");
    bench.run_for(25 * 3_600_000);
    assert_eq!(bench.outcomes(), [Outcome::LeaseLost; 2], "once in each twelve hours");
    bench.faults.clear();
    bench.run_for(120_000);
    assert_eq!(bench.letters.len(), 1);
    assert!(bench.queue_is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn an_enrolled_launch_whose_message_cannot_be_deleted_for_hours_has_one_result_and_no_other() {
    let mut bench = Bench::new(settings());
    bench.launch(1);
    bench.faults.insert("DeleteMessageBatch", timeout());
    bench.faults.insert("ChangeMessageVisibilityBatch", timeout());
    bench.run_for(3 * 3_600_000);
    bench.faults.clear();
    bench.run_for(120_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
    assert!(bench.queue_is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn an_outage_of_sqs_for_hours_costs_leases_and_no_action() {
    let mut bench = Bench::new(settings());
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.launch(1);
    bench.launch(2);
    bench.run_for(10_000);
    for operation in ["ReceiveMessage", "ChangeMessageVisibilityBatch", "DeleteMessageBatch", "SendMessage", "GetQueueAttributes"] {
        bench.faults.insert(operation, timeout());
    }
    bench.launch(3);
    bench.run_for(3 * 3_600_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled, Outcome::LeaseLost]);
    bench.faults.clear();
    bench.keys.clear();
    bench.run_for(300_000);
    assert_eq!(bench.outcomes()[2..], [Outcome::Enrolled; 2]);
    assert!(bench.queue_is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn heartbeats_go_on_while_a_completion_that_is_called_closed_is_tried_again() {
    let mut bench = Bench::new(settings());
    bench.heartbeat_timeout_s = 60;
    bench.slow.insert("DescribeAutoScalingInstances", 20_000);
    bench.faults.insert("CompleteLifecycleAction", Failure::new(Class::Final, "ValidationError", "some other trouble"));
    bench.launch(1);
    bench.run_for(20 * 60_000);
    let longest = bench.beats.windows(2).map(|pair| pair[1].1 - pair[0].1).max().unwrap_or(u64::MAX);
    assert!(longest < 60_000 && bench.now() - bench.beats.last().unwrap().1 < 60_000, "{longest} {:?}", bench.beats);
}

#[test]
fn an_event_from_the_future_is_kept_open_like_any_other() {
    let mut bench = Bench::new(settings());
    bench.heartbeat_timeout_s = 60;
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.launch_in_future(1, 3_600_000);
    bench.run_for(120_000);
    assert!(bench.beats.len() >= 3, "{:?}", bench.beats);
}

#[test]
fn a_run_that_ended_in_an_internal_error_is_taken_up_again_before_its_hook_times_out() {
    let mut bench = Bench::new(settings());
    bench.heartbeat_timeout_s = 60;
    bench.panicking.insert("Associate", 6);
    bench.launch(1);
    bench.run_for(30 * 60_000);
    assert_eq!(bench.outcomes().last(), Some(&Outcome::Enrolled));
    let longest = bench.beats.windows(2).map(|pair| pair[1].1 - pair[0].1).max().unwrap_or(0);
    assert!(longest < 60_000, "{longest} {:?}", bench.beats);
}
