//! Every key there is, with its kind, default and meaning. The reader takes defaults from here, unknown keys are measured
//! against this list, and the tables in `docs/configuration.md` are compared with it by a test. The keys of a `registrar` stand with its kind.

use crate::registrar::Kind;

/// What stands for a key that is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// It must be written.
    Required,
    /// Nothing; the text says what that means.
    Absent(&'static str),
    /// This value, as it would be written in an environment variable.
    Is(&'static str),
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value is.
    pub kind: &'static str,
    /// What stands where it is not written.
    pub default: Default,
    /// What it means.
    pub about: &'static str,
}

/// A key that must be written.
#[must_use]
pub const fn required(name: &'static str, kind: &'static str, about: &'static str) -> Key {
    Key { name, kind, default: Default::Required, about }
}

/// A key that may be left out; `absent` says what that means.
#[must_use]
pub const fn optional(name: &'static str, kind: &'static str, absent: &'static str, about: &'static str) -> Key {
    Key { name, kind, default: Default::Absent(absent), about }
}

/// A key with a default, as it would be written in an environment variable.
#[must_use]
pub const fn usual(name: &'static str, kind: &'static str, default: &'static str, about: &'static str) -> Key {
    Key { name, kind, default: Default::Is(default), about }
}

/// A text.
pub const TEXT: &str = "text";
/// A list of texts.
pub const TEXTS: &str = "list of texts";
const NUMBER: &str = "whole number";
const RATE: &str = "number per second";
/// A duration, with its unit.
pub const SPAN: &str = "duration";
const TEMPLATE: &str = "template";
/// True or false.
pub const SWITCH: &str = "true or false";

/// The keys at the top of the file.
pub const TOP: &[Key] = &[
    required("queue_url", TEXT, "The SQS queue that the hooks notify. A standard queue: Auto Scaling cannot notify a FIFO queue."),
    optional(
        "dead_letter_queue_url",
        TEXT,
        "the queue of `queue_url`'s redrive policy",
        "Where messages go that nobody can handle, with the reason beside them.",
    ),
    optional(
        "region",
        TEXT,
        "the one that `queue_url` shows, else the SDK's own",
        "The worker's region: its queue, and the Auto Scaling and SSM of every route that names no other.",
    ),
    usual("accounts", TEXTS, "", "Accounts whose events are taken. Empty: the queue's own."),
    usual("regions", TEXTS, "", "Regions whose events are taken, where the envelope names one. Empty: the queue's own."),
    usual(
        "unmatched",
        "`dead-letter` or `ignore`",
        "dead-letter",
        "What becomes of an event whose group no route matches: `dead-letter` keeps it with its reason, `ignore` logs and deletes it.",
    ),
    usual(
        "max_open",
        NUMBER,
        "20000",
        "Actions held at once, 1 to 120000 (SQS lets no more be in flight). Receiving stops there, for every route: launches that are held for a fault of their route count too.",
    ),
    usual(
        "max_calls",
        NUMBER,
        "64",
        "API calls in flight at once, long polls aside, 2 to 10000. An eighth, but at least one, is kept for what keeps messages and actions ours (extensions, heartbeats, results), and as many for all else where that has something to send.",
    ),
    usual("max_polls", NUMBER, "8", "Long polls in flight at once when the queue is busy, 1 to 64; one when it is quiet."),
    usual("poll_wait", SPAN, "20s", "How long a receive waits for its first message, 1s to 20s, in whole seconds."),
    usual(
        "visibility_timeout",
        SPAN,
        "120s",
        "How long a received message is this worker's until it extends that, 30s to 12h, in whole seconds. Also how long a crashed \
         worker's messages wait for the next worker.",
    ),
    usual(
        "max_deliveries",
        NUMBER,
        "10",
        "Runs of one message that may end in an internal error of this worker before it is ended with a recorded result, 1 to 980. What else gives a message back (a crash, a shutdown) does not count. Each worker counts its own; across all of them the queue's `maxReceiveCount` is the limit.",
    ),
    usual(
        "patience",
        SPAN,
        "60s",
        "How long an event that Auto Scaling does not bear out is looked at again before it is dead-lettered, 1s to 1h.",
    ),
    usual(
        "shutdown_grace",
        SPAN,
        "25s",
        "After SIGTERM, how long work in flight may take to end before it is given back to the queue, 1s to 1h.",
    ),
    usual("connect_timeout", SPAN, "3s", "The longest that opening a connection may take."),
    usual("attempt_timeout", SPAN, "10s", "The longest that one attempt of a call may take; at least `connect_timeout`."),
    usual(
        "call_timeout",
        SPAN,
        "15s",
        "The longest that a call may take in all, 50s at most; at least `attempt_timeout`; three of it and `poll_wait` are less than `visibility_timeout`.",
    ),
    usual("retry_initial", SPAN, "500ms", "The first wait after a transient error or throttling; each wait doubles, with jitter."),
    usual("retry_max", SPAN, "30s", "The longest such wait."),
    usual("not_ready_initial", SPAN, "2s", "The first wait before an unready server is asked again: one probe, however many nodes wait."),
    usual("not_ready_max", SPAN, "10s", "The longest such wait."),
    usual(
        "route_fault_initial",
        SPAN,
        "15s",
        "The first wait after a fault of the route (no such server, access denied), which a person must mend.",
    ),
    usual("route_fault_max", SPAN, "5m", "The longest such wait."),
    usual(
        "max_rate",
        TEXTS,
        "",
        "This worker's hard limits, in calls a second, such as `CompleteLifecycleAction=20`; each account and region has them to itself, for all \
         of its routes together. Without one, and below it, rates are learned from throttling.",
    ),
    usual(
        "ssm_read_quota",
        RATE,
        "40",
        "What SSM gives an account and region: GetParameters a second, and GetParameterHistory. 40 is its default. `check` holds `key_rate`, `key_poll` and `fleet_size` against it.",
    ),
    usual(
        "listen",
        "address:port or `off`",
        "127.0.0.1:9464",
        "Where `/livez`, `/readyz`, `/metrics` and `/held` are served. `enrolld check` asks there which launches are held.",
    ),
    usual("log", TEXT, "info", "What is logged: a level, or a filter such as `info,enrolld=debug`."),
    usual("log_format", "`auto`, `human` or `json`", "auto", "`auto` is human on a terminal and JSON elsewhere."),
    usual(
        "audit",
        "`off`, `stdout` or a file's path",
        "off",
        "Where the audit trail goes: one JSON line for each action that ended. A file is appended to, and may be rotated; let it be on a disk of this machine, since the worker waits for each line to be taken.",
    ),
    optional(
        "worker",
        TEXT,
        "host name and process id",
        "This worker's name in logs, dead letters and role sessions: 2 to 64 of A-Z a-z 0-9 + = , . @ - _",
    ),
    usual(
        "allow_plain_http",
        SWITCH,
        "false",
        "Allows endpoints of AWS and queue URLs without TLS that are not on this machine. A server of one's own is allowed in its `registrar`.",
    ),
    optional(
        "fleet_size",
        NUMBER,
        "not checked",
        "How many nodes may launch at once. `check` refuses a `key_poll` that so many nodes cannot be asked in at `key_rate` and `ssm_read_quota`, and says which quotas they meet.",
    ),
];

/// The keys of a `[[route]]`.
pub const ROUTE: &[Key] = &[
    required("name", TEXT, "The route's unique name, of a-z 0-9 and single hyphens. It stands in logs, metrics and environment variables."),
    required("groups", TEXTS, "Auto Scaling groups by name or glob (`*`, `?`). The first route that matches a group serves it."),
    required("registrar", "table", "The server that nodes are enrolled with."),
    required("key", "table", "Where nodes publish their key material."),
    usual("node_name", TEMPLATE, "{instance_id}", "The node's name on the server. It must name the instance."),
    optional("region", TEXT, "the worker's own", "The region of the groups, their parameters and their server."),
    optional("role_arn", TEXT, "the worker's own credentials", "The role to assume for this route's Auto Scaling, SSM and registrar."),
    optional("external_id", TEXT, "none", "The external id that assuming `role_arn` takes."),
    usual(
        "timeout",
        SPAN,
        "30m",
        "Each action's budget, counted from when this worker took it up, 1s to 48h. The hook's own limits end it earlier.",
    ),
    usual(
        "on_failure",
        "`abandon` or `continue`",
        "abandon",
        "What a launch that cannot be enrolled ends with: `abandon` terminates the instance, and the group launches another; `continue` puts \
         it in service without its association. Either way the failure is recorded.",
    ),
    usual(
        "key_poll",
        SPAN,
        "5s",
        "How often key material that is not there yet is asked for, 100ms to 10m. It stretches where `key_rate` does not allow as much.",
    ),
    usual(
        "key_rate",
        RATE,
        "20",
        "The most key reads a second in the route's account and region, of all routes there together: one of them says it for all, and two that say \
         different rates are refused. 20 is half of what SSM gives an account by default, since the instances write there too.",
    ),
    optional(
        "certificate_parameter",
        TEMPLATE,
        "none",
        "For Puppet: the SSM parameter that a node's certificate is written under once it is signed, so that the node can go on without \
         asking the server. It must name the instance, be none that the instances' right to write keys covers, and goes when the node goes.",
    ),
    usual(
        "delete_key",
        "`never` or `on_success`",
        "never",
        "When a node's parameter is deleted, beside after its termination and after ABANDON: also once it is in service (`on_success`), or not. An instance that comes out of a warm pool needs its key once more: where a pool takes instances back on scale-in, `on_success` fits only agents that publish it at each start.",
    ),
    usual("status_poll_initial", SPAN, "1s", "The first wait before an association's status is looked at again."),
    usual("status_poll_max", SPAN, "15s", "The longest such wait."),
    optional(
        "max_rate",
        RATE,
        "learned from throttling",
        "The most orders a second to its server, associations and disassociations together. Of several routes with one server the smallest holds. AWS counts OpsWorks CM's for the account and region: all its servers there together get the largest that is written for any of them.",
    ),
    usual(
        "max_abandons",
        NUMBER,
        "5",
        "Launches abandoned for a fault of the route within `abandon_window`, per worker, before further ones are held until the fault is mended; also launches that fail one after the other, for whatever reason, with none enrolled between them.",
    ),
    usual("abandon_window", SPAN, "10m", "The window of `max_abandons`."),
    usual(
        "allow_extensions",
        "list of tables",
        "",
        "For Puppet: certificate request extensions that are allowed, each with `oid` and `pattern`. All others are refused.",
    ),
];

/// The keys of a route's `key`: either `parameter`, or `document`.
pub const KEY: &[Key] = &[
    optional(
        "parameter",
        TEMPLATE,
        "none",
        "The SSM parameter that holds the node's public key or certificate request. It must name the instance.",
    ),
    optional(
        "owner_role",
        TEXT,
        "must be written with `parameter`",
        "The ARN of the instances' role, with its path: a parameter is believed only if a session of this role, named after the instance, wrote it.",
    ),
    usual(
        "require_owner",
        SWITCH,
        "true",
        "`false` believes whoever wrote the parameter: only for keys that something other than the instance publishes.",
    ),
    optional(
        "document",
        TEXT,
        "none",
        "The Run Command document whose standard output is the key material: a fixed script without parameters.",
    ),
    usual(
        "commands",
        TEXTS,
        "",
        "The script, for `AWS-RunShellScript` alone: the right to send that document is root on every instance in scope.",
    ),
];

/// The keys of one entry of `allow_extensions`.
pub const EXTENSION: &[Key] = &[
    required("oid", TEXT, "The extension's object identifier, such as `1.3.6.1.4.1.34380.1.1.13`."),
    required("pattern", TEXT, "What its value must match: a glob (`*`, `?`)."),
];

/// The tables of keys with these kinds of registrars, each with the heading that it stands under in the documentation.
#[must_use]
pub fn tables(kinds: &[&Kind]) -> Vec<(String, &'static [Key])> {
    let of_kinds = kinds.iter().map(|kind| (format!("Keys of `registrar`, kind `{}`", kind.name), kind.keys));
    let mut tables = vec![("Top-level keys".to_owned(), TOP), ("Keys of a `[[route]]`".to_owned(), ROUTE)];
    tables.extend(of_kinds);
    tables.push(("Keys of `key`".to_owned(), KEY));
    tables.push(("Keys of an entry of `allow_extensions`".to_owned(), EXTENSION));
    tables
}

/// A table of keys as the documentation shows it.
#[must_use]
pub fn markdown(keys: &[Key]) -> String {
    let mut table = String::from("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    for key in keys {
        let default = match key.default {
            Default::Required => "**required**".to_owned(),
            Default::Absent(meaning) => meaning.to_owned(),
            Default::Is("") => "`[]`".to_owned(),
            Default::Is(value) => format!("`{value}`"),
        };
        table.push_str(&format!("| `{}` | {} | {default} | {} |\n", key.name, key.kind, key.about));
    }
    table
}
