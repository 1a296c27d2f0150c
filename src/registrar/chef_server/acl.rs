//! The rights of a node's client on the node object, where the server has access control lists.
//!
//! Source: the Chef Infra Server API's `_acl` endpoints. A list is read with `?detail=granular`, which newer servers answer
//! with clients and users apart; it must then be written so, since the same name can be that of a client and of a user.

use serde_json::{Map, Value, json};

/// What chef-client does with its node: it reads it when it begins, and saves it when it ends.
pub(super) const RIGHTS: [&str; 2] = ["read", "update"];

/// By which somebody can change what a node is to do: by giving the right to do so, or by making the object anew, too.
const CHANGING: [&str; 3] = ["update", "delete", "grant"];

/// The lists of those who have a right. `actors` holds clients and users where the server has them in one list.
pub(super) const GROUPS: &str = "groups";
pub(super) const ACTORS: &str = "actors";
const CLIENTS: &str = "clients";

/// Somebody who may change an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Changer<'a> {
    /// By which right.
    pub(super) right: &'static str,
    /// In which list.
    pub(super) list: &'static str,
    /// Called how.
    pub(super) name: &'a str,
}

/// Whether an answer is a list of rights at all: servers without them answer with anything.
pub(super) fn is_acl(answer: &Value) -> bool {
    RIGHTS.iter().all(|right| answer.get(right).and_then(|entry| entry.get("actors")).is_some_and(Value::is_array))
}

/// Whether a client is listed with a right.
pub(super) fn has(acl: &Value, right: &str, client: &str) -> bool {
    let all = acl.get(right).and_then(|entry| entry.get(holders(entry))).and_then(Value::as_array);
    all.is_some_and(|all| all.iter().any(|one| one == client))
}

/// The entry that gives a client a right, for the request's body.
pub(super) fn granting(acl: &Value, right: &str, client: &str) -> Option<Value> {
    let entry = acl.get(right)?;
    let names = |list: &str| -> Vec<Value> { entry.get(list).and_then(Value::as_array).cloned().unwrap_or_default() };
    let holders = holders(entry);
    let apart = holders == CLIENTS;
    let mut with_client = names(holders);
    if !has(acl, right, client) {
        with_client.push(client.into());
    }
    let mut entry = Map::new();
    entry.insert("groups".into(), names("groups").into());
    if apart {
        entry.insert("actors".into(), json!([]));
        entry.insert("users".into(), names("users").into());
    }
    entry.insert(holders.into(), with_client.into());
    Some(json!({ right: entry }))
}

/// The list that holds the clients.
fn holders(entry: &Value) -> &'static str {
    if entry.get(CLIENTS).is_some_and(Value::is_array) { CLIENTS } else { ACTORS }
}

/// The clients and groups that may change an object, by each right. Users are none of an instance's, so that those who are listed apart are left out.
pub(super) fn changers(acl: &Value) -> impl Iterator<Item = Changer<'_>> {
    let entries = CHANGING.into_iter().filter_map(|right| Some((right, acl.get(right)?)));
    let lists = entries.flat_map(|(right, entry)| [holders(entry), GROUPS].map(|list| (right, list, entry.get(list))));
    lists.flat_map(|(right, list, names)| {
        let names = names.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        names.map(move |name| Changer { right, list, name })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_added_beside_those_who_have_the_right() {
        let acl = json!({
            "read": { "actors": [], "users": ["pivotal"], "clients": ["i-1"], "groups": ["admins", "clients"] },
            "update": { "actors": [], "users": ["pivotal"], "clients": ["other"], "groups": ["admins"] },
        });
        assert!(is_acl(&acl));
        assert!(has(&acl, "read", "i-1") && !has(&acl, "update", "i-1") && !has(&acl, "grant", "i-1"));
        for (right, clients, groups) in
            [("read", json!(["i-1"]), json!(["admins", "clients"])), ("update", json!(["other", "i-1"]), json!(["admins"]))]
        {
            let entry = json!({ right: { "actors": [], "users": ["pivotal"], "clients": clients, "groups": groups } });
            assert_eq!(granting(&acl, right, "i-1"), Some(entry), "each once");
        }
    }

    #[test]
    fn an_older_server_has_clients_and_users_in_one_list() {
        let acl = json!({ "read": { "actors": ["pivotal"], "groups": [] }, "update": { "actors": ["i-1"], "groups": [] } });
        assert_eq!(granting(&acl, "read", "i-1"), Some(json!({ "read": { "actors": ["pivotal", "i-1"], "groups": [] } })));
        assert!(has(&acl, "update", "i-1") && !has(&acl, "read", "i-1"));
    }

    #[test]
    fn whoever_may_change_an_object_is_named_with_the_right_and_whoever_may_read_it_is_not() {
        let acl = json!({
            "read": { "actors": [], "users": [], "clients": ["reader"], "groups": ["clients"] },
            "update": { "actors": [], "users": ["knife"], "clients": ["i-1"], "groups": [] },
            "grant": { "actors": ["older"], "groups": ["admins"] },
        });
        let changer = |right, list, name| Changer { right, list, name };
        let expected = [changer("update", CLIENTS, "i-1"), changer("grant", ACTORS, "older"), changer("grant", GROUPS, "admins")];
        assert!(changers(&acl).eq(expected));
    }

    #[test]
    fn what_is_no_list_of_rights_is_told_apart() {
        for other in [json!(null), json!({}), json!([]), json!({ "read": {} }), json!({ "read": { "actors": [] }, "update": "x" })] {
            assert!(!is_acl(&other), "{other}");
        }
    }
}
