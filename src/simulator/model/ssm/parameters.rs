//! Parameters: put, get, delete.

use std::collections::VecDeque;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use aws_smithy_types::base64;

use super::names::{self, Wanted};
use super::wire::{
    DeleteParameter, DeleteParameters, Deleted, GetParameter, GetParameters, Nothing, OneParameter, Parameters, Put, PutParameter,
};
use super::{Kind, Parameter, Ssm, Version, arn_of, wire};
use crate::simulator::model::caller::{Caller, denial};
use crate::simulator::model::context::{Context, epoch_seconds};
use crate::simulator::model::error::{Answer, ApiError};
use crate::simulator::model::operation::Operation;

/// Older versions go when there are more.
const VERSIONS: usize = 100;

impl Ssm {
    pub(crate) fn put_parameter(&mut self, cx: &mut Context, caller: &Caller, request: &PutParameter) -> Answer<Put> {
        names::check_new(&request.name)?;
        self.allow(cx, caller, Operation::PutParameter, &request.name)?;
        let named = match request.r#type.as_deref() {
            None => None,
            Some("String") => Some(Kind::String),
            Some("StringList") => Some(Kind::StringList),
            Some("SecureString") => Some(Kind::SecureString),
            Some(other) => {
                return Err(ApiError::constraint(other, "type", "Member must satisfy enum value set: [SecureString, StringList, String]"));
            }
        };
        let advanced = match request.tier.as_deref() {
            None | Some("Standard" | "Intelligent-Tiering") => false,
            Some("Advanced") => true,
            Some(other) => {
                return Err(ApiError::constraint(
                    other,
                    "tier",
                    "Member must satisfy enum value set: [Standard, Advanced, Intelligent-Tiering]",
                ));
            }
        };
        check_value(&request.value, advanced, request.tier.as_deref() == Some("Intelligent-Tiering"))?;
        let full = self.standard >= self.options.parameter_limit && !advanced;
        match self.parameters.entry(request.name.as_str().into()) {
            Entry::Occupied(_) if !request.overwrite => Err(ApiError::client(
                "ParameterAlreadyExists",
                "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
            )),
            Entry::Occupied(mut entry) => {
                let parameter = entry.get_mut();
                if named.is_some_and(|kind| kind != parameter.kind) {
                    return Err(ApiError::client(
                        "HierarchyTypeMismatchException",
                        "A parameter's type cannot be changed; delete it and create it again.",
                    ));
                }
                let number = parameter.versions.back().map_or(0, |version| version.number) + 1;
                parameter.versions.push_back(Version::new(cx, caller, number, request, parameter.kind));
                if parameter.versions.len() > VERSIONS {
                    parameter.versions.pop_front();
                }
                Ok(Put { version: number, tier: tier(parameter.advanced).into() })
            }
            Entry::Vacant(entry) => {
                let kind = named
                    .ok_or_else(|| ApiError::client("ValidationException", "A parameter type is required when you create a parameter."))?;
                if full {
                    return Err(ApiError::client(
                        "ParameterLimitExceeded",
                        "You have exceeded the number of parameters for this account. Delete one or more parameters and try again.",
                    ));
                }
                let versions = VecDeque::from([Version::new(cx, caller, 1, request, kind)]);
                entry.insert(Parameter { kind, advanced, versions });
                self.standard += usize::from(!advanced);
                Ok(Put { version: 1, tier: tier(advanced).into() })
            }
        }
    }

    pub(crate) fn get_parameter(&self, cx: &Context, caller: &Caller, request: &GetParameter) -> Answer<OneParameter> {
        let wanted = names::check_read(&request.name)?;
        self.allow(cx, caller, Operation::GetParameter, wanted.name)?;
        match self.read(cx, &wanted, request.with_decryption)? {
            Some(parameter) => Ok(OneParameter { parameter }),
            None if self.parameters.contains_key(wanted.name) => Err(ApiError::client(
                "ParameterVersionNotFound",
                format!(
                    "Systems Manager could not find version {} of {}. Verify the version and try again.",
                    wanted.selector.unwrap_or_default(),
                    wanted.name
                ),
            )),
            None => Err(ApiError::bare("ParameterNotFound")),
        }
    }

    /// One name that is malformed, denied or cannot be decrypted fails the call; one that is unknown does not.
    pub(crate) fn get_parameters(&mut self, cx: &Context, caller: &Caller, request: &GetParameters) -> Answer<Parameters> {
        check_count(&request.names)?;
        let mut answer = Parameters::default();
        for name in &request.names {
            let wanted = names::check_read(name)?;
            self.allow(cx, caller, Operation::GetParameters, wanted.name)?;
            match self.read(cx, &wanted, request.with_decryption)? {
                Some(parameter) => answer.parameters.push(parameter),
                None => {
                    self.missed(cx, name);
                    answer.invalid_parameters.push(name.clone());
                }
            }
        }
        Ok(answer)
    }

    pub(crate) fn delete_parameter(&mut self, cx: &Context, caller: &Caller, request: &DeleteParameter) -> Answer<Nothing> {
        let wanted = names::check_read(&request.name)?;
        self.allow(cx, caller, Operation::DeleteParameter, wanted.name)?;
        if self.remove(wanted.name) { Ok(Nothing {}) } else { Err(ApiError::bare("ParameterNotFound")) }
    }

    pub(crate) fn delete_parameters(&mut self, cx: &Context, caller: &Caller, request: &DeleteParameters) -> Answer<Deleted> {
        check_count(&request.names)?;
        for name in &request.names {
            let wanted = names::check_read(name)?;
            self.allow(cx, caller, Operation::DeleteParameters, wanted.name)?;
        }
        let mut answer = Deleted::default();
        for name in &request.names {
            if self.remove(name) {
                answer.deleted_parameters.push(name.clone());
            } else {
                answer.invalid_parameters.push(name.clone());
            }
        }
        Ok(answer)
    }

    fn remove(&mut self, name: &str) -> bool {
        let removed = self.parameters.remove(name);
        self.standard -= usize::from(removed.as_ref().is_some_and(|parameter| !parameter.advanced));
        removed.is_some()
    }

    /// Refuses where the option `denied_prefixes` names this parameter.
    pub(super) fn allow(&self, cx: &Context, caller: &Caller, operation: Operation, name: &str) -> Answer<()> {
        if self.options.denied_prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(denial(caller, operation, Some(&arn_of(cx, name))));
        }
        Ok(())
    }

    fn read(&self, cx: &Context, wanted: &Wanted<'_>, decrypt: bool) -> Answer<Option<wire::Parameter>> {
        let Some(parameter) = self.parameters.get(wanted.name) else {
            return Ok(None);
        };
        let version = match wanted.selector {
            None => parameter.versions.back(),
            Some(selector) => {
                let number = selector.parse::<u64>().ok();
                parameter.versions.iter().find(|version| Some(version.number) == number)
            }
        };
        let Some(version) = version else {
            return Ok(None);
        };
        let value = self.shown(wanted.name, parameter, version, decrypt)?;
        Ok(Some(parameter.wire(cx, wanted, version, value)))
    }

    /// A value as a call may see it: a SecureString only in clear when decryption was asked for, and possible.
    pub(super) fn shown(&self, name: &str, parameter: &Parameter, version: &Version, decrypt: bool) -> Answer<String> {
        if parameter.kind != Kind::SecureString {
            return Ok(version.value.clone());
        }
        if !decrypt {
            return Ok(base64::encode(format!("{name}:{}", version.number)));
        }
        if self.options.undecryptable_prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(ApiError::client(
                "AccessDeniedException",
                "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.",
            ));
        }
        Ok(version.value.clone())
    }
}

impl Version {
    fn new(cx: &Context, caller: &Caller, number: u64, request: &PutParameter, kind: Kind) -> Self {
        let key = || request.key_id.clone().unwrap_or_else(|| "alias/aws/ssm".into());
        Self {
            number,
            value: request.value.clone(),
            at: cx.now,
            by: Arc::clone(&caller.arn),
            key_id: (kind == Kind::SecureString).then(key),
        }
    }
}

impl Parameter {
    pub(super) fn wire(&self, cx: &Context, wanted: &Wanted<'_>, version: &Version, value: String) -> wire::Parameter {
        wire::Parameter {
            name: wanted.name.into(),
            r#type: self.kind.name().into(),
            value,
            version: version.number,
            selector: wanted.selector.map(|selector| format!(":{selector}")),
            last_modified_date: epoch_seconds(version.at),
            arn: arn_of(cx, wanted.name),
            data_type: "text",
        }
    }
}

pub(super) const fn tier(advanced: bool) -> &'static str {
    if advanced { "Advanced" } else { "Standard" }
}

fn check_value(value: &str, advanced: bool, any: bool) -> Answer<()> {
    if value.is_empty() {
        return Err(ApiError::constraint("", "value", "Member must have length greater than or equal to 1"));
    }
    let limit = if advanced || any { 8192 } else { 4096 };
    if value.chars().count() > limit {
        return Err(ApiError::client(
            "ValidationException",
            format!("{} tier parameters support a maximum parameter value of {limit} characters.", tier(advanced || any)),
        ));
    }
    Ok(())
}

fn check_count(names: &[String]) -> Answer<()> {
    if names.is_empty() {
        return Err(ApiError::constraint("[]", "names", "Member must have length greater than or equal to 1"));
    }
    if names.len() > 10 {
        return Err(ApiError::constraint(&format!("[{}]", names.join(", ")), "names", "Member must have length less than or equal to 10"));
    }
    Ok(())
}
