//! Systems Manager: parameters with their history, and Run Command.

mod browse;
mod commands;
mod documents;
mod inventory;
mod names;
mod parameters;
pub mod wire;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::context::Context;
pub(crate) use commands::Run;
pub(crate) use inventory::describe_instances;

/// What the account's Systems Manager does beyond the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SsmOptions {
    /// A call that names a parameter with one of these prefixes is denied as a whole.
    pub denied_prefixes: Vec<String>,
    /// A decrypting call that names a SecureString with one of these prefixes fails as a whole.
    pub undecryptable_prefixes: Vec<String>,
    /// How many standard parameters there may be.
    pub parameter_limit: usize,
    /// Whether pages of DescribeParameters are sometimes empty although more follow.
    pub empty_pages: bool,
    /// How long after SendCommand an invocation is not known yet, in milliseconds.
    pub invocation_known_after_ms: u64,
    /// How long a command runs on an instance, in milliseconds after that.
    pub command_runs_ms: u64,
    /// Whether it is noted which parameters were asked for and not there.
    pub note_misses: bool,
}

impl Default for SsmOptions {
    fn default() -> Self {
        Self {
            denied_prefixes: Vec::new(),
            undecryptable_prefixes: Vec::new(),
            parameter_limit: 10_000,
            empty_pages: false,
            invocation_known_after_ms: 300,
            command_runs_ms: 700,
            note_misses: false,
        }
    }
}

/// The account's parameters, documents and commands.
#[derive(Debug, Default)]
pub struct Ssm {
    pub(crate) options: SsmOptions,
    parameters: BTreeMap<Arc<str>, Parameter>,
    standard: usize,
    documents: BTreeMap<String, Document>,
    commands: HashMap<Arc<str>, Command>,
    commands_in_order: Vec<Arc<str>>,
    misses: HashMap<String, Miss>,
}

/// A parameter that was asked for and not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// How often.
    pub count: u64,
    /// When for the first time, in unix milliseconds.
    pub first_ms: u64,
    /// When last.
    pub last_ms: u64,
    /// The longest time between two of them, in milliseconds.
    pub longest_gap_ms: u64,
}

#[derive(Debug)]
struct Parameter {
    kind: Kind,
    advanced: bool,
    versions: VecDeque<Version>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    String,
    StringList,
    SecureString,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringList => "StringList",
            Self::SecureString => "SecureString",
        }
    }
}

#[derive(Debug)]
struct Version {
    number: u64,
    value: String,
    at: u64,
    by: Arc<str>,
    key_id: Option<String>,
}

#[derive(Debug)]
struct Document {
    content: String,
    kind: String,
    format: String,
    schema: String,
    parameters: Vec<(String, String)>,
    created: u64,
}

#[derive(Debug)]
struct Command {
    document: String,
    parameters: BTreeMap<String, Vec<String>>,
    comment: String,
    created: u64,
    invocations: BTreeMap<String, Invocation>,
}

#[derive(Debug)]
struct Invocation {
    status: &'static str,
    details: &'static str,
    code: i32,
    started: u64,
    ended: Option<u64>,
    output: String,
    error: String,
}

/// A parameter, as the state shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ParameterState {
    /// String, StringList or SecureString.
    pub kind: String,
    /// Its value, in clear: everything in the simulator is for show.
    pub value: String,
    /// Its version.
    pub version: u64,
    /// Who wrote it last.
    pub last_modified_user: String,
}

/// A command on one instance, as the state shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InvocationState {
    /// The command.
    pub command: String,
    /// The instance.
    pub instance: String,
    /// Its document.
    pub document: String,
    /// What it was sent with.
    pub parameters: BTreeMap<String, Vec<String>>,
    /// Its status.
    pub status: String,
}

impl Ssm {
    pub(crate) fn new(options: SsmOptions) -> Self {
        Self { options, ..Self::default() }
    }

    pub(crate) fn misses(&self) -> BTreeMap<String, Miss> {
        self.misses.iter().map(|(name, miss)| (name.clone(), *miss)).collect()
    }

    /// Notes that a parameter was asked for which is not there.
    fn missed(&mut self, cx: &Context, name: &str) {
        if !self.options.note_misses {
            return;
        }
        let fresh = || Miss { count: 0, first_ms: cx.now, last_ms: cx.now, longest_gap_ms: 0 };
        let miss = self.misses.entry(name.to_owned()).or_insert_with(fresh);
        miss.count += 1;
        miss.longest_gap_ms = miss.longest_gap_ms.max(cx.now - miss.last_ms);
        miss.last_ms = cx.now;
    }

    pub(crate) fn parameter_count(&self) -> usize {
        self.parameters.len()
    }

    pub(crate) fn state(&self) -> BTreeMap<String, ParameterState> {
        let show = |(name, parameter): (&Arc<str>, &Parameter)| {
            let latest = parameter.versions.back()?;
            let state = ParameterState {
                kind: parameter.kind.name().into(),
                value: latest.value.clone(),
                version: latest.number,
                last_modified_user: latest.by.to_string(),
            };
            Some((name.to_string(), state))
        };
        self.parameters.iter().filter_map(show).collect()
    }

    pub(crate) fn command_state(&self) -> Vec<InvocationState> {
        let mut all = Vec::new();
        for id in &self.commands_in_order {
            let command = &self.commands[id];
            all.extend(command.invocations.iter().map(|(instance, invocation)| InvocationState {
                command: id.to_string(),
                instance: instance.clone(),
                document: command.document.clone(),
                parameters: command.parameters.clone(),
                status: invocation.status.into(),
            }));
        }
        all
    }
}

fn arn_of(cx: &Context, name: &str) -> String {
    let slash = if name.starts_with('/') { "" } else { "/" };
    format!("arn:aws:ssm:{}:{}:parameter{slash}{name}", cx.settings.region, cx.settings.account)
}
