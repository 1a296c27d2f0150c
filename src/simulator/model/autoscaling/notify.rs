//! What a lifecycle action tells the world, in each form in which it can reach a queue.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Action, AutoScaling, Group, Hook};
use crate::simulator::model::context::{Context, Event, iso, iso_seconds};

/// The way of a notification into its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The hook's target is the queue.
    #[default]
    Direct,
    /// The hook's target is an SNS topic that the queue subscribes to.
    Sns,
    /// The same with raw message delivery.
    SnsRaw,
    /// An EventBridge rule sends it.
    #[serde(rename = "eventbridge")]
    EventBridge,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Direct<'a> {
    origin: &'a str,
    lifecycle_hook_name: &'a str,
    destination: &'a str,
    account_id: &'a str,
    request_id: &'a str,
    lifecycle_transition: &'a str,
    auto_scaling_group_name: &'a str,
    service: &'a str,
    time: String,
    #[serde(rename = "EC2InstanceId")]
    instance_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification_metadata: Option<&'a str>,
    lifecycle_action_token: &'a str,
}

#[derive(Serialize)]
struct EventBridge<'a> {
    version: &'a str,
    id: String,
    #[serde(rename = "detail-type")]
    detail_type: &'a str,
    source: &'a str,
    account: &'a str,
    time: String,
    region: &'a str,
    resources: [&'a str; 1],
    detail: Detail<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Detail<'a> {
    lifecycle_action_token: &'a str,
    auto_scaling_group_name: &'a str,
    lifecycle_hook_name: &'a str,
    #[serde(rename = "EC2InstanceId")]
    instance_id: &'a str,
    lifecycle_transition: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification_metadata: Option<&'a str>,
    origin: &'a str,
    destination: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Sns<'a> {
    r#type: &'a str,
    message_id: String,
    topic_arn: String,
    subject: String,
    message: String,
    timestamp: String,
    signature_version: &'a str,
    signature: &'a str,
    #[serde(rename = "SigningCertURL")]
    signing_cert_url: String,
    #[serde(rename = "UnsubscribeURL")]
    unsubscribe_url: String,
}

impl AutoScaling {
    /// Sends the notification of an action that has just begun.
    pub(super) fn notify(&self, cx: &mut Context, group: &Group, hook: &Hook, action: &Action) {
        let Some((queue, form)) = &hook.delivery else {
            return;
        };
        let body = match form {
            Form::Direct | Form::SnsRaw => direct(cx, group, hook, action),
            Form::Sns => {
                let message = direct(cx, group, hook, action);
                let what = action.kind.name().rsplit('_').next().unwrap_or_default();
                let subject = format!("Auto Scaling:  Lifecycle action '{what}' for instance {} in progress.", action.instance);
                sns(cx, hook, subject, message)
            }
            Form::EventBridge => event_bridge(cx, group, hook, action),
        };
        let options = &group.options;
        let times = 1 + u32::from(cx.chance(options.notify_twice));
        for _ in 0..times {
            let delay = options.notify_after_ms + cx.jitter(options.notify_jitter_ms);
            cx.after(delay, Event::Deliver { queue: Arc::clone(queue), body: body.clone() });
        }
    }

    /// Sends what a new target gets first.
    pub(super) fn notify_test(cx: &mut Context, group: &Group, hook: &Hook) {
        let Some((queue, form)) = &hook.delivery else {
            return;
        };
        let message = json!({
            "AccountId": cx.settings.account,
            "RequestId": cx.uuid(),
            "AutoScalingGroupARN": group.arn,
            "AutoScalingGroupName": &*group.name,
            "Service": "AWS Auto Scaling",
            "Event": "autoscaling:TEST_NOTIFICATION",
            "Time": iso(cx.now),
        })
        .to_string();
        let body = match form {
            Form::EventBridge => return,
            Form::Direct | Form::SnsRaw => message,
            Form::Sns => {
                let subject = format!("Auto Scaling: test notification for group \"{}\"", group.name);
                sns(cx, hook, subject, message)
            }
        };
        cx.after(0, Event::Deliver { queue: Arc::clone(queue), body });
    }
}

fn direct(cx: &mut Context, group: &Group, hook: &Hook, action: &Action) -> String {
    let request_id = cx.uuid();
    let notification = Direct {
        origin: action.origin.name(),
        lifecycle_hook_name: &hook.name,
        destination: action.destination.name(),
        account_id: &cx.settings.account,
        request_id: &request_id,
        lifecycle_transition: action.kind.name(),
        auto_scaling_group_name: &group.name,
        service: "AWS Auto Scaling",
        time: iso(cx.now),
        instance_id: &action.instance,
        notification_metadata: hook.metadata.as_deref(),
        lifecycle_action_token: &action.token,
    };
    serde_json::to_string(&notification).expect("strings always serialise")
}

fn event_bridge(cx: &mut Context, group: &Group, hook: &Hook, action: &Action) -> String {
    let id = cx.uuid();
    let notification = EventBridge {
        version: "0",
        id,
        detail_type: match action.kind {
            super::Kind::Launching => "EC2 Instance-launch Lifecycle Action",
            super::Kind::Terminating => "EC2 Instance-terminate Lifecycle Action",
        },
        source: "aws.autoscaling",
        account: &cx.settings.account,
        time: iso_seconds(cx.now),
        region: &cx.settings.region,
        resources: [&group.arn],
        detail: Detail {
            lifecycle_action_token: &action.token,
            auto_scaling_group_name: &group.name,
            lifecycle_hook_name: &hook.name,
            instance_id: &action.instance,
            lifecycle_transition: action.kind.name(),
            notification_metadata: hook.metadata.as_deref(),
            origin: action.origin.name(),
            destination: action.destination.name(),
        },
    };
    serde_json::to_string(&notification).expect("strings always serialise")
}

fn sns(cx: &mut Context, hook: &Hook, subject: String, message: String) -> String {
    let region = cx.settings.region.clone();
    let account = cx.settings.account.clone();
    let topic_arn = hook.target_arn.clone().unwrap_or_else(|| format!("arn:aws:sns:{region}:{account}:lifecycle"));
    let notification = Sns {
        r#type: "Notification",
        message_id: cx.uuid(),
        topic_arn,
        subject,
        message,
        timestamp: iso(cx.now),
        signature_version: "1",
        signature: "ZXhhbXBsZQ==",
        signing_cert_url: format!("https://sns.{region}.amazonaws.com/SimpleNotificationService-example.pem"),
        unsubscribe_url: format!("https://sns.{region}.amazonaws.com/?Action=Unsubscribe"),
    };
    serde_json::to_string(&notification).expect("strings always serialise")
}
