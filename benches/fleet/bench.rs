//! What the rows share: where files go, how large everything is, and a worker beside a simulator.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use enrolld::simulator::model::autoscaling::ActionState;
use enrolld::simulator::model::fixture::Fixture;
use enrolld::simulator::model::state::State;

use crate::processes::{ENROLLD, Process, Simulator};
use crate::{Fallible, setup};

/// The bench as a whole.
#[derive(Debug)]
pub struct Bench {
    pub quick: bool,
    pub svg: PathBuf,
    folder: PathBuf,
}

impl Bench {
    pub fn new(quick: bool, svg: PathBuf) -> Fallible<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fleet");
        fs::create_dir_all(&folder)?;
        Ok(Self { quick, svg, folder })
    }

    /// The full number, or the quick one.
    pub fn scale<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn simulator(&self, fixture: &Fixture) -> Fallible<Simulator> {
        Simulator::start(&self.folder, fixture, &[])
    }

    /// A worker with keys that are believed whoever wrote them, and two routes.
    pub fn worker(&self, simulator: &Simulator) -> Fallible<Process> {
        self.worker_with(simulator, "worker", &setup::configuration(&simulator.endpoint(), "", "", setup::ANYBODY))
    }

    pub fn worker_with(&self, simulator: &Simulator, name: &str, configuration: &str) -> Fallible<Process> {
        let file = self.folder.join(format!("{name}.toml"));
        fs::write(&file, configuration)?;
        if self.quick {
            simulator.confine(&file)?;
        }
        Process::start(Command::new(ENROLLD).arg("run").arg("--config").arg(&file), name, &self.folder, &simulator.endpoint())
    }
}

/// Waits until something is so.
pub fn until(what: &str, longest: Duration, mut so: impl FnMut() -> Fallible<bool>) -> Fallible<()> {
    let began = Instant::now();
    while !so()? {
        if began.elapsed() > longest {
            return Err(format!("{what}: not within {longest:?}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// All calls of the worker that are counted, whatever they ended with.
pub fn calls(state: &State) -> u64 {
    state.calls.values().sum()
}

/// Every launch must have ended in service, or the numbers say nothing.
pub fn all_in_service(state: &State, launches: usize) -> Fallible<()> {
    let counts = &state.counts;
    if counts.completions != launches as u64 || counts.refused_completions + counts.timed_out > 0 {
        return Err(format!("not every launch was completed once: {launches} launches, {counts:?}").into());
    }
    let dead = &state.queues[setup::DEAD_LETTERS];
    if dead.visible > 0 || state.groups.values().any(|group| group.abandoned > 0) {
        return Err("launches were abandoned or dead-lettered".into());
    }
    Ok(())
}

/// The lifecycle actions, of one group where one is named.
pub fn actions<'a>(state: &'a State, group: &'a str) -> impl Iterator<Item = &'a ActionState> {
    state.details.iter().flat_map(|details| &details.actions).filter(move |action| action.group == group)
}

/// The value below which a share of all lie; they are sorted for it.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share).ceil() as usize;
    values.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Launches at a rate, each by itself, until so many were launched.
pub fn launch_at_rate(simulator: &Simulator, group: &str, rate: f64, count: usize) -> Fallible<()> {
    let began = Instant::now();
    for number in 0..count {
        let due = began + Duration::from_secs_f64(number as f64 / rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        simulator.admin.launch(group, 1)?;
    }
    Ok(())
}
