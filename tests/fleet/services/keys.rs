//! Where nodes publish their keys: parameters that anybody may write, parameters of the instance's own, and Run Command.

use std::collections::BTreeMap;

use enrolld::core::call::{BatchAnswer, KeyWanted};
use enrolld::facts::{CommandId, CommandOutput, KeyAnswer, KeyMaterial};
use enrolld::key_material::OwnerRole;
use enrolld::key_material::check::{Engine, check};
use enrolld::key_material::history::{self, Version};
use enrolld::names::InstanceId;
use enrolld::retry::Failure;
use enrolld::simulator::model::caller::Caller;
use enrolld::simulator::model::error::ApiError;
use enrolld::simulator::model::ssm::wire as ssm;
use zeroize::Zeroizing;

use super::failures::of_ssm;
use super::{ACCOUNT, Services};

/// The role of the instances.
const NODE_ROLE: &str = "enrolld-node";
const DOCUMENT: &str = "AWS-RunShellScript";

impl Services {
    pub(super) fn fetch_keys(&mut self, now: u64, wanted: &[KeyWanted]) -> BatchAnswer<KeyAnswer> {
        let name = |one: &KeyWanted| one.parameter.as_ref().unwrap().as_str().to_owned();
        let mut names: Vec<String> = wanted.iter().map(name).collect();
        names.sort_unstable();
        names.dedup();
        let request = ssm::GetParameters { names, with_decryption: true };
        let answer = self.world.get_parameters(now, &self.root, &request).map_err(|error| of_ssm(&error))?;
        let mut answers = Vec::with_capacity(wanted.len());
        for one in wanted {
            answers.push(match answer.parameters.iter().find(|parameter| parameter.name == name(one)) {
                None => Ok(KeyAnswer::Absent),
                Some(parameter) if parameter.version > 1 => self.fetch_history(now, None, one),
                Some(parameter) => Ok(checked(one, &parameter.value)),
            });
        }
        Ok(answers)
    }

    pub(super) fn fetch_owned(&mut self, now: u64, wanted: &KeyWanted) -> Result<KeyAnswer, Failure> {
        let owner = OwnerRole::new(&format!("arn:aws:iam::{ACCOUNT}:role/{NODE_ROLE}")).unwrap();
        self.fetch_history(now, Some(&owner), wanted)
    }

    fn fetch_history(&mut self, now: u64, owner: Option<&OwnerRole>, wanted: &KeyWanted) -> Result<KeyAnswer, Failure> {
        let name = wanted.parameter.as_ref().unwrap().as_str().to_owned();
        let request = ssm::GetParameterHistory { name, with_decryption: true, ..ssm::GetParameterHistory::default() };
        let page = match self.world.get_parameter_history(now, &self.root, &request) {
            Ok(page) => page,
            Err(error) if error.code == "ParameterNotFound" => return Ok(KeyAnswer::Absent),
            Err(error) => return Err(of_ssm(&error)),
        };
        let version = |entry: ssm::HistoryEntry| Version {
            number: entry.version.cast_signed(),
            user: entry.last_modified_user,
            value: Some(Zeroizing::new(entry.value)),
        };
        Ok(history::choose(&Engine::Chef, owner, wanted, page.parameters.into_iter().map(version).collect()))
    }

    /// An instance writes another key than the one it published, if that one is there.
    pub fn rewrite_key(&mut self, now: u64, instance: &str, key: String) -> bool {
        let name = format!("/enrolld/{instance}/public-key");
        let there = ssm::GetParameters { names: vec![name.clone()], with_decryption: false };
        if self.world.get_parameters(now, &self.root, &there).is_ok_and(|found| found.parameters.is_empty()) {
            return false;
        }
        let itself = Caller::instance(ACCOUNT, NODE_ROLE, instance);
        let request = ssm::PutParameter { name, value: key, overwrite: true, ..ssm::PutParameter::default() };
        self.world.put_parameter(now, &itself, &request).is_ok()
    }

    pub(super) fn send_command(&mut self, now: u64, instances: &[InstanceId]) -> Result<CommandId, Failure> {
        if self.spoiled(instances) {
            return Err(of_ssm(&ApiError::client("AccessDeniedException", "not authorized to perform: ssm:SendCommand on one of these")));
        }
        let request = ssm::SendCommand {
            instance_ids: instances.iter().map(|instance| instance.as_str().to_owned()).collect(),
            document_name: DOCUMENT.into(),
            parameters: BTreeMap::from([("commands".into(), vec!["cat key.pem".into()])]),
            timeout_seconds: Some(600),
            ..ssm::SendCommand::default()
        };
        let sent = self.world.send_command(now, &self.root, &request).map_err(|error| of_ssm(&error))?;
        Ok(CommandId(sent.command.command_id.into()))
    }

    pub(super) fn fetch_output(&mut self, now: u64, command: &CommandId, wanted: &KeyWanted) -> Result<CommandOutput, Failure> {
        let request = ssm::GetCommandInvocation {
            command_id: command.0.to_string(),
            instance_id: wanted.instance.as_str().to_owned(),
            plugin_name: None,
        };
        let output = match self.world.get_command_invocation(now, &self.root, &request) {
            Ok(output) => output,
            Err(error) if error.code == "InvocationDoesNotExist" => return Ok(CommandOutput::Running),
            Err(error) => return Err(of_ssm(&error)),
        };
        Ok(match output.status {
            "Pending" | "InProgress" | "Delayed" => CommandOutput::Running,
            "Success" => CommandOutput::Ended(checked(wanted, &output.standard_output_content)),
            status => CommandOutput::Failed(format!("the command ended as {status}")),
        })
    }
}

/// The model's own good keys are good; everything else is looked at as in production.
fn checked(wanted: &KeyWanted, value: &str) -> KeyAnswer {
    if value.starts_with("-----BEGIN PUBLIC KEY-----") {
        KeyAnswer::Found(KeyMaterial::new(Zeroizing::new(value.to_owned())))
    } else {
        check(&Engine::Chef, &wanted.node, Zeroizing::new(value.to_owned()))
    }
}
