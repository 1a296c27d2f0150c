//! A stranger's request that is signed in the place of the node's, and whatever can go wrong after it: each request fails, its answer is
//! lost, or the worker dies at it, and the order is given again.

use super::*;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is refused by a server in trouble.
    Refused,
    /// It is carried out, and answered with 500.
    Answered500,
    /// It is carried out, and the connection breaks.
    Lost,
    /// The worker is gone before it is sent: nothing comes of this request or those after it.
    DiesBefore,
    /// The worker is gone once it was carried out.
    DiesAfter,
}

/// An authority that keeps what it is given, and signs a stranger's request where the node's was to be.
struct Authority {
    node: Node,
    stranger: Node,
    request: Option<String>,
    certificate: Option<(String, bool)>,
    /// Every certificate that was revoked, and every one that was deleted.
    revoked: Vec<String>,
    deleted: Vec<String>,
    /// How often something was signed: the first time it is the stranger's.
    signatures: usize,
    asked: usize,
    fault: Option<(usize, Fault)>,
    dead: bool,
}

impl Authority {
    fn state(&self) -> Reply {
        match (&self.certificate, &self.request) {
            (Some((_, revoked)), _) => state(if *revoked { "revoked" } else { "signed" }),
            (None, Some(_)) => state("requested"),
            (None, None) => absent(),
        }
    }

    fn answer(&mut self, asked: &str, body: String) -> Reply {
        let conflict = || text(409, "there is nothing to do that with");
        match asked.split_once('/').map_or(asked, |(what, _)| what) {
            "GET certificate_status" => self.state(),
            "PUT certificate_request" if self.request.is_some() || self.certificate.is_some() => text(400, "it has one"),
            "PUT certificate_request" => {
                self.request = Some(body);
                text(200, "")
            }
            "GET certificate_request" => self.request.as_ref().map_or_else(absent, |request| text(200, request)),
            "GET certificate" => self.certificate.as_ref().map_or_else(absent, |(certificate, _)| text(200, certificate)),
            "PUT certificate_status" if body.contains("signed") => {
                let Some(_) = self.request.take() else { return conflict() };
                self.signatures += 1;
                let signed = if self.signatures == 1 { &self.stranger } else { &self.node };
                self.certificate = Some((signed.certificate.clone(), false));
                text(204, "")
            }
            "PUT certificate_status" => match &mut self.certificate {
                Some((certificate, revoked)) => {
                    *revoked = true;
                    self.revoked.push(certificate.clone());
                    text(204, "")
                }
                None => conflict(),
            },
            "PUT clean" => {
                if let Some((certificate, _)) = self.certificate.take() {
                    self.revoked.push(certificate.clone());
                    self.deleted.push(certificate);
                }
                text(200, "cleaned")
            }
            "GET " => text(200, "running"), // its status, which stands elsewhere
            other => panic!("{other}"),
        }
    }

    /// The answer to the next request; none where there is none.
    fn next(&mut self, asked: &str, body: String) -> Option<Reply> {
        let at = self.asked;
        self.asked += 1;
        let fault = self.fault.filter(|(when, _)| *when == at).map(|(_, fault)| fault);
        self.dead |= fault == Some(Fault::DiesBefore);
        if self.dead {
            return None;
        }
        if fault == Some(Fault::Refused) {
            return Some(text(500, "no such file"));
        }
        let reply = self.answer(asked, body);
        self.dead |= fault == Some(Fault::DiesAfter);
        match fault {
            Some(Fault::Answered500) => Some(text(500, "Internal Server Error")),
            Some(Fault::Lost | Fault::DiesAfter) => None,
            _ => Some(reply),
        }
    }
}

async fn serve(authority: &Arc<Mutex<Authority>>) -> ServerUrl {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = ServerUrl::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let authority = Arc::clone(authority);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let authority = Arc::clone(&authority);
            tokio::spawn(async move {
                while let Some((asked, body)) = next_request(&mut stream).await {
                    let Some(reply) = authority.lock().unwrap().next(&asked, body) else { return };
                    send(&mut stream, reply).await;
                }
            });
        }
    });
    url
}

/// Gives the order until it is decided: to the same worker, or, where that has died, to one that knows nothing of those before it.
async fn decided(authority: &Arc<Mutex<Authority>>, url: &ServerUrl, replace_existing: bool) -> Result<Registration, Failure> {
    let (order, node) = (begun(20), authority.lock().unwrap().node.clone());
    let mut worker = at(url.clone(), Duration::from_secs(5), replace_existing);
    for _ in 0..4 {
        let key = KeyMaterial::new(node.request.clone().into());
        let ended = worker.associate(&order, &key).await;
        let died = std::mem::take(&mut authority.lock().unwrap().dead);
        if died {
            worker = at(url.clone(), Duration::from_secs(5), replace_existing);
        }
        match ended {
            Err(failure) if died || failure.class != Class::Final => assert!(failure.class != Class::RouteFault, "{failure}"),
            ended => return ended,
        }
    }
    panic!("not decided after four runs");
}

async fn each_fault(replace_existing: bool, check: impl Fn(&str, bool, Result<Registration, Failure>, &Authority)) {
    // From a stranger's certificate that is made in the place of the node's, by requests two and after.
    let node = Node::signed(0);
    let stranger = Node::signed(0);
    for fault in [Fault::Refused, Fault::Answered500, Fault::Lost, Fault::DiesBefore, Fault::DiesAfter] {
        for at in 0.. {
            let authority = Authority {
                request: Some(node.request.clone()),
                certificate: None,
                revoked: Vec::new(),
                deleted: Vec::new(),
                signatures: 0,
                asked: 0,
                fault: Some((at, fault)),
                dead: false,
                node: node.clone(),
                stranger: stranger.clone(),
            };
            let authority = Arc::new(Mutex::new(authority));
            let url = serve(&authority).await;
            let ended = decided(&authority, &url, replace_existing).await;
            let authority = authority.lock().unwrap();
            let shown = format!("{fault:?} at request {at}: {ended:?}");
            let died = authority.asked > at && matches!(fault, Fault::DiesBefore | Fault::DiesAfter);
            check(&shown, died, ended, &authority);
            assert!(authority.revoked.contains(&stranger.certificate), "{shown}: the stranger's is valid");
            assert!(!authority.revoked.contains(&node.certificate), "{shown}");
            if authority.asked <= at {
                assert!(at >= 5, "the order has requests enough to fail");
                break;
            }
        }
    }
}

#[tokio::test]
async fn whatever_fails_after_a_stranger_was_signed_his_certificate_is_revoked_and_somebody_is_woken() {
    each_fault(false, |shown, _, ended, authority| {
        let failure = ended.expect_err(shown);
        assert_eq!((failure.class, failure.code.as_str()), (Class::Final, Failure::FOREIGN_CERTIFICATE), "{shown}");
        assert!(failure.is_security() && authority.deleted.is_empty(), "{shown}");
    })
    .await;
}

/// On a route that replaces what is there, a worker that comes after a crash cannot tell a stranger's certificate from one of the node's
/// own, and heals both. One that lives knows what it has ordered.
#[tokio::test]
async fn where_replacing_is_wanted_a_strangers_certificate_outlives_nothing_either_and_somebody_is_woken_unless_the_worker_died() {
    each_fault(true, |shown, died, ended, authority| match ended {
        Ok(_) if !died => panic!("{shown}: nobody is woken"),
        Ok(_) => assert_eq!(authority.certificate, Some((authority.node.certificate.clone(), false)), "{shown}"),
        Err(failure) => assert_eq!(failure.code, Failure::FOREIGN_CERTIFICATE, "{shown}"),
    })
    .await;
}

#[tokio::test]
async fn what_was_signed_before_the_launch_is_somebody_elses_and_what_was_signed_since_is_contested() {
    const HOUR: i64 = 3600;
    let orders = |launched: i64| begun(launched);
    for (order, signed, contested) in [
        (orders(60), 10, true),
        (orders(60), 60, true),
        // Clocks are a little apart.
        (orders(60), 200, true),
        (orders(60), HOUR, false),
        (orders(20 * HOUR), 10 * HOUR, true),
        (orders(20 * HOUR), 21 * HOUR, false),
        // Nobody waits at a hook since last year, whatever a message says.
        (order(), 10, true),
        (order(), 72 * HOUR, false),
    ] {
        let (own, strangers) = (Node::new(), Node::signed(signed));
        let replies = [state("signed"), text(200, &strangers.certificate), text(204, "")];
        let stub = Stub::serve(false, replies).await;
        let failure = stub.ca.associate(&order, &KeyMaterial::new(own.request.clone().into())).await.unwrap_err();
        let shown = format!("signed {signed} s ago, launched {:?}", order.action.time_ms);
        let code = if contested { Failure::FOREIGN_CERTIFICATE } else { Failure::OTHER_KEY };
        assert_eq!(failure.code, code, "{shown}");
        assert_eq!(stub.asked().len(), if contested { 3 } else { 2 }, "{shown}: what is another's is left alone");

        // And where a run before this one has revoked it already.
        let stub = Stub::serve(false, [state("revoked"), text(200, &strangers.certificate)]).await;
        let failure = stub.ca.associate(&order, &KeyMaterial::new(own.request.into())).await.unwrap_err();
        assert_eq!(failure.code, code, "{shown}, and revoked");
    }
}

#[tokio::test]
async fn an_order_that_does_not_say_when_its_launch_began_or_says_what_is_to_come_hides_no_strangers_certificate() {
    let mut timeless = begun(0);
    Arc::get_mut(&mut timeless.action).unwrap().time_ms = None;
    for (order, signed, contested) in
        [(&timeless, 10, true), (&timeless, 72 * 3600, false), (&begun(-7200), 10, true), (&begun(-7200), 7200, false)]
    {
        let stub = Stub::serve(false, [state("signed"), text(200, &Node::signed(signed).certificate), text(204, "")]).await;
        let failure = stub.ca.associate(order, &KeyMaterial::new(Node::new().request.into())).await.unwrap_err();
        let shown = format!("signed {signed} s ago, launched {:?}: {failure}", order.action.time_ms);
        assert_eq!(failure.code, if contested { Failure::FOREIGN_CERTIFICATE } else { Failure::OTHER_KEY }, "{shown}");
        assert_eq!(stub.asked().len(), if contested { 3 } else { 2 }, "{shown}");
    }
}
