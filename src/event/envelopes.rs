//! The ways a notification takes into the queue, and what each wraps around it.
//!
//! ```text
//! direct            {"LifecycleTransition": …, "EC2InstanceId": …, "AccountId": …, "Time": …, …}
//! SNS               {"Type": "Notification", "TopicArn": …, "Message": "<one of the other two, as a string>"}
//! EventBridge       {"detail-type": "EC2 Instance-launch Lifecycle Action", "account": …, "time": …, "region": …, "detail": {…}}
//! ```
//!
//! EventBridge can have an SNS topic as its target, so an SNS notification may hold an EventBridge event; no other nesting is real,
//! and none is understood. SNS with raw delivery looks like direct, or like EventBridge.

use serde_json::{Map, Value};

use super::fields::Fields;
use super::{DecodeError, Envelope, LifecycleAction, Notification, Transition, json};
use crate::names::{AccountId, GroupName, HookName, InstanceId, LifecycleActionToken, Region, shown};

const TEST_NOTIFICATION: &str = "autoscaling:TEST_NOTIFICATION";
const TRANSITION_WORDS: &str = "autoscaling:EC2_INSTANCE_LAUNCHING or autoscaling:EC2_INSTANCE_TERMINATING";
const DETAIL_TYPES: &str = "EC2 Instance-launch Lifecycle Action or EC2 Instance-terminate Lifecycle Action";

/// Reads the outermost object of a body.
pub(super) fn read(body: &str) -> Result<Notification, DecodeError> {
    let object = json::object(body, "the body")?;
    let fields = Fields::new(&object, "");
    match form(fields)? {
        Form::Direct => direct(fields, Envelope::Direct, None),
        Form::EventBridge => event_bridge(fields, Envelope::EventBridge),
        Form::Sns => sns(fields),
    }
}

/// What an object looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Direct,
    Sns,
    EventBridge,
}

impl Form {
    /// The form in words.
    fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "a notification of Auto Scaling",
            Self::Sns => "an SNS notification",
            Self::EventBridge => "an EventBridge event",
        }
    }
}

/// Which form an object has, by the fields that only that form has. One that looks like two of them is refused: it is nobody's
/// notification, and which of its halves counts would be a guess.
fn form(fields: Fields<'_>) -> Result<Form, DecodeError> {
    let first = |names: &[&'static str]| names.iter().copied().find(|name| fields.has(name));
    let signs = [
        (Form::Direct, first(&["LifecycleTransition", "LifecycleActionToken", "LifecycleHookName", "EC2InstanceId", "Event"])),
        (Form::Sns, first(&["Message", "TopicArn", "SubscribeURL"]).filter(|_| fields.has("Type"))),
        (Form::EventBridge, first(&["detail-type", "detail"])),
    ];
    let mut found = signs.into_iter().filter_map(|(form, sign)| Some((form, sign?)));
    match (found.next(), found.next()) {
        (None, _) => Err(DecodeError::UnknownEnvelope { place: fields.place(), found: fields.first_few() }),
        (Some((form, _)), None) => Ok(form),
        (Some((one, first)), Some((other, second))) => Err(DecodeError::ConflictingFields {
            first: fields.path(first),
            second: fields.path(second),
            problem: format!("the one belongs to {}, the other to {}; expected one of them", one.as_str(), other.as_str()),
        }),
    }
}

/// The fields as Auto Scaling sends them itself.
fn direct(fields: Fields<'_>, envelope: Envelope, region: Option<Region>) -> Result<Notification, DecodeError> {
    if let Some(test) = test_notification(fields)? {
        return Ok(test);
    }
    let transition = match (fields.transition()?, fields.optional_text("Event", TEST_NOTIFICATION)?) {
        (Some(transition), _) => transition,
        // A group's notification configuration sends these, such as autoscaling:EC2_INSTANCE_LAUNCH.
        (None, Some(event)) => return Err(DecodeError::OtherEvent { field: fields.path("Event"), found: shown(event) }),
        (None, None) => return Err(DecodeError::missing(fields.path("LifecycleTransition"), TRANSITION_WORDS)),
    };
    let outside = Outside {
        transition,
        account: fields.name("AccountId", "the 12 digits of the account", AccountId::new)?,
        region,
        time_ms: fields.time_ms("Time"),
        envelope,
    };
    outside.action(fields)
}

/// An SNS notification; what it tells is inside, as text.
fn sns(fields: Fields<'_>) -> Result<Notification, DecodeError> {
    let topic = fields.optional_text("TopicArn", "the ARN of an SNS topic")?;
    match fields.text("Type", "Notification")? {
        "Notification" => {}
        "SubscriptionConfirmation" => return Err(DecodeError::SubscriptionConfirmation { topic: in_words(topic) }),
        "UnsubscribeConfirmation" => return Err(DecodeError::UnsubscribeConfirmation { topic: in_words(topic) }),
        other => return Err(DecodeError::wrong_text(fields.path("Type"), other, "Notification")),
    }
    let region = topic.map(|arn| topic_region(arn).ok_or_else(|| bad_topic(fields, arn))).transpose()?;
    let message = fields.text("Message", "the notification as a string of JSON")?;
    let inside = json::object(message, "Message")?;
    let inside = Fields::new(&inside, "Message");
    match form(inside)? {
        Form::Direct => direct(inside, Envelope::Sns, region),
        // The event's own region, not the topic's: the topic may stand in another one.
        Form::EventBridge => event_bridge(inside, Envelope::Sns),
        Form::Sns => Err(DecodeError::NestedEnvelope { place: inside.place(), found: Form::Sns.as_str() }),
    }
}

fn in_words(topic: Option<&str>) -> String {
    topic.map_or_else(|| "an SNS topic that it does not name".to_owned(), |arn| format!("the SNS topic {}", shown(arn)))
}

/// The region of `arn:aws:sns:REGION:ACCOUNT:NAME`.
fn topic_region(arn: &str) -> Option<Region> {
    let mut parts = arn.splitn(6, ':');
    let (arn, partition, service, region) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (_account, name) = (parts.next()?, parts.next()?);
    (arn == "arn" && partition.starts_with("aws") && service == "sns" && !name.is_empty()).then(|| Region::new(region).ok())?
}

fn bad_topic(fields: Fields<'_>, arn: &str) -> DecodeError {
    DecodeError::wrong_text(fields.path("TopicArn"), arn, "the ARN of an SNS topic, such as arn:aws:sns:eu-central-1:123456789012:name")
}

/// An EventBridge event. Account, region and time stand outside; the rest is inside its detail.
fn event_bridge(fields: Fields<'_>, envelope: Envelope) -> Result<Notification, DecodeError> {
    let detail: &Map<String, Value> = fields.object("detail", "an object with the fields of the lifecycle action")?;
    let path = fields.path("detail");
    let detail = Fields::new(detail, &path);
    if let Some(test) = test_notification(detail)? {
        return Ok(test);
    }
    if let Ok(inner @ (Form::Sns | Form::EventBridge)) = form(detail) {
        return Err(DecodeError::NestedEnvelope { place: detail.place(), found: inner.as_str() });
    }
    let transition = match fields.text("detail-type", DETAIL_TYPES)? {
        "EC2 Instance-launch Lifecycle Action" => Transition::Launching,
        "EC2 Instance-terminate Lifecycle Action" => Transition::Terminating,
        other => return Err(DecodeError::OtherEvent { field: fields.path("detail-type"), found: shown(other) }),
    };
    if detail.transition()?.is_some_and(|inside| inside != transition) {
        return Err(DecodeError::ConflictingFields {
            first: fields.path("detail-type"),
            second: detail.path("LifecycleTransition"),
            problem: "one says launch, the other terminate; expected the same".to_owned(),
        });
    }
    let account = fields.name("account", "the 12 digits of the account", AccountId::new)?;
    if let Some(inside) = detail.optional_name("AccountId", "the 12 digits of the account", AccountId::new)?
        && inside != account
    {
        let problem = format!("{account} and {inside}; expected the same");
        return Err(DecodeError::ConflictingFields { first: fields.path("account"), second: detail.path("AccountId"), problem });
    }
    let outside = Outside {
        transition,
        account,
        region: fields.optional_name("region", "the region's name", Region::new)?,
        time_ms: fields.time_ms("time").or_else(|| detail.time_ms("Time")),
        envelope,
    };
    outside.action(detail)
}

/// The notification that making a hook sends, if it is one. Its group is told where it can be; a test is acknowledged either way.
fn test_notification(fields: Fields<'_>) -> Result<Option<Notification>, DecodeError> {
    if fields.value("Event").and_then(Value::as_str) != Some(TEST_NOTIFICATION) {
        return Ok(None);
    }
    if fields.has("LifecycleTransition") {
        return Err(DecodeError::ConflictingFields {
            first: fields.path("Event"),
            second: fields.path("LifecycleTransition"),
            problem: "a test notification has no transition; expected one of them".to_owned(),
        });
    }
    let group = fields.value("AutoScalingGroupName").and_then(Value::as_str).and_then(|name| GroupName::new(name).ok());
    Ok(Some(Notification::Test { group }))
}

/// What stands outside the fields of the action in at least one of the envelopes.
struct Outside {
    transition: Transition,
    account: AccountId,
    region: Option<Region>,
    time_ms: Option<u64>,
    envelope: Envelope,
}

impl Outside {
    /// The action, with the fields that are the same in every envelope.
    fn action(self, fields: Fields<'_>) -> Result<Notification, DecodeError> {
        Ok(Notification::Action(LifecycleAction {
            transition: self.transition,
            instance: fields.name("EC2InstanceId", "an instance id", InstanceId::new)?,
            group: fields.name("AutoScalingGroupName", "the name of an Auto Scaling group", GroupName::new)?,
            hook: fields.name("LifecycleHookName", "the name of a lifecycle hook", HookName::new)?,
            token: fields.name("LifecycleActionToken", "a UUID", LifecycleActionToken::new)?,
            account: self.account,
            region: self.region,
            time_ms: self.time_ms,
            origin: fields.place_of("Origin")?,
            destination: fields.place_of("Destination")?,
            metadata: fields.metadata()?,
            envelope: self.envelope,
        }))
    }
}
