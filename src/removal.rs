//! Taking a node off its server outside of the daemon: proven first, then ordered, then waited for.
//!
//! What a person sets going (`dead-letters redrive`, `sweep`) keeps the same rules as the daemon: no node is removed whose instance Auto
//! Scaling does not show as terminating, or prove to have terminated; and nothing is done because somebody says so.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::core::call::NodeOrder;
use crate::core::settings::{Route, Settings};
use crate::driver::services::Services;
use crate::event::LifecycleAction;
use crate::facts::{LifecycleState, Registration, RegistrationStatus, StatusToken, Whereabouts};
use crate::registrar::Registrar;
use crate::retry::{Class, Failure, Progress, Schedule};

/// How often a call is tried before it has failed.
pub const TRIES: u32 = 4;
/// The waits between the tries.
pub const AGAIN: Schedule = Schedule::doubling(Duration::from_millis(200), Duration::from_secs(2));

/// Whether the instance is gone for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// It is, and this shows it.
    Gone(&'static str),
    /// It goes, and waits for its termination to be completed.
    WaitsToGo(&'static str),
    /// Nothing shows that it is.
    Missing(&'static str),
    /// It waits for its launch to be completed.
    Waits(&'static str),
}

/// Why a node was not taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpaid {
    /// The server takes no orders; another order to it would fare no better.
    Server(String),
    /// The way to the server is at fault, as far as this one order tells.
    Route(String),
    /// It is this node's own matter.
    Node(String),
    /// Somebody wants it to stop.
    Stopped,
}

/// Makes a call a few times, while it fails with what may pass.
///
/// # Errors
/// The last failure.
pub async fn retried<T>(call: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut progress = Progress::default();
    let mut attempt = 1;
    loop {
        match call().await {
            Err(failure) if attempt < TRIES && matches!(failure.class, Class::Transient | Class::Throttled | Class::NotReady) => {
                attempt += 1;
                tokio::time::sleep(progress.next_delay(&AGAIN, &mut fastrand::Rng::new())).await;
            }
            answer => return answer,
        }
    }
}

/// Asks Auto Scaling whether the instance is gone for good. Once it terminates it never lives again, so the proof does not age.
///
/// # Errors
/// By the lifecycle room's table.
pub async fn prove(services: &Services, route: &Route, action: &LifecycleAction) -> Result<Proof, Failure> {
    let lifecycle = &services.scopes[usize::from(route.scope.0)].lifecycle;
    let instance = std::slice::from_ref(&action.instance);
    let seen = retried(async || lifecycle.describe_instances(instance).await).await?.into_iter().next().flatten();
    if let Some(seen) = seen {
        return Ok(match seen {
            seen if seen.group != action.group => Proof::Missing("Auto Scaling shows the instance in another group"),
            seen if seen.state == LifecycleState::TerminatingWait => {
                Proof::WaitsToGo("Auto Scaling shows the instance terminating, and waiting for that to be completed")
            }
            seen if seen.state.is_terminating() => Proof::Gone("Auto Scaling shows the instance terminating"),
            seen if matches!(seen.state, LifecycleState::PendingWait | LifecycleState::WarmedPendingWait) => {
                Proof::Waits("Auto Scaling shows the instance waiting, and not as terminating")
            }
            _ => Proof::Missing("Auto Scaling shows the instance, and not as terminating"),
        });
    }
    let proven = retried(async || lifecycle.whereabouts(&action.group, instance).await).await?;
    Ok(match proven.first() {
        Some(Whereabouts::Terminated | Whereabouts::Terminating) => {
            Proof::Gone("the group's scaling activities show that the instance was terminated")
        }
        Some(Whereabouts::Detached) => Proof::Missing("the instance was detached from its group, and may live"),
        Some(Whereabouts::EntersPool | Whereabouts::Elsewhere | Whereabouts::Returned | Whereabouts::Unproven) | None => {
            Proof::Missing("no scaling activity of the group shows that the instance was terminated")
        }
    })
}

/// Takes a node off its server, and waits for it up to `bound`.
///
/// # Errors
/// Why it was not done, or why it is not known to be.
pub async fn pay(
    registrar: &dyn Registrar,
    order: &NodeOrder,
    schedules: &Settings,
    route: &Route,
    bound: Duration,
    stop: &watch::Receiver<bool>,
) -> Result<(), Unpaid> {
    let mut payment = Payment { until: Instant::now() + bound, stop: stop.clone(), progress: Progress::default() };
    // A token that the server does not know is answered by one more order; two of them are no accident.
    for _ in 0..2 {
        let token = loop {
            match registrar.disassociate(order).await {
                Ok(Registration::Done | Registration::Signed(_)) => return Ok(()),
                Ok(Registration::InProgress(token)) => break token,
                Err(failure) => {
                    let schedule = match failure.class {
                        Class::NotReady => &schedules.not_ready,
                        Class::Transient | Class::Throttled => &schedules.transient,
                        Class::RouteFault => return Err(Unpaid::Route(failure.to_string())),
                        Class::Final => return Err(Unpaid::Node(failure.to_string())),
                    };
                    payment.wait(schedule, || Unpaid::Server(format!("the server did not take the order in time: {failure}"))).await?;
                }
            }
        };
        payment.progress.reset();
        match payment.status(registrar, order, &token, route, schedules).await? {
            RegistrationStatus::Success | RegistrationStatus::Signed(_) => return Ok(()),
            RegistrationStatus::Failed(why) => return Err(Unpaid::Node(why)),
            RegistrationStatus::Refused(failure) => return Err(Unpaid::Node(failure.to_string())),
            RegistrationStatus::UnknownToken | RegistrationStatus::InProgress => {}
        }
    }
    Err(Unpaid::Node("the server knows neither the order's token nor that of its repetition".to_owned()))
}

/// One order under way.
struct Payment {
    until: Instant,
    stop: watch::Receiver<bool>,
    progress: Progress,
}

impl Payment {
    /// Asks until the server has decided.
    async fn status(
        &mut self,
        registrar: &dyn Registrar,
        order: &NodeOrder,
        token: &StatusToken,
        route: &Route,
        schedules: &Settings,
    ) -> Result<RegistrationStatus, Unpaid> {
        loop {
            let (schedule, said) = match registrar.status(order, token).await {
                Ok(RegistrationStatus::InProgress) => (&route.status_poll, "it is under way".to_owned()),
                Ok(decided) => return Ok(decided),
                Err(failure) => match failure.class {
                    Class::NotReady => (&schedules.not_ready, failure.to_string()),
                    Class::Transient | Class::Throttled => (&schedules.transient, failure.to_string()),
                    Class::RouteFault => return Err(Unpaid::Route(failure.to_string())),
                    Class::Final => return Err(Unpaid::Node(failure.to_string())),
                },
            };
            self.wait(schedule, || Unpaid::Node(format!("the server has not said in time how it went: {said}"))).await?;
        }
    }

    /// Waits by a schedule; not past the bound, and not once somebody wants it to stop.
    async fn wait(&mut self, schedule: &Schedule, late: impl FnOnce() -> Unpaid) -> Result<(), Unpaid> {
        let now = Instant::now();
        if now >= self.until {
            return Err(late());
        }
        let at = (now + self.progress.next_delay(schedule, &mut fastrand::Rng::new())).min(self.until);
        tokio::select! {
            () = tokio::time::sleep_until(at) => Ok(()),
            _ = self.stop.wait_for(|stop| *stop) => Err(Unpaid::Stopped),
        }
    }
}
