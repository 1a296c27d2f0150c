//! The command line (provisional).

pub mod simulate;
