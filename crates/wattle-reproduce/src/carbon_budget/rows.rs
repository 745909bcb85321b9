//! The figures: what is beyond the least possible, and the carbon emission efficiency.

use std::collections::BTreeMap;

use wattle_core::provenance::Basis;

use super::{Case, FORECASTS};
use crate::{Reproduction, Row};

/// What is asked of the policy: at most so many percent beyond the least possible …
const WITHIN_PERCENT: f64 = 2.0;
/// … and at least so many points more than the rule of the paper.
const POINTS_MORE: f64 = 10.0;

/// Worst figures of a zone over its months and loads.
struct Worst {
    beyond_least_percent: f64,
    points_more: f64,
}

pub(super) fn reproduction(cases: &[Case]) -> Reproduction {
    let mut rows = overview(cases);
    cases.iter().for_each(|case| rows.extend(of_case(case)));
    Reproduction {
        name: "carbon-budget".into(),
        title: "Carbon budgets by a price of quality (ours)".into(),
        rows,
        notes: vec![
            "The floor on mean quality is what carbon-adaptive reached on the same month and load. The \
             accounting period is the month of 30 days, by half hours. The policy begins each month without \
             history: what it loses while it learns is counted."
                .into(),
            "Least possible: the linear program over the whole month with intensity and load foreseen, at \
             the floor."
                .into(),
            "Efficiency is the paper's carbon emission efficiency: quality gained over ResNet50, in percent \
             of its error, for each gram more than ResNet50's. It is told as the percent by which it is above \
             that of ResNet152 alone, the scale of the paper's 80 %, and in points of that scale."
                .into(),
            "A rise or fall of the intensity that lasts to the end of the month can't be known from what was \
             seen before it: there no policy without a forecast of weeks comes near the least possible."
                .into(),
        ],
        plots: Vec::new(),
    }
}

/// How many zones keep what is asked, each by its worst month and load, without a forecast.
fn overview(cases: &[Case]) -> Vec<Row> {
    let mut zones: BTreeMap<&str, Worst> = BTreeMap::new();
    let mut months_within = 0u32;
    for case in cases {
        let Some(budget) = case.results.budget.first() else { continue };
        let beyond_least_percent = case.results.beyond_least_percent(budget);
        let points_more = case.results.points_of(budget) - case.results.points_of(&case.results.adaptive);
        months_within += u32::from(beyond_least_percent <= WITHIN_PERCENT);
        let worst = zones.entry(&case.zone).or_insert(Worst { beyond_least_percent, points_more });
        worst.beyond_least_percent = worst.beyond_least_percent.max(beyond_least_percent);
        worst.points_more = worst.points_more.min(points_more);
    }
    let count = |is_kept: &dyn Fn(&Worst) -> bool| zones.values().filter(|worst| is_kept(worst)).count();
    let basis = cases.iter().map(|case| case.basis).max().unwrap_or(Basis::Assumed).max(Basis::Modelled);
    let row = |figure: String, ours: f64, unit: &str| Row {
        figure,
        published: None,
        ours: Some(ours),
        unit: unit.into(),
        basis,
        rests_on: "all months and loads below, without a forecast".into(),
        why: String::new(),
    };
    let of = zones.len();
    vec![
        row(
            format!("zones of {of} within {WITHIN_PERCENT} % of the least possible in every month and load"),
            count(&|worst| worst.beyond_least_percent <= WITHIN_PERCENT) as f64,
            "zones",
        ),
        row(
            format!("months and loads of {} within {WITHIN_PERCENT} % of the least possible", cases.len()),
            f64::from(months_within),
            "months",
        ),
        row(
            format!(
                "zones of {of} with {POINTS_MORE} points more than carbon-adaptive in every month and load"
            ),
            count(&|worst| worst.points_more >= POINTS_MORE) as f64,
            "zones",
        ),
    ]
}

fn of_case(case: &Case) -> Vec<Row> {
    let Case { zone, month, load, results, .. } = case;
    let mut rows = Vec::new();
    let mut add = |figure: &str, ours: f64, unit: &str, why: &str| {
        rows.push(Row {
            figure: format!("{zone}, {month}, {load}: {figure}"),
            published: None,
            ours: Some(ours).filter(|ours| ours.is_finite()),
            unit: unit.into(),
            basis: case.basis.max(Basis::Modelled),
            rests_on: case.rests_on.clone(),
            why: why.into(),
        });
    };
    let of = &results.adaptive;
    add("floor, the mean quality of carbon-adaptive", 100.0 - of.error_percent, "%", "");
    let beyond = results.beyond_least_percent(of);
    add("carbon-adaptive: grams beyond the least possible", beyond, "%", "");
    for ((forecast, ..), served) in FORECASTS.iter().zip(&results.budget) {
        let figure = format!("carbon-budget, {forecast}: grams beyond the least possible");
        add(&figure, results.beyond_least_percent(served), "%", "");
    }
    let Some(budget) = results.budget.first() else { return rows };
    let above = of.error_percent - budget.error_percent;
    add("carbon-budget, no forecast: mean quality above the floor", above, "points of quality", "");
    let [adaptive, points] = [of, budget].map(|served| results.points_of(served));
    add("carbon-adaptive: efficiency over ResNet152's", adaptive, "%", "");
    add("carbon-budget, no forecast: efficiency over ResNet152's", points, "%", "");
    let best = results.points(of.error_percent, results.least_grams);
    add("least possible: efficiency over ResNet152's", best, "%", "");
    add("carbon-budget, no forecast, over carbon-adaptive", points - adaptive, "points", "");
    let [_, r101, r152] = &results.alone;
    let [r101, r152] = [r101, r152].map(|of| results.efficiency(of.error_percent, of.grams));
    let why = "on the scale of ResNet101's efficiency, the best of a network alone";
    add("the same on the scale of ResNet101's", (points - adaptive) * r152 / r101, "points", why);
    rows
}
