//! `enrolld sweep`: nodes that were left behind, and instances that nobody comes for.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::dead_letters::{Output, stop_on_signal};
use super::print;
use super::{CommandError, ConfigArgs, process, rooms};
use crate::core::call::RouteId;
use crate::dead_letters::Said;
use crate::names::shown;
use crate::removal::retried;
use crate::sweep::waiting::{Seen, Waiting};
use crate::sweep::{Counts, Finding, Found, Names, Sweep};

/// Find nodes that were left behind on their server, and remove them
///
/// Hooks do not run for every removal (detach, standby, forced deletion, a hook that timed out), so nodes stay behind. Of the nodes that the
/// route's server lists, those are found whose instance Auto Scaling proves terminated; nothing is ever removed since an instance is
/// merely not listed. It also tells of instances that wait at a hook of ours while no message about them is to be seen; it never
/// completes an action.
///
/// Without --apply it only says what would be done. Exits with 0 when everything was looked at and done, and with 1 when something failed.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct SweepArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// The route whose server is swept
    #[arg(long, value_name = "NAME")]
    pub route: String,

    /// Remove what is proven to be left behind
    #[arg(long)]
    pub apply: bool,

    /// Nodes to look at, one name a line, in the place of the server's own list; needed where the server has none (OpsWorks CM)
    #[arg(long, value_name = "FILE")]
    pub nodes: Option<PathBuf>,

    /// How long to wait for the server, for each node
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub wait: u64,

    /// How it is told
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

const AFTER_HELP: &str = "\
Examples:
  What would be removed, then remove it:
    enrolld sweep --config enrolld.toml --route web
    enrolld sweep --config enrolld.toml --route web --apply
  Nodes of a server that cannot list them:
    enrolld sweep --config enrolld.toml --route web --nodes nodes.txt
  Their names alone, with jq:
    enrolld sweep --config enrolld.toml --route web --output json | jq -r '.nodes[] | select(.result == \"would_disassociate\").node'";

/// Does it.
///
/// # Errors
/// A configuration that cannot be used, no such route, or a queue that does not answer.
pub async fn run(args: SweepArgs) -> Result<ExitCode, CommandError> {
    let stop = stop_on_signal("what has begun is ended first", "what was ordered goes on at the server").map_err(CommandError::failed)?;
    let config = args.config.load()?;
    process::keep_memory_private();
    let settings = config.core_settings();
    let Some(at) = settings.routes.iter().position(|route| route.name == args.route) else {
        let names: Vec<&str> = settings.routes.iter().map(|route| route.name.as_str()).collect();
        return Err(CommandError::failed(format!("there is no route {}; there are: {}", shown(&args.route), names.join(", "))));
    };
    let mut names = match &args.nodes {
        Some(path) => Names::in_file(path).map_err(CommandError::failed)?,
        None => Names::listed(),
    };
    process::keep_memory_private();
    let aws = rooms::aws(&config).await?;
    let services = rooms::services(&config, &settings, &aws)?;
    let facts = retried(async || services.queue.describe().await).await;
    let facts = facts.map_err(|failure| CommandError::failed(format!("GetQueueAttributes failed: {failure}")))?;
    let queue = config.queue_url.as_str().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let queue_arn_tail = format!(":{}:{}:{queue}", facts.region, facts.account);
    let route = RouteId(u16::try_from(at).expect("the configuration takes at most 1000 routes"));
    let wait = Duration::from_secs(args.wait);
    let sweep = Arc::new(Sweep { services, settings, route, facts, apply: args.apply, wait, stop, found: Found::default() });

    let mut teller = Teller { output: args.output, counts: Counts::default(), undone: false, first: true };
    teller.begin(&args);
    let mut remarks = Vec::new();
    let (groups, all) = sweep.groups().await;
    if let Err(failure) = all {
        teller.undone = true;
        remarks.push(format!(
            "could not be asked: which groups there are, so that only those were looked at which the route names in full: {failure}"
        ));
    }
    if groups.is_empty() {
        remarks.push("no group takes this route, so that nothing can be proven of its nodes".to_owned());
    }
    if let Err(error) = sweep.nodes(&mut names, &groups, |finding| teller.tell(finding)).await {
        teller.undone = true;
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        remarks.push(format!("{error}{cause}"));
    }
    let seen = sweep.waiting(&queue_arn_tail, jiff::Timestamp::now().as_second()).await;
    teller.undone |= !seen.failures.is_empty();
    remarks.extend(seen.remarks());
    if !args.apply && teller.counts.of("would_disassociate") > 0 {
        remarks.push("nothing was removed: that takes --apply".to_owned());
    }
    // Services' own words are among them.
    let remarks: Vec<Said> = remarks.iter().map(|remark| Said::new(remark)).collect();
    teller.end(&seen, &remarks)?;
    Ok(if teller.undone { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Tells of each node as it is found, so that no list of them is ever held.
struct Teller {
    output: Output,
    counts: Counts,
    /// Something that was asked for was not done.
    undone: bool,
    first: bool,
}

impl Teller {
    fn begin(&self, args: &SweepArgs) {
        if self.output == Output::Json {
            // One object, written as it grows.
            self.write(&format!("{{\"route\":{},\"applied\":{},\"nodes\":[", json!(args.route), args.apply));
        }
    }

    fn tell(&mut self, finding: &Finding) {
        self.counts.note(finding);
        self.undone |= finding.verdict.is_undone();
        match self.output {
            Output::Json => {
                let comma = if std::mem::take(&mut self.first) { "" } else { "," };
                self.write(&format!("{comma}\n{}", finding.json()));
            }
            Output::Text if finding.verdict.is_news() => self.write(&format!("{}\n", finding.line())),
            Output::Text => {}
        }
    }

    fn end(&self, seen: &Seen, remarks: &[Said]) -> Result<(), CommandError> {
        let text = match self.output {
            Output::Json => {
                let waiting: Vec<_> = seen.without_message.iter().map(|one| one.json("none")).collect();
                let perhaps = seen.perhaps.iter().map(|one| one.json("unknown"));
                let waiting: Vec<_> = waiting.into_iter().chain(perhaps).collect();
                format!("],\n\"waiting\":{},\n\"remarks\":{},\n\"counts\":{}}}\n", json!(waiting), json!(remarks), self.counts.json())
            }
            Output::Text => {
                let mut lines: Vec<String> = seen.without_message.iter().chain(&seen.perhaps).map(Waiting::line).collect();
                lines.push(self.counts.words());
                lines.extend(remarks.iter().map(Said::to_string));
                lines.join("\n") + "\n"
            }
        };
        print(&text)
    }

    /// Nobody reading is no reason to stop half-way.
    fn write(&self, text: &str) {
        let _ = print(text);
    }
}
