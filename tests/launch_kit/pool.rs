//! Out of a warm pool an instance waits at the second hook once more, and its user data has run already.

use std::os::unix::fs::PermissionsExt as _;

use enrolld::simulator::model::autoscaling::{LifecycleState, Place, PoolState, WarmPool};

use super::kit::{self, Bench};
use super::{CHEF, COMPLETES, CONVERGES, second_hook};

/// A group with the second hook, whose instances come from a warm pool.
async fn with_a_pool(name: &str, state: PoolState) -> Bench {
    let mut bench = Bench::start(name, CHEF, |fixture| {
        second_hook(fixture);
        fixture.groups[0].warm_pool = Some(WarmPool { state, ..WarmPool::default() });
    })
    .await;
    bench.work();
    bench
}

/// How often the second hook was completed for an instance, with CONTINUE.
fn times_converged(bench: &Bench, instance: &str) -> usize {
    let actions = bench.details().actions;
    let of = |result: Option<&str>| result == Some("CONTINUE");
    actions.iter().filter(|action| action.instance == instance && action.hook == "converge" && of(action.result.as_deref())).count()
}

#[tokio::test]
async fn an_instance_of_a_pool_that_runs_completes_the_second_hook_again_when_it_leaves_the_pool() {
    let bench = with_a_pool("pool-running", PoolState::Running).await;
    let id = bench.launch_to(COMPLETES, Place::WarmPool);
    let booted = bench.boot(&id, &[CONVERGES, &["--converge-heartbeat", "600", "--agent", "echo >> ran"]].concat(), &[]);
    bench.until_state(&id, LifecycleState::WarmedRunning).await;
    assert_eq!(times_converged(&bench, &id), 1);
    bench.simulator.with(|world, now| world.leave_warm_pool(now, kit::GROUP, 1));
    booted
        .await
        .expect("waiting does not panic")
        .must(0, &["is in the warm pool: converge is completed once more", "converge is completed"]);
    bench.until_state(&id, LifecycleState::InService).await;
    assert_eq!(times_converged(&bench, &id), 2);
    bench.nothing_was_denied();
}

#[tokio::test]
async fn an_instance_that_a_pool_stopped_completes_the_second_hook_again_at_the_boot_that_comes_then() {
    let bench = with_a_pool("pool-stopped", PoolState::Stopped).await;
    let id = bench.launch_to(COMPLETES, Place::WarmPool);
    let kit = [CONVERGES, &["--agent", "echo $PPID > pid"]].concat();
    let booted = bench.boot(&id, &kit, &[]);
    bench.until_state(&id, LifecycleState::WarmedStopped).await;
    // What the simulator does not do to a process of this machine.
    let pid = std::fs::read_to_string(bench.file(&id, "pid")).expect("the agent ran");
    let off = std::process::Command::new("kill").args(["-KILL", pid.trim()]).status().expect("there is kill");
    assert!(off.success(), "the script waits");
    assert_eq!(booted.await.expect("waiting does not panic").code, None);
    bench.simulator.with(|world, now| world.leave_warm_pool(now, kit::GROUP, 1));
    // As cloud-init does at each boot.
    let script = bench.file(&id, "per-boot/enrolld-launch-kit");
    assert_eq!(std::fs::metadata(&script).expect("it is there").permissions().mode() & 0o777, 0o700);
    bench.start_script(&id, &script, &[]).await.expect("waiting does not panic").must(0, &["converge is completed"]);
    bench.until_state(&id, LifecycleState::InService).await;
    assert_eq!(times_converged(&bench, &id), 2);
    // A boot of an instance that stays in service has nothing to complete, and waits for nothing.
    bench.start_script(&id, &script, &[]).await.expect("waiting does not panic").must(0, &["converge is no longer waiting"]);
    bench.nothing_was_denied();
}

#[tokio::test]
async fn an_instance_that_was_in_no_pool_leaves_nothing_to_be_run_at_its_next_boot() {
    let mut bench = Bench::start("no-pool", CHEF, second_hook).await;
    bench.work();
    let id = bench.launch(COMPLETES);
    bench.boot(&id, &[CONVERGES, &["--agent", "true"]].concat(), &[]).await.expect("waiting does not panic").must(0, &["is completed"]);
    assert!(!bench.file(&id, "per-boot").exists());
}
