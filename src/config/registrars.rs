//! From a route's `registrar` to the server that it names: one function a kind.

use super::keys;
use super::problem::Refusal;
use super::reader::Section;
use super::route::{ChefServer, Engine, NodeSettings, Registrar};
use super::rules;
use super::values::{checked, one_of, path, switch};

/// Reads a route's registrar. Its kind decides which keys it has.
pub(super) fn read(section: &Section<'_, '_>, allow_plain_http: bool) -> Option<Registrar> {
    let kind = section.peek("registrar", "kind");
    let known = kind.and_then(|kind| keys::REGISTRARS.iter().find(|(name, _)| *name == kind));
    let Some((kind, keys)) = known else {
        // Which keys would be right is not known, so nothing but the kind is said to be wrong.
        section.table("registrar", keys::OPSWORKS_CM)?.read("kind", one_of(KINDS));
        return None;
    };
    let table = section.table("registrar", keys)?;
    let registrar = match *kind {
        "chef-server" => read_chef_server(&table, allow_plain_http),
        _ => read_opsworks_cm(&table),
    };
    table.refuse_unknown(&[]);
    registrar
}

/// The kinds, for a refusal that names them. A test compares them with the tables of keys.
const KINDS: &[(&str, ())] = &[("opsworks-cm", ()), ("chef-server", ())];

fn read_opsworks_cm(table: &Section<'_, '_>) -> Option<Registrar> {
    #[derive(Clone, Copy)]
    enum Kind {
        Chef,
        Puppet,
    }
    let server = table.read("server", checked(rules::server_name));
    let engine = table.read("engine", one_of(&[("chef", Kind::Chef), ("puppet", Kind::Puppet)]));
    let organization = table.read_optional("organization", checked(rules::organization));
    let engine = match engine? {
        Kind::Chef => Engine::Chef { organization: organization?.unwrap_or_else(|| "default".to_owned()) },
        Kind::Puppet => {
            if table.has("organization") {
                table.refuse(
                    "organization",
                    Refusal::new("a Puppet server has no organizations", "leave it out, or write engine = \"chef\""),
                );
            }
            Engine::Puppet
        }
    };
    Some(Registrar::OpsWorksCm { server: server?, engine })
}

fn read_chef_server(table: &Section<'_, '_>, allow_plain_http: bool) -> Option<Registrar> {
    let url = table.read("url", checked(|url| rules::server_url(url, allow_plain_http)));
    let client_name = table.read("client_name", checked(rules::chef_client));
    let client_key = table.read("client_key", path);
    let ca_file = table.read_optional("ca_file", path);
    let node = read_node_settings(table);
    let replace_existing = table.read("replace_existing", switch);
    Some(Registrar::ChefServer(Box::new(ChefServer {
        url: url?,
        client_name: client_name?,
        client_key: client_key?,
        ca_file: ca_file?,
        node: node?,
        replace_existing: replace_existing?,
    })))
}

fn read_node_settings(table: &Section<'_, '_>) -> Option<NodeSettings> {
    let environment = table.read_optional("environment", checked(rules::chef_environment));
    let run_list = table.read_each("run_list", rules::run_list_item);
    let name = table.read_optional("policy_name", checked(rules::chef_policy));
    let group = table.read_optional("policy_group", checked(rules::chef_policy));
    match (table.has("policy_name"), table.has("policy_group")) {
        (false, false) => {
            let environment = environment?.unwrap_or_else(|| "_default".to_owned());
            Some(NodeSettings::RunList { environment, run_list: run_list? })
        }
        (true, true) => {
            for key in ["environment", "run_list"] {
                if table.has(key) {
                    let wrong = "a node with a policy gets this from the policy";
                    table.refuse(key, Refusal::new(wrong, "leave it out, or leave out policy_name and policy_group"));
                }
            }
            Some(NodeSettings::Policy { name: name??, group: group?? })
        }
        (named, _) => {
            let (there, missing) = if named { ("policy_name", "policy_group") } else { ("policy_group", "policy_name") };
            table.refuse(there, Refusal::new(format!("{missing} is missing"), format!("write {missing} too, or leave out {there}")));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_with_keys_is_named() {
        let named: Vec<&str> = KINDS.iter().map(|(kind, ())| *kind).collect();
        let with_keys: Vec<&str> = keys::REGISTRARS.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(named, with_keys);
    }
}
