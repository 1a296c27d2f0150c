//! Which instances have an agent that is registered.

use std::sync::Arc;

use super::browse::page_size;
use super::wire::{DescribeInstanceInformation, InstanceInformation, InstancePage};
use crate::simulator::model::autoscaling::{AutoScaling, RunningAgent};
use crate::simulator::model::context::{Context, epoch_seconds};
use crate::simulator::model::error::{Answer, ApiError};

pub(crate) fn describe_instances(cx: &Context, request: &DescribeInstanceInformation, agents: &AutoScaling) -> Answer<InstancePage> {
    let limit = page_size(request.max_results, 50, 50)?;
    let filters = request.filters.iter().map(|filter| (&filter.key, &filter.values));
    let legacy = request.instance_information_filter_list.iter().map(|filter| (&filter.key, &filter.value_set));
    let mut wanted: Option<&Vec<String>> = None;
    for (key, values) in filters.chain(legacy) {
        match key.as_str() {
            "InstanceIds" => wanted = Some(values),
            "PingStatus" | "PlatformTypes" | "ResourceType" => {}
            _ => return Err(ApiError::bare("InvalidFilterKey")),
        }
    }
    let registered = |agent: &RunningAgent<'_>| agent.registered_at().is_some_and(|at| at <= cx.now);
    let from = request.next_token.as_deref().unwrap_or_default();
    let mut page = InstancePage::default();
    let mut add = |id: &str, agent: &RunningAgent<'_>| {
        if page.instance_information_list.len() == limit {
            page.next_token = page.instance_information_list.last().map(|last| last.instance_id.clone());
            return false;
        }
        page.instance_information_list.push(show(cx, id, agent));
        true
    };
    if let Some(wanted) = wanted {
        for id in wanted {
            if let Some(agent) = agents.running_agent(id).filter(registered) {
                add(id, &agent);
            }
        }
    } else {
        let all = agents.agents_after(from).filter(|(_, agent): &(&Arc<str>, _)| registered(agent));
        for (id, agent) in all {
            if !add(id, &agent) {
                break;
            }
        }
    }
    Ok(page)
}

fn show(cx: &Context, id: &str, agent: &RunningAgent<'_>) -> InstanceInformation {
    InstanceInformation {
        instance_id: id.to_owned(),
        ping_status: "Online",
        last_ping_date_time: epoch_seconds(cx.now),
        agent_version: "3.3.0.0",
        platform_type: "Linux",
        platform_name: "Amazon Linux",
        resource_type: "EC2Instance",
        registration_date: epoch_seconds(agent.registered_at().unwrap_or(cx.now)),
    }
}
