//! Simulated fleets under virtual time: the pure core of whole workers against the pure model of the services.
//!
//! `ENROLLD_FLEET_SEEDS=100000 cargo test --test fleet` tries more of them, `ENROLLD_FLEET_SEED=17 cargo test --test fleet -- --nocapture`
//! repeats one and tells what happened.

mod invariants;
mod plan;
mod run;
mod services;

use plan::Plan;
use run::Fleet;

#[test]
fn skeleton() {
    let seeds: u64 = std::env::var("ENROLLD_FLEET_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let one: Option<u64> = std::env::var("ENROLLD_FLEET_SEED").ok().and_then(|text| text.parse().ok());
    let mut bad = 0;
    let began = std::time::Instant::now();
    for seed in one.map_or(0..seeds, |one| one..one + 1) {
        let mut fleet = Fleet::new(Plan::of(seed), one.is_some());
        fleet.run();
        let broken = invariants::broken(&fleet);
        if !broken.is_empty() {
            bad += 1;
            println!("seed {seed}: after {} s, {} calls:", (fleet.now - plan::BEGIN) / 1000, fleet.calls);
            for broken in broken.iter().take(4) {
                println!("    {}", broken.chars().take(if one.is_some() { 5000 } else { 300 }).collect::<String>());
            }
        }
    }
    println!("{:?}", began.elapsed());
    assert_eq!(bad, 0);
}
