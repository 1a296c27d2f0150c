//! A route's `registrar`: which kind of server it is, and what was written of it.

use std::ops::Deref;
use std::sync::Arc;

use super::reader::Section;
use super::values::none_of;
use crate::registrar::{Blueprint, Kind, Material};

/// The kinds of registrars that a configuration may name.
pub type Kinds = &'static [&'static Kind];

/// The server that a route's nodes are enrolled with, as it was written. What it can be asked stands at [`Blueprint`].
#[derive(Debug, Clone)]
pub struct Registrar {
    kind: &'static str,
    blueprint: Arc<dyn Blueprint>,
}

impl Registrar {
    /// The kind as it is written.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whether both speak to the same server, if they are asked with the same scope.
    #[must_use]
    pub fn same_server(&self, other: &Self) -> bool {
        self.kind == other.kind && self.identity() == other.identity()
    }

    /// Whether the key material is a certificate request, and not a public key.
    #[must_use]
    pub fn takes_certificate_requests(&self) -> bool {
        self.material() == Material::CertificateRequest
    }
}

impl Deref for Registrar {
    type Target = dyn Blueprint;

    fn deref(&self) -> &Self::Target {
        self.blueprint.as_ref()
    }
}

impl PartialEq for Registrar {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && *self.blueprint == *other.blueprint
    }
}

/// Reads a route's registrar. Its kind decides which keys it has.
pub(super) fn read(section: &Section<'_, '_>, kinds: Kinds) -> Option<Registrar> {
    let written = section.peek("registrar", "kind");
    let Some(kind) = kinds.iter().find(|kind| Some(kind.name) == written) else {
        // Which keys would be right is not known, so nothing but the kind is said to be wrong.
        let table = section.table("registrar", kinds.first()?.keys)?;
        table.read("kind", |given| Err::<(), _>(none_of(given, kinds.iter().map(|kind| kind.name))));
        return None;
    };
    let table = section.table("registrar", kind.keys)?;
    let blueprint = (kind.read)(&table);
    table.refuse_unknown(&[]);
    Some(Registrar { kind: kind.name, blueprint: blueprint?.into() })
}
