//! `enrolld check`: what is wrong with a configuration, here and in AWS.

mod fleet;
mod groups;
mod held;
pub(super) mod hooks;
mod keys;
mod queue;
pub(super) mod report;
mod scopes;
mod servers;
mod trust;

use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

pub(super) use report::is_denied;
pub use report::{Finding, Report, Verdict};

use super::{CommandError, ConfigArgs, print, process, rooms};
use crate::config::{self, Config, Problems};

/// Say what is wrong with a configuration, here and in AWS
///
/// Reads the file and says everything that is wrong with it at once, each with file, line, column, key and what would be right. Then asks AWS
/// whether what the file names is there and fit for it, a line each; and the worker that listens where the file says, if one does, which launches it
/// holds for a fault of their route. Nothing is changed in AWS: a right to write is tried only in a form that
/// cannot succeed, and what cannot be tried in such a form is said to be not tested.
///
/// Exits with 0 when nothing failed, with 1 when something did, and with 2 when the file itself cannot be used. A server that takes no orders just now,
/// and will again by itself (maintenance, backup, a restart), is a warning: launches wait for it. One that waits for somebody (UNHEALTHY, CONNECTION_LOST,
/// nobody answers) is a failure. With --strict, warnings end with 1 too.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct CheckArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Leave AWS out: only the file and the environment
    #[arg(long)]
    pub offline: bool,

    /// Exit with 1 for warnings too
    #[arg(long)]
    pub strict: bool,

    /// How many nodes may launch at once, in the place of fleet_size: which quotas they will meet, and how long they take at the least
    #[arg(long, value_name = "N")]
    pub fleet: Option<u32>,

    /// How long an account's standard parameters may be counted, of which there can be 10,000: 50 a call
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub count_for: u64,

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
  Before a release, which shall not meet a server under maintenance:
    enrolld check --config enrolld.toml --strict
  What 10,000 launches at once will meet:
    enrolld check --config enrolld.toml --offline --fleet 10000
  Only what failed, with jq:
    enrolld check --config enrolld.toml --output json | jq '.findings[] | select(.result == \"FAIL\")'";

/// Checks, and prints what was found.
///
/// # Errors
/// A file that cannot be used, or an SDK configuration that cannot be made.
pub async fn run(args: CheckArgs) -> Result<ExitCode, CommandError> {
    let mut environment = config::environment();
    if let Some(fleet) = args.fleet {
        environment.insert("ENROLLD_FLEET_SIZE".to_owned(), fleet.to_string());
    }
    let config = match config::load(args.config.path(), &environment) {
        Ok(config) => config,
        Err(problems) if args.output == Output::Json => {
            print(&format!("{}\n", problems_as_json(&problems)))?;
            return Ok(ExitCode::from(2));
        }
        Err(problems) => return Err(problems.into()),
    };
    process::keep_memory_private();
    let mut report = Report::default();
    report.ok("configuration", format!("{} is good", args.config.path().display()));
    fleet::check(&config, &mut report);
    let files_are_good = files(&config, &mut report);
    if args.offline {
        report.not_tested("AWS", "it was not asked (--offline)");
    } else {
        ask(&config, files_are_good, Duration::from_secs(args.count_for), &mut report).await;
    }
    if !args.offline {
        held::check(&config, &mut report).await;
    }
    match args.output {
        Output::Text => print(&format!("{report}\n"))?,
        Output::Json => print(&format!("{}\n", report.json()))?,
    }
    let good = report.passed() && !(args.strict && report.has_warnings());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads the files that registrars are given. Who starts the worker reads them too, and it stops there.
fn files(config: &Config, report: &mut Report) -> bool {
    let mut good = true;
    for route in &config.routes {
        if let Err(error) = rooms::check_registrar_files(config, route) {
            report.fail(format!("route {}", route.name), error.to_string(), "correct it: enrolld run would not start");
            good = false;
        }
    }
    good
}

/// Asks AWS whether what the configuration names is there and fit for it. The servers are asked with the files that registrars are given, and so only
/// where these can be used; the rest is of use to whoever has not the daemon's keys, too.
async fn ask(config: &Config, files_are_good: bool, count_for: Duration, report: &mut Report) {
    let settings = config.core_settings();
    let services = if files_are_good { rooms::services } else { rooms::services_without_registrars };
    let made = match rooms::aws(config).await {
        Ok(aws) => services(config, &settings, &aws).map(|services| (aws, services)),
        Err(error) => Err(error),
    };
    let (aws, services) = match made {
        Ok(made) => made,
        Err(error) => {
            report.fail("AWS", error.to_string(), "correct it: enrolld run would not start");
            return;
        }
    };
    let Some(accounts) = scopes::check(config, &aws, report).await else {
        // Every other call would fail for the same reason and hide it.
        report.not_tested("AWS", "nothing else was asked without credentials");
        return;
    };
    scopes::compare(config, &settings, &accounts, report);
    let queue_arn = queue::check(config, &aws, &services.queue, report).await;
    groups::check(config, &settings, &aws, &services.scopes, queue_arn.as_deref(), report).await;
    if files_are_good {
        servers::check(config, &settings, &services, report).await;
    } else {
        report.not_tested("servers", "they are asked once the files can be used");
    }
    keys::check(config, &settings, &aws, &services, count_for, report).await;
}

/// A configuration that cannot be used, in the form that findings have.
fn problems_as_json(problems: &Problems) -> serde_json::Value {
    let findings: Vec<serde_json::Value> = problems
        .iter()
        .map(|problem| {
            let about = format!("{} {}", problem.place, problem.key);
            serde_json::json!({ "result": Verdict::Fail, "about": about.trim_end(), "found": problem.wrong, "remedy": problem.right })
        })
        .collect();
    serde_json::json!({ "passed": false, "ok": 0, "not_tested": 0, "warnings": 0, "failures": findings.len(), "findings": findings })
}
