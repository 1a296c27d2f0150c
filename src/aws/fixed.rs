//! An AWS at a given address: for the demonstration and for tests, which must not look at the environment.

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::sdk_config::Builder;

use super::{Aws, AwsError, AwsSettings, http, timeouts};

impl Aws {
    /// A configuration whose every service is at `endpoint`, called with the given access key. Reads neither the environment nor a
    /// profile, and goes through no proxy, so that what it is for cannot end up at a real account.
    ///
    /// # Errors
    /// Where the settings name no region.
    pub fn fixed(settings: &AwsSettings, endpoint: &str, access_key_id: &str) -> Result<Self, AwsError> {
        Self::fixed_with(settings, endpoint, access_key_id, |config| config)
    }

    /// The same, with what `surround` puts in the place of the HTTP client, the sleep and the time source: for a worker that has no
    /// sockets, in a time of its own.
    ///
    /// # Errors
    /// Where the settings name no region.
    pub fn fixed_with(
        settings: &AwsSettings,
        endpoint: &str,
        access_key_id: &str,
        surround: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self, AwsError> {
        let region = settings.region.clone().ok_or(AwsError::NoRegion)?;
        let credentials = Credentials::new(access_key_id, "not-a-secret", None, None, "fixed");
        let own = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .app_name(AppName::new("enrolld").expect("it has only letters"))
            .region(Region::new(region))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http::direct_client())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(settings.connect_timeout, settings.attempt_timeout, settings.call_timeout))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let scopes = vec![surround(own).build(); settings.scopes.len().max(1)];
        Ok(Self { scopes, attempt_timeout: settings.attempt_timeout, call_timeout: settings.call_timeout })
    }
}
