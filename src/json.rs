//! What JSON comes to once it is read into values: a text of a few megabytes can become a hundred times as much, since an object that
//! holds one field of no name takes five bytes to write and a whole node of a tree to keep.

/// The fields of an object stand in nodes of eleven; one costs about this much, with what leads to it.
const NODE: usize = 768;

/// What one value of a list takes, by which the list may have grown to twice what it needs.
const IN_LIST: usize = 64;

/// What the first value of a list takes: there is room for three more behind it.
const FIRST_IN_LIST: usize = 128;

/// What a text takes beside its bytes.
const TEXT: usize = 32;

/// The reader goes no deeper, and ends there.
const DEEPEST: usize = 128;

/// About how many bytes of memory the values take that `serde_json` makes of a text; too much rather than too little. Nothing is built to
/// find out. Of what is no JSON, what comes before the fault counts at the least.
pub(crate) fn weight(text: &[u8]) -> usize {
    let mut open: Vec<Open> = Vec::new();
    let mut weight: usize = 0;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        let more = match byte {
            b'"' => {
                let length = text_length(&text[at..]);
                at += length + 1;
                TEXT + length
            }
            b'{' | b'[' if open.len() == DEEPEST => return weight,
            b'{' => {
                open.push(Open::Object { fields: 0 });
                0
            }
            b'[' => {
                open.push(Open::List);
                FIRST_IN_LIST
            }
            b'}' | b']' => {
                open.pop();
                0
            }
            b':' => open.last_mut().map_or(0, Open::field),
            b',' if matches!(open.last(), Some(Open::List)) => IN_LIST,
            _ => 0,
        };
        weight = weight.saturating_add(more);
    }
    weight
}

/// A list or an object that has not ended yet.
enum Open {
    List,
    Object { fields: usize },
}

impl Open {
    /// What one more field of an object takes: a node, where it is the first, or where a full node is split in halves for it.
    fn field(&mut self) -> usize {
        let Self::Object { fields } = self else { return 0 };
        *fields += 1;
        if *fields == 1 || (*fields > 11 && (*fields - 12).is_multiple_of(6)) { NODE } else { 0 }
    }
}

/// The length of a text, up to its closing quotation mark.
fn text_length(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nests_weighs_a_hundred_times_its_length_and_a_text_little_more_than_its_length() {
        let chain = format!("{}0{}", "{\"\":".repeat(100), "}".repeat(100));
        assert!(weight(chain.as_bytes()) > 100 * chain.len(), "{}", weight(chain.as_bytes()));
        let lists = format!("{}0{}", "[".repeat(100), "]".repeat(100));
        assert!(weight(lists.as_bytes()) > 60 * lists.len(), "{}", weight(lists.as_bytes()));
        let padding = format!("{{\"padding\":\"{}\"}}", "x".repeat(1_000_000));
        assert!((1_000_000..1_001_000).contains(&weight(padding.as_bytes())), "{}", weight(padding.as_bytes()));
    }

    #[test]
    fn many_values_weigh_what_they_take_each() {
        let numbers = format!("[{}0]", "0,".repeat(999));
        assert_eq!(weight(numbers.as_bytes()), 128 + 999 * 64);
        let fields = (0..1_000).map(|n| format!("\"{n:03}\":0")).collect::<Vec<_>>().join(",");
        let nodes = weight(format!("{{{fields}}}").as_bytes()) - fields.len() / 7 * (TEXT + 3);
        assert!((100_000..150_000).contains(&nodes), "a map of a thousand has 110,000 bytes or so: {nodes}");
        assert_eq!(weight(b"{}"), 0);
    }

    #[test]
    fn what_stands_in_a_text_is_no_structure() {
        let plain = weight(br#"{"a":"xxxxxxxxxxxx"}"#);
        assert_eq!(weight(br#"{"a":"{[,:\\\"{[,:"}"#), plain, "escaped backslashes and quotation marks are in it");
        assert_eq!(weight(br#"{"a":"\u007b\u007b"}"#), plain);
    }

    #[test]
    fn what_is_no_json_is_weighed_to_its_end_or_to_where_no_reader_goes() {
        for text in ["", "\"", "\"\\", "]}]}", ":,:,", "{[}]\"\\\""] {
            assert!(weight(text.as_bytes()) < 2_000, "{text}");
        }
        assert_eq!(weight("[".repeat(1_000_000).as_bytes()), DEEPEST * FIRST_IN_LIST);
    }
}
