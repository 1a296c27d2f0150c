//! Auto Scaling as the state shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::instance::{Kind, LifecycleState, Place};
use super::{Action, AutoScaling, Closed, Instance};
use crate::simulator::model::grant::Grant;

/// What ended a lifecycle action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closing {
    /// A call of CompleteLifecycleAction.
    Completed,
    /// Its heartbeat time-out.
    HeartbeatTimeout,
    /// Its global time-out.
    GlobalTimeout,
    /// Its hook was deleted.
    HookDeleted,
    /// Another action was abandoned, or the instance was terminated.
    Superseded,
}

/// A group, as the state shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GroupState {
    /// Its desired capacity.
    pub desired: usize,
    /// Its hooks' names.
    pub hooks: Vec<String>,
    /// How many instances are in each state; those that are gone too.
    pub states: BTreeMap<String, usize>,
    /// Launches that ended with ABANDON, by call or by time-out.
    pub abandoned: usize,
}

/// An instance, as the state shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceState {
    /// Its group.
    pub group: String,
    /// Its lifecycle state.
    pub state: LifecycleState,
    /// When it entered each state, in unix milliseconds.
    pub history: Vec<(u64, LifecycleState)>,
    /// Whether it has published its key material.
    pub published: bool,
    /// Whether a launch of it was abandoned.
    pub abandoned: bool,
}

/// A lifecycle action, as the state shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActionState {
    /// Its token.
    pub token: String,
    /// The instance.
    pub instance: String,
    /// The group.
    pub group: String,
    /// The hook.
    pub hook: String,
    /// The transition.
    pub transition: Kind,
    /// Where the instance comes from.
    pub origin: Place,
    /// Where it goes.
    pub destination: Place,
    /// When it began, in unix milliseconds.
    pub began_ms: u64,
    /// When its time-out strikes, unless a heartbeat comes.
    pub deadline_ms: u64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_ms: Option<u64>,
    /// `CONTINUE` or `ABANDON`, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// What ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<Closing>,
    /// Heartbeats in time.
    pub heartbeats: u64,
    /// Heartbeats after its end.
    pub late_heartbeats: u64,
    /// Completions after its end: duplicates and late ones.
    pub refused_completions: u64,
    /// When its first CompleteLifecycleAction came, before any latency, in unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_arrived_ms: Option<u64>,
}

impl AutoScaling {
    pub(crate) fn group_state(&self) -> BTreeMap<String, GroupState> {
        let mut groups: BTreeMap<String, GroupState> = self
            .groups
            .iter()
            .map(|(name, group)| {
                let hooks = group.hooks.iter().map(|hook| hook.name.to_string()).collect();
                (name.to_string(), GroupState { desired: group.desired, hooks, ..GroupState::default() })
            })
            .collect();
        for instance in self.instances.values() {
            if let Some(group) = groups.get_mut(&*instance.group) {
                *group.states.entry(instance.state.name().into()).or_default() += 1;
                group.abandoned += usize::from(instance.abandoned);
            }
        }
        groups
    }

    pub(crate) fn instance_state(&self) -> BTreeMap<String, InstanceState> {
        self.instances.iter().map(|(id, instance)| (id.to_string(), instance.show())).collect()
    }

    pub(crate) fn action_state(&self) -> Vec<ActionState> {
        self.actions.iter().map(Action::show).collect()
    }

    /// Open actions, completions, refused completions, heartbeats, late heartbeats, time-outs.
    pub(crate) fn action_counts(&self) -> [u64; 6] {
        let mut counts = [0, 0, self.unmatched.completions, 0, self.unmatched.heartbeats, 0];
        for action in &self.actions {
            let completed = action.closed.as_ref().is_some_and(|closed| closed.by == Closing::Completed);
            counts[0] += u64::from(action.closed.is_none());
            counts[1] += u64::from(completed);
            counts[2] += action.refused_completions;
            counts[3] += action.heartbeats;
            counts[4] += action.late_heartbeats;
            let timed_out = |closed: &Closed| matches!(closed.by, Closing::HeartbeatTimeout | Closing::GlobalTimeout);
            counts[5] += u64::from(action.closed.as_ref().is_some_and(timed_out));
        }
        counts
    }

    /// The least that was left of an action's time when a heartbeat came, in milliseconds.
    pub(crate) const fn closest_heartbeat_ms(&self) -> Option<u64> {
        self.closest_heartbeat_ms
    }

    /// The state of one instance, if it was ever there.
    pub(crate) fn state_of(&self, instance: &str) -> Option<LifecycleState> {
        self.instances.get(instance).map(|instance| instance.state)
    }
}

/// What an instance is told of itself.
pub(crate) struct About<'a> {
    pub group: &'a Arc<str>,
    pub zone: &'static str,
    pub launched: u64,
    pub role: &'a String,
    pub denied: &'a Vec<String>,
    pub allowed: &'a Option<Vec<Grant>>,
    /// The state that it is going to, or is in where it goes nowhere.
    pub target: &'static str,
}

impl AutoScaling {
    /// The id of an instance that runs.
    pub(crate) fn running(&self, instance: &str) -> Option<Arc<str>> {
        self.instances.get(instance).filter(|instance| instance.state.runs()).map(|instance| Arc::clone(&instance.id))
    }

    pub(crate) fn about(&self, instance: &str) -> Option<About<'_>> {
        let instance = self.instances.get(instance)?;
        let target = instance.transition.as_ref().map_or(instance.state, |way| {
            let pool = self.groups.get(&instance.group).and_then(|group| group.warm_pool).unwrap_or_default();
            way.end(pool.state)
        });
        Some(About {
            group: &instance.group,
            zone: instance.zone,
            launched: instance.launched,
            role: &instance.agent.role,
            denied: &instance.agent.denied,
            allowed: &instance.agent.allowed,
            target: target.name(),
        })
    }
}

impl Instance {
    fn show(&self) -> InstanceState {
        InstanceState {
            group: self.group.to_string(),
            state: self.state,
            history: self.history.clone(),
            published: self.published,
            abandoned: self.abandoned,
        }
    }
}

impl Action {
    fn show(&self) -> ActionState {
        let result = |continues: bool| if continues { "CONTINUE" } else { "ABANDON" }.to_owned();
        ActionState {
            token: self.token.to_string(),
            instance: self.instance.to_string(),
            group: self.group.to_string(),
            hook: self.hook.to_string(),
            transition: self.kind,
            origin: self.origin,
            destination: self.destination,
            began_ms: self.began,
            deadline_ms: self.deadline,
            closed_ms: self.closed.as_ref().map(|closed| closed.at),
            result: self.closed.as_ref().map(|closed| result(closed.continues)),
            closed_by: self.closed.as_ref().map(|closed| closed.by),
            heartbeats: self.heartbeats,
            late_heartbeats: self.late_heartbeats,
            refused_completions: self.refused_completions,
            completion_arrived_ms: self.completion_arrived,
        }
    }
}
