//! `enrolld hooks attach`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::str::FromStr;

use clap::ValueEnum;

use super::super::print;
use super::{AskArgs, Bench, CommandError, Group, Only};
use crate::core::settings::OnFailure;
use crate::event::Transition;
use crate::facts::ActionResult;
use crate::hooks::{Change, Wanted, marker, plan};
use crate::names::{GroupName, HookName, shown};
use crate::removal::retried;

/// Make or update the launch and terminate hooks of groups
///
/// Shows what is to change, and changes it; run again, it changes nothing. What is not given stays as it is on a hook that is there. A launch
/// hook ends with ABANDON by default (CONTINUE where its route says on_failure = "continue", or with --default-result), a terminate hook
/// with CONTINUE. Everything is looked at before anything is changed. Hooks of others are left alone, and a second hook that would tell enrolld of the same is refused.
///
/// Exits with 0 when the hooks are as they should be, and with 1 when something was refused or failed.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct AttachArgs {
    /// How AWS is asked.
    #[command(flatten)]
    pub ask: AskArgs,

    /// The Auto Scaling group; may be given several times
    #[arg(long = "group", value_name = "NAME", required = true, value_parser = GroupName::new)]
    pub groups: Vec<GroupName>,

    /// The role as which Auto Scaling sends to the target; needed for a hook that has none yet
    #[arg(long, value_name = "ARN", value_parser = role)]
    pub role_arn: Option<String>,

    /// Where the hooks send: "queue" (the configuration's; its ARN says the same), "eventbridge" (no target; a rule of yours fills the queue), or a
    /// topic's ARN
    #[arg(long, value_name = "TARGET", default_value = "queue")]
    pub target: Target,

    /// How long a hook waits for a heartbeat, in seconds; 3600 for a new hook
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(30..=7200))]
    pub heartbeat_timeout: Option<u32>,

    /// What a launch ends with that nobody completes: "abandon", or "continue" where an instance that is not enrolled may go into service. By the
    /// route's on_failure if not given. A termination always continues
    #[arg(long, value_name = "RESULT", value_enum)]
    pub default_result: Option<DefaultResult>,

    /// A JSON object that stands in each notification; enrolld's own mark is added to it
    #[arg(long, value_name = "JSON", value_parser = marker::own)]
    pub metadata: Option<String>,

    /// The launch hook's name
    #[arg(long, value_name = "NAME", default_value = "enrolld-launch", value_parser = HookName::new)]
    pub launch_hook: HookName,

    /// The terminate hook's name
    #[arg(long, value_name = "NAME", default_value = "enrolld-terminate", value_parser = HookName::new)]
    pub terminate_hook: HookName,

    /// Only one of the two
    #[arg(long, value_enum)]
    pub only: Option<Only>,

    /// Take over hooks of these names that this command did not make
    #[arg(long)]
    pub adopt: bool,

    /// Only show what would be changed
    #[arg(long)]
    pub dry_run: bool,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld hooks attach --config enrolld.toml --group web-blue --group web-green \\
    --role-arn arn:aws:iam::123456789012:role/autoscaling-notify
  Through an SNS topic, with a longer heartbeat time-out:
    enrolld hooks attach --config enrolld.toml --group web-blue --heartbeat-timeout 7200 \\
      --target arn:aws:sns:eu-central-1:123456789012:hooks --role-arn arn:aws:iam::123456789012:role/autoscaling-notify
  Take over a hook that was made by hand:
    enrolld hooks attach --config enrolld.toml --group web-blue --launch-hook enrol-on-launch --only launch --adopt";

/// What a launch ends with that nobody completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DefaultResult {
    /// The instance is terminated, and replaced
    Abandon,
    /// The instance goes into service as it is
    Continue,
}

/// Where hooks send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To the configuration's queue.
    Queue,
    /// Nowhere by themselves.
    EventBridge,
    /// To a queue by its ARN, which must be the configuration's: a template's output names it so.
    QueueArn(String),
    /// To a topic.
    Topic(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "queue" => Ok(Self::Queue),
            "eventbridge" => Ok(Self::EventBridge),
            arn => match service_of(arn) {
                Some("sns") => Ok(Self::Topic(arn.to_owned())),
                Some("sqs") => Ok(Self::QueueArn(arn.to_owned())),
                _ => Err(format!("{} is not \"queue\", \"eventbridge\" or the ARN of an SNS topic or of the queue", shown(arn))),
            },
        }
    }
}

/// The service in the ARN of a topic or a queue.
fn service_of(arn: &str) -> Option<&str> {
    match arn.split(':').collect::<Vec<_>>()[..] {
        ["arn", partition, service, _, _, _] if partition.starts_with("aws") => Some(service),
        _ => None,
    }
}

fn role(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts[..] {
        ["arn", partition, "iam", "", _, resource] if partition.starts_with("aws") && resource.starts_with("role/") => Ok(text.to_owned()),
        _ => Err(format!("{} is not the ARN of a role, such as arn:aws:iam::123456789012:role/NAME", shown(text))),
    }
}

pub(super) async fn run(args: AttachArgs) -> Result<ExitCode, CommandError> {
    let bench = Bench::load(&args.ask).await?;
    let groups = bench.of(&args.groups)?;
    let target = match &args.target {
        Target::Queue => Some(bench.queue_arn().await?),
        Target::QueueArn(arn) => {
            let own = bench.queue_arn().await?;
            if *arn != own {
                return Err(CommandError::failed(format!(
                    "--target is {arn}, and the configuration's queue is {own}: enrolld would hear of nothing"
                )));
            }
            Some(own)
        }
        Target::EventBridge => None,
        Target::Topic(arn) => Some(arn.clone()),
    };
    // All of it is known before any of it is done.
    let (mut changes, mut refused, mut text) = (Vec::new(), false, String::new());
    for group in &groups {
        let _ = writeln!(text, "group {}", group.name);
        let present = group.hooks().await?;
        for &transition in Only::transitions(args.only) {
            match plan(&present, &wanted(&args, group, transition, target.as_deref())) {
                Ok(change) => {
                    let _ = writeln!(text, "  {}", change.to_string().replace('\n', "\n  "));
                    changes.push((group, change));
                }
                Err(refusal) => {
                    refused = true;
                    let _ = writeln!(text, "  ! {refusal}");
                }
            }
        }
    }
    let to_do: Vec<&(&Group<'_>, Change)> = changes.iter().filter(|(_, change)| !change.is_nothing()).collect();
    text.push_str(match (refused, to_do.is_empty(), args.dry_run) {
        (true, ..) => "nothing was changed: see above (!)\n",
        (false, true, _) => "nothing is to be changed\n",
        (false, false, true) => "nothing was changed (--dry-run)\n",
        (false, false, false) => "",
    });
    print(&text)?;
    if refused || args.dry_run || to_do.is_empty() {
        return Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let (mut made, mut changed) = (0, 0);
    for (group, change) in to_do {
        let put = retried(async || group.lifecycle.put_hook(&group.name, &change.after).await).await;
        put.map_err(|failure| {
            let done = format!("; {} hooks were put before it, and running this again does the rest", made + changed);
            let error = group.failed_for("PutLifecycleHook", &change.after.name, &failure);
            CommandError::failed(format!("{error}{done}"))
        })?;
        *if change.before.is_none() { &mut made } else { &mut changed } += 1;
    }
    print(&format!("{made} made, {changed} changed\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn wanted(args: &AttachArgs, group: &Group<'_>, transition: Transition, target: Option<&str>) -> Wanted {
    let (name, default) = match (transition, args.default_result, group.route.on_failure) {
        // ABANDON would end the other hooks of the same termination.
        (Transition::Terminating, ..) => (&args.terminate_hook, ActionResult::Continue),
        (Transition::Launching, Some(DefaultResult::Abandon), _) => (&args.launch_hook, ActionResult::Abandon),
        (Transition::Launching, Some(DefaultResult::Continue), _) | (Transition::Launching, None, OnFailure::Continue) => {
            (&args.launch_hook, ActionResult::Continue)
        }
        (Transition::Launching, None, _) => (&args.launch_hook, ActionResult::Abandon),
    };
    Wanted {
        name: name.clone(),
        transition,
        target: target.map(str::to_owned),
        role: args.role_arn.clone(),
        heartbeat_s: args.heartbeat_timeout,
        default,
        metadata: args.metadata.clone(),
        adopt: args.adopt,
    }
}
