//! One world and one time for everything in a run: whatever waits, waits here, and the time moves only when nothing else can.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use enrolld::driver::clock::{Clock, Sleep};
use enrolld::simulator::http::Exchange;
use enrolld::simulator::model::World;
use fastrand::Rng;
use hyper::{Request, Response};

use crate::refused::Association;
use crate::spoil::{self, Poison};
use crate::wire::Answer;

/// Time that stands still while so much happens has stopped for good.
const MOST_TURNS: u32 = 100_000;

/// The stage: shared by the script, the workers' clocks and sleeps, and their HTTP clients.
#[derive(Debug)]
pub struct Stage {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    world: World,
    /// Unix milliseconds.
    now: u64,
    number: u64,
    /// How often the time stood still in a row.
    still: u32,
    sleepers: BTreeMap<(u64, u64), Waker>,
    requests: BTreeMap<u64, Underway>,
    answers: BTreeMap<u64, Answer>,
    traps: Vec<Trap>,
    /// Workers that stepped into a trap.
    struck: Vec<usize>,
    /// The calls of the worker that is listened to.
    calls: Option<Calls>,
    /// Until when no name can be resolved, and how many calls were tried.
    nameless: (u64, u64),
    poisons: Vec<Poison>,
    /// Associations that were refused, and whose run heard it.
    refused: Vec<Association>,
    /// The parameters that were written, and when the answer came.
    written: Vec<(u64, String)>,
    script: Option<Waker>,
    dice: Rng,
    trace: Trace,
}

/// A request on its way to a service, waiting there for a message, or on its way back.
struct Underway {
    worker: usize,
    /// Known where calls are noted.
    operation: String,
    what: String,
    /// What it asks for, where that is an association.
    associates: Option<Association>,
    /// The parameter that it writes, where it does.
    writes: Option<String>,
    exchange: Exchange,
    /// What is answered in the place of what the service says.
    refused: Option<Response<Bytes>>,
    /// When it arrives, or when its wait is over.
    due: u64,
    /// The queue that it waits at.
    polls: Option<String>,
    client: Option<Waker>,
    /// Nobody waits for the answer any more, but the service does not know that.
    forsaken: bool,
}

impl std::fmt::Debug for Underway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Underway").field("what", &self.what).finish_non_exhaustive()
    }
}

/// Kills a worker at one of its calls.
#[derive(Debug, Clone, Copy)]
struct Trap {
    worker: usize,
    calls: u64,
    point: Point,
}

/// Where in a call a worker is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// It was about to be sent, and never is.
    Unsent,
    /// It was just sent, and may still arrive.
    Sent,
    /// The service has carried it out, and the answer does not come any more.
    Processed,
    /// The answer just came.
    Answered,
}

/// The calls of one worker, by their operations: as they were sent, and as they were answered.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    pub sent: Vec<String>,
    pub answered: Vec<String>,
}

/// What becomes of the trace of a run: writing it down costs as much as the rest of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracing {
    Off,
    /// Made into one number.
    Hashed,
    /// Printed as well.
    Aloud,
}

/// Everything that was asked, answered and said, and when.
#[derive(Debug)]
struct Trace {
    began: u64,
    tracing: Tracing,
    hash: u64,
}

impl Trace {
    fn note(&mut self, now: u64, line: impl FnOnce() -> String) {
        if self.tracing == Tracing::Off {
            return;
        }
        let line = line();
        // FNV-1a.
        for byte in now.to_le_bytes().iter().chain(line.as_bytes()) {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.tracing == Tracing::Aloud {
            let ms = now - self.began;
            println!("{:>5}.{:03}  {}", ms / 1000, ms % 1000, line.chars().take(1200).collect::<String>());
        }
    }
}

impl Stage {
    /// A stage with a world on it, at a time in Unix milliseconds. Everything that is chosen here follows from the seed.
    pub fn new(world: World, now: u64, seed: u64, tracing: Tracing) -> Arc<Self> {
        let inner = Inner {
            world,
            now,
            number: 0,
            still: 0,
            sleepers: BTreeMap::new(),
            requests: BTreeMap::new(),
            answers: BTreeMap::new(),
            traps: Vec::new(),
            struck: Vec::new(),
            calls: None,
            nameless: (0, 0),
            poisons: Vec::new(),
            refused: Vec::new(),
            written: Vec::new(),
            script: None,
            dice: Rng::with_seed(seed),
            trace: Trace { began: now, tracing, hash: 0 },
        };
        Arc::new(Self { inner: Mutex::new(inner) })
    }

    pub fn now(&self) -> u64 {
        self.with(|inner| inner.now)
    }

    /// Everything so far, as one number.
    pub fn trace(&self) -> u64 {
        self.with(|inner| inner.trace.hash)
    }

    /// Adds a line to what happened.
    pub fn note(&self, line: impl FnOnce() -> String) {
        self.with(|inner| inner.trace.note(inner.now, line));
    }

    /// Works on the world at the present time.
    pub fn world<T>(&self, work: impl FnOnce(&mut World, u64) -> T) -> T {
        self.with(|inner| work(&mut inner.world, inner.now))
    }

    /// Kills a worker at one of its next calls.
    pub fn set_trap(&self, worker: usize, calls: u64, point: Point) {
        self.with(|inner| inner.traps.push(Trap { worker, calls, point }));
    }

    /// Takes away the traps of a worker.
    pub fn clear_traps(&self, worker: usize) {
        self.with(|inner| {
            inner.traps.retain(|trap| trap.worker != worker);
            inner.struck.retain(|struck| *struck != worker);
        });
    }

    /// No name can be resolved until then.
    pub fn lose_names(&self, until: u64) {
        self.with(|inner| inner.nameless.0 = until);
    }

    /// Whether no name can be resolved now; asked once by each call.
    pub fn is_without_names(&self) -> bool {
        self.with(|inner| {
            let nameless = inner.now < inner.nameless.0;
            inner.nameless.1 += u64::from(nameless);
            nameless
        })
    }

    /// How many calls were tried while no name could be resolved.
    pub fn unresolved(&self) -> u64 {
        self.with(|inner| inner.nameless.1)
    }

    /// Spoils what holds a needle.
    pub fn poison(&self, poison: Poison) {
        self.with(|inner| inner.poisons.push(poison));
    }

    /// How often batches were spoiled, and with how many members the worst one.
    pub fn spoiled(&self) -> (u32, usize) {
        self.with(|inner| inner.poisons.iter().fold((0, 0), |(times, most), one| (times + one.spoiled, most.max(one.most))))
    }

    /// The associations that were refused, and whose run heard it.
    pub fn refused(&self) -> Vec<Association> {
        self.with(|inner| inner.refused.clone())
    }

    /// The parameters that workers wrote, and when they were told so.
    pub fn written(&self) -> Vec<(u64, String)> {
        self.with(|inner| inner.written.clone())
    }

    /// Notes the calls from now on.
    pub fn listen(&self) {
        self.with(|inner| inner.calls = Some(Calls::default()));
    }

    /// Notes no more calls; those that were noted.
    pub fn heard(&self) -> Option<Calls> {
        self.with(|inner| inner.calls.take())
    }

    /// Waits for a time, or for a worker that steps into a trap before.
    pub async fn until(self: &Arc<Self>, at: u64) -> Option<usize> {
        let mut sleep = pin!(self.sleep_until(at));
        poll_fn(|context| {
            let struck = self.with(|inner| {
                inner.script = Some(context.waker().clone());
                if inner.struck.is_empty() { None } else { Some(inner.struck.remove(0)) }
            });
            match struck {
                Some(worker) => Poll::Ready(Some(worker)),
                None => sleep.as_mut().poll(context).map(|()| None),
            }
        })
        .await
    }

    /// Ends at a time in Unix milliseconds.
    pub fn sleep_until(self: &Arc<Self>, at: u64) -> Nap {
        Nap { stage: Arc::clone(self), at, number: None }
    }

    /// Nothing can happen at this time any more: whatever comes next, happens, until that wakes somebody. Called when the runtime
    /// would sleep.
    pub fn turn(&self) {
        let woken = self.with(|inner| {
            loop {
                let woken = inner.turn();
                if !woken.is_empty() {
                    return woken;
                }
            }
        });
        woken.into_iter().for_each(Waker::wake);
    }

    /// Sends a request of a worker's, and gives the number by which its answer is known.
    pub fn send(&self, worker: usize, request: Request<Bytes>) -> u64 {
        let (number, script) = self.with(|inner| {
            let what = if inner.trace.tracing == Tracing::Off { String::new() } else { describe(&request) };
            inner.number += 1;
            let unsent = inner.step_into(worker, Point::Unsent);
            if inner.struck.contains(&worker) {
                // It is no more, and nothing of it leaves.
                return (inner.number, unsent);
            }
            let operation = if inner.calls.is_some() { spoil::operation(&request) } else { String::new() };
            if let Some(calls) = &mut inner.calls {
                calls.sent.push(operation.clone());
            }
            let (request, refused) = spoil::spoil(&mut inner.poisons, request);
            let associates = Association::of(&inner.world, inner.now, &request);
            let writes = written_by(&request);
            let exchange = Exchange::begin(&mut inner.world, inner.now, request);
            let due = inner.now + exchange.delay_ms();
            inner.trace.note(inner.now, || format!("worker {worker} -> {what}"));
            let (polls, client, forsaken) = (None, None, false);
            let underway = Underway { worker, operation, what, associates, writes, exchange, refused, due, polls, client, forsaken };
            inner.requests.insert(inner.number, underway);
            (inner.number, inner.step_into(worker, Point::Sent))
        });
        if let Some(script) = script {
            script.wake();
        }
        number
    }

    /// The answer to a request, where it is there; `None` in it is a connection that broke.
    pub fn answer(&self, number: u64, waker: &Waker) -> Option<Answer> {
        self.with(|inner| {
            if let Some(request) = inner.requests.get_mut(&number) {
                request.client = Some(waker.clone());
            }
            inner.answers.remove(&number)
        })
    }

    /// Nobody waits for an answer any more. The request may be on its way all the same.
    pub fn forsake(&self, number: u64) {
        self.with(|inner| {
            inner.answers.remove(&number);
            if let Some(request) = inner.requests.get_mut(&number) {
                request.forsaken = true;
                request.client = None;
                // A long poll whose client has gone may still take messages: they come back after their visibility time-out.
                let stays = if request.polls.is_some() { 0.3 } else { 0.7 };
                if inner.dice.f64() >= stays {
                    inner.requests.remove(&number);
                }
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().expect("a panic ends the run"))
    }
}

impl Inner {
    fn turn(&mut self) -> Vec<Waker> {
        let sleeper = self.sleepers.first_key_value().map(|((at, _), _)| *at);
        let request = self.requests.values().map(|request| request.due).min();
        let next = [sleeper, request, self.world.next_event()].into_iter().flatten().min();
        let next = next.expect("something is always waited for").max(self.now);
        self.still = if next > self.now { 0 } else { self.still + 1 };
        assert!(self.still < MOST_TURNS, "the time stands still: {:?}", self.requests.values().map(|one| &one.what).collect::<Vec<_>>());
        self.now = next;
        self.world.advance(next);
        let mut woken = self.serve();
        while let Some(first) = self.sleepers.first_entry() {
            if first.key().0 > next {
                break;
            }
            woken.push(first.remove());
        }
        woken
    }

    /// Finishes every request whose time has come.
    fn serve(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        loop {
            let ready = self.requests.iter().find(|(_, request)| self.is_ready(request)).map(|(number, _)| *number);
            let Some(number) = ready else { return woken };
            let request = self.requests.get_mut(&number).expect("it was found");
            if request.polls.is_none()
                && let Some((queue, wait_ms)) = request.exchange.receive_wait(&self.world)
                && self.world.visible(&queue) == 0
            {
                request.polls = Some(queue);
                request.due = self.now + wait_ms;
                continue;
            }
            let request = self.requests.remove(&number).expect("it was found");
            let answer = match request.refused {
                Some(refused) => Some(refused),
                None => request.exchange.finish(&mut self.world, self.now),
            };
            let (worker, what) = (request.worker, &request.what);
            let how = if request.forsaken { ", and nobody hears it" } else { "" };
            self.trace.note(self.now, || format!("worker {worker} <- {}{how}  {what}", told(answer.as_ref())));
            if answer.as_ref().is_some_and(|answer| answer.status().is_success()) {
                self.written.extend(request.writes.map(|parameter| (self.now, parameter)));
            }
            if !request.forsaken {
                woken.extend(self.step_into(worker, Point::Processed));
                if self.struck.contains(&worker) {
                    continue;
                }
                if let Some(calls) = &mut self.calls {
                    calls.answered.push(request.operation);
                }
                self.refused.extend(request.associates.and_then(|order| order.refused(self.now, &answer)));
                woken.extend(self.step_into(worker, Point::Answered));
                self.answers.insert(number, answer);
                woken.extend(request.client);
            }
        }
    }

    fn is_ready(&self, request: &Underway) -> bool {
        request.due <= self.now || request.polls.as_ref().is_some_and(|queue| self.world.visible(queue) > 0)
    }

    /// Counts a call of a worker's, and says whom to wake where it stepped into a trap.
    fn step_into(&mut self, worker: usize, point: Point) -> Option<Waker> {
        let at = self.traps.iter().position(|trap| trap.worker == worker && trap.point == point)?;
        let trap = &mut self.traps[at];
        trap.calls = trap.calls.saturating_sub(1);
        if trap.calls > 0 {
            return None;
        }
        self.traps.remove(at);
        self.struck.push(worker);
        self.script.take()
    }
}

/// The parameter that a request writes.
fn written_by(request: &Request<Bytes>) -> Option<String> {
    if !request.headers().get("x-amz-target")?.to_str().ok()?.ends_with(".PutParameter") {
        return None;
    }
    let body: serde_json::Value = serde_json::from_slice(request.body()).ok()?;
    Some(body["Name"].as_str()?.to_owned())
}

/// A request in the trace. The SDKs write the members of maps in any order; here they stand in one.
fn describe(request: &Request<Bytes>) -> String {
    match request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()) {
        Some(target) => format!("{target} {}", serde_json::from_slice::<serde_json::Value>(request.body()).unwrap_or_default()),
        None => String::from_utf8_lossy(request.body()).into_owned(),
    }
}

fn told(answer: Option<&Response<Bytes>>) -> String {
    let Some(answer) = answer else { return "nothing".into() };
    if answer.status().is_success() {
        return format!("{} ({} bytes)", answer.status().as_u16(), answer.body().len());
    }
    let body = String::from_utf8_lossy(answer.body());
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code.to_owned());
    format!("{} {}", answer.status().as_u16(), code.unwrap_or_else(|| body.into_owned()))
}

/// A sleep by the stage's time.
#[derive(Debug)]
pub struct Nap {
    stage: Arc<Stage>,
    at: u64,
    number: Option<u64>,
}

impl Future for Nap {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<()> {
        let (at, known) = (self.at, self.number);
        let number = self.stage.with(|inner| {
            if inner.now >= at {
                return None;
            }
            let number = known.unwrap_or_else(|| {
                inner.number += 1;
                inner.number
            });
            inner.sleepers.insert((at, number), context.waker().clone());
            Some(number)
        });
        if number.is_none() {
            return Poll::Ready(());
        }
        self.number = number;
        Poll::Pending
    }
}

impl Drop for Nap {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // A run that panicked leaves its stage behind as it is.
            if let Ok(mut inner) = self.stage.inner.lock() {
                inner.sleepers.remove(&(self.at, number));
            }
        }
    }
}

/// A worker's clocks: the stage's, the wall clock being off by so many milliseconds.
#[derive(Debug)]
pub struct StageClock {
    stage: Arc<Stage>,
    began: u64,
    off_ms: i64,
}

impl StageClock {
    pub fn new(stage: &Arc<Stage>, off_ms: i64) -> Self {
        Self { stage: Arc::clone(stage), began: stage.now(), off_ms }
    }
}

impl Clock for StageClock {
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.stage.now() - self.began)
    }

    fn wall(&self) -> std::time::SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.stage.now().saturating_add_signed(self.off_ms))
    }

    fn sleep_until(&self, until: Duration) -> Sleep {
        Box::pin(self.stage.sleep_until(self.began + u64::try_from(until.as_millis()).expect("a run is short")))
    }
}
