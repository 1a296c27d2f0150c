//! Taking the letters into hand, and giving them back.
//!
//! SQS shows a message only by handing it out. So whoever looks holds the letters for a short time: nobody else sees them then, and if
//! the looker dies they come back by themselves. Each look counts as a receive.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Letter, LettersError};
use crate::core::call::InHand;
use crate::facts::MessageBody;
use crate::names::MessageId;
use crate::queue::{Depth, Queue};
use crate::removal::{AGAIN, TRIES, retried};
use crate::retry::{Class, Failure, Progress};

/// How long letters are ours; after a death they come back so long after.
pub const VISIBILITY: Duration = Duration::from_secs(60);
/// Looking ends well before the first letter comes back by itself.
const LONGEST_LOOK: Duration = Duration::from_secs(40);
/// How long one receive waits: a receive that waits asks all of SQS's servers, one that does not asks a few.
const WAIT: Duration = Duration::from_secs(1);
/// So many receives that bring nothing new show that there is nothing more; one where as many are in hand as SQS counted.
const EMPTY_RECEIVES: u32 = 2;
/// How many bytes of bodies are held at most: one may be 1 MiB.
const MOST_BYTES: usize = 64 << 20;
/// A batch's entries (SQS limit).
const BATCH: usize = 10;

/// A letter in hand.
#[derive(Debug, Clone)]
pub struct Held {
    /// What it says.
    pub letter: Letter,
    /// What giving it back and deleting it takes.
    pub hand: InHand,
    /// Its body, unchanged.
    pub body: MessageBody,
}

/// Why looking ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Nothing more came.
    Everything,
    /// As many as were asked for are in hand.
    Limit,
    /// As many bytes as may be held are in hand.
    Bytes,
    /// The time for looking was over.
    Time,
    /// Somebody wants it to stop.
    Stopped,
    /// Receiving failed.
    Failed(Failure),
}

/// What a look brought.
#[derive(Debug)]
pub struct Look {
    /// The letters, oldest first.
    pub held: Vec<Held>,
    /// Why it ended.
    pub end: End,
    /// How many letters there were about, before the look; none where SQS did not say.
    pub depth: Option<Depth>,
}

/// Takes up to `limit` letters into hand. Never fails as a whole: what is in hand must be given back, whatever went wrong.
pub async fn take(queues: &Queues, limit: usize, stop: &watch::Receiver<bool>) -> Look {
    let queue = &queues.letters;
    let depth = queue.depth().await.ok();
    let began = Instant::now();
    let mut held: Vec<Held> = Vec::new();
    let mut known: HashMap<MessageId, usize> = HashMap::new();
    let (mut bytes, mut without_news) = (0, 0);
    let end = loop {
        if *stop.borrow() {
            break End::Stopped;
        }
        if held.len() >= limit {
            break End::Limit;
        }
        if bytes >= MOST_BYTES {
            break End::Bytes;
        }
        if began.elapsed() >= LONGEST_LOOK {
            break End::Time;
        }
        let room = u8::try_from((limit - held.len()).min(BATCH)).unwrap_or(1);
        // A receive under way is never dropped: it may already have handed out letters that nobody could give back then.
        let stored = match retried(async || queue.receive_letters(room, WAIT, VISIBILITY).await).await {
            Ok(stored) => stored,
            Err(failure) => break End::Failed(failure),
        };
        let before = held.len();
        for stored in stored {
            let hand = InHand { id: stored.message.id.clone(), handle: stored.message.handle.clone() };
            if let Some(&at) = known.get(&hand.id) {
                // Delivered twice: the newest handle is the one that counts.
                held[at].hand = hand;
                continue;
            }
            known.insert(hand.id.clone(), held.len());
            bytes += stored.message.body.as_str().len();
            held.push(Held { letter: Letter::read(&stored, queues.facts.max_receive_count), hand, body: stored.message.body });
        }
        without_news = if held.len() == before { without_news + 1 } else { 0 };
        let as_counted = depth.is_some_and(|depth| held.len() as u64 >= depth.waiting);
        if without_news >= EMPTY_RECEIVES || (without_news > 0 && as_counted) {
            break End::Everything;
        }
    };
    held.sort_by_key(|held| held.letter.when_ms);
    Look { held, end, depth }
}

/// Gives letters back: each can be received again at once. Returns how many could not be given back and come back by themselves.
pub async fn give_back(queue: &Queue, letters: &[InHand]) -> usize {
    change(letters, async |batch| queue.release(&batch.iter().map(|hand| (hand.clone(), Duration::ZERO)).collect::<Vec<_>>()).await).await
}

/// Keeps letters for another [`VISIBILITY`]. Returns how many could not be kept.
pub async fn keep(queue: &Queue, letters: &[InHand]) -> usize {
    change(letters, async |batch| queue.extend(batch, VISIBILITY).await).await
}

/// Deletes a letter for good.
///
/// # Errors
/// What SQS said the last time it was asked.
pub async fn delete(queue: &Queue, letter: &InHand) -> Result<(), Failure> {
    retried(async || {
        let mut entries = queue.delete(std::slice::from_ref(letter)).await?;
        entries.pop().unwrap_or_else(|| Err(Failure::new(Class::Transient, "unanswered", "the answer mentions no entry")))
    })
    .await
}

/// Makes a batched call for all letters, failed entries again. Returns how many failed for good.
async fn change(letters: &[InHand], call: impl AsyncFn(&[InHand]) -> crate::core::call::BatchAnswer<()>) -> usize {
    let mut failed = 0;
    for batch in letters.chunks(BATCH) {
        let mut open = batch.to_vec();
        let mut progress = Progress::default();
        for attempt in 1..=TRIES {
            let results = match call(&open).await {
                Ok(results) => results,
                Err(failure) => open.iter().map(|_| Err(failure.clone())).collect(),
            };
            // A handle that SQS does not know any more needs no second try: the letter is with somebody else, or back already.
            let again = |result: &Result<(), Failure>| result.as_ref().is_err_and(|failure| failure.class != Class::Final);
            failed += results.iter().filter(|result| result.as_ref().is_err_and(|failure| failure.class == Class::Final)).count();
            open = open.into_iter().zip(&results).filter(|(_, result)| again(result)).map(|(hand, _)| hand).collect();
            if open.is_empty() {
                break;
            }
            if attempt < TRIES {
                tokio::time::sleep(progress.next_delay(&AGAIN, &mut fastrand::Rng::new())).await;
            }
        }
        failed += open.len();
    }
    failed
}

/// The worker's queue and its dead-letter queue.
#[derive(Debug, Clone)]
pub struct Queues {
    /// The worker's queue.
    pub main: Queue,
    /// Where its dead letters are.
    pub letters: Queue,
    /// The dead-letter queue's URL.
    pub letters_url: String,
    /// What the worker's queue is.
    pub facts: crate::facts::QueueFacts,
    /// The ending of the worker's queue's ARN: account and name.
    pub main_arn_tail: String,
}

impl Queues {
    /// Finds the dead-letter queue: the configured one, or that of the redrive policy.
    ///
    /// # Errors
    /// There is none, or it is the queue itself; or the queue does not answer.
    pub async fn find(aws: &crate::aws::Aws, main: Queue, main_url: &str) -> Result<Self, LettersError> {
        let facts = retried(async || {
            let facts = main.describe().await?;
            // Nothing can be done here without it.
            facts.dead_letters_unknown.clone().map_or(Ok(facts), Err)
        });
        let facts = facts.await.map_err(|failure| LettersError::Failed { operation: "GetQueueAttributes", failure })?;
        let letters_url = facts.dead_letter_url.clone().ok_or(LettersError::NoQueue)?;
        if letters_url == main_url {
            return Err(LettersError::SameQueue);
        }
        let name = main_url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let main_arn_tail = format!(":{}:{}:{name}", facts.region, facts.account);
        let letters = Queue::new(aws, letters_url.clone(), None);
        Ok(Self { main, letters, letters_url, facts, main_arn_tail })
    }

    /// Whether SQS moved a letter here from another queue, which shares this dead-letter queue.
    #[must_use]
    pub fn is_anothers(&self, letter: &Letter) -> bool {
        letter.moved_from.as_ref().is_some_and(|arn| !arn.ends_with(&self.main_arn_tail))
    }
}
