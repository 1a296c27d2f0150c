//! The line that a worker writes each minute, as the deployments' metric filters read it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use enrolld::simulator::model::agent::AgentOptions;
use enrolld::simulator::model::faults::{Effect, Fault};
use enrolld::simulator::model::fixture::Fixture;
use serde_json::Value;

use crate::plan::{BEGIN, Deed, Plan};
use crate::run;
use crate::stage::Tracing;

/// A route whose server cannot be found: one launch is abandoned for that, the others are held.
const CONFIG: &str = r#"
queue_url = "http://127.0.0.1:4599/123456789012/enrolld-lifecycle"
region = "eu-central-1"
worker = "fleet"
listen = "off"
shutdown_grace = "2s"

[[route]]
name = "web"
groups = ["web-*"]
registrar = { kind = "opsworks-cm", server = "prod-chef", engine = "chef" }
key = { parameter = "/enrolld/{instance_id}/public-key", owner_role = "arn:aws:iam::123456789012:role/enrolld-node" }
timeout = "2m"
max_abandons = 1
"#;
const MINUTE: u64 = 60_000;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One worker, three launches, and a server that is not there for eight minutes.
fn plan() -> Plan {
    let effect = Effect::Error { status: 400, code: Some("ResourceNotFoundException".into()), message: None };
    let gone =
        Fault { id: None, operation: "opsworks-cm:*".into(), effect, probability: 1.0, limit: None, after_ms: 0, for_ms: Some(8 * MINUTE) };
    let launch = Deed::Launch { group: 0, agent: AgentOptions::default(), into_pool: false };
    Plan {
        seed: 1,
        workers: 1,
        off_ms: vec![0],
        config: CONFIG.into(),
        grace_ms: 2_000,
        fixture: Fixture { faults: vec![gone], ..Fixture::standard() },
        script: vec![(BEGIN, launch.clone()), (BEGIN, launch.clone()), (BEGIN, launch)],
        calm_at: BEGIN + 12 * MINUTE,
        may_abandon: true,
        certificates: false,
        refuses: false,
    }
}

/// A metric of the service's template: the fields that a line must have, and what is counted of it.
struct Filter {
    wanted: Vec<(String, String)>,
    value: String,
}

/// The metric filters of the template, by the names of their metrics.
fn filters() -> BTreeMap<String, Filter> {
    let template = include_str!("../../deploy/cloudformation/daemon-ecs.yaml");
    let filter = |rest: &str| {
        let (pattern, rest) = rest.split_once('\'').expect("the pattern ends");
        let terms = pattern.trim_matches(['{', '}', ' ']).split(" && ");
        let wanted = terms.map(|term| {
            let (field, value) = term.split_once(" = ").expect("a field and its value");
            (field.strip_prefix("$.").expect("a field").to_owned(), value.trim_matches('"').to_owned())
        });
        let after = |word: &str| rest.split_once(word).and_then(|(_, rest)| rest.split([',', ' ']).next()).expect("it is there").to_owned();
        (after("MetricName: "), Filter { wanted: wanted.collect(), value: after("MetricValue: ") })
    };
    template.split("FilterPattern: '").skip(1).map(filter).collect()
}

impl Filter {
    /// What it makes of each line, as CloudWatch would.
    fn values(&self, lines: &[Value]) -> Vec<u64> {
        let fits = |line: &&Value| self.wanted.iter().all(|(field, value)| line[field] == value.as_str());
        let value = |line: &Value| match self.value.strip_prefix("$.") {
            Some(field) => line[field].as_u64().expect("a number in each line"),
            None => self.value.trim_matches('"').parse().expect("a number"),
        };
        lines.iter().filter(fits).map(value).collect()
    }
}

#[test]
fn a_worker_says_each_minute_what_is_open_held_and_abandoned_and_the_metric_filters_read_it() {
    let paper = Paper::default();
    let writer = paper.clone();
    let log = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    // While there is but one subscriber, tracing asks that of the present thread whether a line is wanted, and remembers the answer for all:
    // the other tests' threads have none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let outcome = tracing::subscriber::with_default(log, || run::run(&plan(), Tracing::Off));
    assert!(outcome.wrong.is_empty(), "{:?}", outcome.wrong);

    let written = paper.0.lock().expect("nobody panics with it");
    let written = String::from_utf8_lossy(&written);
    let lines: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    let alive: Vec<&Value> = lines.iter().filter(|line| line["event"] == "alive").collect();
    assert_eq!(alive.len() as u64, outcome.took_ms / MINUTE, "one for each whole minute of {} ms", outcome.took_ms);
    let numbers = |field: &str| -> Vec<u64> { alive.iter().map(|line| line[field].as_u64().expect("a number in each line")).collect() };
    let (open, held, abandoned) = (numbers("open"), numbers("held"), numbers("abandoned"));
    assert_eq!(open[0], 3, "{open:?}");
    assert!(held.iter().any(|held| *held > 0), "{held:?}");
    assert_eq!((open.last(), held.last()), (Some(&0), Some(&0)), "in the end all are in service: {open:?}, {held:?}");
    let actions = outcome.state.details.expect("the long lists were asked for").actions;
    let ended = actions.iter().filter(|action| action.result.as_deref() == Some("ABANDON")).count();
    assert!(ended > 0, "{:?}", outcome.reasons);
    assert_eq!(abandoned.iter().sum::<u64>(), ended as u64, "each is counted once: {abandoned:?}");

    let metrics: BTreeMap<String, Vec<u64>> = filters().into_iter().map(|(name, filter)| (name, filter.values(&lines))).collect();
    assert_eq!(metrics["Alive"], vec![1; alive.len()]);
    assert_eq!((&metrics["Open"], &metrics["Held"]), (&open, &held));
    assert_eq!(metrics["Abandoned"], vec![1; ended], "each has a line of its own");
}
