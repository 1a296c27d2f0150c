//! Who must have written a parameter.

use crate::names::{AccountId, InstanceId, shown};

/// The role that a route's instances run with. Its sessions on EC2 are named after the instance, so a parameter that such a
/// session wrote last came from that instance. It proves so only for a role that EC2 alone can assume, since whoever else may
/// assume it chooses the session's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRole {
    partition: String,
    account: AccountId,
    name: String,
}

/// Why a text does not name a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not the ARN of a role, such as arn:aws:iam::123456789012:role/web")]
pub struct OwnerRoleError(String);

impl OwnerRole {
    /// Reads the ARN of a role: `arn:aws:iam::ACCOUNT:role/[PATH/]ROLE`, in any partition.
    ///
    /// # Errors
    /// Shows the text, escaped.
    pub fn new(arn: &str) -> Result<Self, OwnerRoleError> {
        let error = || OwnerRoleError(shown(arn));
        let parts: Vec<&str> = arn.split(':').collect();
        let &["arn", partition, "iam", "", account, role] = parts.as_slice() else { return Err(error()) };
        // Assumed-role ARNs leave the path out.
        let name = role.strip_prefix("role/").and_then(|path| path.rsplit('/').next()).ok_or_else(error)?;
        let fits = |text: &str, more: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        if !partition.starts_with("aws") || !fits(partition, "-") || !fits(name, "_+=,.@-") {
            return Err(error());
        }
        let account = AccountId::new(account).map_err(|_| error())?;
        Ok(Self { partition: partition.to_owned(), account, name: name.to_owned() })
    }

    /// Whether a `LastModifiedUser` is this role's session of that instance.
    #[must_use]
    pub fn is_session_of(&self, user: &str, instance: &InstanceId) -> bool {
        user == format!("arn:{}:sts::{}:assumed-role/{}/{instance}", self.partition, self.account, self.name)
    }
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
            "web",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:user/web",
            "arn:aws:iam::12:role/web",
            "arn:aws:iam::123456789012:role/a b",
        ] {
            assert!(OwnerRole::new(bad).is_err(), "{bad}");
        }
    }
}
