//! 10,000 launches held by a maintenance: what they cost while they wait, and how they are let through afterwards.

use std::thread;
use std::time::{Duration, Instant};

use enrolld::simulator::model::autoscaling::LifecycleState;
use enrolld::simulator::model::state::State;
use serde_json::json;

use crate::bench::{Bench, until};
use crate::processes::{Process, Simulator};
use crate::report::Measured;
use crate::{Fallible, kernel, setup};

const ASSOCIATE: &str = "opsworks-cm:AssociateNode";

/// At a HeartbeatTimeout of an hour; and then the server is HEALTHY again.
pub fn run(bench: &Bench) -> Fallible<Measured> {
    let launches = bench.scale(10_000, 200);
    let (simulator, mut worker) = hold(bench, launches, 3600)?;
    let measured = while_held(bench, &simulator, &mut worker, launches, (64.0, 5.0))?;
    healthy_again(bench, launches, &simulator, &mut worker, measured)
}

/// At a HeartbeatTimeout of a minute.
pub fn run_60(bench: &Bench) -> Fallible<Measured> {
    let launches = bench.scale(10_000, 200);
    let (simulator, mut worker) = hold(bench, launches, 60)?;
    while_held(bench, &simulator, &mut worker, launches, (f64::INFINITY, 25.0))
}

/// A server under maintenance, and a worker that has just met the first refusal.
pub fn hold(bench: &Bench, launches: usize, heartbeat_timeout_s: u64) -> Fallible<(Simulator, Process)> {
    let simulator = bench.simulator(&setup::fixture(heartbeat_timeout_s))?;
    simulator.admin.server_is(setup::SERVER, "UNDER_MAINTENANCE")?;
    let configuration = setup::configuration(&simulator.endpoint(), "", setup::FAST, setup::ANYBODY);
    let worker = bench.worker_with(&simulator, "worker", &configuration)?;
    simulator.admin.launch(setup::GROUP, launches)?;
    until("the first InvalidStateException", Duration::from_secs(120), || {
        Ok(outcome(&simulator.admin.summary()?, ASSOCIATE, "InvalidStateException") > 0)
    })?;
    Ok((simulator, worker))
}

fn while_held(
    bench: &Bench,
    simulator: &Simulator,
    worker: &mut Process,
    launches: usize,
    (most_mib, most_percent): (f64, f64),
) -> Fallible<Measured> {
    thread::sleep(Duration::from_secs(bench.scale(10, 2)));
    simulator.admin.delete("calls")?;
    let seconds = bench.scale(120, 5);
    let (began, cpu) = (Instant::now(), worker.cpu()?);
    let mut resident = 0;
    // What is left in the queue costs nothing, and nobody keeps it open.
    let mut in_hand = usize::MAX;
    while began.elapsed() < Duration::from_secs(seconds) {
        thread::sleep(Duration::from_millis(500));
        worker.must_run()?;
        resident = resident.max(kernel::memory(worker.pid())?.resident);
        in_hand = in_hand.min(held_messages(simulator)?);
    }
    let used = (worker.cpu()? - cpu).as_secs_f64() * 100.0 / began.elapsed().as_secs_f64();
    let state = simulator.admin.summary()?;
    let orders: u64 = state.calls.iter().filter(|(name, _)| name.starts_with("opsworks-cm:")).map(|(_, count)| count).sum();
    let queue = &state.queues[setup::QUEUE];
    let late = state.counts.late_heartbeats + state.counts.timed_out;
    let measured = Measured::default();
    let measured = if most_mib.is_finite() {
        measured.at_most("resident, at most", resident as f64 / 1024.0, "MiB", most_mib)
    } else {
        measured.shown("resident, at most", resident as f64 / 1024.0, "MiB")
    };
    Ok(measured
        .at_least("messages in hand, at any time", in_hand as f64, "", launches as f64)
        .at_most("OpsWorks CM calls a second", orders as f64 / began.elapsed().as_secs_f64(), "calls/s", 1.0)
        .at_most("of one core", used, "%", most_percent)
        .at_most("heartbeats late", late as f64, "", 0.0)
        .at_most("leases late", (queue.counts.leases_ended + queue.counts.stale_handles) as f64, "", 0.0)
        .shown("heartbeats meanwhile", count(&state, "autoscaling:RecordLifecycleActionHeartbeat"), "calls")
        .shown(
            "the closest a heartbeat came to its time-out",
            state.counts.closest_heartbeat_ms.map_or(f64::NAN, |ms| ms as f64 / 1000.0),
            "s",
        )
        .shown("extensions meanwhile, ten messages each", count(&state, "sqs:ChangeMessageVisibilityBatch"), "calls")
        .note(format!("over {seconds} s")))
}

/// How many messages a worker has in hand.
pub fn held_messages(simulator: &Simulator) -> Fallible<usize> {
    Ok(simulator.admin.summary()?.queues[setup::QUEUE].in_flight)
}

/// The server admits 100 a second, which the worker does not know.
fn healthy_again(bench: &Bench, launches: usize, simulator: &Simulator, worker: &mut Process, measured: Measured) -> Fallible<Measured> {
    simulator.admin.delete("calls")?;
    let effect = json!({ "kind": "throttle", "rate": 100, "burst": 10 });
    simulator.admin.post("faults", &json!({ "operation": ASSOCIATE, "effect": effect }))?;
    simulator.admin.server_is(setup::SERVER, "HEALTHY")?;
    let since = simulator.admin.summary()?.now_ms;
    simulator.until_drained(launches, worker, |_| Ok(()))?;
    let state = simulator.admin.state()?;
    crate::bench::all_in_service(&state, launches)?;
    let instances = state.details.iter().flat_map(|details| details.instances.values());
    let arrived = instances.filter_map(|instance| instance.history.iter().find(|(_, state)| *state == LifecycleState::InService));
    let first = arrived.clone().map(|(at, _)| *at).min().unwrap_or(0);
    let last = arrived.map(|(at, _)| *at).max().unwrap_or(0);
    let throttled = outcome(&state, ASSOCIATE, "ThrottlingException") as f64;
    let seconds = |at: u64| at.saturating_sub(since) as f64 / 1000.0;
    Ok(measured
        .at_most("HEALTHY until all are in service", seconds(last), "s", bench.scale(120.0, 60.0))
        .shown("HEALTHY until the first is in service", seconds(first), "s")
        .at_most("AssociateNode that were throttled", throttled * 100.0 / count(&state, ASSOCIATE), "%", 1.0)
        .note("admitted: 100 AssociateNode a second, burst 10: 100 s is the least that 10,000 can take"))
}

fn outcome(state: &State, operation: &str, outcome: &str) -> u64 {
    state.outcomes.get(operation).and_then(|outcomes| outcomes.get(outcome)).copied().unwrap_or(0)
}

fn count(state: &State, operation: &str) -> f64 {
    state.calls.get(operation).copied().unwrap_or(0) as f64
}
