//! What happens to a fleet, and when.

use enrolld::simulator::model::operation::Service;
use enrolld::simulator::model::opsworks_cm::wire::ServerStatus;

use super::world::an_agent;
use super::{ACTIONS, BEGIN, Deed, Dice, Forgery, MINUTE, Plan, SECOND};
use crate::services::{Documented, Of, Outages, Window};

/// The lifecycle actions: terminations and moves come after launches, some of them before these are over.
pub fn actions(dice: &mut Dice, span: u64, script: &mut Vec<(u64, Deed)>) {
    let launches = dice.between(8, 14) as usize;
    let bursts = dice.chance(0.4);
    let burst = dice.moment(span / 2);
    for _ in 0..launches {
        let at = if bursts { burst + dice.between(0, 50) } else { dice.moment(span / 2) };
        let group = usize::from(dice.chance(0.35));
        let into_pool = dice.chance(0.15);
        script.push((at, Deed::Launch { group, agent: an_agent(dice), into_pool }));
    }
    for _ in launches..ACTIONS {
        let at = dice.moment(span);
        let pick = dice.0.u64(..);
        script.push((
            at,
            match dice.between(0, 9) {
                0 | 1 => Deed::ReturnToPool { pick },
                2 => Deed::LeavePool,
                early => Deed::Terminate { pick, early: early < 6 },
            },
        ));
    }
}

/// What else comes over the fleet.
pub fn events(dice: &mut Dice, span: u64, plan: &mut Plan) {
    let script = &mut plan.script;
    if dice.chance(0.4) {
        let kinds = [
            Forgery::Garbage,
            Forgery::TestNotification,
            Forgery::Termination,
            Forgery::Launch,
            Forgery::UnknownInstance,
            Forgery::ForeignAccount,
            Forgery::NoRoute,
            Forgery::NoHook,
        ];
        for _ in 0..dice.between(1, 4) {
            script.push((dice.moment(span), Deed::Forge { kind: dice.pick(&kinds), pick: dice.0.u64(..) }));
        }
    }
    for _ in 0..if dice.chance(0.3) { dice.between(1, 4) } else { 0 } {
        script.push((dice.moment(span), Deed::Repeat { pick: dice.0.u64(..) }));
    }
    for _ in 0..if dice.chance(0.2) { dice.between(1, 2) } else { 0 } {
        let pick = dice.0.u64(..);
        script.push((dice.moment(span), if dice.chance(0.5) { Deed::Detach { pick } } else { Deed::Standby { pick } }));
    }
    for _ in 0..if dice.chance(0.35) { dice.between(1, 2) } else { 0 } {
        let status = dice.pick(&[ServerStatus::UnderMaintenance, ServerStatus::BackingUp, ServerStatus::Unhealthy]);
        let for_ms = dice.between(1, 240) * SECOND;
        script.push((dice.moment(span), Deed::Maintenance { server: usize::from(dice.chance(0.3)), status, for_ms }));
    }
}

pub fn workers(dice: &mut Dice, span: u64, plan: &mut Plan) {
    let number = plan.workers as u64;
    let some = |dice: &mut Dice, probability: f64, most: u64| if dice.chance(probability) { dice.between(1, most) } else { 0 };
    for _ in 0..some(dice, 0.5, 5) {
        let deed = Deed::Crash { worker: dice.between(0, number - 1) as usize, down_ms: dice.between(0, 120) * SECOND };
        plan.script.push((dice.moment(span + MINUTE), deed));
    }
    for _ in 0..some(dice, 0.3, 3) {
        let deed = Deed::Pause { worker: dice.between(0, number - 1) as usize, for_ms: dice.between(1, 400) * SECOND };
        plan.script.push((dice.moment(span + MINUTE), deed));
    }
    for _ in 0..some(dice, 0.3, 4) {
        let deed = Deed::ShutDown { worker: dice.between(0, number - 1) as usize, down_ms: dice.between(0, 60) * SECOND };
        plan.script.push((dice.moment(span + MINUTE), deed));
    }
}

/// What each service documents for all that is asked of it, beside what calls meet by `Odds`.
pub const DOCUMENTED: [Documented; 30] = [
    (Of::All(Service::Sqs), 403, "AccessDenied"),
    (Of::All(Service::Sqs), 403, "InvalidSecurity"),
    (Of::All(Service::Sqs), 404, "InvalidAddress"),
    (Of::All(Service::Sqs), 400, "UnsupportedOperation"),
    (Of::All(Service::Sqs), 403, "OverLimit"),
    (Of::All(Service::Sqs), 503, "ServiceUnavailable"),
    (Of::All(Service::Sqs), 400, "KmsAccessDenied"),
    (Of::All(Service::Sqs), 400, "KmsDisabled"),
    (Of::All(Service::Sqs), 400, "KmsInvalidKeyUsage"),
    (Of::All(Service::Sqs), 400, "KmsInvalidState"),
    (Of::All(Service::Sqs), 400, "KmsNotFound"),
    (Of::All(Service::Sqs), 403, "KmsOptInRequired"),
    (Of::All(Service::Sqs), 400, "KmsThrottled"),
    (Of::All(Service::AutoScaling), 403, "AccessDenied"),
    (Of::All(Service::AutoScaling), 500, "ResourceContention"),
    (Of::All(Service::AutoScaling), 400, "InvalidNextToken"),
    (Of::All(Service::AutoScaling), 503, "RequestLimitExceeded"),
    (Of::All(Service::AutoScaling), 503, "ServiceUnavailable"),
    (Of::All(Service::AutoScaling), 403, "ExpiredToken"),
    (Of::All(Service::AutoScaling), 400, "RequestExpired"),
    (Of::All(Service::AutoScaling), 403, "InvalidClientTokenId"),
    (Of::All(Service::Ssm), 400, "AccessDeniedException"),
    (Of::All(Service::Ssm), 400, "TooManyUpdates"),
    (Of::All(Service::Ssm), 503, "ServiceUnavailable"),
    (Of::All(Service::Ssm), 400, "ExpiredTokenException"),
    (Of::All(Service::Ssm), 400, "UnrecognizedClientException"),
    (Of::All(Service::OpsworksCm), 400, "AccessDeniedException"),
    (Of::All(Service::OpsworksCm), 400, "ThrottlingException"),
    (Of::All(Service::OpsworksCm), 503, "ServiceUnavailable"),
    (Of::All(Service::OpsworksCm), 400, "ExpiredTokenException"),
];

/// What the operations of SSM document, each its own. Some of these end the one launch that meets them.
pub const OF_READS: [Documented; 10] = [
    (Of::One("GetParameters"), 400, "InvalidKeyId"),
    (Of::One("GetParameters"), 400, "InvalidNextToken"),
    (Of::One("SendCommand"), 400, "InvalidInstanceId"),
    (Of::One("SendCommand"), 400, "InvalidDocument"),
    (Of::One("SendCommand"), 400, "InvalidDocumentVersion"),
    (Of::One("SendCommand"), 400, "InvalidParameters"),
    (Of::One("SendCommand"), 400, "UnsupportedPlatformType"),
    (Of::One("SendCommand"), 400, "DuplicateInstanceId"),
    (Of::One("GetCommandInvocation"), 400, "InvalidInstanceId"),
    (Of::One("GetCommandInvocation"), 400, "InvalidCommandId"),
];

/// The same of the operation by which certificates are written.
pub const OF_WRITES: [Documented; 14] = [
    (Of::One("PutParameter"), 400, "ParameterLimitExceeded"),
    (Of::One("PutParameter"), 400, "ParameterMaxVersionLimitExceeded"),
    (Of::One("PutParameter"), 400, "TooManyUpdates"),
    (Of::One("PutParameter"), 400, "HierarchyLevelLimitExceededException"),
    (Of::One("PutParameter"), 400, "HierarchyTypeMismatchException"),
    (Of::One("PutParameter"), 400, "ParameterPatternMismatchException"),
    (Of::One("PutParameter"), 400, "ParameterAlreadyExists"),
    (Of::One("PutParameter"), 400, "PoliciesLimitExceededException"),
    (Of::One("PutParameter"), 400, "IncompatiblePolicyException"),
    (Of::One("PutParameter"), 400, "InvalidPolicyTypeException"),
    (Of::One("PutParameter"), 400, "InvalidPolicyAttributeException"),
    (Of::One("PutParameter"), 400, "InvalidAllowedPatternException"),
    (Of::One("PutParameter"), 400, "UnsupportedParameterType"),
    (Of::One("PutParameter"), 400, "InvalidKeyId"),
];

/// Every documented error that fleets must meet.
pub fn documented() -> impl Iterator<Item = Documented> {
    DOCUMENTED.into_iter().chain(OF_READS).chain(OF_WRITES)
}

/// Certificates and what their parameters and the other keys of SSM are refused with: these came later, and have dice of their own, so
/// that nothing else in the plan of a seed follows from them.
pub fn parameters(dice: &mut Dice, span: u64, plan: &mut Plan) {
    for route in 0..plan.settings.routes.len() {
        if dice.chance(0.2) {
            plan.give_certificates(route);
        }
    }
    let window = |dice: &mut Dice| {
        let from = dice.moment(span);
        Window { from, until: from + dice.between(1, 60) * SECOND }
    };
    for _ in 0..if dice.chance(0.2) { dice.between(1, 2) } else { 0 } {
        plan.outages.documented.push((dice.pick(&OF_READS), window(dice)));
    }
    let writes = plan.settings.routes.iter().any(|route| route.certificate.is_some());
    for _ in 0..if writes && dice.chance(0.5) { dice.between(1, 2) } else { 0 } {
        plan.outages.documented.push((dice.pick(&OF_WRITES), window(dice)));
    }
}

pub fn outages(dice: &mut Dice, span: u64, outages: &mut Outages) {
    let window = |dice: &mut Dice, longest: u64| {
        let from = dice.moment(span);
        Window { from, until: from + dice.between(1, longest) * SECOND }
    };
    if dice.chance(0.15) {
        let server = usize::from(dice.chance(0.3));
        let from = if dice.chance(0.5) { BEGIN } else { dice.moment(span) };
        outages.missing_server.push((server, Window { from, until: from + dice.between(10, 1500) * SECOND }));
    }
    if dice.chance(0.1) {
        outages.denied.push(window(dice, 300));
    }
    if dice.chance(0.1) {
        outages.no_credentials.push(window(dice, 90));
    }
    if dice.chance(0.05) {
        outages.no_queue.push(window(dice, 60));
    }
    for _ in 0..if dice.chance(0.3) { dice.between(1, 3) } else { 0 } {
        outages.documented.push((dice.pick(&DOCUMENTED), window(dice, 60)));
    }
}
