//! Scaling activities: what a group did, in the words of the real one.

use super::Group;
use super::instance::Place;
use crate::simulator::model::context::{Context, iso_seconds};

/// One scaling activity.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    pub id: String,
    pub description: String,
    pub cause: String,
    pub status: &'static str,
    pub message: Option<String>,
    pub start: u64,
    pub end: Option<u64>,
    pub zone: &'static str,
}

impl Activity {
    pub const fn progress(&self) -> u8 {
        match self.end {
            Some(_) => 100,
            None => 50,
        }
    }
}

impl Group {
    /// Notes that something begins, and says under which number.
    pub(super) fn begin(&mut self, cx: &mut Context, description: String, cause: &str, zone: &'static str) -> usize {
        self.activities.push(Activity {
            id: cx.uuid(),
            description,
            cause: format!("At {} {cause}", iso_seconds(cx.now)),
            status: "InProgress",
            message: None,
            start: cx.now,
            end: None,
            zone,
        });
        self.activities.len() - 1
    }

    pub(super) fn end(&mut self, cx: &Context, activity: usize, status: &'static str, message: Option<String>) {
        if let Some(activity) = self.activities.get_mut(activity) {
            activity.status = status;
            activity.message = message;
            activity.end = Some(cx.now);
        }
    }

    pub(super) fn waits(&mut self, activity: usize) {
        if let Some(activity) = self.activities.get_mut(activity) {
            activity.status = "MidLifecycleAction";
        }
    }
}

pub(super) fn description(origin: Place, destination: Place, instance: &str) -> String {
    match (origin, destination) {
        (Place::Ec2, Place::WarmPool) => {
            format!("Launching a new EC2 instance into warm pool: {instance}")
        }
        (Place::WarmPool, Place::AutoScalingGroup) => {
            format!("Launching a new EC2 instance from warm pool: {instance}")
        }
        (_, Place::AutoScalingGroup) => format!("Launching a new EC2 instance: {instance}"),
        (_, Place::WarmPool) => format!("Moving EC2 instance to warm pool: {instance}"),
        (Place::WarmPool, Place::Ec2) => {
            format!("Terminating EC2 instance from warm pool: {instance}")
        }
        (_, Place::Ec2) => format!("Terminating EC2 instance: {instance}"),
    }
}
