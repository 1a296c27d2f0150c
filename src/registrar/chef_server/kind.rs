//! What a route's `registrar` may say of a Chef Infra Server.

use std::path::PathBuf;
use std::sync::Arc;

use super::{ChefServer, ChefSettings, NodeWork};
use crate::config::Refusal;
use crate::config::keys::{Key, SWITCH, TEXT, TEXTS, optional, required, usual};
use crate::config::reader::Section;
use crate::config::values::{checked, path, server_url, switch};
use crate::names::{ServerUrl, Template, shown};
use crate::registrar::Registrar;
use crate::registrar::http::{ALLOW_PLAIN_HTTP, HttpSettings, PrivateKey, read_certificates};
use crate::registrar::kind::{Agent, Blueprint, Kind, Limits, Unusable};

/// What a route's `registrar` may say of a Chef Infra Server.
pub(in crate::registrar) const KIND: Kind = Kind {
    name: "chef-server",
    page: "chef-server.md",
    keys: KEYS,
    errors: &[super::errors::ERRORS, crate::registrar::http::ERRORS],
    read,
};

/// The keys of its table.
const KEYS: &[Key] = &[
    required("kind", "`chef-server`", "The kind of server."),
    required("url", TEXT, "The server's base URL, with `/organizations/ORG` where it has organizations (goiardi has none)."),
    ALLOW_PLAIN_HTTP,
    required("client_name", TEXT, "The API client or user that the requests are signed as."),
    required(
        "client_key",
        "path",
        "Its private RSA key in PEM, of 2048 bits or more. The file belongs to the user that enrolld runs as, or to root, and nobody else may read it.",
    ),
    optional(
        "ca_file",
        "path",
        "the system's authorities",
        "Certificates in PEM: the only authorities that the server's certificate may come from.",
    ),
    optional("environment", TEXT, "`_default`", "The environment of new nodes. Not with a policy."),
    usual("run_list", TEXTS, "", "The run list of new nodes, such as `role[web]` or `recipe[base::hardened]`. Not with a policy."),
    optional("policy_name", TEXT, "none", "The policy of new nodes, with `policy_group`."),
    optional("policy_group", TEXT, "none", "The group whose revision of the policy is theirs."),
    usual(
        "replace_existing",
        SWITCH,
        "false",
        "Whether a node that is there with another key is replaced, with its key and its node object. `false` ends the launch instead.",
    ),
];

/// A Chef Infra Server as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    url: ServerUrl,
    allow_plain_http: bool,
    client_name: String,
    client_key: PathBuf,
    ca_file: Option<PathBuf>,
    work: NodeWork,
    replace_existing: bool,
}

fn read(table: &Section<'_, '_>) -> Option<Box<dyn Blueprint>> {
    let allow_plain_http = table.read("allow_plain_http", switch);
    // A switch that cannot be read is said to be wrong, and the URL not judged by it.
    let url = table.read("url", server_url(allow_plain_http.unwrap_or(true)));
    let client_name = table.read("client_name", checked(chef_client));
    let client_key = table.read("client_key", path);
    let ca_file = table.read_optional("ca_file", path);
    let work = read_work(table);
    let replace_existing = table.read("replace_existing", switch);
    Some(Box::new(Written {
        url: url?,
        allow_plain_http: allow_plain_http?,
        client_name: client_name?,
        client_key: client_key?,
        ca_file: ca_file?,
        work: work?,
        replace_existing: replace_existing?,
    }))
}

fn read_work(table: &Section<'_, '_>) -> Option<NodeWork> {
    let environment = table.read_optional("environment", checked(chef_environment));
    let run_list = table.read_each("run_list", run_list_item);
    let name = table.read_optional("policy_name", checked(chef_policy));
    let group = table.read_optional("policy_group", checked(chef_policy));
    match (table.has("policy_name"), table.has("policy_group")) {
        (false, false) => {
            let environment = environment?.unwrap_or_else(|| "_default".to_owned());
            Some(NodeWork::RunList { environment, run_list: run_list? })
        }
        (true, true) => {
            for key in ["environment", "run_list"] {
                if table.has(key) {
                    let wrong = "a node with a policy gets this from the policy";
                    table.refuse(key, Refusal::new(wrong, "leave it out, or leave out policy_name and policy_group"));
                }
            }
            Some(NodeWork::Policy { name: name??, group: group?? })
        }
        (named, _) => {
            let (there, missing) = if named { ("policy_name", "policy_group") } else { ("policy_group", "policy_name") };
            table.refuse(there, Refusal::new(format!("{missing} is missing"), format!("write {missing} too, or leave out {there}")));
            None
        }
    }
}

impl Written {
    fn server(&self, limits: &Limits) -> Result<ChefServer, Unusable> {
        let authorities = self.ca_file.as_deref().map(read_certificates).transpose()?;
        let settings = ChefSettings {
            http: HttpSettings { authorities, allow_plain_http: self.allow_plain_http, ..HttpSettings::of(self.url.clone(), limits) },
            client_name: self.client_name.clone(),
            client_key: PrivateKey::read(&self.client_key)?,
            work: self.work.clone(),
            replace_existing: self.replace_existing,
            call_timeout: limits.call,
        };
        Ok(ChefServer::new(settings)?)
    }
}

impl Blueprint for Written {
    fn about(&self) -> String {
        format!("server {} as {}", self.url, self.client_name)
    }

    /// In whose name and by which authorities: what is refused to one client, or not believed by one route, stops no other.
    fn identity(&self) -> String {
        format!("{} {} {:?} {:?}", self.url, self.client_name, self.client_key, self.ca_file)
    }

    fn agent(&self) -> Option<Agent> {
        Some(Agent::Chef)
    }

    fn refuses_names(&self, template: &Template) -> Option<Refusal> {
        let wrong = "a Chef server takes no colon in the name of a client";
        template.source().contains(':').then(|| Refusal::new(wrong, "write another character in its place"))
    }

    /// A server that says of itself that a part of it failed.
    fn mends_itself(&self, _: &str) -> bool {
        false
    }

    fn check_files(&self, limits: &Limits) -> Result<(), Unusable> {
        self.server(limits).map(drop)
    }

    fn build(&self, limits: &Limits, _: &aws_config::SdkConfig) -> Result<Arc<dyn Registrar>, Unusable> {
        Ok(Arc::new(self.server(limits)?))
    }
}

/// Chef's rule for the name of a client, which that of a user keeps too: letters, digits, `_ - .`.
fn chef_client(name: &str) -> Result<String, Refusal> {
    chef_name(name, b"_-.", "the name of a Chef client or user", "write A-Z a-z 0-9 _ - .")
}

/// Chef's rule for the name of an environment: letters, digits, `_ -`.
fn chef_environment(name: &str) -> Result<String, Refusal> {
    chef_name(name, b"_-", "the name of a Chef environment", "write A-Z a-z 0-9 _ -")
}

/// Chef's rule for the name of a policy or a policy group: letters, digits, `_ - : .`.
fn chef_policy(name: &str) -> Result<String, Refusal> {
    chef_name(name, b"_-:.", "the name of a Chef policy or policy group", "write A-Z a-z 0-9 _ - : .")
}

fn chef_name(name: &str, beside: &[u8], what: &str, right: &str) -> Result<String, Refusal> {
    if (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || beside.contains(&b)) {
        Ok(name.to_owned())
    } else {
        Err(Refusal::new(format!("{} is not {what}", shown(name)), right))
    }
}

/// Chef's rule for an item of a run list: `recipe[COOKBOOK::RECIPE@VERSION]`, `role[NAME]`, or a recipe without its brackets.
fn run_list_item(item: &str) -> Result<String, Refusal> {
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    let recipe = |text: &str| {
        let (name, version) = text.split_once('@').map_or((text, "1"), |(name, version)| (name, version));
        let (cookbook, recipe) = name.split_once("::").unwrap_or((name, "default"));
        word(cookbook) && word(recipe) && !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    };
    let inside = |kind: &str| item.strip_prefix(kind).and_then(|rest| rest.strip_prefix('[')).and_then(|rest| rest.strip_suffix(']'));
    let good = match (inside("role"), inside("recipe")) {
        (Some(role), _) => word(role),
        (None, Some(name)) => recipe(name),
        (None, None) => recipe(item),
    };
    if good {
        Ok(item.to_owned())
    } else {
        let wrong = format!("{} is not an item of a run list", shown(item));
        Err(Refusal::new(wrong, "write \"role[NAME]\" or \"recipe[COOKBOOK::RECIPE]\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_list_has_roles_and_recipes() {
        for good in ["role[web]", "recipe[base]", "recipe[base::hardened]", "recipe[base::hardened@1.2.3]", "base", "base::hardened"] {
            assert_eq!(run_list_item(good).unwrap(), good);
        }
        for bad in ["", "role[]", "role[web", "role[a b]", "recipe[a::]", "recipe[a@]", "rolle[web]", "recipe[role[a]]", "a,b"] {
            assert!(run_list_item(bad).is_err(), "{bad}");
        }
    }
}
