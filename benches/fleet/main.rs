//! The fleet bench: real processes on loopback, measured by the kernel, held against what enrolld promises.
//!
//! `cargo bench --bench fleet` builds `enrolld` in release, starts `enrolld simulate` and `enrolld run` as processes of their own for
//! each row, and prints what was measured beside what is required. A row that misses says so, and the exit code is 1 then.
//!
//! ```sh
//! cargo bench --bench fleet                      # every row, and the curve: about half an hour
//! cargo bench --bench fleet -- calls start       # these rows only
//! cargo bench --bench fleet -- --list
//! cargo bench --bench fleet -- --quick           # few launches, no bounds: does the bench itself still work?
//! ```

mod admin;
mod axis;
mod bare_loop;
mod bench;
mod curve;
mod kernel;
mod machine;
mod peers;
mod processes;
mod report;
mod rows;
mod setup;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use bench::Bench;
use report::Report;

/// Whatever went wrong: the bench has one reader, and he reads text.
type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// The drawing that the README shows.
const README_CURVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fleet.svg");

/// Measures a fleet against what is promised.
#[derive(Debug, Parser)]
#[command(name = "fleet", bin_name = "cargo bench --bench fleet --")]
struct Args {
    /// The rows to run; all of them where none is named
    rows: Vec<String>,
    /// Names the rows
    #[arg(long)]
    list: bool,
    /// Few launches and short times, and no bound is held against them
    #[arg(long)]
    quick: bool,
    /// Where the numbers go as JSON
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/fleet/fleet.json"))]
    json: PathBuf,
    /// Where the curve is drawn; the one in the README where nothing is said, and a temporary one of a quick run
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// The worker's own, so that the bare loop is no worse off.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The bare loop is this binary once more, as a process of its own.
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(bare_loop::NAME) {
        return bare_loop::main(arguments);
    }
    let args = Args::parse();
    if args.list {
        rows::ALL.iter().for_each(|row| println!("{:<12} {}", row.name, row.about));
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fleet: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs the rows that are asked for; says whether all of them hold.
fn run(args: &Args) -> Fallible<bool> {
    if let Some(unknown) = args.rows.iter().find(|name| rows::ALL.iter().all(|row| row.name != **name)) {
        return Err(format!("there is no row {unknown}; --list names them").into());
    }
    let usual = if args.quick { concat!(env!("CARGO_TARGET_TMPDIR"), "/fleet/curve.svg") } else { README_CURVE };
    let bench = Bench::new(args.quick, args.svg.clone().unwrap_or_else(|| usual.into()))?;
    let mut report = Report::begin(machine::describe(), args.quick);
    print!("{}", report.head());
    for row in rows::ALL.iter().filter(|row| args.rows.is_empty() || args.rows.iter().any(|name| name == row.name)) {
        let before = machine::Busy::now()?;
        match (row.run)(&bench) {
            Ok(measured) => report.add(row.name, row.about, measured, before.until_now()?),
            Err(error) => report.failed(row.name, row.about, &error.to_string()),
        }
        print!("{}", report.latest());
        // After each row, so that a long run that is broken off has left what it had.
        report.write(&args.json)?;
    }
    print!("{}", report.foot());
    println!("\nas JSON: {}", args.json.display());
    Ok(report.holds())
}
