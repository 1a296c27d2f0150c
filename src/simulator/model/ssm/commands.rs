//! Run Command.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::browse::{bad_token, page_size};
use super::documents::RUN_SHELL_SCRIPT;
use super::wire::{
    Command as CommandAnswer, GetCommandInvocation, Invocation as InvocationAnswer, InvocationPage, InvocationSummary,
    ListCommandInvocations, PluginResult, SendCommand, SentCommand,
};
use super::{Command, Invocation, Ssm};
use crate::simulator::model::agent::CommandOutcome;
use crate::simulator::model::caller::Caller;
use crate::simulator::model::context::{Context, Event, epoch_seconds, iso};
use crate::simulator::model::error::{Answer, ApiError};

/// What GetCommandInvocation shows of the output; the rest is cut.
const SHOWN: usize = 24_000;

/// What a command finds on an instance.
pub(crate) struct Run {
    pub outcome: CommandOutcome,
    /// What it prints, where it finds anything to print.
    pub output: Option<String>,
}

impl Ssm {
    /// Fails as a whole while any agent is not registered.
    pub(crate) fn send_command(
        &mut self,
        cx: &mut Context,
        request: &SendCommand,
        registered: impl Fn(&str) -> bool,
    ) -> Answer<SentCommand> {
        let instances = targets(request)?;
        self.check_document(request)?;
        if request.timeout_seconds.is_some_and(|seconds| !(30..=2_592_000).contains(&seconds)) {
            return Err(ApiError::constraint(
                &request.timeout_seconds.unwrap_or_default().to_string(),
                "timeoutSeconds",
                "Member must have value greater than or equal to 30",
            ));
        }
        let absent: Vec<&str> = instances.iter().copied().filter(|instance| !registered(instance)).collect();
        if !absent.is_empty() {
            return Err(ApiError::client(
                "InvalidInstanceId",
                format!("Instances [[{}]] not in a valid state for account {}", absent.join(", "), cx.settings.account),
            ));
        }
        let id: Arc<str> = cx.uuid().into();
        let known = cx.now + self.options.invocation_known_after_ms;
        for instance in &instances {
            let event = Event::CommandEnds { command: Arc::clone(&id), instance: (*instance).into() };
            cx.at(known + self.options.command_runs_ms, event);
        }
        let invocation = || Invocation {
            status: "InProgress",
            details: "InProgress",
            code: -1,
            started: known,
            ended: None,
            output: String::new(),
            error: String::new(),
        };
        let command = Command {
            document: request.document_name.clone(),
            parameters: request.parameters.clone(),
            comment: request.comment.clone(),
            created: cx.now,
            invocations: instances.iter().map(|instance| ((*instance).to_owned(), invocation())).collect(),
        };
        let answer = CommandAnswer {
            command_id: id.to_string(),
            document_name: request.document_name.clone(),
            document_version: "$DEFAULT".into(),
            comment: request.comment.clone(),
            expires_after: epoch_seconds(cx.now + 7_200_000),
            parameters: request.parameters.clone(),
            instance_ids: request.instance_ids.clone(),
            targets: request.targets.clone(),
            requested_date_time: epoch_seconds(cx.now),
            status: "Pending",
            status_details: "Pending",
            max_concurrency: "50",
            max_errors: "0",
            target_count: instances.len(),
            completed_count: 0,
            error_count: 0,
        };
        self.commands.insert(Arc::clone(&id), command);
        self.commands_in_order.push(id);
        Ok(SentCommand { command: answer })
    }

    fn check_document(&self, request: &SendCommand) -> Answer<()> {
        let (name, document) = self.document(&request.document_name)?;
        for parameter in request.parameters.keys() {
            if !document.parameters.iter().any(|(known, _)| known == parameter) {
                return Err(ApiError::client("InvalidParameters", format!("Parameter \"{parameter}\" is not defined in the document.")));
            }
        }
        if name == RUN_SHELL_SCRIPT && request.parameters.get("commands").is_none_or(Vec::is_empty) {
            return Err(ApiError::client("InvalidParameters", "Parameters [commands] are required but not specified."));
        }
        Ok(())
    }

    /// A command has run on an instance; `run` is what it found there, nothing where the instance is gone.
    pub(crate) fn command_ends(&mut self, cx: &Context, command: &str, instance: &str, run: Option<Run>) {
        let invocation = self.commands.get_mut(command).and_then(|command| command.invocations.get_mut(instance));
        let Some(invocation) = invocation else { return };
        invocation.ended = Some(cx.now);
        let outcome = run.as_ref().map_or(CommandOutcome::Undeliverable, |run| run.outcome);
        let output = run.and_then(|run| run.output);
        (invocation.status, invocation.details, invocation.code) = match (outcome, &output) {
            (CommandOutcome::Success, Some(_)) => ("Success", "Success", 0),
            (CommandOutcome::Success | CommandOutcome::Failed, _) => ("Failed", "Failed", 1),
            (CommandOutcome::TimedOut, _) => ("TimedOut", "Execution Timed Out", 137),
            (CommandOutcome::Undeliverable, _) => ("Failed", "Undeliverable", -1),
        };
        match output {
            Some(output) if invocation.code == 0 => invocation.output = output,
            _ => invocation.error = "there is no key on this instance\nfailed to run commands: exit status 1".into(),
        }
    }

    pub(crate) fn get_command_invocation(&self, cx: &Context, _: &Caller, request: &GetCommandInvocation) -> Answer<InvocationAnswer> {
        if request.command_id.len() != 36 {
            return Err(ApiError::bare("InvalidCommandId"));
        }
        let command = self.commands.get(request.command_id.as_str());
        let found = command.and_then(|command| Some((command, command.invocations.get(&request.instance_id)?)));
        let Some((command, invocation)) = found.filter(|(_, invocation)| cx.now >= invocation.started) else {
            return Err(ApiError::bare("InvocationDoesNotExist"));
        };
        let elapsed = invocation.ended.map(|ended| ended.saturating_sub(invocation.started));
        Ok(InvocationAnswer {
            command_id: request.command_id.clone(),
            instance_id: request.instance_id.clone(),
            comment: command.comment.clone(),
            document_name: command.document.clone(),
            document_version: "$DEFAULT".into(),
            plugin_name: "aws:runShellScript".into(),
            response_code: invocation.code,
            execution_start_date_time: iso(invocation.started),
            execution_elapsed_time: elapsed.map(|ms| format!("PT{}.{:03}S", ms / 1000, ms % 1000)).unwrap_or_default(),
            execution_end_date_time: invocation.ended.map(iso).unwrap_or_default(),
            status: invocation.status,
            status_details: invocation.details,
            standard_output_content: invocation.output.chars().take(SHOWN).collect(),
            standard_output_url: String::new(),
            standard_error_content: invocation.error.clone(),
            standard_error_url: String::new(),
        })
    }

    pub(crate) fn list_command_invocations(&self, cx: &Context, _: &Caller, request: &ListCommandInvocations) -> Answer<InvocationPage> {
        let limit = page_size(request.max_results, 50, 50)?;
        let from = match &request.next_token {
            None => 0,
            Some(token) => token.parse::<usize>().map_err(|_| bad_token())?,
        };
        let chosen: Vec<&Arc<str>> = match &request.command_id {
            Some(id) => {
                let known = self.commands.get_key_value(id.as_str()).map(|(id, _)| id);
                vec![known.ok_or_else(|| ApiError::bare("InvalidCommandId"))?]
            }
            None => self.commands_in_order.iter().rev().collect(),
        };
        let all = chosen.into_iter().flat_map(|id| {
            let command = &self.commands[id];
            command.invocations.iter().map(move |(instance, invocation)| (id, command, instance, invocation))
        });
        let mut wanted = all
            .filter(|(_, _, instance, _)| request.instance_id.as_ref().is_none_or(|wanted| wanted == *instance))
            .filter(|(.., invocation)| cx.now >= invocation.started)
            .skip(from);
        let mut page = InvocationPage::default();
        for (id, command, instance, invocation) in wanted.by_ref().take(limit) {
            page.command_invocations.push(summary(id, command, instance, invocation, request.details));
        }
        page.next_token = wanted.next().map(|_| (from + limit).to_string());
        Ok(page)
    }
}

fn summary(id: &str, command: &Command, instance: &str, invocation: &Invocation, details: bool) -> InvocationSummary {
    let plugin = || PluginResult {
        name: "aws:runShellScript".into(),
        status: invocation.status,
        status_details: invocation.details,
        response_code: invocation.code,
        // This call shows less than GetCommandInvocation does.
        output: invocation.output.chars().take(2500).collect(),
    };
    InvocationSummary {
        command_id: id.into(),
        instance_id: instance.into(),
        comment: command.comment.clone(),
        document_name: command.document.clone(),
        document_version: "$DEFAULT".into(),
        requested_date_time: epoch_seconds(command.created),
        status: invocation.status,
        status_details: invocation.details,
        command_plugins: if details { vec![plugin()] } else { Vec::new() },
    }
}

fn targets(request: &SendCommand) -> Answer<Vec<&str>> {
    let mut instances: Vec<&str> = request.instance_ids.iter().map(String::as_str).collect();
    for target in &request.targets {
        if target.key != "InstanceIds" {
            return Err(ApiError::client("ValidationException", "Only the target key InstanceIds is simulated."));
        }
        instances.extend(target.values.iter().map(String::as_str));
    }
    if instances.is_empty() {
        return Err(ApiError::client("ValidationException", "Either InstanceIds or Targets must be specified."));
    }
    if instances.len() > 50 {
        return Err(ApiError::constraint(
            &format!("[{}]", instances.join(", ")),
            "instanceIds",
            "Member must have length less than or equal to 50",
        ));
    }
    let mut seen = BTreeMap::new();
    for instance in &instances {
        if seen.insert(*instance, ()).is_some() {
            return Err(ApiError::bare("DuplicateInstanceId"));
        }
        if !is_instance_id(instance) {
            return Err(ApiError::constraint(
                instance,
                "instanceIds",
                "Member must satisfy regular expression pattern: (^i-(\\w{8}|\\w{17})$)|(^mi-\\w{17}$)",
            ));
        }
    }
    Ok(instances)
}

fn is_instance_id(text: &str) -> bool {
    let word = |rest: &str, lengths: &[usize]| {
        lengths.contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    text.strip_prefix("i-").is_some_and(|rest| word(rest, &[8, 17])) || text.strip_prefix("mi-").is_some_and(|rest| word(rest, &[17]))
}
