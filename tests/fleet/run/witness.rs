//! What was seen of each run of a worker from outside: what it was given and refused, what it began to do, when it was held up. What
//! became of an action is judged by this, and not by what a core says of itself.

use std::collections::HashMap;

use enrolld::core::call::{Answer, Call};
use enrolld::event::{self, Notification, Transition};
use enrolld::facts::{ActionResult, RegistrationStatus, StatusToken};
use enrolld::retry::Class;

use super::calls::instances;
use super::{Fate, Fleet, Key, orderer};
use crate::plan::{GROUPS, LAUNCH_HOOK};

/// One run of one worker.
pub type Run = (usize, u32);

/// Something that befell a run at a time, with an instance or with all that it had in hand.
#[derive(Debug)]
pub struct Befell {
    pub at: u64,
    pub run: Run,
    pub instance: Option<String>,
}

/// How long something was so with a run.
#[derive(Debug)]
pub struct Span {
    pub run: Run,
    pub from: u64,
    pub until: u64,
}

impl Span {
    /// How much of another span it takes up.
    pub fn within(&self, from: u64, until: u64) -> u64 {
        self.until.min(until).saturating_sub(self.from.max(from))
    }
}

/// A run was told that its order to associate a node will not succeed.
#[derive(Debug)]
pub struct Refusal {
    pub at: u64,
    pub run: Run,
    pub node: String,
    pub why: Refused,
}

#[derive(Debug)]
pub enum Refused {
    /// The call itself was refused for good.
    AtOnce,
    /// The server says of the order with this token that it failed.
    Failed(StatusToken),
    /// The server knows nothing of the order.
    Forgotten,
}

/// How a run decided on a launch, as its first call of the ending shows.
#[derive(Debug)]
pub struct Decision {
    pub at: u64,
    pub run: Run,
    pub route: usize,
    pub instance: String,
    pub token: String,
    pub abandons: bool,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Witness {
    /// When each token's messages were given to which runs.
    pub given: HashMap<String, Vec<(u64, Run)>>,
    pub refusals: Vec<Refusal>,
    /// Orders to take a node off that were refused for good, as they may be where it is not there.
    pub not_there: Vec<Befell>,
    pub decisions: Vec<Decision>,
    /// When a run was told that an order of a route, by its token, has succeeded.
    pub succeeded: Vec<(u64, Run, usize, StatusToken)>,
    /// The orders that succeeded for nodes whose certificates are still to be delivered.
    signed: HashMap<(Run, String), (usize, StatusToken)>,
    /// Whose ABANDON closed which action.
    pub abandoned_by: HashMap<String, Run>,
    /// Calls that panicked.
    pub panicked: Vec<Befell>,
    /// Reads of keys, commands and writes of certificates, each for one instance, that were refused for good.
    pub refused_for_good: Vec<Befell>,
    /// Orders to associate, questions about them, and completions, that did not go through as they should: when that was known.
    pub hindered: Vec<Befell>,
    /// Heartbeats that did not go through as they should, or took long: of one instance, or, where all that come after it must wait too, of
    /// any.
    pub unkept: Vec<Befell>,
    /// When a run had as many calls under way as it may have.
    pub full: Vec<Span>,
    /// Launches that were held, as the workers say.
    pub held: Vec<Befell>,
    /// When a worker stood still.
    pub paused: Vec<Span>,
    /// When each instance rewrote its key.
    pub rewritten: HashMap<String, u64>,
    /// The tokens of the messages, by their ids.
    tokens: HashMap<String, Option<String>>,
}

impl Fleet {
    /// A call begins, and will end as `fate` says.
    pub(super) fn witness_call(&mut self, key: Key, call: &Call, fate: Fate) {
        let (at, run) = (self.now, (key.worker, key.run));
        let befell = |instance: Option<String>| Befell { at, run, instance };
        let witness = &mut self.witness;
        if fate == Fate::Panicked {
            witness.panicked.extend(instances(call).into_iter().map(|instance| befell(Some(instance))));
        }
        if fate != Fate::Answered && matches!(call, Call::Heartbeat { .. }) {
            witness.unkept.extend(instances(call).into_iter().map(|instance| befell(Some(instance))));
        }
        let decided = match call {
            Call::Complete { order, result, .. } => {
                // Who completes a termination decides nothing about its route.
                let launch = order.hook.as_str() == LAUNCH_HOOK;
                launch.then(|| (order.group.as_str(), order.instance.as_str(), order.token.as_str(), *result == ActionResult::Abandon))
            }
            _ => None,
        };
        if let Some((group, instance, token, abandons)) = decided {
            self.decided(run, group, instance, token, abandons);
        }
        if let Call::DeadLetter { letter, .. } = call
            && letter.attributes.iter().any(|(name, value)| *name == "EnrolldOutcome" && value == "abandoned")
            && let Ok(Notification::Action(claim)) = event::decode(letter.body.as_str())
            && claim.transition == Transition::Launching
        {
            self.decided(run, claim.group.as_str(), claim.instance.as_str(), claim.token.as_str(), true);
        }
    }

    /// So many calls of a run's are under way now.
    pub(super) fn witness_load(&mut self, run: Run, calls: u32) {
        let now = self.now;
        let open = self.witness.full.iter_mut().rev().find(|span| span.run == run).filter(|span| span.until == u64::MAX);
        match (open, calls as usize >= self.plan.settings.max_calls) {
            (Some(span), false) => span.until = now,
            (None, true) => self.witness.full.push(Span { run, from: now, until: u64::MAX }),
            _ => {}
        }
    }

    fn decided(&mut self, run: Run, group: &str, instance: &str, token: &str, abandons: bool) {
        let Some(route) = GROUPS.iter().position(|name| *name == group) else { return };
        let known = self.witness.decisions.iter().any(|one| one.run == run && one.token == token && one.abandons == abandons);
        if !known {
            let (instance, token) = (instance.to_owned(), token.to_owned());
            self.witness.decisions.push(Decision { at: self.now, run, route, instance, token, abandons });
        }
    }

    /// A call was carried out.
    pub(super) fn witness_outcome(&mut self, key: Key, call: &Call, answer: &Answer) {
        if let (Call::Complete { order, result: ActionResult::Abandon, .. }, Answer::Action(Ok(enrolld::facts::ActionReply::Accepted))) =
            (call, answer)
        {
            self.witness.abandoned_by.insert(order.token.as_str().to_owned(), (key.worker, key.run));
        }
    }

    /// An answer came back to a worker that lives.
    pub(super) fn witness_answer(&mut self, key: Key, call: &Call, answer: &Answer, fate: Fate) {
        let (at, run) = (self.now, (key.worker, key.run));
        if let (Call::Heartbeat { order, .. }, Answer::Action(Err(failure))) = (call, answer) {
            let shared = failure.class == Class::Throttled || failure.concerns_everybody();
            let instance = (!shared).then(|| order.instance.to_string());
            self.witness.unkept.push(Befell { at, run, instance });
        }
        if fate != Fate::Answered && matches!(call, Call::Associate { .. } | Call::AssociationStatus { .. } | Call::Complete { .. }) {
            self.witness.hindered.extend(instances(call).into_iter().map(|instance| Befell { at, run, instance: Some(instance) }));
        }
        let of = instances(call).into_iter().next();
        match (call, answer, of) {
            // A node that waits for its certificate is enrolled when it has it.
            (
                Call::AssociationStatus { route, token, .. },
                Answer::Status(Ok(RegistrationStatus::Success | RegistrationStatus::Signed(_))),
                Some(node),
            ) => {
                let success = (usize::from(route.0), token.clone());
                if self.plan.settings.routes[success.0].certificate.is_none() {
                    self.witness.succeeded.push((at, run, success.0, success.1));
                } else {
                    self.witness.signed.insert((run, node), success);
                }
            }
            (Call::PutParameter { .. }, Answer::Delivered(Ok(())), Some(node)) => {
                if let Some((route, token)) = self.witness.signed.remove(&(run, node)) {
                    self.witness.succeeded.push((at, run, route, token));
                }
            }
            _ => {}
        }
        if let (Call::Disassociate { .. }, Answer::Registration(Err(failure))) = (call, answer)
            && failure.class == Class::Final
        {
            self.witness.not_there.extend(instances(call).into_iter().map(|instance| Befell { at, run, instance: Some(instance) }));
        }
        let about_parameters = match answer {
            Answer::Keys(Err(failure))
            | Answer::CommandSent(Err(failure))
            | Answer::Output(Err(failure))
            | Answer::Delivered(Err(failure)) => failure.class == Class::Final,
            _ => false,
        };
        if about_parameters && let [instance] = &instances(call)[..] {
            self.witness.refused_for_good.push(Befell { at, run, instance: Some(instance.clone()) });
        }
        let why = match (call, answer) {
            (Call::Receive { .. }, Answer::Received(Ok(messages))) => {
                for message in messages {
                    let token =
                        self.witness.tokens.entry(message.id.to_string()).or_insert_with(|| match event::decode(message.body.as_str()) {
                            Ok(Notification::Action(claim)) => Some(claim.token.as_str().to_owned()),
                            _ => None,
                        });
                    if let Some(token) = token {
                        self.witness.given.entry(token.clone()).or_default().push((at, run));
                    }
                }
                return;
            }
            (Call::Associate { .. }, Answer::Registration(Err(failure))) if failure.class == Class::Final => Refused::AtOnce,
            (Call::AssociationStatus { token, .. }, Answer::Status(Ok(RegistrationStatus::Failed(_)))) => Refused::Failed(token.clone()),
            (Call::AssociationStatus { .. }, Answer::Status(Ok(RegistrationStatus::UnknownToken))) => Refused::Forgotten,
            _ => return,
        };
        if let [node] = &instances(call)[..] {
            self.witness.refusals.push(Refusal { at, run, node: node.clone(), why });
        }
    }
}

/// As whom a run speaks to the registrars, as their log names it.
pub fn caller(run: Run) -> String {
    orderer(run.0, run.1).arn.to_string()
}
