//! No launch storm: an abandoned launch is launched again, at the user's cost, and fails the same way where the fault is not its own.
//!
//! What says so itself (no such server, access denied, a server that takes no orders) is a fault of the route, and its launches are held
//! at their deadline. What looks like a fault of the node (a key that is refused, an order that is refused for good) is taken for one of
//! the route's when launch after launch ends for the same reason, and none is enrolled between them: a role or an organization that is
//! configured wrong looks like that. In both cases a few are abandoned, and the rest held to their hook's own limit. One of those that
//! failed is tried again from time to time; when a launch is enrolled, all of them are.

use std::collections::VecDeque;

use super::action::{Association, SecondChance, Stage};
use super::call::RouteId;
use super::observation::{Observation, Reason};
use super::settings::OnFailure;
use super::time::ms;
use super::{ActionId, Core, Timer};
use crate::retry::{Class, Failure, Progress};

/// No lifecycle action can be kept open for longer (Auto Scaling: 48 h), in milliseconds.
const LONGEST_ACTION_MS: u64 = 48 * 3600 * 1000;
/// Reasons that are never taken for a fault of the route: a private key must not lie about while its launch is held, what is contested is
/// somebody's deed, and the others have their own way to be held, or to be given back.
const NODES_OWN: [&str; 5] = ["private_key", Failure::FOREIGN_REQUEST, Failure::FOREIGN_CERTIFICATE, "deadline", "internal_error"];

/// How the launches of a route have failed lately.
#[derive(Debug, Default)]
pub(super) struct Streak {
    /// When launches were abandoned for a fault of the route.
    abandoned: VecDeque<u64>,
    /// Why the last launch failed that none was enrolled after.
    code: String,
    /// When launches failed for that reason, one after the other.
    alike: VecDeque<u64>,
    /// Launches that failed so and are held, in the order in which they are tried again.
    parked: VecDeque<ActionId>,
    /// When the next of them is tried again; the timer's slot.
    probe_at: Option<u64>,
    progress: Progress,
}

impl Core {
    /// A launch is at its deadline. Says whether it is held there, since the fault is the route's.
    pub(super) fn hold_rather_than_abandon(&mut self, id: ActionId, reason: &Reason) -> bool {
        let now = self.now.mono_ms;
        let Some(action) = self.actions.get(&id) else { return false };
        let Some(route_id) = action.route else { return false };
        let routes_fault =
            self.servers_trouble(id).is_some() || self.trouble_of(id).is_some_and(|failure| failure.class == Class::RouteFault);
        if !routes_fault || !self.abandons(id) {
            return false;
        }
        let held = action.held;
        let (window, allowed) = self.allowance(route_id);
        // Counted when it is decided: those that are being abandoned now count too.
        let abandoned = &mut self.streaks.entry(route_id).or_default().abandoned;
        forget_before(abandoned, now.saturating_sub(window));
        if held || abandoned.len() < allowed || !self.hold(id, reason) {
            self.streaks.entry(route_id).or_default().abandoned.push_back(now);
            return false;
        }
        true
    }

    /// A launch failed for good. Says whether it is held all the same, since so many before it failed for the same reason and none was
    /// enrolled between them that the fault must be the route's.
    pub(super) fn park_rather_than_abandon(&mut self, id: ActionId, reason: &Reason) -> bool {
        let now = self.now.mono_ms;
        let Some(action) = self.actions.get(&id) else { return false };
        let Some(route_id) = action.route else { return false };
        if !self.abandons(id) || NODES_OWN.contains(&reason.code.as_str()) {
            return false;
        }
        let (held, parked) = (action.held, action.parked);
        let (window, allowed) = self.allowance(route_id);
        let streak = self.streaks.entry(route_id).or_default();
        if streak.code != reason.code {
            streak.code.clone_from(&reason.code);
            streak.alike.clear();
        }
        forget_before(&mut streak.alike, now.saturating_sub(window));
        let holds = parked || (streak.alike.len() >= allowed && (held || self.hold(id, reason)));
        let streak = self.streaks.entry(route_id).or_default();
        if !holds {
            streak.alike.push_back(now);
            return false;
        }
        streak.parked.push_back(id);
        if streak.probe_at.is_none() {
            let delay = streak.progress.next_delay(&self.settings.route_fault, &mut self.rng);
            self.timers.set(Timer::Parked(route_id), &mut streak.probe_at, Some(now + ms(delay)));
        }
        if let Some(action) = self.actions.get_mut(&id) {
            action.parked = true;
            action.cause = Some(Box::new(Failure::new(Class::Final, reason.code.clone(), reason.detail.clone())));
            let step = action.stage.step();
            self.set_stage(id, Stage::Parked(step));
        }
        true
    }

    /// Time to try one of the launches again that are held for what looked like their own fault.
    pub(super) fn parked_is_due(&mut self, route: RouteId) {
        let now = self.now.mono_ms;
        let Some(streak) = self.streaks.get_mut(&route) else { return };
        streak.probe_at = None;
        let tried = loop {
            let Some(id) = streak.parked.pop_front() else { break None };
            if self.actions.get(&id).is_some_and(|action| matches!(action.stage, Stage::Parked(_))) {
                break Some(id);
            }
        };
        let Some(id) = tried else { return };
        let delay = streak.progress.next_delay(&self.settings.route_fault, &mut self.rng);
        self.timers.set(Timer::Parked(route), &mut streak.probe_at, Some(now + ms(delay)));
        self.guard(id, |core| core.try_again(id));
    }

    /// A launch of the route was enrolled: whatever held the others is over.
    pub(super) fn route_works(&mut self, route: RouteId) {
        let Some(streak) = self.streaks.get_mut(&route) else { return };
        streak.alike.clear();
        streak.code.clear();
        streak.progress.reset();
        self.timers.set(Timer::Parked(route), &mut streak.probe_at, None);
        for id in std::mem::take(&mut streak.parked) {
            if self.actions.get(&id).is_some_and(|action| matches!(action.stage, Stage::Parked(_))) {
                self.unhold(id);
                let budget = self.now.mono_ms + ms(self.settings.route(route).timeout);
                let deadline = self.hook_limit(id).map_or(budget, |limit| limit.min(budget));
                self.set_deadline(id, Some(deadline));
                self.guard(id, |core| core.try_again(id));
            }
        }
    }

    /// Begins a held launch anew. What it published may have been mended; but a node that may be associated keeps its key.
    fn try_again(&mut self, id: ActionId) {
        if let Some(action) = self.actions.get_mut(&id)
            && action.association == Association::None
        {
            action.key = None;
        }
        // What it failed with is what is to be tried again, and no reason to give it up once more. It has had its second chance.
        if let Some(action) = self.actions.get_mut(&id)
            && matches!(action.second_chance, SecondChance::GiveUp(_))
        {
            action.second_chance = SecondChance::Taken;
            action.orders = 0;
        }
        self.begin_verify(id);
    }

    /// Holds a launch to its hook's own limit, or as long as its message may be kept where nobody could receive it again; spread over the
    /// window. Says whether there is time for that.
    fn hold(&mut self, id: ActionId, reason: &Reason) -> bool {
        let now = self.now.mono_ms;
        let Some(action) = self.actions.get(&id) else { return false };
        let Some(route) = action.route else { return false };
        // Where the hook was never learned, its limit is the longest that there is.
        let limit = if action.hook.is_some() { self.hook_limit(id) } else { Some(action.taken_up.mono_ms + LONGEST_ACTION_MS) };
        // On its last receive it cannot be given back when SQS's hours are over: it is decided before, and not left to its hook.
        let kept_until = if self.is_last_receive(id) { self.kept_until(id) } else { None };
        let limit = limit.map(|limit| limit.min(kept_until.unwrap_or(u64::MAX)));
        let Some(limit) = limit.filter(|limit| *limit > now) else { return false };
        let (window, _) = self.allowance(route);
        let spread = self.rng.u64(0..=window.min((limit - now) / 2));
        self.set_deadline(id, Some(limit - spread));
        let Some(action) = self.actions.get_mut(&id) else { return false };
        action.held = true;
        *self.held.entry(route).or_default() += 1;
        if let Some(subject) = action.subject() {
            self.observe(Observation::LaunchHeld { subject, reason: reason.clone() });
        }
        true
    }

    /// An action is held no longer.
    pub(super) fn unhold(&mut self, id: ActionId) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        action.parked = false;
        if std::mem::take(&mut action.held)
            && let Some(held) = action.route.and_then(|route| self.held.get_mut(&route))
        {
            *held -= 1;
        }
    }

    /// Whether an action that fails is a launch that its route abandons.
    fn abandons(&self, id: ActionId) -> bool {
        let Some(action) = self.actions.get(&id).filter(|action| action.is_launch()) else { return false };
        action.route.is_some_and(|route| self.settings.route(route).on_failure == OnFailure::Abandon)
    }

    /// How many launches of a route may be abandoned within how many milliseconds.
    fn allowance(&self, route: RouteId) -> (u64, usize) {
        let route = self.settings.route(route);
        (ms(route.abandon_window), usize::try_from(route.max_abandons).unwrap_or(usize::MAX))
    }
}

fn forget_before(times: &mut VecDeque<u64>, since: u64) {
    while times.front().is_some_and(|at| *at < since) {
        times.pop_front();
    }
}
