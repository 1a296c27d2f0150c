//! Keeping a lifecycle action open: at half its heartbeat time-out, whatever else the action does or waits for.

use super::lane::{LaneKey, Ticket, Who};
use super::verify::jittered;
use super::{ActionId, Core, Timer};
use crate::facts::ActionReply;
use crate::retry::Failure;

impl Core {
    /// A heartbeat is due.
    pub(super) fn heartbeat_is_due(&mut self, id: ActionId) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        action.beat_at = None;
        if action.beating || !action.beats() {
            return;
        }
        action.beating = true;
        let key = LaneKey::Heartbeat(action.scope);
        self.lanes.entry(key).or_default().push(self.now.mono_ms, Ticket::new(Who::Beat(id)));
    }

    /// What Auto Scaling said to a heartbeat that was sent at `sent_at`.
    pub(super) fn take_heartbeat(&mut self, id: ActionId, sent_at: u64, answer: Result<ActionReply, Failure>) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        action.beating = false;
        let Some(times) = action.hook else { return };
        if !action.beats() {
            return;
        }
        // After a refusal the next one is due in the usual time all the same: the action may have been taken for another, and
        // only the instance's state says whether it is over.
        let next = sent_at + jittered(times.heartbeat_ms / 2, &mut self.rng);
        self.timers.set(Timer::Heartbeat(id), &mut action.beat_at, Some(next.max(self.now.mono_ms)));
        if !matches!(answer, Ok(ActionReply::Accepted)) {
            self.nudge(id);
        }
    }

    /// Stops the heartbeats of an action that is completed.
    pub(super) fn stop_heartbeats(&mut self, id: ActionId) {
        if let Some(action) = self.actions.get_mut(&id) {
            self.timers.set(Timer::Heartbeat(id), &mut action.beat_at, None);
        }
    }
}

impl super::action::Action {
    /// Whether heartbeats still serve this action: it was seen waiting, and is not completed yet.
    pub(super) fn beats(&self) -> bool {
        let completed = self.ending.as_ref().is_some_and(|ending| ending.complete.is_none());
        self.hook.is_some() && !completed
    }
}
