//! A node that leaves while somebody else is at work at its name: a certificate is never deleted that is not revoked.

use super::*;

async fn left(replies: impl IntoIterator<Item = Reply>) -> Vec<String> {
    let replies = replies.into_iter().chain([absent(), text(200, &Node::new().certificate)]);
    let stub = Stub::serve(false, replies).await;
    assert_eq!(stub.ca.disassociate(&order()).await, Ok(Registration::Done));
    let asked = stub.asked();
    let ends = [format!("GET certificate_status/{NODE}"), "GET certificate/ca".to_owned()];
    assert!(asked.ends_with(&ends), "{asked:?}");
    asked[..asked.len() - 2].iter().filter(|asked| !asked.starts_with("GET")).cloned().collect()
}

fn revoke() -> String {
    format!(r#"PUT certificate_status/{NODE} {{"desired_state":"revoked"}}"#)
}

fn clean() -> String {
    format!(r#"PUT clean {{"certnames":["{NODE}"]}}"#)
}

fn drop_request() -> String {
    format!("DELETE certificate_request/{NODE}")
}

fn delete() -> String {
    format!("DELETE certificate_status/{NODE}")
}

#[tokio::test]
async fn a_certificate_is_revoked_and_then_removed_by_the_order_that_revokes_as_well() {
    let replies = [state("signed"), text(204, ""), state("revoked"), text(200, "Successfully cleaned all certs.")];
    assert_eq!(left(replies).await, [revoke(), clean()]);
}

#[tokio::test]
async fn a_request_is_taken_back_alone_and_what_somebody_made_of_it_meanwhile_is_revoked() {
    assert_eq!(left([state("requested"), text(204, "")]).await, [drop_request()]);
    // It was signed between the look and the order.
    let signed = [state("signed"), text(204, ""), state("revoked"), text(200, "")];
    let gone = [state("requested"), text(404, "No certificate request"), state("signed")];
    assert_eq!(left(gone.into_iter().chain(signed)).await, [drop_request(), revoke(), clean()]);
}

#[tokio::test]
async fn who_may_not_take_back_a_request_looks_again_before_the_whole_name_is_deleted() {
    let forbidden = || text(403, "Forbidden request: /puppet-ca/v1/certificate_request/i-0a1b2c3d (method :delete)");
    assert_eq!(left([state("requested"), forbidden(), state("requested"), text(204, "")]).await, [drop_request(), delete()]);
    let signed = [state("signed"), text(204, ""), state("revoked"), text(200, "")];
    let replies = [state("requested"), forbidden(), state("signed")];
    assert_eq!(left(replies.into_iter().chain(signed)).await, [drop_request(), revoke(), clean()]);
}

#[tokio::test]
async fn a_server_that_cannot_clean_deletes_what_it_has_revoked() {
    for refusal in refusals() {
        assert_eq!(left([state("revoked"), refusal, state("revoked"), text(204, "")]).await, [clean(), delete()]);
    }
}

fn refusals() -> [Reply; 4] {
    [text(404, "not found"), text(403, "Forbidden request"), text(400, "no"), text(405, "")]
}

#[tokio::test]
async fn a_certificate_that_was_made_while_cleaning_was_refused_is_revoked_before_it_is_deleted() {
    for refusal in refusals() {
        let made = [state("revoked"), refusal, state("signed")];
        let removed = [state("signed"), text(204, ""), state("revoked"), text(200, "")];
        assert_eq!(left(made.into_iter().chain(removed)).await, [clean(), revoke(), clean()]);
    }
}

#[tokio::test]
async fn a_server_that_is_asked_to_clean_too_often_is_not_asked_to_delete_instead() {
    let stub = Stub::serve(false, [state("revoked"), text(429, "slow down")]).await;
    assert_eq!(stub.ca.disassociate(&order()).await.unwrap_err().class, Class::Throttled);
    assert_eq!(stub.asked().len(), 2, "{:?}", stub.asked());
}

#[tokio::test]
async fn two_that_clean_at_once_both_succeed() {
    let tripped = text(500, "Error while cleaning certs: i-0a1b2c3d.pem (No such file or directory)");
    assert_eq!(left([state("revoked"), tripped, absent()]).await, [clean()]);
}

#[tokio::test]
async fn of_a_node_that_stays_only_what_is_revoked_is_taken_away() {
    for (stands, orders) in [("revoked", vec![clean()]), ("signed", vec![]), ("requested", vec![])] {
        let stub = Stub::serve(false, [state(stands), text(200, "")]).await;
        assert_eq!(stub.ca.clear(&order()).await, Ok(Registration::Done));
        assert_eq!(stub.asked()[1..], orders, "{stands}");
    }
    let stub = Stub::serve(false, [absent()]).await;
    assert_eq!(stub.ca.clear(&order()).await, Ok(Registration::Done));
    assert_eq!(stub.asked().len(), 1);
}

#[tokio::test]
async fn a_request_that_the_server_will_not_sign_is_taken_back_and_one_that_it_may_yet_sign_is_not() {
    let own = Node::new();
    for (answers, code, orders) in [
        (vec![text(409, "not allowed"), state("requested"), text(204, "")], "not_signed", vec![drop_request()]),
        (vec![text(400, "no"), text(204, "")], "http_400", vec![drop_request()]),
        (vec![text(503, "starting"), state("requested")], "http_503", vec![]),
    ] {
        let stub = Stub::serve(false, [state("requested"), text(200, &own.request)].into_iter().chain(answers)).await;
        assert_eq!(associate(&stub, &own).await.unwrap_err().code, code);
        let asked = stub.asked();
        let given: Vec<String> = asked[3..].iter().filter(|asked| !asked.starts_with("GET")).cloned().collect();
        assert_eq!(given, orders, "{asked:?}");
    }
    // What failed the launch is its reason, whatever becomes of the request.
    let refused = [text(409, "not allowed"), state("requested"), text(503, "starting")];
    let stub = Stub::serve(false, [state("requested"), text(200, &own.request)].into_iter().chain(refused)).await;
    let failure = associate(&stub, &own).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Final, "not_signed"));
    assert!(failure.detail.contains("not allowed") && failure.detail.contains("still pending: http_503"), "{failure}");
}
