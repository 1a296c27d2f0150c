//! What systemd hears of the daemon: the real binary, and a real notify socket.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use enrolld::observe::{Health, ServiceManager};
use enrolld::simulator::{Options, Simulator};

/// Longer than anything here takes.
const LONGEST: Duration = Duration::from_secs(60);
/// Set in the process that plays a worker whose loop stops turning.
const CHILD: &str = "ENROLLD_TEST_STUCK_WORKER";

/// The manager's end of a notify socket.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listen(name: &str) -> Self {
        // A socket's path is at most 108 bytes long, which a build folder may exceed.
        let path = std::env::temp_dir().join(format!("enrolld-notify-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Self { socket, path }
    }

    /// What is said next, within that time.
    fn hears(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within.max(Duration::from_millis(1)))).expect("a time");
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).expect("it is text"))
    }

    /// Waits until something is said that begins so, and returns all that was said up to it.
    #[track_caller]
    fn until(&self, beginning: &str) -> Vec<String> {
        let (mut all, end) = (Vec::new(), Instant::now() + LONGEST);
        while Instant::now() < end {
            if let Some(said) = self.hears(Duration::from_secs(1)) {
                all.push(said);
                if all.last().is_some_and(|said| said.starts_with(beginning)) {
                    return all;
                }
            }
        }
        panic!("{beginning} was not said within a minute: {all:?}");
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A process that does not outlive its test.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Worker {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(sent.expect("there is a kill").success());
    }
}

fn daemon(manager: &Manager, endpoint: &str, watchdog: Option<Duration>) -> Worker {
    let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("notify-{}.toml", manager.path.file_name().unwrap().display()));
    let text = format!(
        r#"
queue_url = "{endpoint}/123456789012/enrolld-lifecycle"
region = "eu-central-1"
listen = "off"
poll_wait = "1s"
retry_initial = "100ms"
retry_max = "200ms"
route_fault_initial = "100ms"
route_fault_max = "200ms"
[[route]]
name = "web"
groups = ["web-*"]
registrar = {{ kind = "opsworks-cm", server = "prod-chef", engine = "chef" }}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", require_owner = false }}
"#
    );
    std::fs::write(&config, text).expect("the folder is there to be written to");
    let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
    command.args(["run", "--config"]).arg(config).env_clear().env("NOTIFY_SOCKET", &manager.path);
    if let Some(watchdog) = watchdog {
        command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
    }
    command.envs([("AWS_ENDPOINT_URL", endpoint), ("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    Worker(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary was built"))
}

/// Serves on a thread of its own, since the tests wait on theirs.
fn simulator() -> (String, tokio::sync::oneshot::Sender<()>) {
    let (address, told) = std::sync::mpsc::channel();
    let (end, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let simulator = Simulator::start(Options::default()).await.expect("the simulator starts");
            let _ = address.send(simulator.endpoint());
            // Until the test drops its end.
            let _ = ended.await;
        });
    });
    (told.recv().expect("it listens"), end)
}

#[test]
fn ready_is_said_once_the_queue_has_answered_and_stopping_when_told_to_stop() {
    let manager = Manager::listen("ready");
    let (endpoint, _simulator) = simulator();
    let mut worker = daemon(&manager, &endpoint, None);
    manager.until("READY=1");
    manager.until("STATUS=working; 0 actions open, 0 held");
    worker.signal("-TERM");
    let said = manager.until("STOPPING=1");
    assert!(said.iter().all(|said| !said.contains("READY") && !said.contains("WATCHDOG")), "ready once, and no watchdog is set: {said:?}");
    assert!(worker.0.wait().expect("it is ours").success());
}

#[test]
fn a_worker_whose_queue_does_not_answer_is_not_ready_and_says_why() {
    let manager = Manager::listen("unready");
    // Nobody listens there.
    let _worker = daemon(&manager, "http://127.0.0.1:9", None);
    let said = manager.until("STATUS=AWS credentials were not found yet; the queue does not answer");
    std::thread::sleep(Duration::from_secs(1));
    let more = std::iter::from_fn(|| manager.hears(Duration::from_millis(1)));
    assert!(said.into_iter().chain(more).all(|said| !said.contains("READY")));
}

#[test]
fn the_watchdog_is_fed_in_time_and_not_by_a_process_that_stands_still() {
    let manager = Manager::listen("fed");
    let (endpoint, _simulator) = simulator();
    let watchdog = Duration::from_secs(3);
    let worker = daemon(&manager, &endpoint, Some(watchdog));
    manager.until("READY=1");
    manager.until("WATCHDOG=1");
    for _ in 0..3 {
        let fed = Instant::now();
        manager.until("WATCHDOG=1");
        assert!(fed.elapsed() < watchdog, "{:?}", fed.elapsed());
    }
    worker.signal("-STOP");
    // What was on its way.
    while manager.hears(Duration::from_millis(300)).is_some() {}
    assert_eq!(manager.hears(watchdog * 2), None, "it stands still, and somebody feeds it");
    worker.signal("-CONT");
    manager.until("WATCHDOG=1");
}

/// The same test is the worker, in a process of its own: which manager a process has stands in its environment.
#[test]
fn a_worker_whose_loop_does_not_turn_any_more_is_not_fed_although_its_process_lives() {
    if std::env::var_os(CHILD).is_some() {
        return play_a_worker_that_gets_stuck();
    }
    let manager = Manager::listen("stuck");
    let watchdog = Duration::from_millis(600);
    let name = "a_worker_whose_loop_does_not_turn_any_more_is_not_fed_although_its_process_lives";
    let mut command = Command::new(std::env::current_exe().expect("a program"));
    command.args(["--exact", name]).env(CHILD, "1").env("NOTIFY_SOCKET", &manager.path);
    command.env("WATCHDOG_USEC", watchdog.as_micros().to_string()).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut worker = Worker(command.spawn().expect("it is this program"));
    manager.until("WATCHDOG=1");
    manager.until("STATUS=stuck");
    assert_eq!(manager.hears(watchdog * 5), None, "it is stuck, and fed");
    assert!(worker.0.try_wait().expect("it is ours").is_none(), "it lives");
}

/// Turns for a second, and then never again, while everything else in the process goes on.
fn play_a_worker_that_gets_stuck() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let health = Arc::new(Health::with_slack(Duration::from_millis(100)));
        health.queue_answers(true);
        health.has_credentials(true);
        ServiceManager::of_this_process(Arc::clone(&health)).expect("there is a manager").start();
        for _ in 0..10 {
            health.turned(Duration::from_millis(200));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(LONGEST).await;
    });
}
