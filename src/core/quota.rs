//! What calls use up. AWS counts the calls of one API operation for an account and region, whichever route, role or server they are about;
//! a server of one's own is its own measure.
//!
//! Lanes stand apart where batches must not mix; a quota is what several of them draw on. So a limit that the user set is kept by all of them
//! together, and what one of them learns from being throttled, all have learned.

use std::collections::HashMap;

use super::call::{RouteId, ScopeId, ServerId};
use super::lane::LaneKey;
use super::settings::{KeySource, Limited, Route, Settings};

/// An account and region, named by the first scope that asks there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place(ScopeId);

/// Something of which so many a second can be had; each has one pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Quota {
    /// The operations on the one queue, and on that of its dead letters.
    ChangeMessageVisibility,
    DeleteMessage,
    SendMessage,
    /// An operation that the user may limit by its name.
    Operation(Limited, Place),
    GetParameters(Place),
    GetParameterHistory(Place),
    /// Both of these, which `key_rate` is about.
    KeyReads(Place),
    /// What the OpsWorks CM of an account and region is told to do, whichever server it is for.
    Orders(Place),
    /// What one server is told to do. Its gate lets it begin anew by a ramp.
    Server(ServerId),
    /// Looks at how the orders of a server of one's own stand.
    Status(ServerId),
}

/// What each call of a lane draws on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drawn {
    /// What is used up where such a call is throttled.
    pub throttled: Quota,
    /// What must let it through besides.
    besides: Option<Quota>,
}

impl Drawn {
    /// All of it.
    pub fn each(self) -> impl Iterator<Item = Quota> {
        std::iter::once(self.throttled).chain(self.besides)
    }
}

/// Which quotas there are.
#[derive(Debug)]
pub(super) struct Quotas {
    places: HashMap<ScopeId, Place>,
    /// The servers whose orders AWS counts together.
    counted_by_aws: HashMap<ServerId, Place>,
}

impl Quotas {
    /// The quotas of these routes.
    pub fn of(settings: &Settings) -> Self {
        let (mut places, mut counted_by_aws) = (HashMap::new(), HashMap::new());
        for route in &settings.routes {
            let asked = asked(settings, route);
            let there = |other: &&Route| other.scope == route.scope || (asked.is_some() && self::asked(settings, other) == asked);
            let first = settings.routes.iter().find(there).map_or(route.scope, |other| other.scope);
            let place = *places.entry(route.scope).or_insert(Place(first));
            if route.counted_by_aws {
                counted_by_aws.insert(route.server, place);
            }
        }
        Self { places, counted_by_aws }
    }

    /// A scope that no route asks with, and one whose account is not known, stands alone.
    fn place(&self, scope: ScopeId) -> Place {
        self.places.get(&scope).copied().unwrap_or(Place(scope))
    }

    /// What a call of the lane draws on.
    pub fn drawn(&self, settings: &Settings, key: LaneKey) -> Drawn {
        let operation = |operation, scope| Quota::Operation(operation, self.place(scope));
        let of_route = |limited, route: RouteId| operation(limited, settings.route(route).scope);
        let throttled = match key {
            LaneKey::Extend | LaneKey::Release => Quota::ChangeMessageVisibility,
            LaneKey::Delete => Quota::DeleteMessage,
            LaneKey::DeadLetter => Quota::SendMessage,
            LaneKey::Complete(scope) => operation(Limited::CompleteLifecycleAction, scope),
            LaneKey::Heartbeat(scope) => operation(Limited::RecordLifecycleActionHeartbeat, scope),
            LaneKey::Instances(scope) => operation(Limited::DescribeAutoScalingInstances, scope),
            LaneKey::Hooks(scope) => operation(Limited::DescribeLifecycleHooks, scope),
            LaneKey::Whereabouts(scope) => operation(Limited::DescribeScalingActivities, scope),
            LaneKey::PutParameter(scope) => operation(Limited::PutParameter, scope),
            LaneKey::DeleteParameters(scope) => operation(Limited::DeleteParameters, scope),
            LaneKey::Commands(route) => of_route(Limited::SendCommand, route),
            LaneKey::Outputs(route) => of_route(Limited::GetCommandInvocation, route),
            LaneKey::Keys(route) => {
                let (route, place) = (settings.route(route), self.place(settings.route(route).scope));
                // What shows the owner is another operation, which takes one name.
                let shows_owner = matches!(route.key, KeySource::Parameter { batch: ..=1, .. });
                let operation = if shows_owner { Quota::GetParameterHistory(place) } else { Quota::GetParameters(place) };
                return Drawn { throttled: operation, besides: Some(Quota::KeyReads(place)) };
            }
            LaneKey::Server(server) => match self.counted_by_aws.get(&server) {
                Some(place) => return Drawn { throttled: Quota::Orders(*place), besides: Some(Quota::Server(server)) },
                None => Quota::Server(server),
            },
            LaneKey::Status(server) => match self.counted_by_aws.get(&server) {
                Some(place) => Quota::Operation(Limited::DescribeNodeAssociationStatus, *place),
                None => Quota::Status(server),
            },
        };
        Drawn { throttled, besides: None }
    }

    /// The user's own limit, in calls a second.
    pub fn limit(&self, settings: &Settings, quota: Quota) -> Option<f64> {
        let routes = || settings.routes.iter();
        match quota {
            Quota::Operation(operation, _) => settings.max_rates.get(&operation).copied(),
            Quota::Status(_) => settings.max_rates.get(&Limited::DescribeNodeAssociationStatus).copied(),
            Quota::KeyReads(place) => {
                let reads = |route: &&Route| matches!(route.key, KeySource::Parameter { .. }) && self.place(route.scope) == place;
                routes().filter(reads).map(|route| route.key_rate).reduce(f64::min)
            }
            Quota::Server(server) => routes().filter(|route| route.server == server).filter_map(|route| route.max_rate).reduce(f64::min),
            // Each server keeps to its own; all of them together to what the account has, which is at least the largest of these.
            Quota::Orders(place) => {
                let counted = |route: &&Route| self.counted_by_aws.get(&route.server) == Some(&place);
                routes().filter(counted).filter_map(|route| route.max_rate).reduce(f64::max)
            }
            Quota::ChangeMessageVisibility
            | Quota::DeleteMessage
            | Quota::SendMessage
            | Quota::GetParameters(_)
            | Quota::GetParameterHistory(_) => None,
        }
    }
}

/// The account and region that a route asks in, where the settings tell the account.
fn asked<'s>(settings: &'s Settings, route: &'s Route) -> Option<(&'s crate::names::AccountId, Option<&'s crate::names::Region>)> {
    Some((route.account.as_ref().or(settings.own_account.as_ref())?, route.region.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::bench::settings;
    use crate::names::{AccountId, Region};

    /// A route with a scope and a server of its own.
    fn route(settings: &mut Settings, account: Option<&str>, region: &str) -> RouteId {
        let at = u16::try_from(settings.routes.len()).unwrap();
        let mut route = settings.routes[0].clone();
        (route.scope, route.server) = (ScopeId(at), ServerId(at));
        route.account = account.map(|account| AccountId::new(account).unwrap());
        route.region = Some(Region::new(region).unwrap());
        settings.routes.push(route);
        RouteId(at)
    }

    /// The routes of: the worker's own account and region, a role there, a role elsewhere, another region; the first is a bench's.
    fn world(own_account: Option<&str>) -> (Settings, [RouteId; 4]) {
        let mut settings = settings();
        settings.own_account = own_account.map(|account| AccountId::new(account).unwrap());
        let own = route(&mut settings, None, "eu-central-1");
        let role = route(&mut settings, Some("123456789012"), "eu-central-1");
        let elsewhere = route(&mut settings, Some("210987654321"), "eu-central-1");
        let region = route(&mut settings, None, "us-east-1");
        (settings, [own, role, elsewhere, region])
    }

    fn shares(settings: &Settings, one: LaneKey, other: LaneKey) -> bool {
        let quotas = Quotas::of(settings);
        let other = quotas.drawn(settings, other).throttled;
        quotas.drawn(settings, one).throttled == other
    }

    #[test]
    fn an_operation_has_one_quota_for_all_scopes_of_an_account_and_region() {
        let (settings, [own, role, elsewhere, region]) = world(Some("123456789012"));
        type Of = fn(RouteId) -> LaneKey;
        let kinds: [Of; 10] = [
            |route| LaneKey::Complete(ScopeId(route.0)),
            |route| LaneKey::Heartbeat(ScopeId(route.0)),
            |route| LaneKey::Instances(ScopeId(route.0)),
            |route| LaneKey::PutParameter(ScopeId(route.0)),
            |route| LaneKey::DeleteParameters(ScopeId(route.0)),
            LaneKey::Keys,
            LaneKey::Commands,
            LaneKey::Outputs,
            |route| LaneKey::Server(ServerId(route.0)),
            |route| LaneKey::Status(ServerId(route.0)),
        ];
        for of in kinds {
            assert!(shares(&settings, of(own), of(role)), "{:?}", of(own));
            assert!(!shares(&settings, of(own), of(elsewhere)) && !shares(&settings, of(own), of(region)), "{:?}", of(own));
        }
        assert!(!shares(&settings, LaneKey::Complete(ScopeId(0)), LaneKey::Heartbeat(ScopeId(0))), "operations are apart");
        assert!(shares(&settings, LaneKey::Extend, LaneKey::Release), "but not two uses of one");
    }

    #[test]
    fn where_the_account_is_not_known_a_scope_stands_alone() {
        let (settings, [own, role, _, region]) = world(None);
        for other in [role, region] {
            assert!(!shares(&settings, LaneKey::Keys(own), LaneKey::Keys(other)));
        }
    }

    #[test]
    fn what_shows_the_owner_is_another_operation_under_the_same_limit() {
        let (mut settings, [own, role, ..]) = world(Some("123456789012"));
        if let KeySource::Parameter { batch, .. } = &mut settings.routes[usize::from(role.0)].key {
            *batch = 1;
        }
        let quotas = Quotas::of(&settings);
        let [ours, theirs] = [own, role].map(|route| quotas.drawn(&settings, LaneKey::Keys(route)));
        assert!(matches!((ours.throttled, theirs.throttled), (Quota::GetParameters(_), Quota::GetParameterHistory(_))));
        assert_eq!(ours.besides, theirs.besides);
        assert_eq!(quotas.limit(&settings, ours.besides.unwrap()), Some(20.0));
    }

    #[test]
    fn a_server_of_ones_own_is_its_own_measure() {
        let (mut settings, [own, role, ..]) = world(Some("123456789012"));
        settings.routes.iter_mut().for_each(|route| route.counted_by_aws = false);
        for of in [LaneKey::Server, LaneKey::Status] {
            assert!(!shares(&settings, of(ServerId(own.0)), of(ServerId(role.0))));
        }
    }

    #[test]
    fn each_server_keeps_to_its_own_limit_and_those_that_aws_counts_to_the_largest_together() {
        let (mut settings, [own, role, elsewhere, _]) = world(Some("123456789012"));
        for (route, limit) in [(own, 3.0), (role, 5.0), (elsewhere, 9.0)] {
            settings.routes[usize::from(route.0)].max_rate = Some(limit);
        }
        let quotas = Quotas::of(&settings);
        let limits = |route: RouteId| {
            let drawn = quotas.drawn(&settings, LaneKey::Server(ServerId(route.0)));
            drawn.each().map(|quota| quotas.limit(&settings, quota)).collect::<Vec<_>>()
        };
        assert_eq!([own, role, elsewhere].map(limits), [[Some(5.0), Some(3.0)], [Some(5.0), Some(5.0)], [Some(9.0), Some(9.0)]]);
    }
}
