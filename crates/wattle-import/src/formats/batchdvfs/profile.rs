//! What a step log says of operating points, and of the cap over time.

use std::collections::BTreeMap;

use wattle_core::operating_point::{Confidence, OperatingPoint, ProfileRow};
use wattle_core::profile::Profile;
use wattle_core::provenance::Basis;
use wattle_core::units::{Megahertz, Watts};

use super::step_log::{Step, StepLog};
use crate::error::{Blame, ImportError};
use crate::imported::{HeadFacts, ImportedProfile, ImportedSignal, amount, base_name, slug, stem_of};
use crate::oddity::Oddities;
use crate::options::Options;

/// One row a batch size and clock. The first step after a change of the batch size is left out: the
/// framework sets itself up for the new size, and takes up to three times as long (at the start far longer).
/// `None` when there is no other step.
pub(super) fn profile(
    log: &StepLog,
    file: &str,
    options: &Options,
    oddities: &mut Oddities,
) -> Option<ImportedProfile> {
    let mut points: BTreeMap<(u32, u64), Vec<Step>> = BTreeMap::new();
    let mut firsts: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    let point_of = |step: &Step| (step.batch_size, step.core_clock_mhz.to_bits());
    let mut batch_before = None;
    for step in &log.steps {
        if batch_before == Some(step.batch_size) {
            points.entry(point_of(step)).or_default().push(*step);
        } else {
            firsts.entry(point_of(step)).or_insert(step.line);
            let what = "first steps after a change of the batch size, which set up the framework";
            oddities.add(file, what, Some(step.line), "left out of the profile");
        }
        batch_before = Some(step.batch_size);
    }
    for (_, line) in firsts.iter().filter(|(point, _)| !points.contains_key(point)) {
        let what = "operating points that were run for such a first step only";
        oddities.add(file, what, Some(*line), "left unknown");
    }
    let rows: Vec<ProfileRow> = points.values().filter_map(|steps| row(steps)).collect();
    if rows.is_empty() {
        return None;
    }
    let head = HeadFacts {
        model: stem_of(file),
        device: None,
        runtime: None,
        idle_power_watts: None,
        request_overhead_ms: None,
        quality: None,
        power_source: "nvidia-smi power.draw: in each step the largest reading since the controller's last \
                       decision",
        notes: "From a BatchDVFS step log. Throughput is rows over the time their steps took, from file to \
                answer: decoding on the host counts. power_watts_mean and _p95 are those of the steps' largest \
                readings, so the mean over all time is lower. samples is the number of steps."
            .to_owned(),
    }
    .head(options);
    Some(ImportedProfile { file_stem: slug(stem_of(file)), profile: Profile { head, rows } })
}

/// The row of `steps`, which are all of one point.
fn row(steps: &[Step]) -> Option<ProfileRow> {
    let first = steps.first()?;
    let count = steps.len() as f64;
    let seconds: f64 = steps.iter().map(Step::duration_seconds).sum();
    let mut powers: Vec<f64> = steps.iter().map(|step| step.power_watts).collect();
    powers.sort_by(f64::total_cmp);
    let p95 = powers.get((powers.len() * 95).div_ceil(100).saturating_sub(1));
    Some(ProfileRow {
        point: OperatingPoint {
            core_clock_mhz: Some(Megahertz::new(first.core_clock_mhz)),
            ..OperatingPoint::of_batch_and_instances(first.batch_size, 1)
        },
        throughput_rps: amount(f64::from(first.batch_size) * count / seconds),
        latency_ms_mean: amount(seconds / count * 1e3),
        latency_ms_p50: None,
        latency_ms_p95: None,
        latency_ms_p99: None,
        power_watts_mean: amount(powers.iter().sum::<f64>() / count).map(Watts::new),
        power_watts_p95: p95.copied().map(Watts::new),
        power_watts_max: powers.last().copied().map(Watts::new),
        energy_joules_per_row: None,
        memory_bytes: None,
        basis: Basis::Measured,
        power_basis: Basis::Measured,
        samples: u32::try_from(steps.len()).unwrap_or(u32::MAX),
        confidence: Confidence::default(),
    })
}

/// The cap over time: a value where it changes, and one at the end of the log.
pub(super) fn cap_signal(log: &StepLog, file: &str) -> Result<ImportedSignal, ImportError> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let start = log.steps.first().map_or(0.0, |step| step.seconds);
    // Written when its batch is done, a step's cap has held since the step before was done.
    let mut since = start;
    let mut add = |at: f64, cap: f64| {
        let at = ((at - start) * 1e3).round() / 1e3;
        if points.last().is_none_or(|(before, _)| at > *before) {
            points.push((at, cap));
        }
    };
    let mut cap_before = None;
    for step in &log.steps {
        if cap_before != Some(step.power_cap_watts) {
            add(since, step.power_cap_watts);
            cap_before = Some(step.power_cap_watts);
        }
        since = since.max(step.seconds);
    }
    add(since, cap_before.unwrap_or_default());
    if points.iter().any(|(at, cap)| amount(*at).is_none() || amount(*cap).is_none()) {
        return Err(Blame(file).file("times that can't be told", "seconds since 1970", "correct the times"));
    }
    let comments = vec![
        "power cap in watts, as the controller logged it".to_owned(),
        format!("source: {}", base_name(file)),
        format!("start: {start} seconds after 1970-01-01T00:00:00Z, the end of the first step"),
        "made: the column power cap where it changes, from the end of the step before".to_owned(),
    ];
    let file_stem = slug(&format!("{}-power-cap", stem_of(file)));
    Ok(ImportedSignal { file_stem, column: "power_cap_watts", comments, points })
}
