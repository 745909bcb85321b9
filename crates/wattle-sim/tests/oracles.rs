//! Oracles are bounds: no policy of their family is above them.

#![allow(clippy::unwrap_used, reason = "a test that can't read its own scenario has failed")]

use std::path::Path;

use wattle_sim::experiment::{Experiment, Overrides};
use wattle_sim::scenario::Loaded;

#[test]
fn no_search_is_above_the_oracle_of_its_family_though_maximum_and_mean_power_differ() {
    let scenario = r#"
        span_seconds = 20
        [power_cap]
        constant = 90
        [[devices]]
        name = "gpu"
        spec = "nvidia-p40"
        [[models]]
        name = "mobilenet_v2"
        network = "mobilenet_v2"
        batch_size = 1
        grid.batch_sizes = [1, 2, 4, 8, 16]
        grid.instances = [1]
        grid.clocks = [544, 1063, 1531]
        [models.workload]
        kind = "saturated"
        [[policies]]
        name = "batch-sizer"
        [[policies]]
        name = "dvfs"
    "#;
    let loaded = Loaded::parse(scenario, "oracles", Path::new("")).unwrap();
    let outcomes = Experiment::new(loaded, &Overrides::default()).unwrap().run(2, &|_| ()).unwrap();
    for outcome in outcomes {
        let ratio = outcome.summary.oracle.unwrap().ratio.unwrap();
        assert!(ratio > 0.1 && ratio <= 1.001, "{}: {ratio}", outcome.summary.label);
    }
}

/// Two variants of one family that `workload` asks, and `rest`.
fn family(level: &str, workload: &str, rest: &str) -> String {
    let model = |name: &str, ms: u32, quality: f64| {
        format!(
            "[[models]]\nname = \"{name}\"\nidle_power_watts = 20\nquality = {quality}\nrows = [{{ batch_size = 1, \
             instances = 1, latency_ms_mean = {ms}, power_watts_mean = 100 }}]\n"
        )
    };
    let epoch = if level == "epoch" { "epoch_seconds = 5\n" } else { "" };
    format!(
        "level = \"{level}\"\nspan_seconds = 20\n{epoch}{}{}[[families]]\nname = \"f\"\n\
         variants = [{{ model = \"large\", energy_joules_per_row = 1 }}, \
         {{ model = \"small\", energy_joules_per_row = 0.5 }}]\nworkload = {{ {workload} }}\n{rest}",
        model("large", 10, 0.8),
        model("small", 5, 0.6)
    )
}

/// Ratio to the oracle, and the note, of the only run.
fn told(scenario: &str) -> (Option<f64>, Option<String>) {
    let loaded = Loaded::parse(scenario, "oracles", Path::new("")).unwrap_or_else(|error| panic!("{error}"));
    let experiment = Experiment::new(loaded, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
    let summary = experiment.run(1, &|_| ()).unwrap().remove(0).summary;
    assert!(summary.requests_completed > 0, "the run itself is not lost");
    (summary.oracle.and_then(|oracle| oracle.ratio), summary.oracle_note)
}

#[test]
fn an_oracle_that_can_t_be_built_leaves_the_run_and_says_why() {
    let adaptive = "[[policies]]\nname = \"carbon-adaptive\"\n";
    let rate = "kind = \"constant\", rate_rps = 20";
    for level in ["request", "epoch"] {
        let (ratio, note) = told(&family(level, rate, adaptive));
        assert_eq!(ratio, None);
        assert!(note.unwrap().contains("oracle-carbon"), "{level}");
    }
}

#[test]
fn an_oracle_that_does_not_know_the_load_reports_no_ratio() {
    let carbon =
        "[carbon_intensity]\nsteps = [[0, 100], [10, 700]]\n[[policies]]\nname = \"carbon-adaptive\"\n";
    let (ratio, note) = told(&family("request", "kind = \"closed-loop\", clients = 2", carbon));
    assert_eq!(ratio, None);
    assert!(note.unwrap().contains("the load of f depends on its answers"));
    let (ratio, note) = told(&family("request", "kind = \"constant\", rate_rps = 20", carbon));
    assert!(ratio.is_some() && note.is_none(), "{ratio:?}, {note:?}");

    let clocks = |workload: &str| {
        format!(
            "span_seconds = 20\n[[devices]]\nname = \"gpu\"\nspec = \"nvidia-p40\"\n[[models]]\n\
             name = \"mobilenet_v2\"\nnetwork = \"mobilenet_v2\"\nbatch_size = 1\nobjective_ms = 100\n\
             grid.batch_sizes = [1, 2]\ngrid.instances = [1]\ngrid.clocks = [544, 1063, 1531]\n\
             workload = {{ {workload} }}\n[[policies]]\nname = \"frequency-scaling\"\n"
        )
    };
    let (ratio, note) = told(&clocks("kind = \"saturated\""));
    assert_eq!(ratio, None);
    assert!(note.unwrap().contains("oracle-least-power knows no best here"));
    let (ratio, note) = told(&clocks("kind = \"poisson\", rate_rps = 20"));
    assert!(ratio.is_some() && note.is_none(), "{ratio:?}, {note:?}");
}
