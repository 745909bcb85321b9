//! No point of what is merged is lost, disagreement is told, and what can't be compared is refused.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::operating_point::OperatingPoint;
use crate::provenance::Basis;
use crate::units::Watts;

const COLUMNS: &str = "batch_size,instances,throughput_rps,latency_ms_p99,power_watts_mean,power_watts_max,\
                       energy_joules_per_row,memory_bytes,basis,power_basis,samples,windows,\
                       throughput_rps_ci95,power_watts_ci95,power_samples";

fn profile(head: &str, rows: &str) -> Profile {
    let fixed = "# wattle_profile = 1\n# model = \"resnet50\"\n# device = \"P40\"\n# runtime = \"TF 1.15\"\n\
                 # power_source = \"NVML\"\n";
    Profile::parse(&format!("{fixed}{head}{COLUMNS}\n{rows}"), "p.csv").unwrap()
}

fn merged(parts: &[&Profile]) -> Merged {
    let named: Vec<(&str, &Profile)> =
        ["a.csv", "b.csv", "c.csv"].into_iter().zip(parts.iter().copied()).collect();
    merge(&named, MergeOptions::default()).unwrap()
}

fn refused(a: &Profile, b: &Profile, prefer: Prefer) -> String {
    let options = MergeOptions { prefer, anyway: false };
    merge(&[("a.csv", a), ("b.csv", b)], options).unwrap_err().to_string()
}

#[test]
fn a_shared_point_is_pooled_by_its_windows_and_its_interval_reaches_to_both_means() {
    let a = profile("", "4,1,100,10,50,60,,1000,measured,measured,30,3,2,1,30\n");
    let b = profile("", "4,1,120,14,54,58,,900,measured,measured,10,1,2,1,10\n");
    let merged = merged(&[&a, &b]);
    let [row] = merged.profile.rows.as_slice() else { panic!("{merged:?}") };
    assert_eq!((row.throughput_rps, row.latency_ms_p99), (Some(105.0), Some(11.0)));
    assert_eq!((row.power_watts_mean, row.power_watts_max), (Some(Watts::new(51.0)), Some(Watts::new(60.0))));
    assert_eq!((row.memory_bytes, row.samples), (Some(1000), 40));
    assert_eq!((row.confidence.windows, row.confidence.power_samples), (Some(4), Some(40)));
    let half_width = row.confidence.throughput_rps_ci95.unwrap();
    assert!((half_width - (1.5f64.powi(2) + 0.5f64.powi(2) + 225.0).sqrt()).abs() < 1e-9, "{half_width}");
    assert_eq!(merged.shared_points, 1);
}

#[test]
fn where_one_does_not_tell_how_sure_it_is_the_pooled_one_does_not_either() {
    let a = profile("", "4,1,100,,50,,,,measured,measured,30,3,2,1,30\n");
    let b = profile("", "4,1,120,,54,,,,measured,measured,10,,,,\n");
    let row = merged(&[&a, &b]).profile.rows.remove(0);
    assert_eq!(row.throughput_rps, Some(105.0), "weighted by batches, as not both tell windows");
    assert_eq!(row.confidence, crate::operating_point::Confidence::default());
}

#[test]
fn what_was_measured_is_not_blurred_by_what_was_modelled() {
    let a = profile("", "4,1,100,,50,,,,measured,assumed,30,,,,\n");
    let b = profile("", "4,1,500,,90,,,,modelled,measured,99,,,,\n");
    for parts in [[&a, &b], [&b, &a]] {
        let merged = merged(&parts);
        let row = &merged.profile.rows[0];
        assert_eq!((row.throughput_rps, row.basis, row.samples), (Some(100.0), Basis::Measured, 30));
        assert_eq!((row.power_watts_mean, row.power_basis), (Some(Watts::new(90.0)), Basis::Measured));
        assert_eq!(merged.outranked_points, 1);
    }
}

#[test]
fn a_figure_that_only_a_lesser_known_row_tells_is_kept_with_its_basis() {
    let a = profile("", "4,1,100,,,,,,measured,measured,30,,,,\n");
    let b = profile("", "4,1,,,90,,,,modelled,modelled,0,,,,\n");
    let merged = merged(&[&a, &b]);
    let row = &merged.profile.rows[0];
    assert_eq!((row.throughput_rps, row.basis), (Some(100.0), Basis::Measured));
    assert_eq!((row.power_watts_mean, row.power_basis), (Some(Watts::new(90.0)), Basis::Modelled));
    assert_eq!(merged.outranked_points, 0);
}

#[test]
fn energy_of_pooled_rows_is_still_power_over_throughput() {
    let a = profile("", "4,1,100,,50,,0.5,,measured,measured,1,3,,,\n");
    let b = profile("", "4,1,50,,75,,1.5,,measured,measured,1,1,,,\n");
    let row = merged(&[&a, &b]).profile.rows.remove(0);
    let ratio = row.power_watts_mean.unwrap().get() / row.throughput_rps.unwrap();
    assert!((row.energy_joules_per_row.unwrap().get() / ratio - 1.0).abs() < 1e-12);
}

#[test]
fn heads_are_joined_and_nothing_is_lost() {
    let row = "1,1,10,,,,,,measured,measured,1,,,,\n";
    let a = profile(
        "# created = \"2026-05-31T10:00:00Z\"\n# notes = \"cold\"\n# idle_power_watts = 50\n\
         # request_overhead_ms = 1\n# ambient = \"21 C\"\n# quality = 0.7\n",
        row,
    );
    let b = profile(
        "# created = \"2026-06-01T10:00:00Z\"\n# notes = \"warm\"\n# idle_power_watts = 48\n\
         # request_overhead_ms = 3\n# ambient = \"25 C\"\n# sensors = \"NVML at 10 Hz\"\n",
        row,
    );
    let head = merged(&[&a, &b]).profile.head;
    assert_eq!(head.created.as_deref(), Some("2026-06-01T10:00:00Z"));
    assert_eq!((head.idle_power_watts, head.request_overhead_ms), (Some(Watts::new(48.0)), Some(2.0)));
    assert_eq!((head.conditions.ambient.as_deref(), head.quality), (Some("21 C; 25 C"), Some(0.7)));
    assert_eq!(head.conditions.sensors.as_deref(), Some("NVML at 10 Hz"));
    assert_eq!(
        head.notes.as_deref(),
        Some(
            "cold\nwarm\nMerged from a.csv (created 2026-05-31T10:00:00Z), b.csv (created 2026-06-01T10:00:00Z)."
        )
    );
}

#[test]
fn other_models_and_conditions_are_refused_naming_key_and_both_values() {
    let row = "1,1,10,,,,,,measured,measured,1,,,,\n";
    let base = profile("", row);
    let other = |change: fn(&mut Profile)| {
        let mut other = base.clone();
        change(&mut other);
        refused(&base, &other, Prefer::Pooled)
    };
    let told = other(|profile| profile.head.model = "vgg19".into());
    assert!(
        told.starts_with("b.csv, key \"model\": found \"vgg19\", expected \"resnet50\" as in a.csv; "),
        "{told}"
    );
    assert!(told.ends_with("(--anyway)"), "{told}");
    let told = other(|profile| profile.head.device = "V100".into());
    assert!(told.starts_with("b.csv, key \"device\": found \"V100\", expected \"P40\""), "{told}");
    let told = other(|profile| profile.head.runtime = "rten".into());
    assert!(told.starts_with("b.csv, key \"runtime\": found \"rten\", expected \"TF 1.15\""), "{told}");
    let told = other(|profile| profile.head.conditions.driver = Some("550".into()));
    assert!(
        told.starts_with("b.csv, key \"driver\": found \"550\", expected nothing (unknown) as in a.csv"),
        "{told}"
    );
    let told = other(|profile| profile.head.power_source = "a wall meter".into());
    assert!(
        told.starts_with("b.csv, key \"power_source\": found \"a wall meter\", expected \"NVML\""),
        "{told}"
    );
    let told = other(|profile| profile.head.conditions.model_sha256 = Some("ab".into()));
    assert!(told.starts_with("b.csv, key \"model_sha256\": found \"ab\", expected nothing"), "{told}");
    assert_eq!(merge(&[], MergeOptions::default()), Err(MergeError::Nothing));
}

#[test]
fn any_two_that_tell_a_quality_have_to_agree() {
    let row = |batch: u32| format!("{batch},1,10,,,,,,measured,measured,1,,,,\n");
    let (none, one, other) =
        (profile("", &row(1)), profile("# quality = 0.5\n", &row(2)), profile("# quality = 0.6\n", &row(4)));
    let parts = [("a.csv", &none), ("b.csv", &one), ("c.csv", &other)];
    let told = merge(&parts, MergeOptions::default()).unwrap_err().to_string();
    assert!(
        told.starts_with("c.csv, key \"quality\": found \"0.6\", expected \"0.5\" as in b.csv"),
        "{told}"
    );
    assert_eq!(merged(&[&none, &one]).profile.head.quality, Some(0.5));
}

#[test]
fn what_is_merged_anyway_is_noted_and_claims_no_common_hash() {
    let a = profile("# model_sha256 = \"aa\"\n# quality = 0.5\n", "1,1,10,,,,,,measured,measured,1,,,,\n");
    let b = profile("# model_sha256 = \"bb\"\n# quality = 0.6\n", "2,1,10,,,,,,measured,measured,1,,,,\n");
    let parts = [("a.csv", &a), ("b.csv", &b)];
    let merged = merge(&parts, MergeOptions { anyway: true, ..MergeOptions::default() }).unwrap();
    let head = &merged.profile.head;
    assert_eq!((&head.conditions.model_sha256, head.quality), (&None, None));
    let notes = head.notes.as_deref().unwrap();
    assert!(
        notes.ends_with(
            "Merged although they differ: model_sha256 is \"aa\" in a.csv and \"bb\" in b.csv. \
             quality is \"0.5\" in a.csv and \"0.6\" in b.csv."
        ),
        "{notes}"
    );
    assert_eq!(merged.differences.len(), 2);
}

#[test]
fn one_of_two_rows_is_kept_where_that_is_asked_for() {
    let a = profile("# created = \"2026-06-01T10:00:00Z\"\n", "4,1,100,,,,,,measured,measured,1,,,,\n");
    let b = profile("# created = \"2026-05-01T10:00:00Z\"\n", "4,1,200,,,,,,measured,measured,1,,,,\n");
    let kept = |parts: [&Profile; 2], prefer| {
        let options = MergeOptions { prefer, anyway: false };
        merge(&[("a", parts[0]), ("b", parts[1])], options).unwrap().profile.rows[0].throughput_rps
    };
    assert_eq!(kept([&a, &b], Prefer::First), Some(100.0));
    assert_eq!(kept([&b, &a], Prefer::First), Some(200.0));
    assert_eq!(kept([&a, &b], Prefer::Newest), Some(100.0));
    assert_eq!(kept([&b, &a], Prefer::Newest), Some(100.0));
}

#[test]
fn a_time_is_later_by_a_fraction_of_a_second_too() {
    let at = |created: &str, rps: u32| {
        profile(&format!("# created = \"{created}\"\n"), &format!("4,1,{rps},,,,,,measured,measured,1,,,,\n"))
    };
    let (early, late) = (at("2026-06-01T10:00:00Z", 1), at("2026-06-01T10:00:00.25Z", 2));
    let options = MergeOptions { prefer: Prefer::Newest, anyway: false };
    let merged = merge(&[("a", &late), ("b", &early)], options).unwrap().profile;
    assert_eq!((merged.rows[0].throughput_rps, merged.head.created), (Some(2.0), late.head.created.clone()));
    for odd in ["2026-06-01", "2026-06-01T10:00:00", "2026-06-01T10:00:00+02:00", "2026-06-01T10:00:00.xZ"] {
        assert!(refused(&late, &at(odd, 3), Prefer::Newest).contains("expected a time"), "{odd}");
    }
}

#[test]
fn the_newest_is_not_guessed() {
    let dated = profile("# created = \"2026-06-01T10:00:00Z\"\n", "4,1,1,,,,,,measured,measured,1,,,,\n");
    let undated = profile("", "4,1,2,,,,,,measured,measured,1,,,,\n");
    let told = refused(&dated, &undated, Prefer::Newest);
    assert!(told.starts_with("b.csv, key \"created\": found nothing (unknown), expected a time"), "{told}");
    let local = profile("# created = \"1 June\"\n", "4,1,2,,,,,,measured,measured,1,,,,\n");
    let told = refused(&dated, &local, Prefer::Newest);
    assert!(told.starts_with("b.csv, key \"created\": found \"1 June\", expected a time"), "{told}");
}

fn any_profile() -> impl Strategy<Value = Profile> {
    let figure = || proptest::option::of(prop_oneof![0.0..1e4f64, Just(0.0), Just(1e300)]);
    let basis = || prop_oneof![Just("measured"), Just("modelled"), Just("assumed")];
    let count = || proptest::option::of(0..50u32);
    let row = (
        (figure(), figure(), figure(), figure(), figure()),
        (basis(), basis(), 0..99u32, count()),
        (figure(), figure(), count()),
    );
    let rows = proptest::collection::btree_map((1..6u32, 1..3u32), row, 1..8);
    (rows, proptest::option::of("[a-z]{1,4}"), proptest::option::of(1.0..90.0f64)).prop_map(
        |(rows, notes, idle)| {
            let text = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
            let whole = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
            let lines = rows.iter().map(|((b, m), (of, known, sure))| {
                let figures = [of.0, of.1, of.2, of.3, of.4].map(text).join(",");
                let sure = [whole(known.3), text(sure.0), text(sure.1), whole(sure.2)].join(",");
                format!("{b},{m},{figures},,{},{},{},{sure}\n", known.0, known.1, known.2)
            });
            let notes = notes.map(|notes| format!("# notes = \"{notes}\"\n")).unwrap_or_default();
            let idle = idle.map(|idle| format!("# idle_power_watts = {idle}\n")).unwrap_or_default();
            profile(&format!("{notes}{idle}"), &lines.collect::<String>())
        },
    )
}

fn points(profile: &Profile) -> BTreeSet<String> {
    profile.rows.iter().map(|row| row.point.to_string()).collect()
}

proptest! {
    #[test]
    fn a_profile_merged_with_itself_is_itself(profile in any_profile()) {
        prop_assert_eq!(&merged(&[&profile]).profile, &profile);
        prop_assert_eq!(&merged(&[&profile, &profile, &profile]).profile, &profile);
    }

    #[test]
    fn the_order_of_the_files_changes_nothing_but_that_of_the_rows(a in any_profile(), b in any_profile(), c in any_profile()) {
        let one = merged(&[&a, &b, &c]).profile;
        let other = merged(&[&c, &a, &b]).profile;
        prop_assert_eq!(one.rows.len(), other.rows.len());
        for row in &one.rows {
            prop_assert_eq!(Some(row), other.row_at(&row.point));
        }
        let without_notes = |head: &ProfileHead| ProfileHead { notes: None, ..head.clone() };
        prop_assert_eq!(without_notes(&one.head), without_notes(&other.head));
    }

    #[test]
    fn every_point_of_every_file_is_in_the_result_and_no_other(a in any_profile(), b in any_profile()) {
        let merged = merged(&[&a, &b]).profile;
        let expected: BTreeSet<String> = points(&a).union(&points(&b)).cloned().collect();
        prop_assert_eq!(merged.rows.len(), expected.len());
        prop_assert_eq!(points(&merged), expected);
        prop_assert_eq!(Profile::parse(&merged.to_text(), "m.csv"), Ok(merged));
    }

    #[test]
    fn a_pooled_interval_covers_every_mean_that_went_into_it(
        rps in proptest::collection::vec((0.0..1e4f64, 0.0..100.0f64, 1..20u32), 2..4),
    ) {
        let files: Vec<Profile> = rps
            .iter()
            .map(|(rps, ci, windows)| {
                profile("", &format!("4,1,{rps},,,,,,measured,measured,1,{windows},{ci},,\n"))
            })
            .collect();
        let row = merged(&files.iter().collect::<Vec<_>>()).profile.rows.remove(0);
        let (mean, half_width) = (row.throughput_rps.unwrap(), row.confidence.throughput_rps_ci95.unwrap());
        for (rps, ..) in &rps {
            prop_assert!((rps - mean).abs() <= half_width * (1.0 + 1e-12), "{rps} {mean} {half_width}");
        }
        prop_assert_eq!(row.point, OperatingPoint::of_batch_and_instances(4, 1));
    }
}
