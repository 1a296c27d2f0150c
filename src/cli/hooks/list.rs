//! `enrolld hooks list`.

use std::fmt::Write as _;
use std::process::ExitCode;

use aws_sdk_autoscaling::types::LifecycleHook;
use serde_json::json;

use super::super::check::hooks::judge;
use super::super::check::{Report, Verdict};
use super::super::dead_letters::Output;
use super::super::print;
use super::{AskArgs, Bench, CommandError, Group, is_refused, own_instead_of};
use crate::config::RoleArn;
use crate::event::Transition;
use crate::hooks::{Hook, Member, Stage, stage};
use crate::lifecycle::{Page, hook_in_full};
use crate::names::GroupName;
use crate::removal::retried;
use crate::retry::Failure;

/// Pages of groups that are read: 10,000 groups.
const MOST_PAGES: usize = 100;
const DESCRIBE_GROUPS: &str = "autoscaling:DescribeAutoScalingGroups";

/// Show the hooks that are there, and what is wrong with them
///
/// Without --group, those of all groups that the configuration's routes match. Hooks of others are shown too; they are none of enrolld's
/// business. Changes nothing.
///
/// Exits with 0 when nothing is wrong, and with 1 when something cannot work or could not be looked at.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct ListArgs {
    /// How AWS is asked.
    #[command(flatten)]
    pub ask: AskArgs,

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
struct Seen<'a> {
    group: &'a Group<'a>,
    hooks: Vec<LifecycleHook>,
    waiting: Vec<Member>,
    report: Report,
}

pub(super) async fn run(args: ListArgs) -> Result<ExitCode, CommandError> {
    let bench = Bench::load(&args.ask).await?;
    let mut elsewhere = Report::default();
    let named = if args.groups.is_empty() { all(&bench, &mut elsewhere).await } else { args.groups.clone() };
    let groups = bench.of(&named)?;
    let mut seen = Vec::with_capacity(groups.len());
    for group in &groups {
        seen.push(look(group).await);
    }
    // Whoever asks in another account than the queue's may not be allowed to ask for it, and need not where hooks name a topic.
    let queue = if seen.iter().all(Seen::names_no_queue) { None } else { Some(bench.ask_for_queue_arn().await) };
    for seen in &mut seen {
        seen.judge(&bench, queue.as_ref());
    }
    let queue = queue.and_then(Result::ok);
    print(&match args.output {
        Output::Text => text(&seen, &elsewhere, queue.as_deref()),
        Output::Json => {
            let groups: Vec<_> = seen.iter().map(Seen::json).collect();
            format!("{:#}\n", json!({ "groups": groups, "findings": elsewhere.findings() }))
        }
    })?;
    let well = elsewhere.passed() && seen.iter().all(|seen| seen.report.passed());
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The groups of all scopes that a route serves. A scope that does not answer is found to, and the others are looked at.
async fn all(bench: &Bench, report: &mut Report) -> Vec<GroupName> {
    let mut groups = Vec::new();
    for (scope, of) in bench.scopes.iter().zip(bench.config.scopes()) {
        let mut after = None;
        for _ in 0..MOST_PAGES {
            let page: Result<Page<GroupName>, _> = retried(async || scope.groups(after.clone()).await).await;
            let page = match page {
                Ok(page) => page,
                Err(failure) => {
                    let region = of.region.as_ref().map(|region| format!(" in {region}")).unwrap_or_default();
                    let asks = of.role.as_ref().map_or("the credentials found here", RoleArn::as_str);
                    failed(&format!("groups seen by {asks}{region}"), DESCRIBE_GROUPS, of.role.as_ref(), &failure, report);
                    break;
                }
            };
            // A group of this name that another scope serves is not this one.
            groups
                .extend(page.items.into_iter().filter(|name| bench.group(name).is_some_and(|group| std::ptr::eq(group.lifecycle, scope))));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    groups
}

/// Notes a call that failed. A role that is refused may be the daemon's alone.
fn failed(about: &str, action: &str, role: Option<&RoleArn>, failure: &Failure, report: &mut Report) {
    match role.filter(|_| is_refused(failure)) {
        Some(role) => report.fail(about, format!("{action} answered {failure}"), own_instead_of(role)),
        None => report.failed_call(about, action, failure),
    }
}

async fn look<'a>(group: &'a Group<'a>) -> Seen<'a> {
    let (mut report, role, about) = (Report::default(), group.route.scope.role.as_ref(), format!("group {}", group.name));
    let hooks = retried(async || group.lifecycle.raw_hooks(&group.name).await).await.unwrap_or_else(|failure| {
        failed(&about, "autoscaling:DescribeLifecycleHooks", role, &failure, &mut report);
        Vec::new()
    });
    let members = retried(async || group.lifecycle.members(&group.name).await).await.unwrap_or_else(|failure| {
        failed(&about, DESCRIBE_GROUPS, role, &failure, &mut report);
        Vec::new()
    });
    let waiting = members.into_iter().filter(|member| matches!(stage(&member.state), Some(Stage::Waits(_)))).collect();
    Seen { group, hooks, waiting, report }
}

impl Seen<'_> {
    /// Whether each transition has a hook, and none of these a queue as its target; or nothing could be seen.
    fn names_no_queue(&self) -> bool {
        if !self.report.passed() {
            return true;
        }
        let hooks: Vec<Hook> = self.hooks().collect();
        let there = |transition| hooks.iter().any(|hook| hook.transition == transition);
        there(Transition::Launching) && there(Transition::Terminating) && !hooks.iter().any(Hook::names_a_queue)
    }

    fn judge(&mut self, bench: &Bench, queue: Option<&Result<String, Failure>>) {
        if !self.report.passed() {
            return;
        }
        let about = format!("group {}", self.group.name);
        let queue = match queue {
            Some(Ok(arn)) => arn,
            Some(Err(failure)) if self.hooks().any(|hook| hook.names_a_queue()) => {
                return self.report.failed_call(about, "sqs:GetQueueAttributes", failure);
            }
            // No hook has it as its target, so that it is only told to a person.
            None | Some(Err(_)) => "the configuration's queue",
        };
        judge(&self.hooks, queue, &about, self.group.route, bench.config.visibility_timeout, &mut self.report);
    }

    fn hooks(&self) -> impl Iterator<Item = Hook> {
        self.hooks.iter().filter_map(hook_in_full)
    }

    /// What is wrong, or cannot be seen from here.
    fn findings(&self) -> impl Iterator<Item = &super::super::check::Finding> {
        self.report.findings().iter().filter(|finding| finding.result != Verdict::Ok)
    }

    fn json(&self) -> serde_json::Value {
        let hook = |hook: Hook| {
            json!({
                "name": hook.name.as_str(), "transition": hook.transition.as_str(), "made_by_enrolld": hook.is_ours(), "target": hook.target,
                "role": hook.role, "heartbeat_timeout": hook.heartbeat_s, "default_result": hook.default.as_str(), "metadata": hook.metadata,
            })
        };
        let waiting = |member: &Member| json!({ "instance": member.instance.as_str(), "state": member.state });
        json!({
            "group": self.group.name.as_str(), "route": self.group.route.name,
            "hooks": self.hooks().map(hook).collect::<Vec<_>>(),
            "waiting": self.waiting.iter().map(waiting).collect::<Vec<_>>(),
            "findings": self.findings().collect::<Vec<_>>(),
        })
    }
}

fn text(all: &[Seen<'_>], elsewhere: &Report, queue: Option<&str>) -> String {
    let mut text = String::new();
    for finding in elsewhere.findings() {
        let _ = writeln!(text, "{finding}");
    }
    if all.is_empty() && elsewhere.passed() {
        text.push_str("no group matches the configuration's routes\n");
    }
    for seen in all {
        let _ = writeln!(text, "group {} (route {})", seen.group.name, seen.group.route.name);
        for hook in seen.hooks() {
            let whose = match (hook.is_ours(), hook.target.is_some() && hook.target.as_deref() == queue) {
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
