//! Instances that wait at a hook of ours, with no message to be seen.
//!
//! Nothing shows which hook an instance waits at, or which message is about it. What can be seen: that it waits, since when its scaling
//! activity runs, that its group has a hook of ours for that transition, and about how many messages the queue holds. An instance that
//! has waited for longer than a message stays hidden, while the queue holds none, is waited for by nobody, as far as that can be known:
//! SQS counts approximately. So it is told, with what a person can do, and nothing is completed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Sweep;
use crate::dead_letters::Said;
use crate::event::Transition;
use crate::facts::{InstanceSeen, LifecycleState};
use crate::lifecycle::HookTarget;
use crate::names::{GroupName, HookName, InstanceId};
use crate::queue::Depth;
use crate::removal::retried;
use crate::retry::Failure;

/// So many are told of; who has more has one cause for all of them.
pub const MOST: usize = 1000;
/// Pages of instances that are read: 100,000 instances.
const MOST_INSTANCE_PAGES: usize = 2000;
/// Pages of a group's activities that are read for those that wait; what runs is among the newest.
const MOST_ACTIVITY_PAGES: usize = 20;

/// An instance that waits at a hook of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The instance.
    pub instance: InstanceId,
    /// Its group.
    pub group: GroupName,
    /// Which way it goes.
    pub transition: Transition,
    /// The group's hooks of ours for that transition: it waits at one of them, or at somebody else's.
    pub hooks: Vec<HookName>,
    /// For how many seconds its scaling activity runs; none where no activity was found.
    pub for_s: Option<u64>,
}

/// What was seen of instances that wait.
#[derive(Debug, Default)]
pub struct Seen {
    /// Those that wait for longer than a message stays hidden, while the queue holds none.
    pub without_message: Vec<Waiting>,
    /// Those that wait for as long while the queue holds messages: theirs may be among them.
    pub perhaps: Vec<Waiting>,
    /// How many wait for less long, or at no hook of ours.
    pub others: usize,
    /// About how many messages the queue held: the larger of two counts, one before the look and one after it.
    pub messages: u64,
    /// Whether there were more than were looked at.
    pub more: bool,
    /// What could not be asked.
    pub failures: Vec<String>,
}

impl Sweep {
    /// Looks for instances of the route's groups that wait. `queue_arn_tail` is the ending of the queue's ARN, from the region on; `now_s`
    /// the time in Unix seconds.
    pub async fn waiting(&self, queue_arn_tail: &str, now_s: i64) -> Seen {
        let mut seen = Seen::default();
        let before = self.depth(&mut seen).await;
        let by_group = self.waiting_by_group(&mut seen).await;
        if by_group.is_empty() {
            return seen;
        }
        let mut waiting = Vec::new();
        for (group, instances) in by_group {
            match self.of_group(&group, &instances, queue_arn_tail, now_s).await {
                Ok(found) => {
                    seen.others += instances.len() - found.len();
                    waiting.extend(found);
                }
                Err(failure) => seen.failures.push(format!("the hooks or activities of {}: {failure}", Said::new(group.as_str()))),
            }
        }
        // One that waits is looked at between the two counts, so that its message was in neither.
        let after = self.depth(&mut seen).await;
        let (Some(before), Some(after)) = (before, after) else { return seen };
        seen.messages = before.all().max(after.all());
        let long = self.settings.visibility.as_secs();
        for one in waiting {
            if one.for_s.is_some_and(|seconds| seconds <= long) {
                seen.others += 1;
            } else if seen.messages == 0 && one.for_s.is_some() {
                seen.without_message.push(one);
            } else {
                seen.perhaps.push(one);
            }
        }
        seen
    }

    async fn depth(&self, seen: &mut Seen) -> Option<Depth> {
        let depth = retried(async || self.services.queue.depth().await).await;
        depth.map_err(|failure| seen.failures.push(format!("how much the queue holds: {failure}"))).ok()
    }

    async fn waiting_by_group(&self, seen: &mut Seen) -> BTreeMap<GroupName, Vec<InstanceSeen>> {
        let mut by_group: BTreeMap<GroupName, Vec<InstanceSeen>> = BTreeMap::new();
        let (mut after, mut found) = (None, 0);
        for _ in 0..MOST_INSTANCE_PAGES {
            let page = match retried(async || self.lifecycle().instances(after.clone()).await).await {
                Ok(page) => page,
                Err(failure) => {
                    seen.failures.push(format!("which instances wait: {failure}"));
                    break;
                }
            };
            for instance in page.items {
                let waits = transition(instance.state, None).is_some();
                if !waits || !self.takes_route(&instance.group) {
                    continue;
                }
                if found == MOST {
                    seen.more = true;
                    return by_group;
                }
                found += 1;
                by_group.entry(instance.group.clone()).or_default().push(instance);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        by_group
    }

    /// Those of one group that wait at a hook that may be ours, each with since when.
    async fn of_group(
        &self,
        group: &GroupName,
        instances: &[InstanceSeen],
        queue_arn_tail: &str,
        now_s: i64,
    ) -> Result<Vec<Waiting>, Failure> {
        let hooks = retried(async || self.lifecycle().hook_targets(group).await).await?;
        let mut open: BTreeSet<&InstanceId> = instances.iter().map(|seen| &seen.instance).collect();
        let mut began: BTreeMap<InstanceId, (Transition, i64)> = BTreeMap::new();
        let mut after = None;
        for _ in 0..MOST_ACTIVITY_PAGES {
            let page = retried(async || self.lifecycle().activities(group, after.clone()).await).await?;
            for activity in page.items {
                // The newest is the one under way.
                if open.remove(&activity.instance)
                    && let Some(under_way) = activity.under_way
                {
                    began.insert(activity.instance, under_way);
                }
            }
            after = page.next;
            if after.is_none() || open.is_empty() {
                break;
            }
        }
        let waiting = instances.iter().filter_map(|seen| {
            let began = began.get(&seen.instance).copied();
            let transition = transition(seen.state, began.map(|(transition, _)| transition))?;
            let ours = hooks.iter().filter(|hook| is_ours(hook, transition, queue_arn_tail));
            let hooks: Vec<HookName> = ours.map(|hook| hook.hook.name.clone()).collect();
            let for_s = began.map(|(_, since)| u64::try_from(now_s.saturating_sub(since)).unwrap_or(0));
            let one = Waiting { instance: seen.instance.clone(), group: seen.group.clone(), transition, hooks, for_s };
            (!one.hooks.is_empty()).then_some(one)
        });
        Ok(waiting.collect())
    }
}

/// Which way an instance goes that waits. An instance on its way back into the warm pool shows the same state as one on its way into it.
fn transition(state: LifecycleState, by_activity: Option<Transition>) -> Option<Transition> {
    match state {
        LifecycleState::PendingWait => Some(Transition::Launching),
        LifecycleState::WarmedPendingWait => Some(by_activity.unwrap_or(Transition::Launching)),
        LifecycleState::TerminatingWait => Some(Transition::Terminating),
        _ => None,
    }
}

/// Whether a hook may notify our queue: by its target, or by a way (a topic, EventBridge) that does not show where it leads.
fn is_ours(hook: &HookTarget, transition: Transition, queue_arn_tail: &str) -> bool {
    hook.hook.launching == (transition == Transition::Launching)
        && hook.target.as_ref().is_none_or(|target| !target.contains(":sqs:") || target.ends_with(queue_arn_tail))
}

impl Waiting {
    /// A line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let since = self.for_s.map_or_else(|| "nobody knows how long".to_owned(), |seconds| format!("{seconds} s"));
        let hooks: Vec<&str> = self.hooks.iter().map(HookName::as_str).collect();
        format!(
            "{:<18}  {}  its {} waits in {} for {since}, at {}",
            "waiting",
            self.instance,
            self.transition.as_str(),
            Said::new(self.group.as_str()),
            hooks.join(" or "),
        )
    }

    /// The same as JSON; `message` says whether one may be there.
    #[must_use]
    pub fn json(&self, message: &str) -> Value {
        json!({
            "instance": self.instance.as_str(),
            "group": Said::new(self.group.as_str()),
            "transition": self.transition.as_str(),
            "hooks": self.hooks.iter().map(HookName::as_str).collect::<Vec<_>>(),
            "waits_for_seconds": self.for_s,
            "message": message,
        })
    }
}

impl Seen {
    /// What has to be said of them: what is known, what is not, and what to do.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let instances = |count: usize| if count == 1 { "1 instance waits".to_owned() } else { format!("{count} instances wait") };
        if !self.without_message.is_empty() {
            remarks.push(format!(
                "{} at a hook of ours for longer than a message stays hidden, while the queue holds none: as far as SQS's approximate counts \
                 tell, no worker will come. Look for the message with `enrolld dead-letters list --instance ID`, and send it back with \
                 `redrive`. If it is lost, the hook's own time-out ends the wait with the hook's default result; sooner with `aws autoscaling \
                 complete-lifecycle-action --auto-scaling-group-name GROUP --lifecycle-hook-name HOOK --instance-id ID \
                 --lifecycle-action-result RESULT`: for a launch ABANDON, so that the group launches another, which is enrolled; for a \
                 termination CONTINUE, and a later sweep takes the node off. Nothing was completed here",
                instances(self.without_message.len())
            ));
        }
        if !self.perhaps.is_empty() {
            remarks.push(format!(
                "{} at a hook of ours, and whether a message is on its way cannot be said: the queue holds about {}, or no scaling activity \
                 tells since when. If workers run, sweep again once the queue is empty",
                instances(self.perhaps.len()),
                self.messages
            ));
        }
        if self.more {
            remarks.push(format!("more than {MOST} instances wait; the others were not looked at"));
        }
        remarks.extend(self.failures.iter().map(|failure| format!("could not be asked: {failure}")));
        remarks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::HookFacts;

    fn hook(launching: bool, target: Option<&str>) -> HookTarget {
        let hook = HookFacts {
            name: HookName::new("h").unwrap(),
            launching,
            heartbeat_timeout_s: 60,
            global_timeout_s: 600,
            default_continue: false,
            metadata: None,
        };
        HookTarget { hook, target: target.map(str::to_owned) }
    }

    #[test]
    fn a_hook_that_notifies_another_queue_is_not_ours() {
        let tail = ":eu-central-1:123456789012:hooks";
        let ours = |target| is_ours(&hook(true, target), Transition::Launching, tail);
        assert!(ours(Some("arn:aws:sqs:eu-central-1:123456789012:hooks")));
        assert!(!ours(Some("arn:aws:sqs:eu-central-1:123456789012:others-hooks")));
        assert!(ours(Some("arn:aws:sns:eu-central-1:123456789012:topic")) && ours(None), "nothing shows where these lead");
        assert!(!is_ours(&hook(false, None), Transition::Launching, tail));
    }

    #[test]
    fn an_instance_that_goes_back_into_the_pool_waits_at_the_hooks_of_terminations() {
        let state = LifecycleState::WarmedPendingWait;
        assert_eq!(transition(state, None), Some(Transition::Launching));
        assert_eq!(transition(state, Some(Transition::Terminating)), Some(Transition::Terminating));
        assert_eq!(transition(LifecycleState::Living, None), None);
    }
}
