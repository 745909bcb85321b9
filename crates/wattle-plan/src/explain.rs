//! What decides a plan: comparisons, drivers, and where the answer flips.

#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::fleet::{FleetError, Loaded, Objective, SOURCES, sized};
use crate::options::{Options, Restrict, options, options_with};
use crate::plan::{Plan, plan};
use crate::solve::{Effort, SolveError, TimeLeft, solve};

/// Plans made to find where the answer flips, at most, for each of carbon intensity and load.
const MOST_PLANS: u32 = 40;
/// Of the time left, what one plan of an explanation may take.
const PLAN_SHARE: f64 = 0.1;
/// Two loads are told apart down to this factor.
const FINEST_LOAD: f64 = 1.02;
/// Loads are looked at from this share of the fleet's to this.
const LOADS: (f64, f64) = (0.1, 2.0);

/// Parts that a model of a plan is cut in, at most: what `most_replicas` may be.
const MOST_PARTS: u32 = 64;

/// No plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The fleet is wrong.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// Models that no device can serve, each with why.
    #[error("no device can serve {}", .0.iter().map(|(model, why)| format!("{model} ({why})")).collect::<Vec<_>>().join("; "))]
    Nowhere(Vec<(String, String)>),
    /// Devices are too few, or no plan was found; and who goes unserved, and what lacks.
    #[error("{0}{1}")]
    Solve(SolveError, String),
}

/// What went wrong, by names.
fn failed(loaded: &Loaded, error: SolveError) -> PlanError {
    let models = |all: &[usize]| {
        let names: Vec<&str> =
            all.iter().filter_map(|model| Some(loaded.fleet.models.get(*model)?.name.as_str())).collect();
        match names.len() {
            0..=12 => names.join(", "),
            count => format!("{} and {} more", names[..10].join(", "), count - 10),
        }
    };
    let told = match &error {
        SolveError::TooFew { models: those, kinds, .. } => {
            let kinds: Vec<&str> = kinds
                .iter()
                .filter_map(|kind| Some(loaded.fleet.devices.get(*kind)?.name.as_str()))
                .collect();
            let kinds = if kinds.is_empty() { "devices".to_owned() } else { kinds.join(" or ") };
            format!("; {} contend for what lacks; add {kinds}, or loosen loads or objectives", models(those))
        }
        SolveError::NotFound(those) if !those.is_empty() => {
            format!("; the best found leaves out {}; give more time, or devices", models(those))
        }
        SolveError::NotFound(_) => "; give more time, or devices".to_owned(),
        SolveError::Nowhere(_) => String::new(),
    };
    PlanError::Solve(error, told)
}

/// The plan of a fleet.
///
/// # Errors
/// Where there is none, with why.
pub fn make(
    loaded: &Loaded,
    restrict: Restrict,
    effort: Effort,
    time: TimeLeft<'_>,
) -> Result<Plan, PlanError> {
    let made = options(loaded, restrict)?;
    nowhere(loaded, &made)?;
    let solved = solve(&made.instance, effort, time).map_err(|error| failed(loaded, error))?;
    Ok(plan(loaded, &made, &solved))
}

/// A plan in a tenth of the time left: an explanation takes many.
fn brief(loaded: &Loaded, restrict: Restrict, effort: Effort, time: TimeLeft<'_>) -> Result<Plan, PlanError> {
    let whole = time();
    make(loaded, restrict, effort, &|| time().saturating_sub(whole.mul_f64(1.0 - PLAN_SHARE)))
}

fn nowhere(loaded: &Loaded, made: &Options) -> Result<(), PlanError> {
    if made.nowhere.is_empty() {
        return Ok(());
    }
    let name = |model: &usize| loaded.fleet.models.get(*model).map(|entry| entry.name.clone());
    let all = made.nowhere.iter().filter_map(|(model, why)| Some((name(model)?, why.clone())));
    Err(PlanError::Nowhere(all.collect()))
}

/// Another plan beside the plan, with the fleet's objective.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// What it is.
    pub name: String,
    /// It.
    pub plan: Option<Plan>,
    /// Why there is none.
    pub why_none: Option<String>,
}

/// No device is shared, and there are enough for each part of each model to have one.
fn alone(loaded: &Loaded) -> Restrict {
    let models = u32::try_from(loaded.fleet.models.len()).unwrap_or(u32::MAX);
    Restrict { alone: true, devices_times: models.saturating_mul(loaded.fleet.most_replicas) }
}

/// One model for each device, with as many devices as that takes, and as few devices as possible. Both are
/// free to choose clocks and batch sizes.
pub fn comparisons(loaded: &Loaded, effort: Effort, time: TimeLeft<'_>) -> Vec<Compared> {
    let alone = brief(loaded, alone(loaded), effort, time);
    let mut fullest = loaded.clone();
    fullest.fleet.objective = Objective::Devices;
    let fullest = brief(&fullest, Restrict::default(), effort, time);
    let compared = |name: &str, plan: Result<Plan, PlanError>| {
        let (plan, why_none) = match plan {
            Ok(plan) => (Some(plan), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Compared { name: name.to_owned(), plan, why_none }
    };
    vec![compared("one model per device", alone), compared("fewest devices", fullest)]
}

/// What changes when one thing does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Driver {
    /// What is changed.
    pub change: String,
    /// Value of the best plan then, over that of the plan as it is made now, at what is changed; 1: the plan stays best.
    /// `None`: there is no plan then.
    pub best_over_kept: Option<f64>,
    /// Value of the best plan then; `None`: there is none.
    pub value: Option<f64>,
    /// Whether models share differently then.
    pub flips: bool,
}

/// Plans again with one thing changed: load, source of electricity, size of rows, co-location.
pub fn drivers(loaded: &Loaded, now: &Plan, effort: Effort, time: TimeLeft<'_>) -> Vec<Driver> {
    let mut drivers = Vec::new();
    let mut look = |change: &str, changed: Loaded, restrict: Restrict| {
        let then = brief(&changed, restrict, effort, time).ok();
        let value = then.as_ref().map(|plan| plan.value);
        let kept = if restrict.alone { Some(now.value) } else { kept_value(&changed, now) };
        drivers.push(Driver {
            change: change.to_owned(),
            best_over_kept: value.zip(kept).filter(|(_, kept)| *kept > 0.0).map(|(value, kept)| value / kept),
            value,
            flips: then.is_none_or(|plan| plan.assignment() != now.assignment()),
        });
    };
    look("load, half", scaled(loaded, 0.5), Restrict::default());
    look("load, twice", scaled(loaded, 2.0), Restrict::default());
    for source in ["gas", "wind"] {
        if let Some((_, grams)) = SOURCES.into_iter().find(|(name, _)| *name == source) {
            look(&format!("source, {source}"), at_intensity(loaded, grams), Restrict::default());
        }
    }
    if loaded.sources.iter().any(|source| source.network.is_some()) {
        look("size of rows, a quarter", resized(loaded, 0.25), Restrict::default());
        look("size of rows, four times", resized(loaded, 4.0), Restrict::default());
    }
    look("no co-location", loaded.clone(), alone(loaded));
    drivers
}

/// The fleet with all loads so many times as high.
pub fn scaled(loaded: &Loaded, factor: f64) -> Loaded {
    let mut changed = loaded.clone();
    changed.fleet.models.iter_mut().for_each(|entry| entry.load_rps *= factor);
    changed
}

/// The fleet at another carbon intensity.
pub fn at_intensity(loaded: &Loaded, grams_per_kwh: f64) -> Loaded {
    Loaded { intensity: grams_per_kwh, ..loaded.clone() }
}

fn resized(loaded: &Loaded, factor: f64) -> Loaded {
    let mut changed = loaded.clone();
    for (source, entry) in changed.sources.iter_mut().zip(&mut changed.fleet.models) {
        if let Some(network) = source.network.take() {
            source.network = Some(sized(network, factor));
            entry.size *= factor;
        }
    }
    changed
}

/// What `kept`, its tenants staying in their slots, comes to in `loaded`, at the best clocks and batch sizes; `None` where it
/// can't serve it, or has devices that are not there.
pub fn kept_value(loaded: &Loaded, kept: &Plan) -> Option<f64> {
    let model_of = |name: &str| loaded.fleet.models.iter().position(|entry| entry.name == name);
    // A model stays cut as it is, though at today's load another cut may be the least.
    let tenants = kept.devices.iter().flat_map(|device| &device.tenants);
    let cuts = tenants.filter_map(|tenant| Some((model_of(&tenant.model)?, parts_of(tenant.share)?)));
    let made = options_with(loaded, Restrict::default(), &cuts.collect::<Vec<_>>()).ok()?;
    let mut value = made.idle_cost;
    let mut served = vec![0.0; loaded.fleet.models.len()];
    let mut free: Vec<u32> = loaded.fleet.devices.iter().map(|entry| entry.count).collect();
    for device in &kept.devices {
        let index = made.kinds.iter().position(|facts| facts.name == device.kind)?;
        let (facts, kind) = (made.kinds.get(index)?, made.instance.kinds.get(index)?);
        let seats: Vec<(usize, usize, u32)> = device
            .tenants
            .iter()
            .map(|tenant| {
                let slot = facts.slots.iter().position(|slot| slot.to_string() == tenant.slot)?;
                Some((slot, model_of(&tenant.model)?, parts_of(tenant.share)?))
            })
            .collect::<Option<_>>()?;
        let left = free.get_mut(index)?;
        *left = left.checked_sub(1)?;
        if !kind.layouts.iter().any(|layout| has_room(layout, &seats)) {
            return None;
        }
        let at_clock = |clock: &crate::instance::Clock| {
            // Of several ways to run, that of least draw: they differ in how long they are busy by little.
            let entries = seats.iter().map(|(slot, model, parts)| {
                let list = clock.entries.get(*slot)?;
                let fitting = list.iter().filter(|entry| entry.model == *model && entry.parts == *parts);
                fitting.min_by(|a, b| a.draw.total_cmp(&b.draw))
            });
            let entries: Vec<_> = entries.collect::<Option<_>>()?;
            let watts = crate::instance::Instance::power(kind, clock, entries.into_iter());
            Some(kind.fixed + kind.per_watt * watts)
        };
        value += kind.clocks.iter().filter_map(at_clock).min_by(f64::total_cmp)?;
        seats.iter().for_each(|(_, model, parts)| served[*model] += 1.0 / f64::from(*parts));
    }
    served.iter().all(|share| *share >= 1.0 - 1e-9).then_some(value)
}

/// In how many parts a model is cut that has `share` in a slot; `None` for a share that no plan has.
fn parts_of(share: f64) -> Option<u32> {
    let parts = (1.0 / share).round() as u32;
    (1..=MOST_PARTS).contains(&parts).then_some(parts)
}

/// Whether `layout` has a slot for each of `seats`.
fn has_room(layout: &[usize], seats: &[(usize, usize, u32)]) -> bool {
    let mut free = layout.to_vec();
    seats.iter().all(|(slot, ..)| {
        let place = free.iter().position(|have| have == slot);
        place.map(|place| free.swap_remove(place)).is_some()
    })
}

/// A range of something over which the same models share in the same way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Range {
    /// From here.
    pub from: f64,
    /// To here.
    pub to: f64,
    /// Devices in use; `None`: there is no plan.
    pub devices: Option<u32>,
    /// Who is with whom, in words; why not, where there is no plan.
    pub assignment: String,
    /// Whether every plan that this rests on is proved.
    pub proved: bool,
}

/// Ranges of carbon intensity, from 0 to twice the fleet's and at least to that of coal, with the best assignment in each.
///
/// With loads as they are a plan's emissions are a straight line in the intensity, and the best of all plans
/// is the lower hull of the lines. So where the best plans at both ends of a range differ, their lines cross
/// at the only place at which to look for a third (Eisner and Severance, 1976): no flip is missed where plans are proved.
pub fn flips_by_intensity(loaded: &Loaded, effort: Effort, time: TimeLeft<'_>) -> Vec<Range> {
    if loaded.fleet.objective != Objective::Carbon {
        return Vec::new();
    }
    let most = loaded.hours.iter().copied().fold(loaded.intensity, f64::max);
    let high = (most * 2.0).max(SOURCES[0].1);
    let mut left = MOST_PLANS;
    let mut at = |intensity: f64| {
        left = left.checked_sub(1)?;
        if time().is_zero() {
            return None;
        }
        Some(
            brief(&at_intensity(loaded, intensity), Restrict::default(), effort, time)
                .map_err(|error| error.to_string()),
        )
    };
    let (Some(Ok(first)), Some(Ok(last))) = (at(0.0), at(high)) else { return Vec::new() };
    // Plans by where each begins to be the best known.
    let mut found = vec![(0.0, first), (high, last)];
    let mut open = vec![(0usize, 1usize)];
    let mut plans: Vec<Plan> = found.iter().map(|(_, plan)| plan.clone()).collect();
    let mut crossings: Vec<f64> = Vec::new();
    while let Some((low, top)) = open.pop() {
        let (Some(a), Some(b)) = (plans.get(low).map(line), plans.get(top).map(line)) else { continue };
        if (a.1 - b.1).abs() <= 1e-9 * a.1.abs().max(1e-12) {
            continue;
        }
        let crossing = (b.0 - a.0) / (a.1 - b.1);
        if !(crossing > 0.0 && crossing < high) {
            continue;
        }
        let middle = at(crossing).and_then(Result::ok);
        let is_proved = middle.as_ref().is_some_and(|middle| middle.proved);
        if let Some(middle) = middle.filter(|plan| plan.value < (a.0 + a.1 * crossing) * (1.0 - 1e-7)) {
            plans.push(middle);
            open.push((low, plans.len() - 1));
            open.push((plans.len() - 1, top));
            continue;
        }
        crossings.push(crossing);
        if !is_proved {
            // A third plan may be better somewhere between the two.
            for plan in [low, top] {
                plans[plan].proved = false;
            }
        }
    }
    found.clear();
    crossings.push(high);
    crossings.sort_by(f64::total_cmp);
    let mut ranges: Vec<Range> = Vec::new();
    let mut from = 0.0;
    for to in crossings {
        let middle = f64::midpoint(from, to);
        let cost = |plan: &&Plan| {
            let (fixed, slope) = line(plan);
            fixed + slope * middle
        };
        if let Some(best) = plans.iter().min_by(|a, b| cost(a).total_cmp(&cost(b))) {
            add_range(&mut ranges, from, to, best);
        }
        from = to;
    }
    ranges
}

/// The hours of the fleet's trace by the best assignment in each, from its ranges of intensity. Empty for a constant.
pub fn by_hour(loaded: &Loaded, by_intensity: &[Range]) -> Vec<Range> {
    let mut hours: Vec<Range> = Vec::new();
    for (hour, intensity) in loaded.hours.iter().enumerate() {
        let best = by_intensity.iter().find(|range| (range.from..=range.to).contains(intensity));
        let Some(best) = best else { continue };
        let (from, to) = (hour as f64, hour as f64 + 1.0);
        match hours.last_mut().filter(|last| last.to == from && last.assignment == best.assignment) {
            Some(last) => last.to = to,
            None => hours.push(Range { from, to, ..best.clone() }),
        }
    }
    hours
}

/// A plan's emissions at intensity 0, and by how much they grow with it.
fn line(plan: &Plan) -> (f64, f64) {
    let slope = plan.totals.power_watts / 1e3 * plan.pue;
    (plan.totals.embodied_grams_per_hour.unwrap_or(0.0), slope)
}

/// Ranges of load, from a tenth of the fleet's to twice, with the best assignment in each. Looked at on a
/// grid that is made finer where neighbours differ, so a range that is narrower than the grid may be missed.
pub fn flips_by_load(loaded: &Loaded, effort: Effort, time: TimeLeft<'_>) -> Vec<Range> {
    let mut left = MOST_PLANS;
    let mut at = |factor: f64| {
        left = left.checked_sub(1)?;
        if time().is_zero() {
            return None;
        }
        Some(brief(&scaled(loaded, factor), Restrict::default(), effort, time))
    };
    let steps = [LOADS.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, LOADS.1];
    let mut seen: Vec<(f64, Result<Plan, PlanError>)> = Vec::new();
    for factor in steps {
        if let Some(plan) = at(factor) {
            seen.push((factor, plan));
        }
    }
    let same = |a: &Result<Plan, PlanError>, b: &Result<Plan, PlanError>| match (a, b) {
        (Ok(a), Ok(b)) => a.assignment() == b.assignment(),
        (Err(_), Err(_)) => true,
        _ => false,
    };
    // The widest step between two that differ, again and again.
    loop {
        let widest = (1..seen.len())
            .filter(|index| !same(&seen[index - 1].1, &seen[*index].1))
            .map(|index| (seen[index].0 / seen[index - 1].0, index))
            .filter(|(ratio, _)| *ratio > FINEST_LOAD)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, index)) = widest else { break };
        let middle = (seen[index - 1].0 * seen[index].0).sqrt();
        let Some(plan) = at(middle) else { break };
        seen.insert(index, (middle, plan));
    }
    let mut ranges: Vec<Range> = Vec::new();
    for index in 0..seen.len() {
        let edge = |a: usize, b: usize| (seen[a].0 * seen[b].0).sqrt();
        let from = if index == 0 { seen[0].0 } else { edge(index - 1, index) };
        let to = if index + 1 == seen.len() { seen[index].0 } else { edge(index, index + 1) };
        match &seen[index].1 {
            Ok(plan) => add_range(&mut ranges, from, to, plan),
            Err(error) => match ranges.last_mut().filter(|last| last.devices.is_none()) {
                Some(last) => last.to = to,
                None => ranges.push(Range {
                    from,
                    to,
                    devices: None,
                    assignment: error.to_string(),
                    proved: matches!(
                        error,
                        PlanError::Solve(SolveError::TooFew { .. }, _) | PlanError::Nowhere(_)
                    ),
                }),
            },
        }
    }
    ranges
}

/// Adds a range, or lengthens the last one where the assignment is the same.
fn add_range(ranges: &mut Vec<Range>, from: f64, to: f64, plan: &Plan) {
    let assignment = in_words(plan);
    match ranges.last_mut().filter(|last| last.assignment == assignment) {
        Some(last) => {
            last.to = to;
            last.proved &= plan.proved;
        }
        None => ranges.push(Range {
            from,
            to,
            devices: Some(plan.totals.devices),
            assignment,
            proved: plan.proved,
        }),
    }
}

/// Who is with whom: `a100: resnet50 4g + whisper 3g | a100: gpt whole`.
pub fn in_words(plan: &Plan) -> String {
    let device = |(kind, tenants): (String, Vec<(String, String)>)| {
        let tenants: Vec<String> =
            tenants.into_iter().map(|(model, slot)| format!("{model} {slot}")).collect();
        format!("{kind}: {}", tenants.join(" + "))
    };
    plan.assignment().into_iter().map(device).collect::<Vec<_>>().join(" | ")
}
