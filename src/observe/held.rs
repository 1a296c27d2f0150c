//! Which launches are held, and why: what the listener tells `enrolld check`, which is another process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::text::printable;
use crate::core::observation::Reason;

/// The launches of one route that are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRoute {
    /// The route's name.
    pub route: String,
    /// How many launches are held now.
    pub launches: u32,
    /// Why the last of them is: a short word.
    pub code: String,
    /// The same in a sentence.
    pub reason: String,
}

/// The page of the listener: one JSON object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPage {
    /// Routes that hold launches, by name.
    pub held: Vec<HeldRoute>,
}

/// What is held now.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<BTreeMap<String, HeldRoute>>);

impl Held {
    /// A launch of a route is held.
    pub fn because(&self, route: &str, reason: &Reason) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let launches = routes.get(route).map_or(0, |held| held.launches);
        let (code, reason) = (printable(&reason.code).into_owned(), printable(&reason.detail).into_owned());
        routes.insert(route.to_owned(), HeldRoute { route: route.to_owned(), launches, code, reason });
    }

    /// So many launches of a route are held.
    pub fn count(&self, route: &str, launches: u32) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if launches == 0 {
            routes.remove(route);
        } else if let Some(held) = routes.get_mut(route) {
            held.launches = launches;
        }
    }

    /// The page.
    pub fn page(&self) -> HeldPage {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        HeldPage { held: routes.values().filter(|held| held.launches > 0).cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_reason_forges_nothing_on_the_page_of_what_is_held() {
        let held = Held::default();
        held.because("web", &Reason::new("a\nb\u{202e}", "no\n\u{1b}[2J\u{2028}\u{202e}"));
        held.count("web", 1);
        let text = serde_json::to_string(&held.page()).unwrap();
        assert!(text.chars().all(|c| matches!(c, ' '..='~')), "{text:?}");
        let read: HeldPage = serde_json::from_str(&text).unwrap();
        assert_eq!(read.held[0].code, r"a\u{a}b\u{202e}");
        assert_eq!(read.held[0].reason, r"no\u{a}\u{1b}[2J\u{2028}\u{202e}");
    }
}
