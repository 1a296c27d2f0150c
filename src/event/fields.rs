//! The fields of a lifecycle notification, the same in every envelope, and how they become names and places.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::json::kind;
use super::{DecodeError, Place, Transition};
use crate::names::{NameError, shown};

/// The longest `NotificationMetadata` that is taken, in bytes: the Auto Scaling API allows 4,000 characters, of up to 4 bytes each.
pub const MAX_METADATA_BYTES: usize = 16_000;

/// The longest time that is read, in bytes; RFC 3339 with nanoseconds and an offset has 35.
const MAX_TIME_BYTES: usize = 64;

/// One JSON object of a body, and the path that led to it.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: &'a str,
}

impl<'a> Fields<'a> {
    /// The fields of `object`, which stands at `path`; an empty path is the body itself.
    pub(super) fn new(object: &'a Map<String, Value>, path: &'a str) -> Self {
        Self { object, path }
    }

    /// The path of a field, such as `Message.detail.EC2InstanceId`.
    pub(super) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where these fields stand, for a sentence.
    pub(super) fn place(&self) -> String {
        if self.path.is_empty() { "the body".to_owned() } else { self.path.to_owned() }
    }

    /// Whether the field is there and not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The names of the first few fields, for a sentence.
    pub(super) fn first_few(&self) -> String {
        const FEW: usize = 5;
        let names: Vec<String> = self.object.keys().take(FEW).map(|name| shown(name)).collect();
        match (names.is_empty(), self.object.len().saturating_sub(FEW)) {
            (true, _) => "no fields".to_owned(),
            (false, 0) => names.join(", "),
            (false, more) => format!("{} and {more} more", names.join(", ")),
        }
    }

    /// The field's value; null counts as absent.
    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// A text that may be absent.
    pub(super) fn optional_text(&self, name: &str, expected: &str) -> Result<Option<&'a str>, DecodeError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(DecodeError::wrong_type(self.path(name), kind(other), expected)),
        }
    }

    /// A text that must be there.
    pub(super) fn text(&self, name: &str, expected: &'static str) -> Result<&'a str, DecodeError> {
        self.optional_text(name, expected)?.ok_or_else(|| DecodeError::missing(self.path(name), expected))
    }

    /// An object that must be there.
    pub(super) fn object(&self, name: &str, expected: &'static str) -> Result<&'a Map<String, Value>, DecodeError> {
        match self.value(name) {
            None => Err(DecodeError::missing(self.path(name), expected)),
            Some(Value::Object(object)) => Ok(object),
            Some(other) => Err(DecodeError::wrong_type(self.path(name), kind(other), expected)),
        }
    }

    /// A checked name that must be there.
    pub(super) fn name<T>(&self, name: &str, expected: &'static str, new: fn(&str) -> Result<T, NameError>) -> Result<T, DecodeError> {
        self.checked(name, self.text(name, expected)?, new)
    }

    /// A checked name that may be absent.
    pub(super) fn optional_name<T>(
        &self,
        name: &str,
        expected: &str,
        new: fn(&str) -> Result<T, NameError>,
    ) -> Result<Option<T>, DecodeError> {
        self.optional_text(name, expected)?.map(|text| self.checked(name, text, new)).transpose()
    }

    fn checked<T>(&self, name: &str, text: &str, new: fn(&str) -> Result<T, NameError>) -> Result<T, DecodeError> {
        new(text).map_err(|error| DecodeError::BadField { field: self.path(name), problem: error.to_string() })
    }

    /// `LifecycleTransition`, where it stands.
    pub(super) fn transition(&self) -> Result<Option<Transition>, DecodeError> {
        const NAME: &str = "LifecycleTransition";
        match self.optional_text(NAME, "autoscaling:EC2_INSTANCE_LAUNCHING or autoscaling:EC2_INSTANCE_TERMINATING")? {
            None => Ok(None),
            Some("autoscaling:EC2_INSTANCE_LAUNCHING") => Ok(Some(Transition::Launching)),
            Some("autoscaling:EC2_INSTANCE_TERMINATING") => Ok(Some(Transition::Terminating)),
            Some(other) => Err(DecodeError::UnknownTransition { field: self.path(NAME), found: shown(other) }),
        }
    }

    /// `Origin` or `Destination`. A word that is not known is [`Place::Other`], since AWS may add one and the action is still to be
    /// served.
    pub(super) fn place_of(&self, name: &str) -> Result<Option<Place>, DecodeError> {
        Ok(self.optional_text(name, "EC2, AutoScalingGroup or WarmPool")?.map(|word| match word {
            "EC2" => Place::Ec2,
            "AutoScalingGroup" => Place::AutoScalingGroup,
            "WarmPool" => Place::WarmPool,
            _ => Place::Other,
        }))
    }

    /// A time in RFC 3339, as Unix milliseconds. One that is missing or cannot be read is none, not an error: the action is as
    /// urgent without it, and when SQS took the message is known from SQS.
    pub(super) fn time_ms(&self, name: &str) -> Option<u64> {
        let text = self.value(name)?.as_str().filter(|text| text.len() <= MAX_TIME_BYTES)?;
        let time: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(time.as_millisecond()).ok()
    }

    /// `NotificationMetadata` as text: a string as it stands, anything else as compact JSON. An empty string is none.
    pub(super) fn metadata(&self) -> Result<Option<Arc<str>>, DecodeError> {
        const NAME: &str = "NotificationMetadata";
        let json;
        let text: &str = match self.value(NAME) {
            None => return Ok(None),
            Some(Value::String(text)) => text,
            Some(other) => {
                json = other.to_string();
                &json
            }
        };
        if text.len() > MAX_METADATA_BYTES {
            let problem = format!("it has {} bytes; expected at most {MAX_METADATA_BYTES}", text.len());
            return Err(DecodeError::BadField { field: self.path(NAME), problem });
        }
        Ok((!text.is_empty()).then(|| Arc::from(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(value: Value) -> Option<u64> {
        let object = Map::from_iter([("Time".to_owned(), value)]);
        Fields::new(&object, "").time_ms("Time")
    }

    #[test]
    fn a_time_is_read_with_or_without_fractions_and_with_any_offset() {
        assert_eq!(time("2026-03-02T08:15:42.118Z".into()), Some(1_772_439_342_118));
        assert_eq!(time("2026-03-02T08:15:42Z".into()), Some(1_772_439_342_000));
        assert_eq!(time("2026-03-02T10:15:42.118+02:00".into()), Some(1_772_439_342_118));
    }

    #[test]
    fn a_time_that_cannot_be_read_is_none() {
        for bad in ["", "yesterday", "2026-03-02", "1772439342", "2026-02-30T00:00:00Z", "1969-12-31T23:59:59Z"] {
            assert_eq!(time(bad.into()), None, "{bad}");
        }
        assert_eq!(time("2".repeat(1_000_000).into()), None);
        assert_eq!(time(1_772_439_342.into()), None);
        assert_eq!(time(Value::Null), None);
    }

    #[test]
    fn metadata_of_any_type_is_kept_as_text_up_to_its_bound() {
        let metadata = |value: Value| {
            let object = Map::from_iter([("NotificationMetadata".to_owned(), value)]);
            Fields::new(&object, "").metadata()
        };
        let kept = |value: Value| metadata(value).unwrap().map(|text| text.to_string());
        assert_eq!(kept("{\"a\": 1}".into()).as_deref(), Some("{\"a\": 1}"));
        assert_eq!(kept(serde_json::json!({"a": [1, "ü"]})).as_deref(), Some("{\"a\":[1,\"ü\"]}"));
        assert_eq!(kept(7.into()).as_deref(), Some("7"));
        assert_eq!(kept("".into()), None);
        assert_eq!(kept(Value::Null), None);
        assert!(metadata("x".repeat(MAX_METADATA_BYTES).into()).is_ok());
        assert_eq!(metadata("x".repeat(MAX_METADATA_BYTES + 1).into()).unwrap_err().code(), "bad_field");
    }
}
