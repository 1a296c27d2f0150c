//! The Chef registrar against a server as the Chef Infra Server API's documentation describes it: what goiardi does not have.

mod answers;
#[path = "../common/chef.rs"]
mod chef;
mod others;
mod strangers;
mod stub;

use std::time::Duration;

use chef::{NodeKey, all_nodes, order, settings};
use enrolld::facts::{Health, KeyMaterial, Registration};
use enrolld::names::NodeName;
use enrolld::registrar::{ChefServer, ChefSettings, NodeWork, Registrar};
use enrolld::retry::Class;
use serde_json::{Value, json};
use stub::{ADMIN, State, Stub, Trouble, add_client, add_node};
use zeroize::Zeroizing;

fn registrar(stub: &Stub) -> ChefServer {
    ChefServer::new(settings(stub.url(), ADMIN, stub.admin.private())).unwrap()
}

fn replacing(stub: &Stub) -> ChefServer {
    ChefServer::new(ChefSettings { replace_existing: true, ..settings(stub.url(), ADMIN, stub.admin.private()) }).unwrap()
}

/// The clients that have a right on a node, beside whoever enrolled it.
fn holders(stub: &Stub, node: &str, right: &str) -> Value {
    let state = stub.state();
    state.acls[node][right]["clients"].as_array().into_iter().flatten().filter(|client| *client != ADMIN).cloned().collect()
}

#[tokio::test]
async fn a_node_gets_its_object_its_client_and_its_rights_in_five_requests() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.as_str();
    assert_eq!(registrar(&stub).associate(&node, &key.material()).await, Ok(Registration::Done));
    assert_eq!(
        stub.asked(),
        [
            "POST /nodes".to_owned(),
            format!("GET /nodes/{name}/_acl?detail=granular"),
            "POST /clients".to_owned(),
            format!("PUT /nodes/{name}/_acl/read"),
            format!("PUT /nodes/{name}/_acl/update"),
        ]
    );
    assert_eq!(stub.state().keys[name]["default"]["public_key"], key.public);
    assert_eq!(stub.state().nodes[name]["run_list"], json!(["recipe[base]"]));
    for (right, expected) in [("read", json!([name])), ("update", json!([name])), ("grant", json!([])), ("delete", json!([]))] {
        assert_eq!(holders(&stub, name, right), expected, "{right}");
    }
    assert_eq!(stub.state().acls[name]["update"]["clients"], json!([ADMIN, name]), "whoever had the right has it still");
    assert_eq!(stub.state().acls[name]["update"]["users"], json!(["pivotal"]));
    assert_eq!(stub.state().acls[name]["read"]["groups"], json!(["admins", "users", "clients"]));
}

#[tokio::test]
async fn a_node_speaks_for_itself_with_its_own_key() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    registrar(&stub).associate(&node, &key.material()).await.unwrap();
    let itself = ChefServer::new(settings(stub.url(), node.node.as_str(), key.private())).unwrap();
    assert_eq!(itself.health().await, Ok(Health::Ready));
}

#[tokio::test]
async fn the_same_key_again_is_read_at_the_keys_endpoint_and_is_a_success() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.as_str();
    registrar(&stub).associate(&node, &key.material()).await.unwrap();
    stub.asked();
    let pkcs1 = KeyMaterial::new(Zeroizing::new(key.public_pkcs1.clone()));
    for key in [key.material(), pkcs1] {
        assert_eq!(replacing(&stub).associate(&node, &key).await, Ok(Registration::Done));
        assert_eq!(
            stub.asked(),
            [
                "POST /nodes".to_owned(),
                format!("GET /clients/{name}"),
                format!("GET /clients/{name}/keys/default"),
                format!("GET /nodes/{name}/_acl?detail=granular"),
            ]
        );
    }
}

#[tokio::test]
async fn a_crash_after_any_request_heals() {
    let (node, key) = (order(1), NodeKey::new());
    for survived in 0..5 {
        let stub = Stub::start().await;
        let name = node.node.as_str();
        stub.state().dies_after = Some(survived);
        let failure = registrar(&stub).associate(&node, &key.material()).await.unwrap_err();
        assert_eq!(failure.class, Class::Transient, "{failure}");
        stub.state().dies_after = None;
        assert_eq!(registrar(&stub).associate(&node, &key.material()).await, Ok(Registration::Done), "after {survived}");
        assert_eq!(stub.state().keys[name]["default"]["public_key"], key.public);
        assert!(stub.state().nodes.contains_key(name));
        assert_eq!((holders(&stub, name, "read"), holders(&stub, name, "update")), (json!([name]), json!([name])));
    }
}

/// From the moment in which the client is there, chef-client can make the node object, with nothing to do and every right on it.
#[tokio::test]
async fn a_node_that_converges_all_the_while_is_enrolled_with_what_the_route_says_also_after_a_crash() {
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.as_str();
    for survived in [None, Some(0), Some(1), Some(2), Some(3), Some(4)] {
        let stub = Stub::start().await;
        stub.state().converges = Some(name.to_owned());
        if survived.is_some() {
            stub.state().dies_after = survived;
            assert_eq!(registrar(&stub).associate(&node, &key.material()).await.unwrap_err().class, Class::Transient, "{survived:?}");
            stub.state().dies_after = None;
        }
        assert_eq!(registrar(&stub).associate(&node, &key.material()).await, Ok(Registration::Done), "{survived:?}");
        assert_eq!(stub.state().nodes[name]["run_list"], json!(["recipe[base]"]), "{survived:?}");
        for (right, expected) in [("read", json!([name])), ("update", json!([name])), ("grant", json!([])), ("delete", json!([]))] {
            assert_eq!(holders(&stub, name, right), expected, "{survived:?}: {right}");
        }
    }
}

#[tokio::test]
async fn a_crash_after_any_request_of_a_replacement_heals_and_leaves_nothing_of_the_old_node() {
    let (node, old, new) = (order(1), NodeKey::new(), NodeKey::new());
    let mut survived = 0;
    loop {
        let stub = Stub::start().await;
        let name = node.node.as_str();
        registrar(&stub).associate(&node, &old.material()).await.unwrap();
        {
            let mut state = stub.state();
            state.nodes.get_mut(name).unwrap()["run_list"] = json!(["recipe[left_behind]"]);
            let further = json!({ "name": "further", "public_key": old.public, "expiration_date": "infinity" });
            state.keys.get_mut(name).unwrap().insert("further".into(), further);
            state.dies_after = Some(survived);
        }
        let whole = replacing(&stub).associate(&node, &new.material()).await.is_ok();
        stub.state().dies_after = None;
        assert_eq!(replacing(&stub).associate(&node, &new.material()).await, Ok(Registration::Done), "after {survived}");
        assert_eq!(stub.state().keys[name]["default"]["public_key"], new.public, "after {survived}");
        assert_eq!(stub.state().nodes[name]["run_list"], json!(["recipe[base]"]), "after {survived}");
        assert!(!stub.state().keys[name].contains_key("further"), "after {survived}");
        if whole {
            break;
        }
        survived += 1;
    }
    assert!(survived > 8, "a replacement takes more requests than {survived}");
}

#[tokio::test]
async fn another_key_or_one_that_has_expired_is_final() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.as_str();
    registrar(&stub).associate(&node, &key.material()).await.unwrap();
    let failure = registrar(&stub).associate(&node, &NodeKey::new().material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "other_key"), "{failure}");

    stub.state().keys.get_mut(name).unwrap().get_mut("default").unwrap()["expiration_date"] = "2001-01-01T00:00:00Z".into();
    let failure = registrar(&stub).associate(&node, &key.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "other_key"), "{failure}");
    assert_eq!(replacing(&stub).associate(&node, &key.material()).await, Ok(Registration::Done));
    assert_eq!(stub.state().keys[name]["default"]["expiration_date"], "infinity");

    stub.state().keys.get_mut(name).unwrap().clear();
    let failure = registrar(&stub).associate(&node, &key.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "other_key"), "{failure}");
    assert_eq!(replacing(&stub).associate(&node, &key.material()).await, Ok(Registration::Done));
    assert_eq!(stub.state().keys[name]["default"]["public_key"], key.public);
}

#[tokio::test]
async fn a_validator_is_never_replaced() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    add_client(&mut stub.state(), node.node.as_str(), &key.public);
    stub.state().clients.get_mut(node.node.as_str()).unwrap()["validator"] = true.into();
    for failure in [
        replacing(&stub).associate(&node, &NodeKey::new().material()).await.unwrap_err(),
        registrar(&stub).disassociate(&node).await.unwrap_err(),
    ] {
        assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "guarded_client"), "{failure}");
    }
    assert_eq!(stub.state().keys[node.node.as_str()]["default"]["public_key"], key.public);
}

#[tokio::test]
async fn a_member_of_the_group_of_administrators_is_neither_replaced_nor_taken_off() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.as_str();
    registrar(&stub).associate(&node, &key.material()).await.unwrap();
    stub.state().admins.push(name.to_owned());
    for failure in [
        replacing(&stub).associate(&node, &NodeKey::new().material()).await.unwrap_err(),
        registrar(&stub).disassociate(&node).await.unwrap_err(),
    ] {
        assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "guarded_client"), "{failure}");
    }
    assert_eq!(stub.state().keys[name]["default"]["public_key"], key.public);
    assert!(stub.state().nodes.contains_key(name));

    // Nor where its node object is not ours to see.
    stub.state().forbidden.push(format!("nodes/{name}"));
    let failure = registrar(&stub).associate(&node, &key.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "foreign_node"), "{failure}");
    assert!(stub.state().clients.contains_key(name));
    stub.state().forbidden.clear();

    // Where the group is not to be seen, nothing shows who is in it.
    stub.state().forbidden.push("groups/admins".to_owned());
    assert_eq!(registrar(&stub).disassociate(&node).await, Ok(Registration::Done));
}

#[tokio::test]
async fn an_administrator_of_the_default_organization_is_one_also_without_it_in_the_url() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.as_str();
    stub.state().is_default = true;
    let url = stub.url().strip_suffix(stub::ORGANIZATION).unwrap();
    let chef = |replace_existing| ChefServer::new(ChefSettings { replace_existing, ..settings(url, ADMIN, stub.admin.private()) }).unwrap();
    chef(false).associate(&node, &key.material()).await.unwrap();
    stub.state().admins.push(name.to_owned());
    for failure in
        [chef(true).associate(&node, &NodeKey::new().material()).await.unwrap_err(), chef(false).disassociate(&node).await.unwrap_err()]
    {
        assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "guarded_client"), "{failure}");
    }
    assert_eq!(stub.state().keys[name]["default"]["public_key"], key.public);
    stub.state().admins.clear();
    assert_eq!(chef(false).disassociate(&node).await, Ok(Registration::Done));
}

#[tokio::test]
async fn a_member_of_a_group_in_the_group_of_administrators_is_one_too_at_whatever_depth() {
    let group = |clients: &[&str], groups: &[&str]| {
        let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        (texts(clients), texts(groups))
    };
    let node = order(1);
    let name = node.node.as_str();
    let chain: Vec<(String, String)> = (0..60).map(|at| (format!("{at:02}"), format!("{:02}", at + 1))).collect();
    let long = chain.iter().map(|(outer, inner)| (outer.as_str(), group(&[], &[inner]))).collect();
    for (groups, guarded) in [
        (vec![("a", group(&[name], &[]))], true),
        (vec![("a", group(&["somebody"], &["b"])), ("b", group(&[], &["c"])), ("c", group(&[name], &[]))], true),
        // One in the other in the one, one that is gone, and one that is no administrators' at all.
        (
            vec![
                ("a", group(&["somebody"], &["b", "gone", "::server-admins"])),
                ("b", group(&[], &["a", "admins"])),
                ("z", group(&[name], &[])),
            ],
            false,
        ),
        // What cannot be followed can have anybody in it.
        (vec![("a", group(&[], &["../clients"]))], true),
        (long, true),
    ] {
        let stub = Stub::start().await;
        registrar(&stub).associate(&node, &NodeKey::new().material()).await.unwrap();
        stub.state().groups = groups.iter().map(|(name, members)| ((*name).to_owned(), members.clone())).collect();
        let ended = registrar(&stub).disassociate(&node).await;
        match guarded {
            true => assert_eq!(ended.unwrap_err().code, "guarded_client", "{groups:?}"),
            false => assert_eq!(ended, Ok(Registration::Done), "{groups:?}"),
        }
    }
    // One of them that is not to be seen shows nobody.
    let stub = Stub::start().await;
    registrar(&stub).associate(&node, &NodeKey::new().material()).await.unwrap();
    stub.state().groups.insert("a".to_owned(), group(&[name], &[]));
    stub.state().forbidden.push("groups/a".to_owned());
    assert_eq!(registrar(&stub).disassociate(&node).await, Ok(Registration::Done));
}

#[tokio::test]
async fn a_node_whose_name_is_that_of_a_user_too_gets_its_rights() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    stub.state().users.push(node.node.to_string());
    assert_eq!(registrar(&stub).associate(&node, &key.material()).await, Ok(Registration::Done));
    assert_eq!(holders(&stub, node.node.as_str(), "update"), json!([node.node.as_str()]));
}

#[tokio::test]
async fn an_older_server_that_lists_clients_and_users_together_gives_rights_too() {
    let stub = Stub::start().await;
    stub.state().granular = false;
    let (node, key) = (order(1), NodeKey::new());
    assert_eq!(registrar(&stub).associate(&node, &key.material()).await, Ok(Registration::Done));
    assert_eq!(holders(&stub, node.node.as_str(), "update"), json!([node.node.as_str()]));
    assert_eq!(stub.state().acls[node.node.as_str()]["update"]["users"], json!(["pivotal"]));
}

#[tokio::test]
async fn a_policy_takes_the_place_of_environment_and_run_list() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let mut settings = settings(stub.url(), ADMIN, stub.admin.private());
    settings.work = NodeWork::Policy { name: "web".into(), group: "live".into() };
    assert_eq!(ChefServer::new(settings).unwrap().associate(&node, &key.material()).await, Ok(Registration::Done));
    let object = stub.state().nodes[node.node.as_str()].clone();
    assert_eq!((&object["policy_name"], &object["policy_group"], &object["run_list"]), (&json!("web"), &json!("live"), &json!([])));
}

#[tokio::test]
async fn a_node_is_taken_off_and_what_is_not_there_is_a_success() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let chef = registrar(&stub);
    chef.associate(&node, &key.material()).await.unwrap();
    assert_eq!(all_nodes(&chef).await, [ADMIN, node.node.as_str()]);
    for _ in 0..2 {
        assert_eq!(chef.disassociate(&node).await, Ok(Registration::Done));
        assert!(stub.state().nodes.is_empty() && stub.state().clients.len() == 1);
    }
    assert_eq!(all_nodes(&chef).await, [ADMIN]);
}

/// The instance runs until its termination goes on, and chef-client makes a node object where it finds none to save.
#[tokio::test]
async fn a_node_that_saves_itself_while_it_is_taken_off_leaves_nothing_also_after_a_crash() {
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.as_str();
    // With the fifth request the client is gone, and the node object is not.
    for crashed in [false, true] {
        let stub = Stub::start().await;
        registrar(&stub).associate(&node, &key.material()).await.unwrap();
        let saved = name.to_owned();
        let saves = move |state: &mut State| add_node(state, json!({ "name": saved, "run_list": ["recipe[base]"] }), &saved);
        stub.state().before.insert(format!("DELETE /clients/{name}"), Box::new(saves));
        if crashed {
            stub.state().dies_after = Some(4);
            assert_eq!(registrar(&stub).disassociate(&node).await.unwrap_err().class, Class::Transient);
            stub.state().dies_after = None;
            assert!(stub.state().nodes.contains_key(name) && !stub.state().clients.contains_key(name));
        }
        assert_eq!(registrar(&stub).disassociate(&node).await, Ok(Registration::Done));
        assert!(stub.state().nodes.is_empty() && stub.state().clients.len() == 1, "after a crash: {crashed}");
    }
}

#[tokio::test]
async fn an_organization_that_is_not_there_is_a_fault_of_the_route_and_no_success() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let url = stub.url().replace("/ours", "/lost");
    let lost = ChefServer::new(settings(&url, ADMIN, stub.admin.private())).unwrap();
    for failure in [
        lost.associate(&node, &key.material()).await.unwrap_err(),
        lost.disassociate(&node).await.unwrap_err(),
        lost.list(None).await.unwrap_err(),
    ] {
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "no_organization"), "{failure}");
    }
}

#[tokio::test]
async fn what_stands_before_a_server_in_maintenance_is_not_ready() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let chef = registrar(&stub);
    for instead in [
        (502, "text/html", "<html>Bad Gateway</html>"),
        (503, "text/html", "<html>Maintenance</html>"),
        (504, "text/plain", ""),
        (200, "text/html", "<html>We are back soon</html>"),
    ] {
        stub.state().instead = Some(instead);
        for failure in [
            chef.associate(&node, &key.material()).await.unwrap_err(),
            chef.disassociate(&node).await.unwrap_err(),
            chef.health().await.unwrap_err(),
            chef.list(None).await.unwrap_err(),
        ] {
            assert_eq!(failure.class, Class::NotReady, "{instead:?}: {failure}");
        }
    }
    stub.state().instead = None;
    assert_eq!(chef.associate(&node, &key.material()).await, Ok(Registration::Done));
}

#[tokio::test]
async fn health_believes_a_status_only_by_its_body_and_then_asks_who_we_are() {
    let stub = Stub::start().await;
    let chef = registrar(&stub);
    let own = format!("GET /clients/{ADMIN}");
    assert_eq!(chef.health().await, Ok(Health::Ready));
    let signed = [own.clone(), format!("{own}/keys")];
    assert_eq!(stub.asked(), [&["GET /_status".to_owned()], &signed[..]].concat(), "without a status page");

    stub.state().status = Some((200, json!({ "status": "pong", "upstreams": { "chef_sql": "pong", "chef_index": "pong" } })));
    assert_eq!(chef.health().await, Ok(Health::Ready));
    stub.state().status = Some((500, json!({ "status": "fail", "upstreams": { "chef_sql": "fail", "chef_index": "pong" } })));
    assert_eq!(chef.health().await, Ok(Health::NotReady("fail chef_sql".into())));

    stub.state().status = Some((200, json!({ "status": "maintenance", "upstreams": {} })));
    assert_eq!(chef.health().await, Ok(Health::NotReady("maintenance".into())));
    for gateways in [json!({ "status": "ok" }), json!({ "status": "fail" }), json!({ "status": "healthy", "version": "7" })] {
        stub.state().status = Some((200, gateways));
        assert_eq!(chef.health().await, Ok(Health::Ready), "what stands before the server has a status of its own");
    }

    stub.state().status = Some((200, Value::Null));
    stub.asked();
    assert_eq!(chef.health().await, Ok(Health::Ready));
    assert_eq!(stub.asked(), [&["GET /_status".to_owned()], &signed[..]].concat(), "a status that says nothing is none");

    let wrong = ChefServer::new(settings(stub.url(), ADMIN, NodeKey::new().private())).unwrap();
    let failure = wrong.health().await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "unauthorized"), "{failure}");
}

#[tokio::test]
async fn a_status_that_cannot_be_had_leaves_the_word_to_the_signed_read() {
    let stub = Stub::start().await;
    let mut settings = ChefSettings { call_timeout: Duration::from_secs(2), ..settings(stub.url(), ADMIN, stub.admin.private()) };
    settings.http.max_answer = 4000;
    let chef = ChefServer::new(settings).unwrap();
    let wrong = ChefServer::new(chef::settings(stub.url(), ADMIN, NodeKey::new().private())).unwrap();
    for trouble in [Some(Trouble::Breaks), Some(Trouble::Hangs), None] {
        stub.state().status_trouble = trouble;
        // Without trouble it is longer than any answer may be.
        stub.state().status = Some((200, json!({ "status": "fail", "upstreams": { "chef_sql": "x".repeat(5000) } })));
        assert_eq!(chef.health().await, Ok(Health::Ready), "{trouble:?}");
    }
    stub.state().status_trouble = Some(Trouble::Breaks);
    assert_eq!(wrong.health().await.unwrap_err().code, "unauthorized", "what follows decides");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let chef = ChefServer::new(chef::settings(&format!("http://{nobody}"), ADMIN, stub.admin.private())).unwrap();
    assert_eq!(chef.health().await.unwrap_err().code, "unreachable");
}

#[tokio::test]
async fn whoever_enrols_may_be_a_user_instead_of_a_client() {
    let stub = Stub::start().await;
    stub.state().clients.remove(ADMIN);
    let (node, key) = (order(1), NodeKey::new());
    assert_eq!(registrar(&stub).health().await, Ok(Health::Ready));
    for _ in 0..2 {
        assert_eq!(registrar(&stub).associate(&node, &key.material()).await, Ok(Registration::Done));
        assert_eq!(stub.state().acls[node.node.as_str()]["update"]["users"], json!(["pivotal", ADMIN]));
    }
}

#[tokio::test]
async fn rights_that_are_missing_are_a_fault_of_the_route() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    add_client(&mut stub.state(), "plain", &key.public);
    let plain = ChefServer::new(settings(stub.url(), "plain", key.private())).unwrap();
    let failure = plain.associate(&node, &key.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "forbidden"), "{failure}");
    stub.state().forbidden.push("clients/plain".to_owned());
    let failure = plain.disassociate(&node).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "forbidden"), "we may not even see ourselves: {failure}");
}

#[tokio::test]
async fn a_signature_that_is_not_understood_is_a_fault_of_the_route_and_a_name_that_is_not_taken_is_the_nodes_own() {
    let stub = Stub::start().await;
    let (mut node, key) = (order(1), NodeKey::new());
    type Prepare = fn(&mut State);
    let older: Prepare = |state| state.is_older = true;
    let behind_a_proxy: Prepare = |state| (state.is_older, state.dropped) = (false, vec!["x-ops-sign", "x-ops-timestamp"]);
    for (prepares, said) in [
        (older, "Unsupported authentication protocol version"),
        (behind_a_proxy, "missing required authentication header(s) x-ops-sign, x-ops-timestamp"),
    ] {
        prepares(&mut stub.state());
        for failure in [
            registrar(&stub).associate(&node, &key.material()).await.unwrap_err(),
            registrar(&stub).disassociate(&node).await.unwrap_err(),
            registrar(&stub).health().await.unwrap_err(),
        ] {
            assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "not_chef"), "{failure}");
            assert!(failure.detail.contains(said), "{failure}");
        }
    }
    stub.state().dropped.clear();
    node.node = NodeName::new("web:1").unwrap();
    let failure = registrar(&stub).associate(&node, &key.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "refused"), "{failure}");
    assert!(stub.state().nodes.is_empty(), "a node object for nobody stays");
}

#[tokio::test]
async fn a_right_that_is_missing_on_one_object_is_that_nodes_own_trouble_also_when_it_is_to_be_taken_off() {
    for forbidden in ["clients", "nodes"] {
        let stub = Stub::start().await;
        let (node, key) = (order(1), NodeKey::new());
        registrar(&stub).associate(&node, &key.material()).await.unwrap();
        stub.state().forbidden.push(format!("{forbidden}/{}", node.node));
        let failure = registrar(&stub).disassociate(&node).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "foreign_node"), "{forbidden}: {failure}");
        // Where the node object alone is another's, the client goes: nothing else would take it off.
        assert_eq!(stub.state().clients.contains_key(node.node.as_str()), forbidden == "clients", "{forbidden}");
    }
}

#[tokio::test]
async fn that_nothing_is_there_is_believed_only_of_a_server_that_knows_us() {
    let stub = Stub::start().await;
    let chef = registrar(&stub);
    stub.asked();
    assert_eq!(chef.disassociate(&order(1)).await, Ok(Registration::Done));
    assert_eq!(stub.asked().last(), Some(&format!("GET /clients/{ADMIN}")));
    // A gateway that answers every path with an error of its own.
    stub.state().instead = Some((404, "application/json", r#"{"error":"no such route"}"#));
    let failure = chef.disassociate(&order(1)).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "not_chef"), "{failure}");
}

#[tokio::test]
async fn a_server_that_makes_key_pairs_is_a_fault_of_the_route_also_the_second_time() {
    let stub = Stub::start().await;
    stub.state().makes_keys = true;
    let (node, key) = (order(1), NodeKey::new());
    for _ in 0..2 {
        let failure = registrar(&stub).associate(&node, &key.material()).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "server_made_key"), "{failure}");
        assert!(!stub.state().clients.contains_key(node.node.as_str()), "whoever listened has its key");
        assert!(stub.state().nodes.is_empty(), "nothing half done stays");
    }
    stub.state().makes_keys = false;
    assert_eq!(registrar(&stub).associate(&node, &key.material()).await, Ok(Registration::Done));
}

#[tokio::test]
async fn a_key_pair_that_a_server_makes_when_it_should_replace_one_is_given_up_with_its_client() {
    for without_default in [false, true] {
        let stub = Stub::start().await;
        let (node, new) = (order(1), NodeKey::new());
        let name = node.node.as_str();
        registrar(&stub).associate(&node, &NodeKey::new().material()).await.unwrap();
        let mut request = format!("PUT /clients/{name}/keys/default");
        if without_default {
            stub.state().keys.get_mut(name).unwrap().clear();
            request = format!("POST /clients/{name}/keys");
        }
        let made = json!({ "name": "default", "public_key": new.public, "private_key": "-----BEGIN RSA PRIVATE KEY-----" });
        stub.state().instead_of.insert(request, (200, made));
        let failure = replacing(&stub).associate(&node, &new.material()).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "server_made_key"), "{failure}");
        assert!(!stub.state().clients.contains_key(name), "whoever listened has its key");
        assert_eq!(replacing(&stub).associate(&node, &new.material()).await, Ok(Registration::Done));
    }
}

#[tokio::test]
async fn a_key_is_believed_only_by_its_name() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.as_str();
    registrar(&stub).associate(&node, &key.material()).await.unwrap();
    let other = json!({ "name": "other", "public_key": key.public, "expiration_date": "infinity" });
    stub.state().keys.get_mut(name).unwrap().insert("default".into(), other);
    let failure = registrar(&stub).associate(&node, &key.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "not_chef"), "{failure}");
}

#[tokio::test]
async fn a_client_that_somebody_else_made_is_that_nodes_own_trouble() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    add_client(&mut stub.state(), node.node.as_str(), &key.public);
    stub.state().forbidden.push(format!("clients/{}", node.node));
    let failure = replacing(&stub).associate(&node, &key.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "guarded_client"), "{failure}");
    assert!(stub.state().nodes.is_empty(), "the node object that was made for it goes");
}

#[tokio::test]
async fn what_we_may_not_read_or_replace_is_one_nodes_own_trouble_and_no_fault_of_the_route() {
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.as_str();
    for replaces in [false, true] {
        let chef = |stub: &Stub| if replaces { replacing(stub) } else { registrar(stub) };
        for (forbidden, same_key) in [("nodes/N", true), ("nodes/N", false), ("PUT clients/N/keys/default", false)] {
            if !same_key && !replaces {
                // Another key is final before anybody looks at the node object, or would replace anything.
                continue;
            }
            let case = format!("{forbidden}, the same key: {same_key}, replacing: {replaces}");
            let stub = Stub::start().await;
            registrar(&stub).associate(&node, &key.material()).await.unwrap();
            stub.state().forbidden.push(forbidden.replace('N', name));
            let offered = if same_key { key.material() } else { NodeKey::new().material() };
            let failure = chef(&stub).associate(&node, &offered).await.unwrap_err();
            assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "foreign_node"), "{case}: {failure}");
            assert_eq!(stub.state().keys[name]["default"]["public_key"], key.public, "{case}: an enrolled node keeps its client");
            assert_eq!(failure.detail.contains("its client, which has the node's key, stays"), same_key, "{case}: {failure}");
            // Whether the key may be replaced shows after the old node's object went.
            assert_eq!(stub.state().nodes.contains_key(name), forbidden == "nodes/N", "{case}");
        }
        // A node object alone: no client is made for it, also where a worker died in between.
        let stub = Stub::start().await;
        stub.state().nodes.insert(name.to_owned(), json!({ "name": name }));
        stub.state().forbidden.push(format!("nodes/{name}"));
        for dies_after in [None, Some(1)] {
            if dies_after.is_some() {
                stub.state().dies_after = dies_after;
                chef(&stub).associate(&node, &key.material()).await.unwrap_err();
                stub.state().dies_after = None;
            }
            let failure = chef(&stub).associate(&node, &key.material()).await.unwrap_err();
            assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "foreign_node"), "{failure}");
            assert!(!stub.state().clients.contains_key(name) && stub.state().nodes.contains_key(name), "{dies_after:?}");
        }
        // Where we may not even see ourselves, it is the route's.
        stub.state().forbidden.push(format!("clients/{ADMIN}"));
        let failure = chef(&stub).associate(&node, &key.material()).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "forbidden"), "{failure}");
    }
}

/// Who may read keys may read everybody's, so that it is never one node's own trouble.
#[tokio::test]
async fn keys_that_we_may_not_read_are_a_fault_of_the_route_and_check_shows_it() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.as_str();
    registrar(&stub).associate(&node, &key.material()).await.unwrap();
    stub.state().reads_no_keys = true;
    for failure in [
        registrar(&stub).associate(&node, &key.material()).await.unwrap_err(),
        replacing(&stub).associate(&node, &NodeKey::new().material()).await.unwrap_err(),
        registrar(&stub).health().await.unwrap_err(),
    ] {
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "forbidden"), "{failure}");
        assert!(failure.detail.contains("public_key_read_access"), "{failure}");
    }
    assert!(stub.state().clients.contains_key(name) && stub.state().nodes.contains_key(name));
    // A user is in that group or is not, as a client is.
    stub.state().clients.remove(ADMIN);
    assert_eq!(registrar(&stub).health().await.unwrap_err().code, "forbidden");
    stub.state().reads_no_keys = false;
    assert_eq!(registrar(&stub).health().await, Ok(Health::Ready));
}

#[tokio::test]
async fn a_node_object_that_somebody_else_made_is_too_and_one_of_ours_is_not() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.as_str();
    stub.state().forbidden.push(format!("nodes/{name}/_acl"));
    for _ in 0..2 {
        let failure = registrar(&stub).associate(&node, &key.material()).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "forbidden"), "what we made ourselves: {failure}");
        assert!(stub.state().nodes.is_empty() && stub.state().clients.len() == 1, "nothing half done stays");
    }
    stub.state().nodes.insert(name.to_owned(), json!({ "name": name, "run_list": ["role[theirs]"] }));
    for crashed in [false, true] {
        if crashed {
            stub.state().dies_after = Some(1);
            registrar(&stub).associate(&node, &key.material()).await.unwrap_err();
            stub.state().dies_after = None;
        }
        let failure = registrar(&stub).associate(&node, &key.material()).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "foreign_node"), "what was there: {failure}");
        assert_eq!(stub.state().nodes[name]["run_list"], json!(["role[theirs]"]));
        assert!(!stub.state().clients.contains_key(name), "no client is made for it");
    }
}

/// The old node's chef-client saves its node where it may, and makes it where it finds none.
#[tokio::test]
async fn a_node_that_a_replaced_client_saves_in_the_last_moment_is_gone_too_also_after_a_crash() {
    let (node, old, new) = (order(1), NodeKey::new(), NodeKey::new());
    let name = node.node.as_str();
    let saves = |state: &mut State, name: &str| {
        let may = state.acls.get(name).is_none_or(|rights| rights["update"]["clients"].as_array().unwrap().contains(&json!(name)));
        if may {
            add_node(state, json!({ "name": name, "run_list": ["recipe[left_behind]"] }), name);
        }
    };
    let replaced = format!("PUT /clients/{name}/keys/default");
    for crashed in [false, true] {
        // The creation is that after the deletion.
        for request in ["POST /nodes".to_owned(), format!("GET /clients/{name}/keys"), replaced.clone()] {
            let case = format!("{request}, after a crash: {crashed}");
            let stub = Stub::start().await;
            registrar(&stub).associate(&node, &old.material()).await.unwrap();
            let (saved, at, last) = (name.to_owned(), request.clone(), replaced.clone());
            let arms = move |state: &mut State| {
                let again = saved.clone();
                state.before.insert(at, Box::new(move |state| saves(state, &again)));
                let dies = move |state: &mut State| {
                    saves(state, &saved);
                    // With this request the key is the new one, and nothing more is asked.
                    state.dies_after = crashed.then_some(0);
                };
                state.before.insert(last, Box::new(dies));
            };
            stub.state().before.insert(format!("DELETE /nodes/{name}"), Box::new(arms));
            if crashed {
                replacing(&stub).associate(&node, &new.material()).await.unwrap_err();
                assert_eq!(stub.state().keys[name]["default"]["public_key"], new.public, "{case}");
                stub.state().dies_after = None;
            }
            assert_eq!(replacing(&stub).associate(&node, &new.material()).await, Ok(Registration::Done), "{case}");
            assert_eq!(stub.state().nodes[name]["run_list"], json!(["recipe[base]"]), "{case}");
            assert_eq!(holders(&stub, name, "grant"), json!([]), "{case}");
        }
    }
}

#[tokio::test]
async fn a_node_with_our_own_name_is_refused_without_a_request() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let itself = ChefServer::new(settings(stub.url(), node.node.as_str(), key.private())).unwrap();
    for failure in [itself.associate(&node, &key.material()).await.unwrap_err(), itself.disassociate(&node).await.unwrap_err()] {
        assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "own_name"), "{failure}");
    }
    assert!(stub.asked().is_empty());
}
