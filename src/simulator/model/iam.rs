//! IAM, as far as somebody asks who may assume a role.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::error::{Answer, ApiError};
use super::world::World;

/// A role that is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// Its name.
    pub name: String,
    /// Its path, from `/` to `/`.
    #[serde(default = "root")]
    pub path: String,
    /// Who may assume it: the trust policy.
    pub trust: serde_json::Value,
}

fn root() -> String {
    "/".into()
}

/// What GetRole answers.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Its ARN.
    pub arn: String,
    /// The trust policy as JSON.
    pub trust: String,
}

/// All roles, by their names.
#[derive(Debug, Default)]
pub(crate) struct Roles(BTreeMap<String, NewRole>);

impl World {
    /// Makes a role, or gives it another trust policy.
    pub fn set_role(&mut self, role: NewRole) {
        self.roles.0.insert(role.name.clone(), role);
    }

    /// Whether a role can be assumed with that external id: one that is there may ask for it in the condition of its trust policy
    /// (`StringEquals` on `sts:ExternalId`); nothing else of the policy is weighed. A role that is not there can.
    #[must_use]
    pub fn may_assume(&self, name: &str, external_id: Option<&str>) -> bool {
        let Some(role) = self.roles.0.get(name) else { return true };
        let statements = role.trust["Statement"].as_array().map_or(&[][..], Vec::as_slice);
        statements.iter().any(|statement| {
            let wanted = &statement["Condition"]["StringEquals"]["sts:ExternalId"];
            wanted.is_null() || external_id.is_some_and(|id| wanted == id)
        })
    }

    /// GetRole.
    ///
    /// # Errors
    /// `NoSuchEntity` where there is no such role in the account.
    pub fn get_role(&self, caller: &Caller, name: &str) -> Answer<Role> {
        let found = self.roles.0.get(name).filter(|_| *caller.account == *self.cx.settings.account);
        let role = found.ok_or_else(|| ApiError::new(404, "NoSuchEntity", Some(format!("The role with name {name} cannot be found."))))?;
        Ok(Role {
            name: role.name.clone(),
            path: role.path.clone(),
            arn: format!("arn:aws:iam::{}:role{}{}", caller.account, role.path, role.name),
            trust: role.trust.to_string(),
        })
    }
}
