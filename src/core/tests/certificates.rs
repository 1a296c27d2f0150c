//! Certificates on their way back to their nodes, and names that another has.

use super::bench::{Bench, settings};
use crate::core::observation::{Observation, Outcome};
use crate::core::settings::{OnFailure, Settings};
use crate::facts::{ActionResult, RegistrationStatus};
use crate::names::Template;
use crate::retry::{Class, Failure};

fn with_certificates() -> Settings {
    let mut settings = settings();
    settings.routes[0].certificate = Some(Template::new("/enrolld/{instance_id}/certificate").unwrap());
    settings
}

fn denied() -> Failure {
    Failure::new(Class::RouteFault, "AccessDeniedException", "not authorized to perform: ssm:PutParameter")
}

#[test]
fn a_certificate_is_written_before_the_node_goes_into_service() {
    let mut bench = Bench::new(with_certificates());
    bench.certificate = Some("signed".into());
    bench.launch(1);
    bench.run_for(10_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
    assert_eq!(bench.written.len(), 1);
    assert!(bench.written[0].0.ends_with("/certificate"));
    assert_eq!(bench.written[0].1, "signed");
    let at = |operation: &str| bench.calls.iter().position(|call| *call == operation).unwrap();
    assert!(at("Associate") < at("PutParameter") && at("PutParameter") < at("CompleteLifecycleAction"));
    assert_eq!(bench.deleted, Vec::<String>::new());
}

#[test]
fn a_certificate_that_comes_with_the_status_is_written_too() {
    let mut bench = Bench::new(with_certificates());
    bench.in_progress = true;
    bench.statuses = vec![RegistrationStatus::Signed(crate::facts::Certificate("signed".into()))];
    bench.launch(1);
    bench.run_for(30_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
    assert_eq!(bench.written.len(), 1);
}

#[test]
fn a_route_that_names_no_parameter_for_it_leaves_the_certificate_where_it_is() {
    let mut bench = Bench::new(settings());
    bench.certificate = Some("signed".into());
    bench.launch(1);
    bench.run_for(10_000);
    assert_eq!((bench.outcomes(), bench.written.len()), (vec![Outcome::Enrolled], 0));
}

#[test]
fn a_node_that_leaves_takes_both_of_its_parameters_with_it() {
    let mut bench = Bench::new(with_certificates());
    bench.terminate(1);
    bench.run_for(30_000);
    assert_eq!(bench.outcomes(), [Outcome::Left]);
    assert!(bench.deleted[0].ends_with("/public-key") && bench.deleted[1].ends_with("/certificate"), "{:?}", bench.deleted);
    assert_eq!(bench.deleted.len(), 2);
}

#[test]
fn a_certificate_that_cannot_be_written_holds_the_launch_until_it_can() {
    let mut bench = Bench::new(with_certificates());
    bench.certificate = Some("signed".into());
    bench.faults.insert("PutParameter", denied());
    bench.launch(1);
    bench.run_for(10 * 60_000);
    assert!(bench.completions.is_empty());
    bench.faults.clear();
    bench.run_for(2 * 60_000);
    assert_eq!(bench.outcomes(), [Outcome::Enrolled]);
}

#[test]
fn a_launch_whose_certificate_is_never_written_is_taken_off_again() {
    let mut bench = Bench::new(with_certificates());
    bench.certificate = Some("signed".into());
    bench.faults.insert("PutParameter", Failure::new(Class::Final, "ValidationException", "it is too long"));
    bench.launch(1);
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::Abandoned]);
    assert_eq!(bench.completions, [(1, ActionResult::Abandon)]);
    assert!(bench.nodes.is_empty());
    assert_eq!(bench.deleted.len(), 2);
}

#[test]
fn a_name_that_another_key_has_is_left_alone_also_by_a_redelivered_launch() {
    for code in [Failure::OTHER_KEY, Failure::FOREIGN_REQUEST, Failure::FOREIGN_NODE] {
        let mut bench = Bench::new(settings());
        bench.refused_node = Some((1, Failure::new(Class::Final, code, "another's")));
        bench.launch_received(1, 2);
        bench.run_for(60_000);
        assert_eq!(bench.outcomes(), [Outcome::Abandoned]);
        assert_eq!(bench.count("Disassociate"), 0, "{code}: it would take off what is another's");
        assert_eq!(bench.count("Associate"), 1);
        let security = bench.observations.iter().filter(|seen| matches!(seen, Observation::Security { .. })).count();
        assert_eq!(security, usize::from(code != Failure::OTHER_KEY), "{code}");
    }
}

/// The settings of a route whose registrar answers a repetition with success.
fn believed() -> crate::core::settings::Settings {
    let mut settings = settings();
    settings.routes[0].second_chance = false;
    settings
}

#[test]
fn a_refusal_is_believed_at_once_where_a_repetition_is_a_success() {
    for code in ["exit_1", "failed", "guarded_client", Failure::FOREIGN_NODE, Failure::OTHER_KEY] {
        for receives in [1, 2] {
            let mut bench = Bench::new(believed());
            bench.refused_node = Some((1, Failure::new(Class::Final, code, "another key is kept")));
            bench.launch_received(1, receives);
            bench.run_for(5_000);
            assert_eq!(bench.outcomes(), [Outcome::Abandoned], "{code}: no pause before it");
            assert_eq!((bench.count("Associate"), bench.count("Disassociate")), (1, 0), "{code}, received {receives} times");
        }
    }
}

#[test]
fn an_order_under_way_that_is_refused_is_believed_at_once_too() {
    let refused = RegistrationStatus::Refused(Failure::new(Class::Final, "failed", "it is full"));
    for status in [refused, RegistrationStatus::Failed("it is full".into())] {
        let mut bench = Bench::new(believed());
        bench.in_progress = true;
        bench.statuses = vec![status, RegistrationStatus::InProgress];
        bench.launch_received(1, 2);
        bench.run_for(60_000);
        assert_eq!(bench.outcomes(), [Outcome::Abandoned]);
        assert_eq!((bench.count("Associate"), bench.count("Disassociate")), (1, 0));
    }
}

#[test]
fn a_name_that_was_contested_wakes_somebody_once() {
    let mut bench = Bench::new(settings());
    bench.refused_node = Some((1, Failure::new(Class::Final, Failure::FOREIGN_CERTIFICATE, "not the node's")));
    bench.launch(1);
    bench.run_for(60_000);
    let security: Vec<_> = bench
        .observations
        .iter()
        .filter_map(|seen| if let Observation::Security { reason, .. } = seen { Some(reason) } else { None })
        .collect();
    assert_eq!(security.len(), 1);
    assert_eq!(security[0].code, "foreign_certificate");
    assert_eq!(bench.outcomes(), [Outcome::Abandoned]);
    // What the registrar has revoked stands there until then, so that a worker after a crash finds it too.
    assert_eq!((bench.count("Associate"), bench.count("Disassociate")), (1, 1));
}

/// A launch that continues whatever becomes of it, refused with this.
fn continues_though(failure: Failure) -> Bench {
    let mut settings = believed();
    settings.routes[0].on_failure = OnFailure::Continue;
    let mut bench = Bench::new(settings);
    bench.refused_node = Some((1, failure));
    bench.launch(1);
    bench
}

#[test]
fn what_was_revoked_of_a_launch_that_continues_is_taken_away_and_the_node_is_not_taken_off() {
    let mut bench = continues_though(Failure::new(Class::Final, Failure::FOREIGN_CERTIFICATE, "not the node's"));
    bench.run_for(60_000);
    assert_eq!(bench.security_events(), ["foreign_certificate"]);
    assert_eq!(bench.reasons(), [(Outcome::Continued, "foreign_certificate".to_owned())]);
    let ends = ["SendMessage", "CompleteLifecycleAction", "Clear", "DeleteMessageBatch"];
    assert_eq!(bench.order_of(&ends), ends);
    assert_eq!(bench.count("Disassociate"), 0, "what is good under the name of an instance that lives may be its own");
    bench.assert_nothing_is_left();
}

#[test]
fn what_cannot_be_taken_away_of_a_launch_that_continues_is_told_of_and_owed_by_nobody() {
    for failure in [Failure::new(Class::Final, "http_400", "no"), Failure::new(Class::NotReady, "http_503", "starting")] {
        let mut bench = continues_though(Failure::new(Class::Final, Failure::FOREIGN_CERTIFICATE, "not the node's"));
        bench.faults.insert("Clear", failure.clone());
        bench.run_for(2 * 3_600_000);
        assert_eq!(bench.reasons(), [(Outcome::Continued, "foreign_certificate".to_owned())], "{failure}");
        assert_eq!(bench.completions, [(1, ActionResult::Continue)]);
        let said = |at: usize, name: &str| bench.letters[at].attributes.iter().find(|(of, _)| *of == name).map(|(_, value)| value.as_str());
        assert_eq!(bench.letters.len(), 2, "{failure}");
        assert_eq!((said(0, "EnrolldOwed"), said(1, "EnrolldOwed")), (None, None));
        assert!(said(1, "EnrolldDetail").is_some_and(|detail| detail.contains(&failure.code)), "{:?}", bench.letters[1]);
        bench.assert_nothing_is_left();
    }
}

#[test]
fn of_any_other_launch_that_continues_nothing_is_taken_away() {
    for code in [Failure::OTHER_KEY, Failure::FOREIGN_REQUEST, "not_signed"] {
        let mut bench = continues_though(Failure::new(Class::Final, code, "no"));
        bench.run_for(60_000);
        assert_eq!(bench.outcomes(), [Outcome::Continued]);
        assert_eq!((bench.count("Clear"), bench.count("Disassociate")), (0, 0), "{code}");
    }
    // Its node is on the server, and stays there with the instance.
    let mut settings = with_certificates();
    settings.routes[0].on_failure = OnFailure::Continue;
    let mut bench = Bench::new(settings);
    bench.certificate = Some("signed".into());
    bench.faults.insert("PutParameter", Failure::new(Class::Final, "ValidationException", "it is too long"));
    bench.launch(1);
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::Continued]);
    assert_eq!((bench.count("Clear"), bench.count("Disassociate"), bench.nodes.contains(&1)), (0, 0, true));
}

#[test]
fn a_success_without_the_certificate_that_the_node_waits_for_ends_its_launch_and_the_node_is_taken_off() {
    for in_progress in [false, true] {
        let mut settings = with_certificates();
        settings.routes[0].second_chance = false;
        let mut bench = Bench::new(settings);
        bench.in_progress = in_progress;
        bench.launch(1);
        bench.run_for(60_000);
        assert_eq!(bench.reasons(), [(Outcome::Abandoned, "no_certificate".to_owned())]);
        assert_eq!(bench.letters[0].attributes[0], ("EnrolldReason", "no_certificate".to_owned()));
        let ends = ["Associate", "CompleteLifecycleAction", "Disassociate"];
        assert_eq!(bench.order_of(&ends), ends);
        assert!(bench.nodes.is_empty() && bench.written.is_empty());
    }
}

#[test]
fn where_it_may_be_the_answer_to_a_repetition_the_node_is_associated_anew_before_that_is_believed() {
    let signed = || RegistrationStatus::Signed(crate::facts::Certificate("signed".into()));
    // The last is given first; the one between them is the disassociation's.
    for (statuses, outcome, written, taken_off) in [
        (vec![signed(), RegistrationStatus::Success, RegistrationStatus::Success], Outcome::Enrolled, 1, 1),
        (vec![], Outcome::Abandoned, 0, 2),
    ] {
        let mut bench = Bench::new(with_certificates());
        bench.in_progress = true;
        bench.statuses = statuses;
        bench.launch(1);
        bench.run_for(120_000);
        assert_eq!(bench.outcomes(), [outcome]);
        assert_eq!((bench.written.len(), bench.count("Associate"), bench.count("Disassociate")), (written, 2, taken_off));
        assert_eq!(bench.nodes.contains(&1), outcome == Outcome::Enrolled);
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_server_that_gives_no_certificates_holds_launches_instead_of_giving_up_one_after_the_other() {
    let mut settings = with_certificates();
    settings.routes[0].second_chance = false;
    let mut bench = Bench::new(settings);
    for n in 1..=50 {
        bench.launch(n);
    }
    bench.run_for(600_000);
    let abandoned = bench.outcomes().len();
    assert!((1..50).contains(&abandoned), "{abandoned}");
    bench.certificate = Some("signed".into());
    bench.run_for(3_600_000);
    assert_eq!(bench.outcomes().iter().filter(|outcome| **outcome == Outcome::Enrolled).count(), 50 - abandoned);
    bench.assert_nothing_is_left();
}

#[test]
fn a_termination_does_not_wait_for_the_certificate_of_its_launch_to_be_written() {
    let mut settings = with_certificates();
    settings.routes[0].max_abandons = 0;
    let mut bench = Bench::new(settings);
    bench.certificate = Some("signed".into());
    bench.faults.insert("PutParameter", denied());
    bench.launch(1);
    bench.run_for(20 * 60_000);
    assert!(bench.completions.is_empty() && bench.nodes.contains(&1));
    bench.terminate(1);
    bench.run_for(60_000);
    assert_eq!(bench.outcomes(), [Outcome::Stale, Outcome::Left]);
    assert!(bench.nodes.is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn a_launch_that_is_looked_at_again_while_its_certificate_waits_is_not_associated_anew() {
    let mut bench = Bench::new(with_certificates());
    bench.certificate = Some("signed".into());
    bench.faults.insert("PutParameter", denied());
    bench.launch(1);
    bench.run_for(60_000);
    // A claim that nothing bears out has the launch looked at again.
    bench.terminate(1);
    bench.set_state(1, Some(crate::facts::LifecycleState::PendingWait));
    bench.run_for(10_000);
    bench.faults.clear();
    bench.run_for(10 * 60_000);
    assert_eq!(bench.count("Associate"), 1);
    assert!(bench.completions.contains(&(1, ActionResult::Continue)), "{:?}", bench.outcomes());
    assert_eq!(bench.written.len(), 1);
}
