//! Simulator, workers and peers as processes of their own, each killed when it is dropped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use enrolld::simulator::model::grant::Grant;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::{Fallible, kernel, setup};

/// The binary that is measured: built by cargo in this bench's own profile.
pub const ENROLLD: &str = env!("CARGO_BIN_EXE_enrolld");

/// A command with nothing of this process's environment but `PATH`: what is measured takes each `ENROLLD_` variable for configuration, and
/// refuses those that it does not know, such as the ones that `tests/run` is told with.
pub fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Longer than any drain may take, on a busy machine too.
const LONGEST: Duration = Duration::from_secs(900);

/// A process that is measured.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a command with the environment of the simulator's account and nothing else but `PATH`. Its output goes to a file.
    pub fn start(command: &mut Command, name: &str, folder: &Path, endpoint: &str) -> Fallible<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder);
        command.envs(setup::account(endpoint));
        let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn()?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// User and system time so far.
    pub fn cpu(&self) -> Fallible<Duration> {
        kernel::cpu(self.pid())
    }

    /// Waits for its end by itself; its user and system time over its whole life.
    pub fn ended(mut self) -> Fallible<Duration> {
        let pid = Pid::from_child(&self.child);
        // It stays a zombie, and with it what the kernel has counted, until it is waited for.
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        let cpu = self.cpu()?;
        let status = self.child.wait()?;
        if status.success() { Ok(cpu) } else { Err(format!("{} ended with {status}; see {}", self.name, self.log.display()).into()) }
    }

    /// Tells it to stop, and waits for that.
    pub fn stop(self) -> Fallible<Duration> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.ended()
    }

    /// An error where it has ended.
    pub fn must_run(&mut self) -> Fallible<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("{} ended with {status}; see {}", self.name, self.log.display()).into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A simulator with a world of its own.
#[derive(Debug)]
pub struct Simulator {
    child: Child,
    /// Held, since the simulator has more to say than what is read.
    _said: BufReader<ChildStdout>,
    pub admin: Admin,
    pub address: SocketAddr,
}

impl Simulator {
    /// Starts one; `prefix` may be a command that starts it in its turn, such as `taskset -c 0`.
    pub fn start(folder: &Path, fixture: &enrolld::simulator::model::fixture::Fixture, prefix: &[&str]) -> Fallible<Self> {
        let file = folder.join("fixture.json");
        fs::write(&file, serde_json::to_vec(fixture)?)?;
        let mut words = prefix.iter().copied().chain([ENROLLD]);
        let mut command = clean(words.next().unwrap_or(ENROLLD));
        command.args(words).args(["simulate", "--listen", "127.0.0.1:0", "--seed", "1", "--fixture"]).arg(&file);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().ok_or("the simulator says nothing")?);
        said.read_line(&mut line)?;
        let address = line.trim().rsplit_once("http://").ok_or_else(|| format!("the simulator said {line:?}"))?.1.parse()?;
        Ok(Self { child, _said: said, admin: Admin::connect(address)?, address })
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From now on its callers may do what is printed for this configuration, and nothing else. Where something is measured they are not confined:
    /// weighing each call by its policy takes the simulator longer than some calls do.
    pub fn confine(&self, configuration: &Path) -> Fallible<()> {
        let letters = format!("arn:aws:sqs:{}:{}:{}", setup::REGION, setup::ACCOUNT, setup::DEAD_LETTERS);
        let arguments = ["policy", "--output", "json", "--dead-letter-queue", &letters, "--config"];
        let printed = clean(ENROLLD).args(arguments).arg(configuration).output()?;
        let printed: Value = serde_json::from_slice(&printed.stdout)
            .map_err(|error| format!("no policy: {error}: {}", String::from_utf8_lossy(&printed.stderr)))?;
        let allowed = Grant::of_printed(&printed)?;
        let arn = format!("arn:aws:sts::{}:assumed-role/enrolld/worker", setup::ACCOUNT);
        self.admin.post("principals", &json!({ "access_key_id": setup::ACCESS_KEY_ID, "arn": arn, "allowed": allowed })).map(drop)
    }

    /// When the first call of an operation came since the counts began, in unix milliseconds.
    pub fn first_call(&self, operation: &str) -> Fallible<Option<u64>> {
        Ok(self.admin.summary()?.arrivals.get(operation).map(|arrivals| arrivals.first_ms))
    }

    /// How many calls of an operation have come, those that are not answered yet among them.
    pub fn came(&self, operation: &str) -> Fallible<u64> {
        Ok(self.admin.summary()?.arrivals.get(operation).map_or(0, |arrivals| arrivals.count))
    }

    /// Waits until so many messages of the queue are deleted; `look` is called each time in between.
    pub fn until_drained(&self, launches: usize, worker: &mut Process, mut look: impl FnMut(u64) -> Fallible<()>) -> Fallible<()> {
        let began = Instant::now();
        loop {
            let state = self.admin.summary()?;
            let refused = state.outcomes.iter().find(|(_, ends)| ends.keys().any(|code| code.starts_with("AccessDenied")));
            if let Some((operation, _)) = refused {
                return Err(format!("{operation} is beyond the policy that is printed for the configuration").into());
            }
            let deleted = state.queues[setup::QUEUE].counts.deleted;
            look(deleted)?;
            if deleted >= launches as u64 {
                return Ok(());
            }
            worker.must_run()?;
            if began.elapsed() > LONGEST {
                return Err(format!("after {LONGEST:?} {deleted} of {launches} launches are done").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
