//! Claims about the study.

use super::*;
use crate::Row;
use crate::traces::STEP;

fn small() -> Scale {
    Scale {
        networks: vec!["mobilenet_v1", "mobilenet_v3_large", "nasnet_large"],
        hours: 72,
        steps: 4,
        step: Duration::from_secs(5),
    }
}

fn options() -> Options {
    Options { data: None, threads: 2 }
}

#[test]
fn a_small_run_gives_every_row_once_and_the_same_each_time() {
    let run = || run_at(&small(), &options(), &|_| ()).unwrap();
    let first = run();
    assert_eq!(first, run());
    let mut figures: Vec<&str> = first.rows.iter().map(|row| row.figure.as_str()).collect();
    figures.sort_unstable();
    let all = figures.len();
    figures.dedup();
    assert_eq!(figures.len(), all, "a figure twice");
    for needed in [
        "input: Table 1, solar: mean",
        "Fig. 2-3, MobileNet-V1 at 350 W: throughput by combination",
        "Fig. 4, hydro: gain of combination over batching",
        "Fig. 4, solar, mobilenet_v3_large: gain of combination over batching",
        "wind: hours parked by combination, mean of the networks",
        "Cap handling, proactive against reactive: throughput lost",
    ] {
        assert!(figures.contains(&needed), "no row {needed}");
    }
    let is_told = |row: &Row| row.ours.is_some() || row.figure.contains("saved");
    assert!(first.rows.iter().all(is_told), "{:?}", first.rows.iter().find(|row| !is_told(row)));
    assert_eq!(first.plots.len(), 5);
}

#[test]
fn combination_is_never_below_either_approach_and_its_oracle_never_below_it() {
    let traces = Source::ALL.map(|source| generate::trace(source, 7).first(48));
    let caps: Vec<&PowerTrace> = traces.iter().collect();
    for figure in [PowerFigure::Mean, PowerFigure::Max] {
        for cells in year::run(&small(), &caps, figure, 2).unwrap().iter().flatten() {
            let [tenants, batching, combination, oracle] = cells.map(|cell| cell.rps);
            assert!(combination >= tenants.max(batching), "{cells:?}");
            assert!(oracle >= combination * (1.0 - 1e-9), "{cells:?}");
            assert!(cells.iter().all(|cell| cell.over_cap_joules.abs() < 1.0), "over the cap: {cells:?}");
        }
    }
}

#[test]
fn a_cap_under_every_point_parks_all_hours() {
    let loaded = loaded("inception_v3", "epoch", "").unwrap();
    let trace = PowerTrace { watts: vec![1.0; 3], ..generate::trace(Source::Wind, 1) };
    let cap = trace.signal(STEP).unwrap();
    let options = policy_options(&loaded, FIGURE);
    let summary = year::play(&loaded.plan, &options, "combination", cap, &trace, 1).unwrap().summary;
    assert_eq!((summary.parked_seconds, summary.throughput_rps_mean), (3.0 * 3600.0, 0.0));
}
