//! The node object, which says what is done on a node: made, or judged where one was there.
//!
//! Whoever has the client of any node may make a node object of any name, and then has every right on it (erchef's
//! `oc_chef_authz_org_creator.erl` gives the group `clients` the right to create). So an instance that somebody has taken over can be first at the name
//! of another, and choose what that one runs as root. An object that was there before its client is taken where nobody may change it who may not
//! change every other too, and where it says what ours would say. Once the client is there with the node's key it is not judged any more.

use std::borrow::Cow;
use std::collections::HashSet;

use hyper::Method;
use serde_json::{Value, json};

use super::acl::{self, Changer};
use super::api::Said;
use super::{ChefServer, NodeWork, errors, key_store, vanished};
use crate::aws::detail;
use crate::names::shown;
use crate::retry::Failure;

/// Groups in which no node is, unless an administrator put it there.
const TRUSTED_GROUPS: [&str; 2] = ["admins", "users"];

/// So many of those who may change a node object are looked at; whoever made it can have named any number.
const MOST_CHANGERS: usize = 20;

impl ChefServer {
    /// Creates the node object; false where there is one already.
    pub(super) async fn create_node(&self, name: &str) -> Result<bool, Failure> {
        let said = self.api.ask(Method::POST, "/nodes", Some(&self.work.object(name))).await?;
        match said.status {
            201 => Ok(true),
            409 => Ok(false),
            200..=299 | 404 | 405 => Err(said.failure(errors::NOT_CHEF, "creating the node object")),
            // All but the name is the route's. But a server that knows no such signature, or gets only a part of it, answers so to
            // everything (erchef's `malformed_request`), and what it says of our own client is the failure then.
            _ => {
                self.api.shows_us().await?;
                Err(said.failure(errors::REFUSED_NODE, "creating the node object"))
            }
        }
    }

    /// Takes a node object that was there before its client, unless it is another's, and says what rights are on it.
    pub(super) async fn judge_node(&self, name: &str) -> Result<Option<Said>, Failure> {
        let rights = self.rights(name).await;
        let rights = self.api.unless_anothers(rights, "somebody else made the node object, and we may give no rights on it").await?;
        if let Some(rights) = &rights {
            // Before the object is read: whoever may change it no more cannot do so after.
            self.refuse_strangers(name, &rights.json).await?;
        }
        let found = self.node(name).await;
        let found = self.api.unless_anothers(found, "somebody else made the node object, and we may not read it").await?;
        if let Some(what) = self.work.differs(&found.json) {
            let said = format!("a node object of this name was there before, and {what}; replace_existing = true would replace it");
            return Err(errors::FOREIGN_NODE.failure(said));
        }
        Ok(rights)
    }

    async fn node(&self, name: &str) -> Result<Said, Failure> {
        let found = self.api.ask(Method::GET, &format!("/nodes/{name}"), None).await?;
        match found.status {
            200 if found.is_named(name) => Ok(found),
            404 => Err(vanished("node object")),
            _ => Err(found.failure(errors::NOT_CHEF, "reading the node object")),
        }
    }

    /// The rights on the node object, where the server has such a thing.
    pub(super) async fn rights(&self, name: &str) -> Result<Option<Said>, Failure> {
        let has_rights = !self.api.organization.is_empty();
        let path = format!("/nodes/{name}/_acl?detail=granular");
        let mut looked = false;
        loop {
            let said = match self.api.ask(Method::GET, &path, None).await {
                // Every server with organizations has rights; one without them has nothing here, and says so in its own way, which may be a page. That
                // it is a Chef server, its answer to the creation of the node object has shown.
                Err(failure) if failure.code == errors::NOT_CHEF.code && !has_rights => return Ok(None),
                said => said?,
            };
            match said.status {
                200 if acl::is_acl(&said.json) => return Ok(Some(said)),
                // So a server with rights says that there is no such node object, also where the URL leaves the organization to it.
                404 if !looked => {
                    self.node(name).await?;
                    looked = true;
                }
                _ if has_rights => return Err(said.failure(errors::NO_ACL, "reading the node object's rights")),
                _ => return Ok(None),
            }
        }
    }

    /// Gives the client those of its rights that it has not. A client that is new has none, whatever is listed: that was another of its name.
    pub(super) async fn give_rights(&self, name: &str, rights: Option<&Said>, is_new: bool) -> Result<(), Failure> {
        let Some(Said { json: rights, .. }) = rights else { return Ok(()) };
        for right in acl::RIGHTS.into_iter().filter(|right| is_new || !acl::has(rights, right, name)) {
            let Some(body) = acl::granting(rights, right, name) else { continue };
            let said = self.api.ask(Method::PUT, &format!("/nodes/{name}/_acl/{right}"), Some(&body)).await?;
            match said.status {
                200 => {}
                404 => return Err(vanished("node object")),
                // So a right is refused whose holder is not there.
                400 if key_store::client(&self.api, name).await?.is_none() => return Err(vanished("client")),
                _ => return Err(said.failure(errors::REFUSED_ACL, "giving the client its rights")),
            }
        }
        Ok(())
    }

    /// The same on a node object that was there before.
    pub(super) async fn give_rights_on_anothers(&self, name: &str, rights: Option<&Said>, is_new: bool) -> Result<(), Failure> {
        self.api.unless_anothers(self.give_rights(name, rights, is_new).await, super::CLIENT_STAYS).await
    }

    /// Fails where somebody may change this node object who may not change every other: whoever made it for a node that is not theirs.
    async fn refuse_strangers(&self, name: &str, rights: &Value) -> Result<(), Failure> {
        let trusted = |who: &Changer<'_>| match who.list {
            // `::NAME` is a group of the whole server, where there are users alone.
            acl::GROUPS => TRUSTED_GROUPS.contains(&who.name) || who.name.starts_with("::"),
            _ => who.name == name || who.name == self.api.signer.name(),
        };
        if acl::changers(rights).all(|who| trusted(&who)) {
            return Ok(());
        }
        let of_all = match self.api.ask(Method::GET, "/containers/nodes/_acl?detail=granular", None).await {
            // Where it is not to be seen, or the server has none, nothing shows who may change every node.
            Err(failure) if [errors::FORBIDDEN.code, errors::NOT_CHEF.code].contains(&failure.code.as_str()) => None,
            said => Some(said?),
        };
        let unknown: Vec<Changer<'_>> = {
            let known: HashSet<Changer<'_>> = of_all.iter().flat_map(|said| acl::changers(&said.json)).collect();
            let mut named = HashSet::new();
            let unknown = acl::changers(rights).filter(|who| !trusted(who) && !known.contains(who) && named.insert((who.list, who.name)));
            unknown.take(MOST_CHANGERS + 1).collect()
        };
        for (at, who) in unknown.into_iter().enumerate() {
            if at == MOST_CHANGERS || !self.may_change_all(who).await? {
                let said = format!(
                    "a node object of this name was there before, and {} of its {} may {} it",
                    shown(who.name),
                    who.list,
                    who.right
                );
                return Err(errors::FOREIGN_NODE.failure(detail(&said)));
            }
        }
        Ok(())
    }

    /// Whether it is a user, or a client of the administrators.
    async fn may_change_all(&self, who: Changer<'_>) -> Result<bool, Failure> {
        if who.list == acl::GROUPS || !key_store::is_name(who.name) {
            return Ok(false);
        }
        if who.list == acl::ACTORS {
            // An older server lists users and clients together.
            match key_store::client(&self.api, who.name).await {
                Ok(None) => return Ok(true),
                Err(failure) if failure.code != errors::FORBIDDEN.code => return Err(failure),
                Ok(Some(_)) | Err(_) => {}
            }
        }
        Ok(key_store::in_admins(&self.api, who.name).await? == Some(true))
    }
}

impl NodeWork {
    /// The node object that says so.
    fn object(&self, name: &str) -> Value {
        let mut node = json!({
            "name": name,
            "chef_type": "node",
            "json_class": "Chef::Node",
            "chef_environment": "_default",
            "run_list": [],
            "default": {},
            "normal": {},
            "override": {},
            "automatic": {},
        });
        match self {
            Self::RunList { environment, run_list } => {
                node["chef_environment"] = environment.as_str().into();
                node["run_list"] = run_list.as_slice().into();
            }
            Self::Policy { name, group } => {
                // chef-client brings the environment into line with the group at its first run.
                node["policy_name"] = name.as_str().into();
                node["policy_group"] = group.as_str().into();
            }
        }
        node
    }

    /// What a node object says that this does not. Of its attributes only the normal ones outlive the beginning of a run of chef-client, which
    /// itself puts an empty list of tags there.
    fn differs(&self, node: &Value) -> Option<&'static str> {
        let text = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or_default();
        let (policy, group) = match self {
            Self::RunList { .. } => ("", ""),
            Self::Policy { name, group } => (name.as_str(), group.as_str()),
        };
        if (text("policy_name"), text("policy_group")) != (policy, group) {
            return Some("has another policy than the route's");
        }
        // With a policy these two are the policy's, whatever the object says.
        if let Self::RunList { environment, run_list } = self {
            if text("chef_environment") != environment {
                return Some("has another environment than the route's");
            }
            let found = node.get("run_list").and_then(Value::as_array).into_iter().flatten();
            if !says_the_same(found.map(|item| item.as_str().unwrap_or_default()), &items(run_list)) {
                return Some("has another run list than the route's");
            }
        }
        let mut normal = node.get("normal").and_then(Value::as_object).into_iter().flatten();
        let has_more = normal.any(|(key, value)| key != "tags" || value.as_array().is_none_or(|tags| !tags.is_empty()));
        has_more.then_some("has attributes of its own")
    }
}

/// A run list as servers keep it: a recipe in its brackets, and each item once.
fn items(run_list: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for item in run_list {
        let item = in_brackets(item).into_owned();
        if !all.contains(&item) {
            all.push(item);
        }
    }
    all
}

fn in_brackets(item: &str) -> Cow<'_, str> {
    if item.ends_with(']') { item.into() } else { format!("recipe[{item}]").into() }
}

/// Whether a server's run list comes to these items. Whoever made it can have named any number: it is read to the first that is another.
fn says_the_same<'a>(found: impl Iterator<Item = &'a str>, items: &[String]) -> bool {
    let mut seen = 0;
    for item in found {
        let item = in_brackets(item);
        match items.get(seen) {
            Some(next) if *next == *item => seen += 1,
            _ if items[..seen].iter().any(|before| *before == *item) => {}
            _ => return false,
        }
    }
    seen == items.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_list(items: &[&str]) -> NodeWork {
        NodeWork::RunList { environment: "live".into(), run_list: items.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn a_run_list_is_read_no_further_than_to_the_first_item_that_is_anothers() {
        let wanted = items(&["base".to_owned(), "role[web]".to_owned()]);
        let read = std::cell::Cell::new(0);
        let endless = |first: &'static [&'static str]| {
            let forged = (0..).map(|_| "backdoor");
            first.iter().copied().chain(forged).inspect(|_| read.set(read.get() + 1))
        };
        assert!(!says_the_same(endless(&["base", "recipe[base]", "role[web]", "base"]), &wanted));
        assert_eq!(read.get(), 5);
        assert!(says_the_same(["base", "base", "role[web]", "base"].into_iter(), &wanted));
        assert!(!says_the_same(["base"].into_iter(), &wanted) && !says_the_same(["role[web]", "base"].into_iter(), &wanted));
    }

    #[test]
    fn a_node_object_differs_by_whatever_decides_what_is_run() {
        let work = run_list(&["base", "role[web]"]);
        let policy = NodeWork::Policy { name: "web".into(), group: "live".into() };
        assert_eq!((work.differs(&work.object("n")), policy.differs(&policy.object("n"))), (None, None));
        let with = |work: &NodeWork, key: &str, value: Value| {
            let mut node = work.object("n");
            node[key] = value;
            work.differs(&node)
        };
        for (key, value) in [
            ("run_list", json!(["recipe[base]", "role[web]"])),
            ("run_list", json!(["recipe[base]", "role[web]", "recipe[base]"])),
            ("normal", json!({ "tags": [] })),
            ("automatic", json!({ "fqdn": "web-1" })),
            ("policy_name", Value::Null),
        ] {
            assert_eq!(with(&work, key, value.clone()), None, "{key} {value}");
        }
        for (key, value) in [
            ("run_list", json!(["role[web]", "recipe[base]"])),
            ("run_list", json!([])),
            ("run_list", Value::Null),
            ("chef_environment", json!("_default")),
            ("policy_name", json!("web")),
            ("policy_group", json!("live")),
            ("normal", json!({ "tags": ["canary"] })),
            ("normal", json!({ "packages": { "url": "http://elsewhere" } })),
        ] {
            assert!(with(&work, key, value.clone()).is_some(), "{key} {value}");
        }
        // What a run under a policy leaves.
        assert_eq!(with(&policy, "chef_environment", json!("live")), None);
        assert_eq!(with(&policy, "run_list", json!(["recipe[web]"])), None);
        for (key, value) in [("policy_name", json!("other")), ("policy_group", Value::Null), ("normal", json!({ "a": 1 }))] {
            assert!(with(&policy, key, value.clone()).is_some(), "{key} {value}");
        }
    }
}
