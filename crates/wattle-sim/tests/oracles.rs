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
