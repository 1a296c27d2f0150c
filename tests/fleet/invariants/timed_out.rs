//! Actions that ran into their hook's time-out: only while no worker could have kept them open.

use enrolld::simulator::model::autoscaling::{ActionState, Closing};

use super::Judge;
use crate::run::witness::{Befell, Run, caller};

/// What a heartbeat that is due may wait for, in milliseconds: the first of all is due no sooner than this after a message was received.
const DUE_MS: u64 = 5_000;

impl Judge<'_> {
    /// The time-out of an action's hook, in milliseconds.
    pub(super) fn heartbeat_timeout(&self, action: &ActionState) -> u64 {
        let group = self.fleet.plan.fixture.groups.iter().find(|group| group.name == action.group);
        let hook = group.and_then(|group| group.hooks.iter().find(|hook| hook.name == action.hook));
        hook.map_or(0, |hook| hook.heartbeat_timeout) * 1000
    }

    /// What kept all who were given an action from keeping it open, where it ran into its time-out; or who should have.
    pub(super) fn excuses(&self, action: &ActionState, by: Closing, closed: u64) -> Result<Vec<&'static str>, String> {
        let plan = &self.fleet.plan;
        if by == Closing::GlobalTimeout {
            // A launch that is held ends three calls before its hook does, by the worker's clock: one that is further behind comes too late.
            let margin = 3 * i64::try_from(plan.settings.call_timeout.as_millis()).unwrap();
            let behind = plan.skew_ms.iter().any(|skew| -skew >= margin);
            return if behind { Ok(vec!["a clock that is behind"]) } else { Err("for all that the hook may last".into()) };
        }
        // What was given up on its last receive stands among the dead letters.
        let exhausted = self.letters.iter().any(|letter| {
            let reason = letter.attributes.get("EnrolldReason").is_some_and(|reason| reason == "deliveries_exhausted");
            reason && letter.body.contains(&action.token)
        });
        if exhausted {
            return Ok(vec!["given up on its last receive"]);
        }
        let timeout = self.heartbeat_timeout(action);
        let latest = closed.saturating_sub(timeout / 2 + DUE_MS + 4 * plan.latency_ms);
        let given = self.fleet.witness.given.get(&action.token).map_or(&[][..], Vec::as_slice);
        let given: Vec<_> = given.iter().filter(|(at, _)| *at <= latest).collect();
        if given.is_empty() {
            return Ok(vec!["nobody had it in time"]);
        }
        let excuse = |(at, run): &(u64, Run)| {
            let excuse = self.hindrance(*run, &action.instance, (*at, closed), timeout);
            excuse.ok_or_else(|| format!("{run:?} had had it for {} ms", closed - at))
        };
        given.into_iter().map(excuse).collect()
    }

    /// What kept a run that had an action from a time on from keeping it open until another.
    fn hindrance(&self, run: Run, instance: &str, (given, closed): (u64, u64), timeout: u64) -> Option<&'static str> {
        let witness = &self.fleet.witness;
        let of_instance = |one: &&Befell| one.run == run && one.instance.as_deref() == Some(instance) && (given..=closed).contains(&one.at);
        if self.let_go(&caller(run), instance, given, closed) {
            return Some("its worker was killed, or had to let go of it");
        }
        if witness.panicked.iter().any(|one| of_instance(&one)) {
            return Some("a call about it panicked, and it began anew");
        }
        // By when the next heartbeat has been tried, whatever became of one before, and has its own entry if it failed too.
        let settings = &self.fleet.plan.settings;
        let again = u64::try_from((settings.call_timeout + settings.transient.max).as_millis()).unwrap() + DUE_MS;
        // What is left of the time-out when a heartbeat is due: who stands still for less must be in time all the same.
        let left = (timeout / 2).saturating_sub(again);
        let slept = |from: u64| witness.paused.iter().any(|span| span.run == run && span.within(from, closed) > left);
        if slept(closed.saturating_sub(timeout)) {
            return Some("its worker stood still");
        }
        // The half of the time-out that is left for another heartbeat is a few seconds where hooks are short, and one call may take as long.
        if witness.unkept.iter().any(|one| of_instance(&one) && one.at + again >= closed) {
            return Some("a heartbeat was lost, refused or late");
        }
        // All of them wait then, and are slower for a while: a learned rate grows by a few calls a second at best.
        let shared = |one: &Befell| one.run == run && one.instance.is_none() && one.at + 2 * timeout >= closed && one.at <= closed;
        if witness.unkept.iter().any(shared) {
            return Some("heartbeats were throttled, or had no credentials");
        }
        // With so few calls at a time, and so many of them slow, none may be free for most of what the heartbeat has.
        let full = witness.full.iter().filter(|span| span.run == run).map(|span| span.within(closed.saturating_sub(timeout / 2), closed));
        (full.sum::<u64>() * 2 > timeout / 2).then_some("all calls were taken")
    }
}
