//! What single programs do, and what comes of it.

use std::time::{Duration, Instant};

use enrolld::facts::{Health, NodeList, Registration, RegistrationStatus, StatusToken};
use enrolld::registrar::{CommandRegistrar, Registrar};
use enrolld::retry::{Class, Failure};
use serde_json::json;

use super::{Folder, KEY, key, order, order_of};

async fn associated(script: &str) -> Result<Registration, Failure> {
    let folder = Folder::new();
    folder.shell(script).associate(&order(), &key()).await
}

/// Class, code and detail of the failure that a script ends with.
async fn failed(script: &str) -> (Class, String, String) {
    let failure = associated(script).await.unwrap_err();
    (failure.class, failure.code, failure.detail)
}

/// Whether a process runs. One that ended and that nobody has asked after yet does not.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next()).is_some_and(|state| !"ZX".contains(state))
}

async fn ends(pid: &str) {
    let begin = Instant::now();
    while runs(pid) {
        assert!(begin.elapsed() < Duration::from_secs(10), "process {pid} still runs");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_program_is_told_the_order_on_standard_input_and_in_its_environment() {
    let folder = Folder::new();
    let settings = folder.script("/bin/sh", "cat >\"$1/told\"; env >\"$1/environment\"");
    let settings = enrolld::registrar::CommandSettings { env: vec!["CARGO_MANIFEST_DIR".into(), "NOT_SET".into()], ..settings };
    let result = CommandRegistrar::new(settings).associate(&order_of("web", Some(r#"{"a": 1}"#)), &key()).await;
    assert_eq!(result, Ok(Registration::Done));
    let told: serde_json::Value = serde_json::from_str(&folder.read("told")).unwrap();
    let expected = json!({
        "operation": "associate",
        "node": "i-0a1b2c3d.example",
        "instance": "i-0a1b2c3d",
        "group": "web",
        "hook": "enrol",
        "transition": "launch",
        "account": "123456789012",
        "region": "eu-central-1",
        "origin": "EC2",
        "metadata": r#"{"a": 1}"#,
        "key": KEY,
    });
    assert_eq!(told, expected);
    let environment = folder.read("environment");
    let set = |line: &str| environment.lines().any(|set| set == line);
    assert!(set("ENROLLD_OPERATION=associate") && set("ENROLLD_NODE=i-0a1b2c3d.example") && set("ENROLLD_ORIGIN=EC2"), "{environment}");
    assert!(environment.contains(&format!("ENROLLD_KEY={}", KEY.trim_end())));
    // PWD, OLDPWD, SHLVL and _ are the shell's own.
    let mut names: Vec<&str> = environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| !name.starts_with("ENROLLD_") && !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["CARGO_MANIFEST_DIR", "PATH"], "nothing but what was named");
}

#[tokio::test]
async fn the_exit_code_says_what_came_of_it() {
    assert_eq!(associated("echo done; exit 0").await, Ok(Registration::Done));
    let (class, code, detail) = failed("echo 'the server is restarted' >&2; exit 75").await;
    assert_eq!((class, code.as_str(), detail.as_str()), (Class::NotReady, "exit_75", "the server is restarted"));
    let (class, code, detail) = failed("echo first >&2; printf 'a \\033[31mred\\a line\\n\\n' >&2; exit 3").await;
    assert_eq!((class, code.as_str(), detail.as_str()), (Class::Final, "exit_3", r"a \u{1b}[31mred\u{7} line"));
    assert_eq!(failed("exit 1").await.2, "the program gave no reason");
    assert_eq!(failed("kill -KILL $$").await.0, Class::Transient);
}

#[tokio::test]
async fn a_reason_that_repeats_the_key_is_left_out() {
    let (class, _, detail) = failed("echo \"bad key: $ENROLLD_KEY\" | tr -d '\\n' >&2; exit 1").await;
    assert_eq!(class, Class::Final);
    assert!(!detail.contains("MIIB"), "{detail}");
}

/// Everything that a program can say for a person to read, with the ways to say it.
#[tokio::test]
async fn a_reason_that_repeats_the_token_or_what_the_program_has_of_our_environment_is_shown_without_it() {
    let folder = Folder::new();
    // It is set for all tests, and long enough to be a secret.
    let (name, value) = ("CARGO_PKG_DESCRIPTION", std::env::var("CARGO_PKG_DESCRIPTION").unwrap());
    assert!(value.len() > 24);
    let token = StatusToken::new("token-of-job-7");
    for told in [
        "echo \"$said\" >&2; exit 3",
        "echo \"$said\" >&2; exit 75",
        "echo \"$said\" >&2; kill -KILL $$",
        "printf '{\"status\":\"failed\",\"reason\":\"%s\"}' \"$said\"",
        "printf '{\"status\":\"other_key\",\"reason\":\"%s\"}' \"$said\"",
        "printf '{\"status\":\"not_ready\",\"reason\":\"%s\"}' \"$said\"",
        "printf '{\"status\":\"route_fault\",\"reason\":\"%s\"}' \"$said\"",
        "printf '{\"status\":\"%s\"}' \"$said\"",
    ] {
        let settings = folder.script("/bin/sh", &format!("said=\"401 for $CARGO_PKG_DESCRIPTION, $ENROLLD_TOKEN.\"\n{told}"));
        let settings = enrolld::registrar::CommandSettings { env: vec![name.into()], ..settings };
        let registrar = CommandRegistrar::new(settings);
        assert!(!format!("{registrar:?}").contains(&value), "{registrar:?}");
        let (order, key) = (order(), key());
        let said = [
            format!("{:?}", registrar.associate(&order, &key).await),
            format!("{:?}", registrar.disassociate(&order).await),
            format!("{:?}", registrar.health().await),
            format!("{:?}", registrar.list(None).await),
            format!("{:?}", registrar.status(&order, &token).await),
        ];
        for said in &said {
            assert!(said.contains("401 for $CARGO_PKG_DESCRIPTION"), "{told}: {said}");
            assert!(!said.contains(&value) && !said.contains("token-of"), "{told}: {said}");
        }
        assert!(said[4].contains("$ENROLLD_TOKEN"), "{told}: {}", said[4]);
    }
}

#[tokio::test]
async fn what_cannot_be_started_is_a_fault_of_the_route() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("not-executable"), "").unwrap();
    for program in ["/nonexistent/program", "/etc", folder.path().join("not-executable").to_str().unwrap()] {
        let settings = enrolld::registrar::CommandSettings { program: program.into(), ..folder.script("", "") };
        let failure = CommandRegistrar::new(settings).health().await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "command_start"), "{program}: {failure}");
    }
}

#[tokio::test]
async fn an_order_under_way_is_asked_after_with_its_token() {
    let folder = Folder::new();
    let registrar = folder.shell(
        r#"case "$ENROLLD_OPERATION" in
        associate) echo '{"status":"in_progress","token":"job-7"}' ;;
        status) [ "$ENROLLD_TOKEN" = job-7 ] || { echo '{"status":"unknown_token"}'; exit; }
            [ -e "$1/asked" ] && echo '{"status":"success"}' || echo '{"status":"in_progress"}'
            touch "$1/asked" ;;
        disassociate) echo '{"status":"failed","reason":"it is locked"}' ;;
        esac"#,
    );
    let token = StatusToken::new("job-7");
    assert_eq!(registrar.associate(&order(), &key()).await, Ok(Registration::InProgress(token.clone())));
    assert_eq!(registrar.status(&order(), &token).await, Ok(RegistrationStatus::InProgress));
    assert_eq!(registrar.status(&order(), &token).await, Ok(RegistrationStatus::Success));
    assert_eq!(registrar.status(&order(), &StatusToken::new("other")).await, Ok(RegistrationStatus::UnknownToken));
    let failure = registrar.disassociate(&order()).await.unwrap_err();
    assert_eq!((failure.class, failure.detail.as_str()), (Class::Final, "it is locked"));
}

/// However a program says so, and whenever.
#[tokio::test]
async fn an_order_that_fails_has_the_codes_of_the_contract() {
    for (script, code) in [
        (r#"echo '{"status":"failed","reason":"no"}'"#, "failed"),
        (r#"echo '{"status":"other_key","reason":"no"}'"#, Failure::OTHER_KEY),
        ("echo no >&2; exit 3", "exit_3"),
    ] {
        let folder = Folder::new();
        let registrar = folder.shell(script);
        let failure = Failure::new(Class::Final, code, "no");
        assert_eq!(registrar.associate(&order(), &key()).await, Err(failure.clone()));
        assert_eq!(registrar.status(&order(), &StatusToken::new("t")).await, Ok(RegistrationStatus::Refused(failure)));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_understood_is_no_success() {
    for answer in [r#"{"status":"done"}"#, r#"{"status":"in_progress"}"#, "{}", "{\"status\":\"success\"} and more"] {
        let (class, code, _) = failed(&format!("echo '{answer}'")).await;
        assert_eq!((class, code.as_str()), (Class::RouteFault, "bad_answer"), "{answer}");
    }
    assert_eq!(failed(r#"echo '{"status":"not_ready","reason":"backup"}'"#).await.0, Class::NotReady);
    assert_eq!(failed(r#"echo '{"status":"route_fault","reason":"401"}'"#).await.0, Class::RouteFault);
}

#[tokio::test]
async fn health_is_the_programs_own_word() {
    let folder = Folder::new();
    assert_eq!(folder.shell("[ \"$ENROLLD_OPERATION\" = health ]").health().await, Ok(Health::Ready));
    assert_eq!(folder.shell("echo full >&2; exit 75").health().await, Ok(Health::NotReady("full".into())));
    assert_eq!(folder.shell("echo what >&2; exit 64").health().await.unwrap_err().class, Class::Final);
    for answer in [r#"{"status":"in_progress","token":"t"}"#, r#"{"status":"in_progress"}"#, r#"{"status":"unknown_token"}"#] {
        let failure = folder.shell(&format!("echo '{answer}'")).health().await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "bad_answer"), "{answer} is no answer to that");
    }
}

#[tokio::test]
async fn a_program_names_its_nodes_or_says_that_it_cannot() {
    let folder = Folder::new();
    let listed =
        folder.shell(r#"[ "$ENROLLD_OPERATION" = list ] && echo '{"status":"success","nodes":["a","b","no node/name"]}'"#).list(None).await;
    let Ok(NodeList::Page { names, next: None }) = listed else { panic!("{listed:?}") };
    assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["a", "b"], "nothing of ours is called otherwise");
    // Far more than an answer to an order may be.
    let many = r#"printf '{"status":"success","nodes":["x"'; i=0; while [ $i -lt 20000 ]; do printf ',"node-%d"' $i; i=$((i + 1)); done; echo ']}'"#;
    let Ok(NodeList::Page { names, .. }) = folder.shell(many).list(None).await else { panic!("a long list") };
    assert_eq!(names.len(), 20_001);
    for unlisted in ["exit 64", "exit 0", "echo a; echo b", r#"echo '{"status":"success"}'"#] {
        assert!(matches!(folder.shell(unlisted).list(None).await, Ok(NodeList::Unlisted(_))), "{unlisted}");
    }
    for (script, class) in [("exit 1", Class::Final), ("exit 75", Class::NotReady), (r#"echo '{"nodes":["a"]}'"#, Class::RouteFault)] {
        assert_eq!(folder.shell(script).list(None).await.unwrap_err().class, class, "{script}");
    }
}

#[tokio::test]
async fn a_program_over_its_time_is_killed_with_all_that_it_started() {
    let folder = Folder::new();
    let script = "trap '' TERM INT HUP; sleep 300 & echo $! >\"$1/child\"; echo $$ >\"$1/self\"; wait; sleep 300";
    let settings = enrolld::registrar::CommandSettings { timeout: Duration::from_secs(3), ..folder.script("/bin/sh", script) };
    let begin = Instant::now();
    let failure = CommandRegistrar::new(settings).associate(&order(), &key()).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "command_timeout"));
    assert!(begin.elapsed() < Duration::from_secs(20));
    ends(&folder.read("child")).await;
    ends(&folder.read("self")).await;
}

#[tokio::test]
async fn children_left_behind_neither_hold_the_worker_up_nor_live_on() {
    let folder = Folder::new();
    let begin = Instant::now();
    // Deaf to everything but the kill, and with standard output and error still open.
    let registrar = folder.shell("(trap '' HUP TERM; exec sleep 300) & echo $! >\"$1/child\"; exit 0");
    assert_eq!(registrar.associate(&order(), &key()).await, Ok(Registration::Done));
    assert!(begin.elapsed() < Duration::from_secs(20));
    ends(&folder.read("child")).await;
}

#[tokio::test]
async fn one_that_left_the_group_with_the_pipes_open_does_not_hold_the_worker_up() {
    let folder = Folder::new();
    let begin = Instant::now();
    let registrar = folder.shell("setsid sleep 30 & echo $! >\"$1/child\"; echo why >&2; exit 1");
    assert_eq!(registrar.associate(&order(), &key()).await.unwrap_err().detail, "why");
    assert!(begin.elapsed() < Duration::from_secs(20));
    let _ = std::process::Command::new("/bin/kill").arg(folder.read("child").trim()).status();
}

#[tokio::test]
async fn a_program_that_nobody_waits_for_any_more_is_killed_with_all_that_it_started() {
    let folder = Folder::new();
    let registrar = folder.shell("sleep 300 & echo $! >\"$1/child.new\"; mv \"$1/child.new\" \"$1/child\"; wait");
    {
        let (order, key) = (order(), key());
        let running = registrar.associate(&order, &key);
        tokio::pin!(running);
        while !folder.has("child") {
            assert!(tokio::time::timeout(Duration::from_millis(5), &mut running).await.is_err());
        }
    }
    ends(&folder.read("child")).await;
}

#[tokio::test]
async fn a_program_that_writes_megabytes_is_read_to_its_end_and_kept_in_part() {
    let begin = Instant::now();
    assert_eq!(associated("head -c 20000000 /dev/zero | tr '\\0' x; head -c 20000000 /dev/zero >&2; exit 0").await, Ok(Registration::Done));
    let (_, _, detail) = failed("yes no | head -c 5000000; head -c 5000000 /dev/zero | tr '\\0' y >&2; exit 1").await;
    assert!(detail.len() <= 1200 && detail.starts_with("yy"), "{} bytes", detail.len());
    assert_eq!(failed("printf '{\"status\":\"success\"'; head -c 100000 /dev/zero | tr '\\0' ' '; printf '}'").await.1, "bad_answer");
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn a_program_that_never_reads_its_input_does_not_hold_the_worker_up() {
    // More than a pipe holds.
    let order = order_of("web", Some(&"m".repeat(300_000)));
    let folder = Folder::new();
    assert_eq!(folder.shell("exit 0").associate(&order, &key()).await, Ok(Registration::Done));
    assert_eq!(folder.shell("exec <&-; sleep 0.1; exit 0").associate(&order, &key()).await, Ok(Registration::Done));
    let begin = Instant::now();
    let settings = enrolld::registrar::CommandSettings { timeout: Duration::from_millis(500), ..folder.script("/bin/sh", "sleep 300") };
    assert_eq!(CommandRegistrar::new(settings).associate(&order, &key()).await.unwrap_err().code, "command_timeout");
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn names_and_free_text_are_never_run() {
    let folder = Folder::new();
    let group = "$(touch pwned) `touch pwned` '; touch pwned; ' \" || touch pwned & %s \\n größe";
    let metadata = "\"}\n{\"status\":\"success\"}\n$(touch pwned)\u{0}\u{1b}[2J";
    let mut settings =
        folder.script("/bin/sh", "cd \"$1\"; cat >told; printf '%s' \"$ENROLLD_GROUP\" >group; printf '%s' \"$2\" >argument");
    settings.args.push("a b; $(touch pwned) *".into());
    let result = CommandRegistrar::new(settings).associate(&order_of(group, Some(metadata)), &key()).await;
    assert_eq!(result, Ok(Registration::Done));
    assert_eq!(folder.read("group"), group);
    assert_eq!(folder.read("argument"), "a b; $(touch pwned) *");
    let told = folder.read("told");
    assert_eq!(told.lines().count(), 1, "one line, whatever is in it");
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["group"], &told["metadata"]), (&json!(group), &json!(metadata)));
    assert!(!folder.has("pwned") && !std::path::Path::new("pwned").exists());
}

#[tokio::test]
async fn many_run_at_once() {
    let folder = Folder::new();
    let registrar = std::sync::Arc::new(folder.shell("cat >/dev/null; sleep 0.2; exit 0"));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let registrar = std::sync::Arc::clone(&registrar);
        all.spawn(async move { registrar.associate(&order(), &key()).await });
    }
    while let Some(result) = all.join_next().await {
        assert_eq!(result.unwrap(), Ok(Registration::Done));
    }
}
