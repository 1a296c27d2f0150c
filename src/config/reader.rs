//! Reading tables key by key: each value from its environment variable, else from the file, else its default. Problems are
//! collected with their places, never thrown, so that a person sees all of them at once.

use std::cell::RefCell;
use std::collections::BTreeMap;

use toml_span::value::{Table, ValueInner};
use toml_span::{Span, Value};

use super::keys::{Default, Key};
use super::problem::{Place, Problem, Refusal, nearest, one_line};
use super::values::Given;
use crate::names::shown;

/// The file's text with its name, and what was found wrong so far.
pub(super) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, problems: RefCell::new(Vec::new()) }
    }

    /// Line and column of a byte of the file.
    pub(super) fn place(&self, span: Span) -> Place {
        let mut at = span.start.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place::File { file: self.file.to_owned(), line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }

    pub(super) fn refuse(&self, place: Place, key: impl Into<String>, refusal: Refusal) {
        let problem = Problem { place, key: one_line(&key.into()), wrong: refusal.wrong, right: refusal.right };
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// Environment variables for one table: key (with dots where it stands in a table of its own) to variable and value.
pub(super) type Overrides<'a> = BTreeMap<String, (&'a str, &'a str)>;

/// One table that is being read.
pub struct Section<'s, 'a> {
    source: &'s Source<'a>,
    /// How the table is named in messages; empty for the top of the file.
    path: String,
    keys: &'static [Key],
    table: Option<&'s Table<'a>>,
    place: Place,
    overrides: Overrides<'s>,
}

impl<'s, 'a> Section<'s, 'a> {
    /// A section over a table of the file, or over none, where only variables or defaults can fill it.
    pub(super) fn new(
        source: &'s Source<'a>,
        path: impl Into<String>,
        keys: &'static [Key],
        table: Option<&'s Table<'a>>,
        place: Place,
        overrides: Overrides<'s>,
    ) -> Self {
        Self { source, path: path.into(), keys, table, place, overrides }
    }

    /// A key as it is named in messages.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where a key stands, or where its table begins if it is not written.
    pub(super) fn place_of(&self, name: &str) -> Place {
        if let Some((variable, _)) = self.overrides.get(name) {
            return Place::Variable((*variable).to_owned());
        }
        self.table.and_then(|table| table.get(name)).map_or_else(|| self.place.clone(), |value| self.source.place(value.span))
    }

    /// Refuses a key's value, or what it makes together with others.
    pub fn refuse(&self, name: &str, refusal: Refusal) {
        self.source.refuse(self.place_of(name), self.path_of(name), refusal);
    }

    /// Whether the key is written anywhere.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.overrides.contains_key(name) || self.table.is_some_and(|table| table.contains_key(name))
    }

    fn key(&self, name: &str) -> &'static Key {
        self.keys.iter().find(|key| key.name == name).expect("every key that is read stands in its table of keys")
    }

    fn written(&self, name: &str) -> Option<Given<'s>> {
        if let Some((_, value)) = self.overrides.get(name) {
            return Some(Given::Text(value));
        }
        self.table.and_then(|table| table.get(name)).map(Given::Toml)
    }

    /// Reads a key that has a value in any case: written, or its default. `None` means that a problem was noted.
    ///
    /// # Panics
    /// Where the key does not stand in the section's table of keys.
    pub fn read<T>(&self, name: &str, convert: impl FnOnce(Given<'_>) -> Result<T, Refusal>) -> Option<T> {
        let given = match (self.written(name), self.key(name).default) {
            (Some(given), _) => given,
            (None, Default::Is(text)) => Given::Text(text),
            (None, Default::Required | Default::Absent(_)) => {
                let key = self.key(name);
                let right = format!("write {name} = … ({}): {}", key.kind, first_sentence(key.about));
                self.refuse(name, Refusal::new("it is missing", right));
                return None;
            }
        };
        convert(given).map_err(|refusal| self.refuse(name, refusal)).ok()
    }

    /// Reads a key that may be absent. The outer `None` means that a problem was noted.
    ///
    /// # Panics
    /// Where the key does not stand in the section's table of keys.
    pub fn read_optional<T>(&self, name: &str, convert: impl FnOnce(Given<'_>) -> Result<T, Refusal>) -> Option<Option<T>> {
        if self.has(name) { self.read(name, convert).map(Some) } else { Some(None) }
    }

    /// Reads a list, each of its entries at its own place; a variable separates them by commas.
    ///
    /// # Panics
    /// Where the key does not stand in the section's table of keys.
    pub fn read_each<T>(&self, name: &str, convert: impl Fn(&str) -> Result<T, Refusal>) -> Option<Vec<T>> {
        let entries: Vec<(&str, Place)> = match (self.written(name), self.key(name).default) {
            (Some(Given::Toml(value)), _) => self.entries(name, value)?,
            (Some(Given::Text(text)), _) => split(text).map(|entry| (entry, self.place_of(name))).collect(),
            (None, Default::Is(text)) => split(text).map(|entry| (entry, self.place_of(name))).collect(),
            (None, Default::Required | Default::Absent(_)) => return self.read(name, |_| Ok(Vec::new())),
        };
        let mut all = Some(Vec::with_capacity(entries.len()));
        for (entry, place) in entries {
            match convert(entry) {
                Ok(good) => {
                    if let Some(list) = all.as_mut() {
                        list.push(good);
                    }
                }
                Err(refusal) => {
                    self.source.refuse(place, self.path_of(name), refusal);
                    all = None;
                }
            }
        }
        all
    }

    fn entries(&self, name: &str, value: &'s Value<'a>) -> Option<Vec<(&'s str, Place)>> {
        let list = value.as_array();
        if list.is_none() {
            let wrong = format!("it is {}, not a list", kind_of(value));
            self.refuse(name, Refusal::new(wrong, format!("write {name} = [\"…\", \"…\"]")));
        }
        let mut all = Some(Vec::new());
        for entry in list? {
            if let Some(text) = entry.as_str() {
                if let Some(texts) = all.as_mut() {
                    texts.push((text, self.source.place(entry.span)));
                }
            } else {
                let wrong = format!("an entry is {}, not a text", kind_of(entry));
                self.source.refuse(self.source.place(entry.span), self.path_of(name), Refusal::new(wrong, "write it in quotes"));
                all = None;
            }
        }
        all
    }

    /// A table in this table. Variables may fill it even where the file does not have it.
    pub(super) fn table(&self, name: &str, keys: &'static [Key]) -> Option<Section<'s, 'a>> {
        let prefix = format!("{name}.");
        let overrides: Overrides<'s> =
            self.overrides.iter().filter_map(|(key, found)| Some((key.strip_prefix(&prefix)?.to_owned(), *found))).collect();
        if let Some((variable, _)) = self.overrides.get(name) {
            let right = format!("set one of its keys, such as {variable}__{}", keys[0].name.to_uppercase());
            self.refuse(name, Refusal::new("it is a table, which one variable cannot hold", right));
            return None;
        }
        let value = self.table.and_then(|table| table.get(name));
        let place = self.place_of(name);
        let table = match value {
            None if overrides.is_empty() => {
                self.read(name, |_| Ok(()))?;
                None
            }
            None => None,
            Some(value) if value.as_table().is_none() => {
                let wrong = format!("it is {}, not a table", kind_of(value));
                self.refuse(name, Refusal::new(wrong, format!("write {name} = {{ {} = … }}", keys[0].name)));
                return None;
            }
            Some(value) => value.as_table(),
        };
        Some(Section::new(self.source, self.path_of(name), keys, table, place, overrides))
    }

    /// The text of a key of a table in this table, which decides what keys that table has.
    pub(super) fn peek(&self, table: &str, name: &str) -> Option<&'s str> {
        if let Some((_, value)) = self.overrides.get(&format!("{table}.{name}")) {
            return Some(value);
        }
        self.table.and_then(|own| own.get(table))?.as_table()?.get(name)?.as_str()
    }

    /// The tables of a list of tables, each named by its number, from 1.
    pub(super) fn tables(&self, name: &str, keys: &'static [Key]) -> Vec<Section<'s, 'a>> {
        if let Some((variable, _)) = self.overrides.get(name) {
            self.refuse(name, Refusal::new(format!("{variable} cannot hold a list of tables"), "write it in the file"));
            return Vec::new();
        }
        let Some(value) = self.table.and_then(|table| table.get(name)) else { return Vec::new() };
        let Some(list) = value.as_array() else {
            let wrong = format!("it is {}, not a list of tables", kind_of(value));
            self.refuse(name, Refusal::new(wrong, format!("write {name} = [{{ {} = … }}]", keys[0].name)));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (at, entry) in list.iter().enumerate() {
            let path = format!("{}.{}", self.path_of(name), at + 1);
            let place = self.source.place(entry.span);
            if let Some(table) = entry.as_table() {
                sections.push(Section::new(self.source, path, keys, Some(table), place, Overrides::new()));
            } else {
                let wrong = format!("it is {}, not a table", kind_of(entry));
                self.source.refuse(place, path, Refusal::new(wrong, format!("write {{ {} = … }}", keys[0].name)));
            }
        }
        sections
    }

    /// Refuses every key, in file and variables, that this table does not know. `also` are names that are read elsewhere.
    pub(super) fn refuse_unknown(&self, also: &[&str]) {
        let known = || self.keys.iter().map(|key| key.name).chain(also.iter().copied());
        for key in self.table.into_iter().flat_map(Table::keys) {
            if !known().any(|name| name == key.name) {
                let right = suggestion(nearest(&key.name, known()), known());
                self.source.refuse(self.source.place(key.span), self.path_of(&key.name), Refusal::new("there is no such key", right));
            }
        }
        for (name, (variable, _)) in &self.overrides {
            let first = name.split('.').next().unwrap_or(name);
            let in_table = name.contains('.') && self.keys.iter().any(|key| key.name == first && key.kind == "table");
            if !in_table && !known().any(|key| key == name) {
                let right = suggestion(nearest(name, known()), known());
                let place = Place::Variable((*variable).to_owned());
                self.source.refuse(place, self.path_of(name), Refusal::new("there is no such key", right));
            }
        }
    }
}

fn suggestion<'k>(near: Option<&str>, known: impl Iterator<Item = &'k str>) -> String {
    match near {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the keys here are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or_else(|| text.trim_end_matches('.'), |(first, _)| first)
}

/// What a value is, with its text where that is short, as a person would say it.
pub(super) fn kind_of(value: &Value<'_>) -> String {
    match value.as_ref() {
        ValueInner::String(text) => format!("the text {}", shown(text)),
        ValueInner::Integer(number) => format!("the number {number}"),
        ValueInner::Float(number) => format!("the number {number}"),
        ValueInner::Boolean(switch) => switch.to_string(),
        ValueInner::Array(_) => "a list".to_owned(),
        ValueInner::Table(_) => "a table".to_owned(),
    }
}
