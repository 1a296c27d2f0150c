//! What the listener needs to know of the worker: whether its loop turns, and whether it can work.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long after the promised time the loop may turn before it counts as stuck.
const SLACK: Duration = Duration::from_secs(10);

/// Shared by the driver, which touches it, and the listener, which reads it.
///
/// An idle worker sleeps long, so the age of the last turn says nothing. The driver promises when it will turn again at the
/// latest, and is stuck when it did not.
#[derive(Debug)]
pub struct Health {
    origin: Instant,
    /// Milliseconds after `origin` by which the loop turns again.
    due_ms: AtomicU64,
    /// Milliseconds after `origin` by which the oldest call has its answer; none where no call is under way.
    call_due_ms: AtomicU64,
    /// Milliseconds after `origin` by which another call is begun; none where one is under way.
    next_call_due_ms: AtomicU64,
    ended: AtomicBool,
    stopping: AtomicBool,
    open: AtomicU32,
    held: AtomicU32,
    queue: AtomicU8,
    credentials: AtomicU8,
    slack: Duration,
}

const UNKNOWN: u8 = 0;
const GOOD: u8 = 1;
const BAD: u8 = 2;

impl Default for Health {
    fn default() -> Self {
        Self::with_slack(SLACK)
    }
}

impl Health {
    /// A worker that is just starting, with the usual slack of ten seconds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A worker whose loop may be this late.
    #[must_use]
    pub fn with_slack(slack: Duration) -> Self {
        Self {
            origin: Instant::now(),
            due_ms: AtomicU64::new(0),
            call_due_ms: AtomicU64::new(u64::MAX),
            next_call_due_ms: AtomicU64::new(u64::MAX),
            ended: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            open: AtomicU32::new(0),
            held: AtomicU32::new(0),
            queue: AtomicU8::new(UNKNOWN),
            credentials: AtomicU8::new(UNKNOWN),
            slack,
        }
    }

    /// The loop turned, and turns again within `next` at the latest.
    pub fn turned(&self, next: Duration) {
        let due = self.origin.elapsed().saturating_add(next).as_millis();
        self.due_ms.store(u64::try_from(due).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// By when the call has its answer that is due first, on a clock that shows `now`; none where no call is under way.
    pub fn call_due(&self, due: Option<Duration>, now: Duration) {
        self.call_due_ms.store(due.map_or(u64::MAX, |due| self.on_own_clock(due, now)), Ordering::Relaxed);
    }

    /// By when a call is begun again, on a clock that shows `now`; none where one is under way.
    pub fn next_call_due(&self, due: Option<Duration>, now: Duration) {
        self.next_call_due_ms.store(due.map_or(u64::MAX, |due| self.on_own_clock(due, now)), Ordering::Relaxed);
    }

    /// A time of a clock that shows `now`, in milliseconds after `origin`.
    fn on_own_clock(&self, time: Duration, now: Duration) -> u64 {
        u64::try_from((self.origin.elapsed() + time).saturating_sub(now).as_millis()).unwrap_or(u64::MAX)
    }

    /// The loop ended, and will not turn again.
    pub fn ended(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// The worker was told to stop.
    pub fn stops(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the worker was told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// How many actions are open, and how many launches are held for a fault of their route.
    pub fn has_in_hand(&self, open: u32, held: u32) {
        self.open.store(open, Ordering::Relaxed);
        self.held.store(held, Ordering::Relaxed);
    }

    /// The actions that are open, and the launches that are held.
    #[must_use]
    pub fn in_hand(&self) -> (u32, u32) {
        (self.open.load(Ordering::Relaxed), self.held.load(Ordering::Relaxed))
    }

    /// Whether the queue answered the last time it was asked.
    pub fn queue_answers(&self, answers: bool) {
        self.queue.store(if answers { GOOD } else { BAD }, Ordering::Relaxed);
    }

    /// Whether there are credentials to sign calls with.
    pub fn has_credentials(&self, there: bool) {
        self.credentials.store(if there { GOOD } else { BAD }, Ordering::Relaxed);
    }

    /// Whether the loop turns, begins calls, and these come to an end.
    ///
    /// # Errors
    /// Says how late it is.
    pub fn live(&self) -> Result<(), String> {
        if self.ended.load(Ordering::Relaxed) {
            return Err("the worker's loop has ended".into());
        }
        let due = Duration::from_millis(self.due_ms.load(Ordering::Relaxed));
        let late = self.origin.elapsed().saturating_sub(due);
        if late > self.slack {
            return Err(format!("the worker's loop should have turned {} s ago", late.as_secs()));
        }
        for (due_ms, what) in [
            (&self.call_due_ms, "a call that can no longer be under way should have ended"),
            (&self.next_call_due_ms, "no call is under way, and the next should have begun"),
        ] {
            let due = Duration::from_millis(due_ms.load(Ordering::Relaxed));
            if let Some(late) = self.origin.elapsed().checked_sub(due).filter(|late| !late.is_zero()) {
                return Err(format!("{what} {} s ago", late.as_secs()));
            }
        }
        Ok(())
    }

    /// Whether the worker can work.
    ///
    /// # Errors
    /// Says each thing that is missing.
    pub fn ready(&self) -> Result<(), String> {
        let mut missing = Vec::new();
        if let Err(reason) = self.live() {
            missing.push(reason);
        }
        match self.credentials.load(Ordering::Relaxed) {
            UNKNOWN => missing.push("AWS credentials were not found yet".into()),
            BAD => missing.push("there are no AWS credentials".into()),
            _ => {}
        }
        match self.queue.load(Ordering::Relaxed) {
            UNKNOWN => missing.push("the queue has not answered yet".into()),
            BAD => missing.push("the queue does not answer".into()),
            _ => {}
        }
        if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_sleeps_as_long_as_it_said_is_alive() {
        let health = Health::with_slack(Duration::ZERO);
        health.turned(Duration::from_secs(3600));
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(health.live(), Ok(()));
    }

    #[test]
    fn a_loop_that_did_not_turn_when_it_should_have_is_stuck() {
        let health = Health::with_slack(Duration::ZERO);
        health.turned(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(5));
        assert!(health.live().unwrap_err().contains("should have turned"));
        assert!(Health::new().live().is_ok(), "a worker that has just started is alive");
        let over = Health::new();
        over.ended();
        assert!(over.live().is_err());
    }

    #[test]
    fn a_worker_whose_call_never_ends_is_stuck_although_its_loop_turns() {
        let health = Health::new();
        let hour = Duration::from_secs(3600);
        health.call_due(Some(hour + Duration::from_secs(60)), hour);
        health.turned(Duration::ZERO);
        assert_eq!(health.live(), Ok(()), "it has a minute left");
        health.call_due(Some(hour), hour);
        std::thread::sleep(Duration::from_millis(5));
        health.turned(Duration::ZERO);
        assert!(health.live().unwrap_err().contains("should have ended"));
        health.call_due(None, hour);
        assert_eq!(health.live(), Ok(()), "it has ended after all");
    }

    #[test]
    fn a_worker_that_begins_no_calls_is_stuck_although_its_loop_turns() {
        let health = Health::new();
        let hour = Duration::from_secs(3600);
        health.next_call_due(Some(hour + Duration::from_secs(60)), hour);
        health.turned(Duration::ZERO);
        assert_eq!(health.live(), Ok(()), "it has a minute left");
        health.next_call_due(Some(hour), hour);
        std::thread::sleep(Duration::from_millis(5));
        health.turned(Duration::ZERO);
        assert!(health.live().unwrap_err().contains("should have begun"));
        health.next_call_due(None, hour);
        assert_eq!(health.live(), Ok(()), "one is under way");
    }

    #[test]
    fn ready_names_everything_that_is_missing() {
        let health = Health::new();
        let reason = health.ready().unwrap_err();
        assert!(reason.contains("credentials") && reason.contains("queue"), "{reason}");
        health.has_credentials(true);
        health.queue_answers(false);
        assert_eq!(health.ready().unwrap_err(), "the queue does not answer");
        health.queue_answers(true);
        assert_eq!(health.ready(), Ok(()));
    }
}
