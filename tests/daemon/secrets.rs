//! Whatever a person asks to be logged, key material is not: neither in the log, nor in the audit trail, nor in a dead letter's reason.

use std::collections::BTreeMap;

use enrolld::simulator::model::agent::{AgentOptions, Material, Publish, material};
use enrolld::simulator::model::autoscaling::{Form, Place};
use enrolld::simulator::model::ssm::wire::CreateDocument;

use crate::bench::{ACCOUNT, Bench, GROUP, LETTERS, SERVER, configuration_of, group, never_publishes, publishes_after};
use crate::odd_messages::{Launch, ODD_MESSAGES, PRIVATE_KEY_SECRET};
use crate::process::Process;

const DOCUMENT: &str = "enrolld-show-public-key";
/// What no file may hold, beside the lines of keys.
const GARBAGE: &str = "planted-key-that-is-none";

fn text(bench: &Bench) -> String {
    let registrar = format!("registrar = {{ kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"chef\" }}");
    let route = format!(
        "{registrar}\nkey = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", owner_role = \"arn:aws:iam::{ACCOUNT}:role/enrolld-node\" }}\n\
         [[route]]\nname = \"believing\"\ngroups = [\"believing\"]\n{registrar}\n\
         key = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", require_owner = false }}\n\
         [[route]]\nname = \"commanded\"\ngroups = [\"commanded\"]\n{registrar}\nkey = {{ document = \"{DOCUMENT}\" }}\n"
    );
    configuration_of(&bench.simulator.endpoint(), "audit = \"AUDIT\"", &route).replace("groups = [\"*\"]", "groups = [\"web-*\"]")
}

/// The lines of PEM that hold key material: neither the armour nor a short last line.
fn lines(pem: &str) -> impl Iterator<Item = String> {
    pem.lines().filter(|line| line.len() > 30 && !line.starts_with("-----")).map(str::to_owned)
}

/// What a person sees who looks at the dead letters.
async fn listed_letters(bench: &Bench, config: &std::path::Path) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_enrolld"));
    command.args(["dead-letters", "list", "--output", "json", "--config"]).arg(config).env_clear();
    command.env("AWS_ENDPOINT_URL", bench.simulator.endpoint());
    command.envs([("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("RUST_LOG", "trace")]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("waiting does not panic").expect("it was built");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("private_key"), "{text}");
    text
}

#[tokio::test]
async fn no_key_material_is_in_any_output_even_where_everything_is_logged() {
    let bench = Bench::start(|fixture| {
        fixture.groups.extend([group("believing", Form::Sns), group("commanded", Form::EventBridge)]);
        fixture.groups.iter_mut().for_each(|group| group.options.replace_abandoned = false);
    })
    .await;
    let content = r#"{"schemaVersion":"2.2","mainSteps":[]}"#;
    let document = CreateDocument { name: DOCUMENT.into(), content: content.into(), ..CreateDocument::default() };
    bench.simulator.with(|world, now| {
        let root = world.root();
        world.create_document(now, &root, &document).expect("it is a document");
    });
    let audit = crate::process::folder("secrets-audit").join("audit.jsonl");
    let text = text(&bench).replace("AUDIT", audit.to_str().expect("it is text"));
    let environment = [("RUST_LOG", "trace"), ("LOG_SENSITIVE_BODIES", "true")];
    let mut process = Process::start(&bench, "secrets", &text, &environment);

    let mut planted: BTreeMap<String, String> = BTreeMap::new();
    for group in [GROUP, "believing"] {
        for kind in [Material::Good, Material::PrivateKey, Material::Literal(GARBAGE.into())] {
            let id =
                bench.launch_in(group, Place::AutoScalingGroup, Some(&AgentOptions { material: kind.clone(), ..publishes_after(200) }));
            planted.insert(id.clone(), material(&kind, 0, &id));
        }
    }
    for kind in [Material::Good, Material::PrivateKey] {
        let agent = AgentOptions {
            publish: Publish::RunCommand { after_ms: 0 },
            registers_after_ms: Some(0),
            material: kind.clone(),
            ..AgentOptions::default()
        };
        let id = bench.launch_in("commanded", Place::AutoScalingGroup, Some(&agent));
        planted.insert(id.clone(), material(&kind, 0, &id));
    }
    // Private keys in the messages themselves.
    let odd = ODD_MESSAGES.iter().filter(|odd| odd.name.contains("private key"));
    let bodies: Vec<String> = odd.map(|odd| (odd.body)(&Launch::example(GROUP))).collect();
    assert_eq!(bodies.len(), 2);
    bodies.iter().for_each(|body| bench.send(body));
    // And one that waits, so that polling is seen too.
    bench.launch_with(never_publishes());

    bench.until("three are enrolled", |bench| bench.summary().servers[SERVER].node_count == 3).await;
    bench.until("the others have their letters", |bench| bench.summary().queues[LETTERS].visible == 7).await;
    let mut outputs = vec![("the arguments".to_owned(), process.arguments())];
    for page in ["/metrics", "/readyz", "/healthz"] {
        outputs.push((page.to_owned(), process.ask(page).await.1));
    }
    assert!(outputs.iter().any(|(name, text)| name == "/metrics" && text.contains("private_key")), "the metrics tell of what was planted");
    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0));
    outputs.push(("enrolld dead-letters list".to_owned(), listed_letters(&bench, &process.folder.join("enrolld.toml")).await));

    let mut secrets: Vec<String> = planted.values().flat_map(|pem| lines(pem).collect::<Vec<_>>()).collect();
    assert!(secrets.len() > 60, "{}", secrets.len());
    // The planted keys are those that the simulated instances published.
    for (id, state) in bench.details().parameters {
        assert!(planted.values().any(|value| *value == state.value), "{id}");
    }
    secrets.extend([GARBAGE.to_owned(), PRIVATE_KEY_SECRET.to_owned()]);
    outputs.extend(process.written().into_iter().filter(|(name, _)| !name.ends_with("enrolld.toml")));
    outputs.push(("the audit file".to_owned(), std::fs::read_to_string(&audit).expect("it was written")));
    outputs.extend(bench.queue(LETTERS).messages.into_iter().map(|letter| ("a letter".to_owned(), format!("{:?}", letter.attributes))));
    let log = process.log();
    assert!(log.contains("\"DEBUG\""), "everything is logged, or this shows nothing");
    assert!(outputs.iter().any(|(name, text)| name == "the audit file" && text.contains("private_key")));
    for (name, output) in &outputs {
        for secret in &secrets {
            // A part of a line gives it away as much as the whole.
            for part in [secret.as_str(), &secret[..secret.len().min(20)], &secret[secret.len().saturating_sub(20)..]] {
                if let Some(at) = output.find(part) {
                    let line = output[..at].lines().count();
                    panic!("{name}, line {line}: {part}");
                }
            }
        }
    }
}
