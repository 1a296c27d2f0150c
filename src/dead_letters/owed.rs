//! A disassociation that a worker owes, held against the configuration.

use std::sync::Arc;

use crate::core::call::{NodeOrder, RouteId};
use crate::core::settings::Settings;
use crate::event::LifecycleAction;
use crate::facts::QueueFacts;
use crate::names::{NodeName, TemplateValues};

/// A debt that is as the configuration would have it, and so may be paid once it is proven.
#[derive(Debug)]
pub struct Debt {
    /// The route of the group.
    pub route: RouteId,
    /// The node, as the route names it.
    pub order: NodeOrder,
}

/// Holds a letter's debt against the configuration: the group's route, and the name that this route gives the node. Whoever may send
/// to the dead-letter queue may write a letter, so a node of another name is never touched.
///
/// # Errors
/// Says what does not fit.
pub fn check(settings: &Settings, facts: &QueueFacts, action: &Arc<LifecycleAction>, owed: &NodeName) -> Result<Debt, String> {
    let ours = if settings.accounts.is_empty() { action.account == facts.account } else { settings.accounts.contains(&action.account) };
    if !ours {
        return Err(format!("its notification is of account {}, which is not one of ours", action.account));
    }
    if let Some(region) = &action.region {
        let ours = if settings.regions.is_empty() { *region == facts.region } else { settings.regions.contains(region) };
        if !ours {
            return Err(format!("its notification is of region {region}, which is not one of ours"));
        }
    }
    let Some(id) = settings.route_for(&action.group) else {
        return Err("no route matches its group; add the group to a route".to_owned());
    };
    let region = action.region.as_ref().or(settings.route(id).region.as_ref()).unwrap_or(&facts.region);
    let values = TemplateValues { instance: &action.instance, group: &action.group, account: &action.account, region };
    let named = settings.route(id).node_name.fill(values);
    if named != owed.as_str() {
        return Err(format!("it owes the node {owed}, and the route {} would call it {named}", settings.route(id).name));
    }
    Ok(Debt { route: id, order: NodeOrder { node: owed.clone(), action: Arc::clone(action), metadata: None } })
}
