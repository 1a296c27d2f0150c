//! The file and the environment, checked: one TOML file, each of its keys overridable by a variable, everything that is
//! wrong said at once with its place and with what would be right.
//!
//! [`load`] reads the file; [`parse`] is the pure function behind it. What comes out is plain data of checked types, which
//! [`Config::core_settings`] turns into what the core is told. The keys stand in [`keys`], with their defaults; those of a route's
//! `registrar` come with its kind, of which nothing else is known here.

pub mod keys;
mod overlap;
mod overrides;
mod problem;
pub mod reader;
mod reads;
mod registrars;
mod route;
mod route_tables;
mod rules;
mod sense;
mod settings;
mod tables;
pub mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use overrides::NOT_CONFIGURATION;
pub use problem::{Place, Problem, Problems, Refusal};
pub use registrars::{Kinds, Registrar};
pub use route::{AllowedExtension, KeySource, Owner, Route, Scope};
pub use rules::{QueueUrl, RoleArn};
pub use settings::Server;

use crate::core::settings::{MaxRates, Unmatched};
use crate::names::{AccountId, Region};
use crate::registrar::{KINDS, Limits};
use crate::retry::Schedule;

/// The environment, as far as it matters here: variables whose names begin with `ENROLLD_`.
pub type Environment = BTreeMap<String, String>;

/// A configuration file beyond this size is not one.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The whole configuration, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The queue that the hooks notify.
    pub queue_url: QueueUrl,
    /// Where dead letters go; the queue of the redrive policy where none.
    pub dead_letter_queue_url: Option<QueueUrl>,
    /// The worker's region: as written, else as the queue's URL shows it, else the SDK's own choice.
    pub region: Option<Region>,
    /// Accounts whose events are taken; the queue's own where empty.
    pub accounts: Vec<AccountId>,
    /// Regions whose events are taken; the queue's own where empty.
    pub regions: Vec<Region>,
    /// What becomes of an event whose group no route matches.
    pub unmatched: Unmatched,
    /// Actions held at once.
    pub max_open: usize,
    /// API calls in flight at once, long polls aside.
    pub max_calls: usize,
    /// Long polls in flight at once, at most.
    pub max_polls: usize,
    /// How long a receive waits for its first message, in whole seconds.
    pub poll_wait: Duration,
    /// How long a received message is ours until that is extended, in whole seconds.
    pub visibility_timeout: Duration,
    /// How many runs of one message may end in an internal error.
    pub max_deliveries: u32,
    /// How long an event that Auto Scaling does not bear out is looked at again before it is dead-lettered.
    pub patience: Duration,
    /// After SIGTERM, how long work in flight may take to end.
    pub shutdown_grace: Duration,
    /// The longest that opening a connection may take.
    pub connect_timeout: Duration,
    /// The longest that one attempt of a call may take.
    pub attempt_timeout: Duration,
    /// The longest that a call may take in all.
    pub call_timeout: Duration,
    /// How transient errors and throttling are retried.
    pub retry: Schedule,
    /// How an unready server is probed.
    pub not_ready: Schedule,
    /// How a fault of a route is probed.
    pub route_fault: Schedule,
    /// The user's limits, in calls a second of each operation.
    pub max_rates: MaxRates,
    /// What SSM lets an account and region read parameters for, in calls a second.
    pub ssm_read_quota: f64,
    /// Where to listen; nowhere where none.
    pub listen: Option<SocketAddr>,
    /// What is logged.
    pub log: String,
    /// In which form.
    pub log_format: LogFormat,
    /// Where the audit trail goes.
    pub audit: Audit,
    /// This worker's name: fit for a role session.
    pub worker: String,
    /// Whether endpoints of AWS and queue URLs without TLS that are not on this machine are allowed. A registrar's server is allowed in its own table.
    pub allow_plain_http: bool,
    /// How many nodes may launch at once, where that was said.
    pub fleet_size: Option<u32>,
    /// The routes, first match first; never empty.
    pub routes: Vec<Route>,
}

impl Config {
    /// The limits of every call.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { connect: self.connect_timeout, attempt: self.attempt_timeout, call: self.call_timeout }
    }
}

/// Where the audit trail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audit {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
    /// To the end of a file.
    File(PathBuf),
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Human,
    /// For machines.
    Json,
}

/// Reads and checks the configuration: the file, with the environment over it.
///
/// # Errors
/// Everything that is wrong, also that the file cannot be read.
pub fn load(path: &Path, environment: &Environment) -> Result<Config, Problems> {
    let file = path.display().to_string();
    let whole = |wrong: String, right: &str| {
        let place = Place::WholeFile(file.clone());
        Problems::new(vec![Problem { place, key: String::new(), wrong, right: right.to_owned() }])
    };
    let unreadable = |error: std::io::Error| whole(format!("it cannot be read ({error})"), "name a file that this user may read");
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_FILE_BYTES {
        return Err(whole(format!("it has {size} bytes"), "name a configuration file, which is far smaller than 1 MiB"));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        whole(format!("it is not UTF-8 from byte {}", error.utf8_error().valid_up_to()), "save it as UTF-8, which TOML is")
    })?;
    parse(&text, &file, environment)
}

/// Checks a configuration's text, with the environment over it. `file` is what the text is called in messages.
///
/// # Errors
/// Everything that is wrong; a text that is not TOML is refused at its first mistake.
pub fn parse(text: &str, file: &str, environment: &Environment) -> Result<Config, Problems> {
    parse_with(KINDS, text, file, environment)
}

/// The same with other kinds of registrars than our own.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(kinds: Kinds, text: &str, file: &str, environment: &Environment) -> Result<Config, Problems> {
    tables::read(text, file, environment, kinds).map_err(Problems::new)
}

/// The process's own variables, as far as they matter here.
#[must_use]
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| name.starts_with(overrides::PREFIX))
        .collect()
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
