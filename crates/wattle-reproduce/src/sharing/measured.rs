//! The same decisions on the user's measured profiles, and the estimate of shared power on measured pairs.
//!
//! Two kinds of files are looked for in the folder and all below it: EnerTune's `*-perf-power-profile.csv`
//! (A100 80 GB: batch size, MIG slices and clocks) and the `config` of iGniter in a folder whose name has
//! `igniter` in it (V100: instances side by side under MPS).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wattle_core::analytic::networks;
use wattle_core::device_spec::{self, Curve};
use wattle_core::profile::Profile;
use wattle_core::provenance::Basis;
use wattle_core::shared_power::{Measured, SharedPower, Tenant};
use wattle_core::units::{Megahertz, Watts};
use wattle_import::{Format, Input};
use wattle_sim::experiment::in_parallel;

use super::board::{Board, Member, broken};
use super::rows::{best_clocks, mean};
use super::serve::{Load, Work};
use super::{Comparison, GAS, Scale, WIND, compare, set_of, sweep};
use crate::{Options, ReproduceError, Reproduction, Row, files};

const ENERTUNE: &str = "-perf-power-profile.csv";
/// EnerTune's names, and those of the networks here, whose weights say which model is larger.
const NETWORKS: [(&str, &str); 5] = [
    ("gpt", "gpt_j_6b"),
    ("vgg19", "vgg19"),
    ("densenet161", "densenet161"),
    ("resnet50", "resnet50"),
    ("mobilenet_v3_large", "mobilenet_v3_large"),
];
const SETS: [&[&str]; 7] = [
    &["gpt", "mobilenet_v3_large"],
    &["gpt", "resnet50"],
    &["gpt", "vgg19"],
    &["vgg19", "resnet50"],
    &["vgg19", "densenet161"],
    &["gpt", "resnet50", "mobilenet_v3_large"],
    &["vgg19", "densenet161", "mobilenet_v3_large"],
];
/// Rows of a batch of a network of images: the most that was measured on every slice.
const IMAGES: u32 = 8;
const RESTS_ON: &str = "engine at request level on EnerTune's measured rows of an A100 80 GB by MIG slice; what is drawn by \
     two at once is modelled: P_S + P_OI + what each adds alone";

/// Adds the rows that `data` allows, and a note for what is not there.
pub(super) fn add(
    data: &Path,
    scale: Scale,
    options: &Options,
    made: &mut Reproduction,
) -> Result<(), ReproduceError> {
    let profiles = files::find_all(data, &|name| name.ends_with(ENERTUNE));
    if profiles.is_empty() {
        made.notes.push(format!("no *{ENERTUNE} in the data folder: the sets rest on modelled profiles"));
    } else {
        decisions(&profiles, scale, options, made)?;
    }
    let is_igniter = |file: &PathBuf| {
        let folder = file.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        folder.is_some_and(|name| name.contains("igniter"))
    };
    match files::find_all(data, &|name| name == "config").into_iter().find(is_igniter) {
        Some(file) => {
            let text = std::fs::read_to_string(&file).map_err(|error| unfit(&file, error))?;
            made.rows.extend(estimates(&text, &file)?);
        }
        None => made.notes.push("no config of iGniter in the data folder: no measured pairs".to_owned()),
    }
    Ok(())
}

/// A file that can't be used.
fn unfit(file: &Path, cause: impl ToString) -> ReproduceError {
    ReproduceError::Data { file: file.to_owned(), cause: cause.to_string() }
}

/// The sets of measured models: both ways at the top clock, and the best clocks.
fn decisions(
    files: &[PathBuf],
    scale: Scale,
    options: &Options,
    made: &mut Reproduction,
) -> Result<(), ReproduceError> {
    let (mut members, mut statics) = (BTreeMap::new(), BTreeMap::new());
    for file in files {
        let bytes = std::fs::read(file).map_err(|error| unfit(file, error))?;
        static_powers(&bytes, file, &mut statics)?;
        let input = Input { name: file.display().to_string(), bytes };
        let imported = wattle_import::import(Format::EnerTune, &[input], &wattle_import::Options::default())
            .map_err(|error| unfit(file, error))?;
        for profile in imported.profiles {
            let profile = profile.profile;
            let name = profile.head.model.to_string();
            let Some((_, network)) = NETWORKS.iter().find(|(known, _)| *known == name) else {
                made.notes.push(format!("{name} of the data folder is in no set"));
                continue;
            };
            let parameters = networks::bundled(network).map_err(broken)?.parameters;
            let batch_size = if name == "gpt" { 1 } else { IMAGES };
            made.rows.extend(gating(&name, &profile, batch_size, &statics));
            members.insert(name.clone(), Member::measured(&name, parameters, &profile, batch_size));
        }
    }
    let powers = statics
        .iter()
        .map(|(kilohertz, (sum, count))| (Megahertz::new(*kilohertz as f64 / 1e3), sum / f64::from(*count)));
    let points: Vec<(Megahertz, f64)> = powers.collect();
    let idle = points.iter().map(|(_, watts)| Watts::new(*watts)).reduce(Watts::min);
    let spec = device_spec::bundled("nvidia-a100-80gb").map_err(broken)?;
    let board = Board::new(&spec, idle, Curve::new(points.clone()))?;
    let sets: Vec<&[&str]> =
        SETS.into_iter().filter(|set| set.iter().all(|name| members.contains_key(*name))).collect();
    let work = Work { load: Load::Peak, seconds: scale.seconds };
    let compared =
        in_parallel(options.threads, sets.len(), |job| compare(set_of(&members, sets[job])?, &board, work))?;
    made.rows.extend(compared.iter().flat_map(changes));
    let operational = || compared.iter().map(Comparison::operational);
    for (what, ours) in [
        ("mean over the measured sets", mean(operational())),
        ("most over the measured sets", operational().reduce(f64::max)),
    ] {
        let basis = compared.iter().map(Comparison::basis).max().unwrap_or(Basis::Assumed);
        let figure = format!("As Figs. 2 and 3, change of operational by sharing: {what}");
        made.rows.push(Row { basis, ..row(&figure, ours, "%") });
    }
    for set in &sets {
        let set = set_of(&members, set)?;
        // Only clocks at which every model of the set was measured.
        let is_there =
            |clock: &Megahertz| set.on_slices(&board, *clock).is_ok() && set.alone(&board, *clock).is_ok();
        let clocks: Vec<Megahertz> = points.iter().map(|(clock, _)| *clock).filter(is_there).collect();
        let swept = sweep(set, &board, &clocks, scale, options)?;
        for (source, clock) in best_clocks(&swept.1) {
            let lowest = clocks.first().map_or(0.0, |clock| clock.get() / 1e3);
            let what =
                format!("As Fig. 8, {}, {source}: best clock of {lowest} GHz and up", swept.0.set.name);
            made.rows.push(Row { basis: swept.0.carbon_basis(), ..row(&what, clock, "GHz") });
        }
    }
    Ok(())
}

/// Adds up `avg_power_draw - dynamic_power_draw`, the static power, by clock in kilohertz.
fn static_powers(
    bytes: &[u8],
    file: &Path,
    statics: &mut BTreeMap<u64, (f64, u32)>,
) -> Result<(), ReproduceError> {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().map_err(|error| unfit(file, error))?.clone();
    let column = |name: &str| {
        let found = header.iter().position(|found| found.trim() == name);
        found.ok_or_else(|| unfit(file, format!("no column {name:?}; give EnerTune's file as it is")))
    };
    let columns = [column("frequency")?, column("avg_power_draw")?, column("dynamic_power_draw")?];
    for record in reader.records() {
        let record = record.map_err(|error| unfit(file, error))?;
        let cells = columns.map(|column| record.get(column).and_then(|cell| cell.trim().parse::<f64>().ok()));
        // Cells that were not measured are empty.
        let [Some(clock), Some(power), Some(dynamic)] = cells else { continue };
        if clock > 0.0 && power.is_finite() && (0.0..=power).contains(&dynamic) {
            let (sum, count) = statics.entry((clock * 1e3).round() as u64).or_insert((0.0, 0));
            *sum += power - dynamic;
            *count += 1;
        }
    }
    Ok(())
}

/// How far dynamic power falls with the slice, where a model of gating would have it fall in proportion.
fn gating(
    name: &str,
    profile: &Profile,
    batch_size: u32,
    statics: &BTreeMap<u64, (f64, u32)>,
) -> Option<Row> {
    let (kilohertz, (sum, count)) = statics.last_key_value()?;
    let clock = Megahertz::new(*kilohertz as f64 / 1e3);
    let dynamic = |slice: &str| {
        let row = profile.rows.iter().find(|row| {
            row.point.batch_size == batch_size
                && row.point.core_clock_mhz == Some(clock)
                && row.point.partition.as_deref() == Some(slice)
        })?;
        Some(row.power_watts_mean?.get() - sum / f64::from(*count))
    };
    let share = dynamic("4g")? / dynamic("7g")? * 100.0;
    Some(Row {
        basis: Basis::Measured,
        rests_on: "EnerTune's rows of an A100 80 GB at its top clock".to_owned(),
        why: "4/7 is 57 %: what the analytic model gates with the slice does not fall so far".to_owned(),
        ..row(&format!("{name}: dynamic power on 4/7 as a share of that on 7/7"), Some(share), "%")
    })
}

fn row(figure: &str, ours: Option<f64>, unit: &str) -> Row {
    Row {
        figure: figure.to_owned(),
        published: None,
        ours,
        unit: unit.to_owned(),
        basis: Basis::Modelled,
        rests_on: RESTS_ON.to_owned(),
        why: "a set that the paper does not have".to_owned(),
    }
}

fn changes(set: &Comparison) -> Vec<Row> {
    let name = &set.set.name;
    let (energy, carbon) = (set.basis(), set.carbon_basis());
    [
        ("operational", set.operational(), energy),
        ("embodied", set.embodied(), energy),
        ("total on gas", set.total(GAS), carbon),
        ("total on wind", set.total(WIND), carbon),
    ]
    .map(|(what, ours, basis)| {
        let figure = format!("As Figs. 2 and 3, {name}: change of {what} by sharing");
        Row { basis, ..row(&figure, Some(ours), "%") }
    })
    .into()
}

/// One model of iGniter's `config`: power alone and of two side by side.
#[derive(Default)]
struct Pair {
    alone: Option<f64>,
    two: Option<f64>,
}

/// Errors of the estimates over pairs that were not fitted (Fig. 7, on another device).
///
/// Two instances, each with the share of the middle row and column of `power`: there `activetime_1`, one
/// instance alone, agrees with `gpulatency`. The idle draw of the shared parts is fitted on the other models.
pub(super) fn estimates(text: &str, file: &Path) -> Result<Vec<Row>, ReproduceError> {
    let mut idle = None;
    let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>() {
        let value = value.map_err(|error| unfit(file, error))?;
        for (name, facts) in value.as_object().into_iter().flatten() {
            if let Some(watts) = facts.get("idlepower").and_then(serde_json::Value::as_f64) {
                idle = Some(Watts::new(watts));
            }
            let pair = pairs.entry(name.clone()).or_default();
            pair.alone = pair.alone.or_else(|| facts.get("power")?.get(1)?.get(1)?.as_f64());
            pair.two = pair.two.or_else(|| facts.get("power_2")?.as_f64());
        }
    }
    let idle = idle.ok_or_else(|| unfit(file, "no hardware.idlepower; give iGniter's config as it is"))?;
    let measured: Vec<[Measured; 2]> = pairs
        .iter()
        .filter_map(|(name, pair)| {
            let tenant = Tenant { model: name.as_str().into(), slice: "50 %".to_owned() };
            let of =
                |count, power| Measured { tenants: vec![tenant.clone(); count], power: Watts::new(power) };
            Some([of(1, pair.alone?), of(2, pair.two?)])
        })
        .collect();
    if measured.len() < 2 {
        return Err(unfit(
            file,
            "found fewer than two models with power and power_2, expected iGniter's config as it is",
        ));
    }
    let (mut naive, mut additive) = (Vec::new(), Vec::new());
    for (index, [alone, two]) in measured.iter().enumerate() {
        let others = measured.iter().enumerate().filter(|(other, _)| *other != index);
        let mut samples: Vec<Measured> = others.flat_map(|(_, both)| both.clone()).collect();
        samples.push(alone.clone());
        let fit = SharedPower::fit(idle, &samples).map_err(|error| unfit(file, error))?;
        let report = fit.error_report(std::slice::from_ref(two)).map_err(|error| unfit(file, error))?;
        naive.push(report.mean_abs_error_share_naive * 100.0);
        additive.push(report.mean_abs_error_share_additive * 100.0);
    }
    let limit = "a V100 with MPS, two instances of one model, every pair within 11 W of the board's limit of 300 W: not the \
                 paper's A100 with MIG slices";
    let none = "needs pairs of different models, which were not measured";
    let rows = [
        ("mean error of the plain sum", mean(naive.into_iter()), limit),
        ("mean error with shared parts once", mean(additive.into_iter()), limit),
        ("mean error with the overlap fitted", None, none),
    ];
    let rows = rows.map(|(what, ours, why)| Row {
        basis: Basis::Measured,
        rests_on: format!(
            "iGniter's {} measured pairs, each estimated from the other models",
            measured.len()
        ),
        why: why.to_owned(),
        ..row(&format!("As Fig. 7, V100: {what}"), ours, "%")
    });
    Ok(rows.into())
}
