//! What happens to one fleet: everything in it follows from the seed.

mod script;
mod world;

use std::time::Duration;

use enrolld::core::settings::{DeleteKey, KeySource, OnFailure, Settings};
use enrolld::names::Template;
use enrolld::simulator::model::agent::{AgentOptions, Material, Publish};
use enrolld::simulator::model::autoscaling::GroupOptions;
use enrolld::simulator::model::fixture::{DeadLetters, Fixture};
use enrolld::simulator::model::opsworks_cm::wire::ServerStatus;
use enrolld::simulator::model::opsworks_cm::{Engine, Repeated, ServerOptions};
use enrolld::simulator::model::sqs::QueueOptions;
use fastrand::Rng;

use crate::services::{DEAD_LETTERS, Outages};
pub use script::documented;
pub use world::agent;
use world::{fixture, odds, other_hook, settings};

/// When every fleet begins, in Unix milliseconds.
pub const BEGIN: u64 = 1_772_439_300_000;
pub const GROUPS: [&str; 2] = ["web-blue", "db-blue"];
pub const SERVERS: [&str; 2] = ["prod-chef", "other-chef"];
pub const LAUNCH_HOOK: &str = "enrol-on-launch";
pub const TERMINATE_HOOK: &str = "leave-on-terminate";
/// A launch hook that some groups have beside ours. Nobody completes its actions: they run out.
pub const OTHER_HOOK: &str = "converge";
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
    /// Which part of the instances write another key later.
    pub rewritten: f64,
}

impl Plan {
    /// Whether the queue allows so few receives that each counts.
    pub fn spares_receives(&self) -> bool {
        self.max_receive_count < 20
    }

    /// Until when a launch of the script may be held: its hook's own limit, the smaller of 48 hours and a hundred times its time-out.
    pub fn holds_until(&self) -> u64 {
        let hooks = self.fixture.groups.iter().flat_map(|group| &group.hooks);
        let longest = hooks.map(|hook| (hook.heartbeat_timeout * 100 * SECOND).min(48 * 60 * MINUTE)).max().unwrap_or(0);
        self.script.last().map_or(BEGIN, |(at, _)| *at) + longest
    }

    /// How much older than it is asked for what Auto Scaling shows of an instance may be, in milliseconds.
    pub fn lag_ms(&self) -> u64 {
        self.fixture.groups.iter().map(|group| group.options.described_after_ms).max().unwrap_or(0)
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
        plan.rewritten = 0.0;
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
            rewritten: 0.15,
        };
        let mut removals = Dice(Rng::with_seed(seed ^ 0x57a9_57a9));
        for server in &mut plan.fixture.servers {
            server.options.removal_failures = if removals.chance(0.1) { removals.pick(&[0.3, 1.0]) } else { 0.0 };
        }
        let mut groups = Dice(Rng::with_seed(seed ^ 0x7ab1_e077));
        for group in &mut plan.fixture.groups {
            if groups.chance(0.3) {
                group.options.described_after_ms = groups.pick(&[300, 2_000, 5_000]);
            }
            if groups.chance(0.2) {
                let default_result = groups.pick(&["CONTINUE", "ABANDON"]);
                // All of its launches end so, and their replacements would too.
                group.options.replace_abandoned &= default_result == "CONTINUE";
                group.hooks.push(other_hook(groups.pick(&[30, 60, 120]), default_result));
            }
        }
        let off = dice.pick(&[0, 0, 2_000, 600_000]);
        plan.skew_ms = (0..plan.workers).map(|_| dice.0.i64(-off..=off)).collect();
        script::actions(dice, span, &mut plan.script);
        script::events(dice, span, &mut plan);
        script::workers(dice, span, &mut plan);
        if plan.spares_receives() {
            // What takes a message from a worker unasked counts towards it, and on the last receive leaves the message to SQS.
            plan.script.retain(|(_, deed)| !matches!(deed, Deed::Crash { .. } | Deed::Pause { .. }));
            // There must be time to write what is given up at the end of a shutdown.
            plan.settings.grace = Duration::from_secs(25);
            plan.settings.max_calls = plan.settings.max_calls.max(8);
            plan.latency_ms = plan.latency_ms.min(50);
            plan.fixture.queues[1].options.duplicate = 0.0;
            plan.odds = Odds { panics: plan.odds.panics, ..Odds::default() };
        }
        script::outages(dice, span, &mut plan.outages);
        script::parameters(&mut Dice(Rng::with_seed(seed ^ 0xce27_1f1c_47e5_0000)), span, &mut plan);
        if plan.spares_receives() {
            plan.outages.no_queue.clear();
            plan.outages.no_credentials.clear();
            plan.outages.documented.clear();
        }
        plan.publish_as_asked();
        plan.script.sort_by_key(|(at, _)| *at);
        plan
    }
}

impl Plan {
    /// The server of a route is one that signs certificates, and its nodes wait for theirs under a parameter.
    pub fn give_certificates(&mut self, route: usize) {
        self.settings.routes[route].certificate = Some(Template::new("/enrolld/{instance_id}/certificate").unwrap());
        self.fixture.servers[route].engine = Engine::Puppet;
    }

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

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.usize(0..of.len())]
    }

    pub fn moment(&mut self, span: u64) -> u64 {
        BEGIN + self.0.u64(0..span)
    }
}
