//! `enrolld demo`: a fleet that launches before one's eyes, in the simulator, against the real worker over HTTP.

pub mod board;
pub mod cues;
pub mod numbers;
pub mod scenario;
pub mod screen;
pub mod worker;
