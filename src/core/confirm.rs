//! Completing the lifecycle action, and what it means where Auto Scaling calls it closed: only the instance's state says whether it is
//! over, and how.

use std::time::Duration;

use super::action::Stage;
use super::lane::LaneKey;
use super::observation::{Outcome, Reason};
use super::time::ms;
use super::verdict::Verdict;
use super::verify::LOOK_AGAIN;
use super::{ActionId, Core, Timer};
use crate::facts::{ActionReply, ActionResult, Whereabouts};
use crate::retry::{Failure, Schedule};

/// How often a completion that Auto Scaling calls closed is tried again while the instance still waits.
const COMPLETE_AGAIN: Schedule = Schedule::doubling(Duration::from_secs(1), Duration::from_secs(30));

impl Core {
    /// What Auto Scaling said to the completion.
    pub(super) fn take_completion(&mut self, id: ActionId, answer: Result<ActionReply, Failure>) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        let Stage::Complete(result) = action.stage else { return };
        match answer {
            Ok(ActionReply::Accepted) => {
                self.spend_token(id);
                if result == ActionResult::Abandon {
                    return self.look_before_taking_off(id, result);
                }
                self.completed_and_followed(id, result);
            }
            // Closed by a time-out, by a lost answer of our own, or by somebody else; or refused for a reason that only the
            // instance's state can confirm. It counts as completed once the instance is out of its waiting state.
            Ok(ActionReply::Closed) => {
                action.closed_since.get_or_insert(self.now.mono_ms);
                self.begin_confirm(id, result);
            }
            Err(failure) => {
                action.cause = Some(Box::new(failure));
                self.begin_confirm(id, result);
            }
        }
    }

    /// A launch was abandoned: the token may be another's, so its node is taken off, and its key deleted, only once its own instance is seen
    /// to be over.
    fn look_before_taking_off(&mut self, id: ActionId, result: ActionResult) {
        let Some(ending) = self.actions.get_mut(&id).and_then(|action| action.ending.as_mut()) else { return };
        if !(ending.disassociate || ending.clean || ending.clean_certificate) {
            return self.completed(id);
        }
        ending.complete = None;
        self.stop_heartbeats(id);
        self.begin_confirm(id, result);
    }

    pub(super) fn begin_confirm(&mut self, id: ActionId, result: ActionResult) {
        self.set_stage(id, Stage::Confirm(result));
        let scope = self.scope_of(id);
        self.ask(id, LaneKey::Instances(scope));
    }

    /// Where the instance of an action stands that Auto Scaling calls closed.
    pub(super) fn confirm(&mut self, id: ActionId, result: ActionResult, verdict: Verdict) {
        if self.follow_on(id, verdict) {
            return;
        }
        if matches!(verdict, Verdict::Waits | Verdict::PerhapsEnters) && self.waits_for_another(id, result) {
            return self.completed_and_followed(id, result);
        }
        let Some(action) = self.actions.get_mut(&id) else { return };
        let launch = action.is_launch();
        let takes_off = action.ending.as_ref().is_some_and(|ending| ending.disassociate);
        match verdict {
            Verdict::Waits | Verdict::PerhapsEnters | Verdict::WaitsForPool => {
                let delay = action.looking.next_delay(&COMPLETE_AGAIN, &mut self.rng);
                action.doubted_since = None;
                // It may have been out of sight for a while, and taken for completed.
                if let Some(ending) = action.ending.as_mut().filter(|ending| ending.complete.is_none()) {
                    ending.complete = Some(result);
                    self.timers.set(Timer::Heartbeat(id), &mut action.beat_at, Some(self.now.mono_ms));
                }
                self.set_stage(id, Stage::Complete(result));
                let scope = self.scope_of(id);
                self.ask_at(id, LaneKey::Complete(scope), self.now.mono_ms + ms(delay));
                // What it waits for may be a later action of ours, which waits for its turn.
                self.pass_turn(id);
            }
            // Past the hooks, and not yet to be seen which way; or shown as it was before.
            Verdict::Soon | Verdict::Before if launch && self.is_patient(id) => self.confirm_later(id, result),
            Verdict::Soon if launch && result == ActionResult::Abandon => self.end_unclear(id, takes_off),
            // Closed by something else, perhaps with another result: while it is on its way it may yet turn out to be gone.
            Verdict::Soon if launch && self.hook_limit(id).is_some_and(|limit| limit > self.now.mono_ms) => self.confirm_later(id, result),
            // It was enrolled, and its launch ended otherwise: its node must not stay behind.
            Verdict::Leaving if launch && result == ActionResult::Continue => {
                self.stop_heartbeats(id);
                self.end_gone(id, "closed", "the launch was ended by something else after the node had been enrolled");
            }
            Verdict::Before | Verdict::Alive | Verdict::OtherGroup if launch && result == ActionResult::Abandon => self.end_kept_alive(id),
            Verdict::Absent if launch && (result == ActionResult::Continue || takes_off) => {
                if let Some(ending) = self.actions.get_mut(&id).and_then(|action| action.ending.as_mut()) {
                    ending.complete = None;
                }
                self.stop_heartbeats(id);
                self.set_stage(id, Stage::Whereabouts);
                let scope = self.scope_of(id);
                self.ask(id, LaneKey::Whereabouts(scope));
            }
            _ => self.completed(id),
        }
    }

    /// Auto Scaling cannot say where the instance stands. The completion is given again for as long as the hook may last: only then
    /// does it end with a letter, which says what may be left.
    pub(super) fn confirm_failed(&mut self, id: ActionId, result: ActionResult, reason: Reason) {
        let now = self.now.mono_ms;
        if let Some(action) = self.actions.get_mut(&id) {
            action.looked_at = now;
        }
        let lasts = self.hook_limit(id).is_some_and(|limit| limit > now) || self.is_patient(id);
        let Some(action) = self.actions.get_mut(&id) else { return };
        let left = action.may_be_left();
        let delay = action.looking.next_delay(&COMPLETE_AGAIN, &mut self.rng);
        if lasts && action.is_to_complete() {
            self.set_stage(id, Stage::Complete(result));
            let scope = self.scope_of(id);
            return self.ask_at(id, LaneKey::Complete(scope), self.now.mono_ms + ms(delay));
        }
        if lasts {
            return self.confirm_later(id, result);
        }
        self.stop_heartbeats(id);
        self.unfollow(id);
        if let Some(action) = self.actions.get_mut(&id) {
            action.recorded = false;
        }
        if let Some(ending) = self.actions.get_mut(&id).and_then(|action| action.ending.as_mut()) {
            ending.outcome = Outcome::DeadLettered;
            ending.reason = Some(reason);
            ending.complete = None;
            ending.disassociate = false;
            ending.clean = false;
            ending.clean_certificate = false;
            ending.letter = true;
            ending.owed |= left;
        }
        self.go_on_ending(id);
    }

    /// Looks again shortly where the instance stands.
    pub(super) fn confirm_later(&mut self, id: ActionId, result: ActionResult) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        let delay = action.looking.next_delay(&LOOK_AGAIN, &mut self.rng);
        self.set_stage(id, Stage::Confirm(result));
        let scope = self.scope_of(id);
        self.ask_at(id, LaneKey::Instances(scope), self.now.mono_ms + ms(delay));
    }

    /// A launch that failed, and whose instance lives all the same: somebody else let it continue. Its node is not ours to remove.
    fn end_kept_alive(&mut self, id: ActionId) {
        self.stop_heartbeats(id);
        if let Some(ending) = self.actions.get_mut(&id).and_then(|action| action.ending.as_mut()) {
            ending.outcome = Outcome::Continued;
            // The one that was written says that it was abandoned.
            ending.letter = true;
            ending.complete = None;
            ending.disassociate = false;
            ending.clean = false;
            ending.clean_certificate = false;
        }
        self.go_on_ending(id);
    }

    /// Where the instance of an abandoned launch went that is not listed any more: its node is removed on proof only.
    pub(super) fn abandoned_whereabouts(&mut self, id: ActionId, whereabouts: Whereabouts) {
        match whereabouts {
            Whereabouts::Terminated | Whereabouts::Terminating => self.go_on_ending(id),
            Whereabouts::Detached => self.end_kept_alive(id),
            _ if self.is_patient(id) => self.confirm_later(id, ActionResult::Abandon),
            Whereabouts::EntersPool | Whereabouts::Elsewhere | Whereabouts::Returned | Whereabouts::Unproven => {
                self.end_unclear(id, true);
            }
        }
    }

    /// A launch that failed, and of whose instance nobody can say whether it lives: nothing of it is removed, and what is owed is
    /// written down.
    fn end_unclear(&mut self, id: ActionId, owed: bool) {
        self.stop_heartbeats(id);
        if let Some(ending) = self.actions.get_mut(&id).and_then(|action| action.ending.as_mut()) {
            ending.complete = None;
            ending.disassociate = false;
            ending.clean = false;
            ending.clean_certificate = false;
            ending.owed |= owed;
            ending.letter |= owed;
        }
        self.go_on_ending(id);
    }
}
