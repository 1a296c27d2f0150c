//! A kind of registrar: all that the rest of the house must know of one, said by the file that implements it.
//!
//! The configuration reads a route's `registrar` by [`Kind::keys`] and [`Kind::read`]; what comes out is a [`Blueprint`], which says what
//! `enrolld check`, `enrolld policy` and the rules about whole routes want to know, and makes the [`Registrar`] itself. Nobody else
//! asks which kind it is. `docs/new-registrar.md` adds one, step by step.

use std::any::Any;
use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::Registrar;
use super::meaning::Meaning;
use crate::config::Refusal;
use crate::config::keys::Key;
use crate::config::reader::Section;
use crate::names::Template;
use crate::retry::Failure;

/// A kind of registrar. Each is a constant of the file that implements it, and a line in [`super::KINDS`].
#[derive(Debug)]
pub struct Kind {
    /// As it is written: `kind = "…"`.
    pub name: &'static str,
    /// Its page of the documentation, in `docs`.
    pub page: &'static str,
    /// The keys that its table may have, `kind` first. `docs/configuration.md` shows them.
    pub keys: &'static [Key],
    /// What its failures mean, in parts: the only place where their classes are decided. Its page shows them.
    pub errors: &'static [&'static [Meaning]],
    /// Reads its table. What is wrong is noted in the section; nothing comes back where anything was.
    pub read: fn(&Section<'_, '_>) -> Option<Box<dyn Blueprint>>,
}

/// The limits that the configuration sets for every call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest that opening a connection may take.
    pub connect: Duration,
    /// The longest that one attempt of a call may take.
    pub attempt: Duration,
    /// The longest that a call may take in all.
    pub call: Duration,
}

/// What nodes publish for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Material {
    /// A public key.
    PublicKey,
    /// A certificate request.
    CertificateRequest,
}

/// What converges the nodes of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// `chef-client`
    Chef,
    /// `puppet agent`
    Puppet,
}

/// The IAM actions behind a registrar's calls, for a server that is asked through AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Behind [`Registrar::associate`].
    pub associate: &'static str,
    /// Behind [`Registrar::status`].
    pub status: &'static str,
    /// Behind [`Registrar::health`].
    pub health: &'static str,
    /// Behind [`Registrar::disassociate`].
    pub disassociate: &'static str,
}

/// What `enrolld check` says of a health probe that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What was found.
    pub found: String,
    /// What a person can do.
    pub remedy: &'static str,
}

/// Why a registrar could not be made. Kinds have causes of their own, so that this is whatever they say.
pub type Unusable = Box<dyn Error + Send + Sync>;

/// One server as a route's `registrar` names it: checked, and nothing opened yet.
pub trait Blueprint: Debug + Send + Sync + Comparable {
    /// Which server it is, as `enrolld check` calls it, such as `server https://chef.example.com`.
    fn about(&self) -> String;

    /// What tells servers of this kind apart: routes whose registrars say the same share one gate, so that a server that is not ready is
    /// probed once for all of them.
    fn identity(&self) -> String {
        self.about()
    }

    /// What nodes publish for it.
    fn material(&self) -> Material {
        Material::PublicKey
    }

    /// Whether the server gives back the certificate that it signs for a node.
    fn gives_certificates(&self) -> bool {
        false
    }

    /// What converges its nodes, where that is known.
    fn agent(&self) -> Option<Agent> {
        None
    }

    /// Why its nodes cannot be called so, where the server does not take such names.
    fn refuses_names(&self, _template: &Template) -> Option<Refusal> {
        None
    }

    /// Whether it is left open what the server answers to the association of a node that is there already, with this key or another. A
    /// refusal may then only mean that the node is there, so before it is believed the node is taken off and associated once more. Of
    /// every other server a refusal is believed at once, and nothing is taken off: another's node may stand there.
    fn leaves_repeats_open(&self) -> bool {
        false
    }

    /// Whether it is asked through AWS, which counts the calls for all servers of an account and region together, and knows each by a name that
    /// means another in the next account.
    fn is_counted_by_aws(&self) -> bool {
        self.rights().is_some()
    }

    /// The longest that one order takes, where the registrar's own table says that: it must be shorter than the route's budget.
    fn order_timeout(&self) -> Option<Duration> {
        None
    }

    /// The IAM actions that it takes, if it takes any.
    fn rights(&self) -> Option<&'static Rights> {
        None
    }

    /// Whether a server that says it is in this state ([`Health::NotReady`](crate::facts::Health::NotReady)) will be ready again without
    /// anybody's help, as after a backup.
    fn mends_itself(&self, _state: &str) -> bool {
        true
    }

    /// What a person can do about a health probe that failed; none where the missing right to [`Rights::health`] says it all.
    fn advice(&self, failure: &Failure) -> Option<Advice> {
        let remedy = match failure.code.as_str() {
            "unreachable" | "connection" | "timeout" => "look at the url, and at the network between here and the server",
            "tls" => "look at the url, at ca_file, and at the server's certificate",
            "clock_skew" => "set this machine's clock",
            "unauthorized" => "correct the client's name or key",
            "forbidden" => "give the client its rights on the server",
            _ => "correct what the message names",
        };
        Some(Advice { found: failure.to_string(), remedy })
    }

    /// Reads and checks the files that it names, without speaking to anybody.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check_files(&self, _limits: &Limits) -> Result<(), Unusable> {
        Ok(())
    }

    /// Makes the registrar. `aws` is the configuration of the route's account, region and role.
    ///
    /// # Errors
    /// A file that cannot be used, or settings that no connection can be made with.
    fn build(&self, limits: &Limits, aws: &aws_config::SdkConfig) -> Result<Arc<dyn Registrar>, Unusable>;
}

/// Comparing blueprints without knowing their kind; everything that can be compared with itself has it.
pub trait Comparable: Any {
    /// Whether the other is of the same type, and equal.
    fn is_equal(&self, other: &dyn Any) -> bool;
}

impl<T: PartialEq + Any> Comparable for T {
    fn is_equal(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>() == Some(self)
    }
}

impl PartialEq for dyn Blueprint {
    fn eq(&self, other: &Self) -> bool {
        self.is_equal(other as &dyn Any)
    }
}
