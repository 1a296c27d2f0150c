//! Others are at work at the same name, between any two of our requests: what vanishes or comes then is that node's alone, and is tried again.

use enrolld::facts::Registration;
use enrolld::registrar::Registrar;
use enrolld::retry::Class;
use serde_json::{Value, json};

use crate::chef::{NodeKey, order};
use crate::stub::{ADMIN, State, Stub, add_client, delete_client};
use crate::{registrar, replacing};

/// What somebody does to what stands under a name, given the keys of the node: its old one and its new one.
type Deed = fn(&mut State, &str, &[String; 2]);

fn deletes_the_client(state: &mut State, name: &str, _: &[String; 2]) {
    delete_client(state, name);
}

fn deletes_the_node(state: &mut State, name: &str, _: &[String; 2]) {
    state.nodes.remove(name);
    state.acls.remove(name);
}

fn deletes_the_keys(state: &mut State, name: &str, _: &[String; 2]) {
    state.keys.insert(name.to_owned(), [].into());
}

fn makes_the_same_key(state: &mut State, name: &str, [_, new]: &[String; 2]) {
    state.keys.get_mut(name).unwrap().insert("default".into(), default(new));
}

fn makes_another_key(state: &mut State, name: &str, [old, _]: &[String; 2]) {
    state.keys.get_mut(name).unwrap().insert("default".into(), default(old));
}

fn makes_the_client_anew(state: &mut State, name: &str, [_, new]: &[String; 2]) {
    add_client(state, name, new);
}

fn default(public_key: &str) -> Value {
    json!({ "name": "default", "public_key": public_key, "expiration_date": "infinity" })
}

#[tokio::test]
async fn what_vanishes_between_two_requests_is_made_again_at_once() {
    let (node, old, new) = (order(1), NodeKey::new(), NodeKey::new());
    let name = node.node.as_str();
    let keys = [old.public.clone(), new.public.clone()];
    // What is there before, the request, what somebody does just before it is carried out, and how the order ends.
    for (before, request, deed, expected) in [
        ("nothing", "PUT /nodes/N/_acl/read", deletes_the_node as Deed, "done"),
        ("nothing", "PUT /nodes/N/_acl/update", deletes_the_node, "done"),
        ("nothing", "PUT /nodes/N/_acl/read", deletes_the_client, "done"),
        ("nothing", "PUT /nodes/N/_acl/update", deletes_the_client, "done"),
        ("old", "GET /clients/N/keys/default", deletes_the_client, "done"),
        ("old", "GET /clients/N/keys", deletes_the_client, "done"),
        ("old", "PUT /clients/N/keys/default", deletes_the_client, "done"),
        ("old", "PUT /clients/N/keys/default", deletes_the_keys, "done"),
        ("no key", "GET /clients/N/keys", deletes_the_client, "done"),
        // The keys are looked for, the client is made anew by another worker, and then they are there.
        ("no key", "GET /clients/N/keys", makes_the_client_anew, "done"),
        ("no key", "POST /clients/N/keys", deletes_the_client, "done"),
        ("no key", "POST /clients/N/keys", makes_the_same_key, "done"),
        ("no key", "POST /clients/N/keys", makes_another_key, "key_not_replaced"),
    ] {
        let case = format!("{before}: {request}, {expected}");
        let stub = Stub::start().await;
        if before != "nothing" {
            registrar(&stub).associate(&node, &old.material()).await.unwrap();
        }
        if before == "no key" {
            deletes_the_keys(&mut stub.state(), name, &keys);
        }
        let (keys, whose) = (keys.clone(), name.to_owned());
        stub.state().before.insert(request.replace('N', name), Box::new(move |state| deed(state, &whose, &keys)));
        let ended = replacing(&stub).associate(&node, &new.material()).await;
        assert!(stub.state().before.is_empty(), "{case}: it was not asked");
        if let Err(failure) = &ended {
            assert_eq!(failure.class, Class::Transient, "{case}: {failure}");
        }
        assert_eq!(ended.map_or_else(|failure| failure.code, |_| "done".to_owned()), expected, "{case}");
        assert_eq!(replacing(&stub).associate(&node, &new.material()).await, Ok(Registration::Done), "{case}");
        assert_eq!(stub.state().keys[name]["default"]["public_key"], new.public, "{case}");
        assert_eq!(stub.state().acls[name]["update"]["clients"], json!([ADMIN, name]), "{case}");
    }
}

#[tokio::test]
async fn a_client_that_vanishes_is_not_taken_for_one_without_a_key() {
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    let name = node.node.to_string();
    registrar(&stub).associate(&node, &key.material()).await.unwrap();
    let gone = name.clone();
    let deed = move |state: &mut State| deletes_the_client(state, &gone, &Default::default());
    stub.state().before.insert(format!("GET /clients/{name}/keys/default"), Box::new(deed));
    assert_eq!(registrar(&stub).associate(&node, &key.material()).await, Ok(Registration::Done));
    assert_eq!(stub.state().keys[&name]["default"]["public_key"], key.public);
    assert_eq!(stub.state().acls[&name]["update"]["clients"], json!([ADMIN, name]), "the new client has the rights of the old one");
}

#[tokio::test]
async fn what_vanishes_again_and_again_is_left_to_a_later_try_and_is_no_fault_of_the_route() {
    /// Deletes the node object before its client gets a right on it, each time.
    fn lurks(state: &mut State, name: String) {
        let request = format!("PUT /nodes/{name}/_acl/read");
        let deed = move |state: &mut State| {
            deletes_the_node(state, &name, &Default::default());
            lurks(state, name);
        };
        state.before.insert(request, Box::new(deed));
    }
    let stub = Stub::start().await;
    let (node, key) = (order(1), NodeKey::new());
    lurks(&mut stub.state(), node.node.to_string());
    let failure = registrar(&stub).associate(&node, &key.material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "vanished"), "{failure}");
    assert_eq!(stub.asked().iter().filter(|asked| *asked == "POST /nodes").count(), 3);
    stub.state().before.clear();
    assert_eq!(registrar(&stub).associate(&node, &key.material()).await, Ok(Registration::Done));
}

#[tokio::test]
async fn a_right_that_is_refused_while_its_holder_is_there_is_still_a_fault_of_the_route() {
    let stub = Stub::start().await;
    let node = order(1);
    let refused = (400, json!({ "error": ["Field 'actors' missing"] }));
    stub.state().instead_of.insert(format!("PUT /nodes/{}/_acl/read", node.node), refused);
    let failure = registrar(&stub).associate(&node, &NodeKey::new().material()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "refused_acl"), "{failure}");
}
