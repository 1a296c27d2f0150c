//! From the configuration to rooms: the one place where both are known.

use std::sync::Arc;

use super::CommandError;
use crate::aws::{Aws, AwsSettings, ScopeSettings};
use crate::config::{self, Config};
use crate::core::settings::Settings;
use crate::driver::services::{ScopeServices, Services};
use crate::key_material::{self, CsrRules, Document, Keys, OwnerRole};
use crate::names::Region;
use crate::observe::RouteNames;
use crate::observe::audit::AuditTarget;
use crate::queue::Queue;
use crate::registrar::Registrar;

/// Loads the shared SDK configuration, and refuses endpoints that may not be used.
///
/// # Errors
/// No region, or an endpoint without TLS that is not on this machine.
pub async fn aws(config: &Config) -> Result<Aws, CommandError> {
    let aws = Aws::load(&aws_settings(config)).await.map_err(CommandError::failed)?;
    aws.check_endpoints(config.allow_plain_http).map_err(CommandError::failed)?;
    Ok(aws)
}

/// Names the region that each route asks in, where the configuration leaves it to the environment: an event must not choose it.
pub fn name_regions(settings: &mut Settings, aws: &Aws) {
    for route in &mut settings.routes {
        let asked = aws.scope(route.scope).region().and_then(|region| Region::new(region.as_ref()).ok());
        route.region = asked.or_else(|| route.region.take());
    }
}

/// What the configuration says about AWS as a whole.
#[must_use]
pub fn aws_settings(config: &Config) -> AwsSettings {
    let scope = |scope: config::Scope| ScopeSettings {
        role_arn: scope.role.map(|role| role.as_str().to_owned()),
        external_id: scope.external_id,
        region: scope.region.map(|region| region.to_string()),
    };
    AwsSettings {
        region: config.region.as_ref().map(ToString::to_string),
        connect_timeout: config.connect_timeout,
        attempt_timeout: config.attempt_timeout,
        call_timeout: config.call_timeout,
        worker: config.worker.clone(),
        scopes: config.scopes().into_iter().map(scope).collect(),
    }
}

/// Everything that makes calls.
///
/// # Errors
/// A key source that its room refuses, or a registrar's file that cannot be used.
pub fn services(config: &Config, settings: &Settings, aws: &Aws) -> Result<Services, CommandError> {
    let routes = config.routes.iter().zip(&settings.routes);
    let registrars = routes.map(|(route, core)| registrar(config, route, aws.scope(core.scope))).collect::<Result<_, _>>()?;
    let services = services_without_registrars(config, settings, aws)?;
    Ok(Services { registrars, ..services })
}

/// The same without the servers, and so without the files that these are given: for whoever has not the daemon's keys.
///
/// # Errors
/// A key source that its room refuses.
pub fn services_without_registrars(config: &Config, settings: &Settings, aws: &Aws) -> Result<Services, CommandError> {
    let dead_letters = config.dead_letter_queue_url.as_ref().map(|url| url.as_str().to_owned());
    let mut keys = Vec::with_capacity(config.routes.len());
    for (route, core) in config.routes.iter().zip(&settings.routes) {
        keys.push(Keys::new(aws.scope(core.scope), key_source(route)?, key_engine(route)?));
    }
    Ok(Services {
        queue: Queue::new(aws, config.queue_url.as_str(), dead_letters),
        scopes: aws.scopes().iter().map(ScopeServices::new).collect(),
        keys,
        registrars: Vec::new(),
    })
}

/// The registrar of a route, of whichever kind.
///
/// # Errors
/// A file that cannot be used, or settings that no connection can be made with.
pub fn registrar(config: &Config, route: &config::Route, scope: &aws_config::SdkConfig) -> Result<Arc<dyn Registrar>, CommandError> {
    route.registrar.build(&config.limits(), scope).map_err(CommandError::failed)
}

/// Reads and checks the files that a route's registrar is given, without speaking to anybody.
///
/// # Errors
/// What is wrong with them.
pub fn check_registrar_files(config: &Config, route: &config::Route) -> Result<(), CommandError> {
    route.registrar.check_files(&config.limits()).map_err(CommandError::failed)
}

fn key_source(route: &config::Route) -> Result<key_material::KeySource, CommandError> {
    Ok(match &route.key {
        config::KeySource::Parameter { owner: config::Owner::Anybody, .. } => key_material::KeySource::Parameter { owner: None },
        config::KeySource::Parameter { owner: config::Owner::Role(role), .. } => {
            key_material::KeySource::Parameter { owner: Some(OwnerRole::new(role.as_str()).map_err(CommandError::failed)?) }
        }
        config::KeySource::RunCommand { document, commands } => {
            let (name, commands) = (document.clone(), commands.clone());
            key_material::KeySource::RunCommand(Document { name, version: None, commands })
        }
    })
}

fn key_engine(route: &config::Route) -> Result<key_material::Engine, CommandError> {
    if !route.registrar.takes_certificate_requests() {
        return Ok(key_material::Engine::Chef);
    }
    let allowed = route.allow_extensions.iter().map(|allowed| (allowed.oid.as_str(), allowed.pattern.as_str()));
    Ok(key_material::Engine::Puppet(CsrRules::new(allowed).map_err(CommandError::failed)?))
}

/// What log lines, metrics and the audit trail call the routes.
#[must_use]
pub fn route_names(config: &Config, settings: &Settings) -> Vec<RouteNames> {
    let routes = config.routes.iter().zip(&settings.routes);
    let names = routes.map(|(route, core)| RouteNames {
        name: route.name.clone(),
        registrar: route.registrar.kind().to_owned(),
        server: core.server,
    });
    names.collect()
}

/// Where the audit trail goes.
#[must_use]
pub fn audit_target(config: &Config) -> AuditTarget {
    match &config.audit {
        config::Audit::Off => AuditTarget::Off,
        config::Audit::Stdout => AuditTarget::Stdout,
        config::Audit::File(path) => AuditTarget::File(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, parse};

    #[tokio::test]
    async fn a_route_asks_in_the_region_of_the_environment_where_the_configuration_names_none() {
        let file = include_str!("../../deploy/enrolld.example.toml");
        let config = parse(file, "example", &Environment::new()).unwrap();
        let mut settings = config.core_settings();
        settings.routes.iter_mut().for_each(|route| route.region = None);
        let aws = Aws::load(&AwsSettings { region: Some("eu-west-3".into()), ..aws_settings(&config) }).await.unwrap();
        name_regions(&mut settings, &aws);
        assert!(!settings.routes.is_empty());
        for (core, route) in settings.routes.iter().zip(&config.routes) {
            let expected = route.scope.region.as_ref().map_or("eu-west-3", Region::as_str);
            assert_eq!(core.region.as_ref().map(Region::as_str), Some(expected), "{}", core.name);
        }
    }
}
