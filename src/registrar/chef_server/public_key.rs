//! RSA public keys as servers keep them: two PEM forms of the same key are one key.

use pem::{EncodeConfig, LineEnding, Pem};
use x509_parser::asn1_rs::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

/// `AlgorithmIdentifier` of a plain RSA key (RFC 3279): `rsaEncryption` and NULL.
const RSA: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// A public key, as its `SubjectPublicKeyInfo` in DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Reads a key from its PEM text: `PUBLIC KEY`, or `RSA PUBLIC KEY`, which is brought into the other form. None where it is
    /// neither.
    pub(super) fn from_pem(text: &str) -> Option<Self> {
        let block = pem::parse(text.trim()).ok()?;
        match block.tag() {
            "PUBLIC KEY" => {
                let (rest, _) = SubjectPublicKeyInfo::from_der(block.contents()).ok()?;
                rest.is_empty().then(|| Self(block.contents().to_vec()))
            }
            "RSA PUBLIC KEY" => {
                let mut bits = vec![0];
                bits.extend_from_slice(block.contents());
                let parts = [&RSA[..], &element(0x03, &bits)].concat();
                Some(Self(element(0x30, &parts)))
            }
            _ => None,
        }
    }

    /// The key in PEM, in the form that every Chef server takes: `PUBLIC KEY`.
    pub(super) fn to_pem(&self) -> String {
        pem::encode_config(&Pem::new("PUBLIC KEY", self.0.as_slice()), EncodeConfig::new().set_line_ending(LineEnding::LF))
    }
}

/// A DER element: tag, length in its shortest form, content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut all = vec![tag];
    match (content.len(), u8::try_from(length.len())) {
        (0..=0x7f, _) => all.extend(u8::try_from(content.len())),
        (_, Ok(bytes)) => {
            all.push(0x80 | bytes);
            all.extend_from_slice(length);
        }
        (_, Err(_)) => unreachable!("a usize has at most sixteen bytes"),
    }
    all.extend_from_slice(content);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::KeyPair as _;

    /// Both PEM forms of a fresh key.
    fn forms(size: KeySize) -> (String, String) {
        let key = KeyPair::generate(size).unwrap();
        let spki: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        let pkcs1 = key.public_key().as_ref().to_vec();
        (pem::encode(&Pem::new("PUBLIC KEY", spki.as_ref())), pem::encode(&Pem::new("RSA PUBLIC KEY", pkcs1)))
    }

    #[test]
    fn both_forms_of_a_key_are_the_same_key_whatever_their_line_ends() {
        for size in [KeySize::Rsa2048, KeySize::Rsa3072] {
            let (spki, pkcs1) = forms(size);
            let key = PublicKey::from_pem(&spki).unwrap();
            assert_eq!(PublicKey::from_pem(&pkcs1).unwrap(), key);
            assert_eq!(PublicKey::from_pem(&spki.replace("\r\n", "\n")).unwrap(), key);
            assert_eq!(PublicKey::from_pem(&format!("\n{}\n\n", spki.replace("\r\n", "\n").trim())).unwrap(), key);
            assert_eq!(key.to_pem(), spki.replace("\r\n", "\n"));
        }
    }

    #[test]
    fn two_keys_are_two() {
        assert_ne!(PublicKey::from_pem(&forms(KeySize::Rsa2048).0), PublicKey::from_pem(&forms(KeySize::Rsa2048).0));
    }

    #[test]
    fn what_is_no_public_key_is_none() {
        let key = PublicKey::from_pem(&forms(KeySize::Rsa2048).0).unwrap();
        let mut longer = key.0.clone();
        longer.push(0);
        for bad in [
            String::new(),
            "none".to_owned(),
            pem::encode(&Pem::new("CERTIFICATE", key.0.as_slice())),
            pem::encode(&Pem::new("PUBLIC KEY", longer)),
            pem::encode(&Pem::new("PUBLIC KEY", [1, 2, 3])),
        ] {
            assert_eq!(PublicKey::from_pem(&bad), None, "{bad}");
        }
    }
}
