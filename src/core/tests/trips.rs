//! Panics of our own, where a test wants them.

use std::cell::Cell;

use crate::core::action::Stage;
use crate::event::LifecycleAction;
use crate::names::InstanceId;

/// Every stage, by the name that [`name`] gives it.
pub(super) const STAGES: [&str; 18] = [
    "Verify",
    "Hooks",
    "LookAgain",
    "Whereabouts",
    "Turn",
    "Openness",
    "Key",
    "Output",
    "Associate",
    "Disassociate",
    "Status",
    "Parked",
    "Deliver",
    "Complete",
    "Confirm",
    "CleanUp",
    "DeadLetter",
    "Delete",
];

/// The name of a stage. One that comes here must be in [`STAGES`] too.
fn name(stage: &Stage) -> &'static str {
    match stage {
        Stage::Verify => "Verify",
        Stage::Hooks => "Hooks",
        Stage::LookAgain => "LookAgain",
        Stage::Whereabouts => "Whereabouts",
        Stage::Turn => "Turn",
        Stage::Openness => "Openness",
        Stage::Key => "Key",
        Stage::Output(_) => "Output",
        Stage::Associate => "Associate",
        Stage::Disassociate => "Disassociate",
        Stage::Status(..) => "Status",
        Stage::Parked(_) => "Parked",
        Stage::Deliver => "Deliver",
        Stage::Complete(_) => "Complete",
        Stage::Confirm(_) => "Confirm",
        Stage::CleanUp => "CleanUp",
        Stage::DeadLetter => "DeadLetter",
        Stage::Delete => "Delete",
    }
}

/// Where the core is to panic.
#[derive(Debug, Default)]
pub(in crate::core) struct Trips {
    point: &'static str,
    skip: Cell<u32>,
    left: Cell<u32>,
    sprung: Cell<u32>,
    /// The instance of which no call can be made.
    pub(super) unbuildable: Option<InstanceId>,
}

impl Trips {
    pub(super) fn set(&mut self, point: &'static str, skip: u32, times: u32) {
        self.point = point;
        self.skip.set(skip);
        self.left.set(times);
    }

    pub(super) fn sprung(&self) -> u32 {
        self.sprung.get()
    }

    /// The core is at a point.
    pub(in crate::core) fn at(&self, point: &str) {
        if point != self.point || self.left.get() == 0 {
            return;
        }
        if self.skip.get() > 0 {
            return self.skip.set(self.skip.get() - 1);
        }
        self.left.set(self.left.get() - 1);
        self.sprung.set(self.sprung.get() + 1);
        panic!("a test wants a panic at {point}");
    }

    /// An action has entered a stage.
    pub(in crate::core) fn entered(&self, stage: Option<&Stage>) {
        if let Some(stage) = stage {
            self.at(name(stage));
        }
    }

    /// A call is made about the instances of some actions.
    pub(in crate::core) fn building<'a>(&self, mut claims: impl Iterator<Item = &'a LifecycleAction>) {
        assert!(!claims.any(|claim| Some(&claim.instance) == self.unbuildable.as_ref()), "a test wants no call about it");
    }
}
