//! Comparisons, drivers and flips of a small fleet.

use std::cell::Cell;
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

#[test]
fn a_plan_is_kept_in_the_parts_it_has_though_a_lower_load_needs_fewer() {
    let mut loaded = fleet("source = \"gas\"");
    loaded.fleet.devices[0].count = 8;
    loaded.fleet.models[0].slo_ms = 200.0;
    let mut high = loaded.clone();
    high.fleet.models[0].load_rps = 9000.0;
    let plan = make(&high, Restrict::default(), Effort::default(), &hours).unwrap();
    assert!(
        plan.devices.iter().flat_map(|device| &device.tenants).any(|tenant| tenant.share < 1.0),
        "{plan:?}"
    );
    let best = make(&loaded, Restrict::default(), Effort::default(), &hours).unwrap();
    let kept = kept_value(&loaded, &plan).expect("it serves less than it was made for");
    assert!(kept > best.value, "{kept} for {}", best.value);
}

#[test]
fn a_plan_that_needs_devices_or_cuts_that_are_not_there_can_not_be_kept() {
    let loaded = fleet("source = \"gas\"");
    let mut plan = make(&loaded, Restrict::default(), Effort::default(), &hours).unwrap();
    let mut none = loaded.clone();
    none.fleet.devices[0].count = plan.totals.devices - 1;
    assert_eq!(kept_value(&none, &plan), None);
    // Two slices of four do not fit one device.
    let tenants: Vec<_> = plan.devices.iter().flat_map(|device| device.tenants.clone()).collect();
    plan.devices.truncate(1);
    plan.devices[0].tenants = tenants;
    plan.devices[0].tenants.iter_mut().for_each(|tenant| tenant.slot = "4g".to_owned());
    assert_eq!(kept_value(&loaded, &plan), None);
}

#[test]
fn devices_beyond_those_of_the_fleet_cost_all_that_they_cost_where_idle_ones_count() {
    let mut loaded = fleet("source = \"gas\"");
    loaded.fleet.idle_counts = true;
    loaded.fleet.devices[0].count = 1;
    let all = comparisons(&loaded, Effort::default(), &hours);
    let alone = all[0].plan.as_ref().unwrap();
    assert_eq!(alone.totals.devices, 2);
    let grams = alone.totals.grams_per_hour().unwrap();
    assert!((alone.value - grams).abs() < 1e-6 * grams, "{} for {grams}", alone.value);
    assert!(alone.bound <= alone.value);
}

#[test]
fn a_range_is_proved_only_where_time_was_left_to_look_for_a_third_plan() {
    // What was little to make draws much.
    let mut text = "grid = { intensity_g_per_kwh = 300 }\n".to_owned();
    for (name, kilograms, watts) in [("old", 20, 120), ("middle", 150, 60), ("new", 1000, 20)] {
        text += &format!(
            "[[devices]]\nname = \"{name}\"\nspec = \"nvidia-a100-40gb\"\ncount = 1\nmig = false\n\
             idle_power_watts = {watts}\nshared_idle_power_watts = 0\nembodied_kilograms_co2e = {kilograms}\n"
        );
    }
    text += "[[models]]\nname = \"photos\"\nnetwork = \"resnet50\"\nload_rps = 5\nslo_ms = 60\n";
    let fleet = Fleet::parse(&text, "FLEET.toml").unwrap();
    let loaded = load(fleet, "FLEET.toml", &|_| Err("no files here".to_owned())).unwrap();
    let all = flips_by_intensity(&loaded, Effort::default(), &hours);
    let at = |ranges: &[Range], grams: f64| {
        ranges.iter().find(|range| (range.from..range.to).contains(&grams)).cloned().unwrap()
    };
    assert_eq!(all.len(), 3, "{all:?}");
    let mut cut_short = 0;
    for looks in 0..200u32 {
        let left = Cell::new(looks);
        let time = || {
            left.set(left.get().saturating_sub(1));
            if left.get() > 0 { hours() } else { Duration::ZERO }
        };
        let ranges = flips_by_intensity(&loaded, Effort::default(), &time);
        cut_short += u32::from(ranges.len() == 2);
        for grams in
            ranges.iter().filter(|range| range.proved).map(|range| f64::midpoint(range.from, range.to))
        {
            assert_eq!(at(&ranges, grams).assignment, at(&all, grams).assignment, "{looks} looks, {grams} g");
        }
    }
    assert!(cut_short > 0, "at no number of looks is the middle one missed");
}
