//! What came of each node, in a line for people and as JSON for programs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::dead_letters::Said;
use crate::names::{GroupName, InstanceId};

/// What became, or would become, of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This group's activities show that its instance was terminated.
    Gone(GroupName),
    /// The same, and it was taken off its server.
    Disassociated,
    /// Its instance is in its group, and not on its way out.
    Alive,
    /// Its instance was detached from its group, and may live.
    Detached,
    /// Its instance is on its way out: a worker's business.
    Terminating,
    /// Auto Scaling does not list its instance, and no activity shows what became of it.
    Unproven,
    /// More than one instance could have this name.
    Ambiguous,
    /// The route never gives this name.
    Foreign,
    /// Something went wrong with it, and it was left.
    Failed(Said),
    /// It is proven gone, and its turn did not come before the end.
    NotReached,
}

impl Verdict {
    /// Every word that [`word`](Self::word) has, in the order in which they are counted.
    pub const WORDS: [&str; 10] = [
        "disassociated",
        "would_disassociate",
        "failed",
        "not_reached",
        "terminating",
        "detached",
        "unproven",
        "ambiguous",
        "alive",
        "foreign",
    ];

    pub(super) fn failed(why: impl AsRef<str>) -> Self {
        Self::Failed(Said::new(why.as_ref()))
    }

    /// The verdict in a word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Gone(_) => "would_disassociate",
            Self::Disassociated => "disassociated",
            Self::Alive => "alive",
            Self::Detached => "detached",
            Self::Terminating => "terminating",
            Self::Unproven => "unproven",
            Self::Ambiguous => "ambiguous",
            Self::Foreign => "foreign",
            Self::Failed(_) => "failed",
            Self::NotReached => "not_reached",
        }
    }

    /// Whether a person wants to read of it: not that one of ten thousand nodes is as it should be.
    #[must_use]
    pub fn is_news(&self) -> bool {
        !matches!(self, Self::Alive | Self::Foreign)
    }

    /// Whether what was asked for was not done.
    #[must_use]
    pub fn is_undone(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::NotReached)
    }

    fn said(&self) -> String {
        match self {
            Self::Gone(group) => {
                format!("the scaling activities of {} show that its instance was terminated", Said::new(group.as_str()))
            }
            Self::Disassociated => "its instance was terminated, and it was taken off its server".to_owned(),
            Self::Alive => "its instance is in its group".to_owned(),
            Self::Detached => "alive, as far as is known: its instance was detached from its group, which no hook tells of".to_owned(),
            Self::Terminating => "its instance is on its way out; the worker takes it off".to_owned(),
            Self::Unproven => {
                "Auto Scaling does not list its instance, and nothing shows that it was terminated; settle it by hand".to_owned()
            }
            Self::Ambiguous => "more than one instance could have this name; settle it by hand".to_owned(),
            Self::Foreign => "the route gives no node this name".to_owned(),
            Self::Failed(why) => why.as_str().to_owned(),
            Self::NotReached => "its turn did not come".to_owned(),
        }
    }
}

/// One node, and what came of it.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Its name, fit to be shown.
    pub node: Said,
    /// Its instance, where the name tells.
    pub instance: Option<InstanceId>,
    /// What came of it.
    pub verdict: Verdict,
}

impl Finding {
    /// A line for people.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{:<18}  {}  {}", self.verdict.word().replace('_', " "), self.node, self.verdict.said())
    }

    /// The same as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "node": self.node,
            "instance": self.instance.as_ref().map(InstanceId::as_str),
            "result": self.verdict.word(),
            "said": self.verdict.said(),
        })
    }
}

/// How many nodes had each verdict.
#[derive(Debug, Clone, Default)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// Counts one more.
    pub fn note(&mut self, finding: &Finding) {
        *self.0.entry(finding.verdict.word()).or_default() += 1;
    }

    /// How many had this verdict, by [`Verdict::word`].
    #[must_use]
    pub fn of(&self, word: &str) -> u64 {
        self.0.get(word).copied().unwrap_or(0)
    }

    /// Those that there were, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let said: Vec<String> = Verdict::WORDS
            .iter()
            .filter(|word| self.of(word) > 0)
            .map(|word| format!("{} {}", self.of(word), word.replace('_', " ")))
            .collect();
        if said.is_empty() { "no nodes".to_owned() } else { said.join(", ") }
    }

    /// All of them, as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        Verdict::WORDS.iter().map(|word| ((*word).to_owned(), json!(self.of(word)))).collect::<serde_json::Map<_, _>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_neither_moves_the_cursor_nor_forges_a_line() {
        let finding = Finding { node: Said::new("\u{1b}[2J\r\nFORGED\u{202e}"), instance: None, verdict: Verdict::Foreign };
        for shown in [finding.line(), finding.json().to_string()] {
            assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
        }
    }

    #[test]
    fn every_verdict_is_counted_under_its_word() {
        let group = GroupName::new("web").unwrap();
        let all = [
            Verdict::Gone(group),
            Verdict::Disassociated,
            Verdict::Alive,
            Verdict::Detached,
            Verdict::Terminating,
            Verdict::Unproven,
            Verdict::Ambiguous,
            Verdict::Foreign,
            Verdict::failed("x"),
            Verdict::NotReached,
        ];
        let mut counts = Counts::default();
        for verdict in all {
            counts.note(&Finding { node: Said::new("n"), instance: None, verdict });
        }
        assert!(Verdict::WORDS.iter().all(|word| counts.of(word) == 1), "{}", counts.words());
    }
}
