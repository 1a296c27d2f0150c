//! The whole world, as `GET /_sim/state` shows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::autoscaling::{ActionState, GroupState, InstanceState};
use super::calls::Arrivals;
use super::faults::FaultState;
use super::opsworks_cm::{LogEntry, ServerState};
use super::sqs::QueueState;
use super::ssm::{InvocationState, Miss, ParameterState};
use super::world::World;

/// The state of the world.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// The simulator's time, in unix milliseconds.
    pub now_ms: u64,
    /// Counts of what the lists hold.
    pub counts: Counts,
    /// Calls by operation: `"sqs:ReceiveMessage": 12`.
    pub calls: BTreeMap<String, u64>,
    /// Calls by operation and how they ended: `ok`, an error code, `dropped`, `answer_lost`.
    pub outcomes: BTreeMap<String, BTreeMap<String, u64>>,
    /// When calls came, by operation.
    #[serde(default)]
    pub arrivals: BTreeMap<String, Arrivals>,
    /// Queues by name.
    pub queues: BTreeMap<String, QueueState>,
    /// Groups by name.
    pub groups: BTreeMap<String, GroupState>,
    /// OpsWorks CM servers by name.
    pub servers: BTreeMap<String, ServerState>,
    /// The faults that are planned.
    pub faults: Vec<FaultState>,
    /// Everything else, unless a summary was asked for.
    #[serde(flatten)]
    pub details: Option<Details>,
}

/// What can be counted at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Lifecycle actions that are open.
    pub open_actions: u64,
    /// Calls of CompleteLifecycleAction that ended an action.
    pub completions: u64,
    /// Calls of CompleteLifecycleAction that came for a closed or unknown action.
    pub refused_completions: u64,
    /// Heartbeats in time.
    pub heartbeats: u64,
    /// Heartbeats for a closed or unknown action.
    pub late_heartbeats: u64,
    /// How long before its action's time-out the latest heartbeat came that was in time, in milliseconds.
    pub closest_heartbeat_ms: Option<u64>,
    /// Actions that a time-out ended.
    pub timed_out: u64,
    /// Parameters there are.
    pub parameters: u64,
    /// Parameters that instances wrote, and writes of theirs that were refused.
    pub published: u64,
    /// Writes of instances that were refused.
    pub publish_refused: u64,
    /// AssociateNode that ended well.
    pub associations: u64,
    /// DisassociateNode that ended well.
    pub disassociations: u64,
}

/// The long lists.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Details {
    /// Instances by id, those that are gone too.
    pub instances: BTreeMap<String, InstanceState>,
    /// Every lifecycle action there ever was.
    pub actions: Vec<ActionState>,
    /// Parameters by name.
    pub parameters: BTreeMap<String, ParameterState>,
    /// Commands by instance.
    pub commands: Vec<InvocationState>,
    /// Who associated what, and when.
    pub associations: Vec<LogEntry>,
    /// Parameters that were asked for and not there, where the option `note_misses` is set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub misses: BTreeMap<String, Miss>,
}

impl World {
    /// The state; without the long lists where `details` is false.
    #[must_use]
    pub fn state(&self, details: bool) -> State {
        let [open_actions, completions, refused_completions, heartbeats, late_heartbeats, timed_out] = self.autoscaling.action_counts();
        let happened = |what| self.opsworks_cm.log().iter().filter(|entry| entry.what == what).count() as u64;
        let counts = Counts {
            open_actions,
            completions,
            refused_completions,
            heartbeats,
            late_heartbeats,
            closest_heartbeat_ms: self.autoscaling.closest_heartbeat_ms(),
            timed_out,
            parameters: self.ssm.parameter_count() as u64,
            published: self.published,
            publish_refused: self.publish_refused,
            associations: happened(super::opsworks_cm::Happened::Associated),
            disassociations: happened(super::opsworks_cm::Happened::Disassociated),
        };
        State {
            now_ms: self.cx.now,
            counts,
            calls: self.calls.totals(),
            outcomes: self.calls.outcomes(),
            arrivals: self.calls.arrivals(),
            queues: self.sqs.state(&self.cx, details),
            groups: self.autoscaling.group_state(),
            servers: self.opsworks_cm.state(self.cx.now, details),
            faults: self.faults.state(),
            details: details.then(|| Details {
                instances: self.autoscaling.instance_state(),
                actions: self.autoscaling.action_state(),
                parameters: self.ssm.state(),
                commands: self.ssm.command_state(),
                associations: self.opsworks_cm.log().to_vec(),
                misses: self.ssm.misses(),
            }),
        }
    }
}
