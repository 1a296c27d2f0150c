//! Lifecycle hooks, and the calls that keep their actions open and end them.

use std::sync::Arc;

use super::instance::Kind;
use super::notify::Form;
use super::options::{NewGroup, NewHook};
use super::state::Closing;
use super::wire::{CompleteLifecycleAction, DeleteLifecycleHook, NamedAction, PutLifecycleHook, RecordLifecycleActionHeartbeat};
use super::{AutoScaling, Group, Hook, required, validation};
use crate::simulator::model::caller::Caller;
use crate::simulator::model::context::Context;
use crate::simulator::model::error::{Answer, ApiError};
use crate::simulator::model::sqs::{self, Sqs};

/// Why a call named no open action.
enum Refused {
    /// The action was there, and is closed.
    Closed(usize),
    Unknown,
}

impl AutoScaling {
    /// Makes a group, as nothing in this API does.
    pub(crate) fn create_group(&mut self, cx: &mut Context, queues: &Sqs, new: NewGroup) -> Answer<()> {
        if self.groups.contains_key(new.name.as_str()) {
            return Err(ApiError::client("AlreadyExists", "AutoScalingGroup by this name already exists."));
        }
        let name: Arc<str> = new.name.as_str().into();
        let group = Group {
            arn: format!(
                "arn:aws:autoscaling:{}:{}:autoScalingGroup:{}:autoScalingGroupName/{name}",
                cx.settings.region.clone(),
                cx.settings.account.clone(),
                cx.uuid()
            ),
            name: Arc::clone(&name),
            created: cx.now,
            desired: 0,
            min: new.min_size,
            max: new.max_size,
            hooks: Vec::new(),
            warm_pool: new.warm_pool,
            options: new.options,
            members: std::collections::BTreeSet::new(),
            activities: Vec::new(),
        };
        self.groups.insert(Arc::clone(&name), group);
        for hook in new.hooks {
            if let Err(error) = self.create_hook(cx, queues, &name, hook) {
                self.groups.remove(&name);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes a hook by configuration: with any delivery, and any time-out.
    pub(crate) fn create_hook(&mut self, cx: &mut Context, queues: &Sqs, group: &str, new: NewHook) -> Answer<()> {
        let delivery = match new.delivery {
            None => None,
            Some(delivery) => {
                let known = queues.named(&delivery.queue);
                let queue = known.ok_or_else(|| validation(format!("there is no queue {}", delivery.queue)))?;
                Some((Arc::clone(&queues.queue(queue).name), delivery.via))
            }
        };
        let (region, account) = (&cx.settings.region, &cx.settings.account);
        let target_arn = match &delivery {
            Some((queue, Form::Direct)) => Some(sqs::arn_of(cx, queue)),
            Some((_, Form::Sns | Form::SnsRaw)) => Some(format!("arn:aws:sns:{region}:{account}:lifecycle")),
            Some((_, Form::EventBridge)) | None => None,
        };
        let hook = Hook {
            name: new.name.as_str().into(),
            kind: new.transition,
            role_arn: target_arn.is_some().then(|| format!("arn:aws:iam::{account}:role/lifecycle-notifications")),
            target_arn,
            metadata: new.metadata,
            heartbeat_ms: new.heartbeat_timeout * 1000,
            default_continue: is_continue(&new.default_result, "defaultResult")?,
            delivery,
        };
        self.group_mut(group)?.set_hook(hook);
        Ok(())
    }

    pub(crate) fn put_lifecycle_hook(&mut self, cx: &mut Context, queues: &Sqs, request: &PutLifecycleHook) -> Answer<()> {
        let name = required(&request.lifecycle_hook_name, "lifecycleHookName")?;
        let group = self.group(required(&request.auto_scaling_group_name, "autoScalingGroupName")?)?;
        let characters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte));
        if name.len() > 255 || !characters {
            return Err(validation(format!(
                "1 validation error detected: Value '{name}' at 'lifecycleHookName' failed to satisfy constraint: Member must satisfy regular expression pattern: [A-Za-z0-9\\-_\\/]+"
            )));
        }
        let old = group.hooks.iter().find(|hook| *hook.name == *name);
        if old.is_none() && group.hooks.len() >= 50 {
            return Err(ApiError::client("LimitExceeded", "You have reached the limit of 50 lifecycle hooks for this group."));
        }
        let kind = match (request.lifecycle_transition.as_deref(), old) {
            (Some(kind), _) => Kind::parse(kind)
                .ok_or_else(|| validation(format!("Invalid Lifecycle Transition: {kind}. Use one of [autoscaling:EC2_INSTANCE_LAUNCHING, autoscaling:EC2_INSTANCE_TERMINATING]")))?,
            (None, Some(old)) => old.kind,
            (None, None) => return Err(validation("LifecycleTransition is required when creating a new lifecycle hook")),
        };
        let heartbeat_ms = match (request.heartbeat_timeout, old) {
            (Some(seconds @ 30..=7200), _) => seconds.unsigned_abs() * 1000,
            (Some(_), _) => {
                return Err(validation("Heartbeat Timeout must be between 30 and 7200 seconds, both inclusive"));
            }
            (None, Some(old)) => old.heartbeat_ms,
            (None, None) => 3_600_000,
        };
        let default_continue = match (request.default_result.as_deref(), old) {
            (Some(result), _) => is_continue(result, "defaultResult")?,
            (None, old) => old.is_some_and(|old| old.default_continue),
        };
        let target_arn = match &request.notification_target_arn {
            Some(arn) if arn.is_empty() => None,
            Some(arn) => Some(arn.clone()),
            None => old.and_then(|old| old.target_arn.clone()),
        };
        let role_arn = request.role_arn.clone().or_else(|| old.and_then(|old| old.role_arn.clone()));
        let delivery = match &target_arn {
            Some(arn) => Some(self.target(cx, queues, arn, role_arn.as_deref())?),
            None => group.options.event_queue.as_deref().map(|queue| (queue.into(), Form::EventBridge)),
        };
        let hook = Hook {
            name: name.into(),
            kind,
            target_arn,
            role_arn,
            metadata: request.notification_metadata.clone().or_else(|| old.and_then(|old| old.metadata.clone())),
            heartbeat_ms,
            default_continue,
            delivery,
        };
        let tested = old.is_none() || old.and_then(|old| old.target_arn.as_ref()) != hook.target_arn.as_ref();
        if tested {
            Self::notify_test(cx, group, &hook);
        }
        self.group_mut(&request.auto_scaling_group_name)?.set_hook(hook);
        Ok(())
    }

    fn target(&self, cx: &Context, queues: &Sqs, arn: &str, role: Option<&str>) -> Answer<(Arc<str>, Form)> {
        let role = role.filter(|role| !role.is_empty());
        let unable = || {
            validation(format!(
                "Unable to publish test message to notification target {arn} using IAM role {}. Please check your target and role configuration and try to put lifecycle hook again.",
                role.unwrap_or("null")
            ))
        };
        if role.is_none() {
            return Err(unable());
        }
        if let Some(queue) = queues.by_arn(cx, arn) {
            return Ok((Arc::clone(&queues.queue(queue).name), Form::Direct));
        }
        match self.topics.get(arn) {
            Some((queue, raw)) => Ok((Arc::clone(queue), if *raw { Form::SnsRaw } else { Form::Sns })),
            None => Err(unable()),
        }
    }

    /// Completes what is outstanding: with ABANDON for launches, with CONTINUE for terminations.
    pub(crate) fn delete_lifecycle_hook(&mut self, cx: &mut Context, _: &Caller, request: &DeleteLifecycleHook) -> Answer<()> {
        let name = required(&request.lifecycle_hook_name, "lifecycleHookName")?;
        let group = self.group_mut(required(&request.auto_scaling_group_name, "autoScalingGroupName")?)?;
        let before = group.hooks.len();
        group.hooks.retain(|hook| *hook.name != *name);
        if group.hooks.len() == before {
            return Err(no_such_hook(name));
        }
        let members: Vec<Arc<str>> = group.members.iter().cloned().collect();
        for id in members {
            let Some(transition) = self.instances.get(&id).and_then(|instance| instance.transition.as_ref()) else {
                continue;
            };
            let of_hook = transition.open.iter().copied().find(|open| *self.actions[*open].hook == *name);
            if let Some(number) = of_hook {
                let continues = self.actions[number].kind == Kind::Terminating;
                self.close(cx, number, continues, Closing::HookDeleted);
            }
        }
        Ok(())
    }

    pub(crate) fn record_lifecycle_action_heartbeat(
        &mut self,
        cx: &mut Context,
        _: &Caller,
        request: &RecordLifecycleActionHeartbeat,
    ) -> Answer<()> {
        match self.find_action(&request.action)? {
            Ok(number) => {
                let action = &mut self.actions[number];
                action.heartbeats += 1;
                let left = action.deadline.saturating_sub(cx.now);
                self.closest_heartbeat_ms = Some(self.closest_heartbeat_ms.map_or(left, |least| least.min(left)));
                action.deadline = (cx.now + action.heartbeat_ms).min(action.global_deadline);
                Ok(())
            }
            Err(refused) => {
                match refused {
                    Refused::Closed(number) => self.actions[number].late_heartbeats += 1,
                    Refused::Unknown => self.unmatched.heartbeats += 1,
                }
                Err(not_active(&request.action))
            }
        }
    }

    pub(crate) fn complete_lifecycle_action(&mut self, cx: &mut Context, _: &Caller, request: &CompleteLifecycleAction) -> Answer<()> {
        let continues = is_continue(required(&request.lifecycle_action_result, "lifecycleActionResult")?, "lifecycleActionResult")?;
        match self.find_action(&request.action)? {
            Ok(number) => {
                self.actions[number].completion_arrived.get_or_insert(cx.arrived);
                self.close(cx, number, continues, Closing::Completed);
                Ok(())
            }
            Err(refused) => {
                match refused {
                    Refused::Closed(number) => self.actions[number].refused_completions += 1,
                    Refused::Unknown => self.unmatched.completions += 1,
                }
                Err(not_active(&request.action))
            }
        }
    }

    /// The open action that a call names, by token or else by instance.
    fn find_action(&self, named: &NamedAction) -> Answer<Result<usize, Refused>> {
        let hook = required(&named.lifecycle_hook_name, "lifecycleHookName")?;
        let group = self.group(required(&named.auto_scaling_group_name, "autoScalingGroupName")?)?;
        if !group.hooks.iter().any(|known| *known.name == *hook) {
            return Err(no_such_hook(hook));
        }
        let belongs = |number: usize| {
            let action = &self.actions[number];
            *action.group == *group.name && *action.hook == *hook
        };
        if let Some(token) = named.lifecycle_action_token.as_deref().filter(|token| !token.is_empty()) {
            if token.len() != 36 {
                return Err(validation(format!(
                    "1 validation error detected: Value '{token}' at 'lifecycleActionToken' failed to satisfy constraint: Member must have length equal to 36"
                )));
            }
            let found = self.by_token.get(token).copied().filter(|number| belongs(*number));
            return Ok(match found {
                Some(number) if self.actions[number].closed.is_none() => Ok(number),
                Some(number) => Err(Refused::Closed(number)),
                None => Err(Refused::Unknown),
            });
        }
        let Some(id) = named.instance_id.as_deref().filter(|id| !id.is_empty()) else {
            return Err(validation("Either LifecycleActionToken or InstanceId must be specified"));
        };
        let transition = self.instances.get(id).and_then(|instance| instance.transition.as_ref());
        let open = transition.and_then(|transition| transition.open.iter().copied().find(|open| belongs(*open)));
        Ok(open.ok_or(Refused::Unknown))
    }
}

impl Group {
    fn set_hook(&mut self, hook: Hook) {
        match self.hooks.iter_mut().find(|known| known.name == hook.name) {
            Some(known) => *known = hook,
            None => self.hooks.push(hook),
        }
    }
}

fn is_continue(result: &str, member: &str) -> Answer<bool> {
    match result {
        "CONTINUE" => Ok(true),
        "ABANDON" => Ok(false),
        other => Err(validation(format!("Invalid {member}: {other}. Lifecycle action result must be one of [CONTINUE, ABANDON]"))),
    }
}

fn no_such_hook(name: &str) -> ApiError {
    validation(format!("No Lifecycle Hook found with name: {name}"))
}

/// The one error of closed actions; its words follow what the call named the action by.
fn not_active(named: &NamedAction) -> ApiError {
    match named.lifecycle_action_token.as_deref().filter(|token| !token.is_empty()) {
        Some(token) => validation(format!("No active Lifecycle Action found with token {token}")),
        None => {
            validation(format!("No active Lifecycle Action found with instance ID {}", named.instance_id.as_deref().unwrap_or_default()))
        }
    }
}
