//! `enrolld hooks detach`.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::super::print;
use super::{AskArgs, Bench, CommandError, Group, Only};
use crate::event::Transition;
use crate::hooks::{Hook, Member, Stage, stage};
use crate::names::GroupName;
use crate::removal::retried;

/// Remove the hooks that attach made
///
/// Hooks that `attach` did not make, or take over, are left alone. Auto Scaling completes what waits at a hook that is deleted: launches with
/// ABANDON, so that the instance is terminated, and terminations with CONTINUE. So the instances that wait are listed, and while a launch
/// waits nothing is removed. Auto Scaling does not show at which hook an instance waits, so that one that waits at another's counts too.
///
/// Exits with 0 when they are gone, and with 1 when something was refused or failed.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct DetachArgs {
    /// How AWS is asked.
    #[command(flatten)]
    pub ask: AskArgs,

    /// The Auto Scaling group; may be given several times
    #[arg(long = "group", value_name = "NAME", required = true, value_parser = GroupName::new)]
    pub groups: Vec<GroupName>,

    /// Only one of the two
    #[arg(long, value_enum)]
    pub only: Option<Only>,

    /// Remove the launch hook although launches wait: they are abandoned, and their instances terminated
    #[arg(long)]
    pub abandon_waiting: bool,

    /// Only show what would be removed
    #[arg(long)]
    pub dry_run: bool,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld hooks detach --config enrolld.toml --group web-blue --dry-run
  enrolld hooks detach --config enrolld.toml --group web-blue
  The launch hook alone, whoever waits:
    enrolld hooks detach --config enrolld.toml --group web-blue --only launch --abandon-waiting";

pub(super) async fn run(args: DetachArgs) -> Result<ExitCode, CommandError> {
    let bench = Bench::load(&args.ask).await?;
    let groups = bench.of(&args.groups)?;
    let (mut ours, mut text, mut refused) = (Vec::new(), String::new(), false);
    for group in &groups {
        let _ = writeln!(text, "group {}", group.name);
        let (mine, others): (Vec<Hook>, Vec<Hook>) = group.hooks().await?.into_iter().partition(Hook::is_ours);
        let mine: Vec<Hook> = mine.into_iter().filter(|hook| Only::transitions(args.only).contains(&hook.transition)).collect();
        for hook in &mine {
            let _ = writeln!(text, "  - {} hook {}", hook.transition.as_str(), hook.name);
        }
        for hook in &others {
            let _ = writeln!(text, "  = {} hook {}, which attach did not make", hook.transition.as_str(), hook.name);
        }
        for member in members(group).await? {
            let Some((line, launch_waits)) = concerned(&member, &mine) else { continue };
            refused |= launch_waits && !args.abandon_waiting;
            let _ = writeln!(text, "  {line}");
        }
        ours.extend(mine.into_iter().map(|hook| (group, hook)));
    }
    text.push_str(match (refused, ours.is_empty(), args.dry_run) {
        (true, ..) => "nothing was removed: launches wait, and would be abandoned; wait for them, or add --abandon-waiting\n",
        (false, true, _) => "nothing is to be removed\n",
        (false, false, true) => "nothing was removed (--dry-run)\n",
        (false, false, false) => "",
    });
    print(&text)?;
    if refused || args.dry_run || ours.is_empty() {
        return Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let count = ours.len();
    for (removed, (group, hook)) in ours.iter().enumerate() {
        // Looking at the other groups took its time: once more, as late as can be.
        if hook.transition == Transition::Launching && !args.abandon_waiting {
            let late = members(group).await?.into_iter().find(|one| stage(&one.state) == Some(Stage::Waits(Transition::Launching)));
            if let Some(late) = late {
                print(&format!(
                    "group {}: {} has begun to wait; {} is left, and {removed} of {count} hooks were removed\n",
                    group.name, late.instance, hook.name
                ))?;
                return Ok(ExitCode::FAILURE);
            }
        }
        let deleted = retried(async || group.lifecycle.delete_hook(&group.name, &hook.name).await).await;
        if let Err(failure) = deleted {
            // An answer that was lost is followed by one that there is no such hook.
            if group.hooks().await?.iter().any(|left| left.name == hook.name) {
                return Err(group.failed_for("DeleteLifecycleHook", &hook.name, &failure));
            }
        }
    }
    print(&format!("{count} removed\n"))?;
    Ok(ExitCode::SUCCESS)
}

async fn members(group: &Group<'_>) -> Result<Vec<Member>, CommandError> {
    let members = retried(async || group.lifecycle.members(&group.name).await).await;
    members.map_err(|failure| group.failed("DescribeAutoScalingGroups", &failure))
}

/// What becomes of an instance when these hooks go, and whether it is a launch that waits; none where nothing does.
fn concerned(member: &Member, hooks: &[Hook]) -> Option<(String, bool)> {
    let goes = |transition| hooks.iter().any(|hook| hook.transition == transition);
    let Member { instance, state } = member;
    let (what, launch_waits) = match stage(state)? {
        Stage::Waits(Transition::Launching) if goes(Transition::Launching) => ("its launch would be abandoned", true),
        Stage::Waits(Transition::Terminating) if goes(Transition::Terminating) => ("its termination would go on", false),
        Stage::Comes(Transition::Launching) if goes(Transition::Launching) => ("it would go into service without being enrolled", false),
        Stage::Comes(Transition::Terminating) if goes(Transition::Terminating) => ("it would terminate without being taken off", false),
        _ => return None,
    };
    Some((format!("{instance} is {state}: {what}"), launch_waits))
}
