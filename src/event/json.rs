//! JSON, read more strictly than usual: an object that has a field twice is refused, since two readers of it (this worker, and
//! the person or program that looks at the same body) could each take the other value.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::DecodeError;
use crate::names::shown;

/// Reads `text` as one JSON object. `place` says what is read, for the error.
///
/// A UTF-8 byte order mark before the JSON is tolerated: some tools that people send test events with write one, and it changes
/// nothing about what is meant.
pub(super) fn object(text: &str, place: &str) -> Result<Map<String, Value>, DecodeError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match serde_json::from_str::<Strict>(text) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        Ok(Strict(other)) => Err(DecodeError::NotAnObject { place: place.to_owned(), found: kind(&other) }),
        Err(error) => Err(refusal(&error, place)),
    }
}

/// What a value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn refusal(error: &serde_json::Error, place: &str) -> DecodeError {
    let place = place.to_owned();
    let problem = error.to_string();
    if error.is_data() {
        // `Strict` takes every type of value, so the only data error is its own.
        DecodeError::DuplicateField { place, problem }
    } else if problem.starts_with("recursion limit exceeded") {
        DecodeError::TooDeep { place, problem }
    } else {
        DecodeError::NotJson { place, problem }
    }
}

/// A value in which no object has a field twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(de::Error::custom(shown(&key)));
            }
            let Strict(value) = map.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        let text = r#"{"a":[1,-2,3.5,true,null,"x",{"b":{}}],"ü":18446744073709551615}"#;
        assert_eq!(Value::Object(object(text, "the body").unwrap()), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_field_twice_is_refused_at_any_depth_and_named() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"\u0061":2}]}"#] {
            let error = object(text, "the body").unwrap_err();
            assert_eq!(error.code(), "duplicate_field");
            assert!(error.to_string().contains("\"a\" at line 1 column"), "{error}");
        }
    }

    #[test]
    fn nesting_ends_at_serde_jsons_limit_in_lists_and_objects() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let deep = |levels: usize| format!(r#"{{"x":{}1{}}}"#, open.repeat(levels), close.repeat(levels));
            assert!(object(&deep(126), "the body").is_ok());
            assert_eq!(object(&deep(127), "the body").unwrap_err().code(), "too_deep");
            assert_eq!(object(&deep(200_000), "the body").unwrap_err().code(), "too_deep");
        }
    }

    #[test]
    fn one_byte_order_mark_is_tolerated_and_two_are_not() {
        assert!(object("\u{feff}{}", "the body").is_ok());
        assert_eq!(object("\u{feff}\u{feff}{}", "the body").unwrap_err().code(), "not_json");
    }
}
