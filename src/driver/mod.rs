//! Running the core: its calls, its answers, its timers, the signals. Nothing is decided here.

pub mod clock;
mod patience;
pub mod services;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::aws::{FurtherCall, counting};
use crate::core::call::{Answer, Call, CallId};
use crate::core::settings::Settings;
use crate::core::{Core, Outbox};
use crate::observe::{Health, Observer, panics};
use clock::{Clock, RealClock};
use patience::Patience;
use services::Services;

/// How often the worker says that it is alive, and the longest it sleeps.
const ALIVE_EVERY: Duration = Duration::from_secs(60);

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything in hand ended or was given back.
    InOrder,
    /// It was told to stop a second time, and stopped where it stood: what was in hand comes back after the visibility time-out.
    AtOnce,
}

/// One worker: the core, and what it takes to run it.
#[derive(Debug)]
pub struct Worker {
    core: Core,
    services: Arc<Services>,
    observer: Observer,
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
    calls: JoinSet<(Answer, Vec<FurtherCall>)>,
    /// What each task is for: needed where it panics, and has no answer of its own.
    underway: HashMap<Id, Underway>,
    aborts: HashMap<CallId, AbortHandle>,
    patience: Patience,
    /// By when each call under way has its answer, by the worker's clock, unless it never has one.
    dues: BTreeSet<(Duration, CallId)>,
    /// When a call last ended, by the worker's clock; its own beginning before that.
    last_call: Duration,
    /// Whether there are messages in hand.
    in_hand: bool,
}

/// A call in flight.
#[derive(Debug)]
struct Underway {
    call: CallId,
    operation: &'static str,
    /// By the worker's clock.
    began: Duration,
    due: Duration,
}

impl Worker {
    /// A worker that has done nothing yet. `seed` is where its randomness comes from.
    #[must_use]
    pub fn new(settings: Settings, services: Services, observer: Observer, health: Arc<Health>, seed: u64) -> Self {
        Self::in_time(settings, services, observer, health, seed, Arc::new(RealClock::start()))
    }

    /// The same in a time of its own.
    #[must_use]
    pub fn in_time(
        settings: Settings,
        services: Services,
        observer: Observer,
        health: Arc<Health>,
        seed: u64,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (patience, last_call) = (Patience::of(&settings), clock.elapsed());
        Self {
            core: Core::new(settings, seed, clock.moment()),
            services: Arc::new(services),
            observer,
            health,
            clock,
            calls: JoinSet::new(),
            underway: HashMap::new(),
            aborts: HashMap::new(),
            patience,
            dues: BTreeSet::new(),
            last_call,
            in_hand: false,
        }
    }

    /// With another bound on how long any call may be under way, or none, before the worker counts as stuck; by itself it is what the
    /// settings' time-outs add up to, and a minute.
    #[must_use]
    pub fn with_longest_call(self, longest: Duration) -> Self {
        Self { patience: Patience::always(longest), ..self }
    }

    /// Works until it is told to stop through `stop`, in order; told a second time, at once.
    pub async fn run(mut self, mut stop: mpsc::Receiver<()>) -> Ended {
        let mut alive_at = self.clock.elapsed() + ALIVE_EVERY;
        let mut stopping = false;
        loop {
            let now = self.clock.moment();
            let outbox = self.core.poll(now);
            self.carry_out(now.wall_ms, outbox);
            if self.core.is_done() {
                self.health.ended();
                return Ended::InOrder;
            }
            let wake = self.core.next_wake().map_or(alive_at, Duration::from_millis).min(alive_at);
            let elapsed = self.clock.elapsed();
            let answer_due = self.dues.first().map(|(due, _)| *due);
            self.health.call_due(answer_due, elapsed);
            self.health.next_call_due(answer_due.is_none().then(|| self.last_call + self.patience.between(self.in_hand)), elapsed);
            self.health.turned(wake.saturating_sub(elapsed));
            tokio::select! {
                biased;
                told = stop.recv(), if !stop.is_closed() || !stop.is_empty() => match told {
                    Some(()) if stopping => {
                        self.health.ended();
                        return Ended::AtOnce;
                    }
                    Some(()) => {
                        stopping = true;
                        self.health.stops();
                        self.core.shut_down(self.clock.moment());
                    }
                    None => {}
                },
                Some(done) = self.calls.join_next_with_id() => {
                    self.take(done);
                    // Whatever else has come meanwhile is taken too, so that the core can batch what follows from it.
                    while let Some(done) = self.calls.try_join_next_with_id() {
                        self.take(done);
                    }
                }
                () = self.clock.sleep_until(wake) => {
                    if self.clock.elapsed() >= alive_at {
                        alive_at += ALIVE_EVERY;
                        self.observer.alive(&self.core.gauges());
                    }
                }
            }
        }
    }

    fn carry_out(&mut self, wall_ms: u64, outbox: Outbox) {
        for call in outbox.aborts {
            if let Some(abort) = self.aborts.remove(&call) {
                abort.abort();
            }
        }
        // A result is on record before the call is begun that deletes its message.
        for observation in &outbox.observations {
            self.observer.observe(wall_ms, observation);
        }
        for (id, call) in outbox.calls {
            self.start(id, call);
        }
        let gauges = self.core.gauges();
        self.in_hand = gauges.messages > 0;
        self.health.queue_answers(gauges.queue_answers);
        self.health.has_in_hand(gauges.by_step.iter().sum(), gauges.held.iter().sum());
        self.observer.gauges(&gauges);
    }

    fn start(&mut self, id: CallId, call: Call) {
        let services = Arc::clone(&self.services);
        let operation = self.services.operation(&call);
        let can_be_dropped = matches!(
            call,
            Call::Receive { .. } | Call::DescribeQueue | Call::Associate { .. } | Call::Disassociate { .. } | Call::Clear { .. }
        );
        let began = self.clock.elapsed();
        let due = began + self.patience.with(&call);
        let task = self.calls.spawn(async move { counting(services.perform(call)).await });
        self.underway.insert(task.id(), Underway { call: id, operation, began, due });
        self.dues.insert((due, id));
        if can_be_dropped {
            self.aborts.insert(id, task);
        }
    }

    fn take(&mut self, done: Result<(Id, (Answer, Vec<FurtherCall>)), JoinError>) {
        self.last_call = self.clock.elapsed();
        let (task, answer, further) = match done {
            Ok((task, (answer, further))) => (task, answer, further),
            Err(error) if error.is_cancelled() => {
                if let Some(dropped) = self.underway.remove(&error.id()) {
                    self.dues.remove(&(dropped.due, dropped.call));
                }
                return;
            }
            Err(error) => (error.id(), Answer::Panicked(panics::said(error.into_panic().as_ref())), Vec::new()),
        };
        let Some(underway) = self.underway.remove(&task) else { return };
        self.aborts.remove(&underway.call);
        self.dues.remove(&(underway.due, underway.call));
        if let Some(credentials) = answer.shows_credentials() {
            self.health.has_credentials(credentials);
        }
        for call in further {
            self.observer.call_done(call.operation, call.outcome, call.took);
        }
        self.observer.call_done(underway.operation, answer.outcome(), self.clock.elapsed().saturating_sub(underway.began));
        self.core.answer(self.clock.moment(), underway.call, answer);
    }
}
