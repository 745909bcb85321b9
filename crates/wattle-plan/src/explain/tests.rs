//! Comparisons, drivers and flips of a small fleet.

use std::time::Duration;

use super::*;
use crate::fleet::{Fleet, load};

fn fleet(grid: &str) -> Loaded {
    let text = format!(
        r#"
grid = {{ {grid} }}
[[devices]]
name = "a100"
spec = "nvidia-a100-40gb"
count = 2
[[models]]
name = "photos"
network = "resnet50"
load_rps = 300
slo_ms = 60
[[models]]
name = "speech"
network = "whisper_large_v3"
load_rps = 0.5
slo_ms = 4000
"#
    );
    let fleet = Fleet::parse(&text, "FLEET.toml").unwrap();
    load(fleet, "FLEET.toml", &|_| Err("no files here".to_owned())).unwrap()
}

fn hours() -> Duration {
    Duration::from_secs(7200)
}

#[test]
fn the_plan_is_no_worse_than_either_extreme_at_the_same_objective() {
    let loaded = fleet("source = \"gas\"");
    let best = make(&loaded, Restrict::default(), Effort::default(), &hours).unwrap();
    for compared in comparisons(&loaded, Effort::default(), &hours) {
        let other = compared.plan.unwrap();
        assert!(
            best.totals.grams_per_hour().unwrap() <= other.totals.grams_per_hour().unwrap() + 1e-9,
            "{}",
            compared.name
        );
    }
}

#[test]
fn ranges_of_intensity_cover_all_and_agree_with_plans_made_within_them() {
    let loaded = fleet("intensity_g_per_kwh = 300");
    let ranges = flips_by_intensity(&loaded, Effort::default(), &hours);
    assert_eq!(ranges.first().unwrap().from, 0.0);
    assert_eq!(ranges.last().unwrap().to, 820.0);
    for pair in ranges.windows(2) {
        assert_eq!(pair[0].to, pair[1].from);
        assert_ne!(pair[0].assignment, pair[1].assignment);
    }
    for range in &ranges {
        let middle = f64::midpoint(range.from, range.to);
        let plan =
            make(&at_intensity(&loaded, middle), Restrict::default(), Effort::default(), &hours).unwrap();
        assert_eq!(in_words(&plan), range.assignment, "at {middle}");
    }
}

#[test]
fn a_plan_kept_as_it_is_has_the_value_it_was_made_with() {
    let loaded = fleet("source = \"gas\"");
    let plan = make(&loaded, Restrict::default(), Effort::default(), &hours).unwrap();
    let kept = kept_value(&loaded, &plan).unwrap();
    assert!((kept - plan.value).abs() < 1e-9 * plan.value, "{kept} for {}", plan.value);
    // At other intensities no plan made there is worse than it.
    for grams in [11.0, 100.0, 820.0] {
        let there = at_intensity(&loaded, grams);
        let best = make(&there, Restrict::default(), Effort::default(), &hours).unwrap();
        assert!(best.value <= kept_value(&there, &plan).unwrap() + 1e-9);
    }
}

#[test]
fn loads_beyond_all_devices_are_told_as_a_range_without_a_plan() {
    let mut loaded = fleet("source = \"gas\"");
    loaded.fleet.models[0].load_rps = 4000.0;
    let ranges = flips_by_load(&loaded, Effort::default(), &hours);
    assert!(ranges.len() >= 2, "{ranges:?}");
    assert!(ranges.last().unwrap().devices.is_none(), "{ranges:?}");
    for pair in ranges.windows(2) {
        assert_eq!(pair[0].to, pair[1].from);
    }
}

#[test]
fn a_model_that_fits_nowhere_is_told_with_the_reason() {
    let mut loaded = fleet("source = \"gas\"");
    loaded.fleet.models[1].slo_ms = 1.0;
    let error = make(&loaded, Restrict::default(), Effort::default(), &hours).unwrap_err().to_string();
    assert!(error.starts_with("no device can serve speech (a100: a batch takes"), "{error}");
    assert!(error.ends_with("the objective is 1.0 ms)"), "{error}");
}
