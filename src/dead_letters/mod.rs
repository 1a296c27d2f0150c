//! The dead letters, from the side of the person who looks after them: what each one says, and sending it back.
//!
//! [`letter`] reads what stands in the queue, [`look`] takes it into hand and gives it back, [`table`] shows it, [`redrive`] sends it
//! back to the worker's queue, and [`owed`] says which disassociations it may finish that workers could not.
//!
//! Whoever may send to the dead-letter queue may have written everything in it. So what a letter says is shown as [`Said`] alone,
//! and nothing is done because a letter says so: what is owed is proven anew before it is paid.

pub mod letter;
pub mod look;
pub mod owed;
pub mod redrive;
mod said;
pub mod selection;
pub mod table;

pub use letter::Letter;
pub use said::Said;
pub use selection::Selection;

use crate::retry::Failure;

/// Why the dead letters could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LettersError {
    /// Nowhere to look.
    #[error("there is no dead-letter queue: give the queue a redrive policy, or set dead_letter_queue_url")]
    NoQueue,
    /// The same queue twice.
    #[error("the dead-letter queue is the queue itself; correct dead_letter_queue_url, or the queue's redrive policy")]
    SameQueue,
    /// A call that looking takes was answered with a failure.
    #[error("{operation} failed")]
    Failed {
        /// The API operation.
        operation: &'static str,
        /// What it was answered with.
        #[source]
        failure: Failure,
    },
}
