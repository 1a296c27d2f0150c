//! The bodies of the admin interface's requests and answers.

use serde::{Deserialize, Serialize};

use crate::simulator::model::agent::AgentOptions;
use crate::simulator::model::autoscaling::NewHook;
use crate::simulator::model::opsworks_cm::ServerOptions;
use crate::simulator::model::opsworks_cm::wire::ServerStatus;
use crate::simulator::model::sqs::QueueOptions;
use crate::simulator::model::sqs::wire::MessageAttributes;

const fn one() -> usize {
    1
}

/// `POST /_sim/launch`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The group.
    pub group: String,
    /// How many.
    #[serde(default = "one")]
    pub count: usize,
    /// Where they come from and go to.
    #[serde(default)]
    pub from: From,
    /// What runs on them; the group's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentOptions>,
}

/// Where launched instances come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// New ones, into the group.
    #[default]
    Outside,
    /// New ones, into the group's warm pool.
    OutsideIntoWarmPool,
    /// Those that rest in the warm pool, into the group.
    WarmPool,
}

/// What a launch, and every order about instances, answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launched {
    /// The instances concerned.
    pub instances: Vec<String>,
}

/// `POST /_sim/terminate`, `detach`, `standby`, `return-to-warm-pool`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Instances {
    /// These.
    pub instances: Vec<String>,
    /// And so many in service of this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How many; one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
}

/// `POST /_sim/server-status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerStatusOrder {
    /// The server.
    pub server: String,
    /// Its status from now on.
    pub status: ServerStatus,
    /// After so many milliseconds it is HEALTHY again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

/// `POST /_sim/server-options`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerBehaviour {
    /// The server.
    pub server: String,
    /// How it treats associations from now on.
    pub options: ServerOptions,
}

/// `POST /_sim/queue-options`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueBehaviour {
    /// The queue's name.
    pub queue: String,
    /// How it behaves from now on.
    pub options: QueueOptions,
}

/// `POST /_sim/messages`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The queue's name.
    pub queue: String,
    /// Any text.
    pub body: String,
    /// Message attributes, as SendMessage takes them.
    #[serde(default)]
    pub attributes: MessageAttributes,
    /// How often.
    #[serde(default = "one")]
    pub count: usize,
}

/// `POST /_sim/hooks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupHook {
    /// The group.
    pub group: String,
    /// The hook.
    pub hook: NewHook,
}

/// `POST /_sim/skip`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    /// How far to put the clock forward, in milliseconds.
    pub ms: u64,
}
