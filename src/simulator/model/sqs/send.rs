//! Sending: what a message may be, and how it comes into its queue.

use std::sync::Arc;

use aws_smithy_types::base64;

use super::batch::check_entries;
use super::wire::{Batch, Failed, MessageAttribute, MessageAttributes, SendEntry, SendMessage, SendMessageBatch, Sent, SentEntry};
use super::{Message, Place, Queue, Sqs, digest, errors};
use crate::simulator::model::caller::Caller;
use crate::simulator::model::context::{Context, Event};
use crate::simulator::model::error::Answer;

/// A batch's bodies and attributes together; also what a single message may be by default.
const BATCH_BYTES: usize = 1_048_576;

impl Sqs {
    pub(crate) fn send_message(&mut self, cx: &mut Context, caller: &Caller, request: &SendMessage) -> Answer<Sent> {
        let queue = self.find(cx, &request.queue_url)?;
        let entry = SendEntry {
            id: String::new(),
            message_body: request.message_body.clone(),
            delay_seconds: request.delay_seconds,
            message_attributes: request.message_attributes.clone(),
            message_system_attributes: request.message_system_attributes.clone(),
        };
        self.accept(cx, caller, queue, entry)
    }

    pub(crate) fn send_message_batch(&mut self, cx: &mut Context, caller: &Caller, request: &SendMessageBatch) -> Answer<Batch<SentEntry>> {
        let queue = self.find(cx, &request.queue_url)?;
        check_entries("SendMessageBatchRequestEntry", request.entries.iter().map(|entry| entry.id.as_str()))?;
        let bytes = request.entries.iter().map(size).sum();
        if bytes > BATCH_BYTES {
            return Err(errors::batch_too_long(bytes));
        }
        let mut batch = Batch { successful: Vec::new(), failed: Vec::new() };
        for entry in &request.entries {
            match self.accept(cx, caller, queue, entry.clone()) {
                Ok(sent) => batch.successful.push(SentEntry { id: entry.id.clone(), sent }),
                Err(error) => batch.failed.push(Failed::from_error(&entry.id, error)),
            }
        }
        Ok(batch)
    }

    /// Sends a body as a service would, without the checks of a call.
    pub(crate) fn deliver(&mut self, cx: &mut Context, queue: usize, body: &str, attributes: MessageAttributes) -> Arc<str> {
        let sender = Arc::from("AIDASERVICE");
        self.put(cx, queue, body, attributes, None, sender, None)
    }

    fn accept(&mut self, cx: &mut Context, caller: &Caller, queue: usize, entry: SendEntry) -> Answer<Sent> {
        let bytes = size(&entry);
        let body = entry.message_body.filter(|body| !body.is_empty()).ok_or_else(|| errors::missing("MessageBody"))?;
        if !body.chars().all(allowed) {
            return Err(errors::bad_contents());
        }
        let limit = self.queues[queue].maximum_size;
        if bytes > limit {
            return Err(errors::parameter(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
            )));
        }
        let delay_ms = match entry.delay_seconds {
            None => None,
            Some(seconds @ 0..=900) => Some(seconds.unsigned_abs() * 1000),
            Some(other) => {
                return Err(errors::parameter_value(other, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900."));
            }
        };
        check_attributes(&entry.message_attributes)?;
        let trace = check_system_attributes(&entry.message_system_attributes)?;
        let sent = Sent {
            message_id: String::new(),
            md5_of_message_body: digest::of_body(&body),
            md5_of_message_attributes: digest::of_attributes(&entry.message_attributes),
            md5_of_message_system_attributes: digest::of_attributes(&entry.message_system_attributes),
        };
        let sender = Arc::clone(&caller.arn);
        let message_id = self.put(cx, queue, &body, entry.message_attributes, trace, sender, delay_ms);
        Ok(Sent { message_id: message_id.to_string(), ..sent })
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    fn put(
        &mut self,
        cx: &mut Context,
        number: usize,
        body: &str,
        attributes: MessageAttributes,
        trace_header: Option<String>,
        sender: Arc<str>,
        delay_ms: Option<u64>,
    ) -> Arc<str> {
        let queue = &mut self.queues[number];
        let message_id: Arc<str> = cx.uuid().into();
        let message = Message {
            message_id: Arc::clone(&message_id),
            body: body.into(),
            body_md5: digest::of_body(body).into(),
            attributes: Arc::new(attributes),
            trace_header,
            sender,
            sent: cx.now,
            first_received: None,
            receives: 0,
            source: None,
            place: Place::Visible,
            epoch: 0,
            looked_at: u64::MAX,
        };
        if cx.chance(queue.options.duplicate) {
            let later = cx.jitter(queue.options.duplicate_after_ms);
            let delay = delay_ms.unwrap_or(queue.delay_ms) + later;
            queue.counts.duplicated += 1;
            queue.insert(cx, number, message.clone(), delay);
        }
        let delay = delay_ms.unwrap_or(queue.delay_ms);
        queue.insert(cx, number, message, delay);
        message_id
    }

    /// Moves a message that was received too often.
    pub(super) fn redrive_to(&mut self, cx: &mut Context, from: &Arc<str>, target: &str, mut message: Message) {
        // A dead-letter queue that was deleted swallows what is sent to it.
        let Some(number) = self.named(target) else {
            return;
        };
        message.source = Some(Arc::clone(from));
        message.receives = 0;
        message.first_received = None;
        self.queues[number].insert(cx, number, message, 0);
    }
}

impl Queue {
    fn insert(&mut self, cx: &mut Context, number: usize, mut message: Message, delay_ms: u64) {
        let id = self.next_message;
        self.next_message += 1;
        self.counts.sent += 1;
        let until = cx.now + delay_ms;
        message.place = Place::Delayed { until };
        message.looked_at = until;
        message.epoch = 0;
        self.messages.insert(id, message);
        self.delayed += 1;
        if delay_ms == 0 {
            self.show(cx, number, id);
        } else {
            cx.at(until, Event::MessageDue { queue: number, message: id });
        }
    }
}

fn size(entry: &SendEntry) -> usize {
    let attribute = |(name, value): (&String, &MessageAttribute)| {
        // Base64 holds three bytes in four characters; the exact count does not matter to any client.
        let binary = value.binary_value.as_ref().map_or(0, |value| value.len() / 4 * 3);
        name.len() + value.data_type.len() + value.string_value.as_ref().map_or(0, String::len) + binary
    };
    entry.message_body.as_ref().map_or(0, String::len) + entry.message_attributes.iter().map(attribute).sum::<usize>()
}

/// The characters of XML 1.0, which SQS allows in bodies and text values.
const fn allowed(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

fn check_attributes(attributes: &MessageAttributes) -> Answer<()> {
    if attributes.len() > 10 {
        return Err(errors::parameter(format!("Number of message attributes [{}] exceeds the allowed maximum [10].", attributes.len())));
    }
    attributes.iter().try_for_each(|(name, attribute)| check_attribute(name, attribute))
}

fn check_attribute(name: &str, attribute: &MessageAttribute) -> Answer<()> {
    let lower = name.to_ascii_lowercase();
    let characters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if name.is_empty() || name.len() > 256 || !characters || name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return Err(errors::parameter(format!(
            "Message (user) attribute name '{name}' is invalid: it can contain up to 256 alphanumeric characters, hyphens, underscores and periods, and no period at its ends or after another."
        )));
    }
    if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        return Err(errors::parameter(format!("Message (user) attribute name '{name}' must not start with a reserved prefix.")));
    }
    let kind = attribute.data_type.split('.').next().unwrap_or_default();
    if attribute.data_type.is_empty() {
        return Err(errors::parameter(format!("The message attribute '{name}' must contain non-empty message attribute type.")));
    }
    if !matches!(kind, "String" | "Number" | "Binary") || attribute.data_type.len() > 256 {
        return Err(errors::parameter(format!(
            "The type of message attribute '{name}' is invalid. You must use only the following supported type prefixes: Binary, Number, String."
        )));
    }
    let empty = || {
        errors::parameter(format!(
            "The message attribute '{name}' must contain non-empty message attribute value for message attribute type '{}'.",
            attribute.data_type
        ))
    };
    if kind == "Binary" {
        let bytes = attribute.binary_value.as_ref().filter(|value| !value.is_empty()).ok_or_else(empty)?;
        return base64::decode(bytes).map(drop).map_err(|_| empty());
    }
    let text = attribute.string_value.as_ref().filter(|value| !value.is_empty()).ok_or_else(empty)?;
    if !text.chars().all(allowed) {
        return Err(errors::bad_contents());
    }
    if kind == "Number" && text.trim().parse::<f64>().is_err() {
        return Err(errors::parameter(format!("Can't cast the value of message (user) attribute '{name}' to a number.")));
    }
    Ok(())
}

fn check_system_attributes(attributes: &MessageAttributes) -> Answer<Option<String>> {
    let mut trace = None;
    for (name, attribute) in attributes {
        if name != "AWSTraceHeader" || attribute.data_type != "String" {
            return Err(errors::parameter(format!("Message system attribute name '{name}' is invalid.")));
        }
        trace.clone_from(&attribute.string_value);
    }
    Ok(trace)
}
