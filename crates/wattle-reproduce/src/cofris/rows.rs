//! The figures of the paper and ours.

use wattle_core::gating::Gating;
use wattle_core::policies::gating_of;
use wattle_core::policies::least_power_table::Arrivals;
use wattle_core::provenance::Basis;

use super::device::{DEVICE, NETWORKS};
use super::replay::{Case, Replayed, Workload};
use super::trace::LoadTrace;
use super::{
    FACTORS, POLICIES, USUAL, baseline, broken, carefully, oracle, with_batches, with_batches_and_deep_idle,
    with_deep_idle, with_poisson, without_gating,
};
use crate::row::analytic_basis;
use crate::{ReproduceError, Reproduction, Row};

/// What one workload came to.
pub(super) struct WorkloadResults {
    pub(super) network: &'static str,
    base_ms: f64,
    replays: Vec<(Case, Replayed)>,
    /// Mean units of the lines of the table that meet the objective below full load: gated by unit, by
    /// engine.
    table_units: [f64; 2],
    /// Latency at the lowest clock with all units, over the base.
    slowest_over_base: f64,
    /// Power at full clock over the numbers of units: gated by engine less gated by unit, over the first.
    unit_over_engine_percent: f64,
}

impl WorkloadResults {
    pub(super) fn new(
        workload: &Workload<'_>,
        replays: Vec<(Case, Replayed)>,
    ) -> Result<Self, ReproduceError> {
        let base_ms = workload.base_ms()?;
        Ok(Self {
            network: workload.network,
            base_ms,
            replays,
            table_units: [workload.mean_table_units("cofris-cu")?, workload.mean_table_units("cofris-se")?],
            slowest_over_base: workload.slowest_ms()? / base_ms,
            unit_over_engine_percent: workload.unit_over_engine_percent()?,
        })
    }

    fn of(&self, case: &Case) -> Result<&Replayed, ReproduceError> {
        let found = self.replays.iter().find(|(of, _)| of == case);
        found.map(|(_, replayed)| replayed).ok_or_else(|| broken(format!("no replay of {case:?}")))
    }

    /// Mean power of `case` over the baseline's, with `gating` on the device.
    pub(super) fn relative_power(&self, case: &Case, gating: Gating) -> Result<f64, ReproduceError> {
        let baseline = Case { policy: "fixed", gating: Gating::None, batch_size_free: false, ..*case };
        // The baseline looks neither at the objective nor at the load.
        let peak_of_intervals = if case.arrivals == Arrivals::Even { 1 } else { case.peak_of_intervals };
        let baseline = Case { factor: USUAL, peak_of_intervals, ..baseline };
        Ok(self.of(case)?.watts(gating) / self.of(&baseline)?.watts(Gating::None))
    }
}

/// All results.
pub(super) struct Results<'a> {
    pub(super) workloads: Vec<WorkloadResults>,
    pub(super) trace: &'a LoadTrace,
}

impl Results<'_> {
    fn each<T>(
        &self,
        of: impl Fn(&WorkloadResults) -> Result<T, ReproduceError>,
    ) -> Result<Vec<T>, ReproduceError> {
        self.workloads.iter().map(of).collect()
    }

    /// Mean over the workloads of the power of `case` over the baseline's.
    fn mean_power(&self, case: &Case, gating: Gating) -> Result<f64, ReproduceError> {
        Ok(mean(&self.each(|workload| workload.relative_power(case, gating))?))
    }

    /// As [`mean_power`](Self::mean_power), as a geometric mean, under the gating of the policy's name.
    fn geometric_mean_power(&self, case: &Case) -> Result<f64, ReproduceError> {
        Ok(geometric_mean(&self.each(|workload| workload.relative_power(case, gating_of(case.policy)))?))
    }

    /// The 95th percentile of the latency over the base, as a geometric mean over the workloads.
    fn tail_over_base(&self, case: &Case) -> Result<f64, ReproduceError> {
        Ok(geometric_mean(&self.each(|workload| Ok(workload.of(case)?.p95_ms / workload.base_ms))?))
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn geometric_mean(values: &[f64]) -> f64 {
    mean(&values.iter().map(|value| value.ln()).collect::<Vec<_>>()).exp()
}

/// What ours is less than `other`, in percent of it.
fn saved_percent(ours: f64, other: f64) -> f64 {
    (1.0 - ours / other) * 100.0
}

/// The paper's name of a policy.
pub(super) fn name_in_paper(policy: &str) -> &'static str {
    match policy {
        "frequency-scaling" => "FS",
        "resource-scaling-se" => "RS-SE",
        "resource-scaling-cu" => "RS-CU",
        "cofris-se" => "CoFRIS-SE",
        "cofris-cu" => "CoFRIS-CU",
        _ => "baseline",
    }
}

/// Makes rows that rest on the same.
struct Maker {
    basis: Basis,
    rests_on: String,
    rows: Vec<Row>,
}

impl Maker {
    fn add(&mut self, figure: impl Into<String>, published: Option<f64>, ours: f64, unit: &str, why: &str) {
        self.rows.push(Row {
            figure: figure.into(),
            published,
            ours: Some(ours).filter(|ours| ours.is_finite()),
            unit: unit.into(),
            basis: self.basis,
            rests_on: self.rests_on.clone(),
            why: why.into(),
        });
    }
}

pub(super) fn reproduction(results: &Results<'_>) -> Result<Reproduction, ReproduceError> {
    let mut rows = Maker {
        basis: analytic_basis("cofris", DEVICE, &NETWORKS)?.max(results.trace.basis),
        rests_on: format!(
            "analytic model of an MI50, voltages and active-idle power by clock assumed; gating modelled; {}; \
             every request played",
            results.trace.source
        ),
        rows: Vec::new(),
    };
    power(&mut rows, results)?;
    gating(&mut rows, results)?;
    objectives(&mut rows, results)?;
    shapes(&mut rows, results)?;
    beyond(&mut rows, results)?;
    each_workload(&mut rows, results)?;
    Ok(Reproduction {
        name: "cofris".into(),
        title: "CoFRIS: Coordinated Frequency and Resource Scaling for GPU Inference Servers".into(),
        rows: rows.rows,
        notes: notes(results),
        plots: Vec::new(),
    })
}

const WHY_POWER: &str = "the paper gives the active-idle power as a picture only, and the savings of gating \
                         are that power; its trace's bins, its workers and its model code are not told either";

/// Fig. 9.
fn power(rows: &mut Maker, results: &Results<'_>) -> Result<(), ReproduceError> {
    let mean = |policy| results.mean_power(&Case::of(policy, USUAL), gating_of(policy));
    let [fs, rs_se, rs_cu, co_se, co_cu] = {
        let all = POLICIES.map(mean);
        let mut watts = [0.0; POLICIES.len()];
        for (watts, mean) in watts.iter_mut().zip(all) {
            *watts = mean?;
        }
        watts
    };
    let mut add = |figure: &str, published, ours| rows.add(figure, published, ours, "%", WHY_POWER);
    add("Fig. 9: power saved by CoFRIS-CU over the baseline, mean", Some(28.0), saved_percent(co_cu, 1.0));
    add("Fig. 9: power saved by CoFRIS-CU over FS", Some(13.0), saved_percent(co_cu, fs));
    add("Fig. 9: power saved by CoFRIS-CU over RS-CU", Some(5.0), saved_percent(co_cu, rs_cu));
    add("Fig. 9: power saved by CoFRIS-SE over FS", Some(6.0), saved_percent(co_se, fs));
    add("Fig. 9: power saved by RS-SE over FS (\"similar\")", None, saved_percent(rs_se, fs));
    add("Fig. 9: power saved by FS over the baseline, mean", None, saved_percent(fs, 1.0));
    add("Fig. 9: power saved by RS-SE over the baseline, mean", None, saved_percent(rs_se, 1.0));
    add("Fig. 9: power saved by RS-CU over the baseline, mean", None, saved_percent(rs_cu, 1.0));
    add("Fig. 9: power saved by CoFRIS-SE over the baseline, mean", None, saved_percent(co_se, 1.0));
    Ok(())
}

/// What gating is of it.
fn gating(rows: &mut Maker, results: &Results<'_>) -> Result<(), ReproduceError> {
    let why = "the same decisions, on a board that gates nothing as real ones do: what the paper's savings \
               owe to modelled gating is the difference from the rows of Fig. 9";
    for policy in ["resource-scaling-se", "resource-scaling-cu", "cofris-se", "cofris-cu"] {
        let saved = saved_percent(results.mean_power(&Case::of(policy, USUAL), Gating::None)?, 1.0);
        let figure = format!("{} over the baseline, nothing gated, mean", name_in_paper(policy));
        rows.add(figure, None, saved, "%", why);
    }
    let honest = results.mean_power(&without_gating(), Gating::None)?;
    let fs = results.mean_power(&Case::of("frequency-scaling", USUAL), Gating::None)?;
    let why = "the policy plans with the board as it is, without gating; the table compares saturated power, \
               which doesn't tell that fewer units work for longer";
    rows.add(
        "CoFRIS planned without gating over the baseline, nothing gated, mean",
        None,
        saved_percent(honest, 1.0),
        "%",
        why,
    );
    rows.add(
        "CoFRIS planned without gating over FS, nothing gated, mean",
        None,
        saved_percent(honest, fs),
        "%",
        why,
    );
    let unit_over_engine = mean(&results.each(|workload| Ok(workload.unit_over_engine_percent))?);
    rows.add(
        "Fig. 4: power saved by gating units over gating engines, mean over all numbers of units",
        Some(9.0),
        unit_over_engine,
        "%",
        "follows from the assumed active-idle power at full clock and the modelled power of the workloads",
    );
    Ok(())
}

/// Figs. 10 and 11.
fn objectives(rows: &mut Maker, results: &Results<'_>) -> Result<(), ReproduceError> {
    for factor in FACTORS.into_iter().filter(|factor| *factor < USUAL) {
        let mut largest: f64 = 0.0;
        for policy in POLICIES {
            let at = |factor| results.geometric_mean_power(&Case::of(policy, factor));
            largest = largest.max((at(factor)? - at(USUAL)?) * 100.0);
        }
        rows.add(
            format!("Fig. 10: savings lost at {factor}x against 2x, the most of any policy (\"within 2 %\")"),
            Some(2.0),
            largest,
            "points",
            "a published bound, not a value; the model's latency of large networks follows the clock in \
             proportion, so a tight objective forbids low clocks",
        );
    }
    let why = "here the time of a request alone is the base and requests come evenly; the paper's base is \
               measured, wait included";
    let mut highest: f64 = 0.0;
    for factor in FACTORS {
        for policy in POLICIES {
            let tail = results.tail_over_base(&Case::of(policy, factor))?;
            highest = highest.max(tail);
            let figure =
                format!("Fig. 11: 95th percentile over base at {factor}x, {}", name_in_paper(policy));
            rows.add(figure, None, tail, "ratio", why);
        }
    }
    let figure =
        "Fig. 11: 95th percentile over base, the highest of any policy (\"at most only reaches 1.75x\")";
    rows.add(figure, Some(1.75), highest, "ratio", why);
    let late = |case: &Case| -> Result<f64, ReproduceError> {
        let late = results.each(|workload| Ok(workload.of(case)?.late_percent))?;
        Ok(late.into_iter().fold(0.0, f64::max))
    };
    let why = "a rise of the load is seen up to three quarters of a second late, and the load here rises in steps; \
               the paper's trace may be smoother";
    rows.add(
        "Fig. 11: runs whose 95th percentile is within the objective (\"in all scenarios, we meet the SLO\")",
        None,
        within_percent(results, Case::of)?,
        "%",
        why,
    );
    let usual = Case::of("cofris-cu", USUAL);
    rows.add("requests later than 2x, CoFRIS-CU, worst workload", None, late(&usual)?, "%", why);
    let why = "Wattle's default: the load looked up is the highest of the last two seconds";
    let careful = carefully("cofris-cu", USUAL);
    rows.add(
        "highest of two seconds looked up: runs whose 95th percentile is within the objective",
        None,
        within_percent(results, carefully)?,
        "%",
        why,
    );
    rows.add(
        "highest of two seconds looked up: requests later than 2x, CoFRIS-CU, worst workload",
        None,
        late(&careful)?,
        "%",
        why,
    );
    rows.add(
        "highest of two seconds looked up: power saved by CoFRIS-CU over the baseline, mean",
        None,
        saved_percent(results.mean_power(&careful, Gating::ComputeUnit)?, 1.0),
        "%",
        why,
    );
    Ok(())
}

/// Share of runs, over workloads, policies and objectives, whose 95th percentile keeps the objective.
fn within_percent(
    results: &Results<'_>,
    case: impl Fn(&'static str, f64) -> Case,
) -> Result<f64, ReproduceError> {
    let mut within = Vec::new();
    for (factor, policy) in FACTORS.iter().flat_map(|factor| POLICIES.map(|policy| (*factor, policy))) {
        within.extend(results.each(|workload| {
            let replayed = workload.of(&case(policy, factor))?;
            // Percentiles are told to within 0.1 %.
            let is_within = replayed.p95_ms <= replayed.slo_ms * 1.001 && replayed.lost == 0;
            Ok(if is_within { 100.0 } else { 0.0 })
        })?);
    }
    Ok(mean(&within))
}

/// Section III-A.
fn shapes(rows: &mut Maker, results: &Results<'_>) -> Result<(), ReproduceError> {
    let keeps = results.each(|workload| Ok(u32::from(workload.slowest_over_base <= 2.0)))?;
    rows.add(
        format!(
            "Fig. 5: workloads of {} whose latency keeps 2x at 925 MHz with all units",
            results.workloads.len()
        ),
        None,
        f64::from(keeps.iter().sum::<u32>()),
        "workloads",
        "the paper says in words: violations begin at 30 or 15 units only",
    );
    for (index, published, gating) in
        [(0, 30.0, "unit (\"just over 30\")"), (1, 45.0, "engine (\"just below 45\")")]
    {
        let units = results.each(|workload| Ok(workload.table_units[index]))?;
        rows.add(
            format!("Fig. 6: units that the table chooses below full load, mean, gated by {gating}"),
            Some(published),
            mean(&units),
            "units",
            "ours is the mean over the loads of the table; the paper's is read off contours at highest load",
        );
    }
    let mut chosen = std::collections::BTreeMap::new();
    for workload in &results.workloads {
        for policy in ["resource-scaling-se", "cofris-se"] {
            for (units, seconds) in &workload.of(&Case::of(policy, USUAL))?.seconds_at_units {
                *chosen.entry(*units).or_insert(0.0) += seconds;
            }
        }
    }
    let most = chosen.iter().filter(|(units, _)| **units < 60).max_by(|a, b| a.1.total_cmp(b.1));
    rows.add(
        "Fig. 11: number of units that RS-SE and CoFRIS-SE hold longest, other than all",
        Some(45.0),
        most.map_or(f64::NAN, |(units, _)| f64::from(*units)),
        "units",
        "",
    );
    Ok(())
}

/// What the paper has no figure for.
fn beyond(rows: &mut Maker, results: &Results<'_>) -> Result<(), ReproduceError> {
    let unit = Gating::ComputeUnit;
    let cofris = results.mean_power(&Case::of("cofris-cu", USUAL), unit)?;
    rows.add(
        "CoFRIS-CU over an oracle that knows the load of each coming half second",
        None,
        (cofris / results.mean_power(&oracle(), unit)? - 1.0) * 100.0,
        "%",
        "the oracle chooses from the same table and keeps the same objective",
    );
    rows.add(
        "power saved by a free batch size (1, 2, 4, 8) over CoFRIS-CU",
        None,
        saved_percent(results.mean_power(&with_batches(), unit)?, cofris),
        "%",
        "an extension, which the paper names as future work",
    );
    rows.add(
        "idle between requests: power saved by a free batch size over CoFRIS-CU",
        None,
        saved_percent(
            results.mean_power(&with_batches_and_deep_idle(), unit)?,
            results.mean_power(&with_deep_idle("cofris-cu"), unit)?,
        ),
        "%",
        "an extension; the table takes power at the load, not when saturated",
    );
    let late = |case: &Case| -> Result<f64, ReproduceError> {
        let late = results.each(|workload| Ok(workload.of(case)?.late_percent))?;
        Ok(late.into_iter().fold(0.0, f64::max))
    };
    rows.add(
        "requests later than 2x with a free batch size, worst workload",
        None,
        late(&with_batches())?,
        "%",
        "",
    );
    let why = "independent requests wait even at low load, so the base has the wait at 95 % of full load in it, \
               and the load looked up is the highest of two seconds";
    for policy in POLICIES {
        let power = results.mean_power(&with_poisson(policy), gating_of(policy))?;
        let figure =
            format!("Poisson arrivals: power saved by {} over the baseline, mean", name_in_paper(policy));
        rows.add(figure, None, saved_percent(power, 1.0), "%", why);
    }
    for policy in ["fixed", "cofris-cu"] {
        let figure =
            format!("Poisson arrivals: requests later than 2x, {}, worst workload", name_in_paper(policy));
        rows.add(figure, None, late(&with_poisson(policy))?, "%", why);
    }
    let why = "were the board to fall to 15 W between any two requests, a slow clock would save less: the \
               paper's power model has it clocked all the time";
    for policy in POLICIES {
        let power = results.mean_power(&with_deep_idle(policy), gating_of(policy))?;
        let figure = format!(
            "idle between requests: power saved by {} over the baseline, mean",
            name_in_paper(policy)
        );
        rows.add(figure, None, saved_percent(power, 1.0), "%", why);
    }
    Ok(())
}

/// Fig. 9, bar by bar.
fn each_workload(rows: &mut Maker, results: &Results<'_>) -> Result<(), ReproduceError> {
    for workload in &results.workloads {
        rows.add(
            format!("Fig. 9: {}: power of the baseline", workload.network),
            None,
            workload.of(&baseline())?.watts(Gating::None),
            "W",
            "",
        );
        for policy in POLICIES {
            rows.add(
                format!("Fig. 9: {}: power of {} over the baseline", workload.network, name_in_paper(policy)),
                None,
                workload.relative_power(&Case::of(policy, USUAL), gating_of(policy))?,
                "ratio",
                "",
            );
        }
    }
    Ok(())
}

fn notes(results: &Results<'_>) -> Vec<String> {
    let text = |text: &str| text.to_owned();
    vec![
        text(
            "The MI50's core voltages are those of a card of the same chip, and its active-idle power by clock \
             is assumed (the paper shows it as a picture): the level of all savings by gating rests on it. \
             Nothing was adjusted to the published savings.",
        ),
        text(
            "Power between two requests is that of all that is clocked at the clock that is set, less gated \
             units: the paper's own model. Rows \"idle between requests\" take 15 W instead.",
        ),
        text(
            "The most requests per second, the trace's peak, are those of one instance, saturated, at full clock \
             with all units; the paper's number of workers is not told. Requests come evenly within each stretch \
             of the trace and the base is the latency of one request alone, as in the paper's maps of latency.",
        ),
        text("The table takes the power of a point when saturated, as an offline profile has it."),
        format!(
            "Load: {}; its mean is {:.3} of the peak.",
            results.trace.source,
            results.trace.rates.mean_rps()
        ),
    ]
}
