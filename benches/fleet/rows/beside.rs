//! One sick server beside a well one: those who wait for the one do not slow the nodes of the other.

use std::thread;
use std::time::Duration;

use super::added::{LATENCY_MS, added};
use super::held::{held_messages, hold};
use crate::bench::{Bench, launch_at_rate, percentile};
use crate::processes::{Process, Simulator};
use crate::report::Measured;
use crate::{Fallible, setup};

const RATE: f64 = 50.0;

pub fn run(bench: &Bench) -> Fallible<Measured> {
    let (alone, alone_half) = {
        let simulator = bench.simulator(&setup::fixture(3600))?;
        let configuration = setup::configuration(&simulator.endpoint(), "", setup::FAST, setup::ANYBODY);
        let mut worker = bench.worker_with(&simulator, "worker", &configuration)?;
        measure(bench, &simulator, &mut worker)?
    };
    let launches = bench.scale(10_000, 200);
    let (beside, beside_half, in_hand) = {
        let (simulator, mut worker) = hold(bench, launches, 3600)?;
        thread::sleep(Duration::from_secs(bench.scale(10, 2)));
        let before = held_messages(&simulator)?;
        let (beside, half) = measure(bench, &simulator, &mut worker)?;
        (beside, half, before.min(held_messages(&simulator)?))
    };
    Ok(Measured::default()
        .at_least("messages in hand, before and after", in_hand as f64, "", launches as f64)
        .at_most("p99 beside 10,000 held / p99 alone", beside / alone, "times", 1.20)
        .shown("p99 alone", alone, "ms")
        .shown("p99 beside", beside, "ms")
        .shown("p50 alone", alone_half, "ms")
        .shown("p50 beside", beside_half, "ms")
        .note(format!("{RATE} launches a second for the well server, {LATENCY_MS} ms on every call; from visible to the arrival of CompleteLifecycleAction")))
}

/// The p99 and the p50 of the other group's launches, in milliseconds.
fn measure(bench: &Bench, simulator: &Simulator, worker: &mut Process) -> Fallible<(f64, f64)> {
    let (warm_up, launches) = (bench.scale(250, 50), bench.scale(3_000, 150));
    simulator.admin.latency(LATENCY_MS)?;
    launch_at_rate(simulator, setup::OTHER_GROUP, RATE, warm_up + launches)?;
    simulator.until_drained(warm_up + launches, worker, |_| Ok(()))?;
    let state = simulator.admin.state()?;
    let mut took: Vec<f64> = added(&state, setup::OTHER_GROUP, warm_up);
    let critical = (LATENCY_MS * super::added::CRITICAL_CALLS) as f64;
    took.iter_mut().for_each(|ms| *ms += critical);
    if took.len() != launches {
        return Err(format!("{} of {launches} launches were completed", took.len()).into());
    }
    Ok((percentile(&mut took, 0.99), percentile(&mut took, 0.5)))
}
