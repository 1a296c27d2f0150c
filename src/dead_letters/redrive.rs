//! Sending letters back to the worker's queue, and finishing what is owed.
//!
//! A letter is deleted only after its body stands in the worker's queue again, or after what it says is owed has been done. What
//! happens twice does no harm: a worker that gets a notification twice does its work once.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, LocalSet};

use super::letter::{Body, MOVED_BY_SQS, Owed};
use super::look::{self, Held, Queues};
use super::owed;
use super::{Letter, Said};
use crate::core::call::{InHand, NodeOrder};
use crate::core::observation::Reason;
use crate::core::settings::Settings;
use crate::driver::services::Services;
use crate::event::Transition;
use crate::names::{MessageId, NodeName};
use crate::removal::{self, Proof, Unpaid, retried};

/// Letters that are worked on at once: enough that waiting for a server does not add up, and few for any API's rate.
const AT_ONCE: usize = 8;
/// How often what is in hand is kept for longer: three times within its visibility.
const KEEP: Duration = Duration::from_secs(20);

/// What was done with a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Its body was sent to the worker's queue, and it was deleted.
    SentBack,
    /// What it says is owed was done, and it was deleted.
    Disassociated(NodeName),
    /// It would be sent back.
    WouldSendBack,
    /// What is owed would be done; what proves that it may be.
    WouldDisassociate(NodeName, &'static str),
    /// It was left as it is, for this reason.
    Left(Said),
    /// Something went wrong with it, and it was left.
    Failed(Said),
    /// Its turn did not come before the end.
    NotReached,
}

impl Deed {
    /// What was done, in a word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::SentBack => "sent_back",
            Self::Disassociated(_) => "disassociated",
            Self::WouldSendBack => "would_send_back",
            Self::WouldDisassociate(..) => "would_disassociate",
            Self::Left(_) => "left",
            Self::Failed(_) => "failed",
            Self::NotReached => "not_reached",
        }
    }

    /// Whether the letter is no more in the dead-letter queue.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::SentBack | Self::Disassociated(_))
    }

    /// Whether what was asked for was not done.
    #[must_use]
    pub fn is_undone(&self) -> bool {
        matches!(self, Self::Left(_) | Self::Failed(_) | Self::NotReached)
    }

    fn left(why: impl AsRef<str>) -> Self {
        Self::Left(Said::new(why.as_ref()))
    }

    fn failed(why: impl AsRef<str>) -> Self {
        Self::Failed(Said::new(why.as_ref()))
    }
}

/// What redriving takes.
#[derive(Debug)]
pub struct Redrive {
    queues: Queues,
    services: Services,
    settings: Settings,
    /// Say what would be done, and do nothing.
    dry_run: bool,
    /// How long to wait for a server, for each node.
    wait: Duration,
    stop: watch::Receiver<bool>,
    /// Servers that took no order within the whole of `wait`: nobody else waits for them.
    unready: RefCell<HashSet<u16>>,
}

impl Redrive {
    /// Ready to work. `services` and `settings` are of the same configuration.
    #[must_use]
    pub fn new(queues: Queues, services: Services, settings: Settings, dry_run: bool, wait: Duration, stop: watch::Receiver<bool>) -> Self {
        Self { queues, services, settings, dry_run, wait, stop, unready: RefCell::default() }
    }

    /// Works on letters, a few at once, and tells of each when it is done; one that fails stops no other. In the end whatever is
    /// left is given back. Returns how many could not be given back, and come back by themselves.
    pub async fn run(self, letters: Vec<Held>, mut tell: impl FnMut(&Held, &Deed)) -> usize {
        let mut open: Vec<InHand> = letters.iter().map(|held| held.hand.clone()).collect();
        let mut left = Vec::new();
        let redrive = Rc::new(self);
        let turns = Rc::new(Semaphore::new(AT_ONCE));
        let local = LocalSet::new();
        local
            .run_until(async {
                let mut tasks = JoinSet::new();
                for held in letters {
                    let (redrive, turns) = (Rc::clone(&redrive), Rc::clone(&turns));
                    tasks.spawn_local(async move {
                        let _turn = turns.acquire().await;
                        let deed = redrive.treat(&held).await;
                        (held, deed)
                    });
                }
                let mut keep = tokio::time::interval(KEEP);
                loop {
                    tokio::select! {
                        joined = tasks.join_next() => match joined {
                            None => break,
                            Some(Ok((held, deed))) => {
                                open.retain(|hand| hand.id != held.hand.id);
                                tell(&held, &deed);
                                if !deed.is_gone() {
                                    left.push(held.hand);
                                }
                            }
                            // A panic of ours: the letter stays among the open ones, and is given back with them.
                            Some(Err(_)) => {}
                        },
                        _ = keep.tick() => {
                            let held: Vec<InHand> = open.iter().chain(&left).cloned().collect();
                            look::keep(&redrive.queues.letters, &held).await;
                        }
                    }
                }
            })
            .await;
        left.append(&mut open);
        look::give_back(&redrive.queues.letters, &left).await
    }

    async fn treat(&self, held: &Held) -> Deed {
        if *self.stop.borrow() {
            return Deed::NotReached;
        }
        if self.queues.is_anothers(&held.letter) {
            return Deed::left("SQS moved it here from another queue than this worker's");
        }
        match &held.letter.owed {
            Some(Owed::Disassociate(node)) => self.pay(held, node).await,
            Some(Owed::Unknown(owed)) => Deed::left(format!("it owes \"{owed}\", which this version cannot do")),
            // A worker would find the instance in service, and delete the only word of a node that may be missing.
            None if held.letter.reason.as_str() == Reason::TAKEN_OFF => {
                Deed::left("its instance serves, perhaps without its node: see whether that is on its server, and delete the letter then")
            }
            None if self.dry_run => Deed::WouldSendBack,
            // What SQS moved by itself had as many runs as the queue allows, and none that could say what may be left of it.
            None => self.send_back(held, held.letter.reason.as_str() == MOVED_BY_SQS).await,
        }
    }

    async fn send_back(&self, held: &Held, earlier_run: bool) -> Deed {
        if let Err(failure) = retried(async || self.queues.main.send_back(&held.body, earlier_run).await).await {
            return Deed::failed(format!("it could not be sent, and stays: {failure}"));
        }
        match look::delete(&self.queues.letters, &held.hand).await {
            Ok(()) => Deed::SentBack,
            Err(failure) => Deed::failed(format!("it was sent back, and could not be deleted here: {failure}")),
        }
    }

    async fn pay(&self, held: &Held, node: &NodeName) -> Deed {
        let Some(action) = held.letter.action() else {
            return Deed::left("it owes a disassociation, and its body names no instance that could be proven gone");
        };
        let debt = match owed::check(&self.settings, &self.queues.facts, action, node) {
            Ok(debt) => debt,
            Err(why) => return Deed::left(why),
        };
        let route = self.settings.route(debt.route);
        let proof = match removal::prove(&self.services, route, action).await {
            // A worker takes the node off and completes the termination: where the server refuses to remove what is not there, both must be
            // done by one of us.
            Ok(Proof::WaitsToGo(_)) if action.transition == Transition::Terminating => {
                return if self.dry_run { Deed::WouldSendBack } else { self.send_back(held, false).await };
            }
            Ok(Proof::Gone(proof) | Proof::WaitsToGo(proof)) => proof,
            // What it owes is for its next run to take off, should that fail too: it is told that there was one before.
            Ok(Proof::Waits(_)) if action.transition == Transition::Launching => {
                return if self.dry_run { Deed::WouldSendBack } else { self.send_back(held, true).await };
            }
            Ok(Proof::Missing(why) | Proof::Waits(why)) => return Deed::left(format!("nothing proves that the instance is gone: {why}")),
            Err(failure) => return Deed::failed(format!("Auto Scaling could not be asked whether the instance is gone: {failure}")),
        };
        if self.dry_run {
            return Deed::WouldDisassociate(node.clone(), proof);
        }
        if let Err(deed) = self.disassociate(&debt.order, debt.route).await {
            return deed;
        }
        match look::delete(&self.queues.letters, &held.hand).await {
            Ok(()) => Deed::Disassociated(node.clone()),
            Err(failure) => Deed::failed(format!("{node} was disassociated, and the letter could not be deleted: {failure}")),
        }
    }

    async fn disassociate(&self, order: &NodeOrder, id: crate::core::call::RouteId) -> Result<(), Deed> {
        let route = self.settings.route(id);
        if self.unready.borrow().contains(&route.server.0) {
            return Err(Deed::failed("its server takes no orders, as another letter found out; try again later"));
        }
        let registrar = self.services.registrars[usize::from(id.0)].as_ref();
        match removal::pay(registrar, order, &self.settings, route, self.wait, &self.stop).await {
            Ok(()) => Ok(()),
            Err(Unpaid::Server(why)) => {
                self.unready.borrow_mut().insert(route.server.0);
                Err(Deed::failed(format!("{} could not be disassociated: {why}", order.node)))
            }
            // A fault of the route is said at once, and may be about the rights on this node alone.
            Err(Unpaid::Node(why) | Unpaid::Route(why)) => Err(Deed::failed(format!("{} could not be disassociated: {why}", order.node))),
            Err(Unpaid::Stopped) => Err(Deed::failed(format!("stopped before it was known that {} is disassociated", order.node))),
        }
    }
}

/// What was done with all of them.
#[derive(Debug, Default)]
pub struct Deeds {
    entries: Vec<(Letter, Deed)>,
}

impl Deeds {
    /// Notes what was done with one.
    pub fn note(&mut self, letter: &Letter, deed: &Deed) {
        self.entries.push((letter.clone(), deed.clone()));
    }

    /// Notes those that were begun and of which nothing was heard: a panic of ours.
    pub fn note_lost(&mut self, letters: &[Letter]) {
        let told: HashSet<MessageId> = self.entries.iter().map(|(letter, _)| letter.id.clone()).collect();
        for letter in letters.iter().filter(|letter| !told.contains(&letter.id)) {
            self.note(letter, &Deed::failed("an internal error; please report it"));
        }
    }

    /// Each letter with what was done with it.
    pub fn iter(&self) -> impl Iterator<Item = &(Letter, Deed)> {
        self.entries.iter()
    }

    /// How many have had this done, by [`Deed::word`].
    #[must_use]
    pub fn count(&self, word: &str) -> usize {
        self.entries.iter().filter(|(_, deed)| deed.word() == word).count()
    }

    /// Whether all that was asked for was done.
    #[must_use]
    pub fn all_done(&self) -> bool {
        !self.entries.iter().any(|(_, deed)| deed.is_undone())
    }
}

/// One line about a letter and what was done with it.
#[must_use]
pub fn line(letter: &Letter, deed: &Deed) -> String {
    let about = match (&letter.body, letter.action()) {
        (_, Some(action)) => format!("{} of {} in {}", action.transition.as_str(), action.instance, Said::new(action.group.as_str())),
        (Body::Test, None) => "a test notification".to_owned(),
        (_, None) => "no notification".to_owned(),
    };
    let what = match deed {
        Deed::SentBack => "sent back to the queue".to_owned(),
        Deed::Disassociated(node) => format!("{node} disassociated, as was owed"),
        Deed::WouldSendBack => "it would be sent back to the queue".to_owned(),
        Deed::WouldDisassociate(node, proof) => format!("{node} would be disassociated, as is owed: {proof}"),
        Deed::Left(why) | Deed::Failed(why) => why.as_str().to_owned(),
        Deed::NotReached => "its turn did not come".to_owned(),
    };
    format!("{:<18}  {}  {} ({about}): {what}", deed.word().replace('_', " "), letter.id, letter.reason)
}
