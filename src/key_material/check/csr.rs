//! What a usable certificate request is: signed by its own key, for exactly the node it stands under, asking for nothing more.
//!
//! A server that signs what it is sent gives away whatever the request asks for: other names are other nodes' identities, and
//! Puppet's authorization extensions are rights on the server itself. So whatever is not known to be harmless is refused.

use wildmatch::WildMatch;
use x509_parser::asn1_rs::Oid;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::der::{self, Reader};
use super::{Refusal, rsa};
use crate::names::NodeName;

/// The extensions that a route lets nodes ask for, beside their own name.
#[derive(Debug, Clone, Default)]
pub struct CsrRules {
    allowed: Vec<(Vec<u8>, WildMatch)>,
}

/// Why a route cannot allow an extension.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrRuleError {
    /// Not an object identifier such as `1.3.6.1.4.1.34380.1.1.1`.
    #[error("{0} is not an object identifier such as 1.3.6.1.4.1.34380.1.1.1")]
    NotAnOid(String),
    /// An extension that gives rights on the server or another's name, whatever its value.
    #[error("{0} cannot be allowed: it gives a node another's name or rights on the server")]
    NeverAllowed(String),
}

/// `1.3.6.1.4.1.34380.1.3`: pp_authorization, pp_auth_role, pp_cli_auth and what else Puppet puts there.
const PUPPET_AUTHORIZATION: [u8; 9] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x8c, 0x4c, 0x01];
/// `1.2.840.113549.1.9.14`: extensionRequest.
const EXTENSION_REQUEST: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
/// `1.3.6.1.4.1.311.2.1.14`: the same by Microsoft, which Puppet reads too.
const MS_EXTENSION_REQUEST: [u8; 10] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x0e];
/// `2.5.4.3`: commonName.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
/// `2.5.29`: the extensions of X.509 itself; they shape the certificate and hold no free text.
const X509_EXTENSIONS: [u8; 2] = [0x55, 0x1d];
/// `2.5.29.17`: subjectAltName.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
/// Signature algorithms that are taken, with their parameters: `sha256/384/512WithRSAEncryption`, whose parameter is NULL
/// (RFC 4055, section 5), and `ecdsa-with-SHA256/384`, which has none (RFC 5758, section 3.2). SHA-1 is not.
const SIGNATURES: [&[u8]; 5] = [
    &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00],
    &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c, 0x05, 0x00],
    &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d, 0x05, 0x00],
    &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
    &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
];
/// `id-ecPublicKey` with P-256 and with P-384, and how long a coordinate is there, in bytes.
const CURVES: [(&[u8], usize); 2] = [
    (&[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], 32),
    (&[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22], 48),
];
/// What a point begins with whose two coordinates follow in full (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 0x04;
/// The content of a `BOOLEAN` that is true: the one form that DER knows (X.690, section 11.1).
const TRUE: [u8; 1] = [0xff];

impl CsrRules {
    /// Takes pairs of an extension's object identifier and a glob (`*`, `?`) that its text must match.
    ///
    /// # Errors
    /// Names the identifier that cannot be allowed.
    pub fn new<'a>(allowed: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, CsrRuleError> {
        let allowed = allowed.into_iter().map(|(oid, glob)| {
            let parsed: Oid<'_> = oid.parse().map_err(|_| CsrRuleError::NotAnOid(crate::names::shown(oid)))?;
            let bytes = parsed.as_bytes().to_vec();
            if is_authorization(&bytes) || bytes.starts_with(&X509_EXTENSIONS) {
                return Err(CsrRuleError::NeverAllowed(oid.to_owned()));
            }
            Ok((bytes, WildMatch::new(glob)))
        });
        Ok(Self { allowed: allowed.collect::<Result<_, _>>()? })
    }
}

/// `1.3.6.1.4.1.34380.1.3` and everything under it.
fn is_authorization(oid: &[u8]) -> bool {
    oid.strip_prefix(&PUPPET_AUTHORIZATION).is_some_and(|rest| rest.first() == Some(&0x03))
}

/// The parts of a request that are decided on.
struct Request<'a> {
    subject: &'a [u8],
    public_key: &'a [u8],
    attributes: Reader<'a>,
    /// The identifier with its parameters.
    signature_algorithm: &'a [u8],
}

/// Checks a DER certification request (PKCS#10) for a node.
pub(super) fn check(request: &[u8], node: &NodeName, rules: &CsrRules) -> Result<(), Refusal> {
    let parts = take_apart(request).ok_or_else(|| Refusal::new("bad_der", "it is not the strict DER form of a certificate request"))?;
    check_subject(parts.subject, node)?;
    check_key(parts.public_key)?;
    check_signature(request, parts.signature_algorithm)?;
    check_attributes(parts.attributes, node, rules)
}

fn take_apart(request: &[u8]) -> Option<Request<'_>> {
    let mut outer = der::inside(request, der::SEQUENCE)?;
    let mut info = outer.enter(der::SEQUENCE)?;
    let signature_algorithm = outer.take(der::SEQUENCE)?;
    outer.octets_of_bits()?;
    let version = info.take(der::INTEGER)?;
    let subject = info.take(der::SEQUENCE)?;
    // The key is wanted with its tag and length, so that it can be read as a whole.
    let mut ahead = info.clone();
    ahead.take(der::SEQUENCE)?;
    let public_key = info.up_to(&ahead)?;
    let attributes = info.enter(der::CONTEXT_0)?;
    (version == [0] && info.is_empty() && outer.is_empty()).then_some(Request { subject, public_key, attributes, signature_algorithm })
}

fn check_subject(subject: &[u8], node: &NodeName) -> Result<(), Refusal> {
    let name = || {
        let mut names = Reader::new(subject);
        let mut set = names.enter(der::SET)?;
        let mut attribute = set.enter(der::SEQUENCE)?;
        let oid = attribute.oid()?;
        let (tag, text) = attribute.element()?;
        let whole = names.is_empty() && set.is_empty() && attribute.is_empty();
        let plain = tag == der::UTF8_STRING || tag == der::PRINTABLE_STRING;
        (whole && plain && oid == COMMON_NAME).then_some(text)
    };
    match name() {
        Some(text) if text == node.as_str().as_bytes() => Ok(()),
        Some(_) => Err(Refusal::alarm("wrong_name", format!("its common name is not {node}"))),
        None => Err(Refusal::new("wrong_name", format!("its subject is not one common name, {node}, and nothing else"))),
    }
}

fn check_key(spki: &[u8]) -> Result<(), Refusal> {
    let algorithm = der::inside(spki, der::SEQUENCE).and_then(|mut key| key.take(der::SEQUENCE));
    let coordinate = CURVES.iter().find(|(curve, _)| algorithm == Some(*curve)).map(|(_, coordinate)| *coordinate);
    match (algorithm, coordinate) {
        (_, Some(coordinate)) => check_point(spki, coordinate),
        (Some(algorithm), None) if algorithm == rsa::ALGORITHM => rsa::check_spki(spki),
        _ => Err(Refusal::new("wrong_algorithm", "its key is neither RSA nor on the curves P-256 or P-384")),
    }
}

/// The form of an elliptic key: one point, and nothing behind it. Whether it lies on the curve shows when the signature is verified.
fn check_point(spki: &[u8], coordinate: usize) -> Result<(), Refusal> {
    let point = || {
        let mut key = der::inside(spki, der::SEQUENCE)?;
        key.take(der::SEQUENCE)?;
        let point = key.octets_of_bits()?;
        key.is_empty().then_some(point)
    };
    match point() {
        Some([UNCOMPRESSED, coordinates @ ..]) if coordinates.len() == 2 * coordinate => Ok(()),
        Some(_) => Err(Refusal::new("bad_der", "its key is not one uncompressed point of its curve")),
        None => Err(Refusal::new("bad_der", "its key is not the strict DER form of a public key")),
    }
}

fn check_signature(request: &[u8], algorithm: &[u8]) -> Result<(), Refusal> {
    if !SIGNATURES.contains(&algorithm) {
        return Err(Refusal::new(
            "wrong_algorithm",
            "it is signed with an algorithm, or with parameters of it, that are not taken; use SHA-256",
        ));
    }
    let refused = || Refusal::new("bad_signature", "it is not signed by the key it holds");
    let (rest, parsed) = X509CertificationRequest::from_der(request).map_err(|_| refused())?;
    if !rest.is_empty() {
        return Err(refused());
    }
    parsed.verify_signature().map_err(|_| refused())
}

/// Attributes other than the request for extensions (a challenge password, Puppet's own) do not get into a certificate.
fn check_attributes(mut attributes: Reader<'_>, node: &NodeName, rules: &CsrRules) -> Result<(), Refusal> {
    let malformed = || Refusal::new("bad_der", "its attributes are not strict DER");
    let mut seen = false;
    while !attributes.is_empty() {
        let mut attribute = attributes.enter(der::SEQUENCE).ok_or_else(malformed)?;
        let oid = attribute.oid().ok_or_else(malformed)?;
        let mut values = attribute.enter(der::SET).ok_or_else(malformed)?;
        if oid == MS_EXTENSION_REQUEST || (oid == EXTENSION_REQUEST && seen) {
            return Err(Refusal::alarm("forbidden_extension", "it asks for extensions in more than the one known place"));
        }
        if oid == EXTENSION_REQUEST {
            seen = true;
            let extensions = values.enter(der::SEQUENCE).filter(|_| values.is_empty()).ok_or_else(malformed)?;
            check_extensions(extensions, node, rules)?;
        }
        if !attribute.is_empty() {
            return Err(malformed());
        }
    }
    Ok(())
}

fn check_extensions(mut extensions: Reader<'_>, node: &NodeName, rules: &CsrRules) -> Result<(), Refusal> {
    let malformed = || Refusal::new("bad_der", "its extensions are not strict DER");
    let mut seen: Vec<&[u8]> = Vec::new();
    while !extensions.is_empty() {
        let (oid, value) = extension(&mut extensions).ok_or_else(malformed)?;
        if seen.contains(&oid) {
            return Err(Refusal::alarm("forbidden_extension", "it asks for one extension twice"));
        }
        seen.push(oid);
        if oid == SUBJECT_ALT_NAME {
            check_names(value, node)?;
        } else if is_authorization(oid) {
            return Err(Refusal::alarm(
                "authorization_extension",
                "it asks for rights on the server (pp_authorization, pp_auth_role or like)",
            ));
        } else if !is_allowed(oid, value, rules) {
            let shown = Oid::new(oid.into());
            return Err(Refusal::new("forbidden_extension", format!("it asks for the extension {shown}, which the route does not allow")));
        }
    }
    Ok(())
}

/// The object identifier and the value of the next extension.
fn extension<'a>(extensions: &mut Reader<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let mut extension = extensions.enter(der::SEQUENCE)?;
    let oid = extension.oid()?;
    let value = match extension.element()? {
        // False is the default, and so is never written.
        (der::BOOLEAN, critical) if critical == TRUE => extension.take(der::OCTET_STRING)?,
        (der::OCTET_STRING, value) => value,
        _ => return None,
    };
    extension.is_empty().then_some((oid, value))
}

/// Alternative names: the node's own, once or more, and no other.
fn check_names(value: &[u8], node: &NodeName) -> Result<(), Refusal> {
    let forbidden = || Refusal::alarm("forbidden_name", format!("it asks for alternative names other than DNS:{node}"));
    let mut names = der::inside(value, der::SEQUENCE).ok_or_else(forbidden)?;
    loop {
        match names.take(der::DNS_NAME) {
            Some(name) if name == node.as_str().as_bytes() => {}
            _ => return Err(forbidden()),
        }
        if names.is_empty() {
            return Ok(());
        }
    }
}

fn is_allowed(oid: &[u8], value: &[u8], rules: &CsrRules) -> bool {
    let text = [der::UTF8_STRING, der::PRINTABLE_STRING, der::IA5_STRING].into_iter().find_map(|tag| der::only(value, tag));
    let Some(text) = text.and_then(|text| std::str::from_utf8(text).ok()) else { return false };
    rules.allowed.iter().any(|(allowed, glob)| allowed == oid && glob.matches(text))
}
