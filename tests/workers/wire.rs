//! What the SDKs see of the stage: an HTTP client without sockets, a sleep and a time source.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::rt::sleep::{AsyncSleep, Sleep};
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use hyper::Response;

use crate::stage::Stage;

/// What comes back: an answer, or a connection that broke.
pub type Answer = Option<Response<Bytes>>;

/// The HTTP client, sleep and time source of one worker.
#[derive(Debug, Clone)]
pub struct Wire {
    pub stage: Arc<Stage>,
    pub worker: usize,
}

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = request.try_into_http1x().expect("the SDK's requests are valid");
        let request = request.map(|body| Bytes::copy_from_slice(body.bytes().expect("no call streams its body")));
        if self.stage.is_without_names() {
            // As the resolver's error comes out of the real connector.
            let error = "dns error: failed to lookup address information: Temporary failure in name resolution";
            let sleep = self.sleep(Duration::from_millis(5));
            return HttpConnectorFuture::new(async move {
                sleep.await;
                Err(ConnectorError::io(error.into()))
            });
        }
        let asked = Asked { stage: Arc::clone(&self.stage), number: self.stage.send(self.worker, request), answered: false };
        HttpConnectorFuture::new(async move {
            let answer = asked.await.ok_or_else(|| ConnectorError::io("the connection was closed".into()))?;
            let answer: HttpResponse = answer.map(SdkBody::from).try_into().expect("the simulator's answers are valid");
            Ok(answer)
        })
    }
}

impl AsyncSleep for Wire {
    fn sleep(&self, duration: Duration) -> Sleep {
        let ms = u64::try_from(duration.as_micros().div_ceil(1000)).expect("no sleep is that long");
        Sleep::new(self.stage.sleep_until(self.stage.now() + ms))
    }
}

impl TimeSource for Wire {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.stage.now())
    }
}

/// A request that waits for its answer.
struct Asked {
    stage: Arc<Stage>,
    number: u64,
    answered: bool,
}

impl Future for Asked {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        match self.stage.answer(self.number, context.waker()) {
            Some(answer) => {
                self.answered = true;
                Poll::Ready(answer)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.answered {
            self.stage.forsake(self.number);
        }
    }
}
