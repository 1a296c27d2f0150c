//! Reading parameters in pages: by path, by description, by history.

use std::ops::Bound;
use std::sync::Arc;

use super::names::{self, Wanted};
use super::parameters::tier;
use super::wire::{
    DescribeParameters, GetParameterHistory, GetParametersByPath, HistoryEntry, HistoryPage, Metadata, MetadataPage, ParameterFilter,
    ParameterPage,
};
use super::{Parameter, Ssm, arn_of};
use crate::simulator::model::caller::Caller;
use crate::simulator::model::context::{Context, epoch_seconds};
use crate::simulator::model::error::{Answer, ApiError};
use crate::simulator::model::operation::Operation;

impl Ssm {
    pub(crate) fn get_parameters_by_path(&self, cx: &Context, caller: &Caller, request: &GetParametersByPath) -> Answer<ParameterPage> {
        let limit = page_size(request.max_results, 10, 10)?;
        if !request.path.starts_with('/') {
            return Err(ApiError::client(
                "ValidationException",
                "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash \"/\".",
            ));
        }
        self.allow(cx, caller, Operation::GetParametersByPath, &request.path)?;
        let path = format!("{}/", request.path.trim_end_matches('/'));
        let from = request.next_token.as_deref().unwrap_or(&path);
        let mut page = ParameterPage::default();
        for (name, parameter) in self.from(from) {
            let Some(rest) = name.strip_prefix(path.as_str()) else {
                break;
            };
            if !request.recursive && rest.contains('/') {
                continue;
            }
            if page.parameters.len() == limit {
                page.next_token = page.parameters.last().map(|last| last.name.clone());
                break;
            }
            let Some(version) = parameter.versions.back() else {
                continue;
            };
            let value = self.shown(name, parameter, version, request.with_decryption)?;
            page.parameters.push(parameter.wire(cx, &Wanted { name, selector: None }, version, value));
        }
        Ok(page)
    }

    pub(crate) fn get_parameter_history(&self, cx: &Context, caller: &Caller, request: &GetParameterHistory) -> Answer<HistoryPage> {
        let limit = page_size(request.max_results, 50, 50)?;
        let wanted = names::check_read(&request.name)?;
        self.allow(cx, caller, Operation::GetParameterHistory, wanted.name)?;
        let parameter = self.parameters.get(wanted.name).ok_or_else(|| ApiError::bare("ParameterNotFound"))?;
        let from = match &request.next_token {
            None => 0,
            Some(token) => token.parse::<u64>().map_err(|_| bad_token())?,
        };
        let mut page = HistoryPage::default();
        for version in parameter.versions.iter().filter(|version| version.number > from) {
            if page.parameters.len() == limit {
                page.next_token = page.parameters.last().map(|last| last.version.to_string());
                break;
            }
            page.parameters.push(HistoryEntry {
                name: wanted.name.into(),
                r#type: parameter.kind.name().into(),
                key_id: version.key_id.clone(),
                last_modified_date: epoch_seconds(version.at),
                last_modified_user: version.by.to_string(),
                value: self.shown(wanted.name, parameter, version, request.with_decryption)?,
                version: version.number,
                labels: Vec::new(),
                tier: tier(parameter.advanced).into(),
                policies: Vec::new(),
                data_type: "text",
            });
        }
        Ok(page)
    }

    pub(crate) fn describe_parameters(&self, cx: &mut Context, _: &Caller, request: &DescribeParameters) -> Answer<MetadataPage> {
        let limit = page_size(request.max_results, 50, 50)?;
        let mut page = MetadataPage::default();
        let token = request.next_token.as_deref().unwrap_or_default();
        // No name has a plus: they only tell the tokens of empty pages apart, since clients stop at a repeated token.
        let from = token.trim_start_matches('+');
        if self.options.empty_pages && cx.rng.bool() && !self.parameters.is_empty() {
            // A page without anything, whose token leads on from the same place.
            page.next_token = Some(format!("+{token}"));
            return Ok(page);
        }
        for (name, parameter) in self.from(from) {
            if !keeps(&request.parameter_filters, name, parameter)? {
                continue;
            }
            if page.parameters.len() == limit {
                page.next_token = page.parameters.last().map(|last| last.name.clone());
                break;
            }
            let Some(version) = parameter.versions.back() else {
                continue;
            };
            page.parameters.push(Metadata {
                name: name.to_string(),
                arn: arn_of(cx, name),
                r#type: parameter.kind.name().into(),
                key_id: version.key_id.clone(),
                last_modified_date: epoch_seconds(version.at),
                last_modified_user: version.by.to_string(),
                version: version.number,
                tier: tier(parameter.advanced).into(),
                policies: Vec::new(),
                data_type: "text",
            });
        }
        Ok(page)
    }

    fn from(&self, after: &str) -> impl Iterator<Item = (&Arc<str>, &Parameter)> {
        self.parameters.range::<str, _>((Bound::Excluded(after), Bound::Unbounded))
    }
}

fn keeps(filters: &[ParameterFilter], name: &str, parameter: &Parameter) -> Answer<bool> {
    for filter in filters {
        let any = |test: &dyn Fn(&str) -> bool| filter.values.iter().any(|value| test(value));
        let kept = match (filter.key.as_str(), filter.option.as_deref().unwrap_or("Equals")) {
            ("Name", "Equals") => any(&|value| name == value),
            ("Name", "BeginsWith") => any(&|value| name.starts_with(value)),
            ("Name", "Contains") => any(&|value| name.contains(value)),
            ("Type", "Equals") => any(&|value| parameter.kind.name() == value),
            ("Tier", "Equals") => any(&|value| tier(parameter.advanced) == value),
            ("Path", option) => any(&|value| {
                let rest = name.strip_prefix(value.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
                rest.is_some_and(|rest| option == "Recursive" || !rest.contains('/'))
            }),
            ("Name" | "Type" | "Tier", option) => {
                return Err(ApiError::client(
                    "InvalidFilterOption",
                    format!("The following filter option is not valid: {option}. Valid options include: [BeginsWith, Equals]."),
                ));
            }
            (other, _) => {
                return Err(ApiError::constraint(other, "parameterFilters.1.member.key", "Member must be a known key"));
            }
        };
        if !kept {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn page_size(asked: Option<i64>, most: i64, default: usize) -> Answer<usize> {
    match asked {
        None => Ok(default),
        Some(size) if (1..=most).contains(&size) => Ok(usize::try_from(size).unwrap_or(default)),
        Some(size) => Err(ApiError::constraint(
            &size.to_string(),
            "maxResults",
            &format!("Member must have value less than or equal to {most} and greater than or equal to 1"),
        )),
    }
}

pub(super) fn bad_token() -> ApiError {
    ApiError::client("InvalidNextToken", "The specified token isn't valid.")
}
