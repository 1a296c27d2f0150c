//! A certificate for the node's key is the node's only if it has what its request asked for, and nothing beside.

use rcgen::{BasicConstraints, CustomExtension, IsCa, SanType};

use super::*;

/// `1.3.6.1.4.1.34380.1.1.13` (pp_role), which a route can allow.
const ROLE: [u64; 9] = [1, 3, 6, 1, 4, 1, 34380, 1, 1];
/// `1.3.6.1.4.1.34380.1.3.1` (pp_authorization), which none can.
const RIGHTS: [u64; 10] = [1, 3, 6, 1, 4, 1, 34380, 1, 3, 1];
/// `2.16.840.1.113730.1.13`: Puppet Server's comment.
const COMMENT: [u64; 7] = [2, 16, 840, 1, 113_730, 1, 13];

fn extension(oid: &[u64], tag: u8, text: &str) -> CustomExtension {
    let value = [&[tag, text.len().try_into().unwrap()], text.as_bytes()].concat();
    CustomExtension::from_oid_content(oid, value)
}

fn role(tag: u8, text: &str) -> CustomExtension {
    extension(&[&ROLE[..], &[13]].concat(), tag, text)
}

fn other(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

/// The node's request, and a certificate for the same key with a change.
fn changed(requested: impl FnOnce(&mut CertificateParams), signed: impl FnOnce(&mut CertificateParams), seconds_ago: i64) -> Node {
    let (mut request, mut certificate) = (named(NODE), dated(named(NODE), seconds_ago));
    requested(&mut request);
    signed(&mut certificate);
    // As the authority makes them.
    certificate.use_authority_key_identifier_extension = true;
    certificate.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    certificate.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    if certificate.is_ca == IsCa::NoCa {
        certificate.is_ca = IsCa::ExplicitNoCa;
    }
    certificate.custom_extensions.push(extension(&COMMENT, 0x16, "Puppet Server Internal Certificate"));
    Node::with(&KeyPair::generate().unwrap(), &request, &certificate)
}

#[tokio::test]
async fn a_certificate_with_what_was_asked_for_is_the_nodes() {
    let nothing = |_: &mut CertificateParams| {};
    let own_name = |params: &mut CertificateParams| params.subject_alt_names.push(other(NODE));
    let asks = |params: &mut CertificateParams| params.custom_extensions.push(role(0x13, "web"));
    let as_utf8 = |params: &mut CertificateParams| params.custom_extensions.push(role(0x0c, "web"));
    let as_content = |params: &mut CertificateParams| params.custom_extensions.push(role(0x0c, "\u{13}\u{3}web"));
    for node in [
        changed(nothing, nothing, 0),
        // The authority adds the name, asked or not.
        changed(nothing, own_name, 0),
        changed(own_name, own_name, 0),
        changed(asks, asks, 0),
        // It writes texts in a form of its own.
        changed(asks, as_utf8, 0),
        changed(asks, as_content, 0),
    ] {
        let stub = Stub::serve(false, [state("signed"), text(200, &node.certificate)]).await;
        assert!(matches!(associate(&stub, &node).await, Ok(Registration::Signed(_))));
    }
}

#[tokio::test]
async fn a_certificate_for_the_nodes_key_with_another_name_or_other_extensions_is_not_the_nodes() {
    type Change = fn(&mut CertificateParams);
    let changes: [(&str, Change, Change); 8] = [
        ("extensions", |_| {}, |signed| signed.custom_extensions.push(extension(&RIGHTS, 0x0c, "true"))),
        ("extensions", |_| {}, |signed| signed.custom_extensions.push(role(0x0c, "database"))),
        (
            "extensions",
            |asked| asked.custom_extensions.push(role(0x0c, "web")),
            |signed| signed.custom_extensions.push(role(0x0c, "database")),
        ),
        ("extensions", |asked| asked.custom_extensions.push(role(0x0c, "web")), |_| {}),
        ("extensions", |_| {}, |signed| signed.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ("names", |_| {}, |signed| signed.subject_alt_names = vec![other(NODE), other("puppet.example.com")]),
        ("names", |_| {}, |signed| signed.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 1].into()))),
        ("names", |_| {}, |signed| signed.distinguished_name.push(DnType::OrganizationName, "admins")),
    ];
    for (what, asked, signed) in changes {
        // Made since the launch began: it is revoked, whoever signed it.
        let node = changed(asked, signed, 10);
        let stub = Stub::serve(false, [state("signed"), text(200, &node.certificate), text(204, "")]).await;
        let failure = stub.ca.associate(&begun(60), &KeyMaterial::new(node.request.clone().into())).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::Final, Failure::FOREIGN_CERTIFICATE), "{what}");
        assert!(failure.detail.contains(what) && failure.is_security(), "{failure}");
        assert_eq!(stub.asked()[2], format!(r#"PUT certificate_status/{NODE} {{"desired_state":"revoked"}}"#));

        // From before: it is left, and somebody is woken; or replaced, where the route says so.
        let node = changed(asked, signed, 7200);
        let stub = Stub::serve(false, [state("signed"), text(200, &node.certificate)]).await;
        let failure = stub.ca.associate(&begun(60), &KeyMaterial::new(node.request.clone().into())).await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.detail.contains(what)), (Failure::FOREIGN_CERTIFICATE, true), "{failure}");
        let replies = [state("signed"), text(200, &node.certificate), text(204, ""), state("revoked"), text(200, ""), page(503)];
        let stub = Stub::serve(true, replies).await;
        let failure = stub.ca.associate(&begun(60), &KeyMaterial::new(node.request.into())).await.unwrap_err();
        assert_eq!((failure.class, stub.asked().len()), (Class::NotReady, 6), "it was revoked and cleaned: {failure}");
    }
    // In another name altogether.
    let key = KeyPair::generate().unwrap();
    let node = Node::with(&key, &named(NODE), &named("i-another"));
    let stub = Stub::serve(false, [state("signed"), text(200, &node.certificate)]).await;
    assert_eq!(associate(&stub, &node).await.unwrap_err().code, Failure::FOREIGN_CERTIFICATE);
}
