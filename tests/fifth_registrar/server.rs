//! An inventory on loopback.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the inventory knows.
#[derive(Debug, Default)]
pub struct State {
    /// Keys by nodes.
    pub nodes: BTreeMap<String, String>,
    /// Under maintenance.
    pub busy: bool,
    /// Orders that it sent away meanwhile.
    pub refused: usize,
}

pub struct Server {
    pub url: String,
    pub state: Arc<Mutex<State>>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, state }
    }

    pub fn nodes(&self) -> Vec<String> {
        self.state.lock().unwrap().nodes.keys().cloned().collect()
    }
}

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (status, said) = decide(&head.method, head.uri.path(), &body, &mut state.lock().unwrap());
    let body = Full::new(Bytes::from(said.to_string()));
    Ok(Response::builder().status(status).header("content-type", "application/json").body(body).unwrap())
}

fn decide(method: &Method, path: &str, body: &[u8], state: &mut State) -> (u16, Value) {
    let node = path.strip_prefix("/nodes/").map(str::to_owned);
    match (method, node) {
        (&Method::GET, None) if path == "/health" => (200, json!({ "status": if state.busy { "maintenance" } else { "ready" } })),
        _ if state.busy => {
            state.refused += 1;
            (503, Value::Null)
        }
        (&Method::GET, None) if path == "/nodes" => (200, json!(state.nodes.keys().collect::<Vec<_>>())),
        (&Method::PUT, Some(node)) => {
            let key = serde_json::from_slice::<Value>(body).unwrap()["public_key"].as_str().unwrap().to_owned();
            match state.nodes.get(&node) {
                Some(other) if *other != key => (409, Value::Null),
                Some(_) => (200, Value::Null),
                None => {
                    state.nodes.insert(node, key);
                    (201, Value::Null)
                }
            }
        }
        (&Method::DELETE, Some(node)) if state.nodes.remove(&node).is_some() => (200, Value::Null),
        (&Method::DELETE, Some(_)) => (404, json!({ "error": "no such node" })),
        _ => (404, Value::Null),
    }
}
