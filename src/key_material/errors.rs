//! What SSM's error codes mean.

use crate::aws::shared_class;
use crate::retry::Class;

/// The class of a failed call. Source: the errors of GetParameters, GetParameterHistory, PutParameter, DeleteParameters, SendCommand and
/// GetCommandInvocation.
#[must_use]
pub fn classify(code: &str, status: u16) -> Class {
    match code {
        // SendCommand fails as a whole until the agent of each instance has registered.
        "InvalidInstanceId" => Class::NotReady,
        "TooManyUpdates" => Class::Throttled,
        // Nobody's certificate can be written: there are as many parameters as the account may have, or the name that the route gives
        // them is none that SSM takes.
        "ParameterLimitExceeded" | "HierarchyLevelLimitExceededException" | "ParameterPatternMismatchException" => Class::RouteFault,
        // The pages of a history are begun anew.
        "InvalidNextToken" => Class::Transient,
        // The command's document, which the route names.
        "InvalidDocument"
        | "InvalidDocumentVersion"
        | "InvalidParameters"
        | "InvalidRole"
        | "InvalidOutputFolder"
        | "InvalidNotificationConfig"
        | "MaxDocumentSizeExceeded"
        | "UnsupportedPlatformType" => Class::RouteFault,
        // This one parameter's own: what it is encrypted with cannot be used, the oldest version is labelled and cannot go, or it is of
        // another type.
        "InvalidKeyId" | "ParameterMaxVersionLimitExceeded" | "HierarchyTypeMismatchException" | "ParameterAlreadyExists" => Class::Final,
        "ValidationException" | "ParameterNotFound" | "DuplicateInstanceId" | "InvalidCommandId" => Class::Final,
        _ => shared_class(code, status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_class() {
        for (code, status, class) in [
            ("InvalidInstanceId", 400, Class::NotReady),
            ("ThrottlingException", 400, Class::Throttled),
            ("TooManyUpdates", 400, Class::Throttled),
            ("InternalServerError", 500, Class::Transient),
            ("InvalidDocument", 400, Class::RouteFault),
            ("AccessDeniedException", 400, Class::RouteFault),
            ("UnrecognizedClientException", 400, Class::RouteFault),
            ("ExpiredTokenException", 400, Class::RouteFault),
            ("ValidationException", 400, Class::Final),
            ("InvalidKeyId", 400, Class::Final),
            ("InvalidNextToken", 400, Class::Transient),
            ("ParameterLimitExceeded", 400, Class::RouteFault),
            ("HierarchyLevelLimitExceededException", 400, Class::RouteFault),
            ("ParameterPatternMismatchException", 400, Class::RouteFault),
            ("ParameterMaxVersionLimitExceeded", 400, Class::Final),
            // What belongs to things that are never asked for.
            ("PoliciesLimitExceededException", 400, Class::Final),
            ("UnsupportedParameterType", 400, Class::Final),
        ] {
            assert_eq!(classify(code, status), class, "{code}");
        }
    }
}
