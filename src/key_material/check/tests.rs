//! Hostile and honest values.

use std::sync::OnceLock;

use proptest::prelude::*;
use rcgen::{Attribute, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair, KeyUsagePurpose, SanType};

use super::*;

mod hostile;
mod strict;

const NODE: &str = "i-0a1b2c3d4e5f60718";
/// pp_instance_id
const INSTANCE_ID: &[u64] = &[1, 3, 6, 1, 4, 1, 34380, 1, 1, 2];
const AUTH_ROLE: &[u64] = &[1, 3, 6, 1, 4, 1, 34380, 1, 3, 13];
const EXTENSION_REQUEST: &[u64] = &[1, 2, 840, 113_549, 1, 9, 14];
const MS_EXTENSION_REQUEST: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 2, 1, 14];
const CHALLENGE_PASSWORD: &[u64] = &[1, 2, 840, 113_549, 1, 9, 7];

fn node() -> NodeName {
    NodeName::new(NODE).unwrap()
}

fn chef(value: &str) -> KeyAnswer {
    check(&Engine::Chef, &node(), Zeroizing::new(value.to_owned()))
}

fn puppet_with(rules: &[(&str, &str)], value: &str) -> KeyAnswer {
    let rules = CsrRules::new(rules.iter().copied()).unwrap();
    check(&Engine::Puppet(rules), &node(), Zeroizing::new(value.to_owned()))
}

fn puppet(value: &str) -> KeyAnswer {
    puppet_with(&[], value)
}

#[track_caller]
fn found(answer: KeyAnswer) -> String {
    match answer {
        KeyAnswer::Found(key) => key.pem().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(answer: &KeyAnswer) -> (&'static str, bool) {
    match answer {
        KeyAnswer::Refused { code, security, .. } => (code, *security),
        other => panic!("{other:?}"),
    }
}

/// One DER element.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=0x7f => out.push(short as u8),
        middle @ 0x80..=0xff => out.extend([0x81, middle as u8]),
        long => out.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    out.extend(content);
    out
}

fn integer(magnitude: &[u8]) -> Vec<u8> {
    let lead: &[u8] = if magnitude[0] >= 0x80 { &[0] } else { &[] };
    tlv(der::INTEGER, &[lead, magnitude].concat())
}

fn modulus(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xb5; bits.div_ceil(8)];
    if !bits.is_multiple_of(8) {
        modulus[0] = 1 << (bits % 8 - 1);
    }
    modulus
}

fn pkcs1(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    tlv(der::SEQUENCE, &[integer(modulus), integer(exponent)].concat())
}

fn spki(pkcs1: &[u8]) -> Vec<u8> {
    let key = tlv(der::BIT_STRING, &[&[0], pkcs1].concat());
    tlv(der::SEQUENCE, &[tlv(der::SEQUENCE, &rsa::ALGORITHM), key].concat())
}

fn block(label: &str, der: &[u8]) -> String {
    pem::encode_config(&Pem::new(label, der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

fn good_key() -> String {
    block("PUBLIC KEY", &spki(&pkcs1(&modulus(2048), &[1, 0, 1])))
}

fn rsa_pair() -> &'static KeyPair {
    static PAIR: OnceLock<KeyPair> = OnceLock::new();
    PAIR.get_or_init(|| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap())
}

fn p256() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn request(params: &CertificateParams) -> String {
    params.serialize_request(&p256()).unwrap().pem().unwrap()
}

fn request_with_attribute(params: &CertificateParams, oid: &'static [u64], values: Vec<u8>) -> String {
    params.serialize_request_with_attributes(&p256(), vec![Attribute { oid, values }]).unwrap().pem().unwrap()
}

fn with_extension(oid: &[u64], content: Vec<u8>) -> CertificateParams {
    let mut params = params(NODE);
    params.custom_extensions.push(CustomExtension::from_oid_content(oid, content));
    params
}

fn with_names(names: &[SanType]) -> CertificateParams {
    let mut params = params(NODE);
    params.subject_alt_names = names.to_vec();
    params
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

// Chef

#[test]
fn both_forms_of_an_rsa_public_key_are_taken() {
    assert_eq!(found(chef(&good_key())), good_key());
    let old = block("RSA PUBLIC KEY", &pkcs1(&modulus(4096), &[3]));
    assert_eq!(found(chef(&old)), old);
    found(chef(&rsa_pair().public_key_pem()));
}

#[test]
fn whitespace_and_line_ends_do_not_matter_and_do_not_get_through() {
    let windows = format!("\r\n \t{}\r\n\r\n", good_key().replace('\n', "\r\n"));
    assert_eq!(found(chef(&windows)), good_key());
    assert_eq!(found(chef(&good_key().replacen('\n', "", 1))), good_key());
}

#[test]
fn the_length_of_a_modulus_is_counted_in_bits() {
    for (bits, code) in [(1024, Some("weak_key")), (2047, Some("weak_key")), (2048, None), (16_384, None), (16_385, Some("oversized_key"))]
    {
        let answer = chef(&block("PUBLIC KEY", &spki(&pkcs1(&modulus(bits), &[1, 0, 1]))));
        match code {
            Some(code) => assert_eq!(refused(&answer), (code, false), "{bits}"),
            None => drop(found(answer)),
        }
    }
}

#[test]
fn a_key_that_cannot_be_one_is_refused() {
    let mut even = modulus(2048);
    *even.last_mut().unwrap() = 0xb4;
    for weak in [pkcs1(&even, &[1, 0, 1]), pkcs1(&modulus(2048), &[1]), pkcs1(&modulus(2048), &[1, 0, 0]), pkcs1(&modulus(2048), &[1; 9])] {
        assert_eq!(refused(&chef(&block("RSA PUBLIC KEY", &weak))), ("weak_key", false));
    }
}

#[test]
fn only_strict_der_is_taken() {
    let good = pkcs1(&modulus(2048), &[1, 0, 1]);
    let trailing_inside = tlv(der::SEQUENCE, &[integer(&modulus(2048)), integer(&[3]), integer(&[5])].concat());
    let padded = tlv(der::SEQUENCE, &[tlv(der::INTEGER, &[&[0, 0][..], &modulus(2048)].concat()), integer(&[3])].concat());
    let negative = tlv(der::SEQUENCE, &[tlv(der::INTEGER, &modulus(2048)), integer(&[3])].concat());
    let indefinite = [&[0x30, 0x80][..], &integer(&modulus(2048)), &integer(&[3]), &[0, 0]].concat();
    for bad in [[&good[..], &[0]].concat(), good[..good.len() - 1].to_vec(), trailing_inside, padded, negative, indefinite, Vec::new()] {
        for (label, der) in [("RSA PUBLIC KEY", bad.clone()), ("PUBLIC KEY", spki(&bad)), ("PUBLIC KEY", bad.clone())] {
            let (code, _) = refused(&chef(&block(label, &der)));
            assert!(["bad_der", "wrong_algorithm", "not_pem"].contains(&code), "{code}");
        }
    }
    assert_eq!(refused(&chef(&block("PUBLIC KEY", &[&spki(&good)[..], &[0]].concat()))).0, "bad_der");
}

#[test]
fn a_key_that_is_not_rsa_is_refused() {
    assert_eq!(refused(&chef(&p256().public_key_pem())), ("wrong_algorithm", false));
    let ed = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    assert_eq!(refused(&chef(&ed.public_key_pem())), ("wrong_algorithm", false));
}

#[test]
fn what_is_not_exactly_one_block_is_refused() {
    let good = good_key();
    for (bad, code) in [
        (String::new(), "empty"),
        (" \n\t".to_owned(), "empty"),
        ("pending".to_owned(), "not_pem"),
        (format!("# key\n{good}"), "not_pem"),
        (format!("{good}done"), "not_pem"),
        (format!("\u{feff}{good}"), "not_pem"),
        (format!("\u{a0}{good}"), "not_pem"),
        (format!("{good}\0"), "not_pem"),
        (good.replace("-----END PUBLIC KEY-----", ""), "not_one_block"),
        (good.replace("END PUBLIC KEY", "END RSA PUBLIC KEY"), "not_pem"),
        (good.replacen('\n', "\nProc-Type: 4,X\n\n", 1), "not_pem"),
        (good.replacen('\n', "\n!!", 1), "not_pem"),
        (format!("{good}{good}"), "not_one_block"),
        (good.replace("PUBLIC KEY", "CERTIFICATE"), "wrong_label"),
        (good.replace("PUBLIC KEY", "public key"), "wrong_label"),
        ("x".repeat(LONGEST + 1), "too_long"),
    ] {
        let answer = chef(&bad);
        let (got, security) = refused(&answer);
        assert_eq!((got, security), (code, false), "{bad:?}");
    }
}

// Private keys

fn pkcs1_private() -> Vec<u8> {
    let numbers = [integer(&modulus(2048)), integer(&[1, 0, 1]), integer(&modulus(2040))].concat();
    tlv(der::SEQUENCE, &[tlv(der::INTEGER, &[0]), numbers].concat())
}

fn encrypted_pkcs8() -> Vec<u8> {
    let pbes2 = [tlv(der::OID, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d]), tlv(der::SEQUENCE, &[])].concat();
    tlv(der::SEQUENCE, &[tlv(der::SEQUENCE, &pbes2), tlv(der::OCTET_STRING, &[7; 1200])].concat())
}

fn base64(der: &[u8]) -> String {
    aws_smithy_types::base64::encode(der)
}

const JWK: &str = r#"{"kty":"RSA","n":"x","e":"AQAB","d":"y"}"#;

#[test]
fn a_private_key_is_seen_in_every_form() {
    let pkcs8 = rsa_pair().serialize_pem();
    let elliptic = p256();
    let sec1 = tlv(der::SEQUENCE, &[tlv(der::INTEGER, &[1]), tlv(der::OCTET_STRING, &[9; 32])].concat());
    let values = [
        pkcs8.clone(),
        elliptic.serialize_pem(),
        block("RSA PRIVATE KEY", &pkcs1_private()),
        block("EC PRIVATE KEY", &sec1),
        block("ENCRYPTED PRIVATE KEY", &encrypted_pkcs8()),
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n".to_owned(),
        // Beside, before and after a good public key.
        format!("{}{pkcs8}", good_key()),
        format!("{pkcs8}{}", good_key()),
        // Cut, on one line, with escaped line breaks, in other letters, in JSON.
        pkcs8[..100].to_owned(),
        pkcs8.replace('\n', " "),
        pkcs8.replace('\n', "\\n"),
        pkcs8.to_lowercase(),
        format!("{{\"key\":\"{}\"}}", pkcs8.replace('\n', "\\n")),
        // Without its label, or under another one.
        base64(&pkcs1_private()),
        base64(elliptic.serialized_der()),
        base64(&encrypted_pkcs8()),
        base64(&sec1),
        format!("\\n{}\\n", base64(&pkcs1_private())),
        format!("key={}", base64(&pkcs1_private())),
        block("PUBLIC KEY", &pkcs1_private()),
        block("RSA PUBLIC KEY", &pkcs1_private()),
        block("PUBLIC KEY", rsa_pair().serialized_der()),
        block("CERTIFICATE REQUEST", elliptic.serialized_der()),
        // Other tools' forms.
        "PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\n".to_owned(),
        "Private-Key: (2048 bit, 2 primes)\nmodulus:\n    00:c2\npublicExponent: 65537 (0x10001)\n".to_owned(),
        "privateExponent:\n    59:ba\n".to_owned(),
        "Private-key-format: v1.3\nAlgorithm: 8 (RSASHA256)\n".to_owned(),
        "<RSAKeyValue><Modulus>wg==</Modulus><Exponent>AQAB</Exponent><D>Wbo=</D></RSAKeyValue>".to_owned(),
        JWK.to_owned(),
        JWK.replace('"', "\\\""),
        format!("{{\"key\":\"{}\"}}", JWK.replace('"', "\\\"")),
    ];
    let in_base64 = [
        pkcs8.clone(),
        elliptic.serialize_pem(),
        // As tools write what they export, which moves the rest by a byte or two.
        format!("#{pkcs8}"),
        format!("##{pkcs8}"),
        block("ENCRYPTED PRIVATE KEY", &encrypted_pkcs8()),
        "PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\n".to_owned(),
        JWK.to_owned(),
    ];
    let values = values.into_iter().chain(in_base64.iter().flat_map(|text| {
        let once = base64(text.as_bytes());
        let lines = |end: &str, width: usize| {
            once.as_bytes().chunks(width).map(|line| format!("{}{end}", str::from_utf8(line).unwrap())).collect::<String>()
        };
        let in_other_letters = once.replace('+', "-").replace('/', "_");
        [
            lines("\n", 76),
            lines("\r\n", 64),
            lines("\\n", 64),
            lines("\n", 7),
            in_other_letters,
            format!("key: {once}"),
            format!("data:;base64,{once}"),
            format!("{}{once}", good_key()),
            block("PUBLIC KEY", text.as_bytes()),
            once,
        ]
    }));
    for value in values {
        for answer in [chef(&value), puppet(&value)] {
            assert_eq!(refused(&answer), ("private_key", true), "{value}");
        }
    }
}

#[test]
fn a_private_key_is_seen_even_where_the_value_is_too_long() {
    let value = format!("{}{}", "x".repeat(LONGEST), rsa_pair().serialize_pem());
    assert_eq!(refused(&chef(&value)), ("private_key", true));
}

#[test]
fn a_long_value_is_searched_in_a_time_that_its_length_bounds() {
    const MIB: usize = 1024 * 1024;
    // What a search could stumble over: nothing but beginnings, of words, escapes and signs.
    for part in ["A", "\\", "\\n", "MIIB", "LS0tLS1CRUdJTi", "PRIVATE KE", "UFJJVkFURSBLR", "A ", "\"kty\"", "openssh-key-v", "ä"] {
        let value = part.repeat(MIB / part.len());
        let begin = std::time::Instant::now();
        assert!(!private::is_in(&value), "{part}");
        // Some tenths of a second in a build that is not optimised; a square of the length would be hours.
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{part}: {:?}", begin.elapsed());
        assert!(private::is_in(&format!("{value}\n{}", base64(rsa_pair().serialize_pem().as_bytes()))), "{part}");
    }
}

#[test]
fn a_refusal_never_repeats_the_value() {
    let key = rsa_pair().serialize_pem();
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQ";
    for value in [key.clone(), format!("x{key}"), secret.to_owned(), format!("-----BEGIN {secret}-----\n{secret}\n-----END {secret}-----")]
    {
        for answer in [chef(&value), puppet(&value)] {
            let shown = format!("{answer:?}");
            assert!(!shown.contains(&secret[..12]), "{shown}");
            assert!(key.lines().filter(|line| !line.starts_with('-')).all(|line| !shown.contains(line)), "{shown}");
        }
    }
}

#[test]
fn public_material_is_not_mistaken_for_private() {
    for value in [good_key(), rsa_pair().public_key_pem(), p256().public_key_pem(), request(&params(NODE))] {
        assert!(!private::is_in(&value), "{value}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_check_panic(value: String) {
        chef(&value);
        puppet(&value);
    }

    #[test]
    fn no_bytes_under_a_label_make_a_check_panic(bytes: Vec<u8>) {
        chef(&block("PUBLIC KEY", &bytes));
        chef(&block("RSA PUBLIC KEY", &bytes));
        puppet(&block("CERTIFICATE REQUEST", &bytes));
    }

    #[test]
    fn a_key_with_a_changed_byte_is_the_same_bytes_or_refused(at in 0_usize..294, to: u8) {
        let mut der = spki(&pkcs1(&modulus(2048), &[1, 0, 1]));
        der[at] = to;
        if let KeyAnswer::Found(key) = chef(&block("PUBLIC KEY", &der)) {
            prop_assert_eq!(key.pem(), block("PUBLIC KEY", &der));
        }
    }
}

// Puppet

#[test]
fn an_honest_request_is_taken_with_any_known_key() {
    let plain = params(NODE);
    found(puppet(&plain.serialize_request(rsa_pair()).unwrap().pem().unwrap()));
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        found(puppet(&plain.serialize_request(&pair).unwrap().pem().unwrap()));
    }
}

#[test]
fn a_request_with_the_nodes_own_alternative_name_is_taken() {
    found(puppet(&request(&with_names(&[dns(NODE)]))));
}

#[test]
fn a_request_for_another_name_is_refused_and_reported() {
    for name in ["i-0a1b2c3d4e5f60719", "puppet", "I-0A1B2C3D4E5F60718", "i-0a1b2c3d4e5f60718.example.com", "i-0a1b2c3d4e5f60718\0", ""] {
        assert_eq!(refused(&puppet(&request(&params(name)))), ("wrong_name", true), "{name:?}");
    }
}

#[test]
fn a_subject_is_one_common_name_and_nothing_else() {
    let mut more = params(NODE);
    more.distinguished_name.push(DnType::OrganizationName, "o");
    let mut none = params(NODE);
    none.distinguished_name = DistinguishedName::new();
    let mut other = params(NODE);
    other.distinguished_name = DistinguishedName::new();
    other.distinguished_name.push(DnType::OrganizationName, NODE);
    let mut wide = params(NODE);
    wide.distinguished_name = DistinguishedName::new();
    wide.distinguished_name.push(DnType::CommonName, DnValue::BmpString(NODE.try_into().unwrap()));
    for bad in [more, none, other, wide] {
        assert_eq!(refused(&puppet(&request(&bad))).0, "wrong_name");
    }
}

#[test]
fn other_alternative_names_are_refused_and_reported() {
    for names in [
        vec![dns("puppet")],
        vec![dns(NODE), dns("puppet")],
        vec![SanType::IpAddress("10.0.0.1".parse().unwrap())],
        vec![dns(NODE), SanType::Rfc822Name("root@example.com".try_into().unwrap())],
        vec![SanType::URI("https://puppet".try_into().unwrap())],
    ] {
        assert_eq!(refused(&puppet(&request(&with_names(&names)))), ("forbidden_name", true), "{names:?}");
    }
}

#[test]
fn authorization_extensions_are_refused_and_reported_whatever_the_route_allows() {
    for last in [1, 13, 39] {
        let mut oid = AUTH_ROLE.to_vec();
        *oid.last_mut().unwrap() = last;
        let asks = request(&with_extension(&oid, tlv(der::UTF8_STRING, b"true")));
        assert_eq!(refused(&puppet_with(&[("1.3.6.1.4.1.34380.1.1.2", "*")], &asks)), ("authorization_extension", true));
    }
    for never in ["1.3.6.1.4.1.34380.1.3", "1.3.6.1.4.1.34380.1.3.1", "1.3.6.1.4.1.34380.1.3.39", "2.5.29.17", "2.5.29.19"] {
        assert!(matches!(CsrRules::new([(never, "*")]), Err(CsrRuleError::NeverAllowed(_))), "{never}");
    }
    assert!(matches!(CsrRules::new([("pp_role", "*")]), Err(CsrRuleError::NotAnOid(_))));
}

#[test]
fn other_extensions_need_the_routes_leave_and_the_right_value() {
    let asks = request(&with_extension(INSTANCE_ID, tlv(der::UTF8_STRING, b"web-1")));
    assert_eq!(refused(&puppet(&asks)), ("forbidden_extension", false));
    found(puppet_with(&[("1.3.6.1.4.1.34380.1.1.2", "web-*")], &asks));
    assert_eq!(refused(&puppet_with(&[("1.3.6.1.4.1.34380.1.1.2", "db-*")], &asks)).0, "forbidden_extension");
    assert_eq!(refused(&puppet_with(&[("1.3.6.1.4.1.34380.1.1.20", "*")], &asks)).0, "forbidden_extension");
    // A value that is not one string is not matched at all.
    for odd in [b"web-1".to_vec(), tlv(der::OCTET_STRING, b"web-1"), [tlv(der::UTF8_STRING, b"web-1"), vec![0]].concat(), Vec::new()] {
        let asks = request(&with_extension(INSTANCE_ID, odd));
        assert_eq!(refused(&puppet_with(&[("1.3.6.1.4.1.34380.1.1.2", "*")], &asks)).0, "forbidden_extension");
    }
}

#[test]
fn one_extension_twice_is_refused() {
    let mut twice = with_extension(INSTANCE_ID, tlv(der::UTF8_STRING, b"web-1"));
    twice.custom_extensions.push(CustomExtension::from_oid_content(INSTANCE_ID, tlv(der::UTF8_STRING, b"web-2")));
    assert_eq!(refused(&puppet_with(&[("1.3.6.1.4.1.34380.1.1.2", "*")], &request(&twice))), ("forbidden_extension", true));
}

#[test]
fn extensions_that_shape_the_certificate_are_refused() {
    let mut usage = params(NODE);
    usage.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = with_extension(&[2, 5, 29, 19], tlv(der::SEQUENCE, &tlv(der::BOOLEAN, &[0xff])));
    for bad in [usage, authority] {
        assert_eq!(refused(&puppet(&request(&bad))).0, "forbidden_extension");
    }
}

#[test]
fn extensions_cannot_hide_in_a_second_place() {
    let extension = tlv(
        der::SEQUENCE,
        &[
            tlv(der::OID, &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x8c, 0x4c, 0x01, 0x03, 0x0d]),
            tlv(der::OCTET_STRING, &tlv(der::UTF8_STRING, b"x")),
        ]
        .concat(),
    );
    let extensions = tlv(der::SEQUENCE, &extension);
    let set = tlv(der::SET, &extensions);
    // As Microsoft's attribute; as a second attribute; as the second value of one attribute.
    let microsoft = request_with_attribute(&params(NODE), MS_EXTENSION_REQUEST, set.clone());
    let second = request_with_attribute(&with_names(&[dns(NODE)]), EXTENSION_REQUEST, set);
    for hidden in [microsoft, second] {
        let (code, security) = refused(&puppet(&hidden));
        assert!(security && ["forbidden_extension", "authorization_extension"].contains(&code), "{code}");
    }
    let two_values = tlv(der::SET, &[tlv(der::SEQUENCE, &[]), extensions].concat());
    assert_eq!(refused(&puppet(&request_with_attribute(&params(NODE), EXTENSION_REQUEST, two_values))).0, "bad_der");
}

#[test]
fn attributes_that_do_not_reach_the_certificate_are_taken() {
    let password = tlv(der::SET, &tlv(der::UTF8_STRING, b"autosign"));
    found(puppet(&request_with_attribute(&params(NODE), CHALLENGE_PASSWORD, password)));
}

#[test]
fn a_request_that_its_own_key_did_not_sign_is_refused() {
    let der = pem::parse(request(&params(NODE))).unwrap().into_contents();
    let mut forged = der.clone();
    let at = forged.windows(NODE.len()).position(|window| window == NODE.as_bytes()).unwrap();
    forged[at + 2] = b'f';
    let other = NodeName::new("i-fa1b2c3d4e5f60718").unwrap();
    let answer = check(&Engine::Puppet(CsrRules::default()), &other, Zeroizing::new(block("CERTIFICATE REQUEST", &forged)));
    assert_eq!(refused(&answer), ("bad_signature", false));
    let mut broken = der.clone();
    *broken.last_mut().unwrap() ^= 1;
    assert!(["bad_signature", "bad_der"].contains(&refused(&puppet(&block("CERTIFICATE REQUEST", &broken))).0));
    assert_eq!(refused(&puppet(&block("CERTIFICATE REQUEST", &[&der[..], &[0]].concat()))).0, "bad_der");
}

#[test]
fn a_request_with_an_unknown_kind_of_key_is_refused() {
    let ed = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let asks = params(NODE).serialize_request(&ed).unwrap().pem().unwrap();
    assert_eq!(refused(&puppet(&asks)), ("wrong_algorithm", false));
}

#[test]
fn each_engine_takes_only_its_own_kind() {
    assert_eq!(refused(&chef(&request(&params(NODE)))).0, "wrong_label");
    assert_eq!(refused(&puppet(&good_key())).0, "wrong_label");
    let renamed = request(&params(NODE)).replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST");
    assert_eq!(refused(&puppet(&renamed)).0, "wrong_label");
}
