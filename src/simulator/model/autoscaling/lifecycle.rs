//! How an instance moves: the states that it passes, and where its hooks hold it.

use std::collections::HashSet;
use std::sync::Arc;

use super::activity::description;
use super::instance::{Kind, LifecycleState, Place, Way};
use super::state::Closing;
use super::{Action, AutoScaling, Closed, Instance, Transition};
use crate::simulator::model::agent::{AgentOptions, Publish};
use crate::simulator::model::context::{Context, Event};
use crate::simulator::model::error::Answer;

const ZONES: [&str; 3] = ["a", "b", "c"];

impl AutoScaling {
    /// Launches a new instance into a group, or into the group's warm pool.
    pub(crate) fn launch(
        &mut self,
        cx: &mut Context,
        group: &str,
        destination: Place,
        agent: Option<AgentOptions>,
        cause: &str,
    ) -> Answer<Arc<str>> {
        let group = self.group(group)?;
        let agent = agent.unwrap_or_else(|| group.options.agent.clone());
        let name = Arc::clone(&group.name);
        let id: Arc<str> = loop {
            let id = format!("i-0{:016x}", cx.rng.u64(..));
            if !self.instances.contains_key(id.as_str()) {
                break id.into();
            }
        };
        let publishes_at = match agent.publish {
            Publish::Parameter { after_ms, jitter_ms, .. } => {
                let at = cx.now + after_ms + cx.jitter(jitter_ms);
                cx.at(at, Event::AgentPublishes { instance: Arc::clone(&id) });
                at
            }
            Publish::RunCommand { after_ms } => cx.now + after_ms,
            Publish::Never => u64::MAX,
        };
        let zone = ZONES[cx.rng.usize(0..ZONES.len())];
        let instance = Instance {
            id: Arc::clone(&id),
            group: name,
            state: LifecycleState::Pending,
            history: Vec::new(),
            healthy: true,
            zone,
            launched: cx.now,
            step: 0,
            transition: None,
            agent,
            publishes_at,
            published: false,
            abandoned: false,
        };
        self.instances.insert(Arc::clone(&id), instance);
        self.depart(cx, &id, Place::Ec2, destination, cause, true);
        Ok(id)
    }

    /// Takes resting instances out of the warm pool and into the group; as many as there are.
    pub(crate) fn leave_pool(&mut self, cx: &mut Context, group: &str, count: usize, cause: &str) -> Vec<Arc<str>> {
        let Some(group) = self.groups.get(group) else { return Vec::new() };
        let rests = |id: &&Arc<str>| self.instances.get(*id).is_some_and(|instance| instance.state.rests_in_pool());
        let chosen: Vec<Arc<str>> = group.members.iter().filter(rests).take(count).cloned().collect();
        for id in &chosen {
            self.depart(cx, id, Place::WarmPool, Place::AutoScalingGroup, cause, true);
            if let Some(Instance { agent: AgentOptions { publish: Publish::Parameter { after_ms, .. }, each_start: true, .. }, .. }) =
                self.instances.get(id)
            {
                cx.at(cx.now + after_ms, Event::AgentPublishes { instance: Arc::clone(id) });
            }
        }
        chosen
    }

    /// Begins the termination of an instance, from wherever it is; false where it is gone or going already.
    pub(crate) fn terminate(&mut self, cx: &mut Context, id: &str, cause: &str, hooked: bool) -> bool {
        let Some(instance) = self.instances.get(id) else {
            return false;
        };
        let leaving = instance.transition.as_ref().is_some_and(|transition| transition.destination == Place::Ec2);
        if !instance.state.is_listed() || leaving {
            return false;
        }
        let origin = if instance.state.is_warmed() { Place::WarmPool } else { Place::AutoScalingGroup };
        self.break_off(cx, id, Closing::Superseded, "The instance was terminated before it was in service");
        self.depart(cx, id, origin, Place::Ec2, cause, hooked);
        true
    }

    /// Begins the way of an instance in service back into the warm pool.
    pub(crate) fn return_to_pool(&mut self, cx: &mut Context, id: &str) -> bool {
        let ready = self.instances.get(id).is_some_and(|instance| instance.state == LifecycleState::InService);
        if ready {
            let cause = "an instance was moved to the warm pool in response to a scale in.";
            self.depart(cx, id, Place::AutoScalingGroup, Place::WarmPool, cause, true);
        }
        ready
    }

    fn depart(&mut self, cx: &mut Context, id: &str, origin: Place, destination: Place, cause: &str, hooked: bool) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        let Some(group) = self.groups.get_mut(&instance.group) else {
            return;
        };
        let way = Way::between(origin, destination);
        let activity = group.begin(cx, description(origin, destination, id), cause, instance.zone);
        instance.transition = Some(Transition { origin, destination, open: Vec::new(), activity, hooked });
        group.members.insert(Arc::clone(&instance.id));
        let delay = if way.kind == Kind::Launching { group.options.pending_ms } else { group.options.terminating_ms };
        instance.enter(cx, way.first, Some(delay));
    }

    /// An instance has been in a state that it leaves by itself for long enough.
    pub(crate) fn instance_step(&mut self, cx: &mut Context, id: &str, step: u32) {
        let Some(instance) = self.instances.get(id).filter(|instance| instance.step == step) else {
            return;
        };
        let Some(transition) = &instance.transition else {
            return;
        };
        let way = Way::between(transition.origin, transition.destination);
        if instance.state == way.first {
            if !transition.hooked || !self.wait_for_hooks(cx, id, &way) {
                self.proceed(cx, id);
            }
        } else if instance.state == way.proceed {
            self.arrive(cx, id);
        }
    }

    /// Begins an action for each hook of this transition; false where there is none.
    fn wait_for_hooks(&mut self, cx: &mut Context, id: &str, way: &Way) -> bool {
        let Some(instance) = self.instances.get(id) else {
            return false;
        };
        let Some(group) = self.groups.get(&instance.group) else {
            return false;
        };
        let Some(transition) = &instance.transition else {
            return false;
        };
        let mut begun = Vec::new();
        for hook in group.hooks.iter().filter(|hook| hook.kind == way.kind) {
            let action = Action {
                token: cx.uuid().into(),
                instance: Arc::clone(&instance.id),
                group: Arc::clone(&group.name),
                hook: Arc::clone(&hook.name),
                kind: way.kind,
                origin: transition.origin,
                destination: transition.destination,
                began: cx.now,
                heartbeat_ms: hook.heartbeat_ms,
                deadline: cx.now + hook.heartbeat_ms,
                global_deadline: cx.now + hook.global_ms(),
                default_continue: hook.default_continue,
                closed: None,
                heartbeats: 0,
                late_heartbeats: 0,
                refused_completions: 0,
                completion_arrived: None,
            };
            self.notify(cx, group, hook, &action);
            begun.push(action);
        }
        if begun.is_empty() {
            return false;
        }
        let first = self.actions.len();
        for (number, action) in (first..).zip(&begun) {
            cx.at(action.deadline, Event::HookDeadline { action: number });
            self.by_token.insert(Arc::clone(&action.token), number);
        }
        self.actions.extend(begun);
        let open = (first..self.actions.len()).collect();
        if let Some(instance) = self.instances.get_mut(id)
            && let Some(transition) = &mut instance.transition
        {
            transition.open = open;
            if let Some(group) = self.groups.get_mut(&instance.group) {
                group.waits(transition.activity);
            }
            instance.enter(cx, way.wait, None);
        }
        true
    }

    /// A heartbeat or global time-out may have passed.
    pub(crate) fn hook_deadline(&mut self, cx: &mut Context, number: usize) {
        let Some(action) = self.actions.get(number).filter(|action| action.closed.is_none()) else {
            return;
        };
        if action.deadline > cx.now {
            cx.at(action.deadline, Event::HookDeadline { action: number });
            return;
        }
        let by = if action.global_deadline <= cx.now { Closing::GlobalTimeout } else { Closing::HeartbeatTimeout };
        let continues = action.default_continue;
        self.close(cx, number, continues, by);
    }

    /// Ends an action, and moves its instance on where nothing else holds it.
    pub(super) fn close(&mut self, cx: &mut Context, number: usize, continues: bool, by: Closing) {
        let action = &mut self.actions[number];
        if action.closed.is_some() {
            return;
        }
        action.closed = Some(Closed { at: cx.now, continues, by });
        let (id, kind, token) = (Arc::clone(&action.instance), action.kind, Arc::clone(&action.token));
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        let Some(transition) = &mut instance.transition else {
            return;
        };
        transition.open.retain(|open| *open != number);
        match (continues, kind) {
            (true, _) if !transition.open.is_empty() => {}
            (true, _) => self.proceed(cx, &id),
            (false, Kind::Launching) => self.abandon_launch(cx, &id, &token, by),
            (false, Kind::Terminating) => {
                // An abandoned termination goes on at once; the other hooks are not waited for.
                self.close_open(cx, &id, Closing::Superseded);
                self.proceed(cx, &id);
            }
        }
    }

    fn abandon_launch(&mut self, cx: &mut Context, id: &str, token: &str, by: Closing) {
        let why = match by {
            Closing::HeartbeatTimeout | Closing::GlobalTimeout => "Heartbeat Timeout",
            _ => "Lifecycle Action Completed with ABANDON Result",
        };
        let message = format!("Lifecycle Action with token {token} was abandoned: {why}");
        self.break_off(cx, id, Closing::Superseded, &message);
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        instance.abandoned = true;
        let origin = if instance.state.is_warmed() { Place::WarmPool } else { Place::AutoScalingGroup };
        let Some(group) = self.groups.get(&instance.group) else {
            return;
        };
        let hooked = group.options.terminate_hooks_after_abandon;
        let replace = group.options.replace_abandoned && origin == Place::AutoScalingGroup;
        if replace {
            cx.after(group.options.replace_after_ms, Event::Replace { group: Arc::clone(&group.name) });
        }
        self.depart(
            cx,
            id,
            origin,
            Place::Ec2,
            "an instance was taken out of service in response to an abandoned lifecycle action.",
            hooked,
        );
    }

    /// Ends the way that an instance is on, with its open actions and its activity.
    fn break_off(&mut self, cx: &mut Context, id: &str, by: Closing, message: &str) {
        self.close_open(cx, id, by);
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        if let Some(transition) = instance.transition.take()
            && let Some(group) = self.groups.get_mut(&instance.group)
        {
            group.end(cx, transition.activity, "Cancelled", Some(message.to_owned()));
        }
    }

    fn close_open(&mut self, cx: &Context, id: &str, by: Closing) {
        let transition = self.instances.get_mut(id).and_then(|instance| instance.transition.as_mut());
        for number in transition.map(|transition| std::mem::take(&mut transition.open)).unwrap_or_default() {
            self.actions[number].closed.get_or_insert(Closed { at: cx.now, continues: false, by });
        }
    }

    fn proceed(&mut self, cx: &mut Context, id: &str) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        let Some(transition) = &instance.transition else {
            return;
        };
        let Some(group) = self.groups.get(&instance.group) else {
            return;
        };
        let way = Way::between(transition.origin, transition.destination);
        let gone = transition.destination == Place::Ec2;
        let delay = if gone { group.options.gone_ms } else { group.options.proceed_ms };
        instance.enter(cx, way.proceed, Some(delay));
    }

    fn arrive(&mut self, cx: &mut Context, id: &str) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        let Some(transition) = instance.transition.take() else {
            return;
        };
        let Some(group) = self.groups.get_mut(&instance.group) else {
            return;
        };
        let state = transition.end(group.warm_pool.unwrap_or_default().state);
        group.end(cx, transition.activity, "Successful", None);
        if !state.is_listed() {
            group.members.remove(id);
        }
        instance.enter(cx, state, None);
    }

    /// A group launches an instance in the place of one that is gone.
    pub(crate) fn replace(&mut self, cx: &mut Context, group: &str) {
        let cause = "an instance was launched in response to a difference between desired and actual capacity, \
                     increasing the capacity.";
        // The group may be gone by now.
        let _ = self.launch(cx, group, Place::AutoScalingGroup, None, cause);
    }

    /// The instances of a group that are in service, in order.
    pub(crate) fn in_service(&self, group: &str) -> Vec<Arc<str>> {
        let members = self.groups.get(group).map(|group| &group.members);
        let serves = |id: &&Arc<str>| self.instances.get(*id).is_some_and(|one| one.state == LifecycleState::InService);
        members.into_iter().flatten().filter(serves).cloned().collect()
    }

    /// How many instances a group has or will have without further orders, the warm pool not counted.
    pub(super) fn capacity(&self, group: &str) -> usize {
        let members = self.groups.get(group).map(|group| &group.members);
        let counts = |id: &&Arc<str>| {
            self.instances.get(*id).is_some_and(|one| {
                !one.state.is_warmed() && one.transition.as_ref().is_none_or(|way| way.destination == Place::AutoScalingGroup)
            })
        };
        members.into_iter().flatten().filter(counts).collect::<HashSet<_>>().len()
    }
}

impl Instance {
    /// Enters a state; one that it leaves by itself is left after `for_ms`.
    pub(super) fn enter(&mut self, cx: &mut Context, state: LifecycleState, for_ms: Option<u64>) {
        self.state = state;
        self.history.push((cx.now, state));
        self.step += 1;
        if let Some(delay) = for_ms {
            cx.after(delay, Event::InstanceStep { instance: Arc::clone(&self.id), step: self.step });
        }
    }
}
