//! What a program was told and must not be repeated: its words go into logs, dead letters and the audit trail.

use std::collections::HashSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::aws::detail;

/// The shortest text that is a secret, in bytes. Shorter ones (`1`, `true`, `prod`) stand in any message, and would show by their absence.
const SHORTEST: usize = 6;
/// How many bytes in a row of a longer secret show that a message repeats it.
const TELLING: usize = 24;
/// What is escaped in an address: all but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a run's program was told in confidence, each with the name that is shown in its place.
#[derive(Default)]
pub(super) struct Secrets(Vec<(String, Zeroizing<String>)>);

impl Secrets {
    /// Another one, as the program was given it. Of one in lines each line is a secret too: a program may print one alone.
    pub(super) fn add(&mut self, name: &str, text: &str) {
        let lines = text.lines().filter(|_| text.contains('\n'));
        for part in std::iter::once(text).chain(lines) {
            let part = part.trim();
            if part.len() < SHORTEST {
                continue;
            }
            // With their full sizes at once, so that nothing stays behind where a smaller buffer was.
            let mut json = Zeroizing::new(Vec::with_capacity(6 * part.len() + 2));
            serde_json::to_writer(&mut *json, part).expect("a text can always be written as JSON");
            let json = std::str::from_utf8(&json[1..json.len() - 1]).expect("JSON is text");
            let mut address = String::with_capacity(3 * part.len());
            address.extend(utf8_percent_encode(part, RESERVED));
            // As programs like to print it: as it is, in JSON, in an address.
            let forms = [part.to_owned(), json.to_owned(), address].map(Zeroizing::new);
            for form in forms {
                if !self.0.iter().any(|(_, known)| *known == form) {
                    self.0.push((format!("${name}"), form));
                }
            }
        }
    }

    /// A program's words as a detail, with names in the place of secrets.
    pub(super) fn detail(&self, text: &str) -> String {
        detail(&self.left_out(text))
    }

    /// The text with names in the place of secrets. Of what is longer than [`TELLING`], parts of that length are seen too; and at the end of the
    /// text, which may have been cut off there, the beginning of any.
    pub(super) fn left_out(&self, text: &str) -> String {
        let bytes = text.as_bytes();
        // A letter that was cut through is none.
        let end = text.trim_end_matches('\u{fffd}').len();
        // Whose name stands in the place of each byte.
        let mut hidden: Vec<Option<usize>> = vec![None; bytes.len()];
        for (of, (_, secret)) in self.0.iter().enumerate() {
            let secret = secret.as_bytes();
            let length = secret.len().min(TELLING);
            let parts: HashSet<&[u8]> = secret.windows(length).collect();
            for (at, _) in bytes.windows(length).enumerate().filter(|(_, part)| parts.contains(part)) {
                hidden[at..at + length].iter_mut().for_each(|place| *place = place.or(Some(of)));
            }
            let begun = (SHORTEST..length.min(end + 1)).rev().find(|part| secret.starts_with(&bytes[end - part..end]));
            hidden[end - begun.unwrap_or(0)..end].iter_mut().for_each(|place| *place = place.or(Some(of)));
        }
        let (mut out, mut last) = (String::with_capacity(text.len()), None);
        for (at, c) in text.char_indices() {
            // A letter of which a part is hidden is hidden.
            let of = (at..at + c.len_utf8()).find_map(|at| hidden[at]);
            match of {
                None => out.push(c),
                Some(of) if last.map(|last: usize| &self.0[last].0) != Some(&self.0[of].0) => out.push_str(&self.0[of].0),
                Some(_) => {}
            }
            last = of;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(secrets: &[(&str, &str)], text: &str) -> String {
        let mut all = Secrets::default();
        secrets.iter().for_each(|(name, secret)| all.add(name, secret));
        all.left_out(text)
    }

    #[test]
    fn a_secret_is_left_out_however_it_is_written() {
        let secret = "pä\"ss w/rd";
        for quoted in ["pä\"ss w/rd", r#"pä\"ss w/rd"#, "p%C3%A4%22ss%20w%2Frd"] {
            assert_eq!(left_out(&[("P", secret)], &format!("401: {quoted}, twice {quoted}!")), "401: $P, twice $P!", "{quoted}");
        }
        assert_eq!(left_out(&[("P", " padded \n")], "login 'padded'"), "login '$P'");
        assert_eq!(left_out(&[("P", "secret-one"), ("Q", "secret-two")], "secret-twosecret-one"), "$Q$P");
        assert_eq!(left_out(&[("P", "secret-one")], "nothing of it"), "nothing of it");
    }

    #[test]
    fn parts_of_a_long_secret_are_left_out_and_lines_of_one_in_lines() {
        let long: String = (0..500).map(|n| format!("{n:03}.")).collect();
        assert_eq!(left_out(&[("P", &long)], &format!("bad: {}?", &long[100..1300])), "bad: $P?");
        let key = "-----BEGIN PRIVATE KEY-----\nMHcCAQ\n-----END PRIVATE KEY-----\n";
        assert_eq!(left_out(&[("K", key)], "bad line MHcCAQ here"), "bad line $K here");
    }

    #[test]
    fn a_secret_that_is_cut_off_at_the_end_is_left_out() {
        assert_eq!(left_out(&[("P", "a-pass-phrase")], "it was a-pass-ph"), "it was $P");
        assert_eq!(left_out(&[("P", "größe-größe")], "it was größe-gr\u{fffd}"), "it was $P\u{fffd}");
        assert_eq!(left_out(&[("P", "a-pass-phrase")], "a-pass-"), "$P");
    }

    #[test]
    fn a_word_of_any_message_is_no_secret() {
        assert_eq!(left_out(&[("P", "true"), ("Q", "")], "it is true"), "it is true");
    }
}
