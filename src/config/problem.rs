//! What is wrong with a configuration, and where: one line each, all of them at once.

use std::fmt;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file; lines and columns count from 1, columns in characters.
    File {
        /// The file as it was named.
        file: String,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// The file as a whole, which could not be read.
    WholeFile(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Variable(name) => f.write_str(name),
            Self::WholeFile(file) => f.write_str(file),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// Which key, such as `route.web.timeout`; empty where the file as a whole is wrong. Escaped and cut, since a key in quotes may be
    /// anything.
    pub key: String,
    /// What is wrong; values from the file are shown escaped and cut.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.wrong, self.right)
    }
}

/// Everything that is wrong with a configuration, in the order of the file, variables last. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self(problems)
    }

    /// The problems, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// What one value is refused with: what is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong; values from the file escaped and cut ([`shown`](crate::names::shown)).
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

impl Refusal {
    /// What is wrong, and what would be right.
    pub fn new(wrong: impl Into<String>, right: impl Into<String>) -> Self {
        Self { wrong: wrong.into(), right: right.into() }
    }
}

/// The longest that the file's own keys and the TOML reader's words are shown, in characters.
const MAX_SAID: usize = 300;

/// Text that may quote the file as it is: control characters are escaped, and what is too long is cut.
pub(super) fn one_line(said: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    said.chars().take(MAX_SAID).map(escaped).collect()
}

/// The known name that an unknown one was probably meant to be.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 3))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_place_key_wrong_right() {
        let problem = Problem {
            place: Place::File { file: "enrolld.toml".into(), line: 3, column: 7 },
            key: "max_open".into(),
            wrong: "-1 is too small".into(),
            right: "write a whole number from 1 to 120000".into(),
        };
        assert_eq!(problem.to_string(), "enrolld.toml:3:7: max_open: -1 is too small; write a whole number from 1 to 120000");
    }

    #[test]
    fn a_near_miss_is_found_and_a_stranger_is_not() {
        let known = ["queue_url", "max_open", "max_calls"];
        assert_eq!(nearest("queue_ulr", known), Some("queue_url"));
        assert_eq!(nearest("maxopen", known), Some("max_open"));
        assert_eq!(nearest("colour", known), None);
    }
}
