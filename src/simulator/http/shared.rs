//! The one world behind all connections: its lock, its clock, and whoever waits for messages.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use super::delay::Delays;
use crate::simulator::model::World;

/// What all connections share.
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// When the clock started, and what time it was then: from there on it is monotonic.
    started: Instant,
    started_ms: u64,
    /// How far the clock was put forward, in milliseconds.
    skipped_ms: AtomicU64,
    /// The time for which the clock task is set; told apart from the agenda so that it is woken only for earlier events.
    armed_ms: AtomicU64,
    agenda: Notify,
    delays: Delays,
}

struct Inner {
    world: World,
    waiting: HashMap<usize, VecDeque<Arc<Notify>>>,
    arrivals: Vec<usize>,
}

/// Unix milliseconds.
pub(crate) fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Shared {
    pub fn new(world: World, now_ms: u64) -> Self {
        Self {
            inner: Mutex::new(Inner { world, waiting: HashMap::new(), arrivals: Vec::new() }),
            started: Instant::now(),
            started_ms: now_ms,
            skipped_ms: AtomicU64::new(0),
            armed_ms: AtomicU64::new(u64::MAX),
            agenda: Notify::new(),
            delays: Delays::new(),
        }
    }

    pub fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.started_ms + passed + self.skipped_ms.load(Ordering::Relaxed)
    }

    /// Works on the world at the present time, and wakes whoever must hear of it.
    pub fn with<T>(&self, work: impl FnOnce(&mut World, u64) -> T) -> T {
        let mut inner = self.lock();
        let out = work(&mut inner.world, self.now_ms());
        self.settle(&mut inner);
        out
    }

    /// Works on the world, and where nothing comes of it, waits in the line of a queue.
    pub fn with_or_wait<T>(&self, queue: usize, work: impl FnOnce(&mut World, u64) -> Option<T>) -> Result<T, Arc<Notify>> {
        let mut inner = self.lock();
        let out = work(&mut inner.world, self.now_ms());
        let out = out.ok_or_else(|| {
            let notify = Arc::new(Notify::new());
            inner.waiting.entry(queue).or_default().push_back(Arc::clone(&notify));
            notify
        });
        self.settle(&mut inner);
        out
    }

    /// Leaves the line of a queue.
    pub fn stop_waiting(&self, queue: usize, notify: &Arc<Notify>) {
        let mut inner = self.lock();
        let left = inner.waiting.get_mut(&queue).is_none_or(|line| {
            let before = line.len();
            line.retain(|waiting| !Arc::ptr_eq(waiting, notify));
            line.len() == before
        });
        // Called already, and gone: whoever is next takes the message.
        if left && let Some(next) = inner.waiting.get_mut(&queue).and_then(VecDeque::pop_front) {
            next.notify_one();
        }
    }

    /// Waits as exactly as the machine can.
    pub async fn delay(&self, time: Duration) {
        self.delays.wait(time).await;
    }

    /// Puts the clock forward.
    pub fn skip(&self, ms: u64) {
        self.skipped_ms.fetch_add(ms, Ordering::Relaxed);
        self.with(|world, now| world.advance(now));
        self.agenda.notify_one();
    }

    /// Lets happen by itself what is due, for ever.
    pub async fn keep_time(self: Arc<Self>) {
        loop {
            let wait = self.with(|world, now| {
                world.advance(now);
                let next = world.next_event().unwrap_or(u64::MAX);
                self.armed_ms.store(next, Ordering::Relaxed);
                // A far event is looked for again: no timer counts that far.
                Duration::from_millis(next.saturating_sub(now).min(3_600_000))
            });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.agenda.notified() => {}
            }
        }
    }

    fn settle(&self, inner: &mut Inner) {
        inner.world.take_arrivals(&mut inner.arrivals);
        for queue in inner.arrivals.drain(..) {
            let Some(line) = inner.waiting.get_mut(&queue) else {
                continue;
            };
            if inner.world.sqs.queue(queue).alive {
                if let Some(first) = line.pop_front() {
                    first.notify_one();
                }
            } else {
                line.drain(..).for_each(|waiting| waiting.notify_one());
            }
        }
        let next = inner.world.next_event().unwrap_or(u64::MAX);
        if next < self.armed_ms.load(Ordering::Relaxed) {
            self.armed_ms.store(next, Ordering::Relaxed);
            self.agenda.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic inside the model fails its own call; the others go on with the world as it is.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
