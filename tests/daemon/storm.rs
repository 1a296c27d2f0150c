//! A fault of a route, such as a server that does not exist, must never become a storm of launches that are abandoned and replaced.

use std::time::Duration;

use enrolld::core::observation::Outcome;
use enrolld::simulator::model::autoscaling::LifecycleState;
use enrolld::simulator::model::opsworks_cm::wire::ServerStatus;
use enrolld::simulator::model::opsworks_cm::{Engine, NewServer, ServerOptions};

use crate::bench::{Bench, GROUP, QUEUE, SERVER};

const LAUNCHES: usize = 200;

#[tokio::test]
async fn of_200_launches_for_a_server_that_does_not_exist_few_are_abandoned_and_the_rest_go_into_service_when_it_is_made() {
    let bench = Bench::start(|fixture| fixture.servers.clear()).await;
    let first = bench.launch(LAUNCHES);
    let worker = bench.worker(|config| config.routes[0].timeout = Duration::from_secs(10));
    // The first few are abandoned at their deadline and replaced; the deadlines of those come too, and nobody is abandoned any more.
    let held = |bench: &Bench| bench.summary().groups[GROUP].abandoned >= 5 && bench.summary().queues[QUEUE].in_flight == LAUNCHES;
    bench.until("a few are abandoned, and the others held", held).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let abandoned = bench.summary().groups[GROUP].abandoned;
    assert_eq!(abandoned, 5, "as many as max_abandons allows, whose default is 5, and not one more");
    assert!(bench.calls("opsworks-cm:AssociateNode") < 150, "one probe for all: {:?}", bench.summary().calls);
    assert_eq!(bench.summary().queues[QUEUE].in_flight, LAUNCHES, "the others and the replacements are held");

    let server = NewServer {
        name: SERVER.into(),
        engine: Engine::Chef,
        status: ServerStatus::Healthy,
        options: ServerOptions { association_ms: 20, ..ServerOptions::default() },
    };
    bench.simulator.with(|world, now| world.create_server(now, server)).expect("the name is free");
    bench.until("all in service", |bench| bench.summary().groups[GROUP].states.get("InService") == Some(&LAUNCHES)).await;
    bench.until_empty().await;

    let serving = first.iter().filter(|id| bench.state_of(id) == LifecycleState::InService).count();
    assert_eq!(serving, LAUNCHES - 5, "every one that was held");
    assert_eq!(bench.summary().groups[GROUP].abandoned, 5);
    assert_eq!(bench.nodes(SERVER).len(), LAUNCHES);
    let ends = worker.until_ends(LAUNCHES + 5).await;
    assert_eq!(ends.iter().filter(|end| end.outcome == Outcome::Enrolled).count(), LAUNCHES);
    assert_eq!(ends.iter().filter(|end| end.outcome == Outcome::Abandoned).count(), 5);
}
