//! What was measured beside what is required: as text, and as JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::Fallible;
use crate::machine::Machine;

/// What a number must be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

/// One number.
#[derive(Debug, Clone, Serialize)]
pub struct Measure {
    pub what: String,
    pub value: f64,
    pub unit: &'static str,
    pub required: Option<Bound>,
    /// Whether it keeps its bound; numbers without one do.
    pub holds: bool,
}

/// What a row brought.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Measured {
    pub measures: Vec<Measure>,
    pub notes: Vec<String>,
}

impl Measured {
    pub fn at_most(mut self, what: impl Into<String>, value: f64, unit: &'static str, most: f64) -> Self {
        self.push(what.into(), value, unit, Some(Bound::AtMost(most)));
        self
    }

    pub fn at_least(mut self, what: impl Into<String>, value: f64, unit: &'static str, least: f64) -> Self {
        self.push(what.into(), value, unit, Some(Bound::AtLeast(least)));
        self
    }

    /// A number that nothing is required of.
    pub fn shown(mut self, what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        self.push(what.into(), value, unit, None);
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    fn push(&mut self, what: String, value: f64, unit: &'static str, required: Option<Bound>) {
        // What could not be measured is no number, and keeps no bound.
        let holds = required.is_none_or(|bound| value.is_finite() && bound.holds(value));
        self.measures.push(Measure { what, value, unit, required, holds });
    }
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    about: &'static str,
    /// Cores that others kept busy meanwhile.
    others_busy: f64,
    failed: Option<String>,
    #[serde(flatten)]
    measured: Measured,
}

/// All rows so far.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: Machine,
    /// What the workers were configured with.
    workers: &'static str,
    began: String,
    quick: bool,
    rows: Vec<Row>,
}

impl Report {
    pub fn begin(machine: Machine, quick: bool) -> Self {
        Self { machine, workers: crate::setup::ABOUT, began: jiff::Timestamp::now().to_string(), quick, rows: Vec::new() }
    }

    pub fn add(&mut self, name: &'static str, about: &'static str, measured: Measured, others_busy: f64) {
        self.rows.push(Row { name, about, others_busy, failed: None, measured });
    }

    pub fn failed(&mut self, name: &'static str, about: &'static str, error: &str) {
        self.rows.push(Row { name, about, others_busy: 0.0, failed: Some(error.to_owned()), measured: Measured::default() });
    }

    /// Whether every row ran to its end, and every bound was kept; in a quick run no bound counts.
    pub fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.failed.is_none() && (self.quick || row.measured.measures.iter().all(|measure| measure.holds)))
    }

    pub fn head(&self) -> String {
        let machine = &self.machine;
        format!(
            "{}, {} cores, {} MiB, Linux {}, {}; load before: {}\nall on this machine over loopback, no process pinned{}\n{}\n",
            machine.processor,
            machine.cores,
            machine.memory_mib,
            machine.kernel,
            machine.compiler,
            machine.load,
            if self.quick { "; quick: no bound is held against these numbers" } else { "" },
            self.workers
        )
    }

    pub fn latest(&self) -> String {
        self.rows.last().map(|row| self.show(row)).unwrap_or_default()
    }

    fn show(&self, row: &Row) -> String {
        let mut text = format!("\n{}: {} (others kept {:.1} cores busy)\n", row.name, row.about, row.others_busy);
        if let Some(error) = &row.failed {
            let _ = writeln!(text, "  FAILED: {error}");
        }
        for measure in &row.measured.measures {
            let required = match measure.required {
                None => String::new(),
                Some(Bound::AtMost(most)) => format!("at most {}", number(most)),
                Some(Bound::AtLeast(least)) => format!("at least {}", number(least)),
            };
            let verdict = match (measure.required, measure.holds) {
                (None, _) => "",
                _ if self.quick => "(quick)",
                (_, true) => "ok",
                (_, false) => "MISSED",
            };
            let value = format!("{} {}", number(measure.value), measure.unit);
            let _ = writeln!(text, "  {:<58} {:>18}   {:<16} {verdict}", measure.what, value.trim_end(), required);
        }
        for note in &row.measured.notes {
            let _ = writeln!(text, "  - {note}");
        }
        text
    }

    pub fn foot(&self) -> String {
        let bounds = || self.rows.iter().flat_map(|row| &row.measured.measures).filter(|measure| measure.required.is_some());
        let missed = bounds().filter(|measure| !measure.holds).count();
        let failed = self.rows.iter().filter(|row| row.failed.is_some()).count();
        if self.quick {
            return format!("\n{} rows ran, {failed} of them failed\n", self.rows.len());
        }
        format!("\n{} bounds, {missed} MISSED; {} rows, {failed} failed\n", bounds().count(), self.rows.len())
    }

    pub fn write(&self, file: &Path) -> Fallible<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(&json!({ "holds": self.holds(), "report": self }))?;
        Ok(fs::write(file, text + "\n")?)
    }
}

/// With three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
