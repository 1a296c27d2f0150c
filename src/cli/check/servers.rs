//! The servers: each is there, takes orders, and answers for a status.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::groups::{made_up_uuid, nobody};
use super::report::Report;
use crate::config::Config;
use crate::core::call::{NodeOrder, ServerId};
use crate::core::settings::Settings;
use crate::driver::services::Services;
use crate::event::{Envelope, LifecycleAction, Transition};
use crate::facts::{Health, StatusToken};
use crate::names::{AccountId, GroupName, HookName, LifecycleActionToken, NodeName};
use crate::registrar::http::UNREACHABLE;
use crate::registrar::{Blueprint, Registrar};
use crate::retry::Class;

/// What to do about a server that will be ready again by itself.
const PATIENCE: &str = "wait for its maintenance, backup or restart to end; until then launches wait for it";

/// Looks at each server once, by the first route that names it.
pub(super) async fn check(config: &Config, settings: &Settings, services: &Services, report: &mut Report) {
    let mut seen: BTreeSet<ServerId> = BTreeSet::new();
    for (at, route) in config.routes.iter().enumerate() {
        if !seen.insert(settings.routes[at].server) {
            continue;
        }
        ask(&*route.registrar, services.registrars[at].as_ref(), report).await;
    }
}

async fn ask(written: &dyn Blueprint, registrar: &dyn Registrar, report: &mut Report) {
    let (about, rights) = (written.about(), written.rights());
    let health = registrar.health().await;
    let visible = health.is_ok();
    match health {
        Ok(health) => said(written, &about, health, report),
        // It answered, and not for good: what stands before it says that it is being restarted. That nobody answers may be the URL's fault.
        Err(failure) if failure.class == Class::NotReady && failure.code != UNREACHABLE.code => {
            report.warn(&about, format!("it takes no orders now ({failure})"), PATIENCE);
        }
        Err(failure) => match (written.advice(&failure), rights) {
            (Some(advice), _) => report.fail(&about, advice.found, advice.remedy),
            (None, Some(rights)) => report.failed_call(&about, rights.health, &failure),
            (None, None) => report.fail(&about, failure.to_string(), "correct what the message names"),
        },
    }
    let Some(rights) = rights else {
        report.not_tested(&about, "enrolling a node and taking it off: a try would change the server");
        return;
    };
    if visible {
        status(registrar, &about, rights.status, report).await;
    } else {
        // What a server that cannot be seen answers to a token proves nothing.
        report.not_tested(&about, format!("{}: the server is not to be seen", rights.status));
    }
    report.not_tested(&about, format!("{} and {}: a try would change the server", rights.associate, rights.disassociate));
}

fn said(written: &dyn Blueprint, about: &str, health: Health, report: &mut Report) {
    match health {
        Health::Ready => report.ok(about, "it is there, and takes orders"),
        Health::NotReady(state) if written.mends_itself(&state) => {
            report.warn(about, format!("it is {state}, and takes no orders now"), PATIENCE);
        }
        Health::NotReady(state) => {
            report.fail(about, format!("it is {state}, and takes no orders"), "mend it; until then launches wait for it");
        }
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
async fn status(registrar: &dyn Registrar, about: &str, action: &str, report: &mut Report) {
    let token = StatusToken::new(made_up_uuid());
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
    NodeOrder { node: NodeName::new(nobody().as_str()).expect("an instance id is a node name"), action: Arc::new(action), metadata: None }
}
