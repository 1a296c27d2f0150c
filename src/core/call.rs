//! The calls that the core wants made, and the answers to them: the whole seam between deciding and doing.
//!
//! A batch's entries are answered in the order they stand in the call.

use std::sync::Arc;
use std::time::Duration;

use crate::event::LifecycleAction;
use crate::facts::{
    ActionReply, ActionResult, Certificate, CommandId, CommandOutput, Health, HookFacts, InstanceSeen, KeyAnswer, KeyMaterial, MessageBody,
    QueueFacts, ReceivedMessage, Registration, RegistrationStatus, StatusToken, Whereabouts,
};
use crate::names::{GroupName, HookName, InstanceId, LifecycleActionToken, MessageId, NodeName, ParameterName, ReceiptHandle};
use crate::retry::Failure;

/// Names one call in flight, from start to answer. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// An index into [`Settings::routes`](super::settings::Settings::routes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u16);

/// One account, region and role that Auto Scaling and SSM are asked with. Batches never mix scopes. 0 is the worker's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeId(pub u16);

/// One server behind a registrar: the thing that is ready or not. Routes may share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(pub u16);

/// A message in hand: what extending, releasing and deleting it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InHand {
    /// The message.
    pub id: MessageId,
    /// The newest receive's handle.
    pub handle: ReceiptHandle,
}

/// A body for the dead-letter queue, with the reason beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The body, unchanged.
    pub body: MessageBody,
    /// Message attributes, most important first: at most ten, and fewer where the body leaves no room.
    pub attributes: Vec<(&'static str, String)>,
}

/// One node whose key material is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWanted {
    /// The instance.
    pub instance: InstanceId,
    /// The node's name, which a certificate request must carry.
    pub node: NodeName,
    /// The parameter that should hold it; none where the route uses Run Command.
    pub parameter: Option<ParameterName>,
}

/// One node, for a registrar.
#[derive(Debug, Clone)]
pub struct NodeOrder {
    /// The node's name on the server.
    pub node: NodeName,
    /// The lifecycle action behind it.
    pub action: Arc<LifecycleAction>,
    /// The hook's own `NotificationMetadata`, as Auto Scaling showed it: what the message says of it, the sender chose. None where the hook has
    /// none, or was not looked at.
    pub metadata: Option<Arc<str>>,
}

/// One heartbeat or completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionOrder {
    /// The group.
    pub group: GroupName,
    /// The hook.
    pub hook: HookName,
    /// The action, and no other of the same instance.
    pub token: LifecycleActionToken,
    /// The instance, for messages.
    pub instance: InstanceId,
}

/// A call to make.
#[derive(Debug, Clone)]
pub enum Call {
    /// SQS GetQueueAttributes (and GetQueueUrl of the dead-letter queue).
    DescribeQueue,
    /// SQS ReceiveMessage.
    Receive {
        /// At most this many messages (1 to 10).
        max: u8,
        /// How long SQS may wait for the first one (0 to 20 s).
        wait: Duration,
        /// How long they are ours.
        visibility: Duration,
    },
    /// SQS ChangeMessageVisibilityBatch: keep them.
    Extend {
        /// At most ten.
        messages: Vec<InHand>,
        /// From now.
        visibility: Duration,
    },
    /// SQS ChangeMessageVisibilityBatch: give them back.
    Release {
        /// At most ten, each with the delay after which it can be received again (usually none).
        messages: Vec<(InHand, Duration)>,
    },
    /// SQS SendMessage to the dead-letter queue: one message, since bodies may be 1 MiB.
    DeadLetter {
        /// The dead-letter queue.
        url: Arc<str>,
        /// What goes there.
        letter: DeadLetter,
    },
    /// SQS DeleteMessageBatch.
    Delete {
        /// At most ten.
        messages: Vec<InHand>,
    },
    /// Auto Scaling DescribeAutoScalingInstances.
    DescribeInstances {
        /// Where to ask.
        scope: ScopeId,
        /// At most 50.
        instances: Vec<InstanceId>,
    },
    /// Auto Scaling DescribeLifecycleHooks.
    DescribeHooks {
        /// Where to ask.
        scope: ScopeId,
        /// The group.
        group: GroupName,
    },
    /// Auto Scaling DescribeScalingActivities, read as far back as it takes.
    FindWhereabouts {
        /// Where to ask.
        scope: ScopeId,
        /// The group.
        group: GroupName,
        /// The instances that are not listed any more.
        instances: Vec<InstanceId>,
    },
    /// Auto Scaling RecordLifecycleActionHeartbeat, by token.
    Heartbeat {
        /// Where to ask.
        scope: ScopeId,
        /// Which action.
        order: ActionOrder,
    },
    /// Auto Scaling CompleteLifecycleAction, by token.
    Complete {
        /// Where to ask.
        scope: ScopeId,
        /// Which action.
        order: ActionOrder,
        /// How it ends.
        result: ActionResult,
    },
    /// SSM: read (and check) the key material of nodes; GetParameters in tens, or GetParameterHistory one at a time.
    FetchKeys {
        /// Whose key source.
        route: RouteId,
        /// Which nodes.
        wanted: Vec<KeyWanted>,
    },
    /// SSM SendCommand to at most 50 instances.
    SendCommand {
        /// Whose key source.
        route: RouteId,
        /// Which instances.
        instances: Vec<InstanceId>,
    },
    /// SSM GetCommandInvocation.
    FetchOutput {
        /// Whose key source.
        route: RouteId,
        /// The command.
        command: CommandId,
        /// The node.
        wanted: KeyWanted,
    },
    /// SSM PutParameter: the certificate that a server signed, for the node to read. What stood there is overwritten.
    PutParameter {
        /// Where to write.
        scope: ScopeId,
        /// Under which name.
        parameter: ParameterName,
        /// What.
        certificate: Certificate,
    },
    /// SSM DeleteParameters.
    DeleteParameters {
        /// Where to ask.
        scope: ScopeId,
        /// At most ten.
        parameters: Vec<ParameterName>,
    },
    /// Registrar: associate.
    Associate {
        /// Which registrar.
        route: RouteId,
        /// Which node.
        order: NodeOrder,
        /// With which key.
        key: KeyMaterial,
    },
    /// Registrar: how does an association or disassociation stand?
    AssociationStatus {
        /// Which registrar.
        route: RouteId,
        /// Which node.
        order: NodeOrder,
        /// The token that the registrar gave.
        token: StatusToken,
    },
    /// Registrar: disassociate.
    Disassociate {
        /// Which registrar.
        route: RouteId,
        /// Which node.
        order: NodeOrder,
    },
    /// Registrar: take away what is revoked, of a node whose instance lives.
    Clear {
        /// Which registrar.
        route: RouteId,
        /// Which node.
        order: NodeOrder,
    },
    /// Registrar: is the server ready?
    CheckHealth {
        /// Which registrar.
        route: RouteId,
    },
}

impl Call {
    /// The API operation behind the call, as it stands in logs and metrics.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match self {
            Self::DescribeQueue => "GetQueueAttributes",
            Self::Receive { .. } => "ReceiveMessage",
            Self::Extend { .. } | Self::Release { .. } => "ChangeMessageVisibilityBatch",
            Self::DeadLetter { .. } => "SendMessage",
            Self::Delete { .. } => "DeleteMessageBatch",
            Self::DescribeInstances { .. } => "DescribeAutoScalingInstances",
            Self::DescribeHooks { .. } => "DescribeLifecycleHooks",
            Self::FindWhereabouts { .. } => "DescribeScalingActivities",
            Self::Heartbeat { .. } => "RecordLifecycleActionHeartbeat",
            Self::Complete { .. } => "CompleteLifecycleAction",
            Self::FetchKeys { .. } => "GetParameters",
            Self::SendCommand { .. } => "SendCommand",
            Self::FetchOutput { .. } => "GetCommandInvocation",
            Self::PutParameter { .. } => "PutParameter",
            Self::DeleteParameters { .. } => "DeleteParameters",
            Self::Associate { .. } => "Associate",
            Self::AssociationStatus { .. } => "AssociationStatus",
            Self::Disassociate { .. } => "Disassociate",
            Self::Clear { .. } => "Clear",
            Self::CheckHealth { .. } => "CheckHealth",
        }
    }
}

/// What a batch brought: a result for each entry, or a failure of the whole.
pub type BatchAnswer<T> = Result<Vec<Result<T, Failure>>, Failure>;

/// The answer to a call, of the kind that the call asks for.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To [`Call::DescribeQueue`].
    Queue(Result<QueueFacts, Failure>),
    /// To [`Call::Receive`].
    Received(Result<Vec<ReceivedMessage>, Failure>),
    /// To [`Call::Extend`], [`Call::Release`], [`Call::Delete`] and [`Call::DeleteParameters`]: an entry that was not there
    /// any more is a success.
    Entries(BatchAnswer<()>),
    /// To [`Call::DeadLetter`].
    DeadLettered(Result<(), Failure>),
    /// To [`Call::DescribeInstances`], in the order asked; `None` where Auto Scaling did not list the instance.
    Instances(Result<Vec<Option<InstanceSeen>>, Failure>),
    /// To [`Call::DescribeHooks`].
    Hooks(Result<Vec<HookFacts>, Failure>),
    /// To [`Call::FindWhereabouts`], in the order asked.
    Whereabouts(Result<Vec<Whereabouts>, Failure>),
    /// To [`Call::Heartbeat`] and [`Call::Complete`].
    Action(Result<ActionReply, Failure>),
    /// To [`Call::FetchKeys`], in the order asked.
    Keys(BatchAnswer<KeyAnswer>),
    /// To [`Call::SendCommand`].
    CommandSent(Result<CommandId, Failure>),
    /// To [`Call::FetchOutput`].
    Output(Result<CommandOutput, Failure>),
    /// To [`Call::PutParameter`].
    Delivered(Result<(), Failure>),
    /// To [`Call::Associate`], [`Call::Disassociate`] and [`Call::Clear`].
    Registration(Result<Registration, Failure>),
    /// To [`Call::AssociationStatus`].
    Status(Result<RegistrationStatus, Failure>),
    /// To [`Call::CheckHealth`].
    Health(Result<Health, Failure>),
    /// The call panicked, to whatever it was.
    Panicked(String),
}

impl Answer {
    /// What the call ended with as a whole, for metrics: `ok`, or the failure's class.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self.failure() {
            Some(failure) => failure.class.as_str(),
            None if matches!(self, Self::Panicked(_)) => "panicked",
            None => "ok",
        }
    }

    /// Whether the answer shows that there are credentials, or that there are none; nothing where it does not say.
    #[must_use]
    pub fn shows_credentials(&self) -> Option<bool> {
        match self.failure() {
            None if matches!(self, Self::Panicked(_)) => None,
            None => Some(true),
            Some(failure) => failure.concerns_everybody().then_some(false),
        }
    }

    /// The failure of the call as a whole.
    fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Queue(Err(failure))
            | Self::Received(Err(failure))
            | Self::Entries(Err(failure))
            | Self::DeadLettered(Err(failure))
            | Self::Delivered(Err(failure))
            | Self::Instances(Err(failure))
            | Self::Hooks(Err(failure))
            | Self::Whereabouts(Err(failure))
            | Self::Action(Err(failure))
            | Self::Keys(Err(failure))
            | Self::CommandSent(Err(failure))
            | Self::Output(Err(failure))
            | Self::Registration(Err(failure))
            | Self::Status(Err(failure))
            | Self::Health(Err(failure)) => Some(failure),
            _ => None,
        }
    }
}
