//! The server that `tests/puppetserver/run` started, and nodes for it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use enrolld::core::call::NodeOrder;
use enrolld::event::{Envelope, LifecycleAction, Transition};
use enrolld::facts::KeyMaterial;
use enrolld::names::{AccountId, GroupName, HookName, InstanceId, LifecycleActionToken, NodeName, ServerUrl};
use enrolld::registrar::http::{Answer, HttpClient, HttpSettings, Identity, read_certificates};
use enrolld::registrar::{PuppetCa, PuppetCaSettings};
use hyper::Method;
use jiff::Timestamp;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// Names the server's folder; `tests/puppetserver/run` sets it.
const FOLDER: &str = "ENROLLD_PUPPETSERVER";

/// One server for all tests, which each use names of their own.
static SERVER: LazyLock<RwLock<Server>> = LazyLock::new(|| RwLock::new(Server::started()));

/// The server, beside other tests.
pub async fn shared() -> RwLockReadGuard<'static, Server> {
    SERVER.read().await
}

/// The server, alone.
pub async fn changed() -> RwLockWriteGuard<'static, Server> {
    SERVER.write().await
}

pub struct Server {
    folder: PathBuf,
    port: String,
}

impl Server {
    fn started() -> Self {
        let folder =
            std::env::var_os(FOLDER).unwrap_or_else(|| panic!("{FOLDER} is not set: these tests are run by tests/puppetserver/run"));
        let folder = PathBuf::from(folder);
        let port = std::fs::read_to_string(folder.join("port")).unwrap().trim().to_owned();
        Self { folder, port }
    }

    fn http(&self, path: &str, certificate: &Path, key: &Path) -> HttpSettings {
        HttpSettings {
            url: ServerUrl::new(&format!("https://localhost:{}{path}", self.port)).unwrap(),
            authorities: Some(read_certificates(&self.folder.join("ca.pem")).unwrap()),
            identity: Some(Identity::read(certificate, key).unwrap()),
            connect_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(60),
            allow_plain_http: false,
            max_answer: HttpSettings::MAX_ANSWER,
        }
    }

    /// The path of one of its files.
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The files of a node's certificate and key.
    pub fn files_of(&self, node: &Node, certificate: &str) -> (String, String) {
        self.identified(&node.name, certificate, &node.private_key());
        (self.file(&format!("{}.pem", node.name)), self.file(&format!("{}.key", node.name)))
    }

    fn admin(&self, path: &str) -> HttpSettings {
        self.http(path, &self.folder.join("admin.pem"), &self.folder.join("admin.key"))
    }

    /// The server as a route's `registrar` names it.
    pub fn as_configured(&self) -> String {
        let file = |name: &str| self.file(name);
        format!(
            r#"{{ kind = "puppet-ca", url = "https://localhost:{}", certificate = "{}", private_key = "{}", ca_file = "{}" }}"#,
            self.port,
            file("admin.pem"),
            file("admin.key"),
            file("ca.pem")
        )
    }

    pub fn port(&self) -> &str {
        &self.port
    }

    pub fn registrar(&self, replace_existing: bool) -> PuppetCa {
        made(self.admin(""), replace_existing)
    }

    pub fn registrar_at(&self, path: &str) -> PuppetCa {
        made(self.admin(path), false)
    }

    pub fn registrar_as(&self, certificate: &str, key: &str) -> PuppetCa {
        made(self.identified("as", certificate, key), false)
    }

    /// Who may sign, by the rules as they are shipped.
    pub fn plain(&self) -> PuppetCa {
        made(self.http("", &self.folder.join("plain.pem"), &self.folder.join("plain.key")), false)
    }

    /// What a deletion is answered with, of the administrator or of who has no more than the rules as they are shipped give.
    pub async fn delete(&self, path: &str, plainly: bool) -> u16 {
        let settings = if plainly { self.http("", &self.folder.join("plain.pem"), &self.folder.join("plain.key")) } else { self.admin("") };
        HttpClient::new(&settings).unwrap().send(Method::DELETE, path, &[("accept", "*/*")], Bytes::new()).await.unwrap().status
    }

    fn identified(&self, name: &str, certificate: &str, key: &str) -> HttpSettings {
        use std::os::unix::fs::OpenOptionsExt;
        let (certificate_file, key_file) = (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")));
        std::fs::write(&certificate_file, certificate).unwrap();
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&key_file).unwrap();
        file.write_all(key.as_bytes()).unwrap();
        self.http("", &certificate_file, &key_file)
    }

    /// A client that speaks as the administrator.
    pub fn client(&self) -> HttpClient {
        HttpClient::new(&self.admin("")).unwrap()
    }

    /// What the server answers its administrator.
    pub async fn ask(&self, method: Method, path: &str, body: &'static str) -> Answer {
        let client = self.client();
        let headers = [("accept", "*/*"), ("content-type", "application/json")];
        client.send(method, path, &headers, Bytes::from_static(body.as_bytes())).await.unwrap()
    }

    pub async fn state(&self, name: &str) -> Option<String> {
        let answer = self.ask(Method::GET, &format!("/puppet-ca/v1/certificate_status/{name}"), "").await;
        if answer.status == 404 {
            return None;
        }
        Some(answer.json().unwrap()["state"].as_str().unwrap().to_owned())
    }

    pub async fn desire(&self, name: &str, state: &str) {
        let body: &'static str = format!(r#"{{"desired_state":"{state}"}}"#).leak();
        let answer = self.ask(Method::PUT, &format!("/puppet-ca/v1/certificate_status/{name}"), body).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// Submits a node's request, as anybody may.
    pub async fn submit(&self, node: &Node) {
        let client = HttpClient::new(&HttpSettings { identity: None, ..self.admin("") }).unwrap();
        let path = format!("/puppet-ca/v1/certificate_request/{}", node.name);
        let answer = client.send(Method::PUT, &path, &[("content-type", "text/plain")], node.request.clone().into()).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// How many certificates the authority ever made for a name, by its own inventory.
    pub fn issued(&self, name: &str) -> usize {
        let inventory = std::fs::read_to_string(self.folder.join("ca/inventory.txt")).unwrap();
        inventory.lines().filter(|line| line.ends_with(&format!("/CN={name}"))).count()
    }

    /// How many certificates of a name are on the authority's list.
    pub async fn revoked(&self, name: &str) -> usize {
        let answer = self.ask(Method::GET, "/puppet-ca/v1/certificate_revocation_list/ca", "").await;
        let lists = pem::parse_many(&answer.body).unwrap();
        let serials: Vec<u64> = lists
            .iter()
            .flat_map(|list| {
                let (_, list) = CertificateRevocationList::from_der(list.contents()).unwrap();
                list.iter_revoked_certificates()
                    .map(|one| one.raw_serial().iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
                    .collect::<Vec<_>>()
            })
            .collect();
        let inventory = std::fs::read_to_string(self.folder.join("ca/inventory.txt")).unwrap();
        let of = inventory.lines().filter(|line| line.ends_with(&format!("/CN={name}")));
        let of = of.map(|line| u64::from_str_radix(line.split(' ').next().unwrap().trim_start_matches("0x"), 16).unwrap());
        of.filter(|serial| serials.contains(serial)).count()
    }

    /// Where the authority keeps the request that is pending under a name.
    pub fn pending_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("ca/requests/{name}.pem"))
    }

    /// The certificate that stands under a name.
    pub async fn certificate(&self, name: &str) -> String {
        let answer = self.ask(Method::GET, &format!("/puppet-ca/v1/certificate/{name}"), "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text().into_owned()
    }

    /// Whether a certificate comes from the authority, by OpenSSL's judgement.
    pub fn verifies(&self, certificate: &str) -> bool {
        let mut openssl = Command::new("openssl")
            .args(["verify", "-CAfile"])
            .arg(self.folder.join("ca.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        openssl.stdin.take().unwrap().write_all(certificate.as_bytes()).unwrap();
        openssl.wait().unwrap().success()
    }

    /// Whether the authority's list of revoked certificates has a certificate.
    pub async fn revokes(&self, certificate: &str) -> bool {
        let answer = self.ask(Method::GET, "/puppet-ca/v1/certificate_revocation_list/ca", "").await;
        let der = pem::parse(certificate).unwrap().into_contents();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        pem::parse_many(&answer.body).unwrap().iter().any(|list| {
            let (_, list) = CertificateRevocationList::from_der(list.contents()).unwrap();
            list.issuer() == certificate.issuer()
                && list.iter_revoked_certificates().any(|revoked| revoked.raw_serial() == certificate.raw_serial())
        })
    }

    /// Whether the server serves a node its own data, by the certificate it shows.
    pub async fn lets_in(&self, node: &Node, certificate: &str, name: &str) -> bool {
        let client = HttpClient::new(&self.identified(&node.name, certificate, &node.private_key())).unwrap();
        let path = format!("/puppet/v3/node/{name}?environment=production");
        let answer = client.send(Method::GET, &path, &[("accept", "application/json")], Bytes::new()).await.unwrap();
        assert!([200, 403].contains(&answer.status), "{answer:?}");
        answer.status == 200
    }

    /// Whether the server takes a connection with a node's certificate.
    pub async fn takes(&self, node: &Node, certificate: &str) -> bool {
        let client = HttpClient::new(&self.identified(&node.name, certificate, &node.private_key())).unwrap();
        client.send(Method::GET, "/status/v1/simple", &[], Bytes::new()).await.is_ok()
    }

    pub async fn stop(&self) {
        self.script("stop").await;
    }

    pub async fn start(&self) {
        self.script("start").await;
    }

    async fn script(&self, what: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/puppetserver/server");
        let status = tokio::process::Command::new(script).arg(what).arg(&self.folder).status().await.unwrap();
        assert!(status.success(), "server {what}");
    }
}

fn made(http: HttpSettings, replace_existing: bool) -> PuppetCa {
    PuppetCa::new(&PuppetCaSettings { http, call_timeout: Duration::from_secs(180), replace_existing }).unwrap().with_clock(in_an_hour)
}

/// The clock of the registrars here, so that there can be launches that began after what was signed just now.
pub fn in_an_hour() -> Timestamp {
    Timestamp::now() + Duration::from_secs(3600)
}

/// The public key of a certificate (SubjectPublicKeyInfo in DER).
pub fn key_of(certificate: &str) -> Vec<u8> {
    let der = pem::parse(certificate).unwrap().into_contents();
    X509Certificate::from_der(&der).unwrap().1.tbs_certificate.subject_pki.raw.to_vec()
}

/// A node with a key of its own, and a request for it.
pub struct Node {
    name: String,
    key: Arc<KeyPair>,
    request: String,
}

impl Node {
    pub fn named(name: &str) -> Self {
        Self::new(name, KeyPair::generate().unwrap().into(), Vec::new())
    }

    /// The same node and key, with a request that has this extension as well: an object identifier, and a text in a form of ASN.1's.
    pub fn with_extension(&self, oid: &[u64], form: u8, text: &str) -> Self {
        let value = [&[form, text.len().try_into().unwrap()], text.as_bytes()].concat();
        let extension = CustomExtension::from_oid_content(oid, value);
        Self::requesting(&self.name, Arc::clone(&self.key), |params| params.custom_extensions.push(extension))
    }

    pub fn rsa(name: &str) -> Self {
        Self::new(name, KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap().into(), Vec::new())
    }

    pub fn with_alternative_name(name: &str, other: &str) -> Self {
        Self::new(name, KeyPair::generate().unwrap().into(), vec![other.to_owned()])
    }

    /// The same node and key, with a request of other bytes.
    pub fn with_another_request(&self) -> Self {
        Self::new(&self.name, Arc::clone(&self.key), vec![self.name.clone()])
    }

    fn new(name: &str, key: Arc<KeyPair>, alternative_names: Vec<String>) -> Self {
        let names = CertificateParams::new(alternative_names).unwrap().subject_alt_names;
        Self::requesting(name, key, |params| params.subject_alt_names = names)
    }

    fn requesting(name: &str, key: Arc<KeyPair>, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let request = params.serialize_request(&*key).unwrap().pem().unwrap();
        Self { name: name.to_owned(), key, request }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its certificate request in PEM.
    pub fn request(&self) -> &str {
        &self.request
    }

    pub fn material(&self) -> KeyMaterial {
        KeyMaterial::new(self.request.clone().into())
    }

    pub fn private_key(&self) -> String {
        self.key.serialize_pem()
    }

    pub fn public_key(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    /// The order of a launch that began after everything that was signed.
    pub fn order(&self) -> NodeOrder {
        let action = LifecycleAction {
            transition: Transition::Launching,
            instance: InstanceId::new("i-0a1b2c3d").unwrap(),
            group: GroupName::new("web").unwrap(),
            hook: HookName::new("enrol").unwrap(),
            token: LifecycleActionToken::new("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap(),
            account: AccountId::new("123456789012").unwrap(),
            region: None,
            time_ms: Some((in_an_hour().as_millisecond() - 60_000).try_into().unwrap()),
            origin: None,
            destination: None,
            metadata: None,
            envelope: Envelope::Direct,
        };
        NodeOrder { node: NodeName::new(&self.name).unwrap(), action: Arc::new(action), metadata: None }
    }

    /// The order of a launch that began now.
    pub fn launch(&self) -> NodeOrder {
        let mut order = self.order();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Arc::get_mut(&mut order.action).unwrap().time_ms = Some(now.as_millis().try_into().unwrap());
        order
    }
}
