//! The process as others on its machine see it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use enrolld::simulator::model::agent::AgentOptions;

use crate::bench::{Bench, SERVER, Worker};

fn route() -> String {
    format!(
        "[[route]]\nname = \"web\"\ngroups = [\"web-*\"]\nregistrar = {{ kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"chef\" }}\n\
         key = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", require_owner = false }}\n"
    )
}

/// Runs a program as somebody who wants core dumps, as large as this machine lets them be, in a folder of its own, which is empty. It has the
/// rights of a user: root could look into any process.
fn confined(name: &str, program: &Command) -> (Worker, PathBuf) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("memory-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the folder for temporary files is there");
    let user = as_a_user(program.get_program());
    let mut command = Command::new("sh");
    // Root may raise the hard limit, and does so before it becomes a user.
    command.args(["-c", "ulimit -c unlimited 2>&- || ulimit -S -c \"$(ulimit -H -c)\"; exec \"$0\" \"$@\""]);
    command.arg(user.get_program()).args(user.get_args()).args(program.get_args());
    command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    (Worker(command.spawn().expect("there is a shell")), folder)
}

/// A command with no more rights than a user has, under this user's name.
fn as_a_user(program: impl AsRef<OsStr>) -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Whether another process of the same user may look into this one's memory and environment.
fn can_be_looked_into(process: &Worker) -> bool {
    let environment = format!("/proc/{}/environ", process.0.id());
    as_a_user("cat").arg(environment).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("there is a cat").success()
}

/// Soft and hard limit of a core file's size, as the kernel has them.
fn core_limits(process: &Worker) -> Vec<String> {
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.0.id())).expect("it runs");
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("it has a limit");
    core.split_whitespace().take(2).map(str::to_owned).collect()
}

/// Tells whoever runs the tests, also where they succeed, what they could not show here.
fn not_shown_here(what: &str) {
    let _ = writeln!(std::io::stderr(), "a_worker_that_crashes_leaves_no_core_dump: NOT SHOWN on this machine: {what}");
}

/// How a process ended of that signal. As with a fault of its own, which happens anew after each look at it, one is not all: Rust looks for an
/// overflow of the stack at the first.
async fn crashed(mut process: Worker, signal: &str) -> ExitStatus {
    for waited in 0..1000 {
        if let Some(status) = process.0.try_wait().expect("it is a process of ours") {
            return status;
        }
        if waited % 50 == 0 {
            let sent = Command::new("kill").args([format!("-{signal}"), process.0.id().to_string()]).status();
            assert!(sent.expect("there is a kill").success());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it does not end by {signal}");
}

#[tokio::test]
async fn a_worker_that_crashes_leaves_no_core_dump() {
    let bench = Bench::start("memory", AgentOptions::default(), "", &route()).await;
    for (signal, number) in [("ABRT", 6), ("SEGV", 11)] {
        // What is begun in the same way and does not protect itself may be looked into, and is dumped where this machine dumps at all: what is
        // said of the worker below is worth as much as what is seen here, and that others may look in is seen everywhere.
        let (other, other_folder) = confined("other", Command::new("sleep").arg("600"));
        for _ in 0..1000 {
            let command = fs::read(format!("/proc/{}/cmdline", other.0.id())).expect("it runs");
            if command.starts_with(b"sleep") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(can_be_looked_into(&other));
        let unprotected = core_limits(&other);
        let status = crashed(other, signal).await;
        assert_eq!(status.signal(), Some(number));
        if unprotected[0] == "0" {
            assert_eq!(unprotected[1], "0", "it has what its hard limit allows");
            not_shown_here(
                "the hard limit of core dumps is 0: the worker's own limit and the missing dump say nothing, only that nobody may look in does",
            );
        } else if !status.core_dumped() {
            not_shown_here(
                "another process is not dumped either: the missing dump says nothing, the limits and that nobody may look in do",
            );
        }
        fs::remove_dir_all(other_folder).expect("it was made for this");

        let polls = |bench: &Bench| bench.simulator.state(false).calls.get("sqs:ReceiveMessage").copied();
        let before = polls(&bench);
        let (worker, folder) = confined("worker", &bench.command(&["run"]));
        bench.until("it is at work", |bench| polls(bench) > before).await;
        // What decides on dumps beside the limit, and alone where they are piped to a handler. It does not depend on the limit.
        assert!(!can_be_looked_into(&worker), "and the other one could be");
        assert_eq!(core_limits(&worker), ["0", "0"], "and the other one's were {unprotected:?}");
        let status = crashed(worker, signal).await;
        assert_eq!(status.signal(), Some(number), "it did crash");
        assert!(!status.core_dumped(), "the kernel says that it was dumped");
        assert_eq!(fs::read_dir(&folder).expect("it was made for this").count(), 0, "it left something behind");
    }
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
