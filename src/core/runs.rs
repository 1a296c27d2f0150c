//! How many runs of each message ended in an internal error of ours. Receives are no measure of that: crashes, releases at a shutdown
//! and hand-backs count towards those as well, and are nobody's mistake.

use std::collections::{HashMap, VecDeque};

use crate::names::MessageId;

/// Of so many messages it is kept in mind; past that the one that broke first is forgotten. The queue's maxReceiveCount ends those.
const MOST: usize = 10_000;

/// The runs of this worker that ended in an internal error.
#[derive(Debug, Default)]
pub(super) struct BrokenRuns {
    counts: HashMap<MessageId, u32>,
    /// The same messages in the order in which they first broke.
    order: VecDeque<MessageId>,
}

impl BrokenRuns {
    /// One more run of a message ended so. Says how many that makes.
    pub fn add(&mut self, message: &MessageId) -> u32 {
        if let Some(count) = self.counts.get_mut(message) {
            *count = count.saturating_add(1);
            return *count;
        }
        while self.order.len() >= MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.counts.remove(&oldest);
            }
        }
        self.order.push_back(message.clone());
        self.counts.insert(message.clone(), 1);
        1
    }

    /// A message has its result.
    pub fn forget(&mut self, message: &MessageId) {
        if self.counts.remove(message).is_some() {
            self.order.retain(|known| known != message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: usize) -> MessageId {
        MessageId::new(&format!("m-{n}")).unwrap()
    }

    #[test]
    fn runs_are_counted_for_each_message_until_it_has_its_result() {
        let mut runs = BrokenRuns::default();
        assert_eq!((runs.add(&message(1)), runs.add(&message(2)), runs.add(&message(1))), (1, 1, 2));
        runs.forget(&message(1));
        assert_eq!((runs.add(&message(1)), runs.add(&message(2))), (1, 2));
    }

    #[test]
    fn no_more_messages_are_kept_in_mind_than_there_is_room_for() {
        let mut runs = BrokenRuns::default();
        for n in 0..2 * MOST {
            assert_eq!(runs.add(&message(n)), 1);
        }
        assert!(runs.counts.len() <= MOST && runs.order.len() <= MOST);
        assert_eq!((runs.add(&message(2 * MOST - 1)), runs.add(&message(0))), (2, 1));
    }
}
