//! What a receipt handle can do: delete its message, and change how long the message stays invisible.

use super::batch::check_entries;
use super::wire::{Batch, ChangeMessageVisibility, ChangeMessageVisibilityBatch, DeleteMessage, DeleteMessageBatch, Done, Failed, Nothing};
use super::{ExpiredHandles, Place, Sqs, errors};
use crate::simulator::model::caller::Caller;
use crate::simulator::model::context::{Context, Event};
use crate::simulator::model::error::Answer;

/// A message can be held for at most 12 hours from its receive.
const LONGEST_LEASE_MS: u64 = 43_200_000;

/// A receipt handle: it belongs to one receive of one message of one queue.
pub(super) fn handle(queue: usize, message: u64, nonce: u64) -> String {
    format!("AQEB{queue:04x}{message:016x}{nonce:016x}")
}

fn parse(text: &str) -> Option<(usize, u64, u64)> {
    let hex = text.strip_prefix("AQEB").filter(|hex| hex.len() == 36 && hex.is_ascii())?;
    let queue = usize::from_str_radix(&hex[..4], 16).ok()?;
    let message = u64::from_str_radix(&hex[4..20], 16).ok()?;
    let nonce = u64::from_str_radix(&hex[20..], 16).ok()?;
    Some((queue, message, nonce))
}

impl Sqs {
    pub(crate) fn delete_message(&mut self, cx: &mut Context, _: &Caller, request: &DeleteMessage) -> Answer<Nothing> {
        let queue = self.find(cx, &request.queue_url)?;
        self.delete(queue, request.receipt_handle.as_deref())
    }

    pub(crate) fn delete_message_batch(&mut self, cx: &mut Context, _: &Caller, request: &DeleteMessageBatch) -> Answer<Batch<Done>> {
        let queue = self.find(cx, &request.queue_url)?;
        check_entries("DeleteMessageBatchRequestEntry", request.entries.iter().map(|entry| entry.id.as_str()))?;
        let mut batch = Batch { successful: Vec::new(), failed: Vec::new() };
        for entry in &request.entries {
            match self.delete(queue, entry.receipt_handle.as_deref()) {
                Ok(_) => batch.successful.push(Done { id: entry.id.clone() }),
                Err(error) => batch.failed.push(Failed::from_error(&entry.id, error)),
            }
        }
        Ok(batch)
    }

    pub(crate) fn change_message_visibility(&mut self, cx: &mut Context, _: &Caller, request: &ChangeMessageVisibility) -> Answer<Nothing> {
        let queue = self.find(cx, &request.queue_url)?;
        self.change(cx, queue, request.receipt_handle.as_deref(), request.visibility_timeout)
    }

    pub(crate) fn change_message_visibility_batch(
        &mut self,
        cx: &mut Context,
        _: &Caller,
        request: &ChangeMessageVisibilityBatch,
    ) -> Answer<Batch<Done>> {
        let queue = self.find(cx, &request.queue_url)?;
        let ids = request.entries.iter().map(|entry| entry.id.as_str());
        check_entries("ChangeMessageVisibilityBatchRequestEntry", ids)?;
        let mut batch = Batch { successful: Vec::new(), failed: Vec::new() };
        for entry in &request.entries {
            match self.change(cx, queue, entry.receipt_handle.as_deref(), entry.visibility_timeout) {
                Ok(_) => batch.successful.push(Done { id: entry.id.clone() }),
                Err(error) => batch.failed.push(Failed::from_error(&entry.id, error)),
            }
        }
        Ok(batch)
    }

    /// Deletes a message by the handle of its latest receive; by an older handle nothing happens, and the answer is the same.
    fn delete(&mut self, queue: usize, handle: Option<&str>) -> Answer<Nothing> {
        let (id, nonce) = checked(queue, handle)?;
        let queue = &mut self.queues[queue];
        let Some(message) = queue.messages.get(&id) else {
            return Ok(Nothing {});
        };
        if matches!(message.place, Place::InFlight { nonce: held, .. } if held == nonce) {
            queue.remove(id);
            queue.counts.deleted += 1;
        } else {
            queue.counts.stale_handles += 1;
        }
        Ok(Nothing {})
    }

    fn change(&mut self, cx: &mut Context, number: usize, text: Option<&str>, seconds: Option<i64>) -> Answer<Nothing> {
        let (id, nonce) = checked(number, text)?;
        let seconds = seconds.ok_or_else(|| errors::missing("VisibilityTimeout"))?;
        if !(0..=43_200).contains(&seconds) {
            return Err(errors::parameter_value(seconds, "VisibilityTimeout", "VisibilityTimeout must be an integer between 0 and 43200"));
        }
        let queue = &mut self.queues[number];
        let kind = queue.options.expired_handles;
        let message = queue.messages.get_mut(&id);
        let gone = message.is_none();
        let held = message.filter(|message| matches!(message.place, Place::InFlight { nonce: held, .. } if held == nonce));
        let Some(message) = held else {
            queue.counts.stale_handles += 1;
            return match kind {
                ExpiredHandles::Ok => Ok(Nothing {}),
                ExpiredHandles::Error if gone => Err(errors::parameter_value(
                    text.unwrap_or_default(),
                    "ReceiptHandle",
                    "Message does not exist or is not available for visibility timeout change.",
                )),
                ExpiredHandles::Error => Err(errors::not_in_flight()),
            };
        };
        let Place::InFlight { received, .. } = message.place else {
            return Ok(Nothing {});
        };
        let until = cx.now + seconds.unsigned_abs() * 1000;
        if until > received + LONGEST_LEASE_MS {
            return Err(errors::parameter_value(
                seconds,
                "VisibilityTimeout",
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            ));
        }
        message.place = Place::InFlight { nonce, received, until };
        if seconds == 0 {
            queue.show(cx, number, id);
        } else if until < message.looked_at {
            message.looked_at = until;
            cx.at(until, Event::MessageDue { queue: number, message: id });
        }
        Ok(Nothing {})
    }
}

fn checked(queue: usize, handle: Option<&str>) -> Answer<(u64, u64)> {
    let handle = handle.filter(|handle| !handle.is_empty()).ok_or_else(|| errors::missing("ReceiptHandle"))?;
    match parse(handle) {
        Some((of, id, nonce)) if of == queue => Ok((id, nonce)),
        _ => Err(errors::bad_handle(handle)),
    }
}
