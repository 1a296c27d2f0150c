//! What a world begins with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::autoscaling::{Delivery, Form, GroupOptions, Kind, NewGroup, NewHook};
use super::caller::Principal;
use super::context::Settings;
use super::faults::Fault;
use super::iam::NewRole;
use super::opsworks_cm::{Engine, NewServer, ServerOptions};
use super::sqs::QueueOptions;
use super::ssm::SsmOptions;

/// A world to be made: the form of `--fixture`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fixture {
    /// The account and region.
    pub settings: Settings,
    /// Queues; a dead-letter queue before the queues that name it.
    pub queues: Vec<NewQueue>,
    /// SNS topics that hooks made by the API may name.
    pub topics: Vec<NewTopic>,
    /// Groups with their hooks.
    pub groups: Vec<NewGroup>,
    /// OpsWorks CM servers.
    pub servers: Vec<NewServer>,
    /// Parameters that are there from the start.
    pub parameters: Vec<NewParameter>,
    /// Principals behind access key ids.
    pub principals: Vec<Principal>,
    /// Roles, with who may assume them.
    pub roles: Vec<NewRole>,
    /// The plan of what goes wrong.
    pub faults: Vec<Fault>,
    /// How Systems Manager behaves.
    pub ssm: SsmOptions,
}

/// A queue to be made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewQueue {
    /// Its name.
    pub name: String,
    /// Attributes, as CreateQueue takes them.
    pub attributes: BTreeMap<String, String>,
    /// A dead-letter queue by name, in the place of a RedrivePolicy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<DeadLetters>,
    /// How it behaves.
    pub options: QueueOptions,
}

/// Where a queue's messages go when they were received too often.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetters {
    /// The dead-letter queue's name.
    pub queue: String,
    /// How often a message may be received.
    pub max_receive_count: u32,
}

/// An SNS topic with a queue behind it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTopic {
    /// Its ARN.
    pub arn: String,
    /// The queue's name.
    pub queue: String,
    /// Raw message delivery.
    #[serde(default)]
    pub raw: bool,
}

/// A parameter to be put.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewParameter {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// String, StringList or SecureString.
    #[serde(default = "string")]
    pub kind: String,
    /// Whether one that is there is replaced.
    #[serde(default)]
    pub overwrite: bool,
    /// Who puts it, by ARN; the account itself when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Or the instance that puts it, as its role's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_instance: Option<String>,
}

fn string() -> String {
    "String".into()
}

impl Fixture {
    /// What `enrolld simulate` serves when nothing else is asked for: one queue with its dead-letter queue, one group with
    /// a hook each way, one Chef server.
    #[must_use]
    pub fn standard() -> Self {
        let hook = |name: &str, transition, default_result: &str| NewHook {
            name: name.into(),
            transition,
            heartbeat_timeout: 3600,
            default_result: default_result.into(),
            metadata: None,
            delivery: Some(Delivery { queue: "enrolld-lifecycle".into(), via: Form::Direct }),
        };
        Self {
            queues: vec![
                NewQueue { name: "enrolld-dead-letters".into(), ..NewQueue::default() },
                NewQueue {
                    name: "enrolld-lifecycle".into(),
                    attributes: BTreeMap::from([("VisibilityTimeout".into(), "300".into())]),
                    dead_letters: Some(DeadLetters { queue: "enrolld-dead-letters".into(), max_receive_count: 100 }),
                    ..NewQueue::default()
                },
            ],
            groups: vec![NewGroup {
                name: "web-blue".into(),
                max_size: 100_000,
                min_size: 0,
                warm_pool: None,
                hooks: vec![hook("enrol-on-launch", Kind::Launching, "ABANDON"), hook("leave-on-terminate", Kind::Terminating, "CONTINUE")],
                options: GroupOptions::default(),
            }],
            servers: vec![NewServer {
                name: "prod-chef".into(),
                engine: Engine::Chef,
                status: super::opsworks_cm::wire::ServerStatus::Healthy,
                options: ServerOptions::default(),
            }],
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::model::World;

    #[test]
    fn the_fixture_in_the_documentation_makes_a_world() {
        let documentation = include_str!("../../../docs/simulator.md");
        let json = documentation.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("there is one");
        let fixture: Fixture = serde_json::from_str(json).expect("it is a fixture");
        let world = World::from_fixture(fixture, 1, 0).expect("it can be");
        let state = world.state(false);
        assert_eq!(state.groups["web-blue"].hooks, ["enrol"]);
        assert_eq!(state.queues["lifecycle"].options.reorder, 20);
        assert_eq!(state.faults.len(), 1);
    }

    #[test]
    fn a_fixture_survives_being_written_and_read() {
        let text = serde_json::to_string(&Fixture::standard()).expect("serialises");
        let again: Fixture = serde_json::from_str(&text).expect("it is a fixture");
        assert_eq!(serde_json::to_string(&again).expect("serialises"), text);
    }
}
