//! The figures of the study, published and ours.

use wattle_core::provenance::Basis;

use super::handling::{self, Handled, ORACLE_WAY, PROACTIVE, REACTIVE, WAYS};
use super::slices::{Detail, SLICE_HOURS};
use super::year::{SinglePoints, Year};
use super::{APPROACHES, BATCHING, COMBINATION, MOST_INSTANCES, MULTI_TENANT, ORACLE};
use crate::Row;
use crate::row::rest_on;
use crate::traces::PowerTrace;

/// Hours of a trace in the paper.
const PUBLISHED_HOURS: f64 = 8760.0;
/// Fig. 4: gains of Combination over Multi-Tenant and Batching in percent, by trace.
const PUBLISHED_GAINS: [(f64, f64); 3] = [(316.0, 16.0), (363.0, 19.0), (321.0, 17.0)];
/// Section 3, solar: gains over Batching in percent.
const PUBLISHED_SOLAR: [(&str, f64); 2] = [("mobilenet_v3_large", 86.0), ("nasnet_large", 8.0)];
/// Section 2.2: MobileNet-V1, images per second.
const PUBLISHED_POINTS: [f64; 3] = [1241.0, 9948.0, 13431.0];
/// Section 2.2: instances of MobileNet-V1 that fit.
const PUBLISHED_INSTANCES: f64 = 5.0;

const PROFILES: &str = "analytic profiles of an RTX 3090";
const WHY_PROFILES: &str = "profiles are modelled from datasheets, not measured; six of the ten networks \
                            are not the paper's, which its text doesn't name";
const WHY_TENANTS: &str = "our model of memory fits more instances, and batches of one of several instances \
                           overlap in it until the device is full; TensorFlow's took most of the memory and \
                           of the host";

/// All that the rows tell of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Results<'a> {
    /// How the profiles are known.
    pub(super) profiles: Basis,
    pub(super) networks: &'a [&'static str],
    pub(super) traces: &'a [PowerTrace],
    pub(super) year: &'a Year,
    pub(super) by_max: &'a Year,
    pub(super) points: &'a SinglePoints,
    pub(super) detail: &'a Detail,
    pub(super) handled: &'a [Handled],
    pub(super) step: std::time::Duration,
}

/// What a reader has to know.
pub(super) fn notes() -> Vec<String> {
    vec![
        format!(
            "Every approach knows the whole profile (b 1 to 128, m 1 to {MOST_INSTANCES} as far as memory \
             goes) and decides each hour. A point fits by its mean power: the paper averages what it monitored. \
             Rows marked \"by maximum power\" fit by the power while a batch runs, the policies' default, as a \
             cap may not be exceeded for a moment. One instance leaves the device idle between batches, so \
             that its maximum is far over its mean; several that fill the gaps draw no higher maximum."
        ),
        "The least hungry point, one instance with batches of one, belongs to every approach: all park for the \
         same hours."
            .to_owned(),
        "Table 1's traces are inputs, so that ours are near it is no result. Generated ones have its mean and \
         deviation by construction; the order of their hours, and all that is above the second moment, is the \
         generator's. Ones of measured generation come from a rule that was picked because it comes close to \
         the table."
            .to_owned(),
    ]
}

/// All rows.
pub(super) fn all(results: &Results<'_>) -> Vec<Row> {
    let mut inputs = Vec::new();
    traces(results, &mut inputs);
    let mut rows = Vec::new();
    gains(results, &mut rows);
    detail(results, &mut rows);
    handled(results, &mut rows);
    let worst = results.traces.iter().map(|trace| trace.basis).max().unwrap_or(Basis::Assumed);
    rest_on(worst, &mut rows);
    single_points(results, &mut rows);
    rest_on(results.profiles, &mut rows);
    inputs.append(&mut rows);
    inputs
}

fn row(figure: String, published: Option<f64>, ours: Option<f64>, unit: &str) -> Row {
    let ours = ours.filter(|value| value.is_finite());
    let (rests_on, why) = (PROFILES.to_owned(), String::new());
    Row { figure, published, ours, unit: unit.to_owned(), basis: Basis::Modelled, rests_on, why }
}

fn traces(results: &Results<'_>, rows: &mut Vec<Row>) {
    for trace in results.traces {
        let published = trace.source.published();
        let name = trace.source.name();
        let why = trace.why;
        let hours = match trace.watts.len() {
            0..8760 => "hours under the floor, or of night, are left out and the others joined up",
            _ => "",
        };
        for (what, published, ours, unit, why) in [
            ("mean", published.mean_watts, trace.mean(), "W", why),
            ("standard deviation", published.deviation_watts, trace.deviation(), "W", why),
            ("length", PUBLISHED_HOURS, trace.watts.len() as f64, "h", hours),
        ] {
            rows.push(Row {
                basis: trace.basis,
                rests_on: trace.rests_on.clone(),
                why: why.to_owned(),
                ..row(format!("input: Table 1, {name}: {what}"), Some(published), Some(ours), unit)
            });
        }
    }
}

fn single_points(results: &Results<'_>, rows: &mut Vec<Row>) {
    let points = results.points;
    for (approach, published) in PUBLISHED_POINTS.into_iter().enumerate() {
        let figure = format!("Fig. 2-3, MobileNet-V1 at 350 W: throughput by {}", APPROACHES[approach]);
        let why = if approach == MULTI_TENANT { WHY_TENANTS } else { WHY_PROFILES };
        rows.push(Row {
            why: why.to_owned(),
            ..row(figure, Some(published), Some(points.rps[approach]), "images/s")
        });
        let figure = format!("Fig. 2-3, MobileNet-V1 at 350 W: mean power by {}", APPROACHES[approach]);
        rows.push(row(figure, None, Some(points.watts[approach]), "W"));
    }
    let [tenants, batching, combination, _] = points.rps;
    for (over, published, base) in [("batching", 35.0, batching), ("multi-tenant", 982.0, tenants)] {
        let figure = format!("Section 2.2, MobileNet-V1 at 350 W: gain of combination over {over}");
        let gain = (combination / base - 1.0) * 100.0;
        rows.push(Row { why: WHY_TENANTS.to_owned(), ..row(figure, Some(published), Some(gain), "%") });
    }
    let figure = "Section 2.2: instances of MobileNet-V1 that fit the memory".to_owned();
    let ours = Some(f64::from(points.most_instances));
    rows.push(Row {
        why: WHY_TENANTS.to_owned(),
        ..row(figure, Some(PUBLISHED_INSTANCES), ours, "instances")
    });
}

/// Mean over the networks of the gain of Combination over `approach` on a trace, in percent.
fn mean_gain(year: &Year, trace: usize, approach: usize) -> Option<f64> {
    let gains: Vec<f64> = year.iter().filter_map(|network| gain(&network[trace], approach)).collect();
    (!gains.is_empty()).then(|| crate::traces::mean(&gains))
}

fn gain(cells: &[super::year::Cell; 4], approach: usize) -> Option<f64> {
    let base = cells[approach].rps;
    (base > 0.0).then(|| (cells[COMBINATION].rps / base - 1.0) * 100.0)
}

fn gains(results: &Results<'_>, rows: &mut Vec<Row>) {
    for (index, trace) in results.traces.iter().enumerate() {
        let name = trace.source.name();
        let (over_tenants, over_batching) = PUBLISHED_GAINS[index];
        let rests_on = format!("{PROFILES}; {}", trace.rests_on);
        for (approach, published, why) in
            [(BATCHING, over_batching, WHY_PROFILES), (MULTI_TENANT, over_tenants, WHY_TENANTS)]
        {
            // The paper's points fit by their mean power: it has no figure by the maximum.
            let runs = [(results.year, "", Some(published)), (results.by_max, ", by maximum power", None)];
            for (year, mark, published) in runs {
                let figure =
                    format!("Fig. 4, {name}: gain of combination over {}{mark}", APPROACHES[approach]);
                rows.push(Row {
                    rests_on: rests_on.clone(),
                    why: why.to_owned(),
                    ..row(figure, published, mean_gain(year, index, approach), "%")
                });
            }
        }
        for (approach, approach_name) in APPROACHES.iter().enumerate().take(ORACLE) {
            let shares = results.year.iter().map(|network| network[index][approach].parked_share);
            let hours = crate::traces::mean(&shares.collect::<Vec<f64>>()) * trace.watts.len() as f64;
            let figure = format!("{name}: hours parked by {approach_name}, mean of the networks");
            rows.push(Row { rests_on: rests_on.clone(), ..row(figure, None, Some(hours), "h") });
        }
        let to_oracle = results.year.iter().map(|network| {
            let cells = &network[index];
            cells[COMBINATION].rps / cells[ORACLE].rps
        });
        let least = to_oracle.filter(|ratio| ratio.is_finite()).reduce(f64::min);
        let figure =
            format!("{name}: throughput of combination over its oracle's, the least of the networks");
        rows.push(Row { rests_on: rests_on.clone(), ..row(figure, None, least, "ratio") });
        let cells = || results.year.iter().flat_map(|network| &network[index]);
        let over: f64 = cells().map(|cell| cell.over_cap_joules).sum();
        let figure = format!("{name}: energy above the cap beyond the idle device's, all runs together");
        rows.push(Row { rests_on: rests_on.clone(), ..row(figure, None, Some(over.round()), "J") });
        let idle = cells().map(|cell| cell.idle_watts).fold(0.0, f64::max);
        let under = trace.watts.iter().filter(|watts| **watts < idle).count() as f64;
        let figure = format!("{name}: hours whose cap is under the idle device's {idle:.0} W");
        rows.push(Row { rests_on, ..row(figure, None, Some(under), "h") });
    }
    let solar = 1;
    for (network, cells) in results.networks.iter().zip(results.year) {
        let published = PUBLISHED_SOLAR.iter().find(|(name, _)| name == network).map(|(_, gain)| *gain);
        let figure = format!("Fig. 4, solar, {network}: gain of combination over batching");
        let ours = cells.get(solar).and_then(|cells| gain(cells, BATCHING));
        rows.push(Row {
            rests_on: format!("{PROFILES}; {}", results.traces[solar].rests_on),
            why: if published.is_some() { WHY_PROFILES.to_owned() } else { String::new() },
            ..row(figure, published, ours, "%")
        });
    }
}

fn detail(results: &Results<'_>, rows: &mut Vec<Row>) {
    let rests_on = format!("{PROFILES}; {}", results.traces[1].rests_on);
    for (quarter, ours) in [("lowest", results.detail.gain_tight), ("highest", results.detail.gain_loose)] {
        let figure = format!(
            "Fig. 5, Inception-V3, solar: gain of combination over batching in the quarter of {quarter} caps"
        );
        rows.push(Row {
            rests_on: rests_on.clone(),
            why: "the paper says in words: very close when the cap is low, significantly higher when it is loose"
                .to_owned(),
            ..row(figure, None, ours, "%")
        });
    }
    for (hours, slice) in SLICE_HOURS.iter().zip(&results.detail.slices) {
        let about = format!("Inception-V3, solar, combination decides every {hours} h");
        let ratio = Some(slice.throughput_ratio);
        let throughput = row(format!("{about}: throughput over hourly decisions'"), None, ratio, "ratio");
        let over = Some(slice.over_cap_share * 100.0);
        let over = row(format!("{about}: energy above the cap, share of all"), None, over, "%");
        rows.push(Row { rests_on: rests_on.clone(), ..throughput });
        rows.push(Row { rests_on: rests_on.clone(), ..over });
    }
}

fn handled(results: &Results<'_>, rows: &mut Vec<Row>) {
    let handled = results.handled;
    let rests_on = format!(
        "request level, {} saturated, {PROFILES}; {} in {}",
        handling::NETWORK,
        results.traces[2].rests_on,
        handling::told(results.step)
    );
    let mut add = |figure: String, ours: f64, unit: &str| {
        rows.push(Row { rests_on: rests_on.clone(), ..row(figure, None, Some(ours), unit) });
    };
    for (way, of) in WAYS.iter().zip(handled) {
        let about = format!("Cap handling, {}", way.name);
        add(format!("{about}: throughput"), of.rps, "images/s");
        add(format!("{about}: energy above the cap"), of.over_cap_joules, "J");
        add(format!("{about}: time above the cap, share"), of.over_cap_share * 100.0, "%");
    }
    let (Some(reactive), Some(proactive), Some(oracle)) =
        (handled.get(REACTIVE), handled.get(PROACTIVE), handled.get(ORACLE_WAY))
    else {
        return;
    };
    let saved = (1.0 - proactive.over_cap_joules / reactive.over_cap_joules) * 100.0;
    add("Cap handling, proactive against reactive: energy above the cap saved".to_owned(), saved, "%");
    let lost = (1.0 - proactive.rps / reactive.rps) * 100.0;
    add("Cap handling, proactive against reactive: throughput lost".to_owned(), lost, "%");
    add(
        "Cap handling, reactive: throughput over the oracle's".to_owned(),
        reactive.rps / oracle.rps,
        "ratio",
    );
}
