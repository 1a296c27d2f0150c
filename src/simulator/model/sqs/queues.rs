//! Queues and their attributes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::wire::{
    Attributes, CreateQueue, DeleteQueue, GetQueueAttributes, GetQueueUrl, ListQueues, Nothing, PurgeQueue, QueueAttributes, QueueUrl,
    QueueUrls, SetQueueAttributes,
};
use super::{Queue, QueueCounts, QueueOptions, Redrive, Sqs, arn_of, errors, url_of};
use crate::simulator::model::caller::Caller;
use crate::simulator::model::context::Context;
use crate::simulator::model::error::Answer;

/// How long a deleted queue's name stays taken, and how long a purge keeps others away.
const COOL_DOWN_MS: u64 = 60_000;

/// Attributes with whole numbers: name, least, most, what a new queue has.
const NUMBERS: [(&str, u64, u64, &str); 5] = [
    ("VisibilityTimeout", 0, 43_200, "30"),
    ("DelaySeconds", 0, 900, "0"),
    ("ReceiveMessageWaitTimeSeconds", 0, 20, "0"),
    ("MessageRetentionPeriod", 60, 1_209_600, "345600"),
    ("MaximumMessageSize", 1024, 1_048_576, "1048576"),
];

const TEXTS: [&str; 10] = [
    "Policy",
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
    "FifoQueue",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
];

const COMPUTED: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

impl Sqs {
    pub(crate) fn create_queue(&mut self, cx: &mut Context, _: &Caller, request: &CreateQueue) -> Answer<QueueUrl> {
        let name = request.queue_name.as_deref().ok_or_else(|| errors::missing("QueueName"))?;
        let fifo = request.attributes.get("FifoQueue").is_some_and(|value| value == "true");
        check_name(name, fifo)?;
        if let Some(queue) = self.named(name) {
            let queue = &self.queues[queue];
            for (attribute, value) in &request.attributes {
                if queue.attributes.get(attribute) != Some(value) {
                    return Err(errors::queue_exists(format!(
                        "A queue already exists with the same name and a different value for attribute {attribute}"
                    )));
                }
            }
            return Ok(QueueUrl { queue_url: url_of(cx, name) });
        }
        if self.deleted.get(name).is_some_and(|at| cx.now < at + COOL_DOWN_MS) {
            return Err(errors::deleted_recently());
        }
        let mut queue = Queue::new(name, cx.now);
        self.apply(cx, &mut queue, &request.attributes, true)?;
        self.by_name.insert(Arc::clone(&queue.name), self.queues.len());
        self.queues.push(queue);
        Ok(QueueUrl { queue_url: url_of(cx, name) })
    }

    pub(crate) fn get_queue_url(&self, cx: &Context, _: &Caller, request: &GetQueueUrl) -> Answer<QueueUrl> {
        let name = request.queue_name.as_deref().ok_or_else(|| errors::missing("QueueName"))?;
        let here = request.owner.as_ref().is_none_or(|owner| *owner == cx.settings.account);
        match self.named(name) {
            Some(_) if here => Ok(QueueUrl { queue_url: url_of(cx, name) }),
            _ => Err(errors::no_such_queue()),
        }
    }

    pub(crate) fn get_queue_attributes(&self, cx: &Context, _: &Caller, request: &GetQueueAttributes) -> Answer<QueueAttributes> {
        let queue = &self.queues[self.find(cx, &request.queue_url)?];
        let mut attributes = Attributes::new();
        for name in &request.attribute_names {
            if name == "All" {
                attributes.extend(queue.attributes.clone());
                attributes.extend(COMPUTED.map(|name| (name.to_owned(), queue.computed(cx, name))));
            } else if COMPUTED.contains(&name.as_str()) {
                attributes.insert(name.clone(), queue.computed(cx, name));
            } else if let Some(value) = queue.attributes.get(name) {
                attributes.insert(name.clone(), value.clone());
            } else if !TEXTS.contains(&name.as_str()) {
                return Err(errors::attribute_name(name));
            }
        }
        Ok(QueueAttributes { attributes })
    }

    pub(crate) fn set_queue_attributes(&mut self, cx: &mut Context, _: &Caller, request: &SetQueueAttributes) -> Answer<Nothing> {
        let number = self.find(cx, &request.queue_url)?;
        if request.attributes.is_empty() {
            return Err(errors::missing("Attribute.Name"));
        }
        // Onto a stand-in, so that one bad attribute leaves all as they were.
        let mut changed = Queue::new(&self.queues[number].name, cx.now);
        let all: Attributes = self.queues[number].attributes.clone().into_iter().chain(request.attributes.clone()).collect();
        self.apply(cx, &mut changed, &all, false)?;
        let queue = &mut self.queues[number];
        queue.modified = cx.now;
        queue.attributes = changed.attributes;
        queue.visibility_ms = changed.visibility_ms;
        queue.delay_ms = changed.delay_ms;
        queue.wait_ms = changed.wait_ms;
        queue.retention_ms = changed.retention_ms;
        queue.maximum_size = changed.maximum_size;
        queue.redrive = changed.redrive;
        Ok(Nothing {})
    }

    pub(crate) fn delete_queue(&mut self, cx: &mut Context, _: &Caller, request: &DeleteQueue) -> Answer<Nothing> {
        let number = self.find(cx, &request.queue_url)?;
        let queue = &mut self.queues[number];
        queue.alive = false;
        queue.clear();
        self.by_name.remove(&queue.name);
        self.deleted.insert(Arc::clone(&queue.name), cx.now);
        // Whoever waits at it must learn that it is gone.
        cx.arrivals.push(number);
        Ok(Nothing {})
    }

    pub(crate) fn purge_queue(&mut self, cx: &mut Context, _: &Caller, request: &PurgeQueue) -> Answer<Nothing> {
        let number = self.find(cx, &request.queue_url)?;
        let queue = &mut self.queues[number];
        if queue.purged.is_some_and(|at| cx.now < at + COOL_DOWN_MS) {
            return Err(errors::purge_in_progress(&queue.name));
        }
        queue.purged = Some(cx.now);
        queue.clear();
        Ok(Nothing {})
    }

    pub(crate) fn list_queues(&self, cx: &Context, _: &Caller, request: &ListQueues) -> Answer<QueueUrls> {
        let limit = match request.max_results {
            None => 1000,
            Some(limit @ 1..=1000) => usize::try_from(limit).unwrap_or(1000),
            Some(other) => {
                return Err(errors::parameter_value(other, "MaxResults", "Must be between 1 and 1000, if provided."));
            }
        };
        let prefix = request.queue_name_prefix.as_deref().unwrap_or_default();
        let after = request.next_token.as_deref().unwrap_or_default();
        let mut names: Vec<&str> = self.by_name.keys().map(AsRef::as_ref).collect();
        names.retain(|name| name.starts_with(prefix) && *name > after);
        names.sort_unstable();
        // As the service does it: without MaxResults there is no token.
        let more = request.max_results.is_some() && names.len() > limit;
        names.truncate(limit);
        Ok(QueueUrls {
            next_token: more.then(|| names.last().map(|name| (*name).to_owned())).flatten(),
            queue_urls: names.into_iter().map(|name| url_of(cx, name)).collect(),
        })
    }

    fn apply(&self, cx: &Context, queue: &mut Queue, attributes: &Attributes, new: bool) -> Answer<()> {
        for (name, value) in attributes {
            if let Some((_, least, most, _)) = NUMBERS.iter().find(|(known, ..)| known == name) {
                let number: u64 = value.parse().map_err(|_| errors::attribute_value(name))?;
                if !(*least..=*most).contains(&number) {
                    return Err(errors::attribute_value(name));
                }
                queue.set_number(name, number);
            } else if !TEXTS.contains(&name.as_str()) {
                return Err(errors::attribute_name(name));
            }
            if name == "FifoQueue" && (value != "true" || !queue.name.ends_with(".fifo")) {
                return Err(if new { errors::attribute_name(name) } else { errors::attribute_value(name) });
            }
            if name == "RedrivePolicy" {
                queue.redrive = if value.is_empty() { None } else { Some(self.redrive(cx, value)?) };
                if value.is_empty() {
                    queue.attributes.remove(name);
                    continue;
                }
            }
            queue.attributes.insert(name.clone(), value.clone());
        }
        Ok(())
    }

    fn redrive(&self, cx: &Context, policy: &str) -> Answer<Redrive> {
        let bad = |reason: &str| errors::parameter_value(policy, "RedrivePolicy", reason);
        let value: Value = serde_json::from_str(policy).map_err(|_| bad("Redrive policy is not a valid JSON map."))?;
        let arn = value["deadLetterTargetArn"]
            .as_str()
            .ok_or_else(|| bad("Redrive policy does not contain mandatory attribute: deadLetterTargetArn."))?;
        let count = match &value["maxReceiveCount"] {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            Value::Null => {
                return Err(bad("Redrive policy does not contain mandatory attribute: maxReceiveCount."));
            }
            _ => None,
        };
        let count = count
            .filter(|count| (1..=1000).contains(count))
            .and_then(|count| u32::try_from(count).ok())
            .ok_or_else(|| bad("Invalid value for maxReceiveCount: must be between 1 and 1000, inclusive."))?;
        let target = self.by_arn(cx, arn).ok_or_else(|| bad("Dead letter target does not exist."))?;
        Ok(Redrive { target: Arc::clone(&self.queues[target].name), max_receive_count: count })
    }
}

impl Queue {
    fn new(name: &str, now: u64) -> Self {
        let mut queue = Self {
            name: name.into(),
            options: QueueOptions::default(),
            alive: true,
            counts: QueueCounts::default(),
            created: now,
            modified: now,
            purged: None,
            attributes: NUMBERS.iter().map(|(name, _, _, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            visibility_ms: 30_000,
            delay_ms: 0,
            wait_ms: 0,
            retention_ms: 345_600_000,
            maximum_size: 1_048_576,
            redrive: None,
            messages: HashMap::new(),
            next_message: 0,
            ready: VecDeque::new(),
            visible: 0,
            delayed: 0,
        };
        queue.attributes.insert("SqsManagedSseEnabled".into(), "true".into());
        queue
    }

    fn set_number(&mut self, name: &str, value: u64) {
        match name {
            "VisibilityTimeout" => self.visibility_ms = value * 1000,
            "DelaySeconds" => self.delay_ms = value * 1000,
            "ReceiveMessageWaitTimeSeconds" => self.wait_ms = value * 1000,
            "MessageRetentionPeriod" => self.retention_ms = value * 1000,
            _ => self.maximum_size = usize::try_from(value).unwrap_or(usize::MAX),
        }
    }

    fn computed(&self, cx: &Context, name: &str) -> String {
        match name {
            "ApproximateNumberOfMessages" => self.visible.to_string(),
            "ApproximateNumberOfMessagesNotVisible" => self.in_flight().to_string(),
            "ApproximateNumberOfMessagesDelayed" => self.delayed.to_string(),
            "CreatedTimestamp" => (self.created / 1000).to_string(),
            "LastModifiedTimestamp" => (self.modified / 1000).to_string(),
            _ => arn_of(cx, &self.name),
        }
    }

    fn clear(&mut self) {
        self.messages.clear();
        self.ready.clear();
        self.visible = 0;
        self.delayed = 0;
    }
}

fn check_name(name: &str, fifo: bool) -> Answer<()> {
    let plain = if fifo { name.strip_suffix(".fifo").unwrap_or("") } else { name };
    let valid = (1..=80).contains(&name.len())
        && !plain.is_empty()
        && plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if valid {
        Ok(())
    } else {
        Err(errors::parameter("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length".into()))
    }
}
