//! Who may assume the role whose sessions vouch for keys: a session's name proves an instance only where EC2 alone makes sessions.

use std::collections::BTreeSet;

use aws_sdk_iam::Client;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::report::{Report, is_denied};
use crate::aws::{from_sdk, shared_class};
use crate::config::RoleArn;
use crate::names::shown;

/// EC2, as trust policies name it; in China with the country's own ending as well.
const EC2: [&str; 2] = ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"];
/// Rights that make no session by themselves.
const NO_SESSION: [&str; 3] = ["sts:tagsession", "sts:setsourceidentity", "sts:setcontext"];
/// Principals that are named in one line.
const NAMED: usize = 5;

/// Looks at the trust policy of the role that a route's `owner_role` names, where it may.
pub(super) async fn check(role: &RoleArn, client: &Client, about: &str, report: &mut Report) {
    let arn = role.as_str();
    let unknown = |why: &str| {
        format!("whether EC2 alone can assume {arn}: only then does a key's writer prove anything; {why}; look at its trust policy")
    };
    match client.get_role().role_name(role.name()).send().await {
        Ok(output) => {
            // It is asked by name, and so answers for the account that asks, and for a role of that name on any path.
            let found = output.role.as_ref().map(|role| role.arn()).unwrap_or_default();
            if found != arn {
                let wrong = format!("there is no role {arn}; the role of that name is {}", shown(found));
                return report.fail(about, wrong, "correct owner_role: it is the ARN of the instances' role, with its path");
            }
            let policy = output.role.and_then(|role| role.assume_role_policy_document);
            match policy.as_deref().and_then(others) {
                None => report.not_tested(about, unknown("what iam:GetRole answered cannot be read")),
                Some(others) if others.is_empty() => report.ok(about, format!("EC2 alone can assume {arn}")),
                Some(others) => {
                    let mut named: Vec<String> = others.iter().take(NAMED).map(|other| shown(other)).collect();
                    if others.len() > NAMED {
                        named.push(format!("{} more", others.len() - NAMED));
                    }
                    let found = format!(
                        "{arn} can be assumed by {}, beside EC2: whoever assumes a role chooses the session's name, and so passes for any instance",
                        named.join(", ")
                    );
                    report.warn(about, found, "give the instances a role whose trust policy names ec2.amazonaws.com alone");
                }
            }
        }
        Err(error) => {
            let failure = from_sdk(&error, shared_class);
            if failure.code.starts_with("NoSuchEntity") {
                report.fail(about, format!("there is no role {arn}, so that no key can be believed"), "correct owner_role");
            } else if is_denied(&failure) {
                report.not_tested(about, unknown("iam:GetRole is denied, which the daemon itself does not need"));
            } else {
                report.not_tested(about, unknown(&format!("iam:GetRole answered {failure}")));
            }
        }
    }
}

/// Who but EC2 can make sessions by a trust policy, as IAM answers with it; none where it cannot be read. Conditions are not
/// weighed: that somebody else can at all is for a person to look at.
fn others(policy: &str) -> Option<BTreeSet<String>> {
    let policy = percent_decode_str(policy).decode_utf8().ok()?;
    let policy: Value = serde_json::from_str(&policy).ok()?;
    let mut others = BTreeSet::new();
    for statement in each(policy.get("Statement")?) {
        let statement = statement.as_object()?;
        if statement.get("Effect")?.as_str()? != "Allow" {
            continue;
        }
        let no_session = |action: &Value| action.as_str().is_some_and(|action| NO_SESSION.contains(&action.to_lowercase().as_str()));
        if statement.get("Action").is_some_and(|actions| each(actions).all(no_session)) {
            continue;
        }
        match statement.get("Principal") {
            Some(Value::Object(kinds)) => {
                for (kind, names) in kinds {
                    for name in each(names) {
                        let name = name.as_str()?;
                        if kind != "Service" || !EC2.contains(&name) {
                            others.insert(name.to_owned());
                        }
                    }
                }
            }
            Some(Value::String(name)) => drop(others.insert(name.clone())),
            // NotPrincipal: everybody but somebody.
            _ => drop(others.insert("*".to_owned())),
        }
    }
    Some(others)
}

/// The members of a list, or the one value that stands in its place.
fn each(value: &Value) -> std::slice::Iter<'_, Value> {
    value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice).iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(statement: Value) -> Vec<String> {
        others(&json!({ "Version": "2012-10-17", "Statement": statement }).to_string()).expect("it is a policy").into_iter().collect()
    }

    #[test]
    fn ec2_alone_is_nobody_else() {
        let ec2 = json!({ "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" }, "Action": "sts:AssumeRole" });
        assert!(of(ec2.clone()).is_empty());
        let denied = json!({ "Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole" });
        let tags = json!({ "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": ["sts:TagSession"] });
        let china = json!({ "Effect": "Allow", "Principal": { "Service": ["ec2.amazonaws.com.cn"] }, "Action": ["sts:AssumeRole"] });
        assert!(of(json!([ec2, denied, tags, china])).is_empty());
    }

    #[test]
    fn whoever_else_may_make_a_session_is_named() {
        for (principal, action, named) in [
            (json!({ "AWS": "arn:aws:iam::123456789012:root" }), json!("sts:AssumeRole"), "arn:aws:iam::123456789012:root"),
            (json!({ "Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"] }), json!(["sts:assumerole"]), "lambda.amazonaws.com"),
            (json!({ "Federated": "idp" }), json!("sts:AssumeRoleWithWebIdentity"), "idp"),
            (json!({ "AWS": "ec2.amazonaws.com" }), json!("sts:*"), "ec2.amazonaws.com"),
            (json!("*"), json!("*"), "*"),
        ] {
            assert_eq!(of(json!({ "Effect": "Allow", "Principal": principal, "Action": action })), [named]);
        }
        assert_eq!(of(json!({ "Effect": "Allow", "NotPrincipal": { "AWS": "x" }, "Action": "sts:AssumeRole" })), ["*"]);
        assert_eq!(of(json!({ "Effect": "Allow", "Principal": { "AWS": "x" }, "NotAction": "s3:*" })), ["x"]);
        let conditional = json!({ "Effect": "Allow", "Principal": { "AWS": "x" }, "Action": "sts:AssumeRole", "Condition": {} });
        assert_eq!(of(conditional), ["x"]);
    }

    #[test]
    fn a_policy_in_the_form_of_a_url_is_read_and_what_is_none_is_not() {
        assert_eq!(others("%7B%22Statement%22%3A%5B%5D%7D"), Some(BTreeSet::new()));
        for broken in ["", "[]", "{}", "%ff", r#"{"Statement":["x"]}"#, r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":1}}}"#] {
            assert_eq!(others(broken), None, "{broken}");
        }
    }
}
