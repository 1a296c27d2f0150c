//! Answers, in the form of each protocol.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value};

use super::xml::Xml;
use crate::simulator::model::error::ApiError;
use crate::simulator::model::operation::Service;
use crate::simulator::model::uuid;

pub(super) type Reply = Response<Bytes>;

/// What a service answers a call with, well or not.
pub(super) fn answer(service: Service, answer: Result<Vec<u8>, ApiError>) -> Reply {
    match answer {
        Ok(body) => reply(service, 200, body),
        Err(error) => failure(service, &error),
    }
}

pub(super) fn failure(service: Service, error: &ApiError) -> Reply {
    match service {
        Service::AutoScaling => reply(service, error.status, xml_error(error, "http://autoscaling.amazonaws.com/doc/2011-01-01/")),
        Service::Sts => reply(service, error.status, xml_error(error, "https://sts.amazonaws.com/doc/2011-06-15/")),
        Service::Iam => reply(service, error.status, xml_error(error, "https://iam.amazonaws.com/doc/2010-05-08/")),
        Service::Sqs | Service::Ssm | Service::OpsworksCm => {
            let mut reply = reply(service, error.status, json_error(service, error));
            if service == Service::Sqs {
                let fault = if error.is_sender_fault() { "Sender" } else { "Receiver" };
                let code = error.query_code.unwrap_or(&error.code);
                if let Ok(value) = HeaderValue::from_str(&format!("{code};{fault}")) {
                    reply.headers_mut().insert("x-amzn-query-error", value);
                }
            }
            reply
        }
    }
}

fn reply(service: Service, status: u16, body: Vec<u8>) -> Reply {
    let kind = match service {
        Service::Sqs => "application/x-amz-json-1.0",
        Service::Ssm | Service::OpsworksCm => "application/x-amz-json-1.1",
        Service::AutoScaling | Service::Sts | Service::Iam => "text/xml",
    };
    let mut reply = plain(status, kind, body);
    if let Ok(id) = HeaderValue::from_str(&request_id()) {
        reply.headers_mut().insert("x-amzn-requestid", id);
    }
    reply
}

/// An answer of nobody's protocol.
pub(super) fn plain(status: u16, kind: &'static str, body: Vec<u8>) -> Reply {
    let mut reply = Response::new(Bytes::from(body));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

pub(super) fn request_id() -> String {
    uuid(&mut fastrand::Rng::with_seed(fastrand::u64(..)))
}

fn xml_error(error: &ApiError, namespace: &str) -> Vec<u8> {
    let mut xml = Xml::new("ErrorResponse", namespace);
    xml.open("Error");
    xml.leaf("Type", if error.is_sender_fault() { "Sender" } else { "Receiver" });
    xml.leaf("Code", &error.code);
    xml.leaf("Message", error.message.as_deref().unwrap_or_default());
    xml.close("Error");
    xml.leaf("RequestId", &request_id());
    xml.finish("ErrorResponse")
}

fn json_error(service: Service, error: &ApiError) -> Vec<u8> {
    let mut body = Map::new();
    let code = format!("{}{}", error.namespace.unwrap_or_default(), error.code);
    body.insert("__type".into(), Value::String(code));
    if let Some(message) = &error.message {
        let key = if writes_capital(service, &error.code) { "Message" } else { "message" };
        body.insert(key.into(), Value::String(message.clone()));
    }
    serde_json::to_vec(&body).expect("strings always serialise")
}

/// Whether the model of this error spells its message with a capital; clients read both.
fn writes_capital(service: Service, code: &str) -> bool {
    let general = ["ThrottlingException", "AccessDeniedException", "UnknownOperationException", "SerializationException"];
    match service {
        Service::OpsworksCm => !general.contains(&code),
        Service::Ssm => {
            code.starts_with("InvalidInstance")
                || code.starts_with("InvalidDocument")
                || code.starts_with("Document")
                || matches!(code, "InvalidParameters" | "InvalidNextToken" | "InternalServerError")
        }
        _ => false,
    }
}
