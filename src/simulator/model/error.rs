//! What a simulated service refuses a call with.

use std::borrow::Cow;

/// A service's error answer, before it is written in the service's own protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The error code, as clients match on it: `ParameterNotFound`, `ValidationError`, …
    pub code: Cow<'static, str>,
    /// The message; some real errors have none.
    pub message: Option<String>,
    /// The code of the older query protocol, where it differs (SQS says both).
    pub query_code: Option<&'static str>,
    /// The namespace before the code in `__type`, where the service writes one.
    pub namespace: Option<&'static str>,
}

impl ApiError {
    /// An error of the caller's (HTTP 400).
    #[must_use]
    pub fn client(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, code, Some(message.into()))
    }

    /// An error without a message, as some services answer (HTTP 400).
    #[must_use]
    pub fn bare(code: &'static str) -> Self {
        Self::new(400, code, None)
    }

    /// Any error.
    #[must_use]
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: Option<String>) -> Self {
        Self { status, code: code.into(), message, query_code: None, namespace: None }
    }

    /// Whether the caller is to blame, which some protocols say beside the code.
    #[must_use]
    pub const fn is_sender_fault(&self) -> bool {
        self.status < 500
    }

    /// The error in the words that most JSON services use for a parameter that breaks its constraint.
    #[must_use]
    pub fn constraint(value: &str, member: &str, rule: &str) -> Self {
        Self::client(
            "ValidationException",
            format!("1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {rule}"),
        )
    }
}

/// What a simulated call ends with.
pub type Answer<T> = Result<T, ApiError>;
