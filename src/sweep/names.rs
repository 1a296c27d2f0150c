//! Where the nodes' names come from: the server's own list, page by page, or a file with one name a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::facts::{ListMark, NodeList};
use crate::names::NodeName;
use crate::registrar::Registrar;
use crate::removal::retried;
use crate::retry::Failure;

/// A longer line is in no file with names.
const LONGEST_LINE: u64 = 4096;

/// Why the names could not be had, or not all of them.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// The file.
    #[error("the file with the names cannot be read")]
    File(#[from] io::Error),
    /// It is not such a file.
    #[error("line {0} of the file with the names is longer than {LONGEST_LINE} bytes; write one name a line")]
    Line(usize),
    /// The server has no list.
    #[error("{0}; give the names with --nodes FILE")]
    Unlisted(&'static str),
    /// It has one, and did not show it.
    #[error("the server did not list its nodes, or not all of them: {0}")]
    Server(Failure),
    /// It began to repeat itself.
    #[error("the server's list of nodes does not end: it named the same place twice in a row")]
    Endless,
    /// Somebody wants it to stop.
    #[error("stopped before all nodes were looked at")]
    Stopped,
}

/// The names, as far as they have been read.
#[derive(Debug)]
pub struct Names {
    source: Source,
    /// Read, and not handed out yet.
    waiting: Vec<String>,
}

#[derive(Debug)]
enum Source {
    Server(Option<ListMark>),
    File { lines: BufReader<File>, read: usize },
    Ended,
}

impl Names {
    /// The names that the server lists.
    #[must_use]
    pub fn listed() -> Self {
        Self { source: Source::Server(None), waiting: Vec::new() }
    }

    /// The names in a file.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn in_file(path: &Path) -> Result<Self, NamesError> {
        Ok(Self { source: Source::File { lines: BufReader::new(File::open(path)?), read: 0 }, waiting: Vec::new() })
    }

    /// Up to `most` names more; none at the end. A name may come twice, and be no node name.
    ///
    /// # Errors
    /// They could not be had.
    pub async fn next(&mut self, registrar: &dyn Registrar, most: usize) -> Result<Option<Vec<String>>, NamesError> {
        while self.waiting.is_empty() {
            match &mut self.source {
                Source::Ended => return Ok(None),
                Source::File { lines, read } => {
                    if !fill(lines, read, most, &mut self.waiting)? {
                        self.source = Source::Ended;
                    }
                }
                Source::Server(mark) => {
                    let after = mark.clone();
                    let list = retried(async || registrar.list(after.as_ref()).await).await.map_err(NamesError::Server)?;
                    let (names, next) = match list {
                        NodeList::Unlisted(why) => return Err(NamesError::Unlisted(why)),
                        NodeList::Page { names, next } => (names, next),
                    };
                    if next.is_some() && next == after {
                        return Err(NamesError::Endless);
                    }
                    self.waiting = names.iter().map(NodeName::to_string).collect();
                    self.source = next.map_or(Source::Ended, |next| Source::Server(Some(next)));
                }
            }
        }
        let rest = self.waiting.split_off(most.min(self.waiting.len()));
        Ok(Some(std::mem::replace(&mut self.waiting, rest)))
    }
}

/// Reads up to `most` lines with something in them; false at the end of the file.
fn fill(lines: &mut impl BufRead, read: &mut usize, most: usize, into: &mut Vec<String>) -> Result<bool, NamesError> {
    while into.len() < most {
        let mut line = Vec::new();
        if lines.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut line)? == 0 {
            return Ok(false);
        }
        *read += 1;
        if line.len() as u64 > LONGEST_LINE {
            return Err(NamesError::Line(*read));
        }
        let line = String::from_utf8_lossy(&line);
        let name = line.trim();
        if !name.is_empty() {
            into.push(name.to_owned());
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_in_parts_and_its_empty_lines_are_left_out() {
        let mut file = &b"a\r\n\n  b \nc"[..];
        let (mut read, mut names) = (0, Vec::new());
        assert!(fill(&mut file, &mut read, 2, &mut names).unwrap());
        assert_eq!(names, ["a", "b"]);
        names.clear();
        assert!(!fill(&mut file, &mut read, 2, &mut names).unwrap());
        assert_eq!((names, read), (vec!["c".to_owned()], 4));
    }

    #[test]
    fn a_file_that_holds_no_names_is_not_read_into_memory() {
        let mut endless = io::BufReader::new(io::repeat(b'x'));
        let error = fill(&mut endless, &mut 0, 10, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, NamesError::Line(1)), "{error}");
    }
}
