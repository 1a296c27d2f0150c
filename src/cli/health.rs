//! `enrolld health`: asks a running worker how it is, for containers and people.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::CommandError;

/// The most of an answer that is read, in bytes.
const LONGEST: usize = 4096;

/// Ask a running worker whether it is well
///
/// Exits with 0 when it is and with 1 when it is not, or does not answer, and says which in one line. Made for the health check of a
/// container, whose image has no shell.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct HealthArgs {
    /// What to ask: /readyz for whether it can work, /livez for whether it turns
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9464/readyz")]
    pub url: Uri,

    /// How long to wait for the answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub timeout: u64,
}

const AFTER_HELP: &str = "\
Examples:
  enrolld health
  Only whether it turns, for a liveness check:
    enrolld health --url http://127.0.0.1:9464/livez";

/// Why a worker is not well.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Not an address that can be asked.
    #[error("{0} is not an address that can be asked: it looks like http://127.0.0.1:9464/readyz")]
    Url(Uri),
    /// Nobody listens.
    #[error("nobody answers at {authority}: {source}")]
    Connect {
        /// Host and port.
        authority: String,
        /// What the system said.
        source: io::Error,
    },
    /// Not HTTP, or broken off.
    #[error("the answer is broken: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// No answer.
    #[error("no answer within {0} s")]
    Timeout(u64),
    /// The worker says that it is not well.
    #[error("not well ({status}): {reason}")]
    NotWell {
        /// The answer's status.
        status: StatusCode,
        /// The answer's first line.
        reason: String,
    },
}

/// Asks, prints one line, and says how to exit.
///
/// # Errors
/// None: a worker that is not well is what this command is there to tell.
pub async fn run(args: HealthArgs) -> Result<ExitCode, CommandError> {
    let (line, code) = match ask(&args).await {
        Ok(()) => ("ok".to_owned(), ExitCode::SUCCESS),
        Err(error) => (error.to_string(), ExitCode::FAILURE),
    };
    // The exit code says it too, to those who do not read.
    let _ = writeln!(io::stdout(), "{line}");
    Ok(code)
}

/// Asks.
///
/// # Errors
/// Says why the worker is not well.
pub async fn ask(args: &HealthArgs) -> Result<(), HealthError> {
    let (Some("http"), Some(authority)) = (args.url.scheme_str(), args.url.authority()) else {
        return Err(HealthError::Url(args.url.clone()));
    };
    let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
    let path = args.url.path_and_query().map_or("/", |path| path.as_str());
    let asked = tokio::time::timeout(Duration::from_secs(args.timeout), exchange(path, &address, LONGEST));
    let (status, body) = asked.await.map_err(|_| HealthError::Timeout(args.timeout))??;
    if status.is_success() {
        return Ok(());
    }
    let line = String::from_utf8_lossy(&body);
    let line: String = line.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    Err(HealthError::NotWell { status, reason: line })
}

/// Reads a page of what listens at an address (host and port), at most 256 KiB of it.
///
/// # Errors
/// Where nobody answers, or no HTTP.
pub(super) async fn page(address: &str, path: &str) -> Result<(StatusCode, Bytes), HealthError> {
    exchange(path, address, 256 << 10).await
}

async fn exchange(path: &str, address: &str, longest: usize) -> Result<(StatusCode, Bytes), HealthError> {
    let connected = TcpStream::connect(address).await;
    let stream = connected.map_err(|source| HealthError::Connect { authority: address.into(), source })?;
    let broken = |error: hyper::Error| HealthError::Broken(error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, address)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| HealthError::Broken(error.into()))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), longest).collect().await.map_err(HealthError::Broken)?.to_bytes();
    connection.abort();
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::listener::tests::listening;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    fn args(url: &str) -> HealthArgs {
        HealthArgs { url: url.parse().unwrap(), timeout: 1 }
    }

    #[tokio::test]
    async fn a_worker_that_can_work_is_well_and_one_that_cannot_says_why() {
        let (address, health) = listening().await;
        let ready = args(&format!("http://{address}/readyz"));
        let reason = ask(&ready).await.unwrap_err().to_string();
        assert!(reason.contains("503") && reason.contains("the queue has not answered yet"), "{reason}");
        health.queue_answers(true);
        health.has_credentials(true);
        ask(&ready).await.unwrap();
        ask(&args(&format!("http://{address}/livez"))).await.unwrap();
        assert!(ask(&args(&format!("http://{address}/elsewhere"))).await.is_err());
    }

    #[tokio::test]
    async fn nobody_there_and_nobody_answering_are_told_apart() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        assert!(matches!(ask(&args(&format!("http://{address}/"))).await, Err(HealthError::Timeout(1))));
        drop(silent);
        assert!(matches!(ask(&args(&format!("http://{address}/"))).await, Err(HealthError::Connect { .. })));
        assert!(matches!(ask(&args("https://127.0.0.1/readyz")).await, Err(HealthError::Url(_))));
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        });
        assert!(matches!(ask(&args(&format!("http://{address}/"))).await, Err(HealthError::Broken(_))));
    }
}
