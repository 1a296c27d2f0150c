//! The world: all services in one, and the one clock that moves them.

use std::sync::Arc;

use super::agent::{Publish, material};
use super::autoscaling::{self, AutoScaling, Place};
use super::caller::{Beyond, Caller, Principals};
use super::calls::{Calls, Outcome};
use super::context::{Context, Event, Settings};
use super::error::Answer;
use super::faults::{Admission, Fault, Faults};
use super::fixture::Fixture;
use super::grant::{Asked, Grant};
use super::iam::Roles;
use super::metadata::Metadata;
use super::operation::Operation;
use super::opsworks_cm::{self, OpsworksCm};
use super::sqs::{self, Sqs};
use super::ssm::{self, Ssm};

/// Everything that is simulated.
///
/// Time is handed in with every call, as unix milliseconds, and never goes back: a call with an earlier time than the last
/// one happens at the last one's. Everything random comes from the one seed, so that the same calls at the same times end the same.
#[derive(Debug)]
pub struct World {
    pub(crate) cx: Context,
    pub(crate) seed: u64,
    pub(crate) sqs: Sqs,
    pub(crate) ssm: Ssm,
    pub(crate) autoscaling: AutoScaling,
    pub(crate) opsworks_cm: OpsworksCm,
    pub(crate) faults: Faults,
    pub(crate) calls: Calls,
    pub(crate) principals: Principals,
    pub(crate) roles: Roles,
    pub(crate) metadata: Metadata,
    pub(crate) published: u64,
    pub(crate) publish_refused: u64,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(settings: Settings, seed: u64, now: u64) -> Self {
        let principals = Principals::new(&settings.account);
        let mut world = Self {
            cx: Context::new(settings, seed),
            seed,
            sqs: Sqs::default(),
            ssm: Ssm::new(ssm::SsmOptions::default()),
            autoscaling: AutoScaling::default(),
            opsworks_cm: OpsworksCm::default(),
            faults: Faults::default(),
            calls: Calls::new(),
            principals,
            roles: Roles::default(),
            metadata: Metadata::default(),
            published: 0,
            publish_refused: 0,
        };
        world.cx.now = now;
        world.ssm.add_amazon_documents(now);
        world
    }

    /// A world with what a fixture names.
    ///
    /// # Errors
    /// What the service concerned would say to a queue, group or server that cannot be.
    pub fn from_fixture(fixture: Fixture, seed: u64, now: u64) -> Answer<Self> {
        let mut world = Self::new(fixture.settings, seed, now);
        world.ssm.options = fixture.ssm;
        for queue in fixture.queues {
            world.create_fixture_queue(now, queue)?;
        }
        for topic in fixture.topics {
            world.autoscaling.set_topic(topic.arn, &topic.queue, topic.raw);
        }
        for group in fixture.groups {
            world.create_group(now, group)?;
        }
        for server in fixture.servers {
            world.create_server(now, server)?;
        }
        for parameter in fixture.parameters {
            world.put_fixture_parameter(now, parameter)?;
        }
        for principal in fixture.principals {
            world.principals.set(principal);
        }
        for role in fixture.roles {
            world.set_role(role);
        }
        for fault in fixture.faults {
            world.add_fault(now, fault);
        }
        Ok(world)
    }

    /// What is configured for a caller's access key id.
    #[must_use]
    pub fn caller(&self, access_key_id: &str) -> Caller {
        self.principals.caller(access_key_id)
    }

    /// The account itself, as which in-process users call.
    #[must_use]
    pub fn root(&self) -> Caller {
        self.principals.caller("")
    }

    /// When something happens next by itself; nothing changes before.
    #[must_use]
    pub fn next_event(&self) -> Option<u64> {
        self.cx.next_event()
    }

    /// The time of the last call or event.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.cx.now
    }

    /// Lets happen what is due until `now`, each at its own time.
    pub fn advance(&mut self, now: u64) {
        while let Some((at, event)) = self.cx.pop_due(now) {
            self.cx.now = self.cx.now.max(at);
            self.happen(event);
        }
        self.cx.now = self.cx.now.max(now);
    }

    fn happen(&mut self, event: Event) {
        let cx = &mut self.cx;
        match event {
            Event::MessageDue { queue, message } => self.sqs.message_due(cx, queue, message),
            Event::Deliver { queue, body } => {
                // A target that was deleted gets nothing, as with the real services.
                if let Some(queue) = self.sqs.named(&queue) {
                    self.sqs.deliver(cx, queue, &body, sqs::wire::MessageAttributes::new());
                }
            }
            Event::InstanceStep { instance, step } => self.autoscaling.instance_step(cx, &instance, step),
            Event::HookDeadline { action } => self.autoscaling.hook_deadline(cx, action),
            Event::Replace { group } => self.autoscaling.replace(cx, &group),
            Event::AgentPublishes { instance } => self.agent_publishes(&instance),
            Event::CommandEnds { command, instance } => self.command_ends(&command, &instance),
            Event::AssociationEnds { token } => self.opsworks_cm.association_ends(cx, &token),
        }
    }

    fn agent_publishes(&mut self, instance: &Arc<str>) {
        let Some(agent) = self.autoscaling.running_agent(instance) else {
            return;
        };
        let Publish::Parameter { name, secure, .. } = &agent.options.publish else {
            return;
        };
        let caller = Caller::instance(&self.cx.settings.account, &agent.options.role, instance);
        let request = ssm::wire::PutParameter {
            name: name.replace("{instance_id}", instance),
            value: material(&agent.options.material, self.seed, instance),
            r#type: Some(if *secure { "SecureString" } else { "String" }.into()),
            ..ssm::wire::PutParameter::default()
        };
        match self.ssm.put_parameter(&mut self.cx, &caller, &request) {
            Ok(_) => {
                self.published += 1;
                self.autoscaling.mark_published(instance);
            }
            Err(_) => self.publish_refused += 1,
        }
    }

    fn command_ends(&mut self, command: &str, instance: &str) {
        let run = self.autoscaling.running_agent(instance).map(|agent| {
            let ready = matches!(agent.options.publish, Publish::RunCommand { .. }) && agent.publishes_at <= self.cx.now;
            ssm::Run { outcome: agent.options.command, output: ready.then(|| material(&agent.options.material, self.seed, instance)) }
        });
        self.ssm.command_ends(&self.cx, command, instance, run);
    }

    /// What the plan does to a call, and whether its caller may make it at all; counts the call where it ends here.
    ///
    /// # Errors
    /// The access error of the operation's service.
    pub fn admit(&mut self, now: u64, access_key_id: &str, operation: Operation) -> Answer<Admission> {
        self.admit_on(now, access_key_id, operation, &Asked::default())
    }

    /// The same of a call of which is known what it asks for.
    ///
    /// # Errors
    /// The access error of the operation's service.
    pub fn admit_on(&mut self, now: u64, access_key_id: &str, operation: Operation, asked: &Asked) -> Answer<Admission> {
        self.advance(now);
        self.calls.arrived(operation, self.cx.now);
        let admission = self.faults.decide(&mut self.cx, operation);
        if let Err(error) = self.principals.authorise(access_key_id, operation, asked) {
            self.calls.count(operation, Outcome::Error(&error.code));
            return Err(error);
        }
        Ok(admission)
    }

    /// Whether a caller is told what alone is allowed to it.
    #[must_use]
    pub fn is_confined(&self, access_key_id: &str) -> bool {
        self.principals.is_confined(access_key_id)
    }

    /// Says what alone is allowed to an access key id, whoever it stands for.
    pub fn confine(&mut self, access_key_id: &str, allowed: Vec<Grant>) {
        self.principals.confine(access_key_id, allowed);
    }

    /// Confines the sessions of a role, by its ARN, that are made from now on.
    pub fn confine_role(&mut self, role: &str, allowed: Vec<Grant>) {
        self.principals.confine_role(role, allowed);
    }

    /// What alone is allowed to a role's sessions, where that was said.
    pub(crate) fn rights_of_role(&self, role: &str) -> Option<Vec<Grant>> {
        self.principals.rights_of_role(role)
    }

    /// The calls so far that were not among what alone is allowed to their callers.
    #[must_use]
    pub fn beyond(&self) -> &[Beyond] {
        self.principals.beyond()
    }

    /// The account and region that it stands for.
    pub(crate) const fn account_settings(&self) -> &Settings {
        &self.cx.settings
    }

    /// Says when the call that is processed next arrived.
    pub(crate) fn call_arrived(&mut self, at: u64) {
        self.cx.arrived = at;
    }

    /// Counts a call.
    pub fn count(&mut self, operation: Operation, outcome: Outcome<'_>) {
        self.calls.count(operation, outcome);
    }

    /// How often an operation was called, whatever it ended with.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.calls.of(operation)
    }

    /// Plans a fault from now on, and gives its id.
    pub fn add_fault(&mut self, now: u64, fault: Fault) -> String {
        self.advance(now);
        self.faults.add(self.cx.now, fault)
    }

    /// Clears one fault, or all where no id is given; says how many there were.
    pub fn clear_faults(&mut self, id: Option<&str>) -> usize {
        self.faults.clear(id)
    }

    /// The queues that became able to serve a waiting receive since this was last asked.
    pub(crate) fn take_arrivals(&mut self, into: &mut Vec<usize>) {
        into.append(&mut self.cx.arrivals);
    }
}

macro_rules! calls {
    ($($room:ident: $name:ident($module:ident :: $request:ident) -> $answer:ty;)+) => {
        impl World {
            $(
                #[doc = concat!("The API call `", stringify!($request), "`.\n\n# Errors\nThose of the real call.")]
                pub fn $name(&mut self, now: u64, caller: &Caller, request: &$module::wire::$request) -> Answer<$answer> {
                    self.advance(now);
                    let answer = self.$room.$name(&mut self.cx, caller, request);
                    self.advance(now);
                    answer
                }
            )+
        }
    };
}

calls! {
    sqs: create_queue(sqs::CreateQueue) -> sqs::wire::QueueUrl;
    sqs: get_queue_url(sqs::GetQueueUrl) -> sqs::wire::QueueUrl;
    sqs: get_queue_attributes(sqs::GetQueueAttributes) -> sqs::wire::QueueAttributes;
    sqs: set_queue_attributes(sqs::SetQueueAttributes) -> sqs::wire::Nothing;
    sqs: delete_queue(sqs::DeleteQueue) -> sqs::wire::Nothing;
    sqs: list_queues(sqs::ListQueues) -> sqs::wire::QueueUrls;
    sqs: purge_queue(sqs::PurgeQueue) -> sqs::wire::Nothing;
    sqs: send_message(sqs::SendMessage) -> sqs::wire::Sent;
    sqs: send_message_batch(sqs::SendMessageBatch) -> sqs::wire::Batch<sqs::wire::SentEntry>;
    sqs: receive_message(sqs::ReceiveMessage) -> sqs::wire::Received;
    sqs: delete_message(sqs::DeleteMessage) -> sqs::wire::Nothing;
    sqs: delete_message_batch(sqs::DeleteMessageBatch) -> sqs::wire::Batch<sqs::wire::Done>;
    sqs: change_message_visibility(sqs::ChangeMessageVisibility) -> sqs::wire::Nothing;
    sqs: change_message_visibility_batch(sqs::ChangeMessageVisibilityBatch) -> sqs::wire::Batch<sqs::wire::Done>;
    ssm: put_parameter(ssm::PutParameter) -> ssm::wire::Put;
    ssm: get_parameter(ssm::GetParameter) -> ssm::wire::OneParameter;
    ssm: get_parameters(ssm::GetParameters) -> ssm::wire::Parameters;
    ssm: get_parameters_by_path(ssm::GetParametersByPath) -> ssm::wire::ParameterPage;
    ssm: get_parameter_history(ssm::GetParameterHistory) -> ssm::wire::HistoryPage;
    ssm: delete_parameter(ssm::DeleteParameter) -> ssm::wire::Nothing;
    ssm: delete_parameters(ssm::DeleteParameters) -> ssm::wire::Deleted;
    ssm: describe_parameters(ssm::DescribeParameters) -> ssm::wire::MetadataPage;
    ssm: get_command_invocation(ssm::GetCommandInvocation) -> ssm::wire::Invocation;
    ssm: list_command_invocations(ssm::ListCommandInvocations) -> ssm::wire::InvocationPage;
    ssm: create_document(ssm::CreateDocument) -> ssm::wire::DocumentMade;
    ssm: get_document(ssm::GetDocument) -> ssm::wire::DocumentContent;
    ssm: describe_document(ssm::DescribeDocument) -> ssm::wire::DocumentDescribed;
    autoscaling: describe_lifecycle_hooks(autoscaling::DescribeLifecycleHooks) -> Vec<autoscaling::wire::Hook>;
    autoscaling: delete_lifecycle_hook(autoscaling::DeleteLifecycleHook) -> ();
    autoscaling: describe_auto_scaling_groups(autoscaling::DescribeAutoScalingGroups)
        -> autoscaling::wire::Page<autoscaling::wire::Group>;
    autoscaling: describe_auto_scaling_instances(autoscaling::DescribeAutoScalingInstances)
        -> autoscaling::wire::Page<autoscaling::wire::Instance>;
    autoscaling: describe_scaling_activities(autoscaling::DescribeScalingActivities)
        -> autoscaling::wire::Page<autoscaling::wire::Activity>;
    autoscaling: describe_warm_pool(autoscaling::DescribeWarmPool)
        -> (Option<autoscaling::wire::WarmPool>, autoscaling::wire::Page<autoscaling::wire::Instance>);
    autoscaling: record_lifecycle_action_heartbeat(autoscaling::RecordLifecycleActionHeartbeat) -> ();
    autoscaling: complete_lifecycle_action(autoscaling::CompleteLifecycleAction) -> ();
    autoscaling: set_instance_health(autoscaling::SetInstanceHealth) -> ();
    autoscaling: terminate_instance_in_auto_scaling_group(autoscaling::TerminateInstanceInAutoScalingGroup)
        -> autoscaling::wire::Activity;
    autoscaling: detach_instances(autoscaling::DetachInstances) -> Vec<autoscaling::wire::Activity>;
    autoscaling: enter_standby(autoscaling::EnterStandby) -> Vec<autoscaling::wire::Activity>;
    autoscaling: exit_standby(autoscaling::ExitStandby) -> Vec<autoscaling::wire::Activity>;
    autoscaling: set_desired_capacity(autoscaling::SetDesiredCapacity) -> ();
    opsworks_cm: describe_servers(opsworks_cm::DescribeServers) -> opsworks_cm::wire::Servers;
    opsworks_cm: associate_node(opsworks_cm::AssociateNode) -> opsworks_cm::wire::Token;
    opsworks_cm: disassociate_node(opsworks_cm::DisassociateNode) -> opsworks_cm::wire::Token;
    opsworks_cm: describe_node_association_status(opsworks_cm::DescribeNodeAssociationStatus)
        -> opsworks_cm::wire::Status;
}

impl World {
    /// How long a receive waits for a message, in milliseconds, and the number of its queue: the wait is the caller's.
    ///
    /// # Errors
    /// Those of the real call.
    pub fn receive_wait(&self, request: &sqs::wire::ReceiveMessage) -> Answer<(usize, u64)> {
        self.sqs.wait_ms(&self.cx, request)
    }

    /// How many messages of a queue can be received, by the queue's URL; none where there is no such queue.
    #[must_use]
    pub fn visible(&self, queue_url: &str) -> usize {
        self.sqs.find(&self.cx, queue_url).map_or(0, |queue| self.sqs.queue(queue).visible())
    }

    /// The API call `PutLifecycleHook`.
    ///
    /// # Errors
    /// Those of the real call.
    pub fn put_lifecycle_hook(&mut self, now: u64, _: &Caller, request: &autoscaling::wire::PutLifecycleHook) -> Answer<()> {
        self.advance(now);
        let answer = self.autoscaling.put_lifecycle_hook(&mut self.cx, &self.sqs, request);
        self.advance(now);
        answer
    }

    /// The API call `SendCommand`.
    ///
    /// # Errors
    /// Those of the real call.
    pub fn send_command(&mut self, now: u64, _: &Caller, request: &ssm::wire::SendCommand) -> Answer<ssm::wire::SentCommand> {
        self.advance(now);
        let time = self.cx.now;
        let agents = &self.autoscaling;
        self.ssm.send_command(&mut self.cx, request, |instance| {
            let agent = agents.running_agent(instance);
            agent.and_then(|agent| agent.registered_at()).is_some_and(|at| at <= time)
        })
    }

    /// The API call `DescribeInstanceInformation`.
    ///
    /// # Errors
    /// Those of the real call.
    pub fn describe_instance_information(
        &mut self,
        now: u64,
        _: &Caller,
        request: &ssm::wire::DescribeInstanceInformation,
    ) -> Answer<ssm::wire::InstancePage> {
        self.advance(now);
        ssm::describe_instances(&self.cx, request, &self.autoscaling)
    }

    /// Launches instances into a group: from outside, or (`Place::WarmPool` as destination) into its warm pool.
    ///
    /// # Errors
    /// No such group.
    pub fn launch(
        &mut self,
        now: u64,
        group: &str,
        count: usize,
        destination: Place,
        agent: Option<&super::agent::AgentOptions>,
    ) -> Answer<Vec<Arc<str>>> {
        self.advance(now);
        let cause = "an instance was started in response to a difference between desired and actual capacity.";
        let launch = |_| self.autoscaling.launch(&mut self.cx, group, destination, agent.cloned(), cause);
        let launched: Vec<Arc<str>> = (0..count).map(launch).collect::<Answer<_>>()?;
        if destination == Place::AutoScalingGroup {
            self.autoscaling.raise_desired(group, launched.len());
        }
        self.advance(now);
        Ok(launched)
    }
}
