//! The cheapest choice among listed devices for few models, by dynamic programming over who is served.
//!
//! A state is how much of each model is served and how many devices of each kind are used. Devices are put on
//! one after another, each serving the first model that is not served whole yet. Nothing is relaxed, so
//! the end is the optimum.

use super::TimeLeft;
use super::bound::Bound;
use crate::instance::{Column, Instance};

/// Models, at most: states are as many as sets of them, or more.
pub(super) const MOST_MODELS: usize = 18;
/// States kept, at most.
const MOST_STATES: usize = 12_000_000;
/// Steps between two looks at the clock.
const LOOK: u64 = 1 << 16;

/// How states are numbered.
struct States {
    /// Of each model: how many parts make it whole.
    whole: Vec<usize>,
    /// Of each model: what one part adds to the number.
    strides: Vec<usize>,
    /// Of each kind: how many can be used; 0 where there are enough for all and none need be counted.
    limits: Vec<usize>,
    kind_strides: Vec<usize>,
    /// Numbers of used devices.
    width: usize,
    all: usize,
}

/// A column as a step between states.
struct Step {
    column: usize,
    kind: usize,
    cost: f64,
    /// Models and parts.
    serves: Vec<(usize, usize)>,
}

/// The cheapest choice among `columns`. `None`: too many states, or no time. `Some(None)`: there is none at `most` or under.
pub(super) fn cheapest(
    instance: &Instance,
    columns: &[Column],
    bound: &Bound,
    most: f64,
    time: TimeLeft<'_>,
) -> Option<Option<Vec<Column>>> {
    let states = States::of(instance, columns)?;
    let models = instance.models;
    let mut serving: Vec<Vec<Step>> = (0..models).map(|_| Vec::new()).collect();
    for (index, column) in columns.iter().enumerate() {
        let cover = instance.cover(column);
        if instance.kinds[column.kind].count == 0 {
            continue;
        }
        for (_, list) in serving.iter_mut().enumerate().filter(|(model, _)| cover.contains_key(model)) {
            let parts = |(model, share): (&usize, &f64)| {
                (*model, (share * states.whole[*model] as f64).round() as usize)
            };
            let serves = cover.iter().map(parts).collect();
            list.push(Step { column: index, kind: column.kind, cost: column.cost, serves });
        }
    }
    let mut cost = vec![f64::INFINITY; states.all];
    let mut from: Vec<(u32, u32)> = vec![(0, 0); states.all];
    *cost.first_mut()? = 0.0;
    let (mut steps, mut served) = (0u64, vec![0usize; models]);
    for state in 0..states.all {
        let so_far = cost[state];
        if !so_far.is_finite() {
            continue;
        }
        let used = state % states.width;
        states.decode(state, &mut served);
        let Some(first) = (0..models).find(|model| served[*model] < states.whole[*model]) else { continue };
        // What is left costs so much at least.
        let missing = |model: usize| 1.0 - served[model] as f64 / states.whole[model] as f64;
        let left: f64 = (0..models).map(|model| bound.prices[model] * missing(model)).sum();
        let spare: f64 = instance
            .kinds
            .iter()
            .enumerate()
            .map(|(index, kind)| {
                let count =
                    if states.limits[index] > 0 { states.free(index, used) } else { kind.count as usize };
                bound.kind_prices[index] * count as f64
            })
            .sum();
        if so_far + left - spare > most {
            continue;
        }
        for step in &serving[first] {
            steps += 1;
            if steps.is_multiple_of(LOOK) && time().is_zero() {
                return None;
            }
            let mut next = state;
            if states.limits[step.kind] > 0 {
                if states.free(step.kind, used) == 0 {
                    continue;
                }
                next += states.kind_strides[step.kind];
            }
            for (model, parts) in &step.serves {
                let added = (*parts).min(states.whole[*model] - served[*model]);
                next += added * states.strides[*model] * states.width;
            }
            if so_far + step.cost < cost[next] {
                cost[next] = so_far + step.cost;
                from[next] = (u32::try_from(state).ok()?, u32::try_from(step.column).ok()?);
            }
        }
    }
    let ends = states.all - states.width..states.all;
    let end = ends.filter(|end| cost[*end].is_finite()).min_by(|a, b| cost[*a].total_cmp(&cost[*b]));
    let Some(mut state) = end else { return Some(None) };
    let mut chosen = Vec::new();
    while state != 0 {
        let (before, index) = from[state];
        chosen.push(columns.get(index as usize)?.clone());
        state = before as usize;
    }
    Some(Some(chosen))
}

impl States {
    fn of(instance: &Instance, columns: &[Column]) -> Option<Self> {
        if instance.models > MOST_MODELS {
            return None;
        }
        let mut whole = vec![1usize; instance.models];
        for entry in columns.iter().flat_map(|column| instance.entries(column)) {
            let parts = entry.parts as usize;
            let have = &mut whole[entry.model];
            *have = *have / greatest_divisor(*have, parts) * parts;
        }
        let mut served = 1usize;
        let mut strides = Vec::new();
        for parts in &whole {
            strides.push(served);
            served = served.checked_mul(parts + 1)?;
        }
        let enough: usize = whole.iter().sum();
        let mut width = 1usize;
        let (mut limits, mut kind_strides) = (Vec::new(), Vec::new());
        for kind in &instance.kinds {
            let limit = if kind.count as usize >= enough { 0 } else { kind.count as usize };
            limits.push(limit);
            kind_strides.push(width);
            width = width.checked_mul(limit + 1)?;
        }
        let all = served.checked_mul(width).filter(|all| *all <= MOST_STATES)?;
        Some(Self { whole, strides, limits, kind_strides, width, all })
    }

    fn decode(&self, state: usize, served: &mut [usize]) {
        let number = state / self.width;
        for ((served, stride), whole) in served.iter_mut().zip(&self.strides).zip(&self.whole) {
            *served = number / stride % (whole + 1);
        }
    }

    fn free(&self, kind: usize, used: usize) -> usize {
        self.limits[kind] - used / self.kind_strides[kind] % (self.limits[kind] + 1)
    }
}

fn greatest_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}
