//! From a `[[route]]` and the tables in it to [`Route`].

use super::Place;
use super::keys;
use super::problem::Refusal;
use super::reader::Section;
use super::registrars::{self, Kinds};
use super::route::{AllowedExtension, KeySource, Owner, Route, Scope};
use super::rules::{self, RoleArn};
use super::sense;
use super::tables::{HOUR, MILLIS, MINUTE, SECS, schedule};
use super::values::{checked, duration, name, one_of, rate, switch, template, text, whole};
use crate::core::settings::{DeleteKey, OnFailure};
use crate::names::Region;

/// The document whose sending is root on every instance in scope.
const SHELL_DOCUMENT: &str = "AWS-RunShellScript";

/// A route as it was read, with the section it came from, for what concerns several routes.
pub(super) struct ReadRoute<'s, 'a> {
    pub(super) section: Section<'s, 'a>,
    pub(super) name: Option<String>,
    pub(super) groups: Option<Vec<String>>,
    pub(super) route: Option<Route>,
}

/// Reads one route.
pub(super) fn read_route<'s, 'a>(section: Section<'s, 'a>, kinds: Kinds) -> ReadRoute<'s, 'a> {
    let name = section.read("name", checked(rules::route_name));
    if matches!(section.place_of("name"), Place::Variable(_)) {
        section.refuse("name", Refusal::new("a variable cannot rename the route that it is named after", "write the name in the file"));
    }
    let groups = section.read_each("groups", rules::group_pattern);
    if groups.as_ref().is_some_and(Vec::is_empty) {
        section.refuse("groups", Refusal::new("the list is empty", "name at least one group, such as [\"web-*\"]"));
    }
    let route = read_rest(&section, name.clone(), groups.clone(), kinds);
    section.refuse_unknown(&[]);
    ReadRoute { section, name, groups, route }
}

fn read_rest(section: &Section<'_, '_>, name_of_route: Option<String>, groups: Option<Vec<String>>, kinds: Kinds) -> Option<Route> {
    let scope = read_scope(section);
    let registrar = registrars::read(section, kinds);
    let key = section.table("key", keys::KEY).and_then(|table| {
        let key = read_key(&table);
        table.refuse_unknown(&[]);
        key
    });
    let node_name = section.read("node_name", |given| template(given).and_then(rules::node_name));
    let key_poll = section.read("key_poll", duration(MILLIS(100)..=SECS(10 * MINUTE)));
    let key_rate = section.read("key_rate", rate(10_000.0));
    let status_poll = schedule(section, "status_poll_initial", "status_poll_max", MILLIS(10)..=SECS(10 * MINUTE));
    let timeout = section.read("timeout", duration(SECS(1)..=SECS(48 * HOUR)));
    let on_failure = section.read("on_failure", one_of(&[("abandon", OnFailure::Abandon), ("continue", OnFailure::Continue)]));
    let certificate_parameter = section.read_optional("certificate_parameter", |given| template(given).and_then(rules::parameter));
    let delete_key = section.read("delete_key", one_of(&[("never", DeleteKey::Never), ("on_success", DeleteKey::OnSuccess)]));
    let max_abandons = section.read("max_abandons", whole(0..=1_000_000));
    let abandon_window = section.read("abandon_window", duration(SECS(1)..=SECS(48 * HOUR)));
    let max_rate = section.read_optional("max_rate", rate(10_000.0));
    let allow_extensions = read_extensions(section);
    let route = Route {
        name: name_of_route?,
        groups: groups?,
        scope: scope?,
        registrar: registrar?,
        node_name: node_name?,
        key: key?,
        key_poll: key_poll?,
        key_rate: key_rate?,
        status_poll: status_poll?,
        timeout: timeout?,
        on_failure: on_failure?,
        certificate_parameter: certificate_parameter?,
        delete_key: delete_key?,
        max_abandons: max_abandons?,
        abandon_window: abandon_window?,
        max_rate: max_rate?,
        allow_extensions: allow_extensions?,
    };
    sense::of_route(section, &route);
    Some(route)
}

fn read_scope(section: &Section<'_, '_>) -> Option<Scope> {
    let region = section.read_optional("region", name(Region::new));
    let role = section.read_optional("role_arn", checked(RoleArn::new));
    let external_id = section.read_optional("external_id", checked(rules::external_id));
    if section.has("external_id") && !section.has("role_arn") {
        section.refuse("external_id", Refusal::new("there is no role that takes it", "write role_arn too, or leave external_id out"));
    }
    Some(Scope { region: region?, role: role?, external_id: external_id? })
}

fn read_key(table: &Section<'_, '_>) -> Option<KeySource> {
    let parameter = table.read_optional("parameter", |given| template(given).and_then(rules::parameter));
    let document = table.read_optional("document", checked(rules::document));
    let owner_role = table.read_optional("owner_role", checked(RoleArn::new));
    let require_owner = table.read("require_owner", switch);
    let commands = table.read_each("commands", |command| Ok(command.to_owned()));
    match (table.has("parameter"), table.has("document")) {
        (true, true) => {
            table
                .refuse("document", Refusal::new("key material comes either from a parameter or from a document", "leave one of them out"));
            None
        }
        (false, false) => {
            let right = "write parameter = \"/enrolld/{instance_id}/public-key\" with owner_role, or document = \"…\"";
            table.refuse("parameter", Refusal::new("there is neither a parameter nor a document", right));
            None
        }
        (true, false) => {
            if table.has("commands") {
                table.refuse("commands", Refusal::new("a parameter takes no commands", "leave them out"));
            }
            Some(KeySource::Parameter { name: parameter??, owner: read_owner(table, owner_role?, require_owner?)? })
        }
        (false, true) => {
            for name in ["owner_role", "require_owner"] {
                if table.has(name) {
                    let wrong = "only parameters have an owner; a document's output comes from the agent on the instance itself";
                    table.refuse(name, Refusal::new(wrong, "leave it out"));
                }
            }
            let (document, commands) = (document??, commands?);
            match (document == SHELL_DOCUMENT, commands.is_empty()) {
                (true, true) => {
                    let right =
                        "write commands = [\"cat /etc/chef/client.pub\"], or better name a document of your own with a fixed script";
                    table.refuse("document", Refusal::new(format!("{SHELL_DOCUMENT} needs commands"), right));
                    None
                }
                (false, false) => {
                    let right = format!("leave them out; only {SHELL_DOCUMENT} takes them");
                    table.refuse("commands", Refusal::new("a document of one's own has its script fixed", right));
                    None
                }
                _ => Some(KeySource::RunCommand { document, commands }),
            }
        }
    }
}

fn read_owner(table: &Section<'_, '_>, owner_role: Option<RoleArn>, require_owner: bool) -> Option<Owner> {
    match (require_owner, owner_role) {
        (true, Some(role)) => Some(Owner::Role(role)),
        (false, None) => Some(Owner::Anybody),
        (true, None) => {
            let right = "write owner_role = \"arn:aws:iam::ACCOUNT:role/NAME\", the instances' role, so that a key is believed only if its own instance \
                         wrote it; or, for keys that something else publishes, require_owner = false: then whoever may write the parameter \
                         decides which key the node gets";
            table.refuse("owner_role", Refusal::new("it is missing", right));
            None
        }
        (false, Some(_)) => {
            let wrong = "require_owner = false leaves owner_role without effect";
            table.refuse("owner_role", Refusal::new(wrong, "leave out one of the two"));
            None
        }
    }
}

fn read_extensions(section: &Section<'_, '_>) -> Option<Vec<AllowedExtension>> {
    let tables = section.tables("allow_extensions", keys::EXTENSION);
    let read = tables.iter().map(|table| {
        let oid = table.read("oid", checked(rules::oid));
        let pattern = table.read("pattern", text);
        table.refuse_unknown(&[]);
        Some(AllowedExtension { oid: oid?, pattern: pattern? })
    });
    // Every entry is read before the first bad one makes the whole list bad.
    read.collect::<Vec<_>>().into_iter().collect()
}
