//! How a group is set up: what the API knows of it, and what only the simulator decides.

use serde::{Deserialize, Serialize};

use super::instance::Kind;
use super::notify::Form;
use crate::simulator::model::agent::AgentOptions;

/// A group to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    /// Its name.
    pub name: String,
    /// The most instances that SetDesiredCapacity may ask for.
    #[serde(default = "thousands")]
    pub max_size: usize,
    /// The fewest.
    #[serde(default)]
    pub min_size: usize,
    /// Its warm pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_pool: Option<WarmPool>,
    /// Its hooks.
    #[serde(default)]
    pub hooks: Vec<NewHook>,
    /// What the simulator decides.
    #[serde(default)]
    pub options: GroupOptions,
}

const fn thousands() -> usize {
    100_000
}

/// A warm pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarmPool {
    /// How its instances rest.
    pub state: PoolState,
    /// Whether instances go back into it on scale-in.
    pub reuse: bool,
}

impl Default for WarmPool {
    fn default() -> Self {
        Self { state: PoolState::Stopped, reuse: true }
    }
}

/// How instances rest in a warm pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolState {
    /// Stopped.
    Stopped,
    /// Running.
    Running,
    /// Hibernated.
    Hibernated,
}

/// A hook to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewHook {
    /// Its name.
    pub name: String,
    /// `launching` or `terminating`, or the name on the wire.
    pub transition: Kind,
    /// HeartbeatTimeout, in seconds; also below the API's 30, for tests.
    #[serde(default = "hour")]
    pub heartbeat_timeout: u64,
    /// DefaultResult: `CONTINUE` or `ABANDON`.
    #[serde(default = "abandon")]
    pub default_result: String,
    /// NotificationMetadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Where its notifications go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

const fn hour() -> u64 {
    3600
}

fn abandon() -> String {
    "ABANDON".into()
}

/// Where notifications go, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The queue's name.
    pub queue: String,
    /// The way to it.
    #[serde(default)]
    pub via: Form,
}

/// What the simulator decides of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupOptions {
    /// How long an instance is Pending (or Warmed:Pending) before it waits, in milliseconds.
    pub pending_ms: u64,
    /// How long it is Pending:Proceed before it is in service.
    pub proceed_ms: u64,
    /// How long it is Terminating before it waits.
    pub terminating_ms: u64,
    /// How long it is Terminating:Proceed before it is gone.
    pub gone_ms: u64,
    /// How much later DescribeAutoScalingInstances shows what has happened: its answers are consistent in the end only.
    pub described_after_ms: u64,
    /// How much later than the waiting state a notification arrives at its queue.
    pub notify_after_ms: u64,
    /// Up to so many milliseconds more, each its own: notifications overtake each other.
    pub notify_jitter_ms: u64,
    /// The probability that a notification is sent twice.
    pub notify_twice: f64,
    /// Whether an abandoned launch is replaced by another.
    pub replace_abandoned: bool,
    /// How much later.
    pub replace_after_ms: u64,
    /// Whether the termination of an abandoned launch runs the terminate hooks.
    pub terminate_hooks_after_abandon: bool,
    /// The queue behind an EventBridge rule, for hooks without a target.
    pub event_queue: Option<String>,
    /// What runs on its instances.
    pub agent: AgentOptions,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            pending_ms: 20,
            proceed_ms: 20,
            terminating_ms: 20,
            gone_ms: 20,
            described_after_ms: 0,
            notify_after_ms: 0,
            notify_jitter_ms: 0,
            notify_twice: 0.0,
            replace_abandoned: true,
            replace_after_ms: 1000,
            terminate_hooks_after_abandon: false,
            event_queue: None,
            agent: AgentOptions::default(),
        }
    }
}
