//! What it means that a server of one's own gave no answer that could be read.

use crate::meanings;

meanings! {
    UNREACHABLE: NotReady, "unreachable", "nobody listens there, or nothing on the way answers: the server is being restarted, or its machine is";
    CONNECTION: Transient, "connection", "the connection broke, or the host's name has no address just now";
    TIMEOUT: Transient, "timeout", "no answer within `attempt_timeout`, or not everything within `call_timeout`";
    TLS: RouteFault, "tls", "a certificate that cannot be believed, ours refused, or no TLS where it is due";
    TLS_BROKEN: Transient, "tls", "TLS broke off";
    OVERSIZED: RouteFault, "oversized_answer", "an answer beyond the limit: something else answers there";
    TOO_MUCH_AT_ONCE: Transient, "too_much_at_once", "long answers of this server together beyond the limit: asked for again once others are done with";
    INVALID_REQUEST: Final, "invalid_request", "a request that HTTP cannot carry";
}
