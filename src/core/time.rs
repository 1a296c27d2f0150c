//! Time as the core sees it: handed in, never read.

use std::collections::BTreeSet;
use std::time::Duration;

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The monotonic clock, in milliseconds from a beginning of the driver's choice. Leases and timers run by it.
    pub mono_ms: u64,
    /// The wall clock, in Unix milliseconds. Only what others wrote down (the time of an event) is compared with it.
    pub wall_ms: u64,
}

impl Moment {
    /// The point on the monotonic clock that corresponds to a wall-clock time, clamped to the clock's beginning.
    pub(super) fn mono_of_wall(self, wall_ms: u64) -> u64 {
        if wall_ms >= self.wall_ms {
            self.mono_ms.saturating_add(wall_ms - self.wall_ms)
        } else {
            self.mono_ms.saturating_sub(self.wall_ms - wall_ms)
        }
    }
}

/// A duration as whole milliseconds.
pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Everything that waits for a time. Whoever arms a timer keeps the time it was armed for, so that it can be taken back: nothing
/// stale stays behind, however many actions come and go.
#[derive(Debug)]
pub(super) struct Timers<T> {
    armed: BTreeSet<(u64, T)>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { armed: BTreeSet::new() }
    }
}

impl<T: Ord + Copy> Timers<T> {
    /// Moves a timer from where `slot` says it stands to `at`, or takes it back.
    pub fn set(&mut self, timer: T, slot: &mut Option<u64>, at: Option<u64>) {
        if *slot == at {
            return;
        }
        if let Some(old) = slot.take() {
            self.armed.remove(&(old, timer));
        }
        if let Some(at) = at {
            self.armed.insert((at, timer));
            *slot = Some(at);
        }
    }

    /// The next timer that is due, taken out. Its owner's slot still names the time and must be cleared by the owner.
    pub fn pop_due(&mut self, now: u64) -> Option<T> {
        let (at, timer) = *self.armed.first()?;
        if at > now {
            return None;
        }
        self.armed.remove(&(at, timer));
        Some(timer)
    }

    /// Everything that is armed.
    #[cfg(test)]
    pub fn armed(&self) -> impl Iterator<Item = T> {
        self.armed.iter().map(|(_, timer)| *timer)
    }

    /// When the next timer is due.
    pub fn next(&self) -> Option<u64> {
        self.armed.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_is_moved_fires_once_at_its_new_time() {
        let mut timers = Timers::default();
        let mut slot = None;
        timers.set(7, &mut slot, Some(10));
        timers.set(7, &mut slot, Some(20));
        assert_eq!(timers.pop_due(15), None);
        assert_eq!(timers.pop_due(20), Some(7));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_wall_clock_time_is_placed_on_the_monotonic_clock() {
        let now = Moment { mono_ms: 1_000, wall_ms: 50_000 };
        assert_eq!(now.mono_of_wall(50_500), 1_500);
        assert_eq!(now.mono_of_wall(49_500), 500);
        assert_eq!(now.mono_of_wall(1), 0, "before the beginning is at the beginning");
    }
}
