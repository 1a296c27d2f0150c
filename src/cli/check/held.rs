//! What a running worker says: launches that it holds rather than abandons, since the fault is their route's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::report::Report;
use crate::cli::health::{HealthError, page};
use crate::config::Config;
use crate::observe::{HeldPage, HeldRoute};

/// How long the worker may take to answer: it is on this machine.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the worker that listens where the configuration says. Most often `check` runs before there is one, or elsewhere.
pub(super) async fn check(config: &Config, report: &mut Report) {
    let Some(listen) = config.listen else {
        return report.not_tested("held launches", "a worker of this configuration has no listener to ask (listen = \"off\")");
    };
    let address = reachable(listen);
    let about = "held launches";
    match ask(address).await {
        Ok(held) if held.held.is_empty() => report.ok(about, format!("the worker at {address} holds none")),
        Ok(held) => held.held.iter().for_each(|route| told(address, route, report)),
        Err(HealthError::Connect { .. }) => {
            report.not_tested(about, format!("no worker answers at {address}; run check beside one to see what it holds"));
        }
        Err(error) => report.warn(
            about,
            format!("what listens at {address} does not say which launches it holds: {error}"),
            "see whether it is a worker of this version",
        ),
    }
}

fn told(address: SocketAddr, held: &HeldRoute, report: &mut Report) {
    let shown = |text: &str| crate::aws::detail(text);
    let launches = if held.launches == 1 { "1 launch is".to_owned() } else { format!("{} launches are", held.launches) };
    report.fail(
        format!("route {}", shown(&held.route)),
        format!("{launches} held by the worker at {address} ({}): {}", shown(&held.code), shown(&held.reason)),
        "mend the cause, and they go on by themselves; each is abandoned when its hook's global time-out comes near",
    );
}

async fn ask(address: SocketAddr) -> Result<HeldPage, HealthError> {
    let authority = address.to_string();
    let asked = tokio::time::timeout(PATIENCE, page(&authority, "/held")).await;
    let (status, body) = asked.map_err(|_| HealthError::Timeout(PATIENCE.as_secs()))??;
    if !status.is_success() {
        return Err(HealthError::NotWell { status, reason: "it has no such page".into() });
    }
    serde_json::from_slice(&body).map_err(|error| HealthError::Broken(error.into()))
}

/// Where to ask what listens at an address: at this machine's own where it listens at all of them.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::report::Verdict;
    use crate::config::{Environment, parse};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn config(listen: &str) -> Config {
        let text = format!(
            "queue_url = \"https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld\"\nlisten = \"{listen}\"\n[[route]]\nname = \"web\"\n\
             groups = [\"web-*\"]\nregistrar = {{ kind = \"opsworks-cm\", server = \"chef\", engine = \"chef\" }}\n\
             key = {{ parameter = \"/enrolld/{{instance_id}}\", require_owner = false }}\n"
        );
        parse(&text, "the test's", &Environment::new()).unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    /// Answers one request with a body.
    async fn answering(body: &'static str) -> String {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = socket.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        address
    }

    async fn found(listen: &str) -> (Verdict, String) {
        let mut report = Report::default();
        check(&config(listen), &mut report).await;
        assert_eq!(report.findings().len(), 1, "{report}");
        (report.findings()[0].result, report.findings()[0].to_string())
    }

    #[tokio::test]
    async fn held_launches_fail_the_check_with_their_route_the_reason_and_what_to_do() {
        let body = r#"{"held":[{"route":"web","launches":195,"code":"deadline","reason":"ResourceNotFoundException: no\nserver"}]}"#;
        let (verdict, line) = found(&answering(body).await).await;
        assert_eq!(verdict, Verdict::Fail);
        for part in ["route web", "195 launches are held", "ResourceNotFoundException", "mend the cause"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains('\n'), "{line}");
    }

    #[tokio::test]
    async fn a_worker_that_holds_none_is_fine_and_one_that_is_not_there_is_not_tested() {
        assert_eq!(found(&answering(r#"{"held":[]}"#).await).await.0, Verdict::Ok);
        assert_eq!(found("off").await.0, Verdict::NotTested);
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        assert_eq!(found(&free).await.0, Verdict::NotTested);
        assert_eq!(found(&answering("something else").await).await.0, Verdict::Warn);
    }

    #[test]
    fn what_listens_everywhere_is_asked_here() {
        assert_eq!(reachable("0.0.0.0:9464".parse().unwrap()), "127.0.0.1:9464".parse().unwrap());
        assert_eq!(reachable("[::]:9464".parse().unwrap()), "[::1]:9464".parse().unwrap());
        assert_eq!(reachable("10.0.0.7:9464".parse().unwrap()), "10.0.0.7:9464".parse().unwrap());
    }
}
