//! Every row of the table of odd messages, through the running worker, each with a good message behind it.

use std::collections::{BTreeMap, BTreeSet};

use enrolld::simulator::model::autoscaling::{Form, LifecycleState, Place};

use crate::bench::{ACCOUNT, Bench, LETTERS, QUEUE, SERVER, group, publishes_after};
use crate::odd_messages::{Fate, Launch, ODD_MESSAGES, Odd, SQS_MAX_BYTES, UNROUTED_GROUP, sqs_takes};

/// One row at work: the launch that its message tells of, and the good launch behind it.
struct Sent {
    odd: &'static Odd,
    launch: Launch,
    body: String,
    good: String,
}

/// The launch of a new instance, whose hook waits and was announced to nobody.
fn launch(bench: &Bench, group: &str) -> String {
    bench.launch_in(group, Place::AutoScalingGroup, Some(&publishes_after(0)))
}

#[tokio::test]
async fn each_odd_message_meets_its_fate_and_the_good_one_behind_it_is_served() {
    let groups: BTreeSet<&str> = ODD_MESSAGES.iter().map(|odd| odd.group).collect();
    let bench = Bench::start(|fixture| {
        fixture.groups = groups.iter().map(|name| group(name, Form::Direct)).collect();
        // The test sends the notifications itself.
        fixture.groups.iter_mut().flat_map(|group| &mut group.hooks).for_each(|hook| hook.delivery = None);
    })
    .await;
    let rows = ODD_MESSAGES.iter().filter(|odd| sqs_takes(&(odd.body)(&Launch::example(odd.group))));
    let launched: Vec<_> = rows.map(|odd| (odd, launch(&bench, odd.group), launch(&bench, "web-blue"))).collect();
    bench.until("all wait", |bench| bench.summary().counts.open_actions == 2 * launched.len() as u64).await;
    let actions = bench.details().actions;
    let told: BTreeMap<&str, Launch> = actions
        .iter()
        .map(|action| {
            let launch = Launch {
                instance: action.instance.clone(),
                group: action.group.clone(),
                hook: action.hook.clone(),
                token: action.token.clone(),
                account: ACCOUNT.to_owned(),
                region: "eu-central-1".to_owned(),
            };
            (action.instance.as_str(), launch)
        })
        .collect();
    let sent: Vec<Sent> = launched
        .into_iter()
        .map(|(odd, instance, good)| {
            let launch = told[instance.as_str()].clone();
            let body = (odd.body)(&launch);
            bench.send(&body);
            bench.send(&told[good.as_str()].direct().to_string());
            Sent { odd, launch, body, good }
        })
        .collect();
    assert!(sent.len() >= 100, "{}", sent.len());

    let routed = groups.iter().filter(|name| **name != UNROUTED_GROUP).map(ToString::to_string).collect();
    let worker = bench.worker(|config| config.routes[0].groups = routed);
    worker.until_ends(2 * sent.len()).await;
    bench.until_empty().await;
    assert!(bench.is_empty(QUEUE), "{:?}", bench.queue(QUEUE).counts);

    let mut letters = bench.letters();
    for Sent { odd, launch, body, good } in &sent {
        let (served, expected) = match odd.fate {
            Fate::Undecodable(code) | Fate::Refused(code) => (false, Some(code)),
            Fate::Acknowledged => (false, None),
            Fate::Served => (true, None),
        };
        let letter = letters.iter().position(|(letter, _)| letter == body).map(|at| letters.swap_remove(at));
        match (letter, expected) {
            // A body as large as SQS takes leaves no room for anything beside it.
            (Some((_, None)), Some(_)) => assert_eq!(body.len(), SQS_MAX_BYTES, "{}: a letter without a reason", odd.name),
            (Some((_, reason)), expected) => assert_eq!(reason.as_deref(), expected, "{}", odd.name),
            (None, expected) => assert_eq!(expected, None, "{}: there is no letter with its body unchanged", odd.name),
        }
        let state = if served { LifecycleState::InService } else { LifecycleState::PendingWait };
        assert_eq!(bench.state_of(&launch.instance), state, "{}", odd.name);
        assert_eq!(bench.state_of(good), LifecycleState::InService, "behind {}", odd.name);
    }
    assert!(letters.is_empty(), "{letters:?}");
    let mut expected: Vec<String> = sent.iter().map(|row| row.good.clone()).collect();
    expected.extend(sent.iter().filter(|row| row.odd.fate == Fate::Served).map(|row| row.launch.instance.clone()));
    expected.sort();
    assert_eq!(bench.nodes(SERVER), expected, "who is served is enrolled, and nobody else");
    assert_eq!(bench.queue(LETTERS).counts.sent, expected_letters(&sent));
}

fn expected_letters(sent: &[Sent]) -> u64 {
    sent.iter().filter(|row| matches!(row.odd.fate, Fate::Undecodable(_) | Fate::Refused(_))).count() as u64
}
