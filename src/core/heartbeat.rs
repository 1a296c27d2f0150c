//! Keeping a lifecycle action open: at half its heartbeat time-out, whatever else the action does or waits for.
//!
//! That begins before anything is known of the hook: Auto Scaling may deny or fail what would say it, for longer than the hook lasts.
//! A heartbeat names the action by its token and changes nothing but its time, so it needs no proof; one for an action that is none is
//! refused.

use super::action::Openness;
use super::lane::{LaneKey, Ticket, Who};
use super::verify::jittered;
use super::{ActionId, Core, Stage, Timer};
use crate::facts::ActionReply;
use crate::retry::Failure;

/// The time-out of a hook that is not known yet, in milliseconds: the shortest that Auto Scaling allows. A longer one would lose the
/// hooks that are shorter; a shorter one there is not.
const SHORTEST_TIMEOUT_MS: u64 = 30_000;
/// An action gets its first heartbeat no sooner than this while its hook is not known, in milliseconds: in an ordinary run it is known by
/// then, and Auto Scaling is spared a call for each launch of a large fleet.
const UNSEEN_GRACE_MS: u64 = 5_000;

impl Core {
    /// Keeps an action open of which nothing is known but what its event says.
    pub(super) fn keep_open_unseen(&mut self, id: ActionId) {
        let now = self.now;
        let interval = jittered(self.heartbeat_timeout_ms(id) / 2, &mut self.rng);
        let Some(action) = self.actions.get_mut(&id) else { return };
        let began_wall = action.began_wall().unwrap_or(now.wall_ms);
        let due = now.mono_of_wall(began_wall.saturating_add(interval)).max(now.mono_ms + UNSEEN_GRACE_MS);
        self.timers.set(Timer::Heartbeat(id), &mut action.beat_at, Some(due));
    }

    /// The hook's time-out; where it was not asked for yet, what its group's hooks were last known to be; else the shortest.
    fn heartbeat_timeout_ms(&self, id: ActionId) -> u64 {
        let Some(action) = self.actions.get(&id) else { return SHORTEST_TIMEOUT_MS };
        let cached = || {
            let claim = action.claim.as_deref()?;
            let cache = self.hooks.get(&(action.scope, claim.group.clone()))?;
            let hook = cache.hooks.iter().find(|hook| hook.name == claim.hook && hook.launching == action.is_launch())?;
            Some(u64::from(hook.heartbeat_timeout_s) * 1000)
        };
        action.hook.map(|times| times.heartbeat_ms).or_else(cached).unwrap_or(SHORTEST_TIMEOUT_MS)
    }

    /// A heartbeat was not sent, since its action needs none just now: it may need one again.
    pub(super) fn beat_is_dead(&mut self, ticket: &Ticket) {
        if let Who::Beat(id) = ticket.who
            && let Some(action) = self.actions.get_mut(&id)
        {
            action.beating = false;
        }
    }

    /// A heartbeat is due.
    pub(super) fn heartbeat_is_due(&mut self, id: ActionId) {
        let now = self.now.mono_ms;
        let Some(action) = self.actions.get_mut(&id) else { return };
        action.beat_at = None;
        if action.beating || !action.beats() {
            return;
        }
        // What shows something else than the claim may be older than it, and the next look may be long in coming.
        if action.hook.is_none() && !matches!(action.stage, Stage::Verify | Stage::Hooks | Stage::Whereabouts | Stage::LookAgain) {
            return self.timers.set(Timer::Heartbeat(id), &mut action.beat_at, Some(now + UNSEEN_GRACE_MS));
        }
        action.beating = true;
        let key = LaneKey::Heartbeat(action.scope);
        self.lanes.entry(key).or_default().push(self.now.mono_ms, Ticket::new(Who::Beat(id)));
    }

    /// What Auto Scaling said to a heartbeat that was sent at `sent_at`.
    pub(super) fn take_heartbeat(&mut self, id: ActionId, sent_at: u64, answer: Result<ActionReply, Failure>) {
        let timeout = self.heartbeat_timeout_ms(id);
        let Some(action) = self.actions.get_mut(&id) else { return };
        action.beating = false;
        if !action.beats() {
            return;
        }
        // After a refusal the next one is due in the usual time all the same: the action may have been taken for another, and
        // only the instance's state says whether it is over.
        let next = sent_at + jittered(timeout / 2, &mut self.rng);
        self.timers.set(Timer::Heartbeat(id), &mut action.beat_at, Some(next.max(self.now.mono_ms)));
        if action.stage == Stage::Openness {
            return self.openness_is_answered(id, sent_at, &answer);
        }
        if matches!(answer, Ok(ActionReply::Accepted)) {
            return;
        }
        if matches!(answer, Ok(ActionReply::Closed)) {
            self.doubt_hooks(id);
            if let Some(action) = self.actions.get_mut(&id).filter(|action| action.openness != Openness::Closed) {
                action.openness = Openness::Unknown;
            }
            // A completion that is denied to all would wait for hours to be told the same.
            let completing = match self.actions.get(&id).map(|action| &action.stage) {
                Some(Stage::Complete(result)) => Some(*result),
                _ => None,
            };
            if let Some(result) = completing.filter(|_| !self.is_sent(id)) {
                return self.begin_confirm(id, result);
            }
        }
        self.nudge(id);
    }

    /// Stops the heartbeats of an action that is completed.
    pub(super) fn stop_heartbeats(&mut self, id: ActionId) {
        if let Some(action) = self.actions.get_mut(&id) {
            self.timers.set(Timer::Heartbeat(id), &mut action.beat_at, None);
        }
    }
}

impl super::action::Action {
    /// Whether heartbeats still serve this action: it is one, as far as is known, and not completed yet.
    pub(super) fn beats(&self) -> bool {
        let completed = self.ending.as_ref().is_some_and(|ending| ending.complete.is_none());
        self.claim.is_some() && !completed
    }
}
