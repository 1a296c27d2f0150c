//! From the file's tables to [`Config`]: which key is read as what.

use std::time::Duration;

use toml_span::{ErrorKind, Span, Value};

use super::keys;
use super::overrides::{self, Sorted, variable_name};
use super::problem::{Place, Problem, Refusal};
use super::reader::{Overrides, Section, Source};
use super::route::{AllowedExtension, Engine, KeySource, Owner, Registrar, Route, Scope};
use super::rules::{self, QueueUrl, RoleArn};
use super::values::{checked, duration, name, one_of, rate, refused_name, seconds, show, switch, template, text, whole};
use super::{Audit, Config, Environment, LogFormat, sense};
use crate::core::settings::{DeleteKey, OnFailure, Unmatched};
use crate::names::{AccountId, Region, shown};
use crate::retry::Schedule;

const MILLIS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;
const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// The document whose sending is root on every instance in scope.
const SHELL_DOCUMENT: &str = "AWS-RunShellScript";

/// More routes than this are a mistake.
const MAX_ROUTES: usize = 1000;

/// A route as it was read, with the section it came from, for what concerns several routes.
pub(super) struct ReadRoute<'s, 'a> {
    pub(super) section: Section<'s, 'a>,
    pub(super) name: Option<String>,
    pub(super) groups: Option<Vec<String>>,
    pub(super) route: Option<Route>,
}

/// Reads everything; the problems are all that there are.
pub(super) fn read(text: &str, file: &str, environment: &Environment) -> Result<Config, Vec<Problem>> {
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
    let config = read_top(&section, root.as_table().and_then(|table| table.get("route")), routes, &source);
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
    Refusal::new(error.to_string(), right)
}

fn read_top<'a>(
    top: &Section<'_, 'a>,
    routes: Option<&Value<'a>>,
    overrides: std::collections::BTreeMap<&str, Overrides<'_>>,
    source: &Source<'a>,
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
    let max_calls = top.read("max_calls", whole(1..=10_000));
    let max_polls = top.read("max_polls", whole(1..=64));
    let poll_wait = top.read("poll_wait", seconds(0..=20));
    let visibility_timeout = top.read("visibility_timeout", seconds(30..=12 * HOUR));
    let max_deliveries = top.read("max_deliveries", whole(1..=980));
    let patience = top.read("patience", duration(SECS(1)..=SECS(HOUR)));
    let shutdown_grace = top.read("shutdown_grace", duration(SECS(1)..=SECS(HOUR)));
    let connect_timeout = top.read("connect_timeout", duration(MILLIS(100)..=SECS(MINUTE)));
    let attempt_timeout = top.read("attempt_timeout", duration(MILLIS(100)..=SECS(5 * MINUTE)));
    let call_timeout = top.read("call_timeout", duration(MILLIS(100)..=SECS(HOUR)));
    let retry = schedule(top, "retry_initial", "retry_max", MILLIS(10)..=SECS(HOUR));
    let not_ready = schedule(top, "not_ready_initial", "not_ready_max", MILLIS(100)..=SECS(HOUR));
    let route_fault = schedule(top, "route_fault_initial", "route_fault_max", MILLIS(100)..=SECS(HOUR));
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
    let fleet_size = top.read_optional("fleet_size", whole(1..=1_000_000));

    let read_routes = read_routes(top, routes, overrides, source);
    sense::of_routes(&read_routes);
    let routes: Option<Vec<Route>> = read_routes.iter().map(|read| read.route.clone()).collect();

    let queue_url = queue_url?;
    let config = Config {
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
        listen: listen?,
        log: log?,
        log_format: log_format?,
        audit: audit?,
        worker: worker?.unwrap_or_else(default_worker),
        allow_plain_http: allow_plain_http?,
        fleet_size: fleet_size?,
        routes: routes.unwrap_or_default(),
    };
    sense::of_limits(top, &config);
    sense::of_places(top, &config, &read_routes);
    sense::of_fleet(&config, &read_routes);
    Some(config)
}

fn read_routes<'s, 'a>(
    top: &Section<'s, 'a>,
    routes: Option<&'s Value<'a>>,
    mut overrides: std::collections::BTreeMap<&str, Overrides<'s>>,
    source: &'s Source<'a>,
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
                read.push(read_route(Section::new(source, path, keys::ROUTE, Some(table), place, over)));
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

fn read_route<'s, 'a>(section: Section<'s, 'a>) -> ReadRoute<'s, 'a> {
    let name = section.read("name", checked(rules::route_name));
    if matches!(section.place_of("name"), Place::Variable(_)) {
        section.refuse("name", Refusal::new("a variable cannot rename the route that it is named after", "write the name in the file"));
    }
    let groups = section.read_each("groups", rules::group_pattern);
    if groups.as_ref().is_some_and(Vec::is_empty) {
        section.refuse("groups", Refusal::new("the list is empty", "name at least one group, such as [\"web-*\"]"));
    }
    let route = read_rest(&section, name.clone(), groups.clone());
    section.refuse_unknown(&[]);
    ReadRoute { section, name, groups, route }
}

fn read_rest(section: &Section<'_, '_>, name_of_route: Option<String>, groups: Option<Vec<String>>) -> Option<Route> {
    let scope = read_scope(section);
    let registrar = section.table("registrar", keys::OPSWORKS_CM).and_then(|table| {
        let registrar = read_registrar(&table);
        table.refuse_unknown(&[]);
        registrar
    });
    let key = section.table("key", keys::KEY).and_then(|table| {
        let key = read_key(&table);
        table.refuse_unknown(&[]);
        key
    });
    let node_name = section.read("node_name", |given| template(given).and_then(rules::node_name));
    let key_poll = section.read("key_poll", duration(MILLIS(100)..=SECS(10 * MINUTE)));
    let key_rate = section.read("key_rate", rate(10_000.0));
    let status_poll = schedule(section, "status_poll_initial", "status_poll_max", MILLIS(10)..=SECS(10 * MINUTE));
    let timeout = section.read("timeout", duration(SECS(1)..=SECS(48 * HOUR)));
    let on_failure = section.read("on_failure", one_of(&[("abandon", OnFailure::Abandon), ("continue", OnFailure::Continue)]));
    let delete_key = section.read("delete_key", one_of(&[("never", DeleteKey::Never), ("on_success", DeleteKey::OnSuccess)]));
    let max_abandons = section.read("max_abandons", whole(0..=1_000_000));
    let abandon_window = section.read("abandon_window", duration(SECS(1)..=SECS(48 * HOUR)));
    let max_rate = section.read_optional("max_rate", rate(10_000.0));
    let allow_extensions = read_extensions(section);
    let route = Route {
        name: name_of_route?,
        groups: groups?,
        scope: scope?,
        registrar: registrar?,
        node_name: node_name?,
        key: key?,
        key_poll: key_poll?,
        key_rate: key_rate?,
        status_poll: status_poll?,
        timeout: timeout?,
        on_failure: on_failure?,
        delete_key: delete_key?,
        max_abandons: max_abandons?,
        abandon_window: abandon_window?,
        max_rate: max_rate?,
        allow_extensions: allow_extensions?,
    };
    sense::of_route(section, &route);
    Some(route)
}

fn read_scope(section: &Section<'_, '_>) -> Option<Scope> {
    let region = section.read_optional("region", name(Region::new));
    let role = section.read_optional("role_arn", checked(RoleArn::new));
    let external_id = section.read_optional("external_id", checked(rules::external_id));
    if section.has("external_id") && !section.has("role_arn") {
        section.refuse("external_id", Refusal::new("there is no role that takes it", "write role_arn too, or leave external_id out"));
    }
    Some(Scope { region: region?, role: role?, external_id: external_id? })
}

fn read_registrar(table: &Section<'_, '_>) -> Option<Registrar> {
    #[derive(Clone, Copy)]
    enum Kind {
        Chef,
        Puppet,
    }
    table.read("kind", one_of(&[("opsworks-cm", ())]))?;
    let server = table.read("server", checked(rules::server_name));
    let engine = table.read("engine", one_of(&[("chef", Kind::Chef), ("puppet", Kind::Puppet)]));
    let organization = table.read_optional("organization", checked(rules::organization));
    let engine = match engine? {
        Kind::Chef => Engine::Chef { organization: organization?.unwrap_or_else(|| "default".to_owned()) },
        Kind::Puppet => {
            if table.has("organization") {
                table.refuse(
                    "organization",
                    Refusal::new("a Puppet server has no organizations", "leave it out, or write engine = \"chef\""),
                );
            }
            Engine::Puppet
        }
    };
    Some(Registrar::OpsWorksCm { server: server?, engine })
}

fn read_key(table: &Section<'_, '_>) -> Option<KeySource> {
    let parameter = table.read_optional("parameter", |given| template(given).and_then(rules::parameter));
    let document = table.read_optional("document", checked(rules::document));
    let owner_role = table.read_optional("owner_role", checked(RoleArn::new));
    let require_owner = table.read("require_owner", switch);
    let commands = table.read_each("commands", |command| Ok(command.to_owned()));
    match (table.has("parameter"), table.has("document")) {
        (true, true) => {
            table
                .refuse("document", Refusal::new("key material comes either from a parameter or from a document", "leave one of them out"));
            None
        }
        (false, false) => {
            let right = "write parameter = \"/enrolld/{instance_id}/public-key\" with owner_role, or document = \"…\"";
            table.refuse("parameter", Refusal::new("there is neither a parameter nor a document", right));
            None
        }
        (true, false) => {
            if table.has("commands") {
                table.refuse("commands", Refusal::new("a parameter takes no commands", "leave them out"));
            }
            Some(KeySource::Parameter { name: parameter??, owner: read_owner(table, owner_role?, require_owner?)? })
        }
        (false, true) => {
            for name in ["owner_role", "require_owner"] {
                if table.has(name) {
                    let wrong = "only parameters have an owner; a document's output comes from the agent on the instance itself";
                    table.refuse(name, Refusal::new(wrong, "leave it out"));
                }
            }
            let (document, commands) = (document??, commands?);
            match (document == SHELL_DOCUMENT, commands.is_empty()) {
                (true, true) => {
                    let right =
                        "write commands = [\"cat /etc/chef/client.pub\"], or better name a document of your own with a fixed script";
                    table.refuse("document", Refusal::new(format!("{SHELL_DOCUMENT} needs commands"), right));
                    None
                }
                (false, false) => {
                    let right = format!("leave them out; only {SHELL_DOCUMENT} takes them");
                    table.refuse("commands", Refusal::new("a document of one's own has its script fixed", right));
                    None
                }
                _ => Some(KeySource::RunCommand { document, commands }),
            }
        }
    }
}

fn read_owner(table: &Section<'_, '_>, owner_role: Option<RoleArn>, require_owner: bool) -> Option<Owner> {
    match (require_owner, owner_role) {
        (true, Some(role)) => Some(Owner::Role(role)),
        (false, None) => Some(Owner::Anybody),
        (true, None) => {
            let right = "write owner_role = \"arn:aws:iam::ACCOUNT:role/NAME\", the instances' role, so that a key is believed only if its own instance \
                         wrote it; or, for keys that something else publishes, require_owner = false: then whoever may write the parameter \
                         decides which key the node gets";
            table.refuse("owner_role", Refusal::new("it is missing", right));
            None
        }
        (false, Some(_)) => {
            let wrong = "require_owner = false leaves owner_role without effect";
            table.refuse("owner_role", Refusal::new(wrong, "leave out one of the two"));
            None
        }
    }
}

fn read_extensions(section: &Section<'_, '_>) -> Option<Vec<AllowedExtension>> {
    let tables = section.tables("allow_extensions", keys::EXTENSION);
    let read = tables.iter().map(|table| {
        let oid = table.read("oid", checked(rules::oid));
        let pattern = table.read("pattern", text);
        table.refuse_unknown(&[]);
        Some(AllowedExtension { oid: oid?, pattern: pattern? })
    });
    // Every entry is read before the first bad one makes the whole list bad.
    read.collect::<Vec<_>>().into_iter().collect()
}

fn schedule(section: &Section<'_, '_>, initial: &str, max: &str, range: std::ops::RangeInclusive<Duration>) -> Option<Schedule> {
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
