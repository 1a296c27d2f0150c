//! What was left behind of a node in the Parameter Store: its key material, and its certificate.

use std::sync::atomic::Ordering;

use super::Sweep;
use crate::core::call::NodeOrder;
use crate::core::settings::KeySource;
use crate::names::{ParameterName, TemplateValues};
use crate::removal::retried;
use crate::retry::{Class, Failure};

/// Nodes whose parameters one call deletes: each has at most two, and the call takes ten.
const BATCH: usize = 5;

impl Sweep {
    /// Deletes the parameters of nodes whose instances are proven gone, and says of each node what was not deleted, and why.
    ///
    /// It is done before the nodes are taken off: a node that is not on its server any more is listed by no sweep after this one, and
    /// whatever it left here would stay.
    pub(super) async fn clean(&self, orders: &[NodeOrder]) -> Vec<Option<String>> {
        let mut left = Vec::with_capacity(orders.len());
        // One batch after the other: few such calls a second are allowed.
        for batch in orders.chunks(BATCH) {
            let names: Vec<Vec<ParameterName>> = batch.iter().map(|order| self.parameters(order)).collect();
            let failed = self.delete(&names.concat()).await.err();
            left.extend(names.into_iter().map(|names| match &failed {
                Some(failure) if !names.is_empty() => {
                    let names: Vec<&str> = names.iter().map(ParameterName::as_str).collect();
                    Some(format!("left behind: {}, which could not be deleted: {failure}", names.join(", ")))
                }
                _ => None,
            }));
        }
        left
    }

    /// That they were not there is what was wanted. What is denied once is not asked for again.
    async fn delete(&self, names: &[ParameterName]) -> Result<(), Failure> {
        if names.is_empty() || *self.stop.borrow() {
            return Ok(());
        }
        if self.found.denied.load(Ordering::Relaxed) {
            return Err(Failure::new(Class::RouteFault, "denied", "as for another node"));
        }
        let parameters = &self.services.scopes[usize::from(self.route().scope.0)].parameters;
        let deleted = retried(async || parameters.delete(names).await?.into_iter().collect()).await;
        if matches!(&deleted, Err(failure) if failure.class == Class::RouteFault) {
            self.found.denied.store(true, Ordering::Relaxed);
        }
        deleted
    }

    /// The names that the worker gave them.
    fn parameters(&self, order: &NodeOrder) -> Vec<ParameterName> {
        let (route, action) = (self.route(), &order.action);
        let region = action.region.as_ref().or(route.region.as_ref()).unwrap_or(&self.facts.region);
        let values = TemplateValues { instance: &action.instance, group: &action.group, account: &action.account, region };
        let key = match &route.key {
            KeySource::Parameter { name, .. } => Some(name),
            KeySource::RunCommand => None,
        };
        key.into_iter().chain(&route.certificate).filter_map(|name| ParameterName::new(&name.fill(values)).ok()).collect()
    }
}
