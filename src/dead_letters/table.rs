//! The letters as a table for people, and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Letter;
use super::letter::{Body, Owed};
use super::look::{End, Look};

/// What stands over the columns, and how wide each may become.
const COLUMNS: [(&str, usize); 10] = [
    ("WHEN", 20),
    ("REASON", 32),
    ("OUTCOME", 16),
    ("OWED", 48),
    ("GROUP", 40),
    ("INSTANCE", 19),
    ("TRANSITION", 10),
    ("STEP", 14),
    ("ATTEMPTS", 8),
    ("DETAIL", 120),
];
/// How much of a body that is no notification is shown under its row.
const BODY: usize = 100;

/// The letters as a table: a line each, and under those that are no notification how their body begins.
#[must_use]
pub fn text<'a>(letters: impl Iterator<Item = &'a Letter> + Clone) -> String {
    let rows: Vec<[String; 10]> = letters.clone().map(row).collect();
    let mut widths = COLUMNS.map(|(name, _)| name.len());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    line(&mut out, &COLUMNS.map(|(name, _)| name.to_owned()), &widths);
    for (row, letter) in rows.iter().zip(letters) {
        line(&mut out, row, &widths);
        if let Body::NoNotification { code, beginning } = &letter.body {
            let _ = writeln!(out, "    no notification ({code}), its body begins: {}", beginning.cut(BODY));
        }
    }
    out
}

fn line(out: &mut String, cells: &[String; 10], widths: &[usize; 10]) {
    let mut whole = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let _ = write!(whole, "{cell:<width$}  ");
    }
    out.push_str(whole.trim_end());
    out.push('\n');
}

fn row(letter: &Letter) -> [String; 10] {
    let action = letter.action();
    let cells = [
        letter.when(),
        Some(letter.reason.as_str().to_owned()),
        letter.outcome.as_ref().map(ToString::to_string),
        letter.owed.as_ref().map(Owed::words),
        action.map(|action| super::Said::new(action.group.as_str()).as_str().to_owned()),
        action.map(|action| action.instance.to_string()),
        action.map(|action| action.transition.as_str().to_owned()),
        letter.step.as_ref().map(ToString::to_string),
        letter.attempts.as_ref().map(ToString::to_string),
        Some(letter.detail_line().as_str().to_owned()),
    ];
    let mut cells = cells.map(|cell| cell.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned()));
    for (cell, (_, most)) in cells.iter_mut().zip(COLUMNS) {
        if cell.chars().count() > most {
            *cell = cell.chars().take(most - 1).chain(['…']).collect();
        }
    }
    cells
}

/// What has to be said beside the letters: whether there are more, and what looking does.
#[must_use]
pub fn remarks(look: &Look, shown: usize, not_given_back: usize) -> Vec<String> {
    let seen = look.held.len();
    let mut remarks = vec![match (seen, shown) {
        (0, _) => "no dead letters were seen".to_owned(),
        (seen, shown) if seen == shown => format!("{} in all", count(seen)),
        (seen, shown) => format!("{shown} of {} chosen", count(seen)),
    }];
    let about = look.depth.map(|depth| format!("; SQS counted about {} before", depth.waiting)).unwrap_or_default();
    match &look.end {
        End::Everything => {}
        End::Limit => remarks.push(format!("there may be more: looking ended after {}, as --limit says{about}", count(seen))),
        End::Bytes => remarks.push(format!("there may be more: looking ended after 64 MiB of bodies{about}")),
        End::Time => remarks.push(format!("there may be more: looking ended after 40 s, before the first would have come back{about}")),
        End::Stopped => remarks.push(format!("there may be more: looking was interrupted{about}")),
        End::Failed(failure) => remarks.push(format!("there may be more: looking ended since ReceiveMessage failed: {failure}{about}")),
    }
    if let Some(depth) = look.depth.filter(|depth| depth.in_flight > 0) {
        remarks.push(format!("about {} more are in somebody else's hand just now, and not seen", depth.in_flight));
    }
    if not_given_back > 0 {
        remarks.push(format!("{} could not be given back, and come back by themselves within a minute", count(not_given_back)));
    }
    if seen > 0 {
        remarks.push("each look counts as a receive: ApproximateReceiveCount grew by one".to_owned());
    }
    remarks
}

fn count(letters: usize) -> String {
    if letters == 1 { "1 dead letter".to_owned() } else { format!("{letters} dead letters") }
}

/// What a look brought, as JSON: the parts that a list and a redrive have in common.
#[must_use]
pub fn json(look: &Look, queue: &str, shown: usize, not_given_back: usize) -> Value {
    json!({
        "queue": queue,
        "seen": look.held.len(),
        "chosen": shown,
        "more": look.end != End::Everything,
        "counted_before": look.depth.map(|depth| depth.waiting),
        "not_given_back": not_given_back,
        "remarks": remarks(look, shown, not_given_back),
    })
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::{notification, stored};
    use super::*;
    use crate::queue::Depth;
    use crate::retry::{Class, Failure};

    #[test]
    fn a_letter_is_a_row_under_the_heads_of_its_columns() {
        let letter = Letter::read(
            &stored(
                &[
                    ("EnrolldReason", "deadline"),
                    ("EnrolldDetail", "first line\nsecond line"),
                    ("EnrolldOutcome", "left_behind"),
                    ("EnrolldOwed", "disassociate i-0a1b2c3d"),
                    ("EnrolldStep", "status"),
                    ("EnrolldAttempts", "7"),
                ],
                &notification("i-0a1b2c3d"),
            ),
            None,
        );
        let text = text([&letter].into_iter());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let words: Vec<&str> = lines[1].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(
            words,
            [
                "2023-11-14T22:13:20Z",
                "deadline",
                "left_behind",
                "disassociate i-0a1b2c3d",
                "web-blue",
                "i-0a1b2c3d",
                "terminate",
                "status",
                "7",
                "first line"
            ]
        );
        assert_eq!(lines[0].find("GROUP"), lines[1].find("web-blue"));
    }

    #[test]
    fn hostile_attributes_and_bodies_neither_move_the_cursor_nor_forge_a_row() {
        let evil = "\u{1b}[2J\r\nFORGED  row\u{9b}\u{202e}";
        let attributes: Vec<(&str, &str)> = [
            "EnrolldReason",
            "EnrolldDetail",
            "EnrolldOutcome",
            "EnrolldOwed",
            "EnrolldStep",
            "EnrolldAttempts",
            "EnrolldTime",
            "EnrolldWorker",
            "EnrolldVersion",
            "EnrolldMessageId",
        ]
        .map(|name| (name, evil))
        .to_vec();
        let letter = Letter::read(&stored(&attributes, evil), None);
        let text = text([&letter].into_iter());
        assert_eq!(text.lines().count(), 3, "{text}");
        let json = letter.json().to_string();
        for shown in [&text, &json] {
            assert!(!shown.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{shown:?}");
        }
    }

    #[test]
    fn a_cell_is_cut_and_a_row_stays_one_line() {
        let long = "x".repeat(5000);
        let letter = Letter::read(&stored(&[("EnrolldReason", &long), ("EnrolldDetail", &long)], &notification("i-0a1b2c3d")), None);
        assert!(text([&letter].into_iter()).lines().all(|line| line.chars().count() < 400));
    }

    #[test]
    fn a_list_says_whether_there_are_more_and_that_looking_counts() {
        let look = |end, in_flight| Look { held: Vec::new(), end, depth: Some(Depth { waiting: 4000, in_flight, delayed: 0 }) };
        assert_eq!(remarks(&look(End::Everything, 0), 0, 0), ["no dead letters were seen"]);
        let said = remarks(&look(End::Limit, 3), 0, 2).join("\n");
        assert!(said.contains("may be more") && said.contains("about 4000") && said.contains("about 3 more"), "{said}");
        assert!(said.contains("2 dead letters could not be given back"), "{said}");
        let failed = End::Failed(Failure::new(Class::RouteFault, "AccessDenied", "no"));
        assert!(remarks(&look(failed, 0), 0, 0).join("\n").contains("AccessDenied: no"));
    }
}
