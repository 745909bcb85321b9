//! Who asks one model: a short number for each, so that a request carries it and a batch counts by it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use wattle_core::id::{FamilyName, RequestClass};

/// By which name a model was asked, and for whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asker {
    /// The family that was asked; `None`: the model itself.
    pub family: Option<FamilyName>,
    /// The class that the request named. They are bounded, see [`Classes`](crate::accounts::Classes), and
    /// so are the askers of a model.
    pub class: Option<RequestClass>,
}

/// Everybody who ever asked one model. Looked up without a lock; a lock is held only to add one.
#[derive(Debug, Default)]
pub(super) struct Askers {
    /// All but the one who names neither family nor class, whose number is 0.
    numbers: ArcSwap<BTreeMap<Asker, usize>>,
    adding: Mutex<()>,
}

impl Askers {
    /// The number of `asker`, which never changes.
    pub(super) fn number_of(&self, asker: &Asker) -> usize {
        if asker.family.is_none() && asker.class.is_none() {
            return 0;
        }
        if let Some(known) = self.numbers.load().get(asker) {
            return *known;
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut numbers = BTreeMap::clone(&self.numbers.load());
        let next = numbers.len() + 1;
        let number = *numbers.entry(asker.clone()).or_insert(next);
        self.numbers.store(numbers.into());
        number
    }

    /// What `counted` holds at the number of each, by who it is.
    pub(super) fn by_asker<T: Copy + Default + PartialEq>(&self, counted: &[T]) -> BTreeMap<Asker, T> {
        let numbers = self.numbers.load();
        let named = numbers.iter().map(|(asker, number)| (asker.clone(), *number));
        let all = std::iter::once((Asker::default(), 0)).chain(named);
        let with_count = all.filter_map(|(asker, number)| Some((asker, *counted.get(number)?)));
        with_count.filter(|(_, count)| *count != T::default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_asker_keeps_its_number_whoever_comes_first() {
        let askers = Askers::default();
        let asker = |family: Option<&str>, class: Option<&str>| Asker {
            family: family.map(Into::into),
            class: class.map(Into::into),
        };
        let all = [
            asker(None, None),
            asker(Some("f"), None),
            asker(None, Some("a")),
            asker(Some("f"), Some("a")),
            asker(None, Some("b")),
        ];
        let found: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| all.iter().map(|asker| askers.number_of(asker)).collect::<Vec<_>>()))
                .collect();
            let mut found: Vec<Vec<usize>> =
                threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            found.dedup();
            assert_eq!(found.len(), 1, "{found:?}");
            found.remove(0)
        });
        let mut sorted = found.clone();
        sorted.sort_unstable();
        assert_eq!((sorted, found[0]), ((0..5).collect(), 0));
        let counted: Vec<u64> = (0..4).map(|number| number * 10).collect();
        let by_asker = askers.by_asker(&counted);
        assert_eq!(by_asker.len(), 3, "zero and not counted yet are left out: {by_asker:?}");
        assert!(by_asker.iter().all(|(asker, count)| *count == 10 * askers.number_of(asker) as u64));
    }
}
