//! The core against hand-made services, under virtual time: one behaviour a test.

pub(super) mod bench;
mod broken;
mod certificates;
mod chaos;
mod deadlines;
mod duplicates;
mod forged;
mod key_reads;
mod lagging;
mod leases;
mod other_hooks;
mod outages;
mod owed;
mod panics;
mod quotas;
mod receiving;
mod records;
mod repeated;
mod scopes;
mod storms;
mod trips;
mod unseen;

use std::time::Duration;

use super::observation::Outcome;
use super::settings::{KeySource, OnFailure};
use crate::event::Place;
use crate::event::Transition::{Launching, Terminating};
use crate::facts::{ActionResult, KeyAnswer, LifecycleState, RegistrationStatus, Whereabouts};
use crate::retry::{Class, Failure};
use bench::{Bench, settings};
pub(super) use trips::Trips;

fn not_ready() -> Failure {
    Failure::new(Class::NotReady, "InvalidStateException", "the server is UNDER_MAINTENANCE")
}

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
fn a_launch_is_enrolled_completed_and_only_then_deleted() {
    let mut bench = Bench::new(settings());
    bench.launch(1);
    bench.run_for(10_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
    let order = bench.order_of(&["Associate", "CompleteLifecycleAction", "DeleteMessageBatch"]);
    assert_eq!(order, ["Associate", "CompleteLifecycleAction", "DeleteMessageBatch"]);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
    assert!(bench.queue_is_empty());
}

#[test]
fn a_termination_is_taken_off_before_it_is_completed() {
    let mut bench = Bench::new(settings());
    bench.terminate(1);
    bench.run_for(10_000);
    assert_eq!(bench.outcomes(), [Outcome::Left]);
    assert_eq!(bench.order_of(&["Disassociate", "CompleteLifecycleAction"]), ["Disassociate", "CompleteLifecycleAction"]);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
}

#[test]
fn a_server_under_maintenance_costs_one_probe_however_many_wait_and_all_are_served_after_it() {
    let mut bench = Bench::new(settings());
    bench.server = Err(not_ready());
    for n in 1..=200 {
        bench.launch(n);
    }
    bench.run_for(5_000);
    let before = bench.count("Associate") + bench.count("CheckHealth");
    bench.run_for(60_000);
    let probes = bench.count("Associate") + bench.count("CheckHealth") - before;
    assert!(probes <= 2 * 60, "{probes} calls in a minute");
    assert!(bench.completions.is_empty());
    bench.server = Ok(());
    bench.run_for(60_000);
    assert_eq!(bench.outcomes().len(), 200);
    assert!(bench.outcomes().iter().all(|outcome| *outcome == Outcome::Enrolled));
}

#[test]
fn a_launch_is_kept_open_by_heartbeats_and_its_message_by_extensions() {
    let mut bench = Bench::new(settings());
    bench.heartbeat_timeout_s = 60;
    bench.server = Err(not_ready());
    bench.launch(1);
    bench.run_for(600_000);
    assert!(bench.count("RecordLifecycleActionHeartbeat") >= 19, "{}", bench.count("RecordLifecycleActionHeartbeat"));
    assert!(bench.count("RecordLifecycleActionHeartbeat") <= 24, "{}", bench.count("RecordLifecycleActionHeartbeat"));
    assert_eq!(bench.redeliveries, 0);
    bench.server = Ok(());
    bench.run_for(30_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
}

#[test]
fn the_key_is_waited_for_and_an_unusable_one_abandons_the_launch() {
    let mut bench = Bench::new(settings());
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.keys.insert(2, KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false });
    bench.launch(1);
    bench.launch(2);
    bench.run_for(30_000);
    assert_eq!(bench.outcomes(), [Outcome::Abandoned]);
    assert_eq!(bench.completions, [(2, ActionResult::Abandon)]);
    assert_eq!(bench.letters[0].attributes[0], ("EnrolldReason", "not_pem".to_owned()));
    assert_eq!(bench.count("Associate"), 0);
    bench.keys.remove(&1);
    bench.run_for(30_000);
    assert_eq!(bench.outcomes(), [Outcome::Abandoned, Outcome::Enrolled]);
}

#[test]
fn a_command_that_fails_is_sent_anew_until_the_key_is_there_or_the_time_is_over() {
    for (failing, outcome) in [(3, Outcome::Enrolled), (u32::MAX, Outcome::Abandoned)] {
        let mut settings = settings();
        settings.routes[0].key = KeySource::RunCommand;
        let mut bench = Bench::new(settings);
        bench.failing_commands = failing;
        bench.launch(1);
        bench.run_for(2_000_000);
        assert_eq!(bench.outcomes(), [outcome]);
        assert!(bench.calls.iter().filter(|call| **call == "SendCommand").count() > 3);
        if outcome == Outcome::Abandoned {
            assert!(bench.letters[0].attributes.iter().any(|(_, value)| value.contains("command_failed")), "{:?}", bench.letters[0]);
        }
    }
}

#[test]
fn a_route_may_let_a_failed_launch_continue_with_the_failure_recorded() {
    let mut settings = settings();
    settings.routes[0].on_failure = OnFailure::Continue;
    let mut bench = Bench::new(settings);
    bench.keys.insert(1, KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false });
    bench.launch(1);
    bench.run_for(10_000);
    assert_eq!(bench.outcomes(), [Outcome::Continued]);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
    assert_eq!(bench.letters.len(), 1);
}

#[test]
fn a_launch_whose_time_is_over_is_abandoned_with_the_last_trouble_as_its_reason() {
    let mut bench = Bench::new(settings());
    bench.server = Err(not_ready());
    bench.launch(1);
    bench.run_for(31 * 60_000);
    assert_eq!(bench.outcomes(), [Outcome::Abandoned]);
    assert_eq!(bench.count("Disassociate"), 0, "a server that refused it has nothing to take off");
    assert_eq!(bench.letters[0].attributes[0].1, "deadline");
    assert!(bench.letters[0].attributes.iter().any(|(_, value)| value.contains("UNDER_MAINTENANCE")), "{:?}", bench.letters[0]);
}

#[test]
fn a_duplicate_waits_for_the_result_of_the_first_and_goes_with_it() {
    let mut bench = Bench::new(settings());
    bench.launch(1);
    bench.duplicate(1);
    bench.run_for(10_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
    assert_eq!(bench.count("Associate"), 1);
    assert!(bench.queue_is_empty());
}

#[test]
fn a_launch_that_is_in_service_is_stale_and_one_that_is_gone_is_taken_off_first() {
    let mut bench = Bench::new(settings());
    bench.launch(1);
    bench.set_state(1, Some(LifecycleState::Living));
    bench.launch(2);
    bench.set_state(2, Some(LifecycleState::TerminatingWait));
    bench.launch(3);
    bench.set_state(3, None);
    bench.whereabouts = Whereabouts::Terminated;
    bench.run_for(20_000);
    assert_eq!(bench.outcomes(), [Outcome::Stale; 3]);
    assert_eq!(bench.count("Disassociate"), 2);
    assert!(bench.completions.is_empty());
    assert!(bench.queue_is_empty());
}

#[test]
fn a_forged_termination_removes_nothing_and_is_dead_lettered_as_unproven() {
    let mut bench = Bench::new(settings());
    for (n, state) in [(1, Some(LifecycleState::Living)), (2, Some(LifecycleState::Detached)), (3, None)] {
        bench.terminate(n);
        bench.set_state(n, state);
    }
    // That it says to lead into the warm pool proves nothing.
    for (n, state) in [(4, LifecycleState::Living), (5, LifecycleState::Detached), (6, LifecycleState::PendingWait)] {
        bench.terminate_to(n, Place::WarmPool);
        bench.set_state(n, Some(state));
    }
    bench.run_for(120_000);
    assert_eq!(bench.outcomes(), [Outcome::DeadLettered; 6]);
    assert!(bench.letters.iter().all(|letter| letter.attributes[0].1 == "unproven"), "{:?}", bench.letters);
    assert_eq!(bench.count("Disassociate") + bench.count("CompleteLifecycleAction"), 0);
}

#[test]
fn an_instance_that_returns_to_the_warm_pool_keeps_its_association() {
    let mut bench = Bench::new(settings());
    bench.terminate(1);
    bench.set_state(1, Some(LifecycleState::WarmedPendingWait));
    bench.run_for(10_000);
    assert_eq!(bench.outcomes(), [Outcome::Kept]);
    assert_eq!(bench.count("Disassociate"), 0);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
    // Its notification comes once more when it is in the pool.
    let mut bench = Bench::new(settings());
    bench.terminate_to(1, Place::WarmPool);
    bench.set_state(1, Some(LifecycleState::Pooled));
    bench.run_for(120_000);
    assert_eq!(bench.reasons(), [(Outcome::Stale, "in_pool".to_owned())]);
    // And once more when it is out of it again.
    let mut bench = Bench::new(settings());
    bench.whereabouts = Whereabouts::Returned;
    bench.terminate_to(1, Place::WarmPool);
    bench.set_state(1, Some(LifecycleState::Living));
    bench.run_for(120_000);
    assert_eq!(bench.reasons(), [(Outcome::Stale, "in_pool".to_owned())]);
}

#[test]
fn a_body_that_is_no_notification_stands_in_the_dead_letter_queue_unchanged() {
    let mut bench = Bench::new(settings());
    bench.send("{\"half\":");
    bench.launch(1);
    bench.run_for(10_000);
    assert_eq!(bench.outcomes().len(), 2);
    assert_eq!(bench.letters[0].body.as_str(), "{\"half\":");
    assert_eq!(bench.letters[0].attributes[0].1, "not_json");
    assert!(bench.queue_is_empty());
}

#[test]
fn without_a_dead_letter_queue_nothing_undecodable_is_deleted() {
    let mut bench = Bench::new(settings());
    bench.dead_letter_queue = false;
    bench.send("garbage");
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::LeftInQueue]);
    assert!(!bench.queue_is_empty());
    assert_eq!(bench.redeliveries, 0, "and it does not come back all the time");
}

#[test]
fn a_lost_answer_to_the_completion_counts_once_the_instance_is_out_of_its_waiting_state() {
    let mut bench = Bench::new(settings());
    bench.lose_completions = 1;
    bench.launch(1);
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
}

#[test]
fn an_action_that_is_completed_elsewhere_by_termination_takes_its_node_off_again() {
    let mut bench = Bench::new(settings());
    bench.launch(1);
    bench.close(1, LifecycleState::TerminatingWait);
    bench.run_for(30_000);
    assert_eq!(bench.outcomes(), [Outcome::Stale]);
    assert_eq!(bench.order_of(&["Associate", "Disassociate"]), ["Associate", "Disassociate"]);
}

#[test]
fn a_shutdown_waits_for_nothing_that_is_denied_to_all() {
    for operation in ["DescribeAutoScalingInstances", "DescribeLifecycleHooks", "GetParameters"] {
        let mut bench = Bench::new(settings());
        bench.faults.insert(operation, denied());
        for n in 1..=20 {
            bench.launch(n);
        }
        bench.run_for(60_000);
        bench.shut_down();
        bench.run_for(3_000);
        assert_eq!(bench.open(), 0, "{operation}: it is another worker's, which may be allowed to");
        assert!(bench.completions.is_empty());
    }
}

#[test]
fn a_shutdown_gives_back_what_waits_and_ends_what_can_end() {
    let mut bench = Bench::new(settings());
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.launch(1);
    bench.run_for(3_000);
    bench.launch(2);
    bench.run_for(3);
    bench.shut_down();
    bench.run_for(5_000);
    assert!(bench.is_done());
    let mut outcomes = bench.outcomes();
    outcomes.sort_by_key(|outcome| outcome.as_str());
    assert_eq!(outcomes, [Outcome::Enrolled, Outcome::Released]);
    assert_eq!(bench.visible(), 1, "the one given back is there for another worker at once");
}

#[test]
fn one_bad_member_of_a_batch_is_found_by_halving_and_only_it_fails() {
    let mut bench = Bench::new(settings());
    bench.latency_ms = 50;
    bench.poison.insert("GetParameters", (7, Failure::new(Class::Final, "ValidationException", "a bad name")));
    for n in 1..=30 {
        bench.launch(n);
    }
    bench.run_for(60_000);
    let outcomes = bench.outcomes();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Enrolled).count(), 29);
    assert_eq!(bench.completions.iter().filter(|(_, result)| *result == ActionResult::Abandon).count(), 1);
    assert!(bench.completions.contains(&(7, ActionResult::Abandon)));
}

#[test]
fn a_member_that_makes_its_batch_fail_as_if_it_would_pass_is_found_too() {
    for operation in ["GetParameters", "DescribeAutoScalingInstances"] {
        // What a call takes that is never answered, and one that is answered with a 500.
        for (takes_ms, code) in [(15_000, "timeout"), (50, "InternalServerError")] {
            let mut bench = Bench::new(settings());
            bench.poison.insert(operation, (7, Failure::new(Class::Transient, code, "no answer")));
            bench.latency_ms = 50;
            bench.slow.insert(operation, takes_ms);
            for n in 1..=30 {
                bench.launch(n);
            }
            bench.run_for(6 * 60_000);
            let enrolled = bench.outcomes().iter().filter(|outcome| **outcome == Outcome::Enrolled).count();
            assert_eq!(enrolled, 29, "{operation}, {code}");
            assert!(bench.count(operation) < 80, "{operation}, {code}: {} calls", bench.count(operation));
            bench.poison.clear();
            bench.run_for(60_000);
            assert_eq!(bench.completions.len(), 30, "{operation}, {code}");
            bench.assert_nothing_is_left();
        }
    }
}

#[test]
fn an_outage_of_the_worker_does_not_abandon_launches_that_still_wait() {
    let mut settings = settings();
    settings.routes[0].timeout = Duration::from_secs(15 * 60);
    let mut bench = Bench::new(settings);
    bench.launch_at(1, 20 * 60_000);
    bench.run_for(10_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
}

#[test]
fn a_server_that_does_not_exist_abandons_few_and_holds_the_rest_until_it_is_mended() {
    let mut settings = settings();
    settings.routes[0].timeout = Duration::from_secs(600);
    let mut bench = Bench::new(settings);
    bench.heartbeat_timeout_s = 600;
    bench.server = Err(Failure::new(Class::RouteFault, "ResourceNotFoundException", "no such server"));
    for n in 1..=200 {
        bench.launch(n);
    }
    bench.run_for(40 * 60_000);
    let abandoned = bench.completions.len();
    assert!(abandoned <= 5, "{abandoned} were abandoned");
    bench.server = Ok(());
    bench.run_for(5 * 60_000);
    let enrolled = bench.outcomes().iter().filter(|outcome| **outcome == Outcome::Enrolled).count();
    assert_eq!(enrolled + abandoned, 200);
}

#[test]
fn a_terminate_that_overtakes_its_launch_leaves_no_node_behind() {
    let mut bench = Bench::new(settings());
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.launch(1);
    bench.run_for(2_000);
    bench.keys.remove(&1);
    bench.terminate(1);
    bench.run_for(60_000);
    let mut outcomes = bench.outcomes();
    outcomes.sort_by_key(|outcome| outcome.as_str());
    assert_eq!(outcomes, [Outcome::Left, Outcome::Stale]);
    assert_eq!(bench.count("Associate"), 0);
    assert!(bench.count("Disassociate") >= 1);
}

#[test]
fn a_panicking_call_ends_its_own_action_alone_and_the_message_comes_again() {
    let mut bench = Bench::new(settings());
    bench.panics = 1;
    bench.launch(1);
    bench.launch(2);
    bench.run_for(120_000);
    let outcomes = bench.outcomes();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Released).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Enrolled).count(), 2);
}

#[test]
fn credentials_that_are_missing_for_a_minute_hold_everything_and_lose_nothing() {
    let mut bench = Bench::new(settings());
    for n in 1..=20 {
        bench.launch(n);
    }
    bench.run_for(2);
    bench.no_credentials = true;
    bench.run_for(60_000);
    assert!(bench.completions.is_empty());
    bench.no_credentials = false;
    bench.run_for(120_000);
    assert_eq!(bench.completions.len(), 20);
    assert!(bench.completions.iter().all(|(_, result)| *result == ActionResult::Continue));
}

#[test]
fn a_message_is_given_back_before_the_twelve_hours_of_sqs_are_over_and_taken_up_again() {
    let mut settings = settings();
    settings.routes[0].timeout = Duration::from_secs(14 * 3600);
    let mut bench = Bench::new(settings);
    bench.heartbeat_timeout_s = 3600;
    bench.server = Err(not_ready());
    bench.launch(1);
    bench.run_for(13 * 3_600_000);
    assert_eq!(bench.outcomes(), [Outcome::Released]);
    bench.server = Ok(());
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::Released, Outcome::Enrolled]);
}

#[test]
fn a_node_whose_instance_went_into_service_meanwhile_is_not_taken_off_for_a_second_chance() {
    let mut bench = Bench::new(settings());
    bench.in_progress = true;
    bench.statuses = vec![RegistrationStatus::Failed("exists".into()), RegistrationStatus::InProgress];
    bench.launch_received(1, 2);
    bench.run_for(500);
    bench.set_state(1, Some(LifecycleState::Living));
    bench.run_for(20_000);
    assert_eq!(bench.order_of(&["Associate", "Disassociate"]), ["Associate"]);
    assert_eq!(bench.outcomes(), [Outcome::Stale]);
}

#[test]
fn both_transitions_of_one_instance_have_tokens_of_their_own() {
    assert_ne!(super::samples::claim(Launching, 1).token, super::samples::claim(Terminating, 1).token);
}
