//! Tests of power gating, with the geometry of CoFRIS: 60 compute units in 4 engines of 15.

use proptest::prelude::*;

use super::*;
use crate::device_spec::bundled;
use crate::operating_point::{Confidence, OperatingPoint};
use crate::profile::{Conditions, ProfileHead};
use crate::units::Joules;

fn row(units: Option<u32>, clock: Option<f64>, power: f64) -> ProfileRow {
    ProfileRow {
        point: OperatingPoint {
            compute_units: units,
            core_clock_mhz: clock.map(Megahertz::new),
            ..OperatingPoint::of_batch_and_instances(1, 1)
        },
        throughput_rps: Some(100.0),
        latency_ms_mean: Some(10.0),
        latency_ms_p50: None,
        latency_ms_p95: None,
        latency_ms_p99: None,
        power_watts_mean: Some(Watts::new(power)),
        power_watts_p95: None,
        power_watts_max: Some(Watts::new(power + 10.0)),
        energy_joules_per_row: Some(Joules::new(power / 100.0)),
        memory_bytes: None,
        basis: Basis::Measured,
        power_basis: Basis::Measured,
        samples: 10,
        confidence: Confidence::default(),
    }
}

fn profile(rows: Vec<ProfileRow>) -> Profile {
    let head = ProfileHead {
        model: "resnet152".into(),
        device: "MI50".into(),
        runtime: "test".into(),
        idle_power_watts: None,
        request_overhead_ms: None,
        quality: None,
        power_source: "test".into(),
        created: None,
        notes: None,
        conditions: Conditions::default(),
    };
    Profile { head, rows }
}

/// Watts saved on the MI50 at 1725 MHz with `units` in use.
fn saved(units: u32, gating: Gating) -> f64 {
    let spec = bundled("amd-mi50").unwrap();
    let gated = apply(&profile(vec![row(Some(units), Some(1725.0), 200.0)]), &spec, gating).unwrap();
    200.0 - gated.rows[0].power_watts_mean.unwrap().get()
}

#[test]
fn units_are_placed_as_in_the_paper() {
    for (units, placed) in [
        (60, [15, 15, 15, 15]),
        (46, [12, 12, 11, 11]),
        (45, [15, 15, 15, 0]),
        (31, [11, 10, 10, 0]),
        (30, [15, 15, 0, 0]),
        (16, [8, 8, 0, 0]),
        (15, [15, 0, 0, 0]),
        (1, [1, 0, 0, 0]),
        (0, [0, 0, 0, 0]),
    ] {
        assert_eq!(conserved_placement(units, 4, 15), placed, "{units} units");
    }
}

#[test]
fn gated_units_count_by_unit_and_by_whole_engine() {
    // Active idle at 1725 MHz is 72 W, idle 15 W: 0.95 W for each of 60 units.
    for (units, engine_gated) in [(60, 0), (46, 0), (45, 15), (31, 15), (30, 30), (16, 30), (15, 45), (1, 45)]
    {
        let by_unit = saved(units, Gating::ComputeUnit);
        assert!((by_unit - 0.95 * f64::from(60 - units)).abs() < 1e-9, "{units}: {by_unit}");
        let by_engine = saved(units, Gating::ShaderEngine);
        assert!((by_engine - 0.95 * f64::from(engine_gated)).abs() < 1e-9, "{units}: {by_engine}");
    }
}

#[test]
fn a_gated_profile_is_modelled_says_so_and_keeps_its_speed() {
    let spec = bundled("amd-mi50").unwrap();
    let before = profile(vec![row(Some(30), Some(1725.0), 200.0)]);
    let after = apply(&before, &spec, Gating::ComputeUnit).unwrap();
    let row = &after.rows[0];
    assert_eq!((row.basis, row.power_basis), (Basis::Measured, Basis::Modelled));
    assert_eq!(row.throughput_rps, Some(100.0));
    assert!((row.power_watts_max.unwrap().get() - (210.0 - 28.5)).abs() < 1e-9);
    assert!((row.energy_joules_per_row.unwrap().get() - 1.715).abs() < 1e-9);
    assert!(after.head.notes.unwrap().contains("gating of unused compute units is modelled"));
}

#[test]
fn no_gating_leaves_the_profile_as_measured() {
    let before = profile(vec![row(None, None, 200.0)]);
    assert_eq!(apply(&before, &bundled("nvidia-p40").unwrap(), Gating::None).unwrap(), before);
}

#[test]
fn power_never_falls_below_idle_nor_rises() {
    let spec = bundled("amd-mi50").unwrap();
    let near_idle = apply(&profile(vec![row(Some(1), Some(1725.0), 40.0)]), &spec, Gating::ComputeUnit);
    assert_eq!(near_idle.unwrap().rows[0].power_watts_mean, Some(Watts::new(15.0)));
    let below_idle = apply(&profile(vec![row(Some(1), Some(1725.0), 14.0)]), &spec, Gating::ComputeUnit);
    assert_eq!(below_idle.unwrap().rows[0].power_watts_mean, Some(Watts::new(14.0)));
}

#[test]
fn between_two_clocks_the_curve_is_interpolated_and_beyond_it_is_an_error() {
    let spec = bundled("amd-mi50").unwrap();
    let at = |clock| {
        apply(&profile(vec![row(Some(30), Some(clock), 200.0)]), &spec, Gating::ComputeUnit)
            .map(|profile| profile.rows[0].power_watts_mean.unwrap().get())
    };
    let between = (at(1606.0).unwrap() + at(1725.0).unwrap()) / 2.0;
    assert!((at(1665.5).unwrap() - between).abs() < 1e-9);
    let error = at(1800.0).unwrap_err().to_string();
    assert!(error.contains("row 1: found 1800.0 MHz, expected 925.0 MHz to 1725.0 MHz"), "{error}");
}

#[test]
fn what_is_not_told_is_an_error_that_names_it() {
    let mi50 = bundled("amd-mi50").unwrap();
    let errors = [
        (apply(&profile(vec![row(None, Some(1000.0), 99.0)]), &mi50, Gating::ComputeUnit), "compute_units"),
        (apply(&profile(vec![row(Some(9), None, 99.0)]), &mi50, Gating::ComputeUnit), "core_clock_mhz"),
        (apply(&profile(vec![row(Some(61), Some(1000.0), 99.0)]), &mi50, Gating::ShaderEngine), "61"),
        (
            apply(&profile(Vec::new()), &bundled("nvidia-p40").unwrap(), Gating::ComputeUnit),
            "active_idle_power_watts",
        ),
    ];
    for (result, named) in errors {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn engine_gating_needs_the_engines() {
    let mut spec = bundled("amd-mi50").unwrap();
    spec.shader_engines = None;
    let profile = profile(vec![row(Some(9), Some(1000.0), 99.0)]);
    assert!(apply(&profile, &spec, Gating::ComputeUnit).is_ok());
    let error = apply(&profile, &spec, Gating::ShaderEngine).unwrap_err().to_string();
    assert!(error.contains("shader_engines"), "{error}");
}

proptest! {
    #[test]
    fn placement_keeps_the_units_on_the_fewest_engines_and_even(
        engines in 0_u32..9, units_per_engine in 0_u32..40, units in 0_u32..400,
    ) {
        let placed = conserved_placement(units, engines, units_per_engine);
        let total = units.min(engines * units_per_engine);
        prop_assert_eq!(placed.len(), engines as usize);
        prop_assert_eq!(placed.iter().sum::<u32>(), total);
        prop_assert!(placed.iter().all(|active| *active <= units_per_engine));
        let used: Vec<u32> = placed.iter().copied().filter(|active| *active > 0).collect();
        if total > 0 {
            prop_assert_eq!(used.len(), total.div_ceil(units_per_engine) as usize);
            prop_assert!(used.iter().max().unwrap() - used.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn finer_gating_saves_no_less(units in 0_u32..=60) {
        prop_assert!(saved(units, Gating::ComputeUnit) >= saved(units, Gating::ShaderEngine));
    }
}
