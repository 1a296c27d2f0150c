//! Turns any error of the SDK into a [`Failure`], and knows the error codes that all services share.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::retry::{Class, Failure};

/// The longest detail a failure carries, in characters: enough for every message AWS is known to send.
const DETAIL_CHARS: usize = 300;

/// What a service's room says of an error code and an HTTP status. Each room has one such function, and it ends by asking
/// [`shared_class`].
pub type Classify = fn(code: &str, status: u16) -> Class;

/// The class of the codes and statuses that mean the same for every service; [`Class::Final`] for all others, since an unknown
/// 4xx is about what was asked.
#[must_use]
pub fn shared_class(code: &str, status: u16) -> Class {
    match code {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "BandwidthLimitExceeded"
        | "LimitExceededException"
        | "PriorRequestNotComplete"
        | "ProvisionedThroughputExceededException"
        | "SlowDown" => Class::Throttled,
        "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "InternalServerException"
        | "InternalServiceError"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => Class::Transient,
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "AuthorizationError"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "InvalidAction"
        | "InvalidClientTokenId"
        | "InvalidSecurity"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "SubscriptionRequiredException"
        | "UnauthorizedOperation"
        | "UnknownOperationException"
        | "UnrecognizedClientException" => Class::RouteFault,
        _ => by_status(status, code.is_empty()),
    }
}

/// An answer without a code did not come from the service but from something on the way to it.
fn by_status(status: u16, without_code: bool) -> Class {
    match status {
        429 => Class::Throttled,
        408 | 425 | 500..=599 => Class::Transient,
        401 | 403 | 407 => Class::RouteFault,
        300..=499 if without_code => Class::RouteFault,
        _ => Class::Final,
    }
}

/// Turns an error of the SDK into a failure; `classify` is the service's own table.
pub fn from_sdk<E>(error: &SdkError<E, HttpResponse>, classify: Classify) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(credentials) = credentials_error(error) {
        return Failure::new(Class::RouteFault, "credentials", chain(credentials));
    }
    match error {
        SdkError::ConstructionFailure(_) => Failure::new(Class::Final, "invalid_request", chain(error)),
        SdkError::TimeoutError(_) => Failure::new(Class::Transient, "timeout", chain(error)),
        SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => Failure::new(Class::Transient, "timeout", chain(error)),
        SdkError::DispatchFailure(_) => Failure::new(Class::Transient, "connection", chain(error)),
        SdkError::ResponseError(_) => Failure::new(Class::Transient, "response", chain(error)),
        // An answer of success that cannot be read, such as one that was cut off, is called a service error too.
        SdkError::ServiceError(service) if service.raw().status().is_success() => {
            Failure::new(Class::Transient, "response", "the answer cannot be read")
        }
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let code = service.err().code().unwrap_or_default();
            let message = service.err().message().unwrap_or_default();
            from_service(code, message, status, classify)
        }
        _ => Failure::new(Class::Transient, "unknown", chain(error)),
    }
}

/// The failure for a service's own error.
#[must_use]
pub fn from_service(code: &str, message: &str, status: u16, classify: Classify) -> Failure {
    let class = classify(code, status);
    let shown = if code.is_empty() { format!("http_{status}") } else { cut(code, 80) };
    Failure::new(class, shown, detail(message))
}

/// A text from outside made fit for a failure's detail: control characters escaped, cut after 300 characters.
#[must_use]
pub fn detail(text: &str) -> String {
    cut(text, DETAIL_CHARS)
}

fn cut(text: &str, chars: usize) -> String {
    let mut out = String::with_capacity(text.len().min(chars));
    for (at, c) in text.chars().enumerate() {
        if at == chars {
            out.push('…');
            break;
        }
        // Beside control characters also those that reorder or hide what follows them.
        let hides = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || hides {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// An error and what lies under it, in one line; repeated sentences once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    detail(&parts.join(": "))
}

fn credentials_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CredentialsError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<CredentialsError>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The failure that says credentials cannot be had.
pub(super) fn from_credentials(error: &CredentialsError) -> Failure {
    Failure::new(Class::RouteFault, "credentials", chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_config::BehaviorVersion;
    use aws_config::retry::RetryConfig;
    use aws_credential_types::provider::{ProvideCredentials, future};

    #[test]
    fn throttles_outages_and_refusals_are_told_apart() {
        for (code, status, class) in [
            ("ThrottlingException", 400, Class::Throttled),
            ("Throttling", 400, Class::Throttled),
            ("RequestLimitExceeded", 503, Class::Throttled),
            ("TooManyRequestsException", 429, Class::Throttled),
            ("", 429, Class::Throttled),
            ("InternalFailure", 500, Class::Transient),
            ("SomethingNew", 503, Class::Transient),
            ("", 502, Class::Transient),
            ("AccessDenied", 403, Class::RouteFault),
            ("AccessDeniedException", 400, Class::RouteFault),
            ("ExpiredTokenException", 400, Class::RouteFault),
            ("ExpiredToken", 403, Class::RouteFault),
            ("UnrecognizedClientException", 400, Class::RouteFault),
            ("SomethingNew", 403, Class::RouteFault),
            ("ValidationError", 400, Class::Final),
            ("SomethingNew", 400, Class::Final),
        ] {
            assert_eq!(shared_class(code, status), class, "{code} {status}");
        }
    }

    #[test]
    fn a_page_of_a_proxy_is_a_fault_of_the_way() {
        for status in [302, 400, 404, 405, 407, 413] {
            assert_eq!(shared_class("", status), Class::RouteFault, "{status}");
        }
    }

    #[test]
    fn a_detail_is_one_short_line() {
        let shown = detail(&format!("a\nb\u{1b}[31m\u{202e}{}", "x".repeat(5000)));
        assert!(shown.starts_with(r"a\nb\u{1b}[31m\u{202e}xx"), "{shown}");
        assert!(shown.chars().count() < 340);
        assert!(shown.ends_with('…'));
    }

    #[derive(Debug)]
    struct NoCredentials;

    impl ProvideCredentials for NoCredentials {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("none here")))
        }
    }

    #[tokio::test]
    async fn credentials_that_cannot_be_had_are_a_fault_of_the_route() {
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region("eu-central-1")
            .endpoint_url("http://127.0.0.1:1")
            .retry_config(RetryConfig::disabled())
            .credentials_provider(NoCredentials)
            .load()
            .await;
        let error = aws_sdk_sqs::Client::new(&config).list_queues().send().await.unwrap_err();
        let failure = from_sdk(&error, shared_class);
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "credentials"), "{failure}");
    }
}
