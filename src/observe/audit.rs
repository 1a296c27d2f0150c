//! The audit trail: one JSON line for each finished action.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use super::sink::Sink;
use super::text::printable;
use crate::core::observation::{Outcome, Record};
use crate::facts::ActionResult;

/// Where the audit trail goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AuditTarget {
    /// Nowhere.
    #[default]
    Off,
    /// To standard output.
    Stdout,
    /// To the end of a file, which may be rotated at any time.
    File(PathBuf),
}

/// Why there is no audit trail.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be opened.
    #[error("the audit file {} cannot be opened: {source}", path.display())]
    Open {
        /// Its name.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No thread for the writer.
    #[error("the thread that writes the audit trail cannot be started: {0}")]
    Thread(#[source] io::Error),
    /// Standard output is not read.
    #[error("standard output does not take the audit trail: nobody reads it")]
    Stalled,
    /// A line could not be written.
    #[error("an audit line cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// An open audit trail.
pub struct Audit(Kind);

enum Kind {
    Off,
    Stdout(Sink),
    File(Mutex<Trail>),
}

struct Trail {
    path: PathBuf,
    file: File,
    /// The last write may have left half a line.
    torn: bool,
}

impl Audit {
    /// Opens the trail.
    ///
    /// # Errors
    /// Where the file cannot be opened for appending.
    pub fn open(target: &AuditTarget) -> Result<Self, AuditError> {
        Ok(Self(match target {
            AuditTarget::Off => Kind::Off,
            AuditTarget::Stdout => {
                let notice = |dropped| format!("{{\"result\":\"audit_lines_dropped\",\"dropped\":{dropped}}}\n");
                Kind::Stdout(Sink::new(io::stdout(), notice).map_err(AuditError::Thread)?)
            }
            AuditTarget::File(path) => {
                let file = append(path).map_err(|source| AuditError::Open { path: path.clone(), source })?;
                Kind::File(Mutex::new(Trail { path: path.clone(), file, torn: false }))
            }
        }))
    }

    /// Whether anything is written at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !matches!(self.0, Kind::Off)
    }

    /// Writes a line.
    ///
    /// # Errors
    /// Says why the line is not there; the next one may work again.
    pub fn write(&self, line: &AuditLine<'_>) -> Result<(), AuditError> {
        if !self.is_on() {
            return Ok(());
        }
        let mut bytes = serde_json::to_vec(line).map_err(io::Error::from)?;
        bytes.push(b'\n');
        match &self.0 {
            Kind::Off => Ok(()),
            Kind::Stdout(sink) if sink.lines(&bytes) => Ok(()),
            Kind::Stdout(_) => Err(AuditError::Stalled),
            Kind::File(trail) => Ok(trail.lock().unwrap_or_else(PoisonError::into_inner).append(bytes)?),
        }
    }
}

impl Trail {
    fn append(&mut self, mut line: Vec<u8>) -> io::Result<()> {
        // Rotated: the name belongs to another file now, or to none. Where that cannot be opened the old one goes on.
        let reopened = if self.is_rotated() { append(&self.path).map(|file| self.file = file) } else { Ok(()) };
        if self.torn {
            line.insert(0, b'\n');
        }
        let written = self.file.write_all(&line);
        self.torn = written.is_err();
        written.and(reopened)
    }

    fn is_rotated(&self) -> bool {
        let here = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        match (fs::metadata(&self.path).map(here), self.file.metadata().map(here)) {
            (Ok(named), Ok(open)) => named != open,
            _ => true,
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    // Opening a pipe waits for its reader, which the worker must not.
    if fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe; use standard output instead"));
    }
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// One line of the trail. Its fields are an interface: they are added to, never renamed.
#[derive(Debug, Serialize)]
pub struct AuditLine<'a> {
    /// When the action ended, in RFC 3339.
    time: String,
    result: &'static str,
    /// What the lifecycle action was completed with, where this worker completed it.
    completed_with: Option<&'static str>,
    reason: Option<AuditReason<'a>>,
    transition: Option<&'static str>,
    group: Option<String>,
    hook: Option<&'a str>,
    instance: Option<&'a str>,
    node: Option<&'a str>,
    route: Option<&'a str>,
    registrar: Option<&'a str>,
    steps: Vec<AuditStep>,
    duration_ms: u64,
    queued_ms: Option<u64>,
    worker: &'a str,
    message_id: &'a str,
    receive_count: u32,
}

#[derive(Debug, Serialize)]
struct AuditReason<'a> {
    code: String,
    detail: std::borrow::Cow<'a, str>,
}

#[derive(Debug, Serialize)]
struct AuditStep {
    step: &'static str,
    start: String,
    duration_ms: u64,
    attempts: u32,
}

impl<'a> AuditLine<'a> {
    /// The line for a record; `route` is the route's name and registrar, `now_ms` the time in Unix milliseconds.
    #[must_use]
    pub fn new(now_ms: u64, worker: &'a str, route: Option<(&'a str, &'a str)>, record: &'a Record) -> Self {
        let subject = record.subject.as_ref();
        let action = subject.map(|subject| &*subject.action);
        Self {
            time: rfc3339(now_ms),
            result: record.outcome.as_str(),
            completed_with: completed_with(record.outcome).map(ActionResult::as_str),
            reason: record
                .reason
                .as_ref()
                .map(|reason| AuditReason { code: printable(&reason.code).into_owned(), detail: printable(&reason.detail) }),
            transition: action.map(|action| action.transition.as_str()),
            group: action.map(|action| printable(action.group.as_str()).into_owned()),
            hook: action.map(|action| action.hook.as_str()),
            instance: action.map(|action| action.instance.as_str()),
            node: subject.and_then(|subject| subject.node.as_ref()).map(|node| node.as_str()),
            route: route.map(|(name, _)| name),
            registrar: route.map(|(_, registrar)| registrar),
            steps: record
                .steps
                .iter()
                .map(|step| AuditStep {
                    step: step.step.as_str(),
                    start: rfc3339(step.began_ms),
                    duration_ms: millis(step.took),
                    attempts: step.attempts,
                })
                .collect(),
            duration_ms: millis(record.took),
            queued_ms: record.queued.map(millis),
            worker,
            message_id: record.message.as_str(),
            receive_count: record.receive_count,
        }
    }
}

/// What an outcome completed the lifecycle action with.
fn completed_with(outcome: Outcome) -> Option<ActionResult> {
    match outcome {
        Outcome::Enrolled | Outcome::Continued | Outcome::Left | Outcome::LeftBehind | Outcome::Kept => Some(ActionResult::Continue),
        Outcome::Abandoned => Some(ActionResult::Abandon),
        Outcome::Stale
        | Outcome::Test
        | Outcome::Ignored
        | Outcome::DeadLettered
        | Outcome::LeftInQueue
        | Outcome::Released
        | Outcome::LeaseLost => None,
    }
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn rfc3339(unix_ms: u64) -> String {
    let timestamp = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    timestamp.map_or_else(|| format!("{unix_ms} ms"), |timestamp| format!("{timestamp:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::observation::Reason;
    use crate::observe::observer::samples;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("enrolld-audit-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn write(audit: &Audit) {
        let record = samples::record(Outcome::Enrolled);
        audit.write(&AuditLine::new(samples::NOW_MS, "worker-1", Some(("web", "opsworks-cm")), &record)).unwrap();
    }

    #[test]
    fn a_line_says_everything_about_an_action() {
        let record = samples::record(Outcome::Abandoned);
        let line = AuditLine::new(samples::NOW_MS, "worker-1", Some(("web", "opsworks-cm")), &record);
        let json: serde_json::Value = serde_json::from_slice(&serde_json::to_vec(&line).unwrap()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "time": "2026-03-02T08:15:42.118Z", "result": "abandoned", "completed_with": "ABANDON",
                "reason": {"code": "not_pem", "detail": "the key is not PEM"},
                "transition": "launch", "group": "web", "hook": "enrol-on-launch", "instance": "i-0a1b2c3d4e5f60718",
                "node": "i-0a1b2c3d4e5f60718", "route": "web", "registrar": "opsworks-cm",
                "steps": [{"step": "verify", "start": "2026-03-02T08:15:40.000Z", "duration_ms": 12, "attempts": 1},
                          {"step": "key", "start": "2026-03-02T08:15:40.012Z", "duration_ms": 2000, "attempts": 3}],
                "duration_ms": 2118, "queued_ms": 40, "worker": "worker-1", "message_id": "m-1", "receive_count": 1,
            })
        );
    }

    /// A group's name can hold what turns the direction of writing; a reason's words come from services and servers.
    #[test]
    fn a_hostile_group_or_reason_forges_no_line_of_the_trail_and_hides_nothing_in_one() {
        let folder = folder("hostile");
        let path = folder.join("audit.log");
        let audit = Audit::open(&AuditTarget::File(path.clone())).unwrap();
        let mut record = samples::record(Outcome::Abandoned);
        record.subject = Some(samples::subject("web\u{202e}\u{2028}\u{feff}"));
        record.reason = Some(Reason::new("a\nb\u{202e}", "no\n{\"result\":\"enrolled\"}\u{1b}[2J\u{2028}\u{202e}"));
        audit.write(&AuditLine::new(samples::NOW_MS, "worker-1", None, &record)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() == 1 && text.trim_end().chars().all(|c| matches!(c, ' '..='~')), "{text:?}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["group"], r"web\u{202e}\u{2028}\u{feff}");
        assert_eq!(line["reason"]["code"], r"a\u{a}b\u{202e}");
        assert_eq!(line["reason"]["detail"], r#"no\u{a}{"result":"enrolled"}\u{1b}[2J\u{2028}\u{202e}"#);
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn a_file_that_is_renamed_away_is_opened_anew() {
        let folder = folder("rename");
        let (path, old) = (folder.join("audit.log"), folder.join("audit.log.1"));
        let audit = Audit::open(&AuditTarget::File(path.clone())).unwrap();
        write(&audit);
        fs::rename(&path, &old).unwrap();
        write(&audit);
        write(&audit);
        assert_eq!(fs::read_to_string(&old).unwrap().lines().count(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn a_file_that_is_cut_in_place_goes_on_from_its_beginning() {
        let folder = folder("truncate");
        let path = folder.join("audit.log");
        let audit = Audit::open(&AuditTarget::File(path.clone())).unwrap();
        write(&audit);
        fs::write(&path, "").unwrap();
        write(&audit);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with('{') && text.lines().count() == 1, "{text}");
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn a_folder_that_vanishes_is_an_error_and_no_more_than_that() {
        let folder = folder("gone");
        let path = folder.join("audit.log");
        let audit = Audit::open(&AuditTarget::File(path.clone())).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let record = samples::record(Outcome::Enrolled);
        assert!(audit.write(&AuditLine::new(0, "w", None, &record)).is_err());
        fs::create_dir_all(&folder).unwrap();
        write(&audit);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = Audit::open(&AuditTarget::File("/proc/none/audit.log".into())).err().unwrap().to_string();
        assert!(error.contains("/proc/none/audit.log"), "{error}");
    }
}
