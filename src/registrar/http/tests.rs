use super::*;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn settings(url: &str) -> HttpSettings {
    HttpSettings {
        url: ServerUrl::new(url).unwrap(),
        authorities: None,
        identity: None,
        connect_timeout: Duration::from_secs(2),
        attempt_timeout: Duration::from_secs(5),
        allow_plain_http: false,
        max_answer: 100_000,
    }
}

async fn get(settings: &HttpSettings) -> Result<Answer, Failure> {
    HttpClient::new(settings).unwrap().send(Method::GET, "/x", &[("x-one", "1")], Bytes::new()).await
}

/// Answers every connection with these bytes, however often they are to be repeated, and counts connections.
async fn server(head: String, part: Vec<u8>, times: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let (head, part) = (head.clone(), part.clone());
            tokio::spawn(async move {
                read_head(&mut socket).await;
                let _ = socket.write_all(head.as_bytes()).await;
                for _ in 0..times {
                    if socket.write_all(&part).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (address, count)
}

async fn read_head(socket: &mut TcpStream) {
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    while !seen.windows(4).any(|end| end == b"\r\n\r\n") {
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => seen.extend_from_slice(&buffer[..read]),
        }
    }
}

#[tokio::test]
async fn any_status_is_an_answer_and_nothing_is_followed() {
    let head = "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-type: Application/JSON; charset=utf-8\r\ncontent-length: 2\r\n\r\n{}";
    let (address, connections) = server(head.into(), Vec::new(), 0).await;
    let answer = get(&settings(&format!("http://{address}"))).await.unwrap();
    assert_eq!((answer.status, answer.media_type.as_str()), (302, "application/json"));
    assert_eq!(answer.json(), Some(serde_json::json!({})));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    for head in
        ["HTTP/1.1 200 OK\r\ncontent-length: 4000000000\r\n\r\n".to_owned(), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned()]
    {
        let (address, _) = server(head, vec![b'x'; 65_536], 1_000_000).await;
        let failure = get(&settings(&format!("http://{address}"))).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "oversized_answer"), "{failure}");
    }
}

#[tokio::test]
async fn json_that_would_take_many_times_its_length_is_refused_as_an_answer_that_is_too_long() {
    let chain = format!("{}0{}", "{\"\":".repeat(100), "}".repeat(100));
    let head = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let nested = format!("[{chain}{}]", format!(",{chain}").repeat(100));
    let (address, _) = server(head(&nested), nested.into_bytes(), 1).await;
    let settings = settings(&format!("http://{address}"));
    let failure = get(&settings).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "oversized_answer"), "{failure}");
    let reads_types = HttpClient::new(&settings).unwrap().for_own_types();
    assert!(reads_types.send(Method::GET, "/x", &[], Bytes::new()).await.is_ok(), "nothing is made of it");

    let few = format!("[{chain}]");
    let page = format!(" <html>{}</html>", "{a:0}".repeat(10_000));
    for body in [few, page] {
        let (address, _) = server(head(&body), body.into_bytes(), 1).await;
        assert!(get(&self::settings(&format!("http://{address}"))).await.is_ok());
    }
}

#[tokio::test]
async fn what_answers_take_as_values_is_held_together_until_they_are_dropped() {
    let list = format!("[{}0]", "0,".repeat(4_500));
    let (address, _) = server(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", list.len()), list.into_bytes(), 1).await;
    let client = HttpClient::new(&settings(&format!("http://{address}"))).unwrap();
    let ask = |client: HttpClient| async move { client.send(Method::GET, "/x", &[], Bytes::new()).await };
    // Each takes 288,000 bytes, of which 64 KiB are free; there are 1,600,000.
    let mut held = Vec::new();
    let refused = loop {
        match ask(client.clone()).await {
            Ok(answer) => held.push(answer),
            Err(failure) => break failure,
        }
    };
    assert_eq!((refused.class, refused.code.as_str()), (Class::Transient, "too_much_at_once"), "{refused}");
    assert_eq!(held.len(), 7);
    assert!(ask(client.with_max_answer(100_000)).await.is_ok(), "lists have room of their own");
    assert!(ask(client.clone().for_own_types()).await.is_ok(), "nothing is made of it");
    held.pop();
    assert!(ask(client).await.is_ok());
}

/// In a Chef server's group each stands twice.
#[tokio::test]
async fn a_list_of_fifty_thousand_names_of_usual_length_is_read() {
    let names = (0..50_000).map(|n| format!("\"ip-10-0-{n:08}.compute.internal\"")).collect::<Vec<_>>().join(",");
    let group = format!("{{\"actors\":[{names}],\"clients\":[{names}]}}");
    let (address, _) = server(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", group.len()), group.into_bytes(), 1).await;
    let settings = HttpSettings { max_answer: HttpSettings::MAX_ANSWER, ..settings(&format!("http://{address}")) };
    assert_eq!(get(&settings).await.unwrap().json().unwrap()["clients"].as_array().unwrap().len(), 50_000);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let (address, _) = server("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n".into(), Vec::new(), 0).await;
    let failure = get(&settings(&format!("http://{address}"))).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "connection"), "cut off: {failure}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(&format!("http://{}", listener.local_addr().unwrap()));
    settings.attempt_timeout = Duration::from_millis(50);
    let failure = get(&settings).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "timeout"), "{failure}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_not_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let failure = get(&settings(&format!("http://{address}"))).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::NotReady, "unreachable"), "{failure}");
}

#[test]
fn plain_http_to_another_machine_takes_a_word() {
    let mut settings = settings("http://chef.example.com");
    assert!(matches!(HttpClient::new(&settings), Err(HttpError::Exposed(_))));
    settings.allow_plain_http = true;
    assert!(HttpClient::new(&settings).is_ok());
}

/// An authority, and what it issues for a name.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

/// Answers 200 over TLS, to those alone who show a certificate of `clients` where that is given.
async fn tls_server(authority: &Authority, name: &str, clients: Option<&Authority>) -> u16 {
    let (certificate, key) = authority.issue(name, ExtendedKeyUsagePurpose::ServerAuth);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let config = match clients {
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.certificate()).unwrap();
            config.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap())
        }
        None => config.with_no_client_auth(),
    };
    let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let config = Arc::clone(&config);
            tokio::spawn(async move { serve_tls(socket, config).await });
        }
    });
    port
}

/// The server's side of TLS by hand: rustls turns bytes into bytes, and no further crate is needed for a test.
async fn serve_tls(mut socket: TcpStream, config: Arc<rustls::ServerConfig>) {
    let mut tls = rustls::ServerConnection::new(config).unwrap();
    let mut buffer = [0; 16_384];
    let mut answered = false;
    loop {
        let mut out = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut out).unwrap();
        }
        if socket.write_all(&out).await.is_err() || answered {
            return;
        }
        let Ok(read @ 1..) = socket.read(&mut buffer).await else { return };
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            tls.read_tls(&mut rest).unwrap();
            if tls.process_new_packets().is_err() {
                // The alert that says why goes out.
                answered = true;
                break;
            }
        }
        let mut plain = Vec::new();
        let _ = std::io::Read::read_to_end(&mut tls.reader(), &mut plain);
        if plain.ends_with(b"\r\n\r\n") {
            std::io::Write::write_all(&mut tls.writer(), b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine").unwrap();
            answered = true;
        }
    }
}

#[tokio::test]
async fn only_a_certificate_of_the_named_authority_for_the_named_host_is_believed() {
    let (ours, other) = (Authority::new(), Authority::new());
    let port = tls_server(&ours, "localhost", None).await;
    let with = |url: String, authority: &Authority| HttpSettings { authorities: Some(vec![authority.certificate()]), ..settings(&url) };

    let answer = get(&with(format!("https://localhost:{port}"), &ours)).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"fine"[..]));
    for wrong in [
        with(format!("https://localhost:{port}"), &other),
        with(format!("https://127.0.0.1:{port}"), &ours),
        settings(&format!("https://localhost:{port}")),
    ] {
        // Without authorities of its own, a machine that has none cannot even make the client.
        let Ok(client) = HttpClient::new(&wrong) else { continue };
        let failure = client.send(Method::GET, "/", &[], Bytes::new()).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "tls"), "{failure}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let port = tls_server(&authority, "localhost", Some(&clients)).await;
    let mut settings = HttpSettings { authorities: Some(vec![authority.certificate()]), ..settings(&format!("https://localhost:{port}")) };
    let failure = get(&settings).await.unwrap_err();
    assert_eq!(failure.class, Class::RouteFault, "{failure}");

    let (certificate, key) = clients.issue("admin", ExtendedKeyUsagePurpose::ClientAuth);
    let write = |name: &str, text: String| -> PathBuf {
        let path = std::env::temp_dir().join(format!("enrolld-{}-identity-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::OpenOptionsExt::mode(std::fs::OpenOptions::new().create_new(true).write(true), 0o600)
            .open(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .unwrap();
        path
    };
    let (certificate, key) = (write("cert.pem", certificate.pem()), write("key.pem", key.serialize_pem()));
    settings.identity = Some(Identity::read(&certificate, &key).unwrap());
    assert_eq!(format!("{:?}", settings.identity), "Some(Identity(redacted))");
    assert_eq!(get(&settings).await.unwrap().status, 200);
    std::fs::remove_file(certificate).unwrap();
    std::fs::remove_file(key).unwrap();
}

#[tokio::test]
async fn what_does_not_speak_tls_is_a_fault_of_the_route() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let settings = HttpSettings {
        authorities: Some(vec![Authority::new().certificate()]),
        ..settings(&format!("https://localhost:{}", plain.port()))
    };
    let failure = get(&settings).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "tls"), "{failure}");
}
