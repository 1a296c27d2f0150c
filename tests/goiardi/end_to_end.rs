//! The whole way: Auto Scaling, SQS and SSM simulated, the worker and the Chef server real.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::json;

use crate::chef::NodeKey;
use crate::fleet::{Fleet, with_word};
use crate::server::Goiardi;

/// Everything of our nodes that is on the server: clients and node objects must always be of the same nodes.
async fn nodes(server: &Goiardi) -> BTreeSet<String> {
    let mut lists = Vec::new();
    for kind in ["clients", "nodes"] {
        let list = server.ask_as_admin(Method::GET, &format!("/{kind}"), None).await.json().expect("it is a list");
        let names = list.as_object().expect("names and addresses").keys().filter(|name| name.starts_with("i-")).cloned();
        lists.push(names.collect::<BTreeSet<String>>());
    }
    assert_eq!(lists[0], lists[1]);
    lists.remove(0)
}

#[tokio::test]
async fn a_fleet_comes_and_goes_and_what_was_left_behind_is_swept() {
    let server = Goiardi::start();
    let key_file = server.admin_file();
    let registrar =
        format!(r#"{{ kind = "chef-server", url = "{}", client_name = "admin", client_key = "{}" }}"#, server.url(), key_file.display());
    let mut fleet = Fleet::start("chef", &registrar, "", false).await;

    let launched = fleet.launch(50, |_| None).await;
    assert_eq!(nodes(&server).await, launched);

    let left = fleet.terminate(10).await;
    fleet.must_be_settled().await;
    let serving = fleet.in_service();
    assert_eq!((serving.len(), serving.is_disjoint(&left)), (40, true));
    assert_eq!(nodes(&server).await, serving, "of those that left nothing is left");

    // Now the hook is gone, one is detached, and somebody has a client that is no node of ours.
    fleet.delete_terminate_hook().await;
    let behind = fleet.terminate(5).await;
    let detached = fleet.detach_one();
    let somebody = json!({ "name": "somebody", "public_key": NodeKey::new().public });
    assert_eq!(server.ask_as_admin(Method::POST, "/clients", Some(somebody)).await.status, 201);
    assert_eq!(nodes(&server).await.len(), 40);

    let dry = fleet.sweep(&[]).await;
    assert_eq!(with_word(&dry, "would_disassociate"), behind);
    assert_eq!(nodes(&server).await.len(), 40, "it only looked");
    let swept = fleet.sweep(&["--apply"]).await;
    assert_eq!(with_word(&swept, "disassociated"), behind);
    assert_eq!((with_word(&swept, "detached"), with_word(&swept, "alive").len()), (BTreeSet::from([detached]), 34));
    assert!(with_word(&swept, "foreign").contains("somebody"), "{swept:#}");
    assert_eq!(nodes(&server).await, &serving - &behind);
    assert_eq!(server.ask_as_admin(Method::GET, "/clients/somebody", None).await.status, 200);
    fleet.stop().await;
}
