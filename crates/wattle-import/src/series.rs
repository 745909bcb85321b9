//! Values at times, made fit for a trace: in order, each time once, gaps told and filled.

use std::collections::BTreeMap;

use crate::clock::text_of;
use crate::error::{Blame, ImportError};
use crate::oddity::Oddities;
use crate::options::Gaps;

/// Longest stretch without values that is filled unasked.
const LONGEST_FILLED_MILLIS: i64 = 3 * 3_600_000;
/// Most values that one gap is filled with: a wrong year must not fill the memory.
const MOST_FILLED: i64 = 200_000;

/// A value and the line it stands on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Milliseconds since 1970, universal time.
    pub(crate) millis: i64,
    pub(crate) value: f64,
    pub(crate) line: u64,
}

/// Puts `samples` in order and fills their gaps, as `gaps` says, on the grid of their most common step.
///
/// Of values at one time that differ, the mean is taken. Stretches of up to 3 hours without values are
/// filled on a straight line; longer ones are an error unless `gaps` says what to do.
pub(crate) fn regular(
    mut samples: Vec<Sample>,
    blame: Blame<'_>,
    gaps: Option<Gaps>,
    oddities: &mut Oddities,
) -> Result<Vec<Sample>, ImportError> {
    let unordered = samples.windows(2).filter(|pair| pair[1].millis < pair[0].millis);
    let (count, line) =
        unordered.fold((0, None), |(count, first), pair| (count + 1, first.or(Some(pair[1].line))));
    oddities.add_many(blame.0, "rows before the one above them in time", count, line, "sorted");
    samples.sort_by_key(|sample| sample.millis);
    let samples = merge_duplicates(samples, blame, oddities);
    fill_gaps(samples, blame, gaps, oddities)
}

fn merge_duplicates(samples: Vec<Sample>, blame: Blame<'_>, oddities: &mut Oddities) -> Vec<Sample> {
    let mut merged: Vec<Sample> = Vec::with_capacity(samples.len());
    for same_time in samples.chunk_by(|a, b| a.millis == b.millis) {
        let [first, others @ ..] = same_time else { continue };
        let count = others.len() as u64;
        let line = others.first().map(|other| other.line);
        if others.iter().all(|other| other.value == first.value) {
            oddities.add_many(blame.0, "times given again with the same value", count, line, "dropped");
            merged.push(*first);
        } else {
            let done = "their mean taken (local time? then name its zone with --time-zone)";
            oddities.add_many(blame.0, "times given again with another value", count, line, done);
            // Divided before the sum: two huge values have a mean too.
            let value = same_time.iter().map(|sample| sample.value / same_time.len() as f64).sum();
            merged.push(Sample { value, ..*first });
        }
    }
    merged
}

/// The most common step between samples; of equals the shortest.
fn step_of(samples: &[Sample]) -> Option<i64> {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for pair in samples.windows(2) {
        *counts.entry(pair[1].millis - pair[0].millis).or_default() += 1;
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(step, _)| step)
}

fn fill_gaps(
    samples: Vec<Sample>,
    blame: Blame<'_>,
    gaps: Option<Gaps>,
    oddities: &mut Oddities,
) -> Result<Vec<Sample>, ImportError> {
    let Some(step) = step_of(&samples).filter(|step| *step > 0) else { return Ok(samples) };
    let mut filled: Vec<Sample> = Vec::with_capacity(samples.len());
    for sample in samples {
        let Some(before) = filled.last().copied() else {
            filled.push(sample);
            continue;
        };
        let missing = (sample.millis - before.millis - 1) / step;
        if missing > 0 {
            let short = sample.millis - before.millis - step <= LONGEST_FILLED_MILLIS;
            let many = u64::try_from(missing).unwrap_or(0);
            match gaps {
                Some(Gaps::Hold) => {
                    let done = "the value before the gap holds";
                    oddities.add_many(blame.0, "missing times", many, Some(sample.line), done);
                }
                Some(Gaps::Interpolate) if missing <= MOST_FILLED => {
                    fill(&mut filled, before, sample, step, missing);
                    let done = "filled on a straight line";
                    oddities.add_many(blame.0, "missing times", many, Some(sample.line), done);
                }
                None if short && missing <= MOST_FILLED => {
                    fill(&mut filled, before, sample, step, missing);
                    let done = "filled on a straight line";
                    oddities.add_many(blame.0, "missing times", many, Some(sample.line), done);
                }
                _ => return Err(too_long(blame, before, sample, missing)),
            }
        }
        filled.push(sample);
    }
    Ok(filled)
}

/// Adds the `missing` samples between `before` and `after`.
fn fill(filled: &mut Vec<Sample>, before: Sample, after: Sample, step: i64, missing: i64) {
    let length = (after.millis - before.millis) as f64;
    for index in 1..=missing {
        let millis = before.millis + index * step;
        let share = (millis - before.millis) as f64 / length;
        let value = before.value * (1.0 - share) + after.value * share;
        filled.push(Sample { millis, value, line: after.line });
    }
}

fn too_long(blame: Blame<'_>, before: Sample, after: Sample, missing: i64) -> ImportError {
    blame.at(
        Some(after.line),
        None,
        format!(
            "no value between {} and {} ({missing} missing)",
            text_of(before.millis),
            text_of(after.millis)
        ),
        "no gap of more than 3 hours",
        if missing <= MOST_FILLED {
            "say what to do with gaps: --gaps hold or --gaps interpolate"
        } else {
            "correct the time, or say --gaps hold"
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn samples(of: &[(i64, f64)]) -> Vec<Sample> {
        of.iter()
            .enumerate()
            .map(|(index, (hour, value))| Sample {
                millis: hour * HOUR,
                value: *value,
                line: index as u64 + 2,
            })
            .collect()
    }

    fn hours(of: &[Sample]) -> Vec<(i64, f64)> {
        of.iter().map(|sample| (sample.millis / HOUR, sample.value)).collect()
    }

    type Made = Result<Vec<(i64, f64)>, ImportError>;

    fn run(of: &[(i64, f64)], gaps: Option<Gaps>) -> (Made, Vec<(String, u64)>) {
        let mut oddities = Oddities::default();
        let made = regular(samples(of), Blame("f"), gaps, &mut oddities).map(|made| hours(&made));
        (made, oddities.into_vec().into_iter().map(|oddity| (oddity.done, oddity.count)).collect())
    }

    #[test]
    fn three_missing_hours_are_filled_on_a_line_and_counted() {
        let (made, odd) = run(&[(0, 10.0), (1, 20.0), (2, 30.0), (6, 70.0)], None);
        let expected = [(0, 10.0), (1, 20.0), (2, 30.0), (3, 40.0), (4, 50.0), (5, 60.0), (6, 70.0)];
        assert_eq!(made.unwrap(), expected);
        assert_eq!(odd, [("filled on a straight line".to_owned(), 3)]);
    }

    #[test]
    fn four_missing_hours_are_an_error_until_told_what_to_do() {
        let with_gap = [(0, 10.0), (1, 20.0), (2, 30.0), (7, 80.0)];
        let error = run(&with_gap, None).0.unwrap_err();
        assert_eq!(error.line, Some(5));
        assert!(error.help.contains("--gaps"), "{error}");
        assert_eq!(run(&with_gap, Some(Gaps::Interpolate)).0.unwrap().len(), 8);
        let (held, odd) = run(&with_gap, Some(Gaps::Hold));
        assert_eq!(held.unwrap().len(), 4);
        assert_eq!(odd, [("the value before the gap holds".to_owned(), 4)]);
    }

    #[test]
    fn equal_duplicates_are_dropped_and_different_ones_averaged() {
        let (made, odd) = run(&[(0, 10.0), (1, 20.0), (1, 20.0), (2, 30.0), (2, 50.0)], None);
        assert_eq!(made.unwrap(), [(0, 10.0), (1, 20.0), (2, 40.0)]);
        assert_eq!(odd.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn rows_out_of_order_are_sorted_and_counted() {
        let (made, odd) = run(&[(1, 20.0), (0, 10.0), (2, 30.0)], None);
        assert_eq!(made.unwrap(), [(0, 10.0), (1, 20.0), (2, 30.0)]);
        assert_eq!(odd, [("sorted".to_owned(), 1)]);
    }

    #[test]
    fn a_wrong_century_does_not_fill_the_memory() {
        let error =
            run(&[(0, 1.0), (1, 1.0), (2, 1.0), (50_000_000, 1.0)], Some(Gaps::Interpolate)).0.unwrap_err();
        assert!(error.help.contains("correct the time"), "{error}");
    }
}
