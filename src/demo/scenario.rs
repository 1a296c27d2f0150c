//! What a demonstration plays: which node does what and when, and what goes wrong around them.

use std::time::Duration;

use fastrand::Rng;

/// How much goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Nothing goes wrong
    Calm,
    /// A server under maintenance, an unusable key, a garbage message, a message delivered twice, a node terminated again
    Tour,
    /// The tour for many nodes at once, with throttling, server errors, dropped connections, lost answers and duplicates on top
    Storm,
}

/// What a node does, beside launching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Nothing more.
    Plain,
    /// It publishes something that is no key: its launch must be abandoned.
    UnusableKey,
    /// Its notification comes twice.
    DeliveredTwice,
    /// Once in service it is terminated: it must be taken off the server.
    TerminatedAgain,
}

/// One node's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// When its group launches it, from the beginning.
    pub launched_at: Duration,
    /// How long after that it publishes its key.
    pub key_after: Duration,
    /// What else it does.
    pub part: Part,
}

/// A time during which the server is under maintenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// When it begins.
    pub begins: Duration,
    /// When it ends.
    pub ends: Duration,
}

/// A whole demonstration. The same scenario, number of nodes and seed give the same plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it was made from.
    pub scenario: Scenario,
    /// What it was made from, and the simulator's dice.
    pub seed: u64,
    /// In the order of their launches.
    pub nodes: Vec<NodePlan>,
    /// Bodies that are no notifications, sent among the others.
    pub garbage: Vec<&'static str>,
    /// In order, apart from each other.
    pub maintenance: Vec<Maintenance>,
}

/// A truncated notification, something that was never one, and nothing.
const GARBAGE: [&str; 3] = [r#"{"LifecycleTransition":"autoscaling:EC2_INSTANCE_LAUNCHING","EC2InstanceId":"i-0"#, "\u{feff}hello?", "{}"];

impl Plan {
    /// Makes the plan.
    #[must_use]
    pub fn new(scenario: Scenario, nodes: usize, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let parts = parts(scenario, nodes, &mut rng);
        // A group launches its instances within seconds of each other; 500 a second is more than any group does.
        let spread_ms = 1500 + nodes as u64 * 2;
        let mut launches: Vec<u64> = (0..nodes).map(|_| rng.u64(0..spread_ms)).collect();
        launches.sort_unstable();
        let nodes: Vec<NodePlan> = launches
            .into_iter()
            .zip(parts)
            .map(|(at, part)| NodePlan {
                launched_at: Duration::from_millis(at),
                key_after: Duration::from_millis(rng.u64(300..2000)),
                part,
            })
            .collect();
        let maintenance = |begins, ends| Maintenance { begins: Duration::from_millis(begins), ends: Duration::from_millis(ends) };
        let (garbage, maintenance) = match scenario {
            Scenario::Calm => (0, vec![]),
            Scenario::Tour => (1, vec![maintenance(0, 5000)]),
            Scenario::Storm => (GARBAGE.len().max(nodes.len() / 50), vec![maintenance(0, 4000), maintenance(6500, 9000)]),
        };
        let garbage = GARBAGE.into_iter().cycle().take(garbage).collect();
        Self { scenario, seed, nodes, garbage, maintenance }
    }

    /// How many nodes play a part.
    #[must_use]
    pub fn count(&self, part: Part) -> u64 {
        self.nodes.iter().filter(|node| node.part == part).count() as u64
    }
}

fn parts(scenario: Scenario, nodes: usize, rng: &mut Rng) -> Vec<Part> {
    let each = match scenario {
        Scenario::Calm => 0,
        Scenario::Tour => 1,
        Scenario::Storm => nodes.div_ceil(12),
    };
    let mut parts = vec![Part::Plain; nodes];
    // One node at least does nothing but launch, so that there is one to be seen.
    let special = [Part::UnusableKey, Part::DeliveredTwice, Part::TerminatedAgain];
    let cast = special.iter().cycle().take(each * special.len()).take(nodes.saturating_sub(1));
    for (place, part) in parts.iter_mut().zip(cast) {
        *place = *part;
    }
    rng.shuffle(&mut parts);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tour_has_one_node_for_each_part() {
        let plan = Plan::new(Scenario::Tour, 12, 1);
        assert_eq!(plan.nodes.len(), 12);
        for part in [Part::UnusableKey, Part::DeliveredTwice, Part::TerminatedAgain] {
            assert_eq!(plan.count(part), 1);
        }
        assert_eq!((plan.garbage.len(), plan.maintenance.len()), (1, 1));
        assert!(plan.nodes.is_sorted_by_key(|node| node.launched_at));
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_does_not() {
        let plan = |seed| Plan::new(Scenario::Storm, 40, seed);
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7).nodes, plan(8).nodes);
    }

    #[test]
    fn a_fleet_too_small_for_every_part_still_has_a_plain_node() {
        for nodes in 1..5 {
            assert!(Plan::new(Scenario::Tour, nodes, 3).count(Part::Plain) >= 1);
        }
    }

    #[test]
    fn in_a_calm_nothing_is_out_of_the_way() {
        let plan = Plan::new(Scenario::Calm, 30, 3);
        assert_eq!(plan.count(Part::Plain), 30);
        assert!(plan.garbage.is_empty() && plan.maintenance.is_empty());
    }
}
