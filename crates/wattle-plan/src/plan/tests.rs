//! Plans of small fleets, from the file to the words.

use std::time::Duration;

use super::*;
use crate::fleet::{Fleet, load};
use crate::options::{Restrict, options};
use crate::solve::{Effort, solve};

/// A plan of one device with these tenants, for tests.
pub(crate) fn plan_of(tenants: &[(&str, &str)], value: f64) -> Plan {
    let tenant = |(model, slot): &(&str, &str)| Tenant {
        model: (*model).to_owned(),
        share: 1.0,
        slot: (*slot).to_owned(),
        batch_size: 1,
        instances: 1,
        load_rps: 1.0,
        utilization: 0.5,
        latency_ms_p99: 1.0,
        slo_ms: 2.0,
        basis: Basis::Modelled,
    };
    Plan {
        wattle_plan: FORMAT_VERSION,
        objective: Objective::Carbon,
        carbon_intensity_g_per_kwh: 490.0,
        carbon_intensity_known: Provenance::new(Basis::Assumed, "a test"),
        pue: 1.0,
        value,
        bound: value,
        gap: 0.0,
        proved: true,
        basis: Basis::Modelled,
        totals: Totals {
            devices: 1,
            power_watts: 100.0,
            operational_grams_per_hour: value,
            embodied_grams_per_hour: Some(0.0),
        },
        devices: vec![PlannedDevice {
            kind: "a100".to_owned(),
            number: 1,
            core_clock_mhz: None,
            power_watts: 100.0,
            operational_grams_per_hour: value,
            embodied_grams_per_hour: Some(0.0),
            tenants: tenants.iter().map(tenant).collect(),
        }],
        notes: Vec::new(),
    }
}

/// The plan of a fleet that names no file.
fn planned(text: &str) -> Plan {
    let fleet = Fleet::parse(text, "FLEET.toml").unwrap();
    let loaded = load(fleet, "FLEET.toml", &|_| Err("no files here".to_owned())).unwrap();
    let made = options(&loaded, Restrict::default()).unwrap();
    assert!(made.nowhere.is_empty(), "{:?}", made.nowhere);
    let solved = solve(&made.instance, Effort::default(), &|| Duration::from_secs(600)).unwrap();
    made.instance.check(&solved.columns).unwrap();
    plan(&loaded, &made, &solved)
}

const THREE: &str = r#"
[[devices]]
name = "a100"
spec = "nvidia-a100-40gb"
count = 3

[[models]]
name = "photos"
network = "resnet50"
load_rps = 50
slo_ms = 100

[[models]]
name = "faces"
network = "mobilenet_v2"
load_rps = 40
slo_ms = 100

[[models]]
name = "speech"
network = "whisper_large_v3"
load_rps = 0.2
slo_ms = 5000
"#;

#[test]
fn models_of_little_load_share_one_device_in_a_legal_layout_and_keep_their_objectives() {
    let plan = planned(&format!("grid = {{ source = \"gas\" }}\n{THREE}"));
    assert!(plan.proved);
    assert_eq!(plan.devices.len(), 1);
    let tenants = &plan.devices[0].tenants;
    assert_eq!(tenants.len(), 3);
    let sizes: Vec<u32> =
        tenants.iter().map(|tenant| tenant.slot.trim_end_matches('g').parse().unwrap()).collect();
    assert!(crate::layout::is_legal(7, &sizes), "{sizes:?}");
    for tenant in tenants {
        assert!(tenant.latency_ms_p99 <= tenant.slo_ms, "{tenant:?}");
        assert!(tenant.utilization < 1.0, "{tenant:?}");
    }
}

#[test]
fn totals_are_the_sums_of_the_devices_and_the_value_is_their_carbon() {
    let plan = planned(&format!("grid = {{ source = \"coal\" }}\npue = 1.5\n{THREE}"));
    let sum: f64 = plan.devices.iter().map(|device| device.power_watts).sum();
    assert!((plan.totals.power_watts - sum).abs() < 1e-9);
    assert!((plan.totals.operational_grams_per_hour - sum * 1.5 * 0.82).abs() < 1e-9);
    assert!((plan.totals.grams_per_hour().unwrap() - plan.value).abs() < 1e-9);
}

#[test]
fn devices_that_idle_count_where_the_fleet_says_so() {
    let off = planned(&format!("grid = {{ source = \"gas\" }}\n{THREE}"));
    let idle = planned(&format!("grid = {{ source = \"gas\" }}\nidle_counts = true\n{THREE}"));
    // Those of three that are free draw 45 W each.
    let used: f64 = idle.devices.iter().map(|device| device.power_watts).sum();
    let free = (3 - idle.devices.len()) as f64;
    assert!((idle.totals.power_watts - used - free * 45.0).abs() < 1e-6);
    assert!(idle.value > off.value);
    assert!((idle.totals.grams_per_hour().unwrap() - idle.value).abs() < 1e-6);
}

#[test]
fn a_plan_that_is_written_is_read_back_the_same() {
    let plan = planned(&format!("grid = {{ source = \"gas\" }}\n{THREE}"));
    let text = serde_json::to_string(&plan).unwrap();
    let read: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(read.assignment(), plan.assignment());
    // Up to the last digit, which the reader rounds.
    assert!((read.value - plan.value).abs() < 1e-12 * plan.value);
    assert!(serde_json::from_str::<Plan>(&text.replace("\"pue\"", "\"puee\"")).is_err());
}

#[test]
fn a_load_that_no_device_carries_alone_is_cut_in_equal_parts() {
    let plan = planned(
        r#"
grid = { source = "gas" }
[[devices]]
name = "a100"
spec = "nvidia-a100-40gb"
count = 4
[[models]]
name = "photos"
network = "resnet50"
load_rps = 9000
slo_ms = 200
"#,
    );
    let shares: Vec<f64> =
        plan.devices.iter().flat_map(|device| &device.tenants).map(|tenant| tenant.share).collect();
    assert!(shares.len() > 1, "{shares:?}");
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
    assert!(shares.iter().all(|share| *share == shares[0]), "{shares:?}");
}
