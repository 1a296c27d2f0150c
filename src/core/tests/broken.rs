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
