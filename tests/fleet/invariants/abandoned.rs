//! Launches that were abandoned: with cause, each by itself, and no more of a route than are allowed.

use std::collections::{BTreeMap, HashSet};

use enrolld::core::settings::OnFailure;
use enrolld::simulator::model::agent::{Material, Publish};
use enrolld::simulator::model::autoscaling::ActionState;
use enrolld::simulator::model::opsworks_cm::{Happened, LogEntry, Repeated};

use super::{Judge, route_of};
use crate::plan::SERVERS;
use crate::run::witness::{Decision, Refused, Run, caller};

/// What may lie between a decision and its first call, in milliseconds, beside the time-out of the call that it waits for.
const BEGINS_MS: u64 = 5_000;
/// For so long a completion may wait for its pace, where throttles have slowed that down.
const PACED_MS: u64 = 30_000;
/// How much earlier than it began an action may have begun by the time in its event, in milliseconds: EventBridge tells whole seconds.
const EVENT_MS: u64 = 1_000;
/// A launch that was held for so long is no longer counted with those that were not.
const HELD_MS: u64 = 600_000;

/// Why a launch was abandoned.
pub(super) enum Cause {
    /// Its node's, its route's, its server's or its worker's.
    Own,
    /// Another run's order got in before the second chance's.
    Contended,
}

impl Judge<'_> {
    /// Why a launch was abandoned, or why it should not have been.
    pub(super) fn cause(&self, action: &ActionState, closed: u64) -> Result<Cause, String> {
        let witness = &self.fleet.witness;
        let node = action.instance.as_str();
        let Some(&run) = witness.abandoned_by.get(&action.token) else { return Err("nobody did so".into()) };
        let (material, published) =
            self.fleet.agents.get(node).map_or((&Material::Good, true), |agent| (&agent.material, agent.publish != Publish::Never));
        // What is published must be refused, or was rewritten; or the worker broke again and again.
        let bad = published && (*material != Material::Good || witness.rewritten.get(node).is_some_and(|at| *at <= closed));
        if bad || self.broke_down(run, node, closed) || self.was_kept(run, node, closed) {
            return Ok(Cause::Own);
        }
        let decision = witness.decisions.iter().find(|one| one.run == run && one.token == action.token && one.abandons);
        let decided = decision.map_or(closed, |one| one.at);
        let taken = self.taken_up(run, action, decided);
        let codes = self.fleet.failures.get(&action.token).map_or(&[][..], Vec::as_slice);
        // Who died with the answer to its ABANDON said nothing.
        let says_refused = codes.iter().any(|code| ["registrar_failed", "unknown_status_token"].contains(&code.as_str()));
        let says_late = codes.iter().any(|code| code == "deadline");
        let late = taken.is_some_and(|taken| self.is_over(action, taken, decided)) && (says_late || !says_refused);
        let refused = taken.is_some_and(|taken| self.failed_twice(run, node, (taken, decided)));
        let for_good = witness.refused_for_good.iter().filter(|one| one.run == run && one.instance.as_deref() == Some(node));
        let for_good = taken.is_some_and(|taken| for_good.into_iter().any(|one| (taken..=decided).contains(&one.at)));
        if late || refused || for_good {
            return Ok(Cause::Own);
        }
        if self.was_contended(run, node, closed) {
            return Ok(Cause::Contended);
        }
        let since = taken.map(|taken| (closed - taken) / 1000);
        Err(format!("{codes:?}, {} s after it began, {since:?} s after it was taken up by {run:?}", (closed - action.began_ms) / 1000))
    }

    /// When a run took an action up that it abandoned: when it was first given it after it last let go of it.
    fn taken_up(&self, run: Run, action: &ActionState, decided: u64) -> Option<u64> {
        let of_run = caller(run);
        let ends =
            self.fleet.let_go.iter().filter(|end| {
                *end.run.arn == *of_run && end.at <= decided && end.token.as_ref().is_none_or(|token| *token == action.token)
            });
        let since = ends.map(|end| end.at).max().unwrap_or(0);
        let given = self.fleet.witness.given.get(&action.token)?;
        given.iter().filter(|(at, to)| *to == run && (since..=decided).contains(at)).map(|(at, _)| *at).min()
    }

    /// Whether the time of a launch was over when it was decided to abandon it: its route's, or its hook's own.
    fn is_over(&self, action: &ActionState, taken: u64, decided: u64) -> bool {
        let plan = &self.fleet.plan;
        let timeout = u64::try_from(plan.settings.routes[route_of(&action.group)].timeout.as_millis()).unwrap();
        let skew = plan.skew_ms.iter().map(|skew| skew.unsigned_abs()).max().unwrap_or(0);
        let call_ms = u64::try_from(plan.settings.call_timeout.as_millis()).unwrap();
        let global = (self.heartbeat_timeout(action) * 100).min(48 * 3_600_000);
        // The hook's own limit, as a clock shows it that is off, counted from the whole second in which the event says that it began.
        decided >= taken + timeout || decided + 3 * call_ms + skew + EVENT_MS >= action.began_ms + global
    }

    /// Whether a run met so many panics of its calls about an instance that it was to give up.
    fn broke_down(&self, run: Run, node: &str, closed: u64) -> bool {
        let of_node = |one: &&crate::run::witness::Befell| one.run == run && one.instance.as_deref() == Some(node) && one.at <= closed;
        let panicked = self.fleet.witness.panicked.iter().filter(of_node).count();
        let plan = &self.fleet.plan;
        panicked >= if plan.spares_receives() { 1 } else { plan.settings.max_deliveries as usize }
    }

    /// Whether a server did not let a node go that a run wanted to take off for its second chance.
    fn was_kept(&self, run: Run, node: &str, closed: u64) -> bool {
        let of_run = caller(run);
        let Some(instance) = self.details.instances.get(node) else { return false };
        let server = self.fleet.plan.fixture.servers.iter().find(|server| server.name == SERVERS[route_of(&instance.group)]);
        let kept = |entry: &LogEntry| entry.what == Happened::DisassociateFailed && entry.node == node && entry.caller == of_run;
        server.is_some_and(|server| server.options.removal_failures > 0.0)
            && self.details.associations.iter().any(|entry| kept(entry) && entry.at_ms <= closed)
    }

    /// Whether a run was refused its orders to associate a node at least twice, the last time for no other reason than the server's own: it
    /// failed, or forgot, the order of a node that was not there.
    fn failed_twice(&self, run: Run, node: &str, (from, until): (u64, u64)) -> bool {
        let denies = self.details.instances.get(node).is_none_or(|one| self.may_deny_success(SERVERS[route_of(&one.group)]));
        let of_run = self.fleet.witness.refusals.iter().filter(|one| one.run == run && one.node == node);
        let mut refusals: Vec<_> = of_run.filter(|one| (from..=until).contains(&one.at)).collect();
        // How a disassociation went says nothing.
        refusals.retain(|one| match &one.why {
            Refused::Failed(token) => {
                self.details.associations.iter().any(|entry| entry.what == Happened::AssociateAccepted && *entry.token == *token.as_str())
            }
            Refused::AtOnce | Refused::Forgotten => true,
        });
        refusals.len() >= 2
            && refusals.last().is_some_and(|last| match &last.why {
                Refused::AtOnce => false,
                // A server that takes what is there already for done has failed for its own reasons, whatever was there.
                Refused::Failed(token) => !denies || !self.was_there(node, token.as_str()),
                Refused::Forgotten => true,
            })
    }

    /// Whether a node was there already when an order to associate it was accepted, once everything was done that was accepted before.
    fn was_there(&self, node: &str, token: &str) -> bool {
        let log: Vec<&LogEntry> = self.details.associations.iter().filter(|entry| entry.node == node).collect();
        let Some(at) = log.iter().position(|entry| entry.what == Happened::AssociateAccepted && entry.token == token) else { return false };
        let failed = |token: &str| {
            log.iter().any(|entry| entry.token == token && matches!(entry.what, Happened::AssociateFailed | Happened::DisassociateFailed))
        };
        let accepted =
            log[..at].iter().rev().filter(|entry| matches!(entry.what, Happened::AssociateAccepted | Happened::DisassociateAccepted));
        let before = accepted.into_iter().find(|entry| !failed(&entry.token));
        before.is_some_and(|entry| entry.what == Happened::AssociateAccepted)
    }

    /// Whether this and nothing else made a launch fail twice: after the run had taken the node off for its second chance, another run,
    /// with the same message, got its own order in first, so that the server refused the one after it; and that other run came to its
    /// end, or had to let go of the message, before it could complete, or its calls failed for so long. Who is refused cannot know
    /// whose order it was.
    fn was_contended(&self, run: Run, node: &str, closed: u64) -> bool {
        let refuses = self.details.instances.get(node).is_some_and(|one| self.may_deny_success(SERVERS[route_of(&one.group)]));
        let of_run = caller(run);
        let call_ms = u64::try_from(self.fleet.plan.settings.call_timeout.as_millis()).unwrap();
        let log: Vec<&LogEntry> = self.details.associations.iter().filter(|entry| entry.node == node && entry.at_ms <= closed).collect();
        let hindered = |by: &str, from: u64| {
            let of_node = |one: &&crate::run::witness::Befell| one.instance.as_deref() == Some(node) && (from..=closed).contains(&one.at);
            self.fleet.witness.hindered.iter().filter(of_node).any(|one| caller(one.run) == by)
        };
        // One that its server takes for longer with than with any that this run has seen is not waited for long enough.
        let slow = |entry: &LogEntry| !log.iter().any(|end| end.token == entry.token && end.at_ms > entry.at_ms);
        // Or whose own run was told in turn that it failed, or is not known.
        let refused = |by: &str, from: u64| {
            let of_node = self.fleet.witness.refusals.iter().filter(|one| one.node == node && (from..=closed).contains(&one.at));
            of_node.into_iter().any(|one| caller(one.run) == by)
        };
        let got_in = |entry: &LogEntry| {
            let anothers = entry.what == Happened::AssociateAccepted && entry.caller != of_run;
            // Its order may have been on the way when it came to its end.
            let (by, from) = (entry.caller.as_str(), entry.at_ms.saturating_sub(call_ms));
            anothers && (slow(entry) || hindered(by, from) || refused(by, from) || self.let_go(by, node, from, closed))
        };
        // It was taken off, or the server said that there was nothing to take off: another run had done so just before.
        let taken_off = log.iter().filter(|entry| entry.what == Happened::DisassociateAccepted && entry.caller == of_run);
        let not_there = self.fleet.witness.not_there.iter().filter(|one| one.run == run && one.instance.as_deref() == Some(node));
        let mut off = taken_off.map(|entry| entry.at_ms).chain(not_there.map(|one| one.at));
        // It may have been accepted just before, and been carried out after.
        let ends = |entry: &LogEntry| log.iter().filter(|end| end.token == entry.token).map(|end| end.at_ms).max().unwrap_or(0);
        refuses && off.any(|off| self.waits_for_launch(node, off) && log.iter().any(|entry| ends(entry) >= off && got_in(entry)))
    }

    /// No run abandons more launches of a route within its window, and none enrolled between them, than the route allows; those apart that
    /// were held before.
    pub(super) fn storms(&mut self) {
        let settings = &self.fleet.plan.settings;
        let call_ms = u64::try_from(settings.call_timeout.as_millis()).unwrap();
        let mut streaks: BTreeMap<(Run, usize), Vec<&Decision>> = BTreeMap::new();
        let mut broken = Vec::new();
        // Long before a launch is seen to be completed, where calls must wait, its run knows that the route enrols.
        let mut successes = self.fleet.witness.succeeded.iter().peekable();
        let mut enrolled_at: BTreeMap<(Run, usize), u64> = BTreeMap::new();
        let associates: HashSet<&str> =
            self.details.associations.iter().filter(|entry| entry.what == Happened::AssociateAccepted).map(|entry| &*entry.token).collect();
        for one in &self.fleet.witness.decisions {
            while let Some((at, run, route, token)) = successes.next_if(|(at, ..)| *at <= one.at) {
                if associates.contains(token.as_str()) {
                    streaks.entry((*run, *route)).or_default().clear();
                    enrolled_at.insert((*run, *route), *at);
                }
            }
            let route = &settings.routes[one.route];
            if route.on_failure != OnFailure::Abandon {
                continue;
            }
            let streak = streaks.entry((one.run, one.route)).or_default();
            if !one.abandons {
                streak.clear();
                continue;
            }
            if self.is_nodes_own(one) {
                continue;
            }
            // It may have been decided before, its letter have waited for its call, and its completion for a pace that is slowed down.
            if enrolled_at.get(&(one.run, one.route)).is_some_and(|at| one.at < at + call_ms + PACED_MS) {
                continue;
            }
            let window = u64::try_from(route.abandon_window.as_millis()).unwrap();
            streak.push(one);
            // The letter has the time of one call, and the completion after it waits for its own.
            let since = one.at.saturating_sub(window.saturating_sub(2 * call_ms + BEGINS_MS));
            let lately = streak.iter().filter(|one| one.at >= since).count();
            self.most_abandoned = self.most_abandoned.max(lately as u64);
            if lately > route.max_abandons as usize {
                let (run, at) = (one.run, one.at);
                broken.push(format!(
                    "{run:?} abandoned {lately} launches of {} within {window} ms until {at}, and {} may be",
                    route.name, route.max_abandons
                ));
            }
        }
        self.broken.append(&mut broken);
    }

    /// Whether a launch is abandoned for what is never taken for its route's fault, or was held to its hook's own limit.
    fn is_nodes_own(&self, one: &Decision) -> bool {
        let private = self.fleet.agents.get(&one.instance).is_some_and(|agent| agent.material == Material::PrivateKey);
        let held = self.fleet.witness.held.iter().filter(|held| held.run == one.run && held.instance.as_ref() == Some(&one.instance));
        let held = held.filter(|held| held.at <= one.at).map(|held| held.at).min();
        let long = held.is_some_and(|held| one.at >= held + HELD_MS || self.fleet.plan.spares_receives());
        private || long || self.broke_down(one.run, &one.instance, one.at)
    }

    /// Whether a server may say of an association that stands that it failed, or that it knows nothing of it.
    pub(super) fn may_deny_success(&self, server: &str) -> bool {
        let of_name = self.fleet.plan.fixture.servers.iter().find(|known| known.name == server);
        let forgets = !self.fleet.plan.outages.missing_server.is_empty();
        of_name
            .is_some_and(|server| server.options.repeated != Repeated::Success || server.options.token_known_ms < super::SEEN_MS || forgets)
    }
}
