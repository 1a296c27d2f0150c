//! The command line's entrance.

use std::process::ExitCode;

use clap::Parser;
use enrolld::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
