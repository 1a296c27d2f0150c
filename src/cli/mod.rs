//! The command line: one file for each command. Each has its arguments and a `run`; this file joins them, and turns how a
//! command ended into an exit code.

pub mod check;
pub mod completions;
pub mod dead_letters;
pub mod demo;
pub mod health;
pub mod hooks;
pub mod launch_kit;
pub mod policy;
mod process;
pub mod rooms;
pub mod run;
pub mod simulate;
pub mod sweep;
pub mod write_files;

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config, Problems};
use crate::observe::panics;

/// Enrols instances with a Chef or Puppet server before their Auto Scaling group puts them in service
///
/// enrolld waits on an SQS queue for the launches and terminations that Auto Scaling's lifecycle hooks announce. It associates each
/// instance that launches with its configuration-management server and lets the group go on only then; it takes the instance off the
/// server again when it terminates.
#[derive(Debug, Parser)]
#[command(name = "enrolld", version, propagate_version = true, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  See it work, without an AWS account:
    enrolld demo
  Find out what is wrong with a configuration, here and in AWS:
    enrolld check --config enrolld.toml
  Run the daemon:
    enrolld run --config enrolld.toml

AWS and the credentials for it are found as by every AWS tool: AWS_REGION, AWS_PROFILE,
AWS_ENDPOINT_URL, container and instance roles. Each key of the configuration can also be set by a
variable, ENROLLD_<KEY>.";

/// The commands. Each is described where its arguments are, and so in its help: a comment here would take the place of that.
#[expect(missing_docs, reason = "clap would show it instead of the command's own description")]
#[derive(Debug, Subcommand)]
pub enum Command {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Policy(policy::PolicyArgs),
    DeadLetters(dead_letters::DeadLettersArgs),
    Sweep(sweep::SweepArgs),
    Hooks(hooks::HooksArgs),
    LaunchKit(launch_kit::LaunchKitArgs),
    Simulate(simulate::SimulateArgs),
    Demo(demo::DemoArgs),
    Health(health::HealthArgs),
    WriteFiles(write_files::WriteFilesArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
}

impl Cli {
    /// Runs the command to its end on a runtime of one thread, and says how it ended: 0 for well, 1 for a failure, 2 for a
    /// configuration or arguments that cannot be used.
    #[must_use]
    pub fn run(self) -> ExitCode {
        panics::tell_in_the_log();
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return report(&CommandError::failed(error)),
        };
        let ended = runtime.block_on(async {
            match self.command {
                Command::Run(args) => run::run(args).await,
                Command::Check(args) => check::run(args).await,
                Command::Policy(args) => policy::run(args).await,
                Command::DeadLetters(args) => dead_letters::run(args).await,
                Command::Sweep(args) => sweep::run(args).await,
                Command::Hooks(args) => hooks::run(args).await,
                Command::LaunchKit(args) => launch_kit::run(args),
                Command::Simulate(args) => simulate::run(args).await.map(|()| ExitCode::SUCCESS).map_err(CommandError::failed),
                Command::Demo(args) => demo::run(args).await,
                Command::Health(args) => health::run(args).await,
                Command::WriteFiles(args) => write_files::run(&args),
                Command::Completions(args) => completions::completions(&args),
                Command::Man(args) => completions::man(&args),
            }
        });
        // A name that is being resolved just now holds a thread of the system's resolver for as long as that likes: nobody waits for it.
        runtime.shutdown_background();
        ended.unwrap_or_else(|error| report(&error))
    }
}

/// Prints; that nobody reads any more (a closed pipe) is no failure.
fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CommandError::failed(error)),
        _ => Ok(()),
    }
}

/// Why a command could not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration cannot be used: one line for each problem, fit for an editor to jump to.
    #[error("{0}")]
    Configuration(#[from] Problems),
    /// Anything else.
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
}

impl CommandError {
    /// A failure that is not the configuration's.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}

/// Prints an error with all that caused it, and returns its exit code.
fn report(error: &CommandError) -> ExitCode {
    match error {
        CommandError::Configuration(problems) => {
            eprintln!("{problems}");
            ExitCode::from(2)
        }
        CommandError::Failed(error) => {
            let mut line = format!("enrolld: {error}");
            let mut said = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                let text = error.to_string();
                // Many errors repeat their cause in their own text.
                if !said.contains(&text) {
                    line.push_str(": ");
                    line.push_str(&text);
                }
                said = text;
                cause = error.source();
            }
            eprintln!("{line}");
            ExitCode::FAILURE
        }
    }
}

/// The option that every command with a configuration has.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "ENROLLD_CONFIG")]
    pub config: PathBuf,
}

impl ConfigArgs {
    /// Reads the file with the process's environment over it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Config, CommandError> {
        Ok(config::load(self.path(), &config::environment())?)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_described_and_ends_its_help_with_examples() {
        for command in Cli::command().get_subcommands() {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.contains('`'), "{} is not described", command.get_name());
            assert!(after.contains("Example"), "{} has no examples", command.get_name());
            assert!(after.contains(&format!("enrolld {}", command.get_name())), "{} does not show itself", command.get_name());
        }
    }

    #[test]
    fn every_option_is_described() {
        let root = Cli::command();
        for command in std::iter::once(&root).chain(root.get_subcommands()) {
            for option in command.get_arguments() {
                assert!(option.get_help().is_some(), "{} {} has no help", command.get_name(), option.get_id());
            }
        }
    }
}
