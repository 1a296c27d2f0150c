//! How fast one operation may be called: unbounded until somebody says otherwise, learned from throttling after that.

/// What each call that goes through adds to the rate once a limit was met, in calls a second: as many hundredths a second more, whatever
/// the rate is, so that a limit of five a second is not overstepped more often than one of five hundred.
const STEP: f64 = 0.02;
/// The same on the way back to [`NEARLY`] of the rate at which the limit was met. With both, a limit of 100 a second is used to 98 hundredths,
/// and three calls in a thousand are throttled.
const STEP_BACK: f64 = 0.4;
/// Up to this part of the rate that was refused there is little danger.
const NEARLY: f64 = 0.9;
/// So far above the rate that was refused, the limit is not what it was: the rate doubles again.
const BEYOND: f64 = 1.25;
/// What a throttled rate is multiplied by.
const BACK_OFF: f64 = 0.7;
/// The slowest learned rate, in calls a second.
const FLOOR: f64 = 0.2;
/// Throttles within this time of a slow-down answer calls that were sent before it, in milliseconds.
const DEAF_MS: u64 = 500;
/// How much of a limit that the user set is used. Calls that were sent evenly arrive a little less so, and those that the network has
/// brought closer together must stay under it too.
pub(super) const USED: f64 = 0.95;
/// Above this learned rate, in calls a second, pacing is only overhead.
const UNBOUNDED_ABOVE: f64 = 5_000.0;

/// A rate limit with a memory: doubling while it has not met a throttle, then additive, backing off by 0.7.
///
/// A user's limit is a hard one: nothing is saved up for it.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Calls a second; none while unbounded.
    rate: Option<f64>,
    /// The user's own limit, in calls a second.
    ceiling: Option<f64>,
    /// Whether no throttle has been met since the ramp began.
    doubling: bool,
    /// The rate at which a throttle was last met.
    met: f64,
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
            rate: ceiling.map(used),
            ceiling: ceiling.map(used),
            doubling: false,
            met: 0.0,
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
            self.doubling |= rate > self.met * BEYOND;
            let step = if self.doubling {
                1.0
            } else if rate < self.met * NEARLY {
                STEP_BACK
            } else {
                STEP
            };
            let grown = rate + step;
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
        self.met = before;
        self.rate = Some((before * BACK_OFF).max(FLOOR));
        self.tokens = 0.0;
        self.filled_at = now;
    }

    /// Tokens fill at the rate, and a tenth of a second's worth may be saved up where the rate is a learned one. Of a hard limit only what a
    /// wake-up that is a few milliseconds late would lose.
    fn tokens_at(&self, now: u64, rate: f64) -> f64 {
        let saved = if self.ceiling.is_some() { 0.005 } else { 0.1 };
        let burst = (rate * saved).max(1.0);
        (self.tokens + rate * now.saturating_sub(self.filled_at) as f64 / 1000.0).min(burst)
    }
}

/// The part of a user's limit that is used.
fn used(limit: f64) -> f64 {
    limit * USED
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
        assert!(sent - refused > 10_500, "{} of the 11,000 that were admitted went through", sent - refused);
        assert!(f64::from(refused) < 0.01 * f64::from(sent), "{refused} of {sent} were refused");
    }

    #[test]
    fn a_users_limit_is_kept() {
        let mut pace = Pace::new(Some(5.0));
        let (sent, _) = drive(&mut pace, 0, 10, 1_000.0);
        assert!((45..=50).contains(&sent), "{sent}");
    }

    #[test]
    fn a_small_limit_is_met_as_seldom_as_a_large_one() {
        let mut pace = Pace::new(None);
        pace.ramp_from(0, 1.0);
        let (sent, refused) = drive(&mut pace, 0, 600, 5.0);
        assert!(sent - refused > 2_700, "{} of 3,000 went through", sent - refused);
        assert!(f64::from(refused) < 0.05 * f64::from(sent), "{refused} of {sent} were refused");
    }

    #[test]
    fn a_limit_that_was_raised_is_found_soon() {
        let mut pace = Pace::new(None);
        pace.ramp_from(0, 1.0);
        drive(&mut pace, 0, 60, 5.0);
        let (sent, refused) = drive(&mut pace, 60_000, 60, 1_000.0);
        assert!(sent - refused > 10_000, "{} went through within a minute", sent - refused);
    }
}
