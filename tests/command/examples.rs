//! The examples of the documentation do what it says of them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use enrolld::facts::{Health, NodeList, Registration, RegistrationStatus};
use enrolld::registrar::{CommandRegistrar, CommandSettings, Registrar};
use enrolld::retry::{Class, Failure};

use super::{Folder, KEY, key, order};

/// The first block of the documentation in a language.
pub fn example(language: &str) -> String {
    let text = include_str!("../../docs/command-registrar.md");
    let begin = format!("```{language}\n#!");
    let block = text.split_once(&begin).expect("the documentation has an example in the language").1;
    format!("#!{}", block.split_once("```").expect("a block ends").0)
}

/// Runs an example with variables that it shall get: they are set by `env`, since a test cannot change its own.
fn with(folder: &Folder, interpreter: &str, language: &str, variables: &[(&str, &str)]) -> CommandRegistrar {
    let CommandSettings { args, timeout, .. } = folder.script(interpreter, &example(language));
    let mut all: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    all.push(interpreter.to_owned());
    all.extend(args);
    CommandRegistrar::new(CommandSettings { program: "/usr/bin/env".into(), args: all, timeout, env: Vec::new() })
}

#[tokio::test]
async fn the_example_in_shell_keeps_keys_in_a_directory() {
    let folder = Folder::new();
    let keys = folder.path().join("keys");
    let registrar = with(&folder, "/bin/sh", "sh", &[("NODE_KEYS", keys.to_str().unwrap())]);
    assert!(matches!(registrar.health().await, Ok(Health::NotReady(why)) if why.contains("not mounted")));
    assert_eq!(registrar.associate(&order(), &key()).await.unwrap_err().class, Class::NotReady);

    std::fs::create_dir(&keys).unwrap();
    assert_eq!(registrar.health().await, Ok(Health::Ready));
    for _ in 0..2 {
        assert_eq!(registrar.associate(&order(), &key()).await, Ok(Registration::Done));
        assert_eq!(folder.read("keys/i-0a1b2c3d.example.pem"), KEY);
    }
    assert_eq!(listed(&registrar).await, ["i-0a1b2c3d.example"]);
    let other = enrolld::facts::KeyMaterial::new(KEY.replace("MIIB", "MIIC").into());
    let failure = registrar.associate(&order(), &other).await.unwrap_err();
    assert_eq!(failure, Failure::new(Class::Final, Failure::OTHER_KEY, "another key is kept for i-0a1b2c3d.example already"));
    assert_eq!(folder.read("keys/i-0a1b2c3d.example.pem"), KEY);
    for _ in 0..2 {
        assert_eq!(registrar.disassociate(&order()).await, Ok(Registration::Done));
    }
    assert_eq!(std::fs::read_dir(&keys).unwrap().count(), 0, "nothing is left behind");
    assert!(listed(&registrar).await.is_empty());
}

#[tokio::test]
async fn the_example_in_python_waits_for_the_inventorys_job() {
    let folder = Folder::new();
    let url = inventory();
    let python = "/usr/bin/python3";
    let registrar = with(&folder, python, "python", &[("INVENTORY_URL", &url), ("INVENTORY_TOKEN", "secret")]);
    assert_eq!(registrar.health().await, Ok(Health::Ready));
    let Ok(Registration::InProgress(token)) = registrar.associate(&order(), &key()).await else { panic!() };
    assert_eq!(registrar.status(&order(), &token).await, Ok(RegistrationStatus::InProgress));
    assert_eq!(registrar.status(&order(), &token).await, Ok(RegistrationStatus::Success));
    assert_eq!(listed(&registrar).await, ["i-0a1b2c3d.example"]);
    let unknown = enrolld::facts::StatusToken::new("no such/job");
    assert_eq!(registrar.status(&order(), &unknown).await, Ok(RegistrationStatus::UnknownToken));

    let other = enrolld::facts::KeyMaterial::new(KEY.replace("MIIB", "MIIC").into());
    assert_eq!(registrar.associate(&order(), &other).await.unwrap_err().code, Failure::OTHER_KEY);
    for _ in 0..2 {
        assert_eq!(registrar.disassociate(&order()).await, Ok(Registration::Done));
    }

    let denied = with(&folder, python, "python", &[("INVENTORY_URL", &url), ("INVENTORY_TOKEN", "wrong")]);
    assert_eq!(denied.associate(&order(), &key()).await.unwrap_err().class, Class::RouteFault);
    let nobody = with(&folder, python, "python", &[("INVENTORY_URL", "http://127.0.0.1:9")]);
    assert!(matches!(nobody.health().await, Ok(Health::NotReady(why)) if why.contains("cannot be reached")));
}

/// A wrong URL must not look like nodes that are gone, nor a server in trouble like a node's own fault.
#[tokio::test]
async fn the_example_in_python_believes_only_the_inventory_itself() {
    let folder = Folder::new();
    let token = enrolld::facts::StatusToken::new("7");
    let (page, gateways, in_trouble) = ("<html>Not Found</html>", r#"{"error": "no such route"}"#, r#"{"error": "no such node"}"#);
    for (status, body, class) in [
        (404, page, Class::RouteFault),
        (404, gateways, Class::RouteFault),
        (404, r#"["no such node"]"#, Class::RouteFault),
        (200, page, Class::RouteFault),
        (202, page, Class::RouteFault),
        (409, page, Class::RouteFault),
        (429, "", Class::NotReady),
        (500, in_trouble, Class::NotReady),
        (503, page, Class::NotReady),
    ] {
        let url = saying(status, body);
        let registrar = with(&folder, "/usr/bin/python3", "python", &[("INVENTORY_URL", &url), ("INVENTORY_TOKEN", "secret")]);
        for failure in [
            registrar.associate(&order(), &key()).await.unwrap_err(),
            registrar.disassociate(&order()).await.unwrap_err(),
            registrar.status(&order(), &token).await.unwrap_err(),
            registrar.list(None).await.unwrap_err(),
        ] {
            assert_eq!(failure.class, class, "{status} {body}: {failure}");
        }
    }
}

async fn listed(registrar: &CommandRegistrar) -> Vec<String> {
    let Ok(NodeList::Page { names, next: None }) = registrar.list(None).await else { panic!("it lists its nodes") };
    names.iter().map(ToString::to_string).collect()
}

/// The inventory that the example speaks of.
fn inventory() -> String {
    let (mut nodes, mut asked) = (HashMap::new(), 0);
    answering(move |stream| serve(stream, &mut nodes, &mut asked))
}

/// Something that gives the same answer to whatever it is asked.
fn saying(status: u16, body: &'static str) -> String {
    answering(move |stream| {
        read(stream);
        (status, body)
    })
}

fn answering(mut answer: impl FnMut(&TcpStream) -> (u16, &'static str) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (status, body) = answer(&stream);
            let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        }
    });
    url
}

/// A request: its first line, whether it is allowed, and its body.
fn read(stream: &TcpStream) -> (String, bool, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length, mut allowed) = (String::new(), 0, false);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        allowed |= line == "authorization: bearer secret";
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (first, allowed, body)
}

fn serve(stream: &TcpStream, nodes: &mut HashMap<String, String>, asked: &mut u32) -> (u16, &'static str) {
    let (first, allowed, body) = read(stream);
    let (method, path) = first.split_once(' ').unwrap();
    let path = path.split(' ').next().unwrap().to_owned();
    if !allowed {
        return (403, "");
    }
    match (method, path.as_str()) {
        ("GET", "/health") => (200, "{}"),
        ("GET", "/nodes") => (200, r#"{"nodes": ["i-0a1b2c3d.example"]}"#),
        ("PUT", "/nodes/i-0a1b2c3d.example") => {
            let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let new = told["public_key"].as_str().unwrap().to_owned();
            if *nodes.entry(path).or_insert_with(|| new.clone()) == new {
                (202, r#"{"job": "7"}"#)
            } else {
                (409, r#"{"error": "another key"}"#)
            }
        }
        ("DELETE", _) if nodes.remove(&path).is_some() => (200, "{}"),
        ("GET", "/jobs/7") => {
            *asked += 1;
            if *asked == 1 { (202, "{}") } else { (200, "{}") }
        }
        ("DELETE", _) => (404, r#"{"error": "no such node"}"#),
        _ => (404, r#"{"error": "no such job"}"#),
    }
}
