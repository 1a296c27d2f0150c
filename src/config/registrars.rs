//! From a route's `registrar` to the server that it names: one function a kind.

use super::keys::{self, Key};
use super::problem::Refusal;
use super::reader::Section;
use super::route::{ChefServer, Engine, Material, NodeSettings, PuppetCa, Registrar};
use super::rules;
use super::tables::{MINUTE, SECS};
use super::values::{checked, duration, one_of, path, switch};

/// A kind of server: the keys that it has, and how they are read. The switch is `allow_plain_http`.
#[derive(Clone, Copy)]
struct Kind {
    keys: &'static [Key],
    read: fn(&Section<'_, '_>, bool) -> Option<Registrar>,
}

/// The kinds of server, as they are written. A new one is a line here.
const KINDS: &[(&str, Kind)] = &[
    ("opsworks-cm", Kind { keys: keys::OPSWORKS_CM, read: opsworks_cm }),
    ("chef-server", Kind { keys: keys::CHEF_SERVER, read: chef_server }),
    ("puppet-ca", Kind { keys: keys::PUPPET_CA, read: puppet_ca }),
    ("command", Kind { keys: keys::COMMAND, read: command }),
];

/// Reads a route's registrar. Its kind decides which keys it has.
pub(super) fn read(section: &Section<'_, '_>, allow_plain_http: bool) -> Option<Registrar> {
    let written = section.peek("registrar", "kind");
    let Some((_, kind)) = KINDS.iter().find(|(name, _)| Some(*name) == written) else {
        // Which keys would be right is not known, so nothing but the kind is said to be wrong.
        section.table("registrar", keys::OPSWORKS_CM)?.read("kind", one_of(KINDS));
        return None;
    };
    let table = section.table("registrar", kind.keys)?;
    let registrar = (kind.read)(&table, allow_plain_http);
    table.refuse_unknown(&[]);
    registrar
}

fn opsworks_cm(table: &Section<'_, '_>, _: bool) -> Option<Registrar> {
    #[derive(Clone, Copy)]
    enum Software {
        Chef,
        Puppet,
    }
    let server = table.read("server", checked(rules::server_name));
    let engine = table.read("engine", one_of(&[("chef", Software::Chef), ("puppet", Software::Puppet)]));
    let organization = table.read_optional("organization", checked(rules::organization));
    let engine = match engine? {
        Software::Chef => Engine::Chef { organization: organization?.unwrap_or_else(|| "default".to_owned()) },
        Software::Puppet => {
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

fn chef_server(table: &Section<'_, '_>, allow_plain_http: bool) -> Option<Registrar> {
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

fn puppet_ca(table: &Section<'_, '_>, allow_plain_http: bool) -> Option<Registrar> {
    let url = table.read("url", checked(|url| rules::server_url(url, allow_plain_http)));
    let certificate = table.read("certificate", path);
    let private_key = table.read("private_key", path);
    let ca_file = table.read("ca_file", path);
    let replace_existing = table.read("replace_existing", switch);
    Some(Registrar::PuppetCa(Box::new(PuppetCa {
        url: url?,
        certificate: certificate?,
        private_key: private_key?,
        ca_file: ca_file?,
        replace_existing: replace_existing?,
    })))
}

fn command(table: &Section<'_, '_>, _: bool) -> Option<Registrar> {
    let program = table.read("program", checked(rules::absolute_path));
    let args = table.read_each("args", rules::argument);
    let timeout = table.read("timeout", duration(SECS(1)..=SECS(15 * MINUTE)));
    let env = table.read_each("env", rules::variable_name);
    let material = one_of(&[("public-key", Material::PublicKey), ("certificate-request", Material::CertificateRequest)]);
    let material = table.read("material", material);
    Some(Registrar::Command { program: program?, args: args?, timeout: timeout?, env: env?, material: material? })
}
