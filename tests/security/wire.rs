//! Endpoints without TLS, and with a certificate that is not to be believed.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::tls::{Authority, Server};

/// How long a command may take that ends by itself.
const PATIENCE: Duration = Duration::from_secs(20);

fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("wire-{name}.toml"));
    std::fs::write(&path, text).expect("the folder is there to be written to");
    path
}

fn configuration(queue_url: &str, top: &str) -> String {
    format!(
        "queue_url = \"{queue_url}\"\nregion = \"eu-central-1\"\nlisten = \"off\"\n{top}\n[[route]]\nname = \"web\"\ngroups = [\"web-*\"]\n\
         registrar = {{ kind = \"opsworks-cm\", server = \"chef\", engine = \"chef\" }}\n\
         key = {{ parameter = \"/enrolld/{{instance_id}}/public-key\", require_owner = false }}\n"
    )
}

const QUEUE: &str = "https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld";

/// An address that is set aside for documentation (RFC 5737): nothing that is sent there arrives.
const NOWHERE: &str = "http://203.0.113.1";

fn command(command: &str, config: &PathBuf, variables: &[(&str, &str)]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_enrolld"));
    program.args(command.split(' ')).arg("--config").arg(config).env_clear();
    program.env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "b").envs(variables.iter().copied());
    program
}

fn enrolld(words: &str, config: &PathBuf, variables: &[(&str, &str)]) -> Output {
    let child = command(words, config, variables).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the binary was built for this test");
    // A worker that is not refused would run for ever.
    let began = Instant::now();
    while child.try_wait().expect("it is a process of ours").is_none() {
        if began.elapsed() > PATIENCE {
            child.kill().expect("it is a process of ours");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("it is a process of ours")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_endpoint_of_any_service_without_tls_is_refused_by_run_and_by_check() {
    let config = file("endpoints", &configuration(QUEUE, ""));
    for variable in [
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_SQS",
        "AWS_ENDPOINT_URL_SSM",
        "AWS_ENDPOINT_URL_AUTO_SCALING",
        "AWS_ENDPOINT_URL_OPSWORKSCM",
        "AWS_ENDPOINT_URL_STS",
        "AWS_ENDPOINT_URL_IAM",
        "AWS_ENDPOINT_URL_SSO",
        "AWS_ENDPOINT_URL_SSO_OIDC",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ] {
        for command in ["run", "check"] {
            let output = enrolld(command, &config, &[(variable, NOWHERE)]);
            assert_eq!(output.status.code(), Some(1), "{command} {variable}: {}", said(&output));
            assert!(said(&output).contains("plain http and not on this machine"), "{command} {variable}: {}", said(&output));
        }
    }
}

#[test]
fn an_endpoint_for_credentials_without_tls_is_refused_in_a_profile_too() {
    // The SDK reads the service's id with a hyphen, where AWS documents an underscore.
    let endpoint = |id: &str| format!("{id} =\n  endpoint_url = {NOWHERE}\n");
    let text = format!("[default]\nservices = ours\n[services ours]\n{}{}", endpoint("sso_oidc"), endpoint("sso-oidc"));
    for (name, text) in [("services", text), ("metadata", format!("[default]\nec2_metadata_service_endpoint = {NOWHERE}\n"))] {
        let profile = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("wire-{name}.profile"));
        std::fs::write(&profile, text).expect("the folder is there to be written to");
        let config = file(&format!("profile-{name}"), &configuration(QUEUE, ""));
        let variables = [("AWS_CONFIG_FILE", profile.to_str().expect("it is text"))];
        for command in ["run", "check"] {
            let output = enrolld(command, &config, &variables);
            assert_eq!(output.status.code(), Some(1), "{command} {name}: {}", said(&output));
            assert!(said(&output).contains("plain http and not on this machine"), "{command} {name}: {}", said(&output));
        }
    }
}

#[test]
fn a_queue_url_without_tls_is_refused_by_run_and_by_check() {
    for key in ["queue_url", "dead_letter_queue_url"] {
        let plain = "http://sqs.example/123456789012/enrolld";
        let text = if key == "queue_url" { configuration(plain, "") } else { configuration(QUEUE, &format!("{key} = \"{plain}\"")) };
        let config = file(key, &text);
        for command in ["run", "check"] {
            let output = enrolld(command, &config, &[]);
            assert_eq!(output.status.code(), Some(2), "{}", said(&output));
            assert!(said(&output).contains(&format!("{key}: ")) && said(&output).contains("without TLS"), "{}", said(&output));
        }
    }
}

#[tokio::test]
async fn an_address_that_only_leads_to_this_machine_is_not_on_it_and_is_taken_only_where_that_is_allowed() {
    use enrolld::simulator::{Options, Simulator};
    let simulator = Simulator::start(Options::default()).await.expect("the simulator starts");
    let endpoint = format!("http://0.0.0.0:{}", simulator.address().port());
    let queue = format!("{endpoint}/123456789012/enrolld-lifecycle");
    let ask = |name: &'static str, top: &str, queue: &str| {
        let (config, endpoint) = (file(name, &configuration(queue, top)), endpoint.clone());
        tokio::task::spawn_blocking(move || enrolld("check", &config, &[("AWS_ENDPOINT_URL", &endpoint)]))
    };
    let refused = ask("refused", "", QUEUE).await.expect("it does not panic");
    assert!(said(&refused).contains("plain http and not on this machine"), "{}", said(&refused));
    assert_eq!(simulator.state(false).calls.values().sum::<u64>(), 0, "nothing was sent");
    let allowed = ask("allowed", "allow_plain_http = true", &queue).await.expect("it does not panic");
    assert!(said(&allowed).contains("enrolld-lifecycle is there"), "{}", said(&allowed));
}

/// Registrars whose servers are on another machine, without TLS, but for the braces.
fn registrars() -> [(&'static str, String); 2] {
    let pem = |name: &str, text: &str| {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("wire-{name}.pem"));
        let _ = std::fs::remove_file(&path);
        let file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("the folder is there to be written to");
        path.display().to_string()
    };
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let certificate = CertificateParams::new(vec!["enrolld".into()]).and_then(|params| params.self_signed(&key)).expect("a certificate");
    let (key, certificate) = (pem("key", &key.serialize_pem()), pem("certificate", &certificate.pem()));
    let chef =
        format!(r#"kind = "chef-server", url = "{NOWHERE}", client_name = "enrolld", client_key = "{key}", ca_file = "{certificate}""#);
    let puppet = format!(
        r#"kind = "puppet-ca", url = "{NOWHERE}", certificate = "{certificate}", private_key = "{key}", ca_file = "{certificate}""#
    );
    [("chef", chef), ("puppet", puppet)]
}

#[test]
fn a_server_of_ones_own_is_without_tls_only_where_its_own_table_allows_that() {
    for (name, registrar) in registrars() {
        let check = |top: &str, more: &str| {
            let opsworks = r#"kind = "opsworks-cm", server = "chef", engine = "chef""#;
            let text = configuration(QUEUE, top).replace(opsworks, &format!("{registrar}{more}"));
            assert!(text.contains(NOWHERE), "{text}");
            enrolld("check --offline", &file(name, &text), &[])
        };
        for top in ["", "allow_plain_http = true"] {
            let output = check(top, "");
            assert_eq!(output.status.code(), Some(2), "{}", said(&output));
            assert!(said(&output).contains("route.web.registrar.url: ") && said(&output).contains("without TLS"), "{}", said(&output));
        }
        let output = check("", ", allow_plain_http = true");
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn aws_is_spoken_to_only_where_it_shows_a_certificate_for_its_name_of_an_authority_that_is_known() {
    let (ours, another) = (Authority::new(), Authority::new());
    let server = Server::start(&ours, "localhost");
    let authority = |name: &str, authority: &Authority| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("wire-{name}-authority.pem"));
        std::fs::write(&path, authority.pem()).expect("the folder is there to be written to");
        path.display().to_string()
    };
    let (ours, another) = (authority("our", &ours), authority("another", &another));
    let set_up = |name: &str, host: &str| {
        let endpoint = format!("https://{host}:{}", server.port());
        (file(name, &configuration(&format!("{endpoint}/123456789012/enrolld"), "retry_initial = \"50ms\"")), endpoint)
    };

    let wrong = [("localhost", Some(&another)), ("127.0.0.1", Some(&ours)), ("localhost", None)];
    for (at, (host, authority)) in wrong.into_iter().enumerate() {
        let (config, endpoint) = set_up(&format!("tls-{at}"), host);
        let mut variables = vec![("AWS_ENDPOINT_URL", endpoint.as_str())];
        variables.extend(authority.map(|path| ("SSL_CERT_FILE", path.as_str())));
        let before = server.handshakes();
        let output = enrolld("check", &config, &variables);
        assert_eq!(output.status.code(), Some(1), "{host} {authority:?}: {}", said(&output));
        assert!(server.handshakes() > before, "{host} {authority:?}: it did not even ask: {}", said(&output));

        // The daemon asks again and again, and is told nothing of it but by its log.
        let before = server.handshakes();
        let mut daemon = command("run", &config, &variables).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it was built");
        let began = Instant::now();
        while server.handshakes() < before + 3 && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon.kill().and_then(|()| daemon.wait()).expect("it is a process of ours");
        assert!(server.handshakes() >= before + 3, "{host} {authority:?}: it does not ask");
        assert_eq!(server.read(), "", "{host} {authority:?}: it was believed");
    }

    // The same server, to whoever knows its authority and calls it by its name.
    let (config, endpoint) = set_up("tls-good", "localhost");
    enrolld("check", &config, &[("AWS_ENDPOINT_URL", &endpoint), ("SSL_CERT_FILE", &ours)]);
    assert!(server.read().contains("Credential=a/"), "{}", server.read());
}
