//! What a call asks for, as policies name it: what it is about, and its condition keys.

use serde_json::Value;

use super::exchange::{Call, Input};
use crate::simulator::model::World;
use crate::simulator::model::grant::{Asked, Keys, Resource};
use crate::simulator::model::operation::{Operation, Service};

impl Call {
    /// What it asks for; nothing is said of a caller that is confined to nothing.
    pub(super) fn asks(&self, world: &World) -> Asked {
        if !world.is_confined(&self.key) {
            return Asked::default();
        }
        let resource = |arn: String| Resource { keys: tags(world, &arn), arn };
        Asked { resources: self.resources(world).into_iter().map(resource).collect(), keys: self.keys() }
    }

    /// The condition keys that are simulated, with what the request itself says (Service Authorization Reference).
    fn keys(&self) -> Keys {
        let mut keys = Keys::new();
        let mut add = |key: &str, value: Option<String>| drop(value.and_then(|value| keys.insert(key.to_owned(), value)));
        add("aws:RequestedRegion", Some(self.region.clone()).filter(|region| !region.is_empty()));
        match (&self.input, self.operation) {
            (Input::Form(form), Operation::AssumeRole) => {
                add("sts:RoleSessionName", form.owned("RoleSessionName"));
                add("sts:ExternalId", form.owned("ExternalId"));
            }
            (Input::Json(body), Operation::PutParameter) => {
                let body: Value = serde_json::from_slice(body).unwrap_or_default();
                add("ssm:Overwrite", body["Overwrite"].as_bool().map(|overwrite| overwrite.to_string()));
                add("ssm:Policies", body["Policies"].as_str().map(|policies| (!policies.is_empty()).to_string()));
            }
            _ => {}
        }
        keys
    }

    /// The ARNs of what it is about; none where the service knows no resources for it.
    fn resources(&self, world: &World) -> Vec<String> {
        match &self.input {
            Input::Form(form) => match self.operation.service() {
                Service::Sts => form.owned("RoleArn").into_iter().collect(),
                Service::Iam => {
                    let name = form.text("RoleName");
                    let caller = world.caller(&self.key);
                    let found = world.get_role(&caller, &name).map(|role| role.arn);
                    vec![found.unwrap_or_else(|_| format!("arn:aws:iam::{}:role/{name}", caller.account))]
                }
                // What only looks has no resources there.
                _ if self.operation.name().starts_with("Describe") => Vec::new(),
                // The middle is an id of Auto Scaling's own.
                _ => form.get("AutoScalingGroupName").map_or_else(Vec::new, |group| {
                    let group = format!("autoScalingGroup:00000000-0000-4000-8000-000000000000:autoScalingGroupName/{group}");
                    vec![arn(world, "autoscaling", &group)]
                }),
            },
            Input::Json(body) => {
                let body: Value = serde_json::from_slice(body).unwrap_or_default();
                match self.operation.service() {
                    Service::Sqs => queue(world, &body).into_iter().collect(),
                    Service::Ssm => self.of_ssm(world, &body),
                    _ => Vec::new(),
                }
            }
        }
    }

    fn of_ssm(&self, world: &World, body: &Value) -> Vec<String> {
        let one = body["Name"].as_str();
        let many = body["Names"].as_array().into_iter().flatten().filter_map(Value::as_str);
        match self.operation {
            Operation::SendCommand => {
                let instances = body["InstanceIds"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let instances = instances.map(|id| arn(world, "ec2", &format!("instance/{id}")));
                body["DocumentName"].as_str().map(|name| document(world, name)).into_iter().chain(instances).collect()
            }
            Operation::CreateDocument | Operation::GetDocument | Operation::DescribeDocument => {
                one.map(|name| document(world, name)).into_iter().collect()
            }
            _ => {
                one.into_iter().chain(many).map(|name| arn(world, "ssm", &format!("parameter/{}", name.trim_start_matches('/')))).collect()
            }
        }
    }
}

/// Of instances, the tag that Auto Scaling gives them.
fn tags(world: &World, arn: &str) -> Keys {
    let id = arn.starts_with("arn:aws:ec2:").then(|| arn.rsplit('/').next()).flatten();
    let group = id.and_then(|id| world.group_of(id));
    let tag = |group: &str| {
        // SendCommand knows them by both.
        ["aws:ResourceTag", "ssm:resourceTag"].map(|key| (format!("{key}/aws:autoscaling:groupName"), group.to_owned())).into()
    };
    group.map(tag).unwrap_or_default()
}

fn arn(world: &World, service: &str, resource: &str) -> String {
    let settings = world.account_settings();
    format!("arn:aws:{service}:{}:{}:{resource}", settings.region, settings.account)
}

/// By its URL, which ends in account and name, or by its name alone.
fn queue(world: &World, body: &Value) -> Option<String> {
    if let Some(name) = body["QueueName"].as_str() {
        return Some(arn(world, "sqs", name));
    }
    let mut parts = body["QueueUrl"].as_str()?.rsplit('/');
    let (name, account) = (parts.next()?, parts.next()?);
    Some(format!("arn:aws:sqs:{}:{account}:{name}", world.account_settings().region))
}

/// Amazon's own stand in no account.
fn document(world: &World, name: &str) -> String {
    if name.starts_with("AWS-") {
        format!("arn:aws:ssm:{}::document/{name}", world.account_settings().region)
    } else {
        arn(world, "ssm", &format!("document/{name}"))
    }
}
