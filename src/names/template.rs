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
    fn an_unknown_placeholder_and_a_stray_brace_are_named() {
        assert_eq!(Template::new("{host}"), Err(TemplateError::UnknownPlaceholder("host".into())));
        assert_eq!(Template::new("a{instance_id"), Err(TemplateError::UnbalancedBrace(1)));
        assert_eq!(Template::new("ab}"), Err(TemplateError::UnbalancedBrace(2)));
    }
}
