//! What a route's `registrar` may say of a Puppet Server's certificate authority.

use std::path::PathBuf;
use std::sync::Arc;

use super::{PuppetCa, PuppetCaSettings, is_certname};
use crate::config::Refusal;
use crate::config::keys::{Key, SWITCH, TEXT, required, usual};
use crate::config::reader::Section;
use crate::config::values::{path, server_url, switch};
use crate::names::{ServerUrl, Template, shown};
use crate::registrar::Registrar;
use crate::registrar::http::{ALLOW_PLAIN_HTTP, HttpSettings, Identity, read_certificates};
use crate::registrar::kind::{Agent, Blueprint, Kind, Limits, Material, Unusable};

/// What a route's `registrar` may say of a Puppet Server's certificate authority.
pub(in crate::registrar) const KIND: Kind =
    Kind { name: "puppet-ca", page: "puppet-ca.md", keys: KEYS, errors: &[super::errors::ERRORS, crate::registrar::http::ERRORS], read };

/// The keys of its table.
const KEYS: &[Key] = &[
    required("kind", "`puppet-ca`", "The kind of server."),
    required("url", TEXT, "The Puppet (or OpenVox) Server that is the certificate authority, such as `https://puppet.example.com:8140`."),
    ALLOW_PLAIN_HTTP,
    required("certificate", "path", "The certificate, in PEM, of a client that may sign, revoke and clean."),
    required(
        "private_key",
        "path",
        "Its private key in PEM. The file belongs to the user that enrolld runs as, or to root, and nobody else may read it.",
    ),
    required("ca_file", "path", "Certificates in PEM: the only authorities that the server's certificate may come from."),
    usual(
        "replace_existing",
        SWITCH,
        "false",
        "Whether a request or certificate that stands under a node's name and is not its own is taken away for it. `false` ends the launch instead.",
    ),
];

/// A Puppet Server's authority as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    url: ServerUrl,
    allow_plain_http: bool,
    certificate: PathBuf,
    private_key: PathBuf,
    ca_file: PathBuf,
    replace_existing: bool,
}

fn read(table: &Section<'_, '_>) -> Option<Box<dyn Blueprint>> {
    let allow_plain_http = table.read("allow_plain_http", switch);
    // A switch that cannot be read is said to be wrong, and the URL not judged by it.
    let url = table.read("url", server_url(allow_plain_http.unwrap_or(true)));
    let certificate = table.read("certificate", path);
    let private_key = table.read("private_key", path);
    let ca_file = table.read("ca_file", path);
    let replace_existing = table.read("replace_existing", switch);
    Some(Box::new(Written {
        url: url?,
        allow_plain_http: allow_plain_http?,
        certificate: certificate?,
        private_key: private_key?,
        ca_file: ca_file?,
        replace_existing: replace_existing?,
    }))
}

impl Written {
    fn authority(&self, limits: &Limits) -> Result<PuppetCa, Unusable> {
        let http = HttpSettings {
            authorities: Some(read_certificates(&self.ca_file)?),
            identity: Some(Identity::read(&self.certificate, &self.private_key)?),
            allow_plain_http: self.allow_plain_http,
            ..HttpSettings::of(self.url.clone(), limits)
        };
        let settings = PuppetCaSettings { http, call_timeout: limits.call, replace_existing: self.replace_existing };
        Ok(PuppetCa::new(&settings)?)
    }
}

impl Blueprint for Written {
    fn about(&self) -> String {
        format!("server {}", self.url)
    }

    /// In whose name and by which authorities: what is refused to one certificate, or not believed by one route, stops no other.
    fn identity(&self) -> String {
        format!("{} {:?} {:?} {:?}", self.url, self.certificate, self.private_key, self.ca_file)
    }

    fn material(&self) -> Material {
        Material::CertificateRequest
    }

    fn gives_certificates(&self) -> bool {
        true
    }

    fn agent(&self) -> Option<Agent> {
        Some(Agent::Puppet)
    }

    fn refuses_names(&self, template: &Template) -> Option<Refusal> {
        let bad = template.sample();
        (!is_certname(&bad)).then(|| {
            let wrong = format!("{} makes names such as {}, which no Puppet certificate can have", shown(template.source()), shown(&bad));
            Refusal::new(wrong, "write only a-z 0-9 . _ - beside the placeholders")
        })
    }

    /// `starting`, `stopping` and `unknown` end.
    fn mends_itself(&self, state: &str) -> bool {
        state != "error"
    }

    fn check_files(&self, limits: &Limits) -> Result<(), Unusable> {
        self.authority(limits).map(drop)
    }

    fn build(&self, limits: &Limits, _: &aws_config::SdkConfig) -> Result<Arc<dyn Registrar>, Unusable> {
        Ok(Arc::new(self.authority(limits)?))
    }
}
