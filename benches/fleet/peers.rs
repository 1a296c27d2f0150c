//! The workers that people write: Python with boto3, Node with sqs-consumer. What they need is installed into the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Fallible;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");

/// A worker of another kind.
#[derive(Debug, Clone, Copy)]
pub enum Peer {
    Python,
    Node,
}

impl Peer {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// What it is, for the table.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Python => "Python, boto3 1.34.100, 32 threads",
            Self::Node => "Node, sqs-consumer, AWS SDK v3",
        }
    }

    /// The command that runs it, with what it needs installed: its queue URL and how many launches it is to end after follow.
    pub fn command(self, folder: &Path) -> Fallible<Command> {
        let place = folder.join(self.name());
        let status = Command::new("sh").arg(Path::new(SOURCES).join("install")).arg(self.name()).arg(&place).status()?;
        if !status.success() {
            return Err(format!("benches/peers/install {} ended with {status}", self.name()).into());
        }
        let source = |file: &str| PathBuf::from(SOURCES).join(file);
        Ok(match self {
            Self::Python => {
                let mut command = Command::new(place.join("bin/python"));
                command.arg(source("worker.py"));
                command
            }
            Self::Node => {
                let mut command = Command::new("node");
                command.arg(place.join("worker.mjs"));
                command
            }
        })
    }
}
