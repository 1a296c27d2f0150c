//! What a fleet of a given size will meet: quotas, and how long it takes at the least. Computed, not asked.

use super::report::Report;
use crate::config::{Config, KeySource, Route};
use crate::core::settings::Limited;

/// How many parameters an account may write a second by default: a few, as far as is known; it can be raised.
const PUTS_A_SECOND: f64 = 3.0;

/// What one account and region may ask of SSM's parameters a second by default (GetParameter, GetParameters and the like together).
const READS_A_SECOND: f64 = 40.0;
/// The time-outs of hooks for which heartbeats are shown: the default, and a short one, in seconds.
const HEARTBEAT_TIMEOUTS: [f64; 2] = [3600.0, 60.0];

/// Something that launches cannot be faster than.
struct Floor {
    seconds: f64,
    what: String,
}

/// Says what the configured fleet will meet.
pub(super) fn check(config: &Config, report: &mut Report) {
    let Some(fleet) = config.fleet_size else {
        report.note("fleet", "fleet_size is not set (nor --fleet), so that nothing is said of quotas and of how long many launches take");
        return;
    };
    let about = format!("fleet of {fleet}");
    let nodes = f64::from(fleet);
    let mut floors = Vec::new();
    if config.routes.iter().any(|route| matches!(route.key, KeySource::Parameter { .. })) {
        let found = format!(
            "the instances' own writes take {} at the least: SSM takes about {PUTS_A_SECOND} PutParameter a second by default; its quota can be raised",
            minutes(nodes / PUTS_A_SECOND)
        );
        report.note(&about, found);
        floors.push(Floor { seconds: nodes / PUTS_A_SECOND, what: "the instances' own PutParameter".into() });
    }
    for route in &config.routes {
        floors.push(reads(route, nodes, &about, report));
        if let Some(rate) = route.max_rate {
            let found =
                format!("route {}: associations take {} at the least, at max_rate {rate} a second", route.name, minutes(nodes / rate));
            report.note(&about, found);
            floors.push(Floor { seconds: nodes / rate, what: format!("max_rate of route {}", route.name) });
        }
    }
    for (operation, rate) in &config.max_rates {
        let a_call = of_a_launch(*operation);
        if let Some(a_launch) = a_call {
            let seconds = nodes * a_launch / rate;
            report.note(&about, format!("{} takes {} at the least, at max_rate {rate} a second", operation.name(), minutes(seconds)));
            floors.push(Floor { seconds, what: format!("max_rate of {}", operation.name()) });
        }
    }
    calls(config, nodes, &about, report);
    heartbeats(config, nodes, &about, report);
    if let Some(longest) = floors.iter().max_by(|one, other| one.seconds.total_cmp(&other.seconds)) {
        let found = format!("{fleet} launches take {} at the least: {} bounds them", minutes(longest.seconds), longest.what);
        report.note(&about, found);
    }
    if config.max_open < fleet as usize {
        let found = format!("max_open is {}: those beyond it wait in the queue, and nobody sends heartbeats for them", config.max_open);
        report.warn(&about, found, format!("write max_open = {} or more, or run more workers", u64::from(fleet) + u64::from(fleet) / 10));
    }
}

fn reads(route: &Route, nodes: f64, about: &str, report: &mut Report) -> Floor {
    let a_call = f64::from(route.key_batch());
    let seconds = nodes / a_call / route.key_rate;
    let found = format!(
        "route {}: asking for every key once takes {} ({} reads a second of SSM's {READS_A_SECOND} by default, {a_call} a read), of a key_poll of {} s",
        route.name,
        minutes(seconds),
        route.key_rate,
        route.key_poll.as_secs_f64()
    );
    if route.key_rate > READS_A_SECOND {
        report.warn(about, found, "have SSM's quota raised, or write a smaller key_rate: others read there too");
    } else {
        report.note(about, found);
    }
    Floor { seconds, what: format!("key_rate of route {}", route.name) }
}

/// What the launches make of calls where nothing goes wrong: which quotas are met, and what is paid for.
fn calls(config: &Config, nodes: f64, about: &str, report: &mut Report) {
    let batch = config.routes.iter().map(|route| route.key_batch()).min().unwrap_or(1);
    let found = format!(
        "{nodes:.0} launches are about {nodes:.0} each of AssociateNode, DescribeNodeAssociationStatus (once more for each look that comes too early) and \
         CompleteLifecycleAction, {:.0} key reads, {:.0} DescribeAutoScalingInstances, {:.0} ReceiveMessage and as many DeleteMessageBatch; AWS publishes no \
         quota for the calls of Auto Scaling and OpsWorks CM: their pace is learned from throttling",
        (nodes / f64::from(batch)).ceil(),
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

/// How many calls of an operation one launch takes at the least, where every launch takes any.
const fn of_a_launch(operation: Limited) -> Option<f64> {
    match operation {
        Limited::CompleteLifecycleAction | Limited::DescribeNodeAssociationStatus => Some(1.0),
        Limited::DescribeAutoScalingInstances => Some(1.0 / 50.0),
        _ => None,
    }
}

fn minutes(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, parse};

    #[test]
    fn the_instances_own_writes_are_what_a_large_launch_meets_first() {
        let variables = [
            ("ENROLLD_FLEET_SIZE", "9000"),
            ("ENROLLD_MAX_OPEN", "5000"),
            ("ENROLLD_ROUTE_WEB__KEY_POLL", "9m"),
            ("ENROLLD_ROUTE_BATCH__KEY_POLL", "9m"),
        ];
        let environment: Environment = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let config = parse(include_str!("../../../deploy/enrolld.example.toml"), "example", &environment).unwrap();
        let mut report = Report::default();
        check(&config, &mut report);
        let text = report.to_string();
        assert!(text.contains("writes take 50 min at the least"), "{text}");
        assert!(text.contains("write max_open = 9900"), "{text}");
        assert!(text.contains("9000 launches take 50 min at the least: the instances' own PutParameter bounds them"), "{text}");
        assert!(text.contains("5.0 a second at a HeartbeatTimeout of 3600 s, 300.0 a second"), "{text}");
        assert!(report.passed());
    }

    #[test]
    fn a_users_own_limit_can_be_what_bounds_a_launch() {
        let variables = [
            ("ENROLLD_FLEET_SIZE", "50"),
            ("ENROLLD_MAX_RATE", "CompleteLifecycleAction=0.1,RecordLifecycleActionHeartbeat=0.01"),
            ("ENROLLD_ROUTE_WEB__KEY_POLL", "9m"),
        ];
        let environment: Environment = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let config = parse(include_str!("../../../deploy/enrolld.example.toml"), "example", &environment).unwrap();
        let mut report = Report::default();
        check(&config, &mut report);
        let text = report.to_string();
        assert!(text.contains("50 launches take 8 min at the least: max_rate of CompleteLifecycleAction bounds them"), "{text}");
        assert!(text.contains("max_rate allows 0.01"), "{text}");
    }
}
