//! Every row of the table of odd messages, through the decoder: what it takes and what it refuses, and how it says so.

#[path = "common/odd_messages.rs"]
mod odd_messages;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use enrolld::dead_letters::{Letter, table};
use enrolld::event::{Notification, Transition, decode};
use enrolld::facts::{MessageBody, ReceivedMessage};
use enrolld::names::{MessageId, ReceiptHandle};
use enrolld::queue::StoredLetter;
use odd_messages::{Fate, Launch, ODD_MESSAGES, PRIVATE_KEY_SECRET, SQS_MAX_BYTES, UNROUTED_GROUP, sqs_takes};

#[test]
fn each_odd_message_is_taken_or_refused_as_the_table_says() {
    for odd in ODD_MESSAGES {
        let launch = Launch::example(odd.group);
        let decoded = decode(&(odd.body)(&launch));
        match (odd.fate, &decoded) {
            (Fate::Undecodable(code), Err(error)) => assert_eq!(error.code(), code, "{}: {error}", odd.name),
            (Fate::Acknowledged, Ok(Notification::Test { .. })) => {}
            // The decoder takes these as they are; what is wrong with them is for the worker to see.
            (Fate::Refused(code), Ok(Notification::Action(action))) => {
                let plain = match code {
                    "wrong_account" => action.account.as_str() != launch.account,
                    "wrong_region" => action.region.as_ref().is_some_and(|region| region.as_str() != launch.region),
                    "no_route" => action.group.as_str() == UNROUTED_GROUP,
                    "unproven" => action.instance.as_str() != launch.instance,
                    "no_such_hook" => action.hook.as_str() != launch.hook,
                    _ => false,
                };
                assert!(plain, "{}: {action:?}", odd.name);
            }
            (Fate::Served, Ok(Notification::Action(action))) => {
                let read = [action.instance.as_str(), action.group.as_str(), action.hook.as_str(), action.token.as_str()];
                assert_eq!(read, [&launch.instance, &launch.group, &launch.hook, &launch.token], "{}", odd.name);
                assert_eq!(action.transition, Transition::Launching, "{}", odd.name);
            }
            _ => panic!("{}: expected {:?}, got {decoded:?}", odd.name, odd.fate),
        }
    }
}

#[test]
fn each_refusal_is_a_short_sentence_that_forges_nothing() {
    for odd in ODD_MESSAGES {
        if let Err(error) = decode(&(odd.body)(&Launch::example(odd.group))) {
            let text = error.to_string();
            assert!(text.len() < 1_000, "{}: {} bytes: {text}", odd.name, text.len());
            assert!(!text.chars().any(char::is_control), "{}: {text:?}", odd.name);
            assert!(!text.contains(PRIVATE_KEY_SECRET), "{}: {text}", odd.name);
            assert!(
                text.contains("expected") || ["must", "is understood", "this queue"].iter().any(|said| text.contains(said)),
                "{}: {text}",
                odd.name
            );
        }
    }
}

/// The instance may still wait: whoever looks after dead letters is not to be able to complete its action.
#[test]
fn no_refused_message_is_shown_with_the_token_that_it_holds() {
    let mut held = 0;
    for odd in ODD_MESSAGES {
        let launch = Launch::example(odd.group);
        let body = (odd.body)(&launch);
        let Err(error) = decode(&body) else { continue };
        held += usize::from(body.contains(&launch.token));
        let message = ReceivedMessage {
            id: MessageId::new("m-1").unwrap(),
            handle: ReceiptHandle::new("h").unwrap(),
            body: MessageBody::new(body),
            sent_ms: None,
            receive_count: 1,
            earlier_run: false,
        };
        let attributes = [("EnrolldReason", error.code().to_owned()), ("EnrolldDetail", error.to_string())];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value)).into();
        let letter = Letter::read(&StoredLetter { message, attributes, moved_from: None }, None);
        for shown in [letter.json().to_string(), table::text([&letter].into_iter()), format!("{letter:?}")] {
            let shown = shown.to_lowercase();
            // A part of it is most of what nobody knows.
            for part in [&launch.token[..8], &launch.token[24..], "5d1f0a527b0e", "u0035"] {
                assert!(!shown.contains(part), "{}: {part} in {shown}", odd.name);
            }
        }
    }
    assert!(held > 40, "{held} of them hold a token");
}

#[test]
fn a_refusal_names_the_field_by_its_path() {
    let refusal = |name: &str| {
        let odd = ODD_MESSAGES.iter().find(|odd| odd.name == name).expect("a row of that name");
        decode(&(odd.body)(&Launch::example(odd.group))).unwrap_err().to_string()
    };
    assert_eq!(
        refusal("path traversal for an instance id"),
        "EC2InstanceId is wrong: instance id \"../../etc/passwd\" is not valid: \
         it must be \"i-\" and 8 or 17 lower-case hexadecimal digits"
    );
    assert_eq!(refusal("EventBridge with an empty detail"), "detail.EC2InstanceId is missing; expected an instance id");
    assert!(refusal("SNS with prose").starts_with("Message is not JSON: expected value at line 1 column 1"));
    assert!(refusal("EventBridge inside EventBridge inside SNS").starts_with("Message.detail holds an EventBridge event"));
    assert!(refusal("SNS that asks for a confirmation").contains("open the SubscribeURL"));
}

#[test]
fn the_table_is_large_varied_and_names_each_row_once() {
    let names: HashSet<_> = ODD_MESSAGES.iter().map(|odd| odd.name).collect();
    assert_eq!(names.len(), ODD_MESSAGES.len());
    assert!(ODD_MESSAGES.len() >= 40);
    let fates: HashSet<_> = ODD_MESSAGES.iter().map(|odd| format!("{:?}", odd.fate)).collect();
    assert!(fates.len() >= 16, "{fates:?}");
    let sent = ODD_MESSAGES.iter().filter(|odd| sqs_takes(&(odd.body)(&Launch::example(odd.group))));
    assert!(sent.count() >= ODD_MESSAGES.len() - 3, "nearly all of them can come out of a real queue");
}

/// A debug build reads 1 MiB in some 50 ms; anything quadratic in the length would take hours.
#[test]
fn the_largest_bodies_are_read_in_linear_time() {
    let worst = [
        format!("{{{}\"z\":0}}", (0..90_000).map(|n| format!("\"{n}\":0,")).collect::<String>()),
        format!("{{\"detail\":[{}0]}}", "0,".repeat(SQS_MAX_BYTES / 2 - 10)),
        format!("{{\"Type\":\"Notification\",\"Message\":\"{}\"}}", "\\\"".repeat(SQS_MAX_BYTES / 2 - 30)),
        format!("{{\"Event\":\"{}\"}}", "\\u0001".repeat(SQS_MAX_BYTES / 6 - 4)),
        "\u{feff}".repeat(SQS_MAX_BYTES / 3),
        "{\"a\":".repeat(SQS_MAX_BYTES / 5),
        format!("{{\"x\":[{}0]}}", "{\"\":0},".repeat(SQS_MAX_BYTES / 7 - 10)),
    ];
    for body in worst {
        assert!(body.len() <= SQS_MAX_BYTES);
        let began = Instant::now();
        assert!(decode(&body).is_err());
        assert!(began.elapsed() < Duration::from_secs(10), "{:?} for {}…", began.elapsed(), &body[..20]);
    }
}
