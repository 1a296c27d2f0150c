//! From the hooks that there are and the one that is wanted to what is to be done, and how a person sees it.

use std::fmt;

use super::{Hook, marker};
use crate::event::Transition;
use crate::facts::ActionResult;
use crate::names::HookName;

/// The heartbeat time-out of a new hook, in seconds, where none was given: the API's own default.
const USUAL_HEARTBEAT_S: u32 = 3600;

/// A hook as it is wanted. What is not given stays as it is, and has its usual value in a new hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: HookName,
    /// What it is for.
    pub transition: Transition,
    /// The ARN of the queue or topic that it notifies; none for EventBridge.
    pub target: Option<String>,
    /// The role by which Auto Scaling sends there.
    pub role: Option<String>,
    /// Its heartbeat time-out, in seconds.
    pub heartbeat_s: Option<u32>,
    /// What an action ends with that nobody completes.
    pub default: ActionResult,
    /// Its metadata, with our mark in it ([`marker::own`]).
    pub metadata: Option<String>,
    /// Whether a hook of this name that is not ours is taken over.
    pub adopt: bool,
}

/// Why a hook is not made or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody else's hook has the name.
    #[error(
        "{word} hook {name} is there and was not made by this command (it notifies {target}): give it another name, or take it over with --adopt"
    )]
    NotOurs {
        /// `launch` or `terminate`.
        word: &'static str,
        /// The hook.
        name: HookName,
        /// Where it goes.
        target: String,
    },
    /// A hook of the name is for the other transition, which cannot be changed.
    #[error("hook {name} is there for the other transition: give the {word} hook another name")]
    OtherTransition {
        /// `launch` or `terminate`.
        word: &'static str,
        /// The hook.
        name: HookName,
    },
    /// Another hook tells of the same already.
    #[error(
        "{word} hook {other} tells enrolld of the same already, and each instance would be served twice: name that one \
         (--{word}-hook {other}), with --adopt if this command did not make it, or delete it first"
    )]
    Doubled {
        /// `launch` or `terminate`.
        word: &'static str,
        /// The one that is there.
        other: HookName,
    },
    /// Auto Scaling sends to a queue or topic only as a role.
    #[error("{word} hook {name} has no role yet: give --role-arn, a role as which Auto Scaling may send to {target}")]
    NoRole {
        /// `launch` or `terminate`.
        word: &'static str,
        /// The hook.
        name: HookName,
        /// Where it would send.
        target: String,
    },
    /// The metadata that is there leaves no room for the mark.
    #[error(
        "{word} hook {name} would have {length} characters of metadata with enrolld's mark in it, and 4000 is the most: give --metadata"
    )]
    NoRoom {
        /// `launch` or `terminate`.
        word: &'static str,
        /// The hook.
        name: HookName,
        /// How many it would have.
        length: usize,
    },
}

/// What is to be done about one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What is there; none where it is to be made.
    pub before: Option<Hook>,
    /// What is to be there.
    pub after: Hook,
}

/// Says what is to be done for a hook to be as it is wanted, beside the hooks that a group has.
///
/// # Errors
/// Why that must not be.
pub fn plan(present: &[Hook], wanted: &Wanted) -> Result<Change, Refusal> {
    let word = wanted.transition.as_str();
    let name = wanted.name.clone();
    let before = present.iter().find(|hook| hook.name == wanted.name);
    if let Some(before) = before {
        if before.transition != wanted.transition {
            return Err(Refusal::OtherTransition { word, name });
        }
        if !before.is_ours() && !wanted.adopt {
            return Err(Refusal::NotOurs { word, name, target: before.goes_to().to_owned() });
        }
    }
    let same_news = |hook: &&Hook| {
        let same_target = hook.target.is_some() && hook.target == wanted.target;
        hook.name != wanted.name && hook.transition == wanted.transition && (hook.is_ours() || same_target)
    };
    if let Some(other) = present.iter().find(same_news) {
        return Err(Refusal::Doubled { word, other: other.name.clone() });
    }
    let role = match (&wanted.target, wanted.role.clone().or_else(|| before.and_then(|hook| hook.role.clone()))) {
        // Without a target a role means nothing; what stands there is left alone.
        (None, _) => before.and_then(|hook| hook.role.clone()),
        (Some(target), None) => return Err(Refusal::NoRole { word, name, target: target.clone() }),
        (Some(_), role) => role,
    };
    let metadata = wanted.metadata.clone().unwrap_or_else(|| marker::marked(before.and_then(|hook| hook.metadata.as_deref())));
    let length = metadata.chars().count();
    if length > marker::LONGEST {
        return Err(Refusal::NoRoom { word, name, length });
    }
    let after = Hook {
        name,
        transition: wanted.transition,
        target: wanted.target.clone(),
        role,
        metadata: Some(metadata),
        heartbeat_s: wanted.heartbeat_s.or(before.map(|hook| hook.heartbeat_s)).unwrap_or(USUAL_HEARTBEAT_S),
        default: wanted.default,
    };
    Ok(Change { before: before.cloned(), after })
}

impl Change {
    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.before.as_ref() == Some(&self.after)
    }
}

/// A first line with `+` (made), `~` (changed) or `=` (as it is), and a line for each field that is new or changes.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match &self.before {
            None => '+',
            Some(_) if self.is_nothing() => '=',
            Some(_) => '~',
        };
        write!(f, "{sign} {} hook {}", self.after.transition.as_str(), self.after.name)?;
        let before = self.before.as_ref().map(fields);
        for (at, (field, after)) in fields(&self.after).into_iter().enumerate() {
            match before.as_ref().map(|fields| &fields[at].1) {
                None => write!(f, "\n    {field:<9}  {after}")?,
                Some(before) if *before != after => write!(f, "\n    {field:<9}  {before} -> {after}")?,
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn fields(hook: &Hook) -> [(&'static str, String); 5] {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    [
        ("target", hook.goes_to().to_owned()),
        ("role", or_none(&hook.role)),
        ("heartbeat", format!("{} s", hook.heartbeat_s)),
        ("default", hook.default.as_str().to_owned()),
        // Others write metadata too, and this goes to a terminal.
        ("metadata", or_none(&hook.metadata).escape_debug().to_string().replace("\\\"", "\"")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: &str = "arn:aws:sqs:eu-central-1:123456789012:enrolld";
    const ROLE: &str = "arn:aws:iam::123456789012:role/autoscaling-notify";

    fn name(text: &str) -> HookName {
        HookName::new(text).unwrap()
    }

    fn wanted() -> Wanted {
        Wanted {
            name: name("enrolld-launch"),
            transition: Transition::Launching,
            target: Some(QUEUE.into()),
            role: Some(ROLE.into()),
            heartbeat_s: None,
            default: ActionResult::Abandon,
            metadata: None,
            adopt: false,
        }
    }

    fn made() -> Hook {
        plan(&[], &wanted()).unwrap().after
    }

    #[test]
    fn a_hook_that_is_not_there_is_made_with_our_mark_and_is_then_as_it_is() {
        let change = plan(&[], &wanted()).unwrap();
        assert!(!change.is_nothing() && change.after.is_ours());
        assert_eq!(change.after.heartbeat_s, 3600);
        let text = change.to_string();
        assert!(text.starts_with("+ launch hook enrolld-launch\n") && text.contains(QUEUE) && text.contains("ABANDON"), "{text}");
        let again = plan(&[made()], &wanted()).unwrap();
        assert!(again.is_nothing());
        assert_eq!(again.to_string(), "= launch hook enrolld-launch");
    }

    #[test]
    fn what_is_not_given_stays_and_the_rest_is_shown_as_it_changes() {
        let before = Hook { heartbeat_s: 600, default: ActionResult::Continue, ..made() };
        let change = plan(&[before], &Wanted { role: None, ..wanted() }).unwrap();
        assert_eq!((change.after.heartbeat_s, change.after.role.as_deref()), (600, Some(ROLE)));
        assert_eq!(change.to_string(), "~ launch hook enrolld-launch\n    default    CONTINUE -> ABANDON");
    }

    #[test]
    fn somebody_elses_hook_of_the_name_is_left_alone_unless_it_is_taken_over() {
        let theirs = Hook { metadata: Some("theirs".into()), ..made() };
        assert!(matches!(plan(std::slice::from_ref(&theirs), &wanted()), Err(Refusal::NotOurs { .. })));
        let change = plan(&[theirs], &Wanted { adopt: true, ..wanted() }).unwrap();
        assert!(change.after.is_ours());
        assert!(change.after.metadata.as_deref().unwrap().contains("theirs"));
    }

    #[test]
    fn no_second_hook_is_made_that_tells_of_the_same() {
        let by_hand = Hook { name: name("by-hand"), metadata: None, ..made() };
        let refusal = plan(&[by_hand], &wanted()).unwrap_err();
        assert!(refusal.to_string().contains("--launch-hook by-hand"), "{refusal}");
        // By EventBridge there is no target to tell them by, but the mark.
        let ours = Hook { name: name("older"), target: None, ..made() };
        assert!(matches!(plan(&[ours], &Wanted { target: None, ..wanted() }), Err(Refusal::Doubled { .. })));
        let elsewhere = Hook { name: name("theirs"), metadata: None, target: Some("arn:aws:sns:x:1:y".into()), ..made() };
        assert!(plan(&[elsewhere], &wanted()).is_ok());
    }

    #[test]
    fn a_target_takes_a_role_and_eventbridge_takes_none() {
        let refusal = plan(&[], &Wanted { role: None, ..wanted() }).unwrap_err();
        assert!(refusal.to_string().contains("--role-arn"), "{refusal}");
        let change = plan(&[], &Wanted { role: None, target: None, ..wanted() }).unwrap();
        assert!(change.to_string().contains("EventBridge alone"));
    }

    #[test]
    fn a_hook_of_the_other_transition_is_not_turned_round() {
        let other = Hook { transition: Transition::Terminating, ..made() };
        assert!(matches!(plan(&[other], &wanted()), Err(Refusal::OtherTransition { .. })));
    }

    #[test]
    fn anothers_metadata_cannot_write_to_the_terminal() {
        let theirs = Hook { metadata: Some("\u{1b}[2J".into()), ..made() };
        let text = plan(&[theirs], &Wanted { adopt: true, ..wanted() }).unwrap().to_string();
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
