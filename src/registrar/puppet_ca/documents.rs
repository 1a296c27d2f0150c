//! Requests and certificates as the server shows them: enough to say whose they are.

use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

/// A certificate request in DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request(Vec<u8>);

impl Request {
    /// Reads the one request of a PEM text.
    pub(super) fn read(pem: &str) -> Option<Self> {
        let der = block(pem, &["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"])?;
        let (rest, _) = X509CertificationRequest::from_der(&der).ok()?;
        if rest.is_empty() { Some(Self(der)) } else { None }
    }

    /// The public key that it is for (SubjectPublicKeyInfo in DER).
    pub(super) fn public_key(&self) -> Vec<u8> {
        let (_, parsed) = X509CertificationRequest::from_der(&self.0).expect("it was read so before");
        parsed.certification_request_info.subject_pki.raw.to_vec()
    }
}

/// A certificate, as PEM and with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The one certificate, in PEM.
    pub(super) pem: String,
    /// The public key that it is for (SubjectPublicKeyInfo in DER).
    pub(super) public_key: Vec<u8>,
}

impl Certificate {
    /// Reads the one certificate of a PEM text.
    pub(super) fn read(pem: &str) -> Option<Self> {
        let der = block(pem, &["CERTIFICATE", "X509 CERTIFICATE"])?;
        let (rest, parsed) = X509Certificate::from_der(&der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let public_key = parsed.tbs_certificate.subject_pki.raw.to_vec();
        let canonical =
            pem::encode_config(&pem::Pem::new("CERTIFICATE", der), pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF));
        Some(Self { pem: canonical, public_key })
    }
}

/// The bytes of a text that is one PEM block with one of the labels.
fn block(text: &str, labels: &[&str]) -> Option<Vec<u8>> {
    let mut blocks = pem::parse_many(text).ok()?;
    let only = blocks.pop().filter(|_| blocks.is_empty())?;
    labels.contains(&only.tag()).then(|| only.into_contents())
}
