//! The error classes, and the backoff schedule.
//!
//! What an error means is decided once per service, by its code, in the room that knows the service; everything else reads
//! the class. The `backoff` crate computes the intervals; this is the one file that knows it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use backoff::backoff::Backoff;
use backoff::exponential::ExponentialBackoff;

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The server is there and does not take orders now (maintenance, backup, starting): one probe waits for all.
    NotReady,
    /// We ask too often: slow down, then ask again.
    Throttled,
    /// It may work next time: time-outs, broken connections, 5xx.
    Transient,
    /// The way is wrong, not the node: no such server, access denied, our own credentials. Retried slowly; a person must mend it.
    RouteFault,
    /// It will not work next time either, and it is this node's, entry's or message's own.
    Final,
}

impl Class {
    /// The class as it stands in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::RouteFault => "route_fault",
            Self::Final => "final",
        }
    }
}

/// A call that did not do what it was for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Failure {
    /// What can be done about it.
    pub class: Class,
    /// The service's error code, or a short word of our own such as `timeout` or `connection`.
    pub code: String,
    /// The service's message; never key material.
    pub detail: String,
}

impl Failure {
    /// The code of a failure that found the node's name taken by another key, which was left alone.
    pub const OTHER_KEY: &'static str = "other_key";
    /// The code of a failure that found somebody else's request waiting to be signed under the node's name.
    pub const FOREIGN_REQUEST: &'static str = "foreign_request";
    /// The code of a failure that found somebody else's request signed instead of the node's.
    pub const FOREIGN_CERTIFICATE: &'static str = "foreign_certificate";
    /// The code of a failure that found something under the node's name that somebody else made there, and left it alone.
    pub const FOREIGN_NODE: &'static str = "foreign_node";

    /// A failure of the given class.
    pub fn new(class: Class, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { class, code: code.into(), detail: detail.into() }
    }

    /// Whether somebody should be woken: the node's name was contested.
    #[must_use]
    pub fn is_security(&self) -> bool {
        self.class == Class::Final && [Self::FOREIGN_REQUEST, Self::FOREIGN_CERTIFICATE, Self::FOREIGN_NODE].contains(&self.code.as_str())
    }

    /// Whether what stands on the server under the node's name is not the node's, and was left alone: taking it off would take
    /// something of another's.
    #[must_use]
    pub fn leaves_anothers(&self) -> bool {
        self.class == Class::Final && [Self::OTHER_KEY, Self::FOREIGN_REQUEST, Self::FOREIGN_NODE].contains(&self.code.as_str())
    }

    /// Whether the failure concerns every call alike, whatever it asks: our credentials are not there, expired or unknown. Looking
    /// for a bad member in a batch would find none.
    #[must_use]
    pub fn concerns_everybody(&self) -> bool {
        const OURS: [&str; 7] = [
            "credentials",
            "ExpiredToken",
            "ExpiredTokenException",
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "MissingAuthenticationToken",
            "RequestExpired",
        ];
        self.class == Class::RouteFault && OURS.contains(&self.code.as_str())
    }
}

/// An exponential schedule: each wait is `multiplier` times the one before, up to `max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
    /// How much longer each wait is than the one before.
    pub multiplier: f64,
}

impl Schedule {
    /// A schedule that doubles.
    #[must_use]
    pub const fn doubling(initial: Duration, max: Duration) -> Self {
        Self { initial, max, multiplier: 2.0 }
    }
}

/// Where one sequence of retries stands on its schedule: small enough to be kept for each of ten thousand waiting actions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The interval that the next wait begins from, in milliseconds; 0 before the first.
    interval_ms: u32,
}

impl Progress {
    /// The next wait, jittered: somewhere between half the interval and the whole of it, so that those who failed together do
    /// not come back together.
    pub fn next_delay(&mut self, schedule: &Schedule, rng: &mut fastrand::Rng) -> Duration {
        let mut exponential = ExponentialBackoff {
            current_interval: match self.interval_ms {
                0 => schedule.initial,
                ms => Duration::from_millis(u64::from(ms)),
            },
            initial_interval: schedule.initial,
            randomization_factor: 0.0,
            multiplier: schedule.multiplier,
            max_interval: schedule.max,
            start_time: Frozen.epoch(),
            max_elapsed_time: None,
            clock: Frozen,
        };
        let interval = exponential.next_backoff().unwrap_or(schedule.max).min(schedule.max);
        self.interval_ms = u32::try_from(exponential.current_interval.as_millis()).unwrap_or(u32::MAX);
        interval.mul_f64(0.5 + 0.5 * rng.f64())
    }

    /// Begins the schedule anew.
    pub fn reset(&mut self) {
        self.interval_ms = 0;
    }
}

/// A clock that stands still: the schedule has no elapsed-time limit of its own, since deadlines are decided elsewhere.
#[derive(Debug, Clone, Copy)]
struct Frozen;

impl Frozen {
    fn epoch(self) -> Instant {
        static EPOCH: OnceLock<Instant> = OnceLock::new();
        *EPOCH.get_or_init(Instant::now)
    }
}

impl backoff::Clock for Frozen {
    fn now(&self) -> Instant {
        self.epoch()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let schedule = Schedule::doubling(Duration::from_millis(100), Duration::from_millis(1000));
        let mut rng = fastrand::Rng::with_seed(1);
        let mut progress = Progress::default();
        for whole in [100, 200, 400, 800, 1000, 1000, 1000] {
            let wait = progress.next_delay(&schedule, &mut rng).as_millis();
            assert!((whole / 2..=whole).contains(&wait), "{wait} of {whole}");
        }
        progress.reset();
        assert!(progress.next_delay(&schedule, &mut rng).as_millis() <= 100);
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_the_longest_and_none_is_zero(seed: u64, initial in 1_u64..10_000, max in 1_u64..600_000, tries in 1_usize..60) {
            let schedule = Schedule::doubling(Duration::from_millis(initial.min(max)), Duration::from_millis(max));
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut progress = Progress::default();
            for _ in 0..tries {
                let wait = progress.next_delay(&schedule, &mut rng);
                prop_assert!(wait <= schedule.max);
                prop_assert!(wait >= schedule.initial / 2);
            }
        }
    }
}
