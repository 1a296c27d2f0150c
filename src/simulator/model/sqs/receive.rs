//! Receiving.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lease::handle;
use super::wire::{MessageAttributes, ReceiveMessage, Received, ReceivedMessage};
use super::{Message, Place, Queue, Sqs, digest, errors};
use crate::simulator::model::caller::Caller;
use crate::simulator::model::context::{Context, Event};
use crate::simulator::model::error::Answer;

const MOST_IN_FLIGHT: usize = 120_000;

const SYSTEM_ATTRIBUTES: [&str; 9] = [
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
];

impl Sqs {
    /// How long this receive waits for a message, in milliseconds; checks the request.
    pub(crate) fn wait_ms(&self, cx: &Context, request: &ReceiveMessage) -> Answer<(usize, u64)> {
        let queue = self.find(cx, &request.queue_url)?;
        let wait = match request.wait_time_seconds {
            None => self.queues[queue].wait_ms,
            Some(seconds @ 0..=20) => seconds.unsigned_abs() * 1000,
            Some(other) => {
                return Err(errors::parameter_value(other, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided."));
            }
        };
        Ok((queue, wait))
    }

    /// One look at the queue; the wait of a long poll is the caller's.
    pub(crate) fn receive_message(&mut self, cx: &mut Context, _: &Caller, request: &ReceiveMessage) -> Answer<Received> {
        let (number, wait) = self.wait_ms(cx, request)?;
        let most = match request.max_number_of_messages {
            None => 1,
            Some(most @ 1..=10) => usize::try_from(most).unwrap_or(1),
            Some(other) => {
                return Err(errors::parameter_value(other, "MaxNumberOfMessages", "Must be between 1 and 10, if provided."));
            }
        };
        let lease_ms = match request.visibility_timeout {
            None => self.queues[number].visibility_ms,
            Some(seconds @ 0..=43_200) => seconds.unsigned_abs() * 1000,
            Some(other) => {
                return Err(errors::parameter_value(other, "VisibilityTimeout", "Must be between 0 and 43200, if provided."));
            }
        };
        let asked = Asked::by(request)?;
        let queue = &self.queues[number];
        if queue.in_flight() >= MOST_IN_FLIGHT {
            return Err(errors::over_limit());
        }
        if wait == 0 && cx.chance(queue.options.short_poll_misses) {
            return Ok(Received::default());
        }
        let mut received = Received::default();
        let mut handed = Vec::new();
        while received.messages.len() < most {
            let Some(id) = self.queues[number].take_ready(cx) else {
                break;
            };
            if let Some(message) = self.hand_out(cx, number, id, lease_ms, &asked) {
                received.messages.push(message);
                handed.push(id);
            }
        }
        if lease_ms == 0 {
            // Received and visible at once, for the next receive; this one has each message once.
            for id in handed {
                self.queues[number].show(cx, number, id);
            }
        }
        Ok(received)
    }

    fn hand_out(&mut self, cx: &mut Context, number: usize, id: u64, lease_ms: u64, asked: &Asked) -> Option<ReceivedMessage> {
        let queue = &mut self.queues[number];
        let message = queue.messages.get_mut(&id)?;
        if cx.now >= message.sent + queue.retention_ms {
            queue.remove(id);
            return None;
        }
        if let Some(redrive) = &queue.redrive
            && message.receives >= redrive.max_receive_count
        {
            let target = Arc::clone(&redrive.target);
            let name = Arc::clone(&queue.name);
            queue.counts.redriven += 1;
            let message = queue.remove(id)?;
            self.redrive_to(cx, &name, &target, message);
            return None;
        }
        message.receives += 1;
        message.first_received.get_or_insert(cx.now);
        let until = cx.now + lease_ms;
        let nonce = cx.rng.u64(..);
        message.place = Place::InFlight { nonce, received: cx.now, until };
        queue.visible -= 1;
        queue.counts.received += 1;
        let out = message.received(cx, handle(number, id, nonce), asked);
        if lease_ms > 0 {
            message.looked_at = until;
            cx.at(until, Event::MessageDue { queue: number, message: id });
        }
        Some(out)
    }
}

impl Queue {
    /// Takes the next message that may be received out of the line.
    fn take_ready(&mut self, cx: &mut Context) -> Option<u64> {
        loop {
            let window = self.options.reorder.min(self.ready.len());
            if window > 1 {
                self.ready.swap(0, cx.rng.usize(0..window));
            }
            let (id, epoch) = self.ready.pop_front()?;
            let current = self.messages.get(&id).is_some_and(|message| message.epoch == epoch && message.place == Place::Visible);
            if current {
                return Some(id);
            }
        }
    }
}

/// Which attributes a receive asked for; nothing else is given.
struct Asked {
    system: Vec<&'static str>,
    message: Vec<String>,
}

impl Asked {
    fn by(request: &ReceiveMessage) -> Answer<Self> {
        let mut system = Vec::new();
        for name in request.message_system_attribute_names.iter().chain(&request.attribute_names) {
            if name == "All" {
                system.extend(SYSTEM_ATTRIBUTES);
            } else if let Some(known) = SYSTEM_ATTRIBUTES.iter().find(|known| *known == name) {
                system.push(known);
            } else {
                return Err(errors::attribute_name(name));
            }
        }
        Ok(Self { system, message: request.message_attribute_names.clone() })
    }

    fn wants(&self, name: &str) -> bool {
        self.message.iter().any(|asked| {
            asked == "All" || asked == ".*" || asked == name || asked.strip_suffix(".*").is_some_and(|prefix| name.starts_with(prefix))
        })
    }
}

impl Message {
    fn received(&self, cx: &Context, receipt_handle: String, asked: &Asked) -> ReceivedMessage {
        let attributes: BTreeMap<&'static str, String> =
            asked.system.iter().filter_map(|name| self.system_attribute(cx, name).map(|value| (*name, value))).collect();
        let chosen: MessageAttributes = if asked.message.is_empty() {
            MessageAttributes::new()
        } else {
            let chosen = self.attributes.iter().filter(|(name, _)| asked.wants(name));
            chosen.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        ReceivedMessage {
            message_id: Arc::clone(&self.message_id),
            receipt_handle,
            md5_of_body: Arc::clone(&self.body_md5),
            body: Arc::clone(&self.body),
            attributes,
            md5_of_message_attributes: digest::of_attributes(&chosen),
            message_attributes: chosen,
        }
    }

    fn system_attribute(&self, cx: &Context, name: &str) -> Option<String> {
        match name {
            "SenderId" => Some(self.sender.to_string()),
            "SentTimestamp" => Some(self.sent.to_string()),
            "ApproximateReceiveCount" => Some(self.receives.to_string()),
            "ApproximateFirstReceiveTimestamp" => Some(self.first_received?.to_string()),
            "AWSTraceHeader" => self.trace_header.clone(),
            "DeadLetterQueueSourceArn" => Some(super::arn_of(cx, self.source.as_deref()?)),
            _ => None,
        }
    }
}
