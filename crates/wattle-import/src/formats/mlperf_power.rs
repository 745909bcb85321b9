//! Result folders of MLPerf Inference with power: what the load generator and the wall meter wrote.
//!
//! Files are told apart by their places: `…/SYSTEM/MODEL/SCENARIO/performance/run_N/spl.txt` and
//! `mlperf_log_summary.txt`, `…/SYSTEM/MODEL/SCENARIO/accuracy/accuracy.txt`, `systems/SYSTEM.json`. Energy
//! per inference is the mean of the middle two thirds of the meter's readings over the rate of inferences.

mod files;
mod profile;

use std::collections::BTreeMap;

use crate::archive::Unpacked;
use crate::error::{Blame, ImportError};
use crate::imported::Imported;
use crate::oddity::Oddities;
use crate::options::Options;
use files::{Summary, SystemFacts};

const WHAT: &str = "an MLPerf result folder: SYSTEM/MODEL/SCENARIO/performance/run_1/mlperf_log_summary.txt with \
                    spl.txt beside it, and accuracy/accuracy.txt";

/// Where a result belongs: system, model, scenario.
type Place = (String, String, String);

/// What is known of one result.
#[derive(Debug, Clone, Default, PartialEq)]
struct Run {
    file: String,
    summary: Option<Summary>,
    watts: Option<Vec<f64>>,
    /// Share of right answers.
    accuracy: Option<f64>,
}

pub(crate) fn import(
    inputs: &[Unpacked<'_>],
    options: &Options,
    oddities: &mut Oddities,
) -> Result<Imported, ImportError> {
    let mut runs: BTreeMap<Place, Run> = BTreeMap::new();
    let mut systems: BTreeMap<String, SystemFacts> = BTreeMap::new();
    let mut others = 0;
    super::each(inputs, oddities, |input, oddities| {
        let name = input.name.replace('\\', "/");
        let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
        let blame = Blame(&input.name);
        match parts[..] {
            [
                ..,
                system,
                model,
                scenario,
                "performance",
                run,
                kind @ ("spl.txt" | "mlperf_log_summary.txt"),
            ] => {
                if !matches!(run, "run_1") {
                    oddities.add_once(blame.0, "files of a later run", "left out; the first run counts");
                    return Ok(());
                }
                let entry = entry(&mut runs, system, model, scenario, &input.name);
                if kind == "spl.txt" {
                    entry.watts = Some(files::wall_power(input.text()?, blame, oddities)?);
                } else {
                    entry.file.clone_from(&input.name);
                    entry.summary = Some(files::summary(input.text()?, blame)?);
                }
            }
            [.., system, model, scenario, "accuracy", "accuracy.txt"] => {
                let accuracy = files::accuracy(input.text()?, blame)?;
                entry(&mut runs, system, model, scenario, &input.name).accuracy = Some(accuracy);
            }
            [.., "systems", system] if system.ends_with(".json") => {
                let facts = files::system(input.text()?, blame)?;
                systems.insert(system.trim_end_matches(".json").to_owned(), facts);
            }
            _ => others += 1,
        }
        Ok(())
    })?;
    let first = inputs.first().map_or("", |input| input.input.name.as_str());
    if runs.values().all(|run| run.summary.is_none()) {
        let help = "give the folder that holds the folders of the systems, and the folder systems beside it";
        return Err(Blame(first).file("no mlperf_log_summary.txt in its place", WHAT, help));
    }
    oddities.add_many(first, "files that are no part of a result", others, None, "left out");
    profile::profiles(runs, &systems, options, oddities)
}

fn entry<'r>(
    runs: &'r mut BTreeMap<Place, Run>,
    system: &str,
    model: &str,
    scenario: &str,
    file: &str,
) -> &'r mut Run {
    let place = (system.to_owned(), model.to_owned(), scenario.to_owned());
    runs.entry(place).or_insert_with(|| Run { file: file.to_owned(), ..Run::default() })
}
