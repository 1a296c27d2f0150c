//! Launches of a group that has other launch hooks beside ours: there the instance waits on when our action is over.
//!
//! So that it waits no longer tells that our action is open. A message that comes again after the completion is told apart by a
//! heartbeat, which Auto Scaling refuses for an action that is closed: to associate the node once more could mean to take it off
//! while its agent runs, where the registrar does not say what became of a repetition. And a launch that was enrolled may still be
//! abandoned for another hook's sake, so it is followed until its instance goes into service or ends.

use super::action::{Association, Ending, Openness, SecondChance, Stage};
use super::call::ScopeId;
use super::lane::LaneKey;
use super::observation::{Outcome, Reason};
use super::time::ms;
use super::verdict::Verdict;
use super::verify::{LOOK_AGAIN, taken_off_reason};
use super::{ActionId, Core, Timer};
use crate::facts::{ActionReply, ActionResult, Whereabouts};
use crate::names::InstanceId;
use crate::retry::{Class, Failure, Schedule};

/// How often it is looked where an instance stands that waits for another hook: one that converges takes minutes.
const FOLLOW: Schedule = Schedule::doubling(std::time::Duration::from_secs(2), std::time::Duration::from_secs(30));
/// For so long it is believed that an action is open, in milliseconds: as long as a sighting.
const OPENNESS_MS: u64 = 60_000;

impl Core {
    /// Whether it is to be asked if the action is still open, before anything is done for it.
    pub(super) fn is_perhaps_closed(&self, id: ActionId) -> bool {
        self.actions.get(&id).is_some_and(|action| action.other_hooks && action.is_launch() && action.openness == Openness::Unknown)
    }

    /// What was known long ago of an action is asked for again; before its node is taken off, whatever was known.
    pub(super) fn forget_old_openness(&mut self, id: ActionId) {
        let now = self.now.mono_ms;
        let Some(action) = self.actions.get_mut(&id) else { return };
        let takes_off = action.stage == Stage::Disassociate;
        if matches!(action.openness, Openness::Open { since } if takes_off || now.saturating_sub(since) > OPENNESS_MS) {
            action.openness = Openness::Unknown;
        }
    }

    /// Asks by a heartbeat whether the action is open.
    pub(super) fn begin_openness(&mut self, id: ActionId) {
        self.set_stage(id, Stage::Openness);
        let now = self.now.mono_ms;
        self.wake_stage_at(id, now + 2 * self.call_ms());
        let Some(action) = self.actions.get_mut(&id) else { return };
        action.openness_asked_at = now;
        if !action.beating {
            self.timers.set(Timer::Heartbeat(id), &mut action.beat_at, Some(now));
        }
    }

    /// What Auto Scaling said to a heartbeat that was sent at `sent_at`.
    pub(super) fn openness_is_answered(&mut self, id: ActionId, sent_at: u64, answer: &Result<ActionReply, Failure>) {
        let now = self.now.mono_ms;
        let Some(action) = self.actions.get_mut(&id) else { return };
        // One that was under way already says what was before.
        if sent_at < action.openness_asked_at {
            return self.timers.set(Timer::Heartbeat(id), &mut action.beat_at, Some(now));
        }
        self.take_openness(id, matches!(answer, Ok(ActionReply::Closed)));
    }

    /// Nothing was heard in time. Heartbeats may be denied or fail, and launches must not wait for that; but nothing is taken off on no answer,
    /// and what was called closed is not open for that.
    pub(super) fn openness_is_not_answered(&mut self, id: ActionId) {
        let Some(action) = self.actions.get(&id) else { return };
        let lane = self.lanes.get(&LaneKey::Heartbeat(action.scope));
        let fails = lane.and_then(|lane| lane.trouble.as_ref()).is_some_and(|failure| failure.class != Class::Throttled);
        let chance = matches!(action.second_chance, SecondChance::TakeOff | SecondChance::GiveUp(_));
        if fails && !chance && action.closed_since.is_none() {
            return self.take_openness(id, false);
        }
        self.wake_stage_at(id, self.now.mono_ms + 2 * self.call_ms());
    }

    /// Whether the action is closed, as Auto Scaling said.
    fn take_openness(&mut self, id: ActionId, closed: bool) {
        let now = self.now.mono_ms;
        let Some(action) = self.actions.get_mut(&id) else { return };
        if !closed {
            action.openness = Openness::Open { since: now };
            action.closed_since = None;
            // Another action of its instance has come meanwhile.
            return if action.verified_at.is_none() { self.begin_verify(id) } else { self.proceed(id) };
        }
        // What is consistent in the end only may say so too early: it is asked again, each time after as long as that has been so.
        let lasted = now.saturating_sub(*action.closed_since.get_or_insert(now));
        if lasted < ms(self.settings.patience) {
            self.set_stage(id, Stage::LookAgain);
            return self.wake_stage_at(id, now + lasted.clamp(ms(LOOK_AGAIN.initial), ms(LOOK_AGAIN.max)));
        }
        action.openness = Openness::Closed;
        // What a second chance was to mend is over; and only where it may have run out, with the launch going on all the same, may nothing have
        // been done yet.
        let chances = matches!(action.second_chance, SecondChance::TakeOff | SecondChance::GiveUp(_)) || action.taken_off;
        if chances || !self.may_have_run_out(id) {
            return self.end_completed_before(id, None);
        }
        self.proceed(id);
    }

    /// Whether an action has been called closed, for however short a time, and cannot have run out.
    pub(super) fn was_completed_before(&self, id: ActionId) -> bool {
        let closed = self.actions.get(&id).is_some_and(|action| {
            action.is_launch()
                && action.other_hooks
                && action.closed_since.is_some()
                && matches!(action.stage, Stage::Openness | Stage::LookAgain)
        });
        closed && !self.may_have_run_out(id)
    }

    /// Whether an action that is closed while its instance waits may have run into its time-out: by the hook's default result the launch goes
    /// on then. Else somebody has completed it.
    fn may_have_run_out(&self, id: ActionId) -> bool {
        let now = self.now.mono_ms;
        let Some(action) = self.actions.get(&id) else { return false };
        let began = action.began_wall().unwrap_or(action.taken_up.wall_ms);
        let age = action.taken_up.wall_ms.saturating_sub(began) + now.saturating_sub(action.taken_up.mono_ms);
        action.hook.is_some_and(|times| times.continues && age >= times.heartbeat_ms)
    }

    /// The action is closed, and its instance waits for another hook: it was completed by an earlier run or by another worker, as far as anybody
    /// can tell. What its node may be missing by our own doing, or since it was refused, a letter says.
    pub(super) fn end_completed_before(&mut self, id: ActionId, refused: Option<Failure>) {
        let Some(action) = self.actions.get(&id) else { return };
        let (reason, letter) = match refused {
            _ if action.taken_off => (taken_off_reason(), true),
            Some(failure) => {
                let detail = format!("{}; the action is closed, and the instance waits for another hook of its group", failure.detail);
                (Reason::new(failure.code, detail), true)
            }
            None => (Reason::new("completed", "the action is closed, and the instance waits for another hook of its group"), false),
        };
        let clean = !letter && self.cleans_after_success(id);
        self.end(id, Ending { follow: true, clean, letter, ..Ending::because(Outcome::Stale, reason) });
    }

    /// Whether an instance that waits does so for another hook: its action has been called closed for long enough to be believed.
    pub(super) fn waits_for_another(&self, id: ActionId, result: ActionResult) -> bool {
        let Some(action) = self.actions.get(&id) else { return false };
        let lasted = action.closed_since.map(|since| self.now.mono_ms.saturating_sub(since));
        action.other_hooks
            && action.is_launch()
            && result == ActionResult::Continue
            && lasted.is_some_and(|lasted| lasted >= ms(self.settings.patience))
    }

    /// An action is completed. A launch whose node is associated is followed from here on, where it may yet be let go for another hook's sake.
    pub(super) fn completed_and_followed(&mut self, id: ActionId, result: ActionResult) {
        if let Some(action) = self.actions.get_mut(&id) {
            let follows = action.other_hooks && action.is_launch() && action.association > Association::None;
            if let Some(ending) = action.ending.as_mut().filter(|_| follows && result == ActionResult::Continue) {
                ending.follow = true;
            }
        }
        self.completed(id);
    }

    /// Follows a launch that is completed until its instance waits no more. Its result stands, and is recorded now.
    pub(super) fn follow(&mut self, id: ActionId) {
        self.stop_heartbeats(id);
        self.set_deadline(id, None);
        self.record(id);
        self.count_ended(id);
        self.pass_turn(id);
        let Some((scope, instance)) = self.place_of(id) else { return };
        if let Some(action) = self.actions.get_mut(&id) {
            action.looking.reset();
        }
        self.followed.insert((scope, instance, id));
        self.begin_confirm(id, ActionResult::Continue);
    }

    /// Where the instance of a launch stands that is followed. Says whether that is all there is to do about it for now.
    pub(super) fn follow_on(&mut self, id: ActionId, verdict: Verdict) -> bool {
        if !self.is_followed(id) {
            return false;
        }
        let has_another = self.has_another(id);
        match verdict {
            Verdict::Waits | Verdict::PerhapsEnters | Verdict::WaitsForPool | Verdict::Soon => {
                if let Some(action) = self.actions.get_mut(&id) {
                    action.doubted_since = None;
                }
                self.follow_later(id);
                true
            }
            Verdict::Before if self.is_patient(id) => {
                self.follow_later(id);
                true
            }
            // Its termination, or whatever else has come of it meanwhile, finds the same and takes the node off.
            Verdict::Leaving if has_another => {
                self.followed_enough(id);
                true
            }
            Verdict::Leaving | Verdict::Absent => false,
            _ => {
                self.followed_enough(id);
                true
            }
        }
    }

    /// Looks again in a while where the instance of a launch stands that is followed.
    fn follow_later(&mut self, id: ActionId) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        let delay = action.looking.next_delay(&FOLLOW, &mut self.rng);
        let scope = action.scope;
        self.set_stage(id, Stage::Confirm(ActionResult::Continue));
        self.ask_at(id, LaneKey::Instances(scope), self.now.mono_ms + ms(delay));
    }

    /// Whether another action of the instance is in hand.
    fn has_another(&self, id: ActionId) -> bool {
        self.place_of(id).is_some_and(|place| self.turns.contains_key(&place))
    }

    /// Whether what the activities say of the instance of a launch that is followed leaves nothing to do for it.
    pub(super) fn has_followed_enough(&self, id: ActionId, whereabouts: Whereabouts) -> bool {
        match whereabouts {
            Whereabouts::Detached => true,
            Whereabouts::Terminated | Whereabouts::Terminating => self.has_another(id),
            _ => false,
        }
    }

    /// The instance of a launch that is followed waits no more, or its termination has come, whose node it is to take off.
    pub(super) fn followed_enough(&mut self, id: ActionId) {
        self.unfollow(id);
        self.completed(id);
    }

    /// A termination is sure of its instance: whoever follows that one's launch has nothing left to do.
    pub(super) fn overtake_followed(&mut self, (scope, instance): &(ScopeId, InstanceId)) {
        let [first, last] = [0, u64::MAX].map(|id| (*scope, instance.clone(), ActionId(id)));
        let followed: Vec<ActionId> = self.followed.range(first..=last).map(|(.., id)| *id).collect();
        for id in followed {
            self.guard(id, |core| core.followed_enough(id));
        }
    }

    /// Whether a launch is followed just now.
    pub(super) fn is_followed(&self, id: ActionId) -> bool {
        self.place_of(id).is_some_and(|(scope, instance)| self.followed.contains(&(scope, instance, id)))
    }

    /// A launch is followed no more: its instance waits no longer, or it is let go of.
    pub(super) fn unfollow(&mut self, id: ActionId) {
        if let Some((scope, instance)) = self.place_of(id) {
            self.followed.remove(&(scope, instance, id));
        }
        if let Some(ending) = self.actions.get_mut(&id).and_then(|action| action.ending.as_mut()) {
            ending.follow = false;
        }
    }

    fn place_of(&self, id: ActionId) -> Option<(ScopeId, InstanceId)> {
        let action = self.actions.get(&id)?;
        Some((action.scope, action.claim.as_ref()?.instance.clone()))
    }
}
