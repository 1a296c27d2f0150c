//! Actions that ran into their hook's time-out: only while no worker could have kept them open.

use enrolld::simulator::model::autoscaling::{ActionState, Closing};

use super::Judge;
use crate::run::witness::caller;

/// What a heartbeat that is due may wait for, in milliseconds: the first of all is due no sooner than this after a message was received.
const DUE_MS: u64 = 5_000;

impl Judge<'_> {
    /// The time-out of an action's hook, in milliseconds.
    pub(super) fn heartbeat_timeout(&self, action: &ActionState) -> u64 {
        let group = self.fleet.plan.fixture.groups.iter().find(|group| group.name == action.group);
        let hook = group.and_then(|group| group.hooks.iter().find(|hook| hook.name == action.hook));
        hook.map_or(0, |hook| hook.heartbeat_timeout) * 1000
    }

    /// Who should have kept an action open that ran into its time-out; none where nobody could.
    pub(super) fn was_neglected(&self, action: &ActionState, by: Closing, closed: u64) -> Option<String> {
        let plan = &self.fleet.plan;
        if by == Closing::GlobalTimeout {
            // A launch that is held ends two calls before its hook does, by the worker's clock: one that is further behind comes too late.
            let margin = 2 * i64::try_from(plan.settings.call_timeout.as_millis()).unwrap();
            let behind = plan.skew_ms.iter().any(|skew| -skew >= margin);
            return (!behind).then(|| "for all that the hook may last".into());
        }
        // What was given up on its last receive stands among the dead letters.
        let exhausted = self.letters.iter().any(|letter| {
            let reason = letter.attributes.get("EnrolldReason").is_some_and(|reason| reason == "deliveries_exhausted");
            reason && letter.body.contains(&action.token)
        });
        // With so few calls at a time a heartbeat may have to wait for longer than there is.
        if exhausted || plan.settings.max_calls < 8 {
            return None;
        }
        let timeout = self.heartbeat_timeout(action);
        let (since, latest) = (closed.saturating_sub(timeout), closed.saturating_sub(timeout / 2 + DUE_MS + 4 * plan.latency_ms));
        let witness = &self.fleet.witness;
        let given = witness.given.get(&action.token).map_or(&[][..], Vec::as_slice);
        given.iter().filter(|(at, _)| *at <= latest).find_map(|(at, run)| {
            let within = |from: u64, when: u64| (from..=closed).contains(&when);
            let slowed = witness.slowed.iter().any(|one| one.run == *run && within(since.saturating_sub(timeout), one.at));
            let paused = witness.paused.iter().any(|one| one.run == *run && one.at <= closed);
            let gone = self.let_go(&caller(*run), &action.instance, *at, closed);
            let panicked = witness
                .panicked
                .iter()
                .any(|one| one.run == *run && one.instance.as_deref() == Some(&action.instance) && within(*at, one.at));
            let neglected = !(slowed || paused || gone || panicked);
            neglected.then(|| format!("{run:?} had had it for {} ms", closed - at))
        })
    }
}
