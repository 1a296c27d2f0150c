//! 200 launches of a route that cannot enrol any: few are abandoned, one asks for all, and the rest go on when the cause is mended.

use super::bench::{Bench, settings};
use super::{denied, not_ready, timeout};
use crate::core::observation::Outcome;
use crate::core::settings::Settings;
use crate::facts::{ActionResult, Health, KeyAnswer};
use crate::retry::{Class, Failure};

const LAUNCHES: u32 = 200;

fn quick() -> Settings {
    let mut settings = settings();
    settings.routes[0].timeout = std::time::Duration::from_secs(600);
    settings
}

fn launched(bench: &mut Bench) {
    for n in 1..=LAUNCHES {
        bench.launch(n);
    }
}

fn abandoned(bench: &Bench) -> usize {
    bench.completions.iter().filter(|(_, result)| *result == ActionResult::Abandon).count()
}

/// After the outage: all but the few that were abandoned are enrolled, and nothing is left.
fn all_go_on(bench: &mut Bench, what: &str) {
    bench.run_for(20 * 60_000);
    assert_eq!(abandoned(bench), 5, "{what}");
    assert_eq!(bench.outcomes().iter().filter(|outcome| **outcome == Outcome::Enrolled).count(), LAUNCHES as usize - 5, "{what}");
    assert!(bench.queue_is_empty(), "{what}");
    bench.assert_nothing_is_left();
}

fn asked(bench: &Bench) -> usize {
    ["Associate", "CheckHealth", "GetParameters", "DescribeAutoScalingInstances", "DescribeLifecycleHooks"]
        .iter()
        .map(|o| bench.count(o))
        .sum()
}

#[test]
fn a_server_that_is_dead_holds_its_launches_and_is_asked_ever_more_rarely() {
    let mut bench = Bench::new(quick());
    bench.server = Err(not_ready());
    bench.health = Some(Health::Dead("FAILED".into()));
    launched(&mut bench);
    bench.run_for(20 * 60_000);
    assert_eq!(abandoned(&bench), 5);
    let before = bench.count("Associate") + bench.count("CheckHealth");
    bench.run_for(10 * 60_000);
    let probes = bench.count("Associate") + bench.count("CheckHealth") - before;
    assert!(probes <= 45, "{probes} in ten minutes");
    bench.server = Ok(());
    bench.health = None;
    all_go_on(&mut bench, "a dead server");
}

#[test]
fn a_maintenance_that_outlasts_the_routes_time_costs_few_launches() {
    let mut bench = Bench::new(quick());
    bench.server = Err(not_ready());
    launched(&mut bench);
    bench.run_for(20 * 60_000);
    bench.server = Ok(());
    all_go_on(&mut bench, "a long maintenance");
}

#[test]
fn an_order_that_is_refused_for_every_node_is_taken_for_a_fault_of_the_route() {
    let mut bench = Bench::new(quick());
    bench.server = Err(Failure::new(Class::Final, "ValidationException", "there is no organization of that name"));
    launched(&mut bench);
    bench.run_for(60_000);
    assert_eq!(abandoned(&bench), 5, "{:?}", bench.reasons());
    let before = bench.count("Associate");
    bench.run_for(30 * 60_000);
    assert!(bench.count("Associate") - before <= 100, "one tries for all: {}", bench.count("Associate") - before);
    bench.server = Ok(());
    all_go_on(&mut bench, "a wrong organization");
}

#[test]
fn a_key_that_is_refused_for_every_node_is_taken_for_a_fault_of_the_route() {
    let mut bench = Bench::new(quick());
    for n in 1..=LAUNCHES {
        let refused = KeyAnswer::Refused { code: "foreign_key", reason: "another role wrote it".into(), security: true };
        bench.keys.insert(n, refused);
    }
    launched(&mut bench);
    bench.run_for(60_000);
    assert_eq!(abandoned(&bench), 5, "{:?}", bench.reasons());
    let before = bench.count("GetParameters");
    bench.run_for(30 * 60_000);
    assert!(bench.count("GetParameters") - before <= 60, "one tries for all: {}", bench.count("GetParameters") - before);
    bench.keys.clear();
    all_go_on(&mut bench, "a wrong owner role");
}

#[test]
fn what_is_denied_to_all_is_asked_by_one_for_all() {
    for operation in ["GetParameters", "DescribeAutoScalingInstances", "DescribeLifecycleHooks", "AssociationStatus"] {
        let mut bench = Bench::new(quick());
        bench.in_progress = true;
        bench.faults.insert(operation, denied());
        launched(&mut bench);
        bench.run_for(60_000);
        assert!(bench.count(operation) <= 60, "{} of {operation} in the first minute", bench.count(operation));
        let before = bench.count(operation);
        bench.run_for(19 * 60_000);
        let more = bench.count(operation) - before;
        assert!(more <= 80, "{more} of {operation} in the next nineteen");
        assert_eq!(abandoned(&bench), 5, "{operation}");
        bench.faults.clear();
        all_go_on(&mut bench, operation);
    }
}

#[test]
fn nodes_that_fail_between_others_that_do_not_are_abandoned_at_once() {
    let mut bench = Bench::new(settings());
    for n in 1..=20 {
        let refused = KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false };
        bench.keys.insert(n * 10, refused);
    }
    for n in 1..=LAUNCHES {
        bench.launch(n);
        bench.run_for(100);
    }
    bench.run_for(60_000);
    assert_eq!(abandoned(&bench), 20);
    assert_eq!(bench.completions.len(), LAUNCHES as usize);
    bench.assert_nothing_is_left();
}

/// A request or a certificate is somebody's deed alone. A node object of nobody's doing looks foreign at every launch where we may not see whose it is.
#[test]
fn foreign_node_objects_in_a_row_are_held_as_a_fault_of_the_route_and_foreign_requests_are_not() {
    for (code, expected) in [(Failure::FOREIGN_NODE, 5), (Failure::FOREIGN_REQUEST, 20), (Failure::FOREIGN_CERTIFICATE, 20)] {
        let mut bench = Bench::new(quick());
        bench.server = Err(Failure::new(Class::Final, code, "somebody else made it"));
        for n in 1..=20 {
            bench.launch(n);
        }
        bench.run_for(60_000);
        assert_eq!(abandoned(&bench), expected, "{code}: {:?}", bench.reasons());
    }
}

#[test]
fn a_private_key_is_never_held_back() {
    let mut bench = Bench::new(settings());
    for n in 1..=20 {
        bench.keys.insert(n, KeyAnswer::Refused { code: "private_key", reason: "a private key".into(), security: true });
        bench.launch(n);
    }
    bench.run_for(60_000);
    assert_eq!(abandoned(&bench), 20);
}

#[test]
fn launches_that_are_held_for_their_own_failure_end_before_their_hook_does() {
    let mut bench = Bench::new(settings());
    bench.heartbeat_timeout_s = 60;
    bench.server = Err(Failure::new(Class::Final, "ValidationException", "no"));
    for n in 1..=50 {
        bench.launch(n);
    }
    bench.run_for(80 * 60_000);
    assert!(abandoned(&bench) <= 5, "{}", abandoned(&bench));
    assert!(asked(&bench) < 1_000, "{}", asked(&bench));
    bench.run_for(20 * 60_000);
    assert_eq!(abandoned(&bench), 50, "before the hundred minutes are over");
    assert!(
        bench.letters.iter().any(|letter| letter.attributes.iter().any(|(_, value)| value.contains("ValidationException"))),
        "{:?}",
        bench.letters.last()
    );
    bench.run_for(60_000);
    bench.assert_nothing_is_left();
}

#[test]
fn a_service_that_answers_nobody_past_every_deadline_costs_few_launches() {
    for operation in ["GetParameters", "AssociationStatus", "DescribeAutoScalingInstances", "DescribeLifecycleHooks"] {
        for fault in [timeout(), Failure::new(Class::Throttled, "ThrottlingException", "rate exceeded")] {
            let mut bench = Bench::new(quick());
            bench.in_progress = true;
            bench.faults.insert(operation, fault.clone());
            launched(&mut bench);
            bench.run_for(40 * 60_000);
            assert_eq!(abandoned(&bench), 5, "{operation}: {fault}");
            bench.faults.clear();
            all_go_on(&mut bench, operation);
        }
    }
}

#[test]
fn keys_that_never_come_are_waited_for_after_a_few_launches_were_given_up() {
    let mut bench = Bench::new(quick());
    for n in 1..=LAUNCHES {
        bench.keys.insert(n, KeyAnswer::Absent);
    }
    launched(&mut bench);
    bench.run_for(50 * 60_000);
    assert_eq!(abandoned(&bench), 5, "{:?}", bench.reasons());
    let before = bench.count("GetParameters");
    bench.run_for(10 * 60_000);
    let asked = bench.count("GetParameters") - before;
    assert!(asked <= 250, "{asked} reads in ten minutes, of up to ten keys each");
    bench.keys.clear();
    all_go_on(&mut bench, "a key's name that is configured wrong");
}

#[test]
fn a_node_that_never_publishes_its_key_is_given_up_once_others_are_enrolled() {
    let mut bench = Bench::new(quick());
    for n in 1..=6 {
        bench.keys.insert(n, KeyAnswer::Absent);
        bench.launch(n);
    }
    bench.run_for(20 * 60_000);
    assert_eq!((abandoned(&bench), bench.open()), (5, 1));
    bench.launch(7);
    bench.run_for(11 * 60_000);
    assert_eq!((abandoned(&bench), bench.open()), (6, 0), "the route works: the fault is the node's");
    bench.assert_nothing_is_left();
}

#[test]
fn launches_that_fail_for_reasons_that_alternate_are_counted_together() {
    let mut bench = Bench::new(quick());
    for n in 1..=LAUNCHES {
        let answer = match n % 3 {
            0 => KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false },
            1 => KeyAnswer::Refused { code: "foreign_key", reason: "another role wrote it".into(), security: true },
            _ => KeyAnswer::Absent,
        };
        bench.keys.insert(n, answer);
    }
    launched(&mut bench);
    bench.run_for(9 * 60_000);
    assert_eq!(abandoned(&bench), 5, "{:?}", bench.reasons());
    bench.run_for(21 * 60_000);
    // The window had passed when those were at their deadline that waited for their key.
    assert!(abandoned(&bench) <= 10, "{:?}", bench.reasons());
}

#[test]
fn a_row_of_failures_and_an_outage_share_what_may_be_abandoned_within_a_window() {
    let mut bench = Bench::new(quick());
    for n in 1..=100 {
        bench.keys.insert(n, KeyAnswer::Absent);
        bench.launch(n);
    }
    bench.run_for(8 * 60_000);
    for n in 101..=LAUNCHES {
        bench.keys.insert(n, KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false });
        bench.launch(n);
    }
    bench.run_for(6 * 60_000);
    assert_eq!(abandoned(&bench), 5, "{:?}", bench.reasons());
}

#[test]
fn a_server_that_comes_and_goes_enrols_a_few_and_abandons_no_more_for_it() {
    let mut bench = Bench::new(quick());
    bench.server = Err(not_ready());
    for n in 1..=100 {
        bench.launch(n);
        bench.run_for(6_000);
    }
    for n in 0..50 {
        bench.server = if n % 10 == 9 { Ok(()) } else { Err(not_ready()) };
        bench.run_for(10_000);
    }
    assert!(abandoned(&bench) <= 5, "{:?}", abandoned(&bench));
}

#[test]
fn launches_whose_hook_should_long_be_over_by_the_clock_are_held_all_the_same() {
    let mut bench = Bench::new(quick());
    bench.heartbeat_timeout_s = 30;
    bench.server = Err(denied());
    for n in 1..=LAUNCHES {
        bench.launch_at(n, 2 * 3_600_000);
    }
    bench.run_for(20 * 60_000);
    assert_eq!(abandoned(&bench), 5, "{:?}", bench.reasons());
    bench.server = Ok(());
    all_go_on(&mut bench, "a clock that is wrong");
}

#[test]
fn a_launch_that_is_held_for_two_days_is_abandoned_just_before_its_hook_would_end_it() {
    let mut settings = quick();
    settings.routes[0].max_abandons = 0;
    let mut bench = Bench::new(settings);
    bench.hooks_time_out = true;
    bench.keys.insert(1, KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false });
    bench.launch(1);
    // No message may be kept for longer than twelve hours: it is given back and received again, and the launch is held on.
    bench.run_for((48 * 60 - 10) * 60_000);
    assert_eq!((bench.completions.as_slice(), bench.redeliveries), (&[][..], 4));
    bench.run_for(10 * 60_000);
    assert_eq!((bench.completions.as_slice(), bench.timed_out.as_slice()), (&[(1, ActionResult::Abandon)][..], &[][..]));
    bench.run_for(60_000);
    bench.assert_nothing_is_left();
}

#[test]
fn a_launch_that_is_held_on_its_last_receive_is_abandoned_before_its_message_must_go_back() {
    let mut settings = quick();
    settings.routes[0].max_abandons = 0;
    let mut bench = Bench::new(settings);
    bench.hooks_time_out = true;
    bench.keys.insert(1, KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false });
    bench.launch_received(1, 100);
    bench.run_for((12 * 60 - 14) * 60_000);
    assert_eq!((bench.completions.as_slice(), bench.redeliveries), (&[][..], 0));
    bench.run_for(14 * 60_000);
    assert_eq!((bench.completions.as_slice(), bench.timed_out.as_slice()), (&[(1, ActionResult::Abandon)][..], &[][..]));
    assert_eq!(bench.letters.len(), 1, "{:?}", bench.letters);
    bench.run_for(60_000);
    bench.assert_nothing_is_left();
}

#[test]
fn a_server_that_takes_fewer_orders_than_there_are_is_waited_for_and_few_are_given_up() {
    let mut settings = quick();
    settings.routes[0].max_rate = Some(1.0);
    let mut bench = Bench::new(settings);
    for n in 1..=3 * 1_200 {
        bench.launch(n);
        bench.run_for(333);
    }
    // Some are enrolled all the time, which says nothing of those who stand in line.
    let enrolled = bench.completions.len() - abandoned(&bench);
    assert!(enrolled > 1_000, "{enrolled}");
    assert!((1..=10).contains(&abandoned(&bench)), "{} in twenty minutes", abandoned(&bench));
    bench.run_for(3 * 3_600_000);
    assert!(abandoned(&bench) <= 30, "{}", abandoned(&bench));
    assert_eq!(bench.completions.len(), 3_600);
    bench.assert_nothing_is_left();
}

#[test]
fn a_second_chance_keeps_its_place_in_a_long_line() {
    let mut settings = settings();
    settings.routes[0].max_rate = Some(1.0);
    let mut bench = Bench::new(settings);
    bench.repeated = super::bench::Repeated::Failed;
    bench.nodes.insert(1);
    bench.launch_received(1, 2);
    for n in 2..=61 {
        bench.launch(n);
    }
    // The line never gets shorter than a look is good for.
    for n in 62..=361 {
        bench.launch(n);
        bench.run_for(1_000);
    }
    assert!(bench.completions.contains(&(1, ActionResult::Continue)), "{:?}", bench.reasons());
}

#[test]
fn launches_that_are_held_stay_so_when_sqs_takes_their_messages_back() {
    for fault in [not_ready(), denied(), Failure::new(Class::Final, "ValidationException", "there is no organization of that name")] {
        let mut bench = Bench::new(settings());
        bench.server = Err(fault.clone());
        launched(&mut bench);
        for hours in [13, 25] {
            bench.run_for(hours * 3_600_000 - bench.now());
            assert_eq!(abandoned(&bench), 5, "{fault}: after {hours} hours");
        }
        assert!(bench.redeliveries >= 2 * (LAUNCHES - 5), "{fault}: {}", bench.redeliveries);
        bench.server = Ok(());
        all_go_on(&mut bench, "a fault of a day");
    }
}

#[test]
fn a_launch_that_was_held_for_its_route_has_no_more_than_the_routes_time_once_that_is_mended() {
    let mut bench = Bench::new(quick());
    bench.faults.insert("GetParameters", denied());
    for n in 1..=20 {
        bench.launch(n);
    }
    bench.run_for(20 * 60_000);
    assert_eq!((abandoned(&bench), bench.open()), (5, 15));
    // One of them publishes no key at all, which could not be seen before.
    let open = (1..=20).filter(|n| !bench.completions.iter().any(|(done, _)| done == n)).collect::<Vec<_>>();
    bench.keys.insert(open[0], KeyAnswer::Absent);
    bench.faults.clear();
    bench.run_for(15 * 60_000);
    assert_eq!((abandoned(&bench), bench.open()), (6, 0), "{:?}", bench.reasons());
    bench.assert_nothing_is_left();
}

#[test]
fn a_launch_that_was_held_for_its_own_failure_and_is_being_tried_again_has_no_more_than_the_routes_time_once_others_are_enrolled() {
    let refused = || KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false };
    for mended in [false, true] {
        let mut bench = Bench::new(quick());
        for n in 1..=6 {
            bench.keys.insert(n, refused());
            bench.launch(n);
        }
        bench.run_for(60_000);
        assert_eq!((abandoned(&bench), bench.open()), (5, 1));
        // What was refused is taken away, as for somebody who planted it; the launch that is tried again finds nothing and waits for it.
        let held = (1..=6).find(|n| !bench.completions.iter().any(|(done, _)| done == n)).unwrap();
        bench.keys.insert(held, KeyAnswer::Absent);
        bench.run_for(10 * 60_000);
        assert_eq!((abandoned(&bench), bench.open()), (5, 1));
        bench.launch(7);
        bench.run_for(5_000);
        assert!(bench.completions.contains(&(7, ActionResult::Continue)), "{:?}", bench.completions);
        if mended {
            // It publishes what it did before: that is its own failure now.
            bench.keys.insert(held, refused());
            bench.run_for(90_000);
        } else {
            bench.run_for(11 * 60_000);
        }
        assert_eq!((abandoned(&bench), bench.open()), (6, 0), "{mended}: {:?}", bench.reasons());
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_launch_that_waited_for_its_key_and_then_failed_while_it_was_held_is_tried_again_once_others_are_enrolled() {
    let mut bench = Bench::new(quick());
    for n in 1..=6 {
        bench.keys.insert(n, KeyAnswer::Absent);
        bench.launch(n);
    }
    bench.run_for(11 * 60_000);
    assert_eq!((abandoned(&bench), bench.open()), (5, 1));
    let held = (1..=6).find(|n| !bench.completions.iter().any(|(done, _)| done == n)).unwrap();
    bench.keys.insert(held, KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false });
    bench.run_for(2 * 60_000);
    assert_eq!((abandoned(&bench), bench.open()), (5, 1), "it has failed, and is held for that too");
    bench.keys.remove(&held);
    bench.launch(7);
    bench.run_for(5_000);
    assert!(bench.completions.contains(&(held, ActionResult::Continue)), "{:?}", bench.completions);
    bench.run_for(60_000);
    bench.assert_nothing_is_left();
}

#[test]
fn a_launch_whose_trial_has_just_failed_again_is_tried_once_more_when_others_are_enrolled() {
    let mut bench = Bench::new(quick());
    bench.server = Err(Failure::new(Class::Final, "ValidationException", "there is no organization of that name"));
    for n in 1..=6 {
        bench.launch(n);
    }
    bench.run_for(60_000);
    assert_eq!((abandoned(&bench), bench.open()), (5, 1));
    // Its trial: an order, and after a pause the second one; after another pause it would be given up.
    let before = bench.count("Associate");
    while bench.count("Associate") < before + 2 {
        bench.run_for(100);
    }
    bench.run_for(1_000);
    bench.server = Ok(());
    bench.launch(7);
    bench.run_for(3 * 60_000);
    assert_eq!((abandoned(&bench), bench.open()), (5, 0), "{:?}", bench.reasons());
    bench.assert_nothing_is_left();
}

#[test]
fn a_termination_waits_for_no_launch_that_is_held_on_an_older_look() {
    let mut settings = quick();
    settings.routes[0].max_abandons = 0;
    let mut bench = Bench::new(settings);
    for n in 1..=20 {
        bench.keys.insert(n, KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false });
    }
    // Each of these has its turn to be tried again before the last one has.
    for n in 2..=20 {
        bench.launch_in(n, "web-other");
    }
    bench.run_for(60_000);
    bench.slow.insert("DescribeLifecycleHooks", 3_000);
    bench.launch(1);
    bench.run_for(1_000);
    bench.terminate(1);
    bench.run_for(5_000);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
    assert!(bench.outcomes().contains(&Outcome::Left), "{:?}", bench.outcomes());
}
