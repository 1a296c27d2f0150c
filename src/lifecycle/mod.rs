//! Auto Scaling: verify, hooks, heartbeat, complete, and the proof of a termination; and what each of its errors means.

mod change;
mod errors;
mod fleet;
mod history;
mod whereabouts;

use std::sync::Arc;

use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::error::ProvideErrorMetadata;
use aws_sdk_autoscaling::types::{AutoScalingInstanceDetails, LifecycleHook};
use aws_types::sdk_config::SharedTimeSource;

use crate::aws::{from_sdk, further};
use crate::core::call::ActionOrder;
use crate::facts::{ActionReply, ActionResult, HookFacts, InstanceSeen, LifecycleState};
use crate::names::{GroupName, HookName, InstanceId};
use crate::retry::Failure;
use history::Histories;

pub use change::hook_in_full;
pub use errors::{classify, says_no_active_action};
pub use fleet::{HookTarget, Page};
pub use whereabouts::{ActivitySeen, Search};

/// A bound on pages for answers that never need more than one: a service that pages for ever must not hold a call.
const MOST_PAGES: usize = 10;
/// A hook's heartbeat timeout where the answer does not say (the API's default), in seconds.
const DEFAULT_HEARTBEAT_S: u32 = 3600;
/// The longest an action can be kept open (API limit), in seconds.
const LONGEST_ACTION_S: u32 = 48 * 60 * 60;

/// Auto Scaling, as one scope sees it.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    client: Client,
    histories: Arc<Histories>,
    /// The SDK's own clock.
    time: SharedTimeSource,
}

impl Lifecycle {
    /// Auto Scaling with a scope's configuration.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        let time = config.time_source().unwrap_or_default();
        Self { client: Client::new(config), histories: Arc::default(), time }
    }

    /// Where up to 50 instances stand, in the order asked; `None` where Auto Scaling does not list one.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn describe_instances(&self, instances: &[InstanceId]) -> Result<Vec<Option<InstanceSeen>>, Failure> {
        let mut seen: Vec<Option<InstanceSeen>> = vec![None; instances.len()];
        // Without ids the API lists every instance of the account.
        if instances.is_empty() {
            return Ok(seen);
        }
        let ids: Vec<String> = instances.iter().map(|instance| instance.as_str().to_owned()).collect();
        let mut next_token = None;
        for _ in 0..MOST_PAGES {
            let first = next_token.is_none();
            let request = self.client.describe_auto_scaling_instances().set_instance_ids(Some(ids.clone())).set_next_token(next_token);
            let asked = async { request.send().await.map_err(|error| from_sdk(&error, classify)) };
            let output = if first { asked.await? } else { further("DescribeAutoScalingInstances", asked).await? };
            for details in output.auto_scaling_instances.unwrap_or_default() {
                let Some(found) = instance_seen(&details) else {
                    tracing::warn!(instance = ?details.instance_id, "Auto Scaling listed an instance that cannot be read");
                    continue;
                };
                for (wanted, slot) in instances.iter().zip(&mut seen) {
                    if *wanted == found.instance {
                        *slot = Some(found.clone());
                    }
                }
            }
            next_token = output.next_token.filter(|token| !token.is_empty());
            if next_token.is_none() {
                break;
            }
        }
        Ok(seen)
    }

    /// The lifecycle hooks of a group.
    ///
    /// # Errors
    /// By this room's table; final where there is no such group.
    pub async fn hooks(&self, group: &GroupName) -> Result<Vec<HookFacts>, Failure> {
        let request = self.client.describe_lifecycle_hooks().auto_scaling_group_name(group.as_str());
        let output = request.send().await.map_err(|error| from_sdk(&error, classify))?;
        Ok(output.lifecycle_hooks.unwrap_or_default().iter().filter_map(hook_facts).collect())
    }

    /// Keeps an action open for another heartbeat timeout. By token alone: by instance id, a late duplicate of one action
    /// could keep the next one open.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn heartbeat(&self, order: &ActionOrder) -> Result<ActionReply, Failure> {
        let request = self
            .client
            .record_lifecycle_action_heartbeat()
            .auto_scaling_group_name(order.group.as_str())
            .lifecycle_hook_name(order.hook.as_str())
            .lifecycle_action_token(order.token.as_str());
        match request.send().await {
            Ok(_) => Ok(ActionReply::Accepted),
            Err(error) if says_no_active_action(error.code(), error.message()) => Ok(ActionReply::Closed),
            Err(error) => Err(from_sdk(&error, classify)),
        }
    }

    /// Completes an action. By token alone: by instance id, a late duplicate of one action could complete the next one.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn complete(&self, order: &ActionOrder, result: ActionResult) -> Result<ActionReply, Failure> {
        let request = self
            .client
            .complete_lifecycle_action()
            .auto_scaling_group_name(order.group.as_str())
            .lifecycle_hook_name(order.hook.as_str())
            .lifecycle_action_token(order.token.as_str())
            .lifecycle_action_result(result.as_str());
        match request.send().await {
            Ok(_) => Ok(ActionReply::Accepted),
            Err(error) if says_no_active_action(error.code(), error.message()) => Ok(ActionReply::Closed),
            Err(error) => Err(from_sdk(&error, classify)),
        }
    }
}

fn instance_seen(details: &AutoScalingInstanceDetails) -> Option<InstanceSeen> {
    Some(InstanceSeen {
        instance: InstanceId::new(details.instance_id()?).ok()?,
        group: GroupName::new(details.auto_scaling_group_name()?).ok()?,
        state: LifecycleState::from_api(details.lifecycle_state()?),
    })
}

fn hook_facts(hook: &LifecycleHook) -> Option<HookFacts> {
    let positive = |seconds: Option<i32>| seconds.and_then(|seconds| u32::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    let heartbeat_timeout_s = positive(hook.heartbeat_timeout()).unwrap_or(DEFAULT_HEARTBEAT_S);
    Some(HookFacts {
        name: HookName::new(hook.lifecycle_hook_name()?).ok()?,
        launching: hook.lifecycle_transition()? == "autoscaling:EC2_INSTANCE_LAUNCHING",
        heartbeat_timeout_s,
        global_timeout_s: positive(hook.global_timeout()).unwrap_or(LONGEST_ACTION_S.min(heartbeat_timeout_s.saturating_mul(100))),
        // What the API does when it is not said.
        default_continue: hook.default_result() == Some("CONTINUE"),
        metadata: hook.notification_metadata().filter(|text| !text.is_empty()).map(Into::into),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_without_time_outs_has_the_defaults_of_the_api() {
        let hook = LifecycleHook::builder().lifecycle_hook_name("h").lifecycle_transition("autoscaling:EC2_INSTANCE_LAUNCHING");
        let facts = hook_facts(&hook.clone().build()).unwrap();
        assert_eq!((facts.launching, facts.heartbeat_timeout_s, facts.global_timeout_s), (true, 3600, 172_800));
        assert_eq!((facts.metadata.as_deref(), facts.default_continue), (None, false));
        assert!(hook_facts(&hook.clone().default_result("CONTINUE").build()).unwrap().default_continue);
        let facts = hook_facts(&hook.heartbeat_timeout(60).notification_metadata("web").build()).unwrap();
        assert_eq!((facts.heartbeat_timeout_s, facts.global_timeout_s, facts.metadata.as_deref()), (60, 6000, Some("web")));
    }
}
