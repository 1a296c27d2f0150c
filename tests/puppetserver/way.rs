//! A way to the server on which a test sees each request before the server does, and decides what becomes of it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use enrolld::names::ServerUrl;
use enrolld::registrar::http::{HttpClient, HttpSettings};
use enrolld::registrar::{PuppetCa, PuppetCaSettings};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is answered as the server answers it.
    Forward,
    /// It is answered with 500, and the server never hears of it.
    Refuse,
    /// The server carries it out, and the connection breaks before its answer.
    Lose,
}

/// Called with the number of each request, and with its method, path and body.
pub type Before = Box<dyn Fn(usize, String) -> Pin<Box<dyn Future<Output = Then> + Send>> + Send + Sync>;

pub struct Way {
    client: HttpClient,
    asked: AtomicUsize,
    before: Before,
}

impl Way {
    /// How many requests there were.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn forward(&self, request: Request<Incoming>) -> std::io::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let at = self.asked.fetch_add(1, Ordering::SeqCst);
        let shown = format!("{} {} {}", head.method, head.uri.path(), String::from_utf8_lossy(&body));
        let then = (self.before)(at, shown).await;
        if then == Then::Refuse {
            return Ok(Response::builder().status(500).body(Full::new("in trouble".into())).unwrap());
        }
        let headers = head.headers.iter().filter(|(name, _)| ["accept", "content-type"].contains(&name.as_str()));
        let headers: Vec<(&str, &str)> = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let answer = self.client.send(head.method, head.uri.path(), &headers, body).await.unwrap();
        if then == Then::Lose {
            return Err(std::io::Error::other("the connection breaks"));
        }
        Ok(Response::builder().status(answer.status).header("content-type", answer.media_type).body(Full::new(answer.body)).unwrap())
    }
}

/// A registrar on such a way, which ends where `client` leads.
pub async fn on_the_way(client: HttpClient, replace_existing: bool, before: Before) -> (PuppetCa, Arc<Way>) {
    let way = Arc::new(Way { client, asked: AtomicUsize::new(0), before });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = ServerUrl::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let serves = Arc::clone(&way);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let way = Arc::clone(&serves);
            let service = service_fn(move |request| {
                let way = Arc::clone(&way);
                async move { way.forward(request).await }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let http = HttpSettings {
        url,
        authorities: None,
        identity: None,
        connect_timeout: Duration::from_secs(3),
        attempt_timeout: Duration::from_secs(60),
        allow_plain_http: false,
        max_answer: HttpSettings::MAX_ANSWER,
    };
    let settings = PuppetCaSettings { http, call_timeout: Duration::from_secs(120), replace_existing };
    (PuppetCa::new(&settings).unwrap().with_clock(crate::server::in_an_hour), way)
}
