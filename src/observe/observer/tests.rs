use super::samples::{NOW_MS, record, subject};
use super::*;
use crate::core::observation::Reason;
use crate::observe::logs;
use crate::retry::Failure;

fn observer(audit: AuditTarget) -> Observer {
    let route = |name: &str| RouteNames { name: name.into(), registrar: "opsworks-cm".into(), server: ServerId(0) };
    Observer::new(ObserverSettings { worker: "worker-1".into(), routes: vec![route("web"), route("db")], audit }).unwrap()
}

fn lines(work: impl FnOnce()) -> Vec<serde_json::Value> {
    let log = logs::tests::logged(logs::Format::Json, "debug", work);
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_action_ends_with_one_line_that_has_the_result_and_the_time_of_each_step() {
    let observer = observer(AuditTarget::Off);
    let lines = lines(|| observer.observe(NOW_MS, &Observation::Ended(Box::new(record(Outcome::Enrolled)))));
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    for (field, value) in [
        ("event", "ended"),
        ("level", "INFO"),
        ("result", "enrolled"),
        ("instance", "i-0a1b2c3d4e5f60718"),
        ("group", "web"),
        ("hook", "enrol-on-launch"),
        ("route", "web"),
        ("transition", "launch"),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert_eq!(
        (&line["verify_ms"], &line["key_ms"], &line["took_ms"], &line["attempts"]),
        (&12.into(), &2000.into(), &2118.into(), &4.into())
    );
    assert!(line.get("associate_ms").is_none(), "{line}");
}

#[test]
fn an_abandoned_launch_says_why_in_the_log_and_counts_as_such() {
    let observer = observer(AuditTarget::Off);
    let lines = lines(|| observer.observe(NOW_MS, &Observation::Ended(Box::new(record(Outcome::Abandoned)))));
    assert_eq!((&lines[0]["code"], &lines[0]["level"]), (&"not_pem".into(), &"WARN".into()));
    let page = observer.metrics().text();
    assert!(page.contains("enrolld_actions_total{transition=\"launch\",outcome=\"abandoned\"} 1"), "{page}");
    assert!(page.contains("enrolld_step_seconds_count{step=\"key\"} 1"), "{page}");
    assert!(page.contains("enrolld_queue_lag_seconds_count 1"), "{page}");
}

#[test]
fn every_line_of_an_action_carries_whose_it_is() {
    let observer = observer(AuditTarget::Off);
    let reason = Reason::new("private_key", "a private key stands in the parameter");
    let failure = Failure::new(Class::Transient, "timeout", "no answer");
    let retrying = |failure| Observation::Retrying {
        subject: subject("web"),
        step: Step::Associate,
        attempt: 3,
        failure,
        delay: Duration::from_secs(2),
    };
    let lines = lines(|| {
        for observation in [
            Observation::Duplicate(subject("web")),
            Observation::StepBegan { subject: subject("web"), step: Step::Key },
            retrying(failure.clone()),
            retrying(Failure { class: Class::RouteFault, ..failure.clone() }),
            retrying(Failure { class: Class::Throttled, ..failure.clone() }),
            Observation::LaunchHeld { subject: subject("web"), reason: reason.clone() },
            Observation::Security { subject: subject("web"), reason },
        ] {
            observer.observe(NOW_MS, &observation);
        }
    });
    assert_eq!(lines.len(), 7);
    for line in &lines {
        for field in ["instance", "group", "hook", "route", "node", "message_id", "transition", "step", "attempt"] {
            assert!(line.get(field).is_some(), "{field} in {line}");
        }
    }
    assert_eq!((&lines[2]["attempt"], &lines[2]["step"], &lines[2]["code"]), (&3.into(), &"associate".into(), &"timeout".into()));
    let levels: Vec<_> = lines[2..].iter().map(|line| line["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["INFO", "WARN", "DEBUG", "ERROR", "ERROR"]);
}

#[test]
fn a_held_server_is_held_for_every_route_that_shares_it() {
    let observer = observer(AuditTarget::Off);
    let failure = Failure::new(Class::NotReady, "InvalidStateException", "UNDER_MAINTENANCE");
    observer.observe(0, &Observation::ServerHeld { route: RouteId(0), failure, waiting: 9, delay: Duration::from_secs(1) });
    let page = observer.metrics().text();
    assert!(page.contains("enrolld_server_held{route=\"web\"} 1") && page.contains("enrolld_server_held{route=\"db\"} 1"), "{page}");
    observer.observe(0, &Observation::ServerReady { route: RouteId(1), waiting: 9 });
    let page = observer.metrics().text();
    assert!(page.contains("enrolld_server_held{route=\"web\"} 0") && page.contains("enrolld_server_held{route=\"db\"} 0"), "{page}");
}

#[test]
fn no_series_names_an_instance_or_a_group() {
    let observer = observer(AuditTarget::Off);
    let mut ended = record(Outcome::DeadLettered);
    ended.subject = Some(subject("group-from-a-message"));
    observer.observe(NOW_MS, &Observation::LetterWritten { code: "not_json".into() });
    observer.observe(NOW_MS, &Observation::Ended(Box::new(ended)));
    let page = observer.metrics().text();
    assert!(!page.contains("i-0a1b2c3d4e5f60718") && !page.contains("group-from-a-message"), "{page}");
    assert!(page.contains("enrolld_dead_letters_total{code=\"not_json\"} 1"), "{page}");
}

#[test]
fn the_alive_line_counts_what_happened_since_the_last() {
    let observer = observer(AuditTarget::Off);
    let gauges = Gauges { by_step: [1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0], held: vec![5], ..Gauges::default() };
    let lines = lines(|| {
        observer.observe(NOW_MS, &Observation::Ended(Box::new(record(Outcome::Abandoned))));
        observer.alive(&gauges);
        observer.alive(&gauges);
    });
    assert_eq!(
        (&lines[1]["event"], &lines[1]["open"], &lines[1]["held"], &lines[1]["abandoned"]),
        (&"alive".into(), &3.into(), &5.into(), &1.into())
    );
    assert_eq!(lines[2]["abandoned"], 0);
}

#[test]
fn only_what_has_its_result_stands_in_the_audit_trail_and_a_failed_write_is_only_logged() {
    let folder = std::env::temp_dir().join(format!("enrolld-observer-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("audit.log");
    let observer = observer(AuditTarget::File(path.clone()));
    for outcome in [Outcome::Enrolled, Outcome::Released, Outcome::LeaseLost, Outcome::LeftInQueue, Outcome::Test, Outcome::Stale] {
        observer.observe(NOW_MS, &Observation::Ended(Box::new(record(outcome))));
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let results: Vec<String> =
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["result"].as_str().unwrap().into()).collect();
    assert_eq!(results, ["enrolled", "stale"]);

    std::fs::remove_dir_all(&folder).unwrap();
    let lines = lines(|| observer.observe(NOW_MS, &Observation::Ended(Box::new(record(Outcome::Enrolled)))));
    assert!(lines.iter().any(|line| line["event"] == "audit_failed"), "{lines:?}");
    assert!(observer.metrics().text().contains("enrolld_audit_failures_total 1"));
}

#[test]
fn a_tap_sees_everything() {
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let observer = observer(AuditTarget::Off).tapped(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    observer.observe(0, &Observation::Received { messages: 1 });
    observer.observe(0, &Observation::ShuttingDown { open: 1 });
    assert_eq!(seen.load(Ordering::Relaxed), 2);
}
