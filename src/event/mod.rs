//! The wire forms of a lifecycle notification, and how one becomes a [`LifecycleAction`].
//!
//! [`decode`] is all there is to call. `json` reads the text, `envelopes` finds out which way it came and unwraps it, `fields` reads
//! what is inside.

mod envelopes;
mod error;
mod fields;
mod json;

pub use error::DecodeError;
pub use fields::MAX_METADATA_BYTES;

use std::sync::Arc;

use crate::names::{AccountId, GroupName, HookName, InstanceId, LifecycleActionToken, Region};

/// Which way an instance goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// `autoscaling:EC2_INSTANCE_LAUNCHING`
    Launching,
    /// `autoscaling:EC2_INSTANCE_TERMINATING`
    Terminating,
}

impl Transition {
    /// The word for it in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launching => "launch",
            Self::Terminating => "terminate",
        }
    }
}

/// Where an instance comes from or goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// `EC2`
    Ec2,
    /// `AutoScalingGroup`
    AutoScalingGroup,
    /// `WarmPool`
    WarmPool,
    /// A word this version does not know.
    Other,
}

/// The way a notification took into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Envelope {
    /// The hook's target is the queue (or SNS with raw delivery, which looks the same).
    Direct,
    /// Through an SNS topic.
    Sns,
    /// Through an EventBridge rule.
    EventBridge,
}

/// One lifecycle action as its notification claims it. A claim, not a proof: nothing here is believed before Auto Scaling
/// itself shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleAction {
    /// Which way the instance goes.
    pub transition: Transition,
    /// The instance.
    pub instance: InstanceId,
    /// Its group.
    pub group: GroupName,
    /// The hook that waits.
    pub hook: HookName,
    /// Completes this action; trusted for nothing else.
    pub token: LifecycleActionToken,
    /// The account that the notification names.
    pub account: AccountId,
    /// The region, where the envelope names one (EventBridge, the topic's ARN in SNS).
    pub region: Option<Region>,
    /// When the instance began to wait, in Unix milliseconds, as the notification claims; none where it does not say, or says
    /// nothing that can be read (RFC 3339 is expected). When SQS took the message is then the next best.
    pub time_ms: Option<u64>,
    /// Where the instance comes from.
    pub origin: Option<Place>,
    /// Where it goes.
    pub destination: Option<Place>,
    /// The hook's `NotificationMetadata` as text (an object is kept as its JSON).
    pub metadata: Option<Arc<str>>,
    /// The way it came.
    pub envelope: Envelope,
}

/// What a message turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// Something to do.
    Action(LifecycleAction),
    /// `autoscaling:TEST_NOTIFICATION`, sent when a hook is made: acknowledged and logged.
    Test {
        /// The group whose hook was made.
        group: Option<GroupName>,
    },
}

/// Reads the body of a message.
///
/// The three envelopes are told apart by their fields, never by trying one after the other, so that an error is about the form
/// that was meant. Fields that are not known are let be, null counts as absent, and a byte order mark before the JSON is tolerated.
/// In an SNS notification that holds an EventBridge event, [`LifecycleAction::envelope`] is SNS, the way into the queue, and
/// [`LifecycleAction::region`] is the event's.
///
/// # Errors
/// Says what about the body is not as Auto Scaling sends it, where, and what was expected; never panics, whatever the body is.
pub fn decode(body: &str) -> Result<Notification, DecodeError> {
    envelopes::read(body)
}
