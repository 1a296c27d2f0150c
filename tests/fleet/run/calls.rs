//! The calls of the workers: begun, processed, answered, or none of it.

use enrolld::core::call::{Answer, Call};
use enrolld::names::InstanceId;
use enrolld::simulator::model::caller::Caller;

use super::{Event, Fate, Fleet, Key, Kill, Knock, Underway};
use crate::plan::Dice;
use crate::services::{self, ACCOUNT, QUEUE};

impl Fleet {
    pub(super) fn begin(&mut self, key: Key, call: Call) {
        let worker = &mut self.workers[key.worker];
        worker.calls += 1;
        let ordinal = worker.calls;
        if key.worker == 0 && key.run == 1 && self.kill == Some(Kill::BeforeCall(ordinal)) {
            trace!(self, "  w0 is about to make its call {ordinal}, {}", call.operation());
            return self.crash(0, 1_000);
        }
        self.calls += 1;
        self.called.push((key.worker, call.operation()));
        let calm = self.now >= self.plan.calm_at;
        let odds = self.plan.odds;
        let longest = u64::try_from(self.plan.settings.call_timeout.as_millis()).unwrap();
        let mut fate = Fate::Answered;
        let spared = self.plan.spares_receives() && matches!(call, Call::Receive { .. });
        if !calm && !spared {
            let mut roll = self.dice.0.f64();
            for (odd, what) in [
                (odds.throttled, Fate::Throttled),
                (odds.server_error, Fate::ServerError),
                (odds.dropped, Fate::Dropped),
                (odds.answer_lost, Fate::AnswerLost),
                (odds.hangs, Fate::Hung),
                (odds.panics, Fate::Panicked),
                (odds.slow, Fate::Slow),
            ] {
                if roll < odd {
                    fate = what;
                    break;
                }
                roll -= odd;
            }
        }
        self.witness_call(key, &call, fate);
        *self.fates.entry(fate).or_default() += 1;
        self.knock(key, &call, fate);
        let leg = |dice: &mut Dice, most: u64| dice.between(1, most.max(1));
        let (mut process_after, mut answer_after) = (leg(&mut self.dice, self.plan.latency_ms), leg(&mut self.dice, self.plan.latency_ms));
        match fate {
            Fate::Slow => {
                process_after = leg(&mut self.dice, longest / 2);
                answer_after = leg(&mut self.dice, longest / 2 - 1);
            }
            Fate::Hung => answer_after = longest,
            _ => {}
        }
        trace!(self, "  w{} {} {}", key.worker, summary(&call), if fate == Fate::Answered { String::new() } else { format!("({fate:?})") });
        let answer = match fate {
            Fate::Throttled => Some(services::throttle(&call)),
            Fate::ServerError => Some(services::server_error(&call)),
            Fate::Dropped => Some(services::cut_off(&call, "connection")),
            Fate::Hung => Some(services::cut_off(&call, "timeout")),
            Fate::Panicked if self.dice.chance(0.5) => Some(Answer::Panicked("out of luck".into())),
            _ => None,
        };
        if let (Call::Receive { wait, .. }, None) = (&call, &answer) {
            let until = self.now + u64::try_from(wait.as_millis()).unwrap();
            let waits = !self.services.is_out(self.now, &call) && self.services.world.visible_messages(QUEUE) == 0;
            self.underway.insert(key, Underway { call, ordinal, fate, answer: None, answer_after, dropped: false });
            if waits {
                self.polls.push(key);
                self.schedule(until, Event::PollEnds(key));
            } else {
                self.schedule(self.now + process_after, Event::Process(key));
            }
            return;
        }
        let refused = answer.is_some();
        self.underway.insert(key, Underway { call, ordinal, fate, answer, answer_after, dropped: false });
        if refused {
            self.schedule(self.now + process_after.min(longest / 2) + answer_after, Event::Deliver(key));
        } else {
            self.schedule(self.now + process_after, Event::Process(key));
        }
    }

    fn knock(&mut self, key: Key, call: &Call, fate: Fate) {
        if let Call::Associate { route, .. } | Call::Disassociate { route, .. } | Call::CheckHealth { route } = call {
            let clean = matches!(fate, Fate::Answered | Fate::Slow);
            self.knocks.push(Knock { at: self.now, worker: key.worker, run: key.run, server: usize::from(route.0), clean });
        }
    }

    pub(super) fn process(&mut self, key: Key) {
        let Some(underway) = self.underway.get_mut(&key) else { return };
        if matches!(underway.call, Call::Associate { .. } | Call::Disassociate { .. }) {
            self.services.orderer = orderer(key.worker, key.run);
        }
        let call = underway.call.clone();
        let mut answer = self.services.perform(self.now, &call);
        self.witness_outcome(key, &call, &answer);
        let Some(underway) = self.underway.get_mut(&key) else { return };
        match underway.fate {
            Fate::AnswerLost => answer = services::cut_off(&underway.call, "connection"),
            Fate::Panicked => answer = Answer::Panicked("out of luck".into()),
            _ => {}
        }
        underway.answer = Some(answer);
        let (at, processed) = (self.now + underway.answer_after, Kill::Processed(underway.ordinal));
        self.schedule(at, Event::Deliver(key));
        if key.worker == 0 && key.run == 1 && self.kill == Some(processed) {
            self.crash(0, 1_000);
        }
    }

    pub(super) fn deliver(&mut self, key: Key) {
        let Some(underway) = self.underway.remove(&key) else { return };
        let now = self.moment(key.worker);
        let worker = &self.workers[key.worker];
        if worker.core.is_none() || worker.run != key.run || underway.dropped {
            return;
        }
        let answer = underway.answer.unwrap_or_else(|| services::cut_off(&underway.call, "connection"));
        self.witness_answer(key, &underway.call, &answer, underway.fate);
        let worker = &mut self.workers[key.worker];
        let Some(core) = worker.core.as_mut() else { return };
        if worker.paused {
            worker.waiting.push((key.call, answer));
            return;
        }
        core.answer(now, key.call, answer);
        worker.dirty = true;
        if key.worker == 0 && key.run == 1 && self.kill == Some(Kill::Answered(underway.ordinal)) {
            self.crash(0, 1_000);
        }
    }

    /// Long polls under way take what has become visible. Those of a worker that is gone do so too: nobody gets what they bring.
    pub(super) fn serve_polls(&mut self) {
        while !self.polls.is_empty() && self.services.world.visible_messages(QUEUE) > 0 {
            let key = self.polls.remove(0);
            self.process(key);
        }
    }
}

/// As whom a run of a worker speaks to the registrars.
pub fn orderer(worker: usize, run: u32) -> Caller {
    Caller::instance(ACCOUNT, "enrolld", &format!("worker-{worker}-run-{run}"))
}

/// The instances that a call is about.
pub(super) fn instances(call: &Call) -> Vec<String> {
    let names = |instances: &[InstanceId]| instances.iter().map(ToString::to_string).collect();
    match call {
        Call::DescribeInstances { instances, .. } | Call::SendCommand { instances, .. } | Call::FindWhereabouts { instances, .. } => {
            names(instances)
        }
        Call::Heartbeat { order, .. } | Call::Complete { order, .. } => names(std::slice::from_ref(&order.instance)),
        Call::FetchKeys { wanted, .. } => wanted.iter().map(|one| one.instance.to_string()).collect(),
        Call::FetchOutput { wanted, .. } => names(std::slice::from_ref(&wanted.instance)),
        // `/enrolld/INSTANCE/certificate`.
        Call::PutParameter { parameter, .. } => parameter.as_str().split('/').nth(2).map(str::to_owned).into_iter().collect(),
        Call::Associate { order, .. } | Call::AssociationStatus { order, .. } | Call::Disassociate { order, .. } => {
            names(std::slice::from_ref(&order.action.instance))
        }
        _ => Vec::new(),
    }
}

/// A call in a few words.
fn summary(call: &Call) -> String {
    let of = match call {
        Call::DescribeInstances { instances, .. } | Call::SendCommand { instances, .. } | Call::FindWhereabouts { instances, .. } => {
            format!("{instances:?}")
        }
        Call::Heartbeat { order, .. } => order.instance.to_string(),
        Call::Complete { order, result, .. } => format!("{} {}", order.instance, result.as_str()),
        Call::FetchKeys { wanted, .. } => wanted.iter().map(|one| one.instance.to_string()).collect::<Vec<_>>().join(" "),
        Call::FetchOutput { wanted, .. } => wanted.instance.to_string(),
        Call::PutParameter { parameter, .. } => parameter.as_str().to_owned(),
        Call::DeleteParameters { parameters, .. } => format!("{parameters:?}"),
        Call::Associate { order, .. } | Call::AssociationStatus { order, .. } | Call::Disassociate { order, .. } => order.node.to_string(),
        Call::Extend { messages, .. } | Call::Delete { messages } => {
            messages.iter().map(|held| held.id.to_string()).collect::<Vec<_>>().join(" ")
        }
        Call::Release { messages } => messages.iter().map(|(held, delay)| format!("{} {delay:?}", held.id)).collect::<Vec<_>>().join(" "),
        Call::DeadLetter { letter, .. } => format!("{:?}", letter.attributes),
        _ => String::new(),
    };
    format!("{} {of}", call.operation())
}
