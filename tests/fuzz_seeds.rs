//! What the fuzz targets hold to, on their seeds and on a fixed number of changes of each: the same functions that the fuzzer calls.

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::fs;
use std::path::PathBuf;

/// Changes that are tried of each seed.
const CHANGES: usize = 400;

/// The fuzzer's own words, which text from elsewhere seldom has.
const WORDS: &[&str] = &[
    "-----BEGIN PUBLIC KEY-----",
    "-----END PUBLIC KEY-----",
    "PRIVATE KEY",
    "{instance_id}",
    "\"",
    "\\u0000",
    "\n",
    "\u{202e}",
    "${",
    "*",
    "]]",
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("it is a file").path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{target} has few seeds");
    files.into_iter().map(|file| fs::read(file).expect("it can be read")).collect()
}

/// One of the changes that a fuzzer makes: a bit, a byte, a piece gone, doubled, moved or put in.
fn changed(seed: &[u8], others: &[Vec<u8>], dice: &mut fastrand::Rng) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..dice.usize(1..4) {
        let at = dice.usize(..=data.len());
        let to = (at + dice.usize(..40)).min(data.len());
        match dice.u8(..6) {
            0 if at < data.len() => data[at] ^= 1 << dice.u8(..8),
            1 if at < data.len() => data[at] = dice.u8(..),
            2 => drop(data.drain(at..to)),
            3 => drop(data.splice(at..at, data[at..to].to_vec()).collect::<Vec<_>>()),
            4 => drop(data.splice(at..to, dice.choice(WORDS).expect("there are words").bytes()).collect::<Vec<_>>()),
            _ => {
                let other = dice.choice(others).expect("there are seeds");
                let from = dice.usize(..=other.len());
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
        }
    }
    data
}

fn try_all(target: &str, run: impl Fn(&[u8])) {
    let seeds = seeds(target);
    let mut dice = fastrand::Rng::with_seed(5);
    for seed in &seeds {
        run(seed);
        for _ in 0..CHANGES {
            run(&changed(seed, &seeds, &mut dice));
        }
    }
    for odd in [&b""[..], b"\0", &[0xff; 64], "\u{feff}{}".as_bytes(), &[b'['; 100_000]] {
        run(odd);
    }
}

#[test]
fn any_message_is_read_or_refused() {
    try_all("message", targets::message);
}

#[test]
fn only_a_strong_public_key_gets_through() {
    try_all("public_key", targets::public_key);
}

#[test]
fn only_a_nodes_own_request_gets_through() {
    try_all("certificate_request", targets::certificate_request);
}

#[test]
fn any_template_names_each_instance_apart_or_none() {
    try_all("template", targets::template);
}

#[test]
fn any_configuration_is_read_or_refused_with_a_line_for_each_mistake() {
    try_all("configuration", targets::configuration);
}

#[test]
fn the_seeds_reach_what_they_are_for() {
    let through = |target: &str, run: fn(&[u8]) -> bool| seeds(target).iter().filter(|seed| run(seed)).count();
    let reads = |seed: &[u8]| std::str::from_utf8(seed).is_ok_and(|text| enrolld::event::decode(text).is_ok());
    assert_eq!(through("message", reads), 8);
    let parses =
        |seed: &[u8]| std::str::from_utf8(seed).is_ok_and(|text| enrolld::config::parse(text, "seed", &Default::default()).is_ok());
    assert_eq!(through("configuration", parses), 6);
    let requests = |seed: &[u8]| targets::is_let_through(seed, true);
    assert_eq!(through("certificate_request", requests), 4, "both kinds of key, the own name, and the role that is allowed");
    let keys = |seed: &[u8]| targets::is_let_through(seed, false);
    assert_eq!(through("public_key", keys), 2);
}

#[test]
fn the_seed_that_hides_what_it_asks_for_is_a_request_of_the_nodes_own_and_is_refused_for_its_form_alone() {
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::FromDer;

    let read = |name: &str| {
        fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/certificate_request").join(name)).expect("it is there")
    };
    let seed = read("hidden-cli-auth.pem");
    let (_, block) = x509_parser::pem::parse_x509_pem(&seed).expect("it is PEM");
    let (_, request) = X509CertificationRequest::from_der(&block.contents).expect("another reader reads it");
    request.verify_signature().expect("its signature is its own");
    assert!(request.requested_extensions().is_none(), "another reader sees nothing that it asks for");
    assert!(block.contents.windows(6).any(|bytes| bytes == b"\x0c\x04true"), "and yet it does");
    assert!(!targets::is_let_through(&seed, true));
}
