//! What published files become. They are looked for in the folder that `WATTLE_DATA` names, and a test is
//! passed over, with a note, where it is not set.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]
#![allow(clippy::print_stdout, reason = "says what it passed over, and what was odd")]

#[path = "samples/mod.rs"]
mod samples;

use std::path::{Path, PathBuf};

use samples::odd;
use wattle_core::profile::Profile;
use wattle_core::signal::{AfterEnd, Trace};
use wattle_import::{
    CarbonKind, Format, Gaps, Imported, Input, Options, Step, import, measurements, step_log,
};

fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("WATTLE_DATA").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("passed over: WATTLE_DATA names no folder of published files");
    }
    folder
}

fn read(path: &Path) -> Input {
    Input { name: path.display().to_string(), bytes: std::fs::read(path).unwrap() }
}

/// Imports one file, prints what was odd, and checks that the core reads what was made.
fn run(format: Format, inputs: &[Input], options: &Options) -> Imported {
    let imported = import(format, inputs, options).unwrap();
    for oddity in &imported.oddities {
        let name = oddity.file.rsplit('/').next().unwrap();
        println!(
            "{format} {name}: {} {} (line {:?}): {}",
            oddity.count, oddity.what, oddity.first_line, oddity.done
        );
    }
    for one in &imported.profiles {
        assert_eq!(Profile::parse(&one.profile.to_text(), "made").unwrap(), one.profile);
        println!("{format} {}: {} rows", one.file_stem, one.profile.rows.len());
    }
    for one in &imported.signals {
        Trace::parse(&one.to_text(), "made", one.column, AfterEnd::Hold).unwrap();
        println!("{format} {}: {} values", one.file_stem, one.points.len());
    }
    imported
}

fn run_file(format: Format, path: &Path) -> Imported {
    run(format, &[read(path)], &Options::default())
}

#[test]
fn enertune_profiles_have_all_rows_and_the_static_power() {
    let Some(data) = data() else { return };
    let folder = data.join("profiles/enertune-a100");
    for (model, rows, missing, idle) in [
        ("resnet50", 300, 0, 43.8),
        ("densenet161", 418, 32, 43.8),
        ("vgg19", 300, 0, 43.8),
        ("mobilenet_v3_large", 375, 0, 43.8),
        ("gpt", 36, 0, 45.8),
    ] {
        let imported = run_file(Format::EnerTune, &folder.join(format!("{model}-perf-power-profile.csv")));
        let profile = &imported.profiles[0].profile;
        assert_eq!((profile.head.model.as_str(), profile.rows.len()), (model, rows));
        assert_eq!(odd(&imported, "combinations"), missing, "{model}");
        assert!((profile.head.idle_power_watts.unwrap().get() - idle).abs() < 0.05, "{model}");
    }
    assert!(
        import(Format::EnerTune, &[read(&folder.join("profiling_times.csv"))], &Options::default()).is_err()
    );
}

#[test]
fn parvagpu_profiles_leave_out_the_zeros() {
    let Some(data) = data() else { return };
    for (model, zeros) in [
        ("bert", 11),
        ("densenet121", 74),
        ("inceptionv3", 46),
        ("mobilenetv2", 55),
        ("resnet50", 64),
        ("vgg16", 65),
    ] {
        let imported = run_file(Format::ParvaGpu, &data.join(format!("profiles/parvagpu-a100/{model}.csv")));
        assert_eq!(imported.profiles[0].profile.rows.len(), 225 - zeros, "{model}");
        assert_eq!(odd(&imported, "rows of zero"), zeros as u64);
        // Every row: throughput of all processes is a batch a latency of each, but for rounding.
        for row in imported.profiles[0].profile.rows.iter().filter(|row| row.latency_ms_mean > Some(50.0)) {
            let batches = f64::from(row.point.batch_size * row.point.instances);
            let share = row.throughput_rps.unwrap() * row.latency_ms_mean.unwrap() / 1e3 / batches;
            assert!((share - 1.0).abs() < 0.02, "{row:?}");
        }
    }
}

#[test]
fn model_analyzer_checkpoints_agree_with_the_csvs_made_of_them() {
    let Some(data) = data() else { return };
    for (folder, count, models) in [("single-model-ckpt", 16, 1), ("multi-model-ckpt", 24, 2)] {
        let folder = data.join("profiles/triton-model-analyzer").join(folder);
        let checkpoint = read(&folder.join("0.ckpt"));
        let all = measurements(std::str::from_utf8(&checkpoint.bytes).unwrap(), "0.ckpt").unwrap();
        assert_eq!(all.len(), count);
        for one in &all {
            println!(
                "{} {} m={} max={} dyn={:?} c={} n={}: {:?} rps, {:?} ms = queue {:?} + compute {:?} + {:?}",
                one.model,
                one.variant,
                one.instances,
                one.max_batch_size,
                one.dynamic_batching,
                one.client_batch_size,
                one.concurrency,
                one.throughput_rps,
                one.latency_ms_mean,
                one.server_queue_ms,
                one.server_compute_ms,
                one.overhead_ms()
            );
            assert!(one.overhead_ms().is_some() && one.gpu_power_watts.is_some());
        }
        let imported = run(Format::ModelAnalyzer, &[checkpoint], &Options::default());
        assert_eq!(imported.profiles.len(), models);
        assert!(imported.profiles.iter().all(|one| one.profile.head.device == "NVIDIA TITAN RTX"));

        let inference = read(&folder.join("golden-metrics-model-inference.csv"));
        let text = std::str::from_utf8(&inference.bytes).unwrap();
        let from_csv = measurements(text, "csv").unwrap();
        assert_eq!(from_csv.len(), count);
        for one in &from_csv {
            let twin = all.iter().find(|other| {
                (
                    &other.model,
                    &other.variant,
                    &other.measured_beside,
                    other.client_batch_size,
                    other.concurrency,
                ) == (&one.model, &one.variant, &one.measured_beside, one.client_batch_size, one.concurrency)
            });
            let twin = twin.unwrap();
            assert_eq!((one.instances, one.max_batch_size), (twin.instances, twin.max_batch_size));
            assert!((one.throughput_rps.unwrap() - twin.throughput_rps.unwrap()).abs() < 0.051);
            assert!((one.latency_ms_p99.unwrap() - twin.latency_ms_p99.unwrap()).abs() < 0.051);
        }
        let others = ["golden-metrics-model-gpu.csv", "golden-metrics-server-only.csv"];
        let mut files = vec![inference];
        files.extend(others.map(|name| read(&folder.join(name))));
        let imported = run(Format::ModelAnalyzer, &files, &Options::default());
        assert_eq!(imported.profiles.len(), models);
        assert!(imported.profiles[0].profile.head.idle_power_watts.is_some());
    }
}

fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let count = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
    let (a_mean, b_mean) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let sum =
        |of: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|(a, b)| of(a - a_mean, b - b_mean)).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

/// How power goes with the logarithm of the batch size `lag` lines before it.
fn power_to_batch(steps: &[Step], lag: isize) -> f64 {
    let pairs: Vec<(f64, f64)> = steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| {
            let other = steps.get(usize::try_from(index as isize - lag).ok()?)?;
            Some((step.power_watts, f64::from(other.batch_size).ln()))
        })
        .collect();
    correlation(&pairs)
}

#[test]
fn the_power_of_a_step_stands_on_its_own_line() {
    let Some(data) = data() else { return };
    for (name, count) in [("Sens_InceptionV4_BatchDVFS", 2275), ("Sens_MobileV1_1_BatchDVFS", 289)] {
        let path = data.join(format!("profiles/batchdvfs-p40/{name}.csv"));
        let log = step_log(&std::fs::read_to_string(&path).unwrap(), name).unwrap();
        assert_eq!((log.steps.len(), log.summary.is_some()), (count, false));
        let own = power_to_batch(&log.steps, 0);
        for lag in [-2, -1, 1, 2] {
            assert!(own > power_to_batch(&log.steps, lag), "{name}, lag {lag}");
        }
        let imported = run_file(Format::BatchDvfs, &path);
        assert_eq!(imported.signals[0].column, "power_cap_watts");
        println!("cap: {:?}", imported.signals[0].points);
    }
}

#[test]
fn the_archive_of_step_logs_agrees_with_its_own_summaries() {
    let Some(data) = data() else { return };
    let zip = data.join("profiles/batchdvfs-p40/Results_JournalPaper_DVFS_256.zip");
    let imported = run_file(Format::BatchDvfs, &zip);
    assert_eq!(imported.profiles.len(), 30);
    let of = |column| imported.signals.iter().filter(move |signal| signal.column == column).count();
    assert_eq!((of("power_cap_watts"), of("power_watts")), (30, 30));
    assert_eq!(odd(&imported, "files that are not of this format"), 20);
    assert_eq!(odd(&imported, "summaries that disagree"), 0);
    assert_eq!(odd(&imported, "summary lines"), 30 * 6);
}

#[test]
fn a_batch_dvfs_log_is_power_once_a_second() {
    let Some(data) = data() else { return };
    let name = "profiles/batchdvfs-p40/Sens_InceptionV4_BatchDVFS.txt_nvidiasmi_output.csv";
    let imported = run_file(Format::BatchDvfs, &data.join(name));
    assert_eq!((imported.signals[0].points.len(), imported.signals[0].column), (544, "power_watts"));
}

/// Every file of a folder.
fn walk(folder: &Path, inputs: &mut Vec<Input>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, inputs) } else { inputs.push(read(&path)) }
    }
}

#[test]
fn mlperf_results_become_power_modes_and_variants_with_accuracy() {
    let Some(data) = data() else { return };
    let mut inputs = Vec::new();
    walk(&data.join("profiles/mlperf-v1.1/closed-krai"), &mut inputs);
    let closed = run(Format::MlperfPower, &inputs, &Options::default());
    assert_eq!(closed.profiles.len(), 2, "two frameworks");
    for one in &closed.profiles {
        assert_eq!(one.profile.rows.len(), 5, "five power modes");
        assert!((one.profile.head.quality.unwrap() - 0.76442).abs() < 1e-9);
        for row in &one.profile.rows {
            let energy = row.power_watts_mean.unwrap().get() / row.throughput_rps.unwrap();
            assert!((row.energy_joules_per_row.unwrap().get() - energy).abs() < 1e-12);
        }
    }
    assert_eq!(odd(&closed, "results that are a copy"), 10);

    let mut inputs = Vec::new();
    walk(&data.join("profiles/mlperf-v1.1/open-krai"), &mut inputs);
    let open = run(Format::MlperfPower, &inputs, &Options::default());
    assert!(
        open.profiles.iter().all(|one| one.profile.rows.len() == 1 && one.profile.head.quality.is_some())
    );
    let best = open.profiles.iter().find(|one| one.file_stem.starts_with("efficientnet-lite4-non-quantized"));
    assert!((best.unwrap().profile.head.quality.unwrap() - 0.80676).abs() < 1e-9);
}

#[test]
fn the_mix_of_every_hour_gives_dacfs_own_intensity_to_the_digit() {
    let Some(data) = data() else { return };
    let mix = run_file(Format::Dacf, &data.join("grid/dacf/CISO.csv"));
    let printed = run_file(Format::Dacf, &data.join("grid/dacf/CISO_direct_emissions.csv"));
    let (mix, printed) = (&mix.signals[0].points, &printed.signals[0].points);
    assert_eq!((mix.len(), printed.len()), (17_544, 17_544));
    for (made, given) in mix.iter().zip(printed) {
        assert_eq!(made.0, given.0);
        // Printed to two digits, trailing zeros left out.
        assert_eq!((made.1 * 100.0).round() / 100.0, given.1, "{made:?} {given:?}");
    }
}

#[test]
fn every_zone_of_dacf_gives_intensity_and_generation() {
    let Some(data) = data() else { return };
    for zone in ["CISO", "ISNE", "ERCO"] {
        let file = read(&data.join(format!("grid/dacf/{zone}.csv")));
        let intensity = run(Format::Dacf, std::slice::from_ref(&file), &Options::default());
        assert_eq!(intensity.signals[0].points.len(), 17_544);
        let options = Options { source: Some("solar".into()), ..Options::default() };
        let solar = run(Format::Dacf, &[file], &options);
        assert_eq!(solar.signals[0].points.len(), 17_544);
    }
}

#[test]
fn the_portals_years_have_every_hour_in_both_kinds() {
    let Some(data) = data() else { return };
    let folder = data.join("grid/electricitymaps");
    for (file, zone) in [("NO_2022_hourly.csv", "NO"), ("US-CAL-CISO_2022_hourly.csv", "US-CAL-CISO")] {
        for kind in [CarbonKind::Direct, CarbonKind::LifeCycle] {
            let options = Options { kind: Some(kind), ..Options::default() };
            let imported = run(Format::ElectricityMaps, &[read(&folder.join(file))], &options);
            assert_eq!(imported.signals[0].points.len(), 8_760);
            assert!(imported.signals[0].file_stem.starts_with(zone));
        }
    }
    let raw = read(&folder.join("US-CAL-CISO_raw_mix_2020-2022.csv"));
    let error = import(Format::ElectricityMaps, std::slice::from_ref(&raw), &Options::default()).unwrap_err();
    assert!(error.help.contains("--gaps"), "{error}");
    let options = Options { gaps: Some(Gaps::Interpolate), ..Options::default() };
    let imported = run(Format::ElectricityMaps, &[raw], &options);
    assert_eq!(imported.signals[0].points.len(), 26_304);
    assert_eq!(odd(&imported, "missing times"), 7);
    assert!(
        import(Format::ElectricityMaps, &[read(&folder.join("emission_factors.csv"))], &Options::default())
            .is_err()
    );
}

#[test]
fn half_hours_and_quarters_are_whole_but_for_two() {
    let Some(data) = data() else { return };
    let folder = data.join("grid/lets-wait-awhile");
    let france = run_file(Format::Uk, &folder.join("fr_ci.csv"));
    assert_eq!((france.signals[0].points.len(), odd(&france, "missing times")), (18_574, 0));
    let germany = run_file(Format::Uk, &folder.join("ger_ci.csv"));
    assert_eq!((germany.signals[0].points.len(), odd(&germany, "missing times")), (37_149, 2));
}

#[test]
fn clovers_traces_are_one_value_an_hour() {
    let Some(data) = data() else { return };
    for (file, count) in [
        ("carbon_intensity.csv", 49),
        ("carbon_intensity_24hr.csv", 24),
        ("carbon_intensity_ciso_sep.csv", 49),
        ("carbon_intensity_eso_march.csv", 49),
        ("carbon_intensity_slope.csv", 24),
        ("carbon_intensity_slope_500.csv", 24),
        ("carbon_intensity_slope_800.csv", 21),
    ] {
        let imported = run_file(Format::Clover, &data.join("grid/clover").join(file));
        assert_eq!(imported.signals[0].points.len(), count, "{file}");
    }
}
