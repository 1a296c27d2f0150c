//! Launches of a group that has other launch hooks beside ours: there the instance waits on when our action is over.
//!
//! So that it waits no longer tells that our action is open. A message that comes again after the completion is told apart by a
//! heartbeat, which Auto Scaling refuses for an action that is closed: to associate the node once more could mean to take it off
//! while its agent runs, where the registrar does not say what became of a repetition. And a launch that was enrolled may still be
//! abandoned for another hook's sake, so it is followed until its instance goes into service or ends.

use super::action::{Association, Ending, Stage, Token};
use super::lane::LaneKey;
use super::observation::{Outcome, Reason};
use super::time::ms;
use super::verdict::Verdict;
use super::verify::LOOK_AGAIN;
use super::{ActionId, Core, Timer};
use crate::facts::{ActionReply, ActionResult};
use crate::retry::{Failure, Schedule};

/// How often it is looked where an instance stands that waits for another hook: one that converges takes minutes.
const FOLLOW: Schedule = Schedule::doubling(std::time::Duration::from_secs(2), std::time::Duration::from_secs(30));

impl Core {
    /// Whether it is to be asked if the action is still open, before anything is done for it.
    pub(super) fn is_perhaps_closed(&self, id: ActionId) -> bool {
        self.actions.get(&id).is_some_and(|action| action.other_hooks && action.is_launch() && action.token == Token::Unknown)
    }

    /// Asks by a heartbeat whether the action is open. It goes on without an answer after a while: heartbeats may be denied, and launches
    /// must not wait for that.
    pub(super) fn begin_token(&mut self, id: ActionId) {
        self.set_stage(id, Stage::Token);
        let now = self.now.mono_ms;
        self.wake_stage_at(id, now + 2 * self.call_ms());
        let Some(action) = self.actions.get_mut(&id) else { return };
        if !action.beating {
            self.timers.set(Timer::Heartbeat(id), &mut action.beat_at, Some(now));
        }
    }

    /// What Auto Scaling said to the heartbeat, or that it said nothing in time.
    pub(super) fn take_token(&mut self, id: ActionId, answer: Option<&Result<ActionReply, Failure>>) {
        let now = self.now;
        let Some(action) = self.actions.get_mut(&id) else { return };
        if !matches!(answer, Some(Ok(ActionReply::Closed))) {
            action.token = Token::Open;
            action.closed_since = None;
            return self.proceed(id);
        }
        // What is consistent in the end only may say so too early: it is asked again, each time after as long as that has been so.
        let lasted = now.mono_ms.saturating_sub(*action.closed_since.get_or_insert(now.mono_ms));
        if lasted < ms(self.settings.patience) {
            self.set_stage(id, Stage::LookAgain);
            return self.wake_stage_at(id, now.mono_ms + lasted.clamp(ms(LOOK_AGAIN.initial), ms(LOOK_AGAIN.max)));
        }
        action.token = Token::Closed;
        let began = action.began_wall().unwrap_or(action.taken_up.wall_ms);
        let age = action.taken_up.wall_ms.saturating_sub(began) + now.mono_ms.saturating_sub(action.taken_up.mono_ms);
        // Only a completion closes an action before its time-out; later it may have run out with nothing done.
        if action.hook.is_some_and(|times| age < times.heartbeat_ms) {
            return self.end_completed_before(id);
        }
        self.proceed(id);
    }

    /// The action was completed by an earlier run, or by another worker, and its instance waits for another hook.
    pub(super) fn end_completed_before(&mut self, id: ActionId) {
        self.unhold(id);
        self.set_deadline(id, None);
        let Some(action) = self.actions.get_mut(&id) else { return };
        let reason = Reason::new("completed", "the action is closed, and the instance waits for another hook of its group");
        action.ending = Some(Box::new(Ending::because(Outcome::Stale, reason)));
        self.follow(id);
    }

    /// Whether a launch that was completed is to be followed: its instance may yet be let go for another hook's sake.
    pub(super) fn is_to_follow(&self, id: ActionId, result: ActionResult) -> bool {
        let Some(action) = self.actions.get(&id) else { return false };
        action.other_hooks && action.is_launch() && result == ActionResult::Continue && action.association > Association::None
    }

    /// Whether an instance that waits does so for another hook: its action has been called closed for long enough to be believed.
    pub(super) fn waits_for_another(&self, id: ActionId, result: ActionResult) -> bool {
        let closed_since = self.actions.get(&id).and_then(|action| action.closed_since);
        closed_since.is_some_and(|since| self.now.mono_ms.saturating_sub(since) >= ms(self.settings.patience))
            && self.is_to_follow(id, result)
    }

    /// Follows a launch that is completed until its instance waits no more. Its result stands, and is recorded now.
    pub(super) fn follow(&mut self, id: ActionId) {
        self.stop_heartbeats(id);
        let Some(action) = self.actions.get_mut(&id) else { return };
        action.followed = true;
        action.looking.reset();
        if let Some(ending) = action.ending.as_mut() {
            ending.complete = None;
        }
        self.record(id);
        self.pass_turn(id);
        self.begin_confirm(id, ActionResult::Continue);
    }

    /// Where the instance of a launch stands that is followed. Says whether that is all there is to do about it for now.
    pub(super) fn follow_on(&mut self, id: ActionId, verdict: Verdict) -> bool {
        let Some(action) = self.actions.get_mut(&id).filter(|action| action.followed) else { return false };
        let has_another = action.claim.as_ref().is_some_and(|claim| self.turns.contains_key(&(action.scope, claim.instance.clone())));
        match verdict {
            Verdict::Waits | Verdict::PerhapsEnters | Verdict::WaitsForPool | Verdict::Soon => {
                action.doubted_since = None;
                let delay = action.looking.next_delay(&FOLLOW, &mut self.rng);
                let scope = action.scope;
                self.set_stage(id, Stage::Confirm(ActionResult::Continue));
                self.ask_at(id, LaneKey::Instances(scope), self.now.mono_ms + ms(delay));
                true
            }
            // Its termination, or whatever else has come of it meanwhile, finds the same and takes the node off.
            Verdict::Leaving if has_another => {
                self.completed(id);
                true
            }
            // It ended all the same, and its node is taken off: that is another result than the one on record.
            Verdict::Leaving | Verdict::Absent => {
                action.recorded = false;
                false
            }
            Verdict::Before | Verdict::Alive | Verdict::OtherGroup => false,
        }
    }
}
