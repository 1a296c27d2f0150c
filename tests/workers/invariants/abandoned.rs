//! Launches that were abandoned: with cause, each by itself, and no more of a route than are allowed.

use std::collections::BTreeMap;

use enrolld::config::{self, Environment};
use enrolld::simulator::model::autoscaling::ActionState;
use enrolld::simulator::model::faults::Effect;
use enrolld::simulator::model::opsworks_cm::Happened;

use super::Judge;
use crate::plan::{Deed, GROUPS};
use crate::run::Decided;

/// What may lie between a decision and what shows it, in milliseconds.
const BEGINS_MS: u64 = 15_000;

impl Judge<'_> {
    /// Whether there was cause to abandon the launch of a sound instance, by what its worker says the cause was: its time was over, its
    /// server failed it twice, or a service refused it for good. Who died with the answer to its ABANDON said nothing.
    pub(super) fn had_cause(&self, action: &ActionState, closed: u64) -> bool {
        if !self.plan.may_abandon {
            return false;
        }
        let reason = self.outcome.reasons.get(&action.token).map(|reason| reason.split(':').next().unwrap_or_default());
        match reason {
            Some("deadline") => self.was_late(action, closed),
            Some("registrar_failed") => self.failed_twice(action, closed),
            Some(code) => self.refuses_with(code),
            None => self.was_late(action, closed) || self.failed_twice(action, closed) || self.refuses_with(""),
        }
    }

    /// Whether the time of a launch's route was over, counted from when a worker first took it up.
    fn was_late(&self, action: &ActionState, closed: u64) -> bool {
        let route = GROUPS.iter().position(|group| *group == action.group).unwrap_or(0);
        let settings =
            config::parse(&self.plan.config, "the fleet's configuration", &Environment::new()).expect("it was sound").core_settings();
        let timeout = settings.routes.get(route).unwrap_or(&settings.routes[0]).timeout;
        let taken = self.outcome.taken.get(&action.token).copied().unwrap_or(action.began_ms);
        u128::from(closed.saturating_sub(taken)) >= timeout.as_millis()
    }

    /// Whether the server refused two orders of one run to associate the node, or said of them that they failed, and of one at least that.
    fn failed_twice(&self, action: &ActionState, closed: u64) -> bool {
        let log = self.nodes.get(action.instance.as_str()).map(Vec::as_slice).unwrap_or_default();
        let mut failures: BTreeMap<&str, u32> = BTreeMap::new();
        for entry in log.iter().filter(|entry| entry.what == Happened::AssociateFailed && (action.began_ms..=closed).contains(&entry.at_ms))
        {
            *failures.entry(&entry.caller).or_default() += 1;
        }
        // The first of the two may have been refused at once.
        for order in
            self.outcome.refused.iter().filter(|order| order.node == action.instance && (action.began_ms..=closed).contains(&order.at))
        {
            failures.entry(&order.run).and_modify(|count| *count += 1);
        }
        failures.values().any(|count| *count >= 2)
    }

    /// Whether the plan has calls refused with a code, or with any at all.
    fn refuses_with(&self, code: &str) -> bool {
        let poisoned = self.plan.script.iter().any(|(_, deed)| matches!(deed, Deed::Poison { .. }));
        let is_it = |effect: &Effect| matches!(effect, Effect::Error { code: Some(other), .. } if code.is_empty() || other == code);
        poisoned || self.plan.fixture.faults.iter().any(|fault| is_it(&fault.effect))
    }

    /// No run abandons more launches of a route within its window, and none enrolled between them, than the route allows; those apart
    /// that were held before, or that failed for what is never taken for their route's fault.
    pub(super) fn storms(&mut self) {
        let settings =
            config::parse(&self.plan.config, "the fleet's configuration", &Environment::new()).expect("it was sound").core_settings();
        let mut streaks: BTreeMap<(&str, usize), Vec<&Decided>> = BTreeMap::new();
        for one in &self.outcome.decided {
            streaks.entry((one.run.as_str(), one.route)).or_default().push(one);
        }
        for ((run, route), mut decisions) in streaks {
            decisions.sort_by_key(|one| one.at);
            let route = &settings.routes[route];
            let window = u64::try_from(route.abandon_window.as_millis()).expect("it is short") - BEGINS_MS;
            let mut streak: Vec<u64> = Vec::new();
            for one in decisions {
                if !one.abandoned {
                    streak.clear();
                    continue;
                }
                if one.own || self.outcome.held.contains(&(run.to_owned(), one.token.clone())) {
                    continue;
                }
                streak.push(one.at);
                let lately = streak.iter().filter(|at| **at + window >= one.at).count();
                if lately > route.max_abandons as usize {
                    self.complain(format!(
                        "{run} abandoned {lately} launches of {} in a row, and {} may be",
                        route.name, route.max_abandons
                    ));
                }
            }
        }
    }
}
