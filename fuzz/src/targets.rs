//! What must hold for any bytes. Each function takes one input, and panics where something does not hold; the fuzzer and the
//! test `fuzz_seeds` call the same ones.

use enrolld::config::{self, Environment};
use enrolld::event::{self, MAX_METADATA_BYTES, Notification};
use enrolld::facts::KeyAnswer;
use enrolld::key_material::check::check;
use enrolld::key_material::{CsrRules, Engine};
use enrolld::names::{AccountId, GroupName, InstanceId, NodeName, Origin, ParameterName, ReadBack, Region, Template, TemplateValues};
use enrolld::policy::{self, DeadLetterQueue, Extras, Place};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

/// The node that keys and requests are checked for.
pub const NODE: &str = "i-0a1b2c3d4e5f60718";
/// A piece of a value that is so long in a reason or an error was copied from it.
const REPEATED: usize = 24;

/// A message's body: whatever it is, it is read or refused, in one line that is fit for a log.
pub fn message(data: &[u8]) {
    let Ok(body) = std::str::from_utf8(data) else { return };
    match event::decode(body) {
        Ok(Notification::Action(action)) => {
            InstanceId::new(action.instance.as_str()).expect("an instance id is one");
            GroupName::new(action.group.as_str()).expect("a group's name is one");
            AccountId::new(action.account.as_str()).expect("an account is one");
            assert!(action.region.as_ref().is_none_or(|region| Region::new(region.as_str()).is_ok()));
            assert!(action.metadata.as_ref().is_none_or(|metadata| metadata.len() <= MAX_METADATA_BYTES));
        }
        Ok(Notification::Test { .. }) => {}
        Err(error) => {
            assert!(!error.code().is_empty());
            is_one_line(&error.to_string());
        }
    }
}

/// A Chef node's public key.
pub fn public_key(data: &[u8]) {
    let Some(pem) = checked(&Engine::Chef, data) else { return };
    let (_, block) = parse_x509_pem(pem.as_bytes()).expect("another reader reads it");
    if block.label == "PUBLIC KEY" {
        let (rest, key) = SubjectPublicKeyInfo::from_der(&block.contents).expect("another reader reads it");
        assert!(rest.is_empty());
        let Ok(PublicKey::RSA(key)) = key.parsed() else { panic!("it is no RSA key") };
        assert!(key.key_size() >= 2048, "{} bits", key.key_size());
    } else {
        assert_eq!(block.label, "RSA PUBLIC KEY");
    }
}

/// Puppet, where a role is allowed in requests.
fn puppet() -> Engine {
    Engine::Puppet(CsrRules::new([("1.3.6.1.4.1.34380.1.1.13", "web-*")]).expect("it may be allowed"))
}

/// Whether a value gets through: a seed that does not reaches less than it seems to.
pub fn is_let_through(data: &[u8], request: bool) -> bool {
    checked(&if request { puppet() } else { Engine::Chef }, data).is_some()
}

/// A Puppet node's certificate request, where one extension is allowed.
pub fn certificate_request(data: &[u8]) {
    let Some(pem) = checked(&puppet(), data) else { return };
    let (_, block) = parse_x509_pem(pem.as_bytes()).expect("another reader reads it");
    let (rest, request) = X509CertificationRequest::from_der(&block.contents).expect("another reader reads it");
    assert!(rest.is_empty());
    request.verify_signature().expect("its signature is its own");
    let names: Vec<_> = request.certification_request_info.subject.iter_common_name().map(|name| name.as_str()).collect();
    assert!(matches!(names[..], [Ok(NODE)]), "{names:?}");
    for extension in request.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension {
            assert!(names.general_names.iter().all(|name| matches!(name, GeneralName::DNSName(NODE))), "{names:?}");
        }
        if let ParsedExtension::UnsupportedExtension { oid } = extension {
            assert!(!oid.to_id_string().starts_with("1.3.6.1.4.1.34380.1.3"), "{oid}");
        }
    }
}

/// What the check lets through, after it has been seen to let the same through again; nothing where it refuses.
fn checked(engine: &Engine, data: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(data).ok()?;
    let node = NodeName::new(NODE).expect("it is a node's name");
    match check(engine, &node, Zeroizing::new(text.to_owned())) {
        KeyAnswer::Found(key) => {
            let again = check(engine, &node, Zeroizing::new(key.pem().to_owned()));
            assert!(matches!(again, KeyAnswer::Found(again) if again.pem() == key.pem()), "its own form is not stable");
            assert!(!key.pem().contains("PRIVATE"));
            Some(key.pem().to_owned())
        }
        KeyAnswer::Refused { reason, code, .. } => {
            assert!(!code.is_empty());
            is_one_line(&reason);
            repeats_nothing(&reason, text);
            None
        }
        KeyAnswer::Absent => panic!("something was there"),
    }
}

/// A template, filled in for two instances.
pub fn template(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let template = match Template::new(source) {
        Ok(template) => template,
        Err(error) => return is_one_line(&error.to_string()),
    };
    let (group, account) = (GroupName::new("web blue/1").expect("it is one"), AccountId::new("123456789012").expect("it is one"));
    let region = Region::new("eu-central-1").expect("it is one");
    let fill = |instance: &str| {
        let instance = InstanceId::new(instance).expect("it is one");
        template.fill(TemplateValues { instance: &instance, group: &group, account: &account, region: &region })
    };
    let (one, other) = (fill("i-0a1b2c3d"), fill("i-0a1b2c3e"));
    assert_eq!(template.names_the_instance(), one != other, "two instances with one name, or one with two");
    assert!(one.starts_with(template.prefix()));
    // Names that could be read in two ways are those of templates that the configuration refuses.
    let ours =
        |origin: &Origin| origin.account.as_ref().is_none_or(|of| *of == account) && origin.region.as_ref().is_none_or(|of| *of == region);
    for name in ["i-0a1b2c3d", "i-0a1b2c3d4e5f60718"].map(fill) {
        let ambiguous = template.read_back(&name, ours) == ReadBack::Ambiguous;
        assert!(!(template.tells_instances_apart() && ambiguous), "{name:?}");
    }
    for name in
        [NodeName::new(&one).map(|name| name.to_string()), ParameterName::new(&one).map(|name| name.to_string())].into_iter().flatten()
    {
        assert!(name.is_ascii() && !name.contains(|c: char| c.is_control() || c.is_whitespace()));
    }
}

/// A configuration: read, or refused with a line for each mistake. What is read can be run, and has its policies.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let config = match config::parse(text, "fuzzed.toml", &Environment::new()) {
        Ok(config) => config,
        Err(problems) => {
            let said = problems.to_string();
            assert_eq!(said.lines().count(), problems.iter().count(), "{said:?}");
            return said.lines().for_each(is_one_line);
        }
    };
    let settings = config.core_settings();
    assert_eq!(settings.routes.len(), config.routes.len());
    let place =
        Place { region: Region::new("eu-central-1").expect("it is one"), account: AccountId::new("123456789012").expect("it is one") };
    let extras = Extras { check: true, dead_letters: true, sweep: true };
    let policies = policy::worker(&config, &place, Some(&DeadLetterQueue::None), extras).expect("all is known");
    for document in policies.iter().map(|policy| &policy.document) {
        for statement in document.statements() {
            assert!(!statement.action.is_empty() && !statement.resource.is_empty());
            assert!(statement.sid.chars().all(|c| c.is_ascii_alphanumeric()), "{}", statement.sid);
        }
    }
    assert_eq!(policy::instances(&config, &place, policy::Scripts::default(), None).len(), config.routes.len());
}

/// A text for a log: one line without anything that could forge another.
fn is_one_line(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.len() < 4096, "{} bytes", text.len());
}

/// No longer piece of a value stands in a text about it.
fn repeats_nothing(about: &str, value: &str) {
    let bytes = about.as_bytes();
    for piece in bytes.windows(REPEATED).filter_map(|piece| std::str::from_utf8(piece).ok()) {
        // A value may well be made of our own words.
        assert!(!value.contains(piece) || !piece.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)), "{about}");
    }
}
