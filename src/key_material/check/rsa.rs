//! What a usable RSA public key is.

use super::Refusal;
use super::der::{self, Reader, SEQUENCE};

/// The shortest modulus, in bits (NIST SP 800-131A; what Chef and Puppet themselves make is longer).
const SHORTEST: usize = 2048;
/// The longest modulus, in bits (OpenSSL's own limit): longer ones cost whoever verifies with them.
const LONGEST: usize = 16_384;
/// The longest public exponent, in bytes (OpenSSL's limit for long moduli).
const LONGEST_EXPONENT: usize = 8;

/// `rsaEncryption` with its NULL parameter: the one algorithm identifier for a plain RSA key (RFC 3279).
pub(super) const ALGORITHM: [u8; 13] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Checks a PKCS#1 `RSAPublicKey`.
pub(super) fn check(pkcs1: &[u8]) -> Result<(), Refusal> {
    let (modulus, exponent) =
        numbers(pkcs1).ok_or_else(|| Refusal::new("bad_der", "it is not the strict DER form of an RSA public key"))?;
    let bits = modulus.len() * 8 - modulus[0].leading_zeros() as usize;
    if bits < SHORTEST {
        return Err(Refusal::new("weak_key", format!("its RSA modulus has {bits} bits; at least {SHORTEST} are needed")));
    }
    if bits > LONGEST {
        return Err(Refusal::new("oversized_key", format!("its RSA modulus has {bits} bits; at most {LONGEST} are taken")));
    }
    if modulus[modulus.len() - 1] & 1 == 0 {
        return Err(Refusal::new("weak_key", "its RSA modulus is even"));
    }
    if exponent.len() > LONGEST_EXPONENT || exponent[exponent.len() - 1] & 1 == 0 || exponent == [1] {
        return Err(Refusal::new("weak_key", "its RSA exponent is not an odd number from 3 to 2^64"));
    }
    Ok(())
}

/// Checks the `SubjectPublicKeyInfo` of an RSA key.
pub(super) fn check_spki(spki: &[u8]) -> Result<(), Refusal> {
    let parts = || {
        let mut spki = der::inside(spki, SEQUENCE)?;
        let algorithm = spki.take(SEQUENCE)?;
        let key = spki.octets_of_bits()?;
        spki.is_empty().then_some((algorithm, key))
    };
    let (algorithm, key) = parts().ok_or_else(|| Refusal::new("bad_der", "it is not the strict DER form of a public key"))?;
    if algorithm != ALGORITHM {
        return Err(Refusal::new("wrong_algorithm", "it is not a plain RSA key"));
    }
    check(key)
}

/// Modulus and exponent, neither of them empty.
fn numbers(pkcs1: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut key: Reader<'_> = der::inside(pkcs1, SEQUENCE)?;
    let numbers = (key.positive()?, key.positive()?);
    key.is_empty().then_some(numbers)
}
