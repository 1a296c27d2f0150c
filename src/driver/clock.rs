//! Both clocks, and sleeping by them, in one place: a worker reads the time nowhere else.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

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

/// The machine's clocks. The monotonic one counts from when this was made, and goes on while the machine is suspended or hibernated: a lease does,
/// and what was seen before is as old.
#[derive(Debug, Clone, Copy)]
pub struct RealClock {
    began: Duration,
}

impl RealClock {
    /// Begins to count.
    #[must_use]
    pub fn start() -> Self {
        Self { began: since_boot() }
    }
}

impl Clock for RealClock {
    fn elapsed(&self) -> Duration {
        since_boot().saturating_sub(self.began)
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep_until(&self, until: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(until.saturating_sub(self.elapsed())))
    }
}

/// [`std::time::Instant`] stands still while the machine does.
fn since_boot() -> Duration {
    let since = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(since.tv_sec).unwrap_or_default(), u32::try_from(since.tv_nsec).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
