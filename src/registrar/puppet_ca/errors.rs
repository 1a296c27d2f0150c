//! What an authority's answers and our findings there mean.

use crate::meanings;
use crate::retry::Failure;

meanings! {
    UNAVAILABLE: NotReady, "http_502, http_503, http_504", "the server is starting, or restarted behind its balancer";
    STARTING: NotReady, "the answer's own", "any answer that would be transient or a fault of the route, while `/status/v1/simple` does not say `running`: a server's parts appear one by one";
    SLOW_DOWN: Throttled, "http_429", "asked too often";
    BROKEN: Transient, "http_5NN, http_408, http_425", "any other failure of the server";
    UNSETTLED: Transient, "unsettled", "what stands under the node's name was changed again and again meanwhile";
    UNAUTHORIZED: RouteFault, "unauthorized", "401: our certificate is not taken";
    FORBIDDEN: RouteFault, "forbidden", "403: our certificate may not do this";
    ELSEWHERE: RouteFault, "http_4NN, http_3NN, http_2NN", "a page, a redirect, or an answer that no authority gives there: the URL is wrong, or what stands before the authority does not take our certificate (400 with a page)";
    NOT_A_CA: RouteFault, "not_a_ca", "200 with something else than what was asked for";
    REFUSED: Final, "http_4NN", "any other 4xx but 404, in the authority's own words, where the request was submitted or was to be signed: this node's request is at fault";
    NOT_SIGNED: Final, "not_signed", "409: the server's own rules refuse the request, with its words";
    FOREIGN_REQUEST: Final, Failure::FOREIGN_REQUEST, "a request that is not the node's is pending under its name; a security event";
    OTHER_KEY: Final, Failure::OTHER_KEY, "a certificate for another key from before the launch, or a revoked one, stands under the node's name";
    FOREIGN_CERTIFICATE: Final, Failure::FOREIGN_CERTIFICATE, "what was signed since the launch began was not the node's request, and is revoked; or a certificate for the node's key has other names or extensions than its request; a security event";
    NOT_A_REQUEST: Final, "not_a_request", "the key material is no certificate request";
    BAD_NAME: Final, "bad_node_name", "a name that no Puppet certificate can have";
}
