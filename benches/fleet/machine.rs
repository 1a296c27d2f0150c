//! What the numbers were measured on, and what else went on there meanwhile.

use std::fs;
use std::time::Instant;

use serde::Serialize;

use crate::Fallible;

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_mib: u64,
    pub kernel: String,
    pub compiler: String,
    pub load: String,
}

/// Describes the machine.
pub fn describe() -> Machine {
    let line = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let found = text.lines().find(|line| line.starts_with(key));
        found.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let kib = line("/proc/meminfo", "MemTotal");
    let output = |program: &str| {
        let output = std::process::Command::new(program).arg("--version").output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    Machine {
        processor: line("/proc/cpuinfo", "model name"),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory_mib: kib.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024,
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        compiler: output("rustc"),
        load: load(),
    }
}

/// The load averages of 1, 5 and 15 minutes.
fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// How busy all cores have been since some moment, whoever kept them so.
#[derive(Debug)]
pub struct Busy {
    since: Instant,
    busy: u64,
    ours: f64,
}

impl Busy {
    /// Begins to count.
    pub fn now() -> Fallible<Self> {
        Ok(Self { since: Instant::now(), busy: busy_ticks()?, ours: ours() })
    }

    /// How many cores others than this bench and its children kept busy, on average.
    pub fn until_now(&self) -> Fallible<f64> {
        let seconds = self.since.elapsed().as_secs_f64();
        let all = (busy_ticks()? - self.busy) as f64 / crate::kernel::TICKS_PER_SECOND;
        Ok(((all - (ours() - self.ours)) / seconds.max(0.01)).max(0.0))
    }
}

/// The CPU time of this process and of its children that have ended, in seconds.
fn ours() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> =
        stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11).map_while(|f| f.parse().ok()).collect();
    fields.iter().take(4).sum::<u64>() as f64 / crate::kernel::TICKS_PER_SECOND
}

/// user, nice, system, irq, softirq and steal of all cores.
fn busy_ticks() -> Fallible<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().ok_or("/proc/stat is empty")?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).map(str::parse).collect::<Result<_, _>>()?;
    Ok([0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum())
}
