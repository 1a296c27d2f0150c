//! The samples in this folder, and what holds for any notification: what goes into an envelope comes out of it.

mod properties;
mod samples;
#[cfg(target_os = "linux")]
mod wiped;
