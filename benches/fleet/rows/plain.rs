//! Worker CPU against a bare loop of the same calls.

use std::process::Command;

use crate::bench::{Bench, all_in_service, calls, percentile};
use crate::processes::Process;
use crate::report::Measured;
use crate::{Fallible, bare_loop, setup};

pub fn run(bench: &Bench) -> Fallible<Measured> {
    let (launches, pairs) = (bench.scale(10_000, 300), bench.scale(5, 1));
    let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    let mut per_launch = (0.0, 0.0);
    for _ in 0..pairs {
        let (worker, worker_calls) = worker(bench, launches)?;
        let (bare, bare_calls) = bare(bench, launches)?;
        ratios.push(worker / bare);
        ours.push(worker);
        theirs.push(bare);
        per_launch = (worker_calls, bare_calls);
    }
    let shown = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(", ");
    Ok(Measured::default()
        .at_most(format!("worker / bare loop, median of {pairs} pairs of {launches}"), percentile(&mut ratios, 0.5), "times", 1.25)
        .shown("worker CPU per launch, median", percentile(&mut ours, 0.5), "ms")
        .shown("bare loop CPU per launch, median", percentile(&mut theirs, 0.5), "ms")
        .shown("worker calls per launch", per_launch.0, "calls")
        .shown("bare loop calls per launch", per_launch.1, "calls")
        .note(format!("pairs: {shown}")))
}

/// CPU milliseconds and calls per launch of a worker, from its start to its end.
pub fn worker(bench: &Bench, launches: usize) -> Fallible<(f64, f64)> {
    let simulator = bench.simulator(&setup::fixture(3600))?;
    simulator.admin.launch(setup::GROUP, launches)?;
    let configuration = setup::configuration(&simulator.endpoint(), "", setup::FAST, setup::ANYBODY);
    let mut worker = bench.worker_with(&simulator, "worker", &configuration)?;
    simulator.until_drained(launches, &mut worker, |_| Ok(()))?;
    let state = simulator.admin.summary()?;
    all_in_service(&state, launches)?;
    let cpu = worker.stop()?;
    Ok((cpu.as_secs_f64() * 1000.0 / launches as f64, calls(&state) as f64 / launches as f64))
}

fn bare(bench: &Bench, launches: usize) -> Fallible<(f64, f64)> {
    let simulator = bench.simulator(&setup::fixture(3600))?;
    simulator.admin.launch(setup::GROUP, launches)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args([bare_loop::NAME, &setup::queue_url(&simulator.endpoint()), &launches.to_string()]);
    let cpu = Process::start(&mut command, "bare-loop", bench.folder(), &simulator.endpoint())?.ended()?;
    let state = simulator.admin.summary()?;
    all_in_service(&state, launches)?;
    Ok((cpu.as_secs_f64() * 1000.0 / launches as f64, calls(&state) as f64 / launches as f64))
}
