//! What the core is told at its start: limits, budgets and routes, checked by `config` and free of anything that does I/O.

use std::collections::BTreeMap;
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
    /// The longest a call can take, all its parts included; after that it has failed. A search of a group's activities may take as long for each page.
    pub call_timeout: Duration,
    /// How many runs of one message may end in an internal error of this worker before it is ended with a recorded result.
    pub max_deliveries: u32,
    /// How long a claim that cannot be true as it stands is looked at again before it is dead-lettered.
    pub patience: Duration,
    /// Accounts whose events are taken; the queue's own where empty.
    pub accounts: Vec<AccountId>,
    /// Regions whose events are taken where the envelope names one; the queue's own where empty.
    pub regions: Vec<Region>,
    /// The account that routes without a role ask in, where the configuration tells it.
    pub own_account: Option<AccountId>,
    /// What becomes of an event whose group no route matches.
    pub unmatched: Unmatched,
    /// How transient errors are retried.
    pub transient: Schedule,
    /// How an unready server is probed.
    pub not_ready: Schedule,
    /// How a fault of a route is probed.
    pub route_fault: Schedule,
    /// The user's own limits.
    pub max_rates: MaxRates,
    /// First match wins.
    pub routes: Vec<Route>,
}

/// How finely the times at which a key is asked for are told apart, in milliseconds: those that fall together travel together.
#[must_use]
pub const fn key_grain_ms(poll_ms: u64) -> u64 {
    let tenth = poll_ms / 10;
    if tenth < 1 {
        1
    } else if tenth > 1000 {
        1000
    } else {
        tenth
    }
}

/// How much earlier than need be a key is asked for, in milliseconds: by a grain, since those of one grain are sent one after the other, and
/// by a twentieth of the interval, since where the rate is used up each batch that is not full sets back all that follow.
#[must_use]
pub const fn key_early_ms(poll_ms: u64) -> u64 {
    key_grain_ms(poll_ms) + poll_ms / 20
}

impl Route {
    /// How many nodes can be asked for their key in each poll interval: the interval less the time that a node is asked earlier, and the
    /// grain that its time is rounded by, at the part of `key_rate` that is used.
    #[must_use]
    pub fn nodes_a_poll(key_poll: Duration, key_rate: f64, batch: u8) -> f64 {
        let poll_ms = super::time::ms(key_poll);
        let usable = poll_ms.saturating_sub(key_early_ms(poll_ms) + key_grain_ms(poll_ms)) as f64 / 1000.0;
        usable * key_rate * super::pace::USED * f64::from(batch)
    }
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

macro_rules! limited {
    ($($name:ident),+ $(,)?) => {
        /// An API operation that the user may set a limit for. Associations and key reads have theirs in each route; SQS, which sets none
        /// that a worker could meet, has none here.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each is the operation of that name")]
        pub enum Limited { $($name),+ }

        impl Limited {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The operation's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

limited! {
    DescribeAutoScalingInstances,
    DescribeLifecycleHooks,
    DescribeScalingActivities,
    RecordLifecycleActionHeartbeat,
    CompleteLifecycleAction,
    SendCommand,
    GetCommandInvocation,
    PutParameter,
    DeleteParameters,
    DescribeNodeAssociationStatus,
}

/// The most calls a second of each operation, where the user set a limit; each account and region has it to itself, and so has each server
/// of one's own.
pub type MaxRates = BTreeMap<Limited, f64>;

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
    /// Whether AWS counts its server's calls for the whole account and region, as those of OpsWorks CM: all such servers there draw on one quota.
    /// A server of one's own is a measure of its own.
    pub counted_by_aws: bool,
    /// Whether its registrar leaves open what it answers where a node is there already: a refusal may then only mean that, and is not
    /// believed before the node was taken off and associated once more. Of every other registrar a refusal is believed at once.
    pub second_chance: bool,
    /// The node's name there.
    pub node_name: Template,
    /// Where the key material is.
    pub key: KeySource,
    /// How often key material that is not there yet is asked for.
    pub key_poll: Duration,
    /// The most key reads a second in the account and region that the scope asks in, for all of its routes' nodes together; the poll interval
    /// stretches to fit.
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
    /// The most orders to the server a second, where the user set a limit.
    pub max_rate: Option<f64>,
}
