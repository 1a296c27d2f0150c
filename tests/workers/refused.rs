//! Associations that were refused for good, as the wire saw it: the server's own log has only what was accepted.

use bytes::Bytes;
use enrolld::simulator::model::World;
use hyper::{Request, Response};

use crate::wire::Answer;

/// An order to associate a node, or, with the time at which the answer came, one that was refused for good.
#[derive(Debug, Clone)]
pub struct Association {
    pub at: u64,
    /// The ARN of the run that gave it.
    pub run: String,
    pub node: String,
}

impl Association {
    /// The order that a request is, if it is one.
    pub fn of(world: &World, now: u64, request: &Request<Bytes>) -> Option<Self> {
        let header = |name: &str| request.headers().get(name)?.to_str().ok();
        if !header("x-amz-target")?.ends_with(".AssociateNode") {
            return None;
        }
        let (_, credential) = header("authorization")?.split_once("Credential=")?;
        let (access_key_id, _) = credential.split_once('/')?;
        let body: serde_json::Value = serde_json::from_slice(request.body()).ok()?;
        let run = world.caller(access_key_id).arn.to_string();
        Some(Self { at: now, run, node: body["NodeName"].as_str()?.to_owned() })
    }

    /// The same, refused, if that is what the answer says. Of the errors that AssociateNode documents, the others say something of the
    /// server, or of who asks, and nothing of the node.
    pub fn refused(self, now: u64, answer: &Answer) -> Option<Self> {
        let refused = |answer: &Response<Bytes>| {
            let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            body["__type"].as_str().is_some_and(|code| code.ends_with("ValidationException"))
        };
        answer.as_ref().is_some_and(refused).then_some(Self { at: now, ..self })
    }
}
