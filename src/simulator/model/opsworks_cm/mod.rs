//! OpsWorks CM: Chef and Puppet servers, and the nodes that are associated with them.

mod associate;
mod checks;
pub mod wire;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::context::{Context, epoch_seconds};
use super::error::{Answer, ApiError};
use wire::{DescribeServers, Server as ServerAnswer, ServerStatus, Servers};

/// A server to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewServer {
    /// Its name.
    pub name: String,
    /// What it runs.
    #[serde(default)]
    pub engine: Engine,
    /// Its status.
    #[serde(default)]
    pub status: ServerStatus,
    /// How it treats associations.
    #[serde(default)]
    pub options: ServerOptions,
}

/// What a server runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Chef Automate.
    #[default]
    Chef,
    /// Puppet Enterprise.
    Puppet,
}

/// How a server treats associations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerOptions {
    /// How long an association takes, in milliseconds; with 0 it is done at the first look.
    pub association_ms: u64,
    /// Up to so many milliseconds more.
    pub association_jitter_ms: u64,
    /// The probability that an association fails.
    pub failures: f64,
    /// The probability that the disassociation of a node that is there fails.
    pub removal_failures: f64,
    /// What AssociateNode does with a node that exists; AWS documents nothing.
    pub repeated: Repeated,
    /// What a Disassociate of a node that is not there ends with.
    pub absent: Repeated,
    /// How long a token is known after its association ended, in milliseconds.
    pub token_known_ms: u64,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            association_ms: 200,
            association_jitter_ms: 0,
            failures: 0.0,
            removal_failures: 0.0,
            repeated: Repeated::Success,
            absent: Repeated::Success,
            token_known_ms: 3_600_000,
        }
    }
}

/// What happens where the server is already as it is asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeated {
    /// It succeeds; another key replaces the node's.
    Success,
    /// The call is accepted, and its status becomes FAILED.
    Failed,
    /// The call is refused with ValidationException.
    Validation,
}

/// The account's servers, and the log of every association.
#[derive(Debug, Default)]
pub struct OpsworksCm {
    servers: BTreeMap<Arc<str>, Server>,
    tokens: HashMap<Arc<str>, Association>,
    /// When the last thing that was accepted for a node of a server ends, and whether the node is there then.
    under_way: HashMap<(Arc<str>, String), (u64, bool)>,
    log: Vec<LogEntry>,
}

#[derive(Debug)]
struct Server {
    name: Arc<str>,
    engine: Engine,
    status: ServerStatus,
    /// What it becomes again by itself, and when.
    then: Option<(u64, ServerStatus)>,
    created: u64,
    options: ServerOptions,
    nodes: BTreeMap<String, Node>,
}

#[derive(Clone, Debug)]
struct Node {
    fingerprint: String,
    since: u64,
}

#[derive(Debug)]
struct Association {
    server: Arc<str>,
    node: String,
    wish: Wish,
    fails: bool,
    ended: Option<u64>,
    caller: Arc<str>,
}

#[derive(Clone, Debug)]
enum Wish {
    Associate { fingerprint: String },
    Disassociate,
}

/// One line of the log: nothing in it is ever changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When, in unix milliseconds.
    pub at_ms: u64,
    /// The server.
    pub server: String,
    /// The node.
    pub node: String,
    /// What happened.
    pub what: Happened,
    /// The MD5 sum of the key or certificate request, for associations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Who called.
    pub caller: String,
    /// The token of the association.
    pub token: String,
}

/// What a line of the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// AssociateNode was accepted.
    AssociateAccepted,
    /// The node is associated.
    Associated,
    /// The association failed.
    AssociateFailed,
    /// DisassociateNode was accepted.
    DisassociateAccepted,
    /// The node is no longer associated.
    Disassociated,
    /// The disassociation failed.
    DisassociateFailed,
}

/// A server, as the state shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerState {
    /// What it runs.
    pub engine: Engine,
    /// Its status.
    pub status: ServerStatus,
    /// How many nodes are associated.
    pub node_count: usize,
    /// The nodes, and the fingerprint of each one's key; left out where only counts were asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, NodeState>,
}

/// A node, as the state shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// The MD5 sum of its key or certificate request.
    pub fingerprint: String,
    /// When it was associated, in unix milliseconds.
    pub since_ms: u64,
}

impl OpsworksCm {
    pub(crate) fn create_server(&mut self, cx: &Context, new: NewServer) -> Answer<()> {
        checks::server_name(Some(&new.name))?;
        let name: Arc<str> = new.name.as_str().into();
        if self.servers.contains_key(&name) {
            return Err(ApiError::client("ResourceAlreadyExistsException", format!("Server {name} already exists.")));
        }
        let server = Server {
            name: Arc::clone(&name),
            engine: new.engine,
            status: new.status,
            then: None,
            created: cx.now,
            options: new.options,
            nodes: BTreeMap::new(),
        };
        self.servers.insert(name, server);
        Ok(())
    }

    pub(crate) fn delete_server(&mut self, name: &str) -> bool {
        self.servers.remove(name).is_some()
    }

    /// Puts a server into a state; with `for_ms` it becomes HEALTHY again by itself.
    pub(crate) fn set_status(&mut self, cx: &Context, name: &str, status: ServerStatus, for_ms: Option<u64>) -> bool {
        let Some(server) = self.servers.get_mut(name) else {
            return false;
        };
        server.status = status;
        server.then = for_ms.map(|length| (cx.now + length, ServerStatus::Healthy));
        true
    }

    pub(crate) fn set_options(&mut self, name: &str, options: ServerOptions) -> bool {
        let server = self.servers.get_mut(name);
        server.map(|server| server.options = options).is_some()
    }

    pub(crate) fn describe_servers(&self, cx: &Context, _: &Caller, request: &DescribeServers) -> Answer<Servers> {
        if request.max_results.is_some_and(|size| size < 1) {
            return Err(ApiError::constraint("0", "maxResults", "Member must have value greater than or equal to 1"));
        }
        if let Some(name) = &request.server_name {
            checks::server_name(Some(name))?;
            let server = self.servers.get(name.as_str()).ok_or_else(|| no_such_server(name))?;
            return Ok(Servers { servers: vec![server.show(cx)], next_token: None });
        }
        let limit = request.max_results.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        let from = request.next_token.as_deref().unwrap_or_default();
        if !from.is_empty() && !self.servers.contains_key(from) {
            return Err(ApiError::client("InvalidNextTokenException", "The token is not valid."));
        }
        let mut servers = self.servers.values().filter(|server| &*server.name > from);
        let page: Vec<&Server> = servers.by_ref().take(limit).collect();
        let next_token = servers.next().and(page.last()).map(|last| last.name.to_string());
        Ok(Servers { servers: page.into_iter().map(|server| server.show(cx)).collect(), next_token })
    }

    pub(crate) fn log(&self) -> &[LogEntry] {
        &self.log
    }

    pub(crate) fn state(&self, now: u64, with_nodes: bool) -> BTreeMap<String, ServerState> {
        let show = |(name, server): (&Arc<str>, &Server)| {
            let nodes = server.nodes.iter().filter(|_| with_nodes);
            let node =
                |(name, node): (&String, &Node)| (name.clone(), NodeState { fingerprint: node.fingerprint.clone(), since_ms: node.since });
            let state = ServerState {
                engine: server.engine,
                status: server.status_at(now),
                node_count: server.nodes.len(),
                nodes: nodes.map(node).collect(),
            };
            (name.to_string(), state)
        };
        self.servers.iter().map(show).collect()
    }
}

impl Server {
    fn status_at(&self, now: u64) -> ServerStatus {
        match self.then {
            Some((at, status)) if now >= at => status,
            _ => self.status,
        }
    }

    fn show(&self, cx: &Context) -> ServerAnswer {
        let (region, account) = (&cx.settings.region, &cx.settings.account);
        let name = self.name.to_string();
        let (engine, engine_model, engine_version) = match self.engine {
            Engine::Chef => ("ChefAutomate", "Single", "2"),
            Engine::Puppet => ("Puppet", "Monolithic", "2019"),
        };
        ServerAnswer {
            associate_public_ip_address: true,
            backup_retention_count: 1,
            created_at: epoch_seconds(self.created),
            disable_automated_backup: false,
            endpoint: format!("{name}-simulated.{region}.opsworks-cm.io"),
            engine,
            engine_model,
            engine_attributes: Vec::new(),
            engine_version,
            instance_profile_arn: format!("arn:aws:iam::{account}:instance-profile/aws-opsworks-cm-ec2-role"),
            instance_type: "m5.large",
            maintenance_status: "SUCCESS",
            preferred_maintenance_window: "Mon:08:00",
            preferred_backup_window: "02:00",
            security_group_ids: vec!["sg-0123456789abcdef0".into()],
            service_role_arn: format!("arn:aws:iam::{account}:role/aws-opsworks-cm-service-role"),
            status: self.status_at(cx.now),
            status_reason: String::new(),
            subnet_ids: vec!["subnet-0123456789abcdef0".into()],
            server_arn: format!("arn:aws:opsworks-cm:{region}:{account}:server/{name}/00000000-0000-4000-8000-000000000001"),
            server_name: name,
        }
    }
}

fn no_such_server(name: &str) -> ApiError {
    ApiError::client("ResourceNotFoundException", format!("No server {name} exists, or access to it was denied."))
}
