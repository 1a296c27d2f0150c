//! SQS: standard queues that deliver at least once, in any order.

mod batch;
mod digest;
mod errors;
mod lease;
mod queues;
mod receive;
mod send;
pub mod wire;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::context::{Context, Event};
use super::error::Answer;
use wire::{Attributes, MessageAttributes};

/// What a queue does beyond its attributes; the real service decides these by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueOptions {
    /// The probability that a message sent is delivered a second time, as a copy of its own.
    pub duplicate: f64,
    /// The copy becomes visible up to so many milliseconds later, perhaps while the first is in flight.
    pub duplicate_after_ms: u64,
    /// A receive takes any of the so many messages at the head; 0 and 1 keep the order.
    pub reorder: usize,
    /// What a change of visibility by an expired handle answers.
    pub expired_handles: ExpiredHandles,
    /// Whether a long poll whose client went away still takes messages, which then come back after their visibility time-out.
    pub dropped_polls_receive: bool,
    /// The probability that a short poll (no wait) sees nothing although there are messages.
    pub short_poll_misses: f64,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            duplicate: 0.0,
            duplicate_after_ms: 1000,
            reorder: 0,
            expired_handles: ExpiredHandles::Ok,
            dropped_polls_receive: true,
            short_poll_misses: 0.0,
        }
    }
}

/// What a handle that no longer holds its message gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiredHandles {
    /// 200, and nothing happens: seen on the real service.
    Ok,
    /// `MessageNotInflight`, or `InvalidParameterValue` where the message is gone.
    Error,
}

/// All queues of the account.
#[derive(Debug, Default)]
pub struct Sqs {
    queues: Vec<Queue>,
    by_name: HashMap<Arc<str>, usize>,
    deleted: HashMap<Arc<str>, u64>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub name: Arc<str>,
    pub options: QueueOptions,
    pub alive: bool,
    pub counts: QueueCounts,
    created: u64,
    modified: u64,
    purged: Option<u64>,
    attributes: Attributes,
    /// Milliseconds, from the attributes.
    visibility_ms: u64,
    delay_ms: u64,
    wait_ms: u64,
    retention_ms: u64,
    maximum_size: usize,
    redrive: Option<Redrive>,
    messages: HashMap<u64, Message>,
    next_message: u64,
    /// Messages that may be received, with the epoch in which they came here; others of the same message are stale.
    ready: VecDeque<(u64, u32)>,
    visible: usize,
    delayed: usize,
}

#[derive(Clone, Debug)]
struct Redrive {
    target: Arc<str>,
    max_receive_count: u32,
}

#[derive(Clone, Debug)]
struct Message {
    message_id: Arc<str>,
    body: Arc<str>,
    body_md5: Arc<str>,
    attributes: Arc<MessageAttributes>,
    trace_header: Option<String>,
    sender: Arc<str>,
    sent: u64,
    first_received: Option<u64>,
    receives: u32,
    source: Option<Arc<str>>,
    place: Place,
    epoch: u32,
    /// The earliest time at which the agenda looks at this message, so that an extension need not plan another look.
    looked_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Visible,
    Delayed { until: u64 },
    InFlight { nonce: u64, received: u64, until: u64 },
}

/// What has happened to a queue's messages so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCounts {
    /// Sent to it, by calls, notifications and redrive.
    pub sent: u64,
    /// Handed out, each receive counted.
    pub received: u64,
    /// Deleted.
    pub deleted: u64,
    /// Moved to the dead-letter queue by SQS itself.
    pub redriven: u64,
    /// Copies made by the option `duplicate`.
    pub duplicated: u64,
    /// Changes of visibility and deletes by handles that no longer held.
    pub stale_handles: u64,
    /// Messages that came back because the lease of whoever had received them ran out.
    #[serde(default)]
    pub leases_ended: u64,
}

/// A queue, as the state shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueueState {
    /// Its URL.
    pub url: String,
    /// What may be received.
    pub visible: usize,
    /// What is in flight.
    pub in_flight: usize,
    /// What is delayed.
    pub delayed: usize,
    /// What has happened so far.
    pub counts: QueueCounts,
    /// Its options.
    pub options: QueueOptions,
    /// Its messages, unless only counts were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<MessageState>,
}

/// A message, as the state shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageState {
    /// Its id.
    pub message_id: String,
    /// Its body.
    pub body: String,
    /// Its attributes, the text ones.
    pub attributes: BTreeMap<String, String>,
    /// How often it was received.
    pub receives: u32,
    /// `visible`, `delayed` or `in_flight`.
    pub place: String,
    /// When it was sent, in unix milliseconds.
    pub sent_ms: u64,
}

impl Sqs {
    /// The number of the live queue behind a URL, which ends in `/ACCOUNT/NAME`.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `MissingParameter`.
    pub(crate) fn find(&self, cx: &Context, url: &str) -> Answer<usize> {
        if url.is_empty() {
            return Err(errors::missing("QueueUrl"));
        }
        let mut parts = url.rsplit('/');
        let name = parts.next().unwrap_or_default();
        let account = parts.next().unwrap_or_default();
        match self.named(name) {
            Some(queue) if account == cx.settings.account => Ok(queue),
            _ => Err(errors::no_such_queue()),
        }
    }

    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The number of the live queue behind an ARN of this account and region.
    pub(crate) fn by_arn(&self, cx: &Context, arn: &str) -> Option<usize> {
        let queue = self.named(arn.rsplit(':').next()?)?;
        (arn == arn_of(cx, &self.queues[queue].name)).then_some(queue)
    }

    pub(crate) fn queue(&self, queue: usize) -> &Queue {
        &self.queues[queue]
    }

    pub(crate) fn visible(&self, queue: &str) -> usize {
        self.named(queue).map_or(0, |queue| self.queues[queue].visible)
    }

    pub(crate) fn set_options(&mut self, queue: usize, options: QueueOptions) {
        self.queues[queue].options = options;
    }

    /// A message's delay or lease may have ended.
    pub(crate) fn message_due(&mut self, cx: &mut Context, queue: usize, id: u64) {
        let Some(message) = self.queues[queue].messages.get_mut(&id) else {
            return;
        };
        let until = match message.place {
            Place::Visible => return,
            Place::Delayed { until } | Place::InFlight { until, .. } => until,
        };
        if until > cx.now {
            // Where a look is planned later than now, this one is left over from an earlier lease.
            if message.looked_at <= cx.now {
                message.looked_at = until;
                cx.at(until, Event::MessageDue { queue, message: id });
            }
        } else {
            let leased = matches!(message.place, Place::InFlight { .. });
            self.queues[queue].counts.leases_ended += u64::from(leased);
            self.queues[queue].show(cx, queue, id);
        }
    }

    pub(crate) fn state(&self, cx: &Context, with_messages: bool) -> BTreeMap<String, QueueState> {
        let alive = self.queues.iter().filter(|queue| queue.alive);
        alive.map(|queue| (queue.name.to_string(), queue.state(cx, with_messages))).collect()
    }
}

impl Queue {
    fn in_flight(&self) -> usize {
        self.messages.len() - self.visible - self.delayed
    }

    pub(crate) const fn visible(&self) -> usize {
        self.visible
    }

    /// Puts a message among those that may be received.
    fn show(&mut self, cx: &mut Context, number: usize, id: u64) {
        let Some(message) = self.messages.get_mut(&id) else {
            return;
        };
        if matches!(message.place, Place::Delayed { .. }) {
            self.delayed -= 1;
        }
        message.place = Place::Visible;
        message.looked_at = u64::MAX;
        message.epoch += 1;
        self.ready.push_back((id, message.epoch));
        self.visible += 1;
        cx.arrivals.push(number);
    }

    /// Takes a message out of the queue for good.
    fn remove(&mut self, id: u64) -> Option<Message> {
        let message = self.messages.remove(&id)?;
        match message.place {
            Place::Visible => self.visible -= 1,
            Place::Delayed { .. } => self.delayed -= 1,
            Place::InFlight { .. } => {}
        }
        Some(message)
    }

    fn state(&self, cx: &Context, with_messages: bool) -> QueueState {
        let mut messages: Vec<(&u64, &Message)> = if with_messages { self.messages.iter().collect() } else { Vec::new() };
        messages.sort_unstable_by_key(|(id, _)| **id);
        QueueState {
            url: url_of(cx, &self.name),
            visible: self.visible,
            in_flight: self.in_flight(),
            delayed: self.delayed,
            counts: self.counts,
            options: self.options.clone(),
            messages: messages.into_iter().map(|(_, message)| message.state()).collect(),
        }
    }
}

impl Message {
    fn state(&self) -> MessageState {
        let text = |(name, value): (&String, &wire::MessageAttribute)| value.string_value.clone().map(|value| (name.clone(), value));
        MessageState {
            message_id: self.message_id.to_string(),
            body: self.body.to_string(),
            attributes: self.attributes.iter().filter_map(text).collect(),
            receives: self.receives,
            place: match self.place {
                Place::Visible => "visible",
                Place::Delayed { .. } => "delayed",
                Place::InFlight { .. } => "in_flight",
            }
            .into(),
            sent_ms: self.sent,
        }
    }
}

pub(super) fn arn_of(cx: &Context, name: &str) -> String {
    format!("arn:aws:sqs:{}:{}:{name}", cx.settings.region, cx.settings.account)
}

fn url_of(cx: &Context, name: &str) -> String {
    format!("{}/{}/{name}", cx.settings.endpoint, cx.settings.account)
}
