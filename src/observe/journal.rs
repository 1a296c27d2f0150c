//! Lines for systemd's journal: each begins with its priority (`<4>`, sd-daemon(3)), which the journal takes off and sorts by. Only where standard
//! error is the journal itself: anywhere else the mark would stand in the line.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::sink::Sink;

/// Makes a writer for each line.
#[derive(Clone)]
pub(super) struct Lines {
    pub(super) sink: Sink,
    pub(super) with_priority: bool,
}

/// Writes one line.
pub(super) struct Line {
    sink: Sink,
    priority: &'static str,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { sink: self.sink.clone(), priority: "" }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        let priority = match *metadata.level() {
            _ if !self.with_priority => "",
            Level::ERROR => "<3>",
            Level::WARN => "<4>",
            Level::INFO => "<6>",
            Level::DEBUG | Level::TRACE => "<7>",
        };
        Line { sink: self.sink.clone(), priority }
    }
}

/// `tracing` hands over each line whole.
impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.priority.is_empty() {
            self.sink.lines(line);
        } else {
            self.sink.lines(&[self.priority.as_bytes(), line].concat());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether standard error is the stream that `JOURNAL_STREAM` names by device and inode (systemd.exec(5)).
pub(super) fn is_journal(variable: Option<&str>) -> bool {
    let named = variable.and_then(|text| text.split_once(':'));
    let Some((Ok(device), Ok(inode))) = named.map(|(device, inode)| (device.parse::<u64>(), inode.parse::<u64>())) else { return false };
    let file = io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from);
    file.and_then(|file| file.metadata()).is_ok_and(|facts| (facts.dev(), facts.ino()) == (device, inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_that_is_named_is_the_journal() {
        for not in [None, Some(""), Some("1"), Some("1:2"), Some("a:b")] {
            assert!(!is_journal(not), "{not:?}");
        }
        let facts = std::fs::File::from(io::stderr().as_fd().try_clone_to_owned().unwrap()).metadata().unwrap();
        assert!(is_journal(Some(&format!("{}:{}", facts.dev(), facts.ino()))));
    }
}
