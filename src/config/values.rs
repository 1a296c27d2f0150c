//! What single values may be: durations, numbers, switches, words, names. Each refusal says what would be right.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use toml_span::Value;
use toml_span::value::ValueInner;

use super::problem::Refusal;
use super::reader::kind_of;
use crate::names::{NameError, ServerUrl, Template, shown};

/// A value as it was found.
#[derive(Clone, Copy)]
pub enum Given<'v> {
    /// In the file.
    Toml(&'v Value<'v>),
    /// As the text of an environment variable or of a default.
    Text(&'v str),
}

impl<'v> Given<'v> {
    fn what(self) -> String {
        match self {
            Self::Toml(value) => kind_of(value),
            Self::Text(text) => shown(text),
        }
    }

    fn as_text(self) -> Option<&'v str> {
        match self {
            Self::Toml(value) => value.as_str(),
            Self::Text(text) => Some(text),
        }
    }
}

/// A text that is not empty.
///
/// # Errors
/// It is no text, or empty.
pub fn text(given: Given<'_>) -> Result<String, Refusal> {
    match given.as_text() {
        Some(text) if text.trim().is_empty() => Err(Refusal::new("it is empty", "write a value, or leave the key out")),
        Some(text) => Ok(text.to_owned()),
        None => Err(Refusal::new(format!("it is {}, not a text", given.what()), "write it in quotes")),
    }
}

/// The path of a file.
///
/// # Errors
/// It is no text, or empty.
pub fn path(given: Given<'_>) -> Result<PathBuf, Refusal> {
    text(given).map(PathBuf::from)
}

/// A text that a checked type takes, or refuses by its own rule.
pub(super) fn name<T>(new: impl FnOnce(&str) -> Result<T, NameError>) -> impl FnOnce(Given<'_>) -> Result<T, Refusal> {
    move |given| text(given).and_then(|text| new(&text).map_err(refused_name))
}

pub(super) fn refused_name(error: NameError) -> Refusal {
    Refusal::new(format!("{} is not a valid {}", error.shown, error.what), error.rule)
}

/// A text that a rule of ours takes.
pub fn checked<T>(rule: impl FnOnce(&str) -> Result<T, Refusal>) -> impl FnOnce(Given<'_>) -> Result<T, Refusal> {
    move |given| text(given).and_then(|text| rule(&text))
}

/// A template, which must name the instance, and so that no other can have its name: otherwise two instances would share one.
pub(super) fn template(given: Given<'_>) -> Result<Template, Refusal> {
    let source = text(given)?;
    let template = Template::new(&source)
        .map_err(|error| Refusal::new(error.to_string(), "write placeholders such as {instance_id}, with both braces"))?;
    if !template.names_the_instance() {
        let wrong = format!("{} does not name the instance, so that two instances would get one name", shown(&source));
        return Err(Refusal::new(wrong, "put {instance_id} into it"));
    }
    if !template.tells_instances_apart() {
        let wrong = format!(
            "{} can give two instances one name: an id has 8 digits or 17, and what stands behind it could be more of its digits",
            shown(&source)
        );
        return Err(Refusal::new(wrong, "put a hyphen behind {instance_id}, or put {instance_id} last"));
    }
    Ok(template)
}

/// One of a few words.
pub fn one_of<T: Copy>(words: &'static [(&'static str, T)]) -> impl FnOnce(Given<'_>) -> Result<T, Refusal> {
    move |given| {
        let found = given.as_text().and_then(|text| words.iter().find(|(word, _)| *word == text));
        found.map(|(_, meaning)| *meaning).ok_or_else(|| none_of(given, words.iter().map(|(word, _)| *word)))
    }
}

/// What is said of a value that is none of a few words.
pub(super) fn none_of<'w>(given: Given<'_>, words: impl Iterator<Item = &'w str>) -> Refusal {
    let all = words.map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
    Refusal::new(format!("it is {}", given.what()), format!("write {all}"))
}

/// The base URL of a server of one's own; without TLS only on this machine, or where the same table allows it for this server.
pub fn server_url(plain_http: bool) -> impl FnOnce(Given<'_>) -> Result<ServerUrl, Refusal> {
    checked(move |url| {
        let server = ServerUrl::new(url).map_err(refused_name)?;
        if server.is_exposed() && !plain_http {
            let wrong = format!("{} is without TLS and not on this machine", shown(url));
            return Err(Refusal::new(wrong, "write https://, or allow_plain_http = true beside it, in this registrar, if that is meant"));
        }
        Ok(server)
    })
}

/// True or false.
///
/// # Errors
/// It is neither.
pub fn switch(given: Given<'_>) -> Result<bool, Refusal> {
    match given {
        Given::Toml(value) => value.as_bool(),
        Given::Text(text) => text.trim().parse().ok(),
    }
    .ok_or_else(|| Refusal::new(format!("it is {}", given.what()), "write true or false, without quotes in the file"))
}

/// A whole number in a range.
pub fn whole<T>(range: RangeInclusive<T>) -> impl FnOnce(Given<'_>) -> Result<T, Refusal>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |given| {
        let number = match given {
            Given::Toml(value) => value.as_integer(),
            Given::Text(text) => text.trim().replace('_', "").parse().ok(),
        };
        let number = number.and_then(|number| T::try_from(number).ok()).filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let right = format!("write a whole number from {} to {}", range.start(), range.end());
            Refusal::new(format!("it is {}", given.what()), right)
        })
    }
}

/// A rate per second: above 0, at most `max`.
pub(super) fn rate(max: f64) -> impl FnOnce(Given<'_>) -> Result<f64, Refusal> {
    move |given| {
        let number = match given {
            Given::Toml(value) => match value.as_ref() {
                #[expect(clippy::cast_precision_loss, reason = "numbers that large are refused below")]
                ValueInner::Integer(number) => Some(*number as f64),
                ValueInner::Float(number) => Some(*number),
                _ => None,
            },
            Given::Text(text) => text.trim().parse().ok(),
        };
        number
            .filter(|number: &f64| number.is_finite() && *number > 0.0 && *number <= max)
            .ok_or_else(|| Refusal::new(format!("it is {}", given.what()), format!("write a number per second, above 0 and at most {max}")))
    }
}

/// A duration in a range, written with its unit.
pub fn duration(range: RangeInclusive<Duration>) -> impl FnOnce(Given<'_>) -> Result<Duration, Refusal> {
    move |given| {
        let example = || format!("write a duration from \"{}\" to \"{}\"", show(*range.start()), show(*range.end()));
        let number = match given {
            Given::Toml(value) => value.as_integer().map(|number| number.to_string()),
            Given::Text(text) => Some(text.trim().to_owned()),
        };
        if let Some(number) = number.filter(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && number != "0") {
            return Err(Refusal::new(format!("{number} has no unit"), format!("write \"{number}s\" if seconds are meant")));
        }
        let Some(text) = given.as_text() else {
            return Err(Refusal::new(format!("it is {}, not a duration", given.what()), example()));
        };
        let parsed = text.trim().parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
        let Some(duration) = parsed else {
            return Err(Refusal::new(format!("{} is not a duration", shown(text)), example()));
        };
        if range.contains(&duration) { Ok(duration) } else { Err(Refusal::new(format!("{} is out of range", show(duration)), example())) }
    }
}

/// A duration of whole seconds, which is all that SQS takes.
pub(super) fn seconds(range: RangeInclusive<u64>) -> impl FnOnce(Given<'_>) -> Result<Duration, Refusal> {
    move |given| {
        let duration = duration(Duration::from_secs(*range.start())..=Duration::from_secs(*range.end()))(given)?;
        if duration.subsec_nanos() == 0 {
            Ok(duration)
        } else {
            Err(Refusal::new(format!("{} is not a whole number of seconds", show(duration)), "SQS takes whole seconds"))
        }
    }
}

/// A duration as it would be written.
pub(super) fn show(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |duration| format!("{duration:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_duration(text: &str) -> Result<Duration, Refusal> {
        duration(Duration::from_millis(100)..=Duration::from_secs(3600))(Given::Text(text))
    }

    #[test]
    fn durations_are_written_with_their_unit() {
        assert_eq!(a_duration("15m").unwrap(), Duration::from_secs(900));
        assert_eq!(a_duration("25s").unwrap(), Duration::from_secs(25));
        assert_eq!(a_duration("1m 30s").unwrap(), Duration::from_secs(90));
        assert_eq!(a_duration("250ms").unwrap(), Duration::from_millis(250));
        for bad in ["", "-5s", "5s ago", "2h", "soon", "1ms", "99999999999999999999h", "15"] {
            assert!(a_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bare_number_is_refused_with_the_unit_that_was_probably_meant() {
        let refusal = a_duration("15").unwrap_err();
        assert_eq!(refusal, Refusal::new("15 has no unit", "write \"15s\" if seconds are meant"));
    }

    #[test]
    fn a_rate_is_above_zero_and_finite() {
        assert!((rate(1000.0)(Given::Text("0.5")).unwrap() - 0.5).abs() < f64::EPSILON);
        for bad in ["0", "-1", "inf", "NaN", "1001", "fast"] {
            assert!(rate(1000.0)(Given::Text(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_shown_as_they_are_written() {
        for text in ["15m", "25s", "500ms", "12h"] {
            assert_eq!(show(text.parse::<SignedDuration>().unwrap().unsigned_abs()), text);
        }
    }
}
