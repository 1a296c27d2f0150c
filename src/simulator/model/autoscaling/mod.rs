//! Auto Scaling: groups, lifecycle hooks, and instances on their way in and out.

mod activity;
mod change;
mod describe;
mod hooks;
mod instance;
mod lifecycle;
mod notify;
mod options;
mod state;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::agent::AgentOptions;
use super::error::{Answer, ApiError};
pub(crate) use activity::Activity;
pub use instance::{Kind, LifecycleState, Place};
pub use notify::Form;
pub use options::{Delivery, GroupOptions, NewGroup, NewHook, PoolState, WarmPool};
pub use state::{ActionState, Closing, GroupState, InstanceState};

/// The account's groups, their instances, and every lifecycle action there ever was.
#[derive(Debug, Default)]
pub struct AutoScaling {
    groups: BTreeMap<Arc<str>, Group>,
    instances: BTreeMap<Arc<str>, Instance>,
    actions: Vec<Action>,
    by_token: HashMap<Arc<str>, usize>,
    /// SNS topics that a hook may name: the queue behind each, and whether delivery is raw.
    topics: BTreeMap<String, (Arc<str>, bool)>,
    /// Calls about an action that could not be found.
    unmatched: Unmatched,
    /// The least that was left of an action's time when a heartbeat came.
    closest_heartbeat_ms: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Unmatched {
    heartbeats: u64,
    completions: u64,
}

#[derive(Debug)]
struct Group {
    name: Arc<str>,
    arn: String,
    created: u64,
    desired: usize,
    min: usize,
    max: usize,
    hooks: Vec<Hook>,
    warm_pool: Option<WarmPool>,
    options: GroupOptions,
    /// Those that the group shows.
    members: BTreeSet<Arc<str>>,
    activities: Vec<Activity>,
}

#[derive(Clone, Debug)]
struct Hook {
    name: Arc<str>,
    kind: Kind,
    target_arn: Option<String>,
    role_arn: Option<String>,
    metadata: Option<String>,
    heartbeat_ms: u64,
    default_continue: bool,
    /// Where its notifications go, and in which form.
    delivery: Option<(Arc<str>, Form)>,
}

impl Hook {
    /// The smaller of 48 hours and 100 times the heartbeat time-out.
    const fn global_ms(&self) -> u64 {
        let hundred = self.heartbeat_ms * 100;
        if hundred < 172_800_000 { hundred } else { 172_800_000 }
    }
}

#[derive(Debug)]
struct Instance {
    id: Arc<str>,
    group: Arc<str>,
    state: LifecycleState,
    /// When it entered each state.
    history: Vec<(u64, LifecycleState)>,
    healthy: bool,
    zone: &'static str,
    launched: u64,
    /// Tells a planned step from one that was overtaken.
    step: u32,
    transition: Option<Transition>,
    agent: AgentOptions,
    /// When its key material can be had at the earliest; the jitter is in it.
    publishes_at: u64,
    published: bool,
    /// A launch of it was abandoned.
    abandoned: bool,
}

/// An instance on its way from one place to another.
#[derive(Debug)]
struct Transition {
    origin: Place,
    destination: Place,
    /// The actions that it waits for.
    open: Vec<usize>,
    activity: usize,
    /// Whether the group's hooks run for it.
    hooked: bool,
}

impl Transition {
    /// The state that it ends in, where the pool's instances rest so.
    const fn end(&self, pool: PoolState) -> LifecycleState {
        match (self.origin, self.destination) {
            (_, Place::AutoScalingGroup) => LifecycleState::InService,
            (_, Place::WarmPool) => match pool {
                PoolState::Stopped => LifecycleState::WarmedStopped,
                PoolState::Running => LifecycleState::WarmedRunning,
                PoolState::Hibernated => LifecycleState::WarmedHibernated,
            },
            (Place::WarmPool, Place::Ec2) => LifecycleState::WarmedTerminated,
            (_, Place::Ec2) => LifecycleState::Terminated,
        }
    }
}

#[derive(Debug)]
struct Action {
    token: Arc<str>,
    instance: Arc<str>,
    group: Arc<str>,
    hook: Arc<str>,
    kind: Kind,
    origin: Place,
    destination: Place,
    began: u64,
    heartbeat_ms: u64,
    deadline: u64,
    global_deadline: u64,
    default_continue: bool,
    closed: Option<Closed>,
    heartbeats: u64,
    late_heartbeats: u64,
    refused_completions: u64,
    /// When its first completion came.
    completion_arrived: Option<u64>,
}

#[derive(Debug)]
struct Closed {
    at: u64,
    continues: bool,
    by: Closing,
}

impl AutoScaling {
    fn group(&self, name: &str) -> Answer<&Group> {
        self.groups.get(name).ok_or_else(|| no_such_group(name))
    }

    fn group_mut(&mut self, name: &str) -> Answer<&mut Group> {
        self.groups.get_mut(name).ok_or_else(|| no_such_group(name))
    }

    /// What runs on an instance, where the instance exists and runs.
    pub(crate) fn running_agent(&self, instance: &str) -> Option<RunningAgent<'_>> {
        let instance = self.instances.get(instance).filter(|instance| instance.state.runs())?;
        Some(RunningAgent { options: &instance.agent, launched: instance.launched, publishes_at: instance.publishes_at })
    }

    /// All instances whose agent may be registered, in the order of their ids, after one.
    pub(crate) fn agents_after(&self, after: &str) -> impl Iterator<Item = (&Arc<str>, RunningAgent<'_>)> {
        let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        self.instances.range::<str, _>(range).filter_map(|(id, _)| Some((id, self.running_agent(id)?)))
    }

    pub(crate) fn mark_published(&mut self, instance: &str) {
        if let Some(instance) = self.instances.get_mut(instance) {
            instance.published = true;
        }
    }

    pub(crate) fn set_topic(&mut self, arn: String, queue: &str, raw: bool) {
        self.topics.insert(arn, (queue.into(), raw));
    }
}

/// What is known of the agent on a running instance.
pub(crate) struct RunningAgent<'a> {
    pub options: &'a AgentOptions,
    pub launched: u64,
    pub publishes_at: u64,
}

impl RunningAgent<'_> {
    pub fn registered_at(&self) -> Option<u64> {
        self.options.registers_after_ms.map(|after| self.launched + after)
    }
}

fn validation(message: impl Into<String>) -> ApiError {
    ApiError::client("ValidationError", message)
}

fn no_such_group(name: &str) -> ApiError {
    validation(format!("AutoScalingGroup name not found - AutoScalingGroup '{name}' not found"))
}

/// A parameter that the call needs.
fn required<'a>(value: &'a str, name: &str) -> Answer<&'a str> {
    if value.is_empty() {
        return Err(validation(format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
        )));
    }
    Ok(value)
}
