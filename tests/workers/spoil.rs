//! Members that spoil the batches they are in, as the wire sees it.

use bytes::Bytes;
use hyper::{Request, Response};

/// How a poisoned member spoils its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoil {
    /// The whole call is refused, with that status and code.
    Whole(u16, &'static str),
    /// Its own entry fails: its receipt handle is not taken.
    Entry,
}

/// A member that spoils the batches it is in.
#[derive(Debug, Clone)]
pub struct Poison {
    pub operation: &'static str,
    /// What only the member's request holds.
    pub needle: String,
    pub spoil: Spoil,
    pub times: u32,
    /// How often it has.
    pub spoiled: u32,
    /// How many members the largest of them had.
    pub most: usize,
}

impl Poison {
    /// How many members a request has: each has the needle's beginning in it.
    fn members(&self, text: &str) -> usize {
        text.matches(&self.needle[..self.needle.len().min(3)]).count()
    }
}

/// Applies the poisons to a request: it is changed, or has its answer already.
pub fn spoil(poisons: &mut [Poison], request: Request<Bytes>) -> (Request<Bytes>, Option<Response<Bytes>>) {
    if poisons.is_empty() {
        return (request, None);
    }
    let called = operation(&request);
    let text = String::from_utf8_lossy(request.body()).into_owned();
    let fits = |poison: &&mut Poison| poison.operation == called && poison.spoiled < poison.times && text.contains(&poison.needle);
    let Some(poison) = poisons.iter_mut().find(fits) else { return (request, None) };
    poison.spoiled += 1;
    poison.most = poison.most.max(poison.members(&text));
    match poison.spoil {
        Spoil::Whole(status, code) => {
            let error = serde_json::json!({ "__type": code, "message": "one of them is poisoned" }).to_string();
            let xml =
                format!("<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>poisoned</Message></Error></ErrorResponse>");
            let body = if request.headers().contains_key("x-amz-target") { error } else { xml };
            let answer = Response::builder().status(status).body(Bytes::from(body)).expect("it is an answer");
            (request, Some(answer))
        }
        Spoil::Entry => {
            let at = text.find(&poison.needle).expect("it was just there");
            // A receipt handle that belongs to no message of this queue.
            let spoiled = format!("{}AQEBffff{}", &text[..at], &text[at + 8..]);
            (request.map(|_| Bytes::from(spoiled)), None)
        }
    }
}

/// What is called.
pub fn operation(request: &Request<Bytes>) -> String {
    match request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()) {
        Some(target) => target.rsplit('.').next().unwrap_or(target).to_owned(),
        None => form_urlencoded::parse(request.body())
            .find(|(name, _)| name == "Action")
            .map_or_else(String::new, |(_, action)| action.into_owned()),
    }
}
