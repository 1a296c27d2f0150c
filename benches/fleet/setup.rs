//! The world that each row begins with, and the worker's configuration in it.

use std::collections::BTreeMap;

use enrolld::simulator::model::agent::{AgentOptions, Publish};
use enrolld::simulator::model::autoscaling::{Delivery, Form, GroupOptions, Kind, NewGroup, NewHook};
use enrolld::simulator::model::fixture::{DeadLetters, Fixture, NewQueue};
use enrolld::simulator::model::opsworks_cm::wire::ServerStatus;
use enrolld::simulator::model::opsworks_cm::{Engine, NewServer, ServerOptions};
use enrolld::simulator::model::ssm::SsmOptions;

pub const ACCOUNT: &str = "123456789012";
pub const REGION: &str = "eu-central-1";
pub const QUEUE: &str = "lifecycle";
pub const DEAD_LETTERS: &str = "dead-letters";
/// Whose calls they all are.
pub const ACCESS_KEY_ID: &str = "simulated";
/// The group of all rows, and its server.
pub const GROUP: &str = "web";
pub const SERVER: &str = "chef";
/// A second group with a server of its own.
pub const OTHER_GROUP: &str = "db";
pub const OTHER_SERVER: &str = "other-chef";
pub const HOOK: &str = "enrol-on-launch";

/// A queue, two groups with a hook and a server each. Everything happens at once: the key is there at launch, and an association is
/// done at the first look.
pub fn fixture(heartbeat_timeout_s: u64) -> Fixture {
    let agent = AgentOptions {
        publish: Publish::Parameter { name: "/enrolld/{instance_id}/public-key".into(), after_ms: 0, jitter_ms: 0, secure: false },
        ..AgentOptions::default()
    };
    let group = |name: &str| NewGroup {
        name: name.into(),
        max_size: 1_000_000,
        min_size: 0,
        warm_pool: None,
        hooks: vec![NewHook {
            name: HOOK.into(),
            transition: Kind::Launching,
            heartbeat_timeout: heartbeat_timeout_s,
            default_result: "ABANDON".into(),
            metadata: None,
            delivery: Some(Delivery { queue: QUEUE.into(), via: Form::Direct }),
        }],
        options: GroupOptions { pending_ms: 0, proceed_ms: 0, agent: agent.clone(), ..GroupOptions::default() },
    };
    let server = |name: &str| NewServer {
        name: name.into(),
        engine: Engine::Chef,
        status: ServerStatus::Healthy,
        options: ServerOptions { association_ms: 0, ..ServerOptions::default() },
    };
    Fixture {
        queues: vec![
            NewQueue { name: DEAD_LETTERS.into(), ..NewQueue::default() },
            NewQueue {
                name: QUEUE.into(),
                attributes: BTreeMap::from([("VisibilityTimeout".into(), "300".into())]),
                dead_letters: Some(DeadLetters { queue: DEAD_LETTERS.into(), max_receive_count: 100 }),
                ..NewQueue::default()
            },
        ],
        groups: vec![group(GROUP), group(OTHER_GROUP)],
        servers: vec![server(SERVER), server(OTHER_SERVER)],
        // More than an account may have: the rows with 50,000 launches are about the worker, not about SSM.
        ssm: SsmOptions { parameter_limit: 1_000_000, note_misses: true, ..SsmOptions::default() },
        ..Fixture::default()
    }
}

/// The environment of everything that calls the simulator.
pub fn account(endpoint: &str) -> [(&'static str, String); 5] {
    [
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        // What boto3 reads.
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "simulated".to_owned()),
    ]
}

pub fn queue_url(endpoint: &str) -> String {
    format!("{endpoint}/{ACCOUNT}/{QUEUE}")
}

/// A worker's configuration: the defaults, but for what the rows ask for. `top` and `route` are more lines for each part.
pub fn configuration(endpoint: &str, top: &str, route: &str, key: &str) -> String {
    let queue = queue_url(endpoint);
    let one = |name: &str, group: &str, server: &str| {
        format!(
            r#"
[[route]]
name = "{name}"
groups = ["{group}"]
registrar = {{ kind = "opsworks-cm", server = "{server}", engine = "chef" }}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", {key} }}
{route}
"#
        )
    };
    format!(
        r#"queue_url = "{queue}"
region = "{REGION}"
visibility_timeout = "300s"
listen = "127.0.0.1:0"
log_format = "json"
{top}
{}{}"#,
        one("web", GROUP, SERVER),
        one("db", OTHER_GROUP, OTHER_SERVER)
    )
}

/// What a worker's configuration has that is no default, as the report says it.
pub const ABOUT: &str = "workers: two routes, require_owner = false (but for one number of `calls`), visibility_timeout 300s; key_rate = 1000 but in \
     `missing`, `start` and `idle`, which have the default of 20: that lets 190 launches a second have their keys (19 with require_owner); all else is at its defaults";

/// Keys are read faster than by default, where a row is not about that.
pub const FAST: &str = "key_rate = 1000";

/// Keys are believed whoever wrote them, ten a call.
pub const ANYBODY: &str = "require_owner = false";

/// Keys are believed of their instance only, a call each.
pub fn owned() -> String {
    format!("owner_role = \"arn:aws:iam::{ACCOUNT}:role/enrolld-node\"")
}
