//! The AWS that the worker sees, in one process: SQS, Systems Manager, Auto Scaling, OpsWorks CM, a little of STS, and the
//! metadata service of each instance.
//!
//! [`model`] is the services as plain data and functions: the time is handed in and the dice are seeded, so that whole fleets run
//! against it under virtual time. [`http`] serves one such world on a port, in the services' own protocols, with an admin
//! interface beside them. It is as strict as the real services where they are known to be, and where AWS documents nothing, what
//! happens is an option.

pub mod http;
pub mod model;

pub use http::{Options, Simulator};
pub use model::World;
