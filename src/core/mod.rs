//! Everything that is decided: one pure state machine for the whole worker.

pub mod call;
pub mod observation;
pub mod settings;
