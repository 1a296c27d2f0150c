//! A lane is what waits to be sent to one operation of one service: who waits, in which batches, and when it is tried again.
//!
//! Retrying what is transient or throttled happens here, once for all operations; an action only ever sees an answer that means
//! something.

use std::collections::{BTreeMap, VecDeque};

use super::call::{RouteId, ScopeId, ServerId};
use super::{ActionId, MessageKey};
use crate::names::GroupName;
use crate::retry::{Failure, Progress};

/// Names a lane. The vital ones stand first: what keeps messages ours, what ends actions, what keeps them open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum LaneKey {
    Extend,
    Release,
    DeadLetter,
    Delete,
    Complete(ScopeId),
    Heartbeat(ScopeId),
    Instances(ScopeId),
    Hooks(ScopeId),
    Whereabouts(ScopeId),
    Keys(RouteId),
    Commands(RouteId),
    Outputs(RouteId),
    Server(ServerId),
    Status(ServerId),
    PutParameter(ScopeId),
    DeleteParameters(ScopeId),
}

impl LaneKey {
    /// Whether the lane may use the slots kept free for what keeps messages and actions ours.
    pub fn is_vital(self) -> bool {
        matches!(self, Self::Extend | Self::Release | Self::DeadLetter | Self::Delete | Self::Complete(_) | Self::Heartbeat(_))
    }

    /// How long a lane that nobody waits for may gather a full batch, in milliseconds.
    pub fn linger_ms(self) -> u64 {
        match self {
            Self::Extend | Self::Delete | Self::DeleteParameters(_) => 200,
            _ => 0,
        }
    }

    /// Whether a call of this lane takes several entries.
    pub fn batches(self) -> bool {
        !matches!(
            self,
            Self::DeadLetter
                | Self::Complete(_)
                | Self::Heartbeat(_)
                | Self::Hooks(_)
                | Self::Outputs(_)
                | Self::Server(_)
                | Self::Status(_)
                | Self::PutParameter(_)
        )
    }

    /// Whether what is sent here cannot be taken back, and so needs a lease that outlives the call.
    pub fn is_irreversible(self) -> bool {
        matches!(self, Self::Complete(_) | Self::Server(_) | Self::Delete | Self::PutParameter(_) | Self::DeleteParameters(_))
    }
}

/// Who waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// An action, in the epoch in which it asked: what it asked before it turned to something else is nobody's any more.
    Action(ActionId, u32),
    /// An action's heartbeat, which goes on whatever the action does.
    Beat(ActionId),
    /// A message's lease, release or deletion.
    Message(MessageKey),
    /// The hooks of a group.
    Group(GroupName),
}

/// One entry of a lane.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    /// Who waits.
    pub who: Who,
    /// The largest batch it may travel in: halved when a batch fails as a whole, until the bad member stands alone.
    pub limit: u8,
    /// How many of its batches in a row failed as a whole, for a reason that may pass.
    pub failed_batches: u8,
    /// How often it has been sent.
    pub attempt: u16,
    /// Where it stands on its retry schedule.
    pub progress: Progress,
}

impl Ticket {
    /// A new ticket.
    pub fn new(who: Who) -> Self {
        Self { who, limit: u8::MAX, failed_batches: 0, attempt: 0, progress: Progress::default() }
    }
}

/// What waits for one operation.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// May be sent now.
    pub ready: VecDeque<Ticket>,
    delayed: BTreeMap<(u64, u64), Ticket>,
    sequence: u64,
    /// Which call of all the lanes' its last one was, from 1.
    pub turn: u64,
    /// Calls in flight.
    pub in_flight: u32,
    /// Nothing is sent before this time: the operation failed as a whole.
    pub blocked_until: u64,
    /// Where the lane stands on its retry schedule.
    pub progress: Progress,
    /// Everything failed here lately, for a fault of the route: one call at a time tries whether it still does.
    pub on_trial: bool,
    /// How many entries in a row were refused for a fault of the route, each alone.
    pub denied: u32,
    /// What the operation last failed with, unless it has gone through since: what those who wait unasked wait for.
    pub trouble: Option<Failure>,
    /// Since when something has been ready.
    ready_since: u64,
}

impl Lane {
    /// Adds a ticket at the end.
    pub fn push(&mut self, now: u64, ticket: Ticket) {
        if self.ready.is_empty() {
            self.ready_since = now;
        }
        self.ready.push_back(ticket);
    }

    /// Puts a ticket (back) at the head.
    pub fn push_front(&mut self, now: u64, ticket: Ticket) {
        if self.ready.is_empty() {
            self.ready_since = now;
        }
        self.ready.push_front(ticket);
    }

    /// Adds a ticket that becomes ready at `at`.
    pub fn push_at(&mut self, at: u64, ticket: Ticket) {
        self.sequence += 1;
        self.delayed.insert((at, self.sequence), ticket);
    }

    /// Makes ready what has become due.
    pub fn wake(&mut self, now: u64) {
        while self.delayed.first_key_value().is_some_and(|((at, _), _)| *at <= now) {
            let Some((_, ticket)) = self.delayed.pop_first() else { return };
            self.push(now, ticket);
        }
    }

    /// How many wait, now or later.
    pub fn waiting(&self) -> usize {
        self.ready.len() + self.delayed.len()
    }

    /// The operation works: nobody is on trial any more, and batches may be full again.
    pub fn works(&mut self) {
        self.progress.reset();
        self.blocked_until = 0;
        self.trouble = None;
        self.denied = 0;
        if std::mem::take(&mut self.on_trial) {
            for ticket in self.ready.iter_mut().chain(self.delayed.values_mut()) {
                ticket.limit = u8::MAX;
            }
        }
    }

    /// When the lingering for a full batch ends.
    pub fn linger_until(&self, key: LaneKey) -> u64 {
        self.ready_since + key.linger_ms()
    }

    /// Notes that a batch was taken: what is left begins to linger anew.
    pub fn taken(&mut self, now: u64) {
        self.ready_since = now;
    }

    /// When the lane itself wants to be looked at again, for a reason of time.
    pub fn next_wake(&self, key: LaneKey, now: u64, pace_at: u64) -> Option<u64> {
        let delayed = self.delayed.first_key_value().map(|((at, _), _)| *at);
        let ready = (!self.ready.is_empty())
            .then(|| self.blocked_until.max(pace_at).max(if key.linger_ms() > 0 { self.linger_until(key) } else { 0 }))
            .filter(|at| *at > now);
        delayed.into_iter().chain(ready).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(n: u64) -> Ticket {
        Ticket::new(Who::Message(MessageKey(n)))
    }

    #[test]
    fn a_delayed_ticket_becomes_ready_at_its_time() {
        let mut lane = Lane::default();
        lane.push_at(100, ticket(1));
        lane.push_at(50, ticket(2));
        lane.wake(49);
        assert!(lane.ready.is_empty());
        assert_eq!(lane.next_wake(LaneKey::Extend, 49, 0), Some(50));
        lane.wake(100);
        assert_eq!(lane.ready.len(), 2);
        assert_eq!(lane.ready[0].who, Who::Message(MessageKey(2)));
    }

    #[test]
    fn a_lane_that_waits_for_a_slot_asks_for_no_wake_up() {
        let mut lane = Lane::default();
        lane.push(10, ticket(1));
        assert_eq!(lane.next_wake(LaneKey::Complete(ScopeId(0)), 10, 0), None);
        assert_eq!(lane.next_wake(LaneKey::Delete, 10, 0), Some(210), "but one that gathers a batch does");
    }
}
