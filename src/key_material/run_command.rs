//! SSM Run Command: a document that prints a node's key material.

use std::collections::HashMap;

use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::CommandInvocationStatus;
use zeroize::Zeroizing;

use super::Document;
use super::check::{self, Engine};
use super::errors::classify;
use crate::aws::{detail, from_sdk};
use crate::core::call::KeyWanted;
use crate::facts::{CommandId, CommandOutput};
use crate::names::InstanceId;
use crate::retry::{Class, Failure};

/// How long a command may wait for an agent, in seconds; afterwards it is sent anew. The API's default is an hour, longer than
/// many a launch has.
const DELIVERY_S: i32 = 600;

/// Sends a document.
pub(super) async fn send(client: &Client, document: &Document, instances: &[InstanceId]) -> Result<CommandId, Failure> {
    let mut request = client
        .send_command()
        .document_name(&document.name)
        .set_document_version(document.version.clone())
        .set_instance_ids(Some(instances.iter().map(|instance| instance.as_str().to_owned()).collect()))
        .timeout_seconds(DELIVERY_S)
        .comment("enrolld: read the node's public key");
    if !document.commands.is_empty() {
        request = request.set_parameters(Some(HashMap::from([("commands".to_owned(), document.commands.clone())])));
    }
    let output = request.send().await.map_err(|error| from_sdk(&error, classify))?;
    let id = output.command.and_then(|command| command.command_id);
    let id = id.ok_or_else(|| Failure::new(Class::Transient, "response", "SendCommand answered without a command id"))?;
    Ok(CommandId(id.into()))
}

/// Reads what a command printed on a node. Neither its output nor its error output is ever repeated in a message.
pub(super) async fn fetch_output(
    client: &Client,
    engine: &Engine,
    command: &CommandId,
    wanted: &KeyWanted,
) -> Result<CommandOutput, Failure> {
    let request = client.get_command_invocation().command_id(command.0.as_ref()).instance_id(wanted.instance.as_str());
    let output = match request.send().await {
        Ok(output) => output,
        // So it answers for a moment after the command was sent.
        Err(error) if error.as_service_error().is_some_and(|error| error.is_invocation_does_not_exist()) => {
            return Ok(CommandOutput::Running);
        }
        Err(error) => return Err(from_sdk(&error, classify)),
    };
    let printed = Zeroizing::new(output.standard_output_content.unwrap_or_default());
    drop(output.standard_error_content.map(Zeroizing::new));
    Ok(match output.status {
        Some(CommandInvocationStatus::Pending | CommandInvocationStatus::InProgress | CommandInvocationStatus::Delayed) => {
            CommandOutput::Running
        }
        Some(CommandInvocationStatus::Success) => CommandOutput::Ended(check::check(engine, &wanted.node, printed)),
        // What a command printed before it failed is no key; but a private one has leaked all the same.
        Some(_) if check::holds_private_key(&printed) => CommandOutput::Ended(check::check(engine, &wanted.node, printed)),
        Some(status) => {
            let more = output.status_details.unwrap_or_default();
            CommandOutput::Failed(detail(&format!("the command ended as {status} ({more}), response code {}", output.response_code)))
        }
        None => return Err(Failure::new(Class::Transient, "response", "GetCommandInvocation answered without a status")),
    })
}
