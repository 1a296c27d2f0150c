//! `enrolld hooks`: the lifecycle hooks on groups that are there already.

mod attach;
mod detach;
mod list;

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::check::is_denied;
use super::{CommandError, ConfigArgs, process, rooms};
use crate::config::{Config, RoleArn, Route};
use crate::core::settings::Settings;
use crate::event::Transition;
use crate::hooks::Hook;
use crate::lifecycle::{Lifecycle, hook_in_full};
use crate::names::{GroupName, HookName};
use crate::queue::Queue;
use crate::removal::retried;
use crate::retry::Failure;

/// Make, show and remove the lifecycle hooks of groups
///
/// `attach` makes or updates the launch and terminate hooks of existing groups, so that enrolld hears of their instances. `list` shows the
/// hooks that are there and what is wrong with them. `detach` removes those that `attach` made, and nothing else.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct HooksArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub command: HooksCommand,
}

const AFTER_HELP: &str = "\
Examples:
  What would be done, then do it:
    enrolld hooks attach --config enrolld.toml --group web-blue --role-arn arn:aws:iam::123456789012:role/autoscaling-notify --dry-run
    enrolld hooks attach --config enrolld.toml --group web-blue --role-arn arn:aws:iam::123456789012:role/autoscaling-notify
  What is there, and what is wrong with it:
    enrolld hooks list --config enrolld.toml
  And away again:
    enrolld hooks detach --config enrolld.toml --group web-blue
  With the credentials of the account that a route's role_arn is of, where that role is the daemon's alone:
    enrolld hooks list --config enrolld.toml --own-credentials --group far-blue";

/// What to do with the hooks. Described where the arguments are.
#[expect(missing_docs, reason = "clap would show it instead of the command's own description")]
#[derive(Debug, Subcommand)]
pub enum HooksCommand {
    Attach(attach::AttachArgs),
    List(list::ListArgs),
    Detach(detach::DetachArgs),
}

/// How each of the commands asks.
#[derive(Debug, Clone, clap::Args)]
pub struct AskArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Ask with the credentials that are found here in the place of the routes' role_arn: those of the account in which the groups are
    #[arg(long)]
    pub own_credentials: bool,
}

/// One of the two transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// The launch hook
    Launch,
    /// The terminate hook
    Terminate,
}

impl Only {
    /// The transitions that are meant.
    fn transitions(only: Option<Self>) -> &'static [Transition] {
        match only {
            None => &[Transition::Launching, Transition::Terminating],
            Some(Self::Launch) => &[Transition::Launching],
            Some(Self::Terminate) => &[Transition::Terminating],
        }
    }
}

/// Does it.
///
/// # Errors
/// A configuration that cannot be used, a group that no route serves, or a service that does not answer.
pub async fn run(args: HooksArgs) -> Result<ExitCode, CommandError> {
    match args.command {
        HooksCommand::Attach(args) => attach::run(args).await,
        HooksCommand::List(args) => list::run(args).await,
        HooksCommand::Detach(args) => detach::run(args).await,
    }
}

/// What each of the commands asks: the queue, and Auto Scaling in each scope. Registrars are left out, since whoever attaches hooks has not the
/// daemon's keys for its servers, and should not need them.
struct Bench {
    config: Config,
    settings: Settings,
    queue: Queue,
    scopes: Vec<Lifecycle>,
}

impl Bench {
    async fn load(args: &AskArgs) -> Result<Self, CommandError> {
        let mut config = args.config.load()?;
        process::keep_memory_private();
        if args.own_credentials {
            // Such a role is often the daemon's alone, and may not change hooks. Each route is still asked in its own region.
            for route in &mut config.routes {
                (route.scope.role, route.scope.external_id) = (None, None);
            }
        }
        let settings = config.core_settings();
        let aws = rooms::aws(&config).await?;
        let queue = Queue::new(&aws, config.queue_url.as_str(), None);
        let scopes = aws.scopes().iter().map(Lifecycle::new).collect();
        Ok(Self { config, settings, queue, scopes })
    }

    async fn queue_arn(&self) -> Result<String, CommandError> {
        let arn = self.ask_for_queue_arn().await;
        arn.map_err(|failure| CommandError::failed(format!("GetQueueAttributes of the configuration's queue failed: {failure}")))
    }

    async fn ask_for_queue_arn(&self) -> Result<String, Failure> {
        retried(async || self.queue.arn().await).await
    }

    /// The groups with what serves each, in the order they were named.
    fn of<'a>(&'a self, groups: &[GroupName]) -> Result<Vec<Group<'a>>, CommandError> {
        let mut of = Vec::new();
        for name in groups {
            if of.iter().any(|known: &Group<'_>| known.name == *name) {
                continue;
            }
            of.push(self.group(name).ok_or_else(|| {
                CommandError::failed(format!(
                    "no route of the configuration serves the group {name}: its instances would wait for nobody; add it to a route's groups first"
                ))
            })?);
        }
        Ok(of)
    }

    fn group<'a>(&'a self, name: &GroupName) -> Option<Group<'a>> {
        let route = self.settings.route_for(name)?;
        let scope = self.settings.route(route).scope;
        Some(Group { name: name.clone(), route: &self.config.routes[usize::from(route.0)], lifecycle: &self.scopes[usize::from(scope.0)] })
    }
}

/// A group, and what serves it.
struct Group<'a> {
    name: GroupName,
    route: &'a Route,
    lifecycle: &'a Lifecycle,
}

impl Group<'_> {
    async fn hooks(&self) -> Result<Vec<Hook>, CommandError> {
        let hooks = retried(async || self.lifecycle.raw_hooks(&self.name).await).await;
        let hooks = hooks.map_err(|failure| self.failed("DescribeLifecycleHooks", &failure))?;
        Ok(hooks.iter().filter_map(hook_in_full).collect())
    }

    fn failed(&self, call: &str, failure: &Failure) -> CommandError {
        CommandError::failed(format!("group {}: {call} failed: {failure}{}", self.name, self.instead(failure)))
    }

    fn failed_for(&self, call: &str, hook: &HookName, failure: &Failure) -> CommandError {
        CommandError::failed(format!("group {}: {call} of {hook} failed: {failure}{}", self.name, self.instead(failure)))
    }

    /// What to do where the route's role is not for people.
    fn instead(&self, failure: &Failure) -> String {
        self.route.scope.role.as_ref().filter(|_| is_refused(failure)).map(|role| format!("; {}", own_instead_of(role))).unwrap_or_default()
    }
}

/// Whether a role could not be assumed, or may not do what was asked of it.
fn is_refused(failure: &Failure) -> bool {
    failure.code == "credentials" || is_denied(failure)
}

fn own_instead_of(role: &RoleArn) -> String {
    format!("where {} is the daemon's alone, ask with credentials of its account and --own-credentials", role.as_str())
}
