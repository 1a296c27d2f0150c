//! A server over TLS that stands where AWS is expected, and notes what it is told.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Whoever issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }
}

/// Refuses every request, after it has noted it.
pub struct Server {
    port: u16,
    handshakes: Arc<AtomicUsize>,
    read: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    /// One with a certificate of this authority for that name, on a thread that ends with the test's process.
    pub fn start(authority: &Authority, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &authority.0).expect("a certificate");
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("there are such").with_no_client_auth();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config = Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).expect("they belong together"));

        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let server = Self { port, handshakes: Arc::default(), read: Arc::default() };
        let (handshakes, read) = (Arc::clone(&server.handshakes), Arc::clone(&server.read));
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (config, handshakes, read) = (Arc::clone(&config), Arc::clone(&handshakes), Arc::clone(&read));
                std::thread::spawn(move || serve(socket, config, &handshakes, &read));
            }
        });
        server
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// How many have begun to speak TLS, whether or not they went on.
    pub fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::SeqCst)
    }

    /// All that it could decrypt so far.
    pub fn read(&self) -> String {
        String::from_utf8_lossy(&self.read.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

fn serve(socket: TcpStream, config: Arc<ServerConfig>, handshakes: &AtomicUsize, read: &Mutex<Vec<u8>>) {
    let _ = socket.set_read_timeout(Some(Duration::from_secs(10)));
    let mut stream = StreamOwned::new(ServerConnection::new(config).expect("the configuration is good"), socket);
    let mut counted = [0; 1];
    // Nothing is a handshake before its first byte.
    if !matches!(stream.sock.peek(&mut counted), Ok(1..)) {
        return;
    }
    handshakes.fetch_add(1, Ordering::SeqCst);
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut part) {
        let mut all = read.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(&part[..length]);
        if all.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let _ = stream.flush();
}
