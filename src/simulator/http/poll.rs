//! Receiving with a wait: no spinning, and messages for whoever asked first, even where the client is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::exchange::{Call, Dropped, Input, refuse};
use super::json;
use super::reply::{self, Reply};
use super::shared::Shared;
use crate::simulator::model::World;
use crate::simulator::model::calls::Outcome;
use crate::simulator::model::error::Answer;
use crate::simulator::model::faults::Fate;
use crate::simulator::model::operation::{Operation, Service};
use crate::simulator::model::sqs::wire::{ReceiveMessage, Received};

const OPERATION: Operation = Operation::ReceiveMessage;

pub(super) async fn receive(shared: Arc<Shared>, call: Call) -> Result<Reply, Dropped> {
    let admission = match shared.with(|world, now| world.admit_on(now, &call.key, OPERATION, &call.asks(world))) {
        Ok(admission) => admission,
        Err(error) => return Ok(reply::failure(Service::Sqs, &error)),
    };
    if admission.delay_ms > 0 {
        shared.delay(Duration::from_millis(admission.delay_ms)).await;
    }
    let lost = match admission.fate {
        Fate::Process => false,
        Fate::ProcessAndLoseAnswer => true,
        fate => return refuse(&shared, OPERATION, fate),
    };
    let Input::Json(body) = &call.input else {
        return Err(Dropped);
    };
    let started = Instant::now();
    let request: Answer<ReceiveMessage> = json::read(body);
    let answer = match request {
        Err(error) => Err(error),
        Ok(request) => receive_or_wait(&shared, &call.key, request, started).await,
    };
    let outcome = match &answer {
        _ if lost => Outcome::AnswerLost,
        Ok(_) => Outcome::Ok,
        Err(error) => Outcome::Error(&error.code),
    };
    shared.with(|world, _| world.count(OPERATION, outcome));
    if lost {
        return Err(Dropped);
    }
    Ok(reply::answer(Service::Sqs, answer.map(|received| json::write(&received))))
}

/// The first look is the client's own; the wait after it goes on without the client.
async fn receive_or_wait(shared: &Arc<Shared>, key: &str, request: ReceiveMessage, started: Instant) -> Answer<Received> {
    let (queue, wait_ms, first) = shared.with(|world, now| {
        let (queue, wait_ms) = world.receive_wait(&request)?;
        look(world, now, key, &request).map(|received| (queue, wait_ms, received))
    })?;
    if wait_ms == 0 || !first.messages.is_empty() {
        return Ok(first);
    }
    let (answer, answered) = oneshot::channel();
    let deadline = started + Duration::from_millis(wait_ms);
    let poll = Poll { shared: Arc::clone(shared), key: key.to_owned(), request, queue, deadline, answer };
    tokio::spawn(poll.wait());
    // The task answers always, unless the runtime is going down.
    answered.await.unwrap_or_else(|_| Ok(Received::default()))
}

fn look(world: &mut World, now: u64, key: &str, request: &ReceiveMessage) -> Answer<Received> {
    let caller = world.caller(key);
    world.receive_message(now, &caller, request)
}

struct Poll {
    shared: Arc<Shared>,
    key: String,
    request: ReceiveMessage,
    queue: usize,
    deadline: Instant,
    answer: oneshot::Sender<Answer<Received>>,
}

impl Poll {
    async fn wait(mut self) {
        loop {
            let looked = self.shared.with_or_wait(self.queue, |world, now| {
                let out = look(world, now, &self.key, &self.request);
                let nothing = matches!(&out, Ok(received) if received.messages.is_empty());
                (!nothing).then_some(out)
            });
            let called = match looked {
                Ok(out) => {
                    // Where the client is gone, these messages come back after their visibility time-out, as with SQS.
                    let _ = self.answer.send(out);
                    return;
                }
                Err(called) => called,
            };
            let patient = self.shared.with(|world, _| world.sqs.queue(self.queue).options.dropped_polls_receive);
            tokio::select! {
                () = called.notified() => {}
                () = tokio::time::sleep_until(self.deadline) => {
                    self.shared.stop_waiting(self.queue, &called);
                    let _ = self.answer.send(Ok(Received::default()));
                    return;
                }
                () = self.answer.closed(), if !patient => {
                    self.shared.stop_waiting(self.queue, &called);
                    return;
                }
            }
        }
    }
}
