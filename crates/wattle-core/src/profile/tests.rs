//! Profiles read back as written, refuse nonsense by name, and never extrapolate.

use proptest::prelude::*;

use super::*;
use crate::operating_point::Confidence;
use crate::provenance::Basis;
use crate::units::{Joules, Megahertz};

const HEAD: &str = "# wattle_profile = 1\n# model = \"resnet50\"\n# device = \"P40\"\n# runtime = \"TF 1.15\"\n\
                    # power_source = \"NVML\"\n";
const COLUMNS: &str = "batch_size,instances,duty_cycle,throughput_rps,power_watts_mean,power_watts_max,basis,power_basis,samples\n";

fn profile(rows: &str) -> Profile {
    Profile::parse(&format!("{HEAD}# idle_power_watts = 50\n{COLUMNS}{rows}"), "p.csv").unwrap()
}

#[test]
fn reads_a_head_and_rows_with_unknown_cells() {
    let profile = profile("1,1,,40.5,,90,measured,modelled,10\n2,1,0.5,,,,assumed,assumed,0\n");
    assert_eq!(profile.head.model.as_str(), "resnet50");
    assert_eq!(profile.head.idle_power_watts, Some(Watts::new(50.0)));
    assert_eq!(profile.head.notes, None);
    let [first, second] = &profile.rows[..] else { panic!("two rows") };
    assert_eq!((first.throughput_rps, first.power_watts_max), (Some(40.5), Some(Watts::new(90.0))));
    assert_eq!((first.power_watts_mean, first.power_basis), (None, Basis::Modelled));
    assert_eq!((second.point.duty_cycle, second.throughput_rps), (Some(0.5), None));
}

#[test]
fn refuses_nonsense_naming_file_line_place_and_remedy() {
    let fails = |text: String, expected: &str| {
        let found = Profile::parse(&text, "p.csv").unwrap_err().to_string();
        assert!(found.starts_with(expected), "\n   found: {found}\nexpected: {expected}");
    };
    let row = |row: &str, expected: &str| fails(format!("{HEAD}{COLUMNS}{row}\n"), expected);
    row(
        "0,1,,,,,measured,measured,1",
        "p.csv, line 7, column \"batch_size\": found \"0\", expected a whole number of at least 1; correct",
    );
    row(
        ",1,,,,,measured,measured,1",
        "p.csv, line 7, column \"batch_size\": found an empty cell, expected a value; fill",
    );
    row(
        "1,1,1.5,,,,measured,measured,1",
        "p.csv, line 7, column \"duty_cycle\": found \"1.5\", expected a number over 0 and at most 1",
    );
    row(
        "1,1,,,-3,,measured,measured,1",
        "p.csv, line 7, column \"power_watts_mean\": found \"-3\", expected a number of at least 0",
    );
    row("1,1,,NaN,,,measured,measured,1", "p.csv, line 7, column \"throughput_rps\": found \"NaN\"");
    row("1,1,,inf,,,measured,measured,1", "p.csv, line 7, column \"throughput_rps\": found \"inf\"");
    row(
        "1,1,,,,,guessed,measured,1",
        "p.csv, line 7, column \"basis\": found \"guessed\", expected \"measured\", \"modelled\" or",
    );
    row("1,1,measured", "p.csv, line 7, rows: found 3 cells, expected 9");
    row(
        "1,1,,,,,measured,measured,1\n1,1,1,,,,measured,measured,1",
        "p.csv, line 8, rows: found the same operating point as line 7",
    );
    row("", "p.csv, line 7, rows: found no row");
    fails(
        format!("{HEAD}batch_size,instances,power_wats_max\n"),
        "p.csv, line 6, column \"power_wats_max\": found an unknown column, expected one of: batch_size,",
    );
    fails(
        format!("{HEAD}batch_size,batch_size\n"),
        "p.csv, line 6, column \"batch_size\": found the column twice",
    );
    fails(format!("{HEAD}batch_size\n"), "p.csv, line 6, column \"instances\": found no such column");
    fails(
        format!("{HEAD}# divice = \"P40\"\n{COLUMNS}"),
        "p.csv, line 6, key \"divice\": found an unknown key",
    );
    fails(
        format!("{HEAD}# notes = 3\n{COLUMNS}"),
        "p.csv, line 6, key \"notes\": found 3, expected text in quotes",
    );
    fails(format!("{HEAD}# notes = \n{COLUMNS}"), "p.csv, line 6, head: found");
    fails(
        format!("{HEAD}# idle_power_watts = -1\n{COLUMNS}"),
        "p.csv, line 6, key \"idle_power_watts\": found -1",
    );
    fails(
        HEAD.replace("= 1", "= 2"),
        "p.csv, line 1, key \"wattle_profile\": found 2, expected 1, the version",
    );
    fails(COLUMNS.to_owned(), "p.csv, line 1, key \"wattle_profile\": found no such key");
    fails(String::new(), "p.csv, line 1, key \"wattle_profile\": found no such key");
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let help = |text: String| Profile::parse(&text, "p.csv").unwrap_err().help.into_string();
    assert_eq!(help(format!("{HEAD}batch_size,powr_watts_max\n")), "did you mean \"power_watts_max\"?");
    assert_eq!(help(format!("{HEAD}# divice = \"P40\"\n{COLUMNS}")), "did you mean \"device\"?");
}

#[test]
fn finds_the_best_row_under_a_bound() {
    let profile = profile(
        "1,1,,10,60,70,measured,measured,1\n2,1,,20,70,90,measured,measured,1\n1,2,,20,65,80,measured,measured,1\n\
         4,1,,30,,,measured,measured,1\n8,1,,50,99,,measured,measured,1\n",
    );
    let best = |bound, figure, wanted: fn(&ProfileRow) -> bool| {
        let row = profile.best_within(Watts::new(bound), figure, wanted);
        row.map(|row| (row.point.batch_size, row.point.instances))
    };
    assert_eq!(best(69.0, PowerFigure::Max, |_| true), None);
    assert_eq!(best(70.0, PowerFigure::Max, |_| true), Some((1, 1)));
    assert_eq!(best(95.0, PowerFigure::Max, |_| true), Some((1, 2)), "of equals the one of least power");
    assert_eq!(best(95.0, PowerFigure::Max, |row| row.point.instances == 1), Some((2, 1)));
    assert_eq!(best(66.0, PowerFigure::Mean, |_| true), Some((1, 2)));
    assert_eq!(best(1e9, PowerFigure::Max, |_| true), Some((8, 1)), "the mean stands in for the maximum");
    let least = profile.least_hungry(PowerFigure::Max, |row| row.point.batch_size > 1).unwrap();
    assert_eq!(least.point.batch_size, 2);
}

#[test]
fn predicts_between_rows_and_never_beyond() {
    let profile = profile(
        "2,1,,10,,60,measured,measured,5\n8,1,,30,,,measured,assumed,9\n32,1,,40,,90,measured,measured,7\n",
    );
    let predict =
        |batch, instances| profile.predict(&OperatingPoint::of_batch_and_instances(batch, instances));
    let drawn = predict(4, 1).unwrap();
    assert_eq!(drawn.between, [0, 1]);
    assert!((drawn.row.throughput_rps.unwrap() - 300f64.sqrt()).abs() < 1e-9, "halfway in doublings");
    assert_eq!((drawn.row.power_watts_max, drawn.row.samples), (None, 5), "one neighbour has no power");
    assert_eq!((drawn.row.basis, drawn.row.power_basis), (Basis::Modelled, Basis::Assumed));
    assert_eq!(predict(8, 1).unwrap().between, []);
    for (batch, instances) in [(1, 1), (0, 1), (33, 1), (4, 2)] {
        assert_eq!(predict(batch, instances), None, "b={batch} m={instances} is outside");
    }
}

fn any_row() -> impl Strategy<Value = ProfileRow> {
    let figure = || proptest::option::of(prop_oneof![0.0..1e4f64, Just(0.0), Just(1e-9), Just(1e300)]);
    let name = || proptest::option::of("[ -~\n]{1,8}");
    let basis = || prop_oneof![Just(Basis::Measured), Just(Basis::Modelled), Just(Basis::Assumed)];
    let count = || proptest::option::of(1..200u32);
    let point = (1..10_000u32, 1..9u32, count(), proptest::option::of(0.01..1.0f64), count(), name(), name())
        .prop_map(
            |(batch_size, instances, cores_per_instance, duty_cycle, compute_units, partition, variant)| {
                let core_clock_mhz = compute_units.map(|units| Megahertz::new(f64::from(units) + 0.1));
                OperatingPoint {
                    batch_size,
                    instances,
                    cores_per_instance,
                    duty_cycle,
                    core_clock_mhz,
                    compute_units,
                    partition,
                    variant,
                }
            },
        );
    let times = (figure(), figure(), figure(), figure(), figure());
    let powers = (figure(), figure(), figure(), figure(), any::<Option<u64>>());
    (point, times, powers, basis(), basis(), any::<u32>()).prop_map(
        |(point, times, powers, basis, power_basis, samples)| ProfileRow {
            point,
            throughput_rps: times.0,
            latency_ms_mean: times.1,
            latency_ms_p50: times.2,
            latency_ms_p95: times.3,
            latency_ms_p99: times.4,
            power_watts_mean: powers.0.map(Watts::new),
            power_watts_p95: powers.1.map(Watts::new),
            power_watts_max: powers.2.map(Watts::new),
            energy_joules_per_row: powers.3.map(Joules::new),
            memory_bytes: powers.4,
            basis,
            power_basis,
            samples,
            confidence: Confidence {
                windows: powers.4.map(|bytes| bytes as u32),
                throughput_rps_ci95: times.1,
                power_watts_ci95: powers.1.map(Watts::new),
                power_samples: Some(samples),
            },
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(
        texts in proptest::collection::vec(any::<String>(), 5),
        idle in proptest::option::of(0.0..500.0f64),
        rows in proptest::collection::vec(any_row(), 1..12),
    ) {
        let head = ProfileHead {
            model: texts[0].as_str().into(),
            device: texts[1].clone(),
            runtime: texts[2].clone(),
            idle_power_watts: idle.map(Watts::new),
            request_overhead_ms: None,
            quality: None,
            power_source: texts[3].clone(),
            created: None,
            notes: Some(texts[4].clone()),
            conditions: Conditions {
                driver: Some(texts[1].clone()),
                model_sha256: None,
                sensors: Some(texts[3].clone()),
                ambient: Some(texts[2].clone()),
            },
        };
        let mut profile = Profile { head, rows };
        profile.rows.sort_by_key(|row| row.point.batch_size);
        profile.rows.dedup_by_key(|row| row.point.batch_size);
        let read = Profile::parse(&profile.to_text(), "p.csv");
        prop_assert_eq!(read.as_ref(), Ok(&profile), "{}", profile.to_text());
    }

    #[test]
    fn no_text_makes_it_panic(text in "(# [a-z_]{1,8} = [0-9\"a]{0,4}\n){0,3}[a-z_,\n0-9\"#.-]{0,80}") {
        let _ = Profile::parse(&text, "p.csv");
    }

    #[test]
    fn along_the_batch_size_both_ways_to_read_agree(
        figures in proptest::collection::btree_map(1..500u32, (1.0..1e4f64, 1.0..400.0f64), 1..8), at in 1..500u32,
    ) {
        let row = |(batch, (rps, watts)): (&u32, &(f64, f64))| {
            format!("{batch},1,,{rps},,{watts},measured,measured,1\n")
        };
        let profile = profile(&figures.iter().map(row).collect::<String>());
        let point = OperatingPoint::of_batch_and_instances(at, 1);
        let (along, over_all) = (profile.predict(&point), profile.predictor().predict(&point));
        prop_assert_eq!(along.is_some(), over_all.is_some());
        if let (Some(along), Some(over_all)) = (along, over_all) {
            prop_assert_eq!(along.between, over_all.between);
            let rps = |row: &ProfileRow| row.throughput_rps.unwrap();
            let watts = |row: &ProfileRow| row.power_watts_max.unwrap().get();
            prop_assert!((rps(&along.row) / rps(&over_all.row) - 1.0).abs() < 1e-9);
            prop_assert!((watts(&along.row) / watts(&over_all.row) - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_prediction_lies_between_its_neighbours(low in 1..100u32, high in 100..300u32, at in 1..400u32) {
        let profile = profile(&format!(
            "{low},1,,10,,60,measured,measured,1\n{high},1,,30,,90,measured,measured,1\n"
        ));
        match profile.predict(&OperatingPoint::of_batch_and_instances(at, 1)) {
            None => prop_assert!(at < low || at > high),
            Some(prediction) => {
                prop_assert!((low..=high).contains(&at));
                let power = prediction.row.power_watts_max.unwrap().get();
                prop_assert!((60.0 - 1e-9..=90.0 + 1e-9).contains(&power));
            }
        }
    }
}
