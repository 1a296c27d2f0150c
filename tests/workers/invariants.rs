//! What must hold after every run, held against what the services recorded and answered, never against what a worker says of itself.

mod abandoned;

use std::collections::{BTreeSet, HashMap};

use enrolld::simulator::model::agent::{Material, material};
use enrolld::simulator::model::autoscaling::{ActionState, Closing, InstanceState, Kind, LifecycleState};
use enrolld::simulator::model::opsworks_cm::{Happened, LogEntry};
use enrolld::simulator::model::sqs::MessageState;
use enrolld::simulator::model::state::{Details, State};
use md5::{Digest as _, Md5};

use crate::plan::{DEAD_LETTERS, GROUPS, OTHER_HOOK, Plan, QUEUE};
use crate::run::Outcome;

/// A sighting of an instance counts for so long, and the call that it allows takes up to its time-out.
const SEEN_MS: u64 = 60_000 + 7_000;
/// The same before a node is taken off for a second chance.
const SECOND_CHANCE_SEEN_MS: u64 = 10_000 + 7_000;

/// Says what does not hold, and how many nodes were excused.
pub fn broken(plan: &Plan, outcome: &Outcome) -> (Vec<String>, usize) {
    let details = outcome.state.details.as_ref().expect("the long lists were asked for");
    let mut nodes: HashMap<&str, Vec<&LogEntry>> = HashMap::new();
    for entry in &details.associations {
        nodes.entry(&entry.node).or_default().push(entry);
    }
    let letters = &outcome.state.queues[DEAD_LETTERS].messages;
    let mut judge = Judge { plan, outcome, details, nodes, letters, broken: outcome.wrong.clone(), excused: BTreeSet::new() };
    judge.queue(&outcome.state);
    details.actions.iter().filter(|action| action.hook != OTHER_HOOK).for_each(|action| judge.action(action));
    details.associations.iter().for_each(|entry| judge.order(entry));
    details.instances.iter().for_each(|(id, instance)| judge.instance(id, instance));
    judge.servers(&outcome.state);
    judge.storms();
    (judge.broken, judge.excused.len())
}

/// The parameter under which a node waits for its certificate.
fn certificate_of(node: &str) -> String {
    format!("/enrolld/{node}/certificate")
}

struct Judge<'a> {
    plan: &'a Plan,
    outcome: &'a Outcome,
    details: &'a Details,
    /// The server's log of each node.
    nodes: HashMap<&'a str, Vec<&'a LogEntry>>,
    letters: &'a [MessageState],
    broken: Vec<String>,
    excused: BTreeSet<String>,
}

impl Judge<'_> {
    fn complain(&mut self, what: String) {
        self.broken.push(what);
    }

    /// Nothing is left, SQS moved nothing by itself, and each dead letter says why it is one.
    fn queue(&mut self, state: &State) {
        let queue = &state.queues[QUEUE];
        let left = queue.visible + queue.in_flight + queue.delayed;
        if left > 0 {
            self.complain(format!("{left} messages are left in the queue"));
        }
        if queue.counts.redriven > 0 {
            self.complain(format!("SQS itself moved {} messages", queue.counts.redriven));
        }
        for letter in self.letters {
            for name in ["EnrolldReason", "EnrolldOutcome", "EnrolldStep", "EnrolldAttempts", "EnrolldTime", "EnrolldVersion"] {
                if letter.attributes.get(name).is_none_or(String::is_empty) {
                    self.complain(format!("a dead letter has no {name}: {}", letter.body));
                }
            }
        }
        // What was sent to the queue more than once may be buried more than once, but never less.
        let garbage = self.letters.iter().filter(|letter| !letter.body.contains("LifecycleActionToken")).count();
        if garbage < self.outcome.garbage {
            self.complain(format!("{} messages that nobody can handle came, and {garbage} were kept", self.outcome.garbage));
        }
    }

    /// Every action has its result, and the right one.
    fn action(&mut self, action: &ActionState) {
        let what = if action.transition == Kind::Launching { "launch" } else { "termination" };
        let named = format!("the {what} of {} ({})", action.instance, action.token);
        let (Some(closed), Some(by)) = (action.closed_ms, action.closed_by) else {
            return self.complain(format!("{named} is still open"));
        };
        let continued = action.result.as_deref() == Some("CONTINUE");
        match (by, action.transition, continued) {
            // The instance was terminated before its launch was over.
            (Closing::Superseded, ..) | (Closing::Completed, Kind::Terminating, true) => {}
            (Closing::Completed, Kind::Terminating, false) => self.complain(format!("{named} was abandoned")),
            (Closing::Completed, Kind::Launching, true) => {
                if self.waits_for_certificate(action) && !self.was_written(&action.instance, action.began_ms, closed) {
                    self.complain(format!("{named} was continued before its node had its certificate"));
                }
                if !self.is_associated_at(&action.instance, closed) && !self.was_taken_off(&action.instance, closed) {
                    self.complain(format!("{named} was continued although its node was not associated with its own key"));
                }
            }
            (Closing::Completed, Kind::Launching, false) => {
                let sound = !self.outcome.unsound.contains_key(&action.instance);
                if sound && !self.had_cause(action, closed) && !self.was_contended(&action.instance, closed) {
                    let reason = self.outcome.reasons.get(&action.token).map_or("nobody says why", String::as_str);
                    self.complain(format!("{named} was abandoned without cause: {reason}"));
                }
            }
            (by, ..) => self.complain(format!("{named} was ended by {by:?}")),
        }
    }

    /// Nobody is associated or taken off whom Auto Scaling does not show as it must, and nobody with another's key.
    fn order(&mut self, entry: &LogEntry) {
        let (at, node) = (entry.at_ms, &entry.node);
        match entry.what {
            Happened::AssociateAccepted => {
                if !self.waits_for_launch(node, at) {
                    self.complain(format!("{node} was associated at {at} without cause"));
                }
                if entry.fingerprint != self.own_key(node) {
                    self.complain(format!("{node} was associated with a key that is not its own"));
                }
            }
            Happened::DisassociateAccepted if !self.is_leaving(node, at) && !self.is_second_chance(entry) => {
                self.complain(format!("{node} was taken off at {at} although it lives"));
            }
            _ => {}
        }
    }

    /// Who was to go is gone, and who serves is associated.
    fn instance(&mut self, id: &str, instance: &InstanceState) {
        let lives = instance.state == LifecycleState::InService || instance.state.rests_in_pool();
        // Where one worker took off what another had just put in service, a letter says so.
        let told = self.letters.iter().any(|letter| {
            let says = |name: &str, what: &str| letter.attributes.get(name).is_some_and(|text| text == what);
            (says("EnrolldReason", "taken_off") || says("EnrolldOutcome", "continued")) && letter.body.contains(id)
        });
        if lives && !told && !self.is_associated_at(id, u64::MAX) && !self.was_taken_off(id, u64::MAX) {
            self.complain(format!("{id} is {} and not associated", instance.state.name()));
        }
        let certificate = certificate_of(id);
        let serves = instance.state == LifecycleState::InService && instance.group == GROUPS[0] && self.plan.certificates;
        if serves && !self.details.parameters.contains_key(&certificate) {
            self.complain(format!("{id} is in service, and {certificate} is not there"));
        }
        if self.outcome.terminated.iter().any(|one| one == id) && instance.state.is_listed() {
            self.complain(format!("{id} was to be terminated and is {}", instance.state.name()));
        }
    }

    /// Nobody stays on a server whose instance is gone, unless a dead letter says that it must be taken off.
    fn servers(&mut self, state: &State) {
        let owed = |letter: &MessageState| letter.attributes.get("EnrolldOwed")?.strip_prefix("disassociate ").map(str::to_owned);
        let owed: BTreeSet<String> = self.letters.iter().filter_map(owed).collect();
        for node in state.servers.values().flat_map(|server| server.nodes.keys()) {
            let gone = self.details.instances.get(node).is_none_or(|instance| !instance.state.is_listed());
            if gone && !owed.contains(node) {
                self.complain(format!("{node} stays on its server although its instance is gone"));
            }
        }
    }

    /// Whether what is signed for a launch's node has to be written for it.
    fn waits_for_certificate(&self, action: &ActionState) -> bool {
        self.plan.config.contains("certificate_parameter") && action.group == GROUPS[0]
    }

    /// Whether a worker was told in a span of time that a node's certificate is written.
    fn was_written(&self, node: &str, from: u64, until: u64) -> bool {
        let parameter = certificate_of(node);
        self.outcome.written.iter().any(|(at, name)| *name == parameter && (from..=until).contains(at))
    }

    /// Whether a node was taken off while its launch waited, by a run whose own order to associate it had been refused or had failed
    /// since that launch began: it is begun anew.
    fn is_second_chance(&self, off: &LogEntry) -> bool {
        let at = off.at_ms;
        self.launches_at(&off.node, at, SECOND_CHANCE_SEEN_MS).any(|launch| self.was_refused(&off.caller, &off.node, launch.began_ms, at))
    }

    /// Whether a run's order to associate a node was refused, or failed, in a span of time.
    fn was_refused(&self, caller: &str, node: &str, from: u64, until: u64) -> bool {
        let refused = self.outcome.refused.iter().filter(|order| order.node == node && order.run == caller).map(|order| order.at);
        let log = self.nodes.get(node).map(Vec::as_slice).unwrap_or_default();
        let failed = log.iter().filter(|entry| entry.what == Happened::AssociateFailed && entry.caller == caller);
        refused.chain(failed.map(|entry| entry.at_ms)).any(|at| (from..=until).contains(&at))
    }

    /// Whether this and nothing else became of a node: one run associated it; another, with the same message, could not know that,
    /// since its own order was refused, and took it off for a second chance while its launch still waited. Up to
    /// `until` the node is then missing; afterwards only if that run came to its end, or had to let go of the message, before it had
    /// associated it again or could say that it had not.
    fn was_taken_off(&mut self, node: &str, until: u64) -> bool {
        let log = self.nodes.get(node).map(Vec::as_slice).unwrap_or_default();
        let done = |entry: &&&LogEntry| entry.at_ms <= until && matches!(entry.what, Happened::Associated | Happened::Disassociated);
        let Some(off) = log.iter().rev().find(done).filter(|entry| entry.what == Happened::Disassociated) else { return false };
        let ordered = log.iter().find(|entry| entry.what == Happened::DisassociateAccepted && entry.token == off.token);
        let Some(ordered) = ordered else { return false };
        let anothers = log.iter().any(|entry| entry.what == Happened::Associated && entry.caller != off.caller);
        let missing = until < u64::MAX || self.let_go(&off.caller, node, ordered.at_ms, u64::MAX);
        let excused = anothers && missing && self.is_second_chance(ordered);
        if excused {
            self.excused.insert(node.to_owned());
        }
        excused
    }

    /// Whether this and nothing else made a launch fail twice: after a run had taken the node off for its second chance, another run,
    /// with the same message, got its own order in first, so that the server refused the one after it; and that other run came to its
    /// end, or had to let go of the message, before it could complete. Who is refused cannot know whose order it was.
    fn was_contended(&mut self, node: &str, closed: u64) -> bool {
        let log = self.nodes.get(node).map(Vec::as_slice).unwrap_or_default();
        let excused = log.iter().enumerate().any(|(at, off)| {
            let got_in = |entry: &&LogEntry| {
                let anothers = entry.what == Happened::AssociateAccepted && entry.caller != off.caller;
                let refused = anothers && self.was_refused(&off.caller, node, entry.at_ms, closed);
                refused && self.let_go(&entry.caller, node, entry.at_ms, closed)
            };
            off.what == Happened::DisassociateAccepted && self.is_second_chance(off) && log[at..].iter().any(got_in)
        });
        if excused {
            self.excused.insert(node.to_owned());
        }
        excused
    }

    /// Whether a run that spoke to the registrars as `caller` ended, or let go of a node's launch, in a span of time.
    fn let_go(&self, caller: &str, node: &str, from: u64, until: u64) -> bool {
        self.outcome.let_go.iter().any(|end| {
            let of_node = end.instance.as_ref().is_none_or(|instance| instance == node);
            of_node && end.run == *caller && (from..=until).contains(&end.at)
        })
    }

    /// Whether an instance waited for a launch at a time, or shortly before it.
    fn waits_for_launch(&self, instance: &str, at: u64) -> bool {
        self.launches_at(instance, at, SEEN_MS).next().is_some()
    }

    /// The launches that an instance waited for at a time, or so shortly before it.
    fn launches_at(&self, instance: &str, at: u64, seen_ms: u64) -> impl Iterator<Item = &ActionState> {
        self.details.actions.iter().filter(move |action| {
            action.instance == instance
                && action.transition == Kind::Launching
                && action.began_ms <= at
                && action.closed_ms.is_none_or(|closed| at <= closed + seen_ms + self.plan.lag_ms())
        })
    }

    /// Whether an instance was on its way out, or gone, at a time.
    fn is_leaving(&self, instance: &str, at: u64) -> bool {
        let history = self.details.instances.get(instance).map(|instance| instance.history.as_slice()).unwrap_or_default();
        history.iter().rev().find(|(since, _)| *since <= at).is_some_and(|(_, state)| state.name().contains("Terminat"))
    }

    /// Whether the last thing done to a node by a time was to associate it, with its own key.
    fn is_associated_at(&self, node: &str, at: u64) -> bool {
        let log = self.nodes.get(node).map(Vec::as_slice).unwrap_or_default();
        let done = log.iter().rev().find(|entry| entry.at_ms <= at && matches!(entry.what, Happened::Associated | Happened::Disassociated));
        done.is_some_and(|entry| entry.what == Happened::Associated && entry.fingerprint == self.own_key(node))
    }

    /// The fingerprint of the one key that is an instance's own; none where what it publishes must be refused.
    fn own_key(&self, instance: &str) -> Option<String> {
        if let Some(request) = self.outcome.requests.get(instance) {
            return Some(format!("{:x}", Md5::digest(request)));
        }
        let sound = !self.outcome.unsound.contains_key(instance);
        sound.then(|| format!("{:x}", Md5::digest(material(&Material::Good, self.plan.seed, instance))))
    }
}
