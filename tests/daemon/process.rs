//! The real binary, as a service manager runs it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::permissions;

/// `enrolld run`, killed when the test ends.
pub struct Process {
    child: Child,
    /// Where its output goes, and whatever else it writes.
    pub folder: PathBuf,
}

impl Process {
    /// Starts it with that configuration; each test has a name of its own, for its files. Its environment is `environment`, and
    /// credentials where that has no profile.
    pub fn start(bench: &Bench, name: &str, configuration: &str, environment: &[(&str, &str)]) -> Self {
        let folder = folder(name);
        let config = folder.join("enrolld.toml");
        fs::write(&config, configuration).expect("the folder is there to be written to");
        let file = |name: &str| File::create(folder.join(name)).expect("the folder is there to be written to");
        let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
        command.arg("run").arg("--config").arg(&config).env_clear();
        command.env("AWS_ENDPOINT_URL", bench.simulator.endpoint());
        if !environment.iter().any(|(name, _)| *name == "AWS_PROFILE") {
            let key = bench.simulator.with(|world, _| permissions::key_for(world, configuration, environment, "run"));
            command.envs([("AWS_ACCESS_KEY_ID", key.as_str()), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        }
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        let child = command.spawn().expect("the binary was built for this test");
        Self { child, folder }
    }

    /// The most memory that it ever held, in MiB.
    pub fn peak_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts it");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number") / 1024
    }

    /// Its arguments.
    pub fn arguments(&self) -> String {
        fs::read_to_string(format!("/proc/{}/cmdline", self.child.id())).expect("it runs")
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("there is a kill").success());
    }

    /// Waits for its end; its exit code, where it was not a signal that ended it.
    pub async fn ended(&mut self) -> Option<i32> {
        let longest = Instant::now() + Duration::from_secs(180);
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            assert!(Instant::now() < longest, "it does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).expect("it is text")
    }

    /// Everything that it wrote, by file.
    pub fn written(&self) -> Vec<(String, String)> {
        let files = fs::read_dir(&self.folder).expect("the folder is there").map(|entry| entry.expect("it can be read").path());
        let text = |path: PathBuf| (path.display().to_string(), String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned());
        files.map(text).collect()
    }

    /// Waits until the log holds something.
    pub async fn until_logged(&self, what: &str) {
        let longest = Instant::now() + Duration::from_secs(180);
        while !self.log().contains(what) {
            assert!(Instant::now() < longest, "{what} is not logged: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks the listener, whose address is in the log; the status and the body.
    pub async fn ask(&self, path: &str) -> (u16, String) {
        self.until_logged("listening for").await;
        let log = self.log();
        let line = log.lines().find(|line| line.contains("listening for")).expect("it was just there");
        let line: serde_json::Value = serde_json::from_str(line).expect("the log is JSON where there is no terminal");
        let address = line["address"].as_str().expect("it names its address").to_owned();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let answer = tokio::task::spawn_blocking(move || {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(address).expect("it listens");
            stream.write_all(request.as_bytes()).expect("it takes requests");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("it answers in text");
            answer
        });
        let answer = answer.await.expect("asking does not panic");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
        (head[9..12].parse().expect("a status"), body.to_owned())
    }

    /// Waits until `/readyz` answers with that status; returns what it says.
    pub async fn until_ready_is(&self, status: u16) -> String {
        let longest = Instant::now() + Duration::from_secs(180);
        loop {
            let (now, body) = self.ask("/readyz").await;
            if now == status {
                return body;
            }
            assert!(Instant::now() < longest, "/readyz stays {now}: {body}; {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder of that name for one test, empty.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("daemon").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the folder for temporary files is there");
    folder
}
