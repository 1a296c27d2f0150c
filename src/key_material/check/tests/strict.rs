//! Requests whose signature is right and whose form is not: another parser could read more in them than is read here.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::*;

/// `ecdsa-with-SHA256`
const ECDSA_SHA256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// `sha256WithRSAEncryption`
const RSA_SHA256: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
/// `id-ecPublicKey` and P-256
const P256: [u8; 19] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const NULL: [u8; 2] = [0x05, 0x00];

/// What is signed in a request of [`NODE`] with this `SubjectPublicKeyInfo`.
fn info(spki: &[u8]) -> Vec<u8> {
    info_with(spki, &[])
}

/// The same with attributes.
fn info_with(spki: &[u8], attributes: &[u8]) -> Vec<u8> {
    let name = [tlv(der::OID, &[0x55, 0x04, 0x03]), tlv(der::UTF8_STRING, NODE.as_bytes())].concat();
    let subject = tlv(der::SEQUENCE, &tlv(der::SET, &tlv(der::SEQUENCE, &name)));
    tlv(der::SEQUENCE, &[&tlv(der::INTEGER, &[0])[..], &subject, spki, &tlv(der::CONTEXT_0, attributes)].concat())
}

fn assembled(info: &[u8], algorithm: &[u8], signature: &[u8]) -> String {
    let signature = tlv(der::BIT_STRING, &[&[0], signature].concat());
    block("CERTIFICATE REQUEST", &tlv(der::SEQUENCE, &[info, &tlv(der::SEQUENCE, algorithm), &signature].concat()))
}

/// A request in which the key stands as the caller makes it of its point, signed with that key.
fn elliptic(algorithm: &[u8], spki: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let info = info(&spki(pair.public_key().as_ref()));
    assembled(&info, algorithm, pair.sign(&SystemRandom::new(), &info).unwrap().as_ref())
}

fn point(bits: &[u8]) -> Vec<u8> {
    tlv(der::BIT_STRING, &[&[0], bits].concat())
}

fn key(parts: &[&[u8]]) -> Vec<u8> {
    tlv(der::SEQUENCE, &[&tlv(der::SEQUENCE, &P256)[..], &parts.concat()].concat())
}

#[test]
fn an_elliptic_key_is_one_point_in_full_and_nothing_else() {
    found(puppet(&elliptic(&ECDSA_SHA256, |bits| key(&[&point(bits)]))));
    let compressed = |bits: &[u8]| [&[2 + (bits[64] & 1)], &bits[1..33]].concat();
    let hybrid = |bits: &[u8]| [&[6 + (bits[64] & 1)], &bits[1..]].concat();
    for (name, odd) in [
        ("a second element", elliptic(&ECDSA_SHA256, |bits| key(&[&point(bits), &tlv(der::UTF8_STRING, b"more")]))),
        ("a second point", elliptic(&ECDSA_SHA256, |bits| key(&[&point(bits), &point(bits)]))),
        ("a broken octet", elliptic(&ECDSA_SHA256, |bits| key(&[&tlv(der::BIT_STRING, &[&[1], bits].concat())]))),
        ("a byte behind the point", elliptic(&ECDSA_SHA256, |bits| key(&[&point(&[bits, &[0]].concat())]))),
        ("a point of one coordinate", elliptic(&ECDSA_SHA256, |bits| key(&[&point(&compressed(bits))]))),
        ("a point in the hybrid form", elliptic(&ECDSA_SHA256, |bits| key(&[&point(&hybrid(bits))]))),
        ("a key that is no bit string", elliptic(&ECDSA_SHA256, |bits| key(&[&tlv(der::OCTET_STRING, bits)]))),
        ("no key at all", elliptic(&ECDSA_SHA256, |_| key(&[]))),
    ] {
        assert_eq!(refused(&puppet(&odd)), ("bad_der", false), "{name}");
    }
    let off_the_curve = elliptic(&ECDSA_SHA256, |bits| key(&[&point(&[&[4], &[7; 32][..], &bits[33..]].concat())]));
    assert_eq!(refused(&puppet(&off_the_curve)), ("bad_signature", false));
}

#[test]
fn a_signatures_algorithm_has_the_parameters_of_its_kind_and_no_others() {
    let whole = |bits: &[u8]| key(&[&point(bits)]);
    for odd in [[&ECDSA_SHA256[..], &NULL].concat(), [&ECDSA_SHA256[..], &tlv(der::UTF8_STRING, b"x")].concat(), Vec::new()] {
        assert_eq!(refused(&puppet(&elliptic(&odd, whole))), ("wrong_algorithm", false), "{odd:?}");
    }

    let info = info(&pem::parse(rsa_pair().public_key_pem()).unwrap().into_contents());
    let signature = rcgen::SigningKey::sign(rsa_pair(), &info).unwrap();
    found(puppet(&assembled(&info, &[&RSA_SHA256[..], &NULL].concat(), &signature)));
    let none = RSA_SHA256.to_vec();
    let twice = [&RSA_SHA256[..], &NULL, &NULL].concat();
    let other = [&RSA_SHA256[..], &tlv(der::SEQUENCE, &[])].concat();
    let full_null = [&RSA_SHA256[..], &[0x05, 0x01, 0x00]].concat();
    for odd in [none, twice, other, full_null] {
        assert_eq!(refused(&puppet(&assembled(&info, &odd, &signature))), ("wrong_algorithm", false), "{odd:?}");
    }
}

#[test]
fn an_extension_is_critical_by_the_one_true_value_or_says_nothing() {
    let own_name = tlv(der::SEQUENCE, &tlv(der::DNS_NAME, NODE.as_bytes()));
    let asks = |critical: &[u8]| {
        let parts = [&tlv(der::OID, &[0x55, 0x1d, 0x11])[..], critical, &tlv(der::OCTET_STRING, &own_name)].concat();
        let extensions = tlv(der::SEQUENCE, &tlv(der::SEQUENCE, &parts));
        puppet(&request_with_attribute(&params(NODE), EXTENSION_REQUEST, tlv(der::SET, &extensions)))
    };
    found(asks(&[]));
    found(asks(&[0x01, 0x01, 0xff]));
    for odd in
        [&[0x01, 0x01, 0x00][..], &[0x01, 0x01, 0x01], &[0x01, 0x00], &[0x01, 0x02, 0xff, 0xff], &[0x01, 0x01, 0xff, 0x01, 0x01, 0xff]]
    {
        // The signature's check reads the request with another parser first, which takes some of these for no request.
        assert!(["bad_der", "bad_signature"].contains(&refused(&asks(odd)).0), "{odd:?}");
    }
}

#[test]
fn an_extension_request_is_not_hidden_by_writing_its_identifier_longer() {
    // `pp_cli_auth`, asked for in an attribute whose identifier has a zero before one of its numbers: read leniently it is the same one.
    let wish =
        [tlv(der::OID, &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x8c, 0x4c, 0x01, 0x03, 0x27]), tlv(der::OCTET_STRING, b"\x0c\x04true")];
    let extensions = |wish: &[u8]| tlv(der::SET, &tlv(der::SEQUENCE, &tlv(der::SEQUENCE, wish)));
    let attribute = |oid: &[u8], wish: &[u8]| tlv(der::SEQUENCE, &[tlv(der::OID, oid), extensions(wish)].concat());
    let request = |attributes: Vec<u8>| {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let info = info_with(&key(&[&point(pair.public_key().as_ref())]), &attributes);
        assembled(&info, &ECDSA_SHA256, pair.sign(&SystemRandom::new(), &info).unwrap().as_ref())
    };
    let asked = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
    let microsoft = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x0e];
    let longer = |oid: &[u8]| [&oid[..oid.len() - 1], &[0x80], &oid[oid.len() - 1..]].concat();
    let plain = wish.concat();
    assert_eq!(refused(&puppet(&request(attribute(&asked, &plain)))).0, "authorization_extension");
    for oid in [longer(&asked), longer(&microsoft), [&[0x80][..], &asked].concat()] {
        assert_eq!(refused(&puppet(&request(attribute(&oid, &plain)))), ("bad_der", false), "{oid:x?}");
    }
    // And so for what is asked for.
    let hidden = [tlv(der::OID, &longer(&[0x55, 0x1d, 0x11])), tlv(der::OCTET_STRING, b"\x30\x00")].concat();
    assert_eq!(refused(&puppet(&request(attribute(&asked, &hidden)))), ("bad_der", false));
}
