//! What a fleet of a given size will meet: quotas, and how long it takes at the least. Computed, not asked.

use std::collections::BTreeSet;

use super::report::Report;
use crate::config::{Config, KeySource, Route};
use crate::core::settings::{DeleteKey, Limited};

/// How many parameters an account may write a second by default: a few, as far as is known; it can be raised.
const PUTS_A_SECOND: f64 = 3.0;

/// The time-outs of hooks for which heartbeats are shown: the default, and a short one, in seconds.
const HEARTBEAT_TIMEOUTS: [f64; 2] = [3600.0, 60.0];

/// Something that the launches of a route cannot be faster than.
struct Floor {
    seconds: f64,
    what: String,
    found: String,
    /// What to do about it, where somebody should look at it.
    remedy: Option<&'static str>,
}

/// Says what the configured fleet will meet.
pub(super) fn check(config: &Config, report: &mut Report) {
    let Some(fleet) = config.fleet_size else {
        report.note("fleet", "fleet_size is not set (nor --fleet), so that nothing is said of quotas and of how long many launches take");
        return;
    };
    let about = format!("fleet of {fleet}");
    let nodes = f64::from(fleet);
    // What bounds several routes alike is said once.
    let (mut said, mut bounds): (BTreeSet<String>, Vec<String>) = (BTreeSet::new(), Vec::new());
    for route in &config.routes {
        let floors = floors(config, route, nodes);
        if let Some(longest) = floors.iter().max_by(|one, other| one.seconds.total_cmp(&other.seconds)) {
            let (name, seconds) = (&route.name, minutes(longest.seconds));
            bounds.push(format!("{fleet} launches of route {name} take {seconds} at the least: {} bounds them", longest.what));
        }
        for floor in floors.into_iter().filter(|floor| said.insert(floor.found.clone())) {
            match floor.remedy {
                Some(remedy) => report.warn(&about, floor.found, remedy),
                None => report.note(&about, floor.found),
            }
        }
    }
    calls(config, nodes, &about, report);
    heartbeats(config, nodes, &about, report);
    bounds.into_iter().for_each(|bound| report.note(&about, bound));
    if config.max_open < fleet as usize {
        let found = format!("max_open is {}: those beyond it wait in the queue, and nobody sends heartbeats for them", config.max_open);
        report.warn(&about, found, format!("write max_open = {} or more, or run more workers", u64::from(fleet) + u64::from(fleet) / 10));
    }
}

/// All that so many launches of a route cannot be faster than.
fn floors(config: &Config, route: &Route, nodes: f64) -> Vec<Floor> {
    let reads = matches!(route.key, KeySource::Parameter { .. }).then(|| reads(config, route, nodes));
    let orders = route.max_rate.map(|rate| {
        let seconds = nodes / rate;
        let found = format!("route {}: associations take {} at the least, at max_rate {rate} a second", route.name, minutes(seconds));
        Floor { seconds, what: format!("max_rate of route {}", route.name), found, remedy: None }
    });
    let limited = config.max_rates.iter().filter_map(|(operation, rate)| {
        let (name, seconds) = (operation.name(), nodes * of_a_launch(*operation, route)? / rate);
        let found = format!("{name} takes {} at the least, at max_rate {rate} a second", minutes(seconds));
        Some(Floor { seconds, what: format!("max_rate of {name}"), found, remedy: None })
    });
    writes(route, nodes).into_iter().chain(reads).chain(orders).chain(limited).collect()
}

/// What is put into parameters, by the instances themselves and by enrolld: all of it is of one quota.
fn writes(route: &Route, nodes: f64) -> Option<Floor> {
    let (own, certificates) = (matches!(route.key, KeySource::Parameter { .. }), route.certificate_parameter.is_some());
    let (who, what) = match (own, certificates) {
        (false, false) => return None,
        (true, false) => ("the instances' own writes", "the instances' own PutParameter"),
        (false, true) => ("the writes of certificates", "PutParameter of the certificates"),
        (true, true) => ("the instances' own writes and those of certificates", "PutParameter, of the instances and of their certificates"),
    };
    let seconds = nodes * f64::from(u8::from(own) + u8::from(certificates)) / PUTS_A_SECOND;
    let found = format!(
        "{who} take {} at the least: SSM takes about {PUTS_A_SECOND} PutParameter a second by default; its quota can be raised",
        minutes(seconds)
    );
    Some(Floor { seconds, what: what.to_owned(), found, remedy: None })
}

fn reads(config: &Config, route: &Route, nodes: f64) -> Floor {
    let (a_call, quota) = (f64::from(route.key_batch()), config.ssm_read_quota);
    let seconds = nodes / a_call / config.reads_a_second(route);
    let found = format!(
        "route {}: asking for every key once takes {} ({} reads a second of the {quota} of ssm_read_quota, {a_call} a read), of a key_poll of {} s",
        route.name,
        minutes(seconds),
        route.key_rate,
        route.key_poll.as_secs_f64()
    );
    let over = route.key_rate > quota;
    let (what, remedy) = match over {
        true => ("ssm_read_quota".to_owned(), Some("have SSM's quota raised, or write a smaller key_rate: others read there too")),
        false => (format!("key_rate of route {}", route.name), None),
    };
    Floor { seconds, what, found, remedy }
}

/// What the launches make of calls where nothing goes wrong: which quotas are met, and what is paid for.
fn calls(config: &Config, nodes: f64, about: &str, report: &mut Report) {
    let reads = |route: &&Route| matches!(route.key, KeySource::Parameter { .. });
    let batch = config.routes.iter().filter(reads).map(Route::key_batch).min();
    let read = batch.map(|batch| format!("{:.0} key reads", (nodes / f64::from(batch)).ceil()));
    let sent = config
        .routes
        .iter()
        .any(|route| !reads(&route))
        .then(|| format!("{:.0} SendCommand and {nodes:.0} GetCommandInvocation", (nodes / 50.0).ceil()));
    let keys = read.into_iter().chain(sent).collect::<Vec<_>>().join(" or ");
    let found = format!(
        "{nodes:.0} launches are about {nodes:.0} each of AssociateNode, DescribeNodeAssociationStatus (once more for each look that comes too early) and \
         CompleteLifecycleAction, {keys}, {:.0} DescribeAutoScalingInstances, {:.0} ReceiveMessage and as many DeleteMessageBatch; AWS publishes no \
         quota for the calls of Auto Scaling, OpsWorks CM and Run Command: their pace is learned from throttling",
        (nodes / 50.0).ceil(),
        (nodes / 10.0).ceil()
    );
    report.note(about, found);
}

/// Heartbeats cannot be batched, and are sent at half the hook's time-out while a launch waits.
fn heartbeats(config: &Config, nodes: f64, about: &str, report: &mut Report) {
    let shown = HEARTBEAT_TIMEOUTS.map(|timeout| format!("{:.1} a second at a HeartbeatTimeout of {timeout} s", nodes / (timeout / 2.0)));
    let found = format!("while they wait for a server they take heartbeats: {}", shown.join(", "));
    let limit = config.max_rates.get(&Limited::RecordLifecycleActionHeartbeat);
    match limit.filter(|limit| **limit < nodes / (HEARTBEAT_TIMEOUTS[0] / 2.0)) {
        Some(limit) => {
            let found = format!("{found}; max_rate allows {limit}");
            report.warn(about, found, "write a higher max_rate for RecordLifecycleActionHeartbeat, or give the hooks more time");
        }
        None => report.note(about, found),
    }
}

/// How many calls of an operation one launch of the route takes at the least, where it takes any.
fn of_a_launch(operation: Limited, route: &Route) -> Option<f64> {
    let document = matches!(route.key, KeySource::RunCommand { .. });
    match operation {
        Limited::CompleteLifecycleAction => Some(1.0),
        Limited::DescribeAutoScalingInstances => Some(1.0 / 50.0),
        // A server of one's own may have done it when it answers.
        Limited::DescribeNodeAssociationStatus => route.registrar.is_counted_by_aws().then_some(1.0),
        Limited::SendCommand => document.then_some(1.0 / 50.0),
        Limited::GetCommandInvocation => document.then_some(1.0),
        Limited::PutParameter => route.certificate_parameter.as_ref().map(|_| 1.0),
        Limited::DeleteParameters => (route.delete_key == DeleteKey::OnSuccess).then_some(1.0 / 10.0),
        Limited::DescribeLifecycleHooks | Limited::DescribeScalingActivities | Limited::RecordLifecycleActionHeartbeat => None,
    }
}

fn minutes(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, parse};

    fn said(variables: &[(&str, &str)]) -> String {
        let environment: Environment = variables.iter().map(|(name, value)| (format!("ENROLLD_{name}"), (*value).to_owned())).collect();
        let config = parse(include_str!("../../../deploy/enrolld.example.toml"), "example", &environment).unwrap();
        let mut report = Report::default();
        check(&config, &mut report);
        assert!(report.passed());
        report.to_string()
    }

    #[test]
    fn the_instances_own_writes_are_what_a_large_launch_meets_first() {
        let text = said(&[("FLEET_SIZE", "9000"), ("MAX_OPEN", "5000"), ("ROUTE_WEB__KEY_POLL", "9m")]);
        assert!(text.contains("writes take 50 min at the least"), "{text}");
        assert!(text.contains("write max_open = 9900"), "{text}");
        assert!(
            text.contains("9000 launches of route web take 50 min at the least: the instances' own PutParameter bounds them"),
            "{text}"
        );
        assert!(text.contains("5.0 a second at a HeartbeatTimeout of 3600 s, 300.0 a second"), "{text}");
    }

    #[test]
    fn a_users_own_limit_can_be_what_bounds_a_launch() {
        let limits = "CompleteLifecycleAction=0.1,RecordLifecycleActionHeartbeat=0.01";
        let text = said(&[("FLEET_SIZE", "50"), ("MAX_RATE", limits), ("ROUTE_WEB__KEY_POLL", "9m")]);
        for route in ["web", "batch"] {
            let bound = format!("50 launches of route {route} take 8 min at the least: max_rate of CompleteLifecycleAction bounds them");
            assert!(text.contains(&bound), "{text}");
        }
        assert!(text.contains("max_rate allows 0.01"), "{text}");
    }

    #[test]
    fn what_a_document_prints_is_held_to_the_limits_of_run_command_and_to_none_of_parameters() {
        let text = said(&[("FLEET_SIZE", "9000"), ("ROUTE_WEB__KEY_POLL", "9m")]);
        assert!(!text.contains("route batch"), "nothing that is known bounds it: {text}");
        assert!(text.contains("9000 key reads or 180 SendCommand and 9000 GetCommandInvocation"), "{text}");
        for (limit, minutes, operation) in
            [("SendCommand=0.1", "30 min", "SendCommand"), ("GetCommandInvocation=5", "30 min", "GetCommandInvocation")]
        {
            let text = said(&[("FLEET_SIZE", "9000"), ("ROUTE_WEB__KEY_POLL", "9m"), ("MAX_RATE", limit)]);
            assert!(text.contains(&format!("{operation} takes {minutes} at the least")), "{text}");
            assert!(text.contains(&format!("of route batch take {minutes} at the least: max_rate of {operation} bounds them")), "{text}");
            assert!(text.contains("of route web take 50 min at the least: the instances' own PutParameter bounds them"), "{text}");
        }
    }

    #[test]
    fn certificates_are_written_beside_what_the_instances_write() {
        let certificate = ("ROUTE_BATCH__CERTIFICATE_PARAMETER", "/enrolld/{instance_id}/certificate");
        let text = said(&[("FLEET_SIZE", "900"), ("ROUTE_WEB__KEY_POLL", "9m"), certificate, ("MAX_RATE", "PutParameter=1")]);
        assert!(text.contains("the writes of certificates take 5 min at the least"), "{text}");
        assert!(text.contains("900 launches of route batch take 15 min at the least: max_rate of PutParameter bounds them"), "{text}");
    }

    #[test]
    fn reads_are_not_reckoned_faster_than_the_quota_gives_them() {
        let text = said(&[("FLEET_SIZE", "4000"), ("ROUTE_WEB__KEY_POLL", "9m"), ("ROUTE_WEB__KEY_RATE", "100"), ("SSM_READ_QUOTA", "10")]);
        assert!(
            text.contains("WARN") && text.contains("asking for every key once takes 7 min (100 reads a second of the 10 of ssm_read_quota"),
            "{text}"
        );
    }
}
