//! What is counted and timed, for Prometheus.
//!
//! No label grows with the fleet: there is none for an instance, a group of a message or a token. Routes are as many as the
//! configuration has, and words that come from a service are taken up to a limit and then called `other`.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use super::held::{Held, HeldPage};
use crate::core::observation::{Gauges, Reason, Record, Step};

/// What the name of each begins with.
const PREFIX: &str = "enrolld";
/// From a quick enrolment to the longest a hook may last: seconds.
const LONG: [f64; 14] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 7200.0];
/// One call: seconds.
const SHORT: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// How many different words of one kind get a time series of their own.
const WORDS: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabels {
    transition: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransitionLabel {
    transition: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RetryLabels {
    step: &'static str,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: String,
}

/// Everything that is counted and timed.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    described: Vec<(String, String)>,
    actions: Family<ActionLabels, Counter>,
    action_seconds: Family<TransitionLabel, Histogram, fn() -> Histogram>,
    step_seconds: Family<StepLabel, Histogram, fn() -> Histogram>,
    open: Family<StepLabel, Gauge>,
    /// Those of `open`, by step: they are set at every turn of the loop, which finding each by its label would make dear.
    open_of: Vec<Gauge>,
    messages: Gauge,
    launches_held: Family<RouteLabel, Gauge>,
    calls: Family<CallLabels, Counter>,
    call_seconds: Family<OperationLabel, Histogram, fn() -> Histogram>,
    calls_in_flight: Gauge,
    queue_lag: Histogram,
    received: Counter,
    duplicates: Counter,
    dead_letters: Family<CodeLabel, Counter>,
    retries: Family<RetryLabels, Counter>,
    server_held: Family<RouteLabel, Gauge>,
    security: Family<CodeLabel, Counter>,
    audit_failures: Counter,
    held: Held,
    words: Mutex<HashSet<String>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All of them at zero.
    #[must_use]
    pub fn new() -> Self {
        let long: fn() -> Histogram = || Histogram::new(LONG);
        let short: fn() -> Histogram = || Histogram::new(SHORT);
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            described: Vec::new(),
            actions: Family::default(),
            action_seconds: Family::new_with_constructor(long),
            step_seconds: Family::new_with_constructor(long),
            open: Family::default(),
            open_of: Vec::new(),
            messages: Gauge::default(),
            launches_held: Family::default(),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(short),
            calls_in_flight: Gauge::default(),
            queue_lag: long(),
            received: Counter::default(),
            duplicates: Counter::default(),
            dead_letters: Family::default(),
            retries: Family::default(),
            server_held: Family::default(),
            security: Family::default(),
            audit_failures: Counter::default(),
            held: Held::default(),
            words: Mutex::default(),
        };
        metrics.register();
        let of = |step: &Step| Gauge::clone(&metrics.open.get_or_create(&StepLabel { step: step.as_str() }));
        metrics.open_of = Step::ALL.iter().map(of).collect();
        metrics
    }

    fn register(&mut self) {
        self.add("actions", "Lifecycle actions and other messages that ended, by transition and outcome", self.actions.clone());
        self.add("action_seconds", "From when a message was taken up to its end", self.action_seconds.clone());
        self.add("step_seconds", "Time in each step, all its attempts together", self.step_seconds.clone());
        self.add("actions_open", "Actions in hand, by the step they are in", self.open.clone());
        self.add("messages_held", "Messages in hand, duplicates included", self.messages.clone());
        self.add("launches_held", "Launches held rather than abandoned for a fault of their route, by route", self.launches_held.clone());
        self.add("calls", "API calls that were answered or failed, by operation and outcome", self.calls.clone());
        self.add("call_seconds", "Time of an API call", self.call_seconds.clone());
        self.add("calls_in_flight", "API calls under way, long polls aside", self.calls_in_flight.clone());
        self.add("queue_lag_seconds", "From when a message was sent to when it was taken up", self.queue_lag.clone());
        self.add("received", "Messages received, redeliveries included", self.received.clone());
        self.add("duplicates", "Messages that repeated one in hand", self.duplicates.clone());
        self.add("dead_letters", "Messages written to the dead-letter queue, by reason", self.dead_letters.clone());
        self.add("retries", "Calls for an action that failed and are made again", self.retries.clone());
        self.add("server_held", "1 while a route's server takes no orders", self.server_held.clone());
        self.add("security_events", "Events that somebody should look at", self.security.clone());
        self.add("audit_failures", "Audit lines that could not be written", self.audit_failures.clone());
        self.add("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    }

    fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        // As OpenMetrics has it: what is sampled bears the suffix, what is declared does not.
        let kind = metric.metric_type();
        let suffix = match kind {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            _ => "",
        };
        self.described.push((format!("{PREFIX}_{name}{suffix}"), kind.as_str().to_owned()));
        self.registry.register(name, help, metric);
    }

    /// Each metric that there is, as it is sampled, with its type; also those of which there is no series yet.
    #[must_use]
    pub fn described(&self) -> &[(String, String)] {
        &self.described
    }

    /// All of them in the text form of OpenMetrics.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        // Writing into a string fails only where a metric cannot be encoded; half a page would be taken for the whole.
        if encode(&mut text, &self.registry).is_err() {
            text = "# EOF\n".into();
        }
        text
    }

    pub(super) fn received(&self, messages: usize) {
        self.received.inc_by(messages as u64);
    }

    pub(super) fn duplicate(&self) {
        self.duplicates.inc();
    }

    pub(super) fn retrying(&self, step: Step, class: &'static str) {
        self.retries.get_or_create(&RetryLabels { step: step.as_str(), class }).inc();
    }

    pub(super) fn security(&self, code: &str) {
        self.security.get_or_create(&CodeLabel { code: self.word(code) }).inc();
    }

    pub(super) fn letter_written(&self, code: &str) {
        self.dead_letters.get_or_create(&CodeLabel { code: self.word(code) }).inc();
    }

    pub(super) fn audit_failed(&self) {
        self.audit_failures.inc();
    }

    pub(super) fn server_held(&self, route: &str, held: bool) {
        self.server_held.get_or_create(&RouteLabel { route: route.into() }).set(i64::from(held));
    }

    pub(super) fn call_done(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.calls.get_or_create(&CallLabels { operation, outcome }).inc();
        self.call_seconds.get_or_create(&OperationLabel { operation }).observe(took.as_secs_f64());
    }

    pub(super) fn ended(&self, record: &Record) {
        let transition = record.subject.as_ref().map_or("none", |subject| subject.action.transition.as_str());
        self.actions.get_or_create(&ActionLabels { transition, outcome: record.outcome.as_str() }).inc();
        self.action_seconds.get_or_create(&TransitionLabel { transition }).observe(record.took.as_secs_f64());
        for step in &record.steps {
            self.step_seconds.get_or_create(&StepLabel { step: step.step.as_str() }).observe(step.took.as_secs_f64());
        }
        if let Some(queued) = record.queued {
            self.queue_lag.observe(queued.as_secs_f64());
        }
    }

    /// Which launches are held, and why.
    #[must_use]
    pub fn held(&self) -> HeldPage {
        self.held.page()
    }

    pub(super) fn held_because(&self, route: &str, reason: &Reason) {
        self.held.because(route, reason);
    }

    pub(super) fn launches_held(&self, route: &str, launches: u32) {
        self.held.count(route, launches);
        self.launches_held.get_or_create(&RouteLabel { route: route.into() }).set(i64::from(launches));
    }

    pub(super) fn gauges(&self, gauges: &Gauges) {
        for (gauge, open) in self.open_of.iter().zip(gauges.by_step) {
            gauge.set(i64::from(open));
        }
        self.messages.set(i64::from(gauges.messages));
        self.calls_in_flight.set(i64::from(gauges.calls));
    }

    /// A word for a label, as long as there are not too many of them.
    fn word(&self, code: &str) -> String {
        let fit = (1..=40).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if !fit {
            return "other".into();
        }
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.contains(code) {
            return code.into();
        }
        if words.len() == WORDS {
            return "other".into();
        }
        words.insert(code.into());
        code.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_the_prefix_and_the_page_ends_as_openmetrics_must() {
        let metrics = Metrics::new();
        metrics.received(3);
        metrics.call_done("ReceiveMessage", "ok", Duration::from_millis(7));
        metrics.gauges(&Gauges { messages: 2, calls: 4, ..Gauges::default() });
        metrics.server_held("web", true);
        metrics.launches_held("web", 1);
        let page = metrics.text();
        for line in [
            "enrolld_received_total 3",
            "enrolld_calls_total{operation=\"ReceiveMessage\",outcome=\"ok\"} 1",
            "enrolld_messages_held 2",
            "enrolld_launches_held{route=\"web\"} 1",
            "enrolld_calls_in_flight 4",
            "enrolld_actions_open{step=\"verify\"} 0",
            "enrolld_server_held{route=\"web\"} 1",
            concat!("enrolld_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
        assert!(page.lines().all(|line| line.starts_with("enrolld_") || line.starts_with('#')));
    }

    #[test]
    fn words_from_outside_cannot_grow_the_number_of_series() {
        let metrics = Metrics::new();
        for n in 0..10_000 {
            metrics.security(&format!("code{n}"));
        }
        metrics.security("a b\n\"");
        metrics.security(&"x".repeat(100));
        let series = metrics.text().lines().filter(|line| line.starts_with("enrolld_security_events_total{")).count();
        assert_eq!(series, WORDS + 1);
    }
}
