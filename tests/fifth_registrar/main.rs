//! A fifth kind of registrar, added as `docs/new-registrar.md` says: `inventory.rs` is the file as it would stand in `src/registrar`, and
//! nothing else of the house is changed for it.

// Under the names that the house has inside.
use enrolld::{config, core, facts, meanings, names, registrar, retry};

mod inventory;
#[path = "../common/permissions.rs"]
mod permissions;
mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Config, Environment, Kinds, Problems};
use enrolld::aws::Aws;
use enrolld::cli::rooms;
use enrolld::driver::Worker;
use enrolld::observe::audit::AuditTarget;
use enrolld::observe::{Health, Observer, ObserverSettings};
use enrolld::policy::{self, DeadLetterQueue, Extras, Place};
use enrolld::simulator::model::autoscaling::Place as Pool;
use enrolld::simulator::{Options, Simulator};
use facts::NodeList;
use registrar::Kind;
use server::Server;
use tokio::sync::mpsc;

const KINDS: Kinds = &[registrar::KINDS[0], registrar::KINDS[1], registrar::KINDS[2], registrar::KINDS[3], &FIFTH];
const FIFTH: Kind = inventory::KIND;
const GROUP: &str = "web-blue";

fn configuration(endpoint: &str, registrar: &str) -> Result<Config, Problems> {
    let text = format!(
        r#"
queue_url = "{endpoint}/123456789012/enrolld-lifecycle"
region = "eu-central-1"
worker = "test"
listen = "off"
poll_wait = "1s"
retry_initial = "50ms"
not_ready_initial = "100ms"
not_ready_max = "200ms"

[[route]]
name = "web"
groups = ["web-*"]
registrar = {{ kind = "inventory", {registrar} }}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", owner_role = "arn:aws:iam::123456789012:role/enrolld-node" }}
key_poll = "200ms"
"#
    );
    config::parse_with(KINDS, &text, "enrolld.toml", &Environment::new())
}

#[test]
fn its_keys_are_read_and_what_is_wrong_with_them_is_said_as_with_any_other() {
    let endpoint = "https://sqs.eu-central-1.amazonaws.com";
    let config = configuration(endpoint, r#"url = "https://inventory.example.com""#).unwrap();
    let registrar = &config.routes[0].registrar;
    assert_eq!((registrar.kind(), registrar.about().as_str()), ("inventory", "inventory https://inventory.example.com"));
    let said = |registrar: &str| configuration(endpoint, registrar).unwrap_err().to_string();
    assert!(said("").contains("route.web.registrar.url: it is missing"), "{}", said(""));
    assert!(said(r#"url = "http://inventory.example.com""#).contains("is without TLS"));
    assert!(said(r#"url = "https://a.example", ca_fil = "/ca""#).contains("did you mean ca_file?"));
    let missing = configuration(endpoint, r#"url = "https://a.example", ca_file = "/nowhere/ca.pem""#).unwrap();
    assert!(rooms::check_registrar_files(&missing, &missing.routes[0]).is_err());
    let unknown = config::parse_with(KINDS, "[[route]]\nregistrar = { kind = \"inventry\" }", "f", &Environment::new());
    assert!(unknown.unwrap_err().to_string().contains(r#"or "command" or "inventory""#));
}

#[test]
fn it_asks_nothing_of_aws() {
    let config = configuration("https://sqs.eu-central-1.amazonaws.com", r#"url = "https://inventory.example.com""#).unwrap();
    let place = Place { region: names::Region::new("eu-central-1").unwrap(), account: names::AccountId::new("123456789012").unwrap() };
    let policies = policy::worker(&config, &place, Some(&DeadLetterQueue::None), Extras::default()).unwrap();
    assert!(!serde_json::to_string(&policies[0].document).unwrap().contains("opsworks"));
}

async fn until(what: &str, happened: impl Fn() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < Duration::from_secs(180), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn nodes_are_enrolled_with_it_wait_for_its_maintenance_and_are_taken_off() {
    let (server, simulator) = (Server::start().await, Simulator::start(Options::default()).await.unwrap());
    let config = configuration(&simulator.endpoint(), &format!("url = \"{}\"", server.url)).unwrap();
    let settings = config.core_settings();
    let aws = Aws::fixed(&rooms::aws_settings(&config), &simulator.endpoint(), "AKIATEST").unwrap();
    simulator.with(|world, _| permissions::confine(world, "AKIATEST", &config, permissions::of_command("run")));
    let services = rooms::services(&config, &settings, &aws).unwrap();
    let inventory = Arc::clone(&services.registrars[0]);
    let observer = ObserverSettings { worker: "test".into(), routes: rooms::route_names(&config, &settings), audit: AuditTarget::Off };
    let (stop, stopped) = mpsc::channel(2);
    let worker = Worker::new(settings, services, Observer::new(observer).unwrap(), Arc::new(Health::new()), 1);
    let worker = tokio::spawn(worker.run(stopped));

    server.state.lock().unwrap().busy = true;
    let launched = simulator.with(|world, now| world.launch(now, GROUP, 5, Pool::AutoScalingGroup, None)).unwrap();
    let mut launched: Vec<String> = launched.iter().map(ToString::to_string).collect();
    launched.sort();
    until("an order is refused", || server.state.lock().unwrap().refused > 0).await;
    assert!(simulator.with(|world, _| world.in_service(GROUP)).is_empty());
    server.state.lock().unwrap().busy = false;
    until("the launches are in service", || simulator.with(|world, _| world.in_service(GROUP)).len() == 5).await;
    assert_eq!(server.nodes(), launched);
    let Ok(NodeList::Page { names, next: None }) = inventory.list(None).await else { panic!("it lists its nodes") };
    assert_eq!(names.len(), 5);

    assert!(simulator.with(|world, now| world.terminate(now, &launched[0])));
    until("the terminated has left", || server.nodes() == launched[1..]).await;
    stop.send(()).await.unwrap();
    worker.await.unwrap();
    simulator.with(|world, _| permissions::nothing_was_beyond(world));
}

#[test]
fn the_documentation_shows_the_file_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (page, file) = (read("docs/new-registrar.md"), read("tests/fifth_registrar/inventory.rs"));
    assert!(page.contains(&format!("```rust\n{file}```")), "docs/new-registrar.md should hold tests/fifth_registrar/inventory.rs as it is");
    // The one line stands among lines that are there.
    let kinds =
        read("src/registrar/mod.rs").split_once("kinds! {\n").and_then(|(_, rest)| Some(rest.split_once('}')?.0.to_owned())).unwrap();
    assert!(page.contains(&format!("kinds! {{\n{kinds}    mod inventory;\n}}")), "the list has changed:\n{kinds}");
}
