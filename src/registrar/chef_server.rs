//! A Chef Infra Server of one's own (or Cinc, or goiardi): what OpsWorks CM's AssociateNode did, done directly.
//!
//! A node is two things there: a client, which has the node's public key, and a node object, which says what is done on it. The
//! server never makes a key pair for us, so that no private key ever travels. Each step is made if it is missing, in an order
//! in which a crash between any two heals when the association is repeated.

mod acl;
mod api;
mod errors;
mod key_store;
mod kind;
mod node_object;
mod public_key;
mod signing;

use std::time::Duration;

use hyper::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) use self::kind::KIND;

use self::api::{Api, Said};
use self::key_store::Stored;
use self::public_key::PublicKey;
use self::signing::Signer;
use super::http::{HttpClient, HttpError, HttpSettings, PrivateKey, TIMEOUT, UNREACHABLE};
use super::{Registrar, Reply, without_key};
use crate::aws::detail;
use crate::core::call::NodeOrder;
use crate::facts::{Health, KeyMaterial, ListMark, NodeList, Registration, RegistrationStatus, StatusToken};
use crate::names::{NodeName, ServerUrl};
use crate::retry::Failure;

/// Which server, in whose name, and what new nodes are given to do.
#[derive(Debug)]
pub struct ChefSettings {
    /// How it is reached; the URL with `/organizations/ORG` where it has them.
    pub http: HttpSettings,
    /// The API client or user that requests are signed as.
    pub client_name: String,
    /// Its key.
    pub client_key: PrivateKey,
    /// What new nodes are given to do.
    pub work: NodeWork,
    /// Whether a node that is there with another key is replaced.
    pub replace_existing: bool,
    /// The longest that one association, disassociation, probe or page of a list may take, with all its requests.
    pub call_timeout: Duration,
}

/// What a new node object says is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeWork {
    /// An environment and a run list.
    RunList {
        /// `chef_environment`
        environment: String,
        /// `run_list`
        run_list: Vec<String>,
    },
    /// A policy, whose revision the group names.
    Policy {
        /// `policy_name`
        name: String,
        /// `policy_group`
        group: String,
    },
}

/// Why a server's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChefError {
    /// It cannot be reached like this.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A key that cannot sign.
    #[error("client_key is no RSA key of 2048 bits or more; name the key that the server gave for {0}")]
    Key(String),
}

/// A Chef server, or one organization of it.
#[derive(Debug)]
pub struct ChefServer {
    api: Api,
    work: NodeWork,
    replace_existing: bool,
    call_timeout: Duration,
}

/// The mark after the node objects: the clients come next, of which a removal that was cut off can leave one behind.
const CLIENTS: &str = "clients";

impl ChefServer {
    /// A server with its settings. Nothing is sent yet.
    ///
    /// # Errors
    /// A key that cannot sign, or settings that no connection can be made with.
    pub fn new(settings: ChefSettings) -> Result<Self, ChefError> {
        let signer = Signer::new(&settings.client_name, &settings.client_key);
        let signer = signer.ok_or(ChefError::Key(settings.client_name))?;
        let (root, organization) = split(&settings.http.url);
        let http = HttpClient::new(&HttpSettings { url: root, ..settings.http })?;
        Ok(Self {
            api: Api { http, signer, organization, clock: Timestamp::now, list_timeout: settings.call_timeout },
            work: settings.work,
            replace_existing: settings.replace_existing,
            call_timeout: settings.call_timeout,
        })
    }

    /// The same server with a clock that is not the machine's: for tests of what a server says to a clock that is wrong.
    #[doc(hidden)]
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> Timestamp) -> Self {
        self.api.clock = clock;
        self
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        // Cut off anywhere, the repetition goes on where this one ended.
        let late = |_| TIMEOUT.failure(format!("not done within {:?}", self.call_timeout));
        tokio::time::timeout(self.call_timeout, work).await.map_err(late)?
    }

    async fn associate_node(&self, name: &str, key: &KeyMaterial) -> Result<Registration, Failure> {
        let key = PublicKey::from_pem(key.pem()).ok_or_else(|| errors::BAD_KEY.failure("the key is no public key that Chef takes"))?;
        if name == self.api.signer.name() {
            return Err(errors::OWN_NAME.failure("the node has the name of the client that enrols it"));
        }
        let our_client = self.create_client(name, &key).await?;
        // Under a key that is new there, no node has been enrolled.
        let key_is_new = our_client || self.settle_key(name, &key).await?;
        let settled = self.settle_node(name, key_is_new).await;
        if let Err(failure) = &settled
            && self.is_useless(name, our_client, failure).await
        {
            // That it could not be deleted changes nothing about the failure.
            let _ = self.delete("/clients", name).await;
        }
        settled.map(|()| Registration::Done)
    }

    /// Whether a client with the node's own key is of use to nobody after this failure: where the node object is another's, whichever run made
    /// the client, unless it became more than a node since; and where we made it and may give it no rights, so that a repetition finds what this
    /// run found.
    async fn is_useless(&self, name: &str, our_client: bool, failure: &Failure) -> bool {
        match failure.code == errors::FOREIGN_NODE.code {
            true => our_client || key_store::may_be_in_admins(&self.api, name).await == Ok(false),
            false => our_client && failure.code == errors::FORBIDDEN.code,
        }
    }

    /// Creates the client; false where there is one already.
    async fn create_client(&self, name: &str, key: &PublicKey) -> Result<bool, Failure> {
        let body = json!({ "name": name, "clientname": name, "validator": false, "public_key": key.to_pem() });
        let said = self.api.ask(Method::POST, "/clients", Some(&body)).await?;
        match said.status {
            201 if made_a_key_pair(&said.json) => Err(self.give_up_key(name).await),
            201 => Ok(true),
            409 => Ok(false),
            // Name and key alone come from the node. But a server that knows no such signature, or gets only a part of it, answers so to
            // everything (erchef's `malformed_request`), and what it says of our own client is the failure then.
            400 | 422 => {
                self.api.shows_us().await?;
                Err(said.failure(errors::REFUSED, "creating the client"))
            }
            _ => Err(said.failure(errors::NOT_CHEF, "creating the client")),
        }
    }

    /// The failure for a client with a key pair of the server's making. The client goes: it would be another's to the next try, and somebody
    /// who listens has its key.
    async fn give_up_key(&self, name: &str) -> Failure {
        let then = match self.delete("/clients", name).await {
            Ok(_) => "its client was deleted".to_owned(),
            Err(failure) => format!("its client must be deleted ({failure})"),
        };
        errors::SERVER_MADE_KEY.failure(format!("the server made a key pair of its own instead of taking the node's key; {then}"))
    }

    /// Sees to the key of a client that is there already: the node's own, or replaced where that is wanted. Says whether it was replaced.
    async fn settle_key(&self, name: &str, key: &PublicKey) -> Result<bool, Failure> {
        let stored = key_store::read(&self.api, name).await?;
        match stored {
            Stored::Key { key: Some(ref found), usable: true, .. } if found == key => return Ok(false),
            Stored::Vanished => return Err(vanished("client")),
            Stored::Guarded(what) => return Err(guarded(what)),
            Stored::Key { .. } if !self.replace_existing => {
                let detail = "the server has this client with another key; replace_existing = true would replace it";
                return Err(errors::OTHER_KEY.failure(detail));
            }
            Stored::Key { .. } => {}
        }
        if key_store::may_be_in_admins(&self.api, name).await? {
            return Err(guarded(key_store::ADMINISTRATOR));
        }
        // The node object first: once the key is the new one, a repetition would take the node object for the new node's.
        self.delete("/nodes", name).await?;
        if !key_store::replace(&self.api, name, key, &stored).await? {
            return Err(self.give_up_key(name).await);
        }
        // Until then a chef-client with the old key could save its node again, as what it was.
        self.delete("/nodes", name).await.map(|_| true)
    }

    async fn disassociate_node(&self, name: &str) -> Result<Registration, Failure> {
        if name == self.api.signer.name() {
            return Err(errors::OWN_NAME.failure("the node has the name of the client that enrols it"));
        }
        let client = key_store::client(&self.api, name).await;
        let client = self.api.unless_anothers(client, "somebody else made the client, and we may not read it").await?;
        if let Some(client) = &client {
            if let Some(what) = key_store::guard(client) {
                return Err(guarded(what));
            }
            if key_store::may_be_in_admins(&self.api, name).await? {
                return Err(guarded(key_store::ADMINISTRATOR));
            }
        }
        // The client last: as long as it is there, a list of what was left behind shows the node.
        let node = match self.delete("/nodes", name).await {
            // The client goes all the same: nothing else would take it off.
            Err(failure) if failure.code == errors::FOREIGN_NODE.code => {
                self.delete("/clients", name).await?;
                return Err(failure);
            }
            deleted => deleted?,
        };
        let was_there = self.delete("/clients", name).await? || client.is_some();
        if was_there {
            // Until then a chef-client could save its node again, and did so if it was at work: one that finds none makes one.
            self.delete("/nodes", name).await?;
        } else if !node {
            // Nothing was there, and nothing yet says that this is the server on which it would be.
            self.api.shows_us().await?;
        }
        Ok(Registration::Done)
    }

    /// Deletes an object; false where there was none.
    async fn delete(&self, kind: &str, name: &str) -> Result<bool, Failure> {
        let path = format!("{kind}/{name}");
        let said = self.api.ask(Method::DELETE, &path, None).await;
        let said = self.api.unless_anothers(said, "somebody else made the client or the node object, and we may not delete it").await?;
        match said.status {
            404 => Ok(false),
            200..=299 if said.is_named(name) => Ok(true),
            // Something answered, and not with what it deleted: only its absence proves that it did.
            200..=299 => match self.api.ask(Method::GET, &path, None).await? {
                Said { status: 404, .. } => Ok(true),
                found => Err(found.failure(errors::NOT_CHEF, "reading what was deleted")),
            },
            _ => Err(said.failure(errors::REFUSED_DELETE, "deleting")),
        }
    }

    async fn server_health(&self) -> Result<Health, Failure> {
        // What follows has most of the time: orders may be served where the status hangs.
        match tokio::time::timeout(self.call_timeout / 4, self.status_page()).await {
            Ok(Ok(Some(words))) => return Ok(Health::NotReady(words)),
            Ok(Err(failure)) if failure.code == UNREACHABLE.code => return Err(failure),
            // A status that cannot be had says nothing about the orders.
            Ok(Ok(None) | Err(_)) | Err(_) => {}
        }
        // Some servers have no status, and none says there whether it knows us.
        let own = self.api.shows_us().await?;
        key_store::may_read_keys(&self.api, &own).await.map(|()| Health::Ready)
    }

    /// What `/_status` says is wrong, where the server has that and says so. Only its own JSON counts: anything can answer with 200,
    /// and many a gateway has a status of its own there, so it must tell of its parts.
    async fn status_page(&self) -> Result<Option<String>, Failure> {
        let headers = [("accept", "application/json")];
        let answer = self.api.http.send(Method::GET, "/_status", &headers, bytes::Bytes::new()).await?;
        let Some(json) = answer.json() else { return Ok(None) };
        let Some(upstreams) = json.get("upstreams").and_then(Value::as_object) else { return Ok(None) };
        let Some(status) = json.get("status").and_then(Value::as_str).filter(|status| *status != "pong") else { return Ok(None) };
        let failed = upstreams.iter().filter(|(_, state)| state.as_str() != Some("pong")).map(|(name, _)| name.as_str());
        Ok(Some(detail(format!("{status} {}", failed.collect::<Vec<_>>().join(" ")).trim())))
    }

    async fn list_nodes(&self, after: Option<&ListMark>) -> Result<NodeList, Failure> {
        let (path, next) = match after.map(|mark| mark.0.as_ref()) {
            None => ("/nodes", Some(ListMark(CLIENTS.into()))),
            Some(_) => ("/clients", None),
        };
        let said = self.api.list(path).await?;
        let names = said.json.as_object().filter(|_| said.status == 200);
        let Some(names) = names else { return Err(said.failure(errors::NOT_CHEF, "listing the nodes")) };
        Ok(NodeList::Page { names: names.keys().filter_map(|name| NodeName::new(name).ok()).collect(), next })
    }
}

impl Registrar for ChefServer {
    fn associate<'a>(&'a self, order: &'a NodeOrder, key: &'a KeyMaterial) -> Reply<'a, Registration> {
        let work = self.within(self.associate_node(order.node.as_str(), key));
        Box::pin(async { work.await.map_err(|failure| without_key(failure, key)) })
    }

    /// Everything is done when an order is answered, so no token was ever given.
    fn status<'a>(&'a self, _order: &'a NodeOrder, _token: &'a StatusToken) -> Reply<'a, RegistrationStatus> {
        Box::pin(async { Ok(RegistrationStatus::UnknownToken) })
    }

    fn disassociate<'a>(&'a self, order: &'a NodeOrder) -> Reply<'a, Registration> {
        Box::pin(self.within(self.disassociate_node(order.node.as_str())))
    }

    fn health(&self) -> Reply<'_, Health> {
        Box::pin(self.within(self.server_health()))
    }

    fn list<'a>(&'a self, after: Option<&'a ListMark>) -> Reply<'a, NodeList> {
        Box::pin(self.within(self.list_nodes(after)))
    }
}

/// The server's own part of a base URL, and `/organizations/ORG` where it has them.
fn split(url: &ServerUrl) -> (ServerUrl, String) {
    let at = url.path().find("/organizations/").unwrap_or(url.path().len());
    let (root, organization) = url.path().split_at(at);
    let root = ServerUrl::new(&format!("{}{root}", url.origin())).expect("the beginning of a base URL is one");
    (root, organization.to_owned())
}

/// Whether an answer to a creation brings a private key, as it does where the server took no notice of the public one.
fn made_a_key_pair(json: &Value) -> bool {
    let of = |json: &Value| json.get("private_key").and_then(Value::as_str).is_some_and(|key| !key.is_empty());
    of(json) || json.get("chef_key").is_some_and(of)
}

/// A client that is not to be touched.
fn guarded(what: &str) -> Failure {
    errors::GUARDED.failure(format!("there is a client of this name that is {what}"))
}

/// Somebody deleted what had just been there; the repetition creates it.
fn vanished(what: &str) -> Failure {
    errors::VANISHED.failure(format!("the {what} was deleted by somebody in the meantime"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_parted_before_its_organization() {
        for (url, root, organization) in [
            ("https://chef.example.com", "https://chef.example.com", ""),
            ("https://chef.example.com/organizations/web", "https://chef.example.com", "/organizations/web"),
            ("https://example.com/chef/organizations/web/", "https://example.com/chef", "/organizations/web"),
            ("http://127.0.0.1:4545/chef", "http://127.0.0.1:4545/chef", ""),
        ] {
            let (found, its) = split(&ServerUrl::new(url).unwrap());
            assert_eq!((found.to_string().as_str(), its.as_str()), (root, organization), "{url}");
        }
    }

    #[test]
    fn a_key_pair_of_the_servers_making_is_seen() {
        for (answer, made) in [
            (json!({ "uri": "x" }), false),
            (json!({ "uri": "x", "private_key": "" }), false),
            (json!({ "uri": "x", "private_key": null }), false),
            (json!({ "uri": "x", "private_key": "-----BEGIN" }), true),
            (json!({ "uri": "x", "chef_key": { "name": "default", "private_key": "-----BEGIN" } }), true),
            (json!({ "uri": "x", "chef_key": { "name": "default", "public_key": "-----BEGIN" } }), false),
        ] {
            assert_eq!(made_a_key_pair(&answer), made, "{answer}");
        }
    }
}
