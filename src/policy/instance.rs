//! What the instances of a route may do: write their own key once, fetch their certificate where there is one, and nothing else.

use super::arn::Place;
use super::document::{Document, Effect, Statement};
use crate::config::{Config, KeySource, Owner, RoleArn, Route};

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
    /// policy.
    pub converge_hook: bool,
}

/// The policies of the instances' roles, one for each route. `place` is where the worker's queue is.
#[must_use]
pub fn instances(config: &Config, place: &Place, scripts: Scripts) -> Vec<InstancePolicy> {
    let of = |route: &Route| {
        let place = place.of(route.scope.region.as_ref(), route.scope.role.as_ref());
        let mut policy = of_route(route, &place);
        for statement in of_scripts(route, &place, scripts) {
            policy.document = Some(policy.document.unwrap_or_else(|| Document::new(Vec::new())).and(statement));
        }
        if scripts.converge_hook {
            policy.note.push_str(
                "; with CompleteLifecycleAction an instance can complete any hook of its group, enrolld's own too: IAM can name the group, not the hook",
            );
        }
        policy
    };
    config.routes.iter().map(of).collect()
}

fn of_scripts(route: &Route, place: &Place, scripts: Scripts) -> Vec<Statement> {
    let mut statements = Vec::new();
    if scripts.converge_hook {
        let groups = route.groups.iter().map(|glob| place.groups(glob)).collect();
        statements.push(Statement::allow("CompleteOwnHook", &["autoscaling:CompleteLifecycleAction"], groups));
    } else if scripts.launch_kit && route.certificate_parameter.is_none() {
        let look = Statement::allow("SeeWhetherInService", &["autoscaling:DescribeAutoScalingInstances"], vec!["*".to_owned()]);
        statements.push(look.only_if("StringEquals", "aws:RequestedRegion", vec![place.region.to_string()]));
    }
    statements
}

fn of_route(route: &Route, place: &Place) -> InstancePolicy {
    let (role, document, note) = match &route.key {
        KeySource::Parameter { name, owner } => {
            let names = place.parameters(name, &route.groups);
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
    let read = Statement::allow("FetchCertificate", &["ssm:GetParameter"], place.parameters(name, &route.groups));
    let document = document.unwrap_or_else(|| Document::new(Vec::new())).and(read);
    InstancePolicy { route: route.name.clone(), role, document: Some(document), note }
}

/// A key that is there cannot be replaced, neither by its own instance nor by another, whatever else the role is allowed.
fn create_only(names: Vec<String>) -> Document {
    let put = &["ssm:PutParameter"];
    let create = Statement::allow("PublishKeyOnce", put, names.clone());
    let replace = Statement { effect: Effect::Deny, ..Statement::allow("NeverReplaceKey", put, names) };
    Document::new(vec![create, replace.only_if("StringEquals", "ssm:Overwrite", vec!["true".to_owned()])])
}
