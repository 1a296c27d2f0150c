//! What a valid key is: everything that came out of a parameter or a command is looked at here before anybody else sees it.
//!
//! Reasons for a refusal never repeat the value, nor any part of it.

mod csr;
mod der;
mod private;
mod rsa;
#[cfg(test)]
mod tests;

pub use csr::{CsrRuleError, CsrRules};

use pem::{EncodeConfig, LineEnding, Pem};
use zeroize::Zeroizing;

use crate::facts::{KeyAnswer, KeyMaterial};
use crate::names::NodeName;

/// The longest value, in characters: what AssociateNode takes for an engine attribute.
const LONGEST: usize = 10_000;

/// The kind of server that nodes are enrolled with, which decides what they publish.
#[derive(Debug, Clone)]
pub enum Engine {
    /// An RSA public key in PEM: `PUBLIC KEY` (SubjectPublicKeyInfo) or `RSA PUBLIC KEY` (PKCS#1).
    Chef,
    /// A certificate request in PEM: `CERTIFICATE REQUEST` (PKCS#10).
    Puppet(CsrRules),
}

/// Why a value is not used.
#[derive(Debug)]
struct Refusal {
    code: &'static str,
    reason: String,
    security: bool,
}

impl Refusal {
    /// Somebody's mistake.
    fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), security: false }
    }

    /// Somebody's mistake or worse: to be looked at by a person.
    fn alarm(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), security: true }
    }
}

/// Checks what a node published. Usable material is handed on in one canonical form: the same bytes, base64 in lines of 64, each
/// ended by a line feed.
#[must_use]
pub fn check(engine: &Engine, node: &NodeName, value: Zeroizing<String>) -> KeyAnswer {
    match checked(engine, node, &value) {
        Ok(pem) => KeyAnswer::Found(KeyMaterial::new(pem)),
        Err(Refusal { code, reason, security }) => KeyAnswer::Refused { code, reason, security },
    }
}

/// Whether a value holds a private key, whatever else it is.
#[must_use]
pub fn holds_private_key(value: &str) -> bool {
    private::is_in(value)
}

fn checked(engine: &Engine, node: &NodeName, value: &str) -> Result<Zeroizing<String>, Refusal> {
    // First of all, so that no other refusal hides it.
    if private::is_in(value) {
        return Err(Refusal::alarm("private_key", "a private key was found where the public half belongs; it must be replaced"));
    }
    if value.len() > LONGEST {
        return Err(Refusal::new("too_long", format!("it is longer than {LONGEST} characters")));
    }
    let (label, der) = single_block(value)?;
    if private::is_der(&der) {
        return Err(Refusal::alarm("private_key", "a private key was found under another label; it must be replaced"));
    }
    match (engine, label.as_str()) {
        (Engine::Chef, "PUBLIC KEY") => rsa::check_spki(&der)?,
        (Engine::Chef, "RSA PUBLIC KEY") => rsa::check(&der)?,
        (Engine::Chef, _) => return Err(Refusal::new("wrong_label", "its PEM label is neither PUBLIC KEY nor RSA PUBLIC KEY")),
        (Engine::Puppet(rules), "CERTIFICATE REQUEST") => csr::check(&der, node, rules)?,
        (Engine::Puppet(_), _) => return Err(Refusal::new("wrong_label", "its PEM label is not CERTIFICATE REQUEST")),
    }
    let block = Pem::new(label, der.as_slice());
    let canonical = Zeroizing::new(pem::encode_config(&block, EncodeConfig::new().set_line_ending(LineEnding::LF)));
    drop(Zeroizing::new(block.into_contents()));
    Ok(canonical)
}

/// The label and the bytes of a text that must be one PEM block (RFC 7468), with nothing but ASCII whitespace around it.
fn single_block(value: &str) -> Result<(String, Zeroizing<Vec<u8>>), Refusal> {
    let text = value.trim_ascii();
    if text.is_empty() {
        return Err(Refusal::new("empty", "it is empty"));
    }
    if !text.is_ascii() || !text.starts_with("-----BEGIN ") {
        return Err(Refusal::new("not_pem", "it is not a PEM block, or something stands before it"));
    }
    if text.matches("-----BEGIN").count() != 1 || text.matches("-----END").count() != 1 {
        return Err(Refusal::new("not_one_block", "it is not exactly one PEM block"));
    }
    let block = pem::parse(text).map_err(|_| Refusal::new("not_pem", "its PEM block is broken"))?;
    if block.headers().iter().next().is_some() {
        return Err(Refusal::new("not_pem", "its PEM block has headers"));
    }
    let label = block.tag().to_owned();
    let contents = Zeroizing::new(block.into_contents());
    if !text.ends_with(&format!("-----END {label}-----")) {
        return Err(Refusal::new("not_pem", "something stands after its PEM block"));
    }
    Ok((label, contents))
}
