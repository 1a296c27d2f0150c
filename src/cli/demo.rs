//! `enrolld demo`: a fleet launching, live, on this machine alone.

use std::process::ExitCode;

use clap::ValueEnum;

use super::CommandError;
use crate::demo::scenario::Scenario;

/// Watch a fleet launch, without an AWS account
///
/// Starts the simulator on a free port of this machine and the real worker against it, and shows each node on its way. Nothing leaves the machine.
/// Exits with 0 only when every action ended as it should.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct DemoArgs {
    /// How many nodes launch
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub nodes: u32,

    /// Repeats a run: the same seed, the same faults at the same nodes
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,

    /// What happens on the way
    #[arg(long, value_enum, default_value_t = Scenario::Tour)]
    pub scenario: Scenario,

    /// How it is shown
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Live, a line for each node, then a summary
    Table,
    /// One JSON object on the last line of standard output
    Json,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld demo
  Two hundred nodes in foul weather, and only the numbers:
    enrolld demo --nodes 200 --scenario storm --output json";

/// Shows the demo.
///
/// # Errors
/// A simulator or a worker that does not start.
pub async fn run(_args: DemoArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::failed("the demo is not built in yet"))
}
