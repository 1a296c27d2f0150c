//! JSON, read more strictly than usual: an object that has a field twice is refused, since two readers of it (this worker, and
//! the person or program that looks at the same body) could each take the other value.
//!
//! One of the texts is an action's token, and which one is known only once all of them have been looked at, if then. So all are wiped
//! when they are dropped, also where reading ends half-way. What `serde_json` keeps for itself while it reads a text with escapes is
//! out of our reach.

use std::fmt;
use std::ops::Deref;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use zeroize::Zeroize;

use super::DecodeError;
use crate::json::weight;
use crate::names::shown;

/// What the values of one body may take, in bytes, for the moment in which it is read: sixteen times the longest that SQS has. A notification
/// takes a few thousand, and tens of thousands of fields beside it are let be; what is made to take much would take 128 times its length.
const HEAVIEST: usize = 16 << 20;

/// Reads `text` as one JSON object. `place` says what is read, for the error.
///
/// A UTF-8 byte order mark before the JSON is tolerated: some tools that people send test events with write one, and it changes
/// nothing about what is meant.
pub(super) fn object(text: &str, place: &str) -> Result<Object, DecodeError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if weight(text.as_bytes()) > HEAVIEST {
        return Err(DecodeError::TooMuch { place: place.to_owned(), most: HEAVIEST });
    }
    match serde_json::from_str::<Strict>(text) {
        Ok(mut read) => match read.take() {
            Value::Object(object) => Ok(Object(object)),
            other => {
                let found = kind(&other);
                drop(Strict(other));
                Err(DecodeError::NotAnObject { place: place.to_owned(), found })
            }
        },
        Err(error) => Err(refusal(&error, place)),
    }
}

/// An object whose texts are wiped with it; the names of its fields are not.
#[derive(Default)]
pub(super) struct Object(Map<String, Value>);

impl Deref for Object {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

/// Overwrites every text of a value. Values stand in each other 127 deep at most.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
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

/// A value in which no object has a field twice. Its texts are wiped with it.
struct Strict(Value);

impl Strict {
    /// The value, for somebody else to wipe.
    fn take(&mut self) -> Value {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

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
        let mut values: Vec<Strict> = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values.iter_mut().map(Strict::take).collect()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Object::default();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(de::Error::custom(shown(&key)));
            }
            let value = map.next_value::<Strict>()?.take();
            object.0.insert(key, value);
        }
        Ok(Value::Object(std::mem::take(&mut object.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        let text = r#"{"a":[1,-2,3.5,true,null,"x",{"b":{}}],"ü":18446744073709551615}"#;
        assert_eq!(Value::Object(object(text, "the body").unwrap().clone()), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_field_twice_is_refused_at_any_depth_and_named() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"\u0061":2}]}"#] {
            let error = object(text, "the body").err().unwrap();
            assert_eq!(error.code(), "duplicate_field");
            assert!(error.to_string().contains("\"a\" at line 1 column"), "{error}");
        }
    }

    #[test]
    fn nesting_ends_at_serde_jsons_limit_in_lists_and_objects() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let deep = |levels: usize| format!(r#"{{"x":{}1{}}}"#, open.repeat(levels), close.repeat(levels));
            assert!(object(&deep(126), "the body").is_ok());
            assert_eq!(object(&deep(127), "the body").err().unwrap().code(), "too_deep");
            assert_eq!(object(&deep(200_000), "the body").err().unwrap().code(), "too_deep");
        }
    }

    #[test]
    fn what_would_take_many_times_its_length_is_refused_before_it_is_read() {
        let chain = format!("{}0{}", "{\"\":".repeat(100), "}".repeat(100));
        let nested = |times: usize| format!("{{\"x\":[{}0]}}", format!("{chain},").repeat(times));
        let error = object(&nested(1_000), "the body").err().unwrap();
        assert_eq!(error.code(), "too_much");
        assert!(object(&nested(10), "the body").is_ok());
        let longest = format!("{{\"x\":\"{}\"}}", "x".repeat((1 << 20) - 8));
        assert!(object(&longest, "the body").is_ok(), "a long text is what it is");
    }

    #[test]
    fn every_text_that_was_read_is_wiped_wherever_it_stands() {
        const { assert!(std::mem::needs_drop::<Object>() && std::mem::needs_drop::<Strict>()) };
        let mut value = serde_json::json!({"token": "planted", "list": ["planted", 7, {"deep": ["planted"]}], "none": null});
        wipe(&mut value);
        assert_eq!(value, serde_json::json!({"token": "", "list": ["", 7, {"deep": [""]}], "none": null}));
    }

    #[test]
    fn one_byte_order_mark_is_tolerated_and_two_are_not() {
        assert!(object("\u{feff}{}", "the body").is_ok());
        assert_eq!(object("\u{feff}\u{feff}{}", "the body").err().unwrap().code(), "not_json");
    }
}
