//! SQS.

use std::time::Duration;

use enrolld::core::call::{Answer, Call, DeadLetter, InHand};
use enrolld::facts::MessageBody;
use enrolld::names::{MessageId, ReceiptHandle};
use enrolld::retry::Class;
use serde_json::json;

use crate::canned::{Canned, Reply};

fn in_hand(count: usize) -> Vec<InHand> {
    let one = |at| InHand { id: MessageId::new(&format!("m{at}")).unwrap(), handle: ReceiptHandle::new(&format!("h{at}")).unwrap() };
    (0..count).map(one).collect()
}

#[tokio::test]
async fn messages_come_with_their_count_and_time() {
    let server = Canned::serve([Reply::ok(
        r#"{"Messages":[
            {"MessageId":"m1","ReceiptHandle":"h1","Body":"{\"a\":1}","Attributes":{"ApproximateReceiveCount":"3","SentTimestamp":"1700000000000"}},
            {"MessageId":"m2","ReceiptHandle":"h2","Body":"x"},
            {"MessageId":"m3","Body":"no handle"}]}"#,
    )])
    .await;
    let call = Call::Receive { max: 10, wait: Duration::from_secs(20), visibility: Duration::from_secs(90) };
    let Answer::Received(Ok(messages)) = server.services.perform(call).await else { panic!() };
    let seen: Vec<_> = messages.iter().map(|m| (m.id.as_str(), m.handle.as_str(), m.body.as_str(), m.receive_count, m.sent_ms)).collect();
    assert_eq!(seen, [("m1", "h1", r#"{"a":1}"#, 3, Some(1_700_000_000_000)), ("m2", "h2", "x", 1, None)]);
    let asked = server.asked_json();
    assert_eq!(
        (&asked["MaxNumberOfMessages"], &asked["WaitTimeSeconds"], &asked["VisibilityTimeout"]),
        (&json!(10), &json!(20), &json!(90))
    );
    assert_eq!(asked["MessageSystemAttributeNames"], json!(["ApproximateReceiveCount", "SentTimestamp"]));
}

#[tokio::test]
async fn an_empty_receive_is_no_failure() {
    let server = Canned::serve([Reply::ok("{}")]).await;
    let call = Call::Receive { max: 1, wait: Duration::ZERO, visibility: Duration::from_secs(90) };
    let Answer::Received(Ok(messages)) = server.services.perform(call).await else { panic!() };
    assert!(messages.is_empty());
}

#[tokio::test]
async fn a_deletion_that_fails_in_part_is_told_entry_by_entry() {
    let server = Canned::serve([Reply::ok(
        r#"{"Successful":[{"Id":"2"}],"Failed":[
            {"Id":"0","SenderFault":true,"Code":"ReceiptHandleIsInvalid","Message":"expired"},
            {"Id":"1","SenderFault":false,"Code":"InternalError"}]}"#,
    )])
    .await;
    let Answer::Entries(Ok(entries)) = server.services.perform(Call::Delete { messages: in_hand(4) }).await else { panic!() };
    let classes: Vec<_> = entries.iter().map(|entry| entry.as_ref().err().map(|failure| failure.class)).collect();
    assert_eq!(classes, [Some(Class::Final), Some(Class::Transient), None, Some(Class::Transient)]);
}

#[tokio::test]
async fn each_message_is_given_back_with_its_own_delay() {
    let server = Canned::serve([Reply::ok(r#"{"Successful":[{"Id":"0"},{"Id":"1"}],"Failed":[]}"#)]).await;
    let delays = [Duration::ZERO, Duration::from_secs(30)];
    let messages = in_hand(2).into_iter().zip(delays).collect();
    let Answer::Entries(Ok(entries)) = server.services.perform(Call::Release { messages }).await else { panic!() };
    assert_eq!(entries, [Ok(()), Ok(())]);
    let entries = &server.asked_json()["Entries"];
    assert_eq!(entries[0], json!({"Id": "0", "ReceiptHandle": "h0", "VisibilityTimeout": 0}));
    assert_eq!(entries[1], json!({"Id": "1", "ReceiptHandle": "h1", "VisibilityTimeout": 30}));
}

#[tokio::test]
async fn a_dead_letter_carries_its_reason_beside_the_body() {
    let server = Canned::serve([Reply::ok(r#"{"MessageId":"m"}"#)]).await;
    let letter = DeadLetter { body: MessageBody::new("broken"), attributes: vec![("enrolld.code", "not_json".into())] };
    let call = Call::DeadLetter { url: "http://127.0.0.1/123456789012/dead".into(), letter };
    let Answer::DeadLettered(result) = server.services.perform(call).await else { panic!() };
    assert_eq!(result, Ok(()));
    let asked = server.asked_json();
    assert_eq!((&asked["MessageBody"], &asked["QueueUrl"]), (&json!("broken"), &json!("http://127.0.0.1/123456789012/dead")));
    assert_eq!(asked["MessageAttributes"]["enrolld.code"], json!({"DataType": "String", "StringValue": "not_json"}));
}

#[tokio::test]
async fn the_dead_letter_queue_is_found_through_the_redrive_policy() {
    let policy = r#"{\"deadLetterTargetArn\":\"arn:aws:sqs:eu-central-1:123456789012:dead\",\"maxReceiveCount\":5}"#;
    let server = Canned::serve([
        Reply::ok(format!(r#"{{"Attributes":{{"QueueArn":"arn:aws:sqs:eu-central-1:123456789012:hooks","RedrivePolicy":"{policy}"}}}}"#)),
        Reply::ok(r#"{"QueueUrl":"https://sqs.example/dead"}"#),
    ])
    .await;
    let Answer::Queue(Ok(facts)) = server.services.perform(Call::DescribeQueue).await else { panic!() };
    assert_eq!((facts.account.as_str(), facts.region.as_str()), ("123456789012", "eu-central-1"));
    assert_eq!((facts.dead_letter_url.as_deref(), facts.max_receive_count), (Some("https://sqs.example/dead"), Some(5)));
    assert!(server.asked()[1].body.contains(r#""QueueName":"dead""#));
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_a_fault_of_the_route() {
    let server = Canned::serve([Reply::json_error(400, "com.amazonaws.sqs#QueueDoesNotExist", "no such queue")]).await;
    let Answer::Queue(Err(failure)) = server.services.perform(Call::DescribeQueue).await else { panic!() };
    assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "QueueDoesNotExist"));
}
