//! What Auto Scaling shows.

use std::ops::Bound;

use super::wire::{
    self, DescribeAutoScalingGroups, DescribeAutoScalingInstances, DescribeLifecycleHooks, DescribeScalingActivities, DescribeWarmPool,
    Page,
};
use super::{AutoScaling, Group, Instance, LifecycleState, PoolState, no_such_group, required, validation};
use crate::simulator::model::caller::Caller;
use crate::simulator::model::context::{Context, iso};
use crate::simulator::model::error::{Answer, ApiError};

impl AutoScaling {
    pub(crate) fn describe_lifecycle_hooks(&self, _: &Context, _: &Caller, request: &DescribeLifecycleHooks) -> Answer<Vec<wire::Hook>> {
        let group = self.group(required(&request.auto_scaling_group_name, "autoScalingGroupName")?)?;
        if request.lifecycle_hook_names.len() > 50 {
            return Err(too_many("lifecycleHookNames", 50));
        }
        let names = &request.lifecycle_hook_names;
        let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
        Ok(group.hooks.iter().filter(|hook| wanted(&hook.name)).map(|hook| hook.show(&group.name)).collect())
    }

    pub(crate) fn describe_auto_scaling_groups(
        &self,
        cx: &Context,
        _: &Caller,
        request: &DescribeAutoScalingGroups,
    ) -> Answer<Page<wire::Group>> {
        let limit = page_size(request.max_records, 100, 50)?;
        let names = &request.auto_scaling_group_names;
        let from = request.next_token.as_deref().unwrap_or_default();
        let range = self.groups.range::<str, _>((Bound::Excluded(from), Bound::Unbounded)).map(|(_, group)| group);
        let wanted = range.filter(|group| names.is_empty() || names.iter().any(|name| **name == *group.name));
        let groups: Vec<&Group> = wanted.take(limit + 1).collect();
        Ok(page(groups, limit, |group| group.name.to_string(), |group| self.show_group(cx, group)))
    }

    /// Fifty ids at most; what is unknown is left out without a word.
    pub(crate) fn describe_auto_scaling_instances(
        &self,
        cx: &Context,
        _: &Caller,
        request: &DescribeAutoScalingInstances,
    ) -> Answer<Page<wire::Instance>> {
        let limit = page_size(request.max_records, 50, 50)?;
        if request.instance_ids.len() > 50 {
            return Err(too_many("instanceIds", 50));
        }
        if request.instance_ids.iter().any(String::is_empty) {
            return Err(validation("Instance Id not found - No managed instance found for instance ID: "));
        }
        let from = request.next_token.as_deref().unwrap_or_default();
        let is_listed = |instance: &&Instance| self.described_state(cx, instance).is_some_and(LifecycleState::is_listed);
        let mut found: Vec<&Instance> = if request.instance_ids.is_empty() {
            let range = self.instances.range::<str, _>((Bound::Excluded(from), Bound::Unbounded));
            range.map(|(_, instance)| instance).filter(is_listed).take(limit + 1).collect()
        } else {
            let known = request.instance_ids.iter().filter_map(|id| self.instances.get(id.as_str()));
            known.filter(|instance| is_listed(instance) && &*instance.id > from).collect()
        };
        found.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        found.dedup_by(|one, other| one.id == other.id);
        let show = |instance: &Instance| {
            let state = self.described_state(cx, instance).unwrap_or(instance.state);
            wire::Instance { lifecycle_state: state.name(), ..instance.show_wire(cx) }
        };
        Ok(page(found, limit, |instance| instance.id.to_string(), show))
    }

    /// The state that an instance is described in, which may be one that it has left already; none before it is described at all.
    fn described_state(&self, cx: &Context, instance: &Instance) -> Option<LifecycleState> {
        match self.groups.get(&instance.group).map_or(0, |group| group.options.described_after_ms) {
            0 => Some(instance.state),
            lag => instance.history.iter().rev().find(|(since, _)| since + lag <= cx.now).map(|(_, state)| *state),
        }
    }

    /// The newest first.
    pub(crate) fn describe_scaling_activities(
        &self,
        cx: &Context,
        _: &Caller,
        request: &DescribeScalingActivities,
    ) -> Answer<Page<wire::Activity>> {
        let limit = page_size(request.max_records, 100, 100)?;
        let group = request.auto_scaling_group_name.as_deref();
        if let Some(name) = group
            && !self.groups.contains_key(name)
        {
            return Err(no_such_group(name));
        }
        let skip: usize = match &request.next_token {
            None => 0,
            Some(token) => token.parse().map_err(|_| bad_token())?,
        };
        let groups = self.groups.values().filter(|known| group.is_none_or(|name| *known.name == *name));
        let all = groups.flat_map(|group| group.activities.iter().rev().map(move |activity| (group, activity)));
        let ids = &request.activity_ids;
        let wanted = all.filter(|(_, activity)| ids.is_empty() || ids.contains(&activity.id));
        let found: Vec<_> = wanted.skip(skip).take(limit + 1).collect();
        let more = found.len() > limit;
        let show = |(group, activity): (&Group, &super::Activity)| wire::Activity {
            activity_id: activity.id.clone(),
            group: group.name.to_string(),
            group_arn: group.arn.clone(),
            description: activity.description.clone(),
            cause: activity.cause.clone(),
            start_time: iso(activity.start),
            end_time: activity.end.map(iso),
            status_code: activity.status,
            status_message: activity.message.clone(),
            progress: activity.progress(),
            details: format!("{{\"Availability Zone\":\"{}{}\"}}", cx.settings.region, activity.zone),
        };
        Ok(Page { items: found.into_iter().take(limit).map(show).collect(), next_token: more.then(|| (skip + limit).to_string()) })
    }

    pub(crate) fn describe_warm_pool(
        &self,
        cx: &Context,
        _: &Caller,
        request: &DescribeWarmPool,
    ) -> Answer<(Option<wire::WarmPool>, Page<wire::Instance>)> {
        let limit = page_size(request.max_records, 50, 50)?;
        let group = self.group(required(&request.auto_scaling_group_name, "autoScalingGroupName")?)?;
        let from = request.next_token.as_deref().unwrap_or_default();
        let range = group.members.range::<str, _>((Bound::Excluded(from), Bound::Unbounded));
        let warmed = range.filter_map(|id| self.instances.get(id)).filter(|instance| instance.state.is_warmed());
        let found: Vec<&Instance> = warmed.take(limit + 1).collect();
        let page = page(found, limit, |instance| instance.id.to_string(), |instance| instance.show_wire(cx));
        Ok((group.warm_pool.map(show_pool), page))
    }

    fn show_group(&self, cx: &Context, group: &Group) -> wire::Group {
        let members = group.members.iter().filter_map(|id| self.instances.get(id));
        let (warmed, own): (Vec<_>, Vec<_>) = members.partition(|instance| instance.state.is_warmed());
        wire::Group {
            name: group.name.to_string(),
            arn: group.arn.clone(),
            min_size: group.min,
            max_size: group.max,
            desired_capacity: group.desired,
            created_time: iso(group.created),
            zones: ["a", "b", "c"].iter().map(|zone| format!("{}{zone}", cx.settings.region)).collect(),
            instances: own.into_iter().map(|instance| instance.show_wire(cx)).collect(),
            warm_pool: group.warm_pool.map(show_pool),
            warm_pool_size: warmed.len(),
        }
    }
}

impl super::Hook {
    fn show(&self, group: &str) -> wire::Hook {
        wire::Hook {
            auto_scaling_group_name: group.to_owned(),
            lifecycle_hook_name: self.name.to_string(),
            lifecycle_transition: self.kind.name(),
            notification_target_arn: self.target_arn.clone(),
            role_arn: self.role_arn.clone(),
            notification_metadata: self.metadata.clone(),
            heartbeat_timeout: self.heartbeat_ms / 1000,
            global_timeout: self.global_ms() / 1000,
            default_result: if self.default_continue { "CONTINUE" } else { "ABANDON" },
        }
    }
}

impl Instance {
    fn show_wire(&self, cx: &Context) -> wire::Instance {
        wire::Instance {
            instance_id: self.id.to_string(),
            availability_zone: format!("{}{}", cx.settings.region, self.zone),
            lifecycle_state: self.state.name(),
            health_status: if self.healthy { "HEALTHY" } else { "UNHEALTHY" },
            group: self.group.to_string(),
        }
    }
}

const fn show_pool(pool: super::WarmPool) -> wire::WarmPool {
    let pool_state = match pool.state {
        PoolState::Stopped => "Stopped",
        PoolState::Running => "Running",
        PoolState::Hibernated => "Hibernated",
    };
    wire::WarmPool { pool_state, reuse_on_scale_in: pool.reuse }
}

/// A page out of one item more than fits; the token is the key of the last one shown.
fn page<'a, T, U>(mut found: Vec<&'a T>, limit: usize, key: impl Fn(&'a T) -> String, show: impl Fn(&'a T) -> U) -> Page<U> {
    let more = found.len() > limit;
    found.truncate(limit);
    let next_token = if more { found.last().map(|last| key(last)) } else { None };
    Page { items: found.into_iter().map(show).collect(), next_token }
}

fn page_size(asked: Option<i64>, most: i64, default: usize) -> Answer<usize> {
    match asked {
        None => Ok(default),
        Some(size) if (1..=most).contains(&size) => Ok(usize::try_from(size).unwrap_or(default)),
        Some(size) => Err(validation(format!(
            "1 validation error detected: Value '{size}' at 'maxRecords' failed to satisfy constraint: Member must have value less than or equal to {most}"
        ))),
    }
}

fn too_many(member: &str, most: usize) -> ApiError {
    validation(format!(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must have length less than or equal to {most}"
    ))
}

fn bad_token() -> ApiError {
    ApiError::client("InvalidNextToken", "The token provided is not valid.")
}
