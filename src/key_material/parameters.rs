//! SSM's Parameter Store: reading key material, with or without a proof of who wrote it, and cleaning up.

use std::collections::HashMap;

use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::{ParameterHistory, ParameterType};
use zeroize::Zeroizing;

use super::check::{self, Engine};
use super::errors::classify;
use super::history::{self, Version};
use super::owner::OwnerRole;
use crate::aws::{from_sdk, further};
use crate::core::call::{BatchAnswer, KeyWanted};
use crate::facts::{Certificate, KeyAnswer};
use crate::names::ParameterName;
use crate::retry::{Class, Failure};

/// GetParameterHistory's pages hold up to 50 of at most 100 versions; the rest is room for pages that are not full.
const MOST_PAGES: usize = 10;
/// Versions a page (the API's limit).
const PAGE: i32 = 50;

/// What a parameter holds, and how often it was written.
struct Current {
    value: Zeroizing<String>,
    version: i64,
}

/// Reads parameters with GetParameters. One that was written more than once is read again with its history: a worker cannot know which of
/// its keys an earlier run associated the node under.
pub(super) async fn fetch(client: &Client, engine: &Engine, wanted: &[KeyWanted]) -> BatchAnswer<KeyAnswer> {
    let mut names: Vec<&str> = wanted.iter().filter_map(|one| one.parameter.as_ref()).map(ParameterName::as_str).collect();
    // A name that is asked for twice in one call is an error.
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(wanted.iter().map(|_| Err(without_parameter())).collect());
    }
    let names = names.into_iter().map(str::to_owned).collect();
    let request = client.get_parameters().set_names(Some(names)).with_decryption(true);
    let output = request.send().await.map_err(|error| from_sdk(&error, classify))?;
    let held: HashMap<String, Current> = output
        .parameters
        .unwrap_or_default()
        .into_iter()
        .filter_map(|parameter| Some((parameter.name?, Current { value: Zeroizing::new(parameter.value?), version: parameter.version })))
        .collect();
    let mut answers = Vec::with_capacity(wanted.len());
    for one in wanted {
        answers.push(answer(client, engine, one, &held).await);
    }
    Ok(answers)
}

/// A name that was not found stands in `InvalidParameters`, together with malformed ones, which cannot be here: it is absent.
async fn answer(client: &Client, engine: &Engine, one: &KeyWanted, held: &HashMap<String, Current>) -> Result<KeyAnswer, Failure> {
    let name = one.parameter.as_ref().ok_or_else(without_parameter)?;
    match held.get(name.as_str()) {
        Some(current) if current.version <= 1 => Ok(check::check(engine, &one.node, current.value.clone())),
        Some(_) => further("GetParameterHistory", fetch_history(client, engine, None, one)).await,
        None => Ok(KeyAnswer::Absent),
    }
}

/// Reads all versions of a parameter, each with who wrote it: GetParameterHistory gives both in one answer.
pub(super) async fn fetch_history(
    client: &Client,
    engine: &Engine,
    owner: Option<&OwnerRole>,
    one: &KeyWanted,
) -> Result<KeyAnswer, Failure> {
    let name = one.parameter.as_ref().ok_or_else(without_parameter)?;
    let mut versions = Vec::new();
    let mut next_token = None;
    for _ in 0..MOST_PAGES {
        let request = client.get_parameter_history().name(name.as_str()).with_decryption(true).max_results(PAGE);
        let first = next_token.is_none();
        let asked = async {
            match request.set_next_token(next_token).send().await {
                Ok(output) => Ok(Some(output)),
                Err(error) if error.as_service_error().is_some_and(|error| error.is_parameter_not_found()) => Ok(None),
                Err(error) => Err(from_sdk(&error, classify)),
            }
        };
        let answer = if first { asked.await? } else { further("GetParameterHistory", asked).await? };
        let Some(output) = answer else { return Ok(KeyAnswer::Absent) };
        versions.extend(output.parameters.unwrap_or_default().into_iter().map(Version::from));
        next_token = output.next_token.filter(|token| !token.is_empty());
        if next_token.is_none() {
            return Ok(history::choose(engine, owner, one, versions));
        }
    }
    // The newest version may be on a page that was not read.
    Err(Failure::new(Class::Transient, "endless_pages", "GetParameterHistory had more pages than a parameter has versions"))
}

impl From<ParameterHistory> for Version {
    fn from(history: ParameterHistory) -> Self {
        Self { number: history.version, user: history.last_modified_user.unwrap_or_default(), value: history.value.map(Zeroizing::new) }
    }
}

fn without_parameter() -> Failure {
    Failure::new(Class::Final, "no_parameter", "the node has no parameter")
}

/// The parameters of one scope, to be written for nodes and to be cleaned up.
#[derive(Debug, Clone)]
pub struct Parameters {
    client: Client,
}

impl Parameters {
    /// The parameters of a scope.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Self { client: Client::new(config) }
    }

    /// Writes a certificate, over whatever stood there.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn put(&self, parameter: &ParameterName, certificate: &Certificate) -> Result<(), Failure> {
        let request = self.client.put_parameter().name(parameter.as_str()).value(certificate.0.as_ref());
        let request = request.r#type(ParameterType::String).overwrite(true);
        request.send().await.map_err(|error| from_sdk(&error, classify))?;
        Ok(())
    }

    /// Deletes up to ten parameters. One that was not there is gone, which is what was wanted.
    ///
    /// # Errors
    /// By this room's table.
    pub async fn delete(&self, parameters: &[ParameterName]) -> BatchAnswer<()> {
        let mut names: Vec<String> = parameters.iter().map(|name| name.as_str().to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let request = self.client.delete_parameters().set_names(Some(names));
        let output = request.send().await.map_err(|error| from_sdk(&error, classify))?;
        let gone = |name: &ParameterName| {
            let lists = [output.deleted_parameters(), output.invalid_parameters()];
            lists.iter().any(|list| list.iter().any(|listed| listed == name.as_str()))
        };
        let unanswered = || Failure::new(Class::Transient, "unanswered", "the answer does not mention this parameter");
        Ok(parameters.iter().map(|name| if gone(name) { Ok(()) } else { Err(unanswered()) }).collect())
    }
}
