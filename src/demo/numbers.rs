//! What the demonstration came to, as the simulator saw it, and whether that is as it should be.

use std::collections::BTreeMap;

use serde::Serialize;

use super::scenario::{Part, Plan, Scenario};

/// Counts from the simulator's state; nothing here is the worker's word.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Numbers {
    /// Instances that were launched.
    pub launched: u64,
    /// Launches that were completed with CONTINUE.
    pub in_service: u64,
    /// Launches that were completed with ABANDON.
    pub abandoned: u64,
    /// Terminations that were completed with CONTINUE.
    pub terminated: u64,
    /// Lifecycle actions that somebody else ended while their message was still in the queue.
    pub stale: u64,
    /// Messages in the dead-letter queue.
    pub dead_lettered: u64,
    /// Lifecycle actions without a result of ours, and messages still in the queue.
    pub lost: u64,
    /// Associations that succeeded on the server.
    pub associations: u64,
    /// Nodes on the server at the end.
    pub nodes_on_server: u64,
    /// CompleteLifecycleAction calls that ended an action.
    pub completions: u64,
    /// CompleteLifecycleAction calls for an action that was completed before.
    pub duplicate_completions: u64,
    /// Calls that the policy which is printed for the worker's configuration does not allow.
    pub beyond_policy: u64,
    /// Calls by operation.
    pub api_calls: BTreeMap<String, u64>,
    /// All of them for each launch that is in service.
    pub api_calls_per_enrolment: f64,
    /// From the first launch to the end.
    pub wall_seconds: f64,
}

impl Numbers {
    /// Sums up the calls, rounded as a person would.
    #[must_use]
    pub fn with_calls(mut self, calls: BTreeMap<String, u64>) -> Self {
        let all: u64 = calls.values().sum();
        #[expect(clippy::cast_precision_loss, reason = "a number of calls")]
        let each = if self.in_service == 0 { 0.0 } else { all as f64 / self.in_service as f64 };
        self.api_calls_per_enrolment = (each * 100.0).round() / 100.0;
        self.api_calls = calls;
        self
    }

    /// What is not as the plan wants it: nothing, if all is well.
    #[must_use]
    pub fn faults(&self, plan: &Plan) -> Vec<String> {
        let nodes = plan.nodes.len() as u64;
        let (unusable, again) = (plan.count(Part::UnusableKey), plan.count(Part::TerminatedAgain));
        let garbage = plan.garbage.len() as u64;
        let mut faults = Vec::new();
        let mut amount = |what: &str, found: u64, wanted: u64, or_more: bool| {
            if found < wanted || (found > wanted && !or_more) {
                let least = if or_more { " at least" } else { "" };
                faults.push(format!("{what}: {found}, and should be {wanted}{least}"));
            }
        };
        amount("instances launched", self.launched, nodes, false);
        amount("launches in service", self.in_service, nodes - unusable, false);
        amount("launches abandoned", self.abandoned, unusable, false);
        amount("terminations let go", self.terminated, again, false);
        amount("nodes left on the server", self.nodes_on_server, nodes - unusable - again, false);
        amount("actions lost", self.lost, 0, false);
        amount("actions that others ended", self.stale, 0, false);
        amount("calls beyond the printed policy", self.beyond_policy, 0, false);
        amount("lifecycle actions completed", self.completions, nodes + again, false);
        // In a storm answers are lost and messages doubled: what was done is done again, with the same result.
        let storm = plan.scenario == Scenario::Storm;
        amount("actions completed twice", self.duplicate_completions, 0, storm);
        amount("associations", self.associations, nodes - unusable, storm);
        // An abandoned launch leaves its message there too, with the reason.
        amount("dead letters", self.dead_lettered, garbage + unusable, storm);
        faults
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What the tour of twelve comes to.
    pub(crate) fn tour() -> Numbers {
        let calls = [("ReceiveMessage", 9), ("AssociateNode", 14), ("CompleteLifecycleAction", 13), ("GetParameters", 8)];
        Numbers {
            launched: 12,
            in_service: 11,
            abandoned: 1,
            terminated: 1,
            dead_lettered: 2,
            associations: 11,
            nodes_on_server: 10,
            completions: 13,
            wall_seconds: 9.8,
            ..Numbers::default()
        }
        .with_calls(calls.map(|(operation, count)| (operation.to_owned(), count)).into())
    }

    #[test]
    fn a_tour_that_went_as_it_should_has_no_fault() {
        assert_eq!(tour().faults(&Plan::new(Scenario::Tour, 12, 1)), Vec::<String>::new());
        assert!((tour().api_calls_per_enrolment - 4.0).abs() < 0.001);
    }

    #[test]
    fn every_number_that_matters_is_missed_when_it_is_wrong() {
        let plan = Plan::new(Scenario::Tour, 12, 1);
        let wrong: [fn(&mut Numbers); 11] = [
            |n| n.launched += 1,
            |n| n.in_service -= 1,
            |n| n.abandoned += 1,
            |n| n.terminated -= 1,
            |n| n.nodes_on_server += 1,
            |n| n.dead_lettered -= 1,
            |n| n.lost += 1,
            |n| n.stale += 1,
            |n| n.completions += 1,
            |n| n.duplicate_completions += 1,
            |n| n.beyond_policy += 1,
        ];
        for change in wrong {
            let mut numbers = tour();
            change(&mut numbers);
            assert_eq!(numbers.faults(&plan).len(), 1, "{numbers:?}");
        }
    }

    #[test]
    fn a_storm_may_associate_twice_but_never_too_little() {
        let plan = Plan::new(Scenario::Storm, 12, 1);
        let mut numbers = Numbers {
            launched: 12,
            in_service: 11,
            abandoned: 1,
            terminated: 1,
            dead_lettered: 6,
            associations: 14,
            nodes_on_server: 10,
            completions: 13,
            duplicate_completions: 2,
            ..Numbers::default()
        };
        assert_eq!(numbers.faults(&plan), Vec::<String>::new());
        numbers.associations = 10;
        assert_eq!(numbers.faults(&plan).len(), 1);
    }

    #[test]
    fn the_json_object_has_every_promised_key() {
        let json = serde_json::to_value(tour()).unwrap();
        for key in [
            "launched",
            "in_service",
            "abandoned",
            "stale",
            "dead_lettered",
            "lost",
            "associations",
            "completions",
            "duplicate_completions",
            "beyond_policy",
            "api_calls",
            "api_calls_per_enrolment",
            "wall_seconds",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!(json["api_calls"]["AssociateNode"], 14);
    }
}
