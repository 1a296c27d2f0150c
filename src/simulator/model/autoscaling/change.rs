//! The calls that change which instances a group has.

use std::sync::Arc;

use super::instance::{LifecycleState, Place};
use super::wire::{
    Activity, DetachInstances, EnterStandby, ExitStandby, SetDesiredCapacity, SetInstanceHealth, TerminateInstanceInAutoScalingGroup,
};
use super::{AutoScaling, required, validation};
use crate::simulator::model::caller::Caller;
use crate::simulator::model::context::{Context, Event, iso};
use crate::simulator::model::error::{Answer, ApiError};

const BY_USER: &str = "an instance was taken out of service in response to a user request.";

impl AutoScaling {
    pub(crate) fn set_instance_health(&mut self, _: &mut Context, _: &Caller, request: &SetInstanceHealth) -> Answer<()> {
        let healthy = match request.health_status.as_str() {
            "Healthy" => true,
            "Unhealthy" => false,
            _ => {
                return Err(validation(format!(
                    "Invalid Instance Health Status: {}. Use one of [Healthy, Unhealthy]",
                    request.health_status
                )));
            }
        };
        let id = self.managed(&request.instance_id)?;
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.healthy = healthy;
        }
        Ok(())
    }

    pub(crate) fn terminate_instance_in_auto_scaling_group(
        &mut self,
        cx: &mut Context,
        _: &Caller,
        request: &TerminateInstanceInAutoScalingGroup,
    ) -> Answer<Activity> {
        let id = self.managed(&request.instance_id)?;
        let group = self.instances.get(&id).map(|instance| Arc::clone(&instance.group)).unwrap_or_default();
        let pooled = self.state_of(&id).is_some_and(LifecycleState::is_warmed);
        if !self.terminate(cx, &id, BY_USER, true) {
            return Err(validation(format!("Instance {id} is already terminating")));
        }
        if !pooled {
            if request.should_decrement_desired_capacity {
                self.lower_desired(&group, 1);
            } else {
                let after = self.group(&group)?.options.replace_after_ms;
                cx.after(after, Event::Replace { group: Arc::clone(&group) });
            }
        }
        self.last_activity(&group)
    }

    pub(crate) fn detach_instances(&mut self, cx: &mut Context, _: &Caller, request: &DetachInstances) -> Answer<Vec<Activity>> {
        let group = Arc::clone(&self.group(required(&request.auto_scaling_group_name, "autoScalingGroupName")?)?.name);
        self.check_members(&group, &request.instance_ids, &[LifecycleState::InService, LifecycleState::Standby])?;
        let mut activities = Vec::new();
        for id in &request.instance_ids {
            self.detach(cx, id);
            activities.push(self.last_activity(&group)?);
            if request.should_decrement_desired_capacity {
                self.lower_desired(&group, 1);
            } else {
                cx.after(0, Event::Replace { group: Arc::clone(&group) });
            }
        }
        Ok(activities)
    }

    pub(crate) fn enter_standby(&mut self, cx: &mut Context, _: &Caller, request: &EnterStandby) -> Answer<Vec<Activity>> {
        let group = Arc::clone(&self.group(required(&request.auto_scaling_group_name, "autoScalingGroupName")?)?.name);
        self.check_members(&group, &request.instance_ids, &[LifecycleState::InService])?;
        let mut activities = Vec::new();
        for id in &request.instance_ids {
            self.standby(cx, id);
            activities.push(self.last_activity(&group)?);
            if request.should_decrement_desired_capacity {
                self.lower_desired(&group, 1);
            }
        }
        Ok(activities)
    }

    pub(crate) fn exit_standby(&mut self, cx: &mut Context, _: &Caller, request: &ExitStandby) -> Answer<Vec<Activity>> {
        let group = Arc::clone(&self.group(required(&request.auto_scaling_group_name, "autoScalingGroupName")?)?.name);
        self.check_members(&group, &request.instance_ids, &[LifecycleState::Standby])?;
        let mut activities = Vec::new();
        for id in &request.instance_ids {
            self.note(cx, id, "Moving EC2 instance out of Standby", LifecycleState::InService);
            activities.push(self.last_activity(&group)?);
            self.group_mut(&group)?.desired += 1;
        }
        Ok(activities)
    }

    pub(crate) fn set_desired_capacity(&mut self, cx: &mut Context, _: &Caller, request: &SetDesiredCapacity) -> Answer<()> {
        let group = self.group(required(&request.auto_scaling_group_name, "autoScalingGroupName")?)?;
        let wanted =
            usize::try_from(request.desired_capacity).map_err(|_| validation("Desired capacity must be greater than or equal to zero"))?;
        if wanted < group.min {
            return Err(validation(format!(
                "New SetDesiredCapacity value {wanted} is below min value {} for the AutoScalingGroup.",
                group.min
            )));
        }
        if wanted > group.max {
            return Err(validation(format!(
                "New SetDesiredCapacity value {wanted} is above max value {} for the AutoScalingGroup.",
                group.max
            )));
        }
        let (name, before) = (Arc::clone(&group.name), group.desired);
        let reuse = group.warm_pool.is_some_and(|pool| pool.reuse);
        self.group_mut(&name)?.desired = wanted;
        let cause =
            format!("a user request explicitly set group desired capacity changing the desired capacity from {before} to {wanted}.");
        let missing = wanted.saturating_sub(self.capacity(&name));
        let warm = self.leave_pool(cx, &name, missing, &cause).len();
        for _ in warm..missing {
            self.launch(cx, &name, Place::AutoScalingGroup, None, &cause)?;
        }
        let surplus = self.capacity(&name).saturating_sub(wanted);
        for id in self.in_service(&name).into_iter().take(surplus) {
            if reuse {
                self.return_to_pool(cx, &id);
            } else {
                self.terminate(cx, &id, &cause, true);
            }
        }
        Ok(())
    }

    /// The instance leaves the group and lives on; no hook runs.
    pub(crate) fn detach(&mut self, cx: &mut Context, id: &str) -> bool {
        let known = self.instances.get(id).is_some_and(|instance| instance.state.is_listed());
        if known {
            self.note(cx, id, "Detaching EC2 instance", LifecycleState::Detached);
        }
        known
    }

    /// The instance stays in the group and serves nobody; no hook runs.
    pub(crate) fn standby(&mut self, cx: &mut Context, id: &str) -> bool {
        let serves = self.instances.get(id).is_some_and(|instance| instance.state == LifecycleState::InService);
        if serves {
            self.note(cx, id, "Moving EC2 instance to Standby", LifecycleState::Standby);
        }
        serves
    }

    fn note(&mut self, cx: &mut Context, id: &str, what: &str, state: LifecycleState) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        let Some(group) = self.groups.get_mut(&instance.group) else {
            return;
        };
        let activity = group.begin(cx, format!("{what}: {id}"), "an instance was moved in response to a user request.", instance.zone);
        group.end(cx, activity, "Successful", None);
        if !state.is_listed() {
            group.members.remove(id);
        }
        instance.enter(cx, state, None);
    }

    pub(crate) fn raise_desired(&mut self, group: &str, by: usize) {
        if let Some(group) = self.groups.get_mut(group) {
            group.desired += by;
        }
    }

    pub(crate) fn lower_desired(&mut self, group: &str, by: usize) {
        if let Some(group) = self.groups.get_mut(group) {
            group.desired = group.desired.saturating_sub(by);
        }
    }

    /// The group of an instance that Auto Scaling lists.
    pub(crate) fn group_of(&self, instance: &str) -> Option<Arc<str>> {
        self.instances.get(instance).filter(|one| one.state.is_listed()).map(|one| Arc::clone(&one.group))
    }

    fn managed(&self, id: &str) -> Answer<Arc<str>> {
        let known = self.instances.get(required(id, "instanceId")?).filter(|instance| instance.state.is_listed());
        known
            .map(|instance| Arc::clone(&instance.id))
            .ok_or_else(|| validation(format!("Instance Id not found - No managed instance found for instance ID: {id}")))
    }

    fn check_members(&self, group: &str, ids: &[String], states: &[LifecycleState]) -> Answer<()> {
        for id in ids {
            let instance = self.instances.get(id.as_str()).filter(|one| *one.group == *group && one.state.is_listed());
            let Some(instance) = instance else {
                return Err(validation(format!("The instance {id} is not part of Auto Scaling group {group}.")));
            };
            if !states.contains(&instance.state) {
                let wanted: Vec<&str> = states.iter().map(|state| state.name()).collect();
                return Err(validation(format!("The instance {id} is not in {}.", wanted.join(" or "))));
            }
        }
        Ok(())
    }

    fn last_activity(&self, group: &str) -> Answer<Activity> {
        let group = self.group(group)?;
        let activity = group.activities.last().ok_or_else(|| ApiError::new(500, "InternalFailure", Some("no activity".into())))?;
        Ok(Activity {
            activity_id: activity.id.clone(),
            group: group.name.to_string(),
            group_arn: group.arn.clone(),
            description: activity.description.clone(),
            cause: activity.cause.clone(),
            start_time: iso(activity.start),
            end_time: activity.end.map(iso),
            status_code: activity.status,
            status_message: activity.message.clone(),
            progress: activity.progress(),
            details: String::from("{}"),
        })
    }
}
