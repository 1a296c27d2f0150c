//! What is owed is neither forgotten nor thrown away: not where a question has no answer, and not where the dead-letter queue takes no
//! letter.

use super::bench::{Bench, settings};
use super::{denied, not_ready, timeout};
use crate::core::observation::Outcome;
use crate::facts::{ActionResult, KeyAnswer, LifecycleState, RegistrationStatus, Whereabouts};
use crate::retry::{Class, Failure};

fn refusal() -> Failure {
    Failure::new(Class::Final, "ValidationError", "there is no such thing")
}

/// The letters that say that a node is to be taken off.
fn owing(bench: &Bench) -> usize {
    let owes = |letter: &&crate::core::call::DeadLetter| letter.attributes.iter().any(|(name, _)| *name == "EnrolldOwed");
    bench.letters.iter().filter(owes).count()
}

/// A launch that was enrolled and completed elsewhere, abandoned here, and whose node cannot be taken off.
fn abandoned_and_not_taken_off(bench: &mut Bench) {
    bench.in_progress = true;
    bench.statuses = vec![RegistrationStatus::Failed("no reason".into()); 4];
    bench.faults.insert("Disassociate", refusal());
    bench.launch(1);
}

#[test]
fn a_redelivered_launch_that_auto_scaling_refuses_to_speak_of_owes_its_node() {
    for (receives, owes) in [(1, 0), (2, 1)] {
        let mut bench = Bench::new(settings());
        bench.faults.insert("DescribeAutoScalingInstances", refusal());
        bench.launch_received(1, receives);
        bench.run_for(60_000);
        assert_eq!(bench.outcomes(), [Outcome::DeadLettered]);
        assert_eq!(owing(&bench), owes, "received {receives} times: {:?}", bench.letters);
    }
}

#[test]
fn a_launch_that_is_over_owes_the_node_that_its_server_refuses_to_let_go_unless_none_can_be_there() {
    // (received so many times, whether it is documented how a removal of nothing is answered) and whether a node may be there.
    for (receives, documented, owes) in [(1, false, 0), (2, false, 1), (1, true, 1), (2, true, 1)] {
        let mut settings = settings();
        settings.routes[0].second_chance = !documented;
        let mut bench = Bench::new(settings);
        bench.faults.insert("Disassociate", refusal());
        bench.launch_received(1, receives);
        bench.set_state(1, Some(LifecycleState::TerminatingWait));
        bench.run_for(120_000);
        assert_eq!((bench.outcomes(), owing(&bench)), (vec![Outcome::Stale], owes), "received {receives} times, {documented}");
        assert!(bench.queue_is_empty());
    }
}

#[test]
fn a_termination_whose_hook_is_there_no_more_owes_its_node() {
    let mut bench = Bench::new(settings());
    bench.no_hooks = true;
    bench.terminate(1);
    bench.launch(2);
    bench.run_for(3 * 60_000);
    assert_eq!(bench.reasons(), vec![(Outcome::DeadLettered, "no_such_hook".to_owned()); 2]);
    assert_eq!(owing(&bench), 1, "{:?}", bench.letters);
}

#[test]
fn a_redelivered_launch_that_is_never_seen_waiting_owes_its_node() {
    for (receives, owes) in [(1, 0), (2, 1)] {
        let mut bench = Bench::new(settings());
        bench.launch_received(1, receives);
        bench.set_state(1, Some(LifecycleState::Pending));
        bench.run_for(40 * 60_000);
        assert_eq!((bench.outcomes(), owing(&bench)), (vec![Outcome::DeadLettered], owes), "received {receives} times");
    }
}

#[test]
fn a_termination_that_auto_scaling_refuses_to_speak_of_owes_its_node() {
    let mut bench = Bench::new(settings());
    bench.faults.insert("DescribeScalingActivities", refusal());
    bench.terminate(1);
    bench.set_state(1, None);
    bench.run_for(60_000);
    assert_eq!((bench.outcomes(), owing(&bench)), (vec![Outcome::DeadLettered], 1));
}

#[test]
fn a_completion_that_auto_scaling_refuses_to_confirm_for_a_while_is_given_again() {
    for terminates in [false, true] {
        let mut bench = Bench::new(settings());
        bench.faults.insert("CompleteLifecycleAction", refusal());
        if terminates {
            bench.terminate(1);
        } else {
            bench.launch(1);
        }
        while bench.count("CompleteLifecycleAction") == 0 {
            bench.run_for(1);
        }
        bench.faults.insert("DescribeAutoScalingInstances", refusal());
        bench.run_for(10 * 60_000);
        assert!(bench.outcomes().is_empty() && bench.letters.is_empty(), "{:?}", bench.reasons());
        let asked = bench.count("CompleteLifecycleAction");
        assert!((5..=60).contains(&asked), "{asked} completions in ten minutes");
        bench.faults.clear();
        bench.run_for(60_000);
        assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
        assert_eq!(bench.outcomes(), [if terminates { Outcome::Left } else { Outcome::Enrolled }]);
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_completion_that_is_never_confirmed_owes_its_node_once_its_hook_is_over() {
    let mut bench = Bench::new(settings());
    bench.heartbeat_timeout_s = 30;
    bench.faults.insert("CompleteLifecycleAction", refusal());
    bench.launch(1);
    bench.run_for(100);
    bench.faults.insert("DescribeAutoScalingInstances", refusal());
    bench.run_for(55 * 60_000);
    assert_eq!((bench.outcomes(), owing(&bench)), (vec![Outcome::DeadLettered], 1));
    bench.assert_nothing_is_left();
}

#[test]
fn an_abandoned_launch_whose_whereabouts_are_refused_is_taken_off_on_proof_or_owed() {
    for proven in [true, false] {
        let mut bench = Bench::new(settings());
        bench.in_progress = true;
        bench.statuses = vec![RegistrationStatus::Failed("no reason".into()); 3];
        bench.faults.insert("DescribeScalingActivities", refusal());
        bench.close(1, LifecycleState::Living);
        bench.slow.insert("CompleteLifecycleAction", 100);
        bench.launch(1);
        while bench.count("CompleteLifecycleAction") == 0 {
            bench.run_for(10);
        }
        bench.faults.insert("CompleteLifecycleAction", refusal());
        bench.set_state(1, None);
        bench.run_for(20_000);
        assert!(bench.outcomes().is_empty(), "{:?}", bench.reasons());
        if proven {
            bench.faults.remove("DescribeScalingActivities");
            bench.whereabouts = Whereabouts::Terminated;
        }
        bench.run_for(100_000);
        assert_eq!(bench.outcomes(), [Outcome::Abandoned]);
        assert_eq!(owing(&bench), usize::from(!proven), "{:?}", bench.letters);
        // Once for the second chance, and once since it is proven to be gone.
        assert_eq!(bench.count("Disassociate"), 1 + usize::from(proven));
    }
}

#[test]
fn a_letter_that_is_refused_is_written_with_its_reason_and_what_is_owed_alone() {
    let mut bench = Bench::new(settings());
    abandoned_and_not_taken_off(&mut bench);
    bench.most_attributes = Some(2);
    bench.run_for(120_000);
    assert_eq!(bench.outcomes(), [Outcome::Abandoned]);
    let names: Vec<Vec<&str>> = bench.letters.iter().map(|letter| letter.attributes.iter().map(|(name, _)| *name).collect()).collect();
    assert_eq!(names, [vec!["EnrolldReason"], vec!["EnrolldReason", "EnrolldOwed"]]);
    bench.assert_nothing_is_left();
}

#[test]
fn what_is_owed_is_not_deleted_with_its_message_where_no_letter_is_taken() {
    let mut bench = Bench::new(settings());
    abandoned_and_not_taken_off(&mut bench);
    bench.faults.insert("SendMessage", refusal());
    bench.run_for(120_000);
    assert_eq!(bench.completions, [(1, ActionResult::Abandon)]);
    assert!(!bench.queue_is_empty(), "nothing says that a node is owed");
    assert_eq!(bench.outcomes(), [Outcome::LeftInQueue]);
    bench.faults.clear();
    bench.run_for(12 * 3_600_000);
    assert!(bench.queue_is_empty() && bench.nodes.is_empty(), "its next run takes the node off");
    bench.assert_nothing_is_left();
}

#[test]
fn a_letter_that_is_refused_on_the_last_receive_is_kept_in_hand_and_tried_again() {
    let mut bench = Bench::new(settings());
    bench.max_receive_count = Some(1);
    bench.faults.insert("SendMessage", refusal());
    bench.send("garbage");
    bench.run_for(3_600_000);
    assert!(bench.outcomes().is_empty(), "given back, SQS would move it: {:?}", bench.reasons());
    assert_eq!(bench.visible(), 0);
    bench.faults.clear();
    bench.run_for(600_000);
    assert_eq!((bench.outcomes(), bench.letters.len()), (vec![Outcome::DeadLettered], 1));
    assert!(bench.queue_is_empty());
}

#[test]
fn a_reason_that_is_too_long_for_its_letter_leaves_room_for_what_is_owed() {
    let mut bench = Bench::new(settings());
    bench.in_progress = true;
    bench.statuses = vec![RegistrationStatus::Failed("x".repeat(2 << 20)); 4];
    bench.faults.insert("Disassociate", refusal());
    bench.launch(1);
    bench.run_for(120_000);
    let names: Vec<&str> = bench.letters[1].attributes.iter().map(|(name, _)| *name).collect();
    assert_eq!(names[..3], ["EnrolldReason", "EnrolldOwed", "EnrolldOutcome"]);
}

#[test]
fn a_dead_letter_queue_that_is_slow_to_answer_delays_no_letter_that_is_owed() {
    let mut bench = Bench::new(settings());
    abandoned_and_not_taken_off(&mut bench);
    bench.faults.insert("SendMessage", timeout());
    bench.run_for(10 * 60_000);
    bench.faults.remove("SendMessage");
    bench.run_for(60_000);
    assert_eq!((bench.outcomes(), owing(&bench)), (vec![Outcome::Abandoned], 1));
}

#[test]
fn a_launch_whose_letter_owed_its_node_and_was_sent_back_takes_it_off_where_it_fails_again() {
    for joins in [false, true] {
        let mut bench = Bench::new(settings());
        bench.keys.insert(1, KeyAnswer::Absent);
        bench.nodes.insert(1);
        if joins {
            bench.launch(1);
            bench.run_for(1_000);
        }
        bench.launch_sent_back(1);
        bench.run_for(1_000);
        bench.keys.insert(1, KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false });
        bench.run_for(60_000);
        assert_eq!(bench.completions, [(1, ActionResult::Abandon)]);
        assert!(bench.nodes.is_empty(), "its node stayed");
    }
}

#[test]
fn what_a_server_refused_half_way_is_taken_off_again_where_an_order_is_several_requests() {
    for several in [false, true] {
        let mut settings = settings();
        settings.routes[0].second_chance = !several;
        settings.routes[0].timeout = std::time::Duration::from_secs(60);
        let mut bench = Bench::new(settings);
        bench.server = Err(not_ready());
        bench.launch(1);
        bench.run_for(5_000);
        // The client was made, and the node was not: the server is away, and comes back only when the launch's time is over.
        bench.run_for(60_000);
        bench.server = Ok(());
        bench.run_for(600_000);
        let off = bench.count("Disassociate");
        assert_eq!(bench.completions, [(1, ActionResult::Abandon)], "{several}");
        assert_eq!(off > 0, several);
    }
}

#[test]
fn a_letter_that_cannot_be_written_does_not_hold_up_the_termination_of_its_instance() {
    let mut bench = Bench::new(settings());
    bench.faults.insert("SendMessage", denied());
    bench.keys.insert(1, KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false });
    bench.launch(1);
    bench.run_for(60_000);
    assert_eq!(bench.completions, [(1, ActionResult::Abandon)]);
    bench.terminate(1);
    bench.run_for(60_000);
    assert_eq!(bench.completions, [(1, ActionResult::Abandon), (1, ActionResult::Continue)]);
    bench.faults.clear();
    bench.run_for(120_000);
    assert_eq!(bench.letters.len(), 1);
    bench.assert_nothing_is_left();
}

#[test]
fn without_a_dead_letter_queue_a_message_that_owes_a_node_stays_and_its_next_run_takes_the_node_off() {
    let mut bench = Bench::new(settings());
    bench.dead_letter_queue = false;
    bench.in_progress = true;
    bench.association_ms = 20_000;
    bench.launch(1);
    bench.run_for(10_000);
    bench.server = Err(Failure::new(Class::NotReady, "InvalidStateException", "maintenance"));
    bench.faults.insert("AssociationStatus", Failure::new(Class::Transient, "timeout", "no answer"));
    bench.run_for(3 * 3_600_000);
    assert_eq!(bench.completions, [(1, ActionResult::Abandon)]);
    assert_eq!(bench.outcomes(), [Outcome::LeftInQueue]);
    assert!(!bench.queue_is_empty(), "nothing else says that the node is there");
    bench.server = Ok(());
    bench.faults.clear();
    bench.run_for(12 * 3_600_000);
    assert!(bench.count("Disassociate") > 0 && bench.queue_is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn what_owes_a_node_is_kept_when_the_dead_letter_queue_is_taken_away() {
    let mut bench = Bench::new(settings());
    bench.launch(1);
    bench.set_state(1, None);
    bench.redeliveries = 1;
    bench.slow.insert("SendMessage", 50);
    bench.whereabouts = Whereabouts::Unproven;
    bench.launch_received(2, 2);
    bench.set_state(2, None);
    bench.faults.insert("SendMessage", Failure::new(Class::Transient, "timeout", "no answer"));
    bench.run_for(5 * 60_000);
    bench.dead_letter_queue = false;
    bench.run_for(20 * 60_000);
    assert!(!bench.queue_is_empty(), "the second may be on its server");
}
