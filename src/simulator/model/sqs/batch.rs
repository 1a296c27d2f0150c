//! What all batches have in common.

use super::errors;
use super::wire::Failed;
use crate::simulator::model::error::{Answer, ApiError};

/// The rules that fail a whole batch: one to ten entries, with valid and distinct ids.
pub(super) fn check_entries<'a>(entry: &str, ids: impl ExactSizeIterator<Item = &'a str>) -> Answer<()> {
    let count = ids.len();
    if count == 0 {
        return Err(errors::empty_batch(entry));
    }
    if count > 10 {
        return Err(errors::too_many_entries(count));
    }
    let ids: Vec<&str> = ids.collect();
    for (at, id) in ids.iter().enumerate() {
        let characters = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if id.is_empty() || id.len() > 80 || !characters {
            return Err(errors::bad_entry_id());
        }
        if ids[..at].contains(id) {
            return Err(errors::repeated_id(id));
        }
    }
    Ok(())
}

impl Failed {
    /// An entry that fails alone. Batches name their errors by the codes of the older protocol.
    pub(super) fn from_error(id: &str, error: ApiError) -> Self {
        Self {
            id: id.to_owned(),
            sender_fault: error.is_sender_fault(),
            code: error.query_code.map_or_else(|| error.code.to_string(), str::to_owned),
            message: error.message,
        }
    }
}
