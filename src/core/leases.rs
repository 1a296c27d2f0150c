//! Holding on to messages: extended well before their visibility runs out, given back before SQS's 12 hours are over, and let go of
//! when our own clock says that the lease is lost, whatever SQS answered.

use std::time::Duration;

use super::action::Ending;
use super::lane::{LaneKey, Ticket, Who};
use super::observation::Outcome;
use super::time::ms;
use super::{ActionId, Core, MessageKey, Stage, Timer};

/// A message may be kept for at most 12 hours from its receive (SQS), in milliseconds.
const LONGEST_MS: u64 = 12 * 3600 * 1000;

impl Core {
    fn visibility_ms(&self) -> u64 {
        ms(self.settings.visibility)
    }

    /// What the clocks and the network may take off a lease.
    fn lease_margin(&self) -> u64 {
        (self.visibility_ms() / 10).clamp(1_000, 10_000)
    }

    /// A lease runs from `began`, the start of a receive or an extension that succeeded.
    pub(super) fn lease_from(&mut self, key: MessageKey, began: u64) {
        let visibility = self.visibility_ms();
        let Some(message) = self.messages.get_mut(&key) else { return };
        message.leased_at = began;
        // Two fifths on there is still time for a failed extension to be tried again, and for a call to end under the lease.
        self.timers.set(Timer::Lease(key), &mut message.lease_timer, Some(began + visibility * 2 / 5));
    }

    /// Until when a message is surely ours.
    fn leased_until(&self, key: MessageKey) -> Option<u64> {
        let message = self.messages.get(&key)?;
        Some((message.leased_at + self.visibility_ms()).saturating_sub(self.lease_margin()))
    }

    /// Until when an action can be held, less a margin to end it ourselves: then its messages are given back, before SQS's 12 hours are over.
    pub(super) fn kept_until(&self, id: ActionId) -> Option<u64> {
        let messages = self.actions.get(&id)?.messages.iter().filter_map(|key| self.messages.get(key));
        messages.map(|message| (message.received_at + LONGEST_MS).saturating_sub(self.give_back_ms() + 3 * self.call_ms())).min()
    }

    /// How long before the end of SQS's 12 hours a message is given back.
    fn give_back_ms(&self) -> u64 {
        self.visibility_ms() + 60_000
    }

    /// Whether at least one of an action's messages is surely ours until a call begun now has ended.
    pub(super) fn lease_covers_a_call(&self, id: ActionId) -> bool {
        let until = self.now.mono_ms + self.call_ms();
        self.actions.get(&id).is_some_and(|action| action.messages.iter().any(|key| self.leased_until(*key).is_some_and(|at| at > until)))
    }

    /// A message's lease wants to be looked at: to be extended, or lost.
    pub(super) fn lease_is_due(&mut self, key: MessageKey) {
        let now = self.now.mono_ms;
        #[cfg(test)]
        self.trips.at("lease");
        let Some(until) = self.leased_until(key) else { return };
        let give_back_ms = self.give_back_ms();
        let Some(message) = self.messages.get_mut(&key) else { return };
        message.lease_timer = None;
        let Some(owner) = message.owner else { return };
        // Where something broke between an action and its message, nobody would ever end it.
        if !self.actions.contains_key(&owner) {
            return self.send_back(key, Duration::ZERO);
        }
        if now >= until {
            // With everything done but the deletion there is nothing to leave to another worker: the handle is tried until SQS
            // takes it, and if the message is received again, by its newest.
            if self.actions.get(&owner).is_some_and(|action| action.stage == Stage::Delete) {
                return;
            }
            return self.lose(key, owner);
        }
        if now + give_back_ms > message.received_at + LONGEST_MS {
            self.release(owner, Duration::ZERO);
            // One that is not given back, since only its letter or its deletion is missing, is ours to the end of its lease.
            if let Some(message) = self.messages.get_mut(&key).filter(|message| message.owner.is_some()) {
                self.timers.set(Timer::Lease(key), &mut message.lease_timer, Some(until));
            }
            return;
        }
        self.timers.set(Timer::Lease(key), &mut message.lease_timer, Some(until));
        self.lanes.entry(LaneKey::Extend).or_default().push(now, Ticket::new(Who::Message(key)));
    }

    /// A message is ours no more: another worker may have it by now.
    fn lose(&mut self, key: MessageKey, owner: ActionId) {
        self.forget_message(key);
        self.remember_held(owner);
        let Some(action) = self.actions.get_mut(&owner) else { return };
        action.messages.retain(|held| *held != key);
        if action.messages.is_empty() {
            let reason = action.ending.take().and_then(|ending| ending.reason);
            action.ending = Some(Box::new(Ending { reason, ..Ending::new(Outcome::LeaseLost) }));
            self.finish(owner);
        }
    }

    /// Forgets a message, and says whose it was.
    pub(super) fn forget_message(&mut self, key: MessageKey) -> Option<ActionId> {
        let mut message = self.messages.remove(&key)?;
        self.body_bytes = self.body_bytes.saturating_sub(message.body.as_str().len());
        self.timers.set(Timer::Lease(key), &mut message.lease_timer, None);
        if self.message_ids.get(&message.id) == Some(&key) {
            self.message_ids.remove(&message.id);
        }
        message.owner
    }

    /// Whether SQS itself would move the action's message if it were given back: then it must not be.
    pub(super) fn is_last_receive(&self, id: ActionId) -> bool {
        let Some(limit) = self.queue.facts.as_ref().and_then(|facts| facts.max_receive_count) else { return false };
        let Some(action) = self.actions.get(&id) else { return false };
        action.messages.iter().filter_map(|key| self.messages.get(key)).any(|message| message.receive_count >= limit)
    }

    /// Gives an action back to the queue, to be received again after `delay`. On the last receive that the queue's redrive policy
    /// allows, it is dead-lettered with its reason instead: SQS would move it without one.
    pub(super) fn release(&mut self, id: ActionId, delay: Duration) {
        let Some(action) = self.actions.get(&id) else { return };
        let left = action.ending.as_ref().is_some_and(|ending| ending.outcome == Outcome::LeftInQueue);
        // Before the completion the next run can still find out all that there is to write; and what nobody can handle, it cannot handle either.
        let undeliverable = action.ending.as_ref().is_some_and(|ending| ending.outcome == Outcome::DeadLettered);
        let last = self.is_last_receive(id);
        let found_again = action.is_to_complete() || (undeliverable && !last && !self.is_sent(id));
        if (action.stage == Stage::Delete || (action.stage == Stage::DeadLetter && !found_again)) && !left {
            return;
        }
        if !left && last && self.dead_letter_url().is_some() {
            let detail = "the queue's maxReceiveCount allows no further receive, and this run could not end the action".to_owned();
            // Whoever sends the letter back must know what may be left to take off.
            let owed = action.may_be_left();
            return self.end(id, Ending { owed, ..super::admission::undeliverable("deliveries_exhausted", detail) });
        }
        self.remember_held(id);
        let Some(action) = self.actions.get_mut(&id) else { return };
        let messages = std::mem::take(&mut action.messages);
        match &mut action.ending {
            Some(ending) if left => ending.complete = None,
            // What was decided is taken up anew; why, is said here, since the next run may find it done.
            ending => {
                let reason = ending.take().and_then(|ending| ending.reason);
                *ending = Some(Box::new(Ending { reason, ..Ending::new(Outcome::Released) }));
            }
        }
        for key in messages {
            self.send_back(key, delay);
        }
        self.finish(id);
    }

    /// Has one message given back, whoever's it was.
    pub(super) fn send_back(&mut self, key: MessageKey, delay: Duration) {
        let (now, call_ms) = (self.now.mono_ms, self.call_ms());
        let Some(message) = self.messages.get_mut(&key) else { return };
        message.owner = None;
        // SQS refuses what would hide it for more than twelve hours since it was received, and it would come back at once.
        let most = (message.received_at + LONGEST_MS).saturating_sub(now + 2 * call_ms);
        message.release_delay = delay.min(Duration::from_millis(most));
        self.timers.set(Timer::Lease(key), &mut message.lease_timer, None);
        // Received again, here or elsewhere, it is a new message.
        self.message_ids.remove(&message.id);
        self.lanes.entry(LaneKey::Release).or_default().push(self.now.mono_ms, Ticket::new(Who::Message(key)));
    }
}
