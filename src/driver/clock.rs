//! Both clocks, read in one place.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::core::Moment;

/// Reads the clocks. The monotonic one counts from when this was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    began: Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// Now, on both.
    pub fn now(self) -> Moment {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { mono_ms: millis(self.began.elapsed()), wall_ms: millis(wall) }
    }

    /// When the monotonic clock will show `mono_ms`.
    pub fn instant(self, mono_ms: u64) -> Instant {
        self.began + Duration::from_millis(mono_ms)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
