//! What Auto Scaling's error codes mean.

use crate::aws::shared_class;
use crate::retry::Class;

/// The class of a failed call. Source: the common errors of the Auto Scaling API and those of the operations used here.
#[must_use]
pub fn classify(code: &str, status: u16) -> Class {
    match code {
        "ValidationError" => Class::Final,
        // Another change of the same group is under way.
        "ResourceContention" | "ResourceContentionFault" | "ScalingActivityInProgress" | "InvalidNextToken" => Class::Transient,
        "ServiceLinkedRoleFailure" => Class::RouteFault,
        _ => shared_class(code, status),
    }
}

/// Whether an error says that the lifecycle action is closed.
///
/// The one place where a message is matched: Auto Scaling reports this case by the code `ValidationError`, which it shares
/// with real mistakes such as an unknown group or hook, so the message's beginning is the one sign. What follows it (`with token
/// …`, `with instance ID …`) depends on what was sent. The instance's state confirms it before anything is built on it.
#[must_use]
pub fn says_no_active_action(code: Option<&str>, message: Option<&str>) -> bool {
    code == Some("ValidationError") && message.is_some_and(|message| message.starts_with("No active Lifecycle Action found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_class() {
        for (code, status, class) in [
            ("ValidationError", 400, Class::Final),
            ("ResourceContention", 500, Class::Transient),
            ("Throttling", 400, Class::Throttled),
            ("RequestLimitExceeded", 503, Class::Throttled),
            ("AccessDenied", 403, Class::RouteFault),
            ("ExpiredToken", 403, Class::RouteFault),
            ("InvalidClientTokenId", 403, Class::RouteFault),
            ("InternalFailure", 500, Class::Transient),
        ] {
            assert_eq!(classify(code, status), class, "{code}");
        }
    }

    #[test]
    fn only_the_known_beginning_means_that_an_action_is_closed() {
        let says = |code, message| says_no_active_action(Some(code), Some(message));
        assert!(says("ValidationError", "No active Lifecycle Action found with token 0f1e2d3c"));
        assert!(says("ValidationError", "No active Lifecycle Action found with instance ID i-0a1b2c3d"));
        assert!(!says("ValidationError", "AutoScalingGroup name not found - no such group: x"));
        assert!(!says("ValidationError", "x No active Lifecycle Action found"));
        assert!(!says("Throttling", "No active Lifecycle Action found with token 0f1e2d3c"));
        assert!(!says_no_active_action(Some("ValidationError"), None));
    }
}
