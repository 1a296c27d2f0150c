//! Fleets of one group whose course is told in full: nothing in them is chance, so that what a kill changes can be seen.

use std::collections::BTreeMap;

use enrolld::simulator::model::agent::{AgentOptions, Material, Publish};
use enrolld::simulator::model::autoscaling::{Delivery, Form, GroupOptions, Kind, NewGroup, NewHook, WarmPool};
use enrolld::simulator::model::faults::{Effect, Fault};
use enrolld::simulator::model::fixture::{DeadLetters, Fixture, NewQueue};
use enrolld::simulator::model::opsworks_cm::{Engine, NewServer, Repeated, ServerOptions};
use enrolld::simulator::model::sqs::{ExpiredHandles, QueueOptions};

use crate::plan::{ACCOUNT, BEGIN, DEAD_LETTERS, Deed, GROUPS, Plan, QUEUE, SECOND, SERVERS};

pub const CHEF: &str = r#"registrar = { kind = "opsworks-cm", server = "prod-chef", engine = "chef" }"#;
pub const PUPPET: &str = r#"registrar = { kind = "opsworks-cm", server = "prod-chef", engine = "puppet" }
certificate_parameter = "/enrolld/{instance_id}/certificate""#;
pub const OWNED: &str =
    r#"key = { parameter = "/enrolld/{instance_id}/public-key", owner_role = "arn:aws:iam::123456789012:role/enrolld-node" }"#;
pub const ANYBODYS: &str = r#"key = { parameter = "/enrolld/{instance_id}/public-key", require_owner = false }"#;
pub const COMMAND: &str = r#"key = { document = "AWS-RunShellScript", commands = ["cat /etc/chef/public.pem"] }"#;

/// One worker, one route.
pub fn config(route: &[&str]) -> String {
    format!(
        r#"
queue_url = "http://127.0.0.1:4599/{ACCOUNT}/{QUEUE}"
region = "eu-central-1"
worker = "fleet"
listen = "off"
visibility_timeout = "40s"
poll_wait = "20s"
connect_timeout = "1s"
attempt_timeout = "4s"
call_timeout = "5s"
shutdown_grace = "{GRACE_S}s"
patience = "30s"

[[route]]
name = "web"
groups = ["web-*"]
timeout = "20m"
{}
"#,
        route.join("\n")
    )
}

const GRACE_S: u64 = 10;

/// A fleet in which nothing happens yet: a group with a hook each way, and a server that answers repeated orders in that way.
pub fn story(seed: u64, repeated: Repeated, route: &[&str]) -> Plan {
    let hook = |name: &str, transition, default_result: &str| NewHook {
        name: name.into(),
        transition,
        heartbeat_timeout: 900,
        default_result: default_result.into(),
        metadata: None,
        delivery: Some(Delivery { queue: QUEUE.into(), via: Form::Direct }),
    };
    let group = NewGroup {
        name: GROUPS[0].into(),
        max_size: 1000,
        min_size: 0,
        warm_pool: Some(WarmPool::default()),
        hooks: vec![hook("enrol-on-launch", Kind::Launching, "ABANDON"), hook("leave-on-terminate", Kind::Terminating, "CONTINUE")],
        options: GroupOptions { replace_abandoned: false, terminate_hooks_after_abandon: true, ..GroupOptions::default() },
    };
    let latency = Fault {
        id: None,
        operation: "*".into(),
        effect: Effect::Latency { ms: 10, jitter_ms: 0 },
        probability: 1.0,
        limit: None,
        after_ms: 0,
        for_ms: None,
    };
    Plan {
        seed,
        workers: 1,
        off_ms: vec![0],
        config: config(route),
        grace_ms: GRACE_S * SECOND,
        fixture: Fixture {
            groups: vec![group],
            queues: vec![
                NewQueue { name: DEAD_LETTERS.into(), ..NewQueue::default() },
                NewQueue {
                    name: QUEUE.into(),
                    attributes: BTreeMap::new(),
                    dead_letters: Some(DeadLetters { queue: DEAD_LETTERS.into(), max_receive_count: 100 }),
                    options: QueueOptions { expired_handles: ExpiredHandles::Error, ..QueueOptions::default() },
                },
            ],
            servers: vec![NewServer {
                name: SERVERS[0].into(),
                engine: Engine::Chef,
                status: Default::default(),
                options: ServerOptions { association_ms: 1_500, repeated, absent: repeated, ..ServerOptions::default() },
            }],
            faults: vec![latency],
            ..Fixture::default()
        },
        script: Vec::new(),
        calm_at: BEGIN,
        may_abandon: false,
        certificates: false,
        refuses: repeated != Repeated::Success,
    }
}

impl Plan {
    /// Tells what happens so many seconds after the beginning.
    pub fn at(mut self, second: u64, deed: Deed) -> Self {
        self.script.push((BEGIN + second * SECOND, deed));
        self.script.sort_by_key(|(at, _)| *at);
        self.calm_at = self.script.last().map_or(BEGIN, |(at, _)| at + 5 * SECOND);
        self
    }

    /// Changes what the fleet is made of.
    pub fn with(mut self, change: impl FnOnce(&mut Fixture)) -> Self {
        change(&mut self.fixture);
        self
    }

    /// Refuses every call of an operation from a second on, for so many seconds.
    pub fn failing(mut self, operation: &str, status: u16, code: &str, from: u64, seconds: u64) -> Self {
        let effect = Effect::Error { status, code: Some(code.into()), message: Some("as the story has it".into()) };
        let (operation, after_ms, for_ms) = (operation.into(), from * SECOND, Some(seconds * SECOND));
        self.fixture.faults.push(Fault { id: None, operation, effect, probability: 1.0, limit: None, after_ms, for_ms });
        self
    }
}

/// A launch whose instance writes its key under its parameter so many milliseconds later.
pub fn launch(after_ms: u64, material: Material) -> Deed {
    let publish = Publish::Parameter { name: "/enrolld/{instance_id}/public-key".into(), after_ms, jitter_ms: 0, secure: false };
    Deed::Launch { group: 0, agent: AgentOptions { publish, material, ..AgentOptions::default() }, into_pool: false }
}

/// The end of the instance in service.
pub fn terminate() -> Deed {
    Deed::Terminate { pick: 0, early: false }
}
