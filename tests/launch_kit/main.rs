//! The script of `enrolld launch-kit`, run for real: a shell runs it, openssl makes the key, the AWS CLI speaks to the simulator as the instance,
//! which may do what its printed policy allows. Run by `tests/launch_kit/run`, which brings the tools.

#[path = "../common/kit.rs"]
mod kit;
mod pauses;
mod pool;

use std::os::unix::fs::PermissionsExt as _;

use enrolld::simulator::model::agent::{AgentOptions, Material, Publish};
use enrolld::simulator::model::autoscaling::{Kind, LifecycleState, NewHook};
use enrolld::simulator::model::faults::{Effect, Fault};
use enrolld::simulator::model::opsworks_cm::Engine;
use enrolld::simulator::model::ssm::wire::CreateDocument;
use kit::{Bench, openssl};

const CHEF: &str = r#"
registrar = { kind = "opsworks-cm", server = "prod-chef", engine = "chef" }
key = { parameter = "/enrolld/{instance_id}/public-key", owner_role = "arn:aws:iam::123456789012:role/enrolld-node" }
"#;
const POLICY: &[&str] = &["--launch-kit"];
const CONVERGES: &[&str] = &["--converge-hook", "converge"];
const COMPLETES: &[&str] = &["--converge-hook", "converge", "--group", kit::GROUP];

/// The group has a second launch hook, which notifies nobody.
fn second_hook(fixture: &mut enrolld::simulator::model::fixture::Fixture) {
    fixture.groups[0].hooks.push(NewHook {
        name: "converge".into(),
        transition: Kind::Launching,
        heartbeat_timeout: 3600,
        default_result: "ABANDON".into(),
        metadata: None,
        delivery: None,
    });
}

/// The group has a terminate hook of nobody's, at which an instance stays while it runs.
fn stays_while_it_terminates(bench: &Bench) {
    let hook = NewHook {
        name: "slow".into(),
        transition: Kind::Terminating,
        heartbeat_timeout: 3600,
        default_result: "CONTINUE".into(),
        metadata: None,
        delivery: None,
    };
    bench.simulator.with(|world, now| world.create_hook(now, kit::GROUP, hook)).expect("the group is there");
}

fn completed(bench: &Bench, instance: &str, hook: &str, with: &str) -> bool {
    let actions = bench.details().actions;
    actions.iter().any(|action| action.instance == instance && action.hook == hook && action.result.as_deref() == Some(with))
}

/// Somebody else completes an instance's action at a hook.
async fn complete(bench: &Bench, instance: &str, hook: &str, with: &str) {
    let endpoint = bench.simulator.endpoint();
    let tools = std::env::var("ENROLLD_KIT_TOOLS").expect("the stage's script sets it");
    let (instance, hook, with) = (instance.to_owned(), hook.to_owned(), with.to_owned());
    // The simulator runs on this thread.
    let ended = tokio::task::spawn_blocking(move || {
        let mut command = std::process::Command::new(format!("{tools}/aws"));
        command.args(["autoscaling", "complete-lifecycle-action", "--region", "eu-central-1", "--auto-scaling-group-name", kit::GROUP]);
        command.args(["--lifecycle-hook-name", &hook, "--instance-id", &instance, "--lifecycle-action-result", &with]);
        command.envs([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", "AKIAOTHER"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        command.status().expect("the AWS CLI is there")
    });
    assert!(ended.await.expect("waiting does not panic").success());
}

fn fault(operation: &str, effect: Effect, limit: u64) -> Fault {
    Fault { id: None, operation: operation.into(), effect, probability: 1.0, limit: Some(limit), after_ms: 0, for_ms: None }
}

#[tokio::test]
async fn an_instance_makes_its_key_and_ends_in_service() {
    let mut bench = Bench::start("chef", CHEF, |_| {}).await;
    bench.work();
    let id = bench.launch(POLICY);
    let ran = bench.boot(&id, &[], &[]).await.expect("waiting does not panic");
    ran.must(0, &["published /enrolld/", &format!("{id} is InService, enrolled as {id}")]);
    assert_eq!(bench.state(&id), LifecycleState::InService);
    let key = bench.file(&id, "client.pem");
    assert_eq!(std::fs::metadata(&key).expect("there is a key").permissions().mode() & 0o777, 0o600);
    assert_eq!(openssl(&["pkey", "-pubout"], &key), std::fs::read_to_string(bench.file(&id, "client.pub")).expect("its public half"));
    let published = std::process::Command::new("openssl").args(["dgst", "-md5", "-r"]).arg(bench.file(&id, "client.pub")).output();
    let published = String::from_utf8(published.expect("there is openssl").stdout).expect("it is text");
    let nodes = &bench.simulator.state(true).servers["prod-chef"].nodes;
    assert_eq!(published.split(' ').next(), Some(nodes[&id].fingerprint.as_str()), "the server has this instance's key");
    bench.no_private_key_has_left();
    bench.nothing_was_denied();
}

#[tokio::test]
async fn throttled_and_lost_writes_are_tried_again_and_a_second_run_keeps_the_key() {
    let mut bench = Bench::start("throttled", CHEF, |_| {}).await;
    bench.simulator.with(|world, now| {
        let throttled = Effect::Error { status: 400, code: Some("ThrottlingException".into()), message: Some("Rate exceeded".into()) };
        world.add_fault(now, fault("ssm:PutParameter", throttled, 2));
        world.add_fault(now, fault("ssm:PutParameter", Effect::LoseAnswer, 1));
    });
    bench.work();
    let id = bench.launch(POLICY);
    let ran = bench.boot(&id, &[], &[]).await.expect("waiting does not panic");
    ran.must(0, &["ThrottlingException", "InService"]);
    assert!(bench.simulator.state(false).calls["ssm:PutParameter"] >= 3);
    let key = std::fs::read(bench.file(&id, "client.pem")).expect("there is a key");
    bench.boot(&id, &[], &[]).await.expect("waiting does not panic").must(0, &["InService"]);
    assert_eq!(std::fs::read(bench.file(&id, "client.pem")).expect("there is a key"), key);
}

#[tokio::test]
async fn with_a_converge_hook_the_instance_is_in_service_only_after_the_agents_first_success() {
    let mut bench = Bench::start("converge", CHEF, second_hook).await;
    bench.work();
    let id = bench.launch(COMPLETES);
    // An agent that fails until somebody lets it, as one does whose server does not know it yet.
    let agent = "echo >tried; test -e let-it && umask > umask && env > environment && printf %s \"$NODE_NAME\" > ran";
    let booted = bench.boot(&id, &[CONVERGES, &["--agent", agent]].concat(), &[]);
    let enrolled = |bench: &Bench| completed(bench, &id, "enrol-on-launch", "CONTINUE");
    bench.until("enrolled, and its agent has tried", |bench| enrolled(bench) && bench.file(&id, "tried").exists()).await;
    assert_eq!(bench.state(&id), LifecycleState::PendingWait, "enrolled is not converged");
    std::fs::write(bench.file(&id, "let-it"), "").expect("the folder is ours");
    booted.await.expect("waiting does not panic").must(0, &["the agent ended with 1", "the agent has run", "converge is completed"]);
    bench.until_state(&id, LifecycleState::InService).await;
    assert_eq!(std::fs::read_to_string(bench.file(&id, "ran")).expect("it ran"), id);
    // As in the shell that started the script: what the agent writes is not as closed as the key.
    let outside = std::process::Command::new("sh").args(["-c", "umask"]).output().expect("there is a shell");
    assert_eq!(std::fs::read(bench.file(&id, "umask")).expect("it ran"), outside.stdout);
    // An agent's own calls of AWS are tried again as it has them tried, and not as often as the script's.
    let environment = std::fs::read_to_string(bench.file(&id, "environment")).expect("it ran");
    for name in ["AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_PAGER"] {
        assert!(!environment.lines().any(|line| line.starts_with(name)), "{environment}");
    }
    bench.nothing_was_denied();
}

#[tokio::test]
async fn a_script_whose_launch_is_abandoned_ends_and_one_whose_deadline_comes_too() {
    let bench = Bench::start("abandoned", CHEF, |_| {}).await;
    let id = bench.launch(POLICY);
    let booted = bench.boot(&id, &[], &[]);
    bench.until("published", |bench| bench.simulator.state(false).calls.contains_key("ssm:PutParameter")).await;
    stays_while_it_terminates(&bench);
    bench.simulator.with(|world, now| assert!(world.terminate(now, &id)));
    booted.await.expect("waiting does not panic").must(1, &["the launch was abandoned, and the instance terminates"]);
    let late = bench.launch(POLICY);
    let ran = bench.boot(&late, &[], &[("ENROLLD_DEADLINE", "3")]).await.expect("waiting does not panic");
    ran.must(1, &["waiting until in service was not done within 3 s"]);
}

#[tokio::test]
async fn a_hook_that_ran_out_meanwhile_is_not_said_to_be_completed() {
    let mut bench = Bench::start("ran-out", CHEF, second_hook).await;
    stays_while_it_terminates(&bench);
    bench.work();
    // The agent is long at work, and does well in the end.
    let agent = "echo >tried; until test -e let-it; do sleep 0.1; done";
    for (with, code, says) in
        [(None, 1, "the launch was abandoned"), (Some("CONTINUE"), 0, "no longer waiting: it was completed before, or ran out")]
    {
        let id = bench.launch(COMPLETES);
        let booted = bench.boot(&id, &[CONVERGES, &["--agent", agent]].concat(), &[]);
        bench.until("enrolled", |bench| completed(bench, &id, "enrol-on-launch", "CONTINUE") && bench.file(&id, "tried").exists()).await;
        match with {
            Some(result) => complete(&bench, &id, "converge", result).await,
            None => bench.simulator.with(|world, now| assert!(world.terminate(now, &id))),
        }
        std::fs::write(bench.file(&id, "let-it"), "").expect("the folder is ours");
        let ran = booted.await.expect("waiting does not panic");
        ran.must(code, &["the agent has run", says]);
        assert!(!ran.said.contains("is completed"), "{}", ran.said);
    }
    bench.nothing_was_denied();
}

#[tokio::test]
async fn the_second_hook_is_kept_from_running_out_for_as_long_as_the_script_works() {
    let mut bench = Bench::start("heartbeats", CHEF, second_hook).await;
    let beats = |bench: &Bench| bench.simulator.state(false).calls.get("autoscaling:RecordLifecycleActionHeartbeat").copied().unwrap_or(0);
    let id = bench.launch(&[COMPLETES, &["--converge-heartbeat"]].concat());
    let booted =
        bench.boot(&id, &[CONVERGES, &["--converge-heartbeat", "2", "--agent", "until test -e let-it; do sleep 0.1; done"]].concat(), &[]);
    // The agent is long at work.
    bench.until("two heartbeats", |bench| beats(bench) >= 2).await;
    std::fs::write(bench.file(&id, "let-it"), "").expect("the folder is ours");
    bench.work();
    booted.await.expect("waiting does not panic").must(0, &["converge is completed"]);
    bench.until_state(&id, LifecycleState::InService).await;
    bench.nothing_was_denied();
    let ended = beats(&bench);
    // One that was on its way when the script ended may arrive; who goes on sends one every second or two.
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    assert!(beats(&bench) <= ended + 1, "the script has ended, and its heartbeats go on: {ended}, then {}", beats(&bench));
}

#[tokio::test]
async fn the_policy_for_one_group_lets_no_instance_complete_the_hooks_of_another() {
    let mut bench = Bench::start("one-group", CHEF, second_hook).await;
    bench.work();
    let id = bench.launch(&["--converge-hook", "converge", "--group", "web-green"]);
    let kit = [CONVERGES, &["--agent", "true"]].concat();
    let ran = bench.boot(&id, &kit, &[("ENROLLD_DEADLINE", "5")]).await.expect("waiting does not panic");
    ran.must(1, &["published", "CompleteLifecycleAction: ", "AccessDenied", "completing converge was not done within 5 s"]);
    assert_eq!(bench.state(&id), LifecycleState::PendingWait);
    // For its own group it is as good as the one for all of them.
    let id = bench.launch(COMPLETES);
    bench.boot(&id, &kit, &[]).await.expect("waiting does not panic").must(0, &["converge is completed"]);
}

#[tokio::test]
async fn the_usual_chef_agent_accepts_the_licence_without_which_it_does_not_run() {
    let mut bench = Bench::start("licence", CHEF, second_hook).await;
    bench.work();
    let id = bench.launch(COMPLETES);
    // In the place of Chef Infra Client 15 and later, which nobody may hand on: it ends with 172 where its licence is not accepted.
    bench.install(
        &id,
        "chef-client",
        "case \" $* \" in *' --chef-license accept-silent '*) ;; *) echo 'Chef Infra Client cannot execute without accepting the license' >&2; exit 172 ;; esac\n\
         while [ $# -gt 0 ]; do case $1 in --once) once=1 ;; --chef-license) shift ;; --node-name) name=$2; shift ;; --client_key) key=$2; shift ;; *) exit 1 ;; esac; shift; done\n\
         [ \"$once\" = 1 ] && openssl pkey -in \"$key\" -noout && printf %s \"$name\" > ran",
    );
    bench.boot(&id, CONVERGES, &[]).await.expect("waiting does not panic").must(0, &["the agent has run", "converge is completed"]);
    assert_eq!(std::fs::read_to_string(bench.file(&id, "ran")).expect("it ran"), id);
}

#[tokio::test]
async fn what_the_templates_document_prints_on_an_instance_is_what_the_kit_made_there() {
    let route = "registrar = { kind = \"opsworks-cm\", server = \"prod-chef\", engine = \"chef\" }\nkey = { document = \"Print-Key\" }";
    let mut bench = Bench::start("document", route, |_| {}).await;
    // A key that is there is kept, so that it is known beforehand what the instance will have.
    let ready = bench.file("ready", "client.pem");
    std::fs::create_dir_all(ready.parent().expect("it has a folder")).expect("the folder is ours");
    let made = std::process::Command::new("openssl").args(["genrsa", "-out"]).arg(&ready).arg("2048").output().expect("there is openssl");
    assert!(made.status.success());
    let public = openssl(&["pkey", "-pubout"], &ready);
    let id = bench.launch_with(AgentOptions {
        publish: Publish::RunCommand { after_ms: 0 },
        material: Material::Literal(public.clone()),
        allowed: Some(bench.allowed(POLICY)),
        ..AgentOptions::default()
    });
    let content = r#"{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"print","inputs":{"runCommand":["cat /etc/enrolld/node.pub"]}}]}"#;
    let document = CreateDocument { name: "Print-Key".into(), content: content.into(), ..CreateDocument::default() };
    bench.simulator.with(|world, now| {
        let root = world.root();
        world.create_document(now, &root, &document).expect("it is a document");
    });
    let booted = bench.boot(&id, &[], &[("ENROLLD_KEY_FILE", ready.to_str().expect("the path is text"))]);
    let left = bench.file(&id, "enrolld/node");
    bench.until("the kit has left its key", |_| left.exists()).await;
    // The command of the shipped document, with the instance's folder in the place of its root.
    let template = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/cloudformation/queue.yaml");
    let template = std::fs::read_to_string(template).expect("it is there");
    assert!(template.contains("cat /etc/enrolld/node.pub]"), "the document prints another file");
    assert!(bench.printed(&["launch-kit", "--route", "web"]).contains("DOCUMENT_FILE=${ENROLLD_DOCUMENT_FILE:-/etc/enrolld/node.pub}"));
    let command = format!("cat {}", left.display());
    let printed = std::process::Command::new("sh").args(["-c", &command]).output().expect("there is a shell");
    assert_eq!(String::from_utf8(printed.stdout).expect("it is text"), public);
    bench.work();
    booted.await.expect("waiting does not panic").must(0, &["for the route's document to print", "InService"]);
    let nodes = &bench.simulator.state(true).servers["prod-chef"].nodes;
    assert!(nodes.contains_key(&id));
    bench.nothing_was_denied();
}

#[tokio::test]
async fn a_certificate_of_another_key_is_not_taken() {
    // The simulator's certificates are certificates in form only: they are of nobody's key.
    let route = r#"
registrar = { kind = "opsworks-cm", server = "prod-puppet", engine = "puppet" }
key = { parameter = "/enrolld/{instance_id}/csr", owner_role = "arn:aws:iam::123456789012:role/enrolld-node" }
certificate_parameter = "/enrolld/{group}/{instance_id}/certificate"
node_name = "{instance_id}.example.com"
"#;
    let mut bench = Bench::start("puppet", route, |fixture| {
        let chef = fixture.servers[0].clone();
        fixture.servers.push(enrolld::simulator::model::opsworks_cm::NewServer {
            name: "prod-puppet".into(),
            engine: Engine::Puppet,
            ..chef
        });
    })
    .await;
    bench.work();
    let id = bench.launch(POLICY);
    let booted = bench.boot(&id, &[], &[("ENROLLD_DEADLINE", "60")]);
    bench.until_state(&id, LifecycleState::InService).await;
    booted.await.expect("waiting does not panic").must(1, &["is no certificate of this instance's key", "was not done within 60 s"]);
    let request = bench.file(&id, &format!("ssl/certificate_requests/{id}.example.com.pem"));
    assert!(openssl(&["req", "-noout", "-subject", "-verify"], &request).contains(&format!("{id}.example.com")));
    assert!(!bench.file(&id, &format!("ssl/certs/{id}.example.com.pem")).exists());
    bench.nothing_was_denied();
}

#[test]
fn every_form_of_the_script_is_clean_by_shellcheck_and_runs_in_a_posix_shell() {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kit-lint");
    std::fs::create_dir_all(&folder).expect("the folder is there to be written to");
    let mut routes = String::from("queue_url = \"https://sqs.eu-central-1.amazonaws.com/123456789012/enrolld\"\n");
    let puppet = "registrar = { kind = \"opsworks-cm\", server = \"puppet\", engine = \"puppet\" }";
    let chef = "registrar = { kind = \"opsworks-cm\", server = \"chef\", engine = \"chef\" }";
    let key = "key = { parameter = \"/enrolld/{instance_id}\", require_owner = false }";
    for (name, route) in [
        ("chef", format!("{chef}\n{key}")),
        ("document", format!("{chef}\nkey = {{ document = \"Print\" }}")),
        ("puppet", format!("{puppet}\n{key}\ncertificate_parameter = \"/certificates/{{account}}/{{region}}/{{group}}/{{instance_id}}\"")),
        ("plain", format!("{puppet}\n{key}\nnode_name = \"{{group}}.{{instance_id}}\"")),
    ] {
        routes.push_str(&format!("[[route]]\nname = \"{name}\"\ngroups = [\"{name}-*\"]\n{route}\n"));
    }
    let config = folder.join("enrolld.toml");
    std::fs::write(&config, routes).expect("the folder is ours");
    for route in ["chef", "document", "puppet", "plain"] {
        for more in [&[][..], CONVERGES, &[CONVERGES, &["--converge-heartbeat", "600"]].concat(), &["--agent", "it's \"$NODE_NAME\""]] {
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_enrolld"))
                .env_clear()
                .args(["launch-kit", "--route", route, "--config"])
                .arg(&config)
                .args(more)
                .output()
                .expect("the binary was built");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let script = folder.join(format!("{route}.sh"));
            std::fs::write(&script, &output.stdout).expect("the folder is ours");
            for check in [&["shellcheck", "--shell=sh", "--severity=style"][..], &["sh", "-n"]] {
                let checked = std::process::Command::new(check[0]).args(&check[1..]).arg(&script).output().expect("tests/setup brings it");
                let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
                assert!(checked.status.success(), "{route} {more:?}\n{said}");
            }
        }
    }
}
