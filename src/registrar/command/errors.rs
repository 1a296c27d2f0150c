//! What the end of a program means.

use crate::meanings;
use crate::retry::Failure;

meanings! {
    NOT_NOW: NotReady, "exit_75", "the program ended with 75 (`EX_TEMPFAIL`): the server takes no orders now";
    NOT_READY: NotReady, "not_ready", "its answer has the status `not_ready`";
    TIMEOUT: Transient, "command_timeout", "it did not end within `timeout`, and was killed with everything that it started";
    KILLED: Transient, "command_killed", "a signal ended it";
    NO_ROOM: Transient, "command_start", "it could not be started just now: too many processes, files or too little memory";
    CANNOT_START: RouteFault, "command_start", "it is not there, or not to be run";
    ROUTE_FAULT: RouteFault, "route_fault", "its answer has the status `route_fault`";
    BAD_ANSWER: RouteFault, "bad_answer", "it ended with 0, and its standard output begins like an answer and is none of those in the contract";
    EXIT: Final, "exit_N", "it ended with any other code; the last line of standard error is the reason";
    OTHER_KEY: Final, Failure::OTHER_KEY, "its answer has the status `other_key`: the node is there with another key, and is left alone";
    FAILED: Final, "failed", "its answer has the status `failed`";
}
