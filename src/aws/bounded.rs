//! How much of an answer is read: an endpoint that answers without end must not fill the memory. Time-outs bound how long an answer
//! may take, and the SDK reads it whole.

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;

/// The longest answer to most calls, in bytes: far more than any has (50 versions of a parameter come to 0.5 MiB).
const MOST: usize = 4 * 1024 * 1024;
/// The longest answer to ReceiveMessage: ten bodies of 1 MiB each, which JSON may double.
const MOST_MESSAGES: usize = 24 * 1024 * 1024;
/// The longest answer to DescribeAutoScalingGroups, which lists every instance of up to a hundred groups.
const MOST_GROUPS: usize = 64 * 1024 * 1024;

/// A connector whose answers end with an error where they are too long.
#[derive(Debug)]
pub(super) struct Bounded(pub(super) SharedHttpConnector);

impl HttpConnector for Bounded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let most = most(&request);
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            let announced = answer.headers().get("content-length").and_then(|length| length.parse::<u64>().ok());
            if announced.is_some_and(|length| length > most as u64) {
                return Err(ConnectorError::other(format!("the answer is longer than {most} bytes").into(), None));
            }
            Ok(answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, most))))
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
