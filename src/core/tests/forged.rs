//! What somebody may reach who has nothing but the right to send messages to the queue.

use std::time::Duration;

use super::bench::{Bench, Repeated, settings};
use crate::core::call::Call;
use crate::core::observation::Outcome;
use crate::core::samples;
use crate::core::settings::{DeleteKey, Settings};
use crate::event::Transition;
use crate::facts::{ActionResult, LifecycleState, Whereabouts};
use crate::names::{AccountId, Region};

fn deletes_keys() -> Settings {
    let mut settings = settings();
    settings.routes[0].delete_key = DeleteKey::OnSuccess;
    settings
}

#[test]
fn a_forged_launch_does_not_take_away_the_key_of_an_instance_that_has_yet_to_launch_from_the_warm_pool() {
    for state in [LifecycleState::WarmedPendingWait, LifecycleState::Pooled] {
        let mut bench = Bench::new(deletes_keys());
        bench.set_state(1, Some(state));
        bench.forge(1, 1, |body| body["Destination"] = "AutoScalingGroup".into());
        bench.run_for(10_000);
        assert_eq!(bench.outcomes(), [Outcome::Stale], "{state:?}");
        assert!(bench.deleted.is_empty(), "{state:?}: {:?}", bench.deleted);
    }
    // After a crash between the completion and the cleaning, the same look is what cleans.
    let mut bench = Bench::new(deletes_keys());
    bench.launch_received(1, 2);
    bench.set_state(1, Some(LifecycleState::Living));
    bench.run_for(10_000);
    assert_eq!(bench.deleted, ["/enrolld/i-00000000000000001/public-key"]);
}

#[test]
fn a_forged_launch_does_not_touch_an_instance_on_its_way_back_into_the_warm_pool_whatever_it_says_of_its_way() {
    let ways = [None, Some("EC2"), Some("AutoScalingGroup"), Some("WarmPool")];
    let said = |destination: Option<&str>| destination == Some("AutoScalingGroup");
    for (origin, destination) in ways.into_iter().flat_map(|origin| ways.map(|destination| (origin, destination))) {
        for (activities, outcome) in [(Whereabouts::Elsewhere, Outcome::Stale), (Whereabouts::Unproven, Outcome::DeadLettered)] {
            let mut bench = Bench::new(deletes_keys());
            bench.nodes.insert(1);
            bench.repeated = Repeated::Failed;
            bench.whereabouts = activities;
            bench.set_state(1, Some(LifecycleState::WarmedPendingWait));
            bench.forge(1, 1, |body| {
                for (field, place) in [("Origin", origin), ("Destination", destination)] {
                    if let Some(place) = place {
                        body[field] = place.into();
                    }
                }
            });
            bench.run_for(120_000);
            let way = format!("{origin:?} to {destination:?}, {activities:?}");
            for operation in ["Associate", "Disassociate", "GetParameters", "CompleteLifecycleAction", "DeleteParameters"] {
                assert_eq!(bench.count(operation), 0, "{operation}: {way}");
            }
            let expected = if said(destination) { Outcome::Stale } else { outcome };
            assert_eq!(bench.outcomes(), [expected], "{way}");
            bench.assert_nothing_is_left();
        }
    }
}

#[test]
fn a_launch_into_the_warm_pool_is_enrolled_on_the_word_of_the_activities_and_its_key_stays() {
    let mut bench = Bench::new(deletes_keys());
    bench.whereabouts = Whereabouts::EntersPool;
    for n in 1..=40 {
        bench.launch_into_pool(n);
    }
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled; 40]);
    assert!(bench.deleted.is_empty() && bench.letters.is_empty(), "{:?}", bench.deleted);
    assert!(bench.count("DescribeScalingActivities") <= 10, "{}: asked for together", bench.count("DescribeScalingActivities"));
    // One that moved on while it waited for its key has no business there any more.
    let mut bench = Bench::new(settings());
    bench.whereabouts = Whereabouts::EntersPool;
    bench.keys.insert(1, crate::facts::KeyAnswer::Absent);
    bench.launch_into_pool(1);
    bench.run_for(50_000);
    bench.whereabouts = Whereabouts::Elsewhere;
    bench.keys.clear();
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::Stale]);
    assert_eq!(bench.count("Associate"), 0);
}

#[test]
fn forged_launches_of_an_instance_that_really_waits_end_nothing_and_the_true_one_behind_them_is_served() {
    let mut bench = Bench::new(settings());
    for number in 0..30 {
        bench.forge(1, number, |_| {});
    }
    bench.run_for(500);
    bench.launch(1);
    bench.run_for(300_000);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
    assert!(bench.outcomes().iter().all(|outcome| *outcome == Outcome::Enrolled || *outcome == Outcome::Stale), "{:?}", bench.outcomes());
    assert!(bench.letters.is_empty() && bench.queue_is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn what_a_program_is_told_of_the_hooks_metadata_is_the_hooks_own_whatever_the_message_says() {
    let mut bench = Bench::new(settings());
    bench.begin_launch(1);
    bench.forge(1, 1, |body| body["NotificationMetadata"] = r#"{"role":"db-admin"}"#.into());
    bench.run_for(60_000);
    assert!(bench.nodes.contains(&1), "the instance waits, so it is enrolled");
    assert!(!bench.told.is_empty() && bench.told.iter().all(|told| &**told == "the hook's own"), "{:?}", bench.told);
}

#[test]
fn a_name_is_made_of_the_account_and_region_that_the_route_asks_and_of_no_other_that_is_listed() {
    let (here, there) = ("123456789012", "210987654321");
    for (account, region, code) in [
        (here, None, None),
        (here, Some("eu-central-1"), None),
        (there, None, Some("wrong_account")),
        (here, Some("us-east-1"), Some("wrong_region")),
    ] {
        let mut settings = settings();
        settings.accounts = [here, there].map(|id| AccountId::new(id).unwrap()).to_vec();
        settings.regions = ["eu-central-1", "us-east-1"].map(|name| Region::new(name).unwrap()).to_vec();
        settings.routes[0].region = Some(Region::new("eu-central-1").unwrap());
        let mut bench = Bench::new(settings);
        bench.set_state(1, Some(LifecycleState::PendingWait));
        bench.forge(1, 1, |body| {
            body["AccountId"] = account.into();
            if let Some(region) = region {
                *body = serde_json::json!({
                    "Type": "Notification", "TopicArn": format!("arn:aws:sns:{region}:{account}:hooks"), "Message": body.to_string(),
                });
            }
        });
        bench.run_for(5_000);
        let associated = bench.count("Associate") > 0;
        assert_eq!(associated, code.is_none(), "{account} {region:?}");
        assert_eq!(bench.letters.first().map(|letter| letter.attributes[0].1.as_str()), code, "{account} {region:?}");
    }
    // A role says whose account is asked.
    let mut settings = settings();
    settings.accounts = [here, there].map(|id| AccountId::new(id).unwrap()).to_vec();
    settings.routes[0].account = Some(AccountId::new(there).unwrap());
    let mut bench = Bench::new(settings);
    bench.set_state(1, Some(LifecycleState::PendingWait));
    bench.forge(1, 1, |_| {});
    bench.run_for(5_000);
    assert_eq!(bench.letters[0].attributes[0].1, "wrong_account");
    assert_eq!(bench.count("DescribeAutoScalingInstances"), 0);
}

#[test]
fn which_of_several_accounts_a_route_without_a_role_asks_is_never_the_senders_choice() {
    let (here, there, further) = ("123456789012", "210987654321", "321098765432");
    for (accounts, claimed, taken) in [
        (vec![there, further], there, false),
        (vec![there, further], further, false),
        (vec![there], there, true),
        (vec![there], here, false),
        (vec![here, there], here, true),
        (vec![here, there], there, false),
    ] {
        let mut settings = settings();
        settings.accounts = accounts.iter().map(|id| AccountId::new(id).unwrap()).collect();
        let mut bench = Bench::new(settings);
        bench.set_state(1, Some(LifecycleState::PendingWait));
        bench.forge(1, 1, |body| body["AccountId"] = claimed.into());
        bench.run_for(5_000);
        assert_eq!(bench.count("Associate") > 0, taken, "{accounts:?}, {claimed}");
        assert_eq!(bench.letters.is_empty(), taken, "{accounts:?}, {claimed}");
    }
}

#[test]
fn the_bytes_in_hand_are_bounded_and_a_launch_behind_a_flood_of_huge_claims_is_served() {
    const MOST: usize = 16 * 1024 * 1024;
    let mut bench = Bench::new(Settings { max_open: 1_000, max_polls: 2, ..settings() });
    // Auto Scaling knows none of these instances, so each is looked at again for a minute.
    for number in 0..450 {
        bench.forge(1_000_000 + number, number, |body| body["Padding"] = "x".repeat(60_000).into());
    }
    bench.launch(1);
    let mut highest = 0;
    while bench.completions.is_empty() && bench.now() < 900_000 {
        bench.run_for(1_000);
        highest = highest.max(bench.bytes_in_hand());
    }
    assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
    // Beyond the bound there is at most what the polls in flight bring.
    assert!(highest > MOST / 2 && highest <= MOST + 10 * 61_000, "{highest}");
    bench.run_for(900_000);
    assert_eq!(bench.letters.len(), 450);
    bench.assert_nothing_is_left();
}

#[test]
fn nodes_that_never_publish_hold_up_no_other_and_all_end_by_the_time_that_their_hook_does() {
    let mut settings = settings();
    settings.routes[0].timeout = Duration::from_secs(600);
    let mut bench = Bench::new(settings);
    bench.heartbeat_timeout_s = 60;
    for n in 1..=200 {
        bench.keys.insert(n, crate::facts::KeyAnswer::Absent);
        bench.launch(n);
    }
    bench.run_for(60_000);
    bench.launch(1_000);
    let began = bench.now();
    while !bench.completions.contains(&(1_000, ActionResult::Continue)) {
        bench.run_for(1_000);
        assert!(bench.now() - began < 120_000, "the good one waits");
    }
    let abandoned = |bench: &Bench| bench.outcomes().iter().filter(|outcome| **outcome == Outcome::Abandoned).count();
    bench.run_for(900_000);
    assert_eq!(abandoned(&bench), 5, "so many in a row look like a fault of the route");
    bench.run_for(85 * 60_000);
    assert_eq!(abandoned(&bench), 200);
    bench.assert_nothing_is_left();
}

#[test]
fn several_instances_are_asked_by_one_command_and_one_without_an_agent_holds_up_none_of_the_others() {
    let mut settings = settings();
    settings.routes[0].key = crate::core::settings::KeySource::RunCommand;
    let mut bench = Bench::new(settings);
    bench.unregistered.insert(3);
    for n in 1..=5 {
        bench.launch(n);
    }
    bench.run_for(60_000);
    let sent = |bench: &Bench| -> Vec<Vec<u32>> {
        let sends =
            bench.made.iter().filter_map(|(_, call)| if let Call::SendCommand { instances, .. } = call { Some(instances) } else { None });
        sends.map(|instances| instances.iter().map(|id| u32::from_str_radix(&id.as_str()[2..], 16).unwrap()).collect()).collect()
    };
    assert_eq!(sent(&bench)[0].len(), 5, "{:?}", sent(&bench));
    assert!(sent(&bench).iter().any(|batch| batch.len() > 1 && !batch.contains(&3)), "{:?}", sent(&bench));
    let mut served: Vec<u32> = bench.completions.iter().map(|(n, _)| *n).collect();
    served.sort_unstable();
    assert_eq!(served, [1, 2, 4, 5]);
    bench.unregistered.clear();
    bench.run_for(60_000);
    assert_eq!(bench.completions.last(), Some(&(3, ActionResult::Continue)));
}

/// A claim of instance 2 with the token of instance 1.
fn forge_with_the_token_of_another(bench: &mut Bench) {
    let token = crate::core::samples::claim(crate::event::Transition::Launching, 1).token;
    bench.forge(2, 1, |body| body["LifecycleActionToken"] = token.as_str().into());
}

#[test]
fn a_token_that_is_claimed_for_two_instances_wakes_somebody_and_is_not_used_before_both_are_enrolled() {
    for forged_first in [true, false] {
        let mut bench = Bench::new(settings());
        bench.keys.insert(1, crate::facts::KeyAnswer::Absent);
        bench.begin_launch(1);
        bench.begin_launch(2);
        if forged_first {
            forge_with_the_token_of_another(&mut bench);
        }
        bench.launch(1);
        if !forged_first {
            forge_with_the_token_of_another(&mut bench);
        }
        bench.run_for(30_000);
        assert_eq!(bench.security_events(), ["disputed_token"], "{forged_first}");
        assert!(bench.nodes.contains(&2) && bench.completions.is_empty(), "{:?}", bench.completions);
        bench.keys.clear();
        bench.run_for(30_000);
        assert!(bench.nodes.contains(&1));
        assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
        bench.launch(2);
        bench.run_for(120_000);
        assert_eq!(bench.completions, [(1, ActionResult::Continue), (2, ActionResult::Continue)]);
        assert_eq!(bench.security_events(), ["disputed_token"]);
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_token_that_was_used_for_another_instance_before_its_own_notification_came_wakes_somebody() {
    let mut bench = Bench::new(settings());
    bench.begin_launch(1);
    bench.begin_launch(2);
    forge_with_the_token_of_another(&mut bench);
    bench.run_for(10_000);
    assert_eq!(bench.completions, [(1, ActionResult::Continue)], "Auto Scaling goes by the token alone");
    assert!(bench.security_events().is_empty());
    bench.duplicate(1);
    bench.run_for(10_000);
    assert_eq!(bench.security_events(), ["disputed_token"]);
    bench.launch(2);
    bench.run_for(120_000);
    assert_eq!(bench.completions.last(), Some(&(2, ActionResult::Continue)));
    assert_eq!(bench.security_events().len(), 1);
    bench.assert_nothing_is_left();
}

#[test]
fn a_forged_launch_that_could_not_be_looked_at_takes_no_node_off_even_where_its_token_is_anothers() {
    let mut settings = settings();
    settings.routes[0].timeout = Duration::from_secs(600);
    let mut bench = Bench::new(settings);
    bench.nodes.insert(1);
    bench.set_state(1, Some(LifecycleState::Living));
    bench.begin_launch(2);
    let token = crate::core::samples::claim(crate::event::Transition::Launching, 2).token;
    bench.faults.insert("DescribeAutoScalingInstances", super::denied());
    bench.forge(1, 1, |body| {
        body["Origin"] = "WarmPool".into();
        body["LifecycleActionToken"] = token.as_str().into();
    });
    bench.run_for(30 * 60_000);
    assert!(bench.nodes.contains(&1), "nothing shows that its instance is gone");
    bench.faults.clear();
    bench.run_for(10 * 60_000);
    assert!(bench.nodes.contains(&1));
    assert_eq!(bench.count("Disassociate"), 0);
    bench.assert_nothing_is_left();
}

#[test]
fn a_forged_launch_with_anothers_token_ends_that_action_and_takes_off_no_node_that_went_into_service_meanwhile() {
    let mut bench = Bench::new(deletes_keys());
    bench.keys.insert(2, crate::facts::KeyAnswer::Absent);
    bench.begin_launch(1);
    bench.begin_launch(2);
    let token = crate::core::samples::claim(crate::event::Transition::Launching, 1).token;
    bench.forge(2, 1, |body| {
        body["Origin"] = "WarmPool".into();
        body["LifecycleActionToken"] = token.as_str().into();
    });
    bench.run_for(60_000);
    // Another worker has enrolled it, and deleted its key.
    bench.set_state(2, Some(LifecycleState::Living));
    bench.nodes.insert(2);
    bench.run_for(28 * 60_000);
    // When its time is over nobody can say where it stands.
    bench.faults.insert("DescribeAutoScalingInstances", super::timeout());
    bench.run_for(3 * 60_000);
    assert_eq!(bench.completions, [(1, ActionResult::Abandon)]);
    bench.faults.clear();
    bench.run_for(10 * 60_000);
    assert!(bench.nodes.contains(&2), "{:?}", bench.outcomes());
    assert_eq!(bench.count("Disassociate"), 0);
    assert!(bench.deleted.is_empty(), "{:?}", bench.deleted);
    bench.assert_nothing_is_left();
}

/// Whoever reads a token, and is first with a body that says otherwise where the instance goes.
#[test]
fn a_copy_with_another_destination_or_origin_does_not_take_the_launch_with_it() {
    for (field, value) in [("Destination", "WarmPool"), ("Origin", "WarmPool")] {
        let mut bench = Bench::new(settings());
        let token = samples::claim(Transition::Launching, 1).token;
        bench.forge(1, 1, |body| {
            body[field] = value.into();
            body["LifecycleActionToken"] = token.as_str().into();
        });
        bench.launch(1);
        bench.run_for(120_000);
        assert_eq!(bench.completions, [(1, ActionResult::Continue)], "{field}");
        assert!(bench.nodes.contains(&1) && bench.queue_is_empty(), "{field}");
    }
}
