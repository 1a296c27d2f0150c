//! The AWS that the worker sees, in one process.

pub mod model;
