//! Whose requests are: how clients name their class, and how many classes are told apart.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use axum::http::HeaderName;
use serde::Serialize;
use wattle_core::id::RequestClass;
use wattle_core::ledger::PowerSplit;

/// The class that requests are booked by once there are too many classes.
pub const OTHER_CLASS: &str = "other";
/// Classes that are told apart unless told otherwise.
pub const DEFAULT_MAX_CLASSES: usize = 256;
/// The longest name of a class, in characters.
pub const MAX_CLASS_LENGTH: usize = 64;

/// How energy is split between those who ask.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountsConfig {
    /// A header (gRPC: metadata) that names a request's class beside `x-wattle-class`: one that carries
    /// the tenant already, say.
    pub class_header: Option<HeaderName>,
    /// Classes that are told apart; what names more is booked as [`OTHER_CLASS`].
    pub max_classes: usize,
    /// What is known of how the device's power is made up.
    pub split: PowerSplit,
    /// How far off the power source says it may be, as a share: 0.05 for ± 5 %. `None`: it does not say.
    pub power_error: Option<f64>,
}

impl Default for AccountsConfig {
    fn default() -> Self {
        Self {
            class_header: None,
            max_classes: DEFAULT_MAX_CLASSES,
            split: PowerSplit::default(),
            power_error: None,
        }
    }
}

/// A name that is none of a class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "class {found:?} is no name of a class, expected 1 to {MAX_CLASS_LENGTH} of the characters A-Z a-z 0-9 . _ : / @ + -"
)]
pub struct ClassError {
    /// What was found; cut off where it is long.
    pub found: String,
}

/// The classes that were named since the server started: a bounded number. A known one is looked up without
/// a lock and without an allocation.
#[derive(Debug)]
pub struct Classes {
    known: ArcSwap<BTreeMap<RequestClass, ()>>,
    adding: Mutex<()>,
    limit: usize,
    other: RequestClass,
    overflowed: AtomicU64,
    is_told: AtomicBool,
}

/// How many classes there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ClassesStatus {
    /// Classes that are told apart.
    pub known: usize,
    /// Most that are.
    pub limit: usize,
    /// Requests that were booked as [`OTHER_CLASS`] because their class was one too many.
    pub overflowed_requests: u64,
}

impl Classes {
    /// None yet, and at most `limit` ever.
    pub fn new(limit: usize) -> Self {
        Self {
            known: ArcSwap::default(),
            adding: Mutex::default(),
            limit,
            other: OTHER_CLASS.into(),
            overflowed: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
        }
    }

    /// The class of that name, or [`OTHER_CLASS`] where it is one too many.
    ///
    /// # Errors
    /// The name is empty, too long or has other characters than names of classes have.
    pub fn named(&self, name: &str) -> Result<RequestClass, ClassError> {
        if let Some((known, ())) = self.known.load().get_key_value(name) {
            return Ok(known.clone());
        }
        let is_lawful = |c: char| c.is_ascii_alphanumeric() || "._:/@+-".contains(c);
        if name.is_empty() || name.len() > MAX_CLASS_LENGTH || !name.chars().all(is_lawful) {
            return Err(ClassError { found: name.chars().take(MAX_CLASS_LENGTH + 1).collect() });
        }
        if name == OTHER_CLASS {
            return Ok(self.other.clone());
        }
        // Once all are there no lock is taken any more.
        if self.known.load().len() < self.limit {
            let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
            let mut known = BTreeMap::clone(&self.known.load());
            if let Some((known, ())) = known.get_key_value(name) {
                return Ok(known.clone());
            }
            if known.len() < self.limit {
                let class = RequestClass::from(name);
                known.insert(class.clone(), ());
                self.known.store(known.into());
                return Ok(class);
            }
        }
        self.overflowed.fetch_add(1, Relaxed);
        if !self.is_told.swap(true, Relaxed) {
            tracing::warn!(
                class = name,
                limit = self.limit,
                "more classes than are told apart: from now on new ones are booked as {OTHER_CLASS:?}; raise max_classes"
            );
        }
        Ok(self.other.clone())
    }

    /// How many there are.
    pub fn status(&self) -> ClassesStatus {
        ClassesStatus {
            known: self.known.load().len(),
            limit: self.limit,
            overflowed_requests: self.overflowed.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_bounded_and_what_names_more_is_booked_as_other() {
        let classes = Classes::new(2);
        let named = |name: &str| classes.named(name).unwrap().to_string();
        assert_eq!(
            [named("gold"), named("free"), named("more"), named("gold")],
            ["gold", "free", "other", "gold"]
        );
        assert_eq!(named("other"), "other");
        assert_eq!(classes.status(), ClassesStatus { known: 2, limit: 2, overflowed_requests: 1 });
        assert_eq!(Classes::new(0).named("gold").unwrap().as_str(), "other");
    }

    #[test]
    fn threads_that_name_classes_at_once_never_pass_the_limit() {
        let classes = Classes::new(10);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let classes = &classes;
                scope.spawn(move || {
                    for number in 0..50 {
                        classes.named(&format!("c{}", (number * 7 + thread) % 30)).unwrap();
                    }
                });
            }
        });
        let status = classes.status();
        assert_eq!(status.known, 10);
        assert!(status.overflowed_requests > 0, "{status:?}");
    }

    #[test]
    fn a_name_that_is_none_is_told_what_was_expected() {
        let classes = Classes::new(2);
        let lawful = "tenant-1/team:a@b.c+d_e";
        assert_eq!(classes.named(lawful).unwrap().as_str(), lawful);
        for name in ["", "a b", "ä", "a\n", "a,b", "{}", &"x".repeat(65)] {
            let error = classes.named(name).unwrap_err().to_string();
            assert!(error.contains("expected 1 to 64 of the characters"), "{error}");
        }
        assert_eq!(classes.named(&"x".repeat(64)).unwrap().as_str().len(), 64);
        assert!(classes.named(&"é".repeat(5000)).unwrap_err().found.chars().count() <= 65);
    }
}
