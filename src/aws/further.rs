//! API calls that one call of the core takes beside its own: the URL of the dead-letter queue, a second page. They cost quota like any
//! other, so they are counted like any other.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use crate::retry::Failure;

/// One of them, as it stands in metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FurtherCall {
    /// The API operation.
    pub operation: &'static str,
    /// `ok`, or the failure's class.
    pub outcome: &'static str,
    /// How long it took.
    pub took: Duration,
}

tokio::task_local! {
    static FURTHER: RefCell<Vec<FurtherCall>>;
}

/// Makes such a call. Where nobody counts, it is made all the same.
///
/// # Errors
/// The call's own.
pub async fn further<T>(operation: &'static str, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let began = tokio::time::Instant::now();
    let answer = call.await;
    let outcome = answer.as_ref().map_or_else(|failure| failure.class.as_str(), |_| "ok");
    let made = FurtherCall { operation, outcome, took: began.elapsed() };
    let _ = FURTHER.try_with(|calls| calls.borrow_mut().push(made));
    answer
}

/// Does some work, and says which further calls it took.
pub async fn counting<T>(work: impl Future<Output = T>) -> (T, Vec<FurtherCall>) {
    FURTHER
        .scope(RefCell::default(), async {
            let done = work.await;
            (done, FURTHER.with(RefCell::take))
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::Class;

    #[tokio::test]
    async fn further_calls_are_counted_with_what_came_of_them_and_nobody_else_s() {
        let work = |fails: bool| async move {
            let _ = further("GetQueueUrl", async { Ok(1) }).await;
            let failed = further("GetQueueUrl", async move { if fails { Err(Failure::new(Class::Throttled, "x", "y")) } else { Ok(2) } });
            failed.await.is_ok()
        };
        let ((one, calls), (other, others)) = tokio::join!(counting(work(true)), counting(work(false)));
        let outcomes = |calls: &[FurtherCall]| calls.iter().map(|call| (call.operation, call.outcome)).collect::<Vec<_>>();
        assert_eq!((one, outcomes(&calls)), (false, vec![("GetQueueUrl", "ok"), ("GetQueueUrl", "throttled")]));
        assert_eq!((other, outcomes(&others)), (true, vec![("GetQueueUrl", "ok"); 2]));
        assert!(further("GetQueueUrl", async { Ok(()) }).await.is_ok(), "where nobody counts");
    }
}
