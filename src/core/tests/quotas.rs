//! Quotas are of an account and region: several routes, servers and roles there keep to a limit together, learn together, and take turns.

use wildmatch::WildMatch;

use super::bench::{Bench, settings};
use crate::core::call::{Call, RouteId, ScopeId, ServerId};
use crate::core::observation::{Observation, Outcome};
use crate::core::settings::{KeySource, Limited, Route, Settings};
use crate::names::{AccountId, Region};
use crate::retry::{Class, Failure};

/// The groups, each with a route and a server of its own. The last is in another region.
const GROUPS: [&str; 4] = ["web", "api", "role", "far"];
const FAR: u16 = 3;

/// Two routes of the worker's own, one with a role in the same account, and one in another region.
fn world() -> Settings {
    let mut settings = settings();
    settings.own_account = Some(AccountId::new("123456789012").unwrap());
    let route = |(at, group): (u16, &str)| Route {
        name: group.to_owned(),
        groups: vec![WildMatch::new(group)],
        scope: ScopeId(at.saturating_sub(1)),
        account: (group == "role").then(|| AccountId::new("123456789012").unwrap()),
        region: Some(Region::new(if at == FAR { "us-east-1" } else { "eu-central-1" }).unwrap()),
        server: ServerId(at),
        ..settings.routes[0].clone()
    };
    settings.routes = (0..).zip(GROUPS).map(route).collect();
    settings
}

/// Whether a call is asked in the other region; none where it does not matter.
fn is_far(call: &Call) -> Option<bool> {
    Some(match call {
        Call::DescribeInstances { scope, .. } | Call::Heartbeat { scope, .. } | Call::Complete { scope, .. } => *scope == ScopeId(FAR - 1),
        Call::FetchKeys { route, .. }
        | Call::SendCommand { route, .. }
        | Call::FetchOutput { route, .. }
        | Call::Associate { route, .. }
        | Call::AssociationStatus { route, .. } => *route == RouteId(FAR),
        _ => return None,
    })
}

/// The most in any one second.
fn most_in_a_second(mut times: Vec<u64>) -> usize {
    times.sort_unstable();
    times.iter().enumerate().map(|(first, from)| times[first..].partition_point(|at| *at < from + 1000)).max().unwrap_or(0)
}

/// When the calls of an operation arrived, here or in the other region.
fn arrivals(bench: &Bench, operation: &str, far: bool, takes: impl Fn(u64) -> u64) -> Vec<u64> {
    let calls = bench.made.iter().filter(|(_, call)| call.operation() == operation && is_far(call) == Some(far));
    calls.map(|(at, _)| at + takes(*at)).collect()
}

fn launch_everywhere(bench: &mut Bench, each: u32) {
    for n in 0..each * 4 {
        bench.launch_in(n, GROUPS[(n % 4) as usize]);
    }
}

#[test]
fn the_routes_and_roles_of_an_account_and_region_never_exceed_a_limit_together() {
    const OPERATIONS: [&str; 7] = [
        "CompleteLifecycleAction",
        "RecordLifecycleActionHeartbeat",
        "DescribeAutoScalingInstances",
        "AssociationStatus",
        "Associate",
        "GetParameters",
        "GetCommandInvocation",
    ];
    for (limit, document) in [(3.0, false), (5.0, true)] {
        let mut settings = world();
        for operation in Limited::ALL {
            settings.max_rates.insert(*operation, limit);
        }
        for (at, route) in settings.routes.iter_mut().enumerate() {
            (route.max_rate, route.key_rate) = (Some(limit), limit);
            match &mut route.key {
                key if document => *key = KeySource::RunCommand,
                // One that asks for the owner is under the same limit.
                KeySource::Parameter { batch, .. } => *batch = if at == 1 { 1 } else { 10 },
                KeySource::RunCommand => {}
            }
        }
        let mut bench = Bench::new(settings);
        (bench.in_progress, bench.heartbeat_timeout_s) = (true, 20);
        launch_everywhere(&mut bench, 40);
        // Some calls are long on their way.
        let takes = |at: u64| if (at.saturating_sub(1) / 100) % 7 == 3 { 180 } else { 5 };
        for tenth in 0..3_000 {
            for operation in bench.made.iter().map(|(_, call)| call.operation()).collect::<std::collections::BTreeSet<_>>() {
                bench.slow.insert(operation, takes(tenth * 100 + 1));
            }
            OPERATIONS.iter().for_each(|operation| _ = bench.slow.insert(operation, takes(tenth * 100 + 1)));
            bench.run_for(100);
        }
        assert_eq!(bench.outcomes(), [Outcome::Enrolled; 160]);
        for operation in OPERATIONS {
            let [home, far] = [false, true].map(|far| arrivals(&bench, operation, far, takes));
            let skipped = if document { operation == "GetParameters" } else { operation == "GetCommandInvocation" };
            assert_eq!(home.is_empty(), skipped, "{operation}");
            let most = [home.clone(), far.clone()].map(|times| most_in_a_second(times) as f64);
            assert!(most.iter().all(|most| *most <= limit), "{operation}: {most:?} in a second of the {limit} that are allowed");
        }
        let associations = [false, true].map(|far| arrivals(&bench, "Associate", far, takes)).concat();
        assert!(most_in_a_second(associations) as f64 > limit, "the other region has it to itself");
    }
}

#[test]
fn those_who_share_a_limit_take_turns() {
    let mut settings = world();
    settings.max_rates.insert(Limited::CompleteLifecycleAction, 2.0);
    let mut bench = Bench::new(settings);
    for n in 0..120 {
        bench.launch_in(n, if n < 60 { "web" } else { "role" });
    }
    bench.run_for(30_000);
    let of_role = bench.completions.iter().filter(|(n, _)| *n >= 60).count();
    let of_web = bench.completions.len() - of_role;
    assert!(of_web.abs_diff(of_role) <= 6 && of_role > 20, "{of_web} and {of_role} were completed");
}

#[test]
fn servers_that_share_a_limit_take_turns_and_none_waits_for_the_others_end() {
    let mut settings = world();
    settings.routes.iter_mut().for_each(|route| route.max_rate = Some(3.0));
    let mut bench = Bench::settled(settings);
    for n in 0..90 {
        bench.launch_in(n, GROUPS[(n / 30) as usize]);
    }
    bench.run_for(20_000);
    let of = |route: u16| bench.made.iter().filter(|(_, call)| matches!(call, Call::Associate { route: of, .. } if of.0 == route)).count();
    let each = [0, 1, 2].map(of);
    assert!(each.iter().all(|count| (15..=22).contains(count)), "{each:?}");
}

/// How many associations are sent within ten seconds after all were throttled for five, by so many servers.
fn sent_after_a_throttle(servers: u32, counted_by_aws: bool) -> usize {
    let mut settings = world();
    settings.routes.iter_mut().for_each(|route| route.counted_by_aws = counted_by_aws);
    let mut bench = Bench::settled(settings);
    bench.faults.insert("Associate", Failure::new(Class::Throttled, "ThrottlingException", "Rate exceeded"));
    for n in 0..600 {
        bench.launch_in(n, GROUPS[(n % servers) as usize]);
    }
    bench.run_for(5_000);
    bench.faults.clear();
    let before = bench.count("Associate");
    bench.run_for(10_000);
    bench.count("Associate") - before
}

#[test]
fn what_one_server_of_an_account_learns_from_a_throttle_all_have_learned() {
    let [one, three] = [1, 3].map(|servers| sent_after_a_throttle(servers, true));
    assert!(one > 0 && three.abs_diff(one) <= one / 5 + 1, "{one} by one server, {three} by three");
    let own = sent_after_a_throttle(3, false);
    assert!(own > 2 * one, "{own} by three of one's own, each of which learns for itself, and {one} by one");
}

#[test]
fn a_server_that_comes_back_is_let_through_by_a_ramp_and_holds_up_no_other() {
    let mut bench = Bench::new(world());
    bench.away = Some(RouteId(0));
    for n in 0..400 {
        bench.launch_in(n, "web");
    }
    bench.run_for(60_000);
    bench.away = None;
    while !bench.observations.iter().any(|seen| matches!(seen, Observation::ServerReady { .. })) {
        bench.run_for(10);
    }
    let opened = bench.now();
    for n in 400..800 {
        bench.launch_in(n, "api");
    }
    bench.run_for(60_000);
    let within = |route: u16, ms: u64| {
        let of = |call: &Call| matches!(call, Call::Associate { route: of, .. } if of.0 == route);
        bench.made.iter().filter(|(at, call)| of(call) && (opened..opened + ms).contains(at)).count()
    };
    assert!((10..=40).contains(&within(0, 1_000)), "{} in the first second of the server that came back", within(0, 1_000));
    assert!(within(0, 4_000) > 200, "{} in its first four", within(0, 4_000));
    assert!(within(1, 1_000) >= 150, "{} in the first second of the other", within(1, 1_000));
    assert_eq!(bench.outcomes().len(), 800);
}

/// How often an association's status is asked after, and how late its end is seen, on average once the server has been learned anew.
fn looks_and_lateness(bench: &mut Bench, takes_ms: u64) -> (f64, f64) {
    const EACH: u32 = 40;
    bench.association_ms = takes_ms;
    let (mut looks, mut late) = (0, 0);
    let first = u32::try_from(bench.outcomes().len()).unwrap() + 1;
    for n in first..first + EACH {
        let (asked, began) = (bench.count("AssociationStatus"), bench.now());
        bench.launch(n);
        while bench.count("CompleteLifecycleAction") < n as usize {
            bench.run_for(20);
        }
        if n >= first + EACH / 2 {
            looks += bench.count("AssociationStatus") - asked;
            late += bench.now() - began - takes_ms;
        }
        bench.run_for(2_000);
    }
    (looks as f64 / f64::from(EACH / 2), late as f64 / f64::from(EACH / 2))
}

#[test]
fn how_long_a_servers_associations_take_is_learned_and_learned_anew() {
    let mut bench = Bench::new(settings());
    bench.in_progress = true;
    for takes_ms in [8_000, 500, 3_000] {
        let (looks, late) = looks_and_lateness(&mut bench, takes_ms);
        assert!((1.0..=3.0).contains(&looks) && late <= 1_500.0, "{takes_ms} ms: {looks} looks, seen {late} ms late");
    }
}
