//! What a group's scaling activities prove about instances that Auto Scaling does not list any more.
//!
//! Absence proves nothing: an instance that was detached is not listed either, and lives on.

use aws_sdk_autoscaling::types::{Activity, ScalingActivityStatusCode};

use super::errors::classify;
use super::history::Read;
use super::{Lifecycle, Page};
use crate::aws::{from_sdk, further};
use crate::event::Transition;
use crate::facts::Whereabouts;
use crate::names::{GroupName, InstanceId};
use crate::retry::{Class, Failure};

/// How far back one call reads: a hundred pages of a hundred activities. What happened before that is left unproven.
const MOST_PAGES: usize = 100;
/// Activities a page (the API's limit).
const PAGE: i32 = 100;

impl Lifecycle {
    /// What the group's activities prove of instances, in the order asked. Reads the newest first, and no more than it takes; what was read
    /// for others just before, or before a call failed, is not read again, so that nobody has all of it read for each name that is made up. Groups that
    /// were deleted since are read too.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn whereabouts(&self, group: &GroupName, instances: &[InstanceId]) -> Result<Vec<Whereabouts>, Failure> {
        let history = self.histories.of(group, self.time.now());
        let mut history = history.lock().await;
        // Whoever waited for another's reading comes later.
        let now = self.time.now();
        history.forget_if_old(now);
        let mut search = Search::of(instances);
        let mut read = Read::default();
        let mut next_token = None;
        // Whether what is read is older than what is known, and not newer.
        let mut resumed = false;
        'pages: for _ in 0..MOST_PAGES {
            if search.is_over() {
                history.break_off(read, next_token, resumed, now);
                return Ok(search.found());
            }
            let asked = self.activity_page(group, next_token.clone());
            let page = if next_token.is_none() { asked.await } else { further("DescribeScalingActivities", asked).await };
            let page = match page {
                Ok(page) => page,
                Err(failure) => {
                    // A long history would else never be read to its end where one call in ten fails.
                    history.break_off(read, next_token.filter(|_| failure.class != Class::Final), resumed, now);
                    return Err(failure);
                }
            };
            for activity in page.items {
                if !resumed && history.begins_with(&activity) {
                    history.add(read);
                    let Some(rest) = history.rest() else { return Ok(history.found(instances)) };
                    search = Search { instances, found: history.known(instances) };
                    (read, next_token, resumed) = (Read::default(), Some(rest), true);
                    continue 'pages;
                }
                search.note(&activity);
                read.push(&activity);
            }
            next_token = page.next;
            if next_token.is_none() {
                break;
            }
        }
        if resumed {
            history.end(read)
        } else {
            history.begin(read, now)
        }
        Ok(search.found())
    }
}

impl Lifecycle {
    /// One page of a group's activities, newest first. Groups that were deleted since are read too.
    async fn activity_page(&self, group: &GroupName, after: Option<String>) -> Result<Page<Activity>, Failure> {
        let output = self
            .client
            .describe_scaling_activities()
            .auto_scaling_group_name(group.as_str())
            .include_deleted_groups(true)
            .max_records(PAGE)
            .set_next_token(after)
            .send()
            .await
            .map_err(|error| from_sdk(&error, classify))?;
        let next = output.next_token.filter(|token| !token.is_empty());
        Ok(Page { items: output.activities.unwrap_or_default(), next })
    }

    /// One page of what a group's activities say of instances, newest first.
    ///
    /// # Errors
    /// By this room's table; final where there is no such group.
    pub async fn activities(&self, group: &GroupName, after: Option<String>) -> Result<Page<ActivitySeen>, Failure> {
        let page = self.activity_page(group, after).await?;
        Ok(Page { items: page.items.iter().filter_map(seen).collect(), next: page.next })
    }
}

/// What one activity says of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivitySeen {
    /// The instance.
    pub instance: InstanceId,
    /// What it proves, if anything.
    pub proves: Option<Whereabouts>,
    /// Which way the instance goes, and since when in Unix seconds, where the activity has not ended.
    pub under_way: Option<(Transition, i64)>,
}

fn seen(activity: &Activity) -> Option<ActivitySeen> {
    let (what, id) = activity.description()?.split_once(": ")?;
    let transition = match what {
        "Launching a new EC2 instance" | "Launching a new EC2 instance into warm pool" | "Launching a new EC2 instance from warm pool" => {
            Some(Transition::Launching)
        }
        // The hooks of a way back into the warm pool are those of terminations.
        "Terminating EC2 instance" | "Terminating EC2 instance from warm pool" | "Moving EC2 instance to warm pool" => {
            Some(Transition::Terminating)
        }
        _ => None,
    };
    let began = activity.start_time().filter(|_| activity.end_time().is_none()).map(aws_smithy_types::DateTime::secs);
    let instance = InstanceId::new(id).ok()?;
    Some(ActivitySeen { instance, proves: proof(activity).map(|(_, proves)| proves), under_way: transition.zip(began) })
}

/// A search for instances in a group's activities, newest first.
#[derive(Debug)]
pub struct Search<'a> {
    instances: &'a [InstanceId],
    found: Vec<Found>,
}

/// What is known so far of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// Something was done with it that is neither its end nor its beginning: one of these may still be found.
    Named,
    Settled(Whereabouts),
}

impl<'a> Search<'a> {
    /// A search that has seen nothing yet.
    #[must_use]
    pub fn of(instances: &'a [InstanceId]) -> Self {
        Self { instances, found: vec![Found::Nothing; instances.len()] }
    }

    /// Takes down what an activity says, unless a newer one has settled it for the same instance already.
    pub fn note(&mut self, activity: &Activity) {
        let Some((id, _)) = named(activity) else { return };
        for (_, found) in self.instances.iter().zip(&mut self.found).filter(|(instance, _)| instance.as_str() == id) {
            *found = found.then(said(activity));
        }
    }

    /// Whether nothing older can say more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.found.iter().all(|found| matches!(found, Found::Settled(_)))
    }

    /// What was found, in the order of the instances.
    #[must_use]
    pub fn found(&self) -> Vec<Whereabouts> {
        self.found.iter().map(|found| found.whereabouts()).collect()
    }
}

impl Found {
    /// The same with what an older activity, or older ones, say.
    pub(super) fn then(self, older: Self) -> Self {
        match (self, older) {
            (Self::Settled(_), _) | (_, Self::Nothing) => self,
            (Self::Nothing, _) => older,
            // Only the newest says where it goes; its end outlives what is done besides.
            (Self::Named, Self::Settled(Whereabouts::EntersPool)) => Self::Settled(Whereabouts::Elsewhere),
            (Self::Named, _) => older,
        }
    }

    pub(super) fn whereabouts(self) -> Whereabouts {
        match self {
            Self::Nothing => Whereabouts::Unproven,
            Self::Named => Whereabouts::Elsewhere,
            Self::Settled(whereabouts) => whereabouts,
        }
    }
}

/// Which instance an activity is about that did not fail, and what it does with it.
pub(super) fn named(activity: &Activity) -> Option<(&str, &str)> {
    let failed = matches!(activity.status_code(), Some(ScalingActivityStatusCode::Failed | ScalingActivityStatusCode::Cancelled));
    let (what, id) = activity.description().filter(|_| !failed)?.split_once(": ")?;
    Some((id, what))
}

/// What one activity says of its instance. An instance begins once: nothing older than its launch is about it.
pub(super) fn said(activity: &Activity) -> Found {
    if let Some((_, proves)) = proof(activity) {
        return Found::Settled(proves);
    }
    match named(activity) {
        Some((_, "Launching a new EC2 instance into warm pool")) => Found::Settled(Whereabouts::EntersPool),
        Some((_, "Moving EC2 instance to warm pool")) => Found::Settled(Whereabouts::Returned),
        Some((_, "Launching a new EC2 instance")) => Found::Settled(Whereabouts::Elsewhere),
        Some(_) => Found::Named,
        None => Found::Nothing,
    }
}

/// The descriptions that Auto Scaling gives to the end of an instance's membership. An activity that failed or was cancelled
/// proves nothing.
fn proof(activity: &Activity) -> Option<(&str, Whereabouts)> {
    let counts = matches!(
        activity.status_code(),
        Some(ScalingActivityStatusCode::Successful | ScalingActivityStatusCode::InProgress | ScalingActivityStatusCode::MidLifecycleAction)
    );
    if !counts {
        return None;
    }
    let (what, id) = activity.description()?.split_once(": ")?;
    match what {
        "Terminating EC2 instance" | "Terminating EC2 instance from warm pool" => {
            let done = activity.status_code() == Some(&ScalingActivityStatusCode::Successful);
            Some((id, if done { Whereabouts::Terminated } else { Whereabouts::Terminating }))
        }
        "Detaching EC2 instance" => Some((id, Whereabouts::Detached)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(description: &str, status: &str) -> Activity {
        Activity::builder().description(description).status_code(status.into()).build()
    }

    fn of(activities: &[Activity], instance: &str) -> Option<Whereabouts> {
        let instances = [InstanceId::new(instance).unwrap()];
        let mut search = Search::of(&instances);
        activities.iter().for_each(|activity| search.note(activity));
        Some(search.found()[0]).filter(|found| *found != Whereabouts::Unproven)
    }

    #[test]
    fn a_termination_that_happens_or_happened_is_a_proof() {
        let terminating = Whereabouts::Terminating;
        for (status, proves) in [("Successful", Whereabouts::Terminated), ("InProgress", terminating), ("MidLifecycleAction", terminating)]
        {
            let activities = [activity("Terminating EC2 instance: i-0a1b2c3d", status)];
            assert_eq!(of(&activities, "i-0a1b2c3d"), Some(proves), "{status}");
        }
        let pool = [activity("Terminating EC2 instance from warm pool: i-0a1b2c3d", "Successful")];
        assert_eq!(of(&pool, "i-0a1b2c3d"), Some(Whereabouts::Terminated));
    }

    #[test]
    fn a_termination_that_failed_proves_nothing() {
        for status in ["Failed", "Cancelled", "PreInService", "SomethingNew"] {
            let found = of(&[activity("Terminating EC2 instance: i-0a1b2c3d", status)], "i-0a1b2c3d");
            assert!(matches!(found, None | Some(Whereabouts::Elsewhere)), "{status}: {found:?}");
        }
    }

    #[test]
    fn the_newest_activity_wins() {
        let detached = activity("Detaching EC2 instance: i-0a1b2c3d", "Successful");
        let terminated = activity("Terminating EC2 instance: i-0a1b2c3d", "Successful");
        assert_eq!(of(&[detached.clone(), terminated.clone()], "i-0a1b2c3d"), Some(Whereabouts::Detached));
        assert_eq!(of(&[terminated, detached], "i-0a1b2c3d"), Some(Whereabouts::Terminated));
    }

    #[test]
    fn another_instance_whose_id_begins_alike_proves_nothing() {
        let activities = [
            activity("Terminating EC2 instance: i-0a1b2c3d4e5f60718", "Successful"),
            activity("Terminating EC2 instance: i-0a1b2c3d and more", "Successful"),
        ];
        assert_eq!(of(&activities, "i-0a1b2c3d"), None);
    }

    #[test]
    fn an_instance_enters_the_warm_pool_where_nothing_newer_than_its_launch_into_it_is_known() {
        let entering = activity("Launching a new EC2 instance into warm pool: i-0a1b2c3d", "InProgress");
        let out = activity("Launching a new EC2 instance from warm pool: i-0a1b2c3d", "Successful");
        let back = activity("Moving EC2 instance to warm pool: i-0a1b2c3d", "MidLifecycleAction");
        let odd = activity("Doing what nobody has heard of: i-0a1b2c3d", "Successful");
        assert_eq!(of(std::slice::from_ref(&entering), "i-0a1b2c3d"), Some(Whereabouts::EntersPool));
        for newer in [&out, &odd] {
            assert_eq!(of(&[newer.clone(), entering.clone()], "i-0a1b2c3d"), Some(Whereabouts::Elsewhere));
        }
        for way in [[&back, &out, &entering], [&out, &back, &entering]] {
            assert_eq!(of(&way.map(Clone::clone), "i-0a1b2c3d"), Some(Whereabouts::Returned));
        }
        let failed = activity("Launching a new EC2 instance into warm pool: i-0a1b2c3d", "Failed");
        assert_eq!(of(&[failed], "i-0a1b2c3d"), None);
        let terminated = activity("Terminating EC2 instance: i-0a1b2c3d", "Successful");
        assert_eq!(of(&[odd, terminated], "i-0a1b2c3d"), Some(Whereabouts::Terminated), "its end outlives what is done besides");
    }
}
