//! Provisional: the one command that is there.

use clap::Parser;
use enrolld::cli::simulate::{SimulateArgs, run};

#[derive(Parser)]
#[command(version)]
enum Command {
    Simulate(SimulateArgs),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    let Command::Simulate(args) = Command::parse();
    match run(args).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}
