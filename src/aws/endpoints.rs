//! Which endpoints the environment names, and whether they may be used.

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use hyper::Uri;

use super::http::{is_loopback, is_metadata};
use crate::names::shown;

/// The services that are asked, by the id that the SDK's environment and profiles name them with: ours, and those that the SDK asks for
/// credentials, with a session's token or a client's secret.
const SERVICES: [&str; 8] = ["SQS", "Auto Scaling", "SSM", "OpsWorksCM", "STS", "IAM", "SSO", "SSO OIDC"];

/// Where else the SDK gets credentials, in its answers and as they are: by the name in messages, the variable, and the key of a profile.
/// The second has no such key, and one that
/// nobody writes stands in its place.
const METADATA: [(&str, &str, &str); 2] = [
    ("the instance metadata service", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "ec2_metadata_service_endpoint"),
    ("the container's credentials", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "container_credentials_full_uri"),
];

/// Why an endpoint is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is no absolute http or https URL.
    #[error("the endpoint {endpoint} of {service} is not an http or https URL")]
    NotUrl {
        /// The service, or `all services`.
        service: String,
        /// The endpoint as it was found, escaped.
        endpoint: String,
    },
    /// It would send requests and credentials' signatures in the clear.
    #[error(
        "the endpoint {endpoint} of {service} is plain http and not on this machine; \
         use https, or allow_plain_http = true at the top of the configuration if that is meant"
    )]
    PlainHttp {
        /// The service, or `all services`.
        service: String,
        /// The endpoint as it was found, escaped.
        endpoint: String,
    },
}

/// Checks what the environment and the profile name for all services and for each.
pub(super) fn check_all(config: &SdkConfig, allow_plain_http: bool) -> Result<(), EndpointError> {
    if let Some(endpoint) = config.endpoint_url() {
        check_endpoint("all services", endpoint, allow_plain_http)?;
    }
    let Some(configured) = config.service_config() else { return Ok(()) };
    let named = |service: &str, variable: &str, key: &str| {
        let key = ServiceConfigKey::builder().service_id(service).env(variable).profile(key).build();
        key.ok().and_then(|key| configured.load_config(key))
    };
    for service in SERVICES {
        if let Some(endpoint) = named(service, "AWS_ENDPOINT_URL", "endpoint_url") {
            check_endpoint(service, &endpoint, allow_plain_http)?;
        }
    }
    for (service, variable, key) in METADATA {
        if let Some(endpoint) = named(service, variable, key) {
            check_metadata(service, &endpoint, allow_plain_http)?;
        }
    }
    Ok(())
}

/// Checks where credentials are fetched: by the rule of all endpoints, except that EC2, ECS and EKS answer without TLS at addresses that
/// lead no further than the machine's own link.
fn check_metadata(service: &str, endpoint: &str, allow_plain_http: bool) -> Result<(), EndpointError> {
    let url: Option<Uri> = endpoint.parse().ok();
    let on_the_link = url.as_ref().and_then(Uri::host).is_some_and(is_metadata);
    check_endpoint(service, endpoint, allow_plain_http || on_the_link)
}

/// Checks one endpoint: https, or http on this machine, or any http where that is allowed.
///
/// # Errors
/// Says which rule the endpoint breaks.
pub fn check_endpoint(service: &str, endpoint: &str, allow_plain_http: bool) -> Result<(), EndpointError> {
    let not_url = || EndpointError::NotUrl { service: service.to_owned(), endpoint: shown(endpoint) };
    let url: Uri = endpoint.parse().map_err(|_| not_url())?;
    let host = url.host().ok_or_else(not_url)?;
    match url.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if allow_plain_http || is_loopback(host) => Ok(()),
        Some("http") => Err(EndpointError::PlainHttp { service: service.to_owned(), endpoint: shown(endpoint) }),
        _ => Err(not_url()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_types::service_config::LoadServiceConfig;

    /// An environment that names an endpoint for one service, or in one variable.
    #[derive(Debug)]
    struct Names(&'static str, &'static str);

    impl LoadServiceConfig for Names {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            [key.service_id(), key.env()].contains(&self.0).then(|| self.1.to_owned())
        }
    }

    #[test]
    fn credentials_are_fetched_without_tls_from_this_machine_and_its_link_alone() {
        for (service, variable, _) in METADATA {
            let check = |endpoint, allow| {
                let config = SdkConfig::builder().service_config(Names(variable, endpoint)).build();
                check_all(&config, allow)
            };
            for good in
                ["http://169.254.169.254", "http://[fd00:ec2::254]", "http://127.0.0.1:1338", "http://[::1]", "https://metadata.example"]
            {
                assert_eq!(check(good, false), Ok(()), "{good}");
            }
            for bad in ["http://10.0.0.7", "http://metadata.example", "http://169.254.169.254.example.com", "http://[fd00:ec3::254]"] {
                assert!(check(bad, false).unwrap_err().to_string().contains(service), "{bad}");
                assert_eq!(check(bad, true), Ok(()), "{bad}");
            }
            assert!(matches!(check("169.254.169.254", true), Err(EndpointError::NotUrl { .. })));
        }
    }

    #[test]
    fn every_service_that_is_asked_is_checked() {
        for service in SERVICES {
            let config = SdkConfig::builder().service_config(Names(service, "http://10.0.0.7")).build();
            assert!(check_all(&config, false).unwrap_err().to_string().contains(service));
            assert_eq!(check_all(&config, true), Ok(()));
        }
        assert!(check_all(&SdkConfig::builder().endpoint_url("http://10.0.0.7").build(), false).is_err());
        assert_eq!(check_all(&SdkConfig::builder().build(), false), Ok(()));
    }

    #[test]
    fn https_and_this_machine_are_allowed() {
        for good in [
            "https://sqs.eu-central-1.amazonaws.com",
            "https://emulator.example:4566/",
            "http://127.0.0.1:4566",
            "http://localhost:4566",
            "http://[::1]:4566",
            "http://127.8.9.10",
        ] {
            assert_eq!(check_endpoint("sqs", good, false), Ok(()), "{good}");
        }
    }

    #[test]
    fn plain_http_elsewhere_is_refused_unless_allowed() {
        for bad in ["http://10.0.0.7:4566", "http://emulator:4566", "http://localhost.example.com", "http://127.0.0.1.example.com"] {
            assert!(matches!(check_endpoint("sqs", bad, false), Err(EndpointError::PlainHttp { .. })), "{bad}");
            assert_eq!(check_endpoint("sqs", bad, true), Ok(()), "{bad}");
        }
    }

    #[test]
    fn what_is_no_http_url_is_refused_even_where_plain_http_is_allowed() {
        for bad in ["", "localhost:4566", "ftp://127.0.0.1", "/path", "http://", "http://a b"] {
            assert!(matches!(check_endpoint("sqs", bad, true), Err(EndpointError::NotUrl { .. })), "{bad:?}");
        }
    }
}
