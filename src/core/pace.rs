//! How fast one operation may be called: unbounded until somebody says otherwise, learned from throttling after that.

/// The rate that a paced operation grows by each second once it has met its limit, in calls a second.
const ADDITIVE_STEP: f64 = 2.0;
/// What a throttled rate is multiplied by.
const BACK_OFF: f64 = 0.7;
/// The slowest learned rate, in calls a second.
const FLOOR: f64 = 0.2;
/// Throttles within this time of a slow-down answer calls that were sent before it, in milliseconds.
const DEAF_MS: u64 = 500;
/// Above this learned rate, in calls a second, pacing is only overhead.
const UNBOUNDED_ABOVE: f64 = 5_000.0;

/// A rate limit with a memory: doubling while it has not met a throttle, then additive, backing off by 0.7.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Calls a second; none while unbounded.
    rate: Option<f64>,
    /// The user's own limit, in calls a second.
    ceiling: Option<f64>,
    /// Whether no throttle has been met since the ramp began.
    doubling: bool,
    tokens: f64,
    filled_at: u64,
    deaf_until: u64,
    /// Calls counted in the current second, to know the rate that a throttle interrupted.
    counted: u32,
    counting_since: u64,
    last_rate: f64,
}

impl Pace {
    /// A pace without a limit, or with the user's.
    pub fn new(ceiling: Option<f64>) -> Self {
        Self {
            rate: ceiling,
            ceiling,
            doubling: false,
            tokens: 1.0,
            filled_at: 0,
            deaf_until: 0,
            counted: 0,
            counting_since: 0,
            last_rate: 0.0,
        }
    }

    /// Begins a ramp at `rate` calls a second.
    pub fn ramp_from(&mut self, now: u64, rate: f64) {
        self.rate = Some(self.ceiling.map_or(rate, |ceiling| rate.min(ceiling)));
        self.doubling = true;
        self.tokens = 1.0;
        self.filled_at = now;
    }

    /// When the next call may be sent: `now` or later.
    pub fn next_at(&self, now: u64) -> u64 {
        let Some(rate) = self.rate else { return now };
        let tokens = self.tokens_at(now, rate);
        if tokens >= 1.0 { now } else { now + (((1.0 - tokens) / rate) * 1000.0).ceil() as u64 }
    }

    /// Counts a call that is sent now.
    pub fn sent(&mut self, now: u64) {
        if now.saturating_sub(self.counting_since) >= 1000 {
            self.last_rate = f64::from(self.counted) * 1000.0 / (now - self.counting_since).max(1) as f64;
            self.counted = 0;
            self.counting_since = now;
        }
        self.counted += 1;
        if let Some(rate) = self.rate {
            self.tokens = self.tokens_at(now, rate) - 1.0;
            self.filled_at = now;
        }
    }

    /// A call went through.
    pub fn succeeded(&mut self) {
        if let Some(rate) = self.rate {
            let grown = if self.doubling { rate + 1.0 } else { rate + ADDITIVE_STEP / rate };
            self.rate = match self.ceiling {
                Some(ceiling) => Some(grown.min(ceiling)),
                None if grown > UNBOUNDED_ABOVE => None,
                None => Some(grown),
            };
        }
    }

    /// A call was throttled.
    pub fn throttled(&mut self, now: u64) {
        if now < self.deaf_until {
            return;
        }
        self.deaf_until = now + DEAF_MS;
        self.doubling = false;
        let before = self.rate.unwrap_or_else(|| self.last_rate.max(f64::from(self.counted)).max(1.0));
        self.rate = Some((before * BACK_OFF).max(FLOOR));
        self.tokens = 0.0;
        self.filled_at = now;
    }

    /// Tokens fill at the rate, and a tenth of a second's worth may be saved up.
    fn tokens_at(&self, now: u64, rate: f64) -> f64 {
        let burst = (rate / 10.0).max(1.0);
        (self.tokens + rate * now.saturating_sub(self.filled_at) as f64 / 1000.0).min(burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends whenever it may for `seconds`, against a limit of `limit` calls a second with a burst of ten; returns sent and refused.
    fn drive(pace: &mut Pace, from: u64, seconds: u64, limit: f64) -> (u32, u32) {
        let (mut sent, mut refused, mut bucket, mut filled) = (0, 0, 10.0_f64, from);
        for now in from..from + seconds * 1000 {
            while pace.next_at(now) <= now && sent < 1_000_000 {
                pace.sent(now);
                sent += 1;
                bucket = (bucket + limit * (now - filled) as f64 / 1000.0).min(10.0);
                filled = now;
                if bucket >= 1.0 {
                    bucket -= 1.0;
                    pace.succeeded();
                } else {
                    refused += 1;
                    pace.throttled(now);
                }
            }
        }
        (sent, refused)
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        assert_eq!(Pace::new(None).next_at(5), 5);
    }

    #[test]
    fn a_ramp_finds_a_limit_that_it_was_not_told_with_few_refusals() {
        let mut pace = Pace::new(None);
        pace.ramp_from(0, 10.0);
        let (sent, refused) = drive(&mut pace, 0, 110, 100.0);
        assert!(sent - refused > 8_000, "{} went through", sent - refused);
        assert!(f64::from(refused) < 0.01 * f64::from(sent), "{refused} of {sent} were refused");
    }

    #[test]
    fn a_users_limit_is_kept() {
        let mut pace = Pace::new(Some(5.0));
        let (sent, _) = drive(&mut pace, 0, 10, 1_000.0);
        assert!((45..=55).contains(&sent), "{sent}");
    }
}
