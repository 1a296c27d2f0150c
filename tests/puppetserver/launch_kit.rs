//! The launch kit's Puppet variant, run for real: openssl makes the request, the worker has the real server sign it, and the script brings the
//! certificate home.

use enrolld::simulator::model::autoscaling::{Kind, LifecycleState, NewHook};

use crate::kit::{Bench, GROUP, openssl};
use crate::server::{changed, key_of};

#[tokio::test]
async fn an_instance_fetches_the_certificate_that_was_signed_for_its_key_and_the_agent_runs() {
    let server = changed().await;
    let route = format!(
        r#"
registrar = {}
key = {{ parameter = "/enrolld/{{instance_id}}/csr", owner_role = "arn:aws:iam::123456789012:role/enrolld-node" }}
certificate_parameter = "/enrolld/{{instance_id}}/certificate"
"#,
        server.as_configured()
    );
    let mut bench = Bench::start("puppetserver", &route, |_| {}).await;
    bench.work();
    let id = bench.launch(&["--launch-kit"]);
    let agent = "openssl x509 -in \"$SSL_DIR/certs/$NODE_NAME.pem\" -noout -subject > ran";
    bench
        .boot(&id, &["--agent", agent], &[])
        .await
        .expect("waiting does not panic")
        .must(0, &["published", "enrolled", "is InService", "the agent has run"]);
    let certificate = std::fs::read_to_string(bench.file(&id, &format!("ssl/certs/{id}.pem"))).expect("it was fetched");
    assert!(server.verifies(&certificate), "it verifies against the authority");
    let public = openssl(&["pkey", "-pubout"], &bench.file(&id, &format!("ssl/private_keys/{id}.pem")));
    let der = pem::parse(public).expect("PEM");
    assert_eq!(key_of(&certificate), der.contents(), "it belongs to the key that never left the instance");
    assert!(std::fs::read_to_string(bench.file(&id, "ran")).expect("it ran").contains(&id));
    bench.until_state(&id, LifecycleState::InService).await;
    bench.no_private_key_has_left();
    bench.nothing_was_denied();
}

#[tokio::test]
async fn the_usual_puppet_agent_applies_its_catalogue_and_the_second_hook_is_completed() {
    let server = changed().await;
    let route = format!(
        r#"
registrar = {}
key = {{ parameter = "/enrolld/{{instance_id}}/csr", owner_role = "arn:aws:iam::123456789012:role/enrolld-node" }}
certificate_parameter = "/enrolld/{{instance_id}}/certificate"
node_name = "{{instance_id}}.agent"
"#,
        server.as_configured()
    );
    let mut bench = Bench::start("puppet-agent", &route, |fixture| {
        fixture.groups[0].hooks.push(NewHook {
            name: "converge".into(),
            transition: Kind::Launching,
            heartbeat_timeout: 3600,
            default_result: "ABANDON".into(),
            metadata: None,
            delivery: None,
        });
    })
    .await;
    bench.work();
    let id = bench.launch(&["--converge-hook", "converge", "--group", GROUP]);
    // The command is the kit's own, the agent the real one. What an image's puppet.conf says, it is told here: which server, and which folders are its own.
    let own = bench.file(&id, "puppet").display().to_string();
    let port = server.port();
    bench.install(
        &id,
        "puppet",
        &format!(
            "echo \"$*\" >>told\nexec /usr/bin/puppet \"$@\" --server localhost --serverport {port} --confdir {own}/conf --vardir {own}/var --publicdir {own}/public"
        ),
    );
    let ran = bench.boot(&id, &["--converge-hook", "converge"], &[]).await.expect("waiting does not panic");
    ran.must(0, &["enrolled", "the agent has run", "converge is completed"]);
    let report = std::fs::read_to_string(bench.file(&id, "puppet/var/state/last_run_report.yaml")).expect("the agent leaves a report");
    assert!(report.contains("transaction_completed: true") && !report.contains("status: failed"), "{report}");
    let told = std::fs::read_to_string(bench.file(&id, "told")).expect("it was run");
    assert!(told.contains(&format!("agent --onetime --no-daemonize --detailed-exitcodes --certname {id}.agent --ssldir ")), "{told}");
    bench.until_state(&id, LifecycleState::InService).await;
    bench.no_private_key_has_left();
    bench.nothing_was_denied();
}
