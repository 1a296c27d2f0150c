//! A server on loopback that answers with what it was given, one answer a request, and keeps what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use enrolld::aws::{Aws, AwsSettings};
use enrolld::driver::services::{ScopeServices, Services};
use enrolld::key_material::{CsrRules, Document, Engine, KeySource, Keys, OwnerRole};
use enrolld::queue::Queue;
use enrolld::registrar::{CmEngine, CmSettings, OpsWorksCm};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `X-Amz-Target`, or the `Action` of a query.
    pub operation: String,
    /// The body.
    pub body: String,
}

/// One answer to give.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A status and a body.
    Http(u16, String),
    /// None at all: the connection is closed.
    HangUp,
    /// None for long.
    Silence,
    /// A body with 200, after a while.
    Late(Duration, String),
    /// A gigabyte of spaces with 200; with its length announced or not.
    Gigabyte {
        /// Whether the head says how long the body is.
        announced: bool,
    },
}

/// Spaces, which every format takes for more to come; what was read of them is counted.
pub struct Spaces {
    left: u64,
    announced: bool,
    read: Arc<AtomicU64>,
}

impl Body for Spaces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        const PIECE: &[u8] = &[b' '; 65_536];
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= PIECE.len() as u64;
        self.read.fetch_add(PIECE.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PIECE)))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.announced { SizeHint::with_exact(self.left) } else { SizeHint::default() }
    }
}

impl Reply {
    pub fn ok(body: impl Into<String>) -> Self {
        Self::Http(200, body.into())
    }

    /// An error of the JSON protocols.
    pub fn json_error(status: u16, code: &str, message: &str) -> Self {
        Self::Http(status, format!(r#"{{"__type":"{code}","message":"{message}"}}"#))
    }

    /// An error of the query protocol.
    pub fn xml_error(status: u16, code: &str, message: &str) -> Self {
        let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
        Self::Http(status, format!("<ErrorResponse>{error}<RequestId>r</RequestId></ErrorResponse>"))
    }
}

/// The server; it stops with the test's runtime.
pub struct Canned {
    asked: Arc<Mutex<Vec<Asked>>>,
    /// How much of its endless answers was read, in bytes.
    pub read: Arc<AtomicU64>,
    pub services: Services,
}

impl Canned {
    /// Serves the replies in their order, and makes services that speak to nobody else.
    ///
    /// Route 0 is Chef by parameter, route 1 Chef by parameter with an owner, route 2 Puppet by Run Command.
    pub async fn serve(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let replies: Arc<Mutex<VecDeque<Reply>>> = Arc::new(Mutex::new(replies.into_iter().collect()));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let read: Arc<AtomicU64> = Arc::default();
        tokio::spawn({
            let (asked, read) = (asked.clone(), read.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (replies, asked, read) = (replies.clone(), asked.clone(), read.clone());
                    let service = service_fn(move |request| answer(request, replies.clone(), asked.clone(), read.clone()));
                    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                }
            }
        });
        Self { asked, read, services: services(&url) }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The body of the one request there was, as JSON.
    pub fn asked_json(&self) -> serde_json::Value {
        let asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        serde_json::from_str(&asked[0].body).unwrap()
    }

    /// The fields of the one query there was.
    pub fn asked_fields(&self) -> Vec<(String, String)> {
        let asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        form_urlencoded::parse(asked[0].body.as_bytes()).into_owned().collect()
    }
}

async fn answer(
    request: Request<Incoming>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    read: Arc<AtomicU64>,
) -> Result<Response<Either<Full<Bytes>, Spaces>>, Box<dyn std::error::Error + Send + Sync>> {
    let target = request.headers().get("x-amz-target").map(|value| value.to_str().unwrap().to_owned());
    let body = String::from_utf8(request.into_body().collect().await?.to_bytes().to_vec())?;
    let action = form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "Action").map(|(_, action)| action.into_owned());
    asked.lock().unwrap().push(Asked { operation: target.or(action).unwrap_or_default(), body });
    let reply = replies.lock().unwrap().pop_front();
    let text = |body: String| Either::Left(Full::new(Bytes::from(body)));
    match reply {
        Some(Reply::Http(status, body)) => Ok(Response::builder().status(status).body(text(body))?),
        Some(Reply::Gigabyte { announced }) => Ok(Response::new(Either::Right(Spaces { left: 1 << 30, announced, read }))),
        Some(Reply::Silence) => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Err("too late".into())
        }
        Some(Reply::Late(wait, body)) => {
            tokio::time::sleep(wait).await;
            Ok(Response::new(text(body)))
        }
        Some(Reply::HangUp) => Err("hung up".into()),
        None => Ok(Response::builder().status(599).body(text("nothing left to answer with".into()))?),
    }
}

fn services(url: &str) -> Services {
    let settings = AwsSettings {
        region: Some("eu-central-1".into()),
        connect_timeout: Duration::from_secs(2),
        attempt_timeout: Duration::from_secs(2),
        call_timeout: Duration::from_secs(4),
        worker: "test".into(),
        scopes: Vec::new(),
    };
    let aws = Aws::fixed(&settings, url, "AKIDEXAMPLE").unwrap();
    let config = aws.own();
    let document = Document { name: "enrolld-csr".into(), version: None, commands: Vec::new() };
    let chef = CmSettings { server: "chef".into(), engine: CmEngine::Chef { organization: "default".into() } };
    let puppet = CmSettings { server: "puppet".into(), engine: CmEngine::Puppet };
    let chef: Arc<OpsWorksCm> = Arc::new(OpsWorksCm::new(config, chef));
    Services {
        queue: Queue::new(&aws, format!("{url}/123456789012/hooks"), None),
        scopes: vec![ScopeServices::new(config)],
        keys: vec![
            Keys::new(config, KeySource::Parameter { owner: None }, Engine::Chef),
            Keys::new(
                config,
                KeySource::Parameter { owner: Some(OwnerRole::new("arn:aws:iam::123456789012:role/web").unwrap()) },
                Engine::Chef,
            ),
            Keys::new(config, KeySource::RunCommand(document), Engine::Puppet(CsrRules::default())),
        ],
        registrars: vec![chef.clone(), chef, Arc::new(OpsWorksCm::new(config, puppet))],
    }
}
