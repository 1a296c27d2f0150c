//! SSM.

use enrolld::core::call::{Answer, Call, RouteId, ScopeId};
use enrolld::facts::{Certificate, CommandId, CommandOutput, KeyAnswer};
use enrolld::names::ParameterName;
use enrolld::retry::Class;
use serde_json::json;

use crate::canned::{Canned, Reply};
use crate::{PUBLIC_KEY, instance, wanted};

const ANYBODYS: RouteId = RouteId(0);
const OWNED: RouteId = RouteId(1);
const COMMAND: RouteId = RouteId(2);

fn session_of(id: &str) -> String {
    format!("arn:aws:sts::123456789012:assumed-role/web/{id}")
}

#[tokio::test]
async fn parameters_are_answered_in_the_order_asked() {
    let server = Canned::serve([Reply::ok(
        json!({
            "Parameters": [
                {"Name": "/enrolld/i-00000003/key", "Value": PUBLIC_KEY, "Version": 1},
                {"Name": "/enrolld/i-00000001/key", "Value": "pending", "Version": 1},
            ],
            "InvalidParameters": ["/enrolld/i-00000002/key"],
        })
        .to_string(),
    )])
    .await;
    let call = Call::FetchKeys { route: ANYBODYS, wanted: ["i-00000001", "i-00000002", "i-00000003"].map(wanted).to_vec() };
    let Answer::Keys(Ok(keys)) = server.services.perform(call).await else { panic!() };
    assert!(matches!(keys[0], Ok(KeyAnswer::Refused { code: "not_pem", security: false, .. })));
    assert!(matches!(keys[1], Ok(KeyAnswer::Absent)));
    let Ok(KeyAnswer::Found(key)) = &keys[2] else { panic!() };
    assert_eq!(key.pem(), PUBLIC_KEY);
    assert_eq!(server.asked_json()["WithDecryption"], json!(true));
}

#[tokio::test]
async fn one_bad_name_fails_the_whole_read() {
    let server = Canned::serve([Reply::json_error(400, "ValidationException", "bad name")]).await;
    let call = Call::FetchKeys { route: ANYBODYS, wanted: vec![wanted("i-00000001"), wanted("i-00000002")] };
    let Answer::Keys(Err(failure)) = server.services.perform(call).await else { panic!() };
    assert_eq!(failure.class, Class::Final);
}

#[tokio::test]
async fn with_an_owner_the_newest_version_counts_and_its_writer() {
    let mine = session_of("i-00000001");
    let history = |versions: &[(i64, &str)], more: &str| {
        let versions: Vec<_> =
            versions.iter().map(|(number, user)| json!({"Version": number, "LastModifiedUser": user, "Value": PUBLIC_KEY})).collect();
        Reply::ok(json!({"Parameters": versions, "NextToken": more}).to_string())
    };
    // The instance's own; then another's over it, on a second page; then its own over another's.
    for (first, second, good) in [((1, mine.as_str()), None, true), ((1, &mine), Some((2, "x")), false), ((1, "x"), Some((2, &mine)), true)]
    {
        let mut pages = vec![history(&[first], if second.is_some() { "t" } else { "" })];
        pages.extend(second.map(|second| history(&[second], "")));
        let server = Canned::serve(pages).await;
        let call = Call::FetchKeys { route: OWNED, wanted: vec![wanted("i-00000001")] };
        let Answer::Keys(Ok(keys)) = server.services.perform(call).await else { panic!() };
        match &keys[0] {
            Ok(KeyAnswer::Found(_)) => assert!(good),
            Ok(KeyAnswer::Refused { code: "foreign_key", security: true, .. }) => assert!(!good),
            other => panic!("{other:?}"),
        }
        assert!(server.asked()[0].operation.ends_with("GetParameterHistory"));
    }
}

#[tokio::test]
async fn another_instances_writing_is_refused() {
    let theirs = session_of("i-00000002");
    let version = json!({"Parameters": [{"Version": 1, "LastModifiedUser": theirs, "Value": PUBLIC_KEY}]});
    let server = Canned::serve([Reply::ok(version.to_string()), Reply::json_error(400, "ParameterNotFound", "")]).await;
    let call = Call::FetchKeys { route: OWNED, wanted: vec![wanted("i-00000001"), wanted("i-00000003")] };
    let Answer::Keys(Ok(keys)) = server.services.perform(call).await else { panic!() };
    let Ok(KeyAnswer::Refused { code, reason, security }) = &keys[0] else { panic!() };
    assert_eq!((*code, *security), ("foreign_key", true));
    assert!(reason.contains("i-00000002") && !reason.contains(&PUBLIC_KEY[30..60]));
    assert!(matches!(keys[1], Ok(KeyAnswer::Absent)));
}

#[tokio::test]
async fn a_command_waits_for_all_agents() {
    let server = Canned::serve([
        Reply::json_error(400, "InvalidInstanceId", ""),
        Reply::ok(r#"{"Command":{"CommandId":"11111111-2222-3333-4444-555555555555"}}"#),
    ])
    .await;
    let send = || server.services.perform(Call::SendCommand { route: COMMAND, instances: vec![instance("i-00000001")] });
    let Answer::CommandSent(Err(failure)) = send().await else { panic!() };
    assert_eq!(failure.class, Class::NotReady);
    let Answer::CommandSent(Ok(CommandId(id))) = send().await else { panic!() };
    assert_eq!(&*id, "11111111-2222-3333-4444-555555555555");
    assert!(!server.asked()[0].body.contains("Parameters"), "a document of one's own takes none");
}

#[tokio::test]
async fn one_command_is_sent_to_several_instances_and_each_has_its_own_output() {
    let server = Canned::serve([
        Reply::ok(r#"{"Command":{"CommandId":"11111111-2222-3333-4444-555555555555"}}"#),
        Reply::ok(json!({"Status": "Success", "StandardOutputContent": ""}).to_string()),
    ])
    .await;
    let instances: Vec<_> = (1..=50).map(|n| instance(&format!("i-{n:08x}"))).collect();
    let Answer::CommandSent(Ok(command)) =
        server.services.perform(Call::SendCommand { route: COMMAND, instances: instances.clone() }).await
    else {
        panic!()
    };
    let asked = server.asked_json();
    let named: Vec<_> = asked["InstanceIds"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    assert_eq!(named, instances.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(asked["DocumentName"], "enrolld-csr");
    let Answer::Output(Ok(_)) = server.services.perform(Call::FetchOutput { route: COMMAND, command, wanted: wanted("i-00000007") }).await
    else {
        panic!()
    };
    let output: serde_json::Value = serde_json::from_str(&server.asked()[1].body).unwrap();
    assert_eq!((&output["InstanceId"], &output["CommandId"]), (&json!("i-00000007"), &json!("11111111-2222-3333-4444-555555555555")));
}

#[tokio::test]
async fn with_an_owner_a_secure_string_is_asked_for_in_clear() {
    let version = json!({"Version": 1, "LastModifiedUser": session_of("i-00000001"), "Value": PUBLIC_KEY, "Type": "SecureString"});
    let server = Canned::serve([Reply::ok(json!({"Parameters": [version]}).to_string())]).await;
    let call = Call::FetchKeys { route: OWNED, wanted: vec![wanted("i-00000001")] };
    let Answer::Keys(Ok(keys)) = server.services.perform(call).await else { panic!() };
    assert!(matches!(keys[0], Ok(KeyAnswer::Found(_))));
    assert_eq!(server.asked_json()["WithDecryption"], json!(true));
}

#[tokio::test]
async fn a_commands_output_is_checked_and_its_failure_does_not_repeat_it() {
    let ended = |status: &str| {
        Reply::ok(json!({"Status": status, "StatusDetails": status, "ResponseCode": 1, "StandardOutputContent": PUBLIC_KEY, "StandardErrorContent": PUBLIC_KEY}).to_string())
    };
    let server = Canned::serve([
        Reply::json_error(400, "InvocationDoesNotExist", ""),
        ended("Pending"),
        ended("InProgress"),
        ended("Delayed"),
        ended("Success"),
        ended("Failed"),
        ended("TimedOut"),
        Reply::ok(json!({"Status": "Failed", "ResponseCode": 1, "StandardOutputContent": "-----BEGIN RSA PRIVATE KEY-----"}).to_string()),
    ])
    .await;
    let fetch = || async {
        let call = Call::FetchOutput { route: COMMAND, command: CommandId("c".into()), wanted: wanted("i-00000001") };
        let Answer::Output(Ok(output)) = server.services.perform(call).await else { panic!() };
        output
    };
    for _ in 0..4 {
        assert!(matches!(fetch().await, CommandOutput::Running));
    }
    assert!(matches!(fetch().await, CommandOutput::Ended(KeyAnswer::Refused { code: "wrong_label", .. })));
    for word in ["Failed", "TimedOut"] {
        let CommandOutput::Failed(why) = fetch().await else { panic!() };
        assert!(why.contains(word) && !why.contains("BEGIN"), "{why}");
    }
    // What it printed before it failed has leaked all the same.
    assert!(matches!(fetch().await, CommandOutput::Ended(KeyAnswer::Refused { code: "private_key", security: true, .. })));
}

#[tokio::test]
async fn a_parameter_that_was_not_there_is_deleted() {
    let server = Canned::serve([Reply::ok(r#"{"DeletedParameters":["/a"],"InvalidParameters":["/b"]}"#)]).await;
    let parameters = ["/a", "/b", "/c"].map(|name| ParameterName::new(name).unwrap()).to_vec();
    let Answer::Entries(Ok(entries)) = server.services.perform(Call::DeleteParameters { scope: ScopeId(0), parameters }).await else {
        panic!()
    };
    assert_eq!(entries[..2], [Ok(()), Ok(())]);
    assert_eq!(entries[2].as_ref().unwrap_err().class, Class::Transient);
}

#[tokio::test]
async fn a_certificate_is_written_over_whatever_stood_there() {
    let denied = Reply::json_error(400, "AccessDeniedException", "not authorized to perform: ssm:PutParameter");
    let full = Reply::json_error(400, "ParameterLimitExceeded", "");
    let server = Canned::serve([Reply::ok(r#"{"Version":2,"Tier":"Standard"}"#), denied, full]).await;
    let put = || async {
        let parameter = ParameterName::new("/enrolld/i-0a1b2c3d/certificate").unwrap();
        let call = Call::PutParameter { scope: ScopeId(0), parameter, certificate: Certificate("signed".into()) };
        let Answer::Delivered(result) = server.services.perform(call).await else { panic!() };
        result
    };
    assert_eq!(put().await, Ok(()));
    let asked = server.asked_json();
    assert_eq!((&asked["Name"], &asked["Value"]), (&json!("/enrolld/i-0a1b2c3d/certificate"), &json!("signed")));
    assert_eq!((&asked["Type"], &asked["Overwrite"]), (&json!("String"), &json!(true)));
    assert_eq!(put().await.unwrap_err().class, Class::RouteFault);
    assert_eq!(put().await.unwrap_err().class, Class::RouteFault, "nobody's can be written");
}
