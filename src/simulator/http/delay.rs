//! Delays that are as long as they were meant to be.
//!
//! The runtime's timers are rounded up to the next millisecond, which would add up to one to each call of a few milliseconds' latency:
//! more than what is measured with it. A thread that sleeps by the kernel's clock is exact to about a twentieth of that.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Whoever waits; the thread starts with the first, and ends with this.
#[derive(Default)]
pub(super) struct Delays {
    started: OnceLock<Arc<Line>>,
}

#[derive(Default)]
struct Line {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    tell: std::collections::HashMap<u64, oneshot::Sender<()>>,
    number: u64,
    over: bool,
}

impl Delays {
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for `time`.
    pub async fn wait(&self, time: Duration) {
        let line = self.started.get_or_init(start);
        let (tell, told) = oneshot::channel();
        let at = Instant::now() + time;
        let is_first = {
            let mut waiting = line.lock();
            waiting.number += 1;
            let number = waiting.number;
            waiting.due.push(Reverse((at, number)));
            waiting.tell.insert(number, tell);
            waiting.due.peek().is_some_and(|Reverse((_, first))| *first == number)
        };
        if is_first {
            line.changed.notify_one();
        }
        // Nobody tells where the thread is gone, and with it the simulator.
        let _ = told.await;
    }
}

impl Drop for Delays {
    fn drop(&mut self) {
        if let Some(line) = self.started.get() {
            line.lock().over = true;
            line.changed.notify_one();
        }
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing can panic half-way through a change of it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_time(&self) {
        let mut waiting = self.lock();
        while !waiting.over {
            let now = Instant::now();
            let next = waiting.due.peek().map(|Reverse((at, _))| *at);
            waiting = match next {
                None => self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(at) if at > now => self.changed.wait_timeout(waiting, at - now).unwrap_or_else(PoisonError::into_inner).0,
                Some(_) => {
                    if let Some(Reverse((_, number))) = waiting.due.pop()
                        && let Some(tell) = waiting.tell.remove(&number)
                    {
                        // Whoever waited may be gone.
                        let _ = tell.send(());
                    }
                    waiting
                }
            };
        }
    }
}

fn start() -> Arc<Line> {
    let line = Arc::new(Line::default());
    let theirs = Arc::clone(&line);
    thread::Builder::new()
        .name("delays".into())
        .spawn(move || theirs.keep_time())
        .expect("the simulator cannot delay calls without a thread, and one can be had unless the machine has no more");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_less_is_done_first() {
        let delays = Delays::new();
        let began = Instant::now();
        let done = Mutex::new(Vec::new());
        let wait = async |ms| {
            delays.wait(Duration::from_millis(ms)).await;
            done.lock().unwrap().push(ms);
        };
        tokio::join!(wait(12), wait(4), wait(8));
        assert_eq!(*done.lock().unwrap(), [4, 8, 12]);
        assert!(began.elapsed() >= Duration::from_millis(12));
    }
}
