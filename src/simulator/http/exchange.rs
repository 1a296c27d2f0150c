//! One request and its answer: who calls what, what the plan does to it, and the call itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{Method, Request};

use super::form::Form;
use super::reply::{self, Reply};
use super::shared::Shared;
use super::{admin, json, metadata, poll, query};
use crate::simulator::model::World;
use crate::simulator::model::caller::Caller;
use crate::simulator::model::calls::Outcome;
use crate::simulator::model::error::{Answer, ApiError};
use crate::simulator::model::faults::Fate;
use crate::simulator::model::operation::{Operation, Service};

/// A batch of messages is at most 1 MiB of text, which JSON and forms may write in several times as many bytes.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped, as planned")]
pub(super) struct Dropped;

/// A call that is known, with its input.
pub(super) struct Call {
    pub operation: Operation,
    pub key: String,
    /// The region that it was signed for.
    pub region: String,
    pub input: Input,
}

pub(super) enum Input {
    Json(Bytes),
    Form(Form),
}

pub(super) async fn exchange(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Reply, Dropped> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
        return Ok(reply::plain(413, "text/plain", b"the body is too large, or was cut off\n".to_vec()));
    };
    let body = body.to_bytes();
    if head.uri.path().starts_with("/_sim") {
        return Ok(admin::answer(&shared, &head, &body));
    }
    if head.uri.path().starts_with(metadata::PREFIX) {
        return Ok(metadata::answer(&shared, &head));
    }
    match identify(&head, body) {
        Ok(call) => serve(shared, call).await,
        Err(reply) => Ok(*reply),
    }
}

async fn serve(shared: Arc<Shared>, call: Call) -> Result<Reply, Dropped> {
    let service = call.operation.service();
    if call.operation == Operation::ReceiveMessage {
        return poll::receive(shared, call).await;
    }
    // Without a fault in the way, all of it is one turn at the lock.
    let first = shared.with(|world, now| match world.admit_on(now, &call.key, call.operation, &call.asks(world)) {
        Err(error) => Ok(reply::failure(service, &error)),
        Ok(admission) if admission.delay_ms == 0 && admission.fate == Fate::Process => {
            Ok(reply::answer(service, process(world, now, now, &call, false)))
        }
        Ok(admission) => Err((admission, now)),
    });
    let (admission, arrived) = match first {
        Ok(reply) => return Ok(reply),
        Err(admitted) => admitted,
    };
    if admission.delay_ms > 0 {
        shared.delay(Duration::from_millis(admission.delay_ms)).await;
    }
    match admission.fate {
        Fate::Process => Ok(reply::answer(service, shared.with(|world, now| process(world, now, arrived, &call, false)))),
        Fate::ProcessAndLoseAnswer => {
            let _ = shared.with(|world, now| process(world, now, arrived, &call, true));
            Err(Dropped)
        }
        fate => refuse(&shared, call.operation, fate),
    }
}

/// The end of a call that is not processed.
pub(super) fn refuse(shared: &Shared, operation: Operation, fate: Fate) -> Result<Reply, Dropped> {
    shared.with(|world, _| refusal(world, operation, fate)).ok_or(Dropped)
}

/// Counts a call that is not processed, and gives its answer where it has one.
pub(super) fn refusal(world: &mut World, operation: Operation, fate: Fate) -> Option<Reply> {
    if let Fate::Refuse(error) = fate {
        world.count(operation, Outcome::Error(&error.code));
        return Some(reply::failure(operation.service(), &error));
    }
    world.count(operation, Outcome::Dropped);
    None
}

/// Makes the call, which arrived at another time than now where a fault delayed it, and counts it.
pub(super) fn process(world: &mut World, now: u64, arrived: u64, call: &Call, lost: bool) -> Answer<Vec<u8>> {
    world.call_arrived(arrived);
    let caller = world.caller(&call.key);
    let answer = dispatch(world, now, &caller, call);
    match &answer {
        _ if lost => world.count(call.operation, Outcome::AnswerLost),
        Ok(_) => world.count(call.operation, Outcome::Ok),
        Err(error) => world.count(call.operation, Outcome::Error(&error.code)),
    }
    answer
}

fn dispatch(world: &mut World, now: u64, caller: &Caller, call: &Call) -> Answer<Vec<u8>> {
    match &call.input {
        Input::Json(body) => json::call(world, now, caller, call.operation, body),
        Input::Form(form) => query::call(world, now, caller, call.operation, form),
    }
}

/// Which call a request makes, and as whom.
pub(super) fn identify(head: &Parts, body: Bytes) -> Result<Call, Box<Reply>> {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    if head.method != Method::POST {
        let hint = b"This is enrolld's simulator of SQS, SSM, Auto Scaling, OpsWorks CM, STS and IAM; its state is at /_sim/state.\n";
        return Err(Box::new(reply::plain(404, "text/plain", hint.to_vec())));
    }
    let (service, name, input) = if let Some(target) = text("x-amz-target") {
        let (prefix, name) = target.split_once('.').unwrap_or((target, ""));
        let service = match prefix {
            "AmazonSQS" => Service::Sqs,
            "AmazonSSM" => Service::Ssm,
            "OpsWorksCM_V2016_11_01" => Service::OpsworksCm,
            _ => return Err(unknown(Service::Ssm, target)),
        };
        (service, name.to_owned(), Input::Json(body))
    } else {
        let kind = text(CONTENT_TYPE.as_str()).unwrap_or_default();
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return Err(unknown(Service::AutoScaling, "no action"));
        }
        let form = Form::parse(&body);
        let service = match form.get("Version") {
            Some("2011-01-01") => Service::AutoScaling,
            Some("2011-06-15") => Service::Sts,
            Some("2010-05-08") => Service::Iam,
            other => {
                return Err(unknown(Service::AutoScaling, &format!("version {}", other.unwrap_or("(none)"))));
            }
        };
        (service, form.text("Action"), Input::Form(form))
    };
    let Some(operation) = Operation::find(service, &name) else {
        return Err(unknown(service, &name));
    };
    let Some((key, region)) = text(AUTHORIZATION.as_str()).and_then(credential) else {
        return Err(Box::new(reply::failure(service, &unauthenticated(service))));
    };
    Ok(Call { operation, key: key.to_owned(), region: region.to_owned(), input })
}

/// The access key id and the region of `AWS4-HMAC-SHA256 Credential=AKID/20260302/eu-central-1/sqs/aws4_request, …`; without one it is
/// of no region.
fn credential(authorization: &str) -> Option<(&str, &str)> {
    let (_, rest) = authorization.strip_prefix("AWS4-")?.split_once("Credential=")?;
    let mut parts = rest.split('/');
    let key = parts.next().filter(|key| !key.is_empty())?;
    Some((key, parts.nth(1).unwrap_or_default()))
}

fn unauthenticated(service: Service) -> ApiError {
    let message = || Some("Request is missing Authentication Token".to_owned());
    match service {
        Service::Sqs => ApiError {
            namespace: Some("com.amazon.coral.service#"),
            query_code: Some("MissingAuthenticationToken"),
            ..ApiError::new(403, "MissingAuthenticationTokenException", message())
        },
        Service::Ssm | Service::OpsworksCm => ApiError::new(400, "MissingAuthenticationTokenException", message()),
        Service::AutoScaling | Service::Sts | Service::Iam => ApiError::new(403, "MissingAuthenticationToken", message()),
    }
}

fn unknown(service: Service, name: &str) -> Box<Reply> {
    let error = match service {
        Service::AutoScaling | Service::Sts | Service::Iam => {
            ApiError::client("InvalidAction", format!("Could not find the operation: {name}"))
        }
        _ => ApiError::new(400, "UnknownOperationException", Some(format!("There is no operation {name} here."))),
    };
    Box::new(reply::failure(service, &error))
}
