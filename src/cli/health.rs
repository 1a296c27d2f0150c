//! `enrolld health`: asks a running worker how it is, for containers and people.

use std::process::ExitCode;

use super::CommandError;

/// Ask a running worker whether it is well
///
/// Exits with 0 when it is and with 1 when it is not, or does not answer, and says which in one line. Made for the health check of a
/// container, whose image has no shell.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct HealthArgs {
    /// What to ask: /readyz for whether it can work, /livez for whether it turns
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9464/readyz")]
    pub url: String,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld health
  Only whether it turns, for a liveness check:
    enrolld health --url http://127.0.0.1:9464/livez";

/// Asks.
///
/// # Errors
/// Not built in yet.
pub async fn run(_args: HealthArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::failed("asking a worker is not built in yet"))
}
