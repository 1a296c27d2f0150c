//! How much of an answer is read: an endpoint that answers without end must not fill the memory. Time-outs bound how long an answer
//! may take, and the SDK reads it whole, so that it must not come in pieces that take more than they bring.

use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;

use super::allowance::Allowance;
use super::gathered::Gathered;

/// The longest answer to most calls, in bytes: far more than any has (50 versions of a parameter come to 0.5 MiB).
const MOST: usize = 4 * 1024 * 1024;
/// The longest answer to ReceiveMessage: ten bodies of 1 MiB each, which JSON may double.
const MOST_MESSAGES: usize = 24 * 1024 * 1024;
/// The longest answer to DescribeAutoScalingGroups, which lists every instance of up to a hundred groups.
const MOST_GROUPS: usize = 64 * 1024 * 1024;
/// The most that all answers may come to that are being read at once: one of the longest, and half of another. Messages aside: a receive that is cut
/// off costs each of them one of its receives, and the core asks for no more of them than it has room for.
const MOST_TOGETHER: usize = 96 * 1024 * 1024;

/// A connector whose answers end with an error where they are too long, or too many long ones come at once.
#[derive(Debug)]
pub(super) struct Bounded {
    inner: SharedHttpConnector,
    together: Arc<Allowance>,
}

impl Bounded {
    /// Bounds what `inner` answers, each alone and all that share `together`.
    pub(super) fn new(inner: SharedHttpConnector, together: &Arc<Allowance>) -> Self {
        Self { inner, together: Arc::clone(together) }
    }

    /// What all connectors of one client share.
    pub(super) fn together() -> Arc<Allowance> {
        Allowance::of(MOST_TOGETHER)
    }
}

impl HttpConnector for Bounded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let most = most(&request);
        let answer = self.inner.call(request);
        let together = (most != MOST_MESSAGES).then(|| Arc::clone(&self.together));
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            let announced = answer.headers().get("content-length").and_then(|length| length.parse::<u64>().ok());
            if announced.is_some_and(|length| length > most as u64) {
                return Err(ConnectorError::other(format!("the answer is longer than {most} bytes").into(), None));
            }
            Ok(answer.map(|body| match &together {
                Some(together) => SdkBody::from_body_1_x(Gathered::new(together.counted(Limited::new(body, most)))),
                None => SdkBody::from_body_1_x(Gathered::new(Limited::new(body, most))),
            }))
        })
    }
}

/// By the one sign of each protocol: the target of JSON calls, and the action that a form begins with.
fn most(request: &HttpRequest) -> usize {
    if request.headers().get("x-amz-target") == Some("AmazonSQS.ReceiveMessage") {
        MOST_MESSAGES
    } else if request.body().bytes().is_some_and(|form| form.starts_with(b"Action=DescribeAutoScalingGroups&")) {
        MOST_GROUPS
    } else {
        MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use aws_smithy_runtime_api::http::StatusCode;
    use http_body_util::BodyExt;

    /// Answers everything with the same number of blanks.
    #[derive(Debug)]
    struct Blanks(usize);

    impl HttpConnector for Blanks {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let body = SdkBody::from(vec![b' '; self.0]);
            HttpConnectorFuture::ready(Ok(HttpResponse::new(StatusCode::try_from(200).unwrap(), body)))
        }
    }

    async fn answer(connector: &Bounded, target: &'static str) -> HttpResponse {
        let mut request = HttpRequest::new(SdkBody::empty());
        request.headers_mut().insert("x-amz-target", target);
        connector.call(request).await.unwrap()
    }

    #[tokio::test]
    async fn connectors_share_what_long_answers_may_come_to_and_messages_are_never_cut_off_for_others() {
        const MIB: usize = 1024 * 1024;
        let together = Allowance::of(3 * MIB);
        let connectors = [(); 2].map(|()| Bounded::new(SharedHttpConnector::new(Blanks(2 * MIB)), &together));
        let mut first = answer(&connectors[0], "AmazonSSM.GetParameters").await;
        assert!(first.body_mut().frame().await.unwrap().is_ok());
        let mut second = answer(&connectors[1], "AmazonSSM.GetParameters").await;
        assert!(second.body_mut().frame().await.unwrap().is_err(), "there is no room beside the first");
        let mut messages = answer(&connectors[1], "AmazonSQS.ReceiveMessage").await;
        assert!(messages.body_mut().frame().await.unwrap().is_ok());
        drop(first);
        let mut again = answer(&connectors[1], "AmazonSSM.GetParameters").await;
        assert!(again.body_mut().frame().await.unwrap().is_ok());
    }
}
