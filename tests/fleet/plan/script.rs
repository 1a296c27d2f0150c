//! What happens to a fleet, and when.

use enrolld::simulator::model::operation::Service;
use enrolld::simulator::model::opsworks_cm::wire::ServerStatus;

use super::world::an_agent;
use super::{ACTIONS, BEGIN, Deed, Dice, Forgery, MINUTE, Plan, SECOND};
use crate::services::{Documented, Outages, Window};

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

/// What each service documents, beside what calls meet by `Odds`; errors that end the one action that meets them are left out.
pub const DOCUMENTED: [Documented; 30] = [
    (Service::Sqs, 403, "AccessDenied"),
    (Service::Sqs, 403, "InvalidSecurity"),
    (Service::Sqs, 404, "InvalidAddress"),
    (Service::Sqs, 400, "UnsupportedOperation"),
    (Service::Sqs, 403, "OverLimit"),
    (Service::Sqs, 503, "ServiceUnavailable"),
    (Service::Sqs, 400, "KmsAccessDenied"),
    (Service::Sqs, 400, "KmsDisabled"),
    (Service::Sqs, 400, "KmsInvalidKeyUsage"),
    (Service::Sqs, 400, "KmsInvalidState"),
    (Service::Sqs, 400, "KmsNotFound"),
    (Service::Sqs, 403, "KmsOptInRequired"),
    (Service::Sqs, 400, "KmsThrottled"),
    (Service::AutoScaling, 403, "AccessDenied"),
    (Service::AutoScaling, 500, "ResourceContention"),
    (Service::AutoScaling, 400, "InvalidNextToken"),
    (Service::AutoScaling, 503, "RequestLimitExceeded"),
    (Service::AutoScaling, 503, "ServiceUnavailable"),
    (Service::AutoScaling, 403, "ExpiredToken"),
    (Service::AutoScaling, 400, "RequestExpired"),
    (Service::AutoScaling, 403, "InvalidClientTokenId"),
    (Service::Ssm, 400, "AccessDeniedException"),
    (Service::Ssm, 400, "TooManyUpdates"),
    (Service::Ssm, 503, "ServiceUnavailable"),
    (Service::Ssm, 400, "ExpiredTokenException"),
    (Service::Ssm, 400, "UnrecognizedClientException"),
    (Service::OpsworksCm, 400, "AccessDeniedException"),
    (Service::OpsworksCm, 400, "ThrottlingException"),
    (Service::OpsworksCm, 503, "ServiceUnavailable"),
    (Service::OpsworksCm, 400, "ExpiredTokenException"),
];

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
