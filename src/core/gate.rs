//! One gate per server: an unhealthy server costs one probe, however many nodes wait for it.
//!
//! Open, everybody goes through at the server's pace. A `NotReady`, a fault of the route or a row of orders without an answer closes
//! it. Then, on the schedule of the `backoff` crate, the server is asked for its health, and once that looks well (or cannot be asked)
//! a single order is let through as a trial. If it goes through, the gate opens with a ramp; if not, it closes again for longer.

use std::collections::BTreeSet;

use super::ActionId;
use crate::retry::{Class, Failure, Progress, Schedule};

/// The rate at which a server that has just come back is first asked, in orders a second.
pub(super) const RAMP_FROM: f64 = 16.0;

/// So many orders in a row without an answer, and the server is taken for one that is not ready.
const UNANSWERED_IN_A_ROW: u32 = 20;

/// How a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Everybody goes through.
    Open,
    /// Nobody goes through before the probe's time.
    Closed,
    /// The server is being asked for its health.
    Asking,
    /// One order may go through, or is on its way.
    Trial {
        /// Whether it is on its way.
        sent: bool,
    },
}

/// The gate in front of one server.
#[derive(Debug)]
pub(super) struct Gate {
    /// How it stands.
    pub state: State,
    /// Why it is not open.
    pub failure: Option<Failure>,
    /// When the next probe is due; the timer's slot.
    pub probe_at: Option<u64>,
    /// Actions at the head of the queue whose sighting had grown old and is being renewed, without trouble so far.
    pub renewing: BTreeSet<ActionId>,
    progress: Progress,
    /// Orders without an answer since the last one that had any.
    unanswered: u32,
}

impl Gate {
    pub fn new() -> Self {
        Self { state: State::Open, failure: None, probe_at: None, renewing: BTreeSet::new(), progress: Progress::default(), unanswered: 0 }
    }

    /// Whether an order may be sent now.
    pub fn admits(&self) -> bool {
        matches!(self.state, State::Open | State::Trial { sent: false })
    }

    /// How many actions may have their sighting renewed ahead of being sent.
    pub fn renewals_allowed(&self) -> usize {
        match self.state {
            State::Open => 100,
            State::Trial { sent: false } => 1,
            State::Closed | State::Asking | State::Trial { sent: true } => 0,
        }
    }

    /// An order is being sent.
    pub fn sent(&mut self) {
        if let State::Trial { sent } = &mut self.state {
            *sent = true;
        }
    }

    /// An order was refused because of the server or the route. Returns the time until the next probe in milliseconds, or
    /// none where the gate was closed before and this is one more answer to what was sent while it was open.
    pub fn refused(&mut self, failure: Failure, schedules: (&Schedule, &Schedule), rng: &mut fastrand::Rng) -> Option<u64> {
        if matches!(self.state, State::Closed | State::Asking) {
            return None;
        }
        let (not_ready, route_fault) = schedules;
        let schedule = if failure.class == Class::NotReady { not_ready } else { route_fault };
        self.state = State::Closed;
        self.failure = Some(failure);
        Some(super::time::ms(self.progress.next_delay(schedule, rng)).max(1))
    }

    /// An order went through. Returns whether that opened the gate.
    pub fn went_through(&mut self) -> bool {
        self.unanswered = 0;
        let opened = matches!(self.state, State::Trial { .. });
        if opened {
            self.state = State::Open;
            self.failure = None;
            self.progress.reset();
        }
        opened
    }

    /// An order had no answer. Returns whether that is to be taken as a refusal: of a trial, or when it is one of many in a row.
    pub fn unanswered(&mut self) -> bool {
        self.unanswered += 1;
        match self.state {
            State::Trial { sent } => sent,
            State::Open => self.unanswered >= UNANSWERED_IN_A_ROW,
            State::Closed | State::Asking => false,
        }
    }

    /// An order that was the trial ended without saying anything about the server: let another one try.
    pub fn undecided(&mut self) {
        if let State::Trial { sent } = &mut self.state {
            *sent = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn refuse(gate: &mut Gate) -> Option<u64> {
        let schedule = Schedule::doubling(Duration::from_secs(1), Duration::from_secs(8));
        let failure = Failure::new(Class::NotReady, "InvalidStateException", "maintenance");
        gate.refused(failure, (&schedule, &schedule), &mut fastrand::Rng::with_seed(3))
    }

    #[test]
    fn answers_to_what_was_sent_before_the_gate_closed_do_not_lengthen_the_wait() {
        let mut gate = Gate::new();
        assert!(refuse(&mut gate).is_some());
        assert_eq!(refuse(&mut gate), None);
        assert!(!gate.admits());
    }

    #[test]
    fn one_trial_goes_through_and_opens_the_gate() {
        let mut gate = Gate::new();
        refuse(&mut gate);
        gate.state = State::Trial { sent: false };
        assert!(gate.admits());
        gate.sent();
        assert!(!gate.admits(), "a second order waits for the trial");
        assert!(gate.went_through());
        assert!(gate.admits() && gate.failure.is_none());
    }

    #[test]
    fn each_failed_trial_waits_longer() {
        let mut gate = Gate::new();
        let mut waits = Vec::new();
        for _ in 0..4 {
            waits.push(refuse(&mut gate).unwrap());
            gate.state = State::Trial { sent: true };
        }
        assert!(waits[3] > waits[0] * 2, "{waits:?}");
    }
}
