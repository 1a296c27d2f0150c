//! The IAM policies that a configuration needs, and nothing more: a pure function from the configuration to documents.
//!
//! [`worker`] makes one for the worker's own credentials and one for each role that a route names; [`instances`] makes those of the
//! instances' roles. What each permission is for stands in `docs/policy.md`; a test holds what is printed against what is called.

mod arn;
mod document;
mod instance;
mod worker;

pub use arn::{DeadLetterQueue, DeadLetterQueueError, Place, PlaceError};
pub use document::{Condition, Document, Effect, Statement};
pub use instance::{InstancePolicy, Scripts, instances};
pub use worker::{Extras, WorkerPolicy, worker};

/// The Run Command document that runs whatever it is sent.
const SHELL_DOCUMENT: &str = "AWS-RunShellScript";

#[cfg(test)]
mod tests;
