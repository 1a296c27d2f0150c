//! The lifecycle hooks of a group as enrolld would have them: which are ours, what is to be made or changed, and what a person is
//! shown of that. Plain data and functions; `cli` asks Auto Scaling and carries it out.
//!
//! A hook is ours when [`marker`] says so, which stands in its metadata: a hook that merely has our name, or notifies our queue, may have been made by
//! a template of somebody's, who would find it changed or gone.

mod hook;
pub mod marker;
mod plan;
mod waiting;

pub use hook::Hook;
pub use plan::{Change, Refusal, Wanted, plan};
pub use waiting::{Member, Stage, stage};
