//! How good searches and predictions are on measured tables, played as if they were devices.
//!
//! `WATTLE_DATA=… cargo bench -p wattle-search --bench tables [-- --export FILE]`; the folder holds
//! `profiles/enertune-a100`, `profiles/parvagpu-a100` and `profiles/triton-model-analyzer`. `--export` only
//! writes the tables, caps and budgets as JSON, for `tests/optuna/compare.py`.
//!
//! Each table is searched for the most throughput under 10 bounds spread over its range: caps on power in
//! equal steps, or bounds on latency in equal ratios where it tells no power. The budget is 5 % of the
//! points, and at least 12. A score is the best throughput that was measured within the bound, as a share
//! of the best there is. Searches that draw no luck run once for each bound, `random` with 20 seeds.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads files and the clock")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use wattle_core::operating_point::{Confidence, OperatingPoint, ProfileRow};
use wattle_core::profile::PowerFigure;
use wattle_core::provenance::Basis;
use wattle_core::units::{Megahertz, Watts};
use wattle_import::{Format, Input, Options, import};
use wattle_search::{
    Axes, Constraints, ErrorOf, Next, Outcome, Probe, Question, STRATEGIES, Space, Surrogate, build,
    latency_ms_of,
};

const SEEDS: u64 = 20;
const BOUNDS: u32 = 10;
const FIGURE: PowerFigure = PowerFigure::Mean;

/// Above a cap by more than this share counts as breaking it.
const OVER: f64 = 1.05;

struct Table {
    name: String,
    rows: Vec<ProfileRow>,
    has_power: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(data) = std::env::var_os("WATTLE_DATA") else {
        println!("skipped: WATTLE_DATA names no folder of measured data");
        return Ok(());
    };
    let tables = tables(Path::new(&data))?;
    let mut arguments = std::env::args().skip_while(|argument| argument != "--export").skip(1);
    if let Some(file) = arguments.next() {
        std::fs::write(&file, serde_json::to_string(&exported(&tables))?)?;
        println!("written: {file}");
        return Ok(());
    }
    println!("search: median share of the best over bounds and seeds (probes made)\n");
    print!("{:<28}{:>7}{:>7}", "table", "points", "budget");
    let strategies = STRATEGIES.iter().filter(|name| **name != "exhaustive");
    strategies.clone().for_each(|name| print!("{name:>20}"));
    println!();
    let mut all = vec![Totals::default(); STRATEGIES.len()];
    for table in &tables {
        print!("{:<28}{:>7}{:>7}", table.name, table.rows.len(), table.budget());
        for (name, total) in strategies.clone().zip(&mut all) {
            let mut own = Totals::default();
            for constraints in table.bounds() {
                for seed in 0..if *name == "random" { SEEDS } else { 1 } {
                    play(table, name, constraints, seed, &mut own)?;
                }
            }
            print!(
                "{:>20}",
                format!("{:.3} ({:.1})", median(&own.scores), own.probes as f64 / own.scores.len() as f64)
            );
            total.add(own);
        }
        println!();
    }
    let lines: [Line; 6] = [
        ("median", |total| median(&total.scores)),
        ("mean", |total| total.scores.iter().sum::<f64>() / total.scores.len() as f64),
        ("10th percentile", |total| quantile(&total.scores, 0.1)),
        ("worst table's median", |total| total.medians.iter().copied().fold(1.0, f64::min)),
        ("probes over a cap by 5 %", |total| total.over as f64 / total.capped as f64),
        ("slowest decision, ms", |total| total.slowest_ms),
    ];
    for (what, of) in lines {
        print!("{what:<42}");
        all.iter().take(strategies.clone().count()).for_each(|total| print!("{:>20.4}", of(total)));
        println!();
    }
    predictions(&tables)?;
    decision()
}

/// A line of figures over all tables: what it says, and how it is read off the totals.
type Line = (&'static str, fn(&Totals) -> f64);

#[derive(Default, Clone)]
struct Totals {
    scores: Vec<f64>,
    medians: Vec<f64>,
    probes: usize,
    capped: usize,
    over: usize,
    slowest_ms: f64,
}

impl Totals {
    fn add(&mut self, table: Self) {
        self.medians.push(median(&table.scores));
        self.scores.extend(table.scores);
        self.probes += table.probes;
        self.capped += table.capped;
        self.over += table.over;
        self.slowest_ms = self.slowest_ms.max(table.slowest_ms);
    }
}

impl Table {
    fn budget(&self) -> usize {
        (self.rows.len() as f64 * 0.05).ceil().max(12.0) as usize
    }

    fn bounds(&self) -> Vec<Constraints> {
        let figures: Vec<f64> = if self.has_power {
            self.rows.iter().filter_map(|row| FIGURE.of(row)).map(Watts::get).collect()
        } else {
            self.rows.iter().filter_map(latency_ms_of).collect()
        };
        let low = figures.iter().copied().fold(f64::INFINITY, f64::min);
        let high = figures.iter().copied().fold(0.0, f64::max);
        let bound = |step: u32| {
            let share = f64::from(step) / f64::from(BOUNDS);
            let none = Constraints { figure: FIGURE, ..Constraints::default() };
            if self.has_power {
                Constraints { cap: Some(Watts::new(low + (high - low) * share)), ..none }
            } else {
                Constraints { latency_ms: Some(low * (high / low).powf(share)), ..none }
            }
        };
        (1..=BOUNDS).map(bound).collect()
    }

    fn measure(&self, point: &OperatingPoint) -> Option<&ProfileRow> {
        self.rows.iter().find(|row| row.point == *point)
    }
}

/// The best throughput among `rows` within the bound.
fn best<'a>(rows: impl Iterator<Item = &'a ProfileRow>, bound: &Constraints) -> f64 {
    let keeps = |row: &&ProfileRow| {
        bound.cap.is_none_or(|cap| FIGURE.of(row).is_some_and(|power| power <= cap))
            && bound.latency_ms.is_none_or(|most| latency_ms_of(row).is_some_and(|latency| latency <= most))
    };
    rows.filter(keeps).filter_map(|row| row.throughput_rps).fold(0.0, f64::max)
}

/// Plays one search to its end.
fn play(
    table: &Table,
    name: &str,
    bound: Constraints,
    seed: u64,
    totals: &mut Totals,
) -> Result<(), Box<dyn Error>> {
    let space = Space::new(table.rows.iter().map(|row| row.point.clone()).collect())?;
    let mut search = build(name, space, Question::MostThroughput, bound, table.budget(), seed)?;
    let mut seen: Vec<Probe> = Vec::new();
    loop {
        let start = Instant::now();
        let next = search.next(&seen);
        totals.slowest_ms = totals.slowest_ms.max(start.elapsed().as_secs_f64() * 1e3);
        let Next::Probe { point, .. } = next else { break };
        let row = table.measure(&point).ok_or("a point that is not in the table")?;
        if let (Some(cap), Some(power)) = (bound.cap, FIGURE.of(row)) {
            totals.capped += 1;
            totals.over += usize::from(power.get() > cap.get() * OVER);
        }
        seen.push(Probe { point: *point, outcome: Outcome::Measured(Box::new(row.clone())) });
    }
    totals.probes += seen.len();
    totals.scores.push(best(seen.iter().filter_map(Probe::row), &bound) / best(table.rows.iter(), &bound));
    Ok(())
}

/// How wrong predictions of unseen points are, from as many rows as a search may measure.
fn predictions(tables: &[Table]) -> Result<(), Box<dyn Error>> {
    println!(
        "\nprediction of all other points: median error %, 90th percentile %, share within the interval"
    );
    println!("{:<28}{:<10}{:>24}{:>24}{:>24}", "table", "rows", "throughput", "power", "latency");
    for table in tables.iter().filter(|table| table.rows.len() > table.budget()) {
        let space = Space::new(table.rows.iter().map(|row| row.point.clone()).collect())?;
        let drawn = (0..SEEDS).map(|seed| {
            let mut rows = table.rows.clone();
            rows.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
            rows.truncate(table.budget());
            rows
        });
        print_errors(table, &space, "drawn", drawn.collect());
        let mut own = Vec::new();
        for bound in table.bounds() {
            let mut search =
                build("sampled", space.clone(), Question::MostThroughput, bound, table.budget(), 0)?;
            let mut seen: Vec<Probe> = Vec::new();
            while let Next::Probe { point, .. } = search.next(&seen) {
                let row = table.measure(&point).ok_or("a point that is not in the table")?;
                seen.push(Probe { point: *point, outcome: Outcome::Measured(Box::new(row.clone())) });
            }
            own.push(seen.iter().filter_map(Probe::row).cloned().collect());
        }
        print_errors(table, &space, "sampled", own);
    }
    Ok(())
}

fn print_errors(table: &Table, space: &Space, how: &str, designs: Vec<Vec<ProfileRow>>) {
    let mut figures: [Vec<ErrorOf>; 3] = Default::default();
    for shown in designs {
        let surrogate = Surrogate::fit_over(space, &shown, FIGURE);
        let unseen = table.rows.iter().filter(|row| !shown.iter().any(|one| one.point == row.point));
        let pairs: Vec<_> = unseen.filter_map(|row| Some((surrogate.predict(&row.point)?, row))).collect();
        let errors = [
            ErrorOf::of(pairs.iter().map(|(expected, row)| (expected.throughput_rps, row.throughput_rps))),
            ErrorOf::of(
                pairs.iter().map(|(expected, row)| (expected.power_watts, FIGURE.of(row).map(Watts::get))),
            ),
            ErrorOf::of(pairs.iter().map(|(expected, row)| (expected.latency_ms, latency_ms_of(row)))),
        ];
        for (figure, error) in figures.iter_mut().zip(errors) {
            figure.extend(error);
        }
    }
    print!("{:<28}{how:<10}", table.name);
    for figure in &figures {
        let of = |part: fn(&ErrorOf) -> f64| median(&figure.iter().map(part).collect::<Vec<_>>());
        let text =
            format!("{:.1} {:.1} {:.2}", of(|e| e.median) * 100.0, of(|e| e.p90) * 100.0, of(|e| e.coverage));
        print!("{:>24}", if figure.is_empty() { "-".to_owned() } else { text });
    }
    println!();
}

/// How long a decision takes after 60 probes of 2,000 points.
fn decision() -> Result<(), Box<dyn Error>> {
    let space = Space::product(&Axes {
        batch_size: (0..10).map(|power| 1 << power).collect(),
        instances: vec![1, 2, 3, 4],
        core_clock_mhz: (2..12).map(|step| Megahertz::new(f64::from(step) * 120.0)).collect(),
        partition: ["1g", "2g", "3g", "4g", "7g"].map(str::to_owned).to_vec(),
        ..Axes::default()
    })?;
    let row = |(index, point): (usize, &OperatingPoint)| {
        let rows = f64::from(point.batch_size * point.instances);
        let speed = point.core_clock_mhz.map_or(1.0, |clock| clock.get() / 1000.0);
        let batch_ms = (2.0 + rows / speed) * (1.0 + 0.02 * (index as f64).sin());
        ProfileRow {
            point: point.clone(),
            throughput_rps: Some(rows / batch_ms * 1e3),
            latency_ms_mean: Some(batch_ms),
            latency_ms_p50: None,
            latency_ms_p95: None,
            latency_ms_p99: None,
            power_watts_mean: Some(Watts::new(40.0 + 150.0 * speed.powi(3) * rows / (rows + 2.0))),
            power_watts_p95: None,
            power_watts_max: None,
            energy_joules_per_row: None,
            memory_bytes: None,
            basis: Basis::Modelled,
            power_basis: Basis::Modelled,
            samples: 1,
            confidence: Confidence::default(),
        }
    };
    let seen: Vec<Probe> =
        space.points().iter().enumerate().step_by(33).take(60).map(row).map(Probe::measured).collect();
    let bound = Constraints { cap: Some(Watts::new(200.0)), figure: FIGURE, ..Constraints::default() };
    let points = space.points().len();
    let mut search = build("sampled", space, Question::MostThroughput, bound, 100, 1)?;
    let start = Instant::now();
    let next = search.next(&seen);
    let took = start.elapsed().as_secs_f64() * 1e3;
    println!("\na decision after {} probes of {points} points took {took:.0} ms: {next:?}", seen.len());
    Ok(())
}

/// Every table under `data`.
fn tables(data: &Path) -> Result<Vec<Table>, Box<dyn Error>> {
    let profiles = data.join("profiles");
    let mut tables = Vec::new();
    let folders = [
        (Format::EnerTune, "enertune-a100", "-perf-power-profile.csv"),
        (Format::ParvaGpu, "parvagpu-a100", ".csv"),
        (Format::ModelAnalyzer, "triton-model-analyzer/single-model-ckpt", ".ckpt"),
        (Format::ModelAnalyzer, "triton-model-analyzer/multi-model-ckpt", ".ckpt"),
    ];
    for (format, folder, ending) in folders {
        let mut files: Vec<_> = std::fs::read_dir(profiles.join(folder))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_, std::io::Error>>()?;
        files.sort();
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.ends_with(ending) || name.starts_with("SLO") {
                continue;
            }
            let input = Input { name, bytes: std::fs::read(&file)? };
            for one in import(format, &[input], &Options::default())?.profiles {
                let rows: Vec<ProfileRow> =
                    one.profile.rows.into_iter().filter(|row| row.throughput_rps.is_some()).collect();
                let has_power = rows.iter().all(|row| FIGURE.of(row).is_some());
                tables.push(Table { name: format!("{format} {}", one.file_stem), rows, has_power });
            }
        }
    }
    Ok(tables)
}

/// Tables, bounds and budgets for searches that are not ours.
fn exported(tables: &[Table]) -> serde_json::Value {
    let table = |table: &Table| {
        let rows: Vec<_> = table
            .rows
            .iter()
            .map(|row| {
                serde_json::json!({
                    "point": {
                        "batch_size": row.point.batch_size,
                        "instances": row.point.instances,
                        "core_clock_mhz": row.point.core_clock_mhz.map(|clock| clock.get()),
                        "partition": row.point.partition,
                        "variant": row.point.variant,
                    },
                    "throughput_rps": row.throughput_rps,
                    "bounded": if table.has_power { FIGURE.of(row).map(Watts::get) } else { latency_ms_of(row) },
                })
            })
            .collect();
        let bounds: Vec<_> =
            table.bounds().iter().map(|bound| bound.cap.map(Watts::get).or(bound.latency_ms)).collect();
        serde_json::json!({ "name": table.name, "is_power": table.has_power, "budget": table.budget(), "bounds": bounds, "rows": rows })
    };
    tables.iter().map(table).collect()
}

fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len().saturating_sub(1) as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}
