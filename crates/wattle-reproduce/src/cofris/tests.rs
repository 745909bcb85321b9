//! All rows of a small run, its determinism, and what holds by construction.

use std::path::Path;

use super::*;

/// Two workloads, a few numbers of units, a quarter of a minute.
fn small() -> Scale {
    Scale { networks: vec!["resnet152", "vgg19"], units: vec![15, 30, 45, 60], seconds: 15.0 }
}

fn run_small(threads: usize) -> Reproduction {
    run_at(&small(), &Options { data: None, threads }, &|_| ()).unwrap()
}

#[test]
fn a_small_run_gives_every_row_the_same_on_any_number_of_threads() {
    let one = run_small(1);
    assert_eq!(one, run_small(2));
    assert_eq!(one.name, "cofris");
    for row in &one.rows {
        assert!(row.ours.is_some(), "{}", row.figure);
        assert!(!row.rests_on.is_empty() && !row.unit.is_empty(), "{}", row.figure);
    }
    let published = one.rows.iter().filter(|row| row.published.is_some()).count();
    assert!(published >= 11, "{published}");
    let mut figures: Vec<&str> = one.rows.iter().map(|row| row.figure.as_str()).collect();
    figures.sort_unstable();
    figures.dedup();
    assert_eq!(figures.len(), one.rows.len(), "two rows have one name");
}

fn board() -> Board {
    Board::new(&[15, 30, 45, 60]).unwrap()
}

#[test]
fn power_between_requests_is_the_active_idle_power_less_that_of_what_is_gated() {
    let board = board();
    let full = board.fully_clocked().unwrap();
    assert_eq!((full.ungated, full.by_engine, full.by_unit), (72.0, 72.0, 72.0));
    let half = board.clocked(1725.0, 30).unwrap();
    // 57 W above idle at full clock, half of them gated either way: 30 units fill two engines.
    assert_eq!((half.ungated, half.by_engine, half.by_unit), (72.0, 43.5, 43.5));
}

#[test]
fn gating_only_lowers_power_and_units_save_at_least_what_engines_save() {
    let board = Board::new(&[]).unwrap();
    for clock in &board.clocks {
        for units in &board.units {
            let clocked = board.clocked(clock.get(), *units).unwrap();
            assert!(clocked.by_unit <= clocked.by_engine && clocked.by_engine <= clocked.ungated);
            assert!(clocked.by_unit >= 15.0);
        }
    }
}

#[test]
fn the_same_decisions_draw_less_the_finer_the_board_gates() {
    let board = board();
    let trace = LoadTrace::generated().first(30.0);
    let workload = Workload::new("resnet152", &board, &trace.rates).unwrap();
    let replayed = workload.replay(&Case::of("cofris-cu", USUAL)).unwrap();
    let watts =
        [Gating::ComputeUnit, Gating::ShaderEngine, Gating::None].map(|gating| replayed.watts(gating));
    assert!(watts.is_sorted(), "{watts:?}");
    assert_eq!(replayed.lost, 0);
}

#[test]
fn the_full_board_under_an_even_load_answers_in_the_time_of_a_request_alone() {
    let board = board();
    let trace = LoadTrace::generated().first(30.0);
    let workload = Workload::new("resnet152", &board, &trace.rates).unwrap();
    let replayed = workload.replay(&baseline()).unwrap();
    let base = workload.base_ms().unwrap();
    assert!((replayed.p95_ms / base - 1.0).abs() < 2e-3, "{} {base}", replayed.p95_ms);
    assert_eq!(replayed.late_percent, 0.0);
    assert!((replayed.slo_ms / (USUAL * base) - 1.0).abs() < 1e-6);
}

#[test]
fn metering_the_clocked_device_agrees_with_a_device_that_idles_at_that_power() {
    // At full clock the device between requests draws a constant 72 W, which a plain replay can play too.
    let board = board();
    let trace = LoadTrace::generated().first(30.0);
    let workload = Workload::new("resnet152", &board, &trace.rates).unwrap();
    let metered = workload.replay(&baseline()).unwrap().watts(Gating::None);
    let above = |watts: f64| watts - 15.0;
    let deep = workload.replay(&with_deep_idle("fixed")).unwrap().watts(Gating::None);
    let full = workload.profile.rows.iter().filter_map(|row| row.power_watts_mean);
    let full = full.map(wattle_core::units::Watts::get).fold(0.0, f64::max);
    let busy = above(deep) / above(full);
    assert!((metered - (72.0 + busy * (full - 72.0))).abs() < 1e-6, "{metered} {busy}");
}

/// What comes with the program has to be what the generator and the model say.
#[test]
fn the_scenario_rests_on_the_generated_load_and_on_the_base_of_its_model() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/cofris");
    let load = std::fs::read_to_string(folder.join("load.csv")).unwrap();
    let mut generated = "seconds,rate_rps\n".to_owned();
    for (index, segment) in LoadTrace::generated().rates.segments.iter().enumerate() {
        generated.push_str(&format!("{},{:.4}\n", index as f64 * segment.seconds, segment.rate_rps));
    }
    assert_eq!(load, generated);
    let scenario = wattle_sim::scenario::Loaded::read(&folder.join("cofris.toml")).unwrap();
    let trace = LoadTrace::generated();
    let board = board();
    let workload = Workload::new("resnet152", &board, &trace.rates).unwrap();
    let objective = scenario.plan.models[0].objective.unwrap().as_secs_f64() * 1e3;
    assert!(
        (objective / (2.0 * workload.base_ms().unwrap()) - 1.0).abs() < 0.01,
        "{}",
        workload.base_ms().unwrap()
    );
    let wattle_sim::workload::Source::Rates { trace, .. } = &scenario.plan.streams[0].source else {
        panic!()
    };
    assert!(
        (trace.peak_rps() / workload.max_rps().unwrap() - 1.0).abs() < 0.01,
        "{}",
        workload.max_rps().unwrap()
    );
}
