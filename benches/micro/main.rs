//! Micro-benchmarks of what every launch takes inside the worker: a body that is decoded, a key that is checked, the core's steps.
//!
//! `cargo bench --bench micro`; `cargo bench --bench micro -- core` for one of them.

mod core;

use divan::Bencher;
use enrolld::event;
use enrolld::key_material::check::check;
use enrolld::key_material::{CsrRules, Engine};
use enrolld::names::NodeName;
use zeroize::Zeroizing;

fn main() {
    divan::main();
}

/// One body of each envelope.
#[divan::bench(args = ["direct-launch", "sns-launch", "eventbridge-launch"])]
fn decode(bencher: Bencher<'_, '_>, sample: &str) {
    let path = format!("{}/tests/events/{sample}.json", env!("CARGO_MANIFEST_DIR"));
    let body = std::fs::read_to_string(path).expect("the samples are there");
    assert!(event::decode(&body).is_ok());
    bencher.bench(|| event::decode(divan::black_box(&body)).is_ok());
}

/// An RSA-2048 public key.
#[divan::bench]
fn public_key(bencher: Bencher<'_, '_>) {
    checks(bencher, &Engine::Chef, include_str!("../../tests/rooms/public.pem"), "i-0a1b2c3d4e5f60718");
}

/// A certificate request, its signature verified.
#[divan::bench]
fn certificate_request(bencher: Bencher<'_, '_>) {
    let engine = Engine::Puppet(CsrRules::new([]).expect("nothing is allowed"));
    checks(bencher, &engine, include_str!("../../fuzz/seeds/certificate_request/rsa.pem"), "i-0a1b2c3d4e5f60718");
}

fn checks(bencher: Bencher<'_, '_>, engine: &Engine, pem: &str, node: &str) {
    let node = NodeName::new(node).expect("it is a node's name");
    bencher.with_inputs(|| Zeroizing::new(pem.to_owned())).bench_values(|value| check(engine, &node, value));
}
