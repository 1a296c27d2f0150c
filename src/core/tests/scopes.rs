//! Whom is asked, and when: accounts, regions and roles are never mixed, and nothing is done on what was seen long ago.

use std::collections::HashMap;
use std::time::Duration;

use wildmatch::WildMatch;

use super::bench::{Bench, settings};
use crate::core::call::{Call, RouteId, ScopeId, ServerId};
use crate::core::settings::Settings;
use crate::names::{GroupName, InstanceId};
use crate::retry::{Class, Failure};

/// Instances with odd numbers are of the second scope.
fn scope_of(instance: &InstanceId) -> ScopeId {
    let number = u32::from_str_radix(&instance.as_str()[2..], 16).unwrap();
    ScopeId((number % 2) as u16)
}

fn group_scope(group: &GroupName) -> ScopeId {
    ScopeId(u16::from(group.as_str() == "far"))
}

/// The scope that a call goes to, and those that it is about.
fn scopes(call: &Call) -> Option<(ScopeId, Vec<ScopeId>)> {
    let of_route = |route: &RouteId| ScopeId(route.0);
    let parameter = |name: &str| scope_of(&InstanceId::new(name.split('/').nth(2).unwrap()).unwrap());
    Some(match call {
        Call::DescribeInstances { scope, instances } => (*scope, instances.iter().map(scope_of).collect()),
        Call::DescribeHooks { scope, group } => (*scope, vec![group_scope(group)]),
        Call::FindWhereabouts { scope, group, instances } => (*scope, instances.iter().map(scope_of).chain([group_scope(group)]).collect()),
        Call::Heartbeat { scope, order } | Call::Complete { scope, order, .. } => {
            (*scope, vec![group_scope(&order.group), scope_of(&order.instance)])
        }
        Call::FetchKeys { route, wanted } => (of_route(route), wanted.iter().map(|one| scope_of(&one.instance)).collect()),
        Call::DeleteParameters { scope, parameters } => (*scope, parameters.iter().map(|name| parameter(name.as_str())).collect()),
        Call::Associate { route, order, .. } | Call::Disassociate { route, order } | Call::AssociationStatus { route, order, .. } => {
            (of_route(route), vec![scope_of(&order.action.instance)])
        }
        _ => return None,
    })
}

#[test]
fn batches_never_mix_scopes_and_each_call_goes_to_the_scope_it_is_about() {
    let mut settings = settings();
    let mut far = settings.routes[0].clone();
    (far.name, far.groups, far.scope, far.server) = ("far".into(), vec![WildMatch::new("far")], ScopeId(1), ServerId(1));
    settings.routes.push(far);
    let mut bench = Bench::new(settings);
    bench.heartbeat_timeout_s = 4;
    for n in 0..60 {
        bench.launch_in(n, if n % 2 == 1 { "far" } else { "web" });
    }
    bench.run_for(120_000);
    let mut batches = 0;
    for (_, call) in &bench.made {
        let Some((scope, about)) = scopes(call) else { continue };
        assert!(about.iter().all(|of| *of == scope), "{call:?}");
        batches += usize::from(about.len() > 2);
    }
    assert!(batches >= 8, "there were batches to be mixed");
    assert_eq!(bench.outcomes().len(), 60);
}

#[test]
fn no_node_is_associated_that_was_not_seen_waiting_within_the_minute_before() {
    // The longest call that the configuration allows, too: the request may leave at the end of it.
    for call_s in [2, 15, 50] {
        let call_timeout = Duration::from_secs(call_s);
        let mut settings = Settings { call_timeout, visibility: Duration::from_secs(300), ..settings() };
        // Most wait for their turn for longer than the look lasts.
        settings.routes[0].max_rate = Some(0.25);
        let mut bench = Bench::new(settings);
        bench.server = Err(Failure::new(Class::NotReady, "InvalidStateException", "maintenance"));
        for n in 0..20 {
            bench.launch(n);
        }
        bench.run_for(15 * 60_000);
        bench.server = Ok(());
        bench.run_for(120_000);
        assert_eq!(bench.outcomes().len(), 20);
        let mut seen: HashMap<InstanceId, u64> = HashMap::new();
        let mut associated = 0;
        for (at, call) in &bench.made {
            match call {
                Call::DescribeInstances { instances, .. } => seen.extend(instances.iter().map(|instance| (instance.clone(), *at))),
                Call::Associate { order, .. } => {
                    let ago = at + call_s * 1000 - seen[&order.action.instance];
                    assert!(ago <= 60_000, "{} may have been seen {ago} ms before", order.action.instance);
                    associated += 1;
                }
                _ => {}
            }
        }
        assert!(associated >= 20);
    }
}

/// Two routes before one server, each of whose Auto Scaling is asked with a role of its own.
fn two_scopes_before_one_server() -> Settings {
    let mut settings = settings();
    settings.routes[0].key_rate = 1_000.0;
    let mut far = settings.routes[0].clone();
    (far.name, far.groups, far.scope) = ("far".into(), vec![WildMatch::new("far")], ScopeId(1));
    settings.routes.push(far);
    settings
}

fn ways_to_be_blind() -> [Failure; 2] {
    [Failure::new(Class::RouteFault, "AccessDenied", "not you"), Failure::new(Class::Transient, "ServiceUnavailable", "away")]
}

#[test]
fn a_scope_that_cannot_be_looked_at_when_a_server_comes_back_holds_up_no_other_scope_before_that_server() {
    for failure in ways_to_be_blind() {
        let mut bench = Bench::new(two_scopes_before_one_server());
        bench.server = Err(Failure::new(Class::NotReady, "InvalidStateException", "maintenance"));
        (0..20).for_each(|n| bench.launch_in(n, "far"));
        bench.run_for(1_000);
        (20..40).for_each(|n| bench.launch_in(n, "web"));
        bench.run_for(5 * 60_000);
        bench.blind = Some((ScopeId(1), failure.clone()));
        bench.server = Ok(());
        bench.run_for(60_000);
        assert_eq!(bench.completions.len(), 20, "{failure}");
        assert!(bench.completions.iter().all(|(n, _)| *n >= 20), "{failure}: {:?}", bench.completions);
        bench.blind = None;
        bench.run_for(3 * 60_000);
        assert_eq!(bench.completions.len(), 40, "{failure}");
    }
}

#[test]
fn a_scope_that_cannot_be_looked_at_any_more_holds_up_no_other_scope_before_a_slow_server() {
    for failure in ways_to_be_blind() {
        let mut settings = two_scopes_before_one_server();
        settings.routes.iter_mut().for_each(|route| route.max_rate = Some(2.0));
        let mut bench = Bench::settled(settings);
        (0..400).for_each(|n| bench.launch_in(n, "far"));
        bench.run_for(1_000);
        (400..440).for_each(|n| bench.launch_in(n, "web"));
        bench.run_for(1_000);
        bench.blind = Some((ScopeId(1), failure.clone()));
        bench.run_for(2 * 60_000);
        assert_eq!(bench.completions.iter().filter(|(n, _)| *n >= 400).count(), 40, "{failure}");
    }
}
