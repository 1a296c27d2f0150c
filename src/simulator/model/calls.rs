//! How often each operation was called, and how it ended.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::operation::Operation;

/// How a call ended, for the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Processed and answered.
    Ok,
    /// Refused with this code.
    Error(&'a str),
    /// Its connection was dropped before it was processed.
    Dropped,
    /// It was processed (well or not), and its answer was lost.
    AnswerLost,
}

impl Outcome<'_> {
    const fn name(&self) -> &str {
        match self {
            Self::Ok => "ok",
            Self::Error(code) => code,
            Self::Dropped => "dropped",
            Self::AnswerLost => "answer_lost",
        }
    }
}

/// When the calls of one operation came, whatever became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// How many: also those that are not answered yet, such as receives that wait.
    pub count: u64,
    /// The first, in unix milliseconds.
    pub first_ms: u64,
    /// The latest.
    pub last_ms: u64,
    /// The most that came within any one second.
    pub most_in_a_second: usize,
}

/// The counts.
#[derive(Debug, Default)]
pub struct Calls {
    ok: Vec<u64>,
    others: Vec<BTreeMap<String, u64>>,
    arrivals: Vec<Arrivals>,
    /// The arrivals within the last second.
    lately: Vec<VecDeque<u64>>,
}

impl Calls {
    pub(crate) fn new() -> Self {
        let all = Operation::ALL.len();
        Self {
            ok: vec![0; all],
            others: vec![BTreeMap::new(); all],
            arrivals: vec![Arrivals::default(); all],
            lately: vec![VecDeque::new(); all],
        }
    }

    /// A call has come.
    pub(crate) fn arrived(&mut self, operation: Operation, now: u64) {
        let index = operation.index();
        let (arrivals, lately) = (&mut self.arrivals[index], &mut self.lately[index]);
        while lately.front().is_some_and(|at| at + 1000 <= now) {
            lately.pop_front();
        }
        lately.push_back(now);
        arrivals.count += 1;
        if arrivals.first_ms == 0 {
            arrivals.first_ms = now;
        }
        arrivals.last_ms = now;
        arrivals.most_in_a_second = arrivals.most_in_a_second.max(lately.len());
    }

    pub(crate) fn arrivals(&self) -> BTreeMap<String, Arrivals> {
        let came = Operation::ALL.iter().filter(|operation| self.arrivals[operation.index()].first_ms > 0);
        came.map(|operation| (operation.to_string(), self.arrivals[operation.index()])).collect()
    }

    pub(crate) fn count(&mut self, operation: Operation, outcome: Outcome<'_>) {
        let index = operation.index();
        if outcome == Outcome::Ok {
            self.ok[index] += 1;
        } else if let Some(count) = self.others[index].get_mut(outcome.name()) {
            *count += 1;
        } else {
            self.others[index].insert(outcome.name().to_owned(), 1);
        }
    }

    /// How often an operation was called, whatever it ended with.
    #[must_use]
    pub fn of(&self, operation: Operation) -> u64 {
        self.ok[operation.index()] + self.others[operation.index()].values().sum::<u64>()
    }

    pub(crate) fn totals(&self) -> BTreeMap<String, u64> {
        let called = Operation::ALL.iter().filter(|operation| self.of(**operation) > 0);
        called.map(|operation| (operation.to_string(), self.of(*operation))).collect()
    }

    pub(crate) fn outcomes(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let called = Operation::ALL.iter().filter(|operation| self.of(**operation) > 0);
        let of = |operation: &Operation| {
            let mut outcomes = self.others[operation.index()].clone();
            if self.ok[operation.index()] > 0 {
                outcomes.insert("ok".into(), self.ok[operation.index()]);
            }
            (operation.to_string(), outcomes)
        };
        called.map(of).collect()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_in_a_second_is_found_wherever_the_second_begins() {
        let mut calls = Calls::new();
        for at in [10, 900, 1100, 1200, 1899, 1900, 5000] {
            calls.arrived(Operation::GetParameters, at);
        }
        let arrivals = calls.arrivals()["ssm:GetParameters"];
        assert_eq!(arrivals, Arrivals { count: 7, first_ms: 10, last_ms: 5000, most_in_a_second: 4 });
    }
}
