//! What holds for any body, and for any action in any envelope.

use std::sync::Arc;

use enrolld::event::{Envelope, LifecycleAction, MAX_METADATA_BYTES, Notification, Place, Transition, decode};
use enrolld::names::{AccountId, GroupName, HookName, InstanceId, LifecycleActionToken, Region};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn place() -> impl Strategy<Value = Option<Place>> {
    option::of(prop_oneof![Just(Place::Ec2), Just(Place::AutoScalingGroup), Just(Place::WarmPool), Just(Place::Other)])
}

fn place_word(place: Place) -> &'static str {
    match place {
        Place::Ec2 => "EC2",
        Place::AutoScalingGroup => "AutoScalingGroup",
        Place::WarmPool => "WarmPool",
        Place::Other => "Elsewhere",
    }
}

prop_compose! {
    /// Any action, in the direct form.
    fn any_action()(
        transition in prop_oneof![Just(Transition::Launching), Just(Transition::Terminating)],
        instance in "i-([0-9a-f]{8}|[0-9a-f]{17})",
        group in "[^:\\p{Cc}]{1,255}",
        hook in "[A-Za-z0-9_/-]{1,255}",
        token in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        account in "[0-9]{12}",
        // Up to the year 9999, where RFC 3339 ends.
        time_ms in option::of(0..253_402_300_799_000_u64),
        origin in place(),
        destination in place(),
        metadata in option::of(".{1,400}"),
    ) -> LifecycleAction {
        LifecycleAction {
            transition,
            instance: InstanceId::new(&instance).unwrap(),
            group: GroupName::new(&group).unwrap(),
            hook: HookName::new(&hook).unwrap(),
            token: LifecycleActionToken::new(&token).unwrap(),
            account: AccountId::new(&account).unwrap(),
            region: None,
            time_ms,
            origin,
            destination,
            metadata: metadata.map(Arc::from),
            envelope: Envelope::Direct,
        }
    }
}

fn put(object: &mut Map<String, Value>, field: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(field.to_owned(), value.into());
    }
}

fn time_text(time_ms: Option<u64>) -> Option<String> {
    time_ms.map(|ms| jiff::Timestamp::from_millisecond(ms.try_into().unwrap()).unwrap().to_string())
}

/// The fields that an action has in every envelope.
fn common(action: &LifecycleAction) -> Map<String, Value> {
    let mut fields = Map::new();
    put(&mut fields, "EC2InstanceId", Some(action.instance.as_str()));
    put(&mut fields, "AutoScalingGroupName", Some(action.group.as_str()));
    put(&mut fields, "LifecycleHookName", Some(action.hook.as_str()));
    put(&mut fields, "LifecycleActionToken", Some(action.token.as_str()));
    put(&mut fields, "Origin", action.origin.map(place_word));
    put(&mut fields, "Destination", action.destination.map(place_word));
    put(&mut fields, "NotificationMetadata", action.metadata.as_deref());
    let transition = match action.transition {
        Transition::Launching => "autoscaling:EC2_INSTANCE_LAUNCHING",
        Transition::Terminating => "autoscaling:EC2_INSTANCE_TERMINATING",
    };
    put(&mut fields, "LifecycleTransition", Some(transition));
    fields
}

fn direct(action: &LifecycleAction) -> String {
    let mut fields = common(action);
    put(&mut fields, "AccountId", Some(action.account.as_str()));
    put(&mut fields, "Time", time_text(action.time_ms));
    Value::Object(fields).to_string()
}

fn sns(message: &str, region: &str) -> String {
    json!({"Type": "Notification", "TopicArn": format!("arn:aws:sns:{region}:123456789012:lifecycle"), "Message": message}).to_string()
}

fn event_bridge(action: &LifecycleAction, region: &str) -> String {
    let detail_type = match action.transition {
        Transition::Launching => "EC2 Instance-launch Lifecycle Action",
        Transition::Terminating => "EC2 Instance-terminate Lifecycle Action",
    };
    json!({
        "version": "0",
        "detail-type": detail_type,
        "source": "aws.autoscaling",
        "account": action.account.as_str(),
        "time": time_text(action.time_ms),
        "region": region,
        "detail": common(action),
    })
    .to_string()
}

/// Any JSON, with the names of real fields among its keys, so that the decoder gets past its first look.
fn any_json() -> impl Strategy<Value = Value> {
    const FIELDS: [&str; 18] = [
        "Type",
        "Message",
        "TopicArn",
        "detail",
        "detail-type",
        "account",
        "region",
        "time",
        "Event",
        "LifecycleTransition",
        "EC2InstanceId",
        "AutoScalingGroupName",
        "LifecycleHookName",
        "LifecycleActionToken",
        "AccountId",
        "Time",
        "Origin",
        "NotificationMetadata",
    ];
    const WORDS: [&str; 10] = [
        "Notification",
        "SubscriptionConfirmation",
        "arn:aws:sns:eu-central-1:123456789012:x",
        "autoscaling:TEST_NOTIFICATION",
        "EC2 Instance-launch Lifecycle Action",
        "autoscaling:EC2_INSTANCE_LAUNCHING",
        "i-0a1b2c3d",
        "123456789012",
        "eu-central-1",
        "5d1f0a52-7b0e-4c8e-9a49-2f6d3f6f1c01",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        proptest::sample::select(&WORDS[..]).prop_map(Value::from),
    ];
    let key = prop_oneof![4 => proptest::sample::select(&FIELDS[..]).prop_map(str::to_owned), 1 => any::<String>()];
    leaf.prop_recursive(4, 64, 10, move |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..5).prop_map(Value::from),
            4 => btree_map(key.clone(), inner.clone(), 0..10).prop_map(|fields| Value::Object(fields.into_iter().collect())),
            // As a string, the way SNS carries it.
            1 => inner.prop_map(|value| Value::String(value.to_string())),
        ]
    })
}

/// Nothing that the decoder says about a body can forge a line or flood a log.
fn is_fit_to_be_logged(body: &str) -> Result<(), TestCaseError> {
    if let Err(error) = decode(body) {
        let text = error.to_string();
        prop_assert!(text.len() < 2_500 && !text.chars().any(char::is_control), "{text:?}");
        prop_assert!(error.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_text_makes_the_decoder_panic(body in any::<String>()) {
        is_fit_to_be_logged(&body)?;
    }

    #[test]
    fn no_json_makes_the_decoder_panic(body in any_json()) {
        is_fit_to_be_logged(&body.to_string())?;
    }

    #[test]
    fn no_damage_to_a_good_body_makes_the_decoder_panic(
        action in any_action(), way in 0..3, at in any::<prop::sample::Index>(), with in "\\PC{0,4}", cut in any::<bool>(),
    ) {
        let mut body = match way {
            0 => direct(&action),
            1 => sns(&direct(&action), "eu-central-1"),
            _ => event_bridge(&action, "eu-central-1"),
        };
        let mut at = at.index(body.len());
        while !body.is_char_boundary(at) {
            at -= 1;
        }
        if cut {
            body.truncate(at);
        }
        body.insert_str(at, &with);
        is_fit_to_be_logged(&body)?;
    }

    #[test]
    fn an_action_sent_directly_comes_out_as_it_went_in(action in any_action()) {
        prop_assert_eq!(decode(&direct(&action)), Ok(Notification::Action(action)));
    }

    #[test]
    fn the_same_action_is_read_from_every_envelope(action in any_action(), region in "[a-z]{2}-[a-z]{4,9}-[1-9]") {
        let region_read = Some(Region::new(&region).unwrap());
        let through = |envelope| Ok(Notification::Action(LifecycleAction { envelope, region: region_read.clone(), ..action.clone() }));
        let event = event_bridge(&action, &region);
        prop_assert_eq!(decode(&sns(&direct(&action), &region)), through(Envelope::Sns));
        prop_assert_eq!(decode(&event), through(Envelope::EventBridge));
        prop_assert_eq!(decode(&sns(&event, "us-east-1")), through(Envelope::Sns), "the event's region, not the topic's");
    }

    #[test]
    fn metadata_of_any_kind_reads_back_as_what_it_was(action in any_action(), metadata in any_json()) {
        prop_assume!(!metadata.is_null() && !metadata.is_string());
        let mut body: Value = serde_json::from_str(&direct(&action)).unwrap();
        body["NotificationMetadata"] = metadata;
        let body = body.to_string();
        // Read once, since the last digit of a float may change on the way.
        let expected = serde_json::from_str::<Value>(&body).unwrap()["NotificationMetadata"].to_string();
        match decode(&body) {
            Ok(Notification::Action(read)) => prop_assert_eq!(read.metadata.as_deref(), Some(expected.as_str())),
            // The one reason to refuse it.
            other => prop_assert!(expected.len() > MAX_METADATA_BYTES, "{:?}", other),
        }
    }
}
