//! The whole way: Auto Scaling, SQS and SSM simulated, the worker and the Puppet Server real.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use enrolld::facts::NodeList;
use enrolld::registrar::Registrar;

use crate::fleet::{Fleet, with_word};
use crate::server::{Node, Server, changed, key_of};

/// Those of these nodes that the server has anything of.
async fn there(server: &Server, of: &BTreeSet<String>) -> BTreeSet<String> {
    let Ok(NodeList::Page { names, next: None }) = server.registrar(false).list(None).await else { panic!("a list") };
    names.iter().map(ToString::to_string).filter(|name| of.contains(name)).collect()
}

#[tokio::test]
async fn a_fleet_comes_and_goes_and_what_was_left_behind_is_swept() {
    // Alone: fifty requests at once would make the others wait for longer than their requests may take.
    let server = changed().await;
    let more = r#"certificate_parameter = "/enrolld/{instance_id}/certificate""#;
    let mut fleet = Fleet::start("puppet", &server.as_configured(), more, true).await;

    let keys = Mutex::new(HashMap::new());
    let request = |id: &str| {
        let node = Node::named(id);
        keys.lock().unwrap().insert(id.to_owned(), node.public_key());
        Some(node.request().to_owned())
    };
    let launched = fleet.launch(50, request).await;
    let certificate_of = |id: &str| fleet.parameter(&format!("/enrolld/{id}/certificate"));
    for id in &launched {
        assert_eq!(server.state(id).await.as_deref(), Some("signed"), "{id}");
        // What the node needs to go on stands where it can get it, before the group takes it into service.
        let certificate = certificate_of(id).unwrap_or_else(|| panic!("{id} has no certificate"));
        assert!(server.verifies(&certificate), "{id}");
        assert_eq!(key_of(&certificate), keys.lock().unwrap()[id], "{id}");
    }

    let left = fleet.terminate(10).await;
    fleet.must_be_settled().await;
    for id in &left {
        assert_eq!(certificate_of(id), None, "it goes with the node");
    }
    let serving = fleet.in_service();
    assert_eq!(serving.len(), 40);
    assert_eq!(there(&server, &launched).await, serving, "of those that left nothing is left");

    fleet.delete_terminate_hook().await;
    let behind = fleet.terminate(5).await;
    let detached = fleet.detach_one();
    assert_eq!(there(&server, &launched).await.len(), 40);

    let dry = fleet.sweep(&[]).await;
    assert_eq!(with_word(&dry, "would_disassociate"), behind);
    assert_eq!(there(&server, &launched).await.len(), 40, "it only looked");
    let swept = fleet.sweep(&["--apply"]).await;
    assert_eq!(with_word(&swept, "disassociated"), behind);
    assert_eq!((with_word(&swept, "detached"), with_word(&swept, "alive").len()), (BTreeSet::from([detached]), 34));
    assert!(with_word(&swept, "foreign").is_superset(&["localhost", "enrolld"].map(str::to_owned).into()), "{swept:#}");
    assert_eq!(there(&server, &launched).await, &serving - &behind);
    for id in &behind {
        assert_eq!((certificate_of(id), fleet.parameter(&format!("/enrolld/{id}/public-key"))), (None, None), "they go with it too");
    }
    assert!(serving.difference(&behind).all(|id| certificate_of(id).is_some()));
    fleet.stop().await;
}

#[tokio::test]
async fn a_server_that_is_stopped_while_launches_come_is_waited_for_and_check_says_how_it_is() {
    let server = changed().await;
    let mut fleet = Fleet::start("puppet-stopped", &server.as_configured(), "", true).await;
    let request = |id: &str| Some(Node::named(id).request().to_owned());
    let about = format!("server https://localhost:{}", server.port());
    let line = |said: &str| said.lines().find(|line| line.contains(&about)).unwrap_or_else(|| panic!("{said}")).to_owned();
    let mut launched = fleet.launch(2, request).await;
    let said = line(&fleet.check().await);
    assert!(said.contains("it is there, and takes orders"), "{said}");

    server.stop().await;
    let said = line(&fleet.check().await);
    assert!(said.contains("unreachable"), "{said}");
    let begins_again = async {
        fleet.until_said(r#""event":"server_held""#).await;
        server.start().await;
        fleet.until_said(r#""event":"server_ready""#).await;
    };
    let (more, ()) = tokio::join!(fleet.launch(5, request), begins_again);
    launched.extend(more);
    fleet.must_be_settled().await;
    assert_eq!(there(&server, &launched).await, launched);
    for id in &launched {
        assert_eq!(server.state(id).await.as_deref(), Some("signed"), "{id}");
        assert_eq!(server.issued(id), 1, "{id}: one certificate was made");
    }
    fleet.stop().await;

    // Who may not sign, and an authority that is not the server's.
    let node = Node::named("check-1");
    let certificate = crate::enrolled(&server, &server.registrar(false), &node).await;
    let (certificate, key) = server.files_of(&node, &certificate);
    let written = server.as_configured();
    let file = |name: &str| server.file(name);
    for (name, registrar, word) in [
        ("puppet-rights", written.replace(&file("admin.pem"), &certificate).replace(&file("admin.key"), &key), "forbidden"),
        ("puppet-ca", written.replace(&file("ca.pem"), &certificate), "tls"),
    ] {
        let mut fleet = Fleet::start(name, &registrar, "", true).await;
        let said = line(&fleet.check().await);
        assert!(said.contains(word), "{said}");
        fleet.stop().await;
    }
}

#[tokio::test]
async fn a_launch_whose_name_is_contested_is_given_up_with_nothing_left_and_anothers_is_left_alone() {
    let server = changed().await;
    let mut fleet = Fleet::start("puppet-contested", &server.as_configured(), "", true).await;
    // Signed since its launch began: revoked, told of, and cleaned once the launch is over.
    let contested = fleet
        .launch_in_vain(async |id| {
            let stranger = Node::named(id);
            server.submit(&stranger).await;
            server.desire(id, "signed").await;
            Node::named(id).request().to_owned()
        })
        .await;
    fleet.until_said(r#""event":"security""#).await;
    fleet.until_said("foreign_certificate").await;
    assert_eq!(server.state(&contested).await, None);
    assert_eq!((server.issued(&contested), server.revoked(&contested).await), (1, 1));

    // A stranger's request that nobody has signed is left.
    let pending = fleet
        .launch_in_vain(async |id| {
            server.submit(&Node::named(id)).await;
            Node::named(id).request().to_owned()
        })
        .await;
    fleet.until_said("foreign_request").await;
    assert_eq!(server.state(&pending).await.as_deref(), Some("requested"));
    assert_eq!(server.issued(&pending), 0);
    fleet.stop().await;
}

#[tokio::test]
async fn a_launch_whose_name_is_contested_and_that_continues_leaves_the_name_free_for_the_node_itself() {
    let server = changed().await;
    let mut fleet = Fleet::start("puppet-continues", &server.as_configured(), r#"on_failure = "continue""#, true).await;
    let contested = fleet
        .launch_that_ends("CONTINUE", "InService", async |id| {
            server.submit(&Node::named(id)).await;
            server.desire(id, "signed").await;
            Node::named(id).request().to_owned()
        })
        .await;
    fleet.until_said("foreign_certificate").await;
    assert_eq!((server.issued(&contested), server.revoked(&contested).await), (1, 1));
    assert_eq!(server.state(&contested).await, None, "what was revoked is gone");
    server.submit(&Node::named(&contested)).await;
    assert_eq!(server.state(&contested).await.as_deref(), Some("requested"));
    fleet.stop().await;
}
