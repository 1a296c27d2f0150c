//! What a fleet is made of: the workers' settings, the services, and how likely each thing is to befall a call.

use std::collections::BTreeMap;
use std::time::Duration;

use enrolld::core::call::{ScopeId, ServerId};
use enrolld::core::settings::{DeleteKey, KeySource, MaxRates, OnFailure, Route, Settings, Unmatched};
use enrolld::names::Template;
use enrolld::retry::Schedule;
use enrolld::simulator::model::agent::{AgentOptions, CommandOutcome, Material, Publish};
use enrolld::simulator::model::autoscaling::{Delivery, Form, GroupOptions, Kind, NewGroup, NewHook, PoolState, WarmPool};
use enrolld::simulator::model::fixture::{DeadLetters, Fixture, NewQueue};
use enrolld::simulator::model::opsworks_cm::wire::ServerStatus;
use enrolld::simulator::model::opsworks_cm::{Engine, NewServer, Repeated, ServerOptions};
use enrolld::simulator::model::sqs::{ExpiredHandles, QueueOptions};
use enrolld::simulator::model::ssm::SsmOptions;
use wildmatch::WildMatch;

use super::{Dice, GROUPS, LAUNCH_HOOK, OTHER_HOOK, Odds, SECOND, SERVERS, TERMINATE_HOOK};
use crate::services::{DEAD_LETTERS, QUEUE};

pub fn odds(dice: &mut Dice) -> Odds {
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

pub fn settings(dice: &mut Dice) -> Settings {
    let seconds = Duration::from_secs;
    let call = dice.pick(&[5, 15]);
    let scope = ScopeId(0);
    let mut route = |at: usize| Route {
        name: GROUPS[at].into(),
        groups: vec![WildMatch::new(GROUPS[at])],
        scope,
        account: None,
        region: None,
        server: ServerId(u16::try_from(at).unwrap()),
        node_name: Template::new("{instance_id}").unwrap(),
        key: if at == 1 && dice.chance(0.5) {
            KeySource::RunCommand
        } else {
            let batch = if dice.chance(0.8) { 10 } else { 1 };
            KeySource::Parameter { name: Template::new("/enrolld/{instance_id}/public-key").unwrap(), batch }
        },
        key_poll: seconds(dice.pick(&[5, 15])),
        key_rate: 20.0,
        status_poll: Schedule::doubling(seconds(1), seconds(10)),
        timeout: seconds(60 * dice.pick(&[5, 10, 20])),
        on_failure: if dice.chance(0.85) { OnFailure::Abandon } else { OnFailure::Continue },
        certificate: None,
        delete_key: if dice.chance(0.7) { DeleteKey::Never } else { DeleteKey::OnSuccess },
        counted_by_aws: true,
        second_chance: true,
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
        own_account: None,
        unmatched: if dice.chance(0.5) { Unmatched::DeadLetter } else { Unmatched::Ignore },
        transient: Schedule::doubling(Duration::from_millis(500), seconds(30)),
        not_ready: Schedule::doubling(seconds(2), seconds(10)),
        route_fault: Schedule::doubling(seconds(15), seconds(60)),
        max_rates: MaxRates::new(),
        routes,
    }
}

pub fn fixture(dice: &mut Dice, short_hooks: bool) -> Fixture {
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
            removal_failures: 0.0,
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

/// A launch hook of somebody else's, of which no queue hears.
pub fn other_hook(heartbeat_timeout: u64, default_result: &str) -> NewHook {
    NewHook {
        name: OTHER_HOOK.into(),
        transition: Kind::Launching,
        heartbeat_timeout,
        default_result: default_result.into(),
        metadata: None,
        delivery: None,
    }
}

pub fn agent(publish: Publish, material: Material) -> AgentOptions {
    AgentOptions { publish, material, command: CommandOutcome::Success, ..AgentOptions::default() }
}

pub fn an_agent(dice: &mut Dice) -> AgentOptions {
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
