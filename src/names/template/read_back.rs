//! From a filled template back to what filled it.
//!
//! A name is believed only where exactly one instance can have it: `{instance_id}{group}` makes the same text of an id with 8 digits
//! and of one with 17, if the group begins like the rest of the longer one.

use super::{Part, Template};
use crate::names::{AccountId, GroupName, InstanceId, Region};

/// What filled a template: the instance, and of the rest what the template has a placeholder for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The instance.
    pub instance: InstanceId,
    /// Its group, where the name tells.
    pub group: Option<GroupName>,
    /// The account, where the name tells.
    pub account: Option<AccountId>,
    /// The region, where the name tells.
    pub region: Option<Region>,
}

/// What a name shows of where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadBack {
    /// The template never gives this name.
    Foreign,
    /// It gives this name to one instance.
    One(Origin),
    /// More than one reading is possible.
    Ambiguous,
}

/// What the parts before some place in the name must have been.
#[derive(Clone, Default)]
struct Partial {
    instance: Option<InstanceId>,
    group: Option<GroupName>,
    account: Option<AccountId>,
    region: Option<Region>,
}

impl Template {
    /// Reads a name back. Readings that cannot be, by `may_be` (a group that takes another route, another's account), do not count.
    pub fn read_back(&self, name: &str, may_be: impl Fn(&Origin) -> bool) -> ReadBack {
        let mut readings = Vec::new();
        read(&self.parts, name, &Partial::default(), &mut |origin| {
            if may_be(&origin) && !readings.contains(&origin) {
                readings.push(origin);
            }
            // Two are as bad as more.
            readings.len() < 2
        });
        match readings.pop() {
            None => ReadBack::Foreign,
            Some(origin) if readings.is_empty() => ReadBack::One(origin),
            Some(_) => ReadBack::Ambiguous,
        }
    }
}

/// Tries every way to read `rest` as `parts`; false once `take` has enough.
fn read(parts: &[Part], rest: &str, before: &Partial, take: &mut impl FnMut(Origin) -> bool) -> bool {
    let Some((part, parts)) = parts.split_first() else {
        let Some(instance) = before.instance.clone().filter(|_| rest.is_empty()) else { return true };
        let Partial { group, account, region, .. } = before.clone();
        return take(Origin { instance, group, account, region });
    };
    // Placeholders stand for no less than one and no more than 255 characters; text for itself.
    match part {
        Part::Text(text) => rest.strip_prefix(text.as_str()).is_none_or(|rest| read(parts, rest, before, take)),
        Part::InstanceId => [10, 19].into_iter().all(|length| {
            let found = split(rest, length).and_then(|(id, rest)| Some((InstanceId::new(id).ok()?, rest)));
            found
                .filter(|(id, _)| before.instance.as_ref().is_none_or(|known| known == id))
                .is_none_or(|(id, rest)| read(parts, rest, &Partial { instance: Some(id), ..before.clone() }, take))
        }),
        Part::Account => {
            let found = split(rest, 12).and_then(|(id, rest)| Some((AccountId::new(id).ok()?, rest)));
            found
                .filter(|(id, _)| before.account.as_ref().is_none_or(|known| known == id))
                .is_none_or(|(id, rest)| read(parts, rest, &Partial { account: Some(id), ..before.clone() }, take))
        }
        Part::Region => (1..=rest.len()).all(|length| {
            let found = split(rest, length).and_then(|(region, rest)| Some((Region::new(region).ok()?, rest)));
            found
                .filter(|(region, _)| before.region.as_ref().is_none_or(|known| known == region))
                .is_none_or(|(region, rest)| read(parts, rest, &Partial { region: Some(region), ..before.clone() }, take))
        }),
        Part::Group => (1..=rest.len()).all(|length| {
            let found = split(rest, length).and_then(|(group, rest)| Some((GroupName::new(group).ok()?, rest)));
            found
                .filter(|(group, _)| before.group.as_ref().is_none_or(|known| known == group))
                .is_none_or(|(group, rest)| read(parts, rest, &Partial { group: Some(group), ..before.clone() }, take))
        }),
    }
}

/// The first bytes, and the rest, where that cuts no character in two.
fn split(text: &str, length: usize) -> Option<(&str, &str)> {
    text.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::TemplateValues;

    const SHORT: &str = "i-0a1b2c3d";
    const LONG: &str = "i-0a1b2c3d4e5f60718";

    fn back(template: &str, name: &str) -> ReadBack {
        Template::new(template).unwrap().read_back(name, |_| true)
    }

    #[track_caller]
    fn one(template: &str, name: &str) -> Origin {
        match back(template, name) {
            ReadBack::One(origin) => origin,
            other => panic!("{template} {name}: {other:?}"),
        }
    }

    #[test]
    fn what_fills_a_template_is_read_back_from_it() {
        for template in ["{instance_id}", "web-{instance_id}.example", "{region}.{account}.{group}:{instance_id}", "{group}-{instance_id}"]
        {
            for instance in [SHORT, LONG] {
                let values = TemplateValues {
                    instance: &InstanceId::new(instance).unwrap(),
                    group: &GroupName::new("web-blue").unwrap(),
                    account: &AccountId::new("123456789012").unwrap(),
                    region: &Region::new("eu-central-1").unwrap(),
                };
                let origin = one(template, &Template::new(template).unwrap().fill(values));
                assert_eq!(origin.instance.as_str(), instance);
                assert_eq!(origin.group.is_some(), template.contains("{group}"));
                assert!(origin.group.is_none_or(|group| group.as_str() == "web-blue"));
                assert!(origin.region.is_none_or(|region| region.as_str() == "eu-central-1"));
                assert!(origin.account.is_none_or(|account| account.as_str() == "123456789012"));
            }
        }
    }

    #[test]
    fn a_name_that_the_template_never_gives_is_foreign() {
        for name in ["admin", "web-1", "x-i-0a1b2c3d", "web-i-0a1b2c3", "web-i-0a1b2c3d.example", "web-größe", ""] {
            assert_eq!(back("web-{instance_id}", name), ReadBack::Foreign, "{name}");
        }
        assert_eq!(back("{instance_id}-{instance_id}", "i-0a1b2c3d-i-0a1b2c3e"), ReadBack::Foreign);
        assert_eq!(one("{instance_id}-{instance_id}", "i-0a1b2c3d-i-0a1b2c3d").instance.as_str(), SHORT);
    }

    #[test]
    fn a_name_with_two_readings_is_ambiguous() {
        let template = "{instance_id}{group}";
        assert_eq!(back(template, "i-0a1b2c3d4e5f60718web"), ReadBack::Ambiguous);
        assert_eq!(one(template, "i-0a1b2c3dweb").instance.as_str(), SHORT);
        assert_eq!(one(template, LONG).instance.as_str(), SHORT, "the group has at least one character");
        // Who can say which part is the group's makes it plain again.
        let plain = Template::new(template)
            .unwrap()
            .read_back("i-0a1b2c3d4e5f60718web", |origin| origin.group.as_ref().is_some_and(|group| group.as_str() == "web"));
        assert!(matches!(plain, ReadBack::One(origin) if origin.instance.as_str() == LONG));
    }

    #[test]
    fn a_long_hostile_name_costs_no_time() {
        let name = "i-0a1b2c3d".repeat(25);
        for template in ["{group}{region}{instance_id}", "{group}{instance_id}{group}{region}{account}"] {
            let _ = back(template, &name);
        }
    }
}
