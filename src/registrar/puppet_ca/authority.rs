//! The authority's interface, request by request: what each is answered with where all is well, and where others are at work at the same name.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;

use super::documents::{Certificate, Pending, Request};
use super::{PuppetCaSettings, errors};
use crate::aws::detail;
use crate::facts::{Health, NodeList};
use crate::names::NodeName;
use crate::registrar::http::{Answer, HttpClient, HttpError, OVERSIZED, shared_class, unexpected};
use crate::retry::{Class, Failure};

/// Where the authority's interface begins.
const CA: &str = "/puppet-ca/v1";

/// A name that no node has: to ask whether we may ask.
const NOBODY: &str = "enrolld-check";

/// The longest list of names: 64 MiB. The server knows no pages, and tells some 850 bytes of each (7.9.5), so this is about 75,000 nodes.
const LONGEST_LIST: usize = 64 * 1024 * 1024;

/// The longest request or certificate, in bytes. A node's own has a few thousand.
const LONGEST_DOCUMENT: usize = 64 * 1024;

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
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

/// One name of the list of all.
#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
}

/// An authority, and how it is asked.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    client: HttpClient,
    /// For requests and certificates, which are kept while more is asked.
    documents: HttpClient,
    /// A list may take as long as a whole order: its server reads every file for it.
    call_timeout: Duration,
}

impl Authority {
    pub(super) fn new(settings: &PuppetCaSettings) -> Result<Self, HttpError> {
        let client = HttpClient::new(&settings.http)?.for_own_types();
        Ok(Self { documents: client.with_max_answer(LONGEST_DOCUMENT), client, call_timeout: settings.call_timeout })
    }

    pub(super) async fn state(&self, name: &str) -> Result<State, Failure> {
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
    pub(super) async fn submit(&self, node: &NodeName, pem: &str) -> Result<(), Failure> {
        let answer = self.send(Method::PUT, &format!("{CA}/certificate_request/{node}"), "text/plain", pem).await?;
        match answer.status {
            200..=299 => Ok(()),
            400 if !is_page(&answer) && self.state(node.as_str()).await? != State::Absent => Ok(()),
            _ => Err(self.refusal_of_request(&answer).await),
        }
    }

    /// Whether this is the request that is pending; none where nothing is any more. What is no request at all is the server's fault, and no
    /// stranger's deed; what is one by its form alone, or is longer than any of ours, is whatever somebody submitted.
    pub(super) async fn is_pending(&self, node: &NodeName, request: &Request) -> Result<Option<bool>, Failure> {
        let answer = match self.document(&format!("{CA}/certificate_request/{node}")).await {
            Err(failure) if failure.code == OVERSIZED.code => return Ok(Some(false)),
            answer => answer?,
        };
        match answer.status {
            200 => match Pending::read(&answer.text()) {
                Some(pending) => Ok(Some(pending.is(request))),
                None => Err(errors::NOT_A_CA.failure("what stands for the pending request is none")),
            },
            404 if !is_page(&answer) => Ok(None),
            _ => Err(self.refusal(&answer).await),
        }
    }

    /// The certificate, also one that is revoked; none where there is none any more.
    pub(super) async fn certificate(&self, node: &NodeName) -> Result<Option<Certificate>, Failure> {
        let answer = match self.document(&format!("{CA}/certificate/{node}")).await {
            // So may one be that was made of a stranger's request.
            Err(failure) if failure.code == OVERSIZED.code => return Ok(Some(Certificate::too_long())),
            answer => answer?,
        };
        match answer.status {
            200 => match Certificate::read(&answer.text()) {
                Some(certificate) => Ok(Some(certificate)),
                None => Err(errors::NOT_A_CA.failure("what stands for the node's certificate is none")),
            },
            404 if !is_page(&answer) => Ok(None),
            _ => Err(self.refusal(&answer).await),
        }
    }

    /// Whether it shows an authority's own certificate: that nothing stands under a name is believed only of an authority.
    pub(super) async fn is_one(&self) -> Result<(), Failure> {
        let answer = self.send(Method::GET, &format!("{CA}/certificate/ca"), "text/plain", "").await?;
        if answer.status == 200 && answer.text().contains("-----BEGIN CERTIFICATE-----") {
            return Ok(());
        }
        Err(self.refusal(&answer).await)
    }

    /// Signs what is pending. 409 is a request that is gone meanwhile, or one that the server's own rules refuse; 500 is what a worker gets
    /// that signs at the same moment as another (7.9.5: one certificate is made, and the second finds the request's file gone).
    pub(super) async fn order_signature(&self, node: &NodeName) -> Result<(), Failure> {
        let failure = match self.desire(node, "signed").await {
            Ok(answer) => match answer.status {
                200..=299 => return Ok(()),
                404 | 409 | 500 if !is_page(&answer) && self.state(node.as_str()).await? != State::Requested => return Ok(()),
                409 if !is_page(&answer) => errors::NOT_SIGNED.failure(unexpected(&answer)),
                _ => self.refusal_of_request(&answer).await,
            },
            Err(failure) => failure,
        };
        // An order whose answer is lost may have been carried out; what it made is looked at now, where that can be.
        if matches!(failure.class, Class::Transient | Class::NotReady)
            && matches!(self.state(node.as_str()).await, Ok(state) if state != State::Requested)
        {
            return Ok(());
        }
        Err(failure)
    }

    pub(super) async fn revoke(&self, node: &NodeName) -> Result<(), Failure> {
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

    /// Takes away a pending request, and nothing but that: deleting the whole name would delete a certificate with it that somebody has
    /// made since the look, and not revoke it. By the rules as they are shipped nobody may delete a request alone; then the whole name is
    /// deleted, after one more look.
    pub(super) async fn drop_request(&self, node: &NodeName) -> Result<(), Failure> {
        let answer = self.send(Method::DELETE, &format!("{CA}/certificate_request/{node}"), "text/plain", "").await?;
        match answer.status {
            200..=299 => Ok(()),
            403..=405 if self.state(node.as_str()).await? != State::Requested => Ok(()),
            403..=405 => self.delete(node).await,
            _ => Err(self.refusal(&answer).await),
        }
    }

    /// Removes what is revoked, by the order that revokes before it deletes: another worker may have put a good certificate in its place
    /// since the look, and one that is gone can never be revoked again. It is not used to revoke in the first place, since the server
    /// guards its list against two writers at once in [`revoke`](Self::revoke) alone (7.9.5).
    pub(super) async fn clean(&self, node: &NodeName) -> Result<(), Failure> {
        let body = format!(r#"{{"certnames":["{node}"]}}"#);
        let answer = self.send(Method::PUT, &format!("{CA}/clean"), "application/json", &body).await?;
        match answer.status {
            200..=299 => Ok(()),
            // Two that clean at once: one of them finds the file gone.
            500 if self.state(node.as_str()).await? != State::Revoked => Ok(()),
            // A server that does not have this yet, or rules that do not allow it. What is there by now may be another worker's, and good.
            400 | 403..=405 if self.state(node.as_str()).await? == State::Revoked => self.delete(node).await,
            400 | 403..=405 => Ok(()),
            _ => Err(self.refusal(&answer).await),
        }
    }

    /// Deletes certificate and request as they are.
    async fn delete(&self, node: &NodeName) -> Result<(), Failure> {
        let answer = self.send(Method::DELETE, &format!("{CA}/certificate_status/{node}"), "application/json", "").await?;
        match answer.status {
            200..=299 => Ok(()),
            404 if !is_page(&answer) => Ok(()),
            _ => Err(self.refusal(&answer).await),
        }
    }

    async fn send(&self, method: Method, path: &str, media_type: &str, body: &str) -> Result<Answer, Failure> {
        ask(&self.client, method, path, media_type, body).await
    }

    async fn document(&self, path: &str) -> Result<Answer, Failure> {
        ask(&self.documents, Method::GET, path, "text/plain", "").await
    }

    /// The failure for an answer that was not expected. While the server starts, its parts appear one by one.
    async fn refusal(&self, answer: &Answer) -> Failure {
        self.unless_starting(classify(answer)).await
    }

    /// The same where the node's request was submitted or was to be signed: what the authority itself says against that is one node's trouble.
    async fn refusal_of_request(&self, answer: &Answer) -> Failure {
        self.unless_starting(classify_of_request(answer)).await
    }

    async fn unless_starting(&self, failure: Failure) -> Failure {
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
    pub(super) async fn names(&self) -> Result<NodeList, Failure> {
        let client = self.client.with_max_answer(LONGEST_LIST).with_attempt_timeout(self.call_timeout);
        let answer = ask(&client, Method::GET, &format!("{CA}/certificate_statuses/all"), "application/json", "").await?;
        if answer.status != 200 {
            return Err(self.refusal(&answer).await);
        }
        let listed: Vec<Listed> = serde_json::from_slice(&answer.body)
            .map_err(|_| errors::NOT_A_CA.failure(format!("no list of names: {}", unexpected(&answer))))?;
        let names = listed.iter().filter_map(|listed| NodeName::new(&listed.name).ok()).collect();
        Ok(NodeList::Page { names, next: None })
    }

    /// Whether it runs, and whether we may ask it.
    pub(super) async fn ready(&self) -> Result<Health, Failure> {
        match self.running().await? {
            Health::Ready => self.state(NOBODY).await.map(|_| Health::Ready),
            not_ready => Ok(not_ready),
        }
    }
}

async fn ask(client: &HttpClient, method: Method, path: &str, media_type: &str, body: &str) -> Result<Answer, Failure> {
    let mut headers = vec![("accept", media_type)];
    if !body.is_empty() {
        headers.push(("content-type", media_type));
    }
    client.send(method, path, &headers, Bytes::copy_from_slice(body.as_bytes())).await
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
        // Also what nginx before the authority says of our certificate, 400 with a page: no node can do anything about that.
        _ => errors::ELSEWHERE,
    };
    meaning.coded(format!("http_{}", answer.status), unexpected(answer))
}

/// The same where the node's request was submitted or was to be signed.
fn classify_of_request(answer: &Answer) -> Failure {
    match (answer.status, shared_class(answer.status)) {
        (404, _) => classify(answer),
        (400..=499, None) if !is_page(answer) => errors::REFUSED.coded(format!("http_{}", answer.status), unexpected(answer)),
        _ => classify(answer),
    }
}

/// Whether an answer is some web server's page and not the authority's.
fn is_page(answer: &Answer) -> bool {
    answer.media_type.contains("html")
}
