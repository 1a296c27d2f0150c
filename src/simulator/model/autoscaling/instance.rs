//! Where an instance can be, and the states it passes through on each way.

use serde::{Deserialize, Serialize};

macro_rules! states {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// A lifecycle state, as DescribeAutoScalingInstances names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "each is the state of that name")]
        pub enum LifecycleState { $(#[serde(rename = $text)] $name,)+ }

        impl LifecycleState {
            /// Its name on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

states! {
    Pending = "Pending",
    PendingWait = "Pending:Wait",
    PendingProceed = "Pending:Proceed",
    InService = "InService",
    Terminating = "Terminating",
    TerminatingWait = "Terminating:Wait",
    TerminatingProceed = "Terminating:Proceed",
    Terminated = "Terminated",
    WarmedPending = "Warmed:Pending",
    WarmedPendingWait = "Warmed:Pending:Wait",
    WarmedPendingProceed = "Warmed:Pending:Proceed",
    WarmedStopped = "Warmed:Stopped",
    WarmedRunning = "Warmed:Running",
    WarmedHibernated = "Warmed:Hibernated",
    WarmedTerminating = "Warmed:Terminating",
    WarmedTerminatingWait = "Warmed:Terminating:Wait",
    WarmedTerminatingProceed = "Warmed:Terminating:Proceed",
    WarmedTerminated = "Warmed:Terminated",
    Detaching = "Detaching",
    Detached = "Detached",
    EnteringStandby = "EnteringStandby",
    Standby = "Standby",
}

impl LifecycleState {
    /// Whether Auto Scaling still lists the instance.
    #[must_use]
    pub const fn is_listed(self) -> bool {
        !matches!(self, Self::Terminated | Self::WarmedTerminated | Self::Detached)
    }

    /// Whether the machine is on: its agent answers. A detached instance lives on.
    #[must_use]
    pub const fn runs(self) -> bool {
        !matches!(self, Self::Terminated | Self::WarmedTerminated | Self::WarmedStopped | Self::WarmedHibernated)
    }

    /// Whether the instance rests in the warm pool.
    #[must_use]
    pub const fn rests_in_pool(self) -> bool {
        matches!(self, Self::WarmedStopped | Self::WarmedRunning | Self::WarmedHibernated)
    }

    /// Whether the instance is in, or on its way into, the warm pool.
    #[must_use]
    pub fn is_warmed(self) -> bool {
        self.name().starts_with("Warmed:")
    }
}

/// The transition that a hook is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Into the group, or into its warm pool.
    #[serde(rename = "autoscaling:EC2_INSTANCE_LAUNCHING", alias = "launching")]
    Launching,
    /// Out of the group or its warm pool.
    #[serde(rename = "autoscaling:EC2_INSTANCE_TERMINATING", alias = "terminating")]
    Terminating,
}

impl Kind {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Launching => "autoscaling:EC2_INSTANCE_LAUNCHING",
            Self::Terminating => "autoscaling:EC2_INSTANCE_TERMINATING",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Launching, Self::Terminating].into_iter().find(|kind| kind.name() == name)
    }
}

/// Where an instance comes from or goes to, as notifications say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Place {
    /// From nowhere, or to its end.
    #[serde(rename = "EC2")]
    Ec2,
    /// The group.
    AutoScalingGroup,
    /// The group's warm pool.
    WarmPool,
}

impl Place {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::AutoScalingGroup => "AutoScalingGroup",
            Self::WarmPool => "WarmPool",
        }
    }
}

/// The states of one way: before its hooks, while they are waited for, after them.
pub(super) struct Way {
    pub kind: Kind,
    pub first: LifecycleState,
    pub wait: LifecycleState,
    pub proceed: LifecycleState,
}

impl Way {
    pub fn between(origin: Place, destination: Place) -> Self {
        use LifecycleState as S;
        let (kind, first, wait, proceed) = match (origin, destination) {
            (_, Place::AutoScalingGroup) => (Kind::Launching, S::Pending, S::PendingWait, S::PendingProceed),
            (Place::AutoScalingGroup, Place::WarmPool) => {
                // On its way back into the pool an instance shows the states of one that enters it.
                (Kind::Terminating, S::WarmedPending, S::WarmedPendingWait, S::WarmedPendingProceed)
            }
            (_, Place::WarmPool) => (Kind::Launching, S::WarmedPending, S::WarmedPendingWait, S::WarmedPendingProceed),
            (Place::WarmPool, Place::Ec2) => {
                (Kind::Terminating, S::WarmedTerminating, S::WarmedTerminatingWait, S::WarmedTerminatingProceed)
            }
            (_, Place::Ec2) => (Kind::Terminating, S::Terminating, S::TerminatingWait, S::TerminatingProceed),
        };
        Self { kind, first, wait, proceed }
    }
}
