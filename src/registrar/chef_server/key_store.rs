//! Where a Chef server keeps the key of a client: apart from it, at `clients/NAME/keys/default`, since version 1 of its API;
//! in the client object where it has no such endpoint.

use hyper::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::api::{Api, Said};
use super::errors;
use super::public_key::PublicKey;
use crate::retry::Failure;

/// What a server has under a client's name.
#[derive(Debug)]
pub(super) enum Stored {
    /// A client.
    Key {
        /// Its key; none where it has none, or one that is no RSA key.
        key: Option<PublicKey>,
        /// Whether the client can authenticate with it: it has not expired.
        usable: bool,
        /// Where it stands.
        place: Place,
    },
    /// A client that is not to be touched, and what it is: more than a node's, or somebody else's.
    Guarded(&'static str),
    /// Nothing.
    Vanished,
}

impl Stored {
    /// Whether it is a client that authenticates with this key.
    pub(super) fn is(&self, key: &PublicKey) -> bool {
        matches!(self, Self::Key { key: Some(found), usable: true, .. } if found == key)
    }
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the client object.
    Client,
    /// At its `keys/default`.
    Endpoint,
    /// At neither, on a server that has the endpoint.
    Nowhere,
}

/// So many groups are looked at for one client; an organization with more of them among its administrators is none that we know of.
const MOST_GROUPS: usize = 50;

/// Whose a client is if we may not write its keys.
const NOT_REPLACED: &str = "somebody else made the client, and we may not replace its key";

/// What a client is that may do more than a node.
pub(super) const ADMINISTRATOR: &str = "an administrator";

/// Reads a client; none where there is none.
pub(super) async fn client(api: &Api, name: &str) -> Result<Option<Said>, Failure> {
    let client = api.ask(Method::GET, &format!("/clients/{name}"), None).await?;
    match client.status {
        200 if client.is_named(name) => Ok(Some(client)),
        404 => Ok(None),
        _ => Err(client.failure(errors::NOT_CHEF, "reading the client")),
    }
}

/// What a client is by its own object that must be neither replaced nor deleted.
pub(super) fn guard(client: &Said) -> Option<&'static str> {
    let is = |what: &str| client.json.get(what).and_then(Value::as_bool) == Some(true);
    // `admin` is goiardi's; elsewhere administrators are the members of a group.
    if is("validator") { Some("a validator") } else { is("admin").then_some(ADMINISTRATOR) }
}

/// Whether a client may be a member of its organization's `admins`.
pub(super) async fn may_be_in_admins(api: &Api, name: &str) -> Result<bool, Failure> {
    Ok(in_admins(api, name).await?.unwrap_or(true))
}

/// Whether a client is a member of its organization's `admins`, or of a group in it, at whatever depth; none where that cannot be followed.
/// Where we may not see a group, nothing shows who is in it.
pub(super) async fn in_admins(api: &Api, name: &str) -> Result<Option<bool>, Failure> {
    let mut groups = vec!["admins".to_owned()];
    let mut at = 0;
    while let Some(group) = groups.get(at) {
        at += 1;
        let said = match api.ask(Method::GET, &format!("/groups/{group}"), None).await {
            Err(failure) if failure.code == errors::FORBIDDEN.code => continue,
            // A server with organizations takes a URL without one for its default. One without them has no groups, and may say so in
            // another way than Chef; that it is a Chef server, its answer about the client has shown.
            Err(failure) if failure.code == errors::NOT_CHEF.code && api.organization.is_empty() => continue,
            said => said?,
        };
        // Every organization has groups, so whatever else answers for one there shows nothing of who is in it. Where there is none, it may be
        // a server without groups that answers.
        let is_none = said.status == 200 && !api.organization.is_empty() && !is_group(&said, group);
        match said.status {
            _ if is_none => return Err(said.failure(errors::NOT_CHEF, "reading the group of administrators")),
            // A user of the same name is in `actors` too.
            200 if is_list(&said, "clients") => {
                if has(&said, "clients", name) {
                    return Ok(Some(true));
                }
            }
            200 if has(&said, "actors", name) => return Ok(Some(true)),
            200 | 404 => {}
            405 if api.organization.is_empty() => {}
            _ => return Err(said.failure(errors::NOT_CHEF, "reading the group of administrators")),
        }
        let inside = said.json.get("groups").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        // `::NAME` is a group of the whole server, where there are users alone.
        for inner in inside.filter(|inner| !inner.starts_with("::")) {
            // A group can be in itself, by way of another. One whose name is none, or one too many, can have anybody in it.
            if !is_name(inner) || groups.len() == MOST_GROUPS {
                return Ok(None);
            }
            if !groups.iter().any(|known| known == inner) {
                groups.push(inner.to_owned());
            }
        }
    }
    Ok(Some(false))
}

/// Whether an answer is the group of this name, with who is in it.
fn is_group(said: &Said, name: &str) -> bool {
    let is_named = said.is_named(name) || said.json.get("groupname").and_then(Value::as_str) == Some(name);
    is_named && (is_list(said, "clients") || is_list(said, "actors"))
}

fn is_list(group: &Said, list: &str) -> bool {
    group.json.get(list).is_some_and(Value::is_array)
}

fn has(group: &Said, list: &str, name: &str) -> bool {
    group.json.get(list).and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| one == name))
}

/// Reads a client's key.
pub(super) async fn read(api: &Api, name: &str) -> Result<Stored, Failure> {
    let client = match client(api, name).await {
        // Our signature was good enough to be told of the node object, so it is this one client that is not ours to see. One
        // client that somebody else made must not stop the nodes of everybody.
        Err(failure) if failure.code == errors::FORBIDDEN.code => return Ok(Stored::Guarded("not ours to see")),
        Err(failure) => return Err(failure),
        Ok(None) => return Ok(Stored::Vanished),
        Ok(Some(client)) => client,
    };
    if let Some(what) = guard(&client) {
        return Ok(Stored::Guarded(what));
    }
    if let Some(key) = text(&client, "public_key") {
        return Ok(Stored::Key { key: PublicKey::from_pem(key), usable: true, place: Place::Client });
    }
    let found = ask_keys(api, &format!("/clients/{name}/keys/default")).await?;
    match (found.status, text(&found, "public_key")) {
        (200, Some(key)) if found.is_named("default") => {
            Ok(Stored::Key { key: PublicKey::from_pem(key), usable: !has_expired(&found, api), place: Place::Endpoint })
        }
        (404, _) => without_default(api, name).await,
        _ => Err(found.failure(errors::NOT_CHEF, "reading the client's key")),
    }
}

/// Reads keys. Whoever is in one group may read those of every client, and nobody else may read any, whoever made the client: what is forbidden
/// here is so for every node (`oc_chef_wm_keys.erl`).
async fn ask_keys(api: &Api, path: &str) -> Result<Said, Failure> {
    api.ask(Method::GET, path, None).await.map_err(|failure| match failure.code == errors::FORBIDDEN.code {
        true => {
            Failure { detail: format!("{}; the right to read keys is that of the group public_key_read_access", failure.detail), ..failure }
        }
        false => failure,
    })
}

/// Whether we may read keys, by our own, on a server that has them apart: else it would show at the first node that comes a second time.
pub(super) async fn may_read_keys(api: &Api, own: &Said) -> Result<(), Failure> {
    if text(own, "public_key").is_some() {
        return Ok(());
    }
    let kind = if own.json.get("clientname").is_some() { "clients" } else { "users" };
    match ask_keys(api, &format!("/{kind}/{}/keys", api.signer.name())).await {
        Err(failure) if failure.code == errors::FORBIDDEN.code => Err(failure),
        // Any other answer says nothing about orders.
        _ => Ok(()),
    }
}

/// What a client has whose default key was not found: no such key, or it is no more, or another worker has just made it.
async fn without_default(api: &Api, name: &str) -> Result<Stored, Failure> {
    match keys(api, name).await? {
        None => Ok(Stored::Vanished),
        Some(keys) if names(&keys).any(|key| key == "default") => Err(super::vanished("client")),
        Some(_) => Ok(Stored::Key { key: None, usable: false, place: Place::Nowhere }),
    }
}

/// The list of a client's keys; none where there is no such client.
async fn keys(api: &Api, name: &str) -> Result<Option<Said>, Failure> {
    let said = ask_keys(api, &format!("/clients/{name}/keys")).await?;
    match said.status {
        200 if said.json.is_array() => Ok(Some(said)),
        404 => Ok(None),
        _ => Err(said.failure(errors::NOT_CHEF, "listing the client's keys")),
    }
}

/// The names in a list of keys.
fn names(keys: &Said) -> impl Iterator<Item = &str> {
    let keys = keys.json.as_array().into_iter().flatten();
    keys.filter_map(|key| key.get("name").and_then(Value::as_str))
}

/// Puts another key in the place of what was read, and reads it back: a server that took it in some other way has not replaced it. False
/// where the server made a key pair of its own instead.
pub(super) async fn replace(api: &Api, name: &str, key: &PublicKey, stored: &Stored) -> Result<bool, Failure> {
    let Stored::Key { place, .. } = stored else { return Ok(true) };
    let pem = key.to_pem();
    let endpoint = json!({ "name": "default", "public_key": pem, "expiration_date": "infinity" });
    let client = json!({ "name": name, "clientname": name, "validator": false, "public_key": pem });
    if *place != Place::Client {
        // Before the key itself: once that is the new one, a repetition would find nothing left to do.
        delete_others(api, name).await?;
    }
    let said = match place {
        Place::Client => api.ask(Method::PUT, &format!("/clients/{name}"), Some(&client)).await,
        Place::Endpoint => api.ask(Method::PUT, &format!("/clients/{name}/keys/default"), Some(&endpoint)).await,
        Place::Nowhere => api.ask(Method::POST, &format!("/clients/{name}/keys"), Some(&endpoint)).await,
    };
    let said = api.unless_anothers(said, NOT_REPLACED).await?;
    match said.status {
        200..=299 if super::made_a_key_pair(&said.json) => return Ok(false),
        200..=299 => {}
        // Another worker was faster, perhaps with the same key.
        409 if *place == Place::Nowhere => {}
        404 => return Err(super::vanished("client or its key")),
        _ => return Err(said.failure(errors::REFUSED_KEY, "replacing the client's key")),
    }
    match read(api, name).await? {
        found if found.is(key) => Ok(true),
        Stored::Key { .. } => Err(errors::KEY_NOT_REPLACED.failure("the server still shows another key")),
        Stored::Guarded(_) | Stored::Vanished => Err(super::vanished("client")),
    }
}

/// A client can have further keys, and whoever has one of the replaced node's can still speak in its name.
async fn delete_others(api: &Api, name: &str) -> Result<(), Failure> {
    let keys = keys(api, name).await?.ok_or_else(|| super::vanished("client"))?;
    for other in names(&keys).filter(|other| *other != "default") {
        if !is_name(other) {
            return Err(errors::NOT_CHEF.failure("a key of the client has a name that no key has"));
        }
        let said = api.ask(Method::DELETE, &format!("/clients/{name}/keys/{other}"), None).await;
        let said = api.unless_anothers(said, NOT_REPLACED).await?;
        if !matches!(said.status, 200..=299 | 404) {
            return Err(said.failure(errors::REFUSED_KEY, "deleting a further key of the client"));
        }
    }
    Ok(())
}

/// Chef's rule for the names of clients, keys and groups; anything else would be another path.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) && !matches!(name, "." | "..")
}

fn text<'a>(said: &'a Said, key: &str) -> Option<&'a str> {
    said.json.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// `expiration_date` is `infinity` or a time; one that cannot be read has not come.
fn has_expired(said: &Said, api: &Api) -> bool {
    let date = text(said, "expiration_date").and_then(|date| date.parse::<Timestamp>().ok());
    date.is_some_and(|date| date <= (api.clock)())
}
