//! What is said of a panic: by itself Rust prints its text as it is, whatever stands in it, and past the log.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic;
use std::thread;

use super::text::printable;

/// So many lines of the way to a panic are told: all of ours, and the runtime's own beneath them.
const LONGEST_WAY: usize = 250;

/// Has each panic of this process told in one line, without what could forge another: in the log where there is one that takes errors, else on
/// standard error. Where `RUST_BACKTRACE` asks for it, the way there follows, a line for each step.
///
/// What panics goes on as before: a call's panic is that call's failure, and any other ends its thread.
pub fn tell_in_the_log() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = thread::current();
        tell(&said(panic.payload()), &place, thread.name().unwrap_or("unnamed"));
        let way = Backtrace::capture();
        if way.status() == BacktraceStatus::Captured {
            for step in way.to_string().lines().take(LONGEST_WAY) {
                tell_step(step.trim());
            }
        }
    }));
}

fn tell(text: &str, place: &str, thread: &str) {
    let (text, place, thread) = (printable(text), printable(place), printable(thread));
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(
            event = "panic",
            reason = &*text,
            place = &*place,
            thread = &*thread,
            "a fault in enrolld itself: please report it"
        );
    } else {
        // A second panic in here would end the process at once; `eprintln!` does so where nobody takes the line.
        let _ = writeln!(io::stderr(), "enrolld: a fault in enrolld itself, at {place} in thread {thread}: {text}");
    }
}

fn tell_step(step: &str) {
    let step = printable(step);
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(event = "panic_step", step = &*step, "on the way to the panic");
    } else {
        let _ = writeln!(io::stderr(), "  {step}");
    }
}

/// The text of a panic, unless it says that it is a private key; a line for people still makes it [`printable`].
pub(crate) fn said(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    match text {
        None => "a panic without a text".to_owned(),
        Some(text) if text.contains("PRIVATE KEY") => "(not shown: it looks like a private key)".to_owned(),
        Some(text) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::logs::{Format, tests::logged};
    use super::*;

    const HOSTILE: &str = "no such\nERROR enrolld: forged\u{1b}[2J\u{202e}";

    #[test]
    fn a_panics_text_forges_no_line_in_either_format() {
        for format in [Format::Json, Format::Human] {
            let log = logged(format, "error", || tell(HOSTILE, "src/a.rs:1:2", "ma\nin"));
            assert_eq!(log.lines().count(), 1, "{log}");
            assert!(log.contains("ERROR") && log.contains("no such") && log.contains("src/a.rs:1:2"), "{log}");
            assert!(!log.trim_end().chars().any(|c| c.is_control() || c == '\u{202e}'), "{log:?}");
        }
    }

    #[test]
    fn a_panics_text_is_what_it_was_begun_with_and_no_private_key() {
        let key = format!("bad key: -----BEGIN {} KEY-----\nMHcCAQEE", "PRIVATE");
        let texts: [(Box<dyn Any>, &str); 4] = [
            (Box::new("plain"), "plain"),
            (Box::new("made".to_owned()), "made"),
            (Box::new(7), "a panic without a text"),
            (Box::new(key), "(not shown: it looks like a private key)"),
        ];
        for (payload, text) in texts {
            assert_eq!(said(payload.as_ref()), text);
        }
    }
}
