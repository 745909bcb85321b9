//! A bound that no answer can go below, by column generation.
//!
//! At any prices of models that are at least 0, `Σ prices + Σ_kinds count x min(0, least reduced cost)` is a
//! lower bound on the cost of every answer (Lagrange). The prices that make it highest are those of
//! the linear program over all columns; they are found by its dual, to which each round adds the
//! columns that the prices of the round before undercut. Prices are taken between the best known and
//! the newest (Wentges, "Weighted Dantzig-Wolfe decomposition", 1997), which calms them.

use std::collections::BTreeMap;

use microlp::{ComparisonOp, OptimizationDirection, Problem, Solution, SolveOptions, Variable};

use super::TimeLeft;
use super::pricing::{price, worth};
use crate::instance::{Column, CoverKey, Instance};

/// How much of the way the prices stay at the best known ones.
const CALM: f64 = 0.5;
/// Rounds at most, for a bound.
pub(crate) const MOST_ROUNDS: u32 = 400;
/// The program is made anew after so many rounds, of the columns whose reduced cost is at most this share of
/// their cost: the solver's time goes with their number.
const ANEW: u32 = 12;
const NEAR: f64 = 0.1;
/// Columns that a round adds to the program, at most.
const CUTS: usize = 40;
/// A column tells nothing new where the prices undercut it by less.
const UNDER: f64 = 1e-7;
/// Where a model's price is held by its ceiling, the ceiling is raised so many times.
const RAISE: f64 = 8.0;

/// Columns, the cheapest of those that serve the same on the same kind.
#[derive(Debug, Default)]
pub(crate) struct Pool(pub(crate) BTreeMap<CoverKey, Column>);

impl Pool {
    /// Adds a column; `false` where one as cheap is there.
    pub(crate) fn add(&mut self, instance: &Instance, column: Column) -> bool {
        let key = instance.key(&column);
        let is_new = self.0.get(&key).is_none_or(|known| column.cost < known.cost - 1e-12);
        if is_new {
            self.0.insert(key, column);
        }
        is_new
    }
}

/// How high prices of models can be.
#[derive(Debug, Clone)]
pub(crate) struct Ceilings {
    /// Of each model, to begin with. At lower ones the prices settle sooner.
    pub(crate) prices: Vec<f64>,
    /// They are raised up to this where they hold a price.
    pub(crate) most: f64,
}

/// When a bound is good enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    /// The program over the columns known is so little above it, as a share of itself.
    pub(crate) close: f64,
    /// It is over this.
    pub(crate) enough: f64,
    /// So many rounds went by.
    pub(crate) rounds: u32,
}

/// A bound, and the prices that prove it.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) value: f64,
    /// Prices of whole models.
    pub(crate) prices: Vec<f64>,
    /// By kind: the price of a device, at least 0.
    pub(crate) kind_prices: Vec<f64>,
}

/// Prices of models, and of devices by kind.
type DualPrices = (Vec<f64>, Vec<f64>);

/// The dual program over the columns known.
struct Dual {
    solution: Option<Solution>,
    prices: Vec<Variable>,
    kinds: Vec<Variable>,
}

impl Dual {
    fn new(
        instance: &Instance,
        pool: &Pool,
        need: &[f64],
        ceilings: &[f64],
        known: Option<&DualPrices>,
        time: TimeLeft<'_>,
    ) -> Option<Self> {
        let mut problem = Problem::new(OptimizationDirection::Maximize);
        let price = |(need, ceiling): (&f64, &f64)| problem.add_var(*need, (0.0, *ceiling));
        let prices: Vec<_> = need.iter().zip(ceilings).map(price).collect();
        let kinds: Vec<_> = instance
            .kinds
            .iter()
            .map(|kind| problem.add_var(-f64::from(kind.count), (0.0, f64::INFINITY)))
            .collect();
        let is_near = |column: &&Column| {
            known.is_none_or(|(prices, kind_prices)| {
                let reduced = column.cost + kind_prices[column.kind] - worth(instance, column, prices);
                reduced <= NEAR * column.cost + 1e-9
            })
        };
        for column in pool.0.values().filter(is_near) {
            let (row, cost) = cut(instance, column, &prices, &kinds);
            problem.add_constraint(row, ComparisonOp::Le, cost);
        }
        // Every change of the program after this is held to the same limit.
        let mut options = SolveOptions::default();
        options.time_limit = Some(time());
        let solution = problem.solve_with(options).ok()?.into_solution().ok()?;
        Some(Self { solution: Some(solution), prices, kinds })
    }

    fn add(&mut self, instance: &Instance, column: &Column) -> Option<()> {
        let (row, cost) = cut(instance, column, &self.prices, &self.kinds);
        let solution = self.solution.take()?.add_constraint(row, ComparisonOp::Le, cost).ok()?;
        self.solution = solution.into_solution().ok();
        self.solution.as_ref().map(|_| ())
    }

    /// Its value, and the prices of models and of devices.
    fn values(&self) -> Option<(f64, DualPrices)> {
        let solution = self.solution.as_ref()?;
        let of = |all: &[Variable]| all.iter().map(|one| solution.var_value(*one).max(0.0)).collect();
        Some((solution.objective(), (of(&self.prices), of(&self.kinds))))
    }
}

/// The row of a column: what it serves is worth no more than it costs.
fn cut(
    instance: &Instance,
    column: &Column,
    prices: &[Variable],
    kinds: &[Variable],
) -> (Vec<(Variable, f64)>, f64) {
    let cover = instance.cover(column);
    let mut row: Vec<_> = cover.into_iter().map(|(model, share)| (prices[model], share)).collect();
    row.push((kinds[column.kind], -1.0));
    (row, column.cost)
}

/// Raises the bound as far as it goes, or time does; adds the columns found to `pool`, which must hold one
/// for each model or ceilings that are finite. `need` tells how much of each model is to be served, and `start` are prices to
/// begin with.
pub(crate) fn raise(
    instance: &Instance,
    pool: &mut Pool,
    need: &[f64],
    ceilings: Ceilings,
    start: Option<Vec<f64>>,
    goal: Goal,
    time: TimeLeft<'_>,
) -> Bound {
    let Ceilings { prices: mut ceilings, most } = ceilings;
    let mut is_calm = start.is_some();
    let start = start.unwrap_or_else(|| vec![0.0; instance.models]);
    let mut is_settled = false;
    let (mut best, _) = bound_at(instance, need, &start);
    let mut dual = Dual::new(instance, pool, need, &ceilings, None, time);
    for round in 0..goal.rounds {
        if time().is_zero() || best.value > goal.enough {
            break;
        }
        let Some((upper, newest)) = dual.as_ref().and_then(Dual::values) else { break };
        if is_settled || upper - best.value <= goal.close * upper.abs() {
            is_settled = false;
            let held = |model: usize| newest.0[model] >= ceilings[model] * (1.0 - 1e-6);
            let held: Vec<usize> =
                (0..instance.models).filter(|model| held(*model) && ceilings[*model] < most).collect();
            if held.is_empty() {
                break;
            }
            for model in held {
                ceilings[model] = (ceilings[model] * RAISE).min(most);
            }
            dual = Dual::new(instance, pool, need, &ceilings, Some(&newest), time);
            continue;
        }
        let between = |best: &f64, newest: &f64| best * CALM + newest * (1.0 - CALM);
        let prices: Vec<f64> = match is_calm {
            true => best.prices.iter().zip(&newest.0).map(|(best, newest)| between(best, newest)).collect(),
            false => newest.0.clone(),
        };
        let (bound, columns) = bound_at(instance, need, &prices);
        let is_better = bound.value > best.value;
        if is_better {
            best = bound;
        }
        // Only what the newest prices undercut tells the program something; that by most tells most.
        let (of_models, of_kinds) = &newest;
        let reduced =
            |column: &Column| column.cost + of_kinds[column.kind] - worth(instance, column, of_models);
        let mut cheap: Vec<(f64, Column)> = columns
            .into_iter()
            .map(|column| (reduced(&column), column))
            .filter(|(cost, _)| *cost < -UNDER)
            .collect();
        cheap.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut added = 0;
        for (_, column) in cheap {
            if added == CUTS || time().is_zero() {
                break;
            }
            added += 1;
            pool.add(instance, column.clone());
            if let Some(known) = &mut dual
                && known.add(instance, &column).is_none()
            {
                dual = Dual::new(instance, pool, need, &ceilings, None, time);
            }
        }
        if round % ANEW == ANEW - 1 {
            let known = dual.as_ref().and_then(Dual::values).map(|(_, prices)| prices);
            dual = Dual::new(instance, pool, need, &ceilings, known.as_ref(), time);
        }
        if added == 0 && !is_better && !is_calm {
            // The prices are those of the program over all columns, but for the gaps of tangents.
            is_settled = true;
        }
        // Where the calmed prices tell nothing new, the newest ones do.
        is_calm = added > 0;
    }
    best
}

/// The bound at `prices`, and the columns that they make cheap.
fn bound_at(instance: &Instance, need: &[f64], prices: &[f64]) -> (Bound, Vec<Column>) {
    let priced = price(instance, prices);
    let kind_prices: Vec<f64> = priced.least.iter().map(|least| (-least).max(0.0)).collect();
    let counts = instance.kinds.iter().map(|kind| f64::from(kind.count));
    let spent = counts.zip(&kind_prices).map(|(count, price)| if count > 0.0 { count * price } else { 0.0 });
    let served = need.iter().zip(prices).map(|(need, price)| need * price);
    let value = served.sum::<f64>() - spent.sum::<f64>();
    (Bound { value, prices: prices.to_vec(), kind_prices }, priced.columns)
}

/// What all devices cost with every slot taken by what draws most: more than any answer.
pub(crate) fn most_cost(instance: &Instance) -> f64 {
    let of_kind = |kind: &crate::instance::Kind| {
        let slots = kind.layouts.iter().map(Vec::len).max().unwrap_or(0) as f64;
        let of_clock = |clock: &crate::instance::Clock| {
            let draw = clock.entries.iter().flatten().map(|entry| entry.draw).fold(0.0, f64::max);
            clock.static_watts + clock.shared_idle_watts + slots * draw
        };
        let watts = kind.clocks.iter().map(of_clock).fold(0.0, f64::max);
        f64::from(kind.count) * (kind.fixed + kind.per_watt * watts)
    };
    instance.kinds.iter().map(of_kind).sum::<f64>() * 1.001 + 1e-9
}
