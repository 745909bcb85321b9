//! The report of real runs, of many, and of odd ones.

use proptest::prelude::*;

use super::example::written;
use super::run_report;
use super::well_formed::check;
use crate::recorder::Point;
use crate::run_folder::Written;

fn is_alone(html: &str) -> bool {
    ["http://", "https://", "<script", "src=", "href=", "url(", "@import"]
        .iter()
        .all(|text| !html.contains(text))
}

#[test]
fn a_report_is_well_formed_needs_nothing_else_and_is_the_same_each_time() {
    let html = run_report(&written(&["fixed", "combination"], &[1, 2]));
    check(&html).unwrap();
    assert!(is_alone(&html));
    assert!(html == run_report(&written(&["fixed", "combination"], &[1, 2])));
    let shown = [
        "<title>Two networks under a cap that falls and rises</title>",
        "on one &lt;P40&gt;",
        "combination, seed 2",
        "Differences from fixed, seed 1",
        "class=\"badge modelled\"",
        "energy above the cap",
        "Little&apos;s law",
        "<summary>combination, seed 1: the first",
        ">unknown</td>",
    ];
    for text in shown {
        assert!(html.contains(text), "{text}");
    }
    assert!(!html.contains("does not hold"));
}

#[test]
fn twenty_runs_of_many_points_fit_into_two_megabytes() {
    let mut many = written(&["fixed", "combination"], &[1]);
    for run in &mut many.runs {
        let points = run.points.iter().cycle().take(5000).cloned().enumerate();
        run.points = points.map(|(index, point)| Point { seconds: index as f64, ..point }).collect();
        run.decisions = run.decisions.iter().cycle().take(2000).cloned().collect();
    }
    many.runs = many.runs.iter().cycle().take(20).cloned().collect();
    let html = run_report(&many);
    assert!(html.len() < 2_000_000, "{}", html.len());
    check(&html).unwrap();
}

#[test]
fn beyond_twenty_runs_one_of_each_policy_is_shown_over_time() {
    let mut many = written(&["fixed", "combination"], &[1]);
    many.runs = many.runs.iter().cycle().take(300).cloned().collect();
    let html = run_report(&many);
    assert!(html.contains("2 of 300 runs are shown over time"));
    assert!(html.contains("The first 200 of 300 runs"));
    assert!(html.len() < 2_000_000, "{}", html.len());
}

#[test]
fn without_a_cap_nothing_is_said_of_violations() {
    let mut uncapped = written(&["fixed"], &[1]);
    for run in &mut uncapped.runs {
        run.summary.cap_watts_mean = None;
        run.points.iter_mut().for_each(|point| point.power_cap_watts = None);
    }
    let html = run_report(&uncapped);
    assert!(!html.contains("above the cap") && !html.contains("stroke=\"#707070\" "));
}

#[test]
fn a_command_without_runs_has_a_report() {
    let empty = Written { runs: Vec::new(), ..written(&[], &[]) };
    check(&run_report(&empty)).unwrap();
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![Just(f64::NAN), Just(f64::NEG_INFINITY), Just(f64::MAX), Just(0.0), any::<f64>(), 0.0..1000.0,]
}

fn any_point() -> impl Strategy<Value = Point> {
    let numbers = proptest::array::uniform5(any_number());
    let known = proptest::array::uniform5(proptest::option::of(any_number()));
    (numbers, known, any::<(u64, u32, u32, Option<u32>)>(), "[<&\"']{0,3}").prop_map(
        |(numbers, known, counts, variant)| Point {
            seconds: numbers[0],
            power_watts: numbers[1],
            power_watts_max: numbers[2],
            power_cap_watts: known[0],
            carbon_intensity_g_per_kwh: known[1],
            offered_rps: numbers[3],
            throughput_rps: numbers[4],
            latency_ms_mean: known[2],
            latency_ms_max: known[3],
            queued_rows: counts.0,
            batch_size: counts.1,
            instances: counts.2,
            core_clock_mhz: known[4],
            compute_units: counts.3,
            variant: (!variant.is_empty()).then(|| variant.as_str().into()),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_points_and_names_give_a_well_formed_report(
        points in proptest::collection::vec(any_point(), 0..60),
        figure in any_number(),
        text in ".{0,30}",
    ) {
        static BASE: std::sync::OnceLock<Written> = std::sync::OnceLock::new();
        let mut odd = BASE.get_or_init(|| written(&["fixed", "combination"], &[1])).clone();
        odd.scenario.clone_from(&text);
        odd.description.clone_from(&text);
        let run = &mut odd.runs[1];
        run.points = points;
        run.summary.label.clone_from(&text);
        run.summary.power_watts_mean = figure;
        run.summary.latency_ms_p99 = Some(figure);
        run.summary.checks.energy_unaccounted_joules = figure;
        let html = run_report(&odd);
        check(&html).map_err(TestCaseError::fail)?;
        prop_assert!(!html.contains("<script"));
    }
}
