//! What the core is told at its start: limits, budgets and routes, checked by `config` and free of anything that does I/O.

use std::time::Duration;

use wildmatch::WildMatch;

use super::call::{RouteId, ScopeId, ServerId};
use crate::names::{AccountId, GroupName, Region, Template};
use crate::retry::Schedule;

/// The whole worker's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This worker's name in dead letters and audit lines.
    pub worker: String,
    /// Actions held at once; receiving stops there.
    pub max_open: usize,
    /// API calls in flight at once, long polls aside.
    pub max_calls: usize,
    /// Long polls in flight at once, at most; one when the queue is quiet.
    pub max_polls: usize,
    /// How long a receive may wait for its first message (0 to 20 s).
    pub poll_wait: Duration,
    /// How long a received message is ours until it is extended.
    pub visibility: Duration,
    /// After SIGTERM, how long work in flight may take to end.
    pub grace: Duration,
    /// The longest a call can take, all its parts included; after that it has failed.
    pub call_timeout: Duration,
    /// How many runs of one message may end in an internal error of this worker before it is ended with a recorded result.
    pub max_deliveries: u32,
    /// How long a claim that cannot be true as it stands is looked at again before it is dead-lettered.
    pub patience: Duration,
    /// Accounts whose events are taken; the queue's own where empty.
    pub accounts: Vec<AccountId>,
    /// Regions whose events are taken where the envelope names one; the queue's own where empty.
    pub regions: Vec<Region>,
    /// What becomes of an event whose group no route matches.
    pub unmatched: Unmatched,
    /// How transient errors are retried.
    pub transient: Schedule,
    /// How an unready server is probed.
    pub not_ready: Schedule,
    /// How a fault of a route is probed.
    pub route_fault: Schedule,
    /// First match wins.
    pub routes: Vec<Route>,
}

impl Settings {
    /// The route for a group: the first whose patterns match it.
    #[must_use]
    pub fn route_for(&self, group: &GroupName) -> Option<RouteId> {
        let at = self.routes.iter().position(|route| route.groups.iter().any(|glob| glob.matches(group.as_str())))?;
        u16::try_from(at).ok().map(RouteId)
    }

    /// A route by its id.
    #[must_use]
    pub fn route(&self, id: RouteId) -> &Route {
        &self.routes[usize::from(id.0)]
    }
}

/// What becomes of an event whose group no route matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmatched {
    /// It goes to the dead-letter queue.
    DeadLetter,
    /// It is deleted, and logged.
    Ignore,
}

/// What a launch that cannot be enrolled is completed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// ABANDON: the instance is terminated, and the group launches another.
    Abandon,
    /// CONTINUE: the instance goes into service without its association; the failure is recorded like any other.
    Continue,
}

/// When a node's parameter is deleted, beside after a disassociation and after ABANDON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteKey {
    /// Never while the node lives.
    Never,
    /// Also once the launch is in service.
    OnSuccess,
}

/// Where a route's nodes publish their key material.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A parameter of SSM's Parameter Store.
    Parameter {
        /// Its name.
        name: Template,
        /// How many names one call may ask for: 10, or 1 where the owner is checked.
        batch: u8,
    },
    /// The standard output of a Run Command document.
    RunCommand,
}

/// The way that the instances of some groups take.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its unique name.
    pub name: String,
    /// Group names or globs (`*`, `?`).
    pub groups: Vec<WildMatch>,
    /// Which account, region and role Auto Scaling and SSM are asked with.
    pub scope: ScopeId,
    /// The account that the scope asks in, where a role names it.
    pub account: Option<AccountId>,
    /// The region that the scope asks in, where the configuration names it.
    pub region: Option<Region>,
    /// Which server its registrar speaks to.
    pub server: ServerId,
    /// The node's name there.
    pub node_name: Template,
    /// Where the key material is.
    pub key: KeySource,
    /// How often key material that is not there yet is asked for.
    pub key_poll: Duration,
    /// The most key reads a second for all of the scope's nodes; the poll interval stretches to fit.
    pub key_rate: f64,
    /// The shortest and the longest wait between two looks at an association's status.
    pub status_poll: Schedule,
    /// Each action's budget, counted from when it was taken up.
    pub timeout: Duration,
    /// What a failed launch is completed with.
    pub on_failure: OnFailure,
    /// The parameter that the certificate is written under which the server signs for a node, where the node waits for it there.
    pub certificate: Option<Template>,
    /// When the parameter is deleted.
    pub delete_key: DeleteKey,
    /// How many launches may be abandoned for a fault of the route in `abandon_window`, before the rest are held.
    pub max_abandons: u32,
    /// The window of `max_abandons`.
    pub abandon_window: Duration,
    /// The most associations a second, where the user set a limit.
    pub max_rate: Option<f64>,
}
