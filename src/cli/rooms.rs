//! From the configuration to the rooms that speak to AWS: the one place that knows both.

use std::sync::Arc;

use crate::aws::{Aws, AwsError, AwsSettings, ScopeSettings};
use crate::config::{self, Config};
use crate::core::settings::Settings;
use crate::driver::services::{ScopeServices, Services};
use crate::key_material::{CsrRuleError, CsrRules, Document, Engine, KeySource, Keys, OwnerRole, OwnerRoleError};
use crate::queue::Queue;
use crate::registrar::{CmEngine, CmSettings, OpsWorksCm, Registrar};

/// Why no rooms could be made of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum RoomsError {
    /// The SDK's own configuration: no region, an endpoint that must not be used.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// A role that the key material's room does not take.
    #[error("route {route}: key.owner_role: {source}")]
    Owner {
        /// The route.
        route: String,
        /// Why.
        source: OwnerRoleError,
    },
    /// An extension that the key material's room does not take.
    #[error("route {route}: allow_extensions: {source}")]
    Extension {
        /// The route.
        route: String,
        /// Why.
        source: CsrRuleError,
    },
}

/// The SDK's configuration for all scopes, its endpoints checked. Fetches no credentials.
///
/// # Errors
/// No region, or an endpoint that must not be used.
pub async fn aws(config: &Config) -> Result<Aws, RoomsError> {
    let aws = Aws::load(&aws_settings(config)).await?;
    aws.check_endpoints(config.allow_plain_http).map_err(AwsError::from)?;
    Ok(aws)
}

/// What the rooms' SDK configuration is made of.
#[must_use]
pub fn aws_settings(config: &Config) -> AwsSettings {
    AwsSettings {
        region: config.region.as_ref().map(ToString::to_string),
        connect_timeout: config.connect_timeout,
        attempt_timeout: config.attempt_timeout,
        call_timeout: config.call_timeout,
        worker: config.worker.clone(),
        scopes: config.scopes().iter().map(scope_settings).collect(),
    }
}

fn scope_settings(scope: &config::Scope) -> ScopeSettings {
    ScopeSettings {
        role_arn: scope.role.as_ref().map(|role| role.as_str().to_owned()),
        external_id: scope.external_id.clone(),
        region: scope.region.as_ref().map(ToString::to_string),
    }
}

/// The rooms behind the core's calls. `settings` are the configuration's own [`Config::core_settings`], whose ids index them.
///
/// # Errors
/// A role or an extension that a room does not take, though the configuration did.
pub fn services(config: &Config, settings: &Settings, aws: &Aws) -> Result<Services, RoomsError> {
    let dead_letters = config.dead_letter_queue_url.as_ref().map(|url| url.as_str().to_owned());
    let mut keys = Vec::with_capacity(config.routes.len());
    let mut registrars: Vec<Arc<dyn Registrar>> = Vec::with_capacity(config.routes.len());
    for (route, core) in config.routes.iter().zip(&settings.routes) {
        let scope = aws.scope(core.scope);
        keys.push(Keys::new(scope, key_source(route)?, engine(route)?));
        registrars.push(registrar(route, scope));
    }
    Ok(Services {
        queue: Queue::new(aws, config.queue_url.as_str(), dead_letters),
        scopes: aws.scopes().iter().map(ScopeServices::new).collect(),
        keys,
        registrars,
    })
}

fn key_source(route: &config::Route) -> Result<KeySource, RoomsError> {
    Ok(match &route.key {
        config::KeySource::Parameter { owner: config::Owner::Anybody, .. } => KeySource::Parameter { owner: None },
        config::KeySource::Parameter { owner: config::Owner::Role(role), .. } => {
            let owner = OwnerRole::new(role.as_str()).map_err(|source| RoomsError::Owner { route: route.name.clone(), source })?;
            KeySource::Parameter { owner: Some(owner) }
        }
        config::KeySource::RunCommand { document, commands } => {
            KeySource::RunCommand(Document { name: document.clone(), version: None, commands: commands.clone() })
        }
    })
}

fn engine(route: &config::Route) -> Result<Engine, RoomsError> {
    if !route.registrar.takes_certificate_requests() {
        return Ok(Engine::Chef);
    }
    let allowed = route.allow_extensions.iter().map(|extension| (extension.oid.as_str(), extension.pattern.as_str()));
    CsrRules::new(allowed).map(Engine::Puppet).map_err(|source| RoomsError::Extension { route: route.name.clone(), source })
}

fn registrar(route: &config::Route, scope: &aws_config::SdkConfig) -> Arc<dyn Registrar> {
    match &route.registrar {
        config::Registrar::OpsWorksCm { server, engine } => {
            let engine = match engine {
                config::Engine::Chef { organization } => CmEngine::Chef { organization: organization.clone() },
                config::Engine::Puppet => CmEngine::Puppet,
            };
            Arc::new(OpsWorksCm::new(scope, CmSettings { server: server.clone(), engine }))
        }
    }
}
