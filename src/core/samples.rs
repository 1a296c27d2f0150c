//! Claims for tests.

use crate::event::{Envelope, LifecycleAction, Place, Transition};
use crate::names::{AccountId, GroupName, HookName, InstanceId, LifecycleActionToken};

/// The `n`th claim: instance, token and all.
pub(crate) fn claim(transition: Transition, n: u32) -> LifecycleAction {
    let (hook, origin, destination) = match transition {
        Transition::Launching => ("enrol-on-launch", Place::Ec2, Place::AutoScalingGroup),
        Transition::Terminating => ("leave-on-terminate", Place::AutoScalingGroup, Place::Ec2),
    };
    let side = u32::from(transition == Transition::Terminating);
    LifecycleAction {
        transition,
        instance: InstanceId::new(&format!("i-{n:017x}")).unwrap(),
        group: GroupName::new("web").unwrap(),
        hook: HookName::new(hook).unwrap(),
        token: LifecycleActionToken::new(&format!("{n:08x}-0000-4000-8000-{side:012x}")).unwrap(),
        account: AccountId::new("123456789012").unwrap(),
        region: None,
        time_ms: Some(1_700_000_000_000),
        origin: Some(origin),
        destination: Some(destination),
        metadata: None,
        envelope: Envelope::Direct,
    }
}
