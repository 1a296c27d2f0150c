//! An event is a claim, not a proof: nothing is done before Auto Scaling itself shows the instance waiting in the named group, and
//! the group has the named hook.

use super::action::{Association, Ending, HookTimes, SecondChance, Stage};
use super::admission::undeliverable;
use super::lane::{LaneKey, Ticket, Who};
use super::observation::{Outcome, Reason};
use super::settings::DeleteKey;
use super::time::ms;
use super::verdict::{Verdict, judge};
use super::{ActionId, Core, Timer};
use crate::event::{Place, Transition};
use crate::facts::{ActionResult, HookFacts, InstanceSeen, LifecycleState, Whereabouts};
use crate::names::GroupName;
use crate::retry::{Failure, Schedule};

/// No node is associated that was not seen waiting so long before at most, in milliseconds.
const SIGHTING_MS: u64 = 60_000;
/// The same before a node is taken off for a second chance: what another worker puts in service meanwhile would be without it.
pub(super) const SECOND_CHANCE_FRESH_MS: u64 = 10_000;
/// A group's hooks are asked for again after this time, in milliseconds.
const HOOKS_FRESH_MS: u64 = 60_000;
/// A hook that is missing is believed to be missing only on an answer younger than this, in milliseconds.
const MISSING_HOOK_FRESH_MS: u64 = 5_000;
/// How soon an instance is looked at again that is about to wait.
pub(super) const LOOK_AGAIN: Schedule = Schedule::doubling(std::time::Duration::from_millis(500), std::time::Duration::from_secs(5));

impl Core {
    /// Asks Auto Scaling where the instance stands.
    pub(super) fn begin_verify(&mut self, id: ActionId) {
        self.set_stage(id, Stage::Verify);
        let scope = self.scope_of(id);
        self.ask(id, LaneKey::Instances(scope));
    }

    /// A sighting older than this is renewed before the registrar is asked, in milliseconds: the request may leave as late as the call may
    /// take. The configuration allows no `call_timeout` that leaves nothing.
    pub(super) fn sighting_fresh_ms(&self) -> u64 {
        SIGHTING_MS.saturating_sub(self.call_ms())
    }

    /// Another action of the same instance has come: something may have changed, so an action that only waits looks again.
    pub(super) fn nudge(&mut self, id: ActionId) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        if action.ending.is_some() {
            return;
        }
        action.verified_at = None;
        // What it is shown without having asked anew is from before: held by that, it would keep the other waiting.
        let asked_before = matches!(action.stage, Stage::Hooks | Stage::Whereabouts | Stage::Openness)
            || (action.stage == Stage::Verify && self.is_sent(id));
        let Some(action) = self.actions.get(&id) else { return };
        if asked_before
            || matches!(action.stage, Stage::Key | Stage::Output(_) | Stage::Parked(_))
            || (action.stage == Stage::Associate && action.ordering.is_none())
            || (action.stage == Stage::Deliver && !self.is_sent(id))
        {
            self.begin_verify(id);
        }
    }

    /// Whether a call of the action's present stage is in flight.
    pub(super) fn is_sent(&self, id: ActionId) -> bool {
        let Some(action) = self.actions.get(&id) else { return false };
        let who = Who::Action(id, action.epoch);
        self.flights.values().any(|flight| matches!(flight, super::Flight::Lane { tickets, .. } if tickets.iter().any(|t| t.who == who)))
    }

    /// What DescribeAutoScalingInstances showed, asked at `asked_at`.
    pub(super) fn take_sighting(&mut self, id: ActionId, asked_at: u64, seen: Option<&InstanceSeen>) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        let Some(claim) = action.claim.clone() else { return };
        action.looked_at = asked_at;
        let verdict = judge(&claim, seen);
        if let Stage::Confirm(result) = action.stage {
            return self.confirm(id, result, verdict);
        }
        action.pool_seen_at = (verdict == Verdict::PerhapsEnters).then_some(asked_at);
        match verdict {
            Verdict::Waits | Verdict::WaitsForPool => {
                action.verified_at = Some(asked_at);
                action.to_pool = verdict == Verdict::WaitsForPool;
                action.looking.reset();
                self.check_hook(id);
            }
            Verdict::Soon => self.look_again(id),
            Verdict::Before if self.is_patient(id) => self.look_again(id),
            Verdict::Before | Verdict::Alive if claim.transition == Transition::Launching => {
                // A claim alone must not take the key of an instance that waits in the warm pool, or has yet to launch from it.
                let clean = seen.is_some_and(|seen| seen.state == LifecycleState::Living) && self.cleans_after_success(id);
                self.end_in_service(id, clean);
            }
            // Its way back into the warm pool is over: a notification that comes again must not be taken for a false one. That the message
            // says to lead there proves nothing: it is in the pool, or the activities show that it was moved there.
            Verdict::Alive if claim.destination == Some(Place::WarmPool) && !self.is_patient(id) => {
                if seen.is_some_and(|seen| seen.state == LifecycleState::Pooled) {
                    return self.end_in_pool(id);
                }
                if let Some(action) = self.actions.get_mut(&id) {
                    action.pool_seen_at = Some(asked_at);
                }
                self.set_stage(id, Stage::Whereabouts);
                let scope = self.scope_of(id);
                self.ask(id, LaneKey::Whereabouts(scope));
            }
            Verdict::Before | Verdict::Alive => {
                self.doubt(id, "unproven", "Auto Scaling shows the instance alive, not terminating; its node stays")
            }
            Verdict::Leaving => {
                self.doubt_hooks(id);
                self.end_gone(id, "terminating", "the instance is being terminated, and waits no longer as the event says");
            }
            Verdict::Absent | Verdict::PerhapsEnters => {
                self.set_stage(id, Stage::Whereabouts);
                let scope = self.scope_of(id);
                self.ask(id, LaneKey::Whereabouts(scope));
            }
            Verdict::OtherGroup => {
                let detail = format!("Auto Scaling shows the instance in another group than {}", claim.group);
                self.end(id, undeliverable("wrong_group", detail));
            }
        }
    }

    /// What the group's activities say of a launch whose instance waits in the warm pool's own state. One on its way back into the
    /// pool is enrolled already, and lives on: the sender's word for where it comes from and where it goes is not enough.
    fn take_pool_whereabouts(&mut self, id: ActionId, seen_at: u64, whereabouts: Whereabouts) {
        match whereabouts {
            Whereabouts::EntersPool => {
                let Some(action) = self.actions.get_mut(&id) else { return };
                action.verified_at = Some(seen_at);
                action.looking.reset();
                self.check_hook(id);
            }
            Whereabouts::Elsewhere | Whereabouts::Returned => self.end_in_service(id, false),
            // What ends is no longer what was shown.
            Whereabouts::Terminated | Whereabouts::Terminating | Whereabouts::Detached | Whereabouts::Unproven => {
                self.doubt(id, "unproven", "no activity of the group shows that the instance enters the warm pool");
            }
        }
    }

    /// A way back into the warm pool that is over.
    fn end_in_pool(&mut self, id: ActionId) {
        let reason = Reason::new("in_pool", "the instance is not on its way into the warm pool any more, and lives; its node stays");
        self.end(id, Ending::because(Outcome::Stale, reason));
    }

    /// A launch whose instance lives, and waits for it no longer.
    fn end_in_service(&mut self, id: ActionId, clean: bool) {
        if self.actions.get(&id).is_some_and(|action| action.taken_off) {
            return self.end(id, Ending { letter: true, ..Ending::because(Outcome::Stale, taken_off_reason()) });
        }
        let reason = Reason::new("in_service", "the instance waits no longer, and lives");
        self.end(id, Ending { clean, ..Ending::because(Outcome::Stale, reason) });
    }

    /// What the group's activities prove about an instance that is not listed.
    pub(super) fn take_whereabouts(&mut self, id: ActionId, whereabouts: Whereabouts) {
        let Some(action) = self.actions.get(&id) else { return };
        let (launch, is_ending) = (action.is_launch(), action.ending.is_some());
        if action.ending.as_ref().is_some_and(|ending| ending.outcome == Outcome::Abandoned) {
            return self.abandoned_whereabouts(id, whereabouts);
        }
        if self.is_followed(id) && self.has_followed_enough(id, whereabouts) {
            return self.followed_enough(id);
        }
        if let Some(seen_at) = action.pool_seen_at.filter(|_| action.ending.is_none()) {
            match whereabouts {
                _ if launch => self.take_pool_whereabouts(id, seen_at, whereabouts),
                Whereabouts::Returned => self.end_in_pool(id),
                _ => self.doubt(id, "unproven", "Auto Scaling shows the instance alive, not terminating; its node stays"),
            }
            return;
        }
        match whereabouts {
            // What is shown of the instances may be older than the activity: it has yet to wait, and be completed.
            Whereabouts::Terminating if !launch && self.is_patient(id) => self.look_again(id),
            Whereabouts::Terminated | Whereabouts::Terminating => {
                self.end_gone(id, "terminated", "the group's activities show that the instance was terminated");
            }
            Whereabouts::Detached if launch => {
                self.end(
                    id,
                    Ending::because(Outcome::Stale, Reason::new("detached", "the instance was detached from its group, and lives")),
                );
            }
            Whereabouts::Detached => {
                self.end(id, undeliverable("unproven", "the instance was detached from its group, and lives; its node stays".to_owned()));
            }
            // It was completed already, and has nothing left to begin anew.
            _ if is_ending && self.is_patient(id) => self.confirm_later(id, ActionResult::Continue),
            Whereabouts::EntersPool | Whereabouts::Elsewhere | Whereabouts::Returned | Whereabouts::Unproven => {
                self.doubt(id, "unproven", "Auto Scaling does not list the instance, and no activity of the group shows where it went");
            }
        }
    }

    /// What cannot be true as claimed may be about to become so: look again for the time of patience, then dead-letter it.
    fn doubt(&mut self, id: ActionId, code: &str, detail: &str) {
        if self.is_patient(id) {
            return self.look_again(id);
        }
        let Some(action) = self.actions.get(&id) else { return };
        // A launch that enrolled its node, and whose instance then vanished without proof, owes a disassociation; and so does a termination
        // that Auto Scaling bore out, whose hook is there no more.
        let owed =
            if action.is_launch() { action.association > Association::None } else { action.verified_at.is_some() && action.may_be_left() };
        self.end(id, Ending { owed, ..undeliverable(code, detail.to_owned()) });
    }

    /// Whether what is doubted now has not been doubted for the time of patience, by the looks themselves: what is asked for besides may take
    /// longer, and then the last look is as old as that.
    pub(super) fn is_patient(&mut self, id: ActionId) -> bool {
        let Some(action) = self.actions.get_mut(&id) else { return false };
        let looked_at = action.looked_at;
        looked_at.saturating_sub(*action.doubted_since.get_or_insert(looked_at)) < ms(self.settings.patience)
    }

    fn look_again(&mut self, id: ActionId) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        let delay = action.looking.next_delay(&LOOK_AGAIN, &mut self.rng);
        self.set_stage(id, Stage::LookAgain);
        self.wake_stage_at(id, self.now.mono_ms + ms(delay));
    }

    /// The instance is gone or going: its node must not stay behind.
    pub(super) fn end_gone(&mut self, id: ActionId, code: &str, detail: &str) {
        let ending = Ending {
            disassociate: true,
            clean: true,
            clean_certificate: true,
            ..Ending::because(Outcome::Stale, Reason::new(code, detail))
        };
        self.end(id, ending);
    }

    /// Whether a launch that went into service has its parameter deleted. An instance that entered the warm pool will launch once
    /// more, with the same key.
    pub(super) fn cleans_after_success(&self, id: ActionId) -> bool {
        let Some(action) = self.actions.get(&id) else { return false };
        let Some(route) = action.route else { return false };
        // What was seen counts; what the sender says can keep a key, and never take one.
        let said = action.claim.as_ref().is_some_and(|claim| claim.destination == Some(Place::WarmPool));
        let to_pool = said || action.pool_seen_at.is_some();
        self.settings.route(route).delete_key == DeleteKey::OnSuccess && !to_pool
    }

    /// Holds the named hook against those that the group has.
    fn check_hook(&mut self, id: ActionId) {
        let now = self.now.mono_ms;
        let Some(action) = self.actions.get(&id) else { return };
        let Some(claim) = action.claim.clone() else { return };
        let place = (action.scope, claim.group.clone());
        let launching = claim.transition == Transition::Launching;
        let cache = self.hooks.entry(place.clone()).or_default();
        let age = now.saturating_sub(cache.asked_at);
        if cache.known && age < HOOKS_FRESH_MS {
            if let Some(hook) = cache.hooks.iter().find(|hook| hook.name == claim.hook && hook.launching == launching) {
                let times = HookTimes {
                    heartbeat_ms: u64::from(hook.heartbeat_timeout_s) * 1000,
                    global_ms: u64::from(hook.global_timeout_s) * 1000,
                    continues: hook.default_continue,
                };
                let metadata = hook.metadata.clone();
                let other_hooks = cache.hooks.iter().any(|other| other.launching == launching && other.name != claim.hook);
                if let Some(action) = self.actions.get_mut(&id) {
                    action.metadata = metadata;
                    action.other_hooks = other_hooks;
                }
                return self.hook_is_known(id, times);
            }
            if age < MISSING_HOOK_FRESH_MS {
                let detail = format!("the group {} has no such hook {} for this transition", claim.group, claim.hook);
                return self.doubt(id, "no_such_hook", &detail);
            }
        }
        self.set_stage(id, Stage::Hooks);
        let epoch = self.actions.get(&id).map_or(0, |action| action.epoch);
        let Some(cache) = self.hooks.get_mut(&place) else { return };
        cache.waiting.push((id, epoch));
        if !cache.asking {
            cache.asking = true;
            self.lanes.entry(LaneKey::Hooks(place.0)).or_default().push(now, Ticket::new(Who::Group(place.1)));
        }
    }

    /// A hook ended an action that was kept open by what is known of it: it may have been changed, and is asked for again.
    pub(super) fn doubt_hooks(&mut self, id: ActionId) {
        let Some(action) = self.actions.get(&id).filter(|action| action.hook.is_some()) else { return };
        let Some(claim) = &action.claim else { return };
        if let Some(cache) = self.hooks.get_mut(&(action.scope, claim.group.clone())) {
            cache.known = false;
        }
    }

    /// What DescribeLifecycleHooks said of a group.
    pub(super) fn take_hooks(&mut self, key: LaneKey, group: GroupName, asked_at: u64, answer: Result<Vec<HookFacts>, Failure>) {
        let LaneKey::Hooks(scope) = key else { return };
        let Some(cache) = self.hooks.get_mut(&(scope, group)) else { return };
        cache.asking = false;
        cache.known = true;
        cache.asked_at = asked_at.max(1);
        // A final failure says that there is no such group: then it has no hooks.
        cache.hooks = answer.unwrap_or_default();
        let waiting = std::mem::take(&mut cache.waiting);
        for (id, epoch) in waiting {
            if self.actions.get(&id).is_some_and(|action| action.epoch == epoch && action.stage == Stage::Hooks) {
                self.guard(id, |core| core.check_hook(id));
            }
        }
        // Groups come and go; what nobody has asked about for long is forgotten.
        let now = self.now.mono_ms;
        if self.hooks.len() > 1000 {
            self.hooks.retain(|_, cache| cache.asking || now.saturating_sub(cache.asked_at) < HOOKS_FRESH_MS);
        }
    }

    /// The claim is true: the action is kept open from here on, and its budget is known.
    fn hook_is_known(&mut self, id: ActionId, times: HookTimes) {
        let now = self.now;
        let Some(action) = self.actions.get_mut(&id) else { return };
        let first = action.hook.is_none();
        action.hook = Some(times);
        action.doubted_since = None;
        if first {
            let began_wall = action.began_wall().unwrap_or(now.wall_ms);
            let first_beat = began_wall.saturating_add(jittered(times.heartbeat_ms / 2, &mut self.rng));
            let beat_at = now.mono_of_wall(first_beat).max(now.mono_ms);
            self.timers.set(Timer::Heartbeat(id), &mut action.beat_at, Some(beat_at));
            self.note_delay(now.wall_ms.saturating_sub(began_wall), times.heartbeat_ms);
            if let Some(limit) = self.hook_limit(id) {
                let deadline = self.actions.get(&id).and_then(|action| action.deadline_at);
                self.set_deadline(id, deadline.map(|at| at.min(limit)));
            }
        }
        self.proceed(id);
    }

    /// When the hook's global time-out ends the action whatever we do, less a margin to end it ourselves; none where that should have
    /// happened before the action was taken up: then Auto Scaling, which still shows the instance waiting, is right, and the clock
    /// wrong. One that was to end in our time ends then.
    pub(super) fn hook_limit(&self, id: ActionId) -> Option<u64> {
        let action = self.actions.get(&id)?;
        let times = action.hook?;
        let began_wall = action.began_wall()?;
        // For the last look, the letter and the completion.
        let margin = (3 * self.call_ms()).min(times.global_ms / 4);
        // Reckoned from when it was taken up: the wall clock may be set meanwhile.
        let lasts = began_wall.saturating_add(times.global_ms - margin).saturating_sub(action.taken_up.wall_ms);
        (lasts > 0).then(|| action.taken_up.mono_ms.saturating_add(lasts))
    }

    /// Goes on with an action that was just seen waiting.
    pub(super) fn proceed(&mut self, id: ActionId) {
        let Some(action) = self.actions.get(&id) else { return };
        let Some(claim) = action.claim.clone() else { return };
        let place = (action.scope, claim.instance.clone());
        let ahead = self.turns.get(&place).and_then(|turn| turn.front()).copied();
        let first = ahead == Some(id);
        if first && self.is_perhaps_closed(id) {
            return self.begin_openness(id);
        }
        if self.ends_for_its_time(id) {
            return;
        }
        if !first {
            self.set_stage(id, Stage::Turn);
            // What the one ahead was shown is older than that this one waits.
            if let Some(ahead) = ahead {
                self.guard(ahead, |core| core.nudge(ahead));
            }
            return;
        }
        let Some(action) = self.actions.get(&id) else { return };
        if let SecondChance::GiveUp(failure) = &action.second_chance {
            let reason = Reason::new(failure.code.clone(), failure.detail.clone());
            return self.fail(id, reason);
        }
        match claim.transition {
            Transition::Launching if action.second_chance == SecondChance::TakeOff => self.begin_disassociate(id),
            Transition::Launching if action.certificate.is_some() => self.begin_deliver(id),
            Transition::Launching if action.key.is_some() => self.begin_associate(id),
            Transition::Launching => self.begin_key(id),
            Transition::Terminating if action.to_pool => {
                self.end(id, Ending { complete: Some(ActionResult::Continue), ..Ending::new(Outcome::Kept) });
            }
            Transition::Terminating => {
                let ending = Ending {
                    complete: Some(ActionResult::Continue),
                    disassociate: true,
                    clean: true,
                    clean_certificate: true,
                    ..Ending::new(Outcome::Left)
                };
                self.overtake_followed(&place);
                self.end(id, ending);
            }
        }
    }

    /// The timer of an action's stage has come.
    pub(super) fn stage_is_due(&mut self, id: ActionId) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        action.wake_at = None;
        match action.stage {
            Stage::LookAgain => self.begin_verify(id),
            Stage::Status(..) => self.ask_status(id),
            Stage::Openness => self.openness_is_not_answered(id),
            _ => {}
        }
    }
}

/// Why somebody must see whether a node is there.
pub(super) fn taken_off_reason() -> Reason {
    let detail = "the instance went into service while its node was taken off to be associated anew; see whether it is there";
    Reason::new(Reason::TAKEN_OFF, detail)
}

/// Up to a tenth less than `interval`, so that what began together does not stay together.
pub(super) fn jittered(interval: u64, rng: &mut fastrand::Rng) -> u64 {
    interval - rng.u64(0..=interval / 10)
}
