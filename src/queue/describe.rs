//! What the queue is: whose, where, and where its dead letters go.

use std::collections::HashMap;

use aws_sdk_sqs::types::QueueAttributeName;
use serde::Deserialize;

use super::Queue;
use super::errors::classify;
use crate::aws::{detail, from_sdk, further};
use crate::facts::QueueFacts;
use crate::names::{AccountId, Region};
use crate::retry::{Class, Failure};

impl Queue {
    /// Asks what the queue is; and, unless a dead-letter queue is configured, for the URL of the one its redrive policy names. Where that
    /// cannot be had, the answer says why.
    ///
    /// # Errors
    /// By this room's table; and a fault of the route for a FIFO queue, which cannot be a lifecycle hook's target.
    pub async fn describe(&self) -> Result<QueueFacts, Failure> {
        let output = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .map_err(|error| from_sdk(&error, classify))?;
        let attributes = output.attributes.unwrap_or_default();
        let arn = QueueArn::of(&attributes)?;
        let redrive = Redrive::of(&attributes)?;
        // What the queue is must not depend on another that may be gone.
        let (dead_letter_url, dead_letters_unknown) = match (&self.dead_letter_url, &redrive) {
            (Some(configured), _) => (Some(configured.clone()), None),
            (None, Some(redrive)) => match further("GetQueueUrl", self.url_of(&redrive.target)).await {
                Ok(url) => (Some(url), None),
                Err(failure) => (None, Some(failure)),
            },
            (None, None) => (None, None),
        };
        Ok(QueueFacts {
            account: arn.account,
            region: arn.region,
            dead_letter_url,
            dead_letters_unknown,
            max_receive_count: redrive.and_then(|redrive| redrive.max_receive_count),
        })
    }

    /// The queue's ARN.
    ///
    /// # Errors
    /// As [`Queue::describe`].
    pub async fn arn(&self) -> Result<String, Failure> {
        let request = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(QueueAttributeName::QueueArn);
        let attributes = request.send().await.map_err(|error| from_sdk(&error, classify))?.attributes.unwrap_or_default();
        QueueArn::of(&attributes)?;
        Ok(attributes.get(&QueueAttributeName::QueueArn).cloned().unwrap_or_default())
    }

    async fn url_of(&self, queue: &QueueArn) -> Result<String, Failure> {
        let output = self
            .client
            .get_queue_url()
            .queue_name(&queue.name)
            .queue_owner_aws_account_id(queue.account.as_str())
            .send()
            .await
            .map_err(|error| from_sdk(&error, classify))?;
        output.queue_url.ok_or_else(|| unusable("GetQueueUrl answered without a URL"))
    }
}

/// `arn:aws:sqs:REGION:ACCOUNT:NAME`, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct QueueArn {
    region: Region,
    account: AccountId,
    name: String,
}

impl QueueArn {
    fn of(attributes: &HashMap<QueueAttributeName, String>) -> Result<Self, Failure> {
        let arn = attributes.get(&QueueAttributeName::QueueArn).ok_or_else(|| unusable("the queue has no QueueArn"))?;
        let arn = Self::parse(arn)?;
        if arn.name.ends_with(".fifo") || attributes.get(&QueueAttributeName::FifoQueue).is_some_and(|fifo| fifo == "true") {
            let detail = "the queue is a FIFO queue, and Auto Scaling sends to standard queues alone; use a standard queue";
            return Err(Failure::new(Class::RouteFault, "fifo_queue", detail));
        }
        Ok(arn)
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let parts: Vec<&str> = text.split(':').collect();
        let &["arn", _, "sqs", region, account, name] = parts.as_slice() else {
            return Err(unusable(&format!("{text} is no ARN of a queue")));
        };
        Ok(Self {
            region: Region::new(region).map_err(|error| unusable(&error.to_string()))?,
            account: AccountId::new(account).map_err(|error| unusable(&error.to_string()))?,
            name: name.to_owned(),
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Redrive {
    target: QueueArn,
    max_receive_count: Option<u32>,
}

impl Redrive {
    fn of(attributes: &HashMap<QueueAttributeName, String>) -> Result<Option<Self>, Failure> {
        /// The attribute's JSON; `maxReceiveCount` is a number, or one in a string, as it was written.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Policy {
            dead_letter_target_arn: String,
            #[serde(default)]
            max_receive_count: serde_json::Value,
        }
        let Some(text) = attributes.get(&QueueAttributeName::RedrivePolicy).filter(|text| !text.is_empty()) else { return Ok(None) };
        let policy: Policy = serde_json::from_str(text).map_err(|error| unusable(&format!("the RedrivePolicy: {error}")))?;
        let max_receive_count = match &policy.max_receive_count {
            serde_json::Value::Number(number) => number.as_u64().and_then(|count| u32::try_from(count).ok()),
            serde_json::Value::String(text) => text.parse().ok(),
            _ => None,
        };
        Ok(Some(Self { target: QueueArn::parse(&policy.dead_letter_target_arn)?, max_receive_count }))
    }
}

fn unusable(why: &str) -> Failure {
    Failure::new(Class::RouteFault, "queue_unusable", detail(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(of: &[(QueueAttributeName, &str)]) -> HashMap<QueueAttributeName, String> {
        of.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect()
    }

    #[test]
    fn account_and_region_are_read_from_the_arn() {
        let arn = QueueArn::of(&attributes(&[(QueueAttributeName::QueueArn, "arn:aws-cn:sqs:cn-north-1:123456789012:hooks")])).unwrap();
        assert_eq!((arn.account.as_str(), arn.region.as_str(), arn.name.as_str()), ("123456789012", "cn-north-1", "hooks"));
    }

    #[test]
    fn a_fifo_queue_is_refused_by_name() {
        let of = attributes(&[(QueueAttributeName::QueueArn, "arn:aws:sqs:eu-central-1:123456789012:hooks.fifo")]);
        let failure = QueueArn::of(&of).unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "fifo_queue"));
    }

    #[test]
    fn the_redrive_policy_is_read_with_its_count_as_number_or_text() {
        let target = "arn:aws:sqs:eu-central-1:123456789012:dead";
        for count in ["5", "\"5\""] {
            let policy = format!(r#"{{"deadLetterTargetArn":"{target}","maxReceiveCount":{count}}}"#);
            let redrive = Redrive::of(&attributes(&[(QueueAttributeName::RedrivePolicy, &policy)])).unwrap().unwrap();
            assert_eq!((redrive.target.name.as_str(), redrive.max_receive_count), ("dead", Some(5)));
        }
        assert_eq!(Redrive::of(&attributes(&[])).unwrap(), None);
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_a_fault_of_the_route() {
        for bad in ["{", "[]", r#"{"deadLetterTargetArn":"x"}"#] {
            assert_eq!(Redrive::of(&attributes(&[(QueueAttributeName::RedrivePolicy, bad)])).unwrap_err().class, Class::RouteFault);
        }
    }
}
