//! Every worker of a test that takes this in runs under the policies that `enrolld policy` prints for its configuration: the simulator refuses
//! it whatever is beyond them, resource by resource and with
//! each condition, and no test ends well after a call that was.

use std::sync::atomic::{AtomicU64, Ordering};

use enrolld::config::{self, Config, Environment};
use enrolld::names::{AccountId, InstanceId, Region};
use enrolld::policy::{self, DeadLetterQueue, Document, Extras, Place};
use enrolld::simulator::model::World;
use enrolld::simulator::model::grant::Grant;

/// What a command needs beyond the daemon.
pub fn of_command(command: &str) -> Extras {
    Extras { check: command == "check", dead_letters: command == "dead-letters", sweep: command == "sweep" }
}

/// An access key of its own for a command with this configuration, which may do what is printed for it. The workers of a test can have
/// different configurations. One that cannot be read makes no call.
#[allow(dead_code, reason = "not every test that shares this file has such commands")]
pub fn key_for(world: &mut World, text: &str, environment: &[(&str, &str)], command: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let key = format!("AKIATEST{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let ours = environment.iter().filter(|(name, _)| name.starts_with("ENROLLD_"));
    let environment: Environment = ours.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    if let Ok(config) = config::parse(text, "the test's configuration", &environment) {
        confine(world, &key, &config, of_command(command));
    }
    key
}

/// From now on an access key may do what is printed for this configuration, and so may the sessions of its routes' roles.
pub fn confine(world: &mut World, access_key_id: &str, config: &Config, extras: Extras) {
    let place = Place {
        region: config.region.clone().unwrap_or_else(|| Region::new("eu-central-1").expect("it is a region")),
        account: config.queue_url.account().cloned().unwrap_or_else(|| AccountId::new("123456789012").expect("it is an account")),
    };
    // The simulator's own, where the configuration leaves it to the redrive policy.
    let letters = DeadLetterQueue::Arn(format!("arn:aws:sqs:{}:{}:enrolld-dead-letters", place.region, place.account));
    let letters = config.dead_letter_queue_url.is_none().then_some(&letters);
    let policies = policy::worker(config, &place, letters, extras).expect("the place is known");
    for policy in policies {
        match policy.role {
            None => world.confine(access_key_id, grants(&policy.document)),
            Some(role) => world.confine_role(role.as_str(), grants(&policy.document)),
        }
    }
}

fn grants(document: &Document) -> Vec<Grant> {
    let grants = Grant::of_document(document).expect("a policy that the simulator reads");
    assert!(grants.iter().all(|grant| !grant.denies), "a worker's policy denies nothing");
    grants
}

/// No worker has called anything beyond its policy. Instances that are confined may well have tried.
#[track_caller]
pub fn nothing_was_beyond(world: &World) {
    let is_instance = |arn: &str| arn.rsplit('/').next().is_some_and(|session| InstanceId::new(session).is_ok());
    let beyond: Vec<_> = world.beyond().iter().filter(|call| !is_instance(&call.arn)).collect();
    assert!(beyond.is_empty(), "beyond the policy that is printed for the configuration: {beyond:#?}");
}
