//! What tests of Chef servers share: keys, orders, settings.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use enrolld::core::call::NodeOrder;
use enrolld::event::{Envelope, LifecycleAction, Transition};
use enrolld::facts::{KeyMaterial, ListMark, NodeList};
use enrolld::names::{AccountId, GroupName, HookName, InstanceId, LifecycleActionToken, NodeName, ServerUrl};
use enrolld::registrar::http::{HttpSettings, PrivateKey};
use enrolld::registrar::{ChefSettings, NodeWork, Registrar};
use pem::Pem;
use zeroize::Zeroizing;

/// A key pair as a node makes it for itself.
pub struct NodeKey {
    /// `PUBLIC KEY`
    pub public: String,
    /// The same key as `RSA PUBLIC KEY`.
    pub public_pkcs1: String,
    /// `PRIVATE KEY`
    private: String,
}

impl NodeKey {
    pub fn new() -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("AWS-LC makes keys");
        let private: Pkcs8V1Der<'_> = key.as_der().expect("it can be written");
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().expect("it can be written");
        Self {
            public: pem::encode(&Pem::new("PUBLIC KEY", public.as_ref())).replace("\r\n", "\n"),
            public_pkcs1: pem::encode(&Pem::new("RSA PUBLIC KEY", key.public_key().as_ref())),
            private: pem::encode(&Pem::new("PRIVATE KEY", private.as_ref())),
        }
    }

    /// What enrolld is given of it.
    pub fn material(&self) -> KeyMaterial {
        KeyMaterial::new(Zeroizing::new(self.public.clone()))
    }

    /// What the node keeps of it.
    pub fn private(&self) -> PrivateKey {
        PrivateKey::from_pem(self.private.as_bytes()).expect("it is a private key")
    }
}

/// An order for the node of this number.
pub fn order(number: u32) -> NodeOrder {
    let instance = InstanceId::new(&format!("i-{number:017x}")).expect("it is an instance id");
    let node = NodeName::new(instance.as_str()).expect("it is a node name");
    let action = LifecycleAction {
        transition: Transition::Launching,
        instance,
        group: GroupName::new("web").expect("it is a name"),
        hook: HookName::new("enrol").expect("it is a name"),
        token: LifecycleActionToken::new("3f2c1b0a-0000-4000-8000-000000000000").expect("it is a token"),
        account: AccountId::new("123456789012").expect("it is an account"),
        region: None,
        time_ms: None,
        origin: None,
        destination: None,
        metadata: None,
        envelope: Envelope::Direct,
    };
    NodeOrder { node, action: Arc::new(action), metadata: None }
}

/// Settings for a server on this machine.
pub fn settings(url: &str, client_name: &str, client_key: PrivateKey) -> ChefSettings {
    ChefSettings {
        http: HttpSettings {
            url: ServerUrl::new(url).expect("it is a base URL"),
            authorities: None,
            identity: None,
            connect_timeout: Duration::from_secs(2),
            attempt_timeout: Duration::from_secs(10),
            allow_plain_http: false,
            max_answer: HttpSettings::MAX_ANSWER,
        },
        client_name: client_name.to_owned(),
        client_key,
        work: NodeWork::RunList { environment: "_default".to_owned(), run_list: vec!["recipe[base]".to_owned()] },
        replace_existing: false,
        call_timeout: Duration::from_secs(20),
    }
}

/// All nodes that a registrar lists, sorted, each once.
pub async fn all_nodes(registrar: &dyn Registrar) -> Vec<String> {
    let mut all = Vec::new();
    let mut after: Option<ListMark> = None;
    loop {
        let NodeList::Page { names, next } = registrar.list(after.as_ref()).await.expect("it lists them") else {
            panic!("a Chef server lists its nodes");
        };
        all.extend(names.iter().map(ToString::to_string));
        after = next;
        if after.is_none() {
            break;
        }
    }
    all.sort();
    all.dedup();
    all
}
