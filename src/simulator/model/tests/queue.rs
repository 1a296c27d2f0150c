//! Leases, redrive and duplicates.

use super::Scene;
use crate::simulator::model::sqs::QueueOptions;
use crate::simulator::model::sqs::wire::{ChangeMessageVisibility, DeleteMessage, MessageAttributes, SendMessage};

const QUEUE: &str = "enrolld-lifecycle";
const DEAD: &str = "enrolld-dead-letters";

fn send(scene: &mut Scene, body: &str) {
    let request = SendMessage { queue_url: scene.url(QUEUE), message_body: Some(body.into()), ..SendMessage::default() };
    scene.world.send_message(scene.now, &scene.root, &request).expect("sound");
}

fn extend(scene: &mut Scene, handle: &str, seconds: i64) -> Result<(), String> {
    let request =
        ChangeMessageVisibility { queue_url: scene.url(QUEUE), receipt_handle: Some(handle.into()), visibility_timeout: Some(seconds) };
    let answer = scene.world.change_message_visibility(scene.now, &scene.root, &request);
    answer.map(drop).map_err(|error| error.code.into_owned())
}

fn delete(scene: &mut Scene, handle: &str) {
    let request = DeleteMessage { queue_url: scene.url(QUEUE), receipt_handle: Some(handle.into()) };
    scene.world.delete_message(scene.now, &scene.root, &request).expect("deleting is idempotent");
}

#[test]
fn a_lease_that_is_extended_does_not_end_at_its_first_time() {
    let mut scene = Scene::new();
    send(&mut scene, "x");
    let handle = scene.receive(QUEUE, 1, 30).remove(0).receipt_handle;
    for _ in 0..20 {
        scene.pass(25_000);
        extend(&mut scene, &handle, 30).expect("held");
        assert!(scene.receive(QUEUE, 10, 30).is_empty());
    }
    scene.pass(30_000);
    assert_eq!(scene.receive(QUEUE, 10, 30).len(), 1);
}

#[test]
fn a_lease_that_is_shortened_ends_at_its_new_time() {
    let mut scene = Scene::new();
    send(&mut scene, "x");
    let handle = scene.receive(QUEUE, 1, 3600).remove(0).receipt_handle;
    extend(&mut scene, &handle, 5).expect("held");
    scene.pass(4_999);
    assert!(scene.receive(QUEUE, 10, 30).is_empty());
    scene.pass(1);
    assert_eq!(scene.receive(QUEUE, 10, 30).len(), 1);
}

#[test]
fn a_lease_does_not_outlast_twelve_hours_from_the_receive() {
    let mut scene = Scene::new();
    send(&mut scene, "x");
    let handle = scene.receive(QUEUE, 1, 43_200).remove(0).receipt_handle;
    extend(&mut scene, &handle, 43_200).expect("twelve hours exactly");
    scene.pass(1);
    assert_eq!(extend(&mut scene, &handle, 43_200), Err("InvalidParameterValueException".into()));
    extend(&mut scene, &handle, 43_199).expect("a little less");
}

#[test]
fn the_handle_of_an_earlier_receive_does_nothing() {
    let mut scene = Scene::new();
    send(&mut scene, "x");
    let first = scene.receive(QUEUE, 1, 1).remove(0).receipt_handle;
    scene.pass(1_000);
    let second = scene.receive(QUEUE, 1, 30).remove(0).receipt_handle;
    delete(&mut scene, &first);
    extend(&mut scene, &first, 0).expect("answers OK");
    scene.pass(30_000);
    assert_eq!(scene.receive(QUEUE, 1, 30).len(), 1);
    delete(&mut scene, &second);
    assert_eq!(scene.world.state(false).queues[QUEUE].counts.stale_handles, 3);
}

#[test]
fn a_message_received_too_often_goes_to_the_dead_letter_queue() {
    let mut scene = Scene::new();
    send(&mut scene, "poison");
    for _ in 0..100 {
        assert_eq!(scene.receive(QUEUE, 1, 0).len(), 1);
    }
    assert!(scene.receive(QUEUE, 1, 0).is_empty());
    assert_eq!(&*scene.receive(DEAD, 1, 0).remove(0).body, "poison");
    assert_eq!(scene.world.state(false).queues[QUEUE].counts.redriven, 1);
}

#[test]
fn a_copy_must_be_deleted_by_itself() {
    let mut scene = Scene::new();
    let options = QueueOptions { duplicate: 1.0, duplicate_after_ms: 0, ..QueueOptions::default() };
    assert!(scene.world.set_queue_options(QUEUE, options));
    send(&mut scene, "x");
    let both = scene.receive(QUEUE, 10, 30);
    assert_eq!(both.len(), 2);
    assert_eq!(both[0].message_id, both[1].message_id);
    delete(&mut scene, &both[0].receipt_handle);
    scene.pass(30_000);
    assert_eq!(scene.receive(QUEUE, 10, 30).len(), 1);
}

#[test]
fn a_message_past_its_retention_is_gone() {
    let mut scene = Scene::new();
    send(&mut scene, "x");
    scene.pass(345_600_000);
    assert!(scene.receive(QUEUE, 1, 0).is_empty());
}

#[test]
fn nothing_happens_between_two_events() {
    let mut scene = Scene::new();
    let bodies = scene.world.deliver(scene.now, QUEUE, "raw", &MessageAttributes::new(), 3);
    assert_eq!(bodies.expect("the queue is there").len(), 3);
    scene.receive(QUEUE, 10, 30);
    let next = scene.world.next_event().expect("the leases end");
    assert_eq!(next, scene.now + 30_000);
    scene.world.advance(next - 1);
    assert_eq!(scene.world.state(false).queues[QUEUE].visible, 0);
    scene.world.advance(next);
    assert_eq!(scene.world.state(false).queues[QUEUE].visible, 3);
}
