//! Both clocks, and sleeping by them, in one place: a worker reads the time nowhere else.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::core::Moment;

/// A sleep that is under way; dropped, it is over.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The time that a worker lives in: the machine's, or one that a test moves.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The monotonic clock, counted from a beginning of its own.
    fn elapsed(&self) -> Duration;

    /// The wall clock.
    fn wall(&self) -> SystemTime;

    /// Ends when the monotonic clock shows `until`, or at once where it does already.
    fn sleep_until(&self, until: Duration) -> Sleep;
}

impl dyn Clock {
    /// Now, on both, as the core wants it.
    pub(super) fn moment(&self) -> Moment {
        let wall = self.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { mono_ms: millis(self.elapsed()), wall_ms: millis(wall) }
    }
}

/// The machine's clocks. The monotonic one counts from when this was made.
#[derive(Debug, Clone, Copy)]
pub struct RealClock {
    began: Instant,
}

impl RealClock {
    /// Begins to count.
    #[must_use]
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }
}

impl Clock for RealClock {
    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep_until(&self, until: Duration) -> Sleep {
        Box::pin(tokio::time::sleep_until((self.began + until).into()))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
