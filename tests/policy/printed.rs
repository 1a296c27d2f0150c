//! The command line: what stands on standard output can be given to IAM as it is.

use std::process::{Command, Output};

fn policy(arguments: &[&str]) -> Output {
    let example = format!("{}/deploy/enrolld.example.toml", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
    command.args(["policy", "--config", &example]).args(arguments).env_clear().output().expect("the binary was built")
}

const LETTERS: &str = "arn:aws:sqs:eu-central-1:123456789012:enrolld-dead-letters";

#[test]
fn the_policy_alone_stands_on_standard_output_and_the_rest_beside_it() {
    let output = policy(&["--dead-letter-queue", LETTERS]);
    assert!(output.status.success());
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document and nothing else");
    assert_eq!(document["Version"], "2012-10-17");
    assert!(String::from_utf8_lossy(&output.stderr).contains("# for the worker's own credentials"));
}

#[test]
fn a_dead_letter_queue_that_cannot_be_known_is_asked_for_and_nothing_is_printed() {
    let output = policy(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("--dead-letter-queue") && said.contains("dead_letter_queue_url"), "{said}");
}

#[test]
fn a_hook_of_ones_own_is_allowed_on_a_group_that_is_named_and_without_one_nothing_is_printed() {
    let refused = policy(&["--instance", "--converge-hook", "converge"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stdout.is_empty());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("--group <NAME>"), "{said}");
    let output = policy(&["--instance", "--converge-hook", "converge", "--group", "web-blue", "--output", "json"]);
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let statements = printed["policies"][0]["document"]["Statement"].as_array().expect("a policy");
    let own = statements.iter().find(|statement| statement["Sid"] == "CompleteOwnHook").expect("the hook may be completed");
    let resources = own["Resource"].as_array().expect("resources");
    assert!(resources.len() == 1 && resources[0].as_str().is_some_and(|arn| arn.ends_with("/web-blue")), "{resources:?}");
}

#[test]
fn the_instances_policy_is_printed_for_each_route_and_needs_no_dead_letter_queue() {
    let output = policy(&["--instance", "--output", "json"]);
    assert!(output.status.success());
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(printed["policies"][0]["route"], "web");
    assert_eq!(printed["policies"][0]["role"], "arn:aws:iam::123456789012:role/web-instances");
    assert_eq!(printed["policies"][1]["document"], serde_json::Value::Null);
}
