//! Every crash point: a worker is killed at each call that it makes for a launch and a termination, and another finishes.

use enrolld::simulator::model::agent::{Material, Publish};
use enrolld::simulator::model::autoscaling::Closing;
use enrolld::simulator::model::opsworks_cm::Repeated;

use crate::plan::{BEGIN, Deed, Plan, agent};
use crate::run::{Fleet, Kill};

/// A launch and a termination; the node may wait for a certificate.
fn plain(repeated: Repeated, certificate: bool) -> Plan {
    let mut plan = Plan::plain(7, repeated);
    if certificate {
        plan.give_certificates(0);
    }
    plan
}

/// What came of a launch and a termination whose worker was killed at one point.
fn ends_well(repeated: Repeated, certificate: bool, kill: Option<Kill>) -> Fleet {
    let mut fleet = Fleet::new(plain(repeated, certificate), false);
    fleet.kill = kill;
    fleet.run();
    let verdict = crate::invariants::judge(&fleet);
    assert!(verdict.broken.is_empty(), "{repeated:?}, {kill:?}: {:#?}", verdict.broken);
    assert_eq!(fleet.crashes, u64::from(kill.is_some()), "{repeated:?}, {kill:?}: the worker was not killed");
    let state = fleet.services.world.state(true);
    let actions = state.details.unwrap().actions;
    assert_eq!(actions.len(), 2, "{repeated:?}, {kill:?}");
    for action in actions {
        assert!(fleet.records.contains_key(&action.token), "{repeated:?}, {kill:?}: no result was recorded of {action:?}");
        assert_eq!(action.closed_by, Some(Closing::Completed), "{repeated:?}, {kill:?}: {action:?}");
        assert_eq!(action.result.as_deref(), Some("CONTINUE"), "{repeated:?}, {kill:?}: {action:?}");
    }
    assert!(state.counts.associations > 0);
    fleet
}

fn at_every_call(kill: impl Fn(u32) -> Kill) {
    for (repeated, certificate) in
        [Repeated::Success, Repeated::Failed, Repeated::Validation].into_iter().flat_map(|answer| [(answer, false), (answer, true)])
    {
        let fleet = ends_well(repeated, certificate, None);
        let last = fleet.called.iter().rposition(|(_, operation)| *operation == "DeleteMessageBatch").unwrap();
        for ordinal in 1..=u32::try_from(last).unwrap() + 1 {
            ends_well(repeated, certificate, Some(kill(ordinal)));
        }
    }
}

/// What came of a launch whose key is unusable, and whose worker was killed at one point.
fn is_given_up_well(kill: Option<Kill>) -> Fleet {
    let mut plan = Plan::plain(7, Repeated::Success);
    let agent = agent(Publish::default(), Material::Garbage);
    plan.script = vec![(BEGIN + 1_000, Deed::Launch { group: 0, agent, into_pool: false })];
    let mut fleet = Fleet::new(plan, false);
    fleet.kill = kill;
    fleet.run();
    let verdict = crate::invariants::judge(&fleet);
    assert!(verdict.broken.is_empty(), "{kill:?}: {:#?}", verdict.broken);
    assert_eq!(fleet.crashes, u64::from(kill.is_some()), "{kill:?}: the worker was not killed");
    let mut state = fleet.services.world.state(true);
    let actions = state.details.take().unwrap().actions;
    let abandoned: Vec<_> = actions.iter().filter(|action| action.result.as_deref() == Some("ABANDON")).collect();
    assert_eq!(abandoned.len(), 1, "{kill:?}: {actions:?}");
    assert!(fleet.records.contains_key(&abandoned[0].token), "{kill:?}: no result was recorded");
    let letters = &state.queues[crate::services::DEAD_LETTERS].messages;
    let says_why = letters.iter().filter(|letter| {
        let is = |name: &str, what: &str| letter.attributes.get(name).is_some_and(|text| text == what);
        is("EnrolldReason", "not_pem") && is("EnrolldOutcome", "abandoned") && letter.body.contains(&abandoned[0].token)
    });
    let says_why = says_why.count();
    assert!((1..=2).contains(&says_why), "{kill:?}: {says_why} letters say why it was abandoned: {letters:?}");
    fleet
}

#[test]
fn a_worker_killed_at_any_call_of_a_launch_that_fails_leaves_a_letter_that_says_why() {
    let fleet = is_given_up_well(None);
    let last = fleet.called.iter().position(|(_, operation)| *operation == "DeleteMessageBatch").unwrap();
    for ordinal in 1..=u32::try_from(last).unwrap() + 1 {
        for kill in [Kill::BeforeCall(ordinal), Kill::Processed(ordinal), Kill::Answered(ordinal)] {
            is_given_up_well(Some(kill));
        }
    }
}

#[test]
fn a_worker_killed_just_before_any_call_leaves_it_all_to_the_next() {
    at_every_call(Kill::BeforeCall);
}

#[test]
fn a_worker_killed_when_any_call_was_processed_and_not_answered_leaves_it_all_to_the_next() {
    at_every_call(Kill::Processed);
}

#[test]
fn a_worker_killed_just_after_any_answer_leaves_it_all_to_the_next() {
    at_every_call(Kill::Answered);
}

#[test]
fn a_launch_and_a_termination_make_the_calls_that_they_must() {
    let fleet = ends_well(Repeated::Success, true, None);
    for operation in [
        "GetQueueAttributes",
        "ReceiveMessage",
        "DescribeAutoScalingInstances",
        "DescribeLifecycleHooks",
        "GetParameters",
        "Associate",
        "AssociationStatus",
        "PutParameter",
        "CompleteLifecycleAction",
        "Disassociate",
        "DeleteParameters",
        "DeleteMessageBatch",
    ] {
        assert!(fleet.called.iter().any(|(_, called)| *called == operation), "{operation} was never called");
    }
}
