//! What the core says about its work: named events that `observe` turns into log lines, metrics and the audit trail.

use std::sync::Arc;
use std::time::Duration;

use super::call::RouteId;
use crate::event::LifecycleAction;
use crate::names::{GroupName, MessageId, NodeName};
use crate::retry::Failure;

/// Where an action stands on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Asking Auto Scaling whether the claim is true.
    Verify,
    /// Behind an earlier action of the same instance.
    Queue,
    /// Waiting for the node's key material.
    Key,
    /// Associating the node, or waiting for its server.
    Associate,
    /// Disassociating the node, or waiting for its server.
    Disassociate,
    /// Waiting for the registrar to say how it went.
    Status,
    /// Writing the node's certificate where it waits for it.
    Deliver,
    /// Completing the lifecycle action.
    Complete,
    /// Deleting the node's parameter.
    CleanUp,
    /// Writing the dead letter.
    DeadLetter,
    /// Deleting the message.
    Delete,
}

impl Step {
    /// All of them, in the order of the way.
    pub const ALL: [Self; 11] = [
        Self::Verify,
        Self::Queue,
        Self::Key,
        Self::Associate,
        Self::Disassociate,
        Self::Status,
        Self::Deliver,
        Self::Complete,
        Self::CleanUp,
        Self::DeadLetter,
        Self::Delete,
    ];

    /// The step as it stands in logs, metrics and dead letters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Queue => "queue",
            Self::Key => "key",
            Self::Associate => "associate",
            Self::Disassociate => "disassociate",
            Self::Status => "status",
            Self::Deliver => "deliver",
            Self::Complete => "complete",
            Self::CleanUp => "clean_up",
            Self::DeadLetter => "dead_letter",
            Self::Delete => "delete",
        }
    }
}

/// How an action, or a message that was none, ended for this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A launch was associated and put in service (CONTINUE).
    Enrolled,
    /// A launch failed and was put in service all the same, as its route says (CONTINUE).
    Continued,
    /// A launch failed and was abandoned (ABANDON).
    Abandoned,
    /// A termination was disassociated and let go (CONTINUE).
    Left,
    /// A termination was let go though its node could not be taken off (CONTINUE); the dead letter says what is owed.
    LeftBehind,
    /// An instance went back into its warm pool; its association stays (CONTINUE).
    Kept,
    /// Nothing waited for us any more; acknowledged.
    Stale,
    /// A test notification; acknowledged.
    Test,
    /// No route wanted it, and such events are ignored; acknowledged.
    Ignored,
    /// Nothing could be done with it: it stands in the dead-letter queue, uncompleted.
    DeadLettered,
    /// Nothing could be done with it and there is no dead-letter queue: it stays in the queue.
    LeftInQueue,
    /// Given back to the queue for another run (shutdown, hand-back before 12 h, an internal error).
    Released,
    /// The lease was lost: another worker has it.
    LeaseLost,
}

impl Outcome {
    /// The outcome as it stands in logs, metrics and the audit trail.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enrolled => "enrolled",
            Self::Continued => "continued",
            Self::Abandoned => "abandoned",
            Self::Left => "left",
            Self::LeftBehind => "left_behind",
            Self::Kept => "kept",
            Self::Stale => "stale",
            Self::Test => "test",
            Self::Ignored => "ignored",
            Self::DeadLettered => "dead_lettered",
            Self::LeftInQueue => "left_in_queue",
            Self::Released => "released",
            Self::LeaseLost => "lease_lost",
        }
    }

    /// Whether the action has its recorded result: the message is gone from the queue.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::LeftInQueue | Self::Released | Self::LeaseLost)
    }
}

/// Why something ended as it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// A short word, fit for a metric's label and for choosing dead letters: `deadline`, `private_key`, `unproven`.
    pub code: String,
    /// A sentence for a person; never key material.
    pub detail: String,
}

impl Reason {
    /// The code of an instance that went into service while its node was taken off: only a person can see whether the node is there.
    pub const TAKEN_OFF: &'static str = "taken_off";

    /// A reason.
    pub fn new(code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code: code.into(), detail: detail.into() }
    }
}

/// One step that was gone through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// Which.
    pub step: Step,
    /// When it began, in Unix milliseconds.
    pub began_ms: u64,
    /// How long it took in all its runs.
    pub took: Duration,
    /// How many calls were made for it.
    pub attempts: u32,
}

/// What is known of an action while it is worked on: the fields that every log line about it carries.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The action as its notification claims it.
    pub action: Arc<LifecycleAction>,
    /// Its route, once found.
    pub route: Option<RouteId>,
    /// The node's name, once known.
    pub node: Option<NodeName>,
    /// The message it came in.
    pub message: MessageId,
    /// The step it is in.
    pub step: Step,
    /// How many calls were made for that step so far.
    pub attempt: u32,
}

/// How something ended: the line at the end of each action, and of each message that was none.
#[derive(Debug, Clone)]
pub struct Record {
    /// The action; none where the message was not one.
    pub subject: Option<Subject>,
    /// The message.
    pub message: MessageId,
    /// How often it had been received.
    pub receive_count: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where that is not plain.
    pub reason: Option<Reason>,
    /// The steps, in the order they were begun.
    pub steps: Vec<StepRecord>,
    /// From when the message was taken up to its end.
    pub took: Duration,
    /// From when the message was sent to when it was taken up.
    pub queued: Option<Duration>,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Observation {
    /// Messages were received.
    Received {
        /// How many.
        messages: usize,
    },
    /// The queue answered what it is.
    QueueKnown {
        /// Whether there is somewhere for dead letters to go.
        has_dead_letter_queue: bool,
    },
    /// A message that repeats one in hand; it waits for that one's result.
    Duplicate(Subject),
    /// An action began a step.
    StepBegan {
        /// Which action.
        subject: Subject,
        /// Which step.
        step: Step,
    },
    /// A call for an action failed and will be made again.
    Retrying {
        /// Which action.
        subject: Subject,
        /// In which step.
        step: Step,
        /// How often the call has been made.
        attempt: u32,
        /// What it failed with.
        failure: Failure,
        /// How long until the next.
        delay: Duration,
    },
    /// A call that serves many, or the queue itself, failed and will be made again.
    ServiceTrouble {
        /// Which operation.
        operation: &'static str,
        /// What it failed with.
        failure: Failure,
        /// How long until the next.
        delay: Duration,
    },
    /// A server takes no orders; those for it are held, and one probe waits for all.
    ServerHeld {
        /// A route that speaks to it.
        route: RouteId,
        /// What it said.
        failure: Failure,
        /// How many actions wait.
        waiting: usize,
        /// How long until the next probe.
        delay: Duration,
    },
    /// A server takes orders again.
    ServerReady {
        /// A route that speaks to it.
        route: RouteId,
        /// How many actions waited.
        waiting: usize,
    },
    /// Launches of a route are held at their deadline rather than abandoned, since the fault is the route's.
    LaunchHeld {
        /// Which action.
        subject: Subject,
        /// The fault.
        reason: Reason,
    },
    /// Somebody should look at this: a leaked private key, a forged event.
    Security {
        /// Which action.
        subject: Subject,
        /// What was seen.
        reason: Reason,
    },
    /// A test notification came.
    TestNotification {
        /// The group whose hook was made.
        group: Option<GroupName>,
    },
    /// A dead letter was written.
    LetterWritten {
        /// The reason's short word.
        code: String,
    },
    /// Something ended: its result stands. It comes once, before the message is deleted.
    Ended(Box<Record>),
    /// The worker stops receiving; so many actions are in hand.
    ShuttingDown {
        /// How many.
        open: usize,
    },
}

/// How much is in hand, for the metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Actions in each step, in the order of [`Step::ALL`].
    pub by_step: [u32; Step::ALL.len()],
    /// Messages in hand, duplicates included.
    pub messages: u32,
    /// Calls in flight, long polls aside.
    pub calls: u32,
    /// Launches held for a fault of their route, by [`RouteId`].
    pub held: Vec<u32>,
    /// Whether the queue answered the last time it was asked.
    pub queue_answers: bool,
}
