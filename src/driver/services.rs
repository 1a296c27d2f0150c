//! Makes the core's calls, each by the room that knows the service.

use std::sync::Arc;

use crate::core::call::{Answer, Call, RouteId, ScopeId};
use crate::key_material::{Keys, Parameters};
use crate::lifecycle::Lifecycle;
use crate::queue::Queue;
use crate::registrar::Registrar;

/// The rooms, made of the configuration that the core's settings were made of: ids index both.
#[derive(Debug)]
pub struct Services {
    /// The worker's queue.
    pub queue: Queue,
    /// What each scope is asked with, by [`ScopeId`].
    pub scopes: Vec<ScopeServices>,
    /// Where each route's key material is, by [`RouteId`].
    pub keys: Vec<Keys>,
    /// What each route's nodes are enrolled with, by [`RouteId`]. Routes may share one.
    pub registrars: Vec<Arc<dyn Registrar>>,
}

/// What one scope is asked with.
#[derive(Debug, Clone)]
pub struct ScopeServices {
    /// Auto Scaling.
    pub lifecycle: Lifecycle,
    /// SSM's parameters, to be cleaned up.
    pub parameters: Parameters,
}

impl ScopeServices {
    /// A scope's services.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Self { lifecycle: Lifecycle::new(config), parameters: Parameters::new(config) }
    }
}

impl Services {
    /// Makes a call and waits for its answer, which is of the kind that the call asks for.
    ///
    /// # Panics
    /// Where a scope or a route does not exist: ids come from the configuration that the services were made of.
    pub async fn perform(&self, call: Call) -> Answer {
        match call {
            Call::DescribeQueue => Answer::Queue(self.queue.describe().await),
            Call::Receive { max, wait, visibility } => Answer::Received(self.queue.receive(max, wait, visibility).await),
            Call::Extend { messages, visibility } => Answer::Entries(self.queue.extend(&messages, visibility).await),
            Call::Release { messages } => Answer::Entries(self.queue.release(&messages).await),
            Call::DeadLetter { url, letter } => Answer::DeadLettered(self.queue.dead_letter(&url, &letter).await),
            Call::Delete { messages } => Answer::Entries(self.queue.delete(&messages).await),

            Call::DescribeInstances { scope, instances } => {
                Answer::Instances(self.scope(scope).lifecycle.describe_instances(&instances).await)
            }
            Call::DescribeHooks { scope, group } => Answer::Hooks(self.scope(scope).lifecycle.hooks(&group).await),
            Call::FindWhereabouts { scope, group, instances } => {
                Answer::Whereabouts(self.scope(scope).lifecycle.whereabouts(&group, &instances).await)
            }
            Call::Heartbeat { scope, order } => Answer::Action(self.scope(scope).lifecycle.heartbeat(&order).await),
            Call::Complete { scope, order, result } => Answer::Action(self.scope(scope).lifecycle.complete(&order, result).await),

            Call::FetchKeys { route, wanted } => Answer::Keys(self.keys(route).fetch(&wanted).await),
            Call::SendCommand { route, instances } => Answer::CommandSent(self.keys(route).send_command(&instances).await),
            Call::FetchOutput { route, command, wanted } => Answer::Output(self.keys(route).fetch_output(&command, &wanted).await),
            Call::PutParameter { scope, parameter, certificate } => {
                Answer::Delivered(self.scope(scope).parameters.put(&parameter, &certificate).await)
            }
            Call::DeleteParameters { scope, parameters } => Answer::Entries(self.scope(scope).parameters.delete(&parameters).await),

            Call::Associate { route, order, key } => Answer::Registration(self.registrar(route).associate(&order, &key).await),
            Call::AssociationStatus { route, order, token } => Answer::Status(self.registrar(route).status(&order, &token).await),
            Call::Disassociate { route, order } => Answer::Registration(self.registrar(route).disassociate(&order).await),
            Call::Clear { route, order } => Answer::Registration(self.registrar(route).clear(&order).await),
            Call::CheckHealth { route } => Answer::Health(self.registrar(route).health().await),
        }
    }

    /// The API operation behind a call, as it stands in metrics. Registrars differ in theirs: those have the trait's names.
    #[must_use]
    pub fn operation(&self, call: &Call) -> &'static str {
        match call {
            Call::FetchKeys { route, .. } => self.keys(*route).operation(),
            other => other.operation(),
        }
    }

    fn scope(&self, id: ScopeId) -> &ScopeServices {
        &self.scopes[usize::from(id.0)]
    }

    fn keys(&self, id: RouteId) -> &Keys {
        &self.keys[usize::from(id.0)]
    }

    fn registrar(&self, id: RouteId) -> &dyn Registrar {
        self.registrars[usize::from(id.0)].as_ref()
    }
}
