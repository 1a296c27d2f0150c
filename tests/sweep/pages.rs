//! A server that fails in the middle of its list.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use enrolld::aws::{Aws, AwsSettings};
use enrolld::config::{self, Environment};
use enrolld::core::call::{NodeOrder, RouteId, ScopeId};
use enrolld::driver::services::{ScopeServices, Services};
use enrolld::facts::{Health, KeyMaterial, ListMark, NodeList, Registration, RegistrationStatus, StatusToken};
use enrolld::names::NodeName;
use enrolld::queue::Queue;
use enrolld::registrar::{Registrar, Reply};
use enrolld::retry::{Class, Failure};
use enrolld::sweep::{Found, Names, NamesError, Sweep, Verdict};

use crate::{Bench, configuration};

/// A server that lists its nodes in pages of two, and can fail from the second on.
#[derive(Debug, Default)]
struct Pages {
    nodes: Mutex<Vec<String>>,
    fails: AtomicBool,
    asked: AtomicUsize,
}

impl Registrar for Pages {
    fn associate<'a>(&'a self, _: &'a NodeOrder, _: &'a KeyMaterial) -> Reply<'a, Registration> {
        unreachable!("a sweep associates nothing")
    }

    fn status<'a>(&'a self, _: &'a NodeOrder, _: &'a StatusToken) -> Reply<'a, RegistrationStatus> {
        Box::pin(async { Ok(RegistrationStatus::UnknownToken) })
    }

    fn disassociate<'a>(&'a self, order: &'a NodeOrder) -> Reply<'a, Registration> {
        self.nodes.lock().unwrap().retain(|node| node != order.node.as_str());
        Box::pin(async { Ok(Registration::Done) })
    }

    fn health(&self) -> Reply<'_, Health> {
        Box::pin(async { Ok(Health::Ready) })
    }

    fn list<'a>(&'a self, after: Option<&'a ListMark>) -> Reply<'a, NodeList> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if after.is_some() && self.fails.load(Ordering::Relaxed) {
            return Box::pin(async { Err(Failure::new(Class::Transient, "server_error", "500 Internal Server Error")) });
        }
        // By name, so that taking nodes off meanwhile leaves none out.
        let all = self.nodes.lock().unwrap().clone();
        let rest = all.iter().filter(|node| after.is_none_or(|mark| node.as_str() > mark.0.as_ref()));
        let page: Vec<NodeName> = rest.take(2).map(|node| NodeName::new(node).unwrap()).collect();
        let next = page.last().filter(|_| page.len() == 2).map(|last| ListMark(last.as_str().into()));
        Box::pin(async { Ok(NodeList::Page { names: page, next }) })
    }
}

/// One sweep with `--apply`: what was said of each node, and how it ended.
async fn sweep(bench: &Bench, server: &Arc<Pages>) -> (Vec<(String, Verdict)>, Result<(), NamesError>) {
    let endpoint = bench.simulator.endpoint();
    let config = config::parse(&configuration(&endpoint, "{instance_id}", "web-*"), "test", &Environment::new()).unwrap();
    let settings = AwsSettings {
        region: Some("eu-central-1".into()),
        connect_timeout: Duration::from_secs(1),
        attempt_timeout: Duration::from_secs(5),
        call_timeout: Duration::from_secs(5),
        worker: "test".into(),
        scopes: Vec::new(),
    };
    let aws = Aws::fixed(&settings, &endpoint, "AKIATEST").unwrap();
    let queue = Queue::new(&aws, config.queue_url.as_str(), None);
    let facts = queue.describe().await.unwrap();
    let registrars: Vec<Arc<dyn Registrar>> = vec![Arc::clone(server) as Arc<dyn Registrar>];
    let services = Services { queue, scopes: vec![ScopeServices::new(aws.scope(ScopeId(0)))], keys: Vec::new(), registrars };
    let (_tell, stop) = tokio::sync::watch::channel(false);
    let (wait, found, settings) = (Duration::from_secs(5), Found::default(), config.core_settings());
    let sweep = Arc::new(Sweep { services, settings, route: RouteId(0), facts, apply: true, wait, stop, found });
    let (groups, all) = sweep.groups().await;
    all.unwrap();
    let mut said = Vec::new();
    let result = sweep.nodes(&mut Names::listed(), &groups, |finding| said.push((finding.node.to_string(), finding.verdict.clone()))).await;
    (said, result)
}

#[tokio::test]
async fn what_was_listed_before_a_server_failed_is_swept_and_the_rest_by_the_next_run() {
    let bench = Bench::start("pages").await;
    let mut gone: Vec<String> = (0..6).map(|_| bench.left_behind()).collect();
    gone.sort();
    let server = Arc::new(Pages { nodes: Mutex::new(gone.clone()), ..Pages::default() });
    server.fails.store(true, Ordering::Relaxed);

    let (said, result) = sweep(&bench, &server).await;
    let Err(NamesError::Server(failure)) = result else { panic!("{result:?}") };
    assert_eq!(failure.code, "server_error");
    assert_eq!(said.len(), 2);
    assert!(said.iter().all(|(_, verdict)| *verdict == Verdict::Disassociated), "{said:?}");
    assert_eq!(*server.nodes.lock().unwrap(), gone[2..], "what was not listed was not touched");
    assert_eq!(server.asked.load(Ordering::Relaxed), 1 + 4, "the second page was asked for again a few times, and not for ever");

    server.fails.store(false, Ordering::Relaxed);
    let (said, result) = sweep(&bench, &server).await;
    result.unwrap();
    let off: BTreeSet<String> = said.into_iter().map(|(node, _)| node).collect();
    assert_eq!(off, gone[2..].iter().cloned().collect());
    assert!(server.nodes.lock().unwrap().is_empty());
}
