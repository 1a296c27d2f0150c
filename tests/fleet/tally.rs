//! What a number of runs came to, so that one that exercises nothing is seen.

use std::collections::BTreeMap;
use std::fmt;

use crate::invariants::Verdict;
use crate::plan::documented;
use crate::run::{Fate, Fleet};
use crate::services::in_words;

/// Every operation that some fleet must make use of.
const OPERATIONS: [&str; 19] = [
    "Associate",
    "AssociationStatus",
    "ChangeMessageVisibilityBatch",
    "CheckHealth",
    "CompleteLifecycleAction",
    "DeleteMessageBatch",
    "DeleteParameters",
    "DescribeAutoScalingInstances",
    "DescribeLifecycleHooks",
    "DescribeScalingActivities",
    "Disassociate",
    "GetCommandInvocation",
    "GetParameters",
    "GetQueueAttributes",
    "PutParameter",
    "ReceiveMessage",
    "RecordLifecycleActionHeartbeat",
    "SendCommand",
    "SendMessage",
];

/// Counts over many runs.
#[derive(Default)]
pub struct Tally {
    pub seeds: u64,
    pub actions: u64,
    pub calls: u64,
    pub crashes: u64,
    pub timed_out: u64,
    pub excuses: BTreeMap<&'static str, u64>,
    pub letters: u64,
    pub excused: u64,
    pub told: u64,
    pub owed: u64,
    pub most_abandoned: u64,
    pub fates: BTreeMap<Fate, u64>,
    pub outcomes: BTreeMap<&'static str, u64>,
    pub reasons: BTreeMap<String, u64>,
    pub deeds: BTreeMap<&'static str, u64>,
    pub operations: BTreeMap<&'static str, u64>,
    /// Errors that the services document, and how often they were met.
    pub met: BTreeMap<String, u64>,
    /// Seeds in which something did not hold, and what.
    pub broken: Vec<(u64, Vec<String>)>,
}

impl Tally {
    /// Adds one run.
    pub fn take(&mut self, seed: u64, fleet: &Fleet, verdict: Verdict) {
        self.seeds += 1;
        self.actions += verdict.actions;
        self.timed_out += verdict.timed_out;
        self.letters += verdict.letters;
        self.excused += verdict.excused;
        self.told += verdict.told;
        self.owed += verdict.owed;
        self.most_abandoned = self.most_abandoned.max(verdict.most_abandoned);
        self.calls += fleet.calls;
        self.crashes += fleet.crashes;
        add(&mut self.excuses, &verdict.excuses);
        add(&mut self.fates, &fleet.fates);
        add(&mut self.outcomes, &fleet.outcomes);
        add(&mut self.reasons, &fleet.reasons);
        add(&mut self.deeds, &fleet.deeds);
        add(&mut self.operations, &fleet.services.counts);
        add(&mut self.met, &fleet.services.met);
        if !verdict.broken.is_empty() {
            self.broken.push((seed, verdict.broken));
        }
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.actions += other.actions;
        self.calls += other.calls;
        self.crashes += other.crashes;
        self.timed_out += other.timed_out;
        self.letters += other.letters;
        self.excused += other.excused;
        self.told += other.told;
        self.owed += other.owed;
        self.most_abandoned = self.most_abandoned.max(other.most_abandoned);
        add(&mut self.excuses, &other.excuses);
        add(&mut self.fates, &other.fates);
        add(&mut self.outcomes, &other.outcomes);
        add(&mut self.reasons, &other.reasons);
        add(&mut self.deeds, &other.deeds);
        add(&mut self.operations, &other.operations);
        add(&mut self.met, &other.met);
        self.broken.extend(other.broken);
    }

    /// What every larger number of runs must have seen, and these have not.
    pub fn missing(&self) -> Vec<String> {
        let outcomes = [
            "abandoned",
            "continued",
            "dead_lettered",
            "enrolled",
            "ignored",
            "kept",
            "lease_lost",
            "left",
            "left_behind",
            "released",
            "stale",
            "test",
        ];
        let deeds = [
            "crash",
            "detach",
            "forgery",
            "launch",
            "launch into pool",
            "leave pool",
            "maintenance",
            "pause",
            "repetition",
            "return to pool",
            "rewriting",
            "shutdown",
            "standby",
            "terminate",
        ];
        let outcomes = outcomes.iter().filter(|name| !self.outcomes.contains_key(*name)).map(|name| format!("outcome {name}"));
        let deeds = deeds.iter().filter(|name| !self.deeds.contains_key(*name)).map(|name| format!("deed {name}"));
        let fates = Fate::ALL.iter().filter(|fate| !self.fates.contains_key(fate)).map(|fate| format!("fate {fate:?}"));
        let errors =
            documented().map(|error| in_words(&error)).filter(|name| !self.met.contains_key(name)).map(|name| format!("error {name}"));
        let operations = OPERATIONS.iter().filter(|name| !self.operations.contains_key(*name)).map(|name| format!("call of {name}"));
        outcomes.chain(deeds).chain(fates).chain(errors).chain(operations).collect()
    }
}

fn add<K: Ord + Clone>(all: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (name, count) in more {
        *all.entry(name.clone()).or_default() += count;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds, {} lifecycle actions ({} timed out), {} calls, {} workers killed, {} dead letters, {} excused, {} missing and told of, {} left and owed, {} abandoned in a row at most",
            self.seeds,
            self.actions,
            self.timed_out,
            self.calls,
            self.crashes,
            self.letters,
            self.excused,
            self.told,
            self.owed,
            self.most_abandoned
        )?;
        writeln!(f, "timed out since: {:?}", self.excuses)?;
        writeln!(f, "calls ended: {:?}", self.fates)?;
        writeln!(f, "carried out: {:?}", self.operations)?;
        writeln!(f, "errors met: {:?}", self.met)?;
        writeln!(f, "done to them: {:?}", self.deeds)?;
        writeln!(f, "outcomes: {:?}", self.outcomes)?;
        write!(f, "reasons: {:?}", self.reasons)
    }
}
