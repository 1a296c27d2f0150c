//! Answers that Chef itself never gives: a gateway's, a cache's, another server's. What was asked for is believed only where it is shown.

use enrolld::core::call::NodeOrder;
use enrolld::facts::Registration;
use enrolld::registrar::{ChefServer, Registrar};
use enrolld::retry::Failure;
use serde_json::{Value, json};

use crate::chef::{NodeKey, order, settings};
use crate::stub::{self, ADMIN, Stub};
use crate::{registrar, replacing};

/// Has a node taken off, enrolled anew with another key, or enrolled with this one.
async fn asked(what: &str, chef: &ChefServer, node: &NodeOrder, key: &NodeKey) -> Result<Registration, Failure> {
    match what {
        "leave" => chef.disassociate(node).await,
        "replace" => chef.associate(node, &NodeKey::new().material()).await,
        _ => chef.associate(node, &key.material()).await,
    }
}

#[tokio::test]
async fn an_answer_counts_only_with_what_was_asked_for_in_its_body() {
    let (node, key) = (order(1), NodeKey::new());
    let (name, another) = (node.node.as_str(), json!({ "name": "another", "clients": [], "actors": [], "groups": [] }));
    let group = |members: Value| json!({ "groupname": "admins", "clients": members, "groups": [] });
    let (client, object, admins) = (format!("/clients/{name}"), format!("/nodes/{name}"), "/groups/admins".to_owned());
    for (what, method, path, status, body, code) in [
        // A creation is a 201.
        ("new", "POST", "/clients".to_owned(), 200, json!({ "name": name }), "not_chef"),
        ("new", "POST", "/nodes".to_owned(), 200, json!({ "name": name }), "not_chef"),
        ("new", "POST", "/nodes".to_owned(), 202, json!({}), "not_chef"),
        // What is there already is read by its name.
        ("again", "GET", client.clone(), 200, another.clone(), "not_chef"),
        ("judge", "GET", object.clone(), 200, another.clone(), "not_chef"),
        ("judge", "GET", object.clone(), 200, Value::Null, "not_chef"),
        ("judge", "GET", format!("{object}/_acl"), 200, json!({}), "no_acl"),
        ("leave", "GET", client.clone(), 200, another.clone(), "not_chef"),
        // What was not deleted is there still, whatever was said to the order.
        ("leave", "DELETE", object.clone(), 200, another.clone(), "not_chef"),
        ("leave", "DELETE", object.clone(), 200, Value::Null, "not_chef"),
        ("leave", "DELETE", client.clone(), 200, another.clone(), "not_chef"),
        // That nobody is an administrator only the group itself can say.
        ("leave", "GET", admins.clone(), 200, Value::Null, "not_chef"),
        ("leave", "GET", admins.clone(), 200, json!({}), "not_chef"),
        ("leave", "GET", admins.clone(), 200, another.clone(), "not_chef"),
        ("leave", "GET", admins.clone(), 200, json!({ "name": "admins" }), "not_chef"),
        ("replace", "GET", admins.clone(), 200, another, "not_chef"),
        ("leave", "GET", admins.clone(), 200, group(json!([name])), "guarded_client"),
        ("leave", "GET", admins, 200, group(json!([])), "done"),
    ] {
        let stub = Stub::start().await;
        if what != "new" {
            registrar(&stub).associate(&node, &key.material()).await.unwrap();
        }
        if what == "judge" {
            stub::delete_client(&mut stub.state(), name);
        }
        let case = format!("{what}: {method} {path} answered with {status} {body}");
        stub.state().instead_of.insert(format!("{method} {path}"), (status, body));
        let chef = if what == "replace" { replacing(&stub) } else { registrar(&stub) };
        let ended = asked(what, &chef, &node, &key).await;
        assert_eq!(ended.map_or_else(|failure| failure.code, |_| "done".to_owned()), code, "{case}");
        let kept = ["new", "judge"].contains(&what) || code == "done" || stub.state().clients.contains_key(name);
        assert!(kept, "{case}: the client is there still");
        if what == "replace" {
            assert_eq!(stub.state().keys[name]["default"]["public_key"], key.public, "{case}");
        }
    }
}

#[tokio::test]
async fn a_server_without_groups_may_answer_for_one_as_it_likes() {
    let (node, key) = (order(1), NodeKey::new());
    for body in [Value::Null, json!({}), json!({ "name": "another" })] {
        let stub = Stub::start().await;
        stub.state().is_default = true;
        let url = stub.url().strip_suffix(stub::ORGANIZATION).unwrap();
        let chef = ChefServer::new(settings(url, ADMIN, stub.admin.private())).unwrap();
        chef.associate(&node, &key.material()).await.unwrap();
        stub.state().instead_of.insert("GET /groups/admins".into(), (200, body.clone()));
        assert_eq!(chef.disassociate(&node).await, Ok(Registration::Done), "{body}");
    }
}

#[tokio::test]
async fn a_server_without_rights_may_say_so_by_a_page_and_one_with_an_organization_may_not() {
    let (node, key) = (order(1), NodeKey::new());
    for (organization, code) in [("", "done"), (stub::ORGANIZATION, "not_chef")] {
        let stub = Stub::start().await;
        stub.state().is_default = true;
        stub.state().pages.push(format!("{organization}/nodes/{}/_acl", node.node));
        let url = format!("{}{organization}", stub.url().strip_suffix(stub::ORGANIZATION).unwrap());
        let chef = ChefServer::new(settings(&url, ADMIN, stub.admin.private())).unwrap();
        for _ in 0..2 {
            let ended = chef.associate(&node, &key.material()).await;
            assert_eq!(ended.map_or_else(|failure| failure.code, |_| "done".to_owned()), code, "{organization}");
        }
    }
}
