//! The listener: `/livez`, `/readyz`, `/metrics` and `/held` (which launches are held, and why, for `enrolld check`) over plain HTTP, on loopback unless configured.
//!
//! It answers anybody who can reach it, so it takes nothing: no body, small headers, little time, few connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::health::Health;
use super::metrics::Metrics;

/// Connections at once; the next waits until one of them ends, which takes at most [`CONNECTION_TIME`].
const CONNECTIONS: usize = 32;
/// How long the request's head may take to arrive.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long a connection may last in all.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// What hyper takes at the least for a request's head, in bytes.
const HEAD_SIZE: usize = 8192;

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The address cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}: {source}; choose another address, or stop what holds it")]
pub struct ListenerError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds to an address; port 0 takes a free one.
    ///
    /// # Errors
    /// Where the address is taken or not ours.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenerError> {
        let bound = async {
            let socket = TcpListener::bind(address).await?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        bound.await.map_err(|source| ListenerError { address, source })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the task is dropped.
    pub async fn run(self, health: Arc<Health>, metrics: Arc<Metrics>) -> Infallible {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let permit = Arc::clone(&permits).acquire_owned().await;
            match self.socket.accept().await {
                Ok((stream, _)) => {
                    let (health, metrics) = (Arc::clone(&health), Arc::clone(&metrics));
                    tokio::spawn(async move {
                        let _permit = permit;
                        // Whoever asks too slowly, or breaks off, is not answered; that is no event of ours.
                        let _ = timeout(CONNECTION_TIME, serve(stream, &health, &metrics)).await;
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: asking again at once would turn the loop hot.
                    tracing::warn!(event = "listener", reason = error.to_string(), "a connection could not be accepted");
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, health: &Health, metrics: &Metrics) -> hyper::Result<()> {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), request.body().is_end_stream(), health, metrics);
        async { Ok::<_, Infallible>(answer) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_SIZE)
        .max_headers(64)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(method: &Method, path: &str, no_body: bool, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    let known = matches!(path, "/livez" | "/readyz" | "/metrics" | "/held");
    if !known {
        return text(StatusCode::NOT_FOUND, "here are /livez, /readyz, /metrics and /held");
    }
    if *method != Method::GET && *method != Method::HEAD {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    if !no_body {
        return text(StatusCode::BAD_REQUEST, "no bodies, please");
    }
    match path {
        "/livez" => state(health.live()),
        "/readyz" => state(health.ready()),
        "/held" => page(StatusCode::OK, JSON, serde_json::to_string(&metrics.held()).unwrap_or_else(|_| "{}".into())),
        _ => page(StatusCode::OK, OPEN_METRICS, metrics.text()),
    }
}

fn state(state: Result<(), String>) -> Response<Full<Bytes>> {
    match state {
        Ok(()) => text(StatusCode::OK, "ok"),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

fn text(status: StatusCode, line: &str) -> Response<Full<Bytes>> {
    page(status, PLAIN, format!("{line}\n"))
}

fn page(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A listener at a free port, for a worker that is alive and not ready.
    pub(crate) async fn listening() -> (SocketAddr, Arc<Health>) {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let (address, health) = (listener.address(), Arc::new(Health::new()));
        health.turned(Duration::from_secs(60));
        let theirs = Arc::clone(&health);
        tokio::spawn(async move { listener.run(theirs, Arc::new(Metrics::new())).await });
        (address, health)
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A refusal may come, and the connection close, before all of a hostile request is sent.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        ask(address, &format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n")).await
    }

    #[tokio::test]
    async fn livez_and_readyz_say_how_the_worker_is() {
        let (address, health) = listening().await;
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("the queue has not answered yet"), "{answer}");
        health.queue_answers(true);
        health.has_credentials(true);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        health.ended();
        let answer = get(address, "/livez").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("the worker's loop has ended"), "{answer}");
    }

    #[tokio::test]
    async fn metrics_are_openmetrics_and_the_connection_closes() {
        let (address, _) = listening().await;
        let answer = get(address, "/metrics").await;
        assert!(answer.contains("application/openmetrics-text") && answer.ends_with("# EOF\n"), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
        let head = ask(address, "HEAD /metrics HTTP/1.1\r\nhost: here\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[tokio::test]
    async fn nothing_else_is_served_and_no_body_is_taken() {
        let (address, _) = listening().await;
        for (request, status) in [
            ("GET / HTTP/1.1\r\nhost: here\r\n\r\n", "404"),
            ("GET /livez/../metrics HTTP/1.1\r\nhost: here\r\n\r\n", "404"),
            ("POST /livez HTTP/1.1\r\nhost: here\r\ncontent-length: 0\r\n\r\n", "405"),
            ("DELETE /metrics HTTP/1.1\r\nhost: here\r\n\r\n", "405"),
            ("GET /livez HTTP/1.1\r\nhost: here\r\ncontent-length: 5\r\n\r\nhello", "400"),
            ("GET /livez HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
            ("NONSENSE\r\n\r\n", "400"),
        ] {
            let answer = ask(address, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {answer}");
        }
        let long = format!("GET /livez HTTP/1.1\r\nhost: here\r\nx: {}\r\n\r\n", "x".repeat(64 << 10));
        let answer = ask(address, &long).await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"), "and it still answers");
    }

    #[tokio::test]
    async fn idle_connections_are_bounded_and_the_next_one_waits_its_turn() {
        let (address, _) = listening().await;
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let next = tokio::spawn(async move { get(address, "/livez").await });
        sleep(Duration::from_millis(50)).await;
        assert!(!next.is_finished());
        idle.pop();
        assert!(next.await.unwrap().starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn more_headers_than_anybody_sends_are_refused() {
        let (address, _) = listening().await;
        let many = |count: usize| format!("GET /livez HTTP/1.1\r\nhost: here\r\n{}\r\n", "x: y\r\n".repeat(count));
        assert!(ask(address, &many(60)).await.starts_with("HTTP/1.1 200"));
        let answer = ask(address, &many(70)).await;
        assert!(answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_sends_its_request_a_byte_at_a_time_is_given_up_and_others_are_served_meanwhile() {
        let (address, _) = listening().await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        let began = std::time::Instant::now();
        let dripping = async {
            // Each byte arrives well within any time-out that begins anew with it.
            for byte in b"GET /livez HTTP/1.1\r\nhost: here\r\nx: ".iter().chain(std::iter::repeat(&b'y')) {
                if slow.write_all(&[*byte]).await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        let served = async { assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200")) };
        tokio::join!(dripping, served);
        let took = began.elapsed();
        assert!(took >= HEAD_TIME - Duration::from_millis(500) && took < CONNECTION_TIME - Duration::from_secs(1), "{took:?}");
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let (address, _) = listening().await;
        let error = Listener::bind(address).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
    }
}
