//! OpsWorks CM.

use std::sync::Arc;

use enrolld::core::call::{Answer, Call, NodeOrder, RouteId};
use enrolld::event::{Envelope, LifecycleAction, Transition};
use enrolld::facts::{Certificate, Health, KeyMaterial, Registration, RegistrationStatus, StatusToken};
use enrolld::names::{AccountId, GroupName, HookName, LifecycleActionToken, NodeName};
use enrolld::retry::Class;
use serde_json::json;

use crate::canned::{Canned, Reply};
use crate::{PUBLIC_KEY, instance};

const CHEF: RouteId = RouteId(0);
const PUPPET: RouteId = RouteId(2);

fn order() -> NodeOrder {
    let action = LifecycleAction {
        transition: Transition::Launching,
        instance: instance("i-0a1b2c3d"),
        group: GroupName::new("web").unwrap(),
        hook: HookName::new("enrol").unwrap(),
        token: LifecycleActionToken::new("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").unwrap(),
        account: AccountId::new("123456789012").unwrap(),
        region: None,
        time_ms: None,
        origin: None,
        destination: None,
        metadata: None,
        envelope: Envelope::Direct,
    };
    NodeOrder { node: NodeName::new("i-0a1b2c3d").unwrap(), action: Arc::new(action), metadata: None }
}

fn associate(route: RouteId) -> Call {
    Call::Associate { route, order: order(), key: KeyMaterial::new(PUBLIC_KEY.to_owned().into()) }
}

fn status() -> Call {
    Call::AssociationStatus { route: CHEF, order: order(), token: StatusToken::new("t") }
}

#[tokio::test]
async fn a_chef_node_joins_its_organization_with_its_key() {
    let server = Canned::serve([Reply::ok(r#"{"NodeAssociationStatusToken":"t"}"#)]).await;
    let Answer::Registration(result) = server.services.perform(associate(CHEF)).await else { panic!() };
    assert_eq!(result, Ok(Registration::InProgress(StatusToken::new("t"))));
    let asked = server.asked_json();
    assert_eq!((&asked["ServerName"], &asked["NodeName"]), (&json!("chef"), &json!("i-0a1b2c3d")));
    let attributes = asked["EngineAttributes"].as_array().unwrap();
    assert!(attributes.contains(&json!({"Name": "CHEF_ORGANIZATION", "Value": "default"})));
    assert!(attributes.contains(&json!({"Name": "CHEF_NODE_PUBLIC_KEY", "Value": PUBLIC_KEY})));
}

#[tokio::test]
async fn a_puppet_node_joins_with_its_request_alone_and_leaves_with_nothing() {
    let server = Canned::serve([Reply::ok("{}"), Reply::ok("{}")]).await;
    let Answer::Registration(result) = server.services.perform(associate(PUPPET)).await else { panic!() };
    assert_eq!(result, Ok(Registration::Done), "without a token there is nothing to ask after");
    let Answer::Registration(Ok(_)) = server.services.perform(Call::Disassociate { route: PUPPET, order: order() }).await else { panic!() };
    let bodies: Vec<serde_json::Value> = server.asked().iter().map(|asked| serde_json::from_str(&asked.body).unwrap()).collect();
    assert_eq!(bodies[0]["EngineAttributes"], json!([{"Name": "PUPPET_NODE_CSR", "Value": PUBLIC_KEY}]));
    assert_eq!(bodies[1]["EngineAttributes"], json!(null));
}

#[tokio::test]
async fn each_error_has_its_class() {
    for (code, class) in [
        ("InvalidStateException", Class::NotReady),
        ("ResourceNotFoundException", Class::RouteFault),
        ("AccessDeniedException", Class::RouteFault),
        ("ThrottlingException", Class::Throttled),
        ("ValidationException", Class::Final),
    ] {
        let server = Canned::serve([Reply::json_error(400, code, "why")]).await;
        let Answer::Registration(Err(failure)) = server.services.perform(associate(CHEF)).await else { panic!() };
        assert_eq!((failure.class, failure.code.as_str(), failure.detail.as_str()), (class, code, "why"));
    }
}

#[tokio::test]
async fn a_message_that_quotes_the_key_is_not_kept() {
    let quote = format!("Value '{}' is not valid", PUBLIC_KEY.replace('\n', "\\n"));
    let server = Canned::serve([Reply::json_error(400, "ValidationException", &quote)]).await;
    let Answer::Registration(Err(failure)) = server.services.perform(associate(CHEF)).await else { panic!() };
    assert!(!failure.detail.contains("BEGIN"), "{}", failure.detail);
}

#[tokio::test]
async fn a_status_is_one_of_four() {
    let is = |status: &str| Reply::ok(format!(r#"{{"NodeAssociationStatus":"{status}"}}"#));
    let busy = Reply::ok(r#"{"Servers":[{"ServerName":"chef","Status":"UNDER_MAINTENANCE"}]}"#);
    let gone = Reply::json_error(400, "ResourceNotFoundException", "");
    let server = Canned::serve([is("IN_PROGRESS"), is("SUCCESS"), is("FAILED"), busy, gone]).await;
    let ask = || async {
        let Answer::Status(Ok(status)) = server.services.perform(status()).await else { panic!() };
        status
    };
    assert_eq!(ask().await, RegistrationStatus::InProgress);
    assert_eq!(ask().await, RegistrationStatus::Success);
    let RegistrationStatus::Failed(why) = ask().await else { panic!() };
    assert!(why.contains("UNDER_MAINTENANCE"), "the server's state stands beside it: {why}");
    assert_eq!(ask().await, RegistrationStatus::UnknownToken);
}

#[tokio::test]
async fn a_puppet_node_gets_the_certificate_that_comes_with_the_status() {
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let with = |value: &str| {
        let attributes = json!([{"Name": "OTHER", "Value": "x"}, {"Name": "PUPPET_NODE_CERT", "Value": value}]);
        Reply::ok(json!({"NodeAssociationStatus": "SUCCESS", "EngineAttributes": attributes}).to_string())
    };
    let server = Canned::serve([with(certificate), with("no certificate")]).await;
    let Answer::Status(status) = server.services.perform(status()).await else { panic!() };
    assert_eq!(status, Ok(RegistrationStatus::Signed(Certificate(certificate.into()))));
    let Answer::Status(status) = server.services.perform(self::status()).await else { panic!() };
    assert_eq!(status, Ok(RegistrationStatus::Success), "what is no certificate is not handed on");
}

#[tokio::test]
async fn only_a_healthy_server_is_ready() {
    let is = |status: &str| Reply::ok(format!(r#"{{"Servers":[{{"ServerName":"chef","Status":"{status}"}}]}}"#));
    let server = Canned::serve([is("HEALTHY"), is("RUNNING"), is("UNDER_MAINTENANCE"), Reply::ok(r#"{"Servers":[]}"#)]).await;
    let ask = || async {
        let Answer::Health(health) = server.services.perform(Call::CheckHealth { route: CHEF }).await else { panic!() };
        health
    };
    assert_eq!(ask().await, Ok(Health::Ready));
    assert_eq!(ask().await, Ok(Health::NotReady("RUNNING".into())));
    assert_eq!(ask().await, Ok(Health::NotReady("UNDER_MAINTENANCE".into())));
    assert_eq!(ask().await.unwrap_err().class, Class::RouteFault);
}

#[tokio::test]
async fn a_node_that_is_not_there_leaves_without_stopping_the_others() {
    let missing = || Reply::json_error(400, "ResourceNotFoundException", "not found, or access denied");
    let leave = || Call::Disassociate { route: CHEF, order: order() };
    let healthy = Reply::ok(r#"{"Servers":[{"ServerName":"chef","Status":"HEALTHY"}]}"#);
    let server = Canned::serve([missing(), healthy]).await;
    let Answer::Registration(result) = server.services.perform(leave()).await else { panic!() };
    assert_eq!(result, Ok(Registration::Done), "the server is there, so it is the node that is not");

    let server = Canned::serve([missing(), missing()]).await;
    let Answer::Registration(Err(failure)) = server.services.perform(leave()).await else { panic!() };
    assert_eq!(failure.class, Class::RouteFault, "neither is there");

    let busy = Reply::ok(r#"{"Servers":[{"ServerName":"chef","Status":"UNDER_MAINTENANCE"}]}"#);
    let server = Canned::serve([missing(), busy]).await;
    let Answer::Registration(Err(failure)) = server.services.perform(leave()).await else { panic!() };
    assert_eq!(failure.class, Class::NotReady);
}
