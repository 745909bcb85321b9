//! The figures of the paper and ours.

use wattle_core::policies::carbon_adaptive::IntensityWindow;
use wattle_core::provenance::Basis;
use wattle_sim::plot::{Axis, Bar, Bars, Line, LineKind, LinePlot};

use super::published::{
    EFFICIENCY_HEURISTIC, EFFICIENCY_RESNET152, GRAMS_HEURISTIC, GRAMS_RESNET101, GRAMS_RESNET152,
    HEURISTIC_ERROR_PERCENT, HEURISTIC_GAIN_PERCENT, RESNET50, RESNET101, RESNET152, RESNETS, gain_percent,
    grams_per_millijoule,
};
use super::replay::{Month, Played, Served};
use super::traces::EPOCH;
use super::{RULES, broken};
use crate::{ReproduceError, Reproduction, Row};

/// All policies over one month.
pub(super) struct Results {
    alone: Vec<Served>,
    adaptive: Served,
    printed: Served,
    /// The extremes of the intensity taken over the whole month.
    whole: Served,
    without_resnet34: Served,
    least_grams: f64,
    /// The least possible at the error rate that the paper reports.
    least_grams_at_published: f64,
}

impl Results {
    pub(super) fn of(month: &Month<'_>) -> Result<Self, ReproduceError> {
        let [adaptive, printed] = RULES.map(|rule| month.under(rule, IntensityWindow::Trailing));
        let adaptive = adaptive?;
        Ok(Self {
            alone: (0..RESNETS.len()).map(|network| month.alone(network)).collect::<Result<_, _>>()?,
            least_grams: month.least_grams(adaptive.error_percent)?,
            least_grams_at_published: month.least_grams(HEURISTIC_ERROR_PERCENT)?,
            without_resnet34: month.without_resnet34()?,
            adaptive,
            printed: printed?,
            whole: month.under(RULES[0], IntensityWindow::Whole)?,
        })
    }

    /// Grams more than ResNet50.
    fn grams_more(&self, served: &Served) -> f64 {
        served.grams - self.alone[RESNET50].grams
    }

    /// The paper's carbon emission efficiency, in percent per gram.
    fn efficiency(&self, served: &Served) -> f64 {
        gain_percent(served.error_percent) / self.grams_more(served)
    }

    /// Grams if each network gave as many answers, but without regard to when.
    fn grams_if_blind(&self, served: &Served) -> f64 {
        self.alone.iter().zip(served.shares).map(|(alone, share)| alone.grams * share).sum()
    }
}

struct Maker(Vec<Row>);

impl Maker {
    fn add(
        &mut self,
        figure: String,
        (published, ours): (Option<f64>, f64),
        unit: &str,
        (basis, rests_on): (Basis, &str),
        why: &str,
    ) {
        self.0.push(Row {
            figure,
            published,
            ours: Some(ours).filter(|ours| ours.is_finite()),
            unit: unit.into(),
            basis,
            rests_on: rests_on.into(),
            why: why.into(),
        });
    }
}

pub(super) fn reproduction(months: &[Month<'_>], played: &[Played]) -> Result<Reproduction, ReproduceError> {
    let mut rows = Maker(Vec::new());
    let mut grams = Vec::new();
    arithmetic(&mut rows);
    for (month, played) in months.iter().zip(played.chunks(2)) {
        let [Played::Month(results), Played::Day(day)] = played else {
            return Err(broken("jobs out of their order"));
        };
        replayed(&mut rows, month, results, *day);
        grams.push(grams_of(&month.carbon.name, results));
    }
    let load = months.first().map_or("", |month| month.load.source.as_str());
    Ok(Reproduction {
        name: "carbon-adaptive".into(),
        title: "Carbon Intensity-Aware Adaptive Inference of DNNs".into(),
        rows: rows.0,
        notes: vec![
            "The paper does not tell how many requests it serves, so grams are compared as ratios: all grams \
             grow with the requests alone. Here they are 50 million in 30 days, a round figure that one V100 serves with ResNet152 too. (Its own \
             numbers tell the sum over time of requests times carbon intensity: 2.52e10 g/kWh.)"
                .into(),
            "The paper's 80 % is over ResNet152. Over ResNet101, whose error is near the heuristic's, the same \
             numbers give 46 %."
                .into(),
            "Energy of an inference and errors are the paper's Table 1; latency, which no row rests on, is of \
             the analytic model. C_low and C_high are of the day up to now."
                .into(),
            format!("Load: {load}."),
        ],
        plots: months.iter().map(intensity).chain(grams).collect(),
    })
}

/// Section 4 from the paper's own numbers.
fn arithmetic(rows: &mut Maker) {
    // Its grams are computed from measured energies.
    let known = (Basis::Modelled, "the paper's Table 1 and the grams of its section 4");
    let [r101, r152] = [RESNET101, RESNET152].map(|network| gain_percent(RESNETS[network].error_percent));
    let mut add = |figure: &str, published, ours, unit: &str, why: &str| {
        rows.add(format!("section 4, its own numbers: {figure}"), (published, ours), unit, known, why);
    };
    add("quality gain of ResNet101 over ResNet50", Some(9.58), r101, "%", "");
    add("quality gain of ResNet152 over ResNet50", Some(16.58), r152, "%", "the paper cuts off, 16.587");
    add(
        "quality gain of the heuristic over ResNet50",
        Some(HEURISTIC_GAIN_PERCENT),
        gain_percent(HEURISTIC_ERROR_PERCENT),
        "%",
        "from the error rounded to 6.57 %; an error of 6.567 % gives 8.00 %",
    );
    let heuristic = HEURISTIC_GAIN_PERCENT / GRAMS_HEURISTIC;
    let large = r152 / GRAMS_RESNET152;
    add("carbon emission efficiency of ResNet152", Some(EFFICIENCY_RESNET152), large, "%/g", "");
    add("carbon emission efficiency of the heuristic", Some(EFFICIENCY_HEURISTIC), heuristic, "%/g", "");
    add(
        "efficiency of the heuristic over ResNet152's",
        Some(80.0),
        (heuristic / large - 1.0) * 100.0,
        "%",
        "",
    );
    add(
        "efficiency of the heuristic over ResNet101's",
        None,
        (heuristic / (r101 / GRAMS_RESNET101) - 1.0) * 100.0,
        "%",
        "the paper compares with ResNet152 only",
    );
    add(
        "grams per millijoule, ResNet152's over ResNet101's",
        None,
        grams_per_millijoule(RESNET152, GRAMS_RESNET152) / grams_per_millijoule(RESNET101, GRAMS_RESNET101),
        "ratio",
        "a check: any two networks alone differ in grams as they do in energy",
    );
}

fn replayed(rows: &mut Maker, month: &Month<'_>, results: &Results, day: [f64; 2]) {
    let name = &month.carbon.name;
    let basis = month.load.basis.max(month.carbon.basis).max(Basis::Modelled);
    let rests_on = format!("the paper's Table 1; {}; {}", month.carbon.source, month.load.source);
    let mut add = |figure: &str, published: Option<f64>, ours: f64, unit: &str, why: &str| {
        rows.add(format!("{name}: {figure}"), (published, ours), unit, (basis, &rests_on), why);
    };
    let of = &results.adaptive;
    let [r101, r152] = [RESNET101, RESNET152].map(|network| &results.alone[network]);
    let why = "which networks are served follows from the shape of the carbon intensity, which is another \
               than the paper's, and from the time over which its extremes are taken; the rule serves \
               ResNet34 too, which saves little energy for much error";
    add("error rate of the heuristic", Some(HEURISTIC_ERROR_PERCENT), of.error_percent, "%", why);
    let gain = gain_percent(of.error_percent);
    add("quality gain of the heuristic over ResNet50", Some(HEURISTIC_GAIN_PERCENT), gain, "%", why);
    add(
        "grams of the heuristic beyond ResNet50, over those of ResNet101 (published: derived from 1532 and 2676 g)",
        Some(GRAMS_HEURISTIC / GRAMS_RESNET101),
        results.grams_more(of) / results.grams_more(r101),
        "ratio",
        why,
    );
    let over = |served: &Served, base: &Served| {
        (results.efficiency(served) / results.efficiency(base) - 1.0) * 100.0
    };
    add("efficiency of the heuristic over ResNet152's", Some(80.0), over(of, r152), "%", why);
    add("efficiency of the heuristic over ResNet101's", None, over(of, r101), "%", why);
    for (network, alone) in RESNETS.iter().zip(&results.alone) {
        add(&format!("grams of {} alone", network.name), None, alone.grams, "g", "");
        let figure = format!("grams of the heuristic over those of {} alone", network.name);
        add(&figure, None, of.grams / alone.grams, "ratio", "");
    }
    add("grams of the heuristic", None, of.grams, "g", "");
    add(
        "grams saved by choosing when, over the same shares of networks at any time",
        None,
        (1.0 - of.grams / results.grams_if_blind(of)) * 100.0,
        "%",
        "the rest of the gain in efficiency is that of smaller networks, which gain more for a joule",
    );
    add(
        "grams of the heuristic over the least possible at its error rate",
        None,
        (of.grams / results.least_grams - 1.0) * 100.0,
        "%",
        "the best schedule of these networks, with load and intensity foreseen",
    );
    let printed = &results.printed;
    let why = "the rule as printed serves large networks when electricity is dirty";
    add("rule as printed: error rate", None, printed.error_percent, "%", why);
    let ratio = results.efficiency(printed) / results.efficiency(of);
    add("rule as printed: efficiency over that of the rule as meant", None, ratio, "ratio", why);
    let lost = (printed.grams / results.grams_if_blind(printed) - 1.0) * 100.0;
    add("rule as printed: grams lost by choosing when", None, lost, "%", why);
    let whole = &results.whole;
    let why = "C_low and C_high of the whole month: the paper says \"a certain period of time\"";
    add("extremes of the month: error rate", Some(HEURISTIC_ERROR_PERCENT), whole.error_percent, "%", why);
    add("extremes of the month: efficiency over ResNet152's", Some(80.0), over(whole, r152), "%", why);
    let without = &results.without_resnet34;
    let why = "a pool of three: the rule looks at energy alone and so also takes what gains little";
    add("without ResNet34: error rate", None, without.error_percent, "%", why);
    add("without ResNet34: efficiency over ResNet152's", None, over(without, r152), "%", why);
    add("without ResNet34: efficiency over ResNet101's", None, over(without, r101), "%", why);
    let best = results.least_grams_at_published - results.alone[RESNET50].grams;
    let best_efficiency = gain_percent(HEURISTIC_ERROR_PERCENT) / best;
    add(
        "best possible at 6.57 % error: efficiency over ResNet152's",
        None,
        (best_efficiency / results.efficiency(r152) - 1.0) * 100.0,
        "%",
        "what any choice of these networks could reach on this carbon intensity; under the heuristic's published 80 %, \
         the paper's intensity swung more in step with its load",
    );
    let [grams, error] = day;
    let why = "a check: the first day request by request, over the same by half hours";
    add("grams, request by request over by half hours", None, grams, "ratio", why);
    add("error rate, request by request over by half hours", None, error, "ratio", why);
}

/// Fig. 1, over the whole month.
fn intensity(month: &Month<'_>) -> (String, String) {
    let points = (0u32..).zip(&month.carbon.values);
    let points = points.map(|(epoch, value)| ((EPOCH * epoch).as_secs_f64(), Some(*value))).collect();
    let line = Line { name: "carbon intensity".into(), kind: LineKind::Step, points };
    let plot =
        LinePlot::over_time("Carbon intensity", Axis::from_zero("carbon intensity", "g/kWh"), vec![line]);
    (format!("Fig. 1: {}", month.carbon.source), plot.svg())
}

/// Fig. 3, over the whole month.
fn grams_of(name: &str, results: &Results) -> (String, String) {
    let networks = RESNETS.iter().map(|network| network.name).zip(&results.alone);
    let rules = [("heuristic", &results.adaptive), ("as printed", &results.printed)];
    let bars = networks.chain(rules).map(|(of, served)| {
        let name = format!("{of}, {:.2} % errors", served.error_percent);
        (name, Some(Bar { value: served.grams, spread: None }))
    });
    let axis = Axis::from_zero("emissions", "g");
    (format!("Fig. 3: {name}: emissions by choice"), Bars::of_one(name, axis, bars.collect()).svg())
}
