//! What was read of groups' activities to their end, kept for a moment: whoever may send can name instances that never were, and each
//! of them would have the whole of it read, a hundred pages at a time, again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_autoscaling::types::Activity;

use super::whereabouts::{Found, named, said};
use crate::facts::Whereabouts;
use crate::names::{GroupName, InstanceId};

/// How long what was read to its end is believed: an activity that is under way may fail.
const FRESH: Duration = Duration::from_secs(60);
/// Groups that are kept in mind.
const MOST_GROUPS: usize = 16;

/// What was lately read, by group.
#[derive(Debug, Default)]
pub(super) struct Histories(Mutex<HashMap<GroupName, Arc<tokio::sync::Mutex<History>>>>);

impl Histories {
    /// That of a group. Whoever holds it reads for the others, who wait.
    pub(super) fn of(&self, group: &GroupName, now: SystemTime) -> Arc<tokio::sync::Mutex<History>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_GROUPS && !kept.contains_key(group) {
            kept.retain(|_, history| history.try_lock().map_or(true, |history| history.is_fresh(now)));
            if kept.len() >= MOST_GROUPS {
                kept.clear();
            }
        }
        Arc::clone(kept.entry(group.clone()).or_default())
    }
}

/// Activities as they are read, newest first: what they say, and no more of them.
#[derive(Debug, Default)]
pub(super) struct Read {
    newest: Option<String>,
    said: Vec<(InstanceId, Found)>,
}

impl Read {
    /// The next older one.
    pub(super) fn push(&mut self, activity: &Activity) {
        if self.newest.is_none() {
            self.newest = activity.activity_id().map(str::to_owned);
        }
        if let Some(instance) = named(activity).and_then(|(id, _)| InstanceId::new(id).ok()) {
            self.said.push((instance, said(activity)));
        }
    }
}

/// One group's activities, as far as they were read.
#[derive(Debug, Default)]
pub(super) struct History {
    /// When it was last begun to read them from their beginning, to their end or as far as that went.
    read_at: Option<SystemTime>,
    /// The newest of them.
    newest: Option<String>,
    of: HashMap<InstanceId, Found>,
    /// Where older ones begin, if they were not read to their end.
    rest: Option<String>,
}

impl History {
    /// By the SDK's clock, which is the wall clock: one that was set back says nothing.
    fn is_fresh(&self, now: SystemTime) -> bool {
        self.read_at.is_some_and(|at| now.duration_since(at).is_ok_and(|age| age < FRESH))
    }

    /// Forgets what is too old to be believed.
    pub(super) fn forget_if_old(&mut self, now: SystemTime) {
        if !self.is_fresh(now) {
            *self = Self::default();
        }
    }

    /// Whether an activity is the newest that is known already.
    pub(super) fn begins_with(&self, activity: &Activity) -> bool {
        self.newest.is_some() && self.newest.as_deref() == activity.activity_id()
    }

    /// Takes down all activities of the group, newest first, as they were asked for at that time.
    pub(super) fn begin(&mut self, read: Read, at: SystemTime) {
        *self = Self { read_at: Some(at), ..Self::default() };
        self.add(read);
    }

    /// Adds activities that are newer than what is known, newest first.
    pub(super) fn add(&mut self, read: Read) {
        self.newest = read.newest.or(self.newest.take());
        for (instance, found) in read.said.into_iter().rev() {
            let older = self.of.get(&instance).copied().unwrap_or(Found::Nothing);
            self.of.insert(instance, found.then(older));
        }
    }

    /// Reading broke off before this page, if it came to any. Of activities that are newer than what is known there may be more before that, so
    /// that they are read again.
    pub(super) fn break_off(&mut self, read: Read, before: Option<String>, resumed: bool, at: SystemTime) {
        if resumed && before.is_none() {
            // It cannot be gone on with.
            *self = Self::default();
        } else if resumed {
            self.end(read);
            self.rest = before;
        } else if self.newest.is_none() && before.is_some() {
            self.begin(read, at);
            self.rest = before;
        }
    }

    /// Where to go on, if it was not read to its end. That stands until it was: whoever goes on may be dropped in between.
    pub(super) fn rest(&self) -> Option<String> {
        self.rest.clone()
    }

    /// Adds the last activities, which are older than what is known, newest first.
    pub(super) fn end(&mut self, read: Read) {
        self.rest = None;
        for (instance, older) in read.said {
            let newer = self.of.get(&instance).copied().unwrap_or(Found::Nothing);
            self.of.insert(instance, newer.then(older));
        }
    }

    /// What is known so far of instances, in their order.
    pub(super) fn known(&self, instances: &[InstanceId]) -> Vec<Found> {
        instances.iter().map(|instance| self.of.get(instance).copied().unwrap_or(Found::Nothing)).collect()
    }

    /// What all of it says of instances, in their order.
    pub(super) fn found(&self, instances: &[InstanceId]) -> Vec<Whereabouts> {
        instances.iter().map(|instance| self.of.get(instance).map_or(Whereabouts::Unproven, |found| found.whereabouts())).collect()
    }
}
