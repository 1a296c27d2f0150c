//! The rows: each is one promise, measured.

mod added;
mod beside;
mod calls;
mod growth;
mod held;
mod idle;
mod missing;
mod peers;
mod plain;
mod simulator;
mod start;
mod workers;

use crate::bench::Bench;
use crate::report::Measured;
use crate::{Fallible, curve};

/// One row.
pub struct Row {
    /// It is asked for by this name.
    pub name: &'static str,
    pub about: &'static str,
    pub run: fn(&Bench) -> Fallible<Measured>,
}

const fn row(name: &'static str, about: &'static str, run: fn(&Bench) -> Fallible<Measured>) -> Row {
    Row { name, about, run }
}

/// All of them, in order.
pub const ALL: &[Row] = &[
    row("simulator", "the simulator is no bottleneck", simulator::run),
    row("calls", "API calls per launch, all services", calls::run),
    row("loop", "worker CPU per launch against a bare loop of the same calls", plain::run),
    row("peers", "worker CPU per launch against Python and Node workers", peers::run),
    row("growth", "cost as it grows, and memory", growth::run),
    row("added", "time added by us, 200 launches a second, 5 ms on every call", added::run),
    row("held", "10,000 launches held by maintenance; and then the server is HEALTHY again", held::run),
    row("held-60", "10,000 launches held at a HeartbeatTimeout of 60 s", held::run_60),
    row("missing", "10,000 nodes whose key is not there yet", missing::run),
    row("beside", "one sick server beside a well one", beside::run),
    row("start", "from process start to the first ReceiveMessage", start::run),
    row("idle", "idle for 60 s after a fresh start", idle::run),
    row("workers", "several workers on one queue, 20,000 launches, 50 ms on every call", workers::run),
    row("curve", "from 100 to 50,000 launches: CPU, memory, calls", curve::run),
];
