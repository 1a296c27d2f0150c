//! Whatever a server answers to an association that stands already, the launch ends as it should: after a redelivery, and where another
//! worker has the same message.

use super::bench::{Bench, Repeated, settings};
use crate::core::observation::Outcome;
use crate::facts::{ActionResult, LifecycleState, RegistrationStatus};
use crate::retry::{Class, Failure};

const REFUSALS: [Repeated; 2] = [Repeated::Failed, Repeated::Validation];
const ORDERS: [&str; 2] = ["Associate", "Disassociate"];

/// A worker at a server that has the node of instance 1 already, and answers so.
fn bench(repeated: Repeated) -> Bench {
    let mut bench = Bench::new(settings());
    bench.repeated = repeated;
    bench.nodes.insert(1);
    bench
}

#[test]
fn a_repeated_association_that_succeeds_is_a_success_like_any_other() {
    for receives in [1, 2] {
        let mut bench = bench(Repeated::Success);
        bench.launch_received(1, receives);
        bench.run_for(5_000);
        assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
        assert_eq!(bench.order_of(&ORDERS), ["Associate"]);
    }
}

#[test]
fn a_redelivered_launch_that_is_refused_since_its_node_is_there_is_taken_off_and_associated_once_more() {
    for repeated in REFUSALS {
        let mut bench = bench(repeated);
        bench.launch_received(1, 2);
        bench.run_for(60_000);
        assert_eq!(bench.order_of(&ORDERS), ["Associate", "Disassociate", "Associate"], "{repeated:?}");
        assert_eq!(bench.outcomes(), [Outcome::Enrolled], "{repeated:?}");
        assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
        assert!(bench.nodes.contains(&1), "{repeated:?}");
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_launch_that_another_worker_has_just_associated_is_left_to_that_one() {
    for repeated in REFUSALS {
        for receives in [1, 2] {
            let mut bench = bench(repeated);
            bench.launch_received(1, receives);
            // The other worker looks at the status within five seconds, as this one would, and completes.
            bench.run_for(9_000);
            bench.set_state(1, Some(LifecycleState::Living));
            bench.run_for(60_000);
            assert_eq!(bench.order_of(&ORDERS), ["Associate"], "{repeated:?}: it would take off what serves");
            assert_eq!(bench.outcomes(), [Outcome::Stale], "{repeated:?}");
            assert!(bench.completions.is_empty(), "{repeated:?}: {:?}", bench.completions);
            assert!(bench.nodes.contains(&1) && bench.letters.is_empty());
            bench.assert_nothing_is_left();
        }
    }
}

#[test]
fn a_launch_that_was_associated_by_a_worker_that_nobody_heard_of_again_is_taken_off_and_associated_once_more() {
    for repeated in REFUSALS {
        let mut bench = bench(repeated);
        bench.launch(1);
        bench.run_for(60_000);
        assert_eq!(bench.order_of(&ORDERS), ["Associate", "Disassociate", "Associate"], "{repeated:?}");
        assert_eq!(bench.completions, [(1, ActionResult::Continue)], "{repeated:?}");
        assert_eq!(bench.outcomes(), [Outcome::Enrolled], "{repeated:?}");
    }
}

#[test]
fn a_launch_out_of_the_warm_pool_does_not_wait_for_a_worker_that_there_need_not_be() {
    for repeated in REFUSALS {
        let mut bench = bench(repeated);
        bench.launch_from_pool(1);
        bench.run_for(5_000);
        assert_eq!(bench.order_of(&ORDERS), ["Associate", "Disassociate", "Associate"], "{repeated:?}");
        assert_eq!(bench.outcomes(), [Outcome::Enrolled], "{repeated:?}");
    }
}

#[test]
fn a_node_that_is_refused_each_time_is_abandoned_within_a_minute_of_its_launch() {
    for code in ["ValidationException", "registrar_failed"] {
        for receives in [1, 2] {
            let mut bench = Bench::new(settings());
            if code == "ValidationException" {
                bench.refused_node = Some((1, Failure::new(Class::Final, code, "the key is bad")));
            } else {
                bench.in_progress = true;
                bench.statuses = vec![RegistrationStatus::Failed("no reason".into()); 4];
            }
            bench.launch_received(1, receives);
            bench.run_for(60_000);
            assert_eq!(bench.count("Associate"), 2, "{code}");
            assert_eq!(bench.completions, [(1, ActionResult::Abandon)], "{code}");
            assert_eq!(bench.letters[0].attributes[0].1, code);
            assert_eq!(bench.outcomes(), [Outcome::Abandoned], "{code}");
        }
    }
}

#[test]
fn an_answer_that_was_lost_after_the_second_chance_leads_to_another() {
    for repeated in REFUSALS {
        let mut bench = bench(repeated);
        bench.slow.insert("Disassociate", 1_000);
        bench.launch(1);
        while bench.count("Disassociate") == 0 {
            bench.run_for(10);
        }
        bench.lost_answers.insert("Associate", 1);
        bench.run_for(120_000);
        let twice = ["Associate", "Disassociate", "Associate", "Associate", "Disassociate", "Associate"];
        assert_eq!(bench.order_of(&ORDERS), twice, "{repeated:?}");
        assert_eq!(bench.completions, [(1, ActionResult::Continue)], "{repeated:?}");
    }
}

#[test]
fn a_launch_that_another_worker_associated_between_our_orders_is_not_abandoned() {
    for repeated in REFUSALS {
        let mut bench = bench(repeated);
        // The order that takes the node off is answered late, and another worker's gets in before our next one.
        bench.slow.insert("Disassociate", 2_000);
        bench.launch(1);
        while bench.nodes.contains(&1) {
            bench.run_for(1);
        }
        bench.nodes.insert(1);
        bench.run_for(9_000);
        assert_eq!(bench.order_of(&ORDERS), ["Associate", "Disassociate", "Associate"], "{repeated:?}");
        bench.set_state(1, Some(LifecycleState::Living));
        bench.run_for(60_000);
        assert!(bench.completions.is_empty(), "{repeated:?}: {:?}", bench.completions);
        assert_eq!(bench.letters[0].attributes[0].1, "taken_off", "{repeated:?}: nobody can know whose order was the last");
    }
}

/// When the orders of an operation were given.
fn given(bench: &Bench, operation: &str) -> Vec<u64> {
    bench.made.iter().filter(|(_, call)| call.operation() == operation).map(|(at, _)| *at).collect()
}

#[test]
fn after_an_order_that_nobody_heard_of_again_the_opposite_one_waits_until_it_can_no_longer_arrive() {
    let call_ms = settings().call_timeout.as_millis().try_into().unwrap();
    for repeated in REFUSALS {
        // Given up and tried again with success; what was given up may yet arrive, and would take off what is associated next.
        let mut bench = bench(repeated);
        bench.lost_answers.insert("Disassociate", 1);
        bench.launch(1);
        bench.run_for(120_000);
        assert_eq!(bench.order_of(&ORDERS), ["Associate", "Disassociate", "Disassociate", "Associate"], "{repeated:?}");
        let between = given(&bench, "Associate")[1] - given(&bench, "Disassociate")[0];
        assert!(between >= call_ms, "{repeated:?}: associated again {between} ms after an order that may still arrive");
        assert_eq!(bench.outcomes(), [Outcome::Enrolled], "{repeated:?}");
    }
    // An association that may yet arrive would bring back what an abandoned launch has taken off.
    let mut bench = Bench::new(settings());
    bench.lost_answers.insert("Associate", 1);
    bench.launch(1);
    while bench.count("Associate") == 0 {
        bench.run_for(10);
    }
    bench.set_state(1, Some(LifecycleState::TerminatingProceed));
    bench.run_for(120_000);
    assert_eq!(bench.count("Disassociate"), 1);
    let between = given(&bench, "Disassociate")[0] - given(&bench, "Associate")[0];
    assert!(between >= call_ms, "taken off {between} ms after an order that may still arrive");
    assert!(!bench.nodes.contains(&1));
}

#[test]
fn another_workers_association_is_given_as_long_as_the_slowest_has_lately_taken() {
    let mut bench = Bench::new(settings());
    bench.in_progress = true;
    // Two that are done in no time, and between them one that takes almost a minute.
    for (n, polls) in [(2, 0), (3, 6), (4, 0)] {
        bench.statuses = vec![RegistrationStatus::InProgress; polls];
        bench.launch(n);
        bench.run_for(120_000);
    }
    assert_eq!(bench.outcomes(), [Outcome::Enrolled; 3]);
    bench.in_progress = false;
    bench.repeated = Repeated::Validation;
    bench.nodes.insert(1);
    bench.launch(1);
    bench.run_for(20_000);
    assert_eq!(bench.count("Disassociate"), 0, "another worker's may take as long");
    bench.set_state(1, Some(LifecycleState::Living));
    bench.run_for(120_000);
    assert_eq!(bench.count("Disassociate"), 0);
    assert!(bench.nodes.contains(&1) && bench.completions.iter().all(|(n, _)| *n != 1));
}
