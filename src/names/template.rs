//! Name templates: `{instance_id}`, `{group}`, `{account}`, `{region}`, filled in from a lifecycle action.

mod read_back;

pub use read_back::{Origin, ReadBack};

use std::fmt;

use super::{AccountId, GroupName, InstanceId, Region};

/// A text with placeholders, checked when it is read, so that filling it in cannot fail for want of a name.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    InstanceId,
    Group,
    Account,
    Region,
}

/// What fills a template.
#[derive(Debug, Clone, Copy)]
pub struct TemplateValues<'a> {
    /// Fills `{instance_id}`.
    pub instance: &'a InstanceId,
    /// Fills `{group}`.
    pub group: &'a GroupName,
    /// Fills `{account}`.
    pub account: &'a AccountId,
    /// Fills `{region}`.
    pub region: &'a Region,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A placeholder that nothing fills, escaped and cut.
    #[error("{{{0}}} is not a placeholder; use {{instance_id}}, {{group}}, {{account}} or {{region}}")]
    UnknownPlaceholder(String),
    /// A brace without its partner.
    #[error("a brace at character {0} has no partner")]
    UnbalancedBrace(usize),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// An unknown placeholder or an unbalanced brace.
    pub fn new(source: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = source;
        let at = |rest: &str| source.len() - rest.len();
        while let Some(open) = rest.find(['{', '}']) {
            if rest.as_bytes()[open] == b'}' {
                return Err(TemplateError::UnbalancedBrace(at(&rest[open..])));
            }
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let inside = &rest[open + 1..];
            let close = inside.find('}').ok_or(TemplateError::UnbalancedBrace(at(&rest[open..])))?;
            parts.push(match &inside[..close] {
                "instance_id" => Part::InstanceId,
                "group" => Part::Group,
                "account" => Part::Account,
                "region" => Part::Region,
                other => return Err(TemplateError::UnknownPlaceholder(other.chars().take(80).flat_map(char::escape_debug).collect())),
            });
            rest = &inside[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { source: source.to_owned(), parts })
    }

    /// What it makes of some instance: for rules about the names that servers take.
    #[must_use]
    pub fn sample(&self) -> String {
        self.fill(TemplateValues {
            instance: &InstanceId::new("i-0123456789abcdef0").expect("it keeps the rule of instance ids"),
            group: &GroupName::new("group").expect("it keeps the rule of group names"),
            account: &AccountId::new("123456789012").expect("it keeps the rule of account ids"),
            region: &Region::new("eu-central-1").expect("it keeps the rule of regions"),
        })
    }

    /// Fills the template in.
    #[must_use]
    pub fn fill(&self, values: TemplateValues<'_>) -> String {
        let mut filled = String::with_capacity(self.source.len() + 16);
        for part in &self.parts {
            filled.push_str(match part {
                Part::Text(text) => text,
                Part::InstanceId => values.instance.as_str(),
                Part::Group => values.group.as_str(),
                Part::Account => values.account.as_str(),
                Part::Region => values.region.as_str(),
            });
        }
        filled
    }

    /// Whether two instances can get two names: the template names the instance.
    #[must_use]
    pub fn names_the_instance(&self) -> bool {
        self.parts.contains(&Part::InstanceId)
    }

    /// Whether no two instances of a route can get one name, whatever their groups are called. An id has 8 digits or 17: where the
    /// id comes first and a group last, and what stands behind the id could be more of its digits, `i-12345678` in a group `9abcdef01-a` has the name of
    /// `i-123456789abcdef01` in the group `-a`. Behind an id that comes last nothing varies; and between groups it is found by the lengths.
    #[must_use]
    pub fn tells_instances_apart(&self) -> bool {
        let mut varying = self.parts.iter().enumerate().filter(|(_, part)| matches!(part, Part::InstanceId | Part::Group));
        let (first, last) = (varying.next(), varying.next_back());
        match (first, last) {
            (Some((at, Part::InstanceId)), Some((_, Part::Group))) => !may_be_digits(&self.parts[at + 1..]),
            _ => self.names_the_instance(),
        }
    }

    /// The text before the first placeholder.
    #[must_use]
    pub fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The template as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// Whether what these parts make can begin with the nine digits that a long id has more than a short one.
fn may_be_digits(parts: &[Part]) -> bool {
    let mut digits = 0;
    for part in parts {
        match part {
            Part::Text(text) => {
                let hex = text.bytes().take_while(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b)).count();
                digits += hex;
                if hex < text.len() {
                    return digits >= 9;
                }
            }
            Part::Group | Part::Account => return true,
            // They have other letters within their first three.
            Part::InstanceId | Part::Region => return digits >= 9,
        }
    }
    digits >= 9
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_from_the_action() {
        let values = TemplateValues {
            instance: &InstanceId::new("i-0a1b2c3d").unwrap(),
            group: &GroupName::new("web").unwrap(),
            account: &AccountId::new("123456789012").unwrap(),
            region: &Region::new("eu-central-1").unwrap(),
        };
        let template = Template::new("/enrolld/{account}/{region}/{group}/{instance_id}/key").unwrap();
        assert_eq!(template.fill(values), "/enrolld/123456789012/eu-central-1/web/i-0a1b2c3d/key");
        assert_eq!(template.prefix(), "/enrolld/");
        assert!(template.names_the_instance());
    }

    #[test]
    fn an_id_that_what_follows_could_prolong_is_not_told_apart() {
        let fill = |source: &str, instance: &str, group: &str| {
            Template::new(source).unwrap().fill(TemplateValues {
                instance: &InstanceId::new(instance).unwrap(),
                group: &GroupName::new(group).unwrap(),
                account: &AccountId::new("123123123123").unwrap(),
                region: &Region::new("eu-central-1").unwrap(),
            })
        };
        for (source, digits, rest) in [
            ("{instance_id}{group}", "9abcdef01", "9abcdef01"),
            ("n-{instance_id}a{group}.example.com", "abcdef012", "bcdef012a"),
            ("{instance_id}0123{group}", "012345678", "456780123"),
            ("{instance_id}{account}{group}", "123123123", "123123123"),
        ] {
            let (short, long) = (fill(source, "i-12345678", &format!("{rest}-a")), fill(source, &format!("i-12345678{digits}"), "-a"));
            assert_eq!(short, long, "{source}");
            assert!(!Template::new(source).unwrap().tells_instances_apart(), "{source}");
        }
        for source in [
            "{instance_id}",
            "{instance_id}-{group}",
            "{instance_id}a-{group}",
            "{instance_id}.{group}",
            "{instance_id}{region}{group}",
            "{instance_id}{instance_id}{group}",
            "{instance_id}{account}",
            "{group}{instance_id}",
            "{group}{instance_id}{group}",
            "/enrolld/{group}/{account}/{region}/{instance_id}/key",
        ] {
            assert!(Template::new(source).unwrap().tells_instances_apart(), "{source}");
        }
        assert!(!Template::new("{group}").unwrap().tells_instances_apart());
    }

    #[test]
    fn an_unknown_placeholder_and_a_stray_brace_are_named() {
        assert_eq!(Template::new("{host}"), Err(TemplateError::UnknownPlaceholder("host".into())));
        assert_eq!(Template::new("a{instance_id"), Err(TemplateError::UnbalancedBrace(1)));
        assert_eq!(Template::new("ab}"), Err(TemplateError::UnbalancedBrace(2)));
    }
}
