//! The JSON services: SQS, Systems Manager, OpsWorks CM.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::simulator::model::World;
use crate::simulator::model::caller::Caller;
use crate::simulator::model::error::{Answer, ApiError};
use crate::simulator::model::operation::Operation;

/// Reads a request.
///
/// # Errors
/// `SerializationException`, as the services answer what they cannot read.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Answer<T> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| ApiError::client("SerializationException", error.to_string()))
}

pub(super) fn write<T: Serialize>(answer: &T) -> Vec<u8> {
    serde_json::to_vec(answer).expect("answers have text keys and always serialise")
}

macro_rules! dispatch {
    ($world:ident, $now:ident, $caller:ident, $operation:ident, $body:ident; $($name:ident => $method:ident,)+) => {
        match $operation {
            $(Operation::$name => $world.$method($now, $caller, &read($body)?).map(|answer| write(&answer)),)+
            _ => Err(ApiError::new(404, "UnknownOperationException", None)),
        }
    };
}

pub(super) fn call(world: &mut World, now: u64, caller: &Caller, operation: Operation, body: &[u8]) -> Answer<Vec<u8>> {
    dispatch! { world, now, caller, operation, body;
        ReceiveMessage => receive_message,
        DeleteMessageBatch => delete_message_batch,
        DeleteMessage => delete_message,
        ChangeMessageVisibilityBatch => change_message_visibility_batch,
        ChangeMessageVisibility => change_message_visibility,
        SendMessage => send_message,
        SendMessageBatch => send_message_batch,
        CreateQueue => create_queue,
        GetQueueUrl => get_queue_url,
        GetQueueAttributes => get_queue_attributes,
        SetQueueAttributes => set_queue_attributes,
        DeleteQueue => delete_queue,
        ListQueues => list_queues,
        PurgeQueue => purge_queue,
        GetParameters => get_parameters,
        GetParameter => get_parameter,
        GetParametersByPath => get_parameters_by_path,
        GetParameterHistory => get_parameter_history,
        PutParameter => put_parameter,
        DeleteParameter => delete_parameter,
        DeleteParameters => delete_parameters,
        DescribeParameters => describe_parameters,
        SendCommand => send_command,
        GetCommandInvocation => get_command_invocation,
        ListCommandInvocations => list_command_invocations,
        DescribeInstanceInformation => describe_instance_information,
        CreateDocument => create_document,
        GetDocument => get_document,
        DescribeDocument => describe_document,
        AssociateNode => associate_node,
        DescribeNodeAssociationStatus => describe_node_association_status,
        DisassociateNode => disassociate_node,
        DescribeServers => describe_servers,
    }
}
