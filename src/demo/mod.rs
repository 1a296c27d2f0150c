//! `enrolld demo`: a fleet that launches before one's eyes, in the simulator, against the real worker over HTTP.
//!
//! [`scenario`] makes a plan from a seed, [`world`] is the account that it happens in, [`play`] carries it out while the worker works,
//! [`board`] and [`screen`] show what the worker says meanwhile, and [`numbers`] holds what the simulator saw against the plan.

pub mod board;
pub mod cues;
pub mod numbers;
pub mod scenario;
pub mod screen;
pub mod worker;
pub mod world;

use std::io;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use board::Board;
use cues::{Cue, Cues};
use numbers::Numbers;
use scenario::{Part, Plan};
use screen::Screen;
use world::Theatre;

use crate::core::observation::Observation;

/// How often the simulator is looked at and the screen drawn.
const BEAT: Duration = Duration::from_millis(100);
/// How long everything must have been quiet before it counts as the end: late duplicates may still come.
const QUIET: Duration = Duration::from_millis(1000);
/// How long a node is in service before it is terminated again, so that one can see it there.
const IN_SERVICE: Duration = Duration::from_millis(700);

/// What the worker said, and when.
pub type Seen = (Instant, Observation);

/// Carries out the plan, and shows what the worker says to it, until everything has ended or `longest` is over.
///
/// # Errors
/// Where the simulator refuses an order.
pub async fn play(plan: &Plan, theatre: &Theatre, seen: &Receiver<Seen>, screen: &mut Screen, longest: Duration) -> io::Result<Numbers> {
    let began = Instant::now();
    let (mut cues, mut board) = (Cues::of(plan), Board::default());
    let mut to_terminate: Vec<(String, Option<Duration>)> = Vec::new();
    let mut quiet_since: Option<Duration> = None;
    let actions = plan.nodes.len() as u64 + plan.count(Part::TerminatedAgain);
    let ended = loop {
        let now = began.elapsed();
        while let Some(cue) = cues.due(now) {
            match cue {
                Cue::Launch(number) => {
                    let node = &plan.nodes[number];
                    let instance = theatre.launch(node)?;
                    if node.part == Part::TerminatedAgain {
                        to_terminate.push((instance, None));
                    }
                }
                Cue::Garbage(number) => theatre.send(plan.garbage[number]),
                Cue::Maintenance(begins) => theatre.maintenance(begins),
            }
        }
        to_terminate.retain_mut(|(instance, since)| {
            if since.is_none() && theatre.serves(instance) {
                *since = Some(now);
            }
            let over = since.is_some_and(|since| now >= since + IN_SERVICE);
            if over {
                theatre.terminate(instance);
            }
            !over
        });
        show(seen, began, &mut board, screen, plan.nodes.len());
        let over = cues.are_over() && to_terminate.is_empty() && theatre.is_quiet(actions);
        quiet_since = if over { quiet_since.or(Some(now)) } else { None };
        match quiet_since {
            Some(since) if now - since >= QUIET => break since,
            _ if now >= longest => break now,
            _ => tokio::time::sleep(BEAT).await,
        }
    };
    show(seen, began, &mut board, screen, plan.nodes.len());
    screen.finish(&board, ended);
    Ok(theatre.numbers(plan, ended))
}

fn show(seen: &Receiver<Seen>, began: Instant, board: &mut Board, screen: &mut Screen, nodes: usize) {
    for (at, observation) in seen.try_iter() {
        if let Some(line) = board.observe(at.saturating_duration_since(began), &observation) {
            screen.tell(&line, nodes);
        }
    }
    screen.redraw(board, began.elapsed());
}
