//! `enrolld run`: the daemon.

use std::process::ExitCode;

use super::{CommandError, ConfigArgs};

/// Run the daemon
///
/// Takes lifecycle notifications from the queue until it is told to stop. SIGTERM and SIGINT end it: it takes no more messages, finishes what is
/// in flight or gives it back to the queue within `shutdown_grace`, and exits with 0. Run as many of it on one queue as you like.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct RunArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld run --config /etc/enrolld/enrolld.toml
  With more in the log, for this once:
    ENROLLD_LOG=info,enrolld=debug enrolld run --config enrolld.toml
  Against the simulator on this machine (enrolld simulate):
    AWS_ENDPOINT_URL=http://127.0.0.1:4599 enrolld run --config enrolld.toml";

/// Runs the daemon to its end.
///
/// # Errors
/// A configuration that cannot be used, or a start that failed.
pub async fn run(args: RunArgs) -> Result<ExitCode, CommandError> {
    args.config.load()?;
    Err(CommandError::failed("the daemon is not built in yet"))
}
