//! How often keys may be read: a limit belongs to an account and region, however many routes ask there.

use std::time::Duration;

use super::Config;
use super::problem::Refusal;
use super::route::{KeySource, Route, Scope};
use super::route_tables::ReadRoute;
use super::values::show;
use crate::core::settings::Route as CoreRoute;

/// Gives each route the `key_rate` of the account and region it asks in: what one of its routes writes is said of all that read there.
pub(super) fn settle_rates(config: &Config, routes: &mut [ReadRoute<'_, '_>]) {
    let scopes: Vec<Option<Scope>> = routes.iter().map(|read| Some(read.reads_parameters()?.scope.clone())).collect();
    let written = |read: &ReadRoute<'_, '_>| Some(read.reads_parameters()?.key_rate).filter(|_| read.section.has("key_rate"));
    let settled: Vec<Option<f64>> = scopes
        .iter()
        .enumerate()
        .map(|(at, scope)| {
            let together = |other: &Option<Scope>| scope.as_ref().zip(other.as_ref()).is_some_and(|(one, two)| config.together(one, two));
            let there = scopes.iter().zip(&*routes).filter(|(other, _)| together(other)).map(|(_, read)| read);
            let (first, rate) = there.filter_map(|read| Some((read, written(read)?))).next()?;
            if let Some(own) = written(&routes[at]).filter(|own| *own != rate) {
                let name = first.name.as_deref().unwrap_or("an earlier one");
                let place = first.section.place_of("key_rate");
                let wrong = format!("it is {own}, and {rate} for route {name} ({place}), which reads in the same account and region");
                let right = "write one rate for both, in one of them or the same in each: it is a limit of the account and region";
                routes[at].section.refuse("key_rate", Refusal::new(wrong, right));
            }
            Some(rate)
        })
        .collect();
    for (read, rate) in routes.iter_mut().zip(settled) {
        if let (Some(route), Some(rate)) = (&mut read.route, rate) {
            route.key_rate = rate;
        }
    }
}

impl Config {
    /// Whether two scopes ask in one account and region, as far as the configuration tells. What it does not tell stands alone.
    fn together(&self, one: &Scope, other: &Scope) -> bool {
        let asked = |scope: &Scope| {
            let account = scope.role.as_ref().map(super::RoleArn::account).or(self.own_account())?.clone();
            Some((account, scope.region.clone().or_else(|| self.region.clone())))
        };
        self.own_or(one) == self.own_or(other) || asked(one).is_some_and(|place| asked(other) == Some(place))
    }

    /// The reads a second that a route's nodes can have: its own limit, or less where the account's quota is smaller.
    #[must_use]
    pub fn reads_a_second(&self, route: &Route) -> f64 {
        route.key_rate.min(self.ssm_read_quota)
    }
}

/// How many nodes can be asked for in each poll interval. What a document prints is not read from a parameter.
pub(super) fn of_fleet(config: &Config, routes: &[ReadRoute<'_, '_>]) {
    let Some(fleet) = config.fleet_size else { return };
    for read in routes {
        let Some(route) = read.reads_parameters() else { continue };
        let (a_call, rate) = (f64::from(route.key_batch()), config.reads_a_second(route));
        let at = |poll: Duration, rate: f64| CoreRoute::nodes_a_poll(poll, rate, route.key_batch());
        if at(route.key_poll, rate) >= f64::from(fleet) {
            continue;
        }
        let needed = f64::from(fleet) / (a_call * rate);
        let by_quota = route.key_rate > config.ssm_read_quota;
        let bound = if by_quota { "ssm_read_quota" } else { "key_rate" };
        let wrong = format!(
            "{} is too short for a fleet of {fleet}: at {bound} {rate} a second and {a_call} a call, asking for each node once takes {needed:.0}s, and a node is asked a little before its time",
            show(route.key_poll)
        );
        // What is asked early, and the part of the rate that is not used, take their share of the interval.
        let enough = (1..=600).find(|seconds| at(Duration::from_secs(*seconds), rate) >= f64::from(fleet));
        let longer = enough.map_or_else(String::new, |seconds| format!("key_poll = \"{seconds}s\" or more, or "));
        let faster = (f64::from(fleet) / at(route.key_poll, 1.0)).ceil();
        let has = format!("ssm_read_quota = {faster:.0} once SSM gives the account and region so many");
        let higher = match (faster > route.key_rate, faster > config.ssm_read_quota) {
            (true, true) => format!("key_rate = {faster:.0} and {has}"),
            (false, true) => has,
            _ => format!("key_rate = {faster:.0}"),
        };
        read.section.refuse("key_poll", Refusal::new(wrong, format!("write {longer}{higher}")));
    }
}

impl ReadRoute<'_, '_> {
    /// The route, where its keys stand in parameters.
    fn reads_parameters(&self) -> Option<&Route> {
        self.route.as_ref().filter(|route| matches!(route.key, KeySource::Parameter { .. }))
    }
}
