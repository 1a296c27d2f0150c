//! Requests and answers of Auto Scaling, named as the service names them.
#![expect(missing_docs, reason = "the names are those of the AWS API, and mean what they mean there")]

macro_rules! shapes {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })+) => {
        $(
            #[derive(Clone, Debug, Default)]
            pub struct $name { $(pub $field: $type,)* }
        )+
    };
}

shapes! {
    PutLifecycleHook {
        auto_scaling_group_name: String,
        lifecycle_hook_name: String,
        lifecycle_transition: Option<String>,
        role_arn: Option<String>,
        notification_target_arn: Option<String>,
        notification_metadata: Option<String>,
        heartbeat_timeout: Option<i64>,
        default_result: Option<String>,
    }
    DescribeLifecycleHooks { auto_scaling_group_name: String, lifecycle_hook_names: Vec<String> }
    DeleteLifecycleHook { auto_scaling_group_name: String, lifecycle_hook_name: String }
    DescribeAutoScalingGroups { auto_scaling_group_names: Vec<String>, max_records: Option<i64>, next_token: Option<String> }
    DescribeAutoScalingInstances { instance_ids: Vec<String>, max_records: Option<i64>, next_token: Option<String> }
    DescribeScalingActivities {
        activity_ids: Vec<String>, auto_scaling_group_name: Option<String>, max_records: Option<i64>, next_token: Option<String>,
    }
    NamedAction {
        auto_scaling_group_name: String,
        lifecycle_hook_name: String,
        lifecycle_action_token: Option<String>,
        instance_id: Option<String>,
    }
    RecordLifecycleActionHeartbeat { action: NamedAction }
    CompleteLifecycleAction { action: NamedAction, lifecycle_action_result: String }
    SetInstanceHealth { instance_id: String, health_status: String }
    TerminateInstanceInAutoScalingGroup { instance_id: String, should_decrement_desired_capacity: bool }
    DetachInstances { auto_scaling_group_name: String, instance_ids: Vec<String>, should_decrement_desired_capacity: bool }
    EnterStandby { auto_scaling_group_name: String, instance_ids: Vec<String>, should_decrement_desired_capacity: bool }
    ExitStandby { auto_scaling_group_name: String, instance_ids: Vec<String> }
    SetDesiredCapacity { auto_scaling_group_name: String, desired_capacity: i64 }
    DescribeWarmPool { auto_scaling_group_name: String, max_records: Option<i64>, next_token: Option<String> }

    Hook {
        auto_scaling_group_name: String,
        lifecycle_hook_name: String,
        lifecycle_transition: &'static str,
        notification_target_arn: Option<String>,
        role_arn: Option<String>,
        notification_metadata: Option<String>,
        heartbeat_timeout: u64,
        global_timeout: u64,
        default_result: &'static str,
    }
    Group {
        name: String,
        arn: String,
        min_size: usize,
        max_size: usize,
        desired_capacity: usize,
        created_time: String,
        zones: Vec<String>,
        instances: Vec<Instance>,
        warm_pool: Option<WarmPool>,
        warm_pool_size: usize,
    }
    WarmPool { pool_state: &'static str, reuse_on_scale_in: bool }
    Instance {
        instance_id: String,
        availability_zone: String,
        lifecycle_state: &'static str,
        health_status: &'static str,
        group: String,
    }
    Activity {
        activity_id: String,
        group: String,
        group_arn: String,
        description: String,
        cause: String,
        start_time: String,
        end_time: Option<String>,
        status_code: &'static str,
        status_message: Option<String>,
        progress: u8,
        details: String,
    }
}

/// A page of something.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_token: Option<String>,
}
