//! Who asks: credentials for each scope, and whose they are.

use super::report::Report;
use crate::aws::{Aws, from_sdk, shared_class};
use crate::config::{Config, Scope};
use crate::retry::{Class, Failure};

/// Looks at each scope's credentials. Whether it makes sense to go on with them.
pub(super) async fn check(config: &Config, aws: &Aws, report: &mut Report) -> bool {
    if let Err(failure) = aws.credentials_ready().await {
        report.fail(
            "credentials",
            failure.to_string(),
            "give the process credentials: a role, a profile, or variables; or allow sts:AssumeRole on the route's role",
        );
        return false;
    }
    let mut usable = true;
    for (scope, sdk) in config.scopes().iter().zip(aws.scopes()) {
        let about = about(scope);
        let region = sdk.region().map_or_else(String::new, |region| format!(", in {region}"));
        match aws_sdk_sts::Client::new(sdk).get_caller_identity().send().await {
            Ok(identity) => report.ok(about, format!("{}{region}", identity.arn().unwrap_or("somebody without an ARN"))),
            Err(error) => usable &= judge(&about, &from_sdk(&error, shared_class), report),
        }
    }
    usable
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

    #[test]
    fn a_network_without_a_way_to_sts_does_not_end_the_check_and_refused_credentials_do() {
        let mut report = Report::default();
        assert!(judge("credentials", &Failure::new(Class::Transient, "connection", "refused"), &mut report));
        assert!(report.passed());
        assert!(!judge("credentials", &Failure::new(Class::RouteFault, "ExpiredToken", "expired"), &mut report));
        assert!(!report.passed());
    }
}
