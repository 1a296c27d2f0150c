//! The errors of SQS, with the older protocol's code beside each.

use crate::simulator::model::error::ApiError;

const MODELLED: &str = "com.amazonaws.sqs#";
const CORAL: &str = "com.amazon.coral.service#";

fn error(namespace: &'static str, code: &'static str, query_code: &'static str, message: String) -> ApiError {
    ApiError { query_code: Some(query_code), namespace: Some(namespace), ..ApiError::client(code, message) }
}

pub fn no_such_queue() -> ApiError {
    error(MODELLED, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.".into())
}

pub fn queue_exists(message: String) -> ApiError {
    error(MODELLED, "QueueNameExists", "QueueAlreadyExists", message)
}

pub fn attribute_name(name: &str) -> ApiError {
    error(MODELLED, "InvalidAttributeName", "InvalidAttributeName", format!("Unknown Attribute {name}."))
}

pub fn attribute_value(name: &str) -> ApiError {
    error(MODELLED, "InvalidAttributeValue", "InvalidAttributeValue", format!("Invalid value for the parameter {name}."))
}

pub fn parameter(message: String) -> ApiError {
    error(CORAL, "InvalidParameterValueException", "InvalidParameterValue", message)
}

pub fn parameter_value(value: impl std::fmt::Display, name: &str, reason: &str) -> ApiError {
    parameter(format!("Value {value} for parameter {name} is invalid. Reason: {reason}"))
}

pub fn missing(name: &str) -> ApiError {
    error(CORAL, "MissingRequiredParameterException", "MissingParameter", format!("The request must contain the parameter {name}."))
}

pub fn bad_handle(handle: &str) -> ApiError {
    error(
        MODELLED,
        "ReceiptHandleIsInvalid",
        "ReceiptHandleIsInvalid",
        format!("The input receipt handle \"{handle}\" is not a valid receipt handle."),
    )
}

pub fn not_in_flight() -> ApiError {
    let mut error = error(MODELLED, "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", String::new());
    error.message = None;
    error
}

pub fn empty_batch(entry: &str) -> ApiError {
    error(
        MODELLED,
        "EmptyBatchRequest",
        "AWS.SimpleQueueService.EmptyBatchRequest",
        format!("There should be at least one {entry} in the request."),
    )
}

pub fn too_many_entries(count: usize) -> ApiError {
    error(
        MODELLED,
        "TooManyEntriesInBatchRequest",
        "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        format!("Maximum number of entries per request are 10. You have sent {count}."),
    )
}

pub fn repeated_id(id: &str) -> ApiError {
    error(MODELLED, "BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", format!("Id {id} repeated."))
}

pub fn bad_entry_id() -> ApiError {
    error(
        MODELLED,
        "InvalidBatchEntryId",
        "AWS.SimpleQueueService.InvalidBatchEntryId",
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.".into(),
    )
}

pub fn batch_too_long(bytes: usize) -> ApiError {
    error(
        MODELLED,
        "BatchRequestTooLong",
        "AWS.SimpleQueueService.BatchRequestTooLong",
        format!("Batch requests cannot be longer than 1048576 bytes. You have sent {bytes} bytes."),
    )
}

pub fn bad_contents() -> ApiError {
    error(
        MODELLED,
        "InvalidMessageContents",
        "InvalidMessageContents",
        "Invalid binary character was found in the message body; only #x9, #xA, #xD, #x20 to #xD7FF, #xE000 to #xFFFD and #x10000 to #x10FFFF are allowed."
            .into(),
    )
}

pub fn over_limit() -> ApiError {
    ApiError { status: 403, ..error(MODELLED, "OverLimit", "OverLimit", "Too many messages in flight: at most 120000 are allowed.".into()) }
}

pub fn purge_in_progress(name: &str) -> ApiError {
    ApiError {
        status: 403,
        ..error(
            MODELLED,
            "PurgeQueueInProgress",
            "AWS.SimpleQueueService.PurgeQueueInProgress",
            format!("Only one PurgeQueue operation on {name} is allowed every 60 seconds."),
        )
    }
}

pub fn deleted_recently() -> ApiError {
    error(
        MODELLED,
        "QueueDeletedRecently",
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.".into(),
    )
}
