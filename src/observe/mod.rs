//! What can be seen from outside: the log, the metrics, the audit trail, and the listener that shows whether all is well.
//!
//! This room only looks. It is told named events ([`crate::core::observation`]) by the driver, and nothing that is decided
//! depends on it: a log nobody reads, a full disk or a scraper that hangs never stops an enrolment.

pub mod audit;
mod health;
mod held;
mod journal;
pub mod listener;
pub mod logs;
mod metrics;
mod observer;
pub mod panics;
pub mod service_manager;
mod sink;
pub(crate) mod text;

pub use health::Health;
pub use held::{HeldPage, HeldRoute};
pub use metrics::Metrics;
pub use observer::{Observer, ObserverSettings, RouteNames};
pub use service_manager::ServiceManager;
pub use sink::Sink;

#[cfg(test)]
pub(crate) use observer::samples;
