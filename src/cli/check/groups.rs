//! The groups that the routes match: which there are, their hooks, and what may be done with their lifecycle actions.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_autoscaling::Client;

use super::hooks;
use super::report::{Report, is_denied};
use crate::aws::{Aws, from_sdk, shared_class};
use crate::config::Config;
use crate::core::call::{ActionOrder, RouteId, ScopeId};
use crate::core::settings::Settings;
use crate::driver::services::ScopeServices;
use crate::facts::{ActionReply, ActionResult};
use crate::names::{GroupName, HookName, InstanceId, LifecycleActionToken};
use crate::retry::Failure;

/// Groups a page (the API's limit), and how many pages are read.
const PAGE: i32 = 100;
const MOST_PAGES: usize = 50;
/// Groups whose hooks are looked at. Each takes four calls.
const MOST_GROUPS: usize = 100;

/// An instance id that EC2 never gave.
pub(super) fn nobody() -> InstanceId {
    InstanceId::new("i-00000000000000000").expect("it keeps the rule of instance ids")
}

/// Looks at the groups of every scope. `queue_arn` is none where the queue did not answer.
pub(super) async fn check(
    config: &Config,
    settings: &Settings,
    aws: &Aws,
    scopes: &[ScopeServices],
    queue_arn: Option<&str>,
    report: &mut Report,
) {
    let used: BTreeSet<ScopeId> = settings.routes.iter().map(|route| route.scope).collect();
    let mut left = MOST_GROUPS;
    for scope in used {
        let client = Client::new(aws.scope(scope));
        let services = &scopes[usize::from(scope.0)];
        if let Err(failure) = services.lifecycle.describe_instances(&[nobody()]).await {
            report.failed_call("instances", "autoscaling:DescribeAutoScalingInstances", &failure);
        } else {
            report.ok("instances", "autoscaling:DescribeAutoScalingInstances is allowed");
        }
        let by_route = matched(settings, scope, &client, report).await;
        for (route, groups) in by_route {
            let route = &config.routes[usize::from(route.0)];
            if groups.is_empty() {
                let patterns = route.groups.join(", ");
                report.warn(
                    format!("route {}", route.name),
                    format!("no group matches {patterns} yet"),
                    "correct its groups, unless they are made later",
                );
            }
            for group in groups {
                let about = format!("group {group}");
                if left == 0 {
                    report.not_tested(about, format!("{MOST_GROUPS} groups were looked at before it"));
                    continue;
                }
                left -= 1;
                let hooks = match hooks_of(&client, &group).await {
                    Ok(hooks) => hooks,
                    Err(failure) => {
                        report.failed_call(about, "autoscaling:DescribeLifecycleHooks", &failure);
                        continue;
                    }
                };
                let Some(queue_arn) = queue_arn else {
                    report.not_tested(about, "whether its hooks notify the queue: the queue did not answer");
                    continue;
                };
                let ours = hooks::judge(&hooks, queue_arn, &about, route, config.visibility_timeout, report);
                activities(&client, &group, &about, report).await;
                match ours.into_iter().next() {
                    Some(hook) => actions(services, group, hook, &about, report).await,
                    None => report.not_tested(about, "heartbeats and completions: it has no hook to try them with"),
                }
            }
        }
    }
}

/// The groups of a scope by the route that serves them; a route without groups has an empty list.
async fn matched(settings: &Settings, scope: ScopeId, client: &Client, report: &mut Report) -> BTreeMap<RouteId, Vec<GroupName>> {
    let mut by_route: BTreeMap<RouteId, Vec<GroupName>> = BTreeMap::new();
    for (at, _) in settings.routes.iter().enumerate().filter(|(_, route)| route.scope == scope) {
        by_route.insert(RouteId(u16::try_from(at).expect("the configuration takes at most 1000 routes")), Vec::new());
    }
    match all_groups(client).await {
        Ok(groups) => {
            for group in groups {
                if let Some(groups) = settings.route_for(&group).and_then(|route| by_route.get_mut(&route)) {
                    groups.push(group);
                }
            }
            by_route
        }
        Err(failure) if is_denied(&failure) => {
            let found = "which there are, and so their hooks: autoscaling:DescribeAutoScalingGroups is denied, which the daemon itself does not need";
            report.not_tested("groups", found);
            BTreeMap::new()
        }
        Err(failure) => {
            report.failed_call("groups", "autoscaling:DescribeAutoScalingGroups", &failure);
            BTreeMap::new()
        }
    }
}

async fn all_groups(client: &Client) -> Result<Vec<GroupName>, Failure> {
    let mut groups = Vec::new();
    let mut next = None;
    for _ in 0..MOST_PAGES {
        let request = client.describe_auto_scaling_groups().max_records(PAGE).set_next_token(next);
        let output = request.send().await.map_err(|error| from_sdk(&error, shared_class))?;
        let names = output.auto_scaling_groups.unwrap_or_default();
        groups.extend(names.iter().filter_map(|group| GroupName::new(group.auto_scaling_group_name()?).ok()));
        next = output.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            break;
        }
    }
    Ok(groups)
}

async fn hooks_of(client: &Client, group: &GroupName) -> Result<Vec<aws_sdk_autoscaling::types::LifecycleHook>, Failure> {
    let request = client.describe_lifecycle_hooks().auto_scaling_group_name(group.as_str());
    let output = request.send().await.map_err(|error| from_sdk(&error, shared_class))?;
    Ok(output.lifecycle_hooks.unwrap_or_default())
}

/// Scaling activities prove that an instance is gone.
async fn activities(client: &Client, group: &GroupName, about: &str, report: &mut Report) {
    let request = client.describe_scaling_activities().auto_scaling_group_name(group.as_str()).max_records(1);
    if let Err(error) = request.send().await {
        report.failed_call(about, "autoscaling:DescribeScalingActivities", &from_sdk(&error, shared_class));
    } else {
        report.ok(about, "autoscaling:DescribeScalingActivities is allowed");
    }
}

/// Heartbeat and completion, tried with a token of our own making: all that they can answer is that there is no such action.
async fn actions(services: &ScopeServices, group: GroupName, hook: HookName, about: &str, report: &mut Report) {
    let order = ActionOrder { group, hook, token: made_up_token(), instance: nobody() };
    let tries = [
        ("autoscaling:RecordLifecycleActionHeartbeat", services.lifecycle.heartbeat(&order).await),
        ("autoscaling:CompleteLifecycleAction", services.lifecycle.complete(&order, ActionResult::Continue).await),
    ];
    for (action, answer) in tries {
        match answer {
            Ok(ActionReply::Closed) => report.ok(about, format!("{action} is allowed (tried with an unknown token)")),
            Ok(ActionReply::Accepted) => {
                let found = format!("{action} accepted a token that nobody ever gave, which Auto Scaling does not do");
                report.warn(about, found, "look at AWS_ENDPOINT_URL: something else answers here");
            }
            Err(failure) => report.failed_call(about, action, &failure),
        }
    }
}

/// A random UUID of version 4.
pub(super) fn made_up_uuid() -> String {
    let bits = (fastrand::u128(..) & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn made_up_token() -> LifecycleActionToken {
    LifecycleActionToken::new(&made_up_uuid()).expect("a UUID is what a token is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_token_is_a_token_and_never_the_same() {
        let (one, other) = (made_up_token(), made_up_token());
        assert_ne!(one, other);
        assert_eq!(&one.as_str()[14..15], "4");
        assert!("89ab".contains(&one.as_str()[19..20]));
    }
}
