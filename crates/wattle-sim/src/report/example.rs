//! For tests: a small scenario, run as the program runs it.

use std::path::Path;

use wattle_core::policies::{PolicyOptions, build};

use crate::request_level::{self, Outcome};
use crate::run_folder::Written;
use crate::scenario::Loaded;

const SCENARIO: &str = r#"
name = "Two networks under a cap that falls and rises"
description = "A cap of 250 W that falls to 110 W for 8 s, with two vision networks on one <P40>."
span_seconds = 24.0
points = 240

[[devices]]
name = "gpu"
spec = "nvidia-p40"

[power_cap]
steps = [[0.0, 250.0], [8.0, 110.0], [16.0, 180.0]]
after_end = "hold"

[carbon_intensity]
steps = [[0.0, 320.0], [12.0, 410.0]]
after_end = "hold"

[[models]]
name = "classify"
network = "mobilenet_v2"
spread = "exponential"
workload = { kind = "saturated" }

[[models]]
name = "detect"
network = "resnet50"
quality = 0.761
objective_ms = 400.0
batch_size = 8
workload = { kind = "poisson", rate_rps = 60.0 }
"#;

/// The scenario with each of `policies` and each of `seeds`.
pub(crate) fn written(policies: &[&str], seeds: &[u64]) -> Written {
    let loaded = Loaded::parse(SCENARIO, "some/where/scenario.toml", Path::new("")).unwrap();
    let options = PolicyOptions { profiles: loaded.profiles.clone(), ..PolicyOptions::default() };
    let mut runs: Vec<Outcome> = Vec::new();
    for policy in policies {
        for seed in seeds {
            let mut policy = build(policy, &options).unwrap();
            runs.push(request_level::run(&loaded.plan, policy.as_mut(), *seed, &mut |_| {}).unwrap());
        }
    }
    Written {
        scenario: loaded.name,
        description: loaded.file.description,
        wattle_version: "0.0.0-test".into(),
        inputs: loaded.inputs,
        runs,
    }
}
