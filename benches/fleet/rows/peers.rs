//! Worker CPU against the workers that people write.

use crate::bench::{Bench, all_in_service, calls};
use crate::peers::Peer;
use crate::processes::Process;
use crate::report::Measured;
use crate::{Fallible, setup};

pub fn run(bench: &Bench) -> Fallible<Measured> {
    let launches = bench.scale(10_000, 100);
    let (ours, our_calls) = super::plain::worker(bench, launches)?;
    let mut measured = Measured::default();
    let mut best = f64::INFINITY;
    let mut rows = vec![("enrolld", ours, our_calls)];
    for peer in [Peer::Python, Peer::Node] {
        let (cpu, calls) = peer_cpu(bench, peer, launches)?;
        best = best.min(cpu);
        rows.push((peer.about(), cpu, calls));
    }
    measured = measured.at_most("worker / the better peer, CPU per launch", ours / best, "times", 0.1);
    for (name, cpu, calls) in rows {
        measured =
            measured.shown(format!("{name}: CPU per launch"), cpu, "ms").shown(format!("{name}: CPU per call"), cpu * 1000.0 / calls, "us");
        measured = measured.shown(format!("{name}: calls per launch"), calls, "calls");
    }
    Ok(measured)
}

fn peer_cpu(bench: &Bench, peer: Peer, launches: usize) -> Fallible<(f64, f64)> {
    let mut command = peer.command(bench.folder())?;
    let simulator = bench.simulator(&setup::fixture(3600))?;
    simulator.admin.launch(setup::GROUP, launches)?;
    command.arg(setup::queue_url(&simulator.endpoint())).arg(launches.to_string());
    let cpu = Process::start(&mut command, peer.name(), bench.folder(), &simulator.endpoint())?.ended()?;
    let state = simulator.admin.summary()?;
    all_in_service(&state, launches)?;
    Ok((cpu.as_secs_f64() * 1000.0 / launches as f64, calls(&state) as f64 / launches as f64))
}
