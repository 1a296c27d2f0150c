//! The servers that nodes are enrolled with: one trait, one file per kind of server.
//!
//! A kind of server is a file beside this one, with its configuration keys, what its failures mean, and its calls, and a line in the list below.
//! `docs/new-registrar.md` adds one.

pub mod http;
pub mod kind;
pub mod meaning;

/// Makes the module and the entry of each kind out of its one line.
macro_rules! kinds {
    ($($(#[$where:meta])* mod $file:ident;)*) => {
        $($(#[$where])* mod $file;)*

        /// The kinds of registrars, in the order in which they are documented.
        pub const KINDS: &[&Kind] = &[$(&$file::KIND),*];
    };
}

// The kinds of registrars. A new one is a file here, and its line. (`cargo fmt` does not look into this list: `tests/run fmt` names
// its files.)
kinds! {
    mod opsworks_cm;
    mod chef_server;
    mod puppet_ca;
    mod command;
}

#[cfg(test)]
mod fifth;

pub use chef_server::{ChefError, ChefServer, ChefSettings, NodeWork};
pub use command::{CommandRegistrar, CommandSettings};
pub use kind::{Advice, Agent, Blueprint, Kind, Limits, Material, Rights, Unusable};
pub use meaning::Meaning;
pub use opsworks_cm::{CmEngine, CmSettings, OpsWorksCm, classify as classify_opsworks_cm};
pub use puppet_ca::{PuppetCa, PuppetCaSettings};

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use crate::core::call::NodeOrder;
use crate::facts::{Health, KeyMaterial, ListMark, NodeList, Registration, RegistrationStatus, StatusToken};
use crate::retry::Failure;

/// What a registrar's method returns: a future that is boxed, so that routes can hold registrars of any kind.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// A server that nodes are enrolled with.
///
/// Every method can be called twice for the same node, by two workers at once: a second association with the same key is a
/// success, and so is the disassociation of a node that is not there. Each implementation says in one place what its errors
/// mean; none retries by itself, and none waits longer than its configured time-out.
pub trait Registrar: Debug + Send + Sync {
    /// Associates a node with its key.
    fn associate<'a>(&'a self, order: &'a NodeOrder, key: &'a KeyMaterial) -> Reply<'a, Registration>;

    /// How an association or disassociation stands.
    fn status<'a>(&'a self, order: &'a NodeOrder, token: &'a StatusToken) -> Reply<'a, RegistrationStatus>;

    /// Takes a node off the server.
    fn disassociate<'a>(&'a self, order: &'a NodeOrder) -> Reply<'a, Registration>;

    /// Takes away what this node's association left on the server that is of use to nobody, such as a stranger's certificate that was
    /// revoked, and nothing else: the instance lives, and whatever is good under the node's name may be its own by now. Asked for after a
    /// failure with [`Failure::FOREIGN_CERTIFICATE`] of a launch that goes into service all the same. Most servers have no such thing.
    fn clear<'a>(&'a self, _order: &'a NodeOrder) -> Reply<'a, Registration> {
        Box::pin(async { Ok(Registration::Done) })
    }

    /// Whether the server takes orders.
    fn health(&self) -> Reply<'_, Health>;

    /// Which nodes the server has: the page after a mark, or the first.
    fn list<'a>(&'a self, after: Option<&'a ListMark>) -> Reply<'a, NodeList>;
}

/// How many characters of a key in a row show that a message repeats it.
const TELLING: usize = 24;

/// A failure whose detail repeats no part of the key: services like to quote the value that they find invalid.
#[must_use]
pub fn without_key(failure: Failure, key: &KeyMaterial) -> Failure {
    let body: Vec<u8> = key.pem().lines().filter(|line| !line.starts_with("-----")).flat_map(str::bytes).collect();
    // A quoted key can have its line breaks, escaped ones, or none.
    let detail: Vec<u8> = failure.detail.replace("\\n", "").bytes().filter(u8::is_ascii_graphic).collect();
    let repeats = detail.windows(TELLING).any(|part| body.windows(TELLING).any(|of_key| of_key == part));
    if repeats || failure.detail.contains("-----BEGIN") {
        Failure { detail: "the message repeats the key material and is left out".into(), ..failure }
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::Class;
    use zeroize::Zeroizing;

    #[test]
    fn a_message_that_quotes_the_key_is_left_out() {
        let body = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAu1SU1LfVLPHCozMxH2Mo\n4lgOEePzNm0tRgeLezV6ffAt0gunVTLw7onLRnrq0/IzW7yWR7QkrmBL7jTKEn5u";
        let key = KeyMaterial::new(Zeroizing::new(format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")));
        let shown = |detail: &str| without_key(Failure::new(Class::Final, "ValidationException", detail), &key).detail;
        for quoted in [
            format!("Value '{}' is invalid", key.pem()),
            format!("Value '{}' is invalid", key.pem().replace('\n', "\\n")),
            format!("invalid: {}", &body[10..40]),
            format!("invalid: {}", body[50..100].replace('\n', "\\n")),
        ] {
            assert!(!shown(&quoted).contains("QEFAA") && !shown(&quoted).contains("MxH2Mo"), "{quoted}");
        }
        assert_eq!(shown("the node name is not valid"), "the node name is not valid");
    }
}
