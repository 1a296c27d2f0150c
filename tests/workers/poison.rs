//! One poison member hidden in a batch of each batched operation, over the wire: only that one fails, and the others are not even late.

use std::collections::BTreeMap;

use enrolld::core::observation::Outcome as Ending;
use enrolld::simulator::model::agent::{AgentOptions, Material, Publish};
use enrolld::simulator::model::opsworks_cm::Repeated;

use crate::invariants;
use crate::plan::{BEGIN, DEAD_LETTERS, Deed, Plan, SECOND};
use crate::run::{self, Outcome};
use crate::spoil::Spoil;
use crate::stage::Tracing;
use crate::stories::{ANYBODYS, CHEF, COMMAND, launch, story};

const MANY: usize = 30;
const PICK: usize = 17;
/// Always.
const EVER: u32 = 1_000_000;

/// A launch of an instance that never was.
const NEVER_THERE: &str = concat!(
    r#"{"AccountId":"123456789012","AutoScalingGroupName":"web-blue","EC2InstanceId":"i-0000000000000000a","#,
    r#""LifecycleActionToken":"0f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f","LifecycleHookName":"enrol-on-launch","#,
    r#""LifecycleTransition":"autoscaling:EC2_INSTANCE_LAUNCHING"}"#
);

/// Thirty launches at once, and something about one of them that spoils its batches.
fn many(seed: u64, route: &[&str], launch: &Deed, poison: Option<Deed>) -> Plan {
    let mut plan = story(seed, Repeated::Success, route);
    plan.may_abandon = true;
    // What hides in a batch must find others in it.
    let latency = plan.fixture.faults.first_mut().expect("there is the latency");
    latency.effect = enrolld::simulator::model::faults::Effect::Latency { ms: 300, jitter_ms: 0 };
    for _ in 0..MANY {
        plan = plan.at(10, launch.clone());
    }
    match poison {
        Some(poison) => plan.at(10, poison),
        None => plan,
    }
}

fn poison(operation: &'static str, spoil: Spoil, times: u32) -> Deed {
    Deed::Poison { operation, pick: PICK, spoil, times }
}

fn run(plan: &Plan) -> Outcome {
    let tracing = if std::env::var_os("ENROLLD_TIER2_ALOUD").is_some() { Tracing::Aloud } else { Tracing::Off };
    let outcome = run::run(plan, tracing);
    let (broken, _) = invariants::broken(plan, &outcome);
    assert!(broken.is_empty(), "{broken:#?}");
    outcome
}

fn endings(outcome: &Outcome) -> BTreeMap<&'static str, usize> {
    let mut endings = BTreeMap::new();
    outcome.ends.iter().for_each(|end| *endings.entry(end.outcome.as_str()).or_default() += 1);
    endings
}

/// The poison was met, together with others, and every other was enrolled soon.
fn only_one_suffers(outcome: &Outcome, within: u64) {
    let (times, most) = outcome.spoiled;
    assert!(times > 0 && most > 1, "the poison was met {times} times, with {most} members at most");
    let soon = outcome.ends.iter().filter(|end| end.outcome == Ending::Enrolled && end.at <= BEGIN + within * SECOND).count();
    assert!(soon >= MANY - 1, "{soon} of {MANY} were enrolled within {within} s: {:?}", outcome.ends);
}

#[test]
fn get_parameters_with_one_name_that_is_denied_or_malformed_or_cannot_be_decrypted() {
    for (status, code) in [(400, "AccessDeniedException"), (400, "ValidationException"), (400, "InvalidKeyId")] {
        let outcome =
            run(&many(41, &[CHEF, ANYBODYS], &launch(0, Material::Good), Some(poison("GetParameters", Spoil::Whole(status, code), EVER))));
        only_one_suffers(&outcome, 40);
        assert_eq!(endings(&outcome), BTreeMap::from([("abandoned", 1), ("enrolled", MANY - 1), ("left", 1)]), "{code}");
    }
}

#[test]
fn describe_auto_scaling_instances_with_one_id_that_it_refuses() {
    let poison = poison("DescribeAutoScalingInstances", Spoil::Whole(400, "ValidationError"), EVER);
    let plan = many(42, &[CHEF, ANYBODYS], &launch(0, Material::Good), Some(poison));
    let outcome = run::run(&plan, Tracing::Off);
    only_one_suffers(&outcome, 40);
    // Nothing can be known of the one, so nothing can be done for it: its hooks run out, and its letters say why.
    let (broken, _) = invariants::broken(&plan, &outcome);
    assert!(broken.len() == 2 && broken.iter().all(|what| what.ends_with("was ended by HeartbeatTimeout")), "{broken:#?}");
    assert_eq!(endings(&outcome), BTreeMap::from([("dead_lettered", 2), ("enrolled", MANY - 1)]));
    let letters = &outcome.state.queues[DEAD_LETTERS].messages;
    assert!(letters.iter().all(|letter| letter.attributes["EnrolldReason"] == "ValidationError"), "{letters:?}");
}

#[test]
fn send_command_with_one_instance_whose_agent_never_registers() {
    let publish = || Publish::RunCommand { after_ms: 0 };
    let agent = |registers_after_ms| AgentOptions { publish: publish(), registers_after_ms, ..AgentOptions::default() };
    let deed = |registers| Deed::Launch { group: 0, agent: agent(registers), into_pool: false };
    let mut plan = many(43, &[CHEF, COMMAND], &deed(Some(0)), None);
    plan.script[PICK].1 = deed(None);
    let outcome = run(&plan);
    let soon = outcome.ends.iter().filter(|end| end.outcome == Ending::Enrolled && end.at <= BEGIN + 60 * SECOND).count();
    assert_eq!(soon, MANY - 1, "{:?}", outcome.ends);
    assert_eq!(endings(&outcome), BTreeMap::from([("abandoned", 1), ("enrolled", MANY - 1), ("left", 1)]));
}

#[test]
fn delete_parameters_with_one_that_may_not_be_deleted() {
    let route = [CHEF, ANYBODYS, "delete_key = \"on_success\""];
    let whole = Spoil::Whole(400, "AccessDeniedException");
    let outcome = run(&many(44, &route, &launch(0, Material::Good), Some(poison("DeleteParameters", whole, EVER))));
    only_one_suffers(&outcome, 60);
    assert_eq!(endings(&outcome), BTreeMap::from([("enrolled", MANY)]));
    assert_eq!(outcome.state.counts.parameters, 1, "all others are deleted");
}

#[test]
fn delete_message_batch_with_one_entry_that_fails() {
    let outcome = run(&many(45, &[CHEF, ANYBODYS], &launch(0, Material::Good), Some(poison("DeleteMessageBatch", Spoil::Entry, 4))));
    only_one_suffers(&outcome, 40);
    // It is enrolled once; what comes of a message that could not be deleted in time is a launch that is over.
    let endings = endings(&outcome);
    assert_eq!(endings.get("enrolled").copied().unwrap_or(0), MANY, "{endings:?}");
    assert_eq!(outcome.state.counts.associations, MANY as u64);
    assert_eq!(outcome.state.queues[DEAD_LETTERS].visible, 0);
}

#[test]
fn delete_message_batch_that_fails_as_a_whole_for_one_member() {
    let whole = Spoil::Whole(400, "InvalidParameterValue");
    let outcome = run(&many(46, &[CHEF, ANYBODYS], &launch(0, Material::Good), Some(poison("DeleteMessageBatch", whole, 12))));
    only_one_suffers(&outcome, 40);
    assert_eq!(outcome.state.counts.associations, MANY as u64);
    assert_eq!(outcome.state.queues[DEAD_LETTERS].visible, 0);
}

#[test]
fn change_message_visibility_batch_with_one_entry_that_cannot_be_extended() {
    // All wait for their keys past the visibility time-out.
    let outcome = run(&many(
        47,
        &[CHEF, ANYBODYS],
        &launch(90_000, Material::Good),
        Some(poison("ChangeMessageVisibilityBatch", Spoil::Entry, EVER)),
    ));
    only_one_suffers(&outcome, 180);
    let endings = endings(&outcome);
    assert_eq!(endings.get("enrolled").copied().unwrap_or(0), MANY, "{endings:?}");
    // Its lease may end under its association, which is then asked for once more, with the same key.
    assert!(outcome.state.counts.associations <= MANY as u64 + 1, "{} associations", outcome.state.counts.associations);
}

#[test]
fn change_message_visibility_batch_with_one_entry_that_cannot_be_given_back() {
    let shutdown = Deed::ShutDown { worker: 0, twice: false, down_ms: 15_000 };
    let poison = poison("ChangeMessageVisibilityBatch", Spoil::Entry, EVER);
    let plan = many(48, &[CHEF, ANYBODYS], &launch(60_000, Material::Good), Some(poison)).at(20, shutdown);
    let outcome = run(&plan);
    only_one_suffers(&outcome, 150);
    let released = outcome.ends.iter().filter(|end| end.outcome == Ending::Released).count();
    assert_eq!(released, MANY, "{:?}", endings(&outcome));
}

#[test]
fn receive_message_with_one_body_that_nobody_can_read() {
    let mut plan = many(49, &[CHEF, ANYBODYS], &launch(0, Material::Good), None);
    plan.script.insert(PICK, (BEGIN + 10 * SECOND, Deed::Garbage { number: 0 }));
    let outcome = run(&plan);
    assert_eq!(endings(&outcome), BTreeMap::from([("dead_lettered", 1), ("enrolled", MANY)]));
    let last = outcome.ends.iter().map(|end| end.at).max().expect("there are ends");
    assert!(last <= BEGIN + 40 * SECOND, "{last}");
}

#[test]
fn describe_scaling_activities_for_instances_of_which_one_is_not_in_them() {
    // Notifications of instances that are gone, and of one that was never there.
    let mut plan = many(50, &[CHEF, ANYBODYS], &launch(0, Material::Good), None).at(11, Deed::Repeat { after_ms: 200_000 });
    for pick in 0..MANY {
        plan = plan.at(100, Deed::Terminate { pick, early: false });
    }
    plan = plan.at(211, Deed::Send { body: NEVER_THERE });
    let outcome = run(&plan);
    assert_eq!(outcome.state.queues[DEAD_LETTERS].visible, 1);
    let stale = outcome.ends.iter().filter(|end| end.outcome == Ending::Stale && end.at <= BEGIN + 240 * SECOND).count();
    assert!(stale >= MANY / 2, "those that were told of again are acknowledged: {:?}", endings(&outcome));
}
