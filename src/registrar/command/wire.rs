//! What a command is told, and what it may answer.

use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::errors;
use super::secrets::Secrets;
use crate::core::call::NodeOrder;
use crate::event::Place;
use crate::facts::{KeyMaterial, StatusToken};
use crate::retry::Failure;

/// The longest token that is taken, in bytes. It is kept in memory for each node that waits.
const LONGEST_TOKEN: usize = 4096;

/// What a command is told, as one JSON object. Absent values are left out.
#[derive(Serialize)]
pub(super) struct Told<'a> {
    operation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transition: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

impl<'a> Told<'a> {
    /// An operation that is about no node.
    pub(super) fn operation(operation: &'static str) -> Self {
        Self {
            operation,
            node: None,
            instance: None,
            group: None,
            hook: None,
            transition: None,
            account: None,
            region: None,
            origin: None,
            destination: None,
            metadata: None,
            key: None,
            token: None,
        }
    }

    /// An operation on a node.
    pub(super) fn about(operation: &'static str, order: &'a NodeOrder) -> Self {
        let action = &order.action;
        Self {
            node: Some(order.node.as_str()),
            instance: Some(action.instance.as_str()),
            group: Some(action.group.as_str()),
            hook: Some(action.hook.as_str()),
            transition: Some(action.transition.as_str()),
            account: Some(action.account.as_str()),
            region: action.region.as_ref().map(crate::names::Region::as_str),
            origin: action.origin.and_then(place),
            destination: action.destination.and_then(place),
            metadata: order.metadata.as_deref(),
            ..Self::operation(operation)
        }
    }

    pub(super) fn with_key(self, key: &'a KeyMaterial) -> Self {
        Self { key: Some(key.pem()), ..self }
    }

    pub(super) fn with_token(self, token: &'a StatusToken) -> Self {
        Self { token: Some(token.as_str()), ..self }
    }

    pub(super) fn token(&self) -> Option<&'a str> {
        self.token
    }

    /// The object as text, with a line feed behind it for those who read a line.
    pub(super) fn json(&self) -> Zeroizing<Vec<u8>> {
        // With its full size at once, so that no half of a key stays behind where a smaller buffer was: `\u0000` is the longest of escapes.
        let longest =
            self.variables().map(|(_, value)| value.len()).chain(self.metadata.map(str::len)).map(|length| 6 * length).sum::<usize>();
        let mut text = Zeroizing::new(Vec::with_capacity(longest + 512));
        serde_json::to_writer(&mut *text, self).expect("texts can always be written as JSON");
        text.push(b'\n');
        text
    }

    /// The same as environment variables, for those who rather read these; without the metadata, which is free text.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let all = [
            ("ENROLLD_OPERATION", Some(self.operation)),
            ("ENROLLD_NODE", self.node),
            ("ENROLLD_INSTANCE", self.instance),
            ("ENROLLD_GROUP", self.group),
            ("ENROLLD_HOOK", self.hook),
            ("ENROLLD_TRANSITION", self.transition),
            ("ENROLLD_ACCOUNT", self.account),
            ("ENROLLD_REGION", self.region),
            ("ENROLLD_ORIGIN", self.origin),
            ("ENROLLD_DESTINATION", self.destination),
            ("ENROLLD_KEY", self.key),
            ("ENROLLD_TOKEN", self.token),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Auto Scaling's own word for a place.
fn place(place: Place) -> Option<&'static str> {
    match place {
        Place::Ec2 => Some("EC2"),
        Place::AutoScalingGroup => Some("AutoScalingGroup"),
        Place::WarmPool => Some("WarmPool"),
        Place::Other => None,
    }
}

/// What a command that ended with 0 said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is done.
    Success,
    /// It is under way; the token, where there was one.
    InProgress(Option<StatusToken>),
    /// It failed for good.
    Failed(Failure),
    /// The token is not known any more.
    UnknownToken,
}

/// The JSON that a command may write.
#[derive(Deserialize)]
struct Answer {
    status: Option<String>,
    #[serde(default, deserialize_with = "wiped")]
    token: Option<Zeroizing<String>>,
    /// What of it is shown is what is left when secrets are left out.
    #[serde(default, deserialize_with = "wiped")]
    reason: Option<Zeroizing<String>>,
    nodes: Option<Vec<String>>,
}

/// What is a secret of an answer, or may hold one.
fn wiped<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Zeroizing::new))
}

/// Reads the standard output of a command that ended with 0. What does not begin like a JSON object is the command's own business;
/// what does must be one that is understood, so that no "under way" is taken for success.
///
/// # Errors
/// The command says that the server or the way to it is at fault; or its answer is not understood, which is a fault of the
/// route: every node's would be like this.
pub(super) fn read(output: &[u8], cut: bool, secrets: &Secrets) -> Result<Said, Failure> {
    parse(output, cut)?.map_or(Ok(Said::Success), |answer| decide(&answer, secrets))
}

/// Reads the answer of a command that was asked for its nodes: their names; none where it has no list of them.
///
/// # Errors
/// As [`read`].
pub(super) fn read_nodes(output: &[u8], cut: bool, secrets: &Secrets) -> Result<Option<Vec<String>>, Failure> {
    let Some(answer) = parse(output, cut)? else { return Ok(None) };
    match decide(&answer, secrets)? {
        Said::Success => Ok(answer.nodes),
        Said::Failed(failure) => Err(failure),
        Said::InProgress(_) | Said::UnknownToken => Err(misunderstood("a list is given at once or not at all".into())),
    }
}

/// The one JSON object of an output that begins like one.
fn parse(output: &[u8], cut: bool) -> Result<Option<Answer>, Failure> {
    let text = output.trim_ascii();
    if !text.starts_with(b"{") {
        return Ok(None);
    }
    if cut {
        return Err(misunderstood(format!("its standard output begins like JSON and is longer than {} bytes", output.len())));
    }
    // The parser's own message could repeat what the command wrote.
    let answer = serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        misunderstood(format!("its standard output begins like JSON and is not one object with a status (line {line}, column {column})"))
    });
    answer.map(Some)
}

fn decide(answer: &Answer, secrets: &Secrets) -> Result<Said, Failure> {
    let reason = || answer.reason.as_ref().map_or_else(|| "the command gave no reason".to_owned(), |reason| secrets.detail(reason));
    Ok(match answer.status.as_deref() {
        Some("success") => Said::Success,
        Some("in_progress") => Said::InProgress(token(answer.token.as_ref().map(|token| token.as_str()))?),
        Some("failed") => Said::Failed(errors::FAILED.failure(reason())),
        Some("other_key") => Said::Failed(errors::OTHER_KEY.failure(reason())),
        Some("unknown_token") => Said::UnknownToken,
        Some("not_ready") => return Err(errors::NOT_READY.failure(reason())),
        Some("route_fault") => return Err(errors::ROUTE_FAULT.failure(reason())),
        Some(other) => {
            let known = "success, in_progress, failed, other_key, not_ready, route_fault, unknown_token";
            return Err(misunderstood(format!(
                "its answer has the status {}; the known ones are {known}",
                crate::names::shown(&secrets.left_out(other))
            )));
        }
        None => return Err(misunderstood("its standard output is a JSON object without a status".into())),
    })
}

/// A command that does not keep to its contract.
pub(super) fn misunderstood(wrong: String) -> Failure {
    errors::BAD_ANSWER.failure(wrong)
}

fn token(token: Option<&str>) -> Result<Option<StatusToken>, Failure> {
    match token.filter(|token| !token.is_empty()) {
        Some(token) if token.len() > LONGEST_TOKEN => Err(misunderstood(format!("its token is longer than {LONGEST_TOKEN} bytes"))),
        // A NUL could not stand in the environment that brings it back.
        Some(token) if token.chars().any(char::is_control) => Err(misunderstood("its token holds control characters".into())),
        token => Ok(token.map(StatusToken::new)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &[u8], cut: bool) -> Result<Said, Failure> {
        super::read(output, cut, &Secrets::default())
    }

    fn read_nodes(output: &[u8], cut: bool) -> Result<Option<Vec<String>>, Failure> {
        super::read_nodes(output, cut, &Secrets::default())
    }

    #[test]
    fn what_is_told_is_wiped_and_written_without_leaving_a_part_behind() {
        let key = KeyMaterial::new(Zeroizing::new("\u{1}\"\n".repeat(3000)));
        let told = Told { metadata: Some("\u{1}"), ..Told::operation("associate") }.with_key(&key);
        let text: Zeroizing<Vec<u8>> = told.json();
        assert!(text.ends_with(b"}\n"));
        // A buffer that had to grow would have doubled.
        assert_eq!(text.capacity(), 6 * (9 + 9000 + 1) + 512);
    }

    #[test]
    fn what_is_not_json_is_a_commands_own_business() {
        for text in ["", "done\n", "[1, 2]", "null", "\u{0}\u{1}"] {
            assert_eq!(read(text.as_bytes(), false), Ok(Said::Success), "{text}");
        }
        assert_eq!(read(b"yes\nyes\n", true), Ok(Said::Success));
    }

    #[test]
    fn an_answer_is_one_of_those_that_are_known() {
        assert_eq!(read(br#"{"status":"success"}"#, false), Ok(Said::Success));
        let token = StatusToken::new("t-1");
        assert_eq!(read(b" {\"status\":\"in_progress\",\"token\":\"t-1\"}\n", false), Ok(Said::InProgress(Some(token))));
        assert_eq!(read(br#"{"status":"in_progress","token":""}"#, false), Ok(Said::InProgress(None)));
        let failed = Said::Failed(errors::FAILED.failure("full\\n"));
        assert_eq!(read(br#"{"status":"failed","reason":"full\n"}"#, false), Ok(failed));
        let anothers = Said::Failed(errors::OTHER_KEY.failure("the command gave no reason"));
        assert_eq!(read(br#"{"status":"other_key"}"#, false), Ok(anothers));
        assert_eq!(read(br#"{"status":"unknown_token"}"#, false), Ok(Said::UnknownToken));
    }

    #[test]
    fn what_begins_like_an_answer_is_never_success_by_misunderstanding() {
        for (text, cut) in [
            ("{", false),
            (r#"{"status":"in_progres"}"#, false),
            (r#"{"state":"in_progress"}"#, false),
            (r#"{"status":7}"#, false),
            ("{\"status\":\"success\"}\n{\"status\":\"failed\"}", false),
            (r#"{"status":"success"}"#, true),
        ] {
            assert!(read(text.as_bytes(), cut).is_err(), "{text}");
        }
        assert!(read(br#"{"status":"in_progress","token":"a\u0000b"}"#, false).is_err());
        let long = format!(r#"{{"status":"in_progress","token":"{}"}}"#, "t".repeat(5000));
        assert!(read(long.as_bytes(), false).is_err());
    }

    #[test]
    fn a_list_is_the_names_in_it_or_none() {
        let names = |text: &str| read_nodes(text.as_bytes(), false);
        assert_eq!(names(r#"{"status":"success","nodes":["a","b"]}"#), Ok(Some(vec!["a".into(), "b".into()])));
        assert_eq!(names(r#"{"status":"success","nodes":[]}"#), Ok(Some(vec![])));
        for none in ["", "a\nb", r#"{"status":"success"}"#] {
            assert_eq!(names(none), Ok(None), "{none}");
        }
        for wrong in [r#"{"nodes":["a"]}"#, r#"{"status":"success","nodes":"a"}"#, r#"{"status":"in_progress","token":"t"}"#] {
            assert!(names(wrong).is_err(), "{wrong}");
        }
        assert!(read_nodes(br#"{"status":"success","nodes":["a"]}"#, true).is_err());
    }
}
