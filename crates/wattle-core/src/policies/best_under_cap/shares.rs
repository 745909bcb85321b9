//! How the models with traffic share what the cap leaves above idle power.

use crate::units::Watts;

/// What one model can use of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Need {
    /// Power above idle of its least hungry point: with less it is parked.
    pub(super) least: Watts,
    /// Power above idle of its hungriest point: more is of no use to it.
    pub(super) most: Watts,
}

/// The share of each model, in their order: equal, but that none gets more than it can use, and one whose
/// least is more than an equal share gets that much as long as it lasts for all. Where it doesn't, the
/// models of the largest least are parked, and what they would have had is shared by the others.
pub(super) fn shares(total: Watts, needs: &[Need]) -> Vec<Watts> {
    let mut shares = vec![Watts::ZERO; needs.len()];
    let mut open: Vec<usize> = (0..needs.len()).collect();
    let mut left = total;
    while !open.is_empty() {
        let equal = left / open.len() as f64;
        let least = |at: usize| needs[open[at]].least;
        let needy = (0..open.len()).filter(|at| least(*at) > equal);
        let (at, share) = if let Some(at) = needy.reduce(|a, b| if least(b) >= least(a) { b } else { a }) {
            // Before anyone gets more than an equal share of what is left.
            let leasts: Watts = open.iter().map(|model| needs[*model].least).sum();
            (at, if leasts <= left { least(at) } else { Watts::ZERO })
        } else if let Some(at) = open.iter().position(|model| needs[*model].most <= equal) {
            (at, needs[open[at]].most)
        } else {
            open.iter().for_each(|model| shares[*model] = equal);
            return shares;
        };
        shares[open.remove(at)] = share;
        left = left - share;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(total: f64, needs: &[(f64, f64)]) -> Vec<f64> {
        let needs: Vec<Need> = needs
            .iter()
            .map(|(least, most)| Need { least: Watts::new(*least), most: Watts::new(*most) })
            .collect();
        shares(Watts::new(total), &needs).into_iter().map(Watts::get).collect()
    }

    #[test]
    fn shares_are_equal_but_for_what_is_of_no_use_or_not_enough() {
        assert_eq!(of(100.0, &[(1.0, 90.0), (1.0, 90.0)]), [50.0, 50.0]);
        assert_eq!(of(100.0, &[(1.0, 30.0), (1.0, 90.0)]), [30.0, 70.0], "one is content with less");
        assert_eq!(of(100.0, &[(60.0, 90.0), (10.0, 90.0)]), [60.0, 40.0], "one needs more than half");
        assert_eq!(of(100.0, &[(60.0, 90.0), (50.0, 90.0)]), [0.0, 90.0], "not enough for both");
        assert_eq!(of(10.0, &[(60.0, 90.0)]), [0.0]);
        assert_eq!(of(-5.0, &[(1.0, 2.0)]), [0.0]);
        assert_eq!(of(100.0, &[]), [0.0; 0]);
    }

    proptest! {
        #[test]
        fn no_more_is_shared_than_there_is_and_nobody_is_parked_where_all_leasts_fit(
            total in 0.0..300.0f64,
            needs in proptest::collection::vec((0.1..100.0f64, 0.0..100.0f64), 0..6),
        ) {
            let needs: Vec<(f64, f64)> = needs.iter().map(|(least, more)| (*least, least + more)).collect();
            let shares = of(total, &needs);
            prop_assert!(shares.iter().sum::<f64>() <= total + 1e-9);
            let leasts: f64 = needs.iter().map(|(least, _)| least).sum();
            for (share, (least, most)) in shares.iter().zip(&needs) {
                prop_assert!(*share <= most + 1e-9);
                prop_assert!(leasts > total || *share >= least - 1e-9);
            }
        }
    }
}
