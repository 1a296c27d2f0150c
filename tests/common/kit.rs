//! An instance as its own script sees it: the simulator is its AWS and its metadata service, openssl makes its key, the real AWS CLI calls.

#[path = "permissions.rs"]
mod permissions;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use enrolld::simulator::model::agent::{AgentOptions, Publish};
use enrolld::simulator::model::autoscaling::{LifecycleState, Place};
use enrolld::simulator::model::fixture::Fixture;
use enrolld::simulator::model::grant::Grant;
use enrolld::simulator::model::state::Details;
use enrolld::simulator::{Options, Simulator};
use serde_json::Value;

pub const GROUP: &str = "web-blue";
/// What the stage's script puts before PATH: a folder with the AWS CLI.
const TOOLS: &str = "ENROLLD_KIT_TOOLS";

pub struct Bench {
    pub simulator: Simulator,
    folder: PathBuf,
    config: PathBuf,
    worker: Option<Child>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(worker) = &mut self.worker {
            let _ = worker.kill();
            let _ = worker.wait();
        }
        if !std::thread::panicking() {
            self.simulator.with(|world, _| permissions::nothing_was_beyond(world));
        }
    }
}

/// How a script ended.
pub struct Ran {
    pub code: Option<i32>,
    pub said: String,
}

impl Ran {
    #[track_caller]
    pub fn must(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.said);
        for text in says {
            assert!(self.said.contains(text), "no {text:?} in {}", self.said);
        }
    }
}

impl Bench {
    /// A simulated AWS whose instances do nothing by themselves, and a configuration with one route.
    pub async fn start(name: &str, route: &str, change: impl FnOnce(&mut Fixture)) -> Self {
        let mut fixture = Fixture::standard();
        fixture.groups[0].options.replace_abandoned = false;
        change(&mut fixture);
        let simulator = Simulator::start(Options { fixture, ..Options::default() }).await.expect("the simulator starts");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kit-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the folder is there to be written to");
        let config = folder.join("enrolld.toml");
        let endpoint = simulator.endpoint();
        let text = format!(
            "queue_url = \"{endpoint}/123456789012/enrolld-lifecycle\"\nregion = \"eu-central-1\"\nlisten = \"off\"\npoll_wait = \"1s\"\n\
             [[route]]\nname = \"web\"\ngroups = [\"web-*\"]\nkey_poll = \"200ms\"\nstatus_poll_initial = \"100ms\"\n{route}\n"
        );
        std::fs::write(&config, text).expect("the folder is ours");
        Self { simulator, folder, config, worker: None }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null());
        let endpoint = self.simulator.endpoint();
        command.env("AWS_ENDPOINT_URL", endpoint);
        command
    }

    /// Starts the daemon.
    pub fn work(&mut self) {
        let mut command = self.command(env!("CARGO_BIN_EXE_enrolld"));
        command.args(["run", "--config"]).arg(&self.config);
        let text = std::fs::read_to_string(&self.config).expect("it was written");
        let key = self.simulator.with(|world, _| permissions::key_for(world, &text, &[], "run"));
        command.envs([("AWS_ACCESS_KEY_ID", key.as_str()), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        self.worker = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary was built"));
    }

    /// What enrolld prints.
    pub fn printed(&self, arguments: &[&str]) -> String {
        let output = self.command(env!("CARGO_BIN_EXE_enrolld")).args(arguments).arg("--config").arg(&self.config).output();
        let output = output.expect("the binary was built");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it is text")
    }

    /// What the instances' printed policy says.
    pub fn allowed(&self, policy: &[&str]) -> Vec<Grant> {
        let printed = self.printed(&[&["policy", "--instance", "--output", "json"], policy].concat());
        let printed: Value = serde_json::from_str(&printed).expect("JSON");
        Grant::of_printed(&printed).expect("policies that the simulator reads")
    }

    /// An instance that may do what its printed policy allows and nothing else, and on which nothing has run yet.
    pub fn launch(&self, policy: &[&str]) -> String {
        self.launch_to(policy, Place::AutoScalingGroup)
    }

    /// The same, into the group's warm pool where that is said.
    pub fn launch_to(&self, policy: &[&str], to: Place) -> String {
        self.launch_as(AgentOptions { publish: Publish::Never, allowed: Some(self.allowed(policy)), ..AgentOptions::default() }, to)
    }

    /// An instance in the group, as it is told to be.
    pub fn launch_with(&self, agent: AgentOptions) -> String {
        self.launch_as(agent, Place::AutoScalingGroup)
    }

    fn launch_as(&self, agent: AgentOptions, to: Place) -> String {
        let launched = self.simulator.with(|world, now| world.launch(now, GROUP, 1, to, Some(&agent)));
        launched.expect("the group is there")[0].to_string()
    }

    /// Puts a program on an instance, before all others of its name.
    pub fn install(&self, instance: &str, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.file(instance, &format!("bin/{name}"));
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder is ours");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("the folder is ours");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("the file is ours");
    }

    /// The place of a file of an instance.
    pub fn file(&self, instance: &str, name: &str) -> PathBuf {
        self.folder.join(instance).join(name)
    }

    /// Runs the kit as the instance would.
    pub fn boot(&self, instance: &str, kit: &[&str], variables: &[(&str, &str)]) -> tokio::task::JoinHandle<Ran> {
        let script = self.printed(&[&["launch-kit", "--route", "web"], kit].concat());
        self.run(instance, &script, variables)
    }

    pub fn run(&self, instance: &str, script: &str, variables: &[(&str, &str)]) -> tokio::task::JoinHandle<Ran> {
        let home = self.folder.join(instance);
        std::fs::create_dir_all(&home).expect("the folder is ours");
        let path = home.join("user-data");
        std::fs::write(&path, script).expect("the folder is ours");
        self.start_script(instance, &path, variables)
    }

    /// Runs a script that is there already, as the instance would.
    pub fn start_script(&self, instance: &str, script: &Path, variables: &[(&str, &str)]) -> tokio::task::JoinHandle<Ran> {
        let home = self.folder.join(instance);
        let tools = std::env::var(TOOLS).unwrap_or_else(|_| panic!("{TOOLS} is not set: these tests are run by their stage's script"));
        let mut command = self.command("sh");
        command
            .arg(script)
            .current_dir(&home)
            .env("PATH", format!("{}/bin:{tools}:/usr/local/bin:/usr/bin:/bin", home.display()))
            .env("HOME", &home);
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("{}/_imds/{instance}", self.simulator.endpoint()));
        command.env("ENROLLD_KEY_FILE", home.join("client.pem")).env("ENROLLD_SSL_DIR", home.join("ssl"));
        command.env("ENROLLD_DOCUMENT_FILE", home.join("enrolld/node")).env("ENROLLD_PER_BOOT", home.join("per-boot"));
        command.envs([("ENROLLD_FIRST_PAUSE", "1"), ("ENROLLD_LONGEST_PAUSE", "2"), ("ENROLLD_DEADLINE", "300")]);
        command.envs(variables.iter().copied());
        tokio::task::spawn_blocking(move || {
            let Output { status, stdout, stderr } = command.output().expect("there is a shell");
            Ran { code: status.code(), said: String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned() }
        })
    }

    pub fn details(&self) -> Details {
        self.simulator.state(true).details.expect("asked for")
    }

    pub fn state(&self, instance: &str) -> LifecycleState {
        self.details().instances[instance].state
    }

    pub async fn until_state(&self, instance: &str, state: LifecycleState) {
        self.until(&format!("{instance} {state:?}"), |bench| bench.state(instance) == state).await;
    }

    pub async fn until(&self, what: &str, happened: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !happened(self) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let state = || self.simulator.state(false).outcomes;
        assert!(tokio::time::timeout(Duration::from_secs(300), waiting).await.is_ok(), "{what} does not happen: {:?}", state());
    }

    /// Nothing was refused for want of a permission.
    pub fn nothing_was_denied(&self) {
        for (operation, outcomes) in self.simulator.state(false).outcomes {
            assert!(!outcomes.keys().any(|outcome| outcome.starts_with("AccessDenied")), "{operation} was denied");
        }
    }

    /// No private key stands anywhere in the simulated account.
    pub fn no_private_key_has_left(&self) {
        let state = serde_json::to_string(&self.simulator.state(true)).expect("the state is JSON");
        assert!(!state.contains("PRIVATE KEY"));
    }
}

/// What openssl says.
pub fn openssl(arguments: &[&str], file: &Path) -> String {
    let output = Command::new("openssl").args(arguments).arg("-in").arg(file).output().expect("there is openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it is text")
}
