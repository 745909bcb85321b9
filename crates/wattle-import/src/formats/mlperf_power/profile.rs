//! From results to profiles: one a model and framework, a row a system.

use std::collections::BTreeMap;

use wattle_core::operating_point::{Confidence, OperatingPoint, ProfileRow};
use wattle_core::profile::Profile;
use wattle_core::provenance::Basis;
use wattle_core::units::{Joules, Watts};

use super::files::SystemFacts;
use super::{Place, Run};
use crate::error::{Blame, ImportError};
use crate::imported::{HeadFacts, Imported, ImportedProfile, Rows, amount, slug};
use crate::oddity::Oddities;
use crate::options::Options;

/// The results of one model with one framework.
#[derive(Default)]
struct Group<'a> {
    runs: Vec<(&'a str, Run)>,
}

pub(super) fn profiles(
    runs: BTreeMap<Place, Run>,
    systems: &BTreeMap<String, SystemFacts>,
    options: &Options,
    oddities: &mut Oddities,
) -> Result<Imported, ImportError> {
    let runs = distinct(runs, oddities);
    let mut groups: BTreeMap<(&str, &str), Group<'_>> = BTreeMap::new();
    for ((system, model, _), run) in &runs {
        let framework = systems.get(system).and_then(|facts| facts.framework.as_deref());
        let group = groups.entry((model, framework.unwrap_or(system))).or_default();
        group.runs.push((system, run.clone()));
    }
    let mut imported = Imported::default();
    for ((model, framework), group) in groups {
        imported.profiles.push(profile(model, framework, group, systems, options, oddities));
    }
    if imported.profiles.is_empty() {
        let file = runs.first().map_or("the results", |(_, run)| run.file.as_str());
        let expected = "at least one valid single-stream result with power";
        return Err(Blame(file).file("none", expected, "give other results"));
    }
    Ok(imported)
}

/// The results that make rows: valid ones of a single stream with power, each once.
fn distinct(runs: BTreeMap<Place, Run>, oddities: &mut Oddities) -> Vec<(Place, Run)> {
    let mut kept: Vec<(Place, Run)> = Vec::new();
    for ((system, model, folder), run) in runs {
        let Some(summary) = &run.summary else {
            oddities.add_once(&run.file, "results without a summary", "left out");
            continue;
        };
        let reason = if !summary.valid {
            Some("results that the load generator calls invalid")
        } else if summary.scenario != "SingleStream" {
            Some("results of another scenario than SingleStream, whose batch size is unknown")
        } else if run.watts.is_none() {
            Some("results without spl.txt")
        } else {
            None
        };
        if let Some(reason) = reason {
            oddities.add_once(&run.file, reason, "left out");
            continue;
        }
        let twin = kept.iter().position(|((other_system, other_model, _), other)| {
            (other_system, other_model) == (&system, &model)
                && other.summary == run.summary
                && other.watts == run.watts
        });
        if let Some(twin) = twin {
            let what = "results that are a copy of those of another scenario's folder";
            oddities.add_once(&run.file, what, "counted once");
            // The copy whose folder is named after the scenario is the one to keep.
            if folder.eq_ignore_ascii_case("singlestream")
                && let Some(kept) = kept.get_mut(twin)
            {
                *kept = ((system, model, folder), run);
            }
            continue;
        }
        kept.push(((system, model, folder), run));
    }
    kept
}

fn profile(
    model: &str,
    framework: &str,
    group: Group<'_>,
    systems: &BTreeMap<String, SystemFacts>,
    options: &Options,
    oddities: &mut Oddities,
) -> ImportedProfile {
    let mut rows = Rows::default();
    let mut described = Vec::new();
    // Systems are variants of one model where there are several; else the variant is the model itself.
    let several = group.runs.len() > 1;
    for (system, run) in &group.runs {
        let variant = if several { *system } else { model };
        if let Some(row) = row(variant, run) {
            rows.add(row, &run.file, None, oddities);
        }
        let facts = systems.get(*system);
        let notes = facts.and_then(|facts| facts.notes.as_deref()).map(|notes| format!(" ({notes})"));
        described.push(format!("{system}{}", notes.unwrap_or_default()));
    }
    let accuracies: Vec<f64> = group.runs.iter().filter_map(|(_, run)| run.accuracy).collect();
    let quality = accuracies.first().copied().filter(|first| accuracies.iter().all(|one| one == first));
    let accuracy = match quality {
        Some(quality) => format!(" Accuracy {:.3} %.", quality * 100.0),
        None => " Accuracy unknown, or not the same for all rows.".to_owned(),
    };
    let facts = group.runs.first().and_then(|(system, _)| systems.get(*system));
    let notes = format!(
        "From MLPerf Inference, single stream, batch size 1. Power is at the wall, of the whole machine: mean, \
         95th percentile and highest of the middle two thirds of the meter's readings; energy_joules_per_row is \
         their mean over the rate with the load generator's overhead. samples is the fewest queries that a valid \
         run has.{accuracy} Systems: {}.",
        described.join(", ")
    );
    let known_framework = facts.and_then(|facts| facts.framework.as_deref());
    let system = group.runs.first().map(|(system, _)| *system);
    let head = HeadFacts {
        model,
        device: facts.and_then(|facts| facts.name.as_deref()).or(system),
        runtime: known_framework,
        idle_power_watts: None,
        request_overhead_ms: None,
        quality,
        power_source: "wall power meter, once a second (spl.txt)",
        notes,
    }
    .head(options);
    ImportedProfile {
        file_stem: slug(&format!("{model}-{framework}")),
        profile: Profile { head, rows: rows.rows },
    }
}

fn row(variant: &str, run: &Run) -> Option<ProfileRow> {
    let summary = run.summary.as_ref()?;
    let mut watts = middle_two_thirds(run.watts.as_deref()?).to_vec();
    let mean = amount(watts.iter().sum::<f64>() / watts.len() as f64)?;
    watts.sort_by(f64::total_cmp);
    let p95 = watts.get((watts.len() * 95).div_ceil(100).saturating_sub(1)).copied();
    Some(ProfileRow {
        point: OperatingPoint {
            variant: Some(variant.to_owned()),
            ..OperatingPoint::of_batch_and_instances(1, 1)
        },
        throughput_rps: amount(summary.qps),
        latency_ms_mean: summary.latency_ms_mean,
        latency_ms_p50: summary.latency_ms_p50,
        latency_ms_p95: summary.latency_ms_p95,
        latency_ms_p99: summary.latency_ms_p99,
        power_watts_mean: Some(Watts::new(mean)),
        power_watts_p95: p95.map(Watts::new),
        power_watts_max: watts.last().copied().map(Watts::new),
        energy_joules_per_row: amount(mean / summary.qps).map(Joules::new),
        memory_bytes: None,
        basis: Basis::Measured,
        power_basis: Basis::Measured,
        samples: summary.least_queries.unwrap_or(1),
        confidence: Confidence::default(),
    })
}

/// The readings without the first and the last sixth, in which the run starts and ends.
fn middle_two_thirds(watts: &[f64]) -> &[f64] {
    let sixth = watts.len() / 6;
    watts.get(sixth..watts.len() - sixth).unwrap_or(watts)
}
