//! How much of the queue is taken in hand, and when.

use super::admission::guarded;
use super::call::Call;
use super::lane::LaneKey;
use super::observation::Observation;
use super::time::ms;
use super::{Core, Flight, Timer};
use crate::facts::{QueueFacts, ReceivedMessage};
use crate::retry::Failure;

/// How often the queue is asked again what it is, in milliseconds: a redrive policy may change, and rarely does.
const QUEUE_REFRESH_MS: u64 = 600_000;
/// Messages that are received within this time of each other come close together, in milliseconds.
const CLOSE_MS: u64 = 50;
/// While messages come close together, so many polls: a message must not wait for the next poll to arrive.
const POLLS_WHILE_CLOSE: u32 = 3;
/// So many entries that wait for a call, for each call that may be in flight, are enough to fill every batch.
const ENOUGH_A_CALL: usize = 4;
/// Over which it is seen how much is done, in milliseconds.
const SECOND_MS: u64 = 1000;
/// How often what is taken is doubled at one look, for seconds in which nothing was looked at.
const MOST_DOUBLINGS: u64 = 2;
/// A lane whose pace lets it send within this time waits for a call like one that is not paced, in milliseconds.
const SOON_MS: u64 = 100;
/// Launches come late of which more than this part of their HeartbeatTimeout is over.
const LATE_PART: u64 = 4;
/// For so long after one that came late everything is taken, in milliseconds.
const LATE_MS: u64 = 10_000;
/// A receive brings at most ten messages (SQS).
const RECEIVE_MAX: u8 = 10;
/// Whoever has just begun to receive takes little in hand, until some of it has ended or this time is over, in milliseconds.
const BEGINNING_MS: u64 = 3_000;
/// So many messages at first, and for each that has ended so many more.
const FIRST: usize = 10;
const MORE_FOR_EACH: usize = 2;
/// A receive that brings nothing is followed by the next no sooner than this after it began, in milliseconds.
const EMPTY_MS: u64 = 1_000;
/// How many bytes of bodies are held for each action that may be open, and at the least in all: beyond it nothing is received until
/// some have gone, as beyond `max_open`. A real notification has about 1 KiB; SQS takes 1 MiB, and whoever may send could have us
/// hold that for as long as a claim is looked into.
const BODY_BYTES_EACH: usize = 4 * 1024;
const BODY_BYTES_LEAST: usize = 16 * 1024 * 1024;

impl Core {
    /// Asks what the queue is, unless it is being asked.
    pub(super) fn ask_queue(&mut self) {
        if !self.queue.asked && self.shutdown.is_none() {
            self.queue.asked = true;
            self.start(Call::DescribeQueue, Flight::Queue);
        }
    }

    /// What the queue is, or that it did not say.
    pub(super) fn take_queue(&mut self, answer: Result<QueueFacts, Failure>) {
        self.queue.asked = false;
        match answer {
            Ok(mut facts) => {
                let now = self.now.mono_ms;
                let refresh = match facts.dead_letters_unknown.take() {
                    None => {
                        self.queue.asking.reset();
                        self.queue.doubted_since = None;
                        QUEUE_REFRESH_MS
                    }
                    Some(failure) => {
                        let delay = self.queue.asking.next_delay(&self.settings.route_fault, &mut self.rng);
                        self.observe(Observation::ServiceTrouble { operation: "GetQueueUrl", failure, delay });
                        let since = *self.queue.doubted_since.get_or_insert(now);
                        match &self.queue.facts {
                            // The one that was known may be there still; if not, its letters find out.
                            Some(known) => facts.dead_letter_url.clone_from(&known.dead_letter_url),
                            // What comes with nowhere for its letters to go stays in the queue: better to begin a little later.
                            None if now.saturating_sub(since) < ms(self.settings.patience) => {
                                let soon = ms(self.settings.transient.initial);
                                return self.arm_queue(Some(now + soon.min(ms(delay))));
                            }
                            // But instances wait, and need no letters.
                            None => {}
                        }
                        ms(delay)
                    }
                };
                if self.queue.facts.as_ref() != Some(&facts) {
                    self.observe(Observation::QueueKnown { has_dead_letter_queue: facts.dead_letter_url.is_some() });
                }
                let nowhere = facts.dead_letter_url.is_none();
                self.queue.facts = Some(facts);
                self.queue.answers = true;
                self.arm_queue(Some(now + refresh));
                if nowhere {
                    self.give_up_dead_letters();
                }
            }
            Err(failure) => {
                self.queue.answers = false;
                let delay = self.queue.asking.next_delay(&self.settings.transient, &mut self.rng);
                self.arm_queue(Some(self.now.mono_ms + ms(delay)));
                self.observe(Observation::ServiceTrouble { operation: Call::DescribeQueue.operation(), failure, delay });
            }
        }
    }

    /// Starts as many long polls as there is room for: one while the queue is quiet, a few while messages come close together, more while
    /// receives come back full. Nothing is received before the queue has said whose it is, since events are held against that.
    pub(super) fn start_receives(&mut self) {
        if self.shutdown.is_some() || self.queue.facts.is_none() || self.queue.receive_at.is_some() {
            return;
        }
        let most_bytes = (self.settings.max_open * BODY_BYTES_EACH).max(BODY_BYTES_LEAST);
        // What polls bring is read before it is seen how much it is: half-way to the bound, there is one of them at a time.
        let wanted_polls = match self.body_bytes {
            bytes if bytes >= most_bytes => 0,
            bytes if bytes >= most_bytes / 2 => 1,
            _ => self.queue.wanted_polls,
        };
        // Whoever cannot keep what is in hand takes no more: else the leases of all run out in turn, and nothing is ever done.
        if self.lanes.get(&LaneKey::Extend).is_some_and(|lane| lane.ready.len() > usize::from(RECEIVE_MAX)) {
            return;
        }
        if self.has_enough() {
            return;
        }
        let most = self.most_in_hand();
        while self.queue.polls < wanted_polls {
            let expected = usize::from(RECEIVE_MAX) * (self.queue.polls as usize);
            let room = most.saturating_sub(self.messages.len() + expected);
            if room == 0 {
                return;
            }
            self.queue.polls += 1;
            let call = Call::Receive {
                max: RECEIVE_MAX.min(u8::try_from(room).unwrap_or(RECEIVE_MAX)),
                wait: self.settings.poll_wait,
                visibility: self.settings.visibility,
            };
            let began = self.now.mono_ms;
            self.start(call, Flight::Poll { began });
        }
    }

    /// How many messages may be in hand. Where workers die soon after they began, again and again, one must not take the queue with it: what it
    /// had in hand is hidden for the rest of the visibility timeout, and one receive nearer to maxReceiveCount.
    fn most_in_hand(&mut self) -> usize {
        // What is followed waits for somebody else, for as long as that takes, and must not take the place of others.
        let most = self.settings.max_open + self.followed.len().min(self.settings.max_open);
        if self.queue.settled || self.launches_come_late() {
            return most;
        }
        if self.queue.settles_at.is_none() {
            let at = self.now.mono_ms + BEGINNING_MS;
            self.timers.set(Timer::Settled, &mut self.queue.settles_at, Some(at));
        }
        most.min(FIRST + MORE_FOR_EACH * self.queue.ended_in_all)
    }

    /// Whether there is more in hand than calls can be made for: then what is left in the queue is no worse off there, another worker may have
    /// it, and nothing is kept in memory before its time. That holds while as much is done within a second. Where it takes longer, the services
    /// are slow, and what waits is better off in hand, where its heartbeats are sent: each second that was slow doubles what is taken, so that one
    /// bad second costs little, and ten of them empty any queue. It holds no more either where launches come late of those that the queue has.
    fn has_enough(&mut self) -> bool {
        let now = self.now.mono_ms;
        let least = ENOUGH_A_CALL * self.settings.max_calls;
        let passed = now.saturating_sub(self.queue.counting_since);
        let seconds = passed / SECOND_MS;
        let waiting = self.could_be_sent();
        if seconds > 0 {
            // Measured against the least, and not against what is in hand: who has taken too much once would else go on taking.
            let slow = waiting >= least && u64::from(self.queue.ended) * SECOND_MS < least as u64 * passed;
            let grown = self.queue.enough.max(least).saturating_mul(1 << seconds.min(MOST_DOUBLINGS));
            self.queue.enough = if slow { grown } else { least };
            self.queue.ended = 0;
            self.queue.counting_since = now;
        }
        !self.launches_come_late() && self.calls_in_flight() > 0 && waiting >= self.queue.enough.max(least)
    }

    /// A launch was first seen so long after it began, of the time that its hook allows: what has come late is not the last of its kind.
    pub(super) fn note_delay(&mut self, age_ms: u64, heartbeat_ms: u64) {
        if age_ms > heartbeat_ms / LATE_PART {
            self.queue.late_at = Some(self.now.mono_ms);
        }
    }

    fn launches_come_late(&self) -> bool {
        self.queue.late_at.is_some_and(|at| self.now.mono_ms < at + LATE_MS)
    }

    /// How many entries wait for nothing but a call, or the turn that a pace soon gives them.
    fn could_be_sent(&self) -> usize {
        let now = self.now.mono_ms;
        let waits_for_a_call = |key: LaneKey, lane: &super::lane::Lane| {
            self.gate_admits(key) && key.linger_ms() == 0 && lane.blocked_until <= now && self.pace_at(key) <= now + SOON_MS
        };
        self.lanes
            .iter()
            .filter(|(key, lane)| !lane.ready.is_empty() && waits_for_a_call(**key, lane))
            .map(|(_, lane)| lane.ready.len())
            .sum()
    }

    /// What a receive brought.
    pub(super) fn take_received(&mut self, began: u64, answer: Result<Vec<ReceivedMessage>, Failure>) {
        self.queue.polls = self.queue.polls.saturating_sub(1);
        match answer {
            Ok(messages) => {
                self.queue.answers = true;
                self.queue.receiving.reset();
                let most = u32::try_from(self.settings.max_polls).unwrap_or(1).max(1);
                let now = self.now.mono_ms;
                let close = !messages.is_empty() && now.saturating_sub(self.queue.received_at) < CLOSE_MS;
                let least = if close { POLLS_WHILE_CLOSE.min(most) } else { 1 };
                self.queue.wanted_polls = match messages.len() {
                    n if n >= usize::from(RECEIVE_MAX) => (self.queue.wanted_polls + 1).min(most),
                    _ => self.queue.wanted_polls.saturating_sub(1).max(least),
                };
                if messages.is_empty() {
                    // A queue that does not wait for messages, as it was asked to, is not asked all the time.
                    let at = began + EMPTY_MS;
                    if at > now {
                        self.timers.set(Timer::Receive, &mut self.queue.receive_at, Some(at));
                    }
                } else {
                    self.queue.received_at = now;
                    self.observe(Observation::Received { messages: messages.len() });
                }
                for message in messages {
                    let id = message.id.clone();
                    if guarded(|| self.admit(began, message)) {
                        self.admission_broke(&id);
                    }
                }
            }
            Err(failure) => {
                self.queue.answers = false;
                self.queue.wanted_polls = 1;
                let delay = self.queue.receiving.next_delay(&self.settings.transient, &mut self.rng);
                let at = self.now.mono_ms + ms(delay);
                self.timers.set(Timer::Receive, &mut self.queue.receive_at, Some(at));
                self.observe(Observation::ServiceTrouble { operation: "ReceiveMessage", failure, delay });
            }
        }
    }
}
