//! What goes wrong below the services.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use enrolld::core::call::{Answer, Call, RouteId};
use enrolld::retry::{Class, Failure};
use serde_json::json;

use crate::canned::{Canned, Reply};

async fn failure_of(reply: Reply) -> (Failure, usize) {
    let server = Canned::serve([reply]).await;
    let Answer::Health(Err(failure)) = server.services.perform(Call::CheckHealth { route: RouteId(0) }).await else { panic!() };
    (failure, server.asked().len())
}

#[tokio::test]
async fn nothing_is_retried_behind_the_cores_back() {
    for reply in [Reply::Http(503, String::new()), Reply::json_error(400, "ThrottlingException", ""), Reply::HangUp] {
        let (_, asked) = failure_of(reply.clone()).await;
        assert_eq!(asked, 1, "{reply:?}");
    }
}

#[tokio::test]
async fn broken_answers_and_connections_may_work_next_time() {
    for (reply, code) in [
        (Reply::HangUp, "connection"),
        (Reply::Http(503, String::new()), "http_503"),
        (Reply::Http(502, "<html>Bad Gateway</html>".into()), "http_502"),
        (Reply::json_error(500, "InternalFailure", ""), "InternalFailure"),
        (Reply::ok("{\"Servers\":["), "response"),
    ] {
        let (failure, _) = failure_of(reply).await;
        assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, code), "{failure}");
    }
}

#[tokio::test]
async fn a_silent_service_is_given_up_after_its_time_out() {
    let began = Instant::now();
    let (failure, _) = failure_of(Reply::Silence).await;
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "timeout"), "{failure}");
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn an_answer_of_gigabytes_is_cut_off_after_a_few_megabytes() {
    for announced in [false, true] {
        let server = Canned::serve([Reply::Gigabyte { announced }]).await;
        let Answer::Health(Err(failure)) = server.services.perform(Call::CheckHealth { route: RouteId(0) }).await else { panic!() };
        assert_eq!(failure.class, Class::Transient, "{failure}");
        assert_ne!(failure.code, "timeout", "it is cut off for its length, not for its time: {failure}");
        // Beside what is read there is what buffers hold on both sides, and that grows as the kernel likes.
        let read = server.read.load(Ordering::Relaxed);
        assert!(read < 64 << 20, "{read} bytes");
    }
}

#[tokio::test]
async fn ten_messages_of_the_longest_there_are_are_read() {
    let body = "\"".repeat(1 << 20);
    let message = |n: u32| json!({ "MessageId": format!("m-{n}"), "ReceiptHandle": format!("h-{n}"), "Body": body });
    let server = Canned::serve([Reply::ok(json!({ "Messages": (0..10).map(message).collect::<Vec<_>>() }).to_string())]).await;
    let call = Call::Receive { max: 10, wait: Duration::from_secs(20), visibility: Duration::from_secs(90) };
    let Answer::Received(Ok(messages)) = server.services.perform(call).await else { panic!() };
    assert!(messages.len() == 10 && messages.iter().all(|message| message.body.as_str().len() == 1 << 20));
}

#[tokio::test]
async fn a_long_poll_outlasts_the_time_out_of_other_calls() {
    let server = Canned::serve([Reply::Late(Duration::from_secs(5), "{}".into())]).await;
    let call = Call::Receive { max: 1, wait: Duration::from_secs(20), visibility: Duration::from_secs(90) };
    assert!(matches!(server.services.perform(call).await, Answer::Received(Ok(_))));
}

#[tokio::test]
async fn our_own_credentials_are_a_fault_of_the_route() {
    for code in ["ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException", "AccessDeniedException"] {
        let (failure, _) = failure_of(Reply::json_error(400, code, "")).await;
        assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, code));
    }
}

#[tokio::test]
async fn a_proxys_page_is_a_fault_of_the_route() {
    let (failure, _) = failure_of(Reply::Http(403, "<html>blocked</html>".into())).await;
    assert_eq!((failure.class, failure.code.as_str()), (Class::RouteFault, "http_403"), "{failure}");
}
