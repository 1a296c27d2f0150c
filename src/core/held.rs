//! No launch storm: an abandoned launch is launched again, at the user's cost, and fails the same way where the fault is not its own.
//!
//! What says so itself (no such server, access denied, a server that takes no orders, a service of AWS that answers nobody) is a fault
//! of the route. What looks like a fault of the node (a key that is refused or never comes, an order that is refused for good) is taken for
//! one of the route's when launch after launch fails and none is enrolled between them, for whatever reasons: a role, a key's name or
//! an organization that is configured wrong looks like that. In both cases a few are abandoned within the window, and the rest held to their
//! hook's own limit. Of those that failed one is tried again from time to time, and those that waited in vain wait on; when a launch is
//! enrolled, all of them go on.

use std::collections::{HashSet, VecDeque};

use super::action::{Action, Association, Over, SecondChance, Stage};
use super::call::RouteId;
use super::observation::{Observation, Reason};
use super::settings::OnFailure;
use super::time::ms;
use super::{ActionId, Core, Timer};
use crate::names::LifecycleActionToken;
use crate::retry::{Class, Failure, Progress};

/// No lifecycle action can be kept open for longer (Auto Scaling: 48 h), in milliseconds.
const LONGEST_ACTION_MS: u64 = 48 * 3600 * 1000;
/// Reasons that are never taken for a fault of the route: a private key must not lie about while its launch is held, what is contested is
/// somebody's deed, and what is over its time has its own way to be held. A foreign node object is not among them: it is somebody's deed too, but
/// one that a right we lack, or a group that we may not see, looks like at every node.
const NODES_OWN: [&str; 4] = ["private_key", Failure::FOREIGN_REQUEST, Failure::FOREIGN_CERTIFICATE, "deadline"];

/// How the launches of a route have failed lately.
#[derive(Debug, Default)]
pub(super) struct Streak {
    /// When launches were abandoned for what was plainly a fault of the route. An enrolment between them does not say that it is mended:
    /// a server that comes and goes enrols a few.
    routes_own: VecDeque<u64>,
    /// When launches were abandoned, for whatever reason, one after the other: none was enrolled between them.
    in_a_row: VecDeque<u64>,
    /// Launches that failed so and are held, in the order in which they are tried again.
    parked: VecDeque<ActionId>,
    /// Those of them that are being tried again, or have been: one may wait for its key anew.
    tried: Vec<ActionId>,
    /// Launches in line for their server whose time is over, and which are looked at once more before they are abandoned.
    looks: Vec<ActionId>,
    /// Launches that are held though they only waited in vain: they wait on.
    waiting: Vec<ActionId>,
    /// Launches that were held when their messages had to be given back, and are held on when those come again.
    given_back: GivenBack,
    /// When the next of them is tried again; the timer's slot.
    probe_at: Option<u64>,
    progress: Progress,
}

/// The tokens of launches that were held, the latest of them.
#[derive(Debug, Default)]
struct GivenBack {
    tokens: HashSet<LifecycleActionToken>,
    order: VecDeque<LifecycleActionToken>,
}

impl GivenBack {
    /// Keeps one more in mind, and no more than `most`.
    fn add(&mut self, token: LifecycleActionToken, most: usize) {
        if self.tokens.insert(token.clone()) {
            self.order.push_back(token);
        }
        while self.order.len() > most
            && let Some(oldest) = self.order.pop_front()
        {
            self.tokens.remove(&oldest);
        }
    }
}

impl Core {
    /// A launch is at its deadline. Says whether it is held there, since the fault is the route's, or looks like it.
    pub(super) fn hold_rather_than_abandon(&mut self, id: ActionId, over: &Over) -> bool {
        let Some(action) = self.actions.get(&id) else { return false };
        let Some(route_id) = action.route else { return false };
        if !self.abandons(id) {
            return false;
        }
        let routes_fault = over.routes_fault;
        if !self.would_hold(id, routes_fault) || !self.hold(id, &over.reason) {
            self.count_abandonment(route_id, routes_fault);
            return false;
        }
        let waiting = &mut self.streaks.entry(route_id).or_default().waiting;
        // Those that have ended are struck off from time to time.
        if waiting.len() > 2 * self.held.get(&route_id).map_or(0, |held| *held as usize) {
            waiting.retain(|id| self.actions.contains_key(id));
        }
        waiting.push(id);
        if let Some(action) = self.actions.get_mut(&id) {
            action.parked |= !routes_fault;
        }
        true
    }

    /// Whether a launch whose time is over would be held, and is not yet, if its hook leaves time for that.
    pub(super) fn would_hold(&mut self, id: ActionId, routes_fault: bool) -> bool {
        let Some(action) = self.actions.get(&id).filter(|action| !action.held) else { return false };
        let Some(route_id) = action.route else { return false };
        self.abandons(id) && (self.was_held(id) || self.is_spent(route_id, routes_fault))
    }

    /// Whether a launch was held when its message was last given back, and nothing has shown since that its route works.
    fn was_held(&self, id: ActionId) -> bool {
        let Some(action) = self.actions.get(&id) else { return false };
        let streak = action.route.and_then(|route| self.streaks.get(&route));
        streak.zip(action.claim.as_ref()).is_some_and(|(streak, claim)| streak.given_back.tokens.contains(&claim.token))
    }

    /// The messages of an action go back to the queue. One that is held must be so when they come again: SQS lets nobody keep a message
    /// for longer than 12 hours, and the window within which others were abandoned is over by then.
    pub(super) fn remember_held(&mut self, id: ActionId) {
        let Some(action) = self.actions.get(&id).filter(|action| action.held) else { return };
        let (Some(route), Some(claim)) = (action.route, &action.claim) else { return };
        self.streaks.entry(route).or_default().given_back.add(claim.token.clone(), self.settings.max_open);
    }

    /// A launch failed for good. Says whether it is held all the same, since so many before it failed and none was enrolled between them
    /// that the fault must be the route's.
    pub(super) fn park_rather_than_abandon(&mut self, id: ActionId, reason: &Reason) -> bool {
        let now = self.now.mono_ms;
        let Some(action) = self.actions.get(&id) else { return false };
        let Some(route_id) = action.route else { return false };
        if !self.abandons(id) || NODES_OWN.contains(&reason.code.as_str()) {
            return false;
        }
        let (held, parked) = (action.held, action.parked);
        let holds = parked || ((self.was_held(id) || self.is_spent(route_id, false)) && (held || self.hold(id, reason)));
        if !holds {
            self.count_abandonment(route_id, false);
            return false;
        }
        let streak = self.streaks.entry(route_id).or_default();
        // Who was looked at meanwhile, and failed again, has its place.
        if !streak.parked.contains(&id) {
            streak.parked.push_back(id);
        }
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

    /// Whether what a launch waits for is in trouble for others too: its server, or an operation that nothing went through since it failed.
    /// So it is where its server takes orders, and fewer than there are: whoever still stands in line at the end of its time is there
    /// for no reason of its own.
    pub(super) fn is_routes_fault(&self, id: ActionId) -> bool {
        let own = self.trouble_of(id).is_some_and(|failure| failure.class == Class::RouteFault);
        let in_line = self.actions.get(&id).is_some_and(|action| is_in_line(action) && action.ordering.is_none());
        own || in_line || self.servers_trouble(id).is_some() || self.lanes_trouble(id).is_some()
    }

    /// Whether as many launches of the route were abandoned within the window as may be: for a fault of the route, or in a row.
    fn is_spent(&mut self, route: RouteId, routes_fault: bool) -> bool {
        let (window, allowed) = self.allowance(route);
        let since = self.now.mono_ms.saturating_sub(window);
        let streak = self.streaks.entry(route).or_default();
        forget_before(&mut streak.routes_own, since);
        forget_before(&mut streak.in_a_row, since);
        // Those that will be: one that is not may be held instead, which costs nobody anything.
        streak.looks.retain(|id| self.actions.get(id).is_some_and(|action| action.over.is_some()));
        let looks = streak.looks.len();
        streak.in_a_row.len() + looks >= allowed || (routes_fault && streak.routes_own.len() + looks >= allowed)
    }

    /// A launch leaves its line to be looked at once more, and is counted with those that are abandoned until that is decided.
    pub(super) fn count_look(&mut self, id: ActionId) {
        if let Some(route) = self.route_of(id) {
            self.streaks.entry(route).or_default().looks.push(id);
        }
    }

    /// Counted when it is decided: those that are being abandoned now count too.
    fn count_abandonment(&mut self, route: RouteId, routes_fault: bool) {
        let now = self.now.mono_ms;
        let streak = self.streaks.entry(route).or_default();
        streak.in_a_row.push_back(now);
        if routes_fault {
            streak.routes_own.push_back(now);
        }
    }

    /// Time to try one of the launches again that are held for what looked like their own fault.
    pub(super) fn parked_is_due(&mut self, route: RouteId) {
        let now = self.now.mono_ms;
        let Some(streak) = self.streaks.get_mut(&route) else { return };
        streak.probe_at = None;
        streak.tried.retain(|id| self.actions.get(id).is_some_and(|action| action.parked && !matches!(action.stage, Stage::Parked(_))));
        let tried = loop {
            let Some(id) = streak.parked.pop_front() else { break None };
            streak.tried.push(id);
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
        streak.in_a_row.clear();
        streak.given_back = GivenBack::default();
        streak.progress.reset();
        self.timers.set(Timer::Parked(route), &mut streak.probe_at, None);
        let parked: Vec<ActionId> = std::mem::take(&mut streak.parked).into_iter().chain(std::mem::take(&mut streak.tried)).collect();
        let waiting = std::mem::take(&mut streak.waiting);
        for id in parked.into_iter().chain(waiting) {
            let Some(action) = self.actions.get_mut(&id).filter(|action| action.held && action.ending.is_none()) else { continue };
            // Whoever stands in line for its server has its time when that takes its order: with thousands before it, that may be long.
            if is_in_line(action) {
                action.parked = false;
                continue;
            }
            // One that is only looked at, or will be, has still what it failed with; but the pause before a node is taken off is no pause to be
            // cut short. The others are at it already, or wait on.
            let has_failed = match action.stage {
                Stage::Parked(_) | Stage::Verify | Stage::Hooks | Stage::Whereabouts => true,
                Stage::LookAgain | Stage::Openness => action.second_chance != SecondChance::TakeOff,
                _ => false,
            };
            let begins = action.parked && has_failed;
            self.has_time_again(id, route);
            if begins {
                self.guard(id, |core| core.try_again(id));
            }
        }
    }

    /// A launch's server took its order. If it was held for the server, what held it is over.
    pub(super) fn is_taken(&mut self, id: ActionId) {
        let Some(action) = self.actions.get(&id).filter(|action| action.held && !action.parked && action.ending.is_none()) else { return };
        if let Some(route) = action.route {
            self.has_time_again(id, route);
        }
    }

    /// A launch that was held has its route's time anew.
    fn has_time_again(&mut self, id: ActionId, route: RouteId) {
        self.unhold(id);
        if let Some(action) = self.actions.get_mut(&id) {
            action.over = None;
        }
        let budget = self.now.mono_ms + ms(self.settings.route(route).timeout);
        let deadline = self.hook_limit(id).map_or(budget, |limit| limit.min(budget));
        self.set_deadline(id, Some(deadline));
    }

    /// Begins a held launch anew. What it published may have been mended; but a node that may be associated keeps its key.
    fn try_again(&mut self, id: ActionId) {
        if let Some(action) = self.actions.get_mut(&id)
            && action.association == Association::None
        {
            action.key = None;
        }
        // What it failed with is what is to be tried again, and no reason to give it up once more. It has its second chance again: its last
        // order may have been carried out although nobody could say so, and then a refusal of the next means just that.
        if let Some(action) = self.actions.get_mut(&id)
            && matches!(action.second_chance, SecondChance::GiveUp(_))
        {
            action.second_chance = SecondChance::Unused;
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
        let limit = match action.hook {
            // Where the clock says that the hook must have ended, and the instance was seen waiting, the clock is wrong: by how much, nobody
            // can say, and it is held for as long as the hook could last if it had begun now.
            Some(times) => self.hook_limit(id).unwrap_or(now + times.global_ms),
            // Where the hook was never learned, its limit is the longest that there is.
            None => action.taken_up.mono_ms + LONGEST_ACTION_MS,
        };
        let limit = limit.min(self.must_end_by(id).unwrap_or(u64::MAX));
        if limit <= now {
            return false;
        }
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

    /// When an action ends at the latest: at its hook's limit, if that is known; and on its last receive it cannot be given back when SQS's
    /// hours are over: it is decided before, and not left to its hook.
    pub(super) fn must_end_by(&self, id: ActionId) -> Option<u64> {
        let kept_until = if self.is_last_receive(id) { self.kept_until(id) } else { None };
        self.hook_limit(id).into_iter().chain(kept_until).min()
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

/// Whether an action stands in line for its server, or has its sighting renewed for its turn there.
fn is_in_line(action: &Action) -> bool {
    matches!(action.stage, Stage::Associate | Stage::Disassociate) || action.renewing
}

fn forget_before(times: &mut VecDeque<u64>, since: u64) {
    while times.front().is_some_and(|at| *at < since) {
        times.pop_front();
    }
}
