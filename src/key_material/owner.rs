//! Who must have written a parameter.

use crate::names::{AccountId, InstanceId, shown};

/// The role that a route's instances run with. Its sessions on EC2 are named after the instance, so a parameter that such a
/// session wrote last came from that instance. It proves so only for a role that EC2 alone can assume, since whoever else may
/// assume it chooses the session's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRole {
    /// A name alone would do for whoever has a role of that name in an account of their own and a way to the parameter.
    partition: String,
    account: AccountId,
    name: String,
}

/// Why a text does not name a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not the ARN of a role; write it with its account, such as arn:aws:iam::123456789012:role/web")]
pub struct OwnerRoleError(String);

impl OwnerRole {
    /// Reads a role's ARN in any partition: `arn:aws:iam::ACCOUNT:role/[PATH/]ROLE`.
    ///
    /// # Errors
    /// Shows the text, escaped.
    pub fn new(role: &str) -> Result<Self, OwnerRoleError> {
        let error = || OwnerRoleError(shown(role));
        let parts: Vec<&str> = role.split(':').collect();
        let &["arn", partition, "iam", "", account, resource] = parts.as_slice() else { return Err(error()) };
        // Assumed-role ARNs leave the path out.
        let name = resource.strip_prefix("role/").and_then(|path| path.rsplit('/').next()).ok_or_else(error)?;
        let account = AccountId::new(account).map_err(|_| error())?;
        // The API's rule for role names.
        let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !is_partition(partition) || !(1..=64).contains(&name.len()) || !name.chars().all(fits) {
            return Err(error());
        }
        Ok(Self { partition: partition.to_owned(), account, name: name.to_owned() })
    }

    /// Whether a `LastModifiedUser` is this role's session of that instance.
    #[must_use]
    pub fn is_session_of(&self, user: &str, instance: &InstanceId) -> bool {
        let parts: Vec<&str> = user.split(':').collect();
        let &["arn", partition, "sts", "", account, session] = parts.as_slice() else { return false };
        partition == self.partition && account == self.account.as_str() && session == format!("assumed-role/{}/{instance}", self.name)
    }
}

/// `aws`, `aws-cn`, `aws-us-gov` and what else there may be.
fn is_partition(text: &str) -> bool {
    text == "aws"
        || text.strip_prefix("aws-").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> InstanceId {
        InstanceId::new("i-0a1b2c3d").unwrap()
    }

    #[test]
    fn only_the_instances_own_session_of_the_role_counts() {
        let role = OwnerRole::new("arn:aws:iam::123456789012:role/fleet/web").unwrap();
        assert!(role.is_session_of("arn:aws:sts::123456789012:assumed-role/web/i-0a1b2c3d", &instance()));
        for foreign in [
            "arn:aws:sts::123456789012:assumed-role/web/i-0a1b2c3d4e5f60718",
            "arn:aws:sts::123456789012:assumed-role/web/i-0a1b2c3e",
            "arn:aws:sts::123456789012:assumed-role/web/i-0a1b2c3d/x",
            "arn:aws:sts::123456789012:assumed-role/other/i-0a1b2c3d",
            "arn:aws:sts::123456789012:assumed-role/fleet/web/i-0a1b2c3d",
            "arn:aws:sts::210987654321:assumed-role/web/i-0a1b2c3d",
            "arn:aws-cn:sts::123456789012:assumed-role/web/i-0a1b2c3d",
            "arn:aws:iam::123456789012:assumed-role/web/i-0a1b2c3d",
            "x:arn:aws:sts::123456789012:assumed-role/web/i-0a1b2c3d",
            "arn:aws:iam::123456789012:user/i-0a1b2c3d",
            "arn:aws:iam::123456789012:root",
            "",
        ] {
            assert!(!role.is_session_of(foreign, &instance()), "{foreign}");
        }
    }

    #[test]
    fn other_partitions_have_roles_too() {
        for partition in ["aws-cn", "aws-us-gov"] {
            let role = OwnerRole::new(&format!("arn:{partition}:iam::123456789012:role/web")).unwrap();
            assert!(role.is_session_of(&format!("arn:{partition}:sts::123456789012:assumed-role/web/i-0a1b2c3d"), &instance()));
        }
    }

    #[test]
    fn what_is_no_role_is_refused() {
        for bad in [
            "",
            "web",
            "a b",
            "fleet/web",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:user/web",
            "arn:aws:iam::12:role/web",
            "arn:aws:iam:::role/web",
            "arn:else:iam::123456789012:role/web",
            "arn:aws:iam::123456789012:role/a b",
        ] {
            assert!(OwnerRole::new(bad).is_err(), "{bad}");
        }
        let said = OwnerRole::new("web").unwrap_err().to_string();
        assert_eq!(said, "\"web\" is not the ARN of a role; write it with its account, such as arn:aws:iam::123456789012:role/web");
    }
}
