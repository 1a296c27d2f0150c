//! From the start of the process to the arrival of its first ReceiveMessage.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::bench::{Bench, percentile, until};
use crate::report::Measured;
use crate::{Fallible, setup};

const RECEIVE: &str = "sqs:ReceiveMessage";

pub fn run(bench: &Bench) -> Fallible<Measured> {
    let times = bench.scale(21, 3);
    let simulator = bench.simulator(&setup::fixture(3600))?;
    let mut took = Vec::new();
    for _ in 0..times {
        simulator.admin.delete("calls")?;
        let began = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1000.0;
        let _worker = bench.worker(&simulator)?;
        until("the first ReceiveMessage", Duration::from_secs(120), || Ok(simulator.first_call(RECEIVE)?.is_some()))?;
        let first = simulator.first_call(RECEIVE)?.ok_or("it was there")?;
        // The simulator's clock shows whole milliseconds that have passed, of a start that was rounded down: at most two less.
        took.push(first as f64 + 2.0 - began);
    }
    Ok(Measured::default()
        .at_most(format!("median of {times}"), percentile(&mut took, 0.5), "ms", 25.0)
        .shown("the shortest", percentile(&mut took, 0.0), "ms")
        .shown("the longest", percentile(&mut took, 1.0), "ms")
        .note("from before fork and exec; 2 ms are added for the simulator's clock of whole milliseconds"))
}
