//! The rooms that speak to AWS, through the driver's one door, against canned answers on loopback.

mod canned;
mod key_material;
mod lifecycle;
mod queue;
mod registrar;
mod trouble;

use enrolld::core::call::KeyWanted;
use enrolld::names::{InstanceId, NodeName, ParameterName};

/// An RSA-2048 public key, made for these tests and used nowhere else.
const PUBLIC_KEY: &str = include_str!("public.pem");

fn instance(id: &str) -> InstanceId {
    InstanceId::new(id).unwrap()
}

/// A node that is named after its instance, with a parameter.
fn wanted(id: &str) -> KeyWanted {
    KeyWanted {
        instance: instance(id),
        node: NodeName::new(id).unwrap(),
        parameter: Some(ParameterName::new(&format!("/enrolld/{id}/key")).unwrap()),
    }
}
