//! The errors that the called operations document, each in the service's own words, and those that every service shares.

use enrolld::simulator::model::faults::{Effect, Fault};

use crate::plan::{CERTIFICATES_EVERY, SECOND};

/// An error of an operation, or of all of a service's.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub operation: &'static str,
    pub status: u16,
    pub code: &'static str,
    /// Whether it ends the action that it meets: a launch may be abandoned for it.
    pub is_final: bool,
}

const fn of(operation: &'static str, status: u16, code: &'static str) -> Row {
    Row { operation, status, code, is_final: false }
}

const fn last(operation: &'static str, status: u16, code: &'static str) -> Row {
    Row { operation, status, code, is_final: true }
}

/// Left out are those that say how a request is written (InvalidBatchEntryId, InvalidAttributeName, …), and ValidationError of Auto
/// Scaling, which the model gives where it is due.
pub const ALL: [Row; 51] = [
    of("sqs:*", 403, "AccessDenied"),
    of("sqs:*", 403, "RequestThrottled"),
    of("sqs:*", 403, "InvalidSecurity"),
    of("sqs:*", 404, "InvalidAddress"),
    of("sqs:*", 400, "QueueDoesNotExist"),
    of("sqs:*", 400, "UnsupportedOperation"),
    of("sqs:*", 500, "InternalError"),
    of("sqs:*", 503, "ServiceUnavailable"),
    of("sqs:*", 403, "ExpiredToken"),
    of("sqs:ReceiveMessage", 403, "OverLimit"),
    of("sqs:ReceiveMessage", 400, "KmsAccessDenied"),
    of("sqs:ReceiveMessage", 400, "KmsDisabled"),
    of("sqs:ReceiveMessage", 400, "KmsInvalidKeyUsage"),
    of("sqs:ReceiveMessage", 400, "KmsInvalidState"),
    of("sqs:ReceiveMessage", 400, "KmsNotFound"),
    of("sqs:ReceiveMessage", 403, "KmsOptInRequired"),
    of("sqs:ReceiveMessage", 400, "KmsThrottled"),
    of("autoscaling:*", 403, "AccessDenied"),
    of("autoscaling:*", 400, "Throttling"),
    of("autoscaling:*", 503, "RequestLimitExceeded"),
    of("autoscaling:*", 500, "ResourceContention"),
    of("autoscaling:*", 500, "InternalFailure"),
    of("autoscaling:*", 503, "ServiceUnavailable"),
    of("autoscaling:*", 403, "ExpiredToken"),
    of("autoscaling:*", 403, "InvalidClientTokenId"),
    of("autoscaling:*", 400, "RequestExpired"),
    of("autoscaling:DescribeAutoScalingInstances", 400, "InvalidNextToken"),
    of("ssm:*", 400, "AccessDeniedException"),
    of("ssm:*", 400, "ThrottlingException"),
    of("ssm:*", 500, "InternalServerError"),
    of("ssm:*", 503, "ServiceUnavailable"),
    of("ssm:*", 400, "ExpiredTokenException"),
    of("ssm:*", 400, "UnrecognizedClientException"),
    last("ssm:GetParameter*", 400, "InvalidKeyId"),
    of("ssm:SendCommand", 400, "InvalidInstanceId"),
    of("ssm:SendCommand", 400, "InvalidDocument"),
    of("ssm:SendCommand", 400, "InvalidDocumentVersion"),
    of("ssm:SendCommand", 400, "InvalidParameters"),
    of("ssm:SendCommand", 400, "InvalidRole"),
    of("ssm:SendCommand", 400, "UnsupportedPlatformType"),
    last("ssm:SendCommand", 400, "DuplicateInstanceId"),
    of("ssm:GetCommandInvocation", 400, "InvocationDoesNotExist"),
    last("ssm:GetCommandInvocation", 400, "InvalidCommandId"),
    of("opsworks-cm:*", 400, "AccessDeniedException"),
    of("opsworks-cm:*", 400, "ThrottlingException"),
    of("opsworks-cm:*", 500, "InternalFailure"),
    of("opsworks-cm:*", 503, "ServiceUnavailable"),
    of("opsworks-cm:*", 400, "ExpiredTokenException"),
    of("opsworks-cm:*", 400, "InvalidStateException"),
    last("opsworks-cm:AssociateNode", 400, "ValidationException"),
    last("opsworks-cm:DisassociateNode", 400, "ValidationException"),
];

/// What PutParameter documents; it ends the launch where it is only this node's certificate that cannot be written.
pub const OF_WRITES: [Row; 14] = [
    of(PUT, 400, "ParameterLimitExceeded"),
    of(PUT, 400, "TooManyUpdates"),
    of(PUT, 400, "HierarchyLevelLimitExceededException"),
    of(PUT, 400, "ParameterPatternMismatchException"),
    last(PUT, 400, "ParameterMaxVersionLimitExceeded"),
    last(PUT, 400, "HierarchyTypeMismatchException"),
    last(PUT, 400, "ParameterAlreadyExists"),
    last(PUT, 400, "PoliciesLimitExceededException"),
    last(PUT, 400, "IncompatiblePolicyException"),
    last(PUT, 400, "InvalidPolicyTypeException"),
    last(PUT, 400, "InvalidPolicyAttributeException"),
    last(PUT, 400, "InvalidAllowedPatternException"),
    last(PUT, 400, "UnsupportedParameterType"),
    last(PUT, 400, "InvalidKeyId"),
];

const PUT: &str = "ssm:PutParameter";

/// Each fleet with certificates has two of those; seeds one after another have others.
pub fn of_writes(seed: u64) -> [Row; 2] {
    let at = |number: u64| OF_WRITES[usize::try_from(number % OF_WRITES.len() as u64).expect("there are few")];
    [at(2 * seed / CERTIFICATES_EVERY), at(2 * seed / CERTIFICATES_EVERY + 1)]
}

/// Each seed has two of them, so that a hundred seeds have had them all more than three times.
pub fn of_seed(seed: u64) -> [Row; 2] {
    let at = |number: u64| ALL[usize::try_from(number % ALL.len() as u64).expect("there are few")];
    [at(2 * seed), at(2 * seed + 1)]
}

/// What comes over the fleet: some of the calls, for as long as anything goes wrong, and all of them for a while.
pub fn faults(row: Row, span: u64) -> Vec<Fault> {
    let fault = |operation: &str, probability, after_ms, for_ms| Fault {
        id: None,
        operation: operation.into(),
        effect: Effect::Error { status: row.status, code: Some(row.code.into()), message: Some("as documented".into()) },
        probability,
        limit: None,
        after_ms,
        for_ms: Some(for_ms),
    };
    // The one name that stands for two.
    let operations: &[&str] = match row.operation {
        "ssm:GetParameter*" => &["ssm:GetParameters", "ssm:GetParameterHistory"],
        _ => &[row.operation],
    };
    // A fleet writes a few certificates, and makes hundreds of other calls.
    let probability = if row.operation == PUT { 0.4 } else { 0.1 };
    let both = |operation: &&str| [fault(operation, probability, 0, span), fault(operation, 1.0, span / 4, (span / 10).min(30 * SECOND))];
    operations.iter().flat_map(both).collect()
}
