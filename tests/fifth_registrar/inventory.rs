//! An inventory with an interface of its own: `PUT` and `DELETE /nodes/NAME`, `GET /nodes`, `GET /health`.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use crate::config::keys::{Key, TEXT, optional, required};
use crate::config::reader::Section;
use crate::config::values::{path, server_url, switch};
use crate::core::call::NodeOrder;
use crate::facts::{Health, KeyMaterial, ListMark, NodeList, Registration, RegistrationStatus, StatusToken};
use crate::meanings;
use crate::names::{NodeName, ServerUrl};
use crate::registrar::http::{self, ALLOW_PLAIN_HTTP, Answer, HttpClient, HttpSettings, read_certificates, shared_class, unexpected};
use crate::registrar::{Blueprint, Kind, Limits, Registrar, Reply, Unusable, without_key};
use crate::retry::{Class, Failure};

/// The kind: what a route writes, which page documents it, what its failures mean.
pub(super) const KIND: Kind = Kind { name: "inventory", page: "inventory.md", keys: KEYS, errors: &[ERRORS, http::ERRORS], read };

const KEYS: &[Key] = &[
    required("kind", "`inventory`", "The kind of server."),
    required("url", TEXT, "The inventory's base URL."),
    ALLOW_PLAIN_HTTP,
    optional("ca_file", "path", "the system's authorities", "The only authorities that its certificate may come from."),
];

meanings! {
    BUSY: NotReady, "busy", "502, 503, 504, or `/health` says anything but `ready`";
    SLOW_DOWN: Throttled, "slow_down", "429";
    BROKEN: Transient, "server_error", "500 and other 5xx, 408, 425";
    ELSEWHERE: RouteFault, "not_the_inventory", "any other answer that is not the inventory's: the URL or our rights are wrong";
    OTHER_KEY: Final, Failure::OTHER_KEY, "409: the inventory has this node with another key";
}

/// The table as it was written.
#[derive(Debug, PartialEq)]
struct Written {
    url: ServerUrl,
    allow_plain_http: bool,
    ca_file: Option<std::path::PathBuf>,
}

/// Every key is read before the first bad one ends it, so that a person sees all that is wrong at once.
fn read(table: &Section<'_, '_>) -> Option<Box<dyn Blueprint>> {
    let allow_plain_http = table.read("allow_plain_http", switch);
    let url = table.read("url", server_url(allow_plain_http.unwrap_or(true)));
    let ca_file = table.read_optional("ca_file", path);
    Some(Box::new(Written { url: url?, allow_plain_http: allow_plain_http?, ca_file: ca_file? }))
}

impl Written {
    fn inventory(&self, limits: &Limits) -> Result<Inventory, Unusable> {
        let authorities = self.ca_file.as_deref().map(read_certificates).transpose()?;
        let settings = HttpSettings { authorities, allow_plain_http: self.allow_plain_http, ..HttpSettings::of(self.url.clone(), limits) };
        Ok(Inventory(HttpClient::new(&settings)?))
    }
}

impl Blueprint for Written {
    fn about(&self) -> String {
        format!("inventory {}", self.url)
    }

    fn check_files(&self, limits: &Limits) -> Result<(), Unusable> {
        self.inventory(limits).map(drop)
    }

    fn build(&self, limits: &Limits, _: &aws_config::SdkConfig) -> Result<Arc<dyn Registrar>, Unusable> {
        Ok(Arc::new(self.inventory(limits)?))
    }
}

/// What is asked.
#[derive(Debug)]
struct Inventory(HttpClient);

/// The failure for an answer that was not expected.
fn refusal(answer: &Answer) -> Failure {
    let meaning = match shared_class(answer.status) {
        Some(Class::NotReady) => BUSY,
        Some(Class::Throttled) => SLOW_DOWN,
        Some(Class::Transient) => BROKEN,
        _ => ELSEWHERE,
    };
    meaning.failure(unexpected(answer))
}

impl Inventory {
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer, Failure> {
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        self.0.send(method, path, &[("content-type", "application/json")], body).await
    }

    async fn put(&self, node: &NodeName, key: &KeyMaterial) -> Result<Registration, Failure> {
        let answer = self.ask(Method::PUT, &format!("/nodes/{node}"), Some(json!({ "public_key": key.pem() }))).await?;
        match answer.status {
            200 | 201 => Ok(Registration::Done),
            409 => Err(OTHER_KEY.failure("the inventory has this node with another key")),
            _ => Err(refusal(&answer)),
        }
    }

    async fn delete(&self, node: &NodeName) -> Result<Registration, Failure> {
        let answer = self.ask(Method::DELETE, &format!("/nodes/{node}"), None).await?;
        // 404 is believed in the inventory's own form alone: a wrong URL must not look like a node that is gone.
        let gone = answer.status == 404 && answer.json().is_some_and(|said| said["error"] == "no such node");
        if answer.status == 200 || gone { Ok(Registration::Done) } else { Err(refusal(&answer)) }
    }

    async fn ready(&self) -> Result<Health, Failure> {
        let answer = self.ask(Method::GET, "/health", None).await?;
        match answer.json().and_then(|said| Some(said.get("status")?.as_str()?.to_owned())) {
            Some(status) if status == "ready" => Ok(Health::Ready),
            Some(status) => Ok(Health::NotReady(status)),
            None => Err(refusal(&answer)),
        }
    }

    async fn names(&self) -> Result<NodeList, Failure> {
        let answer = self.ask(Method::GET, "/nodes", None).await?;
        let names: Vec<String> = serde_json::from_slice(&answer.body).map_err(|_| refusal(&answer))?;
        Ok(NodeList::Page { names: names.iter().filter_map(|name| NodeName::new(name).ok()).collect(), next: None })
    }
}

impl Registrar for Inventory {
    fn associate<'a>(&'a self, order: &'a NodeOrder, key: &'a KeyMaterial) -> Reply<'a, Registration> {
        Box::pin(async { self.put(&order.node, key).await.map_err(|failure| without_key(failure, key)) })
    }

    /// Everything is done when an order is answered, so no token was ever given.
    fn status<'a>(&'a self, _: &'a NodeOrder, _: &'a StatusToken) -> Reply<'a, RegistrationStatus> {
        Box::pin(async { Ok(RegistrationStatus::UnknownToken) })
    }

    fn disassociate<'a>(&'a self, order: &'a NodeOrder) -> Reply<'a, Registration> {
        Box::pin(self.delete(&order.node))
    }

    fn health(&self) -> Reply<'_, Health> {
        Box::pin(self.ready())
    }

    fn list<'a>(&'a self, _: Option<&'a ListMark>) -> Reply<'a, NodeList> {
        Box::pin(self.names())
    }
}
