//! What every part of the model works with: the time it was given, the dice, and what is due later.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// Where the simulated account is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The account, twelve digits.
    pub account: String,
    /// The region.
    pub region: String,
    /// What queue URLs begin with; the HTTP front sets it to its own address.
    #[serde(skip)]
    pub endpoint: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { account: "123456789012".into(), region: "eu-central-1".into(), endpoint: "http://127.0.0.1:4599".into() }
    }
}

/// Something that happens by itself when its time has come.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message may be visible (again).
    MessageDue { queue: usize, message: u64 },
    /// A notification arrives at its queue.
    Deliver { queue: Arc<str>, body: String },
    /// An instance leaves the state that it passes through by itself.
    InstanceStep { instance: Arc<str>, step: u32 },
    /// The heartbeat or global time-out of a lifecycle action may have passed.
    HookDeadline { action: usize },
    /// A group launches an instance in the place of another.
    Replace { group: Arc<str> },
    /// The instance puts its key material under its parameter.
    AgentPublishes { instance: Arc<str> },
    /// A command has run on an instance.
    CommandEnds { command: Arc<str>, instance: Arc<str> },
    /// An association or disassociation ends.
    AssociationEnds { token: Arc<str> },
}

#[derive(Debug)]
struct Due {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The time, the dice and the agenda.
#[derive(Debug)]
pub(crate) struct Context {
    /// Unix milliseconds: the time of the call, or of the event that is being handled.
    pub now: u64,
    /// When the call that is being processed arrived: earlier than `now` where a fault delayed it.
    pub arrived: u64,
    pub rng: Rng,
    pub settings: Settings,
    /// Queues that became able to serve a waiting receive since somebody last asked.
    pub arrivals: Vec<usize>,
    agenda: BinaryHeap<Reverse<Due>>,
    number: u64,
}

impl Context {
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self { now: 0, arrived: 0, rng: Rng::with_seed(seed), settings, arrivals: Vec::new(), agenda: BinaryHeap::new(), number: 0 }
    }

    /// Events of the same millisecond happen in the order in which they were planned.
    pub fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.agenda.push(Reverse(Due { at: at.max(self.now), number: self.number, event }));
    }

    pub fn after(&mut self, delay_ms: u64, event: Event) {
        self.at(self.now + delay_ms, event);
    }

    pub fn next_event(&self) -> Option<u64> {
        self.agenda.peek().map(|Reverse(due)| due.at)
    }

    pub fn pop_due(&mut self, until: u64) -> Option<(u64, Event)> {
        if self.next_event()? > until {
            return None;
        }
        self.agenda.pop().map(|Reverse(due)| (due.at, due.event))
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.f64() < probability
    }

    /// A random time up to `limit_ms`, inclusive.
    pub fn jitter(&mut self, limit_ms: u64) -> u64 {
        if limit_ms == 0 { 0 } else { self.rng.u64(0..=limit_ms) }
    }

    pub fn uuid(&mut self) -> String {
        uuid(&mut self.rng)
    }
}

/// A random UUID of version 4.
pub(crate) fn uuid(rng: &mut Rng) -> String {
    let bits = (rng.u128(..) & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Unix milliseconds as the services write times: `2026-03-02T08:15:42.118Z`.
pub(crate) fn iso(ms: u64) -> String {
    timestamp(ms, 3)
}

/// The same without the fraction, as EventBridge writes it.
pub(crate) fn iso_seconds(ms: u64) -> String {
    timestamp(ms - ms % 1000, 0)
}

fn timestamp(ms: u64, precision: usize) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.precision$}")
}

/// Unix milliseconds as the JSON protocols write times: seconds with a fraction.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit a double's 53 bits")]
pub(crate) fn epoch_seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_services_write_them() {
        assert_eq!(iso(1_772_439_342_118), "2026-03-02T08:15:42.118Z");
        assert_eq!(iso_seconds(1_772_439_342_118), "2026-03-02T08:15:42Z");
    }

    #[test]
    fn uuids_are_of_version_four_and_repeatable() {
        let mut rng = Rng::with_seed(7);
        let first = uuid(&mut rng);
        assert_eq!(first.len(), 36);
        assert_eq!(&first[14..15], "4");
        assert!(matches!(&first[19..20], "8" | "9" | "a" | "b"));
        assert_eq!(first, uuid(&mut Rng::with_seed(7)));
    }

    #[test]
    fn events_of_one_moment_keep_their_order() {
        let mut context = Context::new(Settings::default(), 1);
        for message in 0..3 {
            context.at(5, Event::MessageDue { queue: 0, message });
        }
        let order: Vec<u64> = std::iter::from_fn(|| context.pop_due(5))
            .map(|(_, event)| match event {
                Event::MessageDue { message, .. } => message,
                _ => unreachable!(),
            })
            .collect();
        assert_eq!(order, [0, 1, 2]);
    }
}
