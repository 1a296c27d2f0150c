//! A worker without anything that makes it one: the calls of a launch, made with the SDK as fast as they go.
//!
//! No retries, heartbeats, leases, log, metrics or decisions; what it costs, nobody who makes these calls can save. It has the worker's
//! SDK configuration (one HTTP client), runtime (one thread), batches and calls in flight.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_autoscaling::Client as AutoScaling;
use aws_sdk_opsworkscm::Client as OpsworksCm;
use aws_sdk_opsworkscm::types::EngineAttribute;
use aws_sdk_sqs::Client as Sqs;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName};
use aws_sdk_ssm::Client as Ssm;
use enrolld::aws::{Aws, AwsSettings};
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::{Fallible, setup};

/// The argument that makes this binary the bare loop.
pub const NAME: &str = "bare-loop";

/// As the worker has them by default.
const CALLS: usize = 64;
const POLLS: usize = 8;
/// Enough that those who enrol never wait for keys.
const VERIFIERS: usize = 3;
const TEN: usize = 10;
const FIFTY: usize = 50;

/// `bare-loop QUEUE_URL LAUNCHES`.
pub fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let queue = arguments.next().expect("the bench says which queue");
    let launches = arguments.next().and_then(|count| count.parse().ok()).expect("the bench says how many");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs only a thread");
    match runtime.block_on(run(queue, launches)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Loop {
    sqs: Sqs,
    ssm: Ssm,
    autoscaling: AutoScaling,
    opsworks_cm: OpsworksCm,
    queue: String,
    slots: Semaphore,
}

/// A message taken apart.
struct Launch {
    handle: String,
    instance: String,
    token: String,
}

async fn run(queue: String, launches: usize) -> Fallible<()> {
    let aws = Aws::load(&AwsSettings {
        region: Some(setup::REGION.into()),
        connect_timeout: Duration::from_secs(3),
        attempt_timeout: Duration::from_secs(30),
        call_timeout: Duration::from_secs(35),
        worker: NAME.into(),
        scopes: Vec::new(),
    })
    .await?;
    let all = Arc::new(Loop {
        sqs: Sqs::new(aws.own()),
        ssm: Ssm::new(aws.own()),
        autoscaling: AutoScaling::new(aws.own()),
        opsworks_cm: OpsworksCm::new(aws.own()),
        queue,
        slots: Semaphore::new(CALLS),
    });
    all.autoscaling.describe_lifecycle_hooks().auto_scaling_group_name(setup::GROUP).send().await?;
    // Small channels: whoever takes more than is under way pays for keeping it.
    let (received, to_verify) = mpsc::channel::<Launch>(2 * FIFTY);
    let (verified, to_enrol) = mpsc::channel::<(Launch, String)>(2 * FIFTY);
    let (completed, mut to_delete) = mpsc::channel::<String>(20_000);
    let (to_verify, to_enrol) = (Arc::new(Mutex::new(to_verify)), Arc::new(Mutex::new(to_enrol)));
    let left = Arc::new(AtomicUsize::new(launches));
    let mut tasks = JoinSet::new();
    for _ in 0..POLLS {
        tasks.spawn(receive(Arc::clone(&all), received.clone()));
    }
    for _ in 0..VERIFIERS {
        tasks.spawn(verify(Arc::clone(&all), Arc::clone(&to_verify), Arc::clone(&left), verified.clone()));
    }
    for _ in 0..CALLS {
        tasks.spawn(enrol(Arc::clone(&all), Arc::clone(&to_enrol), completed.clone()));
    }
    let mut deleted = 0;
    let mut deletes = JoinSet::new();
    while deleted < launches {
        let mut ten = Vec::with_capacity(TEN);
        while ten.len() < TEN.min(launches - deleted) {
            ten.push(to_delete.recv().await.expect("the others go on until all is done"));
        }
        deleted += ten.len();
        deletes.spawn(delete(Arc::clone(&all), ten));
    }
    deletes.join_all().await;
    Ok(())
}

async fn receive(all: Arc<Loop>, received: mpsc::Sender<Launch>) {
    loop {
        let request = all.sqs.receive_message().queue_url(&all.queue).max_number_of_messages(10).wait_time_seconds(20);
        let request = request.visibility_timeout(300).message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let request = request.message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        let messages = request.send().await.expect("the simulator answers").messages.unwrap_or_default();
        for launch in messages.into_iter().map(take_apart) {
            if received.send(launch).await.is_err() {
                return;
            }
        }
    }
}

fn take_apart(message: Message) -> Launch {
    let body: Value = serde_json::from_str(message.body().unwrap_or_default()).expect("the simulator sends JSON");
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    Launch { handle: message.receipt_handle.unwrap_or_default(), instance: text("EC2InstanceId"), token: text("LifecycleActionToken") }
}

/// Verifies fifty launches at a time, and gets their keys in tens.
async fn verify(
    all: Arc<Loop>,
    to_verify: Arc<Mutex<mpsc::Receiver<Launch>>>,
    left: Arc<AtomicUsize>,
    verified: mpsc::Sender<(Launch, String)>,
) {
    loop {
        let mut fifty = Vec::with_capacity(FIFTY);
        {
            // Only full batches, but for the last.
            let mut to_verify = to_verify.lock().await;
            let size = FIFTY.min(left.load(Ordering::Relaxed));
            left.fetch_sub(size, Ordering::Relaxed);
            while fifty.len() < size {
                fifty.push(to_verify.recv().await.expect("the polls go on until all is done"));
            }
        }
        if fifty.is_empty() {
            return;
        }
        {
            let _slot = all.slots.acquire().await;
            let ids = fifty.iter().map(|launch| launch.instance.clone()).collect();
            let seen = all.autoscaling.describe_auto_scaling_instances().set_instance_ids(Some(ids)).send().await;
            assert_eq!(seen.expect("the simulator answers").auto_scaling_instances().len(), fifty.len());
        }
        let mut fifty = fifty.into_iter().peekable();
        while fifty.peek().is_some() {
            let ten: Vec<Launch> = fifty.by_ref().take(TEN).collect();
            let mut keys = {
                let _slot = all.slots.acquire().await;
                let names = ten.iter().map(|launch| format!("/enrolld/{}/public-key", launch.instance)).collect();
                let found = all.ssm.get_parameters().set_names(Some(names)).with_decryption(true).send().await;
                found.expect("the simulator answers").parameters.unwrap_or_default()
            };
            for launch in ten {
                let at = keys.iter().position(|key| key.name().unwrap_or_default().contains(&launch.instance));
                let key = keys.swap_remove(at.expect("its key is there")).value.unwrap_or_default();
                let _ = verified.send((launch, key)).await;
            }
        }
    }
}

/// AssociateNode, its status, CompleteLifecycleAction, for one launch after the other.
async fn enrol(all: Arc<Loop>, to_enrol: Arc<Mutex<mpsc::Receiver<(Launch, String)>>>, completed: mpsc::Sender<String>) {
    loop {
        let next = to_enrol.lock().await.recv().await;
        let Some((launch, key)) = next else { return };
        let token = {
            let _slot = all.slots.acquire().await;
            let attribute = |name: &str, value: String| EngineAttribute::builder().name(name).value(value).build();
            let order = all.opsworks_cm.associate_node().server_name(setup::SERVER).node_name(&launch.instance);
            let order = order.engine_attributes(attribute("CHEF_ORGANIZATION", "default".into()));
            let order = order.engine_attributes(attribute("CHEF_NODE_PUBLIC_KEY", key));
            order.send().await.expect("the server is healthy").node_association_status_token.unwrap_or_default()
        };
        {
            let _slot = all.slots.acquire().await;
            let status = all.opsworks_cm.describe_node_association_status().server_name(setup::SERVER);
            status.node_association_status_token(token).send().await.expect("the simulator answers");
        }
        {
            let _slot = all.slots.acquire().await;
            let completion = all.autoscaling.complete_lifecycle_action().auto_scaling_group_name(setup::GROUP);
            let completion =
                completion.lifecycle_hook_name(setup::HOOK).lifecycle_action_token(&launch.token).instance_id(&launch.instance);
            completion.lifecycle_action_result("CONTINUE").send().await.expect("the action is open");
        }
        let _ = completed.send(launch.handle).await;
    }
}

async fn delete(all: Arc<Loop>, handles: Vec<String>) {
    let _slot = all.slots.acquire().await;
    let entry = |(at, handle): (usize, String)| {
        DeleteMessageBatchRequestEntry::builder().id(at.to_string()).receipt_handle(handle).build().expect("id and handle are there")
    };
    let entries = handles.into_iter().enumerate().map(entry).collect();
    let deleted = all.sqs.delete_message_batch().queue_url(&all.queue).set_entries(Some(entries)).send().await;
    assert!(deleted.expect("the simulator answers").failed().is_empty());
}
