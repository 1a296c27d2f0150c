//! Who calls: access key ids stand for principals.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::grant::{Asked, Grant, allow};
use super::operation::{Operation, Service};

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account, twelve digits.
    pub account: Arc<str>,
    /// The principal; it becomes `LastModifiedUser` and stands in the association log.
    pub arn: Arc<str>,
}

impl Caller {
    /// A caller by account and ARN.
    #[must_use]
    pub fn new(account: &str, arn: &str) -> Self {
        Self { account: account.into(), arn: arn.into() }
    }

    /// The role session that an EC2 instance is: the session name is the instance id.
    #[must_use]
    pub fn instance(account: &str, role: &str, instance: &str) -> Self {
        Self::new(account, &format!("arn:aws:sts::{account}:assumed-role/{role}/{instance}"))
    }
}

/// A principal behind an access key id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// The access key id that selects it.
    pub access_key_id: String,
    /// Its ARN.
    pub arn: String,
    /// Its account; the simulator's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Operations that are refused to it (`ssm:GetParameters`, `sqs:*`, `*`).
    #[serde(default)]
    pub denied: Vec<String>,
    /// What alone is allowed to it, where that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<Grant>>,
}

/// The most of such calls that are kept.
const MOST_BEYOND: usize = 1000;

/// A call that was not among what alone is allowed to its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// Who called.
    pub arn: Arc<str>,
    /// What was called.
    pub operation: Operation,
    /// What it asked for.
    pub asked: Asked,
}

/// The operation whose permission a call needs: that of a batch's entries, and none for the one that everybody may make.
fn permission(operation: Operation) -> Option<Operation> {
    match operation {
        // "No permissions are required to perform this operation" (API reference).
        Operation::GetCallerIdentity => None,
        Operation::DeleteMessageBatch => Some(Operation::DeleteMessage),
        Operation::ChangeMessageVisibilityBatch => Some(Operation::ChangeMessageVisibility),
        Operation::SendMessageBatch => Some(Operation::SendMessage),
        other => Some(other),
    }
}

/// What a principal may do.
#[derive(Debug)]
struct Rights {
    caller: Caller,
    denied: Vec<String>,
    allowed: Option<Vec<Grant>>,
}

/// All principals, and the one that every unknown access key id stands for.
#[derive(Debug)]
pub struct Principals {
    default: Caller,
    known: HashMap<String, Rights>,
    /// What alone is allowed to the sessions of roles, by their ARNs.
    roles: HashMap<String, Vec<Grant>>,
    beyond: Vec<Beyond>,
}

impl Rights {
    /// Whether a call is among what alone is allowed.
    fn allow(&self, operation: Operation, asked: &Asked) -> bool {
        let Some(grants) = &self.allowed else { return true };
        permission(operation).is_none_or(|operation| allow(grants, operation, asked))
    }
}

impl Principals {
    pub(crate) fn new(account: &str) -> Self {
        let default = Caller::new(account, &format!("arn:aws:iam::{account}:root"));
        Self { default, known: HashMap::new(), roles: HashMap::new(), beyond: Vec::new() }
    }

    /// Makes an access key id stand for a principal, from now on.
    pub fn set(&mut self, principal: Principal) {
        let account = principal.account.as_deref().unwrap_or(&self.default.account);
        let caller = Caller::new(account, &principal.arn);
        let rights = Rights { caller, denied: principal.denied, allowed: principal.allowed };
        self.known.insert(principal.access_key_id, rights);
    }

    /// The caller that an access key id stands for.
    #[must_use]
    pub fn caller(&self, access_key_id: &str) -> Caller {
        self.known.get(access_key_id).map_or_else(|| self.default.clone(), |rights| rights.caller.clone())
    }

    /// Whether this access key id is told what alone is allowed to it.
    #[must_use]
    pub fn is_confined(&self, access_key_id: &str) -> bool {
        self.known.get(access_key_id).is_some_and(|rights| rights.allowed.is_some())
    }

    /// Says what alone is allowed to an access key id, whoever it stands for.
    pub fn confine(&mut self, access_key_id: &str, allowed: Vec<Grant>) {
        let rights = || Rights { caller: self.default.clone(), denied: Vec::new(), allowed: None };
        self.known.entry(access_key_id.to_owned()).or_insert_with(rights).allowed = Some(allowed);
    }

    /// Confines the sessions of a role that are made from now on.
    pub fn confine_role(&mut self, role: &str, allowed: Vec<Grant>) {
        self.roles.insert(role.to_owned(), allowed);
    }

    /// What alone is allowed to a role's sessions, where that was said.
    #[must_use]
    pub fn rights_of_role(&self, role: &str) -> Option<Vec<Grant>> {
        self.roles.get(role).cloned()
    }

    /// The calls that were not among what alone is allowed to their callers.
    #[must_use]
    pub fn beyond(&self) -> &[Beyond] {
        &self.beyond
    }

    /// Whether an operation that asks for this is refused to this access key id.
    ///
    /// # Errors
    /// The access error of the operation's service.
    pub fn authorise(&mut self, access_key_id: &str, operation: Operation, asked: &Asked) -> Result<(), ApiError> {
        let Some(rights) = self.known.get(access_key_id) else { return Ok(()) };
        let denied = rights.denied.iter().any(|pattern| operation.matches(pattern));
        let allowed = rights.allow(operation, asked);
        if !allowed && self.beyond.len() < MOST_BEYOND {
            self.beyond.push(Beyond { arn: rights.caller.arn.clone(), operation, asked: asked.clone() });
        }
        if denied || !allowed {
            Err(denial(&rights.caller, operation, asked.resources.first().map(|resource| resource.arn.as_str())))
        } else {
            Ok(())
        }
    }
}

/// The access error that a service answers, in its own form.
#[must_use]
pub fn denial(caller: &Caller, operation: Operation, resource: Option<&str>) -> ApiError {
    let on = resource.map(|resource| format!(" on resource: {resource}")).unwrap_or_default();
    let message = format!(
        "User: {} is not authorized to perform: {operation}{on} because no identity-based policy allows the {operation} action",
        caller.arn
    );
    match operation.service() {
        Service::Sqs => ApiError {
            query_code: Some("AccessDenied"),
            namespace: Some("com.amazon.coral.service#"),
            ..ApiError::new(403, "AccessDeniedException", Some(message))
        },
        Service::Ssm | Service::OpsworksCm => ApiError::client("AccessDeniedException", message),
        Service::AutoScaling | Service::Sts | Service::Iam => ApiError::new(403, "AccessDenied", Some(message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::model::grant::{Keys, Resource};

    fn confined(grants: &[(&str, &str)]) -> Principals {
        let mut principals = Principals::new("123456789012");
        let grant = |(action, resource): &(&str, &str)| Grant::allowing(*action, *resource);
        principals.confine("AKIA", grants.iter().map(grant).collect());
        principals
    }

    fn may(principals: &mut Principals, operation: Operation, resources: &[&str]) -> bool {
        let resources = resources.iter().map(|arn| Resource::of(*arn)).collect();
        principals.authorise("AKIA", operation, &Asked { resources, keys: Keys::new() }).is_ok()
    }

    #[test]
    fn each_resource_of_a_call_must_be_allowed_and_what_was_not_is_kept() {
        let mut principals = confined(&[("ssm:GetParameters", "arn:a/i-*"), ("ssm:SendCommand", "arn:d"), ("ssm:DescribeParameters", "*")]);
        assert!(may(&mut principals, Operation::GetParameters, &["arn:a/i-1", "arn:a/i-2"]));
        assert!(may(&mut principals, Operation::DescribeParameters, &[]));
        assert!(may(&mut principals, Operation::GetCallerIdentity, &[]), "everybody may");
        assert_eq!(principals.beyond(), []);
        assert!(!may(&mut principals, Operation::GetParameters, &["arn:a/i-1", "arn:b/i-2"]));
        assert!(!may(&mut principals, Operation::GetParameters, &[]), "one that knows no resources is about all");
        assert!(!may(&mut principals, Operation::GetParameter, &["arn:a/i-1"]));
        let beyond: Vec<Operation> = principals.beyond().iter().map(|call| call.operation).collect();
        assert_eq!(beyond, [Operation::GetParameters, Operation::GetParameters, Operation::GetParameter]);
        assert!(principals.authorise("AKIAOTHER", Operation::PutParameter, &Asked::default()).is_ok(), "whoever is not confined");
    }

    #[test]
    fn a_batch_takes_the_permission_of_its_entries() {
        let mut principals = confined(&[("sqs:DeleteMessage", "arn:q")]);
        assert!(may(&mut principals, Operation::DeleteMessageBatch, &["arn:q"]));
        assert!(!may(&mut principals, Operation::SendMessageBatch, &["arn:q"]));
    }

    #[test]
    fn a_character_that_a_policy_takes_for_itself_stands_for_nothing_else() {
        let mut principals = confined(&[("autoscaling:CompleteLifecycleAction", "arn:g/a${*}b${$}c*")]);
        assert!(may(&mut principals, Operation::CompleteLifecycleAction, &["arn:g/a*b$c"]));
        assert!(may(&mut principals, Operation::CompleteLifecycleAction, &["arn:g/a*b$c?d"]));
        assert!(!may(&mut principals, Operation::CompleteLifecycleAction, &["arn:g/axb$c"]));
    }
}
