//! Looking: what is shown, and that nothing is lost by it.

use enrolld::simulator::model::faults::Effect;

use crate::{Bench, LETTERS, MAIN, Ran, instance, signal, termination};

/// A letter as the worker writes it, one that SQS moved, one of somebody's, and a hostile one.
async fn four_letters(name: &str) -> Bench {
    let bench = Bench::start(name, |fixture| {
        fixture.queues[1].dead_letters.as_mut().expect("the standard queue has one").max_receive_count = 2;
    })
    .await;
    bench.letter(
        &[
            ("EnrolldReason", "deadline"),
            ("EnrolldDetail", "the node could not be taken off its server in time\nand more"),
            ("EnrolldOutcome", "left_behind"),
            ("EnrolldOwed", &format!("disassociate {}", instance(1))),
            ("EnrolldStep", "status"),
            ("EnrolldAttempts", "7"),
        ],
        &termination(&instance(1)),
    );
    bench.moved_by_sqs(MAIN, &termination(&instance(2)));
    bench.letter(&[], "hello?");
    bench.letter(&[("EnrolldReason", "not_json\u{1b}[2J\r\nFORGED")], "\u{1b}]0;title\u{7}-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg");
    bench.letters_must_be(4);
    bench
}

#[tokio::test]
async fn letters_are_shown_as_a_table_and_all_of_them_are_given_back() {
    let bench = four_letters("table").await;
    let ran = bench.list(&[]).await;
    let text = &ran.must_exit(0).stdout;
    let row = |part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part} in\n{text}"));
    assert!(row("WHEN").contains("DETAIL"));
    for part in ["left_behind", &format!("disassociate {}", instance(1)), "web-blue", "terminate", "status", "  7  ", "in time"] {
        assert!(row("deadline").contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("and more"), "only the first line of the detail\n{text}");
    assert!(row(&instance(2)).contains("moved_by_sqs") && row(&instance(2)).contains("moved by SQS: received 2 times"), "{text}");
    assert!(row("not_from_a_worker").contains("no worker wrote it"), "{text}");
    assert!(text.contains("no notification (not_json), its body begins: hello?"), "{text}");
    assert!(text.contains("ApproximateReceiveCount grew"), "{text}");
    assert!(!text.contains("MIIE") && !text.contains("more:"), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with("FORGED")), "{text}");
    bench.letters_must_be(4);
    assert_eq!(bench.queue(LETTERS).counts.deleted, 0);
}

#[tokio::test]
async fn looking_takes_none_of_the_daemons_own_keys() {
    let bench = four_letters("keyless").await;
    let text = std::fs::read_to_string(&bench.config).expect("it was written");
    let registrar = "registrar = { kind = \"chef-server\", url = \"https://chef.example.com/organizations/prod\", client_name = \"enrolld\", client_key = \"/nonexistent/client-key.pem\" }";
    let text: Vec<&str> = text.lines().map(|line| if line.starts_with("registrar = ") { registrar } else { line }).collect();
    std::fs::write(&bench.config, text.join("\n")).expect("the file is ours");
    assert!(bench.list(&[]).await.must_exit(0).stdout.contains(&instance(1)));
    bench.letters_must_be(4);
    let redrive = bench.run(&["dead-letters", "redrive", "--all", "--dry-run"]).await;
    assert!(
        redrive.must_exit(1).stderr.contains("/nonexistent/client-key.pem"),
        "whoever takes nodes off a server needs its key: {}",
        redrive.stderr
    );
}

#[tokio::test]
async fn a_second_look_shows_the_same_and_has_grown_the_count() {
    let bench = four_letters("twice").await;
    bench.list(&[]).await.must_exit(0);
    let report = bench.list(&["--output", "json"]).await.must_exit(0).json();
    assert_eq!((&report["seen"], &report["more"], &report["not_given_back"]), (&4.into(), &false.into(), &0.into()), "{report:#}");
    let letters = report["letters"].as_array().expect("there are letters");
    let by = |instance: &str| letters.iter().find(|letter| letter["instance"] == instance).expect("it is there");
    assert_eq!(by(&instance(1))["received"], 2);
    assert_eq!(by(&instance(1))["owed"], format!("disassociate {}", instance(1)));
    assert_eq!(by(&instance(2))["moved_by_sqs"], true);
    assert!(!report.to_string().contains("MIIE"));
    bench.letters_must_be(4);
}

#[tokio::test]
async fn filters_choose_what_is_shown() {
    let bench = four_letters("filters").await;
    for (arguments, count) in [
        (vec!["--reason", "deadline"], 1),
        (vec!["--reason", "deadline", "--reason", "moved_by_sqs"], 2),
        (vec!["--reason", "moved_by_sqs", "--instance", "i-00000000000000001"], 0),
        (vec!["--instance", "i-00000000000000002"], 1),
    ] {
        let report = bench.list(&[&arguments[..], &["--output", "json"]].concat()).await.must_exit(0).json();
        assert_eq!((&report["chosen"], &report["seen"]), (&count.into(), &4.into()), "{arguments:?}");
    }
    let ran = bench.list(&["--instance", "web-blue"]).await;
    assert!(ran.must_exit(2).stderr.contains("it must be \"i-\""), "{}", ran.stderr);
    bench.letters_must_be(4);
}

#[tokio::test]
async fn a_look_is_bounded_and_says_that_there_are_more() {
    let bench = Bench::start("bounded", |_| {}).await;
    for number in 0..25 {
        bench.letter(&[("EnrolldReason", "deadline")], &termination(&instance(number)));
    }
    let ran = bench.list(&["--limit", "12"]).await;
    let text = &ran.must_exit(0).stdout;
    assert!(text.contains("12 dead letters in all") && text.contains("there may be more") && text.contains("about 25"), "{text}");
    bench.letters_must_be(25);
}

#[tokio::test]
async fn a_letter_that_is_delivered_twice_is_shown_once() {
    let bench = Bench::start("duplicates", |fixture| {
        fixture.queues[0].options.duplicate = 1.0;
        fixture.queues[0].options.duplicate_after_ms = 200;
    })
    .await;
    bench.letter(&[("EnrolldReason", "deadline")], &termination(&instance(1)));
    let report = bench.list(&["--output", "json"]).await.must_exit(0).json();
    assert_eq!(report["seen"], 1, "{report:#}");
}

#[tokio::test]
async fn what_was_seen_before_an_error_is_shown_and_given_back() {
    let bench = Bench::start("error", |_| {}).await;
    for number in 0..25 {
        bench.letter(&[("EnrolldReason", "deadline")], &termination(&instance(number)));
    }
    // Slow enough that the receives after the first two are denied.
    bench.fault("sqs:ReceiveMessage", Effect::Latency { ms: 500, jitter_ms: 0 }, None);
    let denied = Effect::Error { status: 403, code: Some("AccessDenied".into()), message: Some("not any more".into()) };
    let run = bench.list(&[]);
    let deny = async {
        bench.until(|bench| bench.queue(LETTERS).counts.received > 0).await;
        bench.fault("sqs:ReceiveMessage", denied, None);
    };
    let (ran, ()) = tokio::join!(run, deny);
    let text = &ran.must_exit(1).stdout;
    assert!(text.contains("deadline") && text.contains("ReceiveMessage failed: AccessDenied"), "{text}");
    bench.letters_must_be(25);
}

#[tokio::test]
async fn an_interrupted_look_gives_everything_back() {
    let bench = Bench::start("interrupt", |_| {}).await;
    for number in 0..60 {
        bench.letter(&[("EnrolldReason", "deadline")], &termination(&instance(number)));
    }
    bench.fault("sqs:ReceiveMessage", Effect::Latency { ms: 400, jitter_ms: 0 }, None);
    let child = bench.command(&["dead-letters", "list"]).spawn().expect("the binary was built for this test");
    let id = child.id();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    bench.until(|bench| bench.queue(LETTERS).counts.received >= 20).await;
    signal("INT", id);
    let ran = Ran::of(&ended.await.expect("waiting does not panic").expect("it ends"));
    ran.must_exit(1);
    assert!(ran.stdout.contains("looking was interrupted"), "{}", ran.stdout);
    bench.letters_must_be(60);
    assert!(bench.queue(LETTERS).counts.received < 60, "it stopped at once");
}

#[tokio::test]
async fn letters_that_could_not_be_given_back_at_first_are_given_back_all_the_same() {
    let bench = Bench::start("release", |_| {}).await;
    for number in 0..12 {
        bench.letter(&[("EnrolldReason", "deadline")], &termination(&instance(number)));
    }
    bench.fault("sqs:ChangeMessageVisibilityBatch", Effect::Error { status: 503, code: None, message: None }, Some(2));
    bench.list(&[]).await.must_exit(0);
    bench.letters_must_be(12);
}

#[tokio::test]
async fn without_a_dead_letter_queue_there_is_nowhere_to_look() {
    let bench = Bench::start("nowhere", |fixture| fixture.queues[1].dead_letters = None).await;
    let ran = bench.list(&[]).await;
    assert!(ran.must_exit(1).stderr.contains("there is no dead-letter queue"), "{}", ran.stderr);
}
