//! The rules for names and engine attributes.

use super::Engine;
use super::wire::EngineAttribute;
use crate::simulator::model::error::{Answer, ApiError};

/// The longest value of any member of these requests.
const LONGEST: usize = 10_000;

pub(super) fn server_name(name: Option<&str>) -> Answer<&str> {
    let name = present(name, "serverName")?;
    if name.is_empty() || name.len() > 40 {
        return Err(ApiError::constraint(
            name,
            "serverName",
            "Member must have length less than or equal to 40 and greater than or equal to 1",
        ));
    }
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if !first || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(ApiError::constraint(name, "serverName", "Member must satisfy regular expression pattern: [a-zA-Z][a-zA-Z0-9\\-]*"));
    }
    Ok(name)
}

pub(super) fn node_name(name: Option<&str>) -> Answer<&str> {
    let name = present(name, "nodeName")?;
    if name.len() > LONGEST {
        return Err(ApiError::constraint("…", "nodeName", "Member must have length less than or equal to 10000"));
    }
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte)) {
        return Err(ApiError::constraint(name, "nodeName", "Member must satisfy regular expression pattern: ^[\\-\\p{Alnum}_:.]+$"));
    }
    Ok(name)
}

pub(super) fn present<'a>(value: Option<&'a str>, member: &str) -> Answer<&'a str> {
    value.ok_or_else(|| {
        ApiError::client(
            "ValidationException",
            format!("1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"),
        )
    })
}

/// The engine attributes of an association; the value is the key or the certificate request.
pub(super) fn association(engine: Engine, attributes: &[EngineAttribute]) -> Answer<&str> {
    bounded(attributes)?;
    match engine {
        Engine::Chef => {
            only(attributes, &["CHEF_ORGANIZATION", "CHEF_NODE_PUBLIC_KEY"])?;
            value(attributes, "CHEF_ORGANIZATION")?;
            value(attributes, "CHEF_NODE_PUBLIC_KEY")
        }
        Engine::Puppet => {
            only(attributes, &["PUPPET_NODE_CSR"])?;
            value(attributes, "PUPPET_NODE_CSR")
        }
    }
}

/// The engine attributes of a disassociation.
pub(super) fn disassociation(engine: Engine, attributes: &[EngineAttribute]) -> Answer<()> {
    bounded(attributes)?;
    match engine {
        Engine::Chef => {
            only(attributes, &["CHEF_ORGANIZATION"])?;
            value(attributes, "CHEF_ORGANIZATION").map(drop)
        }
        Engine::Puppet => only(attributes, &[]),
    }
}

fn bounded(attributes: &[EngineAttribute]) -> Answer<()> {
    for attribute in attributes {
        let long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > LONGEST);
        if long(&attribute.name) || long(&attribute.value) {
            return Err(ApiError::constraint("…", "engineAttributes", "Member must have length less than or equal to 10000"));
        }
    }
    Ok(())
}

fn only(attributes: &[EngineAttribute], known: &[&str]) -> Answer<()> {
    let unknown = attributes.iter().map(|attribute| attribute.name.as_deref().unwrap_or_default());
    match unknown.into_iter().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => Err(ApiError::client("ValidationException", format!("Invalid engine attribute: {name}"))),
    }
}

fn value<'a>(attributes: &'a [EngineAttribute], name: &str) -> Answer<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.name.as_deref() == Some(name));
    found
        .and_then(|attribute| attribute.value.as_deref())
        .filter(|value| !value.trim().is_empty())
        .ok_or_else(|| ApiError::client("ValidationException", format!("Missing required engine attribute: {name}")))
}
