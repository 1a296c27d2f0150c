//! Sequences that somebody who wants to break the core would try.

use super::bench::{Bench, settings};
use super::{denied, not_ready, timeout};
use crate::core::call::Call;
use crate::core::observation::Outcome;
use crate::facts::{ActionResult, KeyAnswer, LifecycleState, RegistrationStatus, Whereabouts};
use crate::retry::{Class, Failure};

/// What a bad node's orders end with: the association fails, the second chance takes the node off, and it fails again.
pub(super) fn failed_twice() -> Vec<RegistrationStatus> {
    let failed = || RegistrationStatus::Failed("no reason".into());
    vec![failed(), RegistrationStatus::Success, failed()]
}

fn run_until_called(bench: &mut Bench, operation: &str, times: usize) {
    while bench.count(operation) < times {
        bench.run_for(100);
    }
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

#[test]
fn as_many_runs_that_end_in_an_internal_error_as_are_allowed_end_the_launch_and_no_more() {
    let mut bench = Bench::new(settings());
    bench.panicking.insert("Associate", 50);
    bench.launch(1);
    bench.run_for(4 * 3_600_000);
    assert_eq!(bench.outcomes().iter().filter(|outcome| **outcome == Outcome::Released).count(), 9, "{:?}", bench.reasons());
    assert_eq!(bench.reasons().last(), Some(&(Outcome::Abandoned, "internal_error".to_owned())));
    bench.assert_nothing_is_left();
}

#[test]
fn receives_that_no_internal_error_ended_do_not_count_towards_those_that_one_did() {
    let mut bench = Bench::new(settings());
    bench.panicking.insert("Associate", 3);
    bench.launch_received(1, 60);
    bench.run_for(30 * 60_000);
    assert_eq!(bench.outcomes(), [Outcome::Released, Outcome::Released, Outcome::Released, Outcome::Enrolled]);
    bench.assert_nothing_is_left();
}

#[test]
fn a_completion_that_always_ends_in_an_internal_error_is_dead_lettered_a_few_times_and_not_without_end() {
    let mut bench = Bench::new(settings());
    bench.max_receive_count = Some(30);
    bench.panicking.insert("CompleteLifecycleAction", 10_000);
    bench.launch(1);
    bench.run_for(12 * 3_600_000);
    assert!(bench.queue_is_empty());
    assert_eq!(bench.reasons().last(), Some(&(Outcome::DeadLettered, "deliveries_exhausted".to_owned())));
    assert!(bench.letters.len() <= 60, "{} letters", bench.letters.len());
    bench.assert_nothing_is_left();
}

#[test]
fn an_internal_error_on_the_last_receive_that_the_queue_allows_ends_the_launch() {
    let mut bench = Bench::new(settings());
    bench.panicking.insert("Associate", 1);
    bench.launch_received(1, 100);
    bench.run_for(60_000);
    assert_eq!(bench.reasons(), [(Outcome::Abandoned, "internal_error".to_owned())]);
}

#[test]
fn a_launch_that_is_over_does_not_keep_the_next_one_of_its_instance_from_acting() {
    let mut bench = Bench::new(settings());
    bench.faults.insert("CompleteLifecycleAction", timeout());
    bench.launch(1);
    bench.run_for(10_000);
    // It went into its warm pool by a time-out, and leaves it now: it waits again, and for the second action only.
    bench.launch_again(1, 2);
    bench.faults.clear();
    bench.run_for(120_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled; 2]);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
    bench.assert_nothing_is_left();
}

#[test]
fn three_actions_of_one_instance_in_a_row_each_end() {
    for at in [1, 2, 5, 20, 500, 3_000, 8_000] {
        for step in ["DescribeAutoScalingInstances", "GetParameters", "Associate", "AssociationStatus", "CompleteLifecycleAction"] {
            let mut bench = Bench::new(settings());
            bench.in_progress = true;
            bench.slow.insert(step, 7_000);
            bench.launch(1);
            bench.run_for(at);
            bench.launch_again(1, 2);
            bench.run_for(at);
            bench.terminate(1);
            bench.run_for(10 * 60_000);
            assert_eq!(bench.outcomes().len(), 3, "{step} after {at} ms: {:?}", bench.reasons());
            assert!(bench.nodes.is_empty(), "{step} after {at} ms: {:?}", bench.reasons());
            assert!(bench.queue_is_empty());
            bench.assert_nothing_is_left();
        }
    }
}

#[test]
fn a_failed_launch_that_somebody_else_put_in_service_keeps_its_node() {
    let mut bench = Bench::new(settings());
    bench.in_progress = true;
    bench.statuses = failed_twice();
    bench.launch(1);
    bench.slow.insert("CompleteLifecycleAction", 5_000);
    run_until_called(&mut bench, "CompleteLifecycleAction", 1);
    bench.set_state(1, Some(LifecycleState::Living));
    bench.run_for(60_000);
    assert_eq!(bench.count("Disassociate"), 1, "that of the second chance: it lives");
    assert_eq!(bench.outcomes(), [Outcome::Continued]);
    assert_eq!(bench.letter_outcomes(), ["abandoned", "continued"], "and its failure is recorded, and how it came out");
}

#[test]
fn a_failed_launch_whose_instance_vanished_is_taken_off_on_proof_only() {
    for (whereabouts, taken_off) in [(Whereabouts::Terminated, 1), (Whereabouts::Detached, 0), (Whereabouts::Unproven, 0)] {
        let mut bench = Bench::new(settings());
        bench.in_progress = true;
        bench.statuses = failed_twice();
        bench.whereabouts = whereabouts;
        bench.launch(1);
        bench.slow.insert("CompleteLifecycleAction", 5_000);
        run_until_called(&mut bench, "CompleteLifecycleAction", 1);
        bench.set_state(1, None);
        bench.run_for(180_000);
        assert_eq!(bench.count("Disassociate"), 1 + taken_off, "{whereabouts:?}: once for the second chance");
        assert_eq!(bench.outcomes().len(), 1);
        let letters = if whereabouts == Whereabouts::Terminated { 1 } else { 2 };
        assert_eq!(bench.letters.len(), letters, "what turned out after the first letter stands in a second: {whereabouts:?}");
        let owed = bench.letters[letters - 1].attributes.iter().any(|(name, _)| *name == "EnrolldOwed");
        assert_eq!(owed, whereabouts == Whereabouts::Unproven, "{:?}", bench.letters);
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_failed_launch_whose_instance_stays_unclear_is_not_taken_off_and_owes_it() {
    for (state, taken_off) in [(LifecycleState::Unknown, 0), (LifecycleState::PendingProceed, 0), (LifecycleState::TerminatingProceed, 1)] {
        let mut bench = Bench::new(settings());
        bench.in_progress = true;
        bench.statuses = failed_twice();
        bench.launch(1);
        bench.slow.insert("CompleteLifecycleAction", 5_000);
        run_until_called(&mut bench, "CompleteLifecycleAction", 1);
        bench.set_state(1, Some(state));
        bench.run_for(180_000);
        assert_eq!(bench.count("Disassociate"), 1 + taken_off, "{state:?}: once for the second chance");
        assert_eq!(bench.outcomes(), [Outcome::Abandoned]);
        let owed = bench.letters.iter().any(|letter| letter.attributes.iter().any(|(name, _)| *name == "EnrolldOwed"));
        assert_eq!(owed, taken_off == 0, "{state:?}: {:?}", bench.letters);
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_failure_after_a_lost_answer_of_our_own_is_tried_once_more_from_the_start() {
    let mut bench = Bench::new(settings());
    bench.in_progress = true;
    bench.statuses = vec![RegistrationStatus::Success, RegistrationStatus::Success, RegistrationStatus::Failed("exists".into())];
    bench.lost_answers.insert("Associate", 1);
    bench.launch(1);
    bench.run_for(30_000);
    assert_eq!(bench.order_of(&["Associate", "Disassociate"]), ["Associate", "Associate", "Disassociate", "Associate"]);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
}

#[test]
fn a_disassociation_never_overtakes_the_association_that_is_still_on_its_way() {
    let mut settings = settings();
    settings.routes[0].timeout = std::time::Duration::from_secs(20);
    let mut bench = Bench::new(settings);
    bench.slow.insert("Associate", 14_000);
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.launch(1);
    bench.run_for(8_000);
    bench.keys.clear();
    bench.run_for(60_000);
    assert_eq!(bench.completions, [(1, ActionResult::Abandon)]);
    assert!(bench.nodes.is_empty(), "the node is left on the server");
    assert_eq!(bench.outcomes(), [Outcome::Abandoned]);
    bench.assert_nothing_is_left();
}

#[test]
fn an_abandoned_launch_that_is_given_back_says_why_it_was_abandoned() {
    let mut bench = Bench::new(settings());
    bench.in_progress = true;
    bench.statuses = failed_twice();
    bench.launch(1);
    run_until_called(&mut bench, "Associate", 2);
    bench.run_for(500);
    bench.server = Err(not_ready());
    bench.run_for(15_000);
    assert_eq!(bench.completions, [(1, ActionResult::Abandon)]);
    bench.shut_down();
    bench.run_for(25_000);
    assert_eq!(bench.reasons(), [(Outcome::Released, "registrar_failed".to_owned())]);
    assert!(bench.is_done());
    assert_eq!(bench.visible(), 1);
}

#[test]
fn with_two_calls_at_a_time_everything_still_ends() {
    let mut settings = settings();
    settings.max_calls = 2;
    settings.max_open = 7;
    let mut bench = Bench::new(settings);
    bench.heartbeat_timeout_s = 60;
    bench.latency_ms = 20;
    for n in 1..=60 {
        bench.launch(n);
    }
    bench.send("garbage");
    bench.run_for(30 * 60_000);
    assert_eq!(bench.outcomes().len(), 61);
    assert_eq!(bench.completions.len(), 60);
    assert!(bench.queue_is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn on_the_last_receive_that_the_queue_allows_nothing_is_given_back() {
    let mut bench = Bench::new(settings());
    bench.max_receive_count = Some(3);
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.launch_received(1, 3);
    bench.run_for(10_000);
    bench.shut_down();
    bench.run_for(25_000);
    assert_eq!(bench.outcomes(), [Outcome::DeadLettered]);
    assert_eq!(bench.letters[0].attributes[0].1, "deliveries_exhausted");
    assert!(bench.is_done() && bench.queue_is_empty());
}

#[test]
fn a_letter_whose_call_panicked_when_the_grace_was_nearly_over_is_written_before_its_end() {
    for operation in ["SendMessage", "DeleteMessageBatch"] {
        let mut bench = Bench::new(settings());
        bench.max_receive_count = Some(3);
        bench.in_progress = true;
        bench.association_ms = 600_000;
        bench.launch_received(1, 3);
        bench.run_for(10_000);
        bench.panicking.insert(operation, 1);
        bench.shut_down();
        bench.run_for(25_000);
        assert_eq!(bench.letters.len(), 1, "{operation}");
        assert_eq!(bench.letters[0].attributes[0].1, "deliveries_exhausted");
        assert!(bench.is_done() && bench.queue_is_empty(), "{operation}");
    }
}

#[test]
fn an_outage_of_auto_scaling_for_hours_loses_nothing() {
    let mut bench = Bench::settled(settings());
    for n in 1..=20 {
        bench.launch(n);
        bench.terminate(100 + n);
    }
    bench.run_for(3);
    for operation in ["DescribeAutoScalingInstances", "DescribeLifecycleHooks", "RecordLifecycleActionHeartbeat", "CompleteLifecycleAction"]
    {
        bench.faults.insert(operation, timeout());
    }
    bench.run_for(3 * 3_600_000);
    bench.faults.clear();
    bench.run_for(10 * 60_000);
    assert_eq!(bench.completions.len(), 40);
    assert!(bench.queue_is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn a_message_redelivered_while_its_deletion_is_under_way_ends_once() {
    let mut bench = Bench::new(settings());
    bench.faults.insert("ChangeMessageVisibilityBatch", timeout());
    bench.slow.insert("DeleteMessageBatch", 130_000);
    bench.launch(1);
    bench.run_for(125_000);
    bench.slow.clear();
    bench.run_for(600_000);
    assert_eq!(bench.completions.len(), 1);
    assert_eq!(bench.count("Associate"), 1);
    assert!(bench.queue_is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn nothing_irreversible_begins_on_a_lease_that_need_not_outlast_it() {
    let mut bench = Bench::new(settings());
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.faults.insert("ChangeMessageVisibilityBatch", timeout());
    bench.launch(1);
    // The lease ends at 120 s, less a margin, and an order may take 15 s: the key comes between the two.
    bench.run_for(100_000);
    bench.keys.clear();
    bench.run_for(18_000);
    assert!(bench.count("GetParameters") > 0);
    assert_eq!(bench.count("Associate"), 0, "the key was there, and another worker may have the message before the order is through");
    bench.faults.clear();
    bench.run_for(300_000);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
    assert_eq!(bench.count("Associate"), 1);
}

#[test]
fn a_lease_that_is_lost_under_an_association_does_no_harm() {
    let mut bench = Bench::new(settings());
    bench.slow.insert("Associate", 200_000);
    bench.faults.insert("ChangeMessageVisibilityBatch", timeout());
    bench.launch(1);
    bench.run_for(130_000);
    bench.slow.clear();
    bench.faults.clear();
    bench.run_for(300_000);
    assert_eq!(bench.outcomes(), [Outcome::LeaseLost, Outcome::Enrolled]);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
    bench.assert_nothing_is_left();
}

#[test]
fn a_completed_launch_that_is_out_of_sight_for_a_moment_and_waits_again_is_completed() {
    let mut bench = Bench::new(settings());
    bench.faults.insert("CompleteLifecycleAction", Failure::new(Class::Final, "ValidationError", "some other trouble"));
    bench.launch(1);
    bench.run_for(5_000);
    bench.set_state(1, None);
    bench.run_for(40_000);
    bench.set_state(1, Some(LifecycleState::PendingWait));
    bench.run_for(40_000);
    bench.faults.clear();
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
    assert_eq!(bench.count("Associate"), 1);
    bench.assert_nothing_is_left();
}

#[test]
fn what_was_long_in_hand_is_never_hidden_past_twelve_hours_since_it_was_received() {
    let mut bench = Bench::new(settings());
    bench.faults.insert("SendMessage", timeout());
    bench.send("garbage");
    bench.run_for(3 * 3_600_000);
    bench.dead_letter_queue = false;
    bench.run_for(15 * 60_000);
    let hidden = bench.made.iter().find_map(|(at, call)| match call {
        Call::Release { messages } => Some(at + u64::try_from(messages[0].1.as_millis()).unwrap()),
        _ => None,
    });
    let received = bench.made.iter().find(|(_, call)| matches!(call, Call::DeadLetter { .. })).map(|(at, _)| *at).unwrap();
    let hidden = hidden.expect("it was given back") - received;
    assert!((11 * 3_600_000..12 * 3_600_000).contains(&hidden), "{hidden} ms");
}

#[test]
fn a_launch_whose_completion_is_denied_and_whose_hook_ended_is_taken_off_without_being_told_so_by_a_completion() {
    let mut bench = Bench::new(settings());
    bench.heartbeat_timeout_s = 60;
    bench.faults.insert("CompleteLifecycleAction", denied());
    bench.launch(1);
    bench.run_for(10 * 60_000);
    assert!(bench.nodes.contains(&1) && bench.completions.is_empty());
    bench.hooks_time_out = true;
    bench.faults.insert("RecordLifecycleActionHeartbeat", timeout());
    bench.run_for(2 * 60_000);
    assert_eq!(bench.timed_out, [1]);
    bench.faults.remove("RecordLifecycleActionHeartbeat");
    bench.run_for(2 * 60_000);
    assert_eq!(bench.outcomes(), [Outcome::Stale]);
    assert!(bench.nodes.is_empty());
}
