//! The operations the simulator knows, as the one vocabulary of its counts, its fault plans and its denials.

use std::fmt;

/// An AWS service, as the simulator tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Amazon SQS (JSON 1.0).
    Sqs,
    /// AWS Systems Manager (JSON 1.1).
    Ssm,
    /// Amazon EC2 Auto Scaling (query protocol).
    AutoScaling,
    /// AWS OpsWorks CM (JSON 1.1).
    OpsworksCm,
    /// AWS STS (query protocol).
    Sts,
    /// AWS IAM (query protocol).
    Iam,
}

impl Service {
    /// The service's prefix in IAM actions, which names its operations here too: `sqs`, `opsworks-cm`, …
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Sqs => "sqs",
            Self::Ssm => "ssm",
            Self::AutoScaling => "autoscaling",
            Self::OpsworksCm => "opsworks-cm",
            Self::Sts => "sts",
            Self::Iam => "iam",
        }
    }
}

macro_rules! operations {
    ($($service:ident { $($name:ident),+ $(,)? })+) => {
        /// An operation of one of the services; the names are unique over all of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each is the AWS operation of that name")]
        pub enum Operation { $($($name,)+)+ }

        impl Operation {
            /// Every operation, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)+)+];

            /// The service that it belongs to.
            #[must_use]
            pub const fn service(self) -> Service {
                match self { $($(Self::$name)|+ => Service::$service,)+ }
            }

            /// Its name on the wire, without the service.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($(Self::$name => stringify!($name),)+)+ }
            }

            /// The operation of that name, if the simulator has it.
            #[must_use]
            pub fn find(service: Service, name: &str) -> Option<Self> {
                match service {
                    $(Service::$service => match name {
                        $(stringify!($name) => Some(Self::$name),)+
                        _ => None,
                    },)+
                }
            }
        }
    };
}

operations! {
    Sqs {
        CreateQueue, GetQueueUrl, GetQueueAttributes, SetQueueAttributes, DeleteQueue, ListQueues, PurgeQueue,
        SendMessage, SendMessageBatch, ReceiveMessage, DeleteMessage, DeleteMessageBatch,
        ChangeMessageVisibility, ChangeMessageVisibilityBatch,
    }
    Ssm {
        PutParameter, GetParameter, GetParameters, GetParametersByPath, GetParameterHistory, DeleteParameter,
        DeleteParameters, DescribeParameters, SendCommand, GetCommandInvocation, ListCommandInvocations,
        DescribeInstanceInformation, CreateDocument, GetDocument, DescribeDocument,
    }
    AutoScaling {
        PutLifecycleHook, DescribeLifecycleHooks, DeleteLifecycleHook, DescribeAutoScalingGroups,
        DescribeAutoScalingInstances, DescribeScalingActivities, RecordLifecycleActionHeartbeat,
        CompleteLifecycleAction, SetInstanceHealth, TerminateInstanceInAutoScalingGroup, DetachInstances,
        EnterStandby, ExitStandby, SetDesiredCapacity, DescribeWarmPool,
    }
    OpsworksCm { DescribeServers, AssociateNode, DescribeNodeAssociationStatus, DisassociateNode }
    Sts { GetCallerIdentity, AssumeRole }
    Iam { GetRole }
}

impl Operation {
    /// Whether a pattern means this operation: `*`, `ssm:*`, or `ssm:GetParameters`.
    #[must_use]
    pub fn matches(self, pattern: &str) -> bool {
        if pattern == "*" {
            return true;
        }
        match pattern.split_once(':') {
            Some((service, name)) => service == self.service().prefix() && (name == "*" || name == self.name()),
            None => false,
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.service().prefix(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_own_name() {
        for &operation in Operation::ALL {
            assert_eq!(Operation::find(operation.service(), operation.name()), Some(operation));
            assert!(operation.matches(&operation.to_string()));
        }
    }

    #[test]
    fn a_pattern_without_a_service_matches_nothing_but_the_star() {
        assert!(Operation::ReceiveMessage.matches("*"));
        assert!(Operation::ReceiveMessage.matches("sqs:*"));
        assert!(!Operation::ReceiveMessage.matches("ReceiveMessage"));
        assert!(!Operation::ReceiveMessage.matches("ssm:*"));
    }
}
