//! The user data of a route's instances: a script that makes the key pair on the instance, publishes its public half where the route looks for
//! it, waits until the instance is enrolled, and completes a second launch hook once the agent has run, where there is one.
//!
//! The script's parts are shell files of their own ([`parts`]); what is put together here are the settings above them. It relies on a POSIX
//! shell, `curl`, `openssl`, the AWS CLI (1 or 2), the usual small tools, and IMDSv2.

mod settings;

use std::fmt::Write as _;

use crate::config::{KeySource, Route};
use crate::names::{GroupName, HookName, shown};
use crate::registrar::Agent;

/// The script's parts, in the order in which they can stand.
pub mod parts {
    /// Waits, the metadata service, who this instance is.
    pub const COMMON: &str = include_str!("parts/common.sh");
    /// The group's name.
    pub const GROUP: &str = include_str!("parts/group.sh");
    /// The private key.
    pub const KEY: &str = include_str!("parts/key.sh");
    /// Its public half (Chef).
    pub const PUBLIC_KEY: &str = include_str!("parts/public_key.sh");
    /// A certificate request (Puppet).
    pub const REQUEST: &str = include_str!("parts/request.sh");
    /// Putting it under its parameter.
    pub const PUBLISH: &str = include_str!("parts/publish.sh");
    /// Leaving it where the templates' document looks.
    pub const DOCUMENT: &str = include_str!("parts/document.sh");
    /// Keeping the second hook from running out.
    pub const HEARTBEAT: &str = include_str!("parts/heartbeat.sh");
    /// Waiting for the certificate.
    pub const CERTIFICATE: &str = include_str!("parts/certificate.sh");
    /// Waiting until in service.
    pub const IN_SERVICE: &str = include_str!("parts/in_service.sh");
    /// The agent's first run.
    pub const AGENT: &str = include_str!("parts/agent.sh");
    /// Completing the second hook.
    pub const CONVERGE: &str = include_str!("parts/converge.sh");
}

/// Where the Run Command document of the templates looks for a public key (Chef).
pub const DOCUMENT_KEY: &str = "/etc/enrolld/node.pub";
/// Where it looks for a certificate request (Puppet).
pub const DOCUMENT_REQUEST: &str = "/etc/enrolld/node.csr";

/// The longest that a hook holds an instance, in seconds: a hundred heartbeat time-outs, and 48 hours at the most (API reference, PutLifecycleHook).
pub const LONGEST_HOOK_S: u64 = 48 * 3600;

/// User data longer than this EC2 does not take, in bytes.
pub const LONGEST: usize = 16 * 1024;

/// What a kit is made for, beside its route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The second launch hook, which the script completes.
    pub converge_hook: Option<HookName>,
    /// How often that hook is kept from running out, in seconds (half of it to the whole); never where none.
    pub heartbeat_s: Option<u32>,
    /// The group; otherwise the instance's own tag tells it, where it must be known.
    pub group: Option<GroupName>,
    /// The agent's command, in the place of the usual one.
    pub agent: Option<String>,
    /// When the script gives up, in seconds from its start; where none, after [`LONGEST_HOOK_S`]: no hook holds it longer.
    pub deadline_s: Option<u64>,
}

/// Why there is no kit for a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KitError {
    /// Only a person knows what converges the nodes of a program of one's own.
    #[error("what runs on the nodes of route {0} is not known, since its registrar is a command: give --agent")]
    Agent(String),
    /// The group is not served by this route.
    #[error("route {route} does not serve the group {}", shown(.group.as_str()))]
    Group {
        /// The route.
        route: String,
        /// The group.
        group: GroupName,
    },
    /// It is too long for EC2.
    #[error("the script has {0} bytes, and EC2 takes {LONGEST} of user data")]
    TooLong(usize),
}

/// Makes the script for a route's instances.
///
/// # Errors
/// Why there is none.
pub fn script(route: &Route, wishes: &Wishes) -> Result<String, KitError> {
    if let Some(group) = &wishes.group
        && !route.groups.iter().any(|glob| wildmatch::WildMatch::new(glob).matches(group.as_str()))
    {
        return Err(KitError::Group { route: route.name.clone(), group: group.clone() });
    }
    let puppet = route.registrar.takes_certificate_requests();
    let parameter = match &route.key {
        KeySource::Parameter { name, .. } => Some(name),
        KeySource::RunCommand { .. } => None,
    };
    let templates = [Some(&route.node_name), parameter, route.certificate_parameter.as_ref()];
    let by_group = templates.into_iter().flatten().any(|template| template.source().contains("{group}"));
    let agent = match (&wishes.agent, &wishes.converge_hook) {
        (Some(command), _) => Some(command.as_str()),
        (None, None) => None,
        (None, Some(_)) => Some(usual_agent(route)?),
    };

    let mut text = String::from("#!/bin/sh\n");
    let _ = writeln!(text, "# Enrols this instance. Printed by enrolld {} for route {}.", env!("CARGO_PKG_VERSION"), route.name);
    text.push_str("# It needs a POSIX shell, curl, openssl, the AWS CLI, and instance metadata (IMDSv2).\nset -eu\n\n");
    let _ = writeln!(text, "DEADLINE_S=${{ENROLLD_DEADLINE:-{}}}", wishes.deadline_s.unwrap_or(LONGEST_HOOK_S));
    text.push_str(parts::COMMON);
    if by_group || wishes.converge_hook.is_some() {
        let only = match &route.groups[..] {
            [group] if !group.contains(['*', '?']) => Some(group.as_str()),
            _ => None,
        };
        let group = wishes.group.as_ref().map(GroupName::as_str).or(only).unwrap_or_default();
        let _ = write!(text, "\nGROUP={}{}", settings::quoted(group), parts::GROUP);
    }
    if let Some(hook) = &wishes.converge_hook {
        let _ = writeln!(text, "\nCONVERGE_HOOK={}", settings::quoted(hook.as_str()));
        if let Some(seconds) = wishes.heartbeat_s {
            let _ = write!(text, "HEARTBEAT_S={seconds}{}", parts::HEARTBEAT);
        }
    }
    let _ = writeln!(text, "\nNODE_NAME={}", settings::filled(&route.node_name));
    if puppet {
        text.push_str("SSL_DIR=${ENROLLD_SSL_DIR:-/etc/puppetlabs/puppet/ssl}\nPRIVATE_KEY=$SSL_DIR/private_keys/$NODE_NAME.pem\n");
    } else {
        text.push_str("PRIVATE_KEY=${ENROLLD_KEY_FILE:-/etc/chef/client.pem}\n");
    }
    text.push_str(parts::KEY);
    text.push_str(if puppet { parts::REQUEST } else { parts::PUBLIC_KEY });
    if let Some(name) = parameter {
        let _ = write!(text, "\nPARAMETER={}{}", settings::filled(name), parts::PUBLISH);
    } else {
        let file = if puppet { DOCUMENT_REQUEST } else { DOCUMENT_KEY };
        let _ = write!(text, "\nDOCUMENT_FILE=${{ENROLLD_DOCUMENT_FILE:-{file}}}{}", parts::DOCUMENT);
    }
    if let Some(name) = &route.certificate_parameter {
        let _ = write!(text, "\nCERTIFICATE_PARAMETER={}{}", settings::filled(name), parts::CERTIFICATE);
    }
    // With a hook that this script completes, the instance is in service only after that; until enrolled, the agent's run fails.
    if wishes.converge_hook.is_none() {
        text.push_str(parts::IN_SERVICE);
    }
    if let Some(agent) = agent {
        if puppet {
            text.push_str("export SSL_DIR\n");
        }
        // `puppet agent` with detailed exit codes ends with 2 where it changed something.
        let well = if puppet && wishes.agent.is_none() { "0 2" } else { "0" };
        text.push_str("\n# shellcheck disable=SC2016 # the agent's own shell reads it\n");
        let _ = write!(text, "AGENT={}\nAGENT_IS_WELL={}{}", settings::quoted(agent), settings::quoted(well), parts::AGENT);
    }
    if wishes.converge_hook.is_some() {
        text.push_str(parts::CONVERGE);
    }
    if text.len() > LONGEST { Err(KitError::TooLong(text.len())) } else { Ok(text) }
}

/// What converges a node of this kind of server, once.
fn usual_agent(route: &Route) -> Result<&'static str, KitError> {
    match route.registrar.agent() {
        Some(Agent::Puppet) => {
            Ok("puppet agent --onetime --no-daemonize --detailed-exitcodes --certname \"$NODE_NAME\" --ssldir \"$SSL_DIR\"")
        }
        // Chef Infra Client 15 and later ends at once where nobody has accepted its licence.
        Some(Agent::Chef) => Ok("chef-client --once --chef-license accept-silent --node-name \"$NODE_NAME\" --client_key \"$PRIVATE_KEY\""),
        None => Err(KitError::Agent(route.name.clone())),
    }
}

/// The script as `cloud-init` takes it beside other things: a file, and its run.
///
/// # Errors
/// It has become too long for EC2.
pub fn cloud_init(script: &str) -> Result<String, KitError> {
    let mut text = String::from(
        "#cloud-config\nwrite_files:\n  - path: /usr/local/sbin/enrolld-launch-kit\n    owner: root:root\n    permissions: \"0700\"\n    content: |\n",
    );
    for line in script.lines() {
        if line.is_empty() {
            text.push('\n');
        } else {
            let _ = writeln!(text, "      {line}");
        }
    }
    text.push_str("runcmd:\n  - [/usr/local/sbin/enrolld-launch-kit]\n");
    if text.len() > LONGEST { Err(KitError::TooLong(text.len())) } else { Ok(text) }
}

#[cfg(test)]
mod tests;
