//! The cheapest choice among listed devices for few models, by dynamic programming over who is served.
//!
//! A state is a set of models served and the numbers of devices used. Devices are put on one after another,
//! each serving the first model that is not served yet. Nothing is relaxed, so the end is the optimum.

use crate::instance::{Column, Instance};

/// Models, at most: there are as many states as sets of them.
pub(super) const MOST_MODELS: usize = 18;
/// States times devices looked at, at most.
const MOST_STEPS: u64 = 2_000_000_000;
/// States kept, at most.
const MOST_STATES: usize = 20_000_000;

/// The cheapest choice among `columns`. `None`: too many, or a model is cut in parts. `Some(None)`: there is none.
///
/// `prices` and `kind_prices` are those of a lower bound; what can't end under `most` is not followed.
pub(crate) fn cheapest(
    instance: &Instance,
    columns: &[Column],
    prices: &[f64],
    kind_prices: &[f64],
    most: f64,
) -> Option<Option<Vec<Column>>> {
    let models = instance.models;
    if models > MOST_MODELS || columns.iter().flat_map(|c| instance.entries(c)).any(|entry| entry.parts > 1) {
        return None;
    }
    // Of a kind of which there are enough for all, it need not be counted how many are used.
    let limits: Vec<usize> = instance
        .kinds
        .iter()
        .map(|kind| if kind.count as usize >= models { 0 } else { kind.count as usize })
        .collect();
    let is_counted: Vec<bool> = instance.kinds.iter().map(|kind| (kind.count as usize) < models).collect();
    let mut strides = Vec::new();
    let mut width = 1usize;
    for limit in &limits {
        strides.push(width);
        width = width.checked_mul(limit + 1)?;
    }
    let sets = 1usize << models;
    let states = sets.checked_mul(width).filter(|states| *states <= MOST_STATES)?;
    // Columns by the models that they serve.
    let mut serving: Vec<Vec<(usize, usize)>> = vec![Vec::new(); models];
    for (index, column) in columns.iter().enumerate() {
        let set: usize = instance.entries(column).map(|entry| 1usize << entry.model).fold(0, |a, b| a | b);
        for (model, list) in serving.iter_mut().enumerate() {
            if set >> model & 1 == 1 {
                list.push((index, set));
            }
        }
    }
    let longest = serving.iter().map(Vec::len).max().unwrap_or(0);
    if (states as u64).saturating_mul(longest as u64) > MOST_STEPS {
        return None;
    }
    let mut cost = vec![f64::INFINITY; states];
    let mut from: Vec<(u32, u32)> = vec![(u32::MAX, 0); states];
    cost[0] = 0.0;
    for state in 0..states {
        let (set, used) = (state / width, state % width);
        let so_far = cost[state];
        let first = (!set).trailing_zeros() as usize;
        if !so_far.is_finite() || first >= models {
            continue;
        }
        // What is left costs so much at least.
        let left: f64 = (0..models).filter(|model| set >> model & 1 == 0).map(|model| prices[model]).sum();
        let free = |kind: usize| limits[kind] - used / strides[kind] % (limits[kind] + 1);
        let spare: f64 = (0..limits.len())
            .map(|kind| {
                let count = if is_counted[kind] { free(kind) } else { instance.kinds[kind].count as usize };
                if kind_prices[kind] > 0.0 { kind_prices[kind] * count as f64 } else { 0.0 }
            })
            .sum();
        if so_far + left - spare > most {
            continue;
        }
        for (index, serves) in &serving[first] {
            let column = &columns[*index];
            let mut next_used = used;
            if is_counted[column.kind] {
                if free(column.kind) == 0 {
                    continue;
                }
                next_used += strides[column.kind];
            }
            let next = (set | serves) * width + next_used;
            if so_far + column.cost < cost[next] {
                cost[next] = so_far + column.cost;
                from[next] = (u32::try_from(state).ok()?, u32::try_from(*index).ok()?);
            }
        }
    }
    let ends = (sets - 1) * width..states;
    let Some(mut state) = ends.filter(|end| cost[*end].is_finite()).min_by(|a, b| cost[*a].total_cmp(&cost[*b]))
    else {
        return Some(None);
    };
    let mut chosen = Vec::new();
    while state != 0 {
        let (before, index) = from[state];
        chosen.push(columns[index as usize].clone());
        state = before as usize;
    }
    Some(Some(chosen))
}
