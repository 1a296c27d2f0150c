//! The process as others on its machine see it.

use std::fs;

use enrolld::simulator::model::agent::AgentOptions;

use crate::bench::{Bench, SERVER};

fn route() -> String {
    format!(
        "[[route]]\nname = \"web\"\ngroups = [\"web-*\"]\nregistrar = {{ kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"chef\" }}\n\
         key = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", require_owner = false }}\n"
    )
}

#[tokio::test]
async fn a_worker_that_crashes_leaves_no_core_dump() {
    let bench = Bench::start("memory", AgentOptions::default(), "", &route()).await;
    let worker = bench.worker();
    bench.until_called("sqs:ReceiveMessage").await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", worker.0.id())).expect("the worker runs");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("it has a limit");
    assert_eq!(core.split_whitespace().rev().take(3).collect::<Vec<_>>(), ["bytes", "0", "0"], "{core}");
    worker.end().await;
}

#[tokio::test]
async fn nothing_secret_stands_in_the_arguments_of_the_process() {
    let bench = Bench::start("arguments", AgentOptions::default(), "", &route()).await;
    let worker = bench.worker();
    bench.until_called("sqs:ReceiveMessage").await;
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", worker.0.id())).expect("the worker runs");
    let arguments: Vec<&str> = arguments.split_terminator('\0').skip(1).collect();
    assert!(matches!(arguments[..], ["run", "--config", _]), "{arguments:?}");
    worker.end().await;
}
