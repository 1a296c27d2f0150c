//! The model under virtual time.

mod fleet;
mod lifecycle;
mod queue;
mod systems_manager;

use std::sync::Arc;

use super::World;
use super::agent::AgentOptions;
use super::autoscaling::{LifecycleState, Place};
use super::caller::Caller;
use super::fixture::Fixture;
use super::sqs::wire::{ReceiveMessage, ReceivedMessage};

/// 2026-03-02T08:15:42.118Z.
const START: u64 = 1_772_439_342_118;
const GROUP: &str = "web-blue";
const LAUNCH_HOOK: &str = "enrol-on-launch";

/// A world, the account that calls it, and the time there.
struct Scene {
    world: World,
    root: Caller,
    now: u64,
}

impl Scene {
    fn new() -> Self {
        Self::with(Fixture::standard(), 1)
    }

    fn with(fixture: Fixture, seed: u64) -> Self {
        let world = World::from_fixture(fixture, seed, START).expect("the fixture is sound");
        let root = world.root();
        Self { world, root, now: START }
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.world.advance(self.now);
    }

    fn url(&self, queue: &str) -> String {
        format!("http://127.0.0.1:4599/123456789012/{queue}")
    }

    fn launch(&mut self) -> Arc<str> {
        self.launch_as(None)
    }

    fn launch_as(&mut self, agent: Option<&AgentOptions>) -> Arc<str> {
        let mut launched = self.world.launch(self.now, GROUP, 1, Place::AutoScalingGroup, agent).expect("the group is there");
        launched.remove(0)
    }

    fn receive(&mut self, queue: &str, most: i64, lease: i64) -> Vec<ReceivedMessage> {
        let request = ReceiveMessage {
            queue_url: self.url(queue),
            max_number_of_messages: Some(most),
            visibility_timeout: Some(lease),
            ..ReceiveMessage::default()
        };
        self.world.receive_message(self.now, &self.root, &request).expect("the request is sound").messages
    }

    fn state(&self, instance: &str) -> Option<LifecycleState> {
        self.world.lifecycle_state(instance)
    }
}
