//! From the file's tables to [`Config`]: which key is read as what.

use std::time::Duration;

use toml_span::{ErrorKind, Span, Value};

use super::keys;
use super::overrides::{self, Sorted, variable_name};
use super::problem::{Place, Problem, Refusal, one_line};
use super::reader::{Overrides, Section, Source};
use super::registrars::Kinds;
use super::route::Route;
use super::route_tables::{ReadRoute, read_route};
use super::rules::{self, QueueUrl};
use super::values::{checked, duration, name, one_of, rate, refused_name, seconds, show, switch, text, whole};
use super::{Audit, Config, Environment, LogFormat, reads, sense};
use crate::core::settings::Unmatched;
use crate::names::{AccountId, Region, shown};
use crate::retry::Schedule;

pub(super) const MILLIS: fn(u64) -> Duration = Duration::from_millis;
pub(super) const SECS: fn(u64) -> Duration = Duration::from_secs;
pub(super) const MINUTE: u64 = 60;
pub(super) const HOUR: u64 = 3600;

/// More routes than this are a mistake.
const MAX_ROUTES: usize = 1000;
/// The longest `call_timeout`: an instance was seen waiting not more than a minute before the request that associates it leaves, and that may be
/// at the end of the call. What is left is for the look itself, and for its turn.
const LONGEST_CALL: Duration = Duration::from_secs(50);

/// Reads everything; the problems are all that there are.
pub(super) fn read(text: &str, file: &str, environment: &Environment, kinds: Kinds) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let Sorted { top, routes } = overrides::sort(environment, &mut problems);
    let source = Source::new(file, text);
    let root = match toml_span::parse(text) {
        Ok(root) => root,
        Err(error) => {
            source.refuse(source.place(error.span), "", syntax(&error, &source));
            problems.extend(source.into_problems());
            return Err(problems);
        }
    };
    let section = Section::new(&source, "", keys::TOP, root.as_table(), source.place(Span::new(0, 0)), top);
    let config = read_top(&section, root.as_table().and_then(|table| table.get("route")), routes, &source, kinds);
    section.refuse_unknown(&["route"]);
    problems.extend(source.into_problems());
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

/// A mistake in the TOML itself.
fn syntax(error: &toml_span::Error, source: &Source<'_>) -> Refusal {
    let first = |first: Span| format!("write it once; it stands already at {}", source.place(first));
    let right = match &error.kind {
        ErrorKind::DuplicateKey { first: span, .. } | ErrorKind::DuplicateTable { first: span, .. } => first(*span),
        ErrorKind::DottedKeyInvalidType { first: span } => first(*span),
        ErrorKind::UnquotedString => "write the text in quotes".to_owned(),
        _ => "write TOML here, such as key = \"value\"".to_owned(),
    };
    // What the TOML reader says quotes the file as it is.
    Refusal::new(one_line(&error.to_string()), right)
}

fn read_top<'a>(
    top: &Section<'_, 'a>,
    routes: Option<&Value<'a>>,
    overrides: std::collections::BTreeMap<&str, Overrides<'_>>,
    source: &Source<'a>,
    kinds: Kinds,
) -> Option<Config> {
    let allow_plain_http = top.read("allow_plain_http", switch);
    let plain = allow_plain_http.unwrap_or(true);
    let queue_url = top.read("queue_url", checked(|url| QueueUrl::new(url, plain)));
    let dead_letter_queue_url = top.read_optional("dead_letter_queue_url", checked(|url| QueueUrl::new(url, plain)));
    let region = top.read_optional("region", name(Region::new));
    let accounts = top.read_each("accounts", |id| AccountId::new(id).map_err(refused_name));
    let regions = top.read_each("regions", |region| Region::new(region).map_err(refused_name));
    let unmatched = top.read("unmatched", one_of(&[("dead-letter", Unmatched::DeadLetter), ("ignore", Unmatched::Ignore)]));
    let max_open = top.read("max_open", whole(1..=120_000));
    let max_calls = top.read("max_calls", whole(2..=10_000));
    let max_polls = top.read("max_polls", whole(1..=64));
    let poll_wait = top.read("poll_wait", seconds(1..=20));
    let visibility_timeout = top.read("visibility_timeout", seconds(30..=12 * HOUR));
    let max_deliveries = top.read("max_deliveries", whole(1..=980));
    let patience = top.read("patience", duration(SECS(1)..=SECS(HOUR)));
    let shutdown_grace = top.read("shutdown_grace", duration(SECS(1)..=SECS(HOUR)));
    let connect_timeout = top.read("connect_timeout", duration(MILLIS(100)..=SECS(MINUTE)));
    let attempt_timeout = top.read("attempt_timeout", duration(MILLIS(100)..=SECS(5 * MINUTE)));
    let call_timeout = top.read("call_timeout", duration(MILLIS(100)..=LONGEST_CALL));
    let retry = schedule(top, "retry_initial", "retry_max", MILLIS(10)..=SECS(HOUR));
    let not_ready = schedule(top, "not_ready_initial", "not_ready_max", MILLIS(100)..=SECS(HOUR));
    let route_fault = schedule(top, "route_fault_initial", "route_fault_max", MILLIS(100)..=SECS(HOUR));
    let max_rates = top.read_each("max_rate", rules::max_rate).map(|limits| limits.into_iter().collect());
    let listen = top.read("listen", checked(rules::listen));
    let log = top.read("log", checked(rules::log_filter));
    let forms = &[("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)];
    let log_format = top.read("log_format", one_of(forms));
    let audit = top.read("audit", text).map(|target| match target.as_str() {
        "off" => Audit::Off,
        "stdout" => Audit::Stdout,
        path => Audit::File(path.into()),
    });
    let worker = top.read_optional("worker", checked(rules::worker));
    let ssm_read_quota = top.read("ssm_read_quota", rate(10_000.0));
    let fleet_size = top.read_optional("fleet_size", whole(1..=1_000_000));

    let mut read_routes = read_routes(top, routes, overrides, source, |section| read_route(section, kinds));
    sense::of_routes(&read_routes);

    let queue_url = queue_url?;
    let mut config = Config {
        region: region?.or_else(|| queue_url.region().cloned()),
        queue_url,
        dead_letter_queue_url: dead_letter_queue_url?,
        accounts: accounts?,
        regions: regions?,
        unmatched: unmatched?,
        max_open: max_open?,
        max_calls: max_calls?,
        max_polls: max_polls?,
        poll_wait: poll_wait?,
        visibility_timeout: visibility_timeout?,
        max_deliveries: max_deliveries?,
        patience: patience?,
        shutdown_grace: shutdown_grace?,
        connect_timeout: connect_timeout?,
        attempt_timeout: attempt_timeout?,
        call_timeout: call_timeout?,
        retry: retry?,
        not_ready: not_ready?,
        route_fault: route_fault?,
        max_rates: max_rates?,
        ssm_read_quota: ssm_read_quota?,
        listen: listen?,
        log: log?,
        log_format: log_format?,
        audit: audit?,
        worker: worker?.unwrap_or_else(default_worker),
        allow_plain_http: allow_plain_http?,
        fleet_size: fleet_size?,
        routes: Vec::new(),
    };
    reads::settle_rates(&config, &mut read_routes);
    config.routes = read_routes.iter().map(|read| read.route.clone()).collect::<Option<Vec<Route>>>().unwrap_or_default();
    sense::of_limits(top, &config);
    sense::of_places(top, &config, &read_routes);
    sense::of_parameters(&config, &read_routes);
    reads::of_fleet(&config, &read_routes);
    Some(config)
}

fn read_routes<'s, 'a>(
    top: &Section<'s, 'a>,
    routes: Option<&'s Value<'a>>,
    mut overrides: std::collections::BTreeMap<&str, Overrides<'s>>,
    source: &'s Source<'a>,
    read_one: impl Fn(Section<'s, 'a>) -> ReadRoute<'s, 'a>,
) -> Vec<ReadRoute<'s, 'a>> {
    let mut read = Vec::new();
    let example = "begin each route with [[route]] and give it a name, groups, a registrar and a key";
    let entries = routes.map(|value| (value, value.as_array().map(Vec::as_slice)));
    match entries {
        None => source.refuse(top.place_of("route"), "route", Refusal::new("there is no route", example)),
        Some((value, None)) => source.refuse(source.place(value.span), "route", Refusal::new("it is not a list of tables", example)),
        Some((value, Some([]))) => source.refuse(source.place(value.span), "route", Refusal::new("there is no route", example)),
        Some((value, Some(entries))) if entries.len() > MAX_ROUTES => {
            let wrong = format!("there are {} routes", entries.len());
            source.refuse(
                source.place(value.span),
                "route",
                Refusal::new(wrong, format!("write at most {MAX_ROUTES}; a glob takes many groups")),
            );
        }
        Some((_, Some(entries))) => {
            for (at, entry) in entries.iter().enumerate() {
                let place = source.place(entry.span);
                let Some(table) = entry.as_table() else {
                    source.refuse(place, format!("route.{}", at + 1), Refusal::new("it is not a table", example));
                    continue;
                };
                let named = table.get("name").and_then(Value::as_str);
                let path = named.map_or_else(|| format!("route.{}", at + 1), |name| format!("route.{}", printable(name)));
                let over = named.and_then(|name| overrides.remove(variable_name(name).as_str())).unwrap_or_default();
                read.push(read_one(Section::new(source, path, keys::ROUTE, Some(table), place, over)));
            }
        }
    }
    refuse_strangers(&overrides, &read, source);
    read
}

/// A route's name as part of a key: one that is not valid is cut and escaped.
fn printable(name: &str) -> String {
    let valid = rules::route_name(name).is_ok();
    if valid { name.to_owned() } else { shown(name) }
}

/// Variables for routes that are not there.
fn refuse_strangers(left: &std::collections::BTreeMap<&str, Overrides<'_>>, read: &[ReadRoute<'_, '_>], source: &Source<'_>) {
    let names = read.iter().filter_map(|route| route.name.as_deref()).collect::<Vec<_>>().join(", ");
    for (route, keys) in left {
        for (variable, _) in keys.values() {
            let wrong = format!("no route is called {}", shown(&route.to_lowercase().replace('_', "-")));
            let right = if names.is_empty() { "there are no routes with names".to_owned() } else { format!("the routes are {names}") };
            source.refuse(Place::Variable((*variable).to_owned()), "", Refusal::new(wrong, right));
        }
    }
}

/// Two keys that are the ends of one schedule of waits.
pub(super) fn schedule(section: &Section<'_, '_>, initial: &str, max: &str, range: std::ops::RangeInclusive<Duration>) -> Option<Schedule> {
    let first = section.read(initial, duration(range.clone()));
    let longest = section.read(max, duration(range));
    let (first, longest) = (first?, longest?);
    if first > longest {
        let right = format!("write {initial} at most as long as {max}");
        let name = if section.has(initial) { initial } else { max };
        section.refuse(name, Refusal::new(format!("{initial} ({}) is longer than {max} ({})", show(first), show(longest)), right));
        return None;
    }
    Some(Schedule::doubling(first, longest))
}

/// Host name and process id, in the characters that a role session's name may have.
fn default_worker() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).take(48).collect();
    let host = if host.is_empty() { "enrolld" } else { &host };
    format!("{host}-{}", std::process::id())
}
