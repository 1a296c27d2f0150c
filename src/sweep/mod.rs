//! Finding what the hooks missed: nodes that were left behind, and instances that wait although nobody will come.
//!
//! Hooks do not run for every removal (detach, standby, forced deletion, a hook that timed out). [`names`] brings the nodes of a route's
//! server page by page, `judge` asks Auto Scaling about their instances, [`finding`] says what came of each, and [`waiting`] looks for
//! instances at a hook of ours that no message is about.
//!
//! Absence proves nothing: an instance that was detached is not listed either, and lives on. So a node is taken off only where the
//! scaling activities of a group of its route show that its instance was terminated. No lifecycle action is ever completed from here.

pub mod finding;
mod judge;
pub mod names;
mod parameters;
pub mod waiting;

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use finding::{Counts, Finding, Verdict};
pub use names::{Names, NamesError};

use self::judge::Candidate;
use crate::core::call::{NodeOrder, RouteId};
use crate::core::settings::{Route, Settings};
use crate::dead_letters::Said;
use crate::driver::services::Services;
use crate::event::{Envelope, LifecycleAction, Transition};
use crate::facts::QueueFacts;
use crate::lifecycle::{Lifecycle, Page};
use crate::names::{AccountId, GroupName, HookName, LifecycleActionToken, NodeName, Origin, ReadBack, Region};
use crate::removal::{self, Unpaid, retried};
use crate::retry::Failure;

/// Nodes that are judged together: as many as read a group's activities once, and few enough to be held.
const CHUNK: usize = 1000;
/// Nodes that are taken off at once: enough that waiting for a server does not add up, and few for any API's rate.
const AT_ONCE: usize = 8;
/// So many faults of the route in a row are the route's, and not those of single nodes.
const FAULTS_IN_A_ROW: u32 = 10;
/// Pages of groups that are read: 10,000 groups.
const MOST_GROUP_PAGES: usize = 100;

/// What sweeping takes.
#[derive(Debug)]
pub struct Sweep {
    /// The rooms.
    pub services: Services,
    /// Of the same configuration.
    pub settings: Settings,
    /// Whose nodes.
    pub route: RouteId,
    /// What the worker's queue is.
    pub facts: QueueFacts,
    /// Whether nodes are taken off, or it is only said which would be.
    pub apply: bool,
    /// How long to wait for the server, for each node.
    pub wait: Duration,
    /// Becomes true when somebody wants it to stop.
    pub stop: watch::Receiver<bool>,
    /// What came of the orders until now.
    pub found: Found,
}

/// What a sweep's orders found out about their server.
#[derive(Debug, Default)]
pub struct Found {
    /// It takes no orders: nobody else waits for it.
    unready: AtomicBool,
    /// Orders in a row that met a fault of the route: a single one may be about one node's rights alone.
    faults: AtomicU32,
    /// We may not delete parameters.
    denied: AtomicBool,
}

impl Sweep {
    /// The groups that take the route: those that there are, and those that the configuration names, which may have been deleted since.
    ///
    /// # Errors
    /// They could not be listed; those that the configuration names are there all the same.
    pub async fn groups(&self) -> (BTreeSet<GroupName>, Result<(), Failure>) {
        let named = self.route().groups.iter().filter_map(|glob| GroupName::new(&glob.pattern()).ok());
        let mut groups: BTreeSet<GroupName> =
            named.filter(|group| !group.as_str().contains(['*', '?']) && self.takes_route(group)).collect();
        let mut after = None;
        for _ in 0..MOST_GROUP_PAGES {
            let page: Result<Page<GroupName>, _> = retried(async || self.lifecycle().groups(after.clone()).await).await;
            match page {
                Ok(page) => {
                    groups.extend(page.items.into_iter().filter(|group| self.takes_route(group)));
                    after = page.next;
                }
                Err(failure) => return (groups, Err(failure)),
            }
            if after.is_none() {
                break;
            }
        }
        (groups, Ok(()))
    }

    /// Goes through all names, and tells of each node. One that fails stops no other.
    ///
    /// # Errors
    /// The names could not be had, or not all of them.
    pub async fn nodes(
        self: &Arc<Self>,
        names: &mut Names,
        groups: &BTreeSet<GroupName>,
        mut tell: impl FnMut(&Finding),
    ) -> Result<(), NamesError> {
        // A server can list a node twice. Eight bytes a name are little enough to be kept of all; of two names that share them, which is
        // as good as impossible, the second waits for the next sweep.
        let hash = RandomState::new();
        let mut known: HashSet<u64> = HashSet::new();
        loop {
            if *self.stop.borrow() {
                return Err(NamesError::Stopped);
            }
            let registrar = self.services.registrars[usize::from(self.route.0)].as_ref();
            let Some(chunk) = names.next(registrar, CHUNK).await? else { return Ok(()) };
            let mut candidates = Vec::new();
            for name in chunk {
                if !known.insert(hash.hash_one(&name)) {
                    continue;
                }
                match self.read_back(&name) {
                    Ok(candidate) => candidates.push(candidate),
                    Err(verdict) => tell(&Finding { node: Said::new(&name), instance: None, verdict }),
                }
            }
            let judged = judge::judge(self.lifecycle(), groups, candidates).await;
            self.act(judged, &mut tell).await;
        }
    }

    /// Which instance a name is of, if the route gives this name to one instance alone.
    fn read_back(&self, name: &str) -> Result<Candidate, Verdict> {
        let Ok(node) = NodeName::new(name) else { return Err(Verdict::Foreign) };
        let (own, settings) = (&self.facts, &self.settings);
        let account = |id: &AccountId| if settings.accounts.is_empty() { *id == own.account } else { settings.accounts.contains(id) };
        let region = |id: &Region| if settings.regions.is_empty() { *id == own.region } else { settings.regions.contains(id) };
        let ours = |origin: &Origin| {
            origin.group.as_ref().is_none_or(|group| self.takes_route(group))
                && origin.account.as_ref().is_none_or(account)
                && origin.region.as_ref().is_none_or(region)
        };
        match self.route().node_name.read_back(name, ours) {
            ReadBack::One(origin) => Ok(Candidate { node, origin }),
            ReadBack::Foreign => Err(Verdict::Foreign),
            ReadBack::Ambiguous => Err(Verdict::Ambiguous),
        }
    }

    /// Takes off those that are proven gone, a few at once, and tells of all.
    async fn act(self: &Arc<Self>, judged: Vec<(Candidate, Verdict)>, tell: &mut impl FnMut(&Finding)) {
        let (mut gone, mut orders) = (Vec::new(), Vec::new());
        for (candidate, verdict) in judged {
            let finding = Finding { node: Said::new(candidate.node.as_str()), instance: Some(candidate.origin.instance.clone()), verdict };
            match &finding.verdict {
                Verdict::Gone(group) if self.apply => {
                    orders.push(self.order(&candidate, group));
                    gone.push(finding);
                }
                _ => tell(&finding),
            }
        }
        let left = self.clean(&orders).await;
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        for ((finding, order), left) in gone.into_iter().zip(orders).zip(left) {
            let (sweep, turns) = (Arc::clone(self), Arc::clone(&turns));
            tasks.spawn(async move {
                let _turn = turns.acquire().await;
                let verdict = match (sweep.disassociate(&order).await, left) {
                    (Verdict::Disassociated, Some(left)) => Verdict::failed(format!("it was taken off its server; {left}")),
                    (verdict, _) => verdict,
                };
                Finding { verdict, ..finding }
            });
        }
        while let Some(joined) = tasks.join_next().await {
            let lost =
                |_| Finding { node: Said::new("a node"), instance: None, verdict: Verdict::failed("an internal error; please report it") };
            tell(&joined.unwrap_or_else(lost));
        }
    }

    async fn disassociate(&self, order: &NodeOrder) -> Verdict {
        if *self.stop.borrow() {
            return Verdict::NotReached;
        }
        if self.found.unready.load(Ordering::Relaxed) {
            return Verdict::failed("the server takes no orders, as another node found out; try again later");
        }
        let registrar = self.services.registrars[usize::from(self.route.0)].as_ref();
        match removal::pay(registrar, order, &self.settings, self.route(), self.wait, &self.stop).await {
            Ok(()) => {
                self.found.faults.store(0, Ordering::Relaxed);
                Verdict::Disassociated
            }
            Err(Unpaid::Server(why)) => {
                self.found.unready.store(true, Ordering::Relaxed);
                Verdict::failed(format!("it could not be disassociated: {why}"))
            }
            Err(Unpaid::Route(why)) => {
                if self.found.faults.fetch_add(1, Ordering::Relaxed) + 1 >= FAULTS_IN_A_ROW {
                    self.found.unready.store(true, Ordering::Relaxed);
                }
                Verdict::failed(format!("it could not be disassociated: {why}"))
            }
            Err(Unpaid::Node(why)) => Verdict::failed(format!("it could not be disassociated: {why}")),
            Err(Unpaid::Stopped) => Verdict::failed("stopped before it was known whether it is disassociated"),
        }
    }

    /// The order for a node of an instance that a group terminated. No action is behind it that could be completed: the hook and the
    /// token are none that Auto Scaling ever gave.
    fn order(&self, candidate: &Candidate, group: &GroupName) -> NodeOrder {
        let origin = &candidate.origin;
        let action = LifecycleAction {
            transition: Transition::Terminating,
            instance: origin.instance.clone(),
            group: group.clone(),
            hook: HookName::new("enrolld-sweep").expect("it keeps the rule of hook names"),
            token: LifecycleActionToken::new("00000000-0000-0000-0000-000000000000").expect("it keeps the rule of tokens"),
            account: origin.account.as_ref().or(self.route().account.as_ref()).unwrap_or(&self.facts.account).clone(),
            region: origin.region.clone(),
            time_ms: None,
            origin: None,
            destination: None,
            metadata: None,
            envelope: Envelope::Direct,
        };
        NodeOrder { node: candidate.node.clone(), action: Arc::new(action), metadata: None }
    }

    fn route(&self) -> &Route {
        self.settings.route(self.route)
    }

    fn takes_route(&self, group: &GroupName) -> bool {
        self.settings.route_for(group) == Some(self.route)
    }

    fn lifecycle(&self) -> &Lifecycle {
        &self.services.scopes[usize::from(self.route().scope.0)].lifecycle
    }
}
