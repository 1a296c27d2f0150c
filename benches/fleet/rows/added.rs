//! Time added by us: from a message that can be received to its CompleteLifecycleAction, less what the services take.

use crate::bench::{Bench, actions, all_in_service, launch_at_rate, percentile};
use crate::report::Measured;
use crate::{Fallible, setup};

/// On every call, in milliseconds.
pub const LATENCY_MS: u64 = 5;

/// What one launch waits for before CompleteLifecycleAction arrives: DescribeAutoScalingInstances, GetParameters, AssociateNode and
/// DescribeNodeAssociationStatus. The receive is not counted: while there is always a poll that waits, it takes no time.
pub const CRITICAL_CALLS: u64 = 4;

pub fn run(bench: &Bench) -> Fallible<Measured> {
    const RATE: f64 = 200.0;
    let (warm_up, launches) = (bench.scale(1_000, 200), bench.scale(6_000, 400));
    let simulator = bench.simulator(&setup::fixture(3600))?;
    simulator.admin.latency(LATENCY_MS)?;
    let configuration = setup::configuration(&simulator.endpoint(), "", setup::FAST, setup::ANYBODY);
    let mut worker = bench.worker_with(&simulator, "worker", &configuration)?;
    launch_at_rate(&simulator, setup::GROUP, RATE, warm_up + launches)?;
    simulator.until_drained(warm_up + launches, &mut worker, |_| Ok(()))?;
    let state = simulator.admin.state()?;
    all_in_service(&state, warm_up + launches)?;
    let mut added = added(&state, setup::GROUP, warm_up);
    let receives = state.calls["sqs:ReceiveMessage"] as f64 / (warm_up + launches) as f64;
    Ok(Measured::default()
        .at_most("added, p50", percentile(&mut added, 0.5), "ms", 2.0)
        .at_most("added, p99", percentile(&mut added, 0.99), "ms", 20.0)
        .shown("added, the most", percentile(&mut added, 1.0), "ms")
        .shown("calls on the critical path", CRITICAL_CALLS as f64, "calls")
        .shown("receives per launch", receives, "calls")
        .note(format!("{launches} launches at {RATE} a second, after {warm_up} that are not counted; the receive is not among the critical calls, since a poll is mostly waiting already"))
        .note("both times are whole milliseconds of the simulator's clock"))
}

/// The milliseconds that each launch of a group took beyond its critical calls; the first ones are left out.
pub fn added(state: &enrolld::simulator::model::state::State, group: &str, leave_out: usize) -> Vec<f64> {
    let mut all: Vec<_> = actions(state, group).filter_map(|action| Some((action.began_ms, action.completion_arrived_ms?))).collect();
    all.sort_unstable();
    let took = |(began, arrived): &(u64, u64)| (arrived - began) as f64 - (LATENCY_MS * CRITICAL_CALLS) as f64;
    all.iter().skip(leave_out).map(took).collect()
}
