//! What a group's lifecycle hooks must be for its instances to be enrolled and to leave.

use std::time::Duration;

use aws_sdk_autoscaling::types::LifecycleHook;

use super::report::Report;
use crate::config::Route;
use crate::core::settings::OnFailure;
use crate::names::HookName;

const LAUNCHING: &str = "autoscaling:EC2_INSTANCE_LAUNCHING";
const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";

/// The default of `HeartbeatTimeout`, where a hook does not say.
const USUAL_HEARTBEAT_S: i32 = 3600;
/// The longest that any hook lasts, and how many heartbeat time-outs: whichever is shorter.
const LONGEST_HOOK_S: u64 = 48 * 60 * 60;
const MOST_HEARTBEATS: u64 = 100;

/// Where a hook's notifications go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The worker's queue.
    Ours,
    /// An SNS topic, which may pass them on to the queue.
    Topic,
    /// Nowhere by itself: EventBridge tells of every hook, and a rule may pass that on to the queue.
    None,
    /// Somewhere else.
    Other,
}

fn target(hook: &LifecycleHook, queue_arn: &str) -> Target {
    match hook.notification_target_arn().unwrap_or_default() {
        "" => Target::None,
        arn if arn == queue_arn => Target::Ours,
        arn if arn.split(':').nth(2) == Some("sns") => Target::Topic,
        _ => Target::Other,
    }
}

/// Looks at a group's hooks. Returns the names of those that are, or may be, ours.
pub(in crate::cli) fn judge(
    hooks: &[LifecycleHook],
    queue_arn: &str,
    about: &str,
    route: &Route,
    visibility: Duration,
    report: &mut Report,
) -> Vec<HookName> {
    let mut ours = Vec::new();
    for (transition, word) in [(LAUNCHING, "launch"), (TERMINATING, "terminate")] {
        let all: Vec<&LifecycleHook> = hooks.iter().filter(|hook| hook.lifecycle_transition() == Some(transition)).collect();
        // A hook that points here is ours; other teams' hooks stand beside it and are none of our business.
        let direct: Vec<&LifecycleHook> = all.iter().copied().filter(|hook| target(hook, queue_arn) == Target::Ours).collect();
        let indirect = || all.iter().copied().filter(|hook| matches!(target(hook, queue_arn), Target::Topic | Target::None)).collect();
        let candidates: Vec<&LifecycleHook> = if direct.is_empty() { indirect() } else { direct };
        for hook in &candidates {
            one(hook, target(hook, queue_arn), word, about, report);
            limits(hook, word, about, route, visibility, report);
            ours.extend(hook.lifecycle_hook_name().and_then(|name| HookName::new(name).ok()));
        }
        if let [one, other, ..] = candidates.iter().filter(|hook| target(hook, queue_arn) == Target::Ours).collect::<Vec<_>>()[..] {
            let names = [one, other].map(|hook| hook.lifecycle_hook_name().unwrap_or("?")).join(" and ");
            let found = format!("{word} hooks {names} both notify the queue, so that each instance is served twice");
            report.warn(about, found, "delete all but one of them while no instance waits");
        }
        if candidates.is_empty() {
            missing(&all, transition, word, queue_arn, about, report);
        }
    }
    ours
}

fn one(hook: &LifecycleHook, target: Target, word: &str, about: &str, report: &mut Report) {
    let name = hook.lifecycle_hook_name().unwrap_or("without a name");
    match target {
        Target::Ours => report.ok(about, format!("{word} hook {name} notifies the queue")),
        Target::Topic => report.not_tested(
            about,
            format!(
                "{word} hook {name} notifies the topic {}; whether that passes it on to the queue cannot be seen from here",
                hook.notification_target_arn().unwrap_or_default()
            ),
        ),
        Target::None => report.not_tested(
            about,
            format!(
                "{word} hook {name} has no target; whether an EventBridge rule passes its events on to the queue cannot be seen from here"
            ),
        ),
        Target::Other => {}
    }
}

fn missing(all: &[&LifecycleHook], transition: &str, word: &str, queue_arn: &str, about: &str, report: &mut Report) {
    let found = match all {
        [] => format!("it has no {word} hook"),
        others => {
            let names: Vec<String> = others
                .iter()
                .map(|hook| {
                    let name = hook.lifecycle_hook_name().unwrap_or("?");
                    format!("{name} (to {})", hook.notification_target_arn().unwrap_or("nowhere"))
                })
                .collect();
            format!("none of its {word} hooks notifies the queue: {}", names.join(", "))
        }
    };
    let remedy = format!("make a hook for {transition} whose target is {queue_arn}");
    if transition == LAUNCHING {
        report.fail(about, format!("{found}, so that its instances are never enrolled"), remedy);
    } else {
        report.warn(about, format!("{found}, so that its instances are never taken off the server"), remedy);
    }
}

/// Time-outs and default results.
fn limits(hook: &LifecycleHook, word: &str, about: &str, route: &Route, visibility: Duration, report: &mut Report) {
    let name = hook.lifecycle_hook_name().unwrap_or("without a name");
    let heartbeat = u64::try_from(hook.heartbeat_timeout().unwrap_or(USUAL_HEARTBEAT_S)).unwrap_or_default();
    let longest = (heartbeat * MOST_HEARTBEATS).min(LONGEST_HOOK_S);
    let longest = hook.global_timeout().and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0).unwrap_or(longest);
    if longest < route.timeout.as_secs() {
        let found = format!(
            "{word} hook {name} lasts {longest} s at most, however many heartbeats it gets, and route {} allows {} s",
            route.name,
            route.timeout.as_secs()
        );
        report.warn(about, found, "set a longer heartbeat time-out on the hook, or a shorter timeout in the route");
    }
    if heartbeat <= visibility.as_secs() {
        let found = format!(
            "{word} hook {name} runs out after {heartbeat} s without a heartbeat, and a crashed worker's messages come back only after \
             visibility_timeout ({} s)",
            visibility.as_secs()
        );
        report.warn(about, found, "set a longer heartbeat time-out on the hook, or a shorter visibility_timeout");
    }
    let default = hook.default_result().unwrap_or("ABANDON");
    if word == "launch" && default == "CONTINUE" && route.on_failure == OnFailure::Abandon {
        let found =
            format!("launch hook {name} has the default result CONTINUE: when it runs out, the instance goes into service unenrolled");
        report.warn(about, found, "set ABANDON, or on_failure = \"continue\" in the route if that is meant");
    }
    if word == "terminate" && default == "ABANDON" {
        let found = format!("terminate hook {name} has the default result ABANDON, which ends other hooks of the same termination too");
        report.warn(about, found, "set CONTINUE");
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;
    use crate::config::{Environment, parse};

    const QUEUE: &str = "arn:aws:sqs:eu-central-1:123456789012:enrolld";

    fn hook(name: &str, transition: &str, target: Option<&str>, default: &str, heartbeat: i32) -> LifecycleHook {
        LifecycleHook::builder()
            .lifecycle_hook_name(name)
            .lifecycle_transition(transition)
            .set_notification_target_arn(target.map(str::to_owned))
            .default_result(default)
            .heartbeat_timeout(heartbeat)
            .build()
    }

    fn good() -> Vec<LifecycleHook> {
        vec![hook("enrol", LAUNCHING, Some(QUEUE), "ABANDON", 3600), hook("leave", TERMINATING, Some(QUEUE), "CONTINUE", 3600)]
    }

    fn judged(hooks: &[LifecycleHook]) -> (Vec<HookName>, Vec<(Verdict, String)>) {
        let config = parse(include_str!("../../../deploy/enrolld.example.toml"), "example", &Environment::new()).unwrap();
        let mut report = Report::default();
        let ours = judge(hooks, QUEUE, "group web", &config.routes[0], Duration::from_secs(120), &mut report);
        (ours, report.findings().iter().map(|finding| (finding.result, finding.found.clone())).collect())
    }

    #[test]
    fn both_hooks_that_notify_the_queue_are_ok() {
        let (ours, found) = judged(&good());
        assert_eq!(ours.len(), 2);
        assert!(found.iter().all(|(verdict, _)| *verdict == Verdict::Ok), "{found:?}");
    }

    #[test]
    fn a_group_without_a_launch_hook_fails_and_without_a_terminate_hook_warns() {
        let (_, found) = judged(&good()[1..]);
        assert!(found.iter().any(|(verdict, found)| *verdict == Verdict::Fail && found.contains("no launch hook")), "{found:?}");
        let (_, found) = judged(&good()[..1]);
        assert!(found.iter().any(|(verdict, found)| *verdict == Verdict::Warn && found.contains("no terminate hook")), "{found:?}");
    }

    #[test]
    fn a_hook_that_notifies_another_queue_fails_and_is_not_ours() {
        let other = "arn:aws:sqs:eu-central-1:123456789012:other";
        let (ours, found) = judged(&[hook("enrol", LAUNCHING, Some(other), "ABANDON", 3600)]);
        assert!(ours.is_empty());
        assert!(found.iter().any(|(verdict, found)| *verdict == Verdict::Fail && found.contains("enrol (to arn:aws:sqs")), "{found:?}");
    }

    #[test]
    fn a_topic_or_a_rule_between_is_said_to_be_not_tested() {
        let topic = "arn:aws:sns:eu-central-1:123456789012:hooks";
        for (target, word) in [(Some(topic), "topic"), (None, "EventBridge")] {
            let (ours, found) = judged(&[hook("enrol", LAUNCHING, target, "ABANDON", 3600)]);
            assert_eq!(ours.len(), 1);
            assert!(found.iter().any(|(verdict, found)| *verdict == Verdict::NotTested && found.contains(word)), "{found:?}");
        }
    }

    #[test]
    fn another_teams_hook_beside_ours_is_left_alone() {
        let mut hooks = good();
        hooks.push(hook("theirs", LAUNCHING, Some("arn:aws:sns:eu-central-1:123456789012:theirs"), "CONTINUE", 30));
        let (ours, found) = judged(&hooks);
        assert_eq!(ours.len(), 2);
        assert!(found.iter().all(|(_, found)| !found.contains("theirs")), "{found:?}");
    }

    #[test]
    fn default_results_that_let_instances_slip_and_hooks_that_end_early_are_warned_of() {
        let (_, found) =
            judged(&[hook("enrol", LAUNCHING, Some(QUEUE), "CONTINUE", 15), hook("leave", TERMINATING, Some(QUEUE), "ABANDON", 3600)]);
        for text in ["goes into service unenrolled", "ends other hooks", "lasts 1500 s at most", "runs out after 15 s"] {
            assert!(found.iter().any(|(verdict, found)| *verdict == Verdict::Warn && found.contains(text)), "{text}: {found:?}");
        }
    }
}
