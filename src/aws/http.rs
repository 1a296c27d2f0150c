//! The one HTTP client that every AWS client and every credentials provider shares.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// Makes the client: TLS by rustls with AWS-LC, HTTP/1.1 or 2 as the server offers, the proxy named by the environment
/// (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
///
/// The SDK's own builder for shared clients cannot be given a proxy, so the connectors are made here: one, with its pool of
/// connections, for each pair of connect and read time-outs that is asked for. The services' clients all ask for the same pair;
/// the instance metadata client asks for a shorter one.
pub(super) fn shared_client() -> SharedHttpClient {
    client(ProxyConfig::from_env)
}

/// The same without a proxy, whatever the environment says.
pub(super) fn direct_client() -> SharedHttpClient {
    client(ProxyConfig::disabled)
}

fn client(proxy: fn() -> ProxyConfig) -> SharedHttpClient {
    type TimeOuts = (Option<Duration>, Option<Duration>);
    let connectors: Mutex<HashMap<TimeOuts, SharedHttpConnector>> = Mutex::default();
    http_client_fn(move |settings, components| {
        let key = (settings.connect_timeout(), settings.read_timeout());
        // Nothing can panic half-way through a change of the map, so a poisoned lock guards a whole one.
        let mut connectors = connectors.lock().unwrap_or_else(PoisonError::into_inner);
        connectors.entry(key).or_insert_with(|| connector(settings, components, proxy())).clone()
    })
}

fn connector(settings: &HttpConnectorSettings, components: &RuntimeComponents, proxy: ProxyConfig) -> SharedHttpConnector {
    let mut builder =
        Connector::builder().connector_settings(settings.clone()).proxy_config(proxy).pool_idle_timeout(Some(Duration::from_secs(60)));
    builder.set_sleep_impl(components.sleep_impl());
    SharedHttpConnector::new(builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build())
}
