//! The worker itself is away, for longer than its route allows: what still waits when it is back is enrolled, not abandoned.

use enrolld::simulator::model::agent::{AgentOptions, Material, Publish};
use enrolld::simulator::model::autoscaling::{Closing, GroupOptions, Kind};
use enrolld::simulator::model::opsworks_cm::ServerOptions;
use enrolld::simulator::model::sqs::QueueOptions;

use crate::invariants;
use crate::plan::{BEGIN, Deed, Plan, QUEUE, SERVERS};
use crate::run;
use crate::stage::Tracing;

const MINUTE: u64 = 60_000;

/// One worker with a route of fifteen minutes, hooks of an hour, and nothing that goes wrong by itself.
fn plan(script: Vec<(u64, Deed)>) -> Plan {
    let mut plan = Plan::of(1);
    plan.workers = 1;
    plan.off_ms = vec![0];
    plan.grace_ms = 25_000;
    plan.config = format!(
        r#"
queue_url = "http://127.0.0.1:4599/123456789012/{QUEUE}"
region = "eu-central-1"
worker = "fleet"
listen = "off"
poll_wait = "20s"
visibility_timeout = "120s"

[[route]]
name = "web"
groups = ["web-*"]
registrar = {{ kind = "opsworks-cm", server = "{}", engine = "chef" }}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", require_owner = false }}
timeout = "15m"
max_abandons = 100
"#,
        SERVERS[0]
    );
    plan.fixture.faults.clear();
    plan.fixture.queues[1].options = QueueOptions::default();
    for server in &mut plan.fixture.servers {
        server.options = ServerOptions::default();
    }
    for group in &mut plan.fixture.groups {
        group.options = GroupOptions { agent: agent(100), ..GroupOptions::default() };
        for hook in &mut group.hooks {
            hook.heartbeat_timeout = 3600;
        }
    }
    plan.script = script;
    plan.calm_at = BEGIN + 40 * MINUTE;
    plan.may_abandon = false;
    plan.refuses = false;
    plan
}

fn agent(after_ms: u64) -> AgentOptions {
    let publish = Publish::Parameter { name: "/enrolld/{instance_id}/public-key".into(), after_ms, jitter_ms: 0, secure: false };
    AgentOptions { publish, material: Material::Good, ..AgentOptions::default() }
}

fn launch(at: u64, after_ms: u64) -> (u64, Deed) {
    (BEGIN + at, Deed::Launch { group: 0, agent: agent(after_ms), into_pool: false })
}

#[test]
fn launches_that_waited_while_the_worker_was_down_for_longer_than_their_route_allows_are_enrolled() {
    // Two are in hand when it dies: one waits for its key, which comes while it is down. Ten are launched while it is down; of those three
    // publish their key only five minutes after it is back, 25 minutes and more after they began to wait.
    let mut script = vec![launch(1_000, 100), launch(2 * MINUTE, 3 * MINUTE), launch(2 * MINUTE, 4 * MINUTE)];
    script.push((BEGIN + 3 * MINUTE, Deed::Crash { worker: 0, down_ms: 20 * MINUTE }));
    script.extend((0..7).map(|n| launch(3 * MINUTE + 10_000 + n * 1_000, 100)));
    script.extend((0..3).map(|n| launch(3 * MINUTE + 30_000 + n * 1_000, 25 * MINUTE)));
    let plan = plan(script);
    let outcome = run::run(&plan, Tracing::Off);
    let (broken, _) = invariants::broken(&plan, &outcome);
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(outcome.crashes, 1);
    let actions = &outcome.state.details.as_ref().expect("the long lists were asked for").actions;
    let launches: Vec<_> = actions.iter().filter(|action| action.transition == Kind::Launching).collect();
    assert_eq!(launches.len(), 13, "and none was launched in another's place");
    let mut waited = 0;
    for action in launches {
        assert_eq!((action.closed_by, action.result.as_deref()), (Some(Closing::Completed), Some("CONTINUE")), "{action:?}");
        let took = action.closed_ms.expect("it is closed") - action.began_ms;
        waited += usize::from(took > 15 * MINUTE);
    }
    assert!(waited >= 12, "only {waited} waited for longer than the route allows");
    assert!(outcome.reasons.is_empty(), "{:?}", outcome.reasons);
}

#[test]
fn a_launch_whose_own_time_runs_out_after_the_worker_is_back_is_abandoned_for_that_and_not_before() {
    let mut script = vec![launch(MINUTE, 90 * MINUTE)];
    script.push((BEGIN + 2 * MINUTE, Deed::Crash { worker: 0, down_ms: 20 * MINUTE }));
    let mut plan = plan(script);
    plan.may_abandon = true;
    plan.fixture.groups[0].options.replace_abandoned = false;
    let outcome = run::run(&plan, Tracing::Off);
    let actions = &outcome.state.details.as_ref().expect("the long lists were asked for").actions;
    let action = actions.iter().find(|action| action.transition == Kind::Launching).expect("there was one");
    assert_eq!((action.closed_by, action.result.as_deref()), (Some(Closing::Completed), Some("ABANDON")), "{action:?}");
    let took = action.closed_ms.expect("it is closed") - action.began_ms;
    // Down for twenty minutes from its second on, and then fifteen of its own.
    assert!((35 * MINUTE..38 * MINUTE).contains(&took), "{took} ms");
    assert!(outcome.reasons.values().all(|reason| reason.contains("no_key")), "{:?}", outcome.reasons);
}
