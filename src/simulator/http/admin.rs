//! The admin interface under `/_sim/`: orders to the world, and its state.

pub mod orders;

use bytes::Bytes;
use hyper::Method;
use hyper::http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::reply::{self, Reply};
use super::shared::Shared;
use crate::simulator::model::World;
use crate::simulator::model::autoscaling::{NewGroup, Place};
use crate::simulator::model::caller::Principal;
use crate::simulator::model::error::ApiError;
use crate::simulator::model::faults::Fault;
use crate::simulator::model::fixture::{NewParameter, NewQueue, NewTopic};
use crate::simulator::model::iam::NewRole;
use crate::simulator::model::opsworks_cm::NewServer;
use crate::simulator::model::ssm::SsmOptions;
use orders::{From, GroupHook, Instances, Launch, Launched, Message, QueueBehaviour, ServerBehaviour, ServerStatusOrder, Skip};

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("{code}: {message}")]
    Service { code: String, message: String },
    #[error("there is no {0}")]
    Absent(String),
    #[error("there is no {0} here: see docs/simulator.md")]
    Unknown(String),
}

impl std::convert::From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Service { code: error.code.into_owned(), message: error.message.unwrap_or_default() }
    }
}

impl Refusal {
    const fn status(&self) -> u16 {
        match self {
            Self::Unreadable(_) | Self::Service { .. } => 400,
            Self::Absent(_) | Self::Unknown(_) => 404,
        }
    }
}

pub(super) fn answer(shared: &Shared, head: &Parts, body: &Bytes) -> Reply {
    let query = head.uri.query().unwrap_or_default();
    let path = head.uri.path().trim_start_matches("/_sim").trim_matches('/');
    match order(shared, &head.method, path, query, body) {
        Ok(body) => reply::plain(200, "application/json", body),
        Err(refusal) => {
            let body = json!({ "error": refusal.to_string() });
            reply::plain(refusal.status(), "application/json", body.to_string().into_bytes())
        }
    }
}

fn order(shared: &Shared, method: &Method, path: &str, query: &str, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let parameter = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    };
    match (method, path) {
        (&Method::GET, "state") => {
            let details = parameter("summary").is_none_or(|summary| summary == "0");
            let state = shared.with(|world, now| {
                world.advance(now);
                world.state(details)
            });
            Ok(serde_json::to_vec(&state)?)
        }
        (&Method::GET, "faults") => show(&shared.with(|world, _| world.state(false).faults)),
        (&Method::DELETE, "faults") => {
            let id = parameter("id");
            show(&json!({ "cleared": shared.with(|world, _| world.clear_faults(id.as_deref())) }))
        }
        (&Method::DELETE, "calls") => {
            shared.with(|world, _| world.clear_calls());
            show(&json!({}))
        }
        (&Method::DELETE, "servers") => {
            let name = parameter("name").unwrap_or_default();
            present(shared.with(|world, _| world.delete_server(&name)), "server", &name)
        }
        (&Method::POST, "skip") => {
            shared.skip(read::<Skip>(body)?.ms);
            show(&json!({ "now_ms": shared.now_ms() }))
        }
        (&Method::POST, _) => shared.with(|world, now| post(world, now, path, body)),
        _ => Err(Refusal::Unknown(format!("{method} /_sim/{path}"))),
    }
}

fn post(world: &mut World, now: u64, path: &str, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    match path {
        "launch" => launch(world, now, &read(body)?),
        "terminate" => each(world, now, &read(body)?, World::terminate),
        "detach" => each(world, now, &read(body)?, World::detach),
        "standby" => each(world, now, &read(body)?, World::standby),
        "return-to-warm-pool" => each(world, now, &read(body)?, World::return_to_warm_pool),
        "server-status" => {
            let order: ServerStatusOrder = read(body)?;
            let done = world.set_server_status(now, &order.server, order.status, order.for_ms);
            present(done, "server", &order.server)
        }
        "server-options" => {
            let order: ServerBehaviour = read(body)?;
            present(world.set_server_options(&order.server, order.options), "server", &order.server)
        }
        "queue-options" => {
            let order: QueueBehaviour = read(body)?;
            present(world.set_queue_options(&order.queue, order.options), "queue", &order.queue)
        }
        "ssm-options" => {
            world.set_ssm_options(read::<SsmOptions>(body)?);
            show(&json!({}))
        }
        "faults" => {
            let faults: Vec<Fault> = one_or_many(body)?;
            let ids: Vec<String> = faults.into_iter().map(|fault| world.add_fault(now, fault)).collect();
            show(&json!({ "ids": ids }))
        }
        "messages" => {
            let order: Message = read(body)?;
            let ids = world.deliver(now, &order.queue, &order.body, &order.attributes, order.count)?;
            show(&json!({ "message_ids": ids.iter().map(AsRef::as_ref).collect::<Vec<&str>>() }))
        }
        "queues" => done(world.create_fixture_queue(now, read::<NewQueue>(body)?)),
        "topics" => {
            world.set_topic(read::<NewTopic>(body)?);
            show(&json!({}))
        }
        "groups" => done(world.create_group(now, read::<NewGroup>(body)?)),
        "hooks" => {
            let order: GroupHook = read(body)?;
            done(world.create_hook(now, &order.group, order.hook))
        }
        "servers" => done(world.create_server(now, read::<NewServer>(body)?)),
        "parameters" => {
            let parameters: Vec<NewParameter> = one_or_many(body)?;
            done(parameters.into_iter().try_for_each(|parameter| world.put_fixture_parameter(now, parameter)))
        }
        "roles" => {
            for role in one_or_many::<NewRole>(body)? {
                world.set_role(role);
            }
            show(&json!({}))
        }
        "principals" => {
            for principal in one_or_many::<Principal>(body)? {
                world.set_principal(principal);
            }
            show(&json!({}))
        }
        _ => Err(Refusal::Unknown(format!("POST /_sim/{path}"))),
    }
}

fn launch(world: &mut World, now: u64, order: &Launch) -> Result<Vec<u8>, Refusal> {
    let instances = match order.from {
        From::Outside => world.launch(now, &order.group, order.count, Place::AutoScalingGroup, order.agent.as_ref())?,
        From::OutsideIntoWarmPool => world.launch(now, &order.group, order.count, Place::WarmPool, order.agent.as_ref())?,
        From::WarmPool => world.leave_warm_pool(now, &order.group, order.count),
    };
    show(&Launched { instances: instances.iter().map(ToString::to_string).collect() })
}

/// Carries out an order for each instance that is named, or for so many of a group that are in service.
fn each(world: &mut World, now: u64, order: &Instances, carry_out: impl Fn(&mut World, u64, &str) -> bool) -> Result<Vec<u8>, Refusal> {
    let mut chosen = order.instances.clone();
    if let Some(group) = &order.group {
        let serving = world.in_service(group);
        chosen.extend(serving.iter().take(order.count.unwrap_or(1)).map(ToString::to_string));
    }
    let done: Vec<String> = chosen.into_iter().filter(|instance| carry_out(world, now, instance)).collect();
    show(&Launched { instances: done })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    Ok(serde_json::from_slice(if body.is_empty() { b"{}" } else { body })?)
}

fn one_or_many<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, Refusal> {
    match read::<Value>(body)? {
        Value::Array(many) => Ok(many.into_iter().map(serde_json::from_value).collect::<Result<_, _>>()?),
        one => Ok(vec![serde_json::from_value(one)?]),
    }
}

fn show<T: Serialize>(answer: &T) -> Result<Vec<u8>, Refusal> {
    Ok(serde_json::to_vec(answer)?)
}

fn done(result: Result<(), ApiError>) -> Result<Vec<u8>, Refusal> {
    result?;
    show(&json!({}))
}

fn present(there: bool, what: &str, name: &str) -> Result<Vec<u8>, Refusal> {
    if there { show(&json!({})) } else { Err(Refusal::Absent(format!("{what} {name}"))) }
}
