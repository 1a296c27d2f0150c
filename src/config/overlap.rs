//! Whether the right to write one parameter is a right to write another: IAM's stars span slashes.

use crate::names::Template;

/// What fills a template, as far as the configuration says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filled<'a> {
    /// The template.
    pub name: &'a Template,
    /// The route's patterns, which fill `{group}`.
    pub groups: &'a [String],
    /// Fills `{account}`; any account where it is not known.
    pub account: Option<&'a str>,
    /// Fills `{region}`; any region where it is not known.
    pub region: Option<&'a str>,
}

/// One step of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// This character.
    One(char),
    /// Any character.
    Any,
    /// Any number of characters of a kind.
    Many(Kind),
}

/// Kinds of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All of them, the slash too.
    All,
    /// `0`–`9`, `a`–`f`, as ids are written, accounts' too.
    Hex,
    /// `a`–`z`, `0`–`9` and `-`, as regions are written.
    Word,
}

impl Kind {
    fn has(self, c: char) -> bool {
        match self {
            Self::All => true,
            Self::Hex => c.is_ascii_digit() || ('a'..='f').contains(&c),
            Self::Word => c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
        }
    }
}

/// Whether a policy that lets the instances of a route write their keys lets them write some name that the other template makes.
/// What it cannot know, it takes for possible.
pub(super) fn may_write(keys: Filled<'_>, other: Filled<'_>) -> bool {
    let (rights, names) = (keys.patterns(Kind::All), other.patterns(Kind::Hex));
    rights.iter().any(|right| names.iter().any(|name| meet(right, name)))
}

impl Filled<'_> {
    /// A pattern for each of the groups', with an instance's id as this kind of characters: the policy that is printed has a star there.
    fn patterns(&self, id: Kind) -> Vec<Vec<Step>> {
        let by_group = self.name.source().contains("{group}");
        let groups = if by_group { self.groups } else { &self.groups[..self.groups.len().min(1)] };
        groups.iter().map(|group| self.pattern(id, group)).collect()
    }

    fn pattern(&self, id: Kind, group: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut rest = self.name.source();
        while let Some((text, (placeholder, behind))) =
            rest.split_once('{').and_then(|(text, behind)| Some((text, behind.split_once('}')?)))
        {
            steps.extend(text.chars().map(Step::One));
            let known =
                |value: Option<&str>, kind| value.map_or_else(|| vec![Step::Many(kind)], |value| value.chars().map(Step::One).collect());
            match placeholder {
                "instance_id" => steps.extend([Step::One('i'), Step::One('-'), Step::Many(id)]),
                "account" => steps.extend(known(self.account, Kind::Hex)),
                "region" => steps.extend(known(self.region, Kind::Word)),
                _ => steps.extend(group.chars().map(|c| match c {
                    '*' => Step::Many(Kind::All),
                    '?' => Step::Any,
                    c => Step::One(c),
                })),
            }
            rest = behind;
        }
        steps.extend(rest.chars().map(Step::One));
        steps
    }
}

/// Whether some text is matched by both.
fn meet(left: &[Step], right: &[Step]) -> bool {
    // Which beginnings of `right` some text can have matched that the beginning of `left` so far has matched too.
    let mut reached = vec![false; right.len() + 1];
    reached[0] = true;
    skip(&mut reached, right);
    for step in left {
        let mut next = vec![false; right.len() + 1];
        match step {
            Step::Many(kind) => {
                next.clone_from(&reached);
                for at in 0..right.len() {
                    if next[at] && takes(*kind, right[at]) {
                        next[at + 1] = true;
                    }
                }
            }
            one => {
                for at in (0..right.len()).filter(|at| reached[*at]) {
                    match right[at] {
                        Step::Many(kind) => next[at] |= takes(kind, *one),
                        other => next[at + 1] |= same(*one, other),
                    }
                }
            }
        }
        skip(&mut next, right);
        reached = next;
    }
    reached[right.len()]
}

/// A star may stand for nothing.
fn skip(reached: &mut [bool], right: &[Step]) {
    for (at, step) in right.iter().enumerate() {
        if matches!(step, Step::Many(_)) && reached[at] {
            reached[at + 1] = true;
        }
    }
}

/// Whether a star of this kind can stand for a step. All kinds have characters in common.
fn takes(kind: Kind, step: Step) -> bool {
    match step {
        Step::One(c) => kind.has(c),
        Step::Any | Step::Many(_) => true,
    }
}

/// Whether two single characters can be the same.
fn same(left: Step, right: Step) -> bool {
    match (left, right) {
        (Step::One(left), Step::One(right)) => left == right,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(keys: &str, groups: &[&str], other: &str, others: &[&str]) -> bool {
        let (keys, other) = (Template::new(keys).unwrap(), Template::new(other).unwrap());
        let owned = |groups: &[&str]| groups.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>();
        let (groups, others) = (owned(groups), owned(others));
        let account = Some("123456789012");
        may_write(
            Filled { name: &keys, groups: &groups, account, region: Some("eu-central-1") },
            Filled { name: &other, groups: &others, account, region: None },
        )
    }

    #[test]
    fn a_star_spans_slashes_and_what_stands_behind_it_still_counts() {
        let web = &["web-*"][..];
        for (keys, other) in [
            ("/enrolld/{instance_id}", "/enrolld/{instance_id}"),
            ("/enrolld/{instance_id}", "/enrolld/{instance_id}/certificate"),
            ("/enrolld/{instance_id}", "/enrolld/{instance_id}-certificate"),
            ("/enrolld/{instance_id}/key", "/enrolld/{instance_id}/signed/key"),
            ("/enrolld/{instance_id}/key", "/enrolld/{instance_id}/{group}/key"),
            ("/enrolld/{region}/{instance_id}", "/enrolld/{region}/{instance_id}/certificate"),
            ("/enrolld/{account}/{instance_id}", "/enrolld/123456789012/{instance_id}"),
        ] {
            assert!(may(keys, web, other, web), "{keys} {other}");
        }
        for (keys, other) in [
            ("/enrolld/{instance_id}/key", "/enrolld/{instance_id}/certificate"),
            ("/enrolld/{instance_id}/key", "/enrolld/{instance_id}/key/certificate"),
            ("/enrolld/{instance_id}", "/certificates/{instance_id}"),
            ("/enrolld/{instance_id}", "/enrolld/certificates/{instance_id}"),
            ("/enrolld/{region}/{instance_id}", "/enrolld/certificates/{instance_id}"),
            ("/enrolld/{account}/{instance_id}", "/enrolld/210987654321/{instance_id}"),
        ] {
            assert!(!may(keys, web, other, web), "{keys} {other}");
        }
    }

    #[test]
    fn groups_keep_apart_what_their_patterns_keep_apart() {
        let (keys, other) = ("/enrolld/{group}/{instance_id}", "/enrolld/{group}/{instance_id}/certificate");
        assert!(may(keys, &["db", "web-*"], other, &["web-blue"]));
        assert!(may(keys, &["web-?lue"], other, &["*-blue"]));
        assert!(!may(keys, &["web-*"], other, &["db-*"]));
        // A star of a group's spans slashes too.
        assert!(may(keys, &["*"], "/enrolld/certificates/{instance_id}", &["db"]));
        assert!(!may("/keys/{instance_id}", &["*"], "/certificates/{group}/{instance_id}", &["*"]));
    }
}
