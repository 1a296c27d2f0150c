//! enrolld enrols every EC2 instance an Auto Scaling group launches with a configuration-management server before the group
//! puts it in service, and takes it off again when the group terminates it.
//!
//! One sentence to keep in mind: **one lifecycle action in, exactly one recorded result out, whatever breaks on the way.**
//!
//! # The house
//!
//! A pure core decides, a thin driver does. To follow one launch, open [`core`] and read down; to see what a service's answer
//! means, open the room that knows the service.
//!
//! | room | knows | may not touch |
//! | --- | --- | --- |
//! | [`names`] | what is a valid name of anything, and name templates | everything else |
//! | [`facts`] | what services said, as plain data | SDKs, decisions |
//! | [`retry`] | the error classes, and the backoff schedule | any single service |
//! | `json` | what a text of JSON takes once it is read | what it says |
//! | [`event`] | the wire forms of a lifecycle notification | the network |
//! | [`core`] | everything that is decided | the network, the clock, randomness, async |
//! | [`driver`] | running the core: calls, answers, timers | any decision |
//! | [`queue`] | SQS: receive, extend, release, delete, dead-letter | what a message says |
//! | [`lifecycle`] | Auto Scaling: verify, hooks, heartbeat, complete, proof of termination | SSM, registrars |
//! | [`key_material`] | SSM: parameters, Run Command; what a valid key or certificate request is | registrars |
//! | [`registrar`] | one trait, one file per kind of server, with its keys, what its failures mean, its calls | SQS, Auto Scaling |
//! | [`hooks`] | a group's hooks as they should be: ours, the difference, who waits | AWS itself |
//! | [`launch_kit`] | the script that enrols an instance from its own side | AWS itself |
//! | [`removal`] | taking a node off its server outside of the daemon: proof, order, wait | queues |
//! | [`aws`] | the one shared SDK configuration: HTTP client, time-outs, roles, endpoints | what is called with it |
//! | [`observe`] | what gets logged, counted, timed, audited | decisions |
//! | [`config`] | the file and the environment, checked; of registrars, that there is a list of kinds | the rooms it configures |
//! | [`sweep`] | finding what hooks missed: nodes left behind, instances that nobody comes for | completing anything |
//! | [`cli`] | one file per command; turns configuration into rooms and runs them | everything else's insides |
//! | [`policy`] | the IAM permissions that a configuration needs | AWS itself |
//! | [`simulator`] | the AWS that the worker sees, in one process | the worker's code |
//! | [`demo`] | a fleet against the simulator, and what must become of it | the worker's insides |
//!
//! `names` and `facts` stand below everything, so that the core and the rooms share a vocabulary without knowing each other.

#![forbid(unsafe_code)]

pub mod aws;
pub mod cli;
pub mod config;
pub mod core;
pub mod dead_letters;
pub mod demo;
pub mod driver;
pub mod event;
pub mod facts;
pub mod hooks;
mod json;
pub mod key_material;
pub mod launch_kit;
pub mod lifecycle;
pub mod names;
pub mod observe;
pub mod policy;
pub mod queue;
pub mod registrar;
pub mod removal;
pub mod retry;
pub mod simulator;
pub mod sweep;
