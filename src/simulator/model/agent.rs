//! What runs on a simulated instance: how it publishes its key material, and what kind of material that is.

use aws_smithy_types::base64;
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::grant::Grant;

/// How an instance behaves once it has launched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentOptions {
    /// How its key material can be had.
    pub publish: Publish,
    /// Whether it publishes again whenever its instance leaves the warm pool; a parameter that is still there refuses it.
    pub each_start: bool,
    /// What material that is.
    pub material: Material,
    /// The role whose session the instance is; the session is named after the instance.
    pub role: String,
    /// When the SSM agent registers, in milliseconds after the launch; never when `null`.
    pub registers_after_ms: Option<u64>,
    /// How a command ends on this instance.
    pub command: CommandOutcome,
    /// Operations that are refused to its role's session, where it asks by itself (`autoscaling:*`).
    pub denied: Vec<String>,
    /// What alone is allowed to it, where that is said.
    pub allowed: Option<Vec<Grant>>,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            publish: Publish::default(),
            each_start: false,
            material: Material::Good,
            role: "enrolld-node".into(),
            registers_after_ms: Some(500),
            command: CommandOutcome::Success,
            denied: Vec::new(),
            allowed: None,
        }
    }
}

/// How an instance publishes its key material.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case", deny_unknown_fields)]
pub enum Publish {
    /// It puts a parameter, as its role's session.
    Parameter {
        /// The name; `{instance_id}` stands for the instance's.
        #[serde(default = "default_parameter")]
        name: String,
        /// Milliseconds after the launch.
        #[serde(default)]
        after_ms: u64,
        /// Up to so many milliseconds more.
        #[serde(default)]
        jitter_ms: u64,
        /// As a SecureString.
        #[serde(default)]
        secure: bool,
    },
    /// A command's standard output shows it.
    RunCommand {
        /// Milliseconds after the launch; earlier commands fail.
        #[serde(default)]
        after_ms: u64,
    },
    /// It never does.
    Never,
}

impl Default for Publish {
    fn default() -> Self {
        Self::Parameter { name: default_parameter(), after_ms: 100, jitter_ms: 0, secure: false }
    }
}

fn default_parameter() -> String {
    "/enrolld/{instance_id}/public-key".into()
}

/// The kind of material that an instance publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Material {
    /// An RSA-2048 public key of its own, as PEM; structurally valid, and nobody has the private half.
    Good,
    /// Text that is no key.
    Garbage,
    /// What looks like a PEM private key.
    PrivateKey,
    /// This text.
    Literal(String),
}

/// How a command ends on an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandOutcome {
    /// It runs; what it prints follows from how the instance publishes its material.
    Success,
    /// It exits with 1.
    Failed,
    /// It runs into its time-out.
    TimedOut,
    /// It never reaches the instance.
    Undeliverable,
}

/// The material of an instance: always the same for the same seed and instance.
#[must_use]
pub fn material(kind: &Material, seed: u64, instance: &str) -> String {
    let mut rng = Rng::with_seed(seed ^ fingerprint(instance));
    match kind {
        Material::Good => public_key(&mut rng),
        Material::Garbage => format!("this is not the key of {instance}\n"),
        Material::PrivateKey => {
            let mut bytes = [0; 1190];
            rng.fill(&mut bytes);
            armour("RSA PRIVATE KEY", &bytes)
        }
        Material::Literal(text) => text.clone(),
    }
}

/// FNV-1a, so that neighbouring ids begin far apart.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A SubjectPublicKeyInfo with a random odd modulus of 2048 bits and the exponent 65537.
fn public_key(rng: &mut Rng) -> String {
    // Everything in it has a fixed length, so the DER around the modulus is fixed too.
    const HEAD: [u8; 33] = [
        0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x82, 0x01,
        0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00,
    ];
    const TAIL: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];
    let mut modulus = [0; 256];
    rng.fill(&mut modulus);
    modulus[0] |= 0x80;
    modulus[255] |= 1;
    let der: Vec<u8> = HEAD.iter().chain(&modulus).chain(&TAIL).copied().collect();
    armour("PUBLIC KEY", &der)
}

fn armour(label: &str, der: &[u8]) -> String {
    let text = base64::encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for start in (0..text.len()).step_by(64) {
        out.push_str(&text[start..text.len().min(start + 64)]);
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_key_is_a_2048_bit_rsa_public_key_and_the_instances_own() {
        let key = material(&Material::Good, 1, "i-0a1b2c3d4e5f60718");
        let block = pem::parse(&key).expect("PEM");
        assert_eq!(block.tag(), "PUBLIC KEY");
        let (rest, info) =
            <x509_parser::x509::SubjectPublicKeyInfo as x509_parser::prelude::FromDer<_>>::from_der(block.contents()).expect("DER");
        assert!(rest.is_empty());
        let x509_parser::public_key::PublicKey::RSA(rsa) = info.parsed().expect("a key") else { panic!("not RSA") };
        assert_eq!(rsa.key_size(), 2048);
        assert_eq!(rsa.try_exponent().expect("exponent"), 65537);
        assert_eq!(key, material(&Material::Good, 1, "i-0a1b2c3d4e5f60718"));
        assert_ne!(key, material(&Material::Good, 1, "i-0a1b2c3d4e5f60719"));
        assert_ne!(key, material(&Material::Good, 2, "i-0a1b2c3d4e5f60718"));
    }
}
