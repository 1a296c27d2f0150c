//! Requests and certificates as the server shows them: enough to say whose they are, and whether one was made of the other.

use std::fmt;

use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::{FromDer, ParsedCriAttribute};

use crate::names::NodeName;

/// What an authority puts into every certificate by itself: it shapes the certificate, and gives its holder nothing that the request could
/// ask for. Puppet Server 7.9.5 writes the first six, and takes none of them from a request; the rest is what other authorities add, to say
/// where their lists are.
const OF_THE_AUTHORITY: [&str; 9] = [
    "2.5.29.14",              // subjectKeyIdentifier
    "2.5.29.15",              // keyUsage
    "2.5.29.19",              // basicConstraints; that it is no authority is looked at
    "2.5.29.35",              // authorityKeyIdentifier
    "2.5.29.37",              // extKeyUsage
    "2.16.840.1.113730.1.13", // a comment ("Puppet Server Internal Certificate")
    "2.5.29.31",              // cRLDistributionPoints
    "2.5.29.46",              // freshestCRL
    "1.3.6.1.5.5.7.1.1",      // authorityInfoAccess
];
/// subjectAltName.
const ALTERNATIVE_NAMES: &str = "2.5.29.17";
/// `UTF8String`, `PrintableString`, `IA5String`.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
/// By how much Puppet's authorities date a certificate back (`cert-validity-dates` in Puppet Server 7.9.5), in seconds. Of one that does not,
/// a certificate seems to be made a day later than it was.
const DATED_BACK: i64 = 24 * 3600;

/// In what a certificate differs from the request that it should have been made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    /// It is for another key.
    Key,
    /// It is in another name, or also in another name.
    Name,
    /// It has an extension that was not asked for, or has not one that was.
    Extension,
    /// It is too long to be read.
    Length,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "another key than the node's request",
            Self::Name => "other names than the node's request",
            Self::Extension => "other extensions than the node's request",
            Self::Length => "more in it than can be read",
        })
    }
}

/// A certificate request in DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request(Vec<u8>);

impl Request {
    /// Reads the one request of a PEM text.
    pub(super) fn read(pem: &str) -> Option<Self> {
        let Pending(der) = Pending::read(pem)?;
        let (rest, _) = X509CertificationRequest::from_der(&der).ok()?;
        if rest.is_empty() { Some(Self(der)) } else { None }
    }
}

/// What is pending, as it came: anybody may submit it, and the server reads more than we do. So it is compared, and never read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending(Vec<u8>);

impl Pending {
    /// Takes what the one request of a PEM text holds, whatever that is.
    pub(super) fn read(pem: &str) -> Option<Self> {
        block(pem, &["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"]).map(Self)
    }

    /// Whether it is this request, byte for byte.
    pub(super) fn is(&self, request: &Request) -> bool {
        self.0 == request.0
    }
}

/// A certificate, in PEM and in DER; both are empty of one that is too long to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The one certificate, in PEM.
    pub(super) pem: String,
    der: Vec<u8>,
}

impl Certificate {
    /// One of which nothing is known, but that it is not what was made of a node's request.
    pub(super) fn too_long() -> Self {
        Self { pem: String::new(), der: Vec::new() }
    }

    /// Reads the one certificate of a PEM text.
    pub(super) fn read(pem: &str) -> Option<Self> {
        let der = block(pem, &["CERTIFICATE", "X509 CERTIFICATE"])?;
        let (rest, _) = X509Certificate::from_der(&der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let canonical =
            pem::encode_config(&pem::Pem::new("CERTIFICATE", der.clone()), pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF));
        Some(Self { pem: canonical, der })
    }

    fn parsed(&self) -> X509Certificate<'_> {
        X509Certificate::from_der(&self.der).expect("it was read so before").1
    }

    /// When it was signed, in Unix seconds: by its own word, which is the authority's.
    pub(super) fn signed_at(&self) -> i64 {
        if self.der.is_empty() {
            return i64::MIN;
        }
        self.parsed().validity().not_before.timestamp().saturating_add(DATED_BACK)
    }

    /// In what it differs from a node's request, beside what every certificate of the authority's has; none where it is what was asked for.
    pub(super) fn differs(&self, request: &Request, node: &NodeName) -> Option<Difference> {
        if self.der.is_empty() {
            return Some(Difference::Length);
        }
        let (_, request) = X509CertificationRequest::from_der(&request.0).expect("it was read so before");
        let certificate = self.parsed();
        if certificate.public_key().raw != request.certification_request_info.subject_pki.raw {
            return Some(Difference::Key);
        }
        let (made, asked) = (certificate.extensions(), requested(&request));
        // The authority puts the name itself among the alternative ones.
        let names = (other_names(made, node), other_names(&asked, node));
        if !is_named(&certificate, node) || names.0.is_none() || names.0 != names.1 {
            return Some(Difference::Name);
        }
        let same = |made: &X509Extension<'_>, asked: &X509Extension<'_>| made.oid == asked.oid && says(made.value, asked.value);
        let own = |one: &&X509Extension<'_>| !is_the_authoritys(one);
        let all = made.iter().filter(own).all(|made| asked.iter().any(|asked| same(made, asked)))
            && asked.iter().filter(own).all(|asked| made.iter().any(|made| same(made, asked)));
        (!all || certificate.is_ca()).then_some(Difference::Extension)
    }
}

/// The extensions that a request asks for.
fn requested<'a>(request: &'a X509CertificationRequest<'a>) -> Vec<X509Extension<'a>> {
    let attributes = request.certification_request_info.iter_attributes();
    attributes
        .filter_map(|attribute| match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(wanted) => Some(wanted.extensions.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}

/// Whether its subject is the node's name, and nothing else.
fn is_named(certificate: &X509Certificate<'_>, node: &NodeName) -> bool {
    let mut names = certificate.subject().iter_attributes();
    let name = names.next().filter(|name| *name.attr_type() == x509_parser::oid_registry::OID_X509_COMMON_NAME);
    name.is_some_and(|name| name.as_str() == Ok(node.as_str())) && names.next().is_none()
}

/// The alternative names beside the node's own, in order; none where they cannot be read.
fn other_names(extensions: &[X509Extension<'_>], node: &NodeName) -> Option<Vec<String>> {
    let mut others = Vec::new();
    for extension in extensions.iter().filter(|extension| extension.oid.to_id_string() == ALTERNATIVE_NAMES) {
        let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else { return None };
        let others_here = names.general_names.iter().filter(|name| **name != GeneralName::DNSName(node.as_str()));
        others.extend(others_here.map(|name| format!("{name:?}")));
    }
    others.sort_unstable();
    others.dedup();
    Some(others)
}

fn is_the_authoritys(extension: &X509Extension<'_>) -> bool {
    let id = extension.oid.to_id_string();
    id == ALTERNATIVE_NAMES || OF_THE_AUTHORITY.contains(&id.as_str())
}

/// Whether what an extension has become is what was asked for: the same text, whatever form it has; or, as Puppet Server 7.9.5 writes what
/// is no `UTF8String`, all of what was asked for as the content of one.
fn says(made: &[u8], asked: &[u8]) -> bool {
    text(made) == text(asked) || text(made) == asked
}

/// A value without its tag where it is one short text; all of it where it is not.
fn text(value: &[u8]) -> &[u8] {
    match value {
        [tag, length, text @ ..] if TEXTS.contains(tag) && *length < 0x80 && usize::from(*length) == text.len() => text,
        _ => value,
    }
}

/// The bytes of a text that is one PEM block with one of the labels.
fn block(text: &str, labels: &[&str]) -> Option<Vec<u8>> {
    let mut blocks = pem::parse_many(text).ok()?;
    let only = blocks.pop().filter(|_| blocks.is_empty())?;
    labels.contains(&only.tag()).then(|| only.into_contents())
}
