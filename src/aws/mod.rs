//! The one shared SDK configuration: HTTP client, time-outs, roles, endpoints. What is called with it is not known here.
//!
//! Only the SDK's standard environment (`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_SQS`, profiles, roles) tells real AWS from
//! anything that stands in for it.

mod allowance;
mod bounded;
mod endpoints;
mod failure;
mod fixed;
mod further;
mod gathered;
mod http;

pub(crate) use allowance::{Allowance, Share, TooMuchAtOnce};
pub use endpoints::{EndpointError, check_endpoint};
pub use failure::{Classify, detail, from_sdk, from_service, shared_class};
pub use further::{FurtherCall, counting, further};
pub(crate) use gathered::Gathered;

use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};

use crate::core::call::ScopeId;
use crate::retry::{Class, Failure};

/// What the configuration says about AWS as a whole.
#[derive(Debug, Clone)]
pub struct AwsSettings {
    /// The region of the worker's own scope; where none is given, the SDK's chain finds it (`AWS_REGION`, profile, IMDS).
    pub region: Option<String>,
    /// The longest a connection may take to be made.
    pub connect_timeout: Duration,
    /// The longest one request may take, from sending it to the last byte of its answer.
    pub attempt_timeout: Duration,
    /// The longest one call may take, fetching credentials included.
    pub call_timeout: Duration,
    /// The worker's name: the session name of roles it assumes.
    pub worker: String,
    /// The scopes, by [`ScopeId`]: 0 is the worker's own, and is there even when the list is empty.
    pub scopes: Vec<ScopeSettings>,
}

/// One account, region and role to ask with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ScopeSettings {
    /// The role to assume; the worker's own credentials where none is given.
    pub role_arn: Option<String>,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<String>,
    /// The region; the worker's own where none is given.
    pub region: Option<String>,
}

/// Why no shared configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// Neither the configuration nor the environment names a region.
    #[error("no AWS region: set it in the configuration, in AWS_REGION, or in the profile")]
    NoRegion,
    /// An endpoint that must not be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// The shared configuration, one for each scope.
#[derive(Debug, Clone)]
pub struct Aws {
    scopes: Vec<SdkConfig>,
    attempt_timeout: Duration,
    call_timeout: Duration,
}

impl Aws {
    /// Loads the SDK's configuration from its standard environment and lays the settings over it. Fetches no credentials.
    ///
    /// # Errors
    /// Where no region is known.
    pub async fn load(settings: &AwsSettings) -> Result<Self, AwsError> {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http::shared_client())
            // Retries are decided by the core, which sees what else is waiting; the SDK would retry each call on its own.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(settings.connect_timeout, settings.attempt_timeout, settings.call_timeout))
            // Answers are small and the attempt's time-out bounds them; the check would cost memory for each call in flight.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .app_name(AppName::new("enrolld").expect("it has only letters"));
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let own = loader.load().await;
        if own.region().is_none() {
            return Err(AwsError::NoRegion);
        }
        let mut scopes = Vec::with_capacity(settings.scopes.len().max(1));
        for scope in &settings.scopes {
            scopes.push(scoped(&own, scope, &settings.worker).await);
        }
        if scopes.is_empty() {
            scopes.push(own);
        }
        Ok(Self { scopes, attempt_timeout: settings.attempt_timeout, call_timeout: settings.call_timeout })
    }

    /// The configuration of a scope.
    ///
    /// # Panics
    /// Where there is no such scope: ids come from the configuration that the scopes were made of.
    #[must_use]
    pub fn scope(&self, scope: ScopeId) -> &SdkConfig {
        &self.scopes[usize::from(scope.0)]
    }

    /// The worker's own scope.
    #[must_use]
    pub fn own(&self) -> &SdkConfig {
        &self.scopes[0]
    }

    /// All scopes, by [`ScopeId`].
    #[must_use]
    pub fn scopes(&self) -> &[SdkConfig] {
        &self.scopes
    }

    /// The worker's own scope with time-outs that leave room for an answer which the service may hold back for `wait`.
    #[must_use]
    pub fn own_with_patience(&self, wait: Duration) -> SdkConfig {
        let connect = self.own().timeout_config().and_then(TimeoutConfig::connect_timeout).unwrap_or(self.attempt_timeout);
        let patient = timeouts(connect, self.attempt_timeout + wait, self.call_timeout + wait);
        self.own().to_builder().timeout_config(patient).build()
    }

    /// Refuses a plain-http endpoint, unless it is on this machine or plain http is allowed by name.
    ///
    /// # Errors
    /// Names the setting and the endpoint.
    pub fn check_endpoints(&self, allow_plain_http: bool) -> Result<(), EndpointError> {
        endpoints::check_all(self.own(), allow_plain_http)
    }

    /// Whether credentials can be had for every scope: for the readiness check and `doctor`. Asks the providers themselves, so
    /// each role is assumed anew.
    ///
    /// # Errors
    /// The first scope's failure.
    pub async fn credentials_ready(&self) -> Result<(), Failure> {
        for (at, scope) in self.scopes.iter().enumerate() {
            let Some(provider) = scope.credentials_provider() else {
                return Err(Failure::new(Class::RouteFault, "credentials", format!("scope {at} has no credentials provider")));
            };
            match tokio::time::timeout(self.call_timeout, provider.provide_credentials()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(failure::from_credentials(&error)),
                Err(_) => return Err(Failure::new(Class::RouteFault, "credentials", format!("scope {at}: no answer in time"))),
            }
        }
        Ok(())
    }
}

/// A read time-out would apply to long polls too; the attempt's covers it.
fn timeouts(connect: Duration, attempt: Duration, call: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(connect)
        .disable_read_timeout()
        .operation_attempt_timeout(attempt)
        .operation_timeout(call)
        .build()
}

async fn scoped(own: &SdkConfig, scope: &ScopeSettings, worker: &str) -> SdkConfig {
    let mut builder = own.to_builder();
    if let Some(region) = &scope.region {
        builder = builder.region(Region::new(region.clone()));
    }
    if let Some(role) = &scope.role_arn {
        let mut role = AssumeRoleProvider::builder(role).session_name(session_name(worker)).configure(own);
        if let Some(id) = &scope.external_id {
            role = role.external_id(id);
        }
        if let Some(region) = &scope.region {
            role = role.region(Region::new(region.clone()));
        }
        builder =
            builder.credentials_provider(SharedCredentialsProvider::new(role.build().await)).identity_cache(IdentityCache::lazy().build());
    }
    builder.build()
}

/// A role session name has 2 to 64 of `A–Z a–z 0–9 _ + = , . @ -` (STS AssumeRole).
fn session_name(worker: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) { c } else { '-' };
    let name: String = "enrolld-".chars().chain(worker.chars().map(fit)).take(64).collect();
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_worker_name_makes_a_valid_session_name() {
        assert_eq!(session_name("ip-10-0-0-1/7 ü"), "enrolld-ip-10-0-0-1-7--");
        assert_eq!(session_name(""), "enrolld-");
        assert_eq!(session_name(&"x".repeat(200)).len(), 64);
    }

    #[tokio::test]
    async fn every_scope_has_bounded_calls_and_no_retries_of_the_sdk() {
        let role = ScopeSettings {
            role_arn: Some("arn:aws:iam::123456789012:role/enrolld".into()),
            external_id: None,
            region: Some("eu-west-1".into()),
        };
        let aws = Aws::load(&AwsSettings {
            region: Some("eu-central-1".into()),
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(15),
            worker: "w".into(),
            scopes: vec![ScopeSettings::default(), role],
        })
        .await
        .unwrap();
        assert_eq!(aws.scope(ScopeId(0)).region().unwrap().as_ref(), "eu-central-1");
        assert_eq!(aws.scope(ScopeId(1)).region().unwrap().as_ref(), "eu-west-1");
        for scope in aws.scopes() {
            assert!(!scope.retry_config().unwrap().has_retry());
            let timeouts = scope.timeout_config().unwrap();
            assert_eq!(timeouts.operation_attempt_timeout(), Some(Duration::from_secs(10)));
            assert_eq!(timeouts.operation_timeout(), Some(Duration::from_secs(15)));
        }
        let patient = aws.own_with_patience(Duration::from_secs(20));
        assert_eq!(patient.timeout_config().unwrap().operation_attempt_timeout(), Some(Duration::from_secs(30)));
    }
}
