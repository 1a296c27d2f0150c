//! Shutting down: no more receiving; what can end within the grace ends; the rest is given back, so that another worker has it
//! within a second.

use std::time::Duration;

use super::action::Stage;
use super::gate::State;
use super::lane::LaneKey;
use super::observation::Observation;
use super::time::ms;
use super::{ActionId, Core, Flight, Timer};

/// A poll under way gets this long to bring what SQS may have handed out already, in milliseconds.
const LAST_POLL_MS: u64 = 1_000;
/// How often it is looked what only waits, in milliseconds.
const SWEEP_MS: u64 = 100;
/// What giving everything back may take at the end of the grace, in milliseconds.
const GIVE_BACK_MS: u64 = 3_000;

/// A shutdown under way.
#[derive(Debug, Default)]
pub(super) struct Shutdown {
    drop_polls_at: Option<u64>,
    sweep_at: Option<u64>,
    over_at: Option<u64>,
    giving_back: bool,
    over: bool,
}

impl Core {
    pub(super) fn begin_shutdown(&mut self) {
        if self.shutdown.is_some() {
            return;
        }
        let now = self.now.mono_ms;
        let grace = ms(self.settings.grace);
        let mut shutdown = Shutdown::default();
        self.timers.set(Timer::DropPolls, &mut shutdown.drop_polls_at, Some(now + LAST_POLL_MS.min(grace)));
        self.timers.set(Timer::Sweep, &mut shutdown.sweep_at, Some(now));
        self.timers.set(Timer::GraceOver, &mut shutdown.over_at, Some(now + grace.saturating_sub(GIVE_BACK_MS.min(grace / 2))));
        self.shutdown = Some(shutdown);
        self.arm_queue(None);
        self.observe(Observation::ShuttingDown { open: self.actions.len() });
    }

    /// The polls had their second.
    pub(super) fn drop_polls(&mut self) {
        let polls: Vec<_> =
            self.flights.iter().filter(|(_, flight)| matches!(flight, Flight::Poll { .. } | Flight::Queue)).map(|(id, _)| *id).collect();
        for id in polls {
            self.flights.remove(&id);
            self.outbox.aborts.push(id);
        }
        self.queue.polls = 0;
    }

    /// Gives back what only waits for something outside; everything once the grace is nearly over.
    pub(super) fn sweep(&mut self) {
        let Some(shutdown) = &mut self.shutdown else { return };
        shutdown.sweep_at = None;
        let giving_back = shutdown.giving_back;
        // While a poll of ours is under way, what we give back may come straight back to us.
        if self.queue.polls > 0 && !giving_back {
            return self.timers.set(Timer::Sweep, &mut shutdown.sweep_at, Some(self.now.mono_ms + SWEEP_MS));
        }
        let mut open: Vec<ActionId> = self.actions.keys().copied().collect();
        // A map has no order of its own, and the same seed must end the same.
        open.sort_unstable();
        for id in open {
            if giving_back || self.only_waits(id) {
                self.guard(id, |core| core.release(id, Duration::ZERO));
            }
        }
        if let Some(shutdown) = &mut self.shutdown {
            self.timers.set(Timer::Sweep, &mut shutdown.sweep_at, Some(self.now.mono_ms + SWEEP_MS));
        }
    }

    /// Whether an action waits for something that need not come within the grace: a key, a server, its turn.
    fn only_waits(&self, id: ActionId) -> bool {
        let Some(action) = self.actions.get(&id) else { return false };
        let gate_is_open = || {
            let server = action.route.map(|route| self.settings.route(route).server);
            server.and_then(|server| self.gates.get(&server)).is_some_and(|gate| gate.state == State::Open)
        };
        match action.stage {
            Stage::LookAgain | Stage::Turn | Stage::Output(_) | Stage::Parked(_) => true,
            Stage::Confirm(_) if self.is_followed(id) => !self.is_sent(id),
            // What is denied to all is tried by one for all, ever more rarely: nobody need wait for that here.
            Stage::Verify | Stage::Hooks | Stage::Whereabouts | Stage::Key if self.is_denied(id) => !self.is_sent(id),
            Stage::Key => !self.is_sent(id) && action.steps.last().is_some_and(|step| step.attempts > 0),
            Stage::Associate | Stage::Disassociate => !gate_is_open() && action.ordering.is_none(),
            _ => false,
        }
    }

    /// The grace is nearly over: whatever is not done is given back now.
    pub(super) fn end_grace(&mut self) {
        let Some(shutdown) = &mut self.shutdown else { return };
        shutdown.over_at = None;
        if shutdown.giving_back {
            shutdown.over = true;
            return;
        }
        shutdown.giving_back = true;
        let grace = ms(self.settings.grace);
        let over_at = self.now.mono_ms + GIVE_BACK_MS.min(grace / 2);
        self.timers.set(Timer::GraceOver, &mut shutdown.over_at, Some(over_at));
        // Orders that are still on their way may yet be answered; but nobody here waits for them any more.
        self.sweep();
        for lane in self.lanes.iter_mut().filter(|(key, _)| !matches!(key, LaneKey::Release | LaneKey::Delete | LaneKey::DeadLetter)) {
            lane.1.ready.clear();
        }
    }

    pub(super) fn shutdown_is_done(&self) -> bool {
        let Some(shutdown) = &self.shutdown else { return false };
        let released = self.messages.is_empty() && self.actions.is_empty();
        let polls = self.flights.values().any(|flight| matches!(flight, Flight::Poll { .. }));
        let giving = self
            .flights
            .values()
            .any(|flight| matches!(flight, Flight::Lane { key: LaneKey::Release | LaneKey::Delete | LaneKey::DeadLetter, .. }));
        shutdown.over || (released && !polls && !giving)
    }
}
