//! An instance's ways through a warm pool: its node is enrolled once, and stays until the instance is really gone.

use enrolld::core::observation::Outcome;
use enrolld::simulator::model::autoscaling::{Form, LifecycleState, Place, WarmPool};
use enrolld::simulator::model::opsworks_cm::{Happened, Repeated};

use crate::bench::{Bench, GROUP, LETTERS, SERVER};

async fn bench(via: Form, repeated: Repeated) -> Bench {
    Bench::start(|fixture| {
        let group = &mut fixture.groups[0];
        group.warm_pool = Some(WarmPool { reuse: true, ..WarmPool::default() });
        for hook in &mut group.hooks {
            hook.delivery.as_mut().expect("it has one").via = via;
        }
        fixture.servers[0].options.repeated = repeated;
    })
    .await
}

/// Waits for a state, and for the message of the way there to be gone.
async fn arrives(bench: &Bench, id: &str, state: LifecycleState) {
    bench.until_state(id, state).await;
    bench.until_empty().await;
}

#[tokio::test]
async fn an_instance_enters_the_pool_leaves_it_returns_and_is_terminated_from_it() {
    tokio::join!(
        all_the_ways(Form::Direct, Repeated::Success),
        all_the_ways(Form::EventBridge, Repeated::Failed),
        all_the_ways(Form::Sns, Repeated::Validation),
    );
}

async fn all_the_ways(via: Form, repeated: Repeated) {
    let bench = bench(via, repeated).await;
    let worker = bench.worker(|_| {});
    let id = bench.launch_in(GROUP, Place::WarmPool, None);
    arrives(&bench, &id, LifecycleState::WarmedStopped).await;
    assert_eq!(bench.nodes(SERVER), std::slice::from_ref(&id), "it is enrolled as it enters");

    let fingerprint = |bench: &Bench| bench.simulator.state(true).servers[SERVER].nodes[&id].fingerprint.clone();
    let first = fingerprint(&bench);
    bench.simulator.with(|world, now| world.leave_warm_pool(now, GROUP, 1));
    arrives(&bench, &id, LifecycleState::InService).await;
    assert_eq!(fingerprint(&bench), first, "with the same key");

    assert!(bench.simulator.with(|world, now| world.return_to_warm_pool(now, &id)));
    arrives(&bench, &id, LifecycleState::WarmedStopped).await;
    assert_eq!(bench.nodes(SERVER), std::slice::from_ref(&id), "its association stays");
    assert_eq!(bench.summary().counts.parameters, 1, "and so does its key");
    let removed = bench.details().associations.iter().filter(|entry| entry.what == Happened::Disassociated).count();
    // Where the server refuses a node that it has, it is taken off and put on again as it leaves the pool, and never after.
    assert_eq!(removed, usize::from(repeated != Repeated::Success));

    assert!(bench.simulator.with(|world, now| world.terminate(now, &id)));
    arrives(&bench, &id, LifecycleState::WarmedTerminated).await;
    assert!(bench.nodes(SERVER).is_empty());
    assert_eq!(bench.summary().counts.parameters, 0);
    assert!(bench.actions(&id).iter().all(|action| action.result.as_deref() == Some("CONTINUE")), "{:?}", bench.actions(&id));
    assert!(bench.is_empty(LETTERS), "{:?}", bench.letters());
    let outcomes: Vec<Outcome> = worker.until_ends(4).await.into_iter().map(|end| end.outcome).collect();
    assert_eq!(outcomes, [Outcome::Enrolled, Outcome::Enrolled, Outcome::Kept, Outcome::Left], "{via:?} {repeated:?}");
}
