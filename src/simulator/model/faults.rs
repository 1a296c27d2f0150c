//! What goes wrong, as a plan: which calls are delayed, throttled, refused, dropped or answered into the void.

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::error::ApiError;
use super::operation::{Operation, Service};

/// One line of the plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// A name to clear it by; one is given when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The calls it is about: `*`, `ssm:*` or `ssm:GetParameters`.
    pub operation: String,
    /// What happens to them.
    pub effect: Effect,
    /// How likely it happens to a call; always, when absent.
    #[serde(default = "always")]
    pub probability: f64,
    /// How often it may happen at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Begins so many milliseconds after it was set.
    #[serde(default)]
    pub after_ms: u64,
    /// Ends so many milliseconds after it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

const fn always() -> f64 {
    1.0
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// The call is processed so much later; latencies of several faults add up.
    Latency {
        /// Milliseconds.
        ms: u64,
        /// Up to so many milliseconds more, at random.
        #[serde(default)]
        jitter_ms: u64,
    },
    /// A token bucket over all calls that the fault is about; without a token the service's own throttling error is the answer.
    Throttle {
        /// Calls a second.
        rate: f64,
        /// Calls at once.
        #[serde(default = "one")]
        burst: f64,
    },
    /// The call is refused.
    Error {
        /// The HTTP status.
        #[serde(default = "internal")]
        status: u16,
        /// The error code; the service's usual one for that status when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// The message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// The connection is closed before the call is processed.
    Drop,
    /// The call is processed, and the connection is closed instead of an answer.
    LoseAnswer,
    /// Nothing happens for so long, then the connection is closed; the call is not processed.
    Hang {
        /// Milliseconds.
        ms: u64,
    },
}

const fn one() -> f64 {
    1.0
}

const fn internal() -> u16 {
    500
}

/// What the plan does to one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// Milliseconds to wait before the rest.
    pub delay_ms: u64,
    /// And then.
    pub fate: Fate,
}

/// How a call goes on after its delay.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It is processed and answered.
    Process,
    /// It is processed, and its answer is lost.
    ProcessAndLoseAnswer,
    /// It is refused.
    Refuse(ApiError),
    /// Its connection is dropped; it is not processed.
    Drop,
}

#[derive(Debug)]
struct Planned {
    fault: Fault,
    id: String,
    begins: u64,
    ends: u64,
    happened: u64,
    tokens: f64,
    filled: u64,
}

/// The plan.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Vec<Planned>,
    by_operation: Vec<Vec<usize>>,
    number: u64,
}

/// A fault that is planned, as the state shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultState {
    /// What was planned, with its id.
    #[serde(flatten)]
    pub fault: FaultView,
    /// How many calls it happened to.
    pub happened: u64,
}

/// The part of a planned fault that is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultView {
    /// Its id.
    pub id: String,
    /// The calls it is about.
    pub operation: String,
    /// What happens to them.
    pub effect: Effect,
    /// How likely.
    pub probability: f64,
}

impl Faults {
    pub(crate) fn add(&mut self, now: u64, fault: Fault) -> String {
        self.number += 1;
        let id = fault.id.clone().unwrap_or_else(|| format!("fault-{}", self.number));
        self.planned.retain(|planned| planned.id != id);
        let begins = now + fault.after_ms;
        let ends = fault.for_ms.map_or(u64::MAX, |length| begins + length);
        let tokens = if let Effect::Throttle { burst, .. } = fault.effect { burst } else { 0.0 };
        self.planned.push(Planned { id: id.clone(), begins, ends, happened: 0, tokens, filled: begins, fault });
        self.index();
        id
    }

    /// Clears one fault, or all; says how many there were.
    pub(crate) fn clear(&mut self, id: Option<&str>) -> usize {
        let before = self.planned.len();
        self.planned.retain(|planned| id.is_some_and(|id| planned.id != id));
        self.index();
        before - self.planned.len()
    }

    fn index(&mut self) {
        self.by_operation = Operation::ALL
            .iter()
            .map(|operation| {
                let about = |(number, planned): (usize, &Planned)| operation.matches(&planned.fault.operation).then_some(number);
                self.planned.iter().enumerate().filter_map(about).collect()
            })
            .collect();
    }

    pub(crate) fn decide(&mut self, cx: &mut Context, operation: Operation) -> Admission {
        let mut admission = Admission { delay_ms: 0, fate: Fate::Process };
        let Some(about) = self.by_operation.get(operation.index()) else {
            return admission;
        };
        for &number in about {
            let planned = &mut self.planned[number];
            if cx.now < planned.begins || cx.now >= planned.ends {
                continue;
            }
            if planned.fault.limit.is_some_and(|limit| planned.happened >= limit) {
                continue;
            }
            if planned.fault.probability < 1.0 && cx.rng.f64() >= planned.fault.probability {
                continue;
            }
            if let Effect::Latency { ms, jitter_ms } = planned.fault.effect {
                planned.happened += 1;
                admission.delay_ms += ms + cx.jitter(jitter_ms);
            } else if admission.fate == Fate::Process
                && let Some(fate) = planned.strike(cx.now, operation, &mut admission.delay_ms)
            {
                planned.happened += 1;
                admission.fate = fate;
            }
        }
        admission
    }

    pub(crate) fn state(&self) -> Vec<FaultState> {
        let view = |planned: &Planned| FaultState {
            fault: FaultView {
                id: planned.id.clone(),
                operation: planned.fault.operation.clone(),
                effect: planned.fault.effect.clone(),
                probability: planned.fault.probability,
            },
            happened: planned.happened,
        };
        self.planned.iter().map(view).collect()
    }
}

impl Planned {
    fn strike(&mut self, now: u64, operation: Operation, delay_ms: &mut u64) -> Option<Fate> {
        match &self.fault.effect {
            Effect::Latency { .. } => None,
            &Effect::Throttle { rate, burst } => {
                #[expect(clippy::cast_precision_loss, reason = "a span of milliseconds")]
                let passed = now.saturating_sub(self.filled) as f64 / 1000.0;
                self.tokens = (self.tokens + passed * rate).min(burst.max(1.0));
                self.filled = now;
                if self.tokens >= 1.0 {
                    self.tokens -= 1.0;
                    None
                } else {
                    Some(Fate::Refuse(throttled(operation.service())))
                }
            }
            Effect::Error { status, code, message } => {
                let mut error = server_error(operation.service(), *status);
                if let Some(code) = code {
                    error = ApiError::new(*status, code.clone(), error.message);
                }
                if let Some(message) = message {
                    error.message = Some(message.clone());
                }
                Some(Fate::Refuse(error))
            }
            Effect::Drop => Some(Fate::Drop),
            Effect::LoseAnswer => Some(Fate::ProcessAndLoseAnswer),
            Effect::Hang { ms } => {
                *delay_ms += ms;
                Some(Fate::Drop)
            }
        }
    }
}

/// The throttling error that the service really uses.
#[must_use]
pub fn throttled(service: Service) -> ApiError {
    match service {
        Service::Sqs => ApiError {
            query_code: Some("RequestThrottled"),
            namespace: Some("com.amazonaws.sqs#"),
            ..ApiError::new(403, "RequestThrottled", Some("Request is throttled.".into()))
        },
        Service::Ssm | Service::OpsworksCm => ApiError::client("ThrottlingException", "Rate exceeded"),
        Service::AutoScaling | Service::Sts | Service::Iam => ApiError::client("Throttling", "Rate exceeded"),
    }
}

fn server_error(service: Service, status: u16) -> ApiError {
    let unavailable = "The service is unavailable. Please try again later.";
    let internal = "We encountered an internal error. Please try again.";
    match (service, status) {
        (Service::Sqs, 503) => ApiError::new(503, "ServiceUnavailable", Some(unavailable.into())),
        (Service::Sqs, _) => ApiError::new(status, "InternalError", Some(internal.into())),
        (Service::Ssm, 500) => ApiError::new(500, "InternalServerError", Some(internal.into())),
        (_, 503) => ApiError::new(503, "ServiceUnavailable", Some(unavailable.into())),
        _ => ApiError::new(status, "InternalFailure", Some(internal.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::model::context::Settings;

    fn fault(operation: &str, effect: Effect) -> Fault {
        Fault { id: None, operation: operation.into(), effect, probability: 1.0, limit: None, after_ms: 0, for_ms: None }
    }

    #[test]
    fn a_throttle_lets_the_burst_through_and_then_the_rate() {
        let mut cx = Context::new(Settings::default(), 1);
        let mut faults = Faults::default();
        faults.add(0, fault("ssm:GetParameters", Effect::Throttle { rate: 10.0, burst: 3.0 }));
        let mut admitted = 0;
        for ms in 0..1000 {
            cx.now = ms;
            admitted += u32::from(faults.decide(&mut cx, Operation::GetParameters).fate == Fate::Process);
        }
        assert!((12..=13).contains(&admitted), "{admitted}");
        assert_eq!(faults.decide(&mut cx, Operation::PutParameter).fate, Fate::Process);
    }

    #[test]
    fn a_fault_ends_with_its_count_and_with_its_time() {
        let mut cx = Context::new(Settings::default(), 1);
        let mut faults = Faults::default();
        faults.add(0, Fault { limit: Some(2), ..fault("*", Effect::Drop) });
        let fates: Vec<_> = (0..3).map(|_| faults.decide(&mut cx, Operation::SendMessage).fate).collect();
        assert_eq!(fates, [Fate::Drop, Fate::Drop, Fate::Process]);

        faults.clear(None);
        faults.add(0, Fault { after_ms: 10, for_ms: Some(5), ..fault("*", Effect::LoseAnswer) });
        for (now, lost) in [(9, false), (10, true), (14, true), (15, false)] {
            cx.now = now;
            let fate = faults.decide(&mut cx, Operation::SendMessage).fate;
            assert_eq!(fate == Fate::ProcessAndLoseAnswer, lost, "at {now}");
        }
    }

    #[test]
    fn latencies_add_up_and_leave_the_call_alone() {
        let mut cx = Context::new(Settings::default(), 1);
        let mut faults = Faults::default();
        faults.add(0, fault("*", Effect::Latency { ms: 5, jitter_ms: 0 }));
        faults.add(0, fault("sqs:*", Effect::Latency { ms: 7, jitter_ms: 0 }));
        let admission = faults.decide(&mut cx, Operation::SendMessage);
        assert_eq!(admission, Admission { delay_ms: 12, fate: Fate::Process });
    }

    #[test]
    fn a_fault_with_a_known_id_replaces_the_earlier_one() {
        let mut faults = Faults::default();
        for _ in 0..2 {
            faults.add(0, Fault { id: Some("slow".into()), ..fault("*", Effect::Drop) });
        }
        assert_eq!(faults.state().len(), 1);
        assert_eq!(faults.clear(Some("slow")), 1);
    }
}
