//! Tokens that are claimed for two instances. A token completes its own action, whoever names it: one that was read elsewhere and sent
//! with another instance's name would put its own instance in service while the other one is enrolled. Nothing tells whose it is, so
//! somebody is woken, and it is not used before each of those instances is enrolled or given up.

use std::collections::{HashMap, VecDeque};

use super::observation::{Observation, Reason};
use super::{ActionId, Core};
use crate::names::{InstanceId, LifecycleActionToken};

/// Used tokens that are kept in mind.
const SPENT: usize = 4_096;
/// How soon a completion is looked at again that waits for another instance, in milliseconds.
pub(super) const DISPUTE_WAIT_MS: u64 = 1_000;

/// The tokens that were used last, and for which instance.
#[derive(Debug, Default)]
pub(super) struct Spent {
    of: HashMap<LifecycleActionToken, InstanceId>,
    order: VecDeque<LifecycleActionToken>,
}

impl Spent {
    fn add(&mut self, token: LifecycleActionToken, instance: InstanceId) {
        if self.of.insert(token.clone(), instance).is_none() {
            self.order.push_back(token);
        }
        if self.order.len() > SPENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.of.remove(&oldest);
        }
    }
}

impl Core {
    /// Notes whose token this action's is, and says so where it is claimed for another instance too.
    pub(super) fn claim_token(&mut self, id: ActionId) {
        let Some(claim) = self.actions.get(&id).and_then(|action| action.claim.clone()) else { return };
        let first = *self.tokens.entry(claim.token.clone()).or_insert(id);
        let others = |other: ActionId| {
            let instance = self.actions.get(&other).and_then(|other| other.claim.as_ref()).map(|claim| &claim.instance);
            instance.is_some_and(|instance| *instance != claim.instance)
        };
        let in_hand = others(first);
        if !in_hand && self.spent.of.get(&claim.token).is_none_or(|instance| *instance == claim.instance) {
            return;
        }
        for disputed in [first, id].into_iter().filter(|_| in_hand) {
            if let Some(action) = self.actions.get_mut(&disputed) {
                action.disputed = true;
            }
        }
        let subject = self.actions.get(&id).and_then(super::action::Action::subject);
        if let Some(subject) = subject {
            let detail = "the token of this action is claimed for another instance too: one of the two notifications is forged";
            self.observe(Observation::Security { subject, reason: Reason::new("disputed_token", detail) });
        }
    }

    /// Whether an action's token may belong to an instance whose own action is not decided yet.
    pub(super) fn is_disputed(&self, id: ActionId) -> bool {
        let Some(claim) = self.actions.get(&id).filter(|action| action.disputed).and_then(|action| action.claim.as_deref()) else {
            return false;
        };
        self.actions
            .values()
            .filter(|other| other.ending.is_none())
            .any(|other| other.claim.as_ref().is_some_and(|other| other.token == claim.token && other.instance != claim.instance))
    }

    /// Auto Scaling took a token for its action.
    pub(super) fn spend_token(&mut self, id: ActionId) {
        if let Some(claim) = self.actions.get(&id).and_then(|action| action.claim.as_ref()) {
            self.spent.add(claim.token.clone(), claim.instance.clone());
        }
    }

    /// The token of an action that is over is another's, where others claim it.
    pub(super) fn leave_token(&mut self, id: ActionId, token: &LifecycleActionToken, disputed: bool) {
        if self.tokens.get(token) != Some(&id) {
            return;
        }
        self.tokens.remove(token);
        if disputed {
            let claims_it = |action: &super::action::Action| action.claim.as_ref().is_some_and(|claim| claim.token == *token);
            let next = self.actions.iter().filter(|(_, action)| claims_it(action)).map(|(id, _)| *id).min();
            if let Some(next) = next {
                self.tokens.insert(token.clone(), next);
            }
        }
    }
}
