//! Signed requests to a Chef server, and what its answers mean.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use jiff::Timestamp;
use serde_json::Value;

use super::errors;
use super::signing::{Signed, Signer};
use crate::aws::{Share, detail};
use crate::registrar::Meaning;
use crate::registrar::http::{Answer, HttpClient, OVERSIZED, shared_class, unexpected};
use crate::retry::{Class, Failure};

/// What `X-Chef-Version` says. Servers compare it with what they can serve; 12.4 is the first whose clients sign as we do.
const CHEF_VERSION: &str = "12.4.0";

/// The longest list, in bytes: a node takes about 100 bytes in it, so this is some 600,000 of them.
const LONGEST_LIST: usize = 64 * 1024 * 1024;

/// Speaks to one organization of a server, or to a server that has none.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) http: HttpClient,
    pub(super) signer: Signer,
    /// `/organizations/ORG`, or nothing.
    pub(super) organization: String,
    pub(super) clock: fn() -> Timestamp,
    /// How long a list may take.
    pub(super) list_timeout: Duration,
}

/// An answer that its asker has to decide about; all others are failures already.
#[derive(Debug)]
pub(super) struct Said {
    /// 200 to 299, 400, 404, 405, 409, 413 or 422.
    pub(super) status: u16,
    /// The body, where it is JSON.
    pub(super) json: Value,
    /// What the values have of what those of all answers may take: whoever keeps them keeps this.
    _share: Share,
}

impl Said {
    /// Whether the object in the body has this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        ["name", "clientname", "username"].iter().any(|key| self.json.get(key).and_then(Value::as_str) == Some(name))
    }

    /// The failure for an answer that should not have been.
    pub(super) fn failure(&self, meaning: Meaning, what: &str) -> Failure {
        let said = message(&self.json);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        meaning.failure(detail(&format!("{what} was answered with {}{said}", self.status)))
    }
}

impl Api {
    /// Asks the organization. `path` stands after the organization's own and may have a query.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Said, Failure> {
        self.send(&self.http, method, &format!("{}{path}", self.organization), body).await
    }

    /// Asks the organization for a list, which can be long.
    pub(super) async fn list(&self, path: &str) -> Result<Said, Failure> {
        let http = self.http.with_max_answer(LONGEST_LIST).with_attempt_timeout(self.list_timeout);
        self.send(&http, Method::GET, &format!("{}{path}", self.organization), None).await
    }

    /// Asks the server, beside its organizations.
    pub(super) async fn ask_server(&self, method: Method, path: &str) -> Result<Said, Failure> {
        self.send(&self.http, method, path, None).await
    }

    /// Reads our own client or user, signed: this is the server that knows us.
    pub(super) async fn shows_us(&self) -> Result<Said, Failure> {
        let own = self.signer.name();
        let said = self.ask(Method::GET, &format!("/clients/{own}"), None).await?;
        let said = if said.status == 404 { self.ask_server(Method::GET, &format!("/users/{own}")).await? } else { said };
        if said.status == 200 && said.is_named(own) {
            return Ok(said);
        }
        Err(said.failure(errors::NOT_CHEF, "reading our own client"))
    }

    /// What came of a request about one object, on which whoever made it may give rights, and write what they like. What is forbidden on one that
    /// somebody else made, or too long to be read, must not stop everybody's nodes, unless we may do nothing here.
    pub(super) async fn unless_anothers<T>(&self, came: Result<T, Failure>, what: &str) -> Result<T, Failure> {
        match came {
            Err(failure) if failure.code == errors::FORBIDDEN.code && self.shows_us().await.is_ok() => {
                Err(errors::FOREIGN_NODE.failure(what))
            }
            Err(failure) if failure.code == OVERSIZED.code && self.shows_us().await.is_ok() => {
                Err(errors::FOREIGN_NODE.failure(format!("{what} ({})", failure.detail)))
            }
            came => came,
        }
    }

    async fn send(&self, http: &HttpClient, method: Method, path: &str, body: Option<&Value>) -> Result<Said, Failure> {
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let without_query = path.split('?').next().unwrap_or_default();
        let signed_path = format!("{}{without_query}", self.http.url().path());
        let signed = Signed { method: &method, path: &signed_path, body: &body, at: (self.clock)() };
        let signature = self.signer.headers(signed);
        let mut headers: Vec<(&str, &str)> = vec![("accept", "application/json"), ("x-chef-version", CHEF_VERSION)];
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        headers.extend(signature.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        said(http.send(method, path, &headers, body).await?)
    }
}

/// What an answer means, whatever was asked; the classes stand in the table of `errors`. A request that got no answer has its class from
/// the HTTP client. 400, 404, 405, 409, 413 and 422 in Chef's own form are left to whoever asked.
fn said(answer: Answer) -> Result<Said, Failure> {
    let json = answer.json();
    let from_chef = json.as_ref().is_some_and(|json| json.get("error").is_some());
    let words = json.as_ref().map(message).unwrap_or_default();
    let fault = |meaning: Meaning| Err(meaning.failure(unexpected(&answer)));
    match answer.status {
        200..=299 if json.is_none() && is_page(&answer) => Err(errors::PAGE.failure("a page was answered instead of JSON")),
        status @ 200..=299 => Ok(Said { status, json: json.unwrap_or_default(), _share: answer.share }),
        401 if words.contains("clock") => fault(errors::CLOCK_SKEW),
        401 => fault(errors::UNAUTHORIZED),
        403 => fault(errors::FORBIDDEN),
        404 if words.starts_with("organization '") || words.starts_with("Cannot load organization") => fault(errors::NO_ORGANIZATION),
        404 if !from_chef => fault(errors::NOT_CHEF),
        406 => fault(errors::API_VERSION),
        status @ (400 | 404 | 405 | 409 | 413 | 422) if from_chef => {
            Ok(Said { status, json: json.unwrap_or_default(), _share: answer.share })
        }
        405 => Ok(Said { status: 405, json: Value::Null, _share: answer.share }),
        status => fault(match shared_class(status) {
            Some(Class::NotReady) => errors::UNAVAILABLE,
            Some(Class::Throttled) => errors::SLOW_DOWN,
            Some(Class::Transient) => errors::BROKEN,
            Some(Class::RouteFault | Class::Final) | None => errors::UNEXPECTED,
        }),
    }
}

fn is_page(answer: &Answer) -> bool {
    answer.media_type.contains("html") || answer.body.trim_ascii_start().starts_with(b"<")
}

/// What the server says of an error: `{"error": ["…"]}`, or the same without the list, or deeper.
pub(super) fn message(json: &Value) -> String {
    match json.get("error") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, media_type: &str, body: &str) -> Answer {
        Answer { status, media_type: media_type.into(), body: Bytes::copy_from_slice(body.as_bytes()), share: Share::default() }
    }

    #[test]
    fn every_answer_has_its_class() {
        use Class::{NotReady, RouteFault, Throttled, Transient};
        let (json, page) = ("application/json", "text/html");
        for (status, media_type, body, class, code) in [
            (502, page, "<html>Bad Gateway</html>", NotReady, "unavailable"),
            (503, page, "<html>Maintenance</html>", NotReady, "unavailable"),
            (504, page, "", NotReady, "unavailable"),
            (200, page, "<html>We are back soon</html>", NotReady, "page"),
            (200, "", "  <!doctype html>", NotReady, "page"),
            (500, json, r#"{"error":["internal service error"]}"#, Transient, "server_error"),
            (408, "", "", Transient, "server_error"),
            (429, page, "", Throttled, "slow_down"),
            (401, json, r#"{"error":["Failed to authenticate as x. Synchronize the clock on your host."]}"#, RouteFault, "clock_skew"),
            (401, json, r#"{"error":["Authentication failed. Please check your system's clock."]}"#, RouteFault, "clock_skew"),
            (401, json, r#"{"error":["Invalid signature for user or client 'x'"]}"#, RouteFault, "unauthorized"),
            (401, page, "", RouteFault, "unauthorized"),
            (403, json, r#"{"error":["missing create permission"]}"#, RouteFault, "forbidden"),
            (404, page, "<html>no such page</html>", RouteFault, "not_chef"),
            (404, json, "{}", RouteFault, "not_chef"),
            (404, json, r#"{"error":["organization 'x' does not exist."]}"#, RouteFault, "no_organization"),
            (406, json, r#"{"error":"invalid-x-ops-server-api-version"}"#, RouteFault, "api_version"),
            (302, page, "", RouteFault, "unexpected_status"),
            (400, page, "<html>Bad Request</html>", RouteFault, "unexpected_status"),
            (418, json, r#"{"error":["teapot"]}"#, RouteFault, "unexpected_status"),
        ] {
            let failure = said(answer(status, media_type, body)).unwrap_err();
            assert_eq!((failure.class, failure.code.as_str()), (class, code), "{status} {body}");
            assert!(!failure.detail.contains('<'), "{failure}");
        }
    }

    #[test]
    fn what_is_chefs_own_is_left_to_whoever_asked() {
        for (status, body) in [
            (200, r#"{"name":"x"}"#),
            (201, "{}"),
            (200, ""),
            (404, r#"{"error":["Cannot load client x"]}"#),
            (409, r#"{"error":["Client already exists"]}"#),
            (400, r#"{"error":["Field 'run_list' is not a valid run list"]}"#),
            (422, r#"{"error":["ambiguous"]}"#),
        ] {
            assert_eq!(said(answer(status, "application/json", body)).unwrap().status, status, "{body}");
        }
    }

    #[test]
    fn an_object_is_known_by_the_name_in_its_body() {
        let of = |json: Value| Said { status: 200, json, _share: Share::default() };
        assert!(of(serde_json::json!({ "name": "i-1" })).is_named("i-1"));
        assert!(of(serde_json::json!({ "clientname": "i-1" })).is_named("i-1"));
        assert!(!of(serde_json::json!({ "name": "i-2" })).is_named("i-1"));
        assert!(!of(Value::Null).is_named("i-1"));
    }
}
