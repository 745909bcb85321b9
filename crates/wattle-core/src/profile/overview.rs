//! What stands out in a profile: the points that none is better than, and how well it predicts itself.

use std::fmt;

use serde::Serialize;

use super::{PowerFigure, Predictor, Profile};
use crate::load_power::power_at_utilization;
use crate::operating_point::ProfileRow;
use crate::provenance::Basis;
use crate::units::{Joules, Watts};

impl ProfileRow {
    /// Device energy per row: as it was recorded, else mean power over throughput, which is the same
    /// thing. `None` where neither is known.
    pub fn energy_per_row(&self) -> Option<Joules> {
        let of_means = || {
            let rps = self.throughput_rps.filter(|rps| *rps > 0.0)?;
            Some(Joules::new(self.power_watts_mean?.get() / rps))
        };
        self.energy_joules_per_row.or_else(of_means)
    }

    /// How the throughput and latencies are known; `None` where there are none.
    pub fn time_known(&self) -> Option<Basis> {
        let figures = [
            self.throughput_rps,
            self.latency_ms_mean,
            self.latency_ms_p50,
            self.latency_ms_p95,
            self.latency_ms_p99,
        ];
        figures.iter().any(Option::is_some).then_some(self.basis)
    }

    /// How power and energy are known; `None` where there is neither.
    pub fn power_known(&self) -> Option<Basis> {
        let powers = [self.power_watts_mean, self.power_watts_p95, self.power_watts_max];
        let is_known = powers.iter().any(Option::is_some) || self.energy_joules_per_row.is_some();
        is_known.then_some(self.power_basis)
    }

    /// How the figures are known, in words: `measured`, or `measured, power unknown`.
    pub fn known_in_words(&self) -> String {
        let words =
            |known: Option<Basis>| known.map_or_else(|| "unknown".to_owned(), |basis| basis.to_string());
        let (time, power) = (self.time_known(), self.power_known());
        if time == power { words(time) } else { format!("{}, power {}", words(time), words(power)) }
    }
}

/// Rows by how their figures are known; unknown ones have no such figure at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BasisCounts {
    /// See [`Basis::Measured`].
    pub measured: usize,
    /// See [`Basis::Modelled`].
    pub modelled: usize,
    /// See [`Basis::Assumed`].
    pub assumed: usize,
    /// Rows that tell none of these figures.
    pub unknown: usize,
}

impl BasisCounts {
    fn of(known: impl Iterator<Item = Option<Basis>>) -> Self {
        let mut counts = Self::default();
        for basis in known {
            *match basis {
                Some(Basis::Measured) => &mut counts.measured,
                Some(Basis::Modelled) => &mut counts.modelled,
                Some(Basis::Assumed) => &mut counts.assumed,
                None => &mut counts.unknown,
            } += 1;
        }
        counts
    }
}

/// Such as `4 measured, 1 unknown`.
impl fmt::Display for BasisCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.measured, "measured"),
            (self.modelled, "modelled"),
            (self.assumed, "assumed"),
            (self.unknown, "unknown"),
        ];
        let told = all.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
        f.write_str(&told.collect::<Vec<_>>().join(", "))
    }
}

/// How far off a profile is from each of its own rows, when predicted from all the others.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LeaveOneOut {
    /// Rows that lie between others and could be predicted.
    pub predicted: usize,
    /// Rows at the border, which nothing is known around: the profile never extrapolates.
    pub outside: usize,
    /// Relative errors of the throughput, as shares of what was seen, ascending.
    pub throughput: Vec<f64>,
    /// Relative errors of the power, ascending.
    pub power: Vec<f64>,
    /// Relative errors of the mean latency, ascending.
    pub latency: Vec<f64>,
}

impl Profile {
    /// Rows by how their throughput and latencies are known.
    pub fn time_counts(&self) -> BasisCounts {
        BasisCounts::of(self.rows.iter().map(ProfileRow::time_known))
    }

    /// Rows by how their power and energy are known.
    pub fn power_counts(&self) -> BasisCounts {
        BasisCounts::of(self.rows.iter().map(ProfileRow::power_known))
    }

    /// The rows that no other is at least as good as in throughput and power and better in one, by
    /// rising power. Rows that don't tell both are passed over.
    pub fn pareto_front(&self, figure: PowerFigure) -> Vec<&ProfileRow> {
        let known = self.rows.iter();
        let mut sorted: Vec<_> =
            known.filter_map(|row| Some((row, figure.of(row)?.get(), row.throughput_rps?))).collect();
        sorted.sort_by(|a, b| a.1.total_cmp(&b.1).then(b.2.total_cmp(&a.2)));
        let mut most = f64::NEG_INFINITY;
        sorted.retain(|(_, _, rps)| {
            let is_better = *rps > most;
            most = most.max(*rps);
            is_better
        });
        sorted.into_iter().map(|(row, ..)| row).collect()
    }

    /// The `wanted` row that carries a load of `rps` rows per second at the least mean power, and that power.
    ///
    /// The rows tell the power of a saturated model. Below that the device idles in between, where its
    /// idle power is known: **modelled**. Where it isn't, the power is that of the saturated model, which
    /// the load doesn't exceed.
    pub fn least_power_at(
        &self,
        rps: f64,
        wanted: impl Fn(&ProfileRow) -> bool,
    ) -> Option<(&ProfileRow, Watts)> {
        let idle = self.head.idle_power_watts;
        let power = |row: &ProfileRow| {
            let most = row.throughput_rps.filter(|most| *most >= rps && *most > 0.0)?;
            let busy = PowerFigure::Mean.of(row)?;
            Some(idle.map_or(busy, |idle| power_at_utilization(idle.min(busy), busy, rps / most)))
        };
        let able = self.rows.iter().filter(|row| wanted(row)).filter_map(|row| Some((row, power(row)?)));
        able.min_by(|a, b| a.1.get().total_cmp(&b.1.get()))
    }

    /// Predicts every row from all the others and holds it against what was seen there.
    pub fn leave_one_out(&self, figure: PowerFigure) -> LeaveOneOut {
        let predictor = Predictor::new(self);
        let mut found = LeaveOneOut::default();
        for (index, row) in self.rows.iter().enumerate() {
            let Some(drawn) = predictor.predict_without(index) else {
                found.outside += 1;
                continue;
            };
            found.predicted += 1;
            let watts = |row: &ProfileRow| figure.of(row).map(Watts::get);
            found.throughput.extend(off(drawn.row.throughput_rps, row.throughput_rps));
            found.power.extend(off(watts(&drawn.row), watts(row)));
            found.latency.extend(off(drawn.row.latency_ms_mean, row.latency_ms_mean));
        }
        for errors in [&mut found.throughput, &mut found.power, &mut found.latency] {
            errors.sort_by(f64::total_cmp);
        }
        found
    }
}

/// How far `drawn` is off from what was `seen`, as a share of it.
fn off(drawn: Option<f64>, seen: Option<f64>) -> Option<f64> {
    Some((drawn? / seen.filter(|seen| *seen > 0.0)? - 1.0).abs())
}

/// The value that a share of `sorted`, which ascends, is not above (nearest rank); `None` of none.
pub fn nearest_rank(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (sorted.len() as f64 * share).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(rows: &str) -> Profile {
        let head = "# wattle_profile = 1\n# model = \"m\"\n# device = \"d\"\n# runtime = \"r\"\n\
                    # idle_power_watts = 20\n# power_source = \"s\"\n";
        let columns = "batch_size,instances,throughput_rps,power_watts_mean,basis,power_basis,samples\n";
        Profile::parse(&format!("{head}{columns}{rows}"), "p.csv").unwrap()
    }

    #[test]
    fn the_front_holds_the_rows_that_none_is_better_than() {
        let profile = profile(
            "1,1,10,50,measured,measured,1\n2,1,20,60,measured,measured,1\n4,1,19,70,measured,measured,1\n\
             8,1,40,80,measured,measured,1\n16,1,40,90,measured,measured,1\n32,1,99,,measured,measured,1\n",
        );
        let front = profile.pareto_front(PowerFigure::Mean);
        let batches: Vec<u32> = front.iter().map(|row| row.point.batch_size).collect();
        assert_eq!(batches, [1, 2, 8]);
    }

    #[test]
    fn at_a_load_the_least_power_counts_idle_time() {
        let profile = profile("1,1,10,50,measured,measured,1\n2,1,100,70,measured,measured,1\n");
        let (row, power) = profile.least_power_at(10.0, |_| true).unwrap();
        assert_eq!((row.point.batch_size, power), (2, Watts::new(25.0)), "busy for a tenth of the time");
        assert_eq!(profile.least_power_at(100.1, |_| true), None);
    }

    #[test]
    fn a_row_is_predicted_from_the_others_alone() {
        let profile = profile(
            "1,1,10,50,measured,measured,1\n2,1,99,50,measured,measured,1\n4,1,40,50,measured,measured,1\n",
        );
        let found = profile.leave_one_out(PowerFigure::Mean);
        assert_eq!((found.predicted, found.outside), (1, 2), "the first and the last are at the border");
        let expected = 1.0 - 20.0 / 99.0;
        assert!((found.throughput[0] - expected).abs() < 1e-9, "{:?} for {expected}", found.throughput);
        assert_eq!(found.latency, [] as [f64; 0]);
        assert!(found.power[0] < 1e-9);
    }

    #[test]
    fn energy_is_what_was_recorded_or_power_over_throughput() {
        let mut row = profile("1,1,10,50,measured,measured,1\n").rows.remove(0);
        assert_eq!(row.energy_per_row(), Some(Joules::new(5.0)));
        row.energy_joules_per_row = Some(Joules::new(4.9));
        assert_eq!(row.energy_per_row(), Some(Joules::new(4.9)));
        row.energy_joules_per_row = None;
        row.throughput_rps = Some(0.0);
        assert_eq!(row.energy_per_row(), None);
    }

    #[test]
    fn a_basis_of_figures_that_are_not_there_is_no_basis() {
        let profile =
            profile("1,1,10,,measured,assumed,1\n2,1,,60,modelled,assumed,1\n4,1,,,measured,measured,0\n");
        assert_eq!(profile.time_counts().to_string(), "1 measured, 2 unknown");
        assert_eq!(profile.power_counts(), BasisCounts { assumed: 1, unknown: 2, ..BasisCounts::default() });
        let words: Vec<String> = profile.rows.iter().map(ProfileRow::known_in_words).collect();
        assert_eq!(words, ["measured, power unknown", "unknown, power assumed", "unknown"]);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let sorted = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(
            [0.0, 0.5, 0.9, 1.0].map(|share| nearest_rank(&sorted, share)),
            [1.0, 2.0, 4.0, 4.0].map(Some)
        );
        assert_eq!(nearest_rank(&[], 0.5), None);
    }
}
