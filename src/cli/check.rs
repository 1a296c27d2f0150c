//! `enrolld check`: what is wrong with a configuration, here and in AWS.

use std::process::ExitCode;

use clap::ValueEnum;

use super::{CommandError, ConfigArgs};

/// Say what is wrong with a configuration, here and in AWS
///
/// Reads the file and says everything that is wrong with it at once, each with file, line, column, key and what would be right. Then asks AWS
/// whether what the file names is there and fit for it, a line each. Nothing is changed in AWS: a right to write is tried only in a form that
/// cannot succeed, and what cannot be tried in such a form is said to be not tested.
///
/// Exits with 0 when nothing failed, with 1 when something did, and with 2 when the file itself cannot be used.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct CheckArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Leave AWS out: only the file and the environment
    #[arg(long)]
    pub offline: bool,

    /// How the findings are printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// How the findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A line each
    Text,
    /// One JSON object
    Json,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld check --config enrolld.toml
  In a build, where there are no credentials:
    enrolld check --config enrolld.toml --offline
  Only what failed, with jq:
    enrolld check --config enrolld.toml --output json | jq '.findings[] | select(.result == \"FAIL\")'";

/// Checks.
///
/// # Errors
/// A file that cannot be used.
pub async fn run(args: CheckArgs) -> Result<ExitCode, CommandError> {
    args.config.load()?;
    if args.offline {
        println!("ok");
        return Ok(ExitCode::SUCCESS);
    }
    Err(CommandError::failed("asking AWS is not built in yet"))
}
