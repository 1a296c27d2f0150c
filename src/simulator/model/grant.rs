//! What policies say of a call, by its action, its resources and its condition keys, weighed as IAM does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::operation::Operation;

/// Condition keys, each with its value in a call. IAM reads their names in either case.
pub type Keys = BTreeMap<String, String>;

/// Operators, each with its keys and their values. All keys must hold; of a key's values one.
pub type Condition = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// What a call asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// What it is about; nothing where the service knows no resources for it.
    pub resources: Vec<Resource>,
    /// The condition keys of the call (`aws:RequestedRegion`, `ssm:Overwrite`).
    pub keys: Keys,
}

/// One thing that a call is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its ARN.
    pub arn: String,
    /// The condition keys of its own (`ssm:resourceTag/aws:autoscaling:groupName`).
    pub keys: Keys,
}

impl Resource {
    /// One without condition keys.
    #[must_use]
    pub fn of(arn: impl Into<String>) -> Self {
        Self { arn: arn.into(), keys: Keys::new() }
    }
}

/// What a policy says of an action on resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Whether it denies, whatever others allow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub denies: bool,
    /// The operation (`ssm:PutParameter`).
    pub action: String,
    /// The ARN that it may be about, with `*` and `?` as IAM has them.
    pub resource: String,
    /// When it holds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub condition: Condition,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    #[serde(rename = "Version")]
    _version: String,
    statement: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    #[serde(default, rename = "Sid")]
    _sid: String,
    effect: Effect,
    action: Vec<String>,
    resource: Vec<String>,
    #[serde(default)]
    condition: Condition,
}

#[derive(PartialEq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

impl Grant {
    /// One that allows an action on a resource, whatever else the call says.
    #[must_use]
    pub fn allowing(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { denies: false, action: action.into(), resource: resource.into(), condition: Condition::new() }
    }

    /// What a document says, as IAM takes it, with lists wherever there may be several.
    ///
    /// # Errors
    /// It has a form that is not read here: better that than half of it.
    pub fn of_document(document: &impl Serialize) -> Result<Vec<Self>, serde_json::Error> {
        let document: Document = serde_json::from_value(serde_json::to_value(document)?)?;
        let mut grants = Vec::new();
        for Statement { effect, action, resource, condition, .. } in document.statement {
            let each = |action: &String| {
                let on = |resource: &String| Self {
                    denies: effect == Effect::Deny,
                    action: action.clone(),
                    resource: resource.clone(),
                    condition: condition.clone(),
                };
                resource.iter().map(on).collect::<Vec<_>>()
            };
            grants.extend(action.iter().flat_map(each));
        }
        Ok(grants)
    }

    /// The same of an answer of `enrolld policy --output json`, of all its documents.
    ///
    /// # Errors
    /// It is none, or one of them has a form that is not read here.
    pub fn of_printed(printed: &Value) -> Result<Vec<Self>, serde_json::Error> {
        let documents = printed["policies"].as_array().into_iter().flatten().map(|policy| &policy["document"]);
        let grants: Result<Vec<Vec<Self>>, _> = documents.filter(|document| !document.is_null()).map(Self::of_document).collect();
        Ok(grants?.into_iter().flatten().collect())
    }

    /// Whether it says something of an operation on this resource, by a call with these keys.
    fn speaks_of(&self, operation: Operation, resource: &Resource, keys: &Keys) -> bool {
        // An operator that nobody knows here allows nothing, and denies all.
        operation.matches(&self.action)
            && matches(&self.resource, &resource.arn)
            && self.holds(&[&resource.keys, keys]).unwrap_or(self.denies)
    }

    /// Whether its condition holds; none where it has an operator that is not known.
    fn holds(&self, keys: &[&Keys]) -> Option<bool> {
        let mut all = true;
        for (operator, wanted) in &self.condition {
            let compare = comparison(operator)?;
            for (key, values) in wanted {
                // A key that the call has not makes each of these operators fail.
                let found = value_of(key, keys);
                all &= found.is_some_and(|found| values.iter().any(|value| compare(value, found)));
            }
        }
        Some(all)
    }
}

/// Whether policies allow a call: on each of its resources, or on `*` where the service knows none, one must and none may deny.
#[must_use]
pub fn allow(grants: &[Grant], operation: Operation, asked: &Asked) -> bool {
    let on = |resource: &Resource| {
        let mut said = grants.iter().filter(|grant| grant.speaks_of(operation, resource, &asked.keys)).map(|grant| grant.denies).peekable();
        said.peek().is_some() && said.all(|denies| !denies)
    };
    if asked.resources.is_empty() { on(&Resource::of("*")) } else { asked.resources.iter().all(on) }
}

fn value_of<'a>(key: &str, keys: &[&'a Keys]) -> Option<&'a str> {
    let mut known = keys.iter().flat_map(|keys| keys.iter());
    known.find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
}

/// How an operator compares a policy's value with a call's (IAM user guide, condition operators); those alone that policies of ours may have.
fn comparison(operator: &str) -> Option<fn(&str, &str) -> bool> {
    Some(match operator {
        "StringEquals" => |wanted, found| literal(wanted) == found,
        "StringLike" => matches,
        "Bool" => |wanted, found| wanted.eq_ignore_ascii_case(found),
        // Each of its six parts by itself, so that no star spans a colon of the first five.
        "ArnLike" | "ArnEquals" => |wanted, found| {
            let parts = |arn: &str| arn.splitn(6, ':').map(str::to_owned).collect::<Vec<_>>();
            let (wanted, found) = (parts(wanted), parts(found));
            wanted.len() == found.len() && wanted.iter().zip(&found).all(|(wanted, found)| matches(wanted, found))
        },
        _ => return None,
    })
}

/// `${*}`, `${?}` and `${$}` are these characters themselves (IAM user guide, policy variables).
fn literal(text: &str) -> String {
    text.replace("${*}", "*").replace("${?}", "?").replace("${$}", "$")
}

/// Whether a text is what a pattern with `*` and `?` says.
fn matches(pattern: &str, text: &str) -> bool {
    // Stars that stand for themselves are matched as other characters, which no name has.
    let (star, mark) = ("\u{e000}", "\u{e001}");
    let pattern = pattern.replace("${*}", star).replace("${?}", mark).replace("${$}", "$");
    wildmatch::WildMatch::new(&pattern).matches(&text.replace('*', star).replace('?', mark))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> Keys {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// Statements of one action on everything, with their effects and conditions.
    fn policy(statements: &[(&str, Value)]) -> Vec<Grant> {
        let statement = |(effect, condition): &(&str, Value)| json!({ "Sid": "X", "Effect": effect, "Action": ["ssm:PutParameter"], "Resource": ["*"], "Condition": condition });
        let statements: Vec<Value> = statements.iter().map(statement).collect();
        Grant::of_document(&json!({ "Version": "2012-10-17", "Statement": statements })).expect("it is a policy")
    }

    #[track_caller]
    fn may(grants: &[Grant], pairs: &[(&str, &str)]) -> bool {
        allow(grants, Operation::PutParameter, &Asked { resources: vec![Resource::of("arn:p")], keys: keys(pairs) })
    }

    #[test]
    fn a_condition_must_hold_and_one_about_what_the_call_does_not_say_does_not() {
        for (operator, wanted, good, bad) in [
            ("StringEquals", "web-*", "web-*", "web-blue"),
            ("StringEquals", "a${$}", "a$", "a${$}"),
            ("StringLike", "web-*", "web-blue", "batch"),
            ("StringLike", "web-${*}", "web-*", "web-blue"),
            ("Bool", "true", "True", "false"),
            ("ArnLike", "arn:aws:sns:*:1234:web-*", "arn:aws:sns:eu-central-1:1234:web-blue", "arn:aws:sns:eu:central:1234:web-blue"),
            ("ArnEquals", "arn:aws:iam::1234:role/*", "arn:aws:iam::1234:role/a/b", "arn:aws:iam::4321:role/a"),
        ] {
            let grants = policy(&[("Allow", json!({ operator: { "a:Key": [wanted, "another"] } }))]);
            assert!(may(&grants, &[("a:Key", good)]), "{operator} {wanted} {good}");
            assert!(may(&grants, &[("A:key", good)]), "the names of keys are read in either case");
            assert!(!may(&grants, &[("a:Key", bad)]), "{operator} {wanted} {bad}");
            assert!(!may(&grants, &[("b:Key", good)]) && !may(&grants, &[]), "{operator}: the call does not say");
        }
    }

    #[test]
    fn all_conditions_must_hold_and_of_the_values_of_one_any() {
        let grants = policy(&[("Allow", json!({ "StringEquals": { "a:A": ["1", "2"], "a:B": ["3"] }, "StringLike": { "a:C": ["*"] } }))]);
        assert!(may(&grants, &[("a:A", "2"), ("a:B", "3"), ("a:C", "x")]));
        for broken in
            [&[("a:A", "3"), ("a:B", "3"), ("a:C", "x")][..], &[("a:A", "2"), ("a:B", "2"), ("a:C", "x")], &[("a:A", "2"), ("a:B", "3")]]
        {
            assert!(!may(&grants, broken), "{broken:?}");
        }
    }

    #[test]
    fn a_denial_that_holds_counts_more_than_whatever_allows() {
        let grants =
            policy(&[("Allow", json!({})), ("Deny", json!({ "StringEquals": { "ssm:Overwrite": ["true"] } })), ("Allow", json!({}))]);
        assert!(may(&grants, &[]) && may(&grants, &[("ssm:Overwrite", "false")]));
        assert!(!may(&grants, &[("ssm:Overwrite", "true")]));
        assert!(!may(&policy(&[("Deny", json!({ "StringEquals": { "ssm:Overwrite": ["true"] } }))]), &[]), "what nothing allows");
    }

    #[test]
    fn an_operator_that_is_not_known_allows_nothing_and_denies_all() {
        let odd = || json!({ "NumericLessThan": { "a:Key": ["5"] } });
        assert!(!may(&policy(&[("Allow", odd())]), &[("a:Key", "1")]));
        assert!(!may(&policy(&[("Allow", json!({})), ("Deny", odd())]), &[("a:Key", "9")]));
    }

    #[test]
    fn a_key_of_one_resource_says_nothing_of_another() {
        let grants = policy(&[("Allow", json!({ "StringLike": { "ssm:resourceTag/x": ["web-*"] } }))]);
        let one = |arn: &str, tag: Option<&str>| Resource {
            arn: arn.to_owned(),
            keys: tag.map(|tag| keys(&[("ssm:resourceTag/x", tag)])).unwrap_or_default(),
        };
        let asks = |resources: Vec<Resource>| allow(&grants, Operation::PutParameter, &Asked { resources, keys: Keys::new() });
        assert!(asks(vec![one("arn:1", Some("web-1")), one("arn:2", Some("web-2"))]));
        assert!(!asks(vec![one("arn:1", Some("web-1")), one("arn:2", Some("batch"))]));
        assert!(!asks(vec![one("arn:1", Some("web-1")), one("arn:2", None)]));
    }

    #[test]
    fn a_document_that_would_be_read_by_half_is_read_not_at_all() {
        let of = |statement: Value| Grant::of_document(&json!({ "Version": "2012-10-17", "Statement": [statement] }));
        assert!(of(json!({ "Effect": "Allow", "Action": ["a:B"], "Resource": ["*"] })).is_ok());
        assert!(of(json!({ "Effect": "Allow", "NotAction": ["a:B"], "Resource": ["*"] })).is_err());
        assert!(of(json!({ "Effect": "Allow", "Action": ["a:B"], "NotResource": ["*"] })).is_err());
        assert!(of(json!({ "Effect": "Perhaps", "Action": ["a:B"], "Resource": ["*"] })).is_err());
    }
}
