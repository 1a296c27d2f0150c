//! When what happens: the plan as a list of cues.

use std::collections::VecDeque;
use std::time::Duration;

use super::scenario::Plan;

/// Something that is done to the simulator at a given time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cue {
    /// The node of this number in [`Plan::nodes`] launches.
    Launch(usize),
    /// The body of this number in [`Plan::garbage`] is sent.
    Garbage(usize),
    /// The server goes under maintenance, or comes back.
    Maintenance(bool),
}

/// The cues that are still to come, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cues(VecDeque<(Duration, Cue)>);

impl Cues {
    /// All of a plan's.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let mut cues: Vec<(Duration, Cue)> = Vec::new();
        for window in &plan.maintenance {
            cues.push((window.begins, Cue::Maintenance(true)));
            cues.push((window.ends, Cue::Maintenance(false)));
        }
        cues.extend(plan.nodes.iter().enumerate().map(|(number, node)| (node.launched_at, Cue::Launch(number))));
        let last = plan.nodes.last().map_or(Duration::ZERO, |node| node.launched_at);
        let among = u32::try_from(plan.garbage.len() + 1).unwrap_or(u32::MAX);
        cues.extend((0..plan.garbage.len()).zip(1..).map(|(number, part)| (last * part / among, Cue::Garbage(number))));
        // Stable: maintenance that begins with the first launch begins before it.
        cues.sort_by_key(|(at, _)| *at);
        Self(cues.into())
    }

    /// The next one whose time has come.
    pub fn due(&mut self, now: Duration) -> Option<Cue> {
        if self.0.front()?.0 > now {
            return None;
        }
        self.0.pop_front().map(|(_, cue)| cue)
    }

    /// Whether nothing is to come any more.
    #[must_use]
    pub fn are_over(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scenario::Scenario;

    #[test]
    fn every_cue_comes_once_and_not_before_its_time() {
        let plan = Plan::new(Scenario::Storm, 100, 5);
        let (mut cues, mut launched, mut sent, mut maintained) = (Cues::of(&plan), 0, 0, 0);
        for ms in (0..10_000).step_by(50) {
            while let Some(cue) = cues.due(Duration::from_millis(ms)) {
                match cue {
                    Cue::Launch(number) => {
                        assert!(plan.nodes[number].launched_at <= Duration::from_millis(ms));
                        launched += 1;
                    }
                    Cue::Garbage(_) => sent += 1,
                    Cue::Maintenance(_) => maintained += 1,
                }
            }
        }
        assert!(cues.are_over());
        assert_eq!((launched, sent, maintained), (100, plan.garbage.len(), 4));
    }

    #[test]
    fn the_tour_begins_with_the_server_under_maintenance() {
        let mut cues = Cues::of(&Plan::new(Scenario::Tour, 12, 1));
        assert_eq!(cues.due(Duration::ZERO), Some(Cue::Maintenance(true)));
    }
}
