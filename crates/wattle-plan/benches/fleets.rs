//! How long plans take and how near they are to their bounds, on random fleets.
//!
//! Models are networks that come with the program, and EnerTune's measured ones where WATTLE_DATA tells of a
//! folder with them. `cargo bench -p wattle-plan` runs all; names of cases as arguments run those. SEEDS: how many of each. CPU=1: limits are in
//! seconds of a core rather than of the wall, on a machine that is busy with other things (Linux).
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for developers: it prints, and ends at what is odd"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use wattle_core::analytic::{self, Grid, networks};
use wattle_core::device_spec;
use wattle_plan::fleet::{Fleet, load};
use wattle_plan::options::{Restrict, options};
use wattle_plan::plan::plan;
use wattle_plan::solve::{Effort, solve};

/// A kind of random fleets.
struct Case {
    name: &'static str,
    models: usize,
    devices: &'static [(&'static str, u32)],
    /// Load of a model: up to this share of what a whole A100 takes in batches of 8.
    load: f64,
    limit: Duration,
}

const CASES: [Case; 5] = [
    Case {
        name: "10-on-4-a100",
        models: 10,
        devices: &[("nvidia-a100-40gb", 4)],
        load: 0.3,
        limit: Duration::from_secs(10),
    },
    Case {
        name: "10-on-4-mixed",
        models: 10,
        devices: &[("nvidia-a100-40gb", 2), ("nvidia-a100-80gb", 1), ("nvidia-v100", 2)],
        load: 0.3,
        limit: Duration::from_secs(10),
    },
    Case {
        name: "200-on-50-a100",
        models: 200,
        devices: &[("nvidia-a100-40gb", 50)],
        load: 0.25,
        limit: Duration::from_secs(55),
    },
    Case {
        name: "200-on-50-older",
        models: 200,
        devices: &[("nvidia-a100-40gb", 24), ("nvidia-a100-80gb", 12), ("nvidia-v100", 8), ("nvidia-p40", 6)],
        load: 0.12,
        limit: Duration::from_secs(55),
    },
    Case {
        name: "200-on-50-mixed",
        models: 200,
        devices: &[("nvidia-a100-40gb", 25), ("nvidia-a100-80gb", 15), ("nvidia-v100", 6), ("nvidia-p40", 4)],
        load: 0.25,
        limit: Duration::from_secs(55),
    },
];

/// Networks to draw from.
const NETWORKS: [&str; 14] = [
    "resnet18",
    "resnet50",
    "resnet101",
    "resnet152",
    "mobilenet_v1",
    "mobilenet_v2",
    "densenet121",
    "vgg16",
    "vgg19",
    "inception_v3",
    "efficientnet_b0",
    "albert_base",
    "whisper_large_v3",
    "inception_v4",
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let seeds: u64 = std::env::var("SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let measured = measured();
    println!("case, seed, grid, devices used, value, bound, gap %, proved, options s, wall s, cpu s");
    for case in CASES.iter().filter(|case| wanted.is_empty() || wanted.iter().any(|name| name == case.name)) {
        for seed in 1..=seeds {
            run(case, seed, if seed % 2 == 0 { "wind" } else { "gas" }, &measured);
        }
    }
}

/// EnerTune's profiles, as the text of profile files.
fn measured() -> BTreeMap<String, String> {
    let Ok(folder) = std::env::var("WATTLE_DATA") else { return BTreeMap::new() };
    let folder = std::path::Path::new(&folder).join("profiles/enertune-a100");
    let mut profiles = BTreeMap::new();
    for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.ends_with("-perf-power-profile.csv") {
            let input =
                wattle_import::Input { name: name.clone(), bytes: std::fs::read(file.path()).unwrap() };
            let made = wattle_import::import(
                wattle_import::Format::EnerTune,
                &[input],
                &wattle_import::Options::default(),
            );
            for profile in made.unwrap().profiles {
                profiles.insert(profile.file_stem.clone(), profile.profile.to_text());
            }
        }
    }
    profiles
}

/// Time that this thread, the only one, was on a core; `None` where the system does not tell.
fn cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}

fn run(case: &Case, seed: u64, grid: &str, measured: &BTreeMap<String, String>) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let spec = device_spec::bundled("nvidia-a100-40gb").unwrap();
    let mut text = format!("grid = {{ source = \"{grid}\" }}\n");
    for (name, count) in case.devices {
        writeln!(text, "[[devices]]\nname = \"{name}\"\nspec = \"{name}\"\ncount = {count}").unwrap();
    }
    for index in 0..case.models {
        let takes_measured = !measured.is_empty() && index % 3 == 0;
        writeln!(text, "[[models]]\nname = \"m{index}\"").unwrap();
        let share: f64 = random.random_range(0.01..case.load);
        let slack: f64 = random.random_range(3.0..12.0);
        if takes_measured {
            let pick = random.random_range(0..measured.len());
            let (stem, file) = measured.iter().nth(pick).unwrap();
            let profile = wattle_core::profile::Profile::parse(file, stem).unwrap();
            let of_size = |size: &str| {
                let rows =
                    profile.rows.iter().filter(move |row| row.point.partition.as_deref() == Some(size));
                rows.filter_map(|row| Some((row.throughput_rps?, row.latency_ms_mean?)))
                    .fold((0.0, f64::INFINITY), |(rps, latency): (f64, f64), (a, b)| {
                        (rps.max(a), latency.min(b))
                    })
            };
            let (rps, latency) = (of_size("7g").0, of_size("2g").1);
            let named = case.devices.iter().filter(|(name, _)| name.starts_with("nvidia-a100"));
            let files: Vec<String> = named.map(|(name, _)| format!("\"{name}\" = \"{stem}\"")).collect();
            writeln!(text, "profiles = {{ {} }}", files.join(", ")).unwrap();
            writeln!(text, "load_rps = {}\nslo_ms = {}", rps * share * 0.5, latency * slack).unwrap();
        } else {
            let network = NETWORKS[random.random_range(0..NETWORKS.len())];
            let facts = networks::bundled(network).unwrap();
            let one = Grid { batch_sizes: vec![1, 8], instances: vec![1], ..Grid::default() };
            let profile = analytic::profile(&spec, &facts, &one).unwrap();
            let (latency, rps) =
                (profile.rows[0].latency_ms_mean.unwrap(), profile.rows[1].throughput_rps.unwrap());
            writeln!(text, "network = \"{network}\"").unwrap();
            writeln!(text, "load_rps = {}\nslo_ms = {}", rps * share, 10.0 + latency * slack).unwrap();
        }
    }
    let (started, started_cpu) = (Instant::now(), cpu());
    let fleet = Fleet::parse(&text, "random").unwrap();
    let read = |name: &str| measured.get(name).cloned().ok_or_else(|| "not there".to_owned());
    let loaded = load(fleet, "random", &read).unwrap();
    let made = options(&loaded, Restrict::default()).unwrap();
    let prepared = started.elapsed();
    if !made.nowhere.is_empty() {
        println!("{}, {seed}: nowhere: {:?}", case.name, made.nowhere);
        return;
    }
    let by_cpu = std::env::var("CPU").is_ok();
    let took = || if by_cpu { cpu().unwrap() - started_cpu.unwrap() } else { started.elapsed() };
    let left = || case.limit.saturating_sub(took());
    let used = || match (cpu(), started_cpu) {
        (Some(now), Some(before)) => format!("{:.1}", (now - before).as_secs_f64()),
        _ => "unknown".to_owned(),
    };
    match solve(&made.instance, Effort::default(), &left) {
        Ok(solved) => {
            let plan = plan(&loaded, &made, &solved);
            println!(
                "{}, {seed}, {grid}, {}, {:.4}, {:.4}, {:.3}, {}, {:.2}, {:.1}, {}",
                case.name,
                plan.devices.len(),
                plan.value,
                plan.bound,
                plan.gap * 100.0,
                plan.proved,
                prepared.as_secs_f64(),
                started.elapsed().as_secs_f64(),
                used()
            );
        }
        Err(error) => {
            let wall = started.elapsed().as_secs_f64();
            println!("{}, {seed}, {grid}: {error} ({wall:.1} s, {} of a core)", case.name, used())
        }
    }
}
