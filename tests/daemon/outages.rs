//! What the daemon lives through: a queue that is deleted and made again, and credentials that come late.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use enrolld::simulator::model::fixture::{Fixture, NewQueue};
use enrolld::simulator::model::sqs::wire::DeleteQueue;

use crate::bench::{ACCOUNT, Bench, LETTERS, QUEUE, configuration, never_publishes};
use crate::permissions;
use crate::process::{Process, folder};
use enrolld::simulator::model::agent::{Material, material};

#[tokio::test]
async fn the_queue_is_deleted_and_made_again_and_the_daemon_says_so_and_goes_on() {
    let bench = Bench::start(|_| {}).await;
    let mut process = Process::start(&bench, "queue-deleted", &configuration(&bench.simulator.endpoint(), ""), &[]);
    process.until_ready_is(200).await;
    // One is in hand meanwhile: its message goes with the queue, its action does not.
    let in_hand = bench.launch_with(never_publishes());
    bench.until("it is taken up", |bench| bench.summary().queues[QUEUE].in_flight == 1).await;
    bench.simulator.with(|world, now| {
        let root = world.root();
        let request = DeleteQueue { queue_url: format!("http://x/{ACCOUNT}/{QUEUE}") };
        world.delete_queue(now, &root, &request).expect("the queue is there");
    });
    let said = process.until_ready_is(503).await;
    assert!(said.contains("queue does not answer"), "{said}");
    process.until_logged("queue does not exist").await;
    assert_eq!(process.ask("/livez").await.0, 200, "it lives");

    // SQS allows a queue of the same name only a minute later.
    bench.simulator.skip(61_000);
    let queue = Fixture::standard().queues.into_iter().find(|queue: &NewQueue| queue.name == QUEUE).expect("it is standard");
    bench.simulator.with(|world, now| world.create_fixture_queue(now, queue)).expect("the minute is over");
    process.until_ready_is(200).await;
    bench.publish(&in_hand, material(&Material::Good, 1, &in_hand));
    let launched = bench.launch(2);
    bench.until_in_service(&[launched, vec![in_hand]].concat()).await;
    bench.until_empty().await;
    assert!(bench.is_empty(LETTERS));
    let receives = bench.calls("sqs:ReceiveMessage");
    assert!(receives < 200, "an error is backed off, never spun on: {receives}");
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0), "{}", process.log());
}

#[tokio::test]
async fn a_worker_that_starts_after_its_dead_letter_queue_was_deleted_enrols_and_deletes_nothing_that_it_cannot_read() {
    let bench = Bench::start(|_| {}).await;
    bench.simulator.with(|world, now| {
        let root = world.root();
        let request = DeleteQueue { queue_url: format!("http://x/{ACCOUNT}/{LETTERS}") };
        world.delete_queue(now, &root, &request).expect("the queue is there");
    });
    bench.send("{\"half\": ");
    let launched = bench.launch(2);
    let text = configuration(&bench.simulator.endpoint(), "");
    let mut process = Process::start(&bench, "letters-deleted", &text, &[]);
    bench.until_in_service(&launched).await;
    process.until_logged("GetQueueUrl").await;
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0), "{}", process.log());
    let queue = bench.simulator.state(true).queues.remove(QUEUE).expect("it is there");
    assert_eq!(queue.messages.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), ["{\"half\": "]);
}

#[tokio::test]
async fn credentials_that_are_not_there_at_the_start_are_waited_for() {
    let bench = Bench::start(|_| {}).await;
    let launched = bench.launch(2);
    let place = folder("late-credentials-profile");
    let (config, script, credentials) = (place.join("config"), place.join("credentials.sh"), place.join("credentials.json"));
    fs::write(&script, format!("#!/bin/sh\nexec cat '{}'\n", credentials.display())).expect("the folder is ours");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    fs::write(&config, format!("[profile late]\ncredential_process = {}\n", script.display())).expect("the folder is ours");
    let environment = [
        ("AWS_PROFILE", "late"),
        ("AWS_CONFIG_FILE", config.to_str().expect("it is text")),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("PATH", "/usr/bin:/bin"),
    ];
    let text = configuration(&bench.simulator.endpoint(), "");
    let key = bench.simulator.with(|world, _| permissions::key_for(world, &text, &[], "run"));
    let mut process = Process::start(&bench, "late-credentials", &text, &environment);
    let said = process.until_ready_is(503).await;
    assert!(said.contains("credentials"), "{said}");
    process.until_logged("credentials").await;
    assert_eq!(process.ask("/livez").await.0, 200, "it lives");
    assert!(bench.summary().calls.is_empty(), "nothing is asked without credentials: {:?}", bench.summary().calls);

    fs::write(&credentials, format!(r#"{{"Version": 1, "AccessKeyId": "{key}", "SecretAccessKey": "planted-secret"}}"#))
        .expect("the folder is ours");
    process.until_ready_is(200).await;
    bench.until_in_service(&launched).await;
    bench.until_empty().await;
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0), "{}", process.log());
    assert!(!process.log().contains("planted-secret"));
}
