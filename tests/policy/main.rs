//! The policies that `enrolld policy` prints, held against what the worker calls: the real binary runs against a simulated AWS in
//! which it may do only what was printed, and in the end everything that was printed has been called.

mod bench;
mod calls;
mod conditions;
mod printed;
