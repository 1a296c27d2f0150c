//! `enrolld hooks list`.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::json;

use super::super::check::hooks::judge;
use super::super::check::{Report, Verdict};
use super::super::dead_letters::{Output, print};
use super::{Bench, CommandError, ConfigArgs};
use crate::hooks::{Hook, Member, Stage, stage};
use crate::lifecycle::{Page, hook_in_full};
use crate::names::GroupName;
use crate::removal::retried;

/// Pages of groups that are read: 10,000 groups.
const MOST_PAGES: usize = 100;

/// Show the hooks that are there, and what is wrong with them
///
/// Without --group, those of all groups that the configuration's routes match. Hooks of others are shown too; they are none of enrolld's
/// business. Changes nothing.
///
/// Exits with 0 when nothing is wrong, and with 1 when something cannot work or could not be looked at.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct ListArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// The Auto Scaling group; may be given several times
    #[arg(long = "group", value_name = "NAME", value_parser = GroupName::new)]
    pub groups: Vec<GroupName>,

    /// How they are printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld hooks list --config enrolld.toml
  enrolld hooks list --config enrolld.toml --group web-blue
  Groups with something wrong, with jq:
    enrolld hooks list --config enrolld.toml --output json | jq -r '.groups[] | select(.findings != []) | .group'";

/// What was seen of a group.
struct Seen {
    name: GroupName,
    route: String,
    hooks: Vec<Hook>,
    waiting: Vec<Member>,
    report: Report,
}

pub(super) async fn run(args: ListArgs) -> Result<ExitCode, CommandError> {
    let bench = Bench::load(&args.config).await?;
    let named = if args.groups.is_empty() { all(&bench).await? } else { args.groups.clone() };
    let groups = bench.of(&named)?;
    let queue = bench.queue_arn().await?;
    let mut all = Vec::new();
    for group in &groups {
        let mut report = Report::default();
        let about = format!("group {}", group.name);
        let raw = retried(async || group.lifecycle.raw_hooks(&group.name).await).await.unwrap_or_else(|failure| {
            report.failed_call(&about, "autoscaling:DescribeLifecycleHooks", &failure);
            Vec::new()
        });
        if report.passed() {
            judge(&raw, &queue, &about, group.route, bench.config.visibility_timeout, &mut report);
        }
        let members = retried(async || group.lifecycle.members(&group.name).await).await.unwrap_or_else(|failure| {
            report.failed_call(&about, "autoscaling:DescribeAutoScalingGroups", &failure);
            Vec::new()
        });
        all.push(Seen {
            name: group.name.clone(),
            route: group.route.name.clone(),
            hooks: raw.iter().filter_map(hook_in_full).collect(),
            waiting: members.into_iter().filter(|member| matches!(stage(&member.state), Some(Stage::Waits(_)))).collect(),
            report,
        });
    }
    print(&match args.output {
        Output::Text => text(&all, &queue),
        Output::Json => format!("{:#}\n", json!({ "groups": all.iter().map(Seen::json).collect::<Vec<_>>() })),
    })?;
    Ok(if all.iter().all(|seen| seen.report.passed()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The groups of all scopes that a route serves.
async fn all(bench: &Bench) -> Result<Vec<GroupName>, CommandError> {
    let mut groups = Vec::new();
    for scope in &bench.scopes {
        let mut after = None;
        for _ in 0..MOST_PAGES {
            let page: Result<Page<GroupName>, _> = retried(async || scope.groups(after.clone()).await).await;
            let page = page.map_err(|failure| CommandError::failed(format!("DescribeAutoScalingGroups failed: {failure}")))?;
            // A group of this name that another scope serves is not this one.
            groups
                .extend(page.items.into_iter().filter(|name| bench.group(name).is_some_and(|group| std::ptr::eq(group.lifecycle, scope))));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(groups)
}

impl Seen {
    /// What is wrong, or cannot be seen from here.
    fn findings(&self) -> impl Iterator<Item = &super::super::check::Finding> {
        self.report.findings().iter().filter(|finding| finding.result != Verdict::Ok)
    }

    fn json(&self) -> serde_json::Value {
        let hook = |hook: &Hook| {
            json!({
                "name": hook.name.as_str(), "transition": hook.transition.as_str(), "made_by_enrolld": hook.is_ours(), "target": hook.target,
                "role": hook.role, "heartbeat_timeout": hook.heartbeat_s, "default_result": hook.default.as_str(), "metadata": hook.metadata,
            })
        };
        let waiting = |member: &Member| json!({ "instance": member.instance.as_str(), "state": member.state });
        json!({
            "group": self.name.as_str(), "route": self.route,
            "hooks": self.hooks.iter().map(hook).collect::<Vec<_>>(),
            "waiting": self.waiting.iter().map(waiting).collect::<Vec<_>>(),
            "findings": self.findings().collect::<Vec<_>>(),
        })
    }
}

fn text(all: &[Seen], queue: &str) -> String {
    let mut text = String::new();
    if all.is_empty() {
        text.push_str("no group matches the configuration's routes\n");
    }
    for seen in all {
        let _ = writeln!(text, "group {} (route {})", seen.name, seen.route);
        for hook in &seen.hooks {
            let whose = match (hook.is_ours(), hook.target.as_deref() == Some(queue)) {
                (true, _) => "made by enrolld",
                (false, true) => "made otherwise, notifies enrolld's queue",
                (false, false) => "another's",
            };
            let (word, name, heartbeat, default) = (hook.transition.as_str(), &hook.name, hook.heartbeat_s, hook.default.as_str());
            let _ = writeln!(text, "  {word:<9}  {name}  to {}, {heartbeat} s, {default} ({whose})", hook.goes_to());
        }
        for member in &seen.waiting {
            let _ = writeln!(text, "  waits      {} in {}", member.instance, member.state);
        }
        for finding in seen.findings() {
            let remedy = finding.remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
            let _ = writeln!(text, "  {:<9}  {}{remedy}", finding.result.to_string(), finding.found);
        }
    }
    text
}
