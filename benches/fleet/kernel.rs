//! What the kernel counts of a process. A zombie, ended and not yet waited for, still shows the CPU time of all its threads.

use std::fs;
use std::time::Duration;

use crate::Fallible;

/// `/proc` counts CPU time in these on every Linux (`USER_HZ`). Their sum of user and system time is as exact as the scheduler's own clock.
pub const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time so far.
pub fn cpu(pid: u32) -> Fallible<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name stands in parentheses and may have anything in it.
    let (_, rest) = stat.rsplit_once(')').ok_or("an odd /proc/PID/stat")?;
    let field = |at: usize| rest.split_whitespace().nth(at).and_then(|field| field.parse::<u64>().ok()).ok_or("an odd /proc/PID/stat");
    Ok(Duration::from_secs_f64((field(11)? + field(12)?) as f64 / TICKS_PER_SECOND))
}

/// Memory, in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    pub resident: u64,
    pub anonymous: u64,
}

/// What is resident now.
pub fn memory(pid: u32) -> Fallible<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(Memory { resident: kib(&text, "Rss:")?, anonymous: kib(&text, "Anonymous:")? })
}

/// The most that was ever resident, in KiB.
pub fn peak(pid: u32) -> Fallible<u64> {
    kib(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmHWM:")
}

/// Voluntary context switches of all threads so far.
pub fn voluntary_switches(pid: u32) -> Fallible<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        sum += kib(&status, "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

/// The number behind a name.
fn kib(text: &str, name: &str) -> Fallible<u64> {
    let line = text.lines().find(|line| line.starts_with(name)).ok_or_else(|| format!("no {name}"))?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}
