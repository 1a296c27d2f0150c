//! How the demonstration is shown: live on a terminal, as plain lines everywhere else.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::board::{Board, Held, Line, Row, Stage, doing, result};
use super::numbers::Numbers;
use crate::core::observation::{Outcome, Step};
use crate::event::Transition;

/// More nodes than this do not fit on a screen, nor do their steps interest anybody.
const MOST_ROWS: usize = 24;

/// Where the demonstration is shown.
pub enum Screen {
    /// A line for each node and a progress bar, redrawn in place.
    Live(Box<Live>),
    /// A line for each thing that happens, without control codes.
    Plain(Box<dyn Write + Send>),
}

/// The redrawn lines.
pub struct Live {
    rows: Vec<ProgressBar>,
    server: ProgressBar,
    bar: ProgressBar,
    on_stdout: bool,
}

impl Screen {
    /// The right one: standard output for people, or standard error where standard output is for a program.
    #[must_use]
    pub fn new(nodes: usize, for_a_program: bool) -> Self {
        let terminal = if for_a_program { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        match (terminal, for_a_program) {
            (true, false) => Self::Live(Box::new(Live::new(nodes, ProgressDrawTarget::stdout(), true))),
            (true, true) => Self::Live(Box::new(Live::new(nodes, ProgressDrawTarget::stderr(), false))),
            (false, false) => Self::Plain(Box::new(io::stdout())),
            (false, true) => Self::Plain(Box::new(io::stderr())),
        }
    }

    /// Tells something that happened, where lines cannot be redrawn.
    pub fn tell(&mut self, line: &Line, nodes: usize) {
        if let Self::Plain(out) = self
            && (!line.step || nodes <= MOST_ROWS)
        {
            say(out, &plain_line(line));
        }
    }

    /// Redraws what can be redrawn.
    pub fn redraw(&mut self, board: &Board, now: Duration) {
        if let Self::Live(live) = self {
            live.draw(board, now);
        }
    }

    /// Leaves the nodes' last lines standing.
    pub fn finish(&mut self, board: &Board, now: Duration) {
        match self {
            Self::Live(live) => {
                live.draw(board, now);
                live.rows.iter().for_each(ProgressBar::abandon);
                live.server.finish_and_clear();
                live.bar.abandon();
                // The cursor stands behind the bar.
                if live.on_stdout {
                    say(&mut io::stdout(), "");
                } else {
                    say(&mut io::stderr(), "");
                }
            }
            Self::Plain(out) if board.rows.len() <= MOST_ROWS => {
                say(out, "");
                for (number, row) in board.rows.iter().enumerate() {
                    say(out, &row_line(number + 1, row, None, now));
                }
            }
            Self::Plain(_) => {}
        }
    }
}

/// A reader that goes away is no reason to stop, nor to panic as `println!` does.
fn say(out: &mut dyn Write, line: &str) {
    let _ = writeln!(out, "{line}");
}

impl Live {
    fn new(nodes: usize, target: ProgressDrawTarget, on_stdout: bool) -> Self {
        let all = MultiProgress::with_draw_target(target);
        let line = |style: &str| {
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_spinner());
            all.add(ProgressBar::new(nodes as u64).with_style(style))
        };
        let rows = if nodes <= MOST_ROWS { (0..nodes).map(|_| line("{msg}")).collect() } else { Vec::new() };
        let server = line("{msg:.yellow}");
        let bar = line("{bar:40.green} {pos} of {len} nodes, {elapsed}");
        Self { rows, server, bar, on_stdout }
    }

    fn draw(&mut self, board: &Board, now: Duration) {
        for (number, (row, bar)) in board.rows.iter().zip(&self.rows).enumerate() {
            let style = match &row.stage {
                Stage::At(_) => "{msg}",
                Stage::Ended { outcome: Outcome::Enrolled, .. } => "{msg:.green}",
                Stage::Ended { outcome: Outcome::Left | Outcome::Kept | Outcome::Stale, .. } => "{msg:.cyan}",
                Stage::Ended { .. } => "{msg:.red}",
            };
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.set_message(row_line(number + 1, row, board.held.as_ref(), now));
        }
        self.server.set_message(board.held.as_ref().map(held_line).unwrap_or_default());
        self.bar.set_position(board.done() as u64);
        self.bar.tick();
    }
}

fn plain_line(line: &Line) -> String {
    let whose = line.instance.as_ref().map_or("-", |instance| instance.as_str());
    format!("{:>6.1} s  {whose:<19}  {}", line.at.as_secs_f64(), line.text)
}

fn held_line(held: &Held) -> String {
    format!("the server takes no orders ({}): {} wait for probe {}", held.said, held.waiting, held.probes + 1)
}

/// One node's line: its step, its retries, its result.
fn row_line(number: usize, row: &Row, held: Option<&Held>, now: Duration) -> String {
    let (meter, what, took) = match &row.stage {
        Stage::At(step @ (Step::Associate | Step::Disassociate)) if held.is_some() => {
            (meter(row.transition, *step), "waiting for the server".to_owned(), now.saturating_sub(row.began))
        }
        Stage::At(step) => (meter(row.transition, *step), doing(*step).to_owned(), now.saturating_sub(row.began)),
        Stage::Ended { outcome, code, took } => {
            let why = code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
            ("######".into(), format!("{}{why}", result(*outcome)), *took)
        }
    };
    let retries = match row.retries {
        0 => String::new(),
        1 => "1 retry".into(),
        more => format!("{more} retries"),
    };
    let doubled = if row.doubled { "x2" } else { "" };
    let line = format!(
        "{number:>3} {:<19} [{meter:<6}] {what:<24} {retries:<10} {doubled:<2} {:>5.1} s",
        row.instance.as_str(),
        took.as_secs_f64()
    );
    line.trim_end().to_owned()
}

/// How far along its way an action is.
fn meter(transition: Transition, step: Step) -> String {
    let done = match (transition, step) {
        (_, Step::Verify | Step::Queue) => 0,
        (_, Step::Key) => 1,
        (Transition::Launching, Step::Associate | Step::Disassociate) => 2,
        (Transition::Terminating, Step::Associate | Step::Disassociate) => 1,
        (_, Step::Status | Step::Deliver) => 3,
        (_, Step::Complete) => 4,
        (_, Step::CleanUp | Step::DeadLetter | Step::Delete) => 5,
    };
    "#".repeat(done)
}

/// The summary for people.
#[must_use]
pub fn summary(numbers: &Numbers, faults: &[String]) -> String {
    let n = numbers;
    let mut text = format!(
        "\n{:>6} launched\n{:>6} in service\n{:>6} abandoned\n{:>6} terminated again, {} nodes on the server at the end\n{:>6} in the dead-letter queue\n{:>6} lost\n",
        n.launched, n.in_service, n.abandoned, n.terminated, n.nodes_on_server, n.dead_lettered, n.lost
    );
    text += &format!(
        "\n{:>6} associations, {} completions, {} of them twice\n{:>6} API calls, {} for each node in service:\n",
        n.associations,
        n.completions,
        n.duplicate_completions,
        n.api_calls.values().sum::<u64>(),
        n.api_calls_per_enrolment
    );
    for (operation, count) in &n.api_calls {
        text += &format!("{count:>10} {operation}\n");
    }
    if faults.is_empty() {
        text += &format!("\nEvery action ended as it should, in {:.1} s.\n", n.wall_seconds);
    } else {
        text += &format!("\nNot as it should be, after {:.1} s:\n", n.wall_seconds);
        for fault in faults {
            text += &format!("  {fault}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::board::tests::story;
    use crate::demo::numbers::tests::tour;
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

    fn told(nodes: usize) -> String {
        let paper = Paper::default();
        let (mut board, mut screen) = (Board::default(), Screen::Plain(Box::new(paper.clone())));
        for (ms, observation) in story() {
            if let Some(line) = board.observe(Duration::from_millis(ms), &observation) {
                screen.tell(&line, nodes);
            }
            screen.redraw(&board, Duration::from_millis(ms));
        }
        screen.finish(&board, Duration::from_secs(4));
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn where_there_is_no_terminal_there_are_no_control_codes() {
        let text = told(12);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
        assert!(text.contains("   0.5 s  i-0a1b2c3d4e5f60718  associating\n"), "{text}");
        assert!(text.contains("  1 i-0a1b2c3d4e5f60718 [######] in service               1 retry    x2   2.1 s\n"), "{text}");
    }

    #[test]
    fn a_large_fleet_s_steps_are_not_told_one_by_one() {
        let text = told(500);
        assert!(!text.contains("associating") && text.contains("in service after 2.1 s"), "{text}");
    }

    #[test]
    fn a_node_that_waits_for_its_server_says_so() {
        let mut board = Board::default();
        for (ms, observation) in story().into_iter().take_while(|(ms, _)| *ms <= 1600) {
            board.observe(Duration::from_millis(ms), &observation);
        }
        let line = row_line(1, &board.rows[0], board.held.as_ref(), Duration::from_millis(2100));
        assert_eq!(line, "  1 i-0a1b2c3d4e5f60718 [##    ] waiting for the server   1 retry    x2   2.0 s");
        assert!(line.len() < 80);
        assert_eq!(held_line(&board.held.unwrap()), "the server takes no orders (InvalidStateException): 3 wait for probe 3");
    }

    #[test]
    fn the_live_screen_draws_without_a_terminal_to_draw_on() {
        let mut screen = Screen::Live(Box::new(Live::new(3, ProgressDrawTarget::hidden(), true)));
        let mut board = Board::default();
        for (ms, observation) in story() {
            board.observe(Duration::from_millis(ms), &observation);
            screen.redraw(&board, Duration::from_millis(ms));
        }
        screen.finish(&board, Duration::from_secs(4));
    }

    #[test]
    fn the_summary_says_whether_all_went_well() {
        let good = summary(&tour(), &[]);
        assert!(good.contains("Every action ended as it should, in 9.8 s.") && good.contains("        14 AssociateNode"), "{good}");
        let bad = summary(&tour(), &["actions lost: 1, and should be 0".into()]);
        assert!(bad.contains("Not as it should be") && bad.contains("  actions lost: 1"), "{bad}");
    }
}
