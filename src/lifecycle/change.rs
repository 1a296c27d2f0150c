//! Making, changing and deleting hooks, and who is in a group: for people's commands. The daemon does none of it.

use aws_sdk_autoscaling::types::LifecycleHook;

use super::errors::classify;
use super::{DEFAULT_HEARTBEAT_S, Lifecycle, MOST_PAGES};
use crate::aws::from_sdk;
use crate::event::Transition;
use crate::facts::ActionResult;
use crate::hooks::{Hook, Member};
use crate::names::{GroupName, HookName, InstanceId};
use crate::retry::{Class, Failure};

const LAUNCHING: &str = "autoscaling:EC2_INSTANCE_LAUNCHING";
const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";

/// A hook as the SDK shows it; none where it cannot be one.
#[must_use]
pub fn hook_in_full(hook: &LifecycleHook) -> Option<Hook> {
    let some = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    Some(Hook {
        name: HookName::new(hook.lifecycle_hook_name()?).ok()?,
        transition: match hook.lifecycle_transition()? {
            LAUNCHING => Transition::Launching,
            TERMINATING => Transition::Terminating,
            _ => return None,
        },
        target: some(hook.notification_target_arn()),
        role: some(hook.role_arn()),
        metadata: some(hook.notification_metadata()),
        heartbeat_s: hook.heartbeat_timeout().and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(DEFAULT_HEARTBEAT_S),
        default: if hook.default_result() == Some("CONTINUE") { ActionResult::Continue } else { ActionResult::Abandon },
    })
}

impl Lifecycle {
    /// The hooks of a group, as the SDK has them.
    ///
    /// # Errors
    /// By this room's table; final where there is no such group.
    pub async fn raw_hooks(&self, group: &GroupName) -> Result<Vec<LifecycleHook>, Failure> {
        let request = self.client.describe_lifecycle_hooks().auto_scaling_group_name(group.as_str());
        Ok(request.send().await.map_err(|error| from_sdk(&error, classify))?.lifecycle_hooks.unwrap_or_default())
    }

    /// Makes a hook, or makes it what it should be. Auto Scaling sends a test notification to a target that is new.
    ///
    /// # Errors
    /// By this room's table; final where Auto Scaling cannot send to the target as that role.
    pub async fn put_hook(&self, group: &GroupName, hook: &Hook) -> Result<(), Failure> {
        let request = self
            .client
            .put_lifecycle_hook()
            .auto_scaling_group_name(group.as_str())
            .lifecycle_hook_name(hook.name.as_str())
            .lifecycle_transition(match hook.transition {
                Transition::Launching => LAUNCHING,
                Transition::Terminating => TERMINATING,
            })
            // An empty target takes away the one that is there; none leaves it.
            .notification_target_arn(hook.target.as_deref().unwrap_or_default())
            .set_role_arn(hook.role.clone())
            .set_notification_metadata(hook.metadata.clone())
            .heartbeat_timeout(i32::try_from(hook.heartbeat_s).unwrap_or(i32::MAX))
            .default_result(hook.default.as_str());
        request.send().await.map(drop).map_err(|error| from_sdk(&error, classify))
    }

    /// Deletes a hook. Auto Scaling completes what is outstanding: launches with ABANDON, terminations with CONTINUE.
    ///
    /// # Errors
    /// By this room's table; final where there is no such hook.
    pub async fn delete_hook(&self, group: &GroupName, hook: &HookName) -> Result<(), Failure> {
        let request = self.client.delete_lifecycle_hook().auto_scaling_group_name(group.as_str()).lifecycle_hook_name(hook.as_str());
        request.send().await.map(drop).map_err(|error| from_sdk(&error, classify))
    }

    /// The instances of a group and of its warm pool.
    ///
    /// # Errors
    /// By this room's table; final where there is no such group.
    pub async fn members(&self, group: &GroupName) -> Result<Vec<Member>, Failure> {
        let member = |instance: &aws_sdk_autoscaling::types::Instance| {
            let state = instance.lifecycle_state()?.as_str().to_owned();
            Some(Member { instance: InstanceId::new(instance.instance_id()?).ok()?, state })
        };
        let request = self.client.describe_auto_scaling_groups().auto_scaling_group_names(group.as_str());
        let output = request.send().await.map_err(|error| from_sdk(&error, classify))?;
        let groups = output.auto_scaling_groups.unwrap_or_default();
        let found = groups
            .iter()
            .find(|found| found.auto_scaling_group_name() == Some(group.as_str()))
            .ok_or_else(|| Failure::new(Class::Final, "no_such_group", format!("there is no Auto Scaling group {group}")))?;
        let mut members: Vec<Member> = found.instances().iter().filter_map(member).collect();
        if found.warm_pool_configuration().is_some() {
            let mut next = None;
            for _ in 0..MOST_PAGES * 10 {
                let request = self.client.describe_warm_pool().auto_scaling_group_name(group.as_str()).set_next_token(next);
                let output = request.send().await.map_err(|error| from_sdk(&error, classify))?;
                for found in output.instances.unwrap_or_default().iter().filter_map(member) {
                    if !members.contains(&found) {
                        members.push(found);
                    }
                }
                next = output.next_token.filter(|token| !token.is_empty());
                if next.is_none() {
                    break;
                }
            }
        }
        Ok(members)
    }
}
