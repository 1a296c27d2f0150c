//! The dead-letter queue from its reader's side: what stands in it, with what was written beside each body.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName};

use super::errors::classify;
use super::{LONGEST_WAIT, Queue, invalid, received, seconds};
use crate::aws::from_sdk;
use crate::facts::{EARLIER_RUN, MessageBody, ReceivedMessage};
use crate::retry::Failure;

/// A message of a dead-letter queue as one receive brought it.
#[derive(Debug, Clone)]
pub struct StoredLetter {
    /// The message.
    pub message: ReceivedMessage,
    /// Its attributes of type String, by name. Whoever may send to the queue may have written them.
    pub attributes: BTreeMap<String, String>,
    /// The queue that SQS itself moved the message from (`DeadLetterQueueSourceArn`); none where it was sent here.
    pub moved_from: Option<String>,
}

/// About how many messages a queue has; SQS counts neither exactly nor at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Those that can be received (`ApproximateNumberOfMessages`).
    pub waiting: u64,
    /// Those that somebody has received and not given back (`ApproximateNumberOfMessagesNotVisible`).
    pub in_flight: u64,
    /// Those that nobody can receive yet (`ApproximateNumberOfMessagesDelayed`).
    pub delayed: u64,
}

impl Depth {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.waiting.saturating_add(self.in_flight).saturating_add(self.delayed)
    }
}

impl Queue {
    /// Receives like [`receive`](Queue::receive), with what stands beside each body.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn receive_letters(&self, max: u8, wait: Duration, visibility: Duration) -> Result<Vec<StoredLetter>, Failure> {
        let output = self
            .poller
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::from(max.clamp(1, 10)))
            .wait_time_seconds(seconds(wait.min(LONGEST_WAIT)))
            .visibility_timeout(seconds(visibility))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::DeadLetterQueueSourceArn)
            .message_attribute_names("All")
            .send()
            .await
            .map_err(|error| from_sdk(&error, classify))?;
        Ok(output.messages.unwrap_or_default().into_iter().filter_map(stored).collect())
    }

    /// Sends a body to this queue, as it is and with nothing beside it, but that an earlier run may have associated its node where one may.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn send_back(&self, body: &MessageBody, earlier_run: bool) -> Result<(), Failure> {
        let mut request = self.client.send_message().queue_url(&self.url).message_body(body.as_str());
        if earlier_run {
            let value = MessageAttributeValue::builder().data_type("String").string_value("1").build();
            request = request.message_attributes(EARLIER_RUN, value.map_err(|error| invalid(&error))?);
        }
        request.send().await.map_err(|error| from_sdk(&error, classify))?;
        Ok(())
    }

    /// About how much is in this queue.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn depth(&self) -> Result<Depth, Failure> {
        let output = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesDelayed)
            .send()
            .await
            .map_err(|error| from_sdk(&error, classify))?;
        let attributes = output.attributes.unwrap_or_default();
        let number = |name| attributes.get(&name).and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Depth {
            waiting: number(QueueAttributeName::ApproximateNumberOfMessages),
            in_flight: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            delayed: number(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
        })
    }
}

fn stored(mut message: Message) -> Option<StoredLetter> {
    let beside = message.message_attributes.take().unwrap_or_default();
    let attributes = beside.into_iter().filter_map(|(name, value)| Some((name, value.string_value?))).collect();
    let moved_from = message.attributes.as_ref().and_then(|all| all.get(&MessageSystemAttributeName::DeadLetterQueueSourceArn)).cloned();
    Some(StoredLetter { message: received(message)?, attributes, moved_from })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::types::MessageAttributeValue;

    #[test]
    fn a_letter_keeps_what_stands_beside_its_body() {
        let text = MessageAttributeValue::builder().data_type("String").string_value("deadline").build().unwrap();
        let message = Message::builder()
            .message_id("m")
            .receipt_handle("h")
            .body("{}")
            .message_attributes("EnrolldReason", text)
            .attributes(MessageSystemAttributeName::DeadLetterQueueSourceArn, "arn:aws:sqs:eu-central-1:123456789012:hooks")
            .build();
        let letter = stored(message).unwrap();
        assert_eq!(letter.attributes["EnrolldReason"], "deadline");
        assert_eq!(letter.moved_from.as_deref(), Some("arn:aws:sqs:eu-central-1:123456789012:hooks"));
    }

    #[test]
    fn attributes_that_are_no_text_are_left_out() {
        let bytes = MessageAttributeValue::builder().data_type("Binary").binary_value(b"x".to_vec().into()).build().unwrap();
        let message = Message::builder().message_id("m").receipt_handle("h").body("{}").message_attributes("EnrolldReason", bytes).build();
        assert!(stored(message).unwrap().attributes.is_empty());
    }
}
