//! Turns what the core says into log lines, metrics and the audit trail.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::audit::{Audit, AuditError, AuditLine, AuditTarget, millis};
use super::metrics::Metrics;
use super::text::printable;
use crate::core::call::{RouteId, ServerId};
use crate::core::observation::{Gauges, Observation, Outcome, Record, Step, Subject};
use crate::retry::Class;

/// What stands in every line about a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteNames {
    /// The route's name.
    pub name: String,
    /// The kind of its registrar, such as `opsworks-cm`.
    pub registrar: String,
    /// Its server; routes may share one.
    pub server: ServerId,
}

/// What the observer is told at its start.
#[derive(Debug, Clone, Default)]
pub struct ObserverSettings {
    /// This worker's name, as it stands in the audit trail.
    pub worker: String,
    /// By [`RouteId`].
    pub routes: Vec<RouteNames>,
    /// Where the audit trail goes.
    pub audit: AuditTarget,
}

type Tap = Box<dyn Fn(&Observation) + Send + Sync>;

/// Listens to one worker.
pub struct Observer {
    worker: String,
    routes: Vec<RouteNames>,
    audit: Audit,
    metrics: Arc<Metrics>,
    tap: Option<Tap>,
    began: Instant,
    since_alive: Tally,
}

/// What happened since the last `alive` line.
#[derive(Default)]
struct Tally {
    enrolled: AtomicU64,
    abandoned: AtomicU64,
    left: AtomicU64,
    dead_lettered: AtomicU64,
    retries: AtomicU64,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("worker", &self.worker).finish_non_exhaustive()
    }
}

/// One line about an action, with the fields that all of them carry.
macro_rules! about {
    ($level:ident, $observer:expr, $subject:expr, $event:literal, $message:literal $(, $field:ident = $value:expr)* $(,)?) => {
        tracing::$level!(
            event = $event,
            transition = $subject.action.transition.as_str(),
            instance = $subject.action.instance.as_str(),
            group = &*printable($subject.action.group.as_str()),
            hook = $subject.action.hook.as_str(),
            route = $subject.route.and_then(|route| $observer.name(route)),
            node = $subject.node.as_ref().map(|node| node.as_str()),
            message_id = $subject.message.as_str(),
            step = $subject.step.as_str(),
            attempt = $subject.attempt,
            $($field = $value,)*
            $message
        )
    };
}

/// The line at the end of an action; the level of a line cannot be a variable.
macro_rules! ended {
    ($level:ident, $observer:expr, $record:expr) => {{
        let record: &Record = $record;
        let subject = record.subject.as_ref();
        let action = subject.map(|subject| &*subject.action);
        let group = action.map(|action| printable(action.group.as_str()));
        let reason = record.reason.as_ref();
        let (code, detail) = (reason.map(|reason| printable(&reason.code)), reason.map(|reason| printable(&reason.detail)));
        let took = |step: Step| record.steps.iter().find(|taken| taken.step == step).map(|taken| millis(taken.took));
        tracing::$level!(
            event = "ended",
            result = record.outcome.as_str(),
            code = code.as_deref(),
            reason = detail.as_deref(),
            transition = action.map(|action| action.transition.as_str()),
            instance = action.map(|action| action.instance.as_str()),
            group = group.as_deref(),
            hook = action.map(|action| action.hook.as_str()),
            route = subject.and_then(|subject| subject.route).and_then(|route| $observer.name(route)),
            node = subject.and_then(|subject| subject.node.as_ref()).map(|node| node.as_str()),
            message_id = record.message.as_str(),
            receive_count = record.receive_count,
            step = record.steps.last().map(|taken| taken.step.as_str()),
            attempts = record.steps.iter().map(|step| u64::from(step.attempts)).sum::<u64>(),
            took_ms = millis(record.took),
            queued_ms = record.queued.map(millis),
            verify_ms = took(Step::Verify),
            queue_ms = took(Step::Queue),
            key_ms = took(Step::Key),
            associate_ms = took(Step::Associate),
            disassociate_ms = took(Step::Disassociate),
            status_ms = took(Step::Status),
            deliver_ms = took(Step::Deliver),
            complete_ms = took(Step::Complete),
            clean_up_ms = took(Step::CleanUp),
            dead_letter_ms = took(Step::DeadLetter),
            "{}",
            sentence(record.outcome)
        );
    }};
}

impl Observer {
    /// An observer of a worker with these routes.
    ///
    /// # Errors
    /// Where the audit trail cannot be opened.
    pub fn new(settings: ObserverSettings) -> Result<Self, AuditError> {
        let observer = Self {
            audit: Audit::open(&settings.audit)?,
            worker: settings.worker,
            routes: settings.routes,
            metrics: Arc::default(),
            tap: None,
            began: Instant::now(),
            since_alive: Tally::default(),
        };
        for route in &observer.routes {
            observer.metrics.server_held(&route.name, false);
            observer.metrics.launches_held(&route.name, 0);
        }
        Ok(observer)
    }

    /// Hands everything that is observed to `tap` as well, before anything else is made of it.
    #[must_use]
    pub fn tapped(mut self, tap: impl Fn(&Observation) + Send + Sync + 'static) -> Self {
        self.tap = Some(Box::new(tap));
        self
    }

    /// The metrics, for the listener.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Takes note of something that happened at `now_ms`, in Unix milliseconds.
    pub fn observe(&self, now_ms: u64, observation: &Observation) {
        if let Some(tap) = &self.tap {
            tap(observation);
        }
        match observation {
            Observation::Ended(record) => self.ended(now_ms, record),
            Observation::Received { messages } => {
                self.metrics.received(*messages);
                tracing::debug!(event = "received", messages, "messages received");
            }
            Observation::Duplicate(subject) => {
                self.metrics.duplicate();
                about!(debug, self, subject, "duplicate", "the message repeats one in hand and waits for its result");
            }
            Observation::StepBegan { subject, .. } => {
                about!(debug, self, subject, "step", "step began");
            }
            Observation::Retrying { .. } => self.retrying(observation),
            Observation::ServerHeld { .. } | Observation::ServerReady { .. } => self.server(observation),
            Observation::LaunchHeld { subject, reason } => {
                if let Some(route) = subject.route.and_then(|route| self.name(route)) {
                    self.metrics.held_because(route, reason);
                }
                let (code, detail) = (printable(&reason.code), printable(&reason.detail));
                about!(
                    error,
                    self,
                    subject,
                    "launch_held",
                    "the launch is held rather than abandoned, since the fault is its route's: mend it, and it goes on",
                    code = &*code,
                    reason = &*detail
                );
            }
            Observation::Security { subject, reason } => {
                self.metrics.security(&reason.code);
                let (code, detail) = (printable(&reason.code), printable(&reason.detail));
                about!(error, self, subject, "security", "somebody should look at this", code = &*code, reason = &*detail);
            }
            Observation::ServiceTrouble { operation, failure, delay } => {
                let (code, detail) = (printable(&failure.code), printable(&failure.detail));
                tracing::warn!(
                    event = "service_trouble",
                    operation,
                    class = failure.class.as_str(),
                    code = &*code,
                    reason = &*detail,
                    retry_ms = millis(*delay),
                    "a call failed and will be made again"
                );
            }
            Observation::QueueKnown { has_dead_letter_queue: true } => tracing::info!(event = "queue_known", "the queue answers"),
            Observation::QueueKnown { has_dead_letter_queue: false } => tracing::warn!(
                event = "queue_known",
                "the queue answers, but it has no dead-letter queue: what nobody can handle stays in it"
            ),
            Observation::LetterWritten { code } => {
                self.metrics.letter_written(code);
                tracing::debug!(event = "dead_letter", code = &*printable(code), "a dead letter was written");
            }
            Observation::TestNotification { group } => {
                let group = group.as_ref().map(|group| printable(group.as_str()));
                tracing::info!(event = "test_notification", group = group.as_deref(), "a hook was made, and its test notification came");
            }
            Observation::ShuttingDown { open } => {
                tracing::info!(event = "shutting_down", open, "no more receiving; what is in hand ends or goes back to the queue");
            }
        }
    }

    /// A call was answered, or failed.
    pub fn call_done(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.metrics.call_done(operation, outcome, took);
    }

    /// How much is in hand now.
    pub fn gauges(&self, gauges: &Gauges) {
        for (route, held) in self.routes.iter().zip(&gauges.held) {
            self.metrics.launches_held(&route.name, *held);
        }
        self.metrics.gauges(gauges);
    }

    /// The line that shows each minute that the worker is alive, with what happened since the last.
    pub fn alive(&self, gauges: &Gauges) {
        self.gauges(gauges);
        let since = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        tracing::info!(
            event = "alive",
            open = gauges.by_step.iter().sum::<u32>(),
            messages = gauges.messages,
            held = gauges.held.iter().sum::<u32>(),
            calls = gauges.calls,
            queue_answers = gauges.queue_answers,
            enrolled = since(&self.since_alive.enrolled),
            abandoned = since(&self.since_alive.abandoned),
            left = since(&self.since_alive.left),
            dead_lettered = since(&self.since_alive.dead_lettered),
            retries = since(&self.since_alive.retries),
            uptime_s = self.began.elapsed().as_secs(),
            "alive"
        );
    }

    fn name(&self, route: RouteId) -> Option<&str> {
        self.routes.get(usize::from(route.0)).map(|names| names.name.as_str())
    }

    fn retrying(&self, observation: &Observation) {
        let Observation::Retrying { subject, step, attempt, failure, delay } = observation else { return };
        self.since_alive.retries.fetch_add(1, Ordering::Relaxed);
        self.metrics.retrying(*step, failure.class.as_str());
        let (code, detail) = (printable(&failure.code), printable(&failure.detail));
        let subject = &Subject { step: *step, attempt: *attempt, ..subject.clone() };
        let (class, retry_ms) = (failure.class.as_str(), millis(*delay));
        // Throttling is many nodes' at once and slows down by itself; a fault of the route waits for a person.
        match failure.class {
            Class::RouteFault => about!(
                warn,
                self,
                subject,
                "retrying",
                "the call failed for a fault of its route, and will be made again",
                class = class,
                code = &*code,
                reason = &*detail,
                retry_ms = retry_ms
            ),
            Class::Throttled => about!(
                debug,
                self,
                subject,
                "retrying",
                "the call was throttled and will be made again",
                class = class,
                code = &*code,
                reason = &*detail,
                retry_ms = retry_ms
            ),
            Class::NotReady | Class::Transient | Class::Final => about!(
                info,
                self,
                subject,
                "retrying",
                "the call failed and will be made again",
                class = class,
                code = &*code,
                reason = &*detail,
                retry_ms = retry_ms
            ),
        }
    }

    fn server(&self, observation: &Observation) {
        let (route, held) = match observation {
            Observation::ServerHeld { route, failure, waiting, delay } => {
                let (code, detail) = (printable(&failure.code), printable(&failure.detail));
                tracing::warn!(
                    event = "server_held",
                    route = self.name(*route),
                    class = failure.class.as_str(),
                    code = &*code,
                    reason = &*detail,
                    waiting,
                    retry_ms = millis(*delay),
                    "the server takes no orders; one probe waits for all"
                );
                (*route, true)
            }
            Observation::ServerReady { route, waiting } => {
                tracing::info!(event = "server_ready", route = self.name(*route), waiting, "the server takes orders again");
                (*route, false)
            }
            _ => return,
        };
        let Some(server) = self.routes.get(usize::from(route.0)).map(|names| names.server) else { return };
        for names in self.routes.iter().filter(|names| names.server == server) {
            self.metrics.server_held(&names.name, held);
        }
    }

    fn ended(&self, now_ms: u64, record: &Record) {
        let counted = match record.outcome {
            Outcome::Enrolled => Some(&self.since_alive.enrolled),
            Outcome::Abandoned => Some(&self.since_alive.abandoned),
            Outcome::Left => Some(&self.since_alive.left),
            Outcome::DeadLettered => Some(&self.since_alive.dead_lettered),
            _ => None,
        };
        if let Some(count) = counted {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.metrics.ended(record);
        match record.outcome {
            Outcome::LeftBehind | Outcome::LeftInQueue => ended!(error, self, record),
            Outcome::Continued | Outcome::Abandoned | Outcome::DeadLettered | Outcome::LeaseLost => ended!(warn, self, record),
            _ => ended!(info, self, record),
        }
        if record.outcome.is_final() && record.outcome != Outcome::Test {
            self.write_audit(now_ms, record);
        }
    }

    fn write_audit(&self, now_ms: u64, record: &Record) {
        if !self.audit.is_on() {
            return;
        }
        let route = record.subject.as_ref().and_then(|subject| subject.route);
        let names = route.and_then(|route| self.routes.get(usize::from(route.0)));
        let names = names.map(|names| (names.name.as_str(), names.registrar.as_str()));
        if let Err(error) = self.audit.write(&AuditLine::new(now_ms, &self.worker, names, record)) {
            self.metrics.audit_failed();
            tracing::error!(
                event = "audit_failed",
                message_id = record.message.as_str(),
                reason = &*printable(&error.to_string()),
                "the audit trail lacks a line"
            );
        }
    }
}

/// How an outcome is told to a person.
fn sentence(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Enrolled => "enrolled and put in service",
        Outcome::Continued => "not enrolled, and put in service all the same, as its route says",
        Outcome::Abandoned => "not enrolled, and abandoned",
        Outcome::Left => "taken off and let go",
        Outcome::LeftBehind => "let go, but its node is still on the server",
        Outcome::Kept => "back in its warm pool, still enrolled",
        Outcome::Stale => "nothing waited for this any more",
        Outcome::Test => "test notification acknowledged",
        Outcome::Ignored => "no route wants it: acknowledged",
        Outcome::DeadLettered => "nothing can be done with this message: it is in the dead-letter queue",
        Outcome::LeftInQueue => "nothing can be done with this message, and there is no dead-letter queue: it stays in the queue",
        Outcome::Released => "given back to the queue",
        Outcome::LeaseLost => "the lease ran out: another worker has it",
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
