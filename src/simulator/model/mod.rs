//! The services as plain data and functions: no I/O, no clock, no dice but the seeded ones.

pub mod agent;
pub mod autoscaling;
pub mod caller;
pub mod calls;
mod context;
pub mod error;
pub mod faults;
pub mod fixture;
pub mod grant;
pub mod iam;
pub mod metadata;
pub mod operation;
pub mod opsworks_cm;
mod orders;
pub mod sqs;
pub mod ssm;
pub mod state;
#[cfg(test)]
mod tests;
mod world;

pub use context::Settings;
pub(crate) use context::{iso, uuid};
pub use world::World;
