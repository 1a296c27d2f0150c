//! Which letters are meant.

use super::Letter;
use crate::names::InstanceId;

/// Which letters are meant: those that match each kind of filter that was given; all where none was.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Any of these reasons.
    pub reasons: Vec<String>,
    /// Any of these instances.
    pub instances: Vec<InstanceId>,
}

impl Selection {
    /// Whether a letter is meant.
    #[must_use]
    pub fn takes(&self, letter: &Letter) -> bool {
        let by_reason = self.reasons.is_empty() || self.reasons.iter().any(|reason| reason == letter.reason.as_str());
        let by_instance = self.instances.is_empty() || letter.instance().is_some_and(|instance| self.instances.contains(instance));
        by_reason && by_instance
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::{notification, stored};
    use super::*;

    fn selection(reasons: &[&str], instances: &[&str]) -> Selection {
        Selection {
            reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
            instances: instances.iter().map(|id| InstanceId::new(id).unwrap()).collect(),
        }
    }

    #[test]
    fn a_letter_must_match_every_kind_of_filter_and_any_of_each() {
        let letter = Letter::read(&stored(&[("EnrolldReason", "deadline")], &notification("i-0a1b2c3d")), None);
        for (reasons, instances, taken) in [
            (&[][..], &[][..], true),
            (&["deadline"], &[], true),
            (&["not_json", "deadline"], &["i-0a1b2c3d"], true),
            (&["not_json"], &["i-0a1b2c3d"], false),
            (&["deadline"], &["i-0a1b2c3e"], false),
            (&["dead"], &[], false),
        ] {
            assert_eq!(selection(reasons, instances).takes(&letter), taken, "{reasons:?} {instances:?}");
        }
    }

    #[test]
    fn a_letter_without_an_instance_is_none_of_any_instance() {
        let letter = Letter::read(&stored(&[("EnrolldReason", "not_json")], "garbage"), None);
        assert!(!selection(&[], &["i-0a1b2c3d"]).takes(&letter));
        assert!(selection(&["not_json"], &[]).takes(&letter));
    }
}
