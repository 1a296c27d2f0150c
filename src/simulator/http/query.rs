//! The query services: Auto Scaling, STS and IAM.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::form::Form;
use super::reply::request_id;
use super::xml::Xml;
use crate::simulator::model::World;
use crate::simulator::model::autoscaling::wire;
use crate::simulator::model::caller::{Caller, Principal, denial};
use crate::simulator::model::error::{Answer, ApiError};
use crate::simulator::model::iam;
use crate::simulator::model::iso;
use crate::simulator::model::operation::{Operation, Service};

const AUTO_SCALING: &str = "http://autoscaling.amazonaws.com/doc/2011-01-01/";
const STS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const IAM: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

pub(super) fn call(world: &mut World, now: u64, caller: &Caller, operation: Operation, form: &Form) -> Answer<Vec<u8>> {
    let mut xml = Response::begin(operation);
    let out = &mut xml.xml;
    match operation {
        Operation::CompleteLifecycleAction => {
            let request =
                wire::CompleteLifecycleAction { action: action(form), lifecycle_action_result: form.text("LifecycleActionResult") };
            world.complete_lifecycle_action(now, caller, &request)?;
        }
        Operation::RecordLifecycleActionHeartbeat => {
            let request = wire::RecordLifecycleActionHeartbeat { action: action(form) };
            world.record_lifecycle_action_heartbeat(now, caller, &request)?;
        }
        Operation::DescribeAutoScalingInstances => {
            let request = wire::DescribeAutoScalingInstances {
                instance_ids: form.list("InstanceIds"),
                max_records: form.number("MaxRecords")?,
                next_token: form.owned("NextToken"),
            };
            let page = world.describe_auto_scaling_instances(now, caller, &request)?;
            out.list("AutoScalingInstances", &page.items, |out, one| instance(out, one, true));
            out.maybe("NextToken", page.next_token.as_deref());
        }
        Operation::DescribeAutoScalingGroups => {
            let request = wire::DescribeAutoScalingGroups {
                auto_scaling_group_names: form.list("AutoScalingGroupNames"),
                max_records: form.number("MaxRecords")?,
                next_token: form.owned("NextToken"),
            };
            let page = world.describe_auto_scaling_groups(now, caller, &request)?;
            out.list("AutoScalingGroups", &page.items, group);
            out.maybe("NextToken", page.next_token.as_deref());
        }
        Operation::DescribeScalingActivities => {
            let request = wire::DescribeScalingActivities {
                activity_ids: form.list("ActivityIds"),
                auto_scaling_group_name: form.owned("AutoScalingGroupName"),
                max_records: form.number("MaxRecords")?,
                next_token: form.owned("NextToken"),
            };
            let page = world.describe_scaling_activities(now, caller, &request)?;
            out.list("Activities", &page.items, activity);
            out.maybe("NextToken", page.next_token.as_deref());
        }
        Operation::DescribeLifecycleHooks => {
            let request = wire::DescribeLifecycleHooks {
                auto_scaling_group_name: form.text("AutoScalingGroupName"),
                lifecycle_hook_names: form.list("LifecycleHookNames"),
            };
            out.list("LifecycleHooks", &world.describe_lifecycle_hooks(now, caller, &request)?, hook);
        }
        Operation::PutLifecycleHook => world.put_lifecycle_hook(now, caller, &put_hook(form)?)?,
        Operation::DeleteLifecycleHook => {
            let request = wire::DeleteLifecycleHook {
                auto_scaling_group_name: form.text("AutoScalingGroupName"),
                lifecycle_hook_name: form.text("LifecycleHookName"),
            };
            world.delete_lifecycle_hook(now, caller, &request)?;
        }
        Operation::DescribeWarmPool => {
            let request = wire::DescribeWarmPool {
                auto_scaling_group_name: form.text("AutoScalingGroupName"),
                max_records: form.number("MaxRecords")?,
                next_token: form.owned("NextToken"),
            };
            let (pool, page) = world.describe_warm_pool(now, caller, &request)?;
            if let Some(pool) = pool {
                warm_pool(out, &pool);
            }
            out.list("Instances", &page.items, |out, one| instance(out, one, false));
            out.maybe("NextToken", page.next_token.as_deref());
        }
        _ if operation.service() == Service::Sts => sts(world, now, caller, operation, form, out)?,
        Operation::GetRole => role(out, &world.get_role(caller, &form.text("RoleName"))?),
        _ => change(world, now, caller, operation, form, out)?,
    }
    Ok(xml.finish())
}

fn change(world: &mut World, now: u64, caller: &Caller, operation: Operation, form: &Form, out: &mut Xml) -> Answer<()> {
    let auto_scaling_group_name = form.text("AutoScalingGroupName");
    let instance_ids = form.list("InstanceIds");
    let should_decrement_desired_capacity = form.flag("ShouldDecrementDesiredCapacity");
    match operation {
        Operation::SetInstanceHealth => {
            let request = wire::SetInstanceHealth { instance_id: form.text("InstanceId"), health_status: form.text("HealthStatus") };
            world.set_instance_health(now, caller, &request)
        }
        Operation::TerminateInstanceInAutoScalingGroup => {
            let request =
                wire::TerminateInstanceInAutoScalingGroup { instance_id: form.text("InstanceId"), should_decrement_desired_capacity };
            let done = world.terminate_instance_in_auto_scaling_group(now, caller, &request)?;
            out.open("Activity");
            activity(out, &done);
            out.close("Activity");
            Ok(())
        }
        Operation::DetachInstances => {
            let request = wire::DetachInstances { auto_scaling_group_name, instance_ids, should_decrement_desired_capacity };
            out.list("Activities", &world.detach_instances(now, caller, &request)?, activity);
            Ok(())
        }
        Operation::EnterStandby => {
            let request = wire::EnterStandby { auto_scaling_group_name, instance_ids, should_decrement_desired_capacity };
            out.list("Activities", &world.enter_standby(now, caller, &request)?, activity);
            Ok(())
        }
        Operation::ExitStandby => {
            let request = wire::ExitStandby { auto_scaling_group_name, instance_ids };
            out.list("Activities", &world.exit_standby(now, caller, &request)?, activity);
            Ok(())
        }
        Operation::SetDesiredCapacity => {
            let desired_capacity = form.number("DesiredCapacity")?.unwrap_or(-1);
            let request = wire::SetDesiredCapacity { auto_scaling_group_name, desired_capacity };
            world.set_desired_capacity(now, caller, &request)
        }
        _ => Err(ApiError::client("InvalidAction", format!("Could not find operation {}", operation.name()))),
    }
}

fn sts(world: &mut World, now: u64, caller: &Caller, operation: Operation, form: &Form, out: &mut Xml) -> Answer<()> {
    if operation == Operation::GetCallerIdentity {
        out.leaf("UserId", caller.arn.rsplit('/').next().unwrap_or_default());
        out.leaf("Account", &caller.account);
        out.leaf("Arn", &caller.arn);
        return Ok(());
    }
    let needed = |name: &str| {
        form.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            ApiError::client(
                "ValidationError",
                format!("1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"),
            )
        })
    };
    let role = needed("RoleArn")?;
    let session = needed("RoleSessionName")?;
    let account = role.split(':').nth(4).filter(|account| account.len() == 12);
    let (Some(account), Some((_, name))) = (account, role.split_once(":role/")) else {
        return Err(ApiError::client("ValidationError", format!("{role} is invalid")));
    };
    if !world.may_assume(name.rsplit('/').next().unwrap_or(name), form.get("ExternalId")) {
        return Err(denial(caller, operation, Some(role)));
    }
    let key = format!("ASIA{:016X}", fastrand::u64(..));
    // A session's ARN has the role's name without its path.
    let arn = format!("arn:aws:sts::{account}:assumed-role/{}/{session}", name.rsplit('/').next().unwrap_or(name));
    world.set_principal(Principal {
        access_key_id: key.clone(),
        arn: arn.clone(),
        account: Some(account.to_owned()),
        denied: Vec::new(),
        allowed: world.rights_of_role(role),
    });
    out.open("AssumedRoleUser");
    out.leaf("AssumedRoleId", &format!("AROA{:016X}:{session}", fastrand::u64(..)));
    out.leaf("Arn", &arn);
    out.close("AssumedRoleUser");
    out.open("Credentials");
    out.leaf("AccessKeyId", &key);
    out.leaf("SecretAccessKey", "simulated");
    out.leaf("SessionToken", "simulated");
    let seconds = form.number("DurationSeconds")?.unwrap_or(3600).clamp(900, 43_200).unsigned_abs();
    out.leaf("Expiration", &iso(now + seconds * 1000));
    out.close("Credentials");
    Ok(())
}

fn role(out: &mut Xml, role: &iam::Role) {
    out.open("Role");
    out.leaf("Path", &role.path);
    out.leaf("RoleName", &role.name);
    out.leaf("RoleId", "AROASIMULATEDROLE000");
    out.leaf("Arn", &role.arn);
    out.leaf("CreateDate", &iso(0));
    // IAM answers with policies in the form of URLs (RFC 3986).
    out.leaf("AssumeRolePolicyDocument", &utf8_percent_encode(&role.trust, NON_ALPHANUMERIC).to_string());
    out.leaf("MaxSessionDuration", "3600");
    out.close("Role");
}

fn action(form: &Form) -> wire::NamedAction {
    wire::NamedAction {
        auto_scaling_group_name: form.text("AutoScalingGroupName"),
        lifecycle_hook_name: form.text("LifecycleHookName"),
        lifecycle_action_token: form.owned("LifecycleActionToken"),
        instance_id: form.owned("InstanceId"),
    }
}

fn put_hook(form: &Form) -> Answer<wire::PutLifecycleHook> {
    Ok(wire::PutLifecycleHook {
        auto_scaling_group_name: form.text("AutoScalingGroupName"),
        lifecycle_hook_name: form.text("LifecycleHookName"),
        lifecycle_transition: form.owned("LifecycleTransition"),
        role_arn: form.owned("RoleARN"),
        notification_target_arn: form.owned("NotificationTargetARN"),
        notification_metadata: form.owned("NotificationMetadata"),
        heartbeat_timeout: form.number("HeartbeatTimeout")?,
        default_result: form.owned("DefaultResult"),
    })
}

fn instance(out: &mut Xml, one: &wire::Instance, with_group: bool) {
    out.leaf("InstanceId", &one.instance_id);
    if with_group {
        out.leaf("AutoScalingGroupName", &one.group);
    }
    out.leaf("AvailabilityZone", &one.availability_zone);
    out.leaf("LifecycleState", one.lifecycle_state);
    // DescribeAutoScalingInstances shouts, the group whispers.
    out.leaf("HealthStatus", if with_group || one.health_status != "HEALTHY" { one.health_status } else { "Healthy" });
    out.open("LaunchTemplate");
    out.leaf("LaunchTemplateId", "lt-0123456789abcdef0");
    out.leaf("LaunchTemplateName", &one.group);
    out.leaf("Version", "1");
    out.close("LaunchTemplate");
    out.leaf("ProtectedFromScaleIn", "false");
    out.leaf("InstanceType", "t3.micro");
}

fn group(out: &mut Xml, one: &wire::Group) {
    out.leaf("AutoScalingGroupName", &one.name);
    out.leaf("AutoScalingGroupARN", &one.arn);
    out.number("MinSize", one.min_size);
    out.number("MaxSize", one.max_size);
    out.number("DesiredCapacity", one.desired_capacity);
    out.leaf("DefaultCooldown", "300");
    out.list("AvailabilityZones", &one.zones, |out, zone| out.text(zone));
    out.list("LoadBalancerNames", &[] as &[()], |_, ()| {});
    out.leaf("HealthCheckType", "EC2");
    out.leaf("HealthCheckGracePeriod", "0");
    out.list("Instances", &one.instances, |out, one| instance(out, one, false));
    out.leaf("CreatedTime", &one.created_time);
    if let Some(pool) = &one.warm_pool {
        warm_pool(out, pool);
        out.number("WarmPoolSize", one.warm_pool_size);
    }
    out.leaf("NewInstancesProtectedFromScaleIn", "false");
}

fn warm_pool(out: &mut Xml, pool: &wire::WarmPool) {
    out.open("WarmPoolConfiguration");
    out.leaf("MinSize", "0");
    out.leaf("PoolState", pool.pool_state);
    out.open("InstanceReusePolicy");
    out.leaf("ReuseOnScaleIn", if pool.reuse_on_scale_in { "true" } else { "false" });
    out.close("InstanceReusePolicy");
    out.close("WarmPoolConfiguration");
}

fn activity(out: &mut Xml, one: &wire::Activity) {
    out.leaf("ActivityId", &one.activity_id);
    out.leaf("AutoScalingGroupName", &one.group);
    out.leaf("Description", &one.description);
    out.leaf("Cause", &one.cause);
    out.leaf("StartTime", &one.start_time);
    out.maybe("EndTime", one.end_time.as_deref());
    out.leaf("StatusCode", one.status_code);
    out.maybe("StatusMessage", one.status_message.as_deref());
    out.number("Progress", one.progress);
    out.leaf("Details", &one.details);
    out.leaf("AutoScalingGroupARN", &one.group_arn);
}

fn hook(out: &mut Xml, one: &wire::Hook) {
    out.leaf("LifecycleHookName", &one.lifecycle_hook_name);
    out.leaf("AutoScalingGroupName", &one.auto_scaling_group_name);
    out.leaf("LifecycleTransition", one.lifecycle_transition);
    out.maybe("NotificationTargetARN", one.notification_target_arn.as_deref());
    out.maybe("RoleARN", one.role_arn.as_deref());
    out.maybe("NotificationMetadata", one.notification_metadata.as_deref());
    out.number("HeartbeatTimeout", one.heartbeat_timeout);
    out.number("GlobalTimeout", one.global_timeout);
    out.leaf("DefaultResult", one.default_result);
}

/// `<XResponse><XResult>…</XResult><ResponseMetadata>…`.
struct Response {
    xml: Xml,
    root: String,
    result: String,
}

impl Response {
    fn begin(operation: Operation) -> Self {
        let namespace = match operation.service() {
            Service::Sts => STS,
            Service::Iam => IAM,
            _ => AUTO_SCALING,
        };
        let root = format!("{}Response", operation.name());
        let result = format!("{}Result", operation.name());
        let mut xml = Xml::new(&root, namespace);
        xml.open(&result);
        Self { xml, root, result }
    }

    fn finish(mut self) -> Vec<u8> {
        self.xml.close(&self.result);
        self.xml.open("ResponseMetadata");
        self.xml.leaf("RequestId", &request_id());
        self.xml.close("ResponseMetadata");
        self.xml.finish(&self.root)
    }
}
