//! A standard stream behind a bounded buffer: lines go in without waiting for whoever should read them.
//!
//! A pipe that nobody reads blocks its writer for ever. The worker has one thread, so that would stop every heartbeat; here it
//! stops a thread that does nothing else, and what does not fit is dropped and counted.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How much may wait to be written: several thousand lines.
const CAPACITY: usize = 1 << 20;

/// How long a line may wait for room before the stream counts as stalled and lines are dropped at once.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long lines are collected before they are written together. A write for each line would cost a thread switch for each.
const GATHER: Duration = Duration::from_millis(10);

/// Lines on their way to a stream. Cheap to clone; the last clone that is dropped writes out what is left, within a second.
#[derive(Clone)]
pub struct Sink(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Woken when there is something to write, or a reason not to wait any longer.
    filled: Condvar,
    /// Woken when the buffer was taken or written.
    emptied: Condvar,
    capacity: usize,
    patience: Duration,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    /// A write is under way.
    writing: bool,
    /// Somebody waits for everything to be written: no gathering.
    hurry: bool,
    closed: bool,
    /// A line waited in vain for room; until there is some, no other waits.
    stalled: bool,
    /// Lines that were dropped since this was last said.
    dropped: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    /// A sink into `stream`; `notice` makes the line that says how many lines were dropped.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn new(stream: impl Write + Send + 'static, notice: fn(u64) -> String) -> io::Result<Self> {
        Self::with_limits(stream, notice, CAPACITY, PATIENCE)
    }

    fn with_limits(
        stream: impl Write + Send + 'static,
        notice: fn(u64) -> String,
        capacity: usize,
        patience: Duration,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new(), capacity, patience });
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("lines".into()).stack_size(128 << 10).spawn(move || write_out(&theirs, stream, notice))?;
        Ok(Self(Arc::new(Handle { shared })))
    }

    /// Takes one or more whole lines. Says whether they were taken, or dropped since the stream does not move.
    pub fn lines(&self, lines: &[u8]) -> bool {
        let shared = &*self.0.shared;
        let mut state = shared.lock();
        // A single line larger than the buffer goes alone.
        let full = |state: &State| !state.pending.is_empty() && state.pending.len() + lines.len() > shared.capacity;
        if full(&state) && !state.stalled {
            state.hurry = true;
            shared.filled.notify_one();
            let waited = shared.emptied.wait_timeout_while(state, shared.patience, |state| full(state));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if full(&state) {
            state.stalled = true;
            state.dropped += 1;
            return false;
        }
        let was_empty = state.pending.is_empty();
        state.pending.extend_from_slice(lines);
        if was_empty {
            shared.filled.notify_one();
        }
        true
    }

    /// Waits until everything is written, at most this long. Says whether it is.
    pub fn flush(&self, longest: Duration) -> bool {
        self.0.flush(longest)
    }
}

impl Handle {
    fn flush(&self, longest: Duration) -> bool {
        let mut state = self.shared.lock();
        state.hurry = true;
        self.shared.filled.notify_one();
        let unwritten = |state: &mut State| !state.pending.is_empty() || state.writing;
        let waited = self.shared.emptied.wait_timeout_while(state, longest, unwritten);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !unwritten(&mut state)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.flush(Duration::from_secs(1));
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
    }
}

/// For `tracing`, which hands over each line whole.
impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_out(shared: &Shared, mut stream: impl Write, notice: fn(u64) -> String) {
    let mut taken = Vec::new();
    loop {
        let mut state = shared.lock();
        while state.pending.is_empty() {
            if state.closed {
                return;
            }
            state = shared.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let gathered = Instant::now() + GATHER;
        while !state.hurry && !state.closed {
            let left = gathered.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = shared.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut state.pending, &mut taken);
        (state.writing, state.hurry, state.stalled) = (true, false, false);
        let dropped = std::mem::take(&mut state.dropped);
        shared.emptied.notify_all();
        drop(state);

        // A stream that is closed or full takes nothing now and may later: there is nobody to tell but the next line.
        let mut written = stream.write_all(&taken);
        if dropped > 0 && written.is_ok() {
            written = stream.write_all(notice(dropped).as_bytes());
        }
        let _ = written.and_then(|()| stream.flush());
        taken.clear();
        taken.shrink_to(64 << 10);
        let mut state = shared.lock();
        state.writing = false;
        shared.emptied.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn notice(dropped: u64) -> String {
        format!("{dropped} dropped\n")
    }

    /// A stream that is read when the test says so.
    struct Gate(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let (sender, receiver) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        drop(open); // a closed gate's `recv` returns at once
        let sink = Sink::new(Gate(gate, sender), notice).unwrap();
        for n in 0..100 {
            assert!(sink.lines(format!("line {n}\n").as_bytes()));
        }
        assert!(sink.flush(Duration::from_secs(5)));
        let all: Vec<u8> = receiver.try_iter().flatten().collect();
        let expected: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(String::from_utf8(all).unwrap(), expected);
    }

    #[test]
    fn a_stream_that_nobody_reads_costs_lines_but_never_blocks_for_long() {
        let (sender, receiver) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        let sink = Sink::with_limits(Gate(gate, sender), notice, 64, Duration::from_millis(50)).unwrap();
        let began = Instant::now();
        let taken = (0..1000).filter(|_| sink.lines(b"0123456789\n")).count();
        assert!(taken < 1000);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(!sink.flush(Duration::from_millis(20)));

        drop(open); // now it is read
        assert!(sink.flush(Duration::from_secs(5)));
        let all = String::from_utf8(receiver.try_iter().flatten().collect()).unwrap();
        assert_eq!(all.lines().filter(|line| *line == "0123456789").count(), taken);
        assert!(all.contains(" dropped\n"), "{all}");
    }
}
