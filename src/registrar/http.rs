//! HTTPS to servers that are not AWS: one small client for all of them.
//!
//! TLS is rustls with AWS-LC, as the SDK's. Certificates are always checked: against the one authority that the route names, else
//! against the system's. Nothing is followed or decompressed, nothing that may have been sent is sent again, and no answer is read beyond a limit.

mod errors;
mod files;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

pub use errors::{ERRORS, UNREACHABLE};
pub(super) use errors::{OVERSIZED, TIMEOUT};
pub use files::{FileError, PrivateKey, read_certificates};

use super::kind::Limits;
use crate::aws::{Allowance, Gathered, Share, TooMuchAtOnce};
use crate::config::keys::{Key, SWITCH, usual};
use crate::json;
use crate::names::ServerUrl;
use crate::retry::{Class, Failure};

/// How long an unused connection is kept: shorter than servers and balancers keep theirs.
const IDLE: Duration = Duration::from_secs(20);

/// The key by which a route allows its server to be without TLS. It stands beside the `url` that it is meant for, so that what was written for
/// one server, or for an emulator of AWS, admits no other.
pub const ALLOW_PLAIN_HTTP: Key =
    usual("allow_plain_http", SWITCH, "false", "Allows this server to be without TLS although it is not on this machine.");

/// How a server is reached.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Where it answers.
    pub url: ServerUrl,
    /// The only authorities that its certificate may come from; the system's where none.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// What we show of ourselves, where the server asks for a certificate.
    pub identity: Option<Identity>,
    /// The longest that opening a connection may take, without TLS.
    pub connect_timeout: Duration,
    /// The longest that one request may take, with everything that belongs to it.
    pub attempt_timeout: Duration,
    /// Whether a server without TLS may be spoken to that is not on this machine.
    pub allow_plain_http: bool,
    /// The longest answer, in bytes.
    pub max_answer: usize,
}

impl HttpSettings {
    /// The longest answer where nothing else is set: 4 MiB. A node object with all that its operating system tells is rarely beyond 1 MiB.
    pub const MAX_ANSWER: usize = 4 * 1024 * 1024;

    /// A server with the configuration's limits, the system's authorities, and no certificate of ours; without TLS only on this machine.
    #[must_use]
    pub fn of(url: ServerUrl, limits: &Limits) -> Self {
        Self {
            url,
            authorities: None,
            identity: None,
            connect_timeout: limits.connect,
            attempt_timeout: limits.attempt,
            allow_plain_http: false,
            max_answer: Self::MAX_ANSWER,
        }
    }
}

/// A client's certificate, with those between it and its authority, and its key.
#[derive(Clone)]
pub struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKey,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(redacted)")
    }
}

impl Identity {
    /// Reads certificate and key from their files.
    ///
    /// # Errors
    /// Either file cannot be used, or others than its owner may read the key.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, FileError> {
        Ok(Self { certificates: read_certificates(certificate)?, key: PrivateKey::read(key)? })
    }

    /// Both as rustls takes them, where they belong together.
    fn certified(&self) -> Result<CertifiedKey, rustls::Error> {
        let certified = CertifiedKey::new(self.certificates.clone(), self.key.for_tls()?);
        match certified.keys_match() {
            // A kind of key that cannot tell is no fault.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
            Err(error) => Err(error),
        }
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Plain HTTP to another machine.
    #[error("{0} is without TLS and not on this machine; write https://, or allow_plain_http = true in its registrar if that is meant")]
    Exposed(ServerUrl),
    /// The system has no authorities.
    #[error("the system's certificate authorities cannot be read ({0}); install them, or name a ca_file")]
    NoAuthorities(std::io::Error),
    /// Authorities or identity that rustls does not take.
    #[error("certificates or key cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body, without its parameters, in small letters; empty where the server names none.
    pub media_type: String,
    /// The body, whole.
    pub body: Bytes,
    /// What its values have of what those of all answers may take: to be kept for as long as they are.
    pub(super) share: Share,
}

impl Answer {
    /// The body as JSON, whatever it is called; none where it is not. Not to be asked of a client [for own types](HttpClient::for_own_types): what
    /// the values take was not looked at then.
    #[must_use]
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as text, broken characters replaced.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// Speaks to one server. Clones share its connections.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: ServerUrl,
    attempt_timeout: Duration,
    max_answer: usize,
    together: Arc<Allowance>,
    /// What JSON may take where it is read into values, that of all answers in hand together; none where it is not.
    values: Option<Arc<Allowance>>,
}

/// What an answer of JSON may take as values, in lengths of the longest answer. Names in a list take up to three times their length, and what
/// operating systems tell about themselves some ten times, which is rarely a megabyte; what is made to take much, more than a hundred times.
const HEAVIEST: usize = 4;

/// So many of the longest answers of one server may be read at once, and so many of the heaviest be in hand as values, beside the first 64 KiB of each;
/// what is beyond is cut off and asked for again. By server, so that none takes the room of another.
const LONGEST_AT_ONCE: usize = 4;

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("url", &self.url).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client for one server. Nothing is sent yet.
    ///
    /// # Errors
    /// Plain HTTP where that is not allowed, or certificates that cannot be used.
    pub fn new(settings: &HttpSettings) -> Result<Self, HttpError> {
        if settings.url.is_exposed() && !settings.allow_plain_http {
            return Err(HttpError::Exposed(settings.url.clone()));
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let https = HttpsConnectorBuilder::new().with_tls_config(tls(settings)?).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).build(https);
        let max_answer = settings.max_answer;
        let together = Allowance::of(max_answer.saturating_mul(LONGEST_AT_ONCE));
        let values = Some(Allowance::of(heaviest(max_answer).saturating_mul(LONGEST_AT_ONCE)));
        Ok(Self { client, url: settings.url.clone(), attempt_timeout: settings.attempt_timeout, max_answer, together, values })
    }

    /// The same client for whoever reads no answer into values of any kind, but into types of his own that leave out what they do not know: those
    /// take no more than the text.
    #[must_use]
    pub fn for_own_types(self) -> Self {
        Self { values: None, ..self }
    }

    /// The same client, over the same connections, for answers of another length, such as long lists, one of which is read at a time.
    #[must_use]
    pub fn with_max_answer(&self, max_answer: usize) -> Self {
        let values = self.values.as_ref().map(|_| Allowance::of(heaviest(max_answer)));
        Self { max_answer, together: Allowance::of(max_answer), values, ..self.clone() }
    }

    /// The same client, over the same connections, for requests that take their time.
    #[must_use]
    pub fn with_attempt_timeout(&self, attempt_timeout: Duration) -> Self {
        Self { attempt_timeout, ..self.clone() }
    }

    /// Where the server answers.
    #[must_use]
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Sends one request, and reads the answer. `path` begins with a slash and stands after the base URL's own; it is sent as it is,
    /// so whoever makes it from names has escaped them. Any status is an answer.
    ///
    /// # Errors
    /// No answer, or one that is too long; its class stands in the table of `errors`.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer, Failure> {
        match tokio::time::timeout(self.attempt_timeout, self.exchange(method, path, headers, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(TIMEOUT.failure(format!("no answer within {:?}", self.attempt_timeout))),
        }
    }

    async fn exchange(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer, Failure> {
        let request = self.request(method, path, headers, body)?;
        let answer = self.client.request(request).await.map_err(|error| trouble(&error))?;
        let (head, body) = answer.into_parts();
        let body = Gathered::new(self.together.counted(Limited::new(body, self.max_answer)));
        let body = body.collect().await.map_err(|error| self.broken(error.as_ref()))?.to_bytes();
        let share = self.share_for(&body)?;
        Ok(Answer { status: head.status.as_u16(), media_type: media_type(&head.headers), body, share })
    }

    /// What the values of a body will take. Pages have none.
    fn share_for(&self, body: &[u8]) -> Result<Share, Failure> {
        let Some(values) = self.values.as_ref().filter(|_| !body.trim_ascii_start().starts_with(b"<")) else { return Ok(Share::default()) };
        let (weight, heaviest) = (json::weight(body), heaviest(self.max_answer));
        if weight > heaviest {
            return Err(errors::OVERSIZED.failure(format!("the answer's JSON would take more than {heaviest} bytes")));
        }
        values.hold(weight).map_err(|error| errors::TOO_MUCH_AT_ONCE.failure(error.to_string()))
    }

    fn request(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let unsendable = |what: &dyn fmt::Display| errors::INVALID_REQUEST.failure(what.to_string());
        let uri = format!("{}{path}", self.url);
        let mut request = Request::builder().method(method).uri(uri).body(Full::new(body)).map_err(|error| unsendable(&error))?;
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| unsendable(&error))?;
            let value = HeaderValue::from_str(value).map_err(|error| unsendable(&error))?;
            request.headers_mut().append(name, value);
        }
        Ok(request)
    }

    fn broken(&self, error: &(dyn std::error::Error + Send + Sync + 'static)) -> Failure {
        if error.is::<LengthLimitError>() {
            // A person has to look at what answers there; asking again would bring the same.
            return errors::OVERSIZED.failure(format!("the answer is longer than {} bytes", self.max_answer));
        }
        let meaning = if error.is::<TooMuchAtOnce>() { errors::TOO_MUCH_AT_ONCE } else { errors::CONNECTION };
        meaning.failure(chain(error))
    }
}

/// What one answer's values may take, by the longest answer.
fn heaviest(max_answer: usize) -> usize {
    max_answer.saturating_mul(HEAVIEST)
}

/// The failure for a request that got no answer.
fn trouble(error: &hyper_util::client::legacy::Error) -> Failure {
    let text = chain(error);
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return tls_trouble(tls, text);
        }
        let io = cause.downcast_ref::<std::io::Error>();
        if let Some(io) = io.filter(|_| error.is_connect()) {
            use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
            if matches!(io.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | TimedOut) {
                return errors::UNREACHABLE.failure(text);
            }
        }
        // An I/O error that was made of another names what that one stands on as its source, not that one.
        next = match io.and_then(std::io::Error::get_ref) {
            Some(inside) => Some(inside),
            None => cause.source(),
        };
    }
    errors::CONNECTION.failure(text)
}

fn tls_trouble(error: &rustls::Error, text: String) -> Failure {
    use rustls::Error;
    match error {
        Error::InvalidCertificate(_)
        | Error::NoCertificatesPresented
        | Error::AlertReceived(_)
        | Error::PeerIncompatible(_)
        // What answers there does not speak TLS.
        | Error::InvalidMessage(_) => errors::TLS.failure(text),
        _ => errors::TLS_BROKEN.failure(text),
    }
}

/// The failure for a status that means the same on every server, where it is one: a server that is being restarted or mended
/// behind its balancer (502, 503, 504), one that asks us to slow down (429), and one that failed (500).
#[must_use]
pub fn shared_class(status: u16) -> Option<Class> {
    match status {
        502..=504 => Some(Class::NotReady),
        429 => Some(Class::Throttled),
        408 | 425 | 500 | 501 | 505..=599 => Some(Class::Transient),
        401 | 403 | 407 => Some(Class::RouteFault),
        // Nothing is followed: the base URL is wrong, or a log-in page stands before the server.
        300..=399 => Some(Class::RouteFault),
        _ => None,
    }
}

fn tls(settings: &HttpSettings) -> Result<ClientConfig, HttpError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = match &settings.authorities {
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(authority.clone())?;
            }
            config.with_root_certificates(roots)
        }
        // Without TLS no authority is needed, and a small container may have none.
        None if settings.url.origin().starts_with("http://") => config.with_root_certificates(RootCertStore::empty()),
        None => config.with_native_roots().map_err(HttpError::NoAuthorities)?,
    };
    Ok(match &settings.identity {
        Some(identity) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified()?))),
        None => config.with_no_client_auth(),
    })
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// An error and what lies under it, in one line; repeated sentences once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    crate::aws::detail(&parts.join(": "))
}

/// A short text for a status that nobody expected: its number, its name, and the beginning of a body that is not a page.
#[must_use]
pub fn unexpected(answer: &Answer) -> String {
    let name = StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason()).unwrap_or("no name");
    if answer.media_type.contains("html") || answer.body.is_empty() {
        return format!("{} {name}", answer.status);
    }
    crate::aws::detail(&format!("{} {name}: {}", answer.status, answer.text().trim()))
}

#[cfg(test)]
mod tests;
