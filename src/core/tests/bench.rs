//! Services made by hand: just enough of SQS, Auto Scaling, SSM and a registrar to run the core against, under virtual time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use wildmatch::WildMatch;

use crate::core::call::{Answer, Call, CallId, DeadLetter, RouteId, ScopeId, ServerId};
use crate::core::observation::{Observation, Outcome};
use crate::core::settings::{DeleteKey, KeySource, MaxRates, OnFailure, Route, Settings, Unmatched};
use crate::core::{Core, Flight, Moment, Timer, samples};
use crate::event::{LifecycleAction, Place, Transition};
use crate::facts::{
    ActionReply, ActionResult, Certificate, CommandId, CommandOutput, Health, HookFacts, InstanceSeen, KeyAnswer, KeyMaterial,
    LifecycleState, MessageBody, QueueFacts, ReceivedMessage, Registration, RegistrationStatus, StatusToken, Whereabouts,
};
use crate::names::{AccountId, GroupName, HookName, InstanceId, LifecycleActionToken, MessageId, ReceiptHandle, Region, Template};
use crate::retry::{Class, Failure, Schedule};

const WALL_MS: u64 = 1_700_000_000_000;
/// Every operation there is, by the names that the core has for them.
const OPERATIONS: [&str; 20] = [
    "GetQueueAttributes",
    "ReceiveMessage",
    "ChangeMessageVisibilityBatch",
    "SendMessage",
    "DeleteMessageBatch",
    "DescribeAutoScalingInstances",
    "DescribeLifecycleHooks",
    "DescribeScalingActivities",
    "RecordLifecycleActionHeartbeat",
    "CompleteLifecycleAction",
    "GetParameters",
    "SendCommand",
    "GetCommandInvocation",
    "PutParameter",
    "DeleteParameters",
    "Associate",
    "AssociationStatus",
    "Disassociate",
    "Clear",
    "CheckHealth",
];
/// The status token of an order that fails since the node is there already.
const EXISTS: &str = "exists";

pub(in crate::core) fn settings() -> Settings {
    let seconds = Duration::from_secs;
    Settings {
        worker: "bench".into(),
        max_open: 20_000,
        max_calls: 64,
        max_polls: 8,
        poll_wait: seconds(20),
        visibility: seconds(120),
        grace: seconds(25),
        call_timeout: seconds(15),
        max_deliveries: 10,
        patience: seconds(60),
        accounts: Vec::new(),
        regions: Vec::new(),
        own_account: None,
        unmatched: Unmatched::DeadLetter,
        transient: Schedule::doubling(Duration::from_millis(500), seconds(30)),
        not_ready: Schedule::doubling(seconds(2), seconds(10)),
        route_fault: Schedule::doubling(seconds(15), seconds(60)),
        max_rates: MaxRates::new(),
        routes: vec![Route {
            name: "web".into(),
            groups: vec![WildMatch::new("web*")],
            scope: ScopeId(0),
            account: None,
            region: None,
            server: ServerId(0),
            counted_by_aws: true,
            second_chance: true,
            node_name: Template::new("{instance_id}").unwrap(),
            key: KeySource::Parameter { name: Template::new("/enrolld/{instance_id}/public-key").unwrap(), batch: 10 },
            key_poll: seconds(5),
            key_rate: 20.0,
            status_poll: Schedule::doubling(seconds(1), seconds(5)),
            timeout: seconds(1800),
            on_failure: OnFailure::Abandon,
            delete_key: DeleteKey::Never,
            max_abandons: 5,
            abandon_window: seconds(600),
            max_rate: None,
            certificate: None,
        }],
    }
}

struct Stored {
    body: MessageBody,
    visible_at: u64,
    receives: u32,
    handle: u64,
    earlier_run: bool,
}

/// What a server answers where a node is there already that it is to associate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeated {
    Success,
    Failed,
    Validation,
}

/// The worker under test, and what it is tested against.
pub(super) struct Bench {
    core: Core,
    now: u64,
    pub latency_ms: u64,
    /// What a receive takes of messages that are there.
    pub receive_ms: u64,
    messages: BTreeMap<u64, Stored>,
    /// What each order said of its hook's metadata, where it said anything.
    pub told: Vec<std::sync::Arc<str>>,
    sent: u64,
    states: HashMap<InstanceId, LifecycleState>,
    closed: BTreeSet<String>,
    /// Each with when it is answered at the earliest and at the latest, and the visibility that it asked for.
    polls: Vec<(CallId, u64, u64, u64)>,
    in_flight: BTreeMap<(u64, u64), (CallId, Call)>,
    pub calls: Vec<&'static str>,
    /// The same calls with the time at which they were made, long polls aside.
    pub made: Vec<(u64, Call)>,
    pub observations: Vec<Observation>,
    pub completions: Vec<(u32, ActionResult)>,
    pub letters: Vec<DeadLetter>,
    pub server: Result<(), Failure>,
    /// What the server says of its health, where that does not follow from `server`.
    pub health: Option<Health>,
    pub keys: HashMap<u32, KeyAnswer>,
    /// An instance that fails each call of an operation that names it, and with what.
    pub poison: HashMap<&'static str, (u32, Failure)>,
    pub whereabouts: Whereabouts,
    pub heartbeat_timeout_s: u32,
    pub in_progress: bool,
    /// What status polls answer, last first; success once they are used up.
    pub statuses: Vec<RegistrationStatus>,
    /// How long an association is in progress.
    pub association_ms: u64,
    /// When each was ordered.
    ordered: HashMap<InstanceId, u64>,
    /// The groups have no hooks any more.
    pub no_hooks: bool,
    pub dead_letter_queue: bool,
    /// Why it is not known where dead letters go.
    pub dead_letters_unknown: Option<Failure>,
    /// The groups have a launch hook of somebody else's, for which instances wait on.
    pub other_hook: bool,
    /// Whether an action that runs out goes on.
    pub default_continue: bool,
    /// By how much the wall clock was set forward.
    pub wall_ahead_ms: u64,
    /// So many attributes of a letter are taken at most.
    pub most_attributes: Option<usize>,
    pub lose_completions: u32,
    pub redeliveries: u32,
    pub panics: u32,
    pub no_credentials: bool,
    /// A group whose activities cannot be had: each call for them hangs.
    pub hanging_group: Option<&'static str>,
    /// A scope in which no instance can be looked at, and what that fails with.
    pub blind: Option<(ScopeId, Failure)>,
    /// What an operation fails with, before it does anything.
    pub faults: HashMap<&'static str, Failure>,
    /// How long an operation takes, where that is not `latency_ms`; what it does, it does at the end.
    pub slow: HashMap<&'static str, u64>,
    /// How often an operation panics.
    pub panicking: HashMap<&'static str, u32>,
    /// How often an operation's answer is lost after it did what it does.
    pub lost_answers: HashMap<&'static str, u32>,
    /// Tokens whose lifecycle action is over.
    pub closed_tokens: BTreeSet<LifecycleActionToken>,
    pub max_receive_count: Option<u32>,
    /// The nodes on the registrar.
    pub nodes: BTreeSet<u32>,
    /// When each instance's heartbeats came.
    pub beats: Vec<(u32, u64)>,
    /// A node whose orders are refused, and with what.
    pub refused_node: Option<(u32, Failure)>,
    pub repeated: Repeated,
    /// How many commands fail on their instances yet.
    pub failing_commands: u32,
    /// Instances whose agent has not registered: a command to one of them fails as a whole.
    pub unregistered: BTreeSet<u32>,
    /// A route whose server times out, after ten seconds.
    pub away: Option<RouteId>,
    /// What the server signs for each node.
    pub certificate: Option<String>,
    /// What was written under which parameter.
    pub written: Vec<(String, String)>,
    /// Which parameters were deleted.
    pub deleted: Vec<String>,
    groups: HashMap<InstanceId, GroupName>,
    /// Whether Auto Scaling ends an action (a launch by ABANDON) when its heartbeat time-out is over.
    pub hooks_time_out: bool,
    /// The actions that it ended so, by instance.
    pub timed_out: Vec<u32>,
    /// Open actions, and when each began or was last kept open.
    kept_at: BTreeMap<LifecycleActionToken, (InstanceId, u64)>,
    /// Breaks calls at random while there is one, with this chance.
    pub chaos: Option<(fastrand::Rng, f64)>,
}

/// An operation by its name; one that there is not would be slowed, broken or counted in vain.
fn known(operation: &str) -> &str {
    assert!(OPERATIONS.contains(&operation), "there is no operation {operation}");
    operation
}

fn number(instance: &InstanceId) -> u32 {
    u32::from_str_radix(&instance.as_str()[2..], 16).unwrap()
}

impl Bench {
    /// A worker that has lived for long enough to take as much as it can.
    pub fn settled(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        bench.run_for(5_000);
        bench
    }

    pub fn new(settings: Settings) -> Self {
        let start = Moment { mono_ms: 1_000_000_000, wall_ms: WALL_MS };
        Self {
            core: Core::new(settings, 42, start),
            now: 0,
            latency_ms: 1,
            receive_ms: 0,
            messages: BTreeMap::new(),
            sent: 0,
            states: HashMap::new(),
            closed: BTreeSet::new(),
            polls: Vec::new(),
            in_flight: BTreeMap::new(),
            calls: Vec::new(),
            made: Vec::new(),
            observations: Vec::new(),
            completions: Vec::new(),
            told: Vec::new(),
            letters: Vec::new(),
            server: Ok(()),
            health: None,
            keys: HashMap::new(),
            poison: HashMap::new(),
            whereabouts: Whereabouts::Unproven,
            heartbeat_timeout_s: 3600,
            in_progress: false,
            statuses: Vec::new(),
            association_ms: 0,
            ordered: HashMap::new(),
            no_hooks: false,
            dead_letter_queue: true,
            dead_letters_unknown: None,
            other_hook: false,
            default_continue: false,
            wall_ahead_ms: 0,
            most_attributes: None,
            lose_completions: 0,
            redeliveries: 0,
            panics: 0,
            no_credentials: false,
            blind: None,
            hanging_group: None,
            faults: HashMap::new(),
            slow: HashMap::new(),
            panicking: HashMap::new(),
            lost_answers: HashMap::new(),
            closed_tokens: BTreeSet::new(),
            max_receive_count: Some(100),
            nodes: BTreeSet::new(),
            beats: Vec::new(),
            refused_node: None,
            repeated: Repeated::Success,
            failing_commands: 0,
            unregistered: BTreeSet::new(),
            away: None,
            certificate: None,
            written: Vec::new(),
            deleted: Vec::new(),
            groups: HashMap::new(),
            hooks_time_out: false,
            timed_out: Vec::new(),
            kept_at: BTreeMap::new(),
            chaos: None,
        }
    }

    fn moment(&self) -> Moment {
        Moment { mono_ms: 1_000_000_000 + self.now, wall_ms: WALL_MS + self.now + self.wall_ahead_ms }
    }

    pub fn send(&mut self, body: &str) -> u64 {
        self.sent += 1;
        self.messages
            .insert(self.sent, Stored { body: MessageBody::new(body), visible_at: self.now, receives: 0, handle: 0, earlier_run: false });
        self.sent
    }

    fn send_claim(&mut self, claim: &LifecycleAction, ago_ms: u64) -> u64 {
        self.send_claim_of(claim, WALL_MS + self.now - ago_ms)
    }

    fn send_claim_of(&mut self, claim: &LifecycleAction, wall_ms: u64) -> u64 {
        self.kept_at.entry(claim.token.clone()).or_insert_with(|| (claim.instance.clone(), self.now));
        let time = jiff::Timestamp::from_millisecond(i64::try_from(wall_ms).unwrap()).unwrap();
        let transition = match claim.transition {
            Transition::Launching => "autoscaling:EC2_INSTANCE_LAUNCHING",
            Transition::Terminating => "autoscaling:EC2_INSTANCE_TERMINATING",
        };
        let mut body = serde_json::json!({
            "Service": "AWS Auto Scaling", "AccountId": claim.account.as_str(), "Time": time.to_string(),
            "AutoScalingGroupName": claim.group.as_str(), "EC2InstanceId": claim.instance.as_str(),
            "LifecycleHookName": claim.hook.as_str(), "LifecycleActionToken": claim.token.as_str(), "LifecycleTransition": transition,
        });
        if claim.origin == Some(Place::WarmPool) {
            body["Origin"] = "WarmPool".into();
            body["Destination"] = "AutoScalingGroup".into();
        }
        if claim.destination == Some(Place::WarmPool) {
            body["Destination"] = "WarmPool".into();
        }
        self.send(&body.to_string())
    }

    pub fn launch(&mut self, n: u32) {
        self.launch_at(n, 0);
    }

    pub fn launch_at(&mut self, n: u32, ago_ms: u64) {
        let claim = samples::claim(Transition::Launching, n);
        self.states.insert(claim.instance.clone(), LifecycleState::PendingWait);
        self.send_claim(&claim, ago_ms);
    }

    /// A launch that begins, and of which nobody has heard yet.
    pub fn begin_launch(&mut self, n: u32) {
        let claim = samples::claim(Transition::Launching, n);
        self.states.insert(claim.instance.clone(), LifecycleState::PendingWait);
        self.kept_at.insert(claim.token, (claim.instance, self.now));
    }

    /// What somebody was woken for.
    pub fn security_events(&self) -> Vec<&str> {
        let events =
            self.observations.iter().filter_map(|o| if let Observation::Security { reason, .. } = o { Some(reason) } else { None });
        events.map(|reason| reason.code.as_str()).collect()
    }

    /// A launch in another group.
    pub fn launch_in(&mut self, n: u32, group: &str) {
        let mut claim = samples::claim(Transition::Launching, n);
        claim.group = GroupName::new(group).unwrap();
        self.groups.insert(claim.instance.clone(), claim.group.clone());
        self.states.insert(claim.instance.clone(), LifecycleState::PendingWait);
        self.send_claim(&claim, 0);
    }

    /// A launch whose event bears a time that is still to come.
    pub fn launch_in_future(&mut self, n: u32, ahead_ms: u64) {
        let claim = samples::claim(Transition::Launching, n);
        self.states.insert(claim.instance.clone(), LifecycleState::PendingWait);
        self.send_claim_of(&claim, WALL_MS + self.now + ahead_ms);
    }

    /// One more launch action of the same instance (out of its warm pool, say), with a token of its own; the one before is over.
    pub fn launch_again(&mut self, n: u32, time: u32) {
        let mut claim = samples::claim(Transition::Launching, n);
        self.closed_tokens.insert(claim.token.clone());
        claim.token = LifecycleActionToken::new(&format!("{n:08x}-0000-4000-9000-{time:012x}")).unwrap();
        self.states.insert(claim.instance.clone(), LifecycleState::PendingWait);
        self.send_claim(&claim, 0);
    }

    /// A launch out of the warm pool.
    pub fn launch_from_pool(&mut self, n: u32) {
        let mut claim = samples::claim(Transition::Launching, n);
        claim.origin = Some(Place::WarmPool);
        self.states.insert(claim.instance.clone(), LifecycleState::PendingWait);
        self.send_claim(&claim, 0);
    }

    /// A launch into the warm pool, by an event that does not say where it leads.
    pub fn launch_into_pool(&mut self, n: u32) {
        let claim = samples::claim(Transition::Launching, n);
        self.states.insert(claim.instance.clone(), LifecycleState::WarmedPendingWait);
        self.send_claim(&claim, 0);
    }

    /// A message about a launch that somebody made up: with a token of no action, and whatever else is changed in it.
    pub fn forge(&mut self, n: u32, number: u32, change: impl FnOnce(&mut serde_json::Value)) {
        let claim = samples::claim(Transition::Launching, n);
        let token = LifecycleActionToken::new(&format!("{n:08x}-bad0-4000-8000-{number:012x}")).unwrap();
        let mut body = serde_json::json!({
            "AccountId": claim.account.as_str(), "AutoScalingGroupName": claim.group.as_str(), "EC2InstanceId": claim.instance.as_str(),
            "LifecycleHookName": claim.hook.as_str(), "LifecycleActionToken": token.as_str(),
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        });
        change(&mut body);
        self.closed_tokens.insert(token);
        self.send(&body.to_string());
    }

    /// The bodies of all messages in hand, in bytes.
    pub fn bytes_in_hand(&self) -> usize {
        self.core.messages.values().map(|message| message.body.as_str().len()).sum()
    }

    /// How many messages are in hand.
    pub fn in_hand(&self) -> usize {
        self.core.messages.len()
    }

    /// A launch that was received before.
    pub fn launch_received(&mut self, n: u32, receives: u32) {
        self.launch(n);
        self.messages.last_entry().unwrap().get_mut().receives = receives - 1;
    }

    pub fn duplicate(&mut self, n: u32) {
        self.send_claim(&samples::claim(Transition::Launching, n), 0);
    }

    /// The same launch in one more message, that was received before.
    pub fn duplicate_received(&mut self, n: u32, receives: u32) {
        self.duplicate(n);
        self.messages.last_entry().unwrap().get_mut().receives = receives - 1;
    }

    /// A launch whose letter owed its node, and was sent back.
    pub fn launch_sent_back(&mut self, n: u32) {
        self.launch(n);
        self.messages.last_entry().unwrap().get_mut().earlier_run = true;
    }

    /// Every message is visible again, received by others as often as `receives` says with the receive that follows.
    pub fn deliver_again(&mut self, receives: u32) {
        for stored in self.messages.values_mut() {
            stored.visible_at = self.now;
            stored.receives = receives;
        }
    }

    pub fn terminate(&mut self, n: u32) {
        let claim = samples::claim(Transition::Terminating, n);
        self.states.insert(claim.instance.clone(), LifecycleState::TerminatingWait);
        self.send_claim(&claim, 0);
    }

    /// A termination that says where it leads.
    pub fn terminate_to(&mut self, n: u32, destination: Place) {
        let claim = LifecycleAction { destination: Some(destination), ..samples::claim(Transition::Terminating, n) };
        self.send_claim(&claim, 0);
        if destination == Place::Ec2 {
            let stored = self.messages.last_entry().unwrap().into_mut();
            stored.body = MessageBody::new(stored.body.as_str().replacen('{', "{\"Destination\": \"EC2\", ", 1));
        }
    }

    pub fn set_state(&mut self, n: u32, state: Option<LifecycleState>) {
        let instance = samples::claim(Transition::Launching, n).instance;
        match state {
            Some(state) => self.states.insert(instance, state),
            None => self.states.remove(&instance),
        };
    }

    /// Somebody else ends the launch just as it is completed, and the instance goes into `state`.
    pub fn close(&mut self, n: u32, state: LifecycleState) {
        self.closed.insert(format!("{n}:{state:?}"));
    }

    /// The worker panics at some point, once it was there `skip` times, and so often.
    pub fn break_at(&mut self, point: &'static str, skip: u32, times: u32) {
        self.core.trips.set(point, skip, times);
    }

    /// How often it panicked so.
    pub fn broke(&self) -> u32 {
        self.core.trips.sprung()
    }

    /// The worker panics where it makes a call about an instance.
    pub fn break_calls_of(&mut self, n: Option<u32>) {
        self.core.trips.unbuildable = n.map(|n| samples::claim(Transition::Launching, n).instance);
    }

    pub fn shut_down(&mut self) {
        let now = self.moment();
        self.core.shut_down(now);
    }

    pub fn is_done(&self) -> bool {
        self.core.is_done()
    }

    pub fn run_for(&mut self, ms: u64) {
        let until = self.now + ms;
        let named = self.faults.keys().chain(self.slow.keys()).chain(self.panicking.keys()).chain(self.lost_answers.keys());
        named.for_each(|operation| _ = known(operation));
        loop {
            let outbox = self.core.poll(self.moment());
            self.observations.extend(outbox.observations);
            for abort in outbox.aborts {
                self.polls.retain(|(id, ..)| *id != abort);
                self.in_flight.retain(|_, (id, _)| *id != abort);
            }
            for (id, call) in outbox.calls {
                self.calls.push(call.operation());
                known(call.operation());
                if let Call::Receive { wait, visibility, .. } = call {
                    let (earliest, latest) = (self.now + self.receive_ms, self.now + wait.as_millis() as u64);
                    self.polls.push((id, earliest, latest, visibility.as_millis() as u64));
                } else {
                    let away = matches!(call, Call::Associate { route, .. } if self.away == Some(route));
                    let takes = if self.hangs(&call) {
                        15_000
                    } else if away {
                        10_000
                    } else {
                        self.slow.get(call.operation()).copied().unwrap_or(self.latency_ms)
                    };
                    self.made.push((self.now, call.clone()));
                    self.in_flight.insert((self.now + takes, id.0), (id, call));
                }
            }
            if self.serve_polls() {
                continue;
            }
            let wake = self.core.next_wake().map(|at| at.saturating_sub(1_000_000_000));
            let next = [
                wake,
                self.in_flight.first_key_value().map(|((at, _), _)| *at),
                self.polls.iter().map(|(_, earliest, until, _)| if *earliest > self.now { *earliest } else { *until }).min(),
                self.messages.values().map(|stored| stored.visible_at).filter(|at| *at > self.now).min(),
            ];
            let next = next.into_iter().flatten().min().unwrap_or(until);
            if next > until {
                self.now = until;
                return;
            }
            assert!(next > self.now || self.in_flight.first_key_value().is_some_and(|((at, _), _)| *at <= self.now), "the core spins");
            self.now = next;
            while let Some(entry) = self.in_flight.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let (id, call) = entry.remove();
                let answer = self.answer(call);
                let now = self.moment();
                self.core.answer(now, id, answer);
            }
        }
    }

    fn hangs(&self, call: &Call) -> bool {
        matches!(call, Call::FindWhereabouts { group, .. } if Some(group.as_str()) == self.hanging_group)
    }

    fn serve_polls(&mut self) -> bool {
        let mut served = false;
        while let Some(&(id, _, until, visibility)) = self.polls.first().filter(|(_, earliest, ..)| *earliest <= self.now) {
            let visible: Vec<u64> = self.messages.iter().filter(|(_, m)| m.visible_at <= self.now).map(|(key, _)| *key).take(10).collect();
            if visible.is_empty() && self.now < until {
                return served;
            }
            self.polls.remove(0);
            if let Some(failure) = self.faults.get("ReceiveMessage") {
                let answer = Answer::Received(Err(failure.clone()));
                let now = self.moment();
                self.core.answer(now, id, answer);
                served = true;
                continue;
            }
            let mut received = Vec::new();
            for key in visible {
                let stored = self.messages.get_mut(&key).unwrap();
                stored.receives += 1;
                stored.handle += 1;
                stored.visible_at = self.now + visibility;
                self.redeliveries += u32::from(stored.handle > 1);
                received.push(ReceivedMessage {
                    id: MessageId::new(&key.to_string()).unwrap(),
                    handle: ReceiptHandle::new(&format!("{key}/{}", stored.handle)).unwrap(),
                    body: stored.body.clone(),
                    sent_ms: Some(WALL_MS),
                    receive_count: stored.receives,
                    earlier_run: stored.earlier_run,
                });
            }
            let now = self.moment();
            self.core.answer(now, id, Answer::Received(Ok(received)));
            served = true;
        }
        served
    }

    fn stored(&mut self, handle: &ReceiptHandle) -> Option<(u64, &mut Stored)> {
        let (key, receive) = handle.as_str().split_once('/')?;
        let key: u64 = key.parse().ok()?;
        let stored = self.messages.get_mut(&key)?;
        (stored.handle.to_string() == receive).then_some((key, stored))
    }

    /// Ends what was not kept open, as Auto Scaling does.
    fn time_out_hooks(&mut self) {
        let timeout = u64::from(self.heartbeat_timeout_s) * 1000;
        let over: Vec<_> = self.kept_at.iter().filter(|(_, (_, at))| self.now > at + timeout).map(|(token, _)| token.clone()).collect();
        for token in over {
            let Some((instance, _)) = self.kept_at.remove(&token) else { continue };
            self.timed_out.push(number(&instance));
            self.states.insert(instance, LifecycleState::TerminatingProceed);
            self.closed_tokens.insert(token);
        }
    }

    /// What a call brings, with whatever is to go wrong with it.
    fn answer(&mut self, call: Call) -> Answer {
        let operation = call.operation();
        if self.hooks_time_out {
            self.time_out_hooks();
        }
        if take_one(&mut self.panicking, operation) {
            return Answer::Panicked("out of luck".into());
        }
        if self.no_credentials {
            return refuse(&call, Failure::new(Class::RouteFault, "credentials", "there are none"));
        }
        if let Call::Associate { route, .. } | Call::CheckHealth { route } = call
            && self.away == Some(route)
        {
            return refuse(&call, Failure::new(Class::Transient, "timeout", "no answer"));
        }
        if let (Call::DescribeInstances { scope, .. }, Some((blind, failure))) = (&call, &self.blind)
            && scope == blind
        {
            return refuse(&call, failure.clone());
        }
        if self.hangs(&call) {
            return refuse(&call, Failure::new(Class::Transient, "timeout", "no answer"));
        }
        if let Some(failure) = self.faults.get(operation) {
            return refuse(&call, failure.clone());
        }
        if let Some((n, failure)) = self.poison.get(operation)
            && named(&call).contains(n)
        {
            return refuse(&call, failure.clone());
        }
        let lost = || Failure::new(Class::Transient, "timeout", "no answer");
        let asked = call.clone();
        if take_one(&mut self.lost_answers, operation) {
            self.perform(call);
            return refuse(&asked, lost());
        }
        let Some((rng, chance)) = &mut self.chaos else { return self.perform(call) };
        if rng.f64() >= *chance {
            return self.perform(call);
        }
        let failure = match rng.u8(0..6) {
            0 => {
                self.perform(call);
                return refuse(&asked, lost());
            }
            1 => return Answer::Panicked("out of luck".into()),
            2 => Failure::new(Class::Throttled, "Throttling", "slow down"),
            3 => Failure::new(Class::RouteFault, "AccessDenied", "not you"),
            4 if matches!(call, Call::Associate { .. } | Call::Disassociate { .. } | Call::CheckHealth { .. }) => {
                Failure::new(Class::NotReady, "InvalidStateException", "maintenance")
            }
            4 => Failure::new(Class::RouteFault, "ExpiredToken", "expired"),
            _ => lost(),
        };
        refuse(&asked, failure)
    }

    fn perform(&mut self, call: Call) -> Answer {
        let now = self.now;
        match call {
            Call::DescribeQueue => Answer::Queue(Ok(QueueFacts {
                account: AccountId::new("123456789012").unwrap(),
                region: Region::new("eu-central-1").unwrap(),
                dead_letter_url: self.dead_letter_queue.then(|| "https://dead".into()),
                dead_letters_unknown: self.dead_letters_unknown.clone(),
                max_receive_count: self.max_receive_count,
            })),
            Call::Receive { .. } => unreachable!("polls are served apart"),
            Call::Extend { messages, visibility } => {
                for held in &messages {
                    if let Some((_, stored)) = self.stored(&held.handle) {
                        stored.visible_at = now + visibility.as_millis() as u64;
                    }
                }
                Answer::Entries(Ok(messages.iter().map(|_| Ok(())).collect()))
            }
            Call::Release { messages } => {
                for (held, delay) in &messages {
                    if let Some((_, stored)) = self.stored(&held.handle) {
                        stored.visible_at = now + delay.as_millis() as u64;
                    }
                }
                Answer::Entries(Ok(messages.iter().map(|_| Ok(())).collect()))
            }
            Call::Delete { messages } => {
                for held in &messages {
                    if let Some((key, _)) = self.stored(&held.handle) {
                        self.messages.remove(&key);
                    }
                }
                Answer::Entries(Ok(messages.iter().map(|_| Ok(())).collect()))
            }
            Call::DeadLetter { letter, .. } if self.most_attributes.is_some_and(|most| letter.attributes.len() > most) => {
                Answer::DeadLettered(Err(Failure::new(Class::Final, "InvalidParameterValue", "too many")))
            }
            Call::DeadLetter { letter, .. } => {
                self.letters.push(letter);
                Answer::DeadLettered(Ok(()))
            }
            Call::DescribeInstances { instances, .. } => {
                let seen = instances.into_iter().map(|instance| {
                    let state = *self.states.get(&instance)?;
                    let group = self.groups.get(&instance).cloned().unwrap_or_else(|| samples::claim(Transition::Launching, 1).group);
                    Some(InstanceSeen { group, instance, state })
                });
                Answer::Instances(Ok(seen.collect()))
            }
            Call::DescribeHooks { .. } if self.no_hooks => Answer::Hooks(Ok(Vec::new())),
            Call::DescribeHooks { .. } => {
                let hook = |name: &str, launching| HookFacts {
                    name: HookName::new(name).unwrap(),
                    launching,
                    heartbeat_timeout_s: self.heartbeat_timeout_s,
                    global_timeout_s: (self.heartbeat_timeout_s * 100).min(48 * 3600),
                    default_continue: self.default_continue,
                    metadata: Some("the hook's own".into()),
                };
                let mut hooks = vec![hook("enrol-on-launch", true), hook("leave-on-terminate", false)];
                hooks.extend(self.other_hook.then(|| hook("converge", true)));
                Answer::Hooks(Ok(hooks))
            }
            Call::FindWhereabouts { instances, .. } => Answer::Whereabouts(Ok(instances.iter().map(|_| self.whereabouts).collect())),
            Call::Heartbeat { order, .. } => {
                self.beats.push((number(&order.instance), now));
                if let Some((_, at)) = self.kept_at.get_mut(&order.token) {
                    *at = now;
                }
                Answer::Action(Ok(if self.closed_tokens.contains(&order.token) { ActionReply::Closed } else { ActionReply::Accepted }))
            }
            Call::Complete { order, .. } if self.closed_tokens.contains(&order.token) => Answer::Action(Ok(ActionReply::Closed)),
            Call::Complete { order, result, .. } => {
                // A token completes its own action, whoever names it.
                let instance = self.kept_at.remove(&order.token).map_or(order.instance, |(instance, _)| instance);
                self.closed_tokens.insert(order.token);
                self.complete(&instance, result)
            }
            Call::FetchKeys { wanted, .. } => {
                let found = wanted.iter().map(|wanted| Ok(self.keys.get(&number(&wanted.instance)).cloned().unwrap_or_else(good_key)));
                Answer::Keys(Ok(found.collect()))
            }
            Call::PutParameter { parameter, certificate, .. } => {
                self.written.push((parameter.to_string(), certificate.0.to_string()));
                Answer::Delivered(Ok(()))
            }
            Call::DeleteParameters { parameters, .. } => {
                self.deleted.extend(parameters.iter().map(ToString::to_string));
                Answer::Entries(Ok(parameters.iter().map(|_| Ok(())).collect()))
            }
            Call::Associate { .. } if self.panics > 0 => {
                self.panics -= 1;
                Answer::Panicked("out of luck".into())
            }
            Call::Associate { ref order, .. } | Call::Disassociate { ref order, .. } => {
                let n = number(&order.action.instance);
                self.told.extend(order.metadata.clone());
                if let Some((_, failure)) = self.refused_node.as_ref().filter(|(refused, _)| *refused == n) {
                    return Answer::Registration(Err(failure.clone()));
                }
                let is_repeated = matches!(call, Call::Associate { .. }) && self.nodes.contains(&n);
                match self.repeated {
                    Repeated::Failed if is_repeated => {
                        return Answer::Registration(Ok(Registration::InProgress(StatusToken::new(EXISTS))));
                    }
                    Repeated::Validation if is_repeated => {
                        return Answer::Registration(Err(Failure::new(Class::Final, "ValidationException", "it is there already")));
                    }
                    _ => {}
                }
                self.ordered.insert(order.action.instance.clone(), now);
                if self.server.is_ok() {
                    let _ = if matches!(call, Call::Associate { .. }) { self.nodes.insert(n) } else { self.nodes.remove(&n) };
                }
                Answer::Registration(self.server.clone().map(|()| match (&self.certificate, self.in_progress) {
                    (_, true) => Registration::InProgress(StatusToken::new("token")),
                    (Some(certificate), false) => Registration::Signed(Certificate(certificate.as_str().into())),
                    (None, false) => Registration::Done,
                }))
            }
            Call::Clear { .. } => Answer::Registration(self.server.clone().map(|()| Registration::Done)),
            Call::AssociationStatus { token, .. } if token.as_str() == EXISTS => {
                Answer::Status(Ok(RegistrationStatus::Failed("no reason".into())))
            }
            Call::AssociationStatus { order, .. }
                if self.ordered.get(&order.action.instance).is_some_and(|at| now < at + self.association_ms) =>
            {
                Answer::Status(Ok(RegistrationStatus::InProgress))
            }
            Call::AssociationStatus { .. } => Answer::Status(Ok(self.statuses.pop().unwrap_or(RegistrationStatus::Success))),
            Call::CheckHealth { .. } if self.health.is_some() => Answer::Health(Ok(self.health.clone().expect("there is one"))),
            Call::CheckHealth { .. } => Answer::Health(match &self.server {
                Ok(()) => Ok(Health::Ready),
                Err(failure) if failure.class == Class::NotReady => Ok(Health::NotReady("UNDER_MAINTENANCE".into())),
                Err(failure) => Err(failure.clone()),
            }),
            Call::SendCommand { instances, .. } if instances.iter().any(|id| self.unregistered.contains(&number(id))) => {
                Answer::CommandSent(Err(Failure::new(Class::NotReady, "InvalidInstanceId", "")))
            }
            Call::SendCommand { .. } => Answer::CommandSent(Ok(CommandId("command".into()))),
            Call::FetchOutput { .. } if self.failing_commands > 0 => {
                self.failing_commands -= 1;
                Answer::Output(Ok(CommandOutput::Failed("response code 1".into())))
            }
            Call::FetchOutput { .. } => Answer::Output(Ok(CommandOutput::Ended(good_key()))),
        }
    }

    fn complete(&mut self, instance: &InstanceId, result: ActionResult) -> Answer {
        let n = number(instance);
        if let Some(closing) = self.closed.iter().find(|closing| closing.starts_with(&format!("{n}:"))).cloned() {
            self.closed.remove(&closing);
            self.states.insert(instance.clone(), LifecycleState::TerminatingWait);
            return Answer::Action(Ok(ActionReply::Closed));
        }
        let waits = self.states.get(instance).copied();
        let next = match (waits, result) {
            (Some(waits @ (LifecycleState::PendingWait | LifecycleState::WarmedPendingWait)), ActionResult::Continue)
                if self.other_hook =>
            {
                waits
            }
            (Some(LifecycleState::PendingWait | LifecycleState::WarmedPendingWait), ActionResult::Continue) => LifecycleState::Living,
            (Some(LifecycleState::PendingWait | LifecycleState::TerminatingWait), _) => LifecycleState::TerminatingProceed,
            _ => return Answer::Action(Ok(ActionReply::Closed)),
        };
        self.states.insert(instance.clone(), next);
        self.completions.push((n, result));
        if self.lose_completions > 0 {
            self.lose_completions -= 1;
            return Answer::Action(Err(Failure::new(Class::Transient, "timeout", "no answer")));
        }
        Answer::Action(Ok(ActionReply::Accepted))
    }

    pub fn count(&self, operation: &str) -> usize {
        let operation = known(operation);
        self.calls.iter().filter(|call| **call == operation).count()
    }

    /// How often it was said that an operation is in trouble.
    pub fn trouble_with(&self, operation: &str) -> usize {
        let said =
            |observation: &&Observation| matches!(observation, Observation::ServiceTrouble { operation: of, .. } if *of == operation);
        self.observations.iter().filter(said).count()
    }

    /// The calls of some operations, in their order.
    pub fn order_of(&self, operations: &[&str]) -> Vec<&'static str> {
        operations.iter().for_each(|operation| _ = known(operation));
        self.calls.iter().copied().filter(|call| operations.contains(call)).collect()
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        let ended = self.observations.iter().filter_map(|o| if let Observation::Ended(record) = o { Some(record.outcome) } else { None });
        ended.collect()
    }

    /// What each ended with, and why.
    pub fn reasons(&self) -> Vec<(Outcome, String)> {
        let ended = self.observations.iter().filter_map(|o| if let Observation::Ended(record) = o { Some(record) } else { None });
        ended.map(|record| (record.outcome, record.reason.as_ref().map_or_else(String::new, |reason| reason.code.clone()))).collect()
    }

    /// How the action ended, by each letter.
    pub fn letter_outcomes(&self) -> Vec<&str> {
        self.letter_attribute("EnrolldOutcome")
    }

    /// What each letter says under a name.
    pub fn letter_attribute(&self, name: &str) -> Vec<&str> {
        let said = |letter: &'_ DeadLetter| letter.attributes.iter().position(|(called, _)| *called == name);
        self.letters.iter().filter_map(|letter| Some(letter.attributes[said(letter)?].1.as_str())).collect()
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn open(&self) -> usize {
        self.core.actions.len()
    }

    /// That nothing is left of anything in the core: no record, no timer, no ticket, no count.
    pub fn assert_nothing_is_left(&self) {
        let core = &self.core;
        assert!(core.actions.is_empty(), "actions: {:?}", core.actions.values().map(|a| (&a.stage, &a.ending)).collect::<Vec<_>>());
        assert!(core.messages.is_empty(), "messages: {:?}", core.messages);
        assert!(core.message_ids.is_empty() && core.tokens.is_empty() && core.turns.is_empty() && core.followed.is_empty());
        assert_eq!(core.by_step.iter().sum::<u32>(), 0, "{:?}", core.by_step);
        assert!(core.held.values().all(|held| *held == 0), "{:?}", core.held);
        assert!(core.gates.values().all(|gate| gate.renewing.is_empty()));
        assert!(core.lanes.values().all(|lane| lane.in_flight == 0));
        assert!(core.flights.values().all(|flight| matches!(flight, Flight::Poll { .. } | Flight::Queue)), "{:?}", core.flights);
        let timers = core
            .timers
            .armed()
            .filter(|timer| !matches!(timer, Timer::Queue | Timer::Receive | Timer::Settled | Timer::Gate(_) | Timer::Parked(_)));
        assert_eq!(timers.collect::<Vec<_>>(), []);
    }

    pub fn queue_is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub fn visible(&self) -> usize {
        self.messages.values().filter(|stored| stored.visible_at <= self.now).count()
    }
}

/// Counts one down, where there is one left.
fn take_one(left: &mut HashMap<&'static str, u32>, operation: &str) -> bool {
    let one = left.get_mut(operation).filter(|count| **count > 0);
    one.map(|count| *count -= 1).is_some()
}

/// The instances that a batch names.
fn named(call: &Call) -> Vec<u32> {
    match call {
        Call::DescribeInstances { instances, .. } | Call::FindWhereabouts { instances, .. } | Call::SendCommand { instances, .. } => {
            instances.iter().map(number).collect()
        }
        Call::FetchKeys { wanted, .. } => wanted.iter().map(|one| number(&one.instance)).collect(),
        _ => Vec::new(),
    }
}

/// A failure of the whole call, as the answer of its kind.
fn refuse(call: &Call, failure: Failure) -> Answer {
    match call {
        Call::DescribeQueue => Answer::Queue(Err(failure)),
        Call::Receive { .. } => Answer::Received(Err(failure)),
        Call::Extend { .. } | Call::Release { .. } | Call::Delete { .. } | Call::DeleteParameters { .. } => Answer::Entries(Err(failure)),
        Call::DeadLetter { .. } => Answer::DeadLettered(Err(failure)),
        Call::PutParameter { .. } => Answer::Delivered(Err(failure)),
        Call::DescribeInstances { .. } => Answer::Instances(Err(failure)),
        Call::DescribeHooks { .. } => Answer::Hooks(Err(failure)),
        Call::FindWhereabouts { .. } => Answer::Whereabouts(Err(failure)),
        Call::Heartbeat { .. } | Call::Complete { .. } => Answer::Action(Err(failure)),
        Call::FetchKeys { .. } => Answer::Keys(Err(failure)),
        Call::SendCommand { .. } => Answer::CommandSent(Err(failure)),
        Call::FetchOutput { .. } => Answer::Output(Err(failure)),
        Call::Associate { .. } | Call::Disassociate { .. } | Call::Clear { .. } => Answer::Registration(Err(failure)),
        Call::AssociationStatus { .. } => Answer::Status(Err(failure)),
        Call::CheckHealth { .. } => Answer::Health(Err(failure)),
    }
}

fn good_key() -> KeyAnswer {
    KeyAnswer::Found(KeyMaterial::new(zeroize::Zeroizing::new("a key".to_owned())))
}
