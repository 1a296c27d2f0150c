//! Each form in which an event may come, in both directions, and what the routes may say about its end.

use enrolld::core::observation::Outcome;
use enrolld::simulator::model::agent::{AgentOptions, Material};
use enrolld::simulator::model::autoscaling::{Form, LifecycleState, Place};

use crate::bench::{Bench, GROUP, LETTERS, SERVER, configuration, group, publishes_after};

const FORMS: [(&str, Form); 4] =
    [("web-direct", Form::Direct), ("web-sns", Form::Sns), ("web-sns-raw", Form::SnsRaw), ("web-eventbridge", Form::EventBridge)];

#[tokio::test]
async fn in_each_form_a_launch_goes_into_service_enrolled_and_a_termination_leaves_nothing_behind() {
    let bench = Bench::start(|fixture| fixture.groups = FORMS.iter().map(|(name, via)| group(name, *via)).collect()).await;
    let worker = bench.worker(|_| {});
    let mut launched: Vec<String> =
        FORMS.iter().map(|(name, _)| bench.launch_in(name, Place::AutoScalingGroup, Some(&publishes_after(300)))).collect();
    bench.until_in_service(&launched).await;
    bench.until_empty().await;
    launched.sort();
    assert_eq!(bench.nodes(SERVER), launched);

    launched.iter().for_each(|id| assert!(bench.simulator.with(|world, now| world.terminate(now, id))));
    for id in &launched {
        bench.until_state(id, LifecycleState::Terminated).await;
        assert!(bench.actions(id).iter().all(|action| action.result.as_deref() == Some("CONTINUE")));
    }
    bench.until_empty().await;
    assert!(bench.nodes(SERVER).is_empty());
    assert_eq!(bench.summary().counts.parameters, 0, "their keys are cleaned up");
    assert!(bench.is_empty(LETTERS));
    let mut outcomes: Vec<Outcome> = worker.until_ends(8).await.into_iter().map(|end| end.outcome).collect();
    outcomes.sort_by_key(|outcome| outcome.as_str());
    assert_eq!(outcomes, [[Outcome::Enrolled; 4], [Outcome::Left; 4]].concat());
}

#[tokio::test]
async fn a_launch_that_is_seen_pending_first_is_looked_at_again() {
    let bench = Bench::start(|fixture| {
        fixture.groups[0].options.pending_ms = 1000;
        // When the event comes, the instance is described as it was 700 ms ago: Pending.
        fixture.groups[0].options.described_after_ms = 700;
    })
    .await;
    let worker = bench.worker(|_| {});
    let launched = bench.launch(1);
    bench.until_in_service(&launched).await;
    bench.until_empty().await;
    assert!(bench.calls("autoscaling:DescribeAutoScalingInstances") >= 2, "{:?}", bench.summary().calls);
    assert_eq!(bench.calls("autoscaling:DescribeScalingActivities"), 0, "nobody doubted that it is there");
    assert_eq!(worker.until_ends(1).await[0].outcome, Outcome::Enrolled);
}

#[tokio::test]
async fn with_on_failure_continue_a_node_with_an_unusable_key_goes_into_service_and_the_failure_is_recorded() {
    let bench = Bench::start(|_| {}).await;
    let worker = bench.worker_with(&configuration(&bench.simulator.endpoint(), "on_failure = \"continue\""), |_| {});
    let launched = bench.launch_with(AgentOptions { material: Material::Garbage, ..AgentOptions::default() });
    bench.until_in_service(std::slice::from_ref(&launched)).await;
    bench.until_empty().await;
    assert!(bench.nodes(SERVER).is_empty());
    let letters = bench.queue(LETTERS).messages;
    assert_eq!(letters[0].attributes["EnrolldReason"], "not_pem");
    assert_eq!(letters[0].attributes["EnrolldOutcome"], "continued");
    assert_eq!(worker.outcomes(), [(Outcome::Continued, Some("not_pem".to_owned()))]);
    assert_eq!(bench.summary().groups[GROUP].abandoned, 0);
}

#[tokio::test]
async fn an_abandoned_launch_is_replaced_and_leaves_neither_node_nor_key() {
    let bench = Bench::start(|_| {}).await;
    let _worker = bench.worker(|_| {});
    let launched = bench.launch_with(AgentOptions { material: Material::Garbage, ..AgentOptions::default() });
    bench.until_state(&launched, LifecycleState::Terminated).await;
    bench.until("its replacement is in service", |bench| bench.simulator.with(|world, _| world.in_service(GROUP)).len() == 1).await;
    bench.until_empty().await;
    let replacement = bench.simulator.with(|world, _| world.in_service(GROUP))[0].to_string();
    assert_eq!(bench.nodes(SERVER), [replacement]);
    assert_eq!(bench.summary().counts.parameters, 1);
}

#[tokio::test]
async fn delete_key_on_success_takes_the_parameter_away_and_never_leaves_it() {
    let left_by = async |setting: &str| {
        let bench = Bench::start(|_| {}).await;
        let text = configuration(&bench.simulator.endpoint(), &format!("delete_key = \"{setting}\""));
        let _worker = bench.worker_with(&text, |_| {});
        let launched = bench.launch(3);
        bench.until_in_service(&launched).await;
        bench.until_empty().await;
        bench.summary().counts.parameters
    };
    assert_eq!(tokio::join!(left_by("never"), left_by("on_success")), (3, 0));
}
