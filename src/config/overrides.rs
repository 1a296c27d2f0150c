//! The environment over the file: `ENROLLD_<KEY>`, and `ENROLLD_ROUTE_<NAME>__<KEY>` for the routes.

use std::collections::BTreeMap;

use super::Environment;
use super::keys;
use super::problem::{Place, Problem, nearest};
use super::reader::Overrides;

/// What the variables begin with.
pub(super) const PREFIX: &str = "ENROLLD_";

/// Variables that begin like the others and are none of the file's keys: they stand for options of the command line.
pub const NOT_CONFIGURATION: &[&str] = &["ENROLLD_CONFIG"];

/// The variables, sorted by what they are for.
pub(super) struct Sorted<'e> {
    /// For keys at the top.
    pub(super) top: Overrides<'e>,
    /// For routes, by the route's name as it stands in a variable (`WEB_BLUE`).
    pub(super) routes: BTreeMap<&'e str, Overrides<'e>>,
}

/// Sorts the variables; those that are for nothing are problems.
pub(super) fn sort<'e>(environment: &'e Environment, problems: &mut Vec<Problem>) -> Sorted<'e> {
    let mut sorted = Sorted { top: Overrides::new(), routes: BTreeMap::new() };
    for (variable, value) in environment {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if NOT_CONFIGURATION.contains(&variable.as_str()) {
            continue;
        }
        if let Some(key) = keys::TOP.iter().find(|key| key.name.to_uppercase() == name) {
            sorted.top.insert(key.name.to_owned(), (variable, value));
        } else if let Some((route, key)) = name.strip_prefix("ROUTE_").and_then(|rest| rest.split_once("__")) {
            // Keys are lower case in the file and upper case here; a variable in another case is for nothing.
            let key = if key == key.to_uppercase() { key.to_lowercase().replace("__", ".") } else { key.to_owned() };
            sorted.routes.entry(route).or_default().insert(key, (variable, value));
        } else {
            let known: Vec<String> = keys::TOP.iter().map(|key| key.name.to_uppercase()).collect();
            let right = match nearest(&name.to_uppercase(), known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {PREFIX}{near}?"),
                None => format!("a key at the top is {PREFIX}<KEY>, a route's is {PREFIX}ROUTE_<NAME>__<KEY>"),
            };
            let wrong = "no key is set by this variable".to_owned();
            problems.push(Problem { place: Place::Variable(variable.clone()), key: String::new(), wrong, right });
        }
    }
    sorted
}

/// A route's name as it stands in a variable.
pub(super) fn variable_name(route: &str) -> String {
    route.to_uppercase().replace('-', "_")
}
