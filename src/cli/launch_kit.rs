//! `enrolld launch-kit`: the user data of a route's instances.

use std::process::ExitCode;

use clap::ValueEnum;

use super::print;
use super::{CommandError, ConfigArgs};
use crate::launch_kit::{Wishes, cloud_init, script};
use crate::names::{GroupName, HookName, shown};

/// Print the user data for a route's instances
///
/// A script that makes the key pair on the instance, publishes its public half (or a certificate request) where the route looks for it, waits until
/// the instance is enrolled, and fetches its certificate where the route has one. The private key never leaves the instance. The script relies on
/// a POSIX shell, curl, openssl, the AWS CLI and IMDSv2, and on the rights that `enrolld policy --instance --launch-kit` prints. Nothing is asked of AWS.
///
/// Enrolled is not converged: the group has the instance in service before the agent's first run has ended. With --converge-hook the script runs the
/// agent and completes a second launch hook after its first success, so that the instance is in service only then.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct LaunchKitArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// The route whose instances it is for
    #[arg(long, value_name = "NAME")]
    pub route: String,

    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Shell)]
    pub format: Format,

    /// A second launch hook, which the script completes once the agent has run well
    #[arg(long, value_name = "NAME", value_parser = HookName::new)]
    pub converge_hook: Option<HookName>,

    /// With --converge-hook: keep that hook from running out, by a heartbeat every so many seconds or sooner; well below the hook's heartbeat time-out
    #[arg(long, value_name = "SECONDS", requires = "converge_hook", value_parser = clap::value_parser!(u32).range(2..=7200))]
    pub converge_heartbeat: Option<u32>,

    /// What runs the agent once, by sh, with NODE_NAME and PRIVATE_KEY in its environment; chef-client or puppet agent with --converge-hook
    #[arg(long, value_name = "COMMAND")]
    pub agent: Option<String>,

    /// The group, where the script must know it; without it the route's only group, or the instance's own tag
    #[arg(long, value_name = "NAME", value_parser = GroupName::new)]
    pub group: Option<GroupName>,

    /// When the script gives up, in seconds; if not given, after the 48 hours that a hook lasts at most. An abandoned launch ends it before
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=172_800))]
    pub deadline: Option<u64>,
}

/// How the kit is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A script, which is user data as it stands
    Shell,
    /// A cloud-config that writes the script and runs it, to be put together with others
    CloudInit,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld launch-kit --config enrolld.toml --route web > user-data.sh
  In service only once it has converged; the hook itself is made when the group's role and launch template have both:
    enrolld launch-kit --config enrolld.toml --route web --group web-blue --converge-hook converge > user-data.sh
    enrolld policy --config enrolld.toml --instance --group web-blue --converge-hook converge
  The same through a maintenance that lasts longer than the hook's heartbeat time-out:
    enrolld launch-kit --config enrolld.toml --route web --group web-blue --converge-hook converge --converge-heartbeat 600 > user-data.sh
    enrolld policy --config enrolld.toml --instance --group web-blue --converge-hook converge --converge-heartbeat
  With a command of your own, as cloud-config:
    enrolld launch-kit --config enrolld.toml --route web --format cloud-init --agent '/usr/local/bin/converge' > user-data.yaml";

/// Prints it.
///
/// # Errors
/// A configuration that cannot be used, or a route that there is no kit for.
pub fn run(args: LaunchKitArgs) -> Result<ExitCode, CommandError> {
    let config = args.config.load()?;
    let Some(route) = config.routes.iter().find(|route| route.name == args.route) else {
        let names: Vec<&str> = config.routes.iter().map(|route| route.name.as_str()).collect();
        return Err(CommandError::failed(format!("there is no route {}; there are: {}", shown(&args.route), names.join(", "))));
    };
    let wishes = Wishes {
        converge_hook: args.converge_hook,
        heartbeat_s: args.converge_heartbeat,
        group: args.group,
        agent: args.agent,
        deadline_s: args.deadline,
    };
    let kit = script(route, &wishes).map_err(CommandError::failed)?;
    print(&match args.format {
        Format::Shell => kit,
        Format::CloudInit => cloud_init(&kit).map_err(CommandError::failed)?,
    })?;
    Ok(ExitCode::SUCCESS)
}
