//! What instances publish, and as whom.

use super::Scene;
use crate::simulator::model::agent::{AgentOptions, Material, Publish};
use crate::simulator::model::caller::Principal;
use crate::simulator::model::operation::Operation;
use crate::simulator::model::ssm::wire::{GetCommandInvocation, GetParameterHistory, PutParameter, SendCommand};

#[test]
fn an_instance_publishes_as_its_roles_session_and_in_its_own_time() {
    let mut scene = Scene::new();
    let agent = AgentOptions {
        publish: Publish::Parameter { name: "/keys/{instance_id}".into(), after_ms: 5_000, jitter_ms: 0, secure: false },
        material: Material::Literal("mine".into()),
        role: "web".into(),
        ..AgentOptions::default()
    };
    let instance = scene.launch_as(Some(&agent));
    let request = GetParameterHistory { name: format!("/keys/{instance}"), ..GetParameterHistory::default() };
    scene.pass(4_999);
    assert!(scene.world.get_parameter_history(scene.now, &scene.root, &request).is_err());
    scene.pass(1);
    let page = scene.world.get_parameter_history(scene.now, &scene.root, &request).expect("published");
    let entry = &page.parameters[0];
    assert_eq!(entry.value, "mine");
    let session = format!("arn:aws:sts::123456789012:assumed-role/web/{instance}");
    assert_eq!(entry.last_modified_user, session);
}

#[test]
fn an_instance_does_not_overwrite_what_was_planted_before() {
    let mut scene = Scene::new();
    let instance = scene.launch();
    let planted = PutParameter {
        name: format!("/enrolld/{instance}/public-key"),
        value: "planted".into(),
        r#type: Some("String".into()),
        ..PutParameter::default()
    };
    scene.world.put_parameter(scene.now, &scene.root, &planted).expect("the first");
    scene.pass(1_000);
    let counts = scene.world.state(false).counts;
    assert_eq!((counts.published, counts.publish_refused), (0, 1));
}

#[test]
fn an_instance_that_is_gone_publishes_nothing() {
    let mut scene = Scene::new();
    let agent = AgentOptions {
        publish: Publish::Parameter { name: "/keys/{instance_id}".into(), after_ms: 5_000_000, jitter_ms: 0, secure: false },
        ..AgentOptions::default()
    };
    let instance = scene.launch_as(Some(&agent));
    scene.world.terminate(scene.now, &instance);
    scene.pass(7_200_000);
    assert_eq!(scene.world.state(false).counts.published, 0);
}

#[test]
fn a_command_reaches_only_registered_instances() {
    let mut scene = Scene::new();
    let agent = AgentOptions { publish: Publish::RunCommand { after_ms: 0 }, registers_after_ms: Some(10_000), ..AgentOptions::default() };
    let (late, ready) = (scene.launch_as(Some(&agent)), scene.launch());
    scene.pass(1_000);
    let send = |instances: Vec<String>| SendCommand {
        instance_ids: instances,
        document_name: "AWS-RunShellScript".into(),
        parameters: [("commands".to_owned(), vec!["cat key".to_owned()])].into(),
        ..SendCommand::default()
    };
    let both = send(vec![late.to_string(), ready.to_string()]);
    let refusal = scene.world.send_command(scene.now, &scene.root, &both).expect_err("not registered");
    assert_eq!(refusal.code, "InvalidInstanceId");
    assert!(refusal.message.is_some_and(|text| text.contains(&*late) && !text.contains(&*ready)));
    scene.pass(9_000);
    let sent = scene.world.send_command(scene.now, &scene.root, &both).expect("registered");
    let look = GetCommandInvocation { command_id: sent.command.command_id, instance_id: late.to_string(), plugin_name: None };
    let early = scene.world.get_command_invocation(scene.now, &scene.root, &look).expect_err("too early");
    assert_eq!(early.code, "InvocationDoesNotExist");
    scene.pass(300);
    let running = scene.world.get_command_invocation(scene.now, &scene.root, &look).expect("known");
    assert_eq!(running.status, "InProgress");
    scene.pass(700);
    let done = scene.world.get_command_invocation(scene.now, &scene.root, &look).expect("known");
    assert_eq!(done.status, "Success");
    assert!(done.standard_output_content.starts_with("-----BEGIN PUBLIC KEY-----"));
}

#[test]
fn a_denied_call_is_counted_and_not_made() {
    let mut scene = Scene::new();
    scene.world.set_principal(Principal {
        access_key_id: "AKIADENIED".into(),
        arn: "arn:aws:iam::123456789012:user/denied".into(),
        account: None,
        denied: vec!["ssm:GetParameter*".into(), "ssm:GetParameters".into()],
        allowed: None,
    });
    let refusal = scene.world.admit(scene.now, "AKIADENIED", Operation::GetParameters).expect_err("denied");
    assert_eq!(refusal.code, "AccessDeniedException");
    assert!(scene.world.admit(scene.now, "AKIADENIED", Operation::PutParameter).is_ok());
    assert_eq!(scene.world.state(false).outcomes["ssm:GetParameters"]["AccessDeniedException"], 1);
}
