//! Text from outside, made fit for a line that somebody reads.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The longest a service's message or a reason may be in one line; what SQS takes as one attribute is far more, and nobody
/// reads it.
pub const LONGEST: usize = 1000;

/// Escapes what cannot be seen and shortens what is too long, so that a text can neither forge a line nor hide in one.
///
/// JSON and quoted fields escape control characters themselves; this also takes care of line separators, invisible characters and
/// those that turn the direction of writing, which both would print.
pub fn printable(text: &str) -> Cow<'_, str> {
    let cut = text.char_indices().nth(LONGEST).map_or(text, |(at, _)| &text[..at]);
    if cut.len() == text.len() && !text.chars().any(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(cut.len() + 8);
    for c in cut.chars() {
        if is_unseen(c) {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    if cut.len() < text.len() {
        out.push('…');
    }
    Cow::Owned(out)
}

fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_in_any_script_passes_unchanged() {
        for text in ["web-blue", "my group/of things", "größe-グループ", ""] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        assert_eq!(printable("a\nb\u{1b}[31mc\u{2028}d\u{202e}e"), r"a\u{a}b\u{1b}[31mc\u{2028}d\u{202e}e");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let long = "ü".repeat(LONGEST + 1);
        assert_eq!(printable(&long).chars().count(), LONGEST + 1);
        assert!(printable(&long).ends_with("ü…"));
    }
}
