use super::*;
use crate::config::{Environment, parse};

fn route(text: &str) -> Route {
    let text = format!(
        "queue_url = \"https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld\"\n[[route]]\nname = \"web\"\ngroups = [\"web-*\"]\n{text}"
    );
    let mut config = parse(&text, "test", &Environment::new()).unwrap_or_else(|problems| panic!("{problems}"));
    config.routes.remove(0)
}

fn chef() -> Route {
    route(
        r#"registrar = { kind = "opsworks-cm", server = "chef", engine = "chef" }
           key = { parameter = "/enrolld/{instance_id}/public-key", require_owner = false }
           timeout = "20m""#,
    )
}

fn puppet(more: &str) -> Route {
    route(&format!(
        r#"registrar = {{ kind = "opsworks-cm", server = "puppet", engine = "puppet" }}
           key = {{ parameter = "/enrolld/{{group}}/{{instance_id}}/csr", require_owner = false }}
           node_name = "{{instance_id}}.example.com"
           {more}"#
    ))
}

fn hook() -> Wishes {
    Wishes { converge_hook: Some(HookName::new("converge").unwrap()), ..Wishes::default() }
}

#[test]
fn a_chef_kit_publishes_a_public_key_and_waits_until_in_service() {
    let text = script(&chef(), &Wishes::default()).unwrap();
    for part in [
        "DEADLINE_S=${ENROLLD_DEADLINE:-172800}",
        "PARAMETER=\"/enrolld/${INSTANCE_ID}/public-key\"",
        "in_service()",
        "/etc/chef/client.pem",
    ] {
        assert!(text.contains(part), "{part}");
    }
    for part in ["openssl req", "complete()", "run_agent", "GROUP="] {
        assert!(!text.contains(part), "{part}");
    }
}

#[test]
fn a_puppet_kit_publishes_a_request_under_the_nodes_name_and_fetches_the_certificate() {
    let text = script(&puppet("certificate_parameter = \"/enrolld/{instance_id}/certificate\""), &Wishes::default()).unwrap();
    for part in ["openssl req -new", "NODE_NAME=\"${INSTANCE_ID}.example.com\"", "fetch_certificate", "GROUP=''", "read_group"] {
        assert!(text.contains(part), "{part}");
    }
    assert!(text.find("fetch_certificate") < text.find("in_service()"), "it is in service a little after it has its certificate");
}

#[test]
fn with_a_converge_hook_the_agent_runs_and_in_service_is_not_waited_for() {
    let text = script(&chef(), &hook()).unwrap();
    assert!(text.contains("CONVERGE_HOOK='converge'") && text.contains("chef-client --once --chef-license accept-silent"));
    assert!(!text.contains("keep_waiting"));
    assert!(!text.contains("in_service()"), "the instance is in service only after it");
    let text = script(&puppet(""), &hook()).unwrap();
    assert!(text.contains("puppet agent --onetime") && text.contains("AGENT_IS_WELL='0 2'"));
}

#[test]
fn a_group_that_is_known_is_not_asked_for() {
    let only = Route { groups: vec!["web-blue".into()], ..chef() };
    assert!(script(&only, &hook()).unwrap().contains("GROUP='web-blue'"));
    let wishes = Wishes { group: Some(GroupName::new("web-green").unwrap()), ..hook() };
    assert!(script(&chef(), &wishes).unwrap().contains("GROUP='web-green'"));
    let other = Wishes { group: Some(GroupName::new("batch").unwrap()), ..hook() };
    assert!(matches!(script(&chef(), &other), Err(KitError::Group { .. })));
}

#[test]
fn a_program_of_ones_own_takes_a_command_of_ones_own() {
    let route = route(
        "registrar = { kind = \"command\", program = \"/usr/local/bin/enrol\" }\nkey = { parameter = \"/e/{instance_id}\", require_owner = false }",
    );
    assert!(matches!(script(&route, &hook()), Err(KitError::Agent(_))));
    assert!(script(&route, &Wishes { agent: Some("converge --now".into()), ..hook() }).unwrap().contains("AGENT='converge --now'"));
}

#[test]
fn a_key_that_a_document_prints_is_not_published() {
    let route = route("registrar = { kind = \"opsworks-cm\", server = \"chef\", engine = \"chef\" }\nkey = { document = \"Print\" }");
    let text = script(&route, &Wishes::default()).unwrap();
    assert!(!text.contains("put-parameter") && text.contains("DOCUMENT_FILE=${ENROLLD_DOCUMENT_FILE:-/etc/enrolld/node.pub}"));
}

#[test]
fn the_templates_documents_print_the_files_that_a_kit_leaves_for_them() {
    let deploy = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for template in ["cloudformation/queue.yaml", "terraform/queue.tf"] {
        let text = std::fs::read_to_string(deploy.join(template)).unwrap();
        for file in [DOCUMENT_KEY, DOCUMENT_REQUEST] {
            assert!(text.contains(&format!("cat {file}")), "{template} does not print {file}");
        }
        assert_eq!(text.matches("cat /").count(), 2, "{template} prints something else");
    }
    let document = |engine: &str| {
        let registrar = format!("registrar = {{ kind = \"opsworks-cm\", server = \"s\", engine = \"{engine}\" }}");
        script(&route(&format!("{registrar}\nkey = {{ document = \"Print\" }}")), &Wishes::default()).unwrap()
    };
    assert!(document("chef").contains(DOCUMENT_KEY) && document("puppet").contains(DOCUMENT_REQUEST));
}

#[test]
fn every_kit_fits_into_user_data_also_as_cloud_config() {
    let route = puppet("certificate_parameter = \"/enrolld/{instance_id}/certificate\"");
    let text = script(&route, &hook()).unwrap();
    let config = cloud_init(&text).unwrap();
    assert!(config.len() + 6 * 1024 < LONGEST, "{} bytes leave little room for others", config.len());
    assert!(config.starts_with("#cloud-config\n") && config.contains("\n      set -eu\n"));
}

#[test]
fn a_converge_hook_is_kept_from_running_out_where_that_is_wished_from_the_start() {
    let text =
        script(&puppet("certificate_parameter = \"/enrolld/{instance_id}/certificate\""), &Wishes { heartbeat_s: Some(600), ..hook() })
            .unwrap();
    assert!(text.contains("HEARTBEAT_S=600") && text.find("keep_waiting &") < text.find("fetch_certificate"), "{text}");
}
