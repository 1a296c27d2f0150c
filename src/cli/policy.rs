//! `enrolld policy`: the IAM policies that a configuration needs.

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{CommandError, ConfigArgs, print};
use crate::config::Config;
use crate::names::{AccountId, GroupName, HookName, Region};
use crate::policy::{self, DeadLetterQueue, Extras, Place, PlaceError, Scripts};

/// Print the IAM policies that a configuration needs
///
/// Prints what the worker must be allowed to do for this configuration, and nothing more: this queue, these groups, these parameters. A route with
/// role_arn has a policy of its own, for that role. Nothing is asked of AWS. What a person should know stands on standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct PolicyArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// For the instances' roles instead: each may write its key once
    #[arg(long, conflicts_with_all = ["with_check", "with_dead_letters", "with_sweep"])]
    pub instance: bool,

    /// With --instance: also what the script of `enrolld launch-kit` asks
    #[arg(long, requires = "instance")]
    pub launch_kit: bool,

    /// With --instance and --group: also what that script does for a second launch hook of that group
    #[arg(long, value_name = "NAME", requires_all = ["instance", "group"], value_parser = HookName::new)]
    pub converge_hook: Option<HookName>,

    /// With --converge-hook: also what it does to keep that hook from running out
    #[arg(long, requires = "converge_hook")]
    pub converge_heartbeat: bool,

    /// With --instance: for the instances of this group alone, and not of all that its route serves
    #[arg(long, value_name = "NAME", requires = "instance", value_parser = GroupName::new)]
    pub group: Option<GroupName>,

    /// Also what `enrolld check` asks and the daemon does not
    #[arg(long)]
    pub with_check: bool,

    /// Also what `enrolld dead-letters` does and the daemon does not
    #[arg(long)]
    pub with_dead_letters: bool,

    /// Also what `enrolld sweep` asks and the daemon does not
    #[arg(long)]
    pub with_sweep: bool,

    /// The dead-letter queue, where only the queue's redrive policy names it; "none" where there is none
    #[arg(long, value_name = "ARN")]
    pub dead_letter_queue: Option<DeadLetterQueue>,

    /// The worker's region, where neither the configuration nor the queue's URL shows it
    #[arg(long, value_name = "REGION", env = "AWS_REGION", value_parser = Region::new)]
    pub region: Option<Region>,

    /// The worker's account, where the queue's URL does not show it
    #[arg(long, value_name = "ACCOUNT", value_parser = AccountId::new)]
    pub account: Option<AccountId>,

    /// How the policies are printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// How the policies are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// The documents, one after the other
    Text,
    /// One JSON object, with whom each policy is for
    Json,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld policy --config enrolld.toml
  As a managed policy, with jq:
    enrolld policy --config enrolld.toml --output json | jq '.policies[0].document' > worker.json
    aws iam create-policy --policy-name enrolld --policy-document file://worker.json
  For the instances' roles, one for each route:
    enrolld policy --config enrolld.toml --instance
    enrolld policy --config enrolld.toml --instance --output json | jq '.policies[] | select(.route == \"web\").document' > instances.json
  For one group's instances, whose scripts complete a second launch hook:
    enrolld policy --config enrolld.toml --instance --group web-blue --converge-hook converge";

/// One policy, with whom it is for.
struct Printed {
    whom: String,
    document: Value,
    notes: Vec<String>,
    more: Value,
}

/// Prints the policies.
///
/// # Errors
/// A configuration that cannot be used, or one that does not say enough for a policy that is exact.
pub async fn run(args: PolicyArgs) -> Result<ExitCode, CommandError> {
    let config = args.config.load()?;
    let place = place(&config, &args).map_err(CommandError::failed)?;
    let printed = if args.instance { instances(&config, &place, &args)? } else { worker(&config, &place, &args)? };
    match args.output {
        Output::Json => {
            let policies: Vec<Value> = printed.into_iter().map(Printed::json).collect();
            print(&format!("{:#}\n", json!({ "policies": policies })))?;
        }
        Output::Text => {
            for policy in printed {
                eprintln!("# {}", policy.whom);
                for note in &policy.notes {
                    eprintln!("# {note}");
                }
                if !policy.document.is_null() {
                    print(&format!("{:#}\n", policy.document))?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn place(config: &Config, args: &PolicyArgs) -> Result<Place, PlaceError> {
    let region = config.region.as_ref().or(args.region.as_ref()).ok_or(PlaceError::Region)?;
    let account = config.queue_url.account().or(args.account.as_ref()).ok_or(PlaceError::Account)?;
    Ok(Place { region: region.clone(), account: account.clone() })
}

fn worker(config: &Config, place: &Place, args: &PolicyArgs) -> Result<Vec<Printed>, CommandError> {
    let extras = Extras { check: args.with_check, dead_letters: args.with_dead_letters, sweep: args.with_sweep };
    let policies = policy::worker(config, place, args.dead_letter_queue.as_ref(), extras).map_err(CommandError::failed)?;
    let printed = policies.into_iter().map(|policy| {
        let role = policy.role.as_ref().map(|role| role.as_str().to_owned());
        Printed {
            whom: role.as_ref().map_or_else(|| "for the worker's own credentials".to_owned(), |role| format!("for the role {role}")),
            document: json!(policy.document),
            notes: policy.notes,
            more: json!({ "for": "worker", "role": role }),
        }
    });
    Ok(printed.collect())
}

fn instances(config: &Config, place: &Place, args: &PolicyArgs) -> Result<Vec<Printed>, CommandError> {
    let scripts =
        Scripts { launch_kit: args.launch_kit, converge_hook: args.converge_hook.is_some(), converge_heartbeat: args.converge_heartbeat };
    let policies = policy::instances(config, place, scripts, args.group.as_ref());
    if let (Some(group), []) = (&args.group, &policies[..]) {
        return Err(CommandError::failed(format!("no route of the configuration serves the group {group}")));
    }
    let printed = policies.into_iter().map(|policy| Printed {
        whom: format!("for the instances of route {}", policy.route),
        document: json!(policy.document),
        notes: vec![policy.note],
        more: json!({ "for": "instances", "route": policy.route, "role": policy.role.as_ref().map(|role| role.as_str()) }),
    });
    Ok(printed.collect())
}

impl Printed {
    fn json(self) -> Value {
        let mut all = self.more;
        all["notes"] = json!(self.notes);
        all["document"] = self.document;
        all
    }
}
