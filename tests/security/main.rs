//! What an attacker tries from outside, against the real worker: another instance's key, an endpoint without TLS, a look into its memory.

#[path = "../policy/bench.rs"]
#[allow(dead_code, reason = "the tests of the policies use the rest")]
mod bench;
mod memory;
mod owner;
mod tls;
mod wire;
