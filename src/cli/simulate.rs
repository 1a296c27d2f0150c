//! `enrolld simulate`: the AWS that the worker sees, in one process.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::print;
use crate::simulator::model::fixture::Fixture;
use crate::simulator::{Options, Simulator};

/// Serve a simulated AWS on one port: SQS, SSM, Auto Scaling, OpsWorks CM
///
/// Without a fixture there is a queue `enrolld-lifecycle` with the dead-letter queue `enrolld-dead-letters`, a group
/// `web-blue` with the hooks `enrol-on-launch` and `leave-on-terminate`, and a Chef server `prod-chef`. Launch an instance with
/// `curl -d '{"group":"web-blue"}' ADDRESS/_sim/launch`, and look at everything at `ADDRESS/_sim/state`.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct SimulateArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4599")]
    pub listen: SocketAddr,
    /// Listen although the address is not a loopback one: whoever reaches the port can do anything to the simulated account
    #[arg(long)]
    pub allow_remote: bool,
    /// The seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// What is there from the start, as a JSON file (docs/simulator.md)
    #[arg(long, value_name = "FILE")]
    pub fixture: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld simulate
  The same world each time, on a port of its own choosing:
    enrolld simulate --listen 127.0.0.1:0 --seed 7 --fixture world.json
  And the worker against it, in another terminal, after the lines that the simulator prints:
    enrolld run --config enrolld.toml";

/// Why the simulator did not start, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The address is not a loopback one.
    #[error("{0} is not a loopback address: add --allow-remote if the simulator is to be reached from outside")]
    NotLoopback(SocketAddr),
    /// The fixture cannot be read.
    #[error("the fixture {path} cannot be read: {source}")]
    FixtureUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The fixture is not one.
    #[error("the fixture {path} is not one: {source}")]
    FixtureInvalid {
        /// The file.
        path: PathBuf,
        /// Where, and why.
        source: serde_json::Error,
    },
    /// The simulator cannot start, or cannot wait for signals.
    #[error("the simulator cannot run on {listen}: {source}")]
    Start {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// See [`SimulateError`].
pub async fn run(args: SimulateArgs) -> Result<(), SimulateError> {
    let listen = args.listen;
    if !listen.ip().is_loopback() && !args.allow_remote {
        return Err(SimulateError::NotLoopback(listen));
    }
    let fixture = args.fixture.as_deref().map_or_else(|| Ok(Fixture::standard()), read_fixture)?;
    let region = fixture.settings.region.clone();
    let failed = |source| SimulateError::Start { listen, source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let simulator = Simulator::start(Options { listen, seed: args.seed, fixture, ..Options::default() }).await.map_err(failed)?;
    announce(&simulator.endpoint(), &region);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn read_fixture(path: &Path) -> Result<Fixture, SimulateError> {
    let text = std::fs::read(path).map_err(|source| SimulateError::FixtureUnreadable { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| SimulateError::FixtureInvalid { path: path.to_owned(), source })
}

fn announce(endpoint: &str, region: &str) {
    let text = format!(
        "The simulated AWS is at {endpoint}

export AWS_ENDPOINT_URL={endpoint}
export AWS_REGION={region}
export AWS_ACCESS_KEY_ID=simulated
export AWS_SECRET_ACCESS_KEY=simulated

Launch an instance:  curl -d '{{\"group\":\"web-blue\"}}' {endpoint}/_sim/launch
See everything:      curl {endpoint}/_sim/state
"
    );
    // Whoever reads no further has its simulator all the same.
    let _ = print(&text);
}
