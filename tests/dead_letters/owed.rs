//! Disassociations that are owed: finished where the instance is proven gone, and nowhere else.

use enrolld::simulator::model::agent::{Material, material};
use enrolld::simulator::model::autoscaling::{LifecycleState, Place};
use enrolld::simulator::model::opsworks_cm::Repeated;
use enrolld::simulator::model::opsworks_cm::wire::{AssociateNode, EngineAttribute, ServerStatus};

use crate::{Bench, GROUP, LETTERS, MAIN, SERVER, termination};

/// What becomes of an associated instance.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Serves,
    WaitsForItsTermination,
    Terminated,
    Detached,
}

/// An instance that is associated, and went that way.
fn associated(bench: &Bench, way: Way) -> String {
    let launched = bench.simulator.with(|world, now| world.launch(now, GROUP, 1, Place::AutoScalingGroup, None)).expect("there is room");
    let id = launched[0].to_string();
    bench.simulator.skip(1000);
    bench.simulator.with(|world, now| {
        let attribute = |name: &str, value: String| EngineAttribute { name: Some(name.into()), value: Some(value) };
        let request = AssociateNode {
            server_name: Some(SERVER.into()),
            node_name: Some(id.clone()),
            engine_attributes: vec![
                attribute("CHEF_ORGANIZATION", "default".into()),
                attribute("CHEF_NODE_PUBLIC_KEY", material(&Material::Good, 1, &id)),
            ],
        };
        let root = world.root();
        world.associate_node(now, &root, &request).expect("the server is healthy");
    });
    bench.simulator.skip(1000);
    assert!(nodes(bench).contains(&id));
    bench.simulator.with(|world, now| match way {
        Way::Serves => true,
        Way::Detached => world.detach(now, &id),
        Way::WaitsForItsTermination | Way::Terminated => world.terminate(now, &id),
    });
    bench.simulator.skip(1000);
    id
}

fn nodes(bench: &Bench) -> Vec<String> {
    bench.simulator.state(true).servers[SERVER].nodes.keys().cloned().collect()
}

/// A letter that owes the disassociation of `node`, about the termination of `instance`.
fn owe(bench: &Bench, instance: &str, node: &str) {
    let attributes =
        [("EnrolldReason", "deadline"), ("EnrolldOutcome", "left_behind"), ("EnrolldOwed", &format!("disassociate {node}") as &str)];
    bench.letter(&attributes, &termination(instance));
}

/// A group without hooks, whose instances come and go by themselves; or with the terminate hook alone.
async fn bench(name: &str, terminate_hook: bool) -> Bench {
    Bench::start(name, |fixture| {
        let hooks = &mut fixture.groups[0].hooks;
        hooks.remove(0);
        if !terminate_hook {
            hooks.clear();
        }
    })
    .await
}

#[tokio::test]
async fn a_node_whose_instance_was_terminated_is_taken_off_and_the_letter_goes() {
    let bench = bench("terminated", false).await;
    let id = associated(&bench, Way::Terminated);
    owe(&bench, &id, &id);
    let ran = bench.redrive(&["--all", "--dry-run"]).await;
    assert!(ran.must_exit(0).stdout.contains("scaling activities show that the instance was terminated"), "{}", ran.stdout);
    assert_eq!(nodes(&bench), std::slice::from_ref(&id));
    bench.letters_must_be(1);

    let ran = bench.redrive(&["--all"]).await;
    assert!(ran.must_exit(0).stdout.contains(&format!("{id} disassociated, as was owed")), "{}", ran.stdout);
    assert!(nodes(&bench).is_empty());
    bench.letters_must_be(0);
    assert_eq!(bench.queue(MAIN).counts.sent, 0, "it is finished here, and not sent back");
}

#[tokio::test]
async fn a_termination_that_owes_its_node_and_still_waits_goes_back_and_a_worker_ends_it_whatever_the_server_says_of_what_is_not_there() {
    for (name, absent) in [("success", Repeated::Success), ("failed", Repeated::Failed), ("validation", Repeated::Validation)] {
        let bench = Bench::start(&format!("waits-to-go-{name}"), |fixture| {
            fixture.groups[0].hooks.remove(0);
            fixture.servers.iter_mut().for_each(|server| server.options.absent = absent);
        })
        .await;
        let id = associated(&bench, Way::WaitsForItsTermination);
        let body = bench.bodies(MAIN).into_iter().find(|body| body.contains(&id)).expect("its hook said so");
        let attributes = [("EnrolldReason", "server_away"), ("EnrolldOwed", &format!("disassociate {id}") as &str)];
        bench.letter(&attributes, &body);
        assert!(bench.redrive(&["--all", "--dry-run"]).await.must_exit(0).stdout.contains("would be sent back"));
        let sent = bench.queue(MAIN).counts.sent;
        bench.redrive(&["--instance", &id]).await.must_exit(0);
        bench.letters_must_be(0);
        assert_eq!((bench.queue(MAIN).counts.sent, nodes(&bench)), (sent + 1, vec![id.clone()]), "it is a worker's to take off, once");
        bench.work_until(|bench| bench.queue(MAIN).messages.is_empty()).await;
        assert!(nodes(&bench).is_empty());
        assert_eq!(bench.simulator.with(|world, _| world.lifecycle_state(&id)), Some(LifecycleState::Terminated));
        bench.letters_must_be(0);
    }
}

#[tokio::test]
async fn without_proof_the_node_and_its_letter_stay() {
    for (name, way, why) in [("serves", Way::Serves, "not as terminating"), ("detached", Way::Detached, "detached from its group")] {
        let bench = bench(name, false).await;
        let id = associated(&bench, way);
        owe(&bench, &id, &id);
        let ran = bench.redrive(&["--all"]).await;
        assert!(ran.must_exit(1).stdout.contains(why), "{}", ran.stdout);
        assert_eq!(nodes(&bench), [id]);
        bench.letters_must_be(1);
    }
}

#[tokio::test]
async fn the_only_word_of_an_instance_that_serves_without_its_node_is_not_sent_back_to_be_lost() {
    let bench = Bench::start("taken-off", |_| {}).await;
    let id = associated(&bench, Way::Serves);
    let launch = bench.bodies(MAIN).into_iter().find(|body| body.contains(&id)).expect("its hook said so");
    bench.letter(&[("EnrolldReason", "taken_off"), ("EnrolldOutcome", "stale")], &launch);
    let sent = bench.queue(MAIN).counts.sent;
    for more in [&["--all", "--dry-run"][..], &["--all"], &["--reason", "taken_off"]] {
        let ran = bench.redrive(more).await;
        assert!(ran.must_exit(1).stdout.contains("see whether that is on its server"), "{}", ran.stdout);
        bench.letters_must_be(1);
    }
    assert_eq!(bench.queue(MAIN).counts.sent, sent);
}

#[tokio::test]
async fn a_launch_that_owes_its_node_and_still_waits_goes_back_with_word_of_its_earlier_run() {
    let bench = Bench::start("waits", |_| {}).await;
    let id = associated(&bench, Way::Serves);
    let launch = bench.bodies(MAIN).into_iter().find(|body| body.contains(&id)).expect("its hook said so");
    let attributes = [("EnrolldReason", "deliveries_exhausted"), ("EnrolldOwed", &format!("disassociate {id}") as &str)];
    bench.letter(&attributes, &launch);
    assert!(bench.redrive(&["--all", "--dry-run"]).await.must_exit(0).stdout.contains("would be sent back"));
    bench.letters_must_be(1);
    bench.redrive(&["--all"]).await.must_exit(0);
    bench.letters_must_be(0);
    assert_eq!(nodes(&bench), [id], "nothing proves that it is gone");
    let sent = bench.queue(MAIN).messages;
    let told: Vec<_> = sent.iter().filter(|message| !message.attributes.is_empty()).collect();
    assert!(told.len() == 1 && told[0].attributes.contains_key("EnrolldEarlierRun"), "{told:?}");
    assert_eq!(*told[0].body, *launch);
}

#[tokio::test]
async fn an_instance_that_nobody_knows_is_no_proof() {
    let bench = bench("unknown", false).await;
    owe(&bench, "i-0a1b2c3d4e5f60718", "i-0a1b2c3d4e5f60718");
    let ran = bench.redrive(&["--all"]).await;
    assert!(ran.must_exit(1).stdout.contains("no scaling activity"), "{}", ran.stdout);
    bench.letters_must_be(1);
}

#[tokio::test]
async fn a_forged_letter_takes_off_no_node_but_that_of_its_own_proven_instance() {
    let bench = bench("forged", false).await;
    let victim = associated(&bench, Way::Serves);
    let gone = associated(&bench, Way::Terminated);
    owe(&bench, &gone, &victim);
    let foreign = termination(&gone).replace("123456789012", "999999999999");
    bench.letter(&[("EnrolldReason", "x"), ("EnrolldOwed", &format!("disassociate {gone}"))], &foreign);
    bench.letter(&[("EnrolldReason", "x"), ("EnrolldOwed", &format!("disassociate {gone}"))], "no notification");
    bench.letter(&[("EnrolldReason", "x"), ("EnrolldOwed", "delete everything")], &termination(&gone));
    let ran = bench.redrive(&["--all"]).await;
    let text = &ran.must_exit(1).stdout;
    for why in ["would call it", "not one of ours", "names no instance", "which this version cannot do"] {
        assert!(text.contains(why), "{why} in\n{text}");
    }
    assert_eq!(nodes(&bench).len(), 2);
    bench.letters_must_be(4);
}

#[tokio::test]
async fn a_server_under_maintenance_is_waited_for() {
    let bench = bench("maintenance", false).await;
    let id = associated(&bench, Way::Terminated);
    owe(&bench, &id, &id);
    bench.simulator.with(|world, now| world.set_server_status(now, SERVER, ServerStatus::UnderMaintenance, Some(4000)));
    bench.redrive(&["--all"]).await.must_exit(0);
    assert!(nodes(&bench).is_empty());
    bench.letters_must_be(0);
}

#[tokio::test]
async fn a_server_that_takes_no_orders_keeps_its_letters_and_stops_no_other() {
    let bench = bench("unready", false).await;
    for _ in 0..12 {
        let id = associated(&bench, Way::Terminated);
        owe(&bench, &id, &id);
    }
    bench.letter(&[("EnrolldReason", "no_route")], &termination("i-0a1b2c3d4e5f60718"));
    bench.simulator.with(|world, now| world.set_server_status(now, SERVER, ServerStatus::UnderMaintenance, None));
    let report = bench.redrive(&["--all", "--wait", "1", "--output", "json"]).await.must_exit(1).json();
    assert_eq!((&report["failed"], &report["sent_back"]), (&12.into(), &1.into()), "{report:#}");
    assert!(report.to_string().contains("as another letter found out"), "{report:#}");
    bench.letters_must_be(12);
    assert_eq!(bench.queue(MAIN).visible, 1);
    assert_eq!(bench.queue(LETTERS).counts.deleted, 1);
}
