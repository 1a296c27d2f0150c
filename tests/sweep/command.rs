//! Sweeping what a program looks after: the shell example of the documentation, slowed down and held up as a server can be.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Bench, GROUP};

/// A bench whose server is a program that keeps a file for each node.
struct Kept {
    bench: Bench,
    keys: PathBuf,
}

impl Kept {
    /// `first` is run before the example itself, in the folder of the keys' folder.
    async fn start(name: &str, first: &str) -> Self {
        let bench = Bench::start(name).await;
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sweep-{name}-{}", std::process::id()));
        let keys = folder.join("keys");
        fs::create_dir_all(&keys).unwrap();
        let page = include_str!("../../docs/command-registrar.md");
        let example = page.split_once("```sh\n#!/bin/sh\n").unwrap().1.split_once("```").unwrap().0;
        let program = folder.join("program");
        let text = format!("#!/bin/sh\nNODE_KEYS='{}'\ncd '{}'\n{first}\n{example}", keys.display(), folder.display());
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let config = fs::read_to_string(&bench.config).unwrap();
        let lines = config.lines().map(|line| match line.starts_with("registrar") {
            true => format!("registrar = {{ kind = \"command\", program = \"{}\" }}", program.display()),
            false => line.to_owned(),
        });
        fs::write(&bench.config, lines.collect::<Vec<_>>().join("\n")).unwrap();
        Self { bench, keys }
    }

    fn folder(&self) -> &Path {
        self.keys.parent().unwrap()
    }

    fn keep(&self, node: &str) {
        fs::write(self.keys.join(format!("{node}.pem")), "a key").unwrap();
    }

    fn kept(&self) -> BTreeSet<String> {
        let names = fs::read_dir(&self.keys).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.map(|name| name.trim_end_matches(".pem").to_owned()).collect()
    }

    /// An instance in service that is kept.
    fn serves(&self) -> String {
        let id = self.bench.launched(GROUP);
        self.keep(&id);
        id
    }

    /// One that was terminated, and is kept all the same.
    fn left_behind(&self) -> String {
        let id = self.serves();
        self.bench.terminate(&id);
        id
    }

    /// Sweeps, as a process that can be interrupted.
    fn spawn(&self) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
        command.args(["sweep", "--route", "web", "--apply", "--output", "json", "--config"]).arg(&self.bench.config).env_clear();
        let endpoint = self.bench.simulator.endpoint();
        command.envs([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    async fn until(&self, what: &str, happened: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !happened(self) {
            assert!(began.elapsed() < Duration::from_secs(180), "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.folder());
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// The code and the report of a sweep that ended, and what it said beside it.
async fn ended(child: Child) -> (Option<i32>, Value, String) {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    let (said, beside) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    let report = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{beside}"));
    (output.status.code(), report, beside)
}

fn with_word(report: &Value, word: &str) -> BTreeSet<String> {
    let nodes = report["nodes"].as_array().unwrap().iter();
    nodes.filter(|node| node["result"] == word).map(|node| node["node"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_program_lists_its_nodes_and_is_told_to_take_off_those_that_were_left_behind() {
    let kept = Kept::start("command", r#"[ "$ENROLLD_OPERATION" = list ] || cat >>told"#).await;
    let (serves, gone) = (kept.serves(), BTreeSet::from([kept.left_behind(), kept.left_behind()]));
    kept.keep("somebody");
    let before = kept.kept();

    let dry = kept.bench.run(&["--output", "json"]).await;
    assert_eq!(with_word(&dry.must_exit(0).json(), "would_disassociate"), gone);
    assert_eq!(kept.kept(), before, "it only looked");

    let applied = kept.bench.run(&["--apply", "--output", "json"]).await;
    assert_eq!(with_word(&applied.must_exit(0).json(), "disassociated"), gone);
    assert_eq!(kept.kept(), BTreeSet::from([serves, "somebody".to_owned()]));

    // As the documentation has it: no lifecycle action stands behind the order.
    let told = fs::read_to_string(kept.folder().join("told")).unwrap();
    for line in told.lines() {
        let told: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&told["operation"], &told["hook"], &told["transition"]),
            (&"disassociate".into(), &"enrolld-sweep".into(), &"terminate".into())
        );
        assert_eq!((&told["group"], &told["instance"], told.get("metadata")), (&GROUP.into(), &told["node"], None));
    }
    assert_eq!(told.lines().count(), 2);
}

#[tokio::test]
async fn a_program_without_a_list_is_swept_by_a_file() {
    let kept = Kept::start("unlisted", r#"[ "$ENROLLD_OPERATION" = list ] && exit 64"#).await;
    let gone = kept.left_behind();
    let ran = kept.bench.run(&["--apply"]).await;
    assert!(ran.must_exit(1).stdout.contains("does not list its nodes; give the names with --nodes FILE"), "{}", ran.stdout);
    assert_eq!(kept.kept().len(), 1);
    kept.bench.sweep(&[&gone], &["--apply"]).await.must_exit(0);
    assert!(kept.kept().is_empty());
}

#[tokio::test]
async fn a_list_that_cannot_be_had_is_a_failure_and_no_empty_list() {
    let kept =
        Kept::start("no-list", r#"[ "$ENROLLD_OPERATION" = list ] && [ -e broken ] && { echo 'the disk is gone' >&2; exit 1; }"#).await;
    kept.left_behind();
    fs::write(kept.folder().join("broken"), "").unwrap();
    let ran = kept.bench.run(&["--apply"]).await;
    assert!(ran.must_exit(1).stdout.contains("did not list its nodes") && ran.stdout.contains("the disk is gone"), "{}", ran.stdout);
    fs::remove_file(kept.folder().join("broken")).unwrap();
    kept.bench.run(&["--apply"]).await.must_exit(0);
    assert!(kept.kept().is_empty());
}

#[tokio::test]
async fn an_interrupted_sweep_says_what_it_left_and_running_it_again_finishes() {
    let kept = Kept::start("interrupted", r#"[ "$ENROLLD_OPERATION" = disassociate ] && sleep 0.5"#).await;
    let gone: BTreeSet<String> = (0..40).map(|_| kept.left_behind()).collect();
    let child = kept.spawn();
    kept.until("some are off", |kept| kept.kept().len() < 36).await;
    signal(&child, "-INT");
    let (code, report, beside) = ended(child).await;
    assert_eq!(code, Some(1), "{report:#}");
    assert!(beside.contains("interrupted"), "{beside}");
    let (done, left, left_files) = (with_word(&report, "disassociated"), with_word(&report, "not_reached"), kept.kept());
    assert!(!done.is_empty() && !left.is_empty(), "{report:#}");
    // What was said is what is so, and every node was spoken of.
    assert_eq!(left, left_files);
    assert_eq!(&done | &left, gone);

    let (code, report, _) = ended(kept.spawn()).await;
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(with_word(&report, "disassociated"), left);
    assert!(kept.kept().is_empty());
}

#[tokio::test]
async fn a_sweep_that_is_killed_is_finished_by_the_next() {
    let kept = Kept::start("killed", r#"[ "$ENROLLD_OPERATION" = disassociate ] && sleep 0.5"#).await;
    let (serves, gone) = (kept.serves(), (0..24).map(|_| kept.left_behind()).collect::<BTreeSet<_>>());
    let mut child = kept.spawn();
    kept.until("some are off", |kept| kept.kept().len() < 20).await;
    signal(&child, "-KILL");
    let _ = child.wait();
    let left = kept.kept();
    assert!(left.len() > 1, "it was killed in the middle");
    let (code, report, _) = ended(kept.spawn()).await;
    assert_eq!(code, Some(0), "{report:#}");
    assert!(with_word(&report, "disassociated").is_subset(&gone));
    assert_eq!(kept.kept(), BTreeSet::from([serves]));
}

#[tokio::test]
async fn an_order_under_way_at_an_interrupt_is_not_called_done() {
    let under_way = r#"
case "$ENROLLD_OPERATION" in
disassociate) echo '{"status":"in_progress","token":"t"}'; touch ordered; exit 0 ;;
status) [ -e go ] || { echo '{"status":"in_progress"}'; exit 0; }; rm -f "$NODE_KEYS/$ENROLLD_NODE.pem"; exit 0 ;;
esac"#;
    let kept = Kept::start("under-way", under_way).await;
    let gone = kept.left_behind();
    let child = kept.spawn();
    kept.until("it is ordered", |kept| kept.folder().join("ordered").exists()).await;
    signal(&child, "-TERM");
    let (code, report, _) = ended(child).await;
    assert_eq!((code, with_word(&report, "failed")), (Some(1), BTreeSet::from([gone.clone()])), "{report:#}");
    assert!(report.to_string().contains("stopped before it was known"), "{report:#}");
    fs::write(kept.folder().join("go"), "").unwrap();
    let (code, report, _) = ended(kept.spawn()).await;
    assert_eq!((code, with_word(&report, "disassociated")), (Some(0), BTreeSet::from([gone])), "{report:#}");
}

#[tokio::test]
async fn a_right_that_is_missing_on_one_node_stops_no_other_and_one_that_is_missing_on_all_does() {
    let denies =
        r#"[ -e "denied-$ENROLLD_NODE" ] && { echo "$ENROLLD_NODE" >>asked; echo '{"status":"route_fault","reason":"403"}'; exit; }"#;
    let kept = Kept::start("denied", denies).await;
    let gone: BTreeSet<String> = (0..30).map(|_| kept.left_behind()).collect();
    let deny = |node: &String| fs::write(kept.folder().join(format!("denied-{node}")), "").unwrap();
    let one = gone.first().unwrap();
    deny(one);
    let (code, report, _) = ended(kept.spawn()).await;
    assert_eq!((code, with_word(&report, "failed")), (Some(1), BTreeSet::from([one.clone()])), "{report:#}");
    assert_eq!(kept.kept(), BTreeSet::from([one.clone()]));

    fs::remove_file(kept.folder().join("asked")).unwrap();
    gone.iter().for_each(|node| {
        kept.keep(node);
        deny(node);
    });
    let (code, report, _) = ended(kept.spawn()).await;
    assert_eq!((code, with_word(&report, "failed").len()), (Some(1), 30), "{report:#}");
    let asked = fs::read_to_string(kept.folder().join("asked")).unwrap().lines().count();
    // Those that were under way when the tenth failed are asked to their end.
    assert!((10..=18).contains(&asked), "{asked}");
    assert!(report.to_string().contains("as another node found out"), "{report:#}");
}
