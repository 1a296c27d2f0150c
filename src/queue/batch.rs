//! The answers of SQS batches, which may fail entry by entry inside a 200.

use aws_sdk_sqs::types::BatchResultErrorEntry;

use super::errors::classify_entry;
use crate::aws::detail;
use crate::retry::{Class, Failure};

/// Puts a batch's results in the order of the request, whose entries are named by their place: `0`, `1`, ….
///
/// An entry that is in neither list failed as far as anybody knows, and may be asked for again.
pub(super) fn in_order<'a>(
    asked: usize,
    successful: impl Iterator<Item = &'a str>,
    failed: &[BatchResultErrorEntry],
) -> Vec<Result<(), Failure>> {
    let unanswered = || Failure::new(Class::Transient, "unanswered", "the answer does not mention this entry");
    let mut results: Vec<Result<(), Failure>> = (0..asked).map(|_| Err(unanswered())).collect();
    for id in successful {
        if let Some(result) = place(&mut results, id) {
            *result = Ok(());
        }
    }
    // Failures last: an entry that is in both lists is not known to be done.
    for entry in failed {
        if let Some(result) = place(&mut results, &entry.id) {
            *result = Err(entry_failure(entry));
        }
    }
    results
}

fn place<'r>(results: &'r mut [Result<(), Failure>], id: &str) -> Option<&'r mut Result<(), Failure>> {
    results.get_mut(id.parse::<usize>().ok()?)
}

fn entry_failure(entry: &BatchResultErrorEntry) -> Failure {
    let class = classify_entry(&entry.code, entry.sender_fault);
    Failure::new(class, detail(&entry.code), detail(entry.message.as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(id: &str, code: &str, sender_fault: bool) -> BatchResultErrorEntry {
        BatchResultErrorEntry::builder().id(id).code(code).sender_fault(sender_fault).message("why").build().unwrap()
    }

    fn class(result: &Result<(), Failure>) -> Option<Class> {
        result.as_ref().err().map(|failure| failure.class)
    }

    #[test]
    fn entries_are_answered_in_the_order_asked() {
        let results = in_order(4, ["3", "0"].into_iter(), &[failed("1", "ReceiptHandleIsInvalid", true)]);
        assert_eq!(results.iter().map(class).collect::<Vec<_>>(), [None, Some(Class::Final), Some(Class::Transient), None]);
    }

    #[test]
    fn an_entry_that_the_answer_leaves_out_is_not_done() {
        assert_eq!(in_order(1, std::iter::empty(), &[])[0].as_ref().unwrap_err().code, "unanswered");
    }

    #[test]
    fn entries_that_nobody_asked_for_change_nothing() {
        let results = in_order(1, ["7", "x", "", "0"].into_iter(), &[failed("9", "InternalError", false)]);
        assert_eq!(results, [Ok(())]);
    }

    #[test]
    fn an_entry_in_both_lists_failed() {
        assert!(in_order(1, ["0"].into_iter(), &[failed("0", "InternalError", false)])[0].is_err());
    }
}
