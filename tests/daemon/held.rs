//! What `enrolld check` says of a worker that holds launches: it is another process, and asks the worker's listener.

use std::net::TcpListener;
use std::process::{Command, Output};

use enrolld::simulator::model::opsworks_cm::wire::ServerStatus;
use enrolld::simulator::model::opsworks_cm::{Engine, NewServer, ServerOptions};

use crate::bench::{Bench, GROUP, SERVER, configuration};
use crate::process::Process;

async fn check(bench: &Bench, process: &Process) -> (Option<i32>, String) {
    let (endpoint, config) = (bench.simulator.endpoint(), process.folder.join("enrolld.toml"));
    let checked = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
        command.arg("check").arg("--config").arg(config).env_clear().env("AWS_ENDPOINT_URL", endpoint);
        command.envs([("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "secret")]).output().expect("the binary is there")
    });
    let Output { status, stdout, .. } = checked.await.expect("checking does not panic");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned())
}

#[tokio::test]
async fn check_says_which_launches_the_worker_holds_and_why_until_the_cause_is_mended() {
    let bench = Bench::start(|fixture| fixture.servers.clear()).await;
    // The address must be known before: check reads it in the configuration.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("there is a free port");
    let text = configuration(&bench.simulator.endpoint(), "timeout = \"10s\"\nmax_abandons = 0");
    let text = text.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{free}\""));
    assert!(text.contains(&free.to_string()), "{text}");
    let process = Process::start(&bench, "held", &text, &[]);
    bench.launch(10);
    process.until_logged("launch_held").await;
    let held = async {
        loop {
            let (_, page) = process.ask("/held").await;
            let page: serde_json::Value = serde_json::from_str(&page).expect("it is JSON");
            if page["held"][0]["launches"] == 10 {
                return page;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let page = tokio::time::timeout(std::time::Duration::from_secs(60), held).await.expect("all of them are held");
    assert!(page["held"][0]["reason"].as_str().is_some_and(|reason| reason.contains("ResourceNotFoundException")), "{page}");
    let (_, metrics) = process.ask("/metrics").await;
    assert!(metrics.contains("enrolld_launches_held{route=\"all\"} 10\n"), "{metrics}");
    let (code, said) = check(&bench, &process).await;
    assert_eq!(code, Some(1), "{said}");
    let line = said.lines().find(|line| line.contains("10 launches are held")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.starts_with("FAIL") && line.contains("ResourceNotFoundException") && line.contains("mend the cause"), "{line}");

    let server = NewServer {
        name: SERVER.into(),
        engine: Engine::Chef,
        status: ServerStatus::Healthy,
        options: ServerOptions { association_ms: 20, ..ServerOptions::default() },
    };
    bench.simulator.with(|world, now| world.create_server(now, server)).expect("the name is free");
    bench.until("all in service", |bench| bench.summary().groups[GROUP].states.get("InService") == Some(&10)).await;
    bench.until_empty().await;
    let (_, said) = check(&bench, &process).await;
    assert!(said.contains("holds none"), "{said}");
}
