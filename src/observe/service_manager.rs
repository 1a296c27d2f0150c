//! What systemd is told of a unit of `Type=notify`: when the worker can work, how it is, that it still turns, that it stops. Without
//! `NOTIFY_SOCKET` in the environment nothing is told, and nobody is there to listen.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;

use super::Health;

/// How often the worker's state is looked at. More often where the watchdog is impatient.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells the service manager, for as long as the process lives.
#[derive(Debug)]
pub struct ServiceManager {
    health: Arc<Health>,
    /// Within which time the manager wants to hear that the worker turns.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The service manager that started this process; none where it was started otherwise.
    #[must_use]
    pub fn of_this_process(health: Arc<Health>) -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())?;
        Some(Self { health, watchdog: sd_notify::watchdog_enabled() })
    }

    /// Begins to tell, on the runtime that the worker runs on: a worker that keeps the runtime to itself is stuck as well.
    ///
    /// `READY=1` is said once the worker can work: the configuration was good, there are credentials, and the queue answered. The watchdog is fed
    /// only while the worker's loop turns as it promised to.
    pub fn start(self) -> JoinHandle<()> {
        tokio::spawn(async move {
            // Three looks for each time that the watchdog waits, so that one that comes late does no harm.
            let every = self.watchdog.map_or(LOOK_EVERY, |watchdog| LOOK_EVERY.min(watchdog / 3));
            let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let (mut is_ready, mut said) = (false, String::new());
            loop {
                ticks.tick().await;
                let ready = self.health.ready();
                if ready.is_ok() && !is_ready {
                    is_ready = true;
                    tell(&[NotifyState::Ready]);
                }
                let status = self.status(&ready);
                if status != said {
                    tell(&[NotifyState::Status(&status)]);
                    said = status;
                }
                if self.watchdog.is_some() && self.health.live().is_ok() {
                    tell(&[NotifyState::Watchdog]);
                }
            }
        })
    }

    fn status(&self, ready: &Result<(), String>) -> String {
        let (open, held) = self.health.in_hand();
        // How late its loop is would be news each second.
        if self.health.live().is_err() {
            return format!("stuck; {open} actions open, {held} held");
        }
        let how = match (self.health.is_stopping(), ready) {
            (true, _) => "stopping",
            (false, Ok(())) => "working",
            (false, Err(missing)) => missing,
        };
        format!("{how}; {open} actions open, {held} held")
    }
}

/// Says that the worker was told to stop.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// A manager that cannot be told does not stop the work; it acts on its silence.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
