//! What must hold after every run, held against what the model of the services recorded, never against what a core says of itself.

mod abandoned;
mod timed_out;

use std::collections::{BTreeMap, HashMap, HashSet};

use enrolld::core::observation::Outcome;
use enrolld::core::settings::OnFailure;
use enrolld::event::{self, Notification};
use enrolld::simulator::model::agent::{Material, Publish, material};
use enrolld::simulator::model::autoscaling::{ActionState, Closing, Kind, LifecycleState};
use enrolld::simulator::model::opsworks_cm::{Happened, LogEntry};
use enrolld::simulator::model::sqs::MessageState;
use enrolld::simulator::model::state::Details;
use md5::{Digest as _, Md5};

use crate::plan::{GROUPS, OTHER_HOOK, SERVERS};
use crate::run::Fleet;
use crate::services::{DEAD_LETTERS, QUEUE};
use abandoned::Cause;

/// A sighting of an instance counts for so long.
const SEEN_MS: u64 = 60_000;

/// What a run is judged by.
pub struct Judge<'a> {
    fleet: &'a Fleet,
    details: Details,
    letters: Vec<MessageState>,
    broken: Vec<String>,
    excused: u64,
    told: u64,
    owed: u64,
    timed_out: BTreeMap<&'static str, u64>,
    most_abandoned: u64,
}

/// What the judgement of one run came to.
#[derive(Default)]
pub struct Verdict {
    pub broken: Vec<String>,
    /// Lifecycle actions, and those that ran into their time-out.
    pub actions: u64,
    pub timed_out: u64,
    /// What kept each of those who had these from keeping them open.
    pub excuses: BTreeMap<&'static str, u64>,
    pub letters: u64,
    /// Nodes that one worker took off for a second chance while another put their instance in service, and died before it could say so;
    /// and launches that were abandoned since another's order had got in before the second chance's, and nobody completed them.
    pub excused: u64,
    /// Instances in service that are missing from their server, of which a letter says so.
    pub told: u64,
    /// Nodes that are there although their instances are gone, of which a letter says so.
    pub owed: u64,
    /// The most launches of a route that one run abandoned within its window, with none enrolled between them.
    pub most_abandoned: u64,
}

/// Says what does not hold.
pub fn judge(fleet: &Fleet) -> Verdict {
    let mut state = fleet.services.world.state(true);
    let mut judge = Judge {
        fleet,
        details: state.details.take().unwrap(),
        letters: state.queues.get_mut(DEAD_LETTERS).map(|queue| std::mem::take(&mut queue.messages)).unwrap_or_default(),
        broken: fleet.faults.clone(),
        excused: 0,
        told: 0,
        owed: 0,
        timed_out: BTreeMap::new(),
        most_abandoned: 0,
    };
    if !judge.broken.is_empty() {
        return Verdict { broken: judge.broken, ..Verdict::default() };
    }
    let queue = &state.queues[QUEUE];
    if queue.counts.redriven > 0 {
        judge.complain(format!("SQS itself moved {} messages", queue.counts.redriven));
    }
    judge.actions();
    judge.letters();
    judge.deletions();
    judge.records();
    judge.orders();
    judge.nodes(&state.servers);
    judge.certificates();
    judge.gates();
    judge.storms();
    let timed_out = |action: &&ActionState| matches!(action.closed_by, Some(Closing::HeartbeatTimeout | Closing::GlobalTimeout));
    Verdict {
        actions: judge.own_actions().count() as u64,
        timed_out: judge.own_actions().filter(timed_out).count() as u64,
        letters: judge.letters.len() as u64,
        excused: judge.excused,
        told: judge.told,
        owed: judge.owed,
        excuses: judge.timed_out,
        most_abandoned: judge.most_abandoned,
        broken: judge.broken,
    }
}

/// For so long a launch may be over that is given up for its time: as old as the look may be, and what a letter takes to be written.
const LATE_LETTER_MS: u64 = 60_000;

impl Judge<'_> {
    /// The actions of our hooks.
    fn own_actions(&self) -> impl Iterator<Item = &ActionState> {
        self.details.actions.iter().filter(|action| action.hook != OTHER_HOOK)
    }

    fn complain(&mut self, what: String) {
        self.broken.push(what);
    }

    /// Every action has ended, and in no way that was not allowed.
    fn actions(&mut self) {
        let on_failure = |action: &ActionState| self.fleet.plan.settings.routes[route_of(&action.group)].on_failure;
        let log = by_node(&self.details.associations);
        let (mut broken, mut contended, mut timed_out) = (Vec::new(), 0, BTreeMap::new());
        for action in self.own_actions() {
            let what = if action.transition == Kind::Launching { "launch" } else { "termination" };
            let named = format!("the {what} of {} ({})", action.instance, action.token);
            let (Some(closed), Some(by)) = (action.closed_ms, action.closed_by) else {
                broken.push(format!("{named} is still open"));
                continue;
            };
            if matches!(by, Closing::HeartbeatTimeout | Closing::GlobalTimeout) {
                match self.excuses(action, by, closed) {
                    Ok(excuses) => excuses.into_iter().for_each(|excuse| *timed_out.entry(excuse).or_default() += 1),
                    Err(why) => broken.push(format!("{named} ran into its time-out: {why}")),
                }
            }
            let continued = action.result.as_deref() == Some("CONTINUE");
            if by != Closing::Completed {
                continue;
            }
            match (action.transition, continued) {
                (Kind::Terminating, false) => broken.push(format!("{named} was abandoned")),
                (Kind::Launching, false) => match self.cause(action, closed) {
                    Ok(Cause::Own) => {}
                    Ok(Cause::Contended) => contended += 1,
                    Err(why) => broken.push(format!("{named} was abandoned without cause: {why}")),
                },
                (Kind::Launching, true) if on_failure(action) == OnFailure::Abandon => {
                    let own = self.own_key(&action.instance);
                    if !was_associated(
                        log.get(action.instance.as_str()).map_or(&[], Vec::as_slice),
                        (action.began_ms, closed),
                        own.as_deref(),
                    ) {
                        broken.push(format!("{named} was continued although its node was not associated with its own key"));
                    }
                }
                _ => {}
            }
        }
        self.broken.append(&mut broken);
        self.excused += contended;
        self.timed_out = timed_out;
    }

    /// Every dead letter says why it is there.
    fn letters(&mut self) {
        let mut broken = Vec::new();
        for letter in &self.letters {
            for name in ["EnrolldReason", "EnrolldOutcome", "EnrolldStep", "EnrolldAttempts", "EnrolldTime", "EnrolldVersion"] {
                if letter.attributes.get(name).is_none_or(String::is_empty) {
                    broken.push(format!("a dead letter has no {name}: {}", letter.body));
                }
            }
            let says = |name, what| letter.attributes.get(name).is_some_and(|said| said == what);
            if says("EnrolldOutcome", "abandoned")
                && says("EnrolldReason", "deadline")
                && let Ok(Notification::Action(claim)) = event::decode(&letter.body)
                && let Some(action) = self.own_actions().find(|action| action.token == claim.token.as_str())
                && action.result.as_deref() != Some("ABANDON")
                && let Some(closed) = action.closed_ms.filter(|closed| closed + LATE_LETTER_MS < letter.sent_ms)
                && !self.waits_anew(action, closed, letter.sent_ms)
            {
                let by = action.closed_by;
                broken
                    .push(format!("a launch of {} was given up at {} that was over at {closed}: {by:?}", action.instance, letter.sent_ms));
            }
        }
        self.broken.append(&mut broken);
    }

    /// Whether an instance waits for another launch of its own by then, out of the warm pool: what it is shown as bears out the message of
    /// the one before too.
    fn waits_anew(&self, action: &ActionState, closed: u64, by: u64) -> bool {
        self.own_actions()
            .any(|other| other.instance == action.instance && other.transition == Kind::Launching && (closed..by).contains(&other.began_ms))
    }

    /// No message was deleted before its action was over or its body stood among the dead letters.
    fn deletions(&mut self) {
        let closed: HashMap<&str, u64> =
            self.details.actions.iter().filter_map(|action| Some((action.token.as_str(), action.closed_ms?))).collect();
        // The first letter of each body: garbage may come in the same words again.
        let mut letters: HashMap<&str, u64> = HashMap::new();
        for letter in &self.letters {
            letters.entry(&letter.body).or_insert(letter.sent_ms);
        }
        let mut broken = Vec::new();
        for (at, message) in &self.fleet.services.deleted {
            let Some(body) = self.fleet.services.bodies.get(message) else { continue };
            let buried = letters.get(&**body).is_some_and(|sent| sent <= at);
            let fine = match event::decode(body) {
                Ok(Notification::Test { .. }) => true,
                Ok(Notification::Action(claim)) => {
                    let over = closed.get(claim.token.as_str()).is_some_and(|closed| closed <= at);
                    // What was never an action of the group's is acknowledged where no route wants it, or nothing waits.
                    let forged = !self.details.actions.iter().any(|action| action.token == claim.token.as_str());
                    over || forged
                }
                Err(_) => false,
            };
            if !fine && !buried {
                broken.push(format!("a message was deleted too early: {body}"));
            }
            let decoded = event::decode(body);
            let of = if let Ok(Notification::Action(claim)) = &decoded { claim.token.as_str() } else { message.as_str() };
            if !self.fleet.records.get(of).is_some_and(|records| records.iter().any(|(recorded, _)| recorded <= at)) {
                broken.push(format!("a message was deleted without a record of its result: {body}"));
            }
        }
        self.broken.append(&mut broken);
    }

    /// What is on record as enrolled was put in service. (That a launch was abandoned may also be said by a worker that had the same message,
    /// gave it up later, and cannot know whether the action was closed by its own completion, whose answer it lost.)
    fn records(&mut self) {
        let mut broken = Vec::new();
        for action in self.own_actions().filter(|action| action.transition == Kind::Launching) {
            let recorded = self.fleet.records.get(&action.token).map_or(&[][..], Vec::as_slice);
            let says = |outcome: Outcome| recorded.iter().any(|(_, what)| *what == outcome);
            let result = action.result.as_deref();
            let completed = action.closed_by == Some(Closing::Completed);
            if says(Outcome::Enrolled) && !(completed && result == Some("CONTINUE")) {
                broken.push(format!(
                    "the launch of {} ({}) is on record as enrolled, and ended as {result:?}",
                    action.instance, action.token
                ));
            }
        }
        self.broken.append(&mut broken);
    }

    /// Nobody was associated or taken off whom Auto Scaling did not show as it must, and nobody with another's key.
    fn orders(&mut self) {
        let mut broken = Vec::new();
        let mut failed: HashSet<&str> = HashSet::new();
        for entry in &self.details.associations {
            let at = entry.at_ms;
            match entry.what {
                Happened::AssociateAccepted => {
                    if !self.waits_for_launch(&entry.node, at) {
                        broken.push(format!("{} was associated at {at} without waiting for it", entry.node));
                    }
                    if entry.fingerprint != self.own_key(&entry.node) {
                        broken.push(format!("{} was associated with a key that is not its own", entry.node));
                    }
                }
                Happened::AssociateFailed => {
                    failed.insert(entry.node.as_str());
                }
                Happened::DisassociateAccepted => {
                    let again = failed.contains(entry.node.as_str()) || self.may_deny_success(&entry.server);
                    let fine = self.is_leaving(&entry.node, at) || (again && self.waits_for_launch(&entry.node, at));
                    if !fine {
                        broken.push(format!("{} was taken off at {at} although it lives", entry.node));
                    }
                }
                _ => {}
            }
        }
        self.broken.append(&mut broken);
    }

    /// No node stays whose instance is gone, unless a dead letter says so; and every instance that was let into service is there.
    fn nodes(&mut self, servers: &BTreeMap<String, enrolld::simulator::model::opsworks_cm::ServerState>) {
        let mut broken = Vec::new();
        let owed: HashSet<&str> =
            self.letters.iter().filter_map(|letter| letter.attributes.get("EnrolldOwed")?.strip_prefix("disassociate ")).collect();
        for node in servers.values().flat_map(|server| server.nodes.keys()) {
            let gone = self
                .details
                .instances
                .get(node)
                .is_none_or(|one| matches!(one.state, LifecycleState::Terminated | LifecycleState::WarmedTerminated));
            if gone && owed.contains(node.as_str()) {
                self.owed += 1;
            } else if gone {
                broken.push(format!("{node} stayed on its server although its instance is gone"));
            }
        }
        for (id, instance) in &self.details.instances {
            let lives = instance.state == LifecycleState::InService || instance.state.rests_in_pool();
            let route = route_of(&instance.group);
            let abandons = self.fleet.plan.settings.routes[route].on_failure == OnFailure::Abandon;
            // With the same message on two workers one may take off what the other has just put in service; then a letter says so.
            let told = self.letters.iter().any(|letter| {
                let says = |name: &str, what: &str| letter.attributes.get(name).is_some_and(|text| text == what);
                (says("EnrolldReason", "taken_off") || says("EnrolldOutcome", "continued")) && letter.body.contains(id.as_str())
            });
            if !lives || !abandons || servers[SERVERS[route]].nodes.contains_key(id) {
                continue;
            }
            if told {
                self.told += 1;
            } else if self.was_cut_off(id) {
                self.excused += 1;
            } else {
                broken.push(format!("{id} is {} and not associated", instance.state.name()));
            }
        }
        self.broken.append(&mut broken);
    }

    /// Every launch that was let go on for its node's certificate had it written where the node waits for it, and it was the node's own.
    fn certificates(&mut self) {
        let services = &self.fleet.services;
        let mut broken = Vec::new();
        for (name, writes) in &services.parameters {
            let Some(node) = name.strip_suffix("/certificate").and_then(|name| name.rsplit('/').next()) else { continue };
            let signed = services.signed.get(node);
            if writes.iter().any(|(_, value)| value.is_some() && value.as_ref() != signed) {
                broken.push(format!("{name} was written, and not with what was signed for {node}"));
            }
        }
        for action in self.own_actions() {
            let continued = action.transition == Kind::Launching
                && action.closed_by == Some(Closing::Completed)
                && action.result.as_deref() == Some("CONTINUE");
            let route = &self.fleet.plan.settings.routes[route_of(&action.group)];
            if !continued || route.certificate.is_none() || route.on_failure != OnFailure::Abandon {
                continue;
            }
            let name = format!("/enrolld/{}/certificate", action.instance);
            let done = services.parameters.get(&name).map_or(&[][..], Vec::as_slice);
            let closed = action.closed_ms.unwrap_or(u64::MAX);
            let mut since = done.iter().filter(|(at, _)| (action.began_ms..=closed).contains(at));
            // Nobody deletes it while the launch waits, and nobody before its instance leaves.
            if since.next_back().is_none_or(|(_, value)| value.is_none()) {
                broken.push(format!("the launch of {} ({}) was continued without its certificate", action.instance, action.token));
            }
            let serves = self.details.instances.get(&action.instance).is_some_and(|one| one.state == LifecycleState::InService);
            if serves && !self.details.parameters.contains_key(&name) {
                broken.push(format!("{} is in service, and its certificate is gone", action.instance));
            }
        }
        self.broken.append(&mut broken);
    }

    /// Whether this and nothing else became of a node: one run associated it and put its instance in service; another run, with the
    /// same message, took it off meanwhile for a second chance, and came to its end, or had to let go of the message, before it had
    /// associated it again or could say that it had not. Nobody knows of that run then: the registrar cannot be asked, and what a
    /// third run finds is an instance in service.
    fn was_cut_off(&self, node: &str) -> bool {
        let log: Vec<&LogEntry> = self.details.associations.iter().filter(|entry| entry.node == node).collect();
        let last = log.iter().rev().find(|entry| matches!(entry.what, Happened::Associated | Happened::Disassociated));
        let Some(off) = last.filter(|entry| entry.what == Happened::Disassociated) else { return false };
        let ordered = log.iter().find(|entry| entry.what == Happened::DisassociateAccepted && entry.token == off.token);
        let anothers = log.iter().any(|entry| entry.what == Happened::Associated && entry.caller != off.caller);
        let between = |at: u64| self.waits_for_launch(node, at) && self.let_go(&off.caller, node, at, u64::MAX);
        anothers && ordered.is_some_and(|entry| between(entry.at_ms))
    }

    /// Whether a run that spoke to the registrars as `caller` ended, or let go of a node's launch, in a span of time.
    fn let_go(&self, caller: &str, node: &str, from: u64, until: u64) -> bool {
        self.fleet.let_go.iter().any(|end| {
            let of_node = end.instance.as_ref().is_none_or(|instance| instance == node);
            of_node && *end.run.arn == *caller && (from..=until).contains(&end.at)
        })
    }

    /// While a server is down, it is asked once in each interval by each worker, however many wait.
    fn gates(&mut self) {
        let call_ms = u64::try_from(self.fleet.plan.settings.call_timeout.as_millis()).unwrap();
        let mut windows: Vec<(usize, u64, u64)> = self.fleet.maintenance.clone();
        let outages = &self.fleet.plan.outages;
        windows.extend(outages.missing_server.iter().map(|(server, window)| (*server, window.from, window.until)));
        let mut broken = Vec::new();
        for (server, from, until) in windows {
            // What was sent before the first refusal came back does not count.
            let from = from + call_ms + 1_000;
            let mut counted: HashMap<(usize, u32), (u64, u64)> = HashMap::new();
            for knock in self.fleet.knocks.iter().filter(|knock| knock.server == server && (from..until).contains(&knock.at)) {
                let (clean, unclear) = counted.entry((knock.worker, knock.run)).or_default();
                if knock.clean {
                    *clean += 1;
                } else {
                    *unclear += 1;
                }
            }
            for ((worker, run), (clean, unclear)) in counted {
                // The first intervals are shorter; a probe is a question and at most one trial; one whose answer was lost decided nothing.
                let allowed = 2 * (6 + until.saturating_sub(from) / 5_000 + unclear);
                if clean > allowed {
                    broken.push(format!("worker {worker} (run {run}) knocked {clean} times in {} s", (until - from) / 1000));
                }
            }
        }
        self.broken.append(&mut broken);
    }

    /// The fingerprint of the one key that is an instance's own; none where what it publishes must be refused.
    fn own_key(&self, instance: &str) -> Option<String> {
        let agent = self.fleet.agents.get(instance);
        let good = agent.is_none_or(|agent| agent.material == Material::Good && agent.publish != Publish::Never);
        let key = || format!("{:x}", Md5::digest(material(&Material::Good, self.fleet.plan.seed, instance)));
        good.then(key)
    }

    /// Whether an instance waited for a launch at a time, or less than a minute before it.
    fn waits_for_launch(&self, instance: &str, at: u64) -> bool {
        self.details.actions.iter().any(|action| {
            action.instance == instance
                && action.transition == Kind::Launching
                && action.began_ms <= at
                && action.closed_ms.is_none_or(|closed| closed + SEEN_MS + self.fleet.plan.lag_ms() >= at)
        })
    }

    /// Whether an instance was on its way out, or gone, at a time.
    fn is_leaving(&self, instance: &str, at: u64) -> bool {
        let Some(instance) = self.details.instances.get(instance) else { return false };
        let state = instance.history.iter().rev().find(|(since, _)| *since <= at).map(|(_, state)| *state);
        state.is_some_and(|state| state.name().contains("Terminat"))
    }
}

fn route_of(group: &str) -> usize {
    GROUPS.iter().position(|name| *name == group).unwrap()
}

fn by_node(log: &[LogEntry]) -> HashMap<&str, Vec<&LogEntry>> {
    let mut nodes: HashMap<&str, Vec<&LogEntry>> = HashMap::new();
    for entry in log {
        nodes.entry(&entry.node).or_default().push(entry);
    }
    nodes
}

/// Whether the registrar reported success for a node with this key in the time of an action.
fn was_associated(log: &[&LogEntry], (from, until): (u64, u64), key: Option<&str>) -> bool {
    let success = |entry: &&&LogEntry| entry.what == Happened::Associated && (from..=until).contains(&entry.at_ms);
    key.is_some() && log.iter().filter(success).any(|entry| entry.fingerprint.as_deref() == key)
}
