//! Text out of a message, fit to be shown.

use std::fmt;

use serde::Serialize;

use crate::observe::text::printable;

/// What a text begins that is, or may be, key material: PEM, and PEM once more in base64.
const KEY_MARKS: [&str; 3] = ["-----BEGIN", "PRIVATE KEY", "LS0tLS1CRUdJTi"];
/// What is shown in the place of it.
const LEFT_OUT: &str = "(it holds what looks like key material, and is not shown)";

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
    fn a_cut_text_says_that_it_goes_on() {
        assert_eq!(Said::new("größer").cut(4), "grö…");
        assert_eq!(Said::new("größer").cut(6), "größer");
    }
}
