//! Sending back: what goes, what stays, and that nothing is lost on the way.

use enrolld::simulator::model::autoscaling::{LifecycleState, Place};
use enrolld::simulator::model::faults::Effect;

use crate::{Bench, GROUP, LETTERS, MAIN, configuration, instance, signal, termination};

async fn with_letters(name: &str, count: usize) -> Bench {
    let bench = Bench::start(name, |_| {}).await;
    for number in 0..count {
        let reason = if number % 2 == 0 { "no_route" } else { "deadline" };
        bench.letter(&[("EnrolldReason", reason), ("EnrolldDetail", "why")], &termination(&instance(number)));
    }
    bench
}

#[tokio::test]
async fn without_a_filter_all_must_be_said() {
    let bench = with_letters("all", 2).await;
    let ran = bench.redrive(&[]).await;
    assert!(ran.must_exit(2).stderr.contains("--all"), "{}", ran.stderr);
    bench.redrive(&["--all", "--reason", "x"]).await.must_exit(2);
    bench.letters_must_be(2);
    assert_eq!(bench.queue(LETTERS).counts.received, 0);
}

#[tokio::test]
async fn the_chosen_ones_go_back_with_their_bodies_unchanged_and_the_others_stay() {
    let bench = with_letters("chosen", 25).await;
    let odd = "\u{feff}  {\"not\": \"json\",,}\n\t\u{fffd} größe";
    bench.letter(&[("EnrolldReason", "no_route")], odd);
    let ran = bench.redrive(&["--reason", "no_route"]).await;
    let text = &ran.must_exit(0).stdout;
    assert!(text.contains("14 sent back") && text.contains("14 of 26 dead letters chosen"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("sent back") && line.contains("no_route")).count(), 14, "{text}");
    bench.letters_must_be(12);
    let main = bench.queue(MAIN);
    assert_eq!(main.visible, 14);
    assert!(main.messages.iter().all(|message| message.attributes.is_empty()));
    assert!(bench.bodies(MAIN).contains(&odd.to_owned()) && bench.bodies(MAIN).contains(&termination(&instance(0))));
    assert!(bench.bodies(LETTERS).iter().all(|body| !bench.bodies(MAIN).contains(body)));
}

#[tokio::test]
async fn what_sqs_moved_goes_back_unless_it_came_from_another_queue() {
    let bench = Bench::start("shared", |fixture| {
        fixture.queues[1].dead_letters.as_mut().expect("the standard queue has one").max_receive_count = 2;
        let mut other = fixture.queues[1].clone();
        other.name = "orders".into();
        fixture.queues.push(other);
    })
    .await;
    bench.moved_by_sqs(MAIN, "ours");
    bench.moved_by_sqs("orders", "another's");
    let ran = bench.redrive(&["--reason", "moved_by_sqs"]).await;
    assert!(ran.must_exit(1).stdout.contains("from another queue"), "{}", ran.stdout);
    assert_eq!((bench.bodies(MAIN), bench.bodies(LETTERS)), (vec!["ours".to_owned()], vec!["another's".to_owned()]));
    // It had runs before, and its node may be left from one of them.
    assert!(bench.queue(MAIN).messages.iter().all(|message| message.attributes.contains_key("EnrolldEarlierRun")));
    bench.letters_must_be(1);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let bench = with_letters("dry", 3).await;
    let report = bench.redrive(&["--all", "--dry-run", "--output", "json"]).await.must_exit(0).json();
    assert_eq!((&report["would_send_back"], &report["sent_back"]), (&3.into(), &0.into()), "{report:#}");
    assert_eq!(report["letters"][0]["result"], "would_send_back");
    bench.letters_must_be(3);
    assert_eq!(bench.queue(MAIN).counts.sent, 0);
}

#[tokio::test]
async fn one_that_cannot_be_sent_stays_and_stops_no_other() {
    let bench = with_letters("one-fails", 12).await;
    let refused = Effect::Error { status: 400, code: Some("InvalidMessageContents".into()), message: Some("not this one".into()) };
    bench.fault("sqs:SendMessage", refused, Some(1));
    let report = bench.redrive(&["--all", "--output", "json"]).await.must_exit(1).json();
    assert_eq!((&report["sent_back"], &report["failed"]), (&11.into(), &1.into()), "{report:#}");
    assert!(report.to_string().contains("InvalidMessageContents"));
    bench.letters_must_be(1);
    assert_eq!(bench.queue(MAIN).visible, 11);
}

#[tokio::test]
async fn throttling_and_outages_that_pass_fail_nothing() {
    let bench = with_letters("passing", 12).await;
    for operation in ["sqs:SendMessage", "sqs:DeleteMessageBatch", "sqs:ReceiveMessage", "sqs:GetQueueAttributes"] {
        bench.fault(operation, Effect::Error { status: 503, code: None, message: None }, Some(2));
    }
    bench.redrive(&["--all"]).await.must_exit(0);
    bench.letters_must_be(0);
    assert_eq!(bench.queue(MAIN).visible, 12);
}

#[tokio::test]
async fn one_that_was_sent_and_cannot_be_deleted_is_said_to_be_both() {
    let bench = with_letters("undeleted", 1).await;
    bench.fault("sqs:DeleteMessageBatch", Effect::Error { status: 403, code: Some("AccessDenied".into()), message: None }, None);
    let ran = bench.redrive(&["--all"]).await;
    let text = &ran.must_exit(1).stdout;
    assert!(text.contains("it was sent back, and could not be deleted here: AccessDenied"), "{text}");
    bench.letters_must_be(1);
    assert_eq!(bench.queue(MAIN).visible, 1);
}

#[tokio::test]
async fn an_interrupt_sends_nothing_more_and_gives_the_rest_back() {
    let bench = with_letters("interrupt", 60).await;
    bench.fault("sqs:SendMessage", Effect::Latency { ms: 500, jitter_ms: 0 }, None);
    let child = bench.command(&["dead-letters", "redrive", "--all"]).spawn().expect("the binary was built for this test");
    let id = child.id();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    bench.until(|bench| bench.queue(MAIN).counts.sent > 0).await;
    signal("INT", id);
    let ran = crate::Ran::of(&ended.await.expect("waiting does not panic").expect("it ends"));
    assert!(ran.must_exit(1).stdout.contains("not reached"), "{}", ran.stdout);
    let sent = bench.queue(MAIN).visible;
    assert!((1..60).contains(&sent), "{sent}");
    bench.letters_must_be(60 - sent);
}

#[tokio::test]
async fn a_launch_that_had_no_route_is_enrolled_once_it_has_one_and_was_sent_back() {
    let bench = Bench::start("whole-way", |_| {}).await;
    let good = configuration(&bench.simulator.endpoint(), "web-*");
    std::fs::write(&bench.config, good.replace("web-*", "batch-*")).expect("the folder is there to be written to");
    let launched = bench.simulator.with(|world, now| world.launch(now, GROUP, 1, Place::AutoScalingGroup, None)).expect("there is room");
    let id = launched[0].to_string();
    bench.work_until(|bench| bench.queue(LETTERS).visible > 0).await;
    let report = bench.list(&["--output", "json", "--reason", "no_route"]).await.must_exit(0).json();
    assert_eq!((&report["letters"][0]["instance"], &report["letters"][0]["outcome"]), (&id.as_str().into(), &"dead_lettered".into()));

    std::fs::write(&bench.config, good).expect("the folder is there to be written to");
    bench.redrive(&["--instance", &id]).await.must_exit(0);
    bench.letters_must_be(0);
    bench.work_until(|bench| bench.simulator.with(|world, _| world.lifecycle_state(&id)) == Some(LifecycleState::InService)).await;
    assert!(bench.simulator.state(true).servers[crate::SERVER].nodes.contains_key(&id));
}
