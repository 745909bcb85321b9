//! Tests of the sharing experiment at a small scale.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use wattle_core::units::{GramsCo2e, Joules};

use super::*;
use crate::Row;

const QUICK: Scale = Scale { seconds: 30.0, sweep_seconds: 10.0, clocks: 7 };

static MADE: LazyLock<Reproduction> =
    LazyLock::new(|| run_at(QUICK, &Options { data: None, threads: 2 }, &|_| {}).unwrap());

fn bench() -> (Board, BTreeMap<String, Member>) {
    let spec = device_spec::bundled("nvidia-a100-40gb").unwrap();
    (Board::new(&spec, None, None).unwrap(), members(&spec).unwrap())
}

fn row<'a>(made: &'a Reproduction, figure: &str) -> &'a Row {
    made.rows.iter().find(|row| row.figure == figure).unwrap()
}

#[test]
fn every_published_figure_has_a_row_and_only_measured_pairs_are_missing() {
    for figure in ["Fig. 2", "Fig. 3", "Fig. 4", "Fig. 5", "Fig. 6", "Fig. 7", "Fig. 8"] {
        let of_figure = || MADE.rows.iter().filter(|row| row.figure.starts_with(figure));
        assert!(of_figure().any(|row| row.published.is_some()), "{figure}");
    }
    for row in &MADE.rows {
        let may_be_unknown =
            row.figure.starts_with("Fig. 7") || row.figure.contains("below which sharing pays");
        assert!(row.ours.is_some_and(f64::is_finite) || may_be_unknown, "{row:?}");
        assert_ne!(row.basis, Basis::Measured, "{row:?}");
        assert!(!row.rests_on.is_empty());
    }
    assert_eq!(MADE.plots.len(), 4);
    assert!(MADE.plots.iter().all(|(_, svg)| svg.contains("<svg")));
}

#[test]
fn the_same_run_gives_the_same_rows_on_any_number_of_threads() {
    let again = run_at(QUICK, &Options { data: None, threads: 1 }, &|_| {}).unwrap();
    assert_eq!(*MADE, again);
}

#[test]
fn a_shared_device_draws_shared_parts_once_and_idles_when_nothing_is_left() {
    let (board, members) = bench();
    let set = set_of(&members, &["GPT", "Whisper"]).unwrap();
    let work = Work { load: Load::Peak, seconds: 60.0 };
    let clock = board.top_clock;
    let shared = serve(&set, &board, Way::Shared, clock, work).unwrap();
    let (alone, placed) = (set.alone(&board, clock).unwrap(), set.on_slices(&board, clock).unwrap());
    let mut times: Vec<(f64, f64)> = placed
        .iter()
        .map(|(name, placed)| {
            let batches = (60e3 / alone[name].latency_ms).floor();
            (batches * placed.latency_ms / 1e3, placed.power.get())
        })
        .collect();
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let [(first, a), (last, b)] = times[..] else { panic!("two models") };
    let both = a + b - board.idle.get() - board.shared_idle(clock).unwrap().get();
    let end = shared.reserved.as_secs_f64();
    let expected = first * both + (last - first) * b + (end - last) * board.idle.get();
    assert!((shared.energy.get() / expected - 1.0).abs() < 1e-6, "{} J, {expected} J", shared.energy);
    assert!((last..last + 2.0 * 60.0 / 300.0).contains(&end));
}

#[test]
fn isolation_reserves_a_device_for_each_model_and_counts_each_once() {
    let (board, members) = bench();
    let set = set_of(&members, &["GPT", "Whisper", "MobileNet"]).unwrap();
    let work = Work { load: Load::Peak, seconds: 30.0 };
    let comparison = compare(set, &board, work).unwrap();
    let each = |served: &Served| {
        let one = wattle_core::carbon::embodied(board.embodied_kilograms, 5.0, served.reserved);
        served.embodied / one
    };
    assert!((each(&comparison.isolated) - 3.0).abs() < 1e-9);
    assert!((each(&comparison.shared) - 1.0).abs() < 1e-9);
}

#[test]
fn sharing_saves_more_the_less_there_is_to_do() {
    let change = |load: u32| {
        row(&MADE, &format!("Fig. 4, load {load} %: change of total by sharing, gas")).ours.unwrap()
    };
    assert!(change(10) < change(90) && change(10) < 0.0, "{} {}", change(10), change(90));
}

#[test]
fn less_carbon_in_a_kilowatt_hour_never_asks_for_a_lower_clock() {
    let best =
        |set: &str, source: &str| row(&MADE, &format!("Fig. 8, {set}, {source}: best clock")).ours.unwrap();
    for set in ["GPT/Whisper/MobileNet", "SDXL-256/Whisper/MobileNet", "GPT/Whisper"] {
        assert!(best(set, "wind") >= best(set, "gas"), "{set}");
    }
}

#[test]
fn sharing_that_costs_energy_and_saves_devices_pays_below_the_break_even_and_not_above() {
    let (_, members) = bench();
    let served = |joules: f64, grams: f64| Served {
        energy: Joules::new(joules),
        reserved: Duration::from_secs(300),
        embodied: GramsCo2e::new(grams),
        late_share: 0.0,
        basis: Basis::Assumed,
        embodied_basis: Basis::Assumed,
    };
    let set = set_of(&members, &["SDXL", "Whisper"]).unwrap();
    let of = |shared| Comparison { set: set.clone(), isolated: served(3.6e6, 40.0), shared };
    let comparison = of(served(4.6e6, 20.0));
    let even = comparison.break_even().unwrap();
    assert!((even - 72.0).abs() < 1e-9);
    assert!(comparison.total(even * 0.99) < 0.0 && comparison.total(even * 1.01) > 0.0);
    assert_eq!(of(served(3.0e6, 20.0)).break_even(), None, "it always pays");
}

#[test]
fn on_pairs_that_share_an_idle_draw_only_the_plain_sum_is_wrong() {
    let text = r#"{"hardware": {"idlepower": 50}}
        {"a": {"power": [[0, 0], [0, 110]]}} {"a": {"power_2": 140}}
        {"b": {"power": [[0, 0], [0, 130]]}} {"b": {"power_2": 180}}"#;
    let rows = measured::estimates(text, Path::new("config")).unwrap();
    let of = |what: &str| rows.iter().find(|row| row.figure.ends_with(what)).unwrap().ours;
    assert!(of("shared parts once").unwrap().abs() < 1e-6);
    assert!((of("plain sum").unwrap() - 50.0 * (30.0 / 140.0 + 30.0 / 180.0)).abs() < 1e-6);
    assert_eq!(of("overlap fitted"), None);
}

#[test]
fn a_wrong_measured_file_is_named_with_what_to_do_and_an_absent_one_is_noted() {
    let told = |text| measured::estimates(text, Path::new("config")).unwrap_err().to_string();
    assert!(told("{}").contains("config: no hardware.idlepower"));
    assert!(told(r#"{"hardware": {"idlepower": 50}}"#).contains("fewer than two models"));
    assert!(told("[").starts_with("config: "));
    let missing = Options { data: Some("no such folder".into()), threads: 1 };
    let mut made = Reproduction::default();
    measured::add(Path::new("no such folder"), QUICK, &missing, &mut made).unwrap();
    assert_eq!((made.rows.len(), made.notes.len()), (0, 2), "{:?}", made.notes);
}

/// The energy and the latency of the image generator in one of the scenario files.
fn scenario(file: &str) -> (f64, f64) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/sharing").join(file);
    let plan = wattle_sim::scenario::Loaded::read(&path).unwrap().plan;
    let mut policy = wattle_core::policies::fixed::Fixed;
    let summary = wattle_sim::request_level::run(&plan, &mut policy, 1, &mut |_| {}).unwrap().summary;
    (summary.energy_joules, summary.models["sdxl"].latency_ms_mean.unwrap())
}

#[test]
fn the_scenario_files_show_less_energy_and_longer_latency_under_sharing() {
    let ((shared, slow), (isolated, fast)) = (scenario("shared.toml"), scenario("isolated.toml"));
    assert!(shared < 0.85 * isolated, "{shared} J, {isolated} J");
    assert!(slow > fast);
}

#[test]
fn measured_profiles_give_decisions_and_measured_shares_of_power() {
    let Some(data) = std::env::var_os("WATTLE_DATA") else {
        eprintln!("skipped: set WATTLE_DATA to a folder with EnerTune's files");
        return;
    };
    let mut made = Reproduction::default();
    let options = Options { data: None, threads: 2 };
    measured::add(Path::new(&data), QUICK, &options, &mut made).unwrap();
    let of = |figure: &str| row(&made, figure).ours.unwrap();
    let share = of("gpt: dynamic power on 4/7 as a share of that on 7/7");
    assert!((share - 76.1).abs() < 0.1, "77.2 of 101.5 W");
    assert!(of("As Figs. 2 and 3, gpt/mobilenet_v3_large: change of operational by sharing") < 0.0);
    assert!(
        of("As Fig. 7, V100: mean error with shared parts once")
            < of("As Fig. 7, V100: mean error of the plain sum")
    );
}
