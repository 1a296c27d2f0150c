//! Two workers at one name, step by step: between two requests of one, another does all of its work.

use std::convert::Infallible;
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

use crate::server::{self, Node, Server, shared};
use crate::{enrolled, in_the_end};

/// A way to the server on which, before the request of this number, another worker enrols the same node.
struct Way {
    client: HttpClient,
    asked: AtomicUsize,
    at: usize,
    other: PuppetCa,
    node: Arc<Node>,
}

impl Way {
    async fn forward(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == self.at {
            in_the_end(&self.other, &self.node).await;
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let headers = head.headers.iter().filter(|(name, _)| ["accept", "content-type"].contains(&name.as_str()));
        let headers: Vec<(&str, &str)> = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let answer = self.client.send(head.method, head.uri.path(), &headers, body).await.unwrap();
        Response::builder().status(answer.status).header("content-type", answer.media_type).body(Full::new(answer.body)).unwrap()
    }
}

/// A registrar on such a way.
async fn interrupted(server: &Server, node: &Arc<Node>, replace_existing: bool, at: usize) -> (PuppetCa, Arc<Way>) {
    let other = server.registrar(replace_existing);
    let way = Arc::new(Way { client: server.client(), asked: AtomicUsize::new(0), at, other, node: Arc::clone(node) });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = ServerUrl::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let serves = Arc::clone(&way);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let way = Arc::clone(&serves);
            let service = service_fn(move |request| {
                let way = Arc::clone(&way);
                async move { Ok::<_, Infallible>(way.forward(request).await) }
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
    (PuppetCa::new(&settings).unwrap(), way)
}

#[tokio::test]
async fn another_worker_between_any_two_requests_leaves_one_certificate() {
    let server = shared().await;
    for (replace_existing, submitted) in [(false, false), (true, false), (false, true), (true, true)] {
        for at in 0.. {
            let node = Arc::new(Node::named(&format!("between-{at}-{replace_existing}-{submitted}")));
            // Where an earlier worker died after it had submitted.
            if submitted {
                server.submit(&node).await;
            }
            let (ca, way) = interrupted(&server, &node, replace_existing, at).await;
            let certificate = in_the_end(&ca, &node).await;
            assert!(server.verifies(&certificate), "{}", node.name());
            assert_eq!(certificate, enrolled(&server, &way.other, &node).await, "both have the same: {}", node.name());
            assert!(!server.revokes(&certificate).await, "{}", node.name());
            assert_eq!(server.issued(node.name()), 1, "no other was ever made: {}", node.name());
            if way.asked.load(Ordering::SeqCst) <= at {
                break;
            }
        }
    }
}

/// Only what stands under a name can be revoked and deleted, so that a stranger's that two workers replace at once can cost a second
/// certificate. What stands there in the end is the node's own, and good.
#[tokio::test]
async fn another_worker_between_any_two_requests_of_a_replacement_leaves_a_good_certificate() {
    let server = shared().await;
    for signed in [false, true] {
        for at in 0.. {
            let name = format!("replaced-{at}-{signed}");
            let (node, stranger) = (Arc::new(Node::named(&name)), Node::named(&name));
            server.submit(&stranger).await;
            if signed {
                server.desire(&name, "signed").await;
            }
            let (ca, way) = interrupted(&server, &node, true, at).await;
            in_the_end(&ca, &node).await;
            let last = enrolled(&server, &server.registrar(false), &node).await;
            assert_eq!(server::key_of(&last), node.public_key(), "{name}");
            assert!(!server.revokes(&last).await, "{name}");
            if way.asked.load(Ordering::SeqCst) <= at {
                break;
            }
        }
    }
}
