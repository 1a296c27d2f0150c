//! A line more in the list of kinds compiles, with the file that `docs/new-registrar.md` shows, and makes its entry.

use super::Kind;

kinds! {
    #[path = "../../tests/fifth_registrar/inventory.rs"]
    mod inventory;
}

#[test]
fn the_one_line_of_a_kind_makes_its_module_and_its_entry() {
    assert_eq!(KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>(), ["inventory"]);
}
