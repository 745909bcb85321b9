//! The table keeps its promises for any profile; the policies on it follow the load.

mod online;

use crate::operating_point::Confidence;
use proptest::prelude::*;

use super::*;
use crate::profile::{Conditions, ProfileHead};
use crate::provenance::Basis;

pub(super) const FREQUENCY: FreeKnobs =
    FreeKnobs { clock: true, units: false, batch_size: false, instances: false };
pub(super) const RESOURCES: FreeKnobs =
    FreeKnobs { clock: false, units: true, batch_size: false, instances: false };
pub(super) const BOTH: FreeKnobs =
    FreeKnobs { clock: true, units: true, batch_size: false, instances: false };
const WITH_BATCH: FreeKnobs = FreeKnobs { batch_size: true, ..BOTH };

const IDLE: f64 = 20.0;

/// Clock in MHz, units, batch size, seconds of a batch, watts.
type Figures = (f64, u32, u32, f64, f64);

pub(super) fn row((mhz, units, batch_size, seconds, watts): Figures) -> ProfileRow {
    ProfileRow {
        point: OperatingPoint {
            core_clock_mhz: Some(Megahertz::new(mhz)),
            compute_units: Some(units),
            ..OperatingPoint::of_batch_and_instances(batch_size, 1)
        },
        throughput_rps: Some(f64::from(batch_size) / seconds),
        latency_ms_mean: Some(seconds * 1e3),
        latency_ms_p50: None,
        latency_ms_p95: None,
        latency_ms_p99: None,
        power_watts_mean: Some(Watts::new(watts)),
        power_watts_p95: None,
        power_watts_max: None,
        energy_joules_per_row: None,
        memory_bytes: None,
        basis: Basis::Measured,
        power_basis: Basis::Measured,
        samples: 1,
        confidence: Confidence::default(),
    }
}

pub(super) fn profile(rows: impl IntoIterator<Item = Figures>) -> Profile {
    let head = ProfileHead {
        model: "m".into(),
        device: "test".into(),
        runtime: "test".into(),
        idle_power_watts: Some(Watts::new(IDLE)),
        request_overhead_ms: None,
        quality: None,
        power_source: "test".into(),
        created: None,
        notes: None,
        conditions: Conditions::default(),
    };
    Profile { head, rows: rows.into_iter().map(row).collect() }
}

/// 100 rows/s at full; half the units cost a fifth of the speed, half the clock half of it.
pub(super) const GRID: [Figures; 4] = [
    (1000.0, 60, 1, 0.010, 120.0),
    (1000.0, 30, 1, 0.0125, 90.0),
    (500.0, 60, 1, 0.020, 60.0),
    (500.0, 30, 1, 0.025, 45.0),
];

fn evenly() -> LeastPowerOptions {
    LeastPowerOptions { arrivals: Arrivals::Even, rps_step_share: 0.1, ..LeastPowerOptions::default() }
}

fn points(table: &LeastPowerTable) -> Vec<(f64, f64, u32, bool)> {
    let row = |row: &TableRow| {
        (row.rps.round(), row.core_clock_mhz.unwrap().get(), row.compute_units.unwrap(), row.meets_slo)
    };
    table.rows().iter().map(row).collect()
}

#[test]
fn each_load_gets_the_point_of_least_power_that_sustains_it_within_twice_the_full_tail() {
    let table = LeastPowerTable::build(&profile(GRID), BOTH, &evenly(), None).unwrap();
    assert_eq!(table.slo(), Duration::from_millis(20));
    // (500, 30) takes 25 ms: out. Joules above idle a row: (500, 60) 0.8, (1000, 30) 0.875, full 1.
    let mut expected: Vec<(f64, f64, u32, bool)> = Vec::new();
    expected.extend([0.0, 10.0, 20.0, 30.0, 40.0].map(|rps| (rps, 500.0, 60, true)));
    expected.extend([50.0, 60.0, 70.0].map(|rps| (rps, 1000.0, 30, true)));
    expected.extend([80.0, 90.0].map(|rps| (rps, 1000.0, 60, true)));
    expected.push((100.0, 1000.0, 60, false)); // over the headroom of any
    assert_eq!(points(&table), expected);
    let watts = table.look_up(40.0).unwrap().predicted_watts.get();
    assert!((watts - (20.0 + 40.0 * 0.8)).abs() < 1e-9, "{watts}");
    // A looser objective lets the slowest in: 0.625 J a row.
    let loose = LeastPowerOptions { slo_factor: 3.0, ..evenly() };
    let table = LeastPowerTable::build(&profile(GRID), BOTH, &loose, None).unwrap();
    assert_eq!(points(&table)[3], (30.0, 500.0, 30, true));
}

#[test]
fn knobs_that_are_not_free_stay_at_their_highest() {
    let build = |free| LeastPowerTable::build(&profile(GRID), free, &evenly(), None).unwrap();
    assert_eq!(points(&build(FREQUENCY))[6], (60.0, 1000.0, 60, true), "half the clock sustains 47 rows/s");
    assert_eq!(points(&build(RESOURCES))[1], (10.0, 1000.0, 30, true));
}

#[test]
fn a_load_is_looked_up_at_the_next_step_that_is_no_lower() {
    let table = LeastPowerTable::build(&profile(GRID), BOTH, &evenly(), None).unwrap();
    let step = |rps| table.look_up(rps).map(|row| row.rps.round());
    assert_eq!(
        [step(0.0), step(0.1), step(10.0), step(10.1), step(100.0)].map(Option::unwrap),
        [0.0, 10.0, 10.0, 20.0, 100.0]
    );
    assert_eq!(step(100.1), None);
    let steps = LeastPowerOptions { rps_step: Some(30.0), ..evenly() };
    let table = LeastPowerTable::build(&profile(GRID), BOTH, &steps, None).unwrap();
    assert_eq!(table.rows().iter().map(|row| row.rps).collect::<Vec<f64>>(), [0.0, 30.0, 60.0, 90.0, 100.0]);
}

#[test]
fn under_poisson_arrivals_the_wait_counts_on_both_sides_of_the_objective() {
    let options = LeastPowerOptions { base_load: 0.95, ..LeastPowerOptions::default() };
    let table = LeastPowerTable::build(&profile(GRID), BOTH, &options, None).unwrap();
    let wait = crate::queueing::md1_wait_quantile(95.0, 0.01, 0.99).unwrap();
    assert!((table.slo().as_secs_f64() - 2.0 * (0.01 + wait)).abs() < 1e-6);
    assert!(table.look_up(95.0).unwrap().meets_slo, "the full device meets it up to the headroom");
    // An objective of two service times, and the eighth of the load that even the full device serves in it.
    let tight = Some(Duration::from_millis(20));
    let table = LeastPowerTable::build(&profile(GRID), BOTH, &options, tight).unwrap();
    assert!(table.look_up(10.0).unwrap().meets_slo && !table.look_up(15.0).unwrap().meets_slo);
    let base = table_base(0.95) / table_base(0.0);
    assert_eq!(base.round(), 46.0, "service times, as documented");
}

fn table_base(base_load: f64) -> f64 {
    let options = LeastPowerOptions { slo_factor: 1.0, base_load, ..LeastPowerOptions::default() };
    LeastPowerTable::build(&profile(GRID), BOTH, &options, None).unwrap().slo().as_secs_f64()
}

#[test]
fn by_default_the_objective_is_twice_the_profiled_tail_and_what_the_full_device_keeps_is_kept() {
    let options = LeastPowerOptions { rps_step: Some(1.0), ..LeastPowerOptions::default() };
    let table = LeastPowerTable::build(&profile(GRID), BOTH, &options, None).unwrap();
    assert_eq!(table.slo(), Duration::from_millis(20));
    let full = |rps| table.full.tail_at(rps, options.arrivals);
    for row in table.rows() {
        let kept = full(row.rps).is_some_and(|tail| tail <= 0.02 * (1.0 + 1e-9));
        assert_eq!(row.meets_slo, kept, "{row:?}");
        let at_full = row.core_clock_mhz == Some(Megahertz::new(1000.0)) && row.compute_units == Some(60);
        assert!(kept || at_full, "{row:?}");
    }
    let kept: Vec<_> = table.rows().iter().filter(|row| row.meets_slo).collect();
    assert_eq!(kept.last().unwrap().rps, 13.0, "about an eighth of the full load");
    assert!(kept.iter().any(|row| row.predicted_watts < table.full.power_at(row.rps)), "and power is saved");
}

#[test]
fn power_at_a_load_is_drawn_from_idle_and_runs_no_larger_batches_than_needed() {
    let rows = [(1000.0, 60, 1, 0.010, 120.0), (1000.0, 60, 8, 0.040, 140.0), (500.0, 60, 1, 0.020, 60.0)];
    let build = |options: &LeastPowerOptions, profile: &Profile| {
        let table = LeastPowerTable::build(profile, WITH_BATCH, options, None).unwrap();
        let full = table.full.clone();
        assert_eq!(full.batch_size, 8);
        [0.0, 50.0, 150.0, 200.0].map(|rps| full.power_at(rps).get())
    };
    let near = |found: [f64; 4], wanted: [f64; 4]| {
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}, wanted {wanted:?}");
    };
    near(build(&evenly(), &profile(rows)), [20.0, 70.0, 110.0, 140.0]);
    let saturated = LeastPowerOptions { power_at_load: PowerAtLoad::Saturation, ..evenly() };
    near(build(&saturated, &profile(rows)), [140.0; 4]);
    let mut unknown = profile(rows);
    unknown.head.idle_power_watts = None;
    near(build(&evenly(), &unknown), [140.0; 4]);
}

#[test]
fn a_profile_without_the_full_point_or_without_a_choice_makes_no_table() {
    let error = |rows: &[Figures], free| {
        LeastPowerTable::build(&profile(rows.iter().copied()), free, &evenly(), None).unwrap_err()
    };
    assert_eq!(error(&GRID[..1], BOTH), TableError::NothingToChoose);
    assert_eq!(error(&GRID[..2], FREQUENCY), TableError::NothingToChoose);
    assert_eq!(error(&GRID[1..3], BOTH), TableError::NoFullRow { batch_size: 1 }, "no corner");
    let larger = (1000.0, 60, 4, 0.02, 130.0);
    let told = error(&[larger], BOTH).to_string();
    assert!(told.contains("no row with throughput, latency and power at batch size 1"), "{told}");
    let mut without_latency = profile(GRID);
    without_latency.rows[0].latency_ms_mean = None;
    let error = LeastPowerTable::build(&without_latency, BOTH, &evenly(), None).unwrap_err();
    assert_eq!(error, TableError::NoFullRow { batch_size: 1 });
}

#[test]
fn rows_of_partitions_variants_and_idle_injection_are_passed_over() {
    let mut other = profile(GRID);
    for (index, change) in [
        (|point: &mut OperatingPoint| point.partition = Some("3g.20gb".into())) as fn(&mut OperatingPoint),
        |point| point.variant = Some("small".into()),
        |point| point.duty_cycle = Some(0.5),
    ]
    .into_iter()
    .enumerate()
    {
        change(&mut other.rows[index + 1].point);
    }
    let error = LeastPowerTable::build(&other, BOTH, &evenly(), None).unwrap_err();
    assert_eq!(error, TableError::NothingToChoose);
}

#[test]
fn options_out_of_range_are_named() {
    let says = |change: fn(&mut LeastPowerOptions), text: &str| {
        let mut options = LeastPowerOptions::default();
        change(&mut options);
        assert_eq!(options.check().unwrap_err().to_string(), text);
    };
    says(|o| o.slo_factor = 0.5, "option slo_factor is 0.5, expected a number of at least 1");
    says(|o| o.headroom = 1.5, "option headroom is 1.5, expected a number over 0 and at most 1");
    says(|o| o.base_load = 0.99, "option base_load is 0.99, expected a number in 0 to headroom");
    says(
        |o| o.rps_step = Some(f64::NAN),
        "option rps_step is NaN, expected rows per second as a number over 0",
    );
    says(|o| o.batch_size = 0, "option batch_size is 0, expected a whole number of at least 1");
    says(|o| o.interval_seconds = 0.0, "option interval_seconds is 0, expected seconds as a number over 0");
    assert_eq!(LeastPowerOptions::default().check(), Ok(()));
}

prop_compose! {
    /// Any profile over two to three clocks, unit counts and batch sizes, with figures that need not make sense.
    fn any_profile()(
        figures in prop::collection::vec((0.001f64..0.05, 15.0f64..300.0), 27),
        clocks in 2usize..4, units in 2usize..4,
    ) -> Profile {
        let mut rows = Vec::new();
        for (index, (seconds, watts)) in figures.iter().enumerate() {
            let (clock, unit, batch) = (index / 9, index / 3 % 3, index % 3);
            if clock < clocks && unit < units {
                let batch_size = [1u32, 4, 16][batch];
                let seconds = seconds * f64::from(batch_size).sqrt();
                rows.push((500.0 * (clock as f64 + 1.0), 20 * (unit as u32 + 1), batch_size, seconds, *watts));
            }
        }
        profile(rows)
    }
}

fn any_arrivals() -> impl Strategy<Value = Arrivals> {
    prop_oneof![Just(Arrivals::Poisson), Just(Arrivals::Even)]
}

fn build(profile: &Profile, free: FreeKnobs, options: &LeastPowerOptions) -> LeastPowerTable {
    LeastPowerTable::build(profile, free, options, None).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_entry_sustains_its_load_within_the_objective(
        profile in any_profile(), arrivals in any_arrivals(), slo_factor in 1.0f64..4.0,
    ) {
        let options = LeastPowerOptions { arrivals, slo_factor, ..LeastPowerOptions::default() };
        let table = build(&profile, WITH_BATCH, &options);
        prop_assert_eq!(table.rows().first().unwrap().rps, 0.0);
        prop_assert_eq!(table.rows().last().unwrap().rps, table.max_rps());
        for entry in table.rows().iter().filter(|entry| entry.meets_slo) {
            let point = OperatingPoint {
                core_clock_mhz: entry.core_clock_mhz,
                compute_units: entry.compute_units,
                ..OperatingPoint::of_batch_and_instances(entry.batch_size, entry.instances)
            };
            let capacity = profile.row_at(&point).unwrap().throughput_rps.unwrap();
            prop_assert!(entry.rps <= capacity * options.headroom * (1.0 + 1e-9));
            prop_assert!(entry.predicted_tail_ms.unwrap() <= table.slo_seconds * 1e3 * (1.0 + 1e-6));
        }
    }

    #[test]
    fn a_looser_objective_never_plans_more_power(
        profile in any_profile(), arrivals in any_arrivals(), tight in 1.0f64..3.0, looser in 0.0f64..3.0,
    ) {
        let options = |slo_factor| LeastPowerOptions { arrivals, slo_factor, ..LeastPowerOptions::default() };
        let (tight, loose) = (build(&profile, BOTH, &options(tight)), build(&profile, BOTH, &options(tight + looser)));
        for (tight, loose) in tight.rows().iter().zip(loose.rows()).filter(|(tight, _)| tight.meets_slo) {
            prop_assert!(loose.meets_slo && loose.predicted_watts <= tight.predicted_watts);
        }
    }

    #[test]
    fn both_knobs_together_never_plan_more_power_than_either_alone(
        profile in any_profile(), arrivals in any_arrivals(),
    ) {
        let options = LeastPowerOptions { arrivals, ..LeastPowerOptions::default() };
        let both = build(&profile, BOTH, &options);
        let with_batch = build(&profile, WITH_BATCH, &options);
        for free in [FREQUENCY, RESOURCES] {
            let one = build(&profile, free, &options);
            for (one, both) in one.rows().iter().zip(both.rows()).filter(|(one, _)| one.meets_slo) {
                prop_assert!(both.meets_slo && both.predicted_watts <= one.predicted_watts);
                let (_, free) = joint::least_power_alone(&with_batch, one.rps).unwrap();
                prop_assert!(free.power_at(one.rps) <= both.predicted_watts);
            }
        }
    }
}
