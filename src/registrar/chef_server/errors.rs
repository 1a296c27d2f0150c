//! What a Chef server's answers and our findings there mean.

use crate::meanings;
use crate::retry::Failure;

meanings! {
    UNAVAILABLE: NotReady, "unavailable", "502, 503, 504: nginx stands before a server that is starting, being upgraded or in maintenance";
    PAGE: NotReady, "page", "2xx with a page where JSON is due: a balancer's maintenance page";
    SLOW_DOWN: Throttled, "slow_down", "429";
    BROKEN: Transient, "server_error", "500 and other 5xx, 408, 425";
    CLOCK_SKEW: RouteFault, "clock_skew", "401 that speaks of the clock: ours is more than 15 minutes off";
    UNAUTHORIZED: RouteFault, "unauthorized", "any other 401: a wrong name or key";
    FORBIDDEN: RouteFault, "forbidden", "403: rights are missing";
    NO_ORGANIZATION: RouteFault, "no_organization", "404 for the organization";
    NOT_CHEF: RouteFault, "not_chef", "404 that is not Chef's own, or an answer that does not show what was asked for, as 400 where our signature is not understood: the URL is wrong, a proxy drops headers, or the server is older than 12.4";
    API_VERSION: RouteFault, "api_version", "406: a server older than 12";
    UNEXPECTED: RouteFault, "unexpected_status", "redirects, and every other status: what is asked is the same for every node";
    REFUSED_NODE: RouteFault, "refused_node", "the node object was not made: all but its name is the route's, such as a policy that the server does not know";
    REFUSED_ACL: RouteFault, "refused_acl", "the client's rights on its node object were not given";
    REFUSED_KEY: RouteFault, "refused_key", "the key was not replaced, or a further one not deleted";
    REFUSED_DELETE: RouteFault, "refused_delete", "a client or node object was not deleted";
    SERVER_MADE_KEY: RouteFault, "server_made_key", "the server made a key pair of its own instead of taking the node's key";
    VANISHED: Transient, "vanished", "somebody else deleted or made something of the node's at the same time, three times over at a launch";
    NO_ACL: Transient, "no_acl", "a server with organizations did not show the rights on the node object";
    KEY_NOT_REPLACED: Transient, "key_not_replaced", "the server still shows the other key";
    OTHER_KEY: Final, Failure::OTHER_KEY, "the server has this client with another key, and `replace_existing` is off";
    GUARDED: Final, "guarded_client", "the client of this name is a validator, an administrator, or not ours to see";
    FOREIGN_NODE: Final, Failure::FOREIGN_NODE, "somebody else made the node object or the client: it says other than the route, or a stranger may change it, or it is too long to be read, or we may not read it, replace it, give rights on it, or delete it; at a launch a security event";
    OWN_NAME: Final, "own_name", "the node has the name of the client that enrols it";
    BAD_KEY: Final, "bad_key", "the key is no public key that Chef takes";
    REFUSED: Final, "refused", "400 or 422 to the creation of the client, of a server that knows us: name and key alone come from the node";
}
