//! A thousand launches through the core, with services that answer at once: what deciding costs, without any call.

use std::collections::VecDeque;

use divan::Bencher;
use divan::counter::ItemsCount;
use enrolld::config::{self, Environment};
use enrolld::core::call::{Answer, Call, CallId};
use enrolld::core::observation::Observation;
use enrolld::core::settings::Settings;
use enrolld::core::{Core, Moment};
use enrolld::facts::{
    ActionReply, HookFacts, InstanceSeen, KeyAnswer, KeyMaterial, LifecycleState, MessageBody, QueueFacts, ReceivedMessage, Registration,
    RegistrationStatus, StatusToken,
};
use enrolld::names::{AccountId, GroupName, HookName, MessageId, ReceiptHandle, Region};
use zeroize::Zeroizing;

const LAUNCHES: usize = 1_000;
const WALL_MS: u64 = 1_772_439_342_118;

/// From the receive to the deletion.
#[divan::bench]
fn launches(bencher: Bencher<'_, '_>) {
    let (settings, bodies) = (settings(), (0..LAUNCHES).map(body).collect::<Vec<_>>());
    bencher.counter(ItemsCount::new(LAUNCHES)).bench(|| drain(&settings, &bodies));
}

fn settings() -> Settings {
    let text = r#"
        queue_url = "https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld"
        [[route]]
        name = "web"
        groups = ["web-*"]
        key_rate = 10000
        registrar = { kind = "opsworks-cm", server = "chef", engine = "chef" }
        key = { parameter = "/enrolld/{instance_id}/public-key", require_owner = false }
    "#;
    config::parse(text, "the bench", &Environment::new()).unwrap_or_else(|wrong| panic!("{wrong}")).core_settings()
}

/// The sample with an instance and a token of its own.
fn body(number: usize) -> MessageBody {
    let text = include_str!("../../tests/events/direct-launch.json")
        .replace("i-0a1b2c3d4e5f60718", &format!("i-0{number:016x}"))
        .replace("5d1f0a52-7b0e-4c8e-9a49-2f6d3f6f1c01", &format!("5d1f0a52-7b0e-4c8e-9a49-{number:012x}"));
    MessageBody::new(text)
}

/// Runs until every launch has ended.
fn drain(settings: &Settings, bodies: &[MessageBody]) {
    let at = |ms| Moment { mono_ms: ms, wall_ms: WALL_MS + ms };
    let mut core = Core::new(settings.clone(), 1, at(0));
    let (mut now, mut ended, mut sent) = (0, 0, 0);
    let mut calls: VecDeque<(CallId, Call)> = VecDeque::new();
    while ended < bodies.len() {
        let outbox = core.poll(at(now));
        calls.extend(outbox.calls);
        ended += outbox.observations.iter().filter(|observation| matches!(observation, Observation::Ended(_))).count();
        match calls.pop_front() {
            Some((id, call)) => {
                if let Some(answer) = answer(call, bodies, &mut sent) {
                    core.answer(at(now), id, answer);
                }
            }
            None => now = core.next_wake().expect("what is not ended waits for something").max(now + 1),
        }
    }
}

/// What a service that has everything ready answers; a receive from an empty queue waits.
fn answer(call: Call, bodies: &[MessageBody], sent: &mut usize) -> Option<Answer> {
    Some(match call {
        Call::DescribeQueue => Answer::Queue(Ok(QueueFacts {
            account: AccountId::new("123456789012").expect("it has twelve digits"),
            region: Region::new("eu-central-1").expect("it is one"),
            dead_letter_url: None,
            dead_letters_unknown: None,
            max_receive_count: None,
        })),
        Call::Receive { max, .. } => {
            let some = bodies.iter().enumerate().skip(*sent).take(usize::from(max));
            let received: Vec<_> = some.map(|(number, body)| message(number, body)).collect();
            *sent += received.len();
            if received.is_empty() {
                return None;
            }
            Answer::Received(Ok(received))
        }
        Call::DescribeInstances { instances, .. } => {
            let group = GroupName::new("web-blue").expect("it is a group's name");
            let seen = |instance| Some(InstanceSeen { instance, group: group.clone(), state: LifecycleState::PendingWait });
            Answer::Instances(Ok(instances.into_iter().map(seen).collect()))
        }
        Call::DescribeHooks { .. } => Answer::Hooks(Ok(vec![HookFacts {
            name: HookName::new("enrol-on-launch").expect("it is a hook's name"),
            launching: true,
            heartbeat_timeout_s: 3600,
            global_timeout_s: 172_800,
            default_continue: false,
            metadata: None,
        }])),
        Call::FetchKeys { wanted, .. } => {
            let key = || KeyMaterial::new(Zeroizing::new("-----BEGIN PUBLIC KEY-----".to_owned()));
            Answer::Keys(Ok(wanted.iter().map(|_| Ok(KeyAnswer::Found(key()))).collect()))
        }
        Call::Associate { .. } => Answer::Registration(Ok(Registration::InProgress(StatusToken::new("token")))),
        Call::AssociationStatus { .. } => Answer::Status(Ok(RegistrationStatus::Success)),
        Call::Complete { .. } | Call::Heartbeat { .. } => Answer::Action(Ok(ActionReply::Accepted)),
        Call::Delete { messages } | Call::Extend { messages, .. } => Answer::Entries(Ok(messages.iter().map(|_| Ok(())).collect())),
        other => panic!("nothing goes wrong here, so that there is no {}", other.operation()),
    })
}

fn message(number: usize, body: &MessageBody) -> ReceivedMessage {
    ReceivedMessage {
        id: MessageId::new(&format!("message-{number}")).expect("it is a message's id"),
        handle: ReceiptHandle::new(&format!("handle-{number}")).expect("it is a handle"),
        body: body.clone(),
        sent_ms: Some(WALL_MS),
        receive_count: 1,
        earlier_run: false,
    }
}
