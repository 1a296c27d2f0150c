//! From a route's `registrar` to [`Registrar`]: one function for each kind of server.

use super::keys::{self, Key};
use super::problem::Refusal;
use super::reader::Section;
use super::route::{Engine, Material, Registrar};
use super::rules;
use super::tables::{MINUTE, SECS};
use super::values::{Given, checked, duration, one_of, text};

/// A kind of server.
#[derive(Clone, Copy)]
struct Kind {
    keys: &'static [Key],
    read: fn(&Section<'_, '_>) -> Option<Registrar>,
}

/// The kinds of server, as they are written. A new one is a line here.
const KINDS: &[(&str, Kind)] =
    &[("opsworks-cm", Kind { keys: keys::OPSWORKS_CM, read: opsworks_cm }), ("command", Kind { keys: keys::COMMAND, read: command })];

/// Reads a route's `registrar`, by the keys of its kind.
pub(super) fn read(route: &Section<'_, '_>) -> Option<Registrar> {
    let written = route.peek("registrar", "kind");
    // Where the kind is not known, only that is said: which keys belong there is not known either.
    let keys = KINDS.iter().find(|(name, _)| Some(*name) == written).map_or(keys::OPSWORKS_CM, |(_, kind)| kind.keys);
    let table = route.table("registrar", keys)?;
    let kind = table.read("kind", one_of(KINDS))?;
    let registrar = (kind.read)(&table);
    table.refuse_unknown(&[]);
    registrar
}

fn opsworks_cm(table: &Section<'_, '_>) -> Option<Registrar> {
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

fn command(table: &Section<'_, '_>) -> Option<Registrar> {
    let program = table.read("program", path);
    let args = table.read_each("args", rules::argument);
    let timeout = table.read("timeout", duration(SECS(1)..=SECS(15 * MINUTE)));
    let env = table.read_each("env", rules::variable_name);
    let material = one_of(&[("public-key", Material::PublicKey), ("certificate-request", Material::CertificateRequest)]);
    let material = table.read("material", material);
    Some(Registrar::Command { program: program?, args: args?, timeout: timeout?, env: env?, material: material? })
}

/// An absolute path.
fn path(given: Given<'_>) -> Result<std::path::PathBuf, Refusal> {
    text(given).and_then(|text| rules::absolute_path(&text))
}
