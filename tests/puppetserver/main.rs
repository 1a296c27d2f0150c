//! enrolld's Puppet registrar against a real Puppet Server. Run by `tests/puppetserver/run`, which makes and starts the server.

mod between;
mod contested;
mod end_to_end;
#[path = "../common/fleet.rs"]
mod fleet;
#[path = "../common/kit.rs"]
mod kit;
mod launch_kit;
mod server;
mod way;

use std::time::Duration;

use enrolld::facts::{Health, NodeList, Registration};
use enrolld::registrar::{PuppetCa, Registrar};
use enrolld::retry::{Class, Failure};
use hyper::Method;
use server::{Node, Server, changed, shared};

/// The certificate that a node gets; it must be one that the authority signed for this node's key.
async fn enrolled(server: &Server, ca: &PuppetCa, node: &Node) -> String {
    let Registration::Signed(certificate) = ca.associate(&node.order(), &node.material()).await.unwrap() else { panic!("no certificate") };
    assert!(server.verifies(&certificate.0), "it verifies against the authority");
    assert_eq!(server::key_of(&certificate.0), node.public_key(), "it belongs to the node's key");
    certificate.0.to_string()
}

async fn refused(ca: &PuppetCa, node: &Node) -> (Class, String) {
    let failure = ca.associate(&node.order(), &node.material()).await.unwrap_err();
    (failure.class, failure.code)
}

fn is(code: &str) -> (Class, String) {
    (Class::Final, code.to_owned())
}

#[tokio::test]
async fn a_request_is_signed_and_the_node_goes_on_with_its_certificate() {
    let server = shared().await;
    let (ca, node) = (server.registrar(false), Node::named("signed-1"));
    let certificate = enrolled(&server, &ca, &node).await;
    assert_eq!(server.state("signed-1").await.as_deref(), Some("signed"));
    // The node is let in with it: it may ask for its own catalogue, and for nobody else's.
    assert!(server.lets_in(&node, &certificate, "signed-1").await);
    assert!(!server.lets_in(&node, &certificate, "signed-2").await);
}

#[tokio::test]
async fn a_request_with_an_rsa_key_is_signed_too() {
    let server = shared().await;
    enrolled(&server, &server.registrar(false), &Node::rsa("signed-rsa")).await;
}

#[tokio::test]
async fn the_same_request_again_brings_the_same_certificate() {
    let server = shared().await;
    let (ca, node) = (server.registrar(false), Node::named("again-1"));
    let first = enrolled(&server, &ca, &node).await;
    assert_eq!(enrolled(&server, &ca, &node).await, first);
    // Also a new request for the same key, which a node may well make.
    assert_eq!(enrolled(&server, &ca, &node.with_another_request()).await, first);
}

/// The certificate that a worker gets in the end, as the core brings it about: what is transient is tried again.
async fn in_the_end(ca: &PuppetCa, node: &Node) -> String {
    loop {
        match ca.associate(&node.order(), &node.material()).await {
            Ok(Registration::Signed(certificate)) => return certificate.0.to_string(),
            Ok(other) => panic!("{other:?}"),
            Err(failure) => assert_eq!(failure.class, Class::Transient, "{failure}"),
        }
    }
}

#[tokio::test]
async fn two_workers_that_sign_one_request_at_once_make_one_certificate() {
    let server = shared().await;
    for replace_existing in [false, true] {
        let (one, other) = (server.registrar(replace_existing), server.registrar(replace_existing));
        for number in 0..10 {
            let node = Node::named(&format!("twice-{number}-{replace_existing}"));
            // The second comes at the same moment, or a little later each time, into every step of the first.
            let later = Duration::from_millis(number * 8);
            // From nothing, and from where another worker died.
            if number % 2 == 1 {
                server.submit(&node).await;
            }
            let second = async {
                tokio::time::sleep(later).await;
                in_the_end(&other, &node).await
            };
            let (first, second) = tokio::join!(in_the_end(&one, &node), second);
            assert!(server.verifies(&first));
            assert_eq!(server::key_of(&first), node.public_key());
            assert_eq!(first, second, "both have the same one");
            assert_eq!(server.issued(node.name()), 1, "and no other was ever made for {}", node.name());
        }
    }
}

#[tokio::test]
async fn another_request_for_the_same_name_is_refused_or_replaces_it() {
    let server = shared().await;
    let (first, second) = (Node::named("other-1"), Node::named("other-1"));
    let before = enrolled(&server, &server.registrar(false), &first).await;
    assert_eq!(refused(&server.registrar(false), &second).await, is(Failure::OTHER_KEY));
    assert_eq!(enrolled(&server, &server.registrar(false), &first).await, before, "the first is as it was");

    let after = enrolled(&server, &server.registrar(true), &second).await;
    assert!(server.revokes(&before).await && !server.revokes(&after).await);
}

#[tokio::test]
async fn a_foreign_request_that_is_pending_is_not_signed() {
    let server = shared().await;
    let (node, stranger) = (Node::named("foreign-1"), Node::named("foreign-1"));
    server.submit(&stranger).await;
    let failure = server.registrar(false).associate(&node.order(), &node.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, Failure::FOREIGN_REQUEST));
    assert!(failure.is_security() && failure.leaves_anothers());
    assert_eq!(server.state("foreign-1").await.as_deref(), Some("requested"), "it still is only pending");

    enrolled(&server, &server.registrar(true), &node).await;
}

#[tokio::test]
async fn a_crash_between_submitting_and_signing_is_healed() {
    let server = shared().await;
    let (ca, node) = (server.registrar(false), Node::named("crash-1"));
    server.submit(&node).await;
    enrolled(&server, &ca, &node).await;

    // And one between revoking and cleaning, in a replacement as in a removal.
    let other = Node::named("crash-1");
    server.desire("crash-1", "revoked").await;
    assert_eq!(refused(&ca, &other).await, is(Failure::OTHER_KEY));
    let certificate = enrolled(&server, &server.registrar(true), &other).await;
    server.desire("crash-1", "revoked").await;
    assert_eq!(ca.disassociate(&other.order()).await, Ok(Registration::Done));
    assert_eq!(server.state("crash-1").await, None);
    assert!(server.revokes(&certificate).await);
}

#[tokio::test]
async fn a_node_that_leaves_is_revoked_and_cleaned() {
    let server = shared().await;
    let (ca, node) = (server.registrar(false), Node::named("leaves-1"));
    let certificate = enrolled(&server, &ca, &node).await;
    assert!(!server.revokes(&certificate).await);
    for _ in 0..2 {
        assert_eq!(ca.disassociate(&node.order()).await, Ok(Registration::Done));
        assert_eq!(server.state("leaves-1").await, None);
    }
    assert!(server.revokes(&certificate).await, "the list of revoked certificates has it");
    let began = std::time::Instant::now();
    while server.takes(&node, &certificate).await {
        assert!(began.elapsed().as_secs() < 60, "the server itself takes the new list");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(ca.disassociate(&Node::named("never-there").order()).await, Ok(Registration::Done));

    // One whose request was never signed.
    let pending = Node::named("leaves-2");
    server.submit(&pending).await;
    assert_eq!(ca.disassociate(&pending.order()).await, Ok(Registration::Done));
    assert_eq!(server.state("leaves-2").await, None);
    // And the name is free again.
    enrolled(&server, &ca, &Node::named("leaves-1")).await;
}

/// By the rules as they are shipped a request alone may not be deleted.
#[tokio::test]
async fn a_request_is_taken_back_also_without_the_right_to_delete_requests() {
    let server = shared().await;
    let node = Node::named("plain-1");
    let path = "/puppet-ca/v1/certificate_request/plain-1";
    for (ca, status) in [(server.plain(), 403), (server.registrar(false), 204)] {
        server.submit(&node).await;
        assert_eq!(server.delete(path, status == 403).await, status);
        if status == 204 {
            server.submit(&node).await;
        }
        assert_eq!(ca.disassociate(&node.order()).await, Ok(Registration::Done));
        assert_eq!(server.state("plain-1").await, None);
    }
    // The rest takes no more.
    let certificate = enrolled(&server, &server.plain(), &node).await;
    assert_eq!(server.plain().disassociate(&node.order()).await, Ok(Registration::Done));
    assert!(server.revokes(&certificate).await);
    assert_eq!(server.state("plain-1").await, None);
}

#[tokio::test]
async fn what_the_servers_own_rules_refuse_is_final_and_says_why() {
    let server = shared().await;
    let node = Node::with_alternative_name("rules-1", "puppet.example.com");
    let failure = server.registrar(false).associate(&node.order(), &node.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "not_signed"));
    assert!(failure.detail.contains("subject alternative names"), "{}", failure.detail);
    assert_eq!(server.state("rules-1").await, None, "nothing half made stays");
    assert_eq!(refused(&server.registrar(false), &Node::named("Upper-Case")).await, is("bad_node_name"));
}

#[tokio::test]
async fn who_may_not_sign_is_a_fault_of_the_route() {
    let server = shared().await;
    let (ca, node) = (server.registrar(false), Node::named("rights-1"));
    let certificate = enrolled(&server, &ca, &node).await;
    let as_node = server.registrar_as(&certificate, &node.private_key());
    assert_eq!(refused(&as_node, &Node::named("rights-2")).await.0, Class::RouteFault);
    assert_eq!(as_node.health().await.unwrap_err().class, Class::RouteFault);
    assert_eq!(as_node.disassociate(&node.order()).await.unwrap_err().class, Class::RouteFault);
    let elsewhere = server.registrar_at("/elsewhere");
    assert_eq!(elsewhere.health().await.unwrap_err().class, Class::RouteFault);
    assert_eq!(elsewhere.disassociate(&node.order()).await.unwrap_err().class, Class::RouteFault, "that it is gone is not believed there");
}

#[tokio::test]
async fn every_name_is_listed() {
    let server = shared().await;
    let ca = server.registrar(false);
    enrolled(&server, &ca, &Node::named("listed-1")).await;
    server.submit(&Node::named("listed-2")).await;
    let Ok(NodeList::Page { names, next: None }) = ca.list(None).await else { panic!("a list") };
    for name in ["listed-1", "listed-2", "localhost", "enrolld"] {
        assert!(names.iter().any(|listed| listed.as_str() == name), "{name} in {names:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_restarted_is_not_ready_until_it_runs() {
    let server = changed().await;
    let (ca, node) = (server.registrar(false), Node::named("restart-1"));
    assert_eq!(ca.health().await, Ok(Health::Ready));
    server.stop().await;
    assert_eq!(ca.health().await.unwrap_err().class, Class::NotReady);
    let failure = ca.associate(&node.order(), &node.material()).await.unwrap_err();
    assert_eq!(failure.class, Class::NotReady, "{failure}");

    let starting = server.start();
    tokio::pin!(starting);
    loop {
        tokio::select! {
            () = &mut starting => break,
            () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
        }
        // Whatever it says while it starts is no fault of the node's or the route's.
        match ca.health().await {
            Ok(_) => {}
            Err(failure) => assert!(matches!(failure.class, Class::NotReady | Class::Transient), "{failure}"),
        }
    }
    enrolled(&server, &ca, &node).await;
    assert_eq!(server.ask(Method::GET, "/puppet-ca/v1/certificate_status/restart-1", "").await.status, 200);
}
