//! What the services said: plain data that the rooms produce and the core reads.
//!
//! These types know no SDK and no decision. A room turns a service's answer into them; the core turns them into what is next.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::names::{AccountId, GroupName, HookName, InstanceId, MessageId, NodeName, ReceiptHandle, Region};
use crate::retry::Failure;

/// A message as one receive brought it.
#[derive(Debug, Clone)]
pub struct ReceivedMessage {
    /// The message's id: the same at each delivery.
    pub id: MessageId,
    /// This delivery's handle.
    pub handle: ReceiptHandle,
    /// The body, unchanged.
    pub body: MessageBody,
    /// When it was sent, in Unix milliseconds (`SentTimestamp`).
    pub sent_ms: Option<u64>,
    /// How often it was received, this time included (`ApproximateReceiveCount`); 1 where SQS did not say.
    pub receive_count: u32,
    /// A run before may have associated its node, though this message is new: a letter that owed it was sent back ([`EARLIER_RUN`]).
    pub earlier_run: bool,
}

/// The body of a message. It holds the token of an action: it is never printed, and is wiped with its last copy.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageBody(Arc<Zeroizing<String>>);

impl MessageBody {
    /// Takes it as the queue gave it. It stays where it stands, so that nothing is left of it elsewhere, unless far more room was
    /// reserved for it than it fills: what is in hand is bounded by the length of bodies.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = Zeroizing::new(text.into());
        let fits = text.capacity() - text.len() <= text.len() / 2;
        Self(Arc::new(if fits { text } else { Zeroizing::new(text.as_str().to_owned()) }))
    }

    /// The body as text, to be read, or sent to a queue as it is.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MessageBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageBody({} bytes, redacted)", self.0.len())
    }
}

/// The attribute of a message whose letter owed a disassociation and was sent back, since its launch still waits.
pub const EARLIER_RUN: &str = "EnrolldEarlierRun";

/// What the queue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueFacts {
    /// The account of the queue's ARN.
    pub account: AccountId,
    /// The region of the queue's ARN.
    pub region: Region,
    /// Where messages go that nobody can handle; none where the queue has no redrive policy and none is configured.
    pub dead_letter_url: Option<String>,
    /// Why that is not known though the redrive policy names a queue: it is gone, or may not be asked for.
    pub dead_letters_unknown: Option<Failure>,
    /// After this many receives SQS itself moves a message to the dead-letter queue.
    pub max_receive_count: Option<u32>,
}

/// Where an instance stands, as DescribeAutoScalingInstances shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSeen {
    /// The instance.
    pub instance: InstanceId,
    /// The group it is in.
    pub group: GroupName,
    /// Its lifecycle state.
    pub state: LifecycleState,
}

/// A lifecycle state, as far as enrolling and leaving care about it.
///
/// Source: the `LifecycleState` values of the Auto Scaling API; the warm-pool forms carry the prefix `Warmed:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LifecycleState {
    /// `Pending`, `Warmed:Pending`: on the way to the hook; look again shortly.
    Pending,
    /// `Pending:Wait`: a launch waits.
    PendingWait,
    /// `Warmed:Pending:Wait`: a launch into the warm pool waits, or an instance on its way back into it.
    WarmedPendingWait,
    /// `Pending:Proceed`, `Warmed:Pending:Proceed`: a launch's hooks are done; look again shortly.
    PendingProceed,
    /// `InService`, `EnteringStandby`: it lives, and nothing waits for us.
    Living,
    /// `Standby`: the same, and on its way back into service it launches once more.
    Standby,
    /// `Warmed:Stopped`, `Warmed:Running`, `Warmed:Hibernated`: the same in the warm pool, from where it will launch once more.
    Pooled,
    /// `Terminating`, `Warmed:Terminating`: on the way to the hook; look again shortly.
    Terminating,
    /// `Terminating:Wait`, `Warmed:Terminating:Wait`: a termination waits.
    TerminatingWait,
    /// `Terminating:Proceed`, `Terminated` and their warm-pool forms: past the hooks, and about to vanish.
    TerminatingProceed,
    /// `Detaching`, `Detached`: on its way out of the group, alive.
    Detached,
    /// A state this version does not know.
    Unknown,
}

impl LifecycleState {
    /// Reads the API's text.
    #[must_use]
    pub fn from_api(text: &str) -> Self {
        match text {
            "Pending" | "Warmed:Pending" => Self::Pending,
            "Pending:Wait" => Self::PendingWait,
            "Warmed:Pending:Wait" => Self::WarmedPendingWait,
            "Pending:Proceed" | "Warmed:Pending:Proceed" => Self::PendingProceed,
            "InService" | "EnteringStandby" => Self::Living,
            "Standby" => Self::Standby,
            "Warmed:Stopped" | "Warmed:Running" | "Warmed:Hibernated" => Self::Pooled,
            "Terminating" | "Warmed:Terminating" => Self::Terminating,
            "Terminating:Wait" | "Warmed:Terminating:Wait" => Self::TerminatingWait,
            "Terminating:Proceed" | "Warmed:Terminating:Proceed" | "Terminated" | "Warmed:Terminated" => Self::TerminatingProceed,
            "Detaching" | "Detached" => Self::Detached,
            _ => Self::Unknown,
        }
    }

    /// Whether the instance is being terminated, at whatever point.
    #[must_use]
    pub fn is_terminating(self) -> bool {
        matches!(self, Self::Terminating | Self::TerminatingWait | Self::TerminatingProceed)
    }
}

/// A lifecycle hook of a group (DescribeLifecycleHooks).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookFacts {
    /// The hook's name.
    pub name: HookName,
    /// Whether it is a launch hook (`autoscaling:EC2_INSTANCE_LAUNCHING`).
    pub launching: bool,
    /// Seconds a heartbeat lasts.
    pub heartbeat_timeout_s: u32,
    /// Seconds the action can be kept open at all.
    pub global_timeout_s: u32,
    /// Whether an action that runs out goes on (`DefaultResult` is `CONTINUE`).
    pub default_continue: bool,
    /// What the hook's author wrote as its `NotificationMetadata`.
    pub metadata: Option<Arc<str>>,
}

/// What the group's scaling activities prove about an instance that is not listed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// An activity shows that it was terminated.
    Terminated,
    /// An activity shows that it is being terminated: it may wait for the hook, and not be listed yet.
    Terminating,
    /// An activity shows that it was detached: it lives on.
    Detached,
    /// It lives as far as the activities tell, and the newest that names it launches it into the warm pool.
    EntersPool,
    /// It lives as far as the activities tell, and the newest that names it is another.
    Elsewhere,
    /// The same, and it was moved back into the warm pool.
    Returned,
    /// Nothing is proven.
    Unproven,
}

/// What Auto Scaling said to a heartbeat or a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionReply {
    /// Recorded.
    Accepted,
    /// `No active Lifecycle Action found`: closed, by whomever; to be confirmed by the instance's state.
    Closed,
}

/// How a lifecycle action is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActionResult {
    /// `CONTINUE`
    Continue,
    /// `ABANDON`
    Abandon,
}

impl ActionResult {
    /// The API's text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::Abandon => "ABANDON",
        }
    }
}

/// A node's public half: a PEM public key or a PEM certificate request, checked. Shown as redacted and wiped when dropped:
/// it is public by design, but what a parameter really held is known only once it has been looked at.
#[derive(Clone)]
pub struct KeyMaterial(Arc<Zeroizing<String>>);

impl KeyMaterial {
    /// Takes a checked PEM text.
    #[must_use]
    pub fn new(pem: Zeroizing<String>) -> Self {
        Self(Arc::new(pem))
    }

    /// The PEM text.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaterial(redacted)")
    }
}

/// What was found where a node's key material should be.
#[derive(Debug, Clone)]
pub enum KeyAnswer {
    /// Not there yet.
    Absent,
    /// There, and usable.
    Found(KeyMaterial),
    /// There, and refused; the reason never repeats the value.
    Refused {
        /// A short word for metrics and dead letters, such as `private_key` or `not_pem`.
        code: &'static str,
        /// What was wrong, for a person.
        reason: String,
        /// Whether somebody should be woken: a leaked private key, a key of another's making.
        security: bool,
    },
}

/// The id of a Run Command invocation (`CommandId`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandId(pub Arc<str>);

/// What a Run Command invocation brought.
#[derive(Debug, Clone)]
pub enum CommandOutput {
    /// It still runs, or is not known yet.
    Running,
    /// It ended, and its standard output was looked at.
    Ended(KeyAnswer),
    /// It failed on the instance.
    Failed(String),
}

/// A certificate that a server signed for a node: PEM, one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate(pub Arc<str>);

impl Certificate {
    /// The longest value that Parameter Store takes, in bytes.
    const LONGEST: usize = 8 * 1024;

    /// Whether it can be written where a node waits for it.
    #[must_use]
    pub fn fits_a_parameter(&self) -> bool {
        self.0.len() <= Self::LONGEST
    }
}

/// What a registrar said to an association or a disassociation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// Done at once.
    Done,
    /// Done at once, and this is what the server signed for the node.
    Signed(Certificate),
    /// Under way: ask with this token.
    InProgress(StatusToken),
}

/// What a registrar gave to ask after an association with (`NodeAssociationStatusToken`). It is never printed, and is wiped with its last copy.
#[derive(Clone, PartialEq, Eq)]
pub struct StatusToken(Arc<Zeroizing<Box<str>>>);

impl StatusToken {
    /// Takes it as the registrar gave it.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// The token as text, to be given to the registrar that it came from and to nobody else.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StatusToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusToken(redacted)")
    }
}

/// How an association or a disassociation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationStatus {
    /// Not decided yet.
    InProgress,
    /// Done.
    Success,
    /// Done, and this is what the server signed for the node.
    Signed(Certificate),
    /// It failed; what the registrar can say of why.
    Failed(String),
    /// It failed, and the registrar has a code of its own for why.
    Refused(Failure),
    /// The registrar does not know the token (any more).
    UnknownToken,
}

/// Whether a registrar takes orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ready,
    /// It does not now; its own word for why, such as `UNDER_MAINTENANCE`.
    NotReady(String),
    /// It will not until somebody mends it; its own word for why, such as `FAILED`.
    Dead(String),
}

/// Where a list of nodes goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListMark(pub Arc<str>);

/// A registrar's answer to which nodes it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeList {
    /// Some of them. A node may come twice; a name that is no [`NodeName`] is left out, since nothing of ours is called so.
    Page {
        /// Their names, in any order.
        names: Vec<NodeName>,
        /// Where the list goes on; none at its end.
        next: Option<ListMark>,
    },
    /// Nothing lists the nodes of this kind of server; for a person, why.
    Unlisted(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}

    #[test]
    fn a_body_is_never_printed_and_is_wiped_with_its_last_copy() {
        let body = MessageBody::new(r#"{"LifecycleActionToken":"planted-token"}"#);
        assert_eq!(body.as_str(), r#"{"LifecycleActionToken":"planted-token"}"#);
        assert_eq!(format!("{body:?}"), "MessageBody(40 bytes, redacted)");
        is_wiped(&*body.0);
        assert!(Arc::ptr_eq(&body.0, &body.clone().0), "a copy of the handle is none of the text");
    }

    #[test]
    fn a_body_stays_where_the_queue_put_it_unless_most_of_its_room_is_empty() {
        for (room, stays) in [(4_000, true), (5_000, true), (20_000, false)] {
            let mut text = String::with_capacity(room);
            text.push_str(&"x".repeat(4_000));
            let stood = text.as_ptr();
            let body = MessageBody::new(text);
            assert_eq!(body.as_str().as_ptr() == stood, stays, "{room} bytes");
            assert!(body.0.capacity() <= 6_000, "{room} bytes");
        }
    }

    #[test]
    fn key_material_is_never_printed_and_is_wiped_with_its_last_copy() {
        let key = KeyMaterial::new(Zeroizing::new("planted-key".to_owned()));
        assert_eq!(key.pem(), "planted-key");
        assert_eq!(format!("{:#?}", KeyAnswer::Found(key.clone())).matches("planted").count(), 0);
        is_wiped(&*key.0);
        assert!(Arc::ptr_eq(&key.0, &key.clone().0), "a copy of the handle is none of the text");
    }

    #[test]
    fn a_status_token_is_never_printed_and_is_wiped_with_its_last_copy() {
        let token = StatusToken::new("planted-token");
        assert_eq!(token.as_str(), "planted-token");
        assert_eq!(format!("{:#?}", Registration::InProgress(token.clone())).matches("planted").count(), 0);
        is_wiped(&*token.0);
        assert!(Arc::ptr_eq(&token.0, &token.clone().0), "a copy of the handle is none of the text");
    }
}
