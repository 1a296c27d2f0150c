//! `enrolld hooks` against a simulated AWS, as a person runs it, with the permissions that `docs/hooks.md` names and no others.

#[path = "common/permissions.rs"]
mod permissions;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use enrolld::simulator::model::autoscaling::{
    Closing, Delivery, Form, GroupOptions, Kind, LifecycleState, NewGroup, NewHook, Place, WarmPool,
};
use enrolld::simulator::model::caller::Principal;
use enrolld::simulator::model::faults::{Effect, Fault};
use enrolld::simulator::model::fixture::{Fixture, NewTopic};
use enrolld::simulator::model::grant::Grant;
use enrolld::simulator::{Options, Simulator};
use serde_json::Value;

const GROUP: &str = "web-new";
const ROLE: &str = "arn:aws:iam::123456789012:role/autoscaling-notify";
const QUEUE: &str = "arn:aws:sqs:eu-central-1:123456789012:enrolld-lifecycle";
const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:lifecycle";

/// Whose permissions the command has.
const KEY: &str = "AKIATEST";

struct Bench {
    simulator: Simulator,
    config: PathBuf,
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.simulator.with(|world, _| permissions::nothing_was_beyond(world));
        }
    }
}

/// The actions of whoever runs the command, as the page names them. `iam:PassRole` is no call, and what the notification role may is not his.
fn documented() -> BTreeSet<&'static str> {
    let page = include_str!("../docs/hooks.md").split("## Permissions").nth(1).expect("the page says which permissions it takes");
    let (theirs, _) = page.split_once("The role itself").expect("what the notification role may comes after");
    let actions = theirs.split('`').skip(1).step_by(2).filter(|word| word.contains(':') && *word != "iam:PassRole");
    actions.collect()
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    #[track_caller]
    fn must(&self, code: i32, says: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        for text in says {
            assert!(self.stdout.contains(text) || self.stderr.contains(text), "no {text:?} in {}{}", self.stdout, self.stderr);
        }
        self
    }
}

/// A group without hooks, beside the standard one that has them.
fn group(name: &str) -> NewGroup {
    NewGroup { name: name.into(), max_size: 100, min_size: 0, warm_pool: None, hooks: Vec::new(), options: GroupOptions::default() }
}

impl Bench {
    async fn start(name: &str) -> Self {
        Self::with(name, "", |_| {}).await
    }

    async fn with(name: &str, route: &str, change: impl FnOnce(&mut Fixture)) -> Self {
        let mut fixture = Fixture::standard();
        fixture.groups.extend([group(GROUP), group("batch")]);
        change(&mut fixture);
        let simulator = Simulator::start(Options { fixture, ..Options::default() }).await.expect("the simulator starts");
        let everywhere = |action: &str| Grant::allowing(action, "*");
        simulator.with(|world, _| world.confine(KEY, documented().into_iter().map(everywhere).collect()));
        let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("hooks-{name}.toml"));
        let text = format!(
            r#"
queue_url = "{}/123456789012/enrolld-lifecycle"
region = "eu-central-1"
[[route]]
name = "web"
groups = ["web-*"]
registrar = {{ kind = "opsworks-cm", server = "prod-chef", engine = "chef" }}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", owner_role = "arn:aws:iam::123456789012:role/web-instances" }}
{route}
"#,
            simulator.endpoint()
        );
        std::fs::write(&config, text).expect("the folder is there to be written to");
        Self { simulator, config }
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
        command.arg("hooks").args(arguments).arg("--config").arg(&self.config).env_clear();
        let endpoint = self.simulator.endpoint();
        command.envs([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        // The simulator runs on this thread, so the waiting is done on another.
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("waiting does not panic").expect("the binary was built for this test");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    async fn attach(&self, more: &[&str]) -> Ran {
        self.run(&[&["attach", "--group", GROUP, "--role-arn", ROLE], more].concat()).await
    }

    /// The group's hooks, as `list` shows them.
    async fn hooks(&self) -> Vec<Value> {
        let ran = self.run(&["list", "--group", GROUP, "--output", "json"]).await;
        let json: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr));
        json["groups"][0]["hooks"].as_array().expect("there is a list").clone()
    }

    /// What is refused to whoever runs the commands, and nothing else.
    fn deny(&self, denied: &[&str]) {
        let denied = denied.iter().map(|&operation| operation.to_owned()).collect();
        let arn = "arn:aws:iam::123456789012:user/somebody".to_owned();
        let principal = Principal { access_key_id: "AKIATEST".into(), arn, account: None, denied, allowed: None };
        self.simulator.with(|world, _| world.set_principal(principal));
    }

    fn puts(&self) -> u64 {
        self.simulator.state(false).calls.get("autoscaling:PutLifecycleHook").copied().unwrap_or(0)
    }

    /// An instance that waits at the launch hook.
    fn launches(&self, group: &str, to: Place) -> String {
        let launched = self.simulator.with(|world, now| world.launch(now, group, 1, to, None)).expect("there is room");
        self.simulator.skip(1000);
        launched[0].to_string()
    }

    fn state(&self, instance: &str) -> LifecycleState {
        self.simulator.state(true).details.expect("asked for").instances[instance].state
    }
}

/// What happens once.
fn fault(operation: &str, effect: Effect) -> Fault {
    Fault { id: None, operation: operation.into(), effect, probability: 1.0, limit: Some(1), after_ms: 0, for_ms: None }
}

fn hook(name: &str, transition: Kind, queue: Option<&str>, default: &str) -> NewHook {
    let delivery = queue.map(|queue| Delivery { queue: queue.into(), via: Form::Direct });
    NewHook { name: name.into(), transition, heartbeat_timeout: 3600, default_result: default.into(), metadata: None, delivery }
}

#[tokio::test]
async fn attach_shows_a_diff_and_makes_both_hooks_and_again_it_changes_nothing() {
    let bench = Bench::start("again").await;
    let dry = bench.attach(&["--dry-run"]).await;
    dry.must(0, &["+ launch hook enrolld-launch", "+ terminate hook enrolld-terminate", QUEUE, ROLE, "--dry-run"]);
    assert_eq!(bench.puts(), 0);
    bench.attach(&[]).await.must(0, &["+ launch hook enrolld-launch", "2 made, 0 changed"]);
    let hooks = bench.hooks().await;
    assert_eq!(hooks.len(), 2);
    for (at, name, default) in [(0, "enrolld-launch", "ABANDON"), (1, "enrolld-terminate", "CONTINUE")] {
        assert_eq!((&hooks[at]["name"], &hooks[at]["default_result"]), (&Value::from(name), &Value::from(default)));
        assert_eq!((&hooks[at]["target"], &hooks[at]["made_by_enrolld"]), (&Value::from(QUEUE), &Value::from(true)));
    }
    let again = bench.run(&["attach", "--group", GROUP]).await;
    again.must(0, &["= launch hook enrolld-launch\n", "= terminate hook enrolld-terminate\n", "nothing is to be changed"]);
    assert_eq!(bench.puts(), 2, "nothing was put again");
    bench.run(&["list", "--group", GROUP]).await.must(0, &["made by enrolld", "3600 s"]);
}

#[tokio::test]
async fn every_permission_that_the_page_names_is_needed() {
    // It is asked for where there is a warm pool alone.
    let bench = Bench::with("permissions", "", |fixture| fixture.groups[1].warm_pool = Some(WarmPool::default())).await;
    bench.attach(&[]).await.must(0, &["2 made"]);
    bench.run(&["list"]).await;
    bench.run(&["detach", "--group", GROUP]).await.must(0, &["2 removed"]);
    let called = bench.simulator.state(false).calls;
    let unused: Vec<_> = documented().into_iter().filter(|action| !called.contains_key(*action)).collect();
    assert!(unused.is_empty(), "docs/hooks.md names {unused:?}, which nothing calls");
}

#[tokio::test]
async fn hooks_are_attached_and_taken_off_without_the_daemons_key_for_its_server() {
    let bench = Bench::start("keyless").await;
    let text = std::fs::read_to_string(&bench.config).expect("it was written above");
    let (before, after) = text.split_once("registrar = ").expect("there is one");
    let (_, after) = after.split_once('\n').expect("other keys follow");
    let chef = r#"{ kind = "chef-server", url = "https://chef.example.com/organizations/prod", client_name = "enrolld", client_key = "/not/here.pem" }"#;
    std::fs::write(&bench.config, format!("{before}registrar = {chef}\n{after}")).expect("it is there to be written to");
    bench.attach(&["--dry-run"]).await.must(0, &["+ launch hook enrolld-launch"]);
    bench.attach(&[]).await.must(0, &["2 made, 0 changed"]);
    assert_eq!(bench.hooks().await.len(), 2);
    bench.run(&["detach", "--group", GROUP]).await.must(0, &["2 removed"]);
}

#[tokio::test]
async fn the_queue_may_be_named_by_its_arn_and_another_queue_is_refused() {
    let bench = Bench::start("arn").await;
    let other = bench.attach(&["--target", "arn:aws:sqs:eu-central-1:123456789012:another"]).await;
    other.must(1, &["arn:aws:sqs:eu-central-1:123456789012:another", QUEUE]);
    assert_eq!(bench.puts(), 0);
    bench.attach(&["--target", QUEUE]).await.must(0, &["2 made, 0 changed"]);
    bench.run(&["attach", "--group", GROUP]).await.must(0, &["nothing is to be changed"]);
    bench.attach(&["--target", "arn:aws:lambda:eu-central-1:123456789012:function"]).await.must(2, &["is not \"queue\""]);
}

#[tokio::test]
async fn what_is_given_changes_and_the_rest_stays() {
    let bench = Bench::start("changed").await;
    bench.attach(&["--heartbeat-timeout", "600", "--metadata", r#"{"team":"web"}"#]).await.must(0, &["2 made"]);
    let changed = bench.run(&["attach", "--group", GROUP, "--heartbeat-timeout", "900", "--only", "launch"]).await;
    changed.must(0, &["~ launch hook enrolld-launch\n      heartbeat  600 s -> 900 s\n", "0 made, 1 changed"]);
    assert!(!changed.stdout.contains("terminate") && !changed.stdout.contains("metadata"), "{}", changed.stdout);
    let hooks = bench.hooks().await;
    assert_eq!((&hooks[0]["heartbeat_timeout"], &hooks[1]["heartbeat_timeout"]), (&Value::from(900), &Value::from(600)));
    assert_eq!((&hooks[0]["role"], &hooks[0]["metadata"]), (&Value::from(ROLE), &Value::from(r#"{"managed_by":"enrolld","team":"web"}"#)));
    let by_rule = bench.run(&["attach", "--group", GROUP, "--target", "eventbridge"]).await;
    by_rule.must(0, &["target     arn:aws:sqs:eu-central-1:123456789012:enrolld-lifecycle -> EventBridge alone", "2 changed"]);
    assert_eq!(bench.hooks().await[0]["target"], Value::Null);
}

#[tokio::test]
async fn a_route_that_goes_on_without_its_server_has_a_launch_hook_that_does() {
    let bench = Bench::with("continue", "on_failure = \"continue\"", |_| {}).await;
    bench.attach(&["--only", "launch"]).await.must(0, &["default    CONTINUE", "1 made"]);
}

#[tokio::test]
async fn the_default_result_of_a_launch_is_ones_own_to_choose_and_a_termination_always_continues() {
    let bench = Bench::start("default").await;
    bench.attach(&["--default-result", "continue"]).await.must(0, &["default    CONTINUE", "2 made"]);
    let results = |hooks: &[Value]| hooks.iter().map(|hook| hook["default_result"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(results(&bench.hooks().await), ["CONTINUE", "CONTINUE"]);
    bench.attach(&["--default-result", "continue"]).await.must(0, &["nothing is to be changed"]);
    let changed = bench.attach(&["--default-result", "abandon"]).await;
    changed.must(0, &["~ launch hook enrolld-launch\n      default    CONTINUE -> ABANDON\n", "0 made, 1 changed"]);
    assert_eq!(results(&bench.hooks().await), ["ABANDON", "CONTINUE"]);
    // A route that goes on without its server can still have a hook that does not.
    let bench = Bench::with("default-route", "on_failure = \"continue\"", |_| {}).await;
    bench.attach(&["--default-result", "abandon"]).await.must(0, &["default    ABANDON"]);
    assert_eq!(results(&bench.hooks().await), ["ABANDON", "CONTINUE"]);
    bench.attach(&["--default-result", "retry"]).await.must(2, &["abandon, continue"]);
}

#[tokio::test]
async fn nothing_is_changed_anywhere_while_something_is_refused() {
    let bench = Bench::start("refused").await;
    // The standard group has hooks that were made by hand and notify the queue.
    let ran = bench.run(&["attach", "--group", GROUP, "--group", "web-blue", "--role-arn", ROLE]).await;
    ran.must(1, &["! launch hook enrol-on-launch tells enrolld of the same", "--launch-hook enrol-on-launch", "nothing was changed"]);
    assert_eq!(bench.puts(), 0);
    let names = ["--launch-hook", "enrol-on-launch", "--terminate-hook", "leave-on-terminate"];
    let ran = bench.run(&[&["attach", "--group", "web-blue"][..], &names].concat()).await;
    ran.must(1, &["was not made by this command", "--adopt"]);
    bench.run(&[&["attach", "--group", "web-blue", "--adopt"][..], &names].concat()).await.must(0, &["0 made, 2 changed"]);
    bench.run(&["attach", "--group", GROUP]).await.must(1, &["has no role yet", "--role-arn"]);
    bench.run(&["attach", "--group", "batch", "--role-arn", ROLE]).await.must(1, &["no route", "batch"]);
    let topic = "arn:aws:sns:eu-central-1:123456789012:nobody";
    bench.attach(&["--target", topic]).await.must(1, &["PutLifecycleHook of enrolld-launch failed", topic]);
}

#[tokio::test]
async fn list_says_what_is_wrong_with_the_hooks_of_every_group_that_a_route_matches() {
    let bench = Bench::with("list", "", |fixture| {
        let theirs = "enrolld-dead-letters";
        fixture.groups[1].hooks = vec![
            hook("one", Kind::Launching, Some("enrolld-lifecycle"), "CONTINUE"),
            hook("two", Kind::Launching, Some("enrolld-lifecycle"), "ABANDON"),
            hook("theirs", Kind::Terminating, Some(theirs), "ABANDON"),
        ];
        fixture.groups.push(group("web-bare"));
    })
    .await;
    let waits = bench.launches("web-blue", Place::AutoScalingGroup);
    let ran = bench.run(&["list"]).await;
    ran.must(
        1,
        &[
            "group web-bare (route web)",
            "FAIL       it has no launch hook",
            "goes into service unenrolled",
            "hooks one and two both notify the queue",
            "theirs  to arn:aws:sqs:eu-central-1:123456789012:enrolld-dead-letters, 3600 s, ABANDON (another's)",
            "made otherwise, notifies enrolld's queue",
            &format!("waits      {waits} in Pending:Wait"),
        ],
    );
    assert!(!ran.stdout.contains("batch"), "a group without a route is not ours to judge: {}", ran.stdout);
    bench.run(&["list", "--group", "web-blue"]).await.must(0, &[]);
}

/// Groups behind a role that is the daemon's alone, as `other-account.yaml` makes it: whoever runs the commands may not assume it, nor ask for the queue.
async fn in_another_account(name: &str) -> Bench {
    let far = r#"[[route]]
name = "far"
groups = ["far-*"]
role_arn = "arn:aws:iam::123456789012:role/enrolld"
external_id = "x-7"
registrar = { kind = "opsworks-cm", server = "prod-chef", engine = "chef" }
key = { parameter = "/enrolld/{instance_id}/public-key", require_owner = false }"#;
    let bench = Bench::with(name, far, |fixture| {
        fixture.topics.push(NewTopic { arn: TOPIC.into(), queue: "enrolld-lifecycle".into(), raw: true });
        let by_topic = |name: &str, transition, default: &str| NewHook {
            delivery: Some(Delivery { queue: "enrolld-lifecycle".into(), via: Form::SnsRaw }),
            ..hook(name, transition, None, default)
        };
        let hooks = vec![by_topic("enrol", Kind::Launching, "ABANDON"), by_topic("leave", Kind::Terminating, "CONTINUE")];
        fixture.groups.extend([NewGroup { hooks, ..group("far-old") }, group("far-new")]);
    })
    .await;
    bench.deny(&["sts:AssumeRole", "sqs:*"]);
    bench
}

#[tokio::test]
async fn hooks_of_another_account_are_made_shown_and_taken_off_with_credentials_of_it_and_without_the_queue() {
    let bench = in_another_account("elsewhere").await;
    let attach = ["attach", "--group", "far-new", "--target", TOPIC, "--role-arn", ROLE];
    let instead =
        "where arn:aws:iam::123456789012:role/enrolld is the daemon's alone, ask with credentials of its account and --own-credentials";
    bench.run(&attach).await.must(1, &["group far-new: DescribeLifecycleHooks failed", instead]);
    bench.run(&["detach", "--group", "far-old"]).await.must(1, &[instead]);
    bench.run(&["list", "--group", "far-old"]).await.must(1, &["FAIL", instead]);
    assert_eq!(bench.puts(), 0);

    let own = "--own-credentials";
    bench.run(&[&attach[..], &[own]].concat()).await.must(0, &["2 made"]);
    bench.run(&[&attach[..], &[own]].concat()).await.must(0, &["nothing is to be changed"]);
    let ran = bench.run(&["list", own, "--group", "far-new", "--group", "far-old"]).await;
    ran.must(0, &["(route far)", &format!("enrol  to {TOPIC}"), "made by enrolld", "cannot be seen from here"]);
    assert!(!bench.simulator.state(false).calls.contains_key("sqs:GetQueueAttributes"), "no hook names a queue");
    bench.run(&["detach", own, "--group", "far-new"]).await.must(0, &["2 removed"]);
    // Nothing but the remedy would name the queue.
    bench.run(&["list", own, "--group", "far-new"]).await.must(1, &["it has no launch hook", "whose target is the configuration's queue"]);
    // A hook that may be ours, or another queue's, cannot be judged without.
    bench.run(&["list", own, "--group", "web-blue"]).await.must(1, &["FAIL", "sqs:GetQueueAttributes answered"]);
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_fails_its_own_groups_and_list_shows_the_others() {
    let bench = in_another_account("one-scope").await;
    bench.deny(&["sts:AssumeRole"]);
    bench.attach(&[]).await.must(0, &["2 made"]);
    let ran = bench.run(&["list"]).await;
    let fails = "FAIL        groups seen by arn:aws:iam::123456789012:role/enrolld: autoscaling:DescribeAutoScalingGroups answered";
    ran.must(1, &[fails, "--own-credentials", &format!("group {GROUP} (route web)"), "enrolld-launch", "group web-blue (route web)"]);
    assert!(!ran.stdout.contains("group far-"), "{}", ran.stdout);
    let json = bench.run(&["list", "--output", "json"]).await;
    let json: Value = serde_json::from_str(&json.stdout).expect("it is JSON");
    assert_eq!((json["findings"].as_array().map(Vec::len), &json["findings"][0]["result"]), (Some(1), &Value::from("FAIL")));
    assert_eq!(json["groups"].as_array().map(Vec::len), Some(2), "web-new and web-blue: {json}");
    bench.run(&["list", "--own-credentials"]).await.must(1, &["group far-new (route far)", "group far-old (route far)", "group web-blue"]);
}

#[tokio::test]
async fn detach_removes_its_own_and_leaves_the_hooks_of_others() {
    let bench = Bench::with("detach", "", |fixture| {
        fixture.groups[1].hooks = vec![hook("theirs", Kind::Launching, None, "CONTINUE")];
    })
    .await;
    bench.attach(&[]).await.must(0, &["2 made"]);
    bench.run(&["detach", "--group", GROUP, "--dry-run"]).await.must(0, &["- launch hook enrolld-launch", "--dry-run"]);
    assert_eq!(bench.hooks().await.len(), 3);
    let ran = bench.run(&["detach", "--group", GROUP]).await;
    ran.must(0, &["- launch hook enrolld-launch", "- terminate hook enrolld-terminate", "= launch hook theirs", "2 removed"]);
    assert_eq!(bench.simulator.state(false).groups[GROUP].hooks, ["theirs"]);
    bench.run(&["detach", "--group", GROUP]).await.must(0, &["nothing is to be removed"]);
    bench.run(&["detach", "--group", "web-blue"]).await.must(0, &["= launch hook enrol-on-launch, which attach did not make"]);
    assert_eq!(bench.simulator.state(false).groups["web-blue"].hooks.len(), 2);
}

#[tokio::test]
async fn detach_refuses_while_a_launch_waits_and_abandons_it_only_when_told() {
    let bench = Bench::start("waiting").await;
    bench.attach(&[]).await.must(0, &["2 made"]);
    let waiting = bench.launches(GROUP, Place::AutoScalingGroup);
    assert_eq!(bench.state(&waiting), LifecycleState::PendingWait);
    let refused = bench.run(&["detach", "--group", GROUP]).await;
    refused.must(1, &[&format!("{waiting} is Pending:Wait: its launch would be abandoned"), "nothing was removed", "--abandon-waiting"]);
    assert_eq!(bench.hooks().await.len(), 2, "the terminate hook is there too");
    assert_eq!(bench.state(&waiting), LifecycleState::PendingWait);
    bench.run(&["detach", "--group", GROUP, "--only", "terminate"]).await.must(0, &["1 removed"]);
    bench.run(&["detach", "--group", GROUP, "--abandon-waiting"]).await.must(0, &[&waiting, "1 removed"]);
    let action = bench
        .simulator
        .state(true)
        .details
        .expect("asked for")
        .actions
        .into_iter()
        .find(|action| action.instance == waiting)
        .expect("it had one");
    assert_eq!((action.result.as_deref(), action.closed_by), (Some("ABANDON"), Some(Closing::HookDeleted)));
}

#[tokio::test]
async fn detach_looks_again_before_each_launch_hook_and_leaves_one_at_which_an_instance_has_begun_to_wait() {
    let bench = Bench::with("late", "", |fixture| fixture.groups.push(group("web-two"))).await;
    let groups = ["--group", GROUP, "--group", "web-two"];
    bench.run(&[&["attach", "--role-arn", ROLE], &groups[..]].concat()).await.must(0, &["4 made"]);
    // Both were looked at when the first hook goes, and that takes its time.
    let slow = fault("autoscaling:DeleteLifecycleHook", Effect::Latency { ms: 500, jitter_ms: 0 });
    bench.simulator.with(|world, now| world.add_fault(now, slow));
    let launch = async {
        while bench.simulator.state(false).faults[0].happened == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        bench.launches("web-two", Place::AutoScalingGroup)
    };
    let detach = [&["detach"], &groups[..]].concat();
    let (ran, late) = tokio::join!(bench.run(&detach), launch);
    ran.must(1, &[&format!("group web-two: {late} has begun to wait; enrolld-launch is left, and 2 of 4 hooks were removed")]);
    assert_eq!(bench.state(&late), LifecycleState::PendingWait);
    let hooks = bench.simulator.state(false).groups["web-two"].hooks.clone();
    assert_eq!(hooks, ["enrolld-launch", "enrolld-terminate"]);
    assert!(bench.simulator.state(false).groups[GROUP].hooks.is_empty());
    let told = bench.run(&["detach", "--group", "web-two", "--abandon-waiting"]).await;
    told.must(0, &["2 removed"]);
}

#[tokio::test]
async fn a_launch_that_waits_in_the_warm_pool_counts_and_a_termination_goes_on() {
    let bench = Bench::with("warm", "", |fixture| fixture.groups[1].warm_pool = Some(WarmPool::default())).await;
    let old = bench.launches(GROUP, Place::AutoScalingGroup);
    assert_eq!(bench.state(&old), LifecycleState::InService);
    bench.attach(&[]).await.must(0, &["2 made"]);
    let pooled = bench.launches(GROUP, Place::WarmPool);
    bench.run(&["detach", "--group", GROUP]).await.must(1, &[&format!("{pooled} is Warmed:Pending:Wait")]);
    bench.simulator.with(|world, now| assert!(world.terminate(now, &old)));
    bench.simulator.skip(1000);
    let ran = bench.run(&["detach", "--group", GROUP, "--abandon-waiting"]).await;
    ran.must(0, &[&format!("{old} is Terminating:Wait: its termination would go on"), "2 removed"]);
    let actions = bench.simulator.state(true).details.expect("asked for").actions;
    let action = actions.iter().find(|action| action.instance == old).expect("it had one");
    assert_eq!(action.result.as_deref(), Some("CONTINUE"));
}

#[tokio::test]
async fn throttling_and_lost_answers_are_gone_through() {
    let bench = Bench::start("trouble").await;
    bench.simulator.with(|world, now| {
        world.add_fault(now, fault("autoscaling:PutLifecycleHook", Effect::LoseAnswer));
        world.add_fault(now, fault("autoscaling:DeleteLifecycleHook", Effect::LoseAnswer));
        world.add_fault(now, fault("autoscaling:DescribeLifecycleHooks", Effect::Drop));
        for operation in ["PutLifecycleHook", "DeleteLifecycleHook", "DescribeLifecycleHooks", "DescribeAutoScalingGroups"] {
            let throttled = Effect::Error { status: 400, code: Some("Throttling".into()), message: Some("Rate exceeded".into()) };
            world.add_fault(now, fault(&format!("autoscaling:{operation}"), throttled));
        }
    });
    bench.attach(&[]).await.must(0, &["2 made"]);
    bench.run(&["list", "--group", GROUP]).await.must(0, &["made by enrolld"]);
    bench.run(&["detach", "--group", GROUP]).await.must(0, &["2 removed"]);
    assert!(bench.simulator.state(false).groups[GROUP].hooks.is_empty());
    let outcomes = bench.simulator.state(false).outcomes;
    for operation in ["PutLifecycleHook", "DeleteLifecycleHook", "DescribeLifecycleHooks", "DescribeAutoScalingGroups"] {
        assert_eq!(outcomes[&format!("autoscaling:{operation}")].get("Throttling"), Some(&1), "{operation}");
    }
}
