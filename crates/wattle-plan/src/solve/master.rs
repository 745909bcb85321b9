//! The cheapest choice among columns that are listed: a set covering program with whole numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOptions};

use crate::instance::{Column, Instance};

/// What came of a program.
pub(crate) enum Chosen {
    /// The cheapest choice, proved.
    Best(Vec<Column>),
    /// A choice, not proved to be the cheapest.
    Some(Vec<Column>),
    /// No choice of these columns serves all.
    None,
    /// Time or the solver gave up before there was any.
    GaveUp,
}

/// The cheapest choice among `columns` within `limit`, starting from `known` if that is a choice.
pub(crate) fn choose(
    instance: &Instance,
    columns: &[Column],
    known: Option<&[Column]>,
    limit: Duration,
) -> Chosen {
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let mut rows: Vec<Vec<_>> = vec![Vec::new(); instance.models];
    let mut used: Vec<Vec<_>> = vec![Vec::new(); instance.kinds.len()];
    let mut variables = Vec::with_capacity(columns.len());
    for column in columns {
        let most_parts = instance.entries(column).map(|entry| entry.parts).min().unwrap_or(1);
        let most = most_parts.min(instance.kinds[column.kind].count);
        // The same device twice is of use only where all on it are parts.
        let variable = if most <= 1 {
            problem.add_binary_var(column.cost)
        } else {
            problem.add_integer_var(column.cost, (0, i32::try_from(most).unwrap_or(i32::MAX)))
        };
        for (model, share) in instance.cover(column) {
            rows[model].push((variable, share));
        }
        used[column.kind].push((variable, 1.0));
        variables.push(variable);
    }
    if rows.iter().any(Vec::is_empty) {
        return Chosen::None;
    }
    for row in &rows {
        problem.add_constraint(row, ComparisonOp::Ge, 1.0);
    }
    for (row, kind) in used.iter().zip(&instance.kinds) {
        if !row.is_empty() {
            problem.add_constraint(row, ComparisonOp::Le, f64::from(kind.count));
        }
    }
    let mut options = SolveOptions::default();
    options.time_limit = Some(limit);
    if let Some(known) = known {
        let mut counts: BTreeMap<_, f64> = BTreeMap::new();
        for column in known {
            *counts.entry(instance.key(column)).or_default() += 1.0;
        }
        let hint = columns
            .iter()
            .zip(&variables)
            .map(|(column, variable)| (*variable, counts.get(&instance.key(column)).copied().unwrap_or(0.0)));
        options.warm_start = Some(hint.collect());
    }
    let outcome = match problem.solve_with(options) {
        Ok(outcome) => outcome,
        Err(microlp::Error::Infeasible) => return Chosen::None,
        Err(_) => return Chosen::GaveUp,
    };
    let is_best = outcome.is_optimal();
    let Some(solution) = outcome.solution() else { return Chosen::GaveUp };
    let mut chosen = Vec::new();
    for (column, variable) in columns.iter().zip(&variables) {
        let times = solution.var_value(*variable).round();
        for _ in 0..times as u32 {
            chosen.push(column.clone());
        }
    }
    // What the solver calls a choice is checked before anyone builds on it.
    match instance.check(&chosen) {
        Ok(()) if is_best => Chosen::Best(chosen),
        Ok(()) => Chosen::Some(chosen),
        Err(_) => Chosen::GaveUp,
    }
}

/// How much of each of `columns` the cheapest choice takes where it need not be whole, and where a model that nobody
/// serves costs `penalty`. `None`: the solver gave up.
pub(crate) fn relaxed(
    instance: &Instance,
    columns: &[Column],
    need: &[f64],
    penalty: f64,
    limit: Duration,
) -> Option<Vec<f64>> {
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let mut rows: Vec<Vec<_>> = need.iter().map(|_| Vec::new()).collect();
    let mut used: Vec<Vec<_>> = vec![Vec::new(); instance.kinds.len()];
    let mut variables = Vec::with_capacity(columns.len());
    for column in columns {
        let variable = problem.add_var(column.cost, (0.0, f64::INFINITY));
        for (model, share) in instance.cover(column) {
            rows[model].push((variable, share));
        }
        used[column.kind].push((variable, 1.0));
        variables.push(variable);
    }
    for (mut row, need) in rows.into_iter().zip(need).filter(|(_, need)| **need > 0.0) {
        row.push((problem.add_var(penalty, (0.0, f64::INFINITY)), 1.0));
        problem.add_constraint(row, ComparisonOp::Ge, *need);
    }
    for (row, kind) in used.into_iter().zip(&instance.kinds).filter(|(row, _)| !row.is_empty()) {
        problem.add_constraint(row, ComparisonOp::Le, f64::from(kind.count));
    }
    let mut options = SolveOptions::default();
    options.time_limit = Some(limit);
    let solution = problem.solve_with(options).ok()?.into_solution().ok()?;
    Some(variables.into_iter().map(|variable| solution.var_value(variable)).collect())
}
