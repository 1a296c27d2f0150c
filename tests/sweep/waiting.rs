//! Instances that wait at a hook of ours.

use std::sync::Arc;
use std::time::Duration;

use enrolld::aws::{Aws, AwsSettings};
use enrolld::config::{self, Environment};
use enrolld::core::call::{RouteId, ScopeId};
use enrolld::driver::services::{ScopeServices, Services};
use enrolld::event::Transition;
use enrolld::queue::Queue;
use enrolld::simulator::model::autoscaling::Place;
use enrolld::sweep::waiting::Seen;
use enrolld::sweep::{Found, Sweep};

use crate::{Bench, GROUP, configuration};

const ARN_TAIL: &str = ":eu-central-1:123456789012:enrolld-lifecycle";

/// What a sweep sees so much later.
async fn look(bench: &Bench, later: Duration) -> Seen {
    let endpoint = bench.simulator.endpoint();
    let config = config::parse(&configuration(&endpoint, "{instance_id}", "web-*"), "test", &Environment::new()).expect("it is valid");
    let settings = AwsSettings {
        region: Some("eu-central-1".into()),
        connect_timeout: Duration::from_secs(1),
        attempt_timeout: Duration::from_secs(5),
        call_timeout: Duration::from_secs(5),
        worker: "test".into(),
        scopes: Vec::new(),
    };
    let aws = Aws::fixed(&settings, &endpoint, "AKIATEST").expect("there is a region");
    let queue = Queue::new(&aws, config.queue_url.as_str(), None);
    let facts = queue.describe().await.expect("the queue is there");
    let scopes = vec![ScopeServices::new(aws.scope(ScopeId(0)))];
    let services = Services { queue, scopes, keys: Vec::new(), registrars: Vec::new() };
    let (_tell, stop) = tokio::sync::watch::channel(false);
    let sweep = Sweep {
        services,
        settings: config.core_settings(),
        route: RouteId(0),
        facts,
        apply: false,
        wait: Duration::from_secs(1),
        stop,
        found: Found::default(),
    };
    let now = jiff::Timestamp::now().as_second() + i64::try_from(later.as_secs()).expect("it is short");
    Arc::new(sweep).waiting(ARN_TAIL, now).await
}

const LATER: Duration = Duration::from_secs(600);

/// An instance that waits for its enrolment, and whose message is in the queue.
fn waits(bench: &Bench) -> String {
    let launched = bench.simulator.with(|world, now| world.launch(now, GROUP, 1, Place::AutoScalingGroup, None)).expect("there is room");
    bench.simulator.skip(1000);
    launched[0].to_string()
}

/// Takes the message away, as a mistaken purge does.
fn lose_messages(bench: &Bench) {
    bench.simulator.with(|world, now| {
        let root = world.root();
        let request = serde_json::json!({ "QueueUrl": "http://x/123456789012/enrolld-lifecycle" });
        let request = serde_json::from_value(request).expect("it is a request");
        world.purge_queue(now, &root, &request).expect("the queue is there");
    });
}

#[tokio::test]
async fn an_instance_that_waits_without_a_message_is_told_of_and_left_as_it_is() {
    let bench = Bench::with("waits", "{instance_id}", "web-*", |_| {}).await;
    let id = waits(&bench);
    lose_messages(&bench);
    let seen = look(&bench, LATER).await;
    assert!(seen.failures.is_empty() && seen.perhaps.is_empty(), "{seen:?}");
    let [one] = seen.without_message.as_slice() else { panic!("{seen:?}") };
    assert_eq!((one.instance.as_str(), one.transition), (id.as_str(), Transition::Launching));
    assert!(one.line().contains("at enrol-on-launch"), "{}", one.line());
    let remarks = seen.remarks().join("\n");
    assert!(remarks.contains("approximate") && remarks.contains("ABANDON") && remarks.contains("Nothing was completed"), "{remarks}");
    let calls = bench.simulator.state(true).calls;
    assert!(!calls.keys().any(|call| call.contains("Complete") || call.contains("Heartbeat")), "{calls:?}");
}

#[tokio::test]
async fn an_instance_whose_message_may_be_there_is_not_given_up() {
    let bench = Bench::with("message", "{instance_id}", "web-*", |_| {}).await;
    waits(&bench);
    let seen = look(&bench, LATER).await;
    assert!(seen.without_message.is_empty(), "{seen:?}");
    assert_eq!((seen.perhaps.len(), seen.messages > 0), (1, true), "{seen:?}");
    assert!(seen.remarks().join("\n").contains("cannot be said"));
}

#[tokio::test]
async fn an_instance_whose_message_is_delayed_is_not_given_up() {
    let bench = Bench::with("delayed", "{instance_id}", "web-*", |fixture| {
        for queue in &mut fixture.queues {
            queue.attributes.insert("DelaySeconds".to_owned(), "900".to_owned());
        }
    })
    .await;
    waits(&bench);
    let seen = look(&bench, LATER).await;
    assert_eq!((seen.without_message.len(), seen.perhaps.len(), seen.messages), (0, 1, 1), "{seen:?}");
}

#[tokio::test]
async fn an_instance_that_has_not_waited_for_long_is_nothing_to_tell() {
    let bench = Bench::with("short", "{instance_id}", "web-*", |_| {}).await;
    waits(&bench);
    lose_messages(&bench);
    let seen = look(&bench, Duration::ZERO).await;
    assert_eq!((seen.without_message.len(), seen.perhaps.len(), seen.others), (0, 0, 1), "{seen:?}");
    assert!(seen.remarks().is_empty());
}

#[tokio::test]
async fn an_instance_that_waits_at_hooks_of_others_is_none_of_our_business() {
    let bench = Bench::with("others", "{instance_id}", "web-*", |fixture| {
        let queue = fixture.queues[0].name.clone();
        fixture.groups[0].hooks[0].delivery.as_mut().expect("the standard hook has one").queue = queue;
    })
    .await;
    waits(&bench);
    let seen = look(&bench, LATER).await;
    assert_eq!((seen.without_message.len(), seen.perhaps.len(), seen.others), (0, 0, 1), "{seen:?}");
}

#[tokio::test]
async fn a_termination_that_waits_without_a_message_is_told_of_too() {
    let bench = Bench::with("leaves", "{instance_id}", "web-*", |fixture| drop(fixture.groups[0].hooks.remove(0))).await;
    let id = bench.left_behind();
    lose_messages(&bench);
    let seen = look(&bench, LATER).await;
    let [one] = seen.without_message.as_slice() else { panic!("{seen:?}") };
    assert_eq!((one.instance.as_str(), one.transition), (id.as_str(), Transition::Terminating));
}

#[tokio::test]
async fn the_command_tells_of_an_instance_that_waits_with_what_is_known_of_its_message_and_what_to_do() {
    let bench = Bench::ago(LATER, "command-waits", "{instance_id}", "web-*", |_| {}).await;
    let id = waits(&bench);
    let told = async |message: &str, word: &str| {
        let ran = bench.sweep(&[], &["--output", "json"]).await;
        let report = ran.must_exit(0).json();
        let [one] = report["waiting"].as_array().expect("there is a list").as_slice() else { panic!("{report:#}") };
        assert_eq!((one["instance"].as_str(), one["message"].as_str()), (Some(id.as_str()), Some(message)), "{report:#}");
        assert_eq!((&one["group"], &one["hooks"]), (&GROUP.into(), &serde_json::json!(["enrol-on-launch"])), "{report:#}");
        assert!(one["waits_for_seconds"].as_u64().is_some_and(|seconds| (590..1200).contains(&seconds)), "{report:#}");
        let remarks = report["remarks"].as_array().expect("there is a list");
        assert_eq!(remarks.iter().filter(|remark| remark.as_str().is_some_and(|text| text.contains(word))).count(), 1, "{report:#}");

        let text = bench.sweep(&[], &[]).await.must_exit(0).stdout.clone();
        let line = text.lines().find(|line| line.starts_with("waiting")).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains(&id) && line.contains("at enrol-on-launch") && text.contains(word), "{text}");
    };
    told("unknown", "cannot be said").await;
    lose_messages(&bench);
    told("none", "complete-lifecycle-action").await;
    let calls = bench.simulator.state(true).calls;
    assert!(!calls.keys().any(|call| call.contains("Complete") || call.contains("Heartbeat")), "{calls:?}");
}

#[tokio::test]
async fn the_command_tells_nothing_of_what_waits_at_the_hooks_of_another_queue() {
    let bench = Bench::ago(LATER, "command-others", "{instance_id}", "web-*", |fixture| {
        let queue = fixture.queues[0].name.clone();
        fixture.groups[0].hooks[0].delivery.as_mut().expect("the standard hook has one").queue = queue;
    })
    .await;
    waits(&bench);
    let report = bench.sweep(&[], &["--output", "json"]).await.must_exit(0).json();
    assert_eq!((report["waiting"].clone(), report["remarks"].clone()), (serde_json::json!([]), serde_json::json!([])), "{report:#}");
}
