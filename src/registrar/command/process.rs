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
    /// The last line of its standard error that holds anything, as far as it is kept. It may say more than what of it is shown.
    pub(super) last_line: Zeroizing<String>,
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
    let (mut kept, mut line) = (Kept::of(most), LastLine::new());
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

/// The last line of what is read, which may repeat what the program was told in confidence.
struct LastLine {
    last: Zeroizing<Vec<u8>>,
    current: Zeroizing<Vec<u8>>,
}

impl LastLine {
    fn new() -> Self {
        // With their full size at once, so that nothing stays behind where a smaller buffer was.
        let [last, current] = [(); 2].map(|()| Zeroizing::new(Vec::with_capacity(LONGEST_LINE)));
        Self { last, current }
    }

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

    fn text(mut self) -> Zeroizing<String> {
        self.end_line();
        let replaced = char::REPLACEMENT_CHARACTER;
        let mut text = Zeroizing::new(String::with_capacity(self.last.len() * replaced.len_utf8()));
        for chunk in self.last.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend((!chunk.invalid().is_empty()).then_some(replaced));
        }
        Zeroizing::new(text.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_holds_anything_is_kept_and_cut() {
        let mut line = LastLine::new();
        for bytes in [&b"first\nsec"[..], b"ond\n", b"  \n\n"] {
            line.take(bytes);
        }
        assert_eq!(*line.text(), "second");
        let mut line = LastLine::new();
        line.take(&b"x".repeat(1_000_000));
        assert_eq!(line.text().len(), LONGEST_LINE);
        assert_eq!(*LastLine::new().text(), "");
        let mut line = LastLine::new();
        line.take(b"gr\xc3\xb6\xc3 \xff\xfe\n");
        assert_eq!(*line.text(), String::from_utf8_lossy(b"gr\xc3\xb6\xc3 \xff\xfe"));
    }

    #[tokio::test]
    async fn all_that_a_program_wrote_is_wiped_and_nothing_is_left_where_a_smaller_buffer_was() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let mut line = LastLine::new();
        for length in [10, 600, 2000, 3, LONGEST_LINE] {
            line.take(&[&b"x".repeat(length)[..], b"\n"].concat());
            assert_eq!((line.last.capacity(), line.current.capacity()), (LONGEST_LINE, LONGEST_LINE), "it was never another");
        }
        is_wiped(&line.last);
        is_wiped(&line.current);
        let mut program = Command::new("/bin/sh");
        program.args(["-c", "echo said; echo warned >&2"]);
        let Ran { output, last_line, .. } = run(program, b"", Duration::from_secs(10), 64).await.expect("there is a shell");
        assert_eq!((&output[..], last_line.as_str()), (&b"said\n"[..], "warned"));
        is_wiped(&output);
        is_wiped(&last_line);
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
