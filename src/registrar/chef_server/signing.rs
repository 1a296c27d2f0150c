//! How requests to a Chef server are signed: version 1.3 of its protocol, with SHA-256.
//!
//! Source: the Chef Infra Server API's "Authentication Headers", and mixlib-authentication, which the servers themselves use.
//! Versions 1.0 and 1.1 stand on SHA-1 and are not offered: every Chef server since 12.4 takes 1.3, and goiardi does.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::Method;
use jiff::Timestamp;

use crate::registrar::http::PrivateKey;

/// What `X-Ops-Server-API-Version` says: since this version the server keeps keys apart from clients.
pub(super) const API_VERSION: &str = "1";

/// Characters of the signature in one header (RFC 2045's lines, as Ruby's `Base64.encode64` makes them).
const LINE: usize = 60;

/// Signs requests in the name of one client.
pub(super) struct Signer {
    name: String,
    key: KeyPair,
    random: SystemRandom,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is signed of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) method: &'a Method,
    /// The path as it is sent, without its query.
    pub(super) path: &'a str,
    pub(super) body: &'a [u8],
    pub(super) at: Timestamp,
}

impl Signer {
    /// Signs as a client with its key; none where the key is no RSA key that can sign (AWS-LC takes 2048 bits and more).
    pub(super) fn new(name: &str, key: &PrivateKey) -> Option<Self> {
        Some(Self { name: name.to_owned(), key: key.rsa()?, random: SystemRandom::new() })
    }

    /// The name of whom it signs as.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The headers that make a request a signed one.
    pub(super) fn headers(&self, request: Signed<'_>) -> Vec<(String, String)> {
        let hash = content_hash(request.body);
        let time = time(request.at);
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &self.random, self.canonical(request, &hash, &time).as_bytes(), &mut signature)
            .expect("a key that was taken signs any message into a buffer of its modulus' length");
        let signature = BASE64.encode(signature);
        let mut headers = vec![
            ("X-Ops-Sign".to_owned(), "algorithm=sha256;version=1.3;".to_owned()),
            ("X-Ops-Userid".to_owned(), self.name.clone()),
            ("X-Ops-Timestamp".to_owned(), time),
            ("X-Ops-Content-Hash".to_owned(), hash),
            ("X-Ops-Server-API-Version".to_owned(), API_VERSION.to_owned()),
        ];
        let lines = signature.as_bytes().chunks(LINE).enumerate();
        // Base64 is ASCII, so that a line of it is text.
        headers.extend(lines.map(|(at, line)| (format!("X-Ops-Authorization-{}", at + 1), String::from_utf8_lossy(line).into_owned())));
        headers
    }

    /// The text that is signed.
    fn canonical(&self, request: Signed<'_>, hash: &str, time: &str) -> String {
        format!(
            "Method:{}\nPath:{}\nX-Ops-Content-Hash:{hash}\nX-Ops-Sign:version=1.3\nX-Ops-Timestamp:{time}\nX-Ops-UserId:{}\n\
             X-Ops-Server-API-Version:{API_VERSION}",
            request.method, request.path, self.name
        )
    }
}

fn content_hash(body: &[u8]) -> String {
    BASE64.encode(digest::digest(&digest::SHA256, body))
}

/// ISO 8601 in UTC, in whole seconds.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rsa;
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    fn signer() -> Signer {
        let key = KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = aws_lc_rs::encoding::AsDer::as_der(&key).unwrap();
        let pem = pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref()));
        Signer::new("spec-user", &PrivateKey::from_pem(pem.as_bytes()).unwrap()).unwrap()
    }

    fn request(body: &[u8]) -> Signed<'_> {
        Signed { method: &Method::POST, path: "/organizations/clownco", body, at: "2009-01-01T12:00:00.75Z".parse().unwrap() }
    }

    /// The same method, path, body, time and user as in mixlib-authentication's own tests, whose values these are.
    #[test]
    fn the_canonical_request_is_that_of_the_protocols_own_tests() {
        let hash = content_hash(b"Spec Body");
        assert_eq!(hash, "hDlKNZhIhgso3Fs0S0pZwJ0xyBWtR1RBaeHs1DrzOho=");
        assert_eq!(
            signer().canonical(request(b"Spec Body"), &hash, &time(request(b"").at)),
            "Method:POST\nPath:/organizations/clownco\nX-Ops-Content-Hash:hDlKNZhIhgso3Fs0S0pZwJ0xyBWtR1RBaeHs1DrzOho=\n\
             X-Ops-Sign:version=1.3\nX-Ops-Timestamp:2009-01-01T12:00:00Z\nX-Ops-UserId:spec-user\nX-Ops-Server-API-Version:1"
        );
    }

    #[test]
    fn the_headers_carry_a_signature_of_the_canonical_request() {
        let signer = signer();
        for (body, hash) in
            [(&b"Spec Body"[..], "hDlKNZhIhgso3Fs0S0pZwJ0xyBWtR1RBaeHs1DrzOho="), (b"", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")]
        {
            let headers = signer.headers(request(body));
            let of = |name: &str| headers.iter().find(|(its, _)| its == name).map(|(_, value)| value.as_str());
            assert_eq!(of("X-Ops-Sign"), Some("algorithm=sha256;version=1.3;"));
            assert_eq!(of("X-Ops-Userid"), Some("spec-user"));
            assert_eq!(of("X-Ops-Timestamp"), Some("2009-01-01T12:00:00Z"));
            assert_eq!(of("X-Ops-Content-Hash"), Some(hash));
            assert_eq!(of("X-Ops-Server-API-Version"), Some("1"));
            // 256 bytes in base64, in lines of 60.
            let lines: Vec<&str> = (1..).map_while(|at| of(&format!("X-Ops-Authorization-{at}"))).collect();
            assert_eq!(lines.iter().map(|line| line.len()).collect::<Vec<_>>(), [60, 60, 60, 60, 60, 44]);
            let canonical = signer.canonical(request(body), hash, "2009-01-01T12:00:00Z");
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, aws_lc_rs::signature::KeyPair::public_key(&signer.key))
                .verify(canonical.as_bytes(), &BASE64.decode(lines.concat()).unwrap())
                .unwrap();
        }
    }

    #[test]
    fn only_rsa_keys_sign() {
        let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
        assert!(Signer::new("x", &PrivateKey::from_pem(elliptic.as_bytes()).unwrap()).is_none());
        assert_eq!(format!("{:?}", signer()), "Signer { name: \"spec-user\", .. }");
    }
}
