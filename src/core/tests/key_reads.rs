//! 1,000 nodes whose key is not there yet, and as few key reads a second as they need at the least.

use std::collections::HashMap;
use std::time::Duration;

use super::bench::{Bench, settings};
use crate::core::call::Call;
use crate::facts::KeyAnswer;

const NODES: u32 = 1000;
/// Of ten keys each.
const READS_A_SECOND: usize = 2;
const INTERVAL_MS: u64 = 60_000;

/// What a key read takes that is sent in this tenth of a second: some are long on their way.
const fn takes(tenth: u64) -> u64 {
    if tenth % 7 == 3 { 180 } else { 5 }
}

#[test]
fn every_node_is_asked_for_its_key_in_time_and_no_second_sees_too_many_reads_though_some_take_long() {
    let mut settings = settings();
    settings.routes[0].key_poll = Duration::from_millis(INTERVAL_MS);
    settings.routes[0].key_rate = READS_A_SECOND as f64;
    let mut bench = Bench::new(settings);
    for n in 1..=NODES {
        bench.keys.insert(n, KeyAnswer::Absent);
        bench.launch(n);
    }
    for tenth in 0..6_000 {
        bench.slow.insert("GetParameters", takes(tenth));
        bench.run_for(100);
    }
    let mut arrived = Vec::new();
    let mut last = HashMap::new();
    let mut longest = 0;
    for (at, call) in &bench.made {
        let Call::FetchKeys { wanted, .. } = call else { continue };
        // What is sent as a tenth ends is of that tenth.
        arrived.push(at + takes(at.saturating_sub(1) / 100));
        for key in wanted {
            let before = last.insert(key.instance.clone(), *at);
            longest = longest.max(before.map_or(0, |before| at - before));
        }
    }
    assert_eq!(last.len(), NODES as usize);
    assert!(longest <= INTERVAL_MS, "a node was not asked for {longest} ms");
    assert!(last.values().all(|at| bench.now() - at <= INTERVAL_MS));
    arrived.sort_unstable();
    let close = arrived.windows(READS_A_SECOND + 1).find(|reads| reads[READS_A_SECOND] < reads[0] + 1000);
    assert_eq!(close, None, "so many within a second");
}
