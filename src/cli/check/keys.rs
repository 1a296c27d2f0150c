//! Where key material comes from: parameters and documents, and how much room the account has left.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::ParameterTier;

use super::groups::{made_up_uuid, nobody};
use super::report::{Report, is_denied};
use super::trust;
use crate::aws::{Aws, from_sdk, shared_class};
use crate::config::{Config, KeySource, Owner, Route};
use crate::core::call::{KeyWanted, ScopeId};
use crate::core::settings::{DeleteKey, Settings};
use crate::driver::services::Services;
use crate::facts::{CommandId, KeyAnswer};
use crate::key_material::Keys;
use crate::names::{AccountId, GroupName, NodeName, ParameterName, Region, TemplateValues};
use crate::retry::{Class, Failure};

/// How many standard parameters an account may have in a region.
const MOST_PARAMETERS: u32 = 10_000;
/// Parameters a page (the API's limit).
const PAGE: i32 = 50;

/// Looks at each route's key source, and at the parameters of each scope that uses them.
pub(super) async fn check(config: &Config, settings: &Settings, aws: &Aws, services: &Services, count_for: Duration, report: &mut Report) {
    let mut counted: BTreeSet<ScopeId> = BTreeSet::new();
    for (at, route) in config.routes.iter().enumerate() {
        let about = format!("key of route {}", route.name);
        let scope = settings.routes[at].scope;
        let keys = &services.keys[at];
        match &route.key {
            KeySource::Parameter { owner, .. } => {
                parameter(config, route, keys, owner, &about, report).await;
                if counted.insert(scope) {
                    count(config, settings, scope, &Client::new(aws.scope(scope)), count_for, report).await;
                }
                if let Owner::Role(role) = owner {
                    trust::check(role, &aws_sdk_iam::Client::new(aws.scope(scope)), &about, report).await;
                }
            }
            KeySource::RunCommand { document: name, commands } => {
                document(&Client::new(aws.scope(scope)), keys, name, &about, report).await;
                if !commands.is_empty() {
                    let found = format!("it sends {name}: the right to do so is root on every instance in scope");
                    report.warn(&about, found, "make a document of your own with this script fixed in it, and name that");
                }
            }
        }
        if route.certificate_parameter.is_some() {
            report.not_tested(&about, "ssm:PutParameter for certificate_parameter: a try would write");
        }
    }
}

/// A read of a parameter that cannot be there, because no instance has this id.
async fn parameter(config: &Config, route: &Route, keys: &Keys, owner: &Owner, about: &str, report: &mut Report) {
    let Some(wanted) = wanted(config, route) else { return };
    let name = wanted.parameter.as_ref().map_or_else(String::new, ToString::to_string);
    let action = match owner {
        Owner::Role(_) => "ssm:GetParameterHistory",
        Owner::Anybody => "ssm:GetParameters",
    };
    let answer = match keys.fetch(std::slice::from_ref(&wanted)).await {
        Ok(entries) => entries.into_iter().next().unwrap_or_else(|| Err(Failure::new(Class::Transient, "response", "an empty answer"))),
        Err(failure) => Err(failure),
    };
    match answer {
        Ok(KeyAnswer::Absent) => report.ok(about, format!("{action} is allowed (tried with {name}, which is not there)")),
        Ok(KeyAnswer::Found(_) | KeyAnswer::Refused { .. }) => {
            report.warn(
                about,
                format!("{name} is there, though no instance has this id"),
                "find out who writes parameters under this prefix",
            );
        }
        Err(failure) => report.failed_call(about, action, &failure),
    }
    report.not_tested(about, "whether SecureString parameters can be decrypted (kms:Decrypt): there is none to try");
    match owner {
        // Who may be that role is looked at beside.
        Owner::Role(_) => {}
        Owner::Anybody => report.warn(
            about,
            "require_owner = false: whoever may write the parameter decides which key the node gets",
            "keep it for keys that something other than the instance publishes",
        ),
    }
    report.not_tested(about, "ssm:DeleteParameters: a try would be a deletion");
}

fn wanted(config: &Config, route: &Route) -> Option<KeyWanted> {
    let KeySource::Parameter { name, .. } = &route.key else { return None };
    let (account, region) = (AccountId::new("000000000000").ok()?, Region::new("us-east-1").ok()?);
    let values = TemplateValues {
        instance: &nobody(),
        group: &GroupName::new("enrolld-check").ok()?,
        account: config.queue_url.account().unwrap_or(&account),
        region: route.scope.region.as_ref().or(config.region.as_ref()).unwrap_or(&region),
    };
    Some(KeyWanted {
        instance: nobody(),
        node: NodeName::new(&route.node_name.fill(values)).ok()?,
        parameter: Some(ParameterName::new(&name.fill(values)).ok()?),
    })
}

/// How many standard parameters there are, as far as that can be seen in some time: DescribeParameters is slow, and for people.
async fn count(config: &Config, settings: &Settings, scope: ScopeId, client: &Client, count_for: Duration, report: &mut Report) {
    const ABOUT: &str = "parameters";
    let began = Instant::now();
    let (mut standard, mut next) = (0_u32, None);
    let complete = loop {
        let output = match client.describe_parameters().max_results(PAGE).set_next_token(next).send().await {
            Ok(output) => output,
            Err(error) => {
                let failure = from_sdk(&error, shared_class);
                if is_denied(&failure) {
                    report.not_tested(ABOUT, "how many there are: ssm:DescribeParameters is denied, which the daemon itself does not need");
                } else if failure.class == Class::Throttled {
                    report.not_tested(ABOUT, format!("how many there are: counting was throttled after {standard}"));
                } else {
                    report.failed_call(ABOUT, "ssm:DescribeParameters", &failure);
                }
                return;
            }
        };
        let page = output.parameters.unwrap_or_default();
        let of_page = page.iter().filter(|parameter| parameter.tier.as_ref().is_none_or(|tier| *tier == ParameterTier::Standard)).count();
        standard += u32::try_from(of_page).unwrap_or(u32::MAX);
        next = output.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            break true;
        }
        if began.elapsed() > count_for {
            break false;
        }
    };
    if !complete {
        let seconds = count_for.as_secs();
        report.not_tested(ABOUT, format!("how many there are: {standard} were counted in {seconds} s, and there are more (--count-for)"));
        return;
    }
    let left = MOST_PARAMETERS.saturating_sub(standard);
    let kept = settings.routes.iter().any(|route| route.scope == scope && route.delete_key == DeleteKey::Never);
    let found = format!("{standard} of {MOST_PARAMETERS} standard parameters are in use, {left} are left");
    match config.fleet_size {
        Some(fleet) if fleet > left => {
            let remedy = if kept {
                "write delete_key = \"on_success\", or delete what is no longer needed"
            } else {
                "delete what is no longer needed"
            };
            report.warn(ABOUT, format!("{found}: too few for a fleet of {fleet}"), remedy);
        }
        None if left < MOST_PARAMETERS / 10 => report.warn(ABOUT, found, "delete what is no longer needed"),
        _ => report.ok(ABOUT, found),
    }
}

async fn document(client: &Client, keys: &Keys, name: &str, about: &str, report: &mut Report) {
    match client.describe_document().name(name).send().await {
        Ok(_) => report.ok(about, format!("document {name} is there")),
        Err(error) => {
            let failure = from_sdk(&error, shared_class);
            if failure.code == "InvalidDocument" {
                report.fail(about, format!("there is no document {name}"), "make it, or correct document");
            } else if is_denied(&failure) {
                let found =
                    format!("whether document {name} is there: ssm:DescribeDocument is denied, which the daemon itself does not need");
                report.not_tested(about, found);
            } else {
                report.failed_call(about, "ssm:DescribeDocument", &failure);
            }
        }
    }
    let action = "ssm:GetCommandInvocation";
    let wanted =
        KeyWanted { instance: nobody(), node: NodeName::new(nobody().as_str()).expect("an instance id is a node name"), parameter: None };
    match keys.fetch_output(&CommandId(made_up_uuid().into()), &wanted).await {
        Ok(_) => report.ok(about, format!("{action} is allowed (tried with an unknown command)")),
        // The right was there; the command or the instance was not.
        Err(failure) if failure.class == Class::Final => report.ok(about, format!("{action} is allowed (tried with an unknown command)")),
        Err(failure) => report.failed_call(about, action, &failure),
    }
    report.not_tested(about, "ssm:SendCommand: a try would run something");
}
