//! `enrolld demo`: a fleet launching, live, on this machine alone.

use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::{CommandError, rooms};
use crate::aws::Aws;
use crate::demo;
use crate::demo::scenario::{Plan, Scenario};
use crate::demo::screen::{self, Screen};
use crate::demo::world::Theatre;
use crate::driver::Worker;
use crate::observe::{Health, Observer, ObserverSettings};

/// Watch a fleet launch, without an AWS account
///
/// Starts the simulator on a free port of this machine and the real worker against it, and shows each node on its way. The worker may do
/// what `enrolld policy` prints for its configuration, and nothing else. Nothing leaves the machine.
/// Exits with 0 only when every action ended as it should.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct DemoArgs {
    /// How many nodes launch
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub nodes: u32,

    /// The seed of the plan: the same nodes play the same parts; which calls a storm hits still varies
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
pub async fn run(args: DemoArgs) -> Result<ExitCode, CommandError> {
    let nodes = usize::try_from(args.nodes).map_err(CommandError::failed)?;
    let plan = Plan::new(args.scenario, nodes, args.seed);
    let theatre = Theatre::open(&plan).map_err(CommandError::failed)?;
    let (say, seen) = mpsc::channel();
    let worker = worker(&plan, &theatre.endpoint(), say)?;
    let mut screen = Screen::new(nodes, args.output == Output::Json);

    let (stop, told) = tokio::sync::mpsc::channel(1);
    let played = async {
        let numbers = demo::play(&plan, &theatre, &seen, &mut screen, longest(&plan)).await;
        // The worker hears it at once, or has ended already.
        let _ = stop.try_send(());
        numbers
    };
    let (_, numbers) = tokio::join!(worker.run(told), played);
    let numbers = numbers.map_err(CommandError::failed)?;
    let faults = numbers.faults(&plan);
    match args.output {
        Output::Table => print(&screen::summary(&numbers, &faults)),
        Output::Json => {
            faults.iter().for_each(|fault| eprintln!("not as it should be: {fault}"));
            print(&format!("{}\n", serde_json::to_string(&numbers).map_err(CommandError::failed)?));
        }
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The real worker, configured as for a daemon, but for where AWS is.
fn worker(plan: &Plan, endpoint: &str, say: mpsc::Sender<demo::Seen>) -> Result<Worker, CommandError> {
    let config = demo::worker::configuration(endpoint, plan.scenario)?;
    let settings = config.core_settings();
    let aws = Aws::fixed(&rooms::aws_settings(&config), endpoint, demo::worker::ACCESS_KEY_ID).map_err(CommandError::failed)?;
    let services = rooms::services(&config, &settings, &aws)?;
    let names = ObserverSettings {
        worker: config.worker.clone(),
        routes: rooms::route_names(&config, &settings),
        audit: rooms::audit_target(&config),
    };
    let observer = Observer::new(names).map_err(CommandError::failed)?.tapped(move |observation| {
        // Nobody listens any more once the demonstration is over.
        let _ = say.send((Instant::now(), observation.clone()));
    });
    Ok(Worker::new(settings, services, observer, Arc::new(Health::new()), plan.seed))
}

/// When the demonstration is broken off, however far it is.
fn longest(plan: &Plan) -> Duration {
    let each = Duration::from_millis(if plan.scenario == Scenario::Storm { 300 } else { 50 });
    Duration::from_secs(60) + each * u32::try_from(plan.nodes.len()).unwrap_or(u32::MAX)
}

/// A reader that goes away is no reason to panic, as `print!` would.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
