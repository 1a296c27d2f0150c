//! What the instances of a route may do: write their own key once, fetch their certificate where there is one, and nothing else.

use super::arn::{Place, exactly, literal};
use super::document::{Document, Effect, Statement};
use crate::config::{Config, KeySource, Owner, RoleArn, Route};
use crate::names::GroupName;

/// The policy for the role of a route's instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstancePolicy {
    /// The route.
    pub route: String,
    /// The instances' role, where the configuration names it.
    pub role: Option<RoleArn>,
    /// The policy; none where the instances need nothing for enrolld.
    pub document: Option<Document>,
    /// What a person should know of it.
    pub note: String,
}

/// What the instances' scripts do beyond publishing their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scripts {
    /// They wait until in service, as `enrolld launch-kit` prints it without a hook to complete.
    pub launch_kit: bool,
    /// They complete a second launch hook (`enrolld launch-kit --converge-hook`). Actions name groups and not hooks, so its name is not in the
    /// policy. It is allowed on a group that is named and on no other: without one, nothing lets them complete a hook.
    pub converge_hook: bool,
    /// They also keep that hook from running out (`--converge-heartbeat`).
    pub converge_heartbeat: bool,
}

/// The policies of the instances' roles, one for each route. `place` is where the worker's queue is. With a group, that of the instances of this
/// group alone; none where no route serves it.
#[must_use]
pub fn instances(config: &Config, place: &Place, scripts: Scripts, group: Option<&GroupName>) -> Vec<InstancePolicy> {
    let serves = |route: &&Route| {
        let matches = |glob: &String, group: &GroupName| wildmatch::WildMatch::new(glob).matches(group.as_str());
        group.is_none_or(|group| route.groups.iter().any(|glob| matches(glob, group)))
    };
    let of = |route: &Route| {
        let place = place.of(route.scope.region.as_ref(), route.scope.role.as_ref());
        let groups = group.map_or_else(|| route.groups.iter().map(|glob| literal(glob)).collect(), |group| vec![exactly(group.as_str())]);
        let mut policy = of_route(route, &place, &groups);
        for statement in of_scripts(&place, scripts, group) {
            policy.document = Some(policy.document.unwrap_or_else(|| Document::new(Vec::new())).and(statement));
        }
        if scripts.converge_hook && group.is_some() {
            policy.note.push_str(
                "; with CompleteLifecycleAction an instance can complete any hook of its group, enrolld's own too: IAM can name the group, not the hook",
            );
        }
        policy
    };
    // A group is served by the first route that matches it.
    config.routes.iter().filter(serves).take(if group.is_some() { 1 } else { usize::MAX }).map(of).collect()
}

fn of_scripts(place: &Place, scripts: Scripts, group: Option<&GroupName>) -> Vec<Statement> {
    let mut statements = Vec::new();
    if scripts.converge_hook {
        // Who can complete a hook of a group can put any of its instances in service: never a whole route's groups.
        let Some(group) = group else { return statements };
        let actions: &[&'static str] = if scripts.converge_heartbeat {
            &["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"]
        } else {
            &["autoscaling:CompleteLifecycleAction"]
        };
        let group = place.groups_like(&exactly(group.as_str()));
        statements.push(Statement::allow("CompleteOwnHook", actions, vec![group]));
    } else if scripts.launch_kit {
        let look = Statement::allow("SeeWhetherInService", &["autoscaling:DescribeAutoScalingInstances"], vec!["*".to_owned()]);
        statements.push(look.only_if("StringEquals", "aws:RequestedRegion", vec![place.region.to_string()]));
    }
    statements
}

fn of_route(route: &Route, place: &Place, groups: &[String]) -> InstancePolicy {
    let (role, document, note) = match &route.key {
        KeySource::Parameter { name, owner } => {
            let names = place.parameters_like(name, groups);
            let (role, note) = match owner {
                Owner::Role(role) => (
                    Some(role.clone()),
                    format!(
                        "for the role {}, which only EC2 may be able to assume: otherwise a key's writer proves nothing",
                        role.as_str()
                    ),
                ),
                Owner::Anybody => (None, "for whatever publishes the keys: whoever has it decides which key a node gets".to_owned()),
            };
            (role, Some(create_only(names)), note)
        }
        KeySource::RunCommand { .. } => {
            let note = "its instances need nothing for enrolld: their agent needs what AmazonSSMManagedInstanceCore allows";
            (None, None, note.to_owned())
        }
    };
    let Some(name) = &route.certificate_parameter else { return InstancePolicy { route: route.name.clone(), role, document, note } };
    // A certificate is no secret: each node may read each.
    let read = Statement::allow("FetchCertificate", &["ssm:GetParameter"], place.parameters_like(name, groups));
    let document = document.unwrap_or_else(|| Document::new(Vec::new())).and(read);
    InstancePolicy { route: route.name.clone(), role, document: Some(document), note }
}

/// A key that is there cannot be replaced, neither by its own instance nor by another, whatever else the role may put; nor can one be written
/// with a parameter policy, by which Systems Manager itself would delete it one day, so that another could be created in its place.
fn create_only(names: Vec<String>) -> Document {
    let put = &["ssm:PutParameter"];
    let never = |sid: &str, key: &'static str| {
        let statement = Statement { effect: Effect::Deny, ..Statement::allow(sid, put, names.clone()) };
        statement.only_if("StringEquals", key, vec!["true".to_owned()])
    };
    let (replace, expire) = (never("NeverReplaceKey", "ssm:Overwrite"), never("NeverLetKeyExpire", "ssm:Policies"));
    Document::new(vec![Statement::allow("PublishKeyOnce", put, names.clone()), replace, expire])
}
