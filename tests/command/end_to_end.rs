//! The whole way: Auto Scaling, SQS and SSM simulated, the worker real, and the shell example of the documentation as its program.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use enrolld::simulator::model::agent::{Material, material};

use super::Folder;
use super::examples::example;
use crate::fleet::{Fleet, with_word};

/// The nodes whose keys are kept.
fn kept(keys: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(keys).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    files.filter_map(|file| Some(file.strip_suffix(".pem")?.to_owned())).collect()
}

/// The example, which keeps a log of what it was asked and of how it ended.
fn program(folder: &Folder) -> PathBuf {
    let (file, program) = (folder.path().join("example"), folder.path().join("program"));
    for (path, text) in [
        (&file, example("sh")),
        (
            &program,
            format!(
                "#!/bin/sh\nNODE_KEYS='{0}/keys' /bin/sh '{0}/example'\nended=$?\necho \"$ENROLLD_OPERATION $ended\" >>'{0}/log'\nexit $ended\n",
                folder.path().display()
            ),
        ),
    ] {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    program
}

#[tokio::test]
async fn a_fleet_waits_for_what_is_not_ready_comes_and_goes_and_what_was_left_behind_is_swept() {
    let folder = Folder::new();
    let keys = folder.path().join("keys");
    let registrar = format!(r#"{{ kind = "command", program = "{}" }}"#, program(&folder).display());
    // No more than this are sent before the first is answered: an order counts against a configured rate until a second after its answer.
    const AT_ONCE: usize = 4;
    let mut fleet = Fleet::start("command", &registrar, &format!("max_rate = {AT_ONCE}"), false).await;

    // The directory is not mounted until one probe after the other has been told that the program cannot work now.
    let (mount, log) = (keys.clone(), folder.path().join("log"));
    let mounts = std::thread::spawn(move || {
        let (began, read) = (Instant::now(), || std::fs::read_to_string(&log).unwrap_or_default());
        while read().matches("health 75").count() < 4 {
            assert!(began.elapsed() < Duration::from_secs(60), "nobody was sent away: {}", read());
            std::thread::sleep(Duration::from_millis(20));
        }
        std::fs::create_dir(&mount).unwrap();
    });
    let launched = fleet.launch(20, |_| None).await;
    mounts.join().unwrap();
    assert_eq!(kept(&keys), launched);
    let log = folder.read("log");
    let sent_away = log.lines().filter(|line| *line == "associate 75").count();
    // The first answer closes the gate, and the trial that opens it is sent when the program works: whoever was sent away was sent before.
    assert!((1..=AT_ONCE).contains(&sent_away) && log.contains("health 0"), "one probe waited for all of them:\n{log}");

    let left = fleet.terminate(5).await;
    fleet.must_be_settled().await;
    assert_eq!(kept(&keys), &launched - &left);

    fleet.delete_terminate_hook().await;
    let behind = fleet.terminate(3).await;
    let detached = fleet.detach_one();
    let swept = fleet.sweep(&["--apply"]).await;
    assert_eq!(with_word(&swept, "disassociated"), behind);
    assert_eq!(with_word(&swept, "detached"), BTreeSet::from([detached]));
    assert_eq!(kept(&keys), &(&launched - &left) - &behind);
    fleet.stop().await;
}

#[tokio::test]
async fn a_node_whose_name_another_key_has_is_given_up_and_that_key_stays() {
    let folder = Folder::new();
    let keys = folder.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let registrar = format!(r#"{{ kind = "command", program = "{}" }}"#, program(&folder).display());
    let mut fleet = Fleet::start("command-other-key", &registrar, "", true).await;
    let refused = fleet
        .launch_in_vain(async |id| {
            std::fs::write(keys.join(format!("{id}.pem")), "another's").unwrap();
            material(&Material::Good, 1, id)
        })
        .await;
    assert_eq!(folder.read(&format!("keys/{refused}.pem")), "another's");
    assert_eq!(folder.read("log"), "associate 0\n", "asked once, and nothing was taken off");
    assert!(fleet.log().contains("other_key"), "{}", fleet.log());
    fleet.stop().await;
}

#[tokio::test]
async fn a_program_that_takes_its_time_is_asked_after_with_the_token_of_its_order() {
    let folder = Folder::new();
    let script = r#"#!/bin/sh
cd 'FOLDER'
case "$ENROLLD_OPERATION" in
associate | disassociate)
  echo "$ENROLLD_OPERATION" >"job-$ENROLLD_NODE"
  printf '{"status":"in_progress","token":"job-%s"}' "$ENROLLD_NODE" ;;
status)
  [ "$ENROLLD_TOKEN" = "job-$ENROLLD_NODE" ] || { echo "asked with $ENROLLD_TOKEN" >&2; exit 1; }
  if [ ! -e "asked-$ENROLLD_TOKEN" ]; then
    touch "asked-$ENROLLD_TOKEN"
    echo '{"status":"in_progress","token":"another"}'
    exit
  fi
  rm "asked-$ENROLLD_TOKEN"
  case "$(cat "$ENROLLD_TOKEN")" in
  associate) touch "keys/$ENROLLD_NODE.pem" ;;
  disassociate) rm -f "keys/$ENROLLD_NODE.pem" ;;
  esac ;;
esac
"#;
    let (program, keys) = (folder.path().join("program"), folder.path().join("keys"));
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(&program, script.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let registrar = format!(r#"{{ kind = "command", program = "{}" }}"#, program.display());
    let mut fleet = Fleet::start("command-jobs", &registrar, "", false).await;
    let launched = fleet.launch(5, |_| None).await;
    assert_eq!(kept(&keys), launched);
    let left = fleet.terminate(2).await;
    fleet.must_be_settled().await;
    assert_eq!(kept(&keys), &launched - &left);
    fleet.stop().await;
}

/// What a program that knows no better answer ends with is believed as well: a second chance would take off what it refused to replace.
#[tokio::test]
async fn a_node_that_a_program_refuses_by_its_exit_code_is_not_taken_off() {
    let folder = Folder::new();
    let program = folder.path().join("program");
    let script = r#"#!/bin/sh
cd 'FOLDER'
echo "$ENROLLD_OPERATION" >>log
case "$ENROLLD_OPERATION" in
associate) [ ! -e "$ENROLLD_NODE.pem" ] || { echo "another key is kept" >&2; exit 1; } ;;
disassociate) rm -f "$ENROLLD_NODE.pem" ;;
esac
"#;
    std::fs::write(&program, script.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let registrar = format!(r#"{{ kind = "command", program = "{}" }}"#, program.display());
    let mut fleet = Fleet::start("command-refused", &registrar, "", true).await;
    let refused = fleet
        .launch_in_vain(async |id| {
            std::fs::write(folder.path().join(format!("{id}.pem")), "another's").unwrap();
            material(&Material::Good, 1, id)
        })
        .await;
    assert_eq!(folder.read(&format!("{refused}.pem")), "another's");
    assert_eq!(folder.read("log"), "associate\n");
    assert!(fleet.log().contains("another key is kept"), "{}", fleet.log());
    fleet.stop().await;
}
