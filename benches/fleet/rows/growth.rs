//! Cost as it grows: late launches of a long run cost what early ones did, and memory stays.

use std::time::Duration;

use crate::bench::{Bench, all_in_service};
use crate::report::Measured;
use crate::{Fallible, kernel, setup};

pub fn run(bench: &Bench) -> Fallible<Measured> {
    let launches = bench.scale(50_000, 1_000);
    let span = launches / 10;
    let marks = [span, 2 * span, 9 * span, 10 * span];
    let simulator = bench.simulator(&setup::fixture(3600))?;
    simulator.admin.launch(setup::GROUP, launches)?;
    let configuration = setup::configuration(&simulator.endpoint(), "", setup::FAST, setup::ANYBODY);
    let mut worker = bench.worker_with(&simulator, "worker", &configuration)?;
    let pid = worker.pid();
    // The CPU time and what is resident whenever it was looked.
    let mut seen: Vec<(f64, Duration, u64)> = Vec::new();
    simulator.until_drained(launches, &mut worker, |done| {
        seen.push((done as f64, kernel::cpu(pid)?, kernel::memory(pid)?.resident));
        Ok(())
    })?;
    all_in_service(&simulator.admin.summary()?, launches)?;
    let cpu = marks.map(|mark| at(&seen, mark as f64));
    let (early, late) = ((cpu[1] - cpu[0]) / span as f64, (cpu[3] - cpu[2]) / span as f64);
    let resident = |from: usize, to: usize| {
        let among = seen.iter().filter(|(done, ..)| *done >= from as f64 && *done <= to as f64);
        among.map(|(_, _, kib)| *kib).max().unwrap_or(0) as f64 / 1024.0
    };
    let (before, after) = (resident(marks[0], marks[1]), resident(marks[2], marks[3]));
    Ok(Measured::default()
        .at_most(
            format!("CPU of launches {}-{} against {}-{}", marks[2] + 1, marks[3], marks[0] + 1, marks[1]),
            late / early,
            "times",
            1.10,
        )
        .shown("CPU per launch, early", early * 1000.0, "ms")
        .shown("CPU per launch, late", late * 1000.0, "ms")
        .at_most("memory late against early", after / before, "times", 1.10)
        .shown("resident early, at most", before, "MiB")
        .shown("resident late, at most", after, "MiB"))
}

/// The CPU seconds at so many launches, between the two looks around it.
fn at(seen: &[(f64, Duration, u64)], mark: f64) -> f64 {
    let next = seen.iter().position(|(done, ..)| *done >= mark).unwrap_or(seen.len() - 1);
    let (after, cpu_after, _) = seen[next];
    let Some((before, cpu_before, _)) = next.checked_sub(1).map(|at| seen[at]) else { return cpu_after.as_secs_f64() };
    let share = if after > before { (mark - before) / (after - before) } else { 1.0 };
    cpu_before.as_secs_f64() + (cpu_after - cpu_before).as_secs_f64() * share
}
