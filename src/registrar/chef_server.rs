//! A Chef Infra Server of one's own (or Cinc, or goiardi): what OpsWorks CM's AssociateNode did, done directly.
//!
//! A node is two things there: a client, which has the node's public key, and a node object, which says what is done on it. The
//! server never makes a key pair for us, so that no private key ever travels. Each step is made if it is missing, in an order
//! in which a crash between any two heals when the association is repeated: the node object first, so that nobody can act as the
//! node before what it is to do is settled.

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
use super::http::{HttpClient, HttpError, HttpSettings, OVERSIZED, PrivateKey, TIMEOUT, UNREACHABLE};
use super::{Registrar, Reply, without_key};
use crate::aws::detail;
use crate::core::call::NodeOrder;
use crate::facts::{Health, KeyMaterial, ListMark, NodeList, Registration, RegistrationStatus, StatusToken};
use crate::names::{NodeName, ServerUrl};
use crate::retry::{Class, Failure};

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

/// So often an association begins again where somebody else deletes or makes what it has just seen, or not seen.
const MOST_TRIES: usize = 3;

/// Whose a node object is of which we may not see or give the rights, and what is left where its client has the node's key.
const CLIENT_STAYS: &str = "somebody else made the node object, and we may give no rights on it; its client, which has the node's key, stays: it must be deleted if nobody needs it";

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
        let mut tries = 1;
        loop {
            match self.enrol(name, &key).await {
                // At once: until a later repetition whoever is at work at this name could prepare what that one is to find.
                Err(failure) if failure.code == errors::VANISHED.code && tries < MOST_TRIES => tries += 1,
                enrolled => return enrolled.map(|()| Registration::Done),
            }
        }
    }

    /// Enrols a node. The node object is made and settled before the server has the node's key: who has that can make a node object, as chef-client
    /// does at its first run, and can be given rights on one. So what stands under a key of ours was settled, whatever became of it since.
    async fn enrol(&self, name: &str, key: &PublicKey) -> Result<(), Failure> {
        if self.create_node(name).await? {
            return self.enrol_with_ours(name, key).await;
        }
        let stored = key_store::read(&self.api, name).await?;
        if stored.is(key) {
            let rights = self.api.unless_anothers(self.rights(name).await, CLIENT_STAYS).await?;
            return self.give_rights_on_anothers(name, rights.as_ref(), false).await;
        }
        if !matches!(stored, Stored::Vanished) {
            self.refuse_replacement(name, &stored).await?;
            // A chef-client with the old key makes one where it finds none to save.
            return if self.make_anew(name).await? { self.enrol_with_ours(name, key).await } else { Err(meanwhile("node object", "made")) };
        }
        let rights = match self.judge_node(name).await {
            Err(failure) if failure.code == errors::FOREIGN_NODE.code && self.replace_existing => {
                // Whoever made it can be first once more.
                return if self.make_anew(name).await? { self.enrol_with_ours(name, key).await } else { Err(failure) };
            }
            rights => rights?,
        };
        if !self.create_client(name, key).await? {
            return Err(meanwhile("client", "made"));
        }
        self.give_rights_on_anothers(name, rights.as_ref(), true).await
    }

    /// Enrols a node whose node object we have just made.
    async fn enrol_with_ours(&self, name: &str, key: &PublicKey) -> Result<(), Failure> {
        // Whether we may give rights shows before the client is there.
        let begun = async { Ok((self.rights(name).await?, self.create_client(name, key).await?)) }.await;
        let (rights, is_new) = self.or_unmake(name, begun, &[Class::RouteFault, Class::Final]).await?;
        if !is_new {
            // What is a fault of the route there leaves open whether another worker has enrolled the node with this object.
            self.or_unmake(name, self.settle_key(name, key).await, &[Class::Final]).await?;
        }
        self.give_rights(name, rights.as_ref(), is_new).await
    }

    /// Deletes the node object that we have just made where it was made for nothing: after a failure of these classes. That it could not be
    /// deleted changes nothing about that.
    async fn or_unmake<T>(&self, name: &str, came: Result<T, Failure>, classes: &[Class]) -> Result<T, Failure> {
        if came.as_ref().is_err_and(|failure| classes.contains(&failure.class)) {
            let _ = self.delete("/nodes", name).await;
        }
        came
    }

    /// Makes the node object anew; false where somebody else was faster.
    async fn make_anew(&self, name: &str) -> Result<bool, Failure> {
        self.delete("/nodes", name).await?;
        self.create_node(name).await
    }

    /// Creates the client; false where there is one already.
    async fn create_client(&self, name: &str, key: &PublicKey) -> Result<bool, Failure> {
        let body = json!({ "name": name, "clientname": name, "validator": false, "public_key": key.to_pem() });
        let said = self.api.ask(Method::POST, "/clients", Some(&body)).await?;
        match said.status {
            201 if made_a_key_pair(&said.json) => Err(self.give_up_key(name).await),
            201 => Ok(true),
            409 => Ok(false),
            // The server knows us, as its answer about the node object has shown, and name and key alone come from the node.
            400 | 422 => Err(said.failure(errors::REFUSED, "creating the client")),
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

    /// Sees to the key of a client that is there already: the node's own, or replaced where that is wanted.
    async fn settle_key(&self, name: &str, key: &PublicKey) -> Result<(), Failure> {
        let stored = key_store::read(&self.api, name).await?;
        if stored.is(key) {
            return Ok(());
        }
        self.refuse_replacement(name, &stored).await?;
        match key_store::replace(&self.api, name, key, &stored).await? {
            true => Ok(()),
            false => Err(self.give_up_key(name).await),
        }
    }

    /// Fails where the key of a client that is there is not to be replaced.
    async fn refuse_replacement(&self, name: &str, stored: &Stored) -> Result<(), Failure> {
        match stored {
            Stored::Vanished => return Err(vanished("client")),
            Stored::Guarded(what) => return Err(guarded(what)),
            Stored::Key { .. } if !self.replace_existing => {
                let detail = "the server has this client with another key; replace_existing = true would replace it";
                return Err(errors::OTHER_KEY.failure(detail));
            }
            Stored::Key { .. } => {}
        }
        match key_store::may_be_in_admins(&self.api, name).await? {
            true => Err(guarded(key_store::ADMINISTRATOR)),
            false => Ok(()),
        }
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
        let said = match self.api.ask(Method::DELETE, &path, None).await {
            // What was deleted is the answer, and too long to be read.
            Err(failure) if failure.code == OVERSIZED.code => return self.is_gone(&path).await,
            said => said,
        };
        let said = self.api.unless_anothers(said, "somebody else made the client or the node object, and we may not delete it").await?;
        match said.status {
            404 => Ok(false),
            200..=299 if said.is_named(name) => Ok(true),
            // Something answered, and not with what it deleted.
            200..=299 => self.is_gone(&path).await,
            _ => Err(said.failure(errors::REFUSED_DELETE, "deleting")),
        }
    }

    /// True where an object is there no more that was to be deleted, and nothing else proves that it was.
    async fn is_gone(&self, path: &str) -> Result<bool, Failure> {
        match self.api.ask(Method::GET, path, None).await? {
            Said { status: 404, .. } => Ok(true),
            found => Err(found.failure(errors::NOT_CHEF, "reading what was deleted")),
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
    meanwhile(what, "deleted")
}

/// Somebody is at work at the same name; the repetition finds what came of it.
fn meanwhile(what: &str, done: &str) -> Failure {
    errors::VANISHED.failure(format!("the {what} was {done} by somebody in the meantime"))
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
