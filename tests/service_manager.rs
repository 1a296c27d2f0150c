//! What systemd hears of the daemon: the real binary, and a real notify socket.

#[path = "common/permissions.rs"]
mod permissions;

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use enrolld::aws::Aws;
use enrolld::cli::rooms;
use enrolld::core::call::NodeOrder;
use enrolld::driver::Worker as WholeWorker;
use enrolld::facts::{Health as Ready, KeyMaterial, ListMark, NodeList, Registration, RegistrationStatus, StatusToken};
use enrolld::observe::audit::AuditTarget;
use enrolld::observe::{Health, Observer, ObserverSettings, ServiceManager};
use enrolld::registrar::{Registrar, Reply};
use enrolld::simulator::model::autoscaling::Place;
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

fn daemon(manager: &Manager, aws: &SimulatedAws, watchdog: Option<Duration>) -> Worker {
    daemon_with(manager, aws, watchdog, "")
}

fn configuration(endpoint: &str, more: &str, poll_wait: &str) -> String {
    format!(
        r#"
queue_url = "{endpoint}/123456789012/enrolld-lifecycle"
region = "eu-central-1"
listen = "off"
poll_wait = "{poll_wait}"
retry_initial = "100ms"
retry_max = "200ms"
route_fault_initial = "100ms"
route_fault_max = "200ms"
{more}
[[route]]
name = "web"
groups = ["web-*"]
registrar = {{ kind = "opsworks-cm", server = "prod-chef", engine = "chef" }}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", require_owner = false }}
"#
    )
}

/// Asks the simulator for something.
fn post(endpoint: &str, path: &str, body: &str) {
    use std::io::{Read as _, Write as _};
    let address = endpoint.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn daemon_with(manager: &Manager, aws: &SimulatedAws, watchdog: Option<Duration>, more: &str) -> Worker {
    let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("notify-{}.toml", manager.path.file_name().unwrap().display()));
    let text = configuration(&aws.endpoint, more, "1s");
    std::fs::write(&config, text).expect("the folder is there to be written to");
    let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
    command.args(["run", "--config"]).arg(config).env_clear().env("NOTIFY_SOCKET", &manager.path);
    if let Some(watchdog) = watchdog {
        command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
    }
    command.envs([("AWS_ENDPOINT_URL", &*aws.endpoint), ("AWS_ACCESS_KEY_ID", &*aws.key), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    Worker(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary was built"))
}

/// A simulated AWS on a thread of its own, since the tests wait on theirs.
struct SimulatedAws {
    endpoint: String,
    /// Whose policy is what is printed for the configuration.
    key: String,
    /// Dropped to end the thread.
    open: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl SimulatedAws {
    fn start() -> Self {
        let (address, told) = std::sync::mpsc::channel();
        let (open, closed) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let simulator = Simulator::start(Options::default()).await.expect("the simulator starts");
                let text = configuration(&simulator.endpoint(), "", "1s");
                let key = simulator.with(|world, _| permissions::key_for(world, &text, &[], "run"));
                let _ = address.send((simulator.endpoint(), key));
                // Until the test drops its end.
                let _ = closed.await;
                simulator.with(|world, _| permissions::nothing_was_beyond(world));
            });
        });
        let (endpoint, key) = told.recv().expect("it listens");
        Self { endpoint, key, open: Some(open), thread: Some(thread) }
    }

    /// Where nobody listens.
    fn gone() -> Self {
        Self { endpoint: "http://127.0.0.1:9".into(), key: "AKIATEST".into(), open: None, thread: None }
    }
}

impl Drop for SimulatedAws {
    fn drop(&mut self) {
        self.open.take();
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || !matches!(ended, Some(Err(_))), "a call was beyond the policy, as is said above");
    }
}

#[test]
fn ready_is_said_once_the_queue_has_answered_and_stopping_when_told_to_stop() {
    let manager = Manager::listen("ready");
    let aws = SimulatedAws::start();
    let mut worker = daemon(&manager, &aws, None);
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
    let _worker = daemon(&manager, &SimulatedAws::gone(), None);
    let said = manager.until("STATUS=AWS credentials were not found yet; the queue does not answer");
    std::thread::sleep(Duration::from_secs(1));
    let more = std::iter::from_fn(|| manager.hears(Duration::from_millis(1)));
    assert!(said.into_iter().chain(more).all(|said| !said.contains("READY")));
}

#[test]
fn the_watchdog_is_fed_in_time_and_not_by_a_process_that_stands_still() {
    let manager = Manager::listen("fed");
    let aws = SimulatedAws::start();
    let watchdog = Duration::from_secs(6);
    let worker = daemon(&manager, &aws, Some(watchdog));
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

/// What is written where nobody reads stops the one thread that the daemon has: a terminal, since pipes are refused.
#[test]
fn a_daemon_that_is_stuck_in_a_write_is_not_fed_although_its_process_lives() {
    let manager = Manager::listen("wedged");
    let aws = SimulatedAws::start();
    let program = "import os, pty, time\nmaster, slave = pty.openpty()\nprint(os.ttyname(slave), flush=True)\ntime.sleep(600)";
    let mut terminal = Command::new("python3").args(["-c", program]).stdout(Stdio::piped()).spawn().expect("there is a python3");
    let mut name = String::new();
    let said = terminal.stdout.take().expect("it is piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(said), &mut name).expect("its name");
    let _terminal = Worker(terminal);
    let watchdog = Duration::from_secs(3);
    let mut worker = daemon_with(&manager, &aws, Some(watchdog), &format!("audit = \"{}\"", name.trim()));
    manager.until("READY=1");
    manager.until("WATCHDOG=1");
    // Each launch leaves a line, and a terminal takes a few thousand bytes: it is stuck before the last has ended, maybe before all are received.
    post(&aws.endpoint, "/_sim/launch", r#"{"group":"web-blue","count":60}"#);
    // Nothing is said by a process whose one thread is stuck, whatever it said last.
    let (mut said, end) = (Vec::new(), Instant::now() + LONGEST);
    while let Some(more) = manager.hears(watchdog * 2) {
        said.push(more);
        assert!(Instant::now() < end, "it is stuck, and somebody feeds it: {said:?}");
    }
    assert!(said.iter().any(|said| said.starts_with("STATUS=working; ") && !said.contains(" 0 actions open")), "it was at work: {said:?}");
    assert!(worker.0.try_wait().expect("it is ours").is_none(), "it lives");
}

/// The same test is the worker, in a process of its own: which manager a process has stands in its environment.
#[test]
fn a_worker_is_not_fed_whose_order_never_ends_or_whose_receive_or_that_begins_none_although_its_loop_turns() {
    if let Ok(what) = std::env::var(CHILD) {
        return play_a_worker_whose_loop_turns_for_nothing(&what);
    }
    for what in ["order", "receive", "nothing"] {
        let manager = Manager::listen(what);
        let watchdog = Duration::from_millis(900);
        let name = "a_worker_is_not_fed_whose_order_never_ends_or_whose_receive_or_that_begins_none_although_its_loop_turns";
        let mut command = Command::new(std::env::current_exe().expect("a program"));
        command.args(["--exact", name]).env(CHILD, what).env("NOTIFY_SOCKET", &manager.path);
        command.env("WATCHDOG_USEC", watchdog.as_micros().to_string()).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut worker = Worker(command.spawn().expect("it is this program"));
        manager.until("WATCHDOG=1");
        manager.until("STATUS=stuck");
        assert_eq!(manager.hears(watchdog * 4), None, "{what}: it is stuck, and fed");
        assert!(worker.0.try_wait().expect("it is ours").is_none(), "it lives");
    }
}

/// A server that takes an order and never answers, and knows no time-out.
#[derive(Debug)]
struct Silent;

impl Registrar for Silent {
    fn associate<'a>(&'a self, _: &'a NodeOrder, _: &'a KeyMaterial) -> Reply<'a, Registration> {
        Box::pin(std::future::pending())
    }
    fn status<'a>(&'a self, _: &'a NodeOrder, _: &'a StatusToken) -> Reply<'a, RegistrationStatus> {
        Box::pin(std::future::pending())
    }
    fn disassociate<'a>(&'a self, _: &'a NodeOrder) -> Reply<'a, Registration> {
        Box::pin(std::future::pending())
    }
    fn health(&self) -> Reply<'_, Ready> {
        Box::pin(async { Ok(Ready::Ready) })
    }
    fn list<'a>(&'a self, _: Option<&'a ListMark>) -> Reply<'a, NodeList> {
        Box::pin(std::future::pending())
    }
}

/// A whole worker, whose loop turns on: its server never answers, or its receives last longer than it is told that any may, or its core begins no calls,
/// since the limits that it is given leave room for nothing. (No configuration can say that.)
fn play_a_worker_whose_loop_turns_for_nothing(what: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let simulator = Simulator::start(Options::default()).await.expect("the simulator starts");
        let poll_wait = if what == "receive" { "20s" } else { "1s" };
        let text = configuration(&simulator.endpoint(), "", poll_wait);
        let config = enrolld::config::parse(&text, "test", &enrolld::config::Environment::new()).expect("it is good");
        let mut settings = config.core_settings();
        if what == "nothing" {
            settings.max_open = 0;
        }
        let key = simulator.with(|world, _| permissions::key_for(world, &text, &[], "run"));
        let aws = Aws::fixed(&rooms::aws_settings(&config), &simulator.endpoint(), &key).expect("an endpoint");
        let mut services = rooms::services(&config, &settings, &aws).expect("rooms");
        services.registrars[0] = Arc::new(Silent);
        let observer = ObserverSettings { worker: "test".into(), routes: rooms::route_names(&config, &settings), audit: AuditTarget::Off };
        let health = Arc::new(Health::new());
        ServiceManager::of_this_process(Arc::clone(&health)).expect("there is a manager").start();
        let worker = WholeWorker::new(settings, services, Observer::new(observer).expect("no files"), health, 1);
        let (_stop, stopped) = tokio::sync::mpsc::channel(2);
        let launched = simulator.with(|world, now| world.launch(now, "web-blue", 1, Place::AutoScalingGroup, None));
        assert!(launched.is_ok() || what == "receive");
        let _ = tokio::time::timeout(LONGEST, worker.with_longest_call(Duration::from_secs(4)).run(stopped)).await;
    });
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
