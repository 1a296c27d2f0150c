//! Simulated fleets under virtual time: the pure core of whole workers against the pure model of the services.

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
    for seed in one.map_or(0..seeds, |one| one..one + 1) {
        let began = std::time::Instant::now();
        let mut fleet = Fleet::new(Plan::of(seed), one.is_some());
        fleet.run();
        println!("{seed} calls {} steps {} secs {} took {:?}", fleet.calls, fleet.steps, (fleet.now - plan::BEGIN) / 1000, began.elapsed());
        if !fleet.faults.is_empty() {
            bad += 1;
            println!("seed {seed}: {:?} after {} s, {} calls", fleet.faults, (fleet.now - plan::BEGIN) / 1000, fleet.calls);
        }
    }
    assert_eq!(bad, 0);
}
