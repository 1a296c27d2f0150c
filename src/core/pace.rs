//! How fast one operation may be called: unbounded until somebody says otherwise, learned from throttling after that.

use std::collections::VecDeque;

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
/// Whoever sent less than this, in calls a second, is taken to have sent so many: one who has hardly begun, or seldom calls, has met a limit that
/// others share, and what little he sent says nothing of what it is.
const LEAST_MET: f64 = 10.0;
/// The slowest learned rate, in calls a second.
const FLOOR: f64 = 0.2;
/// Throttles within this time of a slow-down answer calls that were sent before it, in milliseconds.
const DEAF_MS: u64 = 500;
/// How much of a limit that the user set is used: what is sent evenly leaves room then for a few calls that were longer on their way.
pub(super) const USED: f64 = 0.95;
/// What lateness may be made up for under a limit that the user set, as a part of a second.
const MADE_UP: f64 = 0.02;
/// A second, in milliseconds: what limits are counted over.
const SECOND_MS: u64 = 1000;
/// Our clock and the service's both round to milliseconds: so much longer than a second a call counts, so that there is none too many in theirs.
const ROUNDED_MS: u64 = 1;
/// Of the time that every call seems to take, so much is not relied on, in milliseconds: the quickest way out and the quickest way back need not
/// have been the same call's. It costs nothing, since the unused part of a limit is as long.
const UNSURE_MS: u64 = 50;
/// Above this learned rate, in calls a second, pacing is only overhead.
const UNBOUNDED_ABOVE: f64 = 5_000.0;

/// A rate limit with a memory: doubling while it has not met a throttle, then additive, backing off by 0.7.
///
/// A user's limit is a hard one, and holds where the calls arrive: no second sees more of them there, however unevenly they are sent or travel.
/// When a call arrived is not known, only that it was between its being sent and its answer; so it counts until a second after its answer, less
/// what the quickest call took from end to end where that is long.
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
    hard: Option<Hard>,
}

/// What is known of the calls that a user's limit is about.
#[derive(Debug, Clone)]
struct Hard {
    /// Calls in any one second.
    most: usize,
    /// Sent and not answered.
    in_flight: usize,
    /// When each of those of the last second was answered, earliest first.
    answered: VecDeque<u64>,
    /// The shortest time between a call and its answer, in milliseconds: every call takes as long, so it is no part of what is not known.
    quickest: u64,
}

impl Hard {
    fn new(limit: f64) -> Self {
        Self { most: (limit.ceil() as usize).max(1), in_flight: 0, answered: VecDeque::new(), quickest: u64::MAX }
    }

    /// When one call more makes no second with too many: `now` or later.
    fn next_at(&self, now: u64) -> u64 {
        let sure = self.quickest.saturating_sub(UNSURE_MS);
        let over_at = |answered: u64| (answered + SECOND_MS + ROUNDED_MS).saturating_sub(sure);
        let past = self.answered.partition_point(|at| over_at(*at) <= now);
        let more = (self.in_flight + self.answered.len() - past + 1).saturating_sub(self.most);
        match more.checked_sub(1) {
            None => now,
            // With so many unanswered no time is known; the answer that comes is looked at at once.
            Some(last) => self.answered.get(past + last).map_or(now + SECOND_MS, |at| over_at(*at)),
        }
    }

    fn answered(&mut self, sent_at: u64, now: u64) {
        while self.answered.front().is_some_and(|at| at + SECOND_MS + ROUNDED_MS <= now) {
            self.answered.pop_front();
        }
        self.quickest = self.quickest.min(now.saturating_sub(sent_at));
        self.in_flight = self.in_flight.saturating_sub(1);
        self.answered.push_back(now);
    }
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
            hard: ceiling.map(Hard::new),
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
        let even = if tokens >= 1.0 { now } else { now + (((1.0 - tokens) / rate) * 1000.0).ceil() as u64 };
        self.hard.as_ref().map_or(even, |hard| hard.next_at(now).max(even))
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
        if let Some(hard) = &mut self.hard {
            hard.in_flight += 1;
        }
    }

    /// A call that was sent at `sent_at` has ended, however it did.
    pub fn answered(&mut self, sent_at: u64, now: u64) {
        if let Some(hard) = &mut self.hard {
            hard.answered(sent_at, now);
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
        let before = self.rate.unwrap_or_else(|| self.last_rate.max(f64::from(self.counted)).max(LEAST_MET));
        self.met = before;
        self.rate = Some((before * BACK_OFF).max(FLOOR));
        self.tokens = 0.0;
        self.filled_at = now;
    }

    /// Tokens fill at the rate, and a tenth of a second's worth may be saved up where the rate is a learned one. Of a hard limit only what a
    /// wake-up that is a few milliseconds late would lose.
    fn tokens_at(&self, now: u64, rate: f64) -> f64 {
        let burst = if self.ceiling.is_some() { 1.0 + rate * MADE_UP } else { (rate * 0.1).max(1.0) };
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
                pace.answered(now, now);
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
    fn a_throttle_takes_three_tenths_of_the_rate_once_for_all_that_was_on_its_way() {
        let mut pace = Pace::new(None);
        pace.ramp_from(0, 10.0);
        let rates = [1_000, 1_200, 1_499, 1_500].map(|now| {
            pace.throttled(now);
            pace.rate.unwrap()
        });
        assert!(rates.iter().zip([7.0, 7.0, 7.0, 4.9]).all(|(rate, expected)| (rate - expected).abs() < 1e-9), "{rates:?}");
        assert!(pace.next_at(1_500) > 1_500, "and what was saved up is gone");
        (0..100).for_each(|n| pace.throttled(10_000 + n * DEAF_MS));
        assert!((pace.rate.unwrap() - FLOOR).abs() < f64::EPSILON, "{pace:?}");
    }

    #[test]
    fn a_throttle_that_meets_no_rate_takes_three_tenths_of_what_was_sent() {
        let mut pace = Pace::new(None);
        (0..40).for_each(|n| pace.sent(5_000 + n * 25));
        pace.throttled(6_000);
        assert!((pace.rate.unwrap() - 28.0).abs() < 1.0, "{pace:?}");
    }

    #[test]
    fn one_throttle_does_not_slow_down_whoever_has_hardly_begun() {
        let mut pace = Pace::new(None);
        pace.sent(5_000);
        pace.throttled(5_010);
        assert!((pace.rate.unwrap() - 7.0).abs() < 1e-9, "{pace:?}");
    }

    /// What each call that goes through adds: much up to nearly the rate that was refused, little around it, and a ramp beyond.
    #[test]
    fn a_rate_that_was_refused_is_come_near_to_quickly_and_passed_slowly() {
        let mut pace = Pace::new(None);
        pace.ramp_from(0, 100.0);
        pace.throttled(0);
        let mut steps = Vec::new();
        while pace.rate.unwrap() < 130.0 {
            let before = pace.rate.unwrap();
            pace.succeeded();
            let step = pace.rate.unwrap() - before;
            steps.push((before, step));
        }
        for (rate, step) in steps {
            let expected = if rate < 90.0 {
                STEP_BACK
            } else if rate <= 125.0 {
                STEP
            } else {
                1.0
            };
            assert!((step - expected).abs() < 1e-9, "{step} at {rate}");
        }
    }

    #[test]
    fn a_ramp_doubles_each_second_and_ends_at_a_users_limit() {
        let mut pace = Pace::new(None);
        pace.ramp_from(0, 16.0);
        let seconds = [0, 1, 2, 3].map(|second| drive(&mut pace, second * 1_000, 1, 1e9).0);
        assert!((16..=32).contains(&seconds[0]), "{seconds:?}");
        assert!(seconds.windows(2).all(|two| (1.7..=2.8).contains(&(f64::from(two[1]) / f64::from(two[0])))), "{seconds:?}");
        let mut pace = Pace::new(Some(20.0));
        pace.ramp_from(0, 16.0);
        assert!(drive(&mut pace, 0, 1, 1e9).0 <= 19);
        assert!((18..=20).contains(&drive(&mut pace, 1_000, 1, 1e9).0));
        pace.ramp_from(2_000, 50.0);
        assert!((pace.rate.unwrap() - used(20.0)).abs() < f64::EPSILON, "{pace:?}");
    }

    #[test]
    fn a_users_limit_is_kept() {
        let mut pace = Pace::new(Some(5.0));
        let (sent, _) = drive(&mut pace, 0, 10, 1_000.0);
        assert!((45..=50).contains(&sent), "{sent}");
    }

    /// The most in any one second.
    fn most_in_a_second(times: &mut [u64]) -> usize {
        times.sort_unstable();
        let within = |(first, from): (usize, &u64)| times[first..].partition_point(|at| *at < from + SECOND_MS);
        times.iter().enumerate().map(within).max().unwrap_or(0)
    }

    /// Sends whenever it may over `seconds`, except in the tenths of a second that `stalled` names. `travel` says what each call and its answer
    /// take; returns the arrivals.
    fn arrivals(pace: &mut Pace, seconds: u64, stalled: impl Fn(u64) -> bool, travel: impl Fn(usize) -> (u64, u64)) -> Vec<u64> {
        let (mut arrived, mut answers) = (Vec::new(), Vec::<(u64, u64)>::new());
        for now in (0..seconds * 1000).filter(|now| !stalled(now / 100)) {
            let (due, later): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(at, _)| *at <= now);
            answers = later;
            due.iter().for_each(|(_, sent_at)| pace.answered(*sent_at, now));
            while pace.next_at(now) <= now {
                pace.sent(now);
                let (out, back) = travel(arrived.len());
                arrived.push(now + out);
                answers.push((now + out + back, now));
            }
        }
        arrived
    }

    #[test]
    fn no_second_sees_more_than_a_users_limit_however_late_the_sender_and_its_calls_are() {
        for limit in [3.0, 20.0, 100.0] {
            let mut pace = Pace::new(Some(limit));
            let mut rng = fastrand::Rng::with_seed(7);
            let delays: Vec<u64> = (0..20_000).map(|_| if rng.u8(..4) == 0 { rng.u64(..400) } else { 0 }).collect();
            let travel = |n: usize| (5 + delays[n % delays.len()], 2 + delays[(n + 5_000) % delays.len()]);
            let mut times = arrivals(&mut pace, 120, |tenth| tenth % 7 == 3, travel);
            let most = most_in_a_second(&mut times);
            assert!(most as f64 <= limit, "{most} in a second, and {limit} are allowed");
            assert!(times.len() as f64 > 120.0 * limit * 0.6, "{} in all", times.len());
        }
    }

    /// One that arrived late and was answered at once, and one that arrives at once: neither shows how quick a way can be.
    #[test]
    fn the_quickest_call_says_little_of_what_the_quickest_way_takes() {
        let mut hard = Hard::new(1.0);
        hard.in_flight = 1;
        hard.answered(0, 45);
        assert!(hard.next_at(1_001) >= 1_045, "{}", hard.next_at(1_001));
    }

    /// What is sent late in a millisecond, by a clock that shows whole ones, arrives in the next of the service's.
    #[test]
    fn two_clocks_of_whole_milliseconds_see_the_same_second() {
        let mut hard = Hard::new(1.0);
        hard.in_flight = 1;
        hard.answered(0, 0);
        assert_eq!((hard.next_at(1_000), hard.next_at(1_001)), (1_001, 1_001));
    }

    #[test]
    fn a_service_that_is_far_away_is_called_as_often_as_one_that_is_near() {
        let mut pace = Pace::new(Some(20.0));
        let times = arrivals(&mut pace, 100, |_| false, |_| (150, 150));
        assert!((1_895..=1_902).contains(&times.len()), "{}", times.len());
    }

    #[test]
    fn with_a_limits_worth_of_calls_unanswered_none_is_sent() {
        let mut pace = Pace::new(Some(2.0));
        pace.sent(0);
        pace.sent(600);
        assert_eq!(pace.next_at(10_000), 11_000);
        pace.answered(0, 10_000);
        assert_eq!(pace.next_at(10_000), 10_000, "but once one of them is");
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
