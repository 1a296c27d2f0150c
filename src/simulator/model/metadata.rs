//! The instance metadata service (IMDS) of each instance: what it is told of itself, and its role's credentials. By sessions alone (IMDSv2), as
//! an account should have it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;

use super::World;
use super::caller::{Caller, Principal};
use super::context::iso_seconds;
use super::grant::Grant;

/// The longest session, in seconds (six hours).
const LONGEST_SESSION_S: u64 = 21_600;
/// How long a role's credentials last, in milliseconds.
const CREDENTIALS_MS: u64 = 6 * 3_600_000;

/// Sessions, and the credentials that were given out.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    /// The instance of each token, and until when it is one.
    sessions: HashMap<String, (Arc<str>, u64)>,
    /// The access key id of each instance.
    keys: HashMap<Arc<str>, String>,
}

/// Why the service does not answer with what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMetadata {
    /// There is no such instance, or it does not run: nobody would answer at all.
    NoInstance,
    /// No session, or one that has ended, or another instance's.
    Unauthorised,
    /// The session's length is not 1 to 21600 seconds.
    BadRequest,
    /// Nothing stands under this path.
    NotFound,
}

impl World {
    /// Begins a session of so many seconds, and gives its token.
    ///
    /// # Errors
    /// No such instance, or no such length.
    pub fn metadata_session(&mut self, now: u64, instance: &str, seconds: Option<u64>) -> Result<String, NoMetadata> {
        self.advance(now);
        let instance = self.autoscaling.running(instance).ok_or(NoMetadata::NoInstance)?;
        let seconds = seconds.filter(|seconds| (1..=LONGEST_SESSION_S).contains(seconds)).ok_or(NoMetadata::BadRequest)?;
        let token = format!("AQAEA{}==", self.cx.uuid().replace('-', ""));
        self.metadata.sessions.insert(token.clone(), (instance, self.cx.now + seconds * 1000));
        Ok(token)
    }

    /// What stands under a path after `/latest/`.
    ///
    /// # Errors
    /// No such instance, session or path.
    pub fn metadata(&mut self, now: u64, instance: &str, token: Option<&str>, path: &str) -> Result<String, NoMetadata> {
        self.advance(now);
        let instance = self.autoscaling.running(instance).ok_or(NoMetadata::NoInstance)?;
        let session = token.and_then(|token| self.metadata.sessions.get(token));
        if !session.is_some_and(|(of, until)| *of == instance && *until > self.cx.now) {
            return Err(NoMetadata::Unauthorised);
        }
        let about = self.autoscaling.about(&instance).ok_or(NoMetadata::NoInstance)?;
        let region = self.cx.settings.region.clone();
        Ok(match path.trim_end_matches('/') {
            "meta-data/instance-id" => instance.to_string(),
            "meta-data/placement/region" => region,
            "meta-data/placement/availability-zone" => format!("{region}{}", about.zone),
            "meta-data/autoscaling/target-lifecycle-state" => about.target.to_owned(),
            "meta-data/tags/instance/aws:autoscaling:groupName" => about.group.to_string(),
            "meta-data/iam/security-credentials" => about.role.clone(),
            "dynamic/instance-identity/document" => json!({
                "accountId": self.cx.settings.account, "architecture": "x86_64", "availabilityZone": format!("{region}{}", about.zone),
                "imageId": "ami-0123456789abcdef0", "instanceId": &*instance, "instanceType": "t3.micro",
                "pendingTime": iso_seconds(about.launched), "region": region, "version": "2017-09-30",
            })
            .to_string(),
            other if other.strip_prefix("meta-data/iam/security-credentials/") == Some(about.role.as_str()) => {
                let (role, denied, allowed) = (about.role.clone(), about.denied.clone(), about.allowed.clone());
                self.instance_credentials(&instance, &role, denied, allowed)
            }
            _ => return Err(NoMetadata::NotFound),
        })
    }

    /// Credentials of a session of the role, named after the instance: what EC2 gives it.
    fn instance_credentials(&mut self, instance: &Arc<str>, role: &str, denied: Vec<String>, allowed: Option<Vec<Grant>>) -> String {
        let cx = &mut self.cx;
        let key = self.metadata.keys.entry(Arc::clone(instance)).or_insert_with(|| format!("ASIA{:016X}", cx.rng.u64(..))).clone();
        let arn = Caller::instance(&self.cx.settings.account, role, instance).arn.to_string();
        self.principals.set(Principal { access_key_id: key.clone(), arn, account: None, denied, allowed });
        json!({
            "Code": "Success", "LastUpdated": iso_seconds(self.cx.now), "Type": "AWS-HMAC", "AccessKeyId": key,
            "SecretAccessKey": "simulated", "Token": "simulated", "Expiration": iso_seconds(self.cx.now + CREDENTIALS_MS),
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::model::autoscaling::Place;
    use crate::simulator::model::fixture::Fixture;

    const NOW: u64 = 1_772_439_342_118;

    fn world() -> (World, [String; 2]) {
        let mut world = World::from_fixture(Fixture::standard(), 1, NOW).expect("the fixture is sound");
        let launched = world.launch(NOW, "web-blue", 2, Place::AutoScalingGroup, None).expect("there is room");
        (world, [launched[0].to_string(), launched[1].to_string()])
    }

    #[test]
    fn nothing_is_told_without_a_session_of_ones_own() {
        let (mut world, [one, other]) = world();
        let path = "meta-data/instance-id";
        let token = world.metadata_session(NOW, &one, Some(60)).expect("a session");
        assert_eq!(world.metadata(NOW, &one, Some(&token), path).as_deref(), Ok(one.as_str()));
        assert_eq!(world.metadata(NOW, &one, None, path), Err(NoMetadata::Unauthorised));
        assert_eq!(world.metadata(NOW, &other, Some(&token), path), Err(NoMetadata::Unauthorised));
        assert_eq!(world.metadata(NOW + 60_000, &one, Some(&token), path), Err(NoMetadata::Unauthorised), "it has ended");
        for seconds in [None, Some(0), Some(21_601)] {
            assert_eq!(world.metadata_session(NOW, &one, seconds), Err(NoMetadata::BadRequest));
        }
        assert_eq!(world.metadata_session(NOW, "i-00000000", Some(60)), Err(NoMetadata::NoInstance));
    }

    #[test]
    fn the_roles_credentials_are_a_session_named_after_the_instance() {
        let (mut world, [one, _]) = world();
        let token = world.metadata_session(NOW, &one, Some(60)).expect("a session");
        let role = world.metadata(NOW, &one, Some(&token), "meta-data/iam/security-credentials/").expect("a role");
        let path = format!("meta-data/iam/security-credentials/{role}");
        let credentials = world.metadata(NOW, &one, Some(&token), &path).expect("credentials");
        let credentials: serde_json::Value = serde_json::from_str(&credentials).expect("JSON");
        let caller = world.caller(credentials["AccessKeyId"].as_str().expect("a key"));
        assert_eq!(&*caller.arn, format!("arn:aws:sts::123456789012:assumed-role/{role}/{one}"));
        assert_eq!(world.metadata(NOW, &one, Some(&token), "meta-data/iam/security-credentials/other"), Err(NoMetadata::NotFound));
    }

    #[test]
    fn the_target_state_is_where_the_instance_is_going() {
        let (mut world, [one, _]) = world();
        let target = |world: &mut World, now| {
            let token = world.metadata_session(now, &one, Some(60)).expect("a session");
            world.metadata(now, &one, Some(&token), "meta-data/autoscaling/target-lifecycle-state").expect("a state")
        };
        assert_eq!(target(&mut world, NOW + 1000), "InService", "it waits at its launch hook");
        assert!(world.terminate(NOW + 2000, &one));
        assert_eq!(target(&mut world, NOW + 3000), "Terminated");
    }
}
