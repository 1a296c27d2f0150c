//! What a real server does not show on demand: answers in an order of the test's own. The rest is tried against a real server.

mod compared;
mod crashes;
mod leaving;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::core::samples;
use crate::event::Transition;
use crate::names::ServerUrl;
use crate::retry::Class;

const NODE: &str = "i-0a1b2c3d";

/// A server that gives the answers it was given, and keeps what it was asked.
struct Stub {
    ca: PuppetCa,
    asked: Arc<Mutex<Vec<String>>>,
}

type Reply = (u16, &'static str, String);

impl Stub {
    async fn serve(replace_existing: bool, replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::slow(replace_existing, Duration::ZERO, Duration::from_secs(5), replies).await
    }

    /// One that takes its time for each answer, asked by who does not wait longer than this for one.
    async fn slow(replace_existing: bool, takes: Duration, patience: Duration, replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = ServerUrl::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let (asked, replies) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>())));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, replies) = (Arc::clone(&log), Arc::clone(&replies));
                tokio::spawn(async move { answer(stream, &log, &replies, takes).await });
            }
        });
        Self { ca: at(url, patience, replace_existing), asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// An authority at an address.
fn at(url: ServerUrl, patience: Duration, replace_existing: bool) -> PuppetCa {
    let http = HttpSettings {
        url,
        authorities: None,
        identity: None,
        connect_timeout: Duration::from_secs(3),
        attempt_timeout: patience,
        allow_plain_http: false,
        max_answer: HttpSettings::MAX_ANSWER,
    };
    PuppetCa::new(&PuppetCaSettings { http, call_timeout: Duration::from_secs(10), replace_existing }).unwrap()
}

/// Method and path of the next request, without where the interface begins, and its body.
async fn next_request(stream: &mut TcpStream) -> Option<(String, String)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(0, |n| n.trim().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let mut words = head.split(' ');
    let asked = format!("{} {}", words.next().unwrap().to_uppercase(), words.next().unwrap().replace("/puppet-ca/v1/", ""));
    Some((asked, String::from_utf8(body).unwrap()))
}

async fn send(stream: &mut TcpStream, (status, media_type, body): Reply) {
    let text = format!("HTTP/1.1 {status} X\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // Who asked may have lost its patience.
    let _ = stream.write_all(text.as_bytes()).await;
}

async fn answer(mut stream: TcpStream, log: &Mutex<Vec<String>>, replies: &Mutex<VecDeque<Reply>>, takes: Duration) {
    while let Some((asked, body)) = next_request(&mut stream).await {
        let short = if body.starts_with('{') { format!("{asked} {body}") } else { asked };
        log.lock().unwrap().push(short);
        let reply = replies.lock().unwrap().pop_front().expect("the server is asked no more than it has answers for");
        tokio::time::sleep(takes).await;
        send(&mut stream, reply).await;
    }
}

fn state(state: &str) -> Reply {
    (200, "*/*;charset=UTF-8", format!(r#"{{"name":"{NODE}","state":"{state}"}}"#))
}

fn text(status: u16, body: &str) -> Reply {
    (status, "text/plain;charset=utf-8", body.to_owned())
}

fn absent() -> Reply {
    (404, ";charset=UTF-8", "Resource not found.".to_owned())
}

fn page(status: u16) -> Reply {
    (status, "text/html", "<html>an error</html>".to_owned())
}

/// A key, and a request and a certificate for it.
#[derive(Clone)]
struct Node {
    request: String,
    certificate: String,
}

impl Node {
    /// One whose certificate was made long ago.
    fn new() -> Self {
        let params = named(NODE);
        Self::with(&KeyPair::generate().unwrap(), &params, &params)
    }

    /// One whose certificate was signed so many seconds ago, by an authority that dates it back as Puppet's do.
    fn signed(seconds_ago: i64) -> Self {
        let params = named(NODE);
        Self::with(&KeyPair::generate().unwrap(), &params, &dated(params.clone(), seconds_ago))
    }

    fn with(key: &KeyPair, requested: &CertificateParams, signed: &CertificateParams) -> Self {
        let request = requested.serialize_request(key).unwrap().pem().unwrap();
        Self { request, certificate: signed.self_signed(key).unwrap().pem() }
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A certificate says of itself that it began a day before it was signed.
fn dated(mut params: CertificateParams, seconds_ago: i64) -> CertificateParams {
    let began = Timestamp::now().as_second() - seconds_ago - 24 * 3600;
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(began.try_into().unwrap());
    params
}

fn order() -> NodeOrder {
    NodeOrder { node: NodeName::new(NODE).unwrap(), action: Arc::new(samples::claim(Transition::Launching, 1)), metadata: None }
}

/// The same of a launch that began so many seconds ago.
fn begun(seconds_ago: i64) -> NodeOrder {
    let mut order = order();
    Arc::get_mut(&mut order.action).unwrap().time_ms = Some((Timestamp::now().as_millisecond() - seconds_ago * 1000).try_into().unwrap());
    order
}

async fn associate(stub: &Stub, node: &Node) -> Result<Registration, Failure> {
    stub.ca.associate(&order(), &KeyMaterial::new(node.request.clone().into())).await
}

#[tokio::test]
async fn a_request_that_was_changed_between_the_look_and_the_signature_is_revoked_and_wakes_somebody() {
    let (own, strangers) = (Node::new(), Node::new());
    let stub = Stub::serve(
        false,
        [state("requested"), text(200, &own.request), text(204, ""), state("signed"), text(200, &strangers.certificate), text(204, "")],
    )
    .await;
    let failure = associate(&stub, &own).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, Failure::FOREIGN_CERTIFICATE));
    assert!(failure.is_security() && !failure.leaves_anothers());
    // It stands there still, so that whoever comes after a crash finds it.
    assert_eq!(stub.asked()[5], format!(r#"PUT certificate_status/{NODE} {{"desired_state":"revoked"}}"#));
}

/// Anybody may submit one that the server reads and we do not.
#[tokio::test]
async fn a_pending_request_that_cannot_be_read_is_a_strangers_and_stops_nobody_else() {
    let unread = || text(200, "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n");
    let stub = Stub::serve(false, [state("requested"), unread(), state("requested")]).await;
    let failure = associate(&stub, &Node::new()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, Failure::FOREIGN_REQUEST));
    assert!(failure.is_security() && failure.leaves_anothers());
    assert!(stub.asked().iter().all(|asked| asked.starts_with("GET")), "{:?}", stub.asked());

    let own = Node::new();
    let stub = Stub::serve(true, [state("requested"), unread(), text(204, ""), state("signed"), text(200, &own.certificate)]).await;
    assert!(matches!(associate(&stub, &own).await, Ok(Registration::Signed(_))));
    assert_eq!(stub.asked()[2], format!("DELETE certificate_request/{NODE}"));
}

/// Whatever is made of a request may be as long as that is.
#[tokio::test]
async fn a_request_or_a_certificate_that_is_too_long_to_be_kept_is_a_strangers_and_stops_nobody_else() {
    let own = Node::new();
    let long = |body: &str| text(200, &format!("{body}{}", "\n".repeat(100_000)));
    let stub = Stub::serve(false, [state("requested"), long(&own.request), state("requested")]).await;
    let failure = associate(&stub, &own).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, Failure::FOREIGN_REQUEST));
    for status in ["signed", "revoked"] {
        let stub = Stub::serve(false, [state(status), long(&own.certificate)]).await;
        let failure = associate(&stub, &own).await.unwrap_err();
        assert_eq!(failure.class, Class::Final, "{failure}");
        assert!(stub.asked().iter().all(|asked| asked.starts_with("GET")), "{:?}", stub.asked());
    }
    let after = [absent(), text(200, ""), state("signed"), text(200, &own.certificate)];
    let before = [state("signed"), long(&own.certificate), text(204, ""), state("revoked"), text(204, "")];
    let stub = Stub::serve(true, before.into_iter().chain(after)).await;
    assert!(matches!(associate(&stub, &own).await, Ok(Registration::Signed(_))), "{:?}", stub.asked());
}

/// It is no stranger's doing.
#[tokio::test]
async fn what_stands_for_a_pending_request_and_is_none_is_the_servers_fault() {
    for replace_existing in [false, true] {
        for odd in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a page of some proxy's"] {
            let stub = Stub::serve(replace_existing, [state("requested"), text(200, odd)]).await;
            let failure = associate(&stub, &Node::new()).await.unwrap_err();
            assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "not_a_ca"), "{odd}");
            assert_eq!(stub.asked().len(), 2, "and nothing was taken away for it");
        }
    }
}

#[tokio::test]
async fn a_list_may_be_long_and_take_long() {
    let entry = |at: usize| format!(r#"{{"name":"i-{at:017x}","state":"signed","fingerprint":"{}"}}"#, "AB:".repeat(270));
    let list = (200, "application/json", format!("[{}]", (0..6000).map(entry).collect::<Vec<_>>().join(",")));
    assert!(list.2.len() > HttpSettings::MAX_ANSWER);
    // What may not take so long is one request of an order.
    let (takes, patience) = (Duration::from_millis(300), Duration::from_millis(100));
    let stub = Stub::slow(false, takes, patience, [list]).await;
    let Ok(NodeList::Page { names, next: None }) = stub.ca.list(None).await else { panic!("a list") };
    assert_eq!(names.len(), 6000);
    let stub = Stub::slow(false, takes, patience, [absent()]).await;
    assert_eq!(associate(&stub, &Node::new()).await.unwrap_err().code, "timeout");
}

/// Deleting what stands under a name takes away a certificate too, and does not revoke it.
#[tokio::test]
async fn a_request_that_another_worker_signed_between_two_looks_is_not_taken_for_a_strangers() {
    let own = Node::new();
    let replies = [state("requested"), absent(), state("signed"), text(200, &own.certificate)];
    let stub = Stub::serve(true, replies).await;
    assert!(matches!(associate(&stub, &own).await, Ok(Registration::Signed(_))));
    assert!(stub.asked().iter().all(|asked| asked.starts_with("GET")), "{:?}", stub.asked());
}

#[tokio::test]
async fn a_certificate_that_another_worker_put_in_a_strangers_place_is_not_revoked() {
    let (own, strangers) = (Node::new(), Node::new());
    // The stranger's is revoked already when this worker comes to it, and the next look shows what the other worker made since.
    let replies = [
        state("signed"),
        text(200, &strangers.certificate),
        text(409, "Cannot revoke certificate for host i-0a1b2c3d without a signed certificate"),
        state("requested"),
        state("signed"),
        text(200, &own.certificate),
    ];
    let stub = Stub::serve(true, replies).await;
    assert!(matches!(associate(&stub, &own).await, Ok(Registration::Signed(_))));
    assert_eq!(stub.asked().iter().filter(|asked| !asked.starts_with("GET")).count(), 1, "{:?}", stub.asked());
}

#[tokio::test]
async fn a_signature_at_the_same_moment_as_another_workers_ends_with_the_one_certificate() {
    let own = Node::new();
    let tripped = text(500, "Internal Server Error: java.io.FileNotFoundException");
    let replies = [state("requested"), text(200, &own.request), tripped, state("signed"), state("signed"), text(200, &own.certificate)];
    let stub = Stub::serve(false, replies).await;
    assert!(matches!(associate(&stub, &own).await, Ok(Registration::Signed(_))));
}

#[tokio::test]
async fn a_request_is_submitted_signed_and_compared() {
    let own = Node::new();
    let stub = Stub::serve(
        false,
        [absent(), text(200, ""), state("requested"), text(200, &own.request), text(204, ""), state("signed"), text(200, &own.certificate)],
    )
    .await;
    assert!(
        matches!(associate(&stub, &own).await, Ok(Registration::Signed(certificate)) if certificate.0.starts_with("-----BEGIN CERTIFICATE"))
    );
    let expected = [
        format!("GET certificate_status/{NODE}"),
        format!("PUT certificate_request/{NODE}"),
        format!("GET certificate_status/{NODE}"),
        format!("GET certificate_request/{NODE}"),
        format!(r#"PUT certificate_status/{NODE} {{"desired_state":"signed"}}"#),
        format!("GET certificate_status/{NODE}"),
        format!("GET certificate/{NODE}"),
    ];
    assert_eq!(stub.asked(), expected);
}

#[tokio::test]
async fn a_server_that_signs_by_itself_is_no_different() {
    let own = Node::new();
    let stub = Stub::serve(false, [absent(), text(200, ""), state("signed"), text(200, &own.certificate)]).await;
    assert!(matches!(associate(&stub, &own).await, Ok(Registration::Signed(_))));
}

#[tokio::test]
async fn a_name_that_changes_all_the_time_is_come_back_to() {
    let own = Node::new();
    // Each time it is looked at the request is gone, and each time it is submitted somebody was faster.
    let mut replies = Vec::new();
    for _ in 0..LOOKS {
        replies.extend([absent(), text(400, "node already has a requested certificate"), state("requested")]);
    }
    let stub = Stub::serve(false, replies).await;
    assert_eq!(associate(&stub, &own).await.unwrap_err().class, Class::Transient);
}

#[tokio::test]
async fn each_answer_has_its_class() {
    let own = Node::new();
    let running = || text(200, "running");
    for (replies, class) in [
        (vec![page(502)], Class::NotReady),
        (vec![text(503, "starting up")], Class::NotReady),
        (vec![page(504)], Class::NotReady),
        (vec![text(429, "")], Class::Throttled),
        (vec![text(500, "no such file"), running()], Class::Transient),
        (vec![text(500, "no such file"), text(503, "starting")], Class::NotReady),
        (vec![text(403, "Forbidden request"), running()], Class::RouteFault),
        (vec![text(401, ""), running()], Class::RouteFault),
        (vec![page(302), running()], Class::RouteFault),
        (vec![page(404), running()], Class::RouteFault),
        (vec![page(404), text(503, "starting")], Class::NotReady),
        (vec![page(404), page(404)], Class::RouteFault),
        // What nginx before the authority says of a certificate of ours that is missing or has expired.
        (vec![page(400), page(400)], Class::RouteFault),
        (vec![absent(), page(400), page(400)], Class::RouteFault),
        (vec![state("requested"), text(200, &own.request), page(400), page(400)], Class::RouteFault),
        (vec![state("requested"), text(200, &own.request), page(409), running()], Class::RouteFault),
        // A look is the same for every node.
        (vec![text(400, "Bad Request"), running()], Class::RouteFault),
        (vec![text(418, ""), text(503, "starting")], Class::NotReady),
        (vec![state("requested"), text(422, "Unprocessable"), running()], Class::RouteFault),
        (vec![page(200)], Class::RouteFault),
        (vec![(200, "application/json", r#"{"name":"another","state":"signed"}"#.to_owned())], Class::RouteFault),
        (vec![(200, "application/json", format!(r#"{{"name":"{NODE}","state":"odd"}}"#))], Class::RouteFault),
        (vec![absent(), text(400, "Certificate names must be lower case."), absent()], Class::Final),
        (vec![absent(), text(413, "too long")], Class::Final),
        (vec![state("requested"), text(200, &own.request), text(400, "no such extension"), text(204, "")], Class::Final),
        (vec![state("requested"), text(200, &own.request), text(409, "not allowed"), state("requested"), text(204, "")], Class::Final),
        (vec![state("signed"), text(200, "no certificate")], Class::RouteFault),
    ] {
        let shown = format!("{replies:?}");
        let stub = Stub::serve(false, replies).await;
        let failure = associate(&stub, &own).await.unwrap_err();
        assert_eq!(failure.class, class, "{failure} of {shown}");
    }
}

#[tokio::test]
async fn health_is_the_servers_own_word_and_the_right_to_ask() {
    for (replies, expected) in [
        (vec![text(200, "running\n"), absent()], Ok(Health::Ready)),
        (vec![text(503, "starting")], Ok(Health::NotReady("starting".into()))),
        (vec![text(503, "error")], Ok(Health::NotReady("error".into()))),
        (vec![text(200, "unknown")], Ok(Health::NotReady("unknown".into()))),
        (vec![page(503)], Err(Class::NotReady)),
        (vec![page(200)], Err(Class::RouteFault)),
        (vec![page(404)], Err(Class::RouteFault)),
        (vec![text(200, "running"), text(403, "Forbidden"), text(200, "running")], Err(Class::RouteFault)),
    ] {
        let shown = format!("{replies:?}");
        let stub = Stub::serve(false, replies).await;
        assert_eq!(stub.ca.health().await.map_err(|failure| failure.class), expected, "{shown}");
    }
}

#[tokio::test]
async fn that_nothing_is_there_is_believed_only_of_an_authority() {
    let authority = text(200, &Node::new().certificate);
    let stub = Stub::serve(false, [absent(), authority]).await;
    assert_eq!(stub.ca.disassociate(&order()).await, Ok(Registration::Done));
    let stub = Stub::serve(false, [absent(), text(404, "not here"), text(200, "running")]).await;
    assert_eq!(stub.ca.disassociate(&order()).await.unwrap_err().class, Class::RouteFault);
}

#[tokio::test]
async fn what_stands_under_the_name_is_taken_away_for_the_node_where_the_route_says_so() {
    let (own, strangers) = (Node::new(), Node::new());
    for before in [
        vec![state("requested"), text(200, &strangers.request), text(204, "")],
        vec![state("signed"), text(200, &strangers.certificate), text(204, ""), state("revoked"), text(204, "")],
        vec![state("revoked"), text(204, "")],
    ] {
        let after = [
            absent(),
            text(200, ""),
            state("requested"),
            text(200, &own.request),
            text(204, ""),
            state("signed"),
            text(200, &own.certificate),
        ];
        let stub = Stub::serve(true, before.into_iter().chain(after)).await;
        assert!(matches!(associate(&stub, &own).await, Ok(Registration::Signed(_))), "{:?}", stub.asked());
    }
}
