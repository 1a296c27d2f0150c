use super::*;
use crate::config::{Config, Environment, parse};
use crate::names::{AccountId, GroupName, Region};
use serde_json::{Value, json};

fn place(region: &str) -> Place {
    Place { region: Region::new(region).unwrap(), account: AccountId::new("123456789012").unwrap() }
}

fn config(top: &str, routes: &str) -> Config {
    let top = format!("queue_url = \"https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld\"\n{top}\n{routes}");
    parse(&top, "test", &Environment::new()).unwrap_or_else(|problems| panic!("{problems}"))
}

const CHEF: &str = r#"
[[route]]
name = "web"
groups = ["web-*", "shop"]
registrar = { kind = "opsworks-cm", server = "chef", engine = "chef" }
key = { parameter = "/enrolld/{instance_id}/public-key", owner_role = "arn:aws:iam::123456789012:role/web" }
"#;

const DEAD: &str = "dead_letter_queue_url = \"https://sqs.eu-central-1.amazonaws.com/123456789012/dead\"";

fn printed(config: &Config) -> Vec<WorkerPolicy> {
    worker(config, &place("eu-central-1"), None, Extras::default()).unwrap()
}

fn statement(policy: &Document, sid: &str) -> Value {
    let found = policy.statements().iter().find(|statement| statement.sid == sid);
    serde_json::to_value(found.unwrap_or_else(|| panic!("no {sid} in {policy:#?}"))).unwrap()
}

fn sids(policy: &Document) -> Vec<&str> {
    policy.statements().iter().map(|statement| statement.sid.as_str()).collect()
}

#[test]
fn the_smallest_configuration_has_its_queue_its_groups_its_parameters_and_its_server_alone() {
    let policies = printed(&config(DEAD, CHEF));
    assert_eq!(policies.len(), 1);
    let policy = &policies[0].document;
    assert_eq!(sids(policy), ["Queue", "DeadLetters", "SeeGroups", "LifecycleActions", "OwnedKeys", "Servers"]);
    assert_eq!(statement(policy, "Queue")["Resource"], json!(["arn:aws:sqs:eu-central-1:123456789012:enrolld"]));
    assert_eq!(statement(policy, "DeadLetters")["Resource"], json!(["arn:aws:sqs:eu-central-1:123456789012:dead"]));
    assert_eq!(statement(policy, "DeadLetters")["Action"], json!(["sqs:SendMessage"]));
    assert_eq!(
        statement(policy, "LifecycleActions")["Resource"],
        json!([
            "arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:*:autoScalingGroupName/web-*",
            "arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:*:autoScalingGroupName/shop"
        ])
    );
    assert_eq!(
        statement(policy, "OwnedKeys")["Resource"],
        json!(["arn:aws:ssm:eu-central-1:123456789012:parameter/enrolld/i-*/public-key"])
    );
    assert_eq!(statement(policy, "SeeGroups")["Condition"], json!({ "StringEquals": { "aws:RequestedRegion": ["eu-central-1"] } }));
    assert!(policies[0].notes.is_empty());
}

#[test]
fn only_what_knows_no_resources_is_allowed_on_all_of_them_and_then_in_one_region() {
    for policy in printed(&config(DEAD, &format!("{CHEF}{}", shell("batch")))) {
        for statement in policy.document.statements() {
            let everything = statement.resource.iter().any(|resource| resource == "*");
            assert_eq!(everything, statement.condition.get("StringEquals").is_some_and(|keys| keys.contains_key("aws:RequestedRegion")));
            let without_resources =
                |action: &&str| action.contains(":Describe") || action.starts_with("opsworks-cm:") || *action == "ssm:GetCommandInvocation";
            assert_eq!(everything, statement.action.iter().all(without_resources), "{statement:?}");
        }
    }
}

fn shell(name: &str) -> String {
    format!(
        r#"
[[route]]
name = "{name}"
groups = ["{name}-*"]
registrar = {{ kind = "opsworks-cm", server = "puppet", engine = "puppet" }}
key = {{ document = "AWS-RunShellScript", commands = ["cat /csr.pem"] }}
"#
    )
}

#[test]
fn run_shell_script_is_called_what_it_is() {
    let policies = printed(&config(DEAD, &shell("batch")));
    let policy = &policies[0].document;
    let root = statement(policy, "RunShellScriptIsRootOnEveryInstanceInScope");
    assert_eq!(root["Resource"], json!(["arn:aws:ssm:eu-central-1:*:document/AWS-RunShellScript"]));
    assert!(policies[0].notes[0].contains("route batch") && policies[0].notes[0].contains("root on every instance"));
    let own = shell("batch").replace("AWS-RunShellScript\", commands = [\"cat /csr.pem\"]", "Print-Csr\"");
    let policies = printed(&config(DEAD, &own));
    assert!(policies[0].notes.is_empty());
    assert_eq!(
        statement(&policies[0].document, "Documents")["Resource"],
        json!(["arn:aws:ssm:eu-central-1:123456789012:document/Print-Csr"])
    );
}

#[test]
fn commands_go_to_instances_of_the_routes_groups_alone() {
    let policies = printed(&config(DEAD, &format!("{CHEF}{}", shell("batch"))));
    let to = statement(&policies[0].document, "DocumentsToInstances");
    let shell = "arn:aws:ssm:eu-central-1:*:document/AWS-RunShellScript";
    assert_eq!(to["Resource"], json!([shell, "arn:aws:ec2:eu-central-1:123456789012:instance/*"]));
    assert_eq!(to["Condition"], json!({ "StringLike": { "ssm:resourceTag/aws:autoscaling:groupName": ["batch-*"] } }));
}

#[test]
fn a_route_with_a_role_has_its_permissions_in_that_roles_account_and_the_worker_only_assumes_it() {
    let text = CHEF.replace("role/web\" }", "role/web\" }\nrole_arn = \"arn:aws:iam::210987654321:role/enrolld\"\nexternal_id = \"x-7\"");
    let text = text.replace("iam::123456789012:role/web", "iam::210987654321:role/web");
    let policies = printed(&config(&format!("{DEAD}\naccounts = [\"210987654321\"]"), &text));
    assert_eq!(policies.len(), 2);
    assert_eq!(sids(&policies[0].document), ["Queue", "DeadLetters", "Roles"]);
    let roles = statement(&policies[0].document, "Roles");
    assert_eq!(roles["Resource"], json!(["arn:aws:iam::210987654321:role/enrolld"]));
    assert_eq!(
        roles["Condition"],
        json!({ "StringEquals": { "sts:ExternalId": ["x-7"] }, "StringLike": { "sts:RoleSessionName": ["enrolld-*"] } })
    );
    assert_eq!(policies[1].role.as_ref().map(|role| role.as_str()), Some("arn:aws:iam::210987654321:role/enrolld"));
    let keys = statement(&policies[1].document, "OwnedKeys");
    assert_eq!(keys["Resource"], json!(["arn:aws:ssm:eu-central-1:210987654321:parameter/enrolld/i-*/public-key"]));
}

#[test]
fn routes_in_several_regions_have_statements_of_their_own_names() {
    let other = CHEF.replace("\"web\"", "\"far\"\nregion = \"us-gov-west-1\"").replace("web-*", "far-*").replace("\"shop\"", "\"far\"");
    let top = format!("{DEAD}\nregions = [\"eu-central-1\", \"us-gov-west-1\"]");
    let policies = printed(&config(&top, &format!("{CHEF}{other}")));
    let mut names = sids(&policies[0].document);
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "{names:?}");
    let far = statement(&policies[0].document, "OwnedKeysUsGovWest1");
    assert_eq!(far["Resource"], json!(["arn:aws-us-gov:ssm:us-gov-west-1:123456789012:parameter/enrolld/i-*/public-key"]));
}

#[test]
fn a_dead_letter_queue_that_only_the_redrive_policy_names_must_be_said() {
    let config = config("", CHEF);
    assert_eq!(worker(&config, &place("eu-central-1"), None, Extras::default()), Err(PlaceError::DeadLetters));
    let arn: DeadLetterQueue = "arn:aws:sqs:eu-central-1:123456789012:dead".parse().unwrap();
    let policies = worker(&config, &place("eu-central-1"), Some(&arn), Extras::default()).unwrap();
    assert_eq!(statement(&policies[0].document, "DeadLetters")["Action"], json!(["sqs:SendMessage", "sqs:GetQueueUrl"]));
    let policies = worker(&config, &place("eu-central-1"), Some(&DeadLetterQueue::None), Extras::default()).unwrap();
    assert!(!sids(&policies[0].document).contains(&"DeadLetters"));
    for bad in ["", "dead", "arn:aws:sqs:eu-central-1:123456789012:*", "arn:aws:sns:eu-central-1:123456789012:dead", "*"] {
        assert!(bad.parse::<DeadLetterQueue>().is_err(), "{bad}");
    }
}

#[test]
fn the_extras_are_there_only_when_asked_for() {
    let config = config(DEAD, &format!("{CHEF}{}", shell("batch")));
    let with = |extras| worker(&config, &place("eu-central-1"), None, extras).unwrap().remove(0).document;
    let actions =
        |policy: &Document| -> Vec<&'static str> { policy.statements().iter().flat_map(|statement| &statement.action).copied().collect() };
    let plain = actions(&with(Extras::default()));
    let check = with(Extras { check: true, ..Extras::default() });
    for action in ["autoscaling:DescribeAutoScalingGroups", "ssm:DescribeParameters", "ssm:DescribeDocument"] {
        assert!(!plain.contains(&action) && actions(&check).contains(&action), "{action}");
    }
    let letters = with(Extras { dead_letters: true, ..Extras::default() });
    assert_eq!(statement(&letters, "SendBack")["Resource"], json!(["arn:aws:sqs:eu-central-1:123456789012:enrolld"]));
    assert!(!sids(&with(Extras::default())).contains(&"SendBack"));
}

#[test]
fn a_dollar_in_a_groups_name_is_no_policy_variable() {
    let policies = printed(&config(DEAD, &CHEF.replace("shop", "${*}")));
    let groups = statement(&policies[0].document, "LifecycleActions")["Resource"].to_string();
    assert!(groups.contains("autoScalingGroupName/${$}{*}"), "{groups}");
}

#[test]
fn an_instance_may_write_its_key_once_and_nothing_else() {
    let policies = instances(&config(DEAD, &format!("{CHEF}{}", shell("batch"))), &place("eu-central-1"), Scripts::default(), None);
    assert_eq!(policies.len(), 2);
    let document = serde_json::to_value(policies[0].document.as_ref().unwrap()).unwrap();
    let names = json!(["arn:aws:ssm:eu-central-1:123456789012:parameter/enrolld/i-*/public-key"]);
    assert_eq!(
        document,
        json!({ "Version": "2012-10-17", "Statement": [
            { "Sid": "PublishKeyOnce", "Effect": "Allow", "Action": ["ssm:PutParameter"], "Resource": names },
            { "Sid": "NeverReplaceKey", "Effect": "Deny", "Action": ["ssm:PutParameter"], "Resource": names,
              "Condition": { "StringEquals": { "ssm:Overwrite": ["true"] } } },
            { "Sid": "NeverLetKeyExpire", "Effect": "Deny", "Action": ["ssm:PutParameter"], "Resource": names,
              "Condition": { "StringEquals": { "ssm:Policies": ["true"] } } },
        ] })
    );
    assert_eq!(policies[1].document, None, "Run Command takes nothing from the instance");
}

#[test]
fn a_parameter_that_names_its_group_is_confined_to_the_routes_groups() {
    let config = config(DEAD, &CHEF.replace("/enrolld/{instance_id}", "/enrolld/{group}/{account}/{region}/{instance_id}"));
    let policies = instances(&config, &place("eu-central-1"), Scripts::default(), None);
    assert_eq!(
        policies[0].document.as_ref().unwrap().statements()[0].resource,
        [
            "arn:aws:ssm:eu-central-1:123456789012:parameter/enrolld/web-*/123456789012/eu-central-1/i-*/public-key",
            "arn:aws:ssm:eu-central-1:123456789012:parameter/enrolld/shop/123456789012/eu-central-1/i-*/public-key"
        ]
    );
}

#[test]
fn a_script_that_completes_a_hook_may_do_that_alone_and_on_its_own_group() {
    let config = config(DEAD, CHEF);
    let scripts = |launch_kit, converge_hook, group: Option<&str>| {
        let group = group.map(|group| GroupName::new(group).unwrap());
        let scripts = Scripts { launch_kit, converge_hook, converge_heartbeat: false };
        let policies = instances(&config, &place("eu-central-1"), scripts, group.as_ref());
        let document = policies[0].document.clone().unwrap();
        let actions: Vec<_> = document.statements().iter().flat_map(|statement| statement.action.clone()).collect();
        (document, actions, policies[0].note.clone())
    };
    let (document, actions, note) = scripts(true, true, Some("shop"));
    assert_eq!(actions, ["ssm:PutParameter", "ssm:PutParameter", "ssm:PutParameter", "autoscaling:CompleteLifecycleAction"]);
    assert_eq!(
        statement(&document, "CompleteOwnHook")["Resource"],
        json!(["arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:*:autoScalingGroupName/shop"])
    );
    assert!(note.contains("any hook of its group"), "{note}");
    let (_, actions, note) = scripts(true, true, None);
    assert_eq!(actions, ["ssm:PutParameter"; 3], "no hook of all the route's groups");
    assert!(!note.contains("CompleteLifecycleAction"), "{note}");
    let (document, actions, _) = scripts(true, false, None);
    assert_eq!(actions.last(), Some(&"autoscaling:DescribeAutoScalingInstances"));
    assert_eq!(
        statement(&document, "SeeWhetherInService")["Condition"],
        json!({ "StringEquals": { "aws:RequestedRegion": ["eu-central-1"] } })
    );
    assert_eq!(scripts(false, false, None).1.len(), 3);
}

#[test]
fn for_one_group_the_policy_names_that_group_and_no_other() {
    let text = CHEF.replace("/enrolld/{instance_id}", "/enrolld/{group}/{instance_id}");
    let config = config(DEAD, &format!("{text}{}", shell("batch")));
    let scripts = Scripts { launch_kit: true, converge_hook: true, converge_heartbeat: true };
    let of = |group: &str| instances(&config, &place("eu-central-1"), scripts, Some(&GroupName::new(group).unwrap()));
    let policies = of("web-blue");
    assert_eq!(policies.len(), 1);
    let document = policies[0].document.as_ref().unwrap();
    let own = statement(document, "CompleteOwnHook");
    assert_eq!(own["Action"], json!(["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"]));
    let group =
        |name: &str| json!([format!("arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:*:autoScalingGroupName/{name}")]);
    assert_eq!(own["Resource"], group("web-blue"));
    assert_eq!(
        statement(document, "PublishKeyOnce")["Resource"],
        json!(["arn:aws:ssm:eu-central-1:123456789012:parameter/enrolld/web-blue/i-*/public-key"])
    );
    assert!(policies[0].note.contains("any hook of its group"), "{}", policies[0].note);
    assert_eq!(of("batch-1")[0].route, "batch");
    assert!(of("nobody").is_empty());
    // A name is no pattern, whatever stands in it.
    let own = statement(of("web-*$?")[0].document.as_ref().unwrap(), "CompleteOwnHook");
    assert_eq!(own["Resource"], group("web-${*}${$}${?}"));
}
