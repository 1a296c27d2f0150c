//! The whole worker over the simulator, by HTTP and with the real SDKs: in this process where the test looks at AWS alone, and as the
//! real binary where it is about the process.

#[path = "../common/odd_messages.rs"]
mod odd_messages;
#[path = "../common/permissions.rs"]
mod permissions;

mod bench;
mod claims;
mod flood;
mod held;
mod keys;
mod odd;
mod other_hooks;
mod outages;
mod panics;
mod peers;
mod process;
mod secrets;
mod shutdown;
mod storm;
mod warm_pool;
mod ways;
