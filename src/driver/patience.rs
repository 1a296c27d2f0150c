//! How long a call may be under way at the most, and how long there may be none. Each call has time-outs of its own, well below; one that outlives even
//! this will not end, and the worker that began it is stuck. So is a worker that begins none for longer than it has any reason to.

use std::time::Duration;

use crate::core::call::Call;
use crate::core::settings::Settings;

/// The longest that a run of a `command` registrar's program may be set to; what other registrars do in one order takes less, and so does
/// reading a group's activities back.
const LONGEST_ORDER: Duration = Duration::from_secs(15 * 60);
/// How many requests, one after the other, stand behind one call of the other services.
const REQUESTS: u32 = 4;
/// What is allowed on top: a machine may be slow.
const SLACK: Duration = Duration::from_secs(60);

/// The bounds, as the settings have them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    receive: Duration,
    request: Duration,
    order: Duration,
    idle: Duration,
    holding: Duration,
}

impl Patience {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            receive: settings.poll_wait + settings.call_timeout + SLACK,
            request: settings.call_timeout * REQUESTS + SLACK,
            order: LONGEST_ORDER + settings.call_timeout + SLACK,
            // A worker with room polls; what else keeps it from that for a while is an error, after which it tries again, or a shutdown.
            idle: settings.transient.max.max(settings.grace) + SLACK,
            // One without room extends each message that it holds well within its visibility.
            holding: settings.transient.max.max(settings.grace).max(settings.visibility / 2) + SLACK,
        }
    }

    /// The same for every call.
    pub(super) const fn always(longest: Duration) -> Self {
        Self { receive: longest, request: longest, order: longest, idle: longest, holding: longest }
    }

    /// How long no call at all may be under way, with messages in hand or without.
    pub(super) const fn between(&self, in_hand: bool) -> Duration {
        if in_hand { self.holding } else { self.idle }
    }

    /// For one call.
    pub(super) const fn with(&self, call: &Call) -> Duration {
        match call {
            Call::Receive { .. } => self.receive,
            Call::Associate { .. }
            | Call::AssociationStatus { .. }
            | Call::Disassociate { .. }
            | Call::Clear { .. }
            | Call::CheckHealth { .. }
            | Call::FindWhereabouts { .. }
            | Call::FetchKeys { .. }
            | Call::FetchOutput { .. } => self.order,
            Call::DescribeQueue
            | Call::Extend { .. }
            | Call::Release { .. }
            | Call::DeadLetter { .. }
            | Call::Delete { .. }
            | Call::DescribeInstances { .. }
            | Call::DescribeHooks { .. }
            | Call::Heartbeat { .. }
            | Call::Complete { .. }
            | Call::SendCommand { .. }
            | Call::PutParameter { .. }
            | Call::DeleteParameters { .. } => self.request,
        }
    }
}
