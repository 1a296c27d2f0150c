//! What is known of one lifecycle action while it is open: a record of a few hundred bytes, not a task.

use std::sync::Arc;
use std::time::Duration;

use super::call::{RouteId, ScopeId};
use super::observation::{Outcome, Reason, Step, StepRecord, Subject};
use super::time::Moment;
use super::{ActionId, MessageKey};
use crate::event::{LifecycleAction, Transition};
use crate::facts::{ActionResult, Certificate, CommandId, KeyMaterial, MessageBody, StatusToken};
use crate::names::{MessageId, NodeName, ParameterName, ReceiptHandle};
use crate::retry::{Failure, Progress};

/// Where an action stands, with what belongs to standing there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stage {
    /// Asking Auto Scaling where the instance stands.
    Verify,
    /// Waiting for the group's hooks.
    Hooks,
    /// Waiting to look again.
    LookAgain,
    /// Asking the group's activities where an unlisted instance went.
    Whereabouts,
    /// Verified, and behind an earlier action of the same instance.
    Turn,
    /// Asking whether its action is still open, since the instance may wait for another hook.
    Openness,
    /// Asking, or waiting to ask, for the key material.
    Key,
    /// A command was sent; its output is waited for.
    Output(CommandId),
    /// Waiting for the server to take the association, or for its answer.
    Associate,
    /// The same for the disassociation.
    Disassociate,
    /// The registrar took the order; waiting for how it went.
    Status(Order, StatusToken),
    /// Failed in this step as many of its route did before it, and held until one of them does not.
    Parked(Step),
    /// Writing the certificate that the server signed under its parameter.
    Deliver,
    /// Completing the lifecycle action.
    Complete(ActionResult),
    /// Auto Scaling says the action is closed: looking whether the instance is out of its waiting state.
    Confirm(ActionResult),
    /// Deleting the parameter.
    CleanUp,
    /// Writing the dead letter.
    DeadLetter,
    /// Deleting the messages.
    Delete,
}

impl Stage {
    /// The step that logs and metrics know.
    pub fn step(&self) -> Step {
        match self {
            Self::Verify | Self::Hooks | Self::LookAgain | Self::Whereabouts | Self::Openness => Step::Verify,
            Self::Turn => Step::Queue,
            Self::Parked(step) => *step,
            Self::Key | Self::Output(_) => Step::Key,
            Self::Associate => Step::Associate,
            Self::Disassociate => Step::Disassociate,
            Self::Status(..) => Step::Status,
            Self::Deliver => Step::Deliver,
            Self::Complete(_) | Self::Confirm(_) => Step::Complete,
            Self::CleanUp => Step::CleanUp,
            Self::DeadLetter => Step::DeadLetter,
            Self::Delete => Step::Delete,
        }
    }
}

/// What a registrar was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Associate,
    Disassociate,
}

/// What may stand on the registrar because of this action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Association {
    /// Nothing.
    None,
    /// Perhaps: an order was sent, or an earlier run may have sent one.
    Maybe,
    /// The registrar reported success for this node and this key.
    Done,
}

/// Whether an association that failed was given its second chance: the node is taken off and associated once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SecondChance {
    Unused,
    /// The node is to be taken off, once it is seen to wait still: another worker may have put it in service meanwhile.
    TakeOff,
    Taken,
    /// It failed again, with this, and the launch is given up, once it is seen to wait still.
    GiveUp(Box<Failure>),
}

/// Whether an action is open, as far as a heartbeat has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Openness {
    Unknown,
    /// As it was then, in milliseconds.
    Open {
        since: u64,
    },
    Closed,
}

/// What a launch was waiting for when its time was over.
#[derive(Debug, Clone)]
pub(super) struct Over {
    pub reason: Reason,
    /// Where it stood.
    pub stage: Stage,
    /// Whether that is in trouble for others too.
    pub routes_fault: bool,
}

/// What is still to be done once it is decided how an action ends.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub outcome: Outcome,
    pub reason: Option<Reason>,
    pub complete: Option<ActionResult>,
    /// Whether the node is to be taken off its server; of one that [`lives`](Self::lives), what is revoked alone.
    pub disassociate: bool,
    /// Whether the key's parameter is to be deleted.
    pub clean: bool,
    /// The same for the certificate's.
    pub clean_certificate: bool,
    /// Whether a dead letter is still to be written.
    pub letter: bool,
    /// It could not be written before the completion in time, and comes after it.
    pub letter_is_late: bool,
    /// The letter was refused with all that there is to say: it says only why, and what is owed.
    pub letter_is_bare: bool,
    /// The node should be taken off and could not be: the dead letter says so.
    pub owed: bool,
    /// The instance waits for another hook, and is followed until it does no more.
    pub follow: bool,
}

impl Ending {
    /// An ending with nothing left to do but to delete the message.
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            reason: None,
            complete: None,
            disassociate: false,
            clean: false,
            clean_certificate: false,
            letter: false,
            letter_is_late: false,
            letter_is_bare: false,
            owed: false,
            follow: false,
        }
    }

    /// Whether its instance goes into service without the node's association: then nothing is taken off its server but what is revoked.
    pub fn lives(&self) -> bool {
        self.outcome == Outcome::Continued
    }

    /// The same, with the reason.
    pub fn because(outcome: Outcome, reason: Reason) -> Self {
        Self { reason: Some(reason), ..Self::new(outcome) }
    }
}

/// The hook's own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HookTimes {
    pub heartbeat_ms: u64,
    pub global_ms: u64,
    /// Whether what runs out goes on by the hook's default result.
    pub continues: bool,
}

/// One open action; also a message that turned out to be none, on its way to the dead-letter queue.
#[derive(Debug)]
pub(super) struct Action {
    /// What the notification claims; none where the message was not one.
    pub claim: Option<Arc<LifecycleAction>>,
    pub route: Option<RouteId>,
    pub scope: ScopeId,
    pub node: Option<NodeName>,
    pub parameter: Option<ParameterName>,
    /// Where the certificate is to be written that the server signs.
    pub certificate_parameter: Option<ParameterName>,
    /// The message it came in.
    pub message: MessageId,
    /// Every message in hand that carries it, the first included.
    pub messages: Vec<MessageKey>,
    pub receive_count: u32,
    pub queued: Option<Duration>,
    pub taken_up: Moment,

    pub stage: Stage,
    /// Counts the turns the action took: an answer to an older question is nobody's.
    pub epoch: u32,
    /// The timer of `stage`.
    pub wake_at: Option<u64>,
    /// When the budget ends.
    pub deadline_at: Option<u64>,
    /// When Auto Scaling was asked the question whose answer last showed it waiting.
    pub verified_at: Option<u64>,
    /// Whether it came back from verification only to have its sighting renewed for a place at a server's gate.
    pub renewing: bool,
    /// When Auto Scaling was last asked where the instance stands, and answered, or could not.
    pub looked_at: u64,
    /// Since when what Auto Scaling shows has not fitted the claim.
    pub doubted_since: Option<u64>,
    /// Where looking again stands on its schedule.
    pub looking: Progress,
    pub hook: Option<HookTimes>,
    /// Whether its group has other hooks for the same transition: then its instance may wait for those.
    pub other_hooks: bool,
    /// Whether the action is open, where that it waits does not tell.
    pub openness: Openness,
    /// It is counted among those that have ended.
    pub counted: bool,
    /// When it was last asked whether it is open.
    pub openness_asked_at: u64,
    /// Since when Auto Scaling has called it closed while its instance waits.
    pub closed_since: Option<u64>,
    /// The hook's own metadata, as Auto Scaling showed it.
    pub metadata: Option<Arc<str>>,
    /// The next heartbeat; the timer's slot.
    pub beat_at: Option<u64>,
    pub beating: bool,
    /// When Auto Scaling was asked, where the activities are to say whether what it shows is a way into the warm pool, or back.
    pub pool_seen_at: Option<u64>,
    /// Its token is claimed for another instance too.
    pub disputed: bool,
    /// Going back into the warm pool.
    pub to_pool: bool,
    pub key: Option<KeyMaterial>,
    /// What the server signed, until it is delivered.
    pub certificate: Option<Certificate>,
    pub association: Association,
    /// The same before the order that was sent last: it is this again if the order was plainly refused.
    pub association_before: Association,
    /// The last order that nobody heard of again, and when it was given up: it may still arrive.
    pub unheard: Option<(Order, u64)>,
    /// The order for its node that is on its way to the server: no other is sent before that one is answered.
    pub ordering: Option<Order>,
    pub second_chance: SecondChance,
    /// Orders to associate it that may have been carried out, since it was taken up or last taken off.
    pub orders: u32,
    /// An order to take the node off for its second chance was sent, and it has not been associated since.
    pub taken_off: bool,
    /// An unknown status token was answered by giving the order again.
    pub reordered: bool,
    /// When the order whose status is waited for was taken.
    pub ordered_at: u64,
    /// Its time is over, for this; it is looked at once more before that ends it.
    pub over: Option<Box<Over>>,
    /// Held past its deadline, since the fault is the route's.
    pub held: bool,
    /// Held though it failed for good, since all of its route do: what fails again stays so.
    pub parked: bool,
    /// The last thing that went wrong, for the reason at the deadline.
    pub cause: Option<Box<Failure>>,
    pub ending: Option<Box<Ending>>,
    /// Its result was recorded: only its messages are still to be deleted.
    pub recorded: bool,
    pub steps: Vec<StepRecord>,
    pub step_since: u64,
}

impl Action {
    /// Which order its node's server is asked for in the present stage.
    pub fn order(&self) -> Order {
        if self.stage == Stage::Disassociate { Order::Disassociate } else { Order::Associate }
    }

    /// When the order of the present stage may be sent at the earliest. What was given up unheard may still be on its way, and were it
    /// to arrive after this order, it would undo it: it is given as long again as a call may take.
    pub fn may_order_at(&self, call_ms: u64) -> u64 {
        self.unheard.filter(|(earlier, _)| *earlier != self.order()).map_or(0, |(_, at)| at + call_ms)
    }

    /// A record for a message just taken up.
    pub fn new(claim: Option<Arc<LifecycleAction>>, message: MessageId, key: MessageKey, receive_count: u32, now: Moment) -> Self {
        Self {
            claim,
            route: None,
            scope: ScopeId(0),
            node: None,
            parameter: None,
            certificate_parameter: None,
            message,
            messages: vec![key],
            receive_count,
            queued: None,
            taken_up: now,
            stage: Stage::Verify,
            epoch: 0,
            wake_at: None,
            deadline_at: None,
            verified_at: None,
            renewing: false,
            looked_at: now.mono_ms,
            doubted_since: None,
            looking: Progress::default(),
            hook: None,
            other_hooks: false,
            openness: Openness::Unknown,
            counted: false,
            openness_asked_at: 0,
            closed_since: None,
            metadata: None,
            beat_at: None,
            beating: false,
            pool_seen_at: None,
            disputed: false,
            to_pool: false,
            key: None,
            certificate: None,
            association: Association::None,
            association_before: Association::None,
            unheard: None,
            ordering: None,
            second_chance: SecondChance::Unused,
            orders: 0,
            taken_off: false,
            reordered: false,
            ordered_at: 0,
            over: None,
            held: false,
            parked: false,
            cause: None,
            ending: None,
            recorded: false,
            steps: Vec::new(),
            step_since: now.mono_ms,
        }
    }

    /// Whether it is a launch.
    pub fn is_launch(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.transition == Transition::Launching)
    }

    /// Whether it is decided how it ends, and its lifecycle action is still to be completed.
    pub fn is_to_complete(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.complete.is_some())
    }

    /// Whether its node may be left on the registrar if it ends here: a launch's where an order may have been carried out, a termination's
    /// always.
    pub fn may_be_left(&self) -> bool {
        self.route.is_some() && self.node.is_some() && (!self.is_launch() || self.association > Association::None)
    }

    /// When the instance began to wait, in Unix milliseconds, as its event says. One that lies ahead of us is a clock that is wrong:
    /// it began at the latest when we heard of it.
    pub fn began_wall(&self) -> Option<u64> {
        Some(self.claim.as_ref()?.time_ms?.min(self.taken_up.wall_ms))
    }

    /// What log lines about it carry.
    pub fn subject(&self) -> Option<Subject> {
        let action = self.claim.clone()?;
        let (step, attempt) = self.steps.last().map_or((self.stage.step(), 0), |record| (record.step, record.attempts));
        Some(Subject { action, route: self.route, node: self.node.clone(), message: self.message.clone(), step, attempt })
    }

    /// Counts one more call for the current step.
    pub fn count_attempt(&mut self) {
        if let Some(step) = self.steps.last_mut() {
            step.attempts += 1;
        }
    }

    /// Closes the current step's record and opens (or opens again) that of `step`.
    pub fn enter_step(&mut self, step: Step, now: Moment) -> bool {
        let current = self.steps.last().map(|record| record.step);
        if current == Some(step) {
            return false;
        }
        self.close_step(now);
        match self.steps.iter().position(|record| record.step == step) {
            // The current step is the last of the list; one that comes again keeps its count and its time.
            Some(at) => {
                let record = self.steps.remove(at);
                self.steps.push(record);
            }
            None => self.steps.push(StepRecord { step, began_ms: now.wall_ms, took: Duration::ZERO, attempts: 0 }),
        }
        self.step_since = now.mono_ms;
        true
    }

    /// Adds the time since the current step began to its record.
    pub fn close_step(&mut self, now: Moment) {
        let since = self.step_since;
        if let Some(record) = self.steps.last_mut() {
            record.took += Duration::from_millis(now.mono_ms.saturating_sub(since));
        }
        self.step_since = now.mono_ms;
    }
}

/// A message in hand.
#[derive(Debug)]
pub(super) struct Message {
    pub id: MessageId,
    pub handle: ReceiptHandle,
    pub body: MessageBody,
    pub receive_count: u32,
    /// When the receive that brought it began: its 12 hours run from there.
    pub received_at: u64,
    /// When the last receive or extension that succeeded began: the lease runs from there, whatever SQS answers.
    pub leased_at: u64,
    /// The lease's timer.
    pub lease_timer: Option<u64>,
    /// Whose it is; none once it is on its way back to the queue.
    pub owner: Option<ActionId>,
    /// After which delay it can be received again, once released.
    pub release_delay: Duration,
}
