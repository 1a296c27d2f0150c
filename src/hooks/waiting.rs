//! Which instances a hook's end concerns.

use crate::event::Transition;
use crate::names::InstanceId;

/// An instance of a group, or of its warm pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The instance.
    pub instance: InstanceId,
    /// Its lifecycle state, as Auto Scaling names it.
    pub state: String,
}

/// How far an instance is on its way to a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits at hooks of this transition. Auto Scaling does not show at which.
    Waits(Transition),
    /// It is about to.
    Comes(Transition),
}

/// How far an instance in this state is; none where no hook holds it. An instance on its way back into the warm pool shows the state of
/// one that launches into it, and is taken for one.
#[must_use]
pub fn stage(state: &str) -> Option<Stage> {
    match state {
        "Pending:Wait" | "Warmed:Pending:Wait" => Some(Stage::Waits(Transition::Launching)),
        "Terminating:Wait" | "Warmed:Terminating:Wait" => Some(Stage::Waits(Transition::Terminating)),
        "Pending" | "Warmed:Pending" => Some(Stage::Comes(Transition::Launching)),
        "Terminating" | "Warmed:Terminating" => Some(Stage::Comes(Transition::Terminating)),
        _ => None,
    }
}
