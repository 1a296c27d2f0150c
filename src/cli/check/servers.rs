//! The servers: each is there, takes orders, and answers for a status.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::groups::{made_up_uuid, nobody};
use super::report::Report;
use crate::config::{Config, Registrar, Route};
use crate::core::call::{NodeOrder, ServerId};
use crate::core::settings::Settings;
use crate::driver::services::Services;
use crate::event::{Envelope, LifecycleAction, Transition};
use crate::facts::{Health, StatusToken};
use crate::names::{AccountId, GroupName, HookName, LifecycleActionToken, NodeName};
use crate::registrar;
use crate::retry::Class;

/// Looks at each server once, by the first route that names it.
pub(super) async fn check(config: &Config, settings: &Settings, services: &Services, report: &mut Report) {
    let mut seen: BTreeSet<ServerId> = BTreeSet::new();
    for (at, route) in config.routes.iter().enumerate() {
        if !seen.insert(settings.routes[at].server) {
            continue;
        }
        let registrar = &services.registrars[at];
        let (about, health_action, status_action, writes) = words(route);
        let health = registrar.health().await;
        let visible = health.is_ok();
        match health {
            Ok(Health::Ready) => report.ok(&about, "it is there, and takes orders"),
            Ok(Health::NotReady(state)) => report.warn(
                &about,
                format!("it is {state}, and takes no orders now"),
                "wait for its maintenance or backup to end, or mend it; until then launches wait for it",
            ),
            Err(failure) if matches!(failure.code.as_str(), "ResourceNotFoundException" | "no_server") => {
                report.fail(&about, "there is no such server, or this role may not see it", "correct server, region and role, or allow it");
            }
            Err(failure) => report.failed_call(&about, health_action, &failure),
        }
        match status_action {
            Some(action) if visible => status(registrar.as_ref(), &about, action, report).await,
            // What a server that cannot be seen answers to a token proves nothing.
            Some(action) => report.not_tested(&about, format!("{action}: the server is not to be seen")),
            None => {}
        }
        report.not_tested(&about, format!("{writes}: a try would change the server"));
    }
}

/// A question about a token that the server never gave.
async fn status(registrar: &dyn registrar::Registrar, about: &str, action: &str, report: &mut Report) {
    let token = StatusToken(made_up_uuid().into());
    match registrar.status(&order(), &token).await {
        Ok(_) => report.ok(about, format!("{action} is allowed (tried with an unknown token)")),
        // The question was taken; the token was not.
        Err(failure) if failure.class == Class::Final => report.ok(about, format!("{action} is allowed (tried with an unknown token)")),
        Err(failure) => report.failed_call(about, action, &failure),
    }
}

/// The server's name for people, and the actions that asking it takes: for its health, for a status where a made-up token can be
/// asked after without harm, and for what changes it.
fn words(route: &Route) -> (String, &'static str, Option<&'static str>, &'static str) {
    match &route.registrar {
        Registrar::OpsWorksCm { server, .. } => (
            format!("server {server}"),
            "opsworks-cm:DescribeServers",
            Some("opsworks-cm:DescribeNodeAssociationStatus"),
            "opsworks-cm:AssociateNode and opsworks-cm:DisassociateNode",
        ),
        Registrar::Command { program, .. } => {
            (format!("command {}", program.display()), "its operation health", None, "its operations associate and disassociate")
        }
    }
}

/// An order for a node that is not there: only for questions.
fn order() -> NodeOrder {
    let action = LifecycleAction {
        transition: Transition::Launching,
        instance: nobody(),
        group: GroupName::new("enrolld-check").expect("it keeps the rule of group names"),
        hook: HookName::new("enrolld-check").expect("it keeps the rule of hook names"),
        token: LifecycleActionToken::new(&made_up_uuid()).expect("a UUID is what a token is"),
        account: AccountId::new("000000000000").expect("it keeps the rule of account ids"),
        region: None,
        time_ms: None,
        origin: None,
        destination: None,
        metadata: None,
        envelope: Envelope::Direct,
    };
    NodeOrder { node: NodeName::new(nobody().as_str()).expect("an instance id is a node name"), action: Arc::new(action) }
}
