//! What happens to one fleet: everything in it follows from the seed.

use std::collections::BTreeMap;

use enrolld::simulator::model::agent::{AgentOptions, Material, Publish};
use enrolld::simulator::model::autoscaling::{Delivery, Form, GroupOptions, Kind, NewGroup, NewHook, WarmPool};
use enrolld::simulator::model::faults::{Effect, Fault};
use enrolld::simulator::model::fixture::{DeadLetters, Fixture, NewQueue};
use enrolld::simulator::model::opsworks_cm::{Engine, NewServer, Repeated, ServerOptions};
use enrolld::simulator::model::sqs::{ExpiredHandles, QueueOptions};
use fastrand::Rng;

use crate::errors;
use crate::spoil::Spoil;
use crate::stage::Point;

/// When every fleet begins, in Unix milliseconds.
pub const BEGIN: u64 = 1_772_439_300_000;
pub const GROUPS: [&str; 2] = ["web-blue", "db-blue"];
pub const SERVERS: [&str; 2] = ["prod-chef", "other-chef"];
pub const QUEUE: &str = "enrolld-lifecycle";
pub const DEAD_LETTERS: &str = "enrolld-dead-letters";
/// A launch hook that some groups have beside ours.
pub const OTHER_HOOK: &str = "converge";
/// What every service says to credentials that expired.
pub const EXPIRED: &str = "ExpiredTokenException";
pub const ACCOUNT: &str = "123456789012";
pub const SECOND: u64 = 1_000;

/// Every so manyeth fleet has a server that signs certificates, and nodes that wait for theirs.
pub const CERTIFICATES_EVERY: u64 = 3;

/// Something that happens to the fleet from outside.
#[derive(Debug, Clone)]
pub enum Deed {
    Launch {
        group: usize,
        agent: AgentOptions,
        into_pool: bool,
    },
    /// One of the instances in service, or (early) of those that do not serve yet.
    Terminate {
        pick: usize,
        early: bool,
    },
    ReturnToPool {
        pick: usize,
    },
    LeavePool {
        group: usize,
    },
    Maintenance {
        server: usize,
        for_ms: u64,
    },
    Garbage {
        number: usize,
    },
    /// A body of somebody's own.
    Send {
        body: &'static str,
    },
    /// What stands in the queue now, received or not, comes once more, so much later.
    Repeat {
        after_ms: u64,
    },
    /// No name can be resolved for so long: no call leaves.
    NoNames {
        for_ms: u64,
    },
    /// Something about one of the instances or messages there are spoils the batch that it is in, so many times.
    Poison {
        operation: &'static str,
        pick: usize,
        spoil: Spoil,
        times: u32,
    },
    /// The instances that wait publish certificate requests of their own.
    Request,
    /// The worker is gone at once, and another takes its place later.
    Crash {
        worker: usize,
        down_ms: u64,
    },
    /// The same at one of its next calls.
    CrashAtCall {
        worker: usize,
        calls: u64,
        point: Point,
        down_ms: u64,
    },
    /// The worker is told to stop, perhaps twice; another takes its place, perhaps before it has.
    ShutDown {
        worker: usize,
        twice: bool,
        down_ms: u64,
    },
}

/// What happens to one fleet.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub workers: usize,
    /// Each worker's wall clock is off by so many milliseconds.
    pub off_ms: Vec<i64>,
    pub config: String,
    pub grace_ms: u64,
    pub fixture: Fixture,
    /// In the order of time.
    pub script: Vec<(u64, Deed)>,
    /// From then on nothing goes wrong any more.
    pub calm_at: u64,
    /// Whether a launch of a sound instance may be abandoned: for a fault of its route, or because the server says FAILED.
    pub may_abandon: bool,
    /// Whether the nodes of the first group publish certificate requests, and wait for what is signed.
    pub certificates: bool,
    /// Whether the servers refuse to associate a node that they have, and to take off one that they do not.
    pub refuses: bool,
}

impl Plan {
    /// How much older than it is asked for what Auto Scaling shows of an instance may be, in milliseconds.
    pub fn lag_ms(&self) -> u64 {
        self.fixture.groups.iter().map(|group| group.options.described_after_ms).max().unwrap_or(0)
    }

    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let dice = &mut Dice(Rng::with_seed(seed ^ 0x0071_e200_77ee_7200));
        let span = dice.between(60, 400) * SECOND;
        let visibility = dice.pick(&[40, 60, 120]);
        let grace = dice.pick(&[2, 5, 25]);
        let failures = if dice.chance(0.15) { 0.3 } else { 0.0 };
        let refuses = dice.chance(0.3);
        let mut fixture = fixture(dice, failures, refuses);
        fixture.faults = faults(dice, span);
        let route_fault = dice.chance(0.2);
        if route_fault {
            let fault = if dice.chance(0.6) { no_server(dice, span) } else { no_credentials(dice, span) };
            fixture.faults.push(fault);
        }
        let workers = dice.between(1, 2) as usize;
        let off = dice.pick(&[0, 0, 2_000, 300_000]);
        let mut script = actions(dice, span);
        troubles(dice, span, workers, &mut script);
        script.sort_by_key(|(at, _)| *at);
        let mut rows = errors::of_seed(seed).to_vec();
        let certificates = seed.is_multiple_of(CERTIFICATES_EVERY);
        if certificates {
            rows.extend(errors::of_writes(seed));
            fixture.servers[0].engine = Engine::Puppet;
            fixture.groups[0].options.agent.publish = Publish::Never;
        }
        let groups = &mut Dice(Rng::with_seed(seed ^ 0x7ab1_e077));
        fixture.groups.iter_mut().for_each(|group| lag_and_other_hook(groups, group));
        fixture.faults.extend(rows.iter().flat_map(|row| errors::faults(*row, span)));
        Self {
            seed,
            workers,
            off_ms: (0..workers).map(|_| dice.0.i64(-off..=off)).collect(),
            config: config(dice, visibility, grace, route_fault, certificates),
            grace_ms: grace * SECOND,
            fixture,
            script,
            calm_at: BEGIN + span,
            may_abandon: route_fault || failures > 0.0 || rows.iter().any(|row| row.is_final),
            certificates,
            refuses,
        }
    }
}

/// The seeded dice.
struct Dice(Rng);

impl Dice {
    fn chance(&mut self, probability: f64) -> bool {
        self.0.f64() < probability
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0.u64(least..=most)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.usize(0..of.len())]
    }

    fn moment(&mut self, span: u64) -> u64 {
        BEGIN + self.0.u64(0..span)
    }
}

/// As a user would write it.
fn config(dice: &mut Dice, visibility: u64, grace: u64, route_fault: bool, certificates: bool) -> String {
    let (engine, certificate) = match certificates {
        true => ("puppet", "certificate_parameter = \"/enrolld/{instance_id}/certificate\""),
        false => ("chef", ""),
    };
    let owner = if dice.chance(0.5) {
        format!(r#"owner_role = "arn:aws:iam::{ACCOUNT}:role/enrolld-node""#)
    } else {
        "require_owner = false".into()
    };
    format!(
        r#"
queue_url = "http://127.0.0.1:4599/{ACCOUNT}/{QUEUE}"
region = "eu-central-1"
worker = "fleet"
listen = "off"
visibility_timeout = "{visibility}s"
poll_wait = "{poll_wait}s"
connect_timeout = "1s"
attempt_timeout = "4s"
call_timeout = "5s"
shutdown_grace = "{grace}s"
max_open = {max_open}
max_calls = {max_calls}
max_polls = {max_polls}
patience = "{patience}s"
route_fault_max = "60s"

[[route]]
name = "web"
groups = ["web-*"]
registrar = {{ kind = "opsworks-cm", server = "{web}", engine = "{engine}" }}
{certificate}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", {owner} }}
timeout = "{timeout}m"
delete_key = "{delete_key}"
max_abandons = 1

[[route]]
name = "db"
groups = ["db-*"]
registrar = {{ kind = "opsworks-cm", server = "{db}", engine = "chef" }}
key = {{ document = "AWS-RunShellScript", commands = ["cat /etc/chef/public.pem"] }}
timeout = "{timeout}m"
max_abandons = 1
"#,
        poll_wait = dice.pick(&[5, 20]),
        // Held launches take the place of others, which then have no heartbeats.
        max_open = if route_fault { 1000 } else { dice.pick(&[4, 1000]) },
        max_calls = dice.pick(&[2, 64]),
        max_polls = dice.pick(&[1, 4]),
        patience = dice.pick(&[30, 60]),
        timeout = dice.pick(&[10, 20]),
        delete_key = dice.pick(&["never", "on_success"]),
        web = SERVERS[0],
        db = SERVERS[1],
    )
}

fn fixture(dice: &mut Dice, failures: f64, refuses: bool) -> Fixture {
    let answers = [Repeated::Failed, Repeated::Validation];
    let [repeated, absent] = [0, 1].map(|_| if refuses { dice.pick(&answers) } else { Repeated::Success });
    let queue = QueueOptions {
        duplicate: dice.pick(&[0.0, 0.1, 0.5]),
        duplicate_after_ms: dice.pick(&[0, 2_000, 60_000]),
        reorder: dice.pick(&[0, 10]) as usize,
        expired_handles: dice.pick(&[ExpiredHandles::Ok, ExpiredHandles::Error]),
        ..QueueOptions::default()
    };
    let servers = SERVERS.iter().map(|name| NewServer {
        name: (*name).into(),
        engine: Engine::Chef,
        status: Default::default(),
        options: ServerOptions {
            association_ms: dice.pick(&[0, 200, 5_000, 30_000]),
            association_jitter_ms: dice.pick(&[0, 1_000, 20_000]),
            failures,
            repeated,
            absent,
            ..ServerOptions::default()
        },
    });
    let servers = servers.collect();
    let form = dice.pick(&[Form::Direct, Form::Sns, Form::SnsRaw, Form::EventBridge]);
    let groups = GROUPS.iter().enumerate().map(|(number, name)| {
        let hook = |name: &str, transition, default_result: &str| NewHook {
            name: name.into(),
            transition,
            heartbeat_timeout: 900,
            default_result: default_result.into(),
            metadata: None,
            delivery: Some(Delivery { queue: QUEUE.into(), via: form }),
        };
        NewGroup {
            name: (*name).into(),
            max_size: 1000,
            min_size: 0,
            warm_pool: Some(WarmPool::default()),
            hooks: vec![hook("enrol-on-launch", Kind::Launching, "ABANDON"), hook("leave-on-terminate", Kind::Terminating, "CONTINUE")],
            options: GroupOptions {
                pending_ms: dice.pick(&[0, 20, 3_000]),
                proceed_ms: dice.pick(&[20, 5_000]),
                terminating_ms: dice.pick(&[0, 20, 3_000]),
                gone_ms: dice.pick(&[20, 10_000]),
                notify_jitter_ms: dice.pick(&[0, 1_000, 20_000]),
                notify_twice: dice.pick(&[0.0, 0.2]),
                replace_abandoned: dice.chance(0.5),
                terminate_hooks_after_abandon: dice.chance(0.5),
                agent: agent(number, 100, Material::Good),
                ..GroupOptions::default()
            },
        }
    });
    Fixture {
        groups: groups.collect(),
        queues: vec![
            NewQueue { name: DEAD_LETTERS.into(), ..NewQueue::default() },
            NewQueue {
                name: QUEUE.into(),
                attributes: BTreeMap::new(),
                dead_letters: Some(DeadLetters { queue: DEAD_LETTERS.into(), max_receive_count: 100 }),
                options: queue,
            },
        ],
        servers,
        ..Fixture::default()
    }
}

/// What Auto Scaling shows of some groups is older than it is asked for; and some have a launch hook of somebody else's beside ours, of which
/// no queue hears: its actions run out.
fn lag_and_other_hook(dice: &mut Dice, group: &mut NewGroup) {
    if dice.chance(0.3) {
        group.options.described_after_ms = dice.pick(&[300, 2_000, 5_000]);
    }
    if dice.chance(0.2) {
        let default_result = dice.pick(&["CONTINUE", "ABANDON"]);
        // All of its launches end so, and their replacements would too.
        group.options.replace_abandoned &= default_result == "CONTINUE";
        group.hooks.push(NewHook {
            name: OTHER_HOOK.into(),
            transition: Kind::Launching,
            heartbeat_timeout: dice.pick(&[30, 60, 300]),
            default_result: default_result.into(),
            metadata: None,
            delivery: None,
        });
    }
}

/// What runs on the instances of a group, and shows its key so much later.
pub fn agent(group: usize, after_ms: u64, material: Material) -> AgentOptions {
    let publish = match group {
        0 => Publish::Parameter { name: "/enrolld/{instance_id}/public-key".into(), after_ms, jitter_ms: 0, secure: false },
        _ => Publish::RunCommand { after_ms },
    };
    // Where keys are deleted once their node is in service, an agent has to do so, to come out of a warm pool.
    AgentOptions { publish, material, each_start: true, ..AgentOptions::default() }
}

/// Every kind of fault there is comes over some of the fleets; over each there comes something.
fn faults(dice: &mut Dice, span: u64) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |operation: &str, probability, effect, window: Option<(u64, u64)>| {
        let (after_ms, for_ms) = window.unwrap_or((0, span));
        faults.push(Fault { id: None, operation: operation.into(), effect, probability, limit: None, after_ms, for_ms: Some(for_ms) });
    };
    let error = |status| Effect::Error { status, code: None, message: None };
    add("*", 1.0, Effect::Latency { ms: 1, jitter_ms: dice.pick(&[5, 50, 500]) }, None);
    if dice.chance(0.5) {
        add("*", dice.pick(&[0.05, 0.2]), Effect::Throttle { rate: 0.001, burst: 1.0 }, None);
    }
    if dice.chance(0.4) {
        add("autoscaling:*", 1.0, Effect::Throttle { rate: 2.0, burst: 5.0 }, None);
    }
    if dice.chance(0.5) {
        add("*", dice.pick(&[0.05, 0.1]), error(dice.pick(&[500, 503])), None);
    }
    if dice.chance(0.5) {
        add("*", dice.pick(&[0.02, 0.1]), Effect::Drop, None);
    }
    if dice.chance(0.5) {
        add("*", dice.pick(&[0.02, 0.1]), Effect::LoseAnswer, None);
    }
    if dice.chance(0.4) {
        add("*", dice.pick(&[0.01, 0.05]), Effect::Hang { ms: 60_000 }, None);
    }
    if dice.chance(0.2) {
        // Answers that come too late: the call is processed, and nobody waits for it any more.
        add("*", 0.05, Effect::Latency { ms: 4_500, jitter_ms: 2_000 }, None);
    }
    if dice.chance(0.3) {
        // One service is away altogether.
        let service = dice.pick(&["sqs:*", "ssm:*", "autoscaling:*", "opsworks-cm:*"]);
        let effect = if dice.chance(0.5) { error(503) } else { Effect::Drop };
        add(service, 1.0, effect, Some((dice.between(0, span), dice.between(5, 60) * SECOND)));
    }
    faults
}

/// The servers cannot be found for a while: a fault of the routes.
fn no_server(dice: &mut Dice, span: u64) -> Fault {
    let effect = Effect::Error { status: 400, code: Some("ResourceNotFoundException".into()), message: Some("no such server".into()) };
    let (after_ms, for_ms) = (dice.between(0, span / 2), dice.between(10, 900) * SECOND);
    Fault { id: None, operation: "opsworks-cm:*".into(), effect, probability: 1.0, limit: None, after_ms, for_ms: Some(for_ms) }
}

/// Nobody knows the workers for a while.
fn no_credentials(dice: &mut Dice, span: u64) -> Fault {
    let effect = Effect::Error { status: 403, code: Some(EXPIRED.into()), message: Some("The security token is expired".into()) };
    let (after_ms, for_ms) = (dice.between(0, span / 2), dice.between(10, 120) * SECOND);
    Fault { id: None, operation: "*".into(), effect, probability: 1.0, limit: None, after_ms, for_ms: Some(for_ms) }
}

/// The lifecycle actions: terminations and moves come after launches, some of them before these are over.
fn actions(dice: &mut Dice, span: u64) -> Vec<(u64, Deed)> {
    let mut script = Vec::new();
    let burst = dice.chance(0.4).then(|| dice.moment(span / 2));
    for _ in 0..dice.between(5, 10) {
        let at = burst.unwrap_or_else(|| dice.moment(span / 2));
        let group = usize::from(dice.chance(0.35));
        let material = match dice.between(0, 14) {
            0 => Material::Garbage,
            1 => Material::PrivateKey,
            _ => Material::Good,
        };
        let after_ms = if dice.chance(0.3) { dice.between(1, 200) * SECOND } else { dice.between(0, 2_000) };
        let agent = agent(group, after_ms, material);
        script.push((at, Deed::Launch { group, agent, into_pool: dice.chance(0.15) }));
    }
    for _ in 0..dice.between(2, 5) {
        let pick = dice.0.usize(..);
        let deed = match dice.between(0, 9) {
            0 => Deed::ReturnToPool { pick },
            1 => Deed::LeavePool { group: usize::from(dice.chance(0.35)) },
            early => Deed::Terminate { pick, early: early < 5 },
        };
        script.push((dice.moment(span), deed));
    }
    script
}

/// What else comes over the fleet, and over its workers.
fn troubles(dice: &mut Dice, span: u64, workers: usize, script: &mut Vec<(u64, Deed)>) {
    let some = |dice: &mut Dice, probability: f64, most: u64| if dice.chance(probability) { dice.between(1, most) } else { 0 };
    for _ in 0..some(dice, 0.4, 2) {
        let server = usize::from(dice.chance(0.3));
        script.push((dice.moment(span), Deed::Maintenance { server, for_ms: dice.between(5, 240) * SECOND }));
    }
    for _ in 0..some(dice, 0.3, 3) {
        script.push((dice.moment(span), Deed::Garbage { number: dice.0.usize(..) }));
    }
    for _ in 0..some(dice, 0.5, 3) {
        let worker = dice.0.usize(0..workers);
        script.push((dice.moment(span), Deed::Crash { worker, down_ms: dice.between(0, 60) * SECOND }));
    }
    for _ in 0..some(dice, 0.6, 4) {
        let worker = dice.0.usize(0..workers);
        let (calls, answered) = (dice.between(1, 60), dice.chance(0.5));
        let point = if answered { Point::Answered } else { Point::Sent };
        script.push((dice.moment(span), Deed::CrashAtCall { worker, calls, point, down_ms: dice.between(0, 30) * SECOND }));
    }
    for _ in 0..some(dice, 0.4, 2) {
        let worker = dice.0.usize(0..workers);
        script.push((dice.moment(span), Deed::ShutDown { worker, twice: dice.chance(0.2), down_ms: dice.between(0, 20) * SECOND }));
    }
}
