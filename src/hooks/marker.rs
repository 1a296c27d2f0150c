//! The mark that tells our hooks from others: a member of the JSON object in their metadata. Metadata is the one field of a hook that
//! is free for such a thing; hooks have no tags.

use serde_json::{Map, Value};

/// The member's name and its value.
const MEMBER: &str = "managed_by";
const VALUE: &str = "enrolld";
/// Where metadata goes that was no JSON object before.
const BEFORE: &str = "metadata";
/// The longest metadata, in characters (API limit: `AnyPrintableAsciiStringMaxLen4000`).
pub const LONGEST: usize = 4000;

/// Whether this metadata is of a hook of ours.
#[must_use]
pub fn is_marked(metadata: Option<&str>) -> bool {
    let object = metadata.and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    object.is_some_and(|object| object.get(MEMBER).and_then(Value::as_str) == Some(VALUE))
}

/// This metadata with the mark in it. What was no JSON object is kept as a member.
#[must_use]
pub fn marked(metadata: Option<&str>) -> String {
    if is_marked(metadata) {
        return metadata.unwrap_or_default().to_owned();
    }
    let mut object = match metadata.map(serde_json::from_str) {
        Some(Ok(Value::Object(object))) => object,
        Some(_) => Map::from_iter([(BEFORE.to_owned(), Value::from(metadata.unwrap_or_default()))]),
        None => Map::new(),
    };
    object.insert(MEMBER.to_owned(), Value::from(VALUE));
    Value::Object(object).to_string()
}

/// A person's own metadata, with the mark in it.
///
/// # Errors
/// It is no JSON object, or not what the API takes.
pub fn own(text: &str) -> Result<String, String> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("it is not a JSON object such as {{\"team\":\"web\"}} ({error})"))?;
    let marked = marked(Some(&Value::Object(object).to_string()));
    if marked.chars().count() > LONGEST {
        return Err(format!("with enrolld's mark it has {} characters, and a hook takes {LONGEST}", marked.chars().count()));
    }
    if let Some(other) = marked.chars().find(|c| !matches!(c, ' '..='~')) {
        return Err(format!("a hook takes printable ASCII alone, and it has {:?}", other));
    }
    Ok(marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_marked_is_ours_and_nothing_else_is() {
        for theirs in [None, Some(""), Some("enrolld"), Some("{}"), Some(r#"{"managed_by":"terraform"}"#), Some(r#"["managed_by"]"#)] {
            assert!(!is_marked(theirs), "{theirs:?}");
            assert!(is_marked(Some(&marked(theirs))), "{theirs:?}");
        }
        assert_eq!(marked(None), r#"{"managed_by":"enrolld"}"#);
    }

    #[test]
    fn what_stood_there_stays_and_marking_twice_is_marking_once() {
        assert_eq!(marked(Some(r#"{"team":"web"}"#)), r#"{"managed_by":"enrolld","team":"web"}"#);
        let text = marked(Some("some text"));
        assert_eq!(text, r#"{"managed_by":"enrolld","metadata":"some text"}"#);
        assert_eq!(marked(Some(&text)), text);
    }

    #[test]
    fn metadata_that_no_hook_takes_is_refused() {
        assert!(own("team=web").unwrap_err().contains("JSON object"));
        assert!(own(r#"{"team":"größe"}"#).unwrap_err().contains("ASCII"));
        assert!(own(&format!(r#"{{"a":"{}"}}"#, "x".repeat(4000))).unwrap_err().contains("4000"));
        assert!(is_marked(Some(&own(r#"{"team":"web"}"#).unwrap())));
    }
}
