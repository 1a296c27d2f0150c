//! API calls per launch, counted by the simulator.

use crate::bench::{Bench, all_in_service, calls, launch_at_rate};
use crate::report::Measured;
use crate::{Fallible, setup};

pub fn run(bench: &Bench) -> Fallible<Measured> {
    let launches = bench.scale(10_000, 300);
    let mut measured = Measured::default();
    let (each, by_operation) = backlog(bench, launches, setup::ANYBODY)?;
    measured = measured.at_most("a backlog, require_owner off", each, "calls", 3.6).note(by_operation);
    let (each, by_operation) = backlog(bench, launches, &setup::owned())?;
    measured = measured.shown("a backlog, require_owner on", each, "calls").note(by_operation);
    for rate in [20.0, 200.0] {
        let (each, by_operation) = at_rate(bench, rate, (rate * bench.scale(20.0, 2.0)) as usize)?;
        measured = measured.shown(format!("{rate} launches a second, require_owner off"), each, "calls").note(by_operation);
    }
    Ok(measured)
}

fn backlog(bench: &Bench, launches: usize, key: &str) -> Fallible<(f64, String)> {
    let simulator = bench.simulator(&setup::fixture(3600))?;
    simulator.admin.launch(setup::GROUP, launches)?;
    let mut worker = bench.worker_with(&simulator, "worker", &setup::configuration(&simulator.endpoint(), "", setup::FAST, key))?;
    simulator.until_drained(launches, &mut worker, |_| Ok(()))?;
    let state = simulator.admin.summary()?;
    all_in_service(&state, launches)?;
    Ok((calls(&state) as f64 / launches as f64, by_operation(&state, launches)))
}

fn at_rate(bench: &Bench, rate: f64, launches: usize) -> Fallible<(f64, String)> {
    let simulator = bench.simulator(&setup::fixture(3600))?;
    let configuration = setup::configuration(&simulator.endpoint(), "", setup::FAST, setup::ANYBODY);
    let mut worker = bench.worker_with(&simulator, "worker", &configuration)?;
    launch_at_rate(&simulator, setup::GROUP, rate, launches)?;
    simulator.until_drained(launches, &mut worker, |_| Ok(()))?;
    let state = simulator.admin.summary()?;
    all_in_service(&state, launches)?;
    Ok((calls(&state) as f64 / launches as f64, by_operation(&state, launches)))
}

/// The calls of each operation per launch.
fn by_operation(state: &enrolld::simulator::model::state::State, launches: usize) -> String {
    let mut counts: Vec<_> = state.calls.iter().collect();
    counts.sort_by(|one, other| other.1.cmp(one.1));
    let each = |(name, count): &(&String, &u64)| {
        format!("{} {:.3}", name.split_once(':').map_or(name.as_str(), |(_, name)| name), **count as f64 / launches as f64)
    };
    counts.iter().map(each).collect::<Vec<_>>().join(", ")
}
