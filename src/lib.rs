//! enrolld enrols every EC2 instance an Auto Scaling group launches with a configuration-management server before the group
//! puts it in service, and takes it off again when the group terminates it.

pub mod aws;
pub mod cli;
pub mod config;
pub mod core;
pub mod dead_letters;
pub mod demo;
pub mod driver;
pub mod event;
pub mod facts;
pub mod key_material;
pub mod lifecycle;
pub mod names;
pub mod observe;
pub mod queue;
pub mod registrar;
pub mod retry;
