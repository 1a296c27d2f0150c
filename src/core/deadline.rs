//! When an action's time is over: what it was waiting for, and whether that ends it or holds it.

use super::action::{Action, Ending, Openness, Over, Stage};
use super::lane::LaneKey;
use super::observation::Reason;
use super::settings::KeySource;
use super::time::ms;
use super::{ActionId, Core};
use crate::retry::Failure;

/// No launch is given up for its time on a look that is older than this, in milliseconds.
const LAST_LOOK_MS: u64 = 10_000;

impl Core {
    /// An action's budget is over.
    pub(super) fn deadline_is_over(&mut self, id: ActionId) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        action.deadline_at = None;
        if action.ending.is_some() {
            return match action.stage {
                Stage::Disassociate | Stage::Status(..) => {
                    let reason = self.deadline_reason(id, "the node could not be taken off its server in time");
                    self.disassociation_failed(id, reason, false);
                }
                Stage::CleanUp => self.cleaned_up(id),
                Stage::DeadLetter if action.is_to_complete() => self.dead_letter_is_late(id),
                _ => {}
            };
        }
        let owed = action.may_be_left();
        if self.was_completed_before(id) {
            return self.end_completed_before(id, None);
        }
        let Some(action) = self.actions.get(&id) else { return };
        let stage = action.stage.clone();
        if action.verified_at.is_none() && action.hook.is_none() && self.trouble_of(id).is_none() {
            let detail = "Auto Scaling never showed the instance waiting for the hook".to_owned();
            // An earlier run may have seen it waiting, and have associated it.
            return self.end(id, Ending { owed, ..super::admission::undeliverable("not_waiting", detail) });
        }
        if let Some(over) = self.actions.get_mut(&id).and_then(|action| action.over.take()) {
            // It could not be looked at in time, or what was seen is still in doubt.
            self.time_is_over(id, *over);
            return;
        }
        let reason = self.deadline_reason(id, "the launch's time was over");
        let over = Over { reason, stage, routes_fault: self.is_routes_fault(id) };
        if !self.looks_once_more(id, &over) {
            self.time_is_over(id, over);
        }
    }

    /// A launch that only waited was perhaps last looked at when its time began: its instance may have been terminated since, or put in
    /// service by another worker, and then nothing is abandoned, no letter says so, and the route has no fault. Says whether it is looked
    /// at once more before its time ends it.
    fn looks_once_more(&mut self, id: ActionId, over: &Over) -> bool {
        let now = self.now.mono_ms;
        let Some(action) = self.actions.get(&id) else { return false };
        let in_line = matches!(action.stage, Stage::Associate | Stage::Disassociate) && action.ordering.is_none();
        let waits = match action.stage {
            Stage::Key | Stage::Output(_) | Stage::Turn | Stage::LookAgain | Stage::Parked(_) | Stage::Verify => true,
            Stage::Deliver => !self.is_sent(id),
            _ => in_line,
        };
        let is_old = now.saturating_sub(action.looked_at) > LAST_LOOK_MS;
        if !is_old || !waits || action.hook.is_none() || !action.is_launch() {
            return false;
        }
        // What looks again anyway does so when it was to: before a second chance that is no pause to be cut short.
        let looks_at = match action.stage {
            Stage::LookAgain => action.wake_at,
            Stage::Verify => Some(now),
            _ => None,
        };
        let limit = self.must_end_by(id);
        // One that is held keeps its place in line, and is looked at before it is served.
        if in_line && limit.is_none_or(|limit| limit > now) && self.would_hold(id, over.routes_fault) {
            return false;
        }
        let begins = looks_at.unwrap_or(now);
        if looks_at.is_some() && limit.is_some_and(|limit| limit < begins + self.call_ms()) {
            return false;
        }
        // Doubts are looked into for the time of patience, if there is so much.
        let patient = begins + self.call_ms() + ms(self.settings.patience);
        let until = if limit.is_some_and(|limit| limit < patient) { begins + self.call_ms() } else { patient };
        if let Some(action) = self.actions.get_mut(&id) {
            action.over = Some(Box::new(over.clone()));
            // Few are in line and not held, and they do not lose their place to those that came later.
            action.renewing |= in_line;
            if matches!(action.openness, Openness::Open { .. }) {
                action.openness = Openness::Unknown;
            }
        }
        if in_line {
            self.count_look(id);
        }
        self.set_deadline(id, Some(until));
        if looks_at.is_none() {
            self.begin_verify(id);
        }
        true
    }

    /// A launch whose time is over waits still. Says whether that ends it.
    pub(super) fn ends_for_its_time(&mut self, id: ActionId) -> bool {
        let Some(over) = self.actions.get_mut(&id).and_then(|action| action.over.take()) else { return false };
        !self.time_is_over(id, *over)
    }

    /// A launch's time is over: says whether it is held all the same.
    fn time_is_over(&mut self, id: ActionId, over: Over) -> bool {
        let held = self.hold_rather_than_abandon(id, &over);
        if !held {
            // It went wrong where it stood before it was looked at once more.
            self.set_stage(id, over.stage);
            self.fail(id, over.reason);
        }
        held
    }

    /// Why the time was over: what an action last failed with, or what its server last said.
    fn deadline_reason(&self, id: ActionId, otherwise: &str) -> Reason {
        match (self.trouble_of(id), self.actions.get(&id)) {
            (Some(failure), _) => Reason::new("deadline", format!("{otherwise}; the last trouble was {failure}")),
            (None, Some(action)) => Reason::new("deadline", format!("{otherwise}, in the step {}", action.stage.step().as_str())),
            (None, None) => Reason::new("deadline", otherwise),
        }
    }

    /// What an action waits for that is in trouble: its server, as long as that takes no orders; the operation that it waits for, where
    /// that fails for everybody; what it failed with itself; or, where it has not even been its turn to ask, what others failed with.
    pub(super) fn trouble_of(&self, id: ActionId) -> Option<&Failure> {
        let action = self.actions.get(&id)?;
        let lane = self.lanes_trouble(id);
        let everybodys = lane.filter(|failure| failure.concerns_everybody());
        self.servers_trouble(id).or(everybodys).or(action.cause.as_deref()).or(lane)
    }

    /// What the operation that an action waits for last failed with, for whomever, if nothing went through since.
    pub(super) fn lanes_trouble(&self, id: ActionId) -> Option<&Failure> {
        let lane = self.lane_of(self.actions.get(&id)?).and_then(|key| self.lanes.get(&key))?;
        lane.trouble.as_ref()
    }

    /// Whether the operation that an action waits for is denied to all, or broken for all, until somebody mends it.
    pub(super) fn is_denied(&self, id: ActionId) -> bool {
        let lane = self.actions.get(&id).and_then(|action| self.lane_of(action)).and_then(|key| self.lanes.get(&key));
        lane.is_some_and(|lane| lane.on_trial)
    }

    /// Why the server that an action waits for takes no orders, as long as it does not.
    pub(super) fn servers_trouble(&self, id: ActionId) -> Option<&Failure> {
        let action = self.actions.get(&id)?;
        let at_gate = matches!(action.stage, Stage::Associate | Stage::Disassociate) || action.renewing;
        let gate = action.route.and_then(|route| self.gates.get(&self.settings.route(route).server)).filter(|_| at_gate);
        gate.and_then(|gate| gate.failure.as_ref())
    }

    /// The lane that an action's present stage waits in.
    fn lane_of(&self, action: &Action) -> Option<LaneKey> {
        let server = || action.route.map(|route| self.settings.route(route).server);
        Some(match action.stage {
            Stage::Verify | Stage::Confirm(_) => LaneKey::Instances(action.scope),
            Stage::Hooks => LaneKey::Hooks(action.scope),
            Stage::Whereabouts => LaneKey::Whereabouts(action.scope),
            Stage::Key => match self.settings.route(action.route?).key {
                KeySource::Parameter { .. } => LaneKey::Keys(action.route?),
                KeySource::RunCommand => LaneKey::Commands(action.route?),
            },
            Stage::Output(_) => LaneKey::Outputs(action.route?),
            Stage::Associate | Stage::Disassociate => LaneKey::Server(server()?),
            Stage::Status(..) => LaneKey::Status(server()?),
            Stage::Deliver => LaneKey::PutParameter(action.scope),
            Stage::Complete(_) => LaneKey::Complete(action.scope),
            Stage::CleanUp => LaneKey::DeleteParameters(action.scope),
            Stage::DeadLetter => LaneKey::DeadLetter,
            Stage::Delete => LaneKey::Delete,
            Stage::LookAgain | Stage::Turn | Stage::Openness | Stage::Parked(_) => return None,
        })
    }
}
