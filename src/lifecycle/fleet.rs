//! Looking at everything at once, page by page: groups, instances, and where hooks send their notifications.

use super::errors::classify;
use super::{Lifecycle, hook_facts, instance_seen};
use crate::aws::from_sdk;
use crate::facts::{HookFacts, InstanceSeen};
use crate::names::GroupName;
use crate::retry::Failure;

/// Groups a page (the API's limit).
const GROUPS: i32 = 100;
/// Instances a page (the API's limit).
const INSTANCES: i32 = 50;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// Where the list goes on; none at its end.
    pub next: Option<String>,
}

/// A hook, and where it sends its notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookTarget {
    /// The hook.
    pub hook: HookFacts,
    /// The ARN of a queue or a topic; none where EventBridge alone tells of it.
    pub target: Option<String>,
}

impl Lifecycle {
    /// The groups that there are.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn groups(&self, after: Option<String>) -> Result<Page<GroupName>, Failure> {
        let request = self.client.describe_auto_scaling_groups().max_records(GROUPS).set_next_token(after);
        let output = request.send().await.map_err(|error| from_sdk(&error, classify))?;
        let groups = output.auto_scaling_groups.unwrap_or_default();
        let items = groups.iter().filter_map(|group| GroupName::new(group.auto_scaling_group_name()?).ok()).collect();
        Ok(Page { items, next: output.next_token.filter(|token| !token.is_empty()) })
    }

    /// The instances of all groups, those in warm pools included.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn instances(&self, after: Option<String>) -> Result<Page<InstanceSeen>, Failure> {
        let request = self.client.describe_auto_scaling_instances().max_records(INSTANCES).set_next_token(after);
        let output = request.send().await.map_err(|error| from_sdk(&error, classify))?;
        let items = output.auto_scaling_instances.unwrap_or_default().iter().filter_map(instance_seen).collect();
        Ok(Page { items, next: output.next_token.filter(|token| !token.is_empty()) })
    }

    /// The lifecycle hooks of a group, with where each sends its notifications.
    ///
    /// # Errors
    /// By this room's table; final where there is no such group.
    pub async fn hook_targets(&self, group: &GroupName) -> Result<Vec<HookTarget>, Failure> {
        let request = self.client.describe_lifecycle_hooks().auto_scaling_group_name(group.as_str());
        let output = request.send().await.map_err(|error| from_sdk(&error, classify))?;
        let hooks = output.lifecycle_hooks.unwrap_or_default();
        let target = |arn: Option<&str>| arn.filter(|arn| !arn.is_empty()).map(str::to_owned);
        let all =
            hooks.iter().filter_map(|hook| Some(HookTarget { hook: hook_facts(hook)?, target: target(hook.notification_target_arn()) }));
        Ok(all.collect())
    }
}
