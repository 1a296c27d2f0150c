//! Requests and answers of SQS, named as the service names them.
#![expect(missing_docs, reason = "the names are those of the AWS API, and mean what they mean there")]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MessageAttribute {
    #[serde(default)]
    pub data_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// Base64, as in the JSON protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
}

pub type MessageAttributes = BTreeMap<String, MessageAttribute>;
pub type Attributes = BTreeMap<String, String>;

macro_rules! requests {
    ($($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? })+) => {
        $(
            #[derive(Clone, Debug, Default, Serialize, Deserialize)]
            #[serde(rename_all = "PascalCase", default)]
            pub struct $name { $($(#[$meta])* pub $field: $type,)* }
        )+
    };
}

requests! {
    CreateQueue { queue_name: Option<String>, attributes: Attributes, #[serde(rename = "tags")] tags: BTreeMap<String, String> }
    GetQueueUrl { queue_name: Option<String>, #[serde(rename = "QueueOwnerAWSAccountId")] owner: Option<String> }
    GetQueueAttributes { queue_url: String, attribute_names: Vec<String> }
    SetQueueAttributes { queue_url: String, attributes: Attributes }
    DeleteQueue { queue_url: String }
    PurgeQueue { queue_url: String }
    ListQueues { queue_name_prefix: Option<String>, next_token: Option<String>, max_results: Option<i64> }
    SendMessage {
        queue_url: String,
        message_body: Option<String>,
        delay_seconds: Option<i64>,
        message_attributes: MessageAttributes,
        message_system_attributes: MessageAttributes,
    }
    SendMessageBatch { queue_url: String, entries: Vec<SendEntry> }
    SendEntry {
        id: String,
        message_body: Option<String>,
        delay_seconds: Option<i64>,
        message_attributes: MessageAttributes,
        message_system_attributes: MessageAttributes,
    }
    ReceiveMessage {
        queue_url: String,
        max_number_of_messages: Option<i64>,
        visibility_timeout: Option<i64>,
        wait_time_seconds: Option<i64>,
        attribute_names: Vec<String>,
        message_system_attribute_names: Vec<String>,
        message_attribute_names: Vec<String>,
    }
    DeleteMessage { queue_url: String, receipt_handle: Option<String> }
    DeleteMessageBatch { queue_url: String, entries: Vec<DeleteEntry> }
    DeleteEntry { id: String, receipt_handle: Option<String> }
    ChangeMessageVisibility { queue_url: String, receipt_handle: Option<String>, visibility_timeout: Option<i64> }
    ChangeMessageVisibilityBatch { queue_url: String, entries: Vec<VisibilityEntry> }
    VisibilityEntry { id: String, receipt_handle: Option<String>, visibility_timeout: Option<i64> }
}

macro_rules! answers {
    ($($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? })+) => {
        $(
            #[derive(Clone, Debug, Default, Serialize)]
            #[serde(rename_all = "PascalCase")]
            pub struct $name { $($(#[$meta])* pub $field: $type,)* }
        )+
    };
}

answers! {
    QueueUrl { queue_url: String }
    QueueAttributes { #[serde(skip_serializing_if = "BTreeMap::is_empty")] attributes: Attributes }
    QueueUrls {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        queue_urls: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_token: Option<String>,
    }
    Sent {
        message_id: String,
        #[serde(rename = "MD5OfMessageBody")]
        md5_of_message_body: String,
        #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
        md5_of_message_attributes: Option<String>,
        #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "Option::is_none")]
        md5_of_message_system_attributes: Option<String>,
    }
    SentEntry {
        id: String,
        #[serde(flatten)]
        sent: Sent,
    }
    Received { #[serde(skip_serializing_if = "Vec::is_empty")] messages: Vec<ReceivedMessage> }
    ReceivedMessage {
        #[serde(serialize_with = "text")]
        message_id: Arc<str>,
        receipt_handle: String,
        #[serde(rename = "MD5OfBody", serialize_with = "text")]
        md5_of_body: Arc<str>,
        #[serde(serialize_with = "text")]
        body: Arc<str>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        attributes: BTreeMap<&'static str, String>,
        #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
        md5_of_message_attributes: Option<String>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        message_attributes: MessageAttributes,
    }
    Done { id: String }
    Failed { id: String, sender_fault: bool, code: String, #[serde(skip_serializing_if = "Option::is_none")] message: Option<String> }
    Nothing {}
}

fn text<S: Serializer>(text: &Arc<str>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(text)
}

/// The answer to a batch: entries succeed and fail one by one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Batch<T> {
    pub successful: Vec<T>,
    pub failed: Vec<Failed>,
}
