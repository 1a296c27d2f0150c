//! Running one program to its end: fed, listened to, and ended with everything that it started.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

/// How much of a line of standard error is kept, in bytes.
const LONGEST_LINE: usize = 1024;

/// How long what was written before a program's end may take to be read after it: what it started has been killed by then, and
/// only a process that left the program's group can still hold the pipes open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What came of a run.
pub(super) struct Ran {
    /// How it ended; none where it did not within its time and was killed.
    pub(super) status: Option<ExitStatus>,
    /// The beginning of its standard output.
    pub(super) output: Zeroizing<Vec<u8>>,
    /// Whether there was more of it.
    pub(super) cut: bool,
    /// The last line of its standard error that holds anything, as far as it is kept.
    pub(super) last_line: String,
}

/// Runs a program in a process group of its own, with `input` on its standard input, for at most `limit`. When it ends, and
/// when it does not in time, and when nobody waits for it any more, its whole group is killed. Of its standard output the first `most`
/// bytes are kept; what comes beyond them is read and dropped.
///
/// # Errors
/// The program cannot be started.
pub(super) async fn run(mut command: Command, input: &[u8], limit: Duration, most: usize) -> std::io::Result<Ran> {
    // Listened to from before the start, so that no end is missed.
    let mut ends = signal(SignalKind::child())?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn()?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let pid = pid.expect("a program that was just started and not waited for has its process id");
    let mut group = Group(Some(pid));

    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut kept, mut line) = (Kept::of(most), LastLine::default());
    let in_time = {
        let talk =
            async { tokio::join!(feed(stdin, input), drain(stdout, |bytes| kept.take(bytes)), drain(stderr, |bytes| line.take(bytes))) };
        tokio::pin!(talk);
        let end = async {
            while !has_ended(pid) {
                ends.recv().await;
            }
        };
        tokio::pin!(end);
        let mut silent = false;
        let both = async {
            loop {
                tokio::select! {
                    () = &mut end => return,
                    _ = &mut talk, if !silent => silent = true,
                }
            }
        };
        let in_time = tokio::time::timeout(limit, both).await.is_ok();
        group.kill();
        if !silent {
            let _ = tokio::time::timeout(LAST_WORDS, &mut talk).await;
        }
        in_time
    };
    // Only now, with its group killed, is the program reaped: until then its id cannot become another group's.
    group.0 = None;
    let status = tokio::time::timeout(LAST_WORDS, child.wait()).await;
    Ok(Ran { status: status.ok().transpose()?.filter(|_| in_time), output: kept.bytes, cut: kept.cut, last_line: line.text() })
}

/// A program's process group, killed when it is let go of.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn kill(&self) {
        if let Some(pid) = self.0 {
            // It fails only where nobody is left in the group.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether our child has ended; it is left to be reaped.
fn has_ended(pid: Pid) -> bool {
    // An error would be that there is no such child, which would not come back either.
    !matches!(waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT), Ok(None))
}

/// Writes a program's input and closes it. One that does not read it all is free not to.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
}

/// Reads to the end.
async fn drain(from: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut from) = from else { return };
    let mut buffer = Zeroizing::new(vec![0; 8 * 1024]);
    while let Ok(read) = from.read(&mut buffer[..]).await
        && read > 0
    {
        take(&buffer[..read]);
    }
}

/// The beginning of what is read.
struct Kept {
    bytes: Zeroizing<Vec<u8>>,
    most: usize,
    cut: bool,
}

impl Kept {
    fn of(most: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::new()), most, cut: false }
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = (self.most - self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        self.cut |= room < bytes.len();
    }
}

/// The last line of what is read.
#[derive(Debug, Default)]
struct LastLine {
    last: Vec<u8>,
    current: Vec<u8>,
}

impl LastLine {
    fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = (LONGEST_LINE - self.current.len()).min(part.len());
            self.current.extend_from_slice(&part[..room]);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if !self.current.trim_ascii().is_empty() {
            std::mem::swap(&mut self.last, &mut self.current);
        }
        self.current.clear();
    }

    fn text(mut self) -> String {
        self.end_line();
        String::from_utf8_lossy(&self.last).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_holds_anything_is_kept_and_cut() {
        let mut line = LastLine::default();
        for bytes in [&b"first\nsec"[..], b"ond\n", b"  \n\n"] {
            line.take(bytes);
        }
        assert_eq!(line.text(), "second");
        let mut line = LastLine::default();
        line.take(&b"x".repeat(1_000_000));
        assert_eq!(line.text().len(), LONGEST_LINE);
        assert_eq!(LastLine::default().text(), "");
    }

    #[test]
    fn only_the_beginning_of_the_output_is_kept() {
        let mut kept = Kept::of(64);
        kept.take(&[1; 64]);
        assert!(!kept.cut);
        kept.take(&[2]);
        assert!(kept.cut);
        assert_eq!(kept.bytes.len(), 64);
    }
}
