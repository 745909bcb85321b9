//! What windows of time say together: whether they agree, their mean and how sure it is. Pure.

use wattle_core::profile::nearest_rank;

/// Two-sided 95 % quantiles of Student's t, by degrees of freedom from 1 on.
const T95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// Two-sided 95 % quantile of the normal distribution, which Student's t comes near with many windows.
const Z95: f64 = 1.960;

/// Half the width of the 95 % confidence interval of the mean of `values`, which are taken to be
/// independent and normal (Student's t). `None` for fewer than two: one value says nothing of its spread.
pub fn confidence_95(values: &[f64]) -> Option<f64> {
    let freedom = values.len().checked_sub(1).filter(|freedom| *freedom > 0)?;
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (squares / freedom as f64).sqrt();
    let t = T95.get(freedom - 1).copied().unwrap_or(Z95);
    Some(t * deviation / (values.len() as f64).sqrt())
}

/// The mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The value that a share of `values` is not above (nearest rank); `None` of nothing.
pub fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    nearest_rank(&sorted, share)
}

/// Whether `values` lie within `band` of each other, as a share of their mean.
pub fn agree(values: &[f64], band: f64) -> bool {
    let Some(mean) = mean(values) else { return false };
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    high - low <= band * mean.abs()
}

/// What one window showed, for the question whether more are needed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowFigures {
    /// Rows answered per second.
    pub throughput_rps: f64,
    /// Mean power in watts, where it is known.
    pub power_watts: Option<f64>,
    /// Temperature of the device at the end, in degrees Celsius, where it tells one.
    pub temperature_celsius: Option<f64>,
}

/// When windows count as steady.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SteadyRule {
    /// So many windows, one after another, have to agree.
    pub windows: usize,
    /// How far apart they may be in throughput and in power, as a share of their mean.
    pub band: f64,
    /// How far apart their temperatures may be, in degrees Celsius: hot silicon draws more.
    pub drift_celsius: f64,
}

impl SteadyRule {
    /// Whether the last windows agree in all that each of them tells.
    pub fn is_met(&self, windows: &[WindowFigures]) -> bool {
        let Some(first) = windows.len().checked_sub(self.windows.max(1)) else { return false };
        let last = windows.get(first..).unwrap_or_default();
        let throughput: Vec<f64> = last.iter().map(|window| window.throughput_rps).collect();
        let power: Vec<f64> = last.iter().filter_map(|window| window.power_watts).collect();
        let heat: Vec<f64> = last.iter().filter_map(|window| window.temperature_celsius).collect();
        let coldest = heat.iter().copied().fold(f64::INFINITY, f64::min);
        agree(&throughput, self.band)
            && (power.is_empty() || agree(&power, self.band))
            && heat.iter().all(|heat| heat - coldest <= self.drift_celsius)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_confidence_interval_is_that_of_students_t() {
        // Mean 10, standard deviation 1: t of 2 degrees is 4.303, so 4.303 / sqrt(3).
        let half = confidence_95(&[9.0, 10.0, 11.0]).unwrap();
        assert!((half - 2.484).abs() < 1e-3, "{half}");
        assert_eq!(confidence_95(&[5.0, 5.0, 5.0, 5.0]), Some(0.0));
        assert_eq!(confidence_95(&[5.0]), None, "one window says nothing of the spread");
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), Some(50.0));
        assert_eq!(percentile(&values, 0.99), Some(99.0));
        assert_eq!(percentile(&[3.0], 0.99), Some(3.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn windows_are_steady_when_the_last_ones_agree_in_throughput_power_and_heat() {
        let rule = SteadyRule { windows: 3, band: 0.05, drift_celsius: 1.0 };
        let window = |throughput_rps, power_watts, temperature_celsius| WindowFigures {
            throughput_rps,
            power_watts,
            temperature_celsius,
        };
        let warming = [50.0, 100.0, 101.0, 99.0].map(|rps| window(rps, Some(20.0), None));
        assert!(!rule.is_met(&warming[..3]), "the first is far off");
        assert!(rule.is_met(&warming));
        assert!(!rule.is_met(&warming[1..3]), "two are too few");
        let hungrier = [20.0, 21.0, 22.0].map(|watts| window(100.0, Some(watts), None));
        assert!(!rule.is_met(&hungrier));
        let hotter = [60.0, 61.0, 62.0].map(|heat| window(100.0, None, Some(heat)));
        assert!(!rule.is_met(&hotter));
        let told_by_none = [100.0; 3].map(|rps| window(rps, None, None));
        assert!(rule.is_met(&told_by_none), "what no window tells is not waited for");
    }

    proptest! {
        #[test]
        fn agreement_does_not_depend_on_the_unit(
            values in proptest::collection::vec(1.0..1e3f64, 1..8), scale in 0.01..100.0f64,
        ) {
            let spread = values.iter().copied().fold(0.0, f64::max)
                - values.iter().copied().fold(f64::INFINITY, f64::min);
            // Not at the very edge of the band, where rounding decides.
            let band = spread / mean(&values).unwrap();
            let scaled: Vec<f64> = values.iter().map(|value| value * scale).collect();
            for band in [band * 1.01 + 1e-9, band * 0.99 - 1e-9] {
                prop_assert_eq!(agree(&values, band), agree(&scaled, band));
            }
        }

        #[test]
        fn a_percentile_lies_between_the_ends(
            values in proptest::collection::vec(-1e3..1e3f64, 1..50), share in 0.0..1.0f64,
        ) {
            let found = percentile(&values, share).unwrap();
            prop_assert!(values.contains(&found));
            let below = values.iter().filter(|value| **value <= found).count() as f64;
            prop_assert!(below >= share * values.len() as f64 - 1e-9);
        }
    }
}
