//! Registrars that are programs: what they are told, what their answers mean, and that none of them can hang or flood the worker.

mod end_to_end;
mod examples;
#[path = "../common/fleet.rs"]
mod fleet;
mod programs;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use enrolld::core::call::NodeOrder;
use enrolld::event::{Envelope, LifecycleAction, Place, Transition};
use enrolld::facts::KeyMaterial;
use enrolld::names::{AccountId, GroupName, HookName, InstanceId, LifecycleActionToken, NodeName, Region};
use enrolld::registrar::{CommandRegistrar, CommandSettings};

const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END PUBLIC KEY-----\n";

fn key() -> KeyMaterial {
    KeyMaterial::new(KEY.to_owned().into())
}

fn order() -> NodeOrder {
    order_of("web", None)
}

fn order_of(group: &str, metadata: Option<&str>) -> NodeOrder {
    let action = LifecycleAction {
        transition: Transition::Launching,
        instance: InstanceId::new("i-0a1b2c3d").unwrap(),
        group: GroupName::new(group).unwrap(),
        hook: HookName::new("enrol").unwrap(),
        token: LifecycleActionToken::new("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap(),
        account: AccountId::new("123456789012").unwrap(),
        region: Some(Region::new("eu-central-1").unwrap()),
        time_ms: None,
        origin: Some(Place::Ec2),
        destination: None,
        // The sender's word for it, which no program is told.
        metadata: Some("claimed".into()),
        envelope: Envelope::Direct,
    };
    NodeOrder { node: NodeName::new("i-0a1b2c3d.example").unwrap(), action: Arc::new(action), metadata: metadata.map(Into::into) }
}

/// A folder of a test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("enrolld-command-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    /// A registrar that runs a script with an interpreter, and gets the folder as its last argument.
    fn script(&self, interpreter: &str, text: &str) -> CommandSettings {
        let file = self.0.join("script");
        std::fs::write(&file, text).unwrap();
        let args = vec![file.display().to_string(), self.0.display().to_string()];
        CommandSettings { program: PathBuf::from(interpreter), args, timeout: Duration::from_secs(20), env: Vec::new() }
    }

    fn shell(&self, text: &str) -> CommandRegistrar {
        CommandRegistrar::new(self.script("/bin/sh", text))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
