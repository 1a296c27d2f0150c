//! Text out of a message, fit to be shown.

use std::fmt;

use serde::Serialize;

use crate::observe::text::{LONGEST, printable};

/// What a text begins that is, or may be, key material: PEM, and PEM once more in base64.
const KEY_MARKS: [&str; 3] = ["-----BEGIN", "PRIVATE KEY", "LS0tLS1CRUdJTi"];
/// What is shown in the place of it.
const LEFT_OUT: &str = "(it holds what looks like key material, and is not shown)";
/// The longest word of a body that is shown, in characters: `EC2_INSTANCE_TERMINATING` and an instance id may be; a token has 32 or 36, and
/// more where it is escaped, or in base64.
const LONGEST_WORD: usize = 24;
/// What is shown in the place of a longer one.
const NOT_SHOWN: &str = "(not shown)";
/// Fields whose values are not shown, by what their names hold in small letters: an action's token, and that of a subscription to an SNS
/// topic, which stands in a link.
const SECRETS: [&str; 2] = ["token", "subscribeurl"];

/// Text out of a message: escaped, cut, and without key material. There is no other way for a message's text to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said(String);

impl Said {
    /// Takes a text from outside.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if KEY_MARKS.iter().any(|mark| text.contains(mark)) {
            return Self(LEFT_OUT.to_owned());
        }
        Self(printable(text).into_owned())
    }

    /// Takes a body that is no notification as it should be. It may be almost one, in whatever form, and hold the token of an action
    /// that still waits: nothing of it is shown that could be one.
    #[must_use]
    pub fn of_body(body: &str) -> Self {
        let whole = Self::new(body);
        if whole.is_left_out() { whole } else { Self::new(&without_tokens(body)) }
    }

    /// The text, fit to be shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text was left out, since it looks like key material.
    #[must_use]
    pub fn is_left_out(&self) -> bool {
        self.0 == LEFT_OUT
    }

    /// The text, or its beginning where it has more than `chars` characters.
    #[must_use]
    pub fn cut(&self, chars: usize) -> String {
        match self.0.char_indices().nth(chars) {
            None => self.0.clone(),
            Some(_) => self.0.chars().take(chars.saturating_sub(1)).chain(['…']).collect(),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a body begins, as far as any of it is shown, without long words and the values of [`SECRETS`].
fn without_tokens(body: &str) -> String {
    /// What the next word is.
    #[derive(Clone, Copy, PartialEq)]
    enum Next {
        Any,
        /// It stands behind the name of a secret.
        BehindName,
        /// It begins a secret.
        Secret,
        /// It goes on with one.
        MoreOfIt,
    }
    let (mut out, mut next, mut rest) = (String::new(), Next::Any, body);
    while !rest.is_empty() && out.len() <= LONGEST * 4 {
        let (word, behind) = rest.split_at(rest.find(is_separator).unwrap_or(rest.len()));
        let (between, behind) = behind.split_at(behind.find(|c| !is_separator(c)).unwrap_or(behind.len()));
        rest = behind;
        // A quote that is itself escaped begins with a backslash.
        let bare = word.trim_end_matches('\\');
        let secret = matches!(next, Next::Secret | Next::MoreOfIt) && !bare.is_empty();
        let long = bare.chars().nth(LONGEST_WORD).is_some();
        out.push_str(if secret || long { NOT_SHOWN } else { bare });
        out.push_str(&word[bare.len()..]);
        out.push_str(between);
        let named = || SECRETS.iter().any(|secret| bare.to_ascii_lowercase().contains(secret));
        let assigned = between.contains([':', '=']);
        next = match next {
            // Between a name and its value may be nothing but backslashes and quotes.
            Next::BehindName | Next::Secret if bare.is_empty() => {
                if assigned {
                    Next::Secret
                } else {
                    next
                }
            }
            Next::Secret | Next::MoreOfIt if between.chars().all(char::is_whitespace) => Next::MoreOfIt,
            _ if !long && named() => {
                if assigned {
                    Next::Secret
                } else {
                    Next::BehindName
                }
            }
            _ => Next::Any,
        };
    }
    out
}

/// What ends a word. Not what stands in base64, in an escape or in an entity: a token that is written so is one word.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || "\"'`{}[]()<>,:=?".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_the_cursor_or_hides_text_gets_through() {
        let said = Said::new("a\r\n\u{1b}]0;title\u{7}\u{9b}31m\u{202e}b");
        assert!(!said.as_str().chars().any(|c| c.is_control() || c == '\u{202e}'), "{said}");
        assert!(said.as_str().ends_with('b'));
    }

    #[test]
    fn key_material_is_left_out_wherever_it_stands() {
        for text in [
            "x\n-----BEGIN RSA PRIVATE KEY-----\nMIIE",
            "{\"key\": \"-----BEGIN PUBLIC KEY-----\"}",
            "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQ==",
        ] {
            assert_eq!(Said::new(text).as_str(), LEFT_OUT);
        }
    }

    #[test]
    fn of_a_body_no_token_is_shown_in_whatever_form() {
        let token = "5d1f0a52-7b0e-4c8e-9a49-2f6d3f6f1c01";
        let field = |value: &str| format!(r#"{{"EC2InstanceId":"i-0a1b2c3d4e5f60718","LifecycleActionToken":"{value}","Origin":"EC2"}}"#);
        let escaped: String = token.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        for body in [
            field(token),
            field(&token.replace('-', "")),
            field(&token.replace('-', " ")),
            field(&token[..20]),
            field(&escaped),
            field(token).replace("ActionToken", "Action"),
            serde_json::Value::String(serde_json::Value::String(field(token)).to_string()).to_string(),
            serde_json::Value::String(field(&token[..20])).to_string(),
            format!("LifecycleActionToken: {token}\n"),
            format!("token = '{}'", &token[..20]),
            format!("<token>{token}</token>"),
            field(token).replace('"', "&quot;"),
        ] {
            let said = Said::of_body(&body);
            for part in ["5d1f", "1c01", "0035"] {
                assert!(!said.as_str().contains(part), "{said} of {body}");
            }
            assert!(said.as_str().contains(NOT_SHOWN), "{said}");
        }
        let bytes = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, field(token));
        assert_eq!(Said::of_body(&bytes).as_str().trim_end_matches('='), NOT_SHOWN);
        assert_eq!(
            Said::of_body(&field(token)).as_str(),
            r#"{"EC2InstanceId":"i-0a1b2c3d4e5f60718","LifecycleActionToken":"(not shown)","Origin":"EC2"}"#
        );
        let link = r#"{"SubscribeURL":"https://sns.eu-central-1.amazonaws.com/?Token=2336"}"#;
        assert_eq!(Said::of_body(link).as_str(), r#"{"SubscribeURL":"(not shown):(not shown)?Token=(not shown)"}"#);
    }

    #[test]
    fn what_is_no_token_is_shown_as_it_is_and_a_long_body_in_a_time_that_does_not_grow() {
        for body in ["please enrol my instance, thank you", r#"{"LifecycleTransition":"autoscaling:EC2_INSTANCE_TERMINATING"}"#, ""] {
            assert_eq!(Said::of_body(body).as_str(), body);
        }
        assert!(without_tokens(&"a,".repeat(1 << 19)).len() < LONGEST * 4 + 100);
        assert!(!Said::of_body("{\"a\": \"-----BEGIN PUBLIC KEY-----\\nMIIB\"}").as_str().contains("MIIB"));
    }

    #[test]
    fn a_cut_text_says_that_it_goes_on() {
        assert_eq!(Said::new("größer").cut(4), "grö…");
        assert_eq!(Said::new("größer").cut(6), "größer");
    }
}
