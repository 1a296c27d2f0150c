//! The certificate authority of a Puppet Server (or OpenVox Server) of one's own: signs a node's request, and takes its certificate back.
//!
//! Anybody may submit a request under any name, and signing is by name: whoever was first would be signed. So what is pending is
//! compared with the node's own request before it is signed, and the certificate's key with the request's after. Source of the
//! HTTP interface: <https://www.puppet.com/docs/puppet/7/server/http_certificate_status>, and Puppet Server 7.9.5 itself.

mod documents;
mod errors;
mod kind;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use documents::{Certificate, Request};
use hyper::Method;
pub(super) use kind::KIND;
use serde::Deserialize;

use super::http::{Answer, HttpClient, HttpError, HttpSettings, TIMEOUT, shared_class, unexpected};
use super::{Registrar, Reply, without_key};
use crate::aws::detail;
use crate::core::call::NodeOrder;
use crate::facts::{self, Health, KeyMaterial, ListMark, NodeList, Registration, RegistrationStatus, StatusToken};
use crate::names::NodeName;
use crate::retry::{Class, Failure};

/// Where the authority's interface begins.
const CA: &str = "/puppet-ca/v1";

/// How often an order looks at a name before it comes back later: five times to replace a certificate, and more where others change it
/// at the same time.
const LOOKS: usize = 8;

/// A name that no node has: to ask whether we may ask.
const NOBODY: &str = "enrolld-check";

/// Which authority, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct PuppetCaSettings {
    /// The server, with the certificate of a client that may sign, and the authority that the server's own comes from.
    pub http: HttpSettings,
    /// The longest that one order may take, with all of its requests.
    pub call_timeout: Duration,
    /// Whether what stands under a node's name already, and is not its own, is taken away for it.
    pub replace_existing: bool,
}

/// A Puppet Server's certificate authority.
#[derive(Debug, Clone)]
pub struct PuppetCa {
    client: HttpClient,
    call_timeout: Duration,
    replace_existing: bool,
}

/// The failure for an answer that was not expected; its class stands in the table of `errors`. 404 and 409 are looked at where they can be
/// right.
fn classify(answer: &Answer) -> Failure {
    let meaning = match (answer.status, shared_class(answer.status)) {
        (401, _) => return errors::UNAUTHORIZED.failure(unexpected(answer)),
        (403, _) => return errors::FORBIDDEN.failure(unexpected(answer)),
        (_, Some(Class::NotReady)) => errors::UNAVAILABLE,
        (_, Some(Class::Throttled)) => errors::SLOW_DOWN,
        (_, Some(Class::Transient)) => errors::BROKEN,
        (400..=499, None) if answer.status != 404 => errors::REFUSED,
        _ => errors::ELSEWHERE,
    };
    meaning.coded(format!("http_{}", answer.status), unexpected(answer))
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[serde(skip)]
    Absent,
    Requested,
    Signed,
    Revoked,
}

/// The part of a certificate's status that is read.
#[derive(Debug, Deserialize)]
struct Status {
    name: String,
    state: State,
}

impl PuppetCa {
    /// An authority. Nothing is sent yet.
    ///
    /// # Errors
    /// Certificates that cannot be used, or plain HTTP where that is not allowed.
    pub fn new(settings: &PuppetCaSettings) -> Result<Self, HttpError> {
        let client = HttpClient::new(&settings.http)?;
        Ok(Self { client, call_timeout: settings.call_timeout, replace_existing: settings.replace_existing })
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.call_timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(TIMEOUT.failure(format!("the order was not through within {:?}", self.call_timeout))),
        }
    }

    /// Signs the node's request, whatever a run before this one left behind.
    async fn sign(&self, node: &NodeName, pem: &str) -> Result<Certificate, Failure> {
        check_name(node)?;
        let request = Request::read(pem).ok_or_else(|| errors::NOT_A_REQUEST.failure("the key material is no certificate request"))?;
        let mut signed_by_us = false;
        for _ in 0..LOOKS {
            match self.state(node.as_str()).await? {
                State::Absent => self.submit(node, pem).await?,
                State::Requested => {
                    // One that is gone again was signed or taken away by another worker, and there is nothing to be judged.
                    let Some(ours) = self.pending_is(node, &request).await? else { continue };
                    if ours {
                        self.order_signature(node).await?;
                        signed_by_us = true;
                    } else if self.replace_existing {
                        self.clean(node).await?;
                    } else if self.state(node.as_str()).await? == State::Requested {
                        return Err(errors::FOREIGN_REQUEST
                            .failure("a request that is not the node's is pending under its name, and was not signed"));
                    }
                }
                State::Signed => {
                    let Some(certificate) = self.certificate(node).await? else { continue };
                    if certificate.public_key == request.public_key() {
                        return Ok(certificate);
                    }
                    if signed_by_us {
                        self.take_off(node).await?;
                        return Err(
                            errors::FOREIGN_CERTIFICATE.failure("what was signed was not the node's request; the certificate was revoked")
                        );
                    }
                    if !self.replace_existing {
                        return Err(errors::OTHER_KEY.failure("a certificate for another key is signed under the node's name"));
                    }
                    // This one and no other: another worker may put the node's own in its place at any moment, so that each look decides again.
                    self.revoke(node).await?;
                }
                State::Revoked if self.replace_existing => self.clean(node).await?,
                State::Revoked => {
                    return Err(errors::OTHER_KEY.failure("a revoked certificate stands under the node's name"));
                }
            }
        }
        Err(errors::UNSETTLED.failure("what stands under the node's name was changed again and again meanwhile"))
    }

    /// Revokes and removes whatever stands under a name.
    async fn take_off(&self, node: &NodeName) -> Result<(), Failure> {
        for _ in 0..LOOKS {
            match self.state(node.as_str()).await? {
                State::Absent => return Ok(()),
                State::Signed => self.revoke(node).await?,
                State::Requested | State::Revoked => self.clean(node).await?,
            }
        }
        Err(errors::UNSETTLED.failure("what stands under the node's name was changed again and again meanwhile"))
    }

    /// The same for a node that leaves. That nothing is there is believed only of a server that is an authority.
    async fn leave(&self, node: &NodeName) -> Result<Registration, Failure> {
        check_name(node)?;
        self.take_off(node).await?;
        let answer = self.send(Method::GET, &format!("{CA}/certificate/ca"), "text/plain", "").await?;
        if answer.status == 200 && answer.text().contains("-----BEGIN CERTIFICATE-----") {
            return Ok(Registration::Done);
        }
        Err(self.refusal(&answer).await)
    }

    async fn state(&self, name: &str) -> Result<State, Failure> {
        let answer = self.send(Method::GET, &format!("{CA}/certificate_status/{name}"), "application/json", "").await?;
        match answer.status {
            200 => match serde_json::from_slice::<Status>(&answer.body) {
                Ok(status) if status.name == name => Ok(status.state),
                _ => Err(errors::NOT_A_CA.failure(format!("no status of this name: {}", unexpected(&answer)))),
            },
            404 if !is_page(&answer) => Ok(State::Absent),
            _ => Err(self.refusal(&answer).await),
        }
    }

    /// Submits the request. That somebody was faster shows in the state.
    async fn submit(&self, node: &NodeName, pem: &str) -> Result<(), Failure> {
        let answer = self.send(Method::PUT, &format!("{CA}/certificate_request/{node}"), "text/plain", pem).await?;
        match answer.status {
            200..=299 => Ok(()),
            400 if self.state(node.as_str()).await? != State::Absent => Ok(()),
            _ => Err(self.refusal(&answer).await),
        }
    }

    /// Whether what is pending is this request; none where nothing is pending any more.
    async fn pending_is(&self, node: &NodeName, request: &Request) -> Result<Option<bool>, Failure> {
        let answer = self.send(Method::GET, &format!("{CA}/certificate_request/{node}"), "text/plain", "").await?;
        match answer.status {
            200 => Ok(Some(Request::read(&answer.text()).is_some_and(|pending| pending == *request))),
            404 if !is_page(&answer) => Ok(None),
            _ => Err(self.refusal(&answer).await),
        }
    }

    async fn certificate(&self, node: &NodeName) -> Result<Option<Certificate>, Failure> {
        let answer = self.send(Method::GET, &format!("{CA}/certificate/{node}"), "text/plain", "").await?;
        match answer.status {
            200 => match Certificate::read(&answer.text()) {
                Some(certificate) => Ok(Some(certificate)),
                None => Err(errors::NOT_A_CA.failure("what stands for the node's certificate is none")),
            },
            404 if !is_page(&answer) => Ok(None),
            _ => Err(self.refusal(&answer).await),
        }
    }

    /// Signs what is pending. 409 is a request that is gone meanwhile, or one that the server's own rules refuse; 500 is what a worker gets
    /// that signs at the same moment as another (7.9.5: one certificate is made, and the second finds the request's file gone).
    async fn order_signature(&self, node: &NodeName) -> Result<(), Failure> {
        let answer = self.desire(node, "signed").await?;
        match answer.status {
            200..=299 => Ok(()),
            404 | 409 | 500 if !is_page(&answer) && self.state(node.as_str()).await? != State::Requested => Ok(()),
            409 => Err(errors::NOT_SIGNED.failure(unexpected(&answer))),
            _ => Err(self.refusal(&answer).await),
        }
    }

    async fn revoke(&self, node: &NodeName) -> Result<(), Failure> {
        let answer = self.desire(node, "revoked").await?;
        match answer.status {
            200..=299 => Ok(()),
            404 | 409 if !is_page(&answer) && self.state(node.as_str()).await? != State::Signed => Ok(()),
            _ => Err(self.refusal(&answer).await),
        }
    }

    async fn desire(&self, node: &NodeName, state: &str) -> Result<Answer, Failure> {
        let body = format!(r#"{{"desired_state":"{state}"}}"#);
        self.send(Method::PUT, &format!("{CA}/certificate_status/{node}"), "application/json", &body).await
    }

    /// Removes certificate and request.
    async fn clean(&self, node: &NodeName) -> Result<(), Failure> {
        let answer = self.send(Method::DELETE, &format!("{CA}/certificate_status/{node}"), "application/json", "").await?;
        match answer.status {
            200..=299 => Ok(()),
            404 if !is_page(&answer) => Ok(()),
            _ => Err(self.refusal(&answer).await),
        }
    }

    async fn send(&self, method: Method, path: &str, media_type: &str, body: &str) -> Result<Answer, Failure> {
        let mut headers = vec![("accept", media_type)];
        if !body.is_empty() {
            headers.push(("content-type", media_type));
        }
        self.client.send(method, path, &headers, Bytes::copy_from_slice(body.as_bytes())).await
    }

    /// The failure for an answer that was not expected. While the server starts, its parts appear one by one.
    async fn refusal(&self, answer: &Answer) -> Failure {
        let failure = classify(answer);
        if matches!(failure.class, Class::NotReady | Class::Throttled | Class::Final) {
            return failure;
        }
        match self.running().await {
            Ok(Health::NotReady(state)) => errors::STARTING.coded(failure.code, format!("the server is {state}")),
            Ok(Health::Ready | Health::Dead(_)) | Err(_) => failure,
        }
    }

    async fn running(&self) -> Result<Health, Failure> {
        let answer = self.send(Method::GET, "/status/v1/simple", "text/plain", "").await?;
        let said = answer.text().trim().to_owned();
        match answer.status {
            200 if said == "running" => Ok(Health::Ready),
            // While it starts or stops, the word comes with a status of its own; a page is not a word.
            200 | 404 | 500 | 503 if !is_page(&answer) && ["starting", "stopping", "error", "unknown"].contains(&said.as_str()) => {
                Ok(Health::NotReady(detail(&said)))
            }
            _ => Err(classify(&answer)),
        }
    }

    /// Every name that has a request or a certificate; the server knows no pages.
    async fn names(&self) -> Result<NodeList, Failure> {
        let answer = self.send(Method::GET, &format!("{CA}/certificate_statuses/all"), "application/json", "").await?;
        if answer.status != 200 {
            return Err(self.refusal(&answer).await);
        }
        let listed: Vec<Listed> = serde_json::from_slice(&answer.body)
            .map_err(|_| errors::NOT_A_CA.failure(format!("no list of names: {}", unexpected(&answer))))?;
        let names = listed.iter().filter_map(|listed| NodeName::new(&listed.name).ok()).collect();
        Ok(NodeList::Page { names, next: None })
    }

    /// Whether it runs, and whether we may ask it.
    async fn ready(&self) -> Result<Health, Failure> {
        match self.running().await? {
            Health::Ready => self.state(NOBODY).await.map(|_| Health::Ready),
            not_ready => Ok(not_ready),
        }
    }
}

/// One name of the list of all.
#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
}

/// Whether Puppet takes a name for a certificate: lower case, digits, `. _ -`.
fn is_certname(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

fn check_name(node: &NodeName) -> Result<(), Failure> {
    if is_certname(node.as_str()) {
        return Ok(());
    }
    Err(errors::BAD_NAME.failure(format!("{node} cannot name a Puppet certificate: a-z 0-9 . _ - can")))
}

/// Whether an answer is some web server's page and not the authority's.
fn is_page(answer: &Answer) -> bool {
    answer.media_type.contains("html")
}

impl Registrar for PuppetCa {
    fn associate<'a>(&'a self, order: &'a NodeOrder, key: &'a KeyMaterial) -> Reply<'a, Registration> {
        Box::pin(async move {
            let signed = self.in_time(self.sign(&order.node, key.pem())).await.map_err(|failure| without_key(failure, key))?;
            Ok(Registration::Signed(facts::Certificate(signed.pem.into())))
        })
    }

    fn status<'a>(&'a self, _order: &'a NodeOrder, _token: &'a StatusToken) -> Reply<'a, RegistrationStatus> {
        // No order is ever under way: none has a token.
        Box::pin(async { Ok(RegistrationStatus::UnknownToken) })
    }

    fn disassociate<'a>(&'a self, order: &'a NodeOrder) -> Reply<'a, Registration> {
        Box::pin(self.in_time(self.leave(&order.node)))
    }

    fn health(&self) -> Reply<'_, Health> {
        Box::pin(self.in_time(self.ready()))
    }

    fn list<'a>(&'a self, _after: Option<&'a ListMark>) -> Reply<'a, NodeList> {
        Box::pin(self.in_time(self.names()))
    }
}
