//! The servers: each is there, takes orders, and answers for a status.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::groups::{made_up_uuid, nobody};
use super::report::Report;
use crate::config::{Config, Registrar};
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
        let registrar = services.registrars[at].as_ref();
        match &route.registrar {
            Registrar::OpsWorksCm { server, .. } => opsworks_cm(registrar, server, report).await,
            Registrar::ChefServer(chef) => own(registrar, format!("server {}", chef.url), report).await,
            Registrar::PuppetCa(ca) => own(registrar, format!("server {}", ca.url), report).await,
            Registrar::Command { program, .. } => own(registrar, format!("command {}", program.display()), report).await,
        }
    }
}

async fn opsworks_cm(registrar: &dyn registrar::Registrar, server: &str, report: &mut Report) {
    let about = format!("server {server}");
    let health = registrar.health().await;
    let visible = health.is_ok();
    match health {
        Ok(health) => said(&about, health, report),
        Err(failure) if matches!(failure.code.as_str(), "ResourceNotFoundException" | "no_server") => {
            report.fail(&about, "there is no such server, or this role may not see it", "correct server, region and role, or allow it");
        }
        Err(failure) => report.failed_call(&about, "opsworks-cm:DescribeServers", &failure),
    }
    let action = "opsworks-cm:DescribeNodeAssociationStatus";
    if visible {
        status(registrar, &about, action, report).await;
    } else {
        // What a server that cannot be seen answers to a token proves nothing.
        report.not_tested(&about, format!("{action}: the server is not to be seen"));
    }
    report.not_tested(&about, "opsworks-cm:AssociateNode and opsworks-cm:DisassociateNode: a try would change the server");
}

/// A server of one's own: it is there, and knows us.
async fn own(registrar: &dyn registrar::Registrar, about: String, report: &mut Report) {
    match registrar.health().await {
        Ok(health) => said(&about, health, report),
        Err(failure) => {
            let remedy = match failure.code.as_str() {
                "unreachable" | "connection" | "timeout" => "look at the url, and at the network between here and the server",
                "tls" => "look at the url, at ca_file, and at the server's certificate",
                "clock_skew" => "set this machine's clock",
                "unauthorized" => "correct the client's name or key",
                "forbidden" => "give the client its rights on the server",
                _ => "correct what the message names",
            };
            report.fail(&about, failure.to_string(), remedy);
        }
    }
    report.not_tested(&about, "enrolling a node and taking it off: a try would change the server");
}

fn said(about: &str, health: Health, report: &mut Report) {
    match health {
        Health::Ready => report.ok(about, "it is there, and takes orders"),
        Health::NotReady(state) => report.warn(
            about,
            format!("it is {state}, and takes no orders now"),
            "wait for its maintenance or backup to end, or mend it; until then launches wait for it",
        ),
        Health::Dead(state) => {
            report.fail(
                about,
                format!("it is {state}, and will take no orders"),
                "mend it, or name another server; until then launches are held",
            );
        }
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
