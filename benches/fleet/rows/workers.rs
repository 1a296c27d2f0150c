//! Several workers on one queue: the queue divides the work.

use std::time::Duration;

use crate::bench::{Bench, actions, all_in_service, until};
use crate::processes::Process;
use crate::report::Measured;
use crate::{Fallible, setup};

pub fn run(bench: &Bench) -> Fallible<Measured> {
    let one = seconds(bench, 1)?;
    let two = seconds(bench, 2)?;
    let four = seconds(bench, 4)?;
    Ok(Measured::default()
        .at_most("two workers, of one's time", two * 100.0 / one, "%", 55.0)
        .at_most("four workers, of one's time", four * 100.0 / one, "%", 30.0)
        .shown("one worker", one, "s")
        .shown("two workers", two, "s")
        .shown("four workers", four, "s")
        .note("from the first launch to the last completion; max_calls = 64 each"))
}

/// How long so many workers take, all of them polling before the first message is sent.
fn seconds(bench: &Bench, workers: usize) -> Fallible<f64> {
    let launches = bench.scale(20_000, 400);
    let simulator = bench.simulator(&setup::fixture(3600))?;
    simulator.admin.latency(bench.scale(50, 10))?;
    let configuration = setup::configuration(&simulator.endpoint(), "max_calls = 64", setup::FAST, setup::ANYBODY);
    let start = |number| bench.worker_with(&simulator, &format!("worker-{number}"), &configuration);
    let mut running: Vec<Process> = (0..workers).map(start).collect::<Fallible<_>>()?;
    until("all workers poll", Duration::from_secs(120), || Ok(simulator.came("sqs:ReceiveMessage")? >= workers as u64))?;
    // The last poll is on its way still, for as long as every call takes.
    std::thread::sleep(Duration::from_millis(200));
    simulator.admin.launch(setup::GROUP, launches)?;
    let first = &mut running[0];
    simulator.until_drained(launches, first, |_| Ok(()))?;
    let state = simulator.admin.state()?;
    all_in_service(&state, launches)?;
    let began = actions(&state, setup::GROUP).map(|action| action.began_ms).min().unwrap_or(0);
    let ended = actions(&state, setup::GROUP).filter_map(|action| action.closed_ms).max().unwrap_or(0);
    Ok((ended - began) as f64 / 1000.0)
}
