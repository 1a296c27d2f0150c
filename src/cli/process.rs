//! What the process lets others see of its memory.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Writes no core dump, and lets no other process of this user look into this one's memory: key material, tokens and credentials are
/// in it, also in buffers of the SDK that nobody wipes.
///
/// To be called once the configuration is read: afterwards `/dev/fd/3` and the like, by which a shell hands a file over, belong to root.
/// Both are asked for, since a handler of core dumps that the kernel pipes them to is called whatever the limit is. Where the system
/// refuses, nothing else depends on it.
pub(super) fn keep_memory_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_core_dump_and_nobody_may_look_in() {
        keep_memory_private();
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
