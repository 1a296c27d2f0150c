//! What one dead letter says: why it stands there, and about which lifecycle action.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Said;
use crate::event::{self, LifecycleAction, Notification};
use crate::names::{InstanceId, MessageId, NodeName};
use crate::queue::StoredLetter;

/// The reason of a letter that SQS itself moved, since it was received too often: nothing stands beside such a body.
pub const MOVED_BY_SQS: &str = "moved_by_sqs";
/// The reason of a letter that somebody else put into the queue, without a word beside it.
pub const NOT_OURS: &str = "not_from_a_worker";

/// One dead letter. All that it says is as its writer says it, and may be a lie.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The message in the dead-letter queue.
    pub id: MessageId,
    /// Why it stands there: a worker's word, or [`MOVED_BY_SQS`], or [`NOT_OURS`].
    pub reason: Said,
    /// The queue that SQS moved it from; none where it was sent.
    pub moved_from: Option<String>,
    /// What the worker says about the reason.
    pub detail: Said,
    /// The first line of it.
    detail_line: Said,
    /// How the action ended.
    pub outcome: Option<Said>,
    /// What somebody must still do.
    pub owed: Option<Owed>,
    /// In which step it went wrong.
    pub step: Option<Said>,
    /// How many calls the worker made for it.
    pub attempts: Option<Said>,
    /// The worker that wrote it.
    pub worker: Option<Said>,
    /// That worker's version.
    pub version: Option<Said>,
    /// The message in the worker's queue that it was.
    pub was_message: Option<Said>,
    /// When it was written, or else sent, in Unix milliseconds.
    pub when_ms: Option<u64>,
    /// How often it was received, looks like this one included.
    pub received: u32,
    /// What its body is.
    pub body: Body,
}

/// What somebody must still do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owed {
    /// Take this node off its server.
    Disassociate(NodeName),
    /// Something that this version does not know.
    Unknown(Said),
}

/// What a letter's body is.
#[derive(Debug, Clone)]
pub enum Body {
    /// A lifecycle action's notification.
    Action(Arc<LifecycleAction>),
    /// A test notification.
    Test,
    /// Nothing that Auto Scaling sends.
    NoNotification {
        /// Why it is none, in a word.
        code: &'static str,
        /// Its beginning.
        beginning: Said,
    },
}

impl Letter {
    /// Reads a letter. `max_receive_count` is the worker's queue's: SQS moves what was received so often.
    #[must_use]
    pub fn read(stored: &StoredLetter, max_receive_count: Option<u32>) -> Self {
        let message = &stored.message;
        let attribute = |name: &str| stored.attributes.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let said = |name: &str| attribute(name).map(Said::new);
        // SQS says where it moved a message from; not everything that speaks its protocol does, but the count then shows it. By
        // itself the count proves little, since looks at the letters count too.
        let moved = stored.moved_from.is_some() || max_receive_count.is_some_and(|most| message.receive_count > most);
        let (reason, detail) = match attribute("EnrolldReason") {
            Some(reason) => (reason, attribute("EnrolldDetail").unwrap_or("no detail was given").to_owned()),
            None if moved => {
                // The count may begin anew in the dead-letter queue; but SQS moved it only after so many.
                let received = message.receive_count.max(max_receive_count.unwrap_or(0));
                (MOVED_BY_SQS, format!("moved by SQS: received {}", times(received)))
            }
            None => (NOT_OURS, format!("nothing says why, and no worker wrote it: received {}", times(message.receive_count))),
        };
        Self {
            id: message.id.clone(),
            reason: Said::new(reason),
            moved_from: stored.moved_from.clone(),
            // A key may begin in a later line than the first.
            detail_line: if Said::new(&detail).is_left_out() {
                Said::new(&detail)
            } else {
                Said::new(detail.lines().next().unwrap_or_default())
            },
            detail: Said::new(&detail),
            outcome: said("EnrolldOutcome"),
            owed: attribute("EnrolldOwed").map(Owed::read),
            step: said("EnrolldStep"),
            attempts: said("EnrolldAttempts"),
            worker: said("EnrolldWorker"),
            version: said("EnrolldVersion"),
            was_message: said("EnrolldMessageId"),
            when_ms: attribute("EnrolldTime").and_then(|text| text.parse().ok()).or(message.sent_ms),
            received: message.receive_count,
            body: Body::read(message.body.as_str()),
        }
    }

    /// The first line of the detail.
    #[must_use]
    pub fn detail_line(&self) -> &Said {
        &self.detail_line
    }

    /// The lifecycle action that its body tells of.
    #[must_use]
    pub fn action(&self) -> Option<&Arc<LifecycleAction>> {
        match &self.body {
            Body::Action(action) => Some(action),
            Body::Test | Body::NoNotification { .. } => None,
        }
    }

    /// The instance that its body tells of.
    #[must_use]
    pub fn instance(&self) -> Option<&InstanceId> {
        self.action().map(|action| &action.instance)
    }

    /// When it was written, to the second, as a person reads it.
    #[must_use]
    pub fn when(&self) -> Option<String> {
        let second = i64::try_from(self.when_ms? / 1000).ok()?;
        Some(jiff::Timestamp::from_second(second).ok()?.to_string())
    }

    /// The letter as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let action = self.action();
        let mut value = json!({
            "message": self.id.as_str(),
            "when": self.when(),
            "reason": self.reason,
            "detail": self.detail,
            "outcome": self.outcome,
            "owed": self.owed.as_ref().map(Owed::words),
            "group": action.map(|action| Said::new(action.group.as_str())),
            "instance": action.map(|action| action.instance.as_str()),
            "transition": action.map(|action| action.transition.as_str()),
            "hook": action.map(|action| action.hook.as_str()),
            "step": self.step,
            "attempts": self.attempts.as_ref().and_then(|text| text.as_str().parse::<u64>().ok()),
            "received": self.received,
            "moved_by_sqs": self.reason.as_str() == MOVED_BY_SQS,
            "worker": self.worker,
            "version": self.version,
            "was_message": self.was_message,
            "body": self.body.kind(),
        });
        if let Body::NoNotification { code, beginning } = &self.body {
            value["body_refused"] = json!(code);
            value["body_begins"] = json!(beginning);
        }
        value
    }
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

impl Owed {
    fn read(text: &str) -> Self {
        let node = text.strip_prefix("disassociate ").and_then(|node| NodeName::new(node).ok());
        node.map_or_else(|| Self::Unknown(Said::new(text)), Self::Disassociate)
    }

    /// What is owed, in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Disassociate(node) => format!("disassociate {node}"),
            Self::Unknown(said) => said.as_str().to_owned(),
        }
    }
}

impl Body {
    fn read(body: &str) -> Self {
        match event::decode(body) {
            Ok(Notification::Action(action)) => Self::Action(Arc::new(action)),
            Ok(Notification::Test { .. }) => Self::Test,
            Err(error) => Self::NoNotification { code: error.code(), beginning: Said::of_body(body) },
        }
    }

    /// What the body is, in a word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Action(_) => "lifecycle_action",
            Self::Test => "test_notification",
            Self::NoNotification { .. } => "no_notification",
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::facts::{MessageBody, ReceivedMessage};
    use crate::names::ReceiptHandle;

    /// The notification of a termination of an instance of the group `web-blue`.
    pub(crate) fn notification(instance: &str) -> String {
        json!({
            "LifecycleHookName": "leave-on-terminate",
            "AccountId": "123456789012",
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
            "AutoScalingGroupName": "web-blue",
            "EC2InstanceId": instance,
            "LifecycleActionToken": "5d1f0a52-7b0e-4c8e-9a49-2f6d3f6f1c01",
        })
        .to_string()
    }

    /// A letter with these attributes and this body, received once.
    pub(crate) fn stored(attributes: &[(&str, &str)], body: &str) -> StoredLetter {
        StoredLetter {
            message: ReceivedMessage {
                id: MessageId::new("m-1").unwrap(),
                handle: ReceiptHandle::new("h").unwrap(),
                body: MessageBody::new(body),
                sent_ms: Some(1_700_000_000_123),
                receive_count: 1,
                earlier_run: false,
            },
            attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            moved_from: None,
        }
    }

    #[test]
    fn a_workers_letter_says_why_and_about_what() {
        let letter = Letter::read(
            &stored(
                &[
                    ("EnrolldReason", "deadline"),
                    ("EnrolldDetail", "the node could not be taken off in time"),
                    ("EnrolldOutcome", "left_behind"),
                    ("EnrolldOwed", "disassociate i-0a1b2c3d"),
                    ("EnrolldStep", "status"),
                    ("EnrolldAttempts", "7"),
                    ("EnrolldTime", "1700000001500"),
                ],
                &notification("i-0a1b2c3d"),
            ),
            None,
        );
        assert_eq!((letter.reason.as_str(), letter.when().as_deref()), ("deadline", Some("2023-11-14T22:13:21Z")));
        assert_eq!(letter.owed, Some(Owed::Disassociate(NodeName::new("i-0a1b2c3d").unwrap())));
        let json = letter.json();
        assert_eq!((&json["instance"], &json["transition"], &json["attempts"]), (&json!("i-0a1b2c3d"), &json!("terminate"), &json!(7)));
    }

    #[test]
    fn what_sqs_moved_is_told_as_such() {
        let mut moved = stored(&[], &notification("i-0a1b2c3d"));
        moved.moved_from = Some("arn:aws:sqs:eu-central-1:123456789012:hooks".into());
        moved.message.receive_count = 101;
        let letter = Letter::read(&moved, None);
        assert_eq!((letter.reason.as_str(), letter.detail.as_str()), (MOVED_BY_SQS, "moved by SQS: received 101 times"));
        assert_eq!(letter.when().as_deref(), Some("2023-11-14T22:13:20Z"), "the time of sending stands in");
        moved.message.receive_count = 1;
        assert_eq!(Letter::read(&moved, Some(100)).detail.as_str(), "moved by SQS: received 100 times", "the count began anew");
    }

    #[test]
    fn a_count_beyond_the_policys_shows_that_sqs_moved_it_where_nothing_else_does() {
        let mut letter = stored(&[], "x");
        letter.message.receive_count = 6;
        assert_eq!(Letter::read(&letter, Some(5)).reason.as_str(), MOVED_BY_SQS);
        assert_eq!(Letter::read(&letter, Some(6)).reason.as_str(), NOT_OURS);
    }

    #[test]
    fn what_somebody_else_put_there_is_not_told_as_moved_by_sqs() {
        assert_eq!(Letter::read(&stored(&[], "x"), None).reason.as_str(), NOT_OURS);
    }

    #[test]
    fn a_body_that_is_no_notification_is_shown_escaped_and_without_keys() {
        let letter = Letter::read(&stored(&[("EnrolldReason", "not_json")], "\u{1b}[2Jgarbage"), None);
        assert_eq!(letter.json()["body_begins"], json!("\\u{1b}[2Jgarbage"));
        assert!(letter.instance().is_none());
        let letter = Letter::read(&stored(&[], "-----BEGIN PRIVATE KEY-----\nMIIE"), None);
        assert!(!letter.json().to_string().contains("MIIE"));
    }

    #[test]
    fn a_debt_that_is_no_node_name_is_none_that_could_be_paid() {
        for text in ["disassociate a b", "disassociate ", "disassociate ../../x\n", "delete everything", "disassociate"] {
            assert!(matches!(Owed::read(text), Owed::Unknown(_)), "{text}");
        }
    }

    #[test]
    fn times_that_cannot_be_are_left_out() {
        for text in ["18446744073709551615", "-5", "soon"] {
            let mut letter = stored(&[("EnrolldReason", "x"), ("EnrolldTime", text)], "x");
            letter.message.sent_ms = None;
            assert_eq!(Letter::read(&letter, None).when(), None, "{text}");
        }
    }
}
