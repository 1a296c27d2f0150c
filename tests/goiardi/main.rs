//! enrolld's Chef registrar against a real Chef server: goiardi, with authentication on. Run by `tests/goiardi/run`.

#[path = "../common/chef.rs"]
mod chef;
mod end_to_end;
#[path = "../common/fleet.rs"]
mod fleet;
mod server;

use chef::{NodeKey, all_nodes, order, settings};
use enrolld::facts::{Health, KeyMaterial, Registration};
use enrolld::registrar::{ChefServer, ChefSettings, NodeWork, Registrar};
use enrolld::retry::Class;
use hyper::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use server::Goiardi;
use zeroize::Zeroizing;

fn as_admin(server: &Goiardi) -> ChefServer {
    ChefServer::new(settings(&server.url(), "admin", server.admin())).unwrap()
}

fn replacing(server: &Goiardi) -> ChefServer {
    ChefServer::new(ChefSettings { replace_existing: true, ..settings(&server.url(), "admin", server.admin()) }).unwrap()
}

/// Whether a node can speak for itself: it reads its own client object with its private key.
async fn can_authenticate(server: &Goiardi, name: &str, key: &NodeKey) -> bool {
    let answer = server.ask(name, &key.private(), Method::GET, &format!("/clients/{name}"), None).await;
    let named = answer.json().is_some_and(|client| client["name"] == name);
    assert_eq!(named, answer.status == 200, "{answer:?}");
    named
}

#[tokio::test]
async fn a_node_is_enrolled_with_its_key_and_then_speaks_for_itself() {
    let server = Goiardi::start();
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.as_str();
    let mut settings = settings(&server.url(), "admin", server.admin());
    settings.work =
        NodeWork::RunList { environment: "_default".into(), run_list: vec!["role[web]".into(), "recipe[base::hardened]".into()] };
    let chef = ChefServer::new(settings).unwrap();
    assert_eq!(chef.associate(&node, &key.material()).await, Ok(Registration::Done));

    assert!(can_authenticate(&server, name, &key).await);
    assert!(!can_authenticate(&server, name, &NodeKey::new()).await);
    let object = server.ask_as_admin(Method::GET, &format!("/nodes/{name}"), None).await.json().unwrap();
    assert_eq!((&object["name"], &object["chef_environment"]), (&json!(name), &json!("_default")));
    assert_eq!(object["run_list"], json!(["role[web]", "recipe[base::hardened]"]));

    // What chef-client does at the end of its run.
    let mut saved = object.clone();
    saved["automatic"] = json!({ "fqdn": "web-1" });
    let answer = server.ask(name, &key.private(), Method::PUT, &format!("/nodes/{name}"), Some(saved)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_server_without_policies_refuses_them_as_a_fault_of_the_route() {
    let server = Goiardi::start();
    let (node, key) = (order(1), NodeKey::new());
    let mut settings = settings(&server.url(), "admin", server.admin());
    settings.work = NodeWork::Policy { name: "web".into(), group: "live".into() };
    let failure = ChefServer::new(settings).unwrap().associate(&node, &key.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "refused_node"), "{failure}");
    assert!(failure.detail.contains("policy_"), "{failure}");
}

#[tokio::test]
async fn the_same_key_again_is_a_success_in_either_form_and_changes_nothing() {
    let server = Goiardi::start();
    let (node, key) = (order(1), NodeKey::new());
    let path = format!("/nodes/{}", node.node);
    let chef = as_admin(&server);
    assert_eq!(chef.associate(&node, &key.material()).await, Ok(Registration::Done));
    let mut object = server.ask_as_admin(Method::GET, &path, None).await.json().unwrap();
    object["normal"] = json!({ "seen": true });
    assert_eq!(server.ask_as_admin(Method::PUT, &path, Some(object)).await.status, 200);

    let pkcs1 = KeyMaterial::new(Zeroizing::new(key.public_pkcs1.clone()));
    for key in [key.material(), pkcs1] {
        assert_eq!(chef.associate(&node, &key).await, Ok(Registration::Done));
        assert_eq!(replacing(&server).associate(&node, &key).await, Ok(Registration::Done));
    }
    let object = server.ask_as_admin(Method::GET, &path, None).await.json().unwrap();
    assert_eq!(object["normal"], json!({ "seen": true }), "the node object is the one that was there");
}

#[tokio::test]
async fn a_key_in_the_older_form_is_enrolled_as_well() {
    let server = Goiardi::start();
    let (node, key) = (order(1), NodeKey::new());
    let pkcs1 = KeyMaterial::new(Zeroizing::new(key.public_pkcs1.clone()));
    assert_eq!(as_admin(&server).associate(&node, &pkcs1).await, Ok(Registration::Done));
    assert!(can_authenticate(&server, node.node.as_str(), &key).await);
}

#[tokio::test]
async fn another_key_is_final_and_is_taken_only_where_that_is_wanted() {
    let server = Goiardi::start();
    let (node, first, second) = (order(1), NodeKey::new(), NodeKey::new());
    let name = node.node.as_str();
    let path = format!("/nodes/{name}");
    as_admin(&server).associate(&node, &first.material()).await.unwrap();
    let mut object = server.ask_as_admin(Method::GET, &path, None).await.json().unwrap();
    object["run_list"] = json!(["recipe[left_behind]"]);
    assert_eq!(server.ask_as_admin(Method::PUT, &path, Some(object)).await.status, 200);

    let failure = as_admin(&server).associate(&node, &second.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "other_key"), "{failure}");
    assert!(can_authenticate(&server, name, &first).await);
    assert!(!can_authenticate(&server, name, &second).await);

    assert_eq!(replacing(&server).associate(&node, &second.material()).await, Ok(Registration::Done));
    assert!(can_authenticate(&server, name, &second).await);
    assert!(!can_authenticate(&server, name, &first).await);
    let object = server.ask_as_admin(Method::GET, &path, None).await.json().unwrap();
    assert_eq!(object["run_list"], json!(["recipe[base]"]), "the node object is a new one");
}

#[tokio::test]
async fn what_is_more_than_a_node_is_never_replaced() {
    let server = Goiardi::start();
    let (node, key, other) = (order(1), NodeKey::new(), NodeKey::new());
    let name = node.node.as_str();
    for more in ["validator", "admin"] {
        let client = json!({ "name": name, more: true, "public_key": key.public });
        assert_eq!(server.ask_as_admin(Method::POST, "/clients", Some(client)).await.status, 201);
        for failure in [
            replacing(&server).associate(&node, &other.material()).await.unwrap_err(),
            as_admin(&server).disassociate(&node).await.unwrap_err(),
        ] {
            assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "guarded_client"), "{more}: {failure}");
        }
        assert!(can_authenticate(&server, name, &key).await);
        assert_eq!(server.ask_as_admin(Method::DELETE, &format!("/clients/{name}"), None).await.status, 200);
    }
}

#[tokio::test]
async fn a_crash_between_client_and_node_heals() {
    let server = Goiardi::start();
    let (node, key) = (order(1), NodeKey::new());
    let path = format!("/nodes/{}", node.node);
    let client = json!({ "name": node.node.as_str(), "public_key": key.public });
    assert_eq!(server.ask_as_admin(Method::POST, "/clients", Some(client)).await.status, 201);
    assert_eq!(server.ask_as_admin(Method::GET, &path, None).await.status, 404);
    assert_eq!(as_admin(&server).associate(&node, &key.material()).await, Ok(Registration::Done));
    assert_eq!(server.ask_as_admin(Method::GET, &path, None).await.status, 200);
}

/// goiardi shows no rights: what the object says is all that tells whose it is.
#[tokio::test]
async fn a_node_object_that_was_there_is_taken_only_where_it_says_what_the_route_says() {
    let server = Goiardi::start();
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.as_str();
    let path = format!("/nodes/{name}");
    for (run_list, code) in [("base", "done"), ("recipe[backdoor]", "foreign_node")] {
        let object = json!({ "name": name, "run_list": [run_list], "chef_type": "node", "json_class": "Chef::Node" });
        assert_eq!(server.ask_as_admin(Method::POST, "/nodes", Some(object)).await.status, 201);
        let ended = as_admin(&server).associate(&node, &key.material()).await;
        assert_eq!(ended.map_or_else(|failure| failure.code, |_| "done".to_owned()), code);
        let client = server.ask_as_admin(Method::GET, &format!("/clients/{name}"), None).await;
        assert_eq!(client.status, if code == "done" { 200 } else { 404 });
        assert_eq!(replacing(&server).associate(&node, &key.material()).await, Ok(Registration::Done));
        let object = server.ask_as_admin(Method::GET, &path, None).await.json().unwrap();
        assert_eq!(object["run_list"], json!(["recipe[base]"]));
        as_admin(&server).disassociate(&node).await.unwrap();
    }
}

#[tokio::test]
async fn two_workers_may_associate_the_same_node_at_once() {
    let server = Goiardi::start();
    let (node, key) = (order(1), NodeKey::new());
    let (one, other, material) = (as_admin(&server), as_admin(&server), key.material());
    for _ in 0..10 {
        let (one, other) = tokio::join!(one.associate(&node, &material), other.associate(&node, &material));
        assert_eq!((one, other), (Ok(Registration::Done), Ok(Registration::Done)));
        as_admin(&server).disassociate(&node).await.unwrap();
    }
}

#[tokio::test]
async fn a_node_is_taken_off_with_all_that_is_its_own_and_once_more_without_harm() {
    let server = Goiardi::start();
    let (node, stays, key) = (order(1), order(2), NodeKey::new());
    let chef = as_admin(&server);
    chef.associate(&node, &key.material()).await.unwrap();
    chef.associate(&stays, &key.material()).await.unwrap();
    let listed = |all: Vec<String>| all.into_iter().filter(|name| name.starts_with("i-")).collect::<Vec<_>>();
    assert_eq!(listed(all_nodes(&chef).await), [node.node.as_str(), stays.node.as_str()]);

    for _ in 0..2 {
        assert_eq!(chef.disassociate(&node).await, Ok(Registration::Done));
        for kind in ["nodes", "clients"] {
            assert_eq!(server.ask_as_admin(Method::GET, &format!("/{kind}/{}", node.node), None).await.status, 404);
        }
    }
    assert_eq!(listed(all_nodes(&chef).await), [stays.node.as_str()]);
    assert!(!can_authenticate(&server, node.node.as_str(), &key).await);
}

#[tokio::test]
async fn a_client_without_its_node_is_listed_and_taken_off_too() {
    let server = Goiardi::start();
    let (node, key) = (order(1), NodeKey::new());
    let chef = as_admin(&server);
    chef.associate(&node, &key.material()).await.unwrap();
    assert_eq!(server.ask_as_admin(Method::DELETE, &format!("/nodes/{}", node.node), None).await.status, 200);
    assert!(all_nodes(&chef).await.contains(&node.node.to_string()));
    chef.disassociate(&node).await.unwrap();
    assert!(!all_nodes(&chef).await.contains(&node.node.to_string()));
}

#[tokio::test]
async fn wrong_credentials_are_a_fault_of_the_route() {
    let server = Goiardi::start();
    let (node, key) = (order(1), NodeKey::new());
    let path = "/clients/plain";
    let plain = json!({ "name": "plain", "public_key": key.public });
    assert_eq!(server.ask_as_admin(Method::POST, "/clients", Some(plain)).await.status, 201);
    assert_eq!(server.ask_as_admin(Method::GET, path, None).await.status, 200);
    for (name, private, code) in [
        ("admin", NodeKey::new().private(), "unauthorized"),
        ("nobody", server.admin(), "unauthorized"),
        ("plain", key.private(), "forbidden"),
    ] {
        let chef = ChefServer::new(settings(&server.url(), name, private)).unwrap();
        let failure = chef.associate(&node, &key.material()).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, code), "{name}: {failure}");
        if code == "unauthorized" {
            let failure = chef.health().await.unwrap_err();
            assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, code), "{name}: {failure}");
            let failure = chef.disassociate(&node).await.unwrap_err();
            assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, code), "{name}: {failure}");
        }
    }
    assert_eq!(server.ask_as_admin(Method::GET, &format!("/clients/{}", node.node), None).await.status, 404);
}

#[tokio::test]
async fn a_clock_that_is_an_hour_off_is_named_as_what_it_is() {
    let server = Goiardi::start();
    let (node, key) = (order(1), NodeKey::new());
    let fast: fn() -> Timestamp = || Timestamp::now() + SignedDuration::from_hours(1);
    let slow: fn() -> Timestamp = || Timestamp::now() - SignedDuration::from_hours(1);
    for clock in [fast, slow] {
        let chef = as_admin(&server).with_clock(clock);
        for failure in [chef.associate(&node, &key.material()).await.unwrap_err(), chef.health().await.unwrap_err()] {
            assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "clock_skew"), "{failure}");
        }
    }
    let nearly: fn() -> Timestamp = || Timestamp::now() + SignedDuration::from_mins(5);
    assert_eq!(as_admin(&server).with_clock(nearly).associate(&node, &key.material()).await, Ok(Registration::Done));
}

#[tokio::test]
async fn a_server_that_is_stopped_is_not_ready_and_goes_on_where_it_was() {
    let mut server = Goiardi::start();
    let (before, between, key) = (order(1), order(2), NodeKey::new());
    let chef = as_admin(&server);
    assert_eq!(chef.health().await, Ok(Health::Ready));
    chef.associate(&before, &key.material()).await.unwrap();

    server.stop();
    // The first request can meet the connection that broke with the server, and is not known to have been without effect.
    let first = chef.health().await.unwrap_err();
    assert!(matches!(first.class, Class::NotReady | Class::Transient), "{first}");
    for failure in [
        chef.associate(&between, &key.material()).await.unwrap_err(),
        chef.disassociate(&before).await.unwrap_err(),
        chef.health().await.unwrap_err(),
    ] {
        assert_eq!((failure.class, failure.code.as_str()), (Class::NotReady, "unreachable"), "{failure}");
    }

    server.start_again();
    assert_eq!(chef.health().await, Ok(Health::Ready));
    for node in [&before, &between] {
        assert_eq!(chef.associate(node, &key.material()).await, Ok(Registration::Done));
        assert!(can_authenticate(&server, node.node.as_str(), &key).await);
    }
}

/// goiardi answers 200 with nothing to any signed path that it does not know, and it knows no organizations.
#[tokio::test]
async fn an_answer_of_200_that_says_nothing_is_no_success() {
    let server = Goiardi::start();
    let (node, key) = (order(1), NodeKey::new());
    as_admin(&server).associate(&node, &key.material()).await.unwrap();
    let lost = ChefServer::new(settings(&format!("{}/organizations/lost", server.url()), "admin", server.admin())).unwrap();
    let failures = [
        lost.associate(&node, &key.material()).await.unwrap_err(),
        lost.disassociate(&node).await.unwrap_err(),
        lost.health().await.unwrap_err(),
        lost.list(None).await.unwrap_err(),
    ];
    for failure in failures {
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "not_chef"), "{failure}");
    }
    assert!(can_authenticate(&server, node.node.as_str(), &key).await);
}
