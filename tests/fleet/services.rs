//! Carries out the core's calls on the model of the services, and gives the answers that the rooms would have given: every error
//! is classified by the room that knows the service.

mod failures;
mod keys;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use aws_sdk_autoscaling::types::Activity;
use enrolld::core::call::{ActionOrder, Answer, BatchAnswer, Call, InHand, NodeOrder};
use enrolld::facts::{
    ActionReply, Certificate, Health, HookFacts, InstanceSeen, KeyMaterial, LifecycleState, MessageBody, QueueFacts, ReceivedMessage,
    Registration, RegistrationStatus, StatusToken, Whereabouts,
};
use enrolld::names::{AccountId, GroupName, HookName, InstanceId, MessageId, ReceiptHandle, Region};
use enrolld::retry::Failure;
use enrolld::simulator::model::autoscaling::wire as autoscaling;
use enrolld::simulator::model::caller::Caller;
use enrolld::simulator::model::error::ApiError;
use enrolld::simulator::model::operation::Service;
use enrolld::simulator::model::opsworks_cm::wire as opsworks_cm;
use enrolld::simulator::model::sqs::wire as sqs;
use enrolld::simulator::model::ssm::wire as ssm;
use enrolld::simulator::model::{Settings, World};
use enrolld::{lifecycle, queue};

pub use failures::{cut_off, refuse, server_error, throttle};
use failures::{of_autoscaling, of_queue, of_registrar, of_ssm};

pub const QUEUE: &str = "enrolld-lifecycle";
pub const DEAD_LETTERS: &str = "enrolld-dead-letters";
pub const ACCOUNT: &str = "123456789012";
pub const REGION: &str = "eu-central-1";

/// A time in which something of the services is out of order, in Unix milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub from: u64,
    pub until: u64,
}

impl Window {
    pub fn holds(self, now: u64) -> bool {
        (self.from..self.until).contains(&now)
    }
}

/// What is out of order at what time, beside what the model itself knows.
#[derive(Debug, Clone, Default)]
pub struct Outages {
    /// The server of this number is answered with ResourceNotFoundException.
    pub missing_server: Vec<(usize, Window)>,
    /// Access to everything of the registrars is denied.
    pub denied: Vec<Window>,
    /// Nobody has credentials.
    pub no_credentials: Vec<Window>,
    /// The queue is not there.
    pub no_queue: Vec<Window>,
    /// Every call of a service, or of one of its operations, is refused with an error that it documents.
    pub documented: Vec<(Documented, Window)>,
}

/// An error that is documented: of what, the status and the code.
pub type Documented = (Of, u16, &'static str);

/// What documents an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    All(Service),
    /// One operation, by the core's name for it: GetParameters stands for GetParameterHistory too.
    One(&'static str),
}

/// A documented error in words, by which it is counted.
pub fn in_words((of, _, code): &Documented) -> String {
    format!("{of:?}: {code}")
}

/// Members that spoil whatever batch they are in.
#[derive(Debug, Default)]
pub struct Poison {
    /// Instances that DescribeAutoScalingInstances, DescribeScalingActivities and SendCommand refuse as a whole.
    pub instances: HashSet<String>,
    /// Messages whose entry fails in the batches of SQS.
    pub messages: HashSet<String>,
    /// A parameter that spoils the DeleteParameters it is in.
    pub parameter: Option<String>,
    /// The message that is received so many messages from now becomes one of them.
    pub message_in: Option<usize>,
}

/// The services, and what was noted about their use for the checks afterwards.
pub struct Services {
    pub world: World,
    pub outages: Outages,
    pub poison: Poison,
    pub servers: Vec<&'static str>,
    pub max_receive_count: Option<u32>,
    pub dead_letter_queue: bool,
    /// Routes whose parameters must be written by the instance itself, and hold one key only.
    pub owned: Vec<bool>,
    /// Servers that sign certificates.
    pub puppet: Vec<bool>,
    /// What was signed for each node, last.
    pub signed: HashMap<String, String>,
    /// Parameters that workers wrote and deleted, and when; what was written, else nothing.
    pub parameters: HashMap<String, Vec<(u64, Option<String>)>>,
    /// Who gives the registrars their orders: the run of a worker whose call is carried out.
    pub orderer: Caller,
    /// Bodies by message id.
    pub bodies: HashMap<String, Arc<str>>,
    pub bodies_in_order: Vec<Arc<str>>,
    /// Messages that were deleted, and when.
    pub deleted: Vec<(u64, String)>,
    /// How often each operation was carried out.
    pub counts: BTreeMap<&'static str, u64>,
    /// How often each documented error was met.
    pub met: BTreeMap<String, u64>,
    root: Caller,
    queue_url: String,
    dead_letter_url: String,
}

impl Services {
    pub fn new(world: World, servers: Vec<&'static str>, max_receive_count: Option<u32>) -> Self {
        let endpoint = Settings::default().endpoint;
        Self {
            root: world.root(),
            orderer: world.root(),
            owned: Vec::new(),
            puppet: Vec::new(),
            signed: HashMap::new(),
            parameters: HashMap::new(),
            world,
            outages: Outages::default(),
            poison: Poison::default(),
            servers,
            max_receive_count,
            dead_letter_queue: max_receive_count.is_some(),
            bodies: HashMap::new(),
            bodies_in_order: Vec::new(),
            deleted: Vec::new(),
            counts: BTreeMap::new(),
            met: BTreeMap::new(),
            queue_url: format!("{endpoint}/{ACCOUNT}/{QUEUE}"),
            dead_letter_url: format!("{endpoint}/{ACCOUNT}/{DEAD_LETTERS}"),
        }
    }

    /// Carries a call out.
    pub fn perform(&mut self, now: u64, call: &Call) -> Answer {
        *self.counts.entry(call.operation()).or_default() += 1;
        if let Some(error) = self.documented(now, call) {
            *self.met.entry(in_words(&error)).or_default() += 1;
        }
        if let Some(error) = self.outage(now, call) {
            // The one code that says two things.
            if matches!(call, Call::AssociationStatus { .. }) && error.code == "ResourceNotFoundException" {
                return Answer::Status(Ok(RegistrationStatus::UnknownToken));
            }
            return refuse(call, &error);
        }
        match call {
            Call::DescribeQueue => Answer::Queue(self.describe_queue(now)),
            Call::Receive { max, wait, visibility } => {
                Answer::Received(self.receive(now, *max, wait.as_secs().cast_signed(), visibility.as_secs().cast_signed()))
            }
            Call::Extend { messages, visibility } => {
                let seconds = visibility.as_secs().cast_signed();
                Answer::Entries(self.change_visibility(now, messages.iter().map(|held| (held, seconds)).collect()))
            }
            Call::Release { messages } => {
                let seconds = |delay: &std::time::Duration| delay.as_millis().div_ceil(1000) as i64;
                Answer::Entries(self.change_visibility(now, messages.iter().map(|(held, delay)| (held, seconds(delay))).collect()))
            }
            Call::Delete { messages } => Answer::Entries(self.delete(now, messages)),
            Call::DeadLetter { letter, .. } => {
                let attribute = |value: &String| sqs::MessageAttribute {
                    data_type: "String".into(),
                    string_value: Some(value.clone()),
                    binary_value: None,
                };
                let request = sqs::SendMessage {
                    queue_url: self.dead_letter_url.clone(),
                    message_body: Some(letter.body.as_str().to_owned()),
                    message_attributes: letter.attributes.iter().map(|(name, value)| ((*name).to_owned(), attribute(value))).collect(),
                    ..sqs::SendMessage::default()
                };
                Answer::DeadLettered(self.world.send_message(now, &self.root, &request).map(drop).map_err(|error| of_queue(&error)))
            }
            Call::DescribeInstances { instances, .. } => Answer::Instances(self.describe_instances(now, instances)),
            Call::DescribeHooks { group, .. } => Answer::Hooks(self.describe_hooks(now, group)),
            Call::FindWhereabouts { group, instances, .. } => Answer::Whereabouts(self.whereabouts(now, group, instances)),
            Call::Heartbeat { order, .. } => {
                let request = autoscaling::RecordLifecycleActionHeartbeat { action: named(order) };
                Answer::Action(reply(self.world.record_lifecycle_action_heartbeat(now, &self.root, &request)))
            }
            Call::Complete { order, result, .. } => {
                let lifecycle_action_result = result.as_str().into();
                let request = autoscaling::CompleteLifecycleAction { action: named(order), lifecycle_action_result };
                Answer::Action(reply(self.world.complete_lifecycle_action(now, &self.root, &request)))
            }
            Call::FetchKeys { route, wanted } if self.owned.get(usize::from(route.0)) == Some(&true) => {
                // They are read one by one, so what one fails with is the call's failure.
                Answer::Keys(wanted.iter().map(|one| self.fetch_owned(now, one).map(Ok)).collect())
            }
            Call::FetchKeys { wanted, .. } => Answer::Keys(self.fetch_keys(now, wanted)),
            Call::SendCommand { instances, .. } => Answer::CommandSent(self.send_command(now, instances)),
            Call::FetchOutput { command, wanted, .. } => Answer::Output(self.fetch_output(now, command, wanted)),
            Call::PutParameter { parameter, certificate, .. } => {
                let request = ssm::PutParameter {
                    name: parameter.as_str().into(),
                    value: certificate.0.as_ref().into(),
                    overwrite: true,
                    r#type: Some("String".into()),
                    ..ssm::PutParameter::default()
                };
                let answer = self.world.put_parameter(now, &self.root, &request);
                if answer.is_ok() {
                    self.parameters.entry(request.name).or_default().push((now, Some(request.value)));
                }
                Answer::Delivered(answer.map(drop).map_err(|error| of_ssm(&error)))
            }
            Call::DeleteParameters { parameters, .. } => {
                let mut names: Vec<String> = parameters.iter().map(|name| name.as_str().to_owned()).collect();
                names.sort_unstable();
                names.dedup();
                if self.poison.parameter.as_ref().is_some_and(|poison| names.contains(poison)) {
                    return refuse(call, &ApiError::client("AccessDeniedException", "not authorized to perform: ssm:DeleteParameters"));
                }
                let request = ssm::DeleteParameters { names };
                let answer = self.world.delete_parameters(now, &self.root, &request);
                if answer.is_ok() {
                    request.names.into_iter().for_each(|name| self.parameters.entry(name).or_default().push((now, None)));
                }
                Answer::Entries(answer.map(|_| parameters.iter().map(|_| Ok(())).collect()).map_err(|error| of_ssm(&error)))
            }
            Call::Associate { route, order, key } => Answer::Registration(self.associate(now, usize::from(route.0), order, key)),
            Call::AssociationStatus { route, order, token } => Answer::Status(self.status(now, usize::from(route.0), order, token)),
            Call::Disassociate { route, order } => Answer::Registration(self.disassociate(now, usize::from(route.0), order)),
            // No server of the model makes anything that could be revoked.
            Call::Clear { .. } => Answer::Registration(Ok(Registration::Done)),
            Call::CheckHealth { route } => Answer::Health(self.health(now, usize::from(route.0))),
        }
    }

    /// Whether a call meets an outage now.
    pub fn is_out(&self, now: u64, call: &Call) -> bool {
        self.outage(now, call).is_some()
    }

    fn documented(&self, now: u64, call: &Call) -> Option<Documented> {
        let documents = |of: Of| match of {
            Of::All(service) => service == failures::service(call),
            Of::One(operation) => operation == call.operation(),
        };
        let meets = |((of, ..), window): &&(Documented, Window)| documents(*of) && window.holds(now);
        self.outages.documented.iter().find(meets).map(|(error, _)| *error)
    }

    /// The error of an outage that the model does not know of.
    fn outage(&self, now: u64, call: &Call) -> Option<ApiError> {
        let any = |windows: &[Window]| windows.iter().any(|window| window.holds(now));
        if any(&self.outages.no_credentials) {
            return Some(ApiError::new(403, "ExpiredTokenException", Some("The security token included in the request is expired".into())));
        }
        if let Some((_, status, code)) = self.documented(now, call) {
            return Some(ApiError::new(status, code, Some("as documented".into())));
        }
        match call {
            Call::DescribeQueue | Call::Receive { .. } | Call::Extend { .. } | Call::Release { .. } | Call::Delete { .. } => {
                any(&self.outages.no_queue).then(|| ApiError::client("QueueDoesNotExist", "The specified queue does not exist."))
            }
            Call::Associate { route, .. }
            | Call::AssociationStatus { route, .. }
            | Call::Disassociate { route, .. }
            | Call::Clear { route, .. }
            | Call::CheckHealth { route } => {
                if any(&self.outages.denied) {
                    return Some(ApiError::client("AccessDeniedException", "User is not authorized to perform: opsworks-cm:*"));
                }
                let server = usize::from(route.0);
                let missing = self.outages.missing_server.iter().any(|(of, window)| *of == server && window.holds(now));
                missing.then(|| ApiError::client("ResourceNotFoundException", "No such server exists, or access to it was denied."))
            }
            _ => None,
        }
    }

    fn describe_queue(&mut self, now: u64) -> Result<QueueFacts, Failure> {
        let request = sqs::GetQueueAttributes { queue_url: self.queue_url.clone(), attribute_names: vec!["QueueArn".into()] };
        self.world.get_queue_attributes(now, &self.root, &request).map_err(|error| of_queue(&error))?;
        Ok(QueueFacts {
            account: AccountId::new(ACCOUNT).unwrap(),
            region: Region::new(REGION).unwrap(),
            dead_letter_url: self.dead_letter_queue.then(|| self.dead_letter_url.clone()),
            dead_letters_unknown: None,
            max_receive_count: self.max_receive_count,
        })
    }

    fn receive(&mut self, now: u64, max: u8, wait: i64, visibility: i64) -> Result<Vec<ReceivedMessage>, Failure> {
        let request = sqs::ReceiveMessage {
            queue_url: self.queue_url.clone(),
            max_number_of_messages: Some(i64::from(max)),
            visibility_timeout: Some(visibility),
            wait_time_seconds: Some(wait),
            message_system_attribute_names: vec!["ApproximateReceiveCount".into(), "SentTimestamp".into()],
            ..sqs::ReceiveMessage::default()
        };
        let received = self.world.receive_message(now, &self.root, &request).map_err(|error| of_queue(&error))?;
        let mut messages = Vec::with_capacity(received.messages.len());
        for message in received.messages {
            let id = message.message_id.to_string();
            if self.bodies.insert(id, Arc::clone(&message.body)).is_none() {
                self.bodies_in_order.push(Arc::clone(&message.body));
                if self.poison.message_in == Some(self.bodies_in_order.len()) {
                    self.poison.messages.insert(message.message_id.to_string());
                }
            }
            messages.push(ReceivedMessage {
                id: MessageId::new(&message.message_id).unwrap(),
                handle: ReceiptHandle::new(&message.receipt_handle).unwrap(),
                body: MessageBody::new(&*message.body),
                sent_ms: message.attributes.get("SentTimestamp").and_then(|text| text.parse().ok()),
                receive_count: message.attributes.get("ApproximateReceiveCount").and_then(|text| text.parse().ok()).unwrap_or(1),
                earlier_run: false,
            });
        }
        Ok(messages)
    }

    fn change_visibility(&mut self, now: u64, messages: Vec<(&InHand, i64)>) -> BatchAnswer<()> {
        let entry = |(at, (held, seconds)): (usize, &(&InHand, i64))| sqs::VisibilityEntry {
            id: at.to_string(),
            receipt_handle: Some(held.handle.as_str().to_owned()),
            visibility_timeout: Some(*seconds),
        };
        let request = sqs::ChangeMessageVisibilityBatch {
            queue_url: self.queue_url.clone(),
            entries: messages.iter().enumerate().map(entry).collect(),
        };
        let ids: Vec<&str> = messages.iter().map(|(held, _)| held.id.as_str()).collect();
        let batch = self.world.change_message_visibility_batch(now, &self.root, &request).map_err(|error| of_queue(&error))?;
        Ok(self.entries(&ids, &batch.failed))
    }

    fn delete(&mut self, now: u64, messages: &[InHand]) -> BatchAnswer<()> {
        let entry =
            |(at, held): (usize, &InHand)| sqs::DeleteEntry { id: at.to_string(), receipt_handle: Some(held.handle.as_str().to_owned()) };
        let entries = messages.iter().enumerate().map(entry).collect();
        let request = sqs::DeleteMessageBatch { queue_url: self.queue_url.clone(), entries };
        let batch = self.world.delete_message_batch(now, &self.root, &request).map_err(|error| of_queue(&error))?;
        let ids: Vec<&str> = messages.iter().map(|held| held.id.as_str()).collect();
        let results = self.entries(&ids, &batch.failed);
        for (held, result) in messages.iter().zip(&results) {
            if result.is_ok() {
                self.deleted.push((now, held.id.as_str().to_owned()));
            }
        }
        Ok(results)
    }

    fn entries(&self, ids: &[&str], failed: &[sqs::Failed]) -> Vec<Result<(), Failure>> {
        let mut results: Vec<Result<(), Failure>> = ids.iter().map(|_| Ok(())).collect();
        for entry in failed {
            let class = queue::classify_entry(&entry.code, entry.sender_fault);
            results[entry.id.parse::<usize>().unwrap()] = Err(Failure::new(class, &entry.code, ""));
        }
        for (id, result) in ids.iter().zip(&mut results) {
            if self.poison.messages.contains(*id) {
                *result = Err(Failure::new(queue::classify_entry("ReceiptHandleIsInvalid", true), "ReceiptHandleIsInvalid", ""));
            }
        }
        results
    }

    fn spoiled(&self, instances: &[InstanceId]) -> bool {
        !self.poison.instances.is_empty() && instances.iter().any(|instance| self.poison.instances.contains(instance.as_str()))
    }

    fn describe_instances(&mut self, now: u64, instances: &[InstanceId]) -> Result<Vec<Option<InstanceSeen>>, Failure> {
        if self.spoiled(instances) {
            return Err(of_autoscaling(&ApiError::client("ValidationError", "a member is not valid")));
        }
        let instance_ids = instances.iter().map(|instance| instance.as_str().to_owned()).collect();
        let request = autoscaling::DescribeAutoScalingInstances { instance_ids, ..autoscaling::DescribeAutoScalingInstances::default() };
        let page = self.world.describe_auto_scaling_instances(now, &self.root, &request).map_err(|error| of_autoscaling(&error))?;
        let seen = instances.iter().map(|instance| {
            let found = page.items.iter().find(|item| item.instance_id == instance.as_str())?;
            Some(InstanceSeen {
                instance: instance.clone(),
                group: GroupName::new(&found.group).unwrap(),
                state: LifecycleState::from_api(found.lifecycle_state),
            })
        });
        Ok(seen.collect())
    }

    fn describe_hooks(&mut self, now: u64, group: &GroupName) -> Result<Vec<HookFacts>, Failure> {
        let auto_scaling_group_name = group.as_str().to_owned();
        let request = autoscaling::DescribeLifecycleHooks { auto_scaling_group_name, ..autoscaling::DescribeLifecycleHooks::default() };
        let hooks = self.world.describe_lifecycle_hooks(now, &self.root, &request).map_err(|error| of_autoscaling(&error))?;
        let facts = |hook: &autoscaling::Hook| HookFacts {
            name: HookName::new(&hook.lifecycle_hook_name).unwrap(),
            launching: hook.lifecycle_transition == "autoscaling:EC2_INSTANCE_LAUNCHING",
            heartbeat_timeout_s: u32::try_from(hook.heartbeat_timeout).unwrap(),
            global_timeout_s: u32::try_from(hook.global_timeout).unwrap(),
            default_continue: hook.default_result == "CONTINUE",
            metadata: hook.notification_metadata.as_deref().map(Into::into),
        };
        Ok(hooks.iter().map(facts).collect())
    }

    fn whereabouts(&mut self, now: u64, group: &GroupName, instances: &[InstanceId]) -> Result<Vec<Whereabouts>, Failure> {
        if self.spoiled(instances) {
            return Err(of_autoscaling(&ApiError::client("ValidationError", "a member is not valid")));
        }
        let mut search = lifecycle::Search::of(instances);
        let mut next_token = None;
        for _ in 0..10 {
            let request = autoscaling::DescribeScalingActivities {
                auto_scaling_group_name: Some(group.as_str().to_owned()),
                max_records: Some(100),
                next_token,
                ..autoscaling::DescribeScalingActivities::default()
            };
            let page = self.world.describe_scaling_activities(now, &self.root, &request).map_err(|error| of_autoscaling(&error))?;
            for item in page.items {
                search.note(&Activity::builder().description(item.description).status_code(item.status_code.into()).build());
            }
            next_token = page.next_token;
            if next_token.is_none() || search.is_over() {
                break;
            }
        }
        Ok(search.found())
    }

    fn associate(&mut self, now: u64, route: usize, order: &NodeOrder, key: &KeyMaterial) -> Result<Registration, Failure> {
        let request = opsworks_cm::AssociateNode {
            server_name: Some(self.servers[route].into()),
            node_name: Some(order.node.as_str().into()),
            engine_attributes: match self.is_puppet(route) {
                // The model takes whatever it is for a request.
                true => vec![attribute("PUPPET_NODE_CSR", key.pem())],
                false => vec![attribute("CHEF_NODE_PUBLIC_KEY", key.pem()), attribute("CHEF_ORGANIZATION", "default")],
            },
        };
        registration(self.world.associate_node(now, &self.orderer, &request))
    }

    fn disassociate(&mut self, now: u64, route: usize, order: &NodeOrder) -> Result<Registration, Failure> {
        let request = opsworks_cm::DisassociateNode {
            server_name: Some(self.servers[route].into()),
            node_name: Some(order.node.as_str().into()),
            engine_attributes: if self.is_puppet(route) { Vec::new() } else { vec![attribute("CHEF_ORGANIZATION", "default")] },
        };
        registration(self.world.disassociate_node(now, &self.orderer, &request))
    }

    fn is_puppet(&self, server: usize) -> bool {
        self.puppet.get(server) == Some(&true)
    }

    fn status(&mut self, now: u64, route: usize, order: &NodeOrder, token: &StatusToken) -> Result<RegistrationStatus, Failure> {
        let request = opsworks_cm::DescribeNodeAssociationStatus {
            server_name: Some(self.servers[route].into()),
            node_association_status_token: Some(token.as_str().to_owned()),
        };
        match self.world.describe_node_association_status(now, &self.root, &request) {
            Ok(status) => Ok(match status.node_association_status {
                "SUCCESS" => match status.engine_attributes.into_iter().find(|one| one.name.as_deref() == Some("PUPPET_NODE_CERT")) {
                    Some(signed) => {
                        let certificate = signed.value.unwrap_or_default();
                        self.signed.insert(order.node.as_str().to_owned(), certificate.clone());
                        RegistrationStatus::Signed(Certificate(certificate.into()))
                    }
                    None => RegistrationStatus::Success,
                },
                "FAILED" => RegistrationStatus::Failed("the server reported FAILED, without a reason".into()),
                _ => RegistrationStatus::InProgress,
            }),
            Err(error) if error.code == "ResourceNotFoundException" => Ok(RegistrationStatus::UnknownToken),
            Err(error) => Err(of_registrar(&error)),
        }
    }

    fn health(&mut self, now: u64, route: usize) -> Result<Health, Failure> {
        let server_name = Some(self.servers[route].into());
        let request = opsworks_cm::DescribeServers { server_name, ..opsworks_cm::DescribeServers::default() };
        let servers = self.world.describe_servers(now, &self.root, &request).map_err(|error| of_registrar(&error))?;
        Ok(match servers.servers[0].status {
            opsworks_cm::ServerStatus::Healthy => Health::Ready,
            other => Health::NotReady(other.name().into()),
        })
    }
}

fn attribute(name: &str, value: &str) -> opsworks_cm::EngineAttribute {
    opsworks_cm::EngineAttribute { name: Some(name.into()), value: Some(value.into()) }
}

fn registration(answer: Result<opsworks_cm::Token, ApiError>) -> Result<Registration, Failure> {
    let token = answer.map_err(|error| of_registrar(&error))?;
    Ok(Registration::InProgress(StatusToken::new(token.node_association_status_token)))
}

/// By token alone, as the room does it.
fn named(order: &ActionOrder) -> autoscaling::NamedAction {
    autoscaling::NamedAction {
        auto_scaling_group_name: order.group.as_str().into(),
        lifecycle_hook_name: order.hook.as_str().into(),
        lifecycle_action_token: Some(order.token.as_str().into()),
        instance_id: None,
    }
}

fn reply(answer: Result<(), ApiError>) -> Result<ActionReply, Failure> {
    match answer {
        Ok(()) => Ok(ActionReply::Accepted),
        Err(error) if lifecycle::says_no_active_action(Some(&error.code), error.message.as_deref()) => Ok(ActionReply::Closed),
        Err(error) => Err(of_autoscaling(&error)),
    }
}
