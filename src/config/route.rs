//! A route: which groups, which server, where the key material is, and the limits of the way.

use std::time::Duration;

use super::registrars::Registrar;
use super::rules::RoleArn;
use crate::core::settings::{DeleteKey, OnFailure};
use crate::names::{Region, Template};
use crate::retry::Schedule;

/// The way that the instances of some groups take.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its unique name.
    pub name: String,
    /// Group names or globs (`*`, `?`).
    pub groups: Vec<String>,
    /// Which account, region and role it is asked with.
    pub scope: Scope,
    /// The server that nodes are enrolled with.
    pub registrar: Registrar,
    /// The node's name there.
    pub node_name: Template,
    /// Where nodes publish their key material.
    pub key: KeySource,
    /// How often key material that is not there yet is asked for.
    pub key_poll: Duration,
    /// The most key reads a second of all routes in its account and region together.
    pub key_rate: f64,
    /// How an association's status is looked at.
    pub status_poll: Schedule,
    /// Each action's budget, counted from when it was taken up.
    pub timeout: Duration,
    /// What a launch that cannot be enrolled is completed with.
    pub on_failure: OnFailure,
    /// The parameter that the certificate is written under which the server signs for a node.
    pub certificate_parameter: Option<Template>,
    /// When the node's parameter is deleted.
    pub delete_key: DeleteKey,
    /// How many launches may be abandoned for a fault of the route within `abandon_window`.
    pub max_abandons: u32,
    /// The window of `max_abandons`.
    pub abandon_window: Duration,
    /// The most orders to its server a second, where a limit was set.
    pub max_rate: Option<f64>,
    /// Certificate request extensions that are allowed (Puppet).
    pub allow_extensions: Vec<AllowedExtension>,
}

/// One account, region and role. The worker's own has none of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// The region, where it is not the worker's own.
    pub region: Option<Region>,
    /// The role to assume.
    pub role: Option<RoleArn>,
    /// The external id that assuming it takes.
    pub external_id: Option<String>,
}

/// Where nodes publish their key material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// An SSM parameter.
    Parameter {
        /// Its name.
        name: Template,
        /// Whose writing is believed.
        owner: Owner,
    },
    /// The standard output of a Run Command document.
    RunCommand {
        /// The document.
        document: String,
        /// The script, for `AWS-RunShellScript` alone.
        commands: Vec<String>,
    },
}

/// Whose writing of a parameter is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A session of this role, named after the instance.
    Role(RoleArn),
    /// Anybody's (`require_owner = false`).
    Anybody,
}

/// A certificate request extension that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedExtension {
    /// Its object identifier.
    pub oid: String,
    /// A glob (`*`, `?`) that its value must match.
    pub pattern: String,
}
