//! A panic of our own, at whatever step: it ends the run of one action, and the worker lives.

use std::collections::BTreeSet;

use super::bench::{Bench, settings};
use super::not_ready;
use super::trips::STAGES;
use crate::core::observation::Outcome;
use crate::core::settings::{DeleteKey, KeySource};
use crate::facts::{ActionResult, KeyAnswer, LifecycleState, Whereabouts};
use crate::names::Template;

/// So many worlds there are.
const WORLDS: usize = 5;
/// Points that are no stages.
const POINTS: [&str; 5] = ["place", "join", "lease", "deleted", "internal_error"];

fn refused() -> KeyAnswer {
    KeyAnswer::Refused { code: "not_pem", reason: "it is no PEM".into(), security: false }
}

/// A worker, and what it has to do; together the worlds lead through every stage.
fn world(number: usize) -> Bench {
    let mut settings = settings();
    match number {
        0 => settings.routes[0].delete_key = DeleteKey::OnSuccess,
        1 => settings.routes[0].key = KeySource::RunCommand,
        2 => {
            settings.routes[0].certificate = Some(Template::new("/enrolld/{instance_id}/certificate").unwrap());
            settings.routes[0].max_abandons = 1;
        }
        _ => {}
    }
    let mut bench = Bench::new(settings);
    bench.max_receive_count = None;
    match number {
        // Some are enrolled, one after it failed before; one fails, one leaves.
        0 => {
            bench.in_progress = true;
            bench.keys.insert(2, refused());
            bench.launch(1);
            bench.launch_received(2, 2);
            bench.terminate(4);
            bench.launch(5);
            bench.duplicate(5);
        }
        // One is not there yet, and one has two actions.
        1 => {
            bench.launch(1);
            bench.set_state(1, Some(LifecycleState::Pending));
            bench.launch(2);
            bench.launch_again(2, 1);
        }
        // The route is in trouble for a while.
        2 => {
            bench.certificate = Some("signed".into());
            for n in 1..=4 {
                bench.keys.insert(n, refused());
                bench.launch(n);
            }
        }
        // The group has another launch hook.
        3 => {
            bench.other_hook = true;
            bench.launch(1);
            bench.launch(2);
        }
        // What is completed is not answered, and what is to leave has left.
        _ => {
            bench.lose_completions = 2;
            bench.whereabouts = Whereabouts::Terminated;
            bench.launch(1);
            bench.launch(2);
            bench.terminate(3);
            bench.set_state(3, None);
        }
    }
    bench
}

/// Lets a world go on to its end, and says how often the worker panicked.
fn run(number: usize, point: &'static str, skip: u32, times: u32) -> u32 {
    let mut bench = world(number);
    let case = format!("{point} in world {number}, {times} times after {skip}");
    // A way out is only taken where something went wrong before.
    if point == "internal_error" {
        bench.panicking.extend([("GetParameters", 2), ("SendCommand", 2), ("Associate", 2), ("Disassociate", 2)]);
    }
    bench.break_at(point, skip, times);
    bench.run_for(60_000);
    if number == 1 {
        bench.set_state(1, Some(LifecycleState::PendingWait));
    }
    if std::mem::take(&mut bench.other_hook) {
        let completed: Vec<u32> = bench.completions.iter().map(|(n, _)| *n).collect();
        completed.into_iter().for_each(|n| bench.set_state(n, Some(LifecycleState::Living)));
    }
    bench.keys.clear();
    bench.run_for(4 * 3_600_000);
    bench.launch(9);
    bench.run_for(4 * 3_600_000);
    assert!(bench.queue_is_empty(), "{case}: {:?}", bench.reasons());
    let completed: BTreeSet<u32> = bench.completions.iter().map(|(n, _)| *n).collect();
    assert_eq!(completed.len(), bench.completions.len(), "{case}: {:?}", bench.completions);
    // What broke so often that it was never an action's has its letter alone.
    let buried = if point == "place" { letters(&bench).iter().filter(|reason| **reason == "internal_error").count() } else { 0 };
    let missing = [1, 2, 9].iter().filter(|n| !completed.contains(n)).count();
    assert!(missing <= buried && (buried == 0 || times > 10), "{case}: {:?}", bench.reasons());
    // A run that broke is begun anew, as often as is allowed, and ends as it would have.
    if times <= 3 {
        let in_service = |n| bench.completions.contains(&(n, ActionResult::Continue));
        assert!(in_service(9) && (number == 2 || in_service(1)), "{case}: {:?}", bench.completions);
    }
    bench.assert_nothing_is_left();
    bench.broke()
}

#[test]
fn a_panic_on_the_way_into_any_stage_ends_one_run_and_the_next_one_finishes_it() {
    for point in STAGES.into_iter().chain(POINTS) {
        let mut broke = 0;
        for number in 0..WORLDS {
            for times in [1, 2, 3, 12] {
                broke += run(number, point, 0, times) + run(number, point, 1, times) + run(number, point, 4, times);
            }
        }
        assert!(broke > 0, "no world leads to {point}");
    }
}

/// The reasons of all letters.
fn letters(bench: &Bench) -> Vec<&str> {
    let reason = |letter: &'_ crate::core::call::DeadLetter| letter.attributes.iter().position(|(name, _)| *name == "EnrolldReason");
    bench.letters.iter().filter_map(|letter| Some(letter.attributes[reason(letter)?].1.as_str())).collect()
}

#[test]
fn a_message_that_can_never_be_taken_up_comes_again_ever_later_and_ends_as_a_dead_letter() {
    for (point, allowed) in [("place", None), ("place", Some(3)), ("internal_error", None), ("internal_error", Some(3))] {
        let mut bench = Bench::new(settings());
        bench.max_receive_count = allowed.or(Some(100));
        if point == "internal_error" {
            bench.panicking.insert("Associate", 1_000);
        }
        bench.break_at(point, 0, 1_000);
        bench.launch(1);
        bench.run_for(6 * 60_000);
        let early = bench.redeliveries;
        bench.run_for(3 * 3_600_000);
        assert_eq!(letters(&bench), ["internal_error"], "{point} {allowed:?}: {:?}", bench.reasons());
        assert!(bench.queue_is_empty(), "{point} {allowed:?}");
        let most = allowed.unwrap_or(10);
        assert!(bench.redeliveries < most, "{point} {allowed:?}: {}", bench.redeliveries);
        assert!(allowed.is_some() || early < bench.redeliveries, "{point}: all within {early}");
        bench.assert_nothing_is_left();
    }
}

#[test]
fn the_letter_of_a_launch_whose_every_end_broke_says_what_may_be_left() {
    let mut bench = Bench::new(settings());
    bench.panicking.insert("AssociationStatus", 1_000);
    bench.in_progress = true;
    bench.break_at("internal_error", 0, 1_000);
    bench.launch(1);
    bench.run_for(4 * 3_600_000);
    assert_eq!(letters(&bench), ["internal_error"]);
    assert!(bench.letters[0].attributes.iter().any(|(name, value)| *name == "EnrolldOwed" && value.starts_with("disassociate ")));
}

#[test]
fn a_panic_where_a_batch_is_made_ends_the_run_of_its_one_bad_member() {
    let mut bench = Bench::new(settings());
    bench.max_receive_count = None;
    bench.break_calls_of(Some(3));
    for n in 1..=20 {
        bench.launch(n);
    }
    bench.run_for(4_000);
    assert_eq!(bench.outcomes().iter().filter(|outcome| **outcome == Outcome::Enrolled).count(), 19);
    bench.break_calls_of(None);
    bench.run_for(600_000);
    assert_eq!(bench.completions.len(), 20);
    assert!(bench.queue_is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn a_panic_while_everything_is_given_back_keeps_no_other_message() {
    let mut bench = Bench::new(settings());
    bench.server = Err(not_ready());
    for n in 1..=5 {
        bench.launch(n);
        bench.launch_again(n, 1);
    }
    bench.run_for(5_000);
    bench.break_at("Verify", 0, 3);
    bench.shut_down();
    bench.run_for(30_000);
    assert_eq!(bench.broke(), 3);
    assert!(bench.is_done());
    bench.run_for(60_000);
    assert_eq!(bench.visible(), 10);
    assert_eq!(bench.in_hand(), 0);
}
