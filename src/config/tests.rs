//! What a file and its environment become, and what is said of those that are wrong.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use super::keys::{self, Key};
use super::*;
use crate::core::call::{ScopeId, ServerId};
use crate::names::GroupName;

pub(super) const GOOD: &str = r#"
queue_url = "https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld"
worker = "worker-1"

[[route]]
name = "web"
groups = ["web-*"]

[route.registrar]
kind = "opsworks-cm"
server = "chef"
engine = "chef"

[route.key]
parameter = "/enrolld/{instance_id}/public-key"
owner_role = "arn:aws:iam::123456789012:role/web-instances"
"#;

pub(super) fn read(text: &str) -> Result<Config, Problems> {
    parse(text, "enrolld.toml", &Environment::new())
}

fn with(text: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    parse(text, "enrolld.toml", &variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

/// What is said of a text, all of it.
pub(super) fn refusal(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

/// The good file with a line at its top.
pub(super) fn top(line: &str) -> String {
    format!("{line}\n{GOOD}")
}

/// The good file with a line among the route's own.
fn in_route(line: &str) -> String {
    GOOD.replace("groups = [\"web-*\"]", &format!("groups = [\"web-*\"]\n{line}"))
}

#[test]
fn a_short_file_has_the_documented_defaults() {
    let config = read(GOOD).unwrap();
    assert_eq!(config.max_open, 20_000);
    assert_eq!(config.max_calls, 64);
    assert_eq!(config.visibility_timeout, Duration::from_secs(120));
    assert_eq!(config.listen.unwrap().to_string(), "127.0.0.1:9464");
    assert_eq!(config.region.as_ref().unwrap().as_str(), "eu-central-1", "from the queue's URL");
    let route = &config.routes[0];
    assert_eq!(route.node_name.source(), "{instance_id}");
    assert_eq!(route.timeout, Duration::from_secs(1800));
    assert!((route.key_rate - 20.0).abs() < f64::EPSILON);
    let written = format!("{:?}", route.registrar);
    assert!(written.contains(r#"server: "chef", engine: Chef { organization: "default" }"#), "{written}");
}

#[test]
fn the_example_file_is_good() {
    let text = include_str!("../../deploy/enrolld.example.toml");
    let config = read(text).unwrap();
    assert_eq!(config.routes.len(), 2);
    assert_eq!(config.routes[1].key, KeySource::RunCommand { document: "Enrolld-PrintCertificateRequest".into(), commands: vec![] });
}

/// For each key: its table, its name, and a value other than the default.
pub(super) const OTHER_VALUES: &[(&str, &str, &str)] = &[
    ("top", "queue_url", r#""https://sqs.eu-central-1.amazonaws.com/123456789012/other""#),
    ("top", "dead_letter_queue_url", r#""https://sqs.eu-central-1.amazonaws.com/123456789012/dead""#),
    ("top", "region", r#""eu-west-1""#),
    ("top", "accounts", r#"["210987654321"]"#),
    ("top", "regions", r#"["eu-west-1", "eu-central-1"]"#),
    ("top", "unmatched", r#""ignore""#),
    ("top", "max_open", "500"),
    ("top", "max_calls", "16"),
    ("top", "max_polls", "2"),
    ("top", "poll_wait", r#""5s""#),
    ("top", "visibility_timeout", r#""5m""#),
    ("top", "max_deliveries", "3"),
    ("top", "patience", r#""30s""#),
    ("top", "shutdown_grace", r#""55s""#),
    ("top", "connect_timeout", r#""2s""#),
    ("top", "attempt_timeout", r#""9s""#),
    ("top", "call_timeout", r#""14s""#),
    ("top", "retry_initial", r#""1s""#),
    ("top", "retry_max", r#""1m""#),
    ("top", "not_ready_initial", r#""1s""#),
    ("top", "not_ready_max", r#""1m""#),
    ("top", "route_fault_initial", r#""1m""#),
    ("top", "route_fault_max", r#""1h""#),
    ("top", "max_rate", r#"["CompleteLifecycleAction=20", "DescribeAutoScalingInstances=2.5"]"#),
    ("top", "listen", r#""off""#),
    ("top", "log", r#""enrolld=debug""#),
    ("top", "log_format", r#""json""#),
    ("top", "audit", r#""/var/log/enrolld/audit.jsonl""#),
    ("top", "worker", r#""worker-2""#),
    ("top", "allow_plain_http", "true"),
    ("top", "ssm_read_quota", "100"),
    ("top", "fleet_size", "50"),
    ("route", "name", r#""blue""#),
    ("route", "groups", r#"["blue-*", "green"]"#),
    ("route", "node_name", r#""{instance_id}.example.com""#),
    ("route", "region", r#""eu-west-1""#),
    ("route", "role_arn", r#""arn:aws:iam::123456789012:role/enrolld""#),
    ("route", "external_id", r#""secret-handshake""#),
    ("route", "timeout", r#""15m""#),
    ("route", "on_failure", r#""continue""#),
    ("route", "key_poll", r#""10s""#),
    ("route", "key_rate", "2.5"),
    ("route", "delete_key", r#""on_success""#),
    ("route", "certificate_parameter", r#""/enrolld/{instance_id}/certificate""#),
    ("route", "status_poll_initial", r#""2s""#),
    ("route", "status_poll_max", r#""1m""#),
    ("route", "max_rate", "100"),
    ("route", "max_abandons", "0"),
    ("route", "abandon_window", r#""1h""#),
    ("route", "allow_extensions", r#"[{ oid = "1.2.3", pattern = "a*" }]"#),
    ("registrar", "kind", r#""opsworks-cm""#),
    ("registrar", "server", r#""chef-2""#),
    ("registrar", "engine", r#""puppet""#),
    ("registrar", "organization", r#""ours""#),
    ("chef", "kind", r#""chef-server""#),
    ("chef", "url", r#""https://chef.example.com/organizations/other""#),
    ("chef", "allow_plain_http", "true"),
    ("chef", "client_name", r#""somebody""#),
    ("chef", "client_key", r#""/etc/enrolld/other.pem""#),
    ("chef", "ca_file", r#""/etc/enrolld/ca.pem""#),
    ("chef", "environment", r#""production""#),
    ("chef", "run_list", r#"["role[web]", "recipe[base::hardened]"]"#),
    ("chef", "policy_name", r#""web""#),
    ("chef", "policy_group", r#""live""#),
    ("chef", "replace_existing", "true"),
    ("puppet", "kind", r#""puppet-ca""#),
    ("puppet", "url", r#""https://puppet.example.com:8141""#),
    ("puppet", "allow_plain_http", "true"),
    ("puppet", "certificate", r#""/etc/enrolld/other.pem""#),
    ("puppet", "private_key", r#""/etc/enrolld/other.key""#),
    ("puppet", "ca_file", r#""/etc/enrolld/other-ca.pem""#),
    ("puppet", "replace_existing", "true"),
    ("command", "kind", r#""command""#),
    ("command", "program", r#""/usr/local/bin/other""#),
    ("command", "args", r#"["--server", "a b"]"#),
    ("command", "timeout", r#""10s""#),
    ("command", "env", r#"["HOME", "LANG"]"#),
    ("command", "material", r#""certificate-request""#),
    ("key", "parameter", r#""/other/{instance_id}""#),
    ("key", "owner_role", r#""arn:aws:iam::123456789012:role/other""#),
    ("key", "require_owner", "false"),
    ("key", "document", r#""AWS-RunShellScript""#),
    ("key", "commands", r#"["cat /etc/chef/client.pub"]"#),
];

/// Keys that the value above cannot stand with or without; the other lines that the file then needs.
fn companions(table: &str, key: &str) -> &'static [(&'static str, &'static str, &'static str)] {
    match (table, key) {
        ("top", "region") => &[("top", "queue_url", r#""https://127.0.0.1/123456789012/enrolld""#)],
        ("top", "accounts") => &[("key", "owner_role", r#""arn:aws:iam::210987654321:role/web-instances""#)],
        ("top", "regions") => &[("route", "region", r#""eu-west-1""#)],
        ("route", "region") => &[("top", "regions", r#"["eu-west-1"]"#)],
        ("route", "external_id") => &[("route", "role_arn", r#""arn:aws:iam::123456789012:role/enrolld""#)],
        ("route", "allow_extensions" | "certificate_parameter") => &[("registrar", "engine", r#""puppet""#)],
        ("chef", "policy_name") => &[("chef", "policy_group", r#""blue""#)],
        ("chef", "policy_group") => &[("chef", "policy_name", r#""api""#)],
        // So that a variable for this kind finds a registrar of this kind.
        ("chef", _) => &[("chef", "kind", r#""chef-server""#)],
        ("puppet", _) => &[("puppet", "kind", r#""puppet-ca""#)],
        ("command", _) => &[("command", "kind", r#""command""#)],
        ("key", "require_owner") => &[("key", "owner_role", "")],
        ("key", "document") => &[("key", "commands", r#"["cat a.pub"]"#), ("key", "owner_role", ""), ("key", "parameter", "")],
        ("key", "commands") => &[("key", "document", r#""AWS-RunShellScript""#), ("key", "owner_role", ""), ("key", "parameter", "")],
        _ => &[],
    }
}

/// A file of the given lines over those of the good one; an empty value leaves a key out.
pub(super) fn file_of(lines: &[(&str, &str, &str)]) -> String {
    let mut all: Vec<(&str, &str, &str)> = vec![
        ("top", "queue_url", r#""https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld""#),
        ("top", "worker", r#""worker-1""#),
        ("route", "name", r#""web""#),
        ("route", "groups", r#"["web-*"]"#),
        ("registrar", "kind", r#""opsworks-cm""#),
        ("registrar", "server", r#""chef""#),
        ("registrar", "engine", r#""chef""#),
        ("key", "parameter", r#""/enrolld/{instance_id}/public-key""#),
        ("key", "owner_role", r#""arn:aws:iam::123456789012:role/web-instances""#),
    ];
    // A registrar of another kind takes the place of the first.
    for (kind, its) in OTHER_KINDS {
        if lines.iter().any(|(table, _, _)| table == kind) {
            all.retain(|(table, _, _)| *table != "registrar");
            all.extend(its.iter().map(|(key, value)| (*kind, *key, *value)));
        }
    }
    for (table, key, value) in lines {
        all.retain(|(its_table, its_key, _)| (its_table, its_key) != (table, key));
        all.push((table, key, value));
    }
    let mut text = String::new();
    for (table, heading) in [("top", ""), ("route", "[[route]]"), ("registrar", "[route.registrar]"), ("key", "[route.key]")] {
        text.push_str(heading);
        text.push('\n');
        for (_, key, value) in all.iter().filter(|(its, _, value)| table_of(its) == table && !value.is_empty()) {
            writeln!(text, "{key} = {value}").unwrap();
        }
    }
    text
}

/// The required keys of each kind of registrar but the first.
const OTHER_KINDS: &[(&str, &[(&str, &str)])] = &[
    (
        "chef",
        &[
            ("kind", r#""chef-server""#),
            ("url", r#""https://chef.example.com/organizations/ours""#),
            ("client_name", r#""enrolld""#),
            ("client_key", r#""/etc/enrolld/chef.pem""#),
        ],
    ),
    (
        "puppet",
        &[
            ("kind", r#""puppet-ca""#),
            ("url", r#""https://puppet.example.com:8140""#),
            ("certificate", r#""/etc/enrolld/puppet.pem""#),
            ("private_key", r#""/etc/enrolld/puppet.key""#),
            ("ca_file", r#""/etc/enrolld/puppet-ca.pem""#),
        ],
    ),
    ("command", &[("kind", r#""command""#), ("program", r#""/usr/local/bin/enrol""#)]),
];

/// The table that the keys of a kind of registrar stand in.
fn table_of(table: &str) -> &str {
    if OTHER_KINDS.iter().any(|(kind, _)| *kind == table) { "registrar" } else { table }
}

#[test]
fn every_key_is_read() {
    let listed: BTreeSet<(&str, &str)> = OTHER_VALUES.iter().map(|(table, key, _)| (*table, *key)).collect();
    let of_kinds = ["registrar", "chef", "puppet", "command"].into_iter().zip(KINDS.iter().map(|kind| kind.keys));
    let tables: Vec<(&str, &[Key])> =
        [("top", keys::TOP), ("route", keys::ROUTE), ("key", keys::KEY)].into_iter().chain(of_kinds).collect();
    assert_eq!(tables.len(), 3 + KINDS.len(), "each kind has its name in this test");
    for (table, keys) in tables {
        for key in keys.iter().filter(|key| key.kind != "table") {
            assert!(listed.contains(&(table, key.name)), "{}.{} has no value in this test", table, key.name);
        }
    }
    for (table, key, value) in OTHER_VALUES {
        let others = companions(table, key);
        let mut lines = others.to_vec();
        lines.push((table, key, value));
        let changed = read(&file_of(&lines)).unwrap_or_else(|problems| panic!("{table}.{key}: {problems}"));
        // Each kind of registrar has keys of its own, so that the kind alone changes nothing.
        if *key != "kind" {
            match read(&file_of(others)) {
                Ok(before) => assert_ne!(changed, before, "{table}.{key} = {value} changed nothing"),
                Err(problems) => assert!(problems.to_string().contains(key), "{table}.{key}: without it: {problems}"),
            }
        }
    }
}

#[test]
fn a_variable_does_what_the_file_does() {
    for (table, key, value) in OTHER_VALUES.iter().filter(|(_, key, _)| !matches!(*key, "name" | "allow_extensions")) {
        let others = companions(table, key);
        let mut lines = others.to_vec();
        lines.push((table, key, value));
        let from_file = read(&file_of(&lines)).unwrap();
        let upper = key.to_uppercase();
        let variable = match *table {
            "top" => format!("ENROLLD_{upper}"),
            "route" => format!("ENROLLD_ROUTE_WEB__{upper}"),
            table => format!("ENROLLD_ROUTE_WEB__{}__{upper}", table_of(table).to_uppercase()),
        };
        let list = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
        let plain = list.unwrap_or(value).replace('"', "");
        let from_variable = with(&file_of(others), &[(&variable, &plain)]).unwrap_or_else(|problems| panic!("{variable}: {problems}"));
        assert_eq!(from_variable, from_file, "{variable}={plain}");
    }
}

#[test]
fn a_hyphen_in_a_routes_name_is_an_underscore_in_its_variables() {
    let text = GOOD.replace("name = \"web\"", "name = \"web-blue\"");
    let config = with(&text, &[("ENROLLD_ROUTE_WEB_BLUE__TIMEOUT", "10m")]).unwrap();
    assert_eq!(config.routes[0].timeout, Duration::from_secs(600));
}

#[test]
fn a_wrong_variable_is_refused_by_its_name() {
    let said = |variable: &str, value: &str| with(GOOD, &[(variable, value)]).unwrap_err().to_string();
    assert_eq!(said("ENROLLD_MAX_OPENS", "1"), "ENROLLD_MAX_OPENS: no key is set by this variable; did you mean ENROLLD_MAX_OPEN?");
    assert!(said("ENROLLD_max_open", "1").contains("did you mean ENROLLD_MAX_OPEN?"));
    assert!(said("ENROLLD_", "1").starts_with("ENROLLD_: "));
    assert_eq!(said("ENROLLD_MAX_OPEN", "many"), "ENROLLD_MAX_OPEN: max_open: it is \"many\"; write a whole number from 1 to 120000");
    assert_eq!(said("ENROLLD_ROUTE_API__TIMEOUT", "1m"), "ENROLLD_ROUTE_API__TIMEOUT: no route is called \"api\"; the routes are web");
    assert_eq!(
        said("ENROLLD_ROUTE_WEB__TIMEOUTS", "1m"),
        "ENROLLD_ROUTE_WEB__TIMEOUTS: route.web.timeouts: there is no such key; did you mean timeout?"
    );
    assert!(said("ENROLLD_ROUTE_WEB__KEY__PARAM", "1m").contains("route.web.key.param: there is no such key"));
    assert!(said("ENROLLD_ROUTE_WEB__NAME", "blue").contains("cannot rename"));
    assert!(said("ENROLLD_ROUTE_WEB__KEY", "x").contains("ENROLLD_ROUTE_WEB__KEY__PARAMETER"));
    assert!(with(GOOD, &[("ENROLLD_CONFIG", "enrolld.toml"), ("PATH", "/bin")]).is_ok());
}

#[test]
fn a_template_that_could_give_two_instances_one_name_is_refused_wherever_it_stands() {
    let text = |key: &str, more: &str| {
        format!(
            r#"queue_url = "https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld"
[[route]]
name = "web"
groups = ["web-*"]
registrar = {{ kind = "opsworks-cm", server = "prod", engine = "puppet" }}
key = {{ parameter = "{key}", require_owner = false }}
{more}
"#
        )
    };
    let good = "/enrolld/{instance_id}/csr";
    for (text, place) in [
        (text(good, r#"node_name = "{instance_id}{group}""#), r#"enrolld.toml:7:14: route.web.node_name: "{instance_id}{group}""#),
        (text("/e/{instance_id}a{group}", ""), r#"enrolld.toml:6:22: route.web.key.parameter: "/e/{instance_id}a{group}""#),
        (
            text(good, r#"certificate_parameter = "/c/{instance_id}{group}""#),
            r#"enrolld.toml:7:26: route.web.certificate_parameter: "/c/{instance_id}{group}""#,
        ),
    ] {
        let expected = "can give two instances one name: an id has 8 digits or 17, and what stands behind it could be more of its digits; put a hyphen \
                        behind {instance_id}, or put {instance_id} last";
        let said = refusal(&text);
        assert!(said.lines().any(|line| line == format!("{place} {expected}")), "{said}");
    }
    for good in ["{instance_id}-{group}", "{group}{instance_id}", "{instance_id}.{group}.example.com"] {
        parse(&text("/enrolld/{instance_id}/csr", &format!("node_name = \"{good}\"")), "enrolld.toml", &Environment::new()).expect(good);
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let text = r#"queue_url = "https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld.fifo"
max_opn = 5
visibility_timeout = 120
listen = "everywhere"

[[route]]
name = "Web"
groups = ["web-*", "a:b", 7]
registrar = { kind = "opsworks-cm", server = "9lives", engine = "chief" }
key = { parameter = "/enrolld/public-key" }
timeout = true
"#;
    let expected = [
        r#"enrolld.toml:1:14: queue_url: "https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld.fifo" is a FIFO queue, which Auto Scaling cannot notify; make a standard queue and name that"#,
        "enrolld.toml:2:1: max_opn: there is no such key; did you mean max_open?",
        r#"enrolld.toml:3:22: visibility_timeout: 120 has no unit; write "120s" if seconds are meant"#,
        r#"enrolld.toml:4:11: listen: "everywhere" is not an address with a port; write "127.0.0.1:9464", "[::1]:9464" or "off""#,
        r#"enrolld.toml:7:9: route."Web".name: "Web" is not a route's name; write 1 to 40 of a-z 0-9 and single hyphens, such as "web""#,
        r#"enrolld.toml:8:27: route."Web".groups: an entry is the number 7, not a text; write it in quotes"#,
        r#"enrolld.toml:9:47: route."Web".registrar.server: "9lives" is not the name of an OpsWorks CM server; write 1 to 40 letters, digits and hyphens, beginning with a letter"#,
        r#"enrolld.toml:9:66: route."Web".registrar.engine: it is the text "chief"; write "chef" or "puppet""#,
        r#"enrolld.toml:10:22: route."Web".key.parameter: "/enrolld/public-key" does not name the instance, so that two instances would get one name; put {instance_id} into it"#,
        r#"enrolld.toml:11:11: route."Web".timeout: it is true, not a duration; write a duration from "1s" to "48h""#,
    ];
    let said = refusal(text);
    for line in expected {
        assert!(said.lines().any(|said| said == line), "not said: {line}\n{said}");
    }
    // And each bad member of a list for itself, once all of them are texts.
    assert!(refusal(&text.replace(", 7]", "]")).contains("enrolld.toml:8:21: route.\"Web\".groups: \"a:b\" matches no Auto Scaling group"));
}

#[test]
fn text_that_is_not_toml_is_refused_at_its_first_mistake() {
    assert_eq!(
        refusal("queue_url = https://x\n"),
        "enrolld.toml:1:13: invalid TOML value, did you mean to use a quoted string?; write the text in quotes"
    );
    assert!(refusal("worker = \"ab\"\nworker = \"cd\"\n").contains("it stands already at enrolld.toml:1:1"));
    let said = refusal("log = \"größe\" x");
    assert!(said.starts_with("enrolld.toml:1:15: "), "columns count characters: {said}");
}

#[test]
fn what_the_file_holds_is_never_shown_unescaped() {
    for text in ["a = \u{1e}", "\u{1b}[2J = 1", "a.\u{7} = 1", "[\u{0}]", "\"qu\\tue\" = 1", "[[route]]\nname = \"a\"\n\"k\\u0007\" = 1"] {
        let problems = read(text).unwrap_err();
        let said = problems.to_string();
        assert_eq!(said.lines().count(), problems.iter().count(), "{said:?}");
        assert!(said.lines().all(|line| !line.contains(char::is_control)), "{said:?}");
        assert!(problems.iter().all(|problem| !problem.key.contains(char::is_control)), "{said:?}");
    }
    let long = read(&format!("\"{}\" = 1", "ü".repeat(5000))).unwrap_err().to_string();
    assert!(long.lines().all(|line| line.len() < 4096), "{} bytes", long.len());
    let said = read(&GOOD.replace("{instance_id}", "{\t}")).unwrap_err().to_string();
    assert!(said.contains("\\t") && !said.contains('\t'), "{said:?}");
    assert!(refusal(&format!("{0} = 1\n{0} = 2", "x".repeat(100_000))).len() < 1000);
}

#[test]
fn what_an_instance_may_write_is_never_a_certificate_of_any_route() {
    const BELOW: &str = "certificate_parameter: the right to write the keys of route";
    let route = |name: &str, key: &str, more: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\ngroups = [\"{name}-*\"]\n{more}\n\
             registrar = {{ kind = \"opsworks-cm\", server = \"{name}\", engine = \"puppet\" }}\n\
             key = {{ parameter = \"{key}\", owner_role = \"arn:aws:iam::123456789012:role/web-instances\" }}\n"
        )
    };
    let head = &GOOD[..GOOD.find("[[route]]").unwrap()];
    let problems = |head: &str, routes: &[String]| {
        let parsed = parse(&format!("{head}{}", routes.concat()), "enrolld.toml", &Environment::new());
        parsed.map_or_else(|problems| problems.to_string(), |_| String::new())
    };
    let given = "certificate_parameter = \"/enrolld/{instance_id}/certificate\"";
    // Of its own route: below the key's name, and beside it.
    assert!(problems(head, &[route("web", "/enrolld/{instance_id}", given)]).contains(BELOW));
    assert_eq!(problems(head, &[route("web", "/enrolld/{instance_id}/csr", given)]), "");
    // Of another, before or behind it.
    for routes in [
        [route("web", "/enrolld/{instance_id}/csr", given), route("db", "/enrolld/{instance_id}", "")],
        [route("db", "/enrolld/{instance_id}", ""), route("web", "/enrolld/{instance_id}/csr", given)],
    ] {
        let found = problems(head, &routes);
        assert!(found.contains(&format!("{BELOW} db")), "{found}");
    }
    // Another region's are others.
    let elsewhere = route("db", "/enrolld/{instance_id}", "region = \"us-east-1\"");
    let regions = format!("region = \"eu-central-1\"\nregions = [\"eu-central-1\", \"us-east-1\"]\n{head}");
    assert_eq!(problems(&regions, &[route("web", "/enrolld/{instance_id}/csr", given), elsewhere]), "");
}

#[test]
fn combinations_that_cannot_work_are_refused() {
    let second = |name: &str, groups: &str| {
        let route = &GOOD[GOOD.find("[[route]]").unwrap()..];
        format!("{GOOD}\n{}", route.replace("\"web\"", &format!("\"{name}\"")).replace("[\"web-*\"]", groups))
    };
    let cases = [
        (GOOD[..GOOD.find("[[route]]").unwrap()].to_owned(), "route: there is no route"),
        (second("web", r#"["db"]"#), "name: another route is called \"web\" already"),
        (second("again", r#"["web-*"]"#), "groups: \"web-*\" never gets here: \"web-*\" of route web matches it first"),
        (second("again", r#"["web-blue"]"#), "\"web-blue\" never gets here"),
        (second("again", r#"["db", "db"]"#), "\"db\" is matched already by \"db\" before it"),
        (in_route("node_name = \"web\""), "node_name: \"web\" does not name the instance"),
        (in_route("node_name = \"a b{instance_id}\""), "node_name: \"a b{instance_id}\" makes no node name"),
        (in_route("node_name = \"{host}\""), "{host} is not a placeholder"),
        (top("fleet_size = 10000"), "key_poll: 5s is too short for a fleet of 10000"),
        (
            top("fleet_size = 1100").replace("groups =", "key_poll = \"30s\"\nkey_rate = 100\ngroups ="),
            "key_poll: 30s is too short for a fleet of 1100: at ssm_read_quota 40 a second and 1 a call",
        ),
        (key("document = \"Ours\"").replace("groups =", "key_rate = 5\ngroups ="), "key_rate: key material comes from a document"),
        (top("visibility_timeout = \"45s\""), "visibility_timeout: 45s leaves no room for poll_wait (20s) and three calls"),
        (top("connect_timeout = \"11s\""), "connect_timeout: 11s is longer than attempt_timeout (10s)"),
        (
            top("call_timeout = \"51s\"\nvisibility_timeout = \"5m\""),
            "call_timeout: 51s is out of range; write a duration from \"100ms\" to \"50s\"",
        ),
        (top("attempt_timeout = \"16s\""), "attempt_timeout: 16s is longer than call_timeout (15s)"),
        (top("retry_initial = \"1m\""), "retry_initial (1m) is longer than retry_max (30s)"),
        (top("poll_wait = \"1500ms\""), "is not a whole number of seconds"),
        (top("region = \"us-east-1\""), "region: it is us-east-1, but the queue is in eu-central-1"),
        (top("dead_letter_queue_url = \"https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld\""), "it is the queue itself"),
        (in_route("external_id = \"xyz\""), "external_id: there is no role that takes it"),
        (in_route("role_arn = \"arn:aws:iam::210987654321:role/enrolld\""), "add \"210987654321\" to accounts"),
        (
            in_route("role_arn = \"arn:aws:iam::210987654321:role/enrolld\""),
            "owner_role is in account 123456789012, and role_arn in 210987654321",
        ),
        (in_route("region = \"us-east-1\""), "add \"us-east-1\" to regions"),
        (top("accounts = [\"210987654321\", \"321098765432\"]"), "which of these accounts it asks in does not show"),
        (in_route("key_poll = \"10m\"\ntimeout = \"5m\""), "key_poll: 10m is not shorter than timeout (5m)"),
        (in_route("allow_extensions = [{ oid = \"1.2.3\", pattern = \"*\" }]"), "only Puppet's certificate requests have extensions"),
        (in_route("allow_extensions = [{ oid = \"1.2.3\" }, { pattern = \"*\" }]"), "route.web.allow_extensions.2.oid: it is missing"),
        (GOOD.replace("engine = \"chef\"", "engine = \"puppet\"\norganization = \"a\""), "a Puppet server has no organizations"),
        (
            GOOD.replace("owner_role = \"arn:aws:iam::123456789012:role/web-instances\"", ""),
            "key.owner_role: it is missing; write owner_role = \"arn:aws:iam::ACCOUNT:role/NAME\"",
        ),
        (GOOD.replace("owner_role =", "require_owner = false\nowner_role ="), "leaves owner_role without effect"),
        (GOOD.replace("[route.key]", "[route.key]\ndocument = \"Ours\""), "either from a parameter or from a document"),
        (GOOD.replace("parameter = \"/enrolld/{instance_id}/public-key\"", "document = \"Ours\""), "only parameters have an owner"),
        (key("document = \"AWS-RunShellScript\""), "AWS-RunShellScript needs commands"),
        (key("document = \"Ours\"\ncommands = [\"true\"]"), "has its script fixed"),
        (key(""), "neither a parameter nor a document"),
        (key("document = \"Ours\"").replace("groups =", "delete_key = \"on_success\"\ngroups ="), "there is no parameter to delete"),
        (second("again", r#"["db"]"#).replacen("engine = \"chef\"", "engine = \"puppet\"", 1), "its engine is not what route web says"),
        (GOOD.replace("[\"web-*\"]", "[]"), "groups: the list is empty"),
        (GOOD.replace("[\"web-*\"]", "[\"my group\"]").replace("/{instance_id}/", "/{group}/{instance_id}/"), "leave {group} out"),
        (GOOD.replace("[route.registrar]", "[route.registrars]"), "registrars: there is no such key; did you mean registrar?"),
        (
            GOOD.replace("opsworks-cm", "chief-server"),
            "registrar.kind: it is the text \"chief-server\"; write \"opsworks-cm\" or \"chef-server\" or \"puppet-ca\" or \"command\"",
        ),
        (in_route("certificate_parameter = \"/enrolld/{instance_id}/certificate\""), "only a Puppet server gives certificates back"),
        (
            in_route("certificate_parameter = \"/enrolld/{instance_id}/public-key\""),
            "the right to write the keys of route web (\"/enrolld/{instance_id}/public-key\", with a star for the instance)",
        ),
        (
            GOOD.replace("arn:aws:iam::123456789012:role/web-instances", "arn:aws:iam::210987654321:role/web-instances"),
            "key: owner_role is in account 210987654321, and the route asks in 123456789012",
        ),
        (top("accounts = [\"210987654321\"]"), "key: owner_role is in account 123456789012, and the route asks in 210987654321"),
        (
            top("accounts = [\"123456789012\", \"210987654321\"]").replace("iam::123456789012", "iam::210987654321"),
            "key: owner_role is in account 210987654321, and the route asks in 123456789012",
        ),
        (GOOD.replace("arn:aws:iam::123456789012:role/web-instances", "web-instances"), "write it as arn:aws:iam::123456789012:role/NAME"),
        (in_route("certificate_parameter = \"/enrolld/certificate\""), "does not name the instance"),
        (by_puppet().replace("groups =", "node_name = \"Web-{instance_id}\"\ngroups ="), "which no Puppet certificate can have"),
        (by_puppet().replace("groups =", "node_name = \"web:{instance_id}\"\ngroups ="), "which no Puppet certificate can have"),
        (by_puppet().replace("ca_file = \"/d\"", ""), "registrar.ca_file: it is missing"),
        (by_puppet().replace("https:", "http:"), "without TLS and not on this machine"),
        (by_command("program = \"enrol\""), "\"enrol\" is not the absolute path of a file"),
        (by_command("args = [\"x\"]"), "registrar.program: it is missing"),
        (by_command("program = \"/a\"\nenv = [\"ENROLLD_NODE\"]"), "\"ENROLLD_NODE\" is not a variable that can be passed on"),
        (by_command("program = \"/a\"\nenv = [\"A=B\"]"), "\"A=B\" is not a variable that can be passed on"),
        (by_command("program = \"/a\"\nargs = [\"\\u0000\"]"), "holds a NUL character"),
        (by_command("program = \"/a\"\nserver = \"chef\""), "registrar.server: there is no such key"),
        (
            by_command("program = \"/a\"\ntimeout = \"5m\"").replace("groups =", "timeout = \"5m\"\ngroups ="),
            "its timeout (5m) is not shorter than the route's (5m)",
        ),
        ("route = 5".to_owned(), "route: it is not a list of tables"),
        (GOOD.replace("[[route]]", "[route]"), "route: it is not a list of tables"),
    ];
    for (text, said) in cases {
        let all = refusal(&text);
        assert!(all.contains(said), "expected {said:?} in:\n{all}\nof:\n{text}");
    }
}

/// The good file with another key table.
fn key(lines: &str) -> String {
    format!("{}[route.key]\n{lines}\n", &GOOD[..GOOD.find("[route.key]").unwrap()])
}

/// The good file with a command for its registrar.
fn by_command(lines: &str) -> String {
    GOOD.replace("kind = \"opsworks-cm\"\nserver = \"chef\"\nengine = \"chef\"", &format!("kind = \"command\"\n{lines}"))
}

/// The good file with a Puppet Server's authority for its registrar.
fn by_puppet() -> String {
    let lines =
        "kind = \"puppet-ca\"\nurl = \"https://puppet.example.com:8140\"\ncertificate = \"/a\"\nprivate_key = \"/b\"\nca_file = \"/d\"";
    GOOD.replace("kind = \"opsworks-cm\"\nserver = \"chef\"\nengine = \"chef\"", lines)
}

#[test]
fn scopes_and_servers_are_counted_once() {
    let text = r#"
queue_url = "https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld"
regions = ["eu-central-1", "eu-west-1"]
[[route]]
name = "a"
groups = ["a"]
registrar = { kind = "opsworks-cm", server = "chef", engine = "chef" }
key = { parameter = "/enrolld/{instance_id}", owner_role = "arn:aws:iam::123456789012:role/nodes" }
[[route]]
name = "b"
groups = ["b"]
region = "eu-central-1"
registrar = { kind = "opsworks-cm", server = "chef", engine = "chef", organization = "other" }
key = { parameter = "/enrolld/{instance_id}", require_owner = false }
[[route]]
name = "c"
groups = ["*"]
region = "eu-west-1"
registrar = { kind = "opsworks-cm", server = "chef", engine = "chef" }
key = { document = "Ours" }
"#;
    let config = read(text).unwrap();
    let settings = config.core_settings();
    assert_eq!(settings.routes.iter().map(|route| route.scope).collect::<Vec<_>>(), [ScopeId(0), ScopeId(0), ScopeId(1)]);
    assert_eq!(settings.routes.iter().map(|route| route.server).collect::<Vec<_>>(), [ServerId(0), ServerId(0), ServerId(1)]);
    assert_eq!(config.scopes().len(), 2);
    assert_eq!(config.servers().len(), 2);
    assert!(matches!(settings.routes[0].key, crate::core::settings::KeySource::Parameter { batch: 1, .. }));
    assert!(matches!(settings.routes[1].key, crate::core::settings::KeySource::Parameter { batch: 10, .. }));
    let found = |group: &str| settings.route_for(&GroupName::new(group).unwrap()).map(|id| settings.route(id).name.as_str());
    assert_eq!((found("a"), found("b"), found("anything else")), (Some("a"), Some("b"), Some("c")));
}

#[test]
fn whoever_is_spoken_for_is_part_of_which_server_it_is() {
    let chef = |more: &str| {
        let url = "https://chef.example.com";
        format!(r#"{{ kind = "chef-server", url = "{url}", client_name = "enrolld", client_key = "/a.pem", run_list = ["base"]{more} }}"#)
    };
    let puppet = r#"{ kind = "puppet-ca", url = "https://puppet.example.com:8140", certificate = "/a.crt", private_key = "/a.pem", ca_file = "/ca.pem" }"#;
    let servers = |registrars: &[String]| {
        let mut text = r#"queue_url = "https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld""#.to_owned();
        for (at, registrar) in registrars.iter().enumerate() {
            let key = r#"{ parameter = "/enrolld/{instance_id}", require_owner = false }"#;
            write!(text, "\n[[route]]\nname = \"r{at}\"\ngroups = [\"g{at}\"]\nregistrar = {registrar}\nkey = {key}\n").unwrap();
        }
        read(&text).unwrap().servers().len()
    };
    let one = chef("");
    assert_eq!(servers(&[one.clone(), one.replace("base", "web")]), 1, "what its nodes are given to do is no other server");
    for (written, instead) in [("\"enrolld\"", "\"other\""), ("/a.pem", "/b.pem")] {
        assert_eq!(servers(&[one.clone(), one.replace(written, instead)]), 2, "{instead}");
    }
    assert_eq!(servers(&[one, chef(r#", ca_file = "/ca.pem""#)]), 2);
    assert_eq!(servers(&[puppet.to_owned(), puppet.to_owned()]), 1);
    for (written, instead) in [("/a.crt", "/b.crt"), ("/a.pem", "/b.pem"), ("/ca.pem", "/cb.pem")] {
        assert_eq!(servers(&[puppet.to_owned(), puppet.replace(written, instead)]), 2, "{instead}");
    }
}

#[test]
fn a_server_of_ones_own_is_the_same_whoever_asks_and_one_of_aws_is_each_accounts() {
    let two = |registrar: &str| {
        let route = |name: &str, more: &str| {
            let key = r#"{ parameter = "/enrolld/{instance_id}", require_owner = false }"#;
            format!("[[route]]\nname = \"{name}\"\ngroups = [\"{name}\"]\nregistrar = {registrar}\nkey = {key}\n{more}\n")
        };
        let top = r#"queue_url = "https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld""#;
        let role = r#"role_arn = "arn:aws:iam::123456789012:role/enrolld""#;
        read(&format!("{top}\n{}{}", route("one", ""), route("two", role))).unwrap()
    };
    let own = two(r#"{ kind = "command", program = "/bin/enrol" }"#);
    let aws = two(r#"{ kind = "opsworks-cm", server = "chef", engine = "chef" }"#);
    assert_eq!((own.servers().len(), aws.servers().len()), (1, 2));
    let told = |config: &Config| config.core_settings().routes.iter().map(|route| (route.server, route.counted_by_aws)).collect::<Vec<_>>();
    assert_eq!(told(&own), [(ServerId(0), false); 2]);
    assert_eq!(told(&aws), [(ServerId(0), true), (ServerId(1), true)]);
    assert_eq!(own.core_settings().own_account.unwrap().as_str(), "123456789012");
}

/// Routes called a, b and so on, each with these lines.
fn routes_with(top: &str, routes: &[&str]) -> String {
    let mut text = format!("queue_url = \"https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld\"\n{top}\n");
    for (name, lines) in ('a'..).zip(routes) {
        let key = if lines.contains("key =") { "" } else { "key = { parameter = \"/enrolld/{instance_id}\", require_owner = false }" };
        let registrar = r#"registrar = { kind = "opsworks-cm", server = "chef", engine = "chef" }"#;
        writeln!(text, "[[route]]\nname = \"{name}\"\ngroups = [\"{name}\"]\n{registrar}\n{key}\n{lines}").unwrap();
    }
    text
}

#[test]
fn a_key_rate_is_that_of_its_account_and_region_whichever_route_writes_it() {
    let rates = |top: &str, routes: &[&str]| {
        let config = read(&routes_with(top, routes)).unwrap();
        config.routes.iter().map(|route| route.key_rate).collect::<Vec<_>>()
    };
    let role = r#"role_arn = "arn:aws:iam::123456789012:role/enrolld""#;
    let elsewhere = r#"role_arn = "arn:aws:iam::210987654321:role/enrolld""#;
    let far = r#"region = "us-east-1""#;
    let document = r#"key = { document = "Ours" }"#;
    let wide = "accounts = [\"123456789012\", \"210987654321\"]\nregions = [\"eu-central-1\", \"us-east-1\"]";
    assert_eq!(rates(wide, &["", "key_rate = 7", role, elsewhere, far]), [7.0, 7.0, 7.0, 20.0, 20.0]);
    assert_eq!(rates(wide, &["key_rate = 7", &format!("{elsewhere}\nkey_rate = 8"), &format!("{far}\nkey_rate = 9")]), [7.0, 8.0, 9.0]);
    assert_eq!(rates("", &["key_rate = 7", "key_rate = 7.0"]), [7.0, 7.0], "the same twice is no contradiction");
    assert_eq!(rates("", &[document, "key_rate = 7"]), [20.0, 7.0], "who reads no parameter has no part in it");
    // Where the account does not show, each role stands alone.
    let own = "queue_url = \"https://localhost/enrolld\"";
    let text = routes_with("", &["key_rate = 7", role]).replacen(
        "queue_url = \"https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld\"",
        own,
        1,
    );
    assert_eq!(read(&text).unwrap().routes[1].key_rate, 20.0);
}

#[test]
fn two_key_rates_for_one_account_and_region_are_refused_with_both_their_places() {
    let role = "role_arn = \"arn:aws:iam::123456789012:role/enrolld\"\nkey_rate = 9";
    let said = refusal(&routes_with("", &["", "key_rate = 7", role]));
    let line = |place: &str| said.contains(&format!("enrolld.toml:{place}"));
    assert!(said.contains("route.c.key_rate: it is 9, and 7 for route b (enrolld.toml:14:12)"), "{said}");
    assert!(line("21:12") && said.lines().count() == 1, "{said}");
    let variable = [("ENROLLD_ROUTE_A__KEY_RATE", "5")];
    let said = with(&routes_with("", &["", "key_rate = 7"]), &variable).unwrap_err().to_string();
    assert!(said.contains("it is 7, and 5 for route a (ENROLLD_ROUTE_A__KEY_RATE)"), "{said}");
}

#[test]
fn an_interval_that_the_fleet_and_the_quota_of_ssm_cannot_meet_is_refused() {
    let owned = r#"key = { parameter = "/enrolld/{instance_id}", owner_role = "arn:aws:iam::123456789012:role/nodes" }"#;
    let of = |quota: &str, poll: &str, key: &str| {
        read(&routes_with(&format!("fleet_size = 4000\n{quota}"), &[&format!("key_rate = 1000\nkey_poll = \"{poll}\"\n{key}")]))
    };
    // In tens it takes 10 s of a quota of 40; one by one, as where the owner is asked after, ten times as long.
    assert!(of("", "15s", "").is_ok() && of("", "2m", owned).is_ok());
    let said = of("", "5s", "").unwrap_err().to_string();
    assert!(said.contains("key_poll: 5s is too short for a fleet of 4000: at ssm_read_quota 40 a second and 10 a call"), "{said}");
    assert!(said.contains("once SSM gives the account and region so many") && !said.contains("key_rate ="), "{said}");
    let said = of("", "30s", owned).unwrap_err().to_string();
    assert!(said.contains("at ssm_read_quota 40 a second and 1 a call, asking for each node once takes 100s"), "{said}");
    assert!(of("ssm_read_quota = 1000", "5s", "").is_ok() && of("ssm_read_quota = 1000", "30s", owned).is_ok());
    assert!(of("ssm_read_quota = 10", "15s", "").is_err());
    // What a document prints is read from no parameter.
    let document = "fleet_size = 100000";
    assert!(read(&routes_with(document, &["key = { document = \"Ours\" }"])).is_ok());
}

#[test]
fn only_a_server_that_leaves_open_what_a_repetition_is_answered_with_gives_a_second_chance() {
    assert!(read(GOOD).unwrap().core_settings().routes[0].second_chance);
    let program =
        GOOD.replace("kind = \"opsworks-cm\"\nserver = \"chef\"\nengine = \"chef\"", "kind = \"command\"\nprogram = \"/bin/enrol\"");
    assert!(!read(&program).unwrap().core_settings().routes[0].second_chance);
}

#[test]
fn a_file_that_cannot_be_read_is_said_so() {
    let said = load(Path::new("/nonexistent/enrolld.toml"), &Environment::new()).unwrap_err().to_string();
    assert!(said.starts_with("/nonexistent/enrolld.toml: it cannot be read"), "{said}");
}

#[test]
fn the_documentation_has_every_key_as_the_code_has_it() {
    let documentation = include_str!("../../docs/configuration.md");
    for (heading, keys) in keys::tables(KINDS) {
        let section = format!("## {heading}\n\n{}", keys::markdown(keys));
        assert!(documentation.contains(&section), "docs/configuration.md should hold this as it is:\n\n{section}");
    }
}

#[test]
fn plain_http_is_allowed_where_it_is_written_for_a_server_and_to_no_other() {
    let of = |lines: &[(&str, &str, &str)]| read(&file_of(lines));
    for kind in ["chef", "puppet"] {
        let (plain, allowed) = ((kind, "url", r#""http://server.example.com""#), (kind, "allow_plain_http", "true"));
        // What is written for an emulator of AWS says nothing about a server of one's own.
        for top in ["false", "true"] {
            let said = of(&[plain, ("top", "allow_plain_http", top)]).unwrap_err().to_string();
            let place = "route.web.registrar.url: \"http://server.example.com\" is without TLS and not on this machine";
            assert!(said.contains(place) && said.contains("allow_plain_http = true beside it, in this registrar"), "{said}");
        }
        of(&[plain, allowed]).unwrap();
        of(&[(kind, "url", r#""http://127.0.0.1:4545""#)]).unwrap();
        // Nor does what is written for the server say anything about the queue, or about the server of the next route.
        let queue = ("top", "queue_url", r#""http://sqs.example.com/123456789012/enrolld""#);
        let said = of(&[queue, plain, allowed]).unwrap_err().to_string();
        assert!(said.contains("queue_url: ") && said.contains("allow_plain_http = true at the top of the file"), "{said}");
        assert!(!said.contains("registrar"), "{said}");
        of(&[queue, plain, allowed, ("top", "allow_plain_http", "true")]).unwrap();
        let first = file_of(&[plain, allowed]);
        let (_, route) = first.split_once("[[route]]").unwrap();
        let second = route.replacen("\"web\"", "\"api\"", 1).replacen("web-*", "api-*", 1).replacen(
            "allow_plain_http = true",
            "allow_plain_http = false",
            1,
        );
        let said = read(&format!("{first}\n[[route]]{second}")).unwrap_err().to_string();
        assert!(said.contains("route.api.registrar.url: ") && !said.contains("route.web"), "{said}");
    }
}

#[test]
fn a_chef_server_is_read_with_what_its_nodes_are_given_to_do() {
    let of = |lines: &[(&str, &str, &str)]| read(&file_of(lines));
    let chef = of(&[("chef", "environment", r#""production""#)]).unwrap().routes.remove(0).registrar;
    let about = "server https://chef.example.com/organizations/ours as enrolld";
    assert_eq!((chef.kind(), chef.about().as_str()), ("chef-server", about));
    let written = format!("{chef:?}");
    assert!(written.contains(r#"RunList { environment: "production", run_list: [] }, replace_existing: false"#), "{written}");
    let said = |lines: &[(&str, &str, &str)]| of(lines).unwrap_err().to_string();
    assert!(said(&[("chef", "policy_name", r#""web""#)]).contains("policy_group is missing"));
    let policy = [("chef", "policy_name", r#""web""#), ("chef", "policy_group", r#""live""#), ("chef", "run_list", r#"["role[web]"]"#)];
    assert!(said(&policy).contains("gets this from the policy"));
    let colon = ("route", "node_name", r#""web:{instance_id}""#);
    assert!(said(&[("chef", "replace_existing", "true"), colon]).contains("takes no colon"));
    assert!(of(&[colon]).is_ok());
    assert!(said(&[("chef", "server", r#""chef""#)]).contains("registrar.server: there is no such key"));
    assert!(said(&[("chef", "kind", r#""chef""#)]).contains(r#"write "opsworks-cm" or "chef-server""#));
}
