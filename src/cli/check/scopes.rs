//! Who asks: credentials for each scope, and whose they are.

use super::report::Report;
use crate::aws::{Aws, from_sdk, shared_class};
use crate::config::{Config, KeySource, Owner, Scope};
use crate::core::settings::Settings;
use crate::names::AccountId;
use crate::retry::{Class, Failure};

/// Looks at each scope's credentials. Returns each scope's account, as far as that could be learnt; none where it makes no
/// sense to go on.
pub(super) async fn check(config: &Config, aws: &Aws, report: &mut Report) -> Option<Vec<Option<AccountId>>> {
    if let Err(failure) = aws.credentials_ready().await {
        let remedy = "give the process credentials: a role, a profile, or variables; or allow sts:AssumeRole on the route's role";
        report.fail("credentials", failure.to_string(), remedy);
        return None;
    }
    let (mut accounts, mut usable) = (Vec::new(), true);
    for (scope, sdk) in config.scopes().iter().zip(aws.scopes()) {
        let about = about(scope);
        let region = sdk.region().map_or_else(String::new, |region| format!(", in {region}"));
        let mut account = None;
        match aws_sdk_sts::Client::new(sdk).get_caller_identity().send().await {
            Ok(identity) => {
                report.ok(about, format!("{}{region}", identity.arn().unwrap_or("somebody without an ARN")));
                account = identity.account().and_then(|account| AccountId::new(account).ok());
            }
            Err(error) => usable &= judge(&about, &from_sdk(&error, shared_class), report),
        }
        accounts.push(account);
    }
    usable.then_some(accounts)
}

/// Whether events come from, and keys are written in, the accounts that are asked.
pub(super) fn compare(config: &Config, settings: &Settings, accounts: &[Option<AccountId>], report: &mut Report) {
    for (route, core) in config.routes.iter().zip(&settings.routes) {
        let Some(account) = accounts.get(usize::from(core.scope.0)).and_then(Option::as_ref) else { continue };
        let about = format!("route {}", route.name);
        let taken = if config.accounts.is_empty() {
            config.queue_url.account().is_none_or(|own| own == account)
        } else {
            config.accounts.contains(account)
        };
        if !taken {
            let found = format!("it asks account {account}, whose events are not taken");
            report.warn(&about, found, format!("add \"{account}\" to accounts, or give the route a role_arn"));
        }
        if let KeySource::Parameter { owner: Owner::Role(role), .. } = &route.key
            && role.account() != account
        {
            let found =
                format!("owner_role is in account {}, and parameters are read in {account}: no key would be believed", role.account());
            report.fail(&about, found, "name the role that the instances have in their own account");
        }
    }
}

/// What an error of GetCallerIdentity says. A network may well have a way to SQS and none to STS, which the daemon does not
/// need; but credentials that STS refuses are refused everywhere.
fn judge(about: &str, failure: &Failure, report: &mut Report) -> bool {
    if failure.class == Class::RouteFault {
        report.fail(about, format!("sts:GetCallerIdentity answered {failure}"), "replace them: they are expired or not valid");
        return false;
    }
    report.not_tested(about, format!("they are there; whose they are was not to be learnt: sts:GetCallerIdentity answered {failure}"));
    true
}

fn about(scope: &Scope) -> String {
    match &scope.role {
        Some(role) => format!("credentials of {}", role.as_str()),
        None => "credentials".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, parse};

    #[test]
    fn a_network_without_a_way_to_sts_does_not_end_the_check_and_refused_credentials_do() {
        let mut report = Report::default();
        assert!(judge("credentials", &Failure::new(Class::Transient, "connection", "refused"), &mut report));
        assert!(report.passed());
        assert!(!judge("credentials", &Failure::new(Class::RouteFault, "ExpiredToken", "expired"), &mut report));
        assert!(!report.passed());
    }

    #[test]
    fn an_owner_in_another_account_than_the_parameters_fails() {
        let config = parse(include_str!("../../../deploy/enrolld.example.toml"), "example", &Environment::new()).unwrap();
        let compared = |account: &str| {
            let mut report = Report::default();
            compare(&config, &config.core_settings(), &[Some(AccountId::new(account).unwrap())], &mut report);
            report
        };
        assert!(compared("123456789012").findings().is_empty());
        let other = compared("210987654321").to_string();
        assert!(other.contains("no key would be believed") && other.contains("whose events are not taken"), "{other}");
    }
}
