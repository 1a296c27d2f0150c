//! How often each operation was called, and how it ended.

use std::collections::BTreeMap;

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

/// The counts.
#[derive(Debug, Default)]
pub struct Calls {
    ok: Vec<u64>,
    others: Vec<BTreeMap<String, u64>>,
}

impl Calls {
    pub(crate) fn new() -> Self {
        Self { ok: vec![0; Operation::ALL.len()], others: vec![BTreeMap::new(); Operation::ALL.len()] }
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
