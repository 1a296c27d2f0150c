//! A group with a launch hook of somebody else's beside ours, for which its instances wait on when our action is over.

use enrolld::core::observation::Outcome;
use enrolld::simulator::model::autoscaling::{Kind, LifecycleState, NewHook};
use enrolld::simulator::model::opsworks_cm::{Happened, Repeated};

use crate::bench::{Bench, GROUP, LETTERS, SERVER};

/// Enrols an instance whose other hook runs out after 30 seconds; the first worker ends while it waits for that.
async fn enrolled_and_handed_over(default_result: &str) -> (Bench, String) {
    let bench = Bench::start(|fixture| {
        fixture.groups[0].hooks.push(NewHook {
            name: "converge".into(),
            transition: Kind::Launching,
            heartbeat_timeout: 30,
            default_result: default_result.into(),
            metadata: None,
            delivery: None,
        });
        fixture.groups[0].options.replace_abandoned = false;
        // What a second order would be answered with.
        fixture.servers[0].options.repeated = Repeated::Failed;
    })
    .await;
    let worker = bench.worker(|_| {});
    let id = bench.launch(1).remove(0);
    bench.until("its action is completed", |bench| bench.summary().counts.completions == 1).await;
    let ends = worker.stop().await;
    assert_eq!(ends.iter().map(|end| end.outcome).collect::<Vec<_>>(), [Outcome::Enrolled]);
    assert_eq!(bench.state_of(&id), LifecycleState::PendingWait);
    (bench, id)
}

/// Whether its node was ever ordered off.
fn was_ordered_off(bench: &Bench) -> bool {
    bench.details().associations.iter().any(|entry| entry.what == Happened::DisassociateAccepted)
}

#[tokio::test]
async fn the_next_worker_leaves_the_node_alone_and_its_message_until_the_instance_serves() {
    let (bench, id) = enrolled_and_handed_over("CONTINUE").await;
    let _worker = bench.worker(|_| {});
    // It asks whether the action is open until its patience is over.
    bench.until("it has been told for a second", |bench| bench.calls("autoscaling:RecordLifecycleActionHeartbeat") >= 3).await;
    bench.simulator.skip(31_000);
    bench.until_state(&id, LifecycleState::InService).await;
    bench.until_empty().await;
    assert!(!was_ordered_off(&bench));
    assert_eq!((bench.nodes(SERVER), bench.is_empty(LETTERS)), (vec![id], true));
    assert_eq!(bench.details().actions.iter().filter(|action| action.group == GROUP).count(), 2);
}

#[tokio::test]
async fn a_launch_that_the_other_hook_abandons_leaves_no_node() {
    let (bench, id) = enrolled_and_handed_over("ABANDON").await;
    let _worker = bench.worker(|_| {});
    bench.until("it has been told for a second", |bench| bench.calls("autoscaling:RecordLifecycleActionHeartbeat") >= 3).await;
    bench.simulator.skip(31_000);
    bench.until("its node is gone", |bench| bench.nodes(SERVER).is_empty()).await;
    bench.until_empty().await;
    assert!(was_ordered_off(&bench) && bench.is_empty(LETTERS), "{id}");
}
