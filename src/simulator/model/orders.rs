//! Orders that no API takes: what happens to the world from outside, and what it consists of.

use std::sync::Arc;

use super::autoscaling::{NewGroup, NewHook};
use super::caller::{Caller, Principal};
use super::error::{Answer, ApiError};
use super::fixture::{NewParameter, NewQueue, NewTopic};
use super::opsworks_cm::wire::ServerStatus;
use super::opsworks_cm::{NewServer, ServerOptions};
use super::sqs::wire::{CreateQueue, MessageAttributes};
use super::sqs::{self, QueueOptions};
use super::ssm::SsmOptions;
use super::ssm::wire::PutParameter;
use super::world::World;

impl World {
    /// Makes a queue.
    ///
    /// # Errors
    /// Those of CreateQueue.
    pub fn create_fixture_queue(&mut self, now: u64, queue: NewQueue) -> Answer<()> {
        let mut attributes = queue.attributes;
        if let Some(dead) = &queue.dead_letters {
            let policy = serde_json::json!({
                "deadLetterTargetArn": sqs::arn_of(&self.cx, &dead.queue),
                "maxReceiveCount": dead.max_receive_count,
            });
            attributes.insert("RedrivePolicy".into(), policy.to_string());
        }
        let request = CreateQueue { queue_name: Some(queue.name.clone()), attributes, ..CreateQueue::default() };
        let root = self.root();
        self.create_queue(now, &root, &request)?;
        self.set_queue_options(&queue.name, queue.options);
        Ok(())
    }

    /// Sets how a queue behaves; false where there is none of that name.
    pub fn set_queue_options(&mut self, queue: &str, options: QueueOptions) -> bool {
        let queue = self.sqs.named(queue);
        queue.map(|queue| self.sqs.set_options(queue, options)).is_some()
    }

    /// Makes a group with its hooks.
    ///
    /// # Errors
    /// There is one of that name; a hook names a queue that is not there.
    pub fn create_group(&mut self, now: u64, group: NewGroup) -> Answer<()> {
        self.advance(now);
        self.autoscaling.create_group(&mut self.cx, &self.sqs, group)
    }

    /// Makes or replaces a hook of a group.
    ///
    /// # Errors
    /// No such group; a queue that is not there.
    pub fn create_hook(&mut self, now: u64, group: &str, hook: NewHook) -> Answer<()> {
        self.advance(now);
        self.autoscaling.create_hook(&mut self.cx, &self.sqs, group, hook)
    }

    /// Lets hooks made by the API name an SNS topic.
    pub fn set_topic(&mut self, topic: NewTopic) {
        self.autoscaling.set_topic(topic.arn, &topic.queue, topic.raw);
    }

    /// Makes an OpsWorks CM server.
    ///
    /// # Errors
    /// Its name cannot be, or is taken.
    pub fn create_server(&mut self, now: u64, server: NewServer) -> Answer<()> {
        self.advance(now);
        self.opsworks_cm.create_server(&self.cx, server)
    }

    /// Removes an OpsWorks CM server.
    pub fn delete_server(&mut self, name: &str) -> bool {
        self.opsworks_cm.delete_server(name)
    }

    /// Puts a server into a status, and back to HEALTHY after `for_ms`; false where there is no such server.
    pub fn set_server_status(&mut self, now: u64, server: &str, status: ServerStatus, for_ms: Option<u64>) -> bool {
        self.advance(now);
        self.opsworks_cm.set_status(&self.cx, server, status, for_ms)
    }

    /// Sets how a server treats associations.
    pub fn set_server_options(&mut self, server: &str, options: ServerOptions) -> bool {
        self.opsworks_cm.set_options(server, options)
    }

    /// Sets how Systems Manager behaves.
    pub fn set_ssm_options(&mut self, options: SsmOptions) {
        self.ssm.options = options;
    }

    /// Makes an access key id stand for a principal.
    pub fn set_principal(&mut self, principal: Principal) {
        self.principals.set(principal);
    }

    /// Puts a parameter as somebody.
    ///
    /// # Errors
    /// Those of PutParameter.
    pub fn put_fixture_parameter(&mut self, now: u64, parameter: NewParameter) -> Answer<()> {
        let account = &self.cx.settings.account;
        let caller = match (&parameter.by_instance, &parameter.by) {
            (Some(instance), _) => {
                let running = self.autoscaling.running_agent(instance);
                let role = running.map_or_else(|| "enrolld-node".into(), |agent| agent.options.role.clone());
                Caller::instance(account, &role, instance)
            }
            (None, Some(arn)) => Caller::new(account, arn),
            (None, None) => self.root(),
        };
        let request = PutParameter {
            name: parameter.name,
            value: parameter.value,
            r#type: Some(parameter.kind),
            overwrite: parameter.overwrite,
            ..PutParameter::default()
        };
        self.put_parameter(now, &caller, &request).map(drop)
    }

    /// Puts any body into a queue, as often as wanted; no check is made of it.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub fn deliver(&mut self, now: u64, queue: &str, body: &str, attributes: &MessageAttributes, count: usize) -> Answer<Vec<Arc<str>>> {
        self.advance(now);
        let number = self.sqs.named(queue).ok_or_else(|| ApiError::client("QueueDoesNotExist", format!("There is no queue {queue}.")))?;
        Ok((0..count).map(|_| self.sqs.deliver(&mut self.cx, number, body, attributes.clone())).collect())
    }

    /// Takes resting instances out of a group's warm pool and into the group; as many as there are.
    pub fn leave_warm_pool(&mut self, now: u64, group: &str, count: usize) -> Vec<Arc<str>> {
        self.advance(now);
        let cause = "an instance was taken from the warm pool in response to an increase in desired capacity.";
        let left = self.autoscaling.leave_pool(&mut self.cx, group, count, cause);
        self.autoscaling.raise_desired(group, left.len());
        self.advance(now);
        left
    }

    /// How many messages of a queue can be received now.
    #[must_use]
    pub fn visible_messages(&self, queue: &str) -> usize {
        self.sqs.visible(queue)
    }

    /// The instances of a group that are in service, in the order of their ids.
    #[must_use]
    pub fn in_service(&self, group: &str) -> Vec<Arc<str>> {
        self.autoscaling.in_service(group)
    }

    /// Begins the termination of an instance, from wherever it is; false where it is gone or going already.
    pub fn terminate(&mut self, now: u64, instance: &str) -> bool {
        let cause = "an instance was taken out of service in response to a difference between desired and actual capacity.";
        self.order(now, instance, true, |world| world.autoscaling.terminate(&mut world.cx, instance, cause, true))
    }

    /// Detaches an instance: it leaves the list at once and lives on; no hook runs.
    pub fn detach(&mut self, now: u64, instance: &str) -> bool {
        self.order(now, instance, true, |world| world.autoscaling.detach(&mut world.cx, instance))
    }

    /// Puts an instance in service into standby; no hook runs.
    pub fn standby(&mut self, now: u64, instance: &str) -> bool {
        self.order(now, instance, true, |world| world.autoscaling.standby(&mut world.cx, instance))
    }

    /// Begins the way of an instance in service back into the warm pool; the terminate hooks run.
    pub fn return_to_warm_pool(&mut self, now: u64, instance: &str) -> bool {
        self.order(now, instance, true, |world| world.autoscaling.return_to_pool(&mut world.cx, instance))
    }

    /// The lifecycle state of an instance, if it was ever there.
    #[must_use]
    pub fn lifecycle_state(&self, instance: &str) -> Option<super::autoscaling::LifecycleState> {
        self.autoscaling.state_of(instance)
    }

    /// The group of an instance, which its tag names for ever after.
    pub(crate) fn group_of(&self, instance: &str) -> Option<&str> {
        self.autoscaling.about(instance).map(|about| &**about.group)
    }

    /// Sets all counts of calls back to nothing.
    pub fn clear_calls(&mut self) {
        self.calls.clear();
    }

    fn order(&mut self, now: u64, instance: &str, lowers: bool, order: impl FnOnce(&mut Self) -> bool) -> bool {
        self.advance(now);
        let group = self.autoscaling.group_of(instance);
        let pooled = self.lifecycle_state(instance).is_some_and(super::autoscaling::LifecycleState::is_warmed);
        let done = order(self);
        if let (true, true, false, Some(group)) = (done, lowers, pooled, group) {
            self.autoscaling.lower_desired(&group, 1);
        }
        self.advance(now);
        done
    }
}
