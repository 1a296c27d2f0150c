//! What a worker gives back when it is told to stop, and when another has it.

use enrolld::core::observation::Outcome as Ending;
use enrolld::simulator::model::agent::Material;
use enrolld::simulator::model::opsworks_cm::Repeated;

use crate::invariants;
use crate::plan::{BEGIN, Deed, SECOND};
use crate::run;
use crate::stage::Tracing;
use crate::stories::{ANYBODYS, CHEF, launch, story};

const WAITING: usize = 20;
const TOLD: u64 = 31;

#[test]
fn what_only_waits_is_given_back_at_once_and_received_by_another_worker_within_a_second() {
    let mut plan = story(11, Repeated::Success, &[CHEF, ANYBODYS]);
    plan.workers = 2;
    plan.off_ms = vec![0, 0];
    plan.fixture.servers[0].options.association_ms = 13_000;
    // The first worker is alone when all of them come, of which most wait for their keys; then the other one lives beside it.
    plan = plan.at(0, Deed::Crash { worker: 1, down_ms: 25 * SECOND });
    for _ in 0..WAITING {
        plan = plan.at(5, launch(90 * SECOND, Material::Good));
    }
    // These are being associated when it is told to stop, and a little longer.
    for _ in 0..6 {
        plan = plan.at(20, launch(0, Material::Good));
    }
    plan = plan.at(TOLD, Deed::ShutDown { worker: 0, twice: false, down_ms: 60 * SECOND });

    let outcome = run::run(&plan, Tracing::Off);
    assert_eq!(invariants::broken(&plan, &outcome).0, Vec::<String>::new());
    let told = BEGIN + TOLD * SECOND;
    let of_first = |ending: Ending| outcome.ends.iter().filter(move |end| end.worker == 0 && end.outcome == ending);
    // At the end of its grace it gives back what it could not end, too.
    let at_once = |at: &u64| (told..=told + 2 * SECOND).contains(at);
    let released: Vec<u64> = of_first(Ending::Released).map(|end| end.at).filter(at_once).collect();
    assert_eq!(released.len(), WAITING, "told at {told}: {:?}", outcome.ends);
    let (first, last) = (released[0], released[WAITING - 1]);
    let ended_later = of_first(Ending::Enrolled).filter(|end| end.at > last).count();
    assert!(ended_later > 0, "what was being associated ended meanwhile: {:?}", outcome.ends);
    let within_a_second = outcome.received.iter().filter(|(worker, at, _)| *worker == 1 && (first..=last + SECOND).contains(at));
    let received: usize = within_a_second.map(|(_, _, messages)| messages).sum();
    assert!(received >= WAITING, "the other one had {received} of {WAITING} by then: {:?}", outcome.received);
    assert!(outcome.ends.iter().filter(|end| end.worker == 1 && end.outcome == Ending::Enrolled).count() >= WAITING);
}

#[test]
fn what_cannot_end_within_the_grace_is_given_back_before_its_end_and_received_by_another_worker_within_a_second() {
    const ORDERED: usize = 12;
    let mut plan = story(12, Repeated::Success, &[CHEF, ANYBODYS]);
    plan.workers = 2;
    plan.off_ms = vec![0, 0];
    // Longer than any grace.
    plan.fixture.servers[0].options.association_ms = 90_000;
    plan = plan.at(0, Deed::Crash { worker: 1, down_ms: 25 * SECOND });
    for _ in 0..ORDERED {
        plan = plan.at(5, launch(0, Material::Good));
    }
    plan = plan.at(TOLD, Deed::ShutDown { worker: 0, twice: false, down_ms: 60 * SECOND });

    let outcome = run::run(&plan, Tracing::Off);
    assert_eq!(invariants::broken(&plan, &outcome).0, Vec::<String>::new());
    let told = BEGIN + TOLD * SECOND;
    let released = outcome.ends.iter().filter(|end| end.worker == 0 && end.outcome == Ending::Released);
    let released: Vec<u64> = released.map(|end| end.at).collect();
    assert_eq!(released.len(), ORDERED, "{:?}", outcome.ends);
    let (first, last) = (released[0], released[ORDERED - 1]);
    assert!(first > told + 2 * SECOND && last < told + plan.grace_ms, "told at {told}, given back from {first} to {last}");
    let within_a_second = outcome.received.iter().filter(|(worker, at, _)| *worker == 1 && (first..=last + SECOND).contains(at));
    let received: usize = within_a_second.map(|(_, _, messages)| messages).sum();
    assert!(received >= ORDERED, "the other one had {received} of {ORDERED} by then: {:?}", outcome.received);
}
