//! What is known of each node while the demonstration runs: a reading of the worker's own observations.

use std::collections::HashMap;
use std::time::Duration;

use crate::core::observation::{Observation, Outcome, Record, Step, Subject};
use crate::event::Transition;
use crate::names::InstanceId;
use crate::retry::Class;

/// What one node's line shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The instance.
    pub instance: InstanceId,
    /// When its first notification was taken up, from the beginning.
    pub began: Duration,
    /// Which way it is going.
    pub transition: Transition,
    /// Where it stands.
    pub stage: Stage,
    /// How its last action ended, where that had a result of its own.
    result: Option<Stage>,
    /// How often a call for it failed and was made again.
    pub retries: u32,
    /// Whether a notification for it came twice.
    pub doubled: bool,
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// In this step.
    At(Step),
    /// Its action ended.
    Ended {
        /// How.
        outcome: Outcome,
        /// Why, where that is not plain.
        code: Option<String>,
        /// How long it took.
        took: Duration,
    },
}

/// A server that takes no orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it said.
    pub said: String,
    /// How many nodes wait for it.
    pub waiting: usize,
    /// How often it was asked meanwhile.
    pub probes: u32,
}

/// All nodes, in the order they were first heard of.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// The nodes.
    pub rows: Vec<Row>,
    /// The server, while it takes no orders.
    pub held: Option<Held>,
    at: HashMap<InstanceId, usize>,
}

/// Something worth a line where lines cannot be redrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When, from the beginning.
    pub at: Duration,
    /// The node; none where it is about no node.
    pub instance: Option<InstanceId>,
    /// What happened.
    pub text: String,
    /// Whether it is only the next step, which a large fleet has too many of.
    pub step: bool,
}

impl Board {
    /// Takes note of an observation; gives the line for it where it has one.
    pub fn observe(&mut self, now: Duration, observation: &Observation) -> Option<Line> {
        let line = |instance: Option<InstanceId>, text: String, step: bool| Some(Line { at: now, instance, text, step });
        let about = |subject: &Subject, text: String| line(Some(subject.action.instance.clone()), text, false);
        let general = |text: String| line(None, text, false);
        match observation {
            Observation::StepBegan { subject, step } => {
                let row = self.row(now, subject);
                // The result is there before its message goes, and is what the line shows from then on.
                if !(*step == Step::Delete && matches!(row.stage, Stage::Ended { .. })) {
                    row.stage = Stage::At(*step);
                }
                row.transition = subject.action.transition;
                line(Some(subject.action.instance.clone()), doing(*step).into(), true)
            }
            Observation::Retrying { subject, step, attempt, failure, delay } => {
                let row = self.row(now, subject);
                row.retries += 1;
                row.stage = Stage::At(*step);
                about(
                    subject,
                    format!("{}: {}, attempt {attempt} failed, again in {:.1} s", step.as_str(), failure.code, delay.as_secs_f64()),
                )
            }
            Observation::Duplicate(subject) => {
                self.row(now, subject).doubled = true;
                about(subject, "the same notification again: it waits for the first one's result".into())
            }
            Observation::Security { subject, reason } => about(subject, format!("security: {}", reason.code)),
            Observation::LaunchHeld { subject, reason } => about(subject, format!("held for a fault of its route: {}", reason.code)),
            Observation::Ended(record) => self.ended(now, record),
            Observation::ServerHeld { failure, waiting, delay, .. } => {
                let probes = self.held.as_ref().map_or(1, |held| held.probes + 1);
                // An order brings the error that it was refused with, a probe the server's own word for its state.
                let said = failure.detail.strip_prefix("the server says it is ").unwrap_or(&failure.code);
                self.held = Some(Held { said: said.to_owned(), waiting: *waiting, probes });
                general(format!("the server takes no orders ({said}): {waiting} wait, next probe in {:.1} s", delay.as_secs_f64()))
            }
            Observation::ServerReady { waiting, .. } => {
                self.held = None;
                general(format!("the server takes orders again, {waiting} waited"))
            }
            Observation::ServiceTrouble { operation, failure, delay } if failure.class != Class::Final => {
                general(format!("{operation}: {}, again in {:.1} s", failure.code, delay.as_secs_f64()))
            }
            Observation::Received { .. }
            | Observation::QueueKnown { .. }
            | Observation::ServiceTrouble { .. }
            | Observation::TestNotification { .. }
            | Observation::LetterWritten { .. }
            | Observation::ShuttingDown { .. } => None,
        }
    }

    /// How many nodes have an end, for the progress bar. A node that goes and comes again is not done meanwhile.
    #[must_use]
    pub fn done(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row.stage, Stage::Ended { .. })).count()
    }

    fn row(&mut self, now: Duration, subject: &Subject) -> &mut Row {
        let instance = &subject.action.instance;
        let at = *self.at.entry(instance.clone()).or_insert_with(|| {
            self.rows.push(Row {
                instance: instance.clone(),
                began: now,
                transition: subject.action.transition,
                stage: Stage::At(Step::Verify),
                result: None,
                retries: 0,
                doubled: false,
            });
            self.rows.len() - 1
        });
        &mut self.rows[at]
    }

    fn ended(&mut self, now: Duration, record: &Record) -> Option<Line> {
        let code = record.reason.as_ref().map(|reason| reason.code.clone());
        let why = code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
        let Some(subject) = &record.subject else {
            let text = format!("a message that is no notification: {}{why}", result(record.outcome));
            return Some(Line { at: now, instance: None, text, step: false });
        };
        let row = self.row(now, subject);
        row.transition = subject.action.transition;
        let stage = Stage::Ended { outcome: record.outcome, code, took: record.took };
        // A late second copy of a notification is acknowledged as stale; what became of the node stands already.
        if record.outcome == Outcome::Stale && row.result.is_some() {
            row.stage = row.result.clone().unwrap_or(stage);
        } else {
            if record.outcome.is_final() {
                row.result = Some(stage.clone());
            }
            row.stage = stage;
        }
        let text = format!("{}{why} after {:.1} s", result(record.outcome), record.took.as_secs_f64());
        Some(Line { at: now, instance: Some(subject.action.instance.clone()), text, step: false })
    }
}

/// What a worker is at in a step.
#[must_use]
pub fn doing(step: Step) -> &'static str {
    match step {
        Step::Verify => "asking Auto Scaling",
        Step::Queue => "behind an earlier action",
        Step::Key => "waiting for its key",
        Step::Associate => "associating",
        Step::Disassociate => "disassociating",
        Step::Status => "waiting for the server",
        Step::Complete => "completing",
        Step::Deliver => "writing its certificate",
        Step::CleanUp => "deleting its parameter",
        Step::DeadLetter => "writing the dead letter",
        Step::Delete => "deleting the message",
    }
}

/// An outcome in two or three words.
#[must_use]
pub fn result(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Enrolled => "in service",
        Outcome::Continued => "in service, not enrolled",
        Outcome::Abandoned => "abandoned",
        Outcome::Left => "taken off again",
        Outcome::LeftBehind => "gone, its node left behind",
        Outcome::Kept => "back in the warm pool",
        Outcome::Stale => "nothing waited any more",
        Outcome::Test => "test notification",
        Outcome::Ignored => "ignored",
        Outcome::DeadLettered => "dead letter",
        Outcome::LeftInQueue => "left in the queue",
        Outcome::Released => "given back",
        Outcome::LeaseLost => "taken by another worker",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::core::observation::Reason;
    use crate::observe::samples;
    use crate::retry::Failure;

    /// A node on its way, told as the worker would.
    pub(crate) fn story() -> Vec<(u64, Observation)> {
        let subject = samples::subject("web");
        let failure = Failure::new(Class::NotReady, "InvalidStateException", "UNDER_MAINTENANCE");
        let step = |step| Observation::StepBegan { subject: subject.clone(), step };
        let held = |waiting| Observation::ServerHeld {
            route: crate::core::call::RouteId(0),
            failure: failure.clone(),
            waiting,
            delay: Duration::from_millis(1500),
        };
        let retrying = Observation::Retrying {
            subject: subject.clone(),
            step: Step::Key,
            attempt: 1,
            failure: Failure::new(Class::Transient, "timeout", "no answer"),
            delay: Duration::from_millis(800),
        };
        let mut garbage = samples::record(Outcome::DeadLettered);
        garbage.subject = None;
        garbage.reason = Some(Reason::new("not_json", "it ends too early"));
        vec![
            (100, step(Step::Verify)),
            (200, step(Step::Key)),
            (300, retrying),
            (400, Observation::Duplicate(subject.clone())),
            (500, step(Step::Associate)),
            (600, held(1)),
            (1600, held(3)),
            (2600, Observation::ServerReady { route: crate::core::call::RouteId(0), waiting: 3 }),
            (2700, Observation::Ended(Box::new(garbage))),
            (3000, Observation::Ended(Box::new(samples::record(Outcome::Enrolled)))),
            (3001, step(Step::Delete)),
            (3050, step(Step::Verify)),
            (3100, Observation::Ended(Box::new(samples::record(Outcome::Stale)))),
        ]
    }

    #[test]
    fn a_node_s_line_shows_its_step_its_retries_and_its_result() {
        let mut board = Board::default();
        for (ms, observation) in story() {
            board.observe(Duration::from_millis(ms), &observation);
            if ms == 1600 {
                assert_eq!(board.rows[0].stage, Stage::At(Step::Associate));
                assert_eq!(board.held.as_ref().map(|held| (held.waiting, held.probes)), Some((3, 2)));
            }
        }
        assert_eq!(board.rows.len(), 1);
        let row = &board.rows[0];
        assert_eq!((row.retries, row.doubled, board.done()), (1, true, 1));
        assert!(matches!(row.stage, Stage::Ended { outcome: Outcome::Enrolled, .. }), "a stale copy does not hide the result");
        assert_eq!(board.held, None);
    }

    #[test]
    fn what_happens_is_told_in_plain_lines() {
        let mut board = Board::default();
        let lines: Vec<String> =
            story().iter().filter_map(|(ms, seen)| board.observe(Duration::from_millis(*ms), seen)).map(|line| line.text).collect();
        assert_eq!(lines[2], "key: timeout, attempt 1 failed, again in 0.8 s");
        assert_eq!(lines[6], "the server takes no orders (InvalidStateException): 3 wait, next probe in 1.5 s");
        assert_eq!(lines[8], "a message that is no notification: dead letter (not_json)");
        assert_eq!(lines[9], "in service after 2.1 s");
    }
}
