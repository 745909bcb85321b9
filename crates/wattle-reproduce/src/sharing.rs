//! "The Utilization Fallacy and the Real Drivers of Carbon-Efficient Inference Serving" (Sinha,
//! Liakopoulos, Li and Yadwadkar): when does sharing a GPU cut carbon?
//!
//! ```text
//! isolated   one whole device for each model
//! shared     one device in MIG slices: 4/7 and 3/7 of it, or 3/7, 2/7 and 2/7; the largest model first
//! carbon     intensity x energy + time / lifetime x emissions of making it, once for each device
//! power      P_S at rest; P_S + P_OI + what each busy model adds alone in its slice
//! ```
//!
//! Every set is served by the engine, request by request. The work is the same for both ways: five
//! minutes' worth for each model alone, all there from the start (peak load) or as a Poisson stream. Every
//! device of a set is reserved until the set's last answer.

mod board;
mod measured;
mod plots;
mod rows;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use wattle_core::analytic::networks::{self, Network};
use wattle_core::device_spec;
use wattle_core::provenance::Basis;
use wattle_core::units::Megahertz;
use wattle_sim::experiment::in_parallel;

use self::board::{Board, Member, Set, broken};
use self::serve::{Load, OBJECTIVE_FACTOR, Served, Way, Work, serve};
use crate::{Options, ReproduceError, Reproduction};

/// Grams of CO2 equivalent for each kilowatt-hour, by source of energy: ACT's table, as in the paper.
const SOURCES: [(&str, f64); 8] = [
    ("coal", 820.0),
    ("gas", GAS),
    ("biomass", 230.0),
    ("solar", 41.0),
    ("geothermal", 38.0),
    ("hydropower", 24.0),
    ("nuclear", 12.0),
    ("wind", WIND),
];
const GAS: f64 = 490.0;
const WIND: f64 = 11.0;

/// Sets without the image generator; the text names the second alone as one of Fig. 2.
const LIGHT_SETS: [&[&str]; 4] =
    [&["Whisper", "MobileNet"], &["GPT", "Whisper"], &["GPT", "MobileNet"], &["GPT", "Whisper", "MobileNet"]];
/// Sets with it; the text names the first alone as one of Fig. 3.
const HEAVY_SETS: [&[&str]; 4] =
    [&["SDXL", "Whisper"], &["SDXL", "GPT"], &["SDXL", "MobileNet"], &["SDXL", "Whisper", "MobileNet"]];
/// A set, and the best clocks in GHz that the paper tells, by source of energy.
type ClockSet = (&'static [&'static str], &'static [(&'static str, f64)]);
/// Sets whose best clock the paper tells.
const CLOCK_SETS: [ClockSet; 3] = [
    (&["GPT", "Whisper", "MobileNet"], &[("gas", 0.87), ("wind", 1.23)]),
    (&["SDXL-256", "Whisper", "MobileNet"], &[("gas", 0.96)]),
    (&["GPT", "Whisper"], &[("gas", 1.14)]),
];
/// Loads of Fig. 4.
const LOADS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// How much is played.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// Seconds' worth of work.
    seconds: f64,
    /// The same, for each clock.
    sweep_seconds: f64,
    /// Clocks of the sweep.
    clocks: u32,
}

/// As the paper: five minutes. A minute at each clock: at peak load all minutes are alike.
const FULL: Scale = Scale { seconds: 300.0, sweep_seconds: 60.0, clocks: 41 };

/// Both ways to serve one set.
#[derive(Debug, Clone)]
struct Comparison {
    set: Set,
    isolated: Served,
    shared: Served,
}

impl Comparison {
    /// By how much sharing changes a figure, as a percentage of that of isolation.
    fn change(&self, figure: impl Fn(&Served) -> f64) -> f64 {
        (figure(&self.shared) / figure(&self.isolated) - 1.0) * 100.0
    }

    fn operational(&self) -> f64 {
        self.change(|served| served.energy.get())
    }

    fn embodied(&self) -> f64 {
        self.change(|served| served.embodied.get())
    }

    fn total(&self, intensity: f64) -> f64 {
        self.change(|served| served.total(intensity).get())
    }

    /// The carbon intensity above which isolation emits less, where there is one: sharing then saves
    /// embodied emissions and costs energy.
    fn break_even(&self) -> Option<f64> {
        let saved = (self.isolated.embodied - self.shared.embodied).get();
        let cost = self.shared.operational(1.0) - self.isolated.operational(1.0);
        (saved > 0.0 && cost.get() > 0.0).then(|| saved / cost.get())
    }

    /// How energy and times are known.
    fn basis(&self) -> Basis {
        self.isolated.basis.max(self.shared.basis)
    }

    /// How carbon is known.
    fn carbon_basis(&self) -> Basis {
        self.basis().max(self.isolated.embodied_basis).max(self.shared.embodied_basis)
    }
}

/// One clock of a sweep of a shared device.
#[derive(Debug, Clone)]
struct AtClock {
    clock: Megahertz,
    shared: Served,
    /// Whether no model takes more than 5 times one request alone at the top clock.
    in_time: bool,
}

/// Everything that is run on one board.
#[derive(Debug, Clone, Default)]
struct Results {
    light: Vec<Comparison>,
    heavy: Vec<Comparison>,
    small_images: Option<Comparison>,
    by_load: Vec<(f64, Comparison)>,
    sweeps: Vec<(Comparison, Vec<AtClock>)>,
}

/// Runs the experiment.
///
/// # Errors
/// When a file of `options.data` that it uses can't be read.
pub fn run(options: &Options, progress: &(dyn Fn(f64) + Sync)) -> Result<Reproduction, ReproduceError> {
    run_at(FULL, options, progress)
}

fn run_at(
    scale: Scale,
    options: &Options,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Reproduction, ReproduceError> {
    let spec = device_spec::bundled("nvidia-a100-40gb").map_err(broken)?;
    let board = Board::new(&spec, None, None)?;
    let members = members(&spec)?;
    let results = bundled(scale, options, &board, &members, progress)?;
    let mut made = Reproduction {
        name: board::NAME.to_owned(),
        title: "The Utilization Fallacy and the Real Drivers of Carbon-Efficient Inference Serving"
            .to_owned(),
        rows: rows::bundled(&results, &board, &members)?,
        notes: rows::notes(),
        plots: plots::all(&results),
    };
    if let Some(data) = &options.data {
        measured::add(data, scale, options, &mut made)?;
    }
    progress(1.0);
    Ok(made)
}

/// The paper's models, on the board of `spec`.
fn members(spec: &device_spec::DeviceSpec) -> Result<BTreeMap<String, Member>, ReproduceError> {
    let network = |name| networks::bundled(name).map_err(broken);
    let sdxl = network("sdxl")?;
    let all = [
        ("GPT", network("gpt_j_6b")?),
        ("Whisper", network("whisper_large_v3")?),
        ("MobileNet", network("mobilenet_v1")?),
        ("SDXL-256", small_images(&sdxl)),
        ("SDXL", sdxl),
    ];
    Ok(all
        .into_iter()
        .map(|(name, network)| (name.to_owned(), Member::modelled(name, network, spec)))
        .collect())
}

/// The image generator at 256 x 256: a sixteenth of the pixels at the same weights, steps and operators.
/// Attention falls by more, which is left out.
fn small_images(sdxl: &Network) -> Network {
    const PIXELS: f64 = (1024.0 / 256.0) * (1024.0 / 256.0);
    Network {
        multiply_accumulates_per_row: sdxl.multiply_accumulates_per_row / PIXELS,
        activation_values_per_row: sdxl.activation_values_per_row / PIXELS,
        peak_values_per_row: sdxl.peak_values_per_row / PIXELS,
        parallelism: sdxl.parallelism / PIXELS,
        ..sdxl.clone()
    }
}

fn set_of(members: &BTreeMap<String, Member>, names: &[&str]) -> Result<Set, ReproduceError> {
    let of = |name: &&str| members.get(*name).cloned().ok_or_else(|| broken(format!("no model {name}")));
    Ok(Set::new(names.iter().map(of).collect::<Result<_, _>>()?))
}

/// Serves `set` both ways at the top clock.
fn compare(set: Set, board: &Board, work: Work) -> Result<Comparison, ReproduceError> {
    let isolated = serve(&set, board, Way::Isolated, board.top_clock, work)?;
    let shared = serve(&set, board, Way::Shared, board.top_clock, work)?;
    Ok(Comparison { set, isolated, shared })
}

fn bundled(
    scale: Scale,
    options: &Options,
    board: &Board,
    members: &BTreeMap<String, Member>,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Results, ReproduceError> {
    let peak = Work { load: Load::Peak, seconds: scale.seconds };
    let mut jobs: Vec<(&[&str], Work)> =
        LIGHT_SETS.iter().chain(&HEAVY_SETS).map(|set| (*set, peak)).collect();
    jobs.push((&["SDXL-256", "Whisper"], peak));
    jobs.extend(LOADS.map(|load| (HEAVY_SETS[0], Work { load: Load::Poisson(load), ..peak })));
    let mut done = in_parallel(options.threads, jobs.len(), |job| {
        let (names, work) = jobs[job];
        compare(set_of(members, names)?, board, work)
    })?
    .into_iter();
    progress(0.4);
    let mut results = Results {
        light: done.by_ref().take(LIGHT_SETS.len()).collect(),
        heavy: done.by_ref().take(HEAVY_SETS.len()).collect(),
        small_images: done.next(),
        by_load: LOADS.into_iter().zip(done).collect(),
        sweeps: Vec::new(),
    };
    let low = Megahertz::new(210.0);
    let step = (board.top_clock - low) / f64::from(scale.clocks - 1);
    let clocks: Vec<Megahertz> = (0..scale.clocks).map(|index| low + step * f64::from(index)).collect();
    for (index, (names, _)) in CLOCK_SETS.iter().enumerate() {
        results.sweeps.push(sweep(set_of(members, names)?, board, &clocks, scale, options)?);
        progress(0.4 + 0.2 * (index + 1) as f64);
    }
    Ok(results)
}

/// Serves `set` on a shared device at each of `clocks`, and both ways at the top clock.
fn sweep(
    set: Set,
    board: &Board,
    clocks: &[Megahertz],
    scale: Scale,
    options: &Options,
) -> Result<(Comparison, Vec<AtClock>), ReproduceError> {
    let work = Work { load: Load::Peak, seconds: scale.sweep_seconds };
    let alone = set.alone(board, board.top_clock)?;
    let at_clocks = in_parallel(options.threads, clocks.len(), |index| {
        let clock = clocks[index];
        let placed = set.on_slices(board, clock)?;
        let in_time = placed.iter().all(|(name, placed)| {
            alone.get(name).is_some_and(|alone| placed.latency_ms <= OBJECTIVE_FACTOR * alone.latency_ms)
        });
        let shared = serve(&set, board, Way::Shared, clock, work)?;
        Ok::<_, ReproduceError>(AtClock { clock, shared, in_time })
    })?;
    Ok((compare(set, board, work)?, at_clocks))
}

/// The clock of a sweep at which `intensity` makes least carbon in all, of those at which all are in time.
fn best(sweep: &[AtClock], intensity: f64) -> Option<&AtClock> {
    let total = |at: &&AtClock| at.shared.total(intensity).get();
    sweep.iter().filter(|at| at.in_time).min_by(|a, b| total(a).total_cmp(&total(b)))
}
