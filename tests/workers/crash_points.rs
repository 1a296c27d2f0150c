//! Every crash point: the worker is killed at each of the calls that it makes, in turn, and another finishes what it began.
//!
//! The calls are taken down from a run in which nobody is killed. They are the SDKs' own, over the wire: each kind of action has all
//! of its calls killed just before they are sent, when the service has carried them out, and when their answers have just come. Then it
//! must end as it did without the kill.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use enrolld::simulator::model::agent::{AgentOptions, Material, Publish};
use enrolld::simulator::model::opsworks_cm::{Engine, Repeated};

use crate::invariants;
use crate::plan::{BEGIN, DEAD_LETTERS, Deed, Plan, SERVERS};
use crate::run::{self, Outcome};
use crate::stage::{Calls, Point, Tracing};
use crate::stories::{ANYBODYS, CHEF, COMMAND, OWNED, PUPPET, launch, story, terminate};

/// The second worker comes a second after the first was killed.
const DOWN_MS: u64 = 1_000;
const ANSWERS: [Repeated; 3] = [Repeated::Success, Repeated::Failed, Repeated::Validation];

/// How everything ended, without names and times: these depend on how many calls there were.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    /// Each action: what it was, its result, and what closed it.
    actions: Vec<String>,
    /// What the dead letters say: one that was written just before a kill is written again.
    letters: BTreeSet<Letter>,
    states: BTreeMap<String, usize>,
    nodes: usize,
    parameters: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Letter {
    reason: String,
    /// A disassociation is owed.
    owed: bool,
}

impl End {
    /// Whether it is the same end, but for what nobody can know: a server that refuses to take off a node that it does not have leaves it
    /// open whether the node was there. Whoever finishes may say that it is owed although the killed one had done it, and in other words.
    fn is_as_good_as(&self, expected: &Self, refuses: bool) -> bool {
        let more = self.letters.difference(&expected.letters).all(|letter| refuses && letter.owed);
        let owed = self.letters.iter().any(|letter| letter.owed);
        let less = expected.letters.difference(&self.letters).all(|letter| letter.owed && owed);
        more && less && Self { letters: expected.letters.clone(), ..self.clone() } == *expected
    }
}

/// The calls at which a kill can change anything, counted from 1: all but those of an idle worker, which receives and receives.
fn worth_a_kill(calls: &[String]) -> Vec<usize> {
    let idle = |at: usize| at > 0 && calls[at] == "ReceiveMessage" && calls[at - 1] == "ReceiveMessage";
    (0..calls.len()).filter(|at| !idle(*at)).map(|at| at + 1).collect()
}

fn end(outcome: &Outcome) -> End {
    let state = &outcome.state;
    let details = state.details.as_ref().expect("the long lists were asked for");
    let action = |action: &enrolld::simulator::model::autoscaling::ActionState| {
        format!("{:?} {:?} {:?}", action.transition, action.result, action.closed_by)
    };
    let mut actions: Vec<String> = details.actions.iter().map(action).collect();
    actions.sort_unstable();
    let letters = state.queues[DEAD_LETTERS].messages.iter().map(|letter| Letter {
        reason: letter.attributes.get("EnrolldReason").cloned().unwrap_or_default(),
        owed: letter.attributes.contains_key("EnrolldOwed"),
    });
    let mut states = BTreeMap::new();
    details.instances.values().for_each(|instance| *states.entry(instance.state.name().to_owned()).or_default() += 1);
    End { actions, letters: letters.collect(), states, nodes: state.servers[SERVERS[0]].nodes.len(), parameters: details.parameters.len() }
}

fn sound(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let (mut broken, excused) = invariants::broken(plan, outcome);
    // One worker alone, and no message twice: there is nothing that nobody could know.
    if excused > 0 {
        broken.push(format!("{excused} nodes were excused"));
    }
    broken
}

/// Kills the worker at every call that it makes in a story, and gives the calls of the first run.
fn at_every_call(name: &str, plan: &Plan) -> Calls {
    let undisturbed = run::listen(plan);
    let broken = sound(plan, &undisturbed);
    assert!(broken.is_empty(), "{name}, undisturbed: {broken:#?}");
    let expected = end(&undisturbed);
    let calls = undisturbed.calls.expect("they were listened to");
    let kills: Vec<(Point, usize)> =
        [(Point::Unsent, &calls.sent), (Point::Processed, &calls.answered), (Point::Answered, &calls.answered)]
            .into_iter()
            .flat_map(|(point, calls)| worth_a_kill(calls).into_iter().map(move |call| (point, call)))
            .collect();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(&(point, call)) = kills.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut killed = plan.clone();
                    let deed = Deed::CrashAtCall { worker: 0, calls: call as u64, point, down_ms: DOWN_MS };
                    killed.script.insert(0, (BEGIN, deed));
                    let outcome = run::run(&killed, Tracing::Off);
                    let mut broken = sound(&killed, &outcome);
                    let ended = end(&outcome);
                    if !ended.is_as_good_as(&expected, plan.refuses) {
                        broken.push(format!("it ended as {ended:?} and not as {expected:?}"));
                    }
                    if outcome.crashes != 1 {
                        broken.push(format!("the worker was killed {} times", outcome.crashes));
                    }
                    if !broken.is_empty() {
                        let of = if point == Point::Unsent { &calls.sent } else { &calls.answered };
                        let text = format!("{name}: {point:?} {call} ({}): {broken:#?}", of[call - 1]);
                        wrong.lock().expect("nobody panics with it").push(text);
                    }
                }
            });
        }
    });
    println!("{name}: {} kills, {} calls", kills.len(), calls.sent.len());
    let wrong = wrong.into_inner().expect("nobody panics with it");
    assert!(wrong.is_empty(), "{} of {} kills:\n{}", wrong.len(), kills.len(), wrong.join("\n"));
    calls
}

/// The same, with some of the ways in which a server may answer what it is asked for twice, or with all of them where
/// `ENROLLD_CRASH_POINTS=all` says so.
fn whatever_the_server_answers(name: &str, some: &[Repeated], plan: impl Fn(Repeated) -> Plan, must_call: &[&str]) {
    let all = std::env::var_os("ENROLLD_CRASH_POINTS").is_some_and(|points| points == "all");
    for answers in if all { &ANSWERS[..] } else { some } {
        let calls = at_every_call(&format!("{name}, {answers:?}"), &plan(*answers));
        for operation in must_call {
            assert!(calls.sent.iter().any(|called| called == operation), "{name}: {operation} was never called: {:?}", calls.sent);
        }
    }
}

#[test]
fn a_worker_killed_at_any_call_of_a_launch_and_a_termination_leaves_it_all_to_the_next() {
    let plan = |answers| story(1, answers, &[CHEF, OWNED]).at(1, launch(100, Material::Good)).at(120, terminate());
    let calls = [
        "GetQueueAttributes",
        "GetQueueUrl",
        "ReceiveMessage",
        "DescribeAutoScalingInstances",
        "DescribeLifecycleHooks",
        "GetParameterHistory",
        "AssociateNode",
        "DescribeNodeAssociationStatus",
        "CompleteLifecycleAction",
        "DisassociateNode",
        "DeleteParameters",
        "DeleteMessageBatch",
    ];
    whatever_the_server_answers("a launch and a termination", &ANSWERS, plan, &calls);
}

#[test]
fn a_worker_killed_at_any_call_of_a_launch_whose_key_comes_late_leaves_it_all_to_the_next() {
    let route = [CHEF, ANYBODYS, "delete_key = \"on_success\"", "key_poll = \"15s\""];
    // The hook is short: whoever takes over must beat before its half is over.
    let short = |fixture: &mut enrolld::simulator::model::fixture::Fixture| {
        fixture.groups[0].hooks.iter_mut().for_each(|hook| hook.heartbeat_timeout = 120);
    };
    let plan = |answers| story(2, answers, &route).with(short).at(1, launch(200_000, Material::Good)).at(400, terminate());
    let calls = ["RecordLifecycleActionHeartbeat", "ChangeMessageVisibilityBatch", "GetParameters", "DeleteParameters"];
    whatever_the_server_answers("a late key", &ANSWERS[..1], plan, &calls);
}

#[test]
fn a_worker_killed_at_any_call_of_a_launch_with_a_bad_key_leaves_it_all_to_the_next() {
    let plan = |answers| story(3, answers, &[CHEF, OWNED]).at(1, launch(100, Material::Garbage));
    whatever_the_server_answers("a bad key", &ANSWERS[..1], plan, &["CompleteLifecycleAction", "SendMessage", "DisassociateNode"]);
}

#[test]
fn a_worker_killed_at_any_call_of_a_launch_that_its_server_fails_leaves_it_all_to_the_next() {
    let plan = |answers| {
        let failing = |fixture: &mut enrolld::simulator::model::fixture::Fixture| fixture.servers[0].options.failures = 1.0;
        Plan { may_abandon: true, ..story(4, answers, &[CHEF, OWNED]).with(failing).at(1, launch(100, Material::Good)) }
    };
    whatever_the_server_answers("a failed association", &ANSWERS, plan, &["CompleteLifecycleAction", "SendMessage", "DisassociateNode"]);
}

#[test]
fn a_worker_killed_at_any_call_of_a_launch_by_run_command_leaves_it_all_to_the_next() {
    // The agent registers late, and the key is there later still: the command is sent again and again.
    let agent =
        AgentOptions { publish: Publish::RunCommand { after_ms: 45_000 }, registers_after_ms: Some(20_000), ..AgentOptions::default() };
    let plan = |answers| {
        let launch = Deed::Launch { group: 0, agent: agent.clone(), into_pool: false };
        story(5, answers, &[CHEF, COMMAND]).at(1, launch).at(180, terminate())
    };
    whatever_the_server_answers("Run Command", &ANSWERS[..1], plan, &["SendCommand", "GetCommandInvocation"]);
}

#[test]
fn a_worker_killed_at_any_call_of_a_launch_that_waits_for_its_certificate_leaves_it_all_to_the_next() {
    let plan = |answers| {
        let puppet = |fixture: &mut enrolld::simulator::model::fixture::Fixture| fixture.servers[0].engine = Engine::Puppet;
        let never = AgentOptions { publish: Publish::Never, ..AgentOptions::default() };
        let launch = Deed::Launch { group: 0, agent: never, into_pool: false };
        story(6, answers, &[PUPPET, OWNED]).with(puppet).at(1, launch).at(20, Deed::Request).at(120, terminate())
    };
    whatever_the_server_answers("a certificate", &ANSWERS[..1], plan, &["PutParameter", "DeleteParameters"]);
}

#[test]
fn a_worker_killed_at_any_call_of_a_termination_whose_node_will_not_go_leaves_it_all_to_the_next() {
    let plan = |answers| {
        let plan = story(7, answers, &[CHEF, OWNED]).failing("opsworks-cm:DisassociateNode", 400, "ValidationException", 0, 100_000);
        plan.at(1, launch(100, Material::Good)).at(120, terminate())
    };
    // With a server that refuses both to associate anew and to take off, a launch that is taken up again cannot be told from a failed one.
    at_every_call("a refused disassociation", &plan(Repeated::Success));
}

#[test]
fn a_worker_killed_at_any_call_of_the_ways_through_a_warm_pool_leaves_it_all_to_the_next() {
    let plan = |answers| {
        let Deed::Launch { group, agent, .. } = launch(100, Material::Good) else { unreachable!("it is a launch") };
        story(8, answers, &[CHEF, OWNED])
            .at(1, Deed::Launch { group, agent, into_pool: true })
            .at(100, Deed::LeavePool { group: 0 })
            .at(200, Deed::ReturnToPool { pick: 0 })
            .at(300, Deed::Terminate { pick: 0, early: true })
    };
    whatever_the_server_answers("a warm pool", &ANSWERS, plan, &["DisassociateNode"]);
}

#[test]
fn a_worker_killed_at_any_call_while_it_shuts_down_leaves_it_all_to_the_next() {
    let plan = |answers| {
        // One waits for its key and is given back, one is being associated and ends.
        let plan = story(9, answers, &[CHEF, OWNED, "key_poll = \"2s\""]).with(|fixture| fixture.servers[0].options.association_ms = 3_000);
        plan.at(1, launch(120_000, Material::Good))
            .at(27, launch(100, Material::Good))
            .at(31, Deed::ShutDown { worker: 0, twice: false, down_ms: 15_000 })
            .at(250, terminate())
    };
    whatever_the_server_answers("a shutdown", &ANSWERS, plan, &["ChangeMessageVisibilityBatch", "CompleteLifecycleAction"]);
}

#[test]
fn a_worker_killed_at_any_call_while_its_server_is_under_maintenance_leaves_it_all_to_the_next() {
    let plan = |answers| {
        let maintenance = Deed::Maintenance { server: 0, for_ms: 60_000 };
        let plan = story(10, answers, &[CHEF, OWNED]).at(0, maintenance.clone()).at(1, launch(100, Material::Good));
        plan.at(199, maintenance).at(200, terminate())
    };
    whatever_the_server_answers("a maintenance", &ANSWERS[..1], plan, &["DescribeServers"]);
}

#[test]
fn a_worker_killed_at_any_call_about_an_instance_that_is_long_gone_leaves_it_all_to_the_next() {
    let plan = |answers| {
        // Each notification comes once more when the instance has been gone for minutes.
        let plan = story(11, answers, &[CHEF, OWNED]).at(1, launch(5_000, Material::Good)).at(2, Deed::Repeat { after_ms: 238_000 });
        let plan = plan.at(120, terminate()).at(121, Deed::Repeat { after_ms: 119_000 });
        plan.at(300, Deed::Garbage { number: 1 })
    };
    whatever_the_server_answers("long gone", &ANSWERS[..1], plan, &["DescribeScalingActivities", "SendMessage"]);
}
