//! The demonstration as a user starts it: the built program, the real worker in it, the simulator over HTTP.

use std::process::{Command, Output};

fn demo(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enrolld"));
    // Whatever AWS the environment names, whatever proxy, and whatever configuration, the demonstration must not use it.
    command.env("AWS_ENDPOINT_URL", "http://192.0.2.1:1").env("AWS_ENDPOINT_URL_SQS", "http://192.0.2.1:1");
    command.env("HTTP_PROXY", "http://192.0.2.1:1").env("AWS_PROFILE", "no-such-profile");
    command.env("ENROLLD_NO_SUCH_KEY", "1").env("ENROLLD_MAX_OPEN", "1");
    command.arg("demo").args(arguments).output().expect("the program was built")
}

fn numbers(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn the_tour_ends_as_it_should() {
    let output = demo(&["--output", "json"]);
    let n = numbers(&output);
    assert!(output.status.success(), "{n}\n{}", String::from_utf8_lossy(&output.stderr));
    for (number, wanted) in [
        ("launched", 12),
        ("in_service", 11),
        ("abandoned", 1),
        ("terminated", 1),
        ("stale", 0),
        ("dead_lettered", 2),
        ("lost", 0),
        ("associations", 11),
        ("completions", 13),
        ("duplicate_completions", 0),
        ("beyond_policy", 0),
    ] {
        assert_eq!(n[number], wanted, "{number} in {n}");
    }
    assert!(n["api_calls"]["AssociateNode"].as_u64().is_some_and(|calls| calls >= 12), "the first was refused: {n}");
    assert!(n["api_calls_per_enrolment"].as_f64().is_some_and(|calls| calls > 3.0), "{n}");
    assert!(n["wall_seconds"].as_f64().is_some_and(|seconds| seconds < 60.0), "{n}");
}

#[test]
fn without_a_terminal_it_tells_its_story_in_plain_lines() {
    let output = demo(&["--scenario", "calm", "--nodes", "3"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert_eq!(text.lines().filter(|line| line.contains("[######] in service")).count(), 3, "{text}");
    assert!(text.contains("Every action ended as it should"), "{text}");
}

#[test]
fn a_storm_loses_nothing() {
    let output = demo(&["--scenario", "storm", "--nodes", "24", "--seed", "5", "--output", "json"]);
    let n = numbers(&output);
    assert!(output.status.success(), "{n}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((&n["launched"], &n["in_service"], &n["abandoned"], &n["lost"]), (&24.into(), &22.into(), &2.into(), &0.into()));
}
