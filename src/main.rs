//! The command line's entrance.

use std::process::ExitCode;

use clap::Parser;
use enrolld::cli::Cli;

/// The SDK makes each request of many small pieces, and with the C library's allocator these are a third of a worker's CPU time
/// (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
