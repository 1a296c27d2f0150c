//! Simulated fleets under virtual time, the second tier: whole workers, all rooms and the real SDKs, against the model of the
//! services, over an HTTP client without sockets.
//!
//! `ENROLLD_TIER2_SEEDS=5000 cargo test --test workers` tries more of them; `ENROLLD_TIER2_SEED=17 cargo test --test workers --
//! --nocapture` repeats one and tells what happened. Both together try so many from that one on.
//!
//! The time is the test's own, not tokio's paused clock: that one needs a feature of tokio's which would have everything above tokio
//! built twice, once for the tests and once for the program. A single-threaded runtime without drivers tells when it would go to
//! sleep; then nothing can happen any more at the present time, and the stage moves it to whatever comes next. So the same seed has
//! the same calls at the same times.

#[path = "../common/permissions.rs"]
mod permissions;

mod alive;
mod crash_points;
mod errors;
mod handover;
mod invariants;
mod named;
mod outage;
mod plan;
mod poison;
mod refused;
mod run;
mod spoil;
mod stage;
mod stories;
mod wire;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use enrolld::simulator::model::faults::Effect;
use plan::Plan;
use run::Outcome;
use stage::Tracing;

/// How many seeds there are when nothing else is asked for.
const SEEDS: u64 = 200;

#[derive(Debug, Default)]
struct Totals {
    counts: BTreeMap<&'static str, u64>,
    /// The errors of the services' own that calls met, by their codes.
    errors: BTreeMap<String, u64>,
    broken: Vec<String>,
    /// Nodes of servers that answer repeated orders so that nobody can know what became of them.
    excused: usize,
}

impl Totals {
    fn add(&mut self, what: &'static str, count: usize) {
        *self.counts.entry(what).or_default() += count as u64;
    }

    fn take(&mut self, outcome: &Outcome) {
        let state = &outcome.state;
        let details = state.details.as_ref().expect("the long lists were asked for");
        self.add("actions", details.actions.len());
        self.add("associations", usize::try_from(state.counts.associations).expect("a count"));
        self.add("disassociations", usize::try_from(state.counts.disassociations).expect("a count"));
        self.add("certificates written", outcome.written.len());
        self.add("heartbeats", usize::try_from(state.counts.heartbeats).expect("a count"));
        self.add("calls", usize::try_from(state.calls.values().sum::<u64>()).expect("a count"));
        self.add("abandoned", details.actions.iter().filter(|action| action.result.as_deref() == Some("ABANDON")).count());
        self.add("dead letters", state.queues[plan::DEAD_LETTERS].visible);
        self.add("duplicates", usize::try_from(state.queues[plan::QUEUE].counts.duplicated).expect("a count"));
        self.add("workers killed", outcome.crashes);
        self.add("workers told to stop", outcome.shutdowns);
        self.add("hours", 0);
        self.add("milliseconds", usize::try_from(outcome.took_ms).expect("a count"));
        for fault in &state.faults {
            if let Effect::Error { code: Some(code), .. } = &fault.fault.effect {
                *self.errors.entry(code.clone()).or_default() += fault.happened;
            }
            let kind = match &fault.fault.effect {
                Effect::Latency { .. } => "fault: slow",
                Effect::Throttle { .. } => "fault: throttled",
                Effect::Error { status: 500.., .. } => "fault: 5xx",
                Effect::Error { code: Some(code), .. } if code == plan::EXPIRED => "fault: credentials expired",
                Effect::Error { code: Some(code), .. } if code == "ResourceNotFoundException" => "fault: no such server",
                Effect::Error { .. } => "fault: an error of the service's own",
                Effect::Drop => "fault: dropped",
                Effect::LoseAnswer => "fault: answer lost",
                Effect::Hang { .. } => "fault: hung",
            };
            self.add(kind, usize::try_from(fault.happened).expect("a count"));
        }
        let refused = state.outcomes.values().flat_map(|outcomes| outcomes.get("InvalidStateException")).sum::<u64>();
        self.add("fault: maintenance", usize::try_from(refused).expect("a count"));
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What is wrong with a seed's run.
fn try_seed(seed: u64, tracing: Tracing, totals: &Mutex<Totals>) -> Vec<String> {
    let plan = Plan::of(seed);
    let ran = catch_unwind(AssertUnwindSafe(|| run::run(&plan, tracing)));
    match ran {
        Ok(outcome) => {
            let (broken, excused) = invariants::broken(&plan, &outcome);
            let mut totals = totals.lock().expect("nobody panics with it");
            totals.take(&outcome);
            totals.excused += excused;
            broken
        }
        Err(_) => vec!["it panicked".into()],
    }
}

#[test]
fn whole_workers_lose_nothing_whatever_breaks() {
    let began = Instant::now();
    let (named, number) = (from_environment("ENROLLD_TIER2_SEED"), from_environment("ENROLLD_TIER2_SEEDS"));
    let first = named.unwrap_or(0);
    let last = first + number.unwrap_or(if named.is_some() { 1 } else { SEEDS });
    let tracing = if last - first == 1 { Tracing::Aloud } else { Tracing::Off };
    let next = AtomicU64::new(first);
    let totals = Mutex::new(Totals::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    let broken = try_seed(seed, tracing, &totals);
                    if !broken.is_empty() {
                        let again = format!("ENROLLD_TIER2_SEED={seed} cargo test --test workers -- --nocapture");
                        let mut text = format!("seed {seed}; to repeat it: {again}");
                        broken.iter().take(8).for_each(|what| text.push_str(&format!("\n    {what}")));
                        totals.lock().expect("nobody panics with it").broken.push(text);
                    }
                }
            });
        }
    });
    let mut totals = totals.into_inner().expect("nobody panics with it");
    let hours = totals.counts.remove("milliseconds").unwrap_or(0) / 3_600_000;
    totals.counts.insert("hours", hours);
    let (seconds, excused) = (began.elapsed().as_secs_f64(), totals.excused);
    println!("{} seeds in {seconds:.1} s: {:?}, {excused} nodes excused", last - first, totals.counts);
    assert!(totals.broken.is_empty(), "{} of {} seeds:\n{}", totals.broken.len(), last - first, totals.broken.join("\n"));
    if last - first >= SEEDS {
        let most = 3 + (last - first) / 50;
        assert!(excused as u64 <= most, "{excused} nodes were excused, and {most} are what bad luck explains");
        for row in errors::ALL.into_iter().chain(errors::OF_WRITES) {
            assert!(totals.errors.get(row.code).is_some_and(|count| *count > 0), "nobody ever met {row:?}");
        }
        for (what, count) in &totals.counts {
            assert!(*count > 0, "in {} seeds there was nothing of: {what}", last - first);
        }
    }
}

#[test]
fn the_same_seed_has_the_same_calls_at_the_same_times() {
    for seed in 0..4 {
        let [first, second] = [0, 1].map(|_| run::run(&Plan::of(seed), Tracing::Hashed).trace);
        assert_eq!(first, second, "seed {seed}");
    }
}
