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

fn registrar(server: &Goiardi, more: &str) -> String {
    let (url, key) = (server.url(), server.admin_file());
    format!(r#"{{ kind = "chef-server", url = "{url}", client_name = "admin", client_key = "{}"{more} }}"#, key.display())
}

#[tokio::test]
async fn a_server_that_is_stopped_while_launches_come_is_waited_for_and_its_nodes_get_their_environment() {
    let mut server = Goiardi::start();
    let environment = json!({ "name": "production", "chef_type": "environment", "json_class": "Chef::Environment" });
    assert_eq!(server.ask_as_admin(Method::POST, "/environments", Some(environment)).await.status, 201);
    let registrar = registrar(&server, r#", environment = "production", run_list = ["role[web]"]"#);
    let mut fleet = Fleet::start("chef-stopped", &registrar, "", false).await;
    let mut launched = fleet.launch(3, |_| None).await;

    server.stop();
    let begins_again = async {
        fleet.until_said(r#""event":"server_held""#).await;
        let started = tokio::task::spawn_blocking(move || {
            server.start_again();
            server
        });
        let server = started.await.expect("it starts");
        fleet.until_said(r#""event":"server_ready""#).await;
        server
    };
    let (more, server) = tokio::join!(fleet.launch(10, |_| None), begins_again);
    launched.extend(more);
    fleet.must_be_settled().await;
    assert_eq!(nodes(&server).await, launched);
    for name in &launched {
        let object = server.ask_as_admin(Method::GET, &format!("/nodes/{name}"), None).await.json().expect("it is there");
        assert_eq!((&object["chef_environment"], &object["run_list"]), (&json!("production"), &json!(["role[web]"])));
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_server_with_tls_is_believed_by_its_ca_file_alone_and_check_says_which() {
    let server = Goiardi::start_with_tls();
    let ca_file = format!(r#", ca_file = "{}""#, server.authority_file().display());
    let mut fleet = Fleet::start("chef-tls", &registrar(&server, &ca_file), "", false).await;
    let launched = fleet.launch(3, |_| None).await;
    assert_eq!(nodes(&server).await, launched);
    let said = fleet.check().await;
    let about = format!("server {}", server.url());
    let line = |said: &str| said.lines().find(|line| line.contains(&about)).unwrap_or_else(|| panic!("{said}")).to_owned();
    assert!(line(&said).contains("it is there, and takes orders"), "{said}");
    fleet.stop().await;

    let other = Goiardi::start_with_tls();
    let wrong_ca = format!(r#", ca_file = "{}""#, other.authority_file().display());
    let wrong_name = ca_file.clone() + r#", run_list = ["base"]"#;
    for (name, registrar, word) in [
        ("chef-tls-ca", registrar(&server, &wrong_ca), "tls"),
        ("chef-tls-key", registrar(&server, &wrong_name).replace("\"admin\"", "\"nobody\""), "unauthorized"),
    ] {
        let mut fleet = Fleet::start(name, &registrar, "", true).await;
        let said = fleet.check().await;
        assert!(line(&said).contains(word), "{said}");
        fleet.stop().await;
    }
}

#[tokio::test]
async fn what_stands_under_a_nodes_name_and_is_not_the_nodes_is_left_alone_by_the_worker() {
    let server = Goiardi::start();
    let mut fleet = Fleet::start("chef-refused", &registrar(&server, ""), "", true).await;
    for (more, code) in [("name", "other_key"), ("validator", "guarded_client"), ("admin", "guarded_client")] {
        let theirs = NodeKey::new();
        let refused = fleet
            .launch_in_vain(async |id| {
                let mut client = json!({ "public_key": theirs.public });
                client[more] = true.into();
                client["name"] = id.into();
                assert_eq!(server.ask_as_admin(Method::POST, "/clients", Some(client)).await.status, 201);
                let node = json!({ "name": id, "run_list": ["role[theirs]"], "chef_type": "node", "json_class": "Chef::Node" });
                assert_eq!(server.ask_as_admin(Method::POST, "/nodes", Some(node)).await.status, 201);
                NodeKey::new().public
            })
            .await;
        fleet.until_said(code).await;
        let node = server.ask_as_admin(Method::GET, &format!("/nodes/{refused}"), None).await.json().expect("it is there");
        assert_eq!(node["run_list"], json!(["role[theirs]"]), "{more}");
        let answer = server.ask(&refused, &theirs.private(), Method::GET, &format!("/clients/{refused}"), None).await;
        assert_eq!(answer.status, 200, "{more}: its own key still opens the door");
    }
    fleet.stop().await;
}
