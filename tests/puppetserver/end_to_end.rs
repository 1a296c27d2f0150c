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
    fleet.stop().await;
}
