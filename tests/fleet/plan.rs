//! What happens to one fleet: everything in it follows from the seed.

use std::collections::BTreeMap;
use std::time::Duration;

use enrolld::core::call::{ScopeId, ServerId};
use enrolld::core::settings::{DeleteKey, KeySource, OnFailure, Route, Settings, Unmatched};
use enrolld::names::Template;
use enrolld::retry::Schedule;
use enrolld::simulator::model::agent::{AgentOptions, CommandOutcome, Material, Publish};
use enrolld::simulator::model::autoscaling::{Delivery, Form, GroupOptions, Kind, NewGroup, NewHook, PoolState, WarmPool};
use enrolld::simulator::model::fixture::{DeadLetters, Fixture, NewQueue};
use enrolld::simulator::model::opsworks_cm::wire::ServerStatus;
use enrolld::simulator::model::opsworks_cm::{Engine, NewServer, Repeated, ServerOptions};
use enrolld::simulator::model::sqs::{ExpiredHandles, QueueOptions};
use enrolld::simulator::model::ssm::SsmOptions;
use fastrand::Rng;
use wildmatch::WildMatch;

use crate::services::{DEAD_LETTERS, Outages, QUEUE, Window};

/// When every fleet begins, in Unix milliseconds.
pub const BEGIN: u64 = 1_772_439_300_000;
pub const GROUPS: [&str; 2] = ["web-blue", "db-blue"];
pub const SERVERS: [&str; 2] = ["prod-chef", "other-chef"];
pub const LAUNCH_HOOK: &str = "enrol-on-launch";
pub const TERMINATE_HOOK: &str = "leave-on-terminate";
/// Lifecycle actions that each plan orders; replacements of abandoned launches come on top.
pub const ACTIONS: usize = 20;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

/// How likely each thing is to befall a call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    pub throttled: f64,
    pub server_error: f64,
    /// The connection breaks before the call is processed.
    pub dropped: f64,
    /// The call is processed, and its answer is lost.
    pub answer_lost: f64,
    /// Nothing comes until the call's time-out.
    pub hangs: f64,
    /// The call panics, processed or not.
    pub panics: f64,
    /// The call takes most of its time-out, and ends well.
    pub slow: f64,
}

/// Something that happens to the fleet from outside.
#[derive(Debug, Clone)]
pub enum Deed {
    Launch {
        group: usize,
        agent: AgentOptions,
        into_pool: bool,
    },
    /// An instance in the state that `pick` chooses among those there are.
    Terminate {
        pick: u64,
        early: bool,
    },
    ReturnToPool {
        pick: u64,
    },
    LeavePool,
    Detach {
        pick: u64,
    },
    Standby {
        pick: u64,
    },
    Maintenance {
        server: usize,
        status: ServerStatus,
        for_ms: u64,
    },
    Crash {
        worker: usize,
        down_ms: u64,
    },
    Pause {
        worker: usize,
        for_ms: u64,
    },
    ShutDown {
        worker: usize,
        down_ms: u64,
    },
    /// A message that means harm or nothing.
    Forge {
        kind: Forgery,
        pick: u64,
    },
    /// A body that came before comes again.
    Repeat {
        pick: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Forgery {
    Garbage,
    TestNotification,
    /// A termination of an instance in service, under a token of the forger's.
    Termination,
    /// A launch of an instance that is in service, under a token of the forger's.
    Launch,
    UnknownInstance,
    ForeignAccount,
    NoRoute,
    NoHook,
}

/// What happens to one fleet.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub workers: usize,
    pub settings: Settings,
    pub fixture: Fixture,
    pub outages: Outages,
    pub odds: Odds,
    /// The longest ordinary latency of a call, in milliseconds.
    pub latency_ms: u64,
    /// From then on nothing more goes wrong with calls.
    pub calm_at: u64,
    /// How far each worker's wall clock is off, in milliseconds.
    pub skew_ms: Vec<i64>,
    pub script: Vec<(u64, Deed)>,
    pub max_receive_count: u32,
    /// Whether the hooks' time-outs are so short that some cannot be kept.
    pub short_hooks: bool,
}

impl Plan {
    /// Whether the queue allows so few receives that each counts.
    pub fn spares_receives(&self) -> bool {
        self.max_receive_count < 20
    }

    /// Whether any worker or message can be held up long enough for a short hook to run out.
    pub fn is_disturbed(&self) -> bool {
        let odds = &self.odds;
        let calls = odds.throttled + odds.server_error + odds.dropped + odds.answer_lost + odds.hangs + odds.panics + odds.slow > 0.0;
        let settings = &self.settings;
        let narrow = settings.max_open < 100 || settings.max_calls < 8 || settings.routes.iter().any(|route| route.max_rate.is_some());
        calls || narrow || self.has_crashes() || !self.outages_is_empty()
    }

    /// Whether workers die, stand still or are replaced.
    pub fn has_crashes(&self) -> bool {
        self.script.iter().any(|(_, deed)| matches!(deed, Deed::Crash { .. } | Deed::Pause { .. } | Deed::ShutDown { .. }))
    }

    pub fn outages_is_empty(&self) -> bool {
        let outages = &self.outages;
        outages.missing_server.is_empty()
            && outages.denied.is_empty()
            && outages.no_credentials.is_empty()
            && outages.no_queue.is_empty()
            && !self.script.iter().any(|(_, deed)| matches!(deed, Deed::Maintenance { .. }))
    }

    /// A plan in which nothing goes wrong: one worker, one launch and, a minute later, its termination.
    pub fn plain(seed: u64, repeated: Repeated) -> Self {
        let mut plan = Self::of(seed);
        let mut dice = Dice(Rng::with_seed(seed));
        plan.workers = 1;
        plan.skew_ms = vec![0];
        plan.odds = Odds::default();
        plan.outages = Outages::default();
        plan.latency_ms = 50;
        plan.max_receive_count = 100;
        plan.settings = settings(&mut dice);
        plan.settings.max_open = 1000;
        plan.settings.max_calls = 64;
        for route in &mut plan.settings.routes {
            let name = Template::new("/enrolld/{instance_id}/public-key").unwrap();
            route.key = KeySource::Parameter { name, batch: 10 };
            route.on_failure = OnFailure::Abandon;
            route.delete_key = DeleteKey::Never;
            route.timeout = Duration::from_secs(600);
            route.max_abandons = 5;
            route.max_rate = None;
        }
        plan.short_hooks = false;
        plan.fixture = fixture(&mut dice, false);
        let queue = &mut plan.fixture.queues[1];
        queue.options = QueueOptions { duplicate: 0.0, ..queue.options.clone() };
        queue.dead_letters = Some(DeadLetters { queue: DEAD_LETTERS.into(), max_receive_count: 100 });
        for server in &mut plan.fixture.servers {
            server.options = ServerOptions { repeated, absent: Repeated::Success, ..ServerOptions::default() };
        }
        for group in &mut plan.fixture.groups {
            group.options = GroupOptions { agent: agent(Publish::default(), Material::Good), ..GroupOptions::default() };
        }
        let launch = Deed::Launch { group: 0, agent: agent(Publish::default(), Material::Good), into_pool: false };
        plan.script = vec![(BEGIN + 1_000, launch), (BEGIN + 10 * MINUTE, Deed::Terminate { pick: 0, early: false })];
        plan
    }

    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice(Rng::with_seed(seed ^ 0x5eed_f1ee_7000_0000));
        let dice = &mut dice;
        let span = dice.between(1, 12) * MINUTE;
        let short_hooks = dice.chance(0.3);
        let fixture = fixture(dice, short_hooks);
        let max_receive_count = fixture.queues[1].dead_letters.as_ref().map_or(0, |letters| letters.max_receive_count);
        let mut plan = Self {
            seed,
            workers: dice.between(1, 3) as usize,
            settings: settings(dice),
            fixture,
            outages: Outages::default(),
            odds: odds(dice),
            latency_ms: dice.pick(&[5, 50, 200, 2_000]),
            calm_at: BEGIN + span + dice.between(0, 20) * MINUTE,
            skew_ms: Vec::new(),
            script: Vec::new(),
            max_receive_count,
            short_hooks,
        };
        let off = dice.pick(&[0, 0, 2_000, 600_000]);
        plan.skew_ms = (0..plan.workers).map(|_| dice.0.i64(-off..=off)).collect();
        actions(dice, span, &mut plan.script);
        events(dice, span, &mut plan);
        workers(dice, span, &mut plan);
        if plan.spares_receives() {
            // What takes a message from a worker unasked counts towards it, and on the last receive leaves the message to SQS.
            plan.script.retain(|(_, deed)| !matches!(deed, Deed::Crash { .. } | Deed::Pause { .. }));
            // There must be time to write what is given up at the end of a shutdown.
            plan.settings.grace = Duration::from_secs(25);
            plan.settings.max_calls = plan.settings.max_calls.max(8);
            plan.latency_ms = plan.latency_ms.min(50);
            plan.fixture.queues[1].options.duplicate = 0.0;
            plan.odds = Odds { panics: plan.odds.panics, slow: plan.odds.slow, ..Odds::default() };
        }
        outages(dice, span, &mut plan.outages);
        if plan.spares_receives() {
            plan.outages.no_queue.clear();
            plan.outages.no_credentials.clear();
        }
        plan.publish_as_asked();
        plan.script.sort_by_key(|(at, _)| *at);
        plan
    }
}

impl Plan {
    /// Nodes of a route with Run Command show their keys that way.
    fn publish_as_asked(&mut self) {
        for (number, route) in self.settings.routes.iter().enumerate() {
            if !matches!(route.key, KeySource::RunCommand) {
                continue;
            }
            let of_script = self.script.iter_mut().filter_map(|(_, deed)| match deed {
                Deed::Launch { group, agent, .. } if *group == number => Some(agent),
                _ => None,
            });
            for agent in of_script.chain([&mut self.fixture.groups[number].options.agent]) {
                if let Publish::Parameter { after_ms, .. } = agent.publish {
                    agent.publish = Publish::RunCommand { after_ms };
                }
            }
        }
    }
}

/// The seeded dice.
pub struct Dice(pub Rng);

impl Dice {
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.0.f64() < probability
    }

    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0.u64(least..=most)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.usize(0..of.len())]
    }

    fn moment(&mut self, span: u64) -> u64 {
        BEGIN + self.0.u64(0..span)
    }
}

fn odds(dice: &mut Dice) -> Odds {
    let mut odd = |of: &[f64]| if dice.chance(0.4) { dice.pick(of) } else { 0.0 };
    Odds {
        throttled: odd(&[0.02, 0.1, 0.3]),
        server_error: odd(&[0.02, 0.1, 0.2]),
        dropped: odd(&[0.02, 0.1, 0.2]),
        answer_lost: odd(&[0.02, 0.1, 0.2]),
        hangs: odd(&[0.01, 0.05]),
        panics: odd(&[0.005, 0.02]),
        slow: odd(&[0.01, 0.1]),
    }
}

fn settings(dice: &mut Dice) -> Settings {
    let seconds = Duration::from_secs;
    let call = dice.pick(&[5, 15]);
    let scope = ScopeId(0);
    let mut route = |at: usize| Route {
        name: GROUPS[at].into(),
        groups: vec![WildMatch::new(GROUPS[at])],
        scope,
        server: ServerId(u16::try_from(at).unwrap()),
        node_name: Template::new("{instance_id}").unwrap(),
        key: if at == 1 && dice.chance(0.5) {
            KeySource::RunCommand
        } else {
            let batch = if dice.chance(0.8) { 10 } else { 1 };
            KeySource::Parameter { name: Template::new("/enrolld/{instance_id}/public-key").unwrap(), batch }
        },
        key_poll: seconds(dice.pick(&[2, 5, 15])),
        key_rate: 20.0,
        status_poll: Schedule::doubling(seconds(1), seconds(5)),
        timeout: seconds(60 * dice.pick(&[5, 10, 20])),
        on_failure: if dice.chance(0.85) { OnFailure::Abandon } else { OnFailure::Continue },
        certificate: None,
        delete_key: if dice.chance(0.7) { DeleteKey::Never } else { DeleteKey::OnSuccess },
        max_abandons: dice.pick(&[1, 5]),
        abandon_window: seconds(600),
        max_rate: if dice.chance(0.2) { Some(dice.pick(&[0.5, 5.0])) } else { None },
    };
    let routes = vec![route(0), route(1)];
    Settings {
        worker: "fleet".into(),
        max_open: dice.pick(&[4, 15, 1000]),
        max_calls: dice.pick(&[2, 8, 64]),
        max_polls: dice.pick(&[1, 4]),
        poll_wait: seconds(20),
        // As the configuration asks for it.
        visibility: seconds(call * 3 + 20 + dice.between(1, 120)),
        grace: seconds(dice.between(1, 25)),
        call_timeout: seconds(call),
        max_deliveries: dice.pick(&[3, 10]),
        patience: seconds(dice.pick(&[30, 60])),
        accounts: Vec::new(),
        regions: Vec::new(),
        unmatched: if dice.chance(0.5) { Unmatched::DeadLetter } else { Unmatched::Ignore },
        transient: Schedule::doubling(Duration::from_millis(500), seconds(30)),
        not_ready: Schedule::doubling(seconds(2), seconds(10)),
        route_fault: Schedule::doubling(seconds(15), seconds(60)),
        routes,
    }
}

fn fixture(dice: &mut Dice, short_hooks: bool) -> Fixture {
    let max_receive_count = if dice.chance(0.15) { dice.pick(&[2, 3, 5]) } else { 100 };
    let queue = QueueOptions {
        duplicate: if dice.chance(0.4) { dice.pick(&[0.1, 0.5]) } else { 0.0 },
        duplicate_after_ms: dice.pick(&[0, 2_000, 60_000]),
        reorder: dice.pick(&[0, 3, 100]) as usize,
        expired_handles: if dice.chance(0.5) { ExpiredHandles::Ok } else { ExpiredHandles::Error },
        ..QueueOptions::default()
    };
    let servers = SERVERS.iter().map(|name| NewServer {
        name: (*name).into(),
        engine: Engine::Chef,
        status: ServerStatus::Healthy,
        options: ServerOptions {
            association_ms: dice.pick(&[0, 200, 5_000, 30_000]),
            association_jitter_ms: dice.pick(&[0, 1_000, 20_000]),
            failures: if dice.chance(0.3) { dice.pick(&[0.05, 0.3]) } else { 0.0 },
            repeated: dice.pick(&[Repeated::Success, Repeated::Failed, Repeated::Validation]),
            absent: dice.pick(&[Repeated::Success, Repeated::Failed, Repeated::Validation]),
            token_known_ms: dice.pick(&[10_000, 3_600_000, 3_600_000]),
        },
    });
    let servers = servers.collect();
    let heartbeat_timeout = if short_hooks { dice.pick(&[30, 60, 120]) } else { 3600 };
    let form = dice.pick(&[Form::Direct, Form::Sns, Form::SnsRaw, Form::EventBridge]);
    let mut group = |name: &str| {
        let hook = |name: &str, transition, default_result: &str| NewHook {
            name: name.into(),
            transition,
            heartbeat_timeout,
            default_result: default_result.into(),
            metadata: None,
            delivery: Some(Delivery { queue: QUEUE.into(), via: form }),
        };
        NewGroup {
            name: name.into(),
            max_size: 1000,
            min_size: 0,
            warm_pool: Some(WarmPool { state: dice.pick(&[PoolState::Stopped, PoolState::Running]), reuse: true }),
            hooks: vec![hook(LAUNCH_HOOK, Kind::Launching, "ABANDON"), hook(TERMINATE_HOOK, Kind::Terminating, "CONTINUE")],
            options: GroupOptions {
                pending_ms: dice.pick(&[0, 20, 3_000]),
                proceed_ms: dice.pick(&[20, 5_000]),
                terminating_ms: dice.pick(&[0, 20, 3_000]),
                gone_ms: dice.pick(&[20, 10_000, 60_000]),
                described_after_ms: 0,
                notify_after_ms: dice.pick(&[0, 0, 500]),
                notify_jitter_ms: dice.pick(&[0, 1_000, 20_000]),
                notify_twice: if dice.chance(0.3) { 0.2 } else { 0.0 },
                // With hooks that run out all the time, replacements would come without end.
                replace_abandoned: !short_hooks && dice.chance(0.5),
                replace_after_ms: 1_000,
                terminate_hooks_after_abandon: dice.chance(0.5),
                event_queue: None,
                agent: agent(Publish::default(), Material::Good),
            },
        }
    };
    Fixture {
        queues: vec![
            NewQueue { name: DEAD_LETTERS.into(), ..NewQueue::default() },
            NewQueue {
                name: QUEUE.into(),
                attributes: BTreeMap::new(),
                dead_letters: Some(DeadLetters { queue: DEAD_LETTERS.into(), max_receive_count }),
                options: queue,
            },
        ],
        groups: GROUPS.iter().map(|name| group(name)).collect(),
        servers,
        ssm: SsmOptions::default(),
        ..Fixture::default()
    }
}

pub fn agent(publish: Publish, material: Material) -> AgentOptions {
    AgentOptions { publish, material, command: CommandOutcome::Success, ..AgentOptions::default() }
}

fn an_agent(dice: &mut Dice) -> AgentOptions {
    let after = |after_ms| Publish::Parameter { name: "/enrolld/{instance_id}/public-key".into(), after_ms, jitter_ms: 0, secure: false };
    let (publish, material) = match dice.between(0, 19) {
        0 => (Publish::Never, Material::Good),
        1 => (after(100), Material::Garbage),
        2 => (after(100), Material::PrivateKey),
        3 | 4 => (after(dice.between(1, 600) * SECOND), Material::Good),
        5..=9 => (after(dice.between(1, 30) * SECOND), Material::Good),
        _ => (after(dice.between(0, 1_000)), Material::Good),
    };
    agent(publish, material)
}

/// The lifecycle actions: terminations and moves come after launches, some of them before these are over.
fn actions(dice: &mut Dice, span: u64, script: &mut Vec<(u64, Deed)>) {
    let launches = dice.between(8, 14) as usize;
    let bursts = dice.chance(0.4);
    let burst = dice.moment(span / 2);
    for _ in 0..launches {
        let at = if bursts { burst + dice.between(0, 50) } else { dice.moment(span / 2) };
        let group = usize::from(dice.chance(0.35));
        let into_pool = dice.chance(0.15);
        script.push((at, Deed::Launch { group, agent: an_agent(dice), into_pool }));
    }
    for _ in launches..ACTIONS {
        let at = dice.moment(span);
        let pick = dice.0.u64(..);
        script.push((
            at,
            match dice.between(0, 9) {
                0 | 1 => Deed::ReturnToPool { pick },
                2 => Deed::LeavePool,
                early => Deed::Terminate { pick, early: early < 6 },
            },
        ));
    }
}

/// What else comes over the fleet.
fn events(dice: &mut Dice, span: u64, plan: &mut Plan) {
    let script = &mut plan.script;
    if dice.chance(0.4) {
        let kinds = [
            Forgery::Garbage,
            Forgery::TestNotification,
            Forgery::Termination,
            Forgery::Launch,
            Forgery::UnknownInstance,
            Forgery::ForeignAccount,
            Forgery::NoRoute,
            Forgery::NoHook,
        ];
        for _ in 0..dice.between(1, 4) {
            script.push((dice.moment(span), Deed::Forge { kind: dice.pick(&kinds), pick: dice.0.u64(..) }));
        }
    }
    for _ in 0..if dice.chance(0.3) { dice.between(1, 4) } else { 0 } {
        script.push((dice.moment(span), Deed::Repeat { pick: dice.0.u64(..) }));
    }
    for _ in 0..if dice.chance(0.2) { dice.between(1, 2) } else { 0 } {
        let pick = dice.0.u64(..);
        script.push((dice.moment(span), if dice.chance(0.5) { Deed::Detach { pick } } else { Deed::Standby { pick } }));
    }
    for _ in 0..if dice.chance(0.35) { dice.between(1, 2) } else { 0 } {
        let status = dice.pick(&[ServerStatus::UnderMaintenance, ServerStatus::BackingUp, ServerStatus::Unhealthy]);
        let for_ms = dice.between(1, 240) * SECOND;
        script.push((dice.moment(span), Deed::Maintenance { server: usize::from(dice.chance(0.3)), status, for_ms }));
    }
}

fn workers(dice: &mut Dice, span: u64, plan: &mut Plan) {
    let number = plan.workers as u64;
    let some = |dice: &mut Dice, probability: f64, most: u64| if dice.chance(probability) { dice.between(1, most) } else { 0 };
    for _ in 0..some(dice, 0.5, 5) {
        let deed = Deed::Crash { worker: dice.between(0, number - 1) as usize, down_ms: dice.between(0, 120) * SECOND };
        plan.script.push((dice.moment(span + MINUTE), deed));
    }
    for _ in 0..some(dice, 0.3, 3) {
        let deed = Deed::Pause { worker: dice.between(0, number - 1) as usize, for_ms: dice.between(1, 400) * SECOND };
        plan.script.push((dice.moment(span + MINUTE), deed));
    }
    for _ in 0..some(dice, 0.3, 4) {
        let deed = Deed::ShutDown { worker: dice.between(0, number - 1) as usize, down_ms: dice.between(0, 60) * SECOND };
        plan.script.push((dice.moment(span + MINUTE), deed));
    }
}

fn outages(dice: &mut Dice, span: u64, outages: &mut Outages) {
    let window = |dice: &mut Dice, longest: u64| {
        let from = dice.moment(span);
        Window { from, until: from + dice.between(1, longest) * SECOND }
    };
    if dice.chance(0.15) {
        let server = usize::from(dice.chance(0.3));
        let from = if dice.chance(0.5) { BEGIN } else { dice.moment(span) };
        outages.missing_server.push((server, Window { from, until: from + dice.between(10, 1500) * SECOND }));
    }
    if dice.chance(0.1) {
        outages.denied.push(window(dice, 300));
    }
    if dice.chance(0.1) {
        outages.no_credentials.push(window(dice, 90));
    }
    if dice.chance(0.05) {
        outages.no_queue.push(window(dice, 60));
    }
}
