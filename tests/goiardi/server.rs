//! A goiardi of a test's own: started on a free port with authentication on, stopped when dropped.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use enrolld::names::ServerUrl;
use enrolld::registrar::http::{Answer, HttpClient, HttpSettings, PrivateKey, read_certificates};
use hyper::Method;
use serde_json::Value;

/// Names the program; `tests/goiardi/run` sets it.
const PROGRAM: &str = "ENROLLD_GOIARDI";

/// Keys of three clients are made before it listens, which takes a loaded machine a while.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

pub struct Goiardi {
    folder: PathBuf,
    port: u16,
    tls: bool,
    process: Option<Child>,
}

impl Goiardi {
    /// Starts a server that nothing is in yet.
    pub fn start() -> Self {
        Self::begin(false)
    }

    /// The same with TLS, by a certificate that no authority but [`Self::authority_file`] has signed.
    pub fn start_with_tls() -> Self {
        Self::begin(true)
    }

    fn begin(tls: bool) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("goiardi-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the build's folder can be written to");
        // None that a connection of somebody else could be given before it is listened at.
        let ports = (20_000..32_000).map(|port: u32| 20_000 + (port + std::process::id() * 97 + number * 13) % 12_000);
        let mut ports = ports.map(|port| u16::try_from(port).expect("less than 32,000"));
        let port = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free");
        if tls {
            let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("it signs");
            std::fs::write(folder.join("server.crt"), cert.pem()).expect("the folder is ours");
            std::fs::write(folder.join("server.key"), signing_key.serialize_pem()).expect("the folder is ours");
        }
        let mut server = Self { folder, port, tls, process: None };
        server.start_again();
        server
    }

    /// Starts it again with all that it had.
    pub fn start_again(&mut self) {
        let program = std::env::var_os(PROGRAM).unwrap_or_else(|| panic!("{PROGRAM} is not set: these tests are run by tests/goiardi/run"));
        let log = std::fs::File::create(self.folder.join("log")).expect("the build's folder can be written to");
        let child = Command::new(program)
            .args(["--use-auth", "--ipaddress=127.0.0.1"])
            .arg(format!("--port={}", self.port))
            .arg(format!("--conf-root={}", self.folder.display()))
            .arg(format!("--data-file={}", self.folder.join("data").display()))
            .arg(format!("--index-file={}", self.folder.join("index").display()))
            .args(if self.tls { &["--use-ssl", "--ssl-cert=server.crt", "--ssl-key=server.key"][..] } else { &[] })
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("goiardi can be started");
        self.process = Some(child);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.process.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none() && began.elapsed() < STARTS_WITHIN, "goiardi does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Stops it as a machine's init does, so that it saves what it has.
    pub fn stop(&mut self) {
        let Some(mut child) = self.process.take() else { return };
        let signalled = Command::new("kill").arg(child.id().to_string()).status();
        let began = Instant::now();
        while signalled.is_ok() && began.elapsed() < Duration::from_secs(60) {
            if child.try_wait().ok().flatten().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "https" } else { "http" }, self.port)
    }

    /// The authority of its certificate.
    pub fn authority_file(&self) -> PathBuf {
        self.folder.join("server.crt")
    }

    /// The file with the key of the client that may do everything.
    pub fn admin_file(&self) -> PathBuf {
        self.folder.join("admin.pem")
    }

    /// The key of the client that may do everything.
    pub fn admin(&self) -> PrivateKey {
        PrivateKey::read(&self.admin_file()).expect("goiardi writes it for its owner alone")
    }

    /// Asks the server as somebody, by a signer that shares nothing with the one that is tested.
    pub async fn ask(&self, name: &str, key: &PrivateKey, method: Method, path: &str, body: Option<Value>) -> Answer {
        let body = body.map_or_else(String::new, |body| body.to_string());
        let hash = BASE64.encode(digest(&SHA256, body.as_bytes()));
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let lines = [
            format!("Method:{method}"),
            format!("Path:{path}"),
            format!("X-Ops-Content-Hash:{hash}"),
            "X-Ops-Sign:version=1.3".to_owned(),
            format!("X-Ops-Timestamp:{time}"),
            format!("X-Ops-UserId:{name}"),
            "X-Ops-Server-API-Version:1".to_owned(),
        ];
        let key = key.rsa().expect("it is an RSA key");
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), lines.join("\n").as_bytes(), &mut signature).expect("it signs");
        let signature = BASE64.encode(signature);
        let mut headers = vec![
            ("X-Ops-Sign".to_owned(), "algorithm=sha256;version=1.3;".to_owned()),
            ("X-Ops-Userid".to_owned(), name.to_owned()),
            ("X-Ops-Timestamp".to_owned(), time),
            ("X-Ops-Content-Hash".to_owned(), hash),
            ("X-Ops-Server-API-Version".to_owned(), "1".to_owned()),
            ("X-Chef-Version".to_owned(), "12.4.0".to_owned()),
            ("Accept".to_owned(), "application/json".to_owned()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ];
        for (at, line) in signature.as_bytes().chunks(60).enumerate() {
            headers.push((format!("X-Ops-Authorization-{}", at + 1), String::from_utf8_lossy(line).into_owned()));
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let http = HttpClient::new(&HttpSettings {
            url: ServerUrl::new(&self.url()).expect("it is a base URL"),
            authorities: self.tls.then(|| read_certificates(&self.authority_file()).expect("it was written")),
            identity: None,
            connect_timeout: Duration::from_secs(2),
            attempt_timeout: Duration::from_secs(10),
            allow_plain_http: false,
            max_answer: HttpSettings::MAX_ANSWER,
        });
        http.expect("a client can be made").send(method, path, &headers, body.into()).await.expect("goiardi answers")
    }

    /// The same as the client that may do everything.
    pub async fn ask_as_admin(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.ask("admin", &self.admin(), method, path, body).await
    }
}

impl Drop for Goiardi {
    fn drop(&mut self) {
        self.stop();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
