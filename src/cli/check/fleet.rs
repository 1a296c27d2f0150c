//! What a fleet of a given size will meet: quotas, and how long it takes at the least. Computed, not asked.

use super::report::Report;
use crate::config::{Config, KeySource, Route};

/// How many parameters an account may write a second by default: a few, as far as is known; it can be raised.
const PUTS_A_SECOND: f64 = 3.0;

/// Says what the configured fleet will meet.
pub(super) fn check(config: &Config, report: &mut Report) {
    let Some(fleet) = config.fleet_size else {
        report.note("fleet", "fleet_size is not set, so that nothing is said of quotas and of how long many launches take");
        return;
    };
    let about = format!("fleet of {fleet}");
    let nodes = f64::from(fleet);
    if config.routes.iter().any(|route| matches!(route.key, KeySource::Parameter { .. })) {
        let found = format!(
            "the instances' own writes take {} at the least: SSM takes about {PUTS_A_SECOND} PutParameter a second by default; its quota can be raised",
            minutes(nodes / PUTS_A_SECOND)
        );
        report.note(&about, found);
    }
    for route in &config.routes {
        reads(route, nodes, &about, report);
        if let Some(rate) = route.max_rate {
            let found =
                format!("route {}: associations take {} at the least, at max_rate {rate} a second", route.name, minutes(nodes / rate));
            report.note(&about, found);
        }
    }
    if config.max_open < fleet as usize {
        let found = format!("max_open is {}: those beyond it wait in the queue, and nobody sends heartbeats for them", config.max_open);
        report.warn(&about, found, format!("write max_open = {} or more, or run more workers", u64::from(fleet) + u64::from(fleet) / 10));
    }
}

fn reads(route: &Route, nodes: f64, about: &str, report: &mut Report) {
    let a_call = f64::from(route.key_batch());
    let found = format!(
        "route {}: asking for every key once takes {} ({} reads a second, {a_call} a read), of a key_poll of {} s",
        route.name,
        minutes(nodes / a_call / route.key_rate),
        route.key_rate,
        route.key_poll.as_secs_f64()
    );
    report.note(about, found);
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
            ("ENROLLD_ROUTE_WEB__KEY_POLL", "8m"),
            ("ENROLLD_ROUTE_BATCH__KEY_POLL", "8m"),
        ];
        let environment: Environment = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let config = parse(include_str!("../../../deploy/enrolld.example.toml"), "example", &environment).unwrap();
        let mut report = Report::default();
        check(&config, &mut report);
        let text = report.to_string();
        assert!(text.contains("writes take 50 min at the least"), "{text}");
        assert!(text.contains("write max_open = 9900"), "{text}");
        assert!(report.passed());
    }
}
