//! What is learned of a device that is not as its profiles say.

use proptest::prelude::*;

use super::points::{KEPT, Points};
use super::*;
use crate::knob::{ServingLimits, ServingSetting};
use crate::observation::{DeviceObservation, ModelObservation, PowerSample};
use crate::operating_point::{OperatingPoint, ProfileRow};
use crate::profile::PowerFigure;
use crate::provenance::{Basis, Provenance};

const IDLE: f64 = 20.0;
const TICK: Duration = Duration::from_millis(250);

const HEAD: &str = "# wattle_profile = 1\n# model = \"m\"\n# device = \"d\"\n# runtime = \"r\"\n\
    # power_source = \"test\"\n# idle_power_watts = 20\n";
const ROWS: &str = "batch_size,instances,throughput_rps,latency_ms_mean,power_watts_mean,power_watts_max,basis,power_basis,samples\n\
    1,1,100,10,40,44,measured,measured,9\n8,1,400,20,80,88,measured,measured,9\n\
    32,1,800,40,120,132,measured,measured,9\n32,2,1600,40,180,,measured,measured,9\n";

fn profile(rows: &str) -> Profile {
    Profile::parse(&format!("{HEAD}{rows}"), "test.csv").unwrap()
}

/// A device that plays the profile, but for what is off.
struct Bench {
    refinement: Refinement,
    profile: Profile,
    now: Timestamp,
    turned_at: Timestamp,
    point: (u32, u32),
    told: Vec<(f64, Option<ModelName>, Reason)>,
    handed: usize,
    sensor: Basis,
}

impl Bench {
    fn of(rows: &str) -> Self {
        let profile = profile(rows);
        Self {
            refinement: Refinement::new(
                &RefinementOptions::default(),
                &[("m".into(), profile.clone())].into(),
            ),
            profile,
            now: Timestamp::ZERO,
            turned_at: Timestamp::ZERO,
            point: (8, 1),
            told: Vec::new(),
            handed: 0,
            sensor: Basis::Measured,
        }
    }

    fn new() -> Self {
        Self::of(ROWS)
    }

    fn turn(&mut self, batch_size: u32, instances: u32) {
        self.point = (batch_size, instances);
        self.turned_at = self.now;
    }

    /// A quarter of a second in which the model was busy for `share` of it, batches took `time` times and
    /// power above idle was `power` times what the profile says.
    fn tick(&mut self, share: f64, time: f64, power: f64) {
        let (batch_size, instances) = self.point;
        let at = OperatingPoint::of_batch_and_instances(batch_size, instances);
        let row = self.profile.predict(&at).unwrap().row;
        let mean = PowerFigure::Mean.of(&row).unwrap().get();
        self.now = self.now + TICK;
        let took = Duration::from_secs_f64(row.latency_ms_mean.unwrap() / 1e3 * time);
        let busy = TICK.mul_f64(share) * instances;
        // Of so many batches that there is nothing to round.
        let ended = 1000;
        let seen = Observation {
            now: self.now,
            power_cap: None,
            power_cap_ahead: Vec::new(),
            carbon_intensity_age: None,
            carbon_intensity_ahead: Vec::new(),
            carbon_intensity: None,
            devices: vec![DeviceObservation {
                id: "d".into(),
                power_samples: vec![PowerSample {
                    at: self.now,
                    power: Watts::new(IDLE + (mean - IDLE) * share * power),
                }],
                power_provenance: Provenance::new(self.sensor, "test"),
                knobs: Vec::new(),
                settings_failed: false,
            }],
            models: vec![ModelObservation {
                name: "m".into(),
                setting: ServingSetting {
                    batch_size,
                    instances,
                    cores_per_instance: 1,
                    duty_cycle: 1.0,
                    max_queue_delay: Duration::ZERO,
                    max_queue_size: 100,
                },
                limits: ServingLimits { max_batch_size: 64, max_instances: 8, max_cores_per_instance: 8 },
                queued_rows: 0,
                arrived_rows: 0,
                completed_rows: ended * u64::from(batch_size),
                executed_batches: if share > 0.0 { ended } else { 0 },
                batches_took: if share > 0.0 { took * ended as u32 } else { Duration::ZERO },
                running_batches: u32::from(share > 0.0),
                busy,
                interval: TICK,
                setting_since: self.turned_at,
            }],
            families: Vec::new(),
        };
        self.handed += usize::from(self.refinement.take_in(&seen));
        let seconds = self.now.as_secs_f64();
        self.told.extend(self.refinement.news(self.now).into_iter().map(|(of, why)| (seconds, of, why)));
    }

    fn run(&mut self, seconds: f64, share: f64, time: f64, power: f64) {
        for _ in 0..(seconds / TICK.as_secs_f64()).round() as u64 {
            self.tick(share, time, power);
        }
    }

    fn refined(&self, batch_size: u32, instances: u32) -> ProfileRow {
        let at = OperatingPoint::of_batch_and_instances(batch_size, instances);
        self.refinement.profiles()["m"].row_at(&at).unwrap().clone()
    }

    /// Refined over profiled, of batch time and power above idle.
    fn ratios(&self, batch_size: u32, instances: u32) -> (f64, f64) {
        let at = OperatingPoint::of_batch_and_instances(batch_size, instances);
        let (before, now) = (self.profile.row_at(&at).unwrap(), self.refined(batch_size, instances));
        let above = |row: &ProfileRow| row.power_watts_mean.unwrap().get() - IDLE;
        (now.latency_ms_mean.unwrap() / before.latency_ms_mean.unwrap(), above(&now) / above(before))
    }
}

fn near(found: f64, expected: f64, tolerance: f64) {
    assert!((found / expected - 1.0).abs() < tolerance, "{found}, expected {expected}");
}

#[test]
fn with_exact_readings_the_point_in_force_is_as_it_is_within_three_seconds() {
    let mut bench = Bench::new();
    bench.run(3.0, 1.0, 1.3, 1.2);
    let (time, power) = bench.ratios(8, 1);
    near(time, 1.3, 0.001);
    near(power, 1.2, 0.001);
    let row = bench.refined(8, 1);
    near(row.throughput_rps.unwrap(), 400.0 / 1.3, 0.001);
    near(row.power_watts_max.unwrap().get(), 20.0 + 68.0 * 1.2, 0.001);
    assert_eq!((row.basis, row.power_basis), (Basis::Modelled, Basis::Modelled), "computed, not seen");
}

#[test]
fn what_was_refined_by_an_assumed_sensor_is_assumed() {
    let mut bench = Bench { sensor: Basis::Assumed, ..Bench::new() };
    bench.run(3.0, 1.0, 1.3, 1.2);
    let row = bench.refined(8, 1);
    assert_eq!((row.basis, row.power_basis), (Basis::Modelled, Basis::Assumed));
    let mut bench = Bench { sensor: Basis::Assumed, ..Bench::new() };
    bench.run(3.0, 1.0, 1.3, 1.0);
    assert_eq!(bench.refined(8, 1).power_basis, Basis::Measured, "of power nothing was learned");
}

#[test]
fn most_of_what_is_off_is_taken_to_be_off_at_points_not_visited_yet() {
    let mut bench = Bench::new();
    bench.run(3.0, 1.0, 1.3, 1.2);
    let (time, power) = bench.ratios(32, 1);
    assert!(time > 1.2 && time < 1.3, "{time}");
    assert!(power > 1.14 && power < 1.2, "{power}");
}

#[test]
fn a_point_that_is_unlike_the_others_is_remembered() {
    let mut bench = Bench::new();
    for _ in 0..8 {
        bench.turn(8, 1);
        bench.run(4.0, 1.0, 1.0, 1.3);
        bench.turn(1, 1);
        bench.run(4.0, 1.0, 1.0, 1.0);
    }
    near(bench.ratios(1, 1).1, 1.0, 0.02);
    assert!(bench.ratios(8, 1).1 > 1.2, "{:?}", bench.ratios(8, 1));
}

#[test]
fn nothing_is_handed_over_while_the_device_is_as_profiled() {
    let mut bench = Bench::new();
    for (batch_size, instances) in [(8, 1), (1, 1), (32, 2), (16, 1)].repeat(5) {
        bench.turn(batch_size, instances);
        bench.run(5.0, 1.0, 1.0, 1.0);
    }
    assert_eq!(bench.handed, 0);
    assert_eq!(bench.refinement.profiles()["m"], bench.profile);
    assert!(bench.told.is_empty());
}

#[test]
fn a_drift_is_learned_within_three_seconds_told_once_and_its_end_too() {
    let mut bench = Bench::new();
    bench.run(60.0, 1.0, 1.0, 1.0);
    bench.run(3.0, 1.0, 1.0, 1.2);
    near(bench.ratios(8, 1).1, 1.2, 0.03);
    bench.run(57.0, 1.0, 1.0, 1.2);
    bench.run(60.0, 1.0, 1.0, 1.0);
    let told: Vec<(f64, &str)> = bench.told.iter().map(|(at, _, why)| (*at, why.name())).collect();
    let [(drifted, "profile_drift"), (returned, "profile_drift_over")] = told[..] else { panic!("{told:?}") };
    assert!(drifted > 70.0 && drifted < 75.0, "{drifted}");
    assert!(returned > 130.0 && returned < 135.0, "{returned}");
    assert!(bench.told.iter().all(|(_, of, _)| of.is_none()), "power is the device's");
}

#[test]
fn what_was_learned_is_half_forgotten_after_the_half_life_without_anything_new() {
    let mut bench = Bench::new();
    bench.run(5.0, 1.0, 1.0, 1.5);
    let before = bench.ratios(32, 1).1.ln();
    bench.run(32.0, 0.0, 1.0, 1.0);
    let after = bench.ratios(32, 1).1.ln();
    assert!((after - before / 2.0).abs() < STEP, "{before} -> {after}");
    bench.run(3600.0, 0.0, 1.0, 1.0);
    assert_eq!(bench.refinement.profiles()["m"], bench.profile, "as it was read");
    let handed = bench.handed;
    bench.run(600.0, 0.0, 1.0, 1.0);
    assert_eq!(bench.handed, handed, "nothing is left to forget");
}

#[test]
fn what_is_forgotten_is_not_told_to_be_over() {
    let mut bench = Bench::new();
    bench.run(20.0, 1.0, 1.4, 1.4);
    assert_eq!(bench.told.len(), 2, "batch time and power");
    bench.run(1800.0, 0.0, 1.0, 1.0);
    assert_eq!(bench.told.len(), 2, "nobody saw it go");
    bench.run(20.0, 1.0, 1.0, 1.0);
    assert_eq!(bench.told.len(), 4);
}

#[test]
fn with_little_to_do_soon_after_a_change_or_with_instances_that_idle_nothing_is_learned() {
    let mut bench = Bench::new();
    bench.run(20.0, 0.3, 1.0, 3.0);
    assert_eq!(bench.ratios(8, 1).1, 1.0, "idle power decides what is seen");
    bench.turn(32, 2);
    bench.run(20.0, 0.6, 2.0, 2.0);
    assert_eq!(bench.handed, 0, "how many instances were busy at a time is not known");
    for size in [1, 8].repeat(20) {
        bench.turn(size, 1);
        bench.run(0.5, 1.0, 2.0, 2.0);
    }
    assert_eq!(bench.handed, 0, "readings may be of the setting before");
}

#[test]
fn a_server_that_was_profiled_with_pauses_between_batches_draws_what_it_did_when_it_pauses_again() {
    // 8 rows in 16 ms, and 4 ms until the next batch.
    let rows = "batch_size,instances,throughput_rps,latency_ms_mean,power_watts_mean,basis,power_basis,samples\n\
        8,1,400,16,80,measured,measured,9\n";
    let mut bench = Bench::of(rows);
    // The bench's power is by its share: as it was profiled, busy for 0.8 of the time.
    bench.run(20.0, 0.8, 1.0, 1.0 / 0.8);
    assert_eq!(bench.handed, 0);
}

#[test]
fn below_saturation_power_is_held_against_power_at_that_utilization() {
    let mut bench = Bench::new();
    bench.run(5.0, 0.7, 1.0, 1.2);
    near(bench.ratios(8, 1).1, 1.2, 0.001);
}

#[test]
fn on_a_device_that_others_fill_no_point_is_taken_to_draw_more_than_was_ever_seen() {
    let rows = "batch_size,instances,throughput_rps,latency_ms_mean,power_watts_mean,power_watts_max,basis,power_basis,samples\n\
        1,1,100,10,80,99,measured,measured,9\n8,1,400,20,90,100,measured,measured,9\n";
    let mut bench = Bench::of(rows);
    bench.run(20.0, 1.0, 1.0, 80.0 / 70.0);
    for (size, mean) in [(1, 20.0 + 60.0 * 8.0 / 7.0), (8, 100.0)] {
        near(bench.refined(size, 1).power_watts_mean.unwrap().get(), mean, 0.03);
        near(bench.refined(size, 1).power_watts_max.unwrap().get(), 100.0, 0.01);
    }
    bench.run(20.0, 1.0, 1.0, 1.5);
    near(bench.refined(8, 1).power_watts_max.unwrap().get(), 125.0, 0.01);
}

#[test]
fn a_mean_below_a_maximum_is_as_it_should_be_and_one_above_it_is_not() {
    let rows = "batch_size,instances,throughput_rps,latency_ms_mean,power_watts_max,basis,power_basis,samples\n\
        8,1,400,20,80,measured,measured,9\n";
    let mut bench = Bench::of(rows);
    bench.run(20.0, 1.0, 1.0, 0.8);
    assert_eq!(bench.handed, 0);
    bench.run(20.0, 1.0, 1.0, 1.25);
    near(bench.refined(8, 1).power_watts_max.unwrap().get(), 20.0 + 60.0 * 1.25, 0.001);
}

#[test]
fn unknown_figures_stay_unknown_and_the_text_of_a_refined_profile_can_be_read_again() {
    let mut bench = Bench::new();
    bench.run(5.0, 1.0, 1.3, 1.2);
    assert_eq!(bench.refined(32, 2).power_watts_max, None);
    assert_eq!(bench.refined(8, 1).energy_joules_per_row, None);
    let refined = &bench.refinement.profiles()["m"];
    assert_eq!(Profile::parse(&refined.to_text(), "again.csv").unwrap(), *refined);
    assert!(refined.head.notes.as_deref().unwrap().contains("refined online"));
}

#[test]
fn points_are_forgotten_for_newer_ones() {
    let mut points = Points::default();
    let profile = profile(ROWS);
    let mut setting = ServingSetting {
        batch_size: 1,
        instances: 1,
        cores_per_instance: 1,
        duty_cycle: 1.0,
        max_queue_delay: Duration::ZERO,
        max_queue_size: 1,
    };
    for cores in 1..1000 {
        setting.cores_per_instance = cores;
        points.visit(8, &setting, DeviceStands::default(), &profile, Watts::new(IDLE));
        assert!(points.len() <= KEPT);
    }
    assert_eq!(points.len(), KEPT);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn ratios_stay_within_their_bounds_and_figures_are_numbers_whatever_is_seen(
        seen in proptest::collection::vec(
            (
                0usize..5,
                prop_oneof![Just(0.0), Just(1.0), 0.0..2.0f64],
                prop_oneof![Just(0.0), Just(1e-6), Just(1e6), 0.1..10.0f64],
                prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-10.0), Just(0.0), 0.0..10.0f64],
            ),
            1..300,
        ),
    ) {
        let mut bench = Bench::new();
        for (at, share, time, power) in seen {
            let point = [(1, 1), (8, 1), (16, 1), (32, 1), (32, 2)][at];
            if power > 5.0 {
                bench.turn(point.0, point.1);
            }
            for _ in 0..5 {
                bench.tick(share, time, power);
            }
            for (batch_size, instances) in [(1, 1), (8, 1), (32, 1), (32, 2)] {
                let (time, power) = bench.ratios(batch_size, instances);
                for ratio in [time, power] {
                    prop_assert!((1.0 / MOST_RATIO - 1e-9..=MOST_RATIO + 1e-9).contains(&ratio), "{ratio}");
                }
            }
            for drift in bench.refinement.drifts(bench.now) {
                prop_assert!(drift.ratio.is_finite());
            }
        }
    }

    #[test]
    fn one_outlier_moves_what_is_predicted_by_less_than_half_a_percent(
        outlier in prop_oneof![0.01..0.9f64, 1.1..100.0f64],
        power in 0.7..1.5f64,
    ) {
        let mut bench = Bench::new();
        bench.run(20.0, 1.0, 1.0, power);
        let before = bench.refinement.power_now(bench.now);
        bench.tick(1.0, 1.0, power * outlier);
        let after = bench.refinement.power_now(bench.now);
        prop_assert!((after / before - 1.0).abs() < 0.005, "{before} -> {after}");
    }
}
