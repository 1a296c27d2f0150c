//! Any program: for servers that no other kind speaks to.
//!
//! The program gets the order as JSON on its standard input and its common fields as environment variables, never as part of a
//! command line; `docs/command-registrar.md` is its contract.

mod errors;
mod process;
mod secrets;
mod wire;

use std::ffi::OsStr;
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use process::Ran;
use secrets::Secrets;
use wire::{Said, Told, misunderstood};
use zeroize::Zeroizing;

use super::kind::{Blueprint, Kind, Limits, Material, Unusable};
use super::{Registrar, Reply, without_key};
use crate::aws::detail;
use crate::config::Refusal;
use crate::config::keys::{Key, SPAN, TEXT, TEXTS, required, usual};
use crate::config::reader::Section;
use crate::config::values::{checked, duration, one_of};
use crate::core::call::NodeOrder;
use crate::facts::{Health, KeyMaterial, ListMark, NodeList, Registration, RegistrationStatus, StatusToken};
use crate::names::{NodeName, shown};
use crate::retry::{Class, Failure};

/// `EX_TEMPFAIL` of `sysexits.h`: not now, but later.
const NOT_NOW: i32 = 75;
/// The code of a failure by `EX_USAGE` of `sysexits.h`.
const NO_SUCH_OPERATION: &str = "exit_64";
/// Where programs are found, which is no secret.
const PATH: &str = "PATH";
/// How much of a program's standard output is kept, in bytes.
const MOST_OUTPUT: usize = 64 * 1024;
/// The same for a list of nodes: some 600,000 of them.
const LONGEST_LIST: usize = 16 * 1024 * 1024;
/// The shortest time-out of a run.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Which program, and how it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSettings {
    /// The program: an absolute path.
    pub program: PathBuf,
    /// Its arguments, passed as they are.
    pub args: Vec<String>,
    /// How long one run may take.
    pub timeout: Duration,
    /// Variables of the worker's own environment that it gets, beside `PATH`.
    pub env: Vec<String>,
}

/// A program that enrols nodes.
#[derive(Clone)]
pub struct CommandRegistrar {
    settings: CommandSettings,
    /// What it gets of the worker's environment, as that was at the start. Passwords may be among it.
    environment: Vec<(String, Zeroizing<Vec<u8>>)>,
}

impl fmt::Debug for CommandRegistrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandRegistrar").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What a route's `registrar` may say of a program.
pub(super) const KIND: Kind = Kind { name: "command", page: "command-registrar.md", keys: KEYS, errors: &[errors::ERRORS], read };

/// The keys of its table.
const KEYS: &[Key] = &[
    required("kind", "`command`", "The kind of server: whatever a program of one's own speaks to."),
    required("program", TEXT, "The program: an absolute path. It is run for each order; docs/command-registrar.md is its contract."),
    usual("args", TEXTS, "", "Its arguments, passed as they are: no shell reads them, and nothing is put into them."),
    usual("timeout", SPAN, "30s", "How long one run may take, 1s to 15m. Then the program is killed with everything that it started."),
    usual(
        "env",
        TEXTS,
        "",
        "Names of variables of the worker's own environment that the program gets, beside `PATH`. It gets no others, and AWS credentials \
         only if they are named here.",
    ),
    usual("material", "`public-key` or `certificate-request`", "public-key", "What nodes publish for it."),
];

/// A program as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    command: CommandSettings,
    material: Material,
}

fn read(table: &Section<'_, '_>) -> Option<Box<dyn Blueprint>> {
    let program = table.read("program", checked(absolute_path));
    let args = table.read_each("args", argument);
    let timeout = table.read("timeout", duration(SHORTEST..=LONGEST));
    let env = table.read_each("env", variable_name);
    let material = one_of(&[("public-key", Material::PublicKey), ("certificate-request", Material::CertificateRequest)]);
    let material = table.read("material", material);
    let command = CommandSettings { program: program?, args: args?, timeout: timeout?, env: env? };
    Some(Box::new(Written { command, material: material? }))
}

impl Blueprint for Written {
    fn about(&self) -> String {
        format!("command {}", self.command.program.display())
    }

    /// Which server a program speaks to only it knows: the same program run alike speaks to the same.
    fn identity(&self) -> String {
        format!("{self:?}")
    }

    fn material(&self) -> Material {
        self.material
    }

    fn order_timeout(&self) -> Option<Duration> {
        Some(self.command.timeout)
    }

    fn build(&self, _: &Limits, _: &aws_config::SdkConfig) -> Result<Arc<dyn Registrar>, Unusable> {
        Ok(Arc::new(CommandRegistrar::new(self.command.clone())))
    }
}

/// An absolute path of a file.
fn absolute_path(path: &str) -> Result<PathBuf, Refusal> {
    if path.starts_with('/') && !path.ends_with('/') && !path.contains('\0') {
        Ok(PathBuf::from(path))
    } else {
        Err(Refusal::new(
            format!("{} is not the absolute path of a file", shown(path)),
            "write it from the root on, such as /etc/enrolld/ca.pem",
        ))
    }
}

/// An argument of a program: what the system can pass.
fn argument(text: &str) -> Result<String, Refusal> {
    if text.contains('\0') {
        return Err(Refusal::new(format!("{} holds a NUL character, which ends an argument", shown(text)), "leave it out"));
    }
    Ok(text.to_owned())
}

/// The name of an environment variable that may be passed on. `ENROLLD_` is what we tell the program ourselves.
fn variable_name(name: &str) -> Result<String, Refusal> {
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with("ENROLLD_");
    if good {
        Ok(name.to_owned())
    } else {
        let wrong = format!("{} is not a variable that can be passed on", shown(name));
        Err(Refusal::new(wrong, "write the name of one, such as HOME; names that begin with ENROLLD_ are set by the worker itself"))
    }
}

/// What a program that could not be started means: that it is not there or not to be run is the configuration's fault, that
/// there are too many processes or files just now is not.
fn cannot_start(error: &std::io::Error) -> Failure {
    let meaning = match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::NotADirectory
        | ErrorKind::InvalidInput
        | ErrorKind::IsADirectory => errors::CANNOT_START,
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => errors::CANNOT_START,
        _ => errors::NO_ROOM,
    };
    meaning.failure(format!("the program cannot be started: {}", detail(&error.to_string())))
}

/// What a run that was not a success means: the one place where exit codes are read.
fn classify(ran: &Ran, limit: Duration, secrets: &Secrets) -> Option<Failure> {
    let said = |otherwise: String| if ran.last_line.is_empty() { otherwise } else { secrets.detail(&ran.last_line) };
    let Some(status) = ran.status else {
        return Some(errors::TIMEOUT.failure(format!("the program did not end within {limit:?} and was killed")));
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(NOT_NOW), _) => Some(errors::NOT_NOW.failure(said("the program says that it cannot do it now".into()))),
        (Some(code), _) => Some(errors::EXIT.coded(format!("exit_{code}"), said("the program gave no reason".into()))),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            Some(errors::KILLED.failure(said(format!("the program was killed by signal {signal}"))))
        }
    }
}

impl CommandRegistrar {
    /// A program to be run for each order. What it may see of the environment is looked up now.
    #[must_use]
    pub fn new(settings: CommandSettings) -> Self {
        let names = std::iter::once(PATH).chain(settings.env.iter().map(String::as_str));
        let value = |name: &str| Some(Zeroizing::new(std::env::var_os(name)?.into_vec()));
        let environment = names.filter_map(|name| Some((name.to_owned(), value(name)?))).collect();
        Self { settings, environment }
    }

    /// What a program that was told this must not repeat: the token, and what it has of our environment. The key is looked for by itself, in
    /// the one order that tells it.
    fn secrets(&self, told: &Told<'_>) -> Secrets {
        let mut secrets = Secrets::default();
        told.token().into_iter().for_each(|token| secrets.add("ENROLLD_TOKEN", token));
        for (name, value) in self.environment.iter().filter(|(name, _)| name != PATH) {
            secrets.add(name, &Zeroizing::new(String::from_utf8_lossy(value).into_owned()));
        }
        secrets
    }

    async fn run(&self, told: &Told<'_>) -> Result<Said, Failure> {
        let ran = self.ran(told, MOST_OUTPUT).await?;
        wire::read(&ran.output, ran.cut, &self.secrets(told))
    }

    /// A run that ended with success.
    async fn ran(&self, told: &Told<'_>, most: usize) -> Result<Ran, Failure> {
        let CommandSettings { program, args, timeout, .. } = &self.settings;
        let mut command = tokio::process::Command::new(program);
        command.args(args).env_clear().envs(told.variables());
        command.envs(self.environment.iter().map(|(name, value)| (name, OsStr::from_bytes(value))));
        let ran = process::run(command, &told.json(), *timeout, most).await.map_err(|error| cannot_start(&error))?;
        classify(&ran, *timeout, &self.secrets(told)).map_or(Ok(ran), Err)
    }

    async fn order(&self, told: &Told<'_>) -> Result<Registration, Failure> {
        match self.run(told).await? {
            Said::Success => Ok(Registration::Done),
            Said::InProgress(Some(token)) => Ok(Registration::InProgress(token)),
            Said::InProgress(None) => Err(misunderstood("its answer is in_progress without a token to be asked again with".into())),
            Said::Failed(failure) => Err(failure),
            Said::UnknownToken => Err(misunderstood("it was asked with no token, and says that it does not know it".into())),
        }
    }

    async fn order_status(&self, told: &Told<'_>) -> Result<RegistrationStatus, Failure> {
        Ok(match self.run(told).await {
            Ok(Said::Success) => RegistrationStatus::Success,
            // The token that the order was answered with stays the order's.
            Ok(Said::InProgress(_)) => RegistrationStatus::InProgress,
            Ok(Said::UnknownToken) => RegistrationStatus::UnknownToken,
            // However it says so, it is the order that failed, and not the question.
            Ok(Said::Failed(failure)) => RegistrationStatus::Refused(failure),
            Err(failure) if failure.class == Class::Final => RegistrationStatus::Refused(failure),
            Err(failure) => return Err(failure),
        })
    }

    /// The program's own list. One that knows no such operation says so with `EX_USAGE`, or says nothing.
    async fn nodes(&self) -> Result<NodeList, Failure> {
        let told = Told::operation("list");
        let listed = match self.ran(&told, LONGEST_LIST).await {
            Err(failure) if failure.code == NO_SUCH_OPERATION => None,
            ran => {
                let ran = ran?;
                wire::read_nodes(&ran.output, ran.cut, &self.secrets(&told))?
            }
        };
        Ok(match listed {
            Some(names) => NodeList::Page { names: names.iter().filter_map(|name| NodeName::new(name).ok()).collect(), next: None },
            None => NodeList::Unlisted("the program does not list its nodes"),
        })
    }

    async fn own_check(&self) -> Result<Health, Failure> {
        match self.run(&Told::operation("health")).await {
            Ok(Said::Failed(failure)) => Ok(Health::NotReady(failure.detail)),
            Ok(Said::Success) => Ok(Health::Ready),
            Ok(Said::InProgress(_) | Said::UnknownToken) => {
                Err(misunderstood("it was asked for its health, and answers as to an order".into()))
            }
            Err(failure) if failure.class == Class::NotReady => Ok(Health::NotReady(failure.detail)),
            Err(failure) => Err(failure),
        }
    }
}

impl Registrar for CommandRegistrar {
    fn associate<'a>(&'a self, order: &'a NodeOrder, key: &'a KeyMaterial) -> Reply<'a, Registration> {
        Box::pin(async move {
            let told = Told::about("associate", order).with_key(key);
            self.order(&told).await.map_err(|failure| without_key(failure, key))
        })
    }

    fn status<'a>(&'a self, order: &'a NodeOrder, token: &'a StatusToken) -> Reply<'a, RegistrationStatus> {
        Box::pin(async move { self.order_status(&Told::about("status", order).with_token(token)).await })
    }

    fn disassociate<'a>(&'a self, order: &'a NodeOrder) -> Reply<'a, Registration> {
        Box::pin(async move { self.order(&Told::about("disassociate", order)).await })
    }

    fn health(&self) -> Reply<'_, Health> {
        Box::pin(self.own_check())
    }

    fn list<'a>(&'a self, _after: Option<&'a ListMark>) -> Reply<'a, NodeList> {
        Box::pin(self.nodes())
    }
}
