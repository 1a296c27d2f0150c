//! Names are data: everything that comes out of a message, a file or a service goes through one of these checked types
//! before it is used in a parameter name, a node name, a URL, a log line or a metric.
//!
//! What is inside is valid everywhere after, so no other room checks it again.

mod server_url;
mod template;

pub use server_url::ServerUrl;
pub use template::{Origin, ReadBack, Template, TemplateError, TemplateValues};

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use zeroize::Zeroizing;

/// Why a text is not the name it was taken for. Shows the text itself only in escaped and shortened form, so that a hostile
/// name can neither forge a log line nor flood one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {shown} is not valid: {rule}")]
pub struct NameError {
    /// The kind of name that was expected, such as `instance id`.
    pub what: &'static str,
    /// The offending text, escaped and cut.
    pub shown: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// A text from outside made fit to be shown: escaped, in quotes, and cut after 80 characters. One that says it is a private key is
/// not shown at all: 80 characters hold most of a short one. Nor is one that is an action's token, written with or without hyphens and
/// whatever stands around it: it may be in the wrong place, and its instance still wait.
#[must_use]
pub fn shown(text: &str) -> String {
    if text.contains("PRIVATE KEY") {
        return "(not shown: it looks like a private key)".to_owned();
    }
    if looks_like_a_token(text) {
        return "(not shown: it looks like a token)".to_owned();
    }
    let cut: String = text.chars().take(80).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", cut.escape_debug())
}

fn looks_like_a_token(text: &str) -> bool {
    let bare = text.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    // Nothing longer is looked at to its end.
    bare.len() <= 40 && bare.bytes().filter(u8::is_ascii_hexdigit).count() == 32 && bare.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and takes it as the name.
            ///
            /// # Errors
            /// Says which rule the text breaks.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(Arc::from(text)))
                } else {
                    Err(NameError { what: $what, shown: shown(text), rule: $rule })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! secret_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        ///
        /// Whoever reads it can use it: it is never printed, not even where it is not valid, and is wiped with its last copy.
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Arc<Zeroizing<Box<str>>>);

        impl $name {
            /// Checks `text` and takes it.
            ///
            /// # Errors
            /// Says which rule the text breaks, and not the text.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(Arc::new(Zeroizing::new(Box::from(text)))))
                } else {
                    Err(NameError { what: $what, shown: "(not shown)".to_owned(), rule: $rule })
                }
            }

            /// The secret as text, to be sent to the service that gave it and nowhere else.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.as_str().cmp(other.as_str())
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

checked_name!(
    /// An EC2 instance id: `i-` and 8 or 17 lower-case hexadecimal digits.
    InstanceId,
    "instance id",
    "it must be \"i-\" and 8 or 17 lower-case hexadecimal digits",
    |t| t.strip_prefix("i-").is_some_and(|hex| matches!(hex.len(), 8 | 17) && is_hex(hex))
);

checked_name!(
    /// The name of an Auto Scaling group: 1 to 255 characters, no control characters and no colon
    /// (the pattern of `AutoScalingGroupName` in the Auto Scaling API).
    GroupName,
    "Auto Scaling group name",
    "it must have 1 to 255 characters, none of them a control character or a colon",
    |t| (1..=255).contains(&t.chars().count()) && !t.chars().any(|c| c.is_control() || c == ':')
);

checked_name!(
    /// The name of a lifecycle hook: 1 to 255 of `A–Z a–z 0–9 - _ /` (the API's pattern `[A-Za-z0-9\-_\/]+`).
    HookName,
    "lifecycle hook name",
    "it must have 1 to 255 characters out of A-Z a-z 0-9 - _ /",
    |t| (1..=255).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/".contains(&b))
);

secret_name!(
    /// The token of one lifecycle action: a 36-character UUID. Trusted for nothing but completing that action.
    LifecycleActionToken,
    "lifecycle action token",
    "it must be a UUID of 36 characters",
    |t| t.len() == 36
        && t.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
);

checked_name!(
    /// An AWS account: 12 digits.
    AccountId,
    "account id",
    "it must be 12 digits",
    |t| t.len() == 12 && t.bytes().all(|b| b.is_ascii_digit())
);

checked_name!(
    /// An AWS region such as `eu-central-1`.
    Region,
    "region",
    "it must look like eu-central-1",
    |t| (4..=32).contains(&t.len())
        && t.contains('-')
        && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);

checked_name!(
    /// The name a node has on its registrar: 1 to 255 of letters, digits, `- _ : .`. AssociateNode takes up to 10,000
    /// characters of `^[\-\p{Alnum}_:.]+$`; Chef and Puppet servers take fewer, and file names end at 255.
    NodeName,
    "node name",
    "it must have 1 to 255 characters out of A-Z a-z 0-9 - _ : . and must not begin with a dot",
    |t| (1..=255).contains(&t.len())
        && !t.starts_with('.')
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:.".contains(&b))
);

checked_name!(
    /// The full name of an SSM parameter: 1 to 1011 of letters, digits, `. - _ /`, at most 15 levels.
    ParameterName,
    "parameter name",
    "it must have 1 to 1011 characters out of A-Z a-z 0-9 . - _ /, begin with a slash where it has levels, and have at most 15",
    |t| (1..=1011).contains(&t.len())
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_/".contains(&b))
        && (!t.contains('/') || t.starts_with('/'))
        && !t.contains("//")
        && !t.ends_with('/')
        && t.matches('/').count() <= 15
);

checked_name!(
    /// The id that SQS gave a message.
    MessageId,
    "message id",
    "it must have 1 to 100 printable ASCII characters",
    |t| (1..=100).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic())
);

secret_name!(
    /// The handle of one receive of one message; a later receive gets another.
    ReceiptHandle,
    "receipt handle",
    "it must have 1 to 2048 characters without control characters",
    |t| (1..=2048).contains(&t.len()) && !t.chars().any(char::is_control)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_has_8_or_17_hexadecimal_digits() {
        for good in ["i-0a1b2c3d", "i-0a1b2c3d4e5f60718"] {
            assert_eq!(InstanceId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "i-", "i-0a1b2c3", "i-0A1B2C3D", "i-0a1b2c3d4e5f6071", "x-0a1b2c3d", "i-0a1b2c3d\n"] {
            assert!(InstanceId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_hostile_name_is_shown_escaped_and_cut() {
        let error = InstanceId::new(&format!("i-\n{}", "x".repeat(500))).unwrap_err().to_string();
        assert!(error.contains(r"i-\n"), "{error}");
        assert!(error.len() < 250, "{error}");
        assert!(!error.contains('\n'));
    }

    #[test]
    fn a_private_key_in_the_place_of_a_name_is_not_shown() {
        let key = concat!("-----BEGIN EC PRIV", "ATE KEY-----\nMHcCAQEEIExample");
        let error = InstanceId::new(key).unwrap_err().to_string();
        assert!(!error.contains("MHcC") && error.contains("private key"), "{error}");
    }

    #[test]
    fn a_token_in_the_place_of_a_name_is_not_shown() {
        for token in [TOKEN.to_owned(), TOKEN.replace('-', ""), TOKEN.to_uppercase(), format!("{{{TOKEN}}}\n")] {
            let error = InstanceId::new(&token).unwrap_err().to_string();
            assert!(error.contains("not shown") && !error.to_lowercase().contains("0f1e"), "{error}");
        }
        for other in [&format!("eks-{TOKEN}"), "prod-chef", &"0".repeat(31)] {
            assert!(shown(other).contains(other), "{other}");
        }
    }

    #[test]
    fn a_group_name_may_hold_spaces_slashes_and_other_scripts() {
        for good in ["web-blue", "my group/of things", "größe-グループ"] {
            assert!(GroupName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a:b", "a\u{7}b", "a\nb"] {
            assert!(GroupName::new(bad).is_err(), "{bad:?}");
        }
    }

    const TOKEN: &str = "0f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f";

    #[test]
    fn a_token_and_a_receipt_handle_are_never_printed() {
        let token = LifecycleActionToken::new(TOKEN).unwrap();
        let handle = ReceiptHandle::new("AQEB-planted-handle").unwrap();
        assert_eq!((token.as_str(), handle.as_str()), (TOKEN, "AQEB-planted-handle"));
        assert_eq!(format!("{token:?} {handle:#?}"), "LifecycleActionToken(redacted) ReceiptHandle(redacted)");
        // One that is almost right is as secret.
        for error in [LifecycleActionToken::new(&format!("{TOKEN} ")).err(), ReceiptHandle::new(&format!("{TOKEN}\n")).err()] {
            let error = error.unwrap().to_string();
            assert!(!error.contains("0f1e") && error.contains("not shown"), "{error}");
        }
    }

    #[test]
    fn secrets_have_no_text_of_their_own() {
        trait MayBePrinted {
            const PRINTED: bool = false;
        }
        impl<T> MayBePrinted for T {}
        struct Asked<T>(std::marker::PhantomData<T>);
        impl<T: fmt::Display> Asked<T> {
            const PRINTED: bool = true;
        }
        const {
            assert!(!<Asked<LifecycleActionToken>>::PRINTED && !<Asked<ReceiptHandle>>::PRINTED);
            assert!(<Asked<InstanceId>>::PRINTED);
        }
    }

    #[test]
    fn secrets_are_wiped_with_their_last_copy() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let token = LifecycleActionToken::new(TOKEN).unwrap();
        is_wiped(&*token.0);
        is_wiped(&*ReceiptHandle::new("h").unwrap().0);
        let copy = token.clone();
        assert!(Arc::ptr_eq(&token.0, &copy.0), "a copy of the handle is none of the text");
    }
}
