//! Calls that fail: each error classified by the room that knows the service.

use enrolld::aws::{Classify, from_service};
use enrolld::core::call::{Answer, Call};
use enrolld::retry::{Class, Failure};
use enrolld::simulator::model::error::ApiError;
use enrolld::simulator::model::faults;
use enrolld::simulator::model::operation::Service;
use enrolld::{key_material, lifecycle, queue, registrar};

fn failure(error: &ApiError, classify: Classify) -> Failure {
    from_service(&error.code, error.message.as_deref().unwrap_or_default(), error.status, classify)
}

pub fn of_queue(error: &ApiError) -> Failure {
    failure(error, queue::classify)
}

pub fn of_autoscaling(error: &ApiError) -> Failure {
    failure(error, lifecycle::classify)
}

pub fn of_ssm(error: &ApiError) -> Failure {
    failure(error, key_material::classify)
}

pub fn of_registrar(error: &ApiError) -> Failure {
    failure(error, registrar::classify_opsworks_cm)
}

/// The service behind a call.
pub fn service(call: &Call) -> Service {
    match call {
        Call::DescribeQueue
        | Call::Receive { .. }
        | Call::Extend { .. }
        | Call::Release { .. }
        | Call::DeadLetter { .. }
        | Call::Delete { .. } => Service::Sqs,
        Call::DescribeInstances { .. }
        | Call::DescribeHooks { .. }
        | Call::FindWhereabouts { .. }
        | Call::Heartbeat { .. }
        | Call::Complete { .. } => Service::AutoScaling,
        Call::FetchKeys { .. }
        | Call::SendCommand { .. }
        | Call::FetchOutput { .. }
        | Call::PutParameter { .. }
        | Call::DeleteParameters { .. } => Service::Ssm,
        Call::Associate { .. }
        | Call::AssociationStatus { .. }
        | Call::Disassociate { .. }
        | Call::Clear { .. }
        | Call::CheckHealth { .. } => Service::OpsworksCm,
    }
}

/// The answer of a call that is refused as a whole.
pub fn refuse(call: &Call, error: &ApiError) -> Answer {
    let failure = match service(call) {
        Service::Sqs => of_queue(error),
        Service::AutoScaling => of_autoscaling(error),
        Service::Ssm => of_ssm(error),
        _ => of_registrar(error),
    };
    fail(call, failure)
}

/// The answer of a call that was throttled, in the service's own words.
pub fn throttle(call: &Call) -> Answer {
    refuse(call, &faults::throttled(service(call)))
}

/// The answer of a call that met an error of the service's own.
pub fn server_error(call: &Call) -> Answer {
    let code = match service(call) {
        Service::Sqs => "InternalError",
        Service::Ssm => "InternalServerError",
        _ => "InternalFailure",
    };
    refuse(call, &ApiError::new(500, code, None))
}

/// The answer of a call whose answer did not come.
pub fn cut_off(call: &Call, code: &str) -> Answer {
    fail(call, Failure::new(Class::Transient, code, "no answer"))
}

fn fail(call: &Call, failure: Failure) -> Answer {
    match call {
        Call::DescribeQueue => Answer::Queue(Err(failure)),
        Call::Receive { .. } => Answer::Received(Err(failure)),
        Call::Extend { .. } | Call::Release { .. } | Call::Delete { .. } | Call::DeleteParameters { .. } => Answer::Entries(Err(failure)),
        Call::DeadLetter { .. } => Answer::DeadLettered(Err(failure)),
        Call::PutParameter { .. } => Answer::Delivered(Err(failure)),
        Call::DescribeInstances { .. } => Answer::Instances(Err(failure)),
        Call::DescribeHooks { .. } => Answer::Hooks(Err(failure)),
        Call::FindWhereabouts { .. } => Answer::Whereabouts(Err(failure)),
        Call::Heartbeat { .. } | Call::Complete { .. } => Answer::Action(Err(failure)),
        Call::FetchKeys { .. } => Answer::Keys(Err(failure)),
        Call::SendCommand { .. } => Answer::CommandSent(Err(failure)),
        Call::FetchOutput { .. } => Answer::Output(Err(failure)),
        Call::Associate { .. } | Call::Disassociate { .. } | Call::Clear { .. } => Answer::Registration(Err(failure)),
        Call::AssociationStatus { .. } => Answer::Status(Err(failure)),
        Call::CheckHealth { .. } => Answer::Health(Err(failure)),
    }
}
