//! Two workers at one name, step by step: between two requests of one, another does all of its work.

use std::sync::Arc;

use enrolld::facts::Registration;
use enrolld::registrar::{PuppetCa, Registrar};
use enrolld::retry::Class;

use crate::server::{self, Node, Server, shared};
use crate::way::{Then, Way, on_the_way};
use crate::{enrolled, in_the_end};

/// A registrar on a way on which, before the request of this number, another worker enrols the same node.
async fn interrupted(server: &Server, node: &Arc<Node>, replace_existing: bool, at: usize) -> (PuppetCa, Arc<Way>) {
    let (other, node) = (Arc::new(server.registrar(replace_existing)), Arc::clone(node));
    let before = move |asked: usize, _| {
        let (other, node) = (Arc::clone(&other), Arc::clone(&node));
        Box::pin(async move {
            if asked == at {
                in_the_end(&other, &node).await;
            }
            Then::Forward
        }) as std::pin::Pin<Box<dyn Future<Output = Then> + Send>>
    };
    on_the_way(server.client(), replace_existing, Box::new(before)).await
}

#[tokio::test]
async fn another_worker_between_any_two_requests_leaves_one_certificate() {
    let server = shared().await;
    for (replace_existing, submitted) in [(false, false), (true, false), (false, true), (true, true)] {
        for at in 0.. {
            let node = Arc::new(Node::named(&format!("between-{at}-{replace_existing}-{submitted}")));
            // Where an earlier worker died after it had submitted.
            if submitted {
                server.submit(&node).await;
            }
            let (ca, way) = interrupted(&server, &node, replace_existing, at).await;
            let certificate = in_the_end(&ca, &node).await;
            assert!(server.verifies(&certificate), "{}", node.name());
            assert_eq!(
                certificate,
                enrolled(&server, &server.registrar(replace_existing), &node).await,
                "both have the same: {}",
                node.name()
            );
            assert!(!server.revokes(&certificate).await, "{}", node.name());
            assert_eq!(server.issued(node.name()), 1, "no other was ever made: {}", node.name());
            if way.asked() <= at {
                break;
            }
        }
    }
}

/// Only what stands under a name can be revoked and deleted, so that a stranger's that two workers replace at once can cost a second
/// certificate. What stands there in the end is the node's own, and good.
#[tokio::test]
async fn another_worker_between_any_two_requests_of_a_replacement_leaves_a_good_certificate() {
    let server = shared().await;
    for signed in [false, true] {
        for at in 0.. {
            let name = format!("replaced-{at}-{signed}");
            let (node, stranger) = (Arc::new(Node::named(&name)), Node::named(&name));
            server.submit(&stranger).await;
            if signed {
                server.desire(&name, "signed").await;
            }
            let (ca, way) = interrupted(&server, &node, true, at).await;
            in_the_end(&ca, &node).await;
            let last = enrolled(&server, &server.registrar(false), &node).await;
            assert_eq!(server::key_of(&last), node.public_key(), "{name}");
            assert!(!server.revokes(&last).await, "{name}");
            if way.asked() <= at {
                break;
            }
        }
    }
}

/// What is deleted can never be revoked again.
#[tokio::test]
async fn another_worker_between_any_two_requests_of_a_removal_leaves_no_certificate_that_cannot_be_revoked() {
    let server = shared().await;
    // What a removal finds, and the orders that bring it about once the request is there.
    for (before, orders) in [("requested", &[][..]), ("signed", &["signed"]), ("revoked", &["signed", "revoked"])] {
        for at in 0.. {
            let name = format!("removed-{at}-{before}");
            let node = Arc::new(Node::named(&name));
            server.submit(&node).await;
            for order in orders {
                server.desire(&name, order).await;
            }
            let (ca, way) = interrupted(&server, &node, true, at).await;
            is_taken_off(&ca, &node).await;
            // Of all that were ever made, each is revoked, or stands there to be revoked by whoever ends what made it.
            let standing = usize::from(server.state(&name).await.as_deref() == Some("signed"));
            assert_eq!(server.issued(&name), server.revoked(&name).await + standing, "{name}");
            is_taken_off(&server.registrar(false), &node).await;
            assert_eq!(server.issued(&name), server.revoked(&name).await, "{name}");
            if way.asked() <= at {
                break;
            }
        }
    }
}

/// Takes a node off, and tries again what a worker would: a busy server may let a request wait for longer than it may.
async fn is_taken_off(ca: &PuppetCa, node: &Node) {
    loop {
        match ca.disassociate(&node.order()).await {
            Ok(ended) => break assert_eq!(ended, Registration::Done),
            Err(failure) => assert_eq!(failure.class, Class::Transient, "{failure}"),
        }
    }
}
