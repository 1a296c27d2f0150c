//! SIGTERM and SIGINT on the real binary.

use std::time::{Duration, Instant};

use enrolld::core::observation::Outcome;
use enrolld::simulator::model::agent::{Material, material};
use enrolld::simulator::model::autoscaling::LifecycleState;
use enrolld::simulator::model::faults::Effect;

use crate::bench::{Bench, QUEUE, SERVER, configuration, never_publishes, publishes_after};
use crate::process::{Process, folder};

#[tokio::test]
async fn told_to_stop_under_load_it_ends_what_it_can_and_gives_back_the_rest_at_once() {
    let bench = Bench::start(|fixture| fixture.servers[0].options.association_ms = 1500).await;
    let mut process = Process::start(&bench, "under-load", &configuration(&bench.simulator.endpoint(), ""), &[]);
    let waiting: Vec<String> = (0..20).map(|_| bench.launch_with(never_publishes())).collect();
    let launched = bench.launch(40);
    bench.until("associations are under way", |bench| bench.calls("opsworks-cm:AssociateNode") >= 30).await;
    let told = Instant::now();
    process.signal("TERM");
    // More come while it stops: they are not taken up, or given back.
    let late: Vec<String> = (0..20).map(|_| bench.launch_with(publishes_after(0))).collect();
    assert_eq!(process.ended().await, Some(0), "{}", process.log());
    assert!(told.elapsed() < Duration::from_secs(25), "within the grace: {:?}", told.elapsed());

    let state = bench.summary();
    let (queue, completed) = (&state.queues[QUEUE], state.counts.completions);
    assert_eq!((queue.in_flight, queue.visible as u64), (0, 80 - completed), "all that is not done is there for another worker at once");
    assert!(completed >= 30, "what was under way was ended: {completed}");
    assert!(waiting.iter().all(|id| bench.state_of(id) == LifecycleState::PendingWait));

    waiting.iter().for_each(|id| bench.publish(id, material(&Material::Good, 1, id)));
    let other = bench.worker(|_| {});
    bench.until_in_service(&[waiting, launched, late].concat()).await;
    bench.until_empty().await;
    assert_eq!(bench.nodes(SERVER).len(), 80);
    assert_eq!(bench.summary().counts.associations, 80, "nobody was associated twice");
    assert!(other.stop().await.iter().all(|end| end.outcome == Outcome::Enrolled));
}

#[tokio::test]
async fn its_audit_trail_on_standard_output_has_a_line_for_each_action_and_nothing_else() {
    let bench = Bench::start(|_| {}).await;
    let text = configuration(&bench.simulator.endpoint(), "").replacen("worker =", "audit = \"stdout\"\nworker =", 1);
    let mut process = Process::start(&bench, "audit-stdout", &text, &[]);
    let launched = bench.launch(3);
    bench.until_in_service(&launched).await;
    bench.until_empty().await;
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0), "{}", process.log());
    let (_, written) = process.written().into_iter().find(|(name, _)| name.ends_with("stdout")).expect("it was opened");
    let lines: Vec<serde_json::Value> = written.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    let mut told: Vec<_> = lines.iter().map(|line| line["instance"].as_str().expect("it names its instance").to_owned()).collect();
    told.sort();
    let mut expected = launched;
    expected.sort();
    assert_eq!(told, expected);
    for line in &lines {
        assert_eq!((line["result"].as_str(), line["completed_with"].as_str()), (Some("enrolled"), Some("CONTINUE")), "{line}");
        assert!(line["steps"].as_array().is_some_and(|steps| steps.len() >= 4) && line["message_id"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn told_twice_it_stops_at_once_with_a_failure() {
    let bench = Bench::start(|_| {}).await;
    let mut process = Process::start(&bench, "twice", &configuration(&bench.simulator.endpoint(), ""), &[("RUST_LOG", "enrolld=debug")]);
    // An order whose answer takes long: the first signal waits for it.
    bench.fault("opsworks-cm:AssociateNode", Effect::Latency { ms: 12_000, jitter_ms: 0 });
    bench.launch(3);
    bench.until("orders are under way", |bench| bench.details().parameters.len() == 3 && bench.calls("ssm:GetParameterHistory") >= 3).await;
    process.until_logged("\"step\":\"associate\"").await;
    process.signal("INT");
    process.until_logged("shutting").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let told = Instant::now();
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(1), "{}", process.log());
    assert!(told.elapsed() < Duration::from_secs(8), "{:?}", told.elapsed());
    assert_eq!(bench.queue(QUEUE).counts.deleted, 0, "what was in hand comes back after the visibility time-out");
}

/// What the dynamic linker puts before the C library: a resolver that finds nobody who answers.
const SILENT_RESOLVER: &str = r#"
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    close(open(getenv("ASKED"), O_CREAT | O_WRONLY, 0600));
    sleep(50);
    return EAI_AGAIN;
}
"#;

#[tokio::test]
async fn it_does_not_wait_for_a_name_that_is_being_resolved() {
    let bench = Bench::start(|_| {}).await;
    let made = folder("silent-resolver");
    let path = |name: &str| made.join(name).to_str().expect("it is text").to_owned();
    let (source, library, asked) = (path("resolver.c"), path("resolver.so"), path("asked"));
    std::fs::write(&source, SILENT_RESOLVER).expect("the folder is there to be written to");
    let compiled = std::process::Command::new("cc").args(["-shared", "-fPIC", "-w", "-o", &library, &source]).status();
    assert!(compiled.expect("what links Rust's programs is there").success());
    for (name, times) in [("unresolved", 1), ("unresolved-twice", 2)] {
        let _ = std::fs::remove_file(&asked);
        let environment = [("AWS_ENDPOINT_URL_SQS", "https://nowhere.invalid"), ("LD_PRELOAD", &library), ("ASKED", &asked)];
        let mut process = Process::start(&bench, name, &configuration(&bench.simulator.endpoint(), ""), &environment);
        while !std::fs::exists(&asked).expect("the folder can be read") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let told = Instant::now();
        for _ in 0..times {
            process.signal("TERM");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        process.ended().await;
        assert!(told.elapsed() < Duration::from_secs(20), "{name}: {:?}, {}", told.elapsed(), process.log());
    }
}

#[tokio::test]
async fn told_to_stop_while_idle_it_ends_within_about_a_second() {
    let bench = Bench::start(|_| {}).await;
    // A long poll of 20 s, as by default.
    let text = configuration(&bench.simulator.endpoint(), "").replace("poll_wait = \"1s\"\n", "");
    for signal in ["TERM", "INT"] {
        let mut process = Process::start(&bench, &format!("idle-{signal}"), &text, &[]);
        process.until_ready_is(200).await;
        let told = Instant::now();
        process.signal(signal);
        assert_eq!(process.ended().await, Some(0), "{}", process.log());
        assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    }
}
