//! Services that are away for long: what waits goes on when they are back, and few are given up meanwhile.

use std::time::Duration;

use super::bench::{Bench, settings};
use super::{denied, expired, not_ready, timeout};
use crate::core::observation::Outcome;
use crate::facts::{ActionResult, RegistrationStatus, Whereabouts};
use crate::retry::{Class, Failure, Schedule};

#[test]
fn a_letter_that_cannot_be_written_for_twelve_hours_lets_its_message_go_and_is_written_later() {
    let mut bench = Bench::new(settings());
    bench.faults.insert("SendMessage", denied());
    bench.send("garbage");
    bench.run_for(25 * 3_600_000);
    assert_eq!(bench.outcomes(), [Outcome::Released; 2], "once in each twelve hours");
    bench.faults.clear();
    bench.run_for(120_000);
    assert_eq!(bench.letters.len(), 1);
    assert!(bench.queue_is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn credentials_that_are_missing_past_every_deadline_abandon_few_wherever_the_launches_wait() {
    let operations = ["GetParameters", "Associate", "DescribeAutoScalingInstances", "DescribeLifecycleHooks", "AssociationStatus"];
    for (operation, fault) in operations.iter().flat_map(|operation| [(*operation, expired()), (*operation, denied())]) {
        let mut settings = settings();
        settings.routes[0].timeout = std::time::Duration::from_secs(600);
        let mut bench = Bench::new(settings);
        bench.in_progress = true;
        bench.faults.insert(operation, fault.clone());
        for n in 1..=100 {
            bench.launch(n);
        }
        bench.run_for(30 * 60_000);
        let abandoned = bench.completions.len();
        assert_eq!(abandoned, 5, "within thirty minutes at {operation}: {}", fault.code);
        bench.faults.clear();
        bench.run_for(10 * 60_000);
        let enrolled = bench.completions.iter().filter(|(_, result)| *result == ActionResult::Continue).count();
        assert_eq!(enrolled, 95, "after {operation}: {:?}", fault.code);
        assert!(bench.queue_is_empty());
        bench.assert_nothing_is_left();
    }
}

#[test]
fn trouble_that_is_over_is_no_reason() {
    let mut settings = settings();
    settings.routes[0].timeout = std::time::Duration::from_secs(600);
    settings.routes[0].max_abandons = 1;
    let mut bench = Bench::new(settings);
    bench.in_progress = true;
    bench.statuses = vec![RegistrationStatus::InProgress; 2_000];
    bench.faults.insert("AssociationStatus", denied());
    bench.launch(1);
    bench.run_for(60_000);
    bench.faults.clear();
    bench.run_for(20 * 60_000);
    assert_eq!(bench.completions, [(1, ActionResult::Abandon)]);
    assert!(!bench.letters[0].attributes.iter().any(|(_, value)| value.contains(&denied().code)), "{:?}", bench.letters[0]);
}

#[test]
fn a_node_that_must_be_taken_off_is_not_waited_for_without_end_after_an_outage_of_auto_scaling() {
    let mut settings = settings();
    settings.routes[0].timeout = std::time::Duration::from_secs(600);
    let mut bench = Bench::new(settings);
    bench.in_progress = true;
    bench.statuses = super::broken::failed_twice();
    bench.faults.insert("CompleteLifecycleAction", timeout());
    bench.launch(1);
    bench.run_for(20 * 60_000);
    bench.faults.clear();
    bench.server = Err(not_ready());
    bench.run_for(20 * 60_000);
    assert_eq!(bench.outcomes(), [Outcome::Abandoned]);
    assert!(bench.letters[1].attributes.iter().any(|(name, _)| *name == "EnrolldOwed"), "{:?}", bench.letters);
}

#[test]
fn of_thousands_of_launches_at_their_deadline_for_a_fault_of_their_route_a_few_are_abandoned_and_the_rest_held() {
    let mut settings = settings();
    settings.routes[0].timeout = std::time::Duration::from_secs(600);
    let mut bench = Bench::new(settings);
    bench.server = Err(denied());
    for n in 1..=3_000 {
        bench.launch(n);
    }
    bench.run_for(14 * 60_000);
    assert_eq!(bench.completions.len(), 5);
    assert_eq!(bench.open(), 2_995);
    bench.server = Ok(());
    bench.run_for(30 * 60_000);
    assert_eq!(bench.completions.len(), 3_000);
    bench.assert_nothing_is_left();
}

#[test]
fn a_node_that_is_always_refused_is_not_the_only_one_to_try_whether_the_server_is_back() {
    let mut bench = Bench::new(settings());
    bench.refused_node = Some((1, denied()));
    for n in 1..=20 {
        bench.launch(n);
    }
    bench.run_for(20 * 60_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled; 19]);
}

#[test]
fn a_server_that_does_not_answer_its_trial_is_probed_and_not_asked_by_everybody() {
    let mut bench = Bench::new(settings());
    bench.server = Err(not_ready());
    for n in 1..=200 {
        bench.launch(n);
    }
    bench.run_for(5_000);
    bench.server = Ok(());
    bench.faults.insert("Associate", Failure::new(Class::Transient, "connection", "refused"));
    let before = bench.count("Associate");
    bench.run_for(60_000);
    let asked = bench.count("Associate") - before;
    assert!(asked <= 30, "{asked} orders in a minute");
    bench.faults.clear();
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled; 200]);
}

#[test]
fn a_server_that_nothing_reaches_costs_one_probe_like_one_that_says_it_is_not_ready() {
    let mut bench = Bench::new(settings());
    bench.faults.insert("Associate", Failure::new(Class::Transient, "connection", "refused"));
    bench.faults.insert("CheckHealth", Failure::new(Class::Transient, "connection", "refused"));
    for n in 1..=500 {
        bench.launch(n);
    }
    bench.run_for(60_000);
    let before = bench.count("Associate") + bench.count("CheckHealth");
    bench.run_for(60_000);
    let asked = bench.count("Associate") + bench.count("CheckHealth") - before;
    assert!(asked <= 30, "{asked} calls in a minute");
    bench.faults.clear();
    bench.run_for(120_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled; 500]);
}

#[test]
fn held_launches_end_before_their_hook_does_spread_over_the_window() {
    let mut settings = settings();
    settings.routes[0].timeout = std::time::Duration::from_secs(600);
    let mut bench = Bench::new(settings);
    bench.heartbeat_timeout_s = 60;
    bench.server = Err(denied());
    for n in 1..=50 {
        bench.launch(n);
    }
    bench.run_for(80 * 60_000);
    assert_eq!(bench.completions.len(), 5);
    bench.run_for(15 * 60_000);
    let half = bench.completions.len();
    assert!((10..=45).contains(&half), "{half} after half of the window");
    bench.run_for(5 * 60_000 - 30_000);
    assert_eq!(bench.completions.len(), 50, "all of them before the hundred minutes are over");
    bench.run_for(60_000);
    bench.assert_nothing_is_left();
}

#[test]
fn a_route_whose_server_is_away_does_not_hold_up_another_route() {
    let mut settings = settings();
    let mut other = settings.routes[0].clone();
    other.name = "other".into();
    other.server = crate::core::call::ServerId(1);
    other.groups = vec![wildmatch::WildMatch::new("other")];
    settings.routes.push(other.clone());
    // And a third that shares the second's server.
    settings.routes.push(crate::core::settings::Route { name: "third".into(), groups: vec![wildmatch::WildMatch::new("third")], ..other });
    let mut bench = Bench::new(settings);
    bench.away = Some(crate::core::call::RouteId(0));
    for n in 1..=300 {
        bench.launch_in(n, ["web", "other", "third"][n as usize % 3]);
    }
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled; 200]);
    bench.away = None;
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled; 300]);
    bench.assert_nothing_is_left();
}

#[test]
fn those_who_waited_long_for_a_server_are_let_through_without_a_pause() {
    let mut bench = Bench::new(settings());
    bench.server = Err(not_ready());
    for n in 1..=600 {
        bench.launch(n);
    }
    // Long enough for every sighting to have grown old; each is renewed before its turn.
    bench.run_for(120_000);
    bench.server = Ok(());
    // Ten seconds until the next probe at the most, and six on the ramp.
    bench.run_for(20_000);
    assert_eq!(bench.completions.len(), 600);
    assert!(bench.count("DescribeAutoScalingInstances") < 80, "{} looks", bench.count("DescribeAutoScalingInstances"));
}

#[test]
fn a_launch_that_begins_just_after_credentials_came_back_is_kept_open_and_enrolled_however_long_they_were_away() {
    for minutes in 5..20 {
        let mut settings = settings();
        settings.route_fault = Schedule::doubling(Duration::from_secs(15), Duration::from_secs(300));
        let mut bench = Bench::new(settings);
        bench.heartbeat_timeout_s = 3600;
        for operation in ["DescribeAutoScalingInstances", "RecordLifecycleActionHeartbeat", "CompleteLifecycleAction"] {
            bench.faults.insert(operation, expired());
        }
        bench.launch(1);
        bench.run_for(minutes * 60_000);
        bench.faults.clear();
        bench.heartbeat_timeout_s = 60;
        bench.hooks_time_out = true;
        bench.launch(2);
        bench.run_for(55_000);
        assert!(bench.completions.contains(&(2, ActionResult::Continue)), "{minutes}: {:?}, {:?}", bench.completions, bench.timed_out);
    }
}

#[test]
fn one_call_at_a_time_tries_whether_a_service_takes_credentials_again_whatever_others_say_to_them() {
    let mut bench = Bench::new(settings());
    bench.faults.insert("Associate", expired());
    for n in 1..=500 {
        bench.launch(n);
    }
    bench.run_for(10 * 60_000);
    assert!(bench.count("Associate") < 60, "{}", bench.count("Associate"));
    bench.faults.clear();
    bench.run_for(5 * 60_000);
    assert_eq!(bench.completions.len(), 500);
}

/// Three hundred launches under a hook of a minute, and a service that answers no call of one operation for five minutes.
fn while_it_hangs(operation: &'static str, begin: impl FnOnce(&mut Bench)) -> Bench {
    let mut bench = Bench::new(settings());
    bench.heartbeat_timeout_s = 60;
    bench.hooks_time_out = true;
    bench.slow.insert(operation, 10_000);
    bench.faults.insert(operation, timeout());
    begin(&mut bench);
    bench.run_for(5 * 60_000);
    assert!(bench.timed_out.is_empty(), "{operation}: {} launches were not kept open", bench.timed_out.len());
    bench
}

#[test]
fn completions_that_hang_leave_heartbeats_their_calls() {
    let mut bench = while_it_hangs("CompleteLifecycleAction", |bench| (1..=300).for_each(|n| bench.launch(n)));
    (bench.slow, bench.faults) = Default::default();
    bench.run_for(2 * 60_000);
    assert_eq!((bench.completions.len(), bench.timed_out.len()), (300, 0));
    bench.assert_nothing_is_left();
}

#[test]
fn letters_that_hang_leave_completions_and_heartbeats_their_calls() {
    let bench = while_it_hangs("SendMessage", |bench| {
        (0..300).for_each(|_| _ = bench.send("garbage"));
        bench.run_for(60_000);
        (1..=20).for_each(|n| bench.launch(n));
        (21..=40).for_each(|n| _ = bench.keys.insert(n, crate::facts::KeyAnswer::Absent));
        (21..=40).for_each(|n| bench.launch(n));
    });
    assert_eq!(bench.completions.len(), 20);
}

#[test]
fn looks_that_hang_leave_those_behind_them_their_calls() {
    let mut bench = Bench::new(settings());
    bench.in_progress = true;
    bench.slow.insert("AssociationStatus", 10_000);
    bench.faults.insert("AssociationStatus", timeout());
    (1..=300).for_each(|n| bench.launch(n));
    bench.run_for(2 * 60_000);
    (301..=320).for_each(|n| bench.launch(n));
    bench.run_for(15_000);
    assert!(bench.nodes.contains(&320) && bench.nodes.len() == 320, "{} are associated", bench.nodes.len());
}

#[test]
fn a_dead_letter_queue_that_is_gone_holds_up_no_launch_and_nothing_is_deleted_for_it() {
    let mut bench = Bench::new(settings());
    bench.dead_letter_queue = false;
    bench.dead_letters_unknown = Some(Failure::new(Class::RouteFault, "AWS.SimpleQueueService.NonExistentQueue", "no such queue"));
    bench.launch(1);
    bench.send("{\"half\": ");
    bench.run_for(50_000);
    assert!(bench.completions.is_empty(), "what is undeliverable waits a little for its queue");
    bench.run_for(40_000);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
    assert_eq!((bench.count("DeleteMessageBatch"), bench.count("SendMessage")), (1, 0));
    assert_eq!(bench.outcomes(), [Outcome::LeftInQueue, Outcome::Enrolled]);
    assert!(bench.trouble_with("GetQueueUrl") > 0);
    // It is made again: whatever comes now has where to go.
    bench.dead_letters_unknown = None;
    bench.dead_letter_queue = true;
    bench.run_for(120_000);
    bench.send("{\"half\": ");
    bench.run_for(30_000);
    assert_eq!(bench.letters.len(), 1);
}

#[test]
fn a_dead_letter_queue_that_was_known_is_written_to_though_it_cannot_be_asked_for_any_more() {
    let mut bench = Bench::settled(settings());
    bench.dead_letters_unknown = Some(Failure::new(Class::RouteFault, "AccessDenied", "not you"));
    bench.dead_letter_queue = false;
    bench.run_for(1_200_000);
    bench.send("{\"half\": ");
    bench.run_for(30_000);
    assert_eq!(bench.letters.len(), 1);
}

#[test]
fn a_clock_that_is_set_forward_abandons_none_of_those_who_are_held() {
    let mut settings = settings();
    settings.routes[0].timeout = Duration::from_secs(60);
    let mut bench = Bench::settled(settings);
    bench.heartbeat_timeout_s = 60;
    bench.server = Err(Failure::new(Class::RouteFault, "ResourceNotFoundException", "no such server"));
    (1..=12).for_each(|n| bench.launch(n));
    bench.run_for(30_000);
    bench.wall_ahead_ms = 3 * 3600 * 1000;
    bench.run_for(600_000);
    assert_eq!(bench.completions.len(), 5, "as many as a route may abandon: {:?}", bench.completions);
    bench.server = Ok(());
    bench.run_for(300_000);
    assert_eq!(bench.completions.iter().filter(|(_, result)| *result == ActionResult::Continue).count(), 7);
}

#[test]
fn at_a_shutdown_what_nobody_can_handle_is_given_back_where_its_letter_cannot_be_written() {
    let mut bench = Bench::settled(settings());
    bench.faults.insert("SendMessage", Failure::new(Class::Transient, "timeout", "no answer"));
    bench.send("{\"half\": ");
    bench.run_for(5_000);
    bench.shut_down();
    bench.run_for(23_000);
    assert!(bench.is_done());
    assert_eq!(bench.count("ChangeMessageVisibilityBatch"), 1);
    // On its last receive SQS would move it without a word: then it is tried to the end.
    let mut bench = Bench::settled(settings());
    bench.faults.insert("SendMessage", Failure::new(Class::Transient, "timeout", "no answer"));
    bench.max_receive_count = Some(1);
    bench.run_for(700_000);
    bench.send("{\"half\": ");
    bench.run_for(5_000);
    bench.shut_down();
    bench.run_for(30_000);
    assert_eq!(bench.count("ChangeMessageVisibilityBatch"), 0);
}

#[test]
fn activities_of_one_group_that_hang_hold_up_nobody_of_another() {
    let mut bench = Bench::settled(settings());
    bench.hanging_group = Some("web-hangs");
    bench.whereabouts = Whereabouts::Terminated;
    for n in 1..=400 {
        bench.launch_in(n, "web-hangs");
        bench.set_state(n, None);
        bench.run_for(10);
    }
    bench.launch_in(999, "web-answers");
    bench.set_state(999, None);
    bench.run_for(1_000);
    assert_eq!(bench.count("Disassociate"), 1, "{} searches", bench.count("DescribeScalingActivities"));
}
