//! Groups with a launch hook of somebody else's beside ours: there the instance waits on when our action is over.

use super::bench::{Bench, Repeated, settings};
use crate::core::call::Call;
use crate::core::observation::Outcome;
use crate::core::samples;
use crate::core::settings::DeleteKey;
use crate::event::Transition;
use crate::facts::{ActionResult, KeyAnswer, LifecycleState, RegistrationStatus, Whereabouts};
use crate::retry::{Class, Failure};

fn bench(repeated: Repeated) -> Bench {
    let mut bench = Bench::settled(settings());
    bench.other_hook = true;
    bench.repeated = repeated;
    bench
}

/// A launch that an earlier run completed, before it could delete its message.
fn completed_before(bench: &mut Bench, ago_ms: u64) {
    bench.launch_at(1, ago_ms);
    bench.closed_tokens.insert(samples::claim(Transition::Launching, 1).token);
    bench.nodes.insert(1);
}

#[test]
fn a_launch_that_is_completed_is_followed_until_its_instance_goes_into_service() {
    let mut bench = bench(Repeated::Success);
    bench.launch(1);
    bench.run_for(600_000);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled], "its result stands, and is on record");
    assert_eq!(bench.in_hand(), 1);
    let looks = bench.count("DescribeAutoScalingInstances");
    assert!(looks < 40, "{looks} looks in ten minutes");
    bench.set_state(1, Some(LifecycleState::Living));
    bench.run_for(60_000);
    assert_eq!((bench.open(), bench.outcomes().len(), bench.count("Disassociate")), (0, 1, 0));
    bench.assert_nothing_is_left();
}

#[test]
fn a_hook_that_was_added_a_minute_ago_is_heeded() {
    let mut bench = Bench::settled(settings());
    bench.launch(2);
    bench.run_for(10_000);
    bench.other_hook = true;
    bench.run_for(60_000);
    bench.launch(1);
    bench.run_for(60_000);
    assert_eq!((bench.in_hand(), bench.outcomes().len()), (1, 2), "it is followed");
    bench.set_state(1, Some(LifecycleState::Living));
    bench.run_for(60_000);
    bench.assert_nothing_is_left();
}

#[test]
fn a_launch_that_is_abandoned_for_another_hooks_sake_after_its_node_was_associated_has_it_taken_off() {
    for gone in [Some(LifecycleState::TerminatingProceed), None] {
        let mut bench = bench(Repeated::Success);
        bench.launch(1);
        bench.run_for(60_000);
        assert!(bench.nodes.contains(&1));
        bench.set_state(1, gone);
        bench.whereabouts = Whereabouts::Terminated;
        bench.run_for(120_000);
        assert!(bench.nodes.is_empty(), "{gone:?}");
        assert_eq!(bench.outcomes(), [Outcome::Enrolled, Outcome::Stale], "{gone:?}");
        bench.assert_nothing_is_left();
    }
}

#[test]
fn its_termination_takes_the_node_off_once_and_waits_for_nobody() {
    let mut bench = bench(Repeated::Success);
    bench.launch(1);
    bench.run_for(60_000);
    bench.terminate(1);
    bench.run_for(60_000);
    assert_eq!(bench.completions, [(1, ActionResult::Continue), (1, ActionResult::Continue)]);
    assert_eq!((bench.open(), bench.nodes.len(), bench.letters.len()), (0, 0, 0));
    assert_eq!((bench.count("Disassociate"), bench.outcomes()), (1, vec![Outcome::Enrolled, Outcome::Left]));
    bench.assert_nothing_is_left();
}

#[test]
fn a_message_that_comes_again_while_the_instance_waits_for_another_hook_touches_its_node_no_more() {
    let servers = [Repeated::Success, Repeated::Failed, Repeated::Validation];
    // One that is older than its hook's time-out was completed too, where what runs out is abandoned.
    for (repeated, ago_ms) in servers.into_iter().flat_map(|repeated| [(repeated, 60_000), (repeated, 2 * 3600 * 1000)]) {
        let mut bench = bench(repeated);
        completed_before(&mut bench, ago_ms);
        bench.run_for(600_000);
        for operation in ["Associate", "Disassociate", "CompleteLifecycleAction", "GetParameters"] {
            assert_eq!(bench.count(operation), 0, "{operation}, {repeated:?}, {ago_ms}");
        }
        assert!(bench.beats.len() < 20, "{} heartbeats", bench.beats.len());
        bench.set_state(1, Some(LifecycleState::Living));
        bench.run_for(60_000);
        assert_eq!(bench.reasons(), [(Outcome::Stale, "completed".to_owned())]);
        bench.assert_nothing_is_left();
    }
}

#[test]
fn an_action_that_may_have_run_out_is_associated_all_the_same_and_a_refusal_takes_nothing_off() {
    for (repeated, there) in [(Repeated::Success, false), (Repeated::Failed, true), (Repeated::Validation, true)] {
        let mut bench = bench(repeated);
        bench.default_continue = true;
        completed_before(&mut bench, 2 * 3600 * 1000);
        if !there {
            bench.nodes.clear();
        }
        bench.run_for(600_000);
        assert!(bench.nodes.contains(&1), "{repeated:?}");
        assert_eq!((bench.count("Associate"), bench.count("Disassociate")), (1, 0), "{repeated:?}");
        assert!(bench.count("CompleteLifecycleAction") <= 1, "{repeated:?}");
        bench.set_state(1, Some(LifecycleState::Living));
        bench.run_for(60_000);
        assert_eq!((bench.open(), bench.letters.len()), (0, usize::from(there)), "{repeated:?}: who was refused cannot know why");
    }
}

#[test]
fn another_worker_that_completes_it_meanwhile_does_not_lose_the_node_to_a_second_chance() {
    for (repeated, default_continue) in [(Repeated::Failed, false), (Repeated::Validation, false), (Repeated::Failed, true)] {
        let mut bench = bench(repeated);
        bench.default_continue = default_continue;
        bench.heartbeat_timeout_s = 60;
        bench.nodes.insert(1);
        bench.launch_at(1, 120_000);
        bench.run_for(2_000);
        assert_eq!(bench.count("Associate"), 1);
        bench.closed_tokens.insert(samples::claim(Transition::Launching, 1).token);
        bench.run_for(600_000);
        assert_eq!((bench.count("Associate"), bench.count("Disassociate")), (1, 0), "{repeated:?}");
        assert!(bench.nodes.contains(&1) && bench.letters.is_empty());
    }
}

#[test]
fn a_completion_whose_answer_was_lost_is_tried_for_a_while_and_then_believed() {
    let mut bench = bench(Repeated::Success);
    bench.lost_answers.insert("CompleteLifecycleAction", 1);
    bench.launch(1);
    bench.run_for(600_000);
    let tries = bench.count("CompleteLifecycleAction");
    assert!((2..10).contains(&tries), "{tries} completions");
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
    bench.set_state(1, Some(LifecycleState::Living));
    bench.run_for(60_000);
    bench.assert_nothing_is_left();
}

#[test]
fn where_heartbeats_are_denied_or_hang_a_launch_goes_on_without_them() {
    for failure in [Failure::new(Class::RouteFault, "AccessDenied", "not you"), Failure::new(Class::Transient, "timeout", "no answer")] {
        let mut bench = bench(Repeated::Success);
        bench.faults.insert("RecordLifecycleActionHeartbeat", failure.clone());
        bench.launch(1);
        bench.run_for(60_000);
        assert_eq!(bench.completions, [(1, ActionResult::Continue)], "{failure}");
    }
}

#[test]
fn a_launch_that_is_followed_is_given_back_at_once_at_a_shutdown() {
    let mut bench = bench(Repeated::Success);
    bench.launch(1);
    bench.run_for(60_000);
    bench.shut_down();
    bench.run_for(2_000);
    assert!(bench.is_done());
    assert_eq!(bench.outcomes(), [Outcome::Enrolled], "its result is on record already");
    let given_back = |(_, call): &(u64, Call)| matches!(call, Call::Release { messages } if messages[0].1.is_zero());
    assert_eq!(bench.made.iter().filter(|made| given_back(made)).count(), 1);
}

#[test]
fn a_refused_heartbeat_while_the_order_is_carried_out_does_not_lead_to_a_second_chance() {
    let mut bench = bench(Repeated::Failed);
    bench.default_continue = true;
    bench.heartbeat_timeout_s = 60;
    bench.in_progress = true;
    bench.association_ms = 90_000;
    bench.statuses.push(RegistrationStatus::Failed("it is there already".into()));
    completed_before(&mut bench, 600_000);
    bench.nodes.clear();
    bench.run_for(900_000);
    assert!(bench.beats.len() > 8, "{:?}", bench.beats);
    assert_eq!((bench.count("Associate"), bench.count("Disassociate")), (1, 0), "{:?}", bench.reasons());
}

#[test]
fn a_node_that_was_taken_off_for_a_second_chance_when_its_action_was_closed_is_told_of() {
    let mut bench = bench(Repeated::Success);
    bench.in_progress = true;
    let failed = || RegistrationStatus::Failed("it is full".into());
    bench.statuses = vec![failed(), RegistrationStatus::Success, failed()];
    bench.launch(1);
    bench.run_for(14_000);
    assert_eq!((bench.count("Associate"), bench.count("Disassociate")), (2, 1), "{:?}", bench.reasons());
    bench.closed_tokens.insert(samples::claim(Transition::Launching, 1).token);
    bench.run_for(600_000);
    assert_eq!(bench.reasons(), [(Outcome::Stale, "taken_off".to_owned())]);
    assert_eq!((bench.letters.len(), bench.count("Disassociate")), (1, 1));
}

#[test]
fn a_key_that_is_to_go_after_the_launch_goes_though_another_run_followed_it() {
    let mut settings = settings();
    settings.routes[0].delete_key = DeleteKey::OnSuccess;
    let mut bench = Bench::settled(settings);
    bench.other_hook = true;
    completed_before(&mut bench, 60_000);
    bench.run_for(300_000);
    assert!(bench.deleted.is_empty());
    bench.set_state(1, Some(LifecycleState::Living));
    bench.run_for(60_000);
    assert_eq!(bench.deleted, ["/enrolld/i-00000000000000001/public-key"]);
}

#[test]
fn an_instance_that_is_out_of_sight_for_a_moment_is_on_record_once() {
    let mut bench = bench(Repeated::Success);
    bench.launch(1);
    bench.run_for(60_000);
    bench.set_state(1, None);
    bench.run_for(40_000);
    bench.set_state(1, Some(LifecycleState::PendingWait));
    bench.run_for(60_000);
    bench.set_state(1, Some(LifecycleState::Living));
    bench.run_for(60_000);
    assert_eq!((bench.outcomes(), bench.open()), (vec![Outcome::Enrolled], 0));
}

#[test]
fn those_who_are_followed_take_the_place_of_no_other() {
    let mut settings = settings();
    settings.max_open = 3;
    let mut bench = Bench::settled(settings);
    bench.other_hook = true;
    (1..=3).for_each(|n| bench.launch(n));
    bench.run_for(60_000);
    (4..=6).for_each(|n| bench.launch(n));
    bench.run_for(60_000);
    assert_eq!(bench.completions.len(), 6);
}

#[test]
fn a_termination_does_not_wait_for_a_launch_of_which_it_is_not_heard_whether_it_is_open() {
    let mut bench = bench(Repeated::Success);
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.slow.insert("RecordLifecycleActionHeartbeat", 15_000);
    bench.faults.insert("RecordLifecycleActionHeartbeat", Failure::new(Class::Transient, "timeout", "no answer"));
    bench.launch(1);
    bench.run_for(2_000);
    bench.terminate(1);
    bench.run_for(120_000);
    assert_eq!(bench.open(), 0, "{:?}", bench.reasons());
}

#[test]
fn a_completion_into_the_warm_pool_whose_answer_was_lost_is_believed_too() {
    let mut bench = bench(Repeated::Success);
    bench.whereabouts = Whereabouts::EntersPool;
    bench.lost_answers.insert("CompleteLifecycleAction", 1);
    bench.launch_into_pool(1);
    bench.run_for(600_000);
    let tries = bench.count("CompleteLifecycleAction");
    assert!((2..10).contains(&tries), "{tries} completions");
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
}

#[test]
fn a_launch_that_is_followed_and_cannot_be_looked_at_any_more_has_one_letter() {
    let mut bench = bench(Repeated::Success);
    bench.heartbeat_timeout_s = 30;
    bench.launch(1);
    bench.run_for(60_000);
    bench.faults.insert("DescribeAutoScalingInstances", Failure::new(Class::Final, "ValidationError", "no"));
    bench.run_for(2 * 3_600_000);
    assert_eq!((bench.letters.len(), bench.outcomes()), (1, vec![Outcome::Enrolled, Outcome::DeadLettered]));
    bench.assert_nothing_is_left();
}

#[test]
fn heartbeats_that_wait_for_their_turn_are_waited_for_and_nothing_is_begun_meanwhile() {
    let mut bench = bench(Repeated::Failed);
    completed_before(&mut bench, 60_000);
    // Each is answered long after its action has given up waiting.
    bench.slow.insert("RecordLifecycleActionHeartbeat", 100_000);
    bench.run_for(600_000);
    assert_eq!((bench.count("Associate"), bench.count("Disassociate")), (0, 0), "{:?}", bench.reasons());
}

#[test]
fn an_instance_that_is_shown_as_it_was_before_is_followed_on() {
    let mut bench = bench(Repeated::Success);
    bench.launch_from_pool(1);
    bench.run_for(60_000);
    bench.set_state(1, Some(LifecycleState::Pooled));
    bench.run_for(40_000);
    assert_eq!(bench.in_hand(), 1);
    bench.set_state(1, Some(LifecycleState::TerminatingProceed));
    bench.run_for(60_000);
    assert_eq!((bench.open(), bench.nodes.len()), (0, 0));
}

#[test]
fn two_actions_of_one_instance_that_are_followed_leave_each_other_alone() {
    let mut bench = bench(Repeated::Success);
    completed_before(&mut bench, 60_000);
    bench.forge(1, 1, |body| body["Time"] = "2023-11-14T22:13:00Z".into());
    bench.run_for(600_000);
    let looks = bench.count("DescribeAutoScalingInstances");
    assert!(looks < 100, "{looks} looks in ten minutes");
    bench.terminate(1);
    bench.run_for(120_000);
    assert_eq!((bench.open(), bench.nodes.len(), bench.count("Disassociate")), (0, 0, 1));
    bench.assert_nothing_is_left();
}

#[test]
fn a_deadline_that_comes_while_it_is_asked_whether_a_closed_action_is_open_abandons_nothing() {
    let mut settings = settings();
    settings.routes[0].timeout = std::time::Duration::from_secs(20);
    let mut bench = Bench::settled(settings);
    bench.other_hook = true;
    completed_before(&mut bench, 60_000);
    bench.run_for(300_000);
    assert_eq!((bench.count("CompleteLifecycleAction"), bench.letters.len()), (0, 0), "{:?}", bench.reasons());
    assert!(bench.nodes.contains(&1));
}
