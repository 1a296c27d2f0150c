//! The same protocols without a socket and without a clock: for the real SDKs over an in-process client, under virtual time.

use bytes::Bytes;
use hyper::{Request, Response};

use super::exchange::{Call, Input, identify, process, refusal};
use super::json;
use super::reply::{self, Reply};
use crate::simulator::model::World;
use crate::simulator::model::faults::{Admission, Fate};
use crate::simulator::model::operation::Operation;
use crate::simulator::model::sqs::wire::ReceiveMessage;

/// One request on its way: begun at one time, finished at a later one.
pub struct Exchange(Stage);

enum Stage {
    /// It is answered already: refused, or nothing that a service knows.
    Answered(Box<Reply>),
    Admitted {
        call: Call,
        admission: Admission,
        /// When it came.
        arrived: u64,
    },
}

impl Exchange {
    /// Reads a request, and asks the fault plan about it.
    #[must_use]
    pub fn begin(world: &mut World, now: u64, request: Request<Bytes>) -> Self {
        let (head, body) = request.into_parts();
        let call = match identify(&head, body) {
            Ok(call) => call,
            Err(reply) => return Self(Stage::Answered(reply)),
        };
        let asked = call.asks(world);
        match world.admit_on(now, &call.key, call.operation, &asked) {
            Ok(admission) => Self(Stage::Admitted { call, admission, arrived: now }),
            Err(error) => Self(Stage::Answered(Box::new(reply::failure(call.operation.service(), &error)))),
        }
    }

    /// How much later to finish it, in milliseconds.
    #[must_use]
    pub const fn delay_ms(&self) -> u64 {
        match &self.0 {
            Stage::Answered(_) => 0,
            Stage::Admitted { admission, .. } => admission.delay_ms,
        }
    }

    /// For a receive that may wait: how long, in milliseconds. [`Exchange::finish`] looks once, so finish it when the queue has a
    /// message ([`World::visible`]), or when this time has passed.
    #[must_use]
    pub fn receive_wait(&self, world: &World) -> Option<(String, u64)> {
        let Stage::Admitted { call: Call { operation: Operation::ReceiveMessage, input: Input::Json(body), .. }, admission, .. } = &self.0
        else {
            return None;
        };
        let request: ReceiveMessage = json::read(body).ok()?;
        let (_, wait_ms) = world.receive_wait(&request).ok()?;
        let processed = matches!(admission.fate, Fate::Process | Fate::ProcessAndLoseAnswer);
        (processed && wait_ms > 0).then_some((request.queue_url, wait_ms))
    }

    /// Makes the call, and gives the answer; nothing where the connection is dropped, or the answer is lost.
    #[must_use]
    pub fn finish(self, world: &mut World, now: u64) -> Option<Response<Bytes>> {
        let (call, admission, arrived) = match self.0 {
            Stage::Answered(reply) => return Some(*reply),
            Stage::Admitted { call, admission, arrived } => (call, admission, arrived),
        };
        match admission.fate {
            Fate::Process => Some(reply::answer(call.operation.service(), process(world, now, arrived, &call, false))),
            Fate::ProcessAndLoseAnswer => {
                let _ = process(world, now, arrived, &call, true);
                None
            }
            fate => refusal(world, call.operation, fate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::model::faults::{Effect, Fault};
    use crate::simulator::model::fixture::Fixture;

    const NOW: u64 = 1_772_439_342_118;
    const QUEUE: &str = "http://127.0.0.1:4599/123456789012/enrolld-lifecycle";

    fn world() -> World {
        World::from_fixture(Fixture::standard(), 1, NOW).expect("the fixture is sound")
    }

    fn sqs(operation: &str, body: &str) -> Request<Bytes> {
        Request::post("/")
            .header("x-amz-target", format!("AmazonSQS.{operation}"))
            .header("authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260302/eu-central-1/sqs/aws4_request")
            .body(Bytes::from(body.to_owned()))
            .expect("a request")
    }

    #[test]
    fn a_call_is_answered_at_the_time_it_is_finished() {
        let mut world = world();
        let effect = Effect::Latency { ms: 5, jitter_ms: 0 };
        let fault = Fault { id: None, operation: "sqs:*".into(), effect, probability: 1.0, limit: None, after_ms: 0, for_ms: None };
        world.add_fault(NOW, fault);
        let body = format!(r#"{{"QueueUrl":"{QUEUE}","MessageBody":"x"}}"#);
        let exchange = Exchange::begin(&mut world, NOW, sqs("SendMessage", &body));
        assert_eq!(exchange.delay_ms(), 5);
        let answer = exchange.finish(&mut world, NOW + 5).expect("answered");
        assert_eq!(answer.status(), 200);
        assert_eq!(world.visible(QUEUE), 1);
        assert_eq!(world.state(true).queues["enrolld-lifecycle"].messages[0].sent_ms, NOW + 5);
    }

    #[test]
    fn a_long_poll_tells_how_long_it_waits() {
        let mut world = world();
        let body = format!(r#"{{"QueueUrl":"{QUEUE}","WaitTimeSeconds":20}}"#);
        let exchange = Exchange::begin(&mut world, NOW, sqs("ReceiveMessage", &body));
        assert_eq!(exchange.receive_wait(&world), Some((QUEUE.to_owned(), 20_000)));
        let answer = exchange.finish(&mut world, NOW + 20_000).expect("answered");
        assert_eq!(answer.body().as_ref(), b"{}");
    }

    #[test]
    fn a_lost_answer_is_a_call_that_was_made() {
        let mut world = world();
        let fault =
            Fault { id: None, operation: "*".into(), effect: Effect::LoseAnswer, probability: 1.0, limit: None, after_ms: 0, for_ms: None };
        world.add_fault(NOW, fault);
        let body = format!(r#"{{"QueueUrl":"{QUEUE}","MessageBody":"x"}}"#);
        let exchange = Exchange::begin(&mut world, NOW, sqs("SendMessage", &body));
        assert!(exchange.finish(&mut world, NOW).is_none());
        assert_eq!(world.visible(QUEUE), 1);
    }

    #[test]
    fn what_no_service_knows_is_answered_at_once() {
        let mut world = world();
        let exchange = Exchange::begin(&mut world, NOW, sqs("NoSuchOperation", "{}"));
        let answer = exchange.finish(&mut world, NOW).expect("answered");
        assert_eq!(answer.status(), 400);
        let unsigned = Request::post("/").header("x-amz-target", "AmazonSQS.ListQueues").body(Bytes::new()).expect("a request");
        let answer = Exchange::begin(&mut world, NOW, unsigned).finish(&mut world, NOW).expect("answered");
        assert_eq!(answer.status(), 403);
    }
}
