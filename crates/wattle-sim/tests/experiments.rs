//! Which policies an experiment runs, and what it says of options that are wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use wattle_sim::experiment::{Experiment, ExperimentError, Overrides};
use wattle_sim::scenario::Loaded;

const MODEL: &str = r#"
    span_seconds = 1
    [[models]]
    name = "m"
    idle_power_watts = 20
    workload = { kind = "saturated" }
    rows = [{ batch_size = 1, instances = 1, latency_ms_mean = 10, power_watts_mean = 60 }]
"#;

fn experiment(policies: &str, wanted: &[&str]) -> Result<Experiment, ExperimentError> {
    let loaded = Loaded::parse(&format!("{MODEL}{policies}"), "e.toml", Path::new("")).unwrap();
    let policies = wanted.iter().map(|name| (*name).to_owned()).collect();
    Experiment::new(loaded, &Overrides { policies, ..Overrides::default() })
}

/// Label and policy of each run.
fn runs(policies: &str, wanted: &[&str]) -> Vec<(String, String)> {
    let outcomes = experiment(policies, wanted).unwrap().run(1, &|_| ()).unwrap();
    outcomes.into_iter().map(|outcome| (outcome.summary.label, outcome.summary.policy)).collect()
}

#[test]
fn a_policy_is_found_by_label_then_by_name() {
    let two = "[[policies]]\nlabel = \"dvfs\"\nname = \"fixed\"\n[[policies]]\nlabel = \"best\"\nname = \"combination\"\n";
    let pair = |label: &str, name: &str| (label.to_owned(), name.to_owned());
    assert_eq!(runs(two, &["best"]), [pair("best", "combination")]);
    assert_eq!(runs(two, &["combination"]), [pair("best", "combination")]);
    assert_eq!(runs(two, &["dvfs", "batching"]), [pair("dvfs", "fixed"), pair("batching", "batching")]);
}

#[test]
fn a_name_that_several_entries_have_is_refused_unless_one_is_labelled_so() {
    let two =
        "[[policies]]\nlabel = \"a\"\nname = \"fixed\"\n[[policies]]\nlabel = \"b\"\nname = \"fixed\"\n";
    let error = experiment(two, &["fixed"]).unwrap_err().to_string();
    assert!(error.contains("\"fixed\"") && error.contains("a, b"), "{error}");
    let with_one = format!("{two}[[policies]]\nname = \"fixed\"\n");
    assert_eq!(runs(&with_one, &["fixed"]), [("fixed".to_owned(), "fixed".to_owned())]);
}

#[test]
fn an_unknown_option_names_the_nearest() {
    let error =
        experiment("[[policies]]\nname = \"dvfs\"\nbest_under_cup = {}\n", &[]).unwrap_err().to_string();
    assert!(
        error.contains("best_under_cup") && error.contains("did you mean \"best_under_cap\"?"),
        "{error}"
    );
}
