//! 10,000 nodes whose key is not there yet: asked for often enough, and not too often.

use std::thread;
use std::time::Duration;

use enrolld::simulator::model::agent::Publish;

use crate::bench::{Bench, until};
use crate::processes::{self, ENROLLD};
use crate::report::Measured;
use crate::{Fallible, setup};

pub fn run(bench: &Bench) -> Fallible<Measured> {
    let launches = bench.scale(10_000, 300);
    let interval = bench.scale(60, 3);
    let mut fixture = setup::fixture(3600);
    fixture.groups.iter_mut().for_each(|group| group.options.agent.publish = Publish::Never);
    let simulator = bench.simulator(&fixture)?;
    let route = format!("key_poll = \"{interval}s\"");
    let configuration = setup::configuration(&simulator.endpoint(), &format!("fleet_size = {launches}"), &route, setup::ANYBODY);
    let mut worker = bench.worker_with(&simulator, "worker", &configuration)?;
    simulator.admin.launch(setup::GROUP, launches)?;
    until("every key was asked for once", Duration::from_secs(180), || {
        worker.must_run()?;
        thread::sleep(Duration::from_secs(1));
        Ok(simulator.admin.state()?.details.is_some_and(|details| details.misses.len() == launches))
    })?;
    // Two intervals more, so that each node's gaps are seen whole.
    thread::sleep(Duration::from_secs(2 * interval + 5));
    let state = simulator.admin.state()?;
    let misses = &state.details.as_ref().ok_or("no details")?.misses;
    let longest = misses.values().map(|miss| miss.longest_gap_ms.max(state.now_ms - miss.last_ms)).max().unwrap_or(u64::MAX);
    let fewest = misses.values().map(|miss| miss.count).min().unwrap_or(0);
    let arrivals = state.arrivals.get("ssm:GetParameters").copied().unwrap_or_default();
    let seconds = (arrivals.last_ms - arrivals.first_ms) as f64 / 1000.0;
    Ok(Measured::default()
        .at_most("GetParameters in any one second", arrivals.most_in_a_second as f64, "calls", 20.0)
        .shown("GetParameters a second on average", state.calls["ssm:GetParameters"] as f64 / seconds, "calls/s")
        .at_most("the longest that a node was not asked for", longest as f64 / 1000.0, "s", interval as f64)
        .at_least("the fewest times that a node was asked for", fewest as f64, "times", 3.0)
        .at_least("check refuses an interval of 5 s for 10,000", refused(bench, "5s")?, "", 1.0)
        .at_most("check refuses an interval of 60 s for 10,000", refused(bench, "60s")?, "", 0.0))
}

/// 1 where `check` refuses a poll interval for 10,000 nodes.
fn refused(bench: &Bench, interval: &str) -> Fallible<f64> {
    let file = bench.folder().join("check.toml");
    let route = format!("key_poll = \"{interval}\"");
    std::fs::write(&file, setup::configuration("http://127.0.0.1:9", "fleet_size = 10000", &route, setup::ANYBODY))?;
    let output = processes::clean(ENROLLD).args(["check", "--offline", "--config"]).arg(&file).output()?;
    match output.status.code() {
        Some(0) => Ok(0.0),
        Some(2) if String::from_utf8_lossy(&output.stderr).contains("key_poll") => Ok(1.0),
        _ => Err(format!("check ended oddly: {output:?}").into()),
    }
}
