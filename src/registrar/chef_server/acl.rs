//! The rights of a node's client on the node object, where the server has access control lists.
//!
//! Source: the Chef Infra Server API's `_acl` endpoints. A list is read with `?detail=granular`, which newer servers answer
//! with clients and users apart; it must then be written so, since the same name can be that of a client and of a user.

use serde_json::{Map, Value, json};

/// What chef-client does with its node: it reads it when it begins, and saves it when it ends.
pub(super) const RIGHTS: [&str; 2] = ["read", "update"];

/// Whether an answer is a list of rights at all: servers without them answer with anything.
pub(super) fn is_acl(answer: &Value) -> bool {
    RIGHTS.iter().all(|right| answer.get(right).and_then(|entry| entry.get("actors")).is_some_and(Value::is_array))
}

/// The entry that gives a client a right, for the request's body; none where it has the right already.
pub(super) fn granting(acl: &Value, right: &str, client: &str) -> Option<Value> {
    let entry = acl.get(right)?;
    let names = |list: &str| -> Vec<Value> { entry.get(list).and_then(Value::as_array).cloned().unwrap_or_default() };
    let apart = entry.get("clients").is_some_and(Value::is_array);
    let holders = if apart { "clients" } else { "actors" };
    let mut with_client = names(holders);
    if with_client.iter().any(|name| name.as_str() == Some(client)) {
        return None;
    }
    with_client.push(client.into());
    let mut entry = Map::new();
    entry.insert("groups".into(), names("groups").into());
    if apart {
        entry.insert("actors".into(), json!([]));
        entry.insert("users".into(), names("users").into());
    }
    entry.insert(holders.into(), with_client.into());
    Some(json!({ right: entry }))
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
        assert_eq!(granting(&acl, "read", "i-1"), None);
        assert_eq!(
            granting(&acl, "update", "i-1"),
            Some(json!({ "update": { "actors": [], "users": ["pivotal"], "clients": ["other", "i-1"], "groups": ["admins"] } }))
        );
    }

    #[test]
    fn an_older_server_has_clients_and_users_in_one_list() {
        let acl = json!({ "read": { "actors": ["pivotal"], "groups": [] }, "update": { "actors": ["i-1"], "groups": [] } });
        assert_eq!(granting(&acl, "read", "i-1"), Some(json!({ "read": { "actors": ["pivotal", "i-1"], "groups": [] } })));
        assert_eq!(granting(&acl, "update", "i-1"), None);
    }

    #[test]
    fn what_is_no_list_of_rights_is_told_apart() {
        for other in [json!(null), json!({}), json!([]), json!({ "read": {} }), json!({ "read": { "actors": [] }, "update": "x" })] {
            assert!(!is_acl(&other), "{other}");
        }
    }
}
