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

/// The policies of the instances' roles, one for each route. `place` is where the worker's queue is.
#[must_use]
pub fn instances(config: &Config, place: &Place) -> Vec<InstancePolicy> {
    config.routes.iter().map(|route| of_route(route, &place.of(route.scope.region.as_ref(), route.scope.role.as_ref()))).collect()
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
