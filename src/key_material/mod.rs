//! SSM: where nodes publish their key material, by parameter or by Run Command; and what a valid key or request is.

pub mod check;
mod errors;
pub mod history;
mod owner;
mod parameters;
mod run_command;

pub use check::{CsrRuleError, CsrRules, Engine};
pub use errors::classify;
pub use owner::{OwnerRole, OwnerRoleError};
pub use parameters::Parameters;

use aws_sdk_ssm::Client;

use crate::core::call::{BatchAnswer, KeyWanted};
use crate::facts::{CommandId, CommandOutput, KeyAnswer};
use crate::names::InstanceId;
use crate::retry::{Class, Failure};

/// Where a route's nodes publish their key material.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A parameter of SSM's Parameter Store.
    Parameter {
        /// The role whose session, named after the instance, must have written the parameter, and one key only; none where anybody
        /// may, and whatever stands there counts.
        owner: Option<OwnerRole>,
    },
    /// The standard output of a Run Command document.
    RunCommand(Document),
}

/// A Run Command document, with what it is sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name or ARN.
    pub name: String,
    /// Its version; the default one where none is given.
    pub version: Option<String>,
    /// The fixed commands for `AWS-RunShellScript`; empty for a document of one's own, which needs none.
    pub commands: Vec<String>,
}

/// The key source of one route, in its scope.
#[derive(Debug, Clone)]
pub struct Keys {
    client: Client,
    source: KeySource,
    engine: Engine,
}

impl Keys {
    /// A route's key source with its scope's configuration.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, source: KeySource, engine: Engine) -> Self {
        Self { client: Client::new(config), source, engine }
    }

    /// Reads and checks the key material of nodes, in the order asked: in one GetParameters for up to ten, and one GetParameterHistory for
    /// each that was written more than once; or, where the owner is checked, one GetParameterHistory each.
    ///
    /// # Errors
    /// By this room's table. One name that is denied, malformed or cannot be decrypted fails all ten.
    pub async fn fetch(&self, wanted: &[KeyWanted]) -> BatchAnswer<KeyAnswer> {
        match &self.source {
            KeySource::Parameter { owner: None } => parameters::fetch(&self.client, &self.engine, wanted).await,
            // One alone is the call: what it fails with is the call's failure.
            KeySource::Parameter { owner: Some(owner) } if wanted.len() == 1 => {
                parameters::fetch_history(&self.client, &self.engine, Some(owner), &wanted[0]).await.map(|answer| vec![Ok(answer)])
            }
            KeySource::Parameter { owner: Some(owner) } => {
                let mut answers = Vec::with_capacity(wanted.len());
                for one in wanted {
                    answers.push(parameters::fetch_history(&self.client, &self.engine, Some(owner), one).await);
                }
                Ok(answers)
            }
            KeySource::RunCommand(_) => Err(not_this_source("the route's keys come from Run Command, not from parameters")),
        }
    }

    /// The API operation that [`Keys::fetch`] calls.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match &self.source {
            KeySource::Parameter { owner: Some(_) } => "GetParameterHistory",
            _ => "GetParameters",
        }
    }

    /// Sends the route's document to up to 50 instances.
    ///
    /// # Errors
    /// By this room's table; [`Class::NotReady`] for all of them until the agent of each has registered.
    pub async fn send_command(&self, instances: &[InstanceId]) -> Result<CommandId, Failure> {
        match &self.source {
            KeySource::RunCommand(document) => run_command::send(&self.client, document, instances).await,
            KeySource::Parameter { .. } => Err(not_this_source("the route's keys come from parameters, not from Run Command")),
        }
    }

    /// What a command brought from a node; its output is checked.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn fetch_output(&self, command: &CommandId, wanted: &KeyWanted) -> Result<CommandOutput, Failure> {
        run_command::fetch_output(&self.client, &self.engine, command, wanted).await
    }
}

/// The core asks each route for what its settings say, so this cannot happen; were it to, waiting would not mend it.
fn not_this_source(why: &str) -> Failure {
    Failure::new(Class::Final, "wrong_key_source", why)
}
