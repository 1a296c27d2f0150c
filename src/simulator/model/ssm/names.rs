//! What a parameter's name may be.

use crate::simulator::model::error::{Answer, ApiError};

/// The rules for a name that is about to be written.
pub(super) fn check_new(name: &str) -> Answer<()> {
    if name.is_empty() || name.chars().count() > 2048 {
        return Err(ApiError::constraint(
            name,
            "name",
            "Member must have length less than or equal to 2048 and greater than or equal to 1",
        ));
    }
    let characters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte));
    if !characters || name.ends_with('/') || name.contains("//") {
        return Err(form());
    }
    if name.contains('/') && !name.starts_with('/') {
        return Err(ApiError::client("ValidationException", "Parameter name must be a fully qualified name."));
    }
    let first = name.trim_start_matches('/').to_ascii_lowercase();
    if first.starts_with("aws") {
        return Err(ApiError::client("AccessDeniedException", format!("No access to reserved parameter name: {name}.")));
    }
    if first.starts_with("ssm") {
        return Err(form());
    }
    if name.trim_start_matches('/').split('/').count() > 15 {
        return Err(ApiError::client(
            "HierarchyLevelLimitExceededException",
            "Parameter name must have at most 15 hierarchy levels, and the hierarchy of this name is deeper.",
        ));
    }
    Ok(())
}

/// What is asked for: the name, and the version where one is named.
pub(super) struct Wanted<'a> {
    pub name: &'a str,
    pub selector: Option<&'a str>,
}

/// The rules for a name that is read: a name or an ARN, and perhaps `:version` or `:label`.
///
/// One that breaks them fails the whole call.
pub(super) fn check_read(text: &str) -> Answer<Wanted<'_>> {
    let malformed = || {
        ApiError::client(
            "ValidationException",
            "Invalid parameter name. Please use correct syntax for referencing a version/label  <name>:<version/label>",
        )
    };
    let path = if text.starts_with("arn:") {
        let resource = text.splitn(6, ':').nth(5).and_then(|resource| resource.strip_prefix("parameter"));
        resource.ok_or_else(malformed)?
    } else {
        text
    };
    let (name, selector) = match path.split_once(':') {
        Some((name, selector)) if !selector.is_empty() && !selector.contains(':') => (name, Some(selector)),
        Some(_) => return Err(malformed()),
        None => (path, None),
    };
    if name.is_empty() || name.len() > 2048 {
        return Err(ApiError::constraint(
            text,
            "name",
            "Member must have length less than or equal to 2048 and greater than or equal to 1",
        ));
    }
    let characters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte));
    if !characters || name.contains("//") || (name.contains('/') && !name.starts_with('/')) {
        return Err(form());
    }
    Ok(Wanted { name, selector })
}

fn form() -> ApiError {
    ApiError::client(
        "ValidationException",
        "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist of \
         sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following \
         3 symbols .-_",
    )
}
