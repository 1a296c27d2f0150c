//! Whether a text holds a private key, in any of the forms that tools write.

use aws_smithy_types::base64;
use zeroize::Zeroizing;

use super::der::{INTEGER, OCTET_STRING, OID, SEQUENCE};

/// Texts that stand in private keys alone: PEM labels of every kind (`PRIVATE KEY`, `RSA PRIVATE KEY`, `ENCRYPTED PRIVATE KEY`,
/// `OPENSSH PRIVATE KEY`), PuTTY's files, the base64 and the plain form of OpenSSH's magic, what `openssl rsa -text` prints, and BIND's
/// files.
const SIGNS: [&str; 7] = [
    "PRIVATE KEY",
    "PuTTY-User-Key-File",
    "b3BlbnNzaC1rZXktdjE",
    "openssh-key-v1",
    "Private-Key:",
    "privateExponent",
    "Private-key-format",
];

/// How much of a base64 word is decoded: the beginning of every private key fits.
const HEAD: usize = 64;
/// The shortest base64 word that is looked at.
const SHORTEST_WORD: usize = 24;

/// Whether a private key, encrypted or not, is seen anywhere in the text.
pub(super) fn is_in(text: &str) -> bool {
    SIGNS.iter().any(|sign| contains_ignoring_case(text, sign))
        || is_private_jwk(text)
        || XML.iter().all(|element| text.contains(element))
        || words(text).any(begins_private_key)
        || is_in_base64(text)
}

/// Whether DER bytes begin like a private key.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    /// `1.2.840.113549.1.5` (PKCS#5) and `1.2.840.113549.1.12.1` (PKCS#12): how a private key is encrypted.
    const ENCRYPTION: [&[u8]; 2] =
        [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01]];
    let Some(body) = after_header(bytes, SEQUENCE) else { return false };
    match body {
        // Version 0: PKCS#8 (an algorithm follows), PKCS#1 and DSA (a number follows).
        [INTEGER, 1, 0, SEQUENCE, rest @ ..] => starts_with_oid(rest),
        [INTEGER, 1, 0, INTEGER, ..] => true,
        // Version 1: SEC 1 (the scalar follows), PKCS#8 with its public key (an algorithm follows).
        [INTEGER, 1, 1, OCTET_STRING, ..] => true,
        [INTEGER, 1, 1, SEQUENCE, rest @ ..] => starts_with_oid(rest),
        // Version 3: PKCS#12.
        [INTEGER, 1, 3, SEQUENCE, ..] => true,
        // EncryptedPrivateKeyInfo: the algorithm it is encrypted with comes first.
        [SEQUENCE, ..] => after_header(body, SEQUENCE)
            .and_then(|algorithm| after_header(algorithm, OID))
            .is_some_and(|oid| ENCRYPTION.iter().any(|prefix| oid.starts_with(prefix))),
        _ => false,
    }
}

/// What follows the tag and the length of the first element; the length itself does not matter, since only the head is seen.
fn after_header(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (&found, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    if length > 0x80 { rest.get(usize::from(length & 0x7f)..) } else { Some(rest) }
}

/// Whether an element's length and an object identifier follow.
fn starts_with_oid(rest: &[u8]) -> bool {
    matches!(rest, [..=0x7f, OID, ..] | [0x81, _, OID, ..] | [0x82, _, _, OID, ..])
}

fn begins_private_key(word: &str) -> bool {
    let head = &word[..word.len().min(HEAD) / 4 * 4];
    base64::decode(head).map(Zeroizing::new).is_ok_and(|bytes| is_der(&bytes))
}

/// The words of base64 letters in a text, whatever stands between them; an escaped line break (`\n`) ends a word too.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '+' || c == '/' || c == '\\'))
        .flat_map(|part| part.split('\\').enumerate().map(|(at, word)| if at == 0 { word } else { skip_one(word) }))
        .filter(|word| word.len() >= SHORTEST_WORD)
}

/// Without the letter that a backslash escapes.
fn skip_one(word: &str) -> &str {
    word.strip_prefix(['n', 'r', 't']).unwrap_or(word)
}

/// What a JSON Web Key has beside its private member, and that.
const JWK: [&str; 2] = ["\"kty\"", "\"d\""];

/// .NET's XML of an RSA key, and its private part.
const XML: [&str; 2] = ["<RSAKeyValue>", "<D>"];

/// A JSON Web Key with its private member, its quotes escaped or not.
fn is_private_jwk(text: &str) -> bool {
    let text = Zeroizing::new(text.replace('\\', ""));
    JWK.iter().all(|member| text.contains(member))
}

/// Whether a base64 text, in lines or not, holds a private key's text. Nothing is decoded: a sign within base64 is one of three texts, by
/// where it stands, and whatever stands before it or between its lines makes no other of them.
fn is_in_base64(text: &str) -> bool {
    let text = letters_alone(text);
    let holds = |sign: &&str| (0..3).any(|shift| text.contains(&encoded(sign, shift)));
    SIGNS.iter().any(&holds) || JWK.iter().all(holds)
}

/// The letters of a sign in base64 that are its own alone, where it begins this many bytes after a group of three.
fn encoded(sign: &str, shift: usize) -> String {
    let bytes = [&b"???"[..shift], sign.as_bytes()].concat();
    // Each letter is six bits: those that share theirs with what stands before or behind are left out.
    base64::encode(&bytes)[(shift * 8).div_ceil(6)..bytes.len() * 8 / 6].to_owned()
}

/// The letters of base64 in a text, in either alphabet; without line breaks and what they are escaped with.
fn letters_alone(text: &str) -> Zeroizing<String> {
    let mut letters = Zeroizing::new(String::with_capacity(text.len()));
    for (at, part) in text.split('\\').enumerate() {
        let part = if at == 0 { part } else { skip_one(part) };
        letters.extend(part.chars().filter_map(|c| match c {
            '-' => Some('+'),
            '_' => Some('/'),
            '+' | '/' => Some(c),
            _ => c.is_ascii_alphanumeric().then_some(c),
        }));
    }
    letters
}

fn contains_ignoring_case(text: &str, sign: &str) -> bool {
    text.as_bytes().windows(sign.len()).any(|window| window.eq_ignore_ascii_case(sign.as_bytes()))
}
