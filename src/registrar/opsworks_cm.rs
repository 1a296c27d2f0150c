//! AWS OpsWorks CM: managed Chef Automate and Puppet Enterprise servers.
//!
//! AWS ended the service in 2024; what speaks its API is served all the same.

use std::sync::Arc;

use aws_sdk_opsworkscm::Client;
use aws_sdk_opsworkscm::types::{EngineAttribute, NodeAssociationStatus, ServerStatus};

use super::kind::{Advice, Agent, Blueprint, Kind, Limits, Material, Rights, Unusable};
use super::{Registrar, Reply, without_key};
use crate::aws::{detail, from_sdk, further, shared_class};
use crate::config::Refusal;
use crate::config::keys::{Key, TEXT, optional, required};
use crate::config::reader::Section;
use crate::config::values::{checked, one_of};
use crate::core::call::NodeOrder;
use crate::facts::{Certificate, Health, KeyMaterial, ListMark, NodeList, Registration, RegistrationStatus, StatusToken};
use crate::meanings;
use crate::names::shown;
use crate::retry::{Class, Failure};

/// What a server manages nodes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CmEngine {
    /// Chef, with the organization that nodes join (usually `default`).
    Chef {
        /// `CHEF_ORGANIZATION`
        organization: String,
    },
    /// Puppet.
    Puppet,
}

/// Which server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CmSettings {
    /// The server's name.
    pub server: String,
    /// What it manages nodes with.
    pub engine: CmEngine,
}

/// A server of OpsWorks CM.
#[derive(Debug, Clone)]
pub struct OpsWorksCm {
    client: Client,
    settings: CmSettings,
}

meanings! {
    NOT_HEALTHY: NotReady, "InvalidStateException", "the server is not HEALTHY: its weekly maintenance, its daily backup, or worse";
    NO_SUCH: RouteFault, "ResourceNotFoundException", "no such server, or access denied";
    NO_SERVER: RouteFault, "no_server", "DescribeServers lists no such server";
    INVALID: Final, "ValidationException", "what is asked for this node is not valid";
    UNKNOWN_STATUS: Transient, "unknown_status", "DescribeNodeAssociationStatus answered with a status that is none";
    FAILED: Final, "registrar_failed", "DescribeNodeAssociationStatus answered FAILED, which has no reason; the state of the server is said with it";
    SLOW_DOWN: Throttled, "ThrottlingException, …", "asked too often, by the codes that every AWS service has for that";
    BROKEN: Transient, "ServiceUnavailable, http_5NN, timeout, …", "5xx, time-outs, lost connections";
    DENIED: RouteFault, "AccessDeniedException, …", "rights or credentials are missing, or something else than AWS answers";
    OTHERS: Final, "anything else", "a refusal that is not known";
}

/// The class of a failed call. Source: the errors of the API version 2016-11-01, all of them HTTP 400.
#[must_use]
pub fn classify(code: &str, status: u16) -> Class {
    ERRORS.iter().find(|meaning| meaning.code == code).map_or_else(|| shared_class(code, status), |meaning| meaning.class)
}

/// What a route's `registrar` may say of a server of OpsWorks CM.
pub(super) const KIND: Kind = Kind { name: "opsworks-cm", page: "opsworks-cm.md", keys: KEYS, errors: &[ERRORS], read };

/// The keys of its table.
const KEYS: &[Key] = &[
    required("kind", "`opsworks-cm`", "The kind of server."),
    required("server", TEXT, "The OpsWorks CM server's name: 1 to 40 letters, digits and hyphens, beginning with a letter."),
    required("engine", "`chef` or `puppet`", "What the server is."),
    optional("organization", TEXT, "`default` for Chef", "The Chef organization. Not for Puppet."),
];

fn read(table: &Section<'_, '_>) -> Option<Box<dyn Blueprint>> {
    #[derive(Clone, Copy)]
    enum Software {
        Chef,
        Puppet,
    }
    let server = table.read("server", checked(server_name));
    let engine = table.read("engine", one_of(&[("chef", Software::Chef), ("puppet", Software::Puppet)]));
    let organization = table.read_optional("organization", checked(organization_name));
    let engine = match engine? {
        Software::Chef => CmEngine::Chef { organization: organization?.unwrap_or_else(|| "default".to_owned()) },
        Software::Puppet => {
            if table.has("organization") {
                let right = "leave it out, or write engine = \"chef\"";
                table.refuse("organization", Refusal::new("a Puppet server has no organizations", right));
            }
            CmEngine::Puppet
        }
    };
    Some(Box::new(CmSettings { server: server?, engine }))
}

impl Blueprint for CmSettings {
    fn about(&self) -> String {
        format!("server {}", self.server)
    }

    /// What AssociateNode answers for a node that is there is documented nowhere.
    fn leaves_repeats_open(&self) -> bool {
        true
    }

    fn material(&self) -> Material {
        match self.engine {
            CmEngine::Chef { .. } => Material::PublicKey,
            CmEngine::Puppet => Material::CertificateRequest,
        }
    }

    fn gives_certificates(&self) -> bool {
        self.engine == CmEngine::Puppet
    }

    fn agent(&self) -> Option<Agent> {
        Some(if self.engine == CmEngine::Puppet { Agent::Puppet } else { Agent::Chef })
    }

    /// In policies the service knows no resources (Service Authorization Reference), so that a server cannot be named.
    fn rights(&self) -> Option<&'static Rights> {
        Some(&Rights {
            associate: "opsworks-cm:AssociateNode",
            status: "opsworks-cm:DescribeNodeAssociationStatus",
            health: "opsworks-cm:DescribeServers",
            disassociate: "opsworks-cm:DisassociateNode",
        })
    }

    /// Maintenance, backup and the making of a server end; these states do not. (What is past mending is [`Health::Dead`].)
    fn mends_itself(&self, state: &str) -> bool {
        !["CONNECTION_LOST", "UNHEALTHY"].contains(&state)
    }

    fn advice(&self, failure: &Failure) -> Option<Advice> {
        matches!(failure.code.as_str(), "ResourceNotFoundException" | "no_server").then(|| Advice {
            found: "there is no such server, or this role may not see it".to_owned(),
            remedy: "correct server, region and role, or allow it",
        })
    }

    fn build(&self, _: &Limits, aws: &aws_config::SdkConfig) -> Result<Arc<dyn Registrar>, Unusable> {
        Ok(Arc::new(OpsWorksCm::new(aws, self.clone())))
    }
}

/// OpsWorks CM's rule for `ServerName`: 1 to 40 of `[a-zA-Z][a-zA-Z0-9\-]*`.
fn server_name(name: &str) -> Result<String, Refusal> {
    let good = name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if good {
        Ok(name.to_owned())
    } else {
        let wrong = format!("{} is not the name of an OpsWorks CM server", shown(name));
        Err(Refusal::new(wrong, "write 1 to 40 letters, digits and hyphens, beginning with a letter"))
    }
}

/// Chef's rule for an organization's short name: lower case, beginning with a letter or digit, at most 255.
fn organization_name(name: &str) -> Result<String, Refusal> {
    let good = name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if good {
        Ok(name.to_owned())
    } else {
        let wrong = format!("{} is not the short name of a Chef organization", shown(name));
        Err(Refusal::new(wrong, "write a-z 0-9 _ -, beginning with a letter or a digit, such as \"default\""))
    }
}

impl OpsWorksCm {
    /// A server with a scope's configuration.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, settings: CmSettings) -> Self {
        Self { client: Client::new(config), settings }
    }

    /// The attributes that both an association and a disassociation carry.
    fn organization(&self) -> Option<EngineAttribute> {
        match &self.settings.engine {
            CmEngine::Chef { organization } => Some(attribute("CHEF_ORGANIZATION", organization)),
            CmEngine::Puppet => None,
        }
    }

    fn key_attribute(&self, key: &KeyMaterial) -> EngineAttribute {
        match &self.settings.engine {
            CmEngine::Chef { .. } => attribute("CHEF_NODE_PUBLIC_KEY", key.pem()),
            CmEngine::Puppet => attribute("PUPPET_NODE_CSR", key.pem()),
        }
    }

    async fn associate_node(&self, order: &NodeOrder, key: &KeyMaterial) -> Result<Registration, Failure> {
        let mut request = self.client.associate_node().server_name(&self.settings.server).node_name(order.node.as_str());
        request = request.engine_attributes(self.key_attribute(key));
        if let Some(organization) = self.organization() {
            request = request.engine_attributes(organization);
        }
        let output = request.send().await.map_err(|error| without_key(from_sdk(&error, classify), key))?;
        Ok(registration(output.node_association_status_token))
    }

    async fn association_status(&self, token: &StatusToken) -> Result<RegistrationStatus, Failure> {
        let request = self.client.describe_node_association_status().server_name(&self.settings.server);
        let output = match request.node_association_status_token(token.as_str()).send().await {
            Ok(output) => output,
            // The token is not recent. That the server is gone has the same code; the next association tells.
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                return Ok(RegistrationStatus::UnknownToken);
            }
            Err(error) => return Err(from_sdk(&error, classify)),
        };
        Ok(match output.node_association_status {
            Some(NodeAssociationStatus::Success) => match certificate(output.engine_attributes.unwrap_or_default()) {
                Some(certificate) => RegistrationStatus::Signed(certificate),
                None => RegistrationStatus::Success,
            },
            Some(NodeAssociationStatus::Failed) => {
                // The service gives no reason; how the server is may be one.
                let state = match further("CheckHealth", self.server_health()).await {
                    Ok(Health::Ready) => "HEALTHY".to_owned(),
                    Ok(Health::NotReady(state) | Health::Dead(state)) => state,
                    Err(failure) => format!("not to be learnt ({})", failure.code),
                };
                RegistrationStatus::Failed(format!("the server reported FAILED, without a reason; it is {state}"))
            }
            Some(NodeAssociationStatus::InProgress) => RegistrationStatus::InProgress,
            other => {
                let shown = other.as_ref().map_or("no status", NodeAssociationStatus::as_str);
                return Err(UNKNOWN_STATUS.failure(detail(shown)));
            }
        })
    }

    async fn disassociate_node(&self, order: &NodeOrder) -> Result<Registration, Failure> {
        let mut request = self.client.disassociate_node().server_name(&self.settings.server).node_name(order.node.as_str());
        if let Some(organization) = self.organization() {
            request = request.engine_attributes(organization);
        }
        match request.send().await {
            Ok(output) => Ok(registration(output.node_association_status_token)),
            // The code says that the server or the node is not there, and not which. Where the server is, the node is not, and
            // one missing node must not be taken for a fault that stops everybody's.
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                let failure = from_sdk(&error, classify);
                match further("CheckHealth", self.server_health()).await {
                    Ok(Health::Ready) => Ok(Registration::Done),
                    Ok(Health::NotReady(state)) => Err(NOT_HEALTHY.coded(failure.code, format!("the server is {state}"))),
                    Ok(Health::Dead(state)) => Err(NO_SUCH.coded(failure.code, format!("the server is {state}"))),
                    Err(_) => Err(failure),
                }
            }
            Err(error) => Err(from_sdk(&error, classify)),
        }
    }

    async fn server_health(&self) -> Result<Health, Failure> {
        let request = self.client.describe_servers().server_name(&self.settings.server);
        let output = request.send().await.map_err(|error| from_sdk(&error, classify))?;
        let server = output.servers.unwrap_or_default().into_iter().next();
        let server = server.ok_or_else(|| NO_SERVER.failure("DescribeServers lists no such server"))?;
        Ok(match server.status {
            Some(ServerStatus::Healthy) => Health::Ready,
            // No maintenance ends in these: somebody has to mend the server, or to name another.
            Some(dead @ (ServerStatus::Failed | ServerStatus::Terminated | ServerStatus::Deleting)) => {
                Health::Dead(dead.as_str().to_owned())
            }
            Some(other) => Health::NotReady(detail(other.as_str())),
            None => Health::NotReady("no status".into()),
        })
    }
}

impl Registrar for OpsWorksCm {
    fn associate<'a>(&'a self, order: &'a NodeOrder, key: &'a KeyMaterial) -> Reply<'a, Registration> {
        Box::pin(self.associate_node(order, key))
    }

    fn status<'a>(&'a self, _order: &'a NodeOrder, token: &'a StatusToken) -> Reply<'a, RegistrationStatus> {
        Box::pin(self.association_status(token))
    }

    fn disassociate<'a>(&'a self, order: &'a NodeOrder) -> Reply<'a, Registration> {
        Box::pin(self.disassociate_node(order))
    }

    fn health(&self) -> Reply<'_, Health> {
        Box::pin(self.server_health())
    }

    fn list<'a>(&'a self, _after: Option<&'a ListMark>) -> Reply<'a, NodeList> {
        Box::pin(async { Ok(NodeList::Unlisted("OpsWorks CM has no operation that lists the nodes of a server")) })
    }
}

fn attribute(name: &str, value: &str) -> EngineAttribute {
    EngineAttribute::builder().name(name).value(value).build()
}

/// What a Puppet server signed for the node (`PUPPET_NODE_CERT`).
fn certificate(attributes: Vec<EngineAttribute>) -> Option<Certificate> {
    let value = attributes.into_iter().find(|attribute| attribute.name() == Some("PUPPET_NODE_CERT"))?.value?;
    let is_one = pem::parse(&value).is_ok_and(|block| block.tag() == "CERTIFICATE");
    is_one.then(|| Certificate(value.into()))
}

/// Without a token there is nothing to ask after.
fn registration(token: Option<String>) -> Registration {
    match token.filter(|token| !token.is_empty()) {
        Some(token) => Registration::InProgress(StatusToken::new(token)),
        None => Registration::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_every_aws_service_have_the_class_that_the_table_says() {
        for (code, status, meaning) in [
            ("ThrottlingException", 400, SLOW_DOWN),
            ("ServiceUnavailable", 503, BROKEN),
            ("", 502, BROKEN),
            ("AccessDeniedException", 400, DENIED),
            ("SomethingNew", 400, OTHERS),
            ("InvalidStateException", 400, NOT_HEALTHY),
        ] {
            assert_eq!(classify(code, status), meaning.class, "{code}");
        }
    }

    #[test]
    fn a_server_name_keeps_the_services_rule() {
        for good in ["c", "chef-automate", &"a".repeat(40)] {
            assert!(server_name(good).is_ok(), "{good}");
        }
        for bad in ["", "1chef", "-chef", "chef_automate", "chef.example", "größe", &"a".repeat(41)] {
            assert!(server_name(bad).is_err(), "{bad}");
        }
    }
}
