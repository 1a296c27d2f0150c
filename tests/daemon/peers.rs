//! What is known to have gone wrong in other workers of this kind: each test is named after that, and shows that it does not here.

use std::time::Duration;

use enrolld::core::observation::Outcome;
use enrolld::simulator::model::agent::{AgentOptions, Material, material};
use enrolld::simulator::model::autoscaling::{Closing, LifecycleState, Place};
use enrolld::simulator::model::faults::Effect;
use enrolld::simulator::model::opsworks_cm::wire::ServerStatus;

use crate::bench::{Bench, GROUP, LETTERS, QUEUE, SERVER, configuration, never_publishes, publishes_after};
use crate::odd_messages::Launch;
use crate::process::Process;

fn key_of(instance: &str) -> String {
    material(&Material::Good, 1, instance)
}

#[tokio::test]
async fn several_messages_received_one_processed_all_deleted_node_termination_handler_360() {
    let bench = Bench::start(|_| {}).await;
    let waiting: Vec<String> = (0..9).map(|_| bench.launch_with(never_publishes())).collect();
    let ready = bench.launch(1);
    bench.until("all are told of", |bench| bench.summary().queues[QUEUE].visible == 10).await;
    let worker = bench.worker(|_| {});
    bench.until_in_service(&ready).await;
    bench.until("its message is gone", |bench| bench.summary().queues[QUEUE].counts.deleted == 1).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let queue = &bench.summary().queues[QUEUE];
    assert_eq!((queue.counts.received, queue.counts.deleted, queue.in_flight), (10, 1, 9), "ten were received together, one is done");

    waiting.iter().for_each(|id| bench.publish(id, key_of(id)));
    bench.until_in_service(&waiting).await;
    bench.until_empty().await;
    assert_eq!(worker.until_ends(10).await.len(), 10);
    assert_eq!(bench.queue(QUEUE).counts.received, 10);
}

#[tokio::test]
async fn an_event_for_a_node_that_is_not_there_yet_is_rejected_and_deleted_for_good_lifecycle_manager_282() {
    let bench = Bench::start(|fixture| {
        // The event comes long before Auto Scaling lists the instance, which is Pending then for a while.
        fixture.groups[0].options.described_after_ms = 1200;
        fixture.groups[0].options.pending_ms = 400;
        fixture.groups[0].options.agent = publishes_after(2500);
    })
    .await;
    // Patience is for events that stay untrue; it is longer than what a sighting lags behind, as in a real configuration.
    let worker = bench.worker(|config| config.patience = Duration::from_secs(10));
    let launched = bench.launch(3);
    bench.until_in_service(&launched).await;
    bench.until_empty().await;
    assert!(worker.ends().iter().all(|end| end.outcome == Outcome::Enrolled), "{:?}", worker.ends());
    assert!(bench.is_empty(LETTERS));
}

#[tokio::test]
async fn the_message_is_deleted_before_it_is_parsed_lifecycled() {
    let bench = Bench::start(|_| {}).await;
    // What cannot be parsed is deleted only once its letter stands, however long that takes.
    bench.fault("sqs:SendMessage", Effect::Error { status: 503, code: None, message: None });
    bench.send("{\"cut\":");
    let _worker = bench.worker(|_| {});
    bench.until("the letter is tried again", |bench| bench.calls("sqs:SendMessage") >= 3).await;
    assert_eq!(bench.queue(QUEUE).counts.deleted, 0);
    assert!(bench.is_empty(LETTERS) && !bench.is_empty(QUEUE));
    bench.mend();
    bench.until_empty().await;
    assert_eq!(bench.letters(), [("{\"cut\":".to_owned(), Some("not_json".to_owned()))]);
}

#[tokio::test]
async fn the_message_is_deleted_before_the_lifecycle_action_is_completed_lifecycle_manager() {
    let bench = Bench::start(|_| {}).await;
    bench.fault("autoscaling:CompleteLifecycleAction", Effect::Error { status: 503, code: None, message: None });
    let worker = bench.worker(|_| {});
    let launched = bench.launch(1);
    bench.until("completing is tried again", |bench| bench.calls("autoscaling:CompleteLifecycleAction") >= 3).await;
    assert_eq!(bench.state_of(&launched[0]), LifecycleState::PendingWait);
    let queue = &bench.summary().queues[QUEUE];
    assert_eq!((queue.in_flight, queue.counts.deleted), (1, 0));
    bench.mend();
    bench.until_in_service(&launched).await;
    bench.until_empty().await;
    assert_eq!(worker.until_ends(1).await[0].outcome, Outcome::Enrolled);
}

#[tokio::test]
async fn one_failing_event_ends_the_process_crash_loop_node_termination_handler_272_367() {
    let bench = Bench::start(|fixture| fixture.groups[0].options.replace_abandoned = false).await;
    let mut process = Process::start(&bench, "failing-events", &configuration(&bench.simulator.endpoint(), ""), &[]);
    // One of each kind of failure, by itself: of the body, of the claim, of the node, of its server.
    bench.send("\u{fffd}");
    bench.send(&Launch::example(GROUP).direct().to_string());
    bench.send(&Launch::example("no-such-group").direct().to_string());
    bench.launch_with(AgentOptions { material: Material::Garbage, ..AgentOptions::default() });
    bench.launch_with(AgentOptions { material: Material::PrivateKey, ..AgentOptions::default() });
    let refused = Effect::Error { status: 400, code: Some("ValidationException".into()), message: Some("no".into()) };
    let fault = bench.fault("opsworks-cm:AssociateNode", refused);
    bench.launch(1);
    bench.until("each has its letter", |bench| bench.summary().queues[LETTERS].visible == 6).await;
    assert!(bench.letters().iter().all(|(_, reason)| reason.is_some()), "{:?}", bench.letters());
    bench.simulator.with(|world, _| world.clear_faults(Some(&fault)));
    let launched = bench.launch(1);
    bench.until_in_service(&launched).await;
    bench.until_empty().await;
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0), "the same process, all the time: {}", process.log());
}

#[tokio::test]
async fn an_event_nobody_can_handle_comes_back_until_retention_ends_node_termination_handler_787() {
    tokio::join!(it_is_handed_out_once(true), it_is_handed_out_once(false));
}

async fn it_is_handed_out_once(has_letters: bool) {
    let body = Launch::example("nobody-s-group").direct().to_string();
    let bench = Bench::start(|fixture| {
        if !has_letters {
            fixture.queues[1].dead_letters = None;
        }
    })
    .await;
    bench.send(&body);
    let worker = bench.worker(|config| config.routes[0].groups = vec!["web-*".into()]);
    worker.until_ends(1).await;
    let hidden = |bench: &Bench| if has_letters { bench.is_empty(QUEUE) } else { bench.calls("sqs:ChangeMessageVisibilityBatch") == 1 };
    bench.until("it is deleted or hidden", hidden).await;
    // The visibility time-out is two minutes; ten hours go by.
    bench.simulator.skip(10 * 3_600_000);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let queue = bench.queue(QUEUE);
    assert_eq!(queue.counts.received, 1);
    if has_letters {
        assert_eq!(bench.letters(), [(body, Some("no_route".to_owned()))]);
        assert!(queue.messages.is_empty());
    } else {
        assert_eq!(worker.outcomes(), [(Outcome::LeftInQueue, Some("no_route".to_owned()))]);
        assert_eq!(queue.messages[0].body, body, "nothing is lost, and nobody is bothered with it");
    }
}

#[tokio::test]
async fn no_heartbeats_the_hook_times_out_under_a_long_wait_node_termination_handler_493() {
    let bench = Bench::start(|fixture| {
        for hook in &mut fixture.groups[0].hooks {
            hook.heartbeat_timeout = 3;
        }
    })
    .await;
    let _worker = bench.worker(|_| {});
    bench.simulator.with(|world, now| world.set_server_status(now, SERVER, ServerStatus::UnderMaintenance, None));
    let began = std::time::Instant::now();
    let waits_for_server = bench.launch(1).remove(0);
    let waits_for_key = bench.launch_with(never_publishes());
    tokio::time::sleep(Duration::from_secs(8)).await;
    for id in [&waits_for_server, &waits_for_key] {
        assert_eq!(bench.state_of(id), LifecycleState::PendingWait);
    }
    bench.simulator.with(|world, now| world.set_server_status(now, SERVER, ServerStatus::Healthy, None));
    bench.publish(&waits_for_key, key_of(&waits_for_key));
    bench.until_in_service(&[waits_for_server.clone(), waits_for_key.clone()]).await;
    for id in [&waits_for_server, &waits_for_key] {
        let action = &bench.actions(id)[0];
        assert_eq!(action.closed_by, Some(Closing::Completed));
        let most = began.elapsed().as_millis() / 1350 + 1;
        assert!((4..=most).contains(&u128::from(action.heartbeats)), "at half the time-out of 3 s, less a tenth: {action:?}, not {most}");
    }
}

#[tokio::test]
async fn queue_and_subscription_named_after_a_dead_instance_are_left_behind_lifecycled() {
    let bench = Bench::start(|_| {}).await;
    let before: Vec<String> = bench.summary().queues.into_keys().collect();
    let _worker = bench.worker(|_| {});
    let launched = bench.launch(2);
    bench.until_in_service(&launched).await;
    launched.iter().for_each(|id| assert!(bench.simulator.with(|world, now| world.terminate(now, id))));
    let enters_pool = bench.launch_in(GROUP, Place::AutoScalingGroup, None);
    bench.until_in_service(&[enters_pool]).await;
    bench.until_empty().await;
    let state = bench.summary();
    assert_eq!(state.queues.into_keys().collect::<Vec<_>>(), before, "the worker has no queue of its own to leave behind");
    let creating: Vec<&String> = state.calls.keys().filter(|call| call.contains("Create") || call.contains("Put")).collect();
    assert!(creating.is_empty(), "it creates nothing in the account: {creating:?}");
    assert_eq!(state.counts.parameters, 1, "and takes away what terminated instances left: {:?}", bench.details().parameters.keys());
}
