//! The log: one line per event on standard error, for people on a terminal and as JSON everywhere else.

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{Registry, fmt as lines};

use super::journal::{self, Lines};
use super::sink::Sink;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON object a line, its fields at the top level.
    Json,
}

impl FromStr for Format {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err(LogError::Format(crate::names::shown(text))),
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Human on a terminal and JSON otherwise, where nothing is said.
    pub format: Option<Format>,
    /// Directives such as `info` or `enrolld=debug`; `info` where nothing is said. `RUST_LOG` comes first.
    pub filter: Option<String>,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not a format.
    #[error("the log format {0} is neither \"human\" nor \"json\"")]
    Format(String),
    /// Not a filter.
    #[error("the log filter {shown} is not valid: {source}; it looks like \"info\" or \"enrolld=debug\"")]
    Filter {
        /// The filter, escaped.
        shown: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// No thread for the writer.
    #[error("the thread that writes the log cannot be started: {0}")]
    Thread(#[from] io::Error),
    /// Started twice.
    #[error("the log was already started")]
    Started,
}

/// Keeps the log going; writes out what is left when dropped.
#[must_use = "the last lines are written when this is dropped"]
pub struct LogGuard(Sink);

impl LogGuard {
    /// Writes out what is left, at most this long.
    pub fn flush(&self, longest: Duration) -> bool {
        self.0.flush(longest)
    }
}

impl fmt::Debug for LogGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogGuard")
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        // The subscriber is global and holds the sink for ever, so that dropping it here would flush nothing.
        self.0.flush(Duration::from_secs(1));
    }
}

/// Starts the process's log on standard error. `rust_log` is the variable `RUST_LOG`, where it is set.
///
/// Records of the `log` crate are not listened to: only `tracing` events can be held to the cap below.
///
/// # Errors
/// Says what is wrong with the filter, or that a log was started before.
pub fn start(settings: &LogSettings, rust_log: Option<&str>) -> Result<LogGuard, LogError> {
    let terminal = io::stderr().is_terminal();
    let format = settings.format.unwrap_or(if terminal { Format::Human } else { Format::Json });
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let filter = rust_log.filter(|text| !text.trim().is_empty()).or(settings.filter.as_deref()).unwrap_or("info");
    let notice: fn(u64) -> String = match format {
        Format::Human => |dropped| format!("WARN {dropped} log lines were dropped: standard error was not read in time\n"),
        Format::Json => |dropped| {
            format!("{{\"level\":\"WARN\",\"event\":\"lines_dropped\",\"message\":\"log lines were dropped\",\"dropped\":{dropped}}}\n")
        },
    };
    let sink = Sink::new(io::stderr(), notice)?;
    let with_priority = journal::is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref());
    let subscriber = subscriber(format, filter, colour, Lines { sink: sink.clone(), with_priority })?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Started)?;
    Ok(LogGuard(sink))
}

fn subscriber(format: Format, filter: &str, colour: bool, writer: Lines) -> Result<impl Subscriber + Send + Sync, LogError> {
    let asked = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(filter)
        .map_err(|source| LogError::Filter { shown: crate::names::shown(filter), source })?;
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        Format::Human => Box::new(lines::layer().with_ansi(colour).with_target(false).with_writer(writer)),
        Format::Json => {
            let json = lines::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
            Box::new(json.with_writer(writer))
        }
    };
    // Without a hint the other filter's would be lost, and each of the SDK's many callsites below info would be looked up at each call.
    let capped = filter_fn(may_be_logged).with_max_level_hint(LevelFilter::TRACE);
    Ok(Registry::default().with(layer.with_filter(asked.and(capped))))
}

/// What no filter can let through: anything below info that is not ours, and anybody else's spans. The SDK, the HTTP and the TLS crates log
/// requests, answers and credentials at debug and trace; a list of their names would miss the next one.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let ours = target == "enrolld" || target.starts_with("enrolld::");
    ours || (metadata.is_event() && *metadata.level() <= Level::INFO)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub fn logged(format: Format, filter: &str, work: impl FnOnce()) -> String {
        written(format, filter, false, work)
    }

    fn written(format: Format, filter: &str, with_priority: bool, work: impl FnOnce()) -> String {
        let paper = Paper::default();
        let sink = Sink::new(paper.clone(), |_| String::new()).unwrap();
        // With one subscriber alone, tracing takes what the present thread's says of a line for all threads, and some have none.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        tracing::subscriber::with_default(subscriber(format, filter, false, Lines { sink: sink.clone(), with_priority }).unwrap(), work);
        assert!(sink.flush(Duration::from_secs(5)));
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn other_crates_are_capped_at_info_whatever_the_filter_says() {
        for filter in ["trace", "aws_smithy_runtime=trace,hyper=debug,h2=trace,rustls=trace,tower=trace,aws_sdk_ssm=trace,enrolld=trace"] {
            let log = logged(Format::Json, filter, || {
                tracing::trace!(target: "aws_smithy_runtime::client", "SECRET");
                tracing::debug!(target: "aws_sdk_ssm::operation", "SECRET");
                tracing::debug!(target: "hyper::proto", "SECRET");
                tracing::trace!(target: "h2::codec", "SECRET");
                tracing::debug!(target: "rustls::client", "SECRET");
                tracing::trace!(target: "tower::buffer", "SECRET");
                tracing::debug!(target: "enrolldx", "SECRET");
                let span = tracing::info_span!(target: "aws_smithy_runtime", "invoke", body = "SECRET");
                span.in_scope(|| tracing::info!(target: "aws_smithy_runtime", "theirs at info"));
                tracing::trace!(target: "enrolld::core", "ours at trace");
            });
            assert!(!log.contains("SECRET"), "{log}");
            assert!(log.contains("theirs at info") && log.contains("ours at trace"), "{log}");
        }
    }

    #[test]
    fn the_filter_decides_about_our_own_lines() {
        let log = logged(Format::Human, "warn", || {
            tracing::info!(target: "enrolld", "quiet");
            tracing::warn!(target: "enrolld", "loud");
        });
        assert!(log.contains("loud") && !log.contains("quiet"), "{log}");
    }

    #[test]
    fn lines_for_the_journal_begin_with_their_priority() {
        let log = written(Format::Json, "trace", true, || {
            tracing::error!(target: "enrolld", "one");
            tracing::warn!(target: "enrolld", "two");
            tracing::info!(target: "enrolld", "three");
            tracing::debug!(target: "enrolld", "four");
        });
        let begins: Vec<&str> = log.lines().map(|line| &line[..4]).collect();
        assert_eq!(begins, ["<3>{", "<4>{", "<6>{", "<7>{"]);
    }

    #[test]
    fn json_has_its_fields_at_the_top_level() {
        let log = logged(Format::Json, "info", || tracing::info!(target: "enrolld", event = "alive", open = 3, "alive"));
        let line: serde_json::Value = serde_json::from_str(log.trim_end()).unwrap();
        assert_eq!((line["event"].as_str(), line["open"].as_u64(), line["level"].as_str()), (Some("alive"), Some(3), Some("INFO")));
    }

    #[test]
    fn text_from_outside_cannot_forge_a_line() {
        let hostile = "web\nINFO forged\u{1b}[2K instance=i-00000000";
        for format in [Format::Human, Format::Json] {
            let log = logged(format, "info", || tracing::info!(target: "enrolld", group = hostile, "one line"));
            assert_eq!(log.lines().count(), 1, "{log}");
            assert!(!log.contains('\u{1b}'), "{log}");
        }
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_what_one_looks_like() {
        let sink = Sink::new(Paper::default(), |_| String::new()).unwrap();
        let error = subscriber(Format::Human, "enrolld=loud", false, Lines { sink, with_priority: false }).err().unwrap().to_string();
        assert!(error.contains("enrolld=loud") && error.contains("enrolld=debug"), "{error}");
    }
}
