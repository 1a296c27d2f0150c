//! How much of a queue is taken in hand: what calls can be made for, and everything only where the services stay slow.

use super::bench::{Bench, settings};
use crate::facts::{ActionResult, KeyAnswer};

const LAUNCHES: u32 = 10_000;
/// Every call of a launch.
const CALLS: [&str; 6] =
    ["DescribeAutoScalingInstances", "GetParameters", "Associate", "AssociationStatus", "CompleteLifecycleAction", "DeleteMessageBatch"];

/// A backlog, of which some four hundred a second can be done.
fn backlog() -> Bench {
    let mut settings = settings();
    settings.routes[0].key_rate = 1_000.0;
    let mut bench = Bench::new(settings);
    bench.latency_ms = 40;
    bench.receive_ms = 10;
    for n in 1..=LAUNCHES {
        bench.launch(n);
    }
    bench
}

/// The most in hand at any look within so many tenths of a second.
fn most_in_hand(bench: &mut Bench, tenths: usize) -> usize {
    (0..tenths)
        .map(|_| {
            bench.run_for(100);
            bench.in_hand()
        })
        .max()
        .unwrap_or(0)
}

#[test]
fn a_worker_takes_little_until_it_has_shown_that_it_lives() {
    let mut bench = backlog();
    // None of them can end before then.
    bench.slow.insert("Associate", 10_000);
    bench.run_for(2_500);
    assert_eq!(bench.in_hand(), 10);
    bench.run_for(5_000);
    assert!(bench.in_hand() > 200, "{}: it has lived for long enough", bench.in_hand());
}

#[test]
fn a_worker_takes_more_as_soon_as_something_has_ended() {
    let mut bench = backlog();
    assert_eq!(most_in_hand(&mut bench, 1), 10);
    assert!(most_in_hand(&mut bench, 20) > 200);
    let ended = bench.completions.len();
    assert!(ended > 400, "{ended} in two seconds");
}

#[test]
fn one_bad_second_does_not_make_a_worker_take_the_whole_queue() {
    let mut bench = backlog();
    let before = most_in_hand(&mut bench, 30);
    bench.slow.extend(CALLS.map(|call| (call, 1_500)));
    let meanwhile = most_in_hand(&mut bench, 15);
    bench.slow.clear();
    let after = most_in_hand(&mut bench, 30);
    let later = most_in_hand(&mut bench, 10);
    let seen = format!("{before}, {meanwhile}, {after}, {later} of {LAUNCHES}");
    assert!(before < 1_500, "{seen}");
    assert!(meanwhile.max(after) < 3_000, "{seen}: one second was bad");
    assert!(later < 1_500, "{seen}: it is over");
    bench.run_for(30_000);
    assert_eq!(bench.completions.len(), LAUNCHES as usize);
}

#[test]
fn where_the_services_stay_slow_all_is_taken_in_hand_and_kept_open() {
    let mut bench = backlog();
    bench.slow.extend(CALLS.map(|call| (call, 4_000)));
    bench.run_for(25_000);
    assert!(bench.in_hand() > LAUNCHES as usize * 9 / 10, "{}", bench.in_hand());
}

#[test]
fn where_launches_come_late_all_is_taken_in_hand_and_kept_open() {
    let mut bench = backlog();
    bench.heartbeat_timeout_s = 60;
    bench.run_for(500);
    assert!(bench.in_hand() < 1_000, "{}: none is late", bench.in_hand());
    let mut bench = Bench::new(settings());
    bench.heartbeat_timeout_s = 60;
    (1..=LAUNCHES).for_each(|n| bench.launch_at(n, 20_000));
    bench.run_for(3_000);
    assert!(bench.in_hand() > LAUNCHES as usize * 8 / 10, "{}", bench.in_hand());
}

#[test]
fn slow_heartbeats_leave_a_slot_to_the_launches_that_they_keep_open() {
    let mut settings = settings();
    settings.max_calls = 2;
    let mut bench = Bench::new(settings);
    bench.heartbeat_timeout_s = 60;
    for n in 1..=20 {
        bench.keys.insert(n, KeyAnswer::Absent);
        bench.launch(n);
    }
    bench.run_for(15_000);
    // Twenty heartbeats a minute, of nine seconds each: more than both slots could do.
    bench.slow.insert("RecordLifecycleActionHeartbeat", 9_000);
    bench.run_for(60_000);
    bench.launch(21);
    bench.run_for(20_000);
    assert_eq!(bench.completions, [(21, ActionResult::Continue)]);
}

#[test]
fn slow_key_reads_leave_a_slot_to_heartbeats() {
    let mut settings = settings();
    settings.max_calls = 2;
    let mut bench = Bench::new(settings);
    bench.heartbeat_timeout_s = 60;
    bench.slow.insert("GetParameters", 14_000);
    for n in 1..=200 {
        bench.keys.insert(n, KeyAnswer::Absent);
        bench.launch(n);
    }
    bench.run_for(70_000);
    let beats = bench.count("RecordLifecycleActionHeartbeat");
    assert!(beats >= 200, "{beats} heartbeats");
}

#[test]
fn whoever_has_just_begun_deletes_what_is_done_at_once() {
    let mut bench = Bench::new(settings());
    bench.launch(1);
    bench.run_for(100);
    assert_eq!((bench.completions.len(), bench.count("DeleteMessageBatch")), (1, 1));
    let mut bench = Bench::settled(settings());
    bench.launch(1);
    bench.run_for(100);
    assert_eq!((bench.completions.len(), bench.count("DeleteMessageBatch")), (1, 0), "later it gathers a batch");
}

#[test]
fn a_queue_that_answers_at_once_that_there_is_nothing_is_asked_once_a_second() {
    let mut settings = settings();
    // Some do not wait for messages, whatever they are asked.
    settings.poll_wait = std::time::Duration::ZERO;
    let mut bench = Bench::new(settings);
    bench.run_for(60_000);
    let asked = bench.count("ReceiveMessage");
    assert!((55..=61).contains(&asked), "{asked} receives in a minute");
    bench.launch(1);
    bench.run_for(3_000);
    assert_eq!(bench.completions.len(), 1);
}
