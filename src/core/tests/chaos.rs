//! Everything at random: whatever breaks, once it is over each action has ended, and nothing of it is left in the core.

use super::bench::{Bench, settings};
use super::not_ready;
use crate::facts::{KeyAnswer, LifecycleState, RegistrationStatus};

fn run(seed: u64) -> Bench {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut settings = settings();
    settings.max_calls = rng.usize(2..20);
    settings.max_open = rng.usize(3..50);
    settings.routes[0].timeout = std::time::Duration::from_secs(rng.u64(60..3_600));
    let mut bench = Bench::new(settings);
    bench.heartbeat_timeout_s = rng.u32(30..3_600);
    bench.in_progress = rng.bool();
    bench.latency_ms = rng.u64(1..3_000);
    bench.chaos = Some((rng.fork(), rng.f64() * 0.6));
    for _ in 0..rng.u32(10..60) {
        let n = rng.u32(1..8);
        match rng.u8(0..14) {
            0..=2 => bench.launch(n),
            3 => bench.launch_again(n, rng.u32(..)),
            4 | 5 => bench.terminate(n),
            6 => bench.duplicate(n),
            7 => _ = bench.send("garbage"),
            8 => bench.server = if rng.bool() { Ok(()) } else { Err(not_ready()) },
            9 => _ = bench.keys.insert(n, KeyAnswer::Absent),
            10 => bench.keys.clear(),
            11 => bench.no_credentials = rng.u8(0..4) == 0,
            12 => {
                bench.statuses =
                    vec![RegistrationStatus::InProgress, RegistrationStatus::UnknownToken, RegistrationStatus::Failed("x".into())]
            }
            _ => {
                let states = [None, Some(LifecycleState::Living), Some(LifecycleState::PendingWait), Some(LifecycleState::TerminatingWait)];
                bench.set_state(n, states[rng.usize(0..4)]);
            }
        }
        let most = [10, 1_000, 60_000, 900_000][rng.usize(0..4)];
        bench.run_for(rng.u64(0..most));
    }
    bench
}

fn heal(bench: &mut Bench) {
    bench.chaos = None;
    bench.no_credentials = false;
    bench.server = Ok(());
    bench.keys.clear();
    bench.statuses.clear();
}

#[test]
fn once_whatever_breaks_is_mended_every_message_has_ended_and_nothing_is_left() {
    for seed in 0..60 {
        let mut bench = run(seed);
        heal(&mut bench);
        bench.run_for(3_600_000);
        // What waits for nobody any more was ended by the hook's own time-out.
        for n in 1..8 {
            bench.set_state(n, Some(LifecycleState::Living));
        }
        bench.run_for(2 * 3_600_000);
        bench.assert_nothing_is_left();
        assert!(bench.queue_is_empty(), "seed {seed}: {:?}", bench.reasons());
    }
}

#[test]
fn a_shutdown_in_the_middle_of_anything_is_over_within_its_grace() {
    for seed in 1_000..1_040 {
        let mut bench = run(seed);
        bench.shut_down();
        bench.run_for(25_000);
        assert!(bench.is_done(), "seed {seed}");
    }
}
