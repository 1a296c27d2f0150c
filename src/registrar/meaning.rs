//! What a registrar's failures mean: one table for each kind, and the only place where a failure's class is decided.

use std::fmt::Write as _;

use crate::retry::{Class, Failure};

/// One row of such a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// The failure's code, or how codes of this row look.
    pub code: &'static str,
    /// What can be done about it.
    pub class: Class,
    /// When it comes, for a person.
    pub when: &'static str,
}

impl Meaning {
    /// A failure of this row. The detail is for a person, and never key material.
    #[must_use]
    pub fn failure(self, detail: impl Into<String>) -> Failure {
        Failure::new(self.class, self.code, detail)
    }

    /// The same with a code that is known only when it happens, such as an exit code.
    #[must_use]
    pub fn coded(self, code: impl Into<String>, detail: impl Into<String>) -> Failure {
        Failure::new(self.class, code, detail)
    }
}

/// The table as the documentation of a kind shows it.
#[must_use]
pub fn markdown(errors: &[&[Meaning]]) -> String {
    let mut table = String::from("| code | means | when |\n| --- | --- | --- |\n");
    for Meaning { code, class, when } in errors.iter().copied().flatten() {
        let class = match class {
            Class::NotReady => "not ready",
            Class::Throttled => "throttled",
            Class::Transient => "transient",
            Class::RouteFault => "a fault of the route",
            Class::Final => "final",
        };
        writeln!(table, "| `{code}` | {class} | {when} |").expect("a text can always be written to");
    }
    table
}

/// Makes a constant of each row, and `ERRORS` of all: a code that no table holds cannot be used.
#[macro_export]
macro_rules! meanings {
    ($($name:ident: $class:ident, $code:expr, $when:literal;)*) => {
        $(#[doc = $when]
        pub const $name: $crate::registrar::Meaning =
            $crate::registrar::Meaning { code: $code, class: $crate::retry::Class::$class, when: $when };)*

        /// What the failures mean.
        pub const ERRORS: &[$crate::registrar::Meaning] = &[$($name),*];
    };
}
