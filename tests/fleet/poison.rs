//! One poison member hidden in a batch of each batched operation: only that one fails.

use std::time::Duration;

use enrolld::core::settings::{DeleteKey, KeySource};
use enrolld::simulator::model::agent::{AgentOptions, Material, Publish};
use enrolld::simulator::model::autoscaling::Closing;
use enrolld::simulator::model::opsworks_cm::Repeated;
use enrolld::simulator::model::ssm::SsmOptions;

use crate::plan::{BEGIN, Deed, Forgery, Plan, agent};
use crate::run::Fleet;

const MANY: usize = 30;

/// A fleet with many launches at once, none of them begun.
fn many(publish: Publish, change: impl FnOnce(&mut Plan)) -> Fleet {
    let mut plan = Plan::plain(11, Repeated::Success);
    plan.script.clear();
    // What hides in a batch must find others in it.
    plan.latency_ms = 200;
    change(&mut plan);
    let mut fleet = Fleet::new(plan, std::env::var_os("ENROLLD_FLEET_TRACE").is_some());
    for _ in 0..MANY {
        fleet.launch(0, Some(agent(publish.clone(), Material::Good)), false);
    }
    fleet
}

fn soon() -> Publish {
    Publish::default()
}

fn after(after_ms: u64) -> Publish {
    Publish::Parameter { name: "/enrolld/{instance_id}/public-key".into(), after_ms, jitter_ms: 0, secure: false }
}

fn deny(fleet: &mut Fleet, instance: &str) {
    let denied_prefixes = vec![format!("/enrolld/{instance}/")];
    fleet.services.world.set_ssm_options(SsmOptions { denied_prefixes, ..SsmOptions::default() });
}

fn run(fleet: &mut Fleet) {
    fleet.run();
    assert!(fleet.faults.is_empty(), "{:#?}", fleet.faults);
}

fn count(fleet: &Fleet, outcome: &str) -> usize {
    usize::try_from(fleet.outcomes.get(outcome).copied().unwrap_or_default()).unwrap()
}

#[test]
fn one_denied_parameter_fails_no_other_that_is_read_with_it() {
    let mut fleet = many(soon(), |_| {});
    let poisoned = fleet.launched[MANY / 2].clone();
    deny(&mut fleet, &poisoned);
    run(&mut fleet);
    // The one is abandoned, and its replacement is not denied.
    assert_eq!((count(&fleet, "enrolled"), count(&fleet, "abandoned")), (MANY, 1));
    let abandoned = fleet.services.world.state(true).details.unwrap().instances.into_iter().filter(|(_, one)| one.abandoned);
    assert_eq!(abandoned.map(|(id, _)| id).collect::<Vec<_>>(), [poisoned]);
}

#[test]
fn one_instance_that_cannot_be_asked_about_fails_no_other() {
    let mut fleet = many(soon(), |_| {});
    let poisoned = fleet.launched[MANY / 2].clone();
    fleet.services.poison.instances.insert(poisoned.clone());
    run(&mut fleet);
    // Its hook runs out, since nothing can be done for it; the one that comes in its place is enrolled.
    assert_eq!((count(&fleet, "enrolled"), count(&fleet, "dead_lettered")), (MANY, 1));
    let timed_out = fleet
        .services
        .world
        .state(true)
        .details
        .unwrap()
        .actions
        .into_iter()
        .filter(|action| action.closed_by == Some(Closing::HeartbeatTimeout));
    assert_eq!(timed_out.map(|action| action.instance).collect::<Vec<_>>(), [poisoned]);
}

#[test]
fn one_instance_whose_whereabouts_cannot_be_asked_for_fails_no_other() {
    let mut fleet = many(soon(), |plan| {
        plan.script = (0..MANY as u64).map(|pick| (BEGIN + 60_000, Deed::Forge { kind: Forgery::UnknownInstance, pick })).collect();
    });
    fleet.services.poison.instances.insert("i-0000000000000000a".into());
    run(&mut fleet);
    assert_eq!((count(&fleet, "enrolled"), count(&fleet, "dead_lettered")), (MANY, MANY));
    assert_eq!(fleet.reasons.get("dead_lettered: unproven").copied(), Some(MANY as u64 - 1), "{:?}", fleet.reasons);
    assert_eq!(fleet.reasons.get("dead_lettered: ValidationError").copied(), Some(1), "{:?}", fleet.reasons);
}

#[test]
fn one_parameter_that_may_not_be_deleted_keeps_no_other() {
    let mut fleet = many(after(1_000), |plan| {
        for route in &mut plan.settings.routes {
            route.delete_key = DeleteKey::OnSuccess;
        }
    });
    let poisoned = fleet.launched[MANY / 2].clone();
    // It may be read, and not be deleted.
    fleet.services.poison.parameter = Some(format!("/enrolld/{poisoned}/public-key"));
    run(&mut fleet);
    assert_eq!(count(&fleet, "enrolled"), MANY);
    let parameters: Vec<String> = fleet.services.world.state(true).details.unwrap().parameters.into_keys().collect();
    assert_eq!(parameters, [format!("/enrolld/{poisoned}/public-key")]);
}

#[test]
fn one_instance_without_an_agent_holds_up_no_other_that_is_sent_a_command_with_it() {
    let mut plan = Plan::plain(11, Repeated::Success);
    plan.script.clear();
    plan.latency_ms = 200;
    plan.settings.routes[1].key = KeySource::RunCommand;
    plan.settings.routes[1].timeout = Duration::from_secs(300);
    plan.fixture.groups[1].options.agent.publish = Publish::RunCommand { after_ms: 0 };
    let mut fleet = Fleet::new(plan, std::env::var_os("ENROLLD_FLEET_TRACE").is_some());
    for number in 0..MANY {
        let registers_after_ms = if number == MANY / 2 { None } else { Some(0) };
        let publish = Publish::RunCommand { after_ms: 0 };
        fleet.launch(1, Some(AgentOptions { registers_after_ms, ..agent(publish, Material::Good) }), false);
    }
    run(&mut fleet);
    // The one that comes in its place has an agent.
    assert_eq!((count(&fleet, "enrolled"), count(&fleet, "abandoned")), (MANY, 1), "{:?}", fleet.reasons);
}

#[test]
fn one_message_that_cannot_be_kept_costs_no_other_its_lease() {
    let mut fleet = many(after(200_000), |_| {});
    fleet.services.poison.message_in = Some(MANY / 2);
    run(&mut fleet);
    assert_eq!(count(&fleet, "enrolled"), MANY);
    let again = fleet.services.world.state(false).queues[crate::services::QUEUE].counts.received;
    assert!((MANY as u64 + 1..MANY as u64 + 8).contains(&again), "{again} receives");
}

#[test]
fn one_message_that_cannot_be_given_back_keeps_no_other() {
    let mut fleet = many(after(60_000), |plan| {
        plan.script = vec![(BEGIN + 10_000, Deed::ShutDown { worker: 0, down_ms: 100 })];
    });
    fleet.services.poison.message_in = Some(MANY / 2);
    run(&mut fleet);
    assert_eq!((count(&fleet, "released"), count(&fleet, "enrolled")), (MANY, MANY));
}
