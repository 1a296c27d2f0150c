//! A route: which groups, which server, where the key material is, and the limits of the way.

use std::path::PathBuf;
use std::time::Duration;

use super::rules::RoleArn;
use crate::core::settings::{DeleteKey, OnFailure};
use crate::names::{Region, ServerUrl, Template};
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
    /// The most key reads a second.
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
    /// The most associations a second, where a limit was set.
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

/// A server that nodes are enrolled with. One variant a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registrar {
    /// `kind = "opsworks-cm"`
    OpsWorksCm {
        /// The server's name: 1 to 40 letters, digits and hyphens.
        server: String,
        /// What it is.
        engine: Engine,
    },
    /// `kind = "chef-server"`
    ChefServer(Box<ChefServer>),
    /// `kind = "puppet-ca"`
    PuppetCa(Box<PuppetCa>),
    /// `kind = "command"`
    Command {
        /// The program: an absolute path.
        program: PathBuf,
        /// Its arguments.
        args: Vec<String>,
        /// How long one run may take.
        timeout: Duration,
        /// The variables of the worker's environment that it gets, beside `PATH`.
        env: Vec<String>,
        /// What nodes publish for it.
        material: Material,
    },
}

/// The certificate authority of a Puppet Server of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PuppetCa {
    /// The server.
    pub url: ServerUrl,
    /// The file with the certificate of a client that may sign.
    pub certificate: PathBuf,
    /// The file with its private key.
    pub private_key: PathBuf,
    /// The only authorities that the server's certificate may come from.
    pub ca_file: PathBuf,
    /// Whether what stands under a node's name and is not its own is taken away for it.
    pub replace_existing: bool,
}

/// What nodes publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Material {
    /// A public key.
    PublicKey,
    /// A certificate request.
    CertificateRequest,
}

/// A Chef Infra Server of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChefServer {
    /// Its base URL, with the organization where it has them.
    pub url: ServerUrl,
    /// Whose key the requests are signed with.
    pub client_name: String,
    /// The file with that key.
    pub client_key: PathBuf,
    /// The only authority that the server's certificate may come from; the system's where none.
    pub ca_file: Option<PathBuf>,
    /// What new nodes are given to do.
    pub node: NodeSettings,
    /// Whether a node that is there with another key is replaced.
    pub replace_existing: bool,
}

/// What new nodes of a Chef Infra Server are given to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeSettings {
    /// Their environment and run list.
    RunList {
        /// `chef_environment`
        environment: String,
        /// `run_list`
        run_list: Vec<String>,
    },
    /// Their policy.
    Policy {
        /// `policy_name`
        name: String,
        /// `policy_group`
        group: String,
    },
}

impl Registrar {
    /// The kind as it is written.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::OpsWorksCm { .. } => "opsworks-cm",
            Self::ChefServer(_) => "chef-server",
            Self::PuppetCa(_) => "puppet-ca",
            Self::Command { .. } => "command",
        }
    }

    /// Whether both speak to the same server, if they are asked with the same scope.
    #[must_use]
    pub fn same_server(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::OpsWorksCm { server, .. }, Self::OpsWorksCm { server: other, .. }) => server == other,
            (Self::ChefServer(chef), Self::ChefServer(other)) => chef.url == other.url,
            (Self::PuppetCa(ca), Self::PuppetCa(other)) => ca.url == other.url,
            // Which server a program speaks to only it knows: the same program run alike speaks to the same.
            (Self::Command { .. }, Self::Command { .. }) => self == other,
            _ => false,
        }
    }

    /// Whether the server gives back the certificate that it signs for a node.
    #[must_use]
    pub fn gives_certificates(&self) -> bool {
        matches!(self, Self::PuppetCa(_) | Self::OpsWorksCm { engine: Engine::Puppet, .. })
    }

    /// Whether the key material is a certificate request (Puppet), and not a public key (Chef).
    #[must_use]
    pub fn takes_certificate_requests(&self) -> bool {
        match self {
            Self::OpsWorksCm { engine, .. } => *engine == Engine::Puppet,
            Self::ChefServer(_) => false,
            Self::PuppetCa(_) => true,
            Self::Command { material, .. } => *material == Material::CertificateRequest,
        }
    }
}

/// What an OpsWorks CM server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// Chef Automate.
    Chef {
        /// The organization (`CHEF_ORGANIZATION`).
        organization: String,
    },
    /// Puppet Enterprise.
    Puppet,
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
