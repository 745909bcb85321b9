//! What each format's files become, on small files written by hand.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "samples/mod.rs"]
mod samples;

use samples::{import_one, inputs, odd};
use wattle_core::operating_point::ProfileRow;
use wattle_core::profile::Profile;
use wattle_core::signal::{AfterEnd, Trace};
use wattle_import::{CarbonKind, Format, Gaps, Imported, Options, TimeZone, import, measurements, step_log};

fn rows(imported: &Imported) -> &[ProfileRow] {
    &imported.profiles[0].profile.rows
}

fn points(imported: &Imported) -> &[(f64, f64)] {
    &imported.signals[0].points
}

#[test]
fn what_is_made_is_read_back_by_the_core() {
    for (format, files) in samples::all() {
        let imported = import(format, &inputs(&files), &Options::default()).unwrap();
        for one in &imported.profiles {
            assert_eq!(Profile::parse(&one.profile.to_text(), "made").unwrap(), one.profile, "{format}");
        }
        for one in &imported.signals {
            let trace = Trace::parse(&one.to_text(), "made", one.column, AfterEnd::Hold).unwrap();
            assert_eq!(trace.points().len(), one.points.len(), "{format}");
        }
    }
}

#[test]
fn enertune_gives_static_power_and_counts_what_is_missing() {
    let imported = import_one(Format::EnerTune, "f.csv", samples::ENERTUNE).unwrap();
    let head = &imported.profiles[0].profile.head;
    assert_eq!((head.model.as_str(), head.idle_power_watts.unwrap().get()), ("tiny", 44.0));
    let notes = head.notes.as_deref().unwrap();
    assert!(notes.contains("44.0 at 210 MHz, 73.0 at 1410 MHz"), "{notes}");
    let first = &rows(&imported)[0];
    assert_eq!(first.point.partition.as_deref(), Some("1g"));
    assert_eq!((first.throughput_rps, first.latency_ms_mean), (Some(20.0), Some(50.0)));
    assert_eq!(first.power_watts_mean.unwrap().get(), 46.0);
    assert_eq!(rows(&imported).len(), 6);
    assert_eq!(rows(&imported)[3].power_watts_mean, None, "an empty cell is unknown");
    assert_eq!(rows(&imported)[4].latency_ms_mean, None, "zero is not measured");
    assert_eq!(odd(&imported, "operating points given again"), 1);
    assert_eq!(odd(&imported, "rows without model"), 1);
    assert_eq!(odd(&imported, "rows whose static power"), 1);
    assert_eq!(odd(&imported, "rows whose throughput"), 1);
    assert_eq!(odd(&imported, "combinations"), 2);
}

#[test]
fn parvagpu_throughput_is_of_all_processes_and_latency_in_milliseconds() {
    let imported = import_one(Format::ParvaGpu, "dir/tiny.csv", samples::PARVAGPU).unwrap();
    let found: Vec<_> = rows(&imported)
        .iter()
        .map(|row| (row.point.batch_size, row.point.instances, row.throughput_rps, row.latency_ms_mean))
        .collect();
    let expected =
        [(1, 1, Some(100.0), Some(10.0)), (1, 2, Some(160.0), Some(12.5)), (4, 1, Some(400.0), Some(10.0))];
    assert_eq!(found, expected);
    assert_eq!(imported.profiles[0].profile.head.model.as_str(), "tiny");
    assert_eq!((odd(&imported, "rows of zero"), odd(&imported, "operating points given again")), (1, 1));
}

#[test]
fn a_checkpoint_tells_the_batch_from_the_request() {
    let all = measurements(samples::CHECKPOINT, "f").unwrap();
    let one = all.iter().find(|one| one.concurrency == 8).unwrap();
    assert_eq!(
        (one.server_compute_ms, one.server_queue_ms, one.overhead_ms()),
        (Some(6.0), Some(3.0), Some(1.0))
    );
    assert_eq!((one.instances, one.batch_size(), one.dynamic_batching), (2, 4, Some(true)));
    assert_eq!((one.gpu_memory_bytes, one.gpu_utilization), (Some(900_500_000), Some(0.5)));
    let default = all.iter().find(|one| one.variant == "tiny_config_default").unwrap();
    assert_eq!((default.instances, default.batch_size(), default.max_batch_size), (1, 2, 8));
}

#[test]
fn a_checkpoint_becomes_a_profile_at_the_highest_concurrency_up_to_64() {
    let imported = import_one(Format::ModelAnalyzer, "0.ckpt", samples::CHECKPOINT).unwrap();
    let one = &imported.profiles[0];
    assert_eq!(one.profile.head.request_overhead_ms, Some(1.0));
    assert_eq!(one.profile.head.device, "A GPU");
    assert_eq!(one.profile.head.idle_power_watts.unwrap().get(), 55.0);
    let batched = one.profile.rows.iter().find(|row| row.point.batch_size == 4).unwrap();
    assert_eq!((batched.latency_ms_mean, batched.latency_ms_p99), (Some(6.0), None));
    assert_eq!(batched.throughput_rps, Some(800.0));
    let unbatched = one.profile.rows.iter().find(|row| row.point.batch_size == 2).unwrap();
    assert_eq!(unbatched.latency_ms_mean, Some(20.0), "the request's, for want of the batch's");
    assert_eq!(odd(&imported, "measurements at other concurrencies"), 1);

    let options = Options { concurrency: Some(7), ..Options::default() };
    let error =
        import(Format::ModelAnalyzer, &inputs(&[("0.ckpt", samples::CHECKPOINT)]), &options).unwrap_err();
    assert!(error.to_string().contains("1, 8, 128"), "{error}");
}

#[test]
fn metrics_csvs_are_joined_and_models_measured_together_are_marked() {
    let files = [("gpu.csv", samples::GPU_CSV), ("inference.csv", samples::INFERENCE_CSV)];
    let imported = import(Format::ModelAnalyzer, &inputs(&files), &Options::default()).unwrap();
    let tiny = imported.profiles.iter().find(|one| one.file_stem == "tiny").unwrap();
    assert_eq!(tiny.profile.rows.len(), 2);
    assert_eq!(tiny.profile.rows[0].power_watts_mean.unwrap().get(), 120.0);
    assert_eq!(tiny.profile.rows[0].latency_ms_p99, Some(14.0));
    let beside = &tiny.profile.rows[1];
    assert_eq!(beside.point.variant.as_deref(), Some("tiny_config_0 beside other_config_1"));
    assert_eq!((beside.throughput_rps, beside.power_watts_mean), (Some(300.0), None));
}

#[test]
fn a_step_log_is_read_apart_from_its_summary() {
    let log = step_log(samples::STEP_LOG, "f").unwrap();
    assert_eq!(log.steps.len(), 4);
    assert_eq!((log.steps[3].batch_size, log.steps[3].best_index), (4, Some(3)));
    let summary = log.summary.unwrap();
    assert_eq!(summary.mean.unwrap().power_watts, Some(95.0));
    assert_eq!(summary.min.unwrap().core_clock_mhz, Some(949.0));
    assert_eq!(summary.violations, Some(0.0));
}

#[test]
fn a_step_log_becomes_a_profile_and_a_cap() {
    let imported = import_one(Format::BatchDvfs, "steps.csv", samples::STEP_LOG).unwrap();
    let eight = rows(&imported).iter().find(|row| row.point.batch_size == 8).unwrap();
    // 16 rows in 0.5 s and 1 s: the first step of this size is left out.
    assert_eq!(
        (eight.throughput_rps, eight.latency_ms_mean, eight.samples),
        (Some(16.0 / 1.5), Some(750.0), 2)
    );
    assert_eq!(eight.power_watts_mean.unwrap().get(), 105.0);
    assert_eq!(eight.power_watts_max.unwrap().get(), 110.0);
    assert_eq!(rows(&imported).len(), 1, "a size that was only set up for stays unknown");
    assert_eq!((odd(&imported, "first steps"), odd(&imported, "operating points that were run")), (2, 1));
    assert_eq!(points(&imported), [(0.0, 150.0), (1.5, 100.0), (3.5, 100.0)]);
    assert_eq!(imported.signals[0].column, "power_cap_watts");
    assert_eq!((odd(&imported, "summary lines"), odd(&imported, "summaries that disagree")), (6, 0));
    let wrong = samples::STEP_LOG.replace("violation, 0", "violation, 3");
    assert_eq!(odd(&import_one(Format::BatchDvfs, "f", &wrong).unwrap(), "summaries that disagree"), 1);
}

#[test]
fn an_nvidia_smi_log_is_power_over_time() {
    let imported = import_one(Format::BatchDvfs, "s_nvidiasmi_output.csv", samples::NVIDIA_SMI).unwrap();
    assert_eq!(points(&imported), [(0.0, 9.91), (2.006, 146.66)]);
    assert_eq!(odd(&imported, "readings of [N/A]"), 1);
}

#[test]
fn mlperf_energy_is_the_middle_of_the_meter_over_the_rate() {
    let imported = import(Format::MlperfPower, &inputs(&samples::mlperf()), &Options::default()).unwrap();
    let one = &imported.profiles[0];
    let row = &one.profile.rows[0];
    assert!((row.energy_joules_per_row.unwrap().get() - 2.2).abs() < 1e-12);
    assert_eq!(row.power_watts_max.unwrap().get(), 24.0);
    assert_eq!((row.latency_ms_mean, row.latency_ms_p95), (Some(100.0), Some(110.0)));
    assert!((one.profile.head.quality.unwrap() - 0.76442).abs() < 1e-12);
    assert_eq!((one.profile.head.device.as_str(), one.profile.head.runtime.as_str()), ("A board", "F 1"));
}

#[test]
fn an_mlperf_copy_in_another_scenario_counts_once() {
    let mut files = samples::mlperf();
    files.push((
        "results/board.a/net/offline/performance/run_1/mlperf_log_summary.txt",
        samples::MLPERF_SUMMARY,
    ));
    files.push(("results/board.a/net/offline/performance/run_1/spl.txt", samples::SPL));
    let imported = import(Format::MlperfPower, &inputs(&files), &Options::default()).unwrap();
    assert_eq!((imported.profiles.len(), rows(&imported).len()), (1, 1));
    assert!(imported.profiles[0].profile.head.quality.is_some(), "the one kept is the one in its own folder");
    assert_eq!(odd(&imported, "results that are a copy"), 1);
}

#[test]
fn a_mix_becomes_direct_intensity() {
    let imported = import_one(Format::Dacf, "HERE.csv", samples::DACF).unwrap();
    let last = (100.0 * 406.0 + 50.0 * 575.0) / 200.0;
    // 02:00 generated nothing at all: not measured, so filled between its neighbours.
    let expected = [(0.0, 565.0), (3600.0, 185.0), (7200.0, (185.0 + last) / 2.0), (10800.0, last)];
    assert_eq!(points(&imported), expected);
    assert_eq!((odd(&imported, "missing times"), odd(&imported, "negative values")), (1, 1));
    assert!(imported.signals[0].to_text().contains("# start: 2020-01-01T00:00:00Z"));
}

#[test]
fn one_source_becomes_generation() {
    let options = Options { source: Some("solar".into()), ..Options::default() };
    let imported = import(Format::Dacf, &inputs(&[("HERE.csv", samples::DACF)]), &options).unwrap();
    assert_eq!(points(&imported), [(0.0, 0.0), (3600.0, 0.0), (7200.0, 0.0), (10800.0, 50.0)]);
    assert_eq!(imported.signals[0].column, "generation_megawatts");
    let options = Options { source: Some("sola".into()), ..Options::default() };
    let error = import(Format::Dacf, &inputs(&[("HERE.csv", samples::DACF)]), &options).unwrap_err();
    assert!(error.help.contains("--source solar"), "{error}");
}

#[test]
fn the_portal_has_both_kinds_and_zones() {
    let one = |kind| {
        let options = Options { kind, ..Options::default() };
        import(Format::ElectricityMaps, &inputs(&[("f.csv", samples::PORTAL)]), &options).unwrap()
    };
    let direct = one(Some(CarbonKind::Direct));
    assert_eq!(points(&direct), [(0.0, 0.0), (3600.0, 10.0), (7200.0, 20.0)]);
    let life_cycle = one(None);
    assert_eq!(points(&life_cycle), [(0.0, 30.5), (3600.0, 40.5), (7200.0, 50.5)]);
    assert_eq!(life_cycle.signals[1].file_stem, "TH-life-cycle-carbon-intensity");
    assert_eq!(odd(&life_cycle, "values that Electricity Maps estimated"), 1);
}

#[test]
fn newer_names_of_the_portals_columns_are_known() {
    let text = samples::PORTAL.replace("Intensity gCO₂eq/kWh (LCA)", "intensity gCO₂eq/kWh (Life cycle)");
    let imported = import_one(Format::ElectricityMaps, "f.csv", &text).unwrap();
    assert_eq!(points(&imported)[0].1, 30.5);
}

#[test]
fn half_hours_are_read_from_csv_and_json() {
    let csv = import_one(Format::Uk, "fr.csv", samples::HALF_HOURS).unwrap();
    assert_eq!(points(&csv), [(0.0, 40.0), (1800.0, 42.0), (3600.0, 44.0), (5400.0, 46.0)]);
    let json = import_one(Format::Uk, "gb.json", samples::UK_JSON).unwrap();
    assert_eq!(points(&json), [(0.0, 110.0), (1800.0, 120.0)]);
    let oddity = json.oddities.iter().find(|oddity| oddity.what == "times without a measured value").unwrap();
    assert_eq!((oddity.count, oddity.first_line), (1, Some(3)));
}

#[test]
fn local_time_loses_no_hour_in_autumn_and_gains_none_in_spring() {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let options = Options { time_zone: Some(zone), ..Options::default() };
    let run =
        |text: &str, options: &Options| import(Format::Uk, &inputs(&[("f.csv", text)]), options).unwrap();
    let autumn = "Time,Carbon Intensity\n2020-10-25 01:00,1\n2020-10-25 02:00,2\n2020-10-25 02:00,3\n2020-10-25 03:00,4\n";
    let imported = run(autumn, &options);
    assert_eq!(points(&imported), [(0.0, 1.0), (3600.0, 2.0), (7200.0, 3.0), (10800.0, 4.0)]);
    assert_eq!(imported.oddities, []);
    let spring = "Time,Carbon Intensity\n2020-03-29 00:00,1\n2020-03-29 01:00,2\n2020-03-29 02:00,9\n2020-03-29 03:00,3\n";
    let imported = run(spring, &options);
    assert_eq!(points(&imported), [(0.0, 1.0), (3600.0, 2.0), (7200.0, 3.0)]);
    assert_eq!(odd(&imported, "local times that clocks jump over"), 1);
    // Without the zone the same file is taken as UTC, and its double hour told.
    assert_eq!(odd(&run(autumn, &Options::default()), "times given again with another value"), 1);
}

#[test]
fn long_gaps_wait_for_a_decision() {
    let text = "Time,Carbon Intensity\n2020-01-01 00:00,1\n2020-01-01 01:00,2\n2020-01-01 02:00,3\n2020-01-01 08:00,9\n";
    let error = import_one(Format::Uk, "f.csv", text).unwrap_err();
    assert!(error.to_string().contains("--gaps hold"), "{error}");
    let options = Options { gaps: Some(Gaps::Interpolate), ..Options::default() };
    let imported = import(Format::Uk, &inputs(&[("f.csv", text)]), &options).unwrap();
    assert_eq!(points(&imported)[5], (18000.0, 6.0));
}

#[test]
fn clover_counts_hours_and_says_that_they_are_assumed() {
    let imported = import_one(Format::Clover, "f.csv", samples::CLOVER).unwrap();
    assert_eq!(points(&imported), [(0.0, 124.57), (3600.0, 135.6), (7200.0, 0.0)]);
    assert!(imported.signals[0].to_text().contains("one value an hour, assumed"));
    assert_eq!((odd(&imported, "values without a time"), odd(&imported, "values of zero")), (3, 1));
}

#[test]
fn one_bad_row_in_twenty_is_skipped_and_more_are_an_error() {
    let rows = |bad: usize| {
        let mut text = "Time,Carbon Intensity\n".to_owned();
        for minute in 0..20 {
            let value = if minute < bad { "what".to_owned() } else { minute.to_string() };
            text += &format!("2020-01-01 00:{minute:02}:00,{value}\n");
        }
        import_one(Format::Uk, "f.csv", &text)
    };
    assert_eq!(odd(&rows(1).unwrap(), "rows that can't be read"), 1);
    let error = rows(2).unwrap_err();
    assert_eq!(error.line, Some(2));
    assert!(error.help.starts_with("2 of 20 rows"), "{error}");
}

#[test]
fn a_file_of_another_format_is_told_from_this_one() {
    let cases = [
        (Format::EnerTune, samples::PARVAGPU, "model"),
        (Format::ParvaGpu, samples::ENERTUNE, "Mig instance"),
        (Format::Dacf, samples::PORTAL, "UTC time"),
        (Format::ElectricityMaps, samples::DACF, "Datetime (UTC)"),
        (Format::BatchDvfs, samples::DACF, "time stamp"),
        (Format::Uk, samples::ENERTUNE, "Time"),
    ];
    for (format, text, column) in cases {
        let error = import_one(format, "given.csv", text).unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with("given.csv, line 1, column "), "{said}");
        assert!(said.contains(column) && said.contains("expected") && said.contains("give a file"), "{said}");
    }
    for format in Format::ALL {
        assert!(import_one(format, "empty", "").is_err(), "{format}");
    }
}

#[test]
fn an_option_that_means_nothing_to_a_format_is_an_error() {
    let options = Options { concurrency: Some(1), ..Options::default() };
    let error = import(Format::Clover, &inputs(&[("f.csv", samples::CLOVER)]), &options).unwrap_err();
    assert!(error.to_string().contains("--concurrency"), "{error}");
}

#[test]
fn files_of_one_name_get_names_of_their_own() {
    let files = [("a/f.csv", samples::CLOVER), ("b/f.csv", samples::CLOVER)];
    let imported = import(Format::Clover, &inputs(&files), &Options::default()).unwrap();
    let names: Vec<_> = imported.signals.iter().map(|one| one.file_stem.as_str()).collect();
    assert_eq!(names, ["f-carbon-intensity", "f-carbon-intensity-2"]);
}
