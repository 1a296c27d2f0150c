//! What can be wrong with the body of a message.

use crate::names::shown;

/// Why a body is no lifecycle notification. Each variant has a short [`code`](Self::code) for dead letters and metrics.
///
/// A text that came out of the body stands in here only as [`shown`] left it: escaped, quoted and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body, or the text inside an envelope, is not JSON.
    #[error("{place} is not JSON: {problem}; expected a lifecycle notification as one JSON object")]
    NotJson {
        /// `the body`, or the field whose text was read.
        place: String,
        /// What the JSON reader says, with line and column.
        problem: String,
    },
    /// Objects or arrays stand in each other more than 127 deep.
    #[error("{place} is nested too deeply: {problem}; expected the few levels of a lifecycle notification")]
    TooDeep {
        /// `the body`, or the field whose text was read.
        place: String,
        /// What the JSON reader says, with line and column.
        problem: String,
    },
    /// JSON of so many parts that reading it would take many times its length of the memory.
    #[error("{place} has too many parts: they would take more than {most} bytes; expected the few fields of a lifecycle notification")]
    TooMuch {
        /// `the body`, or the field whose text was to be read.
        place: String,
        /// What they may take.
        most: usize,
    },
    /// An object has the same field twice, so that two readers could take it for two different things.
    #[error("{place} has a field twice in one object: {problem}; expected each field once")]
    DuplicateField {
        /// `the body`, or the field whose text was read.
        place: String,
        /// Which field, with line and column.
        problem: String,
    },
    /// JSON, but a list, a number or the like.
    #[error("{place} is {found}; expected a JSON object")]
    NotAnObject {
        /// `the body`, or the path of the field.
        place: String,
        /// What stands there.
        found: &'static str,
    },
    /// An object that is none of the forms in which Auto Scaling's notifications come.
    #[error(
        "{place} is no lifecycle notification: it has {found}; expected the fields of Auto Scaling (LifecycleTransition, \
         EC2InstanceId, …), an SNS notification (Type, Message) or an EventBridge event (detail-type, detail)"
    )]
    UnknownEnvelope {
        /// `the body`, or the path of the field.
        place: String,
        /// The first few of its fields.
        found: String,
    },
    /// An envelope inside an envelope where none is understood: only an EventBridge event may stand inside an SNS notification.
    #[error("{place} holds {found} inside another envelope; only an EventBridge event inside an SNS notification is understood")]
    NestedEnvelope {
        /// The path of the field.
        place: String,
        /// What stands there.
        found: &'static str,
    },
    /// SNS asks whether this queue may be subscribed.
    #[error(
        "{topic} asks to have its subscription of this queue confirmed, and delivers nothing before; if the topic is yours, open the \
         SubscribeURL in the body within 3 days, or subscribe the queue again as the queue's owner, which needs no confirmation"
    )]
    SubscriptionConfirmation {
        /// Which topic, in words.
        topic: String,
    },
    /// SNS says that this queue was unsubscribed.
    #[error("{topic} has unsubscribed this queue, so nothing more comes through it; if that was not meant, subscribe the queue again")]
    UnsubscribeConfirmation {
        /// Which topic, in words.
        topic: String,
    },
    /// A field that must be there is not (or is null).
    #[error("{field} is missing; expected {expected}")]
    MissingField {
        /// The path of the field.
        field: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// A field has the wrong type, or a value that cannot be.
    #[error("{field} is wrong: {problem}")]
    BadField {
        /// The path of the field.
        field: String,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// A transition that lifecycle hooks do not have.
    #[error("{field} is {found}; expected autoscaling:EC2_INSTANCE_LAUNCHING or autoscaling:EC2_INSTANCE_TERMINATING")]
    UnknownTransition {
        /// The path of the field.
        field: String,
        /// The word, as shown.
        found: String,
    },
    /// A notification of something else than a lifecycle action, such as a launch that has succeeded.
    #[error(
        "{field} is {found}, which is no lifecycle action and asks for nothing; send only lifecycle actions to this queue \
         (narrow the EventBridge rule's pattern, or the group's notification configuration)"
    )]
    OtherEvent {
        /// The path of the field.
        field: String,
        /// The word, as shown.
        found: String,
    },
    /// Two fields say different things.
    #[error("{first} and {second} contradict each other: {problem}")]
    ConflictingFields {
        /// The path of the one.
        first: String,
        /// The path of the other.
        second: String,
        /// How.
        problem: String,
    },
}

impl DecodeError {
    /// A short word for it, which stays the same from version to version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "not_json",
            Self::TooDeep { .. } => "too_deep",
            Self::TooMuch { .. } => "too_much",
            Self::DuplicateField { .. } => "duplicate_field",
            Self::NotAnObject { .. } => "not_an_object",
            Self::UnknownEnvelope { .. } => "unknown_envelope",
            Self::NestedEnvelope { .. } => "nested_envelope",
            Self::SubscriptionConfirmation { .. } => "sns_subscription_confirmation",
            Self::UnsubscribeConfirmation { .. } => "sns_unsubscribe_confirmation",
            Self::MissingField { .. } => "missing_field",
            Self::BadField { .. } => "bad_field",
            Self::UnknownTransition { .. } => "unknown_transition",
            Self::OtherEvent { .. } => "other_event",
            Self::ConflictingFields { .. } => "conflicting_fields",
        }
    }

    /// The field at `path` is missing.
    pub(super) fn missing(path: String, expected: &'static str) -> Self {
        Self::MissingField { field: path, expected }
    }

    /// The field at `path` is of another type than `expected`.
    pub(super) fn wrong_type(path: String, found: &'static str, expected: &str) -> Self {
        Self::BadField { field: path, problem: format!("it is {found}; expected {expected}") }
    }

    /// The field at `path` has a text that cannot be.
    pub(super) fn wrong_text(path: String, text: &str, expected: &str) -> Self {
        Self::BadField { field: path, problem: format!("it is {}; expected {expected}", shown(text)) }
    }
}
