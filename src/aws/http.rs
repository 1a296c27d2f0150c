//! The one HTTP client that every AWS client and every credentials provider shares.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use hyper::Uri;

use super::bounded::Bounded;

/// The variables that name a proxy; each is read in small letters too.
const PROXY_VARIABLES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// How long an unused connection is kept: shorter than servers and balancers keep theirs, which close them unasked, often just
/// when a request is on its way.
const IDLE: Duration = Duration::from_secs(20);

/// Makes the client: TLS by rustls with AWS-LC, and the proxy named by the environment (`HTTPS_PROXY`, `HTTP_PROXY`,
/// `NO_PROXY`), except for what is on this machine or its link.
///
/// The SDK's own builder for shared clients cannot be given a proxy, so the connectors are made here: one, with its pool of
/// connections, for each pair of connect and read time-outs that is asked for. The services' clients all ask for the same pair;
/// the instance metadata client asks for a shorter one.
pub(super) fn shared_client() -> SharedHttpClient {
    client(by_environment)
}

/// The same without a proxy, whatever the environment says.
pub(super) fn direct_client() -> SharedHttpClient {
    client(|settings, components| connector(settings, components, ProxyConfig::disabled()))
}

fn client(make: fn(&HttpConnectorSettings, &RuntimeComponents) -> SharedHttpConnector) -> SharedHttpClient {
    type TimeOuts = (Option<Duration>, Option<Duration>);
    let connectors: Mutex<HashMap<TimeOuts, SharedHttpConnector>> = Mutex::default();
    let together = Bounded::together();
    http_client_fn(move |settings, components| {
        let key = (settings.connect_timeout(), settings.read_timeout());
        // Nothing can panic half-way through a change of the map, so a poisoned lock guards a whole one.
        let mut connectors = connectors.lock().unwrap_or_else(PoisonError::into_inner);
        connectors.entry(key).or_insert_with(|| SharedHttpConnector::new(Bounded::new(make(settings, components), &together))).clone()
    })
}

fn by_environment(settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
    let near = connector(settings, components, ProxyConfig::disabled());
    let named = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if PROXY_VARIABLES.iter().any(|name| named(name) || named(&name.to_lowercase())) {
        SharedHttpConnector::new(ByDistance { near, far: connector(settings, components, ProxyConfig::from_env()) })
    } else {
        near
    }
}

fn connector(settings: &HttpConnectorSettings, components: &RuntimeComponents, proxy: ProxyConfig) -> SharedHttpConnector {
    let mut builder = Connector::builder().connector_settings(settings.clone()).proxy_config(proxy).pool_idle_timeout(Some(IDLE));
    builder.set_sleep_impl(components.sleep_impl());
    SharedHttpConnector::new(builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build())
}

/// Sends requests to this machine and its link directly, and all others through the proxy: a proxy can reach neither the
/// instance's metadata service nor an emulator on loopback, and would be asked whenever `NO_PROXY` forgets to name them.
#[derive(Debug)]
struct ByDistance {
    near: SharedHttpConnector,
    far: SharedHttpConnector,
}

impl HttpConnector for ByDistance {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if is_near(request.uri()) { self.near.call(request) } else { self.far.call(request) }
    }
}

fn is_near(uri: &str) -> bool {
    let uri: Option<Uri> = uri.parse().ok();
    uri.as_ref().and_then(Uri::host).is_some_and(|host| is_loopback(host) || is_metadata(host))
}

/// Only addresses that cannot leave the machine, and `localhost`, which by RFC 6761 may not either.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|address| address.is_loopback())
}

/// Where EC2, ECS and EKS answer for the instance's or the task's credentials.
pub(super) fn is_metadata(host: &str) -> bool {
    match address(host) {
        Some(IpAddr::V4(address)) => address.is_link_local(),
        Some(IpAddr::V6(address)) => address.segments()[..2] == [0xfd00, 0x0ec2],
        None => false,
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_proxy_cannot_reach_is_asked_directly() {
        for near in [
            "http://127.0.0.1:4566/",
            "http://localhost:4566/x?y",
            "http://[::1]/",
            "http://169.254.169.254/latest/meta-data",
            "http://169.254.170.2/v2/credentials",
            "http://[fd00:ec2::254]/latest",
        ] {
            assert!(is_near(near), "{near}");
        }
        for far in ["https://sqs.eu-central-1.amazonaws.com/", "http://10.0.0.1/", "http://localhost.example.com/", "nonsense", ""] {
            assert!(!is_near(far), "{far}");
        }
    }
}
