//! What a worker costs that has nothing to do.

use std::thread;
use std::time::Duration;

use crate::bench::{Bench, until};
use crate::report::Measured;
use crate::{Fallible, kernel, setup};

pub fn run(bench: &Bench) -> Fallible<Measured> {
    let seconds = bench.scale(60, 5);
    let simulator = bench.simulator(&setup::fixture(3600))?;
    let mut worker = bench.worker(&simulator)?;
    until("the first ReceiveMessage", Duration::from_secs(120), || Ok(simulator.first_call("sqs:ReceiveMessage")?.is_some()))?;
    // What the start itself takes is no idling.
    thread::sleep(Duration::from_secs(1));
    let (switches, cpu) = (kernel::voluntary_switches(worker.pid())?, worker.cpu()?);
    thread::sleep(Duration::from_secs(seconds));
    worker.must_run()?;
    let memory = kernel::memory(worker.pid())?;
    let all = kernel::voluntary_switches(worker.pid())?;
    let used = worker.cpu()? - cpu;
    Ok(Measured::default()
        .at_most("resident", memory.resident as f64 / 1024.0, "MiB", 15.0)
        .at_most("of it anonymous", memory.anonymous as f64 / 1024.0, "MiB", 6.0)
        .at_most("voluntary context switches a minute", (all - switches) as f64 * 60.0 / seconds as f64, "", 30.0)
        .shown("voluntary context switches of the start", switches as f64, "")
        .shown("CPU meanwhile", used.as_secs_f64() * 1000.0, "ms")
        .note("with its listener, and no watchdog"))
}
