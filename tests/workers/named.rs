//! Things that happen to fleets in production, each by its name: the seeds meet them too, among everything else.

use std::collections::BTreeSet;

use enrolld::core::observation::Outcome as Ending;
use enrolld::simulator::model::agent::Material;
use enrolld::simulator::model::autoscaling::Closing;
use enrolld::simulator::model::opsworks_cm::Repeated;

use crate::invariants;
use crate::plan::{DEAD_LETTERS, Deed, Plan, SERVERS};
use crate::run::{self, Outcome};
use crate::stage::{Point, Tracing};
use crate::stories::{CHEF, OWNED, launch, story, terminate};

fn plain(seed: u64) -> Plan {
    story(seed, Repeated::Success, &[CHEF, OWNED])
}

/// Two workers that take one message each.
fn by_two(mut plan: Plan) -> Plan {
    plan.workers = 2;
    plan.off_ms = vec![0, 0];
    plan.config = plan.config.replacen("patience", "max_open = 1\nmax_polls = 1\npatience", 1);
    plan
}

fn run(plan: &Plan) -> Outcome {
    let tracing = if std::env::var_os("ENROLLD_TIER2_ALOUD").is_some() { Tracing::Aloud } else { Tracing::Off };
    let outcome = run::run(plan, tracing);
    let (broken, excused) = invariants::broken(plan, &outcome);
    assert!(broken.is_empty() && excused == 0, "{broken:#?}, {excused} excused; {:?}", outcome.ends);
    outcome
}

fn letters(outcome: &Outcome) -> Vec<String> {
    let letters = outcome.state.queues[DEAD_LETTERS].messages.iter();
    letters.map(|letter| letter.attributes.get("EnrolldReason").cloned().unwrap_or_default()).collect()
}

fn nodes(outcome: &Outcome) -> usize {
    outcome.state.servers[SERVERS[0]].nodes.len()
}

fn endings(outcome: &Outcome) -> Vec<Ending> {
    outcome.ends.iter().map(|end| end.outcome).collect()
}

/// How often a call that failed with a code was told of.
fn told(outcome: &Outcome, code: &str) -> usize {
    outcome.troubles.iter().filter(|(_, told)| *told == code).count()
}

/// A launch that is through, one that waits for its key, and one that comes in the middle of a trouble between 40 s and 100 s.
fn around_a_minute(plan: Plan) -> Plan {
    plan.at(1, launch(100, Material::Good)).at(30, launch(40_000, Material::Good)).at(50, launch(100, Material::Good)).at(400, terminate())
}

fn all_goes_on(outcome: &Outcome) {
    assert_eq!(letters(outcome), [""; 0]);
    assert_eq!(nodes(outcome), 2, "three came and one went");
    // A result is on record before its message is deleted: one whose deletion meets the trouble comes back, and is over.
    let done = |ending: &Ending| !matches!(ending, Ending::LeaseLost | Ending::Stale);
    let ended: Vec<_> = endings(outcome).into_iter().filter(done).collect();
    assert_eq!(ended, [Ending::Enrolled, Ending::Enrolled, Ending::Enrolled, Ending::Left], "{:?}", outcome.ends);
}

#[test]
fn names_that_cannot_be_resolved_for_a_minute_are_told_of_and_cost_no_action() {
    let plan = around_a_minute(plain(21)).at(40, Deed::NoNames { for_ms: 60_000 });
    let outcome = run(&plan);
    all_goes_on(&outcome);
    let told = told(&outcome, "connection");
    assert!((2..40).contains(&told), "it is said, and not spun on: {told} times, {:?}", outcome.troubles);
    assert!(outcome.unresolved < 100, "{} calls were tried", outcome.unresolved);
}

#[test]
fn credentials_that_expire_for_a_minute_are_told_of_and_cost_no_action() {
    for (code, status) in [("ExpiredTokenException", 400), ("ExpiredToken", 403), ("InvalidClientTokenId", 403)] {
        let plan = around_a_minute(plain(22).failing("*", status, code, 40, 60));
        let outcome = run(&plan);
        all_goes_on(&outcome);
        let told = told(&outcome, code);
        assert!((1..40).contains(&told), "it is said, and not spun on: {told} times, {:?}", outcome.troubles);
    }
}

#[test]
fn a_queue_that_is_not_there_for_a_minute_is_told_of_and_costs_no_action() {
    let outcome = run(&around_a_minute(plain(23).failing("sqs:*", 400, "QueueDoesNotExist", 40, 60)));
    all_goes_on(&outcome);
    let told = told(&outcome, "QueueDoesNotExist");
    assert!((1..40).contains(&told), "it is said, and not spun on: {told} times, {:?}", outcome.troubles);
}

#[test]
fn a_termination_that_comes_while_another_worker_waits_for_the_launch_s_key_leaves_no_node() {
    // One waits for a key that never comes; the other has the termination.
    let plan = by_two(plain(24)).at(1, launch(4_000_000, Material::Good)).at(20, Deed::Terminate { pick: 0, early: true });
    let outcome = run(&plan);
    assert_eq!((nodes(&outcome), letters(&outcome)), (0, Vec::new()));
    let by: BTreeSet<usize> = outcome.ends.iter().map(|end| end.worker).collect();
    assert_eq!(by.len(), 2, "each worker had one: {:?}", outcome.ends);
    let endings: BTreeSet<_> = endings(&outcome).into_iter().map(Ending::as_str).collect();
    assert_eq!(endings, BTreeSet::from(["left", "stale"]), "{:?}", outcome.ends);
}

#[test]
fn a_termination_that_overtakes_its_launch_under_association_by_another_worker_leaves_no_node() {
    for repeated in [Repeated::Success, Repeated::Failed, Repeated::Validation] {
        for after in [3, 4, 8, 20] {
            let mut plan = by_two(plain(25)).with(|fixture| fixture.servers[0].options.association_ms = 15_000);
            plan.fixture.servers[0].options.absent = repeated;
            plan.refuses = repeated != Repeated::Success;
            let plan = plan.at(1, launch(0, Material::Good)).at(after, Deed::Terminate { pick: 0, early: true });
            let outcome = run(&plan);
            assert_eq!(nodes(&outcome), 0, "{after} s, {repeated:?}: {:?}", outcome.ends);
            let actions = &outcome.state.details.as_ref().expect("asked for").actions;
            let ended = |by| matches!(by, Some(Closing::Completed | Closing::Superseded));
            assert!(actions.iter().all(|action| ended(action.closed_by)), "{actions:?}");
        }
    }
}

#[test]
fn a_launch_and_its_termination_that_are_received_in_any_order_by_one_worker_or_two_leave_no_node() {
    let mut first = BTreeSet::new();
    for seed in 0..12 {
        for workers in [1, 2] {
            let plan = Plan { seed, ..plain(26) };
            let mut plan = if workers == 2 { by_two(plan) } else { plan };
            plan.fixture.queues[1].options.reorder = 10;
            // Both wait in the queue before anybody looks.
            for worker in 0..workers {
                plan = plan.at(0, Deed::CrashAtCall { worker, calls: 1, point: Point::Unsent, down_ms: 30_000 });
            }
            let plan = plan.at(1, launch(100, Material::Good)).at(10, Deed::Terminate { pick: 0, early: true });
            let outcome = run(&plan);
            assert_eq!((nodes(&outcome), letters(&outcome)), (0, Vec::new()), "seed {seed}, {workers} workers");
            first.insert(endings(&outcome)[0].as_str());
        }
    }
    assert_eq!(first.len(), 2, "each came first at some time: {first:?}");
}

#[test]
fn a_second_action_of_an_instance_that_comes_while_the_first_is_open_ends_right_on_one_worker_and_on_two() {
    for workers in [1, 2] {
        let of = |plan: Plan| if workers == 2 { by_two(plan) } else { plan };
        let Deed::Launch { group, agent, .. } = launch(100, Material::Good) else { unreachable!("it is a launch") };
        let into_pool = Deed::Launch { group, agent, into_pool: true };
        let end = Deed::Terminate { pick: 0, early: true };
        // Nothing can be completed for a while, so each first action is open when the second comes.
        let enters = of(plain(27)).failing("autoscaling:CompleteLifecycleAction", 503, "ServiceUnavailable", 0, 60);
        let enters = enters.at(1, into_pool.clone()).at(20, end.clone());
        let returns = of(plain(28)).failing("autoscaling:CompleteLifecycleAction", 503, "ServiceUnavailable", 95, 60);
        let returns = returns.at(1, launch(100, Material::Good)).at(100, Deed::ReturnToPool { pick: 0 }).at(120, end.clone());
        let leaves = of(plain(29)).failing("autoscaling:CompleteLifecycleAction", 503, "ServiceUnavailable", 95, 60);
        let leaves = leaves.at(1, into_pool).at(100, Deed::LeavePool { group: 0 }).at(120, end);
        for (name, plan) in [("enters", enters), ("returns", returns), ("leaves", leaves)] {
            let outcome = run(&plan);
            assert_eq!((nodes(&outcome), letters(&outcome)), (0, Vec::new()), "{name}, {workers} workers: {:?}", outcome.ends);
            let actions = &outcome.state.details.as_ref().expect("asked for").actions;
            let last = actions.last().expect("there are actions");
            assert_eq!((last.closed_by, last.result.as_deref()), (Some(Closing::Completed), Some("CONTINUE")), "{name}: {actions:?}");
        }
    }
}

#[test]
fn notifications_that_come_again_when_their_instance_is_long_gone_change_nothing() {
    let plan = plain(30).at(1, launch(20_000, Material::Good)).at(2, Deed::Repeat { after_ms: 400_000 });
    let plan = plan.at(100, terminate()).at(101, Deed::Repeat { after_ms: 400_000 });
    let outcome = run(&plan);
    assert_eq!((nodes(&outcome), letters(&outcome)), (0, Vec::new()), "{:?}", outcome.ends);
    assert_eq!(endings(&outcome), [Ending::Enrolled, Ending::Left, Ending::Stale, Ending::Stale]);
}

#[test]
fn a_way_back_into_the_warm_pool_that_is_told_of_again_later_is_no_dead_letter_and_keeps_the_node() {
    for again_after in [10_000, 100_000] {
        // Its message is there for a while, so that it can be taken down.
        let plan = plain(31).failing("autoscaling:CompleteLifecycleAction", 503, "ServiceUnavailable", 59, 5);
        let plan = plan.at(1, launch(100, Material::Good)).at(60, Deed::ReturnToPool { pick: 0 });
        let plan = plan.at(61, Deed::Repeat { after_ms: again_after }).at(120, Deed::LeavePool { group: 0 });
        let outcome = run(&plan);
        assert_eq!((nodes(&outcome), letters(&outcome)), (1, Vec::new()), "{:?}", outcome.ends);
        let last = outcome.ends.iter().filter(|end| end.reason == "in_pool").count();
        assert_eq!(last, 1, "{:?}", outcome.ends);
    }
}
