//! The certificate authority of a Puppet Server (or OpenVox Server) of one's own: signs a node's request, and takes its certificate back.
//!
//! Anybody may submit a request under any name, and signing is by name: whoever was first would be signed. So what is pending is
//! compared with the node's own request before it is signed, and the certificate with the request after. Source of the
//! HTTP interface: <https://www.puppet.com/docs/puppet/7/server/http_certificate_status>, and Puppet Server 7.9.5 itself.

mod authority;
mod documents;
mod errors;
mod kind;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use authority::{Authority, State};
use documents::{Certificate, Difference, Request};
use jiff::Timestamp;
pub(super) use kind::KIND;

use super::http::{HttpError, HttpSettings, TIMEOUT};
use super::{Registrar, Reply, without_key};
use crate::core::call::NodeOrder;
use crate::facts::{self, Health, KeyMaterial, ListMark, NodeList, Registration, RegistrationStatus, StatusToken};
use crate::names::NodeName;
use crate::retry::{Class, Failure};

/// How often an order looks at a name before it comes back later: five times to replace a certificate, and more where others change it
/// at the same time.
const LOOKS: usize = 8;

/// How far the authority's clock may be behind that of Auto Scaling.
const CLOCKS_APART: i64 = 5 * 60;

/// No lifecycle action is open for longer (Auto Scaling: 48 h), whatever a message says of when it began.
const LONGEST_ACTION: i64 = 48 * 3600;

/// So many orders that are not decided yet are kept in mind; a process that has more of them has other troubles.
const MOST_ORDERED: usize = 10_000;

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
    authority: Authority,
    call_timeout: Duration,
    replace_existing: bool,
    /// What was ordered to be signed and is not decided yet, by name: an order that failed half-way is given again.
    ordered: Arc<Mutex<BTreeMap<NodeName, Request>>>,
    clock: fn() -> Timestamp,
}

/// What is to be done about the certificate that stands under a node's name.
enum Judgement {
    /// It is the node's.
    Own,
    /// It was made during this launch, and is not what the node's request asked for: it must not stay valid, and somebody is woken.
    Contested(Difference),
    /// It is the node's key's, from before, with other rights than the request has.
    Altered(Difference),
    /// It is somebody else's, from before.
    Anothers,
}

impl PuppetCa {
    /// An authority. Nothing is sent yet.
    ///
    /// # Errors
    /// Certificates that cannot be used, or plain HTTP where that is not allowed.
    pub fn new(settings: &PuppetCaSettings) -> Result<Self, HttpError> {
        Ok(Self {
            authority: Authority::new(settings)?,
            call_timeout: settings.call_timeout,
            replace_existing: settings.replace_existing,
            ordered: Arc::default(),
            clock: Timestamp::now,
        })
    }

    /// The same with a clock that is not the machine's: for tests of what was signed before a launch.
    #[doc(hidden)]
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> Timestamp) -> Self {
        self.clock = clock;
        self
    }

    fn ordered(&self) -> MutexGuard<'_, BTreeMap<NodeName, Request>> {
        // Each change of it is one step, so that it is whole whatever panicked.
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps in mind that something may have been signed by us in the request's place.
    fn will_order(&self, node: &NodeName, request: &Request) {
        let mut ordered = self.ordered();
        if ordered.len() >= MOST_ORDERED {
            ordered.pop_first();
        }
        ordered.insert(node.clone(), request.clone());
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.call_timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(TIMEOUT.failure(format!("the order was not through within {:?}", self.call_timeout))),
        }
    }

    /// Signs the node's request, whatever a run before this one left behind.
    async fn sign(&self, order: &NodeOrder, pem: &str) -> Result<Certificate, Failure> {
        let node = &order.node;
        check_name(node)?;
        let request = Request::read(pem).ok_or_else(|| errors::NOT_A_REQUEST.failure("the key material is no certificate request"))?;
        let ordered = self.ordered().get(node) == Some(&request);
        let ended = self.settle(order, &request, pem, ordered).await;
        // What was neither signed nor refused for good is gone on with.
        if ended.as_ref().map_or_else(|failure| failure.class == Class::Final, |_| true) {
            self.ordered().remove(node);
        }
        ended
    }

    async fn settle(&self, order: &NodeOrder, request: &Request, pem: &str, mut ordered: bool) -> Result<Certificate, Failure> {
        let (node, authority, now) = (&order.node, &self.authority, (self.clock)());
        for _ in 0..LOOKS {
            match authority.state(node.as_str()).await? {
                State::Absent => authority.submit(node, pem).await?,
                State::Requested => {
                    // One that is gone again was signed or taken away by another worker, and there is nothing to be judged.
                    let Some(is_ours) = authority.is_pending(node, request).await? else { continue };
                    if is_ours {
                        // Before the order itself: whatever becomes of its answer, something may have been signed by us.
                        ordered = true;
                        self.will_order(node, request);
                        if let Err(failure) = authority.order_signature(node).await {
                            return Err(self.give_back_request(node, failure).await);
                        }
                    } else if self.replace_existing {
                        authority.drop_request(node).await?;
                    } else if authority.state(node.as_str()).await? == State::Requested {
                        return Err(errors::FOREIGN_REQUEST
                            .failure("a request that is not the node's is pending under its name, and was not signed"));
                    }
                }
                State::Signed => {
                    let Some(certificate) = authority.certificate(node).await? else { continue };
                    match judge(&certificate, request, order, ordered, now) {
                        Judgement::Own => return Ok(certificate),
                        // Only what this very order saw is known not to be of an earlier key of the node's.
                        Judgement::Contested(difference) if ordered || !self.replace_existing => {
                            // It is not cleaned yet: while it stands there, whoever comes after a crash finds the same. That is done once
                            // the launch is over.
                            authority.revoke(node).await?;
                            return Err(contested(difference));
                        }
                        // This one and no other: another worker may put the node's own in its place at any moment, so that each look
                        // decides again.
                        _ if self.replace_existing => authority.revoke(node).await?,
                        Judgement::Contested(difference) | Judgement::Altered(difference) => {
                            return Err(errors::FOREIGN_CERTIFICATE
                                .failure(format!("the certificate that stands under the node's name has {difference}")));
                        }
                        Judgement::Anothers => {
                            return Err(errors::OTHER_KEY.failure("a certificate for another key is signed under the node's name"));
                        }
                    }
                }
                State::Revoked if self.replace_existing && !ordered => authority.clean(node).await?,
                State::Revoked => {
                    let Some(certificate) = authority.certificate(node).await? else { continue };
                    // By us, before a crash or another worker with the same message.
                    if let Judgement::Contested(difference) = judge(&certificate, request, order, ordered, now) {
                        return Err(contested(difference));
                    }
                    if !self.replace_existing {
                        return Err(errors::OTHER_KEY.failure("a revoked certificate stands under the node's name"));
                    }
                    authority.clean(node).await?;
                }
            }
        }
        Err(unsettled())
    }

    /// A request that will never be signed is taken back: nobody comes for it, and a sweep alone would find it.
    async fn give_back_request(&self, node: &NodeName, failure: Failure) -> Failure {
        if failure.class != Class::Final {
            return failure;
        }
        match self.authority.drop_request(node).await {
            Ok(()) => failure,
            Err(left) => Failure { detail: format!("{}; its request is still pending: {left}", failure.detail), ..failure },
        }
    }

    /// Revokes and removes whatever stands under a name, each by an order that does no harm where another worker has put something else
    /// there since the look: so a certificate is never deleted that is not revoked.
    async fn take_off(&self, node: &NodeName) -> Result<(), Failure> {
        for _ in 0..LOOKS {
            match self.authority.state(node.as_str()).await? {
                State::Absent => return Ok(()),
                State::Signed => self.authority.revoke(node).await?,
                State::Requested => self.authority.drop_request(node).await?,
                State::Revoked => self.authority.clean(node).await?,
            }
        }
        Err(unsettled())
    }

    /// The same for a node that leaves. That nothing is there is believed only of a server that is an authority.
    async fn leave(&self, node: &NodeName) -> Result<Registration, Failure> {
        check_name(node)?;
        self.take_off(node).await?;
        self.authority.is_one().await?;
        self.ordered().remove(node);
        Ok(Registration::Done)
    }

    /// Takes away a certificate that is revoked, of a node that stays. Whatever else stands there may be the node's own by now. Two workers that
    /// do this at the same moment could only harm a certificate that was requested and signed between the look and the order of the second.
    async fn clear_revoked(&self, node: &NodeName) -> Result<Registration, Failure> {
        check_name(node)?;
        if self.authority.state(node.as_str()).await? == State::Revoked {
            self.authority.clean(node).await?;
        }
        Ok(Registration::Done)
    }
}

/// Judges a certificate by the node's request, and by when it was made. A name is of one instance alone, so what was signed under it since
/// that instance's launch began, and is not its own, was signed in the request's place: by us, before a crash or a lost answer, by a server
/// that signs by itself, or by somebody else. The certificate itself tells when, so no crash can lose it.
fn judge(certificate: &Certificate, request: &Request, order: &NodeOrder, ordered: bool, now: Timestamp) -> Judgement {
    let Some(difference) = certificate.differs(request, &order.node) else { return Judgement::Own };
    let earliest = now.as_second() - LONGEST_ACTION;
    // A message that does not say when, or says what has not come yet, hides nothing: the launch may have begun as early as any.
    let began = order.action.time_ms.map_or(earliest, |ms| i64::try_from(ms / 1000).unwrap_or(i64::MAX));
    let during = certificate.signed_at().saturating_add(CLOCKS_APART) >= began.clamp(earliest, now.as_second());
    match difference {
        difference if ordered || during => Judgement::Contested(difference),
        Difference::Key => Judgement::Anothers,
        difference => Judgement::Altered(difference),
    }
}

fn contested(difference: Difference) -> Failure {
    errors::FOREIGN_CERTIFICATE.failure(format!("what was signed has {difference}; the certificate was revoked"))
}

fn unsettled() -> Failure {
    errors::UNSETTLED.failure("what stands under the node's name was changed again and again meanwhile")
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

impl Registrar for PuppetCa {
    fn associate<'a>(&'a self, order: &'a NodeOrder, key: &'a KeyMaterial) -> Reply<'a, Registration> {
        Box::pin(async move {
            let signed = self.in_time(self.sign(order, key.pem())).await.map_err(|failure| without_key(failure, key))?;
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

    fn clear<'a>(&'a self, order: &'a NodeOrder) -> Reply<'a, Registration> {
        Box::pin(self.in_time(self.clear_revoked(&order.node)))
    }

    fn health(&self) -> Reply<'_, Health> {
        Box::pin(self.in_time(self.authority.ready()))
    }

    fn list<'a>(&'a self, _after: Option<&'a ListMark>) -> Reply<'a, NodeList> {
        Box::pin(self.in_time(self.authority.names()))
    }
}
