//! Node objects that were there before their nodes: a stranger's, by which he would choose what the node runs, and those of provisioning.

use enrolld::facts::Registration;
use enrolld::registrar::{ChefServer, ChefSettings, NodeWork, Registrar};
use enrolld::retry::{Class, Failure};
use serde_json::{Value, json};

use crate::chef::{NodeKey, order, settings};
use crate::stub::{self, ADMIN, State, Stub, add_client, add_node};
use crate::{registrar, replacing};

/// Another node, which somebody has taken over.
const STRANGER: &str = "i-0badc0de";

/// What an administrator set up before.
type Prepares = fn(&mut State);

/// A stub with a stranger in it.
async fn with_stranger() -> Stub {
    let stub = Stub::start().await;
    let key = stub.admin.public.clone();
    add_client(&mut stub.state(), STRANGER, &key);
    stub
}

fn node(name: &str, run_list: &[&str]) -> Value {
    json!({ "name": name, "chef_environment": "_default", "run_list": run_list, "normal": { "tags": [] } })
}

/// The stranger takes himself out of the rights on his object.
fn hides(state: &mut State, name: &str) {
    for entry in state.acls.get_mut(name).unwrap().values_mut() {
        entry["clients"] = json!([]);
    }
}

fn plants_another_run_list(state: &mut State, name: &str) {
    add_node(state, node(name, &["recipe[base]", "recipe[backdoor]"]), STRANGER);
}

fn plants_the_same_run_list(state: &mut State, name: &str) {
    add_node(state, node(name, &["recipe[base]"]), STRANGER);
}

fn plants_and_hides(state: &mut State, name: &str) {
    plants_another_run_list(state, name);
    hides(state, name);
}

fn plants_attributes_and_hides(state: &mut State, name: &str) {
    let mut object = node(name, &["recipe[base]"]);
    object["normal"] = json!({ "packages": { "url": "http://elsewhere" } });
    add_node(state, object, STRANGER);
    hides(state, name);
}

fn plants_a_policy_and_hides(state: &mut State, name: &str) {
    let mut object = node(name, &["recipe[base]"]);
    object["policy_name"] = "backdoor".into();
    object["policy_group"] = "live".into();
    add_node(state, object, STRANGER);
    hides(state, name);
}

fn plants_another_environment_and_hides(state: &mut State, name: &str) {
    let mut object = node(name, &["recipe[base]"]);
    object["chef_environment"] = "staging".into();
    add_node(state, object, STRANGER);
    hides(state, name);
}

fn plants_and_hides_behind_all_nodes(state: &mut State, name: &str) {
    plants_the_same_run_list(state, name);
    hides(state, name);
    state.acls.get_mut(name).unwrap().get_mut("update").unwrap()["groups"] = json!(["admins", "users", "clients"]);
}

fn plants_and_may_delete(state: &mut State, name: &str) {
    plants_the_same_run_list(state, name);
    hides(state, name);
    state.acls.get_mut(name).unwrap().get_mut("delete").unwrap()["clients"] = json!([STRANGER]);
}

fn plants_what_is_too_long_to_be_read(state: &mut State, name: &str) {
    let mut object = node(name, &["recipe[base]"]);
    object["automatic"] = json!({ "padding": "x".repeat(5 << 20) });
    add_node(state, object, STRANGER);
    hides(state, name);
}

fn plants_what_would_take_too_much_and_hides(state: &mut State, name: &str) {
    let mut object = node(name, &["recipe[base]"]);
    let chain = (0..100).fold(json!(0), |inner, _| json!({ "": inner }));
    object["automatic"] = json!({ "padding": vec![chain; 300] });
    add_node(state, object, STRANGER);
    hides(state, name);
}

/// Every way in which a stranger can be first.
const PLANTS: [fn(&mut State, &str); 10] = [
    plants_another_run_list,
    plants_the_same_run_list,
    plants_and_hides,
    plants_attributes_and_hides,
    plants_a_policy_and_hides,
    plants_another_environment_and_hides,
    plants_and_hides_behind_all_nodes,
    plants_and_may_delete,
    plants_what_is_too_long_to_be_read,
    plants_what_would_take_too_much_and_hides,
];

/// A worker begins to associate the node, and dies.
async fn crashes_after_its_first_request(stub: &Stub, chef: &ChefServer, key: &NodeKey) {
    stub.state().dies_after = Some(1);
    assert_eq!(chef.associate(&order(1), &key.material()).await.unwrap_err().class, Class::Transient);
    stub.state().dies_after = None;
}

#[tokio::test]
async fn a_node_object_that_a_stranger_was_first_to_make_is_not_taken_and_wakes_somebody_also_after_a_crash() {
    let (enrolled, key) = (order(1), NodeKey::new());
    let name = enrolled.node.as_str();
    for (at, plants) in PLANTS.into_iter().enumerate() {
        for crashed in [false, true] {
            let case = format!("plant {at}, after a crash: {crashed}");
            let stub = with_stranger().await;
            plants(&mut stub.state(), name);
            let planted = stub.state().nodes[name].clone();
            let chef = registrar(&stub);
            if crashed {
                crashes_after_its_first_request(&stub, &chef, &key).await;
            }
            let failure = chef.associate(&enrolled, &key.material()).await.unwrap_err();
            assert_eq!((failure.class, failure.code.as_str()), (Class::Final, Failure::FOREIGN_NODE), "{case}: {failure}");
            assert!(failure.is_security() && failure.leaves_anothers(), "{case}");
            let state = stub.state();
            assert_eq!(state.nodes[name], planted, "{case}: it is left alone");
            assert!(!state.clients.contains_key(name), "{case}: no client is made for it");
        }
    }
}

#[tokio::test]
async fn where_it_may_be_replaced_a_strangers_node_object_gives_way_to_one_of_ours() {
    let (enrolled, key) = (order(1), NodeKey::new());
    let name = enrolled.node.as_str();
    for (at, plants) in PLANTS.into_iter().enumerate() {
        for crashed in [false, true] {
            let case = format!("plant {at}, after a crash: {crashed}");
            let stub = with_stranger().await;
            plants(&mut stub.state(), name);
            if crashed {
                crashes_after_its_first_request(&stub, &replacing(&stub), &key).await;
            }
            assert_eq!(replacing(&stub).associate(&enrolled, &key.material()).await, Ok(Registration::Done), "{case}");
            let state = stub.state();
            assert_eq!(state.nodes[name]["run_list"], json!(["recipe[base]"]), "{case}");
            assert_eq!((&state.nodes[name]["normal"], state.nodes[name].get("policy_name")), (&json!({}), None), "{case}");
            assert_eq!(state.acls[name]["update"]["clients"], json!([ADMIN, name]), "{case}");
            assert_eq!(state.acls[name]["update"]["groups"], json!(["admins", "users"]), "{case}");
        }
    }
    // He is first once more.
    let stub = with_stranger().await;
    plants_another_run_list(&mut stub.state(), name);
    let again = name.to_owned();
    let lurks = move |state: &mut State| {
        state.before.insert("POST /nodes".into(), Box::new(move |state| plants_another_run_list(state, &again)));
    };
    stub.state().before.insert(format!("DELETE /nodes/{name}"), Box::new(lurks));
    let failure = replacing(&stub).associate(&enrolled, &key.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, Failure::FOREIGN_NODE), "{failure}");
}

/// The old client is there all the while, so that he can give it its rights.
#[tokio::test]
async fn a_stranger_who_is_first_while_a_key_is_replaced_gives_way_once_more() {
    let (enrolled, key) = (order(1), NodeKey::new());
    let name = enrolled.node.as_str();
    let stub = with_stranger().await;
    registrar(&stub).associate(&enrolled, &NodeKey::new().material()).await.unwrap();
    let again = name.to_owned();
    let plants = move |state: &mut State| {
        plants_and_hides(state, &again);
        for right in ["read", "update"] {
            state.acls.get_mut(&again).unwrap().get_mut(right).unwrap()["clients"] = json!([again]);
        }
    };
    let lurks = move |state: &mut State| {
        state.before.insert("POST /nodes".into(), Box::new(plants));
    };
    stub.state().before.insert(format!("DELETE /nodes/{name}"), Box::new(lurks));
    assert_eq!(replacing(&stub).associate(&enrolled, &key.material()).await, Ok(Registration::Done));
    assert_eq!(stub.state().nodes[name]["run_list"], json!(["recipe[base]"]));
}

#[tokio::test]
async fn an_older_server_shows_a_stranger_among_users() {
    let (enrolled, key) = (order(1), NodeKey::new());
    let name = enrolled.node.as_str();
    for (creator, code) in [(STRANGER, "foreign_node"), ("knife", "done")] {
        let stub = with_stranger().await;
        stub.state().granular = false;
        add_node(&mut stub.state(), node(name, &["recipe[base]"]), creator);
        let ended = registrar(&stub).associate(&enrolled, &key.material()).await;
        assert_eq!(ended.map_or_else(|failure| failure.code, |_| "done".to_owned()), code, "{creator}");
    }
}

#[tokio::test]
async fn what_provisioning_put_there_is_taken_where_it_says_what_the_route_says() {
    let (enrolled, key) = (order(1), NodeKey::new());
    let name = enrolled.node.as_str();
    let prepared: [(&str, Prepares); 5] = [
        ("knife", |_| {}),
        (ADMIN, |_| {}),
        ("provisioner", |state| state.admins.push("provisioner".into())),
        ("provisioner", |state| {
            state.groups.insert("deployers".into(), (vec!["provisioner".into()], vec![]));
        }),
        ("provisioner", |state| {
            for right in ["update", "delete", "grant"] {
                let entry = state.container.get_mut(right).unwrap();
                entry["clients"] = json!(["provisioner"]);
                entry["groups"].as_array_mut().unwrap().push("clients".into());
            }
        }),
    ];
    for (at, (creator, prepares)) in prepared.into_iter().enumerate() {
        for (run_list, code) in [(&["base"], "done"), (&["role[other]"], "foreign_node")] {
            let case = format!("{at}: {creator}, {run_list:?}");
            let stub = Stub::start().await;
            {
                let mut state = stub.state();
                if creator == "provisioner" {
                    add_client(&mut state, creator, &stub.admin.public);
                }
                prepares(&mut state);
                add_node(&mut state, node(name, run_list), creator);
            }
            let ended = registrar(&stub).associate(&enrolled, &key.material()).await;
            assert_eq!(ended.map_or_else(|failure| failure.code, |_| "done".to_owned()), code, "{case}");
            let has_update = stub.state().acls[name]["update"]["clients"].as_array().unwrap().contains(&json!(name));
            assert_eq!(has_update, code == "done", "{case}");
        }
    }
}

/// To see who may change every node takes a right of its own.
#[tokio::test]
async fn where_the_rights_on_all_nodes_are_not_to_be_seen_nobody_is_known_by_them() {
    let (enrolled, key) = (order(1), NodeKey::new());
    let name = enrolled.node.as_str();
    for (forbidden, code) in [(false, "done"), (true, "foreign_node")] {
        let stub = with_stranger().await;
        stub.state().container.get_mut("update").unwrap()["clients"] = json!([STRANGER]);
        add_node(&mut stub.state(), node(name, &["recipe[base]"]), "knife");
        if forbidden {
            stub.state().forbidden.push("containers/nodes/_acl".to_owned());
        }
        let ended = registrar(&stub).associate(&enrolled, &key.material()).await;
        assert_eq!(ended.map_or_else(|failure| failure.code, |_| "done".to_owned()), code);
    }
}

/// A new object has what its container has, and whoever is no administrator may not see whose that is.
#[tokio::test]
async fn an_enrolled_node_is_not_judged_again_whoever_may_change_all_nodes_and_keeps_its_object_and_its_client() {
    let (enrolled, key) = (order(1), NodeKey::new());
    let name = enrolled.node.as_str();
    for replaces in [false, true] {
        for given_later in [false, true] {
            let case = format!("replacing: {replaces}, given later: {given_later}");
            let stub = with_stranger().await;
            stub.state().forbidden.extend(["containers/nodes/_acl".to_owned(), "groups/admins".to_owned()]);
            if !given_later {
                stub.state().container.get_mut("update").unwrap()["groups"] = json!(["admins", "users", "ops"]);
            }
            let chef = if replaces { replacing(&stub) } else { registrar(&stub) };
            assert_eq!(chef.associate(&enrolled, &key.material()).await, Ok(Registration::Done), "{case}");
            if given_later {
                let rights = stub.state().acls[name]["update"].clone();
                stub.state().acls.get_mut(name).unwrap().get_mut("update").unwrap()["groups"] = json!(["admins", "users", "ops"]);
                assert_ne!(stub.state().acls[name]["update"], rights);
            }
            stub.state().nodes.get_mut(name).unwrap()["normal"] = json!({ "seen": true });
            assert_eq!(chef.associate(&enrolled, &key.material()).await, Ok(Registration::Done), "{case}");
            assert_eq!(stub.state().nodes[name]["normal"], json!({ "seen": true }), "{case}: it is the object that was there");
            assert_eq!(stub.state().keys[name]["default"]["public_key"], key.public, "{case}");
        }
    }
}

/// He sees by the rights that he can give it whether the client is there.
fn gives_the_client_its_rights(state: &mut State, name: &str) {
    if state.clients.contains_key(name) {
        for right in ["read", "update"] {
            state.acls.get_mut(name).unwrap().get_mut(right).unwrap()["clients"] = json!([name]);
        }
    }
}

fn deletes(state: &mut State, name: &str) {
    state.nodes.remove(name);
    state.acls.remove(name);
}

#[tokio::test]
async fn a_stranger_who_takes_his_node_object_away_before_it_is_looked_at_gains_nothing_by_making_it_again() {
    let (enrolled, key) = (order(1), NodeKey::new());
    let name = enrolled.node.as_str();
    for (again, code) in [(None, "done"), (Some("at once"), "foreign_node"), (Some("later"), "done")] {
        let stub = with_stranger().await;
        plants_another_run_list(&mut stub.state(), name);
        let whose = name.to_owned();
        let deed = move |state: &mut State| {
            deletes(state, &whose);
            let makes = move |state: &mut State| {
                plants_and_hides(state, &whose);
                gives_the_client_its_rights(state, &whose);
            };
            if again == Some("at once") {
                state.before.insert("POST /nodes".into(), Box::new(makes));
            }
        };
        stub.state().before.insert(format!("GET /nodes/{name}/_acl"), Box::new(deed));
        let ended = registrar(&stub).associate(&enrolled, &key.material()).await;
        if again == Some("later") && !stub.state().nodes.contains_key(name) {
            plants_and_hides(&mut stub.state(), name);
            gives_the_client_its_rights(&mut stub.state(), name);
        }
        let ended = if again == Some("later") { registrar(&stub).associate(&enrolled, &key.material()).await } else { ended };
        assert_eq!(ended.map_or_else(|failure| failure.code, |_| "done".to_owned()), code, "{again:?}");
        let state = stub.state();
        assert_eq!(state.clients.contains_key(name), code == "done", "{again:?}");
        assert_eq!(state.nodes[name]["run_list"] == json!(["recipe[base]"]), code == "done", "{again:?}");
    }
}

/// A server with a default organization has rights though the URL names none.
#[tokio::test]
async fn a_node_object_that_is_not_there_for_a_moment_does_not_make_a_server_one_without_rights() {
    let (enrolled, key) = (order(1), NodeKey::new());
    let name = enrolled.node.as_str();
    let stub = with_stranger().await;
    stub.state().is_default = true;
    plants_the_same_run_list(&mut stub.state(), name);
    let whose = name.to_owned();
    let deed = move |state: &mut State| {
        deletes(state, &whose);
        let request = format!("GET /nodes/{whose}");
        state.before.insert(request, Box::new(move |state| plants_the_same_run_list(state, &whose)));
    };
    stub.state().before.insert(format!("GET /nodes/{name}/_acl"), Box::new(deed));
    let url = stub.url().strip_suffix(stub::ORGANIZATION).unwrap();
    let failure = ChefServer::new(settings(url, ADMIN, stub.admin.private())).unwrap().associate(&enrolled, &key.material()).await;
    assert_eq!(failure.unwrap_err().code, Failure::FOREIGN_NODE);
    assert!(stub.state().acls[name]["update"]["clients"].as_array().unwrap().contains(&json!(STRANGER)));
}

/// As when it comes out of the warm pool, or its message comes a second time.
#[tokio::test]
async fn what_became_of_a_node_object_since_the_node_was_enrolled_with_it_is_its_own_matter() {
    let (enrolled, key) = (order(1), NodeKey::new());
    let name = enrolled.node.as_str();
    let stub = Stub::start().await;
    registrar(&stub).associate(&enrolled, &key.material()).await.unwrap();
    let became = node(name, &["role[database]"]);
    stub.state().nodes.insert(name.into(), became.clone());
    assert_eq!(registrar(&stub).associate(&enrolled, &key.material()).await, Ok(Registration::Done));
    assert_eq!(replacing(&stub).associate(&enrolled, &key.material()).await, Ok(Registration::Done));
    assert_eq!(stub.state().nodes[name], became);
}

#[tokio::test]
async fn under_a_policy_it_is_the_policy_that_must_be_the_routes() {
    let (enrolled, key) = (order(1), NodeKey::new());
    let name = enrolled.node.as_str();
    for (policy, code) in [("web", "done"), ("backdoor", "foreign_node")] {
        let stub = Stub::start().await;
        let mut object = node(name, &["recipe[whatever]"]);
        object["policy_name"] = policy.into();
        object["policy_group"] = "live".into();
        add_node(&mut stub.state(), object, "knife");
        let work = NodeWork::Policy { name: "web".into(), group: "live".into() };
        let chef = ChefServer::new(ChefSettings { work, ..settings(stub.url(), ADMIN, stub.admin.private()) }).unwrap();
        let ended = chef.associate(&enrolled, &key.material()).await;
        assert_eq!(ended.map_or_else(|failure| failure.code, |_| "done".to_owned()), code);
    }
}

/// goiardi as it is: there only what the object says shows whose it is.
#[tokio::test]
async fn a_server_without_rights_shows_a_stranger_by_what_his_object_says() {
    let (enrolled, key) = (order(1), NodeKey::new());
    let name = enrolled.node.as_str();
    for (run_list, code) in [("recipe[base]", "done"), ("recipe[backdoor]", "foreign_node")] {
        let stub = with_stranger().await;
        add_node(&mut stub.state(), node(name, &[run_list]), STRANGER);
        stub.state().is_default = true;
        stub.state().instead_of.insert(format!("GET /nodes/{name}/_acl"), (200, Value::Null));
        let url = stub.url().strip_suffix(stub::ORGANIZATION).unwrap();
        let ended = ChefServer::new(settings(url, ADMIN, stub.admin.private())).unwrap().associate(&enrolled, &key.material()).await;
        assert_eq!(ended.map_or_else(|failure| failure.code, |_| "done".to_owned()), code);
    }
}
