//! When a message's lease is extended: so early that one extension may fail, as late as a call can, and another still fits.

use std::time::Duration;

use super::bench::{Bench, settings};
use super::timeout;
use crate::core::call::Call;
use crate::core::observation::Outcome;
use crate::core::settings::Settings;
use crate::facts::KeyAnswer;

/// The shortest visibility time-out that the configuration lets through: three calls, and twenty seconds.
fn shortest() -> Settings {
    let mut settings = settings();
    settings.visibility = settings.call_timeout * 3 + Duration::from_secs(20);
    settings
}

/// A launch that waits for its key.
fn held(settings: Settings) -> Bench {
    let mut bench = Bench::new(settings);
    bench.keys.insert(1, KeyAnswer::Absent);
    bench.launch(1);
    bench
}

/// When the lease was extended, or was to be, in milliseconds after the message was received.
fn extensions(bench: &Bench) -> Vec<u64> {
    bench.made.iter().filter(|(_, call)| matches!(call, Call::Extend { .. })).map(|(at, _)| *at).collect()
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

#[test]
fn a_lease_is_extended_before_half_of_it_is_over_and_not_all_the_time() {
    for settings in [shortest(), settings()] {
        let visibility = ms(settings.visibility);
        let mut bench = held(settings);
        bench.run_for(10 * visibility);
        let mut before = 0;
        for at in extensions(&bench) {
            let share = (at - before) as f64 / visibility as f64;
            assert!((0.3..0.5).contains(&share), "at {at} ms, {share:.2} of {visibility} ms after the one before");
            before = at;
        }
        assert!(before > 9 * visibility, "the last one was at {before} ms");
        assert_eq!(bench.redeliveries, 0);
    }
}

#[test]
fn after_an_extension_that_failed_as_late_as_a_call_can_another_still_fits() {
    let settings = shortest();
    let call = ms(settings.call_timeout);
    let mut bench = held(settings);
    bench.slow.insert("ChangeMessageVisibilityBatch", call);
    bench.faults.insert("ChangeMessageVisibilityBatch", timeout());
    while extensions(&bench).is_empty() {
        bench.run_for(100);
    }
    // Its answer comes with the end of the call; the one after it takes two thirds of that time, and goes through.
    bench.run_for(call);
    assert_eq!(extensions(&bench).len(), 1);
    bench.faults.clear();
    bench.slow.insert("ChangeMessageVisibilityBatch", call * 2 / 3);
    bench.run_for(3 * call);
    assert!(extensions(&bench).len() >= 2);
    bench.slow.clear();
    bench.keys.clear();
    bench.run_for(60_000);
    assert_eq!((bench.outcomes(), bench.redeliveries), (vec![Outcome::Enrolled], 0));
}

/// Longer than any lease without an extension.
const MINUTES_MS: u64 = 900_000;

#[test]
fn an_order_is_dropped_with_its_lease_and_cannot_come_after_the_next_one() {
    let mut bench = Bench::new(settings());
    let visibility = ms(settings().visibility);
    bench.slow.insert("Associate", MINUTES_MS);
    bench.launch(1);
    bench.run_for(5_000);
    bench.faults.insert("ChangeMessageVisibilityBatch", timeout());
    bench.slow.clear();
    bench.run_for(visibility + 10_000);
    bench.faults.clear();
    bench.run_for(10_000);
    assert_eq!(bench.outcomes(), [Outcome::LeaseLost, Outcome::Enrolled]);
    bench.terminate(1);
    bench.run_for(10_000);
    assert!(bench.nodes.is_empty());
    bench.run_for(MINUTES_MS);
    assert!(bench.nodes.is_empty(), "the first order came after its node was taken off");
    bench.assert_nothing_is_left();
}

#[test]
fn an_order_is_dropped_before_its_message_is_given_back() {
    let mut bench = Bench::new(settings());
    bench.slow.insert("Associate", MINUTES_MS);
    bench.launch(1);
    bench.run_for(5_000);
    bench.shut_down();
    bench.run_for(MINUTES_MS);
    assert_eq!((bench.outcomes(), bench.visible()), (vec![Outcome::Released], 1));
    assert!(bench.nodes.is_empty() && bench.is_done());
}
