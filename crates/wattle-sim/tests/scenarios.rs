//! Every scenario that comes with Wattle gives the figures that are kept beside it.
//!
//! A change of these figures is a change of what policies or simulator do. Where it is meant, write them
//! anew with `WATTLE_UPDATE_SNAPSHOTS=1 cargo test --release -p wattle-sim --test scenarios` and look at
//! what changed.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wattle_sim::experiment::{Experiment, Overrides};
use wattle_sim::scenario::Loaded;
use wattle_sim::summary::Summary;

/// Libraries of other systems may round the last digits of a logarithm otherwise.
const RELATIVE_TOLERANCE: f64 = 1e-6;

type Figures = BTreeMap<String, Option<f64>>;

fn scenarios(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            scenarios(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
}

fn figures(summary: &Summary) -> Figures {
    let known = |value: f64| Some(value);
    [
        ("requests_total", known(summary.requests_total as f64)),
        ("requests_completed", known(summary.requests_completed as f64)),
        ("requests_rejected", known(summary.requests_rejected as f64)),
        ("throughput_rps_mean", known(summary.throughput_rps_mean)),
        ("latency_ms_mean", summary.latency_ms_mean),
        ("latency_ms_p99", summary.latency_ms_p99),
        ("power_watts_mean", known(summary.power_watts_mean)),
        ("power_watts_max", known(summary.power_watts_max)),
        ("cap_violation_joules", known(summary.cap_violation_joules)),
        ("parked_seconds", known(summary.parked_seconds)),
        ("carbon_grams", summary.carbon_grams),
        ("quality_mean", summary.quality_mean),
        ("decisions_turned", known(summary.decisions_turned as f64)),
        ("oracle_ratio", summary.oracle.as_ref().and_then(|oracle| oracle.ratio)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn run(path: &Path) -> BTreeMap<String, Figures> {
    let loaded = Loaded::read(path).unwrap_or_else(|error| panic!("{error}"));
    let experiment = Experiment::new(loaded, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
    let outcomes = experiment.run(2, &|_| ()).unwrap_or_else(|error| panic!("{error}"));
    let mut all = BTreeMap::new();
    for outcome in outcomes {
        let of = &outcome.summary;
        let at = format!("{}: {} seed {}", path.display(), of.label, of.seed);
        assert_eq!(of.checks.requests_lost.unwrap_or(0), 0, "{at}");
        assert_eq!(of.checks.requests_lost.is_none(), of.level == "epoch", "{at}");
        assert_eq!(of.decisions_failed, 0, "{at}");
        let unaccounted = of.checks.energy_unaccounted_joules.abs();
        assert!(unaccounted <= 1e-6 * of.energy_joules.max(1.0), "{at}: {unaccounted} J");
        if let (Some(there), Some(by_arrivals)) = (of.checks.in_system_mean, of.checks.arrivals_times_latency)
        {
            assert!((there - by_arrivals).abs() <= 1e-6 * there.max(1.0), "{at}: {there} and {by_arrivals}");
        }
        all.insert(format!("{} seed {}", of.label, of.seed), figures(of));
    }
    all
}

fn is_near(found: Option<f64>, kept: Option<f64>) -> bool {
    match (found, kept) {
        (Some(found), Some(kept)) => (found - kept).abs() <= RELATIVE_TOLERANCE * kept.abs().max(1e-6),
        (found, kept) => found.is_none() && kept.is_none(),
    }
}

#[test]
fn every_scenario_gives_the_figures_kept_beside_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut paths = Vec::new();
    scenarios(&folder, &mut paths);
    paths.sort();
    assert!(!paths.is_empty());
    let update = std::env::var_os("WATTLE_UPDATE_SNAPSHOTS").is_some();
    let mut differ = Vec::new();
    for path in &paths {
        let found = run(path);
        let kept_path = path.with_extension("expected.json");
        if update {
            std::fs::write(&kept_path, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
            continue;
        }
        let kept = std::fs::read_to_string(&kept_path)
            .unwrap_or_else(|error| panic!("{}: {error}; see the head of this test", kept_path.display()));
        let kept: BTreeMap<String, Figures> = serde_json::from_str(&kept).unwrap();
        assert!(found.keys().eq(kept.keys()), "{}: other runs than are kept", path.display());
        for (run, figures) in &found {
            for (name, value) in figures {
                let kept = kept[run].get(name).copied().flatten();
                if !is_near(*value, kept) {
                    differ.push(format!("{}: {run}: {name} is {value:?}, kept is {kept:?}", path.display()));
                }
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
