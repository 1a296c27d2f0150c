//! What the plan does to a fleet from outside.

use enrolld::simulator::model::agent::{AgentOptions, Material, Publish};
use enrolld::simulator::model::autoscaling::{LifecycleState, Place};
use enrolld::simulator::model::sqs::wire::MessageAttributes;

use super::witness::Span;
use super::{Event, Fleet};
use crate::plan::{Deed, Forgery, GROUPS, LAUNCH_HOOK, SERVERS, TERMINATE_HOOK};
use crate::services::{ACCOUNT, QUEUE};

impl Fleet {
    pub(super) fn deed(&mut self, number: usize) {
        let (_, deed) = self.plan.script[number].clone();
        let name = match &deed {
            Deed::Launch { into_pool: true, .. } => "launch into pool",
            Deed::Launch { .. } => "launch",
            Deed::Terminate { .. } => "terminate",
            Deed::ReturnToPool { .. } => "return to pool",
            Deed::LeavePool => "leave pool",
            Deed::Detach { .. } => "detach",
            Deed::Standby { .. } => "standby",
            Deed::Maintenance { .. } => "maintenance",
            Deed::Crash { .. } => "crash",
            Deed::Pause { .. } => "pause",
            Deed::ShutDown { .. } => "shutdown",
            Deed::Forge { .. } => "forgery",
            Deed::Repeat { .. } => "repetition",
        };
        *self.deeds.entry(name).or_default() += 1;
        trace!(self, "{name}");
        match deed {
            Deed::Launch { group, agent, into_pool } => self.launch(group, Some(agent), into_pool),
            Deed::Terminate { pick, early } => self.terminate(pick, early),
            Deed::ReturnToPool { pick } => match self.one_in_service(pick) {
                Some(id) => drop(self.services.world.return_to_warm_pool(self.now, &id)),
                None => self.launch(0, None, false),
            },
            Deed::LeavePool => {
                let left = GROUPS.iter().any(|group| !self.services.world.leave_warm_pool(self.now, group, 1).is_empty());
                if !left {
                    self.launch(0, None, false);
                }
            }
            Deed::Detach { pick } => {
                if let Some(id) = self.one_in_service(pick) {
                    self.services.world.detach(self.now, &id);
                }
            }
            Deed::Standby { pick } => {
                if let Some(id) = self.one_in_service(pick) {
                    self.services.world.standby(self.now, &id);
                }
            }
            Deed::Maintenance { server, status, for_ms } => {
                self.services.world.set_server_status(self.now, SERVERS[server], status, Some(for_ms));
                // A later one replaces an earlier one.
                for (of, _, until) in &mut self.maintenance {
                    if *of == server {
                        *until = (*until).min(self.now);
                    }
                }
                self.maintenance.push((server, self.now, self.now + for_ms));
            }
            Deed::Crash { worker, down_ms } => self.crash(worker, down_ms),
            Deed::Pause { worker, for_ms } => {
                let paused = &mut self.workers[worker];
                if paused.core.is_some() && !paused.paused {
                    paused.paused = true;
                    let run = paused.run;
                    self.witness.paused.push(Span { run: (worker, run), from: self.now, until: self.now + for_ms });
                    self.schedule(self.now + for_ms, Event::Resume(worker, run));
                }
            }
            Deed::ShutDown { worker, down_ms } => {
                let now = self.moment(worker);
                let stopped = &mut self.workers[worker];
                if let Some(core) = stopped.core.as_mut().filter(|_| !stopped.paused && stopped.stopping_since.is_none()) {
                    core.shut_down(now);
                    stopped.stopping_since = Some(self.now);
                    stopped.down_ms = down_ms;
                    stopped.dirty = true;
                }
            }
            Deed::Forge { kind, pick } => self.forge(kind, pick),
            Deed::Repeat { pick } => {
                let bodies = &self.services.bodies_in_order;
                if !bodies.is_empty() {
                    let body = bodies[pick as usize % bodies.len()].to_string();
                    self.send(&body);
                }
            }
        }
    }

    pub fn launch(&mut self, group: usize, agent: Option<AgentOptions>, into_pool: bool) {
        let destination = if into_pool { Place::WarmPool } else { Place::AutoScalingGroup };
        let launched = self.services.world.launch(self.now, GROUPS[group], 1, destination, agent.as_ref()).unwrap();
        for id in launched {
            trace!(self, "  {id} launches in {}, {agent:?}", GROUPS[group]);
            self.launched.push(id.to_string());
            if let Some(agent) = &agent {
                self.agents.insert(id.to_string(), agent.clone());
            }
            // Some write another key later: shortly after the first, or long after.
            if let Some(AgentOptions { publish: Publish::Parameter { after_ms, .. }, material: Material::Good, .. }) = agent
                && self.rewriting.chance(self.plan.rewritten)
            {
                let longest = self.rewriting.pick(&[500, 5_000, 60_000, 600_000]);
                let at = self.now + after_ms + self.rewriting.between(1, longest);
                self.schedule(at, Event::Rewrite(self.launched.len() - 1));
            }
        }
    }

    fn terminate(&mut self, pick: u64, early: bool) {
        let state = |id: &String| self.services.world.lifecycle_state(id);
        let on_the_way = |id: &&String| {
            use LifecycleState as S;
            matches!(state(id), Some(S::Pending | S::PendingWait | S::PendingProceed | S::WarmedPending | S::WarmedPendingWait))
        };
        let there = |id: &&String| state(id).is_some_and(|state| state.is_listed() && !state.name().contains("Terminating"));
        let mut candidates: Vec<&String> = self.launched.iter().filter(on_the_way).collect();
        if !early || candidates.is_empty() {
            candidates = self.launched.iter().filter(there).collect();
        }
        match candidates.get(pick as usize % candidates.len().max(1)).map(|id| (*id).clone()) {
            Some(id) => {
                trace!(self, "  {id} terminates");
                self.services.world.terminate(self.now, &id);
            }
            None => self.launch(0, None, false),
        }
    }

    fn one_in_service(&self, pick: u64) -> Option<String> {
        let all: Vec<_> = GROUPS.iter().flat_map(|group| self.services.world.in_service(group)).collect();
        all.get(pick as usize % all.len().max(1)).map(ToString::to_string)
    }

    fn forge(&mut self, kind: Forgery, pick: u64) {
        let token = self.dice.0.u128(..);
        let hex = format!("{token:032x}");
        let token = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        let instance = self.one_in_service(pick).unwrap_or_else(|| "i-0a1b2c3d4e5f60718".into());
        let unknown = format!("i-{:017x}", if pick < 100 { pick } else { 0xbeef });
        let (instance, account, group, hook, transition) = match kind {
            Forgery::Garbage => return self.send("{\"half\": "),
            Forgery::TestNotification => {
                return self.send(
                    &serde_json::json!({"Event": "autoscaling:TEST_NOTIFICATION", "AccountId": ACCOUNT, "AutoScalingGroupName": GROUPS[0]})
                        .to_string(),
                );
            }
            Forgery::Termination => (instance, ACCOUNT, GROUPS[0], TERMINATE_HOOK, "autoscaling:EC2_INSTANCE_TERMINATING"),
            Forgery::Launch => (instance, ACCOUNT, GROUPS[0], LAUNCH_HOOK, "autoscaling:EC2_INSTANCE_LAUNCHING"),
            Forgery::UnknownInstance => (unknown, ACCOUNT, GROUPS[0], LAUNCH_HOOK, "autoscaling:EC2_INSTANCE_LAUNCHING"),
            Forgery::ForeignAccount => (instance, "999999999999", GROUPS[0], TERMINATE_HOOK, "autoscaling:EC2_INSTANCE_TERMINATING"),
            Forgery::NoRoute => (instance, ACCOUNT, "nobodys", LAUNCH_HOOK, "autoscaling:EC2_INSTANCE_LAUNCHING"),
            Forgery::NoHook => (instance, ACCOUNT, GROUPS[0], "another-hook", "autoscaling:EC2_INSTANCE_LAUNCHING"),
        };
        let body = serde_json::json!({
            "Service": "AWS Auto Scaling", "AccountId": account, "AutoScalingGroupName": group, "EC2InstanceId": instance,
            "LifecycleHookName": hook, "LifecycleActionToken": token, "LifecycleTransition": transition,
        });
        self.send(&body.to_string());
    }

    fn send(&mut self, body: &str) {
        self.services.world.deliver(self.now, QUEUE, body, &MessageAttributes::new(), 1).unwrap();
    }
}
