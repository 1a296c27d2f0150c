//! A certificate that is not what the node's request asked for, made by the real server while the node's launch goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use enrolld::facts::Registration;
use enrolld::registrar::Registrar;
use enrolld::retry::{Class, Failure};

use crate::enrolled;
use crate::server::{Node, changed, shared};
use crate::way::{Before, Then, on_the_way};

/// `1.3.6.1.4.1.34380.1.1.13`: pp_role.
const ROLE: [u64; 10] = [1, 3, 6, 1, 4, 1, 34380, 1, 1, 13];

/// Between the look at the node's pending request and the order to sign, a stranger's takes its place; then the request of this number
/// fails.
fn swapped(strangers: &Arc<Node>, swaps: Arc<dyn Fn() + Send + Sync>, at: usize, fault: Then) -> Before {
    let (done, strangers) = (Arc::new(AtomicBool::new(false)), Arc::clone(strangers));
    Box::new(move |asked, request| {
        let orders = request.contains(r#""desired_state":"signed""#) && request.contains(strangers.name());
        if orders && !done.swap(true, Ordering::SeqCst) {
            swaps();
        }
        Box::pin(async move { if asked == at { fault } else { Then::Forward } })
    })
}

#[tokio::test]
async fn a_stranger_that_is_signed_in_the_nodes_place_is_revoked_whatever_fails_after_it() {
    // Alone: the authority's files are changed beside it.
    let server = changed().await;
    for fault in [Then::Refuse, Then::Lose] {
        for at in 0.. {
            let name = format!("contested-{at}-{}", format!("{fault:?}").to_lowercase());
            let (node, stranger) = (Node::named(&name), Arc::new(Node::named(&name)));
            let file = server.pending_file(&name);
            let (request, swapped_for) = (stranger.request().to_owned(), Arc::new(Mutex::new(0)));
            let count = Arc::clone(&swapped_for);
            let swaps = Arc::new(move || {
                std::fs::write(&file, &request).unwrap();
                *count.lock().unwrap() += 1;
            });
            let (ca, way) = on_the_way(server.client(), false, swapped(&stranger, swaps, at, fault)).await;
            let order = node.launch();
            let failure = loop {
                let failure = ca.associate(&order, &node.material()).await.unwrap_err();
                if failure.class == Class::Final {
                    break failure;
                }
                assert_eq!(failure.class, Class::Transient, "{failure}");
            };
            assert_eq!(*swapped_for.lock().unwrap(), 1);
            if server.issued(&name) == 0 {
                // The order to sign was what failed, and the next look sees who is there.
                assert_eq!((failure.code.as_str(), fault), (Failure::FOREIGN_REQUEST, Then::Refuse), "{name}: {failure}");
                continue;
            }
            assert_eq!(failure.code, Failure::FOREIGN_CERTIFICATE, "{name}: {failure}");
            assert_eq!(crate::server::key_of(&server.certificate(&name).await), stranger.public_key(), "{name}: it still stands there");
            assert_eq!((server.issued(&name), server.revoked(&name).await), (1, 1), "{name}: and is revoked");
            assert_eq!(server.registrar(false).disassociate(&order).await, Ok(Registration::Done));
            assert_eq!(server.state(&name).await, None);
            if way.asked() <= at {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_with_more_than_the_node_asked_for_is_revoked_though_it_is_for_the_nodes_key() {
    let server = shared().await;
    let ca = server.registrar(false);
    let node = Node::named("more-1");
    let more = node.with_extension(&ROLE, 0x0c, "database");
    server.submit(&more).await;
    server.desire("more-1", "signed").await;
    let failure = ca.associate(&node.launch(), &node.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, Failure::FOREIGN_CERTIFICATE), "{failure}");
    assert!(failure.detail.contains("extensions"), "{failure}");
    assert_eq!(server.state("more-1").await.as_deref(), Some("revoked"));
    // And where the route replaces what is there, the node gets what it asked for.
    let certificate = enrolled(&server, &server.registrar(true), &node).await;
    assert!(!server.revokes(&certificate).await);
    assert_eq!((server.issued("more-1"), server.revoked("more-1").await), (2, 1));
}

#[tokio::test]
async fn a_certificate_has_what_its_request_asked_for_in_whatever_form_of_text() {
    let server = shared().await;
    for (form, of) in [(0x0c, "utf8"), (0x13, "printable"), (0x16, "ia5")] {
        let node = Node::named(&format!("asks-{of}")).with_extension(&ROLE, form, "web");
        enrolled(&server, &server.registrar(false), &node).await;
        // And not another text.
        let other = node.with_extension(&ROLE, form, "database");
        let failure = server.registrar(false).associate(&other.order(), &other.material()).await.unwrap_err();
        assert_eq!(failure.code, Failure::FOREIGN_CERTIFICATE, "{failure}");
        assert_eq!(server.state(node.name()).await.as_deref(), Some("signed"), "it is from before, and left");
    }
}
