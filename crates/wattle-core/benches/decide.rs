//! How long one decision takes: `cargo bench -p wattle-core`. A plain clock, no dependency.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use wattle_core::id::ModelName;
use wattle_core::knob::{ServingLimits, ServingSetting};
use wattle_core::observation::{DeviceObservation, ModelObservation, Observation, PowerSample};
use wattle_core::policies::{self, PolicyOptions};
use wattle_core::profile::Profile;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::time::Timestamp;
use wattle_core::units::Watts;

const DECISIONS: u32 = 100_000;
const TICK: Duration = Duration::from_millis(100);

/// Policy, models, and batch sizes by instances profiled of each.
const CASES: [(&str, usize, (u32, u32)); 4] = [
    ("batch-sizer", 10, (25, 4)),
    ("combination", 10, (25, 4)),
    ("combination", 1, (125, 4)),
    ("combination", 1, (500, 4)),
];

fn main() -> Result<(), Box<dyn Error>> {
    for (name, models, (sizes, instances)) in CASES {
        let options =
            PolicyOptions { profiles: profiles(models, sizes, instances)?, ..PolicyOptions::default() };
        let mut policy = policies::build(name, &options)?;
        let mut seen = observation(models);
        let start = Instant::now();
        for step in 0..DECISIONS {
            seen.now = Timestamp::from_duration(TICK * (step + 1));
            // The cap moves at every step, so that nothing but deciding is measured.
            seen.power_cap = Some(Watts::new(100.0 + f64::from(step % 100)));
            if let Some(sample) = seen.devices[0].power_samples.first_mut() {
                sample.at = seen.now;
            }
            let decision = policy.decide(black_box(&seen));
            for model in &mut seen.models {
                if let Some(change) = decision.serving.get(&model.name) {
                    model.setting = change.apply_to(model.setting);
                }
            }
            black_box(decision);
        }
        let nanos = start.elapsed().as_nanos() / u128::from(DECISIONS);
        let points = sizes * instances;
        println!("{name}: {nanos} ns per decision, models: {models}, profiled points of each: {points}");
    }
    Ok(())
}

fn model_name(index: usize) -> ModelName {
    format!("model-{index}").into()
}

/// For each model, so many batch sizes by so many instance counts.
fn profiles(
    models: usize,
    batch_sizes: u32,
    most_instances: u32,
) -> Result<BTreeMap<ModelName, Profile>, Box<dyn Error>> {
    let mut text = String::from(
        "# wattle_profile = 1\n# model = \"m\"\n# device = \"d\"\n# runtime = \"r\"\n# power_source = \"none\"\n\
         # idle_power_watts = 20\n\
         batch_size,instances,throughput_rps,power_watts_max,basis,power_basis,samples\n",
    );
    for instances in 1..=most_instances {
        for batch_size in 1..=batch_sizes {
            let work = f64::from(instances * batch_size).sqrt();
            text += &format!(
                "{batch_size},{instances},{},{},modelled,modelled,0\n",
                50.0 * work,
                20.0 + 8.0 * work
            );
        }
    }
    let profile = Profile::parse(&text, "bench.csv")?;
    Ok((0..models).map(|index| (model_name(index), profile.clone())).collect())
}

fn observation(models: usize) -> Observation {
    let model = |index| ModelObservation {
        name: model_name(index),
        setting: ServingSetting {
            batch_size: 4,
            instances: 1,
            cores_per_instance: 1,
            duty_cycle: 1.0,
            max_queue_delay: Duration::ZERO,
            max_queue_size: 100,
        },
        limits: ServingLimits { max_batch_size: 512, max_instances: 8, max_cores_per_instance: 8 },
        queued_rows: 10,
        arrived_rows: 10,
        completed_rows: 10,
        executed_batches: 10,
        batches_took: TICK,
        running_batches: 1,
        busy: TICK,
        interval: TICK,
        setting_since: Timestamp::ZERO,
    };
    Observation {
        now: Timestamp::ZERO,
        power_cap: None,
        power_cap_ahead: Vec::new(),
        carbon_intensity_age: None,
        carbon_intensity_ahead: Vec::new(),
        carbon_intensity: None,
        devices: vec![DeviceObservation {
            id: "cpu".into(),
            power_samples: vec![PowerSample { at: Timestamp::ZERO, power: Watts::new(99.0) }],
            power_provenance: Provenance::new(Basis::Modelled, "bench"),
            knobs: Vec::new(),
            settings_failed: false,
        }],
        models: (0..models).map(model).collect(),
        families: Vec::new(),
    }
}
