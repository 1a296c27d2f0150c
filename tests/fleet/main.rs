//! Simulated fleets under virtual time: the pure core of whole workers against the pure model of the services.
//!
//! `ENROLLD_FLEET_SEEDS=100000 cargo test --test fleet` tries more of them than usual;
//! `ENROLLD_FLEET_SEED=17 cargo test --test fleet seeds -- --nocapture` repeats one and tells what happened. Both together try so many from
//! that one on.

mod crash_points;
mod invariants;
mod plan;
mod poison;
mod run;
mod services;
mod tally;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::Instant;

use invariants::Verdict;
use plan::Plan;
use run::Fleet;
use tally::Tally;

/// How many seeds are tried unless `ENROLLD_FLEET_SEEDS` says otherwise.
const SEEDS: u64 = 10_000;
/// From so many seeds on, each kind of thing that can happen must have.
const ENOUGH: u64 = 2_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, and is {text}")))
}

#[test]
fn seeds_of_faults_lose_no_action_and_break_no_promise() {
    let (named, seeds) = (number("ENROLLD_FLEET_SEED"), number("ENROLLD_FLEET_SEEDS"));
    if let (Some(seed), None) = (named, seeds) {
        let (fleet, verdict) = run(Plan::of(seed), true);
        let mut tally = Tally::default();
        tally.take(seed, &fleet, verdict);
        println!("{tally}");
        assert!(tally.broken.is_empty(), "{:#?}", tally.broken);
        return;
    }
    let (first, seeds) = (named.unwrap_or(0), seeds.unwrap_or(SEEDS));
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let total = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let mut tally = Tally::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    let (fleet, verdict) = run(Plan::of(seed), false);
                    tally.take(seed, &fleet, verdict);
                }
                total.lock().unwrap().merge(tally);
            });
        }
    });
    let mut tally = total.into_inner().unwrap();
    println!("{tally}\nin {:.1} s", began.elapsed().as_secs_f64());
    tally.broken.sort();
    for (seed, broken) in tally.broken.iter().take(20) {
        println!("seed {seed}: repeat it with ENROLLD_FLEET_SEED={seed} cargo test --test fleet seeds -- --nocapture");
        for what in broken.iter().take(5) {
            println!("    {}", what.chars().take(300).collect::<String>());
        }
    }
    assert!(tally.broken.is_empty(), "{} of {seeds} seeds broke a promise", tally.broken.len());
    // It takes three accidents each time.
    let most = 3 + seeds / 200;
    assert!(tally.excused <= most, "{} were excused, and {most} are what bad luck explains", tally.excused);
    // Servers that are away or refuse for longer than a node has; a worker that took nothing off would leave a dozen times as many.
    let most_owed = 20 + seeds * 3 / 10;
    assert!(tally.owed <= most_owed, "{} nodes are left and a letter says so; {most_owed} are what their servers explain", tally.owed);
    assert!(tally.told <= most, "{} serve, are missing, and a letter says so; {most} are what bad luck explains", tally.told);
    if seeds >= ENOUGH {
        assert!(tally.missing().is_empty(), "these runs never saw {:?}", tally.missing());
    }
}

#[test]
fn the_same_seed_ends_the_same() {
    for seed in 0..20 {
        let [one, other] = [(); 2].map(|()| run(Plan::of(seed), false).0);
        assert_eq!(one.now, other.now, "seed {seed}");
        assert!(one.called == other.called, "seed {seed}");
    }
}

thread_local! {
    /// What has panicked on this thread: the core catches what panics inside an action, and goes on.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Runs a plan to its end, and judges it.
fn run(plan: Plan, trace: bool) -> (Fleet, Verdict) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            before(info);
        }));
    });
    PANICS.with_borrow_mut(Vec::clear);
    let mut fleet = Fleet::new(plan, trace);
    let ended = catch_unwind(AssertUnwindSafe(|| fleet.run()));
    fleet.faults.extend(PANICS.take());
    if ended.is_err() {
        fleet.faults.push("the run panicked".into());
    }
    let verdict = invariants::judge(&fleet);
    (fleet, verdict)
}
