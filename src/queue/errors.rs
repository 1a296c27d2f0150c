//! What SQS's error codes mean.

use crate::aws::shared_class;
use crate::retry::Class;

/// The class of a failed call. Source: the common errors of the SQS API and those of the operations used here.
#[must_use]
pub fn classify(code: &str, status: u16) -> Class {
    // The query protocol's names carry a prefix that the JSON protocol's do not; the SDK shows either.
    match code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code) {
        "NonExistentQueue" | "QueueDoesNotExist" | "QueueDeletedRecently" | "InvalidAddress" | "InvalidSecurity" => Class::RouteFault,
        "KmsAccessDenied" | "KmsDisabled" | "KmsInvalidKeyUsage" | "KmsInvalidState" | "KmsNotFound" | "KmsOptInRequired" => {
            Class::RouteFault
        }
        "UnsupportedOperation" => Class::RouteFault,
        // OverLimit: 120,000 messages are in flight.
        "OverLimit" | "RequestThrottled" | "KmsThrottled" => Class::Throttled,
        "ReceiptHandleIsInvalid" | "MessageNotInflight" | "InvalidParameterValue" | "InvalidMessageContents" => Class::Final,
        _ => shared_class(code, status),
    }
}

/// The class of an entry that failed inside a 200: by its code, else by whose fault SQS says it is.
#[must_use]
pub fn classify_entry(code: &str, sender_fault: bool) -> Class {
    classify(code, if sender_fault { 400 } else { 500 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_class() {
        for (code, status, class) in [
            ("AWS.SimpleQueueService.NonExistentQueue", 400, Class::RouteFault),
            ("QueueDoesNotExist", 400, Class::RouteFault),
            ("KmsAccessDenied", 400, Class::RouteFault),
            ("AccessDenied", 403, Class::RouteFault),
            ("OverLimit", 403, Class::Throttled),
            ("AWS.SimpleQueueService.OverLimit", 403, Class::Throttled),
            ("RequestThrottled", 403, Class::Throttled),
            ("ThrottlingException", 400, Class::Throttled),
            ("InternalError", 500, Class::Transient),
            ("ServiceUnavailable", 503, Class::Transient),
            ("ReceiptHandleIsInvalid", 404, Class::Final),
            ("InvalidParameterValue", 400, Class::Final),
        ] {
            assert_eq!(classify(code, status), class, "{code}");
        }
    }

    #[test]
    fn an_expired_handle_is_final_for_its_entry_and_a_fault_of_sqs_is_not() {
        for code in ["ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"] {
            assert_eq!(classify_entry(code, true), Class::Final, "{code}");
        }
        assert_eq!(classify_entry("SomethingNew", false), Class::Transient);
        assert_eq!(classify_entry("SomethingNew", true), Class::Final);
        assert_eq!(classify_entry("RequestThrottled", true), Class::Throttled);
    }
}
