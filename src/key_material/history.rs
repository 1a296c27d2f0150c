//! Which of the versions of a parameter is the node's key: the first that the instance itself wrote.
//!
//! A worker keeps nothing between two runs of an action, so it cannot know under which key an earlier run associated the node. What it
//! can know is what stands in the parameter's history, and that only grows: where each version holds the same key, every run reads that
//! key; and where they differ, no run from then on takes any of them, so that a node is never associated under another key on top of
//! the first. An instance that may create its parameter and not replace it never has a second version.

use zeroize::Zeroizing;

use super::check::{self, Engine};
use super::owner::OwnerRole;
use crate::core::call::KeyWanted;
use crate::facts::{KeyAnswer, KeyMaterial};

/// One version of a parameter; its value is wiped when dropped, and cannot be shown.
pub struct Version {
    /// Its number; a parameter's first is 1.
    pub number: i64,
    /// Who wrote it: `LastModifiedUser`.
    pub user: String,
    /// What it holds.
    pub value: Option<Zeroizing<String>>,
}

/// The key of a node from all versions that its parameter has, in any order. The newest must be the instance's own, where the route
/// has an owner, and every one that is its own must hold the same.
#[must_use]
pub fn choose(engine: &Engine, owner: Option<&OwnerRole>, one: &KeyWanted, mut versions: Vec<Version>) -> KeyAnswer {
    versions.sort_unstable_by_key(|version| version.number);
    let (Some(oldest), Some(newest)) = (versions.first(), versions.last()) else { return KeyAnswer::Absent };
    let is_own = |version: &Version| owner.is_none_or(|owner| owner.is_session_of(&version.user, &one.instance));
    if !is_own(newest) {
        let reason = format!(
            "version {} of its parameter was written by {}, not by the instance {} in its role",
            newest.number,
            crate::names::shown(&newest.user),
            one.instance
        );
        return KeyAnswer::Refused { code: "foreign_key", reason, security: true };
    }
    // Parameter Store keeps the newest hundred.
    if oldest.number > 1 {
        return rewritten(format!("its parameter was rewritten until version {} was the oldest that is kept", oldest.number));
    }
    let mut first: Option<(i64, KeyMaterial)> = None;
    for version in versions.into_iter().filter(is_own) {
        let Some(value) = version.value else { return KeyAnswer::Absent };
        let key = match check::check(engine, &one.node, value) {
            KeyAnswer::Found(key) => key,
            unusable => return unusable,
        };
        match &first {
            None => first = Some((version.number, key)),
            Some((number, known)) if known.pem() != key.pem() => {
                return rewritten(format!("version {} of its parameter holds another key than version {number}", version.number));
            }
            Some(_) => {}
        }
    }
    first.map_or(KeyAnswer::Absent, |(_, key)| KeyAnswer::Found(key))
}

fn rewritten(what: String) -> KeyAnswer {
    let reason = format!("{what}; an earlier run may have associated the node with the first, and nothing tells");
    KeyAnswer::Refused { code: "rewritten_key", reason, security: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{InstanceId, NodeName};
    use crate::simulator::model::agent::{Material, material};

    const MINE: &str = "arn:aws:sts::123456789012:assumed-role/web/i-0a1b2c3d";
    const THEIRS: &str = "arn:aws:sts::123456789012:assumed-role/web/i-0a1b2c3e";

    /// What comes of versions, each given by its number, its writer and the number of its key.
    fn chosen(versions: &[(i64, &str, u64)]) -> Result<String, &'static str> {
        let owner = OwnerRole::new("arn:aws:iam::123456789012:role/web").unwrap();
        chosen_for(Some(&owner), versions)
    }

    fn chosen_for(owner: Option<&OwnerRole>, versions: &[(i64, &str, u64)]) -> Result<String, &'static str> {
        let one =
            KeyWanted { instance: InstanceId::new("i-0a1b2c3d").unwrap(), node: NodeName::new("i-0a1b2c3d").unwrap(), parameter: None };
        let version =
            |&(number, user, seed): &(i64, &str, u64)| Version { number, user: user.into(), value: Some(Zeroizing::new(key(seed))) };
        match choose(&Engine::Chef, owner, &one, versions.iter().map(version).collect()) {
            KeyAnswer::Found(key) => Ok(key.pem().to_owned()),
            KeyAnswer::Absent => Err("absent"),
            KeyAnswer::Refused { code, reason, .. } => {
                assert!(!reason.contains("BEGIN"), "{reason}");
                Err(code)
            }
        }
    }

    fn key(seed: u64) -> String {
        material(&Material::Good, seed, "i-0a1b2c3d")
    }

    #[test]
    fn a_key_that_was_written_once_or_written_again_as_it_was_is_the_nodes() {
        assert_eq!(chosen(&[(1, MINE, 1)]), Ok(key(1)));
        assert_eq!(chosen(&[(2, MINE, 1), (1, MINE, 1), (3, MINE, 1)]), Ok(key(1)));
        assert_eq!(chosen(&[]), Err("absent"));
    }

    #[test]
    fn a_key_that_the_instance_rewrote_is_refused_from_then_on() {
        assert_eq!(chosen(&[(1, MINE, 1), (2, MINE, 2)]), Err("rewritten_key"));
        assert_eq!(chosen(&[(1, MINE, 1), (2, MINE, 2), (3, MINE, 1)]), Err("rewritten_key"));
        assert_eq!(chosen(&[(1, MINE, 1), (2, THEIRS, 2), (3, MINE, 3)]), Err("rewritten_key"));
    }

    #[test]
    fn a_history_whose_first_version_is_gone_tells_nothing() {
        assert_eq!(chosen(&[(2, MINE, 1), (3, MINE, 1)]), Err("rewritten_key"));
    }

    #[test]
    fn where_anybody_may_write_all_versions_must_hold_the_same_key() {
        assert_eq!(chosen_for(None, &[(1, MINE, 1), (2, THEIRS, 1)]), Ok(key(1)));
        assert_eq!(chosen_for(None, &[(1, MINE, 1), (2, THEIRS, 2)]), Err("rewritten_key"));
        assert_eq!(chosen_for(None, &[(2, MINE, 1)]), Err("rewritten_key"));
    }

    #[test]
    fn what_another_wrote_before_the_instance_did_is_no_key_of_the_nodes_and_after_it_nothing_is() {
        assert_eq!(chosen(&[(1, THEIRS, 2), (2, MINE, 1)]), Ok(key(1)));
        assert_eq!(chosen(&[(1, MINE, 1), (2, THEIRS, 2)]), Err("foreign_key"));
    }
}
