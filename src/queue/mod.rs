//! SQS: receive, extend, release, delete, dead-letter; and what each of its errors means. What a message says is not known here.

mod batch;
mod dead_letters;
mod describe;
mod errors;

pub use dead_letters::{Depth, StoredLetter};

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName,
};
use aws_smithy_types::error::operation::BuildError;

use crate::aws::{Aws, from_sdk};
use crate::core::call::{BatchAnswer, DeadLetter, InHand};
use crate::facts::{EARLIER_RUN, MessageBody, ReceivedMessage};
use crate::names::{MessageId, ReceiptHandle};
use crate::retry::{Class, Failure};
pub use errors::{classify, classify_entry};

/// The longest that ReceiveMessage may wait (SQS limit).
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// The longest visibility timeout (SQS limit).
const LONGEST_VISIBILITY_S: u64 = 12 * 60 * 60;

/// The worker's queue.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    /// The same client with time-outs that outlast a long poll.
    poller: Client,
    url: String,
    dead_letter_url: Option<String>,
}

impl Queue {
    /// The queue at `url`. Dead letters go to `dead_letter_url`, or where the queue's redrive policy points.
    #[must_use]
    pub fn new(aws: &Aws, url: impl Into<String>, dead_letter_url: Option<String>) -> Self {
        Self { client: Client::new(aws.own()), poller: Client::new(&aws.own_with_patience(LONGEST_WAIT)), url: url.into(), dead_letter_url }
    }

    /// Receives up to `max` messages, waiting up to `wait` for the first; they stay hidden from others for `visibility`.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn receive(&self, max: u8, wait: Duration, visibility: Duration) -> Result<Vec<ReceivedMessage>, Failure> {
        let output = self
            .poller
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::from(max.clamp(1, 10)))
            .wait_time_seconds(seconds(wait.min(LONGEST_WAIT)))
            .visibility_timeout(seconds(visibility))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_attribute_names(EARLIER_RUN)
            .send()
            .await
            .map_err(|error| from_sdk(&error, classify))?;
        let messages = output.messages.unwrap_or_default();
        let brought = messages.len();
        let received: Vec<_> = messages.into_iter().filter_map(received).collect();
        if received.len() < brought {
            tracing::warn!(skipped = brought - received.len(), "messages without id, receipt handle or body");
        }
        Ok(received)
    }

    /// Keeps messages for `visibility` from now.
    ///
    /// # Errors
    /// By this room's table, for the whole call or for an entry.
    pub async fn extend(&self, messages: &[InHand], visibility: Duration) -> BatchAnswer<()> {
        self.change_visibility(messages.iter().map(|message| (message, visibility))).await
    }

    /// Gives messages back: each can be received again after its delay.
    ///
    /// # Errors
    /// By this room's table, for the whole call or for an entry.
    pub async fn release(&self, messages: &[(InHand, Duration)]) -> BatchAnswer<()> {
        self.change_visibility(messages.iter().map(|(message, delay)| (message, *delay))).await
    }

    async fn change_visibility(&self, messages: impl Iterator<Item = (&InHand, Duration)>) -> BatchAnswer<()> {
        let entries: Vec<_> = messages
            .enumerate()
            .map(|(at, (message, visibility))| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(at.to_string())
                    .receipt_handle(message.handle.as_str())
                    .visibility_timeout(seconds(visibility))
                    .build()
                    .map_err(|error| invalid(&error))
            })
            .collect::<Result<_, _>>()?;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let asked = entries.len();
        let output = self
            .client
            .change_message_visibility_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| from_sdk(&error, classify))?;
        Ok(batch::in_order(asked, output.successful.iter().map(|entry| entry.id.as_str()), &output.failed))
    }

    /// Deletes messages for good.
    ///
    /// # Errors
    /// By this room's table, for the whole call or for an entry.
    pub async fn delete(&self, messages: &[InHand]) -> BatchAnswer<()> {
        let entries: Vec<_> = messages
            .iter()
            .enumerate()
            .map(|(at, message)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(at.to_string())
                    .receipt_handle(message.handle.as_str())
                    .build()
                    .map_err(|error| invalid(&error))
            })
            .collect::<Result<_, _>>()?;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let asked = entries.len();
        let output = self
            .client
            .delete_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| from_sdk(&error, classify))?;
        Ok(batch::in_order(asked, output.successful.iter().map(|entry| entry.id.as_str()), &output.failed))
    }

    /// Puts a body into the dead-letter queue at `url`, with the reason in its attributes.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn dead_letter(&self, url: &str, letter: &DeadLetter) -> Result<(), Failure> {
        let mut request = self.client.send_message().queue_url(url).message_body(letter.body.as_str());
        for (name, value) in &letter.attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            request = request.message_attributes(*name, value.map_err(|error| invalid(&error))?);
        }
        request.send().await.map_err(|error| from_sdk(&error, classify))?;
        Ok(())
    }
}

/// None where SQS left out what every message has.
fn received(message: Message) -> Option<ReceivedMessage> {
    let attribute = |name| message.attributes.as_ref().and_then(|all| all.get(&name));
    let receive_count = attribute(MessageSystemAttributeName::ApproximateReceiveCount).and_then(|text| text.parse().ok());
    let sent_ms = attribute(MessageSystemAttributeName::SentTimestamp).and_then(|text| text.parse().ok());
    let earlier_run = message.message_attributes.as_ref().is_some_and(|all| all.contains_key(EARLIER_RUN));
    Some(ReceivedMessage {
        id: MessageId::new(message.message_id.as_deref()?).ok()?,
        handle: ReceiptHandle::new(message.receipt_handle.as_deref()?).ok()?,
        body: MessageBody::new(message.body?),
        sent_ms,
        receive_count: receive_count.unwrap_or(1),
        earlier_run,
    })
}

/// Whole seconds, rounded up so that a short lease does not become none; at most what SQS takes.
fn seconds(duration: Duration) -> i32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(whole.min(LONGEST_VISIBILITY_S)).unwrap_or(i32::MAX)
}

fn invalid(error: &BuildError) -> Failure {
    Failure::new(Class::Final, "invalid_request", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_become_whole_seconds_that_sqs_takes() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(90)), 90);
        assert_eq!(seconds(Duration::from_secs(1_000_000)), 43_200);
    }

    #[test]
    fn a_message_without_attributes_counts_as_received_once() {
        let message = Message::builder().message_id("m").receipt_handle("h").body("{}").build();
        let received = received(message).unwrap();
        assert_eq!((received.receive_count, received.sent_ms), (1, None));
    }

    #[test]
    fn what_sqs_says_of_a_message_is_kept() {
        let message = Message::builder()
            .message_id("m")
            .receipt_handle("h")
            .body("{}")
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, "7")
            .attributes(MessageSystemAttributeName::SentTimestamp, "1700000000123")
            .build();
        let received = received(message).unwrap();
        assert_eq!((received.receive_count, received.sent_ms), (7, Some(1_700_000_000_123)));
    }

    #[test]
    fn a_message_without_a_handle_is_not_a_message() {
        assert!(received(Message::builder().message_id("m").body("{}").build()).is_none());
    }
}
