//! Whatever a person asks to be logged, secrets are not: key material, our own keys, credentials and tokens are neither in the log, nor on a page,
//! nor in the audit trail, nor in a dead letter's reason.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use enrolld::simulator::model::agent::{AgentOptions, Material, Publish, material};
use enrolld::simulator::model::autoscaling::{Form, Place};
use enrolld::simulator::model::ssm::wire::CreateDocument;

use crate::bench::{ACCOUNT, Bench, GROUP, LETTERS, SERVER, configuration_of, group, never_publishes, publishes_after};
use crate::odd_messages::{Launch, ODD_MESSAGES, PRIVATE_KEY_SECRET};
use crate::process::Process;

const DOCUMENT: &str = "enrolld-show-public-key";
/// What no output may hold, beside the lines of keys.
const GARBAGE: &str = "planted-key-that-is-none";
const ACCESS: &str = "planted-secret-access-key-of-the-worker";
const SESSION: &str = "planted-session-token-of-the-worker";
const STATUS: &str = "planted-status-token-of-an-order";
const INVENTORY: &str = "planted-password-of-the-program";
/// With it the worker's own credentials can be told from anybody's.
const CREDENTIALS: [(&str, &str); 2] = [("AWS_SECRET_ACCESS_KEY", ACCESS), ("AWS_SESSION_TOKEN", SESSION)];

/// Routes with keys of the worker's own, to servers that repeat to everybody what they were told.
struct OwnKeys {
    /// For the configuration.
    routes: String,
    /// Our private keys, in PEM.
    keys: Vec<String>,
    /// What the servers were told so far.
    told: Arc<Mutex<Vec<String>>>,
}

impl OwnKeys {
    /// Whether a server was told of a node's key.
    fn was_told(&self, key: &str) -> bool {
        let told = self.told.lock().expect("nobody panics with it");
        lines(key).all(|line| told.iter().any(|request| request.contains(&line)))
    }
}

fn own_keys() -> OwnKeys {
    let folder = crate::process::folder("secrets-keys");
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).expect("the folder is there to be written to");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        path
    };
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("AWS-LC makes keys");
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = aws_lc_rs::encoding::AsDer::as_der(&pair).expect("it can be written");
    let chef = pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref()));
    let puppet = rcgen::generate_simple_self_signed(["enrolld.example".to_owned()]).expect("rcgen makes certificates");
    let (certificate, puppet) = (puppet.cert.pem(), puppet.signing_key.serialize_pem());
    let script = format!(
        "case $ENROLLD_OPERATION in\n\
         associate) [ \"$INVENTORY_PASSWORD\" = {INVENTORY} ] || exit 1; echo \"$ENROLLD_KEY $INVENTORY_PASSWORD\" >&2\n\
         echo '{{\"status\":\"in_progress\",\"token\":\"{STATUS}\"}}';;\n\
         status) [ \"$ENROLLD_TOKEN\" = {STATUS} ] || exit 1; echo \"$ENROLLD_TOKEN $INVENTORY_PASSWORD\" >&2; echo '{{\"status\":\"success\"}}';;\n\
         esac\n"
    );
    let (url, told) = repeats_what_it_is_told();
    let owner = format!("owner_role = \"arn:aws:iam::{ACCOUNT}:role/enrolld-node\"");
    let route = |name: &str, registrar: &str, what: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\ngroups = [\"{name}\"]\nregistrar = {{ {registrar} }}\n{what}\n\
             key = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", {owner} }}\n"
        )
    };
    let chef_key = write("chef.pem", &chef);
    let chef_server =
        format!("kind = \"chef-server\", url = \"{url}\", client_name = \"enrolld\", client_key = \"{}\"", chef_key.display());
    let puppet_ca = format!(
        "kind = \"puppet-ca\", url = \"{url}\", certificate = \"{0}\", ca_file = \"{0}\", private_key = \"{1}\"",
        write("puppet.crt", &certificate).display(),
        write("puppet.pem", &puppet).display()
    );
    let script = write("enrol.sh", &script);
    let command = format!("kind = \"command\", program = \"/bin/sh\", args = [\"{}\"], env = [\"INVENTORY_PASSWORD\"]", script.display());
    let gone = "kind = \"opsworks-cm\", server = \"gone\", engine = \"chef\"";
    let routes = [
        route("chef", &chef_server, ""),
        route("puppet", &puppet_ca, ""),
        route("command", &command, "status_poll_initial = \"50ms\""),
        route("held", gone, "timeout = \"3s\"\nkey_poll = \"200ms\"\nmax_abandons = 0"),
    ];
    OwnKeys { routes: routes.concat(), keys: vec![chef, puppet], told }
}

/// A server that knows nothing, takes nothing but node objects, which stand before the key, and answers with all that it was told.
fn repeats_what_it_is_told() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&told);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let request = request(&mut stream);
            let status = match request.as_str() {
                post if post.starts_with("POST /nodes ") => "201 Created",
                get if get.starts_with("GET ") => "404 Not Found",
                _ => "400 Bad Request",
            };
            let (head, body) = request.split_once("\r\n\r\n").unwrap_or((&request, ""));
            let answer = format!("{body}\n{head}");
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", answer.len());
            let _ = stream.write_all((head + &answer).as_bytes());
            heard.lock().expect("nobody panics with it").push(request);
        }
    });
    (url, told)
}

/// One request, with its body.
fn request(stream: &mut TcpStream) -> String {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes);
        let length = text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
        let whole = text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.len() >= length);
        match if whole { Ok(0) } else { stream.read(&mut piece) } {
            Ok(0) | Err(_) => return text.into_owned(),
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

/// A certificate request, as an instance of that name makes it.
fn certificate_request(name: &str) -> String {
    let mut wanted = rcgen::CertificateParams::default();
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().expect("rcgen makes keys");
    wanted.serialize_request(&key).and_then(|request| request.pem()).expect("it can be written")
}

fn text(bench: &Bench, own: &OwnKeys) -> String {
    let registrar = format!("registrar = {{ kind = \"opsworks-cm\", server = \"{SERVER}\", engine = \"chef\" }}");
    let route = format!(
        "{registrar}\nkey = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", owner_role = \"arn:aws:iam::{ACCOUNT}:role/enrolld-node\" }}\n\
         [[route]]\nname = \"believing\"\ngroups = [\"believing\"]\n{registrar}\n\
         key = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", require_owner = false }}\n\
         [[route]]\nname = \"commanded\"\ngroups = [\"commanded\"]\n{registrar}\nkey = {{ document = \"{DOCUMENT}\" }}\n{}",
        own.routes
    );
    configuration_of(&bench.simulator.endpoint(), "audit = \"AUDIT\"", &route).replace("groups = [\"*\"]", "groups = [\"web-*\"]")
}

/// The lines of PEM that hold key material: neither the armour nor a short last line.
fn lines(pem: &str) -> impl Iterator<Item = String> {
    pem.lines().filter(|line| line.len() > 30 && !line.starts_with("-----")).map(str::to_owned)
}

/// What a person sees who looks at the dead letters.
async fn listed_letters(bench: &Bench, config: &Path) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_enrolld"));
    command.args(["dead-letters", "list", "--output", "json", "--config"]).arg(config).env_clear();
    command.env("AWS_ENDPOINT_URL", bench.simulator.endpoint());
    command.envs([("AWS_ACCESS_KEY_ID", "AKIATEST"), ("RUST_LOG", "trace")]).envs(CREDENTIALS);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("waiting does not panic").expect("it was built");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("private_key") && text.contains("nested_envelope"), "{text}");
    text
}

#[tokio::test]
async fn no_secret_is_in_any_output_even_where_everything_is_logged() {
    let bench = Bench::start(|fixture| {
        fixture.groups.extend([group("believing", Form::Sns), group("commanded", Form::EventBridge)]);
        fixture.groups.extend(["chef", "puppet", "command", "held"].map(|name| group(name, Form::Direct)));
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
    let own = own_keys();
    let text = text(&bench, &own).replace("AUDIT", audit.to_str().expect("it is text"));
    let more = [("RUST_LOG", "trace"), ("LOG_SENSITIVE_BODIES", "true"), ("INVENTORY_PASSWORD", INVENTORY)];
    let environment = [&more[..], &CREDENTIALS].concat();
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
    // Where keys of our own are at work.
    let mut by_group = BTreeMap::new();
    for group in ["chef", "puppet", "command", "held"] {
        let id = bench.launch_in(group, Place::AutoScalingGroup, Some(&never_publishes()));
        let value = if group == "puppet" { certificate_request(&id) } else { material(&Material::Good, 0, &id) };
        bench.publish(&id, value.clone());
        planted.insert(id.clone(), value);
        by_group.insert(group, id);
    }
    // Private keys in the messages themselves.
    let odd = ODD_MESSAGES.iter().filter(|odd| odd.name.contains("private key"));
    let bodies: Vec<String> = odd.map(|odd| (odd.body)(&Launch::example(GROUP))).collect();
    assert_eq!(bodies.len(), 2);
    bodies.iter().for_each(|body| bench.send(body));
    // And one that waits, so that polling is seen too; its token is in a message that is almost a notification besides.
    let waits = bench.launch_with(never_publishes());
    let token_of = |bench: &Bench| bench.details().actions.into_iter().find(|action| action.instance == waits).map(|action| action.token);
    bench.until("its action is open", |bench| token_of(bench).is_some()).await;
    let token = token_of(&bench).expect("it was there just now");
    let almost = ODD_MESSAGES.iter().find(|odd| odd.name == "SNS inside SNS").expect("a row of that name");
    bench.send(&(almost.body)(&Launch { instance: waits.clone(), token, ..Launch::example(GROUP) }));

    bench.until("three are enrolled", |bench| bench.summary().servers[SERVER].node_count == 3).await;
    bench.until("the others have their letters", |bench| bench.summary().queues[LETTERS].visible == 9).await;
    // A server that takes nothing is a matter for a person: the chef server's launch waits.
    bench.until("the chef server was told of the key", |_| own.was_told(&planted[&by_group["chef"]])).await;
    bench.until_in_service(std::slice::from_ref(&by_group["command"])).await;
    process.until_logged("launch_held").await;
    let mut outputs = vec![("the arguments".to_owned(), process.arguments())];
    for (page, status) in [("/metrics", 200), ("/readyz", 200), ("/livez", 200), ("/held", 200), ("/nowhere", 404)] {
        let (answered, text) = process.ask(page).await;
        assert_eq!(answered, status, "{page}: {text}");
        assert!(page != "/held" || text.contains("\"held\""), "{text}");
        outputs.push((page.to_owned(), text));
    }
    // The keys and tokens were at work, or their absence shows nothing.
    let told = own.told.lock().expect("nobody panics with it").join("\n");
    assert!(told.to_lowercase().contains("x-ops-authorization-1") && told.contains("/puppet-ca/v1/"), "{told}");
    assert!(own.was_told(&planted[&by_group["puppet"]]));
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
    secrets.extend([GARBAGE, PRIVATE_KEY_SECRET, ACCESS, SESSION, STATUS, INVENTORY].map(str::to_owned));
    secrets.extend(own.keys.iter().flat_map(|pem| lines(pem)));
    let details = bench.details();
    let tokens = details.actions.iter().map(|action| action.token.clone()).chain(details.associations.iter().map(|one| one.token.clone()));
    let before = secrets.len();
    secrets.extend(tokens);
    assert!(secrets.len() >= before + 14, "each action has a token, and each association");
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
