//! The queue: what it is, where its messages go that nobody can handle, and what may be done with it.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;

use super::report::Report;
use crate::aws::{Aws, from_sdk, shared_class};
use crate::config::Config;
use crate::core::call::{BatchAnswer, InHand};
use crate::facts::QueueFacts;
use crate::names::{MessageId, ReceiptHandle};
use crate::queue::Queue;
use crate::retry::{Class, Failure};

const ABOUT: &str = "queue";

/// How many more receives than `max_deliveries` the redrive policy must allow: crashes, releases and hand-backs count too.
const SPARE_RECEIVES: u32 = 20;
/// A queue whose own visibility time-out is longer holds messages back for long after somebody looked at them by hand.
const LONG_VISIBILITY_S: u64 = 15 * 60;
/// A lifecycle action can be kept open for 48 hours, and its message with it.
const LONGEST_ACTION_S: u64 = 48 * 60 * 60;

type Attributes = HashMap<QueueAttributeName, String>;

/// Looks at the queue. Returns its ARN, where it answered.
pub(super) async fn check(config: &Config, aws: &Aws, queue: &Queue, report: &mut Report) -> Option<String> {
    let client = aws_sdk_sqs::Client::new(aws.own());
    let request = client.get_queue_attributes().queue_url(config.queue_url.as_str()).attribute_names(QueueAttributeName::All);
    let attributes = match request.send().await {
        Ok(output) => output.attributes.unwrap_or_default(),
        Err(error) => {
            let failure = from_sdk(&error, shared_class);
            if failure.code.ends_with("QueueDoesNotExist") || failure.code.ends_with("NonExistentQueue") {
                report.fail(ABOUT, format!("{} is not there", config.queue_url.as_str()), "make it, or correct queue_url");
            } else {
                report.failed_call(ABOUT, "sqs:GetQueueAttributes", &failure);
            }
            return None;
        }
    };
    let arn = attributes.get(&QueueAttributeName::QueueArn).cloned();
    judge(config, &attributes, report);
    dead_letters(config, queue, report).await;
    rights(queue, report).await;
    arn
}

/// What the attributes say.
fn judge(config: &Config, attributes: &Attributes, report: &mut Report) {
    let number = |name: QueueAttributeName| attributes.get(&name).and_then(|text| text.parse::<u64>().ok());
    let arn = attributes.get(&QueueAttributeName::QueueArn).map_or("it", String::as_str);
    if arn.ends_with(".fifo") || attributes.get(&QueueAttributeName::FifoQueue).is_some_and(|fifo| fifo == "true") {
        report.fail(ABOUT, format!("{arn} is a FIFO queue"), "make a standard queue: Auto Scaling cannot notify another");
    } else {
        report.ok(ABOUT, format!("{arn} is there, a standard queue"));
    }
    let visibility = number(QueueAttributeName::VisibilityTimeout);
    let worker = config.visibility_timeout.as_secs();
    match visibility {
        Some(0) => report.warn(
            ABOUT,
            "its own visibility time-out is 0 s, so that whoever else looks into it shows the same message to everybody",
            "set 30 s",
        ),
        Some(seconds) if seconds > LONG_VISIBILITY_S => report.warn(
            ABOUT,
            format!(
                "its own visibility time-out is {seconds} s: a message that somebody looks at by hand is hidden from the workers so long"
            ),
            "set 30 s; the workers ask for their own",
        ),
        Some(seconds) => {
            report.ok(ABOUT, format!("its own visibility time-out is {seconds} s; the worker asks for {worker} s at each receive"))
        }
        None => report.not_tested(ABOUT, "its visibility time-out was not said"),
    }
    if let Some(seconds) = number(QueueAttributeName::MessageRetentionPeriod).filter(|seconds| *seconds < LONGEST_ACTION_S) {
        let found = format!("it keeps messages for {seconds} s, and a lifecycle action can be kept open for {LONGEST_ACTION_S} s");
        report.warn(ABOUT, found, "set its retention to 4 days");
    }
    redrive(config, attributes, report);
}

fn redrive(config: &Config, attributes: &Attributes, report: &mut Report) {
    let least = config.max_deliveries + SPARE_RECEIVES;
    let policy = attributes.get(&QueueAttributeName::RedrivePolicy).filter(|text| !text.is_empty());
    let Some(policy) = policy else {
        let remedy = format!("give it one with a dead-letter queue and maxReceiveCount 100 (at least {least})");
        if config.dead_letter_queue_url.is_some() {
            let found = "it has no redrive policy: a message that kills every worker that takes it comes back until its retention ends";
            report.warn(ABOUT, found, remedy);
        } else {
            report.fail(ABOUT, "it has no redrive policy, so that there is no dead-letter queue", remedy);
        }
        return;
    };
    let policy: serde_json::Value = serde_json::from_str(policy).unwrap_or_default();
    // A number, or one in quotes, as it was written.
    let count = &policy["maxReceiveCount"];
    let count = count.as_u64().or_else(|| count.as_str().and_then(|text| text.parse().ok()));
    match count {
        Some(count) if count >= u64::from(least) => {
            report.ok(ABOUT, format!("its redrive policy allows {count} receives (at least {least})"))
        }
        Some(count) => report.fail(
            ABOUT,
            format!("its redrive policy allows {count} receives, and then SQS itself moves the message, with nobody completing the action"),
            format!("set maxReceiveCount to 100 (at least {least}: max_deliveries and {SPARE_RECEIVES} more for crashes and hand-backs)"),
        ),
        None => report.fail(ABOUT, "its redrive policy cannot be read", "set it anew"),
    }
}

async fn dead_letters(config: &Config, queue: &Queue, report: &mut Report) {
    match queue.describe().await {
        Ok(QueueFacts { dead_letters_unknown: Some(failure), .. }) | Err(failure) => {
            report.failed_call("dead letters", "sqs:GetQueueUrl", &failure);
        }
        Ok(QueueFacts { dead_letter_url: Some(url), .. }) => {
            let whence = if config.dead_letter_queue_url.is_some() { "as configured" } else { "by the redrive policy" };
            report.ok("dead letters", format!("they go to {url}, {whence}"));
            report.not_tested("dead letters", "sqs:SendMessage: a try would write there");
        }
        Ok(QueueFacts { dead_letter_url: None, .. }) => report.not_tested("dead letters", "there is nowhere for them to go"),
    }
}

/// What may be done: tried with a receipt handle that no receive ever gave.
async fn rights(queue: &Queue, report: &mut Report) {
    report.not_tested(ABOUT, "sqs:ReceiveMessage: a try could take messages from the workers");
    let unknown = InHand {
        id: MessageId::new("enrolld-check").expect("it is short and printable"),
        handle: ReceiptHandle::new("enrolld-check-knows-no-receipt-handle").expect("it is short and printable"),
    };
    let tries: [(&str, BatchAnswer<()>); 2] = [
        ("sqs:ChangeMessageVisibility", queue.release(&[(unknown.clone(), Duration::ZERO)]).await),
        ("sqs:DeleteMessage", queue.delete(&[unknown]).await),
    ];
    for (action, answer) in tries {
        match refused(answer) {
            None => report.ok(ABOUT, format!("{action} is allowed (tried with an unknown receipt handle)")),
            Some(failure) => report.failed_call(ABOUT, action, &failure),
        }
    }
}

/// What stood in the way of a try. That the receipt handle is unknown is what was to be expected.
fn refused(answer: BatchAnswer<()>) -> Option<Failure> {
    let failure = match answer {
        Err(failure) => failure,
        Ok(entries) => entries.into_iter().find_map(Result::err)?,
    };
    (failure.class != Class::Final).then_some(failure)
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;
    use crate::config::{Environment, parse};

    fn judged(attributes: &[(QueueAttributeName, &str)], more: &str) -> Vec<(Verdict, String)> {
        let text = format!("{more}\n{}", include_str!("../../../deploy/enrolld.example.toml"));
        let config = parse(&text, "example", &Environment::new()).unwrap();
        let attributes = attributes.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect();
        let mut report = Report::default();
        judge(&config, &attributes, &mut report);
        report.findings().iter().map(|finding| (finding.result, finding.found.clone())).collect()
    }

    fn redrive_of(count: &str) -> String {
        format!(r#"{{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:123456789012:dead","maxReceiveCount":{count}}}"#)
    }

    fn has(found: &[(Verdict, String)], verdict: Verdict, text: &str) -> bool {
        found.iter().any(|(is, found)| *is == verdict && found.contains(text))
    }

    #[test]
    fn a_queue_as_our_templates_make_it_is_ok() {
        let found = judged(
            &[
                (QueueAttributeName::QueueArn, "arn:aws:sqs:eu-central-1:123456789012:enrolld"),
                (QueueAttributeName::VisibilityTimeout, "30"),
                (QueueAttributeName::MessageRetentionPeriod, "345600"),
                (QueueAttributeName::RedrivePolicy, &redrive_of("100")),
            ],
            "",
        );
        assert!(found.iter().all(|(verdict, _)| *verdict == Verdict::Ok), "{found:?}");
    }

    #[test]
    fn a_short_redrive_policy_fails_and_none_fails_without_a_configured_dead_letter_queue() {
        for count in ["5", "\"29\""] {
            let found = judged(&[(QueueAttributeName::RedrivePolicy, &redrive_of(count))], "");
            assert!(has(&found, Verdict::Fail, "SQS itself moves the message"), "{found:?}");
        }
        assert!(has(&judged(&[(QueueAttributeName::RedrivePolicy, &redrive_of("\"30\""))], ""), Verdict::Ok, "allows 30 receives"));
        assert!(has(&judged(&[], ""), Verdict::Fail, "no redrive policy"));
        let configured = "dead_letter_queue_url = \"https://sqs.eu-central-1.amazonaws.com/123456789012/dead\"";
        assert!(has(&judged(&[], configured), Verdict::Warn, "no redrive policy"));
    }

    #[test]
    fn a_fifo_queue_fails() {
        let found = judged(&[(QueueAttributeName::FifoQueue, "true")], "");
        assert!(has(&found, Verdict::Fail, "FIFO"), "{found:?}");
    }

    #[test]
    fn an_unknown_receipt_handle_is_the_expected_answer_and_a_missing_right_is_not() {
        let entry = |class, code: &str| Ok(vec![Err(Failure::new(class, code, ""))]);
        assert!(refused(Ok(vec![Ok(())])).is_none());
        assert!(refused(entry(Class::Final, "ReceiptHandleIsInvalid")).is_none());
        assert!(refused(entry(Class::RouteFault, "AccessDenied")).is_some());
        assert!(refused(Err(Failure::new(Class::RouteFault, "AccessDenied", ""))).is_some());
    }
}
