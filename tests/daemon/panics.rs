//! A fault in the worker itself, as it would be in production: what is said of it, and what goes on.

use std::time::Duration;

use crate::bench::{Bench, configuration};
use crate::process::Process;

#[tokio::test]
async fn a_panic_is_told_in_lines_of_the_log_alone_and_the_worker_goes_on() {
    let bench = Bench::start(|_| {}).await;
    // Looking up a host's name takes a thread, and no thread can have so large a stack: the call panics, deep in a library.
    let endpoint = bench.simulator.endpoint().replace("127.0.0.1", "localhost");
    let environment = [("AWS_ENDPOINT_URL", endpoint.as_str()), ("RUST_MIN_STACK", "70368744177664"), ("RUST_BACKTRACE", "1")];
    let mut process = Process::start(&bench, "panics", &configuration(&bench.simulator.endpoint(), ""), &environment);
    process.until_logged("\"event\":\"panic\"").await;
    process.until_logged("the call panicked").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0), "{}", process.log());
    let log = process.log();
    let lines =
        log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("no line of the log: {line}")));
    let told: Vec<serde_json::Value> = lines.filter(|line| line["event"] == "panic").collect();
    assert!(!told.is_empty(), "{log}");
    for line in told {
        assert_eq!(line["level"], "ERROR");
        assert!(line["reason"].as_str().is_some_and(|reason| reason.contains("spawn worker thread")), "{line}");
        assert!(line["place"].as_str().is_some_and(|place| place.contains(".rs:")), "{line}");
    }
    assert!(log.contains("\"event\":\"panic_step\""), "{log}");
}
