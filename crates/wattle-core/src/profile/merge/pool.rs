//! Pools what several measurements saw at one operating point.

use crate::operating_point::{Confidence, ProfileRow};
use crate::provenance::Basis;
use crate::units::{Joules, Watts};

/// One figure of one row: its value, its weight and half the width of its confidence interval.
#[derive(Clone, Copy)]
struct Seen {
    value: f64,
    weight: f64,
    half_width: Option<f64>,
}

/// The row of all of `rows`, which are of one point, and whether some figures gave way to better known
/// ones. `None` when there is no row.
///
/// Time figures come from the rows of the best basis that tell any, power figures likewise: what was
/// measured is never blurred by what was modelled or assumed.
pub(super) fn pooled(rows: &[&ProfileRow]) -> Option<(ProfileRow, bool)> {
    if let [only] = rows {
        return Some(((*only).clone(), false));
    }
    let (basis, timed) = best_known(rows, |row| row.basis, ProfileRow::time_known)?;
    let (power_basis, powered) = best_known(rows, |row| row.power_basis, ProfileRow::power_known)?;
    let is_outranked = rows.iter().any(|row| {
        let outranked = |kept: &[&ProfileRow]| !kept.iter().any(|kept| std::ptr::eq(*kept, *row));
        (row.time_known().is_some() && outranked(&timed))
            || (row.power_known().is_some() && outranked(&powered))
    });
    let by_time = weights(&timed, false);
    let by_batches: Vec<f64> = or_equal(timed.iter().map(|row| Some(f64::from(row.samples))).collect());
    let by_power = weights(&powered, true);
    let unsure = |_: &ProfileRow| None;
    let time = |of: fn(&ProfileRow) -> Option<f64>| mean(&seen(&timed, &by_batches, of, unsure));
    let watts = |power: Option<Watts>| power.map(Watts::get);
    let throughputs =
        seen(&timed, &by_time, |row| row.throughput_rps, |row| row.confidence.throughput_rps_ci95);
    let powers = seen(
        &powered,
        &by_power,
        |row| watts(row.power_watts_mean),
        |row| watts(row.confidence.power_watts_ci95),
    );
    let powers_p95 = seen(&powered, &by_power, |row| watts(row.power_watts_p95), unsure);

    // Energy over rows: weighted by rows answered where they are known, so that it stays power over
    // throughput.
    let by_rows: Option<Vec<f64>> =
        powered.iter().zip(&by_power).map(|(row, weight)| Some(row.throughput_rps? * weight)).collect();
    let by_rows =
        by_rows.filter(|weights| weights.iter().all(|weight| *weight > 0.0)).unwrap_or(by_power.clone());
    let energies = seen(&powered, &by_rows, |row| row.energy_joules_per_row.map(Joules::get), unsure);
    let row = ProfileRow {
        point: rows.first()?.point.clone(),
        throughput_rps: mean(&throughputs),
        latency_ms_mean: time(|row| row.latency_ms_mean),
        // A percentile of all lies between the lowest and the highest of the parts, and so does this.
        latency_ms_p50: time(|row| row.latency_ms_p50),
        latency_ms_p95: time(|row| row.latency_ms_p95),
        latency_ms_p99: time(|row| row.latency_ms_p99),
        power_watts_mean: mean(&powers).map(Watts::new),
        power_watts_p95: mean(&powers_p95).map(Watts::new),
        power_watts_max: powered.iter().filter_map(|row| row.power_watts_max).reduce(Watts::max),
        energy_joules_per_row: mean(&energies).map(Joules::new),
        memory_bytes: rows.iter().filter_map(|row| row.memory_bytes).max(),
        basis,
        power_basis,
        samples: timed.iter().fold(0, |sum, row| row.samples.saturating_add(sum)),
        confidence: Confidence {
            windows: total(&timed, |row| row.confidence.windows),
            throughput_rps_ci95: half_width(&throughputs),
            power_watts_ci95: half_width(&powers).map(Watts::new),
            power_samples: total(&powered, |row| row.confidence.power_samples),
        },
    };
    Some((row, is_outranked))
}

/// The best basis among the rows that tell anything, and the rows of it. All rows where none does.
fn best_known<'a>(
    rows: &[&'a ProfileRow],
    basis: fn(&ProfileRow) -> Basis,
    known: fn(&ProfileRow) -> Option<Basis>,
) -> Option<(Basis, Vec<&'a ProfileRow>)> {
    let telling: Vec<&ProfileRow> = rows.iter().copied().filter(|row| known(row).is_some()).collect();
    let among = if telling.is_empty() { rows.to_vec() } else { telling };
    let best = among.iter().map(|row| basis(row)).min()?;
    Some((best, among.into_iter().filter(|row| basis(row) == best).collect()))
}

/// How much each row counts: by its power samples (for power) or windows where every row tells them, else
/// by its batches, else all the same.
fn weights(rows: &[&ProfileRow], is_power: bool) -> Vec<f64> {
    let power_samples = |row: &&ProfileRow| row.confidence.power_samples.filter(|_| is_power).map(f64::from);
    let windows = |row: &&ProfileRow| row.confidence.windows.map(f64::from);
    let is_known = |weights: &[Option<f64>]| weights.iter().all(|weight| weight.is_some_and(|one| one > 0.0));
    let by_power: Vec<_> = rows.iter().map(power_samples).collect();
    if is_known(&by_power) {
        return or_equal(by_power);
    }
    let by_windows: Vec<_> = rows.iter().map(windows).collect();
    if is_known(&by_windows) {
        return or_equal(by_windows);
    }
    or_equal(rows.iter().map(|row| Some(f64::from(row.samples))).collect())
}

/// The weights, or all the same where one is unknown or 0.
fn or_equal(weights: Vec<Option<f64>>) -> Vec<f64> {
    let known: Option<Vec<f64>> = weights.iter().copied().collect();
    let known = known.filter(|weights| weights.iter().all(|weight| *weight > 0.0));
    known.unwrap_or_else(|| vec![1.0; weights.len()])
}

/// A figure of the rows that tell it, with half the width of its confidence interval.
fn seen(
    rows: &[&ProfileRow],
    weights: &[f64],
    of: impl Fn(&ProfileRow) -> Option<f64>,
    half_width: impl Fn(&ProfileRow) -> Option<f64>,
) -> Vec<Seen> {
    let one = |(row, weight): (&&ProfileRow, &f64)| {
        Some(Seen { value: of(row)?, weight: *weight, half_width: half_width(row) })
    };
    let mut seen: Vec<Seen> = rows.iter().zip(weights).filter_map(one).collect();
    // Whatever the order of the rows, the sums are the same to the last digit.
    seen.sort_by(|a, b| {
        let width = |seen: &Seen| seen.half_width.unwrap_or(-1.0);
        let by_weight = || a.weight.total_cmp(&b.weight);
        a.value.total_cmp(&b.value).then_with(by_weight).then_with(|| width(a).total_cmp(&width(b)))
    });
    seen
}

/// The weighted mean, which is exact where all values are one. `None` of none.
fn mean(seen: &[Seen]) -> Option<f64> {
    let (least, most) = (seen.first()?.value, seen.last()?.value);
    let total: f64 = seen.iter().map(|one| one.weight).sum();
    // Divided first: the sum of large values may be infinite.
    let mean: f64 = seen.iter().map(|one| one.value * (one.weight / total)).sum();
    Some(mean.clamp(least, most))
}

/// Half the width of the pooled interval: what chance leaves of the mean, and no less than reaches to the
/// farthest of the means pooled. `None` where any of them doesn't tell its own, and of none.
fn half_width(seen: &[Seen]) -> Option<f64> {
    let mean = mean(seen)?;
    let total: f64 = seen.iter().map(|one| one.weight).sum();
    let (mut by_chance, mut farthest) = (0.0f64, 0.0f64);
    for one in seen {
        by_chance = by_chance.hypot(one.half_width? * (one.weight / total));
        farthest = farthest.max((one.value - mean).abs());
    }
    Some(by_chance.hypot(farthest))
}

/// The sum of counts that every row tells.
fn total(rows: &[&ProfileRow], of: fn(&ProfileRow) -> Option<u32>) -> Option<u32> {
    rows.iter().map(|row| of(row)).try_fold(0u32, |sum, count| Some(sum.saturating_add(count?)))
}
