//! A Chef Infra Server as its API documentation describes it, as far as enrolling nodes goes: signatures are checked, keys stand apart
//! from clients (version 1 of the API), objects have access control lists, and all of it stands in an organization.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::chef::NodeKey;

/// The path of the one organization.
pub const ORGANIZATION: &str = "/organizations/ours";

/// The administrator's name.
pub const ADMIN: &str = "enrolld";

/// The user who has every right on what an organization begins with.
const SUPERUSER: &str = "pivotal";

/// The rights on an object, and which groups have each on the organization's nodes as they are made: what erchef gives a new organization
/// (`oc_chef_authz_org_creator.erl`).
const RIGHTS: [(&str, &[&str]); 5] = [
    ("create", &["admins", "users", "clients"]),
    ("read", &["admins", "users", "clients"]),
    ("update", &["admins", "users"]),
    ("delete", &["admins", "users"]),
    ("grant", &["admins"]),
];

/// What happens before a request is answered.
pub type Before = Box<dyn FnOnce(&mut State) + Send>;

/// What the server has.
#[derive(Default)]
pub struct State {
    /// Clients by name.
    pub clients: BTreeMap<String, Value>,
    /// Their keys: by client, then by key.
    pub keys: BTreeMap<String, BTreeMap<String, Value>>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Value>,
    /// The rights on nodes: by node, then by right.
    pub acls: BTreeMap<String, BTreeMap<String, Value>>,
    /// The rights that every node is made with, by right.
    pub container: BTreeMap<String, Value>,
    /// What our client has no rights on, by path, or by method and path.
    pub forbidden: Vec<String>,
    /// The server is older than version 1.3 of the protocol.
    pub is_older: bool,
    /// Headers that do not come through to the server.
    pub dropped: Vec<&'static str>,
    /// Our client is not in `public_key_read_access`.
    pub reads_no_keys: bool,
    /// The clients that are in `admins`, beside ours.
    pub admins: Vec<String>,
    /// Further groups, each with its clients and its groups; the first of them is in `admins`.
    pub groups: BTreeMap<String, (Vec<String>, Vec<String>)>,
    /// The server makes key pairs of its own, whatever it is given.
    pub makes_keys: bool,
    /// What somebody else does just before one request (its method and path, without the organization's) is carried out, once.
    pub before: BTreeMap<String, Before>,
    /// Names that are those of users as well.
    pub users: Vec<String>,
    /// This node's own chef-client comes between any two requests, and makes the node object where it may and finds none.
    pub converges: Option<String>,
    /// What was asked: method and path, without the organization's.
    pub asked: Vec<String>,
    /// What one request (its method and path, without the organization's) is answered with instead of being carried out.
    pub instead_of: BTreeMap<String, (u16, Value)>,
    /// What is answered, whatever is asked: status, media type, body.
    pub instead: Option<(u16, &'static str, &'static str)>,
    /// Paths that nothing is at, and that are answered with a page.
    pub pages: Vec<String>,
    /// Closes the connection instead of answering once so many requests were served.
    pub dies_after: Option<usize>,
    /// Whether rights are listed with clients and users apart when that is asked for.
    pub granular: bool,
    /// A path without an organization is one of ours.
    pub is_default: bool,
    /// What `/_status` answers, where there is one.
    pub status: Option<(u16, Value)>,
    /// What is the matter with `/_status` instead.
    pub status_trouble: Option<Trouble>,
}

/// How a request ends that gets no answer.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// The connection is closed.
    Breaks,
    /// Nothing comes.
    Hangs,
}

/// The server; it stops with the test's runtime.
pub struct Stub {
    pub state: Arc<Mutex<State>>,
    pub admin: &'static NodeKey,
    url: String,
}

impl Stub {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}{ORGANIZATION}", listener.local_addr().expect("it listens"));
        // Making a key takes longer than all the rest.
        static KEY: LazyLock<NodeKey> = LazyLock::new(NodeKey::new);
        let admin = &*KEY;
        let container = RIGHTS.map(|(right, groups)| (right.to_owned(), json!({ "users": [SUPERUSER], "clients": [], "groups": groups })));
        let mut state = State { granular: true, container: BTreeMap::from(container), ..State::default() };
        add_client(&mut state, ADMIN, &admin.public);
        let state = Arc::new(Mutex::new(state));
        tokio::spawn({
            let state = Arc::clone(&state);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let state = Arc::clone(&state);
                    let service = service_fn(move |request| serve(request, Arc::clone(&state)));
                    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                }
            }
        });
        Self { state, admin, url }
    }

    /// The organization's base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panicked with it")
    }

    /// What was asked since the last time this was called.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }
}

/// A client that is made anew has nothing of what another of its name had: rights are those of the object, not of the name.
pub fn add_client(state: &mut State, name: &str, public_key: &str) {
    delete_client(state, name);
    let client = json!({
        "name": name, "clientname": name, "orgname": "ours", "validator": false, "json_class": "Chef::ApiClient", "chef_type": "client",
    });
    state.clients.insert(name.into(), client);
    let key = json!({ "name": "default", "public_key": public_key, "expiration_date": "infinity" });
    state.keys.insert(name.into(), BTreeMap::from([("default".into(), key)]));
}

/// Deletes a client, with all its rights.
pub fn delete_client(state: &mut State, name: &str) -> Option<Value> {
    for entry in state.acls.values_mut().flat_map(BTreeMap::values_mut) {
        if let Some(clients) = entry["clients"].as_array_mut() {
            clients.retain(|client| client != name);
        }
    }
    state.keys.remove(name);
    state.clients.remove(name)
}

/// What chef-client does first: without a node object it makes one, which has nothing to do.
fn converge(state: &mut State) {
    if let Some(name) = state.converges.clone()
        && state.clients.contains_key(&name)
        && !state.nodes.contains_key(&name)
    {
        add_node(state, json!({ "name": name, "chef_environment": "_default", "run_list": [], "normal": {} }), &name);
    }
}

/// The node object that somebody makes. A client may do that under any name, and then has every right on it.
pub fn add_node(state: &mut State, node: Value, creator: &str) {
    let name = node["name"].as_str().unwrap_or_default().to_owned();
    let list = if state.clients.contains_key(creator) { "clients" } else { "users" };
    let mut rights = state.container.clone();
    for entry in rights.values_mut() {
        entry[list].as_array_mut().expect("it is a list").push(creator.into());
    }
    state.acls.insert(name.clone(), rights);
    state.nodes.insert(name, node);
}

async fn serve(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let trouble = state.lock().expect("nothing panicked with it").status_trouble.filter(|_| head.uri.path() == "/_status");
    match trouble {
        Some(Trouble::Breaks) => return Err(std::io::Error::other("the status is broken")),
        Some(Trouble::Hangs) => std::future::pending().await,
        None => {}
    }
    let mut state = state.lock().expect("nothing panicked with it");
    let path = head.uri.path().to_owned();
    let shown = head.uri.path_and_query().map_or("", |path| path.as_str());
    state.asked.push(format!("{} {}", head.method, shown.strip_prefix(ORGANIZATION).unwrap_or(shown)));
    converge(&mut state);
    if state.dies_after == Some(0) {
        return Err(std::io::Error::other("the server died"));
    }
    state.dies_after = state.dies_after.map(|left| left - 1);
    let is_page = state.pages.contains(&path);
    let (status, media_type, body) = match state.instead.or(is_page.then_some((404, "text/html", "<html>Not Found</html>"))) {
        Some((status, media_type, body)) => (status, media_type, body.to_owned()),
        None => {
            let asked = Asked { method: &head.method, path: &path, query: head.uri.query().unwrap_or_default(), headers: &head.headers };
            let (status, answer) = answer(&asked, &body, &mut state);
            (status, "application/json", answer.to_string())
        }
    };
    Ok(Response::builder().status(status).header(CONTENT_TYPE, media_type).body(Full::new(body.into())).expect("it is a response"))
}

struct Asked<'a> {
    method: &'a Method,
    path: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
}

fn error(text: impl Into<String>) -> Value {
    json!({ "error": [text.into()] })
}

fn answer(asked: &Asked<'_>, body: &[u8], state: &mut State) -> (u16, Value) {
    if asked.path == "/_status" {
        return state.status.clone().unwrap_or((404, Value::Null));
    }
    if let Err(why) = read_signature(asked, state) {
        return (400, error(why));
    }
    let name = match authenticate(asked, body, state) {
        Ok(name) => name,
        Err(why) => return (401, error(why)),
    };
    if asked.headers.get("x-ops-server-api-version").is_none_or(|version| version != "1") {
        return (406, json!({ "error": "invalid-x-ops-server-api-version" }));
    }
    if asked.headers.get("accept").is_none_or(|accept| accept != "application/json") {
        return (406, Value::Null);
    }
    let of_default = Some(asked.path).filter(|path| state.is_default && !path.starts_with("/users/"));
    let Some(path) = asked.path.strip_prefix(ORGANIZATION).or(of_default) else {
        return match asked.path.strip_prefix("/organizations/") {
            Some(other) => (404, error(format!("organization '{}' does not exist.", other.split('/').next().unwrap_or_default()))),
            None => user(asked.path, state),
        };
    };
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if name != ADMIN && asked.method != Method::GET {
        return (403, error("missing permission"));
    }
    if state.forbidden.iter().any(|what| forbids(what, asked.method, &segments.join("/"))) {
        return (403, error("missing read permission"));
    }
    if state.reads_no_keys && asked.method == Method::GET && segments.get(2) == Some(&"keys") {
        return (403, error("missing read permission"));
    }
    if let Some(instead) = state.instead_of.get(&format!("{} {path}", asked.method)) {
        return instead.clone();
    }
    if let Some(deed) = state.before.remove(&format!("{} {path}", asked.method)) {
        deed(state);
    }
    match (asked.method.as_str(), segments.as_slice()) {
        ("GET", ["clients"]) => (200, list(state.clients.keys())),
        ("GET", ["groups", "admins"]) => {
            let clients: Vec<&str> = state.admins.iter().map(String::as_str).chain([ADMIN]).collect();
            let inside: Vec<&String> = state.groups.keys().take(1).collect();
            let group = json!({ "name": "admins", "groupname": "admins", "clients": clients, "users": ["pivotal"], "groups": inside });
            (200, group)
        }
        ("GET", ["groups", name]) => match state.groups.get(*name) {
            Some((clients, groups)) => (200, json!({ "name": name, "groupname": name, "clients": clients, "users": [], "groups": groups })),
            None => (404, error("no such group")),
        },
        ("POST", ["clients"]) => create_client(&json, state),
        (method, ["clients", name]) => client(method, name, &json, state),
        ("GET", ["users", name, "keys"]) if state.keys.contains_key(*name) => keys("GET", name, &[], json, state),
        (method, ["clients", name, "keys", rest @ ..]) => keys(method, name, rest, json, state),
        ("GET", ["nodes"]) => (200, list(state.nodes.keys())),
        ("POST", ["nodes"]) => create_node(json, state),
        (method, ["nodes", name]) => node(method, name, state),
        ("GET", ["containers", "nodes", "_acl"]) => (200, shown(&state.container, state.granular && asked.query == "detail=granular")),
        (method, ["nodes", name, "_acl", rest @ ..]) => acl(method, name, rest, asked.query, &json, state),
        _ => (404, error("no such thing")),
    }
}

/// Whether this is forbidden where something is. Rights on an object are those on what stands below it; but who may read keys does not depend on
/// whose they are (`oc_chef_wm_keys.erl`).
fn forbids(what: &str, method: &Method, path: &str) -> bool {
    match what.split_once(' ') {
        Some((its, object)) => method == its && path == object,
        None => {
            let below = path.strip_prefix(what).is_some_and(|rest| rest.starts_with('/'));
            what == path || (below && !(method == Method::GET && path.contains("/keys")))
        }
    }
}

/// A user is whoever has a key and is no client.
fn user(path: &str, state: &State) -> (u16, Value) {
    match path.strip_prefix("/users/").filter(|name| state.keys.contains_key(*name) && !state.clients.contains_key(*name)) {
        Some(name) => (200, json!({ "username": name, "display_name": "enrolld" })),
        None => (404, json!({ "error": "Could not find user" })),
    }
}

/// What a request must have before anybody looks whose it is; a proxy may have dropped some of it on the way.
fn read_signature(asked: &Asked<'_>, state: &State) -> Result<(), String> {
    let needed = ["x-ops-sign", "x-ops-userid", "x-ops-timestamp", "x-ops-content-hash", "x-ops-authorization-1"];
    let is_missing = |name: &&str| state.dropped.contains(name) || !asked.headers.contains_key(*name);
    let missing: Vec<&str> = needed.into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        return Err(format!("missing required authentication header(s) {}", missing.join(", ")));
    }
    if state.is_older || asked.headers["x-ops-sign"] != "algorithm=sha256;version=1.3;" {
        return Err("Unsupported authentication protocol version".into());
    }
    Ok(())
}

/// Version 1.3 of the protocol, as its documentation has it.
fn authenticate(asked: &Asked<'_>, body: &[u8], state: &State) -> Result<String, String> {
    let header = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = header("x-ops-userid");
    let hash = BASE64.encode(digest(&SHA256, body));
    if header("x-ops-content-hash") != hash {
        return Err("wrong content hash".into());
    }
    let canonical = [
        format!("Method:{}", asked.method),
        format!("Path:{}", asked.path),
        format!("X-Ops-Content-Hash:{hash}"),
        "X-Ops-Sign:version=1.3".into(),
        format!("X-Ops-Timestamp:{}", header("x-ops-timestamp")),
        format!("X-Ops-UserId:{name}"),
        format!("X-Ops-Server-API-Version:{}", header("x-ops-server-api-version")),
    ];
    let signature: String = (1..).map_while(|at| asked.headers.get(format!("x-ops-authorization-{at}"))?.to_str().ok()).collect();
    let signature = BASE64.decode(signature).map_err(|_| "no signature")?;
    let keys = state.keys.get(name).ok_or_else(|| format!("Failed to authenticate as '{name}'"))?;
    let verifies = keys.values().any(|key| {
        let der = pem::parse(key["public_key"].as_str().unwrap_or_default()).map(pem::Pem::into_contents).unwrap_or_default();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).verify(canonical.join("\n").as_bytes(), &signature).is_ok()
    });
    if verifies { Ok(name.to_owned()) } else { Err(format!("Invalid signature for user or client '{name}'")) }
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> Value {
    names.map(|name| (name.clone(), Value::from(format!("http://localhost/{name}")))).collect::<serde_json::Map<_, _>>().into()
}

fn create_client(json: &Value, state: &mut State) -> (u16, Value) {
    let name = json["name"].as_str().unwrap_or_default().to_owned();
    let key = json["public_key"].as_str().unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
        return (
            400,
            error(format!("Invalid client name '{name}' using regex: 'Malformed client name.  Must be A-Z, a-z, 0-9, _, -, or .'.")),
        );
    }
    if json.get("create_key").is_some() || !key.starts_with("-----BEGIN PUBLIC KEY-----") {
        return (400, error("You must either provide a valid value for 'public_key', or specify 'create_key': true"));
    }
    if state.clients.contains_key(&name) {
        return (409, error("Client already exists"));
    }
    add_client(state, &name, key);
    if state.makes_keys {
        let key = json!({ "name": "default", "public_key": key, "private_key": "-----BEGIN RSA PRIVATE KEY-----" });
        return (201, json!({ "uri": format!("http://localhost/clients/{name}"), "chef_key": key }));
    }
    (201, json!({ "uri": format!("http://localhost/clients/{name}"), "chef_key": { "name": "default", "public_key": key } }))
}

fn client(method: &str, name: &str, json: &Value, state: &mut State) -> (u16, Value) {
    let Some(client) = state.clients.get(name).cloned() else { return (404, error(format!("Cannot load client {name}"))) };
    match method {
        "GET" => (200, client),
        "PUT" if json.get("public_key").is_some() => (400, error("Since Server API v1, all keys must be updated via the keys endpoint. ")),
        "DELETE" => (200, delete_client(state, name).unwrap_or_default()),
        _ => (405, Value::Null),
    }
}

fn keys(method: &str, name: &str, rest: &[&str], json: Value, state: &mut State) -> (u16, Value) {
    let Some(keys) = state.keys.get_mut(name) else { return (404, error(format!("Cannot load client {name}"))) };
    match (method, rest) {
        ("GET", []) => {
            (200, keys.keys().map(|key| json!({ "uri": format!("http://localhost/{key}"), "name": key, "expired": false })).collect())
        }
        ("POST", []) => {
            let key = json["name"].as_str().unwrap_or_default().to_owned();
            if keys.contains_key(&key) {
                return (409, error("a key with this name already exists for this actor."));
            }
            keys.insert(key, json);
            (201, json!({ "uri": "http://localhost/" }))
        }
        (_, [key]) => {
            let missing = json!({ "error": format!("There is no key named {key} associated with {name}.") });
            let Some(found) = keys.get(*key).cloned() else { return (404, missing) };
            match method {
                "GET" => (200, found),
                "PUT" => {
                    keys.insert((*key).to_owned(), json.clone());
                    (200, json)
                }
                "DELETE" => (200, keys.remove(*key).unwrap_or_default()),
                _ => (405, Value::Null),
            }
        }
        _ => (405, Value::Null),
    }
}

fn create_node(json: Value, state: &mut State) -> (u16, Value) {
    let name = json["name"].as_str().unwrap_or_default().to_owned();
    if json.get("policy_name").is_some() != json.get("policy_group").is_some() {
        return (400, error("Field 'policy_group' missing"));
    }
    if state.nodes.contains_key(&name) {
        return (409, error("Node already exists"));
    }
    add_node(state, json, ADMIN);
    (201, json!({ "uri": format!("http://localhost/nodes/{name}") }))
}

fn node(method: &str, name: &str, state: &mut State) -> (u16, Value) {
    let Some(node) = state.nodes.get(name).cloned() else { return (404, error(format!("node '{name}' not found"))) };
    match method {
        "GET" => (200, node),
        "DELETE" => {
            state.acls.remove(name);
            (200, state.nodes.remove(name).unwrap_or_default())
        }
        _ => (405, Value::Null),
    }
}

fn acl(method: &str, name: &str, rest: &[&str], query: &str, json: &Value, state: &mut State) -> (u16, Value) {
    let (granular, users, clients) = (state.granular, state.users.clone(), state.clients.clone());
    let signs: Vec<String> = state.keys.keys().filter(|name| !clients.contains_key(*name)).cloned().collect();
    let Some(acl) = state.acls.get_mut(name) else { return (404, error(format!("node '{name}' not found"))) };
    match (method, rest) {
        ("GET", []) => (200, shown(acl, granular && query == "detail=granular")),
        ("PUT", [right]) => {
            let entry = &json[*right];
            if !entry["actors"].is_array() || !entry["groups"].is_array() {
                return (400, error("Field 'actors' missing"));
            }
            let actors = names(&entry["actors"]);
            let (new_clients, new_users) = if entry.get("clients").is_some() {
                if !granular || !actors.is_empty() || entry.get("users").is_none() {
                    return (400, error("When providing 'users' and 'clients' fields, the 'actors' field must have a value of []."));
                }
                (names(&entry["clients"]), names(&entry["users"]))
            } else {
                if granular && actors.iter().any(|actor| users.contains(actor) && clients.contains_key(actor)) {
                    return (422, error("The following actor(s) exist as both clients and users within this organization"));
                }
                actors.into_iter().partition(|actor| clients.contains_key(actor))
            };
            // One who has the right already is there.
            let is_user = |name: &String| users.contains(name) || signs.contains(name) || names(&acl[*right]["users"]).contains(name);
            let unknown = new_clients.iter().filter(|client| !clients.contains_key(*client));
            if let Some(stranger) = unknown.chain(new_users.iter().filter(|user| !is_user(user))).next() {
                return (400, error(format!("The actor(s) '{stranger}' do not exist in this organization as clients or users.")));
            }
            let entry = json!({ "users": new_users, "clients": new_clients, "groups": entry["groups"] });
            acl.insert((*right).to_owned(), entry);
            (200, json!({}))
        }
        _ => (405, Value::Null),
    }
}

/// Rights as they are listed: with clients and users apart, or together.
fn shown(acl: &BTreeMap<String, Value>, apart: bool) -> Value {
    let shown = |entry: &Value| match apart {
        true => json!({ "actors": [], "users": entry["users"], "clients": entry["clients"], "groups": entry["groups"] }),
        false => {
            let both = [names(&entry["clients"]), names(&entry["users"])].concat();
            json!({ "actors": both, "groups": entry["groups"] })
        }
    };
    acl.iter().map(|(right, entry)| (right.clone(), shown(entry))).collect::<serde_json::Map<_, _>>().into()
}

fn names(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
