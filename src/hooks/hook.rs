//! One lifecycle hook, as DescribeLifecycleHooks shows it.

use crate::event::Transition;
use crate::facts::ActionResult;
use crate::names::HookName;

/// A lifecycle hook of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its name.
    pub name: HookName,
    /// What it is for.
    pub transition: Transition,
    /// The ARN of the queue or topic that it notifies; none where EventBridge alone tells of it.
    pub target: Option<String>,
    /// The role by which Auto Scaling sends there.
    pub role: Option<String>,
    /// What stands in each of its notifications.
    pub metadata: Option<String>,
    /// How long it waits for a completion or a heartbeat, in seconds.
    pub heartbeat_s: u32,
    /// What an action ends with that nobody completes.
    pub default: ActionResult,
}

impl Hook {
    /// Whether `hooks attach` made it, or took it over.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        super::marker::is_marked(self.metadata.as_deref())
    }

    /// Where its notifications go, for people.
    #[must_use]
    pub fn goes_to(&self) -> &str {
        self.target.as_deref().unwrap_or("EventBridge alone")
    }

    /// Whether it notifies a queue itself, ours or another.
    #[must_use]
    pub fn names_a_queue(&self) -> bool {
        self.target.as_deref().and_then(|arn| arn.split(':').nth(2)) == Some("sqs")
    }
}
