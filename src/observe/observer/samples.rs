//! Records for tests.

use super::*;
use crate::core::observation::Subject;
use crate::core::observation::{Reason, StepRecord};
use crate::event::{Envelope, LifecycleAction, Transition};
use crate::names::{AccountId, GroupName, HookName, InstanceId, LifecycleActionToken, MessageId, NodeName};

/// 2026-03-02T08:15:42.118Z
pub const NOW_MS: u64 = 1_772_439_342_118;

pub fn subject(group: &str) -> Subject {
    let action = LifecycleAction {
        transition: Transition::Launching,
        instance: InstanceId::new("i-0a1b2c3d4e5f60718").unwrap(),
        group: GroupName::new(group).unwrap(),
        hook: HookName::new("enrol-on-launch").unwrap(),
        token: LifecycleActionToken::new("5d1f0a52-7b0e-4c8e-9a49-2f6d3f6f1c01").unwrap(),
        account: AccountId::new("123456789012").unwrap(),
        region: None,
        time_ms: None,
        origin: None,
        destination: None,
        metadata: None,
        envelope: Envelope::Direct,
    };
    Subject {
        action: Arc::new(action),
        route: Some(RouteId(0)),
        node: Some(NodeName::new("i-0a1b2c3d4e5f60718").unwrap()),
        message: MessageId::new("m-1").unwrap(),
        step: Step::Key,
        attempt: 2,
    }
}

pub fn record(outcome: Outcome) -> Record {
    let step = |step, began_ms, took_ms, attempts| StepRecord { step, began_ms, took: Duration::from_millis(took_ms), attempts };
    Record {
        subject: Some(subject("web")),
        message: MessageId::new("m-1").unwrap(),
        receive_count: 1,
        outcome,
        reason: (outcome == Outcome::Abandoned).then(|| Reason::new("not_pem", "the key is not PEM")),
        steps: vec![step(Step::Verify, NOW_MS - 2118, 12, 1), step(Step::Key, NOW_MS - 2106, 2000, 3)],
        took: Duration::from_millis(2118),
        queued: Some(Duration::from_millis(40)),
    }
}
