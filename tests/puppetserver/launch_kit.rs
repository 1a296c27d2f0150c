//! The launch kit's Puppet variant, run for real: openssl makes the request, the worker has the real server sign it, and the script brings the
//! certificate home.

use crate::kit::{Bench, openssl};
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
        .must(0, &["published", "enrolled", "the agent has run"]);
    let certificate = std::fs::read_to_string(bench.file(&id, &format!("ssl/certs/{id}.pem"))).expect("it was fetched");
    assert!(server.verifies(&certificate), "it verifies against the authority");
    let public = openssl(&["pkey", "-pubout"], &bench.file(&id, &format!("ssl/private_keys/{id}.pem")));
    let der = pem::parse(public).expect("PEM");
    assert_eq!(key_of(&certificate), der.contents(), "it belongs to the key that never left the instance");
    assert!(std::fs::read_to_string(bench.file(&id, "ran")).expect("it ran").contains(&id));
    bench.until_state(&id, enrolld::simulator::model::autoscaling::LifecycleState::InService).await;
    bench.no_private_key_has_left();
    bench.nothing_was_denied();
}
