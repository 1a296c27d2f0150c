//! Running the core: calls, answers, timers, signals.

pub mod services;
